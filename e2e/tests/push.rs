//! Sleeping phones are woken by push, once, and get what waits for them (RFC 8599).

use std::thread;

use chappe_e2e::{DOMAIN, Hook, Message, Options, Phone, Server, Transport, wait_for};

fn server(hook: &Hook) -> Server {
    let settings = vec![("PUSH__WEBHOOK", hook.url()), ("PUSH__WAIT", "15s".to_owned())];
    Server::start_with(Options { settings, ..Options::default() })
}

/// Registers a device of a user with a push token.
fn register(phone: &mut Phone, device: usize) -> Message {
    let contact = phone.contact();
    let headers = format!(
        "Contact: <{contact};pn-provider=webhook;pn-param=p;pn-prid=token{device}>;+sip.instance=\"<urn:uuid:00000000-0000-\
         0000-0000-{device:012}>\";reg-id=1;+sip.pnsreg\r\nSupported: outbound\r\nExpires: 3600\r\n"
    );
    let aor = phone.aor();
    let answer = phone.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives");
    assert_eq!(answer.code(), 200, "{answer:?}");
    answer
}

/// A device that has registered and sleeps: its connection is gone.
fn asleep(server: &Server, user: usize, device: usize) {
    let before = flows(server, user);
    let mut phone = Phone::new(server, user, Transport::Tcp);
    register(&mut phone, device);
    drop(phone);
    wait_for("its connection is gone", || (flows(server, user) <= before).then_some(()));
}

/// How many devices of a user are reached.
fn flows(server: &Server, user: usize) -> usize {
    let shown = server.ask(&["registrations", &format!("user{user}@{DOMAIN}")]).to_string();
    shown.matches("\"flow\":").count()
}

/// A device wakes: it opens a connection and registers.
fn wakes(server: &Server, user: usize, device: usize) -> Phone {
    let mut phone = Phone::new(server, user, Transport::Tcp);
    register(&mut phone, device);
    phone
}

fn invite(caller: &mut Phone, to: usize) -> Message {
    let to = format!("sip:user{to}@{DOMAIN}");
    let contact = caller.contact();
    caller.request("INVITE", &to, &to, &format!("Contact: <{contact}>\r\n"), "").expect("the server lives")
}

#[test]
fn what_a_registration_is_told() {
    let hook = Hook::start();
    let server = server(&hook);
    let mut phone = Phone::new(&server, 1, Transport::Tcp);
    let answer = register(&mut phone, 1);
    let told = |answer: &Message| answer.header("Feature-Caps").unwrap_or_default().to_owned();
    let first = told(&answer);
    assert!(first.starts_with("*;+sip.pns=\"webhook\";+sip.pnsreg=\"180\";+sip.pnspurr=\""), "{first}");
    assert_ne!(told(&register(&mut phone, 1)), first, "a reference is new each time");
    let aor = phone.aor();
    let contact = phone.contact();
    let mut ask = |param: &str| {
        let headers = format!("Contact: <{contact};{param}>\r\nExpires: 600\r\n");
        phone.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives")
    };
    assert_eq!(ask("pn-provider").header("Feature-Caps"), Some("*;+sip.pns=\"webhook\""), "a question what there is");
    assert_eq!(ask("pn-provider=carrier-pigeon;pn-prid=x").code(), 555);
    assert_eq!(ask("transport=tcp").header("Feature-Caps"), None, "nobody asked");
    // Too short for a push to have it refreshed in time.
    let headers = format!("Contact: <{contact};pn-provider=webhook;pn-prid=x>\r\nExpires: 100\r\n");
    let brief = phone.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives");
    assert_eq!((brief.code(), brief.header("Min-Expires")), (423, Some("240")), "{brief:?}");
}

