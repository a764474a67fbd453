//! Documents, a row each, and rows for what they were before.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, Row};

use super::writer::{Op, Waiting};
use super::{Answer, Sqlite};
use crate::StoreError;
use crate::document::{Document, DocumentError, DocumentHead, DocumentKey, DocumentWrite, Documents};

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

/// Does it; the answer is due after the commit. What is refused has written nothing.
pub(super) async fn write(conn: &mut SqliteConnection, op: DocumentOp) -> Result<Waiting, StoreError> {
    match op {
        DocumentOp::Write { write, tx } => match change(conn, write).await {
            Err(DocumentError::Store(error)) => {
                tx.send(Err(error.clone())).ok();
                Err(error)
            }
            done => Ok(Box::new(move |end| drop(tx.send(end.map(|()| done))))),
        },
        DocumentOp::RemoveOwner { owner, tx } => match remove(conn, &owner).await {
            Err(error) => {
                let error = StoreError::from(error);
                tx.send(Err(error.clone())).ok();
                Err(error)
            }
            Ok(done) => Ok(Box::new(move |end| drop(tx.send(end.map(|()| done))))),
        },
    }
}

impl From<sqlx::Error> for DocumentError {
    fn from(error: sqlx::Error) -> DocumentError {
        DocumentError::Store(error.into())
    }
}

async fn change(conn: &mut SqliteConnection, write: DocumentWrite) -> Result<(), DocumentError> {
    let DocumentWrite { key, seen, next, at: _, claims, keep, most_documents, most_bytes } = write;
    let text = "select auid, name, id, etag, size from document where owner = ?";
    let (mut current, mut others, mut bytes) = (None, 0_u64, 0_u64);
    for row in conn.fetch_all(sqlx::query(text).bind(&*key.owner)).await? {
        let size = row.try_get::<i64, _>(4)? as u64;
        if row.try_get::<&str, _>(0)? == &*key.auid && row.try_get::<&str, _>(1)? == &*key.name {
            current = Some((row.try_get::<i64, _>(2)?, Box::<str>::from(row.try_get::<&str, _>(3)?), size));
        } else {
            others += 1;
            bytes += size;
        }
    }
    if current.as_ref().map(|(_, etag, _)| etag) != seen.as_ref() {
        return Err(DocumentError::Changed);
    }
    if let Some(next) = &next {
        let (size, before) = (next.text.len() as u64, current.as_ref().map_or(0, |(_, _, size)| *size));
        if current.is_none() && others + 1 > most_documents {
            return Err(DocumentError::TooMany);
        }
        if bytes + size > most_bytes && size > before {
            return Err(DocumentError::TooLarge);
        }
    }
    if let Some(claims) = claims {
        claim(conn, &key, if next.is_some() { &claims } else { &[] }).await?;
    }
    let (owner, auid, name) = (&*key.owner, &*key.auid, &*key.name);
    if let Some((id, _, _)) = current.as_ref().filter(|_| keep > 0) {
        let text = "insert into document_version (owner, auid, name, etag, modified, size, text)
                 select owner, auid, name, etag, modified, size, text from document where id = ?;
             delete from document_version where owner = ? and auid = ? and name = ? and id not in (
                 select id from document_version where owner = ? and auid = ? and name = ? order by id desc limit ?)";
        let query = sqlx::query(text).bind(id).bind(owner).bind(auid).bind(name).bind(owner).bind(auid).bind(name);
        conn.execute(query.bind(keep as i64)).await?;
    }
    match (&current, next) {
        (Some((id, _, _)), Some(next)) => {
            let text = "update document set etag = ?, modified = ?, size = ?, text = ? where id = ?";
            let query = sqlx::query(text).bind(&*next.etag).bind(next.modified as i64).bind(next.text.len() as i64);
            conn.execute(query.bind(&*next.text).bind(id)).await?;
        }
        (None, Some(next)) => {
            let text = "insert into document (owner, auid, name, etag, modified, size, text) values (?,?,?,?,?,?,?)";
            let query = sqlx::query(text).bind(owner).bind(auid).bind(name).bind(&*next.etag);
            let query = query.bind(next.modified as i64).bind(next.text.len() as i64).bind(&*next.text);
            conn.execute(query).await?;
        }
        (Some((id, _, _)), None) => {
            conn.execute(sqlx::query("delete from document where id = ?").bind(id)).await?;
        }
        (None, None) => {}
    }
    Ok(())
}

/// Gives a document these names and no others, or tells which another has.
async fn claim(conn: &mut SqliteConnection, key: &DocumentKey, claims: &[Box<str>]) -> Result<(), DocumentError> {
    let values = list(claims);
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
fn list(strings: &[Box<str>]) -> String {
    let mut out = String::from("[");
    for (at, string) in strings.iter().enumerate() {
        out.push_str(if at == 0 { "\"" } else { ",\"" });
        for c in string.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out.push(']');
    out
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
        let rows = self.readers.fetch_all(sqlx::query(text).bind(auid).bind(list(names))).await?;
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
