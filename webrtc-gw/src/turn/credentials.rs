//! Credentials that last for a while, which nobody has to store: the name says until when and for whom, the password is
//! made of it with a secret of the server. Relays of others know the form (`use-auth-secret` of coturn).

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};
use ring::hmac;

/// How long a nonce is taken, in seconds (RFC 8489 §9.2 asks for an hour at most).
const NONCE: u64 = 1800;

/// What a client is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").finish_non_exhaustive()
    }
}

/// Makes and knows credentials and nonces.
pub struct Authority {
    realm: String,
    passwords: hmac::Key,
    nonces: hmac::Key,
}

/// Who has signed a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer {
    pub user: Box<str>,
    /// Seconds since the epoch.
    pub expires: u64,
    /// With which answers are signed (RFC 8489 §9.2.2).
    pub key: [u8; 16],
}

impl Authority {
    /// `secret`: shared by all servers whose credentials are to count here.
    #[must_use]
    pub fn new(realm: &str, secret: &[u8]) -> Authority {
        let nonces = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"nonces of a relay");
        Authority {
            realm: realm.to_owned(),
            passwords: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, nonces.as_ref()),
        }
    }

    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Credentials of a user until `expires`, in seconds since the epoch.
    #[must_use]
    pub fn grant(&self, user: &str, expires: u64) -> Grant {
        let username = format!("{expires}:{user}");
        let password = self.password(&username);
        Grant { username, password }
    }

    fn password(&self, username: &str) -> String {
        STANDARD.encode(hmac::sign(&self.passwords, username.as_bytes()))
    }

    /// Whose name that is, if it has the form of ours; whether it was signed shows with the key.
    #[must_use]
    pub fn signer(&self, username: &str) -> Option<Signer> {
        let (expires, user) = username.split_once(':')?;
        let expires = expires.parse().ok()?;
        let text = format!("{username}:{}:{}", self.realm, self.password(username));
        Some(Signer { user: user.into(), expires, key: Md5::digest(text).into() })
    }

    /// A nonce for this client; `now` in seconds since the epoch.
    #[must_use]
    pub fn nonce(&self, client: SocketAddr, now: u64) -> String {
        let until = now + NONCE;
        let tag = hmac::sign(&self.nonces, signed(until, client).as_bytes());
        format!("{until:x}-{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether it is one of ours for this client, and not too old.
    #[must_use]
    pub fn takes(&self, nonce: &[u8], client: SocketAddr, now: u64) -> bool {
        let parts = std::str::from_utf8(nonce).ok().and_then(|text| text.split_once('-'));
        let Some((until, tag)) = parts else { return false };
        let (Ok(until), Ok(tag)) = (u64::from_str_radix(until, 16), URL_SAFE_NO_PAD.decode(tag)) else { return false };
        until > now && hmac::verify(&self.nonces, signed(until, client).as_bytes(), &tag).is_ok()
    }
}

fn signed(until: u64, client: SocketAddr) -> String {
    format!("{until} {client}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_as_other_relays_make_it() {
        // printf '1433895918:filoozom' | openssl dgst -sha1 -hmac north -binary | base64
        let grant = Authority::new("example.com", b"north").grant("filoozom", 1_433_895_918);
        assert_eq!(grant.username, "1433895918:filoozom");
        assert_eq!(grant.password, "TH3sfgqf6Ng61yQOvXfkWzKY7ig=");
    }

    #[test]
    fn nonces_are_for_one_client_and_a_while() {
        let authority = Authority::new("example.com", b"secret");
        let [client, other] = ["192.0.2.1:1000", "192.0.2.1:1001"].map(|text| text.parse::<SocketAddr>().unwrap());
        let nonce = authority.nonce(client, 1000);
        assert!(nonce.len() < 128);
        for (name, bytes, from, now, taken) in [
            ("at once", nonce.as_bytes(), client, 1000, true),
            ("just in time", nonce.as_bytes(), client, 1000 + NONCE - 1, true),
            ("too late", nonce.as_bytes(), client, 1000 + NONCE, false),
            ("of another client", nonce.as_bytes(), other, 1000, false),
            ("cut", &nonce.as_bytes()[..nonce.len() - 1], client, 1000, false),
            ("no number", b"x-y", client, 1000, false),
            ("nothing", b"", client, 1000, false),
        ] {
            assert_eq!(authority.takes(bytes, from, now), taken, "{name}");
        }
    }

    #[test]
    fn names_of_another_form_are_nobodys() {
        let authority = Authority::new("example.com", b"secret");
        assert!(authority.signer("alice").is_none() && authority.signer("soon:alice").is_none());
        let signer = authority.signer("77:alice@example.com").unwrap();
        assert_eq!((&*signer.user, signer.expires), ("alice@example.com", 77));
    }
}
