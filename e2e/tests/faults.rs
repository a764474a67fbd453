//! Peers that stall, break off or send rubbish, while users go on.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use chappe_e2e::{Options, Phone, Server, Transport, Wire, fragments, wait_for};

/// Two users who talk all the while.
struct Users {
    one: Phone,
    other: Phone,
    said: u32,
}

impl Users {
    fn new(server: &Server) -> Users {
        Users::over(server, Transport::Udp, Transport::Tcp)
    }

    fn over(server: &Server, one: Transport, other: Transport) -> Users {
        let one = Phone::registered(server, 0, one);
        let other = Phone::registered(server, 1, other);
        Users { one, other, said: 0 }
    }

    /// A message each way, with the longest time that one took.
    fn talk(&mut self) -> Duration {
        let mut longest = Duration::ZERO;
        for _ in 0..2 {
            self.said += 1;
            let text = format!("still here {}", self.said);
            let (one, other) = (&mut self.one, &mut self.other);
            let to = if one.aor() == "sip:user0@localhost" { 1 } else { 0 };
            let begun = Instant::now();
            std::thread::scope(|scope| {
                let sent = scope.spawn(|| one.message(to, &text).expect("the server lives"));
                assert_eq!(other.texts(1), [text.as_str()]);
                assert_eq!(sent.join().ok(), Some(200));
            });
            longest = longest.max(begun.elapsed());
            std::mem::swap(&mut self.one, &mut self.other);
        }
        longest
    }
}

/// Junk of many kinds; the same for the same number.
fn junk(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    match number % 6 {
        0 => (0..next() % 300).map(|_| next() as u8).collect(),
        1 => b"REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n".to_vec(),
        2 => format!("INVITE {} SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n", "a".repeat(200)).into_bytes(),
        3 => b"\r\n\r\n".to_vec(),
        4 => format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{}\r\n\r\n", next()).into_bytes(),
        _ => format!(
            "OPTIONS sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{}\r\nFrom: <sip:x@y>;tag=1\r\n\
             To: <sip:localhost>\r\nCall-ID: {}\r\nCSeq: {} INFO\r\nContent-Length: -1\r\n\r\n",
            next(),
            next(),
            next()
        )
        .into_bytes(),
    }
}

#[test]
fn a_flood_of_junk_leaves_users_alone() {
    let mut server = Server::start();
    // Datagrams are lost in such a flood before the server can see them: what UDP does then is to send again.
    let mut users = Users::over(&server, Transport::Ws, Transport::Tcp);
    let mut udp = Phone::registered(&server, 2, Transport::Udp);
    users.talk();
    let memory = server.memory();
    let target = server.addr("udp");
    let flood = UdpSocket::bind((server.address().ip(), 0)).unwrap();
    let flooding = std::thread::spawn(move || {
        for number in 0..200_000 {
            // What the system does not take is lost, as it would be on the way.
            let _ = flood.send_to(&junk(number), target);
        }
    });
    let mut rounds = 0;
    while !flooding.is_finished() || rounds < 3 {
        users.talk();
        udp.register(600);
        rounds += 1;
    }
    flooding.join().unwrap();
    assert!(server.lives());
    let more = server.memory().saturating_sub(memory);
    assert!(more < 100 << 20, "{} MiB more after the flood", more >> 20);
}

#[test]
fn junk_on_every_stream_leaves_users_alone() {
    let mut server = Server::with(&[("SIP__LIMITS__READ_TIMEOUT", "2s")]);
    let mut users = Users::new(&server);
    for listener in ["tcp", "tls", "http", "https"] {
        let addr = server.addr(listener);
        for number in 0..60 {
            let Ok(mut stream) = TcpStream::connect(addr) else { continue };
            let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
            let _ = stream.write_all(&junk(number));
            let _ = stream.write_all(&[0x16, 3, 1, 0xff, 0xff, 1, 2, 3]);
        }
        users.talk();
    }
    // A message that never ends is cut off at the limit: what still comes is not kept, and soon not even read.
    let memory = server.memory();
    let mut endless = TcpStream::connect(server.addr("tcp")).unwrap();
    endless.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = endless.write_all(b"MESSAGE sip:user1@localhost SIP/2.0\r\n");
    let line = [b"X-Endless: ".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
    wait_for("the connection to be cut off", || endless.write_all(&line).is_err().then_some(()));
    assert!(server.memory() < memory + (64 << 20));
    users.talk();
    assert!(server.lives());
    server.stop();
}

#[test]
fn peers_that_stall_delay_nobody() {
    let server = Server::with(&[("SIP__LIMITS__WRITE_QUEUE", "64KiB"), ("SIP__LIMITS__READ_TIMEOUT", "2s")]);
    let mut users = Users::new(&server);
    // One that never reads what it is sent, and does not answer.
    let mut deaf = Phone::registered(&server, 2, Transport::Tcp);
    deaf.answer = None;
    // Some that stop in the middle of a message, a handshake, a request.
    let mut halves = Vec::new();
    for (listener, half) in [
        ("tcp", b"MESSAGE sip:user1@localhost SIP/2.0\r\nVia: SIP".as_slice()),
        ("tls", &[0x16, 3, 1, 2, 0]),
        ("http", b"GET /ws HTTP/1.1\r\nHost: "),
    ] {
        let mut stream = TcpStream::connect(server.addr(listener)).unwrap();
        stream.write_all(half).unwrap();
        halves.push((listener, stream));
    }
    // More for the deaf one than its connection takes. They are stored, since it does not answer.
    let mut sender = Phone::registered(&server, 3, Transport::Tcp);
    let big = "x".repeat(20_000);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            for _ in 0..3 {
                assert_eq!(sender.message(2, &big).unwrap(), 202);
            }
        });
        while !sending.is_finished() {
            assert!(users.talk() < Duration::from_secs(5));
        }
        sending.join().unwrap();
    });
    // The message that did not come to an end within the time is given up with its connection.
    let (_, stalled) = &mut halves[0];
    stalled.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    assert!(stalled.read_to_end(&mut rest).is_ok(), "the stalled connection stays open");
    // What the deaf one missed comes when it hears again.
    drop(deaf);
    let mut hearing = Phone::registered(&server, 2, Transport::Ws);
    assert_eq!(hearing.texts(3), [big.as_str(), &big, &big]);
}

