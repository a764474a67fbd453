//! Two browsers with the web client and a stock phone: everything that they can do with each other.

use chappe_e2e::baresip::Baresip;
use chappe_e2e::web::WebClients;
use chappe_e2e::{Server, wait_for};
use serde_json::{Value, json};

/// What each of them says, in Hz.
const ADA: u32 = 440;
const CLAUDE: u32 = 660;
const PHONE: u32 = 1000;

fn hears(web: &mut WebClients, page: usize, hz: u32) {
    let heard = web.run(page, "hearsTone", Value::Null);
    let near = heard.as_f64().is_some_and(|heard| (heard - f64::from(hz)).abs() < 15.0);
    assert!(near, "page {page} hears {heard} Hz, not {hz}");
}

/// Users 0 and 1 in browsers, 2 at a phone that is like others or wants SDES.
fn three(server: &Server, account: &str, modules: &[&str]) -> Option<(WebClients, Baresip)> {
    if !Baresip::found() {
        return None;
    }
    let mut web = WebClients::start(server)?;
    web.sign_in(server, 0, "Ada", json!({ "tone": ADA }));
    web.sign_in(server, 1, "Claude", json!({ "tone": CLAUDE, "dark": true, "phone": true }));
    let phone = Baresip::with_tone(server, (2, 0), "tcp", PHONE, account, modules);
    Some((web, phone))
}

/// The phone calls the first browser, which has called it before; a tone goes each way.
fn calls_with_the_phone(server: &Server, web: &mut WebClients, phone: &mut Baresip, dialect: &str) {
    web.run(0, "call", json!(false));
    phone.expect("CALL_INCOMING");
    phone.command("accept", "");
    hears(web, 0, PHONE);
    phone.expect_tone(server, ADA);
    let calls = server.ask(&["media", "list"]);
    let call = &calls[0];
    assert_eq!(
        (&call["caller"]["user"], &call["callee"]["user"]),
        (&json!("user0@localhost"), &json!("user2@localhost"))
    );
    assert_eq!(
        (&call["caller"]["dialect"], &call["caller"]["codecs"]),
        (&json!("browser"), &json!(["PCMU"])),
        "{calls}"
    );
    assert_eq!((&call["callee"]["dialect"], &call["callee"]["lost_packets"]), (&json!(dialect), &json!(0)), "{calls}");
    for side in ["caller", "callee"] {
        assert!(call[side]["received_packets"].as_u64().is_some_and(|count| count > 20), "{calls}");
    }
    web.run(0, "hangUp", Value::Null);
    phone.expect("CALL_CLOSED");
    web.run(0, "noCall", Value::Null);

    phone.command("dialcontact", "");
    web.run(0, "callSays", json!("user2 is calling"));
    web.run(0, "answer", json!(false));
    phone.expect("CALL_ESTABLISHED");
    hears(web, 0, PHONE);
    phone.expect_more_tone(server, ADA);
    phone.command("hangup", "");
    web.run(0, "noCall", Value::Null);
    wait_for("the ports to be free", || (server.metric("chappe_media_calls") == 0).then_some(()));
}

#[test]
fn two_browsers_and_a_phone_do_everything_with_each_other() {
    let server = Server::start();
    let Some((mut web, mut phone)) = three(&server, "", &[]) else { return };

    // Chat, and presence of who talks.
    web.run(0, "begin", json!("user1"));
    web.run(0, "say", json!("Good morning"));
    web.run(1, "choose", json!("Ada"));
    web.wait_mark(0, "Good morning", "displayed");
    web.run(0, "has", json!(".conversation .avatar.there"));
    web.run(0, "attach", json!({ "name": "tower.png", "picture": [640, 400] }));
    assert_eq!(web.run(1, "photo", Value::Null), 320, "the thumbnail");
    web.run(0, "place", json!({ "label": "The tower", "coordinates": "48.8583, 2.2945" }));
    web.run(1, "has", json!(".bubble:has-text('The tower')"));

    // Sound and pictures, from browser to browser.
    web.run(0, "call", json!(true));
    web.run(1, "answer", json!(true));
    hears(&mut web, 0, CLAUDE);
    hears(&mut web, 1, ADA);
    for page in [0, 1] {
        web.run(page, "sees", json!(10));
    }
    assert_eq!(server.metric("chappe_media_calls_total"), 0);
    web.run(1, "hangUp", Value::Null);
    web.run(0, "noCall", Value::Null);
    web.run(1, "noCall", Value::Null);

    // The phone is in a group, and writes and calls.
    web.run(0, "newGroupHere", json!({ "subject": "Telegraph", "members": ["user1", "user2"] }));
    web.run(0, "say", json!("Hello all"));
    phone.expect_on_wire("Hello all");
    web.run(1, "back", Value::Null);
    web.run(1, "choose", json!("Telegraph"));
    web.run(1, "text", json!("Hello all"));
    web.run(0, "beginHere", json!("user2"));
    web.run(0, "say", json!("Are you there?"));
    phone.expect_on_wire("Are you there?");
    web.wait_mark(0, "Are you there?", "sent");
    phone.message("I am");
    web.run(0, "text", json!("I am"));
    calls_with_the_phone(&server, &mut web, &mut phone, "rtp");
    assert_eq!(web.run(0, "strangers", Value::Null), json!([]));
}

#[test]
fn a_browser_and_a_phone_that_wants_sdes_call_each_other() {
    let server = Server::start();
    let Some((mut web, mut phone)) = three(&server, ";mediaenc=srtp-mand", &["srtp.so"]) else { return };
    web.run(0, "begin", json!("user2"));
    calls_with_the_phone(&server, &mut web, &mut phone, "sdes");
}

#[test]
fn a_browser_holds_a_call_and_dials_digits() {
    let server = Server::start();
    let Some((mut web, mut phone)) = three(&server, "", &[]) else { return };
    web.run(0, "begin", json!("user2"));
    web.run(0, "call", json!(false));
    phone.expect("CALL_INCOMING");
    phone.command("accept", "");
    hears(&mut web, 0, PHONE);
    web.run(0, "press", json!("Keypad"));
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));
    for key in ["4", "#"] {
        web.run(0, "press", json!(key));
        assert_eq!(phone.expect("CALL_DTMF_START")["param"], key);
    }
    assert_eq!(web.run(0, "see", json!(".keypad output")), "4#");

    web.run(0, "press", json!("Hold"));
    phone.expect_on_wire("a=sendonly");
    web.run(0, "callSays", json!("On hold"));
    web.run(0, "press", json!("Hold"));
    web.run(0, "callSays", json!(":"));
    hears(&mut web, 0, PHONE);
    phone.command("hold", "");
    web.run(0, "callSays", json!("user2 has put you on hold"));
    phone.command("resume", "");
    web.run(0, "callSays", json!(":"));
    hears(&mut web, 0, PHONE);
    web.run(0, "hangUp", Value::Null);
    phone.expect("CALL_CLOSED");
}
