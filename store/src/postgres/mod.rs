//! PostgreSQL and engines that speak like it (docs/decisions/0013). Many nodes may share one database.
//!
//! No listening, no advisory locks, no sequences: what such engines do not all have. A transaction that the engine asks to
//! repeat is repeated.

mod accounts;
mod devices;
mod documents;
mod files;
mod groups;
mod history;
mod queue;
pub(crate) mod schema;
mod sign_ins;
mod states;
mod traces;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chappe_sip::registrar::Binding;
use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Executor, Row};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::fate::{Counts, Fate, FateLog};
use crate::ids::Ids;
use crate::location::{Located, LocationStore, Revision};
use crate::receipt::{Receipt, Receipts};
use crate::{StoreError, codec};

const SHARDS: u64 = 4096;
const CONNECTIONS: u32 = 16;
/// Times that a transaction is repeated when the engine asks for it.
const TRIES: usize = 10;
/// Rows in one statement of a long list.
const PIECE: usize = 1000;
const DAY: u64 = 86_400;
/// Recorded fates that are worth a transaction of their own.
const ENOUGH: usize = 1024;
/// How long fewer may wait.
const LINGER: Duration = Duration::from_millis(500);
/// Fates that may wait to be written: reached only while the engine refuses.
const UNSAVED: usize = 200_000;

/// Fates that were recorded and are not yet written.
#[derive(Debug, Default)]
struct Unsaved {
    fates: Mutex<Vec<Fate>>,
    /// Held while they are being written, so that who looks one up waits for those on their way.
    saving: tokio::sync::Mutex<()>,
}

/// All traits over one database.
#[derive(Debug)]
pub(crate) struct Postgres {
    pool: PgPool,
    ids: Arc<Mutex<Ids>>,
    writes: mpsc::Sender<queue::Asked>,
    unsaved: Arc<Unsaved>,
    writers: Mutex<Vec<JoinHandle<()>>>,
}

impl Postgres {
    /// Connects and migrates.
    pub(crate) async fn open(url: &str) -> Result<Postgres, StoreError> {
        let bad = |_| StoreError::BadUrl { found: "postgres:…".into() };
        let options =
            PgConnectOptions::from_str(url).map_err(bad)?.application_name("chappe").disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await?;
        schema::migrate(&pool).await?;
        // Numbers of two nodes differ; where two drew the same, the key of the table tells and the write is repeated.
        let node = std::hash::RandomState::new().build_hasher().finish() as u16;
        let ids = Arc::new(Mutex::new(Ids::after(0, node)));
        let (writes, asked) = mpsc::channel(queue::WAITING);
        let writers = queue::start(&pool, &ids, asked);
        Ok(Postgres { pool, ids, writes, unsaved: Arc::default(), writers: Mutex::new(writers) })
    }

    /// Ends the connections once what was asked is done.
    pub(crate) async fn close(&self) {
        if let Err(error) = save(&self.unsaved, &self.writes).await {
            tracing::error!(%error, "store: the last fates are lost");
        }
        let writers = std::mem::take(&mut *self.writers.lock());
        for _ in &writers {
            self.writes.send(queue::Asked::End).await.ok();
        }
        for writer in writers {
            writer.await.ok();
        }
        self.pool.close().await;
    }
}

/// Writes what was recorded; it stays where this fails.
async fn save(unsaved: &Unsaved, writes: &mpsc::Sender<queue::Asked>) -> Result<(), StoreError> {
    let _saving = unsaved.saving.lock().await;
    let fates = std::mem::take(&mut *unsaved.fates.lock());
    if fates.is_empty() {
        return Ok(());
    }
    let write = crate::Write { fates: fates.clone(), ..crate::Write::default() };
    let saved = queue::ask(writes, write).await;
    if saved.is_err() {
        unsaved.fates.lock().splice(0..0, fates);
    }
    saved.map(drop)
}

/// Writes what was recorded once `wait` is over, and goes on trying while the engine refuses.
async fn save_soon(unsaved: Arc<Unsaved>, writes: mpsc::Sender<queue::Asked>, wait: Duration) {
    tokio::time::sleep(wait).await;
    while let Err(error) = save(&unsaved, &writes).await {
        if matches!(error, StoreError::Closed) {
            return;
        }
        tokio::time::sleep(LINGER).await;
    }
}

/// Where the records of an AOR (or of a number) lie.
fn shard(name: &str) -> i32 {
    (codec::fnv(name.as_bytes()) % SHARDS) as i32
}

/// Whether the engine asks for the transaction to be repeated: serialization failure, deadlock, or a number that another
/// node drew too.
fn again(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40001" | "40P01" | "23505"))
}

#[async_trait::async_trait]
impl LocationStore for Postgres {
    async fn bindings(&self, aor: &str) -> Result<(Revision, Vec<Binding>), StoreError> {
        let query = sqlx::query("select revision, data from location where shard = $1 and aor = $2");
        match self.pool.fetch_optional(query.bind(shard(aor)).bind(aor)).await? {
            None => Ok((Revision::NONE, Vec::new())),
            Some(row) => Ok((revision(&row, 0)?, codec::take_bindings(row.try_get(1)?)?)),
        }
    }

