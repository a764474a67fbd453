//! Files that users have uploaded: what is known of them. Their bytes lie elsewhere, by their hash.

use std::fmt;
use std::str::FromStr;

use crate::StoreError;

/// SHA-256 of content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of content")]
pub struct BadContentHash;

impl FromStr for ContentHash {
    type Err = BadContentHash;

    fn from_str(text: &str) -> Result<Self, BadContentHash> {
        let mut hash = [0; 32];
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return Err(BadContentHash);
        }
        let digit = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(BadContentHash),
        };
        for (at, pair) in bytes.chunks_exact(2).enumerate() {
            hash[at] = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(ContentHash(hash))
    }
}

/// A file; it ends with its thumbnail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Random: who knows it may read the file.
    pub id: Box<str>,
    /// AOR of who uploaded it.
    pub owner: Box<str>,
    /// Transfer id that the client made.
    pub tid: Option<Box<str>>,
    pub name: Box<str>,
    pub content_type: Box<str>,
    pub size: u64,
    pub hash: ContentHash,
    pub thumbnail: Option<StoredThumbnail>,
    /// Seconds since the epoch.
    pub created: u64,
    pub expires: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredThumbnail {
    pub content_type: Box<str>,
    pub size: u64,
    pub hash: ContentHash,
}

impl StoredFile {
    /// What it counts in the owner's quota: two files with the same content count twice.
    pub fn charge(&self) -> u64 {
        self.size + self.thumbnail.as_ref().map_or(0, |thumbnail| thumbnail.size)
    }

    /// The contents that it needs.
    pub fn hashes(&self) -> impl Iterator<Item = ContentHash> {
        [Some(self.hash), self.thumbnail.as_ref().map(|thumbnail| thumbnail.hash)].into_iter().flatten()
    }
}

/// What became of a file that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    Stored,
    /// Nothing was written: its owner has `used` so many bytes already.
    OverQuota {
        used: u64,
    },
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileUsage {
    pub files: u64,
    pub bytes: u64,
}

/// Uploaded files by their id. What somebody uses is counted from the files that are there, in the write that adds one:
/// of two that are added at once and fit only alone, one is refused. Suite: `suite::files`.
#[async_trait::async_trait]
pub trait Files: Send + Sync {
    /// Adds a file unless the owner's would be over `quota` bytes together.
    async fn add(&self, file: StoredFile, quota: u64) -> Result<Added, StoreError>;

    async fn file(&self, id: &str) -> Result<Option<StoredFile>, StoreError>;

    /// The file uploaded last with this transfer id.
    async fn of_transfer(&self, tid: &str) -> Result<Option<StoredFile>, StoreError>;

    /// What one owner uses, or all.
    async fn usage(&self, owner: Option<&str>) -> Result<FileUsage, StoreError>;

    /// Files with an id behind `after`, in its order; those of one owner, or of all.
    async fn list(&self, owner: Option<&str>, after: Option<&str>, limit: usize)
    -> Result<Vec<StoredFile>, StoreError>;

    /// Files that expire at `now` or before.
    async fn expired(&self, now: u64, limit: usize) -> Result<Vec<StoredFile>, StoreError>;

    /// Removes a file; false where there is none.
    async fn remove(&self, id: &str) -> Result<bool, StoreError>;

    /// Which of these contents a file needs.
    async fn needed(&self, hashes: &[ContentHash]) -> Result<Vec<bool>, StoreError>;
}
