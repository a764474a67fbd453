//! The envelope (RFC 3862): message headers, content headers, content.
//!
//! Written back, an envelope is what was read, byte for byte, but for the headers that were added: headers that the
//! server does not know belong to others.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::address::{Address, push_address};
use crate::disposition::Dispositions;
use crate::header::{CORE_NAMESPACE, Header, IMDN_NAMESPACE, Limits};
use crate::media::{CPIM_TYPE, IMDN_TYPE, is_type};

/// Why a body is no envelope. The answer to the sender is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("more than {max} headers")]
    TooManyHeaders { max: usize },
    #[error("more than {max} bytes of headers")]
    HeadTooLong { max: usize },
    #[error("no header in the line at byte {at}")]
    Line { at: usize },
    #[error("no headers")]
    Empty,
}

/// An envelope; content and untouched headers are borrowed from what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpim<'a> {
    /// What stood in front of the message headers: nothing, or the outer `Content-Type` some senders repeat.
    preamble: &'a [u8],
    headers: Vec<Header<'a>>,
    /// The empty line after the message headers; absent where the content headers follow without one.
    gap: &'a [u8],
    mime: Vec<Header<'a>>,
    /// The empty line before the content.
    mime_gap: &'a [u8],
    body: &'a [u8],
}

impl<'a> Cpim<'a> {
    /// Parses with the default limits.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_within(bytes, Limits::default())
    }

    /// Parses; the content is what follows the second empty line, whatever `Content-Length` says.
    ///
    /// Taken besides what RFC 3862 allows: line feeds without carriage return, folded lines, empty lines and the outer
    /// `Content-Type` in front, any spaces after the colon, content headers without the empty line before them (as
    /// the examples of RFC 5438 show them), content without headers.
    pub fn parse_within(bytes: &'a [u8], limits: Limits) -> Result<Self, ParseError> {
        let mut lines = Lines { bytes, at: 0, headers: 0, limits };
        let preamble = lines.preamble();
        let mut headers = Vec::with_capacity(8);
        let mut mime = Vec::new();
        let gap = loop {
            let line = lines.next()?;
            if line.is_blank() {
                break line.0;
            }
            let at = lines.at - line.0.len();
            if headers.is_empty() && matches!(line.0[0], b' ' | b'\t') {
                // A continuation of nothing.
                return Err(ParseError::Line { at });
            }
            let header = Header::parse(Cow::Borrowed(line.0)).ok_or(ParseError::Line { at })?;
            if is_content_header(&header) {
                mime.push(header);
                break b"".as_slice();
            }
            headers.push(header);
        };
        if headers.is_empty() {
            return Err(ParseError::Empty);
        }
        let mime_start = lines.at;
        let mime_gap = loop {
            let line = lines.next()?;
            if line.is_blank() {
                break line.0;
            }
            match Header::parse(Cow::Borrowed(line.0)) {
                // Content without headers may begin with what looks like one.
                Some(header) if !mime.is_empty() || is_content_header(&header) => mime.push(header),
                _ if mime.is_empty() => {
                    lines.at = mime_start;
                    break b"".as_slice();
                }
                _ => return Err(ParseError::Line { at: lines.at - line.0.len() }),
            }
        };
        Ok(Self { preamble, headers, gap, mime, mime_gap, body: &bytes[lines.at..] })
    }

    /// The message headers in their order.
    pub fn headers(&self) -> &[Header<'a>] {
        &self.headers
    }

    /// The message headers, each with its namespace and its name there (RFC 3862 §3.4). Prefixes count by what they
    /// are declared as; an undeclared `imdn.` and bare IMDN names are taken for what they must mean.
    pub fn resolved(&self) -> impl Iterator<Item = (&str, &str, &Header<'a>)> {
        let mut declared: Vec<(Option<&str>, &str)> = Vec::new();
        self.headers.iter().map(move |header| {
            declared.extend(header.declaration());
            let (prefix, name) = header.split_name();
            let namespace = declared.iter().rev().find(|(known, _)| *known == prefix).map(|(_, uri)| *uri);
            match (prefix, namespace) {
                (None, _) if is_core_name(name) => (CORE_NAMESPACE, name, header),
                (_, Some(uri)) => (uri, name, header),
                (None, None) if is_imdn_name(name) => (IMDN_NAMESPACE, name, header),
                (None, None) => (CORE_NAMESPACE, name, header),
                (Some(prefix), None) if prefix.eq_ignore_ascii_case("imdn") => (IMDN_NAMESPACE, name, header),
                (Some(_), None) => ("", name, header),
            }
        })
    }

    /// All headers of this name, in order. RFC 3862 §2.2 tells names apart by case; if none is spelt exactly so, other
    /// cases are taken, and for IMDN names always, since clients spell those in many ways.
    pub fn all(&self, namespace: &str, name: &str) -> Vec<&Header<'a>> {
        let find = |same: fn(&str, &str) -> bool| -> Vec<&Header<'a>> {
            self.resolved().filter(|(uri, one, _)| *uri == namespace && same(one, name)).map(|found| found.2).collect()
        };
        let exact = if namespace == IMDN_NAMESPACE { Vec::new() } else { find(|left, right| left == right) };
        if exact.is_empty() { find(str::eq_ignore_ascii_case) } else { exact }
    }

    /// The value of the first header of this name, escapes resolved.
    pub fn value(&self, namespace: &str, name: &str) -> Option<Cow<'_, str>> {
        self.first(namespace, name)?.value()
    }

    /// The sender.
    pub fn from(&self) -> Option<Address<'_>> {
        Address::parse(self.first(CORE_NAMESPACE, "From")?.raw_value()?)
    }

    /// The recipients.
    pub fn to(&self) -> Vec<Address<'_>> {
        self.addresses(CORE_NAMESPACE, "To")
    }

    /// When the message was sent, by the clock of its sender.
    pub fn date_time(&self) -> Option<&str> {
        self.first(CORE_NAMESPACE, "DateTime")?.raw_value()
    }

    /// The id by which receipts name this message (RFC 5438 §6.3).
    pub fn message_id(&self) -> Option<&str> {
        self.first(IMDN_NAMESPACE, "Message-ID")?.raw_value().filter(|id| !id.is_empty())
    }

    /// What the sender asked to be told; nothing for a receipt, whatever it says (RFC 5438 §7.2.1), nor without a
    /// Message-ID by which it could be told.
    pub fn dispositions(&self) -> Dispositions {
        let mut wanted = Dispositions::default();
        if self.is_receipt() || self.message_id().is_none() {
            return wanted;
        }
        for header in self.all(IMDN_NAMESPACE, "Disposition-Notification") {
            wanted.add(header.raw_value().unwrap_or_default());
        }
        wanted
    }

    /// Whom the message was sent to before a list server wrote another `To` (RFC 5438 §6.4).
    pub fn original_to(&self) -> Option<Address<'_>> {
        Address::parse(self.first(IMDN_NAMESPACE, "Original-To")?.raw_value()?)
    }

    /// The intermediaries through which receipts go back, nearest to the recipient first (RFC 5438 §6.5).
    pub fn record_routes(&self) -> Vec<Address<'_>> {
        self.addresses(IMDN_NAMESPACE, "IMDN-Record-Route")
    }

    /// The intermediaries that this receipt has yet to pass (RFC 5438 §6.6).
    pub fn routes(&self) -> Vec<Address<'_>> {
        self.addresses(IMDN_NAMESPACE, "IMDN-Route")
    }

    /// The headers of the content.
    pub fn content_headers(&self) -> &[Header<'a>] {
        &self.mime
    }

    /// A header of the content; MIME names have no case.
    pub fn content_header(&self, name: &str) -> Option<&str> {
        self.mime.iter().find(|header| header.name().eq_ignore_ascii_case(name))?.raw_value()
    }

    /// The media type of the content with its parameters.
    pub fn content_type(&self) -> Option<&str> {
        self.content_header("Content-Type")
    }

    /// The content as it stands.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The content without its transfer encoding; `None` if it is not what its encoding says.
    pub fn decoded_body(&self) -> Option<Cow<'a, [u8]>> {
        let encoding = self.content_header("Content-Transfer-Encoding").unwrap_or_default();
        if !encoding.trim().eq_ignore_ascii_case("base64") {
            return Some(Cow::Borrowed(self.body));
        }
        let text: Vec<u8> = self.body.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
        STANDARD.decode(text).ok().map(Cow::Owned)
    }

    /// Whether the content is a disposition notification (RFC 5438 §9).
    pub fn is_receipt(&self) -> bool {
        self.content_type().is_some_and(|value| is_type(value, IMDN_TYPE))
            || self.content_header("Content-Disposition").is_some_and(|value| is_type(value, "notification"))
    }

    /// Puts our address on top of the intermediaries through which receipts go back (RFC 5438 §8).
    pub fn add_record_route(&mut self, uri: &str) {
        let (prefix, declared) = self.imdn_prefix();
        let top = self.resolved().position(|(namespace, name, _)| {
            namespace == IMDN_NAMESPACE && name.eq_ignore_ascii_case("IMDN-Record-Route")
        });
        // Never above the declaration of the prefix (RFC 3862 §3.4).
        let at = top.map_or(self.headers.len(), |top| top.max(declared + 1));
        self.insert(at, address_header(&format!("{prefix}.IMDN-Record-Route"), uri));
    }

    /// Notes whom the message was sent to, unless that is noted already (RFC 5438 §6.4).
    pub fn set_original_to(&mut self, uri: &str) {
        if self.first(IMDN_NAMESPACE, "Original-To").is_none() {
            let (prefix, _) = self.imdn_prefix();
            self.insert(self.headers.len(), address_header(&format!("{prefix}.Original-To"), uri));
        }
    }

    /// Takes the top intermediary off a receipt, once it is us, and returns whether there was one (RFC 5438 §8).
    pub fn pop_route(&mut self) -> bool {
        let top = self
            .resolved()
            .position(|(namespace, name, _)| namespace == IMDN_NAMESPACE && name.eq_ignore_ascii_case("IMDN-Route"));
        top.map(|at| self.headers.remove(at)).is_some()
    }

    /// The envelope as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let headers = || self.headers.iter().chain(&self.mime).map(|header| header.as_bytes().len()).sum::<usize>();
        let gaps = self.preamble.len() + self.gap.len() + self.mime_gap.len();
        let mut out = Vec::with_capacity(gaps + headers() + self.body.len());
        out.extend_from_slice(self.preamble);
        self.headers.iter().for_each(|header| out.extend_from_slice(header.as_bytes()));
        out.extend_from_slice(self.gap);
        self.mime.iter().for_each(|header| out.extend_from_slice(header.as_bytes()));
        out.extend_from_slice(self.mime_gap);
        out.extend_from_slice(self.body);
        out
    }

    fn first(&self, namespace: &str, name: &str) -> Option<&Header<'a>> {
        self.all(namespace, name).into_iter().next()
    }

    fn addresses(&self, namespace: &str, name: &str) -> Vec<Address<'_>> {
        let headers = self.all(namespace, name);
        headers.into_iter().filter_map(|header| Address::parse(header.raw_value()?)).collect()
    }

    /// The prefix of the IMDN namespace and where it is declared; declares one if there is none.
    fn imdn_prefix(&mut self) -> (String, usize) {
        // The last declaration of each prefix holds at the end of the headers.
        let mut declared: Vec<(&str, &str, usize)> = Vec::new();
        for (at, header) in self.headers.iter().enumerate() {
            if let Some((Some(prefix), uri)) = header.declaration() {
                declared.retain(|(known, ..)| *known != prefix);
                declared.push((prefix, uri, at));
            }
        }
        let usable = |prefix: &str| Header::new(&format!("{prefix}.X"), "").name() == format!("{prefix}.X");
        let found = declared.iter().find(|(prefix, uri, _)| *uri == IMDN_NAMESPACE && usable(prefix));
        if let Some((prefix, _, at)) = found.filter(|(prefix, ..)| !prefix.contains('.')) {
            return ((*prefix).to_owned(), *at);
        }
        let free = |prefix: &String| !declared.iter().any(|(known, ..)| known == prefix);
        let prefix = std::iter::once("imdn".to_owned()).chain((1..).map(|n| format!("imdn{n}"))).find(free);
        let prefix = prefix.expect("the names are endless");
        self.insert(0, Header::written("NS", &format!("{prefix} <{IMDN_NAMESPACE}>")));
        (prefix, 0)
    }

    fn insert(&mut self, at: usize, header: Header<'a>) {
        // An envelope that ends within its headers may lack the last line end.
        if let Some(last) = self.headers.last_mut() {
            last.end_line();
        }
        self.headers.insert(at, header);
    }
}

