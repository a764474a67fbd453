//! The queue of a user with several devices, in virtual time: reads and writes take as long as they like, devices fail and come
//! back, the server dies. Each device has to see every message, in order; twice only where a kill came between.
//!
//! The model does with [`Owed`] and [`Settled`] what the drain of the server does with them.

use std::collections::{BTreeMap, VecDeque};

use chappe_chat::drain::{Ended, Owed, Settled, Written};

const DEVICES: usize = 3;
const MESSAGES: u64 = 12;
/// Between the ids of messages; copies lie between.
const STEP: u64 = 2048;
/// Messages in one read.
const READ: usize = 4;

/// Numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % most
    }
}

/// What a write does to the store: ids that go, and copies as (of, device).
#[derive(Clone, Default)]
struct Change {
    gone: Vec<u64>,
    copies: Vec<(u64, usize)>,
}

#[derive(Default)]
struct Session {
    backlog: VecDeque<u64>,
    after: u64,
    sending: Option<u64>,
    /// Wants to read, or reads.
    loading: bool,
    again: bool,
    overtaken: bool,
    bound: Option<u64>,
    stalled: Option<u64>,
}

/// A read under way: of which device, from where, and what it has seen.
struct Reading {
    device: usize,
    after: u64,
    seen: Option<Vec<u64>>,
}

struct World {
    dice: Dice,
    /// On disk: ids, and for which device where it is a copy.
    store: BTreeMap<u64, Option<usize>>,
    stored: u64,
    sessions: [Option<Session>; DEVICES],
    wanted: Vec<usize>,
    reads: Vec<Reading>,
    writes: VecDeque<Change>,
    /// Written, and not known to be: with the ids of the copies.
    news: VecDeque<(Change, Vec<Option<u64>>)>,
    owed: Owed<usize, u64>,
    settling: Vec<u64>,
    settled: Settled,
    /// First copies, in order; and how many came again.
    screens: [Vec<u64>; DEVICES],
    again: usize,
}

fn original(id: u64) -> u64 {
    id / STEP * STEP
}

impl World {
    fn new(seed: u64) -> World {
        World {
            dice: Dice(seed),
            store: BTreeMap::new(),
            stored: 0,
            sessions: Default::default(),
            wanted: Vec::new(),
            reads: Vec::new(),
            writes: VecDeque::new(),
            news: VecDeque::new(),
            owed: Owed::default(),
            settling: Vec::new(),
            settled: Settled::default(),
            screens: Default::default(),
            again: 0,
        }
    }

    fn kick(&mut self, device: usize) {
        match &mut self.sessions[device] {
            Some(session) => session.again = true,
            empty => {
                *empty = Some(Session { loading: true, ..Session::default() });
                self.wanted.push(device);
            }
        }
    }

    fn is_settled(&self, id: u64) -> bool {
        self.settling.contains(&id) || self.settled.contains(id)
    }

    /// Begins what can be read.
    fn read(&mut self) {
        for device in std::mem::take(&mut self.wanted) {
            let Some(session) = &mut self.sessions[device] else { continue };
            let first = self.owed.first_written(&device);
            if session.stalled.zip(first).is_some_and(|(bound, first)| first <= bound) {
                self.wanted.push(device);
                continue;
            }
            (session.bound, session.stalled) = (first, None);
            self.reads.push(Reading { device, after: session.after, seen: None });
        }
    }

    fn look(&mut self, at: usize) {
        let Reading { device, after, .. } = self.reads[at];
        let fits = |(_, whose): &(&u64, &Option<usize>)| whose.is_none_or(|whose| whose == device);
        let seen = self.store.range(after + 1..).filter(fits).take(READ).map(|(id, _)| *id).collect();
        self.reads[at].seen = Some(seen);
    }

    fn loaded(&mut self, device: usize, mut seen: Vec<u64>) {
        let Some(mut session) = self.sessions[device].take() else { return };
        if std::mem::take(&mut session.overtaken) {
            self.sessions[device] = Some(session);
            return self.wanted.push(device);
        }
        let bound = session.bound.take();
        let read_all = seen.len() < READ && bound.is_none();
        seen.retain(|id| bound.is_none_or(|bound| *id < bound));
        session.stalled = bound.filter(|_| seen.is_empty());
        session.after = seen.last().copied().unwrap_or(session.after);
        session.backlog.extend(seen.iter().filter(|id| !self.is_settled(**id) && !self.owed.holds_copy(&device, **id)));
        if !session.backlog.is_empty() {
            self.sessions[device] = Some(session);
            return self.next(device);
        }
        if session.again || !read_all {
            session.again = false;
            self.sessions[device] = Some(session);
            self.wanted.push(device);
        }
    }

    fn next(&mut self, device: usize) {
        loop {
            let Some(session) = &mut self.sessions[device] else { return };
            let Some(id) = session.backlog.pop_front() else {
                (session.loading, session.again) = (true, false);
                return self.wanted.push(device);
            };
            session.loading = false;
            if !self.is_settled(id) || self.owed.is_owed(&device, id) {
                if let Some(session) = &mut self.sessions[device] {
                    session.sending = Some(id);
                }
                return;
            }
            self.left(device, id);
        }
    }

    fn left(&mut self, device: usize, id: u64) {
        if self.owed.is_owed(&device, id) {
            self.owed.left(&device, id);
        }
    }

    fn holds(&self, device: usize, id: u64) -> bool {
        self.sessions[device].as_ref().is_some_and(|s| s.sending == Some(id) || s.backlog.contains(&id))
    }

