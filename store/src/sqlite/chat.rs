//! What the writer is asked about devices and history, beside the writes of the queue.

use sqlx::Executor;
use sqlx::sqlite::SqliteConnection;

use super::writer::{SLICE, Waiting};
use super::{Answer, devices, history};
use crate::StoreError;
use crate::conversation::ConversationId;
use crate::device::Seen;

/// What can be asked.
#[derive(Debug)]
pub(super) enum ChatOp {
    Seen {
        batch: Vec<Seen>,
        tx: Answer<()>,
    },
    RemoveDevices {
        aor: Box<str>,
        device: Option<Box<str>>,
        tx: Answer<u64>,
    },
    /// Answers how many went; fewer than [`SLICE`] means all.
    ForgetDevices {
        before: u64,
        tx: Answer<u64>,
    },
    /// Answers whose entries were hidden.
    Erase {
        user: Box<str>,
        conversation: Option<ConversationId>,
        tx: Answer<Vec<ConversationId>>,
    },
    /// Takes away what nobody sees; fewer than [`SLICE`] means all.
    Discard {
        conversation: ConversationId,
        tx: Answer<u64>,
    },
    Sweep {
        below: u64,
        limit: usize,
        tx: Answer<u64>,
    },
    ForgetWays {
        above: i64,
        upto: i64,
        before_ms: u64,
        tx: Answer<u64>,
    },
}

/// What an operation needs to know of the transaction that it is in.
pub(super) struct Around<'a> {
    /// A number above all that are given.
    pub(super) next: u64,
    /// The least that is given in this transaction.
    pub(super) first_id: u64,
    /// Conversations with entries that have no place yet.
    pub(super) busy: &'a (dyn Fn(&ConversationId) -> bool + Sync),
}

impl ChatOp {
    /// Somebody is promised that it survives a power cut.
    pub(super) fn is_durable(&self) -> bool {
        matches!(self, ChatOp::Erase { .. } | ChatOp::RemoveDevices { .. })
    }

    /// Answers without having done it.
    pub(super) fn fail(self, error: StoreError) {
        match self {
            ChatOp::Seen { tx, .. } => drop(tx.send(Err(error))),
            ChatOp::Erase { tx, .. } => drop(tx.send(Err(error))),
            ChatOp::RemoveDevices { tx, .. }
            | ChatOp::ForgetDevices { tx, .. }
            | ChatOp::Discard { tx, .. }
            | ChatOp::Sweep { tx, .. }
            | ChatOp::ForgetWays { tx, .. } => drop(tx.send(Err(error))),
        }
    }
}

/// Does it; the answer is due after the commit. True where conversations were forgotten.
pub(super) async fn write(
    conn: &mut SqliteConnection,
    op: ChatOp,
    around: &Around<'_>,
) -> Result<(Waiting, bool), StoreError> {
    let mut forgotten = false;
    let (done, tx) = match op {
        ChatOp::Seen { batch, tx } => return answer(devices::note(conn, batch).await.map_err(Into::into), tx, false),
        ChatOp::Erase { user, conversation, tx } => {
            return answer(history::erase(conn, &user, conversation, around.next).await, tx, false);
        }
        ChatOp::RemoveDevices { aor, device, tx } => {
            let text = "delete from device where aor = ?1 and (?2 is null or device = ?2)";
            (count(conn, sqlx::query(text).bind(aor.into_string()).bind(device.map(String::from))).await, tx)
        }
        ChatOp::ForgetDevices { before, tx } => {
            let text = "delete from device where (aor, device) in (
                    select aor, device from device where last_seen < ? limit ?)";
            (count(conn, sqlx::query(text).bind(before as i64).bind(SLICE as i64)).await, tx)
        }
        ChatOp::Discard { conversation, tx } => {
            let done = history::discard(conn, conversation, (around.busy)(&conversation)).await;
            forgotten = matches!(done, Ok((_, true)));
            (done.map(|(gone, _)| gone), tx)
        }
        ChatOp::Sweep { below, limit, tx } => {
            let done = async {
                let (gone, mut names) = history::sweep(conn, below.min(around.first_id), limit).await?;
                names.retain(|name| !(around.busy)(name));
                forgotten = history::forget_empty(conn, &names).await?;
                Ok(gone)
            };
            (done.await, tx)
        }
        ChatOp::ForgetWays { above, upto, before_ms, tx } => {
            let text = "delete from way where key > ? and key <= ? and max(delivered, displayed, failed) < ?";
            (count(conn, sqlx::query(text).bind(above).bind(upto).bind(before_ms as i64)).await, tx)
        }
    };
    answer(done, tx, forgotten)
}

async fn count(
    conn: &mut SqliteConnection,
    query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
) -> Result<u64, StoreError> {
    Ok(conn.execute(query).await?.rows_affected())
}

/// The answer as it is after the commit, or at once where it failed.
fn answer<T: Send + 'static>(
    done: Result<T, StoreError>,
    tx: Answer<T>,
    forgotten: bool,
) -> Result<(Waiting, bool), StoreError> {
    match done {
        Ok(done) => Ok((Box::new(move |end| drop(tx.send(end.map(|()| done)))), forgotten)),
        Err(error) => {
            tx.send(Err(error.clone())).ok();
            Err(error)
        }
    }
}
