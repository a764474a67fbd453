//! Invitations and messages of a chat: what is read can be written for every device, and means the same there.

#![no_main]

use bytes::Bytes;
use chappe_chat::envelope::{Addresses, Kind, Source, Stamp};
use chappe_chat::invitation::{First, Invitation};
use chappe_chat::outgoing::Outgoing;
use chappe_chat::{Capabilities, Envelope, Service, is_anonymous, same_user, stored};
use chappe_imdn::Cpim;
use chappe_sip::{Limits, Message, Method};
use libfuzzer_sys::fuzz_target;

const ALICE: &str = "sip:alice@example.com";
const BOB: &str = "sip:bob@example.com";

fuzz_target!(|data: &[u8]| {
    let source = Source { from: ALICE, to: BOB, key: &[data], accepted_ms: 1, ..Source::default() };
    // A body as it is, then a whole SIP message.
    for content_type in ["message/cpim", "message/imdn+xml", "text/plain"] {
        if let Ok(envelope) = Envelope::read(&source, content_type, Bytes::copy_from_slice(data)) {
            check(&envelope);
        }
    }
    let Ok(message) = Message::parse(Bytes::copy_from_slice(data), &Limits::default()) else { return };
    if message.check().is_err() {
        return;
    }
    if message.method() == Method::Message
        && let Ok(envelope) = Envelope::of_message(&message, ALICE, BOB, 1)
    {
        check(&envelope);
        let lines = stored::headers(&message, "Wed, 04 Mar 2026 10:15:30 GMT");
        let again = Envelope::stored(&lines, message.body_bytes(), None).expect("the body has not changed");
        assert_eq!((again.message_id, again.kind), (envelope.message_id, envelope.kind));
    }
    if let Ok(invitation) = Invitation::read(&message) {
        if let Some(first) = Envelope::of_first(&invitation, &source).expect("it was read before") {
            check(&first);
        }
        onward(&invitation);
    }
});

fn check(envelope: &Envelope) {
    for addresses in [Addresses::Anonymous, Addresses::Real] {
        let there = envelope.for_session(addresses);
        if envelope.kind == Kind::Composing {
            assert_eq!(envelope.content().as_deref().unwrap_or(&there.bytes), &*there.bytes);
            continue;
        }
        // A head at the limit may grow over it.
        let Ok(seen) = Cpim::parse(&there.bytes) else { continue };
        match addresses {
            Addresses::Real => assert!(same_user(seen.from().expect("one of ours at least").uri, ALICE)),
            Addresses::Anonymous => assert!(seen.from().is_none_or(|from| is_anonymous(from.uri))),
        }
        if envelope.is_cpim() {
            let before = Cpim::parse(envelope.body()).expect("it was read before");
            assert_eq!(seen.body(), before.body());
            assert_eq!(seen.content_headers(), before.content_headers());
        } else {
            assert_eq!(seen.body(), &**envelope.body());
            assert_eq!(seen.message_id(), Some(&*envelope.message_id));
        }
    }
    if !envelope.is_cpim() {
        assert_eq!(envelope.for_message().bytes, *envelope.body());
    }
    let _ = envelope.bare();
    let stamp = Stamp { call_id: "c", tag: "t", date: "Wed, 04 Mar 2026 10:15:30 GMT" };
    let (lines, body) = envelope.to_stored(&stamp);
    let again = Envelope::stored(&lines, body, Some(&envelope.message_id)).expect("the body has not changed");
    assert_eq!((&again.message_id, &again.kind, again.wants), (&envelope.message_id, &envelope.kind, envelope.wants));
    assert_eq!((&again.from, &again.to, &again.relation), (&envelope.from, &envelope.to, &envelope.relation));
    assert_eq!(again.for_message().bytes, envelope.for_message().bytes);
}

/// The invitation once more, from us to another device.
fn onward(invitation: &Invitation) {
    for device in [
        Capabilities { simple_im: true, ..Capabilities::default() },
        Capabilities { cpm_session: true, deferred: true, ..Capabilities::default() },
    ] {
        for service in [Service::Session, Service::Deferred] {
            let first = match &invitation.first {
                Some(First::Cpim(first)) => Some(&**first).filter(|_| device.first_in_invite(service)),
                _ => None,
            };
            let outgoing = Outgoing {
                device,
                service,
                sender: ALICE,
                alias: None,
                domain: "example.com",
                contribution_id: invitation.contribution_id.as_deref().unwrap_or("c"),
                conversation_id: invitation.conversation_id.as_deref(),
                in_reply_to: invitation.in_reply_to.as_deref(),
                sdp: &invitation.sdp,
                first,
                random: "0",
            };
            let written = outgoing.write();
            let mut text = format!(
                "INVITE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP s;branch=z9hG4bK1\r\nFrom: <{ALICE}>;tag=1\r\nTo: <{BOB}>\r\n\
                 Call-ID: c\r\nCSeq: 1 INVITE\r\n{}Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
                written.headers,
                written.content_type,
                written.body.len()
            )
            .into_bytes();
            text.extend_from_slice(&written.body);
            let limits = Limits { message: usize::MAX, ..Limits::default() };
            let message = Message::parse(text.into(), &limits).expect("our own message");
            let seen = Invitation::read(&message).expect("our own invitation");
            assert_eq!((&seen.sdp, &seen.contribution_id), (&invitation.sdp, &Some(outgoing.contribution_id.into())));
            assert_eq!(seen.first, first.map(|first| First::Cpim(Bytes::copy_from_slice(first))));
        }
    }
}
