//! A received message: the bytes as they came, and where its headers are (RFC 3261 §7).
//!
//! Parsing notes positions once and copies nothing; headers are read as types only when asked for. What arrived is
//! what is forwarded, so unknown and odd headers survive byte for byte.

use std::net::SocketAddr;

use bytes::Bytes;
use memchr::memchr;
use smallvec::SmallVec;

use crate::error::ParseError;
use crate::header::{NameAddr, Via};
use crate::limits::Limits;
use crate::name::{HeaderName, Method};
use crate::text::{self, decimal, is_token_str, trim};
use crate::uri::Uri;

/// A part of the message as positions.
pub(crate) type Span = (u32, u32);

/// A part of the header section, which is never longer than [`MAX_HEAD`]: half the size, as messages are kept by the
/// million.
type Short = (u16, u16);

const MAX_HEAD: usize = u16::MAX as usize;

/// One header line, folded lines included.
#[derive(Debug, Clone, Copy)]
struct Line {
    name: HeaderName,
    name_len: u8,
    /// Where the line begins; it ends where the next one begins.
    start: u16,
    /// The value without surrounding white space.
    value: Short,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Request { method: Method, name: Short, uri: Short },
    Response { status: u16, reason: Short },
}

/// A From or To that could be read.
#[derive(Debug, Clone, Copy, Default)]
struct Address {
    display: Short,
    uri: Short,
    params: Short,
    tag: Short,
    bracketed: bool,
}

/// What every layer asks for, found once while parsing.
#[derive(Debug, Clone, Copy, Default)]
struct Essentials {
    /// The first value of the first Via line, and its parts.
    via: Short,
    transport: Short,
    host: Short,
    port: Option<u16>,
    sent_by: Short,
    via_params: Short,
    branch: Short,
    call_id: Short,
    from: Address,
    to: Address,
    cseq: u32,
    cseq_method: Short,
}

/// A SIP request or response with its bytes.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Bytes,
    start: Start,
    lines: SmallVec<[Line; 24]>,
    /// Where the empty line begins.
    head_end: u16,
    body: Span,
    essentials: Essentials,
    fault: Option<ParseError>,
    source: Option<SocketAddr>,
}

