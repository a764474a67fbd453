//! Which users have messages waiting, so that the hot path need not ask the store.

use std::collections::HashMap;
use std::sync::OnceLock;

use ahash::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;

const SHARDS: usize = 16;

/// Messages of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Count {
    /// For whichever device comes first: a message that came now would overtake them.
    any: u64,
    /// Copies for single devices; others have the message.
    copies: SmallVec<[(Box<str>, u64); 1]>,
    /// Copies from before a restart: it is not known for which devices.
    unsorted: u64,
    /// Devices that have none of the unsorted.
    clear: SmallVec<[Box<str>; 1]>,
}

impl Count {
    fn all_copies(&self) -> u64 {
        self.unsorted + self.copies.iter().map(|(_, count)| count).sum::<u64>()
    }

    /// Of one kind one less. After a restart copies may have been counted as messages, so another kind stands in.
    fn remove(&mut self, device: Option<&str>) {
        let place = |copies: &[(Box<str>, u64)], device: &str| copies.iter().position(|(name, _)| **name == *device);
        let at = device.and_then(|device| place(&self.copies, device));
        let only = self.any == 0 && self.unsorted == 0 && !self.copies.is_empty();
        match at.or(only.then_some(0)) {
            Some(at) => {
                self.copies[at].1 -= 1;
                if self.copies[at].1 == 0 {
                    self.copies.swap_remove(at);
                }
            }
            None if self.unsorted > 0 && (device.is_some() || self.any == 0) => self.unsorted -= 1,
            None => self.any = self.any.saturating_sub(1),
        }
    }
}

/// Messages by AOR.
type Counts = HashMap<Box<str>, Count, RandomState>;

type Heard = Box<dyn Fn(&str) + Send + Sync>;

/// Messages waiting by AOR.
pub struct Waiting {
    shards: Box<[Mutex<Counts>]>,
    /// Hears of each AOR for which a message begins to wait.
    heard: OnceLock<Heard>,
    /// Hears of each AOR whose number of messages is another one.
    changes: OnceLock<Heard>,
    hasher: RandomState,
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            heard: OnceLock::new(),
            changes: OnceLock::new(),
            hasher: RandomState::new(),
        }
    }
}

impl Waiting {
    /// From now on `heard` is told of each AOR for which something is added. Once.
    pub fn tell(&self, heard: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.heard.set(Box::new(heard));
    }

    /// From now on `heard` is told of each AOR for which something is added or gone. Once. A shard may be locked.
    pub fn tell_changes(&self, heard: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.changes.set(Box::new(heard));
    }

    /// Messages that no device of the user has.
    pub fn messages(&self, aor: &str) -> u64 {
        self.shard(aor).lock().get(aor).map_or(0, |count| count.any)
    }

    /// All that waits, copies included.
    pub fn count(&self, aor: &str) -> u64 {
        self.shard(aor).lock().get(aor).map_or(0, |c| c.any + c.all_copies())
    }

    /// Whether a new message has to queue behind others.
    pub fn holds_up(&self, aor: &str) -> bool {
        self.shard(aor).lock().get(aor).is_some_and(|c| c.any > 0)
    }

    /// Whether a new message for one device has to queue behind copies for it.
    pub fn holds_up_device(&self, aor: &str, device: &str) -> bool {
        self.shard(aor).lock().get(aor).is_some_and(|c| {
            c.copies.iter().any(|(name, _)| **name == *device)
                || c.unsorted > 0 && !c.clear.iter().any(|name| **name == *device)
        })
    }

    /// Whether there is no room for another. Messages and copies may be `most` each, so that devices which stay away keep
    /// nothing from the others.
    pub fn is_full(&self, aor: &str, is_copy: bool, most: u64) -> bool {
        self.shard(aor).lock().get(aor).is_some_and(|c| if is_copy { c.all_copies() } else { c.any } >= most)
    }

    /// Messages for any device, or copies for one.
    pub fn add(&self, aor: &str, device: Option<&str>, by: u64) {
        let mut shard = self.shard(aor).lock();
        let count = match shard.get_mut(aor) {
            Some(count) => count,
            None => shard.entry(aor.into()).or_default(),
        };
        match device {
            None => count.any += by,
            Some(device) => match count.copies.iter_mut().find(|(name, _)| **name == *device) {
                Some((_, copies)) => *copies += by,
                None => count.copies.push((device.into(), by)),
            },
        }
        drop(shard);
        for heard in [self.heard.get(), self.changes.get()].into_iter().flatten() {
            heard(aor);
        }
    }

    /// A message for any device is gone, or a copy for one.
    pub fn remove(&self, aor: &str, device: Option<&str>) {
        let mut shard = self.shard(aor).lock();
        if let Some(count) = shard.get_mut(aor) {
            count.remove(device);
            if count.any == 0 && count.all_copies() == 0 {
                shard.remove(aor);
            }
        }
        drop(shard);
        if let Some(heard) = self.changes.get() {
            heard(aor);
        }
    }

    /// A device that is there was found to have nothing waiting. `alone`: no other is being served, so that all that is left
    /// are copies for others.
    pub fn found_nothing(&self, aor: &str, device: &str, alone: bool) {
        if let Some(count) = self.shard(aor).lock().get_mut(aor) {
            if alone {
                count.unsorted += std::mem::take(&mut count.any);
            }
            if count.unsorted > 0 && !count.clear.iter().any(|name| **name == *device) {
                count.clear.push(device.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_for_a_device_that_is_away_hold_nobody_else_up() {
        let waiting = Waiting::default();
        waiting.add("a@d", Some("x"), 2);
        assert_eq!((waiting.count("a@d"), waiting.holds_up("a@d")), (2, false));
        assert!(waiting.holds_up_device("a@d", "x") && !waiting.holds_up_device("a@d", "y"));
        waiting.add("a@d", None, 1);
        assert!(waiting.holds_up("a@d"));
        let full = |is_copy, most| waiting.is_full("a@d", is_copy, most);
        assert_eq!((full(true, 2), full(true, 3), full(false, 1), full(false, 2)), (true, false, true, false));
        waiting.remove("a@d", Some("x"));
        assert!(waiting.holds_up("a@d") && waiting.holds_up_device("a@d", "x"));
        waiting.remove("a@d", None);
        assert_eq!((waiting.count("a@d"), waiting.holds_up("a@d")), (1, false));
        waiting.remove("a@d", None);
        assert_eq!(waiting.count("a@d"), 0);
        waiting.remove("a@d", Some("x"));
        assert!(!waiting.holds_up_device("a@d", "x"));
    }

    #[test]
    fn what_a_restart_left_is_sorted_out_by_the_first_device() {
        let waiting = Waiting::default();
        waiting.add("a@d", None, 3);
        waiting.found_nothing("a@d", "x", false);
        assert!(waiting.holds_up("a@d"));
        waiting.found_nothing("a@d", "x", true);
        assert_eq!((waiting.count("a@d"), waiting.holds_up("a@d")), (3, false));
        // They are for others; for which of them is not known.
        assert!(!waiting.holds_up_device("a@d", "x") && waiting.holds_up_device("a@d", "y"));
        waiting.add("a@d", Some("x"), 1);
        assert!(waiting.holds_up_device("a@d", "x"));
        for device in ["x", "y", "y", "y"] {
            assert!(waiting.count("a@d") > 0);
            waiting.remove("a@d", Some(device));
        }
        assert_eq!(waiting.count("a@d"), 0);
    }
}
