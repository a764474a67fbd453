//! A connection that speaks MSRP over TCP, TLS or WebSocket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream as ServerStream;

use super::frame::{Decoder, Frame};
use super::{Place, Via};
use crate::case::{Ctx, Verdict, fail, skip};
use crate::link::Transcript;
use crate::{tls, ws};

/// A target that reads nothing for so long fails the case.
const WRITE: Duration = Duration::from_secs(10);

pub(crate) type Reading = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writing = Box<dyn AsyncWrite + Send + Unpin>;

enum Inbound {
    Frame(Frame),
    Closed,
}

/// Dropped, it closes.
pub(crate) struct Conn {
    pub(crate) via: Via,
    pub(crate) local: SocketAddr,
    pub(crate) closed: bool,
    write: Writing,
    inbox: mpsc::UnboundedReceiver<Inbound>,
    backlog: VecDeque<Frame>,
    reading: watch::Sender<bool>,
    seen: Arc<Seen>,
    log: Transcript,
    reader: JoinHandle<()>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What has come in.
#[derive(Default)]
struct Seen {
    /// Whether the last octets are of an unfinished frame.
    within: AtomicBool,
    /// Of the WebSocket.
    pongs: AtomicU64,
}

/// Connects and splits; for WebSocket the handshake is done and what came behind it is returned.
pub(crate) async fn connect(place: &Place, via: Via) -> io::Result<(Reading, Writing, SocketAddr, Vec<u8>)> {
    connect_as(place, via, None).await
}

/// The same, showing a certificate of ours where TLS asks for one.
async fn connect_as(
    place: &Place,
    via: Via,
    own: Option<&tls::Own>,
) -> io::Result<(Reading, Writing, SocketAddr, Vec<u8>)> {
    let stream = TcpStream::connect(place.addr);
    let stream =
        timeout(Duration::from_secs(3), stream).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let (mut read, mut write): (Reading, Writing) = if place.secure {
        let host = place.host.trim_matches(['[', ']']);
        let stream = match own {
            Some(own) => own.connect(stream, host).await?,
            None => tls::connect(stream, host).await?,
        };
        let (read, write) = tokio::io::split(stream);
        (Box::new(read), Box::new(write))
    } else {
        let (read, write) = stream.into_split();
        (Box::new(read), Box::new(write))
    };
    let mut rest = Vec::new();
    if via == Via::Ws {
        let answer = ws::handshake(&mut read, &mut write, &place.authority(), &place.path, Some("msrp")).await?;
        answer.check(Some("msrp")).map_err(io::Error::other)?;
        rest = answer.rest;
    }
    Ok((read, write, local, rest))
}

impl Conn {
    /// Connects to the target's address for `via`; skips the case where it has none.
    pub(crate) async fn open(ctx: &Ctx, via: Via) -> Verdict<Conn> {
        let Some(place) = ctx.shared.msrp.get(via) else {
            let option = match via {
                Via::Tcp => "--msrp",
                Via::Tls => "--msrp-tls",
                Via::Ws => "--http",
            };
            return skip(format!("no {option} given"));
        };
        match connect(place, via).await {
            Ok((read, write, local, rest)) => Ok(Conn::new(via, local, read, write, rest, &ctx.log)),
            Err(error) => fail(format!("cannot open an MSRP connection over {}: {error}", via.name())),
        }
    }

    /// A connection to an address that is not among those given for the target.
    pub(crate) async fn dial(place: &Place, log: &Transcript) -> io::Result<Conn> {
        Conn::dial_as(place, None, log).await
    }

    /// The same with a certificate of ours.
    pub(crate) async fn dial_as(place: &Place, own: Option<&tls::Own>, log: &Transcript) -> io::Result<Conn> {
        let via = if place.secure { Via::Tls } else { Via::Tcp };
        let (read, write, local, rest) = connect_as(place, via, own).await?;
        Ok(Conn::new(via, local, read, write, rest, log))
    }

