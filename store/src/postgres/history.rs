//! The history: entries by conversation, found by their key.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use super::{Postgres, SHARDS, TRIES, again, shard};
use crate::conversation::{Conversation, ConversationId, Conversations, Cursor, Entry, MOST, Page};
use crate::ids::Ids;
use crate::queue::Write;
use crate::{NewEntry, StoreError, codec};

/// Where the entries of a conversation lie.
pub(super) fn place(conversation: &ConversationId) -> i32 {
    (codec::fnv(&conversation.0) % SHARDS) as i32
}

pub(super) fn name(bytes: &[u8]) -> Result<ConversationId, StoreError> {
    bytes.try_into().map(ConversationId).map_err(|_| StoreError::Corrupt { what: "name of a conversation" })
}

fn bytes(conversation: &ConversationId) -> Vec<u8> {
    conversation.0.to_vec()
}

/// Columns id, conversation, data from `at` on.
fn entry(row: &PgRow, at: usize) -> Result<Entry, StoreError> {
    let id = row.try_get::<i64, _>(at)? as u64;
    let data = Bytes::from(row.try_get::<Vec<u8>, _>(at + 2)?);
    codec::take_entry(id, name(row.try_get(at + 1)?)?, data)
}

/// Writes down entries with their ids, and who sees them.
pub(super) async fn append(tx: &mut PgConnection, entries: &[(u64, &NewEntry)]) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut members: BTreeSet<(i32, &str, ConversationId)> = BTreeSet::new();
    for (_, entry) in entries {
        members.extend(entry.members.iter().map(|member| (shard(member), &**member, entry.conversation)));
    }
    let text = "insert into member (shard, aor, conversation, place, cleared)
         select *, 0 from unnest($1::integer[], $2::text[], $3::bytea[], $4::integer[])
         on conflict (shard, aor, conversation) do nothing";
    let query = sqlx::query(text)
        .bind(members.iter().map(|(shard, _, _)| *shard).collect::<Vec<_>>())
        .bind(members.iter().map(|(_, member, _)| *member).collect::<Vec<_>>())
        .bind(members.iter().map(|(_, _, name)| bytes(name)).collect::<Vec<_>>())
        .bind(members.iter().map(|(_, _, name)| place(name)).collect::<Vec<_>>());
    tx.execute(query).await?;
    let mut seats: BTreeSet<(i32, ConversationId, &str)> = BTreeSet::new();
    seats.extend(members.iter().map(|(_, member, name)| (place(name), *name, *member)));
    let text =
        "insert into seat (shard, conversation, aor) select * from unnest($1::integer[], $2::bytea[], $3::text[])
         on conflict (shard, conversation, aor) do nothing";
    let query = sqlx::query(text)
        .bind(seats.iter().map(|(place, _, _)| *place).collect::<Vec<_>>())
        .bind(seats.iter().map(|(_, name, _)| bytes(name)).collect::<Vec<_>>())
        .bind(seats.iter().map(|(_, _, member)| *member).collect::<Vec<_>>());
    tx.execute(query).await?;
    let text = "insert into entry (shard, conversation, id, data)
         select * from unnest($1::integer[], $2::bytea[], $3::bigint[], $4::bytea[])";
    let query = sqlx::query(text)
        .bind(entries.iter().map(|(_, entry)| place(&entry.conversation)).collect::<Vec<_>>())
        .bind(entries.iter().map(|(_, entry)| bytes(&entry.conversation)).collect::<Vec<_>>())
        .bind(entries.iter().map(|(id, _)| *id as i64).collect::<Vec<_>>())
        .bind(entries.iter().map(|(_, entry)| codec::put_entry(entry)).collect::<Vec<_>>());
    tx.execute(query).await?;
    Ok(())
}

/// Receipts that mark entries as seen, with their days.
pub(super) fn once(writes: &[Write]) -> impl Iterator<Item = (u64, u64)> {
    writes.iter().flat_map(|write| &write.entries).filter_map(|entry| {
        let receipt = entry.once.as_ref()?;
        Some((receipt.key(), entry.at_ms / 1000 / super::DAY))
    })
}

/// Forgets a conversation that has no entries.
async fn forget_empty(tx: &mut PgConnection, conversation: &ConversationId) -> Result<(), sqlx::Error> {
    let text = "delete from seat where shard = $1 and conversation = $2
         and not exists (select 1 from entry where shard = $1 and conversation = $2) returning aor";
    let rows = tx.fetch_all(sqlx::query(text).bind(place(conversation)).bind(bytes(conversation))).await?;
    for row in rows {
        let aor: &str = row.try_get(0)?;
        let text = "delete from member where shard = $1 and aor = $2 and conversation = $3";
        tx.execute(sqlx::query(text).bind(shard(aor)).bind(aor).bind(bytes(conversation))).await?;
    }
    Ok(())
}

