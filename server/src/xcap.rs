//! XML documents of users: who may do what with which, what the server makes itself, and who hears of changes.
//!
//! Decisions about documents are in [`chappe_xcap`]; this loads, asks, stores and tells. Documents used lately are in memory
//! (docs/decisions/0050).

mod cache;
mod contacts;
mod door;
mod edit;
pub mod feed;
mod read;

use std::sync::Arc;

use chappe_store::{Document, DocumentKey, Documents, StoreError};
use chappe_xcap::{DocumentSelector, Limits, Patch, canonical_xui};
use parking_lot::RwLock;

use self::cache::Cache;
use crate::core::Core;

pub use contacts::ContactsDoor;
pub use door::XcapDoor;

/// Bounds and customs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Absolute, without a slash at the end.
    pub root: Box<str>,
    pub limits: Limits,
    /// Versions kept of what a document was before.
    pub versions: usize,
    pub documents_per_user: u64,
    pub bytes_per_user: u64,
    /// Lists that RCS phones expect are there before anybody has written them.
    pub rcs_lists: bool,
    /// Bytes of documents in memory.
    pub cache: usize,
}

/// A document has changed, and is on disk.
#[derive(Debug, Clone)]
pub struct DocumentChange {
    pub key: DocumentKey,
    /// As others name it: the XUI is the SIP address of the owner.
    pub selector: DocumentSelector,
    /// `None`: it is new.
    pub before: Option<Arc<Document>>,
    /// `None`: it is gone.
    pub after: Option<Arc<Document>>,
    /// What leads from the one to the other, for a change to a node.
    pub patch: Option<Patch>,
}

/// Hears of every change, in the order of the changes of each document. Must not block, and must not ask for documents
/// before it has returned.
pub trait DocumentWatcher: Send + Sync + 'static {
    fn changed(&self, core: &Arc<Core>, change: &DocumentChange);
}

/// All documents.
pub struct Xcap {
    pub(crate) settings: Settings,
    documents: Arc<dyn Documents>,
    cache: Cache,
    /// One writer at a time for each user, and no reader that would bring back what a writer has replaced.
    locks: Box<[tokio::sync::Mutex<()>]>,
    hasher: ahash::RandomState,
    watchers: RwLock<Vec<Arc<dyn DocumentWatcher>>>,
}

const LOCKS: usize = 256;

impl Xcap {
    pub fn new(settings: Settings, documents: Arc<dyn Documents>) -> Xcap {
        Xcap {
            cache: Cache::new(settings.cache),
            settings,
            documents,
            locks: (0..LOCKS).map(|_| tokio::sync::Mutex::new(())).collect(),
            hasher: ahash::RandomState::new(),
            watchers: RwLock::default(),
        }
    }

    /// From now on `watcher` hears of changes.
    pub fn watch(&self, watcher: Arc<dyn DocumentWatcher>) {
        self.watchers.write().push(watcher);
    }

    /// The document as it is on disk.
    pub async fn read(&self, key: &DocumentKey) -> Result<Option<Arc<Document>>, StoreError> {
        if let Some(known) = self.cache.get(key) {
            return Ok(known);
        }
        let _lock = self.lock(&key.owner).await;
        self.load(key).await
    }

    /// The same with the lock of the owner held.
    async fn load(&self, key: &DocumentKey) -> Result<Option<Arc<Document>>, StoreError> {
        if let Some(known) = self.cache.get(key) {
            return Ok(known);
        }
        let found = self.documents.document(key).await?.map(Arc::new);
        self.cache.put(key.clone(), found.clone());
        Ok(found)
    }

    async fn lock(&self, owner: &str) -> tokio::sync::MutexGuard<'_, ()> {
        self.locks[self.hasher.hash_one(owner) as usize % LOCKS].lock().await
    }

    fn tell(&self, core: &Arc<Core>, change: &DocumentChange) {
        let watchers = self.watchers.read().clone();
        watchers.iter().for_each(|watcher| watcher.changed(core, change));
    }

    /// Forgets a user whose account is gone.
    pub async fn remove_owner(&self, owner: &str) -> Result<(), StoreError> {
        let _lock = self.lock(owner).await;
        self.documents.remove_owner(owner).await?;
        self.cache.forget(owner);
        Ok(())
    }
}

/// Whose documents an XUI names.
pub fn owner_of(core: &Core, xui: &str) -> Option<Box<str>> {
    let name = canonical_xui(xui);
    let directory = &core.directory;
    let found = match name.rsplit_once('@') {
        Some((user, _)) => directory.find(&name).or_else(|| {
            // A number as the user part of one of our domains.
            let ours = core.settings.domains.iter().any(|domain| name.ends_with(&format!("@{domain}")));
            ours.then(|| directory.find_tel(user)).flatten()
        }),
        None => directory.find_tel(&name).or_else(|| {
            let domain = core.settings.domains.first()?;
            directory.find(&format!("{name}@{domain}"))
        }),
    };
    found.map(|entry| entry.aor.clone())
}

/// As others name a document of a user.
fn selector_of(key: &DocumentKey) -> DocumentSelector {
    DocumentSelector::of_user(&key.auid, &format!("sip:{}", key.owner), &key.name)
}

/// A new entity tag: not one that a document has had.
fn new_etag() -> Box<str> {
    crate::random::bytes::<10>().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests;
