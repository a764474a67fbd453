//! Groups: their state, their members and one log for each.

use bytes::Bytes;

use crate::{Receipt, StoreError};

/// Why a group was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GroupError {
    /// Somebody changed it since it was read: read again, decide again.
    #[error("the group changed since it was read")]
    Changed,
    /// Another owner holds the lease: what this one knows of the group is old.
    #[error("the lease of the group has gone to another owner")]
    Fenced,
    #[error("no such group")]
    Unknown,
    /// A group with this Contribution-ID lives.
    #[error("there is a group of this Contribution-ID")]
    Exists(Box<str>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Somebody in a group, or who was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// AOR.
    pub user: Box<str>,
    /// Whether the group is among those of the user.
    pub active: bool,
    /// Role, state and the rest, in the caller's own encoding.
    pub data: Bytes,
}

/// A group without its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupHead {
    pub id: Box<str>,
    pub contribution_id: Box<str>,
    /// Of the state, rising by one with each change; a new group has 1.
    pub revision: u64,
    /// Sequence of the last entry of the log; 0 where there was none.
    pub last: u64,
    /// Subject and the rest, in the caller's own encoding.
    pub data: Bytes,
}

/// A whole group, members in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGroup {
    pub head: GroupHead,
    pub members: Vec<GroupMember>,
}

/// Whoever holds a group and until when, in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLease {
    pub owner: Box<str>,
    pub until_ms: u64,
}

/// A group to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    pub id: Box<str>,
    pub contribution_id: Box<str>,
    pub data: Bytes,
    pub members: Vec<GroupMember>,
    pub entries: Vec<NewGroupEntry>,
    pub lease: GroupLease,
}

/// A change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    pub id: Box<str>,
    /// The revision that it was computed from.
    pub seen: u64,
    /// Of the lease.
    pub token: u64,
    pub data: Bytes,
    /// Those that are new or changed. The cursors of one that is not active any more go.
    pub members: Vec<GroupMember>,
    /// What the log says of it.
    pub entries: Vec<NewGroupEntry>,
}

/// Something for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroupEntry {
    /// AOR of whom it is from; empty for the group itself.
    pub from: Box<str>,
    /// AOR of the only member that it is for.
    pub to: Option<Box<str>>,
    /// IMDN Message-ID.
    pub message_id: Option<Box<str>>,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// In the caller's own encoding.
    pub content: Bytes,
    /// Stored only if this was not seen before, and marks it as seen. For [`Groups::append`] only.
    pub once: Option<Receipt>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupEntry {
    /// Counts from 1 in each group, without gaps.
    pub seq: u64,
    pub from: Box<str>,
    pub to: Option<Box<str>>,
    pub message_id: Option<Box<str>>,
    pub at_ms: u64,
    pub content: Bytes,
}

/// Up to where a device of a member has the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupCursor {
    pub group: Box<str>,
    pub user: Box<str>,
    pub device: Box<str>,
    pub upto: u64,
}

/// Entries, groups or cursors that one call gives or removes at most.
pub(crate) const MOST: usize = 1000;

/// Groups by their ids. One owner at a time writes to a group: it holds a lease, whose token goes with each write, and a
/// write under an older token is refused. Of two that create a group of one Contribution-ID one succeeds and the other is
/// told which group there is. What is written is durable on return, but for cursors and renewals. Suite: `suite::groups`.
#[async_trait::async_trait]
pub trait Groups: Send + Sync {
    /// Makes a group with the token 1.
    async fn create(&self, new: NewGroup) -> Result<(), GroupError>;

    /// Changes state, members and log in one write; gives the sequence of the last entry.
    async fn change(&self, change: GroupChange) -> Result<u64, GroupError>;

    async fn load(&self, id: &str) -> Result<Option<StoredGroup>, StoreError>;

    /// The group of a Contribution-ID.
    async fn find(&self, contribution_id: &str) -> Result<Option<Box<str>>, StoreError>;

    /// Groups that a user is an active member of, in the order of their ids.
    async fn of_user(&self, user: &str) -> Result<Vec<Box<str>>, StoreError>;

    /// Groups after `after`, in an order of the store's own that does not change; fewer than `limit` (at most 1,000) means
    /// the end.
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<GroupHead>, StoreError>;

    /// Appends to the log in this order; gives their sequences, `None` for what was seen before.
    async fn append(&self, id: &str, token: u64, entries: Vec<NewGroupEntry>) -> Result<Vec<Option<u64>>, GroupError>;

    /// Entries above `after`, in their order, at most `limit` and at most 1,000.
    async fn read(&self, id: &str, after: u64, limit: usize) -> Result<Vec<GroupEntry>, StoreError>;

    /// Moves cursors forward; none moves back. A crash may take back those of the last seconds.
    async fn save_cursors(&self, cursors: Vec<GroupCursor>) -> Result<(), StoreError>;

    /// All cursors of a group, in their order.
    async fn cursors(&self, id: &str) -> Result<Vec<GroupCursor>, StoreError>;

    /// Takes the lease if it is free, has run out at `now_ms`, or is this owner's; gives a token above all before it.
    /// Otherwise `None`: another holds it.
    async fn claim(&self, id: &str, lease: GroupLease, now_ms: u64) -> Result<Option<u64>, GroupError>;

    /// Prolongs leases by their ids and tokens; tells for each whether it was still held.
    async fn renew(&self, leases: Vec<(Box<str>, u64)>, until_ms: u64) -> Result<Vec<bool>, StoreError>;

    /// Gives a lease free.
    async fn release(&self, id: &str, token: u64) -> Result<(), StoreError>;

    /// Removes the entries of a group up to `upto`.
    async fn trim(&self, id: &str, upto: u64) -> Result<(), StoreError>;

    /// Removes up to `limit` entries of all groups that were made before `before_ms`; gives their number. To be called
    /// again until it gives 0. Reads the log: for rare use.
    async fn sweep(&self, before_ms: u64, limit: usize) -> Result<u64, StoreError>;

    /// Removes a group with all that belongs to it, and frees its Contribution-ID.
    async fn remove(&self, id: &str, token: u64) -> Result<(), GroupError>;
}
