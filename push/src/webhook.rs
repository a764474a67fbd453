//! A web-hook of the operator: whatever can take a POST can wake phones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::http::{self, Answer};
use crate::outcome::Outcome;
use crate::target::Target;
use crate::tls::Tls;
use crate::{Note, Provider};

/// POSTs JSON with the parameters of the device; with a secret, `X-Chappe-Signature: sha256=BASE64` is the HMAC-SHA-256 of
/// the body. 2xx: sent; 404 or 410: the token is gone; 429 or 5xx: later; all else: refused.
pub struct Webhook {
    url: String,
    key: Option<hmac::Key>,
    client: reqwest::Client,
}

impl Webhook {
    /// The URL is the operator's own and may be anywhere.
    ///
    /// # Errors
    /// It is no URL, or TLS cannot be set up.
    pub fn new(url: &str, secret: Option<&str>, tls: &Tls) -> Result<Webhook, String> {
        let url = reqwest::Url::parse(url).map_err(|error| error.to_string())?.to_string();
        let key = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        let client = http::client(false, tls).map_err(|error| error.to_string())?;
        Ok(Webhook { url, key, client })
    }
}

#[async_trait::async_trait]
impl Provider for Webhook {
    async fn send(&self, target: &Target, note: &Note) -> Outcome {
        let body = serde_json::json!({
            "provider": target.provider,
            "param": target.param,
            "prid": target.prid,
            "class": note.class.as_str(),
            "ttl": note.ttl.as_secs(),
            "collapse": note.collapse,
        })
        .to_string();
        let mut request = self.client.post(&self.url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            let tag = STANDARD.encode(hmac::sign(key, body.as_bytes()));
            request = request.header("x-chappe-signature", format!("sha256={tag}"));
        }
        match http::send(request.body(body)).await {
            Ok(answer) => read(&answer),
            Err(outcome) => outcome,
        }
    }
}

fn read(answer: &Answer) -> Outcome {
    let why = format!("HTTP {}", answer.status);
    match answer.status {
        200..=299 => Outcome::Accepted,
        404 | 410 => Outcome::Gone(why),
        429 | 500..=599 => Outcome::Retry { after: answer.retry_after, why },
        401 | 403 => Outcome::Misconfigured(why),
        _ => Outcome::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hook_says() {
        let read = |status| read(&Answer { status, ..Answer::default() }).as_str();
        let seen: Vec<_> = [200, 204, 404, 410, 429, 503, 403, 301, 400].map(read).to_vec();
        let expected =
            ["accepted", "accepted", "gone", "gone", "retry", "retry", "misconfigured", "refused", "refused"];
        assert_eq!(seen, expected);
        assert!(Webhook::new("not a url", None, &Tls::default()).is_err());
    }
}
