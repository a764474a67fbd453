//! The Windows Push Notification Services: OAuth by the secret of an application, then a POST to the channel of a device.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::http::{self, Answer};
use crate::jose::KeyError;
use crate::oauth::AccessToken;
use crate::outcome::Outcome;
use crate::target::Target;
use crate::tls::Tls;
use crate::wake::Class;
use crate::{Note, Provider, QUOTA};

const TOKEN_URL: &str = "https://login.live.com/accesstoken.srf";
/// Channels lead there; devices say them, so that they are looked at.
const CHANNELS: &str = ".notify.windows.com";

/// Who we are to the service.
#[derive(Debug, Clone, Default)]
pub struct WnsSettings {
    /// The package SID (`ms-app://…`), or the ID of an application in Entra.
    pub client_id: String,
    pub secret: String,
    /// The tenant of an application in Entra; without one tokens are from login.live.com.
    pub tenant: Option<String>,
    /// Stands for the address at which tokens are given.
    pub token_url: Option<String>,
    /// Origins of other services that channels may lead to.
    pub trusted: Vec<String>,
}

/// See the module. `pn-prid` is the URI of the channel; `pn-param` is not looked at.
pub struct Wns {
    client_id: String,
    secret: String,
    scope: &'static str,
    trusted: Vec<String>,
    guarded: reqwest::Client,
    open: reqwest::Client,
    token: AccessToken,
}

impl Wns {
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: WnsSettings, tls: &Tls) -> Result<Wns, KeyError> {
        let client = |guarded| http::client(guarded, tls).map_err(|error| KeyError::File(error.to_string()));
        let (url, scope) = match &settings.tenant {
            Some(tenant) => (
                format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"),
                "https://wns.windows.com/.default",
            ),
            None => (TOKEN_URL.to_owned(), "notify.windows.com"),
        };
        Ok(Wns {
            client_id: settings.client_id,
            secret: settings.secret,
            scope,
            trusted: settings.trusted.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect(),
            guarded: client(true)?,
            open: client(false)?,
            token: AccessToken::new(settings.token_url.unwrap_or(url)),
        })
    }

    /// Where a channel leads, if it may lead there.
    fn way(&self, prid: &str) -> Result<(reqwest::Url, &reqwest::Client), Outcome> {
        let refused = |why: &str| Outcome::Refused(why.to_owned());
        let url = reqwest::Url::parse(prid).map_err(|_| refused("the channel is no URL"))?;
        if self.trusted.iter().any(|origin| *origin == url.origin().ascii_serialization()) {
            return Ok((url, &self.open));
        }
        let is_plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
        if url.scheme() != "https" || !is_plain || !url.host_str().is_some_and(|host| host.ends_with(CHANNELS)) {
            return Err(refused("the channel is not one of the service"));
        }
        Ok((url, &self.guarded))
    }

    fn form(&self) -> String {
        let parts = [("client_id", &*self.client_id), ("client_secret", &self.secret), ("scope", self.scope)];
        let parts = parts.map(|(name, value)| format!("&{name}={}", escaped(value)));
        format!("grant_type=client_credentials{}", parts.concat())
    }

    async fn post(&self, way: (reqwest::Url, &reqwest::Client), note: &Note, token: &str) -> Result<Answer, Outcome> {
        // Of raw notifications the newest with a tag stays; 16 characters of it count.
        let tag = URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, note.collapse.as_bytes()));
        let (url, client) = way;
        let request = client
            .post(url)
            .bearer_auth(token)
            .header("content-type", "application/octet-stream")
            .header("x-wns-type", "wns/raw")
            .header("x-wns-ttl", note.ttl.as_secs())
            .header("x-wns-cache-policy", "cache")
            .header("x-wns-priority", if note.class == Class::Refresh { "2" } else { "1" })
            .header("x-wns-tag", &tag[..16])
            .header("x-wns-requestforstatus", "true");
        let body = json!({ "sip": "wake", "class": note.class.as_str() });
        http::send(request.body(body.to_string())).await
    }

    async fn try_send(&self, target: &Target, note: &Note) -> Result<Answer, Outcome> {
        let way = self.way(&target.prid)?;
        let token = self.token.get(&self.open, note.now, || self.form()).await?;
        let answer = self.post(way.clone(), note, &token).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        // It has ended before its time: once more with a new one.
        self.token.refused(&token);
        let token = self.token.get(&self.open, note.now, || self.form()).await?;
        self.post(way, note, &token).await
    }
}

#[async_trait::async_trait]
impl Provider for Wns {
    async fn send(&self, target: &Target, note: &Note) -> Outcome {
        self.try_send(target, note).await.map_or_else(|outcome| outcome, |answer| read(&answer))
    }
}

fn read(answer: &Answer) -> Outcome {
    let what = answer.header("x-wns-error-description");
    let what = if what.is_empty() { answer.header("x-wns-status") } else { what };
    let why = format!("HTTP {} {what}", answer.status).trim_end().to_owned();
    match (answer.status, answer.header("x-wns-status")) {
        // It was taken, and the device will not get it: its user has said so, or too many came.
        (200, "dropped") => Outcome::Refused(why),
        (200, "channelthrottled") | (406 | 429, _) => {
            Outcome::Retry { after: Some(answer.retry_after.unwrap_or(QUOTA)), why }
        }
        (200..=299, _) => Outcome::Accepted,
        (403 | 404 | 410, _) => Outcome::Gone(why),
        (401, _) => Outcome::Misconfigured(why),
        (500..=599, _) => Outcome::Retry { after: answer.retry_after, why },
        _ => Outcome::Refused(why),
    }
}

/// A value of a form.
fn escaped(value: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_says() {
        for (status, said, expected) in [
            (200, "received", "accepted"),
            (200, "dropped", "refused"),
            (200, "channelthrottled", "retry"),
            (400, "", "refused"),
            (401, "", "misconfigured"),
            (403, "", "gone"),
            (404, "", "gone"),
            (405, "", "refused"),
            (406, "", "retry"),
            (410, "", "gone"),
            (413, "", "refused"),
            (500, "", "retry"),
            (503, "", "retry"),
        ] {
            let mut answer = Answer { status, ..Answer::default() };
            answer.headers.insert("x-wns-status", said.parse().unwrap());
            assert_eq!(read(&answer).as_str(), expected, "{status} {said}");
        }
        assert!(matches!(
            read(&Answer { status: 406, ..Answer::default() }),
            Outcome::Retry { after: Some(QUOTA), .. }
        ));
    }

    #[test]
    fn channels_lead_to_the_service_only() {
        let settings = WnsSettings { trusted: vec!["http://127.0.0.1:9/".to_owned()], ..WnsSettings::default() };
        let wns = Wns::new(settings, &Tls::default()).unwrap();
        for (prid, allowed) in [
            ("https://db5p.notify.windows.com/?token=AwYAAA", true),
            ("http://db5p.notify.windows.com/?token=AwYAAA", false),
            ("https://notify.windows.com.example.com/", false),
            ("https://evil-notify.windows.com/", false),
            ("https://u@db5p.notify.windows.com/", false),
            ("https://db5p.notify.windows.com:8443/", false),
            ("http://127.0.0.1:9/x", true),
            ("http://127.0.0.1:10/x", false),
            ("token", false),
        ] {
            assert_eq!(wns.way(prid).is_ok(), allowed, "{prid}");
        }
        assert_eq!(escaped("ms-app://s-1 2"), "ms-app%3A%2F%2Fs-1%202");
    }
}
