//! Two endpoints over a link that delivers in pieces, falls silent and breaks, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_msrp::endpoint::{Fate, Inbox, InboxLimits, NewSent, Outbox, OutboxError, Part, Reception, Sent};
use chappe_msrp::{
    ByteRange, ChunkHead, Event, FailureReport, Flag, Head, Limits, Method, NewChunk, Note, Outcome, Outgoing,
    OutgoingConfig, Output, Parser, ReassemblyLimits, ReceivedReport, Reply, Start, Status, StreamKey, TransactionIds,
    Transactions, write,
};

const A: &str = "msrp://a:1/a;tcp";
const B: &str = "msrp://b:1/b;tcp";
const LIMITS: InboxLimits = InboxLimits {
    whole: ReassemblyLimits {
        message: 40_000,
        held: 4 << 20,
        messages: 64,
        parts: 16,
        timeout: Duration::from_secs(60),
    },
    stream: 60_000,
};

#[expect(clippy::disallowed_methods, reason = "there is no other way to come by one")]
fn epoch() -> Instant {
    Instant::now()
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }
}

/// One message, and what was heard of it.
struct Message {
    body: Vec<u8>,
    failure: FailureReport,
    success: bool,
    heard: Vec<Sent>,
}

/// An answer that is not given yet.
struct Due {
    reply: Reply,
    failure: FailureReport,
    code: u16,
    report: Option<(String, u64)>,
}

struct World {
    seed: u64,
    dice: Dice,
    now: Instant,
    // The sender.
    outbox: Outbox,
    outgoing: Outgoing,
    ids: TransactionIds,
    open: Transactions<u64>,
    a_parser: Parser,
    messages: Vec<Message>,
    // The receiver.
    b_parser: Parser,
    inbox: Inbox,
    reading: Option<Head>,
    unwanted: bool,
    due: Vec<Due>,
    streams: BTreeMap<String, Vec<u8>>,
    /// Bodies that were answered with 200, by Message-ID.
    taken: BTreeMap<String, Vec<u8>>,
    /// How often nothing is answered, or something is refused: one in so many; 0: never.
    silence: u64,
    refusal: u64,
    // The link.
    to_b: VecDeque<u8>,
    to_a: VecDeque<u8>,
}

impl World {
    fn new(seed: u64, silence: u64, refusal: u64) -> World {
        World {
            seed,
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: epoch(),
            outbox: Outbox::new(100),
            outgoing: Outgoing::new(OutgoingConfig { max_chunk: Some(3000), ..OutgoingConfig::default() }),
            ids: TransactionIds::new([seed, 7]),
            open: Transactions::new(1000),
            a_parser: Parser::new(Limits::default()),
            messages: Vec::new(),
            b_parser: Parser::new(Limits::default()),
            inbox: Inbox::new(LIMITS),
            reading: None,
            unwanted: false,
            due: Vec::new(),
            streams: BTreeMap::new(),
            taken: BTreeMap::new(),
            silence,
            refusal,
            to_b: VecDeque::new(),
            to_a: VecDeque::new(),
        }
    }

    fn one_in(&mut self, many: u64) -> bool {
        many > 0 && self.dice.roll(many) == 0
    }

    fn send(&mut self) {
        let number = self.messages.len() as u64;
        let size = [0, 1, 500, 2048, 2049, 20_000, 39_999][self.dice.roll(7) as usize];
        let body: Vec<u8> = (0..size).map(|at| (at * 31 + number) as u8).collect();
        let failure = [FailureReport::Yes, FailureReport::Yes, FailureReport::Partial, FailureReport::No]
            [self.dice.roll(4) as usize];
        let success = self.dice.roll(3) == 0;
        let id = format!("mess{number:04}");
        let new =
            NewSent { number, key: number + 1000, message_id: &id, success_report: success, failure_report: failure };
        self.outbox.begin(&new).unwrap();
        self.outgoing.begin(
            StreamKey(number),
            ChunkHead::new(&NewChunk {
                to: B,
                from: A,
                message_id: &id,
                success_report: success,
                failure_report: failure,
                start: 1,
                total: Some(size),
                headers: &[],
                content_type: Some("text/plain"),
            }),
        );
        self.outgoing.body(StreamKey(number), Bytes::from(body.clone()));
        self.outgoing.end(StreamKey(number), Flag::End);
        self.messages.push(Message { body, failure, success, heard: Vec::new() });
    }

