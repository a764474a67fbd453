//! Reads a body no longer than its sender keeps pace.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::depot::FileError;

/// The rate is measured over so long a wait.
const WINDOW: Duration = Duration::from_secs(20);

/// A body as it arrives. Only the time that is spent waiting for the peer counts against it.
pub(super) struct Paced {
    body: BodyDataStream,
    idle: Duration,
    min_rate: u64,
    waited: Duration,
    read: u64,
}

/// What comes next.
pub(super) enum Next {
    Data(Bytes),
    End,
    /// The connection is gone, or the framing of the body is broken.
    Cut,
}

impl Paced {
    pub(super) fn new(body: Body, idle: Duration, min_rate: u64) -> Paced {
        Paced { body: body.into_data_stream(), idle, min_rate, waited: Duration::ZERO, read: 0 }
    }

    pub(super) async fn next(&mut self) -> Result<Next, FileError> {
        let began = Instant::now();
        let slow = FileError::Slow { min_rate: self.min_rate };
        let Ok(next) = timeout(self.idle, self.body.next()).await else { return Err(slow) };
        self.waited += began.elapsed();
        let data = match next {
            None => return Ok(Next::End),
            Some(Err(_)) => return Ok(Next::Cut),
            Some(Ok(data)) => data,
        };
        self.read += data.len() as u64;
        if self.waited >= WINDOW {
            if self.read < self.min_rate.saturating_mul(self.waited.as_secs()) {
                return Err(slow);
            }
            (self.waited, self.read) = (Duration::ZERO, 0);
        }
        Ok(Next::Data(data))
    }
}
