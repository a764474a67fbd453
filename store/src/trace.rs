//! What tells of one user in records that are not his alone, for whoever erases him.

use bytes::Bytes;

use crate::{GroupError, GroupMember, NewGroupEntry, QueuedMessage, StoreError, codec};

/// What is to be done so that a user has never been in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupErasure {
    pub id: Box<str>,
    /// Of the lease.
    pub token: u64,
    /// Names of the members that go.
    pub users: Vec<Box<str>>,
    /// The revision that it was computed from.
    pub seen: u64,
    /// The state of the group, in the caller's own encoding.
    pub data: Bytes,
    /// Members whose records named one of them, without that.
    pub members: Vec<GroupMember>,
    /// Sequences of entries that go. In place of each stays an entry of the group itself with this content, for sequences have no
    /// gaps.
    pub entries: Vec<u64>,
    pub blank: Bytes,
}

impl GroupErasure {
    /// What stays in the place of an entry, encoded.
    pub(crate) fn row(&self) -> Vec<u8> {
        codec::put_group_entry(&NewGroupEntry {
            from: Box::default(),
            to: None,
            message_id: None,
            at_ms: 0,
            content: self.blank.clone(),
            once: None,
        })
    }
}

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traced {
    /// Conversations of two that went, and those that the user is not in any more.
    pub conversations: u64,
    /// Entries of the history.
    pub entries: u64,
    /// Records of what became of messages to the user.
    pub fates: u64,
}

/// Finds and erases a user by `names`: his AOR and his numbers, as they are written in records. Names are looked for as bytes, so what is
/// found may be of another whose name contains the one that is asked for: the caller looks again. All of it reads whole
/// tables: for rare use. Suite: `suite::traces`.
#[async_trait::async_trait]
pub trait Traces: Send + Sync {
    /// Up to `limit` messages that wait, for whomever, in which a name stands, with ids above `after`, in their order.
    async fn queued_with(&self, names: &[Box<str>], after: u64, limit: usize)
    -> Result<Vec<QueuedMessage>, StoreError>;

    /// Groups that have a user of such a name among their members of now or before, or a name in their log.
    async fn groups_with(&self, names: &[Box<str>]) -> Result<Vec<Box<str>>, StoreError>;

    /// Takes a user out of a group, with his cursors, and blanks entries, in one write that is durable on return. The revision
    /// rises by one.
    async fn erase_member(&self, erasure: GroupErasure) -> Result<(), GroupError>;

    /// Removes conversations of two that one of `names` is in, what they wrote in others, and what became of messages to them.
    /// Durable on return. A second call finds nothing.
    async fn erase_traces(&self, names: &[Box<str>]) -> Result<Traced, StoreError>;

    /// Overwrites what rows that are gone have left in the files of the store; false where only the engine's own upkeep does
    /// that. Writers wait meanwhile: SQLite writes its file anew.
    async fn scrub(&self) -> Result<bool, StoreError>;
}

/// Whether a name stands anywhere in some bytes.
pub(crate) fn stands_in(names: &[Box<str>], bytes: &[u8]) -> bool {
    names.iter().any(|name| !name.is_empty() && bytes.windows(name.len()).any(|window| window == name.as_bytes()))
}
