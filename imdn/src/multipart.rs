//! Multipart content (RFC 2046 §5.1, RFC 2387): parts within an envelope, found without copying.

use std::borrow::Cow;

use crate::header::{Header, Limits};
use crate::lines::Lines;
use crate::media::{is_multipart, parameter};
use crate::transfer;

/// Multiparts within multiparts that are looked into.
const MAX_DEPTH: usize = 4;
/// Parts in all, those within others included. (A group of 100 may answer in one aggregate.)
const MAX_PARTS: usize = 256;
/// Headers of one part.
const PART_LIMITS: Limits = Limits { headers: 32, head: 8 * 1024 };

/// Why content is not the multipart that its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MultipartError {
    #[error("no boundary of 1 to 70 characters")]
    Boundary,
    #[error("no part")]
    Empty,
    #[error("more than {MAX_PARTS} parts")]
    TooManyParts,
    #[error("multiparts nested more than {MAX_DEPTH} deep")]
    TooDeep,
    #[error("a part with a broken header, or too many of them")]
    Header,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    headers: Vec<Header<'a>>,
    body: &'a [u8],
}

impl<'a> Part<'a> {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name().eq_ignore_ascii_case(name))?.raw_value()
    }

    /// The media type with its parameters; `text/plain` where the part does not say (RFC 2046 §5.1).
    pub fn content_type(&self) -> &str {
        self.header("Content-Type").unwrap_or("text/plain")
    }

    /// The content as it stands.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The content without its transfer encoding; `None` if it is not what its encoding says.
    pub fn decoded_body(&self) -> Option<Cow<'a, [u8]>> {
        transfer::decode(self.header("Content-Transfer-Encoding"), self.body)
    }

    /// `head` and what follows it up to the boundary.
    fn read(bytes: &'a [u8]) -> Result<Self, MultipartError> {
        let mut lines = Lines::new(bytes, PART_LIMITS);
        let mut headers = Vec::new();
        loop {
            let line = lines.next().map_err(|_| MultipartError::Header)?;
            if line.is_blank() {
                return Ok(Self { headers, body: &bytes[lines.at..] });
            }
            headers.push(Header::parse(Cow::Borrowed(line.0)).ok_or(MultipartError::Header)?);
        }
    }
}

/// The parts of a multipart, in order. Text around them is left out; the closing boundary may be missing, as it is in
/// the example of RFC 5438 §8.3.
pub fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, MultipartError> {
    let boundary = parameter(content_type, "boundary").ok_or(MultipartError::Boundary)?;
    if boundary.is_empty() || boundary.len() > 70 {
        return Err(MultipartError::Boundary);
    }
    let mut found = Vec::new();
    let mut begin = None;
    let mut at = 0;
    for line in body.split_inclusive(|c| *c == b'\n') {
        let start = at;
        at += line.len();
        let Some(closing) = delimiter(line, boundary.as_bytes()) else { continue };
        if let Some(begin) = begin {
            push(&mut found, &body[begin..before_break(body, start).max(begin)])?;
        }
        begin = Some(at);
        if closing {
            return if found.is_empty() { Err(MultipartError::Empty) } else { Ok(found) };
        }
    }
    if let Some(rest) = begin.map(|begin| &body[begin..]).filter(|rest| !rest.trim_ascii().is_empty()) {
        push(&mut found, rest)?;
    }
    if found.is_empty() { Err(MultipartError::Empty) } else { Ok(found) }
}

/// The parts that are no multiparts, those of multiparts within included, in order.
pub fn leaves<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, MultipartError> {
    let mut found = Vec::new();
    collect(content_type, body, MAX_DEPTH, &mut found)?;
    Ok(found)
}

/// The part of a multipart/related that the others belong to: the one that `start` names, or else the first
/// (RFC 2387 §3.2).
pub fn root<'p, 'a>(content_type: &str, parts: &'p [Part<'a>]) -> Option<&'p Part<'a>> {
    let start = parameter(content_type, "start");
    let named = |part: &&Part<'_>| part.header("Content-ID").is_some_and(|id| Some(id.trim()) == start.as_deref());
    parts.iter().find(named).or(parts.first())
}

fn collect<'a>(
    content_type: &str,
    body: &'a [u8],
    depth: usize,
    found: &mut Vec<Part<'a>>,
) -> Result<(), MultipartError> {
    let depth = depth.checked_sub(1).ok_or(MultipartError::TooDeep)?;
    for part in parts(content_type, body)? {
        if is_multipart(part.content_type()) {
            collect(part.content_type(), part.body, depth, found)?;
        } else if found.len() == MAX_PARTS {
            return Err(MultipartError::TooManyParts);
        } else {
            found.push(part);
        }
    }
    Ok(())
}

fn push<'a>(found: &mut Vec<Part<'a>>, bytes: &'a [u8]) -> Result<(), MultipartError> {
    if found.len() == MAX_PARTS {
        return Err(MultipartError::TooManyParts);
    }
    found.push(Part::read(bytes)?);
    Ok(())
}

/// Whether this line is a boundary, and if so, whether it is the closing one.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let (closing, rest) = rest.strip_prefix(b"--").map_or((false, rest), |rest| (true, rest));
    rest.iter().all(|c| matches!(c, b' ' | b'\t' | b'\r' | b'\n')).then_some(closing)
}

