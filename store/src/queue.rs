//! Messages that wait for their recipient (store-and-forward of pager messages, RFC 3428).

use bytes::Bytes;

use crate::{Counts, Event, Fate, NewEntry, News, Reached, Receipt, StoreError};

/// The receipts that the sender asked for (RFC 5438 §4), as bits, so that a queued message keeps them small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Wants(pub u8);

impl Wants {
    pub const POSITIVE_DELIVERY: Wants = Wants(1);
    pub const NEGATIVE_DELIVERY: Wants = Wants(2);
    pub const PROCESSING: Wants = Wants(4);
    pub const DISPLAY: Wants = Wants(8);
    /// No receipt: the sender was in a chat session, so that devices with sessions get it in one.
    pub const SESSION: Wants = Wants(16);

    pub fn contains(self, other: Wants) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of `other`.
    pub fn only(self, other: Wants) -> Wants {
        Wants(self.0 & other.0)
    }
}

impl std::ops::BitOr for Wants {
    type Output = Wants;

    fn bitor(self, other: Wants) -> Wants {
        Wants(self.0 | other.0)
    }
}

/// A message to be kept until it is settled. Strings have no limit here: the caller meets the wire's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// AOR it waits for.
    pub recipient: Box<str>,
    /// Device it waits for, as [`Binding::device`](chappe_sip::registrar::Binding::device) names it; `None`: whichever
    /// comes first.
    pub device: Option<Box<str>>,
    /// AOR or URI of the sender.
    pub sender: Box<str>,
    /// IMDN Message-ID (RFC 5438 §6.3), where there is one.
    pub message_id: Option<Box<str>>,
    pub call_id: Box<str>,
    /// What is needed to build the MESSAGE again, in the caller's own encoding.
    pub headers: Bytes,
    pub body: Bytes,
    /// Milliseconds since the epoch.
    pub accepted_ms: u64,
    /// Seconds since the epoch.
    pub expires_at: u64,
    pub wants: Wants,
    /// For a receipt made by the server: stored only if this receipt was not seen before, and marks it as seen in the same
    /// write.
    pub once: Option<Receipt>,
}

impl NewMessage {
    /// What it counts for against a quota, in bytes.
    pub fn size(&self) -> usize {
        self.headers.len() + self.body.len()
    }
}

impl NewMessage {
    /// The first entry of its log.
    pub(crate) fn stored(&self) -> Fate {
        Fate {
            message_id: self.message_id.clone(),
            call_id: self.call_id.clone(),
            recipient: self.recipient.clone(),
            device: self.device.clone(),
            event: Event::Stored,
            detail: 0,
            at_ms: self.accepted_ms,
        }
    }
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Given by the store, rising with time; never 0.
    pub id: u64,
    pub recipient: Box<str>,
    pub device: Option<Box<str>>,
    pub sender: Box<str>,
    pub message_id: Option<Box<str>>,
    pub call_id: Box<str>,
    pub headers: Bytes,
    pub body: Bytes,
    /// Milliseconds since the epoch.
    pub accepted_ms: u64,
    /// Seconds since the epoch.
    pub expires_at: u64,
    pub wants: Wants,
}

impl QueuedMessage {
    /// What it counts for against a quota, in bytes.
    pub fn size(&self) -> usize {
        self.headers.len() + self.body.len()
    }

    /// Ends the wait of this message. `device`: who took it, where that is known.
    pub fn settled(&self, outcome: Outcome, device: Option<&str>, detail: u16, at_ms: u64) -> Settlement {
        Settlement {
            id: self.id,
            recipient: self.recipient.clone(),
            device: device.map(Into::into).or_else(|| self.device.clone()),
            message_id: self.message_id.clone(),
            call_id: self.call_id.clone(),
            outcome,
            detail,
            at_ms,
        }
    }
}

/// How a stored message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The device (or another server) answered 2xx.
    Delivered,
    /// Its time was over.
    Expired,
    /// A final refusal, or the account or the operator took it away.
    Refused,
}

impl Outcome {
    fn event(self) -> Event {
        match self {
            Outcome::Delivered => Event::Delivered,
            Outcome::Expired => Event::Expired,
            Outcome::Refused => Event::Refused,
        }
    }

    pub(crate) fn count(self, counts: &mut Counts, by: u64) {
        match self {
            Outcome::Delivered => counts.delivered += by,
            Outcome::Expired => counts.expired += by,
            Outcome::Refused => counts.refused += by,
        }
    }
}

