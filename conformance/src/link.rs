//! One flow to the target: a UDP socket, or a TCP, TLS or WebSocket connection, with its inbox.
//!
//! Nothing is sent to any address but the target's.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::message::{Message, end_of_headers};
use crate::target::Proto;
use crate::ws;

/// The largest message taken from a target.
const MAX_MESSAGE: usize = 1 << 20;

/// What came in.
#[derive(Debug)]
pub(crate) enum Inbound {
    Message(Box<Message>),
    /// Line ends or other octets that are no message.
    Other(Vec<u8>),
    Closed,
}

/// The exchange of one case, in order, with milliseconds since its start.
#[derive(Clone)]
pub(crate) struct Transcript {
    start: Instant,
    text: Arc<Mutex<String>>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Transcript { start: Instant::now(), text: Arc::default(), faults: Arc::default() }
    }

    pub(crate) fn note(&self, text: &str) {
        self.add("*", text, b"");
    }

    pub(crate) fn add(&self, mark: &str, what: &str, bytes: &[u8]) {
        /// Beyond this a transcript only says that it was cut.
        const MAX: usize = 64 * 1024;
        let mut text = self.text.lock().expect("no holder panics");
        if text.len() > MAX {
            return;
        }
        *text += &format!("{mark} {:.1} ms {what}\n", self.start.elapsed().as_secs_f64() * 1e3);
        for line in String::from_utf8_lossy(bytes).lines() {
            *text += "    ";
            text.extend(line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }));
            text.push('\n');
        }
        if text.len() > MAX {
            *text += "(the rest is left out)\n";
        }
    }

    /// Records a malformed message of the target.
    pub(crate) fn fault(&self, what: String) {
        self.note(&format!("malformed: {what}"));
        self.faults.lock().expect("no holder panics").push(what);
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().expect("no holder panics").clone()
    }

    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut self.text.lock().expect("no holder panics"))
    }
}

enum Out {
    Udp(Arc<UdpSocket>, SocketAddr),
    Stream(Box<dyn AsyncWrite + Send + Unpin>),
    Ws(Box<dyn AsyncWrite + Send + Unpin>),
}

