//! The one writer: takes what has come in, writes it in one transaction, commits, then answers all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Arguments, ConnectOptions, Connection, Executor, Row};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::bulk::{Bulk, is_lost};
use super::lock::Lock;
use super::{Answer, Index, Location, Shared};
use super::{accounts, accounts::AccountOp};
use crate::backlog::Backlog;
use crate::fate::{Counts, Fate};
use crate::ids::Ids;
use crate::location::Revision;
use crate::queue::{Write, Written};
use crate::{StoreError, codec};

/// Operations in one commit.
const GROUP: usize = 1024;
/// Fates that are worth a commit of their own.
pub(super) const ENOUGH: usize = 1024;
/// How long recorded fates may wait for a commit that takes them along.
const LINGER: Duration = Duration::from_millis(500);
/// Idle time after which freed pages are given back to the file system.
const IDLE: Duration = Duration::from_secs(2);
/// Pages given back at a time: some milliseconds.
const GIVE_BACK: i64 = 1000;
/// Rows forgotten in one commit, so that others get their turn in between.
pub(super) const SLICE: u64 = 1000;
const DAY: u64 = 86_400;

/// What the writer can be asked for. Only `Save`, `Purge` and `Forget` may be lost in a power cut.
#[derive(Debug)]
pub(super) enum Op {
    Write {
        write: Write,
        bodies: Vec<Vec<u8>>,
        tx: Answer<Written>,
    },
    First {
        keys: Vec<u64>,
        now: u64,
        tx: Answer<Vec<bool>>,
    },
    /// `None`: the revision was another.
    Replace {
        next: Location,
        seen: Revision,
        tx: Answer<Option<Revision>>,
    },
    Save {
        batch: Vec<Location>,
        tx: Answer<()>,
    },
    Account(AccountOp),
    /// Answers how many rows went; fewer than [`SLICE`] means that all did.
    Purge {
        before_ms: u64,
        tx: Answer<u64>,
    },
    Forget {
        before: u64,
        tx: Answer<u64>,
    },
    /// Writes what lingers.
    Flush {
        tx: Answer<()>,
    },
    Close {
        tx: Answer<()>,
    },
}

/// Receipts that were seen, by day, so that forgetting is dropping a day.
#[derive(Debug, Default)]
struct Seen {
    days: BTreeMap<u64, AHashSet<u64>>,
}

impl Seen {
    fn contains(&self, key: u64) -> bool {
        self.days.values().any(|day| day.contains(&key))
    }

    /// Marks a receipt as seen; false where it was.
    fn insert(&mut self, day: u64, key: u64) -> bool {
        !self.contains(key) && self.days.entry(day).or_default().insert(key)
    }

    fn remove(&mut self, day: u64, key: u64) {
        self.days.get_mut(&day).map(|keys| keys.remove(&key));
    }
}

/// What the writer knows of the file when it starts.
pub(super) struct Loaded {
    last: u64,
    seen: Seen,
}

impl Loaded {
    /// Reads the index of the queue, the counts and the receipts seen.
    pub(super) async fn read(conn: &mut SqliteConnection) -> Result<(Loaded, Index), StoreError> {
        let (mut backlog, mut last) = (Backlog::default(), 0);
        let query = sqlx::query("select id, substr(data, 1, ?) from message order by id");
        let mut rows = conn.fetch(query.bind(codec::QUEUE_HEAD as i64));
        let mut long = Vec::new();
        let mut heads = Vec::new();
        while let Some(row) = rows.try_next().await? {
            last = row.try_get_unchecked::<i64, _>(0)? as u64;
            match codec::queue_head(row.try_get_unchecked(1)?) {
                Ok(head) => heads.push((last, head)),
                // Names that are longer than what was read, or damage: the second look tells.
                Err(_) => long.push(last),
            }
        }
        drop(rows);
        for id in long {
            let query = sqlx::query("select data from message where id = ?").bind(id as i64);
            let head = codec::queue_head(conn.fetch_one(query).await?.try_get_unchecked(0)?)?;
            heads.push((id, head));
        }
        heads.sort_by_key(|(id, _)| *id);
        for (id, head) in heads {
            backlog.push(&head.recipient, head.device.as_deref(), id, head.size, head.expires_at);
        }
        let row = conn.fetch_one("select accepted, delivered, expired, refused from tally").await?;
        let count = |at: usize| row.try_get::<i64, _>(at).map(|count| count as u64);
        let counts =
            Counts { accepted: count(0)?, stored: 0, delivered: count(1)?, expired: count(2)?, refused: count(3)? };
        let mut seen = Seen::default();
        let mut rows = conn.fetch("select day, keys from receipt");
        while let Some(row) = rows.try_next().await? {
            let day = seen.days.entry(row.try_get_unchecked::<i64, _>(0)? as u64).or_default();
            day.extend(codec::take_keys(row.try_get_unchecked(1)?));
        }
        drop(rows);
        for table in ["select max(id) from fate", "select max(id) from receipt", "select max(revision) from location"] {
            let row = conn.fetch_one(table).await?;
            last = last.max(row.try_get::<Option<i64>, _>(0)?.unwrap_or(0) as u64);
        }
        Ok((Loaded { last, seen }, Index { backlog, counts }))
    }
}

