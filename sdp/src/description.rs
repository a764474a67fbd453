//! A session description (RFC 8866): read, changed and written, where what is not changed stays as it came.

use crate::error::ParseError;
use crate::line::{Line, find, find_all};
use crate::media::Media;
use crate::origin::{Connection, Origin};
use crate::rules::{Leniency, Rules};
use crate::{Direction, text};

/// A session description; lines are borrowed from what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description<'a> {
    session: Vec<Line<'a>>,
    media: Vec<Media<'a>>,
    leniency: Leniency,
}

impl Description<'static> {
    /// A description of ours: `v=`, `o=`, `s=-`, a `c=` with the address of `origin`, and `t=0 0`.
    #[must_use]
    pub fn new(origin: &Origin) -> Self {
        let session = vec![
            Line::new('v', "0"),
            origin.line(),
            Line::new('s', "-"),
            Connection::new(&origin.address).line(),
            Line::new('t', "0 0"),
        ];
        Self { session, media: Vec::new(), leniency: Leniency::default() }
    }
}

impl<'a> Description<'a> {
    /// Reads with the default rules.
    ///
    /// # Errors
    /// What is no description; [`ParseError::status`] is the answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_within(bytes, &Rules::default())
    }

    /// Reads. Lines end with CR LF or LF, the last one may lack its end. Attributes are not looked into.
    ///
    /// # Errors
    /// What is no description, or over a limit; [`ParseError::status`] is the answer.
    pub fn parse_within(bytes: &'a [u8], rules: &Rules) -> Result<Self, ParseError> {
        let Rules { limits, leniency } = *rules;
        if bytes.len() > limits.size {
            return Err(ParseError::TooLarge { len: bytes.len(), max: limits.size });
        }
        let mut description = Self { session: Vec::with_capacity(8), media: Vec::new(), leniency };
        let mut order = Order::default();
        let mut at = 0;
        for (count, raw) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if count >= limits.lines {
                return Err(ParseError::TooManyLines { max: limits.lines });
            }
            if raw.len() > limits.line {
                return Err(ParseError::LineTooLong { at, max: limits.line });
            }
            description.read_line(Line::read(raw), at, rules, &mut order)?;
            at += raw.len();
        }
        description.check_whole()?;
        Ok(description)
    }

    fn read_line(&mut self, line: Line<'a>, at: usize, rules: &Rules, order: &mut Order) -> Result<(), ParseError> {
        let leniency = rules.leniency;
        if line.content().iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err(ParseError::Octet { at });
        }
        let Some(kind) = line.kind() else {
            if line.is_blank() && leniency.blank_lines && order.seen_version {
                self.keep(line);
                return Ok(());
            }
            return Err(ParseError::NotALine { at });
        };
        if !leniency.spaces && !line.raw().starts_with(line.content()) {
            return Err(ParseError::NotALine { at });
        }
        if order.seen_version == (kind == 'v') {
            return Err(ParseError::Unexpected { kind, at });
        }
        if kind == 'v' {
            let value = line.value();
            if value != b"0" && !(leniency.spaces && value.trim_ascii() == b"0") {
                return Err(ParseError::Version);
            }
            order.seen_version = true;
        }
        if !leniency.unknown_lines && !"vosiuepcbtrzkam".contains(kind) {
            return Err(ParseError::Unexpected { kind, at });
        }
        if !leniency.order && !order.take(kind) {
            return Err(ParseError::Unexpected { kind, at });
        }
        let malformed = ParseError::Malformed { kind, at };
        match kind {
            'm' => {
                if self.media.len() >= rules.limits.media {
                    return Err(ParseError::TooManyMedia { max: rules.limits.media });
                }
                self.media.push(Media::from_line(line, leniency).ok_or(malformed)?);
                return Ok(());
            }
            'o' if Origin::parse(&line, leniency).is_none() => return Err(malformed),
            'c' if Connection::parse(&line).is_none() => return Err(malformed),
            's' if line.value().is_empty() && !leniency.missing_lines => return Err(malformed),
            'a' if !leniency.spaces
                && line.as_attribute().is_none_or(|(name, value)| {
                    !text::is_token(name)
                        || value == Some(b"")
                        || line.value().get(name.len()).is_some_and(|&b| b != b':')
                }) =>
            {
                return Err(malformed);
            }
            _ => {}
        }
        self.keep(line);
        Ok(())
    }

    fn keep(&mut self, line: Line<'a>) {
        match self.media.last_mut() {
            Some(media) => media.read_line(line),
            None => self.session.push(line),
        }
    }

    fn check_whole(&self) -> Result<(), ParseError> {
        let has = |kind| self.session.iter().any(|line| line.kind() == Some(kind));
        if !has('v') {
            return Err(ParseError::Missing { kind: 'v' });
        }
        if self.leniency.missing_lines {
            return Ok(());
        }
        if let Some(kind) = ['o', 's', 't'].into_iter().find(|&kind| !has(kind)) {
            return Err(ParseError::Missing { kind });
        }
        // §5.7: in the session, or in every section; a refused section has nothing to connect to.
        if !has('c') && self.media.iter().any(|media| media.port() != 0 && media.connection().is_none()) {
            return Err(ParseError::Missing { kind: 'c' });
        }
        Ok(())
    }

    /// The lines above the first `m=` line.
    #[must_use]
    pub fn lines(&self) -> &[Line<'a>] {
        &self.session
    }

    /// The sections, in order.
    #[must_use]
    pub fn media(&self) -> &[Media<'a>] {
        &self.media
    }

    /// The sections, to be changed.
    pub fn media_mut(&mut self) -> &mut [Media<'a>] {
        &mut self.media
    }

    /// None only where the line is missing.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.session.iter().find(|line| line.kind() == Some('o')).and_then(|line| Origin::parse(line, self.leniency))
    }

    /// Replaces the `o=` line, or puts one after `v=`.
    pub fn set_origin(&mut self, origin: &Origin) {
        match self.session.iter_mut().find(|line| line.kind() == Some('o')) {
            Some(line) => *line = origin.line(),
            None => {
                self.session[0].terminate();
                self.session.insert(1, origin.line());
            }
        }
    }

    /// The value of the first attribute of the session with that name; empty where it has none.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&[u8]> {
        find(&self.session, name)
    }

    /// The values of all attributes of the session with that name, in order.
    pub fn attributes(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        find_all(&self.session, name)
    }

    /// That of the section, else of the session.
    #[must_use]
    pub fn attribute_for<'s>(&'s self, media: &'s Media<'a>, name: &str) -> Option<&'s [u8]> {
        media.attribute(name).or_else(|| self.attribute(name))
    }

    /// The `c=` of the section, else of the session.
    #[must_use]
    pub fn connection_for(&self, media: &Media<'a>) -> Option<Connection> {
        media
            .connection()
            .or_else(|| self.session.iter().find(|line| line.kind() == Some('c')).and_then(Connection::parse))
    }

    /// The direction of the section, else of the session, else both.
    #[must_use]
    pub fn direction_for(&self, media: &Media<'a>) -> Direction {
        media.direction().or_else(|| Direction::find(&self.session)).unwrap_or(Direction::SEND_RECEIVE)
    }

    /// Adds a line to the session, in front of the first section.
    pub fn push_line(&mut self, line: Line<'a>) {
        if let Some(last) = self.session.last_mut() {
            last.terminate();
        }
        self.session.push(line);
    }

    /// Keeps the session's lines that `keep` wants, and `v=`.
    pub fn retain(&mut self, mut keep: impl FnMut(&Line<'a>) -> bool) {
        self.session.retain(|line| line.kind() == Some('v') || keep(line));
    }

    /// Adds a section at the end. Its `c=` line is left out where it repeats the session's.
    pub fn push(&mut self, mut media: Media<'a>) {
        match self.media.last_mut() {
            Some(last) => last.terminate(),
            None => {
                if let Some(last) = self.session.last_mut() {
                    last.terminate();
                }
            }
        }
        let session = self.session.iter().find(|line| line.kind() == Some('c'));
        media.retain(|line| Some(line) != session);
        self.media.push(media);
    }

    /// What goes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        self.write(&mut out);
        out
    }

    /// Writes what goes on the wire behind what `out` has.
    pub fn write(&self, out: &mut Vec<u8>) {
        let lines = self.media.iter().flat_map(|media| media.lines());
        for line in self.session.iter().chain(lines) {
            out.extend_from_slice(line.raw());
        }
    }

    /// Owns its lines.
    #[must_use]
    pub fn into_owned(self) -> Description<'static> {
        Description {
            session: self.session.into_iter().map(Line::into_owned).collect(),
            media: self.media.into_iter().map(Media::into_owned).collect(),
            leniency: self.leniency,
        }
    }
}

