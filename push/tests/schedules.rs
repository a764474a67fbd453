//! Five sleeping devices of one user, and schedules that chance makes of everything that can happen at one time: calls and
//! messages come, devices register and fall asleep again, services take pushes, refuse them or say nothing, callers give up, time
//! passes. Each step is what a server does under one lock; between two of them anything else may come.
//!
//! Each call rings at each device at most once, and at each that is awake while it waits; what waits for a device that
//! sleeps is being pushed for, until the service says that it is in vain.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use chappe_push::{Asleep, Class, Desk, Due, Key, Outcome};
use chappe_sip::proxy::{Action, Actions, Candidate, ForkPolicy, ResponseContext};
use chappe_sip::{Limits, Message, Method};

const DEVICES: usize = 5;
const USER: &str = "bob@example.com";
/// How long a call waits.
const WAIT: Duration = Duration::from_secs(20);

/// A generator of numbers, so that a schedule can be told by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % sides as u64) as usize
    }
}

fn name(device: usize) -> Box<str> {
    device.to_string().into()
}

fn key(device: usize) -> Key {
    (USER.into(), name(device))
}

/// A call as the proxy holds it. While it begins its shard is locked.
struct Call {
    context: ResponseContext,
    asleep: Asleep,
    /// The devices that it rang at, by branch.
    ways: Vec<usize>,
    rung: Vec<usize>,
    locked: bool,
    /// Somebody has taken it, or its caller has given up: it rings nowhere any more.
    over: bool,
    /// Devices of which a service has said that they cannot be woken, or whose pushes are used up.
    lost: BTreeSet<usize>,
}

/// What is still to be done by a thread that is somewhere in the middle.
#[derive(Debug, Clone)]
enum Step {
    /// The call was decided on with this look at the bindings.
    Park {
        call: usize,
        asleep: Vec<usize>,
    },
    LookAgain {
        asleep: Vec<usize>,
    },
    Begin {
        call: usize,
    },
    /// A REGISTER has changed the bindings; they are looked at under the lock of the desk.
    Registered,
    Woken {
        call: usize,
        awake: Vec<Box<str>>,
    },
    Lost {
        call: usize,
        device: usize,
    },
    /// A message is stored and counted, or a connection has ended.
    Hint,
    Want {
        asleep: Vec<usize>,
    },
}

