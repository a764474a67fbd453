//! Accepting connections.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chappe_sip::{Flow, Transport};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Limits;
use crate::connection::{Connection, Pump, Rare};
use crate::events::ConnectionInfo;
use crate::net::Inner;
use crate::proxy_protocol;
use crate::wire::Wire;

/// Connections the system holds for us until they are accepted; a burst of phones after an outage is larger than the
/// usual 128.
const ACCEPT_QUEUE: i32 = 4096;

pub(crate) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

pub(crate) async fn accept(net: Arc<Inner>, index: u16, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((tcp, remote)) => accepted(&net, index, tcp, remote),
            Err(error) => {
                net.counters.accept_errors.one();
                tracing::warn!(%error, listener = index, "cannot accept a connection");
                // Out of descriptors: some close by and by, and the waiting peers stay in the system's queue.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn accepted(net: &Arc<Inner>, index: u16, tcp: TcpStream, remote: SocketAddr) {
    let listener = &net.listeners[usize::from(index)];
    if net.is_full() {
        net.counters.over_limit.one();
        return;
    }
    tune(&tcp, &net.limits);
    let proxied = listener.is_proxy(remote.ip());
    if proxied || listener.config.transport == Transport::Tls {
        net.runtime.spawn(prepare(net.clone(), index, tcp, remote));
    } else if let Some(ticket) = admit(net, Transport::Tcp, remote) {
        let info = ConnectionInfo { local: tcp.local_addr().ok(), ..ConnectionInfo::default() };
        open(net, index, Transport::Tcp, remote, Wire::plain(tcp), None, info, ticket);
    }
}

/// Does what has to be done before a connection is open: PROXY header, TLS.
async fn prepare(net: Arc<Inner>, index: u16, mut tcp: TcpStream, peer: SocketAddr) {
    let _preparing = Preparing::new(&net);
    let transport = net.listeners[usize::from(index)].config.transport;
    let Some(remote) = behind_proxy(&net, index, &mut tcp, peer).await else { return };
    let Some(ticket) = admit(&net, transport, remote) else { return };
    let mut info = ConnectionInfo { local: tcp.local_addr().ok(), ..ConnectionInfo::default() };
    info.proxy = (remote != peer).then_some(peer);
    if transport != Transport::Tls {
        open(&net, index, transport, remote, Wire::plain(tcp), None, info, ticket);
        return;
    }
    let Some(tls) = net.tls.server(net.listeners[usize::from(index)].config.client_auth) else { return };
    if let Some(stream) = handshake(&net, tls.stream.clone(), tcp).await {
        let (tcp, session) = stream.into_inner();
        info.server_name = session.server_name().map(str::to_owned);
        tls.tell(session.peer_certificates(), &mut info);
        let rare = info.peer.is_some().then(|| Box::new(Rare { peer_verified: true, ..Rare::default() }));
        let wire = Wire::tls(tcp, rustls::Connection::Server(session));
        open(&net, index, transport, remote, wire, rare, info, ticket);
    }
}

/// The address of the peer: where `peer` is one of the listener's load balancers, the one that its PROXY header tells.
pub(crate) async fn behind_proxy(
    net: &Inner,
    listener: u16,
    tcp: &mut TcpStream,
    peer: SocketAddr,
) -> Option<SocketAddr> {
    if !net.listeners.get(usize::from(listener))?.is_proxy(peer.ip()) {
        return Some(peer);
    }
    match tokio::time::timeout(net.limits.handshake_timeout, proxy_protocol::read(tcp)).await {
        Ok(Ok(told)) => Some(told.unwrap_or(peer)),
        _ => {
            net.counters.proxy_header_errors.one();
            None
        }
    }
}

/// The server's side of a TLS handshake, when its turn has come.
pub(crate) async fn handshake(net: &Inner, config: Arc<ServerConfig>, tcp: TcpStream) -> Option<TlsStream<TcpStream>> {
    let limit = net.limits.handshake_timeout;
    let fail = || {
        net.counters.handshake_failures.one();
        None
    };
    // A peer that says nothing takes no turn from the others.
    if !matches!(tokio::time::timeout(limit, tcp.readable()).await, Ok(Ok(()))) {
        return fail();
    }
    let _turn = net.handshakes.acquire().await.ok()?;
    match tokio::time::timeout(limit, TlsAcceptor::from(config).accept(tcp)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            fail()
        }
        Err(_) => fail(),
    }
}

