//! The MSRP relay under raw peers: what goes through it, what it holds meanwhile, and what it does when peers misbehave.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chappe_e2e::capture::Capture;
use chappe_e2e::msrp::{Event, Pattern, Peer, Session, Via, patience, send_frame};
use chappe_e2e::{Options, Server, wait_for};

const MIB: u64 = 1024 * 1024;
/// What the memory of a process moves by of itself, while it holds nothing more: one page more or less of the largest kind
/// that the allocator has, 4 MiB, and some small ones.
const SLACK: u64 = 5 * MIB;

/// Sends `size` bytes as one message in chunks of `chunk` bytes, each passed to the socket by pieces; every 200 is
/// waited for, and not more than `window` of them at a time.
fn send_file(peer: &mut Peer, paths: &str, size: u64, chunk: u64, window: usize) {
    let pattern = Pattern::new();
    let message = peer.id();
    let (mut at, mut open) = (0, 0_usize);
    let mut chunk_of: Option<(String, u64)> = None;
    let mut deadline = patience();
    while at < size || open > 0 || peer.link.queued() > 0 {
        while peer.link.queued() < 256 * 1024 && (chunk_of.is_some() || (at < size && open < window)) {
            if peer.link.via == Via::Ws {
                // A chunk is one message.
                let len = chunk.min(size - at);
                let flag = if at + len == size { '$' } else { '+' };
                let range = format!("Message-ID: {message}\r\nByte-Range: {}-{}/{size}\r\n", at + 1, at + len);
                peer.send(paths, &range, &pattern.bytes(at, len as usize), flag);
                at += len;
                open += 1;
                continue;
            }
            let (id, end) = chunk_of.take().unwrap_or_else(|| {
                let (id, end) = (peer.id(), (at + chunk).min(size));
                let head = format!(
                    "MSRP {id} SEND\r\n{paths}Message-ID: {message}\r\nByte-Range: {}-{end}/{size}\r\n\
                     Content-Type: application/octet-stream\r\n\r\n",
                    at + 1
                );
                peer.link.put(head.as_bytes());
                (id, end)
            });
            let piece = pattern.slice(at, (end - at).min(48 * 1024) as usize);
            peer.link.put(piece);
            at += piece.len() as u64;
            if at < end {
                chunk_of = Some((id, end));
                continue;
            }
            let flag = if end == size { '$' } else { '+' };
            peer.link.put(format!("\r\n-------{id}{flag}\r\n").as_bytes());
            open += 1;
        }
        let before = (peer.link.queued(), open);
        peer.step(deadline);
        assert!(!peer.link.ended, "the relay closed on the sender");
        while let Some(event) = peer.at_hand() {
            if let Event::Head(frame) = event {
                assert_eq!(frame.status, 200, "{frame:?}");
                open -= 1;
            }
        }
        if (peer.link.queued(), open) != before {
            deadline = patience();
        }
        assert!(Instant::now() < deadline, "the relay takes nothing more: {at} of {size}, {open} without answer");
    }
}

/// Takes a message of the pattern in, whatever its chunks are, and compares it; `each` hears of what has come.
fn receive_file(peer: &mut Peer, size: u64, mut each: impl FnMut(u64)) {
    let pattern = Pattern::new();
    let (mut at, mut got) = (0, 0);
    loop {
        match peer.event(patience()).unwrap_or_else(|| panic!("only {got} of {size} bytes came")) {
            Event::Head(frame) => {
                assert_eq!(frame.method, "SEND");
                let (start, total) = frame.range();
                assert_eq!((start, total), (got + 1, Some(size)), "chunks of one way stay in order");
                at = start - 1;
            }
            Event::Body(data) => {
                assert!(pattern.is(at, &data), "the bytes at {at} are others");
                at += data.len() as u64;
                got += data.len() as u64;
                each(got);
            }
            Event::End(b'$') => break,
            Event::End(flag) => assert_eq!(flag, b'+'),
        }
    }
    assert_eq!(got, size);
    // The last 200 leaves us.
    peer.flush();
}

