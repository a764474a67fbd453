//! Group chat: a factory, and a focus for each group (RFC 4579, RFC 5366, GSMA RCC.07 §3.4.4).
//!
//! ```text
//! factory ─▶ store ─▶ Room ──▶ Seat of each device that is there: session (INVITE, MSRP) or MESSAGE
//! device ──INVITE, MSRP, MESSAGE──▶ Room ─▶ log in the store, then 200 ─▶ every Seat, from the log behind its cursor
//! ```
//!
//! A `Room` is a group that is in use: one task that owns all of its state and hears by channel. What
//! happens to calls and MSRP sessions comes in from their own threads as `News`. A room that has nothing to do goes; the
//! store has all of it (docs/decisions/0042, 0043).

mod account;
mod calls;
mod change;
mod deliver;
mod entry;
mod erase;
mod factory;
mod intake;
mod invite;
mod media;
mod news;
pub mod operator;
mod page;
mod receipts;
mod record;
mod resume;
mod room;
mod roster;
mod seat;
mod side;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use chappe_chat::group::{GroupId, Limits, Rights};
use chappe_chat::invitation::Invitation;
use chappe_sip::header::NameAddr;
use chappe_sip::layer::ServerKey;
use chappe_sip::{Aor, HeaderName, Message, Method, Reply, Scheme, Uri};
use chappe_store::{GroupLease, StoreError};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use crate::core::{Core, epoch_ms};
use crate::pipeline::Sender;
use crate::service::Request;
use crate::service::agent;
use crate::shard::Turn;

pub use account::explain;
pub use erase::{Erased, erase, exported};
pub(super) use factory::warning_of;
use news::{Answering, News};
pub use page::Attempt;
pub use roster::Conference;

/// How long an owner holds a group without a word.
const LEASE: Duration = Duration::from_secs(60);
const RENEW: Duration = Duration::from_secs(15);
/// The part of the retention that old messages may stay longer.
const SLACK: u64 = 32;
/// Groups that are read from the store at a time.
const LOADING: usize = 64;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// User part of the address that makes groups.
    pub factory: Box<str>,
    pub limits: Limits,
    pub rights: Rights,
    /// How long a device may ring.
    pub ring: Duration,
    /// A session without messages is ended after so long.
    pub idle: Duration,
    /// Messages under way to one device.
    pub window: usize,
    /// How long messages are kept.
    pub retention: Duration,
    /// Whether they are kept although every device has them.
    pub keep_delivered: bool,
}

/// All groups in use.
pub struct Groups {
    settings: Settings,
    on: bool,
    /// Who holds the leases.
    owner: Box<str>,
    rooms: Mutex<HashMap<GroupId, Live, RandomState>>,
    /// Groups, without a room or with one, that wait for devices of a user.
    waiting: Mutex<HashMap<Box<str>, HashSet<GroupId, RandomState>, RandomState>>,
    /// What waits in groups that were in use, as the ledger has it.
    counted: Mutex<HashMap<GroupId, i64, RandomState>>,
    loading: Semaphore,
    /// There may be groups.
    any: AtomicBool,
    pub counts: Counts,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Counts {
    pub messages: AtomicU64,
    pub delivered: AtomicU64,
    pub seats: AtomicUsize,
}

struct Live {
    sender: mpsc::UnboundedSender<News>,
    /// Of the lease; 0 until it is held.
    token: Arc<AtomicU64>,
}

impl Groups {
    pub fn new(on: bool, settings: Settings, owner: &str) -> Groups {
        Groups {
            settings,
            on,
            owner: owner.into(),
            rooms: Mutex::default(),
            waiting: Mutex::default(),
            counted: Mutex::default(),
            loading: Semaphore::new(LOADING),
            any: AtomicBool::new(true),
            counts: Counts::default(),
        }
    }

    /// Whom one message to a list may be for.
    pub fn most_recipients(&self) -> usize {
        self.settings.limits.members
    }

    /// Groups in use.
    pub fn rooms(&self) -> usize {
        self.rooms.lock().len()
    }

    /// Tells a group, which is loaded where it is not in use.
    fn tell(&self, core: &Arc<Core>, id: &GroupId, news: News) {
        let mut rooms = self.rooms.lock();
        let live = rooms.entry(id.clone()).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let token = Arc::new(AtomicU64::new(0));
            let run = room::run(Arc::clone(core), id.clone(), receiver, Arc::clone(&token));
            core.runtime.spawn(run);
            Live { sender, token }
        });
        // The task ends only once it is not in this table any more.
        let _ = live.sender.send(news);
    }

    /// Takes a room out of use, unless somebody has told it something meanwhile.
    fn retire(&self, id: &GroupId, receiver: &mpsc::UnboundedReceiver<News>) -> bool {
        let mut rooms = self.rooms.lock();
        let idle = receiver.is_empty();
        if idle {
            rooms.remove(id);
        }
        idle
    }

    fn lease(&self) -> GroupLease {
        GroupLease { owner: self.owner.clone(), until_ms: epoch_ms() + LEASE.as_millis() as u64 }
    }

    /// A group has something for a user none of whose devices it reaches.
    fn waits(&self, user: &Aor, id: &GroupId) {
        self.waiting.lock().entry(user.as_str().into()).or_default().insert(id.clone());
    }
}

