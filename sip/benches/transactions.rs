//! The whole life of transactions in one shard: time, allocations, and what a finished one holds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_sip::layer::{Config, Dest, Input, Layer};
use chappe_sip::{Flow, Limits, Message, Reply, Transport};

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

#[expect(clippy::disallowed_methods, reason = "a bench needs some instant to begin with")]
fn epoch() -> Instant {
    Instant::now()
}

fn message(n: u64) -> Message {
    let text = format!(
        "MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;rport;branch=z9hG4bK{n:016x}\r\n\
         Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@example.com>;tag=8f3a{n:x}\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: {n:x}-5d0f3c1e@192.0.2.7\r\nCSeq: 1 MESSAGE\r\nUser-Agent: example/1.0\r\nContent-Type: text/plain\r\n\
         Content-Length: 200\r\n\r\n{:x<200}",
        ""
    );
    Message::parse(Bytes::from(text), &Limits::default()).expect("the message is well-formed")
}

fn flow() -> Flow {
    Flow { transport: Transport::Udp, listener: 0, connection: 0, remote: ([192, 0, 2, 7], 5060).into() }
}

/// One relayed MESSAGE as the layer sees it: a server and a client transaction.
struct Relay {
    request: Message,
    forwarded: Bytes,
    branch: String,
    response: Message,
    answer: Bytes,
}

fn relays(from: u64, count: u64) -> Vec<Relay> {
    (from..from + count)
        .map(|n| {
            let (request, out) = (message(n), message(n | 1 << 40));
            let response = Reply::new(&out, 200, "b1").finish();
            Relay {
                forwarded: out.bytes().clone(),
                branch: String::from_utf8_lossy(out.branch()).into_owned(),
                response: Message::parse(response, &Limits::default()).expect("a reply is well-formed"),
                answer: Bytes::from(Reply::new(&request, 200, "b1").finish().to_vec()),
                request,
            }
        })
        .collect()
}

fn relay(layer: &mut Layer, now: Instant, one: &Relay) {
    let Input::NewRequest(server) = layer.handle_message(now, flow(), &one.request) else { panic!("not new") };
    let dest = Dest::Flow(flow());
    let sent = layer.request(now, dest, one.forwarded.clone(), one.branch.as_bytes(), b"MESSAGE", 7);
    assert!(sent.is_ok());
    while layer.poll_transmit().is_some() {}
    let Input::Response { user: 7, .. } = layer.handle_message(now, flow(), &one.response) else { panic!("stray") };
    layer.respond(now, server, 200, one.answer.clone()).expect("it is the first answer");
    while layer.poll_transmit().is_some() {}
    while layer.poll_event().is_some() {}
}

fn layer(now: Instant) -> Layer {
    Layer::new(now, Config::default(), [1, 2, 3, 4])
}

/// Both transactions from their creation to the end of timers J and K, at 1,000 relays each second of virtual time, so
/// that 32,000 finished ones are held at any moment.
#[divan::bench(sample_count = 20)]
fn message_relayed_whole_life(bencher: divan::Bencher) {
    const BATCH: u64 = 1_000;
    let mut now = epoch();
    let mut layer = layer(now);
    let mut next = 0;
    for _ in 0..33 {
        for one in relays(next, BATCH) {
            relay(&mut layer, now, &one);
            now += Duration::from_millis(1);
            layer.handle_timeout(now);
        }
        next += BATCH;
    }
    let (mut now, mut next) = (now, next);
    let layer = std::cell::RefCell::new(layer);
    bencher
        .counter(divan::counter::ItemsCount::new(BATCH))
        .with_inputs(|| {
            let batch = (relays(next, BATCH), now);
            next += BATCH;
            now += Duration::from_secs(1);
            batch
        })
        .bench_local_refs(|(batch, now)| {
            let mut layer = layer.borrow_mut();
            for one in batch.iter() {
                relay(&mut layer, *now, one);
                *now += Duration::from_millis(1);
                layer.handle_timeout(*now);
            }
        });
}

/// 10,000 finished relays held until their timers: the bytes allocated, divided by 10,000, are those of one, response
/// included.
#[divan::bench(sample_count = 3)]
fn memory_of_10_000_finished_relays(bencher: divan::Bencher) {
    bencher.with_inputs(|| relays(0, 10_000)).bench_local_values(|batch| {
        let now = epoch();
        let mut layer = layer(now);
        for one in batch {
            let one = Relay { answer: Bytes::copy_from_slice(&one.answer), ..one };
            relay(&mut layer, now, &one);
        }
        layer
    });
}
