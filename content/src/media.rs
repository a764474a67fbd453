//! Media types of files.

/// What a file is where nobody says: bytes.
pub const UNKNOWN: &str = "application/octet-stream";

/// Longest media type that is kept, parameters included.
pub const MAX_MEDIA: usize = 255;

/// `text` where it is `type/subtype`, with or without parameters, fit for a header and for XML.
pub fn checked(text: &str) -> Option<&str> {
    let text = text.trim();
    let (kind, subtype) = essence(text).split_once('/')?;
    let printable = text.bytes().all(|c| (b' '..0x7f).contains(&c));
    (text.len() <= MAX_MEDIA && printable && is_token(kind) && is_token(subtype)).then_some(text)
}

/// Without parameters.
pub fn essence(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

/// Whether `media` is one of `pattern`: a type, `type/*` or `*`.
pub fn matches(pattern: &str, media: &str) -> bool {
    let media = essence(media);
    match pattern.strip_suffix('*') {
        Some(prefix) => media.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => media.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for (text, expected) in [
            ("image/jpeg", Some("image/jpeg")),
            (" audio/wav;voice-recording=yes ", Some("audio/wav;voice-recording=yes")),
            ("image", None),
            ("/jpeg", None),
            ("image/", None),
            ("image/jp eg", None),
            ("image/jpeg\r\nX: y", None),
        ] {
            assert_eq!(checked(text), expected, "{text:?}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, media, expected) in [
            ("*", "a/b", true),
            ("image/*", "Image/PNG", true),
            ("image/*", "imagex/png", false),
            ("text/plain", "text/plain; charset=utf-8", true),
            ("text/plain", "text/html", false),
        ] {
            assert_eq!(matches(pattern, media), expected, "{pattern} {media}");
        }
    }
}