/// Whether groups are made and held here.
fn is_on(core: &Core) -> bool {
    core.groups.on && core.endpoint().is_some()
}

/// The address of a focus.
fn focus(core: &Core, id: &GroupId) -> String {
    format!("sip:{id}@{}", core.settings.domains.first().map_or("localhost", |domain| domain))
}

/// What of ours a Request-URI names.
pub enum Place {
    Factory,
    Focus(GroupId),
}

/// `None` for what is not the affair of groups.
pub fn place(core: &Core, uri: &Uri<'_>) -> Option<Place> {
    if !is_on(core) || !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
        return None;
    }
    core.domain(uri.host)?;
    let user = uri.user_decoded();
    if *user == *core.groups.settings.factory {
        return Some(Place::Factory);
    }
    GroupId::parse(&user).map(Place::Focus)
}

/// A request to the factory or to a focus, outside of a dialog.
pub fn request(turn: &mut Turn<'_>, request: Request, place: Place) {
    let core = turn.core;
    let message = Arc::clone(&request.message);
    let Some(user) = sender(core, &request) else { return turn.answer(request.key, &message, 403) };
    match (place, message.method()) {
        (Place::Factory, Method::Invite) => factory::invited(turn, request, user),
        (Place::Focus(id), Method::Invite) => called(turn, request, user, id),
        (Place::Focus(id), Method::Message | Method::Refer) => {
            let device = super::chat::device_of(core, user.as_str(), &message, &request.flow);
            let answering = Answering::Transaction { key: request.key, request: Arc::clone(&message) };
            core.groups.tell(core, &id, News::request(user, device, message, answering));
        }
        (Place::Focus(id), Method::Subscribe) => roster::subscribe(turn, request, user, &id),
        (_, Method::Options) => super::options::for_server(turn, request),
        (Place::Factory, Method::Message) => super::broadcast::message(turn, request, user),
        _ => {
            let reply = Reply::new(&message, 405, &core.tag()).header(HeaderName::Allow, ALLOW);
            turn.respond(request.key, 405, reply.finish());
        }
    }
}

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, REFER, MESSAGE, SUBSCRIBE";

/// Which user of ours has sent a request.
fn sender(core: &Core, request: &Request) -> Option<Aor> {
    match &request.sender {
        Sender::User(entry) => Some(Aor::from_canonical(entry.aor.clone())),
        Sender::Trusted => {
            let message = &request.message;
            let asserted = message.values(HeaderName::PAssertedIdentity).next();
            let address = NameAddr::parse(asserted.or_else(|| message.header(HeaderName::From))?).ok()?;
            known_user(core, &address.parse_uri().ok()?)
        }
        Sender::Outside { .. } => None,
    }
}

/// The user of ours that an address means.
fn known_user(core: &Core, uri: &Uri<'_>) -> Option<Aor> {
    let entry = match uri.scheme {
        Scheme::Tel => core.directory.find_tel(&chappe_sip::uri::number(uri.user)),
        Scheme::Sip | Scheme::Sips => {
            let domain = core.domain(uri.host)?;
            let user = uri.user_decoded();
            core.directory.find(&format!("{user}@{domain}")).or_else(|| {
                let number = user.split(';').next().unwrap_or_default();
                let is_number =
                    number.starts_with('+') || uri.param("user").is_some_and(|u| u.eq_ignore_ascii_case("phone"));
                is_number.then(|| core.directory.find_tel(&chappe_sip::uri::number(number)))?
            })
        }
        Scheme::Urn | Scheme::Other => None,
    };
    entry.map(|entry| Aor::from_canonical(entry.aor.clone()))
}

/// Whom an address means: a user of ours, else whoever has it.
pub(super) fn anybody(core: &Core, uri: &Uri<'_>) -> Option<Aor> {
    known_user(core, uri).or_else(|| Aor::of(uri))
}

/// INVITE to a focus: a member comes in, or back.
fn called(turn: &mut Turn<'_>, request: Request, user: Aor, id: GroupId) {
    let message = Arc::clone(&request.message);
    match Invitation::read(&message) {
        // RFC 5366 §6: who is in is the affair of the factory.
        Ok(invitation) if invitation.recipients.is_some() => {
            let reply =
                Reply::new(&message, 420, &turn.core.tag()).header(HeaderName::Unsupported, "recipient-list-invite");
            turn.respond(request.key, 420, reply.finish());
        }
        Ok(invitation) => begin(turn, request, user, id, invitation),
        Err(refused) => turn.answer(request.key, &message, refused.status()),
    }
}

