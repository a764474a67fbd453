//! Whoever is erased leaves nothing: no byte of a canary text, address or number in any file of the server.

use std::path::{Path, PathBuf};

use chappe_e2e::{DOMAIN, Hook, Options, Phone, Server, Transport, http, wait_for};

/// User 7 is the canary. None of this is part of anything else that the test writes.
const CANARY: [&str; 4] = ["user7@localhost", "15550000007", "canary-text-5d1c", "Canary Name 91"];
const FACTORY: &str = "sip:conference-factory@localhost";

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            _ => vec![entry.path()],
        })
        .collect()
}

/// Which canary is in which file.
fn found(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(folder) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        for canary in CANARY {
            if bytes.windows(canary.len()).any(|window| window.eq_ignore_ascii_case(canary.as_bytes())) {
                found.push(format!("{canary} in {}", path.display()));
            }
        }
    }
    found
}

fn sdp() -> &'static str {
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\na=setup:active\r\n\
     a=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\na=path:msrp://127.0.0.1:9/own;tcp\r\n"
}

/// Makes a group of its own subject with these users; the focus.
fn group(phone: &mut Phone, users: &[usize], contribution: &str, subject: &str) -> String {
    let entry = |user: &usize| format!("<entry uri=\"sip:user{user}@localhost\" cp:copyControl=\"to\"/>");
    let entries: String = users.iter().map(entry).collect();
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--b\r\nContent-Type: application/resource-lists+xml\r\n\
         Content-Disposition: recipient-list\r\n\r\n<?xml version=\"1.0\"?>\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\">\
         <list>{entries}</list></resource-lists>\r\n--b--\r\n",
        sdp()
    );
    let headers = format!(
        "Contact: <{}>;+g.oma.sip-im\r\nAccept-Contact: *;+g.oma.sip-im\r\nRequire: recipient-list-invite\r\n\
         Subject: {subject}\r\nContribution-ID: {contribution}\r\nContent-Type: multipart/mixed;boundary=\"b\"\r\n",
        phone.contact()
    );
    let made = phone.request("INVITE", FACTORY, FACTORY, &headers, &body).expect("the server lives");
    assert_eq!(made.code(), 200, "{made:?}");
    let contact = made.header("Contact").expect("a Contact");
    contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned()
}

fn say(phone: &mut Phone, focus: &str, text: &str) {
    let answer = phone.request("MESSAGE", focus, focus, "Content-Type: text/plain\r\n", text);
    assert_eq!(answer.expect("the server lives").code(), 200);
}

fn upload(server: &Server, user: usize, name: &str, text: &str) {
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"File\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n\
         {text}\r\n--b--\r\n"
    );
    let answer = http::ask(server, user, "POST", "/ft", "Content-Type: multipart/form-data; boundary=b\r\n", &body);
    assert_eq!(answer.code, 200, "{answer:?}");
}

