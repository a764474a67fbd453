//! A flow that costs little: no transcript, no full parse.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::link::local_ip;
use crate::message::end_of_headers;
use crate::target::{Proto, Target};
use crate::ws;

const MAX: usize = 1 << 20;

type Reading = Box<dyn AsyncRead + Send + Unpin>;
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

enum Kind {
    Udp(UdpSocket),
    Stream { read: Reading, write: Writing, buffer: Vec<u8> },
    Ws { read: ws::Reader<Reading>, write: Writing },
}

pub(super) struct Flow {
    kind: Kind,
    pub(super) local: SocketAddr,
}

impl Flow {
    pub(super) async fn open(target: &Target) -> io::Result<Flow> {
        if target.proto == Proto::Udp {
            let socket = UdpSocket::bind((local_ip(target.addr)?, 0)).await?;
            socket.connect(target.addr).await?;
            return Ok(Flow { local: socket.local_addr()?, kind: Kind::Udp(socket) });
        }
        let stream = TcpStream::connect(target.addr).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let (mut read, mut write): (Reading, Writing) = match target.proto {
            Proto::Tls => {
                let (read, write) = tokio::io::split(crate::tls::connect(stream, &target.host).await?);
                (Box::new(read), Box::new(write))
            }
            _ => {
                let (read, write) = stream.into_split();
                (Box::new(read), Box::new(write))
            }
        };
        if target.proto == Proto::Ws {
            let host = target.addr.to_string();
            let answer = ws::handshake(&mut read, &mut write, &host, "/ws", Some("sip")).await?;
            answer.check(Some("sip")).map_err(io::Error::other)?;
            return Ok(Flow { local, kind: Kind::Ws { read: ws::Reader::new(read, answer.rest), write } });
        }
        Ok(Flow { local, kind: Kind::Stream { read, write, buffer: Vec::new() } })
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.kind {
            Kind::Udp(socket) => socket.send(bytes).await.map(|_| ()),
            Kind::Stream { write, .. } => {
                write.write_all(bytes).await?;
                write.flush().await
            }
            Kind::Ws { write, .. } => {
                write.write_all(&ws::frame(bytes)).await?;
                write.flush().await
            }
        }
    }

    /// The next message. Dropping the future loses nothing but, over WebSocket, a message half read.
    pub(super) async fn recv(&mut self) -> io::Result<String> {
        let bytes = match &mut self.kind {
            Kind::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let len = socket.recv(&mut buffer).await?;
                buffer.truncate(len);
                buffer
            }
            Kind::Stream { read, buffer, .. } => loop {
                if let Some(message) = cut(buffer) {
                    break message;
                }
                if read.read_buf(buffer).await? == 0 || buffer.len() > MAX {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            },
            Kind::Ws { read, .. } => read.message().await?.ok_or(io::ErrorKind::UnexpectedEof)?,
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Takes one message off the front of a stream's buffer.
fn cut(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let blank = buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    buffer.drain(..blank);
    let head = end_of_headers(buffer)?;
    let text = String::from_utf8_lossy(&buffer[..head]);
    let length = header(&text, "Content-Length").and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
    let whole = head.checked_add(length)?;
    if buffer.len() < whole {
        return None;
    }
    Some(buffer.drain(..whole).collect())
}

/// The first header line of that name; compact forms are known for the names the load uses.
pub(super) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    headers(message, name).next()
}

pub(super) fn headers<'a>(message: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let compact = match name {
        "Via" => "v",
        "From" => "f",
        "To" => "t",
        "Call-ID" => "i",
        "Contact" => "m",
        "Content-Length" => "l",
        _ => name,
    }
    .to_owned();
    let name = name.to_owned();
    message.split("\r\n").skip(1).take_while(|line| !line.is_empty()).filter_map(move |line| {
        let (got, value) = line.split_once(':')?;
        let got = got.trim_end();
        (got.eq_ignore_ascii_case(&name) || got.eq_ignore_ascii_case(&compact)).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_off_a_stream() {
        let mut buffer = b"\r\n\r\nSIP/2.0 200 OK\r\nl: 2\r\n\r\nhiSIP/2.0 100 Trying\r\n\r\nSIP/2".to_vec();
        assert_eq!(cut(&mut buffer).as_deref(), Some(&b"SIP/2.0 200 OK\r\nl: 2\r\n\r\nhi"[..]));
        assert_eq!(cut(&mut buffer).as_deref(), Some(&b"SIP/2.0 100 Trying\r\n\r\n"[..]));
        assert_eq!(cut(&mut buffer), None);
        assert_eq!(buffer, b"SIP/2");
    }
}
