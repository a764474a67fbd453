//! Devices that users had, also while they are away.

use crate::StoreError;

/// A device that registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub aor: Box<str>,
    /// As [`Binding::device`](chappe_sip::registrar::Binding::device) names it.
    pub device: Box<str>,
    /// Seconds since the epoch.
    pub at: u64,
    /// Parameters of its Contact, which tell what it can do.
    pub params: Box<str>,
    pub user_agent: Box<str>,
}

/// A known device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub device: Box<str>,
    /// Seconds since the epoch, as are those of `last_seen`.
    pub first_seen: u64,
    pub last_seen: u64,
    pub params: Box<str>,
    pub user_agent: Box<str>,
}

/// Devices kept for a user; the one not seen for longest makes room.
pub(crate) const KEPT: usize = 32;

/// The devices of each AOR, kept after their bindings. Of two reports on a device the one with the later time stays, and
/// the earliest time of all is its `first_seen`. At most 32 are kept for an AOR. Suite: `suite::devices`.
#[async_trait::async_trait]
pub trait Devices: Send + Sync {
    /// Notes devices. For reports that follow behind: a crash of the machine may take back those of the last seconds, a
    /// crash of the process not.
    async fn seen(&self, batch: Vec<Seen>) -> Result<(), StoreError>;

    /// The devices of an AOR, those seen last first.
    async fn of(&self, aor: &str) -> Result<Vec<Device>, StoreError>;

    /// Up to `limit` devices of all AORs after the one named (AOR, device), in an order of the store's own that does not
    /// change; fewer than `limit` means the end.
    async fn all(&self, after: Option<(&str, &str)>, limit: usize) -> Result<Vec<(Box<str>, Device)>, StoreError>;

    /// Forgets one device, or all of an AOR; gives their number.
    async fn remove(&self, aor: &str, device: Option<&str>) -> Result<u64, StoreError>;

    /// Forgets devices last seen before `before` (seconds since the epoch), reading all: for rare use. Gives their number.
    async fn forget(&self, before: u64) -> Result<u64, StoreError>;
}
