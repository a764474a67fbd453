//! Sessions that end here (RFC 4975 §5): what the server itself sends and receives, on the listeners and connections of
//! the relay.
//!
//! An [`End`] is one of our URIs. It is bound to the first connection that uses it, or to the one that we open where SDP
//! makes us active. Messages come and go whole, or as streams with back-pressure.
//!
//! ```text
//! read ─▶ Inbound ─▶ Inbox of the End ─▶ EndUser::message, slice    EndUser::sent ◀─ Outbox of the End ◀─ responses,
//!                                            │ Answer                                     ▲ chunks written    REPORTs
//!                                            ▼                      End::send, Sink ──────┴─▶ Outbound ─▶ write
//! ```
//!
//! Locks: an End's inbox is taken by the reader of its connection and by the clock; its state behind the Outbound of its
//! connection where both are wanted. Neither is held while its user is called.

mod answer;
mod end;
mod events;
mod inbound;
mod outbound;
mod peer;
mod sink;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chappe_msrp::endpoint::InboxLimits;
use chappe_msrp::uri::UriError;
use chappe_msrp::{FailureReport, Head, ReassemblyLimits};

pub use answer::Answer;
pub use chappe_msrp::Assembled;
pub use chappe_msrp::endpoint::{Reception, Sent};
pub use end::End;
pub use sink::{Room, Sink};

pub(super) use end::number_of;
pub(super) use events::{during, soon};
pub(super) use inbound::Taking;
pub(super) use outbound::WrittenChunk;
pub(super) use table::Ends;

use super::relay::Relay;

/// Opens sessions of our own.
#[derive(Clone)]
pub struct Endpoint(Arc<Relay>);

/// How a session of our own begins.
#[derive(Debug, Clone)]
pub struct NewEnd {
    /// Whether its URI is `msrps`.
    pub secure: bool,
    /// The address of ours that the peer's signalling came to: the host of the URI where a listener is on all of them.
    pub reached: Option<IpAddr>,
    /// Bounds on messages that are collected, and on how many are on their way.
    pub limits: ReassemblyLimits,
    /// Bytes of a message, as we told the peer (`a=max-size`).
    pub max_size: u64,
    /// USER@DOMAIN or the like, for lists.
    pub label: Arc<str>,
}

/// Why there is no new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("no listener with such transport")]
    NoListener,
    #[error("too many sessions")]
    TooMany,
    #[error("the server is stopping")]
    Stopping,
}

impl From<UriError> for OpenError {
    fn from(_: UriError) -> OpenError {
        OpenError::NoListener
    }
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the session has ended")]
    Closed,
    /// Too many bytes or messages wait in the session; to be tried again after news of one of them.
    #[error("too much is waiting")]
    Full,
    #[error("a message with this Message-ID is under way")]
    SameId,
}

/// A whole message to be sent.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// What [`EndUser::sent`] calls it.
    pub key: u64,
    /// 4 to 32 letters, digits and `.-+%=`, never used before.
    pub message_id: Box<str>,
    pub content_type: Box<str>,
    /// Further headers, such as Content-Disposition.
    pub headers: Vec<(Box<str>, Box<str>)>,
    pub body: Bytes,
    pub success_report: bool,
    pub failure_report: FailureReport,
}

/// A message whose content comes in pieces.
#[derive(Debug, Clone)]
pub struct NewStream {
    /// What [`EndUser::sent`] and [`EndUser::writable`] call it.
    pub key: u64,
    /// As in [`NewMessage`].
    pub message_id: Box<str>,
    pub content_type: Box<str>,
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Its size, if known.
    pub total: Option<u64>,
    pub success_report: bool,
    pub failure_report: FailureReport,
}

/// Whether the peer may send more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    More,
    /// Its connection is not read until [`End::resume`]. What was read already, at most 64 kB, still comes.
    Pause,
}

