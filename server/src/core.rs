//! The SIP side of a node: shards, and what all of them share.
//!
//! A message is handled to its end on the thread that received it: parse, lock the shard of its Call-ID, decide,
//! unlock, send. Only what needs the disk or DNS continues on a task, which then visits the shard again.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ahash::RandomState;
use bytes::Bytes;
use chappe_chat::MessagePolicy;
use chappe_net::{CloseReason, ConnectionInfo, Events, FrameError, Net, Outbox, SendError};
use chappe_sip::layer::{Dest, Input, Layer, Origin};
use chappe_sip::outbound::FlowTokens;
use chappe_sip::proxy::{Local, ProxyPolicy};
use chappe_sip::registrar::{self, Binding, GruuKey};
use chappe_sip::{Flow, HeaderName, Limits, Message, Method, ParseError, Reply, Transport};
use chappe_store::Stores;
use parking_lot::Mutex;

use crate::admission::{Bans, Offence, Rates};
use crate::away::AwayDevices;
use crate::bearer::Bearers;
use crate::directory::Directory;
use crate::fate::Ledger;
use crate::hops::{Hop, Hops};
use crate::identity::Identity;
use crate::location::Location;
use crate::media::Media;
use crate::metrics::{Metrics, Shed};
use crate::msrp::endpoint::Endpoint;
use crate::persist::Persist;
use crate::push::Push;
use crate::receipts::RecentReceipts;
use crate::resolve::Resolver;
use crate::service::agent::{CallLimits, CallTable};
use crate::service::capability::Capabilities;
use crate::service::chat::{Chat, FileBox};
use crate::service::drain::Drain;
use crate::service::group::Groups;
use crate::service::notify::Watched;
use crate::service::notify::published::Shelves;
use crate::service::presence::PresenceAgent;
use crate::shard::{Shard, Turn, answer_flow};
use crate::sign_ins::SignInTable;
use crate::sip_counters::SipCounters;
use crate::steps::Recent;
use crate::timers::Alarm;
use crate::trace::Trace;
use crate::waiting::Waiting;
use crate::xcap::Xcap;

/// Which requests are challenged besides REGISTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    RegisterOnly,
    /// Those that claim to come from our users, except over a connection that has authenticated.
    Ours,
    All,
}

/// What the operator decided, in the words of the code.
pub struct Settings {
    pub domains: Vec<Box<str>>,
    pub limits: Limits,
    pub proxy: ProxyPolicy,
    pub registrar: registrar::Policy,
    pub message: MessagePolicy,
    /// Messages that wait for one user, at most.
    pub queue_per_user: u64,
    pub challenge: Challenge,
    pub record_route: bool,
    pub timer_c: Duration,
    /// When the sender of a MESSAGE is answered even if devices have not been heard: before its transaction ends.
    pub answer_within: Duration,
    /// Waiting messages sent to one device in a second when it comes back.
    pub drain_rate: u32,
    /// What Retry-After asks for, in seconds.
    pub retry_after: u32,
    /// Writes under way, from which on what must be stored is refused.
    pub max_store_queue: usize,
    /// How long the history of conversations is kept; zero for none.
    pub history: Duration,
    /// The partner that answers each message with its text, where there is one.
    pub echo: Option<Box<str>>,
    /// Calls of our own.
    pub calls: chappe_sip::usage::Policy,
    pub call_limits: CallLimits,
}

impl Settings {
    /// Whether there is a history of conversations.
    pub fn keeps_history(&self) -> bool {
        !self.history.is_zero()
    }
}

/// What lets a peer in or keeps it out.
pub struct Admission {
    pub peers: Rates<IpAddr>,
    pub users: Rates<Box<str>>,
    pub bans: Bans,
}

struct Cell {
    shard: Mutex<Shard>,
    /// When it wants to be visited, in milliseconds since the start; `u64::MAX`: not.
    due: AtomicU64,
}

