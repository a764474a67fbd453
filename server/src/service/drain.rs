//! Stored messages on their way to devices that came back: in order, paced, one at a time for each device, each
//! removed when its device has taken it.
//!
//! One task owns the sessions; news reaches it over a channel, from shards and from its own reads and writes.
//! [`devices`] are those that are served, [`backlog`] says what goes next to each, [`sending`] how, [`outcome`] what came of
//! it, and [`commit`] writes that down.

mod backlog;
mod commit;
mod devices;
mod outcome;
mod sending;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use chappe_chat::drain::{Lanes, Owed, Pace, Settled};
use chappe_chat::patience::Patience;
use chappe_sip::Flow;
use chappe_sip::registrar::Binding;
use chappe_store::{QueuedMessage, Settlement, Write};
use tokio::sync::mpsc;

use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::service::chat::Letter;
use crate::shard::Turn;
use crate::work::{Token, Work};
pub use commit::expire;
pub use sending::launch;

/// What tells one registration of a device from the next, whose refreshes do not count.
type Registration = (Option<Flow>, u64);

/// A device of a user.
type Key = (Box<str>, Box<str>);

/// What the drain hears.
#[derive(Debug)]
enum News {
    /// Somebody registered, or a message was stored for somebody who may be there.
    Kick {
        aor: Box<str>,
        device: Option<Box<str>>,
        /// When it registered, in milliseconds since the epoch.
        registered: Option<u64>,
    },
    /// A device that did not take a MESSAGE may be tried again.
    Again { key: Key },
    /// What a chat session gave back may be tried again.
    Retry { key: Key, lane: Box<str> },
    /// What waits for some devices; `None` where it could not be read.
    Loaded { lists: Vec<(Key, Option<Vec<QueuedMessage>>)> },
    /// A device answered, or its flow failed.
    Ended { key: Key, id: u64, status: u16 },
    /// A chat session wants a message to be sent by MESSAGE.
    Page { key: Key, id: u64 },
    /// What a chat session made of a message that it was given.
    Handed { key: Key, id: u64, fate: Handed },
    /// Time to go on with a device that is being paced.
    Resume { key: Key },
    /// A message has ended elsewhere.
    Settle { settlement: Settlement },
    /// The sender of a message waits for the first device that takes it; or does not any more.
    Awaited { id: u64, by: Option<(usize, Token)> },
    /// `done`: on disk; else they are still there. `copies`: for which device, of which message, and under which id.
    Settled { ids: Vec<u64>, done: bool, copies: Vec<(Key, u64, Option<u64>)> },
}

/// Sends news to the task.
pub struct Drain {
    sender: mpsc::UnboundedSender<News>,
}

/// The task's end, given to [`run`].
pub struct Inbox(mpsc::UnboundedReceiver<News>);

impl Drain {
    pub fn new() -> (Drain, Inbox) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Drain { sender }, Inbox(receiver))
    }

    fn tell(&self, news: News) {
        // The task ends with the process only.
        let _ = self.sender.send(news);
    }
}

/// What became of a message that was handed to a chat session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// The device has it.
    Confirmed,
    /// The device will not take it, whatever the way: the code that says why.
    Refused(u16),
    /// The device may take it later: after so long, or with its next registration.
    Returned { retry: Option<Duration> },
}

/// A stored message under way to a device.
pub struct Attempt {
    key: Key,
    id: u64,
}

/// Sends what waits for a user to every device that is there; nothing where nothing waits.
pub fn kick(core: &Core, aor: &str) {
    if core.waiting.count(aor) > 0 {
        core.drain.tell(News::Kick { aor: aor.into(), device: None, registered: None });
    }
}

/// Like [`kick`]: somebody has registered, and what is there has waited for that.
pub fn registered(core: &Core, aor: &str) {
    if core.waiting.count(aor) > 0 {
        core.drain.tell(News::Kick { aor: aor.into(), device: None, registered: Some(epoch_ms()) });
    }
}

/// Like [`kick`], for one device.
pub fn kick_device(core: &Core, aor: &str, device: &str) {
    core.drain.tell(News::Kick { aor: aor.into(), device: Some(device.into()), registered: None });
}

/// Ends the wait of a message that was for any device, in the next write.
pub fn settle(core: &Core, settlement: Settlement) {
    core.drain.tell(News::Settle { settlement });
}

/// Has [`crate::service::pager::taken`] told, in that cell, when a device has taken a message that is for any; once.
pub fn await_taken(core: &Core, id: u64, cell: usize, token: Token) {
    core.drain.tell(News::Awaited { id, by: Some((cell, token)) });
}

/// Nobody waits for that any more.
pub fn forget(core: &Core, id: u64) {
    core.drain.tell(News::Awaited { id, by: None });
}

/// A chat session is done with a message that it was given.
pub fn handed(core: &Core, aor: &str, device: &str, id: u64, fate: Handed) {
    core.drain.tell(News::Handed { key: (aor.into(), device.into()), id, fate });
}