/// What the canary does in its life.
fn live(server: &Server, hook: &Hook) {
    let mut canary = Phone::new(server, 7, Transport::Tcp);
    let contact = canary.contact();
    let headers = format!(
        "Contact: <{contact};pn-provider=webhook;pn-param=p;pn-prid=token7>;+sip.instance=\"<urn:uuid:00000000-0000-0000-\
         0000-000000000007>\";reg-id=1\r\nSupported: outbound\r\nUser-Agent: {}\r\nExpires: 3600\r\n",
        CANARY[3]
    );
    let aor = canary.aor();
    let answer = canary.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives");
    assert_eq!(answer.code(), 200, "{answer:?}");
    let mut friend = Phone::registered(server, 1, Transport::Tcp);
    // Messages that arrive, and messages that wait on either side.
    assert_eq!(canary.message(2, CANARY[2]).expect("the server lives"), 202, "user 2 is away");
    let cpim = format!(
        "From: <sip:user7@localhost>\r\nTo: <sip:user1@localhost>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: m7\r\nDateTime: 2026-11-29T15:00:00Z\r\nimdn.Disposition-Notification: positive-delivery\r\n\r\n\
         Content-Type: text/plain\r\n\r\n{}",
        CANARY[2]
    );
    std::thread::scope(|scope| {
        let sent =
            scope.spawn(|| canary.message_of(1, "Content-Type: message/cpim\r\n", &cpim).expect("the server lives"));
        assert_eq!(friend.texts(1).len(), 1);
        assert_eq!(sent.join().expect("it was sent"), 200);
    });
    // Groups: its own, and that of a friend, with members who are away.
    let own = group(&mut canary, &[1, 2], "own", CANARY[2]);
    say(&mut canary, &own, CANARY[2]);
    let theirs = group(&mut friend, &[7, 2], "theirs", "a friend's");
    say(&mut canary, &theirs, CANARY[2]);
    say(&mut friend, &theirs, "what a friend says");
    // Documents, contacts, presence, a file.
    for name in ["first", CANARY[2]] {
        // The second leaves a former version.
        let list = format!(
            "<?xml version=\"1.0\"?><resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list name=\"l\">\
             <entry uri=\"tel:+15550001\"><display-name>{name} {}</display-name></entry></list></resource-lists>",
            CANARY[2]
        );
        let path = "/xcap-root/resource-lists/users/sip:user7@localhost/index";
        let code = http::put(server, 7, path, "application/resource-lists+xml", &list);
        assert!(code == 200 || code == 201, "{code}");
    }
    let card =
        format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nN:x;;;;\r\nFN:{}\r\nTEL:+15550003\r\nEND:VCARD\r\n", CANARY[2]);
    let code = http::put(server, 7, "/dav/addressbooks/user7@localhost/contacts/1.vcf", "text/vcard", &card);
    assert!(code == 201 || code == 204, "{code}");
    let presence = format!(
        "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:user7@localhost\"><tuple \
         id=\"t\"><status><basic>open</basic></status><note>{}</note></tuple></presence>",
        CANARY[2]
    );
    let headers = "Event: presence\r\nExpires: 600\r\nContent-Type: application/pidf+xml\r\n";
    let published = canary.request("PUBLISH", &aor, &aor, headers, &presence).expect("the server lives");
    assert_eq!(published.code(), 200, "{published:?}");
    upload(server, 7, "canary-text-5d1c.txt", CANARY[2]);
    let asked = http::exchange(server, "GET", "/config?vers=0&msisdn=%2B15550000007&IMEI=3569380356438007", "", "");
    assert_eq!(asked.code, 200);
    // It sleeps, and is woken for what then waits for it.
    drop(canary);
    wait_for("its connection is gone", || {
        let shown = server.ask(&["registrations", CANARY[0]]).to_string();
        (!shown.contains("\"flow\":")).then_some(())
    });
    assert_eq!(friend.message(7, "for canary-text-5d1c").expect("the server lives"), 202);
    assert_eq!(hook.next()["prid"], "token7");
}

#[test]
fn whoever_is_erased_leaves_no_trace_in_any_file() {
    let hook = Hook::start();
    let settings = vec![("PUSH__WEBHOOK", hook.url()), ("LOG__REDACT", "hash".to_owned())];
    let mut server = Server::start_with(Options { settings, ..Options::default() });
    let named = server.ask(&["account", "show", CANARY[0]]);
    assert_eq!(named["tel"][0], "+15550000007", "{named}");
    live(&server, &hook);
    let exported = server.ask(&["account", "export", CANARY[0]]);
    for (part, count) in [("devices", 0), ("documents", 2), ("files", 1), ("messages", 2), ("groups", 2)] {
        let list = exported[part].as_array().unwrap_or_else(|| panic!("no {part} in {exported}"));
        assert!(list.len() >= count, "{part}: {exported}");
    }
    assert!(exported.to_string().matches(CANARY[2]).count() >= 6, "{exported}");
    // The test looks where there is something.
    wait_for("the canary to be on disk", || (found(&server.data()).len() >= 3).then_some(()));

    let receipt = server.ask(&["account", "remove", "--erase", CANARY[0]]);
    assert_eq!(receipt["scrubbed"], true, "{receipt}");
    let gone = |what: &str| {
        let gone = receipt["gone"].as_array().into_iter().flatten().find(|gone| gone["what"] == what);
        gone.and_then(|gone| gone["count"].as_u64()).unwrap_or_else(|| panic!("no {what} in {receipt}"))
    };
    let least = [
        ("account", 1),
        ("numbers", 1),
        ("registrations", 1),
        ("waiting messages", 2),
        ("memberships in groups", 2),
        ("entries in the logs of groups", 4),
        ("documents", 2),
        ("former versions of documents", 1),
        ("uploaded files", 1),
    ];
    for (what, count) in least {
        assert!(gone(what) >= count, "{what}: {receipt}");
    }
    assert_eq!(found(&server.data()), [""; 0], "{receipt}");
    let log = server.log();
    assert!(CANARY.iter().all(|canary| !log.contains(canary)), "nor in the log: {log}");

    // Others go on: what they said is there, and what the canary said is not.
    let mut away = Phone::registered(&server, 2, Transport::Tcp);
    assert_eq!(away.texts(1), ["what a friend says"]);
    away.nothing_more();
    let [accepted, delivered, stored, expired, refused] = server.counts();
    assert_eq!(accepted, delivered + stored + expired + refused);
    let mut friend = Phone::registered(&server, 1, Transport::Tcp);
    assert_eq!(friend.message(7, "anybody there?").unwrap(), 404);
    // Nothing was only waiting to be written.
    server.stop();
    assert_eq!(found(&server.data()), [""; 0]);
}
