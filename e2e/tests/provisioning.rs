//! A handset that knows its number comes to a registration and a message with no manual step (GSMA RCC.14).

use std::io::{Read, Write};
use std::net::TcpStream;

use chappe_e2e::{Phone, Server, Transport, wait_for};

/// An answer: its status, headers and body.
struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn cookie(&self) -> String {
        let cookie = self.header("Set-Cookie").unwrap_or_else(|| panic!("no cookie in {}", self.head));
        cookie.split(';').next().unwrap_or_default().to_owned()
    }

    /// The value of a parameter, where it is first.
    fn parm(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\""))?;
        rest.split('"').next()
    }
}

/// GET over plain HTTP, which from loopback counts like TLS.
fn get(server: &Server, target: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(server.addr("http")).expect("the server listens");
    let request = format!("GET {target} HTTP/1.1\r\nHost: config.rcs.localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server answers");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { code, head: head.to_owned(), body: body.to_owned() }
}

/// The last one-time password that the testbed wrote into its log.
fn password(server: &Server) -> String {
    wait_for("a one-time password", || {
        let log = server.log();
        let line = log.lines().rev().find(|line| line.contains("one-time password"))?.to_owned();
        let (_, rest) = line.split_once("code=")?;
        Some(rest.chars().filter(char::is_ascii_digit).take(6).collect())
    })
}

const HANDSET: &str =
    "vers=0&IMSI=001010000000001&IMEI=356938035643800&rcs_profile=UP_2.4&client_vendor=EXMP&SMS_port=0";

#[test]
fn a_handset_that_knows_its_number_configures_itself_registers_and_gets_a_message() {
    let mut server = Server::start();
    let asked = get(&server, &format!("/?{HANDSET}&msisdn=%2B15550000001&token="), "");
    assert_eq!((asked.code, &*asked.body), (200, ""), "{}", asked.head);
    let cookie = format!("Cookie: {}\r\n", asked.cookie());
    assert_eq!(get(&server, "/?OTP=000000x", &cookie).code, 511);
    let configured = get(&server, &format!("/?OTP={}", password(&server)), &cookie);
    assert_eq!(configured.code, 200, "{}", configured.head);
    assert_eq!(configured.header("Cache-Control"), Some("no-store"));
    assert_eq!(configured.parm("version"), Some("1"), "{}", configured.body);
    assert_eq!(configured.parm("Public_User_Identity"), Some("sip:user1@localhost"));
    assert_eq!(configured.parm("conf-fcty-uri"), Some("sip:conference-factory@localhost"));
    let [username, secret] = ["UserName", "UserPwd"].map(|name| configured.parm(name).unwrap().to_owned());

    // The device's own password opens the door of its user, and no other.
    let mut handset = Phone::with_login(&server, 1, Transport::Tcp, &username, &secret);
    handset.register(600);
    let mut sender = Phone::registered(&server, 0, Transport::Udp);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| sender.message(1, "welcome").unwrap());
        assert_eq!(handset.texts(1), ["welcome"]);
        assert_eq!(sent.join().unwrap(), 200);
    });

    // The next time the token does, also for a server that has forgotten all sessions.
    let token = configured.parm("token").unwrap().to_owned();
    server.kill();
    server.restart();
    let again = get(&server, &format!("/config?{HANDSET}&token={token}"), "");
    assert_eq!((again.code, again.parm("UserPwd")), (200, Some(&*secret)));
    let unchanged = get(&server, &format!("/config?vers=1&IMEI=356938035643800&token={token}"), "");
    assert_eq!((unchanged.parm("version"), unchanged.parm("UserPwd")), (Some("1"), None), "{}", unchanged.body);
    assert_eq!(get(&server, &format!("/config?{HANDSET}&token={token}x"), "").code, 511);
}

