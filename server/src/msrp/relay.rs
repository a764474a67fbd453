//! The relay as a whole, and as the user of the transport layer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use chappe_auth::{Gate, GateConfig, Ha1Set, Username};
use chappe_msrp::auth::AuthPolicy;
use chappe_msrp::relay::Matching;
use chappe_msrp::{Leniency, Limits, OutgoingConfig, Parser};
use chappe_net::{CloseReason, ConnectionInfo, Events, Net, Network, Outbox, Reading, Resolver, SendError};
use chappe_sip::{Flow, Transport};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::connection::{Connection, NewConnection, Touched};
use super::counters::Counters;
use super::dial::Hop;
use super::endpoint::{End, Ends};
use super::local::Local;
use super::session::{Session, Sessions};
use crate::directory::Entry;

const SHARDS: usize = 64;

/// What an operator decides. Times are in milliseconds, sizes in bytes.
#[derive(Debug, Clone)]
pub struct Settings {
    pub domains: Vec<Box<str>>,
    pub limits: Limits,
    pub leniency: Leniency,
    pub matching: Matching,
    pub auth: AuthPolicy,
    /// AUTH over plain TCP is refused (RFC 4976 §9.4).
    pub require_tls: bool,
    /// Requests with methods that are not known are refused (§6.4.2).
    pub block_unknown: bool,
    /// Sessions of all users.
    pub sessions: usize,
    /// Body bytes that a session may transfer in a second; 0: any.
    pub rate: u64,
    /// A session without traffic for so long is ended; 0: never.
    pub session_idle: u64,
    /// A connection without sessions is closed after so long.
    pub connection_idle: u64,
    /// A new connection has so long for a request that succeeds.
    pub probation: u64,
    /// Failed requests after which a connection is closed.
    pub failures: u32,
    /// Chunks to stream clients are cut to this.
    pub max_chunk: Option<usize>,
    /// Chunks to WebSocket clients are cut to this.
    pub max_websocket_chunk: usize,
    /// Marks of a stream and what it may send in its turn.
    pub outgoing: OutgoingConfig,
    /// Sessions that end here.
    pub endpoint_sessions: usize,
    /// Bytes that all of them together hold of messages that are not complete or not answered.
    pub endpoint_memory: usize,
    /// Bytes that may wait to be sent in one of them, and that its user may hold unanswered before it is not read.
    pub endpoint_queue: usize,
    /// Networks that next hops may be in; `None`: any.
    pub next_hops: Option<Vec<Network>>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            domains: vec!["localhost".into()],
            limits: Limits::default(),
            leniency: Leniency::default(),
            matching: Matching::Strict,
            auth: AuthPolicy::default(),
            require_tls: false,
            block_unknown: false,
            sessions: 1_000_000,
            rate: 0,
            session_idle: 0,
            connection_idle: 300_000,
            probation: 30_000,
            failures: 5,
            max_chunk: None,
            max_websocket_chunk: 60 * 1024,
            outgoing: OutgoingConfig { low: 32 * 1024, high: 128 * 1024, ..OutgoingConfig::default() },
            endpoint_sessions: 1_000_000,
            endpoint_memory: 1 << 30,
            endpoint_queue: 16 << 20,
            next_hops: None,
        }
    }
}

/// Who may use the relay.
pub trait Accounts: Send + Sync + 'static {
    /// The account behind a username, and the secrets for that spelling of it.
    fn secrets(&self, name: &Username<'_>, realm: &str) -> Option<(Arc<Entry>, Ha1Set)>;

    /// A peer sent wrong credentials.
    fn wrong(&self, peer: IpAddr, unknown: bool) {
        let _ = (peer, unknown);
    }

    /// Whether to have nothing to do with a peer.
    fn is_banned(&self, peer: IpAddr) -> bool {
        let _ = peer;
        false
    }
}

