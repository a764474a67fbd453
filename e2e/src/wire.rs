//! Bytes to and from the server: datagrams, a stream with Content-Length framing, or WebSocket frames (RFC 6455).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::Server;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Ws,
}

impl Transport {
    /// As in Via.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Ws => "WS",
        }
    }
}

/// A socket to the server.
#[derive(Debug)]
pub enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
    Ws(TcpStream, Vec<u8>),
}

impl Wire {
    /// Opens one from the address of the test.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn open(server: &Server, transport: Transport) -> Wire {
        match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind((server.address().ip(), 0)).expect("a free port");
                socket.connect(server.addr("udp")).expect("UDP connects");
                Wire::Udp(socket)
            }
            Transport::Tcp => Wire::Tcp(connect(server.addr("tcp")), Vec::new()),
            Transport::Ws => Wire::Ws(websocket(server.addr("http"), "sip"), Vec::new()),
        }
    }

    pub fn local(&self) -> SocketAddr {
        match self {
            Wire::Udp(socket) => socket.local_addr(),
            Wire::Tcp(stream, _) | Wire::Ws(stream, _) => stream.local_addr(),
        }
        .expect("an open socket has an address")
    }

    /// Sends one message; an error means that the connection is gone.
    pub fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        match self {
            Wire::Udp(socket) => match socket.send(message) {
                // The server is down: the datagram is lost, as any may be.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
                sent => sent.map(|_| ()),
            },
            Wire::Tcp(stream, _) => stream.write_all(message),
            Wire::Ws(stream, _) => stream.write_all(&frame(0x81, message)),
        }
    }

    /// Sends bytes as they are, below the framing.
    pub fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Wire::Udp(socket) => socket.send(bytes).map(|_| ()),
            Wire::Tcp(stream, _) | Wire::Ws(stream, _) => stream.write_all(bytes),
        }
    }

    /// The next message; `None` if none comes in time. Keep-alives are skipped.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn receive(&mut self, time: Duration) -> std::io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + time;
        let mut chunk = [0; 65_536];
        loop {
            match self {
                Wire::Udp(_) => {}
                Wire::Tcp(_, buffer) => {
                    let blank = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                    buffer.drain(..blank);
                    if let Some(length) = whole(buffer) {
                        return Ok(Some(buffer.drain(..length).collect()));
                    }
                }
                Wire::Ws(stream, buffer) => match unframe(buffer) {
                    Some((0x1 | 0x2, payload)) if payload != b"\r\n" && payload != b"\r\n\r\n" => {
                        return Ok(Some(payload));
                    }
                    Some((0x8, _)) => return Err(ErrorKind::UnexpectedEof.into()),
                    Some((0x9, payload)) => {
                        stream.write_all(&frame(0x8a, &payload))?;
                        continue;
                    }
                    Some(_) => continue,
                    None => {}
                },
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let read = match self {
                Wire::Udp(socket) => {
                    socket.set_read_timeout(Some(left))?;
                    socket.recv(&mut chunk)
                }
                Wire::Tcp(stream, _) | Wire::Ws(stream, _) => {
                    stream.set_read_timeout(Some(left))?;
                    stream.read(&mut chunk)
                }
            };
            match (read, &mut *self) {
                (Ok(length), Wire::Udp(_)) if length > 4 => return Ok(Some(chunk[..length].to_vec())),
                (Ok(_), Wire::Udp(_)) => {}
                (Ok(0), _) => return Err(ErrorKind::UnexpectedEof.into()),
                (Ok(length), Wire::Tcp(_, buffer) | Wire::Ws(_, buffer)) => buffer.extend_from_slice(&chunk[..length]),
                (Err(error), Wire::Udp(_)) if error.kind() == ErrorKind::ConnectionRefused => {}
                (Err(error), _) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                (Err(error), _) => return Err(error),
            }
        }
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, crate::PATIENCE).expect("the server listens");
    stream.set_nodelay(true).expect("TCP has no delay");
    stream.set_write_timeout(Some(crate::PATIENCE)).expect("a time limit");
    stream
}

/// A WebSocket after its handshake.
pub(crate) fn websocket(addr: SocketAddr, protocol: &str) -> TcpStream {
    let mut stream = connect(addr);
    let hello = format!(
        "GET /ws HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(hello.as_bytes()).expect("the server reads");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the server answers the handshake");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream
}

/// The length of the message that the buffer begins with, once it is all there.
pub(crate) fn whole(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        matches!(name.trim(), "content-length" | "l").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.expect("every message on a stream has a Content-Length");
    (buffer.len() >= head + length).then_some(head + length)
}

/// One masked frame; `first` holds FIN and the kind.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// Takes a frame off the buffer: its kind and payload. The server sends whole messages, unmasked.
pub(crate) fn unframe(buffer: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (first, second) = (*buffer.first()?, *buffer.get(1)?);
    assert_eq!((first & 0x80, second & 0x80), (0x80, 0), "whole frames without a mask from the server");
    let (head, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    if buffer.len() < head + length {
        return None;
    }
    let payload = buffer.drain(..head + length).skip(head).collect();
    Some((first & 0xf, payload))
}

/// A text message in two or more frames.
pub fn fragments(message: &[u8], pieces: usize) -> Vec<Vec<u8>> {
    let size = message.len().div_ceil(pieces.max(1)).max(1);
    let chunks: Vec<_> = message.chunks(size).collect();
    let last = chunks.len().saturating_sub(1);
    let first = |at: usize| u8::from(at == 0) | if at == last { 0x80 } else { 0 };
    chunks.iter().enumerate().map(|(at, chunk)| frame(first(at), chunk)).collect()
}
