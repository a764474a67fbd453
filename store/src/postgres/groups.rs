//! Groups. All of a group lies in the shard of its id; beside it, which groups a user is in and which group a
//! Contribution-ID names.

use std::collections::BTreeMap;
use std::collections::HashSet;

use bytes::Bytes;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use super::{DAY, Postgres, TRIES, again, queue, shard};
use crate::group::{
    GroupChange, GroupCursor, GroupEntry, GroupError, GroupHead, GroupLease, GroupMember, Groups, MOST, NewGroup,
    NewGroupEntry, StoredGroup,
};
use crate::{StoreError, codec};

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Failed {
        Failed::Engine(error)
    }
}

/// Why a transaction came to nothing.
pub(super) enum Failed {
    Engine(sqlx::Error),
    Refused(GroupError),
}

impl From<GroupError> for Failed {
    fn from(error: GroupError) -> Failed {
        Failed::Refused(error)
    }
}

/// Repeats a transaction while the engine asks for it.
macro_rules! transaction {
    ($store:expr, |$tx:ident| $work:expr) => {{
        let mut result = Err(GroupError::Store(StoreError::Conflict));
        for _ in 0..TRIES {
            let mut $tx = $store.pool.begin().await.map_err(StoreError::from)?;
            let done: Result<_, Failed> = $work.await;
            let done = match done {
                Ok(done) => $tx.commit().await.map(|()| done).map_err(Failed::Engine),
                Err(error) => {
                    $tx.rollback().await.ok();
                    Err(error)
                }
            };
            match done {
                Err(Failed::Engine(error)) if again(&error) => continue,
                Err(Failed::Engine(error)) => result = Err(GroupError::Store(error.into())),
                Err(Failed::Refused(error)) => result = Err(error),
                Ok(done) => result = Ok(done),
            }
            break;
        }
        result
    }};
}
pub(super) use transaction;

pub(super) async fn put_members(tx: &mut PgConnection, id: &str, members: &[GroupMember]) -> Result<(), sqlx::Error> {
    let members: BTreeMap<&str, &GroupMember> = members.iter().map(|member| (&*member.user, member)).collect();
    if members.is_empty() {
        return Ok(());
    }
    let text = "insert into group_member (shard, id, aor, active, data)
         select $1, $2, * from unnest($3::text[], $4::boolean[], $5::bytea[])
         on conflict (shard, id, aor) do update set active = excluded.active, data = excluded.data";
    let query = sqlx::query(text)
        .bind(shard(id))
        .bind(id)
        .bind(members.keys().copied().collect::<Vec<_>>())
        .bind(members.values().map(|member| member.active).collect::<Vec<_>>())
        .bind(members.values().map(|member| &member.data[..]).collect::<Vec<_>>());
    tx.execute(query).await?;
    let (here, gone): (Vec<&str>, Vec<&str>) = members.keys().partition(|user| members[*user].active);
    if !here.is_empty() {
        let mut rows: Vec<(i32, &str)> = here.iter().map(|user| (shard(user), *user)).collect();
        rows.sort_unstable();
        let text =
            "insert into group_of (shard, aor, id) select a, b, $3 from unnest($1::integer[], $2::text[]) as k (a, b)
             on conflict (shard, aor, id) do nothing";
        let query = sqlx::query(text)
            .bind(rows.iter().map(|(shard, _)| *shard).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, user)| *user).collect::<Vec<_>>());
        tx.execute(query.bind(id)).await?;
    }
    if !gone.is_empty() {
        let text = "delete from group_of o using unnest($1::integer[], $2::text[]) as k (shard, aor)
             where o.shard = k.shard and o.aor = k.aor and o.id = $3";
        let shards: Vec<i32> = gone.iter().map(|user| shard(user)).collect();
        tx.execute(sqlx::query(text).bind(shards).bind(&gone).bind(id)).await?;
        let text = "delete from group_cursor where shard = $1 and id = $2 and aor = any($3)";
        tx.execute(sqlx::query(text).bind(shard(id)).bind(id).bind(&gone)).await?;
    }
    Ok(())
}