pub(super) struct Writer {
    conn: SqliteConnection,
    options: SqliteConnectOptions,
    shared: Arc<Shared>,
    ids: Ids,
    seen: Seen,
    /// What `PRAGMA synchronous` is set to.
    full_sync: bool,
    /// The file is this process's until the writer ends.
    _lock: Lock,
}

/// One answer that waits for the commit.
type Waiting = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// One transaction in the making.
#[derive(Default)]
struct Batch {
    answers: Vec<Waiting>,
    closing: Vec<Answer<()>>,
    /// Somebody is promised that this survives a power cut.
    durable: bool,
    messages: Vec<(u64, Vec<u8>)>,
    queued: Vec<Queued>,
    settled: Vec<(Box<str>, u64)>,
    /// Ids of `settled`.
    taken: AHashSet<u64>,
    fates: Vec<Fate>,
    /// Recorded before; they go back if the commit fails.
    lingered: Vec<Fate>,
    /// (day, key) of receipts seen for the first time.
    receipts: Vec<(u64, u64)>,
    accounts: VecDeque<AccountOp>,
    replaces: VecDeque<(Location, Revision, Answer<Option<Revision>>)>,
    saves: Vec<Location>,
    counts: Counts,
    purges: VecDeque<(u64, Answer<u64>)>,
    forgets: VecDeque<(u64, Answer<u64>)>,
}

/// What the index needs of an appended message.
struct Queued {
    recipient: Box<str>,
    device: Option<Box<str>>,
    id: u64,
    size: u64,
    expires_at: u64,
}

impl Writer {
    pub(super) fn new(
        conn: SqliteConnection,
        options: SqliteConnectOptions,
        shared: Arc<Shared>,
        loaded: Loaded,
        lock: Lock,
    ) -> Writer {
        Writer {
            conn,
            options,
            shared,
            ids: Ids::after(loaded.last, 0),
            seen: loaded.seen,
            full_sync: true,
            _lock: lock,
        }
    }

