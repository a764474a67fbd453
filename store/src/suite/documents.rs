use crate::{Document, DocumentError, DocumentKey, DocumentWrite, Stores};

fn key(owner: &str, auid: &str, name: &str) -> DocumentKey {
    DocumentKey { owner: owner.into(), auid: auid.into(), name: name.into() }
}

fn lists(owner: &str) -> DocumentKey {
    key(owner, "resource-lists", "index")
}

fn document(etag: &str, text: &str) -> Document {
    Document { etag: etag.into(), modified: 1_700_000_000, text: text.into() }
}

/// A change from one entity tag to another; the text is made of the new tag.
fn write(key: &DocumentKey, seen: Option<&str>, next: Option<&str>) -> DocumentWrite {
    DocumentWrite {
        key: key.clone(),
        seen: seen.map(Into::into),
        next: next.map(|etag| document(etag, &format!("<text of='{etag}'/>"))),
        at: 1_700_000_000,
        claims: None,
        keep: 3,
        most_documents: 10,
        most_bytes: 1000,
    }
}

fn claiming(key: &DocumentKey, seen: Option<&str>, next: Option<&str>, claims: &[&str]) -> DocumentWrite {
    let claims = claims.iter().map(|value| Box::from(*value)).collect();
    DocumentWrite { claims: Some(claims), ..write(key, seen, next) }
}

async fn etag(stores: &Stores, key: &DocumentKey) -> Option<String> {
    stores.documents.document(key).await.unwrap().map(|found| found.etag.into())
}

pub(super) async fn reads_back_what_was_written(stores: &Stores) {
    let (documents, alice) = (&stores.documents, lists("alice@d"));
    assert_eq!(documents.document(&alice).await.unwrap(), None);
    documents.write(write(&alice, None, Some("a"))).await.unwrap();
    documents.write(write(&lists("bob@d"), None, Some("b"))).await.unwrap();
    documents.write(write(&key("alice@d", "pres-rules", "index"), None, Some("c"))).await.unwrap();
    let text = "<?xml version=\"1.0\"?>\n<a>\u{e9}\u{1f600}\r\n</a>";
    let other = DocumentWrite { next: Some(document("d", text)), ..write(&key("", "x", "folder/y"), None, None) };
    documents.write(other).await.unwrap();
    assert_eq!(documents.document(&alice).await.unwrap(), Some(document("a", "<text of='a'/>")));
    assert_eq!(documents.document(&key("", "x", "folder/y")).await.unwrap(), Some(document("d", text)));
    let mine = documents.of_owner("alice@d").await.unwrap();
    let mine: Vec<_> = mine.iter().map(|head| (&*head.key.auid, &*head.etag, head.size)).collect();
    assert_eq!(mine, [("pres-rules", "c", 14), ("resource-lists", "a", 14)]);
    documents.write(write(&alice, Some("a"), None)).await.unwrap();
    assert_eq!(etag(stores, &alice).await, None);
}

pub(super) async fn a_write_needs_the_tag_that_it_was_computed_from(stores: &Stores) {
    let (documents, alice) = (&stores.documents, lists("alice@d"));
    let refused = |result| assert!(matches!(result, Err(DocumentError::Changed)), "{result:?}");
    refused(documents.write(write(&alice, Some("x"), Some("a"))).await);
    documents.write(write(&alice, None, Some("a"))).await.unwrap();
    refused(documents.write(write(&alice, None, Some("b"))).await);
    refused(documents.write(write(&alice, Some("x"), Some("b"))).await);
    refused(documents.write(write(&alice, Some("x"), None)).await);
    assert_eq!(etag(stores, &alice).await.as_deref(), Some("a"));
    let tags: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    let all = tags.iter().map(|tag| documents.write(write(&alice, Some("a"), Some(tag))));
    let done = futures_util::future::join_all(all).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1);
    done.into_iter().filter(|result| result.is_err()).for_each(refused);
    let firsts = tags.iter().map(|tag| documents.write(write(&lists("bob@d"), None, Some(tag))));
    let done = futures_util::future::join_all(firsts.collect::<Vec<_>>()).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1);
}

