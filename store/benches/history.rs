//! Layouts of the history beside each other, on the disk that `TMPDIR` names: rows a second, CPU for a row and bytes on disk
//! for a message: `cargo bench -p chappe-store --bench history` (docs/decisions/0015).

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, Row};

const CONVERSATIONS: u64 = 100_000;
const ROWS: u64 = 400_000;
/// Rows in one commit.
const GROUP: u64 = 128;
/// Rows sorted at a time.
const SORTED: u64 = 16_384;
/// Of an entry, with its names.
const BYTES: usize = 600;

const KEYED: &str = "create table entry (
    conversation blob not null, id integer not null, data blob not null, primary key (conversation, id)
) strict, without rowid";
const ARRIVAL: &str =
    "create table entry (id integer primary key, conversation blob not null, data blob not null) strict";
const PLACE: &str = "create table place (
    conversation blob not null, id integer not null, primary key (conversation, id)) strict, without rowid";

fn cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-4000")
        .pragma("wal_autocheckpoint", "4000")
        .disable_statement_logging();
    options.connect().await.expect("open")
}

/// Sixteen bytes that lie anywhere.
fn conversation(n: u64) -> String {
    let high = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{high:016x}{:016x}", high.rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

/// Rows of a group as SQLite takes them apart.
fn rows(from: u64, count: u64) -> String {
    let one = |n: u64| format!("[{n},\"{}\"]", conversation(n.wrapping_mul(0x2545_f491_4f6c_dd1d) % CONVERSATIONS));
    format!("[{}]", (from..from + count).map(one).collect::<Vec<_>>().join(","))
}

async fn measure(name: &str, tables: &[&'static str], insert: &'static str, sort: Option<&'static str>) {
    let dir = tempfile::tempdir().expect("folder");
    let file = dir.path().join("history.db");
    let mut conn = open(&file).await;
    for table in tables {
        conn.execute(*table).await.expect("table");
    }
    let data = vec![b'd'; BYTES];
    let (before, start) = (cpu(), Instant::now());
    let mut last = start;
    for from in (0..ROWS).step_by(GROUP as usize) {
        conn.execute(sqlx::query(insert).bind(rows(from, GROUP)).bind(&data)).await.expect("stored");
        let done = from + GROUP;
        if let Some(sort) = sort
            && done.is_multiple_of(SORTED)
        {
            // What is sorted can be sorted again after a crash, so the disk need not be waited for.
            conn.execute("pragma synchronous = normal").await.expect("set");
            conn.execute(sqlx::query(sort).bind((done - SORTED) as i64).bind(done as i64)).await.expect("sorted");
            conn.execute("pragma synchronous = full").await.expect("set");
        }
        if from < ROWS / 4 * 3 {
            last = Instant::now();
        }
    }
    let rate = (ROWS - ROWS / 4 * 3) as f64 / last.elapsed().as_secs_f64();
    let (wall, used) = (start.elapsed(), cpu().saturating_sub(before));
    conn.execute("pragma wal_checkpoint(truncate)").await.expect("checkpoint");
    let page = "select count(*), coalesce(sum(length(data)), 0) from ";
    let from = if tables.len() == 2 {
        "entry where id in (select id from place where conversation = unhex(?) order by id desc limit 50)"
    } else {
        "(select data from entry where conversation = unhex(?) order by id desc limit 50)"
    };
    let text: std::sync::Arc<str> = [page, from].concat().into();
    let reading = Instant::now();
    let mut read = 0;
    for n in 0..2_000 {
        let query = sqlx::query(sqlx::AssertSqlSafe(text.clone())).bind(conversation(n * 37 % CONVERSATIONS));
        read += conn.fetch_one(query).await.expect("read").get::<i64, _>(0);
    }
    let reading = reading.elapsed();
    conn.close().await.expect("closed");
    let size = std::fs::metadata(&file).expect("file").len();
    println!(
        "| {name:<40} | {:>8.0} | {rate:>12.0} | {:>6.1} | {:>9.0} | {:>7.0} |",
        ROWS as f64 / wall.as_secs_f64(),
        used.as_secs_f64() * 1e6 / ROWS as f64,
        size as f64 / ROWS as f64,
        reading.as_secs_f64() * 1e6 / 2_000.0,
    );
    assert!(read > 0);
}

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    println!("{ROWS} entries of {BYTES} bytes in {CONVERSATIONS} conversations, {GROUP} in a durable commit");
    println!("| layout | rows/s | last quarter | CPU µs | bytes/row | page µs |\n|---|---|---|---|---|---|");
    rt.block_on(async {
        measure(
            "keyed by (conversation, id)",
            &[KEYED],
            "insert into entry select unhex(value ->> 1), value ->> 0, ?2 from json_each(?1)",
            None,
        )
        .await;
        measure(
            "arrival, index at once",
            &[ARRIVAL, PLACE],
            "begin immediate;
             insert into entry select value ->> 0, unhex(value ->> 1), ?2 from json_each(?1);
             insert into place select unhex(value ->> 1), value ->> 0 from json_each(?1);
             commit",
            None,
        )
        .await;
        measure(
            "arrival, index sorted later",
            &[ARRIVAL, PLACE],
            "insert into entry select value ->> 0, unhex(value ->> 1), ?2 from json_each(?1)",
            Some(
                "insert into place select conversation, id from entry where id >= ?1 and id < ?2
                 order by conversation, id",
            ),
        )
        .await;
        measure(
            "arrival, moved to the keyed table later",
            &[
                KEYED,
                "create table fresh (id integer primary key, conversation blob not null, data blob not null) strict",
                PLACE,
            ],
            "insert into fresh select value ->> 0, unhex(value ->> 1), ?2 from json_each(?1)",
            Some(
                "begin immediate;
                 insert into entry select conversation, id, data from fresh where id >= ?1 and id < ?2
                 order by conversation, id;
                 delete from fresh where id >= ?1 and id < ?2;
                 commit",
            ),
        )
        .await;
    });
}
