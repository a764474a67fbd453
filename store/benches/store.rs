//! Rows a second, and CPU time for each message over the whole process, of the embedded store on the disk that `TMPDIR`
//! names: `cargo bench -p chappe-store`. With `CHAPPE_POSTGRES=postgres://…` also on an empty database there.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_sip::registrar::{Binding, Parts};
use chappe_store::{
    Account, ConversationId, Cursor, Event, Fate, NewEntry, NewMessage, Outcome, Reached, Receipt, ReceiptState,
    Revision, Secrets, Seen, Step, Stores, Wanted, Wants, Way, Write,
};
use futures_util::future::join_all;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USERS: usize = 10_000;

/// CPU time of all threads that live, in the kernel too.
fn cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Runs `work` over `count` things and prints what one costs.
fn measure(table: &mut String, rt: &Runtime, name: &str, count: usize, work: impl Future<Output = ()>) {
    if std::env::var("CHAPPE_ONLY").is_ok_and(|only| !name.contains(&only)) {
        return;
    }
    let (before, start) = (cpu(), Instant::now());
    rt.block_on(work);
    let (wall, used) = (start.elapsed(), cpu().saturating_sub(before));
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    writeln!(
        table,
        "| {name:<52} | {count:>8} | {:>9.0} | {:>7.1} | {:>7.1} |",
        count as f64 / wall.as_secs_f64(),
        each(wall),
        each(used)
    )
    .ok();
}

fn message(n: usize, size: usize) -> NewMessage {
    NewMessage {
        recipient: format!("user{}@bench.test", n % USERS).into(),
        device: None,
        sender: format!("user{}@bench.test", (n * 7) % USERS).into(),
        message_id: Some(format!("Wf3k9dE2-{n:016x}").into()),
        call_id: format!("{n:032x}@192.0.2.17").into(),
        headers: Bytes::from(vec![b'h'; 250]),
        body: Bytes::from(vec![b'b'; size]),
        accepted_ms: 1_800_000_000_000 + n as u64,
        expires_at: 1_900_000_000,
        wants: Wants::POSITIVE_DELIVERY,
        once: None,
    }
}

fn binding(n: usize, expires: u64) -> Binding {
    Binding::new(Parts {
        contact: &format!("sip:user{n}@192.0.2.{}:{};transport=tcp", n % 250, 1024 + n % 60_000),
        params: ";+g.oma.sip-im;+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.ftthumb\"",
        instance_id: Some(&format!("urn:uuid:00000000-0000-1000-8000-{n:012x}")),
        reg_id: Some(1),
        call_id: &format!("{n:032x}"),
        cseq: 1,
        received: &format!("192.0.2.{}:{}", n % 250, 1024 + n % 60_000),
        registered: 1_800_000_000,
        expires,
        user_agent: "Phone/7.1 (bench)",
        ..Parts::default()
    })
    .expect("it fits")
}

/// `callers` tasks, each with one message in its hands, until `count` are stored.
async fn append(stores: &Stores, callers: usize, count: usize) {
    let tasks = (0..callers).map(|caller| {
        let queue = stores.queue.clone();
        tokio::spawn(async move {
            for n in (caller..count).step_by(callers) {
                queue.append(vec![message(n, 700)]).await.expect("stored");
            }
        })
    });
    join_all(tasks).await;
}

/// Takes all messages away as a server does: some users at a time, each user's messages settled as its device answers.
async fn drain(stores: &Stores, users_at_once: usize) {
    for users in (0..USERS).collect::<Vec<_>>().chunks(users_at_once) {
        let wanted: Vec<Wanted> = users
            .iter()
            .map(|n| Wanted { recipient: format!("user{n}@bench.test").into(), device: Some("a".into()), after: 0 })
            .collect();
        let found = stores.queue.pending(&wanted, 100).await.expect("read");
        let tasks = found.into_iter().flatten().map(|message| {
            let queue = stores.queue.clone();
            async move {
                let settlement = message.settled(Outcome::Delivered, Some("a"), 200, 1_800_000_100_000);
                queue.settle(vec![settlement]).await.expect("settled")
            }
        });
        assert!(join_all(tasks).await.iter().all(|there| *there == [true]));
    }
}

