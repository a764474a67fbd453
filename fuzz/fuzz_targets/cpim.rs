//! Envelopes: written back as they came, changed only where we change them, and read alike in one piece or in chunks;
//! other content leaves the headers alone.

#![no_main]

use chappe_imdn::{Content, Cpim, IMDN_NAMESPACE, Limits, classify, head_is_complete, is_understood};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let complete = head_is_complete(data, Limits::default());
    let Ok(before) = Cpim::parse(data) else { return };
    assert_eq!(before.to_bytes(), data);

    let mut changed = before.clone();
    changed.add_record_route("sip:relay@example.com");
    changed.set_original_to("sip:list@example.com");
    let written = changed.to_bytes();
    let limits = Limits { headers: 100, head: 64 * 1024 };
    let after = Cpim::parse_within(&written, limits).expect("our own headers do not break an envelope");
    assert_eq!(after.body(), before.body());
    assert_eq!(after.content_headers(), before.content_headers());
    assert_eq!(after.record_routes().len(), before.record_routes().len() + 1);
    assert!(after.original_to().is_some() || !before.all(IMDN_NAMESPACE, "Original-To").is_empty());

    let mut copy = before.clone();
    copy.redirect("sip:member@example.com", true);
    copy.set_date_time(0);
    let written = copy.to_bytes();
    let after = Cpim::parse_within(&written, limits).expect("our own headers do not break an envelope");
    assert_eq!(after.to().iter().map(|one| one.uri).collect::<Vec<_>>(), ["sip:member@example.com"]);
    assert_eq!(after.body(), before.body());
    let _ = before.unmet_requirements(is_understood);

    let around = before.to_bytes_around(b"hello");
    let after = Cpim::parse(&around).expect("the headers are those from before");
    assert_eq!(after.headers().len(), before.headers().len());
    assert_eq!(after.body(), b"hello");

    // What has arrived in full stays as it is, whatever more of the content follows.
    if complete {
        let longer = [data, b"more"].concat();
        let longer = Cpim::parse(&longer).expect("the head has not changed");
        assert_eq!(longer.headers(), before.headers());
        assert_eq!(longer.content_headers(), before.content_headers());
    }
    if before.is_receipt() {
        assert!(before.dispositions().is_empty());
        assert!(matches!(classify("message/cpim", data), Ok(Content::Receipt { .. })));
    }
});
