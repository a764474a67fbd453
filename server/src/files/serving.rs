//! What the HTTP handlers ask of the files.

use std::sync::Arc;

use async_trait::async_trait;
use chappe_api::files::{
    self, Content, ContentStream, FileError, Found, Incoming, NewFile, Progress, Reason, Uploaded, Which,
};
use chappe_content::Policy;
use chappe_content::range::ContentRange;
use chappe_store::ContentHash;
use tokio::task::spawn_blocking;

use super::incoming::Upload;
use super::partial::{About, Partial, Turn, WriteError};
use super::{Depot, Inner, failed, failed_io, is_token, token, uploaded};
use crate::core::epoch_seconds;

/// Seconds after which somebody who found no place may try again.
const RETRY_AFTER: u64 = 30;

impl Depot {
    /// Bytes of an owner's files and of his uploads under way, but for one.
    async fn used(&self, owner: &str, but: &str) -> Result<u64, FileError> {
        let kept = self.inner.rows.usage(Some(owner)).await.map_err(failed)?.bytes;
        let coming = self.inner.partials.of_owner(owner).into_iter().filter(|partial| partial.token() != but);
        Ok(coming.fold(kept, |used, partial| used.saturating_add(partial.received())))
    }

    /// Finds a place for one more upload of this owner: one that was cut long ago makes room.
    async fn make_room(&self, owner: &str) -> Result<(), FileError> {
        let settings = &self.inner.settings;
        let mut own = self.inner.partials.of_owner(owner);
        if own.len() >= settings.uploads_per_user {
            own.retain(|partial| !partial.is_written());
            let Some(oldest) = own.into_iter().min_by_key(|partial| partial.touched()) else {
                return Err(FileError::Busy { retry_after: RETRY_AFTER });
            };
            self.give_up(oldest).await?;
        }
        if self.inner.partials.len() >= settings.uploads {
            return Err(FileError::Busy { retry_after: RETRY_AFTER });
        }
        Ok(())
    }

    pub(super) async fn give_up(&self, partial: Arc<Partial>) -> Result<(), FileError> {
        self.inner.counters.dropped.increment();
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || inner.partials.discard(&partial)).await.map_err(|_| FileError::Unavailable)
    }
}

#[async_trait]
impl files::Depot for Depot {
    fn policy(&self) -> &Policy {
        &self.inner.settings.policy
    }

    async fn ready(&self, owner: &str) -> Result<(), FileError> {
        let used = self.inner.rows.usage(Some(owner)).await.map_err(failed)?.bytes;
        // Where nothing fits any more it is better said before anything is sent.
        self.policy().check_size(1, used)?;
        let own = self.inner.partials.of_owner(owner);
        let settings = &self.inner.settings;
        let busy = own.len() >= settings.uploads_per_user && own.iter().all(|partial| partial.is_written());
        if busy || self.inner.partials.len() >= settings.uploads {
            return Err(FileError::Busy { retry_after: RETRY_AFTER });
        }
        Ok(())
    }

    async fn begin(&self, new: NewFile) -> Result<Box<dyn Incoming>, FileError> {
        if let Some(tid) = &new.tid {
            if let Some(before) = self.inner.partials.of_tid(tid) {
                if before.about.lock().owner != new.owner {
                    return Err(FileError::OthersTransfer);
                }
                self.give_up(before).await?;
            }
            let file = self.inner.rows.of_transfer(tid).await.map_err(failed)?;
            if file.is_some_and(|file| file.owner != new.owner) {
                return Err(FileError::OthersTransfer);
            }
        }
        self.make_room(&new.owner).await?;
        let used = self.used(&new.owner, "").await?;
        self.policy().check_size(0, used)?;
        if let Some(expected) = new.expected {
            // What stands around the file in its form is not known; the file is checked as it comes.
            self.policy().check_size(expected.saturating_sub(64 * 1024), used)?;
        }
        let about = About {
            token: token().into(),
            owner: new.owner,
            tid: new.tid.map(Into::into),
            name: new.name.into(),
            content_type: new.content_type.into(),
            thumbnail: None,
        };
        let inner = Arc::clone(&self.inner);
        let turn = spawn_blocking(move || inner.partials.create(about).map_err(WriteError::from)?.take(0));
        Ok(Box::new(Upload::new(Arc::clone(&self.inner), taken(turn.await)?, 0, used)))
    }

