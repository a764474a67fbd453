//! What a user has decided about others holds at the door, and over a restart; who is blocked does not notice.

use chappe_e2e::{Phone, Server, Transport, http, wait_for};

/// A notification of user1 that a message of user0 was delivered or displayed.
fn notification(kind: &str) -> String {
    let disposition = if kind == "displayed" { "display" } else { "delivery" };
    let xml = format!(
        "<?xml version=\"1.0\"?><imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>m1</message-id>\
         <datetime>2026-11-28T12:00:00Z</datetime><{disposition}-notification><status><{kind}/></status>\
         </{disposition}-notification></imdn>"
    );
    format!(
        "From: <sip:user1@localhost>\r\nTo: <sip:user0@localhost>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: r-{kind}\r\nDateTime: 2026-11-28T12:00:00Z\r\n\r\nContent-Type: message/imdn+xml\r\n\
         Content-Disposition: notification\r\n\r\n{xml}"
    )
}

fn arrives(sender: &mut Phone, receiver: &mut Phone, to: usize, text: &str) {
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| sender.message(to, text).expect("the server lives"));
        assert_eq!(receiver.texts(1), [text]);
        assert_eq!(sent.join().expect("it was sent"), 200);
    });
}

#[test]
fn messages_of_who_is_blocked_go_nowhere() {
    let mut server = Server::start();
    let blocked = server.ask(&["account", "block", "user1@localhost", "user0@localhost", "sip:example.net"]);
    assert_eq!(blocked, serde_json::json!(["sip:user0@localhost", "sip:example.net"]));
    for _ in 0..2 {
        let mut sender = Phone::registered(&server, 0, Transport::Udp);
        let mut receiver = Phone::registered(&server, 1, Transport::Tcp);
        let mut other = Phone::registered(&server, 2, Transport::Udp);
        assert_eq!(sender.message(1, "unwanted").unwrap(), 202, "as if the recipient were away");
        receiver.nothing_more();
        arrives(&mut other, &mut receiver, 1, "wanted");
        arrives(&mut receiver, &mut sender, 0, "to the one who is blocked");
        server.stop();
        server.restart();
    }
    let left = server.ask(&["account", "unblock", "user1@localhost", "user0@localhost"]);
    assert_eq!(left, serde_json::json!(["sip:example.net"]));
    let mut sender = Phone::registered(&server, 0, Transport::Udp);
    let mut receiver = Phone::registered(&server, 1, Transport::Tcp);
    arrives(&mut sender, &mut receiver, 1, "welcome again");
    receiver.nothing_more();
    assert_eq!(server.ask(&["account", "blocked", "user1@localhost"]), serde_json::json!(["sip:example.net"]));
}

#[test]
fn what_a_user_has_read_may_stay_with_him() {
    let server = Server::start();
    server.ask(&["account", "privacy", "user1@localhost", "--hide-displayed", "true"]);
    let mut author = Phone::registered(&server, 0, Transport::Tcp);
    let mut reader = Phone::registered(&server, 1, Transport::Tcp);
    let cpim = "Content-Type: message/cpim\r\n";
    assert_eq!(reader.message_of(0, cpim, &notification("displayed")).unwrap(), 200);
    author.nothing_more();
    std::thread::scope(|scope| {
        let told = scope.spawn(|| reader.message_of(0, cpim, &notification("delivered")).unwrap());
        assert!(author.texts(1)[0].contains("<delivered/>"));
        assert!((200..=202).contains(&told.join().unwrap()));
    });
    author.nothing_more();
}

#[test]
fn the_list_of_blocked_contacts_of_a_phone_blocks_at_the_door() {
    let server = Server::start();
    server.ask(&["account", "block", "user1@localhost", "sip:operator@example.net"]);
    let write = |blocked: &str| {
        let lists = format!(
            "<?xml version=\"1.0\"?><resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">\
             <list name=\"rcs_blockedcontacts\">{blocked}</list></resource-lists>"
        );
        let path = "/xcap-root/resource-lists/users/sip:user1@localhost/index";
        http::put(&server, 1, path, "application/resource-lists+xml", &lists)
    };
    let listed = |entries: &[&str]| {
        wait_for("the block list", || {
            (server.ask(&["account", "blocked", "user1@localhost"]) == serde_json::json!(entries)).then_some(())
        });
    };
    assert!((200..300).contains(&write("<entry uri=\"sip:user0@localhost\"/>")));
    listed(&["sip:operator@example.net", "sip:user0@localhost"]);
    let mut sender = Phone::registered(&server, 0, Transport::Udp);
    let mut receiver = Phone::registered(&server, 1, Transport::Tcp);
    assert_eq!(sender.message(1, "unwanted").unwrap(), 202, "as if the recipient were away");
    receiver.nothing_more();
    assert!((200..300).contains(&write("")));
    listed(&["sip:operator@example.net"]);
    arrives(&mut sender, &mut receiver, 1, "welcome again");
    receiver.nothing_more();
}
