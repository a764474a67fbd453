//! Transcripts of REGISTERs at one address-of-record, alice@example.com.

use bytes::Bytes;

use super::*;
use crate::limits::Limits;
use crate::message::Message;
use crate::outbound::FlowTokens;
use crate::transport::{Flow, Transport};
use crate::uri::{Aor, Uri};

const U1: &str = "+sip.instance=\"<urn:uuid:1>\"";
const U2: &str = "+sip.instance=\"<urn:uuid:2>\"";

struct Desk {
    policy: Policy,
    bindings: Vec<Binding>,
    now: u64,
    connection: u64,
    vias: &'static str,
}

fn desk() -> Desk {
    Desk { policy: Policy::default(), bindings: Vec::new(), now: 1_000_000, connection: 1, vias: "" }
}

fn message(text: &str) -> Message {
    Message::parse(Bytes::from(text.replace('\n', "\r\n")), &Limits::default()).unwrap()
}

impl Desk {
    fn flow(&self) -> Flow {
        Flow {
            transport: Transport::Tcp,
            listener: 0,
            connection: self.connection,
            remote: "192.0.2.9:5070".parse().unwrap(),
        }
    }

    fn request(&self, order: &str, headers: &str) -> Message {
        let (call_id, cseq) = order.split_once(' ').unwrap();
        message(&format!(
            "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/TCP c.example.com;branch=z9hG4bK1{}\n\
             From: <sip:alice@example.com>;tag=f\nTo: <sip:alice@example.com>\nCall-ID: {call_id}\nCSeq: {cseq} REGISTER\n\
             {headers}\n\n",
            self.vias
        ))
    }

    fn decide(&self, order: &str, headers: &str) -> Result<Outcome, Reject> {
        register(&self.request(order, headers), &self.bindings, &self.policy, &self.flow(), self.now)
    }

    /// The events of an accepted REGISTER, or the code of the refusal.
    fn send(&mut self, order: &str, headers: &str) -> String {
        match self.decide(order, headers) {
            Err(reject) => reject.status().to_string(),
            Ok(outcome) => {
                let mut events = Vec::new();
                outcome.events(&self.bindings, |event, binding| {
                    events.push(format!("{} {}", event.as_str(), binding.contact()));
                });
                let durable = if outcome.is_durable() { " !" } else { "" };
                outcome.apply(&mut self.bindings);
                events.join(", ") + durable
            }
        }
    }

    fn answer(&self, order: &str, headers: &str, gruu: Option<&GruuKey>) -> String {
        let request = self.request(order, headers);
        let outcome = register(&request, &self.bindings, &self.policy, &self.flow(), self.now).unwrap();
        let bindings = outcome.next(&self.bindings);
        let aor = Aor::from_canonical("alice@example.com");
        let answer = Answer {
            aor: &aor,
            flow: &self.flow(),
            to_tag: "t",
            now: self.now,
            service_route: "<sip:orig@example.com;lr>",
            associated: "<sip:alice@example.com>, <tel:+15550100>",
            gruu,
        };
        let reply = super::answer(&request, &bindings, outcome.outbound, outcome.direct, &self.policy, &answer);
        String::from_utf8(reply.finish().to_vec()).unwrap().replace("\r\n", "\n")
    }
}

#[test]
fn a_binding_is_added_refreshed_and_removed() {
    let mut desk = desk();
    for (order, headers, expected) in [
        ("a 1", "Contact: <sip:a@1.1.1.1>", "registered sip:a@1.1.1.1 !"),
        ("a 2", "Contact: <sip:a@1.1.1.1>", "refreshed sip:a@1.1.1.1"),
        ("a 3", "Contact: <sip:a@1.1.1.1>;q=0.5", "refreshed sip:a@1.1.1.1 !"),
        ("b 1", "Contact: <sip:a@1.1.1.1>;q=0.5", "refreshed sip:a@1.1.1.1"),
        ("b 2", "", ""),
        ("b 3", "Contact: sip:a@2.2.2.2", "registered sip:a@2.2.2.2 !"),
        ("b 4", "Contact: <sip:a@1.1.1.1>;expires=0", "unregistered sip:a@1.1.1.1 !"),
        ("b 5", "Contact: <sip:a@9.9.9.9>\nExpires: 0", ""),
        ("b 6", "Contact: <sip:a@2.2.2.2;x=y>;expires=0", "unregistered sip:a@2.2.2.2 !"),
    ] {
        assert_eq!(desk.send(order, headers), expected, "{order} {headers}");
    }
}

