//! What goes out next on a connection (RFC 4975 §7.1.1, RFC 4976 §6.4.1).
//!
//! Responses, REPORTs and the like go first and interrupt a running chunk; streams take turns by a quantum. A chunk is
//! cut only when somebody else waits, when its own end-line turns up in it, or at a limit of the peer.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use bytes::{Bytes, BytesMut};

use crate::chunk::ChunkHead;
use crate::head::Flag;
use crate::ids::{OwnHasher, TransactionId, TransactionIds};
use crate::range::ByteRange;
use crate::scan::Scan;

/// Body bytes up to which a chunk need not be interruptible, and below which none is cut but the last
/// (RFC 4975 §7.1.1).
pub const UNIT: usize = 2048;

/// Slices up to this size are copied next to the head, which is cheaper than a piece of their own.
const COPY: usize = 2048;

/// What is left of a slice is copied up to this size, so that the rest of it is free.
const TAIL: usize = 64;

/// How one connection sends; sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutgoingConfig {
    /// What a stream may send before the next one has its turn. At least [`UNIT`] is taken.
    pub quantum: usize,
    /// Largest body of a chunk that the peer takes.
    pub max_chunk: Option<usize>,
    /// No frame is interrupted, and [`Output::ends`] tells them apart, as WebSocket wants it (RFC 7977 §5.3); without
    /// `max_chunk` a body has a quantum at most.
    pub whole_frames: bool,
    /// A stream that had more than `high` is resumed when it has less than this.
    pub low: usize,
    /// A stream that has more than this waiting should get no more. At least 8192 is taken.
    pub high: usize,
}

impl Default for OutgoingConfig {
    fn default() -> Self {
        OutgoingConfig { quantum: 16_384, max_chunk: None, whole_frames: false, low: 65_536, high: 262_144 }
    }
}

/// Names a stream: one session's chunks in their order, or one message. Chosen by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(pub u64);

/// Bytes for the wire, and what happened. To be emptied by the caller and used again.
#[derive(Debug, Default)]
pub struct Output {
    /// In this order.
    pub pieces: Vec<Bytes>,
    /// With [`OutgoingConfig::whole_frames`]: how many pieces there are up to the end of each frame.
    pub ends: Vec<usize>,
    pub notes: Vec<Note>,
    text: Vec<u8>,
    buffer: BytesMut,
}

/// What the caller has to know of.
#[derive(Debug)]
pub enum Note {
    /// The end-line of a frame is among the pieces: its transaction begins.
    ChunkSent {
        key: StreamKey,
        id: TransactionId,
        head: ChunkHead,
        /// What the frame had, with the end that it came to.
        range: ByteRange,
        flag: Flag,
        /// Its response has come already ([`Outgoing::answered`]).
        answered: bool,
    },
    /// The stream has less than the low mark again: its source may go on.
    Resumed(StreamKey),
}

/// A chunk, or the rest of one, that will not go out.
#[derive(Debug)]
pub struct Unsent {
    pub key: StreamKey,
    pub head: ChunkHead,
    /// The missing bytes; without end if the source had not finished the chunk.
    pub range: ByteRange,
}

struct Chunk {
    head: ChunkHead,
    /// Position of the next byte in the message.
    next: u64,
    /// The waiting bytes.
    front: Bytes,
    back: VecDeque<Bytes>,
    len: usize,
    /// How it ends, once that is known.
    end: Option<Flag>,
    /// A frame of it has gone out, or has begun to.
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing to send yet.
    None,
    /// In the queue.
    Waiting,
    /// Its turn.
    Now,
}

struct Stream {
    chunks: VecDeque<Chunk>,
    /// Body bytes and heads that wait.
    held: usize,
    /// Was above the high mark.
    paused: bool,
    turn: Turn,
    /// What it may still send in this turn; debts are carried over.
    credit: i64,
}

/// The frame on the wire that has no end-line yet. It can always be interrupted.
struct Open {
    key: StreamKey,
    id: TransactionId,
    scan: Scan,
    from: u64,
    body: usize,
    answered: bool,
}

