//! XML documents of users (XCAP), with what they were before.

use crate::StoreError;

/// Which document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// AOR of the user; empty for documents of the server.
    pub owner: Box<str>,
    /// The application usage.
    pub auid: Box<str>,
    pub name: Box<str>,
}

/// A document, or a version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub etag: Box<str>,
    /// Seconds since the epoch.
    pub modified: u64,
    pub text: Box<str>,
}

/// A document without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentHead {
    pub key: DocumentKey,
    pub etag: Box<str>,
    /// Seconds since the epoch.
    pub modified: u64,
    /// Bytes of the text.
    pub size: u64,
}

/// The change of one document.
#[derive(Debug, Clone)]
pub struct DocumentWrite {
    pub key: DocumentKey,
    /// Entity tag of the document that this was computed from; `None`: there was none.
    pub seen: Option<Box<str>>,
    /// `None`: the document goes.
    pub next: Option<Document>,
    /// Seconds since the epoch.
    pub at: u64,
    /// Names that the document has on the whole server, among all documents of its usage; `None`: its usage has none.
    pub claims: Option<Vec<Box<str>>>,
    /// Versions kept of what the document was before.
    pub keep: usize,
    /// Of the owner, with this document.
    pub most_documents: u64,
    pub most_bytes: u64,
}

/// Why a document was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DocumentError {
    /// Somebody wrote in between: read again, decide again.
    #[error("the document changed since it was read")]
    Changed,
    /// Names that other documents have.
    #[error("{} names are taken", .0.len())]
    Taken(Vec<Box<str>>),
    #[error("the owner has too many documents")]
    TooMany,
    #[error("the documents of the owner are too large")]
    TooLarge,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// XML documents by owner, usage and name. A write names the entity tag that it was computed from, so that of two that
/// change a document at once one is told; it is durable on return, and the text before, the names and the bounds go with
/// it in one. Suite: `suite::documents`.
#[async_trait::async_trait]
pub trait Documents: Send + Sync {
    async fn write(&self, write: DocumentWrite) -> Result<(), DocumentError>;

    async fn document(&self, key: &DocumentKey) -> Result<Option<Document>, StoreError>;

    /// All documents of an owner, in the order of their keys.
    async fn of_owner(&self, owner: &str) -> Result<Vec<DocumentHead>, StoreError>;

    /// Up to `limit` documents of one usage and name, with their owners, after the owner named, in the order of owners.
    async fn named(
        &self,
        auid: &str,
        name: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, Document)>, StoreError>;

    /// Which of these names documents of a usage have.
    async fn taken(&self, auid: &str, names: &[Box<str>]) -> Result<Vec<bool>, StoreError>;

    /// What the document was before, the latest first. It stays when the document goes.
    async fn versions(&self, key: &DocumentKey) -> Result<Vec<DocumentHead>, StoreError>;

    /// One of these, by its entity tag.
    async fn version(&self, key: &DocumentKey, etag: &str) -> Result<Option<Document>, StoreError>;

    /// Removes everything of an owner, versions too; gives the number of documents.
    async fn remove_owner(&self, owner: &str) -> Result<u64, StoreError>;
}