#[test]
fn several_contacts_are_taken_or_refused_together() {
    let mut desk = desk();
    assert_eq!(
        desk.send("a 1", "Contact: <sip:a@1.1.1.1>, <sip:a@2.2.2.2>;expires=120\nm: <sip:a@3.3.3.3>"),
        "registered sip:a@1.1.1.1, registered sip:a@2.2.2.2, registered sip:a@3.3.3.3 !"
    );
    assert_eq!(desk.send("b 1", "Contact: <sip:a@4.4.4.4>, <sip:a@5.5.5.5>;expires=2"), "423");
    desk.bindings[1].cseq = 9;
    assert_eq!(desk.send("a 2", "Contact: <sip:a@1.1.1.1>;expires=0, <sip:a@2.2.2.2>"), "500");
    assert_eq!(desk.bindings.len(), 3);
    desk.now += 200;
    assert_eq!(desk.send("b 1", "Contact: <sip:a@1.1.1.1>"), "refreshed sip:a@1.1.1.1, expired sip:a@2.2.2.2");
    assert_eq!(desk.bindings.len(), 2);
}

#[test]
fn order_is_kept_for_each_call_id() {
    let mut desk = desk();
    desk.send("a 5", "Contact: <sip:a@1.1.1.1>");
    assert_eq!(desk.send("a 5", "Contact: <sip:a@1.1.1.1>"), "500");
    assert_eq!(desk.send("a 4", "Contact: <sip:a@1.1.1.1>;expires=0"), "500");
    assert_eq!(desk.send("a 5", "Contact: *\nExpires: 0"), "500");
    desk.send("b 1", "Contact: <sip:a@2.2.2.2>");
    assert_eq!(desk.send("b 2", "Contact: *\nExpires: 0"), "unregistered sip:a@1.1.1.1, unregistered sip:a@2.2.2.2 !");
    assert_eq!(desk.send("a 1", "Contact: <sip:a@1.1.1.1>"), "registered sip:a@1.1.1.1 !");
    // An expired binding orders nothing.
    desk.now += 10_000;
    assert_eq!(desk.send("a 1", "Contact: <sip:a@1.1.1.1>"), "registered sip:a@1.1.1.1, expired sip:a@1.1.1.1 !");
}

#[test]
fn requests_that_are_refused() {
    for (name, headers, status) in [
        ("star without Expires", "Contact: *", 400),
        ("star with time", "Contact: *\nExpires: 60", 400),
        ("star and more", "Contact: *, <sip:a@1.1.1.1>\nExpires: 0", 400),
        ("more and star", "Contact: <sip:a@1.1.1.1>\nContact: *\nExpires: 0", 400),
        ("too short", "Contact: <sip:a@1.1.1.1>;expires=59", 423),
        ("too short by header", "Contact: <sip:a@1.1.1.1>\nExpires: 1", 423),
        ("headers outside brackets", "Contact: sip:a@1.1.1.1?Route=%3Csip:x%3E", 400),
        ("not a SIP URI", "Contact: <mailto:a@example.com>", 400),
        ("bad q", "Contact: <sip:a@1.1.1.1>;q=3", 400),
        ("bad reg-id", "Contact: <sip:a@1.1.1.1>;reg-id=0", 400),
        ("unknown extension", "Require: path, nothing, more\nContact: <sip:a@1.1.1.1>", 420),
        ("loop", "Contact: <sip:alice@example.com>", 403),
        ("own GRUU", "Contact: <sip:alice@EXAMPLE.com;gr=urn:uuid:1>", 403),
        ("bad Path", "Path: sip:p.example.com\nContact: <sip:a@1.1.1.1>", 400),
    ] {
        let refused = desk().decide("a 1", headers).map_err(|reject| reject.status());
        assert_eq!(refused.err(), Some(status), "{name}");
    }
    let desk = desk();
    let reject = desk.decide("a 1", "Require: path, nothing, more").unwrap_err();
    let reply = reject.reply(&desk.request("a 1", ""), "t").finish();
    assert!(std::str::from_utf8(&reply).unwrap().contains("\r\nUnsupported: nothing, more\r\n"));
    let reject = desk.decide("a 1", "Contact: <sip:a@1.1.1.1>\nExpires: 7").unwrap_err();
    let reply = reject.reply(&desk.request("a 1", ""), "t").finish();
    assert!(std::str::from_utf8(&reply).unwrap().contains("\r\nMin-Expires: 60\r\n"));
}

