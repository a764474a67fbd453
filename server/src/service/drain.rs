//! Stored messages on their way to devices that came back: in order, paced, one at a time for each device, each
//! removed when its device has taken it.
//!
//! One task owns the sessions; news reaches it over a channel, from shards and from its own reads and writes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use chappe_chat::pager;
use chappe_chat::stored::{self, Onward};
use chappe_sip::layer::Dest;
use chappe_sip::proxy;
use chappe_sip::registrar::{Binding, targets};
use chappe_store::{NewMessage, Outcome, QueuedMessage, ReceiptState, Settlement, Wanted, Wants, Write};
use tokio::sync::mpsc;

use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::hops::Hop;
use crate::service::pager::is_alive;
use crate::service::receipt;
use crate::shard::Turn;
use crate::work::{Token, Work};

/// Messages read for one device at a time.
const READ: usize = 32;
/// Devices in one read.
const READERS: usize = 64;
/// Messages that may go out without a pause at the start.
const BURST: f64 = 50.0;

/// A device of a user.
type Key = (Box<str>, Box<str>);

/// What the drain hears.
#[derive(Debug)]
enum News {
    /// Somebody registered, or a message was stored for somebody who may be there.
    Kick {
        aor: Box<str>,
        device: Option<Box<str>>,
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
    /// Time to go on with a device that is being paced.
    Resume {
        key: Key,
    },
    Settle {
        settlements: Vec<Settlement>,
    },
    Settled {
        ids: Vec<u64>,
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

/// A stored message under way to a device.
pub struct Attempt {
    key: Key,
    id: u64,
}

/// Sends what waits for a user to every device that is there; nothing where nothing waits.
pub fn kick(core: &Core, aor: &str) {
    if core.waiting.count(aor) > 0 {
        core.drain.tell(News::Kick { aor: aor.into(), device: None });
    }
}

/// Like [`kick`], for one device.
pub fn kick_device(core: &Core, aor: &str, device: &str) {
    core.drain.tell(News::Kick { aor: aor.into(), device: Some(device.into()) });
}

/// Ends the wait of messages, in the next write.
pub fn settle(core: &Core, settlements: Vec<Settlement>) {
    core.drain.tell(News::Settle { settlements });
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
        Onward { uri: binding.contact(), via: &via, route: super::proxy::path_beyond_us(core, binding.path()) };
    let bytes = stored::request(onward, headers, body);
    let sent = turn.shard.layer.request(turn.now, dest, bytes, &via.as_bytes()[at..], b"MESSAGE", token.0);
    sent.map(|_| ()).map_err(|_| 503)
}

enum Phase {
    Loading,
    /// This message is with the device.
    Sending(QueuedMessage),
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
    /// Pace: messages that may go now, and since when that was so.
    credit: f64,
    credited: Instant,
}

struct Sessions {
    core: Arc<Core>,
    sessions: HashMap<Key, Session, RandomState>,
    /// Messages that are settled but perhaps not on disk yet: never sent again.
    settling: HashSet<u64, RandomState>,
    wanted: Vec<Key>,
    write: Write,
}

/// Serves devices until the process ends.
pub async fn run(core: Arc<Core>, mut inbox: Inbox) {
    let mut sessions = Sessions {
        core,
        sessions: HashMap::default(),
        settling: HashSet::default(),
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
            News::Kick { aor, device } => self.kick(aor, device),
            News::Loaded { key, messages } => self.loaded(key, messages),
            News::Ended { key, id, status } => self.ended(key, id, status),
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
            News::Settled { ids } => {
                for id in ids {
                    self.settling.remove(&id);
                }
            }
        }
    }

    fn kick(&mut self, aor: Box<str>, device: Option<Box<str>>) {
        let core = &self.core;
        let live: Vec<Box<str>> = core.location.with(&aor, |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
            let names = found.iter().map(|t| t.binding.device());
            names.filter(|n| device.as_deref().is_none_or(|d| d == *n)).map(Into::into).collect()
        });
        for name in live {
            let key = (aor.clone(), name);
            match self.sessions.get_mut(&key) {
                Some(session) => session.again = true,
                None => {
                    let session = Session {
                        phase: Phase::Loading,
                        backlog: VecDeque::new(),
                        after: 0,
                        again: false,
                        credit: BURST,
                        credited: Instant::now(),
                    };
                    self.sessions.insert(key.clone(), session);
                    self.wanted.push(key);
                }
            }
        }
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
        let read_all = messages.len() < READ;
        if let Some(last) = messages.last() {
            session.after = last.id;
        }
        // What has lapsed is left to the sweep, which tells the sender.
        session.backlog.extend(messages.into_iter().filter(|m| m.expires_at > now && !self.settling.contains(&m.id)));
        if session.backlog.is_empty() {
            if session.again || !read_all {
                session.again = false;
                self.wanted.push(key);
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
        session.credit -= 1.0;
        let Some(message) = session.backlog.pop_front() else { return };
        if self.settling.contains(&message.id) {
            return self.next(key);
        }
        let core = Arc::clone(&self.core);
        let binding = core.location.with(&key.0, |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(&core, flow), |_| true);
            found.iter().find(|t| t.binding.device() == &*key.1).map(|t| t.binding.clone())
        });
        let Some(binding) = binding else {
            self.sessions.remove(&key);
            return;
        };
        let id = message.id;
        session.phase = Phase::Sending(message.clone());
        match core.hops.of_binding(&binding, &core.local, &core.tokens) {
            Hop::Known(dest) => send(&core, &binding, dest, &message, key),
            Hop::Name => {
                core.runtime.clone().spawn(async move {
                    let dest = match chappe_sip::Uri::parse(binding.contact().as_bytes()) {
                        Ok(uri) => core.resolve(&uri).await,
                        Err(_) => None,
                    };
                    match dest {
                        Some(dest) => send(&core, &binding, dest, &message, key),
                        None => core.drain.tell(News::Ended { key, id, status: 408 }),
                    }
                });
            }
            Hop::Gone | Hop::Unsupported => core.drain.tell(News::Ended { key, id, status: 430 }),
        }
    }

    fn ended(&mut self, key: Key, id: u64, status: u16) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Phase::Sending(message) = std::mem::replace(&mut session.phase, Phase::Loading) else { return };
        if message.id != id {
            session.phase = Phase::Sending(message);
            return;
        }
        match pager::Outcome::of(status) {
            // It stays, and so does what is behind it; the next registration begins anew.
            pager::Outcome::Away => {
                self.sessions.remove(&key);
                return;
            }
            pager::Outcome::Took => self.delivered(&key, &message, status),
            pager::Outcome::Refused => {
                let settlement = message.settled(Outcome::Refused, Some(&key.1), status, epoch_ms());
                self.receipt(&message, ReceiptState::Failed, Wants::NEGATIVE_DELIVERY);
                self.settle(settlement, message.device.is_some());
            }
        }
        self.next(key);
    }

