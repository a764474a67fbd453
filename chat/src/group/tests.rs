use proptest::prelude::*;

use super::*;
use chappe_sip::Aor;

fn aor(name: &str) -> Aor {
    Aor::from_canonical(if name.starts_with('+') || name.contains('@') { name.to_owned() } else { format!("{name}@x") })
}

fn invitees(names: &[&str]) -> Vec<Invitee> {
    names.iter().map(|name| Invitee::new(aor(name))).collect()
}

fn creation(names: &[&str]) -> Creation {
    Creation {
        id: GroupId::new([7; 16]),
        contribution_id: "c1".into(),
        conversation_id: None,
        creator: Invitee::new(aor("alice")),
        invitees: invitees(names),
        subject: Some("Trip".into()),
        icon: None,
        open: true,
        rights: Rights::default(),
    }
}

/// Alice's group with these, who have all joined; changes have the numbers 10 and up.
fn group(names: &[&str]) -> Group {
    let (mut group, _) = Group::create(creation(names), 0, &Limits::default(), 1).unwrap();
    for name in names {
        apply(&mut group, name, Change::Join).unwrap();
    }
    group
}

fn apply(group: &mut Group, by: &str, change: Change) -> Result<Vec<Event>, Refused> {
    apply_with(group, by, change, &Limits::default())
}

fn apply_with(group: &mut Group, by: &str, change: Change, limits: &Limits) -> Result<Vec<Event>, Refused> {
    let (before, at) = (group.clone(), 10 + group.revision);
    let user = aor(by);
    let actor = if by == "operator" { Actor::Operator } else { Actor::User(&user) };
    let events = group.apply(actor, change, at, limits, at * 1000);
    match &events {
        Ok(events) if !events.is_empty() => assert_eq!(group.revision, before.revision + 1),
        _ => assert_eq!(*group, before, "nothing follows, so nothing has changed"),
    }
    events
}

fn add(names: &[&str]) -> Change {
    Change::Add(invitees(names))
}

fn remove(name: &str) -> Change {
    Change::Remove { users: vec![aor(name)], ban: false }
}

fn subject(text: &str) -> Change {
    Change::Subject(Some(text.into()))
}

fn state<'a>(group: &'a Group, name: &str) -> &'a str {
    group.members.get(&aor(name)).map_or("unknown", |member| member.state.as_str())
}

#[test]
fn a_group_begins_with_invitations() {
    let (group, events) = Group::create(creation(&["bob", "carol", "alice", "bob"]), 0, &Limits::default(), 5).unwrap();
    let created = Announcement { by: Some(aor("alice")), news: News::Created };
    assert_eq!(
        events,
        [Event::Announce(created), Event::Invite(aor("bob")), Event::Invite(aor("carol")), Event::Roster]
    );
    assert_eq!((group.members.count(), group.revision, group.created_ms), (3, 1, 5));
    let alice = group.members.get(&aor("alice")).unwrap();
    assert_eq!((alice.role, &alice.state, alice.since), (Role::Owner, &Membership::Joined, 0));
    assert_eq!(state(&group, "bob"), "invited");
}

#[test]
fn groups_that_do_not_begin() {
    let limits = Limits { members: 3, groups_per_user: 2, subject_bytes: 4, ..Limits::default() };
    let long = Creation { subject: Some("Trips".into()), ..creation(&["bob"]) };
    for (name, creation, groups, expected) in [
        ("alone", creation(&["alice"]), 0, Refused::Empty),
        ("nobody", creation(&[]), 0, Refused::Empty),
        ("too many", creation(&["b", "c", "d"]), 0, Refused::TooManyMembers { max: 3 }),
        ("one too many for its creator", creation(&["b"]), 2, Refused::TooManyGroups { max: 2 }),
        ("a long subject", long, 0, Refused::TooLong { what: "the subject", max: 4 }),
    ] {
        assert_eq!(Group::create(creation, groups, &limits, 1).unwrap_err(), expected, "{name}");
    }
    assert!(Group::create(creation(&["b", "c", "b", "alice"]), 1, &limits, 1).is_ok());
}

