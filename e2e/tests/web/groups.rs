//! Groups, between browsers and with a plain phone.

use chappe_e2e::web::WebClients;
use chappe_e2e::{Phone, Server, Transport};
use serde_json::{Value, json};

use super::texts;

/// Three browsers with the users 0, 1 and 2; the first has made a group of them.
fn three(server: &Server, members: &[&str]) -> Option<WebClients> {
    let mut web = WebClients::start(server)?;
    web.sign_in(server, 0, "Ada", json!({ "wide": true }));
    web.sign_in(server, 1, "Claude", json!({ "dark": true, "phone": true }));
    web.sign_in(server, 2, "Eva", json!({}));
    web.run(0, "newGroup", json!({ "subject": "Telegraph", "members": members }));
    for page in [1, 2] {
        web.run(page, "choose", json!("Telegraph"));
    }
    Some(web)
}

#[test]
fn a_group_talks_and_knows_who_has_what() {
    let server = Server::start();
    // A phone that knows nothing but plain text.
    let mut phone = Phone::registered(&server, 3, Transport::Tcp);
    let Some(mut web) = three(&server, &["user1", "user2", "user3"]) else { return };
    web.run(1, "event", json!("made the group"));
    web.run(0, "say", json!("Hello all"));
    for page in [1, 2] {
        assert_eq!(web.run(page, "text", json!("Hello all")), 1);
        assert_eq!(web.run(page, "see", json!(".author")), "Ada");
    }
    assert_eq!(phone.texts(1), ["Hello all"]);
    // All have it, and the phone cannot say that it was looked at.
    web.wait_mark(0, "Hello all", "delivered");
    web.run(0, "readBy", json!({ "text": "Hello all", "names": "Claude and Eva" }));

    web.run(1, "type", json!("An"));
    web.run(0, "typing", Value::Null);
    web.run(1, "say", json!("An answer"));
    web.run(0, "text", json!("An answer"));
    web.run(2, "reply", json!({ "to": "An answer", "text": "A reply" }));
    web.run(0, "text", json!("A reply"));
    assert_eq!(web.run(0, "see", json!(".quote strong")), "Claude");
    web.run(0, "react", json!({ "to": "A reply", "sign": "👍" }));
    web.run(1, "react", json!({ "to": "A reply", "sign": "👍" }));
    web.run(2, "has", json!(".signs:has-text('👍 2')"));
    web.run(2, "edit", json!({ "text": "A reply", "into": "A better reply" }));
    web.run(1, "text", json!("A better reply"));
    web.run(2, "recall", json!("A better reply"));
    web.run(1, "text", json!("Message deleted"));
    for page in [0, 1, 2] {
        assert_eq!(web.run(page, "findings", Value::Null), json!([]));
        assert_eq!(web.run(page, "overflow", Value::Null), 0);
        assert_eq!(texts(&mut web, page).len(), 3);
    }
}

#[test]
fn members_come_go_and_are_removed_and_the_group_gets_another_name_and_picture() {
    let server = Server::start();
    let Some(mut web) = three(&server, &["user1", "user2"]) else { return };
    // By this the others know what Ada is called.
    web.run(0, "say", json!("welcome"));
    web.wait_mark(0, "welcome", "displayed");
    web.run(0, "details", Value::Null);
    web.run(0, "members", json!(["user0", "user1", "user2"]));
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));
    web.run(0, "addMembers", json!(["user3", "user4"]));
    web.run(0, "members", json!(["user0", "user1", "user2", "user3", "user4"]));
    web.run(0, "removeMember", json!("user2"));
    web.run(0, "members", json!(["user0", "user1", "user3", "user4"]));
    web.run(0, "rename", json!("Semaphore"));
    web.run(0, "groupPicture", json!({ "name": "icon.png", "picture": [200, 200] }));
    web.run(0, "close", Value::Null);
    // Who was removed cannot write any more, and is told.
    web.run(2, "has", json!(".notice.closed"));
    web.run(2, "gone", json!(".composer"));
    for event in ["Ada removed", "named the group “Semaphore”", "changed the picture"] {
        web.run(1, "event", json!(event));
    }
    web.run(1, "title", json!("Semaphore"));
    web.run(1, "has", json!(".conversation header .avatar img"));
    // Somebody who signs in later finds the group, and what was said.
    web.run(0, "say", json!("for all who come"));
    web.sign_in(&server, 3, "Jean", json!({}));
    web.run(3, "choose", json!("Semaphore"));
    web.run(3, "text", json!("for all who come"));
    // A member may not do what its owner may.
    web.run(1, "details", Value::Null);
    web.run(1, "members", json!(["user0", "user1", "user3", "user4"]));
    assert_eq!(web.run(1, "count", json!("dialog form.inline")), 0);
    web.run(1, "leave", Value::Null);
    web.run(1, "has", json!(".notice.closed"));
    web.run(0, "event", json!("Claude left"));
    web.run(0, "say", json!("without Claude"));
    web.run(3, "text", json!("without Claude"));
    assert_eq!(texts(&mut web, 1), ["welcome", "for all who come"]);
}

#[test]
fn a_group_goes_on_after_a_restart_of_the_server() {
    let mut server = Server::start();
    let Some(mut web) = three(&server, &["user1", "user2"]) else { return };
    web.run(0, "say", json!("one"));
    web.wait_mark(0, "one", "displayed");
    server.kill();
    web.run(0, "state", json!("offline"));
    web.run(0, "say", json!("two"));
    server.restart();
    web.wait_mark(0, "two", "displayed");
    web.run(1, "say", json!("three"));
    for page in [0, 1, 2] {
        web.run(page, "text", json!("three"));
        assert_eq!(texts(&mut web, page), ["one", "two", "three"]);
    }
    // The roster is followed again.
    web.run(0, "details", Value::Null);
    web.run(0, "addMembers", json!(["user3"]));
    web.run(0, "members", json!(["user0", "user1", "user2", "user3"]));
}