pub struct Core {
    pub settings: Settings,
    pub local: Local,
    pub hops: Hops,
    pub location: Arc<Location>,
    /// Changed, and read together with the bindings, in a look at `location`.
    pub away: AwayDevices,
    pub directory: Directory,
    pub identity: Identity,
    pub persist: Persist,
    pub stores: Stores,
    pub ledger: Ledger,
    pub recent: Recent,
    pub admission: Admission,
    pub tokens: FlowTokens,
    pub gruu: GruuKey,
    pub waiting: Waiting,
    pub watched: Watched,
    pub presence: PresenceAgent,
    pub shelves: Shelves,
    pub capabilities: Capabilities,
    pub calls: CallTable,
    pub recent_receipts: RecentReceipts,
    pub drain: Drain,
    pub chat: Chat,
    pub groups: Groups,
    pub xcap: Xcap,
    pub push: Arc<Push>,
    pub sign_ins: Arc<SignInTable>,
    pub bearers: Arc<Bearers>,
    pub counters: SipCounters,
    pub trace: Trace,
    /// Store operations under way.
    pub store_queue: AtomicU64,
    pub runtime: tokio::runtime::Handle,
    pub(crate) resolver: Option<Resolver>,
    net: OnceLock<Net>,
    endpoint: OnceLock<Endpoint>,
    files: OnceLock<FileBox>,
    media: OnceLock<Arc<Media>>,
    cells: Box<[Cell]>,
    alarm: Alarm,
    /// Keyed by the system's randomness: tags and branches cannot be guessed.
    mixer: RandomState,
    serial: AtomicU64,
    start: Instant,
    stopping: std::sync::atomic::AtomicBool,
}

/// What [`Core::new`] is made of.
pub struct Parts {
    pub settings: Settings,
    pub local: Local,
    pub hops: Hops,
    pub location: Arc<Location>,
    pub away: AwayDevices,
    pub directory: Directory,
    pub identity: Identity,
    pub stores: Stores,
    pub admission: Admission,
    pub tokens: FlowTokens,
    pub gruu: GruuKey,
    pub waiting: Waiting,
    pub drain: Drain,
    pub chat: Chat,
    pub presence: PresenceAgent,
    pub capabilities: Capabilities,
    pub groups: Groups,
    pub xcap: Xcap,
    pub push: Arc<Push>,
    pub bearers: Arc<Bearers>,
    pub resolver: Option<Resolver>,
    pub layer: chappe_sip::layer::Config,
    pub trace: Trace,
    pub metrics: Arc<Metrics>,
    pub runtime: tokio::runtime::Handle,
}

/// Number of shards; a power of two, below 256.
pub const SHARDS: usize = 32;

impl Core {
    pub fn new(parts: Parts) -> Core {
        let now = Instant::now();
        let mixer = RandomState::new();
        let cells = (0..SHARDS as u64).map(|n| {
            let seeds = [1, 2, 3, 4].map(|k| mixer.hash_one((n, k)));
            Cell {
                shard: Mutex::new(Shard::new(Layer::new(now, parts.layer.clone(), seeds))),
                due: AtomicU64::new(u64::MAX),
            }
        });
        let published = &parts.presence.settings;
        let shelves = Shelves::new(published.policy.clone(), published.max_publications);
        Core {
            persist: Persist::new(&parts.stores, Arc::clone(&parts.location)),
            cells: cells.collect(),
            settings: parts.settings,
            local: parts.local,
            hops: parts.hops,
            location: parts.location,
            away: parts.away,
            directory: parts.directory,
            identity: parts.identity,
            stores: parts.stores,
            ledger: Ledger::default(),
            recent: Recent::new(65_536),
            admission: parts.admission,
            tokens: parts.tokens,
            gruu: parts.gruu,
            waiting: parts.waiting,
            watched: Watched::default(),
            shelves,
            presence: parts.presence,
            capabilities: parts.capabilities,
            calls: CallTable::default(),
            recent_receipts: RecentReceipts::default(),
            resolver: parts.resolver,
            drain: parts.drain,
            chat: parts.chat,
            groups: parts.groups,
            xcap: parts.xcap,
            push: parts.push,
            sign_ins: Arc::clone(parts.bearers.table()),
            bearers: parts.bearers,
            counters: SipCounters::new(parts.metrics),
            trace: parts.trace,
            store_queue: AtomicU64::new(0),
            runtime: parts.runtime,
            net: OnceLock::new(),
            endpoint: OnceLock::new(),
            files: OnceLock::new(),
            media: OnceLock::new(),
            alarm: Alarm::default(),
            mixer,
            serial: AtomicU64::new(1),
            start: now,
            stopping: Default::default(),
        }
    }

