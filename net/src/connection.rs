//! One connection: what is known of it, its way out, and the task that reads it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chappe_sip::Flow;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::buffers::{self, READ};
use crate::config::ListenerConfig;
use crate::events::{CloseReason, Reading};
use crate::frame::{Frame, FrameError, Framer, SipFramer};
use crate::net::Inner;
use crate::outbox::{Outbox, SendError};
use crate::table::Leads;
use crate::tls::Proof;
use crate::websocket::{PieceList, WebSocket, WebSocketEnd};
use crate::wire::Wire;

/// Reads of one connection before other tasks of the thread have their turn.
const READS_PER_TURN: usize = 8;

/// Seconds that a WebSocket peer has to answer a ping, as RFC 5626 §4.4.1 has it for its own pings.
const PONG_WAIT: u64 = 10;

/// Messages for one connection, each with its tag.
pub(crate) type Batch = SmallVec<[(Bytes, u64); 2]>;

pub(crate) struct Connection {
    pub(crate) flow: Flow,
    pub(crate) net: Arc<Inner>,
    state: Mutex<State>,
    rare: Option<Box<Rare>>,
    /// We opened it.
    pub(crate) outbound: bool,
    /// Seconds of the net's clock when bytes last came.
    last_read: AtomicU32,
    /// Seconds of the net's clock when the unfinished message began, 0 if there is none.
    message_since: AtomicU32,
}

/// What few connections have.
#[derive(Default)]
pub(crate) struct Rare {
    pub(crate) server_name: Option<Arc<str>>,
    pub(crate) alias: Mutex<Option<SocketAddr>>,
    pub(crate) peer_verified: bool,
    pub(crate) proof: Proof,
}

#[derive(Default)]
struct State {
    /// Absent while we connect, and after the end.
    wire: Option<Wire>,
    /// Present while the wire takes no more.
    backlog: Option<Box<Backlog>>,
    /// Wakes the task.
    waker: Option<Waker>,
    /// Set to end the connection: nothing more is sent.
    fate: Option<CloseReason>,
    /// The backlog is still sent before the end.
    draining: bool,
    /// Nothing is read until the user resumes.
    paused: bool,
    /// The user resumed since the last read.
    resumed: bool,
}

#[derive(Default)]
struct Backlog {
    /// The system has been told to wait for the peer.
    outwaited: bool,
    queue: VecDeque<(Bytes, u64)>,
    /// Bytes of the first one that have gone.
    skip: usize,
    bytes: usize,
    /// Seconds of the net's clock when the wire last took something.
    since: u32,
    /// Was above the high mark, and not below the low one since.
    above: bool,
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn end(&mut self, why: CloseReason) {
        self.fate.get_or_insert(why);
        self.wake();
    }

    /// Writes what the wire takes and keeps the rest within bounds.
    fn push(&mut self, net: &Inner, batch: Batch) -> Result<(), SendError> {
        let backlog = match (&mut self.wire, &mut self.backlog) {
            (Some(wire), None) => {
                let written = match wire.write(batch.iter().map(|(b, _)| b), 0) {
                    Ok(written) => written,
                    Err(_) => {
                        self.end(CloseReason::Reset);
                        return Err(SendError::Gone);
                    }
                };
                if written.blocked {
                    wire.outwait();
                    let mut backlog = Backlog { since: net.seconds(), outwaited: true, ..Backlog::default() };
                    backlog.push(batch);
                    backlog.taken(written.bytes);
                    backlog.above = backlog.bytes > net.limits.high_mark;
                    self.backlog = Some(Box::new(backlog));
                    self.wake();
                }
                return Ok(());
            }
            (_, Some(backlog)) => backlog,
            // Still connecting: the time of a stall counts from the first message.
            (None, none) => none.insert(Box::new(Backlog { since: net.seconds(), ..Backlog::default() })),
        };
        if backlog.bytes + total(&batch) > net.limits.backlog {
            if self.wire.is_some() {
                net.counters.slow_peers.one();
                self.end(CloseReason::Slow);
            }
            return Err(SendError::Backlog);
        }
        backlog.push(batch);
        backlog.above |= backlog.bytes > net.limits.high_mark;
        Ok(())
    }
}

