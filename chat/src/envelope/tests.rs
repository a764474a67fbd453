use super::*;
use crate::outgoing::Outgoing;
use crate::relation::RelationKind;
use crate::{Capabilities, stored};
use chappe_sip::Limits;
use proptest::prelude::*;

/// As a SIMPLE IM client writes in a session.
const SIMPLE: &str = "From: <sip:anonymous@anonymous.invalid>\r\nTo: <sip:anonymous@anonymous.invalid>\r\n\
    NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: Ms7a9f\r\nDateTime: 2026-03-04T10:15:30.250Z\r\n\
    imdn.Disposition-Notification: positive-delivery, display\r\n\r\n\
    Content-type: text/plain; charset=UTF-8\r\nContent-length: 15\r\n\r\nGr\u{fc}\u{df}e\r\n\r\nBob \r\n";
/// As a CPM client writes everywhere: with an encoding, and with headers of its own.
const CPM: &str = "From: <tel:+15550100001>\r\nTo: <tel:+15550100002>\r\nDateTime: 2026-03-04T10:15:30.250Z\r\n\
    NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: Ms7a9f\r\n\
    imdn.Disposition-Notification: positive-delivery, display\r\nNS: cpm <http://www.openmobilealliance.org/cpm/>\r\n\
    cpm.Payload-Type: text/plain\r\n\r\nContent-Type: text/plain; charset=UTF-8\r\n\
    Content-Transfer-Encoding: base64\r\nContent-Length: 20\r\n\r\nR3LDvMOfZQ0KDQpCb2IgDQo=";
/// As Linphone writes in a MESSAGE.
const LINPHONE: &str = "From: \"Alice\" <sip:alice@example.com;gr=urn:uuid:1>\r\nTo: <sip:bob@example.com>\r\n\
    DateTime: 2026-03-04T10:15:30.250Z\r\n\r\nNS: unused <urn:x>\r\n";
const CONTENT: &str = "Gr\u{fc}\u{df}e\r\n\r\nBob \r\n";
const ALICE: &str = "sip:alice@example.com";
const BOB: &str = "sip:bob@example.com";

fn linphone() -> String {
    // Its headers stand in another order, under another prefix, and its lines end as they like.
    LINPHONE.replace("\r\n\r\nNS: unused <urn:x>\r\n", "\r\nNS: i <urn:ietf:params:imdn>\r\ni.Message-ID: Ms7a9f\r\n")
        + "i.Disposition-Notification: positive-delivery, display\n\nContent-Type: text/plain\nContent-Length: 999\n\n"
        + CONTENT
}

fn source<'a>(from: &'a str, to: &'a str) -> Source<'a> {
    Source { from, to, key: &[b"call", b"1"], accepted_ms: 1_772_619_330_250, ..Source::default() }
}

fn message(content_type: &str, body: &str, headers: &str) -> Message {
    let text = format!(
        "MESSAGE {BOB} SIP/2.0\r\nv: SIP/2.0/UDP c;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nf: <{ALICE}>;tag=t1\r\n\
         To: <{BOB}>\r\ni: call9\r\nCSeq: 7 MESSAGE\r\n{headers}c: {content_type}\r\nl: {}\r\n\r\n{body}",
        body.len()
    );
    let message = Message::parse(text.into(), &Limits::default()).unwrap();
    message.check().unwrap();
    message
}

/// The message by each way it can come.
fn sources() -> Vec<(&'static str, Envelope)> {
    let session =
        |from, to, text: &str| Envelope::read(&source(from, to), "message/cpim", text.to_owned().into()).unwrap();
    let standalone = "P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg\r\n\
        Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\";require;explicit\r\n\
        Conversation-ID: 11cf-77\r\nContribution-ID: c0ffee\r\n";
    let standalone = message("message/cpim", CPM, standalone);
    let plain = message("text/plain;\r\n charset=utf-8", CONTENT, "Date: Wed, 04 Mar 2026 10:15:30 GMT\r\n");
    vec![
        ("simple session", session(ALICE, BOB, SIMPLE)),
        ("cpm session", session("sip:+15550100001@example.com", "tel:+15550100002", CPM)),
        (
            "cpm message",
            Envelope::of_message(&standalone, "sip:+15550100001@example.com", "tel:+15550100002", 0).unwrap(),
        ),
        ("linphone message", Envelope::of_message(&message("message/cpim", &linphone(), ""), ALICE, BOB, 0).unwrap()),
        ("plain message", Envelope::of_message(&plain, ALICE, BOB, 0).unwrap()),
        ("plain session", Envelope::read(&source(ALICE, BOB), "text/plain", CONTENT.into()).unwrap()),
    ]
}

