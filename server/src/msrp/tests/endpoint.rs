//! Sessions that end here, over loopback.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use chappe_msrp::{FailureReport, Flag, Head, ReassemblyLimits};
use parking_lot::Mutex;

use super::super::endpoint::{
    Answer, Assembled, End, EndClosed, EndUser, Intake, NewEnd, NewMessage, NewStream, OpenError, Reception, Room,
    SendError, Sent, StreamEnd,
};
use super::bed::{Bed, Client, Foreign, Got, WAIT, pattern};

/// What a session's user was told.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    Bound,
    Message(String, Vec<u8>),
    /// Bytes of a stream that came in order and as [`pattern`] has them.
    Stream(String, Option<u64>),
    Sent(u64, Sent),
    Writable(u64),
    Closed(EndClosed),
}

type Hook = dyn Fn(&Arc<End>, &Assembled) + Send + Sync;

/// Notes what it is told, and answers by what is set.
#[derive(Default)]
pub(super) struct Recorder {
    told: Mutex<VecDeque<Told>>,
    pub(super) reception: Mutex<Option<Reception>>,
    /// Answers are kept rather than given.
    keeps: AtomicBool,
    kept: Mutex<Vec<Answer>>,
    /// Streams are paused at each slice.
    pub(super) pauses: AtomicBool,
    pub(super) streamed: Mutex<u64>,
    /// Called in place of the answer.
    hook: OnceLock<Box<Hook>>,
}

impl Recorder {
    pub(super) fn next(&self, what: &str) -> Told {
        let start = Instant::now();
        loop {
            if let Some(told) = self.told.lock().pop_front() {
                return told;
            }
            assert!(start.elapsed() < WAIT, "{what}");
            std::thread::yield_now();
        }
    }

    pub(super) fn expect(&self, expected: Told) {
        assert_eq!(self.next(&format!("{expected:?}")), expected);
    }

    fn tell(&self, told: Told) {
        self.told.lock().push_back(told);
    }
}

impl EndUser for Recorder {
    fn bound(&self, _end: &Arc<End>) {
        self.tell(Told::Bound);
    }

    fn begin(&self, _end: &Arc<End>, _head: &Head) -> Reception {
        self.reception.lock().unwrap_or(Reception::Whole)
    }

    fn message(&self, end: &Arc<End>, message: Assembled, answer: Answer) {
        if let Some(hook) = self.hook.get() {
            hook(end, &message);
        }
        let id = message.head.message_id().unwrap_or_default().to_owned();
        if self.keeps.load(Ordering::Relaxed) {
            self.kept.lock().push(answer);
        } else {
            answer.ok();
        }
        self.tell(Told::Message(id, message.data));
    }

    fn slice(&self, _end: &Arc<End>, _id: &str, offset: u64, data: &[u8]) -> Intake {
        let mut streamed = self.streamed.lock();
        assert_eq!(offset, *streamed);
        assert!(data == pattern(offset as usize, data.len()), "at {offset}");
        *streamed += data.len() as u64;
        if self.pauses.load(Ordering::Relaxed) { Intake::Pause } else { Intake::More }
    }

    fn stream_ended(&self, _end: &Arc<End>, id: &str, ended: StreamEnd) {
        let total = match ended {
            StreamEnd::Complete { total, answer } => {
                answer.ok();
                Some(total)
            }
            StreamEnd::Broken => None,
        };
        self.tell(Told::Stream(id.to_owned(), total));
    }

    fn writable(&self, _end: &Arc<End>, key: u64) {
        self.tell(Told::Writable(key));
    }

    fn sent(&self, _end: &Arc<End>, key: u64, sent: Sent) {
        self.tell(Told::Sent(key, sent));
    }

    fn closed(&self, _end: &Arc<End>, why: EndClosed) {
        self.tell(Told::Closed(why));
    }
}

pub(super) fn new_end() -> NewEnd {
    let limits = ReassemblyLimits { message: 16 << 20, held: 32 << 20, messages: 8, ..ReassemblyLimits::default() };
    NewEnd { secure: false, reached: None, limits, max_size: 1 << 30, label: "alice@localhost".into() }
}

fn open(bed: &Bed) -> (Arc<End>, Arc<Recorder>) {
    let user = Arc::new(Recorder::default());
    let end = bed.relay.endpoint().open(new_end(), Arc::clone(&user) as Arc<dyn EndUser>).unwrap();
    (end, user)
}