    /// Works until it is told to close or nobody is left who could ask.
    pub(super) async fn run(mut self, mut received: mpsc::Receiver<Op>) {
        let mut ops = Vec::with_capacity(GROUP);
        // When recorded fates must be written, and when to look for freed pages; neither while nothing happens.
        let (mut linger, mut idle): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            let shared = self.shared.clone();
            let mut ended = false;
            tokio::select! {
                biased;
                count = received.recv_many(&mut ops, GROUP) => ended = count == 0,
                () = at(linger) => {}
                () = shared.wake.notified() => {
                    if shared.unsaved.lock().len() < ENOUGH {
                        linger = linger.or(Some(Instant::now() + LINGER));
                        continue;
                    }
                }
                () = at(idle) => {
                    let more = self.give_back().await;
                    idle = more.then(|| Instant::now() + IDLE / 20);
                    continue;
                }
            }
            let closing = self.commit(ops.drain(..)).await;
            if ended || !closing.is_empty() {
                received.close();
                let result = self.end(&mut received).await;
                closing.into_iter().for_each(|tx| drop(tx.send(result.clone())));
                return;
            }
            // Fates that the disk refused are tried again.
            linger = (!shared.unsaved.lock().is_empty()).then(|| Instant::now() + LINGER);
            idle = Some(Instant::now() + IDLE);
        }
    }

    /// One turn: sorts the operations, writes them, answers. Gives those who asked to close.
    async fn commit(&mut self, ops: impl Iterator<Item = Op>) -> Vec<Answer<()>> {
        let mut batch = Batch { lingered: std::mem::take(&mut *self.shared.unsaved.lock()), ..Batch::default() };
        for op in ops {
            self.sort(op, &mut batch);
        }
        let result = self.write(&mut batch).await;
        match &result {
            Ok(()) => self.apply(&mut batch),
            Err(error) => {
                tracing::error!(%error, "store: commit failed");
                self.undo(&mut batch, error).await;
            }
        }
        for answer in batch.answers {
            answer(result.clone());
        }
        batch.closing
    }

    /// Decides what can be decided without the file.
    fn sort(&mut self, op: Op, batch: &mut Batch) {
        match op {
            Op::Write { write, bodies, tx } => {
                batch.durable = true;
                let written = self.sort_write(write, bodies, batch);
                batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| written)))));
            }
            Op::First { keys, now, tx } => {
                batch.durable = true;
                let first: Vec<bool> = keys.into_iter().map(|key| self.first(now / DAY, key, batch)).collect();
                batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| first)))));
            }
            Op::Replace { next, seen, tx } => {
                batch.durable = true;
                batch.replaces.push_back((next, seen, tx));
            }
            Op::Save { batch: saves, tx } => {
                batch.saves.extend(saves);
                batch.answers.push(Box::new(move |end| drop(tx.send(end))));
            }
            Op::Account(op) => {
                batch.durable = true;
                batch.accounts.push_back(op);
            }
            Op::Purge { before_ms, tx } => batch.purges.push_back((before_ms, tx)),
            Op::Forget { before, tx } => batch.forgets.push_back((before / DAY, tx)),
            Op::Flush { tx } => batch.answers.push(Box::new(move |end| drop(tx.send(end)))),
            Op::Close { tx } => batch.closing.push(tx),
        }
    }

    fn sort_write(&mut self, write: Write, bodies: Vec<Vec<u8>>, batch: &mut Batch) -> Written {
        let mut written = Written::default();
        for (message, body) in write.append.into_iter().zip(bodies) {
            if let Some(receipt) = &message.once
                && !self.first(message.accepted_ms / 1000 / DAY, receipt.key(), batch)
            {
                written.ids.push(None);
                continue;
            }
            let id = self.ids.next();
            batch.fates.push(message.stored());
            batch.queued.push(Queued {
                id,
                size: message.size() as u64,
                recipient: message.recipient,
                device: message.device,
                expires_at: message.expires_at,
            });
            batch.messages.push((id, body));
            batch.counts.accepted += 1;
            written.ids.push(Some(id));
        }
        let index = self.shared.index.lock();
        for settlement in write.settle {
            let there =
                index.backlog.contains(&settlement.recipient, settlement.id) && batch.taken.insert(settlement.id);
            written.settled.push(there);
            if there {
                settlement.outcome.count(&mut batch.counts, 1);
                batch.fates.push(settlement.fate());
                batch.settled.push((settlement.recipient, settlement.id));
            }
        }
        batch.fates.extend(write.fates);
        written
    }

    fn first(&mut self, day: u64, key: u64, batch: &mut Batch) -> bool {
        let first = self.seen.insert(day, key);
        if first {
            batch.receipts.push((day, key));
        }
        first
    }

    /// Writes the whole batch in one transaction; nothing of it where this fails.
    async fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.full_sync != batch.durable {
            // SQLite refuses this inside a transaction.
            let text = if batch.durable { "pragma synchronous = full" } else { "pragma synchronous = normal" };
            self.conn.execute(text).await?;
            self.full_sync = batch.durable;
        }
        self.conn.execute(sqlx::query("begin immediate")).await?;
        self.write_queue(batch).await?;
        self.write_locations(batch).await?;
        while let Some(op) = batch.accounts.pop_front() {
            batch.answers.push(accounts::write(&mut self.conn, op).await?);
        }
        while let Some((before_ms, tx)) = batch.purges.pop_front() {
            let text = "delete from fate where id in (select id from fate where id < ? order by id limit ?)";
            let query = sqlx::query(text).bind(Ids::floor(before_ms) as i64).bind(SLICE as i64);
            let gone = self.conn.execute(query).await?.rows_affected();
            batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| gone)))));
        }
        while let Some((day, tx)) = batch.forgets.pop_front() {
            let text = "delete from receipt where id in (select id from receipt where day < ? limit ?)";
            let query = sqlx::query(text).bind(day as i64).bind(SLICE as i64);
            let gone = self.conn.execute(query).await?.rows_affected();
            if gone < SLICE {
                self.seen.days.retain(|kept, _| *kept >= day);
            }
            batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| gone)))));
        }
        self.conn.execute(sqlx::query("commit")).await?;
        Ok(())
    }

    async fn write_queue(&mut self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        static APPEND: LazyLock<Bulk> =
            LazyLock::new(|| Bulk::new("insert into message (id, data) values ", "(?,?)", ""));
        static SETTLE: LazyLock<Bulk> = LazyLock::new(|| Bulk::new("delete from message where id in (", "?", ")"));
        let conn = &mut self.conn;
        let messages = std::mem::take(&mut batch.messages);
        APPEND
            .run(conn, messages.into_iter(), |args, (id, body)| {
                args.add(id as i64)?;
                args.add(body)
            })
            .await?;
        SETTLE.run(conn, batch.settled.iter(), |args, (_, id)| args.add(*id as i64)).await?;
        let fates: Vec<&Fate> = batch.lingered.iter().chain(&batch.fates).collect();
        for some in fates.chunks(ENOUGH) {
            let query = sqlx::query("insert into fate (id, hints, data) values (?, ?, ?)")
                .bind(self.ids.next() as i64)
                .bind(codec::put_hints(some.iter().copied()))
                .bind(codec::put_fates(some.iter().copied()));
            conn.execute(query).await?;
        }
        let mut days: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (day, key) in &batch.receipts {
            days.entry(*day).or_default().push(*key);
        }
        for (day, keys) in days {
            let query = sqlx::query("insert into receipt (id, day, keys) values (?, ?, ?)")
                .bind(self.ids.next() as i64)
                .bind(day as i64)
                .bind(codec::put_keys(&keys));
            conn.execute(query).await?;
        }
        if batch.counts != Counts::default() {
            let counts = self.shared.index.lock().counts.plus(&batch.counts);
            let text = "update tally set accepted = ?, delivered = ?, expired = ?, refused = ? where one = 1";
            let query = [counts.accepted, counts.delivered, counts.expired, counts.refused]
                .into_iter()
                .fold(sqlx::query(text), |query, count| query.bind(count as i64));
            conn.execute(query).await?;
        }
        Ok(())
    }

    /// Compares and sets, then overwrites, in the order of the key so that neighbours share a page.
    async fn write_locations(&mut self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        static READ: LazyLock<Bulk> =
            LazyLock::new(|| Bulk::new("select aor, revision from location where aor in (", "?", ")"));
        static WRITE: LazyLock<Bulk> = LazyLock::new(|| {
            Bulk::new(
                "insert into location (aor, revision, lapses, data) values ",
                "(?,?,?,?)",
                " on conflict (aor) do update set revision = excluded.revision, lapses = excluded.lapses, data = excluded.data",
            )
        });
        static REMOVE: LazyLock<Bulk> = LazyLock::new(|| Bulk::new("delete from location where aor in (", "?", ")"));
        if batch.replaces.is_empty() && batch.saves.is_empty() {
            return Ok(());
        }
        let mut stored: AHashMap<Box<str>, Revision> = AHashMap::new();
        let mut names = batch.replaces.iter().map(|(next, _, _)| &next.aor);
        for (text, size) in READ.pieces(batch.replaces.len()) {
            let args = READ.arguments(names.by_ref().take(size), size, |args, aor| args.add(&**aor))?;
            for row in self.conn.fetch_all(sqlx::query_with(text, args)).await? {
                stored.insert(row.try_get::<&str, _>(0)?.into(), super::revision(row.try_get(1)?));
            }
        }
        let mut rows: BTreeMap<Box<str>, (Revision, Location)> = BTreeMap::new();
        while let Some((next, seen, tx)) = batch.replaces.pop_front() {
            let fits = stored.get(&next.aor).copied().unwrap_or(Revision::NONE) == seen;
            let revision = if next.data.is_empty() { Revision::NONE } else { Revision(self.ids.next()) };
            if fits {
                stored.insert(next.aor.clone(), revision);
                rows.insert(next.aor.clone(), (revision, next));
            }
            let answer = fits.then_some(revision);
            batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| answer)))));
        }
        for next in batch.saves.drain(..) {
            rows.insert(next.aor.clone(), (Revision(self.ids.next()), next));
        }
        let (gone, kept): (Vec<_>, Vec<_>) = rows.into_values().partition(|(_, next)| next.data.is_empty());
        REMOVE.run(&mut self.conn, gone.into_iter(), |args, (_, next)| args.add(&*next.aor)).await?;
        WRITE
            .run(&mut self.conn, kept.into_iter(), |args, (revision, next)| {
                args.add(next.aor.into_string())?;
                args.add(revision.0 as i64)?;
                args.add(next.lapses as i64)?;
                args.add(next.data)
            })
            .await?;
        Ok(())
    }

    /// Shows the readers what is now on disk, before anybody is told.
    fn apply(&self, batch: &mut Batch) {
        let index = &mut *self.shared.index.lock();
        for Queued { recipient, device, id, size, expires_at } in batch.queued.drain(..) {
            index.backlog.push(&recipient, device.as_deref(), id, size, expires_at);
        }
        for (recipient, id) in batch.settled.drain(..) {
            index.backlog.remove(&recipient, id);
        }
        index.counts = index.counts.plus(&batch.counts);
    }

    /// Takes back what was decided, and makes the connection fit for the next turn.
    async fn undo(&mut self, batch: &mut Batch, error: &StoreError) {
        for (day, key) in batch.receipts.drain(..) {
            self.seen.remove(day, key);
        }
        let mut lingered = std::mem::take(&mut batch.lingered);
        if !lingered.is_empty() {
            let mut unsaved = self.shared.unsaved.lock();
            lingered.append(&mut unsaved);
            *unsaved = lingered;
        }
        batch.accounts.drain(..).for_each(|op| op.fail(error.clone()));
        batch.replaces.drain(..).for_each(|(_, _, tx)| drop(tx.send(Err(error.clone()))));
        batch.purges.drain(..).chain(batch.forgets.drain(..)).for_each(|(_, tx)| drop(tx.send(Err(error.clone()))));
        // Some errors have ended the transaction already; then there is nothing to roll back.
        self.conn.execute(sqlx::query("rollback")).await.ok();
        if is_lost(&mut self.conn).await {
            match self.options.connect().await {
                Ok(conn) => {
                    self.conn = conn;
                    self.full_sync = true;
                }
                Err(error) => tracing::error!(%error, "store: cannot open the file again"),
            }
        }
    }

    /// Gives some freed pages back to the file system; true where there are more. A few are kept for what comes next.
    async fn give_back(&mut self) -> bool {
        let free: i64 = match self.conn.fetch_one("pragma freelist_count").await.and_then(|row| row.try_get(0)) {
            Ok(free) if free > 2 * GIVE_BACK => free,
            _ => return false,
        };
        match self.conn.fetch_all("pragma incremental_vacuum(1000)").await {
            Ok(_) => free > 3 * GIVE_BACK,
            Err(error) => {
                tracing::warn!(%error, "store: cannot give back freed pages");
                false
            }
        }
    }

    /// Answers those who came too late, writes what lingers, and leaves one file behind.
    async fn end(mut self, received: &mut mpsc::Receiver<Op>) -> Result<(), StoreError> {
        let mut late = Vec::new();
        while let Some(op) = received.recv().await {
            late.push(op);
        }
        // They were accepted into the channel, so they are done like the others.
        let closing = self.commit(late.into_iter()).await;
        let result = match self.shared.unsaved.lock().len() {
            0 => Ok(()),
            _ => Err(StoreError::Full),
        };
        closing.into_iter().for_each(|tx| drop(tx.send(result.clone())));
        let checkpoint = self.conn.execute("pragma wal_checkpoint(truncate)").await.map(drop);
        let closed = self.conn.close().await;
        result.and(checkpoint.and(closed).map_err(StoreError::from))
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.settled.is_empty()
            && self.fates.is_empty()
            && self.lingered.is_empty()
            && self.receipts.is_empty()
            && self.accounts.is_empty()
            && self.replaces.is_empty()
            && self.saves.is_empty()
            && self.purges.is_empty()
            && self.forgets.is_empty()
    }
}

/// Never, where there is no such moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
