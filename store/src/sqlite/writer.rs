//! The one writer: takes what has come in, writes it in one transaction, commits, then answers all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use bytes::Bytes;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection};
use sqlx::{Arguments, ConnectOptions, Connection, Executor, Row};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::bulk::{Bulk, is_lost};
use super::chat::{self, Around, ChatOp};
use super::documents::{self, DocumentOp};
use super::files::{self, FileOp};
use super::groups::{self, GroupOp};
use super::history::{self, Known, Sort};
use super::load::{Loaded, Seen};
use super::lock::Lock;
use super::sign_ins::{self, SignInOp};
use super::states::{self, Report};
use super::traces::{self, TraceOp};
use super::{Answer, Location, Shared};
use super::{accounts, accounts::AccountOp};
use crate::conversation::ConversationId;
use crate::fate::{Counts, Fate};
use crate::ids::Ids;
use crate::location::Revision;
use crate::queue::{DeviceCopy, NewMessage, Write, Written};
use crate::{StoreError, codec};

/// Operations in one commit.
const GROUP: usize = 1024;
/// Fates that are worth a commit of their own.
pub(super) const ENOUGH: usize = 1024;
/// Fates in one row of the log.
const ROW: usize = 2048;
/// How long recorded fates may wait for a commit that takes them along.
const LINGER: Duration = Duration::from_millis(500);
/// Idle time after which freed pages are given back to the file system.
const IDLE: Duration = Duration::from_secs(2);
/// Pages given back at a time: some milliseconds.
const GIVE_BACK: i64 = 1000;
/// Bytes of messages in one commit, unless one write alone has more.
const GROUP_BYTES: usize = 16 << 20;
/// Settled messages are swept out once they are so many, and a quarter of those that wait.
const SWEEP: usize = 4096;
/// Messages swept in one commit: less than a millisecond.
const SWEEP_SLICE: usize = 512;
/// Entries of the history are given their places once they are so many.
const SORT: usize = 16_384;
/// Rows forgotten in one commit, so that others get their turn in between.
pub(super) const SLICE: u64 = 1000;
const DAY: u64 = 86_400;

