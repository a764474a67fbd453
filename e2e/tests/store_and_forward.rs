//! What was accepted for an absent user comes, once and in order, whatever happens to the server meanwhile.

use chappe_e2e::kills::{all_arrive, send_over_kills};
use chappe_e2e::{PATIENCE, Phone, Server, Transport, wait_for};

#[test]
fn every_transport_reaches_every_other() {
    let server = Server::start();
    let transports = [Transport::Udp, Transport::Tcp, Transport::Ws];
    let mut phones: Vec<_> =
        transports.iter().enumerate().map(|(user, transport)| Phone::registered(&server, user, *transport)).collect();
    for from in 0..phones.len() {
        for to in 0..phones.len() {
            if from == to {
                continue;
            }
            let text = format!("from {from} to {to}: gruetzi, привет, 你好 🗼");
            // The other phone answers while this one waits for its final response.
            let [sender, receiver] = phones.get_disjoint_mut([from, to]).unwrap();
            std::thread::scope(|scope| {
                let sent = scope.spawn(|| sender.message(to, &text).unwrap());
                assert_eq!(receiver.texts(1), [text.as_str()]);
                assert_eq!(sent.join().unwrap(), 200, "{text}");
            });
        }
    }
}

#[test]
fn messages_for_an_absent_user_wait_and_come_in_order() {
    let mut server = Server::start();
    let mut sender = Phone::registered(&server, 0, Transport::Udp);
    let sent: Vec<_> = (0..30).map(|number| format!("message {number}")).collect();
    for text in &sent {
        assert_eq!(sender.message(1, text).unwrap(), 202, "{text}");
    }
    assert_eq!(server.counts(), [30, 0, 30, 0, 0]);
    server.kill();
    server.restart();
    let mut receiver = Phone::registered(&server, 1, Transport::Tcp);
    assert_eq!(receiver.texts(30), sent);
    receiver.nothing_more();
    wait_for("an empty queue", || (server.counts()[2] == 0).then_some(()));
    // Once delivered it is gone, for the same phone and for another.
    receiver.register(600);
    receiver.nothing_more();
    Phone::registered(&server, 1, Transport::Ws).nothing_more();
    server.stop();
}

#[test]
fn kill_in_the_middle_of_sending_loses_nothing_that_was_accepted() {
    let mut server = Server::start();
    let accepted = send_over_kills(&mut server, 0, 202, |phone, text| phone.message(1, text));
    let mut receiver = Phone::registered(&server, 1, Transport::Udp);
    let came = all_arrive(&mut receiver, &accepted);
    // What came without having been accepted was on its way when the server died.
    assert!(came <= accepted.len() + 3, "{came} came of {}", accepted.len());
}

#[test]
fn kill_in_the_middle_of_delivery_loses_nothing() {
    let mut server = Server::start();
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let sent: Vec<_> = (0..100).map(|number| format!("{number:03}")).collect();
    for text in &sent {
        assert_eq!(sender.message(1, text).unwrap(), 202, "{text}");
    }
    let mut came = Phone::registered(&server, 1, Transport::Tcp).texts(20);
    server.kill();
    server.restart();
    let mut receiver = Phone::registered(&server, 1, Transport::Tcp);
    while came.last() != sent.last() {
        came.extend(receiver.texts(1));
    }
    receiver.nothing_more();
    // Those whose 2xx had not been written down when the server died come again, and no others: a few, for the drain is paced.
    let mut once = came.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once, sent);
    assert!(came.len() <= sent.len() + 40, "{} came again", came.len() - sent.len());
}

#[test]
fn the_sender_hears_of_the_delivery_it_asked_about() {
    let mut server = Server::start();
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let id = "mid-e2e-1";
    let body = format!(
        "From: <sip:user0@localhost>\r\nTo: <sip:user1@localhost>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: {id}\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
         imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n\r\n\
         Content-Type: text/plain;charset=UTF-8\r\n\r\nare you there?"
    );
    assert_eq!(sender.message_of(1, "Content-Type: message/cpim\r\n", &body).unwrap(), 202);
    sender.nothing_more();
    server.kill();
    server.restart();
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let mut receiver = Phone::registered(&server, 1, Transport::Udp);
    assert_eq!(receiver.texts(1), [body], "byte for byte");
    let receipt = sender.receive(PATIENCE).unwrap().expect("a delivered IMDN");
    assert_eq!(receipt.method(), "MESSAGE");
    for expected in ["message/imdn+xml", &format!("<message-id>{id}</message-id>"), "<delivered", "<status>"] {
        let whole = format!("{}\r\n{}", receipt.header("Content-Type").unwrap_or_default(), receipt.body);
        assert!(whole.contains(expected), "no {expected} in {whole}");
    }
    sender.nothing_more();
    receiver.nothing_more();
    // A receipt begets none, and both are done with.
    wait_for("an empty queue", || (server.counts()[2] == 0).then_some(()));
}

#[test]
fn a_device_that_fails_gets_the_message_later() {
    let server = Server::start();
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let mut receiver = Phone::registered(&server, 1, Transport::Tcp);
    receiver.answer = Some("480 Temporarily Unavailable");
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| sender.message(1, "now or later").unwrap());
        assert_eq!(receiver.texts(1), ["now or later"]);
        assert_eq!(sent.join().unwrap(), 202);
    });
    receiver.answer = Some("200 OK");
    receiver.register(600);
    assert_eq!(receiver.texts(1), ["now or later"]);
    // A device that is there in name only: its connection ended without a word.
    drop(receiver);
    wait_for("the dead flow to be noticed", || {
        let users = server.ask(&["registrations"]);
        (!users.to_string().contains("user1@")).then_some(())
    });
    assert_eq!(sender.message(1, "after the call").unwrap(), 202);
    let mut receiver = Phone::registered(&server, 1, Transport::Ws);
    assert_eq!(receiver.texts(1), ["after the call"]);
}

#[test]
fn every_fate_is_counted_and_explained() {
    let server = Server::with(&[("MESSAGE__QUEUE_PER_USER", "3"), ("MESSAGE__MAX_SIZE", "200")]);
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let unknown =
        sender.request("MESSAGE", "sip:nobody@localhost", "sip:nobody@localhost", "Content-Type: text/plain\r\n", "x");
    assert_eq!(unknown.unwrap().code(), 404);
    assert_eq!(sender.message(1, &"x".repeat(201)).unwrap(), 513);
    assert_eq!(sender.message_of(1, "Content-Type: video/mp4\r\n", "x").unwrap(), 415);
    let codes: Vec<_> = (0..4).map(|number| sender.message(1, &format!("{number}")).unwrap()).collect();
    assert!(matches!(codes[..], [202, 202, 202, 480 | 486]), "{codes:?}");
    assert_eq!(sender.message_of(2, "Content-Type: text/plain\r\nExpires: 1\r\n", "soon gone").unwrap(), 202);
    let mut receiver = Phone::registered(&server, 1, Transport::Udp);
    assert_eq!(receiver.texts(3), ["0", "1", "2"]);
    let counts = wait_for("all fates to be sealed", || {
        let counts = server.counts();
        (counts[2] == 0).then_some(counts)
    });
    let [accepted, delivered, _, expired, refused] = counts;
    assert_eq!((accepted, delivered, expired), (accepted, 3, 1), "{counts:?}");
    assert_eq!(accepted, delivered + expired + refused, "{counts:?}");
    Phone::registered(&server, 2, Transport::Udp).nothing_more();
}
