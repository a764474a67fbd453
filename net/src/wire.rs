//! The byte stream of one connection with its layers, read and written without waiting.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::websocket::WebSocket;

/// How many pieces one system call takes.
const PIECES: usize = 16;

/// What a TLS record holds at most.
const RECORD: usize = 16 * 1024;

pub(crate) struct Wire {
    tcp: TcpStream,
    tls: Option<Box<rustls::Connection>>,
    pub(crate) websocket: Option<Box<WebSocket>>,
    /// Read by somebody else before the stream became ours.
    leftover: Option<Box<Bytes>>,
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
        Wire { tcp, tls: None, websocket: None, leftover: None }
    }

    /// Over a session whose handshake is done.
    pub(crate) fn tls(tcp: TcpStream, session: rustls::Connection) -> Wire {
        Wire { tcp, tls: Some(Box::new(session)), websocket: None, leftover: None }
    }

    /// The peer reads more slowly than we write. The system would reset it once its window had been too small for a whole
    /// segment for the time of the user timeout, however steadily it reads (Linux counts that on through partial progress); from
    /// now on the time of a stall is ours to watch.
    pub(crate) fn outwait(&self) {
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&self.tcp).set_tcp_user_timeout(None);
    }

    /// Makes `bytes` the first that are read.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.leftover = (!bytes.is_empty()).then(|| Box::new(bytes));
    }

    /// Reads into `buffer`, at least some kilobytes; 0 is the end of the stream. Registers the task for the next bytes
    /// when there are none. Broken TLS is `InvalidData`.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(mut bytes) = self.leftover.take() {
            let n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes.split_to(n));
            self.put_back(*bytes);
            return Poll::Ready(Ok(n));
        }
        let Some(tls) = &mut self.tls else { return poll_tcp(&mut self.tcp, cx, buffer) };
        let mut done = 0;
        // As many records as there are: what they lead to is done once for all.
        while buffer.len() - done >= RECORD {
            match tls.reader().read(&mut buffer[done..]) {
                Ok(0) => break,
                Ok(n) => {
                    done += n;
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // The stream ended without the peer's closing alert; a message that this cut short stays unfinished.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(_) if done > 0 => break,
                Err(e) => return Poll::Ready(Err(e)),
            }
            let processed = tls.process_new_packets();
            // An alert about what was wrong, or the answer to a key update.
            let _ = push(tls, &self.tcp);
            match processed {
                Ok(state) if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() => continue,
                Ok(_) => {}
                // It comes again when what there was has been handed over.
                Err(_) if done > 0 => break,
                Err(error) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
            }
            match tls.read_tls(&mut Polled { tcp: &mut self.tcp, cx }) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) if done > 0 => break,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        Poll::Ready(Ok(done))
    }

    /// Whether the system knows of an error that nobody has met yet.
    pub(crate) fn has_failed(&self) -> bool {
        !matches!(self.tcp.take_error(), Ok(None))
    }

    /// Registers the task for room to write.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    /// Writes the `pieces` from byte `skip` of the first on, until all are gone or the socket is full. The pieces of
    /// one call share system calls and TLS records.
    pub(crate) fn write<'a>(
        &mut self,
        pieces: impl Iterator<Item = &'a Bytes> + Clone,
        skip: usize,
    ) -> io::Result<Written> {
        let mut done = 0;
        loop {
            if let Some(tls) = &mut self.tls
                && push(tls, &self.tcp)?
            {
                return Ok(Written { bytes: done, blocked: true });
            }
            let slices = remaining(pieces.clone(), skip + done);
            if slices.is_empty() {
                return Ok(Written { bytes: done, blocked: false });
            }
            let result = match (&mut self.tls, &slices[..]) {
                (Some(tls), many) => tls.writer().write_vectored(many),
                (None, [one]) => self.tcp.try_write(one),
                (None, many) => self.tcp.try_write_vectored(many),
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
        match &mut self.tls {
            Some(tls) => push(tls, &self.tcp),
            None => Ok(false),
        }
    }

    /// Ends our direction of the stream, as each layer has it. What does not fit into the socket is not waited for.
    pub(crate) fn shutdown(&mut self) {
        let frame = self.websocket.as_mut().and_then(|w| w.close_frame());
        let socket = socket2::SockRef::from(&self.tcp);
        match &mut self.tls {
            Some(tls) => {
                if let Some(frame) = frame {
                    let _ = tls.writer().write(&frame);
                }
                tls.send_close_notify();
                // Past the runtime, which may not know yet that a new socket can be written to.
                while tls.wants_write() && tls.write_tls(&mut &*socket).is_ok_and(|n| n > 0) {}
            }
            None => {
                if let Some(frame) = frame {
                    let _ = socket.send(&frame);
                }
            }
        }
        let _ = socket.shutdown(std::net::Shutdown::Write);
    }
}

fn poll_tcp(tcp: &mut TcpStream, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut read = ReadBuf::new(buffer);
    // This, other than `try_read`, knows that a short read has emptied the socket and saves asking once more.
    Pin::new(tcp).poll_read(cx, &mut read).map_ok(|()| read.filled().len())
}

/// Sends the records that wait in the session. Returns whether some have to wait on.
fn push(tls: &mut rustls::Connection, tcp: &TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(&mut Tried(tcp)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

/// A socket that reads for a task.
struct Polled<'a, 'b, 'c> {
    tcp: &'a mut TcpStream,
    cx: &'b mut Context<'c>,
}

impl Read for Polled<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match poll_tcp(self.tcp, self.cx, buffer) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// A socket that writes what fits.
struct Tried<'a>(&'a TcpStream);

impl Write for Tried<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.try_write(buffer)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
