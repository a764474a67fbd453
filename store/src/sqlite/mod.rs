//! SQLite in one file: WAL, one writer with group commit, a few readers (docs/decisions/0010 to 0012).
//!
//! The file belongs to one process, so what finds a record can live in memory: the index of the queue ([`Backlog`]) and
//! the receipts that were seen. Both are rebuilt when the file is opened.

mod accounts;
mod bulk;
mod chat;
mod devices;
mod documents;
mod files;
mod groups;
mod history;
mod load;
mod lock;
mod recent;
pub(crate) mod schema;
mod sign_ins;
mod states;
mod traces;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use bytes::Bytes;
use chappe_sip::registrar::Binding;
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Executor, Row};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use self::accounts::AccountOp;
use self::chat::ChatOp;
use self::files::FileOp;
use self::history::Fresh;
use self::load::Loaded;
use self::lock::Lock;
use self::recent::Recent;
use self::writer::{Op, Writer};
use crate::account::{Account, AccountError, AccountStore, Imported, Secrets};
use crate::backlog::Backlog;
use crate::fate::{Counts, Fate, FateLog};
use crate::location::{Located, LocationStore, Revision};
use crate::queue::{Depth, MessageQueue, QueuedMessage, Wanted, Write, Written};
use crate::receipt::{Receipt, Receipts};
use crate::{StoreError, codec};

/// Operations that wait for the writer before callers have to wait themselves.
const WAITING: usize = 4096;
/// Fates that may wait to be written: reached only while the disk refuses.
const UNSAVED: usize = 200_000;
/// Accounts and AORs in one commit of a long list, so that others get their turn in between.
const PIECE: usize = 1000;

/// All traits over one SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    shared: Arc<Shared>,
    ops: mpsc::Sender<Op>,
    readers: SqlitePool,
    writer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
}

/// What the writer and the readers both see.
#[derive(Debug)]
struct Shared {
    index: Mutex<Index>,
    /// Recorded, not yet written.
    unsaved: Mutex<Vec<Fate>>,
    /// The first of `unsaved` came, or many.
    wake: Notify,
}

/// What is on disk, so far as it is needed to find a message.
#[derive(Debug)]
struct Index {
    backlog: Backlog,
    /// `stored` is left 0: the backlog knows it.
    counts: Counts,
    recent: Recent,
    fresh: Fresh,
}

impl Sqlite {
    /// Opens or creates the file, migrates it and reads the index of the queue.
    pub(crate) async fn open(path: &Path) -> Result<Sqlite, StoreError> {
        Sqlite::open_with(path, |options| options).await
    }

