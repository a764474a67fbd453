//! Calls of our own: this server as a user agent that takes and makes INVITEs (`chappe_sip::usage`).
//!
//! A call lives in the shard of its Call-ID and is named by a [`CallRef`] from any thread. Whoever uses it, a
//! [`CallUser`], hears of it with the shard locked, and answers through the functions here that take a [`Turn`]; the
//! others spawn a task that visits the shard. In-dialog requests, responses and timers come in from `service.rs`.

mod calls;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use chappe_sip::dialog::{Dialog, DialogId};
use chappe_sip::layer::{Dest, ServerKey};
use chappe_sip::registrar::Binding;
use chappe_sip::usage::{Incoming, NewInvite, RequestId, Usage};
use chappe_sip::{Flow, HeaderName, Message, Method, Reply, Uri};
use parking_lot::Mutex;

use crate::core::{Core, SHARDS};
use crate::hops::Hop;
use crate::service::Request;
use crate::shard::Turn;
use crate::work::Token;

pub use calls::Calls;
use calls::{Call, with};
/// What happens to a call.
pub use chappe_sip::usage::Event as CallEvent;
pub use chappe_sip::usage::{Body, End as CallEnd, NotNow};

/// Methods that our calls know; what else comes in a dialog is for the user of the call to answer.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE";

/// Names a call.
#[derive(Clone)]
pub struct CallRef(Arc<Name>);

struct Name {
    number: u32,
    cell: usize,
    call_id: Box<str>,
    /// Whom it is with, as a URI.
    peer: Box<str>,
    /// Somebody wants it to end: it may be before it begins.
    ended: AtomicBool,
}

impl CallRef {
    pub fn call_id(&self) -> &str {
        &self.0.call_id
    }

    /// Number of the call, never used twice.
    pub fn number(&self) -> u32 {
        self.0.number
    }
}

/// Who uses a call. Called with the shard of the call locked: it must not block, and must not visit a shard.
pub trait CallUser: Send + Sync + 'static {
    /// News of the call. An [`CallEvent::Offer`] wants [`answer_offer`] and a [`CallEvent::Request`] wants [`respond`],
    /// both sooner or later; [`CallEvent::Ended`] is the last and comes once.
    fn event(self: Arc<Self>, turn: &mut Turn<'_>, call: &CallRef, event: CallEvent);

    /// Whether an INVITE within the call that has a Subject is a [`CallEvent::Offer`] whatever it offers.
    fn hears_subjects(&self) -> bool {
        false
    }
}

/// A call to make.
pub struct NewCall {
    pub target: CallTarget,
    /// URIs without brackets.
    pub from: Box<str>,
    pub to: Box<str>,
    /// Whole lines.
    pub headers: String,
    /// Parameters of our Contact, each with its semicolon; or all of it, where it begins with `<`: a focus has a URI of its
    /// own.
    pub contact_params: Box<str>,
    pub body: Body,
    /// When the INVITE is cancelled.
    pub gives_up: Duration,
}

/// Whom to call.
pub enum CallTarget {
    /// A device of a user.
    Binding(Box<Binding>),
    /// Somebody elsewhere.
    Uri(Box<str>),
}

/// Most calls.
#[derive(Debug, Clone, Copy)]
pub struct CallLimits {
    pub calls: usize,
    /// With one peer.
    pub per_peer: usize,
}

/// What all shards know of calls.
#[derive(Default)]
pub struct CallTable {
    serial: AtomicU32,
    now: AtomicUsize,
    /// Those that are not through with their BYE.
    busy: AtomicUsize,
    peers: Mutex<HashMap<Box<str>, usize, RandomState>>,
}

impl CallTable {
    /// Calls that there are.
    pub fn count(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// Calls that a stop has to wait for.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    fn number(&self) -> u32 {
        // 0 is nobody's.
        self.serial.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
    }

