//! What the relay keeps for a connection: what is being read of it, and its way out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ahash::HashMap;
use bytes::Bytes;
use chappe_msrp::relay::Side;
use chappe_msrp::{
    ByteRange, ChunkHead, Head, Outgoing, OutgoingConfig, Parser, Reply, StreamKey, TransactionIds, Transactions,
};
use chappe_net::Fingerprints;
use chappe_sip::Flow;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::endpoint::{End, Taking, number_of};
use super::link::Link;
use super::refusal::Refusals;
use super::session::Session;

/// Transactions of one connection that wait for a response, at most; the oldest is given up for one more.
pub(super) const TRANSACTIONS: usize = 65_536;

/// Connections whose way out has something new.
pub(super) type Touched = SmallVec<[Arc<Connection>; 4]>;

pub(super) struct Connection {
    /// Absent while it is being opened, and where it is a link.
    flow: OnceLock<Flow>,
    /// Of a connection to ourselves.
    link: OnceLock<Link>,
    /// Over TLS.
    pub secure: bool,
    /// Our end of it, where known.
    pub local: Option<SocketAddr>,
    /// We opened it.
    pub outbound: bool,
    /// When it was opened, and when a frame last came, in milliseconds of the relay's clock.
    pub opened: u64,
    pub used: AtomicU64,
    /// A request on it has succeeded (RFC 4976 §6.1).
    pub proven: AtomicBool,
    /// Requests that have failed, in a row.
    pub failures: AtomicU32,
    /// Reasons for which it is not read now.
    pub holds: AtomicUsize,
    pub inbound: Mutex<Inbound>,
    pub way_out: Mutex<Outbound>,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Sessions of our own that are bound to it.
    ends: Mutex<Vec<Arc<End>>>,
    /// It is open, if we opened it.
    pub open: AtomicBool,
    /// The certificate that the client showed.
    pub shown: OnceLock<Fingerprints>,
}

/// What is being read. Touched by the reader of the connection only.
pub(super) struct Inbound {
    pub parser: Parser,
    pub current: Current,
    pub touched: Touched,
    /// Nothing more is wanted of the peer.
    pub ending: bool,
}

/// The frame that is being read.
pub(super) enum Current {
    None,
    /// A chunk on its way.
    Chunk(Box<Passing>),
    /// A chunk for a session of our own.
    Own(Box<Taking>),
    /// A frame with a body that is passed on whole.
    Whole {
        head: Box<Head>,
        body: Vec<u8>,
    },
    /// Nobody wants the rest.
    Unwanted,
}

/// A chunk on its way.
pub(super) struct Passing {
    pub head: Head,
    pub to: Arc<Connection>,
    pub key: StreamKey,
    /// The sessions that it passes, and from which side.
    pub sessions: SmallVec<[(Arc<Session>, Side); 2]>,
}

/// The way out, and what waits for answers.
pub(super) struct Outbound {
    pub outgoing: Outgoing,
    pub ids: TransactionIds,
    pub open: Transactions<Waiting>,
    /// Where the streams come from that go out here.
    pub streams: HashMap<StreamKey, Source>,
    /// Messages of our own that go out here.
    pub own: HashMap<StreamKey, Arc<End>>,
    /// 200s that wait in [`Source::withheld`].
    pub withheld: usize,
    /// Nothing can be sent any more.
    pub gone: bool,
}

/// Where a stream comes from.
pub(super) struct Source {
    pub connection: Arc<Connection>,
    /// URIs of ours that its frames have passed.
    pub shifts: usize,
    /// It is not read while this stream is above its mark.
    pub holds: bool,
    /// 200s that wait until the stream is below its mark.
    pub withheld: Vec<Bytes>,
    /// Messages that the next hop does not want.
    pub refusals: Refusals,
}

/// What waits for a response.
pub(super) enum Waiting {
    /// A chunk: its origin hears of a failure, by the connection that it came on. `more`: it was not the last of its
    /// message.
    Chunk { source: Arc<Connection>, shifts: usize, key: StreamKey, head: ChunkHead, range: ByteRange, more: bool },
    /// A chunk of a message of our own, by its number in the session. `early`: it has not ended yet.
    Own { end: Arc<End>, number: u64, early: bool },
    /// Another request, by whom and under which transaction id. `with_credentials`: an AUTH that answers a challenge.
    Request { source: Arc<Connection>, shifts: usize, reply: Reply, with_credentials: bool },
}

impl Outbound {
    /// The code by which the next hop has refused the message of this chunk.
    pub(super) fn refused(&self, passing: &Passing) -> Option<u16> {
        self.streams.get(&passing.key)?.refusals.code(&passing.head)
    }

