//! Percent-encoding of URIs (RFC 3986 §2.1), and escapes of XML.

/// Not a URI: a `%` without two hexadecimal digits, or octets that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a percent-encoded UTF-8 string")]
pub struct BadEncoding;

/// Decodes once: `%2522` is `%22`. A plus is a plus.
pub fn percent_decode(text: &str) -> Result<String, BadEncoding> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let hex = bytes.get(at + 1..at + 3).ok_or(BadEncoding)?;
            let digit = |byte: u8| (byte as char).to_digit(16).ok_or(BadEncoding);
            out.push((digit(hex[0])? * 16 + digit(hex[1])?) as u8);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).map_err(|_| BadEncoding)
}

/// Encodes what may not stand in a path segment (`pchar`), and the apostrophe, which is a delimiter of selectors. With
/// `slash` a slash stays as it is.
pub fn percent_encode(text: &str, slash: bool) -> String {
    const PLAIN: &[u8] = b"-._~!$&()*+,;=:@";
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) || (slash && byte == b'/') {
            out.push(byte as char);
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                out.push(char::from_digit(half.into(), 16).expect("half a byte is a digit").to_ascii_uppercase());
            }
        }
    }
    out
}

/// Escapes text for content and for attribute values in double quotes; characters that XML has no place for are left out.
pub fn xml_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// Undoes the references that an attribute value may have without a document type (XML 1.0 §4.1, §4.6); `None` for others.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(';')? + at;
        let name = &rest[at + 1..end];
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code).filter(|c| is_xml_char(*c))?
            }
        });
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Some(out)
}

/// `Char` of XML 1.0 §2.2.
pub(crate) fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_once() {
        for (name, encoded, expected) in [
            ("plain", "sip:alice@example.com", Ok("sip:alice@example.com")),
            ("upper and lower", "list%5B@name=%22l1%22%5d", Ok("list[@name=\"l1\"]")),
            ("twice", "a%2522b", Ok("a%22b")),
            ("plus", "tel:+15550100001", Ok("tel:+15550100001")),
            ("beyond ASCII", "%E3%82%A2", Ok("\u{30a2}")),
            ("cut short", "a%2", Err(BadEncoding)),
            ("no digits", "a%zz", Err(BadEncoding)),
            ("a sign is no digit", "a%+1", Err(BadEncoding)),
            ("not UTF-8", "%ff", Err(BadEncoding)),
        ] {
            assert_eq!(percent_decode(encoded).as_deref(), expected.as_ref().copied(), "{name}");
        }
    }

    #[test]
    fn what_a_path_segment_cannot_hold_is_encoded() {
        assert_eq!(percent_encode("list[@name=\"a/b'c\"]", false), "list%5B@name=%22a%2Fb%27c%22%5D");
        assert_eq!(percent_encode("a/b", true), "a/b");
        assert_eq!(percent_encode("\u{c0}", false), "%C3%80");
    }

    #[test]
    fn references_in_attribute_values() {
        for (value, expected) in [
            ("a&amp;b", Some("a&b")),
            ("&#65;&#x42;", Some("AB")),
            ("&quot;&apos;&lt;&gt;", Some("\"'<>")),
            ("&other;", None),
            ("a & b", None),
            ("&#0;", None),
            ("&#xd800;", None),
        ] {
            assert_eq!(unescape(value).as_deref(), expected, "{value}");
        }
    }
}