    pub(crate) async fn open_with(
        path: &Path,
        tune: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions,
    ) -> Result<Sqlite, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let lock = Lock::take(path)?;
        keep_private(path)?;
        let base = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(Duration::from_secs(5))
            .row_buffer_size(512)
            .disable_statement_logging();
        let options = tune(
            base.clone()
                .auto_vacuum(SqliteAutoVacuum::Incremental)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("cache_size", "-4000")
                .pragma("temp_store", "memory")
                .pragma("wal_autocheckpoint", "4000")
                .pragma("journal_size_limit", "67108864"),
        );
        let mut conn = options.connect().await?;
        schema::migrate(&mut conn).await?;
        let (loaded, index) = Loaded::read(&mut conn).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(base.read_only(true))
            .await?;
        let shared = Arc::new(Shared { index: Mutex::new(index), unsaved: Mutex::default(), wake: Notify::new() });
        let (ops, received) = mpsc::channel(WAITING);
        let writer = Writer::new(conn, options, shared.clone(), loaded, lock);
        let writer = tokio::spawn(writer.run(received));
        Ok(Sqlite { shared, ops, readers, writer: Mutex::new(Some(writer)), path: path.into() })
    }

    /// Writes what is still to be written and closes the file.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        // The last to close merges the log into the file, and only a writer can.
        self.readers.close().await;
        let ended = self.ask(|tx| Op::Close { tx }).await;
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            writer.await.ok();
        }
        match ended {
            Err(StoreError::Closed) => Ok(()),
            other => other,
        }
    }

    /// A complete copy as of now, while the server goes on. `file` must not exist.
    pub(crate) async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        // What was recorded but not yet written belongs to the copy, what is settled does not.
        self.ask(|tx| Op::Flush { tx }).await?;
        self.ask(|tx| Op::Sweep { tx }).await?;
        if file.try_exists()? {
            return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists).into());
        }
        let mut partial = file.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => keep_private(&partial)?,
        }
        let mut conn = SqliteConnectOptions::new().filename(&self.path).disable_statement_logging().connect().await?;
        let name = partial.to_str().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidFilename))?;
        let copied = conn.execute(sqlx::query("vacuum into ?").bind(name)).await;
        if let Err(error) = copied {
            std::fs::remove_file(&partial).ok();
            return Err(error.into());
        }
        std::fs::File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, file)?;
        Ok(())
    }

    /// Sends the writer an operation and waits for its commit.
    async fn ask<T>(&self, op: impl FnOnce(Answer<T>) -> Op) -> Result<T, StoreError> {
        let (tx, rx) = oneshot::channel();
        self.ops.send(op(tx)).await.map_err(|_| StoreError::Closed)?;
        rx.await.map_err(|_| StoreError::Closed)?
    }

    async fn ask_chat<T>(&self, op: impl FnOnce(Answer<T>) -> ChatOp) -> Result<T, StoreError> {
        self.ask(|tx| Op::Chat(Box::new(op(tx)))).await
    }

    async fn ask_file<T>(&self, op: impl FnOnce(Answer<T>) -> FileOp) -> Result<T, StoreError> {
        self.ask(|tx| Op::File(op(tx))).await
    }

    /// Messages by id, in the order of ids; those settled meanwhile are left out.
    async fn messages(&self, mut ids: Vec<u64>) -> Result<Vec<QueuedMessage>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        ids.sort_unstable();
        ids.dedup();
        let mut recent = Vec::new();
        {
            let index = self.shared.index.lock();
            ids.retain(|id| match index.recent.get(*id) {
                Some(data) => {
                    recent.push((*id, data));
                    false
                }
                None => true,
            });
        }
        for (id, data) in recent {
            found.push(codec::take_message(id, data)?);
        }
        if !ids.is_empty() {
            let query = sqlx::query("select id, data from message where id in (select value from json_each(?))");
            let mut rows = self.readers.fetch(query.bind(writer::json(&ids)));
            while let Some(row) = rows.try_next().await? {
                let data = Bytes::from(row.try_get_unchecked::<Vec<u8>, _>(1)?);
                found.push(codec::take_message(row.try_get_unchecked::<i64, _>(0)? as u64, data)?);
            }
            found.sort_by_key(|message| message.id);
        }
        Ok(found)
    }
}

/// Where the writer puts its answer.
type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Creates the file for its owner only: it holds secrets and messages.
fn keep_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    Ok(())
}

#[async_trait::async_trait]
impl AccountStore for Sqlite {
    async fn add(&self, account: Account) -> Result<(), AccountError> {
        self.ask(|tx| Op::Account(Box::new(AccountOp::Add { account, tx }))).await?
    }

    async fn import(&self, accounts: Vec<Account>) -> Result<Imported, StoreError> {
        let mut imported = Imported::default();
        let mut accounts = accounts.into_iter().enumerate();
        loop {
            let piece: Vec<_> = accounts.by_ref().take(PIECE).collect();
            if piece.is_empty() {
                return Ok(imported);
            }
            let done = self.ask(|tx| Op::Account(Box::new(AccountOp::Import { accounts: piece, tx }))).await?;
            imported.added += done.added;
            imported.refused.extend(done.refused);
        }
    }

    async fn update(&self, account: Account) -> Result<(), AccountError> {
        self.ask(|tx| Op::Account(Box::new(AccountOp::Update { account, tx }))).await?
    }

    async fn set_secrets(&self, aor: &str, secrets: Secrets) -> Result<(), AccountError> {
        self.ask(|tx| Op::Account(Box::new(AccountOp::SetSecrets { aor: aor.into(), secrets, tx }))).await?
    }

    async fn remove(&self, aor: &str) -> Result<(), AccountError> {
        self.ask(|tx| Op::Account(Box::new(AccountOp::Remove { aor: aor.into(), tx }))).await?
    }

    async fn account(&self, aor: &str) -> Result<Option<Account>, StoreError> {
        let row = sqlx::query("select data from account where aor = ?").bind(aor);
        let row = self.readers.fetch_optional(row).await?;
        row.map(|row| codec::take_account(aor, row.try_get(0)?)).transpose()
    }

    async fn aor_of(&self, tel: &str) -> Result<Option<Box<str>>, StoreError> {
        let row = self.readers.fetch_optional(sqlx::query("select aor from tel where tel = ?").bind(tel)).await?;
        row.map(|row| Ok(row.try_get::<&str, _>(0)?.into())).transpose()
    }

    async fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<Account>, StoreError> {
        let query = sqlx::query("select aor, data from account where aor > ? order by aor limit ?");
        let mut rows = self.readers.fetch(query.bind(after.unwrap_or("")).bind(limit as i64));
        let mut page = Vec::new();
        while let Some(row) = rows.try_next().await? {
            page.push(codec::take_account(row.try_get_unchecked(0)?, row.try_get_unchecked(1)?)?);
        }
        Ok(page)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let row = self.readers.fetch_one("select count(*) from account").await?;
        Ok(row.try_get::<i64, _>(0)? as u64)
    }
}

