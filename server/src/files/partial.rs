//! Uploads that are not complete: files on the local disk, and who may go on with them.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use chappe_store::ContentHash;
use parking_lot::Mutex;
use ring::digest;
use serde::{Deserialize, Serialize};

use super::{is_token, private_dir};
use crate::core::epoch_seconds;

/// Where the run of the machine is noted.
const BOOT: &str = "boot";

/// What is known of an upload, beside its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) token: Box<str>,
    pub(super) owner: Box<str>,
    pub(super) tid: Option<Box<str>>,
    pub(super) name: Box<str>,
    pub(super) content_type: Box<str>,
    /// Of its picture.
    pub(super) thumbnail: Option<Box<str>>,
}

/// All of them.
pub(super) struct Partials {
    dir: PathBuf,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_token: HashMap<Box<str>, Arc<Partial>>,
    by_tid: HashMap<Box<str>, Arc<Partial>>,
}

/// One upload.
pub(super) struct Partial {
    pub(super) about: Mutex<About>,
    token: Box<str>,
    dir: PathBuf,
    bytes: Mutex<Bytes>,
    /// A copy of what is in `bytes`, to be read without waiting for the disk.
    received: AtomicU64,
    /// Seconds since the epoch.
    touched: AtomicU64,
    /// Whoever writes.
    writers: AtomicU64,
}

struct Bytes {
    /// Who may write: each that begins to takes the right from the one before.
    epoch: u64,
    file: Option<File>,
    length: u64,
    /// Of all that is there; `None`: to be read again.
    hasher: Option<digest::Context>,
    /// It is complete, or was given up.
    over: bool,
}

/// Somebody else writes now, or it is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("taken over")]
    TakenOver,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Partials {
    /// Finds what is there. What was written before the machine's last start may not be as it was written, since nobody
    /// waited for the disk: it is given up.
    pub(super) fn open(dir: &Path, boot: Option<&str>) -> io::Result<Partials> {
        private_dir(dir)?;
        let noted = fs::read_to_string(dir.join(BOOT)).ok();
        let same = boot.is_some() && noted.as_deref() == boot;
        let mut table = Table::default();
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        for token in names.iter().filter_map(|name| name.strip_suffix(".json")).filter(|token| is_token(token)) {
            if let Some(partial) = same.then(|| Partial::found(dir, token)).flatten() {
                table.add(Arc::new(partial));
            }
        }
        for name in &names {
            let token = name.split('.').next().unwrap_or_default();
            if is_token(token) && !table.by_token.contains_key(token) {
                fs::remove_file(dir.join(name))?;
            }
        }
        if let (false, Some(boot)) = (same, boot) {
            fs::write(dir.join(BOOT), boot)?;
        }
        Ok(Partials { dir: dir.to_owned(), table: Mutex::new(table) })
    }

    pub(super) fn len(&self) -> usize {
        self.table.lock().by_token.len()
    }

    pub(super) fn of_token(&self, token: &str) -> Option<Arc<Partial>> {
        self.table.lock().by_token.get(token).cloned()
    }

    pub(super) fn of_tid(&self, tid: &str) -> Option<Arc<Partial>> {
        self.table.lock().by_tid.get(tid).cloned()
    }

    /// Those of one owner.
    pub(super) fn of_owner(&self, owner: &str) -> Vec<Arc<Partial>> {
        let table = self.table.lock();
        table.by_token.values().filter(|partial| *partial.about.lock().owner == *owner).cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Partial>> {
        self.table.lock().by_token.values().cloned().collect()
    }

    /// Blocks: a new one, on disk before its first byte.
    pub(super) fn create(&self, about: About) -> io::Result<Arc<Partial>> {
        let file = open(&self.dir.join(format!("{}.part", about.token)), true)?;
        let partial = Arc::new(Partial::new(&self.dir, about, Some(file), 0, Some(hasher())));
        partial.note()?;
        self.table.lock().add(partial.clone());
        Ok(partial)
    }

    /// Blocks: gives it up, whoever writes it, unless it is complete. Its bytes are gone.
    pub(super) fn discard(&self, partial: &Partial) {
        partial.end();
        self.forget(partial);
    }

    /// Blocks: what is left of one that is over.
    pub(super) fn forget(&self, partial: &Partial) {
        self.table.lock().remove(partial);
        for kind in ["part", "thumb", "json"] {
            match fs::remove_file(partial.path(kind)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "files: an upload could not be removed");
                }
                _ => {}
            }
        }
    }
}

impl Table {
    fn add(&mut self, partial: Arc<Partial>) {
        if let Some(tid) = &partial.about.lock().tid {
            self.by_tid.insert(tid.clone(), partial.clone());
        }
        self.by_token.insert(partial.token.clone(), partial);
    }

    fn remove(&mut self, partial: &Partial) {
        self.by_token.remove(&partial.token);
        if let Some(tid) = &partial.about.lock().tid
            && self.by_tid.get(tid).is_some_and(|other| other.token == partial.token)
        {
            self.by_tid.remove(tid);
        }
    }
}

impl Partial {
    fn new(dir: &Path, about: About, file: Option<File>, length: u64, hasher: Option<digest::Context>) -> Partial {
        Partial {
            token: about.token.clone(),
            about: Mutex::new(about),
            dir: dir.to_owned(),
            bytes: Mutex::new(Bytes { epoch: 0, file, length, hasher, over: false }),
            received: AtomicU64::new(length),
            touched: AtomicU64::new(epoch_seconds()),
            writers: AtomicU64::new(0),
        }
    }