/// The end of a stored message: it is removed, and its fate recorded, in one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub id: u64,
    /// That of the queued message; a wrong one finds nothing.
    pub recipient: Box<str>,
    pub device: Option<Box<str>>,
    pub message_id: Option<Box<str>>,
    pub call_id: Box<str>,
    pub outcome: Outcome,
    /// SIP status, or 0.
    pub detail: u16,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
}

impl Settlement {
    pub(crate) fn fate(&self) -> Fate {
        Fate {
            message_id: self.message_id.clone(),
            call_id: self.call_id.clone(),
            recipient: self.recipient.clone(),
            device: self.device.clone(),
            event: self.outcome.event(),
            detail: self.detail,
            at_ms: self.at_ms,
        }
    }
}

/// A message that stays for one more device when another has taken it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCopy {
    /// Id of a message for any device ([`NewMessage::device`]) that the same write settles.
    pub of: u64,
    pub message: NewMessage,
}

/// One write: all of it or nothing is kept, also over a crash.
#[derive(Debug, Clone, Default)]
pub struct Write {
    pub append: Vec<NewMessage>,
    pub settle: Vec<Settlement>,
    /// Messages in the places, in the order of their recipients' queues, of those that this write settles. Where another
    /// write has settled one, that write's copies count, and these are not stored. `once` has no meaning here.
    pub copies: Vec<DeviceCopy>,
    /// More to be said of these or other messages, in the same write.
    pub fates: Vec<Fate>,
    /// For the history ([`Conversations`](crate::Conversations)).
    pub entries: Vec<NewEntry>,
    /// How far messages got ([`ReceiptStates`](crate::ReceiptStates)).
    pub reached: Vec<Reached>,
}

/// Answer to a [`Write`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// For each of `append`; `None` where its `once` had been seen before, so that nothing was stored.
    pub ids: Vec<Option<u64>>,
    /// For each of `settle`: whether the message was still there. Only then its outcome is counted and recorded.
    pub settled: Vec<bool>,
    /// For each of `copies` its id; `None` where what it is a copy of was not settled by this write.
    pub copies: Vec<Option<u64>>,
    /// For each of `entries`; `None` where its `once` had been seen before, so that nothing was stored.
    pub entries: Vec<Option<u64>>,
    /// For each of `reached` what was new.
    pub news: Vec<News>,
}

/// Whose messages are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub recipient: Box<str>,
    /// `Some`: those for this device and those for any. `None`: all.
    pub device: Option<Box<str>>,
    /// Only messages with a greater id; 0 for all.
    pub after: u64,
}

/// Messages that wait for one recipient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    pub count: u64,
    /// Sum of [`QueuedMessage::size`].
    pub bytes: u64,
}

/// The queue of every recipient. A write is durable on return. Ids rise with time, and within one `append` in the order
/// given; those of copies follow that of their original, before any that came after it; of two writes that settle the same message only one is told `true`. Suite: `suite::queue`.
#[async_trait::async_trait]
pub trait MessageQueue: Send + Sync {
    async fn write(&self, write: Write) -> Result<Written, StoreError>;

    /// Stores messages and records [`Event::Stored`](crate::Event::Stored) for each.
    async fn append(&self, messages: Vec<NewMessage>) -> Result<Vec<Option<u64>>, StoreError> {
        Ok(self.write(Write { append: messages, ..Write::default() }).await?.ids)
    }

    /// Removes messages and records their outcome.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<bool>, StoreError> {
        Ok(self.write(Write { settle: settlements, ..Write::default() }).await?.settled)
    }

    /// For each of `wanted` up to `limit` messages in the order of their ids, expired ones too.
    async fn pending(&self, wanted: &[Wanted], limit: usize) -> Result<Vec<Vec<QueuedMessage>>, StoreError>;

    /// Up to `limit` messages whose time was over at `now` (seconds since the epoch), of any recipient, in no order.
    /// They stay until they are settled, best in one write with the receipts that they cause.
    async fn expired(&self, now: u64, limit: usize) -> Result<Vec<QueuedMessage>, StoreError>;

    /// Exact, and cheap however long the queue is.
    async fn depth(&self, recipient: &str) -> Result<Depth, StoreError>;

    /// Up to `limit` recipients that have messages, in an order of the store's own that does not change.
    async fn depths(&self, after: Option<&str>, limit: usize) -> Result<Vec<(Box<str>, Depth)>, StoreError>;
}
