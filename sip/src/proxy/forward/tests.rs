use proptest::prelude::*;

use super::*;
use crate::limits::Limits;

fn message(text: &str) -> Message {
    let message = Message::parse(Bytes::from(text.replace('\n', "\r\n")), &Limits::default()).unwrap();
    message.from_source("192.0.2.9:5060".parse().unwrap())
}

fn text(bytes: Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n")
}

fn plan<'a>(target: Target<'a>) -> Forward<'a> {
    Forward {
        target,
        transport: Transport::Udp,
        sent_by: "192.0.2.1:5060",
        branch: "z9hG4bKn1",
        record_route: None,
        max_breadth: 60,
        changes: &[],
    }
}

/// The lines of one name in the forwarded copy.
fn lines<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).collect()
}

const INVITE: &str = "INVITE sip:a@example.com SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bKc\n\
    Max-Forwards: 70\nMax-Breadth: 60\nRoute: <sip:us1;lr>, <sip:us2;lr>,<sip:p3;lr>\nX-Odd: \u{e9}  y\n\
    From: <sip:b@example.net>;tag=1\nTo: <sip:a@example.com>\nCall-ID: c\nCSeq: 1 INVITE\nContent-Length: 4\n\nbody";

#[test]
fn a_forwarded_copy() {
    let invite = message(INVITE);
    let target = Target { request_uri: Some("sip:a@198.51.100.7:99;ob"), remove_routes: 2, ..Target::default() };
    assert_eq!(
        text(forward(&invite, &plan(target))),
        "INVITE sip:a@198.51.100.7:99;ob SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKn1\n\
         Via: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKc;received=192.0.2.9;rport=5060\nMax-Forwards: 69\n\
         Max-Breadth: 60\nRoute: <sip:p3;lr>\nX-Odd: \u{e9}  y\nFrom: <sip:b@example.net>;tag=1\n\
         To: <sip:a@example.com>\nCall-ID: c\nCSeq: 1 INVITE\nContent-Length: 4\n\nbody"
    );
}

#[test]
fn hops_and_breadth() {
    for (name, from, to, hops, breadth) in [
        ("as sent", "", "", "69", "60"),
        ("none", "Max-Forwards: 70\n", "", "70", "60"),
        ("last", "Max-Forwards: 70", "Max-Forwards: 1", "0", "60"),
        ("too many", "Max-Forwards: 70", "Max-Forwards: 4000", "254", "60"),
        ("no breadth", "Max-Breadth: 60\n", "", "69", "60"),
        ("twice", "Max-Breadth: 60", "Max-Breadth: 60\nMax-Breadth: 9", "69", "60"),
        ("narrow", "Max-Breadth: 60", "Max-Breadth: 120", "69", "60"),
    ] {
        let out = text(forward(&message(&INVITE.replace(from, to)), &plan(Target::default())));
        assert_eq!(lines(&out, "Max-Forwards"), [hops], "{name}");
        assert_eq!(lines(&out, "Max-Breadth"), [breadth], "{name}");
    }
    let cancel = INVITE.replace("INVITE", "CANCEL").replace("Max-Breadth: 60\n", "");
    assert!(!text(forward(&message(&cancel), &plan(Target::default()))).contains("Max-Breadth"));
}

#[test]
fn a_stream_gets_a_content_length() {
    let without = message(&INVITE.replace("Content-Length: 4\n", ""));
    for (transport, expected) in [(Transport::Udp, vec![]), (Transport::Tls, vec!["4"])] {
        let plan = Forward { transport, ..plan(Target::default()) };
        assert_eq!(lines(&text(forward(&without, &plan)), "Content-Length"), expected, "{transport}");
    }
}

#[test]
fn what_may_not_stand_in_a_request_uri_goes() {
    for (contact, expected) in [
        ("sip:a@h:5070;transport=tcp", "sip:a@h:5070;transport=tcp"),
        ("sip:a@h;method=INVITE;x=y?Subject=z", "sip:a@h;x=y"),
        ("sip:a@h?Subject=z", "sip:a@h"),
        ("sip:a?b@h;Method=BYE", "sip:a?b@h"),
        ("sip:h?x=y", "sip:h"),
        ("tel:+1;method=x", "tel:+1;method=x"),
    ] {
        assert_eq!(clean_uri(contact), expected);
    }
}

