//! Notifications: what is read survives being written, alone and as a receipt in its envelope.

#![no_main]

use chappe_imdn::{Content, MAX_NOTIFICATION_LEN, Notification, Receipt, classify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(seen) = Notification::parse(data) else { return };
    assert!(seen.status.fits(seen.disposition));

    let settled = seen.to_xml();
    if settled.len() > MAX_NOTIFICATION_LEN {
        return;
    }
    let read = Notification::parse(settled.as_bytes()).expect("our own document is read");
    assert_eq!(read.to_xml(), settled);
    assert_eq!((&read.message_id, &read.date_time), (&seen.message_id, &seen.date_time));
    assert_eq!((read.disposition, read.status), (seen.disposition, seen.status));

    let recipient = read.recipient.as_deref().unwrap_or("sip:bob@example.com");
    let receipt = Receipt {
        disposition: read.disposition,
        status: read.status,
        original_to: read.original_recipient.as_deref(),
        ..Receipt::delivered(recipient, "sip:alice@example.com", &read.message_id, &read.date_time)
    };
    if receipt.notification().to_xml().len() > MAX_NOTIFICATION_LEN {
        return;
    }
    let body = receipt.to_cpim("N1", 0);
    let Ok(Content::Receipt { envelope: Some(envelope), notification: Ok(unpacked) }) = classify("message/cpim", &body)
    else {
        panic!("our own receipt is not read: {}", String::from_utf8_lossy(&body));
    };
    assert_eq!(envelope.message_id(), Some("N1"));
    assert_eq!((unpacked.message_id, unpacked.status), (read.message_id, read.status));
});