#[test]
fn a_message_wakes_its_recipient_and_outlives_a_kill() {
    let hook = Hook::start();
    let mut server = server(&hook);
    asleep(&server, 1, 1);
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    assert_eq!(sender.message(1, "one").unwrap(), 202);
    let push = hook.next();
    assert_eq!((push["prid"].as_str(), push["class"].as_str()), (Some("token1"), Some("message")), "{push}");
    assert_eq!(push["provider"], "webhook");
    assert!(!push.to_string().contains("one\""), "no text in a push: {push}");
    assert_eq!(sender.message(1, "two").unwrap(), 202);
    let mut phone = wakes(&server, 1, 1);
    assert_eq!(phone.texts(2), ["one", "two"]);
    assert_eq!(hook.rest(), [serde_json::Value::Null; 0], "both are one wake-up, and it is over");
    drop(phone);
    wait_for("it sleeps again", || (flows(&server, 1) == 0).then_some(()));
    // The service is down when the next is stored, and then the server dies.
    hook.answer(503);
    assert_eq!(sender.message(1, "three").unwrap(), 202);
    hook.next();
    server.kill();
    hook.answer(200);
    server.restart();
    let push = loop {
        let push = hook.next();
        if push["prid"] == "token1" {
            break push;
        }
    };
    assert_eq!(push["class"], "message", "what waits is known from the store");
    let mut phone = wakes(&server, 1, 1);
    assert_eq!(phone.texts(1), ["three"]);
    let log = server.ask(&["push", "log", "user1@localhost"]).to_string();
    assert!(log.contains("accepted") && log.contains("it registered"), "{log}");
}

const FACTORY: &str = "sip:conference-factory@localhost";

/// Makes a group with these users, leaves its session, and gives the focus.
fn group(owner: &mut Phone, users: &[usize]) -> String {
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
               a=setup:active\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\na=path:msrp://127.0.0.1:9/own;tcp\r\n";
    let entry = |user: &usize| format!("<entry uri=\"sip:user{user}@localhost\" cp:copyControl=\"to\"/>");
    let entries: String = users.iter().map(entry).collect();
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\nContent-Type: application/resource-lists+xml\r\n\
         Content-Disposition: recipient-list\r\n\r\n<?xml version=\"1.0\"?>\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\">\
         <list>{entries}</list></resource-lists>\r\n--b--\r\n"
    );
    let headers = format!(
        "Contact: <{}>;+g.oma.sip-im\r\nAccept-Contact: *;+g.oma.sip-im\r\nRequire: recipient-list-invite\r\n\
         Contribution-ID: woken\r\nContent-Type: multipart/mixed;boundary=\"b\"\r\n",
        owner.contact()
    );
    let made = owner.request("INVITE", FACTORY, FACTORY, &headers, &body).expect("the server lives");
    assert_eq!(made.code(), 200, "{made:?}");
    let contact = made.header("Contact").expect("a Contact");
    contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned()
}

#[test]
fn a_message_to_a_group_wakes_the_members_that_sleep() {
    let hook = Hook::start();
    let server = server(&hook);
    asleep(&server, 1, 1);
    let mut owner = Phone::registered(&server, 0, Transport::Tcp);
    let mut there = Phone::registered(&server, 2, Transport::Udp);
    let focus = group(&mut owner, &[1, 2]);
    let mut say = |text: &str| {
        let answer = there.request("MESSAGE", &focus, &focus, "Content-Type: text/plain\r\n", text);
        assert_eq!(answer.expect("the server lives").code(), 200);
    };
    say("one");
    let push = hook.next();
    assert_eq!((push["prid"].as_str(), push["class"].as_str()), (Some("token1"), Some("message")), "{push}");
    say("two");
    let mut phone = wakes(&server, 1, 1);
    assert_eq!(phone.texts(2), ["one", "two"]);
    assert_eq!(hook.rest(), [serde_json::Value::Null; 0], "both are one wake-up, and it is over");
    // Who is awake is not pushed to.
    say("three");
    assert_eq!(phone.texts(1), ["three"]);
    assert_eq!(hook.rest(), [serde_json::Value::Null; 0]);
}

