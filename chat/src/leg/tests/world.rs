//! A device, its calls and its MSRP, played by chance: whatever happens, each entry ends once, and in its order.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Debug, Clone, Copy)]
enum Event {
    Push(Entry),
    Answered(Call),
    Rejected(Call, u16),
    Bound(Call),
    Confirmed(u64),
    Refused(Call, u64, u16),
    Lost(Call, u64),
    Paged(u64, u16),
    Delivered(u64),
    Ended(Call),
    Incoming,
    Activity(Call),
    Gone,
    Moved,
}

/// What is done to a leg in the middle of what it does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    End,
    Gone,
    Close,
    Incoming,
    Moved,
}

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }

    fn of(&mut self, codes: &[u16]) -> u16 {
        codes[self.roll(codes.len() as u64) as usize]
    }
}

struct World {
    leg: Leg,
    now: Instant,
    dice: Dice,
    /// Per cent of what goes wrong.
    trouble: u64,
    events: BTreeMap<(Instant, u64), Event>,
    serial: u64,
    /// Entries that have not ended.
    pending: BTreeSet<u64>,
    ended: BTreeSet<u64>,
    receipts: BTreeSet<u64>,
    /// Calls that we may send in, with the last message sent.
    open: BTreeMap<Call, u64>,
    /// Our invitations without a final response; `true` for one that is cancelled.
    invited: BTreeMap<Call, bool>,
    /// All that we made.
    ours: BTreeSet<Call>,
    returned: BTreeSet<u64>,
    under_way: BTreeSet<u64>,
    last_page: u64,
    name: String,
}

impl World {
    fn new(device: Capabilities, seed: u64, trouble: u64, name: String) -> World {
        let Bench { leg, now } = Bench::new(device);
        World {
            leg,
            now,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            trouble,
            events: BTreeMap::new(),
            serial: 0,
            pending: BTreeSet::new(),
            ended: BTreeSet::new(),
            receipts: BTreeSet::new(),
            open: BTreeMap::new(),
            invited: BTreeMap::new(),
            ours: BTreeSet::new(),
            returned: BTreeSet::new(),
            under_way: BTreeSet::new(),
            last_page: 0,
            name,
        }
    }

    fn after(&mut self, most: u64, event: Event) {
        self.serial += 1;
        let at = self.now + Duration::from_millis(self.dice.roll(most.max(1)));
        self.events.insert((at, self.serial), event);
    }

    fn fails(&mut self) -> bool {
        self.dice.roll(100) < self.trouble
    }

    /// Puts entries into the future, and what else may happen there.
    fn fill(&mut self, entries: u64) {
        for id in 1..=entries {
            let (waited, receipt) = (id <= entries / 3, self.dice.roll(5) == 0);
            let size = if self.dice.roll(8) == 0 { 40_000 } else { 100 };
            self.serial += 1;
            // In the order of their ids, as the queue gives them.
            let at = self.now + Duration::from_millis(id * 700);
            self.events.insert((at, self.serial), Event::Push(Entry { id, size, waited, receipt }));
        }
        for _ in 0..3 {
            if self.fails() {
                self.after(60_000, Event::Incoming);
            }
            if self.fails() {
                self.after(60_000, Event::Moved);
            }
        }
        if self.fails() {
            self.after(60_000, Event::Gone);
        }
    }

    /// Everything that is still to come, then timers until nothing is left of the leg. Returns how many events there were.
    fn run(&mut self, cut: Option<(usize, Cut)>) -> usize {
        let mut step = 0;
        loop {
            if let Some((_, cut)) = cut.filter(|(at, _)| *at == step) {
                self.cut(cut);
                self.act();
            }
            step += 1;
            assert!(step < 20_000, "{}: it never ends", self.name);
            let next = self.events.first_key_value().map(|((at, _), _)| *at);
            let timer = self.leg.poll_timeout();
            if timer.is_some_and(|timer| next.is_none_or(|next| timer <= next)) {
                self.now = self.now.max(timer.unwrap());
                self.leg.handle_timeout(self.now);
            } else if let Some(((at, _), event)) = self.events.pop_first() {
                self.now = at;
                self.happen(event);
            } else {
                break;
            }
            self.act();
        }
        assert!(self.pending.is_empty(), "{}: {:?} have no end", self.name, self.pending);
        assert!(self.leg.is_done() && self.leg.is_empty(), "{}: {:?}", self.name, self.leg);
        step
    }

