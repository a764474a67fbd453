//! What became of each message: counters that obey the conservation law, and the recent past for `chappe explain`.
//!
//! `accepted = delivered + stored + expired + refused`, counted for each (message, recipient) from the 2xx to its
//! sender on; a copy kept for a further device of the recipient counts as one more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ahash::RandomState;
use chappe_store::{Event, Fate};
use parking_lot::Mutex;

/// Messages by fate since the start; `stored` is how many wait now.
#[derive(Debug, Default)]
pub struct Ledger {
    pub accepted: AtomicU64,
    pub delivered: AtomicU64,
    pub stored: AtomicI64,
    pub expired: AtomicU64,
    pub refused: AtomicU64,
    /// Refused before we said 2xx; not part of the law.
    pub rejected: AtomicU64,
}

impl Ledger {
    /// A 2xx went out for a message that a device has confirmed.
    pub fn delivered_at_once(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// A 202 goes out for a message that is on disk.
    pub fn stored(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    /// A stored message ended.
    pub fn settled(&self, outcome: chappe_store::Outcome) {
        self.stored.fetch_sub(1, Ordering::Relaxed);
        let end = match outcome {
            chappe_store::Outcome::Delivered => &self.delivered,
            chappe_store::Outcome::Expired => &self.expired,
            chappe_store::Outcome::Refused => &self.refused,
        };
        end.fetch_add(1, Ordering::Relaxed);
    }

    /// What the store held and had seen at the start of the process.
    pub fn load(&self, stored: i64) {
        self.accepted.fetch_add(stored as u64, Ordering::Relaxed);
        self.stored.fetch_add(stored, Ordering::Relaxed);
    }

    /// How far the law is broken: 0.
    pub fn imbalance(&self) -> i64 {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed) as i64;
        get(&self.accepted)
            - get(&self.delivered)
            - self.stored.load(Ordering::Relaxed)
            - get(&self.expired)
            - get(&self.refused)
    }
}

const SHARDS: usize = 16;

/// The latest steps of messages that never touched the disk, bounded in number.
pub struct Recent {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    capacity: usize,
}

#[derive(Default)]
struct Shard {
    entries: VecDeque<Fate>,
}

impl Recent {
    /// Keeps `capacity` steps.
    pub fn new(capacity: usize) -> Recent {
        Recent {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            capacity: (capacity / SHARDS).max(1),
        }
    }

    pub fn push(&self, fate: Fate) {
        let mut shard = self.shard(&fate.call_id).lock();
        shard.entries.push_back(fate);
        if shard.entries.len() > self.capacity {
            shard.entries.pop_front();
        }
    }

    /// The steps of a message by its Call-ID or IMDN Message-ID, oldest first. Reads all: for operators.
    pub fn find(&self, id: &str) -> Vec<Fate> {
        let hit = |f: &Fate| &*f.call_id == id || f.message_id.as_deref() == Some(id);
        let mut found: Vec<Fate> = Vec::new();
        for shard in &self.shards {
            found.extend(shard.lock().entries.iter().filter(|f| hit(f)).cloned());
        }
        found.sort_by_key(|f| f.at_ms);
        found
    }

    fn shard(&self, call_id: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(call_id) as usize % SHARDS]
    }
}

/// One step.
pub fn step(
    message_id: Option<&str>,
    call_id: &str,
    recipient: &str,
    device: Option<&str>,
    event: Event,
    detail: u16,
    at_ms: u64,
) -> Fate {
    Fate {
        message_id: message_id.map(Into::into),
        call_id: call_id.into(),
        recipient: recipient.into(),
        device: device.map(Into::into),
        event,
        detail,
        at_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_holds_through_a_life() {
        let ledger = Ledger::default();
        ledger.load(2);
        ledger.delivered_at_once();
        ledger.stored();
        assert_eq!(ledger.imbalance(), 0);
        ledger.settled(chappe_store::Outcome::Delivered);
        ledger.settled(chappe_store::Outcome::Expired);
        ledger.settled(chappe_store::Outcome::Refused);
        assert_eq!(ledger.imbalance(), 0);
        assert_eq!(ledger.stored.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn recent_steps_are_found_by_either_id_and_bounded() {
        let recent = Recent::new(SHARDS * 3);
        for n in 0..10 {
            recent.push(step(Some("m"), "c", "u@d", None, Event::Accepted, 200, n));
        }
        assert_eq!(recent.find("c").iter().map(|f| f.at_ms).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(recent.find("m").len(), 3);
        assert!(recent.find("x").is_empty());
    }
}
