//! Two shards over a link that loses, doubles, delays and reorders: what is asked is done once, every transaction
//! ends, and both sides agree on the outcome.

#![expect(clippy::unwrap_used, reason = "a failure shows as a panic")]

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_sip::layer::{ClientKey, Config, Dest, Event, Input, Layer, ServerKey};
use chappe_sip::{Flow, Limits, Message, Method, Reply, Transport};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
}

/// How bad the link is, in percent, and the longest delay in milliseconds.
#[derive(Clone, Copy)]
struct Link {
    transport: Transport,
    loss: u64,
    double: u64,
    delay: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Side {
    Client,
    Server,
}

enum Step {
    Arrive(Side, Bytes),
    /// The called side answers; `left`: how often a 2xx is repeated while no ACK comes.
    Answer {
        call: usize,
        status: u16,
        left: u32,
    },
    Cancel {
        call: usize,
    },
}

/// What the two users know of one request.
#[derive(Default)]
struct Call {
    invite: bool,
    client: Option<ClientKey>,
    server: Option<ServerKey>,
    request: Option<Message>,
    /// Times that the called user was told of the request.
    received: u32,
    answered: Option<u16>,
    acknowledged: bool,
    cancelled: bool,
    /// The final outcome as the caller knows it; 408 for a timeout.
    outcome: Option<u16>,
}

struct World {
    rng: Rng,
    link: Link,
    now: Instant,
    sequence: u64,
    agenda: BTreeMap<(Instant, u64), Step>,
    sides: [Layer; 2],
    calls: Vec<Call>,
    by_branch: HashMap<Vec<u8>, usize>,
    seed: u64,
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
fn epoch() -> Instant {
    Instant::now()
}

impl World {
    fn new(seed: u64, link: Link) -> World {
        let now = epoch();
        let layer = || Layer::new(now, Config::default(), [seed, 2, 3, 4]);
        World {
            rng: Rng(seed),
            link,
            now,
            sequence: 0,
            agenda: BTreeMap::new(),
            sides: [layer(), layer()],
            calls: Vec::new(),
            by_branch: HashMap::new(),
            seed,
        }
    }

    fn flow(&self) -> Flow {
        let connection = u64::from(self.link.transport.is_reliable());
        let remote = "192.0.2.1:5060".parse().unwrap();
        Flow { transport: self.link.transport, listener: 0, connection, remote }
    }

    fn later(&mut self, delay: u64, step: Step) {
        self.sequence += 1;
        self.agenda.insert((self.now + ms(delay), self.sequence), step);
    }

    fn send(&mut self, to: Side, bytes: Bytes) {
        let Link { loss, double, delay, .. } = self.link;
        if self.rng.percent(loss) {
            return;
        }
        for _ in 0..if self.rng.percent(double) { 2 } else { 1 } {
            // A reliable link keeps the order: always the same delay.
            let delay = if self.link.transport.is_reliable() { delay } else { self.rng.below(delay + 1) };
            self.later(delay, Step::Arrive(to, bytes.clone()));
        }
    }

    fn start(&mut self, method: &str) {
        let call = self.calls.len();
        let branch = format!("z9hG4bK{call}");
        let bytes = Bytes::from(format!(
            "{method} sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/{} a.example;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\
             Content-Length: 0\r\n\r\n",
            self.link.transport
        ));
        let (dest, now) = (Dest::Flow(self.flow()), self.now);
        let client =
            self.sides[0].request(now, dest, bytes, branch.as_bytes(), method.as_bytes(), call as u64).unwrap();
        self.calls.push(Call { invite: method == "INVITE", client: Some(client), ..Call::default() });
        self.by_branch.insert(branch.into_bytes(), call);
        if method == "INVITE" && self.rng.percent(25) {
            let delay = self.rng.below(3_000);
            self.later(delay, Step::Cancel { call });
        }
    }

