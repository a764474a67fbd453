//! What only the embedded store has: a file.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};

use super::conversations::entry;
use super::{binding, message, queue::wanted};
use crate::sqlite::Sqlite;
use crate::{
    ConversationId, Cursor, DeviceCopy, Event, Fate, FateLog, MessageQueue, NewMessage, Outcome, Receipt, ReceiptState,
    Receipts, Revision, StoreError, Stores, Write,
};

async fn open(dir: &Path) -> Stores {
    // A store that was dropped lets go of its file a moment later.
    for _ in 0..200 {
        match Stores::open("sqlite:", dir).await {
            Err(StoreError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => return other.unwrap(),
        }
    }
    panic!("the file stays locked");
}

#[tokio::test]
async fn all_is_there_after_a_restart_with_or_without_close() {
    let dir = tempfile::tempdir().unwrap();
    let receipt = |id: &str| Receipt {
        message_id: id.into(),
        sender: "alice@d".into(),
        recipient: "bob@d".into(),
        state: ReceiptState::Delivered,
    };
    for round in 0..4u64 {
        let stores = open(dir.path()).await;
        let counts = stores.fates.counts().await.unwrap();
        assert!(counts.balanced());
        assert_eq!((counts.accepted, counts.delivered), (round * 300, round * 100));
        let asked = [wanted("bob@d", Some("a"), 0), wanted("bob@d", Some("b"), 0)];
        let waiting = stores.queue.pending(&asked, 10_000).await.unwrap();
        assert_eq!([waiting[0].len() as u64, waiting[1].len() as u64], [round * 200, 0]);
        assert!(waiting[0].is_sorted_by(|a, b| a.id < b.id));
        let ids = (0..round).map(|n| receipt(&format!("m{n}"))).collect();
        assert!(stores.receipts.first(ids, 1).await.unwrap().iter().all(|first| !first));

        let (seen, bindings) = stores.locations.bindings("bob@d").await.unwrap();
        assert_eq!(bindings.len() as u64, round.min(1));
        stores.locations.replace("bob@d", seen, &[binding("a", round)]).await.unwrap();
        stores.receipts.first(vec![receipt(&format!("m{round}"))], 1).await.unwrap();
        let long = "very long ".repeat(100);
        let batch = (0..300).map(|n| NewMessage {
            expires_at: 100 + n,
            sender: long.as_str().into(),
            ..message("bob@d", Some("a"), &format!("{round}-{n}"))
        });
        stores.queue.append(batch.collect()).await.unwrap();
        let first = stores.queue.pending(&[wanted("bob@d", None, 0)], 100).await.unwrap().remove(0);
        let settled = first.iter().map(|message| message.settled(Outcome::Delivered, None, 200, 1)).collect();
        stores.queue.settle(settled).await.unwrap();
        if round % 2 == 0 {
            stores.close().await.unwrap();
            assert!(matches!(stores.queue.append(vec![message("u@d", None, "x")]).await, Err(StoreError::Closed)));
            assert!(!dir.path().join("chappe.db-wal").exists());
        }
    }
}

#[tokio::test]
async fn copies_keep_their_places_over_a_restart_and_a_sweep() {
    let dir = tempfile::tempdir().unwrap();
    let stores = open(dir.path()).await;
    stores.queue.append((0..200).map(|n| message("bob@d", None, &n.to_string())).collect()).await.unwrap();
    let queued = stores.queue.pending(&[wanted("bob@d", None, 0)], 200).await.unwrap().remove(0);
    // Every other one is taken, in the opposite order.
    for taken in queued.iter().skip(1).step_by(2).rev() {
        let text = String::from_utf8_lossy(&taken.body).into_owned();
        let copies = vec![DeviceCopy { of: taken.id, message: message("bob@d", Some("b"), &text) }];
        let settle = vec![taken.settled(Outcome::Delivered, Some("a"), 200, 1)];
        stores.queue.write(Write { settle, copies, ..Write::default() }).await.unwrap();
    }
    drop(stores);
    for round in 0..3 {
        let stores = open(dir.path()).await;
        let found = stores.queue.pending(&[wanted("bob@d", Some("b"), 0)], 1000).await.unwrap().remove(0);
        let texts: Vec<_> = found.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect();
        assert_eq!(texts, (0..200).map(|n| n.to_string()).collect::<Vec<_>>(), "{round}");
        // A backup sweeps.
        stores.backup(&dir.path().join(format!("copy{round}.db"))).await.unwrap();
        stores.close().await.unwrap();
    }
}

#[tokio::test]
async fn settled_messages_leave_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let stores = open(dir.path()).await;
    let file = dir.path().join("chappe.db");
    // Enough to be swept while work goes on, and more that stays; some settled in between, some at the end.
    for round in 0..10 {
        let batch = (0..1000).map(|n| message(&format!("u{}@d", n % 10), None, &format!("{round}-{n}")));
        stores.queue.append(batch.collect()).await.unwrap();
        for user in 0..9 {
            let asked = [wanted(&format!("u{user}@d"), None, 0)];
            let queued = stores.queue.pending(&asked, 1000).await.unwrap().remove(0);
            let settled = queued.iter().map(|message| message.settled(Outcome::Delivered, None, 200, 1)).collect();
            stores.queue.settle(settled).await.unwrap();
        }
    }
    let left = async || {
        let mut conn = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
        let row = conn.fetch_one("select count(*) from message").await.unwrap();
        sqlx::Row::get::<i64, _>(&row, 0)
    };
    assert!(left().await < 7_000);
    // A copy has none of them.
    stores.backup(&dir.path().join("copy.db")).await.unwrap();
    assert_eq!(left().await, 1_000);
    // Fates may be forgotten whether or not the messages are swept; the counts stay.
    let queued = stores.queue.pending(&[wanted("u9@d", None, 0)], 10).await.unwrap().remove(0);
    let settled = queued.iter().map(|message| message.settled(Outcome::Refused, None, 200, 1)).collect();
    stores.queue.settle(settled).await.unwrap();
    stores.fates.purge(3_000_000_000_000).await.unwrap();
    stores.close().await.unwrap();
    let stores = open(dir.path()).await;
    let counts = stores.fates.counts().await.unwrap();
    assert_eq!((counts.stored, counts.delivered, counts.refused), (990, 9_000, 10));
    assert!(counts.balanced());
    let queued = stores.queue.pending(&[wanted("u9@d", None, 0)], 10_000).await.unwrap().remove(0);
    assert_eq!(queued.len(), 990);
}

