//! Messages on their way out, collected while events are handled.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ahash::RandomState;
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

    /// Takes the messages out, those of one connection together and in their order. What goes to `near`, the connection
    /// that brought it all about, comes first, and the others by the first message of each: the answer to a request
    /// that leaves here must not overtake what was put in before it, as a 486 would the 100.
    pub(crate) fn take_in_order(&mut self, near: Option<u64>) -> impl Iterator<Item = Item> + use<> {
        let mut first = HashMap::<u64, usize, RandomState>::default();
        let mut ranked: SmallVec<[(usize, Item); 2]> = SmallVec::with_capacity(self.items.len());
        for (at, item) in (1..).zip(self.items.drain(..)) {
            let rank = match item.to.connection() {
                0 => at,
                connection if near == Some(connection) => 0,
                connection => *first.entry(connection).or_insert(at),
            };
            ranked.push((rank, item));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, item)| item)
    }

    /// Drops what has not been flushed.
    pub fn clear(&mut self) {
        self.items.clear();
    }
}

impl Destination {
    /// 0 for what goes in a datagram or to an address.
    fn connection(&self) -> u64 {
        match self {
            Destination::Flow(flow) => flow.connection,
            Destination::Target(_) => 0,
        }
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
    fn nothing_overtakes_what_was_put_in_before() {
        for (name, near, put, expected) in [
            ("100 over TCP before INVITE over UDP", None, "7a 0b", "7a 0b"),
            ("100 to a later connection before INVITE to an earlier one", Some(7), "7a 3b", "7a 3b"),
            ("two requests in one read", Some(7), "7a 3b 7c 3d 0e", "7a 7c 3b 3d 0e"),
            ("from a task", None, "0a 9b 0c 3d 9e 0f", "0a 9b 9e 0c 3d 0f"),
        ] {
            let mut out = Outbox::new();
            for message in put.split(' ') {
                let connection = u64::from(message.as_bytes()[0] - b'0');
                let remote = "192.0.2.1:5060".parse().unwrap();
                let flow = Flow { transport: Transport::Tcp, listener: 0, connection, remote };
                out.send(flow, Bytes::from(message.to_owned()), Outbox::UNTAGGED);
            }
            let taken: Vec<_> = out.take_in_order(near).map(|item| item.bytes).collect();
            assert_eq!(taken.join(&b' '), expected.as_bytes(), "{name}");
            assert!(out.is_empty());
        }
    }

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
