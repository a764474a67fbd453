use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::{
    GroupChange, GroupCursor, GroupEntry, GroupError, GroupLease, GroupMember, NewGroup, NewGroupEntry, Receipt,
    ReceiptState, StoreError, Stores,
};

pub(super) fn lease(owner: &str, until_ms: u64) -> GroupLease {
    GroupLease { owner: owner.into(), until_ms }
}

pub(super) fn entry(from: &str, text: &str) -> NewGroupEntry {
    NewGroupEntry {
        from: from.into(),
        to: None,
        message_id: Some(format!("id-{text}").into()),
        at_ms: 1_700_000_000_123,
        content: Bytes::from(text.to_owned()),
        once: None,
    }
}

fn once(from: &str, text: &str) -> NewGroupEntry {
    let once = Receipt {
        message_id: text.into(),
        sender: from.into(),
        recipient: "group".into(),
        state: ReceiptState::Accepted,
    };
    NewGroupEntry { once: Some(once), ..entry(from, text) }
}

fn member(user: &str, active: bool) -> GroupMember {
    GroupMember { user: user.into(), active, data: Bytes::from(format!("data of {user}")) }
}

pub(super) fn group(id: &str, members: &[&str]) -> NewGroup {
    NewGroup {
        id: id.into(),
        contribution_id: format!("thread-{id}").into(),
        data: Bytes::from_static(b"state"),
        members: members.iter().map(|user| member(user, true)).collect(),
        entries: vec![entry("", "made")],
        lease: lease("node1", 1000),
    }
}

fn change(id: &str, seen: u64, token: u64) -> GroupChange {
    GroupChange {
        id: id.into(),
        seen,
        token,
        data: Bytes::from(format!("state {seen}")),
        members: Vec::new(),
        entries: Vec::new(),
    }
}

fn cursor(group: &str, user: &str, device: &str, upto: u64) -> GroupCursor {
    GroupCursor { group: group.into(), user: user.into(), device: device.into(), upto }
}

/// Sequences and contents.
async fn log(stores: &Stores, id: &str) -> Vec<(u64, String)> {
    let entries = stores.groups.read(id, 0, 1000).await.unwrap();
    let text = |entry: &GroupEntry| String::from_utf8(entry.content.to_vec()).unwrap();
    entries.iter().map(|entry| (entry.seq, text(entry))).collect()
}

pub(super) async fn reads_back_what_was_made(stores: &Stores) {
    let groups = &stores.groups;
    let mut new = group("g", &["b@d", "a@d"]);
    let private = NewGroupEntry { to: Some("a@d".into()), message_id: None, ..entry("b@d", "psst") };
    new.entries.push(private);
    groups.create(new).await.unwrap();
    let found = groups.load("g").await.unwrap().unwrap();
    let head = found.head;
    assert_eq!((&*head.id, &*head.contribution_id, head.revision, head.last), ("g", "thread-g", 1, 2));
    assert_eq!(head.data, "state");
    assert_eq!(found.members, [member("a@d", true), member("b@d", true)]);
    let entries = groups.read("g", 0, 10).await.unwrap();
    assert_eq!((entries[0].seq, &*entries[0].from, &entries[0].to), (1, "", &None));
    assert_eq!(
        entries[1],
        GroupEntry {
            seq: 2,
            from: "b@d".into(),
            to: Some("a@d".into()),
            message_id: None,
            at_ms: 1_700_000_000_123,
            content: Bytes::from_static(b"psst"),
        }
    );
    assert_eq!(groups.find("thread-g").await.unwrap().as_deref(), Some("g"));
    assert_eq!(groups.find("thread-x").await.unwrap(), None);
    assert!(groups.load("x").await.unwrap().is_none());
    assert_eq!(groups.read("x", 0, 10).await.unwrap(), []);
}

