//! Writing what is due on connections, and what follows when it is written, or when a connection ends.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chappe_msrp::relay::Side;
use chappe_msrp::{FailureReport, Flag, Note, Outcome, Output};
use smallvec::SmallVec;

use super::connection::{Connection, Current, Outbound, Touched, Waiting, touch};
use super::endpoint::{End, EndClosed, WrittenChunk};
use super::relay::Relay;

/// Bytes that may wait in a connection's socket queue before nothing more is put there.
pub(crate) const SOCKET_MARK: usize = 64 * 1024;
/// Bytes taken at a time.
const BUDGET: usize = 64 * 1024;
/// Frames that go before all streams may wait up to this; a peer that reads none of them is let go.
const CONTROL: usize = 1024 * 1024;

thread_local! {
    /// So that connections that send nothing hold no buffers.
    static OUTPUT: RefCell<Output> = RefCell::default();
}

/// What follows from a write, to be done when its lock is free.
#[derive(Default)]
pub(super) struct After {
    /// These sources may be read again.
    released: SmallVec<[Arc<Connection>; 2]>,
    /// 200s that were withheld.
    answers: SmallVec<[(Arc<Connection>, Bytes); 4]>,
    /// Transactions that were given up.
    given_up: Vec<Waiting>,
    /// Sessions of our own whose users have something to hear.
    ends: SmallVec<[Arc<End>; 2]>,
}

impl Relay {
    /// Writes what waits on these connections, and on those that it leads to.
    pub(super) fn flush(&self, touched: &mut Touched) {
        while let Some(connection) = touched.pop() {
            self.pump(&connection, touched);
        }
    }

    fn pump(&self, connection: &Arc<Connection>, touched: &mut Touched) {
        if let Some(link) = connection.link() {
            if connection.way_out.lock().outgoing.control_queued() > CONTROL {
                link.close();
            }
            return link.wake();
        }
        let (Some(net), Some(flow)) = (self.net(), connection.flow()) else { return };
        let mut after = After::default();
        let stuck = OUTPUT.with_borrow_mut(|output| {
            let mut out = connection.way_out.lock();
            // More room may come up while we write; `writable` tells when there was none.
            while !out.gone && net.queued(flow) <= SOCKET_MARK {
                let sent = self.poll(&mut out, output, &mut after);
                // Under the lock, or the order could change. Of a connection that has ended `closed` tells.
                let _ = net.send_all(flow, output.pieces.drain(..), &output.ends);
                output.ends.clear();
                if sent == 0 {
                    break;
                }
            }
            if out.withheld > 0 {
                self.let_answers_go(&mut out, &mut after);
            }
            out.outgoing.control_queued() > CONTROL
        });
        if stuck {
            self.close(connection);
        }
        self.follow(after, touched);
    }

    /// Takes a part of what waits, for whoever hands it over; how many bytes that is.
    pub(super) fn collect(&self, out: &mut Outbound, output: &mut Output, after: &mut After) -> usize {
        if out.gone {
            return 0;
        }
        let sent = self.poll(out, output, after);
        if out.withheld > 0 {
            self.let_answers_go(out, after);
        }
        sent
    }

    fn poll(&self, out: &mut Outbound, output: &mut Output, after: &mut After) -> usize {
        let Outbound { outgoing, ids, .. } = out;
        let sent = outgoing.poll(ids, BUDGET, output);
        for note in output.notes.drain(..) {
            self.note(out, note, after);
        }
        sent
    }

    fn note(&self, out: &mut Outbound, note: Note, after: &mut After) {
        match note {
            Note::ChunkSent { key, id, head, range, flag, answered } => {
                if let Some(end) = out.own.get(&key).cloned() {
                    let chunk = WrittenChunk { key, id, head: &head, range, flag, answered };
                    after.given_up.extend(end.written(out, &chunk));
                    after.ends.push(end);
                    return;
                }
                self.counters.chunks_sent.one();
                if answered || head.failure_report() == FailureReport::No {
                    return;
                }
                let Some(source) = out.streams.get(&key) else { return };
                let (source, shifts) = (Arc::clone(&source.connection), source.shifts);
                let waiting = Waiting::Chunk { source, shifts, key, head, range, more: flag == Flag::More };
                after.given_up.extend(out.open.begin(id, waiting, self.instant()).map(|(_, waiting)| waiting));
            }
            Note::Resumed(key) => {
                if let Some(end) = out.own.get(&key) {
                    end.resumed(key);
                    after.ends.push(Arc::clone(end));
                    return;
                }
                if let Some(source) = out.streams.get_mut(&key)
                    && std::mem::take(&mut source.holds)
                {
                    after.released.push(Arc::clone(&source.connection));
                }
            }
        }
    }

    /// 200s of streams that are below their mark again.
    fn let_answers_go(&self, out: &mut Outbound, after: &mut After) {
        let Outbound { outgoing, streams, withheld, .. } = out;
        for (key, source) in streams.iter_mut().filter(|(_, source)| !source.withheld.is_empty()) {
            if outgoing.queued(*key) <= self.settings.outgoing.low {
                *withheld -= source.withheld.len();
                after.answers.extend(source.withheld.drain(..).map(|frame| (Arc::clone(&source.connection), frame)));
            }
        }
    }

