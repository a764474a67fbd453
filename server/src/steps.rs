//! The recent past of messages, for `chappe explain` and the console: what came, what was tried, and what was answered. In
//! memory and bounded; outcomes of stored messages are on disk besides.

use std::collections::{HashSet, VecDeque};

use ahash::RandomState;
use chappe_sip::Flow;
use chappe_store::{Event, Fate};
use parking_lot::Mutex;

const SHARDS: usize = 16;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A device took it while its sender waited, so that it never touched the disk.
    Relayed,
    /// It came and is on disk.
    Taken,
    /// It was sent to a device, which answered or did not.
    Tried,
    /// A device told that it has it (RFC 5438 §7.2.1.1), or that it was displayed.
    Delivered,
    Displayed,
    /// It ended without reaching anybody.
    Expired,
    Refused,
}

/// The protocol of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Sip,
    Msrp,
}

impl By {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            By::Sip => "sip",
            By::Msrp => "msrp",
        }
    }
}

/// One step of a message.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    pub kind: Kind,
    pub by: By,
    /// IMDN Message-ID, where there is one.
    pub message_id: Option<&'a str>,
    pub call_id: &'a str,
    /// AOR or URI.
    pub sender: &'a str,
    pub recipient: &'a str,
    /// Of the recipient; that of the sender is not known.
    pub device: Option<&'a str>,
    /// What was answered; 408 and 430 also for no answer and a connection that is gone.
    pub status: u16,
    /// When it began and ended, in milliseconds since the epoch.
    pub begun_ms: u64,
    pub at_ms: u64,
    /// Where it came from.
    pub came: Option<Flow>,
    /// Where it went.
    pub went: Option<Flow>,
}

impl Step<'_> {
    /// What the log of fates would say of a relayed message.
    fn fate(&self, event: Event, device: Option<&str>, at_ms: u64) -> Fate {
        Fate {
            message_id: self.message_id.map(Into::into),
            call_id: self.call_id.into(),
            recipient: self.recipient.into(),
            device: device.map(Into::into),
            event,
            detail: self.status,
            at_ms,
        }
    }

    fn is_about(&self, id: &str) -> bool {
        self.call_id == id || self.message_id == Some(id)
    }
}

/// A [`Step`] in one piece of memory, as one is made for each message.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Call-ID, recipient, sender, Message-ID and device, one after the other.
    text: Box<str>,
    /// Where the first four end.
    ends: [u32; 4],
    has_id: bool,
    has_device: bool,
    kind: Kind,
    by: By,
    status: u16,
    begun_ms: u64,
    at_ms: u64,
    came: Option<Flow>,
    went: Option<Flow>,
}

impl Kept {
    pub fn new(of: &Step<'_>) -> Kept {
        let (id, device) = (of.message_id.unwrap_or_default(), of.device.unwrap_or_default());
        let parts = [of.call_id, of.recipient, of.sender, id, device];
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        let mut ends = [0; 4];
        for (at, part) in parts.iter().enumerate() {
            text.push_str(part);
            if let Some(end) = ends.get_mut(at) {
                *end = text.len() as u32;
            }
        }
        Kept {
            text: text.into(),
            ends,
            has_id: of.message_id.is_some(),
            has_device: of.device.is_some(),
            kind: of.kind,
            by: of.by,
            status: of.status,
            begun_ms: of.begun_ms,
            at_ms: of.at_ms,
            came: of.came,
            went: of.went,
        }
    }

    pub fn get(&self) -> Step<'_> {
        let [a, b, c, d] = self.ends.map(|end| end as usize);
        Step {
            kind: self.kind,
            by: self.by,
            message_id: self.has_id.then(|| &self.text[c..d]),
            call_id: &self.text[..a],
            sender: &self.text[b..c],
            recipient: &self.text[a..b],
            device: self.has_device.then(|| &self.text[d..]),
            status: self.status,
            begun_ms: self.begun_ms,
            at_ms: self.at_ms,
            came: self.came,
            went: self.went,
        }
    }
}

/// The latest steps, bounded in number.
pub struct Recent {
    shards: Box<[Mutex<VecDeque<Kept>>]>,
    hasher: RandomState,
    capacity: usize,
}

impl Recent {
    /// Keeps `capacity` steps.
    pub fn new(capacity: usize) -> Recent {
        Recent {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            capacity: (capacity / SHARDS).max(1),
        }
    }

    pub fn push(&self, step: &Step<'_>) {
        self.keep(Kept::new(step));
    }

    /// The same of one that was put together before.
    pub fn keep(&self, kept: Kept) {
        let mut shard = self.shard(kept.get().call_id).lock();
        if shard.len() >= self.capacity {
            shard.pop_front();
        }
        shard.push_back(kept);
    }

    /// Forgets what came from or to one of `names`.
    pub fn forget(&self, names: &[Box<str>]) {
        let is_one = |name: &str| names.iter().any(|one| **one == *name);
        for shard in &self.shards {
            shard.lock().retain(|kept| {
                let step = kept.get();
                !is_one(step.recipient) && !is_one(step.sender)
            });
        }
    }

    fn shard(&self, call_id: &str) -> &Mutex<VecDeque<Kept>> {
        &self.shards[self.hasher.hash_one(call_id) as usize % SHARDS]
    }

    /// What the last device that was tried for a recipient answered.
    pub fn last_answer(&self, call_id: &str, recipient: &str) -> Option<u16> {
        let is_it =
            |step: &Step<'_>| step.kind == Kind::Tried && step.call_id == call_id && step.recipient == recipient;
        self.shard(call_id).lock().iter().rev().map(Kept::get).find(is_it).map(|step| step.status)
    }

