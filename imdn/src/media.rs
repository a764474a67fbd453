//! Media types that a message server tells apart.

use std::borrow::Cow;

/// An envelope (RFC 3862).
pub const CPIM_TYPE: &str = "message/cpim";
/// A receipt (RFC 5438).
pub const IMDN_TYPE: &str = "message/imdn+xml";
/// A receipt, as some RCS clients call it. (u)
const SHORT_IMDN_TYPE: &str = "message/imdn";
/// Typing (RFC 3994).
pub const COMPOSING_TYPE: &str = "application/im-iscomposing+xml";
/// Receipts together (RFC 5438 §8.3).
pub const MIXED_TYPE: &str = "multipart/mixed";

/// Whether a `Content-Type` value is of this media type; parameters and case do not count.
pub fn is_type(value: &str, media_type: &str) -> bool {
    let end = value.find([';', ',']).unwrap_or(value.len());
    value[..end].trim().eq_ignore_ascii_case(media_type)
}

/// Whether a `Content-Type` value says that this is a receipt, under either name.
pub fn is_imdn(value: &str) -> bool {
    is_type(value, IMDN_TYPE) || is_type(value, SHORT_IMDN_TYPE)
}

/// Whether a `Content-Type` value says that somebody is typing (RFC 3994 §4), which is never stored or receipted.
pub fn is_composing(value: &str) -> bool {
    is_type(value, COMPOSING_TYPE)
}

/// Whether a `Content-Type` value is of a multipart type.
pub fn is_multipart(value: &str) -> bool {
    value.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

/// A parameter of a `Content-Type` value, without its quotes; names have no case.
pub(crate) fn parameter<'a>(value: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut rest = value;
    while let Some(start) = separator(rest) {
        rest = &rest[start + 1..];
        let one = rest[..separator(rest).unwrap_or(rest.len())].trim();
        if let Some((found, text)) = one.split_once('=')
            && found.trim_end().eq_ignore_ascii_case(name)
        {
            return Some(unquote(text.trim_start()));
        }
    }
    None
}

/// The next semicolon outside quotes.
fn separator(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|c| match c {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' if quoted => {
            escaped = true;
            false
        }
        b'"' => {
            quoted = !quoted;
            false
        }
        c => c == b';' && !quoted,
    })
}

fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inside) = text.strip_prefix('"') else { return Cow::Borrowed(text) };
    let inside = inside.strip_suffix('"').unwrap_or(inside);
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(out)
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
        assert!(is_imdn("Message/IMDN") && is_imdn("message/imdn+xml;charset=utf-8") && !is_imdn("message/imdnx"));
        assert!(is_multipart(" Multipart/Mixed;boundary=x") && !is_multipart("multipart") && !is_multipart("ä"));
    }

    #[test]
    fn parameters() {
        for (value, expected) in [
            ("multipart/mixed; boundary=b", Some("b")),
            ("multipart/mixed;\r\n  x=\"a;boundary=no\" ; Boundary = \"a b;c\"", Some("a b;c")),
            ("multipart/mixed;boundary=\"a\\\"b\\\\\"", Some("a\"b\\")),
            ("multipart/mixed;boundary=", Some("")),
            ("multipart/mixed;boundary=\"open", Some("open")),
            ("multipart/mixed;boundary", None),
            ("boundary=b", None),
            ("", None),
        ] {
            assert_eq!(parameter(value, "boundary").as_deref(), expected, "{value}");
        }
    }
}
