//! Content of Web Push that only the device can read (RFC 8291, in the encoding of RFC 8188).
//!
//! What is registered by SIP has no keys for it (RFC 8599 §15). A device that wants content appends them to its
//! subscription as a fragment, which is not sent to the service: `https://push.example/p#p256dh=…&auth=…`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// Octets of a record, of which there is one.
const RECORD: u32 = 4096;
/// Octets of a public key, uncompressed, and of the secret.
const PUBLIC: usize = 65;
const AUTH: usize = 16;

/// The keys of a subscription.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    p256dh: [u8; PUBLIC],
    auth: [u8; AUTH],
}

impl Keys {
    /// Those in the fragment of a subscription; `None` where it has none that can be used.
    pub(crate) fn of(fragment: &str) -> Option<Keys> {
        let value = |name| {
            let parts = fragment.split('&').filter_map(|part| part.split_once('='));
            let (_, text) = parts.into_iter().find(|(found, _)| *found == name)?;
            URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
        };
        let p256dh: [u8; PUBLIC] = value("p256dh")?.try_into().ok().filter(|key: &[u8; PUBLIC]| key[0] == 4)?;
        Some(Keys { p256dh, auth: value("auth")?.try_into().ok()? })
    }

    /// Seals a text for the device. `None` where its key is no point of the curve.
    pub(crate) fn seal(&self, text: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let own = EphemeralPrivateKey::generate(&ECDH_P256, &random).ok()?;
        let sender = own.compute_public_key().ok()?;
        let mut salt = [0; 16];
        random.fill(&mut salt).ok()?;
        let peer = UnparsedPublicKey::new(&ECDH_P256, self.p256dh);
        let ikm =
            agree_ephemeral(own, &peer, |shared| input(shared, &self.auth, &self.p256dh, sender.as_ref())).ok()??;
        sealed(&ikm, &salt, sender.as_ref(), text)
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Option<[u8; N]> {
    let mut out = [0; N];
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(info, Length(N)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

/// RFC 8291 §3.4: what both sides make of the shared secret and their keys.
pub(crate) fn input(shared: &[u8], auth: &[u8], device: &[u8], sender: &[u8]) -> Option<[u8; 32]> {
    derive(auth, shared, &[b"WebPush: info\0", device, sender])
}

/// RFC 8188 §2: header and the one record.
fn sealed(ikm: &[u8; 32], salt: &[u8; 16], sender: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let key: [u8; 16] = derive(salt, ikm, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = derive(salt, ikm, &[b"Content-Encoding: nonce\0"])?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
    let mut record = [text, &[2]].concat();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record).ok()?;
    let length = [u8::try_from(sender.len()).ok()?];
    Some([&salt[..], &RECORD.to_be_bytes(), &length, sender, &record].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    const DEVICE: &str = "BAIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTtGUp968uXcS0t2jyoWqh2Wlb0X8dYWZZS8ol8ZTBuV5Q";

    #[test]
    fn a_known_text_is_sealed_as_others_seal_it() {
        let ikm = decoded("8d8epOsbyRRguWDJR94fmukQFJrWS1bL7hNQXm0bkaE").try_into().unwrap();
        let salt = decoded("EBESExQVFhcYGRobHB0eHw").try_into().unwrap();
        let sender = decoded("BNZak5d8qj0bCBhS_1ennkZfFmBXcwS66tUF3TpIWJzzUBheiVNy32Ih6joTdVfkc_3bZ1XwW9UHw8Uz_OnJEoU");
        let body = sealed(&ikm, &salt, &sender, b"{\"t\":\"msg\"}").unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(body),
            "EBESExQVFhcYGRobHB0eHwAAEABBBNZak5d8qj0bCBhS_1ennkZfFmBXcwS66tUF3TpIWJzzUBheiVNy32Ih6joTdVfkc_3bZ1XwW9UHw8U\
             z_OnJEoU9v0vD3pZlm8SqrCoZmkkhKnDrSbWnG4nSPDuY"
        );
    }

    #[test]
    fn keys_stand_in_the_fragment() {
        let auth = "AAECAwQFBgcICQoLDA0ODw";
        assert!(Keys::of(&format!("p256dh={DEVICE}&auth={auth}")).is_some());
        assert!(Keys::of(&format!("auth={auth}==&x=y&p256dh={DEVICE}=")).is_some());
        for wrong in ["", "p256dh", &format!("p256dh={DEVICE}"), &format!("p256dh={auth}&auth={auth}")] {
            assert!(Keys::of(wrong).is_none(), "{wrong}");
        }
        // Of the right form, and no point: nothing is sealed for it.
        let nowhere = URL_SAFE_NO_PAD.encode([&[4][..], &[1; 64]].concat());
        assert_eq!(Keys::of(&format!("p256dh={nowhere}&auth={auth}")).unwrap().seal(b"x"), None);
        let keys = Keys::of(&format!("p256dh={DEVICE}&auth={auth}")).unwrap();
        let (one, two) = (keys.seal(b"text").unwrap(), keys.seal(b"text").unwrap());
        assert_eq!((one.len(), two.len()), (16 + 4 + 1 + 65 + 4 + 1 + 16, one.len()));
        assert_ne!(one, two, "each with a key of its own");
    }
}