/// The line break before a boundary belongs to it.
fn before_break(body: &[u8], at: usize) -> usize {
    match &body[..at] {
        [.., b'\r', b'\n'] => at - 2,
        [.., b'\n'] => at - 1,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts<'a>(parts: &'a [Part<'_>]) -> Vec<(&'a str, &'a str)> {
        parts.iter().map(|part| (part.content_type(), std::str::from_utf8(part.body()).unwrap())).collect()
    }

    #[test]
    fn parts_are_cut_at_boundaries() {
        for (name, body, expected) in [
            (
                "two, with prose around",
                "prose\r\n--b\r\nContent-Type: a/b\r\n\r\none\r\n\r\n--b  \r\n\r\ntwo\r\n--b--\r\nmore\r\n--b\r\n\r\nno",
                Ok(vec![("a/b", "one\r\n"), ("text/plain", "two")]),
            ),
            ("line feeds", "--b\nC: d\n\none\n--b--", Ok(vec![("text/plain", "one")])),
            ("within a line", "--b\r\n\r\nx --b\r\n--bc\r\n--b--", Ok(vec![("text/plain", "x --b\r\n--bc")])),
            ("nothing in it", "--b\r\n\r\n\r\n--b--", Ok(vec![("text/plain", "")])),
            ("no line of its own", "--b\r\nContent-Type: a/b\r\n--b--", Ok(vec![("a/b", "")])),
            (
                "not closed",
                "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n",
                Ok(vec![("text/plain", "one"), ("text/plain", "two\r\n")]),
            ),
            ("open at the end", "--b\r\n\r\none\r\n--b\r\n", Ok(vec![("text/plain", "one")])),
            ("folded type", "--b\r\nContent-Type: a/b;\r\n c=d\r\n\r\n1\r\n--b--", Ok(vec![("a/b;\r\n c=d", "1")])),
            ("no part", "--b--", Err(MultipartError::Empty)),
            ("other boundary", "--c\r\n\r\none\r\n--c--", Err(MultipartError::Empty)),
            ("broken header", "--b\r\nnonsense\r\n\r\none\r\n--b--", Err(MultipartError::Header)),
        ] {
            let seen = parts("multipart/mixed; boundary=b", body.as_bytes());
            assert_eq!(seen.as_deref().map(texts).map_err(|error| *error), expected, "{name}");
        }
    }

    #[test]
    fn within_limits() {
        for content_type in ["multipart/mixed", "multipart/mixed;boundary=\"\"", &format!("a/b;boundary={:0>71}", 1)] {
            assert_eq!(parts(content_type, b"--\r\n\r\n--"), Err(MultipartError::Boundary));
        }
        let mixed = "multipart/mixed;boundary=b";
        assert_eq!(parts(mixed, "--b\r\n\r\n".repeat(MAX_PARTS + 2).as_bytes()), Err(MultipartError::TooManyParts));
        let headers = "A: b\r\n".repeat(40);
        assert_eq!(parts(mixed, format!("--b\r\n{headers}\r\n--b--").as_bytes()), Err(MultipartError::Header));
        let nested = |depth: usize| {
            (0..depth).fold("x".to_owned(), |inner, n| {
                let outer =
                    if n == 0 { "text/plain".to_owned() } else { format!("multipart/mixed;boundary=b{}", n - 1) };
                format!("--b{n}\r\nContent-Type: {outer}\r\n\r\n{inner}\r\n--b{n}--")
            })
        };
        assert_eq!(leaves("multipart/mixed;boundary=b3", nested(4).as_bytes()).unwrap().len(), 1);
        assert_eq!(leaves("multipart/mixed;boundary=b4", nested(5).as_bytes()), Err(MultipartError::TooDeep));
        let wide = format!("--i\r\n\r\n{}\r\n", "--i\r\n\r\n".repeat(199));
        let twice = format!("--b\r\nContent-Type: multipart/x;boundary=i\r\n\r\n{wide}").repeat(2);
        assert_eq!(leaves(mixed, twice.as_bytes()), Err(MultipartError::TooManyParts));
    }

    #[test]
    fn leaves_and_the_root_of_related_ones() {
        let body = "--o\r\nContent-Type: Multipart/Related; boundary=\"i i\"; start=\"<2@x>\"\r\n\r\n\
            --i i\r\nContent-ID: <1@x>\r\nContent-Type: a/1\r\n\r\none\r\n\
            --i i\r\ncontent-id: <2@x>\r\nContent-Type: a/2\r\nContent-Transfer-Encoding: base64\r\n\r\ndHdv\r\n--i i--\r\n\
            --o\r\n\r\nthree\r\n--o--";
        let leaves = leaves("multipart/mixed; boundary=o", body.as_bytes()).unwrap();
        assert_eq!(texts(&leaves), [("a/1", "one"), ("a/2", "dHdv"), ("text/plain", "three")]);
        assert_eq!(leaves[1].decoded_body().unwrap().as_ref(), b"two");
        let related = parts("multipart/mixed; boundary=o", body.as_bytes()).unwrap().remove(0);
        let inner = parts(related.content_type(), related.body()).unwrap();
        assert_eq!(root(related.content_type(), &inner).unwrap().content_type(), "a/2");
        assert_eq!(root("multipart/related;boundary=x", &inner).unwrap().content_type(), "a/1");
        assert_eq!(root("multipart/related;boundary=x", &[]), None);
    }

    proptest! {
        #[test]
        fn never_panics(pieces in proptest::collection::vec(prop_oneof![
            Just("--b\r\n"), Just("--b--"), Just("\r\n"), Just("\n"), Just("A: b\r\n"),
            Just("Content-Type: multipart/x;boundary=b\r\n"), Just("x"), Just("--"),
        ], 0..30)) {
            let body = pieces.concat();
            if let Ok(found) = leaves("multipart/mixed;boundary=b", body.as_bytes()) {
                prop_assert!(found.iter().map(|part| part.body().len()).sum::<usize>() <= body.len());
            }
        }
    }
}