    /// A connection the target made to a listener of ours.
    pub(crate) fn accepted(stream: TcpStream, log: &Transcript) -> io::Result<Conn> {
        let local = stream.local_addr()?;
        let (read, write) = stream.into_split();
        Ok(Conn::new(Via::Tcp, local, Box::new(read), Box::new(write), Vec::new(), log))
    }

    /// The same over TLS.
    pub(crate) fn accepted_tls(stream: ServerStream<TcpStream>, log: &Transcript) -> io::Result<Conn> {
        let local = stream.get_ref().0.local_addr()?;
        let (read, write) = tokio::io::split(stream);
        Ok(Conn::new(Via::Tls, local, Box::new(read), Box::new(write), Vec::new(), log))
    }

    fn new(via: Via, local: SocketAddr, read: Reading, write: Writing, rest: Vec<u8>, log: &Transcript) -> Conn {
        let (tx, inbox) = mpsc::unbounded_channel();
        let (reading, gate) = watch::channel(true);
        let seen = Arc::new(Seen::default());
        let inflow =
            Inflow { tx, gate, seen: seen.clone(), log: log.clone(), name: format!("{} at {local}", via.name()) };
        let reader = tokio::spawn(async move {
            match via {
                Via::Ws => inflow.messages(read, rest).await,
                _ => inflow.stream(read).await,
            }
        });
        let (backlog, log) = (VecDeque::new(), log.clone());
        Conn { via, local, closed: false, write, inbox, backlog, reading, seen, log, reader }
    }

    /// Sends octets as they are; over WebSocket as one message.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Verdict {
        self.note(">", bytes);
        let framed;
        let wire = match self.via {
            Via::Ws => {
                framed = ws::frame(bytes);
                &framed
            }
            _ => bytes,
        };
        self.write(wire).await
    }

    /// Sends without a line in the transcript, for what is long.
    pub(crate) async fn send_quietly(&mut self, bytes: &[u8]) -> Verdict {
        self.write(bytes).await
    }

    /// Sends prepared WebSocket frames that carry `message`.
    pub(crate) async fn send_frames(&mut self, message: &[u8], frames: &[u8]) -> Verdict {
        self.note("> (frames)", message);
        self.write(frames).await
    }

    async fn write(&mut self, mut wire: &[u8]) -> Verdict {
        loop {
            let step = async {
                match wire {
                    [] => self.write.flush().await.map(|()| 0),
                    rest => self.write.write(rest).await,
                }
            };
            match timeout(WRITE, step).await {
                Ok(Ok(0)) if wire.is_empty() => return Ok(()),
                Ok(Ok(0)) => return fail("cannot send: the target takes nothing more"),
                Ok(Ok(written)) => wire = &wire[written..],
                Ok(Err(error)) => return fail(format!("cannot send: {error}")),
                Err(_) => return fail(format!("the target took nothing for {} s", WRITE.as_secs())),
            }
        }
    }

    fn note(&self, mark: &str, bytes: &[u8]) {
        /// Of a body no more is shown.
        const SHOWN: usize = 600;
        let cut = &bytes[..bytes.len().min(SHOWN)];
        self.log.add(mark, &format!("{} at {}, {} octets", self.via.name(), self.local, bytes.len()), cut);
    }

    /// Sends FIN; what the target still sends is read.
    pub(crate) async fn finish(&mut self) {
        let _ = timeout(WRITE, self.write.shutdown()).await;
    }

    /// Stops or resumes reading from the socket.
    pub(crate) fn read(&self, on: bool) {
        let _ = self.reading.send(on);
    }

    /// WebSocket pongs that came so far.
    pub(crate) fn pongs(&self) -> u64 {
        self.seen.pongs.load(Ordering::Relaxed)
    }

    /// Whether a frame has begun to come in and is not whole.
    pub(crate) fn is_within(&self) -> bool {
        self.seen.within.load(Ordering::Relaxed)
    }