    fn run(&mut self) {
        loop {
            self.drain();
            let timers = self.sides.iter().filter_map(Layer::poll_timeout).min();
            let Some(at) = timers.into_iter().chain(self.agenda.keys().next().map(|k| k.0)).min() else { return };
            self.now = self.now.max(at);
            let now = self.now;
            self.sides.iter_mut().for_each(|side| side.handle_timeout(now));
            while let Some(entry) = self.agenda.first_entry().filter(|e| e.key().0 <= now) {
                match entry.remove() {
                    Step::Arrive(Side::Server, bytes) => self.at_server(bytes),
                    Step::Arrive(Side::Client, bytes) => self.at_client(bytes),
                    Step::Answer { call, status, left } => self.answer(call, status, left),
                    Step::Cancel { call } => {
                        let key = self.calls[call].client.expect("the call has begun");
                        self.calls[call].cancelled |= self.sides[0].cancel(now, key, None);
                    }
                }
            }
        }
    }

    fn drain(&mut self) {
        while let Some(packet) = self.sides[0].poll_transmit() {
            self.send(Side::Server, packet.bytes);
        }
        while let Some(packet) = self.sides[1].poll_transmit() {
            self.send(Side::Client, packet.bytes);
        }
        while let Some(event) = self.sides[0].poll_event() {
            match event {
                Event::ClientTimeout { user, .. } => self.settle(user as usize, 408),
                Event::ClientEnded { user, .. } => {
                    assert!(self.calls[user as usize].outcome.is_some(), "seed {}", self.seed);
                }
                other => panic!("seed {}: {other:?}", self.seed),
            }
        }
        while let Some(event) = self.sides[1].poll_event() {
            assert!(
                matches!(event, Event::ServerTimeout { .. } | Event::ServerEnded { .. }),
                "seed {}: {event:?}",
                self.seed
            );
        }
    }

    fn settle(&mut self, call: usize, status: u16) {
        let Call { outcome, invite, .. } = &mut self.calls[call];
        // A 2xx to an INVITE comes as often as it likes; all else once.
        let again = outcome.is_some() && !(*invite && status == 200 && *outcome == Some(200));
        assert!(!again, "seed {}: call {call}: {status} after {outcome:?}", self.seed);
        *outcome = Some(status);
    }

    fn at_server(&mut self, bytes: Bytes) {
        let (now, flow) = (self.now, self.flow());
        let message = Message::parse(bytes, &Limits::default()).unwrap();
        let call = self.by_branch.get(message.branch()).copied();
        match self.sides[1].handle_message(now, flow, &message) {
            Input::NewRequest(key) => {
                let call = call.expect("the branch is one of ours");
                let invite = message.method() == Method::Invite;
                self.calls[call].received += 1;
                self.calls[call].server = Some(key);
                self.calls[call].request = Some(message);
                let late = self.rng.below(if invite { 8_000 } else { 6_000 });
                if invite {
                    let early = self.rng.below(late + 1);
                    self.later(early, Step::Answer { call, status: 180, left: 0 });
                }
                let status = if self.rng.percent(60) { 200 } else { 486 };
                self.later(late, Step::Answer { call, status, left: 10 });
            }
            Input::Cancel { cancel, invite } => {
                let status = if invite.is_some() { 200 } else { 481 };
                self.sides[1].respond(now, cancel, status, Reply::new(&message, status, "b").finish()).unwrap();
                if let Some(call) = call.filter(|_| invite.is_some_and(|invite| self.sides[1].is_open(invite))) {
                    self.answer(call, 487, 0);
                }
            }
            Input::Ack(_) => {
                let call: usize = std::str::from_utf8(message.call_id()).unwrap().parse().unwrap();
                self.calls[call].acknowledged = true;
            }
            Input::Absorbed => {}
            other => panic!("seed {}: {other:?}", self.seed),
        }
    }

