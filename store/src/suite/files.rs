use std::collections::BTreeMap;

use crate::{Added, ContentHash, FileUsage, StoredFile, StoredThumbnail, Stores};

fn hash(seed: u8) -> ContentHash {
    ContentHash([seed; 32])
}

fn file(id: &str, owner: &str, size: u64, content: u8) -> StoredFile {
    StoredFile {
        id: id.into(),
        owner: owner.into(),
        tid: Some(format!("tid-{id}").into()),
        name: "beach \u{1f3d6}.jpg".into(),
        content_type: "image/jpeg".into(),
        size,
        hash: hash(content),
        thumbnail: None,
        created: 1_000,
        expires: 2_000,
    }
}

pub(super) async fn reads_back_what_was_added(stores: &Stores) {
    let files = &stores.files;
    let mut first = file("a", "u@d", 70, 1);
    first.thumbnail = Some(StoredThumbnail { content_type: "image/png".into(), size: 7, hash: hash(2) });
    let second = StoredFile { tid: None, ..file("b", "u@d", u64::from(u32::MAX) * 3, 3) };
    for one in [&first, &second] {
        assert_eq!(files.add(one.clone(), u64::MAX).await.unwrap(), Added::Stored);
        assert_eq!(files.file(&one.id).await.unwrap().as_ref(), Some(one));
    }
    assert_eq!(files.file("c").await.unwrap(), None);
    assert_eq!(files.of_transfer("tid-a").await.unwrap(), Some(first));
    assert_eq!(files.of_transfer("tid-b").await.unwrap(), None);
    assert!(files.remove("a").await.unwrap());
    assert!(!files.remove("a").await.unwrap());
    assert_eq!(files.file("a").await.unwrap(), None);
    assert_eq!(files.of_transfer("tid-a").await.unwrap(), None);
}

pub(super) async fn the_last_of_a_transfer_is_found(stores: &Stores) {
    let files = &stores.files;
    for (id, created) in [("z", 10), ("a", 12), ("m", 11)] {
        let one = StoredFile { tid: Some("t".into()), created, ..file(id, "u@d", 1, 1) };
        files.add(one, 100).await.unwrap();
    }
    assert_eq!(&*files.of_transfer("t").await.unwrap().unwrap().id, "a");
}

pub(super) async fn quota_counts_what_is_there(stores: &Stores) {
    let files = &stores.files;
    let mut pictured = file("a", "u@d", 50, 1);
    pictured.thumbnail = Some(StoredThumbnail { content_type: "image/png".into(), size: 10, hash: hash(9) });
    assert_eq!(files.add(pictured, 100).await.unwrap(), Added::Stored);
    assert_eq!(files.add(file("b", "u@d", 41, 1), 100).await.unwrap(), Added::OverQuota { used: 60 });
    assert_eq!(files.add(file("c", "v@d", 100, 1), 100).await.unwrap(), Added::Stored);
    assert_eq!(files.add(file("b", "u@d", 40, 1), 100).await.unwrap(), Added::Stored);
    assert_eq!(files.usage(Some("u@d")).await.unwrap(), FileUsage { files: 2, bytes: 100 });
    assert_eq!(files.usage(None).await.unwrap(), FileUsage { files: 3, bytes: 200 });
    files.remove("a").await.unwrap();
    assert_eq!(files.usage(Some("u@d")).await.unwrap(), FileUsage { files: 1, bytes: 40 });
    assert_eq!(files.usage(Some("w@d")).await.unwrap(), FileUsage::default());
}

pub(super) async fn of_many_at_once_no_more_fit_than_the_quota_has_room_for(stores: &Stores) {
    let names: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    let adding = names.iter().map(|id| stores.files.add(file(id, "u@d", 30, 1), 100));
    let added = futures_util::future::join_all(adding).await;
    assert_eq!(added.into_iter().filter(|added| *added.as_ref().unwrap() == Added::Stored).count(), 3);
    assert_eq!(stores.files.usage(Some("u@d")).await.unwrap(), FileUsage { files: 3, bytes: 90 });
}

