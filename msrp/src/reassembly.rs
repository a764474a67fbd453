//! Messages out of chunks (RFC 4975 §7.3.1): by position, whatever their order, within limits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::head::{Flag, Head};
use crate::range::ByteRange;

/// Bounds on what one session's unfinished messages may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReassemblyLimits {
    /// Bytes of one message.
    pub message: u64,
    /// Bytes of all unfinished messages together.
    pub held: usize,
    /// Unfinished messages.
    pub messages: usize,
    /// Parts of one message that do not touch each other.
    pub parts: usize,
    /// An unfinished message is dropped when it had no news for so long.
    pub timeout: Duration,
}

impl Default for ReassemblyLimits {
    fn default() -> Self {
        let timeout = Duration::from_secs(540);
        ReassemblyLimits { message: 1 << 20, held: 4 << 20, messages: 16, parts: 256, timeout }
    }
}

/// Why a chunk is not taken. What came of its message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error("the message is larger than allowed")]
    TooLarge,
    #[error("too many unfinished messages, parts or bytes")]
    TooMany,
    #[error("the chunks contradict each other")]
    Inconsistent,
    #[error("no news for too long")]
    TimedOut,
}

impl Refusal {
    /// The response code: 413 makes the sender give the message up (RFC 4975 §10.5).
    pub fn status(self) -> u16 {
        match self {
            Refusal::TooLarge | Refusal::TooMany | Refusal::TimedOut => 413,
            Refusal::Inconsistent => 400,
        }
    }
}

/// What a chunk's end made of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Incomplete,
    /// All bytes are there.
    Complete {
        total: u64,
    },
    /// Its sender gave it up.
    Aborted,
}

/// Where the bytes of a message belong and which are there, for a receiver that puts them away itself.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    coverage: Coverage,
    total: Option<u64>,
    start: u64,
    next: u64,
}

impl Progress {
    pub fn new() -> Progress {
        Progress::default()
    }

    /// A chunk begins. `max` is the largest message allowed.
    pub fn begin(&mut self, range: Option<ByteRange>, max: u64) -> Result<(), Refusal> {
        let range = range.unwrap_or(ByteRange::OPEN);
        // Its end and total are claims, but a claim to be too large is believed (§14.5).
        if range.total.is_some_and(|total| total > max) || range.start - 1 > max {
            return Err(Refusal::TooLarge);
        }
        (self.start, self.next) = (range.start, range.start);
        Ok(())
    }

    /// So many bytes of the chunk came. Says at which offset of the message, from 0, they belong; a later byte replaces
    /// an earlier one.
    pub fn body(&mut self, len: usize, limits: &ReassemblyLimits) -> Result<u64, Refusal> {
        let offset = self.next - 1;
        let end = offset.checked_add(len as u64).filter(|end| *end <= limits.message).ok_or(Refusal::TooLarge)?;
        if self.total.is_some_and(|total| end > total) {
            return Err(Refusal::Inconsistent);
        }
        if !self.coverage.add(self.next, end, limits.parts.max(1)) {
            return Err(Refusal::TooMany);
        }
        self.next = end + 1;
        Ok(offset)
    }

    /// The chunk ends. `$` says where the message ends, not the header.
    pub fn end(&mut self, flag: Flag) -> Result<State, Refusal> {
        match flag {
            Flag::Abort => return Ok(State::Aborted),
            Flag::End => {
                let total = self.next - 1;
                if self.total.is_some_and(|known| known != total) || self.coverage.last() > total {
                    return Err(Refusal::Inconsistent);
                }
                self.total = Some(total);
            }
            Flag::More => {}
        }
        Ok(match self.total {
            Some(total) if self.coverage.covers(total) => State::Complete { total },
            _ => State::Incomplete,
        })
    }

    /// The bytes that are there.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The size of the message, once its last chunk has come.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

/// A whole message.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// Of the chunk that came first.
    pub head: Head,
    pub data: Vec<u8>,
}

struct Partial {
    head: Head,
    progress: Progress,
    /// By offset; no two overlap.
    parts: BTreeMap<u64, Vec<u8>>,
    held: usize,
    heard: Instant,
}

/// What a part takes beside its bytes, roughly.
const PART: usize = 64;

/// Puts the messages of one session together in memory.
///
/// For each chunk `begin`, `body` for each slice, `end`. After a refusal the rest of the chunk is ignored, and `end`
/// gives the refusal again.
pub struct Reassembler {
    limits: ReassemblyLimits,
    /// Few, so that searching is cheaper than a table that outsiders choose the keys of.
    partials: Vec<Partial>,
    held: usize,
    current: Current,
}

#[derive(Debug, Clone, Copy)]
enum Current {
    None,
    Message(usize),
    Refused(Refusal),
}

impl Reassembler {
    pub fn new(limits: ReassemblyLimits) -> Reassembler {
        Reassembler { limits, partials: Vec::new(), held: 0, current: Current::None }
    }

