//! The relay over loopback; time is moved by hand.

mod bed;
mod endpoint;
mod hops;
mod links;
mod refused;
mod secure;
mod service;

use std::io::Write;
use std::sync::atomic::Ordering;

use bed::{Bed, Client, Foreign, pattern};
use chappe_msrp::Flag;

#[test]
fn two_clients_exchange_a_message() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    assert!(alices.starts_with(&format!("msrp://{}/", bed.address)) && alices.ends_with(";tcp"), "{alices}");
    // Through both URIs of the one relay, and back.
    let id = alice.send(&format!("{alices} {bobs} {}", bob.uri), "mess0001", "X-Kept: as it was\r\n", b"hello");
    let ok = alice.expect("200");
    assert_eq!(ok.head.transaction_id(), id);
    assert_eq!((ok.head.raw_to_path(), ok.head.raw_from_path()), (alice.uri.as_str(), alices.as_str()));
    let got = bob.expect("SEND");
    assert_eq!(got.head.raw_to_path(), bob.uri);
    assert_eq!(got.head.raw_from_path(), format!("{bobs} {alices} {}", alice.uri));
    assert_eq!((got.body.as_slice(), got.flag), (&b"hello"[..], Flag::End));
    assert_eq!(got.head.header("X-Kept"), Some("as it was"));
    assert_eq!(got.head.byte_range().map(|range| range.to_string()).as_deref(), Some("1-5/5"));
    assert_ne!(got.head.transaction_id(), id);
    bob.reply(&got, 200);

    // A success report takes the way back.
    let report = format!(
        "MSRP rep0rt01 REPORT\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: mess0001\r\nByte-Range: 1-5/5\r\n\
         Status: 000 200 OK\r\n-------rep0rt01$\r\n",
        got.head.raw_from_path(),
        bob.uri
    );
    bob.write(report);
    let report = alice.expect("REPORT");
    assert_eq!(report.head.raw_to_path(), alice.uri);
    assert_eq!(report.head.raw_from_path(), format!("{alices} {bobs} {}", bob.uri));

    // And an answer by the same sessions.
    bob.send(&format!("{bobs} {alices} {}", alice.uri), "mess0002", "Failure-Report: no\r\n", b"good day");
    assert_eq!(alice.expect("SEND").body, b"good day");
    bed.until("the response ended the transaction", || {
        bed.relay.all_connections().iter().all(|connection| connection.way_out.lock().open.is_empty())
    });
    let rows = bed.relay.list(0, 10);
    assert_eq!(
        rows.iter().map(|row| (&*row.user, row.sent_bytes)).collect::<Vec<_>>(),
        [("user0@localhost", 5), ("user1@localhost", 8)]
    );
}

#[test]
fn a_peer_without_relay_uses_the_uri() {
    let bed = Bed::new(|_| {});
    let (mut bob, bobs) = bed.session(1);
    let mut peer = bed.client();
    peer.send(&format!("{bobs} {}", bob.uri), "mess0001", "", b"one");
    peer.expect("200");
    let got = bob.expect("SEND");
    // The way back is the connection that the peer has, though its URI could not be dialled.
    bob.send(&format!("{bobs} msrp://203.0.113.9:9/n0where;tcp"), "mess0002", "", b"two");
    bob.expect("200");
    assert_eq!(peer.expect("SEND").body, b"two");
    bob.reply(&got, 413);
    let report = peer.expect("REPORT");
    assert_eq!(report.head.status_header().map(|status| status.code), Some(413));
    assert_eq!(report.head.message_id(), Some("mess0001"));
    assert_eq!((report.head.raw_to_path(), report.head.raw_from_path()), (peer.uri.as_str(), bobs.as_str()));
    // It is bound now: nobody else may use it.
    let mut other = bed.client();
    other.send(&format!("{bobs} {}", bob.uri), "mess0003", "", b"three");
    other.expect("506");
    drop(peer);
    bed.until("the peer is gone", || bed.relay.list(0, 1)[0].peer.is_none());
    other.send(&format!("{bobs} {}", bob.uri), "mess0004", "", b"four");
    other.expect("200");
}

