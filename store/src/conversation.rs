//! The history of conversations.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{Receipt, StoreError};

/// Names a conversation. Two names differ but for a chance of 2^-128. Printed as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId(pub [u8; 16]);

impl ConversationId {
    /// Of two users, whoever is named first.
    pub fn of(one: &str, other: &str) -> ConversationId {
        ConversationId::hash(2, &[one.min(other), one.max(other)])
    }

    /// Of a group, by the name that it keeps for its life.
    pub fn named(name: &str) -> ConversationId {
        ConversationId::hash(1, &[name])
    }

    fn hash(kind: u8, parts: &[&str]) -> ConversationId {
        let mut hash = Sha256::new();
        hash.update([kind]);
        for part in parts {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        ConversationId(std::array::from_fn(|at| digest[at]))
    }
}

impl std::fmt::Display for ConversationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a conversation: expected 32 hex digits")]
pub struct BadConversationId;

impl std::str::FromStr for ConversationId {
    type Err = BadConversationId;

    fn from_str(text: &str) -> Result<ConversationId, BadConversationId> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadConversationId);
        }
        u128::from_str_radix(text, 16).map(|n| ConversationId(n.to_be_bytes())).map_err(|_| BadConversationId)
    }
}

/// A message for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    pub conversation: ConversationId,
    /// Users who see the conversation from now on, beside those that did; AORs.
    pub members: Vec<Box<str>>,
    /// AOR or URI.
    pub author: Box<str>,
    /// IMDN Message-ID (RFC 5438 §6.3), where there is one.
    pub message_id: Option<Box<str>>,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// The message, in the caller's own encoding.
    pub content: Bytes,
    /// Stored only if this receipt was not seen before, and marks it as seen: so a repeated message has one entry. It is
    /// to differ from the `once` of queued messages.
    pub once: Option<Receipt>,
}

/// A message of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Given by the store, rising with time; never 0.
    pub id: u64,
    pub conversation: ConversationId,
    pub author: Box<str>,
    pub message_id: Option<Box<str>>,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    pub content: Bytes,
}

/// From where a conversation is read, and which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// From the newest backward.
    Newest,
    /// Backward from this id, without it.
    Before(u64),
    /// Forward from this id, without it; 0 for the oldest.
    After(u64),
}

impl Cursor {
    pub(crate) fn is_forward(self) -> bool {
        matches!(self, Cursor::After(_))
    }

    /// Ids lie between these, both excluded; nothing that was cleared is among them.
    pub(crate) fn bounds(self, cleared: u64) -> (u64, u64) {
        // What fits a signed column.
        const MOST: u64 = i64::MAX as u64;
        match self {
            Cursor::Newest => (cleared, MOST),
            Cursor::Before(id) => (cleared, id.min(MOST)),
            Cursor::After(id) => (cleared.max(id).min(MOST), MOST),
        }
    }
}

/// A part of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of the cursor.
    pub entries: Vec<Entry>,
    /// Whether there are more beyond the last.
    pub more: bool,
}

/// A conversation as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    pub id: ConversationId,
    /// All who ever saw it, in the order of their names.
    pub members: Vec<Box<str>>,
    pub last: Entry,
}

/// Entries, conversations or ids that one call gives or removes at most.
pub(crate) const MOST: usize = 1000;

/// What users wrote to each other. An entry is kept once for all members of its conversation; it comes in with
/// [`Write::entries`](crate::Write::entries), in the write that queues the message, and each member sees it until he erases it.
/// Ids rise with time. On PostgreSQL an entry may become visible a moment after one with a greater id, as messages of the
/// queue may (docs/decisions/0013): who follows a conversation by its last id reads some seconds again. No call gives more
/// than 1,000.
/// Suite: `suite::conversations`.
#[async_trait::async_trait]
pub trait Conversations: Send + Sync {
    /// Entries that `user` may see; none where he is no member.
    async fn page(
        &self,
        user: &str,
        conversation: ConversationId,
        from: Cursor,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// The user's conversations by their last entries, newest first, only those whose last is older than `before` (an id).
    /// Reads the names of all of them.
    async fn list(&self, user: &str, before: Option<u64>, limit: usize) -> Result<Vec<Conversation>, StoreError>;

    /// Hides all entries so far from one user; those that nobody sees any more are removed. Durable on return. False where
    /// he is no member.
    async fn erase(&self, user: &str, conversation: ConversationId) -> Result<bool, StoreError>;

    /// The same for all conversations of a user; gives their number.
    async fn erase_user(&self, user: &str) -> Result<u64, StoreError>;

    /// Removes up to `limit` of the oldest entries that were stored before `before_ms` (milliseconds since the epoch), and
    /// conversations that become empty; gives the number of entries. To be called again until it gives 0.
    async fn sweep(&self, before_ms: u64, limit: usize) -> Result<u64, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_of_two_has_one_name() {
        let of = ConversationId::of("a@d", "b@d");
        assert_eq!(of, ConversationId::of("b@d", "a@d"));
        assert_eq!(of.to_string().parse(), Ok(of));
        for other in [ConversationId::of("a@d", "c@d"), ConversationId::of("a@db", "@d"), ConversationId::named("a@d")]
        {
            assert_ne!(of, other);
        }
        for bad in ["", "xyz", "+1234567890123456789012345678901", &of.to_string()[1..]] {
            assert_eq!(bad.parse::<ConversationId>(), Err(BadConversationId), "{bad}");
        }
    }
}