impl Postgres {
    /// Removes what no member sees any more.
    async fn discard(&self, conversation: &ConversationId) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            match self.try_discard(conversation).await {
                Err(error) if again(&error) => {}
                done => return Ok(done?),
            }
        }
        Err(StoreError::Conflict)
    }

    async fn try_discard(&self, conversation: &ConversationId) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let text = "select aor from seat where shard = $1 and conversation = $2 order by aor for update";
        let rows = tx.fetch_all(sqlx::query(text).bind(place(conversation)).bind(bytes(conversation))).await?;
        let mut unseen = i64::MAX;
        for row in rows {
            let aor: &str = row.try_get(0)?;
            let text = "select cleared from member where shard = $1 and aor = $2 and conversation = $3";
            let query = sqlx::query(text).bind(shard(aor)).bind(aor).bind(bytes(conversation));
            if let Some(row) = tx.fetch_optional(query).await? {
                unseen = unseen.min(row.try_get(0)?);
            }
        }
        let text = "delete from entry where shard = $1 and conversation = $2 and id <= $3";
        let query = sqlx::query(text).bind(place(conversation)).bind(bytes(conversation)).bind(unseen);
        if tx.execute(query).await?.rows_affected() > 0 {
            forget_empty(&mut tx, conversation).await?;
        }
        tx.commit().await
    }

    /// Hides what is there from a user; gives the conversations.
    async fn hide(&self, user: &str, conversation: Option<ConversationId>) -> Result<Vec<ConversationId>, StoreError> {
        for _ in 0..TRIES {
            let upto = self.ids.lock().next() as i64;
            let text = "update member set cleared = greatest(cleared, $1)
                 where shard = $2 and aor = $3 and ($4::bytea is null or conversation = $4) returning conversation";
            let query = sqlx::query(text).bind(upto).bind(shard(user)).bind(user);
            match self.pool.fetch_all(query.bind(conversation.as_ref().map(bytes))).await {
                Ok(rows) => return rows.iter().map(|row| name(row.try_get(0)?)).collect(),
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict)
    }
}

#[async_trait::async_trait]
impl Conversations for Postgres {
    async fn page(
        &self,
        user: &str,
        conversation: ConversationId,
        from: Cursor,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(MOST);
        let text = "select cleared from member where shard = $1 and aor = $2 and conversation = $3";
        let query = sqlx::query(text).bind(shard(user)).bind(user).bind(bytes(&conversation));
        let Some(row) = self.pool.fetch_optional(query).await? else { return Ok(Page::default()) };
        let (above, below) = from.bounds(row.try_get::<i64, _>(0)? as u64);
        let text = if from.is_forward() {
            "select id, conversation, data from entry
             where shard = $1 and conversation = $2 and id > $3 and id < $4 order by id limit $5"
        } else {
            "select id, conversation, data from entry
             where shard = $1 and conversation = $2 and id > $3 and id < $4 order by id desc limit $5"
        };
        let query = sqlx::query(text).bind(place(&conversation)).bind(bytes(&conversation));
        let query = query.bind(above as i64).bind(below as i64).bind(limit as i64 + 1);
        let rows = self.pool.fetch_all(query).await?;
        let entries = rows.iter().take(limit).map(|row| entry(row, 0)).collect::<Result<_, _>>()?;
        Ok(Page { entries, more: rows.len() > limit })
    }

    async fn list(&self, user: &str, before: Option<u64>, limit: usize) -> Result<Vec<Conversation>, StoreError> {
        let text = "select e.id, e.conversation, e.data,
                 (select array_agg(s.aor order by s.aor) from seat s
                  where s.shard = m.place and s.conversation = m.conversation)
             from member m cross join lateral (
                 select id, conversation, data from entry
                 where shard = m.place and conversation = m.conversation and id > m.cleared
                 order by id desc limit 1) e
             where m.shard = $1 and m.aor = $2 and e.id < $3 order by e.id desc limit $4";
        let before = before.unwrap_or(u64::MAX).min(i64::MAX as u64) as i64;
        let query = sqlx::query(text).bind(shard(user)).bind(user).bind(before).bind(limit.min(MOST) as i64);
        let rows = self.pool.fetch_all(query).await?;
        let one = |row: &PgRow| {
            let last = entry(row, 0)?;
            let members = row.try_get::<Vec<String>, _>(3)?.into_iter().map(Into::into).collect();
            Ok(Conversation { id: last.conversation, members, last })
        };
        rows.iter().map(one).collect()
    }

    async fn erase(&self, user: &str, conversation: ConversationId) -> Result<bool, StoreError> {
        let there = !self.hide(user, Some(conversation)).await?.is_empty();
        if there {
            self.discard(&conversation).await?;
        }
        Ok(there)
    }

    async fn erase_user(&self, user: &str) -> Result<u64, StoreError> {
        let hidden = self.hide(user, None).await?;
        for conversation in &hidden {
            self.discard(conversation).await?;
        }
        Ok(hidden.len() as u64)
    }

    async fn sweep(&self, before_ms: u64, limit: usize) -> Result<u64, StoreError> {
        for _ in 0..TRIES {
            let mut tx = self.pool.begin().await?;
            let done = async {
                tx.execute("set local synchronous_commit = off").await?;
                let text = "delete from entry where (shard, conversation, id) in (
                         select shard, conversation, id from entry where id < $1 order by id limit $2)
                     returning conversation";
                let query = sqlx::query(text).bind(Ids::floor(before_ms) as i64).bind(limit.min(MOST) as i64);
                let rows = tx.fetch_all(query).await?;
                let mut names: BTreeMap<i32, BTreeSet<Vec<u8>>> = BTreeMap::new();
                for row in &rows {
                    let name: Vec<u8> = row.try_get(0)?;
                    names.entry((codec::fnv(&name) % SHARDS) as i32).or_default().insert(name);
                }
                for name in names.into_values().flatten() {
                    if let Ok(name) = self::name(&name) {
                        forget_empty(&mut tx, &name).await?;
                    }
                }
                Ok::<_, sqlx::Error>(rows.len() as u64)
            };
            match done.await {
                Ok(count) => {
                    tx.commit().await?;
                    return Ok(count);
                }
                Err(error) if again(&error) => tx.rollback().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict)
    }
}
