//! JsSIP in headless Chromium: SIP over WebSocket, and sound from browser to browser.

use chappe_e2e::browser::{Browser, Socket};
use chappe_e2e::linphone::Linphone;
use chappe_e2e::{Phone, Server, Transport, all_found};

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
