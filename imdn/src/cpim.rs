//! The envelope (RFC 3862): message headers, content headers, content.
//!
//! Written back, an envelope is what was read, byte for byte, but for the headers that were added: headers that the
//! server does not know belong to others.

use std::borrow::Cow;

use crate::address::Address;
use crate::aggregate;
use crate::disposition::Dispositions;
use crate::header::{CORE_NAMESPACE, Header, IMDN_NAMESPACE, Limits};
use crate::lines::Lines;
use crate::media::{MIXED_TYPE, is_imdn, is_type};
use crate::namespace::Namespaces;
use crate::notification::Notification;
use crate::transfer;
use crate::xml::XmlError;

mod edit;

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
        let mut lines = Lines::new(bytes, limits);
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
        let mut declared = Namespaces::default();
        self.headers.iter().map(move |header| {
            declared.note(header);
            let (namespace, name) = declared.resolve(header.name());
            (namespace, name, header)
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
        transfer::decode(self.content_header("Content-Transfer-Encoding"), self.body)
    }

    /// Whether the content is a disposition notification, or several of them (RFC 5438 §8.3, §9).
    pub fn is_receipt(&self) -> bool {
        let content_type = self.content_type().unwrap_or_default();
        is_imdn(content_type)
            || self.content_header("Content-Disposition").is_some_and(|value| is_type(value, "notification"))
            || is_type(content_type, MIXED_TYPE) && aggregate::is_aggregate(content_type, self.body)
    }

    /// The notifications in a receipt: one, or those of an aggregate in their order. Nothing where this is none.
    pub fn notifications(&self) -> Vec<Result<Notification, XmlError>> {
        if !self.is_receipt() {
            return Vec::new();
        }
        let Some(body) = self.decoded_body() else { return vec![Err(XmlError::Encoding)] };
        match self.content_type().filter(|content_type| is_type(content_type, MIXED_TYPE)) {
            Some(mixed) => aggregate::notifications(mixed, &body).unwrap_or_else(|error| vec![Err(error.into())]),
            None => vec![Notification::parse(&body)],
        }
    }

    /// The names in `Require` that `understood`, asked with namespace and name, does not know. Who is to process the
    /// content must not unless this is empty (RFC 3862 §3.5); who only passes it on need not ask.
    pub fn unmet_requirements(&self, mut understood: impl FnMut(&str, &str) -> bool) -> Vec<&str> {
        let mut declared = Namespaces::default();
        let mut unmet = Vec::new();
        for header in &self.headers {
            declared.note(header);
            if declared.resolve(header.name()) != (CORE_NAMESPACE, "Require") {
                continue;
            }
            // What is no text names nothing that anybody could know.
            let names =
                header.raw_value().unwrap_or("?").split(',').map(|name| name.trim_matches([' ', '\t', '\r', '\n']));
            unmet.extend(names.filter(|name| {
                let (namespace, local) = declared.resolve(name);
                !name.is_empty() && !understood(namespace, local)
            }));
        }
        unmet
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

    /// The envelope as bytes, around other content in no transfer encoding. `Content-Length` is set right, if there is
    /// one; every other header stays.
    pub fn to_bytes_around(&self, body: &[u8]) -> Vec<u8> {
        let mut changed = self.clone();
        changed.mime.retain(|header| !header.name().eq_ignore_ascii_case("Content-Transfer-Encoding"));
        for header in &mut changed.mime {
            if header.name().eq_ignore_ascii_case("Content-Length") {
                *header = Header::new(header.name(), &body.len().to_string());
            }
        }
        if self.gap.is_empty() && self.mime.is_empty() {
            changed.headers.last_mut().into_iter().for_each(Header::end_line);
            changed.gap = b"\r\n";
        }
        if self.mime_gap.is_empty() {
            changed.mime.last_mut().into_iter().for_each(Header::end_line);
            changed.mime_gap = b"\r\n";
        }
        changed.body = b"";
        let mut out = changed.to_bytes();
        out.extend_from_slice(body);
        out
    }

    fn first(&self, namespace: &str, name: &str) -> Option<&Header<'a>> {
        self.all(namespace, name).into_iter().next()
    }

    fn addresses(&self, namespace: &str, name: &str) -> Vec<Address<'_>> {
        let headers = self.all(namespace, name);
        headers.into_iter().filter_map(|header| Address::parse(header.raw_value()?)).collect()
    }
}

/// A line that begins with a blank continues another, so where no header stands before it it is content.
pub(crate) fn is_content_header(header: &Header<'_>) -> bool {
    starts_like_content_header(header.as_bytes())
}

pub(crate) fn starts_like_content_header(line: &[u8]) -> bool {
    line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"Content-"))
}

#[cfg(test)]
mod tests;
