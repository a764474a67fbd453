//! The history: entries lie in the order of their arrival, and where those of a conversation lie is sorted into `place`
//! behind them, many at a time (docs/decisions/0015). Until then memory knows it.

use ahash::{AHashMap, AHashSet, RandomState};
use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor, Row};

use super::Sqlite;
use super::chat::ChatOp;
use super::writer::{SLICE, json};
use crate::conversation::{Conversation, ConversationId, Conversations, Cursor, Entry, MOST, Page};
use crate::ids::Ids;
use crate::{StoreError, codec};

/// Conversations whose members the writer remembers to be on disk.
const KNOWN: usize = 1 << 20;

/// Entries that have no place yet.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Rising.
    ids: AHashMap<ConversationId, Vec<u64>>,
    count: usize,
}

impl Fresh {
    pub(super) fn push(&mut self, conversation: ConversationId, id: u64) {
        self.ids.entry(conversation).or_default().push(id);
        self.count += 1;
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn has(&self, conversation: &ConversationId) -> bool {
        self.ids.contains_key(conversation)
    }

    /// Looks at all.
    pub(super) fn has_below(&self, id: u64) -> bool {
        self.ids.values().any(|ids| ids.first().is_some_and(|first| *first < id))
    }

    fn between(&self, conversation: &ConversationId, above: u64, below: u64) -> Vec<u64> {
        let ids = self.ids.get(conversation).map_or(&[][..], Vec::as_slice);
        ids.iter().copied().filter(|id| *id > above && *id < below).collect()
    }

    fn last(&self, conversation: &ConversationId) -> Option<u64> {
        self.ids.get(conversation)?.last().copied()
    }

    /// All up to the newest, in the order of the table.
    pub(super) fn sorted(&self) -> Vec<(ConversationId, u64)> {
        let mut all: Vec<_> = self.ids.iter().flat_map(|(name, ids)| ids.iter().map(|id| (*name, *id))).collect();
        all.sort_unstable();
        all
    }

    /// Those up to `upto` are on disk.
    pub(super) fn placed(&mut self, upto: u64) {
        self.ids.retain(|_, ids| {
            ids.retain(|id| *id > upto);
            !ids.is_empty()
        });
        self.count = self.ids.values().map(Vec::len).sum();
    }
}

/// Which members of conversations are on disk, so that most entries need no look-up. By hash: a mistake hides one
/// conversation in one list, with a chance of 2^-64 for each pair.
#[derive(Debug, Default)]
pub(super) struct Known {
    seen: AHashSet<u64>,
    hasher: RandomState,
}

impl Known {
    /// False where it was noted before.
    pub(super) fn note(&mut self, conversation: ConversationId, members: &[Box<str>]) -> bool {
        if self.seen.len() >= KNOWN {
            self.seen.clear();
        }
        let hash = self.hasher.hash_one((conversation, members));
        self.seen.insert(hash)
    }

    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }
}

/// The fresh on their way into `place`, in the order of that table.
#[derive(Debug)]
pub(super) struct Sort {
    pub(super) rows: Vec<(ConversationId, u64)>,
    pub(super) done: usize,
    pub(super) upto: u64,
}

pub(super) fn packed<'a>(names: impl Iterator<Item = &'a ConversationId>) -> Vec<u8> {
    names.flat_map(|name| name.0).collect()
}

/// Names as JSON, for `unhex`.
fn hex<'a>(names: impl Iterator<Item = &'a ConversationId>) -> String {
    let list: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", list.join(","))
}

pub(super) fn name(bytes: &[u8]) -> Result<ConversationId, StoreError> {
    bytes.try_into().map(ConversationId).map_err(|_| StoreError::Corrupt { what: "name of a conversation" })
}

