//! Transcripts of one shard, and two shards over a bad link.

use std::time::Instant;

use bytes::Bytes;

use super::testing::{dest, flow, layer, request, request_with, response, response_bytes};
use super::*;
use crate::transaction::testing::{epoch, ms};

/// The start lines of what is to be sent.
fn sent(layer: &mut Layer) -> Vec<String> {
    let first = |bytes: &Bytes| String::from_utf8_lossy(bytes).split("\r\n").next().unwrap_or_default().to_owned();
    std::iter::from_fn(|| layer.poll_transmit()).map(|t| first(&t.bytes)).collect()
}

fn events(layer: &mut Layer) -> Vec<Event> {
    std::iter::from_fn(|| layer.poll_event()).collect()
}

/// Runs the timers until `until`; what was sent, with the milliseconds since `t0`.
fn run(layer: &mut Layer, t0: Instant, until: u64) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while let Some(at) = layer.poll_timeout().filter(|at| *at <= t0 + ms(until)) {
        layer.handle_timeout(at);
        all.extend(sent(layer).into_iter().map(|line| ((at - t0).as_millis() as u64, line)));
    }
    all
}

fn shard() -> (Instant, Layer) {
    let t0 = epoch();
    (t0, layer(t0))
}

fn open(layer: &mut Layer, now: Instant, transport: Transport, message: &Message) -> ServerKey {
    match layer.handle_message(now, flow(transport), message) {
        Input::NewRequest(key) => key,
        other => panic!("{other:?}"),
    }
}

fn start(layer: &mut Layer, now: Instant, transport: Transport, message: &Message, user: u64) -> ClientKey {
    let (branch, method) = (message.branch(), message.method_text());
    layer.request(now, dest(transport), message.bytes().clone(), branch, method, user).unwrap()
}

#[test]
fn a_request_reaches_the_user_once_and_its_copies_get_the_answer() {
    let (t0, mut layer) = shard();
    let message = request("MESSAGE", "z9hG4bK1");
    let key = open(&mut layer, t0, Transport::Udp, &message);
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &message), Input::Absorbed);
    assert_eq!(sent(&mut layer), [""; 0]);
    layer.respond(t0, key, 200, response_bytes(&message, 200)).unwrap();
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &message), Input::Absorbed);
    assert_eq!(sent(&mut layer), ["SIP/2.0 200 OK", "SIP/2.0 200 OK"]);
    assert_eq!(layer.counts().absorbed, 2);
    run(&mut layer, t0, 33_000);
    assert!(layer.is_empty());
    assert!(matches!(layer.handle_message(t0, flow(Transport::Udp), &message), Input::NewRequest(new) if new != key));
}

#[test]
fn a_shortened_transaction_answers_the_first_two_copies() {
    let (t0, mut layer) = shard();
    let message = request("REGISTER", "z9hG4bK1");
    let key = open(&mut layer, t0, Transport::Udp, &message);
    layer.shorten(t0, key);
    assert!(layer.is_open(key), "there is no answer yet");
    layer.respond(t0, key, 200, response_bytes(&message, 200)).unwrap();
    layer.shorten(t0, key);
    sent(&mut layer);
    for at in [500, 1_500] {
        run(&mut layer, t0, at);
        assert_eq!(layer.handle_message(t0 + ms(at), flow(Transport::Udp), &message), Input::Absorbed);
        assert_eq!(sent(&mut layer), ["SIP/2.0 200 OK"]);
    }
    run(&mut layer, t0, 1_999);
    assert_eq!(layer.len(), 1);
    run(&mut layer, t0, 2_000);
    assert!(layer.is_empty());
}

#[test]
fn an_unanswered_invite_gets_a_100_after_200_ms_or_at_once() {
    let (t0, mut layer) = shard();
    open(&mut layer, t0, Transport::Udp, &request("INVITE", "z9hG4bK1"));
    assert_eq!(run(&mut layer, t0, 10_000), [(200, "SIP/2.0 100 Trying".to_owned())]);
    let at_once = open(&mut layer, t0 + ms(10_000), Transport::Tcp, &request("INVITE", "z9hG4bK2"));
    layer.trying(t0 + ms(10_000), at_once);
    layer.trying(t0 + ms(10_000), at_once);
    assert_eq!(sent(&mut layer), ["SIP/2.0 100 Trying"]);
    assert_eq!(run(&mut layer, t0, 20_000), []);
}