#[test]
fn record_route_has_one_value_or_two() {
    let udp = Hop { transport: Transport::Udp, sent_by: "192.0.2.1:5060", token: None };
    let udp6 = Hop { sent_by: "[2001:db8::1]:5060", ..udp };
    let tls = Hop { transport: Transport::Tls, sent_by: "192.0.2.1:5061", token: None };
    let ws = Hop { transport: Transport::Ws, sent_by: "192.0.2.1:8080", token: Some("tok") };
    for (upstream, downstream, sips, expected) in [
        (udp, udp, false, "<sip:192.0.2.1:5060;lr>"),
        (udp, udp6, false, "<sip:[2001:db8::1]:5060;lr>, <sip:192.0.2.1:5060;lr>"),
        (ws, udp, false, "<sip:192.0.2.1:5060;lr>, <sip:tok@192.0.2.1:8080;transport=ws;lr>"),
        (ws, ws, false, "<sip:tok@192.0.2.1:8080;transport=ws;lr>"),
        (tls, udp, false, "<sip:192.0.2.1:5060;lr>, <sip:192.0.2.1:5061;transport=tls;lr>"),
        (tls, tls, true, "<sips:192.0.2.1:5061;lr>"),
        (udp, tls, true, "<sips:192.0.2.1:5061;lr>, <sip:192.0.2.1:5060;lr>"),
    ] {
        let uri = if sips { "sips:a@198.51.100.7" } else { "sip:a@198.51.100.7" };
        let target = Target { request_uri: Some(uri), remove_routes: 3, ..Target::default() };
        let plan = Forward { record_route: Some(RecordRoute { upstream, downstream }), ..plan(target) };
        let invite = INVITE.replace("X-Odd", "Record-Route: <sip:below;lr>\nX-Odd");
        let out = text(forward(&message(&invite), &plan));
        let expected: Vec<_> = expected.split(", ").chain(["<sip:below;lr>"]).collect();
        assert_eq!(lines(&out, "Record-Route"), expected);
    }
}

#[test]
fn sips_decides_on_record_route() {
    let invite = message(INVITE);
    for (uri, received, must) in [
        ("sip:a@h", Transport::Udp, false),
        ("sip:a@h", Transport::Tls, true),
        ("sips:a@h", Transport::Tcp, true),
        ("sips:a@h", Transport::Wss, false),
    ] {
        let target = Target { request_uri: Some(uri), remove_routes: 3, ..Target::default() };
        assert_eq!(must_record_route(&invite, &target, received), must, "{uri} over {received}");
    }
    assert!(!must_record_route(&message(&INVITE.replace("INVITE", "BYE")), &Target::default(), Transport::Tls));
}

#[test]
fn the_next_hop_is_the_top_route_or_the_request_uri() {
    let invite = message(INVITE);
    for (name, target, uri, sips, strict) in [
        ("remaining Route", Target { remove_routes: 2, ..Target::default() }, "sip:p3;lr", false, false),
        ("received Request-URI", Target { remove_routes: 3, ..Target::default() }, "sip:a@example.com", false, false),
        (
            "target",
            Target { request_uri: Some("sips:a@c?x=y"), remove_routes: 3, ..Target::default() },
            "sips:a@c",
            true,
            false,
        ),
        (
            "Path",
            Target {
                request_uri: Some("sip:a@c"),
                remove_routes: 3,
                push_routes: "<sip:e1;lr>,<sip:e2;lr>",
                ..Target::default()
            },
            "sip:e1;lr",
            false,
            false,
        ),
        (
            "strict",
            Target { remove_routes: 3, push_routes: "<sip:old.example>", ..Target::default() },
            "sip:old.example",
            false,
            true,
        ),
    ] {
        let next = next_hop(&invite, &target);
        assert_eq!((&*next.uri, next.sips, next.strict), (uri, sips, strict), "{name}");
    }
}

