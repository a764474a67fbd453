//! Where the proxy asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use chappe_sip::header::NameAddr;
use chappe_sip::layer::Dest;
use chappe_sip::{Aor, Edit, Flow, HeaderName, Message, Method};
use chappe_webrtc_gw::io::{Carried, Label, MediaError};
use chappe_webrtc_gw::{Dialect, Side};
use smallvec::SmallVec;

use super::Media;
use super::dialect::{attempts, description, of_caller};
use crate::core::Core;
use crate::service::Request;
use crate::shard::Turn;

/// What a proxied request has of media: for each branch a call of the gateway. Calls that nobody has answered end with it.
#[derive(Default)]
pub struct Branches {
    all: SmallVec<[Branch; 1]>,
    cancelled: bool,
}

/// A device over UDP forgets a request that it has refused after T4 (RFC 3261 §17.2.1).
const FORGOTTEN: Duration = Duration::from_millis(5200);

#[derive(Default)]
struct Branch {
    /// How many dialects have been refused, now or before; `None` before the first one is tried.
    refused: Option<usize>,
    carried: Option<Arc<Carried>>,
    answered: bool,
}

impl Drop for Branches {
    fn drop(&mut self) {
        for branch in self.all.iter().filter(|branch| !branch.answered) {
            if let Some(carried) = &branch.carried {
                carried.close();
            }
        }
    }
}

impl Branches {
    fn at(&mut self, index: usize) -> &mut Branch {
        if self.all.len() <= index {
            self.all.resize_with(index + 1, Branch::default);
        }
        &mut self.all[index]
    }

    /// The body for a request that goes to a device; `None` leaves it as it came.
    ///
    /// # Errors
    /// Where the call has to be carried and cannot be.
    pub fn outgoing(
        &mut self,
        core: &Core,
        request: &Message,
        source: &Flow,
        (dest, contact): (&Dest, &str),
        index: usize,
    ) -> Result<Option<Bytes>, MediaError> {
        let Some(media) = core.media() else { return Ok(None) };
        if !matches!(request.method(), Method::Invite | Method::Update | Method::Prack) {
            return Ok(None);
        }
        if !request.to_tag().is_empty() {
            return within(media, request);
        }
        if request.method() != Method::Invite {
            return Ok(None);
        }
        let Some(caller) = of_caller(request, source.transport) else { return Ok(None) };
        let branch = self.at(index);
        let known = || if caller.is_browser() { media.learnt(contact) } else { 0 };
        let refused = *branch.refused.get_or_insert_with(known);
        let Some(Some(dialect)) = attempts(caller, dest.transport()).get(refused).copied().flatten() else {
            branch.carried = None;
            return Ok(None);
        };
        let seen = [Some(source.remote.ip()), Some(dest.address().ip())];
        if let Some(stale) = branch.carried.take() {
            stale.close();
        }
        let carried = media.gateway.begin([caller, dialect], seen, label(request))?;
        branch.carried = Some(Arc::clone(&carried));
        match description(request) {
            // The device makes the offer, in its answer.
            b"" => Ok(None),
            sdp => carried.offer(Side::Caller, sdp).map(|offer| Some(offer.into())),
        }
    }

    /// Whether a device that has refused the dialect of its offer is to be asked in another one, and after what time.
    pub fn ask_again(
        &mut self,
        core: &Core,
        request: &Message,
        source: &Flow,
        (dest, contact): (&Dest, &str),
        response: &Message,
        index: usize,
    ) -> Option<Duration> {
        let media = core.media()?;
        let refused = matches!(response.status(), 415 | 488 | 606);
        if !refused || request.method() != Method::Invite || !request.to_tag().is_empty() || self.cancelled {
            return None;
        }
        Dialect::of(description(request))?;
        let caller = of_caller(request, source.transport)?;
        let all = attempts(caller, dest.transport());
        let next = self.at(index).refused? + 1;
        self.at(index).refused = Some(next);
        if !all.get(next).is_some_and(Option::is_some) {
            if caller.is_browser() {
                // What was learnt is no longer so.
                media.learn(contact, 0);
            }
            return None;
        }
        if caller.is_browser() {
            media.learn(contact, next);
        }
        // The same call again is a loop to it while it still remembers the one it has refused (RFC 3261 §8.2.2.2).
        Some(if dest.transport().is_reliable() { Duration::ZERO } else { FORGOTTEN })
    }

