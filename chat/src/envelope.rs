//! A message on its way through the server, whatever it came by and goes by: MESSAGE, a chat session, the first message of
//! an INVITE, the queue.
//!
//! What came is kept byte for byte. It is changed only where the next device could not read it otherwise: addresses are put
//! in or taken out (OMA SIMPLE IM has none in its envelopes), bare content gets an envelope, or loses it.

use std::borrow::Cow;

use bytes::Bytes;
use chappe_imdn::{
    COMPOSING_TYPE, CORE_NAMESPACE, CPIM_TYPE, Content, Cpim, Dispositions, IMDN_NAMESPACE, Notification,
};
use chappe_imdn::{ParseError, classify};
use chappe_sip::Message;

use crate::access::{Access, Service};
use crate::id::{is_id, made_id};
use crate::invitation::{First, Invitation};
use crate::outgoing::one_line;
use crate::relation::Relation;
use crate::user::{ANONYMOUS, is_anonymous, same_user};

mod stored;

pub use stored::Stamp;

/// What content without a type is.
const PLAIN: &str = "text/plain";
/// What the Subject of an INVITE is.
const PLAIN_UTF8: &str = "text/plain;charset=UTF-8";

/// What a message is to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Content,
    /// A receipt; `None` where it cannot be read: then it is passed on and tells us nothing.
    Receipt(Option<Box<Notification>>),
    /// Somebody types: of use now or never (RFC 3994 §3).
    Composing,
}

/// Whom an envelope names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Nobody, as in sessions of SIMPLE IM.
    Anonymous,
    /// Sender and recipient.
    Real,
}

impl Access {
    /// Whom envelopes name in a session of this kind. Stored receipts always say whose they are.
    pub fn addresses(self, service: Service) -> Addresses {
        match (self, service) {
            (Access::SimpleIm, Service::Session | Service::Deferred) => Addresses::Anonymous,
            (Access::SimpleIm | Access::Cpm | Access::Pager, _) => Addresses::Real,
        }
    }
}

/// What is known of a message beside its body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Source<'a> {
    /// URIs of sender and recipient, as SIP vouches for them.
    pub from: &'a str,
    pub to: &'a str,
    pub contribution_id: Option<&'a str>,
    pub conversation_id: Option<&'a str>,
    pub in_reply_to: Option<&'a str>,
    /// An id for content without one of its own, where it has been named already.
    pub message_id: Option<&'a str>,
    /// What its transport knows it by, such as the Call-ID of the session and the MSRP Message-ID: makes an id where
    /// there is none.
    pub key: &'a [&'a [u8]],
    /// When it was accepted, in milliseconds since the epoch. For content without a date.
    pub accepted_ms: u64,
}

/// A body with its media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub content_type: Box<str>,
    pub bytes: Bytes,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// URI of the sender as SIP vouches for it; what the body says of it may be anything.
    pub from: Box<str>,
    pub to: Box<str>,
    /// IMDN Message-ID, or one that was made for bare content.
    pub message_id: Box<str>,
    pub contribution_id: Option<Box<str>>,
    pub conversation_id: Option<Box<str>>,
    pub in_reply_to: Option<Box<str>>,
    /// When it was sent, by the clock of its sender, else when it was accepted (RFC 3339).
    pub date: Box<str>,
    /// Media type of the content, parameters included.
    pub content_type: Box<str>,
    pub kind: Kind,
    /// Nothing for bare content, and for a message whose own id is none.
    pub wants: Dispositions,
    pub relation: Option<Relation>,
    /// Whether the body is an envelope, else it is the content.
    is_cpim: bool,
    /// Header lines about bare content besides its type.
    more: Box<[(Box<str>, Box<str>)]>,
    /// As it came.
    body: Bytes,
}

impl Envelope {
    /// Reads what a session brought, whole.
    ///
    /// # Errors
    /// A broken envelope.
    pub fn read(source: &Source<'_>, content_type: &str, body: Bytes) -> Result<Envelope, ParseError> {
        Envelope::read_with(source, content_type, Box::default(), body)
    }

    /// Reads a MESSAGE. `from` and `to` are the identities that count; ids and the date are taken from the headers.
    ///
    /// # Errors
    /// A broken envelope.
    pub fn of_message(message: &Message, from: &str, to: &str, accepted_ms: u64) -> Result<Envelope, ParseError> {
        let cseq = message.cseq().to_be_bytes();
        let key: [&[u8]; 3] = [message.call_id(), message.from_tag(), &cseq];
        let source = Source { from, to, key: &key, accepted_ms, ..Source::default() };
        stored::read(message.all_headers(), source, message.body_bytes())
    }

