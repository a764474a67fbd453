//! Groups outlive sessions and the server: what was accepted comes to every member, in the order of the group.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use chappe_e2e::kills::{all_arrive, send_over_kills};
use chappe_e2e::msrp::{Frame, Peer, Via, patience};
use chappe_e2e::{DOMAIN, Hook, Message, Options, Phone, Server, Transport, wait_for};

const FACTORY: &str = "sip:conference-factory@localhost";

fn sdp() -> &'static str {
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\na=setup:active\r\n\
     a=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\na=path:msrp://127.0.0.1:9/own;tcp\r\n"
}

/// Makes a group with these users, and gives the answer.
fn create(phone: &mut Phone, users: &[usize], contribution: &str) -> Message {
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
         Subject: trip\r\nContribution-ID: {contribution}\r\nContent-Type: multipart/mixed;boundary=\"b\"\r\n",
        phone.contact()
    );
    phone.request("INVITE", FACTORY, FACTORY, &headers, &body).expect("the server lives")
}

fn rejoin(phone: &mut Phone, focus: &str) -> u16 {
    let headers = format!(
        "Contact: <{}>;+g.oma.sip-im\r\nAccept-Contact: *;+g.oma.sip-im\r\nContent-Type: application/sdp\r\n",
        phone.contact()
    );
    let answer = phone.request("INVITE", focus, focus, &headers, sdp()).expect("the server lives");
    if answer.code() == 200 {
        hang_up(phone, &answer, "");
    }
    answer.code()
}

/// The address of the focus.
fn focus(answer: &Message) -> String {
    let contact = answer.header("Contact").expect("a Contact");
    assert!(contact.contains(";isfocus"), "{contact}");
    contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned()
}

/// ACK and BYE to an INVITE that was answered; with a reason that says so the user leaves.
fn hang_up(phone: &mut Phone, answer: &Message, headers: &str) {
    within(phone, answer, "ACK", "");
    within(phone, answer, "BYE", headers);
}

/// A request in the dialog of an INVITE that was answered.
fn within(phone: &mut Phone, answer: &Message, method: &str, headers: &str) {
    let focus = focus(answer);
    let [from, to, call_id] = ["From", "To", "Call-ID"].map(|name| answer.header(name).unwrap_or_default().to_owned());
    let invite: u32 =
        answer.header("CSeq").unwrap_or_default().split(' ').next().unwrap_or_default().parse().expect("a number");
    let cseq = if method == "ACK" { invite } else { invite + 1 };
    let request = format!(
        "{method} {focus} SIP/2.0\r\nVia: SIP/2.0/TCP phone.invalid;branch=z9hG4bK{call_id}{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{headers}\
         Content-Length: 0\r\n\r\n"
    );
    phone.wire().send(request.as_bytes()).expect("the server takes it");
}

fn say(phone: &mut Phone, focus: &str, text: &str) -> std::io::Result<u16> {
    let headers = "Content-Type: text/plain;charset=UTF-8\r\n";
    phone.request("MESSAGE", focus, focus, headers, text).map(|answer| answer.code())
}

#[test]
fn members_come_and_go_and_the_group_stays() {
    let mut server = Server::start();
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut there = Phone::registered(&server, 1, Transport::Udp);
    let made = create(&mut owner, &[1, 2], "life");
    assert_eq!(made.code(), 200, "{made:?}");
    let focus = focus(&made);
    hang_up(&mut owner, &made, "");
    assert_eq!(say(&mut there, &focus, "one").unwrap(), 200);
    assert_eq!(owner.texts(1), ["one"]);
    server.kill();
    server.restart();
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut there = Phone::registered(&server, 1, Transport::Udp);
    // Somebody who was never there gets all of it; nobody else gets anything twice but what was not written down.
    let mut late = Phone::registered(&server, 2, Transport::Tcp);
    assert_eq!(late.texts(1), ["one"]);
    assert_eq!(say(&mut late, &focus, "two").unwrap(), 200);
    // The phones have no instance id: after the restart each is another device of its user, which may be sent the first too.
    for phone in [&mut there, &mut owner] {
        let mut came = phone.texts(1);
        if came == ["one"] {
            came = phone.texts(1);
        }
        assert_eq!(came, ["two"]);
    }
    // The same Contribution-ID is the same group; a stranger is told that it is none of its business.
    let again = create(&mut late, &[0, 1], "life");
    assert_eq!((again.code(), self::focus(&again)), (200, focus.clone()));
    hang_up(&mut late, &again, "");
    let mut stranger = Phone::registered(&server, 3, Transport::Tcp);
    assert_eq!(rejoin(&mut stranger, &focus), 403);
    assert_eq!(say(&mut stranger, &focus, "let me in").unwrap(), 403);
    assert_eq!(rejoin(&mut stranger, "sip:g00000000000000000000000000000000@localhost"), 404);
    // Who leaves is out, and hears no more.
    let call = create(&mut late, &[0, 1], "life");
    hang_up(&mut late, &call, "Reason: SIP;cause=200;text=\"Call completed\"\r\n");
    wait_for("the member to be out", || (rejoin(&mut late, &focus) == 403).then_some(()));
    assert_eq!(say(&mut owner, &focus, "three").unwrap(), 200);
    assert_eq!(there.texts(1), ["three"]);
    late.nothing_more();
    server.stop();
}

