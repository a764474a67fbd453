//! Conference-info documents, one after the other: versions only grow, and the end is the end.

#![no_main]

use chappe_chat::group::roster::{Seen, View};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut view = View::default();
    for document in data.split(|c| *c == 0) {
        let before = view.clone();
        match view.take(document) {
            Ok(Seen::Taken) => assert_ne!(view, before),
            Ok(Seen::Ended) => assert_eq!(view.users().count(), 0),
            Ok(Seen::Old | Seen::Gap) => assert_eq!(view, before),
            Err(_) => {}
        }
        assert!(!matches!(view.take(document), Ok(Seen::Taken | Seen::Ended)), "one version is taken once");
    }
});
