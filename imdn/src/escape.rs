//! The backslash escapes of CPIM headers (RFC 3862 §2.3).

use std::borrow::Cow;

/// Resolves escapes. A backslash before any other character stands for that character; one at the end is kept.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut chars = rest.chars();
        let Some(c) = chars.next() else {
            out.push('\\');
            break;
        };
        let after = chars.as_str();
        rest = after;
        match c {
            'b' => out.push('\u{8}'),
            't' => out.push('\t'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            'u' => match code_unit(after) {
                Some((unit, after)) => {
                    let (c, after) = character(unit, after);
                    out.push(c);
                    rest = after;
                }
                None => out.push('u'),
            },
            other => out.push(other),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Four digits in front of `text`.
fn code_unit(text: &str) -> Option<(u16, &str)> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))?;
    Some((u16::from_str_radix(digits, 16).ok()?, &text[4..]))
}

/// The character of a code unit, with its second half where it is half of a pair.
fn character(unit: u16, rest: &str) -> (char, &str) {
    if let Some(c) = char::from_u32(u32::from(unit)) {
        return (c, rest);
    }
    if let Some((low, after)) = rest.strip_prefix("\\u").and_then(code_unit)
        && let Some(Ok(c)) = char::decode_utf16([unit, low]).next()
    {
        return (c, after);
    }
    (char::REPLACEMENT_CHARACTER, rest)
}

/// Appends a value with its control characters and backslashes escaped, so that it stays on its line.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes() {
        for (name, text, expected) in [
            ("none", "Objet de message", "Objet de message"),
            ("short ones", r#"a\\b\"c\'d\be\tf\ng\r"#, "a\\b\"c'd\u{8}e\tf\ng\r"),
            ("code unit", r"\u00e4\u20AC", "ä€"),
            ("pair", r"\ud83d\ude00", "😀"),
            ("half a pair", r"\ud83dx", "\u{fffd}x"),
            ("short unit", r"\u00e", "u00e"),
            ("any other", r"\x\(", "x("),
            ("at the end", "a\\", "a\\"),
            ("before a wide character", "\\ä", "ä"),
        ] {
            assert_eq!(unescape(text), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(text: String) {
            let mut escaped = String::new();
            push_escaped(&mut escaped, &text);
            prop_assert!(!escaped.contains(|c: char| c.is_ascii_control()));
            prop_assert_eq!(unescape(&escaped), text);
        }

        #[test]
        fn never_panics(text in "[\\\\ud0-9a-fä]{0,40}") {
            let _ = unescape(&text);
        }
    }
}
