//! The web client, as users have it: typed and clicked in headless Chromium.

mod back;
mod files;
mod groups;
mod people;
mod relay;
mod three;

use chappe_e2e::web::WebClients;
use chappe_e2e::{Phone, Server, Transport};
use serde_json::{Value, json};

const TEXT: &str = "Zürich – Привет – 你好 – 🗼";

/// The texts of the open conversation.
fn texts(web: &mut WebClients, page: usize) -> Vec<String> {
    let texts = web.run(page, "texts", Value::Null);
    texts.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[test]
fn two_users_chat_with_marks_typing_replies_and_reactions() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    web.sign_in(&server, 0, "Ada", json!({}));
    web.sign_in(&server, 1, "Claude", json!({ "dark": true, "phone": true }));
    let first = web.run(0, "firstLoad", Value::Null);
    assert!(first.as_u64().is_some_and(|bytes| bytes > 1000 && bytes < 300 * 1024), "first load: {first} bytes");
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));

    web.run(0, "begin", json!("user1"));
    web.run(0, "say", json!(TEXT));
    web.wait_mark(0, TEXT, "delivered");
    web.run(1, "unread", json!(1));
    assert_eq!(web.run(1, "findings", Value::Null), json!([]));
    web.run(1, "choose", json!("Ada"));
    assert_eq!(web.run(1, "text", json!(TEXT)), 1);
    web.wait_mark(0, TEXT, "displayed");

    web.run(1, "type", json!("An"));
    web.run(0, "typing", Value::Null);
    web.run(1, "say", json!("An answer"));
    web.run(0, "text", json!("An answer"));
    web.run(0, "reply", json!({ "to": "An answer", "text": "A reply" }));
    web.run(1, "text", json!("A reply"));
    assert_eq!(web.run(1, "see", json!(".quote strong")), "You");
    web.run(1, "react", json!({ "to": "A reply", "sign": "👍" }));
    assert_eq!(web.run(0, "see", json!(".signs")).as_str().map(|signs| signs.contains('👍')), Some(true));
    web.run(0, "edit", json!({ "text": "A reply", "into": "A better reply" }));
    web.run(1, "text", json!("A better reply"));
    web.run(0, "recall", json!("A better reply"));
    web.run(1, "text", json!("Message deleted"));
    for page in [0, 1] {
        assert_eq!(web.run(page, "findings", Value::Null), json!([]));
        assert_eq!(texts(&mut web, page).len(), 3);
    }
    assert_eq!(web.run(0, "strangers", Value::Null), json!([]));

    // Nothing stays of a user who has signed out.
    assert_eq!(web.run(0, "signOut", Value::Null), json!([]));
    server.wait_registered(0, 0);
}

#[test]
fn a_wrong_password_is_told() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    web.open(&server, 0, json!({}));
    let fault = web.try_sign_in(0, "wrong", "");
    assert!(fault.contains("does not know"), "{fault}");
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));
    assert_eq!(web.try_sign_in(0, "pass0", ""), "");
}

#[test]
fn the_client_comes_back_after_a_restart_of_the_server_and_nothing_is_lost_or_doubled() {
    let mut server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    for user in [0, 1] {
        web.sign_in(&server, user, "", json!({}));
        web.run(user, "begin", json!(format!("user{}", 1 - user)));
    }
    web.run(0, "say", json!("one"));
    web.wait_mark(0, "one", "displayed");
    web.run(0, "kept", Value::Null);
    server.kill();
    web.run(0, "state", json!("offline"));
    web.run(0, "say", json!("two"));
    web.wait_mark(0, "two", "waiting");
    // What waits survives the end of the page.
    web.run(0, "reload", Value::Null);
    web.run(0, "say", json!("three"));
    server.restart();
    for text in ["two", "three"] {
        web.run(1, "text", json!(text));
        web.wait_mark(0, text, "displayed");
    }
    assert_eq!(texts(&mut web, 1), ["one", "two", "three"]);
    assert_eq!(texts(&mut web, 0), ["one", "two", "three"]);
}

#[test]
fn a_phone_and_a_browser_write_to_each_other() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    let mut phone = Phone::registered(&server, 1, Transport::Tcp);
    web.sign_in(&server, 0, "Ada", json!({}));
    web.run(0, "begin", json!("user1"));
    assert_eq!(phone.message(0, "from the phone").unwrap(), 200);
    web.run(0, "text", json!("from the phone"));
    web.run(0, "say", json!("from the browser"));
    let came = phone.texts(1);
    assert!(came[0].ends_with("from the browser"), "{came:?}");
    web.wait_mark(0, "from the browser", "delivered");
}

#[test]
fn two_browsers_hear_and_see_each_other() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    for user in [0, 1] {
        web.sign_in(&server, user, "", json!({}));
        web.run(user, "begin", json!(format!("user{}", 1 - user)));
    }
    web.run(0, "call", json!(false));
    web.run(1, "callSays", json!("user0 is calling"));
    web.run(0, "callSays", json!("Ringing"));
    assert_eq!(web.run(1, "findings", Value::Null), json!([]));
    web.run(1, "answer", json!(false));
    for page in [0, 1] {
        web.run(page, "hears", Value::Null);
    }
    web.run(1, "hangUp", Value::Null);
    for page in [0, 1] {
        web.run(page, "noCall", Value::Null);
        web.run(page, "event", json!("Call, "));
    }

    web.run(1, "call", json!(true));
    web.run(0, "answer", json!(true));
    for page in [0, 1] {
        web.run(page, "sees", json!(5));
        web.run(page, "hears", Value::Null);
    }
    web.run(1, "hangUp", Value::Null);
    web.run(0, "noCall", Value::Null);
    web.run(1, "noCall", Value::Null);

    // Turned down, given up, and nobody there.
    web.run(0, "call", json!(false));
    web.run(1, "callSays", json!("user0 is calling"));
    web.run(1, "hangUp", Value::Null);
    web.run(0, "callSays", json!("Declined"));
    web.run(0, "noCall", Value::Null);
    web.run(0, "call", json!(false));
    web.run(1, "callSays", json!("user0 is calling"));
    web.run(0, "hangUp", Value::Null);
    web.run(1, "event", json!("Missed call"));
    web.run(0, "noCall", Value::Null);
    web.run(0, "begin", json!("user7"));
    web.run(0, "call", json!(false));
    web.run(0, "callSays", json!("No answer"));
}