pub(super) fn message(key: u64, body: impl Into<Bytes>) -> NewMessage {
    NewMessage {
        key,
        message_id: format!("0ur{key:05}").into(),
        content_type: "text/plain".into(),
        headers: vec![("Content-Disposition".into(), "render".into())],
        body: body.into(),
        success_report: false,
        failure_report: FailureReport::Yes,
    }
}

/// An agreement with a peer that has the path, as the exchange of SDP gives it.
pub(super) fn agreement(own: &End, peer: &str, we_connect: bool) -> chappe_sdp::Agreement {
    use chappe_sdp::{Connect, Direction, Host, Role, Sendable, Target, TypeList};
    let uri = chappe_msrp::OwnedUri::parse(peer).unwrap();
    let target = Target {
        host: Host::parse(uri.uri().host).unwrap(),
        port: uri.uri().port.unwrap(),
        tls: uri.uri().secure.then(|| Host::parse(uri.uri().host).unwrap()),
    };
    chappe_sdp::Agreement {
        index: 0,
        role: if we_connect { Role::Active } else { Role::Passive },
        connect: if we_connect { Connect::To(target) } else { Connect::Listen },
        after_ack: false,
        secure: uri.uri().secure,
        fingerprints: Vec::new(),
        own_path: vec![own.uri().as_str().to_owned()],
        peer_path: vec![peer.to_owned()],
        cema: false,
        matching: chappe_sdp::Matching::Whole,
        direction: Direction::SEND_RECEIVE,
        sendable: Sendable { types: TypeList::any(), ..Sendable::default() },
        chatroom: None,
        transfer: None,
    }
}

/// A client that has opened a session with us, which is passive.
fn opened(bed: &Bed) -> (Arc<End>, Arc<Recorder>, Client) {
    let (end, user) = open(bed);
    let mut client = bed.client();
    end.agreed(&agreement(&end, &client.uri, false));
    open_by(&mut client, &end);
    user.expect(Told::Bound);
    (end, user, client)
}

/// The empty SEND of a client, and its 200.
fn open_by(client: &mut Client, end: &End) {
    let (id, to, from) = (client.id(), end.uri().as_str(), client.uri.clone());
    client.write(format!(
        "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: 0pening1\r\n-------{id}$\r\n"
    ));
    let ok = client.expect("200");
    assert_eq!((ok.head.transaction_id(), ok.head.raw_to_path(), ok.head.raw_from_path()), (&*id, &*from, to));
}

/// All chunks of the next message, each answered with 200.
pub(super) fn collect(client: &mut Client) -> (Got, Vec<u8>) {
    let mut data = Vec::new();
    loop {
        let got = client.expect("SEND");
        assert_eq!(got.head.byte_range().map(|range| range.start), Some(data.len() as u64 + 1));
        data.extend_from_slice(&got.body);
        client.reply(&got, 200);
        if got.flag != Flag::More {
            return (got, data);
        }
    }
}

#[test]
fn text_both_ways_in_the_passive_role() {
    let bed = Bed::new(|_| {});
    let (end, user) = open(&bed);
    assert!(end.uri().as_str().starts_with(&format!("msrp://{}/", bed.address)), "{end:?}");
    let mut client = bed.client();
    end.agreed(&agreement(&end, &client.uri, false));
    // Nothing may be sent before the peer has shown who it is.
    end.send(message(1, "good morning")).unwrap();
    assert!(!end.is_bound());
    open_by(&mut client, &end);
    user.expect(Told::Bound);
    let (got, data) = collect(&mut client);
    assert_eq!(data, b"good morning");
    assert_eq!((got.head.raw_to_path(), got.head.raw_from_path()), (&*client.uri, end.uri().as_str()));
    assert_eq!((got.head.message_id(), got.head.content_type()), (Some("0ur00001"), Some("text/plain")));
    assert_eq!(got.head.header("Content-Disposition"), Some("render"));
    user.expect(Told::Sent(1, Sent::Confirmed));
    let id = client.send(end.uri().as_str(), "mess0001", "", b"and to you");
    assert_eq!(client.expect("200").head.transaction_id(), id);
    user.expect(Told::Message("mess0001".into(), b"and to you".to_vec()));
    let rows = bed.relay.list(0, 10);
    assert_eq!(rows.len(), 1);
    assert_eq!((&*rows[0].user, rows[0].kind), ("alice@localhost", chappe_api::MsrpKind::Endpoint));
    assert_eq!((rows[0].sent_bytes, rows[0].received_bytes), (10, 12));
    end.close();
    user.expect(Told::Closed(EndClosed::Here));
    assert_eq!(end.send(message(2, "late")), Err(SendError::Closed));
    client.send(end.uri().as_str(), "mess0002", "", b"?");
    client.expect("481");
    assert_eq!(bed.relay.sessions_now(), 0);
}

