//! `name-addr` and `addr-spec` with header parameters: From, To, Contact, Route, Record-Route, Path, Refer-To,
//! P-Asserted-Identity and others (RFC 3261 §20, RFC 8217).

use crate::error::ParseError;
use crate::text::{self, find_near, is_lws, is_token, quoted_end, trim};
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
        let open = match find_quote_or_bracket(value) {
            Some(0) if value[0] == b'"' => {
                let end = quoted_end(value, 0).ok_or(ParseError::Uri("a closing quote"))?;
                let blanks = value[end..].iter().take_while(|b| is_lws(**b)).count();
                Some(end + blanks)
            }
            Some(hit) if value[hit] == b'<' => {
                if !value[..hit].iter().all(|b| is_token(*b) || is_lws(*b)) {
                    return Err(ParseError::Uri("a display name of tokens or one quoted string"));
                }
                Some(hit)
            }
            // A quote further on is in a parameter.
            _ => None,
        };
        let Some(open) = open else { return NameAddr::bare(value) };
        if value.get(open) != Some(&b'<') {
            return Err(ParseError::Uri("an address after the display name"));
        }
        let close = open + find_near(&value[open..], [b'>']).ok_or(ParseError::Uri("a closing >"))?;
        let (uri, params) = (&value[open + 1..close], trim(&value[close + 1..]));
        if uri.first().is_some_and(|b| is_lws(*b)) || uri.last().is_some_and(|b| is_lws(*b)) {
            return Err(ParseError::Uri("no blanks beside the angle brackets"));
        }
        if !matches!(params.first(), None | Some(b';')) || !text::can_be_extended(params) {
            return Err(ParseError::Uri("parameters after the address"));
        }
        Ok(NameAddr { display: trim(&value[..open]), uri, params, bracketed: true })
    }

    fn bare(value: &'a [u8]) -> Result<NameAddr<'a>, ParseError> {
        let end = find_near(value, [b';', b'?']).unwrap_or(value.len());
        let uri = trim(&value[..end]);
        if value.get(end) == Some(&b'?') || uri.iter().any(|b| is_lws(*b) || matches!(b, b',' | b'"')) {
            return Err(ParseError::Uri("angle brackets around a URI with , or ? or blanks"));
        }
        let params = &value[end..];
        if !text::can_be_extended(params) {
            return Err(ParseError::Uri("parameters after the address"));
        }
        Ok(NameAddr { display: b"", uri, params, bracketed: false })
    }

    /// A header parameter: `None` where absent, empty for a flag.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        text::param(self.params, name)
    }

    pub fn parse_uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::parse(self.uri)
    }
}

fn find_quote_or_bracket(value: &[u8]) -> Option<usize> {
    match value.first() {
        Some(b'<' | b'"') => Some(0),
        _ => find_near(value, [b'<', b'"']),
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
            ("< sip:a@b>", None),
            ("<sip:a@b>;x=<", None),
            ("<sip:a@b>;x=\"", None),
            ("sip:a@b;i=\"<urn:x>\";q=1", Some(("", "sip:a@b", ";i=\"<urn:x>\";q=1"))),
        ] {
            let s = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
            let got = NameAddr::parse(value.as_bytes()).ok().map(|a| (s(a.display), s(a.uri), s(a.params)));
            assert_eq!(got, expected.map(|(d, u, p)| (d.into(), u.into(), p.into())), "{value}");
        }
    }
}
