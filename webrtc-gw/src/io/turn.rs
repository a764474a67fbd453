//! The sockets and tasks of the relay for browsers ([`crate::turn`]): listeners, connections, and a port for each allocation.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{DATAGRAM, Gateway, now, wall_clock};
use crate::turn::{
    Action, Authority, Client, Counters, Family, Limits, NotOpened, Peers, Prefix, Server, Time, message,
};

/// Longest message of a stream.
const FRAME: usize = 4096;
/// Messages that wait for a slow connection; later ones are lost, as on any network.
const BACKLOG: usize = 256;
/// How long a connection may be without an allocation, or without taking what it is sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// A place to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// TCP, not UDP.
    pub stream: bool,
    pub address: SocketAddr,
}

/// How the relay is set up.
pub struct RelaySettings {
    pub listen: Vec<Listen>,
    pub realm: String,
    /// From which credentials are made.
    pub secret: Vec<u8>,
    pub limits: Limits,
    /// Networks that are not public, and may be sent to all the same.
    pub allowed: Vec<Prefix>,
    /// Connections at once.
    pub connections: usize,
}

/// What counts, of the relay and its connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct RelayReport {
    pub allocations: usize,
    pub connections: usize,
    pub counters: Counters,
}

/// The relay.
pub struct Relay {
    gateway: Arc<Gateway>,
    server: Mutex<Server>,
    /// By number of the listener; `None` for those of streams.
    sockets: Vec<Option<Arc<UdpSocket>>>,
    local: Vec<Listen>,
    ports: Mutex<AHashMap<Client, Port>>,
    streams: Mutex<AHashMap<Client, mpsc::Sender<Vec<u8>>>>,
    connections: AtomicUsize,
    most_connections: usize,
    wake: Notify,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A relayed address.
struct Port {
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Relay {
    /// Opens the listeners and begins to read them; on a runtime of tokio.
    ///
    /// # Errors
    /// Where a port cannot be opened.
    pub fn open(gateway: Arc<Gateway>, settings: RelaySettings) -> io::Result<Arc<Relay>> {
        let (mut sockets, mut streams, mut local) = (Vec::new(), Vec::new(), Vec::new());
        for (index, listen) in (0u16..).zip(&settings.listen) {
            let address = if listen.stream {
                let listener = std::net::TcpListener::bind(listen.address)?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                streams.push((index, TcpListener::from_std(listener)?));
                sockets.push(None);
                address
            } else {
                let socket = std::net::UdpSocket::bind(listen.address)?;
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                sockets.push(Some(Arc::new(UdpSocket::from_std(socket)?)));
                address
            };
            local.push(Listen { stream: listen.stream, address });
        }
        let media = gateway.local();
        let known = [gateway.settings.advertised, Some(media.ip()).filter(|ip| !ip.is_unspecified())];
        let media = known.into_iter().flatten().map(|ip| SocketAddr::new(ip, media.port())).collect();
        let peers = Peers { allowed: settings.allowed, media };
        let authority = Authority::new(&settings.realm, &settings.secret);
        let port = gateway.local().port();
        let relay = Arc::new(Relay {
            gateway,
            server: Mutex::new(Server::new(authority, peers, settings.limits, port)),
            sockets,
            local,
            ports: Mutex::default(),
            streams: Mutex::default(),
            connections: AtomicUsize::new(0),
            most_connections: settings.connections,
            wake: Notify::new(),
            tasks: Mutex::default(),
        });
        let mut tasks = vec![tokio::spawn(run_clock(Arc::downgrade(&relay))).abort_handle()];
        for (index, socket) in (0u16..).zip(&relay.sockets) {
            if let Some(socket) = socket.clone() {
                tasks.push(tokio::spawn(read_datagrams(Arc::downgrade(&relay), index, socket)).abort_handle());
            }
        }
        for (index, listener) in streams {
            tasks.push(tokio::spawn(accept(Arc::downgrade(&relay), index, listener)).abort_handle());
        }
        *relay.tasks.lock() = tasks;
        Ok(relay)
    }

    /// Where it listens, in the order of the settings.
    #[must_use]
    pub fn local(&self) -> &[Listen] {
        &self.local
    }

    /// The address that clients reach a listener at, where it is known without asking them.
    #[must_use]
    pub fn address(&self, listen: &Listen) -> Option<IpAddr> {
        let ip = listen.address.ip();
        self.gateway.settings.advertised.or((!ip.is_unspecified()).then_some(ip))
    }

    #[must_use]
    pub fn report(&self) -> RelayReport {
        let server = self.server.lock();
        let connections = self.connections.load(Ordering::Relaxed);
        RelayReport { allocations: server.len(), connections, counters: server.counters() }
    }

    /// Ends all allocations and connections.
    pub fn stop(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.streams.lock().clear();
        self.ports.lock().clear();
    }

    /// Lets the server do something, and does what follows from it.
    fn work(self: &Arc<Self>, turn: impl FnOnce(&mut Server)) {
        let mut server = self.server.lock();
        turn(&mut server);
        while let Some(action) = server.poll_action() {
            match action {
                Action::Answer { client, bytes } => self.answer(client, bytes),
                Action::Relay { client, to, bytes } => {
                    if let Some(port) = self.ports.lock().get(&client) {
                        let _ = port.socket.try_send_to(&bytes, self.inside(to));
                    }
                }
                Action::Open { client, family } => {
                    let outcome = self.open_port(client, family);
                    server.opened(client, outcome, now());
                    self.wake.notify_one();
                }
                Action::Close { client } => {
                    self.ports.lock().remove(&client);
                }
            }
        }
    }

    fn answer(&self, client: Client, bytes: Vec<u8>) {
        if client.stream {
            if let Some(stream) = self.streams.lock().get(&client) {
                let _ = stream.try_send(bytes);
            }
        } else if let Some(Some(socket)) = self.sockets.get(usize::from(client.listener)) {
            let _ = socket.try_send_to(&bytes, client.remote);
        }
    }

    fn open_port(self: &Arc<Self>, client: Client, family: Family) -> Result<SocketAddr, NotOpened> {
        let ip = self.gateway.address(Some(client.remote.ip().to_canonical()));
        if (family == Family::V4) != ip.is_ipv4() {
            return Err(NotOpened::Family);
        }
        let socket = self.gateway.bind_one().map_err(|_| NotOpened::Full)?;
        let port = socket.local_addr().map_err(|_| NotOpened::Full)?.port();
        let socket = Arc::new(socket);
        let reader = tokio::spawn(read_peers(Arc::downgrade(self), client, Arc::clone(&socket))).abort_handle();
        self.ports.lock().insert(client, Port { socket, reader });
        Ok(SocketAddr::new(ip, port))
    }

    /// What others know by an address of the network before us is reached within.
    fn inside(&self, to: SocketAddr) -> SocketAddr {
        if self.gateway.settings.advertised == Some(to.ip()) { SocketAddr::new(self.home(), to.port()) } else { to }
    }

    fn outside(&self, from: SocketAddr) -> SocketAddr {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        match self.gateway.settings.advertised {
            Some(advertised) if from.ip() == self.home() => SocketAddr::new(advertised, from.port()),
            _ => from,
        }
    }

    /// How this machine reaches its own ports.
    fn home(&self) -> IpAddr {
        match self.gateway.local().ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        }
    }
}

fn seconds() -> u64 {
    wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time() -> Time {
    Time { now: now(), wall: seconds() }
}

async fn read_datagrams(relay: Weak<Relay>, listener: u16, socket: Arc<UdpSocket>) {
    let mut buffer = [0; DATAGRAM];
    loop {
        let Ok((length, remote)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(relay) = relay.upgrade() else { return };
        let client = Client { listener, stream: false, remote };
        relay.work(|server| server.handle_packet(client, &buffer[..length], time()));
    }
}

async fn read_peers(relay: Weak<Relay>, client: Client, socket: Arc<UdpSocket>) {
    let mut buffer = [0; DATAGRAM];
    loop {
        // An ICMP error of an earlier packet is nothing to end on.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(relay) = relay.upgrade() else { return };
        let from = relay.outside(from);
        relay.work(|server| server.handle_peer(client, from, &buffer[..length], now()));
    }
}

async fn accept(relay: Weak<Relay>, listener: u16, socket: TcpListener) {
    loop {
        let Ok((stream, remote)) = socket.accept().await else {
            // No descriptors: those that are open have to go first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(relay) = relay.upgrade() else { return };
        if relay.connections.fetch_add(1, Ordering::AcqRel) >= relay.most_connections {
            relay.connections.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        tokio::spawn(connection(relay, Client { listener, stream: true, remote }, stream));
    }
}

async fn connection(relay: Arc<Relay>, client: Client, stream: TcpStream) {
    // Sound does not wait for more of it.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (sender, receiver) = mpsc::channel(BACKLOG);
    relay.streams.lock().insert(client, sender);
    // Whichever ends first ends the other.
    tokio::select! {
        () = read_stream(&relay, client, reader) => {}
        () = write_stream(receiver, writer) => {}
    }
    relay.streams.lock().remove(&client);
    relay.work(|server| server.gone(client));
    relay.connections.fetch_sub(1, Ordering::AcqRel);
}

/// Reads messages until the connection ends, says what cannot be read, or has had no allocation for too long.
async fn read_stream(relay: &Arc<Relay>, client: Client, mut reader: OwnedReadHalf) {
    let mut buffer = Vec::with_capacity(FRAME);
    loop {
        while let Ok(Some(length)) = message::framed(&buffer)
            && length <= buffer.len()
        {
            relay.work(|server| server.handle_packet(client, &buffer[..length], time()));
            buffer.drain(..length);
        }
        if !matches!(message::framed(&buffer), Ok(length) if length.unwrap_or_default() <= FRAME) {
            return;
        }
        match timeout(PATIENCE, reader.read_buf(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => {}
            Err(_) if relay.server.lock().has(client) => {}
            _ => return,
        }
    }
}

async fn write_stream(mut receiver: mpsc::Receiver<Vec<u8>>, mut writer: OwnedWriteHalf) {
    while let Some(bytes) = receiver.recv().await {
        if !matches!(timeout(PATIENCE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Ends what is due, until the relay is gone.
async fn run_clock(relay: Weak<Relay>) {
    loop {
        let Some(strong) = relay.upgrade() else { return };
        let due = strong.server.lock().poll_timeout().unwrap_or_else(|| now() + Duration::from_secs(3600));
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = strong.wake.notified() => {}
        }
        strong.work(|server| server.handle_timeout(now()));
    }
}
