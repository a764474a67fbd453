//! Groups. An entry lies under the number of its group and its sequence, so that a log is read in one piece.

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, Row};

use super::writer::{SLICE, Waiting, json};
use super::{Answer, Sqlite};
use crate::group::{
    GroupChange, GroupCursor, GroupEntry, GroupError, GroupHead, GroupLease, GroupMember, Groups, MOST, NewGroup,
    NewGroupEntry, StoredGroup,
};
use crate::{StoreError, codec};

const DAY_MS: u64 = 86_400_000;

/// What can be asked.
#[derive(Debug)]
pub(super) enum GroupOp {
    Create {
        new: NewGroup,
        tx: Answer<Result<(), GroupError>>,
    },
    Change {
        change: GroupChange,
        tx: Answer<Result<u64, GroupError>>,
    },
    Append {
        id: Box<str>,
        token: u64,
        entries: Vec<NewGroupEntry>,
        tx: Answer<Result<Vec<Option<u64>>, GroupError>>,
    },
    Cursors {
        cursors: Vec<GroupCursor>,
        tx: Answer<()>,
    },
    Claim {
        id: Box<str>,
        lease: GroupLease,
        now_ms: u64,
        tx: Answer<Result<Option<u64>, GroupError>>,
    },
    Renew {
        leases: Vec<(Box<str>, u64)>,
        until_ms: u64,
        tx: Answer<Vec<bool>>,
    },
    Trim {
        id: Box<str>,
        upto: u64,
        tx: Answer<u64>,
    },
    /// Rows of the log.
    Sweep {
        rows: Vec<u64>,
        tx: Answer<u64>,
    },
    Remove {
        id: Box<str>,
        token: u64,
        tx: Answer<Result<(), GroupError>>,
    },
}

impl GroupOp {
    /// Somebody is promised that it survives a power cut.
    pub(super) fn is_durable(&self) -> bool {
        matches!(
            self,
            GroupOp::Create { .. }
                | GroupOp::Change { .. }
                | GroupOp::Append { .. }
                | GroupOp::Claim { .. }
                | GroupOp::Remove { .. }
        )
    }

    /// Bytes that it brings into the transaction, roughly.
    pub(super) fn bytes(&self) -> usize {
        let of = |entries: &[NewGroupEntry]| entries.iter().map(|entry| entry.content.len()).sum::<usize>();
        match self {
            GroupOp::Append { entries, .. } => of(entries),
            GroupOp::Change { change, .. } => of(&change.entries) + change.data.len(),
            _ => 0,
        }
    }

    /// Answers without having done it.
    pub(super) fn fail(self, error: StoreError) {
        match self {
            GroupOp::Create { tx, .. } | GroupOp::Remove { tx, .. } => drop(tx.send(Err(error))),
            GroupOp::Change { tx, .. } => drop(tx.send(Err(error))),
            GroupOp::Append { tx, .. } => drop(tx.send(Err(error))),
            GroupOp::Cursors { tx, .. } => drop(tx.send(Err(error))),
            GroupOp::Claim { tx, .. } => drop(tx.send(Err(error))),
            GroupOp::Renew { tx, .. } => drop(tx.send(Err(error))),
            GroupOp::Trim { tx, .. } | GroupOp::Sweep { tx, .. } => drop(tx.send(Err(error))),
        }
    }
}

/// Marks a receipt as seen on a day, and tells whether it is the first time.
type First<'f> = dyn FnMut(u64, u64) -> bool + Send + 'f;