#[test]
fn the_active_role_connects_and_opens_with_an_empty_send() {
    let bed = Bed::new(|_| {});
    let (end, user) = open(&bed);
    let foreign = Foreign::new();
    end.send(message(1, "hello")).unwrap();
    end.agreed(&agreement(&end, &foreign.uri, true));
    let mut peer = foreign.accept();
    let opening = peer.expect("SEND");
    assert!(!opening.head.has_body());
    assert_eq!(opening.head.raw_to_path(), foreign.uri);
    peer.reply(&opening, 200);
    assert_eq!(collect(&mut peer).1, b"hello");
    user.expect(Told::Bound);
    user.expect(Told::Sent(1, Sent::Confirmed));
    peer.send(end.uri().as_str(), "mess0001", "", b"hello yourself");
    peer.expect("200");
    user.expect(Told::Message("mess0001".into(), b"hello yourself".to_vec()));
    // We opened the connection, and nobody else uses it.
    end.close();
    user.expect(Told::Closed(EndClosed::Here));
    assert!(peer.read().is_none());
}

#[test]
fn chunks_of_one_byte_and_out_of_order() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    let text = b"every byte in a chunk of its own";
    let (to, from, total) = (end.uri().as_str(), client.uri.clone(), text.len());
    for order in
        [(0..total).collect::<Vec<_>>(), (0..total).rev().collect(), (0..total).map(|at| at * 5 % total).collect()]
    {
        let serial = client.id();
        for at in order {
            let (id, flag) = (client.id(), if at + 1 == total { '$' } else { '+' });
            let range = format!("{}-{}/{total}", at + 1, at + 1);
            client.write(format!(
                "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {serial}\r\nByte-Range: {range}\r\n\
                 Content-Type: text/plain\r\n\r\n{}\r\n-------{id}{flag}\r\n",
                text[at] as char
            ));
            assert_eq!(client.expect("200").head.transaction_id(), id);
        }
        user.expect(Told::Message(serial, text.to_vec()));
    }
    assert_eq!(bed.relay.ends.held.load(Ordering::Relaxed), 0);
}

#[test]
fn whole_messages_of_64_kb_and_8_mb() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    for (key, size) in [(1, 64 << 10), (2, 8 << 20)] {
        let body = pattern(0, size);
        client.send(end.uri().as_str(), &format!("mess000{key}"), "", &body);
        client.expect("200");
        user.expect(Told::Message(format!("mess000{key}"), body.clone()));
        end.send(message(key, body.clone())).unwrap();
        assert!(collect(&mut client).1 == body);
        user.expect(Told::Sent(key, Sent::Confirmed));
    }
}

#[test]
fn reports_and_answers_by_the_table() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    let to = end.uri().as_str();
    let serial = std::cell::Cell::new(0);
    // Failure-Report, Success-Report, taken or refused: response, report.
    for (headers, ok, response, report) in [
        ("", true, Some("200"), false),
        ("", false, Some("413"), false),
        ("Success-Report: yes\r\n", true, Some("200"), true),
        ("Success-Report: yes\r\n", false, Some("413"), false),
        ("Failure-Report: partial\r\nSuccess-Report: yes\r\n", true, None, true),
        ("Failure-Report: partial\r\n", true, None, false),
        ("Failure-Report: partial\r\n", false, Some("413"), false),
        ("Failure-Report: no\r\n", true, None, false),
        ("Failure-Report: no\r\n", false, None, false),
        ("Failure-Report: no\r\nSuccess-Report: yes\r\n", true, None, true),
    ] {
        user.keeps.store(true, Ordering::Relaxed);
        serial.set(serial.get() + 1);
        let id = format!("mess{:04}", serial.get());
        client.send(to, &id, headers, b"by the table");
        assert!(matches!(user.next("a message"), Told::Message(..)));
        // From another thread than the one that reads.
        let answer = user.kept.lock().pop().unwrap();
        std::thread::spawn(move || if ok { answer.ok() } else { answer.refuse(413) }).join().unwrap();
        if let Some(code) = response {
            assert_eq!(client.read().unwrap().kind(), code, "{headers:?}");
        }
        if report {
            let got = client.expect("REPORT");
            assert_eq!(got.head.message_id(), Some(&*id));
            assert_eq!(got.head.byte_range().unwrap().to_string(), "1-12/12");
            assert_eq!(got.head.status_header().map(|status| (status.namespace, status.code)), Some((0, 200)));
            assert_eq!((got.head.raw_to_path(), got.head.raw_from_path()), (&*client.uri, to));
        }
        // And nothing else.
        open_by(&mut client, &end);
    }
    // An answer that is forgotten.
    client.send(to, "mess9999", "", b"lost here");
    assert!(matches!(user.next("a message"), Told::Message(..)));
    user.kept.lock().clear();
    client.expect("408");
    assert_eq!(bed.relay.ends.held.load(Ordering::Relaxed), 0);
}

