//! Where users are registered.

use chappe_sip::registrar::Binding;

use crate::StoreError;

/// Version of the bindings of one AOR, never used again for that AOR, also not after all bindings were gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// No bindings are stored.
    pub const NONE: Revision = Revision(0);
}

/// The bindings of one AOR as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    pub aor: Box<str>,
    pub revision: Revision,
    pub bindings: Vec<Binding>,
}

/// Bindings by AOR. A `replace` names the revision it was computed from, so two devices that register at once cannot
/// lose each other's binding; a `save` overwrites. Everything of a binding is kept but `flow`, which reads back as
/// `None`. Suite: `suite::locations`.
#[async_trait::async_trait]
pub trait LocationStore: Send + Sync {
    /// The bindings and their revision; none and [`Revision::NONE`] where nothing is stored.
    async fn bindings(&self, aor: &str) -> Result<(Revision, Vec<Binding>), StoreError>;

    /// Writes `next` if the revision is still `seen`, else [`StoreError::Conflict`]. Durable on return. An empty
    /// `next` removes the record and gives [`Revision::NONE`].
    async fn replace(&self, aor: &str, seen: Revision, next: &[Binding]) -> Result<Revision, StoreError>;

    /// Overwrites the bindings of many AORs, whatever is stored; the later of two wins. For refreshes that follow
    /// behind: a crash of the machine may take back what was saved in the last seconds, a crash of the process not.
    async fn save(&self, batch: Vec<(Box<str>, Vec<Binding>)>) -> Result<(), StoreError>;

    /// Up to `limit` AORs after the one named, in an order of the store's own that does not change; fewer than `limit`
    /// means the end.
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Located>, StoreError>;

    /// Removes the bindings that lapsed at `now` (seconds since the epoch) or before, reading all: for rare use. One that
    /// is replaced meanwhile is left to the next call. Gives the number of bindings removed.
    async fn remove_expired(&self, now: u64) -> Result<u64, StoreError>;
}
