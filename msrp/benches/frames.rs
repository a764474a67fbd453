//! What a SEND costs: read, and read and passed on as a relay does. `short` is a message of 200 bytes in one chunk,
//! `long` 64 KiB in chunks of 2 KiB.

#![allow(clippy::unwrap_used, reason = "a bench may stop")]

use std::hint::black_box;

use bytes::Bytes;
use chappe_msrp::{
    ChunkHead, Event, Limits, Note, Outgoing, OutgoingConfig, Output, Parser, StreamKey, TransactionIds, write,
};
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

/// A message of `size` bytes in chunks of `chunk`.
fn stream(size: usize, chunk: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut ids = TransactionIds::new([1, 2]);
    for start in (0..size).step_by(chunk) {
        let end = (start + chunk).min(size);
        let (id, flag) = (ids.next(), if end == size { '$' } else { '+' });
        let body: String = ('a'..='z').cycle().take(end - start).collect();
        out.extend_from_slice(
            format!(
                "MSRP {id} SEND\r\n\
                 To-Path: msrps://relay.example.com:2855/ca11ab1e77aas11c;tcp msrps://10.12.3.4:9892/98cjs77s90ab;tcp\r\n\
                 From-Path: msrps://10.99.8.7:20000/1353517381abc;tcp\r\nMessage-ID: 87652491abcdef\r\n\
                 Success-Report: no\r\nFailure-Report: yes\r\nByte-Range: {}-{end}/{size}\r\n\
                 Content-Type: message/cpim\r\n\r\n{body}\r\n-------{id}{flag}\r\n",
                start + 1
            )
            .as_bytes(),
        );
    }
    out
}

fn input(name: &str) -> Vec<u8> {
    if name == "short" { stream(200, 200) } else { stream(65_536, 2048) }
}

#[divan::bench(args = ["short", "long"])]
fn parse(bencher: Bencher, name: &str) {
    let stream = input(name);
    let mut parser = Parser::new(Limits::default());
    bencher.counter(BytesCount::of_slice(&stream)).bench_local(|| {
        let mut input = black_box(stream.as_slice());
        let mut bytes = 0;
        while let Some(event) = parser.next(&mut input).unwrap() {
            match event {
                Event::Head(head) => bytes += head.raw_to_path().len(),
                Event::Body(data) => bytes += data.len(),
                Event::End(_) => {}
            }
        }
        bytes
    });
}

/// In reads of 1460 bytes, the end of which cuts heads and end-lines.
#[divan::bench(args = ["long"])]
fn parse_in_pieces(bencher: Bencher, name: &str) {
    let stream = input(name);
    let mut parser = Parser::new(Limits::default());
    bencher.counter(BytesCount::of_slice(&stream)).bench_local(|| {
        let mut bytes = 0;
        for piece in stream.chunks(1460) {
            let mut input = black_box(piece);
            while let Some(event) = parser.next(&mut input).unwrap() {
                if let Event::Body(data) = event {
                    bytes += data.len();
                }
            }
        }
        bytes
    });
}

/// Read, queued, answered, and written for the next hop.
#[divan::bench(args = ["short", "long"])]
fn forward(bencher: Bencher, name: &str) {
    let stream = input(name);
    let mut parser = Parser::new(Limits::default());
    let (mut there, mut ids) = (Outgoing::new(OutgoingConfig::default()), TransactionIds::new([3, 4]));
    let (mut back, key, mut out) = (Vec::new(), StreamKey(7), Output::default());
    bencher.counter(BytesCount::of_slice(&stream)).bench_local(|| {
        let mut input = black_box(stream.as_slice());
        back.clear();
        out.clear();
        let mut current = None;
        while let Some(event) = parser.next(&mut input).unwrap() {
            match event {
                Event::Head(head) => {
                    there.begin(key, ChunkHead::forward(&head).unwrap());
                    current = Some(head);
                }
                Event::Body(data) => {
                    there.body(key, Bytes::copy_from_slice(data));
                }
                Event::End(flag) => {
                    there.end(key, flag);
                    write::response(&mut back, &current.take().unwrap(), 200, "OK");
                }
            }
        }
        there.poll(&mut ids, usize::MAX, &mut out);
        assert!(out.notes.iter().all(|note| matches!(note, Note::ChunkSent { .. })));
        out.pieces.len() + back.len()
    });
}