    /// The device has it.
    fn took(&mut self, device: usize) {
        let Some(id) = self.sessions[device].as_mut().and_then(|session| session.sending.take()) else { return };
        match self.screens[device].contains(&original(id)) {
            true => self.again += 1,
            false => self.screens[device].push(original(id)),
        }
        let mut change = Change::default();
        match self.owed.ended(&device, id, id) {
            Ended::First(id) => {
                self.settling.push(id);
                change.gone.push(id);
                if id == original(id) {
                    for other in (0..DEVICES).filter(|other| *other != device) {
                        if self.holds(other, id) {
                            self.owed.owe(other, id);
                        }
                        if let Some(session) = self.sessions[other].as_mut().filter(|session| session.loading) {
                            session.bound = Some(session.bound.map_or(id, |bound| bound.min(id)));
                        }
                        self.owed.writes(other, id);
                        change.copies.push((id, other));
                    }
                }
            }
            Ended::Copy(copy, _) => {
                self.settling.push(copy);
                change.gone.push(copy);
            }
            Ended::Later => {}
        }
        self.writes.push_back(change);
        self.next(device);
    }

    /// The device does not answer; it registers again some time.
    fn lost(&mut self, device: usize) {
        let Some(session) = self.sessions[device].take() else { return };
        for id in session.sending.into_iter().chain(session.backlog) {
            self.left(device, id);
        }
        self.wanted.retain(|other| *other != device);
        self.reads.retain(|reading| reading.device != device);
    }

    /// The first of the writes is on disk.
    fn commit(&mut self) {
        let Some(change) = self.writes.pop_front() else { return };
        let gone: Vec<u64> = change.gone.iter().copied().filter(|id| self.store.remove(id).is_some()).collect();
        let copies = change.copies.iter().map(|(of, device)| {
            let id = of + 1 + *device as u64;
            gone.contains(of).then(|| {
                self.store.insert(id, Some(*device));
                id
            })
        });
        let copies = copies.collect();
        self.news.push_back((change, copies));
    }

    fn hear(&mut self) {
        let Some((change, copies)) = self.news.pop_front() else { return };
        for id in change.gone {
            self.settling.retain(|other| *other != id);
            self.settled.push(id);
        }
        for ((of, device), copy) in change.copies.into_iter().zip(copies) {
            match (self.owed.written(&device, of, copy), copy) {
                (Written::Ended(_), Some(id)) => {
                    self.settling.push(id);
                    self.writes.push_back(Change { gone: vec![id], copies: Vec::new() });
                }
                (Written::Held, Some(id)) => {
                    if let Some(session) = &mut self.sessions[device] {
                        session.backlog.retain(|other| *other != id);
                    }
                }
                (Written::Waits, Some(id)) => self.read_from(device, id),
                (_, None) => {}
            }
            if copy.is_some() && self.sessions[device].is_some() {
                self.kick(device);
            }
        }
    }

    fn read_from(&mut self, device: usize, id: u64) {
        let Some(session) = self.sessions[device].as_mut().filter(|s| s.after >= id || s.loading) else { return };
        (session.after, session.again) = (0, true);
        session.overtaken = session.loading && self.reads.iter().any(|reading| reading.device == device);
        for id in std::mem::take(&mut session.backlog) {
            self.left(device, id);
        }
    }

    fn die(&mut self) {
        let World { dice, store, stored, screens, again, .. } = std::mem::replace(self, World::new(0));
        *self = World { dice, store, stored, screens, again, ..World::new(0) };
    }

    /// One thing happens; false where nothing can.
    fn step(&mut self, may_fail: bool) {
        self.read();
        match self.dice.below(if may_fail { 12 } else { 11 }) {
            0 if self.stored < MESSAGES => {
                self.stored += 1;
                self.store.insert(self.stored * STEP, None);
                (0..DEVICES)
                    .filter(|device| self.sessions[*device].is_some())
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|d| self.kick(d));
            }
            1 | 2 => {
                let device = self.dice.below(DEVICES);
                self.kick(device);
            }
            3 | 4 if !self.reads.is_empty() => {
                let at = self.dice.below(self.reads.len());
                if self.reads[at].seen.is_none() {
                    self.look(at);
                }
            }
            5 | 6 if !self.reads.is_empty() => {
                let at = self.dice.below(self.reads.len());
                if let Some(seen) = self.reads[at].seen.take() {
                    let device = self.reads.remove(at).device;
                    self.loaded(device, seen);
                }
            }
            7 => self.commit(),
            8 => self.hear(),
            11 => {
                let device = self.dice.below(DEVICES);
                self.lost(device);
            }
            _ => {
                let device = self.dice.below(DEVICES);
                self.took(device);
            }
        }
    }
}

#[test]
fn every_device_sees_everything_in_order() {
    for seed in 1..3000u64 {
        let mut world = World::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let kills = world.dice.below(3);
        let mut kill_at: Vec<usize> = (0..kills).map(|_| world.dice.below(400)).collect();
        kill_at.sort_unstable();
        let done = |world: &World| world.stored == MESSAGES && world.store.is_empty();
        let mut steps = 0;
        while !done(&world) {
            if kill_at.first() == Some(&steps) {
                kill_at.retain(|at| *at != steps);
                world.die();
            }
            world.step(steps < 600);
            steps += 1;
            assert!(steps < 100_000, "seed {seed}: {:?} waits, {:?} is shown", world.store, world.screens);
        }
        let all: Vec<u64> = (1..=MESSAGES).map(|number| number * STEP).collect();
        for screen in &world.screens {
            assert_eq!(*screen, all, "seed {seed} with {kills} kills");
        }
        assert!(kills > 0 || world.again == 0, "seed {seed}: {} came again without a kill", world.again);
    }
}
