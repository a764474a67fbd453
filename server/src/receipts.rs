//! Receipts that were made or passed on lately, so that what several devices tell of a message is told once.

use std::collections::{HashSet, VecDeque};

use ahash::RandomState;
use chappe_store::ReceiptState;
use parking_lot::Mutex;

/// Receipts remembered; the oldest go first. A device that sends its own does so within seconds.
const CAPACITY: usize = 65_536;

#[derive(Default)]
struct Set {
    order: VecDeque<u64>,
    keys: HashSet<u64, RandomState>,
}

/// Receipts by the message they are about, its sender and its recipient.
#[derive(Default)]
pub struct RecentReceipts {
    set: Mutex<Set>,
    hasher: RandomState,
}

impl RecentReceipts {
    /// Notes a receipt; false where it was noted before.
    pub fn insert(&self, message_id: &str, sender: &str, recipient: &str, state: ReceiptState) -> bool {
        let key = self.key(message_id, sender, recipient, state);
        let mut set = self.set.lock();
        let new = set.keys.insert(key);
        if new {
            set.order.push_back(key);
            if set.order.len() > CAPACITY
                && let Some(oldest) = set.order.pop_front()
            {
                set.keys.remove(&oldest);
            }
        }
        new
    }

    /// Forgets one that could not be passed on.
    pub fn remove(&self, message_id: &str, sender: &str, recipient: &str, state: ReceiptState) {
        let key = self.key(message_id, sender, recipient, state);
        self.set.lock().keys.remove(&key);
    }

    fn key(&self, message_id: &str, sender: &str, recipient: &str, state: ReceiptState) -> u64 {
        self.hasher.hash_one((message_id, sender, recipient, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_receipt_is_new_once_and_the_oldest_go() {
        let receipts = RecentReceipts::default();
        let delivered = ReceiptState::Delivered;
        assert!(receipts.insert("m", "a@d", "b@d", delivered));
        assert!(!receipts.insert("m", "a@d", "b@d", delivered));
        assert!(receipts.insert("m", "a@d", "c@d", delivered), "another recipient");
        assert!(receipts.insert("m", "a@d", "b@d", ReceiptState::Displayed), "another state");
        for n in 0..CAPACITY {
            receipts.insert(&n.to_string(), "a@d", "b@d", delivered);
        }
        assert!(receipts.insert("m", "a@d", "b@d", delivered), "the oldest");
        assert!(!receipts.insert("7", "a@d", "b@d", delivered));
        receipts.remove("7", "a@d", "b@d", delivered);
        assert!(receipts.insert("7", "a@d", "b@d", delivered));
    }
}
