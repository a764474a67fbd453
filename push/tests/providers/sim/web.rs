//! The rules of a Web Push service (RFC 8030, RFC 8292), and the device behind it, which alone can read what is sent.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::SystemRandom;

use super::{Rules, Says, Script, Seen, token};

/// See the module.
pub struct Web {
    url: String,
    /// Subscriptions by path; with the key that they are bound to once it was seen (RFC 8292 §4).
    subscriptions: Mutex<HashMap<String, Option<String>>>,
    pub script: Script,
}

impl Web {
    pub fn new(url: &str) -> Web {
        Web { url: url.to_owned(), subscriptions: Mutex::default(), script: Script::default() }
    }

    /// A new subscription: its URL.
    pub fn subscribe(&self, name: &str) -> String {
        let path = format!("/p/{name}");
        let url = format!("{}{path}", self.url);
        self.subscriptions.lock().unwrap().insert(path, None);
        url
    }

    /// The user takes it back.
    pub fn unsubscribe(&self, name: &str) {
        self.subscriptions.lock().unwrap().remove(&format!("/p/{name}"));
    }

    fn vouched(&self, seen: &Seen, now: u64) -> Option<String> {
        let parameters = seen.header("authorization").strip_prefix("vapid ")?;
        let value = |name: &str| {
            let parts = parameters.split(',').filter_map(|part| part.trim().split_once('='));
            parts.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
        };
        let (text, key) = (value("t")?, value("k")?);
        let claims = token::es256(&text, &URL_SAFE_NO_PAD.decode(&key).ok()?)?.claims;
        let until = claims["exp"].as_u64()?;
        let about = claims["sub"].as_str()?;
        let is_good = claims["aud"] == self.url
            && until > now
            && until <= now + 86_400
            && (about.starts_with("mailto:") || about.starts_with("https:"));
        is_good.then_some(key)
    }
}

impl Rules for Web {
    fn judge(&self, seen: &Seen, now: u64) -> Says {
        if seen.method != "POST" || seen.header("ttl").parse::<u32>().is_err() {
            return Says::new(400, "TTL");
        }
        if !matches!(seen.header("urgency"), "" | "very-low" | "low" | "normal" | "high") {
            return Says::new(400, "Urgency");
        }
        let topic = seen.header("topic");
        if topic.len() > 32 || topic.bytes().any(|byte| !byte.is_ascii_alphanumeric() && !b"-_".contains(&byte)) {
            return Says::new(400, "Topic");
        }
        let mut subscriptions = self.subscriptions.lock().unwrap();
        let Some(bound) = subscriptions.get_mut(&seen.path) else { return Says::new(410, "") };
        let Some(key) = self.vouched(seen, now) else { return Says::new(401, "") };
        if bound.get_or_insert_with(|| key.clone()) != &key {
            return Says::new(403, "");
        }
        if seen.body.len() > 4096 {
            return Says::new(413, "");
        }
        let is_sealed = seen.header("content-encoding") == "aes128gcm";
        if is_sealed == seen.body.is_empty() {
            return Says::new(400, "Content-Encoding");
        }
        self.script.next().unwrap_or_else(|| Says::new(201, "").with("location", format!("{}/m/1", self.url)))
    }
}

/// The end that reads: its keys are used for one message.
pub struct Reader {
    own: EphemeralPrivateKey,
    public: Vec<u8>,
    auth: [u8; 16],
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(salt: &[u8], secret: &[u8], info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(&[info], Length(N)).unwrap().fill(&mut out).unwrap();
    out
}

impl Reader {
    pub fn new() -> Reader {
        let own = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        let public = own.compute_public_key().unwrap().as_ref().to_vec();
        Reader { own, public, auth: *b"sixteen octets!!" }
    }

    /// What it appends to its subscription.
    pub fn fragment(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("#p256dh={}&auth={}", text(&self.public), text(&self.auth))
    }

    /// Reads a body (RFC 8188 §2, RFC 8291 §3.4).
    pub fn read(self, body: &[u8]) -> Option<Vec<u8>> {
        let (salt, rest) = body.split_at_checked(16)?;
        let (size, rest) = rest.split_at_checked(4)?;
        let (length, rest) = rest.split_first()?;
        let (sender, record) = rest.split_at_checked(usize::from(*length))?;
        if u32::from_be_bytes(size.try_into().ok()?) < record.len() as u32 {
            return None;
        }
        let info = [b"WebPush: info\0", &*self.public, sender].concat();
        let peer = UnparsedPublicKey::new(&ECDH_P256, sender);
        let secret: [u8; 32] = agree_ephemeral(self.own, &peer, |shared| derive(&self.auth, shared, &info)).ok()?;
        let key: [u8; 16] = derive(salt, &secret, b"Content-Encoding: aes128gcm\0");
        let nonce: [u8; 12] = derive(salt, &secret, b"Content-Encoding: nonce\0");
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
        let mut record = record.to_vec();
        let open = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record).ok()?;
        open.strip_suffix(&[2]).map(<[u8]>::to_vec)
    }
}
