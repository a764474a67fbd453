//! The sockets and tasks that carry calls: one port for all browsers, a pair of ports for each section of a phone.
//!
//! A datagram of the shared port belongs to a call by its source, once a check has come from there, before that by the
//! ufrag of the check (RFC 8445 §7.3). It is handled on the task that read it, under the lock of its call.

pub mod turn;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use ahash::AHashMap;
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::bridge::{Bridge, Counters, Path, SectionReport, Side};
use crate::dtls::Crypto;
use crate::negotiate::{Call, Dialect, Locals, Refusal};
use crate::stun;

/// Longest datagram that is read.
const DATAGRAM: usize = 2048;
/// Addresses of browsers that are known at once, for each call that may be.
const ADDRESSES: usize = 8;
/// Attempts to find a free pair of ports.
const ATTEMPTS: usize = 64;

/// How the gateway is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The port of all browsers.
    pub listen: SocketAddr,
    /// What descriptions name; by default the address of `listen`, or where that is any, the one that leads to the peer.
    pub advertised: Option<IpAddr>,
    /// First and last port for phones; 0 and 0 lets the system choose.
    pub ports: (u16, u16),
    /// Calls at once.
    pub calls: usize,
    /// Whether anybody may ask the shared port for the address that it sees (RFC 8489).
    pub stun: bool,
}

/// Why a call cannot be carried.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("as many calls as there may be")]
    Full,
    #[error("no ports are free: {0}")]
    Ports(io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl MediaError {
    /// The answer to the request that had the description.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            MediaError::Full | MediaError::Ports(_) => 503,
            MediaError::Refused(refusal) => refusal.status(),
        }
    }
}

/// What the gateway has done since its start.
#[derive(Debug, Default)]
pub struct Totals {
    pub calls: AtomicU64,
    pub refused: AtomicU64,
    /// Calls that ended since a browser was silent.
    pub expired: AtomicU64,
    pub packets_in: AtomicU64,
    pub packets_out: AtomicU64,
    pub bad: AtomicU64,
    pub dropped: AtomicU64,
    /// Datagrams of the shared port that belong to no call.
    pub strangers: AtomicU64,
    /// Questions that were answered with the address they came from.
    pub stun: AtomicU64,
}

/// The media of all calls.
pub struct Gateway {
    settings: Settings,
    crypto: Crypto,
    shared: Arc<UdpSocket>,
    local: SocketAddr,
    table: Mutex<Table>,
    next_port: AtomicUsize,
    totals: Arc<Totals>,
    /// Of the task that reads the shared port.
    reader: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Table {
    calls: AHashMap<u64, Arc<Carried>>,
    ufrags: AHashMap<String, (u64, Side)>,
    addresses: AHashMap<SocketAddr, (u64, Side)>,
    next: u64,
}

/// A call that is carried; ended with [`Carried::close`] or when it is dropped by all but the gateway.
pub struct Carried {
    id: u64,
    call: Mutex<Call>,
    pairs: Mutex<Vec<Pair>>,
    shared: Arc<UdpSocket>,
    wake: Notify,
    closed: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
    since: SystemTime,
    gateway: Weak<Gateway>,
    seen: [Option<IpAddr>; 2],
    label: Label,
}

/// By what an operator knows a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label {
    pub call_id: Box<str>,
    pub caller: Box<str>,
    pub callee: Box<str>,
}

#[derive(Clone)]
struct Pair {
    rtp: Arc<UdpSocket>,
    rtcp: Arc<UdpSocket>,
    port: u16,
}

/// A call as an operator sees it.
#[derive(Debug, Clone)]
pub struct CallReport {
    pub id: u64,
    pub label: Label,
    pub since: SystemTime,
    pub dialects: [Dialect; 2],
    pub sections: Vec<SectionReport>,
    /// Whether packets can go to each side.
    pub ready: [bool; 2],
    pub transcoded: bool,
    pub counters: [Counters; 2],
    pub ports: usize,
}

impl Gateway {
    /// Opens the shared port and begins to read it; on a runtime of tokio.
    ///
    /// # Errors
    /// Where the port cannot be opened, or there is no randomness.
    pub fn open(settings: Settings) -> io::Result<Arc<Gateway>> {
        let socket = std::net::UdpSocket::bind(settings.listen)?;
        socket.set_nonblocking(true)?;
        let shared = Arc::new(UdpSocket::from_std(socket)?);
        let local = shared.local_addr()?;
        let crypto = Crypto::new().map_err(|error| io::Error::other(error.to_string()))?;
        let gateway = Arc::new(Gateway {
            settings,
            crypto,
            shared: Arc::clone(&shared),
            local,
            table: Mutex::default(),
            next_port: AtomicUsize::new(0),
            totals: Arc::default(),
            reader: Mutex::new(None),
        });
        let reader = tokio::spawn(read_shared(Arc::downgrade(&gateway), shared));
        *gateway.reader.lock() = Some(reader.abort_handle());
        Ok(gateway)
    }

