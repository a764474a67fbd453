//! One message to a list (RFC 5365): each who is on it gets it as if it were his alone, at once or when he comes.

use chappe_e2e::{DOMAIN, Message, Phone, Server, Transport, wait_for};

const SERVICE: &str = "sip:conference-factory@localhost";

/// Sends a CPIM text to these addresses, with the id `id`.
fn broadcast(phone: &mut Phone, id: &str, to: &[&str], text: &str) -> Message {
    let entries: String = to.iter().map(|uri| format!("<entry uri=\"{uri}\"/>")).collect();
    let body = format!(
        "--b\r\nContent-Type: message/cpim\r\n\r\nFrom: <{}>\r\nTo: <sip:anonymous@anonymous.invalid>\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\nDateTime: 2026-01-01T00:00:00Z\r\n\
         imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n\r\nContent-Type: text/plain\r\n\r\n{text}\r\n\
         --b\r\nContent-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list></resource-lists>\r\n--b--\r\n",
        phone.aor()
    );
    let headers = "Require: recipient-list-message\r\nContent-Type: multipart/mixed;boundary=\"b\"\r\n";
    phone.request("MESSAGE", SERVICE, SERVICE, headers, &body).expect("the server lives")
}

/// The next MESSAGE of a phone.
fn next(phone: &mut Phone) -> Message {
    let message = phone.receive(chappe_e2e::PATIENCE).expect("the server lives").expect("a message comes");
    assert_eq!(message.method(), "MESSAGE");
    message
}

#[test]
fn each_on_the_list_is_served_as_if_alone() {
    let mut server = Server::start();
    server.ask(&["account", "block", "user3@localhost", "user0@localhost"]);
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let mut there = Phone::registered(&server, 1, Transport::Udp);
    let mut blocks = Phone::registered(&server, 3, Transport::Tcp);
    let users = [1, 2, 3].map(|user| format!("sip:user{user}@{DOMAIN}"));
    let to: Vec<&str> = users.iter().map(String::as_str).chain(["sip:nobody@localhost", &users[0]]).collect();
    let answer = broadcast(&mut sender, "to.all", &to, "all of you");
    assert_eq!(answer.code(), 202, "{answer:?}");
    let came = next(&mut there);
    assert!(came.body.contains("imdn.Message-ID: to.all") && came.body.ends_with("all of you"), "{came:?}");
    assert_eq!(came.header("To"), Some(format!("<{}>", users[0]).as_str()));
    let shown = format!("{came:?}");
    assert!(
        !shown.contains("resource-lists") && !shown.contains("recipient-list") && !shown.contains("user2"),
        "{shown}"
    );
    // The sender hears of each: who has it, and whom it will not reach; nothing of who blocks it.
    let mut told = Vec::new();
    for _ in 0..2 {
        let receipt = next(&mut sender).body;
        let who =
            ["user1", "user2", "user3", "nobody"].into_iter().find(|user| receipt.contains(&format!("sip:{user}@")));
        let what = ["<delivered/>", "<failed/>"].into_iter().find(|what| receipt.replace(' ', "").contains(what));
        told.push((who.unwrap_or_default(), what.unwrap_or_default()));
    }
    told.sort_unstable();
    assert_eq!(told, [("nobody", "<failed/>"), ("user1", "<delivered/>")]);
    blocks.nothing_more();
    // What waits outlives the server, and who sends again under the same id sends nothing twice.
    server.kill();
    server.restart();
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    assert_eq!(broadcast(&mut sender, "to.all", &to[..3], "all of you").code(), 202);
    let mut blocks = Phone::registered(&server, 3, Transport::Tcp);
    let mut late = Phone::registered(&server, 2, Transport::Tcp);
    assert!(next(&mut late).body.ends_with("all of you"));
    // Receipts that the dying server had no time to strike off may come again.
    let mut receipt = next(&mut sender).body;
    while told.iter().any(|(who, _)| receipt.contains(&format!("sip:{who}@"))) {
        receipt = next(&mut sender).body;
    }
    assert!(receipt.contains(&users[1]), "the receipt of who was away: {receipt}");
    for phone in [&mut there, &mut late, &mut blocks] {
        phone.nothing_more();
    }
    wait_for("nothing to wait", || (server.counts()[2] == 0).then_some(()));
    server.stop();
}

#[test]
fn what_cannot_be_sent_to_a_list_is_refused() {
    let mut server = Server::start();
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let many: Vec<String> = (0..101).map(|user| format!("sip:u{user}@{DOMAIN}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = broadcast(&mut sender, "a", &many, "too many");
    assert_eq!((refused.code(), refused.header("Warning").is_some()), (403, true), "{refused:?}");
    assert_eq!(broadcast(&mut sender, "b", &[], "nobody").code(), 400);
    assert_eq!(broadcast(&mut sender, "c", &["tel:"], "no address").code(), 400);
    let mut ask = |headers: &str, body: &str| {
        sender.request("MESSAGE", SERVICE, SERVICE, headers, body).expect("the server lives").code()
    };
    assert_eq!(ask("Content-Type: text/plain\r\n", "no list"), 400);
    assert_eq!(ask("Require: carrier-pigeon\r\nContent-Type: text/plain\r\n", "what"), 420);
    server.stop();
}