#[test]
fn websocket_messages_may_come_in_fragments() {
    let server = Server::start();
    let mut users = Users::new(&server);
    let options = "OPTIONS sip:localhost SIP/2.0\r\nVia: SIP/2.0/WS frag.invalid;branch=z9hG4bKfrag\r\nMax-Forwards: 70\r\n\
                   From: <sip:user0@localhost>;tag=1\r\nTo: <sip:localhost>\r\nCall-ID: frag\r\nCSeq: 1 OPTIONS\r\n\
                   Content-Length: 0\r\n\r\n";
    for pieces in [1, 2, 7, options.len()] {
        let mut wire = Wire::open(&server, Transport::Ws);
        for (at, piece) in fragments(options.as_bytes(), pieces).iter().enumerate() {
            wire.send_raw(piece).unwrap();
            if at == 0 && pieces > 1 {
                // A ping may come between the fragments (RFC 6455 §5.4).
                wire.send_raw(&[0x89, 0x80, 1, 2, 3, 4]).unwrap();
            }
        }
        let answer = wire.receive(chappe_e2e::PATIENCE).unwrap().expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("SIP/2.0 ") && answer.contains("z9hG4bKfrag"), "{pieces} pieces: {answer}");
    }
    // Fragments without an end are bounded.
    let mut endless = Wire::open(&server, Transport::Ws);
    let piece = fragments(&[b'x'; 100_000], 2).remove(0);
    let mut more = piece.clone();
    more[0] = 0;
    let mut ended = endless.send_raw(&piece).is_err();
    for _ in 0..2000 {
        ended = ended || endless.send_raw(&more).is_err();
    }
    assert!(ended || endless.receive(Duration::from_secs(5)).is_err(), "200 MB in one message were taken");
    // A frame that is not masked, one that is reserved, a continuation of nothing.
    for bad in [[0x81, 0x02, b'h', b'i'], [0xf3, 0x80, 1, 2], [0x80, 0x80, 1, 2]] {
        let mut wire = Wire::open(&server, Transport::Ws);
        let _ = wire.send_raw(&bad);
        let _ = wire.send_raw(&[3, 4]);
        let refused = wait_for("the connection to end", || Some(wire.receive(Duration::from_secs(10)).is_err()));
        assert!(refused, "{bad:x?} was taken");
    }
    users.talk();
}

#[test]
fn a_full_disk_gets_no_false_promise() {
    let mount = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(mount.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: no right to mount a small file system");
        return;
    }
    let _unmount = Unmount(mount.path());
    let options = Options {
        data: Some(mount.path().join("data")),
        settings: vec![("LIMITS__USER_RATE", "0".into())],
        ..Options::default()
    };
    let mut server = Server::start_with(options);
    let mut sender = Phone::registered(&server, 0, Transport::Tcp);
    let mut other = Phone::registered(&server, 3, Transport::Tcp);
    let body = "x".repeat(16_000);
    let mut accepted = Vec::new();
    let mut refused = 0;
    for number in 0..2000 {
        match sender.message(1, &format!("{number:05}{body}")).unwrap() {
            202 => accepted.push(number),
            code => {
                assert!((500..600).contains(&code), "message {number} got {code} on a full disk");
                refused += 1;
            }
        }
        if refused >= 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "{} messages of 16 kB fit into 6 MiB", accepted.len());
    // What needs no disk goes on.
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| sender.message(3, "live").unwrap());
        assert_eq!(other.texts(1), ["live"]);
        assert_eq!(sent.join().unwrap(), 200);
    });
    server.kill();
    // With room again everything that was promised is there.
    let more = Command::new("mount").args(["-o", "remount,size=64m"]).arg(mount.path()).status().unwrap();
    assert!(more.success());
    server.restart();
    let mut receiver = Phone::registered(&server, 1, Transport::Tcp);
    let mut came: Vec<i32> = Vec::new();
    while came.len() < accepted.len() {
        came.extend(receiver.texts(1).iter().map(|text| text[..5].parse::<i32>().unwrap()));
    }
    assert_eq!(came, accepted);
    receiver.nothing_more();
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
