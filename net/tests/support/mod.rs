//! A user of the transport layer that notes what it is told, and SIP text to send.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part of these")]

pub mod raw;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_net::{CloseReason, Config, ConnectionInfo, Events, FrameError, ListenerConfig, Net, Outbox, SendError};
use chappe_sip::Flow;
use tokio::runtime::Runtime;

pub const WAIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum Seen {
    Opened(Flow, Box<ConnectionInfo>),
    Message(Flow, Bytes),
    Malformed(Flow, Bytes, FrameError),
    Closed(Flow, CloseReason),
    Failed(u64, SendError),
}

type Answer = Box<dyn Fn(&Flow, &Bytes, &mut Outbox) + Send + Sync>;

pub struct Recorder {
    seen: Mutex<Sender<Seen>>,
    answer: Answer,
}

impl Recorder {
    fn note(&self, seen: Seen) {
        let _ = self.seen.lock().unwrap().send(seen);
    }
}

impl Events for Recorder {
    fn message(&self, flow: &Flow, bytes: Bytes, out: &mut Outbox) {
        (self.answer)(flow, &bytes, out);
        self.note(Seen::Message(*flow, bytes));
    }

    fn malformed(&self, flow: &Flow, prefix: Bytes, error: FrameError, out: &mut Outbox) {
        out.send(*flow, Bytes::from_static(b"SIP/2.0 400 Bad\r\nContent-Length: 0\r\n\r\n"), 0);
        self.note(Seen::Malformed(*flow, prefix, error));
    }

    fn opened(&self, flow: &Flow, info: &ConnectionInfo) {
        self.note(Seen::Opened(*flow, Box::new(info.clone())));
    }

    fn closed(&self, flow: &Flow, why: CloseReason) {
        self.note(Seen::Closed(*flow, why));
    }

    fn send_failed(&self, tag: u64, error: SendError) {
        self.note(Seen::Failed(tag, error));
    }
}

/// A running transport layer with its own runtime.
pub struct Server {
    pub net: Net,
    pub seen: Receiver<Seen>,
    pub runtime: Runtime,
}

impl Server {
    /// Starts `listeners` on free ports; every request is echoed.
    pub fn echo(listeners: &[&str], change: impl FnOnce(&mut Config)) -> Server {
        Server::new(listeners, change, Box::new(|flow, bytes, out| out.send(*flow, bytes.clone(), 7)))
    }

    pub fn new(listeners: &[&str], change: impl FnOnce(&mut Config), answer: Answer) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listeners = listeners.iter().map(|text| text.parse::<ListenerConfig>().unwrap()).collect();
        let mut config = Config { listeners, ..Config::default() };
        change(&mut config);
        let (sender, seen) = channel();
        let _context = runtime.enter();
        let net = Net::start(config, Arc::new(Recorder { seen: Mutex::new(sender), answer })).unwrap();
        drop(_context);
        Server { net, seen, runtime }
    }

    pub fn address(&self, index: u16) -> SocketAddr {
        self.net.listener(index).unwrap().local
    }

    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(WAIT).expect("an event")
    }

    pub fn opened(&self) -> (Flow, ConnectionInfo) {
        match self.next() {
            Seen::Opened(flow, info) => (flow, *info),
            other => panic!("expected an opened connection, saw {other:?}"),
        }
    }

    pub fn message(&self) -> (Flow, Bytes) {
        match self.next() {
            Seen::Message(flow, bytes) => (flow, bytes),
            other => panic!("expected a message, saw {other:?}"),
        }
    }

    pub fn closed(&self) -> CloseReason {
        match self.next() {
            Seen::Closed(_, why) => why,
            other => panic!("expected a closed connection, saw {other:?}"),
        }
    }

    pub fn failed(&self) -> (u64, SendError) {
        match self.next() {
            Seen::Failed(tag, error) => (tag, error),
            other => panic!("expected a failure, saw {other:?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(200);
        self.runtime.block_on(self.net.close_all(deadline));
    }
}

pub fn options(n: usize, body: &str) -> String {
    format!(
        "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{n}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.set_write_timeout(Some(WAIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub fn read_exact(stream: &mut impl Read, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

pub fn write(stream: &mut impl Write, text: impl AsRef<[u8]>) {
    stream.write_all(text.as_ref()).unwrap();
    stream.flush().unwrap();
}
