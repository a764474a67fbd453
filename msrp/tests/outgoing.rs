//! What a parser at the other end of the scheduler finds, whatever is fed and however it is taken.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use chappe_msrp::{
    ByteRange, ChunkHead, Event, FailureReport, Flag, Limits, NewChunk, Note, Outgoing, OutgoingConfig, Output, Parser,
    StreamKey, TransactionId, TransactionIds, write,
};
use proptest::prelude::*;

const KEY: [u64; 2] = [3, 4];
const UNIT: usize = 2048;

fn chunk(message_id: &str, start: u64, total: Option<u64>) -> ChunkHead {
    ChunkHead::new(&NewChunk {
        to: "msrp://b:1/b;tcp",
        from: "msrp://a:1/a;tcp",
        message_id,
        success_report: false,
        failure_report: FailureReport::Yes,
        start,
        total,
        headers: &[("X-Kept", "as it is")],
        content_type: Some("text/plain"),
    })
}

/// One frame off the wire.
#[derive(Debug)]
struct Frame {
    id: String,
    message_id: Option<String>,
    range: Option<ByteRange>,
    body: Vec<u8>,
    flag: Option<Flag>,
    control: bool,
}

struct Peer {
    parser: Parser,
    frames: Vec<Frame>,
}

impl Peer {
    fn new() -> Peer {
        Peer { parser: Parser::new(Limits::default()), frames: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while let Some(event) = self.parser.next(&mut input).unwrap() {
            match event {
                Event::Head(head) => self.frames.push(Frame {
                    id: head.transaction_id().to_owned(),
                    message_id: head.message_id().map(str::to_owned),
                    range: head.byte_range(),
                    body: Vec::new(),
                    flag: None,
                    control: head.status().is_some(),
                }),
                Event::Body(data) => self.frames.last_mut().unwrap().body.extend_from_slice(data),
                Event::End(flag) => self.frames.last_mut().unwrap().flag = Some(flag),
            }
        }
    }
}

fn response(number: usize) -> Bytes {
    let mut out = Vec::new();
    let id = format!("response{number}");
    write::Frame::response(&mut out, &id, 200, "OK", "msrp://b:1/b;tcp", "msrp://a:1/a;tcp").end(Flag::End);
    out.into()
}

#[derive(Debug, Clone)]
enum Step {
    Body { stream: u64, len: usize, trap: Option<usize> },
    End { stream: u64, flag: Flag },
    Drop { stream: u64 },
    Stop { stream: u64 },
    Control,
    Poll { budget: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0_usize..4, 1_usize..300, 2000_usize..9000];
    let flag = prop_oneof![4 => Just(Flag::More), 4 => Just(Flag::End), 1 => Just(Flag::Abort)];
    prop_oneof![
        6 => (0_u64..4, len, prop::option::of(0_usize..40)).prop_map(|(stream, len, trap)| Step::Body { stream, len, trap }),
        3 => (0_u64..4, flag).prop_map(|(stream, flag)| Step::End { stream, flag }),
        1 => (0_u64..4).prop_map(|stream| Step::Drop { stream }),
        1 => (0_u64..4).prop_map(|stream| Step::Stop { stream }),
        2 => Just(Step::Control),
        4 => (1_usize..6000).prop_map(|budget| Step::Poll { budget }),
    ]
}

fn config() -> impl Strategy<Value = OutgoingConfig> {
    let max_chunk = prop_oneof![Just(None), (1_usize..200).prop_map(Some), (2000_usize..5000).prop_map(Some)];
    (1_usize..9000, max_chunk, any::<bool>()).prop_map(|(quantum, max_chunk, whole_frames)| OutgoingConfig {
        quantum,
        max_chunk,
        whole_frames,
        low: 1000,
        high: 10_000,
    })
}

/// What was fed of one message.
#[derive(Default)]
struct Fed {
    data: Vec<u8>,
    end: Option<Flag>,
    /// The peer wanted no more of it.
    stopped: bool,
}

/// The feeding side of a stream: which message, and how much of it was fed.
#[derive(Default)]
struct Source {
    messages: u64,
    open: bool,
    fresh: bool,
}

struct World {
    outgoing: Outgoing,
    ids: TransactionIds,
    peer: Peer,
    fed: HashMap<String, Fed>,
    sources: HashMap<u64, Source>,
    notes: VecDeque<(TransactionId, String, ByteRange, Flag)>,
    controls: usize,
    /// Body bytes seen since the oldest control frame that waits was put in, and how many wait.
    waiting: Option<usize>,
    traps: Vec<TransactionId>,
    whole: bool,
    cap: usize,
}

impl World {
    fn new(config: OutgoingConfig) -> World {
        let mut ahead = TransactionIds::new(KEY);
        World {
            outgoing: Outgoing::new(config),
            ids: TransactionIds::new(KEY),
            peer: Peer::new(),
            fed: HashMap::new(),
            sources: HashMap::new(),
            notes: VecDeque::new(),
            controls: 0,
            waiting: None,
            traps: (0..40).map(|_| ahead.next()).collect(),
            whole: config.whole_frames,
            cap: config.max_chunk.unwrap_or(usize::MAX),
        }
    }

