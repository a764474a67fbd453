//! The operator's console in headless Chromium: what it shows is what was done, and what is done in it happens.

use std::path::Path;
use std::process::Command;

use chappe_e2e::console::Consoles;
use chappe_e2e::msrp::{Peer, Via};
use chappe_e2e::{DOMAIN, Hook, Options, Phone, Server, Transport, all_found, wait_for};
use serde_json::{Value, json};

const PAGES: [&str; 10] = [
    "Overview",
    "Registrations",
    "Queue",
    "Message",
    "Trace",
    "Groups",
    "Files",
    "MSRP sessions",
    "Accounts",
    "Conformance",
];

/// Sends a text with an IMDN Message-ID.
fn send(phone: &mut Phone, to: usize, id: &str) -> u16 {
    let envelope = format!(
        "From: <sip:user0@{DOMAIN}>\r\nTo: <sip:user{to}@{DOMAIN}>\r\nDateTime: 2026-11-29T12:00:00Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\nimdn.Disposition-Notification: positive-delivery\r\n\r\n\
         Content-Type: text/plain;charset=UTF-8\r\n\r\nprivate words"
    );
    phone.message_of(to, "Content-Type: message/cpim\r\n", &envelope).expect("the server lives")
}

/// Registers a device of a user by a name, with a push token.
fn register(phone: &mut Phone, device: usize) {
    let contact = phone.contact();
    let headers = format!(
        "Contact: <{contact};pn-provider=webhook;pn-param=p;pn-prid=token{device}>;+sip.instance=\"<urn:uuid:00000000-0000-\
         0000-0000-{device:012}>\";reg-id=1\r\nSupported: outbound\r\nExpires: 3600\r\n"
    );
    let aor = phone.aor();
    let answer = phone.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives");
    assert_eq!(answer.code(), 200, "{answer:?}");
}

fn see(web: &mut Consoles, place: &str, text: &str) {
    web.run(0, "see", json!({ "where": place, "text": text }));
}

fn no_findings(web: &mut Consoles) {
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));
}

#[test]
fn only_who_has_the_token_is_let_in() {
    let server = Server::start();
    let Some(mut web) = Consoles::start(&server) else { return };
    let url = server.ask(&["console"])["url"].as_str().expect("an address").to_owned();
    let (page, token) = url.split_once("#token=").expect("a token");
    web.run(0, "open", json!({ "url": page }));
    let fault = web.run(0, "signIn", json!("wrong"));
    assert!(fault.as_str().is_some_and(|fault| fault.contains("does not accept")), "{fault}");
    no_findings(&mut web);
    assert_eq!(web.run(0, "signIn", json!(token)), "");
    see(&mut web, ".health", "Ready");
    // Nothing stays in the browser.
    assert_eq!(web.run(0, "signOut", Value::Null), 0);
}

#[test]
fn the_overview_tells_ports_certificates_and_a_ledger_that_balances() {
    let server = Server::start();
    let Some(mut web) = Consoles::start(&server) else { return };
    web.open(&server, 0, json!({}));
    see(&mut web, ".health", "Ready");
    for scheme in ["udp", "tcp", "tls", "http", "https"] {
        web.row("Listeners", &format!("{scheme}://{}", server.addr(scheme)), "");
    }
    see(&mut web, ".card", "self-signed");
    see(&mut web, ".card", "No push service is configured");
    assert_eq!(web.run(0, "ledger", Value::Null)["accepted"], 0);

    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let mut other = Phone::registered(&server, 1, Transport::Tcp);
    assert_eq!(sender.message(2, "kept").expect("the server lives"), 202);
    std::thread::scope(|scope| {
        let taken = scope.spawn(|| other.texts(1));
        assert_eq!(sender.message(1, "taken").expect("the server lives"), 200);
        assert_eq!(taken.join().expect("it comes"), ["taken"]);
    });
    let [accepted, delivered, stored, expired, refused] = server.counts();
    let counts = json!({ "accepted": accepted, "delivered": delivered, "stored": stored, "expired": expired, "refused": refused });
    wait_for("the ledger to be that of the server", || (web.run(0, "ledger", Value::Null) == counts).then_some(()));
    see(&mut web, ".balance", "It balances");
    see(&mut web, ".spark", "Messages");
    no_findings(&mut web);
    assert_eq!(web.run(0, "strangers", Value::Null), json!([]));
}

