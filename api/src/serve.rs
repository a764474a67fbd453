//! Accepts HTTP connections within bounds and serves a router on them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use chappe_net::HttpIo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt;

/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Wait after an accept that failed for want of a resource.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Bounds on what peers can make us hold, and for how long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Head of a request, in bytes; at least 8192.
    pub head: usize,
    /// For the head of a request, and for the next request on a kept connection.
    pub head_timeout: Duration,
    /// Of all listeners.
    pub connections: usize,
    /// From one address.
    pub connections_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head: 16 * 1024,
            head_timeout: Duration::from_secs(15),
            connections: 100_000,
            connections_per_peer: 1000,
        }
    }
}

/// Whose request it is; an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub remote: SocketAddr,
    pub local: SocketAddr,
    /// Over TLS.
    pub secure: bool,
    /// Index of the listener, in the order in which they were given.
    pub listener: usize,
}

/// What stands between a socket and HTTP.
#[async_trait]
pub trait Door: Send + Sync + 'static {
    /// Makes an accepted connection ready: admission, PROXY header, TLS, each within its time. Gives the stream and the
    /// peer's address; `None` closes it.
    async fn prepare(&self, listener: usize, tcp: TcpStream, peer: SocketAddr) -> Option<(HttpIo, SocketAddr)>;
}

/// Nothing between: plain HTTP for everybody.
pub struct OpenDoor;

#[async_trait]
impl Door for OpenDoor {
    async fn prepare(&self, _listener: usize, tcp: TcpStream, peer: SocketAddr) -> Option<(HttpIo, SocketAddr)> {
        Some((HttpIo::Plain(tcp), peer))
    }
}

/// Listeners that run until [`Server::stop`].
pub struct Server {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
}

struct Shared {
    router: Router,
    limits: Limits,
    door: Arc<dyn Door>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// Counts a connection as long as it lives.
struct Seat {
    shared: Arc<Shared>,
    peer: Option<IpAddr>,
}

impl Seat {
    fn take(shared: &Arc<Shared>) -> Option<Seat> {
        let mut open = shared.open.lock();
        if open.all >= shared.limits.connections {
            return None;
        }
        open.all += 1;
        Some(Seat { shared: shared.clone(), peer: None })
    }

    /// Counts it for its peer too, which behind a load balancer is known late; false if that is one too many.
    fn occupy(&mut self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let mut open = self.shared.open.lock();
        let count = open.by_peer.entry(peer).or_default();
        if *count >= self.shared.limits.connections_per_peer {
            return false;
        }
        *count += 1;
        self.peer = Some(peer);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock();
        open.all -= 1;
        if let Some(peer) = self.peer
            && let Some(count) = open.by_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                open.by_peer.remove(&peer);
            }
        }
    }
}

impl Server {
    /// Begins to accept on every one of `listeners`; inside a tokio runtime.
    pub fn start(listeners: Vec<TcpListener>, router: Router, limits: Limits, door: Arc<dyn Door>) -> Server {
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared { router, limits, door, open: Mutex::default() });
        let mut tasks = JoinSet::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            tasks.spawn(accept(listener, index, shared.clone(), stopping.clone()));
        }
        Server { stop, tasks, shared }
    }

    /// Connections that speak HTTP now; one that became a WebSocket is not counted any more.
    pub fn connections(&self) -> usize {
        self.shared.open.lock().all
    }

    /// Accepts no more, lets requests under way finish within `wait`, then drops what is left.
    pub async fn stop(mut self, wait: Duration) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(wait, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

async fn accept(listener: TcpListener, index: usize, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, remote)) => {
                let Some(seat) = Seat::take(&shared) else { continue };
                connections.spawn(serve(stream, remote, index, seat, stopping.clone()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: the connection stays in the kernel's queue, so do not spin on it.
                tracing::warn!(%error, "cannot accept HTTP connections");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    listener: usize,
    mut seat: Seat,
    mut stopping: watch::Receiver<bool>,
) {
    let Ok(local) = stream.local_addr() else { return };
    // Without this a short answer may wait for the peer's delayed ACK.
    let _ = stream.set_nodelay(true);
    let door = seat.shared.door.clone();
    let Some((io, remote)) = door.prepare(listener, stream, remote).await else { return };
    if !seat.occupy(remote.ip()) {
        return;
    }
    let peer = Peer { remote, local, secure: matches!(io, HttpIo::Tls(_)), listener };
    let limits = &seat.shared.limits;
    let router = seat.shared.router.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head.max(8192))
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let finished = tokio::select! {
        outcome = connection.as_mut() => Some(outcome),
        _ = stopping.wait_for(|stop| *stop) => None,
    };
    let outcome = match finished {
        Some(outcome) => outcome,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "HTTP connection ended");
    }
}

#[cfg(test)]
mod tests;
