//! The transport layer as a whole.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_sip::{Flow, Transport};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::config::{Config, Limits, ListenerConfig};
use crate::connect;
use crate::connection::{Batch, Connection};
use crate::counters::Counters;
use crate::events::{CloseReason, Events};
use crate::listen;
use crate::network::Network;
use crate::outbox::{Destination, Item, Outbox, SendError, Target};
use crate::table::{Leads, Table};
use crate::tls::{Fingerprints, Proof, Tls, TlsError};
use crate::udp;

/// Sockets and connections. Cheap to clone; all clones are the same. Ends with [`Net::close_all`].
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) limits: Limits,
    next_hops: Option<Vec<Network>>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) table: Table,
    pub(crate) counters: Arc<Counters>,
    pub(crate) runtime: Handle,
    pub(crate) next_connection: AtomicU64,
    pub(crate) handshakes: Semaphore,
    pub(crate) tls: Tls,
    pub(crate) udp_stopped: AtomicBool,
    events: OnceLock<Arc<dyn Events>>,
    accepting: Mutex<Vec<AbortHandle>>,
    sweeping: Mutex<Option<AbortHandle>>,
    receiving: Mutex<Vec<thread::JoinHandle<()>>>,
    waiting: Mutex<Vec<(u16, std::net::TcpListener)>>,
    started: Instant,
}

pub(crate) struct Listener {
    pub(crate) config: ListenerConfig,
    pub(crate) udp: Option<UdpSocket>,
    local: OnceLock<SocketAddr>,
}

/// A listener as it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerInfo {
    /// What `Flow::listener` names.
    pub index: u16,
    pub transport: Transport,
    /// The address with the port that was chosen.
    pub local: SocketAddr,
    /// Host for Via and Record-Route: the advertised one, or the bound address, or for a wildcard the address from
    /// which this machine reaches others. IPv6 stands in brackets.
    pub host: String,
    /// Port for Via and Record-Route.
    pub port: u16,
}

/// Why the transport layer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {listener:?}: {error}")]
    Bind { listener: Box<ListenerConfig>, error: io::Error },
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("more than 65535 listeners")]
    TooMany,
    #[error("was started before")]
    Twice,
}

impl Net {
    /// Binds all sockets, so that their addresses are known; [`Net::run`] begins to receive. Must be called within a
    /// tokio runtime with I/O and time, where the connections will live.
    pub fn bind(config: Config) -> Result<Net, StartError> {
        if config.listeners.len() > usize::from(u16::MAX) {
            return Err(StartError::TooMany);
        }
        let counters = Arc::new(Counters::default());
        let secure = config.listeners.iter().filter(|l| l.transport.is_secure());
        let tls = Tls::new(config.tls, secure.map(|l| l.client_auth), &counters)?;
        let mut waiting = Vec::new();
        let mut listeners = Vec::new();
        for (index, listener) in (0u16..).zip(config.listeners) {
            let fault = |error| StartError::Bind { listener: Box::new(listener.clone()), error };
            let (mut socket, local) = (None, OnceLock::new());
            let address = match listener.transport {
                Transport::Udp => {
                    let bound = udp::bind(listener.bind, config.limits.udp_buffer).map_err(fault)?;
                    let address = bound.local_addr().map_err(fault)?;
                    socket = Some(bound);
                    Some(address)
                }
                Transport::Tcp | Transport::Tls => {
                    let bound = listen::bind(listener.bind).map_err(fault)?;
                    let address = bound.local_addr().map_err(fault)?;
                    waiting.push((index, bound));
                    Some(address)
                }
                Transport::Ws | Transport::Wss => None,
            };
            if let Some(address) = address {
                let _ = local.set(address);
            }
            listeners.push(Listener { config: listener, udp: socket, local });
        }
        let handshakes = Semaphore::new(config.limits.handshakes.clamp(1, Semaphore::MAX_PERMITS));
        let inner = Inner {
            next_hops: config.next_hops,
            listeners,
            table: Table::new(),
            counters,
            limits: config.limits,
            runtime: Handle::current(),
            next_connection: AtomicU64::new(1),
            handshakes,
            tls,
            udp_stopped: AtomicBool::new(false),
            events: OnceLock::new(),
            accepting: Mutex::default(),
            sweeping: Mutex::default(),
            receiving: Mutex::default(),
            waiting: Mutex::new(waiting),
            started: Instant::now(),
        };
        Ok(Net { inner: Arc::new(inner) })
    }