    fn answer(&mut self, call: usize, status: u16, left: u32) {
        let now = self.now;
        let Call { server: Some(key), request: Some(request), answered, acknowledged, invite, .. } = &self.calls[call]
        else {
            panic!("seed {}: answered before it was received", self.seed)
        };
        let (key, repeated) = (*key, *answered == Some(200) && status == 200 && *invite);
        if (answered.is_some() && !repeated) || (repeated && *acknowledged) {
            return;
        }
        let bytes = Reply::new(request, status, "b").finish();
        let sent = self.sides[1].respond(now, key, status, bytes);
        assert!(sent.is_ok() || repeated, "seed {}: call {call}: {status}: {sent:?}", self.seed);
        if status >= 200 {
            self.calls[call].answered = Some(status);
        }
        if status == 200 && self.calls[call].invite && left > 0 {
            self.later((500 << (10 - left)).min(4_000), Step::Answer { call, status, left: left - 1 });
        }
    }

    fn at_client(&mut self, bytes: Bytes) {
        let (now, flow) = (self.now, self.flow());
        let message = Message::parse(bytes, &Limits::default()).unwrap();
        if let Input::Response { user, .. } = self.sides[0].handle_message(now, flow, &message) {
            let (call, status) = (user as usize, message.status());
            if status >= 200 {
                self.settle(call, status);
                if status == 200 && self.calls[call].invite {
                    let ack = format!(
                        "ACK sip:bob@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bKack{call}\r\n\
                         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>;tag=b\r\nCall-ID: {call}\r\n\
                         CSeq: 1 ACK\r\n\r\n"
                    );
                    self.send(Side::Server, ack.into());
                }
            }
        }
    }

    /// What must hold when nothing more will happen; how many calls had an answer.
    fn check(&self) -> usize {
        let seed = self.seed;
        for (side, layer) in self.sides.iter().enumerate() {
            assert!(layer.is_empty(), "seed {seed}: side {side} still has {:?}", layer.counts());
            assert_eq!(layer.poll_timeout(), None, "seed {seed}");
        }
        for (i, call) in self.calls.iter().enumerate() {
            assert!(call.received <= 1, "seed {seed}: request {i} was taken {} times", call.received);
            let outcome = call.outcome.unwrap_or_else(|| panic!("seed {seed}: request {i} has no outcome"));
            if outcome != 408 {
                assert_eq!(call.answered, Some(outcome), "seed {seed}: request {i}");
                assert!(outcome != 487 || call.cancelled, "seed {seed}: request {i}");
            }
        }
        self.calls.iter().filter(|call| call.outcome != Some(408)).count()
    }
}

#[test]
fn over_a_bad_link_all_is_done_once_and_ends() {
    for seed in 0..48 {
        let link = Link { transport: Transport::Udp, loss: seed % 4 * 10, double: seed % 3 * 15, delay: 400 };
        let mut world = World::new(seed, link);
        for i in 0..60 {
            world.start(["MESSAGE", "INVITE"][i % 2]);
        }
        world.run();
        let answered = world.check();
        let expected = if link.loss == 0 { 60 } else { 54 };
        assert!(answered >= expected, "seed {seed}: only {answered} answered");
    }
}

#[test]
fn over_a_reliable_link_nothing_is_repeated() {
    for seed in 0..8 {
        let mut world = World::new(seed, Link { transport: Transport::Tcp, loss: 0, double: 0, delay: 30 });
        for i in 0..60 {
            world.start(["MESSAGE", "INVITE"][i % 2]);
        }
        world.run();
        assert_eq!(world.check(), 60, "seed {seed}");
        for side in &world.sides {
            assert_eq!(side.counts().retransmissions, 0, "seed {seed}");
        }
    }
}

#[test]
fn with_no_peer_every_client_times_out() {
    let mut world = World::new(1, Link { transport: Transport::Udp, loss: 100, double: 0, delay: 0 });
    for i in 0..20 {
        world.start(["MESSAGE", "INVITE"][i % 2]);
    }
    let began = world.now;
    world.run();
    assert_eq!(world.check(), 0);
    assert_eq!(world.now - began, ms(32_000));
}