#[test]
fn who_may_do_what() {
    let ban = Change::Remove { users: vec![aor("bob")], ban: true };
    let appoint = |name: &str, role| Change::Role { user: aor(name), role };
    for (name, by, change, expected) in [
        ("a member adds", "bob", add(&["dave"]), Ok(())),
        ("a member removes", "bob", remove("carol"), Err(Refused::NotAllowed)),
        ("a member removes itself", "bob", remove("bob"), Ok(())),
        ("an admin removes", "admin", remove("carol"), Ok(())),
        ("an admin removes the owner", "admin", remove("alice"), Err(Refused::NotAllowed)),
        ("the owner removes an admin", "alice", remove("admin"), Ok(())),
        ("the owner bans", "alice", ban, Ok(())),
        ("a member renames", "bob", subject("x"), Err(Refused::NotAllowed)),
        ("an admin renames", "admin", subject("x"), Ok(())),
        ("an admin appoints", "admin", appoint("bob", Role::Admin), Ok(())),
        ("an admin makes an owner", "admin", appoint("bob", Role::Owner), Err(Refused::NotAllowed)),
        ("an admin demotes the owner", "admin", appoint("alice", Role::Member), Err(Refused::NotAllowed)),
        ("the only owner steps down", "alice", appoint("alice", Role::Member), Err(Refused::NotAllowed)),
        ("an admin closes", "admin", Change::Close, Err(Refused::NotAllowed)),
        ("the owner closes", "alice", Change::Close, Ok(())),
        ("the operator closes", "operator", Change::Close, Ok(())),
        ("a stranger adds", "mallory", add(&["mallory"]), Err(Refused::NotMember)),
        ("a stranger leaves", "mallory", Change::Leave, Err(Refused::NotMember)),
        ("somebody unknown is removed", "alice", remove("mallory"), Err(Refused::UnknownMember)),
        ("somebody unknown is appointed", "alice", appoint("mallory", Role::Admin), Err(Refused::UnknownMember)),
    ] {
        let mut group = group(&["bob", "carol", "admin"]);
        apply(&mut group, "alice", appoint("admin", Role::Admin)).unwrap();
        assert_eq!(apply(&mut group, by, change).map(|_| ()), expected, "{name}");
    }
}

#[test]
fn what_follows_from_adding() {
    let mut group = group(&["bob", "carol"]);
    apply(&mut group, "carol", Change::Leave).unwrap();
    let at = 10 + group.revision;
    let events = apply(&mut group, "bob", add(&["dave", "bob", "carol", "dave"])).unwrap();
    let news = News::Added(vec![aor("carol"), aor("dave")]);
    let told = Event::Announce(Announcement { by: Some(aor("bob")), news });
    assert_eq!(events, [told, Event::Invite(aor("carol")), Event::Invite(aor("dave")), Event::Roster]);
    let carol = group.members.get(&aor("carol")).unwrap();
    assert_eq!((carol.since, carol.until, &carol.state), (at, None, &Membership::Invited), "a new interval");
    assert_eq!(apply(&mut group, "bob", add(&["dave", "alice"])), Ok(vec![]), "they are there");
    let closed = apply(&mut group, "alice", Change::Open(false)).unwrap();
    assert_eq!(closed.len(), 2);
    assert_eq!(apply(&mut group, "alice", add(&["erin"])), Err(Refused::Closed));
    assert!(apply(&mut group, "operator", add(&["erin"])).is_ok());
    let limits = Limits { members: 6, ..Limits::default() };
    let full = Err(Refused::TooManyMembers { max: 6 });
    apply(&mut group, "alice", Change::Open(true)).unwrap();
    assert_eq!(apply_with(&mut group, "alice", add(&["frank", "gina"]), &limits), full);
    assert!(apply_with(&mut group, "alice", add(&["frank", "frank", "bob"]), &limits).is_ok());
}