    /// Reads the first message of an INVITE; `None` where it has none. `source.key` should hold its Call-ID.
    ///
    /// # Errors
    /// A broken envelope, which [`Invitation::read`] would have refused.
    pub fn of_first(invitation: &Invitation, source: &Source<'_>) -> Result<Option<Envelope>, ParseError> {
        let source = Source {
            contribution_id: invitation.contribution_id.as_deref(),
            conversation_id: invitation.conversation_id.as_deref(),
            in_reply_to: invitation.in_reply_to.as_deref(),
            ..*source
        };
        match &invitation.first {
            None => Ok(None),
            Some(First::Cpim(body)) => Envelope::read(&source, CPIM_TYPE, body.clone()).map(Some),
            Some(First::Text(text)) => {
                Envelope::read(&source, PLAIN_UTF8, Bytes::copy_from_slice(text.as_bytes())).map(Some)
            }
        }
    }

    fn read_with(
        source: &Source<'_>,
        content_type: &str,
        more: Box<[(Box<str>, Box<str>)]>,
        body: Bytes,
    ) -> Result<Envelope, ParseError> {
        let text = |text: Option<&str>| text.map(Into::into);
        let content_type = one_line(content_type);
        let mut seen = Envelope {
            from: source.from.into(),
            to: source.to.into(),
            message_id: Box::default(),
            contribution_id: text(source.contribution_id),
            conversation_id: text(source.conversation_id),
            in_reply_to: text(source.in_reply_to),
            date: chappe_imdn::date_time(source.accepted_ms).into(),
            content_type: content_type.as_str().into(),
            kind: Kind::Content,
            wants: Dispositions::default(),
            relation: None,
            is_cpim: false,
            more,
            body: Bytes::new(),
        };
        match classify(&content_type, &body)? {
            Content::Message(cpim) => seen.note(&cpim),
            Content::Bare => {}
            Content::Receipt { envelope, notification } => {
                if let Some(cpim) = &envelope {
                    seen.note(cpim);
                }
                seen.kind = Kind::Receipt(notification.ok().map(Box::new));
            }
            Content::Composing => {
                if !chappe_imdn::is_composing(&content_type) {
                    seen.note(&Cpim::parse(&body)?);
                }
                seen.kind = Kind::Composing;
            }
        }
        if seen.message_id.is_empty() {
            seen.message_id = source.message_id.map_or_else(|| made_id(source.key), Into::into);
        }
        seen.body = body;
        Ok(seen)
    }

    fn note(&mut self, cpim: &Cpim<'_>) {
        self.is_cpim = true;
        if let Some(id) = cpim.message_id().filter(|id| is_id(id.as_bytes())) {
            self.message_id = id.into();
            self.wants = cpim.dispositions();
        }
        if let Some(date) = cpim.date_time().filter(|date| is_id(date.as_bytes())) {
            self.date = date.into();
        }
        self.content_type = one_line(cpim.content_type().unwrap_or(PLAIN)).into();
        self.relation = Relation::of(cpim);
    }

    /// Whether it came in an envelope.
    pub fn is_cpim(&self) -> bool {
        self.is_cpim
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The content without its envelope and transfer encoding; `None` where it is not what its encoding says.
    pub fn content(&self) -> Option<Cow<'_, [u8]>> {
        if self.is_cpim { Cpim::parse(&self.body).ok()?.decoded_body() } else { Some(Cow::Borrowed(&self.body)) }
    }

    /// For a chat session: an envelope, but composing indications are bare there (GSMA RCC.07 §3.2.3).
    pub fn for_session(&self, addresses: Addresses) -> Body {
        if self.kind == Kind::Composing
            && let Some(content) = self.content()
        {
            let bytes = if self.is_cpim { Bytes::from(content.into_owned()) } else { self.body.clone() };
            return Body { content_type: COMPOSING_TYPE.into(), bytes };
        }
        Body {
            content_type: CPIM_TYPE.into(),
            bytes: if self.is_cpim { self.dressed(addresses) } else { self.wrapped(addresses) },
        }
    }

