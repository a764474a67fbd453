//! Who is signed in: devices with a log-in of their own, and holders of tokens.

use crate::StoreError;

/// How something signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SignInKind {
    /// A handset that was configured, with a name and a password of its own.
    Device = 1,
    /// A client that was given tokens.
    Token = 2,
}

/// Something that is signed in for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// AOR.
    pub aor: Box<str>,
    /// Unique for the user.
    pub id: Box<str>,
    pub kind: SignInKind,
    /// As a person knows it.
    pub name: Box<str>,
    /// Seconds since the epoch, as are those that follow.
    pub created: u64,
    pub last_seen: u64,
    /// Not good any more from then on; 0: for ever.
    pub expires: u64,
    /// How often it was renewed: what renews it counts along, so that a copy that was used before is known.
    pub turn: u64,
    /// What it may be used for, separated by blanks.
    pub scope: Box<str>,
}

/// Sign-ins by user and id. Of two writes of one the later stays whole. Suite: `suite::sign_ins`.
#[async_trait::async_trait]
pub trait SignIns: Send + Sync {
    /// Adds or replaces; durable on return.
    async fn put(&self, sign_in: SignIn) -> Result<(), StoreError>;

    /// Takes one of a user away, or all; durable on return. Gives their number.
    async fn sign_out(&self, aor: &str, id: Option<&str>) -> Result<u64, StoreError>;

    /// Up to `limit` behind the one named (AOR, id), in an order of the store's own that does not change; fewer than `limit` means the
    /// end.
    async fn sign_ins(&self, after: Option<(&str, &str)>, limit: usize) -> Result<Vec<SignIn>, StoreError>;
}