#[test]
fn what_a_sender_hears() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    let report = |client: &mut Client, id: &str, range: &str, status: &str| {
        let (to, from) = (end.uri().as_str(), client.uri.clone());
        client.write(format!(
            "MSRP rep0rt01 REPORT\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {id}\r\nByte-Range: {range}\r\n\
             Status: {status}\r\n-------rep0rt01$\r\n"
        ));
    };
    // Confirmed, then reported.
    end.send(NewMessage { success_report: true, ..message(1, "one") }).unwrap();
    collect(&mut client);
    user.expect(Told::Sent(1, Sent::Confirmed));
    report(&mut client, "0ur00001", "1-2/3", "000 200 OK");
    report(&mut client, "0ur00001", "3-3/3", "000 200 OK");
    user.expect(Told::Sent(1, Sent::Reported));
    // A report about what is not known, and one too many.
    report(&mut client, "unkn0wn1", "1-3/3", "000 200 OK");
    report(&mut client, "0ur00001", "1-3/3", "000 413");
    // Refused.
    end.send(message(2, "two")).unwrap();
    let got = client.expect("SEND");
    client.reply(&got, 415);
    user.expect(Told::Sent(2, Sent::Refused(415)));
    // Nobody answers.
    end.send(NewMessage { failure_report: FailureReport::No, ..message(3, "three") }).unwrap();
    user.expect(Told::Sent(3, Sent::Written));
    assert_eq!(client.expect("SEND").head.failure_report(), FailureReport::No);
    end.send(NewMessage { failure_report: FailureReport::Partial, ..message(4, "four") }).unwrap();
    end.send(message(5, "five")).unwrap();
    client.expect("SEND");
    client.expect("SEND");
    bed.relay.tick(31_000);
    user.expect(Told::Sent(4, Sent::Confirmed));
    user.expect(Told::Sent(5, Sent::Lost));
    // Bytes were lost on the way: the session has failed (RFC 4975 §7.3.2).
    end.send(message(6, "six")).unwrap();
    client.expect("SEND");
    report(&mut client, "0ur00006", "1-3/3", "000 408");
    user.expect(Told::Sent(6, Sent::Lost));
    user.expect(Told::Closed(EndClosed::Failed));
    assert!(end.has_ended());
}

#[test]
fn a_413_interrupts_the_message_and_the_next_goes_on() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    end.send(message(1, pattern(0, 8 << 20))).unwrap();
    end.send(message(2, "the next")).unwrap();
    // It need not wait for the end of the chunk.
    let head = client.begun();
    let mut refusal = Vec::new();
    chappe_msrp::write::response(&mut refusal, &head, 413, "");
    client.write(refusal);
    let got = client.expect("SEND");
    assert_eq!((got.flag, got.head.message_id()), (Flag::Abort, Some("0ur00001")));
    assert!(got.body.len() < 8 << 20, "{}", got.body.len());
    let got = client.expect("SEND");
    assert_eq!((got.body.as_slice(), got.flag), (&b"the next"[..], Flag::End));
    client.reply(&got, 200);
    user.expect(Told::Sent(1, Sent::Refused(413)));
    user.expect(Told::Sent(2, Sent::Confirmed));
}

