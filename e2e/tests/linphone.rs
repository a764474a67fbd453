//! Linphone, as it comes from Debian.

use chappe_e2e::linphone::Linphone;
use chappe_e2e::{PATIENCE, Phone, Server, Transport, all_found};

fn two_phones(one: &str, other: &str) {
    if !all_found(&["linphone-daemon"]) {
        return;
    }
    let mut server = Server::start();
    let mut alice = Linphone::start(&server, 0, one);
    let mut bob = Linphone::start(&server, 1, other);
    alice.message(1, "salut, ça va 🗼");
    bob.expect("Content: \"salut, ça va 🗼\"");
    // "Delivered", or "DeliveredToUser" where the IMDN of Bob's phone was faster than the look.
    alice.expect("LinphoneChatMessageStateDelivered");
    bob.message(0, "oui, très bien");
    alice.expect("Content: \"oui, très bien\"");
    bob.expect("LinphoneChatMessageStateDelivered");

    alice.command("call sip:user1@localhost");
    bob.expect("LinphoneCallIncomingReceived");
    alice.expect("LinphoneCallOutgoingRinging");
    bob.command("answer");
    alice.expect("LinphoneCallStreamsRunning");
    bob.expect("LinphoneCallStreamsRunning");
    alice.command("terminate");
    alice.expect("LinphoneCallEnd");
    bob.expect("LinphoneCallEnd");

    drop((alice, bob));
    server.stop();
}

#[test]
fn two_phones_over_udp() {
    two_phones("udp", "udp");
}

#[test]
fn two_phones_over_tls() {
    two_phones("tls", "tls");
}

#[test]
fn two_phones_over_tcp_and_tls() {
    two_phones("tcp", "tls");
}

#[test]
fn a_message_for_a_phone_that_is_off_comes_when_it_is_on() {
    if !all_found(&["linphone-daemon"]) {
        return;
    }
    let server = Server::start();
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    assert_eq!(sender.message(1, "while you were out").unwrap(), 202);
    let mut phone = Linphone::start(&server, 1, "udp");
    phone.expect("Content: \"while you were out\"");
    // It sends an IMDN of its own, bare and compressed, which is passed on as it is.
    let receipt = sender.receive(PATIENCE).unwrap().expect("a delivered IMDN");
    assert_eq!(receipt.header("Content-Type"), Some("message/imdn+xml"), "{receipt:?}");
}
