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

/// Receipts by the message they are about and its sender.
#[derive(Default)]
pub struct RecentReceipts {
    set: Mutex<Set>,
    hasher: RandomState,
}

impl RecentReceipts {
    pub fn insert(&self, message_id: &str, sender: &str) {
        let key = self.hasher.hash_one((message_id, sender));
        let mut set = self.set.lock();
        if set.keys.insert(key) {
            set.order.push_back(key);
            if set.order.len() > CAPACITY
                && let Some(oldest) = set.order.pop_front()
            {
                set.keys.remove(&oldest);
            }
        }
    }

    pub fn contains(&self, message_id: &str, sender: &str) -> bool {
        self.set.lock().keys.contains(&self.hasher.hash_one((message_id, sender)))
    }
}