/// Does it; the answer is due after the commit.
pub(super) async fn write(
    conn: &mut SqliteConnection,
    op: GroupOp,
    first: &mut First<'_>,
) -> Result<Waiting, StoreError> {
    match op {
        GroupOp::Create { new, tx } => refusable(create(conn, new).await, tx),
        GroupOp::Change { change, tx } => refusable(self::change(conn, change).await, tx),
        GroupOp::Append { id, token, entries, tx } => refusable(append(conn, &id, token, entries, first).await, tx),
        GroupOp::Cursors { cursors, tx } => answer(save_cursors(conn, cursors).await, tx),
        GroupOp::Claim { id, lease, now_ms, tx } => refusable(claim(conn, &id, lease, now_ms).await, tx),
        GroupOp::Renew { leases, until_ms, tx } => answer(renew(conn, leases, until_ms).await, tx),
        GroupOp::Trim { id, upto, tx } => answer(trim(conn, &id, upto).await, tx),
        GroupOp::Sweep { rows, tx } => {
            let query = sqlx::query("delete from group_entry where id in (select value from json_each(?))");
            let gone = conn.execute(query.bind(json(&rows))).await;
            answer(gone.map(|done| done.rows_affected()).map_err(Into::into), tx)
        }
        GroupOp::Remove { id, token, tx } => refusable(remove(conn, &id, token).await, tx),
    }
}

/// The answer as it is after the commit; what fails for the machine fails the transaction.
pub(super) fn answer<T: Send + 'static>(done: Result<T, StoreError>, tx: Answer<T>) -> Result<Waiting, StoreError> {
    match done {
        Ok(done) => Ok(Box::new(move |end| drop(tx.send(end.map(|()| done))))),
        Err(error) => {
            tx.send(Err(error.clone())).ok();
            Err(error)
        }
    }
}

/// The same where it can be refused, having written nothing.
pub(super) fn refusable<T: Send + 'static>(
    done: Result<T, GroupError>,
    tx: Answer<Result<T, GroupError>>,
) -> Result<Waiting, StoreError> {
    match done {
        Err(GroupError::Store(error)) => answer(Err(error), tx),
        done => answer(Ok(done), tx),
    }
}

impl From<sqlx::Error> for GroupError {
    fn from(error: sqlx::Error) -> GroupError {
        GroupError::Store(error.into())
    }
}

/// The row of the log.
pub(super) fn place(number: i64, seq: u64) -> i64 {
    number << 32 | seq as i64
}

pub(super) async fn number(conn: &mut SqliteConnection, id: &str, token: u64) -> Result<i64, GroupError> {
    let row = conn.fetch_optional(sqlx::query("select number, token from chat_group where id = ?").bind(id)).await?;
    let row = row.ok_or(GroupError::Unknown)?;
    if row.try_get::<i64, _>(1)? as u64 != token {
        return Err(GroupError::Fenced);
    }
    Ok(row.try_get(0)?)
}

async fn create(conn: &mut SqliteConnection, new: NewGroup) -> Result<(), GroupError> {
    let query = sqlx::query("select id from chat_group where thread = ?").bind(&*new.contribution_id);
    if let Some(row) = conn.fetch_optional(query).await? {
        return Err(GroupError::Exists(row.try_get::<&str, _>(0)?.into()));
    }
    let text = "insert into chat_group (id, thread, revision, last, owner, until, token) values (?, ?, 1, ?, ?, ?, 1)
         on conflict do nothing returning number";
    let query = sqlx::query(text)
        .bind(&*new.id)
        .bind(&*new.contribution_id)
        .bind(new.entries.len() as i64)
        .bind(&*new.lease.owner)
        .bind(new.lease.until_ms as i64);
    let row = conn.fetch_optional(query).await?.ok_or(GroupError::Changed)?;
    let number: i64 = row.try_get(0)?;
    let query = sqlx::query("insert into group_state (number, data) values (?, ?)").bind(number).bind(&new.data[..]);
    conn.execute(query).await?;
    put_members(conn, number, &new.members).await?;
    put_entries(conn, number, 0, new.entries.iter()).await?;
    Ok(())
}

async fn change(conn: &mut SqliteConnection, change: GroupChange) -> Result<u64, GroupError> {
    let number = number(conn, &change.id, change.token).await?;
    let text = "update chat_group set revision = revision + 1, last = last + ? where number = ? and revision = ?
         returning last";
    let query = sqlx::query(text).bind(change.entries.len() as i64).bind(number).bind(change.seen as i64);
    let row = conn.fetch_optional(query).await?.ok_or(GroupError::Changed)?;
    let last = row.try_get::<i64, _>(0)? as u64;
    let query = sqlx::query("update group_state set data = ? where number = ?").bind(&change.data[..]).bind(number);
    conn.execute(query).await?;
    put_members(conn, number, &change.members).await?;
    put_entries(conn, number, last - change.entries.len() as u64, change.entries.iter()).await?;
    Ok(last)
}

