//! Lower-case hexadecimal on the stack; digests are hashed in this form (RFC 8760 §2.2).

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` into the front of `out` and returns the part written; `out` holds twice as many bytes.
pub(crate) fn encode<'o>(bytes: &[u8], out: &'o mut [u8]) -> &'o [u8] {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    &out[..bytes.len() * 2]
}

/// Reads exactly `out.len() * 2` digits of either case; `None` where that is not what `text` is.
pub(crate) fn decode(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != out.len() * 2 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

/// The value of one hexadecimal digit.
pub(crate) fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let mut text = [0; 6];
        assert_eq!(encode(&[0x00, 0xa7, 0xff], &mut text), b"00a7ff");
        for (name, text, expected) in [
            ("lower", "00a7ff", Some([0x00, 0xa7, 0xff])),
            ("upper", "00A7FF", Some([0x00, 0xa7, 0xff])),
            ("short", "00a7f", None),
            ("long", "00a7ff00", None),
            ("not a digit", "00a7fg", None),
        ] {
            let mut bytes = [0; 3];
            assert_eq!(decode(text.as_bytes(), &mut bytes).map(|()| bytes), expected, "{name}");
        }
    }
}