/// A file from one to the other. Returns by how much the server has grown at most meanwhile, and how long it took.
fn transfer(server: &Server, from: Via, to: Via, size: u64, chunk: u64) -> (u64, Duration) {
    let (mut sender, here) = Peer::with_session(server, from, 0);
    let (mut receiver, there) = Peer::with_session(server, to, 1);
    let before = AtomicU64::new(0);
    let most = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The allocator gives pages back late and in lots: the height of the beginning is compared with the rest's.
            let (mut next, warm) = (MIB, (size / 4).min(64 * MIB));
            receive_file(&mut receiver, size, |got| {
                if got >= next {
                    let height = if got <= warm { &before } else { &most };
                    height.fetch_max(server.memory(), Ordering::Relaxed);
                    next += MIB;
                }
            });
        });
        send_file(&mut sender, &here.paths(&there), size, chunk, 64);
    });
    (most.load(Ordering::Relaxed).saturating_sub(before.load(Ordering::Relaxed)), start.elapsed())
}

#[test]
fn text_goes_between_all_transports() {
    let server = Server::start();
    let mut capture = Capture::start(&server);
    for from in Via::ALL {
        for to in Via::ALL {
            let (mut sender, here) = Peer::with_session(&server, from, 0);
            let (mut receiver, there) = Peer::with_session(&server, to, 1);
            let message = sender.id();
            let text = format!("from {from:?} to {to:?}: Zürich 你好\r\n-------");
            let headers =
                format!("Message-ID: {message}\r\nSuccess-Report: yes\r\nByte-Range: 1-{0}/{0}\r\n", text.len());
            let id = sender.send(&here.paths(&there), &headers, text.as_bytes(), '$');
            assert_eq!(sender.response(&id).status, 200);
            let got = receiver.frame(patience()).expect("a SEND");
            assert_eq!((got.method.as_str(), got.flag), ("SEND", b'$'));
            assert_eq!(String::from_utf8_lossy(&got.body), text);
            receiver.report(&got, text.len() as u64);
            receiver.flush();
            let report = sender.frame(patience()).expect("a REPORT");
            assert_eq!((report.method.as_str(), report.header("Message-ID")), ("REPORT", message.as_str()));
            assert_eq!(report.header("Status"), "000 200 OK");
            // And back.
            let paths = there.paths(&here);
            let message = receiver.text(&paths, "yes");
            receiver.flush();
            let got = sender.frame(patience()).expect("a SEND");
            assert_eq!((got.header("Message-ID"), &got.body[..]), (message.as_str(), &b"yes"[..]));
        }
    }
    let (mut sender, here) = Peer::with_session(&server, Via::Tcp, 0);
    let gone = Session { own: here.own.clone(), relay: format!("{}x", here.relay.replace(";tcp", "")) + ";tcp" };
    let id = sender.send(&here.paths(&gone), "Message-ID: lost\r\nByte-Range: 1-1/1\r\n", b"x", '$');
    assert_eq!(sender.response(&id).status, 481);

    let Some(capture) = &mut capture else { return };
    capture.wait_for(format!("MSRP {id} 481").as_bytes());
    capture.end();
    let seen = capture.packets("msrp", &["frame.number"]).len();
    assert!(seen > 30, "only {seen} MSRP packets were captured");
    let (stream, web) = (server.msrp("tcp").port(), server.addr("http").port());
    let bad = format!(
        "(_ws.malformed or _ws.expert.severity >= 6291456) and (msrp or websocket) \
         and tcp.srcport in {{{stream}, {web}}}"
    );
    let bad = capture.packets(&bad, &["frame.number", "_ws.expert.message", "msrp.request.line", "msrp.response.line"]);
    assert!(bad.is_empty(), "tshark finds fault with {bad:#?}");
}

#[test]
fn a_large_file_takes_no_memory() {
    let server = Server::start();
    let cases = [
        // One SEND.
        (Via::Tcp, Via::Tls, 64 * MIB, 64 * MIB),
        (Via::Tls, Via::Ws, 48 * MIB, 256 * 1024),
        (Via::Ws, Via::Tcp, 48 * MIB, 48 * 1024),
    ];
    for (from, to, size, chunk) in cases {
        // The first that go through fill the pools of the allocator, of each thread.
        transfer(&server, from, to, 8 * MIB, chunk);
        let (growth, time) = transfer(&server, from, to, size, chunk);
        println!("{from:?} to {to:?}: {size} bytes in {time:.1?}, the server grew by {growth}");
        // A message that is held would be 48 MB at least.
        assert!(growth < SLACK, "{from:?} to {to:?}: grew by {growth} in {size}");
    }
}