#[test]
fn who_does_not_get_in() {
    let bed = Bed::new(|settings| {
        settings.auth.min_expires = 60;
        settings.auth.max_expires = 600;
        settings.auth.default_expires = 600;
        settings.auth.sessions_per_user = 2;
        settings.failures = 3;
    });
    let mut client = bed.client();
    assert_eq!(client.auth_as("user0", "wrong", "").kind(), "401");
    let short = client.auth_as("user0", "pass0", "Expires: 10\r\n");
    assert_eq!((short.kind().as_str(), short.head.header("Min-Expires")), ("423", Some("60")));
    let mut client = bed.client();
    let long = client.auth_as("user0", "pass0", "Expires: 86400\r\n");
    assert_eq!((long.kind().as_str(), long.head.header("Max-Expires")), ("423", Some("600")));
    assert_eq!(client.auth_as("user9", "pass9", "").kind(), "403");
    for _ in 0..2 {
        client.auth(0, "Expires: 60\r\n");
    }
    assert_eq!(client.auth_as("user0", "pass0", "").kind(), "403", "too many sessions");
    // Who guesses is let go.
    let mut guess = bed.client();
    for _ in 0..3 {
        assert_eq!(guess.auth_as("user0", "guess", "").kind(), "401");
    }
    assert!(guess.read().is_none(), "closed after the third");
    // And so is who takes us for somebody else (RFC 4976 §6.2).
    let mut astray = bed.client();
    astray.send("msrp://203.0.113.9:2855/s0me;tcp msrp://x:1/y;tcp", "mess0001", "", b"?");
    astray.expect("481");
    assert!(astray.read().is_none());
    let mut guess = bed.client();
    guess.send(&format!("msrp://{}/gu3ss;tcp msrp://x:1/y;tcp", bed.address), "mess0001", "", b"?");
    guess.expect("481");
}

#[test]
fn a_second_auth_renews() {
    let bed = Bed::new(|_| {});
    let (mut client, path) = bed.session(0);
    client.auth_request(&path, "");
    let challenge = client.expect("401");
    let credentials = Client::answer(&challenge.head, "user0", "pass0", &path);
    client.auth_request(&path, &format!("{credentials}Expires: 1800\r\n"));
    let granted = client.expect("200");
    assert_eq!((granted.head.header("Use-Path"), granted.head.header("Expires")), (Some(&*path), Some("1800")));
    assert_eq!(bed.relay.sessions_now(), 1);
    bed.relay.tick(1_000_000);
    assert_eq!(bed.relay.sessions_now(), 1);
    bed.relay.tick(1_800_000);
    assert_eq!(bed.relay.sessions_now(), 0, "expired");
    client.send(&format!("{path} msrp://x:1/y;tcp"), "mess0001", "", b"late");
    client.expect("481");
}

#[test]
fn a_foreign_hop_is_dialled() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let foreign = Foreign::new();
    let far = "msrp://far.example.net:9/f4r;tcp";
    alice.send(&format!("{alices} {} {far}", foreign.uri), "mess0001", "", b"into the world");
    alice.expect("200");
    let mut hop = foreign.accept();
    let got = hop.expect("SEND");
    assert_eq!(got.head.raw_to_path(), format!("{} {far}", foreign.uri));
    assert_eq!(got.head.raw_from_path(), format!("{alices} {}", alice.uri));
    hop.reply(&got, 200);
    // The other direction, by the connection that is there.
    hop.send(&format!("{alices} {}", alice.uri), "mess0002", "", b"and back");
    hop.expect("200");
    assert_eq!(alice.expect("SEND").body, b"and back");
    // An AUTH for the next relay is a request like any other.
    let next = format!("msrp://{};tcp", foreign.uri.split('/').nth(2).unwrap());
    alice.auth_request(&format!("{alices} {next}"), "");
    let got = hop.expect("AUTH");
    assert_eq!(got.head.raw_from_path(), format!("{alices} {}", alice.uri));
    hop.reply(&got, 401);
    let answer = alice.expect("401");
    assert_eq!(answer.head.raw_to_path(), alice.uri);
    assert_eq!(answer.head.raw_from_path(), format!("{alices} {next}"));
}