/// Decides for one connection what is sent next, and holds what is not.
pub struct Outgoing {
    config: OutgoingConfig,
    control: VecDeque<Bytes>,
    control_held: usize,
    streams: HashMap<u64, Stream, BuildHasherDefault<OwnHasher>>,
    ready: VecDeque<StreamKey>,
    /// Whose turn it is between two frames.
    turn: Option<StreamKey>,
    open: Option<Open>,
    resumed: Vec<StreamKey>,
    held: usize,
    spare: Vec<VecDeque<Chunk>>,
}

impl Outgoing {
    pub fn new(config: OutgoingConfig) -> Outgoing {
        // Below this a stream could be paused before it has enough for a frame.
        let high = config.high.max(4 * UNIT);
        let config = OutgoingConfig { quantum: config.quantum.max(UNIT), high, low: config.low.min(high), ..config };
        Outgoing {
            config,
            control: VecDeque::new(),
            control_held: 0,
            streams: HashMap::default(),
            ready: VecDeque::new(),
            turn: None,
            open: None,
            resumed: Vec::new(),
            held: 0,
            spare: Vec::new(),
        }
    }

    /// The peer takes larger or smaller chunks from now on.
    pub fn set_max_chunk(&mut self, max_chunk: Option<usize>) {
        self.config.max_chunk = max_chunk;
        let keys: Vec<u64> = self.streams.keys().copied().collect();
        for key in keys {
            self.wake(StreamKey(key));
        }
    }

