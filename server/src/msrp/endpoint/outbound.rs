//! Messages of our own on their way out, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_msrp::endpoint::{Fate, Sent};
use chappe_msrp::{ByteRange, ChunkHead, FailureReport, Flag, Outcome, ReceivedReport, StreamKey, TransactionId};

use super::super::connection::{Connection, Outbound, Touched, Waiting, touch};
use super::super::relay::Relay;
use super::end::{End, State, number_of, stream_head, stream_key, whole_head};
use super::events::Event;
use super::{EndClosed, NewMessage};

/// A chunk that is on the wire.
pub(in super::super) struct WrittenChunk<'a> {
    pub key: StreamKey,
    pub id: TransactionId,
    pub head: &'a ChunkHead,
    pub range: ByteRange,
    pub flag: Flag,
    /// Its response has come already.
    pub answered: bool,
}

impl End {
    /// Puts on the way out what may go: whole messages one by one, and all streams.
    pub(super) fn feed_into(self: &Arc<Self>, out: &mut Outbound, state: &mut State) {
        let Some(to) = state.to_path.clone() else { return };
        let told = state.told.clone();
        let from = told.as_ref().unwrap_or(self.uri()).as_str();
        while state.current.is_none()
            && let Some(message) = state.queue.pop_front()
        {
            state.queued -= message.head.body.len();
            let key = stream_key(message.number);
            out.outgoing.begin(key, whole_head(&message, &to, from));
            out.outgoing.body(key, message.head.body);
            out.outgoing.end(key, Flag::End);
            out.own.insert(key, Arc::clone(self));
            state.current = Some(message.number);
        }
        for stream in state.streams.iter_mut().filter(|stream| !stream.begun) {
            stream.begun = true;
            let key = stream_key(stream.number);
            out.outgoing.begin(key, stream_head(&stream.head, &to, from));
            out.own.insert(key, Arc::clone(self));
            let waited = !stream.pending.is_empty();
            let mut full = false;
            for bytes in stream.pending.drain(..) {
                full |= out.outgoing.body(key, bytes);
            }
            if stream.finished {
                out.outgoing.end(key, Flag::End);
            } else if waited && !full {
                self.tell(Event::Writable { key: stream.head.key });
            }
        }
    }

    /// A chunk has been written, to its end-line. Gives the transaction that was given up for its own.
    pub(in super::super) fn written(self: &Arc<Self>, out: &mut Outbound, chunk: &WrittenChunk<'_>) -> Option<Waiting> {
        let WrittenChunk { key, id, head, range, flag, answered } = *chunk;
        let (now, number) = (self.relay.instant(), number_of(key));
        let mut state = self.state.lock();
        let bytes = if head.has_body() { range.len().unwrap_or(0) } else { 0 };
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.used.store(self.relay.now(), Ordering::Relaxed);
        let mut fate = state.outbox.written(number, range, flag);
        let mut given_up = None;
        if answered {
            fate = fate.or_else(|| state.outbox.outcome(number, Outcome::Response(200)));
        } else if head.failure_report() != FailureReport::No {
            let waiting = Waiting::Own { end: Arc::clone(self), number, early: false };
            given_up = out.open.begin(id, waiting, now).map(|(_, waiting)| waiting);
        }
        if flag != Flag::More {
            self.leave(out, &mut state, number);
        }
        if let Some(fate) = fate {
            self.tell_fate(&fate);
        }
        given_up
    }

    /// A stream below its mark takes more.
    pub(in super::super) fn resumed(&self, key: StreamKey) {
        let (state, number) = (self.state.lock(), number_of(key));
        if let Some(stream) = state.streams.iter().find(|stream| stream.number == number && !stream.finished) {
            self.tell(Event::Writable { key: stream.head.key });
        }
    }

    /// A message does not go out any more: the next may.
    fn leave(self: &Arc<Self>, out: &mut Outbound, state: &mut State, number: u64) {
        out.own.remove(&stream_key(number));
        state.streams.retain(|stream| stream.number != number);
        if state.current == Some(number) {
            state.current = None;
            self.feed_into(out, state);
        }
    }

    fn tell_fate(&self, fate: &Fate) {
        let counters = &self.relay.counters;
        match fate.sent {
            Sent::Confirmed | Sent::Written => counters.end_messages_confirmed.one(),
            Sent::Reported => {}
            Sent::Refused(_) => counters.end_messages_refused.one(),
            Sent::Lost => counters.end_messages_lost.one(),
        }
        self.tell(Event::Sent { key: fate.key, sent: fate.sent });
    }

