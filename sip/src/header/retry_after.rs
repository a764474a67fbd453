//! `Retry-After` (RFC 3261 §20.33).

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{self, decimal, trim};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    /// Seconds until it is worth trying again.
    pub seconds: u32,
    /// Seconds that the peer will be there from then on, where it says.
    pub duration: Option<u32>,
}

impl RetryAfter {
    /// `18000;duration=3600` or `120 (in a meeting)`; the comment is passed over.
    pub fn parse(value: &[u8]) -> Result<RetryAfter, ParseError> {
        let wrong = ParseError::Malformed { header: HeaderName::RetryAfter, expected: "seconds" };
        let value = trim(value);
        let end = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
        let number = |digits| decimal(digits).and_then(|n| u32::try_from(n).ok());
        let seconds = number(&value[..end]).ok_or(wrong.clone())?;
        let rest = match trim(&value[end..]) {
            [b'(', comment @ ..] => trim(&comment[comment_end(comment).ok_or(wrong.clone())?..]),
            rest => rest,
        };
        if !matches!(rest.first(), None | Some(b';')) {
            return Err(wrong);
        }
        let duration = match text::param(rest, "duration") {
            None => None,
            Some(digits) => Some(number(digits).ok_or(wrong)?),
        };
        Ok(RetryAfter { seconds, duration })
    }
}

/// The position behind the `)` that closes a comment whose `(` has been read; comments nest.
fn comment_end(s: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (1, 0);
    while at < s.len() {
        match s[at] {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_values() {
        for (value, expected) in [
            ("18000;duration=3600", Some((18000, Some(3600)))),
            ("120 (I'm in a (long) \\) meeting)", Some((120, None))),
            ("5", Some((5, None))),
            ("5 (x) ; duration = 7", Some((5, Some(7)))),
            ("5 (x", None),
            ("5 x", None),
            ("4294967296", None),
            ("-1", None),
            ("", None),
        ] {
            let got = RetryAfter::parse(value.as_bytes()).ok().map(|r| (r.seconds, r.duration));
            assert_eq!(got, expected, "{value}");
        }
    }
}