#[test]
fn time_is_granted_by_wish_and_policy() {
    let policy = Policy { min_expires: 7200, ..Policy::default() };
    for (headers, granted) in [
        ("Contact: <sip:a@1.1.1.1>", 3600),
        ("Contact: <sip:a@1.1.1.1>\nExpires: 4000", 4000),
        ("Contact: <sip:a@1.1.1.1>;expires=5000\nExpires: 4000", 5000),
        ("Contact: <sip:a@1.1.1.1>;expires=\"x\"\nExpires: 4000", 3600),
        ("Contact: <sip:a@1.1.1.1>;expires=4294967296", 3600),
        ("Contact: <sip:a@1.1.1.1>;expires=4294967295", 86_400),
        ("Contact: <sip:a@1.1.1.1>;expires=3600", 3600),
    ] {
        let mut desk = Desk { policy: policy.clone(), ..desk() };
        desk.send("a 1", headers);
        assert_eq!(desk.bindings[0].expires() - desk.now, granted, "{headers}");
    }
}

#[test]
fn a_device_that_moves_replaces_its_binding() {
    let mut desk = desk();
    for (order, contact, expected) in [
        ("a 1", format!("<sip:a@1.1.1.1>;{U1}"), "registered sip:a@1.1.1.1 !"),
        ("b 1", format!("<sip:a@2.2.2.2>;{U2}"), "registered sip:a@2.2.2.2 !"),
        ("c 1", format!("<sip:a@3.3.3.3>;{U1}"), "unregistered sip:a@1.1.1.1, registered sip:a@3.3.3.3 !"),
        // Taking leave of the old address does not touch the new one.
        ("c 2", format!("<sip:a@1.1.1.1>;expires=0;{U1}"), ""),
        (
            "c 3",
            format!("<sip:a@3.3.3.3>;expires=0;{U1}, <sip:a@4.4.4.4>;{U1}"),
            "unregistered sip:a@3.3.3.3, registered sip:a@4.4.4.4 !",
        ),
        // It starts to use outbound.
        ("c 4", format!("<sip:a@5.5.5.5>;reg-id=1;{U1}"), "unregistered sip:a@4.4.4.4, registered sip:a@5.5.5.5 !"),
        ("c 5", format!("<sip:a@6.6.6.6>;reg-id=2;{U1}"), "registered sip:a@6.6.6.6 !"),
        ("c 6", format!("<sip:a@7.7.7.7>;reg-id=1;{U1}"), "unregistered sip:a@5.5.5.5, registered sip:a@7.7.7.7 !"),
        // And stops again.
        (
            "c 7",
            format!("<sip:a@8.8.8.8>;{U1}"),
            "unregistered sip:a@6.6.6.6, registered sip:a@8.8.8.8, unregistered sip:a@7.7.7.7 !",
        ),
        // The same address behind another NAT is another device.
        ("d 1", "<sip:a@8.8.8.8>;+sip.instance=\"<urn:uuid:3>\"".into(), "registered sip:a@8.8.8.8 !"),
    ] {
        assert_eq!(desk.send(order, &format!("Supported: outbound\nContact: {contact}")), expected, "{contact}");
    }
    assert_eq!(desk.bindings.len(), 3);
}

#[test]
fn a_device_may_register_two_transports_at_once() {
    let mut desk = desk();
    let both = format!("Contact: <sip:a@1.1.1.1>;{U1}, <sip:a@1.1.1.1;transport=tcp>;{U1}");
    let registered = "registered sip:a@1.1.1.1, registered sip:a@1.1.1.1;transport=tcp !";
    assert_eq!(desk.send("a 1", &both), registered);
    assert_eq!(desk.send("a 2", &both), registered.replace("registered", "refreshed").replace(" !", ""));
}