#[test]
fn a_call_waits_for_five_devices_and_each_rings_once() {
    let hook = Hook::start();
    let server = server(&hook);
    (0..5).for_each(|device| asleep(&server, 1, device));
    let mut caller = Phone::registered(&server, 0, Transport::Tcp);
    thread::scope(|scope| {
        let call = scope.spawn(move || invite(&mut caller, 1));
        let mut pushed: Vec<String> = (0..5)
            .map(|_| hook.next())
            .inspect(|push| assert_eq!(push["class"], "call"))
            .map(|push| push["prid"].as_str().unwrap_or_default().to_owned())
            .collect();
        pushed.sort();
        assert_eq!(pushed, ["token0", "token1", "token2", "token3", "token4"]);
        // They wake one after the other, each registers twice, and all are rung at; nobody answers with more than busy.
        let mut phones: Vec<Phone> = Vec::new();
        for device in [3, 0, 4, 1, 2] {
            let mut phone = Phone::new(&server, 1, Transport::Tcp);
            // The call may come before the answer to its registration.
            phone.invite = Some("486 Busy Here");
            register(&mut phone, device);
            register(&mut phone, device);
            let rung = phone.receive(chappe_e2e::PATIENCE).expect("the server lives").expect("the call comes");
            assert_eq!(rung.method(), "INVITE");
            phones.push(phone);
        }
        assert_eq!(call.join().expect("the caller lives").code(), 486);
        for phone in &mut phones {
            let more = std::iter::from_fn(|| phone.receive(std::time::Duration::from_millis(200)).ok().flatten());
            assert!(more.into_iter().all(|request| request.method() != "INVITE"), "a device rang twice");
        }
    });
    assert_eq!(hook.rest(), [serde_json::Value::Null; 0], "each was pushed to once");
}

/// Nothing was pushed but for those who are named: what was wanted before them would have come before.
fn fence(server: &Server, hook: &Hook, sender: &mut Phone) {
    asleep(server, 3, 33);
    assert_eq!(sender.message(3, "fence").expect("the server lives"), 202);
    assert_eq!(hook.next()["prid"], "token33", "a push that must not have been");
    let mut phone = wakes(server, 3, 33);
    assert_eq!(phone.texts(1), ["fence"]);
}

#[test]
fn a_kill_between_storing_and_pushing_loses_no_wake_up() {
    let hook = Hook::start();
    let mut server = server(&hook);
    for round in 0..4 {
        asleep(&server, 1, 1);
        let mut sender = Phone::registered(&server, 0, Transport::Tcp);
        let text = format!("round {round}");
        // The 202 says that it is on disk; nobody knows how far the wake-up is.
        assert_eq!(sender.message(1, &text).unwrap(), 202);
        server.kill();
        let before = hook.rest();
        server.restart();
        let push = hook.next();
        assert_eq!(push["prid"], "token1", "round {round}, before: {before:?}");
        assert_eq!(wakes(&server, 1, 1).texts(1), [text]);
        wait_for("it sleeps again", || (flows(&server, 1) == 0).then_some(()));
    }
}