    /// One that an earlier process has left.
    fn found(dir: &Path, token: &str) -> Option<Partial> {
        let about: About = serde_json::from_slice(&fs::read(dir.join(format!("{token}.json"))).ok()?).ok()?;
        let length = fs::metadata(dir.join(format!("{token}.part"))).ok()?.len();
        (*about.token == *token).then(|| Partial::new(dir, about, None, length, None))
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(super) fn touched(&self) -> u64 {
        self.touched.load(Relaxed)
    }

    pub(super) fn is_written(&self) -> bool {
        self.writers.load(Relaxed) > 0
    }

    pub(super) fn path(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", self.token))
    }

    /// Blocks: writes what is known of it.
    fn note(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&*self.about.lock()).map_err(io::Error::other)?;
        // A torn one cannot be read, and is given up with its upload.
        open(&self.path("json"), true)?.write_all(&text)
    }

    /// Blocks: keeps a picture of it.
    pub(super) fn picture(&self, content_type: &str, bytes: &[u8]) -> io::Result<()> {
        open(&self.path("thumb"), true)?.write_all(bytes)?;
        self.about.lock().thumbnail = Some(content_type.into());
        self.note()
    }

    /// Blocks: takes the right to write from `at` on, which is not behind what is there. What lies behind `at` is gone.
    pub(super) fn take(self: &Arc<Partial>, at: u64) -> Result<Turn, WriteError> {
        let mut bytes = self.bytes.lock();
        if bytes.over || at > bytes.length {
            return Err(WriteError::TakenOver);
        }
        let mut file = match bytes.file.take() {
            Some(file) => file,
            None => open(&self.path("part"), false)?,
        };
        if at < bytes.length {
            file.set_len(at)?;
            bytes.hasher = None;
        }
        if bytes.hasher.is_none() {
            let mut hasher = hasher();
            file.seek(SeekFrom::Start(0))?;
            read_through(&mut file, at, &mut hasher)?;
            bytes.hasher = Some(hasher);
        }
        file.seek(SeekFrom::Start(at))?;
        (bytes.file, bytes.length) = (Some(file), at);
        bytes.epoch += 1;
        self.received.store(at, Relaxed);
        self.writers.fetch_add(1, Relaxed);
        Ok(Turn { partial: self.clone(), epoch: bytes.epoch })
    }

    fn end(&self) {
        let mut bytes = self.bytes.lock();
        bytes.over = true;
        bytes.file = None;
    }
}

/// The right to write.
pub(super) struct Turn {
    pub(super) partial: Arc<Partial>,
    epoch: u64,
}

impl Turn {
    /// Blocks: appends.
    pub(super) fn append(&self, data: &[u8]) -> Result<(), WriteError> {
        let mut bytes = self.partial.bytes.lock();
        if bytes.over || bytes.epoch != self.epoch {
            return Err(WriteError::TakenOver);
        }
        let Bytes { file: Some(file), hasher: Some(hasher), .. } = &mut *bytes else {
            return Err(WriteError::TakenOver);
        };
        if let Err(error) = file.write_all(data) {
            // Some of it may be there.
            bytes.hasher = None;
            bytes.length = bytes.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
            return Err(error.into());
        }
        hasher.update(data);
        bytes.length += data.len() as u64;
        self.partial.received.store(bytes.length, Relaxed);
        self.partial.touched.store(epoch_seconds(), Relaxed);
        Ok(())
    }

    /// Blocks: nobody writes any more; the hash and the length of all.
    pub(super) fn complete(&self) -> Result<(ContentHash, u64), WriteError> {
        let mut bytes = self.partial.bytes.lock();
        if bytes.over || bytes.epoch != self.epoch {
            return Err(WriteError::TakenOver);
        }
        let Some(hasher) = bytes.hasher.take() else { return Err(WriteError::TakenOver) };
        bytes.over = true;
        bytes.file = None;
        let mut hash = [0; 32];
        hash.copy_from_slice(hasher.finish().as_ref());
        Ok((ContentHash(hash), bytes.length))
    }

    /// Blocks: it is over, unless somebody else writes it now; gives whether it is.
    pub(super) fn give_up(&self) -> bool {
        let mut bytes = self.partial.bytes.lock();
        if bytes.epoch != self.epoch {
            return false;
        }
        bytes.over = true;
        bytes.file = None;
        true
    }

    /// Blocks: it is not over after all, and can be gone on with.
    pub(super) fn reopen(&self) {
        self.partial.bytes.lock().over = false;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.partial.writers.fetch_sub(1, Relaxed);
        self.partial.touched.store(epoch_seconds(), Relaxed);
    }
}

fn hasher() -> digest::Context {
    digest::Context::new(&digest::SHA256)
}

/// Blocks: the hash of `bytes`.
pub(super) fn hash(bytes: &[u8]) -> ContentHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    ContentHash(hash)
}

fn read_through(file: &mut File, length: u64, hasher: &mut digest::Context) -> io::Result<()> {
    let mut block = vec![0; 256 * 1024];
    let mut left = length;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(block.len()).min(block.len());
        file.read_exact(&mut block[..size])?;
        hasher.update(&block[..size]);
        left -= size as u64;
    }
    Ok(())
}

/// For its owner only: it may hold what is nobody else's business.
fn open(path: &Path, new: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(new).truncate(new).mode(0o600).open(path)
}