#[test]
fn a_dead_flow_gives_way_to_the_same_client() {
    let mut desk = desk();
    desk.send("a 1", "Contact: <sip:a@1.1.1.1;transport=tcp>");
    assert_eq!(desk.send("a 2", "Contact: <sip:a@2.2.2.2;transport=tcp>"), "registered sip:a@2.2.2.2;transport=tcp !");
    desk.bindings[0].dormant = true;
    assert_eq!(
        desk.send("a 3", "Contact: <sip:a@3.3.3.3;transport=tcp>"),
        "unregistered sip:a@1.1.1.1;transport=tcp, registered sip:a@3.3.3.3;transport=tcp !"
    );
    // A reconnect with the same contact is a refresh, and wakes the binding.
    desk.bindings[0].dormant = true;
    desk.connection = 2;
    assert_eq!(desk.send("a 4", "Contact: <sip:a@3.3.3.3;transport=tcp>"), "refreshed sip:a@3.3.3.3;transport=tcp");
    assert!(!desk.bindings[0].dormant);
    assert_eq!(desk.bindings[0].flow.map(|f| f.connection), Some(2));
}

#[test]
fn outbound_depends_on_the_first_hop() {
    const PROXIED: &str = "\nVia: SIP/2.0/UDP e.example.com;branch=z9hG4bK0";
    let contact = format!("Contact: <sip:a@1.1.1.1>;reg-id=1;{U1}");
    for (name, vias, headers, expected) in [
        ("direct", "", "Supported: path, outbound\n", Ok((true, Some(1)))),
        ("direct, not named", "", "", Ok((false, Some(1)))),
        ("edge", PROXIED, "Supported: outbound\nPath: <sip:t@e.example.com;lr;ob>\n", Ok((true, Some(1)))),
        ("edge without ob", PROXIED, "Supported: outbound\nPath: <sip:t@e.example.com;lr>\n", Err(439)),
        ("only the second has ob", PROXIED, "Supported: outbound\nPath: <sip:e;lr>, <sip:f;lr;ob>\n", Err(439)),
        ("no Path", PROXIED, "Supported: outbound\n", Err(439)),
        ("not wanted", PROXIED, "", Ok((false, None))),
    ] {
        let desk = Desk { vias, ..desk() };
        let got = desk.decide("a 1", &format!("{headers}{contact}")).map_err(|r| r.status()).map(|outcome| {
            let [Change::Add(binding)] = &outcome.changes[..] else { panic!("{outcome:?}") };
            (outcome.outbound, binding.reg_id())
        });
        assert_eq!(got, expected, "{name}");
    }
    let two = format!("Supported: outbound\n{contact}, <sip:a@2.2.2.2>;reg-id=2;{U1}");
    assert_eq!(desk().send("a 1", &two), "400");
    assert_eq!(
        desk().send("a 1", "Supported: outbound\nContact: <sip:a@1.1.1.1>;reg-id=1"),
        "registered sip:a@1.1.1.1 !"
    );
    let mut lenient = Desk { vias: PROXIED, ..desk() };
    lenient.policy.strict_first_hop = false;
    assert_eq!(lenient.send("a 1", &format!("Supported: outbound\n{contact}")), "registered sip:a@1.1.1.1 !");
    assert_eq!(lenient.bindings[0].flow, None);
}

#[test]
fn the_path_is_kept_and_echoed() {
    let mut desk = desk();
    let headers = "Path: <sip:p1.example.com;lr>,\n <sip:p2.example.com;lr>\nPath: <sip:p3.example.com;lr>\nContact: <sip:a@1.1.1.1>";
    desk.send("a 1", headers);
    assert_eq!(desk.bindings[0].path(), "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>, <sip:p3.example.com;lr>");
    assert_eq!(desk.send("a 2", headers), "refreshed sip:a@1.1.1.1");
    assert!(desk.answer("a 3", headers, None).contains("\nPath: <sip:p3.example.com;lr>\n"));
    desk.policy.strict_path = true;
    assert_eq!(desk.send("a 4", headers), "420");
    assert_eq!(desk.send("a 4", &format!("Supported: path\n{headers}")), "refreshed sip:a@1.1.1.1");
}

