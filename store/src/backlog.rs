//! Which messages wait for whom, in memory, so that the queue on disk needs no index.
//!
//! 24 bytes for a message, about 120 for a recipient with its name.

use std::collections::{BinaryHeap, VecDeque};

use ahash::AHashMap;

use crate::Depth;

#[derive(Debug, Clone, Copy)]
struct Item {
    id: u64,
    /// Seconds since the epoch; good until 2106, later counts as never.
    expires: u32,
    size: u32,
    /// 0: any; else one more than its place in `Queue::devices`.
    device: u16,
}

#[derive(Debug, Default)]
struct Queue {
    /// By rising id.
    items: VecDeque<Item>,
    devices: Vec<Box<str>>,
    bytes: u64,
    /// No item expires before; may be too early after a removal.
    earliest: u32,
}

/// The queues of all recipients.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    queues: AHashMap<Box<str>, Queue>,
    count: u64,
    /// Nothing expires before; may be too early after a removal.
    earliest: u32,
}

impl Backlog {
    /// Adds a message to the others of its recipient, in the order of ids; mostly behind them.
    pub(crate) fn push(&mut self, recipient: &str, device: Option<&str>, id: u64, size: u64, expires_at: u64) {
        let expires = u32::try_from(expires_at).unwrap_or(u32::MAX);
        if self.count == 0 {
            self.earliest = u32::MAX;
        }
        self.earliest = self.earliest.min(expires);
        self.count += 1;
        // Most pushes meet a recipient that has none yet, or has some: one look-up either way, no needless copy.
        let queue = match self.queues.get_mut(recipient) {
            Some(queue) => queue,
            None => self.queues.entry(recipient.into()).or_insert(Queue { earliest: u32::MAX, ..Queue::default() }),
        };
        let device = match device {
            None => 0,
            Some(device) => {
                let place = queue.devices.iter().position(|known| **known == *device).unwrap_or_else(|| {
                    queue.devices.push(device.into());
                    queue.devices.len() - 1
                });
                // A recipient with 65,535 devices in its queue: the last name stands for all beyond, which `select`
                // then finds too often, never too seldom, for the message itself names its device.
                u16::try_from(place + 1).unwrap_or(0)
            }
        };
        queue.earliest = queue.earliest.min(expires);
        queue.bytes += size;
        let item = Item { id, expires, size: u32::try_from(size).unwrap_or(u32::MAX), device };
        match queue.items.back() {
            Some(last) if last.id > id => {
                let at = queue.items.partition_point(|other| other.id < id);
                queue.items.insert(at, item);
            }
            _ => queue.items.push_back(item),
        }
    }

    /// Ids for `device` (and those for any) above `after`; all where `device` is `None`.
    pub(crate) fn select(&self, recipient: &str, device: Option<&str>, after: u64, limit: usize) -> Vec<u64> {
        let Some(queue) = self.queues.get(recipient) else { return Vec::new() };
        let wanted = device.map(|device| queue.devices.iter().position(|known| **known == *device));
        let fits = |item: &&Item| match wanted {
            None => true,
            Some(place) => item.device == 0 || place.is_some_and(|place| usize::from(item.device) == place + 1),
        };
        let start = queue.items.partition_point(|item| item.id <= after);
        queue.items.range(start..).filter(fits).take(limit).map(|item| item.id).collect()
    }

    pub(crate) fn contains(&self, recipient: &str, id: u64) -> bool {
        self.queues.get(recipient).is_some_and(|queue| queue.items.binary_search_by_key(&id, |item| item.id).is_ok())
    }

    /// Takes a message out; false where it was not there.
    pub(crate) fn remove(&mut self, recipient: &str, id: u64) -> bool {
        let Some(queue) = self.queues.get_mut(recipient) else { return false };
        let Ok(at) = queue.items.binary_search_by_key(&id, |item| item.id) else { return false };
        if let Some(item) = queue.items.remove(at) {
            queue.bytes -= u64::from(item.size);
            self.count -= 1;
        }
        if queue.items.is_empty() {
            self.queues.remove(recipient);
        }
        true
    }

    /// Ids of up to `limit` messages that are over at `now`.
    pub(crate) fn due(&mut self, now: u64, limit: usize) -> Vec<u64> {
        let now = u32::try_from(now).unwrap_or(u32::MAX - 1).min(u32::MAX - 1);
        let mut due = Vec::new();
        if self.count == 0 || self.earliest > now {
            return due;
        }
        let mut earliest = u32::MAX;
        for queue in self.queues.values_mut() {
            if queue.earliest <= now {
                queue.earliest = queue.items.iter().map(|item| item.expires).min().unwrap_or(u32::MAX);
                let over = queue.items.iter().filter(|item| item.expires <= now);
                due.extend(over.take(limit - due.len()).map(|item| item.id));
                if due.len() == limit {
                    // The bounds not yet looked at stay as they are, and so does the one over all.
                    return due;
                }
            }
            earliest = earliest.min(queue.earliest);
        }
        self.earliest = earliest;
        due
    }

    pub(crate) fn depth(&self, recipient: &str) -> Depth {
        self.queues.get(recipient).map_or(Depth::default(), Queue::depth)
    }

    /// The next `limit` recipients in the order of their names.
    pub(crate) fn depths(&self, after: Option<&str>, limit: usize) -> Vec<(Box<str>, Depth)> {
        let mut least = BinaryHeap::new();
        for name in self.queues.keys().filter(|name| after.is_none_or(|after| &***name > after)) {
            least.push(name);
            if least.len() > limit {
                least.pop();
            }
        }
        let names = least.into_sorted_vec();
        names.into_iter().map(|name| (name.clone(), self.depth(name))).collect()
    }

    /// The least id of all; looks at every recipient.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.queues.values().filter_map(|queue| queue.items.front()).map(|item| item.id).min()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

impl Queue {
    fn depth(&self) -> Depth {
        Depth { count: self.items.len() as u64, bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_finds_its_own_and_those_for_any() {
        let mut backlog = Backlog::default();
        for (id, device) in [(1, None), (2, Some("a")), (3, Some("b")), (4, None)] {
            backlog.push("u@d", device, id, 10, 100);
        }
        for (device, after, expected) in [
            (None, 0, vec![1, 2, 3, 4]),
            (Some("a"), 0, vec![1, 2, 4]),
            (Some("b"), 1, vec![3, 4]),
            (Some("new"), 0, vec![1, 4]),
        ] {
            assert_eq!(backlog.select("u@d", device, after, 10), expected, "{device:?} after {after}");
        }
        assert_eq!(backlog.select("u@d", None, 1, 2), [2, 3]);
        assert!(backlog.remove("u@d", 2) && !backlog.remove("u@d", 2));
        assert_eq!(backlog.depth("u@d"), Depth { count: 3, bytes: 30 });
    }

    #[test]
    fn expiry_finds_all_that_is_due_and_nothing_else() {
        let mut backlog = Backlog::default();
        for id in 1..=30u64 {
            backlog.push(&format!("u{}@d", id % 7), None, id, 1, 100 + id);
        }
        assert!(backlog.due(100, 100).is_empty());
        assert_eq!(backlog.due(110, 3).len(), 3);
        let mut due = backlog.due(110, 100);
        due.sort_unstable();
        assert_eq!(due, (1..=10).collect::<Vec<_>>());
        for id in due {
            assert!(backlog.remove(&format!("u{}@d", id % 7), id));
        }
        assert!(backlog.due(110, 100).is_empty());
        assert_eq!(backlog.due(111, 100), [11]);
    }
}