    /// Once the listeners are up.
    pub fn set_net(&self, net: Net) {
        let _ = self.net.set(net);
    }

    /// The way to a registered device. A connection that somebody else has opened from where the device once was is not it: its
    /// own is known by a flow, unless the server has started since, and addresses are given out anew.
    pub fn way_to(&self, binding: &Binding) -> Hop {
        let hop = self.hops.of_binding(binding, &self.local, &self.tokens);
        match hop {
            Hop::Known(Dest::Address { transport, address })
                if binding.flow.is_none() && self.net().is_some_and(|net| net.is_peers(transport, address)) =>
            {
                Hop::Gone
            }
            hop => hop,
        }
    }

    pub fn net(&self) -> Option<&Net> {
        self.net.get()
    }

    /// Once there is an MSRP side.
    pub fn set_endpoint(&self, endpoint: Endpoint) {
        let _ = self.endpoint.set(endpoint);
    }

    /// Opens message sessions that end here.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.get()
    }

    /// Once there is a content server.
    pub fn set_files(&self, files: FileBox) {
        let _ = self.files.set(files);
    }

    /// The content server.
    pub fn files(&self) -> Option<&FileBox> {
        self.files.get()
    }

    /// Where its port is open.
    pub fn set_media(&self, media: Arc<Media>) {
        let _ = self.media.set(media);
    }

    /// Carries the media of calls between browsers and phones.
    pub fn media(&self) -> Option<&Arc<Media>> {
        self.media.get()
    }

    /// Milliseconds since the start.
    pub fn uptime_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// A To tag or the like: 13 characters that nobody can foresee.
    pub fn tag(&self) -> String {
        let mut value = self.random();
        let mut tag = String::with_capacity(13);
        for _ in 0..13 {
            tag.push(char::from(b"0123456789abcdefghijklmnopqrstuv"[(value & 31) as usize]));
            value >>= 5;
        }
        tag
    }

    /// A number that nobody can foresee and that does not come twice.
    pub fn random(&self) -> u64 {
        self.mixer.hash_one(self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// The unique part of a branch.
    pub fn serial(&self) -> u64 {
        self.random()
    }

    /// Domain of ours that `host` means: itself, or the first one where it is an address or name of this server.
    pub fn domain(&self, host: &str) -> Option<&str> {
        let named = self.settings.domains.iter().find(|d| d.eq_ignore_ascii_case(host.trim_end_matches('.')));
        named.or_else(|| self.settings.domains.first().filter(|_| self.local.is_host(host))).map(|d| &**d)
    }

    /// Visits the shard of a Call-ID from a task.
    pub fn visit<R>(self: &Arc<Self>, call_id: &[u8], work: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        self.visit_cell(self.cell_of(call_id), work)
    }

    /// Visits a shard by number and sends what comes of it.
    pub fn visit_cell<R>(self: &Arc<Self>, cell: usize, work: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let mut out = Outbox::new();
        let result = self.turn(cell, &mut out, work);
        if let Some(net) = self.net() {
            net.flush(&mut out);
        }
        result
    }

    /// Visits every shard whose time has come; gives the time at which the next wants a visit.
    pub fn fire_due(self: &Arc<Self>) -> Option<Duration> {
        let now = self.uptime_ms();
        let mut next = u64::MAX;
        for (index, cell) in self.cells.iter().enumerate() {
            let due = cell.due.load(Ordering::Relaxed);
            if due <= now {
                self.visit_cell(index, |turn| turn.fire());
            }
            next = next.min(cell.due.load(Ordering::Relaxed));
        }
        (next != u64::MAX).then(|| Duration::from_millis(next.saturating_sub(self.uptime_ms())))
    }

    /// When the next shard wants a visit, in milliseconds since the start.
    pub fn next_due(&self) -> u64 {
        self.cells.iter().map(|c| c.due.load(Ordering::Relaxed)).min().unwrap_or(u64::MAX)
    }

    /// Whether new work has to be refused.
    pub fn overloaded(&self) -> bool {
        self.store_queue.load(Ordering::Relaxed) as usize > self.settings.max_store_queue
    }

    /// Awaits a store operation and counts it while it is under way.
    pub async fn stored<T>(&self, operation: impl Future<Output = T>) -> T {
        self.store_queue.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let result = operation.await;
        self.counters.stored_in(begun.elapsed());
        self.store_queue.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// Spawns a task that has begun when this returns: what it asks of the store first comes before what others ask later,
    /// which the order of two spawned tasks does not promise. Not for a task that may visit a shard before it waits.
    pub fn spawn_begun(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut task = Box::pin(tokio::task::unconstrained(task));
        let _entered = self.runtime.enter();
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.runtime.spawn(task);
        }
    }

    /// The addresses of a URI, the best first (RFC 3263 §4); none where there is no resolver.
    pub async fn resolve_all(&self, uri: &chappe_sip::Uri<'_>) -> Vec<Dest> {
        match &self.resolver {
            Some(resolver) => resolver.resolve(uri, &self.hops).await,
            None => Vec::new(),
        }
    }

    pub async fn resolve(&self, uri: &chappe_sip::Uri<'_>) -> Option<Dest> {
        self.resolve_all(uri).await.into_iter().next()
    }

    pub fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// Live transactions and pieces of work over all shards.
    pub fn load(&self) -> (chappe_sip::layer::Counts, usize) {
        let mut total = chappe_sip::layer::Counts::default();
        let mut works = 0;
        for cell in &self.cells {
            let shard = cell.shard.lock();
            let counts = shard.layer.counts();
            total.invite_servers += counts.invite_servers;
            total.non_invite_servers += counts.non_invite_servers;
            total.invite_clients += counts.invite_clients;
            total.non_invite_clients += counts.non_invite_clients;
            total.retransmissions += counts.retransmissions;
            total.absorbed += counts.absorbed;
            total.client_timeouts += counts.client_timeouts;
            works += shard.works.len();
        }
        (total, works)
    }

    /// Whether a request waits for its answer, or a write is under way.
    pub fn is_busy(&self) -> bool {
        self.store_queue.load(Ordering::Relaxed) > 0 || self.calls.busy() > 0 || self.load().1 > 0
    }

    /// No new work is taken from now on; what is under way goes on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub fn cell_of(&self, call_id: &[u8]) -> usize {
        self.mixer.hash_one(call_id) as usize % SHARDS
    }

    fn turn<R>(self: &Arc<Self>, cell: usize, out: &mut Outbox, work: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let place = &self.cells[cell];
        let mut shard = place.shard.lock();
        let now = Instant::now();
        let mut turn = Turn { core: self, shard: &mut shard, cell, now };
        // What is due is done by whoever comes by: the memory it frees was taken by this very thread.
        if place.due.load(Ordering::Relaxed) <= now.saturating_duration_since(self.start).as_millis() as u64 {
            turn.fire();
        }
        let result = work(&mut turn);
        turn.finish(out);
        let due = shard
            .next_deadline()
            .map_or(u64::MAX, |at| at.saturating_duration_since(self.start).as_millis() as u64 + 1);
        place.due.store(due, Ordering::Relaxed);
        drop(shard);
        self.alarm.wanted(due);
        result
    }

    fn request(self: &Arc<Self>, message: Message, flow: &Flow, out: &mut Outbox) {
        let method = message.method();
        self.counters.request(method, flow.transport);
        if let Err(error) = message.check() {
            self.counters.malformed(flow.transport);
            self.offence(flow, Offence::Junk);
            // An ACK never gets an answer.
            if method != Method::Ack {
                self.stateless(&message, error.status(), Some(&error), flow, out);
            }
            return;
        }
        let trusted = self.identity.is_trusted(flow.remote.ip());
        if !trusted && !flow.remote.ip().is_loopback() {
            let agent = message.header(HeaderName::UserAgent);
            if agent.is_some_and(crate::admission::is_scanner) {
                self.counters.scanner();
                self.offence(flow, Offence::ScannerName);
                return;
            }
            let peer = crate::admission::network(flow.remote.ip());
            if !self.admission.peers.admit(&peer, self.uptime_ms()) && !is_sheltered(&message) {
                self.counters.shed(Shed::PeerRate);
                // Over UDP nothing: an answer would go to whoever is named as the source.
                if flow.is_connection() && method != Method::Ack {
                    self.stateless(&message, 503, None, flow, out);
                }
                return;
            }
        }
        self.counters.response_received(message.status());
        self.turn(self.cell_of(message.call_id()), out, |turn| {
            match turn.shard.layer.handle_message(turn.now, answer_flow(&message, flow), &message) {
                Input::NewRequest(key) => crate::pipeline::request(turn, key, Arc::new(message), flow, trusted),
                Input::Cancel { cancel, invite } => crate::service::proxy::cancel(turn, cancel, invite, &message),
                Input::Ack(_) => {
                    if !crate::service::agent::ack(turn, &message) {
                        crate::service::proxy::ack(turn, &message, flow);
                    }
                }
                Input::Full => {
                    turn.core.counters.shed(Shed::Transactions);
                    if let Some(bytes) = turn.core.busy(&message) {
                        turn.core.counters.response(503);
                        turn.shard.send_stateless((*flow).into(), bytes);
                    }
                }
                Input::Absorbed | Input::Stray | Input::Response { .. } => {}
            }
        });
    }

    fn response(self: &Arc<Self>, message: Message, flow: &Flow, out: &mut Outbox) {
        if message.check().is_err() {
            self.counters.malformed(flow.transport);
            return;
        }
        self.counters.response_received(message.status());
        self.turn(self.cell_of(message.call_id()), out, |turn| {
            match turn.shard.layer.handle_message(turn.now, *flow, &message) {
                Input::Response { user, .. } => crate::service::response(turn, user, &message),
                Input::Stray => turn.core.counters.stray(),
                _ => {}
            }
        });
    }

    /// Answers without a transaction.
    fn stateless(&self, request: &Message, status: u16, error: Option<&ParseError>, flow: &Flow, out: &mut Outbox) {
        // Without it nobody would know the answer.
        if request.header(HeaderName::Via).is_none() {
            return;
        }
        self.counters.response(status);
        let tag = self.tag();
        let reply = match error {
            Some(error) => Reply::with_reason(request, status, &error.to_string(), &tag),
            None => Reply::new(request, status, &tag),
        };
        let reply = if status == 503 { reply.header(HeaderName::RetryAfter, &self.retry_after()) } else { reply };
        let bytes = reply.finish();
        self.trace.sent(&(*flow).into(), &bytes);
        out.send(answer_flow(request, flow), bytes, Outbox::UNTAGGED);
    }

    /// The 503 of an overloaded server, where the request may be refused.
    pub fn busy(&self, request: &Message) -> Option<Bytes> {
        if request.method() == Method::Ack {
            return None;
        }
        let reply = Reply::new(request, 503, &self.tag());
        Some(reply.header(HeaderName::RetryAfter, &self.retry_after()).finish())
    }

    /// Retry-After, varied so that clients do not come back together.
    pub fn retry_after(&self) -> String {
        let base = u64::from(self.settings.retry_after);
        (base + self.random() % (base + 1)).to_string()
    }

    /// Notes that a peer misbehaved.
    pub fn offence(&self, flow: &Flow, offence: Offence) {
        self.offence_of(flow.remote.ip(), offence);
    }

    /// The same of an address.
    pub fn offence_of(&self, ip: IpAddr, offence: Offence) {
        if ip.is_loopback() || self.identity.is_trusted(ip) {
            return;
        }
        if self.admission.bans.note(ip, offence, self.uptime_ms()) {
            self.counters.banned();
            tracing::warn!(peer = %crate::logging::Redacted(ip), ?offence, "peer banned");
        }
    }
}

