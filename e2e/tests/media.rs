//! Calls between a browser and phones that speak plain RTP: JsSIP in headless Chromium, baresip as it comes from Debian.

use chappe_e2e::baresip::Baresip;
use chappe_e2e::browser::{Browser, Socket};
use chappe_e2e::{Server, wait_for};
use serde_json::json;

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

/// Waits until the gateway has sent so many more packets to the phone. This version of it plays nothing any more once it was held.
fn expect_packets_to_phone(server: &Server) {
    let sent = || server.ask(&["media", "list"])[0]["callee"]["sent_packets"].as_u64().unwrap_or_default();
    let enough = sent() + 25;
    wait_for("packets to the phone", || (sent() >= enough).then_some(()));
}

/// Each side puts the call on hold and takes it up again (RFC 3264 §8.4).
#[test]
fn a_call_is_held_and_taken_up_again_by_either_side() {
    if !Baresip::found() {
        return;
    }
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server) else { return };
    browser.register(&server, 0, Socket::Ws);
    let mut phone = Baresip::with_tone(&server, (1, 0), "udp", PHONE, "", &[]);
    browser.voice(0, BROWSER);
    browser.call(0, 1);
    phone.expect("CALL_INCOMING");
    phone.command("accept", "");
    browser.act(0, "up");
    expect_tones(&server, &mut browser, &mut phone);

    browser.run(0, "hold", json!({ "on": true }));
    phone.expect_on_wire("a=sendonly");
    browser.act(0, "silence");
    browser.run(0, "hold", json!({ "on": false }));
    browser.expect_tone(0, PHONE);
    expect_packets_to_phone(&server);

    phone.command("hold", "");
    browser.run(0, "held", json!({ "on": true }));
    browser.act(0, "quiet");
    phone.command("resume", "");
    browser.run(0, "held", json!({ "on": false }));
    browser.expect_tone(0, PHONE);
    expect_packets_to_phone(&server);
    assert_eq!(server.metric("chappe_media_calls"), 1);
    phone.command("hangup", "");
    browser.act(0, "over");
}

/// Digits pass as events (RFC 4733), in the payload types of each side.
#[test]
fn digits_pass_both_ways() {
    if !Baresip::found() {
        return;
    }
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server) else { return };
    browser.register(&server, 0, Socket::Ws);
    let mut phone = Baresip::with_tone(&server, (1, 0), "tcp", PHONE, "", &[]);
    browser.voice(0, BROWSER);
    browser.call(0, 1);
    phone.expect("CALL_INCOMING");
    phone.command("accept", "");
    browser.act(0, "up");
    expect_tones(&server, &mut browser, &mut phone);
    browser.run(0, "keys", json!({ "digits": "5*" }));
    for digit in ["5", "*"] {
        let event = phone.expect("CALL_DTMF_START");
        assert_eq!(event["param"], digit, "{event}");
    }
    // The browser plays what it gets: 7 is 852 and 1209 Hz.
    for hz in [852, 1209] {
        phone.command("sndcode", "7777");
        browser.run(0, "hearsAmong", json!({ "hz": hz }));
    }
    browser.act(0, "hangUp");
    phone.expect("CALL_CLOSED");
}
