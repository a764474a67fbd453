//! Digest with the secrets of a SIM (RFC 3310 AKAv1, RFC 4169 AKAv2).
//!
//! The server side: a [`Vector`] becomes the nonce of a challenge; the answer is right, or asks to resynchronise. A
//! vector is good for one answer; who keeps it has to throw it away with the verdict.

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, engine};
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use crate::algorithm::Algorithm;
use crate::credentials::Credentials;
use crate::digest::check;

/// Clients leave the padding off or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A sequence number of 48 bits, with the layout of TS 33.102 annex C.1: 43 bits SEQ, 5 bits IND.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sqn(u64);

impl Sqn {
    const MASK: u64 = (1 << 48) - 1;

    /// The upper 16 bits are dropped.
    pub const fn new(value: u64) -> Self {
        Self(value & Self::MASK)
    }

    pub const fn value(self) -> u64 {
        self.0
    }

    /// The number for the next vector: the next SEQ with the same IND.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(32))
    }

    pub(crate) fn to_bytes(self) -> [u8; 6] {
        let [_, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

/// Makes vectors for one subscriber: the algorithm set of the SIM with its keys, or a remote authentication centre's
/// answer kept at hand.
pub trait AkaAuthenticator: Send + Sync {
    /// The vector for a random `rand` and a sequence number above all used before.
    fn vector(&self, rand: [u8; 16], sqn: Sqn) -> Vector;

    /// The highest number the SIM has accepted, from the AUTS with which it answered `rand`; `None` if AUTS is not
    /// the SIM's own. The next vector uses [`Sqn::next`] of it.
    fn resynchronise(&self, rand: &[u8; 16], auts: &[u8; 14]) -> Option<Sqn>;
}

/// An authentication vector (TS 33.102 §6.3.2). All but RAND and AUTN is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Vector {
    pub rand: [u8; 16],
    pub autn: [u8; 16],
    /// 4 to 16 bytes, 8 with Milenage.
    pub xres: Vec<u8>,
    pub ck: [u8; 16],
    pub ik: [u8; 16],
}

impl std::fmt::Debug for Vector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vector(…)")
    }
}

/// What a phone answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Authenticated.
    Right,
    /// The phone found the sequence number out of range: give this to [`AkaAuthenticator::resynchronise`], then
    /// challenge anew.
    Resynchronise([u8; 14]),
    /// The phone did not believe our AUTN: the keys differ. Answer 403, or try one fresh vector.
    NetworkRejected,
    /// Not an answer to this vector: challenge.
    OtherChallenge,
    /// Wrong, or with an algorithm that was not offered.
    Wrong,
}

impl Vector {
    /// The nonce of the challenge: base64 of RAND and AUTN (RFC 3310 §3.2).
    pub fn nonce(&self) -> String {
        engine::general_purpose::STANDARD.encode([self.rand, self.autn].concat())
    }

    /// Judges the answer to this vector's challenge, which offered the algorithms in `offered`.
    pub fn judge(&self, credentials: &Credentials<'_>, method: &[u8], body: &[u8], offered: &[Algorithm]) -> Answer {
        if !bool::from(credentials.nonce.ct_eq(self.nonce().as_bytes())) {
            return Answer::OtherChallenge;
        }
        if !credentials.algorithm.is_aka() || !offered.contains(&credentials.algorithm) {
            return Answer::Wrong;
        }
        if let Some(auts) = credentials.auts {
            // Its digest has an empty password and so proves nothing (RFC 3310 §3.4); MAC-S within AUTS does.
            return match decode_auts(auts) {
                Some(auts) => Answer::Resynchronise(auts),
                None => Answer::Wrong,
            };
        }
        if credentials.response.is_empty() {
            return Answer::NetworkRejected;
        }
        let ha1 = self.ha1(credentials);
        if check(credentials, method, body, &ha1).is_ok() { Answer::Right } else { Answer::Wrong }
    }

    fn ha1(&self, credentials: &Credentials<'_>) -> [u8; 16] {
        let start = Md5::new()
            .chain_update(credentials.username.as_bytes())
            .chain_update(b":")
            .chain_update(credentials.realm.as_bytes())
            .chain_update(b":");
        match credentials.algorithm {
            Algorithm::AkaV2Md5 => start.chain_update(self.akav2_password()),
            _ => start.chain_update(&self.xres),
        }
        .finalize()
        .into()
    }

    /// RFC 4169 §3: binds the password to the session keys, so that a client that speaks both versions cannot be
    /// tunnelled.
    fn akav2_password(&self) -> String {
        let mut mac = <Hmac<Md5> as Mac>::new_from_slice(&[&self.xres[..], &self.ik, &self.ck].concat())
            .expect("HMAC takes keys of any length");
        mac.update(b"http-digest-akav2-password");
        engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
    }
}

