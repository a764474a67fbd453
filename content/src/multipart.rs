//! `multipart/form-data` as it arrives (RFC 7578, RFC 2046 §5.1.1).
//!
//! Nothing is collected but the head of a part and what may be the beginning of a delimiter.

mod head;

use bytes::Bytes;
use memchr::memmem::Finder;

pub use head::{Part, boundary};

/// Bounds on what a form may make us hold or go through.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Head of a part, in bytes.
    pub head: usize,
    pub parts: usize,
    /// What stands before the first part, in bytes.
    pub preamble: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { head: 8 * 1024, parts: 16, preamble: 1024 }
    }
}

/// Why a body is not a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MultipartError {
    #[error("no boundary, or one that RFC 2046 does not allow")]
    Boundary,
    #[error("the head of a part is over the limit of {max} bytes")]
    Head { max: usize },
    #[error("over the limit of {max} parts")]
    Parts { max: usize },
    #[error("more than {max} bytes before the first part")]
    Preamble { max: usize },
    #[error("a part without a name")]
    Name,
    #[error("the head of a part is not well-formed")]
    Malformed,
    #[error("a boundary is followed by neither a line end nor two hyphens")]
    Delimiter,
    #[error("it ends before its last boundary")]
    Truncated,
}

/// What a form consists of, in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Begin(Part),
    /// Some of the content; never empty.
    Data(Bytes),
    End,
    /// The last boundary; what follows it is of no interest.
    Close,
}

/// Longest line between a boundary and its line end: blanks that some gateway put there.
const MAX_PADDING: usize = 256;

/// ```text
/// Preamble ──delimiter──▶ Line ──CRLF──▶ Head ──empty line──▶ Body ──delimiter──▶ Line ──"--"──▶ Closed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble {
        read: usize,
    },
    /// Behind a boundary.
    Line,
    Head,
    Body,
    Closed,
}

/// A form in the making.
#[derive(Debug)]
pub struct Multipart {
    /// CRLF, two hyphens and the boundary.
    delimiter: Box<[u8]>,
    finder: Finder<'static>,
    limits: Limits,
    state: State,
    /// Read, and not yet told apart.
    held: Vec<u8>,
    /// How much of what is held was never sent: a line end that a delimiter may do without.
    assumed: usize,
    /// Not yet looked at.
    input: Bytes,
    parts: usize,
    /// A part has begun and not ended.
    open: bool,
}

impl Multipart {
    /// For the `boundary` of the Content-Type.
    pub fn new(boundary: &str, limits: Limits) -> Result<Multipart, MultipartError> {
        if !head::is_boundary(boundary) {
            return Err(MultipartError::Boundary);
        }
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Ok(Multipart {
            finder: Finder::new(&delimiter).into_owned(),
            delimiter: delimiter.into(),
            limits,
            state: State::Preamble { read: 0 },
            // The first boundary may stand at the very beginning, as if a line had ended there.
            held: b"\r\n".to_vec(),
            assumed: 2,
            input: Bytes::new(),
            parts: 0,
            open: false,
        })
    }

