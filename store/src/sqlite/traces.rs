//! Finding and erasing a user in what is not his alone.

use ahash::AHashSet;
use bytes::Bytes;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor, Row};

use super::writer::{Waiting, json};
use super::{Answer, Op, Sqlite, groups, history};
use crate::group::GroupError;
use crate::queue::QueuedMessage;
use crate::trace::{GroupErasure, Traced, Traces};
use crate::{StoreError, codec};

/// What can be asked.
#[derive(Debug)]
pub(super) enum TraceOp {
    Member {
        erasure: GroupErasure,
        tx: Answer<Result<(), GroupError>>,
    },
    /// `rows`: of the log, that may have records of the names.
    Erase {
        names: Vec<Box<str>>,
        rows: Vec<u64>,
        tx: Answer<Traced>,
    },
}

impl TraceOp {
    /// Answers without having done it.
    pub(super) fn fail(self, error: StoreError) {
        match self {
            TraceOp::Member { tx, .. } => drop(tx.send(Err(error))),
            TraceOp::Erase { tx, .. } => drop(tx.send(Err(error))),
        }
    }
}

/// Does it; the answer is due after the commit. `next` is a number above all that are given, `first_id` the least that is given in this
/// transaction.
pub(super) async fn write(
    conn: &mut SqliteConnection,
    op: TraceOp,
    next: u64,
    first_id: u64,
) -> Result<Waiting, StoreError> {
    match op {
        TraceOp::Member { erasure, tx } => groups::refusable(member(conn, &erasure).await, tx),
        TraceOp::Erase { names, rows, tx } => groups::answer(erase(conn, &names, &rows, next, first_id).await, tx),
    }
}

async fn member(conn: &mut SqliteConnection, erasure: &GroupErasure) -> Result<(), GroupError> {
    let number = groups::number(conn, &erasure.id, erasure.token).await?;
    let text = "update chat_group set revision = revision + 1 where number = ? and revision = ?";
    let done = conn.execute(sqlx::query(text).bind(number).bind(erasure.seen as i64)).await?;
    if done.rows_affected() == 0 {
        return Err(GroupError::Changed);
    }
    let query = sqlx::query("update group_state set data = ? where number = ?").bind(&erasure.data[..]).bind(number);
    conn.execute(query).await?;
    groups::put_members(conn, number, &erasure.members).await?;
    for user in &erasure.users {
        for text in [
            "delete from group_member where number = ? and user = ?",
            "delete from group_cursor where number = ? and user = ?",
        ] {
            conn.execute(sqlx::query(text).bind(number).bind(&**user)).await?;
        }
    }
    let row = erasure.row();
    for seq in &erasure.entries {
        let query = sqlx::query("update group_entry set data = ? where id = ?").bind(&row[..]);
        conn.execute(query.bind(groups::place(number, *seq))).await?;
    }
    Ok(())
}

async fn erase(
    conn: &mut SqliteConnection,
    names: &[Box<str>],
    rows: &[u64],
    next: u64,
    first_id: u64,
) -> Result<Traced, StoreError> {
    let mut traced = Traced::default();
    let mut seen = AHashSet::new();
    for name in names {
        let query = sqlx::query("select conversation from member where aor = ?").bind(&**name);
        for row in conn.fetch_all(query).await? {
            let conversation: Vec<u8> = row.try_get(0)?;
            if seen.insert(conversation.clone()) {
                traced.entries += leave(conn, &conversation, names, first_id).await?;
                traced.conversations += 1;
            }
        }
    }
    // Numbers must go on above what was there, also where the clock is set back.
    conn.execute(sqlx::query("update tally set erased = ?").bind(next as i64)).await?;
    for id in rows {
        let query = sqlx::query("select fates from log where id = ?").bind(*id as i64);
        let Some(row) = conn.fetch_optional(query).await? else { continue };
        let mut fates = codec::take_fates(row.try_get(0)?)?;
        let before = fates.len();
        fates.retain(|fate| !names.contains(&fate.recipient));
        traced.fates += (before - fates.len()) as u64;
        // What was settled and counted stays in the row.
        let query = sqlx::query("update log set hints = ?, fates = ? where id = ?");
        let query = query.bind(codec::put_hints(fates.iter())).bind(codec::put_fates(fates.iter()));
        conn.execute(query.bind(*id as i64)).await?;
    }
    Ok(traced)
}