/// Whether all headers have arrived, so that an envelope that comes in chunks can be parsed (RFC 4975 §5.1). With
/// more than `limits.head` bytes it says yes and leaves the refusal to the parser.
pub fn head_is_complete(bytes: &[u8], limits: Limits) -> bool {
    let mut lines = Lines { bytes, at: 0, headers: 0, limits };
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

fn address_header(name: &str, uri: &str) -> Header<'static> {
    let mut value = String::with_capacity(uri.len() + 2);
    push_address(&mut value, None, uri);
    Header::written(name, &value)
}

fn is_core_name(name: &str) -> bool {
    ["From", "To", "cc", "DateTime", "Subject", "NS", "Require"].contains(&name)
}

fn is_imdn_name(name: &str) -> bool {
    ["Message-ID", "Disposition-Notification", "Original-To", "IMDN-Record-Route", "IMDN-Route"]
        .iter()
        .any(|one| one.eq_ignore_ascii_case(name))
}

/// A line that begins with a blank continues another, so where no header stands before it it is content.
fn is_content_header(header: &Header<'_>) -> bool {
    starts_like_content_header(header.as_bytes())
}

fn starts_like_content_header(line: &[u8]) -> bool {
    line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"Content-"))
}

/// Cuts lines off, with the folded ones that belong to them.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    headers: usize,
    limits: Limits,
}

/// A line with its end; empty at the end of the input.
struct Line<'a>(&'a [u8]);

impl Line<'_> {
    fn is_blank(&self) -> bool {
        matches!(self.0, b"" | b"\n" | b"\r\n")
    }
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<Line<'a>, ParseError> {
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
    fn preamble(&mut self) -> &'a [u8] {
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

#[cfg(test)]
mod tests;