    /// Takes more of the body; only when [`Multipart::poll`] has nothing left.
    pub fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = bytes;
    }

    /// The next that is known of the form; call until `None`, then push.
    pub fn poll(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            match self.state {
                State::Preamble { read } => match self.content() {
                    Some(Content::Data(data)) => {
                        let read = read + data.len();
                        if read > self.limits.preamble {
                            return Err(MultipartError::Preamble { max: self.limits.preamble });
                        }
                        self.state = State::Preamble { read };
                    }
                    Some(Content::Delimiter) => self.state = State::Line,
                    None => return Ok(None),
                },
                State::Line => {
                    if self.open {
                        self.open = false;
                        return Ok(Some(Event::End));
                    }
                    match self.line()? {
                        Some(true) => {
                            self.state = State::Closed;
                            return Ok(Some(Event::Close));
                        }
                        Some(false) => self.state = State::Head,
                        None => return Ok(None),
                    }
                }
                State::Head => return Ok(self.head()?.map(Event::Begin)),
                State::Body => match self.content() {
                    Some(Content::Data(data)) => return Ok(Some(Event::Data(data))),
                    Some(Content::Delimiter) => self.state = State::Line,
                    None => return Ok(None),
                },
                State::Closed => {
                    self.input.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// The body has ended.
    pub fn end(&self) -> Result<(), MultipartError> {
        if self.state == State::Closed { Ok(()) } else { Err(MultipartError::Truncated) }
    }

    /// Content up to the next delimiter, or that delimiter.
    fn content(&mut self) -> Option<Content> {
        if !self.held.is_empty() {
            // What is held is the beginning of a delimiter; the input tells whether it is one.
            let missing = self.delimiter.len() - self.held.len();
            let taken = missing.min(self.input.len());
            if self.input[..taken] == self.delimiter[self.held.len()..][..taken] {
                let piece = self.input.split_to(taken);
                self.held.extend_from_slice(&piece);
                if taken < missing {
                    return None;
                }
                self.held.clear();
                self.assumed = 0;
                return Some(Content::Delimiter);
            }
            // It was content. A delimiter begins with CR and has no other, so none begins inside of it.
            let held = Bytes::from(std::mem::take(&mut self.held)).slice(std::mem::take(&mut self.assumed)..);
            if !held.is_empty() {
                return Some(Content::Data(held));
            }
        }
        if self.input.is_empty() {
            return None;
        }
        match self.finder.find(&self.input) {
            Some(0) => {
                let _ = self.input.split_to(self.delimiter.len());
                Some(Content::Delimiter)
            }
            Some(at) => Some(Content::Data(self.input.split_to(at))),
            None => {
                let kept = self.beginning_at_the_end(&self.input);
                self.held.extend_from_slice(&self.input[self.input.len() - kept..]);
                self.input.truncate(self.input.len() - kept);
                let data = std::mem::take(&mut self.input);
                (!data.is_empty()).then_some(Content::Data(data))
            }
        }
    }

    /// How many of the last bytes may be the beginning of a delimiter.
    fn beginning_at_the_end(&self, bytes: &[u8]) -> usize {
        let window = &bytes[bytes.len().saturating_sub(self.delimiter.len() - 1)..];
        memchr::memrchr(b'\r', window).map_or(0, |at| {
            let tail = &window[at..];
            if self.delimiter.starts_with(tail) { tail.len() } else { 0 }
        })
    }

    /// The rest of a delimiter's line: true where it is the last.
    fn line(&mut self) -> Result<Option<bool>, MultipartError> {
        while !self.input.is_empty() {
            self.held.push(self.input.split_to(1)[0]);
            match self.held.as_slice() {
                b"-" => {}
                b"--" => {
                    self.held.clear();
                    return Ok(Some(true));
                }
                [blanks @ .., b'\r', b'\n'] if blanks.iter().all(|c| matches!(c, b' ' | b'\t')) => {
                    self.held.clear();
                    return Ok(Some(false));
                }
                [blanks @ .., b' ' | b'\t' | b'\r']
                    if blanks.len() < MAX_PADDING && blanks.iter().all(|c| matches!(c, b' ' | b'\t')) => {}
                _ => return Err(MultipartError::Delimiter),
            }
        }
        Ok(None)
    }

    /// The head of a part, up to its empty line.
    fn head(&mut self) -> Result<Option<Part>, MultipartError> {
        // The end may lie across the border of what was held.
        let from = self.held.len().saturating_sub(3);
        let room = (self.limits.head + 4).saturating_sub(self.held.len());
        let taken = room.min(self.input.len());
        self.held.extend_from_slice(&self.input[..taken]);
        let end = if self.held.starts_with(b"\r\n") {
            Some((0, 2))
        } else {
            memchr::memmem::find(&self.held[from..], b"\r\n\r\n").map(|at| (from + at, from + at + 4))
        };
        let Some((head, behind)) = end else {
            let _ = self.input.split_to(taken);
            if self.held.len() > self.limits.head {
                return Err(MultipartError::Head { max: self.limits.head });
            }
            return Ok(None);
        };
        // What was taken beyond the head goes back.
        let _ = self.input.split_to(taken - (self.held.len() - behind));
        if head > self.limits.head {
            return Err(MultipartError::Head { max: self.limits.head });
        }
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(MultipartError::Parts { max: self.limits.parts });
        }
        let part = Part::parse(&self.held[..head])?;
        self.held.clear();
        // A part without content may end at once: its empty line is the line end of the delimiter.
        self.held.extend_from_slice(b"\r\n");
        self.assumed = 2;
        self.state = State::Body;
        self.open = true;
        Ok(Some(part))
    }
}

enum Content {
    Data(Bytes),
    Delimiter,
}

#[cfg(test)]
mod tests;