#[async_trait::async_trait]
impl LocationStore for Sqlite {
    async fn bindings(&self, aor: &str) -> Result<(Revision, Vec<Binding>), StoreError> {
        let row = sqlx::query("select revision, data from location where aor = ?").bind(aor);
        match self.readers.fetch_optional(row).await? {
            None => Ok((Revision::NONE, Vec::new())),
            Some(row) => Ok((revision(row.try_get(0)?), codec::take_bindings(row.try_get(1)?)?)),
        }
    }

    async fn replace(&self, aor: &str, seen: Revision, next: &[Binding]) -> Result<Revision, StoreError> {
        let next = Location::new(aor.into(), next);
        self.ask(|tx| Op::Replace { next, seen, tx }).await?.ok_or(StoreError::Conflict)
    }

    async fn save(&self, batch: Vec<(Box<str>, Vec<Binding>)>) -> Result<(), StoreError> {
        let mut batch = batch.into_iter();
        loop {
            let piece: Vec<_> =
                batch.by_ref().take(PIECE).map(|(aor, bindings)| Location::new(aor, &bindings)).collect();
            if piece.is_empty() {
                return Ok(());
            }
            self.ask(|tx| Op::Save { batch: piece, tx }).await?;
        }
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Located>, StoreError> {
        let query = sqlx::query("select aor, revision, data from location where aor > ? order by aor limit ?");
        let mut rows = self.readers.fetch(query.bind(after.unwrap_or("")).bind(limit as i64));
        let mut page = Vec::new();
        while let Some(row) = rows.try_next().await? {
            page.push(Located {
                aor: row.try_get_unchecked::<&str, _>(0)?.into(),
                revision: revision(row.try_get_unchecked(1)?),
                bindings: codec::take_bindings(row.try_get_unchecked(2)?)?,
            });
        }
        Ok(page)
    }

    async fn remove_expired(&self, now: u64) -> Result<u64, StoreError> {
        let (mut removed, mut after) = (0, String::new());
        loop {
            let query = "select aor, revision, data from location where aor > ? and lapses <= ? order by aor limit ?";
            let query = sqlx::query(query).bind(&after).bind(now as i64).bind(PIECE as i64);
            let rows = self.readers.fetch_all(query).await?;
            let Some(last) = rows.last() else { return Ok(removed) };
            after = last.try_get(0)?;
            let mut asked = Vec::with_capacity(rows.len());
            for row in &rows {
                let mut bindings = codec::take_bindings(row.try_get(2)?)?;
                let before = bindings.len();
                bindings.retain(|binding| binding.expires() > now);
                let next = Location::new(row.try_get::<&str, _>(0)?.into(), &bindings);
                let seen = revision(row.try_get(1)?);
                asked.push((before - bindings.len(), self.ask(move |tx| Op::Replace { next, seen, tx })));
            }
            let (counts, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            for (count, answer) in counts.into_iter().zip(futures_util::future::join_all(asked).await) {
                // A binding that was refreshed meanwhile has not lapsed.
                removed += if answer?.is_some() { count as u64 } else { 0 };
            }
        }
    }
}

/// A row of `location`, encoded by the caller so that the writer need not.
#[derive(Debug)]
struct Location {
    aor: Box<str>,
    lapses: u64,
    /// Empty where no binding is left.
    data: Vec<u8>,
}

impl Location {
    fn new(aor: Box<str>, bindings: &[Binding]) -> Location {
        Location {
            aor,
            lapses: bindings.iter().map(|binding| binding.expires()).min().unwrap_or(0).min(i64::MAX as u64),
            data: if bindings.is_empty() { Vec::new() } else { codec::put_bindings(bindings) },
        }
    }
}

fn revision(column: i64) -> Revision {
    Revision(column as u64)
}

#[async_trait::async_trait]
impl MessageQueue for Sqlite {
    async fn write(&self, write: Write) -> Result<Written, StoreError> {
        let messages = write.append.iter().chain(write.copies.iter().map(|copy| &copy.message));
        let bodies = messages.map(codec::put_message).collect();
        let entries = write.entries.iter().map(codec::put_entry).collect();
        let reports = write.reached.iter().map(states::Report::new).collect();
        self.ask(|tx| Op::Write { write, bodies, entries, reports, tx }).await
    }

    async fn pending(&self, wanted: &[Wanted], limit: usize) -> Result<Vec<Vec<QueuedMessage>>, StoreError> {
        let ids: Vec<Vec<u64>> = {
            let index = self.shared.index.lock();
            let one = |w: &Wanted| index.backlog.select(&w.recipient, w.device.as_deref(), w.after, limit);
            wanted.iter().map(one).collect()
        };
        let found = self.messages(ids.iter().flatten().copied().collect()).await?;
        if let [_] = wanted {
            return Ok(vec![found]);
        }
        // Moved out where nobody else wants it too, as two devices of one user may.
        let mut wants: AHashMap<u64, (u32, Option<QueuedMessage>)> = AHashMap::with_capacity(found.len());
        wants.extend(found.into_iter().map(|message| (message.id, (0, Some(message)))));
        ids.iter().flatten().for_each(|id| wants.get_mut(id).into_iter().for_each(|(count, _)| *count += 1));
        let mut one = |id: &u64| {
            let (count, message) = wants.get_mut(id)?;
            *count -= 1;
            if *count == 0 { message.take() } else { message.clone() }
        };
        Ok(ids.iter().map(|ids| ids.iter().filter_map(&mut one).collect()).collect())
    }

    async fn expired(&self, now: u64, limit: usize) -> Result<Vec<QueuedMessage>, StoreError> {
        let ids = self.shared.index.lock().backlog.due(now, limit);
        self.messages(ids).await
    }

    async fn depth(&self, recipient: &str) -> Result<Depth, StoreError> {
        Ok(self.shared.index.lock().backlog.depth(recipient))
    }

    async fn depths(&self, after: Option<&str>, limit: usize) -> Result<Vec<(Box<str>, Depth)>, StoreError> {
        Ok(self.shared.index.lock().backlog.depths(after, limit))
    }
}

#[async_trait::async_trait]
impl FateLog for Sqlite {
    async fn record(&self, fates: Vec<Fate>) -> Result<(), StoreError> {
        if self.ops.is_closed() {
            return Err(StoreError::Closed);
        }
        let mut unsaved = self.shared.unsaved.lock();
        let before = unsaved.len();
        if before + fates.len() > UNSAVED {
            return Err(StoreError::Full);
        }
        unsaved.extend(fates);
        // The writer waits for the first, and need not wait longer when a row is full.
        if before == 0 || (before < writer::ENOUGH && unsaved.len() >= writer::ENOUGH) {
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    async fn lookup(&self, id: &str) -> Result<Vec<Fate>, StoreError> {
        let mut found = Vec::new();
        // After this all is in the file, or, where the disk refuses, still in memory.
        match self.ask(|tx| Op::Flush { tx }).await {
            Ok(()) => {}
            Err(error) if error.is_temporary() => {
                found.extend(self.shared.unsaved.lock().iter().filter(|fate| fate.concerns(id)).cloned());
            }
            Err(error) => return Err(error),
        }
        let hint = codec::fate_hint(id);
        let mut rows = Vec::new();
        {
            let mut all = self.readers.fetch("select id, hints from log order by id");
            while let Some(row) = all.try_next().await? {
                if codec::has_hint(row.try_get_unchecked(1)?, hint) {
                    rows.push(row.try_get_unchecked::<i64, _>(0)?);
                }
            }
        }
        for row in rows {
            let query = sqlx::query("select fates from log where id = ?").bind(row);
            if let Some(row) = self.readers.fetch_optional(query).await? {
                found.extend(codec::take_fates(row.try_get(0)?)?.into_iter().filter(|fate| fate.concerns(id)));
            }
        }
        found.sort_by_key(|fate| fate.at_ms);
        Ok(found)
    }

    async fn purge(&self, before_ms: u64) -> Result<(), StoreError> {
        while self.ask(|tx| Op::Purge { before_ms, tx }).await? == writer::SLICE {}
        Ok(())
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let index = self.shared.index.lock();
        Ok(Counts { stored: index.backlog.count(), ..index.counts })
    }
}

#[async_trait::async_trait]
impl Receipts for Sqlite {
    async fn first(&self, receipts: Vec<Receipt>, now: u64) -> Result<Vec<bool>, StoreError> {
        let keys = receipts.iter().map(Receipt::key).collect();
        self.ask(|tx| Op::First { keys, now, tx }).await
    }

    async fn known(&self, receipts: Vec<Receipt>) -> Result<Vec<bool>, StoreError> {
        let keys = receipts.iter().map(Receipt::key).collect();
        self.ask(|tx| Op::Known { keys, tx }).await
    }

    async fn forget(&self, before: u64) -> Result<(), StoreError> {
        while self.ask(|tx| Op::Forget { before, tx }).await? == writer::SLICE {}
        Ok(())
    }
}