impl Connection {
    pub(crate) fn new(net: Arc<Inner>, flow: Flow, rare: Option<Box<Rare>>, outbound: bool) -> Arc<Connection> {
        let now = net.seconds();
        Arc::new(Connection {
            flow,
            net,
            state: Mutex::default(),
            rare,
            outbound,
            last_read: AtomicU32::new(now),
            message_since: AtomicU32::new(0),
        })
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        self.rare.as_ref()?.server_name.as_deref()
    }

    /// What the peer of a connection that we opened had to prove.
    pub(crate) fn proof(&self) -> &Proof {
        self.rare.as_ref().map_or(&Proof::Domain, |rare| &rare.proof)
    }

    pub(crate) fn alias(&self) -> Option<SocketAddr> {
        *self.rare.as_ref()?.alias.lock()
    }

    /// Notes another address of the peer (RFC 5923 §8); refused unless its certificate was verified.
    pub(crate) fn set_alias(&self, remote: SocketAddr) -> bool {
        match &self.rare {
            Some(rare) if rare.peer_verified => {
                *rare.alias.lock() = Some(remote);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn leads_to(&self, wanted: &Leads<'_>) -> bool {
        let same_name = match (self.server_name(), wanted.name) {
            (Some(ours), Some(wanted)) => ours.eq_ignore_ascii_case(wanted),
            (ours, wanted) => ours.is_none() && wanted.is_none(),
        };
        self.flow.transport == wanted.transport
            && same_name
            && (self.flow.remote == wanted.remote || self.alias() == Some(wanted.remote))
            && self.proof() == wanted.proof
            && self.is_open()
    }

    pub(crate) fn is_open(&self) -> bool {
        let state = self.state.lock();
        state.fate.is_none() && !state.draining
    }

    /// Sends `batch` as far as the socket takes it; the rest waits its turn within bounds. An error is about all of
    /// the batch.
    pub(crate) fn send(&self, batch: Batch) -> Result<(), SendError> {
        self.send_cut(batch, &[])
    }

    /// The same, with the ends of WebSocket messages among the pieces ([`WebSocket::frames`]).
    pub(crate) fn send_cut(&self, batch: Batch, ends: &[usize]) -> Result<(), SendError> {
        let count = self.net.counters.transport(self.flow.transport);
        let (messages, bytes) = (batch.len() as u64, total(&batch) as u64);
        let result = self.write(batch, ends);
        match result {
            Ok(()) => {
                count.sent.add(messages);
                count.sent_bytes.add(bytes);
            }
            Err(_) => count.send_errors.add(messages),
        }
        result
    }

    fn write(&self, mut batch: Batch, ends: &[usize]) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if state.fate.is_some() || state.draining {
            return Err(SendError::Gone);
        }
        if let Some(websocket) = state.wire.as_ref().and_then(|w| w.websocket.as_ref()) {
            batch = websocket.frames(batch, ends);
        }
        state.push(&self.net, batch)
    }

    /// Ends the connection after what waits for the peer, or at once.
    pub(crate) fn close(&self, why: CloseReason, at_once: bool) {
        let mut state = self.state.lock();
        if at_once || state.backlog.is_none() {
            state.end(why);
        } else {
            state.draining = true;
            state.wake();
        }
    }

    /// Goes on reading.
    pub(crate) fn resume(&self) {
        let now = self.net.seconds();
        let mut state = self.state.lock();
        state.resumed = true;
        if std::mem::take(&mut state.paused) {
            // The silence was ours.
            self.last_read.store(now, Ordering::Relaxed);
            if let Some(websocket) = state.wire.as_mut().and_then(|w| w.websocket.as_mut())
                && websocket.pinged != 0
            {
                websocket.pinged = now.max(1);
            }
            state.wake();
        }
    }

    /// Stops reading, unless the user resumed since the last read.
    fn pause(&self) {
        let mut state = self.state.lock();
        state.paused = !state.resumed;
    }

    pub(crate) fn queued(&self) -> usize {
        self.state.lock().backlog.as_ref().map_or(0, |backlog| backlog.bytes)
    }

    /// Puts the socket in place; the task that reads it is to be started next.
    pub(crate) fn attach(&self, wire: Wire) {
        self.last_read.store(self.net.seconds(), Ordering::Relaxed);
        self.state.lock().wire = Some(wire);
    }

    /// Applies the time limits.
    pub(crate) fn check(&self, now: u32) {
        let limits = &self.net.limits;
        let over = |since: u32, limit: std::time::Duration| u64::from(now.saturating_sub(since)) > limit.as_secs();
        let message = self.message_since.load(Ordering::Relaxed);
        let idle = over(self.last_read.load(Ordering::Relaxed), limits.idle)
            || message != 0 && over(message, limits.message_timeout);
        let mut state = self.state.lock();
        if state.wire.is_none() || state.fate.is_some() {
            return;
        }
        if state.backlog.as_ref().is_some_and(|b| over(b.since, limits.stall)) {
            self.net.counters.slow_peers.one();
            state.end(CloseReason::Slow);
        } else if state.paused {
            // No read would meet an error.
            if state.wire.as_ref().is_some_and(Wire::has_failed) {
                state.end(CloseReason::Reset);
            }
        } else if idle {
            self.net.counters.idle_closed.one();
            state.end(CloseReason::Idle);
        } else {
            self.ping(&mut state, now);
        }
    }

    /// Pings a silent WebSocket peer, and ends the connection of one that has not answered.
    fn ping(&self, state: &mut State, now: u32) {
        let limits = &self.net.limits;
        let Some(websocket) = state.wire.as_mut().and_then(|w| w.websocket.as_mut()) else { return };
        if websocket.pinged == 0 {
            let silent = now.saturating_sub(self.last_read.load(Ordering::Relaxed));
            if u64::from(silent) >= limits.websocket_ping.as_secs() {
                websocket.pinged = now.max(1);
                let _ = state.push(&self.net, Batch::from_iter([(WebSocket::ping(), Outbox::UNTAGGED)]));
            }
        } else if u64::from(now.saturating_sub(websocket.pinged)) > PONG_WAIT + limits.websocket_ping.as_secs() / 4 {
            self.net.counters.idle_closed.one();
            state.end(CloseReason::Idle);
        }
    }

    /// Ends the connection for good. What had not gone out is told as failed.
    pub(crate) fn finish(&self, error: SendError) {
        let (wire, backlog) = {
            let mut state = self.state.lock();
            state.fate.get_or_insert(CloseReason::Local);
            state.waker = None;
            (state.wire.take(), state.backlog.take())
        };
        // With something unsent before it, a proper end would stand in the middle of a message.
        if let Some(mut wire) = wire.filter(|_| backlog.is_none()) {
            wire.shutdown();
        }
        self.net.table.remove(self);
        for (_, tag) in backlog.into_iter().flat_map(|b| b.queue) {
            self.net.failed(tag, error);
        }
    }
}

impl Backlog {
    fn push(&mut self, batch: Batch) {
        self.bytes += total(&batch);
        self.queue.extend(batch);
    }

    /// Takes off what the wire accepted.
    fn taken(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.skip += bytes;
        while let Some((first, _)) = self.queue.front()
            && self.skip >= first.len()
        {
            self.skip -= first.len();
            self.queue.pop_front();
        }
    }
}

fn total(batch: &Batch) -> usize {
    batch.iter().map(|(bytes, _)| bytes.len()).sum()
}

thread_local! {
    /// Where this thread's connections read into, so that an idle one holds no buffer.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUTBOX: Cell<Option<Box<Outbox>>> = const { Cell::new(None) };
}

/// The task of a connection: waits, reads, cuts, calls the user, sends what the user wants sent, and drains the
/// backlog. Small, since there is one for each connection.
pub(crate) struct Pump {
    connection: Arc<Connection>,
    framer: Cutter,
    /// The beginning of a message that is not complete.
    partial: Vec<u8>,
    /// Set when nothing is read any more and only the backlog is still sent.
    ending: Option<CloseReason>,
    /// Our direction has ended and we wait for the peer's end.
    lingering: bool,
    finished: bool,
}

enum Cutter {
    Sip(SipFramer),
    Other(Box<dyn Framer>),
    Raw,
}

impl Cutter {
    fn next(&mut self, buffer: &[u8]) -> Result<Frame, FrameError> {
        match self {
            Cutter::Sip(framer) => framer.next(buffer),
            Cutter::Other(framer) => framer.next(buffer),
            Cutter::Raw => Ok(Frame::Need(1)),
        }
    }
}

enum Turn {
    Data(usize),
    /// WebSocket messages, and why there will be no more.
    Messages(SmallVec<[Bytes; 2]>, Option<WebSocketEnd>),
    /// Where in what was read the payload of a raw WebSocket lies, and why there will be no more.
    Pieces(PieceList, Option<WebSocketEnd>),
    /// The backlog has become short.
    Writable,
    Wait,
    End(CloseReason),
}

impl Pump {
    pub(crate) fn new(connection: Arc<Connection>) -> Pump {
        let net = &connection.net;
        let config = net.listeners.get(usize::from(connection.flow.listener)).map(|l| &l.config);
        let framer = match config {
            Some(config) if config.raw => Cutter::Raw,
            Some(ListenerConfig { framer: Some(make), .. }) => Cutter::Other(make(&net.limits)),
            _ => Cutter::Sip(SipFramer::new(net.limits.frame())),
        };
        Pump { connection, framer, partial: Vec::new(), ending: None, lingering: false, finished: false }
    }

    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Turn {
        let mut state = self.connection.state.lock();
        let state = &mut *state;
        if let Some(why) = state.fate {
            return Turn::End(self.ending.unwrap_or(why));
        }
        let Some(wire) = &mut state.wire else { return Turn::End(CloseReason::Local) };
        if let Some(backlog) = &mut state.backlog {
            let net = &self.connection.net;
            let drained = drain(wire, backlog, cx, net.seconds());
            let fell = backlog.above && backlog.bytes <= net.limits.low_mark;
            backlog.above &= !fell;
            match drained {
                Poll::Ready(Ok(())) => state.backlog = None,
                Poll::Ready(Err(_)) => return Turn::End(CloseReason::Reset),
                Poll::Pending => {}
            }
            if fell && matches!(self.framer, Cutter::Raw) {
                return Turn::Writable;
            }
        }
        if state.draining && self.ending.is_none() {
            self.ending = Some(CloseReason::Local);
        }
        if let Some(why) = self.ending
            && state.backlog.is_none()
        {
            if why != CloseReason::Malformed {
                return Turn::End(why);
            }
            if !std::mem::replace(&mut self.lingering, true) {
                // Closing with unread bytes would reset the connection and lose our last answer, so the rest is read
                // and forgotten until the peer closes or the time for a message is over.
                wire.shutdown();
                state.paused = false;
                self.connection.message_since.store(self.connection.net.seconds().max(1), Ordering::Relaxed);
            }
        }
        let read = if state.paused && self.ending.is_none() { Poll::Pending } else { wire.poll_read(cx, scratch) };
        if read.is_ready() {
            state.resumed = false;
        }
        let turn = match read {
            Poll::Ready(Ok(0)) => Turn::End(self.ending.unwrap_or(CloseReason::Peer)),
            Poll::Ready(Ok(n)) if self.ending.is_none() && wire.websocket.is_some() => {
                let (mut messages, mut pieces, mut due) = (SmallVec::new(), PieceList::new(), Vec::new());
                let raw = matches!(self.framer, Cutter::Raw);
                let fed = wire.websocket.as_mut().map(|w| match raw {
                    true => w.feed_raw(&mut scratch[..n], &mut due, &mut pieces),
                    false => w.feed(&scratch[..n], &mut due, |m| messages.push(m)),
                });
                let end = fed.and_then(Result::err);
                if !due.is_empty() {
                    let _ = state.push(&self.connection.net, Batch::from_iter([(due.into(), Outbox::UNTAGGED)]));
                }
                return if raw { Turn::Pieces(pieces, end) } else { Turn::Messages(messages, end) };
            }
            Poll::Ready(Ok(n)) => Turn::Data(n),
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::InvalidData => Turn::End(CloseReason::Protocol),
            Poll::Ready(Err(_)) => Turn::End(CloseReason::Reset),
            Poll::Pending => Turn::Wait,
        };
        if matches!(turn, Turn::Wait) && !state.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        turn
    }

    /// Hands over the messages in `data` and what was kept before it.
    fn deliver(&mut self, data: &[u8], out: &mut Outbox) {
        if self.ending.is_some() {
            return;
        }
        self.note_read(data.len());
        let net = &self.connection.net;
        let flow = &self.connection.flow;
        let mut partial = std::mem::take(&mut self.partial);
        let buffer = if partial.is_empty() {
            data
        } else {
            partial.extend_from_slice(data);
            &partial[..]
        };
        let (mut at, mut messages, mut pings) = (0, 0, 0);
        loop {
            match self.framer.next(&buffer[at..]) {
                Ok(Frame::Message(length)) => {
                    net.events().message(flow, Bytes::copy_from_slice(&buffer[at..at + length]), out);
                    messages += 1;
                    at += length;
                }
                Ok(Frame::Blank { length, pings: more }) => {
                    pings += more;
                    at += length;
                }
                Ok(Frame::Need(_)) => break,
                Err(error) => {
                    let junk = error == FrameError::NotSip;
                    if junk {
                        net.counters.junk.one()
                    } else {
                        net.counters.framing_errors.one()
                    }
                    let prefix = &buffer[at..buffer.len().min(at + net.limits.head)];
                    net.events().malformed(flow, Bytes::copy_from_slice(prefix), error, out);
                    self.ending = Some(CloseReason::Malformed);
                    at = buffer.len();
                    break;
                }
            }
        }
        if messages > 0 {
            net.counters.transport(flow.transport).received.add(messages);
            net.events().batch_end(out);
        }
        if pings > 0 {
            net.counters.pings.add(pings as u64);
            out.send(*flow, pongs(pings), Outbox::UNTAGGED);
        }
        let left = buffer.len() - at;
        if left > 0 {
            // An unfinished message: only its bytes are kept.
            self.partial = if partial.is_empty() {
                data[at..].to_vec()
            } else {
                partial.drain(..at);
                partial
            };
        }
        let since = &self.connection.message_since;
        if left == 0 {
            since.store(0, Ordering::Relaxed);
        } else if messages > 0 || since.load(Ordering::Relaxed) == 0 {
            since.store(net.seconds().max(1), Ordering::Relaxed);
        }
    }

    /// Hands over bytes as they came.
    fn hand_over(&mut self, data: &Bytes, out: &mut Outbox) {
        if self.ending.is_some() {
            return;
        }
        self.note_read(data.len());
        let Connection { net, flow, .. } = &*self.connection;
        let reading = net.events().data(flow, data, out);
        net.events().data_end(flow, out);
        self.go_on(reading);
    }

    /// Hands over what of a read is payload of a raw WebSocket. Returns why the connection ends, if it does at once.
    fn hand_over_pieces(
        &mut self,
        read: &Bytes,
        pieces: &PieceList,
        end: Option<WebSocketEnd>,
        out: &mut Outbox,
    ) -> Option<CloseReason> {
        self.note_read(pieces.iter().map(|piece| piece.at.len()).sum());
        let Connection { net, flow, .. } = &*self.connection;
        let mut reading = Reading::More;
        let mut note = |told| match told {
            Reading::More => true,
            Reading::Pause => {
                reading = Reading::Pause;
                true
            }
            Reading::End => {
                reading = Reading::End;
                false
            }
        };
        for piece in pieces {
            let data = read.slice(piece.at.clone());
            if !data.is_empty() && !note(net.events().data(flow, &data, out))
                || piece.last && !note(net.events().message_end(flow, out))
            {
                break;
            }
        }
        if !pieces.is_empty() {
            net.events().data_end(flow, out);
        }
        self.go_on(reading);
        match end? {
            WebSocketEnd::Close(why) => Some(why),
            WebSocketEnd::Malformed(_) => Some(CloseReason::Protocol),
        }
    }

    fn go_on(&mut self, reading: Reading) {
        match reading {
            Reading::More => {}
            Reading::Pause => self.connection.pause(),
            Reading::End => self.ending = Some(CloseReason::Malformed),
        }
    }

    fn note_read(&self, bytes: usize) {
        let Connection { net, flow, last_read, .. } = &*self.connection;
        net.counters.transport(flow.transport).received_bytes.add(bytes as u64);
        last_read.store(net.seconds(), Ordering::Relaxed);
    }

    /// Hands over WebSocket messages. Returns why the connection ends, if it does at once.
    fn deliver_messages(
        &mut self,
        messages: SmallVec<[Bytes; 2]>,
        end: Option<WebSocketEnd>,
        out: &mut Outbox,
    ) -> Option<CloseReason> {
        self.note_read(messages.iter().map(Bytes::len).sum());
        let net = &self.connection.net;
        let flow = &self.connection.flow;
        let mut count = 0;
        for message in messages {
            let blank = message.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            if blank < message.len() {
                net.events().message(flow, message.slice(blank..), out);
                count += 1;
            } else if blank >= 4 {
                // The keep-alive of other streams, which some clients send here too.
                net.counters.pings.one();
                out.send(*flow, pongs(1), Outbox::UNTAGGED);
            }
        }
        if count > 0 {
            net.counters.transport(flow.transport).received.add(count);
            net.events().batch_end(out);
        }
        match end? {
            WebSocketEnd::Close(why) => Some(why),
            WebSocketEnd::Malformed(error) => {
                net.counters.framing_errors.one();
                net.events().malformed(flow, Bytes::new(), error, out);
                self.ending = Some(CloseReason::Malformed);
                None
            }
        }
    }

    fn run(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], out: &mut Outbox) -> Poll<CloseReason> {
        for _ in 0..READS_PER_TURN {
            let mut end = None;
            match self.turn(cx, scratch) {
                Turn::Data(length) => self.deliver(&scratch[..length], out),
                Turn::Messages(messages, why) => end = self.deliver_messages(messages, why, out),
                // Those are for raw connections.
                Turn::Pieces(..) | Turn::Writable => {}
                Turn::Wait => return Poll::Pending,
                Turn::End(why) => return Poll::Ready(why),
            }
            self.connection.net.flush_near(out, &self.connection);
            if let Some(why) = end {
                return Poll::Ready(why);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The same for a raw connection, whose user may keep what was read.
    fn run_raw(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<CloseReason> {
        for _ in 0..READS_PER_TURN {
            let mut buffer = buffers::take();
            let mut end = None;
            match self.turn(cx, &mut buffer) {
                Turn::Data(length) => self.hand_over(&buffers::lend(buffer).slice(..length), out),
                Turn::Pieces(pieces, why) => {
                    end = self.hand_over_pieces(&buffers::lend(buffer), &pieces, why, out);
                }
                other => {
                    buffers::put_back(buffer);
                    match other {
                        Turn::Writable => self.connection.net.events().writable(&self.connection.flow, out),
                        Turn::End(why) => return Poll::Ready(why),
                        _ => return Poll::Pending,
                    }
                }
            }
            self.connection.net.flush_near(out, &self.connection);
            if let Some(why) = end {
                return Poll::Ready(why);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn finish(&mut self, why: CloseReason) {
        if !std::mem::replace(&mut self.finished, true) {
            let connection = &self.connection;
            connection.finish(if why == CloseReason::Slow { SendError::Backlog } else { SendError::Gone });
            connection.net.ended(connection);
            connection.net.events().closed(&connection.flow, why);
        }
    }
}

/// Sends what waits, until all is gone or the wire is full again.
fn drain(wire: &mut Wire, backlog: &mut Backlog, cx: &mut Context<'_>, now: u32) -> Poll<io::Result<()>> {
    loop {
        let written = wire.write(backlog.queue.iter().map(|(b, _)| b), backlog.skip)?;
        backlog.taken(written.bytes);
        if written.bytes > 0 {
            backlog.since = now;
        }
        if !written.blocked && !wire.flush()? {
            return if backlog.queue.is_empty() { Poll::Ready(Ok(())) } else { continue };
        }
        if wire.poll_write_ready(cx)?.is_pending() {
            if !std::mem::replace(&mut backlog.outwaited, true) {
                wire.outwait();
            }
            return Poll::Pending;
        }
    }
}

fn pongs(n: usize) -> Bytes {
    const ONE: &[u8] = b"\r\n";
    if n == 1 { Bytes::from_static(ONE) } else { Bytes::from(ONE.repeat(n)) }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Taken out of the cells, so that a nested use would find empty ones and not these.
        let mut out = OUTBOX.take().unwrap_or_default();
        let result = if matches!(self.framer, Cutter::Raw) {
            self.run_raw(cx, &mut out)
        } else {
            let mut scratch = SCRATCH.take();
            scratch.resize(READ, 0);
            let result = self.run(cx, &mut scratch, &mut out);
            SCRATCH.set(scratch);
            result
        };
        OUTBOX.set(Some(out));
        result.map(|why| self.finish(why))
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // The user panicked, or the runtime is going down.
        if std::thread::panicking() {
            self.connection.net.counters.panics.one();
        }
        self.finish(CloseReason::Local);
    }
}