    fn learn(&mut self, fate: Option<Fate>) {
        let Some(fate) = fate else { return };
        assert_eq!(fate.key, fate.number + 1000);
        if let Some(message_id) = &fate.interrupt {
            self.outgoing.stop(StreamKey(fate.number), message_id);
        }
        self.messages[fate.number as usize].heard.push(fate.sent);
    }

    fn write(&mut self) {
        let mut out = Output::default();
        self.outgoing.poll(&mut self.ids, 1 + self.dice.roll(6000) as usize, &mut out);
        self.to_b.extend(out.pieces.iter().flatten());
        for note in out.notes {
            let Note::ChunkSent { key, id, head, range, flag, answered } = note else { continue };
            let fate = self.outbox.written(key.0, range, flag);
            if head.failure_report() != FailureReport::No && !answered {
                assert!(self.open.begin(id, key.0, self.now).is_none());
            }
            self.learn(fate);
        }
    }

    /// The receiver reads.
    fn read_b(&mut self) {
        let count = (1 + self.dice.roll(5000) as usize).min(self.to_b.len());
        let bytes: Vec<u8> = self.to_b.drain(..count).collect();
        let mut input = &bytes[..];
        let mut parser = std::mem::replace(&mut self.b_parser, Parser::new(Limits::default()));
        while let Some(event) = parser.next(&mut input).unwrap() {
            match event {
                Event::Head(head) => self.begin(head),
                Event::Body(slice) => self.body(slice),
                Event::End(flag) => self.end(flag),
            }
        }
        self.b_parser = parser;
    }

    fn begin(&mut self, head: Head) {
        let id = head.message_id().unwrap().to_owned();
        let reception = if self.one_in(self.refusal) {
            Reception::Refuse(415)
        } else if id.ends_with(['1', '5', '9']) {
            Reception::Stream
        } else {
            Reception::Whole
        };
        if self.inbox.is_new(&head) && reception == Reception::Stream {
            self.streams.insert(id, Vec::new());
        }
        self.unwanted = false;
        match self.inbox.begin(&head, reception, self.now) {
            Ok(()) => {}
            Err(code) => self.refuse(&head, code),
        }
        self.reading = Some(head);
    }

    fn body(&mut self, slice: &[u8]) {
        let head = self.reading.clone().unwrap();
        if self.unwanted {
            return;
        }
        match self.inbox.body(&head, slice, self.now) {
            Ok(None) => {}
            Ok(Some(offset)) => {
                let stream = self.streams.get_mut(head.message_id().unwrap()).unwrap();
                assert_eq!(offset, stream.len() as u64, "seed {}", self.seed);
                stream.extend_from_slice(slice);
            }
            Err(code) => self.refuse(&head, code),
        }
    }

    fn end(&mut self, flag: Flag) {
        let head = self.reading.take().unwrap();
        if self.unwanted {
            return;
        }
        let id = head.message_id().unwrap().to_owned();
        let mut due = |code, report| {
            self.due.push(Due { reply: head.reply(), failure: head.failure_report(), code, report });
        };
        match self.inbox.end(&head, flag) {
            Err(code) => due(code, None),
            Ok(Part::Chunk | Part::Aborted { .. }) => due(200, None),
            Ok(Part::Whole(message)) => {
                let report = head.success_report().then(|| (id.clone(), message.data.len() as u64));
                due(200, report);
                assert!(self.taken.insert(id, message.data).is_none(), "twice, seed {}", self.seed);
            }
            Ok(Part::Streamed { total, .. }) => {
                let report = head.success_report().then(|| (id.clone(), total));
                due(200, report);
                let data = self.streams.remove(&id).unwrap();
                assert_eq!(data.len() as u64, total);
                assert!(self.taken.insert(id, data).is_none(), "twice, seed {}", self.seed);
            }
        }
    }

