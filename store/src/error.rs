//! What can go wrong below the traits.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// The engine's own error, shared because one failed commit answers many callers.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a store could not do what was asked. Only `Conflict` is about the data; the rest is about the machine.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody wrote in between: read again, decide again.
    #[error("the record changed since it was read")]
    Conflict,
    /// No room on the disk. Nothing of the write was kept; it works again once there is room.
    #[error("no space left for the store")]
    Full,
    /// The engine cannot be reached or cannot write just now; trying later may help.
    #[error("the store is unavailable: {0}")]
    Unavailable(Cause),
    /// Another process holds the data directory.
    #[error("{} is in use by {}", path.display(), pid.map_or("another process".into(), |pid| format!("process {pid}")))]
    InUse { path: PathBuf, pid: Option<u32> },
    /// Written by a newer Chappe: never touched, since its meaning is unknown.
    #[error("the store has schema {found}, this program knows up to {known}: use the newer program")]
    NewerSchema { found: i64, known: i64 },
    /// A record that cannot be read back.
    #[error("damaged record: {what}")]
    Corrupt { what: &'static str },
    /// The `store.url` of the configuration.
    #[error("store url: expected `sqlite:`, `sqlite:FILE`, `memory:` or `postgres://…`, found `{found}`")]
    BadUrl { found: String },
    /// This back end leaves it to the engine's own tools.
    #[error("{operation} is not offered by this store; use {instead}")]
    Unsupported { operation: &'static str, instead: &'static str },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later without anything being changed by the caller.
    pub fn is_temporary(&self) -> bool {
        matches!(self, StoreError::Full | StoreError::Unavailable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        if matches!(error, sqlx::Error::PoolClosed) {
            return StoreError::Closed;
        }
        // SQLite gives its extended result code in decimal; the low byte is the primary code (13 = SQLITE_FULL).
        // PostgreSQL gives SQLSTATE: 53100 is disk_full.
        let code = error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned());
        match code.as_deref() {
            Some("53100") => StoreError::Full,
            // Five characters are a SQLSTATE, never an SQLite code that ends in 13 below 2^12.
            Some(code) if code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 13) => StoreError::Full,
            _ => StoreError::Unavailable(Arc::new(error)),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> StoreError {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full,
            _ => StoreError::Unavailable(Arc::new(error)),
        }
    }
}
