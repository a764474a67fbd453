//! Messages that a device is being sent when another of its user takes them.
//!
//! Each gets a copy of its own in the queue, in the write that settles the message, so that it is there after a crash. The
//! device goes on with what it has in hand, and what comes of that is what comes of the copy.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

/// What is in the hands of devices. `K` names a device, `T` is how a copy ends.
#[derive(Debug)]
pub struct Owed<K, T> {
    /// By device and id of the message.
    copies: HashMap<(K, u64), Copy<T>>,
    /// Copies on disk that are not to be sent beside what they are copies of, by device and their ids.
    held: HashSet<(K, u64)>,
    /// Messages of which copies are being written, by device, whether it has them in hand or not.
    writing: HashMap<K, BTreeSet<u64>>,
}

#[derive(Debug)]
enum Copy<T> {
    /// On its way to the disk.
    Writing,
    /// So, and its device is done with the message: it is not needed any more.
    Done(T),
    /// On disk, with this id.
    Stored(u64),
}

/// A device is done with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<T> {
    /// No other has taken it before.
    First(T),
    /// Its copy, with this id, ends so.
    Copy(u64, T),
    /// Its copy ends so when it is on disk.
    Later,
}

/// A copy is on disk, or is not to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Written<T> {
    /// Its device has the message in hand.
    Held,
    /// Its device is done with the message, and so with the copy.
    Ended(T),
    /// It is the device's next chance.
    Waits,
}