    fn delivered(&mut self, key: &Key, message: &QueuedMessage, status: u16) {
        let core = Arc::clone(&self.core);
        let is_message = message.device.is_none();
        let mut answers_itself = true;
        core.location.with(&key.0, |bindings| {
            for binding in bindings {
                if binding.device() == &*key.1 {
                    answers_itself = receipt::answers_itself(binding);
                } else if is_message
                    && binding.instance_id().is_some()
                    && !self.holds(&key.0, binding.device(), message.id)
                {
                    // The user's other devices get theirs when they come.
                    self.write.append.push(copy(message, binding.device()));
                }
            }
        });
        if is_message && !answers_itself {
            self.receipt(message, ReceiptState::Delivered, Wants::POSITIVE_DELIVERY);
        }
        self.settle(message.settled(Outcome::Delivered, Some(&key.1), status, epoch_ms()), !is_message);
    }

    /// Whether another device of the user is being sent this message anyway.
    fn holds(&self, aor: &str, device: &str, id: u64) -> bool {
        let key = (Box::from(aor), Box::from(device));
        self.sessions.get(&key).is_some_and(|s| {
            s.backlog.iter().any(|m| m.id == id) || matches!(&s.phase, Phase::Sending(m) if m.id == id)
        })
    }

    fn receipt(&mut self, message: &QueuedMessage, state: ReceiptState, wanted: Wants) {
        let Some(id) = message.message_id.as_deref().filter(|_| message.wants.contains(wanted)) else { return };
        if let Some(made) = receipt::make(&self.core, &receipt::Subject::of(message, id), state) {
            if state == ReceiptState::Delivered {
                self.core.recent_receipts.insert(id, &message.sender, &message.recipient);
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
        self.core.runtime.spawn(async move { commit(core, write).await });
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
    let Some(written) = written else { return core.drain.tell(News::Settled { ids }) };
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
    core.drain.tell(News::Settled { ids });
}

/// Sends a stored message, in the shard of its Call-ID.
fn send(core: &Arc<Core>, binding: &Binding, dest: Dest, message: &QueuedMessage, key: Key) {
    core.visit(message.call_id.as_bytes(), |turn| {
        let token = turn.shard.works.reserve();
        match launch(turn, binding, dest, &message.headers, &message.body, token) {
            Ok(()) => turn.shard.works.put(token, Work::Drain(Box::new(Attempt { key, id: message.id }))),
            Err(status) => {
                turn.shard.works.end(token);
                turn.core.drain.tell(News::Ended { key, id: message.id, status });
            }
        }
    });
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
        wants: Wants::default(),
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
