//! Receipts once only.

use sha2::{Digest, Sha256};

use crate::StoreError;

/// What a receipt says (RFC 5438 §7.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReceiptState {
    Delivered = 1,
    Failed = 2,
    Displayed = 3,
    Processed = 4,
    Stored = 5,
    Error = 6,
    Forbidden = 7,
    /// Not told to anybody: the message itself was taken, so that a second copy is known.
    Accepted = 8,
}

/// The identity of a receipt: repeated ones are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Of the message that it is about.
    pub message_id: Box<str>,
    /// Sender of that message: Message-IDs are unique only for one sender.
    pub sender: Box<str>,
    /// Who received (displayed, …) it.
    pub recipient: Box<str>,
    pub state: ReceiptState,
}

impl Receipt {
    /// Short name of this receipt. Two differ but for a chance of 2^-64.
    pub(crate) fn key(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update([self.state as u8]);
        for part in [&self.message_id, &self.sender, &self.recipient] {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        u64::from_le_bytes(std::array::from_fn(|at| digest[at]))
    }
}

/// Remembers receipts. Of many calls with the same receipt exactly one is told `true`. Suite: `suite::receipts`.
#[async_trait::async_trait]
pub trait Receipts: Send + Sync {
    /// For each receipt whether it was never seen before, and marks it as seen at `now` (seconds since the epoch).
    /// Durable on return.
    async fn first(&self, receipts: Vec<Receipt>, now: u64) -> Result<Vec<bool>, StoreError>;

    /// For each receipt whether it was seen before and is not forgotten; marks nothing.
    async fn known(&self, receipts: Vec<Receipt>) -> Result<Vec<bool>, StoreError>;

    /// Forgets receipts seen before `before` (seconds since the epoch), sparing up to a day's more.
    async fn forget(&self, before: u64) -> Result<(), StoreError>;
}