    /// A whole frame that goes before all chunks.
    pub fn control(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.control_held += frame.len();
            self.control.push_back(frame);
        }
    }

    /// A chunk begins. One of the stream that was not ended is taken to be ended with `+`.
    pub fn begin(&mut self, key: StreamKey, head: ChunkHead) {
        self.end(key, Flag::More);
        let spare = &mut self.spare;
        let stream = self.streams.entry(key.0).or_insert_with(|| Stream {
            chunks: spare.pop().unwrap_or_default(),
            held: 0,
            paused: false,
            turn: Turn::None,
            credit: 0,
        });
        let size = head.size();
        stream.held += size;
        self.held += size;
        let next = head.range().map_or(1, |range| range.start);
        let (front, back) = (Bytes::new(), VecDeque::new());
        stream.chunks.push_back(Chunk { head, next, front, back, len: 0, end: None, begun: false });
    }

    /// More of the stream's chunk. `true`: the source should pause until [`Note::Resumed`]. Nothing is kept that does
    /// not belong to a chunk with a body.
    pub fn body(&mut self, key: StreamKey, bytes: Bytes) -> bool {
        let unit = self.unit();
        let Some(stream) = self.streams.get_mut(&key.0) else { return false };
        if let Some(chunk) = stream.chunks.back_mut()
            && chunk.end.is_none()
            && chunk.head.has_body()
        {
            stream.held += bytes.len();
            self.held += bytes.len();
            chunk.push(bytes);
        }
        // What cannot begin yet needs more, whatever the size of its head.
        let able = stream.chunks.front().is_some_and(|chunk| chunk.can_begin(unit));
        stream.paused |= able && stream.held > self.config.high;
        let paused = stream.paused;
        self.wake(key);
        paused
    }

    /// The stream's chunk is complete. With [`Flag::Abort`] what waits of it is dropped.
    pub fn end(&mut self, key: StreamKey, flag: Flag) {
        let Some(stream) = self.streams.get_mut(&key.0) else { return };
        let Some(chunk) = stream.chunks.back_mut().filter(|chunk| chunk.end.is_none()) else { return };
        chunk.end = Some(flag);
        if flag == Flag::Abort {
            let dropped = chunk.clear();
            self.release(key, dropped);
        }
        self.wake(key);
    }

    /// The source is gone. A chunk that it did not finish is aborted, if anything was sent of its message; what it
    /// finished goes out. `true` if there was such a chunk.
    pub fn drop_stream(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get_mut(&key.0) else { return false };
        let Some(chunk) = stream.chunks.back().filter(|chunk| chunk.end.is_none()) else { return false };
        if chunk.is_known() {
            self.end(key, Flag::Abort);
        } else {
            let size = chunk.size();
            stream.chunks.pop_back();
            self.release(key, size);
            self.settle(key);
        }
        true
    }

    /// Takes away all that waits of a stream. If its first chunk belongs to a message of which something was sent, an
    /// abort goes out in its stead.
    pub fn remove(&mut self, key: StreamKey) -> Vec<Unsent> {
        let Some(stream) = self.streams.get_mut(&key.0) else { return Vec::new() };
        let unsent: Vec<Unsent> = stream.chunks.iter().map(|chunk| chunk.unsent(key)).collect();
        let keep = usize::from(stream.chunks.front().is_some_and(Chunk::is_known));
        let mut dropped: usize = stream.chunks.drain(keep..).map(|chunk| chunk.size()).sum();
        if let Some(chunk) = stream.chunks.front_mut() {
            chunk.end = Some(Flag::Abort);
            dropped += chunk.clear();
        }
        self.release(key, dropped);
        self.wake(key);
        self.settle(key);
        unsent
    }

    /// Takes away all that waits of one message of a stream, which the peer does not want (RFC 4975 §10.5). Its frame on
    /// the wire is aborted; where there is none, nothing more goes out of it.
    pub fn stop(&mut self, key: StreamKey, message_id: &str) -> Vec<Unsent> {
        let mut open = self.open.as_ref().is_some_and(|open| open.key == key);
        let Some(stream) = self.streams.get_mut(&key.0) else { return Vec::new() };
        let (mut unsent, mut dropped) = (Vec::new(), 0);
        stream.chunks.retain_mut(|chunk| {
            // The open frame is of the first chunk.
            let open = std::mem::take(&mut open);
            if chunk.head.message_id() != message_id {
                return true;
            }
            unsent.push(chunk.unsent(key));
            if open {
                chunk.end = Some(Flag::Abort);
                dropped += chunk.clear();
            } else {
                dropped += chunk.size();
            }
            open
        });
        self.release(key, dropped);
        self.wake(key);
        self.settle(key);
        unsent
    }

    /// A response has come for the frame on the wire, which has no end yet. Gives its stream, its headers and what has
    /// gone out of it.
    pub fn answered(&mut self, id: &str) -> Option<(StreamKey, ChunkHead, ByteRange)> {
        let open = self.open.as_mut().filter(|open| open.id.as_str() == id && !open.answered)?;
        let chunk = self.streams.get(&open.key.0)?.chunks.front()?;
        open.answered = true;
        let end = (open.body > 0).then(|| open.from.saturating_add(open.body as u64).saturating_sub(1));
        let range = ByteRange { start: open.from, end, total: chunk.head.range().and_then(|range| range.total) };
        Some((open.key, chunk.head.clone(), range))
    }

    /// The connection is gone: gives up everything, the frames of [`Outgoing::control`] too.
    pub fn drain(&mut self) -> Vec<Unsent> {
        let streams = std::mem::take(&mut self.streams);
        let unsent = streams
            .iter()
            .flat_map(|(key, stream)| stream.chunks.iter().map(|chunk| chunk.unsent(StreamKey(*key))))
            .collect();
        *self = Outgoing::new(self.config);
        unsent
    }

    /// Bytes that wait of a stream, heads included.
    pub fn queued(&self, key: StreamKey) -> usize {
        self.streams.get(&key.0).map_or(0, |stream| stream.held)
    }

    /// Bytes that wait of all streams and of what goes before them.
    pub fn held(&self) -> usize {
        self.held + self.control_held
    }

    /// Bytes of [`Outgoing::control`] that wait.
    pub fn control_queued(&self) -> usize {
        self.control_held
    }

    /// Nothing waits, and no frame is open.
    pub fn is_idle(&self) -> bool {
        self.control.is_empty() && self.streams.is_empty()
    }

    /// Appends to `out` about `budget` bytes of what is to be sent next, a frame's head or a chunk of
    /// [`UNIT`] bytes more at most; with [`OutgoingConfig::whole_frames`] a frame more. Says how many; 0 when there is
    /// nothing to be sent now.
    pub fn poll(&mut self, ids: &mut TransactionIds, budget: usize, out: &mut Output) -> usize {
        let mut sent = 0;
        while sent < budget {
            let step = if self.open.is_some() {
                self.go_on(budget - sent, out)
            } else if let Some(frame) = self.control.pop_front() {
                self.control_held -= frame.len();
                let len = frame.len();
                out.push(frame);
                if self.config.whole_frames {
                    out.end_frame();
                }
                len
            } else {
                self.frame(ids, out)
            };
            if step == 0 {
                break;
            }
            sent += step;
        }
        out.flush();
        out.notes.extend(self.resumed.drain(..).map(Note::Resumed));
        sent
    }

    fn cap(&self) -> usize {
        let default = if self.config.whole_frames { self.config.quantum } else { usize::MAX };
        self.config.max_chunk.unwrap_or(default).max(1)
    }

    fn unit(&self) -> usize {
        self.cap().min(UNIT)
    }

    /// Lets a stream queue up if it has something to begin a frame with.
    fn wake(&mut self, key: StreamKey) {
        let unit = self.unit();
        if let Some(stream) = self.streams.get_mut(&key.0)
            && stream.turn == Turn::None
            && stream.chunks.front().is_some_and(|chunk| chunk.can_begin(unit))
        {
            stream.turn = Turn::Waiting;
            self.ready.push_back(key);
        }
    }

    /// So many bytes of the stream do not wait any more.
    fn release(&mut self, key: StreamKey, bytes: usize) {
        self.held -= bytes;
        if let Some(stream) = self.streams.get_mut(&key.0) {
            stream.held -= bytes;
            if stream.held < self.config.low {
                self.resume(key);
            }
        }
    }

    fn resume(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key.0)
            && std::mem::take(&mut stream.paused)
        {
            self.resumed.push(key);
        }
    }

    /// Between two frames of a stream: is it still its turn, is it another's, is it done?
    fn settle(&mut self, key: StreamKey) {
        if self.open.as_ref().is_some_and(|open| open.key == key) {
            return;
        }
        let unit = self.unit();
        let Some(stream) = self.streams.get_mut(&key.0) else { return };
        if stream.chunks.is_empty() {
            if stream.turn == Turn::Waiting {
                self.ready.retain(|other| *other != key);
            }
            if self.turn == Some(key) {
                self.turn = None;
            }
            if let Some(stream) = self.streams.remove(&key.0)
                && self.spare.len() < 8
                && stream.chunks.capacity() <= 16
            {
                self.spare.push(stream.chunks);
            }
            return;
        }
        if stream.turn != Turn::Now {
            return;
        }
        if !stream.chunks.front().is_some_and(|chunk| chunk.can_begin(unit)) {
            stream.turn = Turn::None;
            stream.credit = stream.credit.min(0);
            self.turn = None;
            // It can only go on with more.
            self.resume(key);
        } else if stream.credit > 0 {
            self.turn = Some(key);
        } else {
            stream.turn = Turn::Waiting;
            self.turn = None;
            self.ready.push_back(key);
        }
    }

    /// The stream that begins the next frame.
    fn choose(&mut self, unit: usize) -> Option<StreamKey> {
        loop {
            let key = match self.turn.take() {
                Some(key) => key,
                None => {
                    let key = self.ready.pop_front()?;
                    let Some(stream) = self.streams.get_mut(&key.0) else { continue };
                    stream.credit += self.config.quantum as i64;
                    if stream.credit <= 0 {
                        self.ready.push_back(key);
                        continue;
                    }
                    stream.turn = Turn::Now;
                    key
                }
            };
            let stream = self.streams.get(&key.0)?;
            if stream.chunks.front().is_some_and(|chunk| chunk.can_begin(unit)) {
                return Some(key);
            }
            self.settle(key);
        }
    }

    /// Begins the next frame; a short one is written whole.
    fn frame(&mut self, ids: &mut TransactionIds, out: &mut Output) -> usize {
        let (cap, unit) = (self.cap(), self.unit());
        let Some(key) = self.choose(unit) else { return 0 };
        let Some(stream) = self.streams.get_mut(&key.0) else { return 0 };
        let Some(chunk) = stream.chunks.front_mut() else { return 0 };
        let first = !std::mem::replace(&mut chunk.begun, true);
        let head_size = if first { chunk.head.size() } else { 0 };
        let body = chunk.sendable().min(cap);
        let ends = chunk.end.filter(|_| body == chunk.len);
        let whole = self.config.whole_frames || (ends.is_some() || body == cap) && body <= UNIT;
        let end = whole.then(|| chunk.next.saturating_add(body as u64).saturating_sub(1));
        let range = ByteRange { start: chunk.next, end, total: chunk.head.range().and_then(|range| range.total) };
        let range = if chunk.head.has_body() { Some(range) } else { chunk.head.range() };
        let mut id = ids.next();
        out.text.clear();
        if !whole {
            chunk.head.write(&mut out.text, id, range);
            let len = out.text.len();
            stream.credit -= len as i64;
            self.open = Some(Open { key, id, scan: Scan::new(id), from: chunk.next, body: 0, answered: false });
            out.push_text();
            self.release(key, head_size);
            return len;
        }
        while chunk.holds(id, body) {
            id = ids.next();
        }
        let flag = ends.unwrap_or(Flag::More);
        chunk.head.write(&mut out.text, id, range);
        out.push_text();
        chunk.take_into(body, out);
        let mut len = out.text.len() + body;
        out.text.clear();
        if chunk.head.has_body() {
            out.text.extend_from_slice(b"\r\n");
        }
        crate::write::end_line(&mut out.text, id.as_str(), flag);
        len += out.text.len();
        stream.credit -= len as i64;
        let head = chunk.head.clone();
        if ends.is_some() {
            stream.chunks.pop_front();
        }
        let sent = range.unwrap_or(ByteRange { start: 1, end: Some(0), total: Some(0) });
        out.notes.push(Note::ChunkSent { key, id, head, range: sent, flag, answered: false });
        out.push_text();
        if self.config.whole_frames {
            out.end_frame();
        }
        self.release(key, head_size + body);
        self.settle(key);
        len
    }

    /// Goes on with the open frame, or ends it.
    fn go_on(&mut self, budget: usize, out: &mut Output) -> usize {
        let (cap, unit) = (self.cap(), self.unit());
        let (control, others) = (!self.control.is_empty(), !self.ready.is_empty());
        let Some(open) = &mut self.open else { return 0 };
        let key = open.key;
        let stream = self.streams.get_mut(&key.0);
        let Some((stream, chunk)) = stream.and_then(|stream| {
            // Borrowed apart from each other.
            let Stream { chunks, credit, .. } = stream;
            chunks.front_mut().map(|chunk| (credit, chunk))
        }) else {
            return self.close(Flag::Abort, out);
        };
        if let Some(flag) = chunk.end.filter(|_| chunk.len == 0) {
            return self.close(flag, out);
        }
        if *stream <= 0 && !others {
            *stream = self.config.quantum as i64;
        }
        let sendable = chunk.sendable();
        let give_way = control || others && *stream <= 0;
        let starved = sendable == 0 && (control || others);
        if open.body >= cap || starved || give_way && open.body >= unit {
            return self.close(Flag::More, out);
        }
        if sendable == 0 {
            self.resume(key);
            return 0;
        }
        let mut most = sendable.min(budget).min(cap - open.body);
        if give_way {
            most = most.min(unit - open.body);
        } else if others {
            most = most.min((*stream as usize).max(unit.saturating_sub(open.body)));
        }
        let piece = chunk.take(most);
        let safe = open.scan.feed(&piece);
        let len = safe.unwrap_or(piece.len());
        open.body += len;
        *stream -= len as i64;
        if len < piece.len() {
            chunk.put_back(piece.slice(len..));
        }
        if len > 0 {
            out.push(piece.slice(..len));
        }
        self.release(key, len);
        if safe.is_some() { len + self.close(Flag::More, out) } else { len }
    }

    /// Writes the end-line of the open frame.
    fn close(&mut self, flag: Flag, out: &mut Output) -> usize {
        let Some(open) = self.open.take() else { return 0 };
        out.text.clear();
        out.text.extend_from_slice(b"\r\n");
        crate::write::end_line(&mut out.text, open.id.as_str(), flag);
        let len = out.text.len();
        out.push_text();
        let key = open.key;
        if let Some(stream) = self.streams.get_mut(&key.0) {
            stream.credit -= len as i64;
            if let Some(chunk) = stream.chunks.front() {
                let end = Some(open.from.saturating_add(open.body as u64).saturating_sub(1));
                let total = chunk.head.range().and_then(|range| range.total);
                let range = ByteRange { start: open.from, end, total };
                let (id, answered) = (open.id, open.answered);
                out.notes.push(Note::ChunkSent { key, id, head: chunk.head.clone(), range, flag, answered });
                if chunk.end.is_some() && chunk.len == 0 {
                    stream.chunks.pop_front();
                }
            }
        }
        self.settle(key);
        len
    }
}

