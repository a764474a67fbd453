//! Where the content of a streamed message goes.

use std::sync::Arc;

use bytes::Bytes;

use super::end::{End, stream_key};
use super::{SendError, soon};

/// Whether there is room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Ready,
    /// What was written is taken, but more should wait for [`super::EndUser::writable`].
    Full,
}

/// Takes the content of a message. Dropped before [`Sink::finish`] it has the message end with `#`.
pub struct Sink {
    end: Arc<End>,
    number: u64,
    done: bool,
}

impl Sink {
    pub(super) fn new(end: &Arc<End>, number: u64) -> Sink {
        Sink { end: Arc::clone(end), number, done: false }
    }

    /// Takes the next bytes. [`SendError::Closed`]: nobody wants more, which [`super::EndUser::sent`] tells too.
    pub fn write(&mut self, bytes: Bytes) -> Result<Room, SendError> {
        let end = &self.end;
        let connection = end.connection();
        let mut out = connection.as_ref().map(|connection| connection.way_out.lock());
        let room = {
            let mut state = end.state.lock();
            let Some(stream) = state.streams.iter_mut().find(|stream| stream.number == self.number) else {
                self.done = true;
                return Err(SendError::Closed);
            };
            match &mut out {
                Some(out) if stream.begun => {
                    if out.outgoing.body(stream_key(self.number), bytes) {
                        Room::Full
                    } else {
                        Room::Ready
                    }
                }
                _ => {
                    stream.pending.push(bytes);
                    Room::Full
                }
            }
        };
        drop(out);
        if let Some(connection) = &connection {
            soon(&end.relay, connection);
        }
        Ok(room)
    }

    /// The content is complete.
    pub fn finish(mut self) -> Result<(), SendError> {
        self.over(true)
    }

    /// The message is given up; nothing is told of it any more.
    pub fn abort(mut self) {
        let _ = self.over(false);
    }

    fn over(&mut self, complete: bool) -> Result<(), SendError> {
        if std::mem::replace(&mut self.done, true) {
            return Err(SendError::Closed);
        }
        let (end, key) = (&self.end, stream_key(self.number));
        let connection = end.connection();
        let mut out = connection.as_ref().map(|connection| connection.way_out.lock());
        {
            let mut state = end.state.lock();
            let at = state.streams.iter().position(|stream| stream.number == self.number);
            let at = at.ok_or(SendError::Closed)?;
            let begun = state.streams[at].begun;
            if complete {
                state.streams[at].finished = true;
            } else {
                state.streams.remove(at);
                state.outbox.forget(self.number);
            }
            if let Some(out) = out.as_mut().filter(|_| begun) {
                if complete {
                    out.outgoing.end(key, chappe_msrp::Flag::End);
                } else {
                    out.outgoing.drop_stream(key);
                    out.own.remove(&key);
                }
            }
        }
        drop(out);
        if let Some(connection) = &connection {
            soon(&end.relay, connection);
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.over(false);
    }
}