    /// The port of all browsers.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Calls that are carried now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().calls.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins to carry a call between two dialects; `seen` is where the signalling of each side comes from.
    ///
    /// # Errors
    /// [`MediaError::Full`].
    pub fn begin(
        self: &Arc<Self>,
        dialects: [Dialect; 2],
        seen: [Option<IpAddr>; 2],
        label: Label,
    ) -> Result<Arc<Carried>, MediaError> {
        let random = SystemRandom::new();
        let fill = Box::new(move |bytes: &mut [u8]| {
            // The system's randomness does not fail once it has begun.
            let _ = random.fill(bytes);
        });
        let mut table = self.table.lock();
        if table.calls.len() >= self.settings.calls {
            self.totals.refused.fetch_add(1, Ordering::Relaxed);
            return Err(MediaError::Full);
        }
        table.next += 1;
        let carried = Arc::new(Carried {
            id: table.next,
            call: Mutex::new(Call::new(self.crypto.clone(), dialects, seen, fill)),
            pairs: Mutex::default(),
            shared: Arc::clone(&self.shared),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
            tasks: Mutex::default(),
            since: wall_clock(),
            gateway: Arc::downgrade(self),
            seen,
            label,
        });
        table.calls.insert(carried.id, Arc::clone(&carried));
        drop(table);
        self.totals.calls.fetch_add(1, Ordering::Relaxed);
        let clock = tokio::spawn(run_clock(Arc::downgrade(&carried)));
        carried.tasks.lock().push(clock.abort_handle());
        Ok(carried)
    }

    /// All calls that are carried.
    #[must_use]
    pub fn list(&self) -> Vec<CallReport> {
        let calls: Vec<Arc<Carried>> = self.table.lock().calls.values().cloned().collect();
        let mut reports: Vec<CallReport> = calls.iter().map(|carried| carried.report()).collect();
        reports.sort_by_key(|report| report.id);
        reports
    }

    /// Ends all calls.
    pub fn stop(&self) {
        let calls: Vec<Arc<Carried>> = self.table.lock().calls.values().cloned().collect();
        for carried in calls {
            carried.close();
        }
        if let Some(reader) = self.reader.lock().take() {
            reader.abort();
        }
    }

    /// Our address as a peer reaches it.
    fn address(&self, peer: Option<IpAddr>) -> IpAddr {
        if let Some(advertised) = self.settings.advertised {
            return advertised;
        }
        if !self.local.ip().is_unspecified() {
            return self.local.ip();
        }
        peer.and_then(way_to).unwrap_or(IpAddr::from([127, 0, 0, 1]))
    }

    /// A port of the range, or one that the system chooses.
    fn bind_one(&self) -> io::Result<UdpSocket> {
        let ip = self.local.ip();
        let (first, last) = self.settings.ports;
        let mut latest = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..ATTEMPTS {
            let turn = self.next_port.fetch_add(1, Ordering::Relaxed) % (usize::from(last.saturating_sub(first)) + 1);
            let port = if first == 0 { 0 } else { first + turn as u16 };
            let opened = std::net::UdpSocket::bind((ip, port)).and_then(|socket| {
                socket.set_nonblocking(true)?;
                UdpSocket::from_std(socket)
            });
            match opened {
                Ok(socket) => return Ok(socket),
                Err(error) => latest = error,
            }
        }
        Err(latest)
    }

