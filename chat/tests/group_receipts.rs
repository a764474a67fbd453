//! Receipts of a group of twenty over a network that loses, delays and reorders, in virtual time: what each author knows in
//! the end of each member, and all together, is what became of its messages.

use std::collections::{BTreeMap, BTreeSet};

use chappe_chat::group::authors::{Author, Authors, Most};
use chappe_chat::group::reader::Cursor;
use chappe_chat::group::receipts::{States, Tally};
use chappe_chat::receipts::{Privacy, Report};
use chappe_imdn::Dispositions;
use chappe_sip::Aor;

const MEMBERS: usize = 20;
const MESSAGES: usize = 12;
/// How long a device waits before it tells again, and the focus before it sends again.
const AGAIN: u64 = 700;
const ALL: Dispositions = Dispositions {
    positive_delivery: true,
    negative_delivery: true,
    display: true,
    processing: false,
    interworking: false,
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }
}

/// An entry of the log.
#[derive(Debug, Clone)]
enum Entry {
    Message { from: usize, id: String },
    Receipt { from: usize, to: usize, id: String, report: Report },
}

/// A device of a user.
struct Phone {
    user: usize,
    online: bool,
    /// It can show nothing.
    is_watch: bool,
    /// Messages that it has got.
    has: BTreeSet<String>,
    /// What it has told, and whether that was confirmed.
    tells: BTreeMap<(String, Report), bool>,
    /// Receipts of its user's messages, by their numbers in the log.
    heard: BTreeMap<u64, (usize, String, Report)>,
    // At the focus.
    cursor: Cursor,
    session: u64,
    kept: u64,
}

#[derive(Debug, Clone)]
enum Packet {
    Entry {
        phone: usize,
        session: u64,
        sequence: u64,
    },
    Ack {
        phone: usize,
        session: u64,
        sequence: u64,
    },
    Lost {
        phone: usize,
        session: u64,
    },
    /// It is time to tell, for the first time or again.
    Tell {
        phone: usize,
        id: String,
        report: Report,
    },
    Receipt {
        phone: usize,
        id: String,
        report: Report,
    },
    Told {
        phone: usize,
        id: String,
        report: Report,
    },
    /// The focus writes what has come in.
    Write,
}

struct World {
    random: Random,
    now: u64,
    number: u64,
    net: BTreeMap<(u64, u64), Packet>,
    loss: usize,
    phones: Vec<Phone>,
    // On disk.
    log: Vec<Entry>,
    once: BTreeSet<(String, usize, Report)>,
    // In the memory of the focus.
    authors: Authors,
    most: Most,
    /// Receipts to be written, and whom to answer.
    incoming: Vec<(Entry, Option<Packet>)>,
    /// Writes that failed.
    failures: usize,
}

fn aor(user: usize) -> Aor {
    Aor::from_canonical(format!("u{user:02}@x"))
}

impl World {
    /// `most`: what the focus remembers.
    fn new(seed: u64, most: Most) -> World {
        let mut random = Random(seed);
        let mut phones = Vec::new();
        for user in 0..MEMBERS {
            for device in 0..1 + random.below(2) {
                phones.push(Phone {
                    user,
                    online: user != MEMBERS - 1 && random.percent(70),
                    is_watch: device > 0 && random.percent(50),
                    has: BTreeSet::new(),
                    tells: BTreeMap::new(),
                    heard: BTreeMap::new(),
                    cursor: Cursor::new(0, 4),
                    session: 0,
                    kept: 0,
                });
            }
        }
        let loss = 5 + random.below(30);
        let (log, once, net) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        let authors = Authors::new(most);
        World {
            random,
            now: 0,
            number: 0,
            net,
            loss,
            phones,
            log,
            once,
            authors,
            most,
            incoming: Vec::new(),
            failures: 0,
        }
    }

    fn post(&mut self, after: u64, packet: Packet) {
        self.number += 1;
        self.net.insert((self.now + after, self.number), packet);
    }

    /// Over the network: late, or never.
    fn send(&mut self, packet: Packet) {
        let loss = self.loss;
        if !self.random.percent(loss) {
            let delay = 5 + self.random.below(if self.random.0.is_multiple_of(5) { 2000 } else { 100 }) as u64;
            self.post(delay, packet);
        }
    }

    fn pump(&mut self, phone: usize) {
        while self.phones[phone].cursor.room() > 0 {
            let at = &mut self.phones[phone];
            let Some(entry) = self.log.get(at.cursor.after() as usize) else { break };
            let is_due = match entry {
                Entry::Message { from, .. } => *from != at.user,
                Entry::Receipt { to, .. } => *to == at.user,
            };
            let sequence = at.cursor.after() + 1;
            if at.cursor.take(sequence, is_due) {
                let session = at.session;
                self.send(Packet::Entry { phone, session, sequence });
                self.post(2 * AGAIN, Packet::Lost { phone, session });
            }
        }
        let at = &mut self.phones[phone];
        at.kept = at.kept.max(at.cursor.confirmed());
    }