impl Chunk {
    fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if self.front.is_empty() { self.front = bytes } else { self.back.push_back(bytes) }
    }

    /// Of an unfinished chunk the last byte is kept, so that the frame that will end it is not an empty one.
    fn sendable(&self) -> usize {
        if self.end.is_some() { self.len } else { self.len.saturating_sub(1) }
    }

    fn can_begin(&self, unit: usize) -> bool {
        self.end.is_some() || self.sendable() >= unit
    }

    /// The peer has or may have something of its message.
    fn is_known(&self) -> bool {
        self.begun || self.head.range().is_some_and(|range| range.start > 1)
    }

    /// What it counts for among the waiting bytes.
    fn size(&self) -> usize {
        self.len + if self.begun { 0 } else { self.head.size() }
    }

    fn unsent(&self, key: StreamKey) -> Unsent {
        let end = self.end.map(|_| self.next.saturating_add(self.len as u64).saturating_sub(1));
        let total = self.head.range().and_then(|range| range.total);
        Unsent { key, head: self.head.clone(), range: ByteRange { start: self.next, end, total } }
    }

    /// Drops the waiting bytes; how many there were.
    fn clear(&mut self) -> usize {
        self.front = Bytes::new();
        self.back = VecDeque::new();
        std::mem::take(&mut self.len)
    }

    /// At most so many of the waiting bytes, but one if there is one.
    fn take(&mut self, most: usize) -> Bytes {
        let piece = self.front.split_to(most.min(self.front.len()));
        if !self.front.is_empty() && self.front.len() <= TAIL {
            // The byte that waits for the end would hold all that it came with.
            self.front = Bytes::copy_from_slice(&self.front);
        }
        self.took(piece.len());
        piece
    }

    fn took(&mut self, bytes: usize) {
        self.len -= bytes;
        self.next = self.next.saturating_add(bytes as u64);
        if self.front.is_empty() {
            self.front = self.back.pop_front().unwrap_or_default();
        }
    }

    /// What was just taken was too much.
    fn put_back(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.next -= bytes.len() as u64;
        let after = std::mem::replace(&mut self.front, bytes);
        if !after.is_empty() {
            self.back.push_front(after);
        }
    }

    fn take_into(&mut self, bytes: usize, out: &mut Output) {
        let mut left = bytes;
        while left > 0 && !self.front.is_empty() {
            let piece = self.take(left);
            left -= piece.len();
            out.push(piece);
        }
    }

    /// Whether the end-line of `id` is among the first bytes.
    fn holds(&self, id: TransactionId, bytes: usize) -> bool {
        let (mut scan, mut left) = (Scan::new(id), bytes);
        std::iter::once(&self.front).chain(&self.back).any(|piece| {
            let now = left.min(piece.len());
            left -= now;
            scan.feed(&piece[..now]).is_some()
        })
    }
}

impl Output {
    /// Forgets what was given out, but keeps the memory.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.ends.clear();
        self.notes.clear();
    }

    fn push(&mut self, bytes: Bytes) {
        if bytes.len() > COPY {
            self.flush();
            self.pieces.push(bytes);
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    fn push_text(&mut self) {
        self.buffer.extend_from_slice(&self.text);
    }

    fn end_frame(&mut self) {
        self.flush();
        self.ends.push(self.pieces.len());
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.pieces.push(self.buffer.split().freeze());
        }
    }
}
