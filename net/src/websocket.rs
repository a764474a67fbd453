//! SIP in WebSocket messages (RFC 7118, RFC 6455): one SIP message is one WebSocket message.
//!
//! The library is used without a stream: bytes that were read go in, messages and the bytes it wants sent come out.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tungstenite::Message;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use crate::config::Limits;
use crate::events::CloseReason;
use crate::frame::FrameError;

/// The library's own buffer, of which an idle connection has one.
const BUFFER: usize = 256;
/// The longest header of a frame that is not masked.
const HEADER: usize = 10;

pub(crate) struct WebSocket {
    context: WebSocketContext,
    max: usize,
    /// Seconds of the net's clock when we sent the ping that has had no answer, else 0.
    pub(crate) pinged: u32,
    /// Status of our close frame (RFC 6455 §7.4.1); `None` once one has been sent.
    status: Option<u16>,
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
        WebSocket { context, max: limits.message, pinged: 0, status: Some(1000) }
    }

    /// Takes `input`, hands whole messages to `message`, and adds what is due to the peer (pongs, the answer to a
    /// close) to `output`.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        mut message: impl FnMut(Bytes),
    ) -> Result<(), WebSocketEnd> {
        let mut stream = Memory { input, output };
        loop {
            match self.context.read(&mut stream) {
                // Copied, so that the library's buffer is free for the next one and the message has its own size.
                Ok(Message::Text(text)) => message(Bytes::copy_from_slice(text.as_bytes())),
                Ok(Message::Binary(bytes)) => message(Bytes::copy_from_slice(&bytes)),
                Ok(Message::Ping(_) | Message::Frame(_)) => {}
                Ok(Message::Pong(_)) => self.pinged = 0,
                Ok(Message::Close(_)) => {
                    let _ = self.context.flush(&mut stream);
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
                    let length = match error {
                        CapacityError::MessageTooLong { size, .. } => size as u64,
                        CapacityError::TooManyHeaders => 0,
                    };
                    return Err(WebSocketEnd::Malformed(FrameError::TooLarge { length, max: self.max }));
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
        let _ = self.context.flush(&mut stream);
        Ok(())
    }

    /// A SIP message as a frame: text where it is UTF-8, else binary (RFC 7118 §5).
    pub(crate) fn frame(message: &Bytes) -> Bytes {
        let kind = if std::str::from_utf8(message).is_ok() { Data::Text } else { Data::Binary };
        frame(OpCode::Data(kind), message)
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

fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let mut bytes = Vec::with_capacity(payload.len() + HEADER);
    // Writing to memory does not fail, and the length fits into the header's 64 bits.
    let _ = header.format(payload.len() as u64, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes.into()
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