struct World {
    seed: u64,
    dice: Dice,
    now: Instant,
    awake: [bool; DEVICES],
    desk: Desk<usize>,
    calls: Vec<Call>,
    /// Threads; each does its steps in turn.
    threads: Vec<VecDeque<Step>>,
    flying: Vec<Due>,
    /// Messages that wait for each device, and those it got, by number.
    waiting: [Vec<usize>; DEVICES],
    got: [Vec<usize>; DEVICES],
    messages: usize,
    /// Nobody can wake it: its service has said so since the last message came.
    in_vain: [bool; DEVICES],
    rings: usize,
    pushes: usize,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            seed,
            dice: Dice(seed),
            now: Instant::now(),
            awake: [false; DEVICES],
            desk: Desk::default(),
            calls: Vec::new(),
            threads: Vec::new(),
            flying: Vec::new(),
            waiting: Default::default(),
            got: Default::default(),
            messages: 0,
            in_vain: [false; DEVICES],
            rings: 0,
            pushes: 0,
        }
    }

    fn want(&mut self, device: usize, class: Class) {
        self.desk.want(&key(device), class, self.now);
    }

    fn spawn(&mut self, step: Step) {
        self.threads.push(VecDeque::from([step]));
    }

    fn awake(&self) -> Vec<usize> {
        (0..DEVICES).filter(|device| self.awake[*device]).collect()
    }

    fn asleep(&self) -> Vec<usize> {
        (0..DEVICES).filter(|device| !self.awake[*device]).collect()
    }

    /// An INVITE: one look tells who is awake and who sleeps.
    fn invite(&mut self) {
        let (ways, asleep) = (self.awake(), self.asleep());
        let candidates: Vec<Candidate> =
            (0..ways.len() as u16).map(|instance| Candidate { group: 0, instance }).collect();
        let context = ResponseContext::new(Method::Invite, &candidates, ForkPolicy::default());
        let (asleep_now, call) = (Asleep::default(), self.calls.len());
        let (rung, lost) = (Vec::new(), BTreeSet::new());
        self.calls.push(Call { context, asleep: asleep_now, ways, rung, locked: true, over: false, lost });
        self.spawn(Step::Park { call, asleep });
    }

    /// Does one step of a thread that is not kept waiting by a lock. False where there is none.
    fn step(&mut self) -> bool {
        let free = |step: &Step| match step {
            Step::Woken { call, .. } | Step::Lost { call, .. } => !self.calls[*call].locked,
            _ => true,
        };
        let ready: Vec<usize> =
            (0..self.threads.len()).filter(|n| self.threads[*n].front().is_some_and(free)).collect();
        if ready.is_empty() {
            return false;
        }
        let thread = ready[self.dice.roll(ready.len())];
        let step = self.threads[thread].pop_front().unwrap();
        let next = self.act(step);
        let thread = &mut self.threads[thread];
        next.into_iter().rev().for_each(|step| thread.push_front(step));
        self.threads.retain(|thread| !thread.is_empty());
        true
    }

    fn act(&mut self, step: Step) -> Vec<Step> {
        let now = self.now;
        match step {
            Step::Park { call, asleep } => {
                let mut next = vec![Step::Begin { call }];
                if !asleep.is_empty() && self.desk.park(USER, call, now + WAIT, now) {
                    asleep.iter().for_each(|device| self.want(*device, Class::Call));
                    self.calls[call].asleep = Asleep::new(asleep.iter().map(|device| name(*device)));
                    self.calls[call].context.hold(now + WAIT, asleep.len() as u32);
                    next.insert(0, Step::LookAgain { asleep });
                }
                next
            }
            Step::LookAgain { asleep } => {
                if asleep.iter().any(|device| self.awake[*device]) {
                    self.spawn(Step::Registered);
                }
                Vec::new()
            }
            Step::Begin { call } => {
                let actions = self.calls[call].context.start(now);
                self.carry_out(call, actions);
                self.calls[call].locked = false;
                Vec::new()
            }
            Step::Registered => {
                let awake: Vec<Box<str>> = self.awake().into_iter().map(name).collect();
                let (_, calls) = self.desk.registered(USER, &awake);
                self.deliver();
                calls.into_iter().map(|call| Step::Woken { call, awake: awake.clone() }).collect()
            }
            Step::Woken { call, awake } => self.woken(call, &awake),
            Step::Lost { call, device } => {
                let it = &mut self.calls[call];
                it.asleep.lost(&name(device));
                it.lost.insert(device);
                self.settle(call);
                Vec::new()
            }
            Step::Hint => vec![Step::Want { asleep: self.asleep() }],
            Step::Want { asleep } => {
                let asleep: Vec<usize> =
                    asleep.into_iter().filter(|device| !self.waiting[*device].is_empty()).collect();
                asleep.iter().for_each(|device| self.want(*device, Class::Message));
                vec![Step::LookAgain { asleep }]
            }
        }
    }

    fn woken(&mut self, call: usize, awake: &[Box<str>]) -> Vec<Step> {
        let here = self.awake;
        let it = &mut self.calls[call];
        let at = |device: &str| device.parse::<usize>().unwrap();
        let came = it.asleep.came(awake, |device| here[at(device)].then(|| at(device)));
        let first = it.ways.len() as u16;
        let candidates: Vec<Candidate> =
            (0..came.ways.len() as u16).map(|n| Candidate { group: 0, instance: first + n }).collect();
        if !candidates.is_empty()
            && let Some((_, actions)) = it.context.add(&candidates, self.now)
        {
            it.ways.extend(came.ways);
            self.carry_out(call, actions);
        }
        let again: Vec<usize> = came.again.iter().map(|device| at(device)).collect();
        self.settle(call);
        if again.is_empty() || self.calls[call].context.is_answered() {
            return Vec::new();
        }
        again.iter().for_each(|device| self.want(*device, Class::Call));
        vec![Step::LookAgain { asleep: again }]
    }

    /// Ends the wait where nobody is waited for any more.
    fn settle(&mut self, call: usize) {
        let it = &mut self.calls[call];
        if it.asleep.is_empty() {
            let actions = it.context.release(self.now);
            self.carry_out(call, actions);
        }
        if self.calls[call].asleep.is_empty() || self.calls[call].context.is_done() {
            self.desk.unpark(USER, call);
        }
    }

    fn carry_out(&mut self, call: usize, actions: Actions) {
        let it = &mut self.calls[call];
        for action in actions {
            if let Action::Start { branch, .. } = action {
                it.rung.push(it.ways[branch]);
                self.rings += 1;
            }
        }
    }

    /// The drain: what waits for devices that are awake is given to them.
    fn deliver(&mut self) {
        for device in self.awake() {
            let waiting = std::mem::take(&mut self.waiting[device]);
            self.got[device].extend(waiting);
        }
    }

    fn push(&mut self) {
        let before: Vec<usize> = (0..DEVICES).filter(|device| self.desk.is_waking(&key(*device))).collect();
        for due in self.desk.poll(self.now, 100) {
            let device: usize = due.key.1.parse().unwrap();
            self.pushes += 1;
            self.in_vain[device] = false;
            self.flying.push(due);
        }
        for device in before {
            if !self.desk.is_waking(&key(device)) {
                self.give_up(device);
            }
        }
    }

    fn give_up(&mut self, device: usize) {
        self.in_vain[device] = true;
        self.calls.iter_mut().for_each(|call| call.lost.extend([device]));
    }

    fn answer(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let due = self.flying.swap_remove(self.dice.roll(self.flying.len()));
        let device: usize = due.key.1.parse().unwrap();
        let why = String::new();
        let outcome = match self.dice.roll(8) {
            0 => Outcome::Retry { after: None, why },
            1 => Outcome::Refused(why),
            _ => Outcome::Accepted,
        };
        let was_waking = self.desk.is_waking(&due.key);
        let calls = self.desk.answered(&due, &outcome, self.now);
        if was_waking && !self.desk.is_waking(&due.key) {
            self.in_vain[device] = true;
        }
        let steps: VecDeque<Step> = calls.into_iter().map(|call| Step::Lost { call, device }).collect();
        if !steps.is_empty() {
            self.threads.push(steps);
        } else if was_waking && !self.desk.is_waking(&due.key) {
            self.give_up(device);
        }
        if outcome == Outcome::Accepted && self.dice.roll(2) == 0 {
            self.register(device);
        }
    }

    fn register(&mut self, device: usize) {
        self.awake[device] = true;
        self.spawn(Step::Registered);
    }

    /// A message is stored for those who sleep; the others get it at once.
    fn message(&mut self) {
        self.messages += 1;
        for device in 0..DEVICES {
            self.waiting[device].push(self.messages);
            self.in_vain[device] = false;
        }
        self.deliver();
        self.spawn(Step::Hint);
    }

    /// A device answers, a caller gives up, or the time of a call is over.
    fn call_event(&mut self) {
        let free: Vec<usize> = (0..self.calls.len()).filter(|call| !self.calls[*call].locked).collect();
        if free.is_empty() {
            return;
        }
        let call = free[self.dice.roll(free.len())];
        let (now, branches) = (self.now, self.calls[call].ways.len());
        let Call { context, over, .. } = &mut self.calls[call];
        let what = self.dice.roll(12);
        let actions = match what {
            0 => context.handle_cancel(now),
            1..=3 => context.handle_timeout(now),
            _ if branches > 0 => {
                let code = if what == 4 { "200 OK" } else { "486 Busy Here" };
                context.handle_response(self.dice.roll(branches), &response(code), now)
            }
            _ => return,
        };
        *over |= what == 0 || actions.contains(&Action::Forward);
        self.carry_out(call, actions);
        self.settle(call);
    }

    fn event(&mut self) {
        match self.dice.roll(12) {
            0 if self.calls.len() < 6 => self.invite(),
            1 => self.message(),
            2 => {
                let device = self.dice.roll(DEVICES);
                self.register(device);
            }
            3 | 4 => {
                let device = self.dice.roll(DEVICES);
                self.awake[device] = false;
                // Whatever waits for it may have been on its way to it.
                self.spawn(Step::Hint);
            }
            5 => self.now += Duration::from_millis(self.dice.roll(4000) as u64),
            6 => self.call_event(),
            7 | 8 => self.push(),
            9 => self.answer(),
            _ => drop(self.step()),
        }
    }

    /// All threads come to their end; nothing else happens meanwhile.
    fn quiet(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                break;
            }
        }
        assert!(self.threads.is_empty(), "seed {}: a thread that never ends", self.seed);
    }

    fn check(&self) {
        let seed = self.seed;
        for (number, call) in self.calls.iter().enumerate() {
            let distinct: BTreeSet<usize> = call.rung.iter().copied().collect();
            assert_eq!(distinct.len(), call.rung.len(), "seed {seed}: call {number} rang twice: {:?}", call.rung);
            if call.over || call.context.is_answered() {
                continue;
            }
            for device in 0..DEVICES {
                let waits = call.asleep.contains(&name(device));
                let is_rung = call.rung.contains(&device);
                assert!(!(waits && is_rung), "seed {seed}: {device} rings and is waited for");
                assert!(
                    !self.awake[device] || is_rung || !waits,
                    "seed {seed}: {device} is awake and call {number} does not ring"
                );
                assert!(
                    is_rung || waits || call.lost.contains(&device),
                    "seed {seed}: call {number} has forgotten {device}: {:?}",
                    call.context
                );
                let is_woken = self.desk.is_waking(&key(device)) || call.lost.contains(&device);
                assert!(!waits || self.awake[device] || is_woken, "seed {seed}: nobody wakes {device} for {number}");
            }
        }
        for device in 0..DEVICES {
            let mut got = self.got[device].clone();
            got.dedup();
            assert_eq!(got, self.got[device], "seed {seed}: {device} got a message twice");
            assert!(got.is_sorted(), "seed {seed}: {device} got them out of order");
            assert_eq!(got.len() + self.waiting[device].len(), self.messages, "seed {seed}: {device} misses one");
            let waits = !self.waiting[device].is_empty();
            if self.awake[device] {
                assert!(!waits, "seed {seed}: {device} is awake and a message waits");
                assert!(!self.desk.is_waking(&key(device)), "seed {seed}: {device} is awake and is pushed to");
            } else if waits {
                let is_woken = self.desk.is_waking(&key(device)) || self.in_vain[device];
                assert!(is_woken, "seed {seed}: a message waits and nobody wakes {device}");
            }
        }
    }
}

fn response(status: &str) -> Message {
    let text = format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK2\r\n\
         From: <sip:a@example.com>;tag=1\r\nTo: <sip:{USER}>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
         Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.into_bytes().into(), &Limits::default()).unwrap()
}

#[test]
fn a_thousand_schedules_of_five_devices() {
    let (mut rings, mut pushes, mut messages) = (0, 0, 0);
    for seed in 0..1000 {
        let mut world = World::new(seed);
        for round in 0..20 {
            (0..30).for_each(|_| world.event());
            // The middle of things is where the next round goes on, but for one in three, which looks whether all is well.
            if round % 3 == 2 {
                world.quiet();
                world.check();
            }
        }
        world.quiet();
        world.check();
        rings += world.rings;
        pushes += world.pushes;
        messages += world.messages;
    }
    assert!(rings > 5000 && pushes > 5000 && messages > 5000, "{rings} rings, {pushes} pushes, {messages} messages");
}
