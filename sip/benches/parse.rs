//! What a message costs: indexed (what every layer needs), and with what a proxy or registrar reads of it.

#![allow(clippy::unwrap_used, reason = "a bench may stop")]

use std::hint::black_box;

use bytes::Bytes;
use chappe_sip::header::NameAddr;
use chappe_sip::{Edit, HeaderName, Limits, Message, Uri};
use divan::Bencher;

const MESSAGES: [(&str, &[u8]); 4] = [
    ("register", include_bytes!("messages/register.sip")),
    ("invite", include_bytes!("messages/invite.sip")),
    ("message", include_bytes!("messages/message.sip")),
    ("ok", include_bytes!("messages/ok.sip")),
];
const NAMES: [&str; 4] = ["register", "invite", "message", "ok"];

fn bytes(name: &str) -> Bytes {
    Bytes::from_static(MESSAGES.iter().find(|(n, _)| *n == name).map_or(b"", |(_, m)| m))
}

fn main() {
    divan::main();
}

#[divan::bench(args = NAMES)]
fn parse(bencher: Bencher, name: &str) {
    let (bytes, limits) = (bytes(name), Limits::default());
    bencher.bench_local(|| Message::parse(black_box(&bytes).clone(), &limits).is_ok());
}

/// Request-URI, top Via, branch, From, To, tags, Call-ID, CSeq, first Contact; credentials for a REGISTER.
#[divan::bench(args = NAMES)]
fn typed(bencher: Bencher, name: &str) {
    let (bytes, limits) = (bytes(name), Limits::default());
    bencher.bench_local(|| {
        let message = Message::parse(black_box(&bytes).clone(), &limits).unwrap();
        read(&message)
    });
}

fn read(message: &Message) -> usize {
    let uri = |address: NameAddr<'_>| address.parse_uri().map_or(0, |uri| uri.host.len() + uri.user.len());
    let mut sum = message.check().is_ok() as usize + message.branch().len() + message.cseq() as usize;
    if message.is_request() {
        sum += Uri::parse(message.uri()).map_or(0, |uri| uri.host.len());
    }
    sum += message.via().map_or(0, |via| via.host.len());
    sum += message.from().map_or(0, uri) + message.to().map_or(0, uri);
    sum += message.from_tag().len() + message.to_tag().len() + message.call_id().len();
    if let Some(contact) = message.values(HeaderName::Contact).next() {
        let contact = NameAddr::parse(contact).unwrap();
        sum += contact.param("expires").map_or(0, <[u8]>::len) + uri(contact);
    }
    if let Some(credentials) = message.header(HeaderName::Authorization) {
        for part in chappe_sip::text::list(&credentials[7..]) {
            sum += part.len();
        }
    }
    sum
}

/// The splices of a proxy: Request-URI, Via on top, Max-Forwards, the own Route.
#[divan::bench(args = ["invite", "message"])]
fn forward(bencher: Bencher, name: &str) {
    let message = Message::parse(bytes(name), &Limits::default()).unwrap();
    let message = message.from_source("198.51.100.23:40212".parse().unwrap());
    bencher.bench_local(|| {
        let mut edit = Edit::new(black_box(&message));
        edit.set_request_uri("sip:bob@192.0.2.99:51000;transport=tcp").stamp_via();
        edit.prepend(HeaderName::Via, "SIP/2.0/TCP 203.0.113.9;branch=z9hG4bK0123456789abcdef");
        edit.set(HeaderName::MaxForwards, "68").remove_first_values(HeaderName::Route, 1);
        edit.finish().len()
    });
}
