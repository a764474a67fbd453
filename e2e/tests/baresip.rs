//! baresip, as it comes from Debian.

use chappe_e2e::baresip::Baresip;
use chappe_e2e::linphone::Linphone;
use chappe_e2e::{PATIENCE, Phone, Server, Transport, all_found};

fn messages_both_ways(transport: &str) {
    if !Baresip::found() {
        return;
    }
    let mut server = Server::start();
    let mut phone = Baresip::start(&server, 1, 0, transport);
    server.wait_registered(1, 1);
    let mut other = Phone::registered(&server, 0, Transport::Tcp);
    assert_eq!(other.message(1, "salut, ça va 🗼").expect("the server lives"), 200);
    phone.expect_on_wire("salut, ça va 🗼");
    phone.message("oui, très bien");
    let came = other.receive(PATIENCE).expect("the server lives").expect("a MESSAGE");
    assert_eq!((came.method(), &*came.body), ("MESSAGE", "oui, très bien"), "{came:?}");
    drop(phone);
    // It takes its binding away when it ends.
    server.wait_registered(1, 0);
    server.stop();
}

#[test]
fn messages_both_ways_over_udp() {
    messages_both_ways("udp");
}

#[test]
fn messages_both_ways_over_tcp() {
    messages_both_ways("tcp");
}

#[test]
fn messages_both_ways_over_tls() {
    messages_both_ways("tls");
}

#[test]
fn a_call_over_udp_and_tls() {
    if !Baresip::found() {
        return;
    }
    let server = Server::start();
    let mut alice = Baresip::start(&server, 0, 1, "udp");
    let mut bob = Baresip::start(&server, 1, 0, "tls");
    alice.command("dialcontact", "");
    bob.expect("CALL_INCOMING");
    alice.expect("CALL_RINGING");
    bob.command("accept", "");
    alice.expect("CALL_ESTABLISHED");
    bob.expect("CALL_ESTABLISHED");
    bob.command("hangup", "");
    alice.expect("CALL_CLOSED");
}

#[test]
fn messages_and_a_call_with_linphone() {
    if !Baresip::found() || !all_found(&["linphone-daemon"]) {
        return;
    }
    let server = Server::start();
    let mut alice = Linphone::start(&server, 0, "tls");
    let mut bob = Baresip::start(&server, 1, 0, "tcp");
    alice.message(1, "salut, ça va 🗼");
    bob.expect_on_wire("salut, ça va 🗼");
    bob.message("oui, très bien");
    alice.expect("Content: \"oui, très bien\"");

    alice.command("call sip:user1@localhost");
    bob.expect("CALL_INCOMING");
    bob.command("accept", "");
    alice.expect("LinphoneCallStreamsRunning");
    bob.expect("CALL_ESTABLISHED");
    alice.command("terminate");
    bob.expect("CALL_CLOSED");
}

/// Each publishes its presence and watches the other; one is told when the other is gone, however it went.
#[test]
fn two_phones_see_each_other_come_and_go() {
    if !Baresip::found() {
        return;
    }
    let server = Server::start();
    let mut alice = Baresip::present(&server, 0, 1, "udp");
    let mut bob = Baresip::present(&server, 1, 0, "tcp");
    alice.expect_peer("Online");
    bob.expect_peer("Online");
    bob.command("presence_offline", "");
    alice.expect_peer("Offline");
    bob.command("presence_online", "");
    alice.expect_peer("Online");
    // Its connection ends, and nothing is said.
    bob.kill();
    alice.expect_peer("Offline");
}
