//! One header of an envelope, kept as the bytes it came in (RFC 3862 §2.2, §3.6).

use std::borrow::Cow;
use std::ops::Range;

use crate::escape::{push_escaped, unescape};

/// Namespace of `From`, `To` and the like, also where none is declared (RFC 3862 §4).
pub const CORE_NAMESPACE: &str = "urn:ietf:params:cpim-headers:";
/// Namespace of the IMDN headers (RFC 5438 §6.1).
pub const IMDN_NAMESPACE: &str = "urn:ietf:params:imdn";
/// Namespace of OMA CPM, as in `cpm.Payload-Type`.
pub const CPM_NAMESPACE: &str = "http://www.openmobilealliance.org/cpm/";

/// How much of an envelope is read before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Headers of the message and of its content together.
    pub headers: usize,
    /// Bytes in front of the content.
    pub head: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { headers: 64, head: 32 * 1024 }
    }
}

/// A header as received, line end included, or one of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    raw: Cow<'a, [u8]>,
    name: Range<usize>,
    parameters: Range<usize>,
    value: Range<usize>,
}

impl<'a> Header<'a> {
    /// A header of our own. The value's control characters and backslashes are escaped; characters that no name may
    /// have are left out of the name.
    pub fn new(name: &str, value: &str) -> Header<'static> {
        let mut escaped = String::with_capacity(value.len());
        push_escaped(&mut escaped, value);
        Self::written(name, &escaped)
    }

    /// The same with a value that is escaped already.
    pub(crate) fn written(name: &str, value: &str) -> Header<'static> {
        let mut line = String::with_capacity(name.len() + value.len() + 4);
        line.extend(name.chars().filter(|c| is_name_char(*c)));
        line.push_str(": ");
        line.push_str(value);
        line.push_str("\r\n");
        let header = Header::parse(Cow::Owned(line.into_bytes()));
        header.expect("a name, a colon and a value make a header")
    }

    /// `raw` is one line with its end, or several where the header was folded. `None` without a name.
    pub(crate) fn parse(raw: Cow<'a, [u8]>) -> Option<Self> {
        let colon = raw.iter().position(|c| *c == b':')?;
        let name = trim(&raw, 0..colon);
        if raw[name.clone()].iter().any(|c| !(0x21..0x7f).contains(c)) {
            return None;
        }
        let parameters = parameters(&raw, colon + 1);
        let value = trim(&raw, parameters.end..raw.len());
        Some(Self { raw, name, parameters, value })
    }

    /// The name as written, prefix included.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.raw[self.name.clone()]).unwrap_or_default()
    }

    /// The value as written; `None` if it is not UTF-8.
    pub fn raw_value(&self) -> Option<&str> {
        std::str::from_utf8(&self.raw[self.value.clone()]).ok()
    }

    /// The value with its escapes resolved; `None` if it is not UTF-8.
    pub fn value(&self) -> Option<Cow<'_, str>> {
        self.raw_value().map(unescape)
    }

    /// What `lang` says of the value (RFC 3862 §3.3).
    pub fn language(&self) -> Option<&str> {
        let parameters = std::str::from_utf8(&self.raw[self.parameters.clone()]).ok()?;
        parameters.split(';').find_map(|one| one.trim().strip_prefix("lang="))
    }

    /// The line with its end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Gives the line its end, if it has none.
    pub(crate) fn end_line(&mut self) {
        if !self.raw.ends_with(b"\n") {
            self.raw.to_mut().extend_from_slice(b"\r\n");
        }
    }

    /// The prefix and the URI that an `NS` header declares; the default namespace has no prefix.
    pub(crate) fn declaration(&self) -> Option<(Option<&str>, &str)> {
        if self.name() != "NS" {
            return None;
        }
        let (prefix, rest) = self.raw_value()?.split_once('<')?;
        let uri = rest.split_once('>')?.0.trim();
        Some((Some(prefix.trim()).filter(|prefix| !prefix.is_empty()), uri))
    }
}

/// RFC 3862 §3.6, NAMECHAR, and the dot before it.
fn is_name_char(c: char) -> bool {
    c.is_ascii_graphic()
        && !matches!(c, '(' | ')' | '<' | '>' | '@' | ',' | ';' | ':' | '\\' | '"' | '/' | '[' | ']')
        && !matches!(c, '?' | '=' | '{' | '}')
}

/// `;name=value` up to the first space outside quotes, right behind the colon.
fn parameters(raw: &[u8], start: usize) -> Range<usize> {
    if raw.get(start) != Some(&b';') {
        return start..start;
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in raw.iter().enumerate().skip(start) {
        match c {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'\t' | b'\r' | b'\n' if !quoted => return start..at,
            _ => {}
        }
    }
    start..raw.len()
}

/// Takes spaces and line ends off both sides.
fn trim(raw: &[u8], range: Range<usize>) -> Range<usize> {
    let space = |at: &usize| matches!(raw[*at], b' ' | b'\t' | b'\r' | b'\n');
    let Some(start) = range.clone().find(|at| !space(at)) else { return range.start..range.start };
    let end = range.rev().find(|at| !space(at)).map_or(start, |last| last + 1);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, expected) in [
            ("From: <sip:a@b>\r\n", Some(("From", None, "<sip:a@b>"))),
            ("Subject:;lang=fr Objet de message\r\n", Some(("Subject", Some("fr"), "Objet de message"))),
            ("Subject:;x=\"a b;c\";lang=de Betreff", Some(("Subject", Some("de"), "Betreff"))),
            ("To:<sip:a@b>\n", Some(("To", None, "<sip:a@b>"))),
            ("X:   padded \r\n", Some(("X", None, "padded"))),
            ("X :y\r\n", Some(("X", None, "y"))),
            ("Empty:\r\n", Some(("Empty", None, ""))),
            ("a.b: c:d\r\n", Some(("a.b", None, "c:d"))),
            ("two words: x", None),
            ("no colon\r\n", None),
        ] {
            let header = Header::parse(Cow::Borrowed(line.as_bytes()));
            let seen = header.as_ref().map(|one| (one.name(), one.language(), one.raw_value().unwrap()));
            assert_eq!(seen, expected, "{line:?}");
        }
    }

    #[test]
    fn ours_stay_on_their_line() {
        let header = Header::new("X: y\r\nZ", "a\r\nEvil: b\\");
        assert_eq!(header.as_bytes(), b"XyZ: a\\r\\nEvil: b\\\\\r\n");
        assert_eq!(header.value().unwrap(), "a\r\nEvil: b\\");
    }

    #[test]
    fn declarations() {
        for (line, expected) in [
            ("NS: imdn <urn:ietf:params:imdn>", Some((Some("imdn"), IMDN_NAMESPACE))),
            ("NS: <urn:ietf:params:imdn>", Some((None, IMDN_NAMESPACE))),
            ("ns: imdn <urn:ietf:params:imdn>", None),
            ("NS: imdn", None),
        ] {
            let header = Header::parse(Cow::Borrowed(line.as_bytes())).unwrap();
            assert_eq!(header.declaration(), expected, "{line}");
        }
    }
}
