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
use crate::table::Leads;
use crate::tls::{self, Fingerprints, Proof};
use crate::wire::Wire;

/// Sends `batch` to `target` over the open connection to it, or a new one that takes the batch when it is ready.
/// The caller has seen that the address is allowed.
pub(crate) fn send(net: &Arc<Inner>, target: &Target, batch: Batch) -> Result<(), SendError> {
    let (connection, made) = find_or_make(net, target, &Proof::Domain)?;
    // First, so that a connection that fails at once fails with this in it.
    let result = connection.send(batch);
    if made {
        begin(connection);
    }
    result
}

/// The open connection to `target` whose peer has given `proof`, or one that is yet to `begin`, which `true` tells.
pub(crate) fn find_or_make(
    net: &Arc<Inner>,
    target: &Target,
    proof: &Proof,
) -> Result<(Arc<Connection>, bool), SendError> {
    if !matches!(target.transport, Transport::Tcp | Transport::Tls) {
        return Err(SendError::Unsupported);
    }
    let leads = Leads::to(target, proof);
    if let Some(connection) = net.table.find(&leads) {
        return Ok((connection, false));
    }
    let listener = net.listener_to_connect(target).ok_or(SendError::Unsupported)?;
    let make = || {
        let connection = net.next_connection.fetch_add(1, Ordering::Relaxed);
        let flow = Flow { transport: target.transport, listener, connection, remote: target.addr };
        let rare = Rare { server_name: target.server_name.clone(), proof: *leads.proof, ..Rare::default() };
        let is_rare = rare.server_name.is_some() || rare.proof != Proof::Domain;
        Connection::new(net.clone(), flow, is_rare.then(|| Box::new(rare)), true)
    };
    Ok(net.table.find_or_insert(&leads, make))
}

/// Opens a connection that was made.
pub(crate) fn begin(connection: Arc<Connection>) {
    let net = connection.net.clone();
    net.runtime.clone().spawn(connect(net, connection));
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
            net.events().connect_failed(&connection.flow, error);
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
    let client = net.tls.client(connection.proof()).ok_or(SendError::Tls)?;
    let name = tls::server_name(connection.server_name(), connection.flow.remote.ip()).ok_or(SendError::Tls)?;
    let stream = TlsConnector::from(client).connect(name, tcp).await.map_err(|error| {
        tracing::debug!(%error, flow = %connection.flow, "TLS handshake failed");
        net.counters.handshake_failures.one();
        SendError::Tls
    })?;
    let (tcp, session) = stream.into_inner();
    if let Some(own) = session.peer_certificates().and_then(<[_]>::first) {
        info.fingerprints = Some(Fingerprints::of(own));
        info.peer = net.tls.server_identity(connection.proof(), own);
    }
    Ok((Wire::tls(tcp, rustls::Connection::Client(session)), info))
}
