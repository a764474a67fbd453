//! Globally routable user agent URIs (RFC 5627 §5).
//!
//! Both kinds are computed, not stored. A public GRUU is the AOR with the instance-id in `gr`. A temporary one has a
//! user part that only we can read: the user, the instance, the Call-ID and the time, encrypted with AES-SIV
//! (RFC 5297), which needs no random numbers. It is valid while a binding of that instance has that Call-ID and is as
//! old as the GRUU, so it dies with the last binding or when the device starts anew (§5.1, §5.3).

use std::fmt::Write as _;

use aes_siv::aead::KeyInit as _;
use aes_siv::siv::Aes128Siv;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Binding;
use crate::uri::{Aor, Scheme, Uri, escape_param, unescape};

/// Tells the user parts of temporary GRUUs from those of users.
const PREFIX: &str = "tgruu.";
const INSTANCE: usize = 6;
const CALL_ID: usize = 4;
/// Time, CSeq.
const STAMP: usize = 4 + 2;
const TAG: usize = 16;
/// Longest encoded token that is looked at.
const MAX_TOKEN: usize = 512;

/// Makes and reads GRUUs; all nodes of a domain share the key.
#[derive(Clone)]
pub struct GruuKey([u8; 32]);

impl std::fmt::Debug for GruuKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GruuKey(..)")
    }
}

/// A Request-URI that is a GRUU of ours: the AOR to look up and which of its bindings count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gruu {
    pub aor: Aor,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Public { instance_id: String },
    Temporary { instance: [u8; INSTANCE], call_id: [u8; CALL_ID], made: u32 },
}

/// Why a request for a GRUU is refused (RFC 5627 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GruuError {
    #[error("no such GRUU, or no longer")]
    NotFound,
    #[error("no binding of that instance")]
    Unavailable,
}

impl GruuError {
    pub fn status(self) -> u16 {
        match self {
            GruuError::NotFound => 404,
            GruuError::Unavailable => 480,
        }
    }
}

impl GruuKey {
    pub fn new(key: [u8; 32]) -> GruuKey {
        GruuKey(key)
    }

    /// Appends the public GRUU of a device; nothing for an AOR that is not a SIP URI.
    pub fn write_public(&self, aor: &Aor, instance_id: &str, out: &mut String) {
        if !aor.host().is_empty() {
            let _ = write!(out, "{};gr={}", aor.to_uri(), escape_param(instance_id));
        }
    }

    /// Appends a temporary GRUU for a binding, new for each CSeq and second; nothing where the binding has no
    /// instance-id or the AOR is not a SIP URI. `now` is in seconds since the Unix epoch.
    pub fn write_temporary(&self, aor: &Aor, binding: &Binding, now: u64, out: &mut String) {
        let Some(instance_id) = binding.instance_id() else { return };
        if aor.host().is_empty() {
            return;
        }
        let mut plain = Vec::with_capacity(INSTANCE + CALL_ID + STAMP + aor.user().len());
        plain.extend_from_slice(&digest::<INSTANCE>(&instance_id.to_ascii_lowercase()));
        plain.extend_from_slice(&digest::<CALL_ID>(binding.call_id()));
        plain.extend_from_slice(&(now as u32).to_be_bytes());
        plain.extend_from_slice(&(binding.cseq as u16).to_be_bytes());
        plain.extend_from_slice(aor.user().as_bytes());
        let domain = aor.host().as_bytes();
        // It can only fail for more associated data than there are components.
        let Ok(sealed) = Aes128Siv::new(&self.0.into()).encrypt([domain], &plain) else { return };
        let _ = write!(out, "sip:{PREFIX}");
        URL_SAFE_NO_PAD.encode_string(sealed, out);
        let _ = write!(out, "@{};gr", aor.host());
    }

    /// Reads a Request-URI of our domain: `None` where it has no `gr` parameter.
    pub fn read(&self, uri: &Uri<'_>) -> Result<Option<Gruu>, GruuError> {
        let Some(gr) = uri.param("gr") else { return Ok(None) };
        if uri.scheme == Scheme::Tel {
            return Err(GruuError::NotFound);
        }
        if !gr.is_empty() {
            let aor = Aor::of(uri).ok_or(GruuError::NotFound)?;
            return Ok(Some(Gruu { aor, kind: Kind::Public { instance_id: unescape(gr).into_owned() } }));
        }
        self.open(uri).ok_or(GruuError::NotFound).map(Some)
    }

    fn open(&self, uri: &Uri<'_>) -> Option<Gruu> {
        let token = uri.user.strip_prefix(PREFIX).filter(|t| t.len() <= MAX_TOKEN)?;
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        if sealed.len() < TAG {
            return None;
        }
        let host = uri.host.trim_end_matches('.').to_ascii_lowercase();
        let plain = Aes128Siv::new(&self.0.into()).decrypt([host.as_bytes()], &sealed).ok()?;
        let (instance, rest) = plain.split_first_chunk()?;
        let (call_id, rest) = rest.split_first_chunk()?;
        let (made, rest) = rest.split_first_chunk()?;
        let user = std::str::from_utf8(rest.get(2..)?).ok()?;
        Some(Gruu {
            aor: Aor::from_canonical(format!("{user}@{host}")),
            kind: Kind::Temporary { instance: *instance, call_id: *call_id, made: u32::from_be_bytes(*made) },
        })
    }
}

