//! Requests for subject and icon: what they ask for is told by the roster, in a document that is read again.

#![no_main]

use chappe_chat::group::data::{self, Request};
use chappe_chat::group::roster::{Roster, Seen, Subscription, View};
use chappe_chat::group::{Actor, Announcement, Change, Creation, Event, Group, GroupId, Invitee, Limits, Rights};
use chappe_sip::Aor;
use libfuzzer_sys::fuzz_target;
use std::time::Instant;

fuzz_target!(|data: &[u8]| {
    if let Some(told) = std::str::from_utf8(data).ok().and_then(Announcement::decode) {
        let again = Announcement::decode(&told.encode()).expect("what was written is read");
        assert_eq!(again.encode(), told.encode());
    }
    let Ok(request) = Request::read(data) else { return };
    let alice = Aor::from_canonical("alice@example.com");
    let creation = Creation {
        id: GroupId::new([1; 16]),
        contribution_id: "c".into(),
        conversation_id: None,
        creator: Invitee::new(alice.clone()),
        invitees: vec![Invitee::new(Aor::from_canonical("bob@example.com"))],
        subject: None,
        icon: None,
        open: true,
        rights: Rights::default(),
    };
    let (mut group, _) = Group::create(creation, 0, &Limits::default(), 0).expect("two members");
    let mut results = Vec::new();
    for (target, change) in request.changes {
        let asked = match &change {
            Change::Subject(Some(subject)) => Some(subject.clone()),
            _ => None,
        };
        let result = group.apply(Actor::User(&alice), change, 1, &Limits::default(), 0);
        if let (Ok(events), Some(asked)) = (&result, asked) {
            assert!(events.is_empty() || events.last() == Some(&Event::Roster));
            assert_eq!(group.subject, Some(asked));
        }
        results.push((target, result.map(|_| ())));
    }
    assert!(data::response(&request.id, &results).contains("<result>"));
    let (mut roster, now) = (Roster::new("sip:g1@example.com"), Instant::now());
    roster.sync(&group, 100, Aor::to_uri, now);
    let document = Subscription::new(None).poll(&mut roster, now).expect("the first is due at once");
    let mut view = View::default();
    assert_eq!(view.take(document.text.as_bytes()), Ok(Seen::Taken));
    assert_eq!(view.users().count(), 2);
    // Blanks around it do not count.
    assert_eq!(view.subject(), group.subject.as_deref());
});