impl Message {
    /// Reads one message; bytes after the body that Content-Length tells are dropped, as RFC 3261 §18.3 wants for
    /// datagrams. Without Content-Length the body is all that follows.
    ///
    /// An error means that there is not enough order to answer. What is understood but wrong (no Call-ID, a bad
    /// CSeq, a version that is not ours) is kept for [`Message::check`], so that a response can be sent.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Message, ParseError> {
        let mut fault = None;
        let (start, at) = parse_start(&bytes, limits, &mut fault)?;
        let mut lines = SmallVec::new();
        let (head_end, body) = parse_lines(&bytes, at, limits, &mut lines, &mut fault)?;
        let body = (body as u32, bytes.len() as u32);
        let essentials = Essentials::default();
        let mut message = Message { start, lines, head_end, body, essentials, fault, source: None, bytes };
        message.note_essentials(limits);
        Ok(message)
    }

    /// The message with the address it came from, which responses and forwarded copies note in the top Via
    /// (RFC 3261 §18.2.1, RFC 3581 §4).
    #[must_use]
    pub fn from_source(mut self, source: SocketAddr) -> Message {
        self.source = Some(source);
        self
    }

    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// Whether the message can be processed: version, mandatory headers, lengths, a Request-URI that can be read and
    /// has no header part (RFC 4475 §3.1.2.11). The error names the response code.
    pub fn check(&self) -> Result<(), ParseError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        match self.start {
            Start::Request { uri, .. } if !Uri::parse(self.part(uri))?.headers.is_empty() => {
                Err(ParseError::Uri("no headers in a Request-URI"))
            }
            _ => Ok(()),
        }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The method of a request, or the CSeq method of a response.
    pub fn method(&self) -> Method {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => Method::of(self.method_text()),
        }
    }

    /// The method's own text, for those that are not in [`Method`].
    pub fn method_text(&self) -> &[u8] {
        match self.start {
            Start::Request { name, .. } => self.part(name),
            Start::Response { .. } => self.part(self.essentials.cseq_method),
        }
    }

    /// The Request-URI as it came; empty for a response.
    pub fn uri(&self) -> &[u8] {
        match self.start {
            Start::Request { uri, .. } => self.part(uri),
            Start::Response { .. } => b"",
        }
    }

    /// The status code of a response; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    pub fn reason(&self) -> &[u8] {
        match self.start {
            Start::Request { .. } => b"",
            Start::Response { reason, .. } => self.part(reason),
        }
    }

    pub fn body(&self) -> &[u8] {
        self.span(self.body)
    }

    /// The body without a copy.
    pub fn body_bytes(&self) -> Bytes {
        self.bytes.slice(self.body.0 as usize..self.body.1 as usize)
    }

    /// The first line of that name: its whole value.
    pub fn header(&self, name: HeaderName) -> Option<&[u8]> {
        self.lines.iter().find(|l| l.name == name).map(|l| self.part(l.value))
    }

    /// Every line of that name, in order.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter(move |l| l.name == name).map(|l| self.part(l.value))
    }

    /// Every value of a header whose values are comma-separated, over all its lines (RFC 3261 §7.3.1).
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.headers(name).flat_map(text::list)
    }

    /// The first line with a name that [`HeaderName`] does not know (any case).
    pub fn other_header(&self, name: &str) -> Option<&[u8]> {
        self.all_headers().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }

    /// Every line as (name as written, value).
    pub fn all_headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|l| (&self.bytes[l.start as usize..][..l.name_len as usize], self.part(l.value)))
    }

    /// Whether a comma-separated token header (Require, Supported, …) holds `token`, in any case.
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.values(name).any(|t| t.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// A header that holds one number; `None` where absent or not a number.
    pub fn number(&self, name: HeaderName) -> Option<u64> {
        self.header(name).and_then(decimal)
    }

    /// The topmost Via value.
    pub fn via(&self) -> Option<Via<'_>> {
        let found = &self.essentials;
        (found.sent_by.1 > 0).then(|| Via {
            transport_text: self.part(found.transport),
            sent_by: self.part(found.sent_by),
            host: self.part(found.host),
            port: found.port,
            params: self.part(found.via_params),
            branch: self.part(found.branch),
        })
    }

    /// The topmost Via value as text.
    pub fn via_text(&self) -> &[u8] {
        self.part(self.essentials.via)
    }

    /// `branch` of the topmost Via; empty where absent.
    pub fn branch(&self) -> &[u8] {
        self.part(self.essentials.branch)
    }

    /// host[:port] of the topmost Via.
    pub fn sent_by(&self) -> &[u8] {
        self.part(self.essentials.sent_by)
    }

    pub fn call_id(&self) -> &[u8] {
        self.part(self.essentials.call_id)
    }

    pub fn cseq(&self) -> u32 {
        self.essentials.cseq
    }

    /// The method named in CSeq.
    pub fn cseq_method(&self) -> &[u8] {
        self.part(self.essentials.cseq_method)
    }

    pub fn from(&self) -> Option<NameAddr<'_>> {
        self.address(&self.essentials.from)
    }

    pub fn to(&self) -> Option<NameAddr<'_>> {
        self.address(&self.essentials.to)
    }

    /// Empty where absent.
    pub fn from_tag(&self) -> &[u8] {
        self.part(self.essentials.from.tag)
    }

    /// Empty where absent: the request is outside a dialog.
    pub fn to_tag(&self) -> &[u8] {
        self.part(self.essentials.to.tag)
    }

    fn address(&self, found: &Address) -> Option<NameAddr<'_>> {
        let Address { display, uri, params, bracketed, .. } = *found;
        let part = |part| self.part(part);
        (uri.1 > 0).then(|| NameAddr { display: part(display), uri: part(uri), params: part(params), bracketed })
    }

    /// Where `part`, a slice that an accessor of this message gave, lies in [`Message::bytes`].
    pub(crate) fn span_of(&self, part: &[u8]) -> Option<Span> {
        let from = (part.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        (from + part.len() <= self.bytes.len()).then_some((from as u32, (from + part.len()) as u32))
    }

    /// The whole lines of a header, terminators included, as positions.
    pub(crate) fn line_spans(&self, name: HeaderName) -> impl Iterator<Item = Span> {
        self.lines
            .iter()
            .enumerate()
            .filter(move |(_, l)| l.name == name)
            .map(|(i, l)| (l.start.into(), self.line_end(i)))
    }

    /// Like `line_spans`, by a name as text.
    pub(crate) fn line_spans_by_text(&self, name: &str) -> impl Iterator<Item = Span> {
        let wanted =
            move |l: &Line| self.bytes[l.start as usize..][..l.name_len as usize].eq_ignore_ascii_case(name.as_bytes());
        self.lines.iter().enumerate().filter(move |(_, l)| wanted(l)).map(|(i, l)| (l.start.into(), self.line_end(i)))
    }

    pub(crate) fn uri_span(&self) -> Option<Span> {
        match self.start {
            Start::Request { uri, .. } => Some(wide(uri)),
            Start::Response { .. } => None,
        }
    }

    pub(crate) fn via_span(&self) -> Span {
        wide(self.essentials.via)
    }

    /// Where the headers begin.
    pub(crate) fn head_start(&self) -> u32 {
        self.lines.first().map_or(self.head_end, |l| l.start).into()
    }

    /// Where the empty line begins.
    pub(crate) fn head_end(&self) -> u32 {
        self.head_end.into()
    }

    pub(crate) fn body_span(&self) -> Span {
        self.body
    }

    fn line_end(&self, line: usize) -> u32 {
        self.lines.get(line + 1).map_or(self.head_end, |next| next.start).into()
    }

    fn span(&self, span: Span) -> &[u8] {
        &self.bytes[span.0 as usize..span.1 as usize]
    }

    fn part(&self, part: Short) -> &[u8] {
        &self.bytes[part.0.into()..part.1.into()]
    }

    /// Cuts the body and reads the headers that every layer asks for; what is wrong with them is kept as the fault.
    fn note_essentials(&mut self, limits: &Limits) {
        let bytes: &[u8] = &self.bytes;
        let mut found = Essentials::default();
        let mut length = None;
        let mut seen = [false; 5];
        // Of several faults, the first in the body's length is told, else the first in the headers.
        let (mut body_fault, mut head_fault) = (None, None);
        for line in &self.lines {
            let which = match line.name {
                HeaderName::Via => 0,
                HeaderName::From => 1,
                HeaderName::To => 2,
                HeaderName::CallId => 3,
                HeaderName::CSeq => 4,
                HeaderName::ContentLength => {
                    match decimal(part(bytes, line.value)) {
                        Some(n) if length.is_none_or(|l| l == n) => length = Some(n),
                        Some(_) => body_fault = Some(ParseError::Repeated(line.name)),
                        None => body_fault = Some(malformed(line.name, "a number")),
                    }
                    continue;
                }
                _ => continue,
            };
            if std::mem::replace(&mut seen[which], true) {
                if line.name != HeaderName::Via {
                    head_fault.get_or_insert(ParseError::Repeated(line.name));
                }
                continue;
            }
            let result = match line.name {
                HeaderName::Via => found.note_via(bytes, line.value),
                HeaderName::From => Address::note(&mut found.from, bytes, line),
                HeaderName::To => Address::note(&mut found.to, bytes, line),
                HeaderName::CallId => found.note_call_id(bytes, line.value),
                _ => found.note_cseq(bytes, line.value),
            };
            if let Err(error) = result {
                head_fault.get_or_insert(error);
            }
        }
        if seen != [true; 5] {
            let names = [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];
            let missing = names.into_iter().zip(seen).find(|(_, seen)| !seen);
            head_fault = head_fault.or(missing.map(|(name, _)| ParseError::MissingHeader(name)));
        }
        self.essentials = found;

        let have = (self.body.1 - self.body.0) as usize;
        if let Some(says) = length {
            let says = usize::try_from(says).unwrap_or(usize::MAX);
            if says > have {
                body_fault.get_or_insert(ParseError::ShortBody { have, says });
            } else {
                self.body.1 = self.body.0 + says as u32;
            }
        }
        let len = self.body.1 as usize;
        if len > limits.message {
            body_fault.get_or_insert(ParseError::TooLarge { what: "message", len, max: limits.message });
        }
        if head_fault.is_none() && self.is_request() && self.method_text() != self.cseq_method() {
            head_fault = Some(malformed(HeaderName::CSeq, "the method of the request"));
        }
        if self.fault.is_none() {
            self.fault = body_fault.or(head_fault);
        }
    }
}

