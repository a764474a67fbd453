//! Signing in for tokens, using them on every door, and being signed out from elsewhere (RFC 8898, RFC 6749).

use chappe_e2e::http::{self, Answer};
use chappe_e2e::{DOMAIN, Phone, Server, Transport, wait_for};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";
const LIST: &str = "/xcap-root/resource-lists/users/sip:user1@localhost/index";

fn post(server: &Server, path: &str, body: &Value) -> Answer {
    http::exchange(server, "POST", &format!("/oneapi/auth/v1/{path}"), JSON, &body.to_string())
}

/// Signs user 1 in with its password.
fn sign_in(server: &Server, body: &Value) -> Value {
    let answer = http::ask(server, 1, "POST", "/oneapi/auth/v1/token", JSON, &body.to_string());
    assert_eq!((answer.code, answer.header("Cache-Control")), (200, Some("no-store")), "{answer:?}");
    answer.json()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn register(phone: &mut Phone, token: &str) -> u16 {
    let contact = phone.contact();
    let headers = format!(
        "Contact: <{contact}>;+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000001>\";reg-id=1\r\nSupported: \
         outbound\r\nExpires: 600\r\n{}",
        bearer(token)
    );
    let aor = phone.aor();
    phone.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives").code()
}

/// A phone that knows no password.
fn phone(server: &Server) -> Phone {
    Phone::with_login(server, 1, Transport::Tcp, "user1", "not the password")
}

fn list(server: &Server, token: &str) -> Answer {
    http::exchange(server, "GET", LIST, &bearer(token), "")
}

#[test]
fn one_token_opens_every_door_until_it_is_signed_out() {
    let server = Server::start();
    let granted = sign_in(&server, &json!({"name": "Laptop"}));
    assert_eq!(text(&granted, "token_type"), "Bearer");
    let token = text(&granted, "access_token");
    assert_eq!(list(&server, token).code, 200);
    let card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nN:x;;;;\r\nFN:x\r\nEND:VCARD\r\n";
    let path = "/dav/addressbooks/user1@localhost/contacts/1.vcf";
    let headers = format!("Content-Type: text/vcard\r\n{}", bearer(token));
    assert_eq!(http::exchange(&server, "PUT", path, &headers, card).code, 201);
    assert_eq!(http::exchange(&server, "POST", "/ft", &bearer(token), "").code, 204);
    let mut phone = phone(&server);
    assert_eq!(register(&mut phone, token), 200);
    assert_eq!(register(&mut self::phone(&server), &format!("{token}x")), 401);

    let devices = server.ask(&["account", "devices", "user1@localhost"]);
    let laptop = devices.as_array().into_iter().flatten().find(|device| device["kind"] == "token");
    let laptop = laptop.unwrap_or_else(|| panic!("{devices}"));
    assert_eq!((text(laptop, "name"), &laptop["registered"]), ("Laptop", &json!(true)), "{devices}");
    let done = server.ask(&["account", "signout", "user1@localhost", text(laptop, "id")]);
    assert!(done["ended"].as_u64() >= Some(2), "the sign-in, and the registration: {done}");
    let refused = list(&server, token);
    assert_eq!(refused.code, 401);
    assert!(refused.header("WWW-Authenticate").is_some_and(|value| value.contains("error=\"invalid_token\"")));
    server.wait_registered(1, 0);
    assert_eq!(register(&mut self::phone(&server), token), 401);
    let renewed =
        post(&server, "token", &json!({"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}));
    assert_eq!((renewed.code, text(&renewed.json(), "error")), (400, "invalid_grant"));
}

#[test]
fn a_token_covers_its_scope_and_is_renewed_and_revoked() {
    let mut server = Server::start();
    let granted = sign_in(&server, &json!({"scope": "sip"}));
    let refused = list(&server, text(&granted, "access_token"));
    assert_eq!(refused.code, 403);
    assert!(
        refused.header("WWW-Authenticate").is_some_and(|value| value.contains("insufficient_scope")),
        "{refused:?}"
    );
    let wrong = http::ask(&server, 1, "POST", "/oneapi/auth/v1/token", JSON, &json!({"scope": "root"}).to_string());
    assert_eq!((wrong.code, text(&wrong.json(), "error")), (400, "invalid_scope"));

    // What is signed in outlives the server.
    let granted = sign_in(&server, &json!({"name": "Tablet", "scope": "xcap"}));
    server.kill();
    server.restart();
    assert_eq!(list(&server, text(&granted, "access_token")).code, 200);
    let form = format!("grant_type=refresh_token&refresh_token={}", text(&granted, "refresh_token"));
    let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
    let renewed = http::exchange(&server, "POST", "/oneapi/auth/v1/token", headers, &form);
    assert_eq!(renewed.code, 200, "{renewed:?}");
    let renewed = renewed.json();
    assert_eq!(text(&renewed, "scope"), "xcap");
    assert_eq!(list(&server, text(&renewed, "access_token")).code, 200);
    assert_eq!(post(&server, "revoke", &json!({"token": renewed["refresh_token"]})).code, 200);
    assert_eq!(list(&server, text(&renewed, "access_token")).code, 401);
    assert_eq!(post(&server, "revoke", &json!({"token": "nonsense"})).code, 200, "nothing is told");
    for body in
        [json!({"grant_type": "magic"}), json!([1]), json!({"grant_type": "refresh_token", "refresh_token": "x"})]
    {
        assert_eq!(post(&server, "token", &body).code, 400, "{body}");
    }
    let plain =
        http::exchange(&server, "POST", "/oneapi/auth/v1/token", &format!("{JSON}X-Forwarded-Proto: http\r\n"), "{}");
    assert_eq!(plain.code, 403, "a proxy got it without TLS");
}

/// The last one-time password that the testbed wrote into its log.
fn code(server: &Server) -> String {
    wait_for("a one-time password", || {
        let log = server.log();
        let line = log.lines().rev().find(|line| line.contains("one-time password"))?.to_owned();
        let (_, rest) = line.split_once("code=")?;
        Some(rest.chars().filter(char::is_ascii_digit).take(6).collect())
    })
}

#[test]
fn a_number_and_a_one_time_password_sign_in() {
    let server = Server::start();
    let asked = post(&server, "password", &json!({"number": "+15550000001"}));
    assert_eq!(asked.code, 202, "{asked:?}");
    let session = asked.json()["session"].clone();
    let typed = |session: &Value, code: &str| {
        post(&server, "token", &json!({"grant_type": "otp", "session": session, "code": code, "name": "Browser"}))
    };
    assert_eq!(typed(&session, "00000x").code, 400);
    let granted = typed(&session, &code(&server));
    assert_eq!(granted.code, 200, "{granted:?}");
    assert_eq!(list(&server, text(&granted.json(), "access_token")).code, 200);
    assert_eq!(typed(&session, &code(&server)).code, 400, "a password is good once");

    // Whether a number is served is told to nobody, and nobody tries for long.
    let unknown = post(&server, "password", &json!({"number": "+19990000000"}));
    assert_eq!(unknown.code, 202);
    let session = unknown.json()["session"].clone();
    let codes: Vec<u16> = (0..6).map(|_| typed(&session, "123456").code).collect();
    assert_eq!(codes, [400, 400, 400, 400, 403, 400]);
    let sent: Vec<Answer> = (0..6).map(|_| post(&server, "password", &json!({"number": "+15550000002"}))).collect();
    assert_eq!((sent[4].code, sent[5].code), (202, 429));
    assert!(sent[5].header("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    assert_eq!(post(&server, "password", &json!({"number": "nobody"})).code, 400);
}

#[test]
fn a_handset_that_is_signed_out_is_out() {
    let server = Server::start();
    let handset = "vers=0&IMEI=356938035643800&rcs_profile=UP_2.4&terminal_vendor=ACME&terminal_model=One";
    let asked = http::exchange(&server, "GET", &format!("/config?{handset}&msisdn=%2B15550000001"), "", "");
    let cookie = asked.header("Set-Cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    let path = format!("/config?OTP={}", code(&server));
    let document = http::exchange(&server, "GET", &path, &format!("Cookie: {cookie}\r\n"), "").body;
    let value = |name: &str| {
        let (_, rest) =
            document.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{document}"));
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let (username, secret, token) = (value("UserName"), value("UserPwd"), value("token"));
    let mut phone = Phone::with_login(&server, 1, Transport::Tcp, &username, &secret);
    phone.register(600);
    let devices = server.ask(&["account", "devices", "user1@localhost"]);
    let login = devices.as_array().into_iter().flatten().find(|device| device["kind"] == "login");
    let login = login.unwrap_or_else(|| panic!("{devices}"));
    assert_eq!((text(login, "name"), &login["registered"]), ("ACME One", &json!(true)), "{devices}");
    server.ask(&["account", "signout", "user1@localhost", text(login, "id")]);
    server.wait_registered(1, 0);
    let mut phone = Phone::with_login(&server, 1, Transport::Tcp, &username, &secret);
    let contact = phone.contact();
    let aor = phone.aor();
    let headers = format!("Contact: <{contact}>\r\n");
    let answer = phone.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives");
    assert_eq!(answer.code(), 401);
    assert_eq!(http::exchange(&server, "GET", &format!("/config?{handset}&token={token}"), "", "").code, 511);
    // Its user is not: with the password of his own.
    Phone::registered(&server, 1, Transport::Tcp);
}
