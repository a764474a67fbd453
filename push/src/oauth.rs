//! Access tokens of services that give them for a form (RFC 6749 §4.4, RFC 7523): one is kept until shortly before its end.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::http;
use crate::outcome::Outcome;

/// Seconds before its end at which a token is renewed, and for which one is used that does not say.
const MARGIN: u64 = 300;
const LIFETIME: u64 = 3600;

/// The token of one service.
pub(crate) struct AccessToken {
    url: String,
    /// With the time until which it is used, in seconds since the epoch.
    token: Mutex<Option<(Arc<str>, u64)>>,
    /// One renewal at a time.
    renewing: tokio::sync::Mutex<()>,
}

impl AccessToken {
    pub(crate) fn new(url: String) -> AccessToken {
        AccessToken { url, token: Mutex::new(None), renewing: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The service does not take this token any more. One that came since stays.
    pub(crate) fn refused(&self, token: &str) {
        let mut known = self.token.lock();
        if known.as_ref().is_some_and(|(own, _)| **own == *token) {
            *known = None;
        }
    }

    /// The token that is good at `now`, in seconds since the epoch; `form` is what a new one is asked for with.
    pub(crate) async fn get(
        &self,
        client: &reqwest::Client,
        now: u64,
        form: impl FnOnce() -> String,
    ) -> Result<Arc<str>, Outcome> {
        let known = || self.token.lock().as_ref().filter(|(_, until)| now < *until).map(|(token, _)| Arc::clone(token));
        if let Some(token) = known() {
            return Ok(token);
        }
        let _one = self.renewing.lock().await;
        if let Some(token) = known() {
            return Ok(token);
        }
        let request = client.post(&self.url).header("content-type", "application/x-www-form-urlencoded");
        let answer = http::send(request.body(form())).await?;
        if answer.status >= 500 || answer.status == 429 {
            let why = format!("no access token: HTTP {}", answer.status);
            return Err(Outcome::Retry { after: answer.retry_after, why });
        }
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let Some(token) = body["access_token"].as_str().filter(|_| answer.status == 200) else {
            let why = body["error_description"].as_str().or(body["error"].as_str()).unwrap_or_default();
            let why = format!("no access token: HTTP {} {why}", answer.status).trim_end().to_owned();
            return Err(Outcome::Misconfigured(why));
        };
        let token: Arc<str> = token.into();
        let lifetime = body["expires_in"].as_u64().unwrap_or(LIFETIME);
        *self.token.lock() = Some((Arc::clone(&token), now + lifetime.saturating_sub(MARGIN)));
        Ok(token)
    }
}
