//! MSRP streams: however the bytes are cut, the same frames and refusals come out; what is read can be written.

#![no_main]

use std::time::{Duration, Instant};

use chappe_msrp::{
    ChunkHead, Event, Flag, Leniency, Limits, Method, Parser, Reassembler, ReassemblyLimits, Start, write,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { start_line: 80, header: 200, headers: 8, head: 700, other_body: 60 };

#[derive(Debug, PartialEq)]
enum Seen {
    Head(Vec<u8>, bool),
    Body(Vec<u8>),
    End(Flag),
    Refused(String, bool),
}

fn read<'a>(slices: impl Iterator<Item = &'a [u8]>, leniency: Leniency, now: Instant) -> (Vec<Seen>, bool) {
    let mut parser = Parser::with_leniency(LIMITS, leniency);
    let limits = ReassemblyLimits { message: 3000, held: 3000, messages: 3, parts: 8, timeout: Duration::from_secs(9) };
    let mut messages = Reassembler::new(limits);
    let mut seen = Vec::new();
    for mut input in slices {
        loop {
            match parser.next(&mut input) {
                Ok(None) => break assert!(input.is_empty()),
                Ok(Some(Event::Head(head))) => {
                    let mut out = Vec::new();
                    if write::forward(&mut out, &head, "abcd1234") {
                        if head.has_body() {
                            out.extend_from_slice(b"\r\n");
                        }
                        write::end_line(&mut out, "abcd1234", Flag::End);
                        let mut again = Parser::with_leniency(Limits::default(), leniency);
                        assert!(matches!(again.next(&mut &out[..]), Ok(Some(Event::Head(_)))));
                    }
                    if head.start() == Start::Request(Method::Send) {
                        let _ = ChunkHead::forward(&head);
                        let _ = messages.begin(&head, now);
                    }
                    assert!(head.to_path().count() > 0 && head.from_path().count() > 0);
                    head.lines().for_each(|line| assert!(line.raw.ends_with(b"\r\n")));
                    seen.push(Seen::Head(head.bytes().to_vec(), head.has_body()));
                }
                Ok(Some(Event::Body(data))) => {
                    let _ = messages.body(data, now);
                    match seen.last_mut() {
                        Some(Seen::Body(body)) => body.extend_from_slice(data),
                        _ => seen.push(Seen::Body(data.to_vec())),
                    }
                }
                Ok(Some(Event::End(flag))) => {
                    let _ = messages.end(flag);
                    seen.push(Seen::End(flag));
                }
                Err(error) => {
                    let fatal = error.is_fatal();
                    seen.push(Seen::Refused(format!("{error:?}"), fatal));
                    if fatal {
                        return (seen, false);
                    }
                }
            }
            assert!(messages.held() <= limits.held + 200);
        }
    }
    (seen, parser.is_idle())
}

/// What low bytes stand for in every other stream, so that whole frames come about soon.
const PIECES: [&str; 24] = [
    "MSRP abcd SEND\r\n",
    "MSRP abcd AUTH\r\n",
    "MSRP abcd REPORT\r\n",
    "MSRP abcd 200 OK\r\n",
    "To-Path: msrp://r:1/r;tcp msrp://b:1/b;tcp\r\n",
    "From-Path: msrps://[::1]:1/a;ws\r\n",
    "Message-ID: 1234\r\n",
    "Byte-Range: 1-5/10\r\n",
    "Byte-Range: 6-*/*\r\n",
    "Failure-Report: no\r\n",
    "Status: 000 200 OK\r\n",
    "Content-Type: a/b\r\n",
    "\r\n",
    "\r",
    "\n",
    "-------abcd",
    "\r\n-------abcd$\r\n",
    "-------abcd+\r\n",
    "-------abcd#\r\n",
    "-------",
    "abcd",
    "$",
    "01234567890123456789",
    "X: y\r\n",
];

fuzz_target!(|data: &[u8]| {
    let [step, mode, stream @ ..] = data else { return };
    let leniency = if mode & 1 == 0 { Leniency::default() } else { Leniency::ALL };
    let now = Instant::now();
    let stream: Vec<u8> = if mode & 2 == 0 {
        stream.to_vec()
    } else {
        let piece = |byte: &u8| PIECES.get(usize::from(*byte)).map_or(vec![*byte], |piece| piece.as_bytes().to_vec());
        stream.iter().take(500).flat_map(piece).collect()
    };
    let stream = stream.as_slice();
    let whole = read(std::iter::once(stream), leniency, now);
    let pieces = read(stream.chunks(usize::from(*step).max(1)), leniency, now);
    assert_eq!(whole, pieces);
});
