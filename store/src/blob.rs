//! Content by its hash: on the local disk, or in an object store.

mod disk;
mod objects;

use std::io;
use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::spawn_blocking;

use crate::{ContentHash, StoreError};

pub use disk::DiskBlobs;
pub use objects::{ObjectBlobs, S3};

/// Content as it is read.
pub type BlobStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Content by its hash. The same content put twice is kept once; who counts what needs it is the caller.
#[async_trait::async_trait]
pub trait Blobs: Send + Sync {
    /// Takes over a finished local file. After this it is under its hash and survives a power cut, and `file` is gone.
    async fn put(&self, hash: ContentHash, file: &Path) -> Result<(), StoreError>;

    /// `length` bytes from `first` on; `None` where there is no such content. Less is there only where `first` and
    /// `length` go beyond its end.
    async fn read(&self, hash: ContentHash, first: u64, length: u64) -> Result<Option<BlobStream>, StoreError>;

    /// False where there was none.
    async fn remove(&self, hash: ContentHash) -> Result<bool, StoreError>;

    /// The contents whose hash begins with this byte.
    async fn list(&self, first_byte: u8) -> Result<Vec<ContentHash>, StoreError>;
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, StoreError> {
    Ok(spawn_blocking(work).await.map_err(io::Error::other)??)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::TryStreamExt as _;

    use super::*;

    const BLOCK: usize = 256 * 1024;

    async fn content(blobs: &dyn Blobs, hash: ContentHash, first: u64, length: u64) -> Option<Vec<u8>> {
        let stream = blobs.read(hash, first, length).await.unwrap()?;
        let blocks: Vec<Bytes> = stream.try_collect().await.unwrap();
        Some(blocks.concat())
    }

    /// What every back end does; afterwards nothing is there.
    pub(super) async fn content_is_kept_once_and_read_in_parts(blobs: &dyn Blobs) {
        let dir = tempfile::tempdir().unwrap();
        let hash = ContentHash([0xab; 32]);
        let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|n| (n / 7) as u8).collect();
        assert_eq!(content(blobs, hash, 0, 1).await, None);
        assert_eq!(content(blobs, hash, 0, 0).await, None);
        for round in 0..2 {
            let file = dir.path().join("new");
            fs::write(&file, &bytes).unwrap();
            blobs.put(hash, &file).await.unwrap();
            assert!(!file.exists(), "round {round}");
        }
        assert_eq!(content(blobs, hash, 0, bytes.len() as u64).await.as_deref(), Some(&bytes[..]));
        let (first, length) = (BLOCK - 5, BLOCK + 10);
        assert_eq!(content(blobs, hash, first as u64, length as u64).await.unwrap(), bytes[first..][..length]);
        assert_eq!(content(blobs, hash, 9, 0).await.unwrap(), b"");
        assert_eq!(blobs.list(0xab).await.unwrap(), [hash]);
        assert_eq!(blobs.list(0xac).await.unwrap(), []);
        assert!(blobs.remove(hash).await.unwrap());
        assert!(!blobs.remove(hash).await.unwrap());
        assert_eq!(blobs.list(0xab).await.unwrap(), []);
    }
}
