//! Calls between a browser and phones that speak plain RTP: JsSIP in headless Chromium, baresip as it comes from Debian.

use chappe_e2e::baresip::Baresip;
use chappe_e2e::browser::{Browser, Socket};
use chappe_e2e::{Server, wait_for};

/// What a browser says, and what a phone says, in Hz.
const BROWSER: u32 = 440;
const PHONE: u32 = 1000;

fn expect_tones(server: &Server, browser: &mut Browser, phone: &mut Baresip) {
    browser.expect_tone(0, PHONE);
    phone.expect_tone(server, BROWSER);
}

/// Carries a call from a browser to a phone, with a tone both ways, and ends it.
fn browser_calls_phone(transport: &str, account: &str, modules: &[&str]) {
    if !Baresip::found() {
        return;
    }
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server) else { return };
    browser.register(&server, 0, Socket::Ws);
    let mut phone = Baresip::with_tone(&server, (1, 0), transport, PHONE, account, modules);
    browser.voice(0, BROWSER);
    browser.call(0, 1);
    phone.expect("CALL_INCOMING");
    phone.command("accept", "");
    browser.act(0, "up");
    phone.expect("CALL_ESTABLISHED");
    expect_tones(&server, &mut browser, &mut phone);
    assert_eq!(server.metric("chappe_media_calls"), 1);
    browser.act(0, "hangUp");
    phone.expect("CALL_CLOSED");
    wait_for("the ports to be free", || (server.metric("chappe_media_calls") == 0).then_some(()));
    let (came, went) =
        (server.metric("chappe_media_packets_received_total"), server.metric("chappe_media_packets_sent_total"));
    assert!(came > 50 && went > 50, "{came} packets came, {went} went");
}

#[test]
fn a_browser_calls_a_phone_of_plain_rtp() {
    browser_calls_phone("udp", "", &[]);
}

#[test]
fn a_browser_calls_a_phone_that_wants_sdes() {
    browser_calls_phone("tcp", ";mediaenc=srtp-mand", &["srtp.so"]);
}

#[test]
fn a_phone_calls_a_browser() {
    if !Baresip::found() {
        return;
    }
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server) else { return };
    browser.register(&server, 0, Socket::Wss);
    let mut phone = Baresip::with_tone(&server, (1, 0), "tcp", PHONE, "", &[]);
    browser.voice(0, BROWSER);
    phone.command("dialcontact", "");
    browser.act(0, "ringing");
    browser.act(0, "answer");
    phone.expect("CALL_ESTABLISHED");
    expect_tones(&server, &mut browser, &mut phone);
    phone.command("hangup", "");
    assert_eq!(browser.act(0, "over"), "Terminated");
    wait_for("the ports to be free", || (server.metric("chappe_media_calls") == 0).then_some(()));
}