/// Writes down who sees which conversations.
pub(super) async fn join(
    conn: &mut SqliteConnection,
    newcomers: Vec<(ConversationId, Vec<Box<str>>)>,
) -> Result<(), StoreError> {
    let mut all: AHashMap<ConversationId, Vec<Box<str>>> = AHashMap::new();
    for (conversation, members) in newcomers {
        all.entry(conversation).or_default().extend(members);
    }
    let text = "select id, members from conversation where id in (select unhex(value) from json_each(?))";
    for row in conn.fetch_all(sqlx::query(text).bind(hex(all.keys()))).await? {
        let members = codec::take_names(row.try_get(1)?)?;
        all.entry(name(row.try_get(0)?)?).or_default().extend(members);
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_unstable();
    for (conversation, members) in &mut all {
        members.sort_unstable();
        members.dedup();
        let text = "insert into conversation (id, members) values (?, ?)
             on conflict (id) do update set members = excluded.members";
        let data = codec::put_names(members.iter().map(|member| &**member));
        conn.execute(sqlx::query(text).bind(&conversation.0[..]).bind(data)).await?;
    }
    let mut pairs: Vec<_> =
        all.iter().flat_map(|(name, members)| members.iter().map(move |member| (member, name))).collect();
    pairs.sort_unstable();
    for (member, conversation) in pairs {
        let text = "insert into member (aor, conversation, cleared) values (?, ?, 0) on conflict do nothing";
        conn.execute(sqlx::query(text).bind(&**member).bind(&conversation.0[..])).await?;
    }
    Ok(())
}

/// Hides what is there up to `upto` from a user; gives the conversations.
pub(super) async fn erase(
    conn: &mut SqliteConnection,
    user: &str,
    conversation: Option<ConversationId>,
    upto: u64,
) -> Result<Vec<ConversationId>, StoreError> {
    let text =
        "update member set cleared = ?1 where aor = ?2 and (?3 is null or conversation = ?3) returning conversation";
    let query = sqlx::query(text).bind(upto as i64).bind(user).bind(conversation.map(|name| name.0.to_vec()));
    let rows = conn.fetch_all(query).await?;
    // Numbers must go on above it, also where the clock is set back.
    conn.execute(sqlx::query("update tally set erased = ?").bind(upto as i64)).await?;
    rows.iter().map(|row| name(row.try_get(0)?)).collect()
}

/// Removes some entries that nobody sees any more; they have their places. Gives how many, and whether the conversation was
/// forgotten with the last.
pub(super) async fn discard(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    busy: bool,
) -> Result<(u64, bool), StoreError> {
    let query = sqlx::query("select members from conversation where id = ?").bind(conversation.0.to_vec());
    let Some(row) = conn.fetch_optional(query).await? else { return Ok((0, false)) };
    let mut unseen = i64::MAX;
    for member in codec::take_names(row.try_get(0)?)? {
        let query = sqlx::query("select cleared from member where aor = ? and conversation = ?");
        if let Some(row) = conn.fetch_optional(query.bind(&*member).bind(conversation.0.to_vec())).await? {
            unseen = unseen.min(row.try_get(0)?);
        }
    }
    let text = "delete from place where conversation = ?1 and id in (
            select id from place where conversation = ?1 and id <= ?2 order by id limit ?3) returning id";
    let query = sqlx::query(text).bind(conversation.0.to_vec()).bind(unseen).bind(SLICE as i64);
    let rows = conn.fetch_all(query).await?;
    let ids: Vec<u64> =
        rows.iter().map(|row| row.try_get::<i64, _>(0).map(|id| id as u64)).collect::<Result<_, _>>()?;
    let query = sqlx::query("delete from entry where id in (select value from json_each(?))").bind(json(&ids));
    conn.execute(query).await?;
    let forgotten = !busy && forget_empty(conn, &[conversation]).await?;
    Ok((ids.len() as u64, forgotten))
}

