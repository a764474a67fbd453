//! Opening connections (RFC 3261 §18.1.1, RFC 5923).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_sip::{Flow, Transport};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::connection::{Batch, Connection, Rare};
use crate::events::ConnectionInfo;
use crate::listen;
use crate::net::Inner;
use crate::outbox::{SendError, Target};
use crate::tls;
use crate::wire::Wire;

/// Sends `batch` to `target` over the open connection to it, or a new one that takes the batch when it is ready.
/// The caller has seen that the address is allowed.
pub(crate) fn send(net: &Arc<Inner>, target: &Target, batch: Batch) -> Result<(), SendError> {
    if !matches!(target.transport, Transport::Tcp | Transport::Tls) {
        return Err(SendError::Unsupported);
    }
    let name = target.server_name.as_deref();
    let open = net.table.find(target.transport, target.addr, name);
    if let Some(connection) = open {
        return connection.send(batch);
    }
    let listener = net.listener_for(target).ok_or(SendError::Unsupported)?;
    let make = || {
        let connection = net.next_connection.fetch_add(1, Ordering::Relaxed);
        let flow = Flow { transport: target.transport, listener, connection, remote: target.addr };
        let rare = target.server_name.clone().map(|name| Rare { server_name: Some(name), ..Rare::default() });
        Connection::new(net.clone(), flow, rare.map(Box::new), true)
    };
    let (connection, made) = net.table.find_or_insert((target.transport, target.addr, name), make);
    let result = connection.send(batch);
    if made {
        net.runtime.spawn(connect(net.clone(), connection));
    }
    result
}

async fn connect(net: Arc<Inner>, connection: Arc<Connection>) {
    let opened = tokio::time::timeout(net.limits.connect_timeout, establish(&net, &connection)).await;
    match opened.unwrap_or(Err(SendError::Timeout)) {
        Ok((wire, info)) => {
            connection.attach(wire);
            listen::start(&net, connection, &info);
        }
        Err(error) => {
            net.counters.connect_failures.one();
            connection.finish(error);
        }
    }
}

async fn establish(net: &Inner, connection: &Connection) -> Result<(Wire, ConnectionInfo), SendError> {
    let tcp = TcpStream::connect(connection.flow.remote).await.map_err(|e| SendError::Connect(e.kind()))?;
    listen::tune(&tcp, &net.limits);
    let mut info = ConnectionInfo { outbound: true, local: tcp.local_addr().ok(), ..ConnectionInfo::default() };
    if connection.flow.transport == Transport::Tcp {
        return Ok((Wire::plain(tcp), info));
    }
    let client = net.tls.client().ok_or(SendError::Tls)?;
    let name = tls::server_name(connection.server_name(), connection.flow.remote.ip()).ok_or(SendError::Tls)?;
    let stream = TlsConnector::from(client).connect(name, tcp).await.map_err(|error| {
        tracing::debug!(%error, flow = %connection.flow, "TLS handshake failed");
        net.counters.handshake_failures.one();
        SendError::Tls
    })?;
    let (tcp, session) = stream.into_inner();
    if net.tls.verifies() {
        info.peer = session.peer_certificates().and_then(<[_]>::first).map(tls::identity);
    }
    Ok((Wire::tls(tcp, rustls::Connection::Client(session)), info))
}
