//! Accepting connections.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chappe_sip::{Flow, Transport};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::connection::{Connection, Pump, Rare};
use crate::events::ConnectionInfo;
use crate::net::Inner;
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
    let transport = listener.config.transport;
    if net.table.len() + net.handshaking.load(Ordering::Relaxed) >= net.limits.connections {
        net.counters.over_limit.one();
        return;
    }
    tune(&tcp, net.limits.tcp_keepalive);
    let proxied = listener.config.proxies.iter().any(|p| p.contains(remote.ip()));
    if proxied || transport != Transport::Tcp {
        return;
    }
    if let Some(ticket) = admit(net, transport, remote) {
        let local = tcp.local_addr().ok();
        let info = ConnectionInfo { local, ..ConnectionInfo::default() };
        open(net, index, transport, remote, Wire::plain(tcp), None, info, ticket);
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
    if !net.events().admit(transport, remote) {
        net.counters.not_admitted.one();
        return None;
    }
    let max = net.limits.connections_per_address;
    if max > 0 && !net.table.enter(remote.ip(), max) {
        net.counters.over_limit.one();
        return None;
    }
    Some(Ticket { net: Some(net.clone()), remote })
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

pub(crate) fn tune(tcp: &TcpStream, keepalive: Duration) {
    let _ = tcp.set_nodelay(true);
    if !keepalive.is_zero() {
        let probes = TcpKeepalive::new().with_time(keepalive).with_interval(keepalive / 4);
        let _ = SockRef::from(tcp).set_tcp_keepalive(&probes);
    }
}
