//! The client side of WebSocket (RFC 6455) as far as SIP and MSRP need it, written here so that frames can be made at will.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const KEY: &str = "Y2hhcHBlLWNvbmZvcm1hbg==";
const MAX: usize = 1 << 20;

/// What the target answered to an upgrade.
pub(crate) struct Answer {
    /// Status line and header lines.
    pub(crate) head: String,
    /// Octets that came right behind.
    pub(crate) rest: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (got, value) = line.split_once(':')?;
            got.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The rules of RFC 6455 §4.2.2 and RFC 7118 §4.
    pub(crate) fn check(&self, protocol: Option<&str>) -> Result<(), String> {
        if self.status() != Some(101) {
            return Err(format!("expected 101, got {:?}", self.head.lines().next().unwrap_or("")));
        }
        let text = format!("{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let expected = STANDARD.encode(digest);
        if self.header("sec-websocket-accept") != Some(expected.as_str()) {
            return Err(format!("Sec-WebSocket-Accept is not {expected}"));
        }
        match (protocol, self.header("sec-websocket-protocol")) {
            (Some(want), got) if got != Some(want) => Err(format!("sub-protocol {got:?} instead of {want:?}")),
            _ => Ok(()),
        }
    }
}

/// Asks for the upgrade and reads the answer's head.
pub(crate) async fn handshake(
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
    host: &str,
    path: &str,
    protocol: Option<&str>,
) -> io::Result<Answer> {
    let offer = protocol.map_or(String::new(), |p| format!("Sec-WebSocket-Protocol: {p}\r\n"));
    handshake_with(read, write, host, path, &offer).await
}

/// The same with header lines of the caller's.
pub(crate) async fn handshake_with(
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
    host: &str,
    path: &str,
    lines: &str,
) -> io::Result<Answer> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{lines}Sec-WebSocket-Version: 13\r\n\r\n"
    );
    write.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::new();
    loop {
        if let Some(end) = crate::message::end_of_headers(&buffer) {
            let rest = buffer.split_off(end);
            return Ok(Answer { head: String::from_utf8_lossy(&buffer).trim_end().to_owned(), rest });
        }
        if read.read_buf(&mut buffer).await? == 0 || buffer.len() > MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// One unfragmented message, as text where it is UTF-8.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    let opcode = if std::str::from_utf8(bytes).is_ok() { 1 } else { 2 };
    frame_part(bytes, opcode, true)
}

/// One frame: `opcode` 0 continues, 1 is text, 2 is binary.
pub(crate) fn frame_part(bytes: &[u8], opcode: u8, last: bool) -> Vec<u8> {
    // The mask hides nothing here; it only has to be there (§5.3).
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![opcode | if last { 0x80 } else { 0 }];
    match bytes.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(bytes.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    out
}

/// Reads whole messages; control frames are passed over.
pub(crate) struct Reader<R> {
    read: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(read: R, buffer: Vec<u8>) -> Self {
        Reader { read, buffer }
    }

    /// The next message; `None` after a close frame.
    pub(crate) async fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.message_and(|| {}).await
    }

    /// The same; `pong` is called for each pong that comes before it.
    pub(crate) async fn message_and(&mut self, mut pong: impl FnMut()) -> io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        loop {
            let head = self.exactly(2).await?;
            let len = match head[1] & 0x7f {
                126 => {
                    let b = self.exactly(2).await?;
                    usize::from(u16::from_be_bytes([b[0], b[1]]))
                }
                127 => {
                    let b = self.exactly(8).await?;
                    let len = b.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
                    usize::try_from(len).unwrap_or(usize::MAX)
                }
                len => usize::from(len),
            };
            if len > MAX || message.len() + len > MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let payload = self.exactly(len).await?;
            match head[0] & 0x0f {
                8 => return Ok(None),
                0..=2 => {
                    message.extend(payload);
                    if head[0] & 0x80 != 0 {
                        return Ok(Some(message));
                    }
                }
                10 => pong(),
                _ => {}
            }
        }
    }

    async fn exactly(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < len {
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..len).collect())
    }
}
