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
        self.settled_many(outcome, 1);
    }

    fn end(&self, outcome: chappe_store::Outcome) -> &AtomicU64 {
        match outcome {
            chappe_store::Outcome::Delivered => &self.delivered,
            chappe_store::Outcome::Expired => &self.expired,
            chappe_store::Outcome::Refused => &self.refused,
        }
    }

    /// A message is on disk for so many recipients.
    pub fn stored_many(&self, recipients: u64) {
        self.load(i64::try_from(recipients).unwrap_or(i64::MAX));
    }

    /// So many of those ended.
    pub fn settled_many(&self, outcome: chappe_store::Outcome, recipients: i64) {
        self.stored.fetch_sub(recipients, Ordering::Relaxed);
        self.end(outcome).fetch_add(recipients as u64, Ordering::Relaxed);
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

/// A message that a device took while its sender waited, so that it never touched the disk.
#[derive(Debug, Clone, Copy)]
pub struct Relayed<'a> {
    /// IMDN Message-ID, where there is one.
    pub message_id: Option<&'a str>,
    pub call_id: &'a str,
    pub recipient: &'a str,
    pub device: Option<&'a str>,
    /// What the device answered and the sender was told.
    pub status: u16,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
}

/// The latest relayed messages, bounded in number.
pub struct Recent {
    shards: Box<[Mutex<VecDeque<Kept>>]>,
    hasher: RandomState,
    capacity: usize,
}

/// A [`Relayed`] in one piece of memory, as one is made for each message.
struct Kept {
    /// Call-ID, recipient, Message-ID and device, one after the other.
    text: Box<str>,
    /// Where the first three end.
    ends: [u32; 3],
    has_id: bool,
    has_device: bool,
    status: u16,
    at_ms: u64,
}

impl Kept {
    fn new(of: &Relayed<'_>) -> Kept {
        let parts = [of.call_id, of.recipient, of.message_id.unwrap_or_default(), of.device.unwrap_or_default()];
        let mut text = String::with_capacity(parts.iter().map(|p| p.len()).sum());
        let mut ends = [0; 3];
        for (at, part) in parts.iter().enumerate() {
            text.push_str(part);
            if let Some(end) = ends.get_mut(at) {
                *end = text.len() as u32;
            }
        }
        let (has_id, has_device) = (of.message_id.is_some(), of.device.is_some());
        Kept { text: text.into(), ends, has_id, has_device, status: of.status, at_ms: of.at_ms }
    }

    fn get(&self) -> Relayed<'_> {
        let [a, b, c] = self.ends.map(|end| end as usize);
        Relayed {
            call_id: &self.text[..a],
            recipient: &self.text[a..b],
            message_id: self.has_id.then(|| &self.text[b..c]),
            device: self.has_device.then(|| &self.text[c..]),
            status: self.status,
            at_ms: self.at_ms,
        }
    }
}

impl Relayed<'_> {
    fn fate(&self, event: Event, device: Option<&str>) -> Fate {
        Fate {
            message_id: self.message_id.map(Into::into),
            call_id: self.call_id.into(),
            recipient: self.recipient.into(),
            device: device.map(Into::into),
            event,
            detail: self.status,
            at_ms: self.at_ms,
        }
    }
}

impl Recent {
    /// Keeps `capacity` messages.
    pub fn new(capacity: usize) -> Recent {
        Recent {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            capacity: (capacity / SHARDS).max(1),
        }
    }

    pub fn push(&self, relayed: &Relayed<'_>) {
        let kept = Kept::new(relayed);
        let mut shard = self.shards[self.hasher.hash_one(relayed.call_id) as usize % SHARDS].lock();
        if shard.len() >= self.capacity {
            shard.pop_front();
        }
        shard.push_back(kept);
    }

    /// The steps of a message by its Call-ID or IMDN Message-ID, oldest first. Reads all: for operators.
    pub fn find(&self, id: &str) -> Vec<Fate> {
        let mut found: Vec<Fate> = Vec::new();
        for shard in &self.shards {
            for relayed in shard.lock().iter().map(Kept::get) {
                if relayed.call_id == id || relayed.message_id == Some(id) {
                    found.push(relayed.fate(Event::Accepted, None));
                    found.push(relayed.fate(Event::Delivered, relayed.device));
                }
            }
        }
        found.sort_by_key(|f| f.at_ms);
        found
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
        ledger.stored_many(5);
        ledger.settled_many(chappe_store::Outcome::Expired, 3);
        // One that was counted elsewhere from then on.
        ledger.load(-1);
        assert_eq!((ledger.imbalance(), ledger.stored.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn relayed_messages_are_found_by_either_id_and_bounded() {
        let recent = Recent::new(SHARDS * 3);
        let relayed =
            Relayed { message_id: Some("m"), call_id: "c", recipient: "u@d", device: None, status: 200, at_ms: 0 };
        for at_ms in 0..10 {
            recent.push(&Relayed { at_ms, device: (at_ms > 8).then_some("urn:x"), ..relayed });
        }
        let found = recent.find("c");
        assert_eq!(found.iter().map(|f| f.at_ms).collect::<Vec<_>>(), [7, 7, 8, 8, 9, 9]);
        assert_eq!((found[4].event, found[4].device.as_deref()), (Event::Accepted, None));
        assert_eq!((found[5].event, found[5].device.as_deref()), (Event::Delivered, Some("urn:x")));
        assert_eq!((&*found[5].call_id, &*found[5].recipient), ("c", "u@d"));
        assert_eq!(recent.find("m"), found);
        assert!(recent.find("x").is_empty());
        recent.push(&Relayed { message_id: None, ..relayed });
        assert!(recent.find("").is_empty());
    }
}
