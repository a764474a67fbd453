//! Who is who: the addresses of one user.

use chappe_sip::{Aor, Uri};

/// Stands in envelopes for people whom SIP has named already (GSMA RCC.07 §3.2.3).
pub const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// Whether the URI names nobody.
pub fn is_anonymous(uri: &str) -> bool {
    Uri::parse(uri.as_bytes()).is_ok_and(|uri| uri.is_sip() && uri.host.eq_ignore_ascii_case("anonymous.invalid"))
}

/// Whether both URIs are addresses of one user: parameters and the case of the host do not count, and the same global number
/// is the same user with a domain and without. (u) Two domains with one number are two users.
pub fn same_user(one: &str, other: &str) -> bool {
    let aor = |uri: &str| Uri::parse(uri.as_bytes()).ok().and_then(|uri| Aor::of(&uri));
    let (Some(one), Some(other)) = (aor(one), aor(other)) else { return false };
    one == other
        || (one.user() == other.user()
            && one.user().starts_with('+')
            && (one.host().is_empty() || other.host().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_user() {
        for (one, other, expected) in [
            ("sip:alice@example.com", "sips:alice@Example.com:5061;gr=x", true),
            ("sip:alice@example.com", "sip:bob@example.com", false),
            ("sip:alice@example.com", "sip:alice@example.net", false),
            ("tel:+1-555-010-0001", "sip:+15550100001@example.com;user=phone", true),
            ("sip:+15550100001@example.com", "sip:+15550100001@example.net", false),
            ("tel:0100001", "sip:0100001@example.com", false),
            ("urn:x", "urn:x", false),
        ] {
            assert_eq!((same_user(one, other), same_user(other, one)), (expected, expected), "{one} {other}");
        }
        assert!(is_anonymous(ANONYMOUS) && is_anonymous("sip:x@Anonymous.Invalid") && !is_anonymous("sip:a@b"));
    }
}
