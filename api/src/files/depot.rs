//! Where uploads go and downloads come from.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use chappe_content::range::ContentRange;
use chappe_content::{Policy, Refusal};
use futures_util::Stream;

/// A file whose upload begins.
#[derive(Debug, Clone)]
pub struct NewFile {
    pub owner: Box<str>,
    /// Transfer id of the client, by which it asks for the rest.
    pub tid: Option<String>,
    /// Harmless.
    pub name: String,
    pub content_type: String,
    /// About how many bytes are to come, where that was said.
    pub expected: Option<u64>,
}

/// A small picture of a file.
#[derive(Debug, Clone)]
pub struct Picture {
    pub content_type: String,
    pub bytes: Bytes,
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Of its links.
    pub id: Box<str>,
    pub name: Box<str>,
    pub content_type: Box<str>,
    pub size: u64,
    /// Content type and size.
    pub thumbnail: Option<(Box<str>, u64)>,
    /// Seconds since the epoch.
    pub expires: u64,
}

/// How far an upload has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where the rest is put.
    pub token: Box<str>,
    /// Bytes that are there; all of them where the upload is over.
    pub received: u64,
}

/// Of a file, the content or its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    File,
    Thumbnail,
}

/// Content that a link leads to.
pub struct Found {
    pub name: Box<str>,
    pub content_type: Box<str>,
    pub size: u64,
    /// Names the content: the same bytes have the same.
    pub etag: String,
    /// Seconds since the epoch.
    pub created: u64,
    /// Seconds until it is gone.
    pub remaining: u64,
    pub content: Box<dyn Content>,
}

pub type ContentStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// Bytes that can be read.
#[async_trait]
pub trait Content: Send + Sync {
    async fn read(&self, first: u64, length: u64) -> Result<ContentStream, FileError>;
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no such file")]
    NotFound,
    #[error("this file has expired")]
    Expired,
    #[error("this transfer id is somebody else's")]
    OthersTransfer,
    #[error("{received} bytes are there; this begins behind them")]
    Gap { received: u64 },
    #[error("another request has taken this upload over")]
    TakenOver,
    #[error("the content was found to be harmful")]
    Harmful,
    #[error("the content could not be checked")]
    Unchecked,
    #[error("too many uploads at a time")]
    Busy { retry_after: u64 },
    #[error("no room is left")]
    Full,
    #[error("the store cannot be reached")]
    Unavailable,
    #[error("{why}")]
    Malformed { why: String },
    #[error("the body is not as long as its head says")]
    Length,
    #[error("too slow: less than {min_rate} bytes in a second, or nothing for too long")]
    Slow { min_rate: u64 },
}

/// What refusals are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Size,
    Quota,
    Type,
    Form,
    Length,
    Slow,
    Harmful,
    Busy,
    Failed,
}

impl FileError {
    /// `None`: nobody was refused anything.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            FileError::Refused(Refusal::Size { .. } | Refusal::ThumbnailSize { .. }) => Reason::Size,
            FileError::Refused(Refusal::Quota { .. }) => Reason::Quota,
            FileError::Refused(Refusal::Type { .. }) => Reason::Type,
            FileError::Malformed { .. } => Reason::Form,
            FileError::Length => Reason::Length,
            FileError::Slow { .. } => Reason::Slow,
            FileError::Harmful => Reason::Harmful,
            FileError::Busy { .. } => Reason::Busy,
            FileError::Unchecked | FileError::Full | FileError::Unavailable => Reason::Failed,
            FileError::NotFound
            | FileError::Expired
            | FileError::OthersTransfer
            | FileError::Gap { .. }
            | FileError::TakenOver => return None,
        })
    }

    pub(crate) fn status(&self) -> u16 {
        match self {
            FileError::Refused(refusal) => refusal.status(),
            FileError::NotFound => 404,
            FileError::Expired => 410,
            FileError::OthersTransfer | FileError::Harmful => 403,
            FileError::Gap { .. } => 416,
            FileError::TakenOver => 409,
            FileError::Unchecked | FileError::Busy { .. } | FileError::Unavailable => 503,
            FileError::Full => 507,
            FileError::Malformed { .. } | FileError::Length => 400,
            FileError::Slow { .. } => 408,
        }
    }
}

/// The content server behind the handlers.
#[async_trait]
pub trait Depot: Send + Sync + 'static {
    fn policy(&self) -> &Policy;

    /// Whether this user may upload now.
    async fn ready(&self, owner: &str) -> Result<(), FileError>;

    /// Begins an upload; an earlier one of the same owner with this transfer id is given up.
    async fn begin(&self, new: NewFile) -> Result<Box<dyn Incoming>, FileError>;

    /// Goes on with an upload at `range.first`, which may lie before what is there already.
    async fn resume(&self, owner: &str, token: &str, range: ContentRange) -> Result<Box<dyn Incoming>, FileError>;

    /// How far an upload has come; not found, too, where nothing of it is there.
    async fn progress(&self, owner: &str, tid: &str) -> Result<Progress, FileError>;

    /// The file that an upload has become.
    async fn uploaded(&self, owner: &str, tid: &str) -> Result<Uploaded, FileError>;

    /// What a link leads to.
    async fn find(&self, id: &str, which: Which) -> Result<Found, FileError>;

    async fn remove(&self, owner: &str, id: &str) -> Result<(), FileError>;

    /// Somebody was refused something.
    fn refused(&self, reason: Reason);
}

/// An upload under way. Where it is dropped the upload stays, to be gone on with.
#[async_trait]
pub trait Incoming: Send {
    /// Waits while the disk is slower than the peer.
    async fn write(&mut self, data: Bytes) -> Result<(), FileError>;

    async fn picture(&mut self, picture: Picture) -> Result<(), FileError>;

    /// All is there. Where this fails nothing is kept, unless the machine is to blame.
    async fn finish(self: Box<Self>) -> Result<Uploaded, FileError>;

    /// Keeps what has come; gives the number of bytes.
    async fn keep(self: Box<Self>) -> Result<u64, FileError>;

    /// Nothing is kept.
    async fn discard(self: Box<Self>);
}
