//! Keys of a leg (RFC 3711): from a DTLS handshake (RFC 5764) or out of its description (RFC 4568).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use rtc_shared::error::Error;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::Crypto;

/// Packets behind the newest one within which a copy is known as one.
const WINDOW: usize = 128;

/// A suite, with the name that SDES gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    Aes128Sha1_80,
    Aes128Sha1_32,
    Aes128Gcm,
    Aes256Gcm,
}

impl Suite {
    /// Those that a description may name (RFC 4568 §6.2, RFC 7714 §14.2), the preferred one first.
    pub const ALL: [Suite; 4] = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::Aes128Sha1_80, Suite::Aes128Sha1_32];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Suite::Aes128Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::Aes128Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::Aes128Gcm => "AEAD_AES_128_GCM",
            Suite::Aes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn profile(self) -> ProtectionProfile {
        match self {
            Suite::Aes128Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Suite::Aes128Sha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            Suite::Aes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Suite::Aes256Gcm => ProtectionProfile::AeadAes256Gcm,
        }
    }

    /// Bytes of key and salt.
    #[must_use]
    pub fn key_len(self) -> usize {
        self.profile().key_len() + self.profile().salt_len()
    }
}

/// Key and salt of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// An `a=crypto` line (RFC 4568 §9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdes {
    pub tag: u32,
    pub suite: Suite,
    pub key: Key,
}

impl Sdes {
    /// Reads the value; `None` for suites, key methods and session parameters that nobody here serves.
    #[must_use]
    pub fn parse(value: &str) -> Option<Sdes> {
        let mut words = value.split_ascii_whitespace();
        let (tag, suite, key) = (words.next()?.parse().ok()?, Suite::named(words.next()?)?, words.next()?);
        // §6.3: what is not understood makes the line invalid; KDR, WSH and FEC parameters are not served.
        if words.next().is_some() {
            return None;
        }
        let inline = key.strip_prefix("inline:")?;
        let (key, rest) = inline.split_once('|').unwrap_or((inline, ""));
        // A lifetime is more than a call has; a master key identifier would be a part of each packet.
        if rest.contains(':') {
            return None;
        }
        let key = STANDARD.decode(key).ok().filter(|key| key.len() == suite.key_len())?;
        Some(Sdes { tag, suite, key: Key(key) })
    }
}

impl std::fmt::Display for Sdes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} inline:{}", self.tag, self.suite.name(), STANDARD.encode(&self.key.0))
    }
}

/// Both directions of a leg.
pub struct Srtp {
    inbound: Context,
    outbound: Context,
}

impl Srtp {
    /// # Errors
    /// Keys of another length than the suite has.
    pub fn new(suite: Suite, inbound: &Key, outbound: &Key, crypto: &Crypto) -> Result<Srtp, Error> {
        let profile = suite.profile();
        let make = |key: &Key, replay: bool| {
            let (key, salt) = key.0.split_at_checked(profile.key_len()).unwrap_or((&[], &[]));
            let rtp = replay.then(|| srtp_replay_protection(WINDOW));
            let rtcp = replay.then(|| srtcp_replay_protection(WINDOW));
            Context::new(key, salt, profile, rtp, rtcp, crypto.provider().crypto())
        };
        Ok(Srtp { inbound: make(inbound, true)?, outbound: make(outbound, false)? })
    }

    /// The packet in the clear.
    ///
    /// # Errors
    /// What was not made with the key, and copies.
    pub fn unprotect(&mut self, packet: &[u8], is_rtcp: bool) -> Result<BytesMut, Error> {
        if is_rtcp { self.inbound.decrypt_rtcp(packet) } else { self.inbound.decrypt_rtp(packet) }
    }

    /// The packet for the wire.
    ///
    /// # Errors
    /// What is no packet.
    pub fn protect(&mut self, packet: &[u8], is_rtcp: bool) -> Result<BytesMut, Error> {
        if is_rtcp { self.outbound.encrypt_rtcp(packet) } else { self.outbound.encrypt_rtp(packet) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Header;

    #[test]
    fn crypto_lines() {
        let key = STANDARD.encode([7; 30]);
        for (value, taken) in [
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}"), true),
            (format!("2 aes_cm_128_hmac_sha1_32 inline:{key}|2^31"), true),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20|1:4"), false),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key} KDR=1"), false),
            (format!("1 F8_128_HMAC_SHA1_80 inline:{key}"), false),
            (format!("x AES_CM_128_HMAC_SHA1_80 inline:{key}"), false),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:AAAA".to_owned(), false),
            ("1 AES_CM_128_HMAC_SHA1_80".to_owned(), false),
        ] {
            assert_eq!(Sdes::parse(&value).is_some(), taken, "{value}");
        }
        let line = Sdes::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^31")).unwrap();
        assert_eq!(Sdes::parse(&line.to_string()), Some(line));
    }

    #[test]
    fn what_is_protected_comes_back_once() {
        let crypto = Crypto::new().unwrap();
        for suite in Suite::ALL {
            let (a, b) = (Key(vec![1; suite.key_len()]), Key(vec![2; suite.key_len()]));
            let mut alice = Srtp::new(suite, &a, &b, &crypto).unwrap();
            let mut bob = Srtp::new(suite, &b, &a, &crypto).unwrap();
            let header =
                Header { marker: false, payload_type: 0, sequence: 9, timestamp: 8, ssrc: 7, payload: 12, padding: 0 };
            let packet = header.write(&[3; 160]);
            let wire = alice.protect(&packet, false).unwrap();
            assert_ne!(wire[12..172], packet[12..172]);
            assert_eq!(bob.unprotect(&wire, false).unwrap()[..], packet[..]);
            assert!(bob.unprotect(&wire, false).is_err(), "a copy");
            let mut damaged = alice.protect(&packet, false).unwrap();
            damaged[20] ^= 1;
            assert!(bob.unprotect(&damaged, false).is_err(), "damaged");
        }
    }
}
