use std::collections::BTreeMap;

use chappe_sip::registrar::{Binding, Parts};
use chappe_sip::{Flow, Transport};

use super::binding;
use crate::{Revision, StoreError, Stores};

pub(super) async fn reads_back_all_but_the_flow(stores: &Stores) {
    let flow = Flow {
        transport: Transport::Tls,
        listener: 1,
        connection: 7,
        remote: std::net::SocketAddr::from(([192, 0, 2, 7], 5061)),
    };
    let mut full = binding("a", 2_000);
    full.flow = Some(flow);
    let bare = Parts {
        contact: "sip:b@192.0.2.7",
        call_id: "3848276298220188511",
        cseq: u32::MAX >> 1,
        q: 0,
        expires: u64::from(u32::MAX),
        dormant: true,
        ..Parts::default()
    };
    let bare = Binding::new(bare).unwrap();
    let locations = &stores.locations;
    assert_eq!(locations.bindings("u@d").await.unwrap(), (Revision::NONE, vec![]));
    let revision = locations.replace("u@d", Revision::NONE, &[full.clone(), bare.clone()]).await.unwrap();
    full.flow = None;
    let expected = vec![full, bare];
    assert_eq!(locations.bindings("u@d").await.unwrap(), (revision, expected));
}

pub(super) async fn replace_needs_the_revision_it_was_computed_from(stores: &Stores) {
    let locations = &stores.locations;
    let first = locations.replace("u@d", Revision::NONE, &[binding("a", 2_000)]).await.unwrap();
    for stale in [Revision::NONE, Revision(first.0 + 1)] {
        let refused = locations.replace("u@d", stale, &[binding("b", 2_000)]).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{stale:?}");
    }
    let second = locations.replace("u@d", first, &[binding("b", 2_000)]).await.unwrap();
    assert!(second > first);
    assert!(matches!(locations.replace("u@d", first, &[]).await, Err(StoreError::Conflict)));
    assert_eq!(locations.bindings("u@d").await.unwrap(), (second, vec![binding("b", 2_000)]));
}

pub(super) async fn revisions_do_not_come_back(stores: &Stores) {
    let locations = &stores.locations;
    let first = locations.replace("u@d", Revision::NONE, &[binding("a", 2_000)]).await.unwrap();
    assert_eq!(locations.replace("u@d", first, &[]).await.unwrap(), Revision::NONE);
    let again = locations.replace("u@d", Revision::NONE, &[binding("a", 2_000)]).await.unwrap();
    assert!(again > first);
    assert!(matches!(locations.replace("u@d", first, &[]).await, Err(StoreError::Conflict)));
}

pub(super) async fn of_two_replacing_at_once_one_is_told(stores: &Stores) {
    let locations = &stores.locations;
    // Twenty devices, each in the loop that the registrar runs: all end up bound.
    let device = |n: u32| async move {
        for _ in 0..100 {
            let (seen, mut bindings) = locations.bindings("u@d").await.unwrap();
            bindings.push(binding(&format!("device{n}"), 2_000));
            match locations.replace("u@d", seen, &bindings).await {
                Ok(_) => return,
                Err(StoreError::Conflict) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("device {n} never got its turn");
    };
    futures_util::future::join_all((0..20).map(device)).await;
    let mut bound: Vec<_> = locations.bindings("u@d").await.unwrap().1;
    bound.sort_by(|a, b| a.contact().cmp(b.contact()));
    bound.dedup();
    assert_eq!(bound.len(), 20);
}

pub(super) async fn save_overwrites_and_removes(stores: &Stores) {
    let locations = &stores.locations;
    let seen = locations.replace("u@d", Revision::NONE, &[binding("a", 2_000)]).await.unwrap();
    locations
        .save(vec![
            ("u@d".into(), vec![binding("a", 3_000)]),
            ("v@d".into(), vec![binding("c", 3_000)]),
            ("w@d".into(), vec![binding("d", 1)]),
            ("w@d".into(), vec![]),
        ])
        .await
        .unwrap();
    assert!(matches!(locations.replace("u@d", seen, &[]).await, Err(StoreError::Conflict)));
    assert_eq!(locations.bindings("u@d").await.unwrap().1, [binding("a", 3_000)]);
    assert_eq!(locations.bindings("v@d").await.unwrap().1, [binding("c", 3_000)]);
    assert_eq!(locations.bindings("w@d").await.unwrap(), (Revision::NONE, vec![]));
    locations.save(vec![("u@d".into(), vec![])]).await.unwrap();
    assert_eq!(locations.bindings("u@d").await.unwrap(), (Revision::NONE, vec![]));
}

pub(super) async fn scan_gives_each_aor_once(stores: &Stores) {
    let batch: BTreeMap<Box<str>, _> =
        (0..2300).map(|n| (format!("user{n}@d").into(), vec![binding(&format!("{n}"), 2_000 + n)])).collect();
    stores.locations.save(batch.clone().into_iter().collect()).await.unwrap();
    let (mut all, mut after) = (BTreeMap::new(), None::<Box<str>>);
    loop {
        let page = stores.locations.scan(after.as_deref(), 1000).await.unwrap();
        after = page.last().map(|located| located.aor.clone());
        let full = page.len() == 1000;
        for located in page {
            assert_ne!(located.revision, Revision::NONE);
            assert_eq!(all.insert(located.aor, located.bindings), None);
        }
        if !full {
            break;
        }
    }
    assert_eq!(all, batch);
}

pub(super) async fn expired_bindings_go(stores: &Stores) {
    let locations = &stores.locations;
    let mut batch: Vec<(Box<str>, _)> =
        (0..1500).map(|n| (format!("old{n}@d").into(), vec![binding("x", 100)])).collect();
    batch.push(("both@d".into(), vec![binding("a", 100), binding("b", 101)]));
    batch.push(("new@d".into(), vec![binding("c", 101)]));
    locations.save(batch).await.unwrap();
    assert_eq!(locations.remove_expired(99).await.unwrap(), 0);
    assert_eq!(locations.remove_expired(100).await.unwrap(), 1501);
    assert_eq!(locations.bindings("both@d").await.unwrap().1, [binding("b", 101)]);
    assert_eq!(locations.scan(None, 10).await.unwrap().len(), 2);
}