#[tokio::test]
async fn names_longer_than_the_index_reads_at_first() {
    let dir = tempfile::tempdir().unwrap();
    let recipient = "r".repeat(1_000);
    let stores = open(dir.path()).await;
    stores.queue.append(vec![message(&recipient, Some(&"d".repeat(400)), "x")]).await.unwrap();
    stores.close().await.unwrap();
    let stores = open(dir.path()).await;
    assert_eq!(stores.queue.depth(&recipient).await.unwrap().count, 1);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let stores = open(dir.path()).await;
    let second = Stores::open("sqlite:", dir.path()).await;
    assert!(matches!(second, Err(StoreError::InUse { pid: Some(pid), .. }) if pid == std::process::id()));
    stores.close().await.unwrap();
    drop(stores);
    open(dir.path()).await;
}

#[tokio::test]
async fn a_newer_file_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).await.close().await.unwrap();
    let file = dir.path().join("chappe.db");
    let mut conn = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    conn.execute("update chappe_schema set version = 99").await.unwrap();
    conn.close().await.unwrap();
    let newest = crate::sqlite::schema::STEPS.len() as i64;
    let refused = Stores::open("sqlite:", dir.path()).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 99, known }) if known == newest), "{refused:?}");
}

/// A file of the first version, with a message that waits.
#[tokio::test]
async fn an_older_file_is_migrated_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chappe.db");
    let mut conn = SqliteConnectOptions::new().filename(&file).create_if_missing(true).connect().await.unwrap();
    conn.execute(crate::sqlite::schema::STEPS[0]).await.unwrap();
    conn.execute("create table chappe_schema (version integer not null) strict").await.unwrap();
    conn.execute("insert into chappe_schema values (1)").await.unwrap();
    let old = message("bob@d", None, "old");
    let row = sqlx::query("insert into message (id, data) values (2048, ?)").bind(crate::codec::put_message(&old));
    conn.execute(row).await.unwrap();
    let bindings = crate::codec::put_bindings(&[binding("a", 1)]);
    let row = sqlx::query("insert into location values ('bob@d', 7, 1, ?)").bind(bindings);
    conn.execute(row).await.unwrap();
    conn.execute("update tally set accepted = 1").await.unwrap();
    conn.close().await.unwrap();

    let stores = open(dir.path()).await;
    assert!(stores.fates.counts().await.unwrap().balanced());
    let queued = stores.queue.pending(&[wanted("bob@d", None, 0)], 10).await.unwrap().remove(0);
    assert_eq!(queued.iter().map(|message| &message.body).collect::<Vec<_>>(), [&old.body]);
    assert_eq!(stores.locations.bindings("bob@d").await.unwrap(), (Revision(7), vec![binding("a", 1)]));
    let entries = vec![entry(&["alice@d", "bob@d"], "new")];
    stores.queue.write(Write { entries, ..Write::default() }).await.unwrap();
    assert_eq!(stores.conversations.list("bob@d", None, 10).await.unwrap().len(), 1);
    stores.close().await.unwrap();
}

