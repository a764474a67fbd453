//! All that the server sends is well-formed in the eyes of tshark.

use std::time::Duration;

use chappe_e2e::capture::Capture;
use chappe_e2e::sipp::{Access, Scenario};
use chappe_e2e::{Phone, Server, Transport, all_found, wait_for};

#[test]
fn tshark_finds_nothing_malformed() {
    if !all_found(&["tshark", "sipp"]) {
        return;
    }
    let server = Server::start();
    let Some(mut capture) = Capture::start(&server) else { return };
    let ip = server.address().ip();

    // Messages over each transport, at once and later, receipts, and requests that are refused.
    let mut phones: Vec<_> = [Transport::Udp, Transport::Tcp, Transport::Ws]
        .into_iter()
        .enumerate()
        .map(|(user, transport)| Phone::registered(&server, user, transport))
        .collect();
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let [sender, receiver] = phones.get_disjoint_mut([from, to]).unwrap();
        std::thread::scope(|scope| {
            let sent = scope.spawn(|| sender.message(to, "Zürich 你好").unwrap());
            receiver.texts(1);
            assert_eq!(sent.join().unwrap(), 200);
        });
    }
    let envelope = "From: <sip:user1@localhost>\r\nTo: <sip:user5@localhost>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
                    imdn.Message-ID: wire1\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
                    imdn.Disposition-Notification: positive-delivery\r\n\r\nContent-Type: text/plain\r\n\r\nlater";
    for user in [0, 1, 2] {
        let phone = &mut phones[user];
        assert_eq!(phone.message_of(5, "Content-Type: message/cpim\r\n", envelope).unwrap(), 202);
        assert_eq!(phone.message_of(5, "Content-Type: video/mp4\r\n", "x").unwrap(), 415);
        let nobody = "sip:nobody@localhost";
        assert_eq!(phone.request("MESSAGE", nobody, nobody, "Content-Type: text/plain\r\n", "x").unwrap().code(), 404);
        let options = phone.request("OPTIONS", "sip:localhost", "sip:localhost", "", "").unwrap();
        assert_eq!(options.code(), 200);
        let events = "Event: reg\r\nExpires: 60\r\nContact: <sip:x@127.0.0.1>\r\nAccept: application/reginfo+xml\r\n";
        let aor = phone.aor();
        let subscribed = phone.request("SUBSCRIBE", &aor, &aor, events, "").unwrap();
        assert!((200..300).contains(&subscribed.code()), "{subscribed:?}");
        assert!(phone.receive(chappe_e2e::PATIENCE).unwrap().is_some_and(|notify| notify.method() == "NOTIFY"));
    }
    let mut late = Phone::registered(&server, 5, Transport::Udp);
    late.texts(3);
    for phone in &mut phones {
        let receipt = phone.receive(chappe_e2e::PATIENCE).unwrap();
        assert!(receipt.is_some_and(|receipt| receipt.method() == "MESSAGE"));
    }

    // A call that is answered and one that is given up.
    let callee = Scenario::new(Access::Tcp).register().ring().pick_up().ended();
    let mut there = callee.start(&server, "there", 7, 6);
    server.wait_registered(7, 1);
    let caller = Scenario::new(Access::Udp).register().invite().accepted().pause(Duration::from_millis(200)).bye();
    caller.start(&server, "here", 6, 7).done();
    there.done();
    let mut there = Scenario::new(Access::Udp).register().ring().cancelled().start(&server, "away", 8, 6);
    server.wait_registered(8, 1);
    Scenario::new(Access::Udp).register().invite().cancel().start(&server, "impatient", 6, 8).done();
    there.done();
    wait_for("empty queues", || (server.counts()[2] == 0).then_some(()));
    capture.end();

    let seen = capture.packets("sip", &["frame.number"]).len();
    assert!(seen > 100, "only {seen} SIP packets were captured");
    assert!(!capture.packets("websocket and sip", &["frame.number"]).is_empty(), "WebSocket is not understood");
    let bad = "(_ws.malformed or _ws.expert.severity >= 6291456) and (sip or sdp or websocket or xml)";
    let bad = capture.packets(bad, &["frame.number", "_ws.expert.message", "sip.Request-Line", "sip.Status-Line"]);
    assert!(bad.is_empty(), "tshark finds fault with {bad:#?}");
    // A datagram from us that tshark does not take for SIP is a fault, too.
    let odd = format!(
        "ip.src == {ip} and udp.srcport == {} and not sip and not stun and udp.length > 12",
        server.addr("udp").port()
    );
    let odd = capture.packets(&odd, &["frame.number", "udp.payload"]);
    assert!(odd.is_empty(), "not recognised as SIP: {odd:#?}");
}