pub(super) async fn contents_are_needed_while_a_file_has_them(stores: &Stores) {
    let files = &stores.files;
    let mut pictured = file("a", "u@d", 1, 1);
    pictured.thumbnail = Some(StoredThumbnail { content_type: "image/png".into(), size: 1, hash: hash(2) });
    files.add(pictured, 100).await.unwrap();
    files.add(file("b", "v@d", 1, 1), 100).await.unwrap();
    let asked = [hash(1), hash(2), hash(3), hash(1)];
    assert_eq!(files.needed(&asked).await.unwrap(), [true, true, false, true]);
    files.remove("a").await.unwrap();
    assert_eq!(files.needed(&asked).await.unwrap(), [true, false, false, true]);
    files.remove("b").await.unwrap();
    assert_eq!(files.needed(&asked).await.unwrap(), [false; 4]);
    assert_eq!(files.needed(&[]).await.unwrap(), [false; 0]);
}

pub(super) async fn lists_and_finds_what_has_expired(stores: &Stores) {
    let files = &stores.files;
    for n in 0..10_u64 {
        let owner = if n % 2 == 0 { "u@d" } else { "v@d" };
        files.add(StoredFile { expires: 100 + n, ..file(&format!("f{n}"), owner, 1, 1) }, 100).await.unwrap();
    }
    let mut seen = BTreeMap::new();
    let mut after: Option<Box<str>> = None;
    loop {
        let page = files.list(None, after.as_deref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        page.into_iter().for_each(|file| assert!(seen.insert(file.id.clone(), file).is_none()));
    }
    assert_eq!(seen.len(), 10);
    assert_eq!(files.list(Some("u@d"), None, 100).await.unwrap().len(), 5);
    let mut expired = files.expired(103, 100).await.unwrap();
    expired.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(expired.iter().map(|file| &*file.id).collect::<Vec<_>>(), ["f0", "f1", "f2", "f3"]);
    assert_eq!(files.expired(103, 2).await.unwrap().len(), 2);
}

pub(super) async fn what_is_used_is_the_sum_of_what_is_there(stores: &Stores) {
    const QUOTA: u64 = 1_000;
    let files = &stores.files;
    let mut model: BTreeMap<String, (String, u64)> = BTreeMap::new();
    let mut seed = 7_u64;
    let mut random = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    for round in 0..40 {
        // Of one owner one at a time, so that the model knows who comes first; owners at once.
        let mut adding = Vec::new();
        for owner in 0..20 {
            let owner = format!("u{owner}@d");
            let new = file(&format!("{owner}-{}", random(30)), &owner, random(300), random(9) as u8);
            let others = model.iter().filter(|(id, (by, _))| *by == owner && **id != *new.id);
            let used: u64 = others.map(|(_, (_, size))| size).sum();
            let expected = if used + new.size > QUOTA { Added::OverQuota { used } } else { Added::Stored };
            if expected == Added::Stored {
                model.insert(new.id.to_string(), (owner, new.size));
            }
            adding.push(async move { (files.add(new, QUOTA).await.unwrap(), expected) });
        }
        for (added, expected) in futures_util::future::join_all(adding).await {
            assert_eq!(added, expected, "round {round}");
        }
        let gone: Vec<String> = model.keys().filter(|_| random(5) == 0).cloned().collect();
        let removed = futures_util::future::join_all(gone.iter().map(|id| files.remove(id))).await;
        assert!(removed.into_iter().all(|removed| removed.unwrap()), "round {round}");
        gone.iter().for_each(|id| drop(model.remove(id)));
    }
    for owner in 0..20 {
        let owner = format!("u{owner}@d");
        let of_owner = model.values().filter(|(by, _)| *by == owner);
        let expected = of_owner.fold(FileUsage::default(), |usage, (_, size)| FileUsage {
            files: usage.files + 1,
            bytes: usage.bytes + size,
        });
        assert_eq!(files.usage(Some(&owner)).await.unwrap(), expected);
    }
}
