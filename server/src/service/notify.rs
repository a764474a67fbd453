//! The notifier of the reg package (RFC 6665, RFC 3680): devices and trusted peers learn of registrations.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use chappe_sip::dialog::DialogId;
use chappe_sip::event::reg::{self, Backlog, Reg};
use chappe_sip::event::{self, Fate, Package, Policy, State, Subscription};
use chappe_sip::layer::Dest;
use chappe_sip::proxy;
use chappe_sip::registrar::Binding;
use chappe_sip::{Aor, Flow, HeaderName, Message, Transport, Uri};
use parking_lot::Mutex;

use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::hops::Hop;
use crate::pipeline::Sender;
use crate::service::Request;
use crate::service::pager::is_alive;
use crate::shard::Turn;
use crate::work::{Token, Work};

/// The packages of this server, for Allow-Events.
pub const EVENTS: &str = "reg";
const PACKAGES: [&dyn Package; 1] = [&Reg];
/// Subscriptions to one AOR, at most.
const PER_AOR: usize = 32;

/// A subscriber.
struct Watcher {
    subscription: Subscription,
    backlog: Backlog,
    aor: Box<str>,
    /// Where the SUBSCRIBE came from.
    flow: Flow,
    due: Option<Instant>,
}

/// The subscriptions whose Call-ID belongs to one shard.
#[derive(Default)]
pub struct Subscriptions {
    watchers: HashMap<u64, Watcher, RandomState>,
    by_dialog: HashMap<DialogId, u64, RandomState>,
    due: BTreeSet<(Instant, u64)>,
}

impl Subscriptions {
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn schedule(&mut self, id: u64, at: Option<Instant>) {
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        if let Some(old) = std::mem::replace(&mut watcher.due, at) {
            self.due.remove(&(old, id));
        }
        if let Some(at) = at {
            self.due.insert((at, id));
        }
    }
}

/// Shard and id of each subscription to an AOR.
type ByAor = HashMap<Box<str>, Vec<(usize, u64)>, RandomState>;

/// Which AORs are watched, and from which shards.
#[derive(Default)]
pub struct Watched {
    by_aor: Mutex<ByAor>,
    count: AtomicUsize,
}

impl Watched {
    /// Subscriptions that live.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn of(&self, aor: &str) -> Vec<(usize, u64)> {
        if self.count() == 0 {
            return Vec::new();
        }
        self.by_aor.lock().get(aor).cloned().unwrap_or_default()
    }

    fn add(&self, aor: &str, cell: usize, id: u64) -> bool {
        let mut by_aor = self.by_aor.lock();
        let watchers = by_aor.entry(aor.into()).or_default();
        if watchers.len() >= PER_AOR {
            return false;
        }
        watchers.push((cell, id));
        self.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn remove(&self, aor: &str, cell: usize, id: u64) {
        let mut by_aor = self.by_aor.lock();
        if let Some(watchers) = by_aor.get_mut(aor) {
            let before = watchers.len();
            watchers.retain(|w| *w != (cell, id));
            self.count.fetch_sub(before - watchers.len(), Ordering::Relaxed);
            if watchers.is_empty() {
                by_aor.remove(aor);
            }
        }
    }
}

/// A NOTIFY that waits for its answer.
pub struct Notification {
    id: u64,
}

impl Notification {
    pub fn new(id: u64) -> Notification {
        Notification { id }
    }
}

/// Whether somebody is told of the registrations of an AOR.
pub fn is_watched(core: &Core, aor: &str) -> bool {
    core.watched.count() > 0 && !core.watched.of(aor).is_empty()
}

/// Whether a SUBSCRIBE is for a package of the server itself, and not for a device.
pub fn is_ours(message: &Message) -> bool {
    let event = message.header(HeaderName::Event).unwrap_or_default();
    event.split(|b| *b == b';').next().is_some_and(|name| name.trim_ascii() == Reg.name().as_bytes())
}

