//! Transfer encodings of content (RFC 2045 §6).

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Some senders leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The content without the encoding that `Content-Transfer-Encoding` names; `None` if it is not in it, or if nobody
/// knows that encoding.
pub(crate) fn decode<'a>(encoding: Option<&str>, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let encoding = encoding.unwrap_or_default().trim().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "7bit" | "8bit" | "binary" => Some(Cow::Borrowed(body)),
        "base64" => {
            let text: Vec<u8> = body.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
            BASE64.decode(text).ok().map(Cow::Owned)
        }
        "quoted-printable" => quoted_printable(body).map(Cow::Owned),
        _ => None,
    }
}

/// RFC 2045 §6.7. Spaces at the end of a line were added on the way.
fn quoted_printable(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|c| *c == b'\n') {
        let end = line.iter().rposition(|c| !c.is_ascii_whitespace()).map_or(0, |last| last + 1);
        let break_at = line.len() - if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
        let mut rest = &line[..end];
        let soft = rest.last() == Some(&b'=');
        if soft {
            rest = &rest[..rest.len() - 1];
        }
        while let Some(at) = rest.iter().position(|c| *c == b'=') {
            out.extend_from_slice(&rest[..at]);
            let digits = rest.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = &rest[at + 3..];
        }
        out.extend_from_slice(rest);
        if !soft {
            out.extend_from_slice(&line[break_at..]);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodings() {
        for (encoding, body, expected) in [
            (None, "a=b", Some("a=b")),
            (Some("8BIT"), "a=b", Some("a=b")),
            (Some(" Base64 "), "aGVs\r\nbG8=\r\n", Some("hello")),
            (Some("base64"), "aGVsbG8", Some("hello")),
            (Some("base64"), "!", None),
            (Some("quoted-printable"), "Gr=C3=BC=C3=9Fe =\r\n=3d 1 \t\r\nend", Some("Grüße = 1\r\nend")),
            (Some("quoted-printable"), "a=4", None),
            (Some("quoted-printable"), "a=zz", None),
            (Some("x-uuencode"), "a", None),
        ] {
            let seen = decode(encoding, body.as_bytes()).map(|bytes| String::from_utf8(bytes.into_owned()).unwrap());
            assert_eq!(seen.as_deref(), expected, "{encoding:?} {body:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..80), soft in "[=A-F0-9 \r\n]{0,20}") {
            for encoding in ["base64", "quoted-printable"] {
                let _ = decode(Some(encoding), &body);
                let _ = decode(Some(encoding), soft.as_bytes());
            }
        }
    }
}
