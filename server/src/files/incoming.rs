//! An upload on its way to the disk.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chappe_api::files::{FileError, Incoming, Picture, Uploaded};
use chappe_content::Refusal;
use chappe_store::{Added, StoredFile, StoredThumbnail};
use tokio::task::{JoinHandle, spawn_blocking};

use super::partial::{Turn, WriteError, hash};
use super::thumbnail;
use super::{Inner, failed, failed_io, token, uploaded};
use crate::core::epoch_seconds;

/// Bytes written at a time. Two blocks are held: one is filled while the other is written.
const BLOCK: usize = 512 * 1024;

pub(super) struct Upload {
    inner: Arc<Inner>,
    turn: Arc<Turn>,
    filling: Vec<u8>,
    /// Gives its block back, emptied.
    writing: Option<JoinHandle<Result<Vec<u8>, WriteError>>>,
    length: u64,
    /// Over this it is refused.
    limit: u64,
    /// Why, where that is not the size of the file: what its owner used when it began.
    quota_used: Option<u64>,
}

impl Upload {
    /// Goes on behind `length` bytes; `used`: what the owner's other files take.
    pub(super) fn new(inner: Arc<Inner>, turn: Turn, length: u64, used: u64) -> Upload {
        let policy = &inner.settings.policy;
        let room = policy.quota.saturating_sub(used);
        let (limit, quota_used) = if room < policy.max_size { (room, Some(used)) } else { (policy.max_size, None) };
        Upload {
            inner,
            turn: Arc::new(turn),
            filling: Vec::with_capacity(BLOCK),
            writing: None,
            length,
            limit,
            quota_used,
        }
    }

    async fn written(&mut self) -> Result<Vec<u8>, FileError> {
        match self.writing.take() {
            None => Ok(Vec::with_capacity(BLOCK)),
            Some(writing) => match writing.await {
                Ok(done) => done.map_err(write_failed),
                Err(_) => Err(FileError::Unavailable),
            },
        }
    }

