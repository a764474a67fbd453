//! An INVITE to a message session, as RCS clients send it (OMA SIMPLE IM and CPM, GSMA RCC.07 §3.2).
//!
//! What is a chat is told by the session description: a Contact lists all that a phone can do, in a voice call as well.

use bytes::Bytes;
use chappe_sdp::{Description, Media};
use chappe_sip::header::{ContentType, NameAddr};
use chappe_sip::multipart::{self, MultipartError};
use chappe_sip::{HeaderName, Message, Method};

use crate::access::{Access, Asked, Capabilities, Service};
use crate::id::{MAX_ID, is_id};
use crate::outgoing::one_line;

/// User part of the identity that deferred sessions assert; the domain is the server's.
pub const STORE_AND_FORWARD: &str = "rcse-standfw";
/// Headers that [`HeaderName`] does not know.
pub(crate) const IN_REPLY_TO: &str = "InReplyTo-Contribution-ID";
pub(crate) const SESSION_REPLACES: &str = "Session-Replaces";
/// Longest text in a Subject, in bytes.
const MAX_SUBJECT: usize = 8192;

/// An INVITE to a message session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// [`Access::Pager`] for a client of MSRP that knows neither SIMPLE IM nor CPM.
    pub access: Access,
    pub service: Service,
    /// What the inviting device says of itself in its Contact.
    pub device: Capabilities,
    pub contribution_id: Option<Box<str>>,
    pub conversation_id: Option<Box<str>>,
    /// `InReplyTo-Contribution-ID`.
    pub in_reply_to: Option<Box<str>>,
    /// `Session-Replaces`: the contribution of the chat that becomes a group.
    pub session_replaces: Option<Box<str>>,
    /// Whom a server speaks for.
    pub referred_by: Option<ReferredBy>,
    /// The Subject of what is no chat of two; there it is the first message.
    pub subject: Option<Box<str>>,
    pub first: Option<First>,
    /// The session description as it came; it has a message section, and no section of another kind is offered.
    pub sdp: Bytes,
    /// A resource list: whom a group is to have.
    pub recipients: Option<Bytes>,
}

/// The message that an INVITE carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// An envelope as it came.
    Cpim(Bytes),
    /// The Subject of a chat of two, as early SIMPLE IM has it.
    Text(Box<str>),
}

/// `Referred-By` (RFC 3892).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferredBy {
    pub uri: Box<str>,
    /// `tk`: whether the other side knows the user by an alias only.
    pub alias: Option<bool>,
}