async fn put_entries(
    tx: &mut PgConnection,
    id: &str,
    last: u64,
    entries: &[&NewGroupEntry],
) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let text = "insert into group_entry (shard, id, seq, at, data)
         select $1, $2, * from unnest($3::bigint[], $4::bigint[], $5::bytea[])";
    let query = sqlx::query(text)
        .bind(shard(id))
        .bind(id)
        .bind((0..entries.len() as i64).map(|at| last as i64 + 1 + at).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.at_ms as i64).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| codec::put_group_entry(entry)).collect::<Vec<_>>());
    tx.execute(query).await?;
    Ok(())
}

/// Why no row of this group was changed under this token.
pub(super) async fn refused(tx: &mut PgConnection, id: &str, token: u64) -> Result<GroupError, sqlx::Error> {
    let query = sqlx::query("select token from chat_group where shard = $1 and id = $2").bind(shard(id)).bind(id);
    Ok(match tx.fetch_optional(query).await? {
        None => GroupError::Unknown,
        Some(row) if row.try_get::<i64, _>(0)? as u64 != token => GroupError::Fenced,
        Some(_) => GroupError::Changed,
    })
}

async fn create(tx: &mut PgConnection, new: &NewGroup) -> Result<(), Failed> {
    let text =
        "insert into group_thread (shard, thread, id) values ($1, $2, $3) on conflict (shard, thread) do nothing";
    let thread = &*new.contribution_id;
    let query = sqlx::query(text).bind(shard(thread)).bind(thread).bind(&*new.id);
    if tx.execute(query).await?.rows_affected() == 0 {
        let query = sqlx::query("select id from group_thread where shard = $1 and thread = $2");
        let row = tx.fetch_optional(query.bind(shard(thread)).bind(thread)).await?;
        return Err(match row {
            Some(row) => GroupError::Exists(row.try_get::<&str, _>(0)?.into()).into(),
            None => GroupError::Changed.into(),
        });
    }
    let text = "insert into chat_group (shard, id, thread, revision, last, owner, until, token, data)
         values ($1, $2, $3, 1, $4, $5, $6, 1, $7) on conflict (shard, id) do nothing";
    let query = sqlx::query(text)
        .bind(shard(&new.id))
        .bind(&*new.id)
        .bind(thread)
        .bind(new.entries.len() as i64)
        .bind(&*new.lease.owner)
        .bind(new.lease.until_ms as i64)
        .bind(&new.data[..]);
    if tx.execute(query).await?.rows_affected() == 0 {
        return Err(GroupError::Changed.into());
    }
    put_members(tx, &new.id, &new.members).await?;
    put_entries(tx, &new.id, 0, &new.entries.iter().collect::<Vec<_>>()).await?;
    Ok(())
}

async fn alter(tx: &mut PgConnection, change: &GroupChange) -> Result<u64, Failed> {
    let text = "update chat_group set revision = revision + 1, last = last + $1, data = $2
         where shard = $3 and id = $4 and token = $5 and revision = $6 returning last";
    let query = sqlx::query(text)
        .bind(change.entries.len() as i64)
        .bind(&change.data[..])
        .bind(shard(&change.id))
        .bind(&*change.id)
        .bind(change.token as i64)
        .bind(change.seen as i64);
    let Some(row) = tx.fetch_optional(query).await? else {
        return Err(refused(tx, &change.id, change.token).await?.into());
    };
    let last = row.try_get::<i64, _>(0)? as u64;
    put_members(tx, &change.id, &change.members).await?;
    let entries: Vec<_> = change.entries.iter().collect();
    put_entries(tx, &change.id, last - entries.len() as u64, &entries).await?;
    Ok(last)
}