/// RFC 4976 §9.2: a peer without TLS, once the client has named it.
#[test]
fn a_hop_without_tls_answers_a_session_of_msrps() {
    let bed = Bed::known_as(true, |_| {});
    let (mut alice, alices) = bed.session(0);
    assert!(alices.starts_with("msrps://"), "{alices}");
    let foreign = Foreign::new();
    let mut stranger = bed.client();
    let to_alice = format!("{alices} {}", alice.uri);
    stranger.send(&to_alice, "mess0001", "", b"first");
    stranger.expect("403");
    alice.send(&format!("{alices} {}", foreign.uri), "mess0002", "", b"hello");
    alice.expect("200");
    let mut hop = foreign.accept();
    let got = hop.expect("SEND");
    hop.reply(&got, 200);
    hop.send(&to_alice, "mess0003", "", b"and back");
    hop.expect("200");
    assert_eq!(alice.expect("SEND").body, b"and back");
}

#[test]
fn a_hop_that_cannot_be_reached() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let gone = Foreign::new().uri;
    alice.send(&format!("{alices} {gone}"), "mess0001", "", b"into the void");
    let (first, second) = (alice.read().unwrap(), alice.read());
    assert_eq!(first.kind(), "200");
    let report = second.unwrap();
    assert_eq!((report.kind().as_str(), report.head.status_header().map(|status| status.code)), ("REPORT", Some(408)));
    assert_eq!(report.head.byte_range().map(|range| range.to_string()).as_deref(), Some("1-13/13"));
    // The next one tries again.
    alice.send(&format!("{alices} {gone}"), "mess0002", "Failure-Report: no\r\n", b"again");
    bed.until("dialled twice", || bed.relay.counters.dial_failures.get() == 2);
}

#[test]
fn silence_of_the_next_hop_is_told_after_30_seconds() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let to = format!("{alices} {bobs} {}", bob.uri);
    alice.send(&to, "mess0001", "", b"?");
    alice.send(&to, "mess0002", "Failure-Report: partial\r\n", b"?");
    alice.send(&to, "mess0003", "Failure-Report: no\r\n", b"?");
    alice.expect("200");
    for _ in 0..3 {
        bob.expect("SEND");
    }
    let waiting = || {
        let connections = bed.relay.all_connections();
        connections.iter().map(|connection| connection.way_out.lock().open.len()).sum::<usize>()
    };
    bed.until("two of them wait for a response", || waiting() == 2);
    bed.relay.tick(29_000);
    assert_eq!(bed.relay.counters.timeouts.get(), 0);
    bed.relay.tick(30_000);
    let report = alice.expect("REPORT");
    assert_eq!(report.head.message_id(), Some("mess0001"));
    assert_eq!(report.head.status_header().map(|status| status.code), Some(408));
    assert_eq!(report.head.raw_to_path(), alice.uri);
    // Nothing about the others.
    alice.send(&alices, "mess0004", "", b"");
    assert_eq!(alice.read().unwrap().kind(), "400");
}

#[test]
fn probation_ends_after_30_seconds() {
    let bed = Bed::new(|_| {});
    let mut idle = bed.client();
    let (mut alice, alices) = bed.session(0);
    bed.until("both are there", || bed.relay.all_connections().len() == 2);
    bed.relay.tick(29_000);
    bed.relay.tick(30_000);
    assert!(idle.read().is_none());
    let id = alice.id();
    let uri = alice.uri.clone();
    alice.write(format!(
        "MSRP {id} SEND\r\nTo-Path: {alices}\r\nFrom-Path: {uri}\r\nMessage-ID: keepal1ve\r\n-------{id}$\r\n"
    ));
    alice.expect("200");
}

#[test]
fn the_source_dies_in_mid_chunk() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let to = format!("{alices} {bobs} {}", bob.uri);
    alice.begin(&to, "mess0001", "");
    alice.write([b'x'; 5000]);
    bed.until("it is under way", || bed.relay.counters.bytes.get() == 5000);
    drop(alice);
    let got = bob.expect("SEND");
    assert_eq!((got.flag, got.head.message_id()), (Flag::Abort, Some("mess0001")));
    assert!(got.body.len() <= 5000 && got.body.iter().all(|byte| *byte == b'x'));
}

