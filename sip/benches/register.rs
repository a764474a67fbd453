//! What a REGISTER costs: the decision on a mere refresh, and with its 200.

#![allow(clippy::unwrap_used, reason = "a bench may stop")]

use std::hint::black_box;

use bytes::Bytes;
use chappe_sip::outbound::FlowTokens;
use chappe_sip::registrar::{Answer, Binding, GruuKey, Policy, answer, register};
use chappe_sip::{Aor, Flow, Limits, Message, Transport};
use divan::Bencher;

const NOW: u64 = 1_750_000_000;

fn main() {
    divan::main();
}

fn flow() -> Flow {
    Flow { transport: Transport::Tcp, listener: 1, connection: 7, remote: "198.51.100.23:40212".parse().unwrap() }
}

fn registered() -> (Message, Policy, Vec<Binding>) {
    let bytes = Bytes::from_static(include_bytes!("messages/register.sip"));
    let request = Message::parse(bytes, &Limits::default()).unwrap().from_source(flow().remote);
    let policy = Policy::default();
    let mut bindings = Vec::new();
    register(&request, &bindings, &policy, &flow(), NOW).unwrap().apply(&mut bindings);
    bindings[0].cseq = 1;
    (request, policy, bindings)
}

#[divan::bench]
fn refresh(bencher: Bencher) {
    let (request, policy, bindings) = registered();
    let flow = flow();
    bencher.bench_local(|| register(black_box(&request), &bindings, &policy, &flow, NOW).unwrap().is_durable());
}

#[divan::bench(args = [false, true])]
fn refresh_and_answer(bencher: Bencher, gruu: bool) {
    let (request, policy, mut bindings) = registered();
    let (flow, aor, key) = (flow(), Aor::from_canonical("alice@chappe.example"), GruuKey::new([1; 32]));
    let details = Answer {
        aor: &aor,
        flow: &flow,
        to_tag: "0123456789",
        now: NOW,
        service_route: "<sip:orig@chappe.example;lr>",
        associated: "<sip:alice@chappe.example>",
        gruu: gruu.then_some(&key),
    };
    bencher.bench_local(|| {
        let outcome = register(black_box(&request), &bindings, &policy, &flow, NOW).unwrap();
        let (outbound, direct) = (outcome.outbound, outcome.direct);
        outcome.apply(&mut bindings);
        bindings[0].cseq = 1;
        answer(&request, &bindings, outbound, direct, &policy, &details).finish().len()
    });
}

#[divan::bench]
fn flow_token(bencher: Bencher) {
    let tokens = FlowTokens::new(&[1; 32], 1, 1);
    let flow = flow();
    let mut token = String::new();
    bencher.bench_local(|| {
        token.clear();
        tokens.write(black_box(&flow), &mut token);
        tokens.read(&token).is_ok()
    });
}