impl Essentials {
    fn note_via(&mut self, bytes: &[u8], value: Short) -> Result<(), ParseError> {
        let at = |part: &[u8]| short(bytes, part);
        let first = text::list(part(bytes, value)).next().unwrap_or(b"");
        self.via = at(first);
        let via = Via::parse(first)?;
        self.transport = at(via.transport_text);
        (self.host, self.port, self.sent_by) = (at(via.host), via.port, at(via.sent_by));
        self.via_params = at(via.params);
        self.branch = at(via.branch);
        // The bare cookie names no transaction (RFC 4475 §3.2.1).
        match via.branch.eq_ignore_ascii_case(b"z9hG4bK") {
            true => Err(malformed(HeaderName::Via, "a branch behind the magic cookie")),
            false => Ok(()),
        }
    }

    fn note_call_id(&mut self, bytes: &[u8], value: Short) -> Result<(), ParseError> {
        self.call_id = value;
        let value = part(bytes, value);
        match value.is_empty() || text::find_near(value, [b' ', b'\t']).is_some() {
            true => Err(malformed(HeaderName::CallId, "one word")),
            false => Ok(()),
        }
    }

    fn note_cseq(&mut self, bytes: &[u8], value: Short) -> Result<(), ParseError> {
        let value = part(bytes, value);
        let split = value.iter().position(|b| text::is_lws(*b)).unwrap_or(value.len());
        let method = trim(&value[split..]);
        self.cseq_method = short(bytes, method);
        match decimal(&value[..split]) {
            Some(n) if n < 1 << 31 && is_token_str(method) => self.cseq = n as u32,
            _ => return Err(malformed(HeaderName::CSeq, "a number below 2^31 and a method")),
        }
        Ok(())
    }
}