#[test]
fn a_dead_token_stays_dead_when_the_server_is_killed() {
    let hook = Hook::start();
    let mut server = server(&hook);
    asleep(&server, 1, 1);
    hook.answer(410);
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    assert_eq!(sender.message(1, "one").unwrap(), 202);
    assert_eq!(hook.next()["prid"], "token1");
    wait_for("it is known", || {
        server.ask(&["push", "log", "user1@localhost"]).to_string().contains("gone").then_some(())
    });
    // The registration goes a little later; that the token is dead is on disk.
    server.kill();
    hook.answer(200);
    server.restart();
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    fence(&server, &hook, &mut sender);
    // The phone comes back with it, and is told that it will not be woken.
    let mut phone = Phone::new(&server, 1, Transport::Tcp);
    let answer = register(&mut phone, 1);
    assert_eq!(answer.header("Feature-Caps"), None);
    assert_eq!(phone.texts(1), ["one"]);
    drop(phone);
    wait_for("it sleeps", || (flows(&server, 1) == 0).then_some(()));
    assert_eq!(sender.message(1, "two").unwrap(), 202);
    fence(&server, &hook, &mut sender);
    // With a new one it is.
    drop(wakes(&server, 1, 2));
    wait_for("it sleeps", || (flows(&server, 1) == 0).then_some(()));
    assert_eq!(sender.message(1, "three").unwrap(), 202);
    assert_eq!(hook.next()["prid"], "token2");
}

#[test]
fn a_request_within_a_dialog_wakes_the_device_of_the_dialog() {
    let hook = Hook::start();
    let server = server(&hook);
    let mut callee = Phone::new(&server, 1, Transport::Tcp);
    let told = register(&mut callee, 1).header("Feature-Caps").unwrap_or_default().to_owned();
    let (_, rest) = told.split_once("+sip.pnspurr=\"").expect("a reference");
    let reference = rest.split('"').next().unwrap_or_default().to_owned();
    callee.invited = format!("Contact: <{};pn-purr={reference}>\r\n", callee.contact());
    let mut caller = Phone::registered(&server, 0, Transport::Tcp);
    let answer = thread::scope(|scope| {
        let call = scope.spawn(|| invite(&mut caller, 1));
        assert_eq!(callee.receive(chappe_e2e::PATIENCE).unwrap().expect("the call comes").method(), "INVITE");
        call.join().expect("the caller lives")
    });
    assert_eq!(answer.code(), 200, "{answer:?}");
    drop(callee);
    wait_for("it sleeps", || (flows(&server, 1) == 0).then_some(()));
    thread::scope(|scope| {
        let bye = scope.spawn(|| caller.within("BYE", &answer).expect("the server lives"));
        let push = hook.next();
        assert_eq!((push["prid"].as_str(), push["class"].as_str()), (Some("token1"), Some("message")), "{push}");
        let mut callee = wakes(&server, 1, 1);
        let came = callee.receive(chappe_e2e::PATIENCE).unwrap().expect("the BYE comes");
        assert_eq!(came.method(), "BYE");
        assert_eq!(bye.join().expect("the caller lives").code(), 200);
    });
    assert_eq!(hook.rest(), [serde_json::Value::Null; 0]);
}

#[test]
fn a_dead_token_is_used_once() {
    let hook = Hook::start();
    let server = server(&hook);
    asleep(&server, 1, 1);
    hook.answer(410);
    let mut caller = Phone::registered(&server, 0, Transport::Tcp);
    assert_eq!(invite(&mut caller, 1).code(), 480, "nobody can be woken");
    hook.next();
    wait_for("the registration is gone", || {
        let shown = server.ask(&["registrations", &format!("user1@{DOMAIN}")]).to_string();
        (!shown.contains("token1")).then_some(())
    });
    assert_eq!(invite(&mut caller, 1).code(), 480);
    assert_eq!(caller.message(1, "later").unwrap(), 202);
    assert_eq!(hook.rest(), [serde_json::Value::Null; 0]);
    // The phone comes back with the token that is dead: it is reached while it is there.
    let mut phone = wakes(&server, 1, 1);
    assert_eq!(phone.texts(1), ["later"]);
}

#[test]
fn an_operator_tries_a_push() {
    let hook = Hook::start();
    let server = server(&hook);
    asleep(&server, 1, 1);
    let tested = server.ask(&["push", "test", "user1@localhost"]);
    assert_eq!((tested[0]["outcome"].as_str(), tested[0]["provider"].as_str()), (Some("accepted"), Some("webhook")));
    assert_eq!(hook.next()["collapse"], "test");
}