#[test]
fn kill_in_the_middle_of_talk_loses_nothing_that_was_accepted() {
    let mut server = Server::start();
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let made = create(&mut owner, &[1, 2], "kill");
    assert_eq!(made.code(), 200, "{made:?}");
    let focus = focus(&made);
    hang_up(&mut owner, &made, "");
    let accepted = send_over_kills(&mut server, 1, 200, move |phone, text| say(phone, &focus, text));
    let mut reader = Phone::registered(&server, 2, Transport::Tcp);
    all_arrive(&mut reader, &accepted);
    server.stop();
}

#[test]
fn a_member_that_stalls_delays_nobody() {
    let mut server = Server::start();
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut stalled = Phone::registered(&server, 2, Transport::Tcp);
    stalled.answer = None;
    let mut there = Phone::registered(&server, 1, Transport::Tcp);
    let made = create(&mut owner, &[1, 2], "stall");
    assert_eq!(made.code(), 200, "{made:?}");
    let focus = focus(&made);
    hang_up(&mut owner, &made, "");
    let sent: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    let begun = Instant::now();
    for text in &sent {
        assert_eq!(say(&mut there, &focus, text).unwrap(), 200);
        assert_eq!(owner.texts(1), [text.as_str()]);
    }
    // Far below the 32 s in which the silent one is given up.
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    assert!(stalled.receive(Duration::from_secs(1)).unwrap().is_some(), "it has been sent the first");
    // Another device of the same user has them all.
    assert_eq!(Phone::registered(&server, 2, Transport::Udp).texts(20), sent);
    server.stop();
}

#[test]
fn who_is_blocked_is_not_heard_and_every_fate_is_told() {
    let mut server = Server::start();
    server.ask(&["account", "block", "user1@localhost", "user2@localhost"]);
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut blocks = Phone::registered(&server, 1, Transport::Udp);
    let mut blocked = Phone::registered(&server, 2, Transport::Tcp);
    let made = create(&mut owner, &[1, 2, 3], "blocked");
    assert_eq!(made.code(), 200, "{made:?}");
    let focus = focus(&made);
    hang_up(&mut owner, &made, "");
    let send = |phone: &mut Phone, id: &str, text: &str| {
        let body = format!(
            "From: <{}>\r\nTo: <{focus}>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\n\
             DateTime: 2026-01-01T00:00:00Z\r\n\r\nContent-Type: text/plain\r\n\r\n{text}",
            phone.aor()
        );
        let answer = phone.request("MESSAGE", &focus, &focus, "Content-Type: message/cpim\r\n", &body);
        assert_eq!(answer.expect("the server lives").code(), 200);
    };
    // User 3 is away.
    send(&mut blocked, "unwanted1", "unwanted");
    assert_eq!(owner.texts(1), ["unwanted"]);
    send(&mut owner, "wanted1", "wanted");
    assert_eq!(blocked.texts(1), ["wanted"]);
    assert_eq!(blocks.texts(1), ["wanted"]);
    blocks.nothing_more();
    let fate = |server: &Server, id: &str, user: usize| {
        let told = server.ask(&["explain", id]);
        let events = told["events"].as_array().expect("events").clone();
        let name = format!("user{user}@localhost");
        let of: Vec<String> = events
            .iter()
            .filter(|event| event["recipient"] == name.as_str())
            .map(|event| event["event"].as_str().unwrap_or_default().to_owned())
            .collect();
        of
    };
    // Cursors follow a second behind.
    wait_for("the fates", || (fate(&server, "unwanted1", 0) == ["delivered"]).then_some(()));
    assert_eq!(fate(&server, "unwanted1", 1), ["refused"]);
    assert_eq!(fate(&server, "unwanted1", 3), ["stored"]);
    let counts = server.counts();
    assert_eq!(counts, [6, 3, 2, 0, 1], "three recipients each: two wait for user 3, one is withheld");
    let mut late = Phone::registered(&server, 3, Transport::Tcp);
    assert_eq!(late.texts(2), ["unwanted", "wanted"]);
    wait_for("nothing to wait", || (server.counts() == [6, 5, 0, 0, 1]).then_some(()));
    server.stop();
}

