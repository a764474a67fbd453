//! The session timer between two ends.

use super::*;

const HOUR: u64 = 3_600_000;

#[test]
fn the_caller_refreshes_at_half_time() {
    let mut wire = Wire::up(Transport::Udp);
    wire.run(HOUR);
    // Asked for 1800 s: an UPDATE each 900 s.
    assert_eq!(wire.seen(), ["a UPDATE sip:b", "b 200 OK"].repeat(4));
    assert!(wire.a.usage().is_up() && wire.b.usage().is_up());
    assert_eq!(wire.logs(), (vec![], vec![]));
}

#[test]
fn without_update_a_reinvite_refreshes() {
    let mut wire = Wire::new(Transport::Udp);
    wire.b.policy.allow = "INVITE, ACK, CANCEL, BYE";
    wire.a.call(wire.now, None);
    wire.settle();
    let now = wire.now;
    wire.b.usage().accept(now, body("answer"), "");
    wire.settle();
    wire.seen.clear();
    wire.run(HOUR);
    assert_eq!(wire.seen(), ["a INVITE sip:b", "b 200 OK", "a ACK sip:b"].repeat(4));
    assert!(wire.b.usage().is_up());
}

#[test]
fn a_peer_that_is_gone_is_noticed() {
    for refresher in ["a", "b"] {
        let mut wire = Wire::up(Transport::Udp);
        wire.lost = vec!["UPDATE", "BYE"];
        if refresher == "b" {
            // The caller refreshes and never hears of it; the callee sees nothing.
            wire.lost = vec!["UPDATE", "200"];
        }
        wire.run(HOUR);
        let (a, b) = wire.logs();
        assert_eq!(a.first(), Some(&"gone 408"), "{refresher}");
        let b = b.first().copied().unwrap_or_default();
        match refresher {
            "a" => assert!(b.starts_with("ended Expired"), "{b}"),
            _ => assert_eq!(b, "ended Peer"),
        }
        wire.lost.clear();
        wire.assert_over();
    }
}

#[test]
fn a_session_that_nobody_refreshes_is_given_up_in_time() {
    let mut wire = Wire::up(Transport::Udp);
    wire.lost = vec!["UPDATE", "BYE"];
    wire.b.log.clear();
    wire.run(1_767_000);
    assert_eq!(wire.b.log, [""; 0]);
    wire.run(1_769_000);
    assert_eq!(wire.b.log, ["ended Expired SIP;cause=408;text=\"Session Expired\""]);
}

#[test]
fn a_422_raises_the_interval_once() {
    let mut wire = Wire::new(Transport::Udp);
    wire.b.policy.min_se = 3_600;
    wire.a.call(wire.now, None);
    wire.settle();
    let now = wire.now;
    wire.b.usage().accept(now, body("answer"), "");
    wire.settle();
    let seen = [
        "a INVITE sip:b",
        "b 422 Session Interval Too Small",
        "a ACK sip:b",
        "a INVITE sip:b",
        "b 200 OK",
        "a ACK sip:b",
    ];
    assert_eq!(wire.seen(), seen);
    wire.run(HOUR);
    assert_eq!(wire.seen(), ["a UPDATE sip:b", "b 200 OK"].repeat(2));
}

#[test]
fn without_a_wish_there_is_no_timer() {
    let mut wire = Wire::new(Transport::Udp);
    wire.a.policy.session_expires = 0;
    wire.b.policy.session_expires = 0;
    wire.a.call(wire.now, None);
    wire.settle();
    let now = wire.now;
    wire.b.usage().accept(now, body("answer"), "");
    wire.settle();
    wire.seen.clear();
    wire.run(10 * HOUR);
    assert_eq!(wire.seen(), [""; 0]);
}
