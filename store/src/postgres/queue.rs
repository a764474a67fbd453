//! The queue: writes of many callers in one transaction, each statement over arrays.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sqlx::postgres::{PgConnection, PgPool, Postgres as Engine};
use sqlx::{Executor, Row};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{DAY, Postgres, TRIES, again, history, past, shard, states};
use crate::fate::{Counts, Fate};
use crate::ids::Ids;
use crate::queue::{Depth, DeviceCopy, MessageQueue, QueuedMessage, Wanted, Write, Written};
use crate::{StoreError, codec};

/// Writes that wait before callers have to wait themselves.
pub(super) const WAITING: usize = 4096;
/// Transactions under way at once; each gathers what waits when it starts.
const WRITERS: usize = 4;
/// Writes in one transaction.
const GROUP: usize = 256;

/// One caller's write.
pub(super) enum Asked {
    Write(Write, Answer),
    /// One writer is to end.
    End,
}

/// Starts the writers; they end by [`Asked::End`], or when nobody is left to ask.
pub(super) fn start(pool: &PgPool, ids: &Arc<Mutex<Ids>>, asked: mpsc::Receiver<Asked>) -> Vec<JoinHandle<()>> {
    let asked = Arc::new(tokio::sync::Mutex::new(asked));
    (0..WRITERS).map(|_| tokio::spawn(write_on(pool.clone(), ids.clone(), asked.clone()))).collect()
}

