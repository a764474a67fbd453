//! `Content-Type` and `Content-Disposition` (RFC 3261 §20.15, §20.11, RFC 2045 §5.1).

use std::borrow::Cow;

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{self, is_token_str, trim};

/// A media type with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// `text`
    pub kind: &'a [u8],
    /// `plain`
    pub subtype: &'a [u8],
    /// Parameters with their leading `;`.
    pub params: &'a [u8],
}

impl<'a> ContentType<'a> {
    pub fn parse(value: &'a [u8]) -> Result<ContentType<'a>, ParseError> {
        let wrong = ParseError::Malformed { header: HeaderName::ContentType, expected: "type/subtype" };
        let value = trim(value);
        let (name, params) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
        let slash = memchr::memchr(b'/', name).ok_or(wrong.clone())?;
        let (kind, subtype) = (trim(&name[..slash]), trim(&name[slash + 1..]));
        if !is_token_str(kind) || !is_token_str(subtype) {
            return Err(wrong);
        }
        Ok(ContentType { kind, subtype, params })
    }

    /// Whether it is this `type/subtype`, in any case.
    pub fn is(&self, media_type: &str) -> bool {
        media_type.split_once('/').is_some_and(|(kind, subtype)| {
            self.kind.eq_ignore_ascii_case(kind.as_bytes()) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
        })
    }

    pub fn is_multipart(&self) -> bool {
        self.kind.eq_ignore_ascii_case(b"multipart")
    }

    /// A parameter without quotes; `None` where absent.
    pub fn param(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        text::param(self.params, name).map(text::unquote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        let t = ContentType::parse(b"Multipart / Mixed ; boundary=\"a;b\\\"c\" ; charset=utf-8").unwrap();
        assert!(t.is("multipart/mixed") && t.is_multipart() && !t.is("multipart/related"));
        assert_eq!(t.param("BOUNDARY").as_deref(), Some(&b"a;b\"c"[..]));
        assert_eq!((t.param("charset").as_deref(), t.param("x")), (Some(&b"utf-8"[..]), None));
        for bad in ["", "text", "text/", "/plain", "te xt/plain", "text/pl@in"] {
            assert!(ContentType::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
