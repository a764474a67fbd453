//! Raw connections over WebSocket (RFC 7977): nothing is collected.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use chappe_net::{CloseReason, Config, Reading, Upgrade, UpgradedSocket};
use chappe_sip::{Flow, Transport};
use support::connect;
use support::raw::{Seen, Server, pattern};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// Plays the HTTP server of a SIP listener that hands MSRP's sockets to MSRP's `Net`.
struct Http {
    sip: support::Server,
    msrp: Server,
    listener: std::net::TcpListener,
}

impl Http {
    fn new(change: impl FnOnce(&mut Config), answer: fn(&[u8]) -> Reading) -> Http {
        let sip = support::Server::echo(&["ws://127.0.0.1:0"], |_| {});
        let change = |config: &mut Config| {
            config.listeners[1].subprotocol = "msrp";
            change(config);
        };
        let listeners = &["tcp://127.0.0.1:0", "ws://127.0.0.1:0"];
        let msrp = Server::new(listeners, change, move |_, flow, bytes, out| {
            if bytes == b"echo" {
                out.send(*flow, Bytes::copy_from_slice(bytes), 0);
            }
            answer(bytes)
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Http { sip, msrp, listener }
    }

    fn hand_over(&self, protocol: &str, to_msrp: bool) -> (TcpStream, Option<Flow>) {
        let client = connect(self.listener.local_addr().unwrap());
        let (tcp, remote) = self.listener.accept().unwrap();
        tcp.set_nonblocking(true).unwrap();
        let _context = self.sip.runtime.enter();
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        let (io, remote) = self.sip.runtime.block_on(self.sip.net.accept_http(0, tcp, remote)).unwrap();
        let upgrade = Upgrade { path: "/ws".into(), protocol: protocol.into(), ..Upgrade::default() };
        let (net, listener) = if to_msrp { (&self.msrp.net, 1) } else { (&self.sip.net, 0) };
        let socket = UpgradedSocket { io, leftover: Bytes::new(), remote, listener, upgrade };
        (client, net.adopt_websocket(socket))
    }

    fn upgrade(&self) -> (WebSocket<TcpStream>, Flow) {
        let (client, flow) = self.hand_over("msrp", true);
        let (opened, info) = self.msrp.opened();
        assert_eq!((Some(opened), info.upgrade.unwrap().protocol.as_str()), (flow, "msrp"));
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        (WebSocket::from_raw_socket(client, Role::Client, Some(config)), opened)
    }
}

fn fragment(bytes: &[u8], kind: Data, last: bool) -> Message {
    Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(kind), last))
}