    /// Reads all: for operators.
    fn all(&self, wanted: impl Fn(&Step<'_>) -> bool) -> Vec<Kept> {
        let mut found: Vec<Kept> = Vec::new();
        for shard in &self.shards {
            found.extend(shard.lock().iter().filter(|kept| wanted(&kept.get())).cloned());
        }
        found.sort_by_key(|kept| kept.at_ms);
        found
    }

    /// What the log of fates would say of relayed messages by a Call-ID or IMDN Message-ID, oldest first.
    pub fn fates(&self, id: &str) -> Vec<Fate> {
        let relayed = self.all(|step| step.kind == Kind::Relayed && step.is_about(id));
        let both = relayed.iter().map(Kept::get).flat_map(|step| {
            [step.fate(Event::Accepted, None, step.begun_ms), step.fate(Event::Delivered, step.device, step.at_ms)]
        });
        both.collect()
    }

    /// The steps of messages by any of these Call-IDs or IMDN Message-IDs, oldest first.
    pub fn steps(&self, ids: &[&str]) -> Vec<Kept> {
        self.all(|step| ids.iter().any(|id| step.is_about(id)))
    }

    /// The last step of each message from or to a user, the newest first; receipts count for nothing.
    pub fn of_user(&self, aor: &str) -> Vec<Kept> {
        let is_receipt = |kind| matches!(kind, Kind::Delivered | Kind::Displayed);
        let key = |step: &Step<'_>| (step.call_id.to_owned(), step.recipient.to_owned());
        let own = self.all(|step| !is_receipt(step.kind) && (step.sender == aor || step.recipient == aor));
        // What ended need not say whose it was.
        let mut keys: HashSet<_> = own.iter().map(|kept| key(&kept.get())).collect();
        let mut steps = self.all(|step| !is_receipt(step.kind) && keys.contains(&key(step)));
        steps.reverse();
        steps.retain(|kept| keys.remove(&key(&kept.get())));
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAYED: Step<'_> = Step {
        kind: Kind::Relayed,
        by: By::Sip,
        message_id: Some("m"),
        call_id: "c",
        sender: "s@d",
        recipient: "u@d",
        device: None,
        status: 200,
        begun_ms: 0,
        at_ms: 0,
        came: None,
        went: None,
    };

    #[test]
    fn relayed_messages_are_found_by_either_id_and_bounded() {
        let recent = Recent::new(SHARDS * 3);
        for at_ms in 0..10 {
            recent.push(&Step { begun_ms: at_ms, at_ms, device: (at_ms > 8).then_some("urn:x"), ..RELAYED });
        }
        let found = recent.fates("c");
        assert_eq!(found.iter().map(|f| f.at_ms).collect::<Vec<_>>(), [7, 7, 8, 8, 9, 9]);
        assert_eq!((found[4].event, found[4].device.as_deref()), (Event::Accepted, None));
        assert_eq!((found[5].event, found[5].device.as_deref()), (Event::Delivered, Some("urn:x")));
        assert_eq!((&*found[5].call_id, &*found[5].recipient), ("c", "u@d"));
        assert_eq!(recent.fates("m"), found);
        assert!(recent.fates("x").is_empty());
        recent.push(&Step { message_id: None, ..RELAYED });
        assert!(recent.fates("").is_empty());
    }

    #[test]
    fn steps_come_back_as_they_were_and_in_their_order() {
        let recent = Recent::new(1000);
        recent.push(&Step { kind: Kind::Tried, status: 480, at_ms: 9, device: Some("urn:x"), ..RELAYED });
        recent.push(&Step { kind: Kind::Taken, by: By::Msrp, at_ms: 5, ..RELAYED });
        recent.push(&Step { call_id: "r", kind: Kind::Displayed, at_ms: 20, ..RELAYED });
        recent.push(&Step { message_id: Some("other"), call_id: "o", ..RELAYED });
        let steps = recent.steps(&["c", "m"]);
        let kinds: Vec<Kind> = steps.iter().map(|kept| kept.get().kind).collect();
        assert_eq!(kinds, [Kind::Taken, Kind::Tried, Kind::Displayed]);
        let tried = steps[1].get();
        assert_eq!((tried.sender, tried.recipient, tried.device), ("s@d", "u@d", Some("urn:x")));
        assert_eq!((tried.message_id, tried.status, tried.by), (Some("m"), 480, By::Sip));
        assert_eq!((recent.last_answer("c", "u@d"), recent.last_answer("c", "x@d")), (Some(480), None));
    }

    #[test]
    fn a_user_has_each_message_once_with_its_last_step() {
        let recent = Recent::new(1000);
        recent.push(&Step { kind: Kind::Taken, at_ms: 1, ..RELAYED });
        recent.push(&Step { kind: Kind::Tried, at_ms: 2, ..RELAYED });
        recent.push(&Step { call_id: "d", at_ms: 3, ..RELAYED });
        recent.push(&Step { call_id: "r", kind: Kind::Delivered, at_ms: 4, ..RELAYED });
        let seen: Vec<(String, Kind)> =
            recent.of_user("s@d").iter().map(|kept| (kept.get().call_id.to_owned(), kept.get().kind)).collect();
        assert_eq!(seen, [("d".to_owned(), Kind::Relayed), ("c".to_owned(), Kind::Tried)]);
        recent.push(&Step { kind: Kind::Expired, sender: "", at_ms: 9, ..RELAYED });
        assert_eq!(recent.of_user("s@d")[0].get().kind, Kind::Expired);
        assert_eq!(recent.of_user("u@d").len(), 2);
        assert!(recent.of_user("x@d").is_empty());
    }
}