#[test]
fn each_way_in_and_each_way_out() {
    for (came, envelope) in sources() {
        let wraps = envelope.is_cpim();
        assert_eq!(envelope.content().unwrap(), CONTENT.as_bytes(), "{came}");
        let date = if came == "plain message" { "2026-03-04T10:15:30.000Z" } else { "2026-03-04T10:15:30.250Z" };
        assert_eq!(&*envelope.date, date, "{came}");
        assert_eq!(&*envelope.message_id == "Ms7a9f", wraps, "{came}");
        for (goes, body) in [
            ("simple session", envelope.for_session(Addresses::Anonymous)),
            ("cpm session", envelope.for_session(Addresses::Real)),
            ("message", envelope.for_message()),
            ("bare", envelope.bare().unwrap()),
        ] {
            let name = format!("{came} to {goes}");
            if goes == "bare" || (goes == "message" && !wraps) {
                assert!(body.content_type.starts_with("text/plain"), "{name}");
                assert_eq!(body.bytes, CONTENT, "{name}");
                continue;
            }
            let seen = Cpim::parse(&body.bytes).unwrap();
            let wanted = if wraps { "positive-delivery, display" } else { "" };
            assert_eq!(seen.message_id(), Some(&*envelope.message_id), "{name}");
            assert_eq!((seen.date_time(), seen.dispositions().to_string()), (Some(date), wanted.to_owned()), "{name}");
            assert_eq!(seen.decoded_body().unwrap(), CONTENT.as_bytes(), "{name}");
            let (from, to) = (seen.from().unwrap().uri.to_owned(), seen.to()[0].uri.to_owned());
            if goes == "simple session" {
                assert_eq!((&*from, &*to), (ANONYMOUS, ANONYMOUS), "{name}");
            } else {
                assert!(same_user(&from, &envelope.from) && same_user(&to, &envelope.to), "{name}: {from} {to}");
            }
        }
    }
}

#[test]
fn what_needs_no_change_is_as_it_came() {
    let sources = sources();
    let find = |name| &sources.iter().find(|(came, _)| *came == name).unwrap().1;
    let (simple, cpm) = (find("simple session"), find("cpm session"));
    let (standalone, linphone, plain) = (find("cpm message"), find("linphone message"), find("plain message"));
    assert_eq!(
        (standalone.conversation_id.as_deref(), standalone.contribution_id.as_deref()),
        (Some("11cf-77"), Some("c0ffee"))
    );
    assert_eq!(standalone.for_session(Addresses::Real).bytes, CPM);
    assert_eq!(simple.for_session(Addresses::Anonymous).bytes, SIMPLE);
    assert_eq!(cpm.for_session(Addresses::Real).bytes, CPM);
    assert_eq!(cpm.for_message().bytes, CPM);
    assert_eq!(linphone.for_message().bytes, *linphone.body());
    assert_eq!(plain.for_message(), Body { content_type: "text/plain; charset=utf-8".into(), bytes: CONTENT.into() });
    // Only two lines change where addresses do, and they change back.
    let there = simple.for_message().bytes;
    assert_eq!(there, SIMPLE.replacen(ANONYMOUS, ALICE, 1).replacen(ANONYMOUS, BOB, 1));
    let back = Envelope::read(&source(ALICE, BOB), "message/cpim", there).unwrap();
    assert_eq!(back.for_session(Addresses::Anonymous).bytes, SIMPLE);
}

#[test]
fn nobody_writes_in_the_name_of_another() {
    for (name, headers, expected) in [
        ("another user", "From: <sip:eve@example.com>\r\n", "From: <sip:alice@example.com>\r\n"),
        (
            "two of them",
            "From: Bob <sip:bob@b>\r\nFrom: <sip:x@y>\r\n",
            "From: <sip:alice@example.com>\r\nFrom: <sip:alice@example.com>\r\n",
        ),
        (
            "in another case",
            "From: <sip:alice@example.com>\r\nfrom: <sip:eve@b>\r\n",
            "From: <sip:alice@example.com>\r\nFrom: <sip:alice@example.com>\r\n",
        ),
        ("folded", "From: Eve\r\n <sip:eve@b>\r\n", "From: <sip:alice@example.com>\r\n"),
        ("no address", "From: nobody at all\r\n", "From: <sip:alice@example.com>\r\n"),
        ("herself, elsewhere", "From: A <sips:alice@EXAMPLE.com;x=y>\r\n", "From: A <sips:alice@EXAMPLE.com;x=y>\r\n"),
        ("nobody", "Subject: x\r\n", "From: <sip:alice@example.com>\r\nSubject: x\r\n"),
        (
            "not a core header",
            "NS: x <urn:x>\r\nx.From: <sip:eve@b>\r\n",
            "From: <sip:alice@example.com>\r\nNS: x <urn:x>\r\nx.From: <sip:eve@b>\r\n",
        ),
    ] {
        let tail = "\r\nContent-Type: text/plain\r\n\r\nFrom: <sip:eve@b>\r\n";
        let envelope = Envelope::read(&source(ALICE, BOB), "message/cpim", format!("{headers}{tail}").into()).unwrap();
        assert_eq!(envelope.for_message().bytes, format!("{expected}{tail}"), "{name}");
    }
}