    fn refuse(&mut self, head: &Head, code: u16) {
        self.unwanted = true;
        self.due.push(Due { reply: head.reply(), failure: head.failure_report(), code, report: None });
    }

    /// Gives one of the answers that are due, in any order.
    fn answer(&mut self) {
        if self.due.is_empty() {
            return;
        }
        let at = self.dice.roll(self.due.len() as u64) as usize;
        let due = self.due.swap_remove(at);
        let silent = self.one_in(self.silence);
        let mut frame = Vec::new();
        let wanted = match due.failure {
            FailureReport::Yes => true,
            FailureReport::Partial => due.code != 200,
            FailureReport::No => false,
        };
        if wanted && !silent {
            due.reply.write(&mut frame, due.code, "");
        }
        if let Some((id, total)) = due.report {
            let range = ByteRange { start: 1, end: Some(total), total: Some(total) };
            let report = write::Report { to: A, from: B, message_id: &id, range: Some(range), code: 200, comment: "" };
            write::report(&mut frame, "rep0rt01", &report);
        }
        self.to_a.extend(frame);
    }

    /// The sender reads.
    fn read_a(&mut self) {
        let count = (1 + self.dice.roll(300) as usize).min(self.to_a.len());
        let bytes: Vec<u8> = self.to_a.drain(..count).collect();
        let mut input = &bytes[..];
        let mut parser = std::mem::replace(&mut self.a_parser, Parser::new(Limits::default()));
        while let Some(event) = parser.next(&mut input).unwrap() {
            let Event::Head(head) = event else { continue };
            let fate = match head.start() {
                Start::Request(Method::Report) => self.outbox.report(&ReceivedReport::of(&head).unwrap()),
                Start::Response { code } => {
                    let id = head.transaction_id();
                    // A chunk that has not ended can be refused, but not be confirmed.
                    let early = || self.outgoing.answered(id).filter(|_| code != 200).map(|(key, ..)| key.0);
                    let number = self.open.answered(id).or_else(early);
                    number.and_then(|number| self.outbox.outcome(number, Outcome::Response(code)))
                }
                other => panic!("{other:?}"),
            };
            self.learn(fate);
        }
        self.a_parser = parser;
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        while let Some((_, number)) = self.open.handle_timeout(self.now) {
            let fate = self.outbox.outcome(number, Outcome::Timeout);
            self.learn(fate);
        }
        self.inbox.handle_timeout(self.now);
        while let Some(head) = self.inbox.poll_ended() {
            self.streams.remove(head.message_id().unwrap());
        }
    }

    fn step(&mut self) {
        match self.dice.roll(9) {
            0 if self.messages.len() < 40 => self.send(),
            1 | 2 => self.write(),
            3..=5 => self.read_b(),
            6 | 7 => self.answer(),
            _ => self.read_a(),
        }
        if self.dice.roll(50) == 0 {
            self.pass(Duration::from_millis(100));
        }
        while let Some(head) = self.inbox.poll_ended() {
            self.streams.remove(head.message_id().unwrap());
        }
    }

    fn quiet(&self) -> bool {
        self.outgoing.is_idle() && self.to_a.is_empty() && self.to_b.is_empty() && self.due.is_empty()
    }

    /// The connection is gone.
    fn cut(&mut self) {
        for (number, key) in self.outbox.drain() {
            assert_eq!(key, number + 1000);
            self.messages[number as usize].heard.push(Sent::Lost);
        }
        assert!(self.outbox.is_empty());
        self.inbox.close();
        assert_eq!((self.inbox.held(), self.inbox.poll_timeout()), (0, None));
    }