/// The order of lines (RFC 8866 §9).
#[derive(Default)]
struct Order {
    seen_version: bool,
    in_media: bool,
    last: usize,
    previous: char,
}

impl Order {
    /// Whether a line of that letter may stand here.
    fn take(&mut self, kind: char) -> bool {
        let (letters, repeatable) = if kind == 'm' {
            (self.in_media, self.last, self.previous) = (true, 0, 'm');
            return true;
        } else if self.in_media {
            ("micbka", "cba")
        } else {
            ("vosiuepcbtka", "epbta")
        };
        // `r=` and `z=` belong to the `t=` above them, `z=` to an `r=` (§5.11).
        let position = match kind {
            'r' if !self.in_media => letters.find('t').filter(|_| matches!(self.previous, 't' | 'r')),
            'z' if !self.in_media => letters.find('t').filter(|_| self.previous == 'r'),
            _ => letters.find(kind),
        };
        let Some(position) = position else {
            // A letter that is not known stands anywhere; one that is known elsewhere does not.
            return !"vosiuepcbtrzka".contains(kind);
        };
        let fits = position > self.last
            || position == self.last && (self.previous == '\0' || repeatable.contains(kind) || "rz".contains(kind));
        (self.last, self.previous) = (position, kind);
        fits
    }
}

#[cfg(test)]
mod tests;
