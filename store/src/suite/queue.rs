use bytes::Bytes;

use super::message;
use super::model::queued;
use crate::{
    Counts, Depth, DeviceCopy, Event, Fate, NewMessage, Outcome, QueuedMessage, Receipt, ReceiptState, Stores, Wanted,
    Wants, Write,
};

pub(super) fn wanted(recipient: &str, device: Option<&str>, after: u64) -> Wanted {
    Wanted { recipient: recipient.into(), device: device.map(Into::into), after }
}

/// All that waits for a recipient.
async fn all(stores: &Stores, recipient: &str) -> Vec<QueuedMessage> {
    stores.queue.pending(&[wanted(recipient, None, 0)], 100_000).await.unwrap().remove(0)
}

fn texts(messages: &[QueuedMessage]) -> Vec<&str> {
    messages.iter().map(|message| std::str::from_utf8(&message.body).unwrap()).collect()
}

pub(super) async fn reads_back_what_was_appended(stores: &Stores) {
    let full = message("bob@d", Some("urn:uuid:x"), "hello");
    let bare = NewMessage {
        message_id: None,
        device: None,
        headers: Bytes::new(),
        body: Bytes::from([0, 255, 13, 10].repeat(5000)),
        wants: Wants::default(),
        // Longer than the index reads at first when the file is opened.
        sender: "s".repeat(2000).into(),
        ..message("bob@d", None, "x")
    };
    let ids = stores.queue.append(vec![full.clone(), bare.clone()]).await.unwrap();
    let expected: Vec<QueuedMessage> =
        [full, bare].into_iter().zip(ids).map(|(new, id)| queued(id.unwrap(), new)).collect();
    assert_eq!(all(stores, "bob@d").await, expected);
    assert_eq!(all(stores, "carol@d").await, []);
}

pub(super) async fn ids_rise_in_the_order_given(stores: &Stores) {
    let batch = (0..300).map(|n| message(&format!("u{}@d", n % 3), None, &n.to_string())).collect();
    let ids = stores.queue.append(batch).await.unwrap();
    assert!(ids.is_sorted_by(|a, b| a < b) && ids[0] > Some(0));
    let later = stores.queue.append(vec![message("u0@d", None, "later")]).await.unwrap();
    assert!(later[0] > ids[299]);
    let expected: Vec<String> = (0..300).step_by(3).map(|n| n.to_string()).chain(["later".into()]).collect();
    assert_eq!(texts(&all(stores, "u0@d").await), expected);
}

pub(super) async fn a_device_gets_its_own_and_those_for_any(stores: &Stores) {
    let batch = [(None, "1"), (Some("a"), "2"), (Some("b"), "3"), (None, "4")];
    let ids = stores.queue.append(batch.map(|(device, text)| message("u@d", device, text)).into()).await.unwrap();
    let second = ids[1].unwrap();
    for (device, after, limit, expected) in [
        (None, 0, 10, &["1", "2", "3", "4"][..]),
        (Some("a"), 0, 10, &["1", "2", "4"]),
        (Some("b"), second, 10, &["3", "4"]),
        (Some("new"), 0, 10, &["1", "4"]),
        (None, 0, 2, &["1", "2"]),
        (Some("b"), 0, 2, &["1", "3"]),
    ] {
        let found = stores.queue.pending(&[wanted("u@d", device, after)], limit).await.unwrap();
        assert_eq!(texts(&found[0]), expected, "{device:?} after {after}, at most {limit}");
    }
}

pub(super) async fn many_recipients_in_one_call(stores: &Stores) {
    let batch = (0..900).map(|n| message(&format!("u{}@d", n % 300), Some("a"), &n.to_string())).collect();
    stores.queue.append(batch).await.unwrap();
    let mut asked: Vec<_> = (0..300).map(|n| wanted(&format!("u{n}@d"), None, 0)).collect();
    // The same messages may be wanted twice in one call.
    asked.push(wanted("u7@d", Some("a"), 0));
    asked.push(wanted("nobody@d", None, 0));
    let found = stores.queue.pending(&asked, 2).await.unwrap();
    for (n, found) in found[..300].iter().enumerate() {
        assert_eq!(texts(found), [n.to_string(), (n + 300).to_string()]);
    }
    assert_eq!(found[300], found[7]);
    assert_eq!(found[301], []);
}