pub struct Relay {
    pub settings: Settings,
    pub local: Local,
    pub counters: Counters,
    pub(super) accounts: Arc<dyn Accounts>,
    pub(super) gate: Gate,
    pub(super) sessions: Sessions,
    pub(super) ends: Ends,
    connections: Box<[Mutex<Table>]>,
    /// Connections that we opened or are opening.
    pub(super) dialled: Mutex<HashMap<Hop, Arc<Connection>, RandomState>>,
    /// Both sides of connections to ourselves.
    pub(super) links: Mutex<Vec<Arc<Connection>>>,
    /// Held from a dial until its flow is known.
    pub(super) dialling: Mutex<()>,
    /// Sessions without allowance, and who is not read for that.
    pub(super) throttled: Mutex<Vec<(Arc<Session>, Arc<Connection>)>>,
    net: OnceLock<Net>,
    pub(super) resolver: OnceLock<Arc<Resolver>>,
    pub(super) runtime: Handle,
    /// Milliseconds since the start, as of the last tick.
    clock: AtomicU64,
    start: Instant,
    pub(super) numbers: AtomicU64,
    stopping: AtomicBool,
}

type Table = HashMap<u64, Arc<Connection>, RandomState>;

impl Relay {
    /// `key` signs nonces; `now` in seconds since the epoch: nonces from before are asked for again.
    pub fn new(
        settings: Settings,
        local: Local,
        accounts: Arc<dyn Accounts>,
        gate: GateConfig,
        key: &[u8; 32],
        now: u64,
        runtime: Handle,
    ) -> Arc<Relay> {
        Arc::new(Relay {
            settings,
            local,
            counters: Counters::default(),
            accounts,
            gate: Gate::new(gate, key, now),
            sessions: Sessions::default(),
            ends: Ends::default(),
            connections: (0..SHARDS).map(|_| Mutex::default()).collect(),
            dialled: Mutex::default(),
            links: Mutex::default(),
            dialling: Mutex::new(()),
            throttled: Mutex::default(),
            net: OnceLock::new(),
            resolver: OnceLock::new(),
            runtime,
            clock: AtomicU64::new(0),
            start: Instant::now(),
            numbers: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
        })
    }

    /// Once the listeners are up.
    pub fn set_net(&self, net: Net) {
        let _ = self.net.set(net);
    }

    /// Who finds relays by SRV; without it they are at their hosts.
    pub fn set_resolver(&self, resolver: Arc<Resolver>) {
        let _ = self.resolver.set(resolver);
    }

    pub fn net(&self) -> Option<&Net> {
        self.net.get()
    }

    /// Milliseconds since the start, some hundred behind at most.
    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// The same as a time.
    pub(super) fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now())
    }

    pub(super) fn set_now(&self, now: u64) {
        self.clock.fetch_max(now, Ordering::Relaxed);
    }

    /// No new sessions are given out from now on; open ones go on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn connection(&self, flow: &Flow) -> Option<Arc<Connection>> {
        self.shard(flow.connection).lock().get(&flow.connection).cloned()
    }

    pub(super) fn all_connections(&self) -> Vec<Arc<Connection>> {
        let with_sockets = self.connections.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>());
        with_sockets.chain(self.links.lock().clone()).collect()
    }

    /// Takes a connection in under its flow, unless it is there already.
    pub(super) fn register(&self, flow: &Flow, connection: Arc<Connection>) -> Arc<Connection> {
        let mut shard = self.shard(flow.connection).lock();
        Arc::clone(shard.entry(flow.connection).or_insert(connection))
    }

    fn forget(&self, flow: &Flow) -> Option<Arc<Connection>> {
        self.shard(flow.connection).lock().remove(&flow.connection)
    }

    fn shard(&self, connection: u64) -> &Mutex<Table> {
        &self.connections[connection as usize % SHARDS]
    }

    /// A connection that comes to be.
    pub(super) fn new_connection(
        &self,
        flow: Option<Flow>,
        secure: bool,
        websocket: bool,
        outbound: bool,
        local: Option<SocketAddr>,
    ) -> Arc<Connection> {
        let settings = &self.settings;
        let max_chunk = if websocket { Some(settings.max_websocket_chunk) } else { settings.max_chunk };
        let key = crate::random::bytes::<16>();
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| key[at + index]));
        Connection::new(NewConnection {
            flow,
            secure,
            local,
            outbound,
            now: self.now(),
            parser: Parser::with_leniency(settings.limits, settings.leniency),
            outgoing: OutgoingConfig { max_chunk, whole_frames: websocket, ..settings.outgoing },
            key: [word(0), word(8)],
        })
    }

    /// Ends a connection after what waits for the peer.
    pub(super) fn close(&self, connection: &Connection) {
        if let Some(link) = connection.link() {
            link.close();
        } else if let (Some(net), Some(flow)) = (self.net(), connection.flow()) {
            net.close(flow);
        }
    }
}