/// Removes the oldest entries below `below`; they have their places. Gives how many, and the conversations they were of.
pub(super) async fn sweep(
    conn: &mut SqliteConnection,
    below: u64,
    limit: usize,
) -> Result<(u64, Vec<ConversationId>), StoreError> {
    let query = sqlx::query("select id, conversation from entry where id < ? order by id limit ?");
    let rows = conn.fetch_all(query.bind(below as i64).bind(limit as i64)).await?;
    let mut gone = Vec::with_capacity(rows.len());
    for row in &rows {
        gone.push((name(row.try_get(1)?)?, row.try_get::<i64, _>(0)? as u64));
    }
    let Some((_, last)) = gone.last() else { return Ok((0, Vec::new())) };
    // It is the oldest that go, so they are all that lie below the last.
    conn.execute(sqlx::query("delete from entry where id <= ?").bind(*last as i64)).await?;
    gone.sort_unstable();
    let text = "delete from place where (conversation, id) in (
            select substr(?1, key * 16 + 1, 16), value from json_each(?2))";
    let ids: Vec<u64> = gone.iter().map(|(_, id)| *id).collect();
    conn.execute(sqlx::query(text).bind(packed(gone.iter().map(|(name, _)| name))).bind(json(&ids))).await?;
    let count = gone.len() as u64;
    let mut names: Vec<ConversationId> = gone.into_iter().map(|(name, _)| name).collect();
    names.dedup();
    Ok((count, names))
}

/// Forgets those of the conversations that have no entries; true where there was one.
pub(super) async fn forget_empty(conn: &mut SqliteConnection, names: &[ConversationId]) -> Result<bool, StoreError> {
    let text = "select c.id, c.members from json_each(?) j join conversation c on c.id = unhex(j.value)
         where not exists (select 1 from place p where p.conversation = c.id)";
    let rows = conn.fetch_all(sqlx::query(text).bind(hex(names.iter()))).await?;
    for row in &rows {
        let id: &[u8] = row.try_get(0)?;
        for member in codec::take_names(row.try_get(1)?)? {
            let query = sqlx::query("delete from member where aor = ? and conversation = ?");
            conn.execute(query.bind(&*member).bind(id)).await?;
        }
        conn.execute(sqlx::query("delete from conversation where id = ?").bind(id)).await?;
    }
    Ok(!rows.is_empty())
}

impl Sqlite {
    /// Entries by id, in the order of ids; those removed meanwhile are left out.
    async fn entries(&self, ids: &[u64]) -> Result<Vec<Entry>, StoreError> {
        let text = "select id, conversation, data from entry where id in (select value from json_each(?)) order by id";
        let mut rows = self.readers.fetch(sqlx::query(text).bind(json(ids)));
        let mut found = Vec::with_capacity(ids.len());
        while let Some(row) = rows.try_next().await? {
            let data = Bytes::from(row.try_get_unchecked::<Vec<u8>, _>(2)?);
            let id = row.try_get_unchecked::<i64, _>(0)? as u64;
            found.push(codec::take_entry(id, name(row.try_get_unchecked(1)?)?, data)?);
        }
        Ok(found)
    }

    async fn discard(&self, conversation: ConversationId) -> Result<(), StoreError> {
        while self.ask_chat(|tx| ChatOp::Discard { conversation, tx }).await? == SLICE {}
        Ok(())
    }
}

#[async_trait::async_trait]
impl Conversations for Sqlite {
    async fn page(
        &self,
        user: &str,
        conversation: ConversationId,
        from: Cursor,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(MOST);
        let query = sqlx::query("select cleared from member where aor = ? and conversation = ?");
        let row = self.readers.fetch_optional(query.bind(user).bind(conversation.0.to_vec())).await?;
        let Some(row) = row else { return Ok(Page::default()) };
        let (above, below) = from.bounds(row.try_get::<i64, _>(0)? as u64);
        // Memory first: what is sorted between the two looks is found twice, never missed.
        let mut ids = self.shared.index.lock().fresh.between(&conversation, above, below);
        let text = if from.is_forward() {
            "select id from place where conversation = ? and id > ? and id < ? order by id limit ?"
        } else {
            "select id from place where conversation = ? and id > ? and id < ? order by id desc limit ?"
        };
        let query = sqlx::query(text).bind(conversation.0.to_vec()).bind(above as i64).bind(below as i64);
        for row in self.readers.fetch_all(query.bind(limit as i64 + 1)).await? {
            ids.push(row.try_get::<i64, _>(0)? as u64);
        }
        ids.sort_unstable();
        ids.dedup();
        if !from.is_forward() {
            ids.reverse();
        }
        let more = ids.len() > limit;
        ids.truncate(limit);
        let mut entries = self.entries(&ids).await?;
        if !from.is_forward() {
            entries.reverse();
        }
        Ok(Page { entries, more })
    }