async fn append(
    conn: &mut SqliteConnection,
    id: &str,
    token: u64,
    entries: Vec<NewGroupEntry>,
    first: &mut First<'_>,
) -> Result<Vec<Option<u64>>, GroupError> {
    let number = number(conn, id, token).await?;
    let fresh = |entry: &NewGroupEntry| match &entry.once {
        Some(once) => first(entry.at_ms / DAY_MS, once.key()),
        None => true,
    };
    let fresh: Vec<bool> = entries.iter().map(fresh).collect();
    let count = fresh.iter().filter(|fresh| **fresh).count() as u64;
    let query = sqlx::query("update chat_group set last = last + ? where number = ? returning last");
    let row = conn.fetch_one(query.bind(count as i64).bind(number)).await?;
    let mut last = row.try_get::<i64, _>(0)? as u64 - count;
    let new = entries.iter().zip(&fresh).filter(|(_, fresh)| **fresh).map(|(entry, _)| entry);
    put_entries(conn, number, last, new).await?;
    let mut next = |fresh: bool| {
        last += u64::from(fresh);
        fresh.then_some(last)
    };
    Ok(fresh.into_iter().map(&mut next).collect())
}

async fn put_entries<'e>(
    conn: &mut SqliteConnection,
    number: i64,
    mut last: u64,
    entries: impl Iterator<Item = &'e NewGroupEntry>,
) -> Result<(), sqlx::Error> {
    for entry in entries {
        last += 1;
        let query = sqlx::query("insert into group_entry (id, at, data) values (?, ?, ?)");
        let query = query.bind(place(number, last)).bind(entry.at_ms as i64).bind(codec::put_group_entry(entry));
        conn.execute(query).await?;
    }
    Ok(())
}

pub(super) async fn put_members(
    conn: &mut SqliteConnection,
    number: i64,
    members: &[GroupMember],
) -> Result<(), sqlx::Error> {
    for member in members {
        let text = "insert into group_member (number, user, active, data) values (?, ?, ?, ?)
             on conflict (number, user) do update set active = excluded.active, data = excluded.data";
        let query = sqlx::query(text).bind(number).bind(&*member.user).bind(member.active).bind(&member.data[..]);
        conn.execute(query).await?;
        if !member.active {
            let query = sqlx::query("delete from group_cursor where number = ? and user = ?");
            conn.execute(query.bind(number).bind(&*member.user)).await?;
        }
    }
    Ok(())
}

async fn save_cursors(conn: &mut SqliteConnection, cursors: Vec<GroupCursor>) -> Result<(), StoreError> {
    for cursor in cursors {
        let text = "insert into group_cursor (number, user, device, upto)
             select number, ?, ?, ? from chat_group where id = ?
             on conflict (number, user, device) do update set upto = max(upto, excluded.upto)";
        let query = sqlx::query(text).bind(&*cursor.user).bind(&*cursor.device).bind(cursor.upto as i64);
        conn.execute(query.bind(&*cursor.group)).await?;
    }
    Ok(())
}

async fn claim(
    conn: &mut SqliteConnection,
    id: &str,
    lease: GroupLease,
    now_ms: u64,
) -> Result<Option<u64>, GroupError> {
    let text = "update chat_group set owner = ?1, until = ?2, token = token + 1
         where id = ?3 and (until <= ?4 or owner = ?1) returning token";
    let query = sqlx::query(text).bind(&*lease.owner).bind(lease.until_ms as i64).bind(id).bind(now_ms as i64);
    if let Some(row) = conn.fetch_optional(query).await? {
        return Ok(Some(row.try_get::<i64, _>(0)? as u64));
    }
    let there = conn.fetch_optional(sqlx::query("select 1 from chat_group where id = ?").bind(id)).await?;
    there.map(|_| None).ok_or(GroupError::Unknown)
}

