//! A message as header lines and a body: how it waits in the queue.

use bytes::Bytes;
use chappe_imdn::ParseError;
use chappe_sip::header::{Date, NameAddr};
use chappe_sip::{HeaderName, text};

use super::{Envelope, PLAIN, Source};
use crate::id::is_id;
use crate::invitation::IN_REPLY_TO;
use crate::outgoing::{one_line, push};

/// What a message from a session needs to wait as a MESSAGE.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    pub call_id: &'a str,
    pub tag: &'a str,
    /// `Date`, RFC 1123.
    pub date: &'a str,
}

impl Envelope {
    /// Reads a message from the queue: lines as [`crate::stored::headers`] or [`Envelope::to_stored`] left them, and the body.
    /// `message_id` is that of the queue: it stands for a message that has none in an envelope of its own.
    ///
    /// # Errors
    /// A broken envelope; none that came through [`Envelope::to_stored`].
    pub fn stored(headers: &[u8], body: Bytes, message_id: Option<&str>) -> Result<Envelope, ParseError> {
        let find = |wanted| lines(headers).find(|(name, _)| HeaderName::of(name) == wanted).map(|(_, value)| value);
        let address = |name| find(name).and_then(|value| NameAddr::parse(value).ok());
        let asserted =
            find(HeaderName::PAssertedIdentity).and_then(|value| NameAddr::parse(text::list(value).next()?).ok());
        let uri = |address: NameAddr<'_>| String::from_utf8_lossy(address.uri).into_owned();
        let from = asserted.or_else(|| address(HeaderName::From)).map(uri).unwrap_or_default();
        let to = address(HeaderName::To).map(uri).unwrap_or_default();
        let tag = address(HeaderName::From).and_then(|from| from.param("tag")).unwrap_or_default();
        let cseq = find(HeaderName::CSeq).unwrap_or_default();
        let cseq = std::str::from_utf8(cseq).ok().and_then(|value| value.split_ascii_whitespace().next()?.parse().ok());
        let cseq = cseq.unwrap_or(0u32).to_be_bytes();
        let key: [&[u8]; 3] = [find(HeaderName::CallId).unwrap_or_default(), tag, &cseq];
        read(lines(headers), Source { from: &from, to: &to, message_id, key: &key, ..Source::default() }, body)
    }

    /// The message for the queue: lines of a MESSAGE, and the body as it came. Made for what came by a session; a MESSAGE
    /// keeps its own lines.
    pub fn to_stored(&self, stamp: &Stamp<'_>) -> (Bytes, Bytes) {
        let mut out = String::with_capacity(512);
        let mut add = |name: &str, value: &str| push(&mut out, name, value);
        add(HeaderName::From.as_str(), &format!("<{}>;tag={}", self.from, stamp.tag));
        add(HeaderName::To.as_str(), &format!("<{}>", self.to));
        add(HeaderName::CallId.as_str(), stamp.call_id);
        add(HeaderName::CSeq.as_str(), "1 MESSAGE");
        add(HeaderName::Date.as_str(), stamp.date);
        add(HeaderName::PAssertedIdentity.as_str(), &format!("<{}>", self.from));
        for (name, id) in [
            (HeaderName::ContributionId.as_str(), &self.contribution_id),
            (HeaderName::ConversationId.as_str(), &self.conversation_id),
            (IN_REPLY_TO, &self.in_reply_to),
        ] {
            id.iter().for_each(|id| add(name, id));
        }
        add(HeaderName::ContentType.as_str(), if self.is_cpim { chappe_imdn::CPIM_TYPE } else { &self.content_type });
        self.more.iter().for_each(|(name, value)| add(name, value));
        (Bytes::from(out), self.body.clone())
    }
}

/// Reads ids, date, type and what else is said of the content from header lines.
pub(super) fn read<'h>(
    headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    source: Source<'_>,
    body: Bytes,
) -> Result<Envelope, ParseError> {
    let (mut source, mut content_type, mut more) = (source, PLAIN, Vec::new());
    for (name, value) in headers {
        let Ok(value) = std::str::from_utf8(value) else { continue };
        let id = || Some(value).filter(|value| is_id(value.as_bytes()));
        match HeaderName::of(name) {
            HeaderName::ContentType => content_type = value,
            HeaderName::ContributionId => source.contribution_id = id(),
            HeaderName::ConversationId => source.conversation_id = id(),
            HeaderName::Date => {
                let date = Date::parse(value.as_bytes()).ok();
                source.accepted_ms = date.map_or(source.accepted_ms, |date| date.unix() * 1000);
            }
            HeaderName::ContentLength => {}
            HeaderName::Other if name.eq_ignore_ascii_case(IN_REPLY_TO.as_bytes()) => source.in_reply_to = id(),
            known => {
                let name = if known == HeaderName::Other { name } else { known.as_str().as_bytes() };
                let is_about_content = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"Content-"));
                if let Ok(name) = std::str::from_utf8(name)
                    && is_about_content
                {
                    more.push((name.into(), one_line(value).into()));
                }
            }
        }
    }
    Envelope::read_with(&source, content_type, more.into(), body)
}

/// Header lines as (name, value).
fn lines(headers: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = headers;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let mut end = 0;
            loop {
                end += rest[end..].iter().position(|c| *c == b'\n').map_or(rest.len() - end, |at| at + 1);
                if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let (line, tail) = rest.split_at(end);
            rest = tail;
            if let Some(colon) = line.iter().position(|c| *c == b':') {
                return Some((trim(&line[..colon]), trim(&line[colon + 1..])));
            }
        }
        None
    })
}

/// Without blanks and line ends around it, as a header value is read off the wire.
fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |c: &u8| matches!(c, b' ' | b'\t' | b'\r' | b'\n');
    let from = text.iter().position(|c| !is_blank(c)).unwrap_or(text.len());
    let to = text.iter().rposition(|c| !is_blank(c)).map_or(from, |last| last + 1);
    &text[from..to]
}
