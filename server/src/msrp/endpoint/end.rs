//! One session of our own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use chappe_msrp::endpoint::{Inbox, InboxLimits, NewSent, Outbox, OutboxError};
use chappe_msrp::relay::Matching;
use chappe_msrp::{ChunkHead, FailureReport, NewChunk, OwnedUri, StreamKey};
use chappe_net::Fingerprint;
use parking_lot::Mutex;

use super::super::connection::Connection;
use super::super::relay::Relay;
use super::events::Events;
use super::{EndClosed, EndUser, NewMessage, NewStream, SendError, Sink, soon};

/// Messages of one session whose fate is not known, at most.
const MESSAGES: usize = 1024;
/// Answers that may be outstanding before the connection is not read.
const ANSWERS: usize = 64;

/// A session of our own: a URI, and the connection that uses it. All methods may be called from any thread.
pub struct End {
    pub(super) number: u64,
    uri: OwnedUri,
    label: Arc<str>,
    pub(super) relay: Arc<Relay>,
    pub(super) user: Arc<dyn EndUser>,
    pub(super) inbox: Mutex<Inbox>,
    /// What of the inbox is counted in [`super::Ends::held`]; changed with the inbox locked.
    pub(super) accounted: AtomicUsize,
    pub(super) state: Mutex<State>,
    pub(super) events: Mutex<Events>,
    ended: AtomicBool,
    /// Milliseconds of the relay's clock.
    pub(in super::super) created: u64,
    pub(in super::super) used: AtomicU64,
    /// Message bytes from the peer and to it.
    pub(in super::super) received: AtomicU64,
    pub(in super::super) sent: AtomicU64,
}

/// What changes.
pub(super) struct State {
    pub connection: Option<Arc<Connection>>,
    /// The user knows of it.
    pub bound: bool,
    /// To-Path of what we send, once it is agreed upon.
    pub to_path: Option<Box<str>>,
    /// Our URI as the peer was told it, where its port is another (RFC 4145 §4.1).
    pub told: Option<OwnedUri>,
    /// When it was agreed upon.
    pub agreed: u64,
    pub matching: Matching,
    /// The peer's certificate is one of these, if there are any.
    pub fingerprints: Vec<Fingerprint>,
    pub outbox: Outbox,
    /// Whole messages that have not begun, and their bytes.
    pub queue: VecDeque<Queued>,
    pub queued: usize,
    /// The whole message that goes out now.
    pub current: Option<u64>,
    pub streams: Vec<Streaming>,
    /// The empty SEND by which we open.
    pub opening: Option<u64>,
    /// Answers that are outstanding, and the bytes of their messages.
    answers: usize,
    answer_bytes: usize,
    /// The connection that is not read for them.
    held_for_answers: Option<Arc<Connection>>,
    /// The connection that is not read because the user wants it.
    held_by_user: Option<Arc<Connection>>,
    /// The user wanted more before the pause took effect.
    resumed: bool,
}

/// A whole message that waits.
pub(super) struct Queued {
    pub number: u64,
    pub head: NewMessage,
    /// No message: it opens the session.
    pub empty: bool,
}

/// A message whose content comes from a [`Sink`].
pub(super) struct Streaming {
    pub number: u64,
    pub head: NewStream,
    /// It has a place on the way out.
    pub begun: bool,
    /// What came before that.
    pub pending: Vec<Bytes>,
    pub finished: bool,
}

impl End {
    pub(super) fn new(
        relay: &Arc<Relay>,
        number: u64,
        uri: OwnedUri,
        label: Arc<str>,
        inbox: InboxLimits,
        user: Arc<dyn EndUser>,
    ) -> Arc<End> {
        let now = relay.now();
        Arc::new(End {
            number,
            uri,
            label,
            relay: Arc::clone(relay),
            user,
            inbox: Mutex::new(Inbox::new(inbox)),
            accounted: AtomicUsize::new(0),
            state: Mutex::new(State {
                connection: None,
                bound: false,
                to_path: None,
                told: None,
                agreed: 0,
                matching: relay.settings.matching,
                fingerprints: Vec::new(),
                outbox: Outbox::new(MESSAGES),
                queue: VecDeque::new(),
                queued: 0,
                current: None,
                streams: Vec::new(),
                opening: None,
                answers: 0,
                answer_bytes: 0,
                held_for_answers: None,
                held_by_user: None,
                resumed: false,
            }),
            events: Mutex::default(),
            ended: AtomicBool::new(false),
            created: now,
            used: AtomicU64::new(now),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        })
    }

    /// Our URI: the whole of `a=path`.
    pub fn uri(&self) -> &OwnedUri {
        &self.uri
    }