/// Takes the call of a member; the room accepts or rejects it.
fn begin(turn: &mut Turn<'_>, request: Request, user: Aor, id: GroupId, invitation: Invitation) {
    let core = turn.core;
    let device = super::chat::device_of(core, user.as_str(), &request.message, &request.flow);
    let side = side::Side::new(core, &id, user.as_str(), &device);
    let tags = invitation.device.contact_tags(chappe_chat::Service::Group);
    let contact = format!("<{}>;isfocus{tags}", focus(core, &id));
    let known = ["timer", "recipient-list-invite"];
    let taken = agent::take_with(turn, request, |_| side.clone(), &contact, &known);
    if let Some(call) = taken {
        let invitation = Box::new(invitation);
        core.groups.tell(core, &id, News::Called { user, device, side, call, invitation });
    }
}

/// Somebody has registered: groups that wait for that device go on. Never blocks.
pub fn registered(core: &Arc<Core>, aor: &str, is_new: bool) {
    if !is_on(core) {
        return;
    }
    let waiting = core.groups.waiting.lock().remove(aor);
    if waiting.is_none() && !(is_new && core.groups.any.load(Ordering::Relaxed)) {
        return;
    }
    let (core, aor): (_, Box<str>) = (Arc::clone(core), aor.into());
    core.runtime.clone().spawn(async move {
        let mut ids: HashSet<GroupId, RandomState> = waiting.unwrap_or_default();
        if is_new {
            // Many may come at once.
            let _permit = core.groups.loading.acquire().await;
            match core.stores.groups.of_user(&aor).await {
                Ok(found) => ids.extend(found.iter().filter_map(|id| GroupId::parse(id))),
                Err(error) => tracing::error!(%error, "the groups of a user could not be read"),
            }
        }
        for id in ids {
            core.groups.tell(&core, &id, News::Registered { user: aor.clone() });
        }
    });
}

/// The answer to a MESSAGE of a focus, or 408 and 430 for a timeout and a dead flow.
pub fn paged(turn: &mut Turn<'_>, token: crate::work::Token, attempt: Box<Attempt>, status: u16) {
    page::ended(turn, token, attempt, status);
}

/// Prolongs the leases of groups in use, and removes what is too old.
pub async fn keep(core: Arc<Core>) {
    if !core.groups.on {
        return;
    }
    match core.stores.groups.list(None, 1).await {
        Ok(found) => core.groups.any.store(!found.is_empty(), Ordering::Relaxed),
        Err(error) => tracing::error!(%error, "groups could not be read"),
    }
    let resumed = async {
        if let Err(error) = resume::resume(&core).await {
            core.counters.store_failed();
            tracing::error!(%error, "who has yet to get something in a group could not be read");
        }
    };
    tokio::join!(resumed, keep_up(&core));
}

async fn keep_up(core: &Arc<Core>) {
    let mut ticks = tokio::time::interval(RENEW);
    for round in 0u64.. {
        ticks.tick().await;
        renew(core).await;
        if round % 240 == 0
            && let Err(error) = sweep(core).await
        {
            tracing::warn!(%error, "old messages of groups could not be removed");
        }
    }
}

async fn renew(core: &Arc<Core>) {
    let held: Vec<(GroupId, u64)> = {
        let rooms = core.groups.rooms.lock();
        let held = rooms.iter().map(|(id, live)| (id.clone(), live.token.load(Ordering::Relaxed)));
        held.filter(|(_, token)| *token != 0).collect()
    };
    if held.is_empty() {
        return;
    }
    let leases = held.iter().map(|(id, token)| (id.as_str().into(), *token)).collect();
    match core.stores.groups.renew(leases, core.groups.lease().until_ms).await {
        Ok(still) => {
            for ((id, _), still) in held.iter().zip(still) {
                if !still {
                    core.groups.tell(core, id, News::Fenced);
                }
            }
        }
        Err(error) => tracing::error!(%error, "leases of groups could not be prolonged"),
    }
}

async fn sweep(core: &Arc<Core>) -> Result<(), StoreError> {
    let retention = core.groups.settings.retention.as_millis() as u64;
    // Each group is looked at now and then, not for every message.
    account::expire(core, epoch_ms().saturating_sub(retention), retention / SLACK).await
}

/// Answers a request that came outside of a call.
pub(super) fn answer(
    core: &Arc<Core>,
    key: ServerKey,
    request: &Arc<Message>,
    status: u16,
    headers: &[(&'static str, String)],
) {
    let (request, headers) = (Arc::clone(request), headers.to_vec());
    core.visit(request.call_id(), |turn| {
        let tag = turn.core.tag();
        let reply = Reply::new(&request, status, &tag);
        let reply = headers.iter().fold(reply, |reply, (name, value)| reply.header_text(name, value.as_bytes()));
        turn.respond(key, status, reply.finish());
    });
}