pub(super) async fn settled_once_by_whoever_comes_first(stores: &Stores) {
    stores.queue.append(vec![message("u@d", None, "1"), message("u@d", None, "2")]).await.unwrap();
    let queued = all(stores, "u@d").await;
    let first = queued[0].settled(Outcome::Delivered, Some("a"), 200, 5);
    // Twice in one call, and by many at once.
    assert_eq!(stores.queue.settle(vec![first.clone(), first]).await.unwrap(), [true, false]);
    let second = || stores.queue.settle(vec![queued[1].settled(Outcome::Refused, None, 403, 5)]);
    let answers = futures_util::future::join_all((0..10).map(|_| second())).await;
    assert_eq!(answers.iter().filter(|answer| answer.as_deref().unwrap() == [true]).count(), 1);
    let mut wrong = queued[0].settled(Outcome::Delivered, None, 200, 5);
    wrong.recipient = "v@d".into();
    assert_eq!(stores.queue.settle(vec![wrong]).await.unwrap(), [false]);
    assert_eq!(all(stores, "u@d").await, []);
    let expected = Counts { accepted: 2, delivered: 1, refused: 1, ..Counts::default() };
    assert_eq!(stores.fates.counts().await.unwrap(), expected);
}

pub(super) async fn settle_and_append_in_one_write(stores: &Stores) {
    stores.queue.append(vec![message("bob@d", None, "hello")]).await.unwrap();
    let queued = all(stores, "bob@d").await;
    let sent = Fate {
        message_id: queued[0].message_id.clone(),
        call_id: queued[0].call_id.clone(),
        recipient: "alice@d".into(),
        device: None,
        event: Event::ReceiptSent,
        detail: 202,
        at_ms: 1_700_000_000_999,
    };
    let written = stores
        .queue
        .write(Write {
            append: vec![message("alice@d", None, "receipt")],
            settle: vec![queued[0].settled(Outcome::Delivered, Some("a"), 200, 1_700_000_000_500)],
            fates: vec![sent.clone()],
            ..Write::default()
        })
        .await
        .unwrap();
    assert_eq!((written.ids.len(), written.settled), (1, vec![true]));
    assert_eq!(texts(&all(stores, "alice@d").await), ["receipt"]);
    let fates = stores.fates.lookup("id-hello").await.unwrap();
    assert_eq!(
        fates.iter().map(|fate| fate.event).collect::<Vec<_>>(),
        [Event::Stored, Event::Delivered, Event::ReceiptSent]
    );
    assert_eq!((fates[1].device.as_deref(), fates[1].detail), (Some("a"), 200));
    assert_eq!(fates[2], sent);
}

pub(super) async fn copies_take_the_place_of_what_is_settled(stores: &Stores) {
    let batch = ["1", "2", "3"].map(|text| message("u@d", None, text));
    stores.queue.append(batch.into()).await.unwrap();
    let queued = all(stores, "u@d").await;
    let copy = |of: usize, device| DeviceCopy {
        of: queued[of].id,
        message: message("u@d", Some(device), &format!("{} for {device}", of + 1)),
    };
    let settle = |of: usize| vec![queued[of].settled(Outcome::Delivered, Some("x"), 200, 5)];
    // The second is taken before the first.
    for (of, copies, expected) in [
        (1, vec![copy(1, "a"), copy(1, "b"), copy(0, "a")], [true, true, false]),
        (0, vec![copy(0, "b"), copy(0, "a"), copy(0, "c")], [true; 3]),
    ] {
        let write = Write { settle: settle(of), copies, ..Write::default() };
        let written = stores.queue.write(write.clone()).await.unwrap();
        assert_eq!(written.copies.iter().map(Option::is_some).collect::<Vec<_>>(), expected);
        // What is settled has no more copies.
        let written = stores.queue.write(write).await.unwrap();
        assert_eq!((written.settled, written.copies), (vec![false], vec![None; 3]));
    }
    let texts_for = async |device| {
        let found = stores.queue.pending(&[wanted("u@d", Some(device), 0)], 10).await.unwrap().remove(0);
        assert!(found.is_sorted_by_key(|message| message.id));
        found.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts_for("a").await, ["1 for a", "2 for a", "3"]);
    assert_eq!(texts_for("b").await, ["1 for b", "2 for b", "3"]);
    assert_eq!(texts_for("c").await, ["1 for c", "3"]);
    // They are messages like others.
    let later = stores.queue.append(vec![message("u@d", None, "4")]).await.unwrap();
    let waiting = all(stores, "u@d").await;
    assert_eq!(waiting.last().map(|message| message.id), later[0]);
    let settle = waiting.iter().map(|message| message.settled(Outcome::Delivered, None, 200, 6)).collect();
    assert_eq!(stores.queue.settle(settle).await.unwrap(), [true; 7]);
    let expected = Counts { accepted: 9, delivered: 9, ..Counts::default() };
    assert_eq!(stores.fates.counts().await.unwrap(), expected);
}