/// How a streamed message ended.
#[derive(Debug)]
pub enum StreamEnd {
    /// All of it was handed out. Its last chunk is answered by the answer.
    Complete { total: u64, answer: Answer },
    /// Its sender gave it up, it broke a limit, nothing came for too long, or the session is over.
    Broken,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndClosed {
    /// [`End::close`].
    Here,
    /// The operator ended it.
    Operator,
    /// Nothing was sent for so long as the configuration allows, or the peer never connected after the agreement.
    Idle,
    /// The peer could not be connected to, or has not the certificate that it announced.
    Unreachable,
    /// Its connection is gone.
    ConnectionLost,
    /// The peer does not know the session, or bytes were lost on the way (RFC 4975 §7.3.2): to be agreed upon anew.
    Failed,
    /// What was agreed upon is nothing that we can do: a relay of ours, or fingerprints of other hashes.
    Unsupported,
}

/// Who uses a session. `begin`, `message` and `slice` are called by the thread that reads the connection; the others by
/// that or any other, one after the other and never from within a call of the user's to [`End`], [`Sink`] or [`Answer`].
/// No lock of ours is held, so that all of those may be called. None may block: nothing else is read meanwhile.
pub trait EndUser: Send + Sync + 'static {
    /// The peer's connection is there.
    fn bound(&self, end: &Arc<End>) {
        let _ = end;
    }

    /// The first chunk of a message: how it is to be received.
    fn begin(&self, end: &Arc<End>, head: &Head) -> Reception {
        let _ = (end, head);
        Reception::Whole
    }

    /// A whole message. Its last chunk is answered by `answer`, which may be kept and used by another thread; while
    /// many are not used the connection is not read.
    fn message(&self, end: &Arc<End>, message: Assembled, answer: Answer);

    /// Some bytes of a streamed message, by its Message-ID; `offset` counts from 0. Slices may come in any order, and
    /// again.
    fn slice(&self, end: &Arc<End>, id: &str, offset: u64, data: &[u8]) -> Intake {
        let _ = (end, id, offset, data);
        Intake::More
    }

    /// A streamed message has ended.
    fn stream_ended(&self, end: &Arc<End>, id: &str, ended: StreamEnd) {
        let _ = (end, id, ended);
    }

    /// A [`Sink`] that was full has room again, by the key of its stream.
    fn writable(&self, end: &Arc<End>, key: u64) {
        let _ = (end, key);
    }

    /// News of a message, by its key. [`Sent::Written`] and [`Sent::Confirmed`] may be followed by [`Sent::Reported`],
    /// or by a failure, where a success report was wanted; all others are the last. Every message has one of them
    /// before [`EndUser::closed`].
    fn sent(&self, end: &Arc<End>, key: u64, sent: Sent);

    /// The session is over; nothing follows. Called once for each.
    fn closed(&self, end: &Arc<End>, why: EndClosed);
}

impl Relay {
    /// The sessions that end here.
    pub fn endpoint(self: &Arc<Self>) -> Endpoint {
        Endpoint(Arc::clone(self))
    }
}

impl Endpoint {
    /// Reserves a URI of ours. It can be used by the peer at once; what `user` is told comes from then on.
    pub fn open(&self, new: NewEnd, user: Arc<dyn EndUser>) -> Result<Arc<End>, OpenError> {
        let relay = &self.0;
        if relay.is_stopping() {
            return Err(OpenError::Stopping);
        }
        let uri = relay.local.mint_end(new.secure, new.reached, crate::random::bytes())?;
        let whole = ReassemblyLimits { message: new.limits.message.min(new.max_size), ..new.limits };
        let inbox = InboxLimits { whole, stream: new.max_size };
        let number = relay.numbers.fetch_add(1, Ordering::Relaxed);
        let end = End::new(relay, number, uri, new.label, inbox, user);
        if !relay.ends.insert(&end, relay.settings.endpoint_sessions) {
            return Err(OpenError::TooMany);
        }
        relay.counters.ends.one();
        Ok(end)
    }

    /// The hash of our certificate, for SDP; `None` where there is no certificate.
    pub fn fingerprint(&self) -> Option<chappe_sdp::Fingerprint> {
        let own = self.0.net()?.own_fingerprints(self.0.local.advertised())?;
        Some(chappe_sdp::Fingerprint {
            function: chappe_sdp::Hash::Sha256.name().to_owned(),
            value: own.sha256.to_vec(),
        })
    }
}
