//! Documents and what changes make them.

use super::*;
use crate::registrar::Parts;

const NOW: u64 = 1_000_000;

fn binding(contact: &str, instance: Option<&str>, cseq: u32) -> Binding {
    made(Parts {
        contact,
        instance_id: instance,
        reg_id: instance.map(|_| 1),
        call_id: "c1",
        cseq,
        registered: NOW - 100,
        expires: NOW + 600,
        ..Parts::default()
    })
}

fn made(parts: Parts<'_>) -> Binding {
    Binding::new(parts).unwrap()
}

fn aor() -> Aor {
    Aor::from_canonical("bob@example.com")
}

fn document(backlog: &mut Backlog, version: u32, bindings: &[Binding]) -> String {
    backlog.document(version, &aor(), bindings, None, NOW)
}

#[test]
fn a_full_document() {
    let phone = binding("sip:bob@192.0.2.7;transport=tcp", Some("urn:uuid:1"), 9);
    let phone = made(Parts { q: 500, params: ";+g.oma.sip-im;methods=\"INVITE\"", ..phone.parts() });
    let mut backlog = Backlog::default();
    backlog.want_full();
    let xml = backlog.document(0, &aor(), std::slice::from_ref(&phone), Some(&GruuKey::new([1; 32])), NOW);
    let (contact, registration) = (contact_id(&phone), id('r', &["bob@example.com"]));
    assert_eq!(
        xml,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" xmlns:gr=\"urn:ietf:params:xml:ns:gruuinfo\" \
             version=\"0\" state=\"full\">\n\
             <registration aor=\"sip:bob@example.com\" id=\"{registration}\" state=\"active\">\n\
             <contact id=\"{contact}\" state=\"active\" event=\"registered\" duration-registered=\"100\" \
             expires=\"600\" q=\"0.5\" callid=\"c1\" cseq=\"9\">\n\
             <uri>sip:bob@192.0.2.7;transport=tcp</uri>\n\
             <unknown-param name=\"+g.oma.sip-im\"></unknown-param>\n\
             <unknown-param name=\"methods\">&quot;INVITE&quot;</unknown-param>\n\
             <unknown-param name=\"+sip.instance\">&quot;&lt;urn:uuid:1&gt;&quot;</unknown-param>\n\
             <unknown-param name=\"reg-id\">1</unknown-param>\n\
             <gr:pub-gruu uri=\"sip:bob@example.com;gr=urn:uuid:1\"/>\n\
             </contact>\n</registration>\n</reginfo>\n"
        )
    );
    assert!(backlog.is_empty());
}

#[test]
fn state_of_the_registration() {
    let phone = binding("sip:bob@192.0.2.7", None, 1);
    let over = made(Parts { expires: NOW, ..phone.parts() });
    let asleep = made(Parts { dormant: true, ..phone.parts() });
    for (name, full, event, bindings, state) in [
        ("nobody", true, None, vec![], "init"),
        ("one that is over", true, None, vec![over], "init"),
        ("one asleep", true, None, vec![asleep], "init"),
        ("one", true, None, vec![phone.clone()], "active"),
        ("the last one went", false, Some(ContactEvent::Unregistered), vec![], "terminated"),
        ("one of two went", false, Some(ContactEvent::Expired), vec![binding("sip:x@h", None, 1)], "active"),
    ] {
        let mut backlog = Backlog { full, ..Backlog::default() };
        if let Some(event) = event {
            backlog.push(event, &phone);
        }
        let xml = document(&mut backlog, 3, &bindings);
        assert!(xml.contains(&format!("\" state=\"{state}\">\n")), "{name}: {xml}");
        assert!(xml.contains(&format!("version=\"3\" state=\"{}\"", if full { "full" } else { "partial" })));
    }
}

#[test]
fn a_partial_document_holds_only_what_changed() {
    let (phone, tablet) = (binding("sip:bob@192.0.2.7", None, 1), binding("sip:bob@192.0.2.8", None, 1));
    let mut backlog = Backlog::default();
    backlog.push(ContactEvent::Probation { retry_after: 30 }, &tablet);
    let xml = document(&mut backlog, 1, &[phone]);
    assert_eq!(xml.matches("<contact ").count(), 1);
    assert!(xml.contains("state=\"terminated\" event=\"probation\" duration-registered=\"100\" retry-after=\"30\""));
    assert!(!xml.contains("expires="));
}

#[test]
fn a_full_document_tells_why_too() {
    let (phone, tablet) = (binding("sip:bob@192.0.2.7", None, 1), binding("sip:bob@192.0.2.8", None, 1));
    let mut backlog = Backlog::default();
    backlog.want_full();
    backlog.push(ContactEvent::Shortened, &phone);
    backlog.push(ContactEvent::Rejected, &tablet);
    let xml = document(&mut backlog, 1, &[phone]);
    assert_eq!(xml.matches("<contact ").count(), 2, "{xml}");
    assert!(xml.contains("event=\"shortened\"") && xml.contains("event=\"rejected\""));
}