fn decode_auts(text: &[u8]) -> Option<[u8; 14]> {
    // 14 bytes are 19 characters and a pad; the buffer leaves room for the estimate of the decoder.
    let mut out = [0; 24];
    if text.len() > 20 {
        return None;
    }
    let len = LENIENT.decode_slice(text, &mut out).ok()?;
    out[..len].try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Milenage;
    use crate::challenge::Challenge;
    use crate::{Ha1Set, Qop};

    const REALM: &str = "ims.mnc001.mcc001.3gppnetwork.org";
    const OFFERED: [Algorithm; 2] = [Algorithm::AkaV2Md5, Algorithm::AkaV1Md5];

    /// K and OPc of the vectors that an independent implementation made.
    fn sim() -> Milenage {
        let mut opc = [0; 16];
        crate::hex::decode(b"3d307b3d58482f495783cb8e4ce922bb", &mut opc).unwrap();
        let k = std::array::from_fn(|n| 0x11 * n as u8);
        Milenage::new(&k, opc)
    }

    fn vector() -> Vector {
        sim().vector(std::array::from_fn(|n| 0x10 + n as u8), Sqn::new(0x20))
    }

    fn answer(tail: &str) -> Answer {
        let text = format!(
            "Digest username=\"001010000000001@{REALM}\", realm=\"{REALM}\", uri=\"sip:{REALM}\", \
             nonce=\"{}\", {tail}",
            vector().nonce()
        );
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        vector().judge(&credentials, b"REGISTER", b"", &OFFERED)
    }

    #[test]
    fn challenge_is_rand_and_autn() {
        assert_eq!(vector().nonce(), "EBESExQVFhcYGRobHB0eH9U3V4B+D4AAVonBTCQ43t8=");
        let challenge = Challenge {
            realm: REALM,
            nonce: &vector().nonce(),
            opaque: None,
            stale: false,
            qop: &[Qop::Auth],
            algorithms: &OFFERED,
        };
        let first = challenge.values().next().unwrap();
        assert!(first.contains("algorithm=AKAv2-MD5") && first.contains("+D4AAVonBTCQ43t8=\""), "{first}");
    }

    #[test]
    fn answers() {
        let counted = "qop=auth, nc=00000001, cnonce=\"6629fae4\"";
        for (name, tail, expected) in [
            (
                "v1 without qop",
                r#"algorithm=AKAv1-MD5, response="d89cebeb1a0133c062d310d435f7c7f0""#.to_owned(),
                Answer::Right,
            ),
            (
                "v1",
                format!(r#"algorithm=AKAv1-MD5, {counted}, response="2b9276ff2a0f141b1308eccb1f545036""#),
                Answer::Right,
            ),
            (
                "v2",
                format!(r#"algorithm=AKAv2-MD5, {counted}, response="08341c7f46484c288de71fa44676bab6""#),
                Answer::Right,
            ),
            (
                "v1 called v2",
                format!(r#"algorithm=AKAv2-MD5, {counted}, response="2b9276ff2a0f141b1308eccb1f545036""#),
                Answer::Wrong,
            ),
            (
                "called MD5",
                format!(r#"algorithm=MD5, {counted}, response="2b9276ff2a0f141b1308eccb1f545036""#),
                Answer::Wrong,
            ),
            ("AUTN not believed", r#"algorithm=AKAv1-MD5, response="""#.to_owned(), Answer::NetworkRejected),
            ("broken AUTS", r#"algorithm=AKAv1-MD5, response="", auts="AAAA""#.to_owned(), Answer::Wrong),
            ("long AUTS", format!(r#"algorithm=AKAv1-MD5, response="", auts="{}""#, "A".repeat(400)), Answer::Wrong),
        ] {
            assert_eq!(answer(&tail), expected, "{name}");
        }
        let other = Vector { rand: [9; 16], ..vector() };
        let text = format!("Digest username=u, realm=r, nonce=\"{}\", algorithm=AKAv1-MD5, response=00", other.nonce());
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        assert_eq!(vector().judge(&credentials, b"REGISTER", b"", &OFFERED), Answer::OtherChallenge);
    }

    /// A phone whose SIM is ahead of us: AUTS, a new vector above it, then the right answer.
    #[test]
    fn resynchronisation_then_success() {
        for auts in ["Gy2SP9qAg7sxuAFIUrY=", "Gy2SP9qAg7sxuAFIUrY"] {
            let Answer::Resynchronise(auts) = answer(&format!(r#"algorithm=AKAv1-MD5, response="00", auts="{auts}""#))
            else {
                panic!("{auts}")
            };
            let behind = sim().resynchronise(&vector().rand, &auts).unwrap();
            assert_eq!(behind, Sqn::new(0x40));
            let fresh = sim().vector([3; 16], behind.next());
            assert_ne!(fresh.nonce(), vector().nonce());

            let respond = |response: &str| {
                format!(
                    "Digest username=\"u\", realm=\"r\", nonce=\"{}\", uri=\"sip:r\", algorithm=AKAv1-MD5, \
                     response=\"{response}\"",
                    fresh.nonce()
                )
            };
            // The phone's digest: MD5 with RES as password.
            let ha1 = Ha1Set::from_password("u", "r", &fresh.xres);
            let (draft, mut out) = (respond("00"), [0; 32]);
            let draft = Credentials::parse(draft.as_bytes()).unwrap();
            let digest = crate::digest::respond(&draft, b"REGISTER", b"", &ha1.md5, &mut out);
            let text = respond(&digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            let credentials = Credentials::parse(text.as_bytes()).unwrap();
            assert_eq!(fresh.judge(&credentials, b"REGISTER", b"", &OFFERED), Answer::Right);
        }
    }

    #[test]
    fn sequence_numbers_stay_in_48_bits() {
        assert_eq!(Sqn::new(0x20).next(), Sqn::new(0x40));
        assert_eq!(Sqn::new(u64::MAX).next().value(), 31);
        assert_eq!(Sqn::from_bytes(Sqn::new(0x0102_0304_0506).to_bytes()).value(), 0x0102_0304_0506);
    }
}
