//! A media section: an `m=` line and what stands under it (RFC 8866 §5.14).

use std::ops::Range;

use crate::line::{Line, find, find_all};
use crate::origin::Connection;
use crate::rules::Leniency;
use crate::{Direction, text};

/// A media section. Everything but what is changed stays as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media<'a> {
    /// The `m=` line is the first.
    lines: Vec<Line<'a>>,
    port: u16,
    /// In the value of the `m=` line, which is ASCII.
    kind: Range<usize>,
    protocol: Range<usize>,
    formats: Range<usize>,
}

impl<'a> Media<'a> {
    /// A section without attributes, such as `m=message 2855 TCP/MSRP *`.
    ///
    /// None where the line would be no `m=` line.
    #[must_use]
    pub fn new(kind: &str, port: u16, protocol: &str, formats: &str) -> Option<Media<'static>> {
        Media::from_line(Line::new('m', format!("{kind} {port} {protocol} {formats}")), Leniency::STRICT)
    }

    pub(crate) fn from_line(line: Line<'a>, leniency: Leniency) -> Option<Self> {
        let value = line.text()?;
        if !value.is_ascii() || (!leniency.spaces && !text::single_spaced(value)) {
            return None;
        }
        let words: Vec<Range<usize>> = text::words(value).take(4).collect();
        let [kind, port, protocol, formats @ ..] = words.as_slice() else { return None };
        let (kind, protocol) = (kind.clone(), protocol.clone());
        if !text::is_token(&value[kind.clone()]) || !value[protocol.clone()].split('/').all(text::is_token) {
            return None;
        }
        let (port, ports) = match value[port.clone()].split_once('/') {
            Some((port, ports)) => (port, Some(ports)),
            None => (&value[port.clone()], None),
        };
        // The number of ports means something to layered codecs only; it stays in the line.
        if ports.is_some_and(|ports| text::number::<u32>(ports).is_none_or(|count| count == 0)) {
            return None;
        }
        let port = text::number(port)?;
        let formats = match formats.first() {
            Some(first) => first.start..value.trim_ascii_end().len(),
            None if leniency.no_format => value.len()..value.len(),
            None => return None,
        };
        Some(Self { lines: vec![line], port, kind, protocol, formats })
    }

    pub(crate) fn read_line(&mut self, line: Line<'a>) {
        self.lines.push(line);
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.lines[0].text().and_then(|value| value.get(range.clone())).unwrap_or_default()
    }

    /// `message`, `audio`, `application` …
    #[must_use]
    pub fn kind(&self) -> &str {
        self.part(&self.kind)
    }

    /// That of the `m=` line.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `TCP/MSRP`, `UDP/TLS/RTP/SAVPF` …
    #[must_use]
    pub fn protocol(&self) -> &str {
        self.part(&self.protocol)
    }

    /// The formats; none only in a line that lacks them.
    pub fn formats(&self) -> impl Iterator<Item = &str> {
        self.part(&self.formats).split_ascii_whitespace()
    }

    /// Whether the section is refused or ended: port 0 (RFC 3264 §6), but not `a=bundle-only` (RFC 8843 §6).
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.port == 0 && !self.has("bundle-only")
    }

    /// All lines, the `m=` line first.
    #[must_use]
    pub fn lines(&self) -> &[Line<'a>] {
        &self.lines
    }

    /// The value of the first attribute of that name in this section; empty where it has none.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&[u8]> {
        find(&self.lines, name)
    }

    /// The values of all attributes of that name in this section, in order.
    pub fn attributes(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        find_all(&self.lines, name)
    }

    /// Whether this section has an attribute of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// The `c=` line of this section.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        self.lines.iter().find(|line| line.kind() == Some('c')).and_then(Connection::parse)
    }

    /// The direction that this section names.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        Direction::find(&self.lines)
    }

    /// Changes the port, and nothing else of the `m=` line.
    pub fn set_port(&mut self, port: u16) {
        let value = self.lines[0].text().unwrap_or_default();
        let Some(old) = text::words(value).nth(1) else { return };
        let digits = old.start..old.start + value[old].bytes().take_while(u8::is_ascii_digit).count();
        let changed = format!("{}{port}{}", &value[..digits.start], &value[digits.end..]);
        if let Some(line) = Media::from_line(Line::new('m', changed), Leniency::default()) {
            let Media { mut lines, port, kind, protocol, formats } = line;
            self.lines[0] = lines.swap_remove(0);
            (self.port, self.kind, self.protocol, self.formats) = (port, kind, protocol, formats);
        }
    }

    /// Adds a line at the end.
    pub fn push(&mut self, line: Line<'a>) {
        if let Some(last) = self.lines.last_mut() {
            last.terminate();
        }
        self.lines.push(line);
    }

    /// Adds `a=name` or `a=name:value` at the end.
    pub fn push_attribute(&mut self, name: &str, value: Option<&str>) {
        self.push(Line::attribute(name, value.map(str::as_bytes)));
    }

    /// Keeps the lines that `keep` wants, and the `m=` line.
    pub fn retain(&mut self, mut keep: impl FnMut(&Line<'a>) -> bool) {
        let mut first = true;
        self.lines.retain(|line| std::mem::take(&mut first) || keep(line));
    }

    /// Takes the attributes of that name away.
    pub fn remove_attribute(&mut self, name: &str) {
        self.retain(|line| line.as_attribute().is_none_or(|(found, _)| found != name));
    }

    /// Owns its lines.
    #[must_use]
    pub fn into_owned(self) -> Media<'static> {
        let Media { lines, port, kind, protocol, formats } = self;
        Media { lines: lines.into_iter().map(Line::into_owned).collect(), port, kind, protocol, formats }
    }

    pub(crate) fn terminate(&mut self) {
        if let Some(last) = self.lines.last_mut() {
            last.terminate();
        }
    }
}