fn receipt(n: usize) -> Receipt {
    Receipt {
        message_id: format!("Wf3k9dE2-{n:016x}").into(),
        sender: "alice@bench.test".into(),
        recipient: format!("user{}@bench.test", n % USERS).into(),
        state: ReceiptState::Delivered,
    }
}

fn table(rt: &Runtime, title: &str, open: impl AsyncFn() -> Stores) {
    let mut out = format!("\n{title}\n| what | count | each second | wall µs | CPU µs |\n|---|---|---|---|---|\n");
    let stores = rt.block_on(open());
    for (callers, count) in [(1, 300), (16, 5_000), (128, 50_000), (1024, 100_000)] {
        measure(&mut out, rt, &format!("append, {callers} callers"), count, append(&stores, callers, count));
    }
    let batch: Vec<_> = (0..50_000).map(|n| message(n, 700)).collect();
    measure(&mut out, rt, "append, 128 messages a call", batch.len(), async {
        for some in batch.chunks(128) {
            stores.queue.append(some.to_vec()).await.expect("stored");
        }
    });
    let stored = rt.block_on(stores.fates.counts()).expect("counts").stored as usize;
    rt.block_on(stores.close()).expect("closed");
    let mut stores = None;
    measure(&mut out, rt, "opened again, for each waiting message", stored, async { stores = Some(open().await) });
    let stores = stores.unwrap_or_else(|| rt.block_on(open()));
    measure(&mut out, rt, "drain: read 64 users, settle each message", stored, drain(&stores, 64));
    for callers in [16, 128, 1024] {
        append_and_drain(&mut out, rt, &stores, callers);
    }
    chat(&mut out, rt, &stores);
    measure(&mut out, rt, "new bindings, 128 callers", 50_000, async {
        let tasks = (0..128).map(|caller| {
            let locations = stores.locations.clone();
            tokio::spawn(async move {
                for n in (caller..50_000).step_by(128) {
                    let aor = format!("user{}@bench.test", (n * 7919) % 50_000);
                    locations.replace(&aor, Revision::NONE, &[binding(n, 1)]).await.expect("bound");
                }
            })
        });
        join_all(tasks).await;
    });
    measure(&mut out, rt, "refreshes written behind, 5,000 at a time", 100_000, async {
        for turn in 0..20 {
            let rows = (0..5_000).map(|n| (turn * 5_000 + n) * 7919 % 50_000);
            let rows = rows.map(|n| (format!("user{n}@bench.test").into(), vec![binding(n, 2)]));
            stores.locations.save(rows.collect()).await.expect("saved");
        }
    });
    measure(&mut out, rt, "receipts, 128 in a call", 50_000, async {
        for start in (0..50_000).step_by(128) {
            let some = (start..(start + 128).min(50_000)).map(receipt).collect();
            assert!(stores.receipts.first(some, 1_800_000_000).await.expect("marked").iter().all(|first| *first));
        }
    });
    measure(&mut out, rt, "fates recorded one by one", 200_000, async {
        for n in 0..200_000 {
            let fate = Fate {
                message_id: Some(format!("Wf3k9dE2-{n:016x}").into()),
                call_id: format!("{n:032x}@192.0.2.17").into(),
                recipient: format!("user{}@bench.test", n % USERS).into(),
                device: None,
                event: Event::Accepted,
                detail: 0,
                at_ms: 1_800_000_000_000,
            };
            while stores.fates.record(vec![fate.clone()]).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
        stores.fates.lookup("none").await.expect("found nothing");
    });
    measure(&mut out, rt, "fate looked up", 10, async {
        for n in 0..10 {
            assert!(!stores.fates.lookup(&format!("Wf3k9dE2-{n:016x}")).await.expect("found").is_empty());
        }
    });
    measure(&mut out, rt, "accounts imported, with a number", 100_000, async {
        let account = |n: usize| Account {
            aor: format!("user{n}@bench.test").into(),
            secrets: Secrets([7; Secrets::LEN]),
            tel: vec![format!("+1555{n:07}").into()],
            display_name: "".into(),
            created: 1_800_000_000,
            disabled: false,
            wishes: Default::default(),
        };
        stores.accounts.import((0..100_000).map(account).collect()).await.expect("imported");
    });
    measure(&mut out, rt, "accounts read in pages of 5,000", 100_000, async {
        let mut after: Option<Box<str>> = None;
        while let Some(last) = stores.accounts.page(after.as_deref(), 5_000).await.expect("read").pop() {
            after = Some(last.aor);
        }
    });
    measure(&mut out, rt, "bindings read in pages of 5,000", 50_000, async {
        let mut after: Option<Box<str>> = None;
        while let Some(last) = stores.locations.scan(after.as_deref(), 5_000).await.expect("read").pop() {
            after = Some(last.aor);
        }
    });
    rt.block_on(stores.close()).expect("closed");
    println!("{out}");
}

/// The history beside the queue, receipt states and known devices.
fn chat(out: &mut String, rt: &Runtime, stores: &Stores) {
    let entry = |n: usize| {
        let (user, other) = (format!("user{}@bench.test", n % USERS), format!("user{}@bench.test", (n * 7) % USERS));
        NewEntry {
            conversation: ConversationId::of(&user, &other),
            members: vec![user.clone().into(), other.into()],
            author: user.into(),
            message_id: Some(format!("Wf3k9dE2-{n:016x}").into()),
            at_ms: 1_800_000_000_000,
            content: Bytes::from(vec![b'c'; 500]),
            once: None,
        }
    };
    let count = 60_000;
    for (name, with_history) in [("queue alone", false), ("queue and history", true), ("queue and history again", true)]
    {
        measure(out, rt, &format!("append to {name}, 128 callers"), count, async {
            let tasks = (0..128).map(|caller| {
                let queue = stores.queue.clone();
                tokio::spawn(async move {
                    for n in (caller..count).step_by(128) {
                        let entries = if with_history { vec![entry(n)] } else { Vec::new() };
                        let write = Write { append: vec![message(n, 700)], entries, ..Write::default() };
                        queue.write(write).await.expect("stored");
                    }
                })
            });
            join_all(tasks).await;
        });
    }
    rt.block_on(drain(stores, 64));
    measure(out, rt, "page of 50 entries", 5_000, async {
        for n in 0..5_000 {
            let (user, other) =
                (format!("user{}@bench.test", n % USERS), format!("user{}@bench.test", (n * 7) % USERS));
            let name = ConversationId::of(&user, &other);
            let page = stores.conversations.page(&user, name, Cursor::Newest, 50).await.expect("read");
            assert!(!page.entries.is_empty());
        }
    });
    measure(out, rt, "list of a user's conversations", 5_000, async {
        for n in 0..5_000 {
            let list = stores.conversations.list(&format!("user{n}@bench.test"), None, 20).await.expect("read");
            assert!(!list.is_empty());
        }
    });
    for (name, step) in [("delivered", Step::Delivered), ("displayed", Step::Displayed)] {
        measure(out, rt, &format!("receipt states, {name}, 128 callers"), count, async {
            let tasks = (0..128).map(|caller| {
                let states = stores.receipt_states.clone();
                tokio::spawn(async move {
                    for n in (caller..count).step_by(128) {
                        let Receipt { message_id, sender, recipient, .. } = receipt(n);
                        let way = Way { message_id, sender, recipient };
                        states.apply(vec![Reached { way, step, at_ms: 1_800_000_000_000 }]).await.expect("taken");
                    }
                })
            });
            join_all(tasks).await;
        });
    }
    for at in [1_800_000_000, 1_800_086_400] {
        measure(out, rt, "devices seen, 512 in a call", 50_000, async {
            for start in (0..50_000).step_by(512) {
                let one = |n: usize| Seen {
                    aor: format!("user{}@bench.test", n * 7919 % 50_000).into(),
                    device: format!("urn:uuid:00000000-0000-1000-8000-{n:012x}").into(),
                    at,
                    params: ";+g.oma.sip-im;+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.ftthumb\""
                        .into(),
                    user_agent: "Phone/7.1 (bench)".into(),
                };
                let batch = (start..(start + 512).min(50_000)).map(one).collect();
                stores.devices.seen(batch).await.expect("noted");
            }
        });
    }
}

/// The whole life of messages, with the receipt in the write of the deletion.
fn append_and_drain(out: &mut String, rt: &Runtime, stores: &Stores, callers: usize) {
    let count = 60_000;
    measure(out, rt, &format!("whole life, {callers} callers"), count, async {
        let tasks = (0..callers).map(|caller| {
            let queue = stores.queue.clone();
            tokio::spawn(async move {
                for n in (caller..count).step_by(callers) {
                    queue.append(vec![message(n, 700)]).await.expect("stored");
                    let recipient = format!("user{}@bench.test", n % USERS).into();
                    let wanted = Wanted { recipient, device: Some("a".into()), after: 0 };
                    let found = queue.pending(&[wanted], 1).await.expect("read").remove(0);
                    let settled = found.iter().map(|m| m.settled(Outcome::Delivered, Some("a"), 200, 1)).collect();
                    queue.write(Write { settle: settled, ..Write::default() }).await.expect("settled");
                }
            })
        });
        join_all(tasks).await;
    });
}

mod rates {
    use divan::Bencher;
    use divan::counter::ItemsCount;

    use super::*;

    #[divan::bench(args = [1, 16, 128, 1024], sample_count = 10)]
    fn append_messages(bencher: Bencher<'_, '_>, in_one_call: usize) {
        let (rt, dir) = (runtime(), tempfile::tempdir().expect("folder"));
        let stores = rt.block_on(Stores::open("sqlite:", dir.path())).expect("open");
        let batch: Vec<_> = (0..in_one_call).map(|n| message(n, 700)).collect();
        bencher
            .counter(ItemsCount::new(in_one_call))
            .with_inputs(|| batch.clone())
            .bench_values(|batch| rt.block_on(stores.queue.append(batch)).expect("stored"));
        rt.block_on(stores.close()).expect("closed");
    }

    #[divan::bench(args = [128, 1024, 8192], sample_count = 10)]
    fn save_bindings(bencher: Bencher<'_, '_>, in_one_call: usize) {
        let (rt, dir) = (runtime(), tempfile::tempdir().expect("folder"));
        let stores = rt.block_on(Stores::open("sqlite:", dir.path())).expect("open");
        bencher
            .counter(ItemsCount::new(in_one_call))
            .with_inputs(|| {
                (0..in_one_call).map(|n| (format!("user{n}@d").into(), vec![binding(n, 1)])).collect::<Vec<_>>()
            })
            .bench_values(|batch| rt.block_on(stores.locations.save(batch)).expect("saved"));
        rt.block_on(stores.close()).expect("closed");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime")
}

fn main() {
    let rt = runtime();
    if std::env::args().any(|arg| arg == "--bench") {
        let dir = tempfile::tempdir().expect("folder");
        table(&rt, "SQLite", async || Stores::open("sqlite:", dir.path()).await.expect("open"));
        if let Ok(url) = std::env::var("CHAPPE_POSTGRES") {
            table(&rt, "PostgreSQL", async || Stores::open(&url, dir.path()).await.expect("open"));
        }
    }
    divan::main();
}
