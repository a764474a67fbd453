//! `Replaces` and `Join` (RFC 3891 §3, RFC 3911 §7.1): the dialog that a new call takes the place of or joins.

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{self, is_lws, trim};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaces<'a> {
    pub call_id: &'a [u8],
    pub to_tag: &'a [u8],
    pub from_tag: &'a [u8],
    /// Only a dialog that is not yet confirmed is meant.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    pub fn parse(value: &'a [u8]) -> Result<Replaces<'a>, ParseError> {
        let wrong = |expected| ParseError::Malformed { header: HeaderName::Replaces, expected };
        let value = trim(value);
        let (call_id, params) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
        let call_id = trim(call_id);
        if call_id.is_empty() || call_id.iter().any(|b| is_lws(*b)) {
            return Err(wrong("a Call-ID"));
        }
        let tag = |name| text::param(params, name).filter(|tag| !tag.is_empty());
        Ok(Replaces {
            call_id,
            to_tag: tag("to-tag").ok_or(wrong("to-tag"))?,
            from_tag: tag("from-tag").ok_or(wrong("from-tag"))?,
            early_only: text::param(params, "early-only").is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_values() {
        let r = Replaces::parse(b"98732@h ; from-tag=r33th4x0r;To-Tag=ff87;early-only").unwrap();
        assert_eq!(
            (r.call_id, r.to_tag, r.from_tag, r.early_only),
            (&b"98732@h"[..], &b"ff87"[..], &b"r33th4x0r"[..], true)
        );
        for bad in ["", "a;to-tag=1", "a;from-tag=1", "a b;to-tag=1;from-tag=2", "a;to-tag;from-tag=2"] {
            assert!(Replaces::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
