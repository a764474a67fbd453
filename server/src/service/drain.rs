//! Stored messages on their way to devices that came back: in order, paced, one at a time for each device, each
//! removed when its device has taken it.
//!
//! One task owns the sessions; news reaches it over a channel, from shards and from its own reads and writes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use chappe_chat::pager;
use chappe_chat::patience::Patience;
use chappe_chat::stored;
use chappe_sip::Flow;
use chappe_sip::layer::Dest;
use chappe_sip::proxy;
use chappe_sip::registrar::{Binding, Target, targets};
use chappe_store::{NewMessage, Outcome, QueuedMessage, ReceiptState, Settlement, Wanted, Wants, Write};
use tokio::sync::mpsc;

use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::hops::Hop;
use crate::service::chat::Letter;
use crate::service::pager::{is_alive, stamp};
use crate::service::{chat, receipt};
use crate::shard::Turn;
use crate::work::{Token, Work};

/// Messages read for one device at a time.
const READ: usize = 32;
/// Devices in one read.
const READERS: usize = 64;
/// Messages that may go out without a pause at the start.
const BURST: f64 = 50.0;
/// Messages that are remembered as settled: more than settle while one read is under way.
const REMEMBERED: usize = 16_384;
/// What a device did not take before it registered anew is tried again after this: the rest of its conversation has come
/// back by then.
const AGAIN: Duration = Duration::from_millis(100);
/// Messages of one device that chat sessions may have at a time.
const HANDED: usize = 64;

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
    Again {
        key: Key,
    },
    /// What a chat session gave back may be tried again.
    Retry {
        key: Key,
        lane: Box<str>,
    },
    Loaded {
        key: Key,
        messages: Option<Vec<QueuedMessage>>,
    },
    /// A device answered, or its flow failed.
    Ended {
        key: Key,
        id: u64,
        status: u16,
    },
    /// A chat session wants a message to be sent by MESSAGE.
    Page {
        key: Key,
        id: u64,
    },
    /// What a chat session made of a message that it was given.
    Handed {
        key: Key,
        id: u64,
        fate: Handed,
    },
    /// Time to go on with a device that is being paced.
    Resume {
        key: Key,
    },
    Settle {
        settlements: Vec<Settlement>,
    },
    /// `done`: on disk; else they are still there.
    Settled {
        ids: Vec<u64>,
        done: bool,
    },
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