/// What the writer can be asked for. Only `Save`, `Purge` and `Forget` may be lost in a power cut.
#[derive(Debug)]
pub(super) enum Op {
    Write {
        write: Write,
        bodies: Vec<Vec<u8>>,
        /// Encoded, too, and what the writer needs of the reports.
        entries: Vec<Vec<u8>>,
        reports: Vec<Report>,
        tx: Answer<Written>,
    },
    First {
        keys: Vec<u64>,
        now: u64,
        tx: Answer<Vec<bool>>,
    },
    Known {
        keys: Vec<u64>,
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
    Account(Box<AccountOp>),
    Chat(Box<ChatOp>),
    Group(Box<GroupOp>),
    File(FileOp),
    Document(Box<DocumentOp>),
    Trace(Box<TraceOp>),
    SignIn(Box<SignInOp>),
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
    /// Sweeps out all that is settled.
    Sweep {
        tx: Answer<()>,
    },
    /// Sweeps, and writes the file anew, so that nothing of what is gone is left in it.
    Scrub {
        tx: Answer<()>,
    },
    Close {
        tx: Answer<()>,
    },
}

/// The number by which ids rise in `queue_script`.
const _: () = assert!(Ids::STEP == 2048);

/// What every write of the queue is made of; its text never changes, whatever the number of rows, so it is prepared once.
/// Parameters have no numbers: sqlx counts those that a statement leaves out as used.
macro_rules! queue_script {
    () => {
        "insert into message (id, data)
             select ? + key * 2048, substr(?, value >> 32, value & 4294967295) from json_each(?);
         insert into log (id, hints, fates, settled, tally)
             select * from (select ? as id, ? as hints, ? as fates, ? as settled, ? as tally) where id is not null;
         insert into receipt (id, day, keys) select * from (select ? as id, ? as day, ? as keys) where id is not null;
         insert into entry (id, conversation, data)
             select ? + key * 2048, substr(?, key * 16 + 1, 16), substr(?, value >> 32, value & 4294967295)
             from json_each(?)"
    };
}

pub(super) struct Writer {
    conn: SqliteConnection,
    options: SqliteConnectOptions,
    shared: Arc<Shared>,
    ids: Ids,
    seen: Seen,
    /// What `PRAGMA synchronous` is set to.
    full_sync: bool,
    /// The last commit found no room.
    full: bool,
    /// Settled, but still in the file.
    dead: Vec<u64>,
    sweep: Option<Sweep>,
    known: Known,
    /// Entries on their way to their places.
    sorting: Option<Sort>,
    /// The file is this process's until the writer ends.
    _lock: Lock,
}

/// Settled messages on their way out of the file. Deleting each when it is settled would dirty a page for each, for
/// they lie scattered; swept together in the order of the file they go page by page.
struct Sweep {
    /// Sorted; those before `done` are out.
    ids: Vec<u64>,
    done: usize,
    /// Nothing that waits lies below.
    clear_below: u64,
    /// Rows of the log up to this one name nothing that is still in the file, once the sweep is over.
    upto: u64,
}

/// One answer that waits for the commit.
pub(super) type Waiting = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// One transaction in the making.
#[derive(Default)]
struct Batch {
    answers: Vec<Waiting>,
    closing: Vec<Answer<()>>,
    sweeps: Vec<Answer<()>>,
    scrubs: Vec<Answer<()>>,
    /// Somebody is promised that this survives a power cut.
    durable: bool,
    /// The first message's id; the others follow in steps of [`Ids::STEP`].
    first_id: u64,
    queued: Vec<Queued>,
    /// Copies, in the places of messages that are settled.
    placed: Vec<Queued>,
    /// Of the history, with ids like those of messages.
    entries: Vec<Put>,
    /// Conversations and members that may not be on disk.
    newcomers: Vec<(ConversationId, Vec<Box<str>>)>,
    /// Writes with reports: what these tell is known only when they are written.
    reached: VecDeque<(Written, Vec<Report>, Answer<Written>)>,
    settled: Vec<(Box<str>, u64)>,
    /// Ids of `settled`.
    taken: AHashSet<u64>,
    /// Take the settled out of the file at once, which makes room.
    at_once: bool,
    fates: Vec<Fate>,
    /// Recorded before; they go back if the commit fails.
    lingered: Vec<Fate>,
    /// (day, key) of receipts seen for the first time.
    receipts: Vec<(u64, u64)>,
    accounts: VecDeque<AccountOp>,
    chats: VecDeque<ChatOp>,
    groups: VecDeque<GroupOp>,
    files: VecDeque<FileOp>,
    documents: VecDeque<DocumentOp>,
    traces: VecDeque<TraceOp>,
    sign_ins: VecDeque<SignInOp>,
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
    data: Bytes,
}

/// An entry of the history to be written.
struct Put {
    conversation: ConversationId,
    id: u64,
    data: Vec<u8>,
}

impl Writer {
    pub(super) fn new(
        conn: SqliteConnection,
        options: SqliteConnectOptions,
        shared: Arc<Shared>,
        loaded: Loaded,
        lock: Lock,
    ) -> Writer {
        let Loaded { last, seen, dead } = loaded;
        Writer {
            conn,
            options,
            shared,
            ids: Ids::after(last, 0),
            seen,
            full_sync: true,
            full: false,
            dead,
            sweep: None,
            known: Known::default(),
            sorting: None,
            _lock: lock,
        }
    }