    async fn list(&self, user: &str, before: Option<u64>, limit: usize) -> Result<Vec<Conversation>, StoreError> {
        let query = sqlx::query("select conversation, cleared from member where aor = ?").bind(user);
        let mut lasts: AHashMap<ConversationId, (u64, u64)> = AHashMap::new();
        for row in self.readers.fetch_all(query).await? {
            lasts.insert(name(row.try_get(0)?)?, (row.try_get::<i64, _>(1)? as u64, 0));
        }
        {
            let index = self.shared.index.lock();
            for (name, (_, last)) in &mut lasts {
                *last = index.fresh.last(name).unwrap_or(0);
            }
        }
        let text = "select m.conversation, (select max(id) from place p where p.conversation = m.conversation)
             from member m where m.aor = ?";
        for row in self.readers.fetch_all(sqlx::query(text).bind(user)).await? {
            let placed = row.try_get::<Option<i64>, _>(1)?.unwrap_or(0) as u64;
            if let Some((_, last)) = lasts.get_mut(&name(row.try_get(0)?)?) {
                *last = placed.max(*last);
            }
        }
        let shown = |(_, (cleared, last)): &(ConversationId, (u64, u64))| {
            last > cleared && before.is_none_or(|before| *last < before)
        };
        let mut page: Vec<(u64, ConversationId)> =
            lasts.into_iter().filter(shown).map(|(name, (_, last))| (last, name)).collect();
        page.sort_unstable_by(|a, b| b.cmp(a));
        page.truncate(limit.min(MOST));
        let ids: Vec<u64> = page.iter().map(|(last, _)| *last).collect();
        let entries = self.entries(&ids).await?;
        let text = "select id, members from conversation where id in (select unhex(value) from json_each(?))";
        let names = hex(page.iter().map(|(_, name)| name));
        let mut members: AHashMap<ConversationId, Vec<Box<str>>> = AHashMap::new();
        for row in self.readers.fetch_all(sqlx::query(text).bind(names)).await? {
            members.insert(name(row.try_get(0)?)?, codec::take_names(row.try_get(1)?)?);
        }
        let one = |last: Entry| {
            let id = last.conversation;
            Some(Conversation { id, members: members.remove(&id)?, last })
        };
        Ok(entries.into_iter().rev().filter_map(one).collect())
    }

    async fn erase(&self, user: &str, conversation: ConversationId) -> Result<bool, StoreError> {
        let (user, only) = (user.into(), Some(conversation));
        let there = !self.ask_chat(|tx| ChatOp::Erase { user, conversation: only, tx }).await?.is_empty();
        self.discard(conversation).await?;
        Ok(there)
    }

    async fn erase_user(&self, user: &str) -> Result<u64, StoreError> {
        let user = user.into();
        let erased = self.ask_chat(|tx| ChatOp::Erase { user, conversation: None, tx }).await?;
        for conversation in &erased {
            self.discard(*conversation).await?;
        }
        Ok(erased.len() as u64)
    }

    async fn sweep(&self, before_ms: u64, limit: usize) -> Result<u64, StoreError> {
        let (below, limit) = (Ids::floor(before_ms), limit.min(MOST));
        self.ask_chat(|tx| ChatOp::Sweep { below, limit, tx }).await
    }
}