    fn check(&self, calm: bool) {
        use Sent::{Confirmed, Lost, Refused, Reported, Written};
        let mut heard_of = 0;
        for (number, message) in self.messages.iter().enumerate() {
            let what = format!("seed {}, message {number}: {:?} {:?}", self.seed, message.failure, message.heard);
            let arrived = self.taken.get(&format!("mess{number:04}"));
            if let Some(data) = arrived {
                assert!(*data == message.body, "{what}");
            }
            match message.heard[..] {
                [Confirmed] | [Lost] => {
                    assert!(message.failure != FailureReport::No || message.heard[0] == Lost, "{what}")
                }
                [Written] | [Written, Reported] => assert_eq!(message.failure, FailureReport::No, "{what}"),
                [Reported] | [Confirmed, Reported] => assert!(message.success, "{what}"),
                [Refused(415 | 413)] => assert_ne!(message.failure, FailureReport::No, "{what}"),
                _ => panic!("{what}"),
            }
            let claims = message.heard.iter().any(|heard| matches!(heard, Confirmed | Reported));
            assert!(!claims || arrived.is_some() || message.failure == FailureReport::Partial, "{what}");
            if calm {
                assert!(arrived.is_some() && !message.heard.contains(&Lost), "{what}");
                assert_eq!(message.success, message.heard.contains(&Reported), "{what}");
            }
            heard_of += message.heard.len();
        }
        assert!(heard_of >= self.messages.len());
    }
}

#[test]
fn every_message_has_one_fate_that_is_true() {
    for seed in 1..200 {
        let (silence, refusal) = [(0, 0), (5, 0), (0, 4), (6, 6)][seed as usize % 4];
        let mut world = World::new(seed, silence, refusal);
        let cut = (seed % 3 == 0).then(|| 100 + world.dice.roll(2000));
        let mut steps = 0;
        while Some(steps) != cut && (steps < 3000 || !world.quiet()) {
            world.step();
            steps += 1;
            assert!(steps < 200_000, "seed {seed} does not come to an end");
        }
        if cut.is_none() {
            // Whoever has not answered by now does not.
            world.pass(Duration::from_secs(31));
            assert_eq!(world.open.len(), 0);
            if silence + refusal == 0 {
                world.check(true);
                assert!(world.outbox.is_empty() && world.inbox.held() == 0, "seed {seed}");
            }
        }
        world.cut();
        world.check(false);
    }
}

#[test]
fn a_refused_message_stays_refused_until_it_begins_anew() {
    let now = epoch();
    let mut inbox = Inbox::new(LIMITS);
    let head = |range: &str| {
        let frame = format!(
            "MSRP abcd SEND\r\nTo-Path: {B}\r\nFrom-Path: {A}\r\nMessage-ID: 1234\r\nByte-Range: {range}\r\n\
             Content-Type: a/b\r\n\r\n"
        );
        match Parser::new(Limits::default()).next(&mut frame.as_bytes()) {
            Ok(Some(Event::Head(head))) => head,
            other => panic!("{other:?}"),
        }
    };
    assert!(inbox.is_new(&head("1-3/9")));
    assert_eq!(inbox.begin(&head("1-3/9"), Reception::Refuse(403), now), Err(403));
    assert!(matches!(inbox.end(&head("1-3/9"), Flag::More), Ok(Part::Chunk)));
    assert!(!inbox.is_new(&head("4-9/9")));
    assert_eq!(inbox.begin(&head("4-9/9"), Reception::Whole, now), Err(403));
    assert!(inbox.is_new(&head("1-3/3")));
    assert_eq!(inbox.begin(&head("1-3/3"), Reception::Whole, now), Ok(()));
    inbox.body(&head("1-3/3"), b"abc", now).unwrap();
    assert_eq!(inbox.held(), 67);
    assert_eq!(inbox.give_up(&head("1-3/3")), Err(413));
    assert_eq!(inbox.held(), 0);
    // A stream beyond its bound is told of as ended; so is one that nothing more comes of.
    for (range, code) in [("1-60001/60001", Some(413)), ("60002-*/*", Some(413)), ("1-*/*", None)] {
        let begun = inbox.begin(&head(range), Reception::Stream, now);
        assert_eq!(begun.err(), code, "{range}");
        if code.is_none() {
            assert_eq!(inbox.body(&head(range), b"abc", now), Ok(Some(0)));
            assert_eq!(inbox.poll_timeout(), Some(now + Duration::from_secs(60)));
            assert_eq!(inbox.handle_timeout(now + Duration::from_secs(60)), 1);
            assert_eq!(inbox.body(&head(range), b"def", now), Err(413));
        }
        let ended = inbox.poll_ended().is_some();
        assert_eq!(ended, range.starts_with("1-"), "{range}");
    }
}

