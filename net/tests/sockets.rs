//! UDP and TCP over real sockets, with clients of the standard library.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_net::{CloseReason, FrameError, Net, Outbox, SendError, Target};
use chappe_sip::{Flow, Transport};
use support::{Seen, Server, WAIT, connect, options, read_exact, write};

fn udp_client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    socket
}

#[test]
fn datagrams_are_answered_on_the_same_flow() {
    let server = Server::echo(&["udp://127.0.0.1:0", "udp://[::1]:0"], |_| {});
    let client = udp_client();
    let text = options(1, "hi");
    client.send_to(format!("\r\n{text}").as_bytes(), server.address(0)).unwrap();
    let mut buffer = [0; 2000];
    let (length, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (text.as_bytes(), server.address(0)));
    let (flow, bytes) = server.message();
    assert_eq!((flow.transport, flow.listener, flow.connection), (Transport::Udp, 0, 0));
    assert_eq!((flow.remote, &bytes[..]), (client.local_addr().unwrap(), text.as_bytes()));
    let target = Target::new(Transport::Udp, "[::1]:9".parse().unwrap());
    assert_eq!(server.net.listener_for(&target), Some(1));
}

#[test]
fn stun_is_answered_and_junk_is_not() {
    let server = Server::echo(&["udp://127.0.0.1:0"], |_| {});
    let client = udp_client();
    for junk in [&b"\r\n\r\n"[..], b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\x80abc", b""] {
        client.send_to(junk, server.address(0)).unwrap();
    }
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    request.extend([7; 12]);
    client.send_to(&request, server.address(0)).unwrap();
    let mut buffer = [0; 100];
    let (length, _) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((length, &buffer[..2], &buffer[8..20]), (32, &[1, 1][..], &[7; 12][..]));
    let port = u16::from_be_bytes([buffer[26], buffer[27]]) ^ 0x2112;
    assert_eq!(port, client.local_addr().unwrap().port());
    assert_eq!(server.net.counters().stun_requests.get(), 1);
}

#[test]
fn messages_in_any_pieces() {
    let server = Server::echo(&["tcp://127.0.0.1:0"], |_| {});
    let mut client = connect(server.address(0));
    let texts: Vec<String> = (0..3).map(|n| options(n, &"body ".repeat(n * 10))).collect();
    for byte in texts.concat().bytes() {
        write(&mut client, [byte]);
    }
    assert_eq!(read_exact(&mut client, texts.concat().len()), texts.concat());
    let (flow, info) = server.opened();
    assert_eq!((flow.remote, info.outbound), (client.local_addr().unwrap(), false));
    for text in &texts {
        assert_eq!(server.message().1, text.as_bytes());
    }
    let many: String = (0..500).map(|n| options(n, "x")).collect();
    write(&mut client, &many);
    assert_eq!(read_exact(&mut client, many.len()), many);
    assert!(server.net.is_open(&flow));
    drop(client);
    for _ in 0..500 {
        server.message();
    }
    assert_eq!(server.closed(), CloseReason::Peer);
    assert_eq!(server.net.send(&flow, Bytes::from_static(b"late")), Err(SendError::Gone));
    assert_eq!(server.net.connections(), 0);
}

#[test]
fn a_burst_of_pings_is_answered_in_full() {
    let server = Server::echo(&["tcp://127.0.0.1:0"], |_| {});
    let mut client = connect(server.address(0));
    write(&mut client, "\r\n\r\n".repeat(300));
    assert_eq!(read_exact(&mut client, 600), "\r\n".repeat(300));
    write(&mut client, "\r\n\r\n");
    assert_eq!(read_exact(&mut client, 2), "\r\n");
}

#[test]
fn what_is_no_message_is_answered_and_closed() {
    let server = Server::echo(&["tcp://127.0.0.1:0"], |_| {});
    for (text, expected) in [
        ("OPTIONS sip:x SIP/2.0\r\nVia: y\r\n\r\n".to_owned(), FrameError::NoContentLength),
        (
            format!("OPTIONS sip:x SIP/2.0\r\nl: 9999999\r\n\r\n{}", "z".repeat(100_000)),
            FrameError::TooLarge { length: 10_000_037, max: 256 * 1024 },
        ),
        ("\x16\x03\x01\x02\0\x01\0".to_owned(), FrameError::NotSip),
    ] {
        let mut client = connect(server.address(0));
        write(&mut client, &text);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "SIP/2.0 400 Bad\r\nContent-Length: 0\r\n\r\n");
        server.opened();
        let Seen::Malformed(_, prefix, error) = server.next() else { panic!() };
        assert!(text.as_bytes().starts_with(&prefix));
        match (error, expected) {
            (FrameError::TooLarge { .. }, FrameError::TooLarge { .. }) => {}
            (error, expected) => assert_eq!(error, expected),
        }
        drop(client);
        assert_eq!(server.closed(), CloseReason::Malformed);
    }
}