/// Ends the wait of messages, in the next write.
pub fn settle(core: &Core, settlements: Vec<Settlement>) {
    core.drain.tell(News::Settle { settlements });
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

/// Sends a stored message to a binding at `dest`.
pub fn launch(
    turn: &mut Turn<'_>,
    binding: &Binding,
    dest: Dest,
    headers: &[u8],
    body: &[u8],
    token: Token,
) -> Result<(), u16> {
    let core = turn.core;
    let mut via = String::with_capacity(80);
    for part in ["SIP/2.0/", dest.transport().via(), " ", core.hops.sent_by(&dest), ";branch="] {
        via.push_str(part);
    }
    let at = via.len();
    proxy::branch(&mut via, "", core.serial(), None);
    let onward =
        stored::Onward { uri: binding.contact(), via: &via, route: super::proxy::path_beyond_us(core, binding.path()) };
    let bytes = stored::request(onward, headers, body);
    let sent = turn.shard.layer.request(turn.now, dest, bytes, &via.as_bytes()[at..], b"MESSAGE", token.0);
    sent.map(|_| ()).map_err(|_| 503)
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
    /// When the device registered, where that began the session: what was accepted before has waited.
    came: Option<u64>,
    /// Conversations, by the other side, that have to wait: what is behind must not overtake.
    resting: HashSet<Box<str>, RandomState>,
    /// Pace: messages that may go now, and since when that was so.
    credit: f64,
    credited: Instant,
}

impl Session {
    /// What is in the backlog is read once more, but for what is not in the store any more.
    fn read_anew(&mut self, key: &Key, owed: &HashSet<(Key, u64), RandomState>) {
        self.backlog.retain(|message| owed.contains(&(key.clone(), message.id)));
        (self.after, self.again) = (0, true);
        self.overtaken = matches!(self.phase, Phase::Loading);
    }
}

/// Messages that left the queue lately, bounded in number.
#[derive(Default)]
struct Settled {
    ids: HashSet<u64, RandomState>,
    order: VecDeque<u64>,
}

impl Settled {
    fn push(&mut self, id: u64) {
        self.ids.insert(id);
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// A message that a chat session has, and the registration of the device that it is tried on.
struct OnLine {
    letter: Arc<Letter>,
    flow: Option<Flow>,
    stamp: u64,
}

struct Sessions {
    core: Arc<Core>,
    sessions: HashMap<Key, Session, RandomState>,
    /// Messages that chat sessions have; they outlive the session here, for the device may yet confirm them.
    handed: HashMap<Key, HashMap<u64, OnLine, RandomState>, RandomState>,
    /// Devices that did not take the last MESSAGE, and that are still registered as they were then.
    tried: HashMap<Key, Patience<Registration>, RandomState>,
    /// Messages that another device of the user has taken while this one was being sent them: kept for it should it not
    /// take them.
    owed: HashSet<(Key, u64), RandomState>,
    /// Messages that are settled but perhaps not on disk yet: never sent again.
    settling: HashSet<u64, RandomState>,
    settled: Settled,
    wanted: Vec<Key>,
    write: Write,
}

/// Serves devices until the process ends.
pub async fn run(core: Arc<Core>, mut inbox: Inbox) {
    let mut sessions = Sessions {
        core,
        sessions: HashMap::default(),
        handed: HashMap::default(),
        tried: HashMap::default(),
        owed: HashSet::default(),
        settling: HashSet::default(),
        settled: Settled::default(),
        wanted: Vec::new(),
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
            News::Loaded { key, messages } => self.loaded(key, messages),
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
            News::Settle { settlements } => {
                for settlement in settlements {
                    // A message that a device took while it was being stored.
                    self.settle(settlement, false);
                }
            }
            News::Settled { ids, done } => {
                for id in ids {
                    self.settling.remove(&id);
                    if done {
                        self.settled.push(id);
                    }
                }
            }
        }
    }

    fn kick(&mut self, aor: Box<str>, device: Option<Box<str>>, registered: Option<u64>) {
        let core = &self.core;
        let live: Vec<Box<str>> = core.location.with(&aor, |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
            let wanted = found.iter().filter(|t| device.as_deref().is_none_or(|d| d == t.binding.device()));
            let rests = |t: &&Target<'_>| {
                // Most have nothing against them.
                let key = (!self.tried.is_empty()).then(|| (aor.clone(), t.binding.device().into()));
                let patience = key.and_then(|key| self.tried.get(&key));
                patience.is_some_and(|one| !one.may_try(&registration(t.binding), Instant::now()))
            };
            wanted.filter(|t| !rests(t)).map(|t| t.binding.device().into()).collect()
        });
        for name in live {
            let key = (aor.clone(), name);
            if registered.is_some() {
                self.is_back(&key, registered);
            }
            match self.sessions.get_mut(&key) {
                Some(session) if matches!(session.phase, Phase::Full) && session.backlog.is_empty() => {
                    session.phase = Phase::Loading;
                    self.wanted.push(key);
                }
                Some(session) => session.again = true,
                None => {
                    let session = Session {
                        phase: Phase::Loading,
                        backlog: VecDeque::new(),
                        after: 0,
                        again: false,
                        overtaken: false,
                        resting: HashSet::default(),
                        came: registered,
                        credit: BURST,
                        credited: Instant::now(),
                    };
                    self.sessions.insert(key.clone(), session);
                    self.wanted.push(key);
                }
            }
        }
    }

    /// A device has registered: what it could not be reached for is tried anew, and what chat sessions have goes on over
    /// the flow that it has now.
    fn is_back(&mut self, key: &Key, registered: Option<u64>) {
        if let Some(binding) = self.binding(key)
            && let Some(handed) = self.handed.get_mut(key)
        {
            chat::is_over(&self.core, &key.0, &binding, handed.values().map(|one| &*one.letter));
            for one in handed.values_mut().filter(|one| one.flow != binding.flow) {
                (one.flow, one.stamp) = (binding.flow, stamp(&binding));
            }
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.came = registered;
        if !session.resting.is_empty() {
            session.resting.clear();
            session.read_anew(key, &self.owed);
        }
    }

    /// Whether a device has registered since.
    fn is_elsewhere(&self, key: &Key, tried: u64) -> bool {
        self.binding(key).is_some_and(|binding| stamp(&binding) != tried)
    }

    /// Reads for the devices that want more, many in one call.
    fn read(&mut self) {
        while !self.wanted.is_empty() {
            let keys: Vec<Key> = self.wanted.drain(..self.wanted.len().min(READERS)).collect();
            let wanted: Vec<Wanted> = keys.iter().map(|key| self.wanted_of(key)).collect();
            let core = Arc::clone(&self.core);
            self.core.runtime.spawn(async move {
                let queue = &core.stores.queue;
                let read = core.stored(queue.pending(&wanted, READ)).await;
                if let Err(error) = &read {
                    core.counters.store_failed();
                    tracing::error!(%error, "waiting messages could not be read");
                }
                let mut lists = read.map(|lists| lists.into_iter());
                for key in keys {
                    let messages = lists.as_mut().ok().and_then(Iterator::next);
                    core.drain.tell(News::Loaded { key, messages });
                }
            });
        }
    }

    fn wanted_of(&self, key: &Key) -> Wanted {
        let after = self.sessions.get(key).map_or(0, |s| s.after);
        Wanted { recipient: key.0.clone(), device: Some(key.1.clone()), after }
    }

    fn loaded(&mut self, key: Key, messages: Option<Vec<QueuedMessage>>) {
        let now = epoch_seconds();
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some(messages) = messages else {
            // The store will be asked again at the next registration.
            self.sessions.remove(&key);
            return;
        };
        if std::mem::take(&mut session.overtaken) {
            return self.wanted.push(key);
        }
        let read_all = messages.len() < READ;
        if let Some(last) = messages.last() {
            session.after = last.id;
        }
        // What has lapsed is left to the sweep, which tells the sender.
        let handed = self.handed.get(&key);
        let is_handed = |id: u64| handed.is_some_and(|handed| handed.contains_key(&id));
        let is_settled = |id: u64| self.settling.contains(&id) || self.settled.ids.contains(&id);
        let is_open = |m: &QueuedMessage| m.expires_at > now && !is_settled(m.id) && !is_handed(m.id);
        session.backlog.extend(messages.into_iter().filter(is_open));
        if session.backlog.is_empty() {
            if session.again || !read_all {
                session.again = false;
                self.wanted.push(key);
            } else if handed.is_some() {
                // Its end, or a new message, goes on from here.
                session.phase = Phase::Full;
            } else {
                let fresh = session.after == 0;
                self.sessions.remove(&key);
                // Not while another device of the user is being sent what this one may have been told of.
                if fresh && !self.sessions.keys().any(|(aor, _)| *aor == key.0) {
                    self.core.waiting.only_copies(&key.0);
                }
            }
            return;
        }
        self.next(key);
    }

    /// Sends the next message of a device, or pauses, or reads on.
    fn next(&mut self, key: Key) {
        let rate = f64::from(self.core.settings.drain_rate.max(1));
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let now = Instant::now();
        let earned = now.duration_since(session.credited).as_secs_f64() * rate;
        (session.credit, session.credited) = ((session.credit + earned).min(BURST), now);
        if session.backlog.is_empty() {
            session.phase = Phase::Loading;
            session.again = false;
            self.wanted.push(key);
            return;
        }
        if session.credit < 1.0 {
            session.phase = Phase::Paused;
            let wait = Duration::from_secs_f64((1.0 - session.credit) / rate);
            let core = Arc::clone(&self.core);
            self.core.runtime.spawn(async move {
                tokio::time::sleep(wait).await;
                core.drain.tell(News::Resume { key });
            });
            return;
        }
        if self.handed.get(&key).is_some_and(|handed| handed.len() >= HANDED) {
            session.phase = Phase::Full;
            return;
        }
        session.credit -= 1.0;
        let Some(message) = session.backlog.pop_front() else { return };
        let rests = session.resting.contains(&message.sender);
        let is_owed = self.owed.contains(&(key.clone(), message.id));
        if rests || (self.is_settled(message.id) && !is_owed) {
            self.left(&key, &message);
            return self.next(key);
        }
        let Some(binding) = self.binding(&key) else {
            self.left(&key, &message);
            return self.drop(&key);
        };
        let came = self.sessions.get(&key).and_then(|session| session.came).unwrap_or(0);
        let waited = message.accepted_ms < came.max(binding.registered() * 1000);
        let (letter, stamp) = (Letter::new(message), stamp(&binding));
        if chat::deliver(&self.core, &key.0, &binding, &letter, waited) {
            let one = OnLine { letter: Arc::clone(&letter), flow: binding.flow, stamp };
            self.handed.entry(key.clone()).or_default().insert(letter.id(), one);
            return self.next(key);
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.phase = Phase::Sending(Arc::clone(&letter), stamp);
        }
        self.launch(key, binding, &letter);
    }

    /// How a device can be reached.
    fn binding(&self, key: &Key) -> Option<Binding> {
        let core = &self.core;
        core.location.with(&key.0, |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
            found.iter().find(|t| t.binding.device() == &*key.1).map(|t| t.binding.clone())
        })
    }

    /// Sends a message that a chat session has by MESSAGE.
    fn page(&mut self, key: &Key, id: u64) {
        let Some(one) = self.handed.get(key).and_then(|handed| handed.get(&id)) else { return };
        match self.binding(key) {
            Some(binding) => self.launch(key.clone(), binding, &one.letter),
            None => self.core.drain.tell(News::Ended { key: key.clone(), id, status: 430 }),
        }
    }

    fn launch(&self, key: Key, binding: Binding, letter: &Letter) {
        let (core, id) = (Arc::clone(&self.core), letter.id());
        let (headers, body) = letter.for_message(&binding);
        let onward = Onward { key, id, call_id: letter.queued.call_id.clone(), headers, body };
        match core.hops.of_binding(&binding, &core.local, &core.tokens) {
            Hop::Known(dest) => onward.send(&core, &binding, dest),
            Hop::Name => {
                core.runtime.clone().spawn(async move {
                    let dest = match chappe_sip::Uri::parse(binding.contact().as_bytes()) {
                        Ok(uri) => core.resolve(&uri).await,
                        Err(_) => None,
                    };
                    match dest {
                        Some(dest) => onward.send(&core, &binding, dest),
                        None => core.drain.tell(News::Ended { key: onward.key, id, status: 408 }),
                    }
                });
            }
            Hop::Gone | Hop::Unsupported => core.drain.tell(News::Ended { key: onward.key, id, status: 430 }),
        }
    }

    fn ended(&mut self, key: Key, id: u64, status: u16) {
        if let Some(one) = self.handed.get(&key).and_then(|handed| handed.get(&id)) {
            return chat::paged(&self.core, &key.0, &key.1, &one.letter, status);
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let (letter, tried) = match std::mem::replace(&mut session.phase, Phase::Loading) {
            Phase::Sending(letter, tried) if letter.id() == id => (letter, tried),
            other => {
                session.phase = other;
                return;
            }
        };
        match pager::Outcome::of(status) {
            // It was sent where the device is not any more.
            pager::Outcome::Away if self.is_elsewhere(&key, tried) => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.backlog.push_front(letter.queued.clone());
                }
            }
            // It stays, and so does what is behind it; the next registration begins anew.
            pager::Outcome::Away => {
                self.left(&key, &letter.queued);
                self.failed(&key);
                return self.drop(&key);
            }
            pager::Outcome::Took => {
                self.tried.remove(&key);
                self.delivered(&key, &letter.queued, status);
            }
            pager::Outcome::Refused => {
                self.tried.remove(&key);
                self.refused(&key, &letter.queued, status);
            }
        }
        self.next(key);
    }

    /// A device has not taken a MESSAGE. It is left alone for a while, unless it registers anew.
    fn failed(&mut self, key: &Key) {
        let Some(binding) = self.binding(key) else {
            self.tried.remove(key);
            return;
        };
        let (registration, now) = (registration(&binding), Instant::now());
        let patience = match self.tried.get_mut(key) {
            Some(patience) => {
                patience.failed(registration, now);
                patience
            }
            None => self.tried.entry(key.clone()).or_insert_with(|| Patience::new(registration, now)),
        };
        let (core, key, until) = (Arc::clone(&self.core), key.clone(), patience.until());
        self.core.runtime.spawn(async move {
            tokio::time::sleep_until(until.into()).await;
            core.drain.tell(News::Again { key });
        });
    }

    /// The pause of a device is over; one that is not there, or has nothing waiting, is forgotten.
    fn again(&mut self, key: Key) {
        let Some(patience) = self.tried.get(&key) else { return };
        let Some(binding) = self.binding(&key).filter(|_| self.core.waiting.count(&key.0) > 0) else {
            self.tried.remove(&key);
            return;
        };
        // A later try has a pause of its own.
        if patience.may_try(&registration(&binding), Instant::now()) {
            self.kick(key.0, Some(key.1), None);
        }
    }

    /// A chat session is done with a message.
    fn handed(&mut self, key: Key, id: u64, fate: Handed) {
        let Some(handed) = self.handed.get_mut(&key) else { return };
        let Some(OnLine { letter, stamp, .. }) = handed.remove(&id) else { return };
        let message = &letter.queued;
        if handed.is_empty() {
            self.handed.remove(&key);
        }
        match fate {
            Handed::Confirmed => self.delivered(&key, message, 200),
            Handed::Refused(status) => self.refused(&key, message, status),
            Handed::Returned { retry } => {
                let lane = message.sender.clone();
                // It was tried where the device is not any more, and that registration found it under way.
                let retry = retry.or_else(|| self.is_elsewhere(&key, stamp).then_some(AGAIN));
                let session = self.sessions.get_mut(&key);
                let rests = session.is_none_or(|session| session.resting.insert(lane.clone()));
                self.left(&key, message);
                if rests && let Some(wait) = retry {
                    let (core, key) = (Arc::clone(&self.core), key.clone());
                    self.core.runtime.spawn(async move {
                        tokio::time::sleep(wait).await;
                        core.drain.tell(News::Retry { key, lane });
                    });
                }
            }
        }
        // Whoever sends, reads or pauses goes on by itself.
        if let Some(session) = self.sessions.get_mut(&key)
            && matches!(session.phase, Phase::Full)
        {
            self.next(key);
        }
    }

    /// What a conversation left behind is read again, with all that came after it.
    fn retry(&mut self, key: Key, lane: &str) {
        match self.sessions.get_mut(&key) {
            Some(session) => {
                session.resting.remove(lane);
                session.read_anew(&key, &self.owed);
                if matches!(session.phase, Phase::Full) {
                    session.phase = Phase::Loading;
                    session.again = false;
                    self.wanted.push(key);
                }
            }
            None => self.kick(key.0, Some(key.1), None),
        }
    }

    fn refused(&mut self, key: &Key, message: &QueuedMessage, status: u16) {
        if self.owed.remove(&(key.clone(), message.id)) {
            return;
        }
        let settlement = message.settled(Outcome::Refused, Some(&key.1), status, epoch_ms());
        self.receipt(message, ReceiptState::Failed, Wants::NEGATIVE_DELIVERY);
        self.settle(settlement, message.device.is_some());
    }

    fn delivered(&mut self, key: &Key, message: &QueuedMessage, status: u16) {
        let core = Arc::clone(&self.core);
        if self.owed.remove(&(key.clone(), message.id)) {
            // Settled, with its receipt, when the first device took it.
            return;
        }
        let is_message = message.device.is_none();
        let is_told = is_message && message.wants.contains(Wants::POSITIVE_DELIVERY);
        let (mut answers_itself, mut others) = (true, Vec::new());
        core.location.with(&key.0, |bindings| {
            let binding = bindings.iter().find(|binding| binding.device() == &*key.1);
            if let Some(binding) = binding.filter(|_| is_told) {
                answers_itself = receipt::answers_itself(binding);
            }
            if is_message {
                others = other_devices(&core, &key.0, bindings, |binding| {
                    binding.instance_id().is_some() || self.holds(&key.0, binding.device(), message.id)
                });
            }
        });
        // The user's other devices get theirs when they come.
        for device in others.into_iter().filter(|device| **device != *key.1) {
            if self.holds(&key.0, &device, message.id) {
                self.owed.insert(((key.0.clone(), device), message.id));
            } else if !core.waiting.is_full(&key.0, true, core.settings.queue_per_user) {
                self.write.append.push(copy(message, &device));
            }
        }
        if is_told && !answers_itself {
            self.receipt(message, ReceiptState::Delivered, Wants::POSITIVE_DELIVERY);
        }
        self.settle(message.settled(Outcome::Delivered, Some(&key.1), status, epoch_ms()), !is_message);
    }

    /// Ends the session of a device that is not there.
    fn drop(&mut self, key: &Key) {
        let Some(session) = self.sessions.remove(key) else { return };
        for message in &session.backlog {
            self.left(key, message);
        }
    }

    /// A device has not taken a message; where another has, this one gets a copy of its own.
    fn left(&mut self, key: &Key, message: &QueuedMessage) {
        if self.owed.remove(&(key.clone(), message.id)) && self.comes_again(key) {
            self.write.append.push(copy(message, &key.1));
        }
    }

    /// Whether a device will be known again: one without an instance-id is its contact, and gone with its connection.
    fn comes_again(&self, key: &Key) -> bool {
        let core = &self.core;
        core.location.with(&key.0, |bindings| match bindings.iter().find(|binding| binding.device() == &*key.1) {
            Some(binding) => binding.instance_id().is_some() || binding.flow.is_some_and(|flow| is_alive(core, &flow)),
            None => core.away.of(&key.0, epoch_seconds()).iter().any(|away| away.device == key.1),
        })
    }

    /// Whether a message has gone, or goes with the next write: a read that began before may still show it.
    fn is_settled(&self, id: u64) -> bool {
        self.settling.contains(&id) || self.settled.ids.contains(&id)
    }

    /// Whether another device of the user is being sent this message anyway.
    fn holds(&self, aor: &str, device: &str, id: u64) -> bool {
        let key = (Box::from(aor), Box::from(device));
        self.sessions.get(&key).is_some_and(|s| {
            s.backlog.iter().any(|m| m.id == id) || matches!(&s.phase, Phase::Sending(m, _) if m.id() == id)
        }) || self.handed.get(&key).is_some_and(|handed| handed.contains_key(&id))
    }

    fn receipt(&mut self, message: &QueuedMessage, state: ReceiptState, wanted: Wants) {
        let Some(id) = message.message_id.as_deref().filter(|_| message.wants.contains(wanted)) else { return };
        if let Some(made) = receipt::make(&self.core, &receipt::Subject::of(message, id), state) {
            if state == ReceiptState::Delivered {
                self.core.recent_receipts.insert(id, &message.sender, &message.recipient, state);
            }
            self.write.append.push(made);
        }
    }

    fn settle(&mut self, settlement: Settlement, is_copy: bool) {
        // Two devices may be sent the same message; what follows it may go its own way from now on.
        if self.settling.insert(settlement.id) {
            self.core.waiting.remove(&settlement.recipient, is_copy);
        }
        self.write.settle.push(settlement);
    }

    /// Puts the outcomes of this round on disk, in one write.
    fn flush(&mut self) {
        if self.write.settle.is_empty() && self.write.append.is_empty() {
            return;
        }
        let write = std::mem::take(&mut self.write);
        let core = Arc::clone(&self.core);
        // Copies for a device that is away come in the order in which the others have taken the messages.
        self.core.spawn_begun(async move { commit(core, write).await });
    }
}