/// Whether a request within a dialog belongs to a subscription here.
pub fn owns(turn: &Turn<'_>, message: &Message) -> bool {
    DialogId::of_request(message).is_some_and(|id| turn.shard.subscriptions.by_dialog.contains_key(&id))
}

/// SUBSCRIBE: a new one to the registrations of `user`, or with `None` one within its dialog.
pub fn subscribe(turn: &mut Turn<'_>, request: Request, user: Option<Arc<Entry>>) {
    let (core, message, now) = (turn.core, Arc::clone(&request.message), epoch_seconds());
    let policy = Policy::default();
    if let Some(bytes) = crate::pipeline::bad_extension(turn, &message, &["gruu", "outbound", "path", "eventlist"]) {
        return turn.respond(request.key, 420, bytes);
    }
    let known = DialogId::of_request(&message).and_then(|id| turn.shard.subscriptions.by_dialog.get(&id).copied());
    let result = match (known, user) {
        (Some(id), _) => {
            let Some(watcher) = turn.shard.subscriptions.watchers.get_mut(&id) else {
                return turn.answer(request.key, &message, 481);
            };
            let result = watcher.subscription.refresh(&message, &Reg, &policy, now);
            watcher.flow = request.flow;
            watcher.backlog.want_full();
            result.map(|()| id)
        }
        (None, None) => return turn.answer(request.key, &message, 481),
        (None, Some(user)) => {
            let allowed = match &request.sender {
                Sender::Trusted => true,
                Sender::User(sender) => sender.aor == user.aor,
                Sender::Outside { .. } => false,
            };
            if !allowed {
                return turn.answer(request.key, &message, 403);
            }
            let secure = request.flow.transport.is_secure();
            let made = event::subscribe(&message, &PACKAGES, &policy, &core.tag(), secure, true, now);
            made.and_then(|subscription| {
                let id = core.random();
                if core.watched.add(&user.aor, turn.cell, id) {
                    let subscriptions = &mut turn.shard.subscriptions;
                    subscriptions.by_dialog.insert(subscription.dialog.id.clone(), id);
                    let mut backlog = Backlog::default();
                    backlog.want_full();
                    let watcher =
                        Watcher { subscription, backlog, aor: user.aor.clone(), flow: request.flow, due: None };
                    subscriptions.watchers.insert(id, watcher);
                    Ok(id)
                } else {
                    Err(event::Reject::BadEvent)
                }
            })
        }
    };
    let id = match result {
        Ok(id) => id,
        Err(reject) => {
            let bytes = reject.reply(&message, &core.tag(), &PACKAGES);
            return turn.respond(request.key, reject.status(), bytes);
        }
    };
    let contact = contact(core, &request.flow);
    if let Some(watcher) = turn.shard.subscriptions.watchers.get(&id) {
        let bytes = watcher.subscription.accept(&message, &contact, &PACKAGES, now);
        turn.respond(request.key, 200, bytes);
    }
    proceed(turn, id);
}

/// Tells the watchers of an AOR what changed. Never to be called with a shard locked.
pub fn registration_changed(core: &Arc<Core>, aor: &str, before: &[Binding], after: &[Binding]) {
    for (cell, id) in core.watched.of(aor) {
        core.visit_cell(cell, |turn| {
            if let Some(watcher) = turn.shard.subscriptions.watchers.get_mut(&id) {
                reg::changes(before, after, epoch_seconds(), |event, binding| watcher.backlog.push(event, binding));
                proceed(turn, id);
            }
        });
    }
}

/// The answer to a NOTIFY, or 408 and 430 for a timeout and a dead flow.
pub fn ended(turn: &mut Turn<'_>, token: Token, work: Box<Notification>, status: u16) {
    if status < 200 {
        return turn.shard.works.put(token, Work::Notify(work));
    }
    turn.shard.works.end(token);
    let Some(watcher) = turn.shard.subscriptions.watchers.get_mut(&work.id) else { return };
    match watcher.subscription.notified((status != 430).then_some(status), None, epoch_seconds()) {
        Fate::Keep => proceed(turn, work.id),
        Fate::Remove => remove(turn, work.id),
    }
}

