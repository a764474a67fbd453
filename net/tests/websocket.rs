//! SIP over WebSocket (RFC 7118) on connections handed over by an HTTP server.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use chappe_net::{CloseReason, Config, FrameError, Upgrade, UpgradedSocket};
use chappe_sip::{Flow, Transport};
use support::{Seen, Server, connect, options};
use tungstenite::protocol::Role;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Message, WebSocket};

/// Plays the HTTP server: accepts, skips the request, and hands over.
struct Http {
    server: Server,
    listener: std::net::TcpListener,
}

impl Http {
    fn new(change: impl FnOnce(&mut Config)) -> Http {
        let server = Server::echo(&["tcp://127.0.0.1:0", "ws://127.0.0.1:0"], change);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        server.net.set_address(1, listener.local_addr().unwrap());
        Http { server, listener }
    }

    fn upgrade(&self, leftover: &[u8]) -> (WebSocket<TcpStream>, Flow) {
        let client = connect(self.listener.local_addr().unwrap());
        let (tcp, remote) = self.listener.accept().unwrap();
        tcp.set_nonblocking(true).unwrap();
        let _context = self.server.runtime.enter();
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        let (io, remote): (_, SocketAddr) =
            self.server.runtime.block_on(self.server.net.accept_http(1, tcp, remote)).unwrap();
        let upgrade = Upgrade { path: "/ws".into(), protocol: "sip".into(), ..Upgrade::default() };
        let leftover = Bytes::copy_from_slice(leftover);
        let socket = UpgradedSocket { io, leftover, remote, listener: 1, upgrade };
        let flow = self.server.net.adopt_websocket(socket).unwrap();
        let (opened, info) = self.server.opened();
        assert_eq!((opened, info.upgrade.unwrap().path.as_str()), (flow, "/ws"));
        (WebSocket::from_raw_socket(client, Role::Client, None), flow)
    }
}

#[test]
fn messages_both_ways() {
    let http = Http::new(|_| {});
    assert_eq!(http.server.net.listeners().len(), 2);
    let (mut client, flow) = http.upgrade(b"");
    assert_eq!((flow.transport, flow.listener), (Transport::Ws, 1));
    let text = options(1, "grüße");
    client.send(Message::text(text.clone())).unwrap();
    assert_eq!(client.read().unwrap(), Message::text(text.clone()));
    assert_eq!(http.server.message(), (flow, Bytes::from(text.clone())));
    let binary = [options(1, "").as_bytes(), b"\xff\xfe"].concat();
    client.send(Message::binary(binary.clone())).unwrap();
    assert_eq!(client.read().unwrap(), Message::binary(binary.clone()));
    assert_eq!(http.server.message().1, binary);
    for n in 0..50 {
        client.write(Message::text(options(n, "burst"))).unwrap();
    }
    client.flush().unwrap();
    for n in 0..50 {
        assert_eq!(client.read().unwrap(), Message::text(options(n, "burst")));
        assert_eq!(http.server.message().1, options(n, "burst"));
    }
    client.close(None).unwrap();
    while client.read().is_ok() {}
    assert_eq!(http.server.closed(), CloseReason::Peer);
}

#[test]
fn fragments_with_a_ping_between_are_one_message() {
    let http = Http::new(|_| {});
    let (mut client, _) = http.upgrade(b"");
    let text = options(1, "in pieces");
    let (a, b) = text.split_at(20);
    client.send(Message::Frame(Frame::message(a.to_owned(), OpCode::Data(Data::Text), false))).unwrap();
    client.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
    client.send(Message::Frame(Frame::message(b.to_owned(), OpCode::Data(Data::Continue), true))).unwrap();
    assert_eq!(client.read().unwrap(), Message::text(text.clone()));
    assert_eq!(http.server.message().1, text);
}

#[test]
fn keep_alives_inside_messages_and_from_us() {
    let http = Http::new(|config| config.limits.websocket_ping = Duration::from_secs(1));
    let (mut client, _) = http.upgrade(b"");
    client.send(Message::text("\r\n\r\n")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("\r\n"));
    assert_eq!(client.read().unwrap(), Message::Ping(Bytes::new()));
    client.flush().unwrap();
    assert_eq!(client.read().unwrap(), Message::Ping(Bytes::new()), "after the pong it counts anew");
}

#[test]
fn what_the_http_server_read_too_much_is_not_lost() {
    let http = Http::new(|_| {});
    let text = options(1, "");
    // A masked text frame with a mask of zeros.
    let mut early = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    early.extend_from_slice(text.as_bytes());
    assert!(text.len() < 126);
    let (mut client, _) = http.upgrade(&early);
    assert_eq!(client.read().unwrap(), Message::text(text));
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
    let http = Http::new(|config| config.limits.message = 10_000);
    let (mut client, _) = http.upgrade(b"");
    let _ = client.send(Message::text("x".repeat(10_001)));
    assert_eq!(close_code(&mut client), Some(CloseCode::Size));
    let Seen::Malformed(_, _, error) = http.server.next() else { panic!() };
    assert_eq!(error, FrameError::TooLarge { length: 10_001, max: 10_000 });
    drop(client);
    assert_eq!(http.server.closed(), CloseReason::Malformed);

    let (mut client, _) = http.upgrade(b"");
    client.send(Message::Frame(Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true))).unwrap();
    assert_eq!(close_code(&mut client), Some(CloseCode::Invalid));
    assert_eq!(http.server.closed(), CloseReason::Protocol);

    // Not masked, as a client must.
    let (mut client, _) = http.upgrade(b"\x81\x01x");
    assert_eq!(close_code(&mut client), Some(CloseCode::Protocol));
    assert_eq!(http.server.closed(), CloseReason::Protocol);
}

#[test]
fn a_close_of_ours_says_so() {
    let http = Http::new(|_| {});
    let (mut client, flow) = http.upgrade(b"");
    http.server.net.close(&flow);
    assert_eq!(close_code(&mut client), Some(CloseCode::Normal));
    assert_eq!(http.server.closed(), CloseReason::Local);
}
