//! Many users, few contents, crashes: the disk is what the store says, and a quota is the sum of what is there.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};

use super::bed::{self, Bed, Random, cut, form};

#[tokio::test]
async fn disk_and_quota_agree_with_the_model() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut bed = Bed::new();
        // Link and owner, with what it counts.
        let mut model: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for step in 0..120 {
            let user = ["alice", "bob", "carol"][random.below(3)];
            let used: u64 = model.iter().filter(|((_, owner), _)| *owner == user).map(|(_, charge)| charge).sum();
            let size = 1 + random.below(4) * 300_000;
            let content = vec![size as u8; size];
            let picture = (random.below(3) == 0).then(|| vec![9; 1 + random.below(3)]);
            match random.below(10) {
                0..5 => {
                    let charge = (size + picture.as_ref().map_or(0, Vec::len)) as u64;
                    let answer = bed.upload(user, None, picture.as_deref(), &content).await;
                    if used + charge > 3_000_000 {
                        assert_eq!(answer.status, StatusCode::FORBIDDEN, "seed {seed}, step {step}");
                    } else {
                        model.insert((answer.document().file.url, user), charge);
                    }
                }
                5 => {
                    let body = form(None, None, &content);
                    bed.send(user, Method::POST, "/ft", &[bed::FORM], cut(&body[..random.below(body.len())])).await;
                }
                6 => {
                    // A crash between a content and its row.
                    let folder = bed.dir.path().join("blobs/0a");
                    std::fs::create_dir_all(&folder).unwrap();
                    std::fs::write(folder.join(format!("0a{:062x}", random.below(99))), "orphan").unwrap();
                    bed.restart();
                    bed.depot.sweep_orphans().await.unwrap();
                }
                _ => {
                    let keys: Vec<_> = model.keys().cloned().collect();
                    let Some((url, owner)) = keys.get(random.below(keys.len())) else { continue };
                    let answer = bed.send(owner, Method::DELETE, url, &bed::PLAIN, "").await;
                    assert_eq!(answer.status, StatusCode::NO_CONTENT, "seed {seed}, step {step}");
                    model.remove(&(url.clone(), *owner));
                }
            }
            for user in ["alice", "bob", "carol"] {
                let used: u64 = model.iter().filter(|((_, owner), _)| *owner == user).map(|(_, charge)| charge).sum();
                let usage = bed.stores.files.usage(Some(&format!("{user}@d"))).await.unwrap();
                assert_eq!(usage.bytes, used, "seed {seed}, step {step}");
            }
            bed.check_disk().await;
            assert_eq!(bed.incoming(), 0, "seed {seed}, step {step}");
        }
    }
}
