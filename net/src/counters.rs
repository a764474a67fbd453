//! Counts for the metrics exporter.

use std::sync::atomic::{AtomicU64, Ordering};

use chappe_sip::Transport;

/// One count; relaxed, for nothing is decided by it.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}

/// Counts since the start; those called `…_now` go up and down.
#[derive(Debug, Default)]
pub struct Counters {
    transports: [TransportCounters; 5],
    /// Datagrams and streams that were none of SIP.
    pub junk: Count,
    /// Streams that could not be cut into messages.
    pub framing_errors: Count,
    /// Connections closed because they did not read.
    pub slow_peers: Count,
    /// Connections closed because nothing came, or a message was never finished.
    pub idle_closed: Count,
    /// Peers turned away by [`crate::Events::admit`].
    pub not_admitted: Count,
    /// Connections closed at once because there were too many.
    pub over_limit: Count,
    pub handshake_failures: Count,
    pub handshakes_now: Count,
    pub connect_failures: Count,
    /// STUN binding requests answered.
    pub stun_requests: Count,
    /// Double CRLFs answered on streams.
    pub pings: Count,
    /// Datagrams dropped because the socket's buffer stayed full.
    pub udp_would_block: Count,
    /// Sends and connects refused by `next_hops`.
    pub forbidden: Count,
    /// Faults of the user of this crate that were caught.
    pub panics: Count,
    /// Times that the system could give no descriptor or memory for a connection.
    pub accept_errors: Count,
    pub proxy_header_errors: Count,
    pub certificate_reloads: Count,
}

/// Counts of one transport, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct TransportCounters {
    /// Messages; 0 for raw listeners.
    pub received: Count,
    pub received_bytes: Count,
    pub sent: Count,
    pub sent_bytes: Count,
    pub send_errors: Count,
    /// Always 0 for UDP.
    pub connections: Count,
    pub connections_now: Count,
}

impl Counters {
    pub fn transport(&self, transport: Transport) -> &TransportCounters {
        &self.transports[transport as usize]
    }
}