async fn append(
    tx: &mut PgConnection,
    id: &str,
    token: u64,
    entries: &[NewGroupEntry],
) -> Result<Vec<Option<u64>>, Failed> {
    // Holds the group, so that nobody else numbers meanwhile.
    let text = "select last from chat_group where shard = $1 and id = $2 and token = $3 for update";
    let query = sqlx::query(text).bind(shard(id)).bind(id).bind(token as i64);
    let Some(row) = tx.fetch_optional(query).await? else { return Err(refused(tx, id, token).await?.into()) };
    let last = row.try_get::<i64, _>(0)? as u64;
    let keys = entries.iter().filter_map(|entry| Some((entry.once.as_ref()?.key(), entry.at_ms / 1000 / DAY)));
    let mut fresh: HashSet<u64> = queue::mark(&mut *tx, keys).await?;
    let is_fresh = |entry: &NewGroupEntry| entry.once.as_ref().is_none_or(|once| fresh.remove(&once.key()));
    let fresh: Vec<bool> = entries.iter().map(is_fresh).collect();
    let new: Vec<&NewGroupEntry> =
        entries.iter().zip(&fresh).filter(|(_, fresh)| **fresh).map(|(entry, _)| entry).collect();
    put_entries(tx, id, last, &new).await?;
    let query = sqlx::query("update chat_group set last = $1 where shard = $2 and id = $3");
    tx.execute(query.bind((last + new.len() as u64) as i64).bind(shard(id)).bind(id)).await?;
    let mut seq = last;
    let mut next = |fresh: bool| {
        seq += u64::from(fresh);
        fresh.then_some(seq)
    };
    Ok(fresh.into_iter().map(&mut next).collect())
}

async fn claim(tx: &mut PgConnection, id: &str, lease: &GroupLease, now_ms: u64) -> Result<Option<u64>, Failed> {
    let text = "update chat_group set owner = $1, until = $2, token = token + 1
         where shard = $3 and id = $4 and (until <= $5 or owner = $1) returning token";
    let query = sqlx::query(text).bind(&*lease.owner).bind(lease.until_ms as i64).bind(shard(id)).bind(id);
    if let Some(row) = tx.fetch_optional(query.bind(now_ms as i64)).await? {
        return Ok(Some(row.try_get::<i64, _>(0)? as u64));
    }
    let query = sqlx::query("select 1 from chat_group where shard = $1 and id = $2").bind(shard(id)).bind(id);
    match tx.fetch_optional(query).await? {
        Some(_) => Ok(None),
        None => Err(GroupError::Unknown.into()),
    }
}

async fn remove(tx: &mut PgConnection, id: &str, token: u64) -> Result<(), Failed> {
    let text = "delete from chat_group where shard = $1 and id = $2 and token = $3 returning thread";
    let query = sqlx::query(text).bind(shard(id)).bind(id).bind(token as i64);
    let Some(row) = tx.fetch_optional(query).await? else { return Err(refused(tx, id, token).await?.into()) };
    let thread: &str = row.try_get(0)?;
    let query = sqlx::query("delete from group_thread where shard = $1 and thread = $2");
    tx.execute(query.bind(shard(thread)).bind(thread)).await?;
    let query = sqlx::query("delete from group_member where shard = $1 and id = $2 returning aor");
    let rows = tx.fetch_all(query.bind(shard(id)).bind(id)).await?;
    let users: Vec<&str> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let text = "delete from group_of o using unnest($1::integer[], $2::text[]) as k (shard, aor)
         where o.shard = k.shard and o.aor = k.aor and o.id = $3";
    let shards: Vec<i32> = users.iter().map(|user| shard(user)).collect();
    tx.execute(sqlx::query(text).bind(shards).bind(&users).bind(id)).await?;
    for text in [
        "delete from group_entry where shard = $1 and id = $2",
        "delete from group_cursor where shard = $1 and id = $2",
    ] {
        tx.execute(sqlx::query(text).bind(shard(id)).bind(id)).await?;
    }
    Ok(())
}

fn head(row: &PgRow) -> Result<GroupHead, StoreError> {
    Ok(GroupHead {
        id: row.try_get::<&str, _>(0)?.into(),
        contribution_id: row.try_get::<&str, _>(1)?.into(),
        revision: row.try_get::<i64, _>(2)? as u64,
        last: row.try_get::<i64, _>(3)? as u64,
        data: Bytes::from(row.try_get::<Vec<u8>, _>(4)?),
    })
}