#[test]
fn room_is_made_or_refused() {
    let mut desk = desk();
    desk.policy.max_bindings = 2;
    desk.send("a 1", "Contact: <sip:a@1.1.1.1>");
    desk.now += 1;
    desk.send("b 1", "Contact: <sip:a@2.2.2.2>");
    assert_eq!(desk.send("c 1", "Contact: <sip:a@3.3.3.3>"), "registered sip:a@3.3.3.3, deactivated sip:a@1.1.1.1 !");
    desk.bindings[1].dormant = true;
    assert_eq!(desk.send("d 1", "Contact: <sip:a@4.4.4.4>"), "registered sip:a@4.4.4.4, deactivated sip:a@3.3.3.3 !");
    assert_eq!(desk.send("e 1", "Contact: <sip:a@5.1>, <sip:a@5.2>, <sip:a@5.3>"), "403");
    desk.policy.when_full = WhenFull::Refuse;
    assert_eq!(desk.send("f 1", "Contact: <sip:a@6.6.6.6>"), "403");
    assert_eq!(
        desk.send("b 2", "Contact: <sip:a@2.2.2.2>;expires=0, <sip:a@6.6.6.6>"),
        "unregistered sip:a@2.2.2.2, registered sip:a@6.6.6.6 !"
    );
}

#[test]
fn the_answer_lists_every_binding() {
    let mut desk = desk();
    desk.send("a 1", "Contact: <sip:a@1.1.1.1;pn-prid=secret;x=1?h=v>;expires=100;q=0.5;audio;foo=\"b, c\"");
    desk.connection = 2;
    let contact = format!("Supported: outbound\nContact: \"A\" <sip:a@2.2.2.2;pn-prid=mine>;reg-id=1;{U1}");
    let text = desk.answer("b 1", &contact, None);
    let head = text.split_once("\nCSeq").unwrap().1;
    assert_eq!(
        head,
        ": 1 REGISTER\nContact: <sip:a@1.1.1.1;x=1?h=v>;expires=100;q=0.5;audio;foo=\"b, c\"\n\
         Contact: <sip:a@2.2.2.2;pn-prid=mine>;expires=3600;+sip.instance=\"<urn:uuid:1>\";reg-id=1\n\
         Service-Route: <sip:orig@example.com;lr>\nP-Associated-URI: <sip:alice@example.com>, <tel:+15550100>\n\
         Require: outbound\nFlow-Timer: 120\nSupported: path, outbound\nDate: Mon, 12 Jan 1970 13:46:40 GMT\n\
         Content-Length: 0\n\n"
    );
}

#[test]
fn gruus_are_given_to_those_who_know_them() {
    let desk = desk();
    let key = GruuKey::new([3; 32]);
    let contact = format!("Contact: <sip:a@2.2.2.2>;pub-gruu=\"sip:evil\";{U1}");
    assert!(!desk.answer("b 1", &contact, Some(&key)).contains("gruu"));
    let text = desk.answer("b 1", &format!("Supported: gruu\n{contact}"), Some(&key));
    assert!(text.contains(";pub-gruu=\"sip:alice@example.com;gr=urn:uuid:1\";temp-gruu=\"sip:tgruu."), "{text}");
    let request = message(&text);
    let contact = crate::header::NameAddr::parse(request.header(crate::HeaderName::Contact).unwrap()).unwrap();
    let temporary = contact.param("temp-gruu").unwrap();
    let gruu = key.read(&Uri::parse(&temporary[1..temporary.len() - 1]).unwrap()).unwrap().unwrap();
    assert_eq!(gruu.aor.as_str(), "alice@example.com");
}

#[test]
fn escaped_nulls_are_two_contacts() {
    let mut desk = desk();
    let both = "Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>";
    assert_eq!(
        desk.send("a 1", both),
        "registered sip:%00@host5.example.com, registered sip:%00%00@host5.example.com !"
    );
}

#[test]
fn a_path_with_our_token_leads_back_to_the_flow() {
    let tokens = FlowTokens::new(&[1; 32], 1, 1);
    let mut desk = desk();
    desk.vias = "\nVia: SIP/2.0/WSS x.invalid;branch=z9hG4bK0";
    let mut path = String::from("Path: ");
    tokens.write_route(&desk.flow(), "edge.example.com", true, &mut path);
    let headers = format!("{path}\nSupported: path, outbound\nContact: <sip:a@x.invalid;transport=ws>;reg-id=1;{U1}");
    assert_eq!(desk.send("a 1", &headers), "registered sip:a@x.invalid;transport=ws !");
    let found = targets(&desk.bindings, desk.now, |_| false, |_| true);
    let route = crate::header::NameAddr::parse(found[0].binding.path().as_bytes()).unwrap();
    assert_eq!(tokens.read(route.parse_uri().unwrap().user).map(|t| t.flow), Ok(desk.flow()));
}