    /// Begins to receive and to call `events`.
    pub fn run(&self, events: Arc<dyn Events>) -> Result<(), StartError> {
        let inner = &self.inner;
        inner.events.set(events).map_err(|_| StartError::Twice)?;
        let _context = inner.runtime.enter();
        for (index, listener) in inner.waiting.lock().drain(..) {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| StartError::Bind {
                listener: Box::new(inner.listeners[usize::from(index)].config.clone()),
                error,
            })?;
            let task = inner.runtime.spawn(listen::accept(inner.clone(), index, listener));
            inner.accepting.lock().push(task.abort_handle());
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for (index, listener) in (0u16..).zip(&inner.listeners) {
            if listener.udp.is_some() {
                let threads = if listener.config.threads == 0 { cores.min(4) } else { listener.config.threads };
                let threads = udp::start(inner, index, threads).map_err(StartError::Thread)?;
                inner.receiving.lock().extend(threads);
            }
        }
        let sweep = inner.runtime.spawn(sweep(inner.clone()));
        *inner.sweeping.lock() = Some(sweep.abort_handle());
        Ok(())
    }

    /// [`Net::bind`] and [`Net::run`] in one.
    pub fn start(config: Config, events: Arc<dyn Events>) -> Result<Net, StartError> {
        let net = Net::bind(config)?;
        net.run(events)?;
        Ok(net)
    }

    /// The listeners with their actual addresses. A WebSocket listener is missing until [`Net::set_address`].
    pub fn listeners(&self) -> Vec<ListenerInfo> {
        (0..self.inner.listeners.len() as u16).filter_map(|index| self.listener(index)).collect()
    }

    /// One listener by its index.
    pub fn listener(&self, index: u16) -> Option<ListenerInfo> {
        let listener = self.inner.listeners.get(usize::from(index))?;
        let local = *listener.local.get()?;
        let advertise = listener.config.advertise.as_ref();
        let host = match advertise {
            Some(advertise) => advertise.host.clone(),
            None => match reachable(local.ip()) {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            },
        };
        let port = advertise.and_then(|a| a.port).unwrap_or(local.port());
        Some(ListenerInfo { index, transport: listener.config.transport, local, host, port })
    }

    /// Tells the address that the HTTP server took for a WebSocket listener. Only the first time counts.
    pub fn set_address(&self, index: u16, local: SocketAddr) {
        if let Some(listener) = self.inner.listeners.get(usize::from(index)) {
            let _ = listener.local.set(local);
        }
    }

    /// The listener that a message to `target` leaves from, for its Via: the one asked for, else the first of the
    /// transport and address family, loopback for loopback where there is one.
    pub fn listener_for(&self, target: &Target) -> Option<u16> {
        self.inner.listener_for(target)
    }

    /// Sends what was collected and empties the outbox. For any thread; events are flushed on their own.
    pub fn flush(&self, out: &mut Outbox) {
        self.inner.flush(out);
    }

    /// Sends one message on a flow at once. `Gone` tells that the connection has ended.
    pub fn send(&self, flow: &Flow, bytes: Bytes) -> Result<(), SendError> {
        if flow.connection == 0 {
            return udp::send(&self.inner, flow, &bytes);
        }
        let connection = self.inner.table.get(flow.connection).ok_or(SendError::Gone)?;
        connection.send(Batch::from_iter([(bytes, Outbox::UNTAGGED)]))
    }