    pub(super) fn follow(&self, after: After, touched: &mut Touched) {
        for (source, frame) in after.answers {
            let mut out = source.way_out.lock();
            if !out.gone {
                out.outgoing.control(frame);
                drop(out);
                touch(touched, &source);
            }
        }
        after.released.iter().for_each(|source| self.release(source));
        after.given_up.into_iter().for_each(|waiting| self.unanswered(waiting, touched));
        // Whoever flushes may be one of them.
        after.ends.iter().for_each(End::dispatch_later);
    }

    /// One reason less not to read a connection.
    pub(super) fn release(&self, source: &Connection) {
        if source.holds.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        if let Some(link) = source.link() {
            link.wake();
        } else if let (Some(net), Some(flow)) = (self.net(), source.flow()) {
            net.resume(flow);
        }
    }

    /// No response came in time.
    pub(super) fn unanswered(&self, waiting: Waiting, touched: &mut Touched) {
        self.counters.timeouts.one();
        match waiting {
            Waiting::Chunk { source, shifts, head, range, .. } => {
                if let Some(code) = Outcome::Timeout.failure(head.failure_report()) {
                    self.report(&source, shifts, &head, range, code, touched);
                }
            }
            Waiting::Own { end, number, .. } => {
                end.outcome(number, Outcome::Timeout, touched);
                end.dispatch_later();
            }
            Waiting::Request { source, reply, .. } => {
                let mut frame = Vec::with_capacity(256);
                reply.write(&mut frame, 408, "Timeout");
                self.control(&source, frame, touched);
            }
        }
    }

    /// A connection is gone, or never came to be: whoever waited for it hears of it.
    pub(super) fn lost(&self, connection: &Arc<Connection>) {
        let mut touched = Touched::new();
        {
            let mut inbound = connection.inbound.lock();
            let current = std::mem::replace(&mut inbound.current, Current::None);
            self.abandon(current, &mut touched);
        }
        let (unsent, streams, open) = {
            let mut out = connection.way_out.lock();
            out.gone = true;
            out.withheld = 0;
            out.own.clear();
            let open: Vec<_> = out.open.drain().map(|(_, waiting)| waiting).collect();
            (out.outgoing.drain(), std::mem::take(&mut out.streams), open)
        };
        // The bytes are here, so the 200s are due; what became of them is told after that.
        let mut after = After::default();
        for source in streams.values() {
            after.answers.extend(source.withheld.iter().map(|frame| (Arc::clone(&source.connection), frame.clone())));
            if source.holds {
                after.released.push(Arc::clone(&source.connection));
            }
        }
        self.follow(after, &mut touched);
        // Who is in the middle of a chunk has it in his response.
        for chunk in unsent.into_iter().filter(|chunk| chunk.range.end.is_some()) {
            if let Some(source) = streams.get(&chunk.key)
                && let Some(code) = Outcome::Unsent.failure(chunk.head.failure_report())
            {
                self.report(&source.connection, source.shifts, &chunk.head, chunk.range, code, &mut touched);
            }
        }
        for waiting in open {
            match waiting {
                Waiting::Chunk { source, shifts, head, range, .. } => {
                    if let Some(code) = Outcome::Unanswered.failure(head.failure_report()) {
                        self.report(&source, shifts, &head, range, code, &mut touched);
                    }
                }
                // They hear of it with the end of their session.
                Waiting::Own { .. } => {}
                Waiting::Request { .. } => self.unanswered(waiting, &mut touched),
            }
        }
        for end in connection.ends() {
            self.shut(&end, EndClosed::ConnectionLost);
        }
        for session in connection.sessions() {
            if Arc::ptr_eq(&session.owner, connection) {
                self.end_session(&session);
            } else {
                if let Some(key) = session.unbind(connection) {
                    session.owner.way_out.lock().streams.remove(&key);
                }
                connection.remove(&session);
            }
        }
        self.flush(&mut touched);
    }

    /// Ends a session; frames for it are refused from now on.
    pub(super) fn end_session(&self, session: &Arc<super::session::Session>) {
        let (peer, from_outside) = (session.peer(), session.keys_from_outside());
        if !self.sessions.end(session) {
            return;
        }
        // What waits of it still goes out; nobody hears what becomes of it.
        let mut after = After::default();
        let to_outside = peer.iter().map(|peer| (peer, session.key(Side::Owner)));
        let to_owner = from_outside.into_iter().map(|key| (&session.owner, key));
        for (to, key) in to_outside.chain(to_owner) {
            let mut out = to.way_out.lock();
            let Some(source) = out.streams.remove(&key) else { continue };
            out.withheld -= source.withheld.len();
            after.answers.extend(source.withheld.into_iter().map(|frame| (Arc::clone(&source.connection), frame)));
            if source.holds {
                after.released.push(source.connection);
            }
        }
        let mut touched = Touched::new();
        self.follow(after, &mut touched);
        self.flush(&mut touched);
        tracing::debug!(session = session.number, "MSRP session ended");
    }
}