#[test]
fn a_peer_that_does_not_read_is_closed_and_others_go_on() {
    let server = Server::echo(&["tcp://127.0.0.1:0"], |config| config.limits.backlog = 100_000);
    let slow = connect(server.address(0));
    let mut good = connect(server.address(0));
    let (flow, _) = server.opened();
    let slow_flow = if flow.remote == slow.local_addr().unwrap() { flow } else { server.opened().0 };
    let mut refused = None;
    for n in 0..100_000u64 {
        if let Err(error) = server.net.send(&slow_flow, Bytes::from(vec![b'x'; 10_000])) {
            refused = Some((n, error));
            break;
        }
    }
    assert!(matches!(refused, Some((1.., SendError::Backlog))), "{refused:?}");
    let text = options(1, "still here");
    write(&mut good, &text);
    assert_eq!(read_exact(&mut good, text.len()), text);
    loop {
        match server.next() {
            Seen::Closed(flow, why) => {
                assert_eq!((flow, why), (slow_flow, CloseReason::Slow));
                break;
            }
            other => drop(other),
        }
    }
    assert_eq!(server.net.counters().slow_peers.get(), 1);
}

#[test]
fn what_waits_for_a_slow_peer_arrives_in_order() {
    let server = Server::echo(&["tcp://127.0.0.1:0"], |config| config.limits.backlog = 64_000_000);
    let mut client = connect(server.address(0));
    let (flow, _) = server.opened();
    let mut expected = Vec::new();
    for n in 0..200u32 {
        let piece = vec![n as u8; 100_000 + n as usize];
        expected.extend_from_slice(&piece);
        server.net.send(&flow, Bytes::from(piece)).unwrap();
    }
    let mut got = vec![0; expected.len()];
    client.read_exact(&mut got).unwrap();
    assert!(got == expected);
}

#[test]
fn half_a_message_and_silence_are_not_waited_for() {
    let change = |config: &mut chappe_net::Config| {
        config.limits.message_timeout = Duration::from_secs(1);
        config.limits.idle = Duration::from_secs(2);
    };
    let server = Server::echo(&["tcp://127.0.0.1:0"], change);
    let mut half = connect(server.address(0));
    write(&mut half, "OPTIONS sip:x SIP/2.0\r\nVia");
    assert_eq!(half.read(&mut [0; 10]).unwrap(), 0);
    server.opened();
    assert_eq!(server.closed(), CloseReason::Idle);
    let mut silent = connect(server.address(0));
    assert_eq!(silent.read(&mut [0; 10]).unwrap(), 0);
}

fn flush(net: &Net, fill: impl FnOnce(&mut Outbox)) {
    let mut out = Outbox::new();
    fill(&mut out);
    net.flush(&mut out);
    assert!(out.is_empty());
}

#[test]
fn a_target_is_connected_to_once_and_used_again() {
    let server = Server::echo(&["tcp://127.0.0.1:0"], |_| {});
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new(Transport::Tcp, peer.local_addr().unwrap());
    let texts = [options(1, "one"), options(2, "two"), options(3, "three")];
    flush(&server.net, |out| {
        out.to(target.clone(), Bytes::from(texts[0].clone()), 1);
        out.to(target.clone(), Bytes::from(texts[1].clone()), 2);
    });
    flush(&server.net, |out| out.to(target.clone(), Bytes::from(texts[2].clone()), 3));
    let (mut stream, _) = peer.accept().unwrap();
    assert_eq!(read_exact(&mut stream, texts.concat().len()), texts.concat());
    let (flow, info) = server.opened();
    assert!(info.outbound);
    assert_eq!(server.net.reuse(&target), Some(flow));
    // Requests come back over the same connection, and a peer's own connection is found by its address as well.
    write(&mut stream, &texts[0]);
    assert_eq!(server.message().0, flow);
    let client = connect(server.address(0));
    let (flow, _) = server.opened();
    assert_eq!(server.net.reuse(&Target::new(Transport::Tcp, client.local_addr().unwrap())), Some(flow));
    server.net.close(&flow);
    assert_eq!(server.closed(), CloseReason::Local);
}

