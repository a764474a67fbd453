//! One-to-one chat: the server is the far end of each device's session (GSMA RCC.07 §3.2, OMA SIMPLE IM and CPM).
//!
//! ```text
//! device ──INVITE, MSRP──▶ Line ──▶ intake ──▶ queue in the store ──▶ drain ──▶ Line of each device of the peer
//!                                  (on disk, then 200)                      or MESSAGE
//! ```
//!
//! A [`Line`](line::Line) is one device in one conversation. What it sends goes into the queue; what the drain hands to it
//! is delivered in a session, or by MESSAGE where the device has none, as [`chappe_chat::leg`] decides.
//!
//! Locks: a Line's state is held for a moment, and never while a shard or the endpoint is called. Calls tell a Line their
//! news under the lock of their shard, so what follows from it is done by a task.

mod file;
mod intake;
mod letter;
mod line;
pub(in crate::service) mod offer;
mod typing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use chappe_chat::envelope::Kind;
use chappe_chat::invitation::Invitation;
use chappe_chat::leg::LegSettings;
use chappe_chat::{Access, Capabilities, Service};
use chappe_sip::header::NameAddr;
use chappe_sip::registrar::{Binding, targets};
use chappe_sip::{Flow, HeaderName, Message};
use chappe_store::{NewMessage, Wants};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::lists;
use crate::msrp::endpoint::Endpoint;
use crate::pipeline::Sender;
use crate::service::Request;
use crate::service::pager::is_alive;
use crate::shard::Turn;
pub use file::{FileBox, was_given};
pub use letter::Letter;
use line::Line;
pub use typing::composing;

/// Who talks: a device of one of our users, and the user at the other side.
#[derive(Debug, Clone)]
struct Sides {
    user: Arc<Entry>,
    device: Box<str>,
    peer: Arc<Entry>,
}

/// A conversation as one side has it: user and peer.
type Key = (Box<str>, Box<str>);
type Lines = HashMap<Key, SmallVec<[Arc<Line>; 1]>, RandomState>;

const SHARDS: usize = 64;

/// All lines.
pub struct Chat {
    shards: Box<[Mutex<Lines>]>,
    hasher: RandomState,
    count: AtomicUsize,
    settings: LegSettings,
    /// Whether chat sessions end here rather than being passed on.
    on: bool,
}

impl Chat {
    pub fn new(on: bool, settings: LegSettings) -> Chat {
        Chat {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            settings,
            on,
        }
    }

    /// Devices in conversations.
    pub fn lines(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &Key) -> &Mutex<Lines> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    fn find(&self, user: &str, device: &str, peer: &str) -> Option<Arc<Line>> {
        self.of_user(user, peer).into_iter().find(|line| *line.sides.device == *device)
    }

    /// The line of a device in a conversation; made where there is none.
    fn line(&self, core: &Arc<Core>, sides: &Sides, device: Capabilities) -> Arc<Line> {
        let key = sides.key();
        let mut shard = self.shard(&key).lock();
        let lines = shard.entry(key).or_default();
        if let Some(line) = lines.iter().find(|line| line.sides.device == sides.device) {
            return Arc::clone(line);
        }
        let line = Line::new(core, sides.clone(), device, self.settings.clone());
        lines.push(Arc::clone(&line));
        self.count.fetch_add(1, Ordering::Relaxed);
        line
    }

    /// A line with nothing to do goes; one that has got something meanwhile stays.
    fn forget(&self, line: &Arc<Line>) {
        let key = line.sides.key();
        let mut shard = self.shard(&key).lock();
        let Some(lines) = shard.get_mut(&key) else { return };
        if let Some(at) = lines.iter().position(|other| Arc::ptr_eq(other, line))
            && line.retire()
        {
            lines.swap_remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
            if lines.is_empty() {
                shard.remove(&key);
            }
        }
    }

