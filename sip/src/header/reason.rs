//! `Reason` (RFC 3326): why a request, mostly CANCEL or BYE, was sent.

use std::borrow::Cow;
use std::fmt;

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{self, decimal, is_token_str, trim};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, …
    pub protocol: Cow<'a, str>,
    pub cause: Option<u16>,
    /// Without quotes; empty where absent.
    pub text: Cow<'a, str>,
}

impl<'a> Reason<'a> {
    /// A SIP status code as the reason: `SIP;cause=200;text="Call completed elsewhere"`.
    pub fn sip(cause: u16, text: &'a str) -> Reason<'a> {
        Reason { protocol: "SIP".into(), cause: Some(cause), text: text.into() }
    }

    /// One value of the header.
    pub fn parse(value: &'a [u8]) -> Result<Reason<'a>, ParseError> {
        let wrong = |expected| ParseError::Malformed { header: HeaderName::Reason, expected };
        let (protocol, params) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
        let protocol = trim(protocol);
        if !is_token_str(protocol) {
            return Err(wrong("a protocol"));
        }
        let cause = match text::param(params, "cause") {
            None => None,
            Some(cause) => {
                Some(decimal(cause).and_then(|c| u16::try_from(c).ok()).ok_or(wrong("a cause below 65536"))?)
            }
        };
        let text = match text::param(params, "text").map(text::unquote) {
            None => "".into(),
            Some(Cow::Borrowed(text)) => String::from_utf8_lossy(text),
            Some(Cow::Owned(text)) => String::from_utf8_lossy(&text).into_owned().into(),
        };
        Ok(Reason { protocol: String::from_utf8_lossy(protocol), cause, text })
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol)?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        if !self.text.is_empty() {
            f.write_str(";text=")?;
            text::write_quoted(&self.text, f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        for (value, expected) in [
            (
                "SIP ;cause=200 ;text=\"Call completed elsewhere\"",
                Some("SIP;cause=200;text=\"Call completed elsewhere\""),
            ),
            ("Q.850;cause=16;text=\"a \\\"b\\\" \\\\\"", Some("Q.850;cause=16;text=\"a \\\"b\\\" \\\\\"")),
            ("preemption", Some("preemption")),
            ("SIP;cause=x", None),
            ("SIP;cause=70000", None),
            (";cause=1", None),
        ] {
            let got = Reason::parse(value.as_bytes()).ok().map(|r| r.to_string());
            assert_eq!(got.as_deref(), expected, "{value}");
        }
        assert_eq!(Reason::sip(486, "").to_string(), "SIP;cause=486");
    }
}
