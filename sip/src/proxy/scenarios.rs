//! The message flows of RFC 3261 §16.12.1 and RFC 5393 through whole proxies.

use bytes::Bytes;
use proptest::prelude::*;

use super::validate::tests::request;
use super::*;
use crate::limits::Limits;
use crate::message::Message;
use crate::name::HeaderName;
use crate::transport::Transport;
use crate::uri::Uri;

/// A proxy known as `host`, responsible for `domain`.
struct Proxy {
    host: &'static str,
    local: Local,
    location: &'static str,
    branches: u64,
}

impl Proxy {
    fn new(host: &'static str, domain: &str, location: &'static str) -> Proxy {
        let mut local = Local::new();
        local.add_listener(Transport::Udp, host, 5060).add_domain(domain);
        Proxy { host, local, location, branches: 0 }
    }

    /// Validates, routes and forwards; the location is the only target of each of our users.
    fn pass(&mut self, request: &Message) -> Result<(Message, String), u16> {
        validate(request, &ProxyPolicy::default(), &self.local).map_err(|reject| reject.status)?;
        let routed = route(request, &self.local, 0);
        let uri = match routed.destination {
            Destination::User => self.location.to_owned(),
            _ => routed.request_uri.to_string(),
        };
        let target = Target {
            request_uri: Some(&uri),
            remove_routes: routed.remove_routes,
            remove_last_route: routed.remove_last_route,
            push_routes: "",
        };
        let mut branch = String::new();
        self.branches += 1;
        super::branch(&mut branch, "n", self.branches, Some(loop_hash(request)));
        let hop = Hop { transport: Transport::Udp, sent_by: self.host, token: None };
        let record_route = request.method().forms_dialog().then_some(RecordRoute { upstream: hop, downstream: hop });
        let next = next_hop(request, &target).uri.into_owned();
        let plan = Forward {
            target,
            transport: Transport::Udp,
            sent_by: self.host,
            branch: &branch,
            record_route,
            max_breadth: 60,
            changes: &[],
        };
        let out = Message::parse(forward(request, &plan), &Limits::default()).unwrap();
        Ok((out, next))
    }
}

fn shape(message: &Message) -> (String, Vec<String>) {
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    (text(message.uri()), message.values(HeaderName::Route).map(text).collect())
}

fn routes(values: &[&str]) -> String {
    values.iter().map(|v| format!("Route: {v}\r\n")).collect()
}

fn assert_shape(message: &Message, uri: &str, routes: &[&str]) {
    assert_eq!(shape(message), (uri.to_owned(), routes.iter().map(|r| (*r).to_owned()).collect()));
}

/// §16.12.1.1
#[test]
fn basic_trapezoid() {
    let mut p1 = Proxy::new("p1.example.com", "example.com", "");
    let mut p2 = Proxy::new("p2.domain.com", "domain.com", "sip:callee@u2.domain.com");
    let invite = request("INVITE", "sip:callee@domain.com", "");
    let (invite, next) = p1.pass(&invite).unwrap();
    assert_shape(&invite, "sip:callee@domain.com", &[]);
    assert_eq!(next, "sip:callee@domain.com");
    let (invite, next) = p2.pass(&invite).unwrap();
    assert_eq!(next, "sip:callee@u2.domain.com");
    let recorded: Vec<_> = invite.values(HeaderName::RecordRoute).collect();
    assert_eq!(recorded, [&b"<sip:p2.domain.com;lr>"[..], b"<sip:p1.example.com;lr>"]);

    let bye = request("BYE", "sip:callee@u2.domain.com", "Route: <sip:p1.example.com;lr>,<sip:p2.domain.com;lr>\r\n");
    let (bye, next) = p1.pass(&bye).unwrap();
    assert_shape(&bye, "sip:callee@u2.domain.com", &["<sip:p2.domain.com;lr>"]);
    assert_eq!(next, "sip:p2.domain.com;lr");
    let (bye, next) = p2.pass(&bye).unwrap();
    assert_shape(&bye, "sip:callee@u2.domain.com", &[]);
    assert_eq!(next, "sip:callee@u2.domain.com");
}

/// §16.12.1.2
#[test]
fn through_a_strict_router() {
    let mut p4 = Proxy::new("p4.domain.com", "domain.com", "");
    let mut p2 = Proxy::new("p2.example.com", "p2-users.example.com", "");
    let mut p1 = Proxy::new("p1.example.com", "p1-users.example.com", "");
    let route_set =
        ["<sip:p4.domain.com;lr>", "<sip:p3.middle.com>", "<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"];
    let bye = request("BYE", "sip:caller@u1.example.com", &routes(&route_set));
    let (bye, next) = p4.pass(&bye).unwrap();
    assert_shape(
        &bye,
        "sip:p3.middle.com",
        &["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>", "<sip:caller@u1.example.com>"],
    );
    assert_eq!(next, "sip:p3.middle.com");
    // P3 puts the first Route value into the Request-URI.
    let rest = ["<sip:p1.example.com;lr>", "<sip:caller@u1.example.com>"];
    let bye = request("BYE", "sip:p2.example.com;lr", &routes(&rest));
    let (bye, next) = p2.pass(&bye).unwrap();
    assert_shape(&bye, "sip:caller@u1.example.com", &["<sip:p1.example.com;lr>"]);
    assert_eq!(next, "sip:p1.example.com;lr");
    let (bye, next) = p1.pass(&bye).unwrap();
    assert_shape(&bye, "sip:caller@u1.example.com", &[]);
    assert_eq!(next, "sip:caller@u1.example.com");
}