#[test]
fn out_and_in_again() {
    let mut group = group(&["bob", "carol", "dave", "erin"]);
    let events = apply(&mut group, "alice", remove("bob")).unwrap();
    assert_eq!(events[1..], [Event::Dismiss { user: aor("bob"), why: Why::Removed }, Event::Roster]);
    let events = apply(&mut group, "carol", Change::Leave).unwrap();
    assert_eq!(events[1..], [Event::Dismiss { user: aor("carol"), why: Why::Left }, Event::Roster]);
    apply(&mut group, "alice", Change::Remove { users: vec![aor("dave")], ban: true }).unwrap();
    apply(&mut group, "alice", add(&["frank"])).unwrap();
    apply(&mut group, "frank", Change::Decline).unwrap();
    for (name, admits, calls) in [
        ("alice", Ok(()), Ok(())),
        ("bob", Err(Refused::Removed), Err(Refused::Removed)),
        ("carol", Err(Refused::NotMember), Err(Refused::NotMember)),
        ("dave", Err(Refused::Banned), Err(Refused::Banned)),
        ("frank", Err(Refused::NotMember), Ok(())),
        ("mallory", Err(Refused::NotMember), Err(Refused::NotMember)),
    ] {
        assert_eq!(group.admit(&aor(name)).map(|_| ()), admits, "{name}");
        assert_eq!(group.admit_call(&aor(name)).map(|_| ()), calls, "{name}");
    }
    assert_eq!(apply(&mut group, "erin", add(&["dave"])), Err(Refused::NotAllowed), "a ban is not undone by members");
    assert!(apply(&mut group, "erin", add(&["bob"])).is_ok());
    assert!(apply(&mut group, "alice", add(&["dave"])).is_ok());
    let at = 10 + group.revision;
    apply(&mut group, "frank", Change::Join).unwrap();
    let frank = group.members.get(&aor("frank")).unwrap();
    assert_eq!((&frank.state, frank.since, frank.until), (&Membership::Joined, at, None));
    assert_eq!(apply(&mut group, "frank", Change::Join), Ok(vec![]));
    assert_eq!(apply(&mut group, "frank", Change::Decline), Ok(vec![]), "another device declines, too late");
}

#[test]
fn an_owner_who_leaves_is_followed() {
    let mut group = group(&["bob", "carol"]);
    apply(&mut group, "alice", Change::Role { user: aor("carol"), role: Role::Admin }).unwrap();
    apply(&mut group, "alice", Change::Leave).unwrap();
    assert_eq!(group.members.get(&aor("carol")).unwrap().role, Role::Owner, "the admin before the elder");
    apply(&mut group, "carol", Change::Leave).unwrap();
    assert_eq!(group.members.get(&aor("bob")).unwrap().role, Role::Owner);
    let events = apply(&mut group, "bob", Change::Leave).unwrap();
    assert_eq!(events.last(), Some(&Event::Ended));
    assert_eq!(apply(&mut group, "bob", add(&["dave"])), Err(Refused::Gone));
    assert_eq!(group.admit(&aor("bob")).unwrap_err(), Refused::Gone);
}

#[test]
fn beginning_again() {
    let mut group = group(&["bob", "carol"]);
    apply(&mut group, "carol", Change::Leave).unwrap();
    assert_eq!(Restart::of(None, &aor("bob")), Restart::New);
    assert_eq!(Restart::of(Some(&group), &aor("bob")), Restart::Rejoin);
    assert_eq!(Restart::of(Some(&group), &aor("carol")), Restart::Refuse(Refused::NotMember));
    apply(&mut group, "alice", Change::Close).unwrap();
    assert_eq!(Restart::of(Some(&group), &aor("carol")), Restart::New);
}