    fn cut(&mut self, cut: Cut) {
        match cut {
            Cut::End => {
                let calls: Vec<Call> = self.open.keys().chain(self.invited.keys()).copied().collect();
                for call in calls {
                    self.happen(Event::Ended(call));
                }
            }
            Cut::Gone => self.happen(Event::Gone),
            Cut::Close => self.leg.close(self.now),
            Cut::Incoming => self.happen(Event::Incoming),
            Cut::Moved => self.happen(Event::Moved),
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Push(entry) => {
                self.pending.insert(entry.id);
                if entry.receipt {
                    self.receipts.insert(entry.id);
                }
                self.leg.push(entry, now);
            }
            Event::Answered(call) => {
                if self.invited.remove(&call).is_some() {
                    self.open.insert(call, 0);
                    self.leg.handle_answered(call, now);
                    self.connect(call);
                }
            }
            Event::Rejected(call, status) => {
                if self.invited.remove(&call).is_some() {
                    self.leg.handle_rejected(call, status, None, now);
                }
            }
            Event::Bound(call) => {
                if self.open.contains_key(&call) {
                    self.leg.handle_bound(call, now);
                }
            }
            Event::Confirmed(id) => self.leg.handle_confirmed(id, now),
            Event::Refused(call, id, code) => self.leg.handle_refused(call, id, code, now),
            Event::Lost(call, id) => self.leg.handle_lost(call, id, now),
            Event::Paged(id, status) => self.leg.handle_paged(id, status, None, now),
            Event::Delivered(id) => self.leg.handle_delivered(id, now),
            Event::Ended(call) => {
                self.open.remove(&call);
                self.invited.remove(&call);
                self.leg.handle_ended(call, now);
            }
            Event::Incoming => {
                let call = self.leg.handle_incoming(now);
                self.open.insert(call, 0);
            }
            Event::Activity(call) => self.leg.handle_activity(call, now),
            Event::Gone => self.leg.handle_gone(now),
            Event::Moved => {
                // What is on its way over the old flow is lost.
                let ours = &self.ours;
                self.events.retain(|_, event| match event {
                    Event::Answered(call) | Event::Rejected(call, _) | Event::Bound(call) => !ours.contains(call),
                    _ => true,
                });
                self.leg.handle_moved(now);
            }
        }
    }

