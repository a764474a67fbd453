use crate::{Receipt, ReceiptState, Stores};

fn receipt(message_id: &str, recipient: &str, state: ReceiptState) -> Receipt {
    Receipt { message_id: message_id.into(), sender: "alice@d".into(), recipient: recipient.into(), state }
}

pub(super) async fn first_is_told_once(stores: &Stores) {
    let delivered = receipt("m1", "bob@d", ReceiptState::Delivered);
    let others = vec![
        delivered.clone(),
        receipt("m1", "bob@d", ReceiptState::Displayed),
        receipt("m1", "carol@d", ReceiptState::Delivered),
        receipt("m2", "bob@d", ReceiptState::Delivered),
        Receipt { sender: "dave@d".into(), ..delivered.clone() },
        delivered.clone(),
    ];
    let first = stores.receipts.first(others.clone(), 1_000).await.unwrap();
    assert_eq!(first, [true, true, true, true, true, false]);
    assert_eq!(stores.receipts.first(others, 900_000).await.unwrap(), [false; 6]);
    let asked = vec![delivered.clone(), receipt("m2", "carol@d", ReceiptState::Delivered)];
    assert_eq!(stores.receipts.known(asked.clone()).await.unwrap(), [true, false]);
    assert_eq!(stores.receipts.known(asked).await.unwrap(), [true, false], "asking marks nothing");
    let fresh = receipt("m3", "bob@d", ReceiptState::Delivered);
    let all = (0..20).map(|_| stores.receipts.first(vec![fresh.clone()], 1_000));
    let told = futures_util::future::join_all(all).await;
    assert_eq!(told.iter().filter(|first| first.as_deref().unwrap() == [true]).count(), 1);
}

pub(super) async fn forgotten_by_time(stores: &Stores) {
    const DAY: u64 = 86_400;
    let one = |n: u64| vec![receipt(&format!("m{n}"), "bob@d", ReceiptState::Delivered)];
    for day in 0..4 {
        assert_eq!(stores.receipts.first(one(day), day * DAY + 7).await.unwrap(), [true]);
    }
    stores.receipts.forget(2 * DAY).await.unwrap();
    let all: Vec<_> = (0..4).flat_map(one).collect();
    assert_eq!(stores.receipts.known(all).await.unwrap(), [false, false, true, true]);
    for (day, first) in [(0, true), (1, true), (2, false), (3, false)] {
        assert_eq!(stores.receipts.first(one(day), 5 * DAY).await.unwrap(), [first], "day {day}");
    }
}