async fn write_on(pool: PgPool, ids: Arc<Mutex<Ids>>, asked: Arc<tokio::sync::Mutex<mpsc::Receiver<Asked>>>) {
    let mut group = Vec::with_capacity(GROUP);
    loop {
        let mut end = false;
        {
            // One gathers while the others write.
            let mut asked = asked.lock().await;
            while group.len() < GROUP {
                let next = if group.is_empty() { asked.recv().await } else { asked.try_recv().ok() };
                match next {
                    Some(Asked::Write(write, tx)) => group.push((write, tx)),
                    Some(Asked::End) => end = true,
                    None => end |= group.is_empty(),
                }
                if end || asked.is_empty() {
                    break;
                }
            }
        }
        let (writes, answers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        if !writes.is_empty() {
            answer_all(&pool, &ids, &writes, answers).await;
        }
        if end {
            return;
        }
    }
}

type Answer = oneshot::Sender<Result<Written, StoreError>>;

async fn answer_all(pool: &PgPool, ids: &Mutex<Ids>, writes: &[Write], answers: Vec<Answer>) {
    match transact(pool, ids, writes).await {
        Ok(written) => answers.into_iter().zip(written).for_each(|(tx, written)| drop(tx.send(Ok(written)))),
        // What one caller gave may be what the engine refuses (a NUL in a text, say): the others must not pay for it.
        Err(error) if writes.len() > 1 && error.as_database_error().is_some() => {
            for (write, tx) in writes.iter().zip(answers) {
                let alone = transact(pool, ids, std::slice::from_ref(write)).await;
                tx.send(alone.map(|mut written| written.remove(0)).map_err(StoreError::from)).ok();
            }
        }
        Err(error) => {
            tracing::error!(%error, "store: commit failed");
            let error = StoreError::from(error);
            answers.into_iter().for_each(|tx| drop(tx.send(Err(error.clone()))));
        }
    }
}

/// Writes all in one transaction, which is repeated where the engine asks for it.
async fn transact(pool: &PgPool, ids: &Mutex<Ids>, writes: &[Write]) -> Result<Vec<Written>, sqlx::Error> {
    let mut tries = 0;
    loop {
        let mut tx = pool.begin().await?;
        let done = match write(&mut tx, ids, writes, tries).await {
            Ok(written) => tx.commit().await.map(|()| written),
            Err(error) => Err(error),
        };
        match done {
            Err(error) if again(&error) && tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

/// Tables are always taken in the same order, and rows in the order of their keys, so that two writers seldom wait
/// for each other in a circle.
///
/// `tries`: how often it has been tried before.
async fn write(
    tx: &mut PgConnection,
    ids: &Mutex<Ids>,
    writes: &[Write],
    tries: usize,
) -> Result<Vec<Written>, sqlx::Error> {
    let once = writes.iter().flat_map(|write| &write.append).filter_map(|message| {
        let receipt = message.once.as_ref()?;
        Some((receipt.key(), message.accepted_ms / 1000 / DAY))
    });
    let mut fresh = mark(&mut *tx, once.chain(history::once(writes))).await?;
    let mut there = remove(tx, writes).await?;

    let mut counts = Counts::default();
    let mut deltas: BTreeMap<(i32, &str), (i64, i64)> = BTreeMap::new();
    let mut fates: Vec<Fate> = Vec::new();
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    let mut answers = Vec::with_capacity(writes.len());
    for write in writes {
        let mut written = Written::default();
        let before = rows.len();
        for message in &write.append {
            if message.once.as_ref().is_some_and(|receipt| !fresh.remove(&receipt.key())) {
                written.ids.push(None);
                continue;
            }
            let id = ids.lock().next();
            rows.push((id, message));
            written.ids.push(Some(id));
        }
        // How many copies of it there are so far.
        let mut taken: HashMap<u64, usize> = HashMap::new();
        for settlement in &write.settle {
            let size = there.remove(&(settlement.id, &*settlement.recipient));
            written.settled.push(size.is_some());
            if let Some(size) = size {
                let delta = deltas.entry((shard(&settlement.recipient), &settlement.recipient)).or_default();
                *delta = (delta.0 - 1, delta.1 - size);
                settlement.outcome.count(&mut counts, 1);
                fates.push(settlement.fate());
                // Where a message of another node is in the way, so that it has to be tried again, it is passed by.
                taken.insert(settlement.id, tries * 16);
            }
        }
        for DeviceCopy { of, message } in &write.copies {
            let id = taken.get_mut(of).map(|nth| {
                *nth += 1;
                Ids::of_copy(*of, *nth - 1)
            });
            rows.extend(id.map(|id| (id, message)));
            written.copies.push(id);
        }
        for (_, message) in &rows[before..] {
            let delta = deltas.entry((shard(&message.recipient), &message.recipient)).or_default();
            *delta = (delta.0 + 1, delta.1 + message.size() as i64);
            counts.accepted += 1;
            fates.push(message.stored());
        }
        fates.extend(write.fates.iter().cloned());
        for entry in &write.entries {
            if entry.once.as_ref().is_some_and(|receipt| !fresh.remove(&receipt.key())) {
                written.entries.push(None);
                continue;
            }
            let id = ids.lock().next();
            entries.push((id, entry));
            written.entries.push(Some(id));
        }
        answers.push(written);
    }

    if !rows.is_empty() {
        let text = "insert into message (shard, id, recipient, device, expires, size, data) select * from
             unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bytea[])";
        let query = sqlx::query(text)
            .bind(rows.iter().map(|(_, message)| shard(&message.recipient)).collect::<Vec<_>>())
            .bind(rows.iter().map(|(id, _)| *id as i64).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, message)| &*message.recipient).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, message)| message.device.as_deref()).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, message)| message.expires_at.min(i64::MAX as u64) as i64).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, message)| message.size() as i64).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, message)| codec::put_message(message)).collect::<Vec<_>>());
        tx.execute(query).await?;
    }
    count_depths(tx, &deltas).await?;
    history::append(tx, &entries).await?;
    let mut news = states::apply(tx, writes.iter().flat_map(|write| &write.reached)).await?.into_iter();
    for (write, written) in writes.iter().zip(&mut answers) {
        written.news = news.by_ref().take(write.reached.len()).collect();
    }
    log(tx, ids, &fates).await?;
    if counts != Counts::default() {
        // A row for each shard's worth of writers, so that they seldom wait for each other.
        let place = deltas.keys().next().map_or(0, |(shard, _)| *shard);
        let text = "insert into tally (shard, accepted, delivered, expired, refused) values ($1, $2, $3, $4, $5)
             on conflict (shard) do update set accepted = tally.accepted + excluded.accepted,
             delivered = tally.delivered + excluded.delivered, expired = tally.expired + excluded.expired,
             refused = tally.refused + excluded.refused";
        let query = [counts.accepted, counts.delivered, counts.expired, counts.refused]
            .into_iter()
            .fold(sqlx::query(text).bind(place), |query, count| query.bind(count as i64));
        tx.execute(query).await?;
    }
    Ok(answers)
}

