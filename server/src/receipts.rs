//! Delivery receipts that the server made lately, so that a device's own one for the same message is not passed on.

use std::collections::{HashSet, VecDeque};

use ahash::RandomState;
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
    pub fn insert(&self, message_id: &str, sender: &str, recipient: &str) -> bool {
        let key = self.hasher.hash_one((message_id, sender, recipient));
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

    pub fn contains(&self, message_id: &str, sender: &str, recipient: &str) -> bool {
        self.set.lock().keys.contains(&self.hasher.hash_one((message_id, sender, recipient)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_receipt_is_new_once_and_the_oldest_go() {
        let receipts = RecentReceipts::default();
        assert!(receipts.insert("m", "a@d", "b@d"));
        assert!(!receipts.insert("m", "a@d", "b@d"));
        assert!(receipts.insert("m", "a@d", "c@d"), "another recipient");
        for n in 0..CAPACITY {
            receipts.insert(&n.to_string(), "a@d", "b@d");
        }
        assert!(!receipts.contains("m", "a@d", "b@d"));
        assert!(receipts.contains("7", "a@d", "b@d"));
    }
}
