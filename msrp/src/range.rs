//! `Byte-Range` (RFC 4975 §7.1.1): which bytes of a message a chunk or report is about.

use std::fmt;

use crate::digits;
use crate::limits::Leniency;

/// `start-end/total`, counted from 1 and inclusive; `None` is `*`. `end` is at least `start - 1` (no bytes). Neither
/// `end` nor `total` is to be trusted: what counts is what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// First byte, at least 1.
    pub start: u64,
    /// Last byte, if known.
    pub end: Option<u64>,
    /// Size of the message, if known.
    pub total: Option<u64>,
}

impl ByteRange {
    /// What a frame without the header says: from the first byte to who knows where.
    pub const OPEN: ByteRange = ByteRange { start: 1, end: None, total: None };

    /// Reads the value; `None` for what is not a range or does not fit into 64 bits.
    pub fn parse(value: &[u8]) -> Option<ByteRange> {
        ByteRange::parse_with(value, &Leniency::default())
    }

    /// Reads the value, with the deviations that `leniency` allows.
    pub fn parse_with(value: &[u8], leniency: &Leniency) -> Option<ByteRange> {
        let dash = memchr::memchr(b'-', value)?;
        let (end, total) = match memchr::memchr(b'/', &value[dash..]) {
            Some(slash) => (&value[dash + 1..dash + slash], or_star(&value[dash + slash + 1..])?),
            None if leniency.range_without_total => (&value[dash + 1..], None),
            None => return None,
        };
        let end = or_star(end)?;
        let start = match digits::parse(&value[..dash])? {
            0 if leniency.range_from_zero => 1,
            0 => return None,
            start => start,
        };
        (end.is_none_or(|end| end >= start - 1)).then_some(ByteRange { start, end, total })
    }

    /// Bytes from `start` to `end`, if the end is known.
    pub fn len(&self) -> Option<u64> {
        self.end.map(|end| end - (self.start - 1))
    }

    /// Known to have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        digits::push(out, self.start);
        out.push(b'-');
        push_or_star(out, self.end);
        out.push(b'/');
        push_or_star(out, self.total);
    }
}

fn or_star(text: &[u8]) -> Option<Option<u64>> {
    if text == b"*" { Some(None) } else { digits::parse(text).map(Some) }
}

fn push_or_star(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => digits::push(out, value),
        None => out.push(b'*'),
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.start)?;
        match self.end {
            Some(end) => write!(f, "{end}/")?,
            None => f.write_str("*/")?,
        }
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (value, good) in [
            ("1-25/37", true),
            ("26-*/37", true),
            ("1-*/*", true),
            ("1-0/0", true),
            ("101-100/100", true),
            ("1-4/99999999999", true),
            ("1-18446744073709551615/18446744073709551615", true),
            // Two octets fewer than said is the receiver's to find out.
            ("1-25/20", true),
            ("1-18446744073709551616/*", false),
            ("0-5/5", false),
            ("3-1/5", false),
            ("1-5", false),
            ("*-5/5", false),
            ("1-/5", false),
            ("1-5/", false),
            ("-5/5", false),
            ("1-5/5 ", false),
            ("+1-5/5", false),
            ("", false),
        ] {
            let parsed = ByteRange::parse(value.as_bytes());
            assert_eq!(parsed.map(|range| range.to_string()), good.then(|| value.to_owned()), "{value}");
            let mut out = Vec::new();
            if let Some(range) = parsed {
                range.write(&mut out);
                assert_eq!(out, value.as_bytes());
            }
        }
        let lengths = ["1-25/37", "1-0/0", "7-*/9", "1-18446744073709551615/*"];
        let expected = [Some(25), Some(0), None, Some(u64::MAX)];
        assert_eq!(lengths.map(|value| ByteRange::parse(value.as_bytes()).unwrap().len()), expected);
    }
}