/// Marks receipts as seen; gives those that were not.
pub(super) async fn mark<'e>(
    engine: impl Executor<'e, Database = Engine>,
    receipts: impl Iterator<Item = (u64, u64)>,
) -> Result<HashSet<u64>, sqlx::Error> {
    let rows: BTreeMap<u64, u64> = receipts.collect();
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let text = "insert into receipt (shard, key, day) select * from unnest($1::integer[], $2::bigint[], $3::bigint[])
         on conflict (shard, key) do nothing returning key";
    let query = sqlx::query(text)
        .bind(rows.keys().map(|key| (*key % super::SHARDS) as i32).collect::<Vec<_>>())
        .bind(rows.keys().map(|key| *key as i64).collect::<Vec<_>>())
        .bind(rows.values().map(|day| *day as i64).collect::<Vec<_>>());
    engine.fetch_all(query).await?.iter().map(|row| Ok(row.try_get::<i64, _>(0)? as u64)).collect()
}

/// Those of the receipts that are marked.
pub(super) async fn marked<'e>(
    engine: impl Executor<'e, Database = Engine>,
    keys: &[u64],
) -> Result<HashSet<u64>, sqlx::Error> {
    let text = "select key from receipt natural join unnest($1::integer[], $2::bigint[]) as asked (shard, key)";
    let query = sqlx::query(text)
        .bind(keys.iter().map(|key| (*key % super::SHARDS) as i32).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| *key as i64).collect::<Vec<_>>());
    engine.fetch_all(query).await?.iter().map(|row| Ok(row.try_get::<i64, _>(0)? as u64)).collect()
}

/// Removes what is settled; gives the sizes of those that were still there.
async fn remove<'w>(tx: &mut PgConnection, writes: &'w [Write]) -> Result<HashMap<(u64, &'w str), i64>, sqlx::Error> {
    let settled: BTreeSet<(i32, u64, &str)> = writes
        .iter()
        .flat_map(|write| &write.settle)
        .map(|settlement| (shard(&settlement.recipient), settlement.id, &*settlement.recipient))
        .collect();
    if settled.is_empty() {
        return Ok(HashMap::new());
    }
    let text = "delete from message m using unnest($1::integer[], $2::bigint[], $3::text[]) as s (shard, id, recipient)
         where m.shard = s.shard and m.id = s.id and m.recipient = s.recipient returning m.id, m.size";
    let query = sqlx::query(text)
        .bind(settled.iter().map(|(shard, _, _)| *shard).collect::<Vec<_>>())
        .bind(settled.iter().map(|(_, id, _)| *id as i64).collect::<Vec<_>>())
        .bind(settled.iter().map(|(_, _, recipient)| *recipient).collect::<Vec<_>>());
    let mut sizes = HashMap::new();
    for row in tx.fetch_all(query).await? {
        sizes.insert(row.try_get::<i64, _>(0)? as u64, row.try_get::<i64, _>(1)?);
    }
    Ok(settled.into_iter().filter_map(|(_, id, name)| Some(((id, name), *sizes.get(&id)?))).collect())
}

async fn count_depths(tx: &mut PgConnection, deltas: &BTreeMap<(i32, &str), (i64, i64)>) -> Result<(), sqlx::Error> {
    if deltas.is_empty() {
        return Ok(());
    }
    let shards: Vec<i32> = deltas.keys().map(|(shard, _)| *shard).collect();
    let names: Vec<&str> = deltas.keys().map(|(_, name)| *name).collect();
    let text = "insert into depth (shard, recipient, count, bytes)
         select * from unnest($1::integer[], $2::text[], $3::bigint[], $4::bigint[])
         on conflict (shard, recipient) do update
         set count = depth.count + excluded.count, bytes = depth.bytes + excluded.bytes";
    let query = sqlx::query(text)
        .bind(&shards)
        .bind(&names)
        .bind(deltas.values().map(|(count, _)| *count).collect::<Vec<_>>())
        .bind(deltas.values().map(|(_, bytes)| *bytes).collect::<Vec<_>>());
    tx.execute(query).await?;
    if deltas.values().any(|(count, _)| *count < 0) {
        let text = "delete from depth d using unnest($1::integer[], $2::text[]) as s (shard, recipient)
             where d.shard = s.shard and d.recipient = s.recipient and d.count = 0";
        tx.execute(sqlx::query(text).bind(&shards).bind(&names)).await?;
    }
    Ok(())
}