pub(super) async fn of_two_that_create_one_thread_one_is_told_of_the_other(stores: &Stores) {
    let one = |n: u32| {
        let new = NewGroup { contribution_id: "same".into(), ..group(&format!("g{n}"), &["a@d"]) };
        async move { stores.groups.create(new).await }
    };
    let results = futures_util::future::join_all((0..8).map(one)).await;
    let winner = stores.groups.find("same").await.unwrap().unwrap();
    for (n, result) in results.into_iter().enumerate() {
        match result {
            Ok(()) => assert_eq!(*winner, *format!("g{n}")),
            Err(GroupError::Exists(id)) => assert_eq!(id, winner),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(stores.groups.of_user("a@d").await.unwrap(), [winner]);
}

pub(super) async fn a_change_needs_the_revision_that_it_was_computed_from(stores: &Stores) {
    let groups = &stores.groups;
    groups.create(group("g", &["a@d", "b@d"])).await.unwrap();
    let mut next = change("g", 1, 1);
    next.members = vec![member("c@d", true), member("b@d", false)];
    next.entries = vec![entry("", "c came"), entry("", "b left")];
    assert_eq!(groups.change(next.clone()).await.unwrap(), 3);
    // The same again, with entries that must not get in.
    assert!(matches!(groups.change(next).await, Err(GroupError::Changed)));
    let found = groups.load("g").await.unwrap().unwrap();
    assert_eq!((found.head.revision, found.head.last, &found.head.data[..]), (2, 3, &b"state 1"[..]));
    assert_eq!(found.members, [member("a@d", true), member("b@d", false), member("c@d", true)]);
    let expected = [(1, "made".to_owned()), (2, "c came".to_owned()), (3, "b left".to_owned())];
    assert_eq!(log(stores, "g").await, expected);
    assert!(matches!(groups.change(change("x", 1, 1)).await, Err(GroupError::Unknown)));
    // Of many at once one gets through.
    let all = (0..8).map(|_| groups.change(change("g", 2, 1)));
    let results = futures_util::future::join_all(all).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
}

pub(super) async fn an_old_token_writes_nothing(stores: &Stores) {
    let groups = &stores.groups;
    groups.create(group("g", &["a@d"])).await.unwrap();
    // Held until 1000 by another.
    assert_eq!(groups.claim("g", lease("node2", 2000), 999).await.unwrap(), None);
    assert_eq!(groups.claim("g", lease("node2", 2000), 1000).await.unwrap(), Some(2));
    assert!(matches!(groups.append("g", 1, vec![once("a@d", "late")]).await, Err(GroupError::Fenced)));
    assert!(matches!(groups.change(change("g", 1, 1)).await, Err(GroupError::Fenced)));
    assert!(matches!(groups.remove("g", 1).await, Err(GroupError::Fenced)));
    let held = groups.renew(vec![("g".into(), 1), ("g".into(), 2), ("x".into(), 1)], 3000).await;
    assert!(held.unwrap().ends_with(&[false]));
    assert_eq!(log(stores, "g").await, [(1, "made".to_owned())]);
    // What was refused was not marked as seen either.
    assert_eq!(groups.append("g", 2, vec![once("a@d", "late")]).await.unwrap(), [Some(2)]);
    // The same owner, started anew, is another.
    assert_eq!(groups.claim("g", lease("node2", 2000), 0).await.unwrap(), Some(3));
    assert!(matches!(groups.append("g", 2, vec![entry("a@d", "x")]).await, Err(GroupError::Fenced)));
    groups.release("g", 3).await.unwrap();
    assert_eq!(groups.claim("g", lease("node1", 9000), 0).await.unwrap(), Some(4));
    assert!(matches!(groups.claim("x", lease("node1", 9000), 0).await, Err(GroupError::Unknown)));
}

pub(super) async fn sequences_have_no_gaps(stores: &Stores) {
    let groups = &stores.groups;
    groups.create(group("g", &["a@d"])).await.unwrap();
    groups.create(group("h", &["a@d"])).await.unwrap();
    let one = |n: u32| async move {
        let entries = vec![once("a@d", &format!("{n}")), once("a@d", "same"), entry("a@d", &format!("{n}+"))];
        (n, groups.append(if n.is_multiple_of(2) { "g" } else { "h" }, 1, entries).await.unwrap())
    };
    let written = futures_util::future::join_all((0..40).map(one)).await;
    assert_eq!(written.iter().filter(|(_, seqs)| seqs[1].is_some()).count(), 1, "of a repeated message one is kept");
    for (id, parity) in [("g", 0), ("h", 1)] {
        let log = log(stores, id).await;
        assert!(log.iter().enumerate().all(|(at, (seq, _))| *seq == at as u64 + 1), "{log:?}");
        for (n, seqs) in written.iter().filter(|(n, _)| n % 2 == parity) {
            let text = |seq: Option<u64>| log[seq.unwrap() as usize - 1].1.clone();
            assert_eq!((text(seqs[0]), text(seqs[2])), (n.to_string(), format!("{n}+")));
            assert!(seqs[0] < seqs[2]);
        }
        assert_eq!(stores.groups.load(id).await.unwrap().unwrap().head.last, log.len() as u64);
    }
    let page = groups.read("g", 5, 3).await.unwrap();
    assert_eq!(page.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [6, 7, 8]);
    // Numbers of what was trimmed do not come back.
    let last = groups.load("g").await.unwrap().unwrap().head.last;
    groups.trim("g", last).await.unwrap();
    assert_eq!(log(stores, "g").await, []);
    assert_eq!(groups.append("g", 1, vec![entry("a@d", "next")]).await.unwrap(), [Some(last + 1)]);
    assert!(log(stores, "h").await.len() > 10);
}

pub(super) async fn cursors_move_forward_only(stores: &Stores) {
    let groups = &stores.groups;
    groups.create(group("g", &["a@d", "b@d"])).await.unwrap();
    let all = vec![cursor("g", "a@d", "phone", 5), cursor("g", "a@d", "phone", 3), cursor("g", "b@d", "desk", 1)];
    groups.save_cursors(all).await.unwrap();
    groups.save_cursors(vec![cursor("g", "a@d", "phone", 4), cursor("x", "a@d", "phone", 9)]).await.unwrap();
    let expected = [cursor("g", "a@d", "phone", 5), cursor("g", "b@d", "desk", 1)];
    assert_eq!(groups.cursors("g").await.unwrap(), expected);
    assert_eq!(groups.cursors("x").await.unwrap(), []);
    // Who leaves has none any more.
    let next = GroupChange { members: vec![member("a@d", false)], ..change("g", 1, 1) };
    groups.change(next).await.unwrap();
    assert_eq!(groups.cursors("g").await.unwrap(), expected[1..]);
}

pub(super) async fn a_user_has_the_groups_that_he_is_in(stores: &Stores) {
    let groups = &stores.groups;
    for n in 0..5 {
        groups.create(group(&format!("g{n}"), if n % 2 == 0 { &["a@d", "b@d"] } else { &["b@d"] })).await.unwrap();
    }
    let ids = |of: &[u32]| of.iter().map(|n| format!("g{n}").into()).collect::<Vec<Box<str>>>();
    assert_eq!(groups.of_user("a@d").await.unwrap(), ids(&[0, 2, 4]));
    let next = GroupChange { members: vec![member("a@d", false)], ..change("g2", 1, 1) };
    groups.change(next).await.unwrap();
    groups.remove("g4", 1).await.unwrap();
    assert_eq!(groups.of_user("a@d").await.unwrap(), ids(&[0]));
    assert_eq!(groups.of_user("b@d").await.unwrap(), ids(&[0, 1, 2, 3]));
    assert_eq!(groups.of_user("x@d").await.unwrap(), ids(&[]));
    let next = GroupChange { members: vec![member("a@d", true)], ..change("g2", 2, 1) };
    groups.change(next).await.unwrap();
    assert_eq!(groups.of_user("a@d").await.unwrap(), ids(&[0, 2]));
    // A removed one is gone whole, and its thread is free.
    assert!(groups.load("g4").await.unwrap().is_none());
    assert_eq!(log(stores, "g4").await, []);
    groups.create(group("g4", &["c@d"])).await.unwrap();
    assert_eq!(log(stores, "g4").await, [(1, "made".to_owned())]);
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = groups.list(all.last().map(String::as_str), 2).await.unwrap();
        all.extend(page.iter().map(|head| head.id.to_string()));
        if page.len() < 2 {
            break;
        }
    }
    all.sort();
    assert!(all.iter().map(|id| &**id).eq(ids(&[0, 1, 2, 3, 4]).iter().map(|id| &**id)), "{all:?}");
}

pub(super) async fn old_entries_go(stores: &Stores) {
    let groups = &stores.groups;
    groups.create(group("g", &["a@d"])).await.unwrap();
    let at = |n: u64| NewGroupEntry { at_ms: 1_700_000_001_000 + n, ..entry("a@d", &n.to_string()) };
    groups.append("g", 1, (0..30).map(at).collect()).await.unwrap();
    let mut gone = 0;
    loop {
        let some = groups.sweep(1_700_000_001_020, 7).await.unwrap();
        assert!(some <= 7);
        if some == 0 {
            break;
        }
        gone += some;
    }
    // Those before 20, and what was said when the group was made.
    assert_eq!(gone, 21);
    assert_eq!(groups.read("g", 0, 100).await.unwrap().iter().map(|entry| entry.seq).min(), Some(22));
    assert_eq!(groups.append("g", 1, vec![entry("a@d", "next")]).await.unwrap(), [Some(32)]);
}

pub(super) async fn ten_thousand_members(stores: &Stores) {
    let users: Vec<String> = (0..10_000).map(|n| format!("u{n:05}@d")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    stores.groups.create(group("g", &names)).await.unwrap();
    let found = stores.groups.load("g").await.unwrap().unwrap();
    assert_eq!(found.members.len(), 10_000);
    assert_eq!(stores.groups.of_user("u07777@d").await.unwrap(), [Box::from("g")]);
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize, Vec<u8>, bool),
    /// Group, whether from the current revision, who becomes what.
    Change(usize, bool, Vec<(u8, bool)>),
    Claim(usize, u8, u64),
    Cursors(Vec<(usize, u8, u64)>),
    Trim(usize, u64),
    Remove(usize),
}

#[derive(Debug)]
struct Model {
    revision: u64,
    token: u64,
    owner: u8,
    until: u64,
    last: u64,
    log: BTreeMap<u64, u8>,
    members: BTreeSet<u8>,
    cursors: BTreeMap<u8, u64>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let of = || 0..3usize;
    prop::collection::vec(
        prop_oneof![
            5 => (of(), prop::collection::vec(any::<u8>(), 1..8), prop::bool::weighted(0.9))
                .prop_map(|(group, texts, current)| Step::Append(group, texts, current)),
            3 => (of(), prop::bool::weighted(0.8), prop::collection::vec((0..5u8, any::<bool>()), 0..4))
                .prop_map(|(group, current, who)| Step::Change(group, current, who)),
            2 => (of(), 0..3u8, 0..100u64).prop_map(|(group, owner, now)| Step::Claim(group, owner, now)),
            2 => prop::collection::vec((of(), 0..5u8, 0..40u64), 1..6).prop_map(Step::Cursors),
            1 => (of(), 0..40u64).prop_map(|(group, upto)| Step::Trim(group, upto)),
            1 => of().prop_map(Step::Remove),
        ],
        1..60,
    )
}

pub(super) async fn random_operations_agree_with_the_model(stores: &Stores) {
    let seed = std::env::var("CHAPPE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64));
    let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let steps = steps().new_tree(&mut TestRunner::new(config)).unwrap().current();
    let mut models: BTreeMap<usize, Model> = BTreeMap::new();
    let (id, groups) = (|n: usize| format!("g{n}"), &stores.groups);
    for (at, step) in steps.iter().enumerate() {
        let context = format!("CHAPPE_SEED={seed}, step {at} {step:?}");
        let n = match step {
            Step::Append(n, ..) | Step::Change(n, ..) | Step::Claim(n, ..) | Step::Trim(n, _) | Step::Remove(n) => *n,
            Step::Cursors(list) => list[0].0,
        };
        if let Entry::Vacant(place) = models.entry(n) {
            let new = NewGroup { lease: lease("0", 50), ..group(&id(n), &["m0@d"]) };
            groups.create(new).await.unwrap();
            let model = Model {
                revision: 1,
                token: 1,
                owner: 0,
                until: 50,
                last: 1,
                log: BTreeMap::from([(1, 0)]),
                members: BTreeSet::from([0]),
                cursors: BTreeMap::new(),
            };
            place.insert(model);
        }
        let model = models.get_mut(&n).unwrap();
        match step {
            Step::Append(_, texts, current) => {
                let token = model.token - u64::from(!current);
                let entries = texts.iter().map(|text| entry("m0@d", &text.to_string())).collect();
                let result = groups.append(&id(n), token, entries).await;
                if *current {
                    let seqs: Vec<_> = (0..texts.len() as u64).map(|at| Some(model.last + 1 + at)).collect();
                    assert_eq!(result.unwrap(), seqs, "{context}");
                    model.log.extend(texts.iter().enumerate().map(|(at, text)| (model.last + 1 + at as u64, *text)));
                    model.last += texts.len() as u64;
                } else {
                    assert!(matches!(result, Err(GroupError::Fenced)), "{context}");
                }
            }
            Step::Change(_, current, who) => {
                let members = who.iter().map(|(who, active)| member(&format!("m{who}@d"), *active)).collect();
                let seen = model.revision + u64::from(!current);
                let next = GroupChange { members, ..change(&id(n), seen, model.token) };
                let result = groups.change(next).await;
                if *current {
                    assert_eq!(result.unwrap(), model.last, "{context}");
                    model.revision += 1;
                    // The last word on each counts.
                    for (who, active) in who {
                        match active {
                            true => drop(model.members.insert(*who)),
                            false => drop(model.members.remove(who)),
                        }
                        if !active {
                            model.cursors.remove(who);
                        }
                    }
                } else {
                    assert!(matches!(result, Err(GroupError::Changed)), "{context}");
                }
            }
            Step::Claim(_, owner, now) => {
                let claimed = groups.claim(&id(n), lease(&owner.to_string(), now + 50), *now).await.unwrap();
                let free = model.until <= *now || model.owner == *owner;
                assert_eq!(claimed, free.then_some(model.token + 1), "{context}");
                if free {
                    (model.token, model.owner, model.until) = (model.token + 1, *owner, now + 50);
                }
            }
            Step::Cursors(list) => {
                let of = |(n, who, upto): &(usize, u8, u64)| cursor(&id(*n), &format!("m{who}@d"), "phone", *upto);
                groups.save_cursors(list.iter().map(of).collect()).await.unwrap();
                for (n, who, upto) in list {
                    if let Some(model) = models.get_mut(n) {
                        let cursor = model.cursors.entry(*who).or_default();
                        *cursor = (*upto).max(*cursor);
                    }
                }
            }
            Step::Trim(_, upto) => {
                groups.trim(&id(n), *upto).await.unwrap();
                model.log.retain(|seq, _| seq > upto);
            }
            Step::Remove(_) => {
                groups.remove(&id(n), model.token).await.unwrap();
                models.remove(&n);
            }
        }
        for (n, model) in &models {
            let head = groups.load(&id(*n)).await.unwrap().unwrap().head;
            assert_eq!((head.revision, head.last), (model.revision, model.last), "{context}");
            let log: Vec<u64> = log(stores, &id(*n)).await.into_iter().map(|(seq, _)| seq).collect();
            assert!(log.iter().eq(model.log.keys()), "{context}: {log:?}");
            let cursors = groups.cursors(&id(*n)).await.unwrap();
            let cursors = cursors.iter().map(|cursor| (cursor.user[1..2].parse::<u8>().unwrap(), cursor.upto));
            assert!(cursors.eq(model.cursors.iter().map(|(who, upto)| (*who, *upto))), "{context}");
        }
        for who in 0..5u8 {
            let mine = groups.of_user(&format!("m{who}@d")).await.unwrap();
            let expected = models.iter().filter(|(_, model)| model.members.contains(&who)).map(|(n, _)| id(*n));
            assert!(mine.iter().map(|id| id.to_string()).eq(expected), "{context}: {mine:?}");
        }
    }
    if let Some(n) = models.keys().next() {
        assert!(matches!(
            groups.create(group(&id(*n), &[])).await,
            Err(GroupError::Exists(_)) | Err(GroupError::Store(StoreError::Conflict))
        ));
    }
}
