//! Content by its hash, on the local disk.
//!
//! ```text
//! DIR/ab/ab12…   64 hexadecimal digits, in 256 folders
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use tokio::task::spawn_blocking;

use super::{BlobStream, Blobs, blocking};
use crate::{ContentHash, StoreError};

/// Bytes read at a time.
const BLOCK: usize = 256 * 1024;

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

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn a_folder_holds_content() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(&dir.path().join("blobs")).unwrap();
        super::super::tests::content_is_kept_once_and_read_in_parts(&blobs).await;
        fs::write(dir.path().join("blobs/ab/lost+found"), "x").unwrap();
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
