//! What the transport layer is told at its start.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use chappe_sip::Transport;

use crate::frame::{FrameLimits, Framer};
use crate::network::Network;
use crate::tls::{ClientAuth, TlsConfig};

/// Listeners, bounds and policies of [`crate::Net`].
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// In the order of their index in `Flow::listener`.
    pub listeners: Vec<ListenerConfig>,
    pub limits: Limits,
    pub tls: TlsConfig,
    /// Networks that datagrams may be sent to and connections opened to; `None`: any. A connection that a peer opened
    /// is answered wherever the peer is.
    pub next_hops: Option<Vec<Network>>,
}

/// Makes the framer of a connection.
pub type MakeFramer = fn(&Limits) -> Box<dyn Framer>;

/// One listening socket.
#[derive(Clone)]
pub struct ListenerConfig {
    /// `Ws` and `Wss` listeners are sockets of the HTTP server: they only reserve an index, and their address is told
    /// later with [`crate::Net::set_address`].
    pub transport: Transport,
    /// Port 0 takes any free port.
    pub bind: SocketAddr,
    /// Name or address for Via and Record-Route, where the bound one means nothing outside.
    pub advertise: Option<HostPort>,
    /// Load balancers whose connections begin with a PROXY protocol header (version 1 or 2); without one they are
    /// closed. Peers outside these networks are taken as they are.
    pub proxies: Vec<Network>,
    /// Threads that receive on a UDP socket; 0: one for each core, at most 4.
    pub threads: usize,
    /// Makes the framer of each connection; `None`: SIP.
    pub framer: Option<MakeFramer>,
    /// Bytes are handed over as they come ([`crate::Events::data`]), and reading can be paused. No framer then.
    pub raw: bool,
    /// WebSocket sub-protocol of a `Ws` or `Wss` listener: `sip` (RFC 7118) or `msrp` (RFC 7977).
    pub subprotocol: &'static str,
    /// Whether clients of this listener show a certificate; `None`: as [`TlsConfig::client_auth`] has it.
    pub client_auth: Option<ClientAuth>,
}

impl ListenerConfig {
    pub fn new(transport: Transport, bind: SocketAddr) -> ListenerConfig {
        ListenerConfig {
            transport,
            bind,
            advertise: None,
            proxies: Vec::new(),
            threads: 0,
            framer: None,
            raw: false,
            subprotocol: "sip",
            client_auth: None,
        }
    }
}

impl fmt::Debug for ListenerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport.via().to_ascii_lowercase(), self.bind)
    }
}

/// Why text is not a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenerError {
    #[error("expected udp://, tcp://, tls://, ws:// or wss://")]
    Scheme,
    #[error("expected an IP address and port, such as 0.0.0.0:5060 or [::]:5060")]
    Address,
}

impl FromStr for ListenerConfig {
    type Err = ListenerError;

    /// Reads `udp://0.0.0.0:5060` and the like; without a port it is the transport's default.
    fn from_str(text: &str) -> Result<ListenerConfig, ListenerError> {
        let (scheme, rest) = text.split_once("://").ok_or(ListenerError::Scheme)?;
        let transport = match scheme {
            "http" => Transport::Ws,
            "https" => Transport::Wss,
            other => Transport::parse(other.as_bytes()).ok_or(ListenerError::Scheme)?,
        };
        let bind = rest.parse().or_else(|_| {
            let host = rest.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(rest);
            host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, transport.default_port()))
        });
        Ok(ListenerConfig::new(transport, bind.map_err(|_| ListenerError::Address)?))
    }
}

/// A host as it stands in a Via, with the port where it is not the listener's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    pub port: Option<u16>,
}

/// Bounds on what peers can make us hold, and for how long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Start line and headers of a message on a stream, in bytes.
    pub head: usize,
    /// Whole message, on a stream or WebSocket, in bytes.
    pub message: usize,
    /// Open connections of all listeners; more are closed at once.
    pub connections: usize,
    /// Open connections from one address; 0: no bound.
    pub connections_per_address: usize,
    /// TLS handshakes under way at a time; more wait in order of arrival.
    pub handshakes: usize,
    /// From accept to a finished handshake, waiting for a turn not counted.
    pub handshake_timeout: Duration,
    /// For a connection we open, with its handshake.
    pub connect_timeout: Duration,
    /// A connection that received nothing for so long is closed. Should be above the keep-alive interval told to
    /// clients (RFC 5626 §4.4.1: at most 120 s for streams).
    pub idle: Duration,
    /// A message that is begun and not finished within this time closes its connection.
    pub message_timeout: Duration,
    /// Bytes waiting for a peer that does not read; more, and it is closed.
    pub backlog: usize,
    /// Waiting bytes of a raw connection above which [`crate::Events::writable`] will tell when they are few again.
    pub high_mark: usize,
    /// Waiting bytes that are few; below `high_mark`.
    pub low_mark: usize,
    /// Send buffer asked of the system for each stream, in bytes; 0: as the system has it. A small one leaves less
    /// behind a slow peer, and in front of what is urgent.
    pub send_buffer: usize,
    /// Bytes of a stream that the system may hold without having sent them (`TCP_NOTSENT_LOWAT`); 0: as the system has it.
    /// What lies there is late for a peer that reads slowly, while its sender takes it for written.
    pub unsent: usize,
    /// A peer that takes none of the waiting bytes for so long is closed.
    pub stall: Duration,
    /// Silence after which a WebSocket peer is sent a ping, so that proxies between keep the connection.
    pub websocket_ping: Duration,
    /// TCP keep-alive probes begin after this silence; zero: none.
    pub tcp_keepalive: Duration,
    /// Kernel buffers asked for on UDP sockets, in bytes; the system may give less.
    pub udp_buffer: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: 64 * 1024,
            message: 256 * 1024,
            connections: 1_000_000,
            connections_per_address: 0,
            handshakes: 512,
            handshake_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(4),
            idle: Duration::from_secs(900),
            message_timeout: Duration::from_secs(30),
            backlog: 1024 * 1024,
            high_mark: 256 * 1024,
            low_mark: 64 * 1024,
            send_buffer: 0,
            unsent: 0,
            stall: Duration::from_secs(30),
            websocket_ping: Duration::from_secs(25),
            tcp_keepalive: Duration::from_secs(120),
            udp_buffer: 4 * 1024 * 1024,
        }
    }
}

impl Limits {
    pub fn frame(&self) -> FrameLimits {
        FrameLimits { head: self.head, message: self.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_urls() {
        for (text, expected) in [
            ("udp://0.0.0.0:5060", Ok("udp://0.0.0.0:5060")),
            ("tls://[::1]:0", Ok("tls://[::1]:0")),
            ("TCP://127.0.0.1", Ok("tcp://127.0.0.1:5060")),
            ("tls://[::]", Ok("tls://[::]:5061")),
            ("https://127.0.0.1:8443", Ok("wss://127.0.0.1:8443")),
            ("sctp://127.0.0.1:5060", Err(ListenerError::Scheme)),
            ("127.0.0.1:5060", Err(ListenerError::Scheme)),
            ("udp://example.com:5060", Err(ListenerError::Address)),
            ("udp://127.0.0.1:99999", Err(ListenerError::Address)),
        ] {
            let read = text.parse::<ListenerConfig>().map(|l| format!("{l:?}"));
            assert_eq!(read.as_deref().map_err(|e| *e), expected, "{text}");
        }
    }
}