async fn log(tx: &mut PgConnection, ids: &Mutex<Ids>, fates: &[Fate]) -> Result<(), sqlx::Error> {
    if fates.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = {
        let mut ids = ids.lock();
        fates.iter().map(|_| ids.next() as i64).collect()
    };
    let text = "insert into fate (shard, id, message_id, call_id, at_ms, data) select * from
         unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bytea[])";
    let query = sqlx::query(text)
        .bind(fates.iter().map(|fate| shard(&fate.recipient)).collect::<Vec<_>>())
        .bind(numbers)
        .bind(fates.iter().map(|fate| fate.message_id.as_deref()).collect::<Vec<_>>())
        .bind(fates.iter().map(|fate| &*fate.call_id).collect::<Vec<_>>())
        .bind(fates.iter().map(|fate| fate.at_ms.min(i64::MAX as u64) as i64).collect::<Vec<_>>())
        .bind(fates.iter().map(|fate| codec::put_fates(std::iter::once(fate))).collect::<Vec<_>>());
    tx.execute(query).await?;
    Ok(())
}

/// Sends the writers a write and waits for its commit.
pub(super) async fn ask(writes: &mpsc::Sender<Asked>, write: Write) -> Result<Written, StoreError> {
    let (tx, rx) = oneshot::channel();
    writes.send(Asked::Write(write, tx)).await.map_err(|_| StoreError::Closed)?;
    rx.await.map_err(|_| StoreError::Closed)?
}

#[async_trait::async_trait]
impl MessageQueue for Postgres {
    async fn write(&self, write: Write) -> Result<Written, StoreError> {
        ask(&self.writes, write).await
    }

    async fn pending(&self, wanted: &[Wanted], limit: usize) -> Result<Vec<Vec<QueuedMessage>>, StoreError> {
        let text = "select w.n, m.id, m.data
             from unnest($1::integer[], $2::text[], $3::text[], $4::bigint[]) with ordinality
                 as w (shard, recipient, device, after, n)
             cross join lateral (
                 select id, data from message
                 where shard = w.shard and recipient = w.recipient and id > w.after
                     and (w.device is null or device is null or device = w.device)
                 order by id limit $5) m
             order by w.n, m.id";
        let query = sqlx::query(text)
            .bind(wanted.iter().map(|wanted| shard(&wanted.recipient)).collect::<Vec<_>>())
            .bind(wanted.iter().map(|wanted| &*wanted.recipient).collect::<Vec<_>>())
            .bind(wanted.iter().map(|wanted| wanted.device.as_deref()).collect::<Vec<_>>())
            .bind(wanted.iter().map(|wanted| wanted.after as i64).collect::<Vec<_>>())
            .bind(limit.min(i64::MAX as usize) as i64);
        let mut found: Vec<Vec<QueuedMessage>> = wanted.iter().map(|_| Vec::new()).collect();
        for row in self.pool.fetch_all(query).await? {
            let data = Bytes::from(row.try_get::<Vec<u8>, _>(2)?);
            let message = codec::take_message(row.try_get::<i64, _>(1)? as u64, data)?;
            // Ordinality counts from 1.
            if let Some(list) = found.get_mut(row.try_get::<i64, _>(0)? as usize - 1) {
                list.push(message);
            }
        }
        Ok(found)
    }

    async fn expired(&self, now: u64, limit: usize) -> Result<Vec<QueuedMessage>, StoreError> {
        let query = sqlx::query("select id, data from message where expires <= $1 order by expires limit $2");
        let query = query.bind(now as i64).bind(limit.min(i64::MAX as usize) as i64);
        let rows = self.pool.fetch_all(query).await?;
        rows.iter()
            .map(|row| {
                let data = Bytes::from(row.try_get::<Vec<u8>, _>(1)?);
                codec::take_message(row.try_get::<i64, _>(0)? as u64, data)
            })
            .collect()
    }

    async fn depth(&self, recipient: &str) -> Result<Depth, StoreError> {
        let query = sqlx::query("select count, bytes from depth where shard = $1 and recipient = $2");
        let row = self.pool.fetch_optional(query.bind(shard(recipient)).bind(recipient)).await?;
        row.map_or(Ok(Depth::default()), |row| depth(&row, 0))
    }

    async fn depths(&self, after: Option<&str>, limit: usize) -> Result<Vec<(Box<str>, Depth)>, StoreError> {
        let text = "select recipient, count, bytes from depth
             where (shard, recipient) > ($1, $2) and count > 0 order by shard, recipient limit $3";
        let rows = self.pool.fetch_all(past(text, after, limit)).await?;
        rows.iter().map(|row| Ok((row.try_get::<&str, _>(0)?.into(), depth(row, 1)?))).collect()
    }
}

fn depth(row: &sqlx::postgres::PgRow, at: usize) -> Result<Depth, StoreError> {
    Ok(Depth { count: row.try_get::<i64, _>(at)? as u64, bytes: row.try_get::<i64, _>(at + 1)? as u64 })
}
