//! What became of each message that was accepted.

use crate::StoreError;

/// A step in the life of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// Taken over from the sender and being relayed; nothing stored.
    Accepted = 1,
    /// Taken over and on disk.
    Stored = 2,
    Delivered = 3,
    Expired = 4,
    Refused = 5,
    /// A receipt for it was sent to its sender.
    ReceiptSent = 6,
    /// A device did not take it and it is to be tried again.
    Deferred = 7,
    /// A push request for it went out.
    Pushed = 8,
}

impl Event {
    pub(crate) const ALL: [Event; 8] = [
        Event::Accepted,
        Event::Stored,
        Event::Delivered,
        Event::Expired,
        Event::Refused,
        Event::ReceiptSent,
        Event::Deferred,
        Event::Pushed,
    ];

    /// As it is printed and stored in text.
    pub fn name(self) -> &'static str {
        match self {
            Event::Accepted => "accepted",
            Event::Stored => "stored",
            Event::Delivered => "delivered",
            Event::Expired => "expired",
            Event::Refused => "refused",
            Event::ReceiptSent => "receipt-sent",
            Event::Deferred => "deferred",
            Event::Pushed => "pushed",
        }
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// IMDN Message-ID, where there is one.
    pub message_id: Option<Box<str>>,
    pub call_id: Box<str>,
    pub recipient: Box<str>,
    pub device: Option<Box<str>>,
    pub event: Event,
    /// SIP status, or 0.
    pub detail: u16,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
}

impl Fate {
    /// Whether it is about the message with this Message-ID or Call-ID.
    pub(crate) fn concerns(&self, id: &str) -> bool {
        self.message_id.as_deref() == Some(id) || *self.call_id == *id
    }
}

/// Messages that were ever stored, and what became of them; `accepted = stored + delivered + expired + refused`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub accepted: u64,
    /// Waiting now, counted from the queue itself.
    pub stored: u64,
    pub delivered: u64,
    pub expired: u64,
    pub refused: u64,
}

impl Counts {
    pub(crate) fn plus(&self, more: &Counts) -> Counts {
        Counts {
            accepted: self.accepted + more.accepted,
            stored: self.stored + more.stored,
            delivered: self.delivered + more.delivered,
            expired: self.expired + more.expired,
            refused: self.refused + more.refused,
        }
    }

    /// Whether no message went missing.
    pub fn balanced(&self) -> bool {
        self.accepted == self.stored + self.delivered + self.expired + self.refused
    }
}

/// Append-only record of fates. What the queue does is recorded in the queue's own write; `record` adds the rest. Appends
/// never meet. Suite: `suite::fates`.
#[async_trait::async_trait]
pub trait FateLog: Send + Sync {
    /// Adds entries behind the others. Visible to `lookup` at once, on disk within a second: a crash may lose the last.
    async fn record(&self, fates: Vec<Fate>) -> Result<(), StoreError>;

    /// All entries whose Message-ID or Call-ID is `id`, oldest first. May take a good part of a second.
    async fn lookup(&self, id: &str) -> Result<Vec<Fate>, StoreError>;

    /// Forgets entries that were written before `before_ms` (milliseconds since the epoch), perhaps sparing a few
    /// that were written together with later ones.
    async fn purge(&self, before_ms: u64) -> Result<(), StoreError>;

    /// Kept for ever, whatever `purge` forgets.
    async fn counts(&self) -> Result<Counts, StoreError>;
}
