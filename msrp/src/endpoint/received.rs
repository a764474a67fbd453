//! Messages that come, whole or as streams.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::head::{Flag, Head};
use crate::reassembly::{Assembled, Progress, Reassembler, ReassemblyLimits, Refusal, State};

/// Messages that are remembered as refused, so that what still comes of them is not taken for a new one.
const REFUSED: usize = 16;

/// How a message is to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// Collected in memory.
    Whole,
    /// Handed out in slices as they come, each with its place.
    Stream,
    /// Not at all: the code of the response.
    Refuse(u16),
}

/// Bounds on what a session's peer can make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxLimits {
    /// Of messages that are collected. Number, parts and timeout hold for streams too.
    pub whole: ReassemblyLimits,
    /// Bytes of one message that is streamed.
    pub stream: u64,
}

/// What the end of a chunk makes of its message.
#[derive(Debug)]
pub enum Part {
    /// More is to come, or it was no message: the chunk is answered at once.
    Chunk,
    /// The message is complete.
    Whole(Assembled),
    /// All bytes of the streamed message have been handed out; the head is that of the chunk that came first.
    Streamed { head: Head, total: u64 },
    /// Its sender gave the streamed message up; the chunk is answered.
    Aborted { head: Head },
}

struct Stream {
    head: Head,
    progress: Progress,
    heard: Instant,
}

enum Current {
    None,
    /// In the reassembler.
    Whole,
    Stream,
    Refused,
}

/// The messages of one session that are on their way to us. For each SEND `begin`, `body` for each slice, `end`.
pub struct Inbox {
    limits: InboxLimits,
    whole: Reassembler,
    streams: Vec<Stream>,
    refused: VecDeque<(Box<str>, u16)>,
    current: Current,
    /// Streams that were given up in the middle, and are to be told of.
    ended: VecDeque<Head>,
}

impl Inbox {
    pub fn new(limits: InboxLimits) -> Inbox {
        Inbox {
            limits,
            whole: Reassembler::new(limits.whole),
            streams: Vec::new(),
            refused: VecDeque::new(),
            current: Current::None,
            ended: VecDeque::new(),
        }
    }

    /// Whether a chunk is the first that comes of a message, so that somebody has to say how to receive it.
    pub fn is_new(&self, head: &Head) -> bool {
        let id = head.message_id().unwrap_or_default();
        let refused = self.refused(id).is_some() && !is_first(head);
        head.has_body() && !refused && self.whole.progress(id).is_none() && self.stream(id).is_none()
    }

    /// A SEND begins. `reception` counts where [`Inbox::is_new`] said so. The error is the code of the response, due at
    /// once; the rest of the chunk is to be ignored then.
    pub fn begin(&mut self, head: &Head, reception: Reception, now: Instant) -> Result<(), u16> {
        self.current = Current::None;
        if !head.has_body() {
            return Ok(());
        }
        let id = head.message_id().unwrap_or_default();
        let new = self.is_new(head);
        if new {
            self.refused.retain(|(refused, _)| **refused != *id);
        } else if let Some(code) = self.refused(id) {
            self.current = Current::Refused;
            return Err(code);
        }
        match reception {
            Reception::Refuse(code) if new => self.refuse(id, code),
            Reception::Stream if new && self.streams.len() >= self.limits.whole.messages => self.refuse(id, 413),
            Reception::Stream if new => {
                self.streams.push(Stream { head: head.clone(), progress: Progress::new(), heard: now });
                self.begin_stream(head, id, now)
            }
            _ if self.stream(id).is_some() => self.begin_stream(head, id, now),
            _ => match self.whole.begin(head, now) {
                Ok(()) => {
                    self.current = Current::Whole;
                    Ok(())
                }
                Err(refusal) => self.refuse(id, refusal.status()),
            },
        }
    }

    fn begin_stream(&mut self, head: &Head, id: &str, now: Instant) -> Result<(), u16> {
        let max = self.limits.stream;
        let Some(stream) = self.streams.iter_mut().find(|stream| is(stream, id)) else { return Ok(()) };
        stream.heard = now;
        if let Err(refusal) = stream.progress.begin(head.byte_range(), max) {
            return self.refuse_stream(id, refusal);
        }
        self.current = Current::Stream;
        Ok(())
    }

    /// Some of its body. For a stream says at which offset of the message, from 0, the slice belongs.
    pub fn body(&mut self, head: &Head, data: &[u8], now: Instant) -> Result<Option<u64>, u16> {
        let id = head.message_id().unwrap_or_default();
        match &self.current {
            Current::None | Current::Refused => Ok(None),
            Current::Whole => match self.whole.body(data, now) {
                Ok(()) => Ok(None),
                Err(refusal) => self.refuse(id, refusal.status()).map(|()| None),
            },
            Current::Stream => {
                let limits = ReassemblyLimits { message: self.limits.stream, ..self.limits.whole };
                let Some(stream) = self.streams.iter_mut().find(|stream| is(stream, id)) else {
                    // Timed out meanwhile.
                    return self.refuse(id, Refusal::TimedOut.status()).map(|()| None);
                };
                stream.heard = now;
                match stream.progress.body(data.len(), &limits) {
                    Ok(offset) => Ok(Some(offset)),
                    Err(refusal) => self.refuse_stream(id, refusal).map(|()| None),
                }
            }
        }
    }