/// The relay as the user of the transport layer.
pub struct Front(pub Arc<Relay>);

impl Events for Front {
    fn admit(&self, _transport: Transport, remote: SocketAddr) -> bool {
        !self.0.accounts.is_banned(remote.ip())
    }

    fn opened(&self, flow: &Flow, info: &ConnectionInfo) {
        if info.outbound {
            // Who dials takes it in; that may not have been done yet.
            drop(self.0.dialling.lock());
            if let Some(connection) = self.0.connection(flow) {
                connection.open.store(true, Ordering::Release);
                connection.ends().iter().for_each(End::connected);
            }
            return;
        }
        let transport = flow.transport;
        let new =
            self.0.new_connection(Some(*flow), transport.is_secure(), transport.is_websocket(), false, info.local);
        if let Some(shown) = info.fingerprints {
            let _ = new.shown.set(shown);
        }
        self.0.register(flow, new);
    }

    fn data(&self, flow: &Flow, bytes: &Bytes, _out: &mut Outbox) -> Reading {
        let Some(connection) = self.0.connection(flow) else { return Reading::End };
        let mut inbound = connection.inbound.lock();
        self.0.take(&connection, &mut inbound, bytes);
        if inbound.ending {
            Reading::End
        } else if connection.holds.load(Ordering::Acquire) > 0 {
            Reading::Pause
        } else {
            Reading::More
        }
    }

    fn data_end(&self, flow: &Flow, _out: &mut Outbox) {
        let Some(connection) = self.0.connection(flow) else { return };
        let mut touched = std::mem::take(&mut connection.inbound.lock().touched);
        self.0.flush(&mut touched);
    }

    fn writable(&self, flow: &Flow, _out: &mut Outbox) {
        if let Some(connection) = self.0.connection(flow) {
            self.0.flush(&mut Touched::from_iter([connection]));
        }
    }

    fn closed(&self, flow: &Flow, why: CloseReason) {
        if let Some(connection) = self.0.forget(flow) {
            tracing::debug!(peer = %crate::logging::Redacted(flow), ?why, "MSRP connection closed");
            if connection.outbound {
                self.0.undialled(&connection);
            }
            self.0.lost(&connection);
        }
    }

    fn message_end(&self, flow: &Flow, _out: &mut Outbox) -> Reading {
        let Some(connection) = self.0.connection(flow) else { return Reading::End };
        let mut inbound = connection.inbound.lock();
        // One frame is one message (RFC 7977 §5.3).
        if !inbound.parser.is_idle() {
            self.0.counters.malformed.one();
            inbound.ending = true;
        }
        if inbound.ending { Reading::End } else { Reading::More }
    }

    fn connect_failed(&self, flow: &Flow, error: SendError) {
        drop(self.0.dialling.lock());
        if let Some(connection) = self.0.forget(flow) {
            tracing::debug!(%error, "MSRP next hop cannot be reached");
            self.0.not_opened(&connection);
        }
    }
}