pub(super) async fn what_it_was_before_is_kept(stores: &Stores) {
    let (documents, alice) = (&stores.documents, lists("alice@d"));
    let mut seen = None;
    for tag in ["a", "b", "c", "d", "e"] {
        documents.write(write(&alice, seen, Some(tag))).await.unwrap();
        seen = Some(tag);
    }
    documents.write(write(&alice, seen, None)).await.unwrap();
    let versions = documents.versions(&alice).await.unwrap();
    let tags: Vec<_> = versions.iter().map(|head| &*head.etag).collect();
    assert_eq!(tags, ["e", "d", "c"]);
    assert_eq!(documents.version(&alice, "d").await.unwrap(), Some(document("d", "<text of='d'/>")));
    assert_eq!(documents.version(&alice, "a").await.unwrap(), None);
    assert_eq!(documents.versions(&lists("bob@d")).await.unwrap(), []);
    documents.write(DocumentWrite { keep: 0, ..write(&lists("bob@d"), None, Some("a")) }).await.unwrap();
    documents.write(DocumentWrite { keep: 0, ..write(&lists("bob@d"), Some("a"), Some("b")) }).await.unwrap();
    assert_eq!(documents.versions(&lists("bob@d")).await.unwrap(), []);
}

pub(super) async fn a_name_belongs_to_one_document(stores: &Stores) {
    let documents = &stores.documents;
    let (alice, bob) = (key("alice@d", "rls-services", "index"), key("bob@d", "rls-services", "index"));
    documents.write(claiming(&alice, None, Some("a"), &["sip:x", "sip:y", "sip:x"])).await.unwrap();
    match documents.write(claiming(&bob, None, Some("b"), &["sip:z", "sip:y"])).await {
        Err(DocumentError::Taken(names)) => assert_eq!(names, ["sip:y".into()]),
        other => panic!("{other:?}"),
    }
    assert_eq!(etag(stores, &bob).await, None);
    let asked = ["sip:x".into(), "sip:y".into(), "sip:z".into()];
    assert_eq!(documents.taken("rls-services", &asked).await.unwrap(), [true, true, false]);
    assert_eq!(documents.taken("other", &asked).await.unwrap(), [false, false, false]);
    // Its own it may keep, and what it gives up is free.
    documents.write(claiming(&alice, Some("a"), Some("b"), &["sip:x"])).await.unwrap();
    documents.write(claiming(&bob, None, Some("b"), &["sip:z", "sip:y"])).await.unwrap();
    let odd = "sip:\"a\\b\"\n\u{1}\u{e9}";
    documents.write(claiming(&alice, Some("b"), Some("c"), &["sip:x", odd])).await.unwrap();
    assert_eq!(documents.taken("rls-services", &[odd.into()]).await.unwrap(), [true]);
    documents.write(claiming(&alice, Some("c"), None, &[])).await.unwrap();
    assert_eq!(documents.taken("rls-services", &asked).await.unwrap(), [false, true, true]);
}

pub(super) async fn an_owner_has_bounds(stores: &Stores) {
    let documents = &stores.documents;
    let bounded = |name: &str, seen: Option<&str>, size: usize| DocumentWrite {
        next: Some(document("t", &"x".repeat(size))),
        most_documents: 2,
        most_bytes: 100,
        ..write(&key("alice@d", "a", name), seen, None)
    };
    documents.write(bounded("1", None, 40)).await.unwrap();
    documents.write(bounded("2", None, 40)).await.unwrap();
    assert!(matches!(documents.write(bounded("3", None, 1)).await, Err(DocumentError::TooMany)));
    assert!(matches!(documents.write(bounded("2", Some("t"), 61)).await, Err(DocumentError::TooLarge)));
    documents.write(bounded("2", Some("t"), 60)).await.unwrap();
    // Where the bounds have become narrower, one may still make it smaller.
    let smaller = DocumentWrite { most_bytes: 10, ..bounded("2", Some("t"), 50) };
    documents.write(smaller).await.unwrap();
    documents.write(bounded("2", Some("t"), 60)).await.unwrap();
}

