//! Stored secrets: H(username:realm:password) for each hash (RFC 7616 §3.4.2), so that no password is kept.

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};
use std::fmt;
use subtle::ConstantTimeEq;

use crate::algorithm::{Algorithm, Hash};
use crate::username::Form;

/// HA1 for the three hashes. Whoever reads it can answer challenges of its realm: treat it as a secret.
#[derive(Clone)]
pub struct Ha1Set {
    pub md5: [u8; 16],
    pub sha256: [u8; 32],
    pub sha512_256: [u8; 32],
}

impl Ha1Set {
    /// Length of the stored form.
    pub const LEN: usize = 80;

    /// From a password; raw bytes, since AKA passwords are not text (RFC 3310 §3.3).
    pub fn from_password(user: &str, realm: &str, password: &[u8]) -> Self {
        fn h<D: Digest>(user: &str, realm: &str, password: &[u8]) -> D {
            D::new().chain_update(user).chain_update(b":").chain_update(realm).chain_update(b":").chain_update(password)
        }
        Self {
            md5: h::<Md5>(user, realm, password).finalize().into(),
            sha256: h::<Sha256>(user, realm, password).finalize().into(),
            sha512_256: h::<Sha512_256>(user, realm, password).finalize().into(),
        }
    }

    /// A stand-in for the secrets of a user that does not exist: the same for the same user each time, and matched
    /// by no password that anybody can find, so that the work and the answer are those of a wrong password.
    pub fn decoy(key: &[u8; 32], user: &str) -> Self {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
        let seed: [u8; 32] = mac.chain_update(b"decoy\0").chain_update(user).finalize().into_bytes().into();
        let mut md5 = [0; 16];
        md5.copy_from_slice(&seed[..16]);
        Self { md5, sha256: seed, sha512_256: seed }
    }

    /// The stored form: MD5, SHA-256, SHA-512/256 in this order.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..16].copy_from_slice(&self.md5);
        out[16..48].copy_from_slice(&self.sha256);
        out[48..].copy_from_slice(&self.sha512_256);
        out
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let mut set = Self { md5: [0; 16], sha256: [0; 32], sha512_256: [0; 32] };
        set.md5.copy_from_slice(&bytes[..16]);
        set.sha256.copy_from_slice(&bytes[16..48]);
        set.sha512_256.copy_from_slice(&bytes[48..]);
        set
    }

    /// Whether the secret for an algorithm is known; one that is not is zeros, and nothing answers it.
    pub fn has(&self, algorithm: Algorithm) -> bool {
        self.get(algorithm.hash()).iter().any(|byte| *byte != 0)
    }

    pub(crate) fn get(&self, hash: Hash) -> &[u8] {
        match hash {
            Hash::Md5 => &self.md5,
            Hash::Sha256 => &self.sha256,
            Hash::Sha512_256 => &self.sha512_256,
        }
    }
}

impl PartialEq for Ha1Set {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes().ct_eq(&other.to_bytes()).into()
    }
}

impl Eq for Ha1Set {}

impl fmt::Debug for Ha1Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ha1Set(…)")
    }
}

/// HA1 for each spelling of the username. A client that calls itself `alice@example.com` hashes that spelling, which
/// the secrets of `alice` cannot check; so an account that is to be reached by all of them stores all three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ha1Forms {
    pub plain: Ha1Set,
    pub at_domain: Ha1Set,
    pub uri: Ha1Set,
}

impl Ha1Forms {
    /// Length of the stored form.
    pub const LEN: usize = 3 * Ha1Set::LEN;

    /// From a password; the realm is the domain.
    pub fn from_password(user: &str, realm: &str, password: &[u8]) -> Self {
        Self {
            plain: Ha1Set::from_password(user, realm, password),
            at_domain: Ha1Set::from_password(&format!("{user}@{realm}"), realm, password),
            uri: Ha1Set::from_password(&format!("sip:{user}@{realm}"), realm, password),
        }
    }

    /// The secrets for one spelling.
    pub fn get(&self, form: Form) -> &Ha1Set {
        match form {
            Form::Plain => &self.plain,
            Form::AtDomain => &self.at_domain,
            Form::Uri => &self.uri,
        }
    }

    /// The stored form: plain, `user@domain`, `sip:user@domain`.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        for (chunk, set) in out.chunks_exact_mut(Ha1Set::LEN).zip([&self.plain, &self.at_domain, &self.uri]) {
            chunk.copy_from_slice(&set.to_bytes());
        }
        out
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let set = |index: usize| {
            let mut one = [0; Ha1Set::LEN];
            one.copy_from_slice(&bytes[index * Ha1Set::LEN..][..Ha1Set::LEN]);
            Ha1Set::from_bytes(&one)
        };
        Self { plain: set(0), at_domain: set(1), uri: set(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn each_hash() {
        let set = Ha1Set::from_password("bob", "example.com", b"s3cr3t-pw");
        assert_eq!(hex(&set.md5), "0e8359df8d2ad12d237d275cce1c7ab2");
        assert_eq!(hex(&set.sha256), "bd9384b70d57d32d46ade096bdc024dbcdd65239a6ccec197f559a22fb256dff");
        assert_eq!(hex(&set.sha512_256), "7dc6ec026f6bb2f165205b5fd2f9da8e44cf36f5de498e7d674e0fbd3940740b");
    }

    #[test]
    fn stored_and_read_back() {
        let forms = Ha1Forms::from_password("bob", "example.com", b"s3cr3t-pw");
        assert_eq!(Ha1Set::from_bytes(&forms.plain.to_bytes()), forms.plain);
        assert_eq!(Ha1Forms::from_bytes(&forms.to_bytes()), forms);
        assert_eq!(forms.get(Form::AtDomain), &Ha1Set::from_password("bob@example.com", "example.com", b"s3cr3t-pw"));
        assert_ne!(forms.get(Form::Uri), forms.get(Form::Plain));
    }

    #[test]
    fn what_is_not_known_is_told() {
        let set = Ha1Set { sha256: [0; 32], ..Ha1Set::from_password("bob", "example.com", b"s3cr3t-pw") };
        assert!(set.has(Algorithm::Md5) && set.has(Algorithm::Md5Sess) && set.has(Algorithm::Sha512_256));
        assert!(!set.has(Algorithm::Sha256) && !set.has(Algorithm::Sha256Sess));
    }

    #[test]
    fn decoys_repeat_and_differ() {
        let key = [7; 32];
        assert_eq!(Ha1Set::decoy(&key, "nobody"), Ha1Set::decoy(&key, "nobody"));
        assert_ne!(Ha1Set::decoy(&key, "nobody"), Ha1Set::decoy(&key, "nobody2"));
        assert_ne!(Ha1Set::decoy(&key, "nobody"), Ha1Set::decoy(&[8; 32], "nobody"));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Ha1Set::decoy(&[7; 32], "nobody")), "Ha1Set(…)");
    }
}