    fn bind_pair(&self) -> io::Result<Pair> {
        let ip = self.local.ip();
        let (first, last) = self.settings.ports;
        let bind = |port| {
            let socket = std::net::UdpSocket::bind((ip, port))?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        let mut latest = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..ATTEMPTS {
            let pair = if first == 0 {
                let one = bind(0)?;
                let port = one.local_addr()?.port();
                bind(port ^ 1).map(|other| if port & 1 == 0 { (one, other) } else { (other, one) })
            } else {
                let count = (usize::from(last) + 1).saturating_sub(usize::from(first.next_multiple_of(2))) / 2;
                let turn = self.next_port.fetch_add(1, Ordering::Relaxed) % count.max(1);
                let port = first.next_multiple_of(2) + 2 * turn as u16;
                bind(port).and_then(|one| Ok((one, bind(port + 1)?)))
            };
            match pair {
                Ok((rtp, rtcp)) => {
                    let port = rtp.local_addr()?.port();
                    let (rtp, rtcp) = (UdpSocket::from_std(rtp)?, UdpSocket::from_std(rtcp)?);
                    return Ok(Pair { rtp: Arc::new(rtp), rtcp: Arc::new(rtcp), port });
                }
                Err(error) => latest = error,
            }
        }
        Err(latest)
    }

    /// A datagram of the shared port.
    fn shared_packet(&self, from: SocketAddr, datagram: &[u8]) {
        let known = {
            let table = self.table.lock();
            let by_ufrag = || {
                let request = stun::is_stun(datagram).then(|| stun::Request::parse(datagram).ok()).flatten()?;
                table.ufrags.get(request.local_ufrag()?).copied()
            };
            // A check says itself whose it is: an address may have passed to another call.
            let place = by_ufrag().or_else(|| table.addresses.get(&from).copied());
            place.and_then(|(id, side)| Some((table.calls.get(&id)?.clone(), side)))
        };
        if let Some((carried, side)) = known {
            return carried.handle(side, Path::Shared, from, datagram);
        }
        if self.settings.stun
            && let Ok(request) = stun::Request::parse(datagram)
            && request.is_plain()
        {
            self.totals.stun.fetch_add(1, Ordering::Relaxed);
            let _ = self.shared.try_send_to(&request.success(from, None), from);
            return;
        }
        self.totals.strangers.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, id: u64, bridge: &Bridge) {
        let mut table = self.table.lock();
        table.calls.remove(&id);
        table.ufrags.retain(|_, (call, _)| *call != id);
        table.addresses.retain(|_, (call, _)| *call != id);
        let totals = &self.totals;
        for side in [Side::Caller, Side::Callee] {
            let Counters { packets_in, packets_out, bad, dropped, .. } = bridge.counters(side);
            for (total, count) in [
                (&totals.packets_in, packets_in),
                (&totals.packets_out, packets_out),
                (&totals.bad, bad),
                (&totals.dropped, dropped),
            ] {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Counters of all calls, those that are over and those that are carried now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let load = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let totals = &self.totals;
        let mut sum = Counters {
            packets_in: load(&totals.packets_in),
            packets_out: load(&totals.packets_out),
            bad: load(&totals.bad),
            dropped: load(&totals.dropped),
            ..Counters::default()
        };
        for counters in self.list().iter().flat_map(|report| report.counters) {
            sum.packets_in += counters.packets_in;
            sum.packets_out += counters.packets_out;
            sum.bad += counters.bad;
            sum.dropped += counters.dropped;
        }
        sum
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.lock().take() {
            reader.abort();
        }
    }
}

impl Carried {
    /// The offer of one side in the words of the other; opens the ports it needs.
    ///
    /// # Errors
    /// No ports, or a description that cannot be bridged.
    pub fn offer(self: &Arc<Self>, from: Side, sdp: &[u8]) -> Result<Vec<u8>, MediaError> {
        let locals = self.locals(from.other(), sdp)?;
        let mut call = self.call.lock();
        let offer = call.offer(from, sdp, &locals)?;
        self.register(&call);
        Ok(offer)
    }

    /// The answer of one side in the words of the other.
    ///
    /// # Errors
    /// No ports, or no answer to the latest offer.
    pub fn answer(self: &Arc<Self>, from: Side, sdp: &[u8]) -> Result<Vec<u8>, MediaError> {
        let locals = self.locals(from.other(), sdp)?;
        let mut call = self.call.lock();
        let answer = call.answer(from, sdp, &locals, now())?;
        self.register(&call);
        self.flush(&mut call);
        drop(call);
        self.wake.notify_one();
        Ok(answer)
    }

    /// Whether an offer of that side waits for its answer, or had one.
    #[must_use]
    pub fn has_offer_of(&self, side: Side) -> bool {
        self.call.lock().waits_for_answer_to(side)
    }

    #[must_use]
    pub fn dialects(&self) -> [Dialect; 2] {
        self.call.lock().dialects()
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends it: its ports are free, its packets strangers.
    pub fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut call = self.call.lock();
        call.bridge_mut().close(now());
        self.flush(&mut call);
        if let Some(gateway) = self.gateway.upgrade() {
            gateway.remove(self.id, call.bridge());
        }
        drop(call);
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.pairs.lock().clear();
        self.wake.notify_one();
    }

    #[must_use]
    pub fn report(&self) -> CallReport {
        let ports = 2 * self.pairs.lock().len();
        let call = self.call.lock();
        let bridge = call.bridge();
        CallReport {
            id: self.id,
            label: self.label.clone(),
            since: self.since,
            dialects: call.dialects(),
            sections: bridge.sections(),
            ready: [bridge.is_ready(Side::Caller), bridge.is_ready(Side::Callee)],
            transcoded: bridge.is_transcoded(),
            counters: [bridge.counters(Side::Caller), bridge.counters(Side::Callee)],
            ports,
        }
    }

    /// Opens pairs of ports for the sections of a description, where one side is a phone.
    fn locals(self: &Arc<Self>, to: Side, sdp: &[u8]) -> Result<Locals, MediaError> {
        let Some(gateway) = self.gateway.upgrade() else { return Err(MediaError::Full) };
        // Before the ports are locked: whoever sends locks the call first.
        let dialects = self.dialects();
        let phone = [Side::Caller, Side::Callee].into_iter().find(|side| !dialects[side.index()].is_browser());
        let mut pairs = self.pairs.lock();
        if self.is_closed() {
            return Err(MediaError::Full);
        }
        if let Some(side) = phone {
            while pairs.len() < crate::negotiate::sections(sdp) {
                let pair = gateway.bind_pair().map_err(MediaError::Ports)?;
                let index = pairs.len();
                for (socket, path) in [(&pair.rtp, Path::Rtp(index)), (&pair.rtcp, Path::Rtcp(index))] {
                    let task = tokio::spawn(read(Arc::downgrade(self), Arc::clone(socket), side, path));
                    self.tasks.lock().push(task.abort_handle());
                }
                pairs.push(pair);
            }
        }
        let browser = dialects[to.index()].is_browser();
        let address = gateway.address(self.seen[to.index()]);
        let shared = if browser { address } else { gateway.address(self.seen[to.other().index()]) };
        Ok(Locals {
            shared: SocketAddr::new(shared, gateway.local.port()),
            phone: address,
            ports: pairs.iter().map(|pair| pair.port).collect(),
        })
    }

    fn register(&self, call: &Call) {
        let Some(gateway) = self.gateway.upgrade() else { return };
        let mut table = gateway.table.lock();
        for (side, ufrag) in call.bridge().ufrags() {
            table.ufrags.insert(ufrag.to_owned(), (self.id, side));
        }
    }

    fn handle(&self, side: Side, path: Path, from: SocketAddr, datagram: &[u8]) {
        let mut call = self.call.lock();
        call.bridge_mut().handle_packet(side, path, from, datagram, now());
        let reached = call.bridge_mut().take_reached();
        self.flush(&mut call);
        drop(call);
        if reached.is_empty() || self.is_closed() {
            return;
        }
        if let Some(gateway) = self.gateway.upgrade() {
            let mut table = gateway.table.lock();
            for (side, address) in reached {
                let fits = table.addresses.len() < ADDRESSES * gateway.settings.calls;
                if fits || table.addresses.contains_key(&address) {
                    table.addresses.insert(address, (self.id, side));
                }
            }
        }
        // A handshake may have begun.
        self.wake.notify_one();
    }

    /// Sends what there is. What a full socket does not take is lost, as on any network.
    fn flush(&self, call: &mut Call) {
        let mut out = call.bridge_mut().poll_transmit();
        if out.is_none() {
            return;
        }
        let pairs = self.pairs.lock();
        while let Some(transmit) = out {
            let socket = match transmit.path {
                Path::Shared => Some(&self.shared),
                Path::Rtp(index) => pairs.get(index).map(|pair| &pair.rtp),
                Path::Rtcp(index) => pairs.get(index).map(|pair| &pair.rtcp),
            };
            if let Some(socket) = socket {
                let _ = socket.try_send_to(&transmit.bytes, transmit.to);
            }
            out = call.bridge_mut().poll_transmit();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge of the pure core")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the edge of the pure core")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The address of this machine that leads to a peer; nothing is sent.
fn way_to(peer: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect((peer, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

async fn read_shared(gateway: Weak<Gateway>, socket: Arc<UdpSocket>) {
    let mut buffer = [0; DATAGRAM];
    loop {
        // An ICMP error of an earlier packet is nothing to end on.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.shared_packet(from, &buffer[..length]);
    }
}

async fn read(carried: Weak<Carried>, socket: Arc<UdpSocket>, side: Side, path: Path) {
    let mut buffer = [0; DATAGRAM];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(carried) = carried.upgrade() else { return };
        carried.handle(side, path, from, &buffer[..length]);
    }
}

/// Does what is due for a call, until it is over.
async fn run_clock(carried: Weak<Carried>) {
    loop {
        let due = match carried.upgrade() {
            Some(carried) if !carried.is_closed() => carried.call.lock().bridge().poll_timeout(),
            _ => return,
        };
        let Some(strong) = carried.upgrade() else { return };
        let far = now() + std::time::Duration::from_secs(60);
        tokio::select! {
            () = tokio::time::sleep_until(due.unwrap_or(far).into()) => {}
            () = strong.wake.notified() => {}
        }
        let mut call = strong.call.lock();
        call.bridge_mut().handle_timeout(now());
        strong.flush(&mut call);
        let ended = call.bridge().ended();
        drop(call);
        if ended.is_some() {
            if let Some(gateway) = strong.gateway.upgrade() {
                gateway.totals.expired.fetch_add(1, Ordering::Relaxed);
            }
            tracing::debug!(call = strong.id, "a browser gave no sign of consent any more");
            strong.close();
            return;
        }
    }
}