#[test]
fn one_number_is_one_member() {
    let number = "+15550100002";
    let mut group = group(&["+15550100002@x", "bob"]);
    assert_eq!(group.admit(&aor(number)).unwrap().user, aor("+15550100002@x"));
    assert_eq!(apply(&mut group, "bob", add(&[number])), Ok(vec![]));
    assert_eq!(group.admit(&aor("+15550100002@y")).unwrap_err(), Refused::NotMember);
    apply(&mut group, "alice", remove(number)).unwrap();
    assert_eq!(state(&group, "+15550100002@x"), "removed");
    apply(&mut group, "alice", add(&[number])).unwrap();
    assert_eq!((group.members.len(), state(&group, "+15550100002@x")), (3, "invited"));
    let (bare, _) = Group::create(creation(&["+1", "+1@x", "+2@x"]), 0, &Limits::default(), 1).unwrap();
    assert_eq!(bare.members.len(), 3);
    assert_eq!(bare.admit(&aor("+2")).unwrap().user, aor("+2@x"));
}

#[test]
fn nicknames() {
    let mut group = group(&["bob", "carol"]);
    let nick = |text: &str| Change::Nickname(Some(text.into()));
    apply(&mut group, "bob", nick("  The   Boss ")).unwrap();
    assert_eq!(group.members.get(&aor("bob")).unwrap().nickname.as_deref(), Some("The Boss"));
    assert_eq!(apply(&mut group, "carol", nick("the boss")), Err(Refused::NicknameTaken));
    assert_eq!(apply(&mut group, "bob", nick("The Boss")), Ok(vec![]), "another device of bob");
    assert_eq!(apply(&mut group, "carol", nick(" ")), Err(Refused::NicknameMalformed));
    assert_eq!(apply(&mut group, "carol", nick("a\nb")), Err(Refused::NicknameMalformed));
    apply(&mut group, "bob", Change::Nickname(None)).unwrap();
    assert!(apply(&mut group, "carol", nick("THE BOSS")).is_ok());
    assert_eq!((Refused::NicknameTaken.msrp_status(), Refused::NicknameMalformed.msrp_status()), (425, 424));
}

#[test]
fn those_who_are_gone_are_forgotten_in_the_end() {
    let limits = Limits { former: 2, ..Limits::default() };
    let mut group = group(&["a", "b", "c", "d", "e"]);
    apply_with(&mut group, "alice", Change::Remove { users: vec![aor("a")], ban: true }, &limits).unwrap();
    for name in ["c", "b", "d"] {
        apply_with(&mut group, name, Change::Leave, &limits).unwrap();
    }
    let left: Vec<_> = group.members.iter().map(|member| member.user.user()).collect();
    assert_eq!(left, ["a", "alice", "b", "d", "e"], "the one who left first has gone, the ban stays");
}

#[test]
fn codes() {
    for (refused, status, warning) in [
        (Refused::NotFound, 404, None),
        (Refused::UnknownMember, 404, None),
        (Refused::Gone, 410, None),
        (Refused::NotMember, 403, Some(127)),
        (Refused::Removed, 403, Some(127)),
        (Refused::Banned, 403, Some(127)),
        (Refused::NotAllowed, 403, Some(127)),
        (Refused::Closed, 403, Some(399)),
        (Refused::TooManyMembers { max: 1 }, 403, Some(399)),
        (Refused::TooManyGroups { max: 1 }, 486, Some(399)),
        (Refused::Empty, 400, None),
        (Refused::TooLong { what: "", max: 1 }, 413, None),
    ] {
        assert_eq!((refused.status(), refused.warning().map(|(code, _)| code)), (status, warning), "{refused}");
    }
    assert_eq!(Group::check_reinvite(true).map_err(Refused::status), Err(420));
    assert_eq!(Group::check_reinvite(false), Ok(()));
}