pub(super) async fn a_receipt_is_stored_once(stores: &Stores) {
    let receipt = Receipt {
        message_id: "id-hello".into(),
        sender: "alice@d".into(),
        recipient: "bob@d".into(),
        state: ReceiptState::Delivered,
    };
    let once = || NewMessage { once: Some(receipt.clone()), ..message("alice@d", None, "receipt") };
    let ids = stores.queue.append(vec![once(), message("alice@d", None, "other"), once()]).await.unwrap();
    assert!(matches!(ids[..], [Some(_), Some(_), None]));
    assert_eq!(stores.queue.append(vec![once()]).await.unwrap(), [None]);
    assert_eq!(stores.receipts.first(vec![receipt.clone()], 1_700_000_000).await.unwrap(), [false]);
    assert_eq!(texts(&all(stores, "alice@d").await), ["receipt", "other"]);
    assert_eq!(stores.fates.counts().await.unwrap().accepted, 2);
}

pub(super) async fn expired_stay_until_settled(stores: &Stores) {
    let batch = (0..10u64)
        .map(|n| NewMessage { expires_at: 1_000 + n, ..message(&format!("u{}@d", n % 3), None, &n.to_string()) });
    stores.queue.append(batch.collect()).await.unwrap();
    assert_eq!(stores.queue.expired(999, 100).await.unwrap(), []);
    assert_eq!(stores.queue.expired(1_004, 2).await.unwrap().len(), 2);
    for _ in 0..2 {
        let mut due = stores.queue.expired(1_004, 100).await.unwrap();
        due.sort_by_key(|message| message.id);
        assert_eq!(texts(&due), ["0", "1", "2", "3", "4"]);
    }
    let due = stores.queue.expired(1_004, 100).await.unwrap();
    let settled = due.iter().map(|message| message.settled(Outcome::Expired, None, 0, 1_004_000)).collect();
    stores.queue.settle(settled).await.unwrap();
    assert_eq!(stores.queue.expired(1_004, 100).await.unwrap(), []);
    assert_eq!(stores.queue.expired(1_005, 100).await.unwrap().len(), 1);
}

pub(super) async fn depths_are_exact(stores: &Stores) {
    for n in 0..30 {
        let batch = (0..=n % 5).map(|_| message(&format!("u{n:02}@d"), None, "1234567890"));
        stores.queue.append(batch.collect()).await.unwrap();
    }
    let size = message("", None, "1234567890").size() as u64;
    assert_eq!(stores.queue.depth("u04@d").await.unwrap(), Depth { count: 5, bytes: 5 * size });
    assert_eq!(stores.queue.depth("nobody@d").await.unwrap(), Depth::default());
    let (mut listed, mut after) = (Vec::new(), None::<Box<str>>);
    loop {
        let page = stores.queue.depths(after.as_deref(), 8).await.unwrap();
        listed.extend(page.iter().cloned());
        if page.len() < 8 {
            break;
        }
        after = page.last().map(|(recipient, _)| recipient.clone());
    }
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(listed.len(), 30);
    for (n, (recipient, depth)) in listed.iter().enumerate() {
        assert_eq!((&**recipient, depth.count), (&*format!("u{n:02}@d"), n as u64 % 5 + 1));
    }
    let queued = all(stores, "u04@d").await;
    let settled = queued.iter().take(2).map(|message| message.settled(Outcome::Delivered, None, 200, 1)).collect();
    stores.queue.settle(settled).await.unwrap();
    assert_eq!(stores.queue.depth("u04@d").await.unwrap(), Depth { count: 3, bytes: 3 * size });
}

pub(super) async fn counts_balance(stores: &Stores) {
    let batch = (0..100).map(|n| message(&format!("u{}@d", n % 7), None, &n.to_string())).collect();
    stores.queue.append(batch).await.unwrap();
    for (n, outcome) in [Outcome::Delivered, Outcome::Expired, Outcome::Refused].into_iter().enumerate() {
        let queued = all(stores, &format!("u{n}@d")).await;
        let settled = queued.iter().take(5 - n).map(|message| message.settled(outcome, None, 0, 1)).collect();
        stores.queue.settle(settled).await.unwrap();
    }
    let counts = stores.fates.counts().await.unwrap();
    assert_eq!(counts, Counts { accepted: 100, stored: 88, delivered: 5, expired: 4, refused: 3 });
    assert!(counts.balanced());
}
