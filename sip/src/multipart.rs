//! Multipart bodies (RFC 2046 §5.1, RFC 5621): parts found without copying.

use memchr::memmem;
use smallvec::SmallVec;

use crate::header::ContentType;
use crate::text::{is_lws, trim};

/// Multiparts within multiparts that are looked into.
const MAX_DEPTH: usize = 4;
/// Parts of one multipart, and header lines of one part.
const MAX_PARTS: usize = 64;
const MAX_HEADERS: usize = 32;

/// Why a body is not the multipart that its Content-Type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    #[error("no boundary of 1 to 70 characters in Content-Type")]
    Boundary,
    #[error("the closing boundary is missing")]
    Unclosed,
    #[error("more than {MAX_PARTS} parts")]
    TooManyParts,
    #[error("multiparts nested more than {MAX_DEPTH} deep")]
    TooDeep,
    #[error("a malformed header of a part, or more than {MAX_HEADERS}")]
    Header,
}

/// One part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    headers: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> Part<'a> {
    /// Header lines as (name, value), folded ones in one.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.headers;
        std::iter::from_fn(move || {
            let (line, tail) = cut_line(rest)?;
            rest = tail;
            let colon = memchr::memchr(b':', line)?;
            Some((trim(&line[..colon]), trim(&line[colon + 1..])))
        })
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// `text/plain` where the part does not say (RFC 2046 §5.1).
    pub fn content_type(&self) -> ContentType<'a> {
        let plain = ContentType { kind: b"text", subtype: b"plain", params: b"" };
        self.header("Content-Type").and_then(|value| ContentType::parse(value).ok()).unwrap_or(plain)
    }
}

/// The parts of a multipart body, in order. What stands before the first and behind the closing boundary is left out.
pub fn parts<'a>(content_type: &ContentType<'_>, body: &'a [u8]) -> Result<SmallVec<[Part<'a>; 4]>, MultipartError> {
    let boundary = content_type.param("boundary").ok_or(MultipartError::Boundary)?;
    if boundary.is_empty() || boundary.len() > 70 || boundary.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        return Err(MultipartError::Boundary);
    }
    let mut delimiter: SmallVec<[u8; 80]> = SmallVec::from_slice(b"--");
    delimiter.extend_from_slice(&boundary);
    let finder = memmem::Finder::new(&delimiter);

    let mut found = SmallVec::new();
    let mut begin = None;
    for at in finder.find_iter(body) {
        // A boundary stands at the beginning of a line, with nothing but blanks and perhaps `--` behind it.
        let Some(end_before) = line_start(body, at) else { continue };
        let behind = &body[at + delimiter.len()..];
        let (last, behind) = behind.strip_prefix(b"--").map_or((false, behind), |rest| (true, rest));
        let blanks = behind.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let line_end = match &behind[blanks..] {
            [] if last => 0,
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => continue,
        };
        if let Some(begin) = begin {
            if found.len() == MAX_PARTS {
                return Err(MultipartError::TooManyParts);
            }
            // The line break before a boundary belongs to it; an empty part may have none of its own.
            found.push(part(&body[begin..end_before.max(begin)])?);
        }
        if last {
            return Ok(found);
        }
        begin = Some(body.len() - behind.len() + blanks + line_end);
    }
    Err(MultipartError::Unclosed)
}

/// The first part with one of the `wanted` media types, looking into multiparts within; for a body that is no multipart
/// the body itself, where its type is wanted.
pub fn find<'a>(content_type: &[u8], body: &'a [u8], wanted: &[&str]) -> Result<Option<Part<'a>>, MultipartError> {
    let Ok(content_type) = ContentType::parse(content_type) else { return Ok(None) };
    find_in(&content_type, Part { headers: b"", body }, wanted, MAX_DEPTH)
}

fn find_in<'a>(
    content_type: &ContentType<'_>,
    whole: Part<'a>,
    wanted: &[&str],
    depth: usize,
) -> Result<Option<Part<'a>>, MultipartError> {
    if wanted.iter().any(|media_type| content_type.is(media_type)) {
        return Ok(Some(whole));
    }
    if !content_type.is_multipart() {
        return Ok(None);
    }
    let depth = depth.checked_sub(1).ok_or(MultipartError::TooDeep)?;
    for part in parts(content_type, whole.body)? {
        if let Some(found) = find_in(&part.content_type(), part, wanted, depth)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Where the line break before `at` begins, if `at` begins a line.
fn line_start(body: &[u8], at: usize) -> Option<usize> {
    match &body[..at] {
        [] => Some(0),
        [.., b'\r', b'\n'] => Some(at - 2),
        [.., b'\n'] => Some(at - 1),
        _ => None,
    }
}

fn part(bytes: &[u8]) -> Result<Part<'_>, MultipartError> {
    let mut rest = bytes;
    for _ in 0..=MAX_HEADERS {
        let (line, tail) = match rest {
            [b'\r', b'\n', body @ ..] | [b'\n', body @ ..] => {
                return Ok(Part { headers: &bytes[..bytes.len() - rest.len()], body });
            }
            // Headers and no body.
            [] => return Ok(Part { headers: bytes, body: b"" }),
            _ => cut_line(rest).ok_or(MultipartError::Header)?,
        };
        if memchr::memchr(b':', line).is_none_or(|colon| trim(&line[..colon]).is_empty()) {
            return Err(MultipartError::Header);
        }
        rest = tail;
    }
    Err(MultipartError::Header)
}