#[tokio::test]
async fn history_is_there_after_a_restart_sorted_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let conversation = ConversationId::of("alice@d", "u0@d");
    let mut expected = Vec::new();
    for round in 0..6 {
        let stores = open(dir.path()).await;
        let batch = (0..4_000).map(|n| entry(&["alice@d", &format!("u{}@d", n % 40)], "text"));
        let written = stores.queue.write(Write { entries: batch.collect(), ..Write::default() }).await.unwrap();
        expected.extend(written.entries.iter().step_by(40).map(|id| id.unwrap()));
        let page = stores.conversations.page("u0@d", conversation, Cursor::After(0), 1_000).await.unwrap();
        assert_eq!(page.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), expected);
        assert_eq!(stores.conversations.list("alice@d", None, 100).await.unwrap().len(), 40);
        if round == 3 {
            // What is erased stays so.
            stores.conversations.erase("u0@d", conversation).await.unwrap();
            stores.conversations.erase("alice@d", conversation).await.unwrap();
            expected.clear();
        }
        if round % 2 == 0 {
            stores.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_overcome() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open_with(&dir.path().join("chappe.db"), |options| options.pragma("max_page_count", "200"))
        .await
        .unwrap();
    let big = |n: u32| NewMessage { body: vec![7; 20_000].into(), ..message("bob@d", None, &n.to_string()) };
    let (mut stored, mut refused) = (0u64, 0);
    for n in 0..60 {
        match store.append(vec![big(n)]).await {
            Ok(_) => stored += 1,
            Err(StoreError::Full) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stored > 10 && refused > 10, "{stored} stored, {refused} refused");
    // What was refused left nothing: neither message nor count nor mark of a receipt.
    let counts = store.counts().await.unwrap();
    assert!(counts.balanced() && counts.accepted == stored, "{counts:?}");
    let receipt = Receipt {
        message_id: "m".into(),
        sender: "a@d".into(),
        recipient: "b@d".into(),
        state: ReceiptState::Delivered,
    };
    let once = NewMessage { once: Some(receipt.clone()), ..big(100) };
    assert!(matches!(store.append(vec![once.clone()]).await, Err(StoreError::Full)));
    // Recorded fates wait for room.
    let fate = Fate {
        message_id: None,
        call_id: "c".repeat(30_000).into(),
        recipient: "b@d".into(),
        device: None,
        event: Event::Accepted,
        detail: 0,
        at_ms: 1,
    };
    store.record(vec![fate.clone()]).await.unwrap();
    assert_eq!(store.lookup(&fate.call_id).await.unwrap(), std::slice::from_ref(&fate));
    // Room again, once some are gone; a deletion needs none.
    let queued = store.pending(&[wanted("bob@d", None, 0)], 5).await.unwrap().remove(0);
    let settled = queued.iter().map(|message| message.settled(Outcome::Delivered, None, 200, 1)).collect();
    assert_eq!(store.settle(settled).await.unwrap(), [true; 5]);
    assert!(store.append(vec![once]).await.unwrap()[0].is_some());
    assert_eq!(store.first(vec![receipt], 1).await.unwrap(), [false]);
    assert_eq!(store.lookup(&fate.call_id).await.unwrap(), [fate]);
    assert!(store.counts().await.unwrap().balanced());
    store.close().await.unwrap();
}

/// A file system of six megabytes, taken down at the end.
struct Small(tempfile::TempDir);

impl Small {
    /// `None` where this process may not mount.
    fn mount() -> Option<Small> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "chappe"]).arg(dir.path()).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Small(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).output().ok();
    }
}

