//! The byte stream of one connection, read and written without waiting.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// How many pieces one system call takes.
const PIECES: usize = 16;

pub(crate) struct Wire {
    tcp: TcpStream,
}

/// How far a write got: `bytes` of those given were taken, and if not all, or if some are still held inside, the
/// peer has to read before more can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    pub(crate) blocked: bool,
}

impl Wire {
    pub(crate) fn plain(tcp: TcpStream) -> Wire {
        Wire { tcp }
    }

    /// Reads into `buffer`; 0 is the end of the stream. Registers the task for the next bytes when there are none.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        // This, other than `try_read`, knows that a short read has emptied the socket and saves asking once more.
        Pin::new(&mut self.tcp).poll_read(cx, &mut read).map_ok(|()| read.filled().len())
    }

    /// Registers the task for room to write.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    /// Writes the `pieces` from byte `skip` of the first on, until all are gone or the socket is full.
    pub(crate) fn write<'a>(
        &mut self,
        pieces: impl Iterator<Item = &'a Bytes> + Clone,
        skip: usize,
    ) -> io::Result<Written> {
        let mut done = 0;
        loop {
            let slices = remaining(pieces.clone(), skip + done);
            let result = match &slices[..] {
                [] => return Ok(Written { bytes: done, blocked: false }),
                [one] => self.tcp.try_write(one),
                many => self.tcp.try_write_vectored(many),
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Written { bytes: done, blocked: true }),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Pushes out what is held inside. Returns whether some of it has to wait.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// Ends our direction of the stream, as the protocol has it.
    pub(crate) fn shutdown(&mut self) {
        let _ = socket2::SockRef::from(&self.tcp).shutdown(std::net::Shutdown::Write);
    }
}

/// The `pieces` without their first `skip` bytes, as far as one system call takes them.
fn remaining<'a>(pieces: impl Iterator<Item = &'a Bytes>, mut skip: usize) -> SmallVec<[IoSlice<'a>; PIECES]> {
    let mut slices = SmallVec::new();
    for piece in pieces {
        if skip >= piece.len() {
            skip -= piece.len();
            continue;
        }
        slices.push(IoSlice::new(&piece[skip..]));
        skip = 0;
        if slices.len() == PIECES {
            break;
        }
    }
    slices
}
