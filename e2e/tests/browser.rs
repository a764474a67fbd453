//! JsSIP in headless Chromium: SIP over WebSocket, and sound from browser to browser.

use chappe_e2e::browser::{Browser, Socket};
use chappe_e2e::linphone::Linphone;
use chappe_e2e::{DOMAIN, Phone, Server, Transport, all_found};
use serde_json::json;

const TEXT: &str = "Zürich – Привет – 你好 – 🗼";

fn two_pages(socket: Socket) {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server) else { return };
    browser.register(&server, 0, socket);
    browser.register(&server, 1, socket);
    for (from, to) in [(0, 1), (1, 0)] {
        assert_eq!(browser.send(from, to, TEXT), 200);
        assert_eq!(browser.text(to), TEXT);
    }

    browser.call(0, 1);
    let caller = browser.act(1, "ringing");
    assert_eq!(caller, "sip:user0@localhost");
    browser.act(1, "answer");
    browser.act(0, "up");
    for user in [0, 1] {
        let packets = browser.act(user, "sound");
        assert!(packets.as_u64().is_some_and(|count| count > 0), "user{user} hears {packets}");
    }
    browser.act(1, "hangUp");
    for user in [0, 1] {
        assert_eq!(browser.act(user, "over"), "Terminated");
    }

    browser.call(1, 0);
    browser.act(0, "ringing");
    browser.act(1, "rung");
    browser.act(1, "hangUp");
    for user in [0, 1] {
        assert_eq!(browser.act(user, "over"), "Canceled");
    }

    // Gone, and yet nothing is lost.
    browser.act(1, "unregister");
    server.wait_registered(1, 0);
    assert_eq!(browser.send(0, 1, "later"), 202);
    browser.register(&server, 1, socket);
    assert_eq!(browser.text(1), "later");
}

#[test]
fn two_pages_over_ws() {
    two_pages(Socket::Ws);
}

#[test]
fn two_pages_over_wss() {
    two_pages(Socket::Wss);
}

/// Sound and pictures of two JsSIP phones go from browser to browser.
#[test]
fn two_pages_hear_and_see_each_other() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server) else { return };
    for (user, hz) in [(0, 440), (1, 660)] {
        browser.register(&server, user, Socket::Ws);
        browser.run(user, "voice", json!({ "hz": hz, "video": true }));
    }
    browser.call(0, 1);
    browser.act(1, "ringing");
    browser.act(1, "answer");
    browser.act(0, "up");
    for (user, hz) in [(0, 660), (1, 440)] {
        browser.expect_tone(user, hz);
        browser.run(user, "frames", json!({ "least": 10 }));
    }
    assert_eq!(server.metric("chappe_media_calls_total"), 0, "it is nothing of the gateway's");
    browser.act(0, "hangUp");
    browser.act(1, "over");
}

/// Two pages exchange messages in sessions by the relay, with the module of the web client for MSRP alone (RFC 7977).
#[test]
fn two_pages_exchange_large_messages_by_msrp() {
    const LENGTH: u64 = 5_000_000;
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server) else { return };
    let url = format!("ws://{}/ws", server.addr("http"));
    let mut address = |user: usize| {
        let (name, password) = (format!("user{user}"), format!("pass{user}"));
        let with = json!({ "url": url, "user": name, "password": password, "domain": DOMAIN });
        browser.run(user, "msrpAddress", with)
    };
    let (one, two) = (address(0), address(1));
    browser.run(0, "msrpSession", json!({ "remote": two }));
    browser.run(1, "msrpSession", json!({ "remote": one, "maxSize": LENGTH }));
    for (from, to) in [(0, 1), (1, 0)] {
        let sent = browser.run(from, "msrpSend", json!({ "length": LENGTH, "contentType": "image/png" }));
        assert_eq!(sent["status"], 200, "{sent}");
        assert!(sent["steps"].as_u64().is_some_and(|steps| steps > 100), "{sent}");
        let came = browser.act(to, "msrpReceived");
        assert_eq!((came["length"].as_u64(), &came["contentType"]), (Some(LENGTH), &json!("image/png")), "{came}");
        assert_eq!(came["hash"], sent["hash"]);
    }
    let refused = browser.run(0, "msrpSend", json!({ "length": LENGTH + 1, "contentType": "image/png" }));
    assert_eq!(refused["status"], 413, "what is longer than the other side takes");
    let sent = browser.run(0, "msrpSend", json!({ "length": 10, "contentType": "text/plain" }));
    assert_eq!(sent["status"], 200, "the session goes on: {sent}");
}

#[test]
fn four_transports_reach_each_other() {
    if !all_found(&["linphone-daemon"]) {
        return;
    }
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server) else { return };
    browser.register(&server, 0, Socket::Ws);
    let mut tcp = Phone::registered(&server, 1, Transport::Tcp);
    let mut udp = Phone::registered(&server, 2, Transport::Udp);
    let mut tls = Linphone::start(&server, 3, "tls");
    std::thread::scope(|scope| {
        let udp = scope.spawn(|| {
            assert_eq!(udp.texts(1), ["from TLS"]);
            assert_eq!(udp.message(1, "from UDP").unwrap(), 200);
        });
        let tcp = scope.spawn(|| {
            assert_eq!(tcp.texts(1), ["from UDP"]);
            assert_eq!(tcp.message(0, "from TCP").unwrap(), 200);
        });
        assert_eq!(browser.send(0, 3, "from WebSocket"), 200);
        tls.expect("Content: \"from WebSocket\"");
        tls.message(2, "from TLS");
        assert_eq!(browser.text(0), "from TCP");
        udp.join().unwrap();
        tcp.join().unwrap();
    });
}