    async fn resume(&self, owner: &str, token: &str, range: ContentRange) -> Result<Box<dyn Incoming>, FileError> {
        let partial = self.inner.partials.of_token(token).filter(|partial| *partial.about.lock().owner == *owner);
        let partial = partial.ok_or(FileError::NotFound)?;
        let used = self.used(owner, token).await?;
        self.policy().check_size(range.size, used)?;
        let received = partial.received();
        if range.first > received {
            return Err(FileError::Gap { received });
        }
        let turn = taken(spawn_blocking(move || partial.take(range.first)).await)?;
        self.inner.counters.resumed.increment();
        Ok(Box::new(Upload::new(Arc::clone(&self.inner), turn, range.first, used)))
    }

    async fn progress(&self, owner: &str, tid: &str) -> Result<Progress, FileError> {
        if let Some(partial) = self.inner.partials.of_tid(tid) {
            let ours = *partial.about.lock().owner == *owner && partial.received() > 0;
            return if ours {
                Ok(Progress { token: partial.token().into(), received: partial.received() })
            } else {
                Err(FileError::NotFound)
            };
        }
        let file = self.uploaded(owner, tid).await?;
        Ok(Progress { token: file.id, received: file.size })
    }

    async fn uploaded(&self, owner: &str, tid: &str) -> Result<Uploaded, FileError> {
        let file = self.inner.rows.of_transfer(tid).await.map_err(failed)?;
        let file = file.filter(|file| *file.owner == *owner).ok_or(FileError::NotFound)?;
        if file.expires <= epoch_seconds() {
            return Err(FileError::Expired);
        }
        Ok(uploaded(file))
    }

    async fn find(&self, id: &str, which: Which) -> Result<Found, FileError> {
        if !is_token(id) {
            return Err(FileError::NotFound);
        }
        let file = self.inner.rows.file(id).await.map_err(failed)?.ok_or(FileError::NotFound)?;
        let remaining = file.expires.saturating_sub(epoch_seconds());
        if remaining == 0 {
            return Err(FileError::Expired);
        }
        let (name, content_type, size, hash) = match which {
            Which::File => (file.name, file.content_type, file.size, file.hash),
            Which::Thumbnail => {
                let thumbnail = file.thumbnail.ok_or(FileError::NotFound)?;
                (format!("thumbnail of {}", file.name).into(), thumbnail.content_type, thumbnail.size, thumbnail.hash)
            }
        };
        Ok(Found {
            name,
            content_type,
            size,
            etag: hash.to_string(),
            created: file.created,
            remaining,
            content: Box::new(Blob { inner: Arc::clone(&self.inner), hash }),
        })
    }

    async fn remove(&self, owner: &str, id: &str) -> Result<(), FileError> {
        let file = self.inner.rows.file(id).await.map_err(failed)?;
        let file = file.filter(|file| *file.owner == *owner).ok_or(FileError::NotFound)?;
        if self.inner.remove(&file).await.map_err(failed)? { Ok(()) } else { Err(FileError::NotFound) }
    }

    fn refused(&self, reason: Reason) {
        self.inner.counters.refused.with(reason.into()).increment();
    }
}

fn taken(turn: Result<Result<Turn, WriteError>, tokio::task::JoinError>) -> Result<Turn, FileError> {
    match turn {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(WriteError::TakenOver)) => Err(FileError::TakenOver),
        Ok(Err(WriteError::Io(error))) => Err(failed_io(error)),
        Err(_) => Err(FileError::Unavailable),
    }
}

/// Content that a link has led to.
struct Blob {
    inner: Arc<Inner>,
    hash: ContentHash,
}

#[async_trait]
impl Content for Blob {
    async fn read(&self, first: u64, length: u64) -> Result<ContentStream, FileError> {
        let stream = self.inner.blobs.read(self.hash, first, length).await.map_err(failed)?;
        let stream = stream.ok_or(FileError::NotFound)?;
        self.inner.counters.downloads.increment();
        self.inner.counters.sent.add(length);
        Ok(stream)
    }
}
