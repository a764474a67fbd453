use std::time::{Duration, Instant};

use super::*;
use crate::group::{Actor, Change, Creation, GroupId, Invitee, Limits, Rights};
use crate::xml::XmlError;

const FOCUS: &str = "sip:g1@conference.example.com";

fn group(names: &[&str]) -> Group {
    let invitee = |name: &&str| Invitee::new(aor(name));
    let creation = Creation {
        id: GroupId::new([1; 16]),
        contribution_id: "c".into(),
        conversation_id: None,
        creator: Invitee::new(aor("alice")),
        invitees: names.iter().map(invitee).collect(),
        subject: Some("Trip & more".into()),
        icon: None,
        open: true,
        rights: Rights::default(),
    };
    Group::create(creation, 0, &Limits { members: 20_000, ..Limits::default() }, 0).unwrap().0
}

fn aor(name: &str) -> Aor {
    Aor::from_canonical(format!("{name}@example.com"))
}

fn uri(name: &str) -> String {
    aor(name).to_uri()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn sync(roster: &mut Roster, group: &Group, now: Instant) {
    roster.sync(group, 100, Aor::to_uri, now);
}

fn apply(group: &mut Group, by: &str, change: Change) {
    let sequence = group.revision;
    group.apply(Actor::User(&aor(by)), change, sequence, &Limits::default(), 0).unwrap();
}

fn seen(view: &View) -> Vec<(String, String)> {
    view.users().map(|(user, status)| (user.to_owned(), status.to_owned())).collect()
}

fn truth(roster: &Roster) -> Vec<(String, String)> {
    let mut view = View::default();
    let mut other = Roster { rows: roster.rows.clone(), description: roster.description.clone(), ..Roster::new(FOCUS) };
    view.take(Subscription::new(None).poll(&mut other, epoch()).unwrap().text.as_bytes()).unwrap();
    seen(&view)
}

#[expect(clippy::disallowed_methods, reason = "a beginning for virtual time")]
fn epoch() -> Instant {
    Instant::now()
}

#[test]
fn the_first_document_is_whole_and_the_next_waits() {
    let start = epoch();
    let (mut roster, mut group) = (Roster::new(FOCUS), group(&["bob", "carol"]));
    sync(&mut roster, &group, start);
    roster.set_status(&uri("alice"), Status::Connected, true, start);
    let mut subscription = Subscription::new(Some(&uri("bob")));
    let first = subscription.poll(&mut roster, start).unwrap();
    assert_eq!(
        first.text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" \
         xmlns:xcon=\"urn:ietf:params:xml:ns:xcon-conference-info\" entity=\"sip:g1@conference.example.com\" \
         state=\"full\" version=\"1\"><conference-description><subject>Trip &amp; more</subject>\
         <maximum-user-count>100</maximum-user-count></conference-description>\
         <conference-state><user-count>1</user-count></conference-state><users state=\"full\">\
         <user entity=\"sip:alice@example.com\" state=\"full\"><roles><entry>Owner</entry><entry>Administrator</entry></roles>\
         <endpoint entity=\"sip:alice@example.com\" state=\"full\"><status>connected</status>\
         <joining-method>dialed-in</joining-method></endpoint></user>\
         <user entity=\"sip:bob@example.com\" yourown=\"true\" state=\"full\"><roles><entry>Participant</entry></roles>\
         <endpoint entity=\"sip:bob@example.com\" state=\"full\"><status>pending</status></endpoint></user>\
         <user entity=\"sip:carol@example.com\" state=\"full\"><roles><entry>Participant</entry></roles>\
         <endpoint entity=\"sip:carol@example.com\" state=\"full\"><status>pending</status></endpoint></user>\
         </users></conference-info>\r\n"
    );
    assert_eq!(subscription.poll(&mut roster, start + secs(100)), None, "nothing is new");
    assert_eq!(subscription.poll_timeout(&roster, start), None);

    // Several changes are one document.
    apply(&mut group, "carol", Change::Decline);
    sync(&mut roster, &group, start + secs(1));
    roster.set_status(&uri("bob"), Status::DialingOut, false, start + secs(1));
    roster.set_status(&uri("bob"), Status::Connected, false, start + secs(2));
    assert_eq!(subscription.poll(&mut roster, start + secs(2)), None);
    assert_eq!(subscription.poll_timeout(&roster, start + secs(2)), Some(start + secs(5)));
    let second = subscription.poll(&mut roster, start + secs(5)).unwrap();
    assert!(second.text.contains("state=\"partial\" version=\"2\"><conference-state>"), "{}", second.text);
    assert!(!second.text.contains("alice"), "{}", second.text);
    assert!(second.text.contains("<joining-method>dialed-out</joining-method>"));
    assert!(second.text.contains(
        "<disconnection-method>failed</disconnection-method><disconnection-info>\
         <reason>SIP;cause=603;text=&quot;Decline&quot;</reason></disconnection-info>"
    ));
    assert_eq!(subscription.poll(&mut roster, start + secs(9)), None);

    // Who is gone goes from the roster, and whoever knew is told.
    assert_eq!(roster.poll_timeout(), Some(start + secs(1) + LINGER));
    roster.handle_timeout(start + secs(61));
    let third = subscription.poll(&mut roster, start + secs(61)).unwrap();
    assert!(third.text.contains("<user entity=\"sip:carol@example.com\" state=\"deleted\"/>"), "{}", third.text);
    let mut view = View::default();
    for document in [&first, &second, &third] {
        assert_eq!(view.take(document.text.as_bytes()), Ok(Seen::Taken));
    }
    assert_eq!(seen(&view), truth(&roster));

    // Who subscribes again is told everything at once.
    subscription.refresh();
    let fourth = subscription.poll(&mut roster, start + secs(62)).unwrap();
    assert!(fourth.text.contains("state=\"full\" version=\"4\"") && !fourth.text.contains("carol"));
}

#[test]
fn how_people_went() {
    let start = epoch();
    let (mut roster, mut group) = (Roster::new(FOCUS), group(&["bob", "carol"]));
    sync(&mut roster, &group, start);
    apply(&mut group, "alice", Change::Remove { users: vec![aor("bob")], ban: false });
    apply(&mut group, "carol", Change::Leave);
    sync(&mut roster, &group, start);
    roster.set_status(&uri("mallory"), Status::Connected, true, start);
    let mut subscription = Subscription::new(None);
    let text = subscription.poll(&mut roster, start).unwrap().text;
    assert!(text.contains(
        "<status>disconnected</status><disconnection-method>booted</disconnection-method>\
         <disconnection-info><by>sip:alice@example.com</by></disconnection-info>"
    ));
    assert!(text.contains("<disconnection-method>departed</disconnection-method></endpoint>"));
    assert!(!text.contains("mallory"));
    // They come back before they are forgotten.
    apply(&mut group, "alice", Change::Add(vec![Invitee::new(aor("bob"))]));
    sync(&mut roster, &group, start);
    roster.handle_timeout(start + LINGER);
    assert_eq!(roster.people().map(|(uri, _)| uri).collect::<Vec<_>>(), [uri("alice"), uri("bob")]);
}

#[test]
fn the_end_is_told_at_once_and_last() {
    let start = epoch();
    let (mut roster, mut group) = (Roster::new(FOCUS), group(&["bob"]));
    sync(&mut roster, &group, start);
    let mut subscription = Subscription::new(None);
    let mut view = View::default();
    view.take(subscription.poll(&mut roster, start).unwrap().text.as_bytes()).unwrap();
    apply(&mut group, "alice", Change::Close);
    sync(&mut roster, &group, start);
    let last = subscription.poll(&mut roster, start).unwrap();
    assert!(last.is_last && last.text.contains("state=\"deleted\" version=\"2\"></conference-info>"));
    assert_eq!(view.take(last.text.as_bytes()), Ok(Seen::Ended));
    assert_eq!(subscription.poll(&mut roster, start + secs(60)), None);
}

#[test]
fn a_subscriber_that_missed_one_asks_again() {
    let start = epoch();
    let (mut roster, group) = (Roster::new(FOCUS), group(&["bob"]));
    sync(&mut roster, &group, start);
    let (mut subscription, mut view) = (Subscription::new(None), View::default());
    let mut next = |roster: &mut Roster, status: Status, at: u64| {
        roster.set_status(&uri("bob"), status, false, start + secs(at));
        subscription.poll(roster, start + secs(at)).unwrap()
    };
    let first = next(&mut roster, Status::DialingOut, 0);
    let second = next(&mut roster, Status::Alerting, 5);
    let third = next(&mut roster, Status::Connected, 10);
    assert_eq!(view.take(second.text.as_bytes()), Ok(Seen::Gap));
    assert_eq!(view.take(first.text.as_bytes()), Ok(Seen::Taken));
    assert_eq!(view.take(third.text.as_bytes()), Ok(Seen::Gap));
    assert_eq!(view.take(first.text.as_bytes()), Ok(Seen::Old));
    subscription.refresh();
    let fourth = subscription.poll(&mut roster, start + secs(11)).unwrap();
    assert_eq!(view.take(fourth.text.as_bytes()), Ok(Seen::Taken));
    assert_eq!(view.take(third.text.as_bytes()), Ok(Seen::Old));
    assert_eq!(seen(&view), truth(&roster));
}

#[test]
fn documents_that_are_not_taken() {
    let mut view = View::default();
    for (text, expected) in [
        ("<x/>", XmlError::Missing("conference-info")),
        ("<conference-info/>", XmlError::Missing("version")),
        ("<conference-info version=\"-1\"/>", XmlError::Missing("version")),
        ("<conference-info version=\"1\" state=\"x\"/>", XmlError::Missing("state")),
    ] {
        assert_eq!(view.take(text.as_bytes()), Err(expected), "{text}");
    }
    assert_eq!(view, View::default());
}

#[test]
fn ten_thousand_members() {
    let start = epoch();
    let names: Vec<String> = (0..9_999).map(|n| format!("user{n}")).collect();
    let group = group(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut roster = Roster::new(FOCUS);
    sync(&mut roster, &group, start);
    let (mut one, mut other) = (Subscription::new(None), Subscription::new(None));
    let (first, second) = (one.poll(&mut roster, start).unwrap(), other.poll(&mut roster, start).unwrap());
    assert_eq!(first, second);
    let mut view = View::default();
    view.take(first.text.as_bytes()).unwrap();
    assert_eq!(view.users().count(), 10_000);
    roster.set_status(&uri("user77"), Status::Connected, true, start);
    let next = one.poll(&mut roster, start + secs(5)).unwrap();
    assert!(next.text.len() < 1000, "{}", next.text.len());
    view.take(next.text.as_bytes()).unwrap();
    assert_eq!(view.users().filter(|(_, status)| *status == "connected").count(), 1);
}

#[test]
fn who_has_been_away_too_long_is_told_everything() {
    let start = epoch();
    let names: Vec<String> = (0..300).map(|n| format!("user{n}")).collect();
    let mut group = group(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut roster = Roster::new(FOCUS);
    sync(&mut roster, &group, start);
    let (mut subscription, mut view) = (Subscription::new(None), View::default());
    view.take(subscription.poll(&mut roster, start).unwrap().text.as_bytes()).unwrap();
    for name in &names {
        apply(&mut group, name, Change::Leave);
    }
    sync(&mut roster, &group, start);
    roster.handle_timeout(start + LINGER);
    let next = subscription.poll(&mut roster, start + LINGER).unwrap();
    assert!(next.text.contains("state=\"full\" version=\"2\""));
    view.take(next.text.as_bytes()).unwrap();
    assert_eq!(seen(&view), truth(&roster));
}

#[test]
fn what_is_told_early_costs_the_next_nothing() {
    let start = epoch();
    let (mut roster, mut group) = (Roster::new(FOCUS), group(&["bob"]));
    sync(&mut roster, &group, start);
    let mut subscription = Subscription::new(None);
    let half = Duration::from_millis(500);
    subscription.poll_early(&mut roster, start, secs(2)).unwrap();
    apply(&mut group, "alice", Change::Subject(Some("one".into())));
    sync(&mut roster, &group, start + half);
    assert_eq!(subscription.poll_early(&mut roster, start + secs(3) - half, secs(2)), None);
    assert!(subscription.poll_early(&mut roster, start + secs(3), secs(2)).is_some(), "two seconds before its time");
    apply(&mut group, "alice", Change::Subject(Some("two".into())));
    sync(&mut roster, &group, start + secs(4));
    assert_eq!(subscription.poll_timeout(&roster, start + secs(4)), Some(start + secs(8)), "five after the last");
}
