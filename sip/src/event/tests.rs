//! Transcripts of subscriptions.

use bytes::Bytes;

use super::reg::Reg;
use super::*;
use crate::transaction::reread;

const NOW: u64 = 1_000_000;
const PACKAGES: &[&dyn Package] = &[&Reg];
const SUBSCRIBE: &str = "SUBSCRIBE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\n\
    Record-Route: <sip:p1;lr>\nFrom: <sip:bob@example.com>;tag=a1\nTo: <sip:bob@example.com>\nCall-ID: c1\n\
    CSeq: 7 SUBSCRIBE\nContact: <sip:bob@192.0.2.7>\nEvent: reg\nExpires: 600\n\n";

fn message(text: &str) -> Message {
    reread(&Bytes::from(text.replace('\n', "\r\n"))).unwrap()
}

fn text(bytes: Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n")
}

fn take(request: &str) -> Result<Subscription, Reject> {
    subscribe(&message(request), PACKAGES, &Policy::default(), "b1", false, true, NOW)
}

fn inside(request: &str, cseq: u32) -> String {
    request
        .replace("To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b1")
        .replace("CSeq: 7", &format!("CSeq: {cseq}"))
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_subscription_is_accepted_and_notified_at_once() {
    let mut subscription = take(SUBSCRIBE).unwrap();
    let ok = text(subscription.accept(&message(SUBSCRIBE), "<sip:s@example.com>", PACKAGES, NOW));
    for (name, value) in [
        ("Expires", "600"),
        ("Contact", "<sip:s@example.com>"),
        ("Record-Route", "<sip:p1;lr>"),
        ("To", "<sip:bob@example.com>;tag=b1"),
        ("Allow-Events", "reg"),
    ] {
        assert_eq!(line(&ok, name), Some(value), "{name}");
    }
    assert!(subscription.may_notify().is_some_and(|at| at <= NOW));
    let via = "SIP/2.0/TCP s;branch=z9hG4bK2";
    let notify = text(subscription.notify(via, "<sip:s@example.com>", Some(b"<x/>"), NOW + 1));
    assert!(notify.starts_with("NOTIFY sip:bob@192.0.2.7 SIP/2.0\n"), "{notify}");
    for (name, value) in [
        ("Event", "reg"),
        ("Subscription-State", "active;expires=599"),
        ("Content-Type", "application/reginfo+xml"),
        ("Route", "<sip:p1;lr>"),
        ("CSeq", "1 NOTIFY"),
        ("Contact", "<sip:s@example.com>"),
    ] {
        assert_eq!(line(&notify, name), Some(value), "{name}");
    }
    assert!(notify.ends_with("\n\n<x/>"));
}

#[test]
fn what_is_refused_and_how() {
    for (name, from, to, status, header) in [
        ("unknown package", "Event: reg", "Event: presence", 489, ("Allow-Events", "reg")),
        ("case of the package", "Event: reg", "Event: Reg", 489, ("Allow-Events", "reg")),
        ("no Event", "Event: reg\n", "", 489, ("Allow-Events", "reg")),
        ("two Events", "Event: reg", "Event: reg\nEvent: reg", 489, ("Allow-Events", "reg")),
        ("too brief", "Expires: 600", "Expires: 59", 423, ("Min-Expires", "60")),
        ("no common type", "Event", "Accept: text/plain\nEvent", 406, ("Accept", "application/reginfo+xml")),
        ("unknown dialog", "bob@example.com>\nCall", "bob@example.com>;tag=x\nCall", 481, ("CSeq", "7 SUBSCRIBE")),
        ("no contact", "Contact: <sip:bob@192.0.2.7>\n", "", 400, ("CSeq", "7 SUBSCRIBE")),
    ] {
        let request = SUBSCRIBE.replace(from, to);
        let reject = take(&request).expect_err(name);
        let reply = text(reject.reply(&message(&request), "b1", PACKAGES));
        assert!(reply.starts_with(&format!("SIP/2.0 {status} ")), "{name}: {reply}");
        assert_eq!(line(&reply, header.0), Some(header.1), "{name}");
    }
}

#[test]
fn the_duration_is_cut_never_lengthened() {
    for (expires, granted) in
        [("Expires: 600", 600), ("Expires: 60", 60), ("Expires: 99999999999", 86_400), ("Subject: none", 3_761)]
    {
        let subscription = take(&SUBSCRIBE.replace("Expires: 600", expires)).unwrap();
        assert_eq!(subscription.expires(), NOW + granted, "{expires}");
    }
    let hourly = Policy { min_expires: 7_200, ..Policy::default() };
    let request = message(&SUBSCRIBE.replace("600", "3600"));
    assert!(subscribe(&request, PACKAGES, &hourly, "b1", false, true, NOW).is_ok(), "an hour is never too brief");
}

#[test]
fn accept_may_name_the_type_or_a_range() {
    for accept in ["application/reginfo+xml", "text/plain, APPLICATION/*;q=0.3", "*/*", "Application/Reginfo+XML;q=1"] {
        let request = SUBSCRIBE.replace("Event", &format!("Accept: {accept}\nEvent"));
        assert_eq!(take(&request).unwrap().content_type(), "application/reginfo+xml", "{accept}");
    }
}

#[test]
fn a_fetch_is_over_with_its_notify() {
    let mut subscription = take(&SUBSCRIBE.replace("600", "0")).unwrap();
    let ok = text(subscription.accept(&message(SUBSCRIBE), "<sip:s@h>", PACKAGES, NOW));
    assert_eq!(line(&ok, "Expires"), Some("0"));
    assert!(subscription.shows_state());
    let notify = text(subscription.notify("", "<sip:s@h>", Some(b"<x/>"), NOW));
    assert_eq!(line(&notify, "Subscription-State"), Some("terminated;reason=timeout"));
    assert_eq!(subscription.notified(Some(200), None, NOW), Fate::Remove);
}

#[test]
fn a_refresh_renews_and_zero_ends() {
    let mut subscription = take(SUBSCRIBE).unwrap();
    subscription.notify("", "<sip:s@h>", None, NOW);
    subscription.notified(Some(200), None, NOW);
    let (policy, later) = (Policy::default(), NOW + 500);
    let mut refresh = |request: &str| subscription.refresh(&message(request), &Reg, &policy, later);
    assert_eq!(refresh(&inside(SUBSCRIBE, 8)), Ok(()));
    for (name, request, expected) in [
        ("old CSeq", inside(SUBSCRIBE, 7), 500),
        ("another id", inside(&SUBSCRIBE.replace("Event: reg", "Event: reg;id=2"), 9), 403),
        ("too brief", inside(&SUBSCRIBE.replace("600", "5"), 9), 423),
    ] {
        assert_eq!(refresh(&request).map_err(Reject::status), Err(expected), "{name}");
    }
    assert_eq!(subscription.expires(), later + 600);
    assert_eq!(subscription.may_notify(), Some(0), "the answer to a refresh is due at once");
    let end = inside(&SUBSCRIBE.replace("600", "0"), 9);
    assert_eq!(subscription.refresh(&message(&end), &Reg, &policy, later), Ok(()));
    let notify = text(subscription.notify("", "<sip:s@h>", None, later));
    assert_eq!(line(&notify, "Subscription-State"), Some("terminated;reason=timeout"));
    let late = inside(SUBSCRIBE, 10);
    assert_eq!(subscription.refresh(&message(&late), &Reg, &policy, later), Err(Reject::NoSubscription));
}

#[test]
fn a_refresh_may_move_the_subscriber() {
    let mut subscription = take(SUBSCRIBE).unwrap();
    let refresh = message(&inside(&SUBSCRIBE.replace("192.0.2.7", "198.51.100.7"), 8));
    subscription.refresh(&refresh, &Reg, &Policy::default(), NOW).unwrap();
    assert!(text(subscription.notify("", "<sip:s@h>", None, NOW)).starts_with("NOTIFY sip:bob@198.51.100.7 SIP/2.0\n"));
}

#[test]
fn the_id_of_the_event_is_echoed() {
    let mut subscription = take(&SUBSCRIBE.replace("Event: reg", "Event: reg ; x=y; id=17")).unwrap();
    assert_eq!(line(&text(subscription.notify("", "<sip:s@h>", None, NOW)), "Event"), Some("reg;id=17"));
}

#[test]
fn a_subscription_runs_out_with_a_last_notify() {
    let mut subscription = take(SUBSCRIBE).unwrap();
    assert!(!subscription.handle_timeout(NOW + 599));
    assert!(subscription.handle_timeout(NOW + 600));
    assert!(!subscription.handle_timeout(NOW + 601));
    let notify = text(subscription.notify("", "<sip:s@h>", None, NOW + 600));
    assert_eq!(line(&notify, "Subscription-State"), Some("terminated;reason=timeout"));
}

#[test]
fn a_pending_subscription_shows_nothing_until_granted() {
    let request = message(SUBSCRIBE);
    let mut subscription = subscribe(&request, PACKAGES, &Policy::default(), "b1", false, false, NOW).unwrap();
    assert!(!subscription.shows_state());
    let notify = text(subscription.notify("", "<sip:s@h>", None, NOW));
    assert_eq!(line(&notify, "Subscription-State"), Some("pending;expires=600"));
    subscription.grant();
    assert_eq!((subscription.state(), subscription.shows_state()), (State::Active, true));
    subscription.terminate(Reason::Probation, Some(30));
    subscription.terminate(Reason::Rejected, None);
    let notify = text(subscription.notify("", "<sip:s@h>", None, NOW));
    assert_eq!(line(&notify, "Subscription-State"), Some("terminated;reason=probation;retry-after=30"));
}

#[test]
fn one_notify_at_a_time_and_not_too_often() {
    let mut subscription = take(SUBSCRIBE).unwrap();
    subscription.notify("", "<sip:s@h>", None, NOW);
    assert_eq!(subscription.may_notify(), None);
    assert_eq!(subscription.notified(Some(200), None, NOW), Fate::Keep);
    assert_eq!(subscription.may_notify(), Some(NOW + 5));
    subscription.notify("", "<sip:s@h>", None, NOW + 5);
    assert_eq!(subscription.notified(Some(503), Some(60), NOW + 6), Fate::Keep);
    assert_eq!(subscription.may_notify(), Some(NOW + 66));
    subscription.terminate(Reason::Deactivated, None);
    assert_eq!(subscription.may_notify(), Some(0), "the last word does not wait");
}

#[test]
fn what_happens_under_way_has_its_own_notify() {
    let mut subscription = take(SUBSCRIBE).unwrap();
    subscription.notify("", "<sip:s@h>", None, NOW);
    subscription.terminate(Reason::NoResource, None);
    assert_eq!(subscription.notified(Some(200), None, NOW), Fate::Keep, "the last word is not yet spoken");
    let notify = text(subscription.notify("", "<sip:s@h>", None, NOW));
    assert_eq!(line(&notify, "Subscription-State"), Some("terminated;reason=noresource"));
    assert_eq!(subscription.notified(Some(200), None, NOW), Fate::Remove);

    let mut refreshed = take(SUBSCRIBE).unwrap();
    refreshed.notify("", "<sip:s@h>", None, NOW);
    refreshed.refresh(&message(&inside(SUBSCRIBE, 8)), &Reg, &Policy::default(), NOW).unwrap();
    refreshed.notified(Some(200), None, NOW);
    assert_eq!(refreshed.may_notify(), Some(0));
}

#[test]
fn a_failed_notify_ends_the_subscription_or_does_not() {
    for (status, fate) in [
        (Some(200), Fate::Keep),
        (Some(401), Fate::Keep),
        (Some(403), Fate::Keep),
        (Some(404), Fate::Remove),
        (Some(405), Fate::Remove),
        (Some(408), Fate::Remove),
        (Some(410), Fate::Remove),
        (Some(416), Fate::Remove),
        (Some(480), Fate::Remove),
        (Some(481), Fate::Remove),
        (Some(485), Fate::Remove),
        (Some(486), Fate::Keep),
        (Some(489), Fate::Remove),
        (Some(500), Fate::Keep),
        (Some(501), Fate::Remove),
        (Some(503), Fate::Keep),
        (Some(604), Fate::Remove),
        (None, Fate::Remove),
    ] {
        let mut subscription = take(SUBSCRIBE).unwrap();
        subscription.notify("", "<sip:s@h>", None, NOW);
        assert_eq!(subscription.notified(status, None, NOW), fate, "{status:?}");
    }
}

#[test]
fn a_subscriber_may_slow_notifications_down_and_want_a_least_rate() {
    let request = SUBSCRIBE.replace("Event: reg", "Event: reg;max-rate=0.05;min-rate=0.01");
    let mut subscription = take(&request).unwrap();
    let notify = text(subscription.notify("", "<sip:s@h>", None, NOW));
    let state = line(&notify, "Subscription-State").unwrap().to_owned();
    assert_eq!(state, "active;expires=600;max-rate=0.0500000000;min-rate=0.0100000000");
    assert_eq!(subscription.must_notify(), None, "its answer comes first");
    assert_eq!(subscription.notified(Some(200), None, NOW), Fate::Keep);
    assert_eq!((subscription.may_notify(), subscription.must_notify()), (Some(NOW + 20), Some(NOW + 100)));
    // A refresh without them takes them back (RFC 6446 §4.1).
    let refresh = message(&inside(SUBSCRIBE, 8));
    subscription.refresh(&refresh, &Reg, &Policy::default(), NOW + 1).unwrap();
    subscription.notify("", "<sip:s@h>", None, NOW + 1);
    subscription.notified(Some(200), None, NOW + 1);
    assert_eq!((subscription.may_notify(), subscription.must_notify()), (Some(NOW + 6), None));
}

#[test]
fn a_refresh_may_be_spared_the_notify() {
    for (header, etag, suppressed) in [
        ("", Some("e1"), false),
        ("Suppress-If-Match: *\n", None, true),
        ("Suppress-If-Match: e1\n", Some("e1"), true),
        ("Suppress-If-Match: e0\n", Some("e1"), false),
        ("Suppress-If-Match: e 1\n", Some("e 1"), false),
    ] {
        let mut subscription = take(SUBSCRIBE).unwrap();
        let refresh = inside(&SUBSCRIBE.replace("Event", &format!("{header}Event")), 8);
        subscription.refresh(&message(&refresh), &Reg, &Policy::default(), NOW).unwrap();
        assert_eq!(subscription.is_suppressed(etag), suppressed, "{header}");
        let end = inside(&SUBSCRIBE.replace("600", "0").replace("Event", &format!("{header}Event")), 9);
        subscription.refresh(&message(&end), &Reg, &Policy::default(), NOW).unwrap();
        assert!(!subscription.is_suppressed(etag), "the end is told: {header}");
    }
    let mut subscription = take(SUBSCRIBE).unwrap();
    let refresh = message(&inside(&SUBSCRIBE.replace("Event", "Suppress-If-Match: *\nEvent"), 8));
    subscription.refresh(&refresh, &Reg, &Policy::default(), NOW).unwrap();
    let ok = text(subscription.accept_with(&refresh, 204, "<sip:s@h>", PACKAGES, "Require: eventlist\r\n", NOW));
    assert!(ok.starts_with("SIP/2.0 204 No Notification\n"), "{ok}");
    assert_eq!(line(&ok, "Require"), Some("eventlist"));
    let body = Body { content_type: "multipart/related;boundary=b", bytes: b"x", etag: Some("e7") };
    let notify = text(subscription.notify_with("", "<sip:s@h>", "Require: eventlist\r\n", Some(body), NOW));
    for (name, value) in
        [("SIP-ETag", "e7"), ("Content-Type", "multipart/related;boundary=b"), ("Require", "eventlist")]
    {
        assert_eq!(line(&notify, name), Some(value), "{name}");
    }
}

#[test]
fn what_was_granted_may_be_suspended_and_granted_again() {
    let mut subscription = take(SUBSCRIBE).unwrap();
    subscription.notify("", "<sip:s@h>", None, NOW);
    subscription.notified(Some(200), None, NOW);
    assert_eq!(subscription.may_notify(), Some(NOW + 5));
    subscription.suspend();
    subscription.hurry();
    assert_eq!(subscription.may_notify(), Some(0), "what it may see has changed");
    assert_eq!((subscription.state(), subscription.shows_state()), (State::Pending, false));
    subscription.grant();
    assert_eq!((subscription.state(), subscription.shows_state()), (State::Active, true));
    subscription.terminate(Reason::Rejected, None);
    subscription.suspend();
    assert_eq!(subscription.state(), State::Terminated { reason: Reason::Rejected, retry_after: None });
}

/// Two users of one dialog count their requests together (RFC 5057 §3.1).
#[test]
fn a_subscription_in_the_dialog_of_a_call() {
    let invite = SUBSCRIBE.replace("SUBSCRIBE", "INVITE");
    let mut call = Dialog::uas(&message(&invite), "b1", false).unwrap();
    let via = "SIP/2.0/TCP s;branch=z9hG4bK2";
    drop(call.request("BYE", via));
    let request = inside(SUBSCRIBE, 8).replace("192.0.2.7", "192.0.2.8");
    let begin = |request: &str, dialog: &Dialog| {
        subscribe_within(&message(request), dialog.clone(), PACKAGES, &Policy::default(), true, NOW)
    };
    let mut subscription = begin(&request, &call).unwrap();
    assert_eq!(subscription.dialog.id, call.id);
    let notify = text(subscription.notify(via, "<sip:s@example.com>", None, NOW));
    assert!(notify.starts_with("NOTIFY sip:bob@192.0.2.8 SIP/2.0\n"), "the SUBSCRIBE is a target refresh: {notify}");
    assert_eq!(line(&notify, "CSeq"), Some("2 NOTIFY"));
    call.continue_after(subscription.dialog.local_seq());
    assert_eq!(line(&text(call.request("BYE", via).finish()), "CSeq"), Some("3 BYE"));
    subscription.dialog.continue_after(call.local_seq());
    subscription.notified(Some(200), None, NOW);
    assert_eq!(line(&text(subscription.notify(via, "<sip:s@example.com>", None, NOW)), "CSeq"), Some("4 NOTIFY"));
    // It is refreshed as any other, and what is no package is refused as anywhere.
    assert_eq!(subscription.refresh(&message(&inside(SUBSCRIBE, 9)), &Reg, &Policy::default(), NOW), Ok(()));
    let other = begin(&request.replace("Event: reg", "Event: presence"), &call);
    assert_eq!(other.map_err(Reject::status).err(), Some(489));
}
