//! What one device gets out of the log of a group, and how far it has got.

use std::collections::BTreeSet;

use chappe_sip::Aor;

use super::Member;

/// What an entry of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Message,
    /// A message for one member (RFC 7701 §6.2).
    Private,
    /// A receipt for the sender of a message.
    Receipt,
    /// A change of the group ([`super::Announcement`]).
    Announcement,
}

/// What must be known of an entry to say who gets it.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub sequence: u64,
    pub kind: Kind,
    /// `None` for the operator.
    pub from: Option<&'a Aor>,
    /// The device that it came from, as the caller names devices.
    pub device: Option<&'a str>,
    /// The one member that it is for.
    pub to: Option<&'a Aor>,
}

/// A device of a member.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    pub name: &'a str,
    /// It hears of changes from the log; devices with a roster do not need to.
    pub announcements: bool,
}

/// Whether the device gets the entry: it came while the user was a member, and is for all or for this user. What a user
/// sent goes to its other devices; its receipts do not.
pub fn is_due(entry: &Head<'_>, member: &Member, device: Device<'_>) -> bool {
    let is_news = entry.kind == Kind::Announcement;
    // That it was brought is the first that a member hears.
    let within = is_within(entry.sequence, member) || (is_news && is_within(entry.sequence + 1, member));
    if !within || (is_news && !device.announcements) {
        return false;
    }
    let is_own = entry.from == Some(&member.user);
    match entry.to {
        Some(to) if *to == member.user => !is_own || entry.device != Some(device.name),
        Some(_) => is_own && entry.kind == Kind::Private && entry.device != Some(device.name),
        None => !is_own || entry.device != Some(device.name),
    }
}

/// Whether the reader wants nothing of this: words of somebody whom it blocks. What such a one does to the group, and its
/// receipts, are no words to the reader.
pub fn is_withheld(entry: &Head<'_>, blocks: impl Fn(&Aor) -> bool) -> bool {
    matches!(entry.kind, Kind::Message | Kind::Private) && entry.from.is_some_and(blocks)
}

/// Whether an entry was appended while the user was a member. Who left by its own will gets nothing more.
pub fn is_within(sequence: u64, member: &Member) -> bool {
    sequence > member.since
        && member.until.is_none_or(|until| sequence < until)
        && !matches!(member.state, super::Membership::Left | super::Membership::Declined)
}

/// How far a device has got. Entries are read in the order of the log and sent within a window; the cursor, which is what a
/// store keeps, is behind everything up to which all has been confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    confirmed: u64,
    /// The log has been read up to here.
    read: u64,
    flight: BTreeSet<u64>,
    /// Confirmed, but behind one that is not.
    early: BTreeSet<u64>,
    window: usize,
}

impl Cursor {
    /// From what was kept, or [`Member::since`] for a device that is new. `window`: entries under way, at least one.
    pub fn new(confirmed: u64, window: usize) -> Cursor {
        let window = window.max(1);
        Cursor { confirmed, read: confirmed, flight: BTreeSet::new(), early: BTreeSet::new(), window }
    }

    /// How many entries may be read now.
    pub fn room(&self) -> usize {
        self.window.saturating_sub(self.flight.len() + self.early.len())
    }

    /// The log is read behind this.
    pub fn after(&self) -> u64 {
        self.read
    }

    /// The next entry that was read. Says whether it is to be sent: it is due, and the device has not got it already.
    pub fn take(&mut self, sequence: u64, is_due: bool) -> bool {
        if sequence <= self.read {
            return false;
        }
        self.read = sequence;
        let sends = is_due && !self.early.contains(&sequence);
        if sends {
            self.flight.insert(sequence);
        }
        self.advance();
        sends
    }

    /// The device has it, or will not take it whatever happens. Says whether the cursor has moved.
    pub fn confirm(&mut self, sequence: u64) -> bool {
        if sequence <= self.confirmed || !(self.flight.remove(&sequence) || sequence <= self.read) {
            return false;
        }
        self.early.insert(sequence);
        self.advance()
    }

    /// The session is gone with what was under way: that is read again.
    pub fn rewind(&mut self) {
        self.flight.clear();
        self.read = self.confirmed;
    }