    async fn flush(&mut self) -> Result<(), FileError> {
        let empty = self.written().await?;
        if self.filling.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.filling, empty);
        let turn = Arc::clone(&self.turn);
        self.writing = Some(spawn_blocking(move || {
            turn.append(&full)?;
            let mut empty = full;
            empty.clear();
            Ok(empty)
        }));
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Turn) -> T + Send + 'static,
    ) -> Result<T, FileError> {
        let (inner, turn) = (Arc::clone(&self.inner), Arc::clone(&self.turn));
        spawn_blocking(move || work(&inner, &turn)).await.map_err(|_| FileError::Unavailable)
    }

    /// Moves what is complete to its place and writes its row.
    async fn place(&self) -> Result<Uploaded, FileError> {
        let (content, size) = self.blocking(|_, turn| turn.complete()).await?.map_err(write_failed)?;
        let partial = &self.turn.partial;
        let about = partial.about.lock().clone();
        let mut thumbnail = None;
        if let Some(content_type) = about.thumbnail {
            let path = partial.path("thumb");
            let bytes = self.blocking(move |_, _| std::fs::read(path)).await?.map_err(failed_io)?;
            thumbnail = Some(StoredThumbnail { content_type, size: bytes.len() as u64, hash: hash(&bytes) });
        }
        let made = match &thumbnail {
            None => self.picture_of(&about.content_type, size).await?,
            Some(_) => None,
        };
        let was_made = made.is_some();
        let thumbnail = thumbnail.or(made);
        let has_thumbnail = thumbnail.is_some();
        let checked = self.blocking(move |inner, turn| {
            let kinds = if has_thumbnail { &["part", "thumb"][..] } else { &["part"] };
            kinds.iter().try_for_each(|kind| inner.settings.scan.check(&turn.partial.path(kind)))
        });
        checked.await??;
        let now = epoch_seconds();
        let mut file = StoredFile {
            id: token().into(),
            owner: about.owner,
            tid: about.tid,
            name: about.name,
            content_type: about.content_type,
            size,
            hash: content,
            thumbnail,
            created: now,
            expires: now + self.inner.settings.validity.as_secs(),
        };
        if let Some(before) = self.same(&file, now).await? {
            return Ok(uploaded(before));
        }
        let hashes: Vec<_> = file.hashes().collect();
        let _guards = self.inner.lock(hashes.iter().copied()).await;
        if let Some(thumbnail) = &file.thumbnail {
            self.inner.blobs.put(thumbnail.hash, &partial.path("thumb")).await.map_err(failed)?;
        }
        self.inner.blobs.put(file.hash, &partial.path("part")).await.map_err(failed)?;
        let quota = self.inner.settings.policy.quota;
        let mut added = self.inner.rows.add(file.clone(), quota).await;
        if was_made && matches!(added, Ok(Added::OverQuota { .. })) {
            // What nobody asked for keeps nothing out.
            file.thumbnail = None;
            added = self.inner.rows.add(file.clone(), quota).await;
            self.inner.drop_unneeded(&hashes).await.map_err(failed)?;
        }
        match added {
            Ok(Added::Stored) => Ok(uploaded(file)),
            Ok(Added::OverQuota { used }) => {
                self.inner.drop_unneeded(&hashes).await.map_err(failed)?;
                Err(Refusal::Quota { quota, used }.into())
            }
            // Whether the row was written is not known: the sweep looks after the contents.
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes a thumbnail of a picture that came without.
    async fn picture_of(&self, content_type: &str, size: u64) -> Result<Option<StoredThumbnail>, FileError> {
        let settings = &self.inner.settings;
        let (side, max) = (settings.thumbnails, settings.policy.max_thumbnail);
        if side == 0 || size > thumbnail::MAX_PICTURE || !thumbnail::is_picture(content_type) {
            return Ok(None);
        }
        let Ok(_permit) = self.inner.unpacking.acquire().await else { return Ok(None) };
        let made = self.blocking(move |_, turn| {
            let bytes = std::fs::read(turn.partial.path("part"))?;
            let Some(small) = thumbnail::thumbnail(&bytes, side, max) else { return Ok(None) };
            turn.partial.picture(thumbnail::TYPE, &small)?;
            Ok(Some(StoredThumbnail {
                content_type: thumbnail::TYPE.into(),
                size: small.len() as u64,
                hash: hash(&small),
            }))
        });
        made.await?.map_err(failed_io)
    }

    /// The file that this upload has become before, where its answer was lost and the client sent it all again.
    async fn same(&self, file: &StoredFile, now: u64) -> Result<Option<StoredFile>, FileError> {
        let Some(tid) = &file.tid else { return Ok(None) };
        let before = self.inner.rows.of_transfer(tid).await.map_err(failed)?;
        Ok(before.filter(|before| {
            before.owner == file.owner
                && before.hash == file.hash
                && before.thumbnail == file.thumbnail
                && before.name == file.name
                && before.expires > now
        }))
    }
}

/// Nothing of it is kept, unless somebody else has taken it over.
fn give_up(inner: &Inner, turn: &Turn) {
    if turn.give_up() {
        inner.partials.forget(&turn.partial);
    }
}

fn write_failed(error: WriteError) -> FileError {
    match error {
        WriteError::TakenOver => FileError::TakenOver,
        WriteError::Io(error) => failed_io(error),
    }
}

#[async_trait]
impl Incoming for Upload {
    async fn write(&mut self, mut data: Bytes) -> Result<(), FileError> {
        self.length += data.len() as u64;
        if self.length > self.limit {
            let policy = &self.inner.settings.policy;
            return Err(match self.quota_used {
                Some(used) => Refusal::Quota { quota: policy.quota, used }.into(),
                None => Refusal::Size { max: policy.max_size }.into(),
            });
        }
        self.inner.counters.received.add(data.len() as u64);
        while !data.is_empty() {
            let some = data.split_to(data.len().min(BLOCK - self.filling.len()));
            self.filling.extend_from_slice(&some);
            if self.filling.len() == BLOCK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn picture(&mut self, picture: Picture) -> Result<(), FileError> {
        let done = self.blocking(move |_, turn| turn.partial.picture(&picture.content_type, &picture.bytes)).await?;
        done.map_err(failed_io)
    }

    async fn finish(mut self: Box<Self>) -> Result<Uploaded, FileError> {
        let flushed = match self.flush().await {
            Ok(()) => self.written().await.map(drop),
            Err(error) => Err(error),
        };
        let done = match flushed {
            Ok(()) => self.place().await,
            Err(error) => Err(error),
        };
        match &done {
            Ok(_) => {
                self.inner.counters.uploads.increment();
                self.blocking(|inner, turn| inner.partials.forget(&turn.partial)).await?;
            }
            // It is somebody else's now.
            Err(FileError::TakenOver) => {}
            // The machine is to blame: what has come may still be there.
            Err(FileError::Unavailable | FileError::Unchecked) => {
                self.blocking(|inner, turn| {
                    if turn.partial.path("part").exists() {
                        turn.reopen();
                    } else {
                        inner.partials.forget(&turn.partial);
                    }
                })
                .await?;
            }
            Err(_) => self.blocking(give_up).await?,
        }
        done
    }

    async fn keep(mut self: Box<Self>) -> Result<u64, FileError> {
        self.flush().await?;
        self.written().await?;
        Ok(self.turn.partial.received())
    }

    async fn discard(self: Box<Self>) {
        let _ = self.blocking(give_up).await;
    }
}