    /// For a MESSAGE: an envelope where it came in one, else the content.
    pub fn for_message(&self) -> Body {
        if self.is_cpim {
            return Body { content_type: CPIM_TYPE.into(), bytes: self.dressed(Addresses::Real) };
        }
        Body { content_type: self.content_type.clone(), bytes: self.body.clone() }
    }

    /// The content for a device or a session that takes no envelopes, whatever it came in. `None` for receipts, and for content that such
    /// a device could not make out.
    pub fn bare(&self) -> Option<Body> {
        if matches!(self.kind, Kind::Receipt(_)) {
            return None;
        }
        if !self.is_cpim {
            return Some(Body { content_type: self.content_type.clone(), bytes: self.body.clone() });
        }
        let cpim = Cpim::parse(&self.body).ok()?;
        if cpim.content_header("Content-Encoding").is_some() {
            return None;
        }
        let bytes = self.body.slice_ref(cpim.body());
        let bytes = match cpim.decoded_body()? {
            Cow::Borrowed(_) => bytes,
            Cow::Owned(decoded) => Bytes::from(decoded),
        };
        Some(Body { content_type: self.content_type.clone(), bytes })
    }

    /// The envelope with other addresses where it needs them; all else is as it came.
    fn dressed(&self, addresses: Addresses) -> Bytes {
        let Ok(cpim) = Cpim::parse(&self.body) else { return self.body.clone() };
        let mut changes: Vec<(usize, usize, String)> = Vec::new();
        let mut has_from = false;
        for (namespace, name, header) in cpim.resolved() {
            let is_from = name.eq_ignore_ascii_case("From");
            if namespace != CORE_NAMESPACE || !(is_from || name.eq_ignore_ascii_case("To")) {
                continue;
            }
            has_from |= is_from;
            let uri = header.raw_value().and_then(chappe_imdn::Address::parse).map_or("", |address| address.uri);
            let (fits, instead) = match addresses {
                Addresses::Anonymous => (is_anonymous(uri), ANONYMOUS),
                // Nobody writes in the name of another.
                Addresses::Real if is_from => (same_user(uri, &self.from), &*self.from),
                Addresses::Real => (!is_anonymous(uri), &*self.to),
            };
            if !fits && let Some((from, to)) = place(&self.body, header.as_bytes()) {
                changes.push((from, to, line(if is_from { "From" } else { "To" }, instead)));
            }
        }
        if !has_from && addresses == Addresses::Real {
            let first = cpim.headers().first().and_then(|header| place(&self.body, header.as_bytes()));
            let at = first.map_or(0, |(from, _)| from);
            changes.insert(0, (at, at, line("From", &self.from)));
        }
        if changes.is_empty() {
            return self.body.clone();
        }
        let mut out = Vec::with_capacity(self.body.len() + 128);
        let mut at = 0;
        for (from, to, line) in changes {
            out.extend_from_slice(&self.body[at..from]);
            out.extend_from_slice(line.as_bytes());
            at = to;
        }
        out.extend_from_slice(&self.body[at..]);
        Bytes::from(out)
    }

    /// An envelope around bare content.
    fn wrapped(&self, addresses: Addresses) -> Bytes {
        let (from, to) = match addresses {
            Addresses::Anonymous => (ANONYMOUS, ANONYMOUS),
            Addresses::Real => (&*self.from, &*self.to),
        };
        let envelope = chappe_imdn::Envelope::new(from, to)
            .namespace("imdn", IMDN_NAMESPACE)
            .header("imdn.Message-ID", &self.message_id)
            .header("DateTime", &self.date);
        let more: Vec<(&str, &str)> = self.more.iter().map(|(name, value)| (&**name, &**value)).collect();
        envelope.content(&self.content_type, &more, &self.body).into()
    }
}

/// Where `part` lies in `whole`.
fn place(whole: &[u8], part: &[u8]) -> Option<(usize, usize)> {
    let from = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (from + part.len() <= whole.len()).then_some((from, from + part.len()))
}

/// A header line with an address; what would end the URI early is escaped.
fn line(name: &str, uri: &str) -> String {
    let written = chappe_imdn::Envelope::default().address(name, None, uri).content(PLAIN, &[], b"");
    let end = written.iter().position(|c| *c == b'\n').map_or(0, |at| at + 1);
    String::from_utf8_lossy(&written[..end]).into_owned()
}

#[cfg(test)]
mod tests;