#[tokio::test]
async fn a_full_file_system_is_told_and_overcome() {
    let Some(small) = Small::mount() else {
        println!("skipped: may not mount a file system");
        return;
    };
    let stores = open(small.0.path()).await;
    let big = |n: u32| NewMessage { body: vec![7; 20_000].into(), ..message("bob@d", None, &n.to_string()) };
    let mut stored = Vec::new();
    let mut refused = 0;
    for n in 0..400 {
        match stores.queue.append(vec![big(n)]).await {
            Ok(ids) => stored.extend(ids),
            Err(error) => {
                assert!(error.is_temporary(), "{error}");
                refused += 1;
            }
        }
    }
    assert!(stored.len() > 20 && refused > 20, "{} stored, {refused} refused", stored.len());
    let here = async |stores: &Stores| {
        let found = stores.queue.pending(&[wanted("bob@d", None, 0)], 1_000).await.unwrap().remove(0);
        found.iter().map(|message| Some(message.id)).collect::<Vec<_>>()
    };
    assert_eq!(here(&stores).await, stored);
    // Room, and it goes on by itself.
    let more = Command::new("mount").args(["-o", "remount,size=64m"]).arg(small.0.path()).output();
    assert!(more.unwrap().status.success());
    stored.extend(stores.queue.append(vec![big(1_000)]).await.unwrap());
    stores.close().await.unwrap();
    let stores = open(small.0.path()).await;
    assert_eq!(here(&stores).await, stored);
    assert!(stores.fates.counts().await.unwrap().balanced());
    stores.close().await.unwrap();
}

#[tokio::test]
async fn a_backup_is_a_store_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let stores = open(dir.path()).await;
    stores.queue.append((0..100).map(|n| message("bob@d", None, &n.to_string())).collect()).await.unwrap();
    stores.locations.replace("bob@d", Revision::NONE, &[binding("a", 1)]).await.unwrap();
    let copy = dir.path().join("copy.db");
    stores.backup(&copy).await.unwrap();
    assert!(matches!(stores.backup(&copy).await, Err(StoreError::Unavailable(_))));
    stores.queue.append(vec![message("bob@d", None, "later")]).await.unwrap();
    let stores = Stores::open("sqlite:copy.db", dir.path()).await.unwrap();
    assert_eq!(stores.queue.depth("bob@d").await.unwrap().count, 100);
    assert_eq!(stores.locations.bindings("bob@d").await.unwrap().1, [binding("a", 1)]);
    assert!(stores.fates.counts().await.unwrap().balanced());
}

#[tokio::test]
async fn urls() {
    use crate::StoreUrl;
    for (url, expected) in [
        ("sqlite:", Some(StoreUrl::Sqlite(None))),
        ("sqlite:other.db", Some(StoreUrl::Sqlite(Some("other.db".into())))),
        ("sqlite:///var/lib/chappe/x.db", Some(StoreUrl::Sqlite(Some("/var/lib/chappe/x.db".into())))),
        ("memory:", Some(StoreUrl::Memory)),
        ("postgres://u:p@h/d", Some(StoreUrl::Postgres("postgres://u:p@h/d".into()))),
        ("mysql://u:p@h/d", None),
        ("", None),
    ] {
        assert_eq!(url.parse::<StoreUrl>().ok(), expected, "{url}");
    }
    // A password does not get into the message.
    assert!(!"mysql://u:secret@h/d".parse::<StoreUrl>().unwrap_err().to_string().contains("secret"));
}
