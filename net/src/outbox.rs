//! Messages on their way out, collected while events are handled.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use chappe_sip::{Flow, Transport};
use smallvec::SmallVec;

/// What one call (or one batch) of events wants sent. Messages for one connection keep their order and leave in one
/// system call.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(crate) items: SmallVec<[Item; 2]>,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) to: Destination,
    pub(crate) bytes: Bytes,
    pub(crate) tag: u64,
}

#[derive(Debug)]
pub(crate) enum Destination {
    Flow(Flow),
    Target(Target),
}

impl Outbox {
    /// Tag of a message whose failure is not told.
    pub const UNTAGGED: u64 = 0;

    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Sends `bytes` on a flow: an answer, or a request to the registered end of a flow. `tag` comes back in
    /// [`crate::Events::send_failed`].
    pub fn send(&mut self, flow: Flow, bytes: Bytes, tag: u64) {
        self.items.push(Item { to: Destination::Flow(flow), bytes, tag });
    }

    /// Sends `bytes` to an address, on an open connection to it or a new one.
    pub fn to(&mut self, target: Target, bytes: Bytes, tag: u64) {
        self.items.push(Item { to: Destination::Target(target), bytes, tag });
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Drops what has not been flushed.
    pub fn clear(&mut self) {
        self.items.clear();
    }
}

/// An address to reach, as RFC 3263 gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `Udp`, `Tcp` or `Tls`; a server cannot open a WebSocket to a client.
    pub transport: Transport,
    pub addr: SocketAddr,
    /// Domain that a TLS peer's certificate must be for (RFC 5922 §7.2), sent as SNI. `None`: the address itself, and
    /// an open connection to or from it may be used.
    pub server_name: Option<Arc<str>>,
    /// Listener to send from (UDP) or to be named in Via; `None`: the first that fits.
    pub listener: Option<u16>,
}

impl Target {
    pub fn new(transport: Transport, addr: SocketAddr) -> Target {
        Target { transport, addr, server_name: None, listener: None }
    }

    /// Whether a request of `length` bytes may not go to this target by UDP but has to try TCP, with its Via changed,
    /// and come back to UDP only if the TCP connection is refused (RFC 3261 §18.1.1; the path MTU is not known).
    pub fn needs_tcp(&self, length: usize) -> bool {
        self.transport == Transport::Udp && length > UDP_REQUEST
    }
}

/// The largest request for a path whose MTU is not known (RFC 3261 §18.1.1).
const UDP_REQUEST: usize = 1300;

/// Why a message did not get out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The flow's connection has ended, or its listener does not exist.
    #[error("the connection is closed")]
    Gone,
    /// The address is not in `next_hops`.
    #[error("not an allowed next hop")]
    Forbidden,
    /// More bytes than the transport carries in one message.
    #[error("too large for the transport")]
    TooLarge,
    /// The peer does not read, and enough is waiting for it.
    #[error("too much is waiting for the peer")]
    Backlog,
    #[error("could not connect: {0}")]
    Connect(std::io::ErrorKind),
    #[error("no connection in time")]
    Timeout,
    /// The peer's certificate or protocol version is not acceptable, or there is no TLS configuration.
    #[error("TLS handshake failed")]
    Tls,
    /// No listener of that transport and address family, or a transport that cannot be opened.
    #[error("no socket for that transport")]
    Unsupported,
    #[error("could not send: {0}")]
    Io(std::io::ErrorKind),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_requests_leave_udp() {
        let addr = "192.0.2.1:5060".parse().unwrap();
        for (transport, length, expected) in
            [(Transport::Udp, 1300, false), (Transport::Udp, 1301, true), (Transport::Tcp, 9000, false)]
        {
            assert_eq!(Target::new(transport, addr).needs_tcp(length), expected);
        }
    }
}