#[test]
fn the_target_dies() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let to = format!("{alices} {bobs} {}", bob.uri);
    alice.send(&to, "mess0001", "", b"taken, not answered");
    alice.expect("200");
    bob.expect("SEND");
    let running = alice.begin(&to, "mess0002", "");
    alice.write([b'x'; 5000]);
    bed.until("it is under way", || bed.relay.counters.bytes.get() == 5019);
    drop(bob);
    let report = alice.expect("REPORT");
    assert_eq!(report.head.message_id(), Some("mess0001"));
    assert_eq!(report.head.status_header().map(|status| status.code), Some(408));
    alice.write([b'x'; 100]);
    let refused = alice.expect("408");
    assert_eq!(refused.head.transaction_id(), running);
    alice.write(format!("\r\n-------{running}#\r\n"));
    alice.send(&to, "mess0003", "", b"?");
    alice.expect("481");
}

/// 64 MB in one SEND to a receiver that does not read at first.
#[test]
fn a_slow_receiver_pauses_the_source_and_nothing_is_lost() {
    const SIZE: usize = 64 << 20;
    const PART: usize = 1 << 16;
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let to = format!("{alices} {bobs} {}", bob.uri);
    let block = pattern(0, PART);
    let sent = block.clone();
    let writer = std::thread::spawn(move || {
        let id = alice.begin(&to, "mess0001", "");
        for _ in 0..SIZE / PART {
            alice.stream.write_all(&sent).unwrap();
        }
        alice.write(format!("\r\n-------{id}$\r\n"));
        (alice, id)
    });
    bed.until("the source is paused", || bed.relay.counters.pauses.get() > 0);
    let held = || {
        let connections = bed.relay.all_connections();
        let queued = connections.iter().map(|connection| {
            let socket = connection.flow().map_or(0, |flow| bed.net.queued(flow));
            connection.way_out.lock().outgoing.held() + socket
        });
        queued.sum::<usize>()
    };
    assert!(held() <= 400 * 1024, "{}", held());
    let (mut total, mut most) = (0, 0);
    loop {
        let got = bob.expect("SEND");
        let range = got.head.byte_range().unwrap();
        assert_eq!(range.start, total as u64 + 1);
        for (at, byte) in got.body.iter().enumerate() {
            assert!(*byte == block[(total + at) % PART], "byte {}", total + at);
        }
        total += got.body.len();
        most = most.max(held());
        bob.reply(&got, 200);
        if got.flag == Flag::End {
            break;
        }
    }
    assert_eq!(total, SIZE);
    assert!(most <= 400 * 1024, "{most}");
    let (mut alice, id) = writer.join().unwrap();
    assert_eq!(alice.expect("200").head.transaction_id(), id);
    assert!(bed.relay.all_connections().iter().all(|connection| connection.holds.load(Ordering::Relaxed) == 0));
}

/// What one session has to say is not behind all that another has.
#[test]
fn two_sessions_on_one_connection_share_it() {
    let bed = Bed::new(|_| {});
    let (mut bob, bobs) = bed.session(1);
    let second = bob.auth(1, "");
    let mut alice = bed.client();
    let mut carol = bed.client();
    let (to_first, to_second) = (format!("{bobs} {}", bob.uri), format!("{second} {}", bob.uri));
    let big = std::thread::spawn(move || {
        let id = alice.begin(&to_first, "big00001", "Failure-Report: no\r\n");
        for part in 0..64 {
            alice.write(pattern(part << 16, 1 << 16));
        }
        alice.write(format!("\r\n-------{id}$\r\n"));
        alice
    });
    bed.until("the way is full", || bed.relay.counters.pauses.get() > 0);
    carol.send(&to_second, "small001", "", b"let me through");
    carol.expect("200");
    let (mut before, mut after, mut passed) = (0, 0, false);
    loop {
        let got = bob.expect("SEND");
        match got.head.message_id() {
            Some("small001") => passed = true,
            _ if passed => after += got.body.len(),
            _ => before += got.body.len(),
        }
        if got.flag == Flag::End && got.head.message_id() == Some("big00001") {
            break;
        }
    }
    assert_eq!(before + after, 64 << 16);
    assert!(passed && after > 0, "{before} bytes of the other before it, {after} after");
    big.join().unwrap();
}

