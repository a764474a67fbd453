//! Who may register.

use crate::StoreError;

/// H(user:realm:password) for each algorithm and each spelling of the user that clients have, in an encoding of the
/// caller's (RFC 7616 §3.4.2, RFC 8760). As good as the password for its realm, so it is never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secrets(pub [u8; Secrets::LEN]);

impl Secrets {
    /// Three spellings with 16, 32 and 32 bytes each.
    pub const LEN: usize = 240;
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// `user@domain`, canonical.
    pub aor: Box<str>,
    pub secrets: Secrets,
    /// Global numbers with the leading `+` and digits only (RFC 3966 §5.1.4). No two accounts share one.
    pub tel: Vec<Box<str>>,
    pub display_name: Box<str>,
    /// Seconds since the Unix epoch.
    pub created: u64,
    /// Kept, but may neither register nor send.
    pub disabled: bool,
    pub wishes: Wishes,
}

/// What a user has decided about others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// URIs whose messages are not wanted.
    pub blocked: Vec<Box<str>>,
    /// Nobody is to hear what was displayed.
    pub hides_displayed: bool,
}

impl Wishes {
    /// Whether there is nothing that needs to be kept.
    pub fn is_default(&self) -> bool {
        self.blocked.is_empty() && !self.hides_displayed
    }
}

/// Why an account was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    #[error("the account exists")]
    Exists,
    #[error("{tel} belongs to another account")]
    TelTaken { tel: Box<str> },
    #[error("no such account")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a transaction on accounts failed: the caller's fault, or the machine's.
pub(crate) enum Failed {
    Account(AccountError),
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Failed {
        Failed::Sql(error)
    }
}

impl From<AccountError> for Failed {
    fn from(error: AccountError) -> Failed {
        Failed::Account(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Account(error.into())
    }
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    pub added: u64,
    /// Position in the list and AOR of those left out, because the AOR or a number was taken.
    pub refused: Vec<(usize, Box<str>)>,
}

/// Accounts by AOR. Writes are durable on return and serial: of two that add the same AOR or number one succeeds and
/// the other is refused; of two updates the later wins whole. Suite: `suite::accounts`.
#[async_trait::async_trait]
pub trait AccountStore: Send + Sync {
    /// Adds an account; refuses an AOR or a number that is taken.
    async fn add(&self, account: Account) -> Result<(), AccountError>;

    /// Adds many, in order, leaving out those that `add` would refuse. Commits in pieces: an error may leave some added, and
    /// repeating the same list then reports those as refused.
    async fn import(&self, accounts: Vec<Account>) -> Result<Imported, StoreError>;

    /// Replaces everything but `aor` and `created` of an account that exists.
    async fn update(&self, account: Account) -> Result<(), AccountError>;

    async fn set_secrets(&self, aor: &str, secrets: Secrets) -> Result<(), AccountError>;

    /// Removes the account and frees its numbers; its bindings and queue are the caller's to remove.
    async fn remove(&self, aor: &str) -> Result<(), AccountError>;

    async fn account(&self, aor: &str) -> Result<Option<Account>, StoreError>;

    /// The AOR that a number belongs to.
    async fn aor_of(&self, tel: &str) -> Result<Option<Box<str>>, StoreError>;

    /// Up to `limit` accounts after the one named, in an order of the store's own that does not change; fewer than
    /// `limit` means the end.
    async fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<Account>, StoreError>;

    async fn count(&self) -> Result<u64, StoreError>;
}