#[test]
fn what_reports_and_failures_make_of_a_message() {
    use FailureReport::{No, Partial, Yes};
    let report = |code: u16| ReceivedReport {
        message_id: "1234",
        range: ByteRange::parse(b"1-3/3"),
        status: Status { namespace: 0, code },
    };
    let range = ByteRange::parse(b"1-3/3").unwrap();
    let fate = |sent, interrupt: bool, session_failed| {
        let interrupt = interrupt.then(|| "1234".into());
        Some(Fate { number: 1, key: 9, sent, interrupt, session_failed })
    };
    for (failure, outcome, expected) in [
        (Yes, Outcome::Response(200), fate(Sent::Confirmed, false, false)),
        (Yes, Outcome::Response(413), fate(Sent::Refused(413), false, false)),
        (Yes, Outcome::Response(408), fate(Sent::Lost, false, false)),
        (Yes, Outcome::Response(481), fate(Sent::Lost, false, true)),
        (Yes, Outcome::Response(506), fate(Sent::Lost, false, true)),
        (Yes, Outcome::Timeout, fate(Sent::Lost, false, false)),
        (Partial, Outcome::Timeout, fate(Sent::Confirmed, false, false)),
        (Partial, Outcome::Unanswered, fate(Sent::Lost, false, false)),
        (Partial, Outcome::Response(415), fate(Sent::Refused(415), false, false)),
    ] {
        let mut outbox = Outbox::new(2);
        let new = NewSent { number: 1, key: 9, message_id: "1234", success_report: false, failure_report: failure };
        outbox.begin(&new).unwrap();
        assert_eq!(outbox.begin(&new), Err(OutboxError::SameId));
        assert_eq!(outbox.written(1, range, Flag::End), None);
        assert_eq!(outbox.outcome(1, outcome), expected, "{failure:?} {outcome:?}");
        assert!(outbox.is_empty());
        assert_eq!(outbox.outcome(1, outcome), None, "once");
    }
    // In the middle: the rest must not go out.
    let mut outbox = Outbox::new(2);
    let new = NewSent { number: 1, key: 9, message_id: "1234", success_report: true, failure_report: No };
    outbox.begin(&new).unwrap();
    assert_eq!(outbox.written(1, range, Flag::More), None);
    assert_eq!(outbox.report(&report(413)), fate(Sent::Refused(413), true, false));
    // A report that is faster than the responses, one that is slower, and a failure after all.
    for (first, expected) in [(true, vec![Sent::Reported]), (false, vec![Sent::Confirmed, Sent::Reported])] {
        outbox.begin(&NewSent { failure_report: Yes, ..new }).unwrap();
        outbox.written(1, range, Flag::End);
        let early = first.then(|| outbox.report(&report(200))).flatten();
        let heard = [early, outbox.outcome(1, Outcome::Response(200)), outbox.report(&report(200))];
        assert_eq!(heard.into_iter().flatten().map(|fate| fate.sent).collect::<Vec<_>>(), expected);
    }
    outbox.begin(&NewSent { failure_report: Yes, ..new }).unwrap();
    outbox.written(1, range, Flag::End);
    outbox.outcome(1, Outcome::Response(200));
    assert_eq!(outbox.report(&report(408)), fate(Sent::Lost, false, true));
    // Those that miss their report only give way.
    for (number, id) in [(1, "1234"), (2, "5678")] {
        outbox.begin(&NewSent { number, message_id: id, ..new }).unwrap();
    }
    assert_eq!(outbox.begin(&NewSent { number: 3, message_id: "9999", ..new }), Err(OutboxError::Full));
    assert_eq!(outbox.written(2, range, Flag::End).map(|fate| fate.sent), Some(Sent::Written));
    outbox.begin(&NewSent { number: 3, message_id: "9999", ..new }).unwrap();
    assert_eq!(outbox.drain().map(|(number, _)| number).collect::<Vec<_>>(), [1, 3]);
}