/// RFC 7977: a browser to a client on TCP and back; large chunks become messages of bounded size.
#[test]
fn a_websocket_client() {
    let bed = Bed::new(|_| {});
    let (mut bob, bobs) = bed.session(1);
    let mut browser = bed.websocket();
    let uri = "msrp://df7jal23ls0d.invalid:2855/98cjs;ws";
    let to = format!("msrp://user0@{};ws", bed.websocket);
    let auth = |headers: &str| {
        format!("MSRP 4uth0001 AUTH\r\nTo-Path: {to}\r\nFrom-Path: {uri}\r\n{headers}-------4uth0001$\r\n")
    };
    browser.send(auth("").as_bytes(), 1000);
    let challenge = browser.frame();
    browser.send(auth(&Client::answer(&challenge.head, "user0", "pass0", &to)).as_bytes(), 1000);
    let granted = browser.frame();
    let path = granted.head.header("Use-Path").expect("a session").to_owned();
    // It is for the rest of the world, which comes by TCP.
    assert!(path.starts_with(&format!("msrp://{}/", bed.address)) && path.ends_with(";tcp"), "{path}");
    // A message in fragments that end anywhere.
    let send = format!(
        "MSRP s3nd0001 SEND\r\nTo-Path: {path} {bobs} {}\r\nFrom-Path: {uri}\r\nMessage-ID: mess0001\r\n\
         Byte-Range: 1-5/5\r\nContent-Type: text/plain\r\n\r\nhello\r\n-------s3nd0001$\r\n",
        bob.uri
    );
    browser.send(send.as_bytes(), 7);
    assert_eq!(browser.frame().kind(), "200");
    let got = bob.expect("SEND");
    assert_eq!(got.body, b"hello");
    bob.reply(&got, 200);
    let body = pattern(0, 200_000);
    bob.send(&format!("{bobs} {path} {uri}"), "mess0002", "Failure-Report: no\r\n", &body);
    let mut whole = Vec::new();
    loop {
        let got = browser.frame();
        assert!(got.head.bytes().len() + got.body.len() <= 64 * 1024, "{}", got.body.len());
        assert_eq!(got.head.byte_range().map(|range| range.start), Some(whole.len() as u64 + 1));
        whole.extend_from_slice(&got.body);
        if got.flag == Flag::End {
            break;
        }
    }
    assert!(whole == body);
    // A message has to be a frame, and a whole one.
    browser.send(&send.as_bytes()[..100], 1000);
    assert!(browser.try_frame().is_none(), "closed");
}

#[test]
fn a_session_has_its_rate() {
    let bed = Bed::new(|settings| settings.rate = 40_000);
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let to = format!("{alices} {bobs} {}", bob.uri);
    alice.send(&to, "mess0001", "", &[b'x'; 60_000]);
    bob.expect("SEND");
    bed.until("the source is not read", || {
        bed.relay.all_connections().iter().any(|connection| connection.holds.load(Ordering::Relaxed) > 0)
    });
    for _ in 0..4 {
        bed.relay.refill();
    }
    bed.until("it is read again", || {
        bed.relay.all_connections().iter().all(|connection| connection.holds.load(Ordering::Relaxed) == 0)
    });
}

#[test]
fn a_session_can_be_killed() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let number = bed.relay.list(0, 10)[0].id;
    assert!(bed.relay.kill(number) && !bed.relay.kill(number));
    alice.send(&format!("{alices} msrp://x:1/y;tcp"), "mess0001", "", b"?");
    alice.expect("481");
    // In the middle of a chunk: both sides hear of it.
    let (mut bob, bobs) = bed.session(1);
    let running = alice.begin(&format!("{bobs} {}", bob.uri), "mess0002", "");
    alice.write([b'x'; 5000]);
    bed.until("it is under way", || bed.relay.counters.bytes.get() == 5000);
    assert!(bed.relay.kill(bed.relay.list(0, 10)[0].id));
    alice.write([b'x'; 100]);
    assert_eq!(alice.expect("481").head.transaction_id(), running);
    assert_eq!(bob.expect("SEND").flag, Flag::Abort);
    let mut page = crate::metrics::Exposition::new();
    bed.relay.write_metrics(&mut page);
    let page = page.finish();
    assert!(page.contains("chappe_msrp_sessions 0\n") && page.contains("chappe_msrp_sessions_total 2\n"), "{page}");
}
