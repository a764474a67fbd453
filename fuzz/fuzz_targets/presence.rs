//! Presence documents: what is read can be composed, filtered and read again; what we write is read as it was meant.

#![no_main]

use chappe_presence::compose::{Source, compose};
use chappe_presence::filter::Shown;
use chappe_presence::pidf::Document;
use chappe_presence::xml::{self, Limits};
use libfuzzer_sys::fuzz_target;

const ENTITY: &str = "sip:bob@example.com";

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    if let Ok(element) = xml::parse(data, &limits) {
        let (mut body, mut used) = (String::new(), 0);
        element.write(&mut body, &mut used);
        assert!(!body.is_empty());
    }
    let Ok(document) = Document::parse(data, &limits) else { return };
    let source = |order, device| Source { document: &document, order, updated: order, device };
    let once = compose(ENTITY, ENTITY, &[source(1, 1)], &[]);
    let wide = Limits { bytes: usize::MAX, nodes: usize::MAX, ..limits };
    let again = Document::parse(once.as_bytes(), &wide).expect("our own document is read");
    assert_eq!(again.tuples.len(), document.tuples.len());
    assert_eq!(again.person.is_some(), document.person.is_some());
    // The same device twice is the same device; another one stands beside it.
    assert_eq!(compose(ENTITY, ENTITY, &[source(1, 1), source(1, 1)], &[]), once);
    let two = compose(ENTITY, ENTITY, &[source(1, 1), source(2, 2)], &[]);
    let _ = Document::parse(two.as_bytes(), &wide);
    let nothing = Shown::default().apply(&once).expect("our own document is read");
    let nothing = Document::parse(nothing.as_bytes(), &wide).expect("a filtered document is read");
    assert!(nothing.tuples.is_empty() && nothing.person.is_none() && nothing.devices.is_empty());
});
