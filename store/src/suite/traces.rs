use bytes::Bytes;

use super::groups::{group, lease};
use super::{conversations, message, queue::wanted};
use crate::{
    ConversationId, Cursor, Event, Fate, GroupCursor, GroupErasure, GroupError, GroupMember, NewGroupEntry, NewMessage,
    Outcome, Stores, Traced, Write,
};

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

pub(super) async fn what_waits_is_found_by_any_name_in_it(stores: &Stores) {
    let by = |sender: &str, recipient: &str, text: &str| NewMessage {
        sender: sender.into(),
        headers: Bytes::from_static(b"Subject: none"),
        ..message(recipient, None, text)
    };
    let written = stores
        .queue
        .append(vec![
            by("canary@d", "bob@d", "1"),
            by("bob@d", "carol@d", "2"),
            by("bob@d", "bob@d", "to +15550009 from here"),
            by("carol@d", "canary@d", "4"),
        ])
        .await
        .unwrap();
    let ids: Vec<u64> = written.into_iter().flatten().collect();
    let names = names(&["canary@d", "+15550009"]);
    let found = async |after, limit| {
        let found = stores.traces.queued_with(&names, after, limit).await.unwrap();
        found.iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(found(0, 10).await, [ids[0], ids[2], ids[3]]);
    assert_eq!(found(ids[0], 1).await, [ids[2]]);
    assert_eq!(found(ids[3], 10).await, [0; 0]);
}

pub(super) async fn a_member_was_never_there(stores: &Stores) {
    let groups = &stores.groups;
    groups.create(group("g1", &["alice@d", "canary@d"])).await.unwrap();
    groups.create(group("g2", &["alice@d", "bob@d"])).await.unwrap();
    groups.create(group("g3", &["alice@d", "bob@d"])).await.unwrap();
    let entry = |from: &str, text: &str| NewGroupEntry { to: None, ..super::groups::entry(from, text) };
    groups.append("g1", 1, vec![entry("canary@d", "one"), entry("alice@d", "two")]).await.unwrap();
    // Somebody who was a member once, and whose record is forgotten.
    groups.append("g3", 1, vec![entry("canary@d", "three")]).await.unwrap();
    let cursor = GroupCursor { group: "g1".into(), user: "canary@d".into(), device: "1".into(), upto: 2 };
    groups.save_cursors(vec![cursor]).await.unwrap();
    let names = names(&["canary@d"]);
    assert_eq!(stores.traces.groups_with(&names).await.unwrap(), ["g1".into(), "g3".into()] as [Box<str>; 2]);

    let erasure = |id: &str, seen, token, entries: &[u64]| GroupErasure {
        id: id.into(),
        token,
        users: names.clone(),
        seen,
        data: Bytes::from_static(b"without"),
        members: vec![GroupMember { user: "alice@d".into(), active: true, data: Bytes::from_static(b"new") }],
        entries: entries.to_vec(),
        blank: Bytes::from_static(b"blank"),
    };
    assert!(matches!(stores.traces.erase_member(erasure("g1", 1, 9, &[])).await, Err(GroupError::Fenced)));
    assert!(matches!(stores.traces.erase_member(erasure("g1", 7, 1, &[])).await, Err(GroupError::Changed)));
    assert!(matches!(stores.traces.erase_member(erasure("no", 1, 1, &[])).await, Err(GroupError::Unknown)));
    stores.traces.erase_member(erasure("g1", 1, 1, &[2])).await.unwrap();
    stores.traces.erase_member(erasure("g3", 1, 1, &[2])).await.unwrap();

    let left = groups.load("g1").await.unwrap().unwrap();
    assert_eq!((left.head.revision, left.head.last, left.members.len()), (2, 3, 1));
    assert_eq!(&left.head.data[..], b"without");
    assert_eq!((&*left.members[0].user, &left.members[0].data[..]), ("alice@d", &b"new"[..]));
    assert_eq!(groups.cursors("g1").await.unwrap(), []);
    assert_eq!(groups.of_user("canary@d").await.unwrap(), [] as [Box<str>; 0]);
    let log = groups.read("g1", 0, 10).await.unwrap();
    let shown: Vec<(u64, &str, &[u8])> = log.iter().map(|e| (e.seq, &*e.from, &e.content[..])).collect();
    assert_eq!(shown, [(1, "", &b"made"[..]), (2, "", b"blank"), (3, "alice@d", b"two")]);
    assert_eq!(log[1].message_id, None);
    assert_eq!(stores.traces.groups_with(&names).await.unwrap(), [] as [Box<str>; 0]);
    // The group goes on.
    let token = groups.claim("g1", lease("node1", 2000), 0).await.unwrap().unwrap();
    assert_eq!(groups.append("g1", token, vec![entry("alice@d", "four")]).await.unwrap(), [Some(4)]);
}

pub(super) async fn conversations_and_fates_go(stores: &Stores) {
    let group = ConversationId::named("g");
    let in_group = |author: &str, text: &str| crate::NewEntry {
        conversation: group,
        author: author.into(),
        ..conversations::entry(&["alice@d", "bob@d", "canary@d"], text)
    };
    let entries = vec![
        conversations::entry(&["alice@d", "canary@d"], "pair"),
        conversations::entry(&["alice@d", "bob@d"], "others"),
        in_group("canary@d", "mine"),
        in_group("bob@d", "his"),
    ];
    stores.queue.write(Write { entries, ..Write::default() }).await.unwrap();
    let ids = stores.queue.append(vec![message("canary@d", None, "m"), message("bob@d", None, "n")]).await.unwrap();
    let waiting = stores.queue.pending(&[wanted("canary@d", None, 0)], 9).await.unwrap().remove(0);
    stores.queue.settle(vec![waiting[0].settled(Outcome::Refused, None, 404, 1)]).await.unwrap();
    let fate = |recipient: &str| Fate {
        message_id: Some("relayed".into()),
        call_id: "relayed".into(),
        recipient: recipient.into(),
        device: None,
        event: Event::Delivered,
        detail: 200,
        at_ms: 5,
    };
    stores.fates.record(vec![fate("canary@d"), fate("bob@d")]).await.unwrap();
    let before = stores.fates.counts().await.unwrap();

    let names = names(&["canary@d", "+15550009"]);
    let traced = stores.traces.erase_traces(&names).await.unwrap();
    assert_eq!(traced, Traced { conversations: 2, entries: 2, fates: 3 });
    assert_eq!(stores.traces.erase_traces(&names).await.unwrap(), Traced::default());

    let shown = async |user: &str, conversation| {
        let page = stores.conversations.page(user, conversation, Cursor::After(0), 9).await.unwrap();
        page.entries.iter().map(|entry| String::from_utf8_lossy(&entry.content).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown("alice@d", ConversationId::of("alice@d", "canary@d")).await, [""; 0]);
    assert_eq!(shown("alice@d", ConversationId::of("alice@d", "bob@d")).await, ["others"]);
    assert_eq!(shown("bob@d", group).await, ["his"]);
    assert_eq!(shown("canary@d", group).await, [""; 0]);
    assert!(stores.fates.lookup("id-m").await.unwrap().is_empty());
    assert_eq!(stores.fates.lookup("id-n").await.unwrap().len(), 1);
    let relayed = stores.fates.lookup("relayed").await.unwrap();
    assert_eq!(relayed.iter().map(|fate| &*fate.recipient).collect::<Vec<_>>(), ["bob@d"]);
    // What was counted stays counted, and what waits waits.
    assert_eq!(stores.fates.counts().await.unwrap(), before);
    assert!(ids[1].is_some() && before.balanced());
    // They begin anew.
    let entries = vec![conversations::entry(&["alice@d", "canary@d"], "again")];
    stores.queue.write(Write { entries, ..Write::default() }).await.unwrap();
    assert_eq!(shown("alice@d", ConversationId::of("alice@d", "canary@d")).await, ["again"]);
    stores.traces.scrub().await.unwrap();
    assert_eq!(shown("alice@d", ConversationId::of("alice@d", "bob@d")).await, ["others"]);
}

pub(super) async fn a_name_within_a_longer_one_is_left_alone(stores: &Stores) {
    let entries = vec![conversations::entry(&["alice@d", "big-canary@d"], "pair")];
    stores.queue.write(Write { entries, ..Write::default() }).await.unwrap();
    stores.queue.append(vec![message("big-canary@d", None, "m")]).await.unwrap();
    assert_eq!(stores.traces.erase_traces(&names(&["canary@d"])).await.unwrap(), Traced::default());
    assert_eq!(stores.fates.lookup("id-m").await.unwrap().len(), 1);
}