/// Registers a device with a push token.
fn register_to_sleep(phone: &mut Phone) {
    let (contact, aor) = (phone.contact(), phone.aor());
    let headers = format!(
        "Contact: <{contact};pn-provider=webhook;pn-param=p;pn-prid=token>;+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-\
         000000000001>\";reg-id=1\r\nSupported: outbound\r\nExpires: 3600\r\n"
    );
    let answer = phone.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives");
    assert_eq!(answer.code(), 200, "{answer:?}");
}

#[test]
fn after_a_kill_a_group_goes_on_though_nobody_uses_it() {
    let hook = Hook::start();
    let settings = vec![("PUSH__WEBHOOK", hook.url())];
    let mut server = Server::start_with(Options { settings, ..Options::default() });
    let mut sleeper = Phone::new(&server, 1, Transport::Tcp);
    register_to_sleep(&mut sleeper);
    drop(sleeper);
    let user = format!("user1@{DOMAIN}");
    wait_for("it to sleep", || {
        let shown = server.ask(&["registrations", &user]).to_string();
        (!shown.contains("\"flow\":")).then_some(())
    });
    let mut mute = Phone::registered(&server, 2, Transport::Udp);
    let says = mute.answer.take();
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let made = create(&mut owner, &[1, 2], "wakes");
    assert_eq!(made.code(), 200, "{made:?}");
    let focus = focus(&made);
    hang_up(&mut owner, &made, "");
    // The push service is down while the message comes, and then the server dies.
    hook.answer(503);
    assert_eq!(say(&mut owner, &focus, "one").unwrap(), 200);
    assert_eq!(hook.next()["prid"], "token");
    assert!(mute.receive(Duration::from_secs(5)).unwrap().is_some(), "it is sent the message, and does not answer");
    server.kill();
    hook.answer(200);
    mute.answer = says;
    server.restart();
    // Nobody has said or asked anything of the group since.
    wait_for("the push", || server.ask(&["push", "log", &user]).to_string().contains("accepted").then_some(()));
    assert_eq!(mute.texts(1), ["one"]);
    let mut sleeper = Phone::new(&server, 1, Transport::Tcp);
    register_to_sleep(&mut sleeper);
    assert_eq!(sleeper.texts(1), ["one"]);
    server.stop();
}

/// The MSRP session of a device that reads and confirms nothing.
struct Stalled {
    peer: Peer,
    paths: String,
    /// What it was sent.
    sends: Vec<Frame>,
}

impl Stalled {
    /// Takes up the session that an INVITE was answered with.
    fn open(server: &Server, phone: &mut Phone, made: &Message) -> Stalled {
        within(phone, made, "ACK", "");
        let path = made.body.lines().find_map(|line| line.trim_end().strip_prefix("a=path:")).expect("a path");
        let paths = format!("To-Path: {path}\r\nFrom-Path: msrp://127.0.0.1:9/own;tcp\r\n");
        let mut peer = Peer::open(server, Via::Tcp, 0);
        peer.answers = false;
        let mut stalled = Stalled { peer, paths, sends: Vec::new() };
        stalled.read_on();
        stalled
    }