/// Sends a message, that a chat session has, by MESSAGE; the answer is told to [`chat::paged`].
pub fn page(core: &Core, aor: &str, device: &str, id: u64) {
    core.drain.tell(News::Page { key: (aor.into(), device.into()), id });
}

/// A device answered, or 408 and 430 for a timeout and a dead flow.
pub fn ended(turn: &mut Turn<'_>, token: Token, attempt: Box<Attempt>, status: u16) {
    if status < 200 {
        return turn.shard.works.put(token, Work::Drain(attempt));
    }
    turn.shard.works.end(token);
    turn.core.drain.tell(News::Ended { key: attempt.key, id: attempt.id, status });
}

enum Phase {
    Loading,
    /// This message is with the device, tried on the registration with this stamp.
    Sending(Arc<Letter>, u64),
    /// Chat sessions have all they may have at a time.
    Full,
    Paused,
}

/// One device that is being served.
struct Session {
    phase: Phase,
    backlog: VecDeque<QueuedMessage>,
    /// The last id dealt with.
    after: u64,
    /// Something may have been stored since the last read.
    again: bool,
    /// A read is under way that begins too late.
    overtaken: bool,
    /// What is being read is good up to this id only ([`Owed::first_written`]).
    bound: Option<u64>,
    /// Nothing was good of the last read: nothing is to be read while copies of messages up to here are written.
    stalled: Option<u64>,
    /// When the device registered, where that began the session: what was accepted before has waited.
    came: Option<u64>,
    /// Conversations that have to wait: what is behind must not overtake.
    lanes: Lanes,
    pace: Pace,
}

/// A message that a chat session has, and the registration of the device that it was handed over for, or sent to last.
struct OnLine {
    letter: Arc<Letter>,
    stamp: u64,
    /// The session had it sent by MESSAGE.
    is_paged: bool,
}

struct Sessions {
    core: Arc<Core>,
    sessions: HashMap<Key, Session, RandomState>,
    /// Messages that chat sessions have; they outlive the session here, for the device may yet confirm them.
    handed: HashMap<Key, HashMap<u64, OnLine, RandomState>, RandomState>,
    /// Devices that did not take the last MESSAGE, and that are still registered as they were then.
    tried: HashMap<Key, Patience<Registration>, RandomState>,
    /// Messages that another device of the user has taken while this one was being sent them.
    owed: Owed<Key, Settlement>,
    /// Messages that are settled but perhaps not on disk yet: never sent again.
    settling: HashSet<u64, RandomState>,
    settled: Settled,
    /// Whose senders wait for the first device, and where to tell them.
    awaited: HashMap<u64, (usize, Token), RandomState>,
    wanted: Vec<Key>,
    /// Under way.
    reads: usize,
    write: Write,
}

/// Serves devices until the process ends.
pub async fn run(core: Arc<Core>, mut inbox: Inbox) {
    let mut sessions = Sessions {
        core,
        sessions: HashMap::default(),
        handed: HashMap::default(),
        tried: HashMap::default(),
        owed: Owed::default(),
        settling: HashSet::default(),
        settled: Settled::default(),
        awaited: HashMap::default(),
        wanted: Vec::new(),
        reads: 0,
        write: Write::default(),
    };
    let mut news = Vec::new();
    while inbox.0.recv_many(&mut news, 1024).await > 0 {
        for one in news.drain(..) {
            sessions.handle(one);
        }
        sessions.read();
        sessions.flush();
    }
}

impl Sessions {
    fn handle(&mut self, news: News) {
        match news {
            News::Kick { aor, device, registered } => self.kick(aor, device, registered),
            News::Loaded { lists } => {
                self.reads -= 1;
                for (key, messages) in lists {
                    self.loaded(key, messages);
                }
            }
            News::Ended { key, id, status } => self.ended(key, id, status),
            News::Page { key, id } => self.page(&key, id),
            News::Handed { key, id, fate } => self.handed(key, id, fate),
            News::Retry { key, lane } => self.retry(key, &lane),
            News::Again { key } => self.again(key),
            News::Resume { key } => {
                if let Some(session) = self.sessions.get_mut(&key)
                    && matches!(session.phase, Phase::Paused)
                {
                    session.phase = Phase::Loading;
                    self.next(key);
                }
            }
            // A device took it while it was being stored.
            News::Settle { settlement } => self.settle(settlement, false),
            News::Awaited { id, by } => self.awaited(id, by),
            News::Settled { ids, done, copies } => {
                for id in ids {
                    self.settling.remove(&id);
                    if done {
                        self.settled.push(id);
                    }
                }
                for (key, of, copy) in copies {
                    self.copied(&key, of, copy);
                }
            }
        }
    }
}

/// The devices of a user that a message may be kept for by name, among these bindings and those that are away.
pub fn other_devices(core: &Core, aor: &str, bindings: &[Binding], keeps: impl Fn(&Binding) -> bool) -> Vec<Box<str>> {
    let bound = bindings.iter().filter(|binding| keeps(binding)).map(|binding| binding.device().into());
    let away = core.away.of(aor, epoch_seconds()).into_iter().map(|away| away.device);
    let mut names: Vec<Box<str>> = bound.chain(away).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
