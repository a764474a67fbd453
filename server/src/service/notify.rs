//! The notifier (RFC 6665): subscriptions of whatever package, their NOTIFYs, their ends.
//!
//! A package is a [`Service`], which lets a subscriber in, and a [`View`], which is what it keeps for one subscription.
//! Who changes a resource calls [`changed`]; the view notes that something is to be told and writes the document when a
//! NOTIFY may go, so that what changes meanwhile is told once. What happens to a dialog is decided in
//! `chappe_sip::event`.

mod begin;
pub mod published;
pub mod reg;
mod shelf;
mod watched;
pub mod xcap_diff;

use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use chappe_sip::dialog::DialogId;
use chappe_sip::event::{self, Body, Fate, Package, Policy, Reject, State, Subscription};
use chappe_sip::layer::{Dest, ServerKey};
use chappe_sip::proxy;
use chappe_sip::registrar::Binding;
use chappe_sip::{Flow, HeaderName, Message, Transport, Uri};

use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::hops::Hop;
use crate::service::pager::is_alive;
use crate::service::{Request, presence};
use crate::shard::Turn;
use crate::work::{Token, Work};

pub use begin::{dialog_left, open, open_within};
pub use watched::{Place, Watched};

/// The packages of this server, for Allow-Events; templates are not named there (§4.4.4).
pub const EVENTS: &str = "reg, presence, xcap-diff, conference, message-summary, dialog";
const PACKAGES: [&dyn Package; 7] = [
    &event::reg::Reg,
    &chappe_presence::Presence,
    &chappe_presence::WatcherInfo,
    &xcap_diff::XcapDiff,
    &super::group::Conference,
    &chappe_presence::MessageSummary,
    &chappe_presence::DialogPackage,
];
/// Packages whose resources are users; a resource of another kind is subscribed to through [`open`].
const SERVICES: [&dyn Service; 5] = [
    &reg::Registrations,
    &presence::Presence,
    &presence::WatcherInformation,
    &published::Summaries,
    &published::Dialogs,
];
/// What a SUBSCRIBE may require of us.
const EXTENSIONS: [&str; 5] = ["gruu", "outbound", "path", "eventlist", "recipient-list-subscribe"];

/// The longest document that goes in a datagram.
const DATAGRAM: usize = 60_000;

/// An event package of this server whose resources are our users.
pub trait Service: Sync {
    fn package(&self) -> &'static dyn Package;

    /// Decides on a new subscription to what belongs to `user`. The shard is locked.
    fn open(&self, turn: &mut Turn<'_>, request: &Request, user: &Arc<Entry>) -> Result<Opened, Reject>;
}

/// What one subscription shows.
pub trait View: Any + Send {
    /// Whether something waits to be told.
    fn is_dirty(&self) -> bool;

    /// The whole state is to be told: after a SUBSCRIBE.
    fn want_full(&mut self);

    /// What the next NOTIFY tells, `None` for one without a body; nothing waits afterwards. It may change the state of
    /// the subscription, and is called whatever that is: see [`Subscription::shows_state`]. The shard is locked.
    fn document(&mut self, core: &Arc<Core>, subscription: &mut Subscription, now: u64) -> Option<Document>;

    /// Names the state that a NOTIFY would tell now (RFC 5839), where it has such names.
    fn etag(&mut self, _core: &Arc<Core>, _subscription: &Subscription) -> Option<Box<str>> {
        None
    }

    /// Header lines for the 2xx and each NOTIFY.
    fn lines(&self) -> &'static str {
        ""
    }

    /// The subscription is there, or was refreshed; `place` names it for [`touch`]. The shard is locked.
    fn opened(&mut self, _core: &Arc<Core>, _subscription: &Subscription, _place: Place) {}

    /// The subscription is gone. The shard is locked.
    fn closed(&mut self, _core: &Arc<Core>, _subscription: &Subscription, _place: Place) {}
}

/// A subscription that is let in.
pub struct Opened {
    pub package: &'static dyn Package,
    /// False while it is undecided whether the subscriber may see the state.
    pub granted: bool,
    pub view: Box<dyn View>,
    /// What [`changed`] calls the resources that it shows.
    pub resources: Vec<Box<str>>,
    /// Subscriptions to one resource, at most.
    pub limit: usize,
}

/// The body of a NOTIFY.
pub struct Document {
    pub content_type: Cow<'static, str>,
    pub bytes: Bytes,
    pub etag: Option<Box<str>>,
}