async fn renew(
    conn: &mut SqliteConnection,
    leases: Vec<(Box<str>, u64)>,
    until_ms: u64,
) -> Result<Vec<bool>, StoreError> {
    let mut held = Vec::with_capacity(leases.len());
    for (id, token) in leases {
        let query = sqlx::query("update chat_group set until = ? where id = ? and token = ?");
        let done = conn.execute(query.bind(until_ms as i64).bind(&*id).bind(token as i64)).await?;
        held.push(done.rows_affected() > 0);
    }
    Ok(held)
}

/// Some of them; fewer than [`SLICE`] means all.
async fn trim(conn: &mut SqliteConnection, id: &str, upto: u64) -> Result<u64, StoreError> {
    let row = conn.fetch_optional(sqlx::query("select number from chat_group where id = ?").bind(id)).await?;
    let Some(row) = row else { return Ok(0) };
    let number = row.try_get::<i64, _>(0)?;
    let text = "delete from group_entry where id in (
            select id from group_entry where id > ? and id <= ? order by id limit ?)";
    let upto = upto.min(u64::from(u32::MAX));
    let query = sqlx::query(text).bind(place(number, 0)).bind(place(number, upto)).bind(SLICE as i64);
    Ok(conn.execute(query).await?.rows_affected())
}

async fn remove(conn: &mut SqliteConnection, id: &str, token: u64) -> Result<(), GroupError> {
    let number = number(conn, id, token).await?;
    for text in [
        "delete from group_member where number = ?",
        "delete from group_cursor where number = ?",
        "delete from group_state where number = ?",
        "delete from chat_group where number = ?",
    ] {
        conn.execute(sqlx::query(text).bind(number)).await?;
    }
    let query = sqlx::query("delete from group_entry where id >= ? and id < ?");
    conn.execute(query.bind(place(number, 0)).bind(place(number + 1, 0))).await?;
    Ok(())
}

fn head(row: &SqliteRow) -> Result<GroupHead, StoreError> {
    Ok(GroupHead {
        id: row.try_get::<&str, _>(0)?.into(),
        contribution_id: row.try_get::<&str, _>(1)?.into(),
        revision: row.try_get::<i64, _>(2)? as u64,
        last: row.try_get::<i64, _>(3)? as u64,
        data: Bytes::from(row.try_get::<Vec<u8>, _>(4)?),
    })
}

impl Sqlite {
    async fn ask_groups<T>(&self, op: impl FnOnce(Answer<T>) -> GroupOp) -> Result<T, StoreError> {
        self.ask(|tx| super::Op::Group(Box::new(op(tx)))).await
    }
}

#[async_trait::async_trait]
impl Groups for Sqlite {
    async fn create(&self, new: NewGroup) -> Result<(), GroupError> {
        self.ask_groups(|tx| GroupOp::Create { new, tx }).await?
    }

    async fn change(&self, change: GroupChange) -> Result<u64, GroupError> {
        self.ask_groups(|tx| GroupOp::Change { change, tx }).await?
    }

    async fn load(&self, id: &str) -> Result<Option<StoredGroup>, StoreError> {
        // Both in one statement, so that they are of one moment.
        let text = "select id, thread, revision, last, s.data, user, active, m.data
             from chat_group g join group_state s on s.number = g.number
             left join group_member m on m.number = g.number where id = ? order by user";
        let rows = self.readers.fetch_all(sqlx::query(text).bind(id)).await?;
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
        let query = sqlx::query("select id from chat_group where thread = ?").bind(contribution_id);
        let row = self.readers.fetch_optional(query).await?;
        row.map(|row| Ok(row.try_get::<&str, _>(0)?.into())).transpose()
    }

