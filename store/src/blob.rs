//! Content by its hash, on the local disk.
//!
//! ```text
//! DIR/ab/ab12…   64 hexadecimal digits, in 256 folders
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::task::spawn_blocking;

use crate::{ContentHash, StoreError};

/// Bytes read at a time.
const BLOCK: usize = 256 * 1024;

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

/// A folder on the local disk.
#[derive(Debug, Clone)]
pub struct DiskBlobs {
    dir: PathBuf,
}

impl DiskBlobs {
    /// Creates the folder where it is not there; what is put has to lie in the same file system.
    pub fn open(dir: &Path) -> Result<DiskBlobs, StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(DiskBlobs { dir: dir.to_owned() })
    }

    fn folder(&self, first_byte: u8) -> PathBuf {
        self.dir.join(format!("{first_byte:02x}"))
    }

    fn path(&self, hash: ContentHash) -> PathBuf {
        self.folder(hash.0[0]).join(hash.to_string())
    }
}

#[async_trait::async_trait]
impl Blobs for DiskBlobs {
    async fn put(&self, hash: ContentHash, file: &Path) -> Result<(), StoreError> {
        let (dir, folder, path, file) = (self.dir.clone(), self.folder(hash.0[0]), self.path(hash), file.to_owned());
        blocking(move || {
            if path.try_exists()? {
                return fs::remove_file(&file);
            }
            if !folder.try_exists()? {
                fs::create_dir(&folder).or_else(unless(io::ErrorKind::AlreadyExists))?;
                File::open(&dir)?.sync_all()?;
            }
            File::open(&file)?.sync_all()?;
            fs::rename(&file, &path)?;
            File::open(&folder)?.sync_all()
        })
        .await
    }

    async fn read(&self, hash: ContentHash, first: u64, length: u64) -> Result<Option<BlobStream>, StoreError> {
        let path = self.path(hash);
        let opened = blocking(move || {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            file.seek(SeekFrom::Start(first))?;
            Ok(Some(file))
        });
        let Some(file) = opened.await? else { return Ok(None) };
        let blocks = futures_util::stream::try_unfold((file, length), |(mut file, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let size = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let read = spawn_blocking(move || {
                let mut block = BytesMut::zeroed(size);
                file.read_exact(&mut block)?;
                Ok::<_, io::Error>((block.freeze(), file))
            });
            let (block, file) = read.await.map_err(io::Error::other)??;
            Ok(Some((block, (file, left - size as u64))))
        });
        Ok(Some(Box::pin(blocks)))
    }

    async fn remove(&self, hash: ContentHash) -> Result<bool, StoreError> {
        let path = self.path(hash);
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    async fn list(&self, first_byte: u8) -> Result<Vec<ContentHash>, StoreError> {
        let folder = self.folder(first_byte);
        blocking(move || {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let mut found = Vec::new();
            for entry in entries {
                // What is named otherwise is not ours.
                if let Some(hash) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                    found.push(hash);
                }
            }
            Ok(found)
        })
        .await
    }
}

fn unless(kind: io::ErrorKind) -> impl Fn(io::Error) -> io::Result<()> {
    move |error| if error.kind() == kind { Ok(()) } else { Err(error) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, StoreError> {
    Ok(spawn_blocking(work).await.map_err(io::Error::other)??)
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn content(blobs: &DiskBlobs, hash: ContentHash, first: u64, length: u64) -> Option<Vec<u8>> {
        let stream = blobs.read(hash, first, length).await.unwrap()?;
        let blocks: Vec<Bytes> = stream.try_collect().await.unwrap();
        Some(blocks.concat())
    }

    #[tokio::test]
    async fn content_is_kept_once_and_read_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(&dir.path().join("blobs")).unwrap();
        let hash = ContentHash([0xab; 32]);
        let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|n| (n / 7) as u8).collect();
        assert_eq!(content(&blobs, hash, 0, 1).await, None);
        for round in 0..2 {
            let file = dir.path().join("new");
            fs::write(&file, &bytes).unwrap();
            blobs.put(hash, &file).await.unwrap();
            assert!(!file.exists(), "round {round}");
        }
        assert_eq!(content(&blobs, hash, 0, bytes.len() as u64).await.as_deref(), Some(&bytes[..]));
        let (first, length) = (BLOCK - 5, BLOCK + 10);
        assert_eq!(content(&blobs, hash, first as u64, length as u64).await.unwrap(), bytes[first..][..length]);
        assert_eq!(content(&blobs, hash, 9, 0).await.unwrap(), b"");
        fs::write(dir.path().join("blobs/ab/lost+found"), "x").unwrap();
        assert_eq!(blobs.list(0xab).await.unwrap(), [hash]);
        assert_eq!(blobs.list(0xac).await.unwrap(), []);
        assert!(blobs.remove(hash).await.unwrap());
        assert!(!blobs.remove(hash).await.unwrap());
        assert_eq!(blobs.list(0xab).await.unwrap(), []);
    }

    #[tokio::test]
    async fn who_reads_it_has_it_to_its_end_although_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(dir.path()).unwrap();
        let hash = ContentHash([1; 32]);
        fs::write(dir.path().join("new"), vec![7; 2 * BLOCK]).unwrap();
        blobs.put(hash, &dir.path().join("new")).await.unwrap();
        let mut stream = blobs.read(hash, 0, 2 * BLOCK as u64).await.unwrap().unwrap();
        assert_eq!(stream.try_next().await.unwrap().unwrap().len(), BLOCK);
        blobs.remove(hash).await.unwrap();
        assert_eq!(stream.try_next().await.unwrap().unwrap().len(), BLOCK);
        assert_eq!(stream.try_next().await.unwrap(), None);
    }
}
