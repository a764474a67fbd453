//! Stateless nonces (RFC 7616 §5.4): the server recognises its own by an HMAC, so nothing is kept until one is used.
//!
//! ```text
//! base64url( issued: u32 seconds │ salt: 8 bytes │ HMAC-SHA-256(key, issued │ salt │ realm │ binding): first 18 )
//! ```

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::base64url;

const HEAD: usize = 12;
const TAG: usize = 18;
const RAW: usize = HEAD + TAG;
const TEXT: usize = RAW / 3 * 4;

/// A clock this many seconds ahead of ours is still believed; nodes of a cluster check each other's nonces.
const SKEW: u64 = 60;

/// A nonce as text, always 40 characters that need no quoting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; TEXT]);

impl Nonce {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

/// What tells one nonce of ours from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NonceId {
    /// Seconds since the epoch.
    pub issued: u32,
    pub salt: u64,
}

/// What a nonce turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceCheck {
    /// Ours, for this realm and binding, and young enough.
    Valid(NonceId),
    /// Ours but too old: with a right response, answer `stale=true`.
    Stale,
    /// Not ours, or made for another realm or binding, or with a key that has been retired.
    Forged,
}

/// Issues and recognises nonces.
#[derive(Clone)]
pub struct Nonces {
    current: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
    lifetime: u64,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl Nonces {
    /// With a secret `key`, and nonces that live for `lifetime` seconds. Nodes that share a key take each other's.
    pub fn new(key: &[u8; 32], lifetime: u64) -> Self {
        Self { current: mac(key), previous: None, lifetime }
    }

    /// Issues with `key` from now on; nonces made with the key before it stay good until they expire.
    pub fn rotate(&mut self, key: &[u8; 32]) {
        self.previous = Some(std::mem::replace(&mut self.current, mac(key)));
    }

    /// Seconds for which a nonce is good.
    pub fn lifetime(&self) -> u64 {
        self.lifetime
    }

    /// A new nonce. `now` is in seconds since the epoch, `salt` random, and `binding` what else has to be the same
    /// when it comes back: nothing, or the peer's address where clients are known to keep theirs.
    pub fn issue(&self, now: u64, salt: [u8; 8], realm: &str, binding: &[u8]) -> Nonce {
        let mut raw = [0; RAW];
        raw[..4].copy_from_slice(&clamp(now).to_be_bytes());
        raw[4..HEAD].copy_from_slice(&salt);
        let tag = tag(&self.current, &raw[..HEAD], realm, binding);
        raw[HEAD..].copy_from_slice(&tag);
        let mut text = [0; TEXT];
        base64url::encode_into(&raw, &mut text);
        Nonce(text)
    }

    /// Judges a nonce that a client sent, at `now` in seconds since the epoch.
    pub fn check(&self, nonce: &[u8], now: u64, realm: &str, binding: &[u8]) -> NonceCheck {
        let mut raw = [0; RAW];
        if nonce.len() != TEXT || base64url::decode_into(nonce, &mut raw).is_none() {
            return NonceCheck::Forged;
        }
        let (head, received) = raw.split_at(HEAD);
        let ours = |key: &Hmac<Sha256>| bool::from(received.ct_eq(&tag(key, head, realm, binding)));
        if !ours(&self.current) && !self.previous.as_ref().is_some_and(ours) {
            return NonceCheck::Forged;
        }
        let (issued, salt) = head.split_at(4);
        let id = NonceId {
            issued: u32::from_be_bytes(issued.try_into().expect("split at 4")),
            salt: u64::from_be_bytes(salt.try_into().expect("12 less 4")),
        };
        let issued = u64::from(id.issued);
        if now > issued.saturating_add(self.lifetime) || issued > now.saturating_add(SKEW) {
            return NonceCheck::Stale;
        }
        NonceCheck::Valid(id)
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn tag(key: &Hmac<Sha256>, head: &[u8], realm: &str, binding: &[u8]) -> [u8; TAG] {
    // The length keeps realm and binding apart. The key is already absorbed in the clone.
    let length = u32::try_from(realm.len()).unwrap_or(u32::MAX).to_be_bytes();
    let full = key
        .clone()
        .chain_update(head)
        .chain_update(length)
        .chain_update(realm)
        .chain_update(binding)
        .finalize()
        .into_bytes();
    full[..TAG].try_into().expect("SHA-256 is longer")
}

/// Seconds as the nonce carries them, good until 2106.
fn clamp(now: u64) -> u32 {
    u32::try_from(now).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;
    const ID: NonceId = NonceId { issued: 1_800_000_000, salt: 0x0101_0101_0101_0101 };

    fn nonces() -> Nonces {
        Nonces::new(&[1; 32], 300)
    }

    #[test]
    fn recognised_for_what_it_is() {
        let nonce = nonces().issue(NOW, [1; 8], "example.com", b"192.0.2.1");
        let text = nonce.as_str().as_bytes();
        assert_eq!(text.len(), 40);
        for (name, now, realm, binding, expected) in [
            ("at once", NOW, "example.com", "192.0.2.1", NonceCheck::Valid(ID)),
            ("last second", NOW + 300, "example.com", "192.0.2.1", NonceCheck::Valid(ID)),
            ("too old", NOW + 301, "example.com", "192.0.2.1", NonceCheck::Stale),
            ("clock a little behind", NOW - 60, "example.com", "192.0.2.1", NonceCheck::Valid(ID)),
            ("from the future", NOW - 61, "example.com", "192.0.2.1", NonceCheck::Stale),
            ("other realm", NOW, "example.net", "192.0.2.1", NonceCheck::Forged),
            ("other peer", NOW, "example.com", "192.0.2.2", NonceCheck::Forged),
            ("shifted border", NOW, "example.com1", "92.0.2.1", NonceCheck::Forged),
        ] {
            assert_eq!(nonces().check(text, now, realm, binding.as_bytes()), expected, "{name}");
        }
        assert_eq!(Nonces::new(&[2; 32], 300).check(text, NOW, "example.com", b"192.0.2.1"), NonceCheck::Forged);
    }

    #[test]
    fn old_key_serves_until_the_next_rotation() {
        let mut nonces = nonces();
        let nonce = nonces.issue(NOW, [1; 8], "r", b"");
        nonces.rotate(&[2; 32]);
        assert_eq!(nonces.check(nonce.as_str().as_bytes(), NOW, "r", b""), NonceCheck::Valid(ID));
        nonces.rotate(&[3; 32]);
        assert_eq!(nonces.check(nonce.as_str().as_bytes(), NOW, "r", b""), NonceCheck::Forged);
    }

    #[test]
    fn every_bit_counts() {
        let nonce = nonces().issue(NOW, [1; 8], "r", b"");
        for at in 0..TEXT {
            let mut text = nonce.0;
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(nonces().check(&text, NOW, "r", b""), NonceCheck::Forged, "character {at}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), now: u64) {
            prop_assert_eq!(nonces().check(&bytes, now, "r", b""), NonceCheck::Forged);
        }

        #[test]
        fn issued_is_valid(now in 0..u64::from(u32::MAX), salt: [u8; 8], realm: String, binding: Vec<u8>) {
            let nonce = nonces().issue(now, salt, &realm, &binding);
            let seen = nonces().check(nonce.as_str().as_bytes(), now, &realm, &binding);
            let salt = u64::from_be_bytes(salt);
            prop_assert_eq!(seen, NonceCheck::Valid(NonceId { issued: u32::try_from(now).unwrap(), salt }));
        }
    }
}
