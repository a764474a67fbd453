//! Five hundred members over a week of virtual time: one stalls, one is away, links break. Nobody waits for another, nothing is
//! kept for the slow but a place in the log, and who comes back has all of it, once and in order.

use std::collections::BTreeMap;

use chappe_chat::group::ledger::Ledger;
use chappe_chat::group::reader::{self, Cursor, Device, Head, Kind};
use chappe_chat::group::{Creation, Group, GroupId, Invitee, Limits, Rights};
use chappe_sip::Aor;

const MEMBERS: usize = 500;
const MESSAGES: usize = 120;
const WINDOW: usize = 8;
/// Entries that are read from the store at a time.
const READ: usize = 64;
const STALLED: usize = 498;
const AWAY: usize = 499;
/// Milliseconds.
const WEEK: u64 = 7 * 86_400_000;
/// When a session that confirms nothing is given up.
const STALL: u64 = 300_000;
const DEVICE: &str = "d";

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// A member with its one device, and what the focus keeps of it.
struct Member {
    user: Aor,
    is_there: bool,
    cursor: Cursor,
    session: u64,
    /// Sent in this session.
    sent: usize,
    /// One connection keeps its order.
    arrival: u64,
    /// Read from the store, not taken yet.
    pages: std::ops::Range<u64>,
    // At the device.
    screen: Vec<u64>,
    copies: usize,
}

#[derive(Debug, Clone, Copy)]
enum Packet {
    Entry { member: usize, session: u64, sequence: u64 },
    Ack { member: usize, session: u64, sequence: u64 },
    Lost { member: usize, session: u64 },
}

struct World {
    random: Random,
    now: u64,
    number: u64,
    net: BTreeMap<(u64, u64), Packet>,
    group: Group,
    /// Who wrote each entry.
    log: Vec<Aor>,
    ledger: Ledger,
    members: Vec<Member>,
    /// One link in so many breaks with each entry; 0: none.
    breaks: u64,
    broken: usize,
}

fn aor(n: usize) -> Aor {
    Aor::from_canonical(format!("u{n:03}@x"))
}

impl World {
    fn new(seed: u64) -> World {
        let creation = Creation {
            id: GroupId::new([0; 16]),
            contribution_id: "c".into(),
            conversation_id: None,
            creator: Invitee::new(aor(0)),
            invitees: (1..MEMBERS).map(|n| Invitee::new(aor(n))).collect(),
            subject: None,
            icon: None,
            open: true,
            rights: Rights::default(),
        };
        let limits = Limits { members: MEMBERS, ..Limits::default() };
        let (group, _) = Group::create(creation, 0, &limits, 0).expect("within the limits");
        let member = |n: usize| Member {
            user: aor(n),
            is_there: n != AWAY,
            cursor: Cursor::new(0, WINDOW),
            session: 0,
            sent: 0,
            arrival: 0,
            pages: 1..1,
            screen: Vec::new(),
            copies: 0,
        };
        let mut ledger = Ledger::default();
        (0..MEMBERS).for_each(|n| ledger.admit(&aor(n), 0));
        let members = (0..MEMBERS).map(member).collect();
        let (random, net, log) = (Random(seed), BTreeMap::new(), Vec::new());
        World { random, now: 0, number: 0, net, group, log, ledger, members, breaks: 0, broken: 0 }
    }

    fn post(&mut self, after: u64, packet: Packet) {
        self.number += 1;
        self.net.insert((self.now + after, self.number), packet);
    }

    /// The device gets the entry with this number.
    fn is_due(&self, member: usize, sequence: u64) -> bool {
        let from = &self.log[sequence as usize - 1];
        let head = Head { sequence, kind: Kind::Message, from: Some(from), device: Some(DEVICE), to: None };
        let of_group = self.group.members.get(&self.members[member].user).expect("it is in");
        reader::is_due(&head, of_group, Device { name: DEVICE, announcements: false })
    }