/// A gigabyte each; what the server may grow by after the first 64 MB is less than `bound`.
fn gigabytes(cases: &[(Via, Via)], bound: u64) {
    let server = Server::start();
    for &(from, to) in cases {
        let chunk = if from == Via::Ws { 60 * 1024 } else { 1024 * MIB };
        let (growth, time) = transfer(&server, from, to, 1024 * MIB, chunk);
        println!("{from:?} to {to:?}: 1 GiB in {time:.1?}, the server grew by {growth} bytes after 64 MB");
        assert!(growth < bound, "{from:?} to {to:?}: grew by {growth}");
    }
}

/// By hand: `cargo test -p chappe-e2e --test msrp --release -- --ignored --nocapture gigabyte`.
#[test]
#[ignore = "takes a minute"]
fn a_gigabyte_takes_no_memory() {
    gigabytes(&[(Via::Tcp, Via::Tls), (Via::Tcp, Via::Tcp)], MIB);
}

/// By hand, as the one before.
#[test]
#[ignore = "takes a minute"]
fn a_gigabyte_over_websockets_takes_no_memory() {
    gigabytes(&[(Via::Ws, Via::Tcp), (Via::Tls, Via::Ws)], SLACK);
}

/// One small message with its success report.
fn round_trip(sender: &mut Peer, paths: &str, receiver: &mut Peer) {
    let message = sender.id();
    sender.send(paths, &wants_report(&message), &[b'x'; 500], '$');
    sender.flush();
    confirm(receiver, &message);
    loop {
        let frame = sender.frame(patience()).expect("a REPORT");
        if frame.method == "REPORT" && frame.header("Message-ID") == message {
            return;
        }
        assert_eq!(frame.status, 200, "{frame:?}");
    }
}

fn wants_report(message: &str) -> String {
    format!("Message-ID: {message}\r\nSuccess-Report: yes\r\nByte-Range: 1-500/500\r\n")
}

/// Takes the next small message, and reports it.
fn confirm(receiver: &mut Peer, message: &str) {
    let got = receiver.frame(patience()).expect("a SEND");
    assert_eq!((got.header("Message-ID"), &got.body[..]), (message, &[b'x'; 500][..]));
    receiver.report(&got, 500);
    receiver.flush();
}

