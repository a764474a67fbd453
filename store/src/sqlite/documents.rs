//! Documents, a row each, and rows for what they were before.

use std::collections::{HashMap, VecDeque};

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, Row};

use super::writer::{Op, Waiting};
use super::{Answer, Sqlite};
use crate::StoreError;
use crate::document::{Document, DocumentError, DocumentHead, DocumentKey, DocumentWrite, Documents};

/// Writes that are done together, at most.
const TOGETHER: usize = 64;

/// What can be asked.
#[derive(Debug)]
pub(super) enum DocumentOp {
    Write { write: DocumentWrite, tx: Answer<Result<(), DocumentError>> },
    RemoveOwner { owner: Box<str>, tx: Answer<u64> },
}

impl DocumentOp {
    /// Bytes that it brings into the transaction, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            // The text before is written too.
            DocumentOp::Write { write, .. } => write.next.as_ref().map_or(0, |next| 2 * next.text.len()),
            DocumentOp::RemoveOwner { .. } => 0,
        }
    }

    /// Answers without having done it.
    pub(super) fn fail(self, error: StoreError) {
        match self {
            DocumentOp::Write { tx, .. } => drop(tx.send(Err(error))),
            DocumentOp::RemoveOwner { tx, .. } => drop(tx.send(Err(error))),
        }
    }
}

/// Does them in order; the answers are due after the commit. What is refused has written nothing.
pub(super) async fn write(
    conn: &mut SqliteConnection,
    ops: &mut VecDeque<DocumentOp>,
    answers: &mut Vec<Waiting>,
) -> Result<(), StoreError> {
    while let Some(op) = ops.pop_front() {
        match op {
            DocumentOp::Write { write, tx } => {
                let mut group = vec![(write, tx)];
                while matches!(ops.front(), Some(DocumentOp::Write { write, .. }) if goes_with(&group, write)) {
                    if let Some(DocumentOp::Write { write, tx }) = ops.pop_front() {
                        group.push((write, tx));
                    }
                }
                let (writes, txs): (Vec<_>, Vec<_>) = group.into_iter().unzip();
                match change(conn, writes).await {
                    Ok(all) => {
                        for (done, tx) in all.into_iter().zip(txs) {
                            answers.push(Box::new(move |end| drop(tx.send(end.map(|()| done)))));
                        }
                    }
                    Err(error) => {
                        txs.into_iter().for_each(|tx| drop(tx.send(Err(error.clone()))));
                        return Err(error);
                    }
                }
            }
            DocumentOp::RemoveOwner { owner, tx } => match remove(conn, &owner).await {
                Err(error) => {
                    let error = StoreError::from(error);
                    tx.send(Err(error.clone())).ok();
                    return Err(error);
                }
                Ok(done) => answers.push(Box::new(move |end| drop(tx.send(end.map(|()| done))))),
            },
        }
    }
    Ok(())
}

/// Whether a write can be done together with these: none sees what another has changed.
fn goes_with(group: &[(DocumentWrite, Answer<Result<(), DocumentError>>)], write: &DocumentWrite) -> bool {
    let stands_alone = |one: &DocumentWrite| one.claims.is_none() && one.key.owner != write.key.owner;
    group.len() < TOGETHER && write.claims.is_none() && group.iter().all(|(one, _)| stands_alone(one))
}

impl From<sqlx::Error> for DocumentError {
    fn from(error: sqlx::Error) -> DocumentError {
        DocumentError::Store(error.into())
    }
}

/// A document as the table has it.
struct Held {
    id: i64,
    auid: Box<str>,
    name: Box<str>,
    etag: Box<str>,
    size: u64,
}

/// Documents of these owners: a trip to the thread of the connection costs more than what it does there.
async fn rows_of(
    conn: &mut SqliteConnection,
    writes: &[DocumentWrite],
) -> Result<HashMap<Box<str>, Vec<Held>>, StoreError> {
    let owners = list(writes.iter().map(|write| &*write.key.owner));
    let text = "select owner, id, auid, name, etag, size from document where owner in (select value from json_each(?))";
    let mut of: HashMap<Box<str>, Vec<Held>> = HashMap::new();
    for row in conn.fetch_all(sqlx::query(text).bind(owners)).await? {
        let text = |at: usize| row.try_get::<&str, _>(at).map(Box::from);
        let (id, size) = (row.try_get(1)?, row.try_get::<i64, _>(5)? as u64);
        let found = Held { id, auid: text(2)?, name: text(3)?, etag: text(4)?, size };
        of.entry(text(0)?).or_default().push(found);
    }
    Ok(of)
}