    /// Sends pieces of a stream on a connection, in their order and together. On a WebSocket each is a message, unless
    /// `ends` says how many pieces there are up to the end of each message.
    pub fn send_all(
        &self,
        flow: &Flow,
        pieces: impl IntoIterator<Item = Bytes>,
        ends: &[usize],
    ) -> Result<(), SendError> {
        let batch = Batch::from_iter(pieces.into_iter().map(|piece| (piece, Outbox::UNTAGGED)));
        if batch.is_empty() {
            return Ok(());
        }
        self.inner.table.get(flow.connection).ok_or(SendError::Gone)?.send_cut(batch, ends)
    }

    /// Whether a flow can still be sent to. Always for UDP.
    pub fn is_open(&self, flow: &Flow) -> bool {
        flow.connection == 0 || self.inner.table.get(flow.connection).is_some_and(|c| c.is_open())
    }

    /// The open connection that [`Outbox::to`] would use for `target`.
    pub fn reuse(&self, target: &Target) -> Option<Flow> {
        self.inner.table.find(&Leads::to(target, &Proof::Domain)).map(|connection| connection.flow)
    }

    /// Whether there is an open connection that its peer opened from this address.
    pub fn is_peers(&self, transport: Transport, remote: SocketAddr) -> bool {
        let target = Target::new(transport, remote);
        self.inner.table.find(&Leads::to(&target, &Proof::Domain)).is_some_and(|connection| !connection.outbound)
    }

    /// The open connection to `target` (TCP or TLS) whose peer has given `proof`, or a new one. What is sent on it
    /// before it is open waits, at most [`Limits::backlog`] bytes of it; then comes `opened` or `connect_failed`, which may
    /// come before this returns.
    pub fn connect(&self, target: &Target, proof: &Proof) -> Result<Flow, SendError> {
        if !self.inner.may_send_to(target.addr.ip()) {
            self.inner.counters.forbidden.one();
            return Err(SendError::Forbidden);
        }
        let (connection, made) = connect::find_or_make(&self.inner, target, proof)?;
        let flow = connection.flow;
        if made {
            connect::begin(connection);
        }
        Ok(flow)
    }

    /// Hashes of our certificate that clients asking for `name` are shown, or servers that we connect to (`None`).
    /// `None`: there is no certificate.
    pub fn own_fingerprints(&self, name: Option<&str>) -> Option<Fingerprints> {
        self.inner.tls.own_fingerprints(name)
    }

    /// Lets requests to `remote` use the connection of `flow` (Via parameter `alias`, RFC 5923 §8). Returns whether
    /// that holds: only where the peer's certificate was verified, and for the address the peer has.
    pub fn alias(&self, flow: &Flow, remote: SocketAddr) -> bool {
        let Some(connection) = self.inner.table.get(flow.connection) else { return false };
        let granted = remote.ip() == flow.remote.ip() && connection.set_alias(remote);
        if granted {
            self.inner.table.alias(&connection, remote);
        }
        granted
    }

    /// Goes on reading a raw connection after [`crate::Reading::Pause`]. May come early: a pause that was being
    /// returned meanwhile does not hold, so that none is missed, and `data` is called once more than hoped for.
    pub fn resume(&self, flow: &Flow) {
        if let Some(connection) = self.inner.table.get(flow.connection) {
            connection.resume();
        }
    }

    /// Bytes that wait for a connection's socket to take them, at most [`Limits::backlog`]; 0 if it has ended. What
    /// TLS has sealed already, at most 64 kB, is not among them.
    pub fn queued(&self, flow: &Flow) -> usize {
        self.inner.table.get(flow.connection).map_or(0, |connection| connection.queued())
    }