#[test]
fn a_100_carries_the_source_in_the_via_and_no_tag() {
    let (t0, mut layer) = shard();
    let invite = request_with("INVITE", "10.0.0.1;rport;branch=z9hG4bK1", "");
    let key = open(&mut layer, t0, Transport::Udp, &invite);
    layer.trying(t0, key);
    let text = String::from_utf8(layer.poll_transmit().unwrap().bytes.to_vec()).unwrap();
    assert!(text.contains("Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.1;rport=5060\r\n"), "{text}");
    assert!(text.contains("To: <sip:bob@example.com>\r\n"), "{text}");
}

#[test]
fn an_unanswered_non_invite_gets_a_100_at_3500_ms_and_ends_without_a_408() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (t0, mut layer) = shard();
        let key = open(&mut layer, t0, transport, &request("MESSAGE", "z9hG4bK1"));
        layer.set_user(key, 5);
        assert_eq!(run(&mut layer, t0, 40_000), [(3_500, "SIP/2.0 100 Trying".to_owned())]);
        assert_eq!(events(&mut layer), [Event::ServerTimeout { server: key, user: 5 }]);
        assert!(layer.is_empty());
        assert_eq!(layer.respond(t0, key, 200, Bytes::new()), Err(RespondError::Gone));
    }
}

#[test]
fn ack_for_an_error_is_absorbed_and_for_a_2xx_passed_on() {
    let (t0, mut layer) = shard();
    let (refused, accepted) = (request("INVITE", "z9hG4bK1"), request("INVITE", "z9hG4bK2"));
    let key = open(&mut layer, t0, Transport::Udp, &refused);
    layer.respond(t0, key, 486, response_bytes(&refused, 486)).unwrap();
    let ack = request_with("ACK", "192.0.2.1;branch=z9hG4bK1", ";tag=b1");
    for _ in 0..2 {
        assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &ack), Input::Absorbed);
    }
    sent(&mut layer);
    assert_eq!(run(&mut layer, t0, 4_000), [], "no copy of the 486 once it is acknowledged");
    let key = open(&mut layer, t0, Transport::Udp, &accepted);
    layer.respond(t0, key, 200, response_bytes(&accepted, 200)).unwrap();
    let own_branch = request_with("ACK", "192.0.2.1;branch=z9hG4bK3", ";tag=b1");
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &own_branch), Input::Ack(None));
    let same_branch = request_with("ACK", "192.0.2.1;branch=z9hG4bK2", ";tag=b1");
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &same_branch), Input::Ack(Some(key)));
}

#[test]
fn a_peer_without_unique_branches_is_matched_by_more() {
    let (t0, mut layer) = shard();
    let invite = request_with("INVITE", "192.0.2.1", "");
    let key = open(&mut layer, t0, Transport::Udp, &invite);
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &invite), Input::Absorbed);
    let cancel = layer.handle_message(t0, flow(Transport::Udp), &request_with("CANCEL", "192.0.2.1", ""));
    assert!(matches!(cancel, Input::Cancel { invite: Some(invite), .. } if invite == key));
    layer.respond(t0, key, 487, response_bytes(&invite, 487)).unwrap();
    let ack = request_with("ACK", "192.0.2.1", ";tag=b1");
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &ack), Input::Absorbed);
}

#[test]
fn cancel_names_its_invite() {
    let (t0, mut layer) = shard();
    let invite = open(&mut layer, t0, Transport::Udp, &request("INVITE", "z9hG4bK1"));
    assert!(layer.is_open(invite));
    let cancel = request("CANCEL", "z9hG4bK1");
    let Input::Cancel { cancel: key, invite: Some(found) } = layer.handle_message(t0, flow(Transport::Udp), &cancel)
    else {
        panic!("no INVITE found")
    };
    assert_eq!(found, invite);
    layer.respond(t0, key, 200, response_bytes(&cancel, 200)).unwrap();
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &cancel), Input::Absorbed);
    assert_eq!(sent(&mut layer), ["SIP/2.0 200 OK", "SIP/2.0 200 OK"]);
    let other = layer.handle_message(t0, flow(Transport::Udp), &request("CANCEL", "z9hG4bK2"));
    assert!(matches!(other, Input::Cancel { invite: None, .. }));
}

