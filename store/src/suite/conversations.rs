use bytes::Bytes;

use super::{message, queue::wanted};
use crate::{Conversation, ConversationId, Cursor, NewEntry, Outcome, Receipt, ReceiptState, Stores, Write};

pub(super) fn entry(users: &[&str], text: &str) -> NewEntry {
    let conversation = match users {
        [one, other] => ConversationId::of(one, other),
        _ => ConversationId::named("group"),
    };
    NewEntry {
        conversation,
        members: users.iter().map(|user| (*user).into()).collect(),
        author: users[0].into(),
        message_id: Some(format!("id-{text}").into()),
        at_ms: 1_700_000_000_123,
        content: Bytes::from(text.to_owned()),
        once: None,
    }
}

async fn add(stores: &Stores, entries: Vec<NewEntry>) -> Vec<u64> {
    let written = stores.queue.write(Write { entries, ..Write::default() }).await.unwrap();
    written.entries.into_iter().map(Option::unwrap).collect()
}

async fn texts(stores: &Stores, user: &str, conversation: ConversationId, from: Cursor) -> Vec<String> {
    let page = stores.conversations.page(user, conversation, from, 1_000).await.unwrap();
    assert!(!page.more);
    page.entries.iter().map(|entry| String::from_utf8(entry.content.to_vec()).unwrap()).collect()
}

/// Last entries and members, as a list shows them.
fn shown(list: &[Conversation]) -> Vec<(String, Vec<&str>)> {
    let one = |conversation: &Conversation| String::from_utf8(conversation.last.content.to_vec()).unwrap();
    list.iter().map(|c| (one(c), c.members.iter().map(|member| &**member).collect())).collect()
}

pub(super) async fn pages_both_ways(stores: &Stores) {
    let batch: Vec<NewEntry> = (0..100).map(|n| entry(&["a@d", "b@d"], &n.to_string())).collect();
    let full = batch[7].clone();
    let ids = add(stores, batch).await;
    assert!(ids.is_sorted_by(|a, b| a < b) && ids[0] > 0);
    add(stores, (0..30).map(|n| entry(&["a@d", "c@d"], &format!("other {n}"))).collect()).await;
    let conversation = ConversationId::of("b@d", "a@d");
    let number = |entry: &crate::Entry| std::str::from_utf8(&entry.content).unwrap().parse::<usize>().unwrap();
    for user in ["a@d", "b@d"] {
        // Forward from the beginning, backward from the end, 30 at a time; each once.
        let (mut forward, mut after) = (Vec::new(), 0);
        loop {
            let page = stores.conversations.page(user, conversation, Cursor::After(after), 30).await.unwrap();
            forward.extend(page.entries.iter().map(number));
            after = page.entries.last().unwrap().id;
            if !page.more {
                break;
            }
        }
        assert_eq!(forward, (0..100).collect::<Vec<_>>());
        let (mut backward, mut from) = (Vec::new(), Cursor::Newest);
        loop {
            let page = stores.conversations.page(user, conversation, from, 25).await.unwrap();
            backward.extend(page.entries.iter().map(number));
            from = Cursor::Before(page.entries.last().unwrap().id);
            if !page.more {
                break;
            }
        }
        assert_eq!(backward, (0..100).rev().collect::<Vec<_>>());
    }
    let page = stores.conversations.page("a@d", conversation, Cursor::After(ids[6]), 1).await.unwrap();
    let [found] = &page.entries[..] else { panic!("{page:?}") };
    assert!(page.more && found.id == ids[7] && found.conversation == conversation);
    assert_eq!((&found.author, &found.message_id, found.at_ms), (&full.author, &full.message_id, full.at_ms));
    assert_eq!(found.content, full.content);
    for (user, from) in [("c@d", Cursor::Newest), ("a@d", Cursor::After(ids[99])), ("a@d", Cursor::Before(ids[0]))] {
        assert!(texts(stores, user, conversation, from).await.is_empty(), "{user} {from:?}");
    }
}

pub(super) async fn no_call_gives_more_than_a_thousand(stores: &Stores) {
    add(stores, (0..1_100).map(|n| entry(&["a@d", "b@d"], &n.to_string())).collect()).await;
    let conversation = ConversationId::of("b@d", "a@d");
    let page = stores.conversations.page("a@d", conversation, Cursor::Newest, usize::MAX).await.unwrap();
    assert!(page.more && page.entries.len() == 1_000);
    assert_eq!(stores.conversations.sweep(3_000_000_000_000, usize::MAX).await.unwrap(), 1_000);
}