    async fn replace(&self, aor: &str, seen: Revision, next: &[Binding]) -> Result<Revision, StoreError> {
        let (next_revision, data) = match next {
            [] => (Revision::NONE, Vec::new()),
            _ => (Revision(self.ids.lock().next()), codec::put_bindings(next)),
        };
        for _ in 0..TRIES {
            let text = match (seen, next.is_empty()) {
                (Revision::NONE, true) => {
                    let (stored, _) = self.bindings(aor).await?;
                    return if stored == seen { Ok(seen) } else { Err(StoreError::Conflict) };
                }
                (Revision::NONE, false) => {
                    "insert into location (shard, aor, revision, lapses, data) values ($1, $2, $4, $5, $6)
                     on conflict (shard, aor) do nothing"
                }
                (_, true) => "delete from location where shard = $1 and aor = $2 and revision = $3",
                (_, false) => {
                    "update location set revision = $4, lapses = $5, data = $6
                     where shard = $1 and aor = $2 and revision = $3"
                }
            };
            // Each text uses its own of these; a server must know the type of those that it does not.
            let mut query = sqlx::query(text).bind(shard(aor)).bind(aor);
            if seen != Revision::NONE || next.is_empty() {
                query = query.bind(seen.0 as i64);
            } else {
                query = query.bind(None::<i64>);
            }
            if !next.is_empty() {
                query = query.bind(next_revision.0 as i64).bind(lapses(next)).bind(&data);
            }
            match self.pool.execute(query).await {
                Ok(done) if done.rows_affected() == 1 => return Ok(next_revision),
                Ok(_) => return Err(StoreError::Conflict),
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict)
    }

    async fn save(&self, batch: Vec<(Box<str>, Vec<Binding>)>) -> Result<(), StoreError> {
        // In the order of the key, so that two nodes that save the same AORs do not lock each other out; the later of
        // an AOR named twice stays.
        let rows: BTreeMap<(i32, Box<str>), Vec<Binding>> =
            batch.into_iter().map(|(aor, bindings)| ((shard(&aor), aor), bindings)).collect();
        let (gone, kept): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, bindings)| bindings.is_empty());
        for piece in kept.chunks(PIECE) {
            let shards: Vec<i32> = piece.iter().map(|((shard, _), _)| *shard).collect();
            let aors: Vec<&str> = piece.iter().map(|((_, aor), _)| &**aor).collect();
            let revisions: Vec<i64> = {
                let mut ids = self.ids.lock();
                piece.iter().map(|_| ids.next() as i64).collect()
            };
            let lapses: Vec<i64> = piece.iter().map(|(_, bindings)| lapses(bindings)).collect();
            let data: Vec<Vec<u8>> = piece.iter().map(|(_, bindings)| codec::put_bindings(bindings)).collect();
            let query = || {
                let text = "insert into location (shard, aor, revision, lapses, data)
                     select * from unnest($1::integer[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[])
                     on conflict (shard, aor) do update
                     set revision = excluded.revision, lapses = excluded.lapses, data = excluded.data";
                sqlx::query(text).bind(&shards).bind(&aors).bind(&revisions).bind(&lapses).bind(&data)
            };
            self.relaxed(query).await?;
        }
        for piece in gone.chunks(PIECE) {
            let shards: Vec<i32> = piece.iter().map(|((shard, _), _)| *shard).collect();
            let aors: Vec<&str> = piece.iter().map(|((_, aor), _)| &**aor).collect();
            let query = || {
                let text = "delete from location l using unnest($1::integer[], $2::text[]) as g (shard, aor)
                     where l.shard = g.shard and l.aor = g.aor";
                sqlx::query(text).bind(&shards).bind(&aors)
            };
            self.relaxed(query).await?;
        }
        Ok(())
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Located>, StoreError> {
        let text =
            "select aor, revision, data from location where (shard, aor) > ($1, $2) order by shard, aor limit $3";
        let rows = self.pool.fetch_all(past(text, after, limit)).await?;
        rows.iter()
            .map(|row| {
                let bindings = codec::take_bindings(row.try_get(2)?)?;
                Ok(Located { aor: row.try_get::<&str, _>(0)?.into(), revision: revision(row, 1)?, bindings })
            })
            .collect()
    }

    async fn remove_expired(&self, now: u64) -> Result<u64, StoreError> {
        let (mut removed, mut after) = (0, None::<String>);
        loop {
            let text = "select aor, revision, data from location where (shard, aor) > ($1, $2) and lapses <= $4
                 order by shard, aor limit $3";
            let query = past(text, after.as_deref(), PIECE).bind(now as i64);
            let rows = self.pool.fetch_all(query).await?;
            let Some(last) = rows.last() else { return Ok(removed) };
            after = Some(last.try_get(0)?);
            for row in &rows {
                let mut bindings = codec::take_bindings(row.try_get(2)?)?;
                let before = bindings.len();
                bindings.retain(|binding| binding.expires() > now);
                match self.replace(row.try_get(0)?, revision(row, 1)?, &bindings).await {
                    Ok(_) => removed += (before - bindings.len()) as u64,
                    // Refreshed meanwhile.
                    Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

impl Postgres {
    /// Runs a statement whose loss in a power cut does no harm, without waiting for the disk.
    async fn relaxed<'q>(
        &self,
        query: impl Fn() -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) -> Result<u64, StoreError> {
        for _ in 0..TRIES {
            let mut tx = self.pool.begin().await?;
            tx.execute("set local synchronous_commit = off").await?;
            match tx.execute(query()).await {
                Ok(done) => {
                    tx.commit().await?;
                    return Ok(done.rows_affected());
                }
                Err(error) if again(&error) => tx.rollback().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict)
    }
}

/// Binds the place after `after` and the limit as the first three parameters.
fn past<'q>(
    text: &'static str,
    after: Option<&'q str>,
    limit: usize,
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query(text).bind(after.map_or(-1, shard)).bind(after.unwrap_or("")).bind(limit.min(i64::MAX as usize) as i64)
}

fn lapses(bindings: &[Binding]) -> i64 {
    bindings.iter().map(|binding| binding.expires()).min().unwrap_or(0).min(i64::MAX as u64) as i64
}

fn revision(row: &sqlx::postgres::PgRow, column: usize) -> Result<Revision, sqlx::Error> {
    Ok(Revision(row.try_get::<i64, _>(column)? as u64))
}

#[async_trait::async_trait]
impl FateLog for Postgres {
    async fn record(&self, fates: Vec<Fate>) -> Result<(), StoreError> {
        if self.pool.is_closed() {
            return Err(StoreError::Closed);
        }
        let mut unsaved = self.unsaved.fates.lock();
        let before = unsaved.len();
        if before + fates.len() > UNSAVED {
            return Err(StoreError::Full);
        }
        unsaved.extend(fates);
        let full = before < ENOUGH && unsaved.len() >= ENOUGH;
        if before == 0 || full {
            tokio::spawn(save_soon(
                self.unsaved.clone(),
                self.writes.clone(),
                if full { Duration::ZERO } else { LINGER },
            ));
        }
        Ok(())
    }

    async fn lookup(&self, id: &str) -> Result<Vec<Fate>, StoreError> {
        save(&self.unsaved, &self.writes).await?;
        let text = "select data from fate where message_id = $1 or call_id = $1 order by at_ms, id";
        let rows = self.pool.fetch_all(sqlx::query(text).bind(id)).await?;
        let mut fates = Vec::with_capacity(rows.len());
        for row in rows {
            fates.extend(codec::take_fates(row.try_get(0)?)?);
        }
        Ok(fates)
    }

    async fn purge(&self, before_ms: u64) -> Result<(), StoreError> {
        let before = Ids::floor(before_ms) as i64;
        let text = "delete from fate where (shard, id) in (select shard, id from fate where id < $1 limit 10000)";
        while self.relaxed(|| sqlx::query(text).bind(before)).await? == 10_000 {}
        Ok(())
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        // One statement sees one moment.
        let text = "select (select count(*) from message), coalesce(sum(accepted), 0)::bigint,
             coalesce(sum(delivered), 0)::bigint, coalesce(sum(expired), 0)::bigint, coalesce(sum(refused), 0)::bigint
             from tally";
        let row = self.pool.fetch_one(text).await?;
        let count = |at: usize| row.try_get::<i64, _>(at).map(|count| count as u64);
        Ok(Counts {
            stored: count(0)?,
            accepted: count(1)?,
            delivered: count(2)?,
            expired: count(3)?,
            refused: count(4)?,
        })
    }
}

#[async_trait::async_trait]
impl Receipts for Postgres {
    async fn first(&self, receipts: Vec<Receipt>, now: u64) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<u64> = receipts.iter().map(Receipt::key).collect();
        for _ in 0..TRIES {
            match queue::mark(&self.pool, keys.iter().map(|key| (*key, now / DAY))).await {
                Ok(mut fresh) => return Ok(keys.iter().map(|key| fresh.remove(key)).collect()),
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict)
    }

    async fn known(&self, receipts: Vec<Receipt>) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<u64> = receipts.iter().map(Receipt::key).collect();
        let found = queue::marked(&self.pool, &keys).await?;
        Ok(keys.iter().map(|key| found.contains(key)).collect())
    }

    async fn forget(&self, before: u64) -> Result<(), StoreError> {
        let day = (before / DAY) as i64;
        let text =
            "delete from receipt where (shard, key) in (select shard, key from receipt where day < $1 limit 10000)";
        while self.relaxed(|| sqlx::query(text).bind(day)).await? == 10_000 {}
        Ok(())
    }
}