#[test]
fn an_outer_type_stays_in_front() {
    let text = "Content-Type: message/cpim\r\n\r\nTo: <sip:bob@example.com>\r\n\r\nContent-Type: text/plain\r\n\r\nx";
    let envelope = Envelope::read(&source(ALICE, BOB), "message/cpim", text.into()).unwrap();
    let expected = text.replace("\r\n\r\nTo", "\r\n\r\nFrom: <sip:alice@example.com>\r\nTo");
    assert_eq!(envelope.for_message().bytes, expected);
}

#[test]
fn receipts_and_typing_are_told_apart() {
    let receipt = chappe_imdn::Receipt::delivered(ALICE, BOB, "M1", "2026-03-04T10:15:30Z").to_cpim("N1", 0);
    let typing = "<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"><state>active</state></isComposing>";
    let wrapped = format!("From: <{ALICE}>\r\n\r\nContent-Type: {COMPOSING_TYPE}\r\n\r\n{typing}");
    let read = |content_type: &str, body: Bytes| Envelope::read(&source(ALICE, BOB), content_type, body).unwrap();
    let receipt = read(CPIM_TYPE, receipt.into());
    let Kind::Receipt(Some(notification)) = &receipt.kind else { panic!("{receipt:?}") };
    assert_eq!((&*notification.message_id, &*receipt.message_id), ("M1", "N1"));
    assert!(receipt.wants.is_empty() && receipt.bare().is_none());
    let broken = read(chappe_imdn::IMDN_TYPE, "<imdn/>".into());
    assert_eq!((broken.kind.clone(), broken.bare()), (Kind::Receipt(None), None));
    for typing_came in [read(COMPOSING_TYPE, typing.into()), read(CPIM_TYPE, wrapped.into())] {
        assert_eq!(typing_came.kind, Kind::Composing);
        let there = typing_came.for_session(Addresses::Anonymous);
        assert_eq!(there, Body { content_type: COMPOSING_TYPE.into(), bytes: typing.into() });
    }
}

#[test]
fn whose_receipts_are_is_told_in_their_session() {
    for (access, service, expected) in [
        (Access::SimpleIm, Service::Session, Addresses::Anonymous),
        (Access::SimpleIm, Service::Deferred, Addresses::Anonymous),
        (Access::SimpleIm, Service::DeferredNotifications, Addresses::Real),
        (Access::Cpm, Service::Session, Addresses::Real),
        (Access::Pager, Service::Session, Addresses::Real),
    ] {
        assert_eq!(access.addresses(service), expected, "{access:?} {service:?}");
    }
}

#[test]
fn through_the_queue() {
    let stamp = Stamp { call_id: "c1@example.com", tag: "t", date: "Wed, 04 Mar 2026 10:15:30 GMT" };
    for (name, mut envelope) in sources() {
        envelope.contribution_id = Some("contribution1".into());
        envelope.conversation_id = Some("conversation1".into());
        let (headers, body) = envelope.to_stored(&stamp);
        let again = Envelope::stored(&headers, body, Some(&envelope.message_id)).unwrap();
        if !envelope.is_cpim() {
            // The lines have whole seconds.
            envelope.date = "2026-03-04T10:15:30.000Z".into();
        }
        assert_eq!(again, envelope, "{name}");
        let onward = stored::Onward { uri: BOB, via: "SIP/2.0/UDP s;branch=z9hG4bK9", route: "" };
        let request = Message::parse(stored::request(onward, &headers, envelope.body()), &Limits::default()).unwrap();
        request.check().unwrap();
    }
    // A MESSAGE keeps its own lines; an id that was made is made again.
    let lines = "Content-Disposition: render\r\nP-Asserted-Identity: <sip:alice@example.com>, <tel:+1>\r\n\
        Date: Wed, 04 Mar 2026 10:15:30 GMT\r\nInReplyTo-Contribution-ID: beef\r\n";
    let message = message("text/plain", CONTENT, lines);
    let envelope = Envelope::of_message(&message, ALICE, BOB, 0).unwrap();
    let again = Envelope::stored(&stored::headers(&message, ""), message.body_bytes(), None).unwrap();
    assert_eq!((&again, again.in_reply_to.as_deref()), (&envelope, Some("beef")));
    let there = again.for_session(Addresses::Anonymous);
    assert_eq!(Cpim::parse(&there.bytes).unwrap().content_header("content-disposition"), Some("render"));
}