    /// Ends a connection after what waits for the peer. Nothing more can be sent on it.
    pub fn close(&self, flow: &Flow) {
        if let Some(connection) = self.inner.table.get(flow.connection) {
            connection.close(CloseReason::Local, false);
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Open connections of all transports, those being opened by us included.
    pub fn connections(&self) -> usize {
        self.inner.table.len()
    }

    /// Takes no new connections; open ones and UDP go on.
    pub fn stop_accepting(&self) {
        for task in self.inner.accepting.lock().drain(..) {
            task.abort();
        }
        self.inner.waiting.lock().clear();
    }

    /// Stops receiving and ends all connections: those with something waiting for their peer have until `deadline`.
    pub async fn close_all(&self, deadline: Instant) {
        let inner = &self.inner;
        self.stop_accepting();
        inner.udp_stopped.store(true, Ordering::Relaxed);
        inner.table.for_each(|connection| connection.close(CloseReason::Local, false));
        let wait = Duration::from_millis(10);
        while inner.table.len() > 0 && Instant::now() + wait < deadline {
            tokio::time::sleep(wait).await;
        }
        inner.table.for_each(|connection| connection.close(CloseReason::Local, true));
        if let Some(task) = inner.sweeping.lock().take() {
            task.abort();
        }
        let threads: Vec<_> = inner.receiving.lock().drain(..).collect();
        let _ = tokio::task::spawn_blocking(|| threads.into_iter().for_each(|t| drop(t.join()))).await;
    }
}

impl Listener {
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.config.proxies.iter().any(|p| p.contains(peer))
    }
}

impl Inner {
    /// The user of this layer. Nothing receives before `run` set it.
    pub(crate) fn events(&self) -> &dyn Events {
        &**self.events.get().expect("sockets are read only after run")
    }

    pub(crate) fn has_started(&self) -> bool {
        self.events.get().is_some()
    }

    /// The clock of time limits: seconds since the start.
    pub(crate) fn seconds(&self) -> u32 {
        self.started.elapsed().as_secs() as u32
    }

    /// Whether there are as many connections, open or not yet, as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.table.len() as u64 + self.counters.handshakes_now.get() >= self.limits.connections as u64
    }

    pub(crate) fn may_send_to(&self, address: IpAddr) -> bool {
        self.next_hops.as_ref().is_none_or(|networks| networks.iter().any(|n| n.contains(address)))
    }

    pub(crate) fn failed(&self, tag: u64, error: SendError) {
        if tag != Outbox::UNTAGGED
            && let Some(events) = self.events.get()
        {
            events.send_failed(tag, error);
        }
    }

    /// Accounts for a connection that was open.
    pub(crate) fn ended(&self, connection: &Connection) {
        self.counters.transport(connection.flow.transport).connections_now.sub(1);
        if !connection.outbound {
            self.leave(connection.flow.remote);
        }
    }

    pub(crate) fn leave(&self, remote: SocketAddr) {
        if self.limits.connections_per_address > 0 {
            self.table.leave(remote.ip());
        }
    }

    /// The listener that a connection to `target` is counted to. That of a raw one gives it no address, so any does.
    pub(crate) fn listener_to_connect(&self, target: &Target) -> Option<u16> {
        let raw = || (0u16..).zip(&self.listeners).find(|(_, l)| l.config.raw).map(|(index, _)| index);
        self.listener_for(target).or_else(raw)
    }

    pub(crate) fn listener_for(&self, target: &Target) -> Option<u16> {
        if let Some(index) = target.listener {
            let listener = self.listeners.get(usize::from(index))?;
            return (listener.config.transport == target.transport).then_some(index);
        }
        let (ip, mut found) = (target.addr.ip(), None);
        for (index, listener) in (0u16..).zip(&self.listeners) {
            let Some(local) = listener.local.get().map(SocketAddr::ip) else { continue };
            if listener.config.transport != target.transport || local.is_ipv4() != ip.is_ipv4() {
                continue;
            }
            // A socket of the loopback interface cannot send elsewhere.
            if local.is_unspecified() || local.is_loopback() == ip.is_loopback() {
                return Some(index);
            }
            if !local.is_loopback() {
                found.get_or_insert(index);
            }
        }
        found
    }

    pub(crate) fn flush(self: &Arc<Self>, out: &mut Outbox) {
        self.flush_with(out, None);
    }

