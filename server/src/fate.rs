//! What became of each message: counters that obey the conservation law.
//!
//! `accepted = delivered + stored + expired + refused`, counted for each (message, recipient) from the 2xx to its
//! sender on; a copy kept for a further device of the recipient counts as one more.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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
}
