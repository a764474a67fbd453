//! Media types that a message server tells apart.

/// An envelope (RFC 3862).
pub const CPIM_TYPE: &str = "message/cpim";
/// A receipt (RFC 5438).
pub const IMDN_TYPE: &str = "message/imdn+xml";
/// Typing (RFC 3994).
pub const COMPOSING_TYPE: &str = "application/im-iscomposing+xml";

/// Whether a `Content-Type` value is of this media type; parameters and case do not count.
pub fn is_type(value: &str, media_type: &str) -> bool {
    let end = value.find([';', ',']).unwrap_or(value.len());
    value[..end].trim().eq_ignore_ascii_case(media_type)
}

/// Whether a `Content-Type` value says that somebody is typing (RFC 3994 §4), which is never stored or receipted.
pub fn is_composing(value: &str) -> bool {
    is_type(value, COMPOSING_TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        for (value, media_type, expected) in [
            ("message/cpim", CPIM_TYPE, true),
            (" Message/CPIM ;charset=utf-8", CPIM_TYPE, true),
            ("message/cpimx", CPIM_TYPE, false),
            ("message/imdn+xml", IMDN_TYPE, true),
            ("", IMDN_TYPE, false),
        ] {
            assert_eq!(is_type(value, media_type), expected, "{value}");
        }
        assert!(is_composing("application/im-iscomposing+xml; charset=\"UTF-8\""));
    }
}
