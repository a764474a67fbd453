//! Which users have messages waiting, so that the hot path need not ask the store.

use std::collections::HashMap;

use ahash::RandomState;
use parking_lot::Mutex;

const SHARDS: usize = 16;

/// Messages of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    /// For whichever device comes first: a message that came now would overtake them.
    any: u64,
    /// Copies for single devices that are away; the others have the message.
    copies: u64,
}

/// Messages by AOR.
type Counts = HashMap<Box<str>, Count, RandomState>;

/// Messages waiting by AOR.
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
    /// All that waits, copies included.
    pub fn count(&self, aor: &str) -> u64 {
        self.shard(aor).lock().get(aor).map_or(0, |c| c.any + c.copies)
    }

    /// Whether a new message has to queue behind others.
    pub fn holds_up(&self, aor: &str) -> bool {
        self.shard(aor).lock().get(aor).is_some_and(|c| c.any > 0)
    }

    /// Whether there is no room for another. Messages and copies may be `most` each, so that devices which stay away keep
    /// nothing from the others.
    pub fn is_full(&self, aor: &str, is_copy: bool, most: u64) -> bool {
        self.shard(aor).lock().get(aor).is_some_and(|c| if is_copy { c.copies } else { c.any } >= most)
    }

    pub fn add(&self, aor: &str, is_copy: bool, by: u64) {
        let mut shard = self.shard(aor).lock();
        let count = match shard.get_mut(aor) {
            Some(count) => count,
            None => shard.entry(aor.into()).or_default(),
        };
        *(if is_copy { &mut count.copies } else { &mut count.any }) += by;
    }

    /// A message is gone. After a restart copies may have been counted as messages, so the other kind stands in.
    pub fn remove(&self, aor: &str, is_copy: bool) {
        let mut shard = self.shard(aor).lock();
        if let Some(count) = shard.get_mut(aor) {
            let from_copies = if is_copy { count.copies > 0 } else { count.any == 0 };
            let from = if from_copies { &mut count.copies } else { &mut count.any };
            *from = from.saturating_sub(1);
            if *count == Count::default() {
                shard.remove(aor);
            }
        }
    }

    /// A device that is there was found to have nothing waiting, so all that is left are copies for others.
    pub fn only_copies(&self, aor: &str) {
        if let Some(count) = self.shard(aor).lock().get_mut(aor) {
            count.copies += std::mem::take(&mut count.any);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_for_a_device_that_is_away_hold_nobody_up() {
        let waiting = Waiting::default();
        waiting.add("a@d", true, 2);
        assert_eq!((waiting.count("a@d"), waiting.holds_up("a@d")), (2, false));
        waiting.add("a@d", false, 1);
        assert!(waiting.holds_up("a@d"));
        let full = |is_copy, most| waiting.is_full("a@d", is_copy, most);
        assert_eq!((full(true, 2), full(true, 3), full(false, 1), full(false, 2)), (true, false, true, false));
        waiting.remove("a@d", true);
        assert!(waiting.holds_up("a@d"));
        waiting.remove("a@d", false);
        assert_eq!((waiting.count("a@d"), waiting.holds_up("a@d")), (1, false));
        waiting.remove("a@d", false);
        waiting.remove("a@d", true);
        assert_eq!(waiting.count("a@d"), 0);
    }

    #[test]
    fn what_a_restart_left_is_sorted_out_by_the_first_device() {
        let waiting = Waiting::default();
        waiting.add("a@d", false, 3);
        waiting.only_copies("a@d");
        assert_eq!((waiting.count("a@d"), waiting.holds_up("a@d")), (3, false));
    }
}
