//! A focus and its members over a network that loses, delays and reorders, in virtual time: all end with the same roster,
//! see one order, and get every entry of their intervals once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chappe_chat::group::reader::{self, Cursor, Device, Head, Kind};
use chappe_chat::group::roster::{Roster, Seen, Status, Subscription, View};
use chappe_chat::group::{Actor, Change, Creation, Event, Group, GroupId, Invitee, Limits, Refused, Rights};
use chappe_sip::Aor;

const FOCUS: &str = "sip:g1@x";
const LIMITS: Limits =
    Limits { members: 100, groups_per_user: 10, subject_bytes: 100, icon_bytes: 100, name_bytes: 100, former: 100 };
/// How long a MESSAGE is waited for.
const PAGE_TIMEOUT: u64 = 4000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }
}

struct Entry {
    sequence: u64,
    kind: Kind,
    from: Option<Aor>,
    device: Option<String>,
    to: Option<Aor>,
}

impl Entry {
    fn head(&self) -> Head<'_> {
        Head {
            sequence: self.sequence,
            kind: self.kind,
            from: self.from.as_ref(),
            device: self.device.as_deref(),
            to: self.to.as_ref(),
        }
    }
}

/// A device of a user, and what the focus holds for it.
struct Phone {
    user: Aor,
    name: String,
    /// MESSAGE only.
    pager: bool,
    online: bool,
    view: View,
    /// The dialog of its subscription.
    dialog: u64,
    got: Vec<u64>,
    known: BTreeSet<u64>,
    // At the focus.
    session: Option<Session>,
    subscription: Option<Subscription>,
    kept: u64,
}

struct Session {
    number: u64,
    cursor: Cursor,
    /// When the last byte of each direction arrives: one connection keeps its order.
    there: u64,
    back: u64,
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
    /// The session is found dead, or a MESSAGE unanswered.
    Lost {
        phone: usize,
        session: u64,
    },
    Call {
        phone: usize,
    },
    Notify {
        phone: usize,
        dialog: u64,
        text: String,
    },
    NotifyLost {
        phone: usize,
        dialog: u64,
    },
    Subscribe {
        phone: usize,
        dialog: u64,
    },
}