/// Fires what is due in this shard.
pub fn fire(turn: &mut Turn<'_>) {
    while let Some((at, id)) = turn.shard.subscriptions.due.first().copied() {
        if at > turn.now {
            return;
        }
        turn.shard.subscriptions.schedule(id, None);
        proceed(turn, id);
    }
}

/// Sends the next NOTIFY if one is wanted and allowed, else sets the clock for it.
fn proceed(turn: &mut Turn<'_>, id: u64) {
    let now = epoch_seconds();
    let Some(watcher) = turn.shard.subscriptions.watchers.get_mut(&id) else { return };
    watcher.subscription.handle_timeout(now);
    let over = matches!(watcher.subscription.state(), State::Terminated { .. });
    let wanted = over || !watcher.backlog.is_empty();
    let at = match watcher.subscription.may_notify() {
        // The answer to the one under way comes first.
        None => None,
        Some(at) if wanted && at <= now => {
            send(turn, id);
            return;
        }
        Some(at) if wanted => Some(at),
        Some(_) => Some(watcher.subscription.expires()),
    };
    let at = at.map(|at| turn.now + Duration::from_secs(at.saturating_sub(now).max(1)));
    turn.shard.subscriptions.schedule(id, at);
}

fn send(turn: &mut Turn<'_>, id: u64) {
    let (core, now) = (turn.core, epoch_seconds());
    let Some(watcher) = turn.shard.subscriptions.watchers.get_mut(&id) else { return };
    let Some(dest) = destination(core, watcher) else { return remove(turn, id) };
    let aor = Aor::from_canonical(watcher.aor.clone());
    let version = watcher.subscription.next_version();
    let body = core
        .location
        .with(&watcher.aor, |bindings| watcher.backlog.document(version, &aor, bindings, Some(&core.gruu), now));
    let mut via = format!("SIP/2.0/{} {};branch=", dest.transport().via(), core.hops.sent_by(&dest));
    let at = via.len();
    proxy::branch(&mut via, "", core.serial(), None);
    let contact = contact(core, &watcher.flow);
    let bytes = watcher.subscription.notify(&via, &contact, Some(body.as_bytes()), now);
    let token = turn.shard.works.reserve();
    match turn.shard.layer.request(turn.now, dest, bytes, &via.as_bytes()[at..], b"NOTIFY", token.0) {
        Ok(_) => turn.shard.works.put(token, Work::Notify(Box::new(Notification::new(id)))),
        Err(_) => {
            turn.shard.works.end(token);
            remove(turn, id);
        }
    }
}

/// Down the flow of the SUBSCRIBE where it lives and no proxy stands between, else by the dialog's route.
fn destination(core: &Core, watcher: &Watcher) -> Option<Dest> {
    if watcher.subscription.dialog.routes().is_empty() && is_alive(core, &watcher.flow) {
        return Some(watcher.flow.into());
    }
    let uri = Uri::parse(watcher.subscription.dialog.next_hop().as_bytes()).ok()?;
    match core.hops.of_uri(&uri, watcher.subscription.dialog.is_secure()) {
        Hop::Known(dest) => Some(dest),
        Hop::Name | Hop::Gone | Hop::Unsupported => is_alive(core, &watcher.flow).then(|| watcher.flow.into()),
    }
}

fn remove(turn: &mut Turn<'_>, id: u64) {
    let subscriptions = &mut turn.shard.subscriptions;
    subscriptions.schedule(id, None);
    if let Some(watcher) = subscriptions.watchers.remove(&id) {
        subscriptions.by_dialog.remove(&watcher.subscription.dialog.id);
        turn.core.watched.remove(&watcher.aor, turn.cell, id);
    }
}

/// Our address for the other end of a flow.
fn contact(core: &Core, flow: &Flow) -> String {
    let host = core.hops.sent_by_of(flow.listener, flow.remote.ip());
    match flow.transport {
        Transport::Udp => format!("<sip:{host}>"),
        transport => format!("<sip:{host};transport={}>", transport.param()),
    }
}
