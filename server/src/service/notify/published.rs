//! What is published of a user besides presence: messages that wait (RFC 3842), as mail boxes and our own queue tell, and
//! calls (RFC 4235), as the user's devices tell.

use std::sync::Arc;

use bytes::Bytes;
use chappe_presence::dialogs::{self, DialogInfo};
use chappe_presence::publish::{Policy, State};
use chappe_presence::rules::Handling;
use chappe_presence::summary::{self, Summary};
use chappe_presence::{DialogPackage, MessageSummary};
use chappe_sip::event::{Package, Reject, Subscription};
use chappe_sip::{Aor, Flow};

use super::shelf::Shelf;
use super::{Document, Opened, Service, View};
use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::pipeline::Sender;
use crate::service::Request;
use crate::service::presence::{self, Identity, permission};
use crate::shard::Turn;

pub const SUMMARY: &str = "message-summary";
pub const DIALOG: &str = "dialog";
/// Subscriptions to one user, at most.
const PER_USER: usize = 64;

/// The publications of both packages.
pub struct Shelves {
    pub summaries: Shelf<Summary>,
    pub dialogs: Shelf<DialogInfo>,
    pub policy: Policy,
}

impl Shelves {
    pub fn new(policy: Policy, most: usize) -> Shelves {
        Shelves { summaries: Shelf::new(most), dialogs: Shelf::new(most), policy }
    }
}

fn is_own(request: &Request, user: &Entry) -> bool {
    match &request.sender {
        Sender::Trusted => true,
        Sender::User(sender) => sender.aor == user.aor,
        Sender::Outside { .. } => false,
    }
}

fn uri_of(aor: &str) -> String {
    Aor::from_canonical(aor).to_uri()
}

/// Messages that wait: for the user's own devices and trusted peers.
pub struct Summaries;

impl Service for Summaries {
    fn package(&self) -> &'static dyn Package {
        &MessageSummary
    }

    fn open(&self, turn: &mut Turn<'_>, request: &Request, user: &Arc<Entry>) -> Result<Opened, Reject> {
        if !is_own(request, user) {
            return Err(Reject::Forbidden);
        }
        let view = Shown { aor: user.aor.clone(), news: true, written: written_summary };
        opened(turn.core, &MessageSummary, user, Box::new(view))
    }
}

/// Calls: for the user's own devices, trusted peers, and whom the user's rules let see presence.
pub struct Dialogs;

impl Service for Dialogs {
    fn package(&self) -> &'static dyn Package {
        &DialogPackage
    }

    fn open(&self, turn: &mut Turn<'_>, request: &Request, user: &Arc<Entry>) -> Result<Opened, Reject> {
        let core = turn.core;
        let who = Identity::of(core, request);
        let may =
            is_own(request, user) || permission(core, &user.aor, &who, epoch_seconds()).handling == Handling::Allow;
        if !may {
            return Err(Reject::Forbidden);
        }
        let view = Shown { aor: user.aor.clone(), news: true, written: written_dialogs };
        opened(core, &DialogPackage, user, Box::new(view))
    }
}

fn opened(core: &Core, package: &'static dyn Package, user: &Entry, view: Box<dyn View>) -> Result<Opened, Reject> {
    if core.watched.count() >= core.presence.settings.max_subscriptions {
        return Err(Reject::TooMany);
    }
    Ok(Opened { package, granted: true, view, resources: vec![user.aor.clone()], limit: PER_USER })
}

/// Whether the server tells of a user's calls: while a device has published some, else devices are asked themselves.
pub fn knows_dialogs(core: &Core, aor: &str) -> bool {
    core.shelves.dialogs.has(aor)
}

/// Always the whole state.
struct Shown {
    aor: Box<str>,
    news: bool,
    written: fn(&Core, &str, &mut Subscription) -> Document,
}

impl View for Shown {
    fn is_dirty(&self) -> bool {
        self.news
    }

    fn want_full(&mut self) {
        self.news = true;
    }

    fn document(&mut self, core: &Arc<Core>, subscription: &mut Subscription, _now: u64) -> Option<Document> {
        self.news = false;
        Some((self.written)(core, &self.aor, subscription))
    }
}

fn written_summary(core: &Core, aor: &str, _: &mut Subscription) -> Document {
    let texts = Summary::of_texts(u32::try_from(core.waiting.messages(aor)).unwrap_or(u32::MAX));
    let text = core.shelves.summaries.with(aor, |publications| {
        let boxes = publications.seen().map(|seen| seen.document);
        summary::document(boxes.chain([&texts]), &uri_of(aor))
    });
    Document { content_type: Summary::MEDIA_TYPE.into(), bytes: Bytes::from(text), etag: None }
}

fn written_dialogs(core: &Core, aor: &str, subscription: &mut Subscription) -> Document {
    let version = subscription.next_version();
    let text = core.shelves.dialogs.with(aor, |publications| {
        dialogs::document(version, &uri_of(aor), publications.seen().map(|seen| seen.document))
    });
    Document { content_type: DialogInfo::MEDIA_TYPE.into(), bytes: Bytes::from(text), etag: None }
}

/// Takes a PUBLISH of one of these packages: mail boxes are trusted peers, calls are told by the user's devices as well.
pub fn publish(turn: &mut Turn<'_>, request: &Request, user: &Entry, package: &'static str, flow: Flow) {
    let (core, message, now) = (turn.core, &request.message, epoch_seconds());
    let allowed = match package {
        SUMMARY => matches!(request.sender, Sender::Trusted),
        _ => is_own(request, user),
    };
    if !allowed {
        return turn.answer(request.key, message, 403);
    }
    let (shelves, etag) = (&core.shelves, core.tag().into());
    let result = match package {
        SUMMARY => shelves.summaries.publish(&user.aor, message, &shelves.policy, etag, flow, now),
        _ => shelves.dialogs.publish(&user.aor, message, &shelves.policy, etag, flow, now),
    };
    let changed = result.as_ref().is_ok_and(|published| published.changed);
    presence::answer_publish(turn, request, result);
    if changed {
        changed_later(core, package, user.aor.clone());
    }
}

/// The number of a user's messages that wait is another one now.
pub fn waiting_changed(core: &Arc<Core>, aor: &str) {
    changed_later(core, SUMMARY, aor.into());
}

/// From a task, as a shard may be locked now.
fn changed_later(core: &Arc<Core>, package: &'static str, aor: Box<str>) {
    if core.watched.of(package, &aor).is_empty() {
        return;
    }
    let core = Arc::clone(core);
    core.runtime.clone().spawn(async move { changed(&core, package, &aor) });
}

/// Never to be called with a shard locked.
fn changed(core: &Arc<Core>, package: &'static str, aor: &str) {
    super::changed(core, package, aor, |view: &mut Shown, _| view.news = true);
}

/// A connection is gone, and the calls of the devices behind it. Mail boxes speak for users, whatever their connection does.
pub fn flow_closed(core: &Arc<Core>, flow: &Flow) {
    for aor in core.shelves.dialogs.withdraw(flow) {
        changed(core, DIALOG, &aor);
    }
}

/// Ends what has run out; to be called every second.
pub fn tick(core: &Arc<Core>) {
    let now = epoch_seconds();
    for aor in core.shelves.summaries.expire(now) {
        changed(core, SUMMARY, &aor);
    }
    for aor in core.shelves.dialogs.expire(now) {
        changed(core, DIALOG, &aor);
    }
}

/// The account is gone.
pub fn forget(core: &Core, aor: &str) {
    core.shelves.summaries.forget(aor);
    core.shelves.dialogs.forget(aor);
}
