//! Uploaded files, a row each; `charge` is what counts in the quota.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, Row};

use super::writer::Waiting;
use super::{Answer, Sqlite};
use crate::file::{Added, ContentHash, FileUsage, Files, StoredFile};
use crate::{StoreError, codec};

/// What the writer can be asked for.
#[derive(Debug)]
pub(super) enum FileOp {
    Add { file: Box<StoredFile>, quota: u64, tx: Answer<Added> },
    Remove { id: Box<str>, tx: Answer<bool> },
}

impl FileOp {
    /// Answers without having done it.
    pub(super) fn fail(self, error: StoreError) {
        match self {
            FileOp::Add { tx, .. } => drop(tx.send(Err(error))),
            FileOp::Remove { tx, .. } => drop(tx.send(Err(error))),
        }
    }
}

/// Does it; the answer is due after the commit.
pub(super) async fn write(conn: &mut SqliteConnection, op: FileOp) -> Result<Waiting, StoreError> {
    match op {
        FileOp::Add { file, quota, tx } => answer(add(conn, &file, quota).await, tx),
        FileOp::Remove { id, tx } => {
            let query = sqlx::query("delete from file where id = ?").bind(String::from(id));
            let done = conn.execute(query).await.map(|done| done.rows_affected() > 0);
            answer(done.map_err(Into::into), tx)
        }
    }
}

async fn add(conn: &mut SqliteConnection, file: &StoredFile, quota: u64) -> Result<Added, StoreError> {
    let text = "select coalesce(sum(charge), 0) from file where owner = ? and id <> ?";
    let row = conn.fetch_one(sqlx::query(text).bind(&*file.owner).bind(&*file.id)).await?;
    let used = row.try_get::<i64, _>(0)? as u64;
    if used.saturating_add(file.charge()) > quota {
        return Ok(Added::OverQuota { used });
    }
    let text = "insert or replace into file (id, owner, tid, created, expires, charge, hash, thumbnail, data)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let query = sqlx::query(text)
        .bind(&*file.id)
        .bind(&*file.owner)
        .bind(file.tid.as_deref())
        .bind(file.created as i64)
        .bind(file.expires.min(i64::MAX as u64) as i64)
        .bind(file.charge() as i64)
        .bind(&file.hash.0[..])
        .bind(file.thumbnail.as_ref().map(|thumbnail| thumbnail.hash.0.to_vec()))
        .bind(codec::put_file(file));
    conn.execute(query).await?;
    Ok(Added::Stored)
}

fn answer<T: Send + 'static>(done: Result<T, StoreError>, tx: Answer<T>) -> Result<Waiting, StoreError> {
    match done {
        Ok(done) => Ok(Box::new(move |end| drop(tx.send(end.map(|()| done))))),
        Err(error) => {
            tx.send(Err(error.clone())).ok();
            Err(error)
        }
    }
}

fn file(row: &SqliteRow) -> Result<StoredFile, StoreError> {
    codec::take_file(row.try_get(0)?, row.try_get(1)?)
}

#[async_trait::async_trait]
impl Files for Sqlite {
    async fn add(&self, file: StoredFile, quota: u64) -> Result<Added, StoreError> {
        self.ask_file(|tx| FileOp::Add { file: Box::new(file), quota, tx }).await
    }

    async fn file(&self, id: &str) -> Result<Option<StoredFile>, StoreError> {
        let query = sqlx::query("select id, data from file where id = ?").bind(id);
        self.readers.fetch_optional(query).await?.as_ref().map(file).transpose()
    }

    async fn of_transfer(&self, tid: &str) -> Result<Option<StoredFile>, StoreError> {
        let text = "select id, data from file where tid = ? order by created desc, id desc limit 1";
        self.readers.fetch_optional(sqlx::query(text).bind(tid)).await?.as_ref().map(file).transpose()
    }

    async fn usage(&self, owner: Option<&str>) -> Result<FileUsage, StoreError> {
        let query = match owner {
            Some(owner) => {
                sqlx::query("select count(*), coalesce(sum(charge), 0) from file where owner = ?").bind(owner)
            }
            None => sqlx::query("select count(*), coalesce(sum(charge), 0) from file"),
        };
        let row = self.readers.fetch_one(query).await?;
        Ok(FileUsage { files: row.try_get::<i64, _>(0)? as u64, bytes: row.try_get::<i64, _>(1)? as u64 })
    }

    async fn list(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredFile>, StoreError> {
        let text = match owner {
            Some(_) => "select id, data from file where id > ?1 and owner = ?3 order by id limit ?2",
            None => "select id, data from file where id > ?1 order by id limit ?2",
        };
        let limit = limit.min(i64::MAX as usize) as i64;
        let mut query = sqlx::query(text).bind(after.unwrap_or("")).bind(limit);
        if let Some(owner) = owner {
            query = query.bind(owner);
        }
        self.readers.fetch_all(query).await?.iter().map(file).collect()
    }

    async fn expired(&self, now: u64, limit: usize) -> Result<Vec<StoredFile>, StoreError> {
        let now = now.min(i64::MAX as u64) as i64;
        let query = sqlx::query("select id, data from file where expires <= ? order by expires limit ?");
        self.readers.fetch_all(query.bind(now).bind(limit as i64)).await?.iter().map(file).collect()
    }

    async fn remove(&self, id: &str) -> Result<bool, StoreError> {
        self.ask_file(|tx| FileOp::Remove { id: id.into(), tx }).await
    }

    async fn needed(&self, hashes: &[ContentHash]) -> Result<Vec<bool>, StoreError> {
        let mut needed = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let text = "select exists (select 1 from file where hash = ?1)
                     or exists (select 1 from file where thumbnail = ?1)";
            let row = self.readers.fetch_one(sqlx::query(text).bind(&hash.0[..])).await?;
            needed.push(row.try_get::<bool, _>(0)?);
        }
        Ok(needed)
    }
}
