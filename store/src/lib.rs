//! Storage traits in domain words, with memory, SQLite and PostgreSQL back ends.
//!
//! [`Stores::open`] gives one of each trait; nothing above this crate speaks SQL. Every call is a whole operation
//! (append a batch, compare and set, settle), and every trait says what happens when two writers meet. All back ends
//! run the one suite of tests in `suite`.
//!
//! Addresses of record are canonical `user@domain` strings; the store compares their bytes.

mod account;
mod backlog;
mod blob;
mod codec;
mod conversation;
mod device;
mod document;
mod error;
mod fate;
mod file;
mod group;
mod ids;
mod location;
mod memory;
mod postgres;
mod queue;
mod reached;
mod receipt;
mod sign_in;
mod sqlite;
mod stores;
#[cfg(test)]
mod suite;
mod trace;

pub use account::{Account, AccountError, AccountStore, Imported, Secrets, Wishes};
pub use blob::{BlobStream, Blobs, DiskBlobs, ObjectBlobs, S3};
pub use conversation::{BadConversationId, Conversation, ConversationId, Conversations, Cursor, Entry, NewEntry, Page};
pub use device::{Device, Devices, Seen};
pub use document::{Document, DocumentError, DocumentHead, DocumentKey, DocumentWrite, Documents};
pub use error::{Cause, StoreError};
pub use fate::{Counts, Event, Fate, FateLog};
pub use file::{Added, BadContentHash, ContentHash, FileUsage, Files, StoredFile, StoredThumbnail};
pub use group::{
    GroupChange, GroupCursor, GroupEntry, GroupError, GroupHead, GroupLease, GroupMember, Groups, NewGroup,
    NewGroupEntry, StoredGroup,
};
pub use location::{Located, LocationStore, Revision};
pub use queue::{
    Depth, DeviceCopy, MessageQueue, NewMessage, Outcome, QueuedMessage, Settlement, Wanted, Wants, Write, Written,
};
pub use reached::{News, Reached, ReceiptStates, ReceiptStatus, Step, Way};
pub use receipt::{Receipt, ReceiptState, Receipts};
pub use sign_in::{SignIn, SignInKind, SignIns};
pub use stores::{StoreUrl, Stores};
pub use trace::{GroupErasure, Traced, Traces};
