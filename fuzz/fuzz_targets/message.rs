//! Messages: read without panic, written again as they came, answered and forwarded as messages.

#![no_main]

use bytes::Bytes;
use chappe_sip::header::{NameAddr, Via};
use chappe_sip::{Edit, HeaderName, Limits, Message, Reply, multipart};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let Ok(message) = Message::parse(Bytes::copy_from_slice(data), &limits) else { return };
    let written = Edit::new(&message).finish();
    let again = Message::parse(written, &limits).expect("what was read is read again");
    assert!(message.all_headers().eq(again.all_headers()));
    assert_eq!((message.body(), message.check()), (again.body(), again.check()));

    for name in [HeaderName::Via, HeaderName::Contact, HeaderName::Route, HeaderName::RecordRoute] {
        for value in message.values(name) {
            let _ = Via::parse(value);
            let _ = NameAddr::parse(value).map(|address| (address.parse_uri(), address.param("tag")));
        }
    }
    if let Some(content_type) = message.header(HeaderName::ContentType) {
        let _ = multipart::find(content_type, message.body(), &["no/type"]);
    }
    if message.check().is_err() {
        return;
    }
    let via = message.via().expect("checked");
    assert!(!via.host.is_empty() && message.from().is_some() && message.to().is_some());
    let message = message.from_source("[2001:db8::1]:5070".parse().expect("an address"));

    let mut edit = Edit::new(&message);
    edit.stamp_via().prepend(HeaderName::Via, "SIP/2.0/UDP p;branch=z9hG4bKp").set(HeaderName::MaxForwards, "9");
    edit.remove_first_values(HeaderName::Route, 1);
    let forwarded = Message::parse(edit.finish(), &limits);
    // It may have grown over a limit.
    if let Ok(forwarded) = forwarded
        && data.len() < limits.head - 256
    {
        assert_eq!((forwarded.check(), forwarded.branch()), (Ok(()), &b"z9hG4bKp"[..]));
        assert_eq!(forwarded.body(), message.body());
        assert_eq!(forwarded.values(HeaderName::Via).count(), message.values(HeaderName::Via).count() + 1);
    }
    if message.is_request() && data.len() < limits.head - 256 {
        let reply = Message::parse(Reply::new(&message, 404, "t").finish(), &limits).expect("a reply is a message");
        assert_eq!((reply.check(), reply.status()), (Ok(()), 404));
        assert_eq!((reply.branch(), reply.call_id()), (message.branch(), message.call_id()));
        assert!(!reply.to_tag().is_empty());
    }
});