    fn add(&self, peer: &str, limits: CallLimits) -> bool {
        let mut peers = self.peers.lock();
        let with_peer = peers.get(peer).copied().unwrap_or(0);
        if with_peer >= limits.per_peer || self.count() >= limits.calls {
            return false;
        }
        peers.insert(peer.into(), with_peer + 1);
        self.now.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn no_longer_busy(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    fn remove(&self, peer: &str) {
        let mut peers = self.peers.lock();
        if let Some(count) = peers.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(peer);
            }
        }
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes an INVITE that begins a call: nothing is answered yet but a refusal, with which there is no call.
/// `contact_params` as in [`NewCall`].
pub fn take(
    turn: &mut Turn<'_>,
    request: Request,
    user: impl FnOnce(&CallRef) -> Arc<dyn CallUser>,
    contact_params: &str,
) -> Option<CallRef> {
    take_with(turn, request, user, contact_params, &["timer"])
}

/// The same for a service that knows these extensions.
pub fn take_with(
    turn: &mut Turn<'_>,
    request: Request,
    user: impl FnOnce(&CallRef) -> Arc<dyn CallUser>,
    contact_params: &str,
    known: &[&str],
) -> Option<CallRef> {
    let (core, message) = (turn.core, &request.message);
    let refuse = |turn: &mut Turn<'_>, status, bytes| {
        turn.core.counters.call_refused();
        turn.respond(request.key, status, bytes);
        None
    };
    if let Some(bytes) = crate::pipeline::bad_extension(turn, message, known) {
        return refuse(turn, 420, bytes);
    }
    // RFC 3261 §8.2.2.2: the same INVITE by another way.
    if turn.shard.calls.is_merged(message) {
        let bytes = Reply::new(message, 482, &core.tag()).finish();
        return refuse(turn, 482, bytes);
    }
    let tag = core.tag();
    let contact = wire::contact(core, &request.flow.into(), contact_params);
    let new = Incoming {
        key: request.key,
        request: message,
        local_tag: &tag,
        contact: &contact,
        secure: request.flow.transport.is_secure(),
        random: core.random(),
    };
    let usage = match Usage::incoming(&core.settings.calls, new) {
        Ok(usage) => usage,
        Err(error) => {
            let bytes = error.reply(message, &tag);
            return refuse(turn, error.status(), bytes);
        }
    };
    let peer = message.from().map(|from| String::from_utf8_lossy(from.uri).into_owned()).unwrap_or_default();
    if !core.calls.add(&peer, core.settings.call_limits) {
        let bytes = Reply::new(message, 503, &tag).header(HeaderName::RetryAfter, &core.retry_after()).finish();
        return refuse(turn, 503, bytes);
    }
    core.counters.call_received();
    let name = Name {
        number: core.calls.number(),
        cell: turn.cell,
        call_id: String::from_utf8_lossy(message.call_id()).into(),
        peer: peer.into(),
        ended: AtomicBool::new(false),
    };
    let call = CallRef(Arc::new(name));
    turn.shard.layer.set_user(request.key, Token::of_call(call.number(), 0).0);
    let user = user(&call);
    turn.shard.calls.insert(Call::new(usage, user, call.clone(), Some(request.flow), request.flow.into()));
    calls::settle(turn, call.number());
    Some(call)
}

/// A provisional answer to an INVITE that was taken; `headers` are whole lines.
pub fn ring(turn: &mut Turn<'_>, call: &CallRef, status: u16, headers: &str) {
    let now = turn.now;
    with(turn, call, |usage| usage.ring(now, status, headers));
}

/// 200 with our description.
pub fn accept(turn: &mut Turn<'_>, call: &CallRef, body: Body, headers: &str) {
    let now = turn.now;
    with(turn, call, |usage| usage.accept(now, body, headers));
}

/// 300-699.
pub fn reject(turn: &mut Turn<'_>, call: &CallRef, status: u16, headers: &str) {
    with(turn, call, |usage| usage.reject(status, headers));
}

/// Answers a [`CallEvent::Offer`], or refuses it; the call goes on.
pub fn answer_offer(turn: &mut Turn<'_>, call: &CallRef, answer: Result<Body, u16>) {
    let now = turn.now;
    with(turn, call, |usage| usage.answer_offer(now, answer));
}

/// Whether a [`CallEvent::Offer`] would leave the session as it is.
pub fn is_offer_unchanged(turn: &mut Turn<'_>, call: &CallRef) -> bool {
    with(turn, call, |usage| usage.is_offer_unchanged()).unwrap_or(false)
}

/// Answers a [`CallEvent::Offer`] with what was agreed before; 488 where it offers something else.
pub fn answer_unchanged(turn: &mut Turn<'_>, call: &CallRef) {
    let now = turn.now;
    with(turn, call, |usage| usage.answer_unchanged(now));
}

/// Answers a [`CallEvent::Request`].
pub fn respond(turn: &mut Turn<'_>, call: &CallRef, key: ServerKey, request: &Message, status: u16, headers: &str) {
    with(turn, call, |usage| usage.respond(key, request, status, headers));
}

/// Offers another session with a re-INVITE.
pub fn offer(turn: &mut Turn<'_>, call: &CallRef, body: Body) -> Result<(), NotNow> {
    let now = turn.now;
    with(turn, call, |usage| usage.offer(now, body)).unwrap_or(Err(NotNow::NoCall))
}

/// Sends a request of another method within the call; its fate is a [`CallEvent::Response`].
pub fn request(
    turn: &mut Turn<'_>,
    call: &CallRef,
    method: &str,
    headers: &str,
    body: Option<&Body>,
) -> Result<RequestId, NotNow> {
    with(turn, call, |usage| usage.request(method, headers, body)).unwrap_or(Err(NotNow::NoCall))
}

/// Ends a call in the shard that is being visited, as [`end`] does.
pub fn end_here(turn: &mut Turn<'_>, call: &CallRef, reason: Option<&str>) {
    call.0.ended.store(true, Ordering::Relaxed);
    with(turn, call, |usage| usage.end(reason));
}

/// Ends a call: BYE, CANCEL or 603, whichever is right. `reason` is a Reason value. From any thread.
pub fn end(core: &Arc<Core>, call: &CallRef, reason: Option<&'static str>) {
    call.0.ended.store(true, Ordering::Relaxed);
    on_shard(core, call, move |turn, call| end_here(turn, call, reason));
}

/// Visits the shard of a call, in a task: as from [`Turn`]s of another shard nothing else is allowed.
pub fn on_shard(core: &Arc<Core>, call: &CallRef, work: impl FnOnce(&mut Turn<'_>, &CallRef) + Send + 'static) {
    let (core, call) = (Arc::clone(core), call.clone());
    core.runtime.clone().spawn(async move { core.visit_cell(call.0.cell, |turn| work(turn, &call)) });
}

/// Calls somebody, from any thread. `user` is told whatever comes of it, also that there are too many calls (503) or no
/// way to the target (430, 480).
pub fn invite(core: &Arc<Core>, new: NewCall, user: Arc<dyn CallUser>) -> CallRef {
    let call_id = format!("{}{}@chappe", core.tag(), core.tag());
    let name = Name {
        number: core.calls.number(),
        cell: core.cell_of(call_id.as_bytes()),
        call_id: call_id.into(),
        peer: new.to.clone(),
        ended: AtomicBool::new(false),
    };
    let call = CallRef(Arc::new(name));
    let (core, reference) = (Arc::clone(core), call.clone());
    core.runtime.clone().spawn(async move {
        let dest = match &new.target {
            CallTarget::Binding(binding) => match core.way_to(binding) {
                Hop::Name => wire::resolve(&core, binding.contact()).await.ok_or(480),
                hop => wire::known(hop),
            },
            CallTarget::Uri(uri) => match Uri::parse(uri.as_bytes()).map(|uri| core.hops.of_uri(&uri, false)) {
                Ok(Hop::Name) => wire::resolve(&core, uri).await.ok_or(480),
                Ok(hop) => wire::known(hop),
                Err(_) => Err(416),
            },
        };
        core.visit_cell(reference.0.cell, |turn| begin(turn, &reference, new, dest, user));
    });
    call
}

fn begin(turn: &mut Turn<'_>, call: &CallRef, new: NewCall, dest: Result<Dest, u16>, user: Arc<dyn CallUser>) {
    let core = turn.core;
    let ended = |why| CallEvent::Ended { why, reason: None };
    let failed = |status| ended(CallEnd::Failed { status, response: None });
    if call.0.ended.load(Ordering::Relaxed) {
        return user.event(turn, call, ended(CallEnd::Ours));
    }
    let dest = match dest {
        Ok(dest) if !core.is_stopping() => dest,
        Ok(_) => return user.event(turn, call, failed(503)),
        Err(status) => return user.event(turn, call, failed(status)),
    };
    if !core.calls.add(&call.0.peer, core.settings.call_limits) {
        core.counters.call_refused();
        return user.event(turn, call, failed(503));
    }
    core.counters.call_made();
    let (uri, route): (&str, &str) = match &new.target {
        CallTarget::Binding(binding) => (binding.contact(), super::proxy::path_beyond_us(core, binding.path())),
        CallTarget::Uri(uri) => (uri, ""),
    };
    let invite = NewInvite {
        request_uri: uri,
        route,
        from: &new.from,
        to: &new.to,
        tag: &core.tag(),
        call_id: call.call_id(),
        contact: &wire::contact(core, &dest, &new.contact_params),
        headers: &new.headers,
        body: new.body,
        gives_up: new.gives_up,
        secure: false,
        random: core.random(),
    };
    let usage = Usage::outgoing(&core.settings.calls, turn.now, invite);
    let flow = match dest {
        Dest::Flow(flow) => Some(flow),
        Dest::Address { .. } => None,
    };
    turn.shard.calls.insert(Call::new(usage, user, call.clone(), flow, dest));
    calls::settle(turn, call.number());
}

/// What a subscription in the dialog of a call shares with it: the dialog, our Contact, and the way to the peer.
pub struct Shared {
    pub dialog: Dialog,
    pub contact: Box<str>,
    pub flow: Flow,
}

/// `None` where the call is over, or was never heard over a flow.
pub fn shared(turn: &mut Turn<'_>, call: &CallRef) -> Option<Shared> {
    let call = turn.shard.calls.get_mut(call.number()).filter(|call| call.usage.is_up())?;
    Some(Shared { dialog: call.usage.dialog()?.clone(), contact: call.usage.contact().into(), flow: call.flow? })
}

/// Whether a request within a dialog belongs to a call here.
pub fn owns(turn: &Turn<'_>, message: &Message) -> bool {
    DialogId::of_request(message).is_some_and(|id| turn.shard.calls.of_dialog(&id).is_some())
}

/// A request within the dialog of a call.
pub fn within(turn: &mut Turn<'_>, request: Request) {
    let Request { key, message, flow, .. } = request;
    let number = DialogId::of_request(&message).and_then(|id| turn.shard.calls.of_dialog(&id));
    let Some(call) = number.and_then(|number| turn.shard.calls.get_mut(number)) else {
        return turn.answer(key, &message, 481);
    };
    // A client that has come back over another connection is reached by that one.
    call.flow = Some(flow);
    let (number, now) = (call.number(), turn.now);
    if message.method() == Method::Invite {
        turn.shard.layer.set_user(key, Token::of_call(number, 0).0);
    }
    call.usage.handle_request(now, key, &message);
    calls::settle(turn, number);
}

/// An ACK; `false` where it belongs to no call here.
pub fn ack(turn: &mut Turn<'_>, message: &Message) -> bool {
    let number = DialogId::of_request(message).and_then(|id| turn.shard.calls.of_dialog(&id));
    let Some(call) = number.and_then(|number| turn.shard.calls.get_mut(number)) else { return false };
    call.usage.handle_ack(&Arc::new(message.clone()));
    let number = call.number();
    calls::settle(turn, number);
    true
}

/// A CANCEL of an INVITE that belongs to the call of `token`.
pub fn cancel(turn: &mut Turn<'_>, token: Token, cancel: ServerKey, invite: ServerKey, message: &Message) {
    let Some(call) = token.call().and_then(|number| turn.shard.calls.get_mut(number)) else {
        return turn.answer(cancel, message, 481);
    };
    let (number, tag) = (call.number(), call.usage.dialog().map(|dialog| dialog.id.local_tag.clone()));
    call.usage.handle_cancel(invite, message);
    // §9.2: with the tag that the answer to the INVITE has.
    let bytes = Reply::new(message, 200, tag.as_deref().unwrap_or_default()).finish();
    turn.respond(cancel, 200, bytes);
    calls::settle(turn, number);
}

/// A response to a request of a call.
pub fn response(turn: &mut Turn<'_>, token: Token, message: &Message) {
    let now = turn.now;
    on_call(turn, token, |usage, id| usage.handle_response(now, id, message));
}

/// A request of a call came to nothing: 408 or 430.
pub fn failed(turn: &mut Turn<'_>, token: Token, status: u16) {
    let now = turn.now;
    on_call(turn, token, |usage, id| usage.handle_failure(now, id, if status == 430 { 503 } else { status }));
}

/// A transaction of a call is over.
pub fn transaction_ended(turn: &mut Turn<'_>, token: Token) {
    on_call(turn, token, |usage, id| usage.handle_transaction_ended(id));
}

fn on_call(turn: &mut Turn<'_>, token: Token, work: impl FnOnce(&mut Usage, RequestId)) {
    let Some(number) = token.call() else { return };
    if let Some(call) = turn.shard.calls.get_mut(number) {
        work(&mut call.usage, RequestId(token.branch_index() as u8));
        calls::settle(turn, number);
    }
}

/// Fires what is due in this shard.
pub fn fire(turn: &mut Turn<'_>) {
    calls::fire(turn);
}

/// Ends every call: the server stops.
pub fn end_all(core: &Arc<Core>) {
    for cell in 0..SHARDS {
        core.visit_cell(cell, |turn| {
            for call in turn.shard.calls.all() {
                end_here(turn, &call, Some("SIP;cause=503;text=\"Server Stopping\""));
            }
        });
    }
}

#[cfg(test)]
mod tests;
