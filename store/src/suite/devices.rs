use crate::{Device, Seen, Stores};

fn seen(user: &str, device: &str, at: u64, params: &str) -> Seen {
    Seen {
        aor: format!("{user}@d").into(),
        device: device.into(),
        at,
        params: params.into(),
        user_agent: format!("Phone/{at}").into(),
    }
}

fn device(device: &str, first_seen: u64, last_seen: u64, params: &str) -> Device {
    Device {
        device: device.into(),
        first_seen,
        last_seen,
        params: params.into(),
        user_agent: format!("Phone/{last_seen}").into(),
    }
}

pub(super) async fn the_latest_report_stays(stores: &Stores) {
    let devices = &stores.devices;
    devices.seen(vec![seen("u", "a", 100, ";x"), seen("u", "b", 150, ";y"), seen("v", "a", 7, "")]).await.unwrap();
    // Out of order, and twice in one batch.
    devices
        .seen(vec![seen("u", "a", 300, ";new"), seen("u", "a", 200, ";old"), seen("u", "b", 50, ";old")])
        .await
        .unwrap();
    let expected = [device("a", 100, 300, ";new"), device("b", 50, 150, ";y")];
    assert_eq!(devices.of("u@d").await.unwrap(), expected);
    assert_eq!(devices.of("v@d").await.unwrap(), [device("a", 7, 7, "")]);
    assert_eq!(devices.of("w@d").await.unwrap(), []);
}

pub(super) async fn removed_and_forgotten(stores: &Stores) {
    let devices = &stores.devices;
    let batch = (0..2_500).map(|n| seen(&format!("u{}", n % 500), &format!("d{}", n / 500), n, ""));
    devices.seen(batch.collect()).await.unwrap();
    assert_eq!(devices.remove("u1@d", Some("d3")).await.unwrap(), 1);
    assert_eq!(devices.remove("u1@d", Some("d3")).await.unwrap(), 0);
    assert_eq!(devices.remove("u2@d", None).await.unwrap(), 5);
    assert_eq!(devices.of("u1@d").await.unwrap().len(), 4);
    assert_eq!(devices.forget(2_000).await.unwrap(), 2_000 - 5);
    assert_eq!(devices.of("u7@d").await.unwrap(), [device("d4", 2_007, 2_007, "")]);
    assert_eq!(devices.of("u2@d").await.unwrap(), []);
}

pub(super) async fn the_longest_unseen_makes_room(stores: &Stores) {
    let devices = &stores.devices;
    devices.seen((0..30).map(|n| seen("u", &format!("d{n}"), 100 + n, "")).collect()).await.unwrap();
    devices.seen((30..50).map(|n| seen("u", &format!("d{n}"), 100 + n, "")).collect()).await.unwrap();
    devices.seen(vec![seen("v", "d", 1, "")]).await.unwrap();
    let kept = devices.of("u@d").await.unwrap();
    assert_eq!((kept.len(), &*kept[0].device, &*kept[31].device), (32, "d49", "d18"));
    assert_eq!(devices.of("v@d").await.unwrap().len(), 1);
}

pub(super) async fn all_are_found_page_by_page(stores: &Stores) {
    let devices = &stores.devices;
    assert_eq!(devices.all(None, 10).await.unwrap(), []);
    devices.seen((0..100).map(|n| seen(&format!("u{}", n % 30), &format!("d{n}"), n, ";x")).collect()).await.unwrap();
    for limit in [1, 7, 99, 100, 1000] {
        let mut found: Vec<(Box<str>, Device)> = Vec::new();
        let mut after: Option<(Box<str>, Box<str>)> = None;
        loop {
            let from = after.as_ref().map(|(aor, device)| (&**aor, &**device));
            let page = devices.all(from, limit).await.unwrap();
            let full = page.len() == limit;
            after = page.last().map(|(aor, device)| (aor.clone(), device.device.clone())).or(after);
            found.extend(page);
            if !full {
                break;
            }
        }
        assert_eq!(found.len(), 100, "pages of {limit}");
        found.sort_by_key(|(_, device)| device.last_seen);
        for (n, (aor, known)) in (0..).zip(&found) {
            assert_eq!((&**aor, known), (&*format!("u{}@d", n % 30), &device(&format!("d{n}"), n, n, ";x")));
        }
    }
}