    /// Everything up to this has been confirmed or was not for the device.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Entries under way.
    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    fn advance(&mut self) -> bool {
        let next = self.flight.first().map_or(self.read, |first| first - 1);
        let moved = next > self.confirmed;
        if moved {
            self.confirmed = next;
            self.early = self.early.split_off(&(next + 1));
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Copy, Membership, Role};
    use super::*;
    use proptest::prelude::*;

    fn aor(name: &str) -> Aor {
        Aor::from_canonical(format!("{name}@x"))
    }

    fn member(name: &str, state: Membership, since: u64, until: Option<u64>) -> Member {
        Member {
            user: aor(name),
            display_name: None,
            nickname: None,
            role: Role::Member,
            state,
            copy: Copy::To,
            since,
            until,
            changed_ms: 0,
        }
    }

    #[test]
    fn who_gets_what() {
        let (alice, bob) = (aor("alice"), aor("bob"));
        let of = |kind, from, to| Head { sequence: 7, kind, from, device: Some("d1"), to };
        let message = of(Kind::Message, Some(&alice), None);
        let private = of(Kind::Private, Some(&alice), Some(&bob));
        let receipt = of(Kind::Receipt, Some(&bob), Some(&alice));
        let news = of(Kind::Announcement, None, None);
        for (name, entry, user, device, expected) in [
            ("the sending device", message, "alice", "d1", false),
            ("its sister", message, "alice", "d2", true),
            ("another with a device of that name", message, "bob", "d1", true),
            ("private, the one", private, "bob", "d3", true),
            ("private, another", private, "carol", "d3", false),
            ("private, the sender's sister", private, "alice", "d2", true),
            ("private, the sending device", private, "alice", "d1", false),
            ("a receipt, the one", receipt, "alice", "d1", true),
            ("a receipt, its sender's sister", receipt, "bob", "d2", false),
            ("a receipt, another", receipt, "carol", "d2", false),
            ("news", news, "carol", "d2", false),
            ("news, where they are wanted", news, "carol", "web", true),
        ] {
            let device = Device { name: device, announcements: device == "web" };
            assert_eq!(is_due(&entry, &member(user, Membership::Joined, 0, None), device), expected, "{name}");
        }
        let brought =
            |state, since| is_due(&news, &member("bob", state, since, None), Device { name: "d", announcements: true });
        assert!(brought(Membership::Invited, 7) && !brought(Membership::Invited, 8) && !brought(Membership::Left, 7));
        let removed = || Membership::Removed { by: "x".into() };
        for (name, state, since, until, expected) in [
            ("invited", Membership::Invited, 6, None, true),
            ("not yet", Membership::Joined, 7, None, false),
            ("before it was removed", removed(), 0, Some(8), true),
            ("not any more", removed(), 0, Some(7), false),
            ("left since", Membership::Left, 0, Some(8), false),
            ("declined since", Membership::Declined, 0, Some(8), false),
        ] {
            let device = Device { name: "d", announcements: false };
            assert_eq!(is_due(&message, &member("bob", state, since, until), device), expected, "{name}");
        }
    }

    #[test]
    fn a_cursor_moves_over_what_is_confirmed_without_gaps() {
        let mut cursor = Cursor::new(10, 3);
        assert_eq!((cursor.take(11, true), cursor.take(12, false), cursor.take(14, true)), (true, false, true));
        assert_eq!((cursor.confirmed(), cursor.room(), cursor.after()), (10, 1, 14));
        assert!(!cursor.confirm(14), "11 is still out");
        assert_eq!((cursor.room(), cursor.confirmed()), (1, 10));
        assert!(cursor.confirm(11));
        assert_eq!((cursor.confirmed(), cursor.room()), (14, 3));
        assert!(!cursor.confirm(11) && !cursor.confirm(99));
        assert!(!cursor.take(14, true), "read before");
        assert!(!cursor.take(20, false));
        assert_eq!(cursor.confirmed(), 20, "what is not for the device is behind it at once");
    }

    #[test]
    fn what_was_confirmed_is_not_sent_again_after_a_loss() {
        let mut cursor = Cursor::new(0, 4);
        for sequence in 1..=3 {
            assert!(cursor.take(sequence, true));
        }
        cursor.confirm(2);
        cursor.rewind();
        assert_eq!((cursor.after(), cursor.in_flight()), (0, 0));
        let sent: Vec<bool> = (1..=3).map(|sequence| cursor.take(sequence, true)).collect();
        assert_eq!(sent, [true, false, true]);
        cursor.confirm(1);
        assert_eq!(cursor.confirmed(), 2);
    }

    proptest! {
        /// Whatever is confirmed, lost and kept: every due entry is sent until it is confirmed, and no more than the window is
        /// under way.
        #[test]
        fn nothing_is_left_out(due in prop::collection::vec(any::<bool>(), 1..40), window in 1..6usize, steps in prop::collection::vec(0..12u8, 0..200)) {
            let last = due.len() as u64;
            let mut cursor = Cursor::new(0, window);
            let mut got = BTreeSet::new();
            let mut flying: Vec<u64> = Vec::new();
            let mut kept = 0;
            for step in steps.into_iter().chain(std::iter::repeat_n(0, due.len() * 4)) {
                match step {
                    10 => { cursor.rewind(); flying.clear(); }
                    // The process starts again with an older cursor.
                    11 => { cursor = Cursor::new(kept, window); flying.clear(); }
                    step => {
                        while cursor.room() > 0 && cursor.after() < last {
                            let sequence = cursor.after() + 1;
                            if cursor.take(sequence, due[sequence as usize - 1]) { flying.push(sequence); }
                        }
                        if step > 8 { kept = cursor.confirmed(); }
                        if !flying.is_empty() {
                            let sequence = flying.remove(step as usize % flying.len());
                            got.insert(sequence);
                            cursor.confirm(sequence);
                        }
                    }
                }
                prop_assert!(cursor.in_flight() <= window);
                for sequence in 1..=cursor.confirmed() {
                    prop_assert!(!due[sequence as usize - 1] || got.contains(&sequence), "{sequence} was passed over");
                }
            }
            prop_assert_eq!(cursor.confirmed(), last);
        }
    }
}
