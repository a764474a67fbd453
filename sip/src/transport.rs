//! Transports and flows (RFC 3261 §18, RFC 5626 §3.2, RFC 7118).

use std::fmt;
use std::net::SocketAddr;

/// A transport as it is named in a Via (RFC 3261 §20.42, RFC 7118 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Transport {
    pub const ALL: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

    /// The token of the Via header: `UDP`, `TCP`, `TLS`, `WS`, `WSS`.
    pub fn via(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The value of the `transport` URI parameter. Secure variants share the value of what they run over or, for
    /// TLS, use the deprecated but ubiquitous `tls`.
    pub fn param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws | Transport::Wss => "ws",
        }
    }

    /// Reads a Via token or a `transport` parameter, in any case.
    pub fn parse(token: &[u8]) -> Option<Transport> {
        Transport::ALL.into_iter().find(|t| t.via().as_bytes().eq_ignore_ascii_case(token))
    }

    /// Whether the transport delivers in order and without loss, so that no timer retransmits.
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    pub fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// The port meant where a URI or a Via gives none (RFC 3261 §19.1.2, RFC 7118 §5).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.via())
    }
}

/// Where a packet came from and where its answer goes: for UDP the pair of listening socket and remote address,
/// otherwise one connection (RFC 5626 §3.2). Small and copied freely; it says nothing of whether it still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    pub transport: Transport,
    /// Index of the listener (as configured) that received it; for a connection we opened, the listener whose
    /// address is put into Via for it.
    pub listener: u16,
    /// Number of the connection, never used again while the process lives; 0 for UDP.
    pub connection: u64,
    pub remote: SocketAddr,
}

impl Flow {
    pub fn is_connection(&self) -> bool {
        self.connection != 0
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.param(), self.remote)?;
        if self.connection != 0 { write!(f, "#{}", self.connection) } else { Ok(()) }
    }
}