/// The row that a write changes, if it is there; or why it may not be written.
fn judge<'r>(write: &DocumentWrite, rows: &'r [Held]) -> Result<Option<&'r Held>, DocumentError> {
    let is_it = |row: &&Held| row.auid == write.key.auid && row.name == write.key.name;
    let current = rows.iter().find(is_it);
    if current.map(|row| &row.etag) != write.seen.as_ref() {
        return Err(DocumentError::Changed);
    }
    if let Some(next) = &write.next {
        let (size, before) = (next.text.len() as u64, current.map_or(0, |row| row.size));
        if current.is_none() && rows.len() as u64 + 1 > write.most_documents {
            return Err(DocumentError::TooMany);
        }
        let bytes: u64 = rows.iter().map(|row| row.size).sum();
        if bytes - before + size > write.most_bytes && size > before {
            return Err(DocumentError::TooLarge);
        }
    }
    Ok(current)
}

/// What writes come to, as JSON: a statement takes many rows so.
#[derive(Default)]
struct Script {
    /// Ids of documents of which a copy stays, and how many may.
    kept: String,
    versions: String,
    next: String,
    gone: String,
}

impl Script {
    fn add(&mut self, write: &DocumentWrite, current: Option<&Held>) {
        let (owner, auid, name) = (&write.key.owner, &write.key.auid, &write.key.name);
        if let Some(before) = current.filter(|_| write.keep > 0) {
            number(&mut self.kept, before.id);
            row(&mut self.versions, &[owner, auid, name], &[write.keep as u64]);
        }
        match (&write.next, current) {
            (Some(next), _) => {
                let numbers = [next.modified, next.text.len() as u64];
                row(&mut self.next, &[owner, auid, name, &next.etag, &next.text], &numbers);
            }
            (None, Some(before)) => number(&mut self.gone, before.id),
            (None, None) => {}
        }
    }

    async fn run(mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let lists = [&mut self.kept, &mut self.versions, &mut self.next, &mut self.gone];
        if lists.iter().all(|list| list.is_empty()) {
            return Ok(());
        }
        for list in lists {
            list.insert(0, '[');
            list.push(']');
        }
        let text = "insert into document_version (owner, auid, name, etag, modified, size, text)
                 select owner, auid, name, etag, modified, size, text from document
                 where id in (select value from json_each(?));
             delete from document_version where id in (
                 select id from (
                     select v.id, asked.value ->> 3 as keep,
                         row_number() over (partition by v.owner, v.auid, v.name order by v.id desc) as place
                     from json_each(?) as asked join document_version as v
                     on v.owner = asked.value ->> 0 and v.auid = asked.value ->> 1 and v.name = asked.value ->> 2)
                 where place > keep);
             insert into document (owner, auid, name, etag, text, modified, size)
                 select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
                 from json_each(?) where true
                 on conflict (owner, auid, name) do update
                 set etag = excluded.etag, text = excluded.text, modified = excluded.modified, size = excluded.size;
             delete from document where id in (select value from json_each(?))";
        let query = sqlx::query(text).bind(self.kept).bind(self.versions).bind(self.next).bind(self.gone);
        conn.execute(query).await?;
        Ok(())
    }
}

/// Adds a number to a list that is being written as JSON.
fn number(list: &mut String, number: i64) {
    comma(list);
    list.push_str(&number.to_string());
}

/// Adds a row to such a list: strings, then numbers.
fn row(list: &mut String, texts: &[&str], numbers: &[u64]) {
    comma(list);
    for (at, text) in texts.iter().enumerate() {
        list.push(if at == 0 { '[' } else { ',' });
        quote(list, text);
    }
    for number in numbers {
        list.push(',');
        list.push_str(&number.to_string());
    }
    list.push(']');
}

fn comma(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}

/// Writes of owners that are all different, or one that claims names. For each what was refused; `Err` where the store
/// failed.
async fn change(
    conn: &mut SqliteConnection,
    writes: Vec<DocumentWrite>,
) -> Result<Vec<Result<(), DocumentError>>, StoreError> {
    let rows = rows_of(conn, &writes).await?;
    let (mut script, mut all) = (Script::default(), Vec::with_capacity(writes.len()));
    for write in &writes {
        let current = match judge(write, rows.get(&write.key.owner).map_or(&[], Vec::as_slice)) {
            Ok(current) => current,
            Err(refused) => {
                all.push(Err(refused));
                continue;
            }
        };
        if let Some(claims) = &write.claims {
            match claim(conn, &write.key, if write.next.is_some() { claims } else { &[] }).await {
                Ok(()) => {}
                Err(DocumentError::Store(error)) => return Err(error),
                Err(refused) => {
                    all.push(Err(refused));
                    continue;
                }
            }
        }
        script.add(write, current);
        all.push(Ok(()));
    }
    script.run(conn).await?;
    Ok(all)
}