    /// Sends a device what it may get now.
    fn pump(&mut self, member: usize) {
        while self.members[member].is_there && self.members[member].cursor.room() > 0 {
            let after = self.members[member].cursor.after();
            if after == self.log.len() as u64 {
                break;
            }
            let at = &mut self.members[member];
            if !at.pages.contains(&(after + 1)) {
                at.pages = after + 1..(after + 1 + READ as u64).min(self.log.len() as u64 + 1);
            }
            let is_due = self.is_due(member, after + 1);
            let at = &mut self.members[member];
            if !at.cursor.take(after + 1, is_due) {
                let confirmed = at.cursor.confirmed();
                self.ledger.passed(&aor(member), confirmed);
                continue;
            }
            at.sent += 1;
            assert!(at.pages.end - at.pages.start <= READ as u64, "no more of the log is in memory than a page");
            let (session, sequence) = (at.session, after + 1);
            if self.breaks > 0 && member != STALLED && self.random.below(self.breaks) == 0 {
                self.post(1000, Packet::Lost { member, session });
                self.members[member].arrival = u64::MAX / 2;
            }
            let delay = 5 + self.random.below(60);
            let at = &mut self.members[member];
            at.arrival = (self.now + delay).max(at.arrival + 1);
            let arrival = at.arrival - self.now;
            if arrival < u64::MAX / 4 {
                self.post(arrival, Packet::Entry { member, session, sequence });
            }
        }
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Entry { member, session, sequence } => {
                if member == STALLED {
                    return;
                }
                let at = &mut self.members[member];
                match at.screen.contains(&sequence) {
                    true => at.copies += 1,
                    false => at.screen.push(sequence),
                }
                let delay = 5 + self.random.below(60);
                self.post(delay, Packet::Ack { member, session, sequence });
            }
            Packet::Ack { member, session, sequence } => {
                let at = &mut self.members[member];
                if at.session == session {
                    at.cursor.confirm(sequence);
                    self.ledger.settle(&aor(member), sequence);
                    let confirmed = at.cursor.confirmed();
                    self.ledger.passed(&aor(member), confirmed);
                    self.pump(member);
                }
            }
            Packet::Lost { member, session } => {
                let at = &mut self.members[member];
                if at.session == session {
                    (at.session, at.sent, at.arrival) = (session + 1, 0, 0);
                    at.cursor.rewind();
                    self.broken += 1;
                    self.pump(member);
                }
            }
        }
    }

    fn say(&mut self, from: usize) {
        self.log.push(aor(from));
        let sequence = self.log.len() as u64;
        self.ledger.accept((0..MEMBERS).filter(|n| *n != from).map(aor).collect::<Vec<_>>().iter());
        (0..MEMBERS).for_each(|member| self.pump(member));
        let is_full = |member: &Member| member.cursor.room() == 0;
        if sequence > WINDOW as u64 + 1 {
            assert!(is_full(&self.members[STALLED]), "the window of the one that stalls is full");
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(first) = self.net.first_entry().filter(|first| first.key().0 <= end) {
            self.now = first.key().0;
            let packet = first.remove();
            self.take(packet);
        }
        self.now = end;
        let session = self.members[STALLED].session;
        if end / STALL > session {
            self.take(Packet::Lost { member: STALLED, session });
        }
    }

    fn due(&self, member: usize) -> Vec<u64> {
        (1..=self.log.len() as u64).filter(|sequence| self.is_due(member, *sequence)).collect()
    }

    /// Whoever is there and takes what it is sent has all of it.
    fn check_now(&self, seed: u64) {
        for member in self.members.iter().take(STALLED) {
            assert_eq!(member.cursor.confirmed(), self.log.len() as u64, "seed {seed}: {}", member.user);
        }
    }

    /// All but these have all of the log, each entry once and in its order.
    fn check(&self, seed: u64, but: &[usize]) {
        for (n, member) in self.members.iter().enumerate().filter(|(n, _)| !but.contains(n)) {
            assert_eq!(member.screen, self.due(n), "seed {seed}: {}", member.user);
            assert_eq!(member.cursor.confirmed(), self.log.len() as u64, "seed {seed}: {}", member.user);
        }
    }
}

#[test]
fn nobody_waits_for_the_slow_and_the_slow_get_all() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        for _ in 0..MESSAGES {
            let from = world.random.below(STALLED as u64) as usize;
            world.say(from);
            // The longest that one copy and its confirmation can take, and not a moment more.
            world.run(130);
            world.check_now(seed);
            assert!(world.members[STALLED].sent <= WINDOW, "seed {seed}: no more than its window");
            let pause = world.random.below(2 * WEEK / MESSAGES as u64);
            world.run(pause);
        }
        world.run(WEEK.saturating_sub(world.now));
        // It comes back after the week, over links that break, and while others talk on.
        assert_eq!(world.ledger.floor(&aor(AWAY)), Some(0));
        world.breaks = 6;
        world.members[AWAY].is_there = true;
        world.pump(AWAY);
        for _ in 0..10 {
            let from = world.random.below(STALLED as u64) as usize;
            world.say(from);
            world.run(400);
        }
        world.breaks = 0;
        world.run(60_000);
        world.check(seed, &[STALLED]);
        let away = &world.members[AWAY];
        assert!(world.broken > 10, "seed {seed}: {} links broke", world.broken);
        assert!(away.copies <= WINDOW * world.broken, "seed {seed}: what was not confirmed comes again, and no more");
        // What is left is what the one that stalls has not taken.
        let left = world.due(STALLED).len() as i64;
        assert_eq!(world.ledger.waiting(), left, "seed {seed}");
    }
}