/// Takes a user out of a conversation; one of two goes whole. Entries before this transaction have their places. Gives how many
/// went.
async fn leave(
    conn: &mut SqliteConnection,
    conversation: &[u8],
    names: &[Box<str>],
    first_id: u64,
) -> Result<u64, StoreError> {
    let query = sqlx::query("select members from conversation where id = ?").bind(conversation);
    let members = match conn.fetch_optional(query).await? {
        Some(row) => codec::take_names(row.try_get(0)?)?,
        None => Vec::new(),
    };
    let others: Vec<&str> = members.iter().filter(|member| !names.contains(member)).map(|member| &**member).collect();
    let whole = others.len() < 2;
    let text = "select id, data from entry where id in (select id from place where conversation = ?1)
         or (id >= ?2 and conversation = ?1)";
    let query = sqlx::query(text).bind(conversation).bind(first_id as i64);
    let mut gone: Vec<u64> = Vec::new();
    for row in conn.fetch_all(query).await? {
        let id = row.try_get::<i64, _>(0)? as u64;
        let entry = codec::take_entry(id, history::name(conversation)?, Bytes::from(row.try_get::<Vec<u8>, _>(1)?))?;
        if whole || names.contains(&entry.author) {
            gone.push(id);
        }
    }
    for text in [
        "delete from place where conversation = ?1 and id in (select value from json_each(?2))",
        "delete from entry where conversation = ?1 and id in (select value from json_each(?2))",
    ] {
        conn.execute(sqlx::query(text).bind(conversation).bind(json(&gone))).await?;
    }
    for member in members.iter().filter(|member| whole || names.contains(member)) {
        let query = sqlx::query("delete from member where aor = ? and conversation = ?");
        conn.execute(query.bind(&**member).bind(conversation)).await?;
    }
    let query = match whole {
        true => sqlx::query("delete from conversation where id = ?"),
        false => sqlx::query("update conversation set members = ? where id = ?")
            .bind(codec::put_names(others.iter().copied())),
    };
    conn.execute(query.bind(conversation)).await?;
    Ok(gone.len() as u64)
}

/// Names as SQLite reads them, for `unhex`: so nothing in them needs to be escaped.
fn hex(names: &[Box<str>]) -> String {
    use std::fmt::Write as _;
    let quoted = |name: &str| {
        let mut text = String::from("\"");
        for byte in name.bytes() {
            let _ = write!(text, "{byte:02x}");
        }
        text + "\""
    };
    format!("[{}]", names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(","))
}

#[async_trait::async_trait]
impl Traces for Sqlite {
    async fn queued_with(
        &self,
        names: &[Box<str>],
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        let text = "select id, data from message where id > ?1 and exists (
                select 1 from json_each(?2) where instr(data, unhex(value)) > 0) order by id limit ?3";
        let query = sqlx::query(text).bind(after.min(i64::MAX as u64) as i64).bind(hex(names));
        let mut found = Vec::new();
        for row in self.readers.fetch_all(query.bind(limit.min(i64::MAX as usize) as i64)).await? {
            let data = Bytes::from(row.try_get::<Vec<u8>, _>(1)?);
            found.push(codec::take_message(row.try_get::<i64, _>(0)? as u64, data)?);
        }
        Ok(found)
    }

    async fn groups_with(&self, names: &[Box<str>]) -> Result<Vec<Box<str>>, StoreError> {
        let text = "select id from chat_group g where exists (
                select 1 from group_member m join json_each(?1) on m.user = cast(unhex(value) as text)
                where m.number = g.number)
             or exists (
                select 1 from group_entry e join json_each(?1) on instr(e.data, unhex(value)) > 0
                where e.id > g.number << 32 and e.id < (g.number + 1) << 32)
             order by id";
        let rows = self.readers.fetch_all(sqlx::query(text).bind(hex(names))).await?;
        rows.iter().map(|row| Ok(row.try_get::<&str, _>(0)?.into())).collect()
    }

    async fn erase_member(&self, erasure: GroupErasure) -> Result<(), GroupError> {
        self.ask(|tx| Op::Trace(Box::new(TraceOp::Member { erasure, tx }))).await?
    }

    async fn erase_traces(&self, names: &[Box<str>]) -> Result<Traced, StoreError> {
        self.ask(|tx| Op::Flush { tx }).await?;
        let text = "select id from log where exists (
                select 1 from json_each(?) where instr(fates, unhex(value)) > 0)";
        let rows = self.readers.fetch_all(sqlx::query(text).bind(hex(names))).await?;
        let rows: Vec<u64> =
            rows.iter().map(|row| row.try_get::<i64, _>(0).map(|id| id as u64)).collect::<Result<_, _>>()?;
        let names = names.to_vec();
        self.ask(|tx| Op::Trace(Box::new(TraceOp::Erase { names, rows, tx }))).await
    }

    async fn scrub(&self) -> Result<bool, StoreError> {
        self.ask(|tx| Op::Flush { tx }).await?;
        self.ask(|tx| Op::Scrub { tx }).await.map(|()| true)
    }
}
