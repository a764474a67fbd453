//! Firebase Cloud Messaging, HTTP v1: OAuth by a signed token of a service account, then one POST for each push.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::jose::{KeyError, SigningKey, pem};
use crate::oauth::AccessToken;
use crate::outcome::Outcome;
use crate::target::Target;
use crate::tls::Tls;
use crate::wake::Class;
use crate::{Note, Provider, QUOTA};

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const URL: &str = "https://fcm.googleapis.com";
/// Seconds for which our assertion asks for a token.
const LIFETIME: u64 = 3600;

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
    url: String,
    client: reqwest::Client,
    token: AccessToken,
}

impl Fcm {
    /// From the JSON of a service account. `url` stands for the address of the service.
    ///
    /// # Errors
    /// It is none, or has a key that cannot sign.
    pub fn new(account: &str, url: Option<&str>, tls: &Tls) -> Result<Fcm, KeyError> {
        let account: Account =
            serde_json::from_str(account).map_err(|error| KeyError::File(format!("no service account: {error}")))?;
        let client = http::client(false, tls).map_err(|error| KeyError::File(error.to_string()))?;
        Ok(Fcm {
            key: SigningKey::rs256(&pem(&account.private_key)?)?,
            project: account.project_id,
            email: account.client_email,
            url: url.unwrap_or(URL).trim_end_matches('/').to_owned(),
            client,
            token: AccessToken::new(account.token_uri.unwrap_or_else(|| TOKEN_URL.to_owned())),
        })
    }

    /// The project, which a device names in `pn-param`.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// What an access token is asked for with (RFC 7523 §2.1).
    fn form(&self, now: u64) -> String {
        let claims =
            json!({ "iss": self.email, "scope": SCOPE, "aud": self.token.url(), "iat": now, "exp": now + LIFETIME });
        let assertion = self.key.token(None, &claims);
        // Neither part has characters that a form would have to escape.
        format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}")
    }

    async fn post(&self, target: &Target, note: &Note, token: &str) -> Result<Answer, Outcome> {
        let url = format!("{}/v1/projects/{}/messages:send", self.url, self.project);
        let request = self.client.post(url).bearer_auth(token).header("content-type", "application/json");
        http::send(request.body(message(target, note).to_string())).await
    }

    async fn try_send(&self, target: &Target, note: &Note) -> Result<Answer, Outcome> {
        let token = self.token.get(&self.client, note.now, || self.form(note.now)).await?;
        let answer = self.post(target, note, &token).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        // The token was taken back early: once more with a new one.
        self.token.refused(&token);
        let token = self.token.get(&self.client, note.now, || self.form(note.now)).await?;
        self.post(target, note, &token).await
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
        self.try_send(target, note).await.map_or_else(|outcome| outcome, |answer| read(&answer))
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
        let read = |status, body: String| read(&Answer { status, body, ..Answer::default() });
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
        assert!(Fcm::new("{}", None, &Tls::default()).is_err());
    }
}