/// Requests that are served even when others are not: emergencies and what belongs to a dialog or to another request.
pub fn is_sheltered(request: &Message) -> bool {
    use chappe_sip::proxy::overload::{Class, class};
    matches!(class(request, false), Class::Emergency | Class::InDialog)
}

/// Seconds since the epoch.
pub fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Milliseconds since the epoch.
pub fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// The core as the user of the transport layer.
pub struct Front(pub Arc<Core>);

impl Events for Front {
    fn admit(&self, _transport: Transport, remote: std::net::SocketAddr) -> bool {
        !self.0.admission.bans.is_banned(remote.ip(), self.0.uptime_ms())
    }

    fn message(&self, flow: &Flow, bytes: Bytes, out: &mut Outbox) {
        let core = &self.0;
        core.trace.received(flow, &bytes);
        match Message::parse(bytes, &core.settings.limits) {
            Ok(message) => {
                let message = message.from_source(flow.remote);
                if message.is_request() { core.request(message, flow, out) } else { core.response(message, flow, out) }
            }
            Err(_) => {
                core.counters.malformed(flow.transport);
                core.offence(flow, Offence::Junk);
            }
        }
    }

    fn malformed(&self, flow: &Flow, prefix: Bytes, error: FrameError, out: &mut Outbox) {
        let core = &self.0;
        let too_long = matches!(error, FrameError::TooLarge { .. } | FrameError::HeadTooLarge { .. });
        core.counters.malformed(flow.transport);
        core.offence(flow, Offence::Junk);
        // The peer gets told, where there is enough of a request to answer.
        if let Ok(message) = Message::parse(prefix, &core.settings.limits)
            && message.is_request()
            && message.method() != Method::Ack
        {
            let message = message.from_source(flow.remote);
            let error = message.check().err();
            let status = match too_long {
                true => 513,
                false => error.as_ref().map_or(400, ParseError::status),
            };
            let error = error.filter(|_| !too_long);
            core.stateless(&message, status, error.as_ref(), flow, out);
        }
    }

