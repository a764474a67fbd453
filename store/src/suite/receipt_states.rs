use super::message;
use crate::{News, Reached, ReceiptStatus, Step, Stores, Way, Write};

pub(super) fn reached(id: &str, step: Step, at_ms: u64) -> Reached {
    Reached { way: way(id), step, at_ms }
}

pub(super) fn way(id: &str) -> Way {
    Way { message_id: id.into(), sender: "a@d".into(), recipient: "b@d".into() }
}

const NOTHING: News = News { delivered: false, displayed: false, failed: false };
const DELIVERED: News = News { delivered: true, ..NOTHING };
const DISPLAYED: News = News { displayed: true, ..NOTHING };
const FAILED: News = News { failed: true, ..NOTHING };

pub(super) async fn each_step_is_news_once(stores: &Stores) {
    let states = &stores.receipt_states;
    for (name, reports, expected) in [
        ("in order", vec![(Step::Delivered, 10), (Step::Displayed, 20)], vec![DELIVERED, DISPLAYED]),
        ("doubled", vec![(Step::Delivered, 10), (Step::Delivered, 11)], vec![DELIVERED, NOTHING]),
        (
            "reordered",
            vec![(Step::Displayed, 20), (Step::Delivered, 10)],
            vec![News { delivered: true, displayed: true, failed: false }, NOTHING],
        ),
        (
            "failed, then another device took it",
            vec![(Step::Failed, 5), (Step::Delivered, 10)],
            vec![FAILED, DELIVERED],
        ),
        (
            "failed after another device took it",
            vec![(Step::Delivered, 10), (Step::Failed, 15)],
            vec![DELIVERED, NOTHING],
        ),
    ] {
        // In one call, and one by one.
        let all = |id: &str| reports.iter().map(|(step, at)| reached(id, *step, *at)).collect::<Vec<_>>();
        assert_eq!(states.apply(all(name)).await.unwrap(), expected, "{name}");
        let other = format!("{name}, one by one");
        for (report, expected) in all(&other).into_iter().zip(&expected) {
            assert_eq!(states.apply(vec![report]).await.unwrap(), [*expected], "{other}");
        }
        let status = states.status(&[way(name), way(&other)]).await.unwrap();
        assert_eq!(status[0], status[1], "{name}");
        assert_eq!(states.apply(all(name)).await.unwrap(), vec![NOTHING; reports.len()], "{name}");
    }
    let status = states.status(&[way("reordered"), way("unknown")]).await.unwrap();
    let expected = ReceiptStatus { delivered_ms: Some(10), displayed_ms: Some(20), failed_ms: None };
    assert_eq!(status, [expected, ReceiptStatus::default()]);
    assert_eq!((expected.step(), status[1].step()), (Some(Step::Displayed), None));
    // Another sender or recipient is another way.
    let other = Reached { way: Way { sender: "c@d".into(), ..way("in order") }, ..reached("", Step::Delivered, 1) };
    assert_eq!(states.apply(vec![other]).await.unwrap(), [DELIVERED]);
}

pub(super) async fn of_many_at_once_one_is_told(stores: &Stores) {
    let tasks = (0..20).map(|n| {
        let stores = stores.clone();
        tokio::spawn(async move {
            let batch = (0..50).map(|id| reached(&id.to_string(), Step::Displayed, 100 + n)).collect();
            stores.receipt_states.apply(batch).await.unwrap()
        })
    });
    let told = futures_util::future::join_all(tasks).await;
    let told: Vec<Vec<News>> = told.into_iter().map(Result::unwrap).collect();
    for id in 0..50 {
        assert_eq!(told.iter().filter(|news| news[id].displayed).count(), 1);
        assert_eq!(told.iter().filter(|news| news[id].delivered).count(), 1);
    }
    let status = stores.receipt_states.status(&[way("7")]).await.unwrap();
    assert_eq!(status[0].displayed_ms, Some(100));
}

pub(super) async fn one_write_with_the_queue(stores: &Stores) {
    let write = || Write {
        append: vec![message("a@d", None, "receipt")],
        reached: vec![reached("m", Step::Delivered, 10)],
        ..Write::default()
    };
    let told = [stores.queue.write(write()).await.unwrap(), stores.queue.write(write()).await.unwrap()];
    assert!(told.iter().all(|written| written.ids.len() == 1));
    assert_eq!([&told[0].news[..], &told[1].news[..]], [[DELIVERED], [NOTHING]]);
}

pub(super) async fn forgotten_by_the_last_step(stores: &Stores) {
    let states = &stores.receipt_states;
    let batch = (0..6_000u64).map(|n| reached(&n.to_string(), Step::Delivered, 1_000 + n)).collect();
    states.apply(batch).await.unwrap();
    states.apply(vec![reached("3", Step::Displayed, 9_000)]).await.unwrap();
    assert_eq!(states.forget_status(6_000).await.unwrap(), 4_999);
    let status = states.status(&["3", "4", "5000"].map(way)).await.unwrap();
    assert_eq!(
        status.iter().map(|status| status.step()).collect::<Vec<_>>(),
        [Some(Step::Displayed), None, Some(Step::Delivered)]
    );
}