pub(super) async fn writes_of_many_owners_at_once(stores: &Stores) {
    let documents = &stores.documents;
    let owners: Vec<String> = (0..100).map(|n| format!("\"u{n}\\\u{e9}@d")).collect();
    for round in 0..5_u32 {
        let writes = owners.iter().enumerate().map(|(n, owner)| {
            let seen = round.checked_sub(1).map(|before| before.to_string());
            let next = round.to_string();
            match n % 5 {
                // Some are computed from what is not there, some go in the end.
                0 => documents.write(write(&lists(owner), Some("x"), Some(&next))),
                1 if round == 4 => documents.write(write(&lists(owner), seen.as_deref(), None)),
                _ => documents.write(write(&lists(owner), seen.as_deref(), Some(&next))),
            }
        });
        for (n, done) in futures_util::future::join_all(writes.collect::<Vec<_>>()).await.into_iter().enumerate() {
            match n % 5 {
                0 => assert!(matches!(done, Err(DocumentError::Changed)), "{done:?}"),
                _ => done.unwrap(),
            }
        }
    }
    for (n, owner) in owners.iter().enumerate() {
        let (found, versions) = (etag(stores, &lists(owner)).await, documents.versions(&lists(owner)).await.unwrap());
        let versions: Vec<_> = versions.iter().map(|head| (&*head.etag, head.size)).collect();
        match n % 5 {
            0 => assert_eq!((found.as_deref(), versions), (None, vec![])),
            1 => assert_eq!((found.as_deref(), versions), (None, vec![("3", 14), ("2", 14), ("1", 14)])),
            _ => assert_eq!((found.as_deref(), versions), (Some("4"), vec![("3", 14), ("2", 14), ("1", 14)])),
        }
    }
}

pub(super) async fn pages_by_owner(stores: &Stores) {
    let documents = &stores.documents;
    for n in 0..7 {
        documents.write(write(&lists(&format!("u{n}@d")), None, Some(&n.to_string()))).await.unwrap();
        documents.write(write(&key(&format!("u{n}@d"), "pres-rules", "index"), None, Some("x"))).await.unwrap();
    }
    let (mut all, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let page = documents.named("resource-lists", "index", after.as_deref(), 3).await.unwrap();
        all.extend(page.iter().map(|(owner, document)| format!("{owner} {}", document.etag)));
        after = page.last().map(|(owner, _)| owner.to_string());
        if page.len() < 3 {
            break;
        }
    }
    assert_eq!(all, ["u0@d 0", "u1@d 1", "u2@d 2", "u3@d 3", "u4@d 4", "u5@d 5", "u6@d 6"]);
}

pub(super) async fn an_owner_is_removed_whole(stores: &Stores) {
    let documents = &stores.documents;
    let services = key("alice@d", "rls-services", "index");
    documents.write(claiming(&services, None, Some("a"), &["sip:x"])).await.unwrap();
    documents.write(claiming(&services, Some("a"), Some("b"), &["sip:x"])).await.unwrap();
    documents.write(write(&lists("alice@d"), None, Some("c"))).await.unwrap();
    documents.write(write(&lists("bob@d"), None, Some("d"))).await.unwrap();
    assert_eq!(documents.remove_owner("alice@d").await.unwrap(), 2);
    assert_eq!(documents.remove_owner("alice@d").await.unwrap(), 0);
    assert_eq!(documents.of_owner("alice@d").await.unwrap(), []);
    assert_eq!(documents.versions(&services).await.unwrap(), []);
    assert_eq!(documents.taken("rls-services", &["sip:x".into()]).await.unwrap(), [false]);
    assert_eq!(etag(stores, &lists("bob@d")).await.as_deref(), Some("d"));
}