/// Counts a connection that is not open yet.
pub(crate) struct Preparing(Arc<Inner>);

impl Preparing {
    pub(crate) fn new(net: &Arc<Inner>) -> Preparing {
        net.counters.handshakes_now.one();
        Preparing(net.clone())
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        self.0.counters.handshakes_now.sub(1);
    }
}

/// A place among the connections of its address, until the connection is open and holds it itself.
pub(crate) struct Ticket {
    net: Option<Arc<Inner>>,
    remote: SocketAddr,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(net) = &self.net {
            net.leave(self.remote);
        }
    }
}

/// Asks the user and the limit for one address.
pub(crate) fn admit(net: &Arc<Inner>, transport: Transport, remote: SocketAddr) -> Option<Ticket> {
    if !is_welcome(net, transport, remote) {
        return None;
    }
    let max = net.limits.connections_per_address;
    if max > 0 && !net.table.enter(remote.ip(), max) {
        net.counters.over_limit.one();
        return None;
    }
    Some(Ticket { net: Some(net.clone()), remote })
}

/// Asks the user.
pub(crate) fn is_welcome(net: &Inner, transport: Transport, remote: SocketAddr) -> bool {
    // The HTTP server may accept before this layer runs.
    let welcome = net.has_started() && net.events().admit(transport, remote);
    if !welcome {
        net.counters.not_admitted.one();
    }
    welcome
}

/// Takes a connection that is ready into the table and starts its task.
#[expect(clippy::too_many_arguments, reason = "each is a fact of the new connection")]
pub(crate) fn open(
    net: &Arc<Inner>,
    listener: u16,
    transport: Transport,
    remote: SocketAddr,
    wire: Wire,
    rare: Option<Box<Rare>>,
    info: ConnectionInfo,
    mut ticket: Ticket,
) -> Flow {
    let connection = net.next_connection.fetch_add(1, Ordering::Relaxed);
    let flow = Flow { transport, listener, connection, remote };
    let connection = Connection::new(net.clone(), flow, rare, false);
    connection.attach(wire);
    net.table.insert(&connection);
    ticket.net = None;
    start(net, connection, &info);
    flow
}

/// Tells the user of a connection that has its socket, and starts its task.
pub(crate) fn start(net: &Arc<Inner>, connection: Arc<Connection>, info: &ConnectionInfo) {
    let count = net.counters.transport(connection.flow.transport);
    count.connections.one();
    count.connections_now.one();
    net.events().opened(&connection.flow, info);
    net.runtime.spawn(Pump::new(connection));
}

/// Options of every stream. A system that has not one of them still serves.
pub(crate) fn tune(tcp: &TcpStream, limits: &Limits) {
    let _ = tcp.set_nodelay(true);
    // What a peer does not acknowledge for so long shows that it is gone.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(tcp).set_tcp_user_timeout(Some(limits.stall));
    #[cfg(target_os = "linux")]
    if limits.unsent > 0 {
        let _ = SockRef::from(tcp).set_tcp_notsent_lowat(u32::try_from(limits.unsent).unwrap_or(u32::MAX));
    }
    if limits.send_buffer > 0 {
        let _ = SockRef::from(tcp).set_send_buffer_size(limits.send_buffer);
    }
    let keepalive = limits.tcp_keepalive;
    if !keepalive.is_zero() {
        let probes = TcpKeepalive::new().with_time(keepalive).with_interval(keepalive / 4);
        let _ = SockRef::from(tcp).set_tcp_keepalive(&probes);
    }
}