#[test]
fn a_slow_receiver_holds_up_nobody_else() {
    const SIZE: u64 = 2 * MIB;
    const CHUNK: u64 = 16 * 1024;
    /// Bytes in a tenth of a second, and for how many of them.
    const RATE: usize = 1000;
    const TENTHS: u32 = 30;
    let server = Server::start();
    let (mut sender, to_slow) = Peer::with_session(&server, Via::Tcp, 0);
    let to_fast = sender.session();
    let (mut slow, at_slow) = Peer::with_session(&server, Via::Tcp, 1);
    slow.link.small_buffer();
    let (mut fast, at_fast) = Peer::with_session(&server, Via::Tcp, 2);
    let (mut other, from_other) = Peer::with_session(&server, Via::Tls, 3);
    let (mut third, at_third) = Peer::with_session(&server, Via::Ws, 4);
    let (crawling, done) = (AtomicBool::new(true), AtomicBool::new(false));
    let (taken, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..TENTHS {
                let tick = Instant::now() + Duration::from_millis(100);
                slow.link.step(&mut slow.frames.input, RATE, tick);
                while Instant::now() < tick {
                    slow.link.step(&mut Vec::new(), 0, tick);
                }
            }
            let ahead = acknowledged.load(Ordering::Relaxed);
            // Its window and what the kernel holds for both ends; the rest is still with the sender.
            assert!(ahead < MIB + MIB / 4, "{ahead} bytes were taken over for a receiver that had a tenth of that");
            crawling.store(false, Ordering::Relaxed);
            receive_file(&mut slow, SIZE, |got| taken.store(got, Ordering::Relaxed));
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Some(got) = fast.frame(Instant::now() + Duration::from_millis(50)) {
                    fast.report(&got, 500);
                    fast.flush();
                }
            }
        });
        let unharmed = scope.spawn(|| {
            let paths = from_other.paths(&at_third);
            let mut times = Vec::new();
            while crawling.load(Ordering::Relaxed) {
                let start = Instant::now();
                round_trip(&mut other, &paths, &mut third);
                times.push(start.elapsed());
            }
            times
        });

        let pattern = Pattern::new();
        let (slow_paths, fast_paths) = (to_slow.paths(&at_slow), to_fast.paths(&at_fast));
        let (mut at, mut open) = (0, Vec::new());
        let mut waiting: Option<(String, Instant)> = None;
        let mut times = Vec::new();
        while at < SIZE || !open.is_empty() || waiting.is_some() {
            while at < SIZE && open.len() < 4 {
                let flag = if at + CHUNK == SIZE { '$' } else { '+' };
                let range = format!("Message-ID: file\r\nByte-Range: {}-{}/{SIZE}\r\n", at + 1, at + CHUNK);
                open.push(sender.send(&slow_paths, &range, &pattern.bytes(at, CHUNK as usize), flag));
                at += CHUNK;
            }
            if waiting.is_none() && crawling.load(Ordering::Relaxed) {
                let message = sender.id();
                sender.send(&fast_paths, &wants_report(&message), &[b'x'; 500], '$');
                waiting = Some((message, Instant::now()));
            }
            let frame = sender.frame(patience()).expect("answers");
            if frame.method == "REPORT" {
                assert_eq!(frame.header("Status"), "000 200 OK", "{frame:?}");
                let (message, since) = waiting.take().expect("a message under way");
                assert_eq!(frame.header("Message-ID"), message);
                times.push(since.elapsed());
                continue;
            }
            assert_eq!(frame.status, 200, "{frame:?}");
            if let Some(index) = open.iter().position(|id| *id == frame.id) {
                open.swap_remove(index);
                acknowledged.fetch_add(CHUNK, Ordering::Relaxed);
            }
        }
        done.store(true, Ordering::Relaxed);
        let unharmed = unharmed.join().expect("the other pair talks");
        for (name, mut times) in [("same connection", times), ("other connection", unharmed)] {
            times.sort_unstable();
            let (half, most) = (times[times.len() / 2], times[times.len() - 1]);
            println!("{name}: {} round trips, half in {half:.1?}, all in {most:.1?}", times.len());
            assert!(times.len() >= 20 && most < Duration::from_secs(2), "{name}: {} trips, {most:?}", times.len());
        }
    });
    assert_eq!(taken.load(Ordering::Relaxed), SIZE);
}

/// Memory for each of so many idle sessions beyond the connections they are on.
/// With a window smaller than a segment, for longer than the time of a stall.
#[test]
#[ignore = "takes half a minute"]
fn a_steady_reader_is_not_taken_for_gone() {
    const SIZE: u64 = MIB;
    /// Bytes in a tenth of a second, and for how many of them.
    const RATE: usize = 1600;
    const TENTHS: u32 = 250;
    let settings = vec![("MSRP__LIMITS__STALL_TIMEOUT", "10s".to_owned())];
    let server = Server::start_with(Options { settings, ..Options::default() });
    let (mut sender, here) = Peer::with_session(&server, Via::Tcp, 0);
    let (mut slow, there) = Peer::with_session(&server, Via::Tcp, 1);
    slow.link.small_buffer();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..TENTHS {
                let tick = Instant::now() + Duration::from_millis(100);
                slow.link.step(&mut slow.frames.input, RATE, tick);
                while Instant::now() < tick {
                    slow.link.step(&mut Vec::new(), 0, tick);
                }
            }
            receive_file(&mut slow, SIZE, |_| {});
        });
        send_file(&mut sender, &here.paths(&there), SIZE, 2048, 4);
    });
}

fn idle(connections: usize, each: usize) -> u64 {
    let server = Server::with(&[("MSRP__SESSION__PER_USER", "100000")]);
    let mut peers: Vec<_> = (0..connections).map(|index| Peer::with_session(&server, Via::Tcp, index % 10).0).collect();
    let before = server.memory();
    for peer in &mut peers {
        for _ in 1..each {
            peer.session();
        }
    }
    let count = (connections * (each - 1)) as u64;
    let bytes = server.memory().saturating_sub(before) / count;
    let counts = server.ask(&["status"]);
    assert_eq!(counts["counts"]["msrp_sessions"], connections * each, "{counts}");
    println!("{} idle sessions on {connections} connections: {bytes} bytes each", connections * each);
    // All are still of use.
    let [first, .., last] = &mut peers[..] else { panic!("two connections at least") };
    let (here, there) = (first.session(), last.session());
    round_trip(first, &here.paths(&there), last);
    bytes
}