    fn name(stream: u64, message: u64) -> String {
        format!("m{stream}.{message}")
    }

    fn begin(&mut self, stream: u64) -> String {
        let source = self.sources.entry(stream).or_default();
        if source.fresh || source.messages == 0 {
            source.messages += 1;
            source.fresh = false;
        }
        let name = Self::name(stream, source.messages);
        let fed = self.fed.entry(name.clone()).or_default();
        if !std::mem::replace(&mut source.open, true) {
            self.outgoing.begin(StreamKey(stream), chunk(&name, fed.data.len() as u64 + 1, None));
        }
        name
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Body { stream, len, trap } => {
                let name = self.begin(stream);
                let fed = self.fed.get_mut(&name).unwrap();
                let mut data: Vec<u8> = (0..len).map(|at| (at as u64 * 31 + stream * 7) as u8).collect();
                if let Some(trap) = trap {
                    data.extend_from_slice(format!("\r\n-------{}$\r\n", self.traps[trap]).as_bytes());
                }
                fed.data.extend_from_slice(&data);
                // In two slices, so that traps are cut too.
                let mut data = Bytes::from(data);
                let second = data.split_off(data.len().saturating_sub(9));
                self.outgoing.body(StreamKey(stream), data);
                self.outgoing.body(StreamKey(stream), second);
            }
            Step::End { stream, flag } => {
                let name = self.begin(stream);
                self.outgoing.end(StreamKey(stream), flag);
                let source = self.sources.get_mut(&stream).unwrap();
                source.open = false;
                source.fresh = flag != Flag::More;
                if flag != Flag::More {
                    self.fed.get_mut(&name).unwrap().end = Some(flag);
                }
            }
            Step::Drop { stream } => {
                let open = self.sources.get(&stream).is_some_and(|source| source.open);
                assert_eq!(self.outgoing.drop_stream(StreamKey(stream)), open);
                if open {
                    let source = self.sources.get_mut(&stream).unwrap();
                    (source.open, source.fresh) = (false, true);
                    self.fed.get_mut(&Self::name(stream, source.messages)).unwrap().end = Some(Flag::Abort);
                }
            }
            Step::Stop { stream } => {
                let Some(source) = self.sources.get_mut(&stream).filter(|source| !source.fresh) else { return };
                (source.open, source.fresh) = (false, true);
                let name = Self::name(stream, source.messages);
                let told = self.outgoing.stop(StreamKey(stream), &name);
                assert!(told.iter().all(|unsent| unsent.head.message_id() == name));
                self.fed.get_mut(&name).unwrap().stopped = true;
            }
            Step::Control => {
                self.outgoing.control(response(self.controls));
                self.controls += 1;
                self.waiting.get_or_insert(0);
            }
            Step::Poll { budget } => {
                self.poll(budget);
            }
        }
    }