    /// What became of a chunk, or what a report says of a message.
    fn learn(self: &Arc<Self>, learn: impl FnOnce(&mut State) -> Option<Fate>, touched: &mut Touched) {
        let Some(connection) = self.connection() else { return };
        let failed = {
            let mut out = connection.way_out.lock();
            let mut state = self.state.lock();
            let Some(fate) = learn(&mut state) else { return };
            if let Some(message_id) = &fate.interrupt {
                out.outgoing.stop(stream_key(fate.number), message_id);
                self.leave(&mut out, &mut state, fate.number);
                touch(touched, &connection);
            }
            if state.opening == Some(fate.number) {
                state.opening = None;
                !matches!(fate.sent, Sent::Confirmed)
            } else {
                self.tell_fate(&fate);
                fate.session_failed
            }
        };
        if failed {
            self.relay.shut(self, EndClosed::Failed);
        }
    }

    pub(in super::super) fn outcome(self: &Arc<Self>, number: u64, outcome: Outcome, touched: &mut Touched) {
        self.learn(|state| state.outbox.outcome(number, outcome), touched);
    }

    pub(super) fn report(self: &Arc<Self>, report: &ReceivedReport<'_>, touched: &mut Touched) {
        self.learn(|state| state.outbox.report(report), touched);
    }

    /// The empty SEND by which the active side opens (RFC 4975 §5.4).
    pub(super) fn queue_opening(&self, state: &mut State) {
        let number = self.relay.numbers.fetch_add(1, Ordering::Relaxed);
        let id: String = crate::random::bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let head = NewMessage {
            key: 0,
            message_id: id.into(),
            content_type: Box::default(),
            headers: Vec::new(),
            body: bytes::Bytes::new(),
            success_report: false,
            failure_report: FailureReport::Yes,
        };
        let new = chappe_msrp::endpoint::NewSent {
            number,
            key: 0,
            message_id: &head.message_id,
            success_report: false,
            failure_report: FailureReport::Yes,
        };
        if state.outbox.begin(&new).is_ok() {
            state.opening = Some(number);
            state.queue.push_front(super::end::Queued { number, head, empty: true });
        }
    }
}

impl Relay {
    /// Ends a session of our own: what is not confirmed is lost, what is on its way is aborted.
    pub(in super::super) fn shut(&self, end: &Arc<End>, why: EndClosed) {
        if !end.end() {
            return;
        }
        self.ends.remove(end);
        let connection = end.connection();
        {
            let mut out = connection.as_ref().map(|connection| connection.way_out.lock());
            let mut state = end.state.lock();
            if let Some(out) = &mut out {
                let keys = out.own.iter().filter(|(_, other)| Arc::ptr_eq(other, end));
                for key in keys.map(|(key, _)| *key).collect::<Vec<_>>() {
                    out.outgoing.remove(key);
                    out.own.remove(&key);
                }
            }
            state.queue.clear();
            state.queued = 0;
            state.streams.clear();
            state.current = None;
            let opening = state.opening.take();
            for (_, key) in state.outbox.drain().filter(|(number, _)| Some(*number) != opening) {
                self.counters.end_messages_lost.one();
                end.tell(Event::Sent { key, sent: Sent::Lost });
            }
            state.take_holds().for_each(|held| self.release(&held));
        }
        {
            let mut inbox = end.inbox.lock();
            inbox.close();
            end.account(&inbox);
            end.tell_broken(&mut inbox);
        }
        end.tell(Event::Closed(why));
        tracing::debug!(session = end.number, ?why, "MSRP session of our own ended");
        if let Some(connection) = connection {
            connection.remove_end(end);
            let mut touched = Touched::from_iter([Arc::clone(&connection)]);
            self.flush(&mut touched);
            self.let_go(&connection);
        }
        end.dispatch_later();
    }

    /// What time does to sessions of our own.
    pub(in super::super) fn tick_ends(&self, now: u64) {
        let idle = self.settings.session_idle;
        for end in self.ends.all() {
            end.expire();
            let unused = idle > 0 && now.saturating_sub(end.used.load(Ordering::Relaxed)) > idle;
            if unused || end.waits_in_vain(now) {
                self.shut(&end, EndClosed::Idle);
            }
            end.dispatch_later();
        }
    }

    /// Closes a connection that we opened and nobody uses.
    fn let_go(&self, connection: &Arc<Connection>) {
        if connection.outbound && !connection.has_sessions() {
            self.undialled(connection);
            self.close(connection);
        }
    }
}