#[async_trait::async_trait]
impl Groups for Postgres {
    async fn create(&self, new: NewGroup) -> Result<(), GroupError> {
        transaction!(self, |tx| create(&mut tx, &new))
    }

    async fn change(&self, change: GroupChange) -> Result<u64, GroupError> {
        transaction!(self, |tx| alter(&mut tx, &change))
    }

    async fn load(&self, id: &str) -> Result<Option<StoredGroup>, StoreError> {
        // Both in one statement, so that they are of one moment.
        let text = "select g.id, thread, revision, last, g.data, m.aor, m.active, m.data
             from chat_group g left join group_member m on m.shard = g.shard and m.id = g.id
             where g.shard = $1 and g.id = $2 order by m.aor";
        let rows = self.pool.fetch_all(sqlx::query(text).bind(shard(id)).bind(id)).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let mut members = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(user) = row.try_get::<Option<&str>, _>(5)? {
                let data = Bytes::from(row.try_get::<Vec<u8>, _>(7)?);
                members.push(GroupMember { user: user.into(), active: row.try_get(6)?, data });
            }
        }
        Ok(Some(StoredGroup { head: head(first)?, members }))
    }

    async fn find(&self, contribution_id: &str) -> Result<Option<Box<str>>, StoreError> {
        let query = sqlx::query("select id from group_thread where shard = $1 and thread = $2");
        let row = self.pool.fetch_optional(query.bind(shard(contribution_id)).bind(contribution_id)).await?;
        row.map(|row| Ok(row.try_get::<&str, _>(0)?.into())).transpose()
    }

    async fn of_user(&self, user: &str) -> Result<Vec<Box<str>>, StoreError> {
        let query = sqlx::query("select id from group_of where shard = $1 and aor = $2 order by id");
        let rows = self.pool.fetch_all(query.bind(shard(user)).bind(user)).await?;
        rows.iter().map(|row| Ok(row.try_get::<&str, _>(0)?.into())).collect()
    }

    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<GroupHead>, StoreError> {
        let text = "select id, thread, revision, last, data from chat_group where (shard, id) > ($1, $2)
             order by shard, id limit $3";
        let rows = self.pool.fetch_all(super::past(text, after, limit.min(MOST))).await?;
        rows.iter().map(head).collect()
    }

    async fn append(&self, id: &str, token: u64, entries: Vec<NewGroupEntry>) -> Result<Vec<Option<u64>>, GroupError> {
        transaction!(self, |tx| append(&mut tx, id, token, &entries))
    }

    async fn read(&self, id: &str, after: u64, limit: usize) -> Result<Vec<GroupEntry>, StoreError> {
        let text =
            "select seq, at, data from group_entry where shard = $1 and id = $2 and seq > $3 order by seq limit $4";
        let query = sqlx::query(text).bind(shard(id)).bind(id).bind(after.min(i64::MAX as u64) as i64);
        let rows = self.pool.fetch_all(query.bind(limit.min(MOST) as i64)).await?;
        let one = |row: &PgRow| {
            let (seq, at) = (row.try_get::<i64, _>(0)? as u64, row.try_get::<i64, _>(1)? as u64);
            codec::take_group_entry(seq, at, Bytes::from(row.try_get::<Vec<u8>, _>(2)?))
        };
        rows.iter().map(one).collect()
    }

    async fn save_cursors(&self, cursors: Vec<GroupCursor>) -> Result<(), StoreError> {
        // In the order of the key, each once: a statement touches no row twice.
        let mut rows: BTreeMap<(i32, Box<str>, Box<str>, Box<str>), u64> = BTreeMap::new();
        for cursor in cursors {
            let upto = rows.entry((shard(&cursor.group), cursor.group, cursor.user, cursor.device)).or_default();
            *upto = cursor.upto.max(*upto);
        }
        let rows: Vec<_> = rows.into_iter().collect();
        for piece in rows.chunks(MOST) {
            let shards: Vec<i32> = piece.iter().map(|((shard, ..), _)| *shard).collect();
            let ids: Vec<&str> = piece.iter().map(|((_, id, ..), _)| &**id).collect();
            let users: Vec<&str> = piece.iter().map(|((_, _, user, _), _)| &**user).collect();
            let devices: Vec<&str> = piece.iter().map(|((.., device), _)| &**device).collect();
            let upto: Vec<i64> = piece.iter().map(|(_, upto)| *upto as i64).collect();
            let query = || {
                let text = "insert into group_cursor (shard, id, aor, device, upto)
                     select k.* from unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::bigint[])
                         as k (shard, id, aor, device, upto)
                     where exists (select 1 from chat_group g where g.shard = k.shard and g.id = k.id)
                     on conflict (shard, id, aor, device) do update
                     set upto = greatest(group_cursor.upto, excluded.upto)";
                sqlx::query(text).bind(&shards).bind(&ids).bind(&users).bind(&devices).bind(&upto)
            };
            self.relaxed(query).await?;
        }
        Ok(())
    }

    async fn cursors(&self, id: &str) -> Result<Vec<GroupCursor>, StoreError> {
        let text = "select aor, device, upto from group_cursor where shard = $1 and id = $2 order by aor, device";
        let rows = self.pool.fetch_all(sqlx::query(text).bind(shard(id)).bind(id)).await?;
        let one = |row: &PgRow| {
            Ok(GroupCursor {
                group: id.into(),
                user: row.try_get::<&str, _>(0)?.into(),
                device: row.try_get::<&str, _>(1)?.into(),
                upto: row.try_get::<i64, _>(2)? as u64,
            })
        };
        rows.iter().map(one).collect()
    }

    async fn claim(&self, id: &str, lease: GroupLease, now_ms: u64) -> Result<Option<u64>, GroupError> {
        transaction!(self, |tx| claim(&mut tx, id, &lease, now_ms))
    }

    async fn renew(&self, leases: Vec<(Box<str>, u64)>, until_ms: u64) -> Result<Vec<bool>, StoreError> {
        let mut held: HashSet<Box<str>> = HashSet::new();
        for piece in leases.chunks(MOST) {
            let text = "update chat_group g set until = $1
                 from unnest($2::integer[], $3::text[], $4::bigint[]) as k (shard, id, token)
                 where g.shard = k.shard and g.id = k.id and g.token = k.token returning g.id";
            let query = sqlx::query(text)
                .bind(until_ms as i64)
                .bind(piece.iter().map(|(id, _)| shard(id)).collect::<Vec<_>>())
                .bind(piece.iter().map(|(id, _)| &**id).collect::<Vec<_>>())
                .bind(piece.iter().map(|(_, token)| *token as i64).collect::<Vec<_>>());
            for row in self.pool.fetch_all(query).await? {
                held.insert(row.try_get::<&str, _>(0)?.into());
            }
        }
        Ok(leases.iter().map(|(id, _)| held.contains(id)).collect())
    }

    async fn release(&self, id: &str, token: u64) -> Result<(), StoreError> {
        self.renew(vec![(id.into(), token)], 0).await.map(drop)
    }

    async fn trim(&self, id: &str, upto: u64) -> Result<(), StoreError> {
        let upto = upto.min(i64::MAX as u64) as i64;
        let text = "delete from group_entry where shard = $1 and id = $2 and seq <= $3";
        self.relaxed(|| sqlx::query(text).bind(shard(id)).bind(id).bind(upto)).await.map(drop)
    }

    async fn sweep(&self, before_ms: u64, limit: usize) -> Result<u64, StoreError> {
        let (before, limit) = (before_ms.min(i64::MAX as u64) as i64, limit.min(MOST) as i64);
        let text = "delete from group_entry where (shard, id, seq) in (
                 select shard, id, seq from group_entry where at < $1 order by at limit $2)";
        self.relaxed(|| sqlx::query(text).bind(before).bind(limit)).await
    }

    async fn remove(&self, id: &str, token: u64) -> Result<(), GroupError> {
        transaction!(self, |tx| remove(&mut tx, id, token))
    }
}
