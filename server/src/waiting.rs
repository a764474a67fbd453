//! Which users have messages waiting, so that the hot path need not ask the store.

use std::collections::HashMap;

use ahash::RandomState;
use parking_lot::Mutex;

const SHARDS: usize = 16;

/// Messages by AOR.
type Counts = HashMap<Box<str>, u64, RandomState>;

/// Messages waiting by AOR, copies for single devices included.
pub struct Waiting {
    shards: Box<[Mutex<Counts>]>,
    hasher: RandomState,
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Waiting {
    pub fn count(&self, aor: &str) -> u64 {
        self.shard(aor).lock().get(aor).copied().unwrap_or(0)
    }

    pub fn add(&self, aor: &str, by: u64) {
        let mut shard = self.shard(aor).lock();
        match shard.get_mut(aor) {
            Some(count) => *count += by,
            None => {
                shard.insert(aor.into(), by);
            }
        }
    }

    pub fn remove(&self, aor: &str, by: u64) {
        let mut shard = self.shard(aor).lock();
        if let Some(count) = shard.get_mut(aor) {
            *count = count.saturating_sub(by);
            if *count == 0 {
                shard.remove(aor);
            }
        }
    }

    /// Nothing waits for this AOR any more.
    pub fn clear(&self, aor: &str) {
        self.shard(aor).lock().remove(aor);
    }

    fn shard(&self, aor: &str) -> &Mutex<Counts> {
        &self.shards[self.hasher.hash_one(aor) as usize % SHARDS]
    }
}