#[test]
fn a_message_that_is_not_wanted_is_refused_at_once() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    let to = end.uri().as_str();
    // By its claim, by its size, by its user; and what still comes of it is no new message.
    for (claim, body, code) in [("1-*/99999999999", 10, "413"), ("1-*/*", 17 << 20, "413"), ("1-*/*", 10, "415")] {
        *user.reception.lock() = (code == "415").then_some(Reception::Refuse(415));
        let (id, from, message) = (client.id(), client.uri.clone(), client.id());
        client.write(format!(
            "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {message}\r\nByte-Range: {claim}\r\n\
             Content-Type: text/plain\r\n\r\n"
        ));
        client.write(pattern(0, body));
        assert_eq!(client.expect(code).head.transaction_id(), id, "before its end");
        client.write(format!("\r\n-------{id}+\r\n"));
        let id = client.id();
        client.write(format!(
            "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {message}\r\nByte-Range: 11-12/12\r\n\
             Content-Type: text/plain\r\n\r\nab\r\n-------{id}$\r\n"
        ));
        assert_eq!(client.expect(code).head.transaction_id(), id);
    }
    *user.reception.lock() = None;
    client.send(to, "mess0001", "", b"but this is");
    client.expect("200");
    user.expect(Told::Message("mess0001".into(), b"but this is".to_vec()));
}

#[test]
fn who_may_use_a_session() {
    let bed = Bed::new(|settings| settings.endpoint_sessions = 1);
    let (end, user, mut client) = opened(&bed);
    assert_eq!(bed.relay.endpoint().open(new_end(), user.clone()).err(), Some(OpenError::TooMany));
    let to = end.uri().as_str().to_owned();
    let mut other = bed.client();
    other.send(&to, "mess0001", "", b"mine");
    other.expect("506");
    other.send(&to.replace(";tcp", "x;tcp"), "mess0002", "", b"a guess");
    other.expect("481");
    other.send(&to.to_uppercase().replace("MSRP", "msrp").replace("TCP", "tcp"), "mess0003", "", b"a guess");
    other.expect("481");
    // It is no relay.
    other.send(&format!("{to} {}", client.uri), "mess0004", "", b"pass it on");
    other.expect("481");
    // A method of the future.
    let (id, from) = (client.id(), client.uri.clone());
    client.write(format!("MSRP {id} DANCE\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n-------{id}$\r\n"));
    client.expect("501");
    client.send(&to, "mess0005", "", b"still mine");
    client.expect("200");
    user.expect(Told::Message("mess0005".into(), b"still mine".to_vec()));
    // Without a connection it is lost: the connection is the session.
    drop(client);
    user.expect(Told::Closed(EndClosed::ConnectionLost));
}

#[test]
fn a_lost_connection_loses_what_is_not_confirmed() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    end.send(message(1, "confirmed")).unwrap();
    end.send(message(2, "on its way")).unwrap();
    end.send(NewMessage { success_report: true, ..message(3, "confirmed, not reported") }).unwrap();
    end.send(message(4, pattern(0, 8 << 20))).unwrap();
    end.send(message(5, "behind it")).unwrap();
    for number in 1..4 {
        let got = client.expect("SEND");
        if number != 2 {
            client.reply(&got, 200);
        }
    }
    user.expect(Told::Sent(1, Sent::Confirmed));
    user.expect(Told::Sent(3, Sent::Confirmed));
    client.begun();
    drop(client);
    for key in [2, 4, 5] {
        user.expect(Told::Sent(key, Sent::Lost));
    }
    user.expect(Told::Closed(EndClosed::ConnectionLost));
    assert_eq!(bed.relay.sessions_now(), 0);
}

#[test]
fn a_session_of_our_own_can_be_killed() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    end.send(message(1, pattern(0, 8 << 20))).unwrap();
    client.begun();
    let running = client.begin(end.uri().as_str(), "mess0001", "");
    client.write([b'x'; 5000]);
    bed.until("it is under way", || bed.relay.counters.end_bytes.get() == 5000);
    assert!(bed.relay.kill(bed.relay.list(0, 10)[0].id) && !bed.relay.kill(end.number()));
    user.expect(Told::Sent(1, Sent::Lost));
    user.expect(Told::Closed(EndClosed::Operator));
    assert_eq!(client.expect("SEND").flag, Flag::Abort);
    client.write([b'x'; 100]);
    assert_eq!(client.expect("481").head.transaction_id(), running);
    assert_eq!(bed.relay.ends.held.load(Ordering::Relaxed), 0);
    let mut page = crate::metrics::Exposition::new();
    bed.relay.write_metrics(&mut page);
    let page = page.finish();
    for line in ["chappe_msrp_endpoint_sessions 0\n", "chappe_msrp_endpoint_lost_total 1\n"] {
        assert!(page.contains(line), "{page}");
    }
}

