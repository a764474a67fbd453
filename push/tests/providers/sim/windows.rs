//! The rules of the Windows Push Notification Services and of the service that gives its tokens.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::{Rules, Says, Script, Seen};

pub const CLIENT: &str = "ms-app://s-1-15-2-2704595244";
pub const SECRET: &str = "Vex8L9WOFZuj95euaLrvSH7XyoDhLJc7";

/// See the module.
#[derive(Default)]
pub struct Windows {
    given: AtomicU64,
    good: Mutex<Option<(String, u64)>>,
    pub script: Script,
}

impl Windows {
    pub fn revoke(&self) {
        *self.good.lock().unwrap() = None;
    }

    fn give(&self, seen: &Seen, now: u64) -> Says {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        let expected = [
            "grant_type=client_credentials".to_owned(),
            "client_id=ms-app%3A%2F%2Fs-1-15-2-2704595244".to_owned(),
            format!("client_secret={SECRET}"),
            "scope=notify.windows.com".to_owned(),
        ];
        if expected.iter().any(|part| !form.split('&').any(|found| found == part)) {
            return Says::new(400, json!({ "error": "invalid_client" }).to_string());
        }
        let given = format!("EgAa{}", self.given.fetch_add(1, Ordering::Relaxed));
        *self.good.lock().unwrap() = Some((given.clone(), now + 86_400));
        Says::new(200, json!({ "access_token": given, "token_type": "bearer", "expires_in": 86_400 }).to_string())
    }
}

impl Rules for Windows {
    fn judge(&self, seen: &Seen, now: u64) -> Says {
        if seen.path == "/accesstoken.srf" {
            return self.give(seen, now);
        }
        let good = self.good.lock().unwrap();
        let is_known = good.as_ref().is_some_and(|(token, until)| {
            now < *until && seen.header("authorization").strip_prefix("Bearer ") == Some(token)
        });
        if !is_known {
            return Says::new(401, "").with("x-wns-error-description", "The token has expired");
        }
        if let Some(says) = self.script.next() {
            return says;
        }
        if seen.header("x-wns-type") != "wns/raw" || seen.header("content-type") != "application/octet-stream" {
            return Says::new(400, "").with("x-wns-error-description", "X-WNS-Type and Content-Type");
        }
        if seen.header("x-wns-ttl").parse::<u64>().is_err() || seen.header("x-wns-tag").len() > 16 {
            return Says::new(400, "").with("x-wns-error-description", "X-WNS-TTL or X-WNS-Tag");
        }
        if seen.body.len() > 5000 {
            return Says::new(413, "");
        }
        Says::new(200, "").with("x-wns-status", "received").with("x-wns-msg-id", "1")
    }
}
