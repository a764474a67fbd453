//! Raw connections: bytes as they come, with back-pressure, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_net::{CloseReason, Config, ConnectionInfo, Events, Net, Outbox, Reading, SendError};
use chappe_sip::Flow;
use support::raw::{Seen, Server, echo, pattern, raw_listeners, sink, start};
use support::{WAIT, connect, read_exact, write};

const TCP: &[&str] = &["tcp://127.0.0.1:0"];
/// What one read brings at most.
const READ: usize = 64 * 1024;

/// Writes `bytes` until the system's buffers of both ends stay full: until nothing more goes for a while of yields.
fn fill(stream: &TcpStream, bytes: &[u8]) -> usize {
    stream.set_nonblocking(true).unwrap();
    let (mut written, mut full) = (0, 0);
    while written < bytes.len() && full < 2000 {
        match (&*stream).write(&bytes[written..]) {
            Ok(n) => (written, full) = (written + n, 0),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                full += 1;
                std::thread::yield_now();
            }
            Err(e) => panic!("{e}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    written
}

#[test]
fn bytes_come_as_they_are_sent() {
    let server = echo(TCP, |_| {});
    let mut client = connect(server.address());
    let (flow, _) = server.opened();
    // Neither a keep-alive nor the beginning of a TLS handshake means anything here.
    for text in ["\r\n\r\n", "MSRP d93kswow SEND\r\n", "\x16\x03\x01"] {
        write(&mut client, text);
        assert_eq!(read_exact(&mut client, text.len()), text);
        assert_eq!(server.data(), text.as_bytes());
    }
    let text = "MSRP a786hjs2 SEND\r\nTo-Path: msrp://b\r\n";
    for byte in text.bytes() {
        write(&mut client, [byte]);
        let mut back = [0];
        client.read_exact(&mut back).unwrap();
        assert_eq!((back, server.data()), ([byte], vec![byte]));
    }
    assert_eq!(server.net.queued(&flow), 0);
    drop(client);
    assert_eq!(server.closed(), (flow, CloseReason::Peer));
}

#[test]
fn a_paused_connection_is_not_read() {
    let server = Server::new(TCP, |_| {}, |_, _, _, _| Reading::Pause);
    let mut client = connect(server.address());
    let (flow, _) = server.opened();
    write(&mut client, "first");
    let mut got = server.data();
    // Buffers of both ends together are far smaller than this.
    let sent = [b"first".to_vec(), pattern(64 << 20)].concat();
    let written = 5 + fill(&client, &sent[5..]);
    assert!(written < sent.len(), "was read");
    assert!(server.seen.try_recv().is_err(), "was read");
    // Each resume brings one read.
    let before = got.len();
    server.net.resume(&flow);
    got.extend(server.data());
    assert!((before + 1..=before + READ).contains(&got.len()));
    // It is still written to.
    server.net.send(&flow, Bytes::from_static(b"answer")).unwrap();
    assert_eq!(read_exact(&mut client, 6), "answer");
    client.shutdown(Shutdown::Write).unwrap();
    while got.len() < written {
        server.net.resume(&flow);
        got.extend(server.data());
    }
    assert!(got == sent[..written]);
    server.net.resume(&flow);
    assert_eq!(server.closed(), (flow, CloseReason::Peer));
    server.net.resume(&flow);
    assert_eq!((server.net.queued(&flow), server.net.connections()), (0, 0));
}

#[test]
fn an_early_resume_is_not_lost() {
    let server = Server::new(
        TCP,
        |_| {},
        |net, flow, _, _| {
            net.resume(flow);
            Reading::Pause
        },
    );
    let mut client = connect(server.address());
    server.opened();
    for n in 0..100u8 {
        write(&mut client, [n]);
        assert_eq!(server.data(), [n]);
    }
}

#[test]
fn a_paused_connection_is_not_idle_but_dead_ones_are_seen() {
    let change = |config: &mut Config| config.limits.idle = Duration::from_secs(1);
    let server = Server::new(TCP, change, |_, _, bytes, _| match bytes {
        b"pause" => Reading::Pause,
        _ => Reading::More,
    });
    let mut paused = connect(server.address());
    let (flow, _) = server.opened();
    write(&mut paused, "pause");
    assert_eq!(server.data(), b"pause");
    // Opened later, so it would be closed later.
    let silent = connect(server.address());
    let (silent_flow, _) = server.opened();
    assert_eq!(server.closed(), (silent_flow, CloseReason::Idle));
    drop(silent);
    assert!(server.net.is_open(&flow));
    // Closing with something unread makes the system say so with a reset.
    server.net.send(&flow, Bytes::from_static(b"unread")).unwrap();
    let mut seen = [0; 1];
    paused.peek(&mut seen).unwrap();
    drop(paused);
    assert_eq!(server.closed(), (flow, CloseReason::Reset));
}

#[test]
fn closing_a_paused_connection() {
    let server = Server::new(TCP, |_| {}, |_, _, _, _| Reading::Pause);
    let mut client = connect(server.address());
    let (flow, _) = server.opened();
    write(&mut client, "x");
    server.data();
    server.net.close(&flow);
    assert_eq!(server.closed(), (flow, CloseReason::Local));
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(server.net.send(&flow, Bytes::from_static(b"late")), Err(SendError::Gone));
}

#[test]
fn the_last_answer_arrives_at_a_peer_that_goes_on_sending() {
    let server = Server::new(
        TCP,
        |_| {},
        |_, flow, _, out| {
            out.send(*flow, Bytes::from_static(b"MSRP x 400\r\n"), 0);
            Reading::End
        },
    );
    let mut client = connect(server.address());
    let (flow, _) = server.opened();
    write(&mut client, "nonsense");
    server.data();
    let mut answer = String::new();
    write(&mut client, pattern(300_000));
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "MSRP x 400\r\n");
    drop(client);
    assert_eq!(server.closed(), (flow, CloseReason::Malformed));
}

#[test]
fn marks_are_told_of() {
    let change = |config: &mut Config| {
        config.limits.backlog = 64 << 20;
        (config.limits.high_mark, config.limits.low_mark) = (1 << 20, 1 << 18);
        config.limits.send_buffer = 64 * 1024;
    };
    let server = sink(TCP, change);
    let mut client = connect(server.address());
    let (flow, _) = server.opened();
    let piece = Bytes::from(pattern(100_000));
    let mut sent = 0;
    while server.net.queued(&flow) <= 1 << 20 {
        server.net.send(&flow, piece.clone()).unwrap();
        sent += 1;
    }
    assert!(server.seen.try_recv().is_err());
    let mut got = vec![0; sent * piece.len()];
    client.read_exact(&mut got).unwrap();
    assert!(got == piece.repeat(sent));
    assert!(matches!(server.next(), Seen::Writable(writable) if writable == flow));
    assert!(server.net.queued(&flow) <= 1 << 18);
    // Once only, until it has been high again.
    server.net.send(&flow, piece.clone()).unwrap();
    client.read_exact(&mut got[..piece.len()]).unwrap();
    write(&mut client, "x");
    assert_eq!(server.data(), b"x");
}

/// Sends what one side gives to the other side, and pauses the giver while too much waits for the taker.
struct Forwarder {
    net: Net,
    /// Giver, taker, and whether the giver is paused.
    ends: Mutex<(Option<Flow>, Option<Flow>, bool)>,
    most: AtomicUsize,
    pauses: AtomicUsize,
    ready: Mutex<Sender<()>>,
}

impl Events for Forwarder {
    fn opened(&self, flow: &Flow, _info: &ConnectionInfo) {
        let mut ends = self.ends.lock().unwrap();
        if ends.0.is_none() {
            ends.0 = Some(*flow);
        } else {
            ends.1 = Some(*flow);
        }
        self.ready.lock().unwrap().send(()).unwrap();
    }

    fn data(&self, _flow: &Flow, bytes: &Bytes, _out: &mut Outbox) -> Reading {
        let mut ends = self.ends.lock().unwrap();
        let taker = ends.1.unwrap();
        self.net.send(&taker, bytes.clone()).unwrap();
        let queued = self.net.queued(&taker);
        self.most.fetch_max(queued, Ordering::Relaxed);
        if queued <= HIGH {
            return Reading::More;
        }
        self.pauses.fetch_add(1, Ordering::Relaxed);
        ends.2 = true;
        Reading::Pause
    }

    fn writable(&self, _flow: &Flow, _out: &mut Outbox) {
        let mut ends = self.ends.lock().unwrap();
        if std::mem::take(&mut ends.2) {
            self.net.resume(&ends.0.unwrap());
        }
    }
}

const HIGH: usize = 128 * 1024;

#[test]
fn a_slow_reader_bounds_what_is_held_for_it() {
    let mut config = raw_listeners(TCP);
    config.limits.backlog = 1 << 20;
    (config.limits.high_mark, config.limits.low_mark) = (HIGH, HIGH / 4);
    config.limits.send_buffer = 64 * 1024;
    let (sender, ready) = channel();
    let mut forwarder = None;
    let (net, runtime) = start(config, |net| {
        let (most, pauses) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let made =
            Arc::new(Forwarder { net: net.clone(), ends: Mutex::default(), most, pauses, ready: Mutex::new(sender) });
        forwarder = Some(made.clone());
        made
    });
    let forwarder = forwarder.unwrap();
    let address = net.listener(0).unwrap().local;
    let giver = connect(address);
    ready.recv_timeout(WAIT).unwrap();
    let mut taker = connect(address);
    ready.recv_timeout(WAIT).unwrap();
    let sent = Arc::new(pattern(48 << 20));
    // Nobody reads: after a while nothing goes any more, and little is held.
    let written = fill(&giver, &sent);
    assert!(written < sent.len());
    let rest = {
        let (sent, mut giver) = (sent.clone(), giver.try_clone().unwrap());
        std::thread::spawn(move || giver.write_all(&sent[written..]).unwrap())
    };
    // In bites of many sizes, so that it stops and goes.
    let (mut got, mut bite) = (Vec::with_capacity(sent.len()), vec![0; 300_000]);
    while got.len() < sent.len() {
        let size = 1 + got.len() % 300_000;
        let n = taker.read(&mut bite[..size]).unwrap();
        assert_ne!(n, 0);
        got.extend_from_slice(&bite[..n]);
    }
    rest.join().unwrap();
    assert!(got == *sent);
    let (most, pauses) = (forwarder.most.load(Ordering::Relaxed), forwarder.pauses.load(Ordering::Relaxed));
    assert!(most <= HIGH + READ && pauses > 1, "{most} bytes, {pauses} pauses");
    runtime.block_on(net.close_all(Instant::now() + Duration::from_millis(200)));
}