/// 64 MB each way, with a receiver that is slow, in memory that does not grow.
#[test]
fn streams_in_flat_memory() {
    const SIZE: usize = 64 << 20;
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    *user.reception.lock() = Some(Reception::Stream);
    user.pauses.store(true, Ordering::Relaxed);
    let to = end.uri().as_str().to_owned();
    let writer = std::thread::spawn(move || {
        let id = client.begin(&to, "mess0001", "Success-Report: yes\r\n");
        for at in (0..SIZE).step_by(1 << 16) {
            client.write(pattern(at, 1 << 16));
        }
        client.write(format!("\r\n-------{id}$\r\n"));
        client
    });
    // Nobody reads on until the user says so.
    bed.until("paused", || bed.relay.all_connections()[0].holds.load(Ordering::Relaxed) == 1);
    let before = *user.streamed.lock();
    assert!(before <= 1 << 16, "{before}");
    while *user.streamed.lock() < SIZE as u64 {
        end.resume();
        std::thread::yield_now();
        assert!(bed.relay.ends.held.load(Ordering::Relaxed) == 0);
    }
    end.resume();
    user.expect(Told::Stream("mess0001".into(), Some(SIZE as u64)));
    let mut client = writer.join().unwrap();
    client.expect("200");
    assert_eq!(client.expect("REPORT").head.byte_range().unwrap().to_string(), format!("1-{SIZE}/{SIZE}"));

    // The other way: the receiver reads nothing at first.
    let head = NewStream {
        key: 7,
        message_id: "0urstream".into(),
        content_type: "application/octet-stream".into(),
        headers: Vec::new(),
        total: Some(SIZE as u64),
        success_report: false,
        failure_report: FailureReport::Yes,
    };
    let mut sink = end.stream(head).unwrap();
    let held = move || bed.relay.all_connections()[0].way_out.lock().outgoing.held();
    let most = Arc::new(AtomicUsize::new(0));
    let (high, told) = (Arc::clone(&most), Arc::clone(&user));
    let writer = std::thread::spawn(move || {
        let mut times = 0;
        for at in (0..SIZE).step_by(1 << 16) {
            let room = sink.write(Bytes::from(pattern(at, 1 << 16))).unwrap();
            high.fetch_max(held(), Ordering::Relaxed);
            if room == Room::Full {
                times += 1;
                told.expect(Told::Writable(7));
            }
        }
        sink.finish().unwrap();
        (times, held)
    });
    let start = Instant::now();
    while most.load(Ordering::Relaxed) < 128 << 10 {
        assert!(start.elapsed() < WAIT, "full");
        std::thread::yield_now();
    }
    let mut total = 0;
    loop {
        let got = client.expect("SEND");
        assert_eq!(got.head.byte_range().unwrap().start, total as u64 + 1);
        assert!(got.body == pattern(total, got.body.len()), "at {total}");
        total += got.body.len();
        client.reply(&got, 200);
        if got.flag == Flag::End {
            break;
        }
    }
    let (times, _bed) = writer.join().unwrap();
    user.expect(Told::Sent(7, Sent::Confirmed));
    assert_eq!(total, SIZE);
    let most = most.load(Ordering::Relaxed);
    assert!(times > 0 && most <= 256 << 10, "full {times} times, {most} bytes");
}

