//! The Apple Push Notification service: HTTP/2, and a signed token of the team or a certificate of the application.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::jose::{KeyError, SigningKey, pem};
use crate::outcome::Outcome;
use crate::target::Target;
use crate::tls::Tls;
use crate::wake::Class;
use crate::{Note, Provider, QUOTA};

const URL: &str = "https://api.push.apple.com";
const SANDBOX: &str = "https://api.sandbox.push.apple.com";
/// Seconds for which a token is used: not over an hour, and renewed not more often than every 20 minutes.
const TOKEN: u64 = 2400;

/// How the service knows us.
#[derive(Clone)]
pub enum ApnsAuth {
    /// By a token for each request.
    Token {
        /// The key in PEM, as it is downloaded (`AuthKey_….p8`).
        key: String,
        key_id: String,
    },
    /// By the certificate of the connection: chain and private key in PEM.
    Certificate(String),
}

/// Who we are to the service.
#[derive(Clone)]
pub struct ApnsSettings {
    pub auth: ApnsAuth,
    /// That of the tokens; with a certificate it only tells whose devices are ours.
    pub team: String,
    pub sandbox: bool,
    /// Stands for the address of the service.
    pub url: Option<String>,
}

/// See the module.
pub struct Apns {
    signer: Option<Signer>,
    team: String,
    url: String,
    client: reqwest::Client,
}

/// Makes tokens, each for long: who renews them too often is refused.
struct Signer {
    key: SigningKey,
    key_id: String,
    /// With the time of its making.
    token: Mutex<Option<(Arc<str>, u64)>>,
}

impl Signer {
    fn token(&self, team: &str, now: u64) -> Arc<str> {
        let mut token = self.token.lock();
        match &*token {
            Some((token, made)) if now < made + TOKEN => Arc::clone(token),
            _ => {
                let made: Arc<str> = self.key.token(Some(&self.key_id), &json!({ "iss": team, "iat": now })).into();
                *token = Some((Arc::clone(&made), now));
                made
            }
        }
    }
}

impl Apns {
    /// # Errors
    /// The key cannot sign, or the certificate cannot be shown.
    pub fn new(settings: ApnsSettings, tls: &Tls) -> Result<Apns, KeyError> {
        let url = settings.url.as_deref().unwrap_or(if settings.sandbox { SANDBOX } else { URL });
        let mut tls = tls.clone();
        let signer = match settings.auth {
            ApnsAuth::Token { key, key_id } => {
                Some(Signer { key: SigningKey::es256(&pem(&key)?)?, key_id, token: Mutex::new(None) })
            }
            ApnsAuth::Certificate(text) => {
                tls = tls.showing(&text)?;
                None
            }
        };
        Ok(Apns {
            signer,
            url: url.trim_end_matches('/').to_owned(),
            team: settings.team,
            client: http::client(false, &tls).map_err(|error| KeyError::File(error.to_string()))?,
        })
    }

    async fn post(&self, target: &Target, note: &Note, topic: &str) -> Result<Answer, Outcome> {
        // A push to PushKit has to show a call at once, or the system stops to deliver them: only calls go there.
        let (kind, priority, topic, body) = match note.class {
            Class::Call if topic.ends_with(".voip") => ("voip", 10, topic, json!({ "aps": {}, "sip": "wake" })),
            _ => {
                let topic = topic.strip_suffix(".voip").unwrap_or(topic);
                ("background", 5, topic, json!({ "aps": { "content-available": 1 }, "sip": "wake" }))
            }
        };
        let mut request = self.client.post(format!("{}/3/device/{}", self.url, target.prid));
        if let Some(signer) = &self.signer {
            request = request.header("authorization", format!("bearer {}", signer.token(&self.team, note.now)));
        }
        let request = request
            .header("apns-topic", topic)
            .header("apns-push-type", kind)
            .header("apns-priority", priority)
            .header("apns-expiration", note.now + note.ttl.as_secs())
            .header("apns-collapse-id", &note.collapse[..note.collapse.len().min(64)]);
        http::send(request.body(body.to_string())).await
    }
}