#[test]
fn a_newer_change_of_a_contact_replaces_the_older() {
    let phone = binding("sip:bob@192.0.2.7", Some("urn:uuid:1"), 1);
    let mut backlog = Backlog::default();
    backlog.push(ContactEvent::Registered, &phone);
    backlog.push(ContactEvent::Unregistered, &phone);
    let xml = document(&mut backlog, 1, &[]);
    assert_eq!((xml.matches("<contact ").count(), xml.contains("unregistered")), (1, true));
    for i in 0..40 {
        backlog.push(ContactEvent::Registered, &binding(&format!("sip:bob@192.0.2.{i}"), None, 1));
    }
    assert!(document(&mut backlog, 2, &[]).contains("state=\"full\""), "too many for one by one");
}

#[test]
fn push_parameters_never_show() {
    let phone = binding("sip:bob@192.0.2.7;PN-Prid=secret1;ob;pn-provider=fcm;pn-param=secret2?Subject=x", None, 1);
    let phone = made(Parts { params: ";pn-prid=secret3;+g.x", ..phone.parts() });
    let mut backlog = Backlog::default();
    backlog.want_full();
    backlog.push(ContactEvent::Registered, &phone);
    let xml = document(&mut backlog, 0, std::slice::from_ref(&phone));
    assert!(xml.contains("<uri>sip:bob@192.0.2.7;ob?Subject=x</uri>"), "{xml}");
    assert!(!xml.contains("secret") && !xml.to_lowercase().contains("pn-"), "{xml}");
    let plain = binding("sip:bob@192.0.2.7;ob?Subject=x", None, 1);
    assert_eq!(contact_id(&phone), contact_id(&plain), "the id tells nothing of the token");
}

#[test]
fn text_is_escaped() {
    let mut out = String::new();
    escape("<a b=\"c\" d='e'>&\r\n\t\u{1}é", &mut out);
    assert_eq!(out, "&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt;&amp;&#13;&#10;&#9;\u{fffd}é");
    let odd = made(Parts { call_id: "<&\"", ..binding("sip:bob@192.0.2.7", None, 1).parts() });
    let mut backlog = Backlog::default();
    backlog.push(ContactEvent::Registered, &odd);
    assert!(document(&mut backlog, 0, &[odd]).contains("callid=\"&lt;&amp;&quot;\""));
}

#[test]
fn ids_differ_by_contact_and_stay() {
    let a = binding("sip:bob@192.0.2.7", Some("urn:uuid:1"), 1);
    let b = binding("sip:bob@192.0.2.7", Some("urn:uuid:2"), 1);
    let moved = binding("sip:bob@198.51.100.7", Some("urn:uuid:1"), 1);
    let later = made(Parts { expires: NOW + 9_999, cseq: 50, ..a.parts() });
    assert_eq!(contact_id(&a), contact_id(&later));
    assert!(contact_id(&a) != contact_id(&b) && contact_id(&a) != contact_id(&moved));
}

#[test]
fn changes_between_two_states() {
    use ContactEvent::*;
    let a = binding("sip:bob@192.0.2.7", Some("urn:uuid:1"), 1);
    let with = |edit: &dyn Fn(&mut Parts<'_>)| {
        let mut parts = a.parts();
        edit(&mut parts);
        made(parts)
    };
    let over = with(&|b| b.expires = NOW);
    let refreshed = with(&|b| (b.cseq, b.expires) = (2, NOW + 700));
    let shorter = with(&|b| b.expires = NOW + 60);
    let asleep = with(&|b| b.dormant = true);
    let moved = with(&|b| b.contact = "sip:bob@198.51.100.7");
    let shorter_by_register = with(&|b| (b.cseq, b.expires) = (2, NOW + 60));
    for (name, before, after, expected) in [
        ("new", vec![], vec![a.clone()], vec![Registered]),
        ("same", vec![a.clone()], vec![a.clone()], vec![]),
        ("refreshed", vec![a.clone()], vec![refreshed], vec![Refreshed]),
        ("a REGISTER with less time", vec![a.clone()], vec![shorter_by_register], vec![Refreshed]),
        ("shortened", vec![a.clone()], vec![shorter], vec![Shortened]),
        ("expired", vec![over], vec![], vec![Expired]),
        ("removed", vec![a.clone()], vec![], vec![Deactivated]),
        ("its flow died", vec![a.clone()], vec![asleep.clone()], vec![Deactivated]),
        ("it woke", vec![asleep.clone()], vec![a.clone()], vec![Registered]),
        ("it moved", vec![a.clone()], vec![moved], vec![Unregistered, Registered]),
        ("still asleep", vec![asleep.clone()], vec![asleep], vec![]),
    ] {
        let mut got = Vec::new();
        changes(&before, &after, NOW, |event, _| got.push(event));
        assert_eq!(got, expected, "{name}");
    }
}
