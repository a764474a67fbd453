//! `name-addr` and `addr-spec` with header parameters: From, To, Contact, Route, Record-Route, Path, Refer-To,
//! P-Asserted-Identity and others (RFC 3261 §20, RFC 8217).

use crate::error::ParseError;
use crate::text::{self, find_outside, is_lws, is_token, trim};
use crate::uri::Uri;

/// One address value. The URI is not looked into; [`NameAddr::uri`] may be of any scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, quotes included; empty where absent.
    pub display: &'a [u8],
    /// The URI without angle brackets. Without brackets, `;` and `?` end the URI (RFC 3261 §20).
    pub uri: &'a [u8],
    /// Header parameters with their leading `;`.
    pub params: &'a [u8],
    pub bracketed: bool,
}

impl<'a> NameAddr<'a> {
    pub fn parse(value: &'a [u8]) -> Result<NameAddr<'a>, ParseError> {
        let value = trim(value);
        match find_outside(value, |b| b == b'<') {
            Some(open) => {
                let display = trim(&value[..open]);
                let fine = match display {
                    [b'"', .., b'"'] => find_outside(display, |b| b != b'"').is_none() && display.len() >= 2,
                    _ => display.iter().all(|b| is_token(*b) || is_lws(*b)),
                };
                if !fine {
                    return Err(ParseError::Uri("a display name of tokens or one quoted string"));
                }
                let close = open + memchr::memchr(b'>', &value[open..]).ok_or(ParseError::Uri("a closing >"))?;
                let params = trim(&value[close + 1..]);
                if !matches!(params.first(), None | Some(b';')) {
                    return Err(ParseError::Uri("parameters after the address"));
                }
                Ok(NameAddr { display, uri: &value[open + 1..close], params, bracketed: true })
            }
            None => {
                if memchr::memchr(b'"', value.split(|b| *b == b';').next().unwrap_or(b"")).is_some() {
                    return Err(ParseError::Uri("an address after the display name"));
                }
                let end = memchr::memchr2(b';', b'?', value).unwrap_or(value.len());
                let uri = trim(&value[..end]);
                if value.get(end) == Some(&b'?') || uri.iter().any(|b| is_lws(*b) || *b == b',') {
                    return Err(ParseError::Uri("angle brackets around a URI with , or ? or blanks"));
                }
                Ok(NameAddr { display: b"", uri, params: &value[end..], bracketed: false })
            }
        }
    }

    /// A header parameter: `None` where absent, empty for a flag.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        text::param(self.params, name)
    }

    pub fn parse_uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::parse(self.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_values() {
        for (value, expected) in [
            ("<sip:a@b>;tag=1", Some(("", "sip:a@b", ";tag=1"))),
            ("sip:a@b;tag=1", Some(("", "sip:a@b", ";tag=1"))),
            (
                "\"J. \\\"X\\\" <y>\" <sip:a@b;x=1?h=v> ; q=0.5",
                Some(("\"J. \\\"X\\\" <y>\"", "sip:a@b;x=1?h=v", "; q=0.5")),
            ),
            ("Two Words<tel:+1>", Some(("Two Words", "tel:+1", ""))),
            ("Bell, Alexander <sip:a@b>", None),
            ("\"unclosed <sip:a@b>", None),
            ("<sip:a@b", None),
            ("sip:a@b?x=1", None),
            ("\"Mr\" sip:a@b", None),
        ] {
            let s = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
            let got = NameAddr::parse(value.as_bytes()).ok().map(|a| (s(a.display), s(a.uri), s(a.params)));
            assert_eq!(got, expected.map(|(d, u, p)| (d.into(), u.into(), p.into())), "{value}");
        }
    }
}
