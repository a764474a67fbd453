//! Documents. All of an owner lies in one shard; a name that is claimed lies in its own.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use super::{Postgres, TRIES, again, shard};
use crate::StoreError;
use crate::document::{Document, DocumentError, DocumentHead, DocumentKey, DocumentWrite, Documents};

impl Postgres {
    async fn try_write(&self, write: &DocumentWrite) -> Result<(), DocumentError> {
        let mut tx = self.pool.begin().await?;
        change(&mut tx, write).await?;
        Ok(tx.commit().await?)
    }
}

/// Whether the engine asks for the transaction to be repeated.
fn may_repeat(error: &DocumentError) -> bool {
    let DocumentError::Store(StoreError::Unavailable(cause)) = error else { return false };
    cause.downcast_ref::<sqlx::Error>().is_some_and(again)
}

async fn change(tx: &mut PgConnection, write: &DocumentWrite) -> Result<(), DocumentError> {
    let DocumentWrite { key, seen, next, at: _, claims, keep, most_documents, most_bytes } = write;
    let (owner, auid, name) = (&*key.owner, &*key.auid, &*key.name);
    let place = shard(owner);
    let text = "select auid, name, etag, size from document where shard = $1 and owner = $2 for update";
    let (mut current, mut others, mut bytes) = (None, 0_u64, 0_u64);
    for row in tx.fetch_all(sqlx::query(text).bind(place).bind(owner)).await? {
        let size = row.try_get::<i64, _>(3)? as u64;
        if row.try_get::<&str, _>(0)? == auid && row.try_get::<&str, _>(1)? == name {
            current = Some((Box::<str>::from(row.try_get::<&str, _>(2)?), size));
        } else {
            others += 1;
            bytes += size;
        }
    }
    if current.as_ref().map(|(etag, _)| etag) != seen.as_ref() {
        return Err(DocumentError::Changed);
    }
    if let Some(next) = next {
        let (size, before) = (next.text.len() as u64, current.as_ref().map_or(0, |(_, size)| *size));
        if current.is_none() && others + 1 > *most_documents {
            return Err(DocumentError::TooMany);
        }
        if bytes + size > *most_bytes && size > before {
            return Err(DocumentError::TooLarge);
        }
    }
    if let Some(claims) = claims {
        claim(tx, key, if next.is_some() { claims } else { &[] }).await?;
    }
    if current.is_some() && *keep > 0 {
        let text = "insert into document_version (shard, owner, auid, name, number, etag, modified, size, text)
             select d.shard, d.owner, d.auid, d.name, coalesce((select max(number) from document_version v
                 where v.shard = d.shard and v.owner = d.owner and v.auid = d.auid and v.name = d.name), 0) + 1,
                 d.etag, d.modified, d.size, d.text
             from document d where d.shard = $1 and d.owner = $2 and d.auid = $3 and d.name = $4";
        tx.execute(sqlx::query(text).bind(place).bind(owner).bind(auid).bind(name)).await?;
        let text = "delete from document_version where shard = $1 and owner = $2 and auid = $3 and name = $4
             and number <= (select max(number) from document_version
                 where shard = $1 and owner = $2 and auid = $3 and name = $4) - $5";
        let query = sqlx::query(text).bind(place).bind(owner).bind(auid).bind(name).bind(*keep as i64);
        tx.execute(query).await?;
    }
    let Some(next) = next else {
        let text = "delete from document where shard = $1 and owner = $2 and auid = $3 and name = $4";
        tx.execute(sqlx::query(text).bind(place).bind(owner).bind(auid).bind(name)).await?;
        return Ok(());
    };
    // Two that both found nothing: the key lets in one, and the other is told.
    let text = match current {
        Some(_) => {
            "update document set etag = $5, modified = $6, size = $7, text = $8
             where shard = $1 and owner = $2 and auid = $3 and name = $4"
        }
        None => {
            "insert into document (shard, owner, auid, name, etag, modified, size, text)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (shard, owner, auid, name) do nothing"
        }
    };
    let query = sqlx::query(text).bind(place).bind(owner).bind(auid).bind(name).bind(&*next.etag);
    let query = query.bind(next.modified as i64).bind(next.text.len() as i64).bind(&*next.text);
    if tx.execute(query).await?.rows_affected() == 0 {
        return Err(DocumentError::Changed);
    }
    Ok(())
}

/// Gives a document these names and no others, or tells which another has.
async fn claim(tx: &mut PgConnection, key: &DocumentKey, claims: &[Box<str>]) -> Result<(), DocumentError> {
    let mut rows: Vec<(i32, &str)> = claims.iter().map(|value| (shard(value), &**value)).collect();
    rows.sort_unstable();
    rows.dedup();
    let shards: Vec<i32> = rows.iter().map(|(shard, _)| *shard).collect();
    let values: Vec<&str> = rows.iter().map(|(_, value)| *value).collect();
    let (owner, auid, name) = (&*key.owner, &*key.auid, &*key.name);
    let text = "delete from document_claim where owner = $1 and auid = $2 and name = $3 and not (value = any($4))";
    tx.execute(sqlx::query(text).bind(owner).bind(auid).bind(name).bind(&values)).await?;
    let text = "insert into document_claim (shard, auid, value, owner, name)
         select a, $3, b, $4, $5 from unnest($1::integer[], $2::text[]) as k (a, b)
         on conflict (shard, auid, value) do nothing";
    let query = sqlx::query(text).bind(&shards).bind(&values).bind(auid).bind(owner).bind(name);
    tx.execute(query).await?;
    let text = "select c.value from document_claim c join unnest($1::integer[], $2::text[]) as k (shard, value)
         on c.shard = k.shard and c.value = k.value where c.auid = $3 and not (c.owner = $4 and c.name = $5)";
    let query = sqlx::query(text).bind(&shards).bind(&values).bind(auid).bind(owner).bind(name);
    let rows = tx.fetch_all(query).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let taken: Result<Vec<Box<str>>, sqlx::Error> =
        rows.iter().map(|row| Ok(row.try_get::<&str, _>(0)?.into())).collect();
    Err(DocumentError::Taken(taken?))
}

