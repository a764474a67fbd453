//! Web Push (RFC 8030) with VAPID (RFC 8292). What is registered by SIP carries no keys for content, so a push has none
//! (RFC 8599 §15), unless the device adds them ([`crate::sealed`]).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use crate::http::{self, Answer, is_public};
use crate::jose::{KeyError, SigningKey};
use crate::outcome::Outcome;
use crate::sealed::Keys;
use crate::target::Target;
use crate::tls::Tls;
use crate::wake::Class;
use crate::{Note, Provider};

/// Seconds for which a token of VAPID is good; at most a day (RFC 8292 §2).
const TOKEN: u64 = 12 * 3600;

/// The key that tells push services who we are. It must stay: subscriptions are bound to it.
pub struct VapidKey(SigningKey);

impl VapidKey {
    /// Reads the key from a file, or makes one and writes it there.
    pub fn load(path: &Path) -> Result<VapidKey, KeyError> {
        let failed = |error: std::io::Error| KeyError::File(format!("{}: {error}", path.display()));
        let pkcs8 = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
                let made = made.map_err(|_| KeyError::File("no randomness".to_owned()))?.as_ref().to_vec();
                write_private(path, &made).map_err(failed)?;
                made
            }
            Err(error) => return Err(failed(error)),
        };
        SigningKey::es256(&pkcs8).map(VapidKey)
    }

    /// As browsers and devices want it: base64url of the uncompressed point.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public())
    }
}

#[cfg(unix)]
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Pushes to whatever service a subscription names. Services have to be on the Internet and speak HTTPS, but for those
/// whose origin the operator trusts.
pub struct WebPush {
    key: VapidKey,
    subject: String,
    trusted: Vec<String>,
    guarded: reqwest::Client,
    open: reqwest::Client,
}

impl WebPush {
    /// `subject` is a `mailto:` or `https:` URI at which the operator is reached (RFC 8292 §2.1).
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(key: VapidKey, subject: &str, trusted: &[String], tls: &Tls) -> Result<WebPush, String> {
        let client = |guarded| http::client(guarded, tls).map_err(|error| error.to_string());
        let trusted = trusted.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect();
        Ok(WebPush { key, subject: subject.to_owned(), trusted, guarded: client(true)?, open: client(false)? })
    }

    /// Where a subscription may be pushed to, and by which client.
    fn way(&self, prid: &str) -> Result<(reqwest::Url, &reqwest::Client), Outcome> {
        let refused = |why: &str| Outcome::Refused(why.to_owned());
        let url = reqwest::Url::parse(prid).map_err(|_| refused("the subscription is no URL"))?;
        if self.trusted.iter().any(|origin| *origin == url.origin().ascii_serialization()) {
            return Ok((url, &self.open));
        }
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return Err(refused("the subscription is no plain HTTPS URL"));
        }
        // Names are looked at when they are resolved.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if host.parse().is_ok_and(|address| !is_public(address)) {
            return Err(refused("the subscription names an address that is not public"));
        }
        Ok((url, &self.guarded))
    }

    fn authorization(&self, url: &reqwest::Url, now: u64) -> String {
        let audience = url.origin().ascii_serialization();
        let claims = serde_json::json!({ "aud": audience, "exp": now + TOKEN, "sub": self.subject });
        format!("vapid t={}, k={}", self.key.0.token(None, &claims), self.key.public())
    }
}

#[async_trait::async_trait]
impl Provider for WebPush {
    async fn send(&self, target: &Target, note: &Note) -> Outcome {
        let (mut url, client) = match self.way(&target.prid) {
            Ok(way) => way,
            Err(outcome) => return outcome,
        };
        let urgency = if note.class == Class::Call { "high" } else { "normal" };
        let authorization = self.authorization(&url, note.now);
        // RFC 8030 §5.4: at most 32 characters of base64url.
        let topic = URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, note.collapse.as_bytes()));
        let keys = url.fragment().and_then(Keys::of);
        url.set_fragment(None);
        let request = client
            .post(url)
            .header("ttl", note.ttl.as_secs())
            .header("urgency", urgency)
            .header("topic", &topic[..32])
            .header("authorization", authorization);
        let body = keys
            .map(|keys| keys.seal(format!("{{\"sip\":\"wake\",\"class\":\"{}\"}}", note.class.as_str()).as_bytes()));
        let request = match body {
            None => request.header("content-length", 0),
            Some(Some(body)) => request
                .header("content-encoding", "aes128gcm")
                .header("content-type", "application/octet-stream")
                .body(body),
            Some(None) => return Outcome::Gone("the key of the subscription is none".to_owned()),
        };
        match http::send(request).await {
            Ok(answer) => read(&answer),
            Err(outcome) => outcome,
        }
    }

    /// Services of others: each fails by itself, and nobody can have them all left alone by naming one of his own.
    fn circuit(&self, target: &Target) -> String {
        let url = reqwest::Url::parse(&target.prid);
        url.map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
    }

    fn capability(&self) -> Option<String> {
        Some(format!("+sip.vapid=\"{}\"", self.key.public()))
    }
}

fn read(answer: &Answer) -> Outcome {
    let why = format!("HTTP {}", answer.status);
    match answer.status {
        200..=202 | 204 => Outcome::Accepted,
        404 | 410 => Outcome::Gone(why),
        401 | 403 => Outcome::Misconfigured(format!("{why}: VAPID refused")),
        429 | 500..=599 => Outcome::Retry { after: answer.retry_after, why },
        _ => Outcome::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_and_guards_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vapid.key");
        let first = VapidKey::load(&path).unwrap().public();
        assert_eq!(first.len(), 87);
        let key = VapidKey::load(&path).unwrap();
        assert_eq!(key.public(), first);
        let push =
            WebPush::new(key, "mailto:a@example.com", &["http://127.0.0.1:9/".to_owned()], &Tls::default()).unwrap();
        assert_eq!(push.capability(), Some(format!("+sip.vapid=\"{first}\"")));
        for (prid, allowed) in [
            ("https://push.example.com/a", true),
            ("http://push.example.com/a", false),
            ("https://10.0.0.1/a", false),
            ("https://[::1]/a", false),
            ("https://u:p@push.example.com/", false),
            ("http://127.0.0.1:9/x", true),
            ("http://127.0.0.1:10/x", false),
            ("token", false),
        ] {
            assert_eq!(push.way(prid).is_ok(), allowed, "{prid}");
        }
        std::fs::write(&path, "junk").unwrap();
        assert!(VapidKey::load(&path).is_err());
    }

    #[test]
    fn what_services_say() {
        let read = |status| read(&Answer { status, ..Answer::default() }).as_str();
        let seen = [201, 202, 404, 410, 403, 413, 429, 503].map(read);
        assert_eq!(seen, ["accepted", "accepted", "gone", "gone", "misconfigured", "refused", "retry", "retry"]);
    }
}
