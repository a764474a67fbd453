//! What the tests of the layer share: a generator of numbers, messages, a shard.

use std::time::Instant;

use bytes::Bytes;

use super::{Config, Dest, Layer};
use crate::message::Message;
use crate::transaction::reread;
use crate::transport::{Flow, Transport};

/// SplitMix64: the same numbers for the same seed.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub(crate) fn flow(transport: Transport) -> Flow {
    let connection = if transport.is_reliable() { 7 } else { 0 };
    Flow { transport, listener: 0, connection, remote: "192.0.2.1:5060".parse().unwrap() }
}

pub(crate) fn dest(transport: Transport) -> Dest {
    Dest::Flow(flow(transport))
}

pub(crate) fn layer(now: Instant) -> Layer {
    Layer::new(now, Config::default(), [1, 2, 3, 4])
}

pub(crate) fn request(method: &str, branch: &str) -> Message {
    request_with(method, &format!("192.0.2.1;branch={branch}"), "")
}

pub(crate) fn request_with(method: &str, via: &str, to_params: &str) -> Message {
    let text = format!(
        "{method} sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>{to_params}\r\nCall-ID: c1\r\n\
         CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    );
    reread(&Bytes::from(text)).unwrap()
}

/// The response that the far side of `request` would give.
pub(crate) fn response(request: &Message, status: u16) -> Message {
    reread(&response_bytes(request, status)).unwrap()
}

pub(crate) fn response_bytes(request: &Message, status: u16) -> Bytes {
    crate::reply::Reply::new(request, status, "b1").finish()
}