    async fn of_user(&self, user: &str) -> Result<Vec<Box<str>>, StoreError> {
        let text = "select id from group_member m join chat_group g on g.number = m.number
             where m.user = ? and m.active order by id";
        let rows = self.readers.fetch_all(sqlx::query(text).bind(user)).await?;
        rows.iter().map(|row| Ok(row.try_get::<&str, _>(0)?.into())).collect()
    }

    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<GroupHead>, StoreError> {
        let text = "select id, thread, revision, last, data from chat_group g join group_state s on s.number = g.number
             where id > ? order by id limit ?";
        let query = sqlx::query(text).bind(after.unwrap_or("")).bind(limit.min(MOST) as i64);
        self.readers.fetch_all(query).await?.iter().map(head).collect()
    }

    async fn append(&self, id: &str, token: u64, entries: Vec<NewGroupEntry>) -> Result<Vec<Option<u64>>, GroupError> {
        self.ask_groups(|tx| GroupOp::Append { id: id.into(), token, entries, tx }).await?
    }

    async fn read(&self, id: &str, after: u64, limit: usize) -> Result<Vec<GroupEntry>, StoreError> {
        let text = "select e.id, at, data from chat_group g join group_entry e
             on e.id > (g.number << 32 | ?2) and e.id < ((g.number + 1) << 32)
             where g.id = ?1 order by e.id limit ?3";
        let query = sqlx::query(text).bind(id).bind(after.min(u64::from(u32::MAX)) as i64);
        let rows = self.readers.fetch_all(query.bind(limit.min(MOST) as i64)).await?;
        let one = |row: &SqliteRow| {
            let seq = row.try_get::<i64, _>(0)? as u64 & u64::from(u32::MAX);
            codec::take_group_entry(seq, row.try_get::<i64, _>(1)? as u64, Bytes::from(row.try_get::<Vec<u8>, _>(2)?))
        };
        rows.iter().map(one).collect()
    }

    async fn save_cursors(&self, cursors: Vec<GroupCursor>) -> Result<(), StoreError> {
        for piece in cursors.chunks(MOST) {
            let cursors = piece.to_vec();
            self.ask_groups(|tx| GroupOp::Cursors { cursors, tx }).await?;
        }
        Ok(())
    }

    async fn cursors(&self, id: &str) -> Result<Vec<GroupCursor>, StoreError> {
        let text = "select user, device, upto from chat_group g join group_cursor c on c.number = g.number
             where id = ? order by user, device";
        let rows = self.readers.fetch_all(sqlx::query(text).bind(id)).await?;
        let one = |row: &SqliteRow| {
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
        self.ask_groups(|tx| GroupOp::Claim { id: id.into(), lease, now_ms, tx }).await?
    }

    async fn renew(&self, leases: Vec<(Box<str>, u64)>, until_ms: u64) -> Result<Vec<bool>, StoreError> {
        let mut held = Vec::with_capacity(leases.len());
        for piece in leases.chunks(MOST) {
            let leases = piece.to_vec();
            held.extend(self.ask_groups(|tx| GroupOp::Renew { leases, until_ms, tx }).await?);
        }
        Ok(held)
    }

    async fn release(&self, id: &str, token: u64) -> Result<(), StoreError> {
        self.renew(vec![(id.into(), token)], 0).await.map(drop)
    }

    async fn trim(&self, id: &str, upto: u64) -> Result<(), StoreError> {
        while self.ask_groups(|tx| GroupOp::Trim { id: id.into(), upto, tx }).await? == SLICE {}
        Ok(())
    }

    async fn sweep(&self, before_ms: u64, limit: usize) -> Result<u64, StoreError> {
        let query = sqlx::query("select id from group_entry where at < ? limit ?");
        let query = query.bind(before_ms.min(i64::MAX as u64) as i64).bind(limit.min(MOST) as i64);
        let rows = self.readers.fetch_all(query).await?;
        let rows: Vec<u64> =
            rows.iter().map(|row| row.try_get::<i64, _>(0).map(|id| id as u64)).collect::<Result<_, _>>()?;
        if rows.is_empty() {
            return Ok(0);
        }
        self.ask_groups(|tx| GroupOp::Sweep { rows, tx }).await
    }

    async fn remove(&self, id: &str, token: u64) -> Result<(), GroupError> {
        self.ask_groups(|tx| GroupOp::Remove { id: id.into(), token, tx }).await?
    }
}