    fn poll(&mut self, budget: usize) -> usize {
        let mut out = Output::default();
        let before = self.bodies();
        let sent = self.outgoing.poll(&mut self.ids, budget, &mut out);
        assert_eq!(sent, out.pieces.iter().map(Bytes::len).sum::<usize>());
        let slack = if self.whole { self.cap.min(9000) } else { UNIT } + 400;
        assert!(sent < budget + slack, "{sent} for {budget}");
        assert_eq!(out.ends.last().copied().unwrap_or(0), if self.whole { out.pieces.len() } else { 0 });
        let mut frames = self.peer.frames.len();
        for (at, piece) in (1..).zip(&out.pieces) {
            self.peer.take(piece);
            if self.whole && out.ends.contains(&at) {
                frames += 1;
                assert!(self.peer.parser.is_idle() && self.peer.frames.len() == frames);
            }
        }
        if let Some(waited) = self.waiting {
            let seen = self.peer.frames.iter().filter(|frame| frame.control).count();
            if self.outgoing.control_queued() == 0 {
                assert_eq!(seen, self.controls);
                self.waiting = None;
            } else {
                let waited = waited + self.bodies() - before;
                self.waiting = Some(waited);
                assert!(waited <= if self.whole { 0 } else { UNIT }, "{waited} bytes before a response");
            }
        }
        for note in out.notes {
            if let Note::ChunkSent { id, head, range, flag, .. } = note {
                self.notes.push_back((id, head.message_id().to_owned(), range, flag));
            }
        }
        sent
    }

    fn bodies(&self) -> usize {
        self.peer.frames.iter().map(|frame| frame.body.len()).sum()
    }

