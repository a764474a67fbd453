//! The order of what goes out: whatever is fed and taken in whatever steps, the other end reads each message as it was.

#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use chappe_msrp::{
    ChunkHead, Event, FailureReport, Flag, Limits, NewChunk, Outgoing, OutgoingConfig, Output, Parser, StreamKey,
    TransactionIds, write,
};
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Message {
    fed: Vec<u8>,
    got: Vec<u8>,
    end: Option<Flag>,
}

#[derive(Default)]
struct World {
    messages: HashMap<String, Message>,
    current: Option<String>,
}

impl World {
    fn read(&mut self, parser: &mut Parser, bytes: &[u8]) {
        let mut input = bytes;
        while let Some(event) = parser.next(&mut input).expect("what we write can be read") {
            match event {
                Event::Head(head) if head.status().is_some() => self.current = None,
                Event::Head(head) => {
                    let name = head.message_id().expect("it has one").to_owned();
                    let message = &self.messages[&name];
                    let range = head.byte_range().expect("it has one");
                    assert_eq!(range.start, message.got.len() as u64 + 1);
                    self.current = Some(name);
                }
                Event::Body(data) => {
                    let message = self.current.as_ref().and_then(|name| self.messages.get_mut(name));
                    message.expect("a response has no body").got.extend_from_slice(data);
                }
                Event::End(flag) => {
                    if let Some(message) = self.current.take().and_then(|name| self.messages.get_mut(&name)) {
                        assert!(message.fed.starts_with(&message.got));
                        assert!(flag == Flag::More || message.end == Some(flag));
                    }
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [quantum, max_chunk, mode, script @ ..] = data else { return };
    let mut outgoing = Outgoing::new(OutgoingConfig {
        quantum: usize::from(*quantum) * 64,
        max_chunk: (*max_chunk > 0).then_some(usize::from(*max_chunk) * 16),
        whole_frames: mode & 1 == 1,
        low: 0,
        high: 0,
    });
    let (mut ids, mut ahead) = (TransactionIds::new([1, 2]), TransactionIds::new([1, 2]));
    let traps: Vec<_> = (0..64).map(|_| ahead.next()).collect();
    let (mut parser, mut world) = (Parser::new(Limits::default()), World::default());
    // By stream: number of the message, and whether a chunk of it is open.
    let mut sources = [(0_u32, false); 4];
    let mut run = |world: &mut World, outgoing: &mut Outgoing, budget: usize| {
        let mut out = Output::default();
        let sent = outgoing.poll(&mut ids, budget, &mut out);
        out.pieces.iter().for_each(|piece| world.read(&mut parser, piece));
        if mode & 1 == 1 {
            assert!(parser.is_idle());
        }
        sent
    };
    for step in script.chunks_exact(2) {
        let (stream, amount) = (usize::from(step[0] >> 6), usize::from(step[1]));
        let key = StreamKey(stream as u64);
        let source = &mut sources[stream];
        let name = format!("m{stream}.{}", source.0);
        match step[0] & 7 {
            0..=2 => {
                let message = world.messages.entry(name.clone()).or_default();
                if !std::mem::replace(&mut source.1, true) {
                    let head = NewChunk {
                        to: "msrp://b:1/b;tcp",
                        from: "msrp://a:1/a;tcp",
                        message_id: &name,
                        success_report: false,
                        failure_report: FailureReport::Yes,
                        start: message.fed.len() as u64 + 1,
                        total: None,
                        headers: &[],
                        content_type: Some("a/b"),
                    };
                    outgoing.begin(key, ChunkHead::new(&head));
                }
                let data = match step[0] & 7 {
                    0 => vec![b'x'; amount * 20],
                    1 => format!("\r\n-------{}", traps[amount & 63]).into_bytes(),
                    _ => step[1..].to_vec(),
                };
                message.fed.extend_from_slice(&data);
                outgoing.body(key, Bytes::from(data));
            }
            3 if source.1 => {
                let flag = [Flag::More, Flag::End, Flag::Abort][amount % 3];
                if flag != Flag::More {
                    world.messages.entry(name).or_default().end = Some(flag);
                    source.0 += 1;
                }
                source.1 = false;
                outgoing.end(key, flag);
            }
            4 => {
                let mut out = Vec::new();
                write::Frame::response(&mut out, "abcd", 200, "", "msrp://b:1/b;tcp", "msrp://a:1/a;tcp")
                    .end(Flag::End);
                outgoing.control(out.into());
            }
            5 if source.1 => {
                world.messages.entry(name).or_default().end = Some(Flag::Abort);
                *source = (source.0 + 1, false);
                assert!(outgoing.drop_stream(key));
            }
            _ => {
                run(&mut world, &mut outgoing, amount * 16);
            }
        }
    }
    for (stream, source) in sources.iter().enumerate().filter(|(_, source)| source.1) {
        let _ = source;
        outgoing.end(StreamKey(stream as u64), Flag::More);
    }
    while run(&mut world, &mut outgoing, 5000) > 0 {}
    assert!(outgoing.is_idle() && outgoing.held() == 0);
    for message in world.messages.values() {
        assert!(message.got == message.fed || message.end == Some(Flag::Abort));
    }
});