    /// The SEND ends.
    pub fn end(&mut self, head: &Head, flag: Flag) -> Result<Part, u16> {
        let id = head.message_id().unwrap_or_default();
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None | Current::Refused => Ok(Part::Chunk),
            Current::Whole => match self.whole.end(flag) {
                Ok(None) => Ok(Part::Chunk),
                Ok(Some(message)) => Ok(Part::Whole(message)),
                Err(refusal) => self.refuse(id, refusal.status()).map(|()| Part::Chunk),
            },
            Current::Stream => {
                let Some(at) = self.streams.iter().position(|stream| is(stream, id)) else {
                    return self.refuse(id, Refusal::TimedOut.status()).map(|()| Part::Chunk);
                };
                match self.streams[at].progress.end(flag) {
                    Ok(State::Incomplete) => Ok(Part::Chunk),
                    Ok(State::Complete { total }) => {
                        Ok(Part::Streamed { head: self.streams.swap_remove(at).head, total })
                    }
                    Ok(State::Aborted) => Ok(Part::Aborted { head: self.streams.swap_remove(at).head }),
                    Err(refusal) => self.refuse_stream(id, refusal).map(|()| Part::Chunk),
                }
            }
        }
    }

    /// Drops the message of the chunk that is being read, as too much: there is no room for it. The error is the code
    /// of the response.
    pub fn give_up(&mut self, head: &Head) -> Result<(), u16> {
        let id = head.message_id().unwrap_or_default();
        match self.current {
            Current::None | Current::Refused => Ok(()),
            Current::Whole => {
                self.whole.give_up();
                self.refuse(id, Refusal::TooMany.status())
            }
            Current::Stream => self.refuse_stream(id, Refusal::TooMany),
        }
    }

    /// A streamed message that will not be completed, by a refusal or by time: to be told to who took its slices; call
    /// until `None`.
    pub fn poll_ended(&mut self) -> Option<Head> {
        self.ended.pop_front()
    }

    /// The session is over: all streams that were under way are ended.
    pub fn close(&mut self) {
        self.ended.extend(self.streams.drain(..).map(|stream| stream.head));
        self.whole = Reassembler::new(self.limits.whole);
        self.current = Current::Refused;
    }

    /// Bytes held of messages that are not complete.
    pub fn held(&self) -> usize {
        self.whole.held()
    }

    /// When [`Inbox::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let streams = self.streams.iter().map(|stream| stream.heard + self.timeout());
        streams.chain(self.whole.poll_timeout()).min()
    }

    /// Drops what had no news for too long; says how many messages that were.
    pub fn handle_timeout(&mut self, now: Instant) -> usize {
        let mut dropped = 0;
        while let Some(head) = self.whole.handle_timeout(now) {
            self.remember(head.message_id().unwrap_or_default(), Refusal::TimedOut.status());
            dropped += 1;
        }
        let timeout = self.timeout();
        while let Some(at) = self.streams.iter().position(|stream| stream.heard + timeout <= now) {
            let head = self.streams.swap_remove(at).head;
            self.remember(head.message_id().unwrap_or_default(), Refusal::TimedOut.status());
            self.ended.push_back(head);
            dropped += 1;
        }
        dropped
    }

    fn timeout(&self) -> Duration {
        self.limits.whole.timeout
    }

    fn stream(&self, id: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| is(stream, id))
    }

    fn refused(&self, id: &str) -> Option<u16> {
        self.refused.iter().find(|(refused, _)| **refused == *id).map(|(_, code)| *code)
    }

    fn refuse(&mut self, id: &str, code: u16) -> Result<(), u16> {
        self.current = Current::Refused;
        self.remember(id, code);
        Err(code)
    }

    fn refuse_stream(&mut self, id: &str, refusal: Refusal) -> Result<(), u16> {
        if let Some(at) = self.streams.iter().position(|stream| is(stream, id)) {
            self.ended.push_back(self.streams.swap_remove(at).head);
        }
        self.refuse(id, refusal.status())
    }

    fn remember(&mut self, id: &str, code: u16) {
        self.refused.retain(|(refused, _)| **refused != *id);
        if self.refused.len() >= REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back((id.into(), code));
    }
}

fn is(stream: &Stream, id: &str) -> bool {
    stream.head.message_id() == Some(id)
}

/// The chunk begins its message: one that was refused is tried again.
fn is_first(head: &Head) -> bool {
    head.byte_range().is_none_or(|range| range.start == 1)
}
