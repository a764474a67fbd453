//! Next hops that were dialled and send on connections of their own.

use chappe_msrp::Flag;
use chappe_sip::{Flow, Transport};

use super::bed::{Bed, Client, Foreign};

const FAR: &str = "msrp://far.example.net:9/f4r;tcp";

/// A client with a session, and the hop that it has sent to: the connection that was dialled.
fn dialled(bed: &Bed, foreign: &Foreign) -> (Client, String, Client) {
    let (mut alice, alices) = bed.session(0);
    alice.send(&format!("{alices} {} {FAR}", foreign.uri), "mess0001", "", b"out");
    alice.expect("200");
    let mut hop = foreign.accept();
    let got = hop.expect("SEND");
    hop.reply(&got, 200);
    (alice, alices, hop)
}

#[test]
fn chunks_of_all_its_connections_arrive_whole() {
    let bed = Bed::new(|_| {});
    let foreign = Foreign::new();
    let (mut alice, alices, mut hop) = dialled(&bed, &foreign);
    let home = format!("{alices} {}", alice.uri);
    let (mut one, mut two) = (bed.client(), bed.client());
    let running = one.begin(&home, "mess0002", "");
    one.write([b'x'; 3000]);
    bed.until("the first is under way", || bed.relay.counters.bytes.get() == 3003);
    two.send(&home, "mess0003", "", b"between");
    two.expect("200");
    hop.send(&home, "mess0004", "", b"by the old way");
    hop.expect("200");
    one.write([b'x'; 3000]);
    one.write(format!("\r\n-------{running}$\r\n"));
    one.expect("200");
    let (mut long, mut ended) = (0, 0);
    while ended < 3 {
        let got = alice.expect("SEND");
        match got.head.message_id() {
            Some("mess0002") => long += got.body.iter().filter(|byte| **byte == b'x').count(),
            Some("mess0003") => assert_eq!(got.body, b"between"),
            _ => assert_eq!(got.body, b"by the old way"),
        }
        ended += usize::from(got.flag == Flag::End);
    }
    assert_eq!(long, 6000);
    // Each is let go by itself.
    drop(two);
    bed.until("one of them is gone", || bed.relay.all_connections().len() == 3);
    one.send(&home, "mess0005", "", b"and on");
    one.expect("200");
    assert_eq!(alice.expect("SEND").body, b"and on");
    assert!(bed.relay.kill(bed.relay.list(0, 1)[0].id));
    one.send(&home, "mess0006", "", b"too late");
    one.expect("481");
}

#[test]
fn it_may_answer_by_another_connection() {
    let bed = Bed::new(|_| {});
    let foreign = Foreign::new();
    let (mut alice, alices, mut hop) = dialled(&bed, &foreign);
    let out = format!("{alices} {} {FAR}", foreign.uri);
    let mut back = bed.client();
    let id = alice.id();
    let from = alice.uri.clone();
    alice.write(format!(
        "MSRP {id} NICKNAME\r\nTo-Path: {out}\r\nFrom-Path: {from}\r\nUse-Nickname: \"a\"\r\n-------{id}$\r\n"
    ));
    let got = hop.expect("NICKNAME");
    back.reply(&got, 425);
    assert_eq!(alice.expect("425").head.transaction_id(), id);
    alice.send(&out, "mess0002", "", b"what is this?");
    alice.expect("200");
    let got = hop.expect("SEND");
    back.reply(&got, 415);
    let report = alice.expect("REPORT");
    assert_eq!(report.head.status_header().map(|status| status.code), Some(415));
}

#[test]
fn others_get_506_and_it_does_too_when_it_has_enough() {
    let bed = Bed::new(|_| {});
    let elsewhere = Foreign::at("127.0.0.2:0");
    let (alice, alices, _hop) = dialled(&bed, &elsewhere);
    let mut stranger = bed.client();
    stranger.send(&format!("{alices} {}", alice.uri), "mess0002", "", b"let me in");
    stranger.expect("506");
    let foreign = Foreign::new();
    let (alice, alices, _hop) = dialled(&bed, &foreign);
    let ways: Vec<Client> = (0..9)
        .map(|at| {
            let mut way = bed.client();
            way.send(&format!("{alices} {}", alice.uri), "mess0003", "", b"one more");
            way.expect(if at < 8 { "200" } else { "506" });
            way
        })
        .collect();
    drop(ways);
    bed.until("all are forgotten", || bed.relay.all_connections().len() == 5);
    let mut way = bed.client();
    way.send(&format!("{alices} {}", alice.uri), "mess0004", "", b"again");
    way.expect("200");
}

#[test]
fn which_connection_is_beside_one_that_was_dialled() {
    let bed = Bed::new(|_| {});
    let connection = |remote: &str, secure, outbound| {
        let transport = if secure { Transport::Tls } else { Transport::Tcp };
        let flow = Flow { transport, listener: 0, connection: 99, remote: remote.parse().unwrap() };
        bed.relay.new_connection(Some(flow), secure, false, outbound, None)
    };
    for (name, dialled, other, expected) in [
        ("another port", ("192.0.2.1:2855", false, true), ("192.0.2.1:40000", false), true),
        ("the same address, mapped", ("192.0.2.1:2855", false, true), ("[::ffff:192.0.2.1]:40000", false), true),
        ("safer", ("192.0.2.1:2855", false, true), ("192.0.2.1:40000", true), true),
        ("less safe", ("192.0.2.1:2855", true, true), ("192.0.2.1:40000", false), false),
        ("another address", ("192.0.2.1:2855", false, true), ("192.0.2.2:40000", false), false),
        ("to one that came to us", ("192.0.2.1:2855", false, false), ("192.0.2.1:40000", false), false),
    ] {
        let (dialled, other) = (connection(dialled.0, dialled.1, dialled.2), connection(other.0, other.1, false));
        assert_eq!(other.is_beside(&dialled), expected, "{name}");
    }
}