#[test]
fn failures_are_told_by_tag() {
    let server = Server::echo(&["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], |config| {
        config.next_hops = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    });
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    flush(&server.net, |out| {
        out.to(Target::new(Transport::Tcp, closed), Bytes::from_static(b"x"), 1);
        out.to(Target::new(Transport::Tcp, closed), Bytes::from_static(b"y"), 2);
    });
    let refused = SendError::Connect(std::io::ErrorKind::ConnectionRefused);
    assert_eq!([server.failed(), server.failed()], [(1, refused), (2, refused)]);
    flush(&server.net, |out| {
        out.to(Target::new(Transport::Tcp, "192.0.2.1:5060".parse().unwrap()), Bytes::from_static(b"x"), 3);
        out.to(Target::new(Transport::Udp, "192.0.2.1:5060".parse().unwrap()), Bytes::from_static(b"x"), 4);
        out.to(Target::new(Transport::Ws, closed), Bytes::from_static(b"x"), 5);
        let gone = Flow { transport: Transport::Tcp, listener: 0, connection: 999, remote: closed };
        out.send(gone, Bytes::from_static(b"x"), 6);
    });
    let mut failed: Vec<_> = (0..4).map(|_| server.failed()).collect();
    failed.sort_by_key(|(tag, _)| *tag);
    let expected =
        [(3, SendError::Forbidden), (4, SendError::Forbidden), (5, SendError::Unsupported), (6, SendError::Gone)];
    assert_eq!(failed, expected);
    assert_eq!(server.net.connections(), 0);
}

#[test]
fn a_fault_of_the_user_costs_one_message_or_connection() {
    let answer = |flow: &Flow, bytes: &Bytes, out: &mut Outbox| {
        assert!(!bytes.ends_with(b"fault"), "as wanted");
        out.send(*flow, bytes.clone(), 0);
    };
    let server = Server::new(&["udp://127.0.0.1:0", "tcp://127.0.0.1:0"], |_| {}, Box::new(answer));
    let (client, mut buffer) = (udp_client(), [0; 2000]);
    for _ in 0..20 {
        client.send_to(options(1, "fault").as_bytes(), server.address(0)).unwrap();
    }
    client.send_to(options(1, "fine").as_bytes(), server.address(0)).unwrap();
    let length = client.recv(&mut buffer).unwrap();
    assert!(buffer[..length].ends_with(b"fine"));
    let mut faulty = connect(server.address(1));
    write(&mut faulty, options(1, "fault"));
    assert_eq!(faulty.read(&mut [0; 1]).unwrap_or(0), 0);
    let mut good = connect(server.address(1));
    let text = options(1, "fine");
    write(&mut good, &text);
    assert_eq!(read_exact(&mut good, text.len()), text);
    // Two threads read the datagrams: the answer to the last may come before the other has counted its fault.
    let counted = || (server.net.counters().panics.get(), server.net.connections());
    let deadline = Instant::now() + WAIT;
    while counted() != (21, 1) && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(counted(), (21, 1));
}

#[test]
fn limits_on_connections() {
    let server = Server::echo(&["tcp://127.0.0.1:0"], |config| config.limits.connections_per_address = 2);
    let (first, _second) = (connect(server.address(0)), connect(server.address(0)));
    server.opened();
    server.opened();
    assert_eq!(connect(server.address(0)).read(&mut [0; 1]).unwrap_or(0), 0);
    drop(first);
    server.closed();
    connect(server.address(0));
    server.opened();
}

#[test]
fn stopping_ends_connections_and_threads() {
    let server = Server::echo(&["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], |_| {});
    let mut client = connect(server.address(0));
    server.opened();
    server.net.stop_accepting();
    let text = options(1, "");
    write(&mut client, &text);
    assert_eq!(read_exact(&mut client, text.len()), text);
    server.message();
    server.runtime.block_on(server.net.close_all(Instant::now() + Duration::from_secs(5)));
    assert_eq!(server.closed(), CloseReason::Local);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}