pub(super) async fn lists_by_the_last_entry(stores: &Stores) {
    for n in 0..25 {
        add(stores, vec![entry(&["a@d", &format!("u{n:02}@d")], &format!("first {n}"))]).await;
    }
    add(stores, vec![entry(&["a@d", "u07@d"], "again")]).await;
    add(stores, vec![entry(&["x@d", "y@d"], "not theirs")]).await;
    let all = stores.conversations.list("a@d", None, 1_000).await.unwrap();
    let expected: Vec<String> = std::iter::once("again".to_owned())
        .chain((0..25).rev().filter(|n| *n != 7).map(|n| format!("first {n}")))
        .collect();
    assert_eq!(shown(&all).iter().map(|(text, _)| text.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(shown(&all)[0].1, ["a@d", "u07@d"]);
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page = stores.conversations.list("a@d", before, 10).await.unwrap();
        before = page.last().map(|conversation| conversation.last.id);
        paged.extend(page);
        if before.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    assert_eq!(stores.conversations.list("u03@d", None, 10).await.unwrap().len(), 1);
    assert_eq!(stores.conversations.list("nobody@d", None, 10).await.unwrap(), []);
}

pub(super) async fn one_write_with_the_queue(stores: &Stores) {
    let receipt =
        |state| Receipt { message_id: "id-hello".into(), sender: "a@d".into(), recipient: "b@d".into(), state };
    let write = || Write {
        append: vec![message("b@d", None, "hello")],
        entries: vec![
            NewEntry { once: Some(receipt(ReceiptState::Stored)), ..entry(&["a@d", "b@d"], "hello") },
            entry(&["a@d", "c@d"], "more"),
        ],
        ..Write::default()
    };
    let written = stores.queue.write(write()).await.unwrap();
    assert!(written.ids[0].is_some() && matches!(written.entries[..], [Some(_), Some(_)]));
    // A repeated message has one entry.
    let written = stores.queue.write(write()).await.unwrap();
    assert!(matches!(written.entries[..], [None, Some(_)]));
    assert_eq!(texts(stores, "b@d", ConversationId::of("a@d", "b@d"), Cursor::Newest).await, ["hello"]);
    let queued = stores.queue.pending(&[wanted("b@d", None, 0)], 10).await.unwrap().remove(0);
    let settle = queued.iter().map(|message| message.settled(Outcome::Delivered, None, 200, 1)).collect();
    let entries = vec![entry(&["a@d", "b@d"], "with the settlement")];
    let written = stores.queue.write(Write { settle, entries, ..Write::default() }).await.unwrap();
    assert_eq!((written.settled, written.entries.len()), (vec![true, true], 1));
    let found = texts(stores, "a@d", ConversationId::of("a@d", "b@d"), Cursor::After(0)).await;
    assert_eq!(found, ["hello", "with the settlement"]);
}

pub(super) async fn members_come_later(stores: &Stores) {
    add(stores, vec![entry(&["a@d", "b@d", "c@d"], "1")]).await;
    add(stores, vec![entry(&["a@d", "b@d", "c@d", "e@d"], "2")]).await;
    add(stores, vec![entry(&["a@d"], "3")]).await;
    let list = stores.conversations.list("e@d", None, 10).await.unwrap();
    assert_eq!(shown(&list), [("3".to_owned(), vec!["a@d", "b@d", "c@d", "e@d"])]);
}

pub(super) async fn each_erases_for_himself(stores: &Stores) {
    let conversation = ConversationId::of("a@d", "b@d");
    let conversations = &stores.conversations;
    add(stores, (0..40).map(|n| entry(&["a@d", "b@d"], &n.to_string())).collect()).await;
    assert!(conversations.erase("a@d", conversation).await.unwrap());
    assert!(!conversations.erase("c@d", conversation).await.unwrap());
    assert!(texts(stores, "a@d", conversation, Cursor::After(0)).await.is_empty());
    assert_eq!(conversations.list("a@d", None, 10).await.unwrap(), []);
    assert_eq!(texts(stores, "b@d", conversation, Cursor::After(0)).await.len(), 40);
    // What comes after it is seen by both.
    add(stores, vec![entry(&["b@d", "a@d"], "later")]).await;
    assert_eq!(texts(stores, "a@d", conversation, Cursor::Newest).await, ["later"]);
    assert_eq!(conversations.list("a@d", None, 10).await.unwrap().len(), 1);
    assert!(conversations.erase("b@d", conversation).await.unwrap());
    assert_eq!(texts(stores, "a@d", conversation, Cursor::Newest).await, ["later"]);
    // Of what is left, one; the other forty were seen by nobody.
    assert_eq!(conversations.sweep(3_000_000_000_000, 100).await.unwrap(), 1);
    assert_eq!(conversations.list("a@d", None, 10).await.unwrap(), []);
}

pub(super) async fn a_user_is_erased_whole(stores: &Stores) {
    for n in 0..20 {
        add(stores, vec![entry(&["a@d", &format!("u{n}@d")], "hello"), entry(&["b@d", &format!("u{n}@d")], "hello")])
            .await;
    }
    assert_eq!(stores.conversations.erase_user("a@d").await.unwrap(), 20);
    assert_eq!(stores.conversations.list("a@d", None, 100).await.unwrap(), []);
    assert_eq!(stores.conversations.list("b@d", None, 100).await.unwrap().len(), 20);
    assert_eq!(stores.conversations.list("u3@d", None, 100).await.unwrap().len(), 2);
    // Who comes with the same name finds nothing of before.
    add(stores, vec![entry(&["u3@d", "a@d"], "new")]).await;
    assert_eq!(texts(stores, "a@d", ConversationId::of("a@d", "u3@d"), Cursor::Newest).await, ["new"]);
    assert_eq!(texts(stores, "u3@d", ConversationId::of("a@d", "u3@d"), Cursor::After(0)).await, ["hello", "new"]);
}

pub(super) async fn the_oldest_go_first(stores: &Stores) {
    let ids = add(stores, (0..50).map(|n| entry(&["a@d", &format!("u{}@d", n % 5)], &n.to_string())).collect()).await;
    assert_eq!(stores.conversations.sweep(1_000, 100).await.unwrap(), 0);
    assert_eq!(stores.conversations.sweep(3_000_000_000_000, 20).await.unwrap(), 20);
    let found = texts(stores, "u0@d", ConversationId::of("a@d", "u0@d"), Cursor::After(0)).await;
    assert_eq!(found, ["20", "25", "30", "35", "40", "45"]);
    assert_eq!(stores.conversations.list("a@d", None, 100).await.unwrap()[4].last.id, ids[45]);
    assert_eq!(stores.conversations.sweep(3_000_000_000_000, 100).await.unwrap(), 30);
    assert_eq!(stores.conversations.sweep(3_000_000_000_000, 100).await.unwrap(), 0);
    assert_eq!(stores.conversations.list("a@d", None, 100).await.unwrap(), []);
    // It begins anew.
    add(stores, vec![entry(&["a@d", "u0@d"], "new")]).await;
    assert_eq!(texts(stores, "u0@d", ConversationId::of("a@d", "u0@d"), Cursor::After(0)).await, ["new"]);
}

/// More than are sorted at a time, read while they are being sorted.
pub(super) async fn nothing_is_missed_while_entries_find_their_places(stores: &Stores) {
    let (users, rounds) = (97, 400);
    let writer = {
        let stores = stores.clone();
        tokio::spawn(async move {
            for round in 0..rounds {
                let batch = (0..users).map(|n| entry(&["a@d", &format!("u{n}@d")], &round.to_string()));
                add(&stores, batch.collect()).await;
            }
        })
    };
    let conversation = ConversationId::of("a@d", "u13@d");
    let (mut after, mut found) = (0, Vec::new());
    while found.len() < rounds {
        let page = stores.conversations.page("u13@d", conversation, Cursor::After(after), 50).await.unwrap();
        found.extend(page.entries.iter().map(|entry| String::from_utf8(entry.content.to_vec()).unwrap()));
        after = page.entries.last().map_or(after, |entry| entry.id);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    let expected: Vec<String> = (0..rounds).map(|round| round.to_string()).collect();
    assert_eq!(found, expected);
    assert_eq!(texts(stores, "u13@d", conversation, Cursor::After(0)).await, expected);
    assert_eq!(stores.conversations.list("a@d", None, 1_000).await.unwrap().len(), users);
}