#[test]
fn who_a_number_belongs_to_is_told_to_nobody_and_bad_requests_are_refused() {
    let server = Server::start();
    let unknown = get(&server, "/config?vers=0&msisdn=%2B19990000000", "");
    assert_eq!((unknown.code, &*unknown.body), (200, ""));
    let wrong = format!("Cookie: {}\r\n", unknown.cookie());
    let codes: Vec<_> = (0..6).map(|_| get(&server, "/config?OTP=123456", &wrong).code).collect();
    assert_eq!(codes, [511, 511, 511, 511, 403, 511]);
    for (query, code) in [("IMSI=1&IMSI=2", 400), ("vers=x", 400), ("a=%zz", 400), ("", 511), ("vers=0", 511)] {
        assert_eq!(get(&server, &format!("/config?{query}"), "").code, code, "{query}");
    }
    let plain = get(&server, "/config?msisdn=%2B15550000002", "X-Forwarded-Proto: http\r\n");
    assert_eq!(plain.code, 511, "a proxy got it without TLS");
    let limited: Vec<_> = (0..6).map(|_| get(&server, "/config?msisdn=%2B15550000002", "")).collect();
    assert_eq!(limited[4].code, 200);
    assert_eq!(limited[5].code, 429);
    assert!(limited[5].header("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
}

#[test]
fn a_gateway_that_is_trusted_says_the_number_and_others_do_not() {
    let trusting = Server::with(&[("PROVISIONING__GATEWAYS", "[\"127.0.0.0/8\"]")]);
    let configured = get(&trusting, &format!("/?{HANDSET}"), "X-MSISDN: 15550000003\r\n");
    assert_eq!(configured.parm("Public_User_Identity"), Some("sip:user3@localhost"), "{}", configured.body);
    assert_eq!(configured.parm("token"), None);
    assert_eq!(get(&trusting, &format!("/?{HANDSET}"), "X-MSISDN: 19990000000\r\n").code, 403);
    let joyn = get(&trusting, "/?vers=0&rcs_profile=joyn_blackbird", "X-MSISDN: +15550000003\r\n");
    assert_eq!(joyn.parm("AppRef"), Some("IMS-Settings"));

    let other = Server::start();
    assert_eq!(get(&other, &format!("/?{HANDSET}"), "X-MSISDN: 15550000003\r\n").code, 511);
}

#[test]
fn orders_stand_in_the_place_of_a_configuration_for_those_they_name() {
    let orders =
        "[\"user1@localhost=never\", \"+15550000002=reset\", \"user3@localhost=dormant\", \"user4@localhost=off\"]";
    let server = Server::with(&[
        ("PROVISIONING__GATEWAYS", "[\"127.0.0.0/8\"]"),
        ("PROVISIONING__ORDERS", orders),
        ("PROVISIONING__VALIDITY", "10m"),
    ]);
    let told = |user: usize| {
        let answer = get(&server, &format!("/?{HANDSET}"), &format!("X-MSISDN: 1555000000{user}\r\n"));
        assert_eq!(answer.code, 200, "{}", answer.head);
        let parm = |name| answer.parm(name).unwrap_or_default().to_owned();
        (parm("version"), parm("validity"), answer.parm("UserPwd").is_some())
    };
    let expected = [("-1", "-1"), ("0", "0"), ("-3", "600"), ("-2", "-2")];
    for (user, (version, validity)) in (1..).zip(expected) {
        assert_eq!(told(user), (version.to_owned(), validity.to_owned(), false), "user {user}");
    }
    assert_eq!((told(5).0, told(5).2), ("1".to_owned(), true), "who is not named is configured");
}

#[test]
fn one_address_does_not_ask_without_end() {
    let server = Server::with(&[("PROVISIONING__PEER_RATE", "1"), ("PROVISIONING__PEER_BURST", "20")]);
    let codes: Vec<_> = (0..60).map(|_| get(&server, "/config?vers=0", "").code).collect();
    assert!(codes.iter().take(20).all(|code| *code == 511), "{codes:?}");
    assert!(codes.contains(&429), "{codes:?}");
}
