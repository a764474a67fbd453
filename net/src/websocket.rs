//! SIP and MSRP in WebSocket messages (RFC 7118, RFC 7977, RFC 6455): one message or chunk is one WebSocket message.
//!
//! Those of SIP are collected by a library, those of raw listeners are not collected. The library is used without a stream: bytes that were read go in, messages and the bytes it wants sent come out.

mod pieces;

use std::io::{self, Read, Write};

use bytes::Bytes;
use tungstenite::Message;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use crate::config::Limits;
use crate::connection::Batch;
use crate::events::CloseReason;
use crate::frame::FrameError;
use crate::outbox::Outbox;
pub(crate) use pieces::PieceList;
use pieces::{Order, Pieces};

/// The library's own buffer, of which an idle connection has one.
const BUFFER: usize = 256;
/// The longest header of a frame that is not masked.
const HEADER: usize = 10;
/// From this size on the payload is not copied behind its header but goes as a piece of its own.
const LARGE: usize = 4096;

pub(crate) struct WebSocket {
    input: Input,
    /// Seconds of the net's clock when we sent the ping that has had no answer, else 0.
    pub(crate) pinged: u32,
    /// Status of our close frame (RFC 6455 §7.4.1); `None` once one has been sent.
    status: Option<u16>,
}

enum Input {
    /// Handed over as whole messages.
    Whole(WebSocketContext),
    /// Handed over as they come.
    Raw(Pieces),
}

/// What became of bytes that were read.
pub(crate) enum WebSocketEnd {
    /// The peer closed, or broke the rules of RFC 6455.
    Close(CloseReason),
    /// A message over the limit, which the user is told of.
    Malformed(FrameError),
}

impl WebSocket {
    pub(crate) fn new(limits: &Limits) -> WebSocket {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(limits.message))
            .max_frame_size(Some(limits.message));
        let context = WebSocketContext::new(Role::Server, Some(config));
        WebSocket { input: Input::Whole(context), pinged: 0, status: Some(1000) }
    }

    /// One that does not collect messages.
    pub(crate) fn raw() -> WebSocket {
        WebSocket { input: Input::Raw(Pieces::default()), pinged: 0, status: Some(1000) }
    }

    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.input, Input::Raw(_))
    }

    /// Takes `input` of a raw connection, notes where in it payload lies, and adds what is due to the peer to `output`.
    pub(crate) fn feed_raw(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        pieces: &mut PieceList,
    ) -> Result<(), WebSocketEnd> {
        let Input::Raw(raw) = &mut self.input else { return Ok(()) };
        let (mut answered, mut closed) = (false, false);
        let fed = raw.feed(input, output, pieces, |order| match order {
            Order::Pong => answered = true,
            Order::Closed => closed = true,
        });
        if answered {
            self.pinged = 0;
        }
        if closed {
            self.status = None;
            return Err(WebSocketEnd::Close(CloseReason::Peer));
        }
        fed.map_err(|status| {
            self.status = Some(status);
            WebSocketEnd::Close(CloseReason::Protocol)
        })
    }

    /// Takes `input`, hands whole messages to `message`, and adds what is due to the peer (pongs, the answer to a
    /// close) to `output`.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        mut message: impl FnMut(Bytes),
    ) -> Result<(), WebSocketEnd> {
        let Input::Whole(context) = &mut self.input else { return Ok(()) };
        let mut stream = Memory { input, output };
        loop {
            match context.read(&mut stream) {
                // Copied, so that the library's buffer is free for the next one and the message has its own size.
                Ok(Message::Text(text)) => message(Bytes::copy_from_slice(text.as_bytes())),
                Ok(Message::Binary(bytes)) => message(Bytes::copy_from_slice(&bytes)),
                Ok(Message::Ping(_) | Message::Frame(_)) => {}
                Ok(Message::Pong(_)) => self.pinged = 0,
                Ok(Message::Close(_)) => {
                    let _ = context.flush(&mut stream);
                    self.status = None;
                    return Err(WebSocketEnd::Close(CloseReason::Peer));
                }
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    self.status = None;
                    return Err(WebSocketEnd::Close(CloseReason::Peer));
                }
                Err(Error::Capacity(error)) => {
                    self.status = Some(1009);
                    let (length, max) = match error {
                        CapacityError::MessageTooLong { size, max_size } => (size as u64, max_size),
                        CapacityError::TooManyHeaders => (0, 0),
                    };
                    return Err(WebSocketEnd::Malformed(FrameError::TooLarge { length, max }));
                }
                Err(Error::Utf8(_)) => {
                    self.status = Some(1007);
                    return Err(WebSocketEnd::Close(CloseReason::Protocol));
                }
                Err(_) => {
                    self.status = Some(1002);
                    return Err(WebSocketEnd::Close(CloseReason::Protocol));
                }
            }
        }
        // A pong that the last frame asked for.
        let _ = context.flush(&mut stream);
        Ok(())
    }

    /// Each of `batch` as a message of one frame. SIP: text where it is UTF-8, else binary (RFC 7118 §5). Raw: binary,
    /// and where `ends` are given, each is how many of `batch` there are up to the end of a message.
    pub(crate) fn frames(&self, mut batch: Batch, ends: &[usize]) -> Batch {
        if self.is_raw() && (!ends.is_empty() || batch.iter().any(|(bytes, _)| bytes.len() >= LARGE)) {
            return cut(batch, ends);
        }
        for (bytes, _) in &mut batch {
            let text = !self.is_raw() && std::str::from_utf8(bytes).is_ok();
            *bytes = frame(if text { OpCode::Data(Data::Text) } else { BINARY }, bytes);
        }
        batch
    }

    pub(crate) fn ping() -> Bytes {
        frame(OpCode::Control(Control::Ping), &[])
    }

    /// The frame that ends our direction, the first time.
    pub(crate) fn close_frame(&mut self) -> Option<Bytes> {
        let status = self.status.take()?;
        Some(frame(OpCode::Control(Control::Close), &status.to_be_bytes()))
    }
}

const BINARY: OpCode = OpCode::Data(Data::Binary);

/// The same for raw connections. What is large is not copied behind its header.
fn cut(batch: Batch, ends: &[usize]) -> Batch {
    let mut framed = Batch::with_capacity(batch.len() + ends.len().max(batch.len()));
    let (mut at, mut next) = (0, 0);
    while at < batch.len() {
        let end = ends.get(next).copied().unwrap_or(at + 1).clamp(at + 1, batch.len());
        let message = &batch[at..end];
        let length = message.iter().map(|(bytes, _)| bytes.len()).sum();
        if length < LARGE {
            let mut bytes = header(BINARY, length, length);
            message.iter().for_each(|(piece, _)| bytes.extend_from_slice(piece));
            framed.push((bytes.into(), message[0].1));
        } else {
            framed.push((header(BINARY, length, 0).into(), Outbox::UNTAGGED));
            framed.extend(message.iter().cloned());
        }
        (at, next) = (end, next + 1);
    }
    framed
}

fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let mut bytes = header(opcode, payload.len(), payload.len());
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// The header of a frame with `length` bytes, and room for `room` more.
fn header(opcode: OpCode, length: usize, room: usize) -> Vec<u8> {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let mut bytes = Vec::with_capacity(HEADER + room);
    // Writing to memory does not fail, and the length fits into the header's 64 bits.
    let _ = header.format(length as u64, &mut bytes);
    bytes
}

/// What was read on one side, what is to be sent on the other.
struct Memory<'a, 'b> {
    input: &'a [u8],
    output: &'b mut Vec<u8>,
}

impl Read for Memory<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Memory<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