    /// Works until it is told to close or nobody is left who could ask.
    pub(super) async fn run(mut self, mut received: mpsc::Receiver<Op>) {
        let mut ops = Vec::with_capacity(GROUP);
        // When recorded fates must be written, and when to tidy up; neither while nothing happens.
        let (mut linger, mut idle): (Option<Instant>, Option<Instant>) = (None, Some(Instant::now() + IDLE));
        let shared = self.shared.clone();
        loop {
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
                    let more = self.tidy().await;
                    idle = more.then(|| Instant::now() + IDLE / 100);
                    continue;
                }
            }
            let count = ops.len();
            let closing = self.commit(&mut ops).await;
            if ended || !closing.is_empty() {
                received.close();
                let result = self.end(&mut received).await;
                closing.into_iter().for_each(|tx| drop(tx.send(result.clone())));
                return;
            }
            self.sweep_some(count).await;
            self.sort_some(count).await;
            // Fates that the disk refused are tried again.
            linger = (!shared.unsaved.lock().is_empty()).then(|| Instant::now() + LINGER);
            idle = Some(Instant::now() + IDLE);
        }
    }

    /// Writes all that was asked, mostly in one turn. Gives those who asked to close.
    async fn commit(&mut self, ops: &mut Vec<Op>) -> Vec<Answer<()>> {
        if self.full {
            // What only takes away goes first and by itself, for it makes room.
            let (away, others): (Vec<Op>, Vec<Op>) = ops.drain(..).partition(|op| {
                matches!(op, Op::Write { write, .. }
                    if write.append.is_empty() && write.copies.is_empty() && write.entries.is_empty() && write.reached.is_empty())
            });
            if !away.is_empty() {
                self.turn(away.into_iter(), true).await;
            }
            *ops = others;
        }
        let mut closing = Vec::new();
        let mut rest = ops.drain(..).peekable();
        loop {
            let mut bytes = 0;
            let some = std::iter::from_fn(|| {
                rest.next_if(|op| {
                    bytes += op.bytes();
                    bytes <= GROUP_BYTES || bytes == op.bytes()
                })
            });
            closing.extend(self.turn(some, false).await);
            if rest.peek().is_none() {
                return closing;
            }
        }
    }

    /// One transaction: sorts the operations, writes them, answers.
    async fn turn(&mut self, ops: impl Iterator<Item = Op>, at_once: bool) -> Vec<Answer<()>> {
        let lingered = std::mem::take(&mut *self.shared.unsaved.lock());
        let mut batch = Batch { lingered, at_once, first_id: self.ids.next(), ..Batch::default() };
        for op in ops {
            self.sort(op, &mut batch);
        }
        self.ids.skip(batch.queued.len().max(batch.entries.len()) as u64);
        let sorted = if self.needs_sort(&batch) { self.sort_all().await } else { Ok(()) };
        let result = match sorted {
            Ok(()) => self.write(&mut batch).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(()) => self.apply(&mut batch),
            Err(error) => {
                tracing::error!(%error, "store: commit failed");
                self.undo(&mut batch, error).await;
            }
        }
        self.full = matches!(result, Err(StoreError::Full)) || self.full && at_once;
        for answer in batch.answers {
            answer(result.clone());
        }
        for tx in batch.sweeps {
            let swept = self.sweep_all().await;
            tx.send(swept).ok();
        }
        if !batch.scrubs.is_empty() {
            let scrubbed = self.scrub().await;
            batch.scrubs.into_iter().for_each(|tx| drop(tx.send(scrubbed.clone())));
        }
        batch.closing
    }

    /// Decides what can be decided without the file.
    fn sort(&mut self, op: Op, batch: &mut Batch) {
        match op {
            Op::Write { write, bodies, entries, reports, tx } => {
                batch.durable = true;
                let written = self.sort_write(write, bodies, entries, batch);
                if reports.is_empty() {
                    batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| written)))));
                } else {
                    batch.reached.push_back((written, reports, tx));
                }
            }
            Op::First { keys, now, tx } => {
                batch.durable = true;
                let first: Vec<bool> = keys.into_iter().map(|key| self.first(now / DAY, key, batch)).collect();
                batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| first)))));
            }
            Op::Known { keys, tx } => {
                let known: Vec<bool> = keys.into_iter().map(|key| self.seen.contains(key)).collect();
                batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| known)))));
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
                batch.accounts.push_back(*op);
            }
            Op::Chat(op) => {
                batch.durable |= op.is_durable();
                batch.chats.push_back(*op);
            }
            Op::Group(op) => {
                batch.durable |= op.is_durable();
                batch.groups.push_back(*op);
            }
            Op::File(op) => {
                batch.durable = true;
                batch.files.push_back(op);
            }
            Op::Document(op) => {
                batch.durable = true;
                batch.documents.push_back(*op);
            }
            Op::SignIn(op) => {
                batch.durable = true;
                batch.sign_ins.push_back(*op);
            }
            Op::Trace(op) => {
                batch.durable = true;
                batch.traces.push_back(*op);
            }
            Op::Purge { before_ms, tx } => batch.purges.push_back((before_ms, tx)),
            Op::Forget { before, tx } => batch.forgets.push_back((before / DAY, tx)),
            Op::Flush { tx } => batch.answers.push(Box::new(move |end| drop(tx.send(end)))),
            Op::Sweep { tx } => batch.sweeps.push(tx),
            Op::Scrub { tx } => batch.scrubs.push(tx),
            Op::Close { tx } => batch.closing.push(tx),
        }
    }

    fn sort_write(&mut self, write: Write, bodies: Vec<Vec<u8>>, entries: Vec<Vec<u8>>, batch: &mut Batch) -> Written {
        let mut written = Written::default();
        let mut bodies = bodies.into_iter();
        for (message, body) in write.append.into_iter().zip(bodies.by_ref()) {
            if let Some(receipt) = &message.once
                && !self.first(message.accepted_ms / 1000 / DAY, receipt.key(), batch)
            {
                written.ids.push(None);
                continue;
            }
            let id = batch.first_id + batch.queued.len() as u64 * Ids::STEP;
            let queued = batch.count(id, message, body);
            batch.queued.push(queued);
            written.ids.push(Some(id));
        }
        for (entry, data) in write.entries.into_iter().zip(entries) {
            if let Some(receipt) = &entry.once
                && !self.first(entry.at_ms / 1000 / DAY, receipt.key(), batch)
            {
                written.entries.push(None);
                continue;
            }
            if self.known.note(entry.conversation, &entry.members) {
                batch.newcomers.push((entry.conversation, entry.members));
            }
            let id = batch.first_id + batch.entries.len() as u64 * Ids::STEP;
            batch.entries.push(Put { conversation: entry.conversation, id, data });
            written.entries.push(Some(id));
        }
        let index = self.shared.index.lock();
        // How many copies of it there are so far.
        let mut taken: AHashMap<u64, usize> = AHashMap::new();
        for settlement in write.settle {
            let there =
                index.backlog.contains(&settlement.recipient, settlement.id) && batch.taken.insert(settlement.id);
            written.settled.push(there);
            if there {
                settlement.outcome.count(&mut batch.counts, 1);
                batch.fates.push(settlement.fate());
                taken.insert(settlement.id, 0);
                batch.settled.push((settlement.recipient, settlement.id));
            }
        }
        for (DeviceCopy { of, message }, body) in write.copies.into_iter().zip(bodies) {
            let id = taken.get_mut(&of).map(|nth| {
                *nth += 1;
                Ids::of_copy(of, *nth - 1)
            });
            if let Some(id) = id {
                let placed = batch.count(id, message, body);
                batch.placed.push(placed);
            }
            written.copies.push(id);
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
        self.sync(batch.durable).await?;
        let fates: Vec<&Fate> = batch.lingered.iter().chain(&batch.fates).collect();
        let mut rows: Vec<&[&Fate]> = fates.chunks(ROW).collect();
        let row = rows.pop().unwrap_or(&[]);
        let mut days: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (day, key) in &batch.receipts {
            days.entry(*day).or_default().push(*key);
        }
        let day = days.pop_last();
        let args = self.queue_arguments(batch, row, day)?;
        if rows.is_empty() && days.is_empty() && !batch.at_once && !batch.has_more() {
            // One text and one trip to the thread of the connection: a trip costs as much as several rows.
            let script = concat!("begin immediate;", queue_script!(), "; commit");
            self.conn.execute(sqlx::query_with(script, args)).await?;
            return Ok(());
        }
        self.conn.execute(sqlx::query("begin immediate")).await?;
        if batch.at_once {
            let ids: Vec<u64> = batch.settled.iter().map(|(_, id)| *id).collect();
            let query = "delete from message where id in (select value from json_each(?))";
            self.conn.execute(sqlx::query(query).bind(json(&ids))).await?;
        }
        self.conn.execute(sqlx::query_with(queue_script!(), args)).await?;
        let nothing = Batch { first_id: batch.first_id, counts: batch.counts, ..Batch::default() };
        for row in rows {
            let args = self.queue_arguments(&nothing, row, None)?;
            self.conn.execute(sqlx::query_with(queue_script!(), args)).await?;
        }
        for day in days {
            let args = self.queue_arguments(&nothing, &[], Some(day))?;
            self.conn.execute(sqlx::query_with(queue_script!(), args)).await?;
        }
        if !batch.placed.is_empty() {
            let (bodies, places) = laid_out(batch.placed.iter().map(|placed| &*placed.data));
            // The place of each under its id, in one pass: two lists side by side would take the square of their length.
            let fields: Vec<String> =
                batch.placed.iter().zip(places).map(|(placed, place)| format!("\"{}\":{place}", placed.id)).collect();
            let text = "insert into message (id, data)
                 select cast(key as integer), substr(?, value >> 32, value & 4294967295) from json_each(?)";
            let places = format!("{{{}}}", fields.join(","));
            self.conn.execute(sqlx::query(text).bind(bodies).bind(places)).await?;
        }
        self.write_locations(batch).await?;
        self.write_chat(batch).await?;
        self.write_groups(batch).await?;
        documents::write(&mut self.conn, &mut batch.documents, &mut batch.answers).await?;
        while let Some(op) = batch.accounts.pop_front() {
            batch.answers.push(accounts::write(&mut self.conn, op).await?);
        }
        while let Some((before_ms, tx)) = batch.purges.pop_front() {
            let counts = self.shared.index.lock().counts.plus(&batch.counts);
            let gone = self.purge(before_ms, &counts).await?;
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

    /// Members, reports, and what else was asked of history and devices.
    async fn write_chat(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if !batch.newcomers.is_empty() {
            history::join(&mut self.conn, std::mem::take(&mut batch.newcomers)).await?;
        }
        if !batch.reached.is_empty() {
            let reports = batch.reached.iter().flat_map(|(_, reports, _)| reports.iter().copied());
            let mut news = states::apply(&mut self.conn, reports).await?.into_iter();
            for (mut written, reports, tx) in batch.reached.drain(..) {
                written.news = news.by_ref().take(reports.len()).collect();
                batch.answers.push(Box::new(move |end| drop(tx.send(end.map(|()| written)))));
            }
        }
        while let Some(op) = batch.chats.pop_front() {
            let here: AHashSet<ConversationId> = batch.entries.iter().map(|put| put.conversation).collect();
            let shared = &self.shared;
            let busy = |name: &ConversationId| here.contains(name) || shared.index.lock().fresh.has(name);
            let around = Around { next: self.ids.next(), first_id: batch.first_id, busy: &busy };
            let (answer, forgotten) = chat::write(&mut self.conn, op, &around).await?;
            batch.answers.push(answer);
            if forgotten {
                self.known.clear();
            }
        }
        while let Some(op) = batch.files.pop_front() {
            batch.answers.push(files::write(&mut self.conn, op).await?);
        }
        while let Some(op) = batch.sign_ins.pop_front() {
            batch.answers.push(sign_ins::write(&mut self.conn, op).await?);
        }
        while let Some(op) = batch.traces.pop_front() {
            let next = self.ids.next();
            batch.answers.push(traces::write(&mut self.conn, op, next, batch.first_id).await?);
            self.known.clear();
        }
        Ok(())
    }

    /// What was asked of groups, and which of their messages were seen for the first time.
    async fn write_groups(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let before = batch.receipts.len();
        while let Some(op) = batch.groups.pop_front() {
            let (seen, receipts) = (&mut self.seen, &mut batch.receipts);
            let mut first = |day: u64, key: u64| {
                let first = seen.insert(day, key);
                if first {
                    receipts.push((day, key));
                }
                first
            };
            batch.answers.push(groups::write(&mut self.conn, op, &mut first).await?);
        }
        let mut days: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (day, key) in &batch.receipts[before..] {
            days.entry(*day).or_default().push(*key);
        }
        for (day, keys) in days {
            let query =
                sqlx::query("insert into receipt (id, day, keys) values (?, ?, ?)").bind(self.ids.next() as i64);
            self.conn.execute(query.bind(day as i64).bind(codec::put_keys(&keys))).await?;
        }
        Ok(())
    }

    async fn sync(&mut self, full: bool) -> Result<(), sqlx::Error> {
        if self.full_sync != full {
            // SQLite refuses this inside a transaction.
            self.conn.execute(if full { "pragma synchronous = full" } else { "pragma synchronous = normal" }).await?;
            self.full_sync = full;
        }
        Ok(())
    }

    /// The parameters of [`queue_script`].
    fn queue_arguments(
        &mut self,
        batch: &Batch,
        fates: &[&Fate],
        receipts: Option<(u64, Vec<u64>)>,
    ) -> Result<SqliteArguments, sqlx::Error> {
        let (bodies, places) = laid_out(batch.queued.iter().map(|queued| &*queued.data));
        let (contents, content_places) = laid_out(batch.entries.iter().map(|entry| &*entry.data));
        let settled: Vec<u64> = batch.settled.iter().filter(|_| !batch.at_once).map(|(_, id)| *id).collect();
        let counts = self.shared.index.lock().counts.plus(&batch.counts);
        let mut args = SqliteArguments::default();
        let add = || {
            args.add(batch.first_id as i64)?;
            args.add(bodies)?;
            args.add(json(&places))?;
            // Whatever the queue does leaves a fate, so what is settled always has its row.
            args.add((!fates.is_empty()).then(|| self.ids.next() as i64))?;
            args.add(codec::put_hints(fates.iter().copied()))?;
            args.add(codec::put_fates(fates.iter().copied()))?;
            args.add(codec::put_keys(&settled))?;
            args.add(codec::put_counts(&counts))?;
            let (day, keys) = receipts.unwrap_or_default();
            args.add((!keys.is_empty()).then(|| self.ids.next() as i64))?;
            args.add(day as i64)?;
            args.add(codec::put_keys(&keys))?;
            args.add(batch.first_id as i64)?;
            args.add(history::packed(batch.entries.iter().map(|entry| &entry.conversation)))?;
            args.add(contents)?;
            args.add(json(&content_places))
        };
        add().map_err(sqlx::Error::Encode)?;
        Ok(args)
    }

    /// Forgets some old rows of the log, but none that names a message that is still in the file.
    async fn purge(&mut self, before_ms: u64, counts: &Counts) -> Result<u64, sqlx::Error> {
        // The newest row, which has the counts, may be among them.
        let text = "update tally set accepted = ?, delivered = ?, expired = ?, refused = ?";
        let query = [counts.accepted, counts.delivered, counts.expired, counts.refused]
            .into_iter()
            .fold(sqlx::query(text), |query, count| query.bind(count as i64));
        self.conn.execute(query).await?;
        let text = "delete from log where id in (
                select id from log where id < ? and (length(settled) = 0 or id <= (select swept from tally))
                order by id limit ?)";
        let query = sqlx::query(text).bind(Ids::floor(before_ms) as i64).bind(SLICE as i64);
        Ok(self.conn.execute(query).await?.rows_affected())
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
    fn apply(&mut self, batch: &mut Batch) {
        let index = &mut *self.shared.index.lock();
        for Queued { recipient, device, id, size, expires_at, data } in
            batch.queued.drain(..).chain(batch.placed.drain(..))
        {
            index.backlog.push(&recipient, device.as_deref(), id, size, expires_at);
            index.recent.push(id, data);
        }
        for (recipient, id) in batch.settled.drain(..) {
            index.backlog.remove(&recipient, id);
            index.recent.remove(id);
            if !batch.at_once {
                self.dead.push(id);
            }
        }
        for entry in batch.entries.drain(..) {
            index.fresh.push(entry.conversation, entry.id);
        }
        index.counts = index.counts.plus(&batch.counts);
    }

    /// Begins to give the fresh entries their places once they are many, and does as much of it as the commit before
    /// was large.
    async fn sort_some(&mut self, count: usize) {
        if self.sorting.is_none() {
            self.start_sort(SORT);
        }
        if let Err(error) = self.sort_slice(SWEEP_SLICE.max(2 * count)).await {
            tracing::warn!(%error, "store: cannot sort the history");
        }
    }

    fn start_sort(&mut self, least: usize) {
        let index = self.shared.index.lock();
        if index.fresh.count() < least.max(1) {
            return;
        }
        let rows = index.fresh.sorted();
        let upto = rows.iter().map(|(_, id)| *id).max().unwrap_or(0);
        self.sorting = Some(Sort { rows, done: 0, upto });
    }

    /// Gives some entries their places; false where none are left of this turn.
    async fn sort_slice(&mut self, count: usize) -> Result<bool, StoreError> {
        let Some(sort) = &mut self.sorting else { return Ok(false) };
        let end = (sort.done + count).min(sort.rows.len());
        let slice = &sort.rows[sort.done..end];
        let last = end == sort.rows.len();
        let ids: Vec<u64> = slice.iter().map(|(_, id)| *id).collect();
        // What is lost in a power cut is sorted again: `placed` moves only with the last.
        let text = "begin immediate;
             insert into place (conversation, id) select substr(?1, key * 16 + 1, 16), value from json_each(?2)
                 where true on conflict do nothing;
             update tally set placed = ?3 where ?3 > 0;
             commit";
        let query = sqlx::query(text)
            .bind(history::packed(slice.iter().map(|(name, _)| name)))
            .bind(json(&ids))
            .bind(if last { sort.upto as i64 } else { 0 });
        self.sync(false).await?;
        if let Err(error) = self.conn.execute(query).await {
            self.conn.execute(sqlx::query("rollback")).await.ok();
            return Err(error.into());
        }
        match &mut self.sorting {
            Some(sort) if !last => sort.done = end,
            sorting => {
                if let Some(sort) = sorting.take() {
                    self.shared.index.lock().fresh.placed(sort.upto);
                }
            }
        }
        Ok(!last)
    }

    /// Before entries are removed these have their places, so that nothing comes to be after it is gone.
    fn needs_sort(&self, batch: &Batch) -> bool {
        let fresh = &self.shared.index.lock().fresh;
        let erases = |op: &TraceOp| matches!(op, TraceOp::Erase { .. });
        if batch.traces.iter().any(erases) {
            return fresh.count() > 0;
        }
        batch.chats.iter().any(|op| match op {
            ChatOp::Discard { conversation, .. } => fresh.has(conversation),
            ChatOp::Sweep { below, .. } => fresh.has_below(*below),
            _ => false,
        })
    }

    async fn sort_all(&mut self) -> Result<(), StoreError> {
        while self.sort_slice(SORT).await? {}
        self.start_sort(1);
        while self.sort_slice(SORT).await? {}
        Ok(())
    }

    /// Starts a sweep once it is worth it, and does as much of it as the commit before was large.
    async fn sweep_some(&mut self, count: usize) {
        let waiting = self.shared.index.lock().backlog.count() as usize;
        if self.sweep.is_none() && (self.dead.len() >= SWEEP.max(waiting / 4) || self.full && !self.dead.is_empty()) {
            self.start_sweep();
        }
        if let Err(error) = self.sweep_slice(SWEEP_SLICE.max(2 * count)).await {
            tracing::warn!(%error, "store: cannot sweep");
        }
    }

    fn start_sweep(&mut self) {
        let mut ids = std::mem::take(&mut self.dead);
        ids.sort_unstable();
        let clear_below = self.shared.index.lock().backlog.oldest().unwrap_or(u64::MAX);
        self.sweep = Some(Sweep { ids, done: 0, clear_below, upto: self.ids.next() });
    }

    /// Takes some settled messages out of the file; false where none are left of this sweep.
    async fn sweep_slice(&mut self, count: usize) -> Result<bool, StoreError> {
        let Some(sweep) = &mut self.sweep else { return Ok(false) };
        let slice = &sweep.ids[sweep.done..(sweep.done + count).min(sweep.ids.len())];
        let last = sweep.done + slice.len() == sweep.ids.len();
        let upto = if last { sweep.upto as i64 } else { 0 };
        // The log on disk says that they are settled, so this may be lost.
        let (from, to) = (slice.first().copied().unwrap_or(0), slice.last().copied().unwrap_or(0));
        let whole = to < sweep.clear_below;
        let list = if whole { String::from("[]") } else { json(slice) };
        let end = sweep.done + slice.len();
        self.sync(false).await?;
        let text = "begin immediate;
             delete from message where ?1 and id between ?2 and ?3;
             delete from message where id in (select value from json_each(?4));
             update tally set swept = ?5 where ?5 > 0;
             commit";
        let query = sqlx::query(text).bind(whole).bind(from as i64).bind(to as i64).bind(list).bind(upto);
        if let Err(error) = self.conn.execute(query).await {
            self.conn.execute(sqlx::query("rollback")).await.ok();
            return Err(error.into());
        }
        match &mut self.sweep {
            Some(sweep) if !last => sweep.done = end,
            _ => self.sweep = None,
        }
        Ok(!last)
    }

    async fn sweep_all(&mut self) -> Result<(), StoreError> {
        while self.sweep_slice(SWEEP).await? {}
        self.start_sweep();
        while self.sweep_slice(SWEEP).await? {}
        Ok(())
    }

    /// Writes the file anew without what is gone, and empties the log beside it. Nobody else writes meanwhile. SQLite needs as
    /// much room again as the file has, on disk and not in memory.
    async fn scrub(&mut self) -> Result<(), StoreError> {
        self.sweep_all().await?;
        self.sync(true).await?;
        self.conn.execute("pragma temp_store = file").await?;
        let done = self.conn.execute("vacuum").await;
        self.conn.execute("pragma temp_store = memory").await?;
        done?;
        let row = self.conn.fetch_one("pragma wal_checkpoint(truncate)").await?;
        // Somebody reads an older state: the log still has it.
        if row.try_get::<i64, _>(0)? != 0 { Err(StoreError::Conflict) } else { Ok(()) }
    }

    /// What is done while nobody asks; true where more is to be done.
    async fn tidy(&mut self) -> bool {
        if self.sweep.is_none() && !self.dead.is_empty() {
            self.start_sweep();
        }
        if self.sorting.is_none() {
            self.start_sort(1);
        }
        match self.sort_slice(SWEEP).await {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "store: cannot sort the history"),
        }
        match self.sweep_slice(SWEEP).await {
            Ok(true) => true,
            Ok(false) => self.give_back().await,
            Err(error) => {
                tracing::warn!(%error, "store: cannot sweep");
                false
            }
        }
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
        // Who was about to be written down is asked for again.
        self.known.clear();
        batch.reached.drain(..).for_each(|(_, _, tx)| drop(tx.send(Err(error.clone()))));
        batch.chats.drain(..).for_each(|op| op.fail(error.clone()));
        batch.groups.drain(..).for_each(|op| op.fail(error.clone()));
        batch.files.drain(..).for_each(|op| op.fail(error.clone()));
        batch.documents.drain(..).for_each(|op| op.fail(error.clone()));
        batch.sign_ins.drain(..).for_each(|op| op.fail(error.clone()));
        batch.traces.drain(..).for_each(|op| op.fail(error.clone()));
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
        let closing = self.commit(&mut late).await;
        let result = match self.shared.unsaved.lock().len() {
            0 => Ok(()),
            _ => Err(StoreError::Full),
        };
        closing.into_iter().for_each(|tx| drop(tx.send(result.clone())));
        // Where this fails, for want of room say, the next to open the file finds all of it in the log beside it.
        if let Err(error) = self.conn.execute("pragma wal_checkpoint(truncate)").await {
            tracing::warn!(%error, "store: the log is left beside the file");
        }
        let closed = self.conn.close().await;
        result.and(closed.map_err(StoreError::from))
    }
}

impl Op {
    /// Bytes that it brings into the transaction, roughly.
    fn bytes(&self) -> usize {
        match self {
            Op::Write { bodies, entries, .. } => bodies.iter().chain(entries).map(Vec::len).sum(),
            Op::Group(op) => op.bytes(),
            Op::Document(op) => op.bytes(),
            _ => 0,
        }
    }
}

impl Batch {
    /// Counts a message that is accepted under this id.
    fn count(&mut self, id: u64, message: NewMessage, body: Vec<u8>) -> Queued {
        self.fates.push(message.stored());
        self.counts.accepted += 1;
        Queued {
            id,
            size: message.size() as u64,
            recipient: message.recipient,
            device: message.device,
            expires_at: message.expires_at,
            data: Bytes::from(body),
        }
    }

    fn is_empty(&self) -> bool {
        self.fates.is_empty()
            && self.lingered.is_empty()
            && self.receipts.is_empty()
            && self.entries.is_empty()
            && !self.has_more()
    }

    /// Whether copies, accounts, bindings, chat or what is forgotten come along.
    fn has_more(&self) -> bool {
        !(self.accounts.is_empty()
            && self.newcomers.is_empty()
            && self.reached.is_empty()
            && self.placed.is_empty()
            && self.chats.is_empty()
            && self.groups.is_empty()
            && self.files.is_empty()
            && self.documents.is_empty()
            && self.traces.is_empty()
            && self.sign_ins.is_empty()
            && self.replaces.is_empty()
            && self.saves.is_empty()
            && self.purges.is_empty()
            && self.forgets.is_empty())
    }
}

/// Rows as one blob, and the place and length of each in it.
fn laid_out<'a>(rows: impl Iterator<Item = &'a [u8]> + Clone) -> (Vec<u8>, Vec<u64>) {
    let mut all = Vec::with_capacity(rows.clone().map(<[u8]>::len).sum());
    let place = |row: &[u8]| {
        // SQLite counts from 1.
        let place = (all.len() as u64 + 1) << 32 | row.len() as u64;
        all.extend_from_slice(row);
        place
    };
    let places = rows.map(place).collect();
    (all, places)
}

/// A list of numbers as SQLite reads it.
pub(super) fn json(numbers: &[u64]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + numbers.len() * 20);
    text.push('[');
    for (at, number) in numbers.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{number}");
    }
    text.push(']');
    text
}

/// Never, where there is no such moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
