//! Files that users upload: what is kept of them, where, and how long.
//!
//! ```text
//! FILES/incoming/TOKEN.part   what has come of an upload, TOKEN.json what is known of it, TOKEN.thumb its picture
//! FILES/blobs/ab/ab12…        content by its hash, unless it is in an object store
//! ```
//! An upload that is complete is hashed and moved to its place; then its row is written; then it is answered. A file that
//! expires loses its row first, then, where no other file has the same content, its bytes. What a crash leaves between
//! the two steps is an orphan, and swept.

mod counters;
mod incoming;
mod partial;
mod scan;
mod serving;
mod sweep;
mod thumbnail;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chappe_api::files::{FileError, Uploaded};
use chappe_content::Policy;
use chappe_store::{Blobs, ContentHash, DiskBlobs, Files, ObjectBlobs, S3, StoreError, StoredFile};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

pub use counters::FileCounters;
pub use scan::Scan;
pub use sweep::Swept;

use partial::Partials;

/// Pictures that are unpacked at a time, each in bounded memory.
const UNPACKING: usize = 2;
/// Locks by hash.
const LOCKS: usize = 64;

/// What is configured of files.
#[derive(Debug, Clone)]
pub struct Settings {
    pub dir: PathBuf,
    pub policy: Policy,
    /// How long a file is kept.
    pub validity: Duration,
    /// How long an upload that was cut can be gone on with.
    pub resume: Duration,
    /// Uploads at a time, in all and of one user.
    pub uploads: usize,
    pub uploads_per_user: usize,
    pub scan: Scan,
    /// Longest side of thumbnails of pictures that come without, in pixels; 0: none are made.
    pub thumbnails: u32,
    /// Where contents are kept, if not below `dir`.
    pub s3: Option<S3>,
}

/// The files of a node.
pub struct Depot {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    rows: Arc<dyn Files>,
    blobs: Box<dyn Blobs>,
    partials: Partials,
    /// Held while content comes or goes, so that nobody removes what another has just found there.
    locks: [Mutex<()>; LOCKS],
    /// Who unpacks a picture.
    unpacking: Semaphore,
    counters: FileCounters,
}

impl Depot {
    /// Takes over what uploads have left of themselves.
    pub fn open(settings: Settings, rows: Arc<dyn Files>) -> anyhow::Result<Depot> {
        let name = settings.dir.display().to_string();
        let blobs: Box<dyn Blobs> = match &settings.s3 {
            Some(s3) => Box::new(ObjectBlobs::s3(s3).context("cannot use files.s3")?),
            None => {
                Box::new(DiskBlobs::open(&settings.dir.join("blobs")).with_context(|| format!("cannot use {name}"))?)
            }
        };
        let incoming = settings.dir.join("incoming");
        let partials = Partials::open(&incoming, boot().as_deref()).with_context(|| format!("cannot use {name}"))?;
        let inner = Inner {
            settings,
            rows,
            blobs,
            partials,
            locks: std::array::from_fn(|_| Mutex::new(())),
            unpacking: Semaphore::new(UNPACKING),
            counters: FileCounters::default(),
        };
        Ok(Depot { inner: Arc::new(inner) })
    }

    /// What happened to files, as of now.
    pub fn counters(&self) -> &FileCounters {
        self.inner.counters.incoming.set(self.inner.partials.len() as u64);
        &self.inner.counters
    }

    pub fn rows(&self) -> &Arc<dyn Files> {
        &self.inner.rows
    }

    /// Removes all that an owner has.
    pub async fn remove_all(&self, owner: &str) {
        for partial in self.inner.partials.of_owner(owner) {
            let _ = self.give_up(partial).await;
        }
        loop {
            let removed = match self.inner.rows.list(Some(owner), None, 100).await {
                Ok(files) if files.is_empty() => return,
                Ok(files) => self.remove_each(&files).await,
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                tracing::error!(%error, "files of a user that is gone could not be removed");
                return;
            }
        }
    }

    async fn remove_each(&self, files: &[StoredFile]) -> Result<(), StoreError> {
        for file in files {
            self.inner.remove(file).await?;
        }
        Ok(())
    }

    /// Removes a file whoever's it is; false where there is none.
    pub async fn remove_any(&self, id: &str) -> Result<bool, StoreError> {
        match self.inner.rows.file(id).await? {
            Some(file) => self.inner.remove(&file).await,
            None => Ok(false),
        }
    }
}

impl Inner {
    /// Locks the contents of a file, always in the same order.
    async fn lock(&self, hashes: impl Iterator<Item = ContentHash>) -> Vec<MutexGuard<'_, ()>> {
        let mut places: Vec<usize> = hashes.map(|hash| usize::from(hash.0[0]) % LOCKS).collect();
        places.sort_unstable();
        places.dedup();
        let mut guards = Vec::with_capacity(places.len());
        for place in places {
            guards.push(self.locks[place].lock().await);
        }
        guards
    }

    /// Removes a file, and its contents unless another has them; false where it was gone.
    async fn remove(&self, file: &StoredFile) -> Result<bool, StoreError> {
        let hashes: Vec<ContentHash> = file.hashes().collect();
        let _guards = self.lock(hashes.iter().copied()).await;
        let was_there = self.rows.remove(&file.id).await?;
        self.drop_unneeded(&hashes).await?;
        Ok(was_there)
    }

    /// Removes contents that no file has; their locks are held.
    async fn drop_unneeded(&self, hashes: &[ContentHash]) -> Result<u64, StoreError> {
        let mut dropped = 0;
        let needed = self.rows.needed(hashes).await?;
        for (hash, _) in hashes.iter().zip(needed).filter(|(_, needed)| !needed) {
            dropped += u64::from(self.blobs.remove(*hash).await?);
        }
        Ok(dropped)
    }
}

/// A file as its owner is told of it.
fn uploaded(file: StoredFile) -> Uploaded {
    Uploaded {
        id: file.id,
        name: file.name,
        content_type: file.content_type,
        size: file.size,
        thumbnail: file.thumbnail.map(|thumbnail| (thumbnail.content_type, thumbnail.size)),
        expires: file.expires,
    }
}

fn failed(error: StoreError) -> FileError {
    tracing::error!(%error, "files: the store failed");
    match error {
        StoreError::Full => FileError::Full,
        _ => FileError::Unavailable,
    }
}

fn failed_io(error: std::io::Error) -> FileError {
    failed(error.into())
}

/// Names the run of the machine: what was not yet on disk when it ended is not to be trusted.
fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// 192 random bits: the name of a file in its links, of an upload in its files.
fn token() -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(48);
    for byte in crate::random::bytes::<24>() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether `text` may be one of ours: then it is safe in a path.
fn is_token(text: &str) -> bool {
    text.len() == 48 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

fn private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests;