/// Data up to the end of the message, and the largest piece of it.
fn message(server: &Server) -> (Vec<u8>, usize) {
    let (mut all, mut largest) = (Vec::new(), 0);
    loop {
        match server.next() {
            Seen::Data(bytes) => {
                largest = largest.max(bytes.len());
                all.extend(bytes);
            }
            Seen::MessageEnd => return (all, largest),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sockets_go_where_their_protocol_is_spoken() {
    let http = Http::new(|_| {}, |_| Reading::More);
    for (protocol, to_msrp, taken) in
        [("msrp", true, true), ("MSRP", true, true), ("sip", true, false), ("msrp", false, false), ("sip", false, true)]
    {
        let (mut client, flow) = http.hand_over(protocol, to_msrp);
        assert_eq!(flow.is_some(), taken, "{protocol}");
        if !taken {
            assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
        }
    }
}

#[test]
fn messages_both_ways() {
    let http = Http::new(|_| {}, |_| Reading::More);
    let (mut client, flow) = http.upgrade();
    assert_eq!(flow.transport, Transport::Ws);
    client.send(Message::text("echo")).unwrap();
    assert_eq!(client.read().unwrap(), Message::binary(&b"echo"[..]));
    assert_eq!(message(&http.msrp).0, b"echo");
    // Text is not looked at.
    client.send(fragment(b"\xff\xfe", Data::Text, true)).unwrap();
    assert_eq!(message(&http.msrp).0, b"\xff\xfe");
    // Each item is a message of its own, large or small.
    for length in [0, 1, 125, 126, 4095, 4096, 65_535, 65_536, 300_000] {
        http.msrp.net.send(&flow, Bytes::from(pattern(length))).unwrap();
        assert_eq!(client.read().unwrap(), Message::binary(pattern(length)), "{length}");
    }
    let mut out = chappe_net::Outbox::new();
    for length in [10, 5000, 20, 6000] {
        out.send(flow, Bytes::from(pattern(length)), 0);
    }
    http.msrp.net.flush(&mut out);
    for length in [10, 5000, 20, 6000] {
        assert_eq!(client.read().unwrap(), Message::binary(pattern(length)), "{length}");
    }
    // Or several are, up to the ends that are given.
    let messages = [&[3, 4][..], &[10], &[200, 5000, 4], &[70_000, 30_000], &[1, 1, 1]];
    let (mut pieces, mut ends) = (Vec::new(), Vec::new());
    for message in messages {
        let mut whole = Bytes::from(pattern(message.iter().sum()));
        pieces.extend(message.iter().map(|length| whole.split_to(*length)));
        ends.push(pieces.len());
    }
    http.msrp.net.send_all(&flow, pieces, &ends).unwrap();
    for message in messages {
        assert_eq!(client.read().unwrap(), Message::binary(pattern(message.iter().sum())), "{message:?}");
    }
    client.close(None).unwrap();
    while client.read().is_ok() {}
    assert_eq!(http.msrp.closed(), (flow, CloseReason::Peer));
}

#[test]
fn fragments_of_one_byte() {
    let http = Http::new(|_| {}, |_| Reading::More);
    let (mut client, _) = http.upgrade();
    let sent = pattern(5000);
    client.write(fragment(b"", Data::Binary, false)).unwrap();
    for (n, byte) in sent.iter().enumerate() {
        client.write(fragment(&[*byte], Data::Continue, n + 1 == sent.len())).unwrap();
        if n == 2500 {
            client.write(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
        }
    }
    client.flush().unwrap();
    assert!(message(&http.msrp).0 == sent);
    assert_eq!(client.read().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
}

#[test]
fn fragments_of_many_megabytes_are_not_collected() {
    // A limit for whole messages means nothing here.
    let http = Http::new(|config| config.limits.message = 1000, |_| Reading::More);
    let (mut client, _) = http.upgrade();
    let sent = pattern(10 << 20);
    let writer = {
        let sent = sent.clone();
        std::thread::spawn(move || {
            for (kind, last) in [(Data::Text, false), (Data::Continue, false), (Data::Continue, true)] {
                client.send(fragment(&sent, kind, last)).unwrap();
            }
            client
        })
    };
    let (got, largest) = message(&http.msrp);
    assert!(got == sent.repeat(3));
    assert!(largest <= 64 * 1024, "{largest}");
    let mut client = writer.join().unwrap();
    client.send(Message::binary(&b"echo"[..])).unwrap();
    assert_eq!(client.read().unwrap(), Message::binary(&b"echo"[..]));
}

#[test]
fn a_paused_socket_is_not_read_and_not_pinged() {
    let change = |config: &mut Config| config.limits.websocket_ping = Duration::from_secs(1);
    let http = Http::new(change, |bytes| if bytes == b"pause" { Reading::Pause } else { Reading::More });
    let (mut client, flow) = http.upgrade();
    client.send(Message::text("pause")).unwrap();
    assert_eq!(message(&http.msrp).0, b"pause");
    // Opened later, and pinged.
    let (mut other, _) = http.upgrade();
    assert_eq!(other.read().unwrap(), Message::Ping(Bytes::new()));
    client.get_mut().set_nonblocking(true).unwrap();
    assert!(client.read().is_err_and(|e| matches!(e, tungstenite::Error::Io(_))), "pinged");
    client.get_mut().set_nonblocking(false).unwrap();
    client.send(Message::text("more")).unwrap();
    http.msrp.net.resume(&flow);
    assert_eq!(message(&http.msrp).0, b"more");
    assert_eq!(client.read().unwrap(), Message::Ping(Bytes::new()));
}

fn close_code(client: &mut WebSocket<TcpStream>) -> Option<CloseCode> {
    loop {
        match client.read() {
            Ok(Message::Close(frame)) => return frame.map(|f| f.code),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

#[test]
fn broken_rules_end_the_connection() {
    let http = Http::new(|_| {}, |bytes| if bytes == b"end" { Reading::End } else { Reading::More });
    let (mut client, flow) = http.upgrade();
    client.get_mut().write_all(b"\x82\x01x").unwrap();
    assert_eq!(close_code(&mut client), Some(CloseCode::Protocol));
    assert_eq!(http.msrp.closed(), (flow, CloseReason::Protocol));
    // What came whole before it has been handed over.
    let (mut client, flow) = http.upgrade();
    client.get_mut().write_all(b"\x82\x81\0\0\0\0x\x80\x81\0\0\0\0y").unwrap();
    assert_eq!(close_code(&mut client), Some(CloseCode::Protocol));
    assert_eq!(message(&http.msrp).0, b"x");
    assert_eq!(http.msrp.closed(), (flow, CloseReason::Protocol));
    // The user has had enough.
    let (mut client, flow) = http.upgrade();
    client.write(Message::text("end")).unwrap();
    client.write(Message::text("not seen")).unwrap();
    client.flush().unwrap();
    assert_eq!(close_code(&mut client), Some(CloseCode::Normal));
    drop(client);
    assert!(matches!(http.msrp.next(), Seen::Data(bytes) if bytes == b"end"));
    assert_eq!(http.msrp.closed(), (flow, CloseReason::Malformed));
}
