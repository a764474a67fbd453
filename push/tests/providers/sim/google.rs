//! The rules of Firebase Cloud Messaging and of the service that gives its tokens.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Rules, Says, Script, Seen, token};

pub const PROJECT: &str = "example-proj-1";
const EMAIL: &str = "push@example-proj-1.iam.gserviceaccount.com";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// See the module.
pub struct Google {
    url: String,
    key: Vec<u8>,
    given: AtomicU64,
    /// The token that is good, and until when.
    good: Mutex<Option<(String, u64)>>,
    /// What is said to messages, and to those who ask for tokens.
    pub script: Script,
    pub tokens: Script,
}

/// An error as the service writes it.
pub fn error(status: u16, code: &str) -> Says {
    let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
    let details = json!([{ "@type": kind, "errorCode": code }]);
    Says::new(status, json!({ "error": { "code": status, "status": code, "details": details } }).to_string())
}

fn plain(status: u16, code: &str) -> Says {
    Says::new(status, json!({ "error": { "code": status, "status": code } }).to_string())
}

impl Google {
    pub fn new(url: &str) -> Google {
        Google {
            url: url.to_owned(),
            key: token::rsa_public(),
            given: AtomicU64::new(0),
            good: Mutex::default(),
            script: Script::default(),
            tokens: Script::default(),
        }
    }

    /// The file that the console gives.
    pub fn account(url: &str) -> String {
        let token_uri = format!("{url}/token");
        json!({ "type": "service_account", "project_id": PROJECT, "client_email": EMAIL,
            "private_key": token::RSA, "token_uri": token_uri })
        .to_string()
    }

    /// Takes the token back before its time.
    pub fn revoke(&self) {
        *self.good.lock().unwrap() = None;
    }

    fn give(&self, seen: &Seen, now: u64) -> Says {
        if let Some(says) = self.tokens.next() {
            return says;
        }
        let refused = |why: &str| {
            let body = json!({ "error": "invalid_grant", "error_description": why });
            Says::new(400, body.to_string())
        };
        if seen.header("content-type") != "application/x-www-form-urlencoded" {
            return refused("no form");
        }
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        let kind = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
        let Some(assertion) = form.strip_prefix(kind) else { return refused("no assertion") };
        let Some(checked) = token::rs256(assertion, &self.key) else { return refused("Invalid JWT Signature.") };
        let claims = checked.claims;
        let (from, until) = (claims["iat"].as_u64().unwrap_or(0), claims["exp"].as_u64().unwrap_or(0));
        if claims["iss"] != EMAIL || claims["scope"] != SCOPE || claims["aud"] != format!("{}/token", self.url) {
            return refused("Invalid JWT claims.");
        }
        if until > from + 3600 || until <= now || from > now + 60 {
            return refused("Invalid JWT: Token must be a short-lived token.");
        }
        let given = format!("ya29.{}", self.given.fetch_add(1, Ordering::Relaxed));
        *self.good.lock().unwrap() = Some((given.clone(), now + 3600));
        Says::new(200, json!({ "access_token": given, "expires_in": 3600, "token_type": "Bearer" }).to_string())
    }

    fn is_known(&self, seen: &Seen, now: u64) -> bool {
        let good = self.good.lock().unwrap();
        good.as_ref().is_some_and(|(token, until)| {
            now < *until && seen.header("authorization").strip_prefix("Bearer ") == Some(token)
        })
    }
}

/// Whether a message is one: text in its data, no reserved names, a priority and a time that Android knows.
fn is_message(message: &Value) -> bool {
    const RESERVED: [&str; 4] = ["from", "message_type", "collapse_key", "notification"];
    let data = message["data"].as_object();
    let is_text = data.is_some_and(|data| {
        data.iter().all(|(name, value)| {
            value.is_string() && !RESERVED.contains(&&**name) && !name.starts_with("google") && !name.starts_with("gcm")
        })
    });
    let android = &message["android"];
    let ttl = android["ttl"].as_str().and_then(|ttl| ttl.strip_suffix('s')?.parse::<f64>().ok());
    is_text && matches!(android["priority"].as_str(), Some("HIGH" | "NORMAL")) && ttl.is_some()
}

impl Rules for Google {
    fn judge(&self, seen: &Seen, now: u64) -> Says {
        if seen.path == "/token" {
            return self.give(seen, now);
        }
        if seen.path != format!("/v1/projects/{PROJECT}/messages:send") || seen.method != "POST" {
            return plain(404, "NOT_FOUND");
        }
        if !self.is_known(seen, now) {
            return plain(401, "UNAUTHENTICATED");
        }
        if let Some(says) = self.script.next() {
            return says;
        }
        let body = seen.json();
        if !is_message(&body["message"]) || seen.body.len() > 4096 {
            let kind = "type.googleapis.com/google.rpc.BadRequest";
            let details = json!([{ "@type": kind, "fieldViolations": [{ "field": "message" }] }]);
            let error = json!({ "error": { "status": "INVALID_ARGUMENT", "details": details } });
            return Says::new(400, error.to_string());
        }
        if !body["message"]["token"].as_str().is_some_and(|token| token.contains(":APA91b")) {
            return error(400, "INVALID_ARGUMENT");
        }
        Says::new(200, json!({ "name": format!("projects/{PROJECT}/messages/1") }).to_string())
    }
}
