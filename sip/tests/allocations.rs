//! What the hot path may cost in memory: counted, as time cannot be asserted.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use bytes::Bytes;
use chappe_sip::header::NameAddr;
use chappe_sip::registrar::{Policy, register};
use chappe_sip::{Flow, HeaderName, Limits, Message, Transport};

const MESSAGES: [&[u8]; 4] = [
    include_bytes!("../benches/messages/register.sip"),
    include_bytes!("../benches/messages/invite.sip"),
    include_bytes!("../benches/messages/message.sip"),
    include_bytes!("../benches/messages/ok.sip"),
];

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn reading_a_message_allocates_nothing() {
    let limits = Limits::default();
    for bytes in MESSAGES {
        let bytes = Bytes::from_static(bytes);
        let count = allocations(|| {
            let message = Message::parse(bytes.clone(), &limits).unwrap();
            message.check().unwrap();
            for address in [message.from(), message.to()].into_iter().flatten() {
                assert!(address.parse_uri().is_ok());
            }
            for contact in message.values(HeaderName::Contact) {
                assert!(NameAddr::parse(contact).is_ok_and(|c| c.parse_uri().is_ok()));
            }
            assert!(message.via().is_some_and(|via| via.branch().is_some()));
        });
        assert_eq!(count, 0, "{}", String::from_utf8_lossy(&bytes[..30]));
    }
}

#[test]
fn a_refresh_allocates_nothing() {
    let bytes = Bytes::from_static(MESSAGES[0]);
    let request = Message::parse(bytes, &Limits::default()).unwrap();
    let remote = "198.51.100.23:40212".parse().unwrap();
    let flow = Flow { transport: Transport::Tcp, listener: 1, connection: 7, remote };
    let (policy, mut bindings) = (Policy::default(), Vec::new());
    register(&request, &bindings, &policy, &flow, 1000).unwrap().apply(&mut bindings);
    bindings[0].cseq = 1;
    let count = allocations(|| {
        let outcome = register(&request, &bindings, &policy, &flow, 1100).unwrap();
        assert!(!outcome.is_durable());
        outcome.apply(&mut bindings);
    });
    assert_eq!((count, bindings[0].expires()), (0, 1100 + 86_400));
}
