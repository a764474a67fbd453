//! Requests within the call: offers, glare, other methods, order.

use super::*;

#[test]
fn an_offer_is_asked_of_the_application() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut wire = Wire::up(transport);
        let now = wire.now;
        wire.b.usage().offer(now, body("offer 2")).unwrap();
        assert_eq!(wire.b.usage().offer(now, body("offer 3")), Err(NotNow::Busy));
        wire.settle();
        wire.a.usage().answer_offer(now, Ok(body("answer 2")));
        wire.settle();
        assert_eq!(wire.seen(), ["b INVITE sip:a", "a 200 OK", "b ACK sip:a"]);
        wire.a.usage().offer(now, body("offer 4")).unwrap();
        wire.settle();
        wire.b.usage().answer_offer(now, Err(488));
        wire.settle();
        assert_eq!(wire.seen(), ["a INVITE sip:b", "b 488 Not Acceptable Here", "a ACK sip:b"]);
        let (a, b) = wire.logs();
        assert_eq!(a, ["offer offer 2", "offer refused 488"]);
        assert_eq!(b, ["offer answered answer 2", "offer offer 4"]);
        assert!(wire.a.usage().is_up() && wire.b.usage().is_up());
    }
}

#[test]
fn offers_that_cross_are_refused_and_go_again_one_after_the_other() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    wire.a.usage().offer(now, body("of a")).unwrap();
    wire.b.usage().offer(now, body("of b")).unwrap();
    wire.settle();
    assert_eq!(wire.seen.iter().filter(|l| l.contains("491")).count(), 2, "{:?}", wire.seen);
    // The callee waits for at most 2 s, the caller for 2.1 s at least.
    wire.run(2_050);
    assert_eq!(wire.logs(), (vec!["offer of b"], vec![]));
    let now = wire.now;
    wire.a.usage().answer_offer(now, Ok(body("yes")));
    wire.run(4_100);
    let now = wire.now;
    wire.b.usage().answer_offer(now, Ok(body("yes, too")));
    wire.settle();
    let (a, b) = wire.logs();
    assert_eq!(a, ["offer of b", "offer answered yes, too"]);
    assert_eq!(b, ["offer answered yes", "offer of a"]);
}

#[test]
fn a_second_offer_of_the_peer_waits() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    wire.a.usage().offer(now, body("offer 2")).unwrap();
    wire.settle();
    let update = "UPDATE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=at\r\n\
        To: <sip:b@h>;tag=bt\r\nCall-ID: c1\r\nCSeq: 9 UPDATE\r\nContent-Type: application/sdp\r\n\r\noffer 3";
    wire.b.take(now, &Bytes::from(update));
    let answer = wire.b.send(now).remove(0);
    assert_eq!(line(&answer), "500 Server Internal Error");
    let answer = reread(&answer).unwrap();
    assert!(answer.number(HeaderName::RetryAfter).is_some_and(|seconds| seconds <= 10));
}

#[test]
fn an_update_with_an_offer_is_asked_and_one_without_is_answered() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    let update = |cseq: u32, body: &str| {
        Bytes::from(format!(
            "UPDATE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK{cseq}\r\nFrom: <sip:a@h>;tag=at\r\n\
             To: <sip:b@h>;tag=bt\r\nCall-ID: c1\r\nCSeq: {cseq} UPDATE\r\nContact: <sip:a2>\r\n\r\n{body}"
        ))
    };
    wire.b.take(now, &update(2, ""));
    assert_eq!(wire.b.send(now).iter().map(line).collect::<Vec<_>>(), ["200 OK"]);
    assert_eq!(wire.b.usage().dialog().unwrap().remote_target(), "sip:a2");
    wire.b.take(now, &update(3, "offer 2"));
    assert_eq!(wire.b.send(now), Vec::<Bytes>::new());
    wire.b.usage().answer_offer(now, Ok(body("answer 2")));
    let answer = wire.b.send(now).remove(0);
    assert!(text(&answer).ends_with("\r\n\r\nanswer 2"), "{answer:?}");
    assert_eq!(wire.b.log, ["offer offer 2"]);
}

#[test]
fn an_invite_without_an_offer_gets_ours() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    let invite = "INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=at\r\n\
        To: <sip:b@h>;tag=bt\r\nCall-ID: c1\r\nCSeq: 9 INVITE\r\nContact: <sip:a>\r\n\r\n";
    wire.b.take(now, &Bytes::from(invite));
    let answer = wire.b.send(now).remove(0);
    assert!(text(&answer).ends_with("\r\n\r\nanswer"), "{answer:?}");
    assert_eq!(wire.b.log, [""; 0]);
}

#[test]
fn an_offer_that_nobody_answers_is_cancelled() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    wire.a.usage().offer(now, body("offer 2")).unwrap();
    wire.run(1_000);
    wire.run(178_000);
    assert_eq!(wire.count("a CANCEL sip:b"), 0);
    wire.run(181_000);
    let end = ["a CANCEL sip:b", "b 200 OK", "b 487 Request Terminated", "a ACK sip:b"];
    assert_eq!(wire.seen()[2..], end);
    assert_eq!(wire.logs(), (vec!["offer refused 487"], vec!["offer offer 2"]));
    assert!(wire.a.usage().is_up() && wire.b.usage().is_up());
}