    /// What waits for the response with this id; also where that comes before the end of the chunk.
    pub(super) fn answered(&mut self, id: &str) -> Option<Waiting> {
        if let Some(waiting) = self.open.answered(id) {
            return Some(waiting);
        }
        let (key, head, range) = self.outgoing.answered(id)?;
        if let Some(end) = self.own.get(&key) {
            return Some(Waiting::Own { end: Arc::clone(end), number: number_of(key), early: true });
        }
        let source = self.streams.get(&key)?;
        let (source, shifts) = (Arc::clone(&source.connection), source.shifts);
        Some(Waiting::Chunk { source, shifts, key, head, range, more: true })
    }
}

/// How a connection begins.
pub(super) struct NewConnection {
    pub flow: Option<Flow>,
    pub secure: bool,
    pub local: Option<SocketAddr>,
    pub outbound: bool,
    pub now: u64,
    pub parser: Parser,
    pub outgoing: OutgoingConfig,
    /// From a cryptographic source.
    pub key: [u64; 2],
}

impl Connection {
    pub(super) fn new(new: NewConnection) -> Arc<Connection> {
        Arc::new(Connection {
            flow: new.flow.map_or_else(OnceLock::new, OnceLock::from),
            link: OnceLock::new(),
            secure: new.secure,
            local: new.local,
            outbound: new.outbound,
            opened: new.now,
            used: AtomicU64::new(new.now),
            proven: AtomicBool::new(new.outbound),
            failures: AtomicU32::new(0),
            holds: AtomicUsize::new(0),
            inbound: Mutex::new(Inbound {
                parser: new.parser,
                current: Current::None,
                touched: Touched::new(),
                ending: false,
            }),
            way_out: Mutex::new(Outbound {
                outgoing: Outgoing::new(new.outgoing),
                ids: TransactionIds::new(new.key),
                open: Transactions::new(TRANSACTIONS),
                streams: HashMap::default(),
                own: HashMap::default(),
                withheld: 0,
                gone: false,
            }),
            sessions: Mutex::default(),
            ends: Mutex::default(),
            open: AtomicBool::new(false),
            shown: OnceLock::new(),
        })
    }

    pub(super) fn flow(&self) -> Option<&Flow> {
        self.flow.get()
    }

    pub(super) fn link(&self) -> Option<&Link> {
        self.link.get()
    }

    /// It leads to ourselves.
    pub(super) fn set_link(&self, link: Link) {
        let _ = self.link.set(link);
    }

    /// The connection is being opened, or open.
    pub(super) fn set_flow(&self, flow: Flow) {
        let _ = self.flow.set(flow);
    }

    /// It comes from the host of `dialled`, which we opened, and is no less safe: where that one sends on connections of
    /// its own, this may be one of them.
    pub(super) fn is_beside(&self, dialled: &Connection) -> bool {
        let host = |connection: &Connection| connection.flow().map(|flow| flow.remote.ip().to_canonical());
        dialled.outbound && (self.secure || !dialled.secure) && host(self).is_some() && host(self) == host(dialled)
    }

    /// Notes a session that it owns or uses.
    pub(super) fn add(&self, session: &Arc<Session>) {
        self.sessions.lock().push(Arc::clone(session));
    }

    pub(super) fn remove(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions.lock();
        if let Some(at) = sessions.iter().position(|other| Arc::ptr_eq(other, session)) {
            sessions.swap_remove(at);
        }
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().clone()
    }

    pub(super) fn has_sessions(&self) -> bool {
        !self.sessions.lock().is_empty() || !self.ends.lock().is_empty()
    }

    /// Notes a session of our own that is bound to it.
    pub(super) fn add_end(&self, end: &Arc<End>) {
        self.ends.lock().push(Arc::clone(end));
    }

    pub(super) fn remove_end(&self, end: &Arc<End>) {
        self.ends.lock().retain(|other| !Arc::ptr_eq(other, end));
    }

    pub(super) fn ends(&self) -> Vec<Arc<End>> {
        self.ends.lock().clone()
    }

    /// A request has succeeded.
    pub(super) fn succeeded(&self) {
        if !self.proven.load(Ordering::Relaxed) {
            self.proven.store(true, Ordering::Relaxed);
        }
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }
}

/// Notes a connection once.
pub(super) fn touch(touched: &mut Touched, connection: &Arc<Connection>) {
    if !touched.iter().any(|other| Arc::ptr_eq(other, connection)) {
        touched.push(Arc::clone(connection));
    }
}