#[test]
fn a_stream_that_is_given_up() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    let head = |key: u64| NewStream {
        key,
        message_id: format!("0urst{key:04}").into(),
        content_type: "application/octet-stream".into(),
        headers: Vec::new(),
        total: None,
        success_report: false,
        failure_report: FailureReport::Yes,
    };
    // By us: the peer sees `#`, and a text goes on beside it.
    let mut sink = end.stream(head(1)).unwrap();
    sink.write(Bytes::from(pattern(0, 50_000))).unwrap();
    client.begun();
    end.send(message(2, "beside it")).unwrap();
    let (mut text, mut end_of_stream) = (false, None);
    let mut sink = Some(sink);
    while end_of_stream.is_none() {
        let got = client.expect("SEND");
        client.reply(&got, 200);
        if got.head.message_id() == Some("0ur00002") {
            text = true;
            sink.take().unwrap().abort();
        } else if got.flag != Flag::More {
            end_of_stream = Some(got.flag);
        }
    }
    assert!(text && end_of_stream == Some(Flag::Abort));
    user.expect(Told::Sent(2, Sent::Confirmed));
    // By the peer: what is written afterwards goes nowhere.
    let mut sink = end.stream(head(3)).unwrap();
    sink.write(Bytes::from(pattern(0, 50_000))).unwrap();
    let mut refusal = Vec::new();
    chappe_msrp::write::response(&mut refusal, &client.begun(), 413, "");
    client.write(refusal);
    user.expect(Told::Sent(3, Sent::Refused(413)));
    assert_eq!(sink.write(Bytes::from_static(b"more")), Err(SendError::Closed));
    assert_eq!(client.expect("SEND").flag, Flag::Abort);
    // One that comes to us, given up by its sender, and one whose sender is gone.
    *user.reception.lock() = Some(Reception::Stream);
    let id = client.begin(end.uri().as_str(), "mess0001", "");
    client.write(pattern(0, 10_000));
    client.write(format!("\r\n-------{id}#\r\n"));
    client.expect("200");
    user.expect(Told::Stream("mess0001".into(), None));
    *user.streamed.lock() = 0;
    client.begin(end.uri().as_str(), "mess0002", "");
    client.write(pattern(0, 10_000));
    bed.until("it is under way", || *user.streamed.lock() > 5000);
    drop(client);
    user.expect(Told::Stream("mess0002".into(), None));
    user.expect(Told::Closed(EndClosed::ConnectionLost));
}

#[test]
fn what_is_not_answered_stops_the_reading() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    user.keeps.store(true, Ordering::Relaxed);
    let to = end.uri().as_str().to_owned();
    for number in 0..200 {
        client.send(&to, &format!("mess{number:04}"), "", b"?");
    }
    let holds = || bed.relay.all_connections()[0].holds.load(Ordering::Relaxed);
    bed.until("not read", || holds() == 1);
    let mut answered = 0;
    while answered < 200 {
        let answers = std::mem::take(&mut *user.kept.lock());
        for answer in answers {
            answer.ok();
            client.expect("200");
            answered += 1;
        }
    }
    assert_eq!(holds(), 0);
    // The operator's bound on all sessions.
    let bed = Bed::new(|settings| settings.endpoint_memory = 100_000);
    let (end, user, mut client) = opened(&bed);
    client.send(end.uri().as_str(), "mess0001", "", &[b'x'; 150_000]);
    client.expect("413");
    client.send(end.uri().as_str(), "mess0002", "", &[b'x'; 50_000]);
    client.expect("200");
    assert!(matches!(user.next("a message"), Told::Message(..)));
}

#[test]
fn what_time_does() {
    let bed = Bed::new(|settings| settings.session_idle = 1_000_000);
    // A message that does not go on.
    let (end, user, mut client) = opened(&bed);
    let id = client.begin(end.uri().as_str(), "mess0001", "");
    client.write([b'x'; 10_000]);
    client.write(format!("\r\n-------{id}+\r\n"));
    client.expect("200");
    assert!(bed.relay.ends.held.load(Ordering::Relaxed) >= 10_000);
    bed.relay.tick(539_000);
    assert!(bed.relay.ends.held.load(Ordering::Relaxed) >= 10_000);
    bed.relay.tick(541_000);
    assert_eq!((bed.relay.ends.held.load(Ordering::Relaxed), bed.relay.counters.end_messages_expired.get()), (0, 1));
    // A peer that was to connect and does not.
    let (waiting, waiter) = open(&bed);
    bed.relay.tick(600_000);
    waiting.agreed(&agreement(&waiting, "msrp://127.0.0.1:9/n0body;tcp", false));
    waiting.send(message(1, "never")).unwrap();
    bed.relay.tick(631_000);
    assert!(!waiting.has_ended());
    bed.relay.tick(632_000);
    waiter.expect(Told::Sent(1, Sent::Lost));
    waiter.expect(Told::Closed(EndClosed::Idle));
    // Silence.
    bed.relay.tick(1_001_000);
    user.expect(Told::Closed(EndClosed::Idle));
}