    /// Every line of a user's devices with one peer.
    fn of_user(&self, user: &str, peer: &str) -> SmallVec<[Arc<Line>; 1]> {
        if self.lines() == 0 {
            return SmallVec::new();
        }
        let key = (Box::from(user), Box::from(peer));
        let shard = self.shard(&key).lock();
        shard.get(&key).cloned().unwrap_or_default()
    }
}

impl Sides {
    fn key(&self) -> Key {
        (self.user.aor.clone(), self.peer.aor.clone())
    }
}

/// Where MSRP sessions come from, where chat sessions end here.
fn endpoint(core: &Core) -> Option<&Endpoint> {
    core.endpoint().filter(|_| core.chat.on)
}

/// Takes an INVITE of one of our users to another, if it is for a chat that ends here; else gives it back.
pub fn invited(turn: &mut Turn<'_>, request: Request, peer: &Arc<Entry>) -> Result<(), Request> {
    let core = turn.core;
    let Sender::User(user) = &request.sender else { return Err(request) };
    let is_blocked = lists::blocks(core, peer, &user.aor, Some(user));
    if is_blocked && endpoint(core).is_none() && Invitation::read(&request.message).is_ok() {
        let message = Arc::clone(&request.message);
        turn.answer(request.key, &message, 480);
        return Ok(());
    }
    if endpoint(core).is_none() || core.settings.echo.as_deref() == Some(&*peer.aor) {
        return Err(request);
    }
    let invitation = match Invitation::read(&request.message) {
        Ok(invitation)
            if matches!(invitation.service, Service::Session | Service::LargeMessage)
                && invitation.access != Access::Pager =>
        {
            invitation
        }
        Ok(invitation) if invitation.service == Service::FileTransfer && !is_blocked => {
            let user = Arc::clone(user);
            return file::invited(turn, request, &user, peer, &invitation);
        }
        // As if the peer were away. A session of two is taken, and what it brings goes nowhere.
        Ok(_) if is_blocked => {
            let message = Arc::clone(&request.message);
            turn.answer(request.key, &message, 480);
            return Ok(());
        }
        // Somebody else's: another service, or not a chat at all.
        Ok(_) | Err(chappe_chat::invitation::Refused::Foreign) => return Err(request),
        Err(refused) => {
            tracing::debug!(%refused, "a chat session is refused");
            let message = Arc::clone(&request.message);
            turn.answer(request.key, &message, refused.status());
            return Ok(());
        }
    };
    let user = Arc::clone(user);
    let device = device_of(core, &user.aor, &request.message, &request.flow);
    let sides = Sides { user, device, peer: Arc::clone(peer) };
    Line::called(turn, request, sides, invitation);
    Ok(())
}

/// Whether a device may know more than MESSAGE; most say nothing of the kind, and need no closer look.
fn may_have_sessions(binding: &Binding) -> bool {
    binding.params().contains("+g.")
}

/// Whether content of that size goes to such a device in a session, where none is open.
fn wants_session(device: Capabilities, size: usize) -> bool {
    match device.access() {
        Access::SimpleIm => true,
        Access::Cpm => !device.standalone || (size > LARGEST_PAGE && !device.pager_large),
        Access::Pager => device.large && !device.pager_large && size > LARGEST_PAGE,
    }
}

/// A MESSAGE above this goes in another way to devices that have one (RFC 3428 §8, SwitchoverSize of RCS). (u)
const LARGEST_PAGE: usize = 1300;

/// Whether a receipt for a user goes through the queue: a device is in a session with its sender, or one of the two has
/// devices that chat. What they receive may come again after a failure, and be told of again: the queue knows what was told.
pub fn takes_receipt(core: &Core, aor: &str, from: &str) -> bool {
    let chats = |aor| core.location.with(aor, |bindings| bindings.iter().any(may_have_sessions));
    endpoint(core).is_some()
        && (chats(from) || chats(aor) || core.chat.of_user(aor, from).iter().any(|line| line.has_session()))
}