fn document(row: &PgRow) -> Result<Document, StoreError> {
    Ok(Document {
        etag: row.try_get::<&str, _>(0)?.into(),
        modified: row.try_get::<i64, _>(1)? as u64,
        text: row.try_get::<&str, _>(2)?.into(),
    })
}

fn head(row: &PgRow) -> Result<DocumentHead, StoreError> {
    Ok(DocumentHead {
        key: DocumentKey {
            owner: row.try_get::<&str, _>(0)?.into(),
            auid: row.try_get::<&str, _>(1)?.into(),
            name: row.try_get::<&str, _>(2)?.into(),
        },
        etag: row.try_get::<&str, _>(3)?.into(),
        modified: row.try_get::<i64, _>(4)? as u64,
        size: row.try_get::<i64, _>(5)? as u64,
    })
}

#[async_trait::async_trait]
impl Documents for Postgres {
    async fn write(&self, write: DocumentWrite) -> Result<(), DocumentError> {
        let mut result = Err(DocumentError::Changed);
        for _ in 0..TRIES {
            result = self.try_write(&write).await;
            match &result {
                Err(error) if may_repeat(error) => {}
                _ => break,
            }
        }
        result
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<Document>, StoreError> {
        let text =
            "select etag, modified, text from document where shard = $1 and owner = $2 and auid = $3 and name = $4";
        let query = sqlx::query(text).bind(shard(&key.owner)).bind(&*key.owner).bind(&*key.auid).bind(&*key.name);
        self.pool.fetch_optional(query).await?.as_ref().map(document).transpose()
    }

    async fn of_owner(&self, owner: &str) -> Result<Vec<DocumentHead>, StoreError> {
        let text = "select owner, auid, name, etag, modified, size from document where shard = $1 and owner = $2
             order by auid, name";
        self.pool.fetch_all(sqlx::query(text).bind(shard(owner)).bind(owner)).await?.iter().map(head).collect()
    }

    async fn named(
        &self,
        auid: &str,
        name: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, Document)>, StoreError> {
        let text = "select etag, modified, text, owner from document
             where auid = $1 and name = $2 and ($3::text is null or owner > $3) order by owner limit $4";
        let query = sqlx::query(text).bind(auid).bind(name).bind(after).bind(limit as i64);
        let one = |row: &PgRow| Ok((row.try_get::<&str, _>(3)?.into(), document(row)?));
        self.pool.fetch_all(query).await?.iter().map(one).collect()
    }

    async fn taken(&self, auid: &str, names: &[Box<str>]) -> Result<Vec<bool>, StoreError> {
        let shards: Vec<i32> = names.iter().map(|name| shard(name)).collect();
        let values: Vec<&str> = names.iter().map(|name| &**name).collect();
        let text = "select c.value from document_claim c join unnest($1::integer[], $2::text[]) as k (shard, value)
             on c.shard = k.shard and c.value = k.value where c.auid = $3";
        let rows = self.pool.fetch_all(sqlx::query(text).bind(&shards).bind(&values).bind(auid)).await?;
        let found: Result<Vec<String>, sqlx::Error> = rows.iter().map(|row| row.try_get(0)).collect();
        let found = found?;
        Ok(names.iter().map(|name| found.iter().any(|found| **found == **name)).collect())
    }

    async fn versions(&self, key: &DocumentKey) -> Result<Vec<DocumentHead>, StoreError> {
        let text = "select owner, auid, name, etag, modified, size from document_version
             where shard = $1 and owner = $2 and auid = $3 and name = $4 order by number desc";
        let query = sqlx::query(text).bind(shard(&key.owner)).bind(&*key.owner).bind(&*key.auid).bind(&*key.name);
        self.pool.fetch_all(query).await?.iter().map(head).collect()
    }

    async fn version(&self, key: &DocumentKey, etag: &str) -> Result<Option<Document>, StoreError> {
        let text = "select etag, modified, text from document_version
             where shard = $1 and owner = $2 and auid = $3 and name = $4 and etag = $5 order by number desc limit 1";
        let query = sqlx::query(text).bind(shard(&key.owner)).bind(&*key.owner).bind(&*key.auid).bind(&*key.name);
        self.pool.fetch_optional(query.bind(etag)).await?.as_ref().map(document).transpose()
    }

    async fn remove_owner(&self, owner: &str) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        tx.execute(sqlx::query("delete from document_claim where owner = $1").bind(owner)).await?;
        let text = "delete from document_version where shard = $1 and owner = $2";
        tx.execute(sqlx::query(text).bind(shard(owner)).bind(owner)).await?;
        let text = "delete from document where shard = $1 and owner = $2";
        let gone = tx.execute(sqlx::query(text).bind(shard(owner)).bind(owner)).await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }
}
