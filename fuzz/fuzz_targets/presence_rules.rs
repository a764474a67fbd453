//! Rules, lists and feature tags: whatever is read decides, and never panics.

#![no_main]

use chappe_presence::capability::Tags;
use chappe_presence::list;
use chappe_presence::rules::{Asker, Facts, Ruleset};
use chappe_presence::xml::Limits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    if let Ok(rules) = Ruleset::parse(data, &limits) {
        let names = ["amy@example.com".to_owned(), "+15550100".to_owned()];
        for (names, anonymous) in [(&names[..], false), (&[], true)] {
            let facts = Facts {
                asker: Asker { names, anonymous },
                sphere: Some("work"),
                now: 1_767_225_600,
                list_has: &|list| list.len() % 2 == 0,
            };
            let once = rules.decide(&facts);
            assert_eq!(rules.decide(&facts), once);
        }
        let _ = (rules.has_spheres(), rules.next_change(1_767_225_600));
    }
    if let Ok(entries) = list::entries(data, 100, &limits) {
        assert!(entries.len() <= 100);
    }
    let tags = Tags::of_params(data);
    assert_eq!(Tags::of_params(tags.params().as_bytes()), tags);
    let mut sum = tags.clone();
    sum.add(&tags);
    assert_eq!(sum, tags);
});