/// `pn-param` is `TEAM.TOPIC` (RFC 8599 §14).
fn topic<'p>(team: &str, param: &'p str) -> Option<&'p str> {
    let (owner, topic) = param.split_once('.')?;
    (owner == team && !topic.is_empty()).then_some(topic)
}

#[async_trait::async_trait]
impl Provider for Apns {
    async fn send(&self, target: &Target, note: &Note) -> Outcome {
        let Some(topic) = topic(&self.team, &target.param) else {
            return Outcome::Refused(format!("pn-param does not begin with the team {}", self.team));
        };
        if target.prid.is_empty() || !target.prid.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Outcome::Gone("pn-prid is no device token".to_owned());
        }
        let answer = match self.post(target, note, topic).await {
            Ok(answer) if answer.status == 403 && reason(&answer) == "ExpiredProviderToken" => {
                if let Some(signer) = &self.signer {
                    *signer.token.lock() = None;
                }
                self.post(target, note, topic).await
            }
            other => other,
        };
        answer.map_or_else(|outcome| outcome, |answer| read(&answer, note.since))
    }
}

fn reason(answer: &Answer) -> String {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["reason"].as_str().unwrap_or_default().to_owned()
}

/// Whether the token was registered after the service last knew it to be dead, which it says in milliseconds.
fn came_back(answer: &Answer, since: u64) -> bool {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["timestamp"].as_u64().is_some_and(|dead| since.saturating_mul(1000) > dead)
}

fn read(answer: &Answer, since: u64) -> Outcome {
    let reason = reason(answer);
    let why = format!("HTTP {} {reason}", answer.status).trim_end().to_owned();
    match (answer.status, &*reason) {
        (200, _) => Outcome::Accepted,
        (410, _) if came_back(answer, since) => Outcome::Refused(format!("{why}, but it was registered since")),
        (410, _) | (400, "BadDeviceToken" | "DeviceTokenNotForTopic" | "MissingDeviceToken") => Outcome::Gone(why),
        (403, _) | (429, "TooManyProviderTokenUpdates") => Outcome::Misconfigured(why),
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
        let read = |status, reason: &str| {
            read(&Answer { status, body: json!({ "reason": reason }).to_string(), ..Answer::default() }, 0).as_str()
        };
        assert_eq!(read(200, ""), "accepted");
        for (status, reason, expected) in [
            (400, "BadDeviceToken", "gone"),
            (400, "DeviceTokenNotForTopic", "gone"),
            (400, "MissingDeviceToken", "gone"),
            (400, "BadCollapseId", "refused"),
            (400, "BadTopic", "refused"),
            (400, "TopicDisallowed", "refused"),
            (403, "InvalidProviderToken", "misconfigured"),
            (403, "MissingProviderToken", "misconfigured"),
            (403, "BadCertificate", "misconfigured"),
            (403, "BadCertificateEnvironment", "misconfigured"),
            (404, "BadPath", "refused"),
            (405, "MethodNotAllowed", "refused"),
            (410, "Unregistered", "gone"),
            (410, "ExpiredToken", "gone"),
            (413, "PayloadTooLarge", "refused"),
            (429, "TooManyRequests", "retry"),
            (429, "TooManyProviderTokenUpdates", "misconfigured"),
            (500, "InternalServerError", "retry"),
            (503, "ServiceUnavailable", "retry"),
            (503, "Shutdown", "retry"),
        ] {
            assert_eq!(read(status, reason), expected, "{status} {reason}");
        }
        assert_eq!(topic("TEAM12345A", "TEAM12345A.com.example.app.voip"), Some("com.example.app.voip"));
        assert_eq!(topic("TEAM12345A", "OTHER.com.example.app"), None);
    }

    #[test]
    fn a_token_that_was_registered_after_its_death_lives() {
        let body = json!({ "reason": "Unregistered", "timestamp": 1_700_000_000_000_u64 }).to_string();
        let gone = Answer { status: 410, body, ..Answer::default() };
        for (since, expected) in [(0, "gone"), (1_699_999_999, "gone"), (1_700_000_001, "refused")] {
            assert_eq!(read(&gone, since).as_str(), expected, "registered at {since}");
        }
    }
}
