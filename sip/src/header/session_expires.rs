//! `Session-Expires` (RFC 4028 §4).

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{self, decimal, trim};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    Uac,
    Uas,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    pub seconds: u32,
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    pub fn parse(value: &[u8]) -> Result<SessionExpires, ParseError> {
        let wrong = |expected| ParseError::Malformed { header: HeaderName::SessionExpires, expected };
        let value = trim(value);
        let (seconds, params) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
        let seconds = decimal(trim(seconds)).and_then(|n| u32::try_from(n).ok()).ok_or(wrong("seconds"))?;
        let refresher = match text::param(params, "refresher") {
            None => None,
            Some(who) if who.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
            Some(who) if who.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
            Some(_) => return Err(wrong("refresher=uac or refresher=uas")),
        };
        Ok(SessionExpires { seconds, refresher })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_expires_values() {
        for (value, expected) in [
            ("1800", Some((1800, None))),
            (" 90 ; Refresher = UAC;x", Some((90, Some(Refresher::Uac)))),
            ("90;refresher=uas", Some((90, Some(Refresher::Uas)))),
            ("90;refresher=b", None),
            ("x", None),
        ] {
            let got = SessionExpires::parse(value.as_bytes()).ok().map(|s| (s.seconds, s.refresher));
            assert_eq!(got, expected, "{value}");
        }
    }
}
