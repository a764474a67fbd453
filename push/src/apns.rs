//! The Apple Push Notification service: HTTP/2, and a signed token of the team.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::jose::{KeyError, SigningKey, pem};
use crate::outcome::Outcome;
use crate::target::Target;
use crate::wake::Class;
use crate::{Note, Provider};

const URL: &str = "https://api.push.apple.com";
const SANDBOX: &str = "https://api.sandbox.push.apple.com";
/// Seconds for which a token is used: not over an hour, and renewed not more often than every 20 minutes.
const TOKEN: u64 = 2400;

/// Who we are to the service.
#[derive(Debug, Clone)]
pub struct ApnsSettings {
    /// The key in PEM, as it is downloaded (`AuthKey_….p8`).
    pub key: String,
    pub key_id: String,
    pub team: String,
    pub sandbox: bool,
    /// Stands for the address of the service.
    pub url: Option<String>,
}

/// See the module.
pub struct Apns {
    key: SigningKey,
    key_id: String,
    team: String,
    url: String,
    client: reqwest::Client,
    /// With the time of its making.
    token: Mutex<Option<(Arc<str>, u64)>>,
}

impl Apns {
    pub fn new(settings: ApnsSettings) -> Result<Apns, KeyError> {
        let url = settings.url.as_deref().unwrap_or(if settings.sandbox { SANDBOX } else { URL });
        Ok(Apns {
            key: SigningKey::es256(&pem(&settings.key)?)?,
            url: url.trim_end_matches('/').to_owned(),
            key_id: settings.key_id,
            team: settings.team,
            client: http::client(false).map_err(|error| KeyError::File(error.to_string()))?,
            token: Mutex::new(None),
        })
    }

    fn token(&self, now: u64) -> Arc<str> {
        let mut token = self.token.lock();
        match &*token {
            Some((token, made)) if now < made + TOKEN => Arc::clone(token),
            _ => {
                let made: Arc<str> =
                    self.key.token(Some(&self.key_id), &json!({ "iss": self.team, "iat": now })).into();
                *token = Some((Arc::clone(&made), now));
                made
            }
        }
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
        let request = self
            .client
            .post(format!("{}/3/device/{}", self.url, target.prid))
            .header("authorization", format!("bearer {}", self.token(note.now)))
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
                *self.token.lock() = None;
                self.post(target, note, topic).await
            }
            other => other,
        };
        answer.map_or_else(|outcome| outcome, |answer| read(&answer))
    }
}

fn reason(answer: &Answer) -> String {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["reason"].as_str().unwrap_or_default().to_owned()
}

fn read(answer: &Answer) -> Outcome {
    let reason = reason(answer);
    let why = format!("HTTP {} {reason}", answer.status).trim_end().to_owned();
    match (answer.status, &*reason) {
        (200, _) => Outcome::Accepted,
        (410, _) | (400, "BadDeviceToken" | "DeviceTokenNotForTopic" | "MissingDeviceToken") => Outcome::Gone(why),
        (403, _) | (429, "TooManyProviderTokenUpdates") => Outcome::Misconfigured(why),
        (429, _) => Outcome::Retry { after: Some(answer.retry_after.unwrap_or(Duration::from_secs(60))), why },
        (500..=599, _) => Outcome::Retry { after: answer.retry_after, why },
        _ => Outcome::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn key() -> String {
        let pkcs8 = crate::jose::test_key();
        let text = base64::engine::general_purpose::STANDARD.encode(pkcs8);
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    #[test]
    fn what_the_service_says() {
        let read = |status, reason: &str| {
            read(&Answer { status, retry_after: None, body: json!({ "reason": reason }).to_string() }).as_str()
        };
        assert_eq!(read(200, ""), "accepted");
        for (status, reason, expected) in [
            (400, "BadDeviceToken", "gone"),
            (400, "DeviceTokenNotForTopic", "gone"),
            (400, "BadTopic", "refused"),
            (403, "InvalidProviderToken", "misconfigured"),
            (404, "BadPath", "refused"),
            (410, "Unregistered", "gone"),
            (413, "PayloadTooLarge", "refused"),
            (429, "TooManyRequests", "retry"),
            (429, "TooManyProviderTokenUpdates", "misconfigured"),
            (500, "InternalServerError", "retry"),
            (503, "Shutdown", "retry"),
        ] {
            assert_eq!(read(status, reason), expected, "{status} {reason}");
        }
        assert_eq!(topic("TEAM12345A", "TEAM12345A.com.example.app.voip"), Some("com.example.app.voip"));
        assert_eq!(topic("TEAM12345A", "OTHER.com.example.app"), None);
    }

    /// A service that answers each request with the next of these, and gives back the heads that it got.
    async fn service(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let mut heads = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut taken = Vec::new();
                while !String::from_utf8_lossy(&taken).contains("\r\n\r\n") {
                    let mut buffer = [0; 4096];
                    let n = stream.read(&mut buffer).await.unwrap();
                    taken.extend_from_slice(&buffer[..n]);
                }
                heads.push(String::from_utf8_lossy(&taken).into_owned());
                let text = format!("HTTP/1.1 {answer}");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            heads
        });
        (url, served)
    }

    fn header(head: &str, name: &str) -> String {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map_or(String::new(), |(_, value)| value.to_owned())
    }

    #[tokio::test]
    async fn calls_go_to_pushkit_and_messages_do_not() {
        let ok = "200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let expired =
            "403 Forbidden\r\nContent-Length: 33\r\nConnection: close\r\n\r\n{\"reason\":\"ExpiredProviderToken\"}";
        let (url, served) = service(vec![ok, ok, expired, ok]).await;
        let settings = ApnsSettings {
            key: key(),
            key_id: "KEYIDKEYID".into(),
            team: "TEAM12345A".into(),
            sandbox: false,
            url: Some(url),
        };
        let apns = Apns::new(settings).unwrap();
        let param = "TEAM12345A.com.example.app.voip".to_owned();
        let target = Target { provider: "apns".into(), param, prid: "ab12".into() };
        let note = |class: Class| Note { class, ttl: class.ttl(), collapse: "c".into(), now: 1000 };
        for class in [Class::Call, Class::Message, Class::Message] {
            assert_eq!(apns.send(&target, &note(class)).await, Outcome::Accepted);
        }
        let heads = served.await.unwrap();
        let kinds: Vec<_> = heads.iter().map(|h| (header(h, "apns-push-type"), header(h, "apns-topic"))).collect();
        let (voip, plain) = ("com.example.app.voip".to_owned(), "com.example.app".to_owned());
        assert_eq!(kinds[0], ("voip".to_owned(), voip));
        assert_eq!(kinds[1], ("background".to_owned(), plain));
        assert_eq!(header(&heads[0], "apns-expiration"), "1030");
        assert!(heads[0].starts_with("POST /3/device/ab12 "), "{}", heads[0]);
        assert_eq!(header(&heads[0], "authorization"), header(&heads[1], "authorization"), "one token serves for long");
        assert_ne!(
            header(&heads[2], "authorization"),
            header(&heads[3], "authorization"),
            "and is renewed when it has to"
        );
        let foreign = Target { param: "OTHER.app".into(), ..target.clone() };
        assert_eq!(apns.send(&foreign, &note(Class::Call)).await.as_str(), "refused");
        let junk = Target { prid: "not hex".into(), ..target };
        assert_eq!(apns.send(&junk, &note(Class::Call)).await.as_str(), "gone");
    }
}