/// A flow; dropped, it closes.
pub(crate) struct Link {
    pub(crate) proto: Proto,
    pub(crate) local: SocketAddr,
    /// The host[:port] this end calls itself in Via and Contact.
    pub(crate) name: String,
    pub(crate) closed: bool,
    /// Hold malformed messages against the target.
    pub(crate) strict: bool,
    out: Out,
    inbox: mpsc::UnboundedReceiver<Inbound>,
    backlog: VecDeque<Message>,
    others: Vec<Vec<u8>>,
    log: Transcript,
    reader: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Link {
    pub(crate) async fn udp(to: SocketAddr, log: &Transcript) -> io::Result<Link> {
        let local = local_ip(to)?;
        Self::udp_from(SocketAddr::new(local, 0), to, log).await
    }

    /// A UDP flow from a chosen local address.
    pub(crate) async fn udp_from(from: SocketAddr, to: SocketAddr, log: &Transcript) -> io::Result<Link> {
        let socket = Arc::new(UdpSocket::bind(from).await?);
        let local = socket.local_addr()?;
        let (tx, inbox) = mpsc::unbounded_channel();
        let (reading, seen) = (socket.clone(), log.clone());
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            // An ICMP error shows up as an error here; the socket lives on.
            loop {
                let Ok((len, peer)) = reading.recv_from(&mut buffer).await else { continue };
                let bytes = &buffer[..len];
                seen.add("<", &format!("udp {peer} -> {local}"), bytes);
                let inbound = match Message::read(bytes) {
                    Some(message) => Inbound::Message(Box::new(message)),
                    None => Inbound::Other(bytes.to_vec()),
                };
                if tx.send(inbound).is_err() {
                    return;
                }
            }
        });
        Ok(Self::new(Proto::Udp, local, Out::Udp(socket, to), inbox, log, reader))
    }

    pub(crate) async fn tcp(to: SocketAddr, log: &Transcript) -> io::Result<Link> {
        let stream = connect(to).await?;
        let local = stream.local_addr()?;
        let (read, write) = stream.into_split();
        Ok(Self::over_stream(Proto::Tcp, local, Box::new(read), Box::new(write), log))
    }

    /// A connection the target made to a listener of ours.
    pub(crate) fn accepted(stream: TcpStream, log: &Transcript) -> io::Result<Link> {
        let local = stream.local_addr()?;
        let (read, write) = stream.into_split();
        Ok(Self::over_stream(Proto::Tcp, local, Box::new(read), Box::new(write), log))
    }

    /// TLS without a check of the certificate: the target under test may have made its own.
    pub(crate) async fn tls(to: SocketAddr, host: &str, log: &Transcript) -> io::Result<Link> {
        let stream = connect(to).await?;
        let local = stream.local_addr()?;
        let stream = crate::tls::connect(stream, host).await?;
        let (read, write) = tokio::io::split(stream);
        Ok(Self::over_stream(Proto::Tls, local, Box::new(read), Box::new(write), log))
    }

    pub(crate) async fn ws(to: SocketAddr, host: &str, path: &str, log: &Transcript) -> io::Result<Link> {
        let stream = connect(to).await?;
        let local = stream.local_addr()?;
        let (mut read, mut write) = stream.into_split();
        let answer = ws::handshake(&mut read, &mut write, host, path, Some("sip")).await?;
        log.add("<", "websocket handshake", answer.head.as_bytes());
        answer.check(Some("sip")).map_err(io::Error::other)?;
        let (tx, inbox) = mpsc::unbounded_channel();
        let seen = log.clone();
        let reader = tokio::spawn(async move {
            let mut frames = ws::Reader::new(read, answer.rest);
            while let Ok(Some(bytes)) = frames.message().await {
                seen.add("<", &format!("ws {to} -> {local}"), &bytes);
                let inbound = match Message::read(&bytes) {
                    Some(message) => Inbound::Message(Box::new(message)),
                    None => Inbound::Other(bytes),
                };
                if tx.send(inbound).is_err() {
                    return;
                }
            }
            let _ = tx.send(Inbound::Closed);
        });
        let mut link = Self::new(Proto::Ws, local, Out::Ws(Box::new(write)), inbox, log, reader);
        link.name = format!("t{}.invalid", local.port());
        Ok(link)
    }

    fn over_stream(
        proto: Proto,
        local: SocketAddr,
        mut read: Box<dyn AsyncRead + Send + Unpin>,
        write: Box<dyn AsyncWrite + Send + Unpin>,
        log: &Transcript,
    ) -> Link {
        let (tx, inbox) = mpsc::unbounded_channel();
        let seen = log.clone();
        let reader = tokio::spawn(async move {
            let mut buffer = Vec::new();
            loop {
                while let Some(inbound) = next_of_stream(&mut buffer) {
                    match &inbound {
                        Inbound::Message(m) => seen.add("<", proto.name(), &m.raw),
                        Inbound::Other(bytes) => seen.add("<", proto.name(), bytes),
                        Inbound::Closed => {}
                    }
                    if tx.send(inbound).is_err() {
                        return;
                    }
                }
                match read.read_buf(&mut buffer).await {
                    Ok(len) if len > 0 && buffer.len() < MAX_MESSAGE => {}
                    _ => break,
                }
            }
            seen.note(&format!("{} connection closed by the target", proto.name()));
            let _ = tx.send(Inbound::Closed);
        });
        Self::new(proto, local, Out::Stream(write), inbox, log, reader)
    }

    fn new(
        proto: Proto,
        local: SocketAddr,
        out: Out,
        inbox: mpsc::UnboundedReceiver<Inbound>,
        log: &Transcript,
        reader: JoinHandle<()>,
    ) -> Link {
        let (backlog, others) = (VecDeque::new(), Vec::new());
        Link {
            proto,
            local,
            name: local.to_string(),
            closed: false,
            strict: false,
            out,
            inbox,
            backlog,
            others,
            log: log.clone(),
            reader,
        }
    }

    /// Sends octets as they are: one datagram, one write or one WebSocket message.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.log.add(">", &format!("{} from {}", self.proto.name(), self.local), bytes);
        match &mut self.out {
            Out::Udp(socket, to) => socket.send_to(bytes, *to).await.map(|_| ()),
            Out::Stream(write) => {
                write.write_all(bytes).await?;
                write.flush().await
            }
            Out::Ws(write) => {
                write.write_all(&ws::frame(bytes)).await?;
                write.flush().await
            }
        }
    }

    /// Sends prepared WebSocket frames that carry `message`.
    pub(crate) async fn send_frames(&mut self, message: &[u8], frames: &[u8]) -> io::Result<()> {
        let Out::Ws(write) = &mut self.out else { return Err(io::ErrorKind::Unsupported.into()) };
        self.log.add(">", &format!("ws frames from {}", self.local), message);
        write.write_all(frames).await?;
        write.flush().await
    }

    /// Puts messages back in front, for whoever looks next.
    pub(crate) fn put_back(&mut self, messages: Vec<Message>) {
        for message in messages.into_iter().rev() {
            self.backlog.push_front(message);
        }
    }

    /// The first message that `wanted` takes, from what is at hand or within `wait`; others stay for later.
    pub(crate) async fn take(&mut self, wait: Duration, mut wanted: impl FnMut(&Message) -> bool) -> Option<Message> {
        if let Some(at) = self.backlog.iter().position(&mut wanted) {
            return self.backlog.remove(at);
        }
        let until = tokio::time::Instant::now() + wait;
        loop {
            match tokio::time::timeout_at(until, self.inbox.recv()).await {
                Ok(Some(Inbound::Message(message))) => {
                    self.judge(&message);
                    if wanted(&message) {
                        return Some(*message);
                    }
                    self.backlog.push_back(*message);
                }
                Ok(Some(Inbound::Other(bytes))) => self.others.push(bytes),
                Ok(Some(Inbound::Closed) | None) => {
                    self.closed = true;
                    return None;
                }
                Err(_) => return None,
            }
        }
    }

    fn judge(&self, message: &Message) {
        if !message.by_rsip {
            self.log.note("rsip refuses that one; read by the tolerant reader");
        }
        if let Some(fault) = message.fault().filter(|_| self.strict) {
            self.log.fault(format!("{}: {fault}", message.start));
        }
    }

    /// Waits for octets that are no message, such as the answer to a keep-alive.
    pub(crate) async fn take_other(&mut self, wait: Duration) -> Option<Vec<u8>> {
        if self.others.is_empty() {
            let until = Instant::now() + wait;
            while self.others.is_empty() && Instant::now() < until && !self.closed {
                self.take(Duration::from_millis(10), |_| false).await;
            }
        }
        if self.others.is_empty() { None } else { Some(self.others.remove(0)) }
    }

    /// Waits until the target closes the connection.
    pub(crate) async fn wait_closed(&mut self, wait: Duration) -> bool {
        if !self.closed {
            self.take(wait, |_| false).await;
        }
        self.closed
    }
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(Duration::from_secs(3), TcpStream::connect(to))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The local address the kernel would use towards `to`; sends nothing.
pub(crate) fn local_ip(to: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if to.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// Cuts the next message or run of line ends off a stream buffer; `None` when more octets are needed.
pub(crate) fn next_of_stream(buffer: &mut Vec<u8>) -> Option<Inbound> {
    let blank = buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if blank > 0 {
        return Some(Inbound::Other(buffer.drain(..blank).collect()));
    }
    let head = end_of_headers(buffer)?;
    let message = Message::read(&buffer[..head])?;
    let body = message.header("content-length").and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
    if body > MAX_MESSAGE || buffer.len() < head + body {
        return None;
    }
    let whole: Vec<u8> = buffer.drain(..head + body).collect();
    Message::read(&whole).map(|message| Inbound::Message(Box::new(message)))
}
