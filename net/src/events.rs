//! What the transport layer tells its user.

use std::net::SocketAddr;

use bytes::Bytes;
use chappe_sip::{Flow, Transport};

use crate::frame::FrameError;
use crate::outbox::{Outbox, SendError};
use crate::tls::Fingerprints;

/// The user of [`crate::Net`]. Every call happens on the thread that received, with nothing between socket and call:
/// it must not block for long, for the next message of that connection (or of that UDP thread) waits.
///
/// Calls about one connection come in order and never at the same time: `opened`, messages or data, `closed`. Calls about
/// different connections, and about datagrams, come from many threads at once. UDP threads are inside the tokio
/// runtime's context, so tasks can be spawned from any call.
pub trait Events: Send + Sync + 'static {
    /// Whether to have anything to do with a peer, asked for each datagram and each new connection before any of it is
    /// looked at.
    fn admit(&self, transport: Transport, remote: SocketAddr) -> bool {
        let _ = (transport, remote);
        true
    }

    /// A whole message. What is put into `out` is sent when all messages of the same read have been handed over. Not
    /// called for raw listeners.
    fn message(&self, flow: &Flow, bytes: Bytes, out: &mut Outbox) {
        let _ = (flow, bytes, out);
    }

    /// Bytes of a raw listener's connection as they came, uncut, at most 64 kB. `Pause` takes effect after the read
    /// that these are part of, of which more calls may follow on a WebSocket. Parts of `bytes` may be kept without a
    /// copy, but each keeps a buffer of 64 kB.
    fn data(&self, flow: &Flow, bytes: &Bytes, out: &mut Outbox) -> Reading {
        let _ = (flow, bytes, out);
        Reading::More
    }

    /// The bytes handed over since the last such call are one whole WebSocket message, be it text or binary. Never
    /// called for other transports.
    fn message_end(&self, flow: &Flow, out: &mut Outbox) -> Reading {
        let _ = (flow, out);
        Reading::More
    }

    /// All `data` of one read has been handed over; what is in `out` is sent next.
    fn data_end(&self, flow: &Flow, out: &mut Outbox) {
        let _ = (flow, out);
    }

    /// What waited for a raw listener's connection has fallen to [`crate::Limits::low_mark`] or below, having been
    /// above [`crate::Limits::high_mark`]. Whoever sees [`crate::Net::queued`] above the high mark can rely on this
    /// call to come, or `closed`.
    fn writable(&self, flow: &Flow, out: &mut Outbox) {
        let _ = (flow, out);
    }

    /// A stream that cannot be cut into messages. `prefix` is what was read of the message, at most
    /// [`crate::Limits::head`] bytes; an answer put into `out` is sent, then the connection is closed.
    fn malformed(&self, flow: &Flow, prefix: Bytes, error: FrameError, out: &mut Outbox) {
        let _ = (flow, prefix, error, out);
    }

    /// All messages of one read have been handed over. Not called where there was none.
    fn batch_end(&self, out: &mut Outbox) {
        let _ = out;
    }

    /// A connection is ready: accepted or connected, with TLS and WebSocket handshakes done.
    fn opened(&self, flow: &Flow, info: &ConnectionInfo) {
        let _ = (flow, info);
    }

    /// A connection that was `opened` is gone; nothing more comes from it or can be sent to it.
    fn closed(&self, flow: &Flow, why: CloseReason) {
        let _ = (flow, why);
    }

    /// A connection that [`crate::Net::connect`] gave, or the outbox began, could not be opened. What waited for it has
    /// been told as failed; it is not `opened` and not `closed`.
    fn connect_failed(&self, flow: &Flow, error: SendError) {
        let _ = (flow, error);
    }

    /// A message with `tag` (never 0) did not get out. Comes from the thread that flushed the outbox or later from
    /// another; a lock held while flushing must not be one that this takes.
    fn send_failed(&self, tag: u64, error: SendError) {
        let _ = (tag, error);
    }
}

/// Whether to go on reading a raw connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    More,
    /// Not before [`crate::Net::resume`]. What comes meanwhile stays in the system's buffers and so slows the peer.
    Pause,
    /// Never: what waits for the peer is still sent, then the connection ends as `Malformed`.
    End,
}

/// What is known of a connection when it is ready.
#[derive(Debug, Clone, Default)]
pub struct ConnectionInfo {
    /// We opened it.
    pub outbound: bool,
    /// Our end of it.
    pub local: Option<SocketAddr>,
    /// The load balancer in front of the peer, where a PROXY header told the peer's address.
    pub proxy: Option<SocketAddr>,
    /// Name the peer asked for in its TLS handshake.
    pub server_name: Option<String>,
    /// Identities in the peer's certificate (RFC 5922 §7.1), only where the certificate was verified.
    pub peer: Option<PeerIdentity>,
    /// Hashes of the certificate that the peer showed, verified or not; it does have the key of it.
    pub fingerprints: Option<Fingerprints>,
    /// HTTP request that became this WebSocket.
    pub upgrade: Option<Upgrade>,
}

/// Identities of a verified certificate. `names` counts only where `uris` has no SIP URI (RFC 5922 §7.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Subject alternative names of type URI, such as `sip:example.com`.
    pub uris: Vec<String>,
    /// Subject alternative names of type DNS.
    pub names: Vec<String>,
}

/// Parts of the HTTP request that opened a WebSocket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upgrade {
    pub host: Option<String>,
    pub origin: Option<String>,
    /// Path and query.
    pub path: String,
    /// Agreed sub-protocol: `sip` or `msrp`.
    pub protocol: String,
    /// User that the HTTP server authenticated, by cookie or bearer token (RFC 7118 §7).
    pub user: Option<String>,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed: end of stream, TLS close or WebSocket close.
    Peer,
    /// Reset, or no answer to probes.
    Reset,
    /// [`crate::Net::close`] or a stop.
    Local,
    /// Nothing received for longer than the limit, or a message never finished.
    Idle,
    /// The peer did not read what it was sent.
    Slow,
    /// Bytes that are no message.
    Malformed,
    /// TLS or WebSocket rules broken after the handshake.
    Protocol,
}
