//! What chat sessions say of themselves in SDP (RFC 4975 §8, GSMA RCC.07 §3.2).

use std::net::IpAddr;
use std::sync::Arc;

use chappe_chat::Service;
use chappe_msrp::ReassemblyLimits;
use chappe_sdp::{
    Agreement, Chatroom, Description, Direction, Local, MsrpAnswer, MsrpOffer, Names, Origin, Outcome, Refusal, Rules,
    TypeList,
};

use crate::core::{Core, epoch_seconds};
use crate::msrp::endpoint::{End, EndUser, Endpoint, NewEnd, OpenError};

/// At the top level of a chat: envelopes, and indications of typing without one. In envelopes anything: the recipient's
/// device says what it takes of it.
const ACCEPT: [&str; 2] = ["message/cpim", "application/im-iscomposing+xml"];
/// Where an envelope stands on its own.
const ENVELOPES: [&str; 1] = ["message/cpim"];
/// Messages of one session on their way at a time.
const AT_A_TIME: usize = 8;

/// Reserves our end of a session.
pub(in crate::service) fn open(
    core: &Core,
    endpoint: &Endpoint,
    secure: bool,
    reached: Option<IpAddr>,
    label: &str,
    user: Arc<dyn EndUser>,
) -> Result<Arc<End>, OpenError> {
    let size = max_size(core);
    let limits = ReassemblyLimits { message: size, messages: AT_A_TIME, ..ReassemblyLimits::default() };
    endpoint.open(NewEnd { secure, reached, limits, max_size: size, label: label.into() }, user)
}

/// Whether an offer wants TLS.
pub(in crate::service) fn is_secure(offer: &[u8]) -> bool {
    let rules = Rules::default();
    let description = Description::parse_within(offer, &rules).ok();
    let media = description.as_ref().and_then(|offer| offer.media().iter().find(|media| !media.is_refused()));
    media.and_then(|media| chappe_sdp::msrp_security(media, true)).unwrap_or(false)
}

/// Bytes of a message with its envelope.
fn max_size(core: &Core) -> u64 {
    core.settings.message.max_size as u64
}

fn local(core: &Core, endpoint: &Endpoint, end: &End, service: Service, direction: Direction) -> Local {
    let accept = if service == Service::Session { &ACCEPT[..] } else { &ENVELOPES[..] };
    let mut local = Local::new(end.uri().as_str(), TypeList::new(accept.iter().copied()));
    local.accept_wrapped_types = TypeList::any();
    local.max_size = Some(max_size(core));
    local.direction = direction;
    local.fingerprints = endpoint.fingerprint().into_iter().collect();
    // RFC 7701 §8: in a group one may write to one.
    local.chatroom = (service == Service::Group).then(|| Chatroom { private_messages: true, ..Chatroom::default() });
    local
}

/// Answers the offer of a device.
pub(in crate::service) fn answer(
    core: &Core,
    endpoint: &Endpoint,
    end: &End,
    offer: &[u8],
    service: Service,
) -> Result<(Agreement, Vec<u8>), Refusal> {
    let rules = Rules::default();
    let description = Description::parse_within(offer, &rules).map_err(|_| Refusal::MediaType)?;
    let local = local(core, endpoint, end, service, Direction::SEND_RECEIVE);
    let mut answer = MsrpAnswer::new(&description, &origin(end), &rules);
    let index = description.media().iter().position(|media| !media.is_refused()).unwrap_or(0);
    let agreement = answer.accept(index, &local, &Names::default())?;
    Ok((agreement, answer.finish()?.to_bytes()))
}

/// An offer of ours that waits for its answer.
pub(in crate::service) struct Offered {
    offer: MsrpOffer,
    pub(in crate::service) sdp: Vec<u8>,
}

pub(in crate::service) fn offer(core: &Core, endpoint: &Endpoint, end: &End, service: Service) -> Option<Offered> {
    let direction = if service.is_one_way() { Direction::SEND_ONLY } else { Direction::SEND_RECEIVE };
    let offer = MsrpOffer::new(local(core, endpoint, end, service, direction)).ok()?;
    let mut description = Description::new(&origin(end));
    description.push(offer.media().clone());
    Some(Offered { offer, sdp: description.to_bytes() })
}

impl Offered {
    /// Reads the answer; `None` where it is none, or refuses.
    pub(in crate::service) fn agreed(&self, answer: &[u8]) -> Option<Agreement> {
        let rules = Rules::default();
        let description = Description::parse_within(answer, &rules).ok()?;
        match self.offer.read_answer(&description, 0, 1, &Names::default(), &rules) {
            Ok(Outcome::Agreed(agreement)) => Some(*agreement),
            Ok(Outcome::Refused | Outcome::Reoffer) => None,
            Err(error) => {
                tracing::debug!(%error, "an answer that does not fit the offer of a chat session");
                None
            }
        }
    }
}

fn origin(end: &End) -> Origin {
    Origin::new(epoch_seconds(), end.uri().uri().host)
}
