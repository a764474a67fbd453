//! Uploaded files, a row each; `charge` is what counts in the quota.

use sqlx::postgres::PgRow;
use sqlx::{Executor, Row};

use super::{Postgres, TRIES, again, past, shard};
use crate::file::{Added, ContentHash, FileUsage, Files, StoredFile};
use crate::{StoreError, codec};

impl Postgres {
    async fn try_add(&self, file: &StoredFile, quota: u64) -> Result<Added, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        // Whoever else adds a file of this owner waits here.
        let text = "insert into file_owner (shard, owner) values ($1, $2)
             on conflict (shard, owner) do update set owner = excluded.owner";
        tx.execute(sqlx::query(text).bind(shard(&file.owner)).bind(&*file.owner)).await?;
        let text = "select coalesce(sum(charge), 0)::bigint from file where owner = $1 and id <> $2";
        let row = tx.fetch_one(sqlx::query(text).bind(&*file.owner).bind(&*file.id)).await?;
        let used = row.try_get::<i64, _>(0)? as u64;
        if used.saturating_add(file.charge()) > quota {
            tx.rollback().await?;
            return Ok(Added::OverQuota { used });
        }
        let text = "insert into file (shard, id, owner, tid, created, expires, charge, hash, thumbnail, data)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (shard, id) do update set owner = excluded.owner, tid = excluded.tid, created = excluded.created,
                 expires = excluded.expires, charge = excluded.charge, hash = excluded.hash,
                 thumbnail = excluded.thumbnail, data = excluded.data";
        let query = sqlx::query(text)
            .bind(shard(&file.id))
            .bind(&*file.id)
            .bind(&*file.owner)
            .bind(file.tid.as_deref())
            .bind(file.created as i64)
            .bind(file.expires.min(i64::MAX as u64) as i64)
            .bind(file.charge() as i64)
            .bind(&file.hash.0[..])
            .bind(file.thumbnail.as_ref().map(|thumbnail| thumbnail.hash.0.to_vec()))
            .bind(codec::put_file(file));
        tx.execute(query).await?;
        tx.commit().await?;
        Ok(Added::Stored)
    }
}

fn file(row: &PgRow) -> Result<StoredFile, StoreError> {
    codec::take_file(row.try_get(0)?, row.try_get(1)?)
}

#[async_trait::async_trait]
impl Files for Postgres {
    async fn add(&self, file: StoredFile, quota: u64) -> Result<Added, StoreError> {
        for _ in 0..TRIES {
            match self.try_add(&file, quota).await {
                Ok(added) => return Ok(added),
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict)
    }

    async fn file(&self, id: &str) -> Result<Option<StoredFile>, StoreError> {
        let query = sqlx::query("select id, data from file where shard = $1 and id = $2").bind(shard(id)).bind(id);
        self.pool.fetch_optional(query).await?.as_ref().map(file).transpose()
    }

    async fn of_transfer(&self, tid: &str) -> Result<Option<StoredFile>, StoreError> {
        let text = "select id, data from file where tid = $1 order by created desc, id desc limit 1";
        self.pool.fetch_optional(sqlx::query(text).bind(tid)).await?.as_ref().map(file).transpose()
    }

    async fn usage(&self, owner: Option<&str>) -> Result<FileUsage, StoreError> {
        let text = "select count(*), coalesce(sum(charge), 0)::bigint from file where $1::text is null or owner = $1";
        let row = self.pool.fetch_one(sqlx::query(text).bind(owner)).await?;
        Ok(FileUsage { files: row.try_get::<i64, _>(0)? as u64, bytes: row.try_get::<i64, _>(1)? as u64 })
    }

    async fn list(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredFile>, StoreError> {
        let text = "select id, data from file where (shard, id) > ($1, $2) and ($4::text is null or owner = $4)
             order by shard, id limit $3";
        self.pool.fetch_all(past(text, after, limit).bind(owner)).await?.iter().map(file).collect()
    }

    async fn expired(&self, now: u64, limit: usize) -> Result<Vec<StoredFile>, StoreError> {
        let now = now.min(i64::MAX as u64) as i64;
        let query = sqlx::query("select id, data from file where expires <= $1 order by expires limit $2");
        self.pool.fetch_all(query.bind(now).bind(limit as i64)).await?.iter().map(file).collect()
    }

    async fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let query = sqlx::query("delete from file where shard = $1 and id = $2").bind(shard(id)).bind(id);
        Ok(self.pool.execute(query).await?.rows_affected() > 0)
    }

    async fn needed(&self, hashes: &[ContentHash]) -> Result<Vec<bool>, StoreError> {
        let text = "select exists (select 1 from file where hash = w.hash)
                 or exists (select 1 from file where thumbnail = w.hash)
             from unnest($1::bytea[]) with ordinality as w (hash, at) order by w.at";
        let hashes: Vec<&[u8]> = hashes.iter().map(|hash| &hash.0[..]).collect();
        let rows = self.pool.fetch_all(sqlx::query(text).bind(hashes)).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }
}