    /// A SEND begins. One without body is no message: nothing comes of it.
    pub fn begin(&mut self, head: &Head, now: Instant) -> Result<(), Refusal> {
        self.current = Current::None;
        if !head.has_body() {
            return Ok(());
        }
        let known = self.partials.iter().position(|partial| partial.head.message_id() == head.message_id());
        let at = match known {
            Some(at) => at,
            None if self.partials.len() >= self.limits.messages => return self.refuse(None, Refusal::TooMany),
            None => {
                let (parts, progress) = (BTreeMap::new(), Progress::new());
                self.partials.push(Partial { head: head.clone(), progress, parts, held: 0, heard: now });
                self.partials.len() - 1
            }
        };
        let partial = &mut self.partials[at];
        partial.heard = now;
        match partial.progress.begin(head.byte_range(), self.limits.message) {
            Ok(()) => {
                self.current = Current::Message(at);
                Ok(())
            }
            Err(refusal) => self.refuse(Some(at), refusal),
        }
    }

    /// Some of its body.
    pub fn body(&mut self, data: &[u8], now: Instant) -> Result<(), Refusal> {
        let Current::Message(at) = self.current else { return Ok(()) };
        let partial = &mut self.partials[at];
        let offset = match partial.progress.body(data.len(), &self.limits) {
            Ok(offset) => offset,
            Err(refusal) => return self.refuse(Some(at), refusal),
        };
        partial.heard = now;
        let before = partial.held;
        partial.put(offset, data);
        self.held += partial.held - before;
        if self.held > self.limits.held || partial.parts.len() > self.limits.parts.max(1) {
            return self.refuse(Some(at), Refusal::TooMany);
        }
        Ok(())
    }

    /// The SEND ends. Gives the message if it is complete; what was aborted is dropped.
    pub fn end(&mut self, flag: Flag) -> Result<Option<Assembled>, Refusal> {
        let at = match std::mem::replace(&mut self.current, Current::None) {
            Current::None => return Ok(None),
            Current::Refused(refusal) => return Err(refusal),
            Current::Message(at) => at,
        };
        match self.partials[at].progress.end(flag) {
            Ok(State::Incomplete) => Ok(None),
            Ok(State::Aborted) => {
                self.remove(at);
                Ok(None)
            }
            Ok(State::Complete { .. }) => {
                let Partial { head, parts, .. } = self.remove(at);
                // All but the usual single part have to be copied.
                let data = parts.into_values().reduce(|mut data, part| {
                    data.extend_from_slice(&part);
                    data
                });
                Ok(Some(Assembled { head, data: data.unwrap_or_default() }))
            }
            Err(refusal) => {
                self.remove(at);
                Err(refusal)
            }
        }
    }

    /// Drops the message of the chunk that is being read: the caller has no room for it.
    pub fn give_up(&mut self) {
        if let Current::Message(at) = self.current {
            self.remove(at);
            self.current = Current::Refused(Refusal::TooMany);
        }
    }

    /// The message of the current or last chunk that is unfinished, by its Message-ID: for reports on the way.
    pub fn progress(&self, message_id: &str) -> Option<&Progress> {
        let partial = self.partials.iter().find(|partial| partial.head.message_id() == Some(message_id));
        partial.map(|partial| &partial.progress)
    }

    /// Bytes that unfinished messages take.
    pub fn held(&self) -> usize {
        self.held
    }

    /// When [`Reassembler::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.partials.iter().map(|partial| partial.heard + self.limits.timeout).min()
    }

    /// Drops an unfinished message that had no news for too long, and gives the head of the chunk that came first; call
    /// until `None`. The rest of a chunk that is still on its way is refused.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Head> {
        let at = self.partials.iter().position(|partial| partial.heard + self.limits.timeout <= now)?;
        if matches!(self.current, Current::Message(current) if current == at) {
            self.current = Current::Refused(Refusal::TimedOut);
        }
        Some(self.remove(at).head)
    }

    fn refuse(&mut self, at: Option<usize>, refusal: Refusal) -> Result<(), Refusal> {
        if let Some(at) = at {
            self.remove(at);
        }
        self.current = Current::Refused(refusal);
        Err(refusal)
    }

    fn remove(&mut self, at: usize) -> Partial {
        let partial = self.partials.swap_remove(at);
        self.held -= partial.held;
        // The last one has moved.
        if let Current::Message(current) = &mut self.current
            && *current == self.partials.len()
        {
            *current = at;
        }
        partial
    }
}

impl Partial {
    /// Puts `data` at `offset`, over what is there.
    fn put(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let next = self.parts.range(offset + 1..).next().map(|(start, _)| *start);
            let room = next.map_or(data.len(), |next| data.len().min((next - offset) as usize));
            let before = self.parts.range_mut(..=offset).next_back();
            let used = match before.filter(|(start, part)| *start + part.len() as u64 >= offset) {
                Some((start, part)) => {
                    let at = (offset - start) as usize;
                    let over = (part.len() - at).min(data.len());
                    if over > 0 {
                        part[at..at + over].copy_from_slice(&data[..over]);
                        over
                    } else {
                        part.extend_from_slice(&data[..room]);
                        self.held += room;
                        room
                    }
                }
                None => {
                    self.parts.insert(offset, data[..room].to_vec());
                    self.held += room + PART;
                    room
                }
            };
            data = &data[used..];
            offset += used as u64;
        }
    }
}