/// A subscriber.
struct Watcher {
    subscription: Subscription,
    package: &'static dyn Package,
    view: Box<dyn View>,
    resources: Vec<Box<str>>,
    /// Where the SUBSCRIBE came from.
    flow: Flow,
    /// Our Contact in a dialog that is a call's too.
    contact: Option<Box<str>>,
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

/// A NOTIFY that waits for its answer.
pub struct Notification {
    id: u64,
}

impl Notification {
    pub fn new(id: u64) -> Notification {
        Notification { id }
    }
}

/// Whether a SUBSCRIBE to what belongs to a user is for a package of the server itself, and not for a device.
pub fn is_ours(core: &Core, message: &Message, user: &Entry) -> bool {
    match event::package_name(message) {
        Some(published::DIALOG) => published::knows_dialogs(core, &user.aor),
        Some(name) => name == xcap_diff::NAME || SERVICES.iter().any(|s| s.package().name() == name),
        None => false,
    }
}

/// Whether a request within a dialog belongs to a subscription here.
pub fn owns(turn: &Turn<'_>, message: &Message) -> bool {
    DialogId::of_request(message).is_some_and(|id| turn.shard.subscriptions.by_dialog.contains_key(&id))
}

/// SUBSCRIBE outside of a dialog, to what belongs to `user`.
pub fn subscribe(turn: &mut Turn<'_>, request: Request, user: &Arc<Entry>) {
    let name = event::package_name(&request.message);
    if name == Some(xcap_diff::NAME) {
        return xcap_diff::subscribe(turn, request, user);
    }
    let service = SERVICES.iter().find(|s| Some(s.package().name()) == name);
    let opened = match service {
        Some(service) => service.open(turn, &request, user),
        None => Err(Reject::BadEvent),
    };
    open(turn, &request, opened);
}

/// SUBSCRIBE within the dialog of a subscription: a refresh, or its end.
pub fn refresh(turn: &mut Turn<'_>, request: Request) {
    if let Some(bytes) = crate::pipeline::bad_extension(turn, &request.message, &EXTENSIONS) {
        return turn.respond(request.key, 420, bytes);
    }
    if let Some(request) = xcap_diff::renewed(turn, request) {
        renew(turn, &request);
    }
}

/// The view of the subscription that a SUBSCRIBE refreshes.
fn view_of<'t, V: View>(turn: &'t mut Turn<'_>, message: &Message) -> Option<&'t mut V> {
    let id = turn.shard.subscriptions.by_dialog.get(&DialogId::of_request(message)?).copied()?;
    let view: &mut dyn Any = &mut *turn.shard.subscriptions.watchers.get_mut(&id)?.view;
    view.downcast_mut()
}

fn renew(turn: &mut Turn<'_>, request: &Request) {
    let (core, message, now) = (turn.core, &request.message, epoch_seconds());
    let known = DialogId::of_request(message).and_then(|id| turn.shard.subscriptions.by_dialog.get(&id).copied());
    let Some((id, watcher)) = known.and_then(|id| Some((id, turn.shard.subscriptions.watchers.get_mut(&id)?))) else {
        return turn.answer(request.key, message, 481);
    };
    if let Err(reject) = watcher.subscription.refresh(message, watcher.package, &Policy::default(), now) {
        return refuse(turn, request.key, message, reject);
    }
    watcher.flow = request.flow;
    watcher.view.opened(core, &watcher.subscription, Place { cell: turn.cell, id });
    let etag = watcher.view.etag(core, &watcher.subscription);
    let status = if watcher.subscription.is_suppressed(etag.as_deref()) { 204 } else { 200 };
    if status == 200 {
        watcher.view.want_full();
    }
    let contact = contact(core, watcher);
    let lines = watcher.view.lines();
    let bytes = watcher.subscription.accept_with(message, status, &contact, &PACKAGES, lines, now);
    turn.respond(request.key, status, bytes);
    proceed(turn, id);
}

fn refuse(turn: &mut Turn<'_>, key: ServerKey, message: &Message, reject: Reject) {
    let bytes = reject.reply(message, &turn.core.tag(), &PACKAGES);
    turn.respond(key, reject.status(), bytes);
}

/// Tells the subscriptions of a package to a resource that it changed: `note` leaves it with the view, which is of type
/// `V`, and may end or grant the subscription. Never to be called with a shard locked.
pub fn changed<V: View>(core: &Arc<Core>, package: &str, resource: &str, note: impl FnMut(&mut V, &mut Subscription)) {
    touch(core, core.watched.of(package, resource), note);
}

/// The same for the subscriptions named.
pub fn touch<V: View>(core: &Arc<Core>, mut places: Vec<Place>, mut note: impl FnMut(&mut V, &mut Subscription)) {
    places.sort_unstable();
    for shard in places.chunk_by(|a, b| a.cell == b.cell) {
        let Some(first) = shard.first() else { continue };
        core.visit_cell(first.cell, |turn| {
            for place in shard {
                let Some(watcher) = turn.shard.subscriptions.watchers.get_mut(&place.id) else { continue };
                let view: &mut dyn Any = &mut *watcher.view;
                if let Some(view) = view.downcast_mut::<V>() {
                    note(view, &mut watcher.subscription);
                    proceed(turn, place.id);
                }
            }
        });
    }
}

/// Whether somebody has to be told of the registrations of an AOR.
pub fn is_watched(core: &Core, aor: &str) -> bool {
    reg::is_watched(core, aor) || core.presence.knows(aor)
}

/// The bindings of an AOR have changed. Never to be called with a shard locked.
pub fn registration_changed(core: &Arc<Core>, aor: &str, before: &[Binding], after: &[Binding]) {
    reg::registration_changed(core, aor, before, after);
    presence::registration_changed(core, aor, before, after);
}

/// The answer to a NOTIFY, or 408 and 430 for a timeout and a dead flow.
pub fn ended(turn: &mut Turn<'_>, token: Token, work: Box<Notification>, status: u16, answer: Option<&Message>) {
    if status < 200 {
        return turn.shard.works.put(token, Work::Notify(work));
    }
    turn.shard.works.end(token);
    let Some(watcher) = turn.shard.subscriptions.watchers.get_mut(&work.id) else { return };
    let retry_after = answer.and_then(|m| m.number(HeaderName::RetryAfter)).map(|s| s.min(86_400) as u32);
    match watcher.subscription.notified((status != 430).then_some(status), retry_after, epoch_seconds()) {
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
    let subscription = &mut watcher.subscription;
    subscription.handle_timeout(now);
    let over = matches!(subscription.state(), State::Terminated { .. });
    let must = subscription.must_notify();
    if must.is_some_and(|at| at <= now) {
        watcher.view.want_full();
    }
    let wanted = over || watcher.view.is_dirty();
    let at = match subscription.may_notify() {
        // The answer to the one under way comes first.
        None => None,
        Some(at) if wanted && at <= now => {
            send(turn, id);
            return;
        }
        Some(at) if wanted => Some(at),
        Some(_) => Some(must.map_or(subscription.expires(), |must| must.min(subscription.expires()))),
    };
    let at = at.map(|at| turn.now + Duration::from_secs(at.saturating_sub(now).max(1)));
    turn.shard.subscriptions.schedule(id, at);
}

fn send(turn: &mut Turn<'_>, id: u64) {
    let (core, now) = (turn.core, epoch_seconds());
    let Some(watcher) = turn.shard.subscriptions.watchers.get_mut(&id) else { return };
    let Some(dest) = destination(core, watcher) else { return remove(turn, id) };
    let document = watcher.view.document(core, &mut watcher.subscription, now);
    let dest = match dest {
        // No datagram can carry it (RFC 3261 §18.1.1).
        Dest::Flow(Flow { transport: Transport::Udp, .. }) | Dest::Address { transport: Transport::Udp, .. }
            if document.as_ref().is_some_and(|document| document.bytes.len() > DATAGRAM) =>
        {
            Dest::Address { transport: Transport::Tcp, address: dest.address() }
        }
        dest => dest,
    };
    let mut via = format!("SIP/2.0/{} {};branch=", dest.transport().via(), core.hops.sent_by(&dest));
    let at = via.len();
    proxy::branch(&mut via, "", core.serial(), None);
    let contact = contact(core, watcher);
    // In the dialog of a call both count on.
    let call = turn.shard.calls.local_seq(&watcher.subscription.dialog.id);
    watcher.subscription.dialog.continue_after(call.flatten());
    let body = document.as_ref().map(|document| Body {
        content_type: &document.content_type,
        bytes: &document.bytes,
        etag: document.etag.as_deref(),
    });
    let bytes = watcher.subscription.notify_with(&via, &contact, watcher.view.lines(), body, now);
    if call.is_some() {
        let dialog = &watcher.subscription.dialog;
        turn.shard.calls.continue_after(&dialog.id, dialog.local_seq());
    }
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
    let place = Place { cell: turn.cell, id };
    let subscriptions = &mut turn.shard.subscriptions;
    subscriptions.schedule(id, None);
    if let Some(mut watcher) = subscriptions.watchers.remove(&id) {
        subscriptions.by_dialog.remove(&watcher.subscription.dialog.id);
        turn.core.watched.remove(watcher.package.name(), &watcher.resources, place);
        watcher.view.closed(turn.core, &watcher.subscription, place);
    }
}

/// Our address for a subscriber.
fn contact(core: &Core, watcher: &Watcher) -> String {
    let flow = &watcher.flow;
    if let Some(contact) = &watcher.contact {
        return contact.to_string();
    }
    let host = core.hops.sent_by_of(flow.listener, flow.remote.ip());
    match flow.transport {
        Transport::Udp => format!("<sip:{host}>"),
        transport => format!("<sip:{host};transport={}>", transport.param()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_there() {
        assert_eq!(event::allow_events(&PACKAGES), EVENTS);
        for service in SERVICES {
            assert!(PACKAGES.iter().any(|package| package.name() == service.package().name()));
        }
    }
}