#[test]
fn why_somebody_did_not_get_a_message_is_two_clicks_away() {
    let server = Server::start();
    let Some(mut web) = Consoles::start(&server) else { return };
    web.open(&server, 0, json!({}));
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    assert_eq!(send(&mut sender, 1, "message-1"), 202);

    // First the user, then the message.
    assert_eq!(web.run(0, "find", json!("user1@localhost")), "#/user/user1@localhost");
    see(&mut web, ".card", "No device of this user is registered");
    web.row("Waiting messages", "message-1", "no device is registered");
    web.run(0, "follow", json!({ "table": "Waiting messages", "of": "message-1" }));
    see(&mut web, ".verdicts", "It waits for user1@localhost: no device is registered.");
    let ladder = web.run(0, "ladder", Value::Null);
    assert_eq!(ladder["parties"], json!(["user0@localhost", "server"]), "{ladder}");
    assert_eq!(ladder["words"], json!(["MESSAGE", "stored on disk", "202 Accepted"]), "{ladder}");
    no_findings(&mut web);

    // A number leads there as well, and so does the id.
    assert_eq!(web.run(0, "find", json!("+15550000001")), "#/user/user1@localhost");
    web.run(0, "visit", json!("Queue"));
    web.row("Queue", "user1@localhost", "no device is registered");

    let mut phone = Phone::registered(&server, 1, Transport::Tcp);
    assert!(phone.texts(1)[0].ends_with("private words"));
    assert_eq!(web.run(0, "find", json!("message-1")), "#/message/message-1");
    see(&mut web, ".verdicts", "user1@localhost has it.");
    let ladder = web.run(0, "ladder", Value::Null);
    assert_eq!(ladder["words"], json!(["MESSAGE", "stored on disk", "202 Accepted", "MESSAGE", "200 OK"]), "{ladder}");
    web.row("Steps", "200 OK", &format!("tcp:{}", phone.wire().local()));
    let text = web.run(0, "copied", Value::Null);
    let text = text.as_str().unwrap_or_default();
    assert!(text.starts_with("message-1\nuser1@localhost has it.\n"), "{text}");
    assert!(text.contains("user0@localhost -> server  sip  MESSAGE"), "{text}");
    assert!(!text.contains("private"), "{text}");
    no_findings(&mut web);
    assert_eq!(web.run(0, "find", json!("nobody-knows")), "#/find/nobody-knows");
    see(&mut web, ".empty", "Neither a user nor a message");
}

#[test]
fn a_sleeping_phone_is_shown_with_its_push() {
    let hook = Hook::start();
    let settings = vec![("PUSH__WEBHOOK", hook.url())];
    let server = Server::start_with(Options { settings, ..Options::default() });
    let Some(mut web) = Consoles::start(&server) else { return };
    let mut phone = Phone::new(&server, 1, Transport::Tcp);
    register(&mut phone, 1);
    web.open(&server, 0, json!({}));
    web.run(0, "visit", json!("Registrations"));
    web.row("Registrations", "user1@localhost", "reachable");
    drop(phone);
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    wait_for("the connection to be gone", || {
        let shown = server.ask(&["registrations", "user1@localhost"]);
        (!shown.to_string().contains("\"flow\":")).then_some(())
    });
    assert_eq!(send(&mut sender, 1, "message-2"), 202);
    hook.next();

    web.run(0, "find", json!("user1@localhost"));
    web.row("Devices", "urn:uuid:00000000", "asleep");
    web.row("Waiting messages", "message-2", "a push is out");
    web.row("Push log", "accepted", "webhook");
    web.run(0, "follow", json!({ "table": "Waiting messages", "of": "message-2" }));
    see(&mut web, ".ladder", "push: accepted");
    let ladder = web.run(0, "ladder", Value::Null);
    assert_eq!(ladder["parties"], json!(["user0@localhost", "server", "push webhook"]), "{ladder}");
    no_findings(&mut web);
}

