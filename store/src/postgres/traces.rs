//! Finding and erasing a user in what is not his alone.

use bytes::Bytes;
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::groups::{Failed, put_members, refused};
use super::{Postgres, TRIES, again, history, save, shard};
use crate::group::GroupError;
use crate::queue::QueuedMessage;
use crate::trace::{GroupErasure, Traced, Traces};
use crate::{StoreError, codec};

/// Names as the engine compares them with what is not text.
fn bytes(names: &[Box<str>]) -> Vec<&[u8]> {
    names.iter().map(|name| name.as_bytes()).collect()
}

async fn member(tx: &mut PgConnection, erasure: &GroupErasure) -> Result<(), Failed> {
    let id = &*erasure.id;
    let text = "update chat_group set revision = revision + 1, data = $5
         where shard = $1 and id = $2 and token = $3 and revision = $4";
    let query = sqlx::query(text).bind(shard(id)).bind(id).bind(erasure.token as i64).bind(erasure.seen as i64);
    let query = query.bind(&erasure.data[..]);
    if tx.execute(query).await?.rows_affected() == 0 {
        return Err(refused(tx, id, erasure.token).await?.into());
    }
    put_members(tx, id, &erasure.members).await?;
    let users: Vec<&str> = erasure.users.iter().map(|user| &**user).collect();
    for text in [
        "delete from group_member where shard = $1 and id = $2 and aor = any($3)",
        "delete from group_cursor where shard = $1 and id = $2 and aor = any($3)",
    ] {
        tx.execute(sqlx::query(text).bind(shard(id)).bind(id).bind(&users)).await?;
    }
    for user in users {
        let text = "delete from group_of where shard = $1 and aor = $2 and id = $3";
        tx.execute(sqlx::query(text).bind(shard(user)).bind(user).bind(id)).await?;
    }
    let text = "update group_entry set data = $1 where shard = $2 and id = $3 and seq = any($4)";
    let seqs: Vec<i64> = erasure.entries.iter().map(|seq| *seq as i64).collect();
    tx.execute(sqlx::query(text).bind(erasure.row()).bind(shard(id)).bind(id).bind(seqs)).await?;
    Ok(())
}

async fn erase(tx: &mut PgConnection, names: &[Box<str>]) -> Result<Traced, StoreError> {
    let mut traced = Traced::default();
    let mut conversations = std::collections::BTreeSet::new();
    for name in names {
        let query = sqlx::query("select conversation from member where shard = $1 and aor = $2");
        for row in tx.fetch_all(query.bind(shard(name)).bind(&**name)).await? {
            conversations.insert(row.try_get::<Vec<u8>, _>(0)?);
        }
    }
    for conversation in conversations {
        traced.entries += leave(tx, &conversation, names).await?;
        traced.conversations += 1;
    }
    let text = "select shard, id, data from fate where exists (
             select 1 from unnest($1::bytea[]) as n (name) where position(n.name in data) > 0)";
    for row in tx.fetch_all(sqlx::query(text).bind(bytes(names))).await? {
        if codec::take_fates(row.try_get(2)?)?.iter().all(|fate| !names.contains(&fate.recipient)) {
            continue;
        }
        let query = sqlx::query("delete from fate where shard = $1 and id = $2");
        tx.execute(query.bind(row.try_get::<i32, _>(0)?).bind(row.try_get::<i64, _>(1)?)).await?;
        traced.fates += 1;
    }
    Ok(traced)
}

/// Takes a user out of a conversation; one of two goes whole. Gives how many entries went.
async fn leave(tx: &mut PgConnection, conversation: &[u8], names: &[Box<str>]) -> Result<u64, StoreError> {
    let id = history::name(conversation)?;
    let place = history::place(&id);
    let query = sqlx::query("select aor from seat where shard = $1 and conversation = $2").bind(place);
    let mut members: Vec<Box<str>> = Vec::new();
    for row in tx.fetch_all(query.bind(conversation)).await? {
        members.push(row.try_get::<&str, _>(0)?.into());
    }
    let whole = members.iter().filter(|member| !names.contains(member)).count() < 2;
    let query = sqlx::query("select id, data from entry where shard = $1 and conversation = $2").bind(place);
    let mut gone: Vec<i64> = Vec::new();
    for row in tx.fetch_all(query.bind(conversation)).await? {
        let number: i64 = row.try_get(0)?;
        let entry = codec::take_entry(number as u64, id, Bytes::from(row.try_get::<Vec<u8>, _>(1)?))?;
        if whole || names.contains(&entry.author) {
            gone.push(number);
        }
    }
    let query = sqlx::query("delete from entry where shard = $1 and conversation = $2 and id = any($3)");
    tx.execute(query.bind(place).bind(conversation).bind(&gone)).await?;
    for member in members.iter().filter(|member| whole || names.contains(member)) {
        let query = sqlx::query("delete from member where shard = $1 and aor = $2 and conversation = $3");
        tx.execute(query.bind(shard(member)).bind(&**member).bind(conversation)).await?;
        let query = sqlx::query("delete from seat where shard = $1 and conversation = $2 and aor = $3");
        tx.execute(query.bind(place).bind(conversation).bind(&**member)).await?;
    }
    Ok(gone.len() as u64)
}

#[async_trait::async_trait]
impl Traces for Postgres {
    async fn queued_with(
        &self,
        names: &[Box<str>],
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        let text = "select id, data from message where id > $1 and exists (
                 select 1 from unnest($2::bytea[]) as n (name) where position(n.name in data) > 0)
             order by id limit $3";
        let query = sqlx::query(text).bind(after.min(i64::MAX as u64) as i64).bind(bytes(names));
        let rows = self.pool.fetch_all(query.bind(limit.min(i64::MAX as usize) as i64)).await?;
        rows.iter()
            .map(|row| {
                let data = Bytes::from(row.try_get::<Vec<u8>, _>(1)?);
                codec::take_message(row.try_get::<i64, _>(0)? as u64, data)
            })
            .collect()
    }

    async fn groups_with(&self, names: &[Box<str>]) -> Result<Vec<Box<str>>, StoreError> {
        let text = "select id from group_member where aor = any($1) union select id from group_entry where exists (
                 select 1 from unnest($2::bytea[]) as n (name) where position(n.name in data) > 0)
             order by id";
        let texts: Vec<&str> = names.iter().map(|name| &**name).collect();
        let rows = self.pool.fetch_all(sqlx::query(text).bind(texts).bind(bytes(names))).await?;
        rows.iter().map(|row| Ok(row.try_get::<&str, _>(0)?.into())).collect()
    }

    async fn erase_member(&self, erasure: GroupErasure) -> Result<(), GroupError> {
        super::groups::transaction!(self, |tx| member(&mut tx, &erasure))
    }

    async fn erase_traces(&self, names: &[Box<str>]) -> Result<Traced, StoreError> {
        save(&self.unsaved, &self.writes).await?;
        for _ in 0..TRIES {
            let mut tx = self.pool.begin().await?;
            let traced = match erase(&mut tx, names).await {
                Ok(traced) => traced,
                Err(error) => {
                    tx.rollback().await.ok();
                    return Err(error);
                }
            };
            match tx.commit().await {
                Ok(()) => return Ok(traced),
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict)
    }

    async fn scrub(&self) -> Result<bool, StoreError> {
        // Gives the room of dead rows free; its pages and its log keep their bytes until the engine writes over them.
        self.pool
            .execute(
                "vacuum account, tel, location, message, fate, device, entry, seat, member, group_member, group_of,
                 group_entry, group_cursor, file, document, document_version, document_claim",
            )
            .await?;
        Ok(false)
    }
}
