//! What is read for a device, and what goes next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chappe_store::{QueuedMessage, Wanted};

use super::{Key, News, OnLine, Phase, Session, Sessions};
use crate::core::epoch_seconds;
use crate::service::chat::{self, Letter};
use crate::service::pager::stamp;

/// Messages read for one device at a time.
const READ: usize = 32;
/// Devices in one read.
const READERS: usize = 64;
/// Reads under way at a time, as many as the store does at once: what is wanted meanwhile is read together.
const READS: usize = 2;
/// A read that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Messages of one device that chat sessions may have at a time.
const HANDED: usize = 64;

impl Sessions {
    /// Reads for the devices that want more, many in one call.
    pub(super) fn read(&mut self) {
        let (stalled, mut ready): (Vec<Key>, Vec<Key>) =
            std::mem::take(&mut self.wanted).into_iter().partition(|key| self.is_stalled(key));
        self.wanted = stalled;
        while !ready.is_empty() && self.reads < READS {
            self.reads += 1;
            let keys: Vec<Key> = ready.drain(..ready.len().min(READERS)).collect();
            for key in &keys {
                if let Some(session) = self.sessions.get_mut(key) {
                    (session.bound, session.stalled) = (self.owed.first_written(key), None);
                }
            }
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
                let mut list = || lists.as_mut().ok().and_then(Iterator::next);
                core.drain.tell(News::Loaded { lists: keys.into_iter().map(|key| (key, list())).collect() });
            });
        }
        self.wanted.extend(ready);
    }

    /// Whether there is nothing good to be read yet.
    fn is_stalled(&self, key: &Key) -> bool {
        let stalled = self.sessions.get(key).and_then(|session| session.stalled);
        stalled.zip(self.owed.first_written(key)).is_some_and(|(bound, first)| first <= bound)
    }

    pub(super) fn wanted_of(&self, key: &Key) -> Wanted {
        let after = self.sessions.get(key).map_or(0, |s| s.after);
        Wanted { recipient: key.0.clone(), device: Some(key.1.clone()), after }
    }

    /// What is waiting for a device is read once more, from the first.
    pub(super) fn read_anew(&mut self, key: &Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        (session.after, session.again) = (0, true);
        session.overtaken = matches!(session.phase, Phase::Loading);
        if matches!(session.phase, Phase::Full) {
            session.phase = Phase::Loading;
            session.again = false;
            self.wanted.push(key.clone());
        }
        for message in std::mem::take(&mut session.backlog) {
            self.left(key, &message);
        }
    }

    /// A message came to be in the queue of a device behind which has been read already, perhaps.
    pub(super) fn read_from(&mut self, key: &Key, id: u64) {
        let is_behind = |session: &Session| session.after >= id || matches!(session.phase, Phase::Loading);
        if self.sessions.get(key).is_some_and(is_behind) {
            self.read_anew(key);
        }
    }

    pub(super) fn loaded(&mut self, key: Key, messages: Option<Vec<QueuedMessage>>) {
        let now = epoch_seconds();
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if std::mem::take(&mut session.overtaken) {
            return self.wanted.push(key);
        }
        let bound = session.bound.take();
        let Some(mut messages) = messages else {
            session.phase = Phase::Paused;
            return self.resume(key, AGAIN);
        };
        let read_all = messages.len() < READ && bound.is_none();
        messages.retain(|message| bound.is_none_or(|bound| message.id < bound));
        session.stalled = bound.filter(|_| messages.is_empty());
        if let Some(last) = messages.last() {
            session.after = last.id;
        }
        // What has lapsed is left to the sweep, which tells the sender.
        let handed = self.handed.get(&key);
        let is_handed = |id: u64| handed.is_some_and(|handed| handed.contains_key(&id));
        let is_settled = |id: u64| self.settling.contains(&id) || self.settled.contains(id);
        let is_held = |id: u64| is_handed(id) || self.owed.holds_copy(&key, id);
        let is_open = |m: &QueuedMessage| m.expires_at > now && !is_settled(m.id) && !is_held(m.id);
        session.backlog.extend(messages.into_iter().filter(is_open));
        if session.backlog.is_empty() {
            if session.again || !read_all {
                session.again = false;
                self.wanted.push(key);
            } else if handed.is_some() {
                // Its end, or a new message, goes on from here.
                session.phase = Phase::Full;
            } else {
                let (fresh, rests) = (session.after == 0, !session.lanes.is_empty());
                self.sessions.remove(&key);
                // Not while another device of the user is being sent what this one may have been told of.
                let alone = fresh && !self.sessions.keys().any(|(aor, _)| *aor == key.0);
                if !rests {
                    self.core.waiting.found_nothing(&key.0, &key.1, alone);
                }
            }
            return;
        }
        self.next(key);
    }

    /// Goes on with a device that is paused, after a while.
    fn resume(&self, key: Key, wait: Duration) {
        let core = Arc::clone(&self.core);
        self.core.runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            core.drain.tell(News::Resume { key });
        });
    }

    /// Sends the next message of a device, or pauses, or reads on.
    pub(super) fn next(&mut self, key: Key) {
        let rate = self.core.settings.drain_rate;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.backlog.is_empty() {
            session.phase = Phase::Loading;
            session.again = false;
            self.wanted.push(key);
            return;
        }
        if let Some(wait) = session.pace.wait(rate, Instant::now()) {
            session.phase = Phase::Paused;
            return self.resume(key, wait);
        }
        if self.handed.get(&key).is_some_and(|handed| handed.len() >= HANDED) {
            session.phase = Phase::Full;
            return;
        }
        session.pace.spend();
        let Some(message) = session.backlog.pop_front() else { return };
        let rests = session.lanes.rests(&message.sender);
        let is_owed = self.owed.is_owed(&key, message.id);
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
            let one = OnLine { letter: Arc::clone(&letter), stamp, is_paged: false };
            self.handed.entry(key.clone()).or_default().insert(letter.id(), one);
            return self.next(key);
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.phase = Phase::Sending(Arc::clone(&letter), stamp);
        }
        self.launch(key, binding, &letter);
    }
}