struct World {
    random: Random,
    epoch: Instant,
    /// Milliseconds since the epoch.
    now: u64,
    numbers: u64,
    net: BTreeMap<(u64, u64), Packet>,
    loss: usize,
    // On disk.
    group: Group,
    log: Vec<Entry>,
    // In memory.
    roster: Roster,
    phones: Vec<Phone>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let users = [3, 5, 12, 30, 100][random.below(5)];
        let user = |n: usize| Aor::from_canonical(format!("u{n:03}@x"));
        let first = 2 + random.below(users - 1);
        let creation = Creation {
            id: GroupId::new([0; 16]),
            contribution_id: "c".into(),
            conversation_id: None,
            creator: Invitee::new(user(0)),
            invitees: (1..first).map(|n| Invitee::new(user(n))).collect(),
            subject: Some("0".into()),
            icon: None,
            open: true,
            rights: Rights { describe: chappe_chat::group::Role::Member, ..Rights::default() },
        };
        let (group, _) = Group::create(creation, 0, &LIMITS, 0).expect("two members at least");
        let mut phones = Vec::new();
        for n in 0..users {
            for device in 0..1 + usize::from(random.percent(20)) {
                phones.push(Phone {
                    user: user(n),
                    name: format!("d{device}"),
                    pager: random.percent(30),
                    online: random.percent(70),
                    view: View::default(),
                    dialog: 0,
                    got: Vec::new(),
                    known: BTreeSet::new(),
                    session: None,
                    subscription: None,
                    kept: 0,
                });
            }
        }
        #[expect(clippy::disallowed_methods, reason = "a beginning for virtual time")]
        let epoch = Instant::now();
        let roster = Roster::new(FOCUS);
        let loss = random.below(15);
        let log = Vec::new();
        let mut world =
            World { random, epoch, now: 0, numbers: 0, net: BTreeMap::new(), loss, group, log, roster, phones };
        world.sync();
        for phone in 0..world.phones.len() {
            world.come(phone);
        }
        world
    }

    fn at(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn post(&mut self, after: u64, packet: Packet) {
        let number = self.number();
        self.net.insert((self.now + after, number), packet);
    }

    fn delay(&mut self) -> u64 {
        5 + self.random.below(if self.random.0.is_multiple_of(7) { 3000 } else { 80 }) as u64
    }

    fn is_lost(&mut self) -> bool {
        let loss = self.loss;
        self.random.percent(loss)
    }

    fn sync(&mut self) {
        let now = self.at();
        self.roster.sync(&self.group, LIMITS.members, Aor::to_uri, now);
    }

    fn next_sequence(&self) -> u64 {
        self.log.len() as u64 + 1
    }

    fn append(&mut self, kind: Kind, from: Option<Aor>, device: Option<String>, to: Option<Aor>) {
        let sequence = self.next_sequence();
        self.log.push(Entry { sequence, kind, from, device, to });
        (0..self.phones.len()).for_each(|phone| self.pump(phone));
    }

    /// A change by a member, with all that follows from it.
    fn change(&mut self, phone: usize, change: Change) -> Result<(), Refused> {
        let (user, sequence, now) = (self.phones[phone].user.clone(), self.next_sequence(), self.now);
        let events = self.group.apply(Actor::User(&user), change, sequence, &LIMITS, now)?;
        for event in events {
            match event {
                Event::Announce(_) => self.append(Kind::Announcement, Some(user.clone()), None, None),
                Event::Invite(user) => {
                    let theirs: Vec<usize> =
                        (0..self.phones.len()).filter(|at| self.phones[*at].user == user).collect();
                    theirs.into_iter().for_each(|phone| self.come(phone));
                }
                Event::Dismiss { user, .. } => {
                    for phone in self.phones.iter_mut().filter(|phone| phone.user == user) {
                        phone.session = None;
                        phone.subscription = None;
                    }
                }
                Event::Roster => self.sync(),
                Event::Ended => {
                    self.sync();
                    self.phones.iter_mut().for_each(|phone| phone.session = None);
                }
            }
        }
        self.notify();
        Ok(())
    }

    /// The device is there, or learns that it is invited: it calls the focus, and subscribes.
    fn come(&mut self, phone: usize) {
        if self.phones[phone].online {
            let delay = self.delay();
            self.post(delay, Packet::Call { phone });
            self.phones[phone].dialog = self.number();
            self.phones[phone].view = View::default();
            let dialog = self.phones[phone].dialog;
            let delay = self.delay();
            self.post(delay, Packet::Subscribe { phone, dialog });
        }
    }

    fn set_status(&mut self, phone: usize) {
        let user = self.phones[phone].user.clone();
        let is_there = self.phones.iter().any(|phone| phone.user == user && phone.session.is_some());
        if self.group.admit(&user).is_ok() {
            let status = if is_there { Status::Connected } else { Status::Pending };
            let now = self.at();
            self.roster.set_status(&user.to_uri(), status, true, now);
            self.notify();
        }
    }

    /// Sends what the device may get.
    fn pump(&mut self, phone: usize) {
        loop {
            let at = &mut self.phones[phone];
            let Some(session) = &mut at.session else { return };
            let Some(entry) = self.log.get(session.cursor.after() as usize).filter(|_| session.cursor.room() > 0)
            else {
                at.kept = session.cursor.confirmed();
                return;
            };
            let device = Device { name: &at.name, announcements: false };
            let is_due =
                self.group.members.get(&at.user).is_some_and(|member| reader::is_due(&entry.head(), member, device));
            let sequence = entry.sequence;
            if !session.cursor.take(sequence, is_due) {
                continue;
            }
            let (number, pager) = (session.number, at.pager);
            let delay = self.delay();
            if self.is_lost() {
                let found = if pager { PAGE_TIMEOUT } else { delay + 1000 };
                self.post(found, Packet::Lost { phone, session: number });
                if !pager {
                    // What was written behind it is gone as well.
                    if let Some(session) = &mut self.phones[phone].session {
                        session.there = u64::MAX / 2;
                    }
                }
                continue;
            }
            let arrival = self.arrival(phone, pager, delay, true);
            self.post(arrival, Packet::Entry { phone, session: number, sequence });
        }
    }

    /// When something sent now arrives: after all that was sent on the connection before it.
    fn arrival(&mut self, phone: usize, pager: bool, delay: u64, there: bool) -> u64 {
        let now = self.now;
        match &mut self.phones[phone].session {
            Some(session) if !pager => {
                let last = if there { &mut session.there } else { &mut session.back };
                *last = (now + delay).max(*last + 1);
                *last - now
            }
            _ => delay,
        }
    }

    fn notify(&mut self) {
        let now = self.at();
        for phone in 0..self.phones.len() {
            let Some(subscription) = &mut self.phones[phone].subscription else { continue };
            let Some(document) = subscription.poll(&mut self.roster, now) else { continue };
            let (dialog, delay) = (self.phones[phone].dialog, self.delay());
            if self.is_lost() || !self.phones[phone].online {
                self.post(delay + 2000, Packet::NotifyLost { phone, dialog });
            } else {
                self.post(delay, Packet::Notify { phone, dialog, text: document.text });
            }
        }
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Call { phone } => {
                let at = &self.phones[phone];
                if !at.online || at.session.is_some() || self.group.admit_call(&at.user).is_err() {
                    return;
                }
                let (number, user) = (self.number(), self.phones[phone].user.clone());
                self.change(phone, Change::Join).expect("it may call");
                let since = self.group.members.get(&user).expect("it has joined").since;
                let at = &mut self.phones[phone];
                let cursor = Cursor::new(at.kept.max(since), if at.pager { 1 } else { 5 });
                at.session = Some(Session { number, cursor, there: 0, back: 0 });
                self.set_status(phone);
                self.pump(phone);
            }
            Packet::Entry { phone, session, sequence } => {
                let at = &mut self.phones[phone];
                if !at.online {
                    self.post(1000, Packet::Lost { phone, session });
                    return;
                }
                if at.known.insert(sequence) {
                    at.got.push(sequence);
                }
                let (pager, delay) = (at.pager, self.delay());
                if self.is_lost() {
                    self.post(delay + 2000, Packet::Lost { phone, session });
                } else {
                    let arrival = self.arrival(phone, pager, delay, false);
                    self.post(arrival, Packet::Ack { phone, session, sequence });
                }
            }
            Packet::Ack { phone, session: number, sequence } => {
                if let Some(session) = self.phones[phone].session.as_mut().filter(|session| session.number == number) {
                    session.cursor.confirm(sequence);
                    self.pump(phone);
                }
            }
            Packet::Lost { phone, session: number } => {
                let pager = self.phones[phone].pager && self.phones[phone].online;
                let Some(session) = self.phones[phone].session.as_mut().filter(|session| session.number == number)
                else {
                    return;
                };
                let kept = session.cursor.confirmed();
                if pager {
                    session.cursor.rewind();
                    self.pump(phone);
                } else {
                    self.phones[phone].kept = kept;
                    self.phones[phone].session = None;
                    self.set_status(phone);
                    self.post(100, Packet::Call { phone });
                }
            }
            Packet::Subscribe { phone, dialog } => {
                let at = &mut self.phones[phone];
                if dialog != at.dialog || !at.online || self.group.admit(&at.user).is_err() {
                    return;
                }
                match &mut at.subscription {
                    Some(subscription) => subscription.refresh(),
                    None => at.subscription = Some(Subscription::new(None)),
                }
                self.notify();
            }
            Packet::Notify { phone, dialog, text } => {
                let at = &mut self.phones[phone];
                if dialog == at.dialog
                    && at.online
                    && at.view.take(text.as_bytes()).expect("a document of ours") == Seen::Gap
                {
                    self.post(10, Packet::Subscribe { phone, dialog });
                }
            }
            Packet::NotifyLost { phone, dialog } => {
                if self.phones[phone].dialog == dialog {
                    // The subscription ends; the device subscribes in a new dialog.
                    self.phones[phone].subscription = None;
                    self.come(phone);
                }
            }
        }
    }

    /// Lets time pass.
    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let packet = self.net.first_key_value().map(|((at, _), _)| *at);
            let now = self.at();
            let timers =
                self.phones.iter().filter_map(|phone| phone.subscription.as_ref()?.poll_timeout(&self.roster, now));
            let timer = timers.chain(self.roster.poll_timeout()).min();
            let timer =
                timer.map(|at| u64::try_from((at - self.epoch).as_millis()).expect("a short test").max(self.now));
            let Some(next) = packet.into_iter().chain(timer).min().filter(|next| *next <= end) else { break };
            self.now = next;
            while let Some(first) = self.net.first_entry().filter(|first| first.key().0 <= next) {
                let packet = first.remove();
                self.take(packet);
            }
            let now = self.at();
            self.roster.handle_timeout(now);
            self.notify();
        }
        self.now = end;
    }

    fn act(&mut self) {
        let phone = self.random.below(self.phones.len());
        let other = self.random.below(self.phones.len());
        let (user, other) = (self.phones[phone].user.clone(), self.phones[other].user.clone());
        let is_in = self.group.admit(&user).is_ok();
        match self.random.below(20) {
            0..=8 if is_in => self.append(Kind::Message, Some(user), Some(self.phones[phone].name.clone()), None),
            9 if is_in => self.append(Kind::Receipt, Some(user), Some(self.phones[phone].name.clone()), Some(other)),
            10 => drop(self.change(phone, Change::Add(vec![Invitee::new(other)]))),
            11 => drop(self.change(phone, Change::Remove { users: vec![other], ban: false })),
            12 if self.random.percent(30) && self.group.members.count() > 2 => drop(self.change(phone, Change::Leave)),
            13 => drop(self.change(phone, Change::Subject(Some(format!("s{}", self.now).into())))),
            14..=15 => {
                self.phones[phone].online = false;
                if let Some(session) = &self.phones[phone].session {
                    let number = session.number;
                    self.post(500, Packet::Lost { phone, session: number });
                }
            }
            16..=18 => {
                self.phones[phone].online = true;
                self.come(phone);
            }
            19 if self.random.percent(20) => self.restart(),
            _ => {}
        }
    }

    /// The focus dies, and comes back with what was on disk: sessions, subscriptions and the newest cursors are gone.
    fn restart(&mut self) {
        self.roster = Roster::new(FOCUS);
        self.sync();
        for phone in 0..self.phones.len() {
            let at = &mut self.phones[phone];
            at.session = None;
            at.subscription = None;
            at.kept = at.kept.saturating_sub(self.random.below(4) as u64);
            self.come(phone);
        }
    }

    fn settle(&mut self) {
        self.loss = 0;
        for phone in 0..self.phones.len() {
            self.phones[phone].online = true;
            self.come(phone);
        }
        self.run(200_000);
    }

    fn check(&self, seed: u64) {
        let people: BTreeMap<&str, &str> = self
            .roster
            .people()
            .map(|(uri, person)| (uri, if person.status == Status::Connected { "connected" } else { "other" }))
            .collect();
        assert_eq!(people.len(), self.group.members.count(), "seed {seed}: the roster has who is in");
        for phone in &self.phones {
            let what = format!("seed {seed}: {} {}", phone.user, phone.name);
            assert!(phone.got.is_sorted(), "{what}: {:?} in another order", phone.got);
            let device = Device { name: &phone.name, announcements: false };
            let Ok(member) = self.group.admit(&phone.user) else { continue };
            let seen: BTreeMap<&str, &str> = phone
                .view
                .users()
                .map(|(user, status)| (user, if status == "connected" { "connected" } else { "other" }))
                .collect();
            assert_eq!(seen, people, "{what}");
            assert_eq!(phone.view.subject(), self.group.subject.as_deref(), "{what}");
            let due = self.log.iter().filter(|entry| reader::is_due(&entry.head(), member, device));
            let due: Vec<u64> = due.map(|entry| entry.sequence).collect();
            let got: Vec<u64> = phone.got.iter().copied().filter(|sequence| *sequence > member.since).collect();
            assert_eq!(got, due, "{what}: since {}", member.since);
        }
    }
}

#[test]
fn all_see_one_roster_and_one_order() {
    let (mut entries, mut members, mut groups) = (0, 0, 0);
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.run(3000);
        for _ in 0..120 {
            world.act();
            let pause = [0, 10, 500, 7000][world.random.below(4)];
            world.run(pause);
        }
        world.settle();
        if world.group.closed_ms.is_none() {
            world.check(seed);
            entries += world.log.len();
            members += world.group.members.count();
            groups += 1;
        }
    }
    assert!(entries > 1500 && members > 300 && groups > 30, "{entries} entries, {members} members, {groups} groups");
}