/// §16.12.1.3, with double Record-Route in place of rewriting: each side sees an address of its own network on top.
#[test]
fn between_two_networks() {
    let mut local = Local::new();
    local.add_listener(Transport::Udp, "gateway.left.example", 5060);
    local.add_listener(Transport::Tcp, "gateway.right.example", 5060);
    let sides = RecordRoute {
        upstream: Hop { transport: Transport::Udp, sent_by: "gateway.left.example:5060", token: None },
        downstream: Hop { transport: Transport::Tcp, sent_by: "gateway.right.example:5060", token: None },
    };
    let plan = Forward {
        target: Target { request_uri: Some("sip:callee@right.example"), ..Target::default() },
        transport: Transport::Tcp,
        sent_by: "gateway.right.example:5060",
        branch: "z9hG4bKg1",
        record_route: Some(sides),
        max_breadth: 60,
        changes: &[],
    };
    let invite = request("INVITE", "sip:callee@gateway.left.example", "");
    let invite = Message::parse(forward(&invite, &plan), &Limits::default()).unwrap();
    let recorded: Vec<_> =
        invite.values(HeaderName::RecordRoute).map(|v| std::str::from_utf8(v).unwrap().to_owned()).collect();
    // U2 uses the set as it is, U1 the other way round; both times both values are ours and both go.
    for (name, set) in [("callee", recorded.clone()), ("caller", recorded.into_iter().rev().collect())] {
        let set: Vec<_> = set.iter().map(String::as_str).collect();
        let first = Uri::parse(set[0].trim_matches(['<', '>']).as_bytes()).unwrap();
        assert_eq!(first.host, if name == "callee" { "gateway.right.example" } else { "gateway.left.example" });
        let bye = request("BYE", "sip:peer@u.example", &routes(&set));
        let routed = route(&bye, &local, 0);
        assert_eq!((routed.remove_routes, routed.next_route), (2, None), "{name}");
    }
}

/// RFC 5393 §3: an address-of-record bound to itself.
#[test]
fn a_loop_ends_at_its_second_turn() {
    let mut p1 = Proxy::new("p1.example.com", "example.com", "sip:a@example.com;unknown-param=whack");
    let (first, _) = p1.pass(&request("INVITE", "sip:a@example.com", "")).unwrap();
    let (second, _) = p1.pass(&first).unwrap();
    assert_eq!(p1.pass(&second).err(), Some(482));
}

/// A spiral through the same proxy with another Request-URI goes on.
#[test]
fn a_spiral_goes_on() {
    let mut p1 = Proxy::new("p1.example.com", "example.com", "sip:joe@p2.example.org");
    let mut p2 = Proxy::new("p2.example.org", "example.org", "sip:b@example.com");
    p2.local.add_domain("p2.example.org");
    let (at_p2, _) = p1.pass(&request("INVITE", "sip:a@example.com", "")).unwrap();
    let (back, _) = p2.pass(&at_p2).unwrap();
    let (third, _) = p1.pass(&back).unwrap();
    let branches: Vec<Bytes> = third
        .values(HeaderName::Via)
        .map(|v| Bytes::copy_from_slice(crate::header::Via::parse(v).unwrap().branch().unwrap()))
        .collect();
    assert_eq!(branches.len(), 4);
    assert_ne!(branches[0], branches[2]);
}

proptest! {
    /// No Route, Via or Request-URI of a peer upsets the steps, and what comes out is a message.
    #[test]
    fn nonsense_is_survived(
        uri in "[a-z]{0,5}:?[ -~]{0,30}",
        routes in proptest::collection::vec("[ -~]{0,40}", 0..4),
        via in "[ -~]{0,40}",
        others in proptest::collection::vec("(Max-Forwards|Max-Breadth|Accept-Contact|Privacy|Route): [ -~]{0,20}", 0..4),
    ) {
        let extra: String = routes.iter().map(|r| format!("Route: {r}\r\nRoute: <sip:p1.example.com;lr>\r\n"))
            .chain(others.iter().map(|o| format!("{o}\r\n"))).collect();
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nVia: {via}\r\n{extra}From: <sip:b@h>;tag=1\r\n\
             To: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        if let Ok(message) = Message::parse(Bytes::from(text), &Limits::default()) {
            let mut proxy = Proxy::new("p1.example.com", "example.com", "sip:a@u.example.com");
            if let Ok((out, _)) = proxy.pass(&message) {
                prop_assert_eq!(out.check(), Ok(()));
            }
            // Steps taken without the checks must hold too.
            let routed = route(&message, &proxy.local, 0);
            let target = Target { remove_last_route: true, remove_routes: routed.remove_routes, ..Target::default() };
            next_hop(&message, &target);
            preferences::Preferences::of(&message).judge(";audio;+x=\"#1:\"", None);
            let _ = identity::identity(&message, &identity::Parties::default());
            overload::class(&message, true);
        }
    }
}
