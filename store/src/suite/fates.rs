use super::{message, queue::wanted};
use crate::{Event, Fate, Outcome, Stores};

fn fate(message_id: Option<&str>, call_id: &str, event: Event, at_ms: u64) -> Fate {
    Fate {
        message_id: message_id.map(Into::into),
        call_id: call_id.into(),
        recipient: "bob@d".into(),
        device: Some("urn:uuid:x".into()),
        event,
        detail: 480,
        at_ms,
    }
}

pub(super) async fn the_queue_tells_of_its_messages(stores: &Stores) {
    let batch = (0..3000).map(|n| message(&format!("u{}@d", n % 10), Some("a"), &n.to_string()));
    stores.queue.append(batch.collect()).await.unwrap();
    let found = stores.fates.lookup("call-2500").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].event, &*found[0].recipient, found[0].at_ms), (Event::Stored, "u0@d", 1_700_000_000_123));
    assert_eq!(stores.fates.lookup("id-2500").await.unwrap(), found);
    assert_eq!(stores.fates.lookup("id-3000").await.unwrap(), []);
    let queued = stores.queue.pending(&[wanted("u0@d", None, 0)], 1000).await.unwrap().remove(0);
    let ended = queued.iter().map(|message| message.settled(Outcome::Expired, None, 0, 1_700_000_009_000));
    stores.queue.settle(ended.collect()).await.unwrap();
    let events: Vec<_> = stores.fates.lookup("id-2500").await.unwrap().iter().map(|fate| fate.event).collect();
    assert_eq!(events, [Event::Stored, Event::Expired]);
}

pub(super) async fn recorded_ones_are_found_at_once(stores: &Stores) {
    let all = [
        fate(Some("m1"), "c1", Event::Accepted, 1_000),
        fate(None, "c1", Event::Deferred, 1_500),
        fate(Some("m1"), "c1", Event::Delivered, 2_000),
        fate(Some("m2"), "c2", Event::Refused, 3_000),
    ];
    stores.fates.record(all.to_vec()).await.unwrap();
    assert_eq!(stores.fates.lookup("m1").await.unwrap(), [all[0].clone(), all[2].clone()]);
    assert_eq!(stores.fates.lookup("c1").await.unwrap(), all[..3]);
    assert_eq!(stores.fates.lookup("c2").await.unwrap(), all[3..]);
    // These were never stored.
    assert_eq!(stores.fates.counts().await.unwrap(), Default::default());
}

pub(super) async fn purge_forgets(stores: &Stores) {
    stores.fates.record(vec![fate(None, "c1", Event::Accepted, 1_000)]).await.unwrap();
    stores.queue.append(vec![message("u@d", None, "1")]).await.unwrap();
    assert_eq!(stores.fates.lookup("c1").await.unwrap().len(), 1);
    stores.fates.purge(900).await.unwrap();
    assert_eq!(stores.fates.lookup("c1").await.unwrap().len(), 1);
    // Beyond any clock.
    stores.fates.purge(3_000_000_000_000).await.unwrap();
    assert_eq!(stores.fates.lookup("c1").await.unwrap(), []);
    let counts = stores.fates.counts().await.unwrap();
    assert_eq!((counts.accepted, counts.stored), (1, 1));
}
