//! The client comes back by itself, whatever was away: the network, the tab.

use chappe_e2e::web::WebClients;
use chappe_e2e::{Hook, Phone, Server, Transport, wait_for};
use serde_json::{Value, json};

use super::texts;

#[test]
fn what_is_said_without_a_network_comes_when_it_is_back_once_and_in_order() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    for user in [0, 1] {
        web.sign_in(&server, user, "", json!({}));
        web.run(user, "begin", json!(format!("user{}", 1 - user)));
    }
    web.run(0, "say", json!("one"));
    web.wait_mark(0, "one", "displayed");
    web.run(0, "offline", json!(true));
    web.run(0, "state", json!("offline"));
    web.run(0, "say", json!("two"));
    web.run(0, "attach", json!({ "name": "three.txt", "size": 1000 }));
    web.run(1, "say", json!("meanwhile"));
    web.wait_mark(0, "two", "waiting");
    web.run(0, "offline", json!(false));
    web.run(0, "text", json!("meanwhile"));
    web.wait_mark(0, "two", "displayed");
    assert_eq!(web.run(1, "fetched", json!("three.txt"))["size"], 1000);
    web.wait_mark(1, "meanwhile", "displayed");
    assert_eq!(texts(&mut web, 0).len(), 3);
    let mut came = texts(&mut web, 1);
    came.sort();
    assert_eq!(came, ["meanwhile", "one", "two"]);
}

#[test]
fn a_tab_that_slept_for_an_hour_is_there_again() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    for user in [0, 1] {
        web.sign_in(&server, user, "", json!({}));
        web.run(user, "begin", json!(format!("user{}", 1 - user)));
    }
    web.run(0, "say", json!("one"));
    web.wait_mark(0, "one", "displayed");
    // Nothing of the page runs, and its connection is cut under it, as by a lid that was closed.
    web.run(0, "sleep", Value::Null);
    web.run(1, "say", json!("two"));
    web.wait_mark(1, "two", "sent");
    web.run(0, "wake", json!(3600));
    web.run(0, "text", json!("two"));
    web.wait_mark(1, "two", "displayed");
    web.run(0, "say", json!("three"));
    web.wait_mark(0, "three", "displayed");
    for page in [0, 1] {
        assert_eq!(texts(&mut web, page), ["one", "two", "three"]);
    }
}

#[test]
fn a_browser_without_a_page_is_woken_by_push() {
    let hook = Hook::start();
    let origin = hook.url().trim_end_matches("/push").to_owned();
    let subject = ("PUSH__WEBPUSH_SUBJECT", "mailto:ops@example.com");
    let server = Server::with(&[subject, ("PUSH__WEBPUSH_TRUSTED", &format!("[\"{origin}\"]"))]);
    let Some(mut web) = WebClients::start(&server) else { return };
    let mut phone = Phone::registered(&server, 1, Transport::Tcp);
    web.sign_in(&server, 0, "Ada", json!({ "pushService": hook.url() }));
    web.run(0, "allowPush", Value::Null);
    web.run(0, "kept", Value::Null);
    assert_eq!(web.run(0, "pushed", Value::Null), "Chappe: New messages");
    web.run(0, "closePage", Value::Null);
    wait_for("its connection is gone", || {
        let shown = server.ask(&["registrations", "user0@localhost"]).to_string();
        (!shown.contains("\"flow\":")).then_some(())
    });
    phone.message(0, "wake up").unwrap();
    assert_eq!(hook.next(), Value::Null, "a push has no content");
}

#[test]
fn every_screen_is_used_by_keyboard_and_in_german() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    web.sign_in(&server, 1, "Claude", json!({}));
    web.open(&server, 0, json!({ "language": "de-DE" }));
    web.run(0, "keys", json!(["user0@localhost", "Tab", "pass0", "Tab", "Ada", "Enter"]));
    web.run(0, "has", json!(".list h1:has-text('Ada')"));
    web.run(0, "has", json!("button:has-text('Neue Unterhaltung')"));
    assert_eq!(web.run(0, "focusOn", json!("Neue Unterhaltung")), true);
    web.run(0, "keys", json!(["Enter"]));
    web.run(0, "keys", json!(["user1", "Enter"]));
    web.run(0, "has", json!(".composer textarea:focus"));
    web.run(0, "keys", json!(["Guten Tag", "Enter"]));
    web.run(0, "text", json!("Guten Tag"));
    assert_eq!(web.run(0, "focusOn", json!("Anhängen")), true);
    web.run(0, "keys", json!(["Enter", "ArrowDown", "Enter"]));
    web.run(0, "has", json!("dialog:has-text('Ort senden')"));
    web.run(0, "keys", json!(["48.1, 11.5", "Enter"]));
    web.run(0, "has", json!(".place:has-text('48.10000° N')"));
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));
}
