//! A process that is killed while it writes has everything on disk that it was told of.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::conversations::entry;
use super::groups;
use super::receipt_states::{reached, way};
use super::{binding, message, queue::wanted};
use crate::{ConversationId, Cursor, GroupError, Outcome, Revision, Step, Stores, Write};

const FOLDER: &str = "CHAPPE_CRASH_FOLDER";

/// The child: prints a line for each write that was acknowledged, until it is killed. Does nothing on its own.
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let stores = Stores::open("sqlite:", Path::new(&folder)).await.unwrap();
    let worker = |worker: u32| {
        let stores = &stores;
        async move {
            let user = format!("user{worker}@d");
            for round in 0.. {
                let text = format!("{worker}-{round}");
                let write = Write {
                    append: vec![message(&user, None, &text)],
                    entries: vec![entry(&["alice@d", &user], &text)],
                    reached: vec![reached(&text, Step::Delivered, 1)],
                    ..Write::default()
                };
                let written = stores.queue.write(write).await.unwrap();
                println!("\nstored {user} {}", written.ids[0].unwrap());
                println!("\nkept {user} {}", written.entries[0].unwrap());
                println!("\ntold {user} {}", round + 1);
                if round == 0 {
                    let made = stores.groups.create(groups::group(&user, &[&user])).await;
                    assert!(matches!(made, Ok(()) | Err(GroupError::Exists(_))), "{made:?}");
                }
                let seqs = stores.groups.append(&user, 1, vec![groups::entry(&user, &text)]).await.unwrap();
                println!("\nlogged {user} {}", seqs[0].unwrap());
                if round % 3 == 0 {
                    let queued = stores.queue.pending(&[wanted(&user, None, 0)], 1).await.unwrap().remove(0);
                    println!("\nsettling {user} {}", queued[0].id);
                    let settle = vec![queued[0].settled(Outcome::Delivered, None, 200, 1)];
                    stores.queue.write(Write { settle, ..Write::default() }).await.unwrap();
                    println!("\nsettled {user} {}", queued[0].id);
                }
                let (seen, _) = stores.locations.bindings(&user).await.unwrap();
                let next = binding("a", round);
                let revision = stores.locations.replace(&user, seen, &[next]).await.unwrap();
                println!("\nbound {user} {}", revision.0);
            }
        }
    };
    futures_util::future::join_all((0..8).map(worker)).await;
}

#[tokio::test]
async fn acknowledged_writes_survive_kill() {
    let dir = tempfile::tempdir().unwrap();
    for lines in [10, 400, 1500] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "suite::crash::child", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        let mut told = told.lines().map_while(Result::ok).filter(|line| {
            ["stored ", "kept ", "told ", "logged ", "settling ", "settled ", "bound "]
                .iter()
                .any(|verb| line.starts_with(verb))
        });
        let mut seen: Vec<String> = told.by_ref().take(lines).collect();
        // SIGKILL, in the midst of the next commit as likely as not.
        child.kill().unwrap();
        child.wait().unwrap();
        // What was printed before the kill but not read yet was acknowledged, too; a torn last line counts not.
        seen.extend(told);
        assert!(seen.len() >= lines, "the child ended by itself");

        let stores = Stores::open("sqlite:", dir.path()).await.unwrap();
        let counts = stores.fates.counts().await.unwrap();
        assert!(counts.balanced(), "{counts:?}");
        let mut settling: Vec<(&str, u64)> = Vec::new();
        let mut settled: Vec<(&str, u64)> = Vec::new();
        let mut stored: Vec<(&str, u64)> = Vec::new();
        let mut kept: Vec<(&str, u64)> = Vec::new();
        let mut told: Vec<(&str, u64)> = Vec::new();
        let mut logged: Vec<(&str, u64)> = Vec::new();
        let mut entries = 0;
        let mut bound: Vec<(&str, u64)> = Vec::new();
        for line in &seen {
            let fields: Vec<&str> = line.split(' ').collect();
            let [verb, user, number] = fields[..] else { continue };
            let list = match verb {
                "stored" => &mut stored,
                "kept" => &mut kept,
                "told" => &mut told,
                "logged" => &mut logged,
                "settling" => &mut settling,
                "settled" => &mut settled,
                _ => &mut bound,
            };
            list.push((user, number.parse().unwrap_or(0)));
        }
        for worker in 0..8 {
            let user = format!("user{worker}@d");
            let here = stores.queue.pending(&[wanted(&user, None, 0)], usize::MAX).await.unwrap().remove(0);
            let here: Vec<u64> = here.iter().map(|message| message.id).collect();
            let mine = |list: &[(&str, u64)]| -> Vec<u64> {
                list.iter().filter(|(name, id)| *name == user && *id > 0).map(|(_, id)| *id).collect()
            };
            let gone = mine(&settled);
            assert!(gone.iter().all(|id| !here.contains(id)), "settled, yet back");
            // What was being settled may be there or not.
            let asked = mine(&settling);
            let missing = mine(&stored).into_iter().filter(|id| !asked.contains(id) && !here.contains(id)).count();
            assert_eq!(missing, 0, "messages of {user} lost");
            let (revision, _) = stores.locations.bindings(&user).await.unwrap();
            assert!(mine(&bound).iter().all(|told| Revision(*told) <= revision), "binding lost");
            let history = history(&stores, &user).await;
            assert!(mine(&kept).iter().all(|id| history.contains(id)), "history of {user} lost");
            entries += history.len() as u64;
            // Without gaps, and as far as was told.
            let (mut log, mut last) = (Vec::new(), 0);
            while let Some(next) = stores.groups.read(&user, last, 500).await.unwrap().last().map(|entry| entry.seq) {
                log.extend(last + 1..=next);
                last = next;
            }
            assert!(mine(&logged).iter().all(|seq| log.contains(seq)), "log of {user} lost");
            let head = stores.groups.load(&user).await.unwrap().map_or(0, |group| group.head.last);
            assert_eq!(head, last, "{user}");
            let ways: Vec<_> = mine(&told).iter().map(|next| way(&format!("{worker}-{}", next - 1))).collect();
            let status = stores.receipt_states.status(&ways).await.unwrap();
            assert!(status.iter().all(|status| status.delivered_ms == Some(1)), "states of {user} lost");
        }
        // Each write had one of both.
        assert_eq!(entries, counts.accepted);
        stores.close().await.unwrap();
    }
}

/// Ids of all entries of a user.
async fn history(stores: &Stores, user: &str) -> Vec<u64> {
    let conversation = ConversationId::of("alice@d", user);
    let (mut ids, mut more) = (Vec::new(), true);
    while more {
        let after = Cursor::After(ids.last().copied().unwrap_or(0));
        let page = stores.conversations.page(user, conversation, after, 500).await.unwrap();
        ids.extend(page.entries.iter().map(|entry| entry.id));
        more = page.more;
    }
    ids
}
