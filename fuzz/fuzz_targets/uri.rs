//! URIs: each equals itself, an address-of-record survives being written as a URI, escapes come undone.

#![no_main]

use chappe_sip::uri::{escape_param, escape_user, unescape};
use chappe_sip::{Aor, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |b| *b == b'\n');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Ok(text) = std::str::from_utf8(first) {
        assert_eq!(unescape(&escape_user(text)), text);
        assert_eq!(unescape(&escape_param(text)), text);
    }
    let Ok(uri) = Uri::parse(first) else { return };
    assert!(uri.equals(&uri));
    let _ = (uri.ip(), uri.effective_transport(), uri.param("lr"));
    if let Some(aor) = Aor::of(&uri) {
        let again = aor.to_uri();
        let again = Uri::parse(again.as_bytes()).unwrap_or_else(|error| panic!("{again}: {error}"));
        assert_eq!(Aor::of(&again).as_ref(), Some(&aor));
    }
    if let Ok(other) = Uri::parse(second) {
        assert_eq!(uri.equals(&other), other.equals(&uri));
    }
});