    /// The caller has given up: nobody is asked again.
    pub fn cancel(&mut self) {
        self.cancelled = true;
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// A response from a device, with its description in the words of whoever has asked; `None` leaves it as it came.
    pub fn incoming(&mut self, core: &Core, request: &Message, response: &Message, index: usize) -> Option<Message> {
        let media = core.media()?;
        if !matches!(request.method(), Method::Invite | Method::Update | Method::Prack) || response.status() == 100 {
            return None;
        }
        let (carried, from) = if request.to_tag().is_empty() {
            let carried = self.all.get(index)?.carried.clone()?;
            if !response.to_tag().is_empty() && response.status() < 300 {
                media.remember(response, &carried);
            }
            if response.status() / 100 == 2 {
                self.answered(index);
            }
            (carried, Side::Callee)
        } else {
            let (carried, asked) = media.find(request)?;
            (carried, asked.other())
        };
        let sdp = description(response);
        if sdp.is_empty() || response.status() >= 300 {
            return None;
        }
        let answers = !description(request).is_empty() && carried.has_offer_of(from.other());
        let described = if answers { carried.answer(from, sdp) } else { carried.offer(from, sdp) };
        match described {
            Ok(body) => {
                let mut edit = Edit::new(response);
                edit.set_body(body.into());
                Message::parse(edit.finish(), &core.settings.limits).ok()
            }
            Err(error) => {
                tracing::warn!(%error, "a description of a device cannot be told to the other side");
                None
            }
        }
    }

    /// The others have lost.
    fn answered(&mut self, index: usize) {
        for (at, branch) in self.all.iter_mut().enumerate() {
            if at == index {
                branch.answered = true;
            } else if let Some(carried) = branch.carried.take().filter(|_| !branch.answered) {
                carried.close();
            }
        }
    }
}

/// By what an operator knows the call.
fn label(request: &Message) -> Label {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
    let user = |address: Option<NameAddr<'_>>| {
        let aor = address.and_then(|address| Aor::of(&address.parse_uri().ok()?));
        aor.map_or_else(Box::default, |aor| aor.as_str().into())
    };
    Label { call_id: text(request.call_id()), caller: user(request.from()), callee: user(request.to()) }
}

/// A request within a dialog.
fn within(media: &Media, request: &Message) -> Result<Option<Bytes>, MediaError> {
    let sdp = description(request);
    if sdp.is_empty() {
        return Ok(None);
    }
    let Some((carried, side)) = media.find(request) else { return Ok(None) };
    // What a PRACK says is an answer where the other side has asked in its response (RFC 3262 §5).
    let answers = request.method() == Method::Prack && carried.has_offer_of(side.other());
    let described = if answers { carried.answer(side, sdp) } else { carried.offer(side, sdp) };
    described.map(|body| Some(body.into()))
}

/// The body of an ACK that answers what the device has offered.
pub fn acknowledged(core: &Core, ack: &Message) -> Option<Bytes> {
    let media = core.media()?;
    let sdp = description(ack);
    if sdp.is_empty() {
        return None;
    }
    let (carried, side) = media.find(ack)?;
    carried.answer(side, sdp).ok().map(Into::into)
}

/// A request is on its way within a dialog: a BYE ends what is carried.
pub fn passing(core: &Core, request: &Message) {
    if request.method() == Method::Bye
        && let Some(media) = core.media()
    {
        media.end(request);
    }
}

/// Answers what a browser says about its candidates (RFC 8840 §4): it checks our address, whatever its own are.
pub fn takes(turn: &mut Turn<'_>, request: &Request) -> bool {
    let message = &request.message;
    let is_fragment = message.method() == Method::Info
        && message.header(HeaderName::ContentType).is_some_and(|value| {
            chappe_sip::header::ContentType::parse(value).is_ok_and(|t| t.is("application/trickle-ice-sdpfrag"))
        });
    let carried = is_fragment && turn.core.media().is_some_and(|media| media.find(message).is_some());
    if carried {
        turn.answer(request.key, &Arc::clone(message), 200);
    }
    carried
}