#[test]
fn a_response_finds_its_client_by_branch_and_method() {
    let (t0, mut layer) = shard();
    let message = request("MESSAGE", "z9hG4bK1");
    let client = start(&mut layer, t0, Transport::Udp, &message, 42);
    assert_eq!(sent(&mut layer), ["MESSAGE sip:bob@example.com SIP/2.0"]);
    let udp = flow(Transport::Udp);
    for (name, other) in [("branch", request("MESSAGE", "z9hG4bK2")), ("method", request("OPTIONS", "z9hG4bK1"))] {
        assert_eq!(layer.handle_message(t0, udp, &response(&other, 200)), Input::Stray, "{name}");
    }
    for (status, expected) in [
        (100, Input::Response { client, user: 42 }),
        (200, Input::Response { client, user: 42 }),
        (200, Input::Absorbed),
    ] {
        assert_eq!(layer.handle_message(t0, udp, &response(&message, status)), expected);
    }
    run(&mut layer, t0, 5_000);
    assert_eq!(layer.handle_message(t0, udp, &response(&message, 200)), Input::Stray);
    assert_eq!(events(&mut layer), []);
}

#[test]
fn a_client_without_an_answer_times_out() {
    for method in ["INVITE", "MESSAGE"] {
        let (t0, mut layer) = shard();
        let client = start(&mut layer, t0, Transport::Udp, &request(method, "z9hG4bK1"), 9);
        run(&mut layer, t0, 40_000);
        assert_eq!(events(&mut layer), [Event::ClientTimeout { client, user: 9 }]);
        assert!(layer.is_empty());
        assert_eq!(layer.counts().client_timeouts, 1);
    }
}

#[test]
fn an_error_to_an_invite_is_acknowledged_by_the_layer() {
    let (t0, mut layer) = shard();
    let invite = request("INVITE", "z9hG4bK1");
    let client = start(&mut layer, t0, Transport::Udp, &invite, 9);
    sent(&mut layer);
    let busy = response(&invite, 486);
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &busy), Input::Response { client, user: 9 });
    let ack = layer.poll_transmit().unwrap();
    assert!(
        ack.bytes.starts_with(b"ACK sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n")
    );
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &busy), Input::Absorbed);
    assert_eq!(layer.poll_transmit(), Some(ack));
    run(&mut layer, t0, 32_000);
    assert_eq!(events(&mut layer), [Event::ClientEnded { client, user: 9 }]);
}

#[test]
fn cancelling_waits_for_a_1xx_and_is_bounded() {
    let (t0, mut layer) = shard();
    let invite = request("INVITE", "z9hG4bK1");
    let client = start(&mut layer, t0, Transport::Udp, &invite, 9);
    assert!(layer.cancel(t0, client, None));
    assert_eq!(sent(&mut layer), ["INVITE sip:bob@example.com SIP/2.0"]);
    layer.handle_message(t0, flow(Transport::Udp), &response(&invite, 180));
    assert_eq!(sent(&mut layer), ["CANCEL sip:bob@example.com SIP/2.0"]);
    let ok = response(&request("CANCEL", "z9hG4bK1"), 200);
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &ok), Input::Absorbed);
    run(&mut layer, t0, 40_000);
    assert_eq!(events(&mut layer), [Event::ClientTimeout { client, user: 9 }]);
    assert!(layer.is_empty());
    assert!(!layer.cancel(t0, client, None));
}

#[test]
fn transport_errors_end_clients_and_not_servers() {
    let (t0, mut layer) = shard();
    let message = request("MESSAGE", "z9hG4bK1");
    let server = open(&mut layer, t0, Transport::Tcp, &message);
    layer.transport_failed(Origin::Server(server));
    assert_eq!(events(&mut layer), [Event::ServerFailed { server, user: 0 }]);
    assert!(layer.is_open(server));
    let client = start(&mut layer, t0, Transport::Udp, &message, 9);
    let on_tcp = start(&mut layer, t0, Transport::Tcp, &request("MESSAGE", "z9hG4bK2"), 10);
    layer.transport_failed(Origin::Client(client));
    layer.transport_failed(Origin::Client(client));
    layer.flow_closed(&flow(Transport::Udp));
    assert_eq!(events(&mut layer), [Event::ClientFailed { client, user: 9 }]);
    layer.flow_closed(&flow(Transport::Tcp));
    assert_eq!(events(&mut layer), [Event::ClientFailed { client: on_tcp, user: 10 }]);
    assert_eq!(layer.len(), 1);
}