#[test]
fn idle_sessions_are_cheap() {
    assert!(idle(10, 100) < 4096);
}

/// By hand, as the one with a gigabyte.
#[test]
#[ignore = "takes a minute"]
fn ten_thousand_idle_sessions_are_cheap() {
    assert!(idle(100, 100) < 2048);
}

#[test]
fn frames_come_in_any_pieces() {
    let server = Server::start();
    transfer(&server, Via::Tcp, Via::Tcp, MIB, 2048);
    // One byte at a time, each a write of its own, and read so on the other side.
    for via in [Via::Tcp, Via::Tls] {
        let (mut sender, here) = Peer::with_session(&server, via, 0);
        let (mut receiver, there) = Peer::with_session(&server, Via::Tcp, 1);
        let frame = send_frame(
            "bytewise",
            &here.paths(&there),
            "Message-ID: slow\r\nByte-Range: 1-9/9\r\n",
            b"one\r\n-----",
            '$',
        );
        for byte in &frame {
            sender.link.put(&[*byte]);
            sender.flush();
        }
        assert_eq!(sender.response("bytewise").status, 200);
        let got = loop {
            receiver.link.step(&mut receiver.frames.input, 1, patience());
            if let Some(Event::Head(frame)) = receiver.at_hand() {
                break frame;
            }
        };
        assert_eq!(got.header("Message-ID"), "slow");
        let mut body = Vec::new();
        loop {
            match receiver.at_hand() {
                Some(Event::Body(data)) => body.extend(data),
                Some(Event::End(flag)) => break assert_eq!(flag, b'$'),
                Some(Event::Head(frame)) => panic!("{frame:?}"),
                None => receiver.link.step(&mut receiver.frames.input, 1, patience()),
            }
        }
        assert_eq!(body, b"one\r\n-----");
    }
}

/// Waits until the server has noticed that all others are gone.
fn wait_sessions(server: &Server, count: usize) {
    wait_for(&format!("{count} MSRP sessions"), || {
        (server.ask(&["status"])["counts"]["msrp_sessions"] == count).then_some(())
    });
}

#[test]
fn a_sender_may_go_at_any_byte() {
    // The first is passed on when it is whole, as RFC 4975 §7.1 has it; the second while it comes.
    let aborted = cut_short(150, 480, |_, _| true);
    assert_eq!(aborted, 0);
    let aborted = cut_short(6000, 140, |cut, whole| cut % 97 == 0 || cut + 60 > whole);
    assert!(aborted > 60, "only {aborted}");
}

/// Sends a SEND with so long a body, up to each of the offsets that are `wanted`, `most` at most, and closes: the receiver sees whole
/// frames, and a message that it has something of ends with `#`. Returns how many of these there were.
fn cut_short(length: usize, most: usize, wanted: impl Fn(usize, usize) -> bool) -> usize {
    let server = Server::with(&[("MSRP__SESSION__PER_USER", "10000")]);
    let mut receiver = Peer::open(&server, Via::Tcp, 1);
    // One for each, for a session is bound to whoever uses it first.
    let sessions: Vec<_> = (0..most).map(|_| receiver.session()).collect();
    let mut unused = sessions.iter();
    let body = &Pattern::new().bytes(0, length)[..];
    let (mut cut, mut tried) = (0, 0);
    let whole = loop {
        let (mut sender, here) = Peer::with_session(&server, Via::Tcp, 0);
        let range = format!("Message-ID: cut{cut:05}\r\nByte-Range: 1-{length}/{length}\r\n");
        let there = unused.next().expect("sessions enough");
        let frame = send_frame("halfway", &here.paths(there), &range, body, '$');
        sender.link.put(&frame[..cut]);
        sender.flush();
        tried += 1;
        if cut == frame.len() {
            break cut;
        }
        // Half of them with a reset.
        if tried % 2 == 0 {
            sender.link.reset();
        }
        cut = (cut + 1..frame.len()).find(|cut| wanted(*cut, frame.len())).unwrap_or(frame.len());
    };
    wait_sessions(&server, sessions.len());
    let (mut sender, here) = Peer::with_session(&server, Via::Tcp, 0);
    sender.text(&here.paths(unused.next().expect("one more")), "still here");
    sender.flush();
    let (mut seen, mut aborted, mut complete) = (HashMap::<String, Vec<u8>>::new(), 0, 0);
    loop {
        let frame = receiver.frame(patience()).expect("what was sent whole");
        if frame.body == b"still here" {
            break;
        }
        let message = frame.header("Message-ID").to_owned();
        let cut: usize = message.strip_prefix("cut").and_then(|cut| cut.parse().ok()).expect("one of ours");
        let got = seen.entry(message.clone()).or_default();
        assert_eq!(frame.range(), (got.len() as u64 + 1, Some(length as u64)), "{message}");
        got.extend(&frame.body);
        assert!(body.starts_with(got), "{message}: {frame:?}");
        match frame.flag {
            b'#' => aborted += 1,
            b'$' => {
                // Before the line break behind its flag, the frame has no end.
                assert!(cut == whole && got == body, "{message}: {frame:?}");
                complete += 1;
            }
            flag => assert_eq!(flag, b'+'),
        }
    }
    println!("{tried} offsets up to {whole}: {aborted} aborted, {complete} whole");
    assert_eq!((aborted + complete, complete), (seen.len(), 1), "each that began has an end");
    aborted
}

