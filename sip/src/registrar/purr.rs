//! Proxy unique registration references (RFC 8599 §6): what a device puts into the Contact of its dialogs, so that a
//! request within one finds its registration, and it can be woken for it.
//!
//! They are computed, not stored: AOR and device, encrypted with AES-SIV (RFC 5297). Each REGISTER gets a new one, none
//! tells a stranger whose it is or that two belong together, and all are good as long as the device is registered.

use aes_siv::aead::KeyInit as _;
use aes_siv::siv::Aes128Siv;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Binding;
use crate::uri::{Aor, Uri};

/// What it is encrypted for.
const PURPOSE: &[u8] = b"pn-purr";
const DEVICE: usize = 8;
const FRESH: usize = 8;
/// Longest that is looked at.
const MAX: usize = 512;

/// Makes and reads references; all nodes of a domain share the key.
#[derive(Clone)]
pub struct PurrKey([u8; 32]);

impl std::fmt::Debug for PurrKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PurrKey(..)")
    }
}

/// A registration that was referred to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purr {
    pub aor: Aor,
    device: [u8; DEVICE],
}

impl PurrKey {
    pub fn new(key: [u8; 32]) -> PurrKey {
        PurrKey(key)
    }

    /// A reference to the registration of a device. `fresh` is a number that was not used before.
    pub fn write(&self, aor: &Aor, device: &str, fresh: u64) -> String {
        let mut plain = Vec::with_capacity(DEVICE + FRESH + aor.as_str().len());
        plain.extend_from_slice(&digest(device));
        plain.extend_from_slice(&fresh.to_be_bytes());
        plain.extend_from_slice(aor.as_str().as_bytes());
        // It can only fail for more associated data than there are components.
        let sealed = Aes128Siv::new(&self.0.into()).encrypt([PURPOSE], &plain).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The reference in the `pn-purr` of a URI; `None` where there is none of ours.
    pub fn read(&self, uri: &Uri<'_>) -> Option<Purr> {
        let sealed = uri.param("pn-purr").filter(|text| text.len() <= MAX)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let plain = Aes128Siv::new(&self.0.into()).decrypt([PURPOSE], &sealed).ok()?;
        let (device, rest) = plain.split_first_chunk()?;
        let aor = std::str::from_utf8(rest.get(FRESH..)?).ok()?;
        Some(Purr { aor: Aor::from_canonical(aor), device: *device })
    }
}

impl Purr {
    /// Whether `binding`, one of the AOR's, is of the device.
    pub fn admits(&self, binding: &Binding) -> bool {
        digest(binding.device()) == self.device
    }
}

fn digest(device: &str) -> [u8; DEVICE] {
    let mut short = [0; DEVICE];
    short.copy_from_slice(&Sha256::digest(device.to_ascii_lowercase())[..DEVICE]);
    short
}

#[cfg(test)]
mod tests {
    use super::super::Parts;
    use super::*;

    fn read(key: &PurrKey, reference: &str) -> Option<Purr> {
        let uri = format!("sip:x@192.0.2.1:5062;transport=tcp;pn-purr={reference}");
        key.read(&Uri::parse(uri.as_bytes()).unwrap())
    }

    #[test]
    fn a_reference_leads_to_the_device_and_tells_nobody() {
        let (key, aor) = (PurrKey::new([7; 32]), Aor::from_canonical("+491510000000@example.com"));
        let (one, two) = (key.write(&aor, "urn:uuid:A", 1), key.write(&aor, "urn:uuid:A", 2));
        assert_ne!(one[..20], two[..20], "nobody sees that they belong together");
        let binding = |instance| {
            let (contact, instance_id) = ("sip:a@192.0.2.1", Some(instance));
            Binding::new(Parts { contact, instance_id, call_id: "c", expires: 5000, ..Parts::default() }).unwrap()
        };
        for reference in [&one, &two] {
            let purr = read(&key, reference).unwrap();
            assert_eq!(purr.aor, aor);
            assert!(purr.admits(&binding("urn:uuid:a")) && !purr.admits(&binding("urn:uuid:b")));
        }
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "fit for a URI");
    }

    #[test]
    fn a_reference_cannot_be_made_by_others() {
        let (key, aor) = (PurrKey::new([7; 32]), Aor::from_canonical("a@example.com"));
        let good = key.write(&aor, "d", 1);
        assert!(read(&key, &good).is_some());
        let other = PurrKey::new([8; 32]).write(&aor, "d", 1);
        let mut changed = good.clone().into_bytes();
        changed[30] ^= 1;
        let changed = String::from_utf8_lossy(&changed).into_owned();
        for wrong in [other, changed, good[..good.len() - 4].to_owned(), "x".to_owned(), "A".repeat(MAX + 1)] {
            assert_eq!(read(&key, &wrong), None, "{wrong}");
        }
        assert_eq!(key.read(&Uri::parse(b"sip:a@example.com").unwrap()), None);
    }
}
