//! What is read into memory when the file is opened.

use std::collections::BTreeMap;

use ahash::AHashSet;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor, Row};

use super::Index;
use super::history::{self, Fresh};
use super::recent::Recent;
use crate::backlog::Backlog;
use crate::fate::Counts;
use crate::{StoreError, codec};

/// What the writer knows of the file when it starts.
pub(super) struct Loaded {
    pub(super) last: u64,
    pub(super) seen: Seen,
    /// Settled, but still in the file.
    pub(super) dead: Vec<u64>,
}

impl Loaded {
    /// Reads the index of the queue, the counts, the receipts seen and which entries have no place.
    pub(super) async fn read(conn: &mut SqliteConnection) -> Result<(Loaded, Index), StoreError> {
        let row =
            conn.fetch_one("select accepted, delivered, expired, refused, swept, placed, erased from tally").await?;
        let count = |at: usize| row.try_get::<i64, _>(at).map(|count| count as u64);
        let mut counts =
            Counts { accepted: count(0)?, stored: 0, delivered: count(1)?, expired: count(2)?, refused: count(3)? };
        let (swept, placed, erased): (i64, i64, i64) = (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
        // The newest row of the log has the newest counts.
        if let Some(row) = conn.fetch_optional("select tally from log order by id desc limit 1").await? {
            counts = codec::take_counts(row.try_get(0)?)?;
        }
        let mut dead: AHashSet<u64> = AHashSet::new();
        let mut rows = conn.fetch(sqlx::query("select settled from log where id > ?").bind(swept));
        while let Some(row) = rows.try_next().await? {
            dead.extend(codec::take_keys(row.try_get_unchecked(0)?));
        }
        drop(rows);

        let (mut backlog, mut last) = (Backlog::default(), 0);
        let query = sqlx::query("select id, substr(data, 1, ?) from message order by id");
        let mut rows = conn.fetch(query.bind(codec::QUEUE_HEAD as i64));
        let mut long = Vec::new();
        let mut heads = Vec::new();
        while let Some(row) = rows.try_next().await? {
            last = row.try_get_unchecked::<i64, _>(0)? as u64;
            if dead.contains(&last) {
                continue;
            }
            match codec::queue_head(row.try_get_unchecked(1)?) {
                Ok(head) => heads.push((last, head)),
                // Names that are longer than what was read, or damage: the second look tells.
                Err(_) => long.push(last),
            }
        }
        drop(rows);
        for id in long {
            let query = sqlx::query("select data from message where id = ?").bind(id as i64);
            let head = codec::queue_head(conn.fetch_one(query).await?.try_get_unchecked(0)?)?;
            heads.push((id, head));
        }
        heads.sort_by_key(|(id, _)| *id);
        for (id, head) in heads {
            backlog.push(&head.recipient, head.device.as_deref(), id, head.size, head.expires_at);
        }
        let mut seen = Seen::default();
        let mut rows = conn.fetch("select day, keys from receipt");
        while let Some(row) = rows.try_next().await? {
            let day = seen.days.entry(row.try_get_unchecked::<i64, _>(0)? as u64).or_default();
            day.extend(codec::take_keys(row.try_get_unchecked(1)?));
        }
        drop(rows);
        let mut fresh = Fresh::default();
        let query = sqlx::query("select conversation, id from entry where id > ? order by id").bind(placed);
        let mut rows = conn.fetch(query);
        while let Some(row) = rows.try_next().await? {
            fresh.push(history::name(row.try_get_unchecked(0)?)?, row.try_get_unchecked::<i64, _>(1)? as u64);
        }
        drop(rows);
        last = last.max(erased as u64);
        for table in [
            "select max(id) from log",
            "select max(id) from receipt",
            "select max(id) from entry",
            "select max(revision) from location",
        ] {
            let row = conn.fetch_one(table).await?;
            last = last.max(row.try_get::<Option<i64>, _>(0)?.unwrap_or(0) as u64);
        }
        let dead = dead.into_iter().collect();
        Ok((Loaded { last, seen, dead }, Index { backlog, counts, recent: Recent::default(), fresh }))
    }
}

/// Receipts that were seen, by day, so that forgetting is dropping a day.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) days: BTreeMap<u64, AHashSet<u64>>,
}

impl Seen {
    pub(super) fn contains(&self, key: u64) -> bool {
        self.days.values().any(|day| day.contains(&key))
    }

    /// Marks a receipt as seen; false where it was.
    pub(super) fn insert(&mut self, day: u64, key: u64) -> bool {
        !self.contains(key) && self.days.entry(day).or_default().insert(key)
    }

    pub(super) fn remove(&mut self, day: u64, key: u64) {
        self.days.get_mut(&day).map(|keys| keys.remove(&key));
    }
}