#[test]
fn an_offer_whose_cancel_has_no_answer_ends_the_call() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    wire.a.usage().offer(now, body("offer 2")).unwrap();
    wire.run(1_000);
    wire.lost = vec!["487", "200"];
    wire.run(260_000);
    // The peer is gone (§12.2.1.2).
    assert_eq!(wire.a.log.first().map(|l| &**l), Some("gone 408"));
    wire.lost.clear();
    wire.assert_over();
}

#[test]
fn other_requests_are_handed_out_and_their_answers_come_back() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    wire.b.usage().request("MESSAGE", "X-One: two\r\n", Some(&body("hi"))).unwrap();
    wire.settle();
    let (key, message) = wire.a.asked.pop().unwrap();
    assert_eq!((message.body(), message.other_header("x-one")), (&b"hi"[..], Some(&b"two"[..])));
    wire.a.usage().respond(key, &message, 202, "");
    wire.settle();
    wire.a.usage().request("INFO", "", None).unwrap();
    wire.run(40_000);
    assert_eq!(now + ms(40_000), wire.now);
    let (a, b) = wire.logs();
    assert_eq!(b, ["response 202", "request INFO", "ended Peer"]);
    // Nobody answered: the peer is not there any more (§12.2.1.2).
    assert_eq!(a, ["request MESSAGE", "response 408", "gone 408"]);
    wire.assert_over();
}

#[test]
fn a_request_of_the_past_is_refused() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    wire.b.usage().request("INFO", "", None).unwrap();
    wire.b.usage().request("INFO", "", None).unwrap();
    let mut packets = wire.b.send(now);
    packets.reverse();
    packets.iter().for_each(|packet| wire.a.take(now, packet));
    assert_eq!(wire.a.send(now).iter().map(line).collect::<Vec<_>>(), ["500 Server Internal Error"]);
    assert_eq!(wire.a.log, ["request INFO"]);
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut wire = Wire::up(Transport::Udp);
    wire.a.usage().end(None);
    wire.b.usage().end(None);
    wire.settle();
    assert_eq!(wire.seen(), ["a BYE sip:b", "b BYE sip:a", "a 200 OK", "b 200 OK"]);
    assert_eq!(wire.logs(), (vec!["ended Ours"], vec!["ended Ours"]));
    wire.assert_over();
}

#[test]
fn a_bye_ends_an_offer_that_waits() {
    let mut wire = Wire::up(Transport::Udp);
    let now = wire.now;
    wire.a.usage().offer(now, body("offer 2")).unwrap();
    wire.settle();
    wire.a.usage().end(None);
    wire.settle();
    let seen = ["a INVITE sip:b", "a BYE sip:b", "b 200 OK", "b 487 Request Terminated", "a ACK sip:b"];
    assert_eq!(wire.seen(), seen);
    wire.assert_over();
}

#[test]
fn what_the_answers_to_requests_within_the_call_mean() {
    for (status, offer, other) in [
        (404, true, true),
        (480, true, false),
        (481, true, true),
        (405, false, false),
        (486, false, false),
        (488, false, false),
        (500, false, false),
        (501, false, false),
        (603, false, false),
    ] {
        for (kind, expected) in [(Kind::Reinvite { offer: true }, offer), (Kind::Other, other)] {
            assert_eq!(within::ends_call(kind, status), expected, "{status} {kind:?}");
        }
    }
}

/// An INVITE within the call that offers what was agreed is a refresh, but for who listens for its Subject.
#[test]
fn a_subject_is_heard_by_who_listens() {
    let invite = |cseq: u32, subject: &str, offer: &str| {
        Bytes::from(format!(
            "INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKs{cseq}\r\nFrom: <sip:a@h>;tag=at\r\n\
             To: <sip:b@h>;tag=bt\r\nCall-ID: c1\r\nCSeq: {cseq} INVITE\r\nContact: <sip:a>\r\n{subject}\
             Content-Type: application/sdp\r\n\r\n{offer}"
        ))
    };
    for (name, listens, subject, offer, asked, answer) in [
        ("a refresh", true, "", "offer", false, "200 OK"),
        ("nobody listens", false, "Subject: new\r\n", "offer", false, "200 OK"),
        ("a wish", true, "Subject: new\r\n", "offer", true, "200 OK"),
        ("a wish with another session", true, "Subject: new\r\n", "other", true, "488 Not Acceptable Here"),
    ] {
        let mut wire = Wire::up(Transport::Udp);
        let now = wire.now;
        if listens {
            wire.b.usage().hear_subjects();
        }
        wire.b.take(now, &invite(9, subject, offer));
        let sent = wire.b.send(now);
        assert_eq!(wire.b.log, if asked { vec![format!("offer {offer}")] } else { vec![] }, "{name}");
        let sent = if asked {
            assert!(sent.iter().all(|bytes| line(bytes) == "100 Trying"), "{name}");
            assert_eq!(wire.b.usage().is_offer_unchanged(), offer == "offer", "{name}");
            wire.b.usage().answer_unchanged(now);
            wire.b.send(now)
        } else {
            sent
        };
        assert_eq!(sent.last().map(line).as_deref(), Some(answer), "{name}");
        assert!(wire.b.usage().is_up(), "{name}");
    }
}