#[test]
fn path_and_strict_next_hop_shape_the_route() {
    let contact = Some("sip:a@c");
    for (name, target, uri, routes) in [
        (
            "Path above what remains",
            Target { request_uri: contact, remove_routes: 2, push_routes: "<sip:e1;lr>", ..Target::default() },
            "sip:a@c",
            vec!["<sip:e1;lr>", "<sip:p3;lr>"],
        ),
        (
            "Path alone",
            Target { request_uri: contact, remove_routes: 3, push_routes: "<sip:e1;lr>", ..Target::default() },
            "sip:a@c",
            vec!["<sip:e1;lr>"],
        ),
        (
            "strict router first",
            Target { request_uri: contact, remove_routes: 2, push_routes: "<sip:old;x=y>", ..Target::default() },
            "sip:old;x=y",
            vec!["<sip:p3;lr>, <sip:a@c>"],
        ),
        (
            "only a strict router",
            Target { remove_routes: 3, push_routes: "<sip:old>", ..Target::default() },
            "sip:old",
            vec!["<sip:a@example.com>"],
        ),
        (
            "from a strict router",
            Target { request_uri: Some("sip:p3"), remove_last_route: true, ..Target::default() },
            "sip:p3",
            vec!["<sip:us1;lr>, <sip:us2;lr>"],
        ),
        (
            "from a strict router, nothing left",
            Target { request_uri: Some("sip:p3"), remove_routes: 2, remove_last_route: true, ..Target::default() },
            "sip:p3",
            vec![],
        ),
    ] {
        let out = text(forward(&message(INVITE), &plan(target)));
        assert!(out.starts_with(&format!("INVITE {uri} SIP/2.0\n")), "{name}: {out}");
        assert_eq!(lines(&out, "Route"), routes, "{name}");
    }
}

#[test]
fn changes_are_made() {
    let invite = INVITE.replace("X-Odd", "P-Asserted-Identity: <sip:x@y>\nP-Asserted-Identity: <tel:+1>\nX-Odd");
    let changes = [
        Change::Remove(HeaderName::PAssertedIdentity),
        Change::Append(HeaderName::PAssertedIdentity, "<sip:b@example.net>".into()),
        Change::RemoveText("x-odd"),
        Change::Set(HeaderName::Subject, "s".into()),
        Change::AppendText("X-New", "1".into()),
        Change::Prepend(HeaderName::HistoryInfo, "<sip:h>;index=1".into()),
    ];
    let out = text(forward(&message(&invite), &Forward { changes: &changes, ..plan(Target::default()) }));
    assert_eq!(lines(&out, "P-Asserted-Identity"), ["<sip:b@example.net>"]);
    assert_eq!((lines(&out, "Subject"), lines(&out, "X-New")), (vec!["s"], vec!["1"]));
    assert_eq!((lines(&out, "History-Info"), lines(&out, "X-Odd")), (vec!["<sip:h>;index=1"], vec![]));
}

proptest! {
    #[test]
    fn what_is_not_known_passes_byte_for_byte(
        headers in proptest::collection::vec(("X-[A-Za-z0-9.!%*_+`'~-]{1,12}", "[^\\r\\n\\x00]{0,40}"), 0..12),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        routes in 0usize..4,
        push in prop_oneof![Just(""), Just("<sip:e1;lr>"), Just("<sip:strict>")],
        reliable in any::<bool>(),
    ) {
        let mut raw = String::from("MESSAGE sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKc\r\n");
        for (i, (name, value)) in headers.iter().enumerate() {
            raw.push_str(&format!("{name}: {value}\r\n"));
            if i % 3 == 1 {
                raw.push_str("Route: <sip:r1;lr>, <sip:r2;lr>\r\n");
            }
        }
        raw.push_str("From: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\n\r\n");
        let mut raw = raw.into_bytes();
        raw.extend_from_slice(&body);
        let before = Message::parse(Bytes::from(raw), &Limits::default()).unwrap();
        prop_assert_eq!(before.check(), Ok(()));
        let target =
            Target { request_uri: Some("sip:a@c"), remove_routes: routes, push_routes: push, ..Target::default() };
        let transport = if reliable { Transport::Tcp } else { Transport::Udp };
        let out = forward(&before, &Forward { transport, ..plan(target) });
        let after = Message::parse(out, &Limits::default()).unwrap();
        prop_assert_eq!(after.check(), Ok(()));
        let unknown = |m: &Message| -> Vec<(Vec<u8>, Vec<u8>)> {
            m.all_headers().filter(|(n, _)| n.starts_with(b"X-")).map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
        };
        prop_assert_eq!(unknown(&before), unknown(&after));
        prop_assert_eq!(before.body(), after.body());
        prop_assert_eq!(after.values(HeaderName::Via).count(), 2);
        prop_assert_eq!(after.header(HeaderName::MaxForwards), Some(&b"70"[..]));
    }
}