    fn append(&mut self, entry: Entry) {
        match &entry {
            Entry::Message { from, id } => {
                self.authors.wrote(id, Author { user: aor(*from), wants: ALL, date: "then".into() });
            }
            Entry::Receipt { from, id, report, .. } => self.authors.heard(id, &aor(*from), *report),
        }
        self.log.push(entry);
        (0..self.phones.len()).for_each(|phone| self.pump(phone));
    }

    fn say(&mut self, number: usize) {
        let from = self.random.below(MEMBERS - 1);
        self.append(Entry::Message { from, id: format!("m{number}") });
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Entry { phone, session, sequence } => self.arrived(phone, session, sequence),
            Packet::Ack { phone, session, sequence } => {
                if self.phones[phone].session == session {
                    self.phones[phone].cursor.confirm(sequence);
                    self.pump(phone);
                }
            }
            Packet::Lost { phone, session } => {
                let at = &mut self.phones[phone];
                if at.session == session && at.cursor.in_flight() > 0 {
                    at.session += 1;
                    at.cursor.rewind();
                    self.pump(phone);
                }
            }
            Packet::Tell { phone, id, report } => {
                let is_told = self.phones[phone].tells.entry((id.clone(), report)).or_insert(false);
                if !*is_told {
                    if self.phones[phone].online {
                        self.send(Packet::Receipt { phone, id: id.clone(), report });
                    }
                    self.post(AGAIN, Packet::Tell { phone, id, report });
                }
            }
            Packet::Receipt { phone, id, report } => self.receipt(phone, id, report),
            Packet::Told { phone, id, report } => {
                self.phones[phone].tells.insert((id, report), true);
            }
            Packet::Write => self.write(),
        }
    }

    /// A device has got an entry.
    fn arrived(&mut self, phone: usize, session: u64, sequence: u64) {
        let entry = self.log[sequence as usize - 1].clone();
        let at = &mut self.phones[phone];
        if !at.online {
            return;
        }
        match entry {
            Entry::Receipt { from, id, report, .. } => drop(at.heard.insert(sequence, (from, id, report))),
            Entry::Message { id, .. } if at.has.insert(id.clone()) => {
                let is_watch = at.is_watch;
                let first = if is_watch { Report::Failed } else { Report::Delivered };
                self.post(1, Packet::Tell { phone, id: id.clone(), report: first });
                if !is_watch && self.random.percent(60) {
                    // It may well be there before the other.
                    let later = self.random.below(3000) as u64;
                    self.post(later, Packet::Tell { phone, id, report: Report::Displayed });
                }
            }
            Entry::Message { .. } => {}
        }
        self.send(Packet::Ack { phone, session, sequence });
    }

    /// What the focus makes of a receipt.
    fn receipt(&mut self, phone: usize, id: String, report: Report) {
        let user = self.phones[phone].user;
        let author = self.log.iter().find_map(|entry| match entry {
            Entry::Message { from, id: other } if *other == id => Some(*from),
            _ => None,
        });
        let to = author.expect("it was written");
        let tells = self.authors.take(&id, &aor(user), report, Privacy::default());
        let mut answer = Some(Packet::Told { phone, id: id.clone(), report });
        for tell in tells.unwrap_or_else(|| [report].into_iter().collect()) {
            let entry = Entry::Receipt { from: user, to, id: id.clone(), report: tell };
            self.incoming.push((entry, if tell == report { answer.take() } else { None }));
        }
        // There is no news in it, and what it is no news against may not be on disk yet.
        match answer {
            Some(answer) if self.incoming.is_empty() => self.send(answer),
            _ => {}
        }
        let soon = self.random.below(50) as u64;
        self.post(soon, Packet::Write);
    }

    fn write(&mut self) {
        let incoming = std::mem::take(&mut self.incoming);
        if incoming.is_empty() {
            return;
        }
        if self.loss > 0 && self.random.percent(10) {
            // The devices are told, or tell again by themselves.
            self.failures += 1;
            return self.authors.take_back();
        }
        self.authors.keep();
        for (entry, answer) in incoming {
            let Entry::Receipt { from, id, report, .. } = &entry else { continue };
            if self.once.insert((id.clone(), *from, *report)) {
                self.append(entry);
            }
            answer.into_iter().for_each(|answer| self.send(answer));
        }
    }

    /// The focus dies, and comes back with the end of its log in memory.
    fn restart(&mut self, reads: usize) {
        self.incoming.clear();
        self.authors = Authors::new(self.most);
        for entry in self.log.iter().skip(self.log.len().saturating_sub(reads)) {
            match entry {
                Entry::Message { from, id } => {
                    self.authors.wrote(id, Author { user: aor(*from), wants: ALL, date: "then".into() });
                }
                Entry::Receipt { from, id, report, .. } => self.authors.heard(id, &aor(*from), *report),
            }
        }
        for phone in 0..self.phones.len() {
            let lag = self.random.below(5) as u64;
            let at = &mut self.phones[phone];
            at.kept = at.kept.saturating_sub(lag);
            (at.cursor, at.session) = (Cursor::new(at.kept, 4), at.session + 1);
            self.pump(phone);
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
    }

    /// What really became of a message at a member, whatever was told.
    fn truth(&self, id: &str, user: usize) -> (bool, bool, bool) {
        let did = |report| {
            let of_user = self.phones.iter().filter(|phone| phone.user == user);
            of_user.flat_map(|phone| phone.tells.keys()).any(|(about, told)| *about == *id && *told == report)
        };
        let displayed = did(Report::Displayed);
        (did(Report::Delivered) || displayed, displayed, did(Report::Failed))
    }

    /// What a device of the author makes of what it has heard.
    fn states(&self, phone: &Phone, id: &str) -> States {
        let mut states = States::new((0..MEMBERS).filter(|user| *user != phone.user).map(aor));
        for (from, _, report) in phone.heard.values().filter(|(_, about, _)| about == id) {
            states.take(&aor(*from), *report, &ALL, Privacy::default());
        }
        states
    }

    /// Every device of every author knows exactly what became of each message at each member.
    fn check(&self, seed: u64) -> usize {
        let mut looked = 0;
        for entry in &self.log {
            let Entry::Message { from, id } = entry else { continue };
            let others = || (0..MEMBERS).filter(|user| user != from);
            let mut expected = Tally { of: MEMBERS - 1, ..Tally::default() };
            for user in others() {
                let (delivered, displayed, failed) = self.truth(id, user);
                expected.delivered += usize::from(delivered);
                expected.displayed += usize::from(displayed);
                expected.failed += usize::from(failed && !delivered);
            }
            for phone in self.phones.iter().filter(|phone| phone.user == *from) {
                let states = self.states(phone, id);
                for user in others() {
                    let state = states.of(&aor(user)).expect("a recipient");
                    let told = (state.has(Report::Delivered), state.has(Report::Displayed));
                    let (delivered, displayed, _) = self.truth(id, user);
                    assert_eq!(told, (delivered, displayed), "seed {seed}: {id} of {from} at {user}");
                }
                assert_eq!(states.tally(), expected, "seed {seed}: {id} of {from}");
                looked += 1;
            }
        }
        looked
    }

    /// Each thing was told once, display behind delivery, and nothing bad of what had arrived.
    fn check_order(&self, seed: u64) {
        let mut told: BTreeMap<(&str, usize), Vec<Report>> = BTreeMap::new();
        for entry in &self.log {
            if let Entry::Receipt { from, id, report, .. } = entry {
                told.entry((id, *from)).or_default().push(*report);
            }
        }
        for ((id, who), reports) in told {
            let good: Vec<Report> = reports.iter().copied().filter(|report| *report != Report::Failed).collect();
            let orders: [&[Report]; 3] = [&[], &[Report::Delivered], &[Report::Delivered, Report::Displayed]];
            assert!(orders.contains(&good.as_slice()), "seed {seed}: {id} at {who}: {reports:?}");
            let failed = reports.iter().position(|report| *report == Report::Failed);
            assert!(failed.is_none_or(|at| at == 0), "seed {seed}: {id} at {who}: {reports:?}");
        }
    }
}

