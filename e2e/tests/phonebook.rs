//! A phone book of a thousand contacts is polled for capabilities, twice by two phones: what reaches the devices is
//! bounded, none that sleeps is woken, and each user is answered for all devices in one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chappe_e2e::{DOMAIN, Message, Options, Phone, Server, Transport, wait_for};

const CONTACTS: usize = 1000;
const AWAKE: usize = 12;
const ASLEEP: usize = 6;
const CHAT: &str = "+g.oma.sip-im";
const FILES: &str = "+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.ft\"";
const ASKED: &str = "Accept-Contact: *;+g.oma.sip-im\r\n";

/// Registers a phone whose Contact has these parameters.
fn register(phone: &mut Phone, params: &str) {
    let headers = format!("Contact: <{}>;{params}\r\nExpires: 600\r\n", phone.contact());
    let aor = phone.aor();
    let answer = phone.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives");
    assert_eq!(answer.code(), 200, "{answer:?}");
}

/// Asks for every contact; user N is contact N.
fn poll(phone: &mut Phone) -> Vec<Message> {
    let ask = |n: usize| {
        let to = format!("sip:user{n}@{DOMAIN}");
        phone.request("OPTIONS", &to, &to, ASKED, "").unwrap_or_else(|error| panic!("user{n}: {error}"))
    };
    (2..2 + CONTACTS).map(ask).collect()
}

#[test]
fn a_thousand_contacts_twice() {
    let settings = vec![("CAPABILITY__FRESH", "1h".to_owned()), ("CAPABILITY__RATE", "0".to_owned())];
    let server = Server::start_with(Options { accounts: 2 + CONTACTS - 100, settings, ..Options::default() });
    let mut pollers = [Phone::registered(&server, 0, Transport::Tcp), Phone::registered(&server, 1, Transport::Tcp)];

    // Contacts 2 to 13 are awake; the first of them on two devices that can do different things.
    let mut awake: Vec<Phone> = (0..AWAKE).map(|n| Phone::new(&server, 2 + n, Transport::Udp)).collect();
    for (n, phone) in awake.iter_mut().enumerate() {
        register(phone, &format!("+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-{n:012}>\";reg-id=1;{CHAT}"));
        phone.capabilities = CHAT.to_owned();
    }
    let mut second = Phone::new(&server, 2, Transport::Udp);
    register(
        &mut second,
        &format!("+sip.instance=\"<urn:uuid:00000000-0000-0000-0001-000000000000>\";reg-id=1;{FILES}"),
    );
    second.capabilities = FILES.to_owned();
    awake.push(second);
    // The next ones sleep: their connections are gone, their push tokens live.
    let asleep: Vec<usize> = (2 + AWAKE..2 + AWAKE + ASLEEP).collect();
    for user in &asleep {
        let mut phone = Phone::new(&server, *user, Transport::Tcp);
        let push = "pn-provider=x;pn-prid=p;pn-param=y";
        register(
            &mut phone,
            &format!("+sip.instance=\"<urn:uuid:00000000-0000-0000-0002-{user:012}>\";reg-id=1;{push};{CHAT}"),
        );
    }
    let sleeping = |user: &usize| server.ask(&["registrations", &format!("user{user}@{DOMAIN}")]).to_string();
    wait_for("those who sleep are known to", || {
        asleep.iter().all(|user| !sleeping(user).contains("\"flow\"")).then_some(())
    });

    let over = AtomicBool::new(false);
    let (answers, questions) = thread::scope(|scope| {
        let serve = |phone: &'_ mut Phone| {
            let mut questions = 0;
            while !over.load(Ordering::Relaxed) {
                match phone.receive(Duration::from_millis(100)).expect("the server lives") {
                    Some(request) if request.method() == "OPTIONS" => questions += 1,
                    _ => {}
                }
            }
            questions
        };
        let devices: Vec<_> = awake.iter_mut().map(|phone| scope.spawn(move || serve(phone))).collect();
        let answers: Vec<Vec<Message>> =
            (0..2).flat_map(|_| pollers.iter_mut().map(poll).collect::<Vec<_>>()).collect();
        over.store(true, Ordering::Relaxed);
        let questions: Vec<u32> = devices.into_iter().map(|device| device.join().unwrap()).collect();
        (answers, questions)
    });

    assert_eq!(questions, vec![1; AWAKE + 1], "4,000 questions reach each device once");
    for answers in &answers {
        for (n, answer) in answers.iter().enumerate() {
            let user = n + 2;
            let expected = if user >= 2 + CONTACTS - 100 {
                404
            } else if user < 2 + AWAKE + ASLEEP {
                200
            } else {
                480
            };
            assert_eq!(answer.code(), expected, "user{user}: {answer:?}");
        }
        let both = answers[0].header("Contact").unwrap_or_default();
        assert!(both.contains(CHAT) && both.contains("iari.rcse.ft"), "both devices of user2: {both}");
        let sleeping = answers[AWAKE].header("Contact").unwrap_or_default();
        assert!(sleeping.contains(CHAT), "what a sleeping device registered with: {sleeping}");
    }
}