#[test]
fn what_an_operator_does_happens() {
    let server = Server::start();
    let Some(mut web) = Consoles::start(&server) else { return };
    web.open(&server, 0, json!({}));

    // A device is signed out.
    let phone = Phone::registered(&server, 3, Transport::Tcp);
    let device = phone.contact();
    web.run(0, "find", json!("user3@localhost"));
    web.run(0, "press", json!({ "button": format!("Sign out {device}"), "sure": "Sign out" }));
    web.run(0, "said", json!("Signed out"));
    see(&mut web, ".card", "No device of this user is registered");
    server.wait_registered(3, 0);

    // A session is ended.
    let (mut peer, session) = Peer::with_session(&server, Via::Tcp, 4);
    web.run(0, "visit", json!("MSRP sessions"));
    let id = server.ask(&["msrp", "list"])[0]["id"].to_string();
    web.row("MSRP sessions", "user4", "relay");
    no_findings(&mut web);
    web.run(0, "press", json!({ "button": format!("End session {id}"), "sure": "End" }));
    see(&mut web, ".empty", "There is no MSRP session");
    assert_eq!(server.ask(&["msrp", "list"]), json!([]));
    let (mut other, there) = Peer::with_session(&server, Via::Tcp, 5);
    let sent = peer.send(&session.paths(&there), "Message-ID: late\r\nByte-Range: 1-8/8\r\n", b"too late", '$');
    assert_ne!(peer.response(&sent).status, 200, "the session is gone");
    other.flush();

    // An account is added, has its password changed, is disabled, and goes.
    web.run(0, "visit", json!("Accounts"));
    web.run(0, "press", json!({ "button": "Add an account" }));
    web.run(0, "fill", json!({ "Address": "carol@localhost", "Password": "first" }));
    no_findings(&mut web);
    web.run(0, "press", json!({ "button": "Add" }));
    web.row("Accounts", "carol@localhost", "active");
    web.run(0, "press", json!({ "button": "Change the password of carol@localhost" }));
    web.run(0, "fill", json!({ "New password": "second" }));
    web.run(0, "press", json!({ "button": "Save" }));
    web.run(0, "said", json!("Changed: carol@localhost"));
    web.run(0, "press", json!({ "button": "Disable carol@localhost" }));
    web.row("Accounts", "carol@localhost", "disabled");
    assert_eq!(server.ask(&["account", "show", "carol@localhost"])["disabled"], true);
    web.run(0, "press", json!({ "button": "Remove carol@localhost", "sure": "Remove" }));
    web.run(0, "noRow", json!({ "table": "Accounts", "of": "carol@localhost" }));
    no_findings(&mut web);
}

#[test]
fn a_trace_hides_who_it_is_and_can_be_kept() {
    let server = Server::start();
    let Some(mut web) = Consoles::start(&server) else { return };
    web.open(&server, 0, json!({}));
    web.run(0, "visit", json!("Trace"));
    web.run(0, "fill", json!({ "User to trace": "user1@" }));
    web.run(0, "press", json!({ "button": "Start" }));
    see(&mut web, ".empty", "Waiting for what happens");
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    assert_eq!(send(&mut sender, 1, "message-3"), 202);
    let lines = web.run(0, "traced", json!(2));
    let lines = lines.to_string();
    assert!(lines.contains("MESSAGE sip:u") && lines.contains("SIP/2.0 202"), "{lines}");
    for private in ["user1", "user0", "private words"] {
        assert!(!lines.contains(private), "{private} in {lines}");
    }
    no_findings(&mut web);
    web.run(0, "fill", json!({ "Filter": "202" }));
    see(&mut web, "[role=status]", "1 of 2 messages");
    web.run(0, "fill", json!({ "Filter": "" }));

    let file = server.dir().join("trace.pcap");
    web.run(0, "capture", json!(file));
    if all_found(&["tshark"]) {
        let output = read_fields(&file);
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines.len(), 2, "{output}");
        assert!(lines[0].starts_with("MESSAGE"), "{output}");
        assert!(lines[1].contains("202"), "{output}");
        let port = server.addr("tcp").port().to_string();
        assert!(lines.iter().all(|line| line.contains(&port)), "{output}");
        assert!(!output.contains("user1"), "{output}");
    }

    // While it pauses, what comes is kept back.
    web.run(0, "press", json!({ "button": "Pause" }));
    assert_eq!(send(&mut sender, 1, "message-4"), 202);
    see(&mut web, "[role=status]", "Paused: 2 more");
    see(&mut web, "[role=status]", "2 of 2 messages");
    web.run(0, "press", json!({ "button": "Go on" }));
    web.run(0, "traced", json!(4));
    web.run(0, "press", json!({ "button": "Clear" }));
    see(&mut web, ".empty", "Waiting for what happens");
    web.run(0, "check", json!("Show users and numbers in the clear"));
    see(&mut web, ".empty", "Waiting for what happens");
    assert_eq!(send(&mut sender, 1, "message-5"), 202);
    let lines = web.run(0, "traced", json!(2)).to_string();
    assert!(lines.contains("MESSAGE sip:user1@") && !lines.contains("private words"), "{lines}");
}