/// Messages and receipts cross; members come and go, the focus dies twice, writes fail. `reads`: entries that the focus has in
/// memory when it comes back.
fn world(seed: u64, most: Most, reads: usize) -> World {
    let mut world = World::new(seed, most);
    for number in 0..MESSAGES {
        world.say(number);
        for _ in 0..6 {
            let phone = world.random.below(world.phones.len());
            // One never comes.
            world.phones[phone].online ^= world.phones[phone].user != MEMBERS - 1;
        }
        let pause = [0, 20, 400, 3000][world.random.below(4)];
        world.run(pause);
        if number % 5 == 4 {
            world.restart(reads);
        }
    }
    world.phones.iter_mut().for_each(|phone| phone.online = phone.user != MEMBERS - 1);
    world.run(20_000);
    world.loss = 0;
    world.run(60_000);
    world
}

#[test]
fn twenty_members_are_told_exactly() {
    let (mut looked, mut failures, mut displayed) = (0, 0, 0);
    for seed in 0..60 {
        let world = world(seed, Most { messages: 100, states: 10_000 }, usize::MAX);
        looked += world.check(seed);
        world.check_order(seed);
        failures += world.failures;
        displayed += world.once.iter().filter(|(_, _, report)| *report == Report::Displayed).count();
    }
    assert!(
        looked > 700 && failures > 500 && displayed > 5000,
        "{looked} views, {failures} failures, {displayed} seen"
    );
}

/// A focus that remembers less than there is tells more than it would have to, and the states are the same.
#[test]
fn a_focus_that_forgets_tells_exactly_too() {
    let mut looked = 0;
    for seed in 100..160 {
        let most = Most { messages: 1 + seed as usize % 5, states: 10 + seed as usize % 70 };
        looked += world(seed, most, seed as usize % 40).check(seed);
    }
    assert!(looked > 700, "{looked}");
}