    /// Flushes what a message from `near` gave rise to; most often the answer goes back the same way.
    pub(crate) fn flush_near(self: &Arc<Self>, out: &mut Outbox, near: &Connection) {
        self.flush_with(out, Some(near));
    }

    fn flush_with(self: &Arc<Self>, out: &mut Outbox, near: Option<&Connection>) {
        if out.items.is_empty() {
            return;
        }
        if out.items.len() == 1 {
            // The usual case needs no sorting.
            if let Some(item) = out.items.pop() {
                self.deliver(item.to, Batch::from_iter([(item.bytes, item.tag)]), near);
            }
            return;
        }
        let mut items = out.take_in_order(near.map(|near| near.flow.connection)).peekable();
        while let Some(Item { to, bytes, tag }) = items.next() {
            let mut batch = Batch::from_iter([(bytes, tag)]);
            while let Some(next) = items.next_if(|next| next.to.joins(&to)) {
                batch.push((next.bytes, next.tag));
            }
            self.deliver(to, batch, near);
        }
    }

    fn deliver(self: &Arc<Self>, to: Destination, batch: Batch, near: Option<&Connection>) {
        let tags: smallvec::SmallVec<[u64; 2]> = batch.iter().map(|(_, tag)| *tag).collect();
        let result = match to {
            Destination::Flow(flow) if flow.connection == 0 => return self.deliver_udp(&flow, &batch),
            Destination::Target(target) if !self.may_send_to(target.addr.ip()) => {
                self.counters.forbidden.one();
                Err(SendError::Forbidden)
            }
            Destination::Target(target) if target.transport == Transport::Udp => match self.listener_for(&target) {
                Some(listener) => {
                    let flow = Flow { transport: Transport::Udp, listener, connection: 0, remote: target.addr };
                    return self.deliver_udp(&flow, &batch);
                }
                None => Err(SendError::Unsupported),
            },
            Destination::Flow(flow) => match near.filter(|near| near.flow.connection == flow.connection) {
                Some(connection) => connection.send(batch),
                None => self.table.get(flow.connection).ok_or(SendError::Gone).and_then(|c| c.send(batch)),
            },
            Destination::Target(target) => connect::send(self, &target, batch),
        };
        if let Err(error) = result {
            tags.into_iter().for_each(|tag| self.failed(tag, error));
        }
    }

    fn deliver_udp(&self, flow: &Flow, batch: &Batch) {
        for (bytes, tag) in batch {
            if let Err(error) = udp::send(self, flow, bytes) {
                self.failed(*tag, error);
            }
        }
    }
}

impl Destination {
    fn joins(&self, other: &Destination) -> bool {
        match (self, other) {
            (Destination::Flow(a), Destination::Flow(b)) => a.connection == b.connection && a.connection != 0,
            (Destination::Target(a), Destination::Target(b)) => a.transport != Transport::Udp && a == b,
            _ => false,
        }
    }
}

/// The address under which others may reach a socket bound to `bound`.
fn reachable(bound: IpAddr) -> IpAddr {
    if !bound.is_unspecified() {
        return bound;
    }
    // Connecting a UDP socket sends nothing but tells the source address the system would use.
    let (any, far): (IpAddr, IpAddr) = match bound {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    };
    let probe = UdpSocket::bind((any, 0)).and_then(|s| s.connect((far, 9)).and_then(|()| s.local_addr()));
    match (probe, bound) {
        (Ok(address), _) => address.ip(),
        (Err(_), IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
        (Err(_), IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Applies the time limits to all connections, a few times within the shortest of them. One look at a connection
/// costs less than a timer for each would in memory.
async fn sweep(net: Arc<Inner>) {
    let limits = &net.limits;
    let shortest = limits.idle.min(limits.message_timeout).min(limits.stall).min(limits.websocket_ping);
    let period = (shortest / 4).clamp(Duration::from_millis(250), Duration::from_secs(10));
    loop {
        tokio::time::sleep(period).await;
        let now = net.seconds();
        net.table.for_each(|connection| connection.check(now));
    }
}