    /// The first frame that `wanted` takes, from what is at hand or within `wait`; others stay for later.
    pub(crate) async fn take(&mut self, wait: Duration, mut wanted: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        if let Some(at) = self.backlog.iter().position(&mut wanted) {
            return self.backlog.remove(at);
        }
        let until = Instant::now() + wait;
        while !self.closed {
            match timeout_at(until, self.inbox.recv()).await {
                Ok(Some(Inbound::Frame(frame))) => {
                    if wanted(&frame) {
                        return Some(frame);
                    }
                    self.backlog.push_back(frame);
                }
                Ok(Some(Inbound::Closed) | None) => self.closed = true,
                Err(_) => return None,
            }
        }
        None
    }

    /// Waits until the target closes the connection.
    pub(crate) async fn wait_closed(&mut self, wait: Duration) -> bool {
        self.take(wait, |_| false).await;
        self.closed
    }

    /// The response with that transaction id.
    pub(crate) async fn response(&mut self, tid: &str, wait: Duration) -> Option<Frame> {
        self.take(wait, |frame| frame.status.is_some() && frame.tid == tid).await
    }
}

struct Inflow {
    tx: mpsc::UnboundedSender<Inbound>,
    gate: watch::Receiver<bool>,
    seen: Arc<Seen>,
    log: Transcript,
    name: String,
}

impl Inflow {
    async fn stream(mut self, mut read: Reading) {
        let (mut decoder, mut buffer) = (Decoder::default(), vec![0; 65_536]);
        loop {
            if self.gate.wait_for(|on| *on).await.is_err() {
                return;
            }
            match read.read(&mut buffer).await {
                Ok(len) if len > 0 => {
                    if !self.take(&mut decoder, &buffer[..len]) {
                        return;
                    }
                }
                _ => break,
            }
        }
        if decoder.is_within() {
            self.log.note("the connection ended within a frame");
        }
        self.end();
    }

    /// One WebSocket message is one frame (RFC 7977 §5.1).
    async fn messages(mut self, read: Reading, rest: Vec<u8>) {
        let mut messages = ws::Reader::new(read, rest);
        loop {
            if self.gate.wait_for(|on| *on).await.is_err() {
                return;
            }
            let pong = || {
                self.seen.pongs.fetch_add(1, Ordering::Relaxed);
            };
            let Ok(Some(message)) = messages.message_and(pong).await else { break };
            let mut decoder = Decoder::default();
            if !self.take(&mut decoder, &message) {
                return;
            }
            if decoder.is_within() {
                self.log.fault(format!("a WebSocket message of {} octets is not one whole chunk", message.len()));
            }
        }
        self.end();
    }

    /// False when nobody listens or nothing more can be read.
    fn take(&mut self, decoder: &mut Decoder, bytes: &[u8]) -> bool {
        decoder.feed(bytes);
        let mut frames = 0;
        loop {
            match decoder.next() {
                Ok(Some(frame)) => {
                    frames += 1;
                    if let Some(fault) = frame.fault() {
                        self.log.fault(format!("{}: {fault}", frame.start));
                    }
                    if frames == 2 && self.name.starts_with("ws") {
                        self.log.fault("a WebSocket message holds more than one chunk".into());
                    }
                    self.show(&frame);
                    if self.tx.send(Inbound::Frame(frame)).is_err() {
                        return false;
                    }
                }
                Ok(None) => break,
                Err(why) => {
                    self.log.fault(why);
                    let _ = self.tx.send(Inbound::Closed);
                    return false;
                }
            }
        }
        self.seen.within.store(decoder.is_within(), Ordering::Relaxed);
        true
    }

    fn show(&self, frame: &Frame) {
        let mut out = format!("{}\r\n", frame.start);
        for (name, value) in &frame.headers {
            out += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &frame.body {
            out += &format!("\r\n{}\r\n", String::from_utf8_lossy(&body[..body.len().min(200)]));
        }
        out += &format!("-------{}{}", frame.tid, char::from(frame.flag));
        self.log.add("<", &format!("{}, body {} octets", self.name, frame.len), out.as_bytes());
    }

    fn end(&self) {
        self.log.note(&format!("{}: closed by the target", self.name));
        let _ = self.tx.send(Inbound::Closed);
    }
}