    /// What [`super::NewEnd::label`] was.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// What the operator calls it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it has a connection, be it one that is being opened.
    pub fn is_bound(&self) -> bool {
        self.state.lock().connection.is_some()
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Marks it as ended; `false` if it was before.
    pub(super) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::Relaxed)
    }

    pub(in super::super) fn connection(&self) -> Option<Arc<Connection>> {
        self.state.lock().connection.clone()
    }

    /// Bytes that wait to go out, as far as they are not on the connection's way.
    pub(in super::super) fn queued(&self) -> usize {
        self.state.lock().queued
    }

    /// Sends a whole message; messages go in their order, one after the other. What becomes of it is told by
    /// [`EndUser::sent`]. Before [`End::agreed`], and before the peer has connected where it is to do so, they wait.
    pub fn send(self: &Arc<Self>, message: NewMessage) -> Result<(), SendError> {
        let number = self.relay.numbers.fetch_add(1, Ordering::Relaxed);
        {
            let mut state = self.state.lock();
            if self.has_ended() {
                return Err(SendError::Closed);
            }
            let full = state.queued.saturating_add(message.body.len()) > self.relay.settings.endpoint_queue;
            if full && state.queued > 0 {
                return Err(SendError::Full);
            }
            let (id, success, failure) = (&message.message_id, message.success_report, message.failure_report);
            state.begin(number, message.key, id, success, failure)?;
            state.queued += message.body.len();
            state.queue.push_back(Queued { number, head: message, empty: false });
        }
        self.relay.counters.end_messages_sent.one();
        self.feed();
        Ok(())
    }

    /// Sends a message whose content comes by and by. It shares the connection with other messages.
    pub fn stream(self: &Arc<Self>, head: NewStream) -> Result<Sink, SendError> {
        let number = self.relay.numbers.fetch_add(1, Ordering::Relaxed);
        {
            let mut state = self.state.lock();
            if self.has_ended() {
                return Err(SendError::Closed);
            }
            state.begin(number, head.key, &head.message_id, head.success_report, head.failure_report)?;
            state.streams.push(Streaming { number, head, begun: false, pending: Vec::new(), finished: false });
        }
        self.relay.counters.end_messages_sent.one();
        self.feed();
        Ok(Sink::new(self, number))
    }

    /// Ends the session. What is not confirmed is told as lost; a message on its way is ended with `#`.
    pub fn close(self: &Arc<Self>) {
        self.relay.shut(self, EndClosed::Here);
    }

    /// The peer's connection is read again after [`super::Intake::Pause`]. May come before the pause is returned.
    pub fn resume(&self) {
        let held = {
            let mut state = self.state.lock();
            let held = state.held_by_user.take();
            state.resumed = held.is_none();
            held
        };
        if let Some(held) = held {
            self.relay.release(&held);
        }
    }

    /// A slice is about to be given to the user: a resumption from now on is meant for it.
    pub(super) fn expect_resume(&self) {
        self.state.lock().resumed = false;
    }

    /// Has a connection not be read until the user wants more.
    pub(super) fn pause(&self, connection: &Arc<Connection>) {
        let mut state = self.state.lock();
        if !std::mem::take(&mut state.resumed) && state.held_by_user.is_none() && !self.has_ended() {
            connection.holds.fetch_add(1, Ordering::AcqRel);
            state.held_by_user = Some(Arc::clone(connection));
        }
    }

    /// One more answer is outstanding; too many, and the connection is not read.
    pub(super) fn hold_for_answers(&self, connection: &Arc<Connection>, bytes: usize) {
        let mut state = self.state.lock();
        state.answers += 1;
        state.answer_bytes += bytes;
        let many = state.answers > ANSWERS || state.answer_bytes > self.relay.settings.endpoint_queue;
        if many && state.held_for_answers.is_none() && !self.has_ended() {
            connection.holds.fetch_add(1, Ordering::AcqRel);
            state.held_for_answers = Some(Arc::clone(connection));
        }
    }

    /// One less.
    pub(super) fn answered(&self, bytes: usize) {
        let held = {
            let mut state = self.state.lock();
            state.answers -= 1;
            state.answer_bytes -= bytes;
            let few = state.answers <= ANSWERS / 2 && state.answer_bytes <= self.relay.settings.endpoint_queue / 2;
            if few { state.held_for_answers.take() } else { None }
        };
        if let Some(held) = held {
            self.relay.release(&held);
        }
    }

    /// Puts on the way out what may go.
    pub(super) fn feed(self: &Arc<Self>) {
        let Some(connection) = self.connection() else { return };
        {
            let mut out = connection.way_out.lock();
            if out.gone {
                return;
            }
            self.feed_into(&mut out, &mut self.state.lock());
        }
        soon(&self.relay, &connection);
        self.dispatch_later();
    }
}

impl State {
    fn begin(
        &mut self,
        number: u64,
        key: u64,
        message_id: &str,
        success_report: bool,
        failure_report: FailureReport,
    ) -> Result<(), SendError> {
        let new = NewSent { number, key, message_id, success_report, failure_report };
        self.outbox.begin(&new).map_err(|error| match error {
            OutboxError::Full => SendError::Full,
            OutboxError::SameId => SendError::SameId,
        })
    }

    /// Connections that are not read because of this session, which is over.
    pub(super) fn take_holds(&mut self) -> impl Iterator<Item = Arc<Connection>> + use<> {
        self.held_by_user.take().into_iter().chain(self.held_for_answers.take())
    }
}

/// The stream of a message on the connection that it goes out on.
pub(super) fn stream_key(number: u64) -> StreamKey {
    StreamKey(number << 1)
}

/// The message that a stream is.
pub(in super::super) fn number_of(key: StreamKey) -> u64 {
    key.0 >> 1
}

pub(super) fn whole_head(message: &Queued, to: &str, from: &str) -> ChunkHead {
    let NewMessage { message_id, content_type, headers, body, success_report, failure_report, .. } = &message.head;
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    ChunkHead::new(&NewChunk {
        to,
        from,
        message_id,
        success_report: *success_report,
        failure_report: *failure_report,
        start: 1,
        total: Some(body.len() as u64),
        headers: &headers,
        content_type: (!message.empty).then_some(content_type),
    })
}

pub(super) fn stream_head(stream: &NewStream, to: &str, from: &str) -> ChunkHead {
    let headers: Vec<(&str, &str)> = stream.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    ChunkHead::new(&NewChunk {
        to,
        from,
        message_id: &stream.message_id,
        success_report: stream.success_report,
        failure_report: stream.failure_report,
        start: 1,
        total: stream.total,
        headers: &headers,
        content_type: Some(&stream.content_type),
    })
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("number", &self.number).field("uri", &self.uri).finish_non_exhaustive()
    }
}