#[test]
fn a_receiver_may_go_at_any_byte() {
    let server = Server::with(&[("MSRP__SESSION__PER_USER", "10000")]);
    let (mut sender, here) = Peer::with_session(&server, Via::Tcp, 0);
    let mut cut = 0;
    loop {
        let (mut receiver, there) = Peer::with_session(&server, Via::Tcp, 1);
        receiver.answers = false;
        let message = sender.text(&here.paths(&there), "for one who goes");
        sender.flush();
        while receiver.frames.input.len() < cut && !receiver.link.ended {
            let left = cut - receiver.frames.input.len();
            receiver.link.step(&mut receiver.frames.input, left, patience());
        }
        let whole = receiver.frames.input.ends_with(b"$\r\n");
        receiver.link.reset();
        // The relay has taken it over, or it says at once that it cannot.
        let mut said = Vec::new();
        while said.last() != Some(&"REPORT") {
            let frame = sender.frame(patience()).expect("a word about the message");
            if frame.status == 408 || frame.status == 481 {
                break;
            }
            if frame.status == 0 {
                assert_eq!((frame.method.as_str(), frame.header("Message-ID")), ("REPORT", message.as_str()));
                assert!(frame.header("Status").starts_with("000 4"), "{frame:?}");
                said.push("REPORT");
            } else {
                assert_eq!(frame.status, 200, "{frame:?}");
                said.push("200");
            }
        }
        if whole {
            break;
        }
        cut += 1;
    }
    assert!(cut > 200, "only {cut} bytes of a frame");
    wait_sessions(&server, 1);
    let (mut receiver, there) = Peer::with_session(&server, Via::Tcp, 1);
    let paths = here.paths(&there);
    round_trip(&mut sender, &paths, &mut receiver);
}

#[test]
fn a_crash_ends_sessions_and_leaves_nobody_waiting() {
    let mut server = Server::start();
    for via in Via::ALL {
        let (mut sender, here) = Peer::with_session(&server, via, 0);
        let (mut receiver, there) = Peer::with_session(&server, Via::Tcp, 1);
        let paths = here.paths(&there);
        // In the middle of a chunk over streams, between two over WebSocket.
        let frame = send_frame("halfway", &paths, "Message-ID: crash\r\nByte-Range: 1-*/*\r\n", &[b'x'; 20_000], '+');
        let sent = if via == Via::Ws { &frame[..] } else { &frame[..15_000] };
        sender.link.put(sent);
        sender.flush();
        let Some(Event::Head(_)) = receiver.event(patience()) else { panic!("no SEND") };
        server.kill();
        for peer in [&mut sender, &mut receiver] {
            let deadline = patience();
            while peer.event(deadline).is_some() {}
            assert!(peer.link.ended, "a connection outlived the server");
        }
        server.restart();
        // Old URIs are worth nothing, and new ones are to be had.
        let (mut sender, new) = Peer::with_session(&server, via, 0);
        let id = sender.send(&paths, "Message-ID: old\r\nByte-Range: 1-1/1\r\n", b"x", '$');
        assert_eq!(sender.response(&id).status, 481);
        let (mut receiver, there) = Peer::with_session(&server, Via::Tcp, 1);
        let paths = new.paths(&there);
        round_trip(&mut sender, &paths, &mut receiver);
    }
}