/// Gives a document these names and no others, or tells which another has.
async fn claim(conn: &mut SqliteConnection, key: &DocumentKey, claims: &[Box<str>]) -> Result<(), DocumentError> {
    let values = list(claims.iter().map(|claim| &**claim));
    let text = "select value from document_claim where auid = ? and value in (select value from json_each(?))
         and not (owner = ? and name = ?)";
    let query = sqlx::query(text).bind(&*key.auid).bind(&values).bind(&*key.owner).bind(&*key.name);
    let rows = conn.fetch_all(query).await?;
    if !rows.is_empty() {
        let name = |row: &SqliteRow| Ok(row.try_get::<&str, _>(0)?.into());
        let taken: Result<Vec<Box<str>>, sqlx::Error> = rows.iter().map(name).collect();
        return Err(DocumentError::Taken(taken?));
    }
    let text = "delete from document_claim where owner = ? and auid = ? and name = ?;
         insert into document_claim (auid, value, owner, name) select distinct ?, value, ?, ? from json_each(?)";
    let (owner, auid, name) = (&*key.owner, &*key.auid, &*key.name);
    let query = sqlx::query(text).bind(owner).bind(auid).bind(name).bind(auid).bind(owner).bind(name).bind(&values);
    conn.execute(query).await?;
    Ok(())
}

/// Strings as JSON, which is how a statement takes many.
fn list<'s>(strings: impl Iterator<Item = &'s str>) -> String {
    let mut out = String::new();
    for string in strings {
        comma(&mut out);
        quote(&mut out, string);
    }
    format!("[{out}]")
}

/// Writes a string of JSON (RFC 8259 §7).
fn quote(out: &mut String, string: &str) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

async fn remove(conn: &mut SqliteConnection, owner: &str) -> Result<u64, sqlx::Error> {
    let text = "delete from document_claim where owner = ?; delete from document_version where owner = ?";
    conn.execute(sqlx::query(text).bind(owner).bind(owner)).await?;
    let gone = conn.execute(sqlx::query("delete from document where owner = ?").bind(owner)).await?;
    Ok(gone.rows_affected())
}

fn document(row: &SqliteRow) -> Result<Document, StoreError> {
    Ok(Document {
        etag: row.try_get::<&str, _>(0)?.into(),
        modified: row.try_get::<i64, _>(1)? as u64,
        text: row.try_get::<&str, _>(2)?.into(),
    })
}

fn head(row: &SqliteRow) -> Result<DocumentHead, StoreError> {
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
impl Documents for Sqlite {
    async fn write(&self, write: DocumentWrite) -> Result<(), DocumentError> {
        self.ask(|tx| Op::Document(Box::new(DocumentOp::Write { write, tx }))).await?
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<Document>, StoreError> {
        let text = "select etag, modified, text from document where owner = ? and auid = ? and name = ?";
        let query = sqlx::query(text).bind(&*key.owner).bind(&*key.auid).bind(&*key.name);
        self.readers.fetch_optional(query).await?.as_ref().map(document).transpose()
    }

    async fn of_owner(&self, owner: &str) -> Result<Vec<DocumentHead>, StoreError> {
        let text = "select owner, auid, name, etag, modified, size from document where owner = ? order by auid, name";
        self.readers.fetch_all(sqlx::query(text).bind(owner)).await?.iter().map(head).collect()
    }

    async fn named(
        &self,
        auid: &str,
        name: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, Document)>, StoreError> {
        let text = "select etag, modified, text, owner from document
             where auid = ? and name = ? and (? is null or owner > ?) order by owner limit ?";
        let query = sqlx::query(text).bind(auid).bind(name).bind(after).bind(after).bind(limit as i64);
        let one = |row: &SqliteRow| Ok((row.try_get::<&str, _>(3)?.into(), document(row)?));
        self.readers.fetch_all(query).await?.iter().map(one).collect()
    }

    async fn taken(&self, auid: &str, names: &[Box<str>]) -> Result<Vec<bool>, StoreError> {
        let text = "select value from document_claim where auid = ? and value in (select value from json_each(?))";
        let rows =
            self.readers.fetch_all(sqlx::query(text).bind(auid).bind(list(names.iter().map(|name| &**name)))).await?;
        let found: Result<Vec<String>, sqlx::Error> = rows.iter().map(|row| row.try_get(0)).collect();
        let found = found?;
        Ok(names.iter().map(|name| found.iter().any(|found| **found == **name)).collect())
    }

    async fn versions(&self, key: &DocumentKey) -> Result<Vec<DocumentHead>, StoreError> {
        let text = "select owner, auid, name, etag, modified, size from document_version
             where owner = ? and auid = ? and name = ? order by id desc";
        let query = sqlx::query(text).bind(&*key.owner).bind(&*key.auid).bind(&*key.name);
        self.readers.fetch_all(query).await?.iter().map(head).collect()
    }

    async fn version(&self, key: &DocumentKey, etag: &str) -> Result<Option<Document>, StoreError> {
        let text = "select etag, modified, text from document_version
             where owner = ? and auid = ? and name = ? and etag = ? order by id desc limit 1";
        let query = sqlx::query(text).bind(&*key.owner).bind(&*key.auid).bind(&*key.name).bind(etag);
        self.readers.fetch_optional(query).await?.as_ref().map(document).transpose()
    }

    async fn remove_owner(&self, owner: &str) -> Result<u64, StoreError> {
        let owner = owner.into();
        self.ask(|tx| Op::Document(Box::new(DocumentOp::RemoveOwner { owner, tx }))).await
    }
}