impl<K, T> Default for Owed<K, T> {
    fn default() -> Self {
        Owed { copies: HashMap::new(), held: HashSet::new(), writing: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash, T> Owed<K, T> {
    /// The copy of a message for a device is being written.
    pub fn writes(&mut self, device: K, id: u64) {
        self.writing.entry(device).or_default().insert(id);
    }

    /// Another device has taken a message that this one has in hand: the copy that is written is of that.
    pub fn owe(&mut self, device: K, id: u64) {
        self.copies.insert((device, id), Copy::Writing);
    }

    /// The first message of which a copy for a device is being written. What is read of its queue meanwhile is good up to there
    /// only: behind may be missing what is gone with its copy not yet there, and a copy may be there of something that the device
    /// has in hand.
    pub fn first_written(&self, device: &K) -> Option<u64> {
        self.writing.get(device)?.first().copied()
    }

    /// Whether another has taken what a device has in hand.
    pub fn is_owed(&self, device: &K, id: u64) -> bool {
        !self.copies.is_empty()
            && matches!(self.copies.get(&(device.clone(), id)), Some(Copy::Writing | Copy::Stored(_)))
    }

    /// Whether a message in the queue is the copy of one that its device has in hand.
    pub fn holds_copy(&self, device: &K, copy: u64) -> bool {
        !self.held.is_empty() && self.held.contains(&(device.clone(), copy))
    }

    /// A device is done with a message, once and for all.
    pub fn ended(&mut self, device: &K, id: u64, how: T) -> Ended<T> {
        let key = (device.clone(), id);
        match self.copies.remove(&key) {
            None => Ended::First(how),
            Some(Copy::Stored(copy)) => {
                self.held.remove(&(key.0, copy));
                Ended::Copy(copy, how)
            }
            Some(Copy::Writing) => {
                self.copies.insert(key, Copy::Done(how));
                Ended::Later
            }
            Some(done @ Copy::Done(_)) => {
                self.copies.insert(key, done);
                Ended::Later
            }
        }
    }

    /// A device has not taken a message that it had in hand: its copy, where it has one, waits like others.
    pub fn left(&mut self, device: &K, id: u64) {
        let key = (device.clone(), id);
        match self.copies.get(&key) {
            Some(Copy::Writing) => drop(self.copies.remove(&key)),
            Some(Copy::Stored(copy)) => {
                self.held.remove(&(key.0.clone(), *copy));
                self.copies.remove(&key);
            }
            Some(Copy::Done(_)) | None => {}
        }
    }

    /// The copy of a message for a device is on disk, with this id; `None` where it is not and will not be.
    pub fn written(&mut self, device: &K, id: u64, copy: Option<u64>) -> Written<T> {
        let key = (device.clone(), id);
        if let Some(writing) = self.writing.get_mut(device) {
            writing.remove(&id);
            if writing.is_empty() {
                self.writing.remove(device);
            }
        }
        match (self.copies.remove(&key), copy) {
            (Some(Copy::Done(how)), _) => Written::Ended(how),
            (Some(Copy::Writing | Copy::Stored(_)), Some(copy)) => {
                self.held.insert((key.0.clone(), copy));
                self.copies.insert(key, Copy::Stored(copy));
                Written::Held
            }
            (Some(_), None) => Written::Held,
            (None, _) => Written::Waits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_can_be_read_up_to_the_first_copy_that_is_written() {
        let mut owed: Owed<&str, char> = Owed::default();
        for id in [9, 7, 8] {
            owed.writes("d", id);
        }
        owed.owe("d", 7);
        owed.owe("d", 8);
        assert_eq!((owed.first_written(&"d"), owed.first_written(&"other")), (Some(7), None));
        owed.ended(&"d", 7, 'x');
        owed.left(&"d", 8);
        assert_eq!(owed.first_written(&"d"), Some(7), "the writes go on");
        owed.written(&"d", 7, Some(70));
        assert_eq!(owed.first_written(&"d"), Some(8));
        owed.written(&"d", 8, None);
        assert_eq!(owed.written(&"d", 9, Some(90)), Written::Waits, "it was not in hand");
        assert_eq!(owed.first_written(&"d"), None);
    }

    #[test]
    fn a_copy_ends_as_its_device_does_with_the_message() {
        // What happens to a message 7 whose copy is 8, and what is told; `w`ritten, `e`nded, `l`eft.
        for (steps, expected) in [
            ("we", &["Held", "Copy(8, 'x')"][..]),
            ("ew", &["Later", "Ended('x')"]),
            ("eew", &["Later", "Later", "Ended('x')"]),
            ("lw", &["", "Waits"]),
            ("wl", &["Held", ""]),
            ("wle", &["Held", "", "First('x')"]),
            ("elw", &["Later", "", "Ended('x')"]),
            ("ne", &["Held", "First('x')"]),
            ("en", &["Later", "Ended('x')"]),
        ] {
            let mut owed: Owed<&str, char> = Owed::default();
            owed.writes("a", 7);
            owed.owe("a", 7);
            let told = |step| match step {
                'w' => format!("{:?}", owed.written(&"a", 7, Some(8))),
                'n' => format!("{:?}", owed.written(&"a", 7, None)),
                'e' => format!("{:?}", owed.ended(&"a", 7, 'x')),
                _ => {
                    owed.left(&"a", 7);
                    String::new()
                }
            };
            assert_eq!(steps.chars().map(told).collect::<Vec<_>>(), expected, "{steps}");
            assert_eq!(
                (owed.copies.len(), owed.held.len(), owed.writing.len()),
                (0, 0, 0),
                "{steps}: nothing is left of it"
            );
        }
    }

    #[test]
    fn a_copy_is_not_sent_while_its_device_has_the_message() {
        let mut owed: Owed<&str, char> = Owed::default();
        owed.writes("a", 7);
        owed.owe("a", 7);
        assert!(owed.is_owed(&"a", 7) && !owed.is_owed(&"b", 7) && !owed.holds_copy(&"a", 8));
        owed.written(&"a", 7, Some(8));
        assert!(owed.is_owed(&"a", 7) && owed.holds_copy(&"a", 8) && !owed.holds_copy(&"b", 8));
        owed.left(&"a", 7);
        assert!(!owed.is_owed(&"a", 7) && !owed.holds_copy(&"a", 8));
        assert_eq!(owed.ended(&"b", 7, 'x'), Ended::First('x'));
    }
}