#[test]
fn announcements_are_read_as_they_were_written() {
    let (a, b) = (aor("a"), aor("b"));
    for news in [
        News::Created,
        News::Added(vec![a.clone(), b.clone()]),
        News::Removed(vec![b.clone()]),
        News::Joined,
        News::Left,
        News::Erased,
        News::Declined,
        News::Subject(Some("Été \u{1f3d6} \u{202e}x".into())),
        News::Subject(None),
        News::Icon(Some(Icon::Uri("https://x/y".into()))),
        News::Icon(None),
        News::Role { user: b, role: Role::Admin },
        News::Nickname(Some("n".into())),
        News::Nickname(None),
        News::Open(true),
        News::Open(false),
        News::Closed,
    ] {
        for by in [None, Some(a.clone())] {
            let told = Announcement { by, news: news.clone() };
            assert_eq!(Announcement::decode(&told.encode()), Some(told));
        }
    }
    for text in ["", "a@x", "a@x\nwhatever", "a@x\nleft\nmore", "a@x\nrole\nb@x"] {
        assert_eq!(Announcement::decode(text), None, "{text:?}");
    }
    let smuggled = Announcement { by: None, news: News::Subject(Some("a\nb".into())) };
    assert_eq!(Announcement::decode(&smuggled.encode()).unwrap().news, News::Subject(Some("ab".into())));
}

#[test]
fn states_are_read_as_they_were_kept() {
    let by = || "x@y".into();
    use Membership::*;
    for state in [Invited, Joined, Left, Declined, Removed { by: by() }, Banned { by: by() }] {
        assert_eq!(Membership::parse(state.as_str(), state.by().unwrap_or_default()), Some(state));
    }
    for role in [Role::Member, Role::Admin, Role::Owner] {
        assert_eq!(Role::parse(role.as_str()), Some(role));
    }
    for copy in [Copy::To, Copy::Cc, Copy::Bcc, Copy::AnonymousTo, Copy::AnonymousCc] {
        assert_eq!(Copy::parse(copy.as_str()), Some(copy));
    }
    assert_eq!((Membership::parse("x", ""), Role::parse(""), Copy::parse("")), (None, None, None));
}

fn any_change() -> impl Strategy<Value = (usize, Change)> {
    let name = || (0..8usize).prop_map(|n| aor(&format!("u{n}")));
    let names = || prop::collection::vec(name(), 0..4);
    let change = prop_oneof![
        names().prop_map(|users| Change::Add(users.into_iter().map(Invitee::new).collect())),
        (names(), any::<bool>()).prop_map(|(users, ban)| Change::Remove { users, ban }),
        Just(Change::Join),
        Just(Change::Leave),
        Just(Change::Decline),
        (name(), 0..3usize)
            .prop_map(|(user, role)| Change::Role { user, role: [Role::Member, Role::Admin, Role::Owner][role] }),
        any::<bool>().prop_map(Change::Open),
        "[ab ]{0,3}".prop_map(|text| Change::Nickname(Some(text.into()))),
        "[ab]{0,2}".prop_map(|text| Change::Subject(Some(text.into()))),
    ];
    (0..9usize, change)
}

proptest! {
    /// Whatever is tried: who is in can be governed, nobody is in twice, limits hold, a refusal changes nothing.
    #[test]
    fn any_changes(changes in prop::collection::vec(any_change(), 1..60)) {
        let limits = Limits { members: 5, former: 3, ..Limits::default() };
        let start = Creation { creator: Invitee::new(aor("u0")), ..creation(&["u1", "u2"]) };
        let (mut group, _) = Group::create(start, 0, &limits, 0).unwrap();
        for (by, change) in changes {
            let by = if by == 8 { "operator".to_owned() } else { format!("u{by}") };
            let was_in = group.admit(&aor(&by)).is_ok() || by == "operator";
            let is_join = matches!(change, Change::Join);
            let result = apply_with(&mut group, &by, change, &limits);
            prop_assert!(was_in || is_join || result.is_err(), "{by} is not in");
            let present: Vec<_> = group.members.present().collect();
            prop_assert!(present.len() <= limits.members);
            prop_assert_eq!(group.closed_ms.is_some(), present.is_empty());
            prop_assert!(present.is_empty() || present.iter().any(|member| member.role == Role::Owner));
            prop_assert!(present.iter().all(|member| member.until.is_none()));
            let users: std::collections::BTreeSet<_> = group.members.iter().map(|member| &member.user).collect();
            prop_assert_eq!(users.len(), group.members.len());
            for member in group.members.iter().filter(|member| !member.state.is_in()) {
                prop_assert!(member.until >= Some(member.since) && member.role == Role::Member);
            }
        }
    }
}
