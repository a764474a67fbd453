//! From a URL to stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::memory::Memory;
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::{
    AccountStore, Conversations, Devices, Documents, FateLog, Files, Groups, LocationStore, MessageQueue,
    ReceiptStates, Receipts, SignIns, StoreError, Traces,
};

/// The `store.url` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:` is the file `chappe.db` in the data directory, `sqlite:FILE` another (relative to the data directory).
    Sqlite(Option<PathBuf>),
    /// `memory:`, gone with the process.
    Memory,
    /// `postgres://…` or `postgresql://…`, as libpq writes it.
    Postgres(String),
}

impl std::str::FromStr for StoreUrl {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<StoreUrl, StoreError> {
        match url.split_once(':') {
            Some(("sqlite", "")) => Ok(StoreUrl::Sqlite(None)),
            // `sqlite:///file` is how others write an absolute path.
            Some(("sqlite", file)) => Ok(StoreUrl::Sqlite(Some(file.strip_prefix("//").unwrap_or(file).into()))),
            Some(("memory", "")) => Ok(StoreUrl::Memory),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => Ok(StoreUrl::Postgres(url.into())),
            // What follows the colon may hold a password.
            _ => Err(StoreError::BadUrl { found: url.split(':').next().unwrap_or_default().into() }),
        }
    }
}

/// One of each store, all on the same back end. Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    pub accounts: Arc<dyn AccountStore>,
    pub locations: Arc<dyn LocationStore>,
    pub queue: Arc<dyn MessageQueue>,
    pub fates: Arc<dyn FateLog>,
    pub receipts: Arc<dyn Receipts>,
    pub devices: Arc<dyn Devices>,
    pub conversations: Arc<dyn Conversations>,
    pub receipt_states: Arc<dyn ReceiptStates>,
    pub groups: Arc<dyn Groups>,
    pub files: Arc<dyn Files>,
    pub documents: Arc<dyn Documents>,
    pub traces: Arc<dyn Traces>,
    pub sign_ins: Arc<dyn SignIns>,
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    Memory,
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.engine {
            Engine::Memory => "Stores(memory)",
            Engine::Sqlite(_) => "Stores(sqlite)",
            Engine::Postgres(_) => "Stores(postgres)",
        })
    }
}

impl Stores {
    /// Opens the store that `url` names (see [`StoreUrl`]), creates or migrates it where needed, and makes it this
    /// process's own, unless it is PostgreSQL: a second process gets [`StoreError::InUse`].
    pub async fn open(url: &str, data_dir: &Path) -> Result<Stores, StoreError> {
        match url.parse()? {
            StoreUrl::Memory => Ok(Stores::memory()),
            StoreUrl::Sqlite(file) => {
                let path = data_dir.join(file.as_deref().unwrap_or(Path::new("chappe.db")));
                let store = Arc::new(Sqlite::open(&path).await?);
                Ok(Stores::over(store.clone(), Engine::Sqlite(store)))
            }
            StoreUrl::Postgres(url) => {
                let store = Arc::new(Postgres::open(&url).await?);
                Ok(Stores::over(store.clone(), Engine::Postgres(store)))
            }
        }
    }

    /// Stores that are gone with the process.
    pub fn memory() -> Stores {
        Stores::over(Arc::new(Memory::new()), Engine::Memory)
    }

    fn over<S>(store: Arc<S>, engine: Engine) -> Stores
    where
        S: AccountStore + LocationStore + MessageQueue + FateLog + Receipts,
        S: Devices + Conversations + ReceiptStates + Groups + Files + Documents + Traces + SignIns + 'static,
    {
        Stores {
            accounts: store.clone(),
            locations: store.clone(),
            queue: store.clone(),
            fates: store.clone(),
            receipts: store.clone(),
            devices: store.clone(),
            conversations: store.clone(),
            receipt_states: store.clone(),
            groups: store.clone(),
            files: store.clone(),
            documents: store.clone(),
            traces: store.clone(),
            sign_ins: store,
            engine,
        }
    }

    /// Writes a complete copy, as of now, to a file that must not exist yet, while the server goes on.
    pub async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(store) => store.backup(file).await,
            Engine::Postgres(_) => Err(StoreError::Unsupported { operation: "backup", instead: "pg_dump" }),
            Engine::Memory => Err(StoreError::Unsupported { operation: "backup", instead: "another store" }),
        }
    }

    /// Writes what is still to be written and gives the store free. What is asked of it afterwards fails.
    pub async fn close(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(store) => store.close().await,
            Engine::Postgres(store) => {
                store.close().await;
                Ok(())
            }
            Engine::Memory => Ok(()),
        }
    }
}