    /// Ends what is open, sends everything and compares.
    fn finish(mut self) {
        for stream in 0..4 {
            if self.sources.get(&stream).is_some_and(|source| source.open) {
                self.step(Step::End { stream, flag: Flag::More });
            }
        }
        while self.poll(5000) > 0 {}
        assert!(self.outgoing.is_idle() && self.outgoing.held() == 0 && self.peer.parser.is_idle());
        let mut got: HashMap<String, (Vec<u8>, Option<Flag>)> = HashMap::new();
        for frame in &self.peer.frames {
            if frame.control {
                continue;
            }
            let name = frame.message_id.clone().unwrap();
            let line = format!("-------{}", frame.id);
            assert!(memchr::memmem::find(&frame.body, line.as_bytes()).is_none());
            assert!(frame.body.len() <= self.cap);
            let (data, last) = got.entry(name.clone()).or_default();
            assert_eq!(*last, None, "nothing comes after the end");
            let range = frame.range.unwrap();
            assert_eq!(range.start, data.len() as u64 + 1);
            let end = range.start + frame.body.len() as u64 - 1;
            if range.end.is_some() || frame.body.len() > UNIT && !self.whole {
                assert_eq!(range.end, (frame.body.len() <= UNIT || self.whole).then_some(end));
            }
            data.extend_from_slice(&frame.body);
            let flag = frame.flag.unwrap();
            *last = (flag != Flag::More).then_some(flag);
            let note = self.notes.pop_front().unwrap();
            assert_eq!((note.0.as_str(), note.1, note.3), (frame.id.as_str(), name, flag));
            assert_eq!((note.2.start, note.2.end), (range.start, Some(end)));
        }
        assert!(self.notes.is_empty());
        for (name, fed) in self.fed {
            let (data, end) = got.remove(&name).unwrap_or_default();
            if fed.stopped {
                assert!(fed.data.starts_with(&data) && end.is_none_or(|end| end == Flag::Abort), "{name}");
            } else if fed.end == Some(Flag::Abort) {
                assert!(fed.data.starts_with(&data), "{name}");
                assert!(end == fed.end || data.is_empty());
            } else {
                assert!(fed.data == data, "{name}: {} of {} bytes", data.len(), fed.data.len());
                assert_eq!(end, fed.end);
            }
        }
        assert!(got.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_that_was_fed_arrives(config in config(), steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new(config);
        for step in steps {
            world.step(step);
        }
        world.finish();
    }
}

fn take(outgoing: &mut Outgoing, ids: &mut TransactionIds, peer: &mut Peer, budget: usize) -> Vec<Note> {
    let mut out = Output::default();
    outgoing.poll(ids, budget, &mut out);
    out.pieces.iter().for_each(|piece| peer.take(piece));
    out.notes
}

#[test]
fn a_chunk_passes_uncut_when_nobody_waits() {
    let (mut outgoing, mut ids) = (Outgoing::new(OutgoingConfig::default()), TransactionIds::new(KEY));
    let (mut peer, key) = (Peer::new(), StreamKey(1));
    outgoing.begin(key, chunk("1234", 1, Some(500_000)));
    for _ in 0..50 {
        outgoing.body(key, Bytes::from(vec![b'x'; 10_000]));
        take(&mut outgoing, &mut ids, &mut peer, usize::MAX);
    }
    assert_eq!((peer.frames.len(), outgoing.held()), (1, 1), "the last byte is kept for the end");
    outgoing.end(key, Flag::End);
    take(&mut outgoing, &mut ids, &mut peer, usize::MAX);
    let frame = &peer.frames[0];
    assert_eq!((peer.frames.len(), frame.body.len(), frame.flag), (1, 500_000, Some(Flag::End)));
    assert_eq!(frame.range, Some(ByteRange { start: 1, end: None, total: Some(500_000) }));
}

#[test]
fn a_response_cuts_a_running_chunk_after_2048_bytes_and_waits_for_no_more() {
    let (mut outgoing, mut ids) = (Outgoing::new(OutgoingConfig::default()), TransactionIds::new(KEY));
    let (mut peer, key) = (Peer::new(), StreamKey(1));
    outgoing.begin(key, chunk("1234", 1, None));
    outgoing.body(key, Bytes::from(vec![b'x'; 100_000]));
    take(&mut outgoing, &mut ids, &mut peer, 500);
    outgoing.control(response(1));
    let notes = take(&mut outgoing, &mut ids, &mut peer, usize::MAX);
    let bodies: Vec<_> = peer.frames.iter().map(|frame| (frame.control, frame.body.len())).collect();
    assert_eq!(bodies, [(false, 2048), (true, 0), (false, 100_000 - 2048 - 1)]);
    assert_eq!(peer.frames[2].range.unwrap().start, 2049);
    let sent = notes.iter().filter(|note| matches!(note, Note::ChunkSent { flag: Flag::More, .. })).count();
    assert_eq!(sent, 1);
    // Nothing more comes from the source, and still a response does not wait.
    outgoing.control(response(2));
    take(&mut outgoing, &mut ids, &mut peer, usize::MAX);
    assert!(peer.frames.last().unwrap().control && peer.parser.is_idle());
}

#[test]
fn streams_share_by_the_quantum() {
    let config = OutgoingConfig { quantum: 4096, ..OutgoingConfig::default() };
    let (mut outgoing, mut ids) = (Outgoing::new(config), TransactionIds::new(KEY));
    let mut peer = Peer::new();
    // One in a large chunk, one in chunks of 2 KiB, one in chunks of 5000 bytes.
    let sizes = [400_000, 2048, 5000];
    for (key, size) in sizes.into_iter().enumerate() {
        let mut start = 0;
        while start < 400_000 {
            let len = size.min(400_000 - start);
            outgoing.begin(StreamKey(key as u64), chunk(&format!("id-{key}"), start as u64 + 1, None));
            outgoing.body(StreamKey(key as u64), Bytes::from(vec![b'x'; len]));
            outgoing.end(StreamKey(key as u64), if start + len == 400_000 { Flag::End } else { Flag::More });
            start += len;
        }
    }
    let shares = |outgoing: &Outgoing| [0, 1, 2].map(|key| outgoing.queued(StreamKey(key)));
    let before = shares(&outgoing);
    loop {
        take(&mut outgoing, &mut ids, &mut peer, 1000);
        let now = shares(&outgoing);
        if now.contains(&0) {
            break;
        }
        let sent = [0, 1, 2].map(|key: usize| before[key] - now[key]);
        let apart = sent.iter().max().unwrap() - sent.iter().min().unwrap();
        // Heads and end-lines count for the share, but the heads of resumed chunks were not queued.
        assert!(apart <= 4096 + UNIT + 400 + sent[0] / 10, "{sent:?}");
    }
    assert!(peer.frames.len() > 200);
}

#[test]
fn a_stream_is_paused_and_resumed() {
    let config = OutgoingConfig { low: 20_000, high: 30_000, ..OutgoingConfig::default() };
    let (mut outgoing, mut ids) = (Outgoing::new(config), TransactionIds::new(KEY));
    let (mut peer, key) = (Peer::new(), StreamKey(9));
    outgoing.begin(key, chunk("1234", 1, None));
    let pressed: Vec<bool> = (0..4).map(|_| outgoing.body(key, Bytes::from(vec![b'x'; 10_000]))).collect();
    assert_eq!(pressed, [false, false, true, true]);
    assert!(take(&mut outgoing, &mut ids, &mut peer, 15_000).is_empty());
    let notes = take(&mut outgoing, &mut ids, &mut peer, 10_000);
    assert!(matches!(notes[..], [Note::Resumed(resumed)] if resumed == key));
}

/// A head larger than the high mark must not stop the source before there is something to send.
#[test]
fn a_large_head_does_not_block_its_own_body() {
    let (mut outgoing, mut ids) =
        (Outgoing::new(OutgoingConfig { low: 0, high: 0, ..OutgoingConfig::default() }), TransactionIds::new(KEY));
    let (mut peer, key, long) = (Peer::new(), StreamKey(9), "x".repeat(8000));
    let headers = [("A", long.as_str()), ("B", long.as_str())];
    let head = NewChunk {
        to: "msrp://b:1/b;tcp",
        from: "msrp://a:1/a;tcp",
        message_id: "1234",
        success_report: true,
        failure_report: FailureReport::Partial,
        start: 1,
        total: None,
        headers: &headers,
        content_type: Some("text/plain"),
    };
    outgoing.begin(key, ChunkHead::new(&head));
    assert!(!outgoing.body(key, Bytes::from_static(b"x")));
    assert!(outgoing.body(key, Bytes::from(vec![b'x'; 3000])));
    let notes = take(&mut outgoing, &mut ids, &mut peer, usize::MAX);
    assert!(matches!(notes[..], [Note::Resumed(_)]), "{notes:?}");
    // And the same behind another chunk.
    outgoing.end(key, Flag::More);
    outgoing.begin(key, ChunkHead::new(&NewChunk { start: 3002, ..head }));
    assert!(outgoing.body(key, Bytes::from_static(b"x")));
    let notes = take(&mut outgoing, &mut ids, &mut peer, usize::MAX);
    assert!(matches!(notes[..], [Note::ChunkSent { .. }, Note::Resumed(_)]), "{notes:?}");
}

#[test]
fn what_is_removed_is_told_and_aborted_if_the_peer_knows_of_it() {
    let (mut outgoing, mut ids) = (Outgoing::new(OutgoingConfig::default()), TransactionIds::new(KEY));
    let mut peer = Peer::new();
    for (key, id) in [(1, "first"), (2, "second")] {
        outgoing.begin(StreamKey(key), chunk(id, 1, Some(9000)));
        outgoing.body(StreamKey(key), Bytes::from(vec![b'x'; 9000]));
        outgoing.end(StreamKey(key), Flag::End);
    }
    take(&mut outgoing, &mut ids, &mut peer, 3000);
    let unsent: Vec<_> = [1, 2].into_iter().flat_map(|key| outgoing.remove(StreamKey(key))).collect();
    assert_eq!(unsent.iter().map(|unsent| unsent.range.end).collect::<Vec<_>>(), [Some(9000), Some(9000)]);
    assert!(unsent[0].range.start > 2048 && unsent[1].range.start == 1);
    take(&mut outgoing, &mut ids, &mut peer, usize::MAX);
    assert!(outgoing.is_idle() && outgoing.held() == 0);
    assert_eq!(peer.frames.iter().map(|frame| frame.flag).collect::<Vec<_>>(), [Some(Flag::Abort)]);

    outgoing.begin(StreamKey(3), chunk("third", 1, None));
    outgoing.control(response(1));
    assert_eq!(outgoing.drain().len(), 1);
    assert!(outgoing.is_idle() && outgoing.held() == 0);
}

#[test]
fn a_message_that_is_stopped_ends_where_it_is() {
    let (mut outgoing, mut ids) = (Outgoing::new(OutgoingConfig::default()), TransactionIds::new(KEY));
    let (mut peer, key) = (Peer::new(), StreamKey(1));
    for (id, start) in [("first", 1), ("other", 1), ("first", 9001)] {
        outgoing.begin(key, chunk(id, start, Some(20_000)));
        outgoing.body(key, Bytes::from(vec![b'x'; 9000]));
        outgoing.end(key, Flag::More);
    }
    outgoing.begin(key, chunk("first", 18_001, Some(20_000)));
    take(&mut outgoing, &mut ids, &mut peer, 3000);
    // An answer to the frame that has no end yet.
    assert!(outgoing.answered("nothing-of-ours").is_none());
    let id = peer.frames[0].id.clone();
    let (answered, head, range) = outgoing.answered(&id).expect("it is on the wire");
    let sent = peer.frames[0].body.len() as u64;
    assert_eq!((answered, head.message_id(), range.start, range.end), (key, "first", 1, Some(sent)));
    assert!(outgoing.answered(&id).is_none(), "once");
    let unsent = outgoing.stop(key, "first");
    let ranges: Vec<_> = unsent.iter().map(|unsent| (unsent.range.start, unsent.range.end)).collect();
    assert_eq!(ranges, [(sent + 1, Some(9000)), (9001, Some(18_000)), (18_001, None)]);
    // What the source still has of it goes nowhere.
    assert!(!outgoing.body(key, Bytes::from_static(b"more")));
    outgoing.end(key, Flag::End);
    let notes = take(&mut outgoing, &mut ids, &mut peer, usize::MAX);
    let frames: Vec<_> = peer.frames.iter().map(|frame| (frame.message_id.as_deref(), frame.flag)).collect();
    assert_eq!(frames, [(Some("first"), Some(Flag::Abort)), (Some("other"), Some(Flag::More))]);
    assert_eq!((peer.frames[1].body.len(), outgoing.held(), outgoing.is_idle()), (9000, 0, true));
    let answered: Vec<_> = notes.iter().map(|note| matches!(note, Note::ChunkSent { answered: true, .. })).collect();
    assert_eq!(answered, [true, false]);
    // Between two frames there is nothing to abort.
    outgoing.begin(key, chunk("first", 20_001, None));
    assert_eq!(outgoing.stop(key, "first").len(), 1);
    assert_eq!(take(&mut outgoing, &mut ids, &mut peer, usize::MAX).len(), 0);
    assert!(outgoing.is_idle() && outgoing.held() == 0);
}

#[test]
fn bodiless_and_empty_sends_keep_their_form() {
    let (mut outgoing, mut ids) = (Outgoing::new(OutgoingConfig::default()), TransactionIds::new(KEY));
    let paths = "To-Path: msrp://r:1/r;tcp msrp://b:1/b;tcp\r\nFrom-Path: msrp://a:1/a;tcp\r\n";
    for rest in ["", "Byte-Range: 1-0/0\r\n", "Content-Disposition: render\r\nContent-Type: a/b\r\n\r\n\r\n"] {
        let frame = format!("MSRP abcd SEND\r\n{paths}Message-ID: 1234\r\nX-Odd:  a\r\n{rest}-------abcd$\r\n");
        let (mut parser, mut input) = (Parser::new(Limits::default()), frame.as_bytes());
        let Some(Event::Head(head)) = parser.next(&mut input).unwrap() else { panic!() };
        outgoing.begin(StreamKey(1), ChunkHead::forward(&head).unwrap());
        outgoing.body(StreamKey(1), Bytes::new());
        outgoing.end(StreamKey(1), Flag::End);
        let mut out = Output::default();
        outgoing.poll(&mut ids, usize::MAX, &mut out);
        let [Note::ChunkSent { id, head, .. }] = &out.notes[..] else { panic!() };
        assert_eq!(head.report_paths(), Some(("msrp://a:1/a;tcp", "msrp://r:1/r;tcp")));
        let paths = "To-Path: msrp://b:1/b;tcp\r\nFrom-Path: msrp://r:1/r;tcp msrp://a:1/a;tcp\r\n";
        let (range, more) = match rest {
            "" => ("", ""),
            "Byte-Range: 1-0/0\r\n" => (rest, ""),
            _ => ("Byte-Range: 1-0/*\r\n", rest),
        };
        let expected =
            format!("MSRP {id} SEND\r\n{paths}Message-ID: 1234\r\n{range}X-Odd:  a\r\n{more}-------{id}$\r\n");
        assert_eq!(String::from_utf8_lossy(&out.pieces.concat()), expected);
    }
}
