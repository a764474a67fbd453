//! `a=fingerprint`: the hash of a certificate (RFC 8122 §5, RFC 4572 §5).

use std::fmt;

use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};

use crate::rules::Leniency;
use crate::text;

/// A hash function that certificates are checked with, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// Broken against collisions; some handsets have nothing else.
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name in the registry of hash function textual names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The hash of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function as its owner named it; those that [`enum@Hash`] lacks are never matched.
    pub function: String,
    pub value: Vec<u8>,
}

impl Fingerprint {
    /// That of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8], hash: Hash) -> Self {
        Self { function: hash.name().to_owned(), value: hash.digest(certificate) }
    }

    /// Reads the value of the attribute.
    #[must_use]
    pub fn parse(value: &str, leniency: Leniency) -> Option<Self> {
        if !leniency.spaces && !text::single_spaced(value) {
            return None;
        }
        let mut words = value.split_ascii_whitespace();
        let (function, hash) = (words.next()?, words.next()?);
        if words.next().is_some() || !text::is_token(function) {
            return None;
        }
        let value = text::hex(hash, leniency.fingerprint_syntax)?;
        Some(Self { function: function.to_owned(), value })
    }

    /// None for functions that are not trusted at all, such as MD5.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        Hash::ALL.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(&self.function))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.function, text::to_hex(&self.value))
    }
}

/// The strongest function among `fingerprints` that is trusted; SHA-1 needs [`Leniency::sha1_fingerprint`].
#[must_use]
pub fn strongest(fingerprints: &[Fingerprint], leniency: Leniency) -> Option<Hash> {
    let hashes = fingerprints.iter().filter_map(Fingerprint::hash);
    hashes.filter(|&hash| hash > Hash::Sha1 || leniency.sha1_fingerprint).max()
}

/// Whether a certificate in DER is one that the peer announced. Only fingerprints of the strongest function count
/// (RFC 8122 §5.1).
#[must_use]
pub fn matches(fingerprints: &[Fingerprint], certificate: &[u8], leniency: Leniency) -> bool {
    let Some(hash) = strongest(fingerprints, leniency) else { return false };
    let digest = hash.digest(certificate);
    fingerprints.iter().any(|fingerprint| fingerprint.hash() == Some(hash) && fingerprint.value == digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str =
        "SHA-256 BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";
    const SHA1: &str = "SHA-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";

    fn read(text: &str) -> Fingerprint {
        Fingerprint::parse(text, Leniency::DEPLOYED).unwrap()
    }

    #[test]
    fn computed_as_fips_180_has_it() {
        assert_eq!(Fingerprint::of(b"abc", Hash::Sha256).to_string(), SHA256);
        assert_eq!(Fingerprint::of(b"abc", Hash::Sha1).to_string(), SHA1);
    }

    #[test]
    fn values() {
        for (value, strict, lenient) in [
            ("SHA-256 0A:BC", true, true),
            ("md5 00", true, true),
            ("sha-256 0a:bc", false, true),
            ("SHA-256 0ABC", false, true),
            ("SHA-256  0A:BC", false, true),
            ("SHA-256", false, false),
            ("SHA-256 ", false, false),
            ("SHA-256 0A:B", false, false),
            ("SHA-256 0AB", false, false),
            ("SHA-256 0A::BC", false, false),
            ("SHA-256 0G", false, false),
            ("SHA-256 0A BC", false, false),
            ("a:b 0A", false, false),
        ] {
            assert_eq!(Fingerprint::parse(value, Leniency::STRICT).is_some(), strict, "{value}: strict");
            assert_eq!(Fingerprint::parse(value, Leniency::DEPLOYED).is_some(), lenient, "{value}: lenient");
        }
    }

    #[test]
    fn certificates_are_checked() {
        let sha256 = read(SHA256);
        let sha1 = read(SHA1);
        let wrong = Fingerprint::of(b"abd", Hash::Sha256);
        let legacy = Leniency { sha1_fingerprint: true, ..Leniency::DEPLOYED };
        for (name, fingerprints, leniency, expected) in [
            ("match", vec![sha256.clone()], Leniency::DEPLOYED, true),
            ("in lower case", vec![read(&SHA256.to_lowercase())], Leniency::DEPLOYED, true),
            ("other certificate", vec![wrong.clone()], Leniency::DEPLOYED, false),
            ("one of several of a function", vec![wrong.clone(), sha256.clone()], Leniency::DEPLOYED, true),
            ("the weaker one does not count", vec![wrong, sha1.clone()], legacy, false),
            ("SHA-1", vec![sha1.clone()], Leniency::DEPLOYED, false),
            ("SHA-1 of a legacy peer", vec![sha1], legacy, true),
            (
                "a function nobody trusts",
                vec![read("MD5 90:01:50:98:3C:D2:4F:B0:D6:96:3F:7D:28:E1:7F:72")],
                legacy,
                false,
            ),
            ("cut short", vec![read("SHA-256 BA:78:16")], Leniency::DEPLOYED, false),
            ("none", vec![], legacy, false),
        ] {
            assert_eq!(matches(&fingerprints, b"abc", leniency), expected, "{name}");
        }
    }
}
