//! Unpadded base64url (RFC 4648 §5), strict: one text for one value.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Encodes without allocating; `out` has exactly the length of the text.
pub(crate) fn encode_into(bytes: &[u8], out: &mut [u8]) {
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, out).expect("the caller sized the buffer");
    debug_assert_eq!(written, out.len());
}

/// Decodes a text whose value has exactly the length of `out`.
pub(crate) fn decode_into(text: &[u8], out: &mut [u8]) -> Option<()> {
    (URL_SAFE_NO_PAD.decode_slice(text, out).ok()? == out.len()).then_some(())
}