/// Whether a MESSAGE for a user has to go through the queue, since a device that is there takes it in a session only, or
/// is in one with its sender.
pub fn diverts(core: &Core, aor: &str, from: &str, body: &[u8]) -> bool {
    if endpoint(core).is_none() {
        return false;
    }
    core.chat.of_user(aor, from).iter().any(|line| !line.is_done())
        || core.location.with(aor, |bindings| {
            if !bindings.iter().any(may_have_sessions) {
                return false;
            }
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
            found.iter().any(|target| {
                let binding = target.binding;
                wants_session(Capabilities::of(binding.params(), binding.user_agent()), body.len())
                    || file::diverts(core, binding, body)
            })
        })
}

/// Hands a message to the line of a device, where it goes by that rather than by MESSAGE as it is; what becomes of it is
/// told to the drain.
///
/// `waited`: the device was not there when it was accepted.
pub fn deliver(core: &Arc<Core>, aor: &str, binding: &Binding, letter: &Arc<Letter>, waited: bool) -> bool {
    if endpoint(core).is_none() || (!may_have_sessions(binding) && core.chat.lines() == 0) {
        return false;
    }
    let (Some(user), Some(peer)) = (core.directory.find(aor), letter.peer(core)) else { return false };
    let Some(envelope) = letter.envelope() else { return false };
    if file::deliver(core, aor, binding, letter, &peer) {
        return true;
    }
    let device = Capabilities::of(binding.params(), binding.user_agent());
    let line = core.chat.find(aor, binding.device(), &peer.aor);
    let goes = match envelope.kind {
        // Behind what is there already.
        Kind::Content => {
            wants_session(device, envelope.body().len())
                || letter.queued.wants.contains(Wants::SESSION) && device.access() != Access::Pager
                || line.is_some_and(|line| !line.is_done())
        }
        Kind::Receipt(_) => line.is_some_and(|line| line.has_session()),
        Kind::Composing => false,
    };
    if goes {
        let sides = Sides { user, device: binding.device().into(), peer };
        // One that goes at this moment is replaced.
        while !core.chat.line(core, &sides, device).push(letter, device, binding.flow, waited) {}
    }
    goes
}

/// A device has registered while its lines have these messages for it.
pub fn is_over<'m>(core: &Core, aor: &str, binding: &Binding, letters: impl Iterator<Item = &'m Letter>) {
    let mut peers: Vec<Arc<Entry>> = letters.filter_map(|letter| letter.peer(core)).collect();
    peers.sort_unstable_by(|one, other| one.aor.cmp(&other.aor));
    peers.dedup_by(|one, other| one.aor == other.aor);
    for peer in peers {
        if let Some(line) = core.chat.find(aor, binding.device(), &peer.aor) {
            line.is_over(binding.flow);
        }
    }
}

/// What a device answered to a MESSAGE that its line wanted to be sent.
pub fn paged(core: &Arc<Core>, aor: &str, device: &str, letter: &Letter, status: u16) {
    if let Some(peer) = letter.peer(core)
        && let Some(line) = core.chat.find(aor, device, &peer.aor)
    {
        line.paged(letter.id(), status);
    }
}

/// A device says by MESSAGE that it has a message, whatever way it came by.
pub fn delivered(core: &Arc<Core>, request: &Request, user: &str, peer: &str, message_id: &str) {
    let lines = core.chat.of_user(user, peer);
    if !lines.is_empty() {
        let device = device_of(core, user, &request.message, &request.flow);
        lines.iter().filter(|line| line.sides.device == device).for_each(|line| line.has_message(message_id));
    }
}