/// A header line with its folds, and what follows it.
fn cut_line(s: &[u8]) -> Option<(&[u8], &[u8])> {
    if s.is_empty() {
        return None;
    }
    let mut at = 0;
    loop {
        match memchr::memchr(b'\n', &s[at..]) {
            None => return Some((s, &[])),
            Some(newline) => {
                at += newline + 1;
                if !s.get(at).is_some_and(|b| is_lws(*b) && !matches!(b, b'\r' | b'\n')) {
                    return Some(s.split_at(at));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(content_type: &str, body: &str) -> Result<Vec<(String, String)>, MultipartError> {
        let content_type = ContentType::parse(content_type.as_bytes()).unwrap();
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        let parts = parts(&content_type, body.as_bytes())?;
        Ok(parts.iter().map(|p| (p.header("content-type").map(text).unwrap_or_default(), text(p.body))).collect())
    }

    #[test]
    fn parts_are_cut_at_boundaries() {
        let list = |parts: &[(&str, &str)]| -> Vec<(String, String)> {
            parts.iter().map(|(t, b)| ((*t).to_owned(), (*b).to_owned())).collect()
        };
        for (name, body, expected) in [
            (
                "two, with prose around",
                "prose\r\n--b\r\nContent-Type: a/b;\r\n x=y\r\n\r\none\r\n\r\n--b  \r\n\r\ntwo\r\n--b--\r\nmore --b--",
                Ok(list(&[("a/b;\r\n x=y", "one\r\n"), ("", "two")])),
            ),
            ("bare line feeds", "--b\nC: d\n\none\n--b--", Ok(list(&[("", "one")]))),
            ("boundary within a line", "--b\r\n\r\nx --b\r\n--bc\r\n--b--", Ok(list(&[("", "x --b\r\n--bc")]))),
            ("an empty part", "--b\r\n\r\n\r\n--b--", Ok(list(&[("", "")]))),
            ("nothing at all", "--b\r\n--b--", Ok(list(&[("", "")]))),
            ("headers only", "--b\r\nContent-Type: a/b\r\n--b--", Ok(list(&[("a/b", "")]))),
            ("no end", "--b\r\n\r\none\r\n--b\r\n", Err(MultipartError::Unclosed)),
            ("no colon", "--b\r\nheader\r\n\r\none\r\n--b--", Err(MultipartError::Header)),
        ] {
            assert_eq!(split("multipart/mixed;boundary=b", body), expected, "{name}");
        }
        assert_eq!(split("multipart/mixed", ""), Err(MultipartError::Boundary));
        assert_eq!(split("multipart/mixed;boundary=\"\"", ""), Err(MultipartError::Boundary));
        let many = "--b\r\n\r\nx\r\n".repeat(MAX_PARTS + 1) + "--b--";
        assert_eq!(split("multipart/mixed;boundary=b", &many), Err(MultipartError::TooManyParts));
    }

    #[test]
    fn a_part_is_found_within_parts() {
        let inner = "--i\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--i--";
        let outer = format!(
            "--o\r\n\r\ntext\r\n--o\r\nContent-Type: multipart/alternative;boundary=i\r\n\r\n{inner}\r\n--o--\r\n"
        );
        let find = |wanted| find(b"multipart/mixed;boundary=o", outer.as_bytes(), wanted).map(|p| p.map(|p| p.body));
        assert_eq!(find(&["application/sdp"]), Ok(Some(&b"v=0"[..])));
        assert_eq!(find(&["text/plain", "application/sdp"]), Ok(Some(&b"text"[..])));
        assert_eq!(find(&["message/cpim"]), Ok(None));
        assert_eq!(super::find(b"a/b", b"x", &["a/b"]).map(|p| p.map(|p| p.body)), Ok(Some(&b"x"[..])));
        let mut deep = String::from("x");
        for _ in 0..=MAX_DEPTH {
            deep = format!("--o\r\nContent-Type: multipart/mixed;boundary=o\r\n\r\n{deep}\r\n--o--");
        }
        // The same boundary cuts at the innermost end, so the parts of the second level are what is left of it.
        assert!(super::find(b"multipart/mixed;boundary=o", deep.as_bytes(), &["a/b"]).is_err());
    }
}
