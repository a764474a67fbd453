//! Where the headers of an envelope end.

use std::borrow::Cow;

use crate::cpim::{ParseError, is_content_header, starts_like_content_header};
use crate::header::{Header, Limits};
use crate::media::{CPIM_TYPE, is_type};

/// Whether all headers have arrived, so that an envelope that comes in chunks can be parsed (RFC 4975 §5.1). With
/// more than `limits.head` bytes it says yes and leaves the refusal to the parser.
pub fn head_is_complete(bytes: &[u8], limits: Limits) -> bool {
    let mut lines = Lines::new(bytes, limits);
    lines.preamble();
    let (mut headers, mut in_content, mut content_headers) = (0, false, 0);
    while lines.at <= limits.head
        && let Some(line) = whole_line(&bytes[lines.at..])
    {
        lines.at += line.0.len();
        let is_content = Header::parse(Cow::Borrowed(line.0)).as_ref().is_some_and(is_content_header);
        match (line.is_blank(), in_content) {
            (true, true) => return true,
            (true, false) => in_content = headers > 0,
            (false, false) => {
                headers += 1;
                in_content = is_content;
                content_headers += usize::from(is_content);
            }
            // Content without headers of its own.
            (false, true) if content_headers == 0 && !is_content => return true,
            (false, true) => content_headers += 1,
        }
    }
    bytes.len() > limits.head
}

/// Cuts lines off, with the folded ones that belong to them.
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    /// Where the next line begins.
    pub(crate) at: usize,
    headers: usize,
    limits: Limits,
}

/// A line with its end; empty at the end of the input.
pub(crate) struct Line<'a>(pub(crate) &'a [u8]);

impl Line<'_> {
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self.0, b"" | b"\n" | b"\r\n")
    }
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self { bytes, at: 0, headers: 0, limits }
    }

    pub(crate) fn next(&mut self) -> Result<Line<'a>, ParseError> {
        let rest = &self.bytes[self.at..];
        let mut len = line_len(rest);
        let folded = |len: usize| matches!(rest.get(len), Some(b' ' | b'\t'));
        while len > 0 && !Line(&rest[..len]).is_blank() && folded(len) {
            len += line_len(&rest[len..]);
        }
        let line = Line(&rest[..len]);
        self.at += len;
        if self.at > self.limits.head && !line.is_blank() {
            return Err(ParseError::HeadTooLong { max: self.limits.head });
        }
        self.headers += 1;
        // The empty lines are counted as well: one after the headers, one after the content's.
        if self.headers > self.limits.headers + 2 {
            return Err(ParseError::TooManyHeaders { max: self.limits.headers });
        }
        Ok(line)
    }

    /// Empty lines in front, and the outer `Content-Type: message/cpim` with its empty line.
    pub(crate) fn preamble(&mut self) -> &'a [u8] {
        self.skip_blank();
        let outer = Header::parse(Cow::Borrowed(&self.bytes[self.at..][..line_len(&self.bytes[self.at..])]));
        let is_outer = |header: &Header<'_>| {
            header.name().eq_ignore_ascii_case("Content-Type")
                && header.raw_value().is_some_and(|value| is_type(value, CPIM_TYPE))
        };
        if outer.as_ref().is_some_and(is_outer) {
            self.at += line_len(&self.bytes[self.at..]);
            self.skip_blank();
        }
        &self.bytes[..self.at]
    }

    fn skip_blank(&mut self) {
        while let len = line_len(&self.bytes[self.at..])
            && len > 0
            && Line(&self.bytes[self.at..][..len]).is_blank()
        {
            self.at += len;
        }
    }
}

/// The first line with the folded ones that belong to it, once it is known where it ends: what follows a line may go on
/// with it, but nothing goes on with a line that can be no header of content, nor with an empty one.
fn whole_line(bytes: &[u8]) -> Option<Line<'_>> {
    let mut len = 0;
    loop {
        len += bytes[len..].iter().position(|c| *c == b'\n')? + 1;
        let line = Line(&bytes[..len]);
        match bytes.get(len) {
            _ if line.is_blank() => return Some(line),
            Some(b' ' | b'\t') => {}
            None if starts_like_content_header(line.0) => return None,
            _ => return Some(line),
        }
    }
}

/// Length of the first line with its end.
fn line_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|c| *c == b'\n').map_or(bytes.len(), |at| at + 1)
}
