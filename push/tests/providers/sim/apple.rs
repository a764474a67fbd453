//! The rules of the Apple Push Notification service.

use std::sync::Mutex;

use hyper::Version;
use serde_json::{Value, json};

use super::{Rules, Says, Script, Seen, token};

pub const TEAM: &str = "TEAM12345A";
pub const KEY_ID: &str = "KEYID12345";
pub const TOPIC: &str = "com.example.app";

/// See the module.
pub struct Apple {
    key: Vec<u8>,
    /// The last token, and when it was first seen.
    last: Mutex<Option<(String, u64)>>,
    pub script: Script,
}

fn no(status: u16, reason: &str) -> Result<(), Says> {
    Err(Says::new(status, json!({ "reason": reason }).to_string()))
}

/// As the service says it.
pub fn says(status: u16, reason: &str) -> Says {
    Says::new(status, json!({ "reason": reason }).to_string())
}

impl Apple {
    pub fn new(key: Vec<u8>) -> Apple {
        Apple { key, last: Mutex::default(), script: Script::default() }
    }

    fn authenticate(&self, seen: &Seen, now: u64) -> Result<(), Says> {
        if seen.certified {
            return Ok(());
        }
        let Some(text) = seen.header("authorization").strip_prefix("bearer ") else {
            return no(403, "MissingProviderToken");
        };
        let Some(checked) = token::es256(text, &self.key) else { return no(403, "InvalidProviderToken") };
        if checked.header["kid"] != KEY_ID || checked.claims["iss"] != TEAM {
            return no(403, "InvalidProviderToken");
        }
        let made = checked.claims["iat"].as_u64().unwrap_or(0);
        if made > now + 60 || made + 3600 < now {
            return no(403, "ExpiredProviderToken");
        }
        let mut last = self.last.lock().unwrap();
        match &*last {
            Some((known, _)) if known == text => {}
            Some((_, since)) if since + 1200 > now => return no(429, "TooManyProviderTokenUpdates"),
            _ => *last = Some((text.to_owned(), now)),
        }
        Ok(())
    }

    /// A token that the service has heard of does not count any more.
    pub fn forget_tokens(&self) {
        *self.last.lock().unwrap() = None;
    }
}

fn addressed(seen: &Seen) -> Result<(), Says> {
    if seen.method != "POST" {
        return no(405, "MethodNotAllowed");
    }
    let Some(device) = seen.path.strip_prefix("/3/device/") else { return no(404, "BadPath") };
    if device.is_empty() {
        return no(400, "MissingDeviceToken");
    }
    if device.len() != 64 || !device.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return no(400, "BadDeviceToken");
    }
    Ok(())
}

fn described(seen: &Seen, now: u64) -> Result<(), Says> {
    let (topic, kind, priority) =
        (seen.header("apns-topic"), seen.header("apns-push-type"), seen.header("apns-priority"));
    let bundle = topic.strip_suffix(".voip").unwrap_or(topic);
    match (topic, bundle) {
        ("", _) => return no(400, "MissingTopic"),
        (_, TOPIC) => {}
        _ => return no(400, "DeviceTokenNotForTopic"),
    }
    match (kind, priority) {
        ("background", "5") if bundle == topic => {}
        ("background", "5") => return no(400, "BadTopic"),
        ("voip", "10") if bundle != topic => {}
        ("voip", "10") => return no(400, "TopicDisallowed"),
        ("background" | "voip", _) => return no(400, "BadPriority"),
        _ => return no(400, "InvalidPushType"),
    }
    if seen.header("apns-expiration").parse::<u64>().map_or(true, |until| until <= now) {
        return no(400, "BadExpirationDate");
    }
    if seen.header("apns-collapse-id").len() > 64 {
        return no(400, "BadCollapseId");
    }
    let body: Value = seen.json();
    let is_shown = kind == "voip" || body["aps"]["content-available"] == 1;
    if !body["aps"].is_object() || !is_shown {
        return no(400, "PayloadEmpty");
    }
    if seen.body.len() > if kind == "voip" { 5120 } else { 4096 } {
        return no(413, "PayloadTooLarge");
    }
    Ok(())
}

impl Rules for Apple {
    fn judge(&self, seen: &Seen, now: u64) -> Says {
        if seen.version != Version::HTTP_2 {
            return Says::new(505, "");
        }
        let judged = addressed(seen).and_then(|()| self.authenticate(seen, now)).and_then(|()| described(seen, now));
        match judged {
            Err(says) => says,
            Ok(()) => self.script.next().unwrap_or_else(|| Says::new(200, "").with("apns-id", "E77A3D12")),
        }
    }
}
