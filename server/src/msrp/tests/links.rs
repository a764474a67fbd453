//! Clients of the relay that talk to sessions of our own, by connections to ourselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::endpoint::{EndClosed, EndUser, Reception, Sent};
use super::bed::{Bed, pattern};
use super::endpoint::{Recorder, Told, agreement, collect, message, new_end};
use crate::msrp::endpoint::End;

fn open(bed: &Bed, client: &str, relay: &str) -> (Arc<End>, Arc<Recorder>, String) {
    let user = Arc::new(Recorder::default());
    let end = bed.relay.endpoint().open(new_end(), Arc::clone(&user) as Arc<dyn EndUser>).unwrap();
    let path = vec![relay.to_owned(), client.to_owned()];
    end.agreed(&chappe_sdp::Agreement { peer_path: path, ..agreement(&end, relay, false) });
    let to = format!("{relay} {}", end.uri().as_str());
    (end, user, to)
}

#[test]
fn a_slow_end_holds_up_no_other_client() {
    const SIZE: usize = 4 << 20;
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let (slow, slows, to_slow) = open(&bed, &alice.uri, &alices);
    let (quick, quicks, to_quick) = open(&bed, &bob.uri, &bobs);
    *slows.reception.lock() = Some(Reception::Stream);
    slows.pauses.store(true, Ordering::Relaxed);
    let writer = std::thread::spawn(move || {
        let id = alice.begin(&to_slow, "mess0001", "");
        for at in (0..SIZE).step_by(1 << 16) {
            alice.write(pattern(at, 1 << 16));
        }
        alice.write(format!("\r\n-------{id}$\r\n"));
        alice
    });
    slows.expect(Told::Bound);
    // Its window is full, and its sender is not read.
    let held = || bed.relay.all_connections().iter().map(|c| c.way_out.lock().outgoing.held()).max().unwrap_or(0);
    bed.until("full", || held() > 128 << 10);
    assert!(*slows.streamed.lock() <= 64 << 10);
    for key in 1..20 {
        bob.send(&to_quick, &format!("mess01{key:02}"), "", b"past the slow one");
        if key == 1 {
            quicks.expect(Told::Bound);
        }
        assert_eq!(bob.expect("200").body, b"");
        quicks.expect(Told::Message(format!("mess01{key:02}"), b"past the slow one".to_vec()));
        quick.send(message(key, "and back")).unwrap();
        assert_eq!(collect(&mut bob).1, b"and back");
        quicks.expect(Told::Sent(key, Sent::Confirmed));
    }
    assert!(held() < 256 << 10, "{} bytes for a receiver that takes nothing", held());
    slows.pauses.store(false, Ordering::Relaxed);
    slow.resume();
    slows.expect(Told::Stream("mess0001".into(), Some(SIZE as u64)));
    let mut alice = writer.join().unwrap();
    alice.expect("200");
}

/// The other way round: a client that does not read stops its own session only, and loses nothing.
#[test]
fn a_slow_client_holds_up_its_own_session_only() {
    const SIZE: usize = 4 << 20;
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let (large, larges, to_large) = open(&bed, &alice.uri, &alices);
    let (_quick, quicks, to_quick) = open(&bed, &bob.uri, &bobs);
    alice.send(&to_large, "mess0001", "", b"hello");
    alice.expect("200");
    larges.expect(Told::Bound);
    larges.expect(Told::Message("mess0001".into(), b"hello".to_vec()));
    large.send(message(1, pattern(0, SIZE))).unwrap();
    let paused =
        || bed.relay.all_connections().iter().any(|c| c.link().is_some() && c.holds.load(Ordering::Relaxed) > 0);
    bed.until("its link is not read", paused);
    bob.send(&to_quick, "mess0002", "", b"past it");
    bob.expect("200");
    quicks.expect(Told::Bound);
    quicks.expect(Told::Message("mess0002".into(), b"past it".to_vec()));
    assert!(collect(&mut alice).1 == pattern(0, SIZE));
    larges.expect(Told::Sent(1, Sent::Confirmed));
}

#[test]
fn links_go_with_their_sessions() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let links = || bed.relay.links.lock().len();
    // The end closes.
    let (end, user, to) = open(&bed, &alice.uri, &alices);
    alice.send(&to, "mess0001", "", b"hello");
    alice.expect("200");
    assert_eq!(links(), 2);
    user.expect(Told::Bound);
    user.expect(Told::Message("mess0001".into(), b"hello".to_vec()));
    end.close();
    user.expect(Told::Closed(EndClosed::Here));
    alice.send(&to, "mess0002", "", b"anybody?");
    alice.expect("481");
    bed.relay.tick(10_000);
    bed.until("nobody uses it", || links() == 0);
    // The client goes.
    let (_end, user, to) = open(&bed, &alice.uri, &alices);
    alice.send(&to, "mess0003", "", b"hello again");
    alice.expect("200");
    user.expect(Told::Bound);
    user.expect(Told::Message("mess0003".into(), b"hello again".to_vec()));
    drop(alice);
    bed.until("the session of the relay", || bed.relay.sessions.len() == 0);
    bed.relay.tick(20_000);
    user.expect(Told::Closed(EndClosed::ConnectionLost));
    bed.until("gone", || links() == 0);
}