async fn commit(core: Arc<Core>, write: Write) {
    let ids: Vec<u64> = write.settle.iter().map(|s| s.id).collect();
    let ends: Vec<Outcome> = write.settle.iter().map(|s| s.outcome).collect();
    let new: Vec<(Box<str>, bool)> = write.append.iter().map(|m| (m.recipient.clone(), m.device.is_some())).collect();
    // A full disk gives way to nothing but room; what is not settled would be delivered again.
    let mut pause = Duration::from_millis(100);
    let written = loop {
        match core.stored(core.stores.queue.write(write.clone())).await {
            Ok(written) => break Some(written),
            Err(error) if error.is_temporary() && pause < Duration::from_secs(60) => {
                core.counters.store_failed();
                tracing::error!(%error, "outcomes could not be stored, trying again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(error) => {
                core.counters.store_failed();
                tracing::error!(%error, "outcomes could not be stored: messages may be delivered again");
                break None;
            }
        }
    };
    let Some(written) = written else { return core.drain.tell(News::Settled { ids, done: false }) };
    for (outcome, was_there) in ends.into_iter().zip(&written.settled) {
        if *was_there {
            core.ledger.settled(outcome);
        }
    }
    for ((recipient, is_copy), id) in new.into_iter().zip(&written.ids) {
        if id.is_none() {
            continue;
        }
        core.waiting.add(&recipient, is_copy, 1);
        core.ledger.stored();
        if !is_copy {
            core.counters.receipt();
        }
        kick(&core, &recipient);
    }
    core.drain.tell(News::Settled { ids, done: true });
}

/// A stored message as it goes to a device.
struct Onward {
    key: Key,
    id: u64,
    call_id: Box<str>,
    headers: Bytes,
    body: Bytes,
}

impl Onward {
    /// Sends it, in the shard of its Call-ID.
    fn send(self, core: &Arc<Core>, binding: &Binding, dest: Dest) {
        let Onward { key, id, call_id, headers, body } = self;
        core.visit(call_id.as_bytes(), |turn| {
            let token = turn.shard.works.reserve();
            match launch(turn, binding, dest, &headers, &body, token) {
                Ok(()) => turn.shard.works.put(token, Work::Drain(Box::new(Attempt { key, id }))),
                Err(status) => {
                    turn.shard.works.end(token);
                    turn.core.drain.tell(News::Ended { key, id, status });
                }
            }
        });
    }
}

fn registration(binding: &Binding) -> Registration {
    (binding.flow, binding.registered())
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

fn copy(message: &QueuedMessage, device: &str) -> NewMessage {
    NewMessage {
        recipient: message.recipient.clone(),
        device: Some(device.into()),
        sender: message.sender.clone(),
        message_id: message.message_id.clone(),
        call_id: message.call_id.clone(),
        headers: message.headers.clone(),
        body: message.body.clone(),
        accepted_ms: message.accepted_ms,
        expires_at: message.expires_at,
        wants: message.wants.only(Wants::SESSION),
        once: None,
    }
}

/// Messages in one sweep.
const SWEEP: usize = 500;

/// Ends the wait of messages whose time is over, and tells their senders where they asked (RFC 5438 §7.2.1.1).
pub async fn expire(core: &Arc<Core>) -> Result<(), chappe_store::StoreError> {
    loop {
        let lapsed = core.stored(core.stores.queue.expired(epoch_seconds(), SWEEP)).await?;
        let (count, now) = (lapsed.len(), epoch_ms());
        if count == 0 {
            return Ok(());
        }
        let mut write = Write::default();
        for message in lapsed {
            if let Some(id) = message.message_id.as_deref()
                && message.device.is_none()
                && message.wants.contains(Wants::NEGATIVE_DELIVERY)
            {
                write.append.extend(receipt::make(core, &receipt::Subject::of(&message, id), ReceiptState::Failed));
            }
            core.waiting.remove(&message.recipient, message.device.is_some());
            write.settle.push(message.settled(Outcome::Expired, None, 408, now));
        }
        commit(Arc::clone(core), write).await;
        if count < SWEEP {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
