//! Contacts, who is there, and who is not wanted.

use chappe_e2e::web::WebClients;
use chappe_e2e::{Phone, Server, Transport};
use serde_json::{Value, json};

#[test]
fn contacts_are_on_the_server_and_show_who_is_there() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    web.sign_in(&server, 0, "Ada", json!({}));
    web.run(0, "contacts", Value::Null);
    web.run(0, "addContact", json!({ "address": "user1", "name": "Claude C." }));
    web.run(0, "addContact", json!({ "address": "+1 555 000 0002", "name": "Eva E." }));
    for name in ["Claude C.", "Eva E."] {
        web.run(0, "row", json!(name));
    }
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));
    // Another browser of the same user has them too.
    web.open(&server, 5, json!({ "phone": true, "dark": true }));
    let with = json!({ "user": "user0@localhost", "password": "pass0", "name": "Ada" });
    web.run(5, "signIn", with);
    web.run(5, "contacts", Value::Null);
    web.run(5, "row", json!("Claude C."));
    assert_eq!(web.run(5, "findings", Value::Null), json!([]));

    assert_eq!(web.run(0, "count", json!(".list .avatar.there")), 0);
    web.sign_in(&server, 1, "Claude", json!({}));
    web.run(0, "has", json!(".list li:has-text('Claude C.') .avatar.there"));
    web.run(1, "note", json!("on the tower"));
    web.run(0, "has", json!(".list li:has-text('on the tower')"));
    // The name of the book goes before that which somebody has chosen.
    web.run(0, "choose", json!("Claude C."));
    web.run(0, "say", json!("Hello"));
    web.wait_mark(0, "Hello", "delivered");
    web.run(0, "details", Value::Null);
    web.run(0, "has", json!("dialog:has-text('calls, video, files, and places')"));
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));
    web.run(0, "close", Value::Null);
    web.run(1, "signOut", Value::Null);
    web.run(0, "has", json!(".conversation header:has-text('Last seen')"));
}

#[test]
fn who_is_blocked_is_not_heard_until_it_is_not_any_more() {
    let server = Server::start();
    let Some(mut web) = WebClients::start(&server) else { return };
    let mut phone = Phone::registered(&server, 1, Transport::Tcp);
    web.sign_in(&server, 0, "Ada", json!({}));
    assert_eq!(phone.message(0, "before").unwrap(), 200);
    web.run(0, "choose", json!("user1"));
    web.run(0, "text", json!("before"));
    web.run(0, "details", Value::Null);
    web.run(0, "press", json!("Block"));
    web.run(0, "press", json!("Block"));
    web.run(0, "has", json!(".notice.closed:has-text('You have blocked')"));
    phone.message(0, "unwanted").unwrap();
    web.run(0, "close", Value::Null);
    web.run(0, "press", json!("Unblock"));
    web.run(0, "gone", json!(".notice.closed"));
    phone.message(0, "after").unwrap();
    web.run(0, "text", json!("after"));
    assert_eq!(super::texts(&mut web, 0), ["before", "after"]);
}
