//! Firebase Cloud Messaging, HTTP v1: OAuth by a signed token of a service account, then one POST for each push.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::jose::{KeyError, SigningKey, pem};
use crate::outcome::Outcome;
use crate::target::Target;
use crate::wake::Class;
use crate::{Note, Provider};

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const URL: &str = "https://fcm.googleapis.com";
/// Seconds before its end at which a token is renewed, and for which ours asks.
const MARGIN: u64 = 300;
const LIFETIME: u64 = 3600;
/// After QUOTA_EXCEEDED without Retry-After.
const QUOTA: Duration = Duration::from_secs(60);

/// The file that the console gives for a service account.
#[derive(Deserialize)]
struct Account {
    project_id: String,
    client_email: String,
    private_key: String,
    #[serde(default)]
    token_uri: Option<String>,
}

/// See the module.
pub struct Fcm {
    project: String,
    email: String,
    key: SigningKey,
    token_url: String,
    url: String,
    client: reqwest::Client,
    /// With the time until which it is used, in seconds since the epoch.
    token: Mutex<Option<(Arc<str>, u64)>>,
    /// One renewal at a time.
    renewing: tokio::sync::Mutex<()>,
}

impl Fcm {
    /// From the JSON of a service account. `url` stands for the address of the service.
    pub fn new(account: &str, url: Option<&str>) -> Result<Fcm, KeyError> {
        let account: Account =
            serde_json::from_str(account).map_err(|error| KeyError::File(format!("no service account: {error}")))?;
        let client = http::client(false).map_err(|error| KeyError::File(error.to_string()))?;
        Ok(Fcm {
            key: SigningKey::rs256(&pem(&account.private_key)?)?,
            project: account.project_id,
            email: account.client_email,
            token_url: account.token_uri.unwrap_or_else(|| TOKEN_URL.to_owned()),
            url: url.unwrap_or(URL).trim_end_matches('/').to_owned(),
            client,
            token: Mutex::new(None),
            renewing: tokio::sync::Mutex::new(()),
        })
    }

    /// The project, which a device names in `pn-param`.
    pub fn project(&self) -> &str {
        &self.project
    }

    async fn token(&self, now: u64) -> Result<Arc<str>, Outcome> {
        let known = || self.token.lock().as_ref().filter(|(_, until)| now < *until).map(|(token, _)| Arc::clone(token));
        if let Some(token) = known() {
            return Ok(token);
        }
        let _one = self.renewing.lock().await;
        if let Some(token) = known() {
            return Ok(token);
        }
        let claims =
            json!({ "iss": self.email, "scope": SCOPE, "aud": self.token_url, "iat": now, "exp": now + LIFETIME });
        let assertion = self.key.token(None, &claims);
        // Neither part has characters that a form would have to escape.
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let request = self.client.post(&self.token_url).header("content-type", "application/x-www-form-urlencoded");
        let answer = http::send(request.body(form)).await?;
        if answer.status >= 500 || answer.status == 429 {
            let why = format!("no access token: HTTP {}", answer.status);
            return Err(Outcome::Retry { after: answer.retry_after, why });
        }
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let Some(token) = body["access_token"].as_str().filter(|_| answer.status == 200) else {
            let why = body["error_description"].as_str().or(body["error"].as_str()).unwrap_or_default();
            return Err(Outcome::Misconfigured(format!("no access token: HTTP {} {why}", answer.status)));
        };
        let token: Arc<str> = token.into();
        let lifetime = body["expires_in"].as_u64().unwrap_or(LIFETIME);
        *self.token.lock() = Some((Arc::clone(&token), now + lifetime.saturating_sub(MARGIN)));
        Ok(token)
    }

    async fn post(&self, target: &Target, note: &Note) -> Result<Answer, Outcome> {
        let token = self.token(note.now).await?;
        let url = format!("{}/v1/projects/{}/messages:send", self.url, self.project);
        let request = self.client.post(url).bearer_auth(&token).header("content-type", "application/json");
        http::send(request.body(message(target, note).to_string())).await
    }
}