#[test]
fn the_first_message_of_an_invite() {
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n";
    let device = Capabilities { simple_im: true, ..Capabilities::default() };
    let invite = |first: Option<&str>, more: &str| {
        let outgoing = Outgoing {
            device,
            service: Service::Session,
            sender: ALICE,
            alias: None,
            domain: "example.com",
            contribution_id: "contribution1",
            conversation_id: None,
            in_reply_to: None,
            sdp: sdp.as_bytes(),
            first: first.map(str::as_bytes),
            random: "x",
        };
        let written = outgoing.write();
        let head = format!(
            "INVITE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: <{ALICE}>;tag=1\r\nTo: <{BOB}>\r\nCall-ID: c\r\n\
             CSeq: 1 INVITE\r\n{}{more}Content-Type: {}\r\n\r\n",
            written.headers, written.content_type
        );
        let bytes = [head.as_bytes(), &written.body].concat();
        Invitation::read(&Message::parse(bytes.into(), &Limits::default()).unwrap()).unwrap()
    };
    let read = |invitation: &Invitation| Envelope::of_first(invitation, &source(ALICE, BOB)).unwrap();
    let enveloped = read(&invite(Some(SIMPLE), "")).unwrap();
    assert_eq!((enveloped.body(), enveloped.contribution_id.as_deref()), (&SIMPLE.into(), Some("contribution1")));
    let text = read(&invite(None, "Subject: Hello\r\n")).unwrap();
    assert_eq!((text.content().unwrap().as_ref(), &*text.content_type), (&b"Hello"[..], "text/plain;charset=UTF-8"));
    assert_eq!(text.message_id, made_id(&[b"call", b"1"]));
    assert_eq!(read(&invite(None, "")), None);
}

#[test]
fn an_id_that_is_none_is_not_kept() {
    let long = SIMPLE.replace("Ms7a9f", &"x".repeat(300));
    let envelope = Envelope::read(&source(ALICE, BOB), "message/cpim", long.clone().into()).unwrap();
    assert!(envelope.wants.is_empty(), "no receipt could name it");
    assert_eq!(envelope.message_id, made_id(&[b"call", b"1"]));
    assert_eq!(envelope.for_session(Addresses::Anonymous).bytes, long);
}

#[test]
fn relations_are_seen() {
    let reply = SIMPLE.replace(
        "DateTime",
        "NS: l <tag:linphone.org,2020:params:groupchat>\r\nl.Replying-To-Message-ID: M0\r\nDateTime",
    );
    let envelope = Envelope::read(&source(ALICE, BOB), "message/cpim", reply.into()).unwrap();
    assert_eq!(envelope.relation.map(|seen| (seen.kind, seen.message_id)), Some((RelationKind::Reply, "M0".into())));
}

proptest! {
    #[test]
    fn changed_addresses_leave_the_rest_alone(
        lines in proptest::collection::vec("(From|To|from|NS|Subject|x.To|X): ?[ -~]{0,20}(\r\n|\n|\r\n )", 1..6),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [lines.concat().as_bytes(), b"\r\n", &tail].concat();
        let Ok(envelope) = Envelope::read(&source(ALICE, BOB), "message/cpim", bytes.clone().into()) else { return Ok(()) };
        for addresses in [Addresses::Anonymous, Addresses::Real] {
            let there = envelope.for_session(addresses);
            if envelope.kind == Kind::Composing {
                continue;
            }
            let (before, after) = (Cpim::parse(&bytes).unwrap(), Cpim::parse(&there.bytes).unwrap());
            prop_assert_eq!(before.body(), after.body());
            prop_assert_eq!(before.content_headers(), after.content_headers());
            let again = Envelope::read(&source(ALICE, BOB), "message/cpim", there.bytes.clone()).unwrap();
            prop_assert_eq!(again.for_session(addresses).bytes, there.bytes);
        }
    }
}
