//! Multiparts and the notifications in them: parts lie in the body, and what is read is written so that it is read again.
//! The first line of the input is the content type.

#![no_main]

use chappe_imdn::multipart::{leaves, parts, root};
use chappe_imdn::{Aggregate, Content, Cpim, MAX_NOTIFICATION_LEN, Notification, classify, notifications};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|c| *c == b'\n').unwrap_or(data.len());
    let (Ok(content_type), body) = (std::str::from_utf8(&data[..cut]), data.get(cut + 1..).unwrap_or_default()) else {
        return;
    };
    let Ok(found) = leaves(content_type, body) else { return };
    let inside = body.as_ptr_range();
    for part in &found {
        let range = part.body().as_ptr_range();
        assert!(range.start >= inside.start && range.end <= inside.end);
        let decoded = part.decoded_body();
        assert!(decoded.is_none_or(|decoded| decoded.len() <= part.body().len()));
    }
    assert!(found.iter().map(|part| part.body().len()).sum::<usize>() <= body.len());
    let outer = parts(content_type, body).expect("the outer parts were found before");
    assert!(root(content_type, &outer).is_some());

    let read = notifications(content_type, body).expect("the parts were found before");
    let seen: Vec<Notification> = read.into_iter().flatten().collect();
    let documents: Vec<Vec<u8>> = seen.iter().map(|one| one.to_xml().into_bytes()).collect();
    if documents.is_empty() || documents.iter().any(|document| document.len() > MAX_NOTIFICATION_LEN) {
        return;
    }
    for document in &documents {
        let hidden = Notification::without_recipient(document).expect("our own document is read");
        let hidden = Notification::parse(&hidden).expect("a document without addresses is one");
        assert_eq!((hidden.recipient, hidden.original_recipient), (None, None));
    }
    let aggregate = Aggregate { from: "sip:list@example.com", to: "sip:a@example.com", routes: Vec::new(), documents };
    let written = aggregate.to_cpim("N1", 0);
    let envelope = Cpim::parse(&written).expect("our own envelope is read");
    let again = envelope.notifications();
    assert_eq!(again.len(), seen.len());
    for (one, two) in seen.iter().zip(again) {
        let two = two.expect("our own document is read");
        assert_eq!((&one.message_id, one.disposition, one.status), (&two.message_id, two.disposition, two.status));
    }
    assert!(matches!(classify("message/cpim", &written), Ok(Content::Receipt { .. })));
});