impl Gruu {
    /// Whether `binding`, one of the AOR's, belongs to the instance; for use with [`super::targets()`].
    pub fn admits(&self, binding: &Binding) -> bool {
        let Some(id) = binding.instance_id() else { return false };
        match &self.kind {
            Kind::Public { instance_id } => id.eq_ignore_ascii_case(instance_id),
            Kind::Temporary { instance, .. } => digest::<INSTANCE>(&id.to_ascii_lowercase()) == *instance,
        }
    }

    /// Whether the GRUU is valid and has a binding; the AOR itself must exist, which the caller knows. A public GRUU
    /// is valid as long as its AOR is (§5.4).
    pub fn check(&self, bindings: &[Binding], now: u64) -> Result<(), GruuError> {
        let mut mine = bindings.iter().filter(|b| b.expires() > now && self.admits(b));
        match &self.kind {
            Kind::Public { .. } => mine.next().map(|_| ()).ok_or(GruuError::Unavailable),
            Kind::Temporary { call_id, made, .. } => mine
                .any(|b| digest::<CALL_ID>(b.call_id()) == *call_id && b.registered() as u32 <= *made)
                .then_some(())
                .ok_or(GruuError::NotFound),
        }
    }
}

fn digest<const N: usize>(text: &str) -> [u8; N] {
    let mut short = [0; N];
    short.copy_from_slice(&Sha256::digest(text)[..N]);
    short
}

#[cfg(test)]
mod tests {
    use super::super::Parts;
    use super::*;

    fn binding(call_id: &str, registered: u64) -> Binding {
        let contact = "sip:a@192.0.2.1";
        let instance_id = Some("urn:uuid:0C67446E-F1A1");
        Binding::new(Parts { contact, instance_id, call_id, cseq: 1, registered, expires: 5000, ..Parts::default() })
            .unwrap()
    }

    fn read(key: &GruuKey, uri: &str) -> Result<Option<Gruu>, GruuError> {
        key.read(&Uri::parse(uri.as_bytes()).unwrap())
    }

    #[test]
    fn public_gruus_name_the_instance() {
        let (key, aor) = (GruuKey::new([1; 32]), Aor::from_canonical("a b@example.com"));
        let mut uri = String::new();
        key.write_public(&aor, "urn:uuid:0c67446e-f1a1", &mut uri);
        assert_eq!(uri, "sip:a%20b@example.com;gr=urn:uuid:0c67446e-f1a1");
        let gruu = read(&key, &uri).unwrap().unwrap();
        assert_eq!(gruu.aor, aor);
        assert_eq!(gruu.check(&[binding("c", 0)], 100), Ok(()));
        assert_eq!(gruu.check(&[binding("c", 0)], 6000), Err(GruuError::Unavailable));
        assert_eq!(read(&key, "sip:a@example.com"), Ok(None));
    }

    #[test]
    fn temporary_gruus_tell_nothing_and_end_with_the_registration() {
        let (key, aor) = (GruuKey::new([1; 32]), Aor::from_canonical("+491510000000@example.com"));
        let (mut uri, mut next) = (String::new(), String::new());
        key.write_temporary(&aor, &binding("c", 1000), 1010, &mut uri);
        let mut later = binding("c", 1000);
        later.cseq = 2;
        key.write_temporary(&aor, &later, 1010, &mut next);
        assert!(uri != next && !uri.contains("49151") && uri.len() < 110, "{uri}");
        let gruu = read(&key, &uri).unwrap().unwrap();
        assert_eq!(gruu.aor, aor);
        for (name, bindings, expected) in [
            ("same registration", vec![binding("c", 1000)], Ok(())),
            ("other Call-ID", vec![binding("d", 1000)], Err(GruuError::NotFound)),
            ("registered anew", vec![binding("c", 1011)], Err(GruuError::NotFound)),
            ("a second flow", vec![binding("d", 1011), binding("c", 1000)], Ok(())),
            ("gone", vec![], Err(GruuError::NotFound)),
        ] {
            assert_eq!(gruu.check(&bindings, 1020), expected, "{name}");
        }
        let forged = uri.replacen("tgruu.", "tgruu.A", 1);
        assert_eq!(read(&key, &forged), Err(GruuError::NotFound));
        assert_eq!(read(&GruuKey::new([2; 32]), &uri), Err(GruuError::NotFound));
        assert_eq!(read(&key, &uri.replace("example.com", "example.org")), Err(GruuError::NotFound));
    }
}