/// A receipt that came by MESSAGE says that its sender has read a message: the sender's other devices are told.
pub fn displayed(core: &Arc<Core>, request: &Request, reader: &str, author: &str) {
    let Sender::User(user) = &request.sender else { return };
    let message = &request.message;
    let device = device_of(core, reader, message, &request.flow);
    let others = other_devices(core, reader, &device);
    if others.is_empty() || endpoint(core).is_none() || *user.aor != *reader || core.directory.find(author).is_none() {
        return;
    }
    let now = crate::core::epoch_ms();
    let date = chappe_sip::header::Date::from_unix(now / 1000).to_string();
    let headers = super::pager::kept_headers(message, &date, &request.sender.voucher());
    let copies = others.into_iter().map(|device| NewMessage {
        recipient: reader.into(),
        device: Some(device),
        sender: reader.into(),
        message_id: None,
        // That of the headers: the shard that it names is where the answer comes.
        call_id: String::from_utf8_lossy(message.call_id()).into(),
        headers: headers.clone(),
        body: message.body_bytes(),
        accepted_ms: now,
        expires_at: now / 1000 + core.settings.message.default_expires,
        wants: Wants::default(),
        once: None,
    });
    let (core, copies) = (Arc::clone(core), copies.collect());
    core.runtime
        .clone()
        .spawn(async move { intake::store(&core, vec![(intake::Lot::of(copies), Box::new(|_, _| {}))]).await });
}

/// Devices of a user that show what the one that sends this has sent.
pub fn own_devices(core: &Core, aor: &str, message: &Message, flow: &Flow) -> Vec<Box<str>> {
    if endpoint(core).is_none() {
        return Vec::new();
    }
    let all = other_devices(core, aor, "");
    match all.is_empty() {
        true => all,
        false => {
            let sender = device_of(core, aor, message, flow);
            all.into_iter().filter(|device| *device != sender).collect()
        }
    }
}

/// Devices of a user that show what another has sent, but for one; also those that are away. None where as much waits for
/// them as may.
fn other_devices(core: &Core, aor: &str, but: &str) -> Vec<Box<str>> {
    if core.waiting.is_full(aor, true, core.settings.queue_per_user) {
        return Vec::new();
    }
    core.location.with(aor, |bindings| {
        let shows = |binding: &&Binding| {
            let capabilities = || Capabilities::of(binding.params(), binding.user_agent());
            binding.instance_id().is_some() && may_have_sessions(binding) && capabilities().takes_own_copies()
        };
        let here = bindings.iter().filter(shows).map(|binding| binding.device().into());
        let away = core.away.of(aor, epoch_seconds()).into_iter().filter(|away| away.own_copies);
        let mut names: Vec<Box<str>> = here.chain(away.map(|away| away.device)).filter(|name| **name != *but).collect();
        names.sort_unstable();
        names.dedup();
        names
    })
}

/// Which device of a user has sent a request: by its instance-id, else by the connection that it came on.
pub(in crate::service) fn device_of(core: &Core, aor: &str, message: &Message, flow: &Flow) -> Box<str> {
    let contact = message.values(HeaderName::Contact).next().and_then(|value| NameAddr::parse(value).ok());
    let instance = contact.as_ref().and_then(|contact| contact.param("+sip.instance"));
    let instance = instance.map(|value| String::from_utf8_lossy(&chappe_sip::text::unquote(value)).into_owned());
    let instance = instance.map(|value| value.trim_matches(['<', '>']).to_owned());
    core.location.with(aor, |bindings| {
        let same = |binding: &&Binding| {
            let named = instance.as_deref().zip(binding.instance_id());
            named.is_some_and(|(one, other)| one.eq_ignore_ascii_case(other.trim_matches(['<', '>'])))
        };
        let on_flow = |binding: &&Binding| {
            binding.flow.is_some_and(|other| match flow.is_connection() {
                true => other.connection == flow.connection,
                false => other.remote == flow.remote,
            })
        };
        let found = bindings.iter().find(same).or_else(|| bindings.iter().find(on_flow));
        let uri = || contact.as_ref().map(|contact| String::from_utf8_lossy(contact.uri).into_owned());
        found.map(|binding| binding.device().into()).or_else(|| uri().map(Into::into)).unwrap_or_default()
    })
}