    fn connect(&mut self, call: Call) {
        match self.fails() {
            // MSRP may never come up.
            true if self.dice.roll(2) == 0 => {}
            true => self.after(5000, Event::Ended(call)),
            false => self.after(500, Event::Bound(call)),
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.leg.poll_action() {
            let name = format!("{}: {action:?}", self.name);
            match action {
                Invite { call, first, .. } => {
                    assert!(self.invited.values().all(|cancelled| *cancelled), "{name}: two invitations");
                    assert!(self.open.is_empty(), "{name}: beside a session");
                    assert!(first.is_none_or(|id| self.pending.contains(&id)), "{name}");
                    self.invited.insert(call, false);
                    self.ours.insert(call);
                    self.invite(call, first);
                }
                Accept { call } => self.connect(call),
                Send { call, id } => {
                    assert!(self.pending.contains(&id), "{name}");
                    let last = self.open.get_mut(&call).unwrap_or_else(|| panic!("{name}: no such session"));
                    if !self.receipts.contains(&id) {
                        assert!(*last < id, "{name}: behind {last}");
                        *last = id;
                        let paging = self.under_way.iter().any(|id| !self.receipts.contains(id));
                        assert!(!paging, "{name}: overtakes a MESSAGE");
                    }
                    self.send(call, id);
                }
                Page { id } => {
                    assert!(self.pending.contains(&id) && self.under_way.insert(id), "{name}");
                    if !self.receipts.contains(&id) {
                        let others = self.under_way.iter().filter(|id| !self.receipts.contains(id)).count();
                        assert!(self.last_page < id && others == 1, "{name}: behind {}", self.last_page);
                        self.last_page = id;
                    }
                    let status = if self.fails() { self.dice.of(&[408, 415, 430, 480, 486, 503]) } else { 200 };
                    self.after(3000, Event::Paged(id, status));
                }
                Cancel { call } => {
                    let cancelled = self.invited.get_mut(&call).unwrap_or_else(|| panic!("{name}: not invited"));
                    assert!(!std::mem::replace(cancelled, true), "{name}: twice");
                    // The answer may be on its way, or lost.
                    match self.dice.roll(4) {
                        0 if self.fails() => {}
                        1 => self.after(3000, Event::Answered(call)),
                        _ => self.after(3000, Event::Rejected(call, 487)),
                    }
                }
                Bye { call } => {
                    assert!(self.open.remove(&call).is_some(), "{name}: no such session");
                    if !self.fails() {
                        self.after(1000, Event::Ended(call));
                    }
                }
                Confirmed { id } | Return { id, .. } => {
                    if matches!(action, Return { .. }) {
                        self.returned.insert(id);
                    }
                    self.under_way.remove(&id);
                    assert!(self.pending.remove(&id) && self.ended.insert(id), "{name}: twice");
                }
            }
        }
    }

    fn invite(&mut self, call: Call, first: Option<u64>) {
        if self.fails() {
            match self.dice.roll(3) {
                // It rings for ever.
                0 => {}
                _ => {
                    let status = self.dice.of(&[404, 408, 430, 480, 486, 488, 500, 603, 606]);
                    self.after(20_000, Event::Rejected(call, status));
                }
            }
        } else {
            self.after(4000, Event::Answered(call));
            if self.dice.roll(4) == 0 {
                self.after(4000, Event::Bound(call));
            }
        }
        if let Some(id) = first.filter(|_| self.dice.roll(3) == 0) {
            self.after(8000, Event::Delivered(id));
        }
    }

    fn send(&mut self, call: Call, id: u64) {
        if self.fails() {
            match self.dice.roll(5) {
                0 => self.after(30_000, Event::Lost(call, id)),
                1 => {
                    let code = self.dice.of(&[403, 408, 413, 415, 481]);
                    self.after(1000, Event::Refused(call, id, code));
                }
                2 => self.after(1000, Event::Ended(call)),
                3 => self.after(1000, Event::Delivered(id)),
                // Nothing is ever heard of it.
                _ => {}
            }
        } else {
            self.after(1000, Event::Confirmed(id));
            if self.dice.roll(3) == 0 {
                self.after(1000, Event::Delivered(id));
                self.after(1000, Event::Activity(call));
            }
        }
    }
}

const DEVICES: [Capabilities; 5] = [
    PAGER,
    SIMPLE,
    CPM,
    Capabilities { standalone: true, large: true, ..PAGER },
    Capabilities { deferred: true, ..CPM },
];

#[test]
fn whatever_happens_each_entry_ends_once() {
    for (at, device) in DEVICES.into_iter().enumerate() {
        for trouble in [0, 10, 40, 80] {
            for seed in 0..300 {
                let mut world =
                    World::new(device, seed, trouble, format!("device {at}, trouble {trouble}, seed {seed}"));
                world.fill(30);
                world.run(None);
                assert_eq!(world.ended.len(), 30, "{}", world.name);
            }
        }
    }
}

#[test]
fn a_cut_at_any_step_loses_nothing() {
    for (at, device) in DEVICES.into_iter().enumerate() {
        let steps = {
            let mut world = World::new(device, 7, 0, String::new());
            world.fill(12);
            world.run(None)
        };
        for cut in [Cut::End, Cut::Gone, Cut::Close, Cut::Incoming, Cut::Moved] {
            for step in 0..steps {
                let mut world = World::new(device, 7, 0, format!("device {at}, {cut:?} at step {step}"));
                world.fill(12);
                world.run(Some((step, cut)));
                assert_eq!(world.ended.len(), 12, "{}", world.name);
            }
        }
    }
}

/// Whatever was lost on the old flow, the messages go over the new one: none has to be asked for again.
#[test]
fn a_device_that_moves_at_any_step_gets_everything() {
    for (at, device) in DEVICES.into_iter().enumerate() {
        for seed in 1..=60 {
            for step in 0..80 {
                let mut world = World::new(device, seed, 0, format!("device {at}, seed {seed}, moved at step {step}"));
                world.fill(12);
                world.run(Some((step, Cut::Moved)));
                assert!(world.returned.is_empty(), "{}: {:?}", world.name, world.returned);
            }
        }
    }
}