/// What Wireshark makes of a capture.
fn read_fields(file: &Path) -> String {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-Y", "sip", "-T", "fields"]);
    for field in ["sip.Method", "sip.Status-Code", "exported_pdu.src_port", "exported_pdu.dst_port", "sip.to.addr"] {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_page_is_fit_for_a_phone_a_keyboard_and_german() {
    let report = r#"<testsuites><testsuite name="register"><testcase name="kept"/><testcase name="lost">
        <failure message="got 500, wanted 200"/></testcase></testsuite></testsuites>"#;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), report).expect("it can be written");
    let path = file.path().to_string_lossy().into_owned();
    let server = Server::with(&[("MANAGEMENT__CONFORMANCE_REPORT", &path)]);
    let Some(mut web) = Consoles::start(&server) else { return };
    let _phone = Phone::registered(&server, 1, Transport::Tcp);
    web.open(&server, 0, json!({ "width": 360, "height": 700, "dark": true }));
    for page in PAGES {
        web.run(0, "visit", json!(page));
        no_findings(&mut web);
        assert_eq!(web.run(0, "wide", Value::Null), false, "{page} is wider than a phone");
    }
    web.row("failed", "lost", "got 500, wanted 200");
    web.run(0, "find", json!("user1@localhost"));
    web.row("Devices", "sip:user1", "reachable");
    no_findings(&mut web);
    assert_eq!(web.run(0, "wide", Value::Null), false);

    web.open(&server, 1, json!({ "locale": "de" }));
    web.run(1, "see", json!({ "where": "h1", "text": "Übersicht" }));
    web.run(1, "see", json!({ "where": ".health", "text": "Bereit" }));
    let reached = web.run(1, "tab", json!(6)).to_string();
    assert!(reached.contains("Zum Inhalt") && reached.contains("find"), "{reached}");
}

/// Makes a group with these users; the status.
fn create_group(phone: &mut Phone, users: &[usize]) -> u16 {
    let factory = format!("sip:conference-factory@{DOMAIN}");
    let entries: String =
        users.iter().map(|user| format!("<entry uri=\"sip:user{user}@{DOMAIN}\" cp:copyControl=\"to\"/>")).collect();
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=message 9 TCP/MSRP *\r\na=setup:active\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\n\
         a=path:msrp://127.0.0.1:9/own;tcp\r\n\r\n--b\r\nContent-Type: application/resource-lists+xml\r\n\
         Content-Disposition: recipient-list\r\n\r\n<?xml version=\"1.0\"?>\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\">\
         <list>{entries}</list></resource-lists>\r\n--b--\r\n"
    );
    let headers = format!(
        "Contact: <{}>;+g.oma.sip-im\r\nAccept-Contact: *;+g.oma.sip-im\r\nRequire: recipient-list-invite\r\n\
         Subject: harvest\r\nContribution-ID: group-1\r\nContent-Type: multipart/mixed;boundary=\"b\"\r\n",
        phone.contact()
    );
    phone.request("INVITE", &factory, &factory, &headers, &body).expect("the server lives").code()
}

#[test]
fn a_group_is_shown_with_its_members_and_what_became_of_its_messages() {
    let server = Server::start();
    let Some(mut web) = Consoles::start(&server) else { return };
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut member = Phone::registered(&server, 1, Transport::Tcp);
    assert_eq!(create_group(&mut owner, &[1, 2]), 200);
    let group = wait_for("the group", || server.ask(&["groups"]).as_array()?.first().cloned());
    let focus = group["focus"].as_str().expect("an address").to_owned();
    let text = "Content-Type: text/plain;charset=UTF-8\r\n";
    let said = member.request("MESSAGE", &focus, &focus, text, "private words").expect("the server lives");
    assert_eq!(said.code(), 200);

    web.open(&server, 0, json!({}));
    web.run(0, "visit", json!("Groups"));
    web.row("Groups", "harvest", &focus);
    web.run(0, "follow", json!({ "table": "Groups", "of": "harvest" }));
    web.row("Members", "user0@localhost", "owner");
    web.row("Members", "user2@localhost", "invited");
    let message = web.row("Last messages", "user1@localhost", "of 2");
    assert!(!message.contains("private"), "{message}");
    no_findings(&mut web);
    web.run(0, "follow", json!({ "table": "Last messages", "of": "user1@localhost" }));
    see(&mut web, ".verdicts", "It is on its way to user2@localhost");
}