impl Address {
    fn note(&mut self, bytes: &[u8], line: &Line) -> Result<(), ParseError> {
        let at = |part: &[u8]| short(bytes, part);
        let wrong = malformed(line.name, "an address");
        let Ok(address) = NameAddr::parse(part(bytes, line.value)) else { return Err(wrong) };
        let tag = address.param("tag");
        if address.uri.is_empty() || tag == Some(b"") {
            return Err(wrong);
        }
        *self = Address {
            display: at(address.display),
            uri: at(address.uri),
            params: at(address.params),
            tag: tag.map(at).unwrap_or_default(),
            bracketed: address.bracketed,
        };
        Ok(())
    }
}

fn part(bytes: &[u8], part: Short) -> &[u8] {
    &bytes[part.0.into()..part.1.into()]
}

/// Where `part`, a slice of the header section, lies in `bytes`; nothing for a slice of something else.
fn short(bytes: &[u8], part: &[u8]) -> Short {
    let from = (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    if from < bytes.len() { (from as u16, (from + part.len()) as u16) } else { (0, 0) }
}

fn malformed(header: HeaderName, expected: &'static str) -> ParseError {
    ParseError::Malformed { header, expected }
}

fn wide(part: Short) -> Span {
    (part.0.into(), part.1.into())
}

/// Reads the header lines from `at` on: where the empty line begins, and where the body does.
fn parse_lines(
    bytes: &[u8],
    mut at: usize,
    limits: &Limits,
    lines: &mut SmallVec<[Line; 24]>,
    fault: &mut Option<ParseError>,
) -> Result<(u16, usize), ParseError> {
    let max = limits.head.min(MAX_HEAD);
    loop {
        let rest = &bytes[at..];
        let len = memchr(b'\n', rest).ok_or(ParseError::Incomplete)?;
        let newline = at + len;
        if newline > max {
            return Err(ParseError::TooLarge { what: "header section", len: newline, max });
        }
        let line = match &rest[..len] {
            [line @ .., b'\r'] => line,
            line => line,
        };
        match line {
            [] => return Ok((at as u16, newline + 1)),
            [b' ' | b'\t', ..] => {
                let Some(folded) = lines.last_mut() else { return Err(ParseError::HeaderLine(0)) };
                folded.value = short(bytes, trim(&bytes[folded.value.0.into()..at + line.len()]));
            }
            _ if lines.len() == limits.headers => {
                let len = lines.len() + 1;
                return Err(ParseError::TooLarge { what: "header count", len, max: limits.headers });
            }
            _ => match header_line(bytes, line, at) {
                Some(line) => lines.push(line),
                None => {
                    fault.get_or_insert(ParseError::HeaderLine(lines.len()));
                }
            },
        }
        at = newline + 1;
    }
}

/// Reads the header line that begins at `at` of the message.
fn header_line(bytes: &[u8], line: &[u8], at: usize) -> Option<Line> {
    let colon = text::find_near(line, [b':'])?;
    let name = match &line[..colon] {
        // White space before the colon is allowed by the grammar (RFC 3261 §7.3.1).
        [.., b' ' | b'\t'] => trim(&line[..colon]),
        name => name,
    };
    let known = HeaderName::of(name);
    if known == HeaderName::Other && !is_token_str(name) {
        return None;
    }
    let name_len = u8::try_from(name.len()).ok()?;
    let value = &line[colon + 1..];
    let value = trim(value.strip_prefix(b" ").unwrap_or(value));
    Some(Line { name: known, name_len, start: at as u16, value: short(bytes, value) })
}

fn parse_start(bytes: &[u8], limits: &Limits, fault: &mut Option<ParseError>) -> Result<(Start, usize), ParseError> {
    let at = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if bytes.len() >= u32::MAX as usize {
        return Err(ParseError::TooLarge { what: "message", len: bytes.len(), max: limits.message });
    }
    let newline = at + memchr(b'\n', &bytes[at..]).ok_or(ParseError::Incomplete)?;
    let max = limits.head.min(MAX_HEAD);
    if newline > max {
        return Err(ParseError::TooLarge { what: "start line", len: newline - at, max });
    }
    let line = &bytes[at..newline];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() >= 8 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        let rest = &line[4..];
        let space = text::find_near(rest, [b' ']).ok_or(ParseError::StartLine("a status code"))?;
        if &rest[..space] != b"2.0" {
            fault.get_or_insert(ParseError::Version);
        }
        let code = &rest[space + 1..];
        let digits = code.iter().take_while(|b| b.is_ascii_digit()).count();
        let status = decimal(&code[..digits]).filter(|s| digits == 3 && (100..700).contains(s));
        let status = status.ok_or(ParseError::StartLine("a status code from 100 to 699"))?;
        if !matches!(code.get(3), None | Some(b' ')) {
            return Err(ParseError::StartLine("a status code from 100 to 699"));
        }
        let end = at + line.len();
        let reason = ((end - code.len() + digits + 1).min(end) as u16, end as u16);
        return Ok((Start::Response { status: status as u16, reason }, newline + 1));
    }

    let space = text::find_near(line, [b' ']).ok_or(ParseError::StartLine("METHOD URI SIP/2.0"))?;
    let method = &line[..space];
    if !is_token_str(method) {
        return Err(ParseError::StartLine("a method"));
    }
    // Blanks at the end of the line are repaired, more of them elsewhere are not (RFC 4475 §3.1.2.10).
    let body = line.trim_ascii_end();
    if body.len() != line.len() {
        fault.get_or_insert(ParseError::StartLine("no white space at the end"));
    }
    let version = body.iter().rposition(|b| *b == b' ').ok_or(ParseError::StartLine("METHOD URI SIP/2.0"))?;
    let text = &body[version + 1..];
    if !(text.len() >= 4 && text[..4].eq_ignore_ascii_case(b"SIP/")) {
        return Err(ParseError::StartLine("SIP/2.0"));
    }
    if !text.eq_ignore_ascii_case(b"SIP/2.0") {
        fault.get_or_insert(ParseError::Version);
    }
    if version <= space {
        return Err(ParseError::StartLine("METHOD URI SIP/2.0"));
    }
    let uri = &body[space + 1..version];
    if uri.len() > limits.uri {
        fault.get_or_insert(ParseError::TooLarge { what: "Request-URI", len: uri.len(), max: limits.uri });
    }
    if uri.is_empty() || text::find_near(uri, [b' ', b'<', b'>']).is_some() {
        fault.get_or_insert(ParseError::StartLine("one URI without white space or angle brackets"));
    }
    let name = (at as u16, (at + space) as u16);
    let uri = ((at + space + 1) as u16, (at + version) as u16);
    Ok((Start::Request { method: Method::of(method), name, uri }, newline + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, ParseError> {
        Message::parse(Bytes::from(text.replace('\n', "\r\n")), &Limits::default())
    }

    const OPTIONS: &str = "OPTIONS sip:a@example.com SIP/2.0\nv: SIP/2.0/UDP h.example.com:5070;branch=z9hG4bKx;rport,\n \
        SIP/2.0/TCP other\nFrom: \"A, B\" <sip:b@example.com>;tag=f1\nTo: <sip:a@example.com>\nCall-ID: c1\n\
        CSeq: 7 OPTIONS\nX-Odd :  folded\n\tvalue \nl: 3\n\nabcdef";

    #[test]
    fn a_request_is_indexed() {
        let m = parse(OPTIONS).unwrap();
        assert_eq!(m.check(), Ok(()));
        assert_eq!((m.method(), m.uri(), m.cseq()), (Method::Options, &b"sip:a@example.com"[..], 7));
        assert_eq!((m.branch(), m.sent_by()), (&b"z9hG4bKx"[..], &b"h.example.com:5070"[..]));
        assert_eq!((m.from_tag(), m.to_tag(), m.call_id()), (&b"f1"[..], &b""[..], &b"c1"[..]));
        assert_eq!(m.values(HeaderName::Via).count(), 2);
        assert_eq!(m.other_header("x-odd"), Some(&b"folded\r\n\tvalue"[..]));
        assert_eq!(m.body(), b"abc");
        assert_eq!(m.method_text(), b"OPTIONS");
    }

    #[test]
    fn faults_are_kept_for_the_answer() {
        for (name, from, to, status) in [
            ("short body", "l: 3", "l: 30", 400),
            ("two lengths", "l: 3", "l: 3\nContent-Length: 4", 400),
            ("no call-id", "Call-ID: c1\n", "", 400),
            ("version", "SIP/2.0\nv", "SIP/7.0\nv", 505),
            ("other method in CSeq", "CSeq: 7 OPTIONS", "CSeq: 7 INVITE", 400),
            ("CSeq too large", "CSeq: 7", "CSeq: 2147483648", 400),
            ("two From", "To:", "From: <sip:x@y>\nTo:", 400),
            ("bad header name", "X-Odd", "X(Odd", 400),
            ("bare cookie", "z9hG4bKx", "z9hG4bK", 400),
            ("empty tag", "To: <sip:a@example.com>", "To: <sip:a@example.com>;tag", 400),
            ("blanks in To", "To: <sip:", "To: < sip:", 400),
            ("Request-URI without brackets", "OPTIONS sip:a@example.com", "OPTIONS sip:2001:db8::1", 400),
            ("Request-URI with headers", "sip:a@example.com SIP", "sip:a@example.com?Route=%3Csip:x%3E SIP", 400),
        ] {
            let m = parse(&OPTIONS.replace(from, to)).unwrap();
            assert_eq!(m.check().map_err(|e| e.status()), Err(status), "{name}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in ["", "\n\n", "HELLO\n\n", "GET / HTTP/1.1\n\n", "OPTIONS sip:a SIP/2.0\nVia: x", "SIP/2.0 42 x\n\n"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_response_is_indexed() {
        let m = parse("SIP/2.0 183 In Progress\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nf: <sip:a@b>;tag=1\nt: <sip:c@d>;tag=2\ni: x\nCSeq: 1 INVITE\n\n").unwrap();
        assert_eq!((m.status(), m.reason(), m.method()), (183, &b"In Progress"[..], Method::Invite));
        assert_eq!(m.check(), Ok(()));
    }
}