#[test]
fn a_peer_that_cannot_be_reached_or_does_not_know_us() {
    let bed = Bed::new(|_| {});
    let (end, user) = open(&bed);
    let gone = Foreign::new().uri;
    end.send(message(1, "into the void")).unwrap();
    end.agreed(&agreement(&end, &gone, true));
    user.expect(Told::Sent(1, Sent::Lost));
    user.expect(Told::Closed(EndClosed::Unreachable));
    let (end, user) = open(&bed);
    let foreign = Foreign::new();
    end.agreed(&agreement(&end, &foreign.uri, true));
    let mut peer = foreign.accept();
    let opening = peer.expect("SEND");
    peer.reply(&opening, 481);
    user.expect(Told::Bound);
    user.expect(Told::Closed(EndClosed::Failed));
    // What cannot be done at all.
    let (end, user) = open(&bed);
    let other = chappe_sdp::Fingerprint { function: "SHA-512".into(), value: vec![0; 64] };
    let agreed = agreement(&end, "msrps://127.0.0.1:9/n0body;tcp", true);
    end.agreed(&chappe_sdp::Agreement { fingerprints: vec![other], ..agreed });
    user.expect(Told::Closed(EndClosed::Unsupported));
    assert_eq!(bed.relay.sessions_now(), 0);
}

/// A user may do all it likes while it is told something, and while it holds locks of its own.
#[test]
fn users_send_and_close_from_within() {
    let bed = Bed::new(|_| {});
    let (end, user, mut client) = opened(&bed);
    let lock = Arc::new(Mutex::new(()));
    let mine = Arc::clone(&lock);
    let _ = user.hook.set(Box::new(move |end, message| {
        let _held = mine.lock();
        if message.data == b"bye" {
            end.close();
        } else {
            end.send(NewMessage { failure_report: FailureReport::No, ..self::message(1, message.data.clone()) })
                .unwrap();
        }
    }));
    client.send(end.uri().as_str(), "mess0001", "", b"echo");
    let mut kinds = [client.read().unwrap().kind(), client.read().unwrap().kind()];
    kinds.sort();
    assert_eq!(kinds, ["200", "SEND"]);
    client.send(end.uri().as_str(), "mess0002", "", b"bye");
    client.expect("200");
    let told: Vec<_> = (0..4).map(|_| user.next("all four")).collect();
    for expected in [
        Told::Sent(1, Sent::Written),
        Told::Message("mess0001".into(), b"echo".to_vec()),
        Told::Message("mess0002".into(), b"bye".to_vec()),
        Told::Closed(EndClosed::Here),
    ] {
        assert!(told.contains(&expected), "{expected:?} in {told:?}");
    }
}

/// A client of the relay, whose peer is a session of ours: either of them opens.
#[test]
fn a_peer_behind_our_own_relay() {
    let bed = Bed::new(|_| {});
    for we_connect in [false, true] {
        let (mut alice, alices) = bed.session(0);
        let (end, user) = open(&bed);
        let agreed = agreement(&end, &alices, we_connect);
        end.agreed(&chappe_sdp::Agreement { peer_path: vec![alices.clone(), alice.uri.clone()], ..agreed });
        end.send(NewMessage { success_report: true, ..message(1, "through the relay") }).unwrap();
        if we_connect {
            let opening = alice.expect("SEND");
            assert!(!opening.head.has_body());
            alice.reply(&opening, 200);
        } else {
            alice.send(&format!("{alices} {}", end.uri().as_str()), "mess0001", "Success-Report: yes\r\n", b"hello");
        }
        user.expect(Told::Bound);
        let mut kinds = Vec::new();
        for _ in 0..if we_connect { 1 } else { 3 } {
            let got = alice.read().unwrap();
            kinds.push(got.kind());
            if got.kind() == "SEND" {
                assert_eq!(got.body, b"through the relay");
                assert_eq!(got.head.raw_from_path(), format!("{alices} {}", end.uri().as_str()));
                alice.reply(&got, 200);
                let (id, to, from) = (alice.id(), got.head.raw_from_path(), alice.uri.clone());
                alice.write(format!(
                    "MSRP {id} REPORT\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: 0ur00001\r\n\
                     Byte-Range: 1-17/17\r\nStatus: 000 200 OK\r\n-------{id}$\r\n"
                ));
            }
        }
        kinds.sort();
        assert_eq!(kinds, if we_connect { vec!["SEND"] } else { vec!["200", "REPORT", "SEND"] });
        let told: Vec<_> = (0..if we_connect { 2 } else { 3 }).map(|_| user.next("all of it")).collect();
        assert!(told.contains(&Told::Sent(1, Sent::Reported)), "{told:?}");
        assert!(we_connect || told.contains(&Told::Message("mess0001".into(), b"hello".to_vec())), "{told:?}");
        end.close();
        user.expect(Told::Closed(EndClosed::Here));
    }
}
