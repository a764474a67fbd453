//! Small pieces of the grammar that several values share.

use std::ops::Range;
use std::str::FromStr;

/// Where the words of `value` stand; any white space is between them.
pub(crate) fn words(value: &str) -> impl Iterator<Item = Range<usize>> {
    value.split_ascii_whitespace().map(move |word| {
        let start = word.as_ptr() as usize - value.as_ptr() as usize;
        start..start + word.len()
    })
}

/// Whether words are parted by exactly one space, and there is none at either end.
pub(crate) fn single_spaced(value: &str) -> bool {
    !value.is_empty() && value.split(' ').all(|word| !word.is_empty() && !word.contains('\t'))
}

/// `token` of RFC 8866 §9.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte)
}

/// Digits and nothing else: no sign.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The value of an attribute: without spaces around it where `spaces` takes them, else none if there are some.
pub(crate) fn trimmed(value: &[u8], spaces: bool) -> Option<&str> {
    let value = std::str::from_utf8(value).ok()?;
    let trimmed = value.trim_matches([' ', '\t']);
    (spaces || trimmed.len() == value.len()).then_some(trimmed)
}

/// Bytes from `AA:BB:CC` (RFC 8122 §5), or, where `loose`, in lower case and without colons.
pub(crate) fn hex(text: &str, loose: bool) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' if loose => Some(byte - b'a' + 10),
        _ => None,
    };
    let pair = |pair: &[u8]| match pair {
        &[high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    if text.is_empty() {
        return None;
    }
    if loose && !text.contains(':') {
        return text.as_bytes().chunks(2).map(pair).collect();
    }
    text.split(':').map(|part| pair(part.as_bytes())).collect()
}

/// The reverse of [`hex`].
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if !text.is_empty() {
            text.push(':');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
    text
}