    fn opened(&self, _flow: &Flow, _info: &ConnectionInfo) {}

    fn closed(&self, flow: &Flow, why: CloseReason) {
        let core = &self.0;
        core.identity.forget(flow);
        for change in core.location.flow_closed(flow) {
            tracing::debug!(aor = %crate::logging::Redacted(&change.aor), ?why, "flow closed, bindings are gone or dormant");
            crate::service::notify::registration_changed(core, &change.aor, &change.before, &change.after);
            core.persist.later(&change.aor);
            crate::push::fell_asleep(core, &change.aor);
        }
        crate::service::presence::flow_closed(core, flow);
        crate::service::notify::published::flow_closed(core, flow);
        for cell in 0..SHARDS {
            if !self.0.cells[cell].shard.lock().layer.is_empty() {
                core.visit_cell(cell, |turn| turn.shard.layer.flow_closed(flow));
            }
        }
    }

    fn send_failed(&self, tag: u64, error: SendError) {
        let core = &self.0;
        core.counters.send_failed();
        tracing::debug!(%error, "a message could not be sent");
        let cell = (tag & 0xff) as usize;
        if cell < SHARDS {
            core.visit_cell(cell, |turn| {
                if let Some(origin) = turn.shard.origin(tag) {
                    if let (Origin::Client(_), SendError::Forbidden) = (origin, error) {
                        turn.core.counters.forbidden_hop();
                    }
                    turn.shard.layer.transport_failed(origin);
                }
            });
        }
    }
}