    /// Sends nothing in a SEND, and reads what the server has sent before its answer.
    fn read_on(&mut self) {
        let id = self.peer.id();
        let frame =
            format!("MSRP {id} SEND\r\n{}Message-ID: {id}\r\nByte-Range: 1-0/0\r\n-------{id}$\r\n", self.paths);
        self.peer.link.put(frame.as_bytes());
        loop {
            let frame = self.peer.frame(patience()).expect("the server lives");
            match (frame.status, frame.method.as_str()) {
                (200, _) if frame.id == id => return,
                (0, "SEND") => self.sends.push(frame),
                _ => panic!("{frame:?}"),
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        let text = |frame: &Frame| {
            let body = String::from_utf8_lossy(&frame.body).into_owned();
            body.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
        };
        self.sends.iter().map(text).collect()
    }

    /// Confirms the SEND with this number.
    fn confirm(&mut self, at: usize) {
        let frame = &self.sends[at];
        let (id, to, from) = (&frame.id, frame.header("From-Path"), frame.header("To-Path"));
        let ok = format!("MSRP {id} 200 OK\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n-------{id}$\r\n");
        self.peer.link.put(ok.as_bytes());
    }
}

/// Counts: all copies for the others go out while the one that stalls has its window full and not one message more.
#[test]
fn one_of_five_hundred_that_stalls_holds_up_nobody() {
    const MEMBERS: usize = 500;
    const WINDOW: usize = 2;
    let settings = vec![
        ("GROUP__MAX_MEMBERS", MEMBERS.to_string()),
        ("CHAT__WINDOW", WINDOW.to_string()),
        ("LIMITS__USER_RATE", "0".to_owned()),
    ];
    let mut server = Server::start_with(Options { accounts: MEMBERS, settings, ..Options::default() });
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut others: Vec<Phone> = (1..MEMBERS).map(|user| Phone::registered(&server, user, Transport::Udp)).collect();
    let made = create(&mut owner, &(1..MEMBERS).collect::<Vec<_>>(), "many");
    assert_eq!(made.code(), 200, "{made:?}");
    let focus = focus(&made);
    let mut stalled = Stalled::open(&server, &mut owner, &made);
    let mut writer = others.pop().expect("there are many");
    let sent: Vec<String> = (0..3 * WINDOW).map(|number| format!("number {number}")).collect();
    let mut copies = 0;
    for text in &sent {
        assert_eq!(say(&mut writer, &focus, text).unwrap(), 200);
        for other in &mut others {
            assert_eq!(other.texts(1), [text.as_str()]);
            copies += 1;
        }
    }
    assert_eq!(copies, (MEMBERS - 2) * sent.len());
    stalled.read_on();
    assert_eq!(stalled.texts(), &sent[..WINDOW], "its window, and nothing beyond");
    // What it confirms makes room for as much; it ends up with all of it, in order.
    for at in 0..sent.len() {
        stalled.confirm(at);
        wait_for("the next", || {
            stalled.read_on();
            (stalled.sends.len() == sent.len().min(at + 1 + WINDOW)).then_some(())
        });
    }
    assert_eq!(stalled.texts(), sent);
    server.stop();
}

/// Older clients follow the roster in the dialog of their session: both count their requests together (RFC 5057).
#[test]
fn a_roster_is_followed_in_the_dialog_of_the_session() {
    let mut server = Server::start();
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let made = create(&mut owner, &[1], "within");
    assert_eq!(made.code(), 200, "{made:?}");
    let focus = focus(&made);
    within(&mut owner, &made, "ACK", "");
    let contact = owner.contact();
    let headers = |event: &str| format!("Event: {event}\r\nContact: <{contact}>\r\nExpires: 600\r\n");
    within(&mut owner, &made, "SUBSCRIBE", &headers("conference"));
    let mut seen = vec![next(&mut owner)];
    assert_eq!(seen[0].method(), "NOTIFY");
    assert_eq!(seen[0].header("Call-ID"), made.header("Call-ID"));
    assert!(seen[0].header("Contact").is_some_and(|contact| contact.contains(";isfocus")), "{:?}", seen[0]);
    assert!(
        seen[0].body.contains("state=\"full\" version=\"1\"") && seen[0].body.contains("sip:user1@"),
        "{:?}",
        seen[0]
    );
    let refer = |owner: &mut Phone, user: usize, method: &str| {
        let headers = format!("Refer-To: <sip:user{user}@{DOMAIN}{method}>\r\nRefer-Sub: false\r\n");
        let answer = owner.request("REFER", &focus, &focus, &headers, "").expect("the server lives");
        assert_eq!(answer.code(), 202, "{answer:?}");
    };
    refer(&mut owner, 2, "");
    seen.push(next(&mut owner));
    assert!(
        seen[1].body.contains("state=\"partial\" version=\"2\"") && seen[1].body.contains("sip:user2@"),
        "{:?}",
        seen[1]
    );
    // It leaves: the session ends, and so does the subscription.
    refer(&mut owner, 0, ";method=BYE");
    seen.push(next(&mut owner));
    seen.push(next(&mut owner));
    let methods: Vec<&str> = seen[2..].iter().map(Message::method).collect();
    assert!(methods.contains(&"BYE") && methods.contains(&"NOTIFY"), "{methods:?}");
    let ended =
        |message: &Message| message.header("Subscription-State").is_some_and(|state| state.starts_with("terminated"));
    assert!(seen.iter().any(ended), "{seen:?}");
    let numbers: Vec<u32> = seen
        .iter()
        .map(|message| message.header("CSeq").and_then(|cseq| cseq.split(' ').next()?.parse().ok()).expect("a CSeq"))
        .collect();
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    server.stop();
}

fn next(phone: &mut Phone) -> Message {
    phone.receive(chappe_e2e::PATIENCE).expect("the server lives").expect("a request comes")
}

/// A roster of a thousand fits into no datagram: it goes over TCP to who subscribed over UDP (RFC 3261 §18.1.1).
#[test]
fn a_roster_that_is_too_large_for_udp_goes_over_tcp() {
    const MEMBERS: usize = 1000;
    let settings = vec![("GROUP__MAX_MEMBERS", MEMBERS.to_string())];
    let mut server = Server::start_with(Options { settings, ..Options::default() });
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut reader = Phone::registered(&server, 1, Transport::Udp);
    let made = create(&mut owner, &(1..MEMBERS).collect::<Vec<_>>(), "large");
    assert_eq!(made.code(), 200, "{made:?}");
    let focus = focus(&made);
    hang_up(&mut owner, &made, "");
    let listener = TcpListener::bind(reader.wire().local()).expect("TCP has the port free");
    let headers = format!("Event: conference\r\nContact: <{}>\r\nExpires: 600\r\n", reader.contact());
    let answer = reader.request("SUBSCRIBE", &focus, &focus, &headers, "").expect("the server lives");
    assert_eq!(answer.code(), 200, "{answer:?}");
    let (mut stream, _) = listener.accept().expect("the server connects");
    stream.set_read_timeout(Some(chappe_e2e::PATIENCE)).expect("a timeout can be set");
    let mut input = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let at = head.len();
        input.read_line(&mut head).expect("a head");
        if let Some(value) = head[at..].strip_prefix("Content-Length: ") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).expect("a body");
    let notify = Message::read(&[head.as_bytes(), &body].concat());
    assert!(notify.method() == "NOTIFY" && head.contains("Via: SIP/2.0/TCP "), "{head}");
    assert_eq!(notify.body.matches("<user ").count(), MEMBERS);
    let ok = notify.response("200 OK", "");
    stream.write_all(ok.as_bytes()).expect("the server reads");
    // Small ones come as ever.
    let refer = format!("Refer-To: <sip:user5@{DOMAIN};method=BYE>\r\nRefer-Sub: false\r\n");
    assert_eq!(owner.request("REFER", &focus, &focus, &refer, "").expect("the server lives").code(), 202);
    let notify = next(&mut reader);
    assert!(
        notify.body.contains("state=\"partial\" version=\"2\"") && notify.body.contains("sip:user5@"),
        "{notify:?}"
    );
    server.stop();
}

/// A message of CPIM that names one member is for that one only, and never for all where it cannot be (RFC 7701 §6.2).
#[test]
fn a_private_message_reaches_one_and_nobody_else() {
    let mut server = Server::start();
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut one = Phone::registered(&server, 1, Transport::Tcp);
    let mut other = Phone::registered(&server, 2, Transport::Udp);
    let made = create(&mut owner, &[1, 2], "private");
    assert_eq!(made.code(), 200, "{made:?}");
    assert!(made.body.contains("a=chatroom:private-messages"), "{made:?}");
    let focus = focus(&made);
    hang_up(&mut owner, &made, "");
    let mut send = |id: &str, to: &str, text: &str| {
        let body = format!(
            "From: <sip:user0@{DOMAIN}>\r\n{to}NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\n\
             DateTime: 2026-01-01T00:00:00Z\r\n\r\nContent-Type: text/plain\r\n\r\n{text}"
        );
        let answer = owner.request("MESSAGE", &focus, &focus, "Content-Type: message/cpim\r\n", &body);
        answer.expect("the server lives").code()
    };
    let to = |user: usize| format!("To: <sip:user{user}@{DOMAIN}>\r\n");
    assert_eq!(send("p1", &to(1), "between us"), 200);
    assert_eq!(send("p2", &to(3), "for who is not in"), 404);
    assert_eq!(send("p3", &format!("{}{}", to(1), to(2)), "for two"), 403);
    assert_eq!(send("p4", "To: <sip:anonymous@anonymous.invalid>\r\n", "for all"), 200);
    assert_eq!(one.texts(2), ["between us", "for all"]);
    assert_eq!(other.texts(1), ["for all"]);
    other.nothing_more();
    // Two recipients of one message and one of the other: what is counted is what was due.
    wait_for("all to be delivered", || (server.counts() == [3, 3, 0, 0, 0]).then_some(()));
    server.stop();
}