/// A message that shows nothing: the application wakes and registers.
fn message(target: &Target, note: &Note) -> Value {
    // A message of normal priority waits until a dozing phone wakes by itself.
    let ttl = format!("{}s", note.ttl.as_secs());
    json!({ "message": {
        "token": target.prid,
        "data": { "sip": "wake", "class": note.class.as_str() },
        "android": {
            "priority": if note.class == Class::Refresh { "NORMAL" } else { "HIGH" },
            "ttl": ttl,
            "collapse_key": note.collapse,
        },
    } })
}

#[async_trait::async_trait]
impl Provider for Fcm {
    async fn send(&self, target: &Target, note: &Note) -> Outcome {
        if !target.param.is_empty() && target.param != self.project {
            return Outcome::Refused(format!("pn-param is not the project {}", self.project));
        }
        let answer = match self.post(target, note).await {
            Ok(answer) if answer.status == 401 => {
                // The token was taken back early: once more with a new one.
                *self.token.lock() = None;
                self.post(target, note).await
            }
            other => other,
        };
        answer.map_or_else(|outcome| outcome, |answer| read(&answer))
    }
}

fn read(answer: &Answer) -> Outcome {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let error = &body["error"];
    let details = error["details"].as_array().map_or(&[][..], |details| details);
    let code = details.iter().find_map(|detail| detail["errorCode"].as_str());
    let code = code.or(error["status"].as_str()).unwrap_or_default().to_owned();
    let is_fcm = details.iter().any(|d| d["@type"].as_str().is_some_and(|kind| kind.ends_with("FcmError")));
    let violated = details.iter().any(|d| d["@type"].as_str().is_some_and(|kind| kind.ends_with("BadRequest")));
    let why = format!("HTTP {} {code} {}", answer.status, error["message"].as_str().unwrap_or_default());
    let why = why.trim_end().to_owned();
    match (answer.status, &*code) {
        (200..=299, _) => Outcome::Accepted,
        (404, _) | (_, "UNREGISTERED" | "SENDER_ID_MISMATCH") => Outcome::Gone(why),
        (400, "INVALID_ARGUMENT") if is_fcm && !violated => Outcome::Gone(why),
        (401 | 403, _) => Outcome::Misconfigured(why),
        (429, _) => Outcome::Retry { after: Some(answer.retry_after.unwrap_or(QUOTA)), why },
        (500..=599, _) => Outcome::Retry { after: answer.retry_after, why },
        _ => Outcome::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_says() {
        let fcm = |code: &str| {
            let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
            json!({ "error": { "status": code, "details": [{ "@type": kind, "errorCode": code }] } }).to_string()
        };
        let bug = json!({ "error": { "status": "INVALID_ARGUMENT",
            "details": [{ "@type": "type.googleapis.com/google.rpc.BadRequest" }] } });
        let read = |status, body: String| read(&Answer { status, retry_after: None, body });
        assert_eq!(read(200, "{\"name\":\"x\"}".into()), Outcome::Accepted);
        for (status, body, expected) in [
            (404, fcm("UNREGISTERED"), "gone"),
            (404, String::new(), "gone"),
            (400, fcm("INVALID_ARGUMENT"), "gone"),
            (400, bug.to_string(), "refused"),
            (403, fcm("SENDER_ID_MISMATCH"), "gone"),
            (401, fcm("THIRD_PARTY_AUTH_ERROR"), "misconfigured"),
            (403, String::new(), "misconfigured"),
            (503, fcm("UNAVAILABLE"), "retry"),
            (500, fcm("INTERNAL"), "retry"),
            (429, fcm("QUOTA_EXCEEDED"), "retry"),
        ] {
            assert_eq!(read(status, body.clone()).as_str(), expected, "{status} {body}");
        }
        let quota = read(429, fcm("QUOTA_EXCEEDED"));
        assert!(matches!(quota, Outcome::Retry { after: Some(QUOTA), .. }), "{quota:?}");
        assert!(Fcm::new("{}", None).is_err());
    }
}