#[test]
fn a_closed_connection_fails_what_waits_on_it_and_nothing_else() {
    let (t0, mut layer) = shard();
    let (address, other) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap());
    let mut number = 0;
    let mut begin = |layer: &mut Layer, dest: Dest| {
        number += 1;
        let message = request("MESSAGE", &format!("z9hG4bK{number}"));
        layer.request(t0, dest, message.bytes().clone(), message.branch(), b"MESSAGE", number).unwrap();
        message
    };
    let on_flow: Vec<_> = (0..4).map(|_| begin(&mut layer, dest(Transport::Tcp))).collect();
    begin(&mut layer, Dest::Address { transport: Transport::Tcp, address });
    begin(&mut layer, Dest::Address { transport: Transport::Tcp, address: other });
    begin(&mut layer, Dest::Flow(Flow { connection: 8, ..flow(Transport::Tcp) }));
    begin(&mut layer, dest(Transport::Udp));
    for answered in [&on_flow[1], &on_flow[3]] {
        layer.handle_message(t0, flow(Transport::Tcp), &response(answered, 200));
    }
    layer.flow_closed(&flow(Transport::Tcp));
    layer.flow_closed(&flow(Transport::Tcp));
    let mut failed: Vec<u64> = events(&mut layer)
        .into_iter()
        .map(|event| match event {
            Event::ClientFailed { user, .. } => user,
            other => panic!("{other:?}"),
        })
        .collect();
    failed.sort_unstable();
    assert_eq!(failed, [1, 3, 5]);
    run(&mut layer, t0, 40_000);
    assert!(layer.is_empty() && layer.flows.is_empty());
}

#[test]
fn a_cancel_finds_room_where_its_invite_did() {
    let t0 = epoch();
    let mut layer = Layer::new(t0, Config { limit: 1, ..Config::default() }, [1, 2, 3, 4]);
    open(&mut layer, t0, Transport::Udp, &request("INVITE", "z9hG4bK1"));
    let cancel = |branch| request("CANCEL", branch);
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &cancel("z9hG4bK2")), Input::Full);
    let taken = layer.handle_message(t0, flow(Transport::Udp), &cancel("z9hG4bK1"));
    assert!(matches!(taken, Input::Cancel { invite: Some(_), .. }));
}

#[test]
fn the_table_has_a_limit() {
    let t0 = epoch();
    let mut layer = Layer::new(t0, Config { limit: 1, ..Config::default() }, [1, 2, 3, 4]);
    let first = request("MESSAGE", "z9hG4bK1");
    open(&mut layer, t0, Transport::Udp, &first);
    let second = request("MESSAGE", "z9hG4bK2");
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &second), Input::Full);
    assert_eq!(layer.handle_message(t0, flow(Transport::Udp), &first), Input::Absorbed);
    assert_eq!(layer.request(t0, dest(Transport::Udp), Bytes::new(), b"z9hG4bK3", b"MESSAGE", 0), Err(Full));
}

#[test]
fn on_a_reliable_transport_a_finished_transaction_is_gone_at_once() {
    let (t0, mut layer) = shard();
    let message = request("MESSAGE", "z9hG4bK1");
    let server = open(&mut layer, t0, Transport::Tcp, &message);
    let client = start(&mut layer, t0, Transport::Tcp, &request("MESSAGE", "z9hG4bK2"), 1);
    assert_eq!(layer.counts(), Counts { non_invite_servers: 1, non_invite_clients: 1, ..Counts::default() });
    let ok = response(&request("MESSAGE", "z9hG4bK2"), 200);
    assert_eq!(layer.handle_message(t0, flow(Transport::Tcp), &ok), Input::Response { client, user: 1 });
    layer.respond(t0, server, 200, response_bytes(&message, 200)).unwrap();
    assert_eq!(sent(&mut layer), ["MESSAGE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK"]);
    assert!(layer.is_empty());
    assert_eq!(layer.counts(), Counts::default());
}

#[test]
fn an_entry_is_small() {
    let size = size_of::<Entry>();
    assert!(size <= 152, "{size} bytes");
}