/// Why an INVITE is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No message session, or one with sections of other kinds: for the proxy.
    #[error("not an invitation to messages")]
    Foreign,
    #[error("a message session without an offer")]
    NoOffer,
    #[error("session description: {0}")]
    Sdp(#[from] chappe_sdp::ParseError),
    #[error("body: {0}")]
    Body(#[from] MultipartError),
    #[error("first message: {0}")]
    Envelope(#[from] chappe_imdn::ParseError),
    #[error("{0} is no id or longer than {MAX_ID} bytes")]
    Id(&'static str),
    #[error("{0} is no address")]
    Address(HeaderName),
}

impl Refused {
    /// The SIP response. A [`Refused::Foreign`] call that nobody else takes gets it too.
    pub fn status(&self) -> u16 {
        match self {
            Refused::Foreign | Refused::NoOffer => 488,
            Refused::Sdp(_) | Refused::Body(_) | Refused::Envelope(_) | Refused::Id(_) | Refused::Address(_) => 400,
        }
    }
}

impl Invitation {
    /// Reads an INVITE that begins a dialog. Asserted identity and service are believed: who may set them has been seen to
    /// before (RFC 3325 §5).
    pub fn read(message: &Message) -> Result<Invitation, Refused> {
        if message.method() != Method::Invite {
            return Err(Refused::Foreign);
        }
        let marks = Marks::of(message);
        let content_type = message.header(HeaderName::ContentType).unwrap_or_default();
        let find = |wanted: &str| -> Result<Option<Bytes>, MultipartError> {
            let part = multipart::find(content_type, message.body(), &[wanted])?;
            Ok(part.map(|part| message.bytes().slice_ref(part.body)))
        };
        // A broken body may be somebody else's business, so what the headers ask for is looked at first.
        let sdp = match find("application/sdp") {
            Ok(Some(sdp)) => sdp,
            Ok(None) if marks.asks_for_messages() => return Err(Refused::NoOffer),
            Err(error) if marks.asks_for_messages() => return Err(error.into()),
            Ok(None) | Err(_) => return Err(Refused::Foreign),
        };
        let offer = match Description::parse(&sdp) {
            Ok(offer) => offer,
            Err(error) if marks.asks_for_messages() => return Err(error.into()),
            Err(_) => return Err(Refused::Foreign),
        };
        let offered = || offer.media().iter().filter(|media| !media.is_refused());
        if !offered().any(is_messages) || !offered().all(is_messages) {
            return Err(Refused::Foreign);
        }
        let is_multipart = ContentType::parse(content_type).is_ok_and(|value| value.is_multipart());
        let (cpim, recipients) = if is_multipart {
            (find(chappe_imdn::CPIM_TYPE)?, find("application/resource-lists+xml")?)
        } else {
            (None, None)
        };
        let has_file = offered().any(|media| media.has("file-selector"));
        let service = marks.service(has_file, is_multipart, recipients.is_some());
        let subject = message.header(HeaderName::Subject).and_then(text);
        let first = match cpim {
            Some(cpim) => {
                let envelope = chappe_imdn::Cpim::parse(&cpim)?;
                // A large message comes in the session; here are its headers only.
                let is_empty = envelope.body().is_empty() && service == Service::LargeMessage;
                (!is_empty).then(|| First::Cpim(cpim.clone()))
            }
            None if service == Service::Session && marks.access() != Access::Cpm => subject.clone().map(First::Text),
            None => None,
        };
        Ok(Invitation {
            access: marks.access(),
            service,
            device: marks.device,
            contribution_id: id(message.header(HeaderName::ContributionId), HeaderName::ContributionId.as_str())?,
            conversation_id: id(message.header(HeaderName::ConversationId), HeaderName::ConversationId.as_str())?,
            in_reply_to: id(message.other_header(IN_REPLY_TO), IN_REPLY_TO)?,
            session_replaces: id(message.other_header(SESSION_REPLACES), SESSION_REPLACES)?,
            referred_by: message.header(HeaderName::ReferredBy).map(ReferredBy::parse).transpose()?,
            subject: subject.filter(|_| !matches!(first, Some(First::Text(_)))),
            first,
            sdp,
            recipients,
        })
    }

    /// Whether a server speaks for the sender, who is in [`Invitation::referred_by`].
    pub fn is_deferred(&self) -> bool {
        matches!(self.service, Service::Deferred | Service::DeferredNotifications)
    }
}

impl ReferredBy {
    fn parse(value: &[u8]) -> Result<ReferredBy, Refused> {
        let wrong = || Refused::Address(HeaderName::ReferredBy);
        let address = NameAddr::parse(value).map_err(|_| wrong())?;
        let uri = address.parse_uri().map_err(|_| wrong())?;
        let alias = match address.param("tk") {
            Some(value) if value.eq_ignore_ascii_case(b"on") => Some(true),
            Some(value) if value.eq_ignore_ascii_case(b"off") => Some(false),
            _ => None,
        };
        Ok(ReferredBy { uri: uri.text.into(), alias })
    }
}

/// What the headers say of the service.
struct Marks {
    asked: Asked,
    /// P-Asserted-Service, else P-Preferred-Service.
    named: Option<Service>,
    device: Capabilities,
    /// A server that stored what it brings asserts its own identity.
    from_store: bool,
}

impl Marks {
    fn of(message: &Message) -> Marks {
        let mut asked = Asked::default();
        message.values(HeaderName::AcceptContact).for_each(|value| asked.add(value));
        let services = [HeaderName::PAssertedService, HeaderName::PPreferredService];
        let named = services.into_iter().flat_map(|name| message.values(name)).find_map(Service::of_urn);
        let contact = message.values(HeaderName::Contact).next().and_then(|value| NameAddr::parse(value).ok());
        let params = contact.map(|contact| String::from_utf8_lossy(contact.params)).unwrap_or_default();
        let agent = message.header(HeaderName::UserAgent).map(String::from_utf8_lossy).unwrap_or_default();
        let device = Capabilities::of(&params, &agent);
        let from_store = message.values(HeaderName::PAssertedIdentity).any(|value| {
            let uri = NameAddr::parse(value).ok().and_then(|address| address.parse_uri().ok());
            uri.is_some_and(|uri| uri.user_decoded() == STORE_AND_FORWARD)
        });
        Marks { asked, named, device, from_store }
    }

    fn asks_for_messages(&self) -> bool {
        self.asked.simple_im || self.asked.service.is_some() || self.named.is_some()
    }

    /// What the request asks for counts more than what the device can do besides.
    fn access(&self) -> Access {
        if self.named.is_some() {
            Access::Cpm
        } else if self.asked.simple_im {
            Access::SimpleIm
        } else if self.asked.service.is_some() {
            Access::Cpm
        } else {
            self.device.access()
        }
    }

    fn service(&self, has_file: bool, is_multipart: bool, has_recipients: bool) -> Service {
        if self.from_store {
            // The one thing that tells stored receipts from stored messages.
            return if is_multipart { Service::Deferred } else { Service::DeferredNotifications };
        }
        match self.named.or(self.asked.service) {
            _ if has_file => Service::FileTransfer,
            _ if self.device.focus || has_recipients => Service::Group,
            Some(Service::Message | Service::DeferredNotifications) | None => Service::Session,
            Some(service) => service,
        }
    }
}

/// Whether a section is one of MSRP.
fn is_messages(media: &Media<'_>) -> bool {
    media.kind().eq_ignore_ascii_case("message") && media.protocol().to_ascii_uppercase().ends_with("/MSRP")
}

/// An id that may stand in a header of ours.
fn id(value: Option<&[u8]>, name: &'static str) -> Result<Option<Box<str>>, Refused> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = std::str::from_utf8(value).ok().filter(|_| is_id(value)).ok_or(Refused::Id(name))?;
    Ok(Some(text.into()))
}

/// A header value that is shown to people: UTF-8, folded lines in one.
fn text(value: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= MAX_SUBJECT)?;
    Some(one_line(text)).filter(|text| !text.is_empty()).map(Into::into)
}

#[cfg(test)]
mod tests;
