//! What the parser makes of frames, whole and cut anywhere (RFC 4975 §9), and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use chappe_msrp::{
    ByteRange, Cause, Event, FailureReport, Flag, Head, Leniency, Limits, Method, Parser, Start, Status,
};
use proptest::prelude::*;

/// Transaction id, To-Path and From-Path of an answer.
type Back = (String, String, String);

/// What came of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Got {
    head: Vec<u8>,
    body: Vec<u8>,
    end: Option<Flag>,
    has_body: bool,
    error: Option<(Cause, bool, Option<Back>)>,
}

/// Feeds `slices` to one parser.
fn feed<'a>(slices: impl Iterator<Item = &'a [u8]>, limits: Limits, leniency: Leniency) -> (Vec<Got>, bool) {
    let mut parser = Parser::with_leniency(limits, leniency);
    let mut got: Vec<Got> = Vec::new();
    for slice in slices {
        let mut input = slice;
        loop {
            match parser.next(&mut input) {
                Ok(Some(Event::Head(head))) => {
                    let has_body = head.has_body();
                    got.push(Got { head: head.bytes().to_vec(), has_body, ..Got::default() });
                }
                Ok(Some(Event::Body(data))) => {
                    assert!(!data.is_empty());
                    let last = got.last_mut().unwrap();
                    assert!(last.has_body && last.end.is_none() && last.error.is_none());
                    last.body.extend_from_slice(data);
                }
                Ok(Some(Event::End(flag))) => {
                    let last = got.last_mut().unwrap();
                    assert!(last.end.is_none() && last.error.is_none());
                    last.end = Some(flag);
                }
                Ok(None) => break assert!(input.is_empty()),
                Err(error) => {
                    let reply = error.reply.as_ref();
                    let reply = reply.map(|r| (r.transaction_id.to_string(), r.to.to_string(), r.from.to_string()));
                    assert_eq!(error.status(), reply.as_ref().map(|_| 400));
                    let fatal = error.is_fatal();
                    let within = got.last().is_some_and(|last| last.end.is_none() && last.error.is_none());
                    if !within {
                        got.push(Got::default());
                    }
                    got.last_mut().unwrap().error = Some((error.cause, fatal, reply));
                    if fatal {
                        return (got, parser.is_idle());
                    }
                }
            }
        }
    }
    (got, parser.is_idle())
}

fn whole(stream: &[u8], leniency: Leniency) -> (Vec<Got>, bool) {
    let whole = feed(std::iter::once(stream), Limits::default(), leniency);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(feed(stream.chunks(size), Limits::default(), leniency), whole, "in slices of {size}");
    }
    whole
}

fn only(stream: &str, leniency: Leniency) -> Got {
    let (mut got, idle) = whole(stream.as_bytes(), leniency);
    assert_eq!((got.len(), idle), (1, true), "{stream} {got:?}");
    got.remove(0)
}

fn head(stream: &str) -> Head {
    match Parser::new(Limits::default()).next(&mut stream.as_bytes()) {
        Ok(Some(Event::Head(head))) => head,
        other => panic!("{other:?}"),
    }
}

const PATHS: &str =
    "To-Path: msrp://b.example.com:8888/9di4ea;tcp\r\nFrom-Path: msrp://a.example.com:7777/iau39;tcp\r\n";

fn send(headers: &str, rest: &str) -> String {
    format!("MSRP d93kswow SEND\r\n{PATHS}Message-ID: 12339sdqwer\r\n{headers}{rest}")
}

#[test]
fn a_message_in_two_chunks_then_response_and_report() {
    let stream = format!(
        "MSRP a786hjs2 SEND\r\n{PATHS}Message-ID: 87652491\r\nSuccess-Report: yes\r\nByte-Range: 1-25/37\r\n\
         Content-Type: text/plain\r\n\r\nHey Bob, are you there or\r\n-------a786hjs2+\r\n\
         MSRP d93kswow SEND\r\n{PATHS}Message-ID: 87652491\r\nByte-Range: 26-37/37\r\n\
         Content-Type: text/plain\r\n\r\n not at all?\r\n-------d93kswow$\r\n\
         MSRP d93kswow 200 OK\r\n{PATHS}-------d93kswow$\r\n\
         MSRP dkei38sd REPORT\r\n{PATHS}Message-ID: 87652491\r\nByte-Range: 1-37/37\r\nStatus: 000 200 OK\r\n\
         -------dkei38sd$\r\n"
    );
    let (got, idle) = whole(stream.as_bytes(), Leniency::default());
    assert!(idle);
    let bodies: Vec<_> = got.iter().map(|got| String::from_utf8_lossy(&got.body).into_owned()).collect();
    assert_eq!(bodies, ["Hey Bob, are you there or", " not at all?", "", ""]);
    let ends: Vec<_> = got.iter().map(|got| got.end).collect();
    assert_eq!(ends, [Flag::More, Flag::End, Flag::End, Flag::End].map(Some));
    assert!(got.iter().all(|got| got.error.is_none()));
}

#[test]
fn what_a_head_says() {
    let send = head(&send(
        "success-report: YES\r\nFailure-Report:   partial\r\nByte-Range: 26-*/37\r\nX-Odd:  a b \t\r\n\
         Content-Type: message/cpim\r\n",
        "\r\n",
    ));
    assert_eq!((send.start(), send.method()), (Start::Request(Method::Send), Some(Method::Send)));
    assert_eq!((send.transaction_id(), send.word(), send.status()), ("d93kswow", "SEND", None));
    assert_eq!(send.to_path().map(|uri| uri.session_id.unwrap().to_owned()).collect::<Vec<_>>(), ["9di4ea"]);
    assert_eq!(send.raw_from_path(), "msrp://a.example.com:7777/iau39;tcp");
    assert_eq!(send.message_id(), Some("12339sdqwer"));
    assert_eq!((send.success_report(), send.failure_report()), (true, FailureReport::Partial));
    assert_eq!(send.byte_range(), Some(ByteRange { start: 26, end: None, total: Some(37) }));
    assert_eq!((send.content_type(), send.has_body()), (Some("message/cpim"), true));
    assert_eq!(send.header("x-odd"), Some("a b"));
    assert!(!format!("{send:?}").contains("iau39"));

    let report = head(&format!("MSRP abcd REPORT\r\n{PATHS}Message-ID: 1234\r\nStatus: 000 413\r\n-------abcd$\r\n"));
    assert_eq!(report.status_header(), Some(Status { namespace: 0, code: 413 }));
    assert!(!report.wants_response(400) && !report.has_body());
    let response = head(&format!("MSRP abcd 481 No such session\r\n{PATHS}-------abcd$\r\n"));
    assert_eq!((response.status(), response.word()), (Some(481), "No such session"));
}

#[test]
fn who_wants_a_response() {
    for (report, ok, error) in [("", true, true), ("yes", true, true), ("partial", false, true), ("no", false, false)] {
        let line = if report.is_empty() { String::new() } else { format!("Failure-Report: {report}\r\n") };
        let head = head(&send(&line, "-------d93kswow$\r\n"));
        assert_eq!((head.wants_response(200), head.wants_response(415)), (ok, error), "{report}");
    }
}

#[test]
fn bodies_end_only_at_their_own_end_line() {
    for (body, has_body) in [
        ("\r\n", true),
        ("\r\n\r\n", true),
        ("\r\n-------\r\n", true),
        ("\r\n-------d93kswo$\r\n\r\n", true),
        ("\r\n-------d93kswow\r\n\r\n", true),
        ("\r\n-------d93kswow$\r\r\n", true),
        ("\r\n-------d93kswow$\n\r\n", true),
        ("\r\n\n-------d93kswow$\r\n", true),
        ("\r\n--------d93kswow$\r\n\r\n", true),
        ("\r\nx-------d93kswow$\r\n\r\n", true),
        ("\r\n\r\r\r\n-----\r\n------\r\n", true),
        ("\r\n\r\n-------d93kswow\r\n-------d93kswowx\r\n", true),
    ] {
        let typed = send("Content-Type: text/plain\r\n", body);
        let got = only(&format!("{typed}-------d93kswow$\r\n"), Leniency::default());
        let expected = body.strip_prefix("\r\n").unwrap();
        // An empty body may do without the CRLF of its own.
        let expected = expected.strip_suffix("\r\n").unwrap_or(expected);
        assert_eq!(String::from_utf8_lossy(&got.body), expected);
        assert_eq!((got.has_body, got.end), (has_body, Some(Flag::End)));
    }
    let none = only(&send("", "-------d93kswow$\r\n"), Leniency::default());
    assert!(!none.has_body);
}

#[test]
fn binary_bodies_are_passed_as_they_are() {
    let mut stream = send("Content-Type: a/b\r\n", "\r\n").into_bytes();
    let body: Vec<u8> = (0..=255).chain(*b"\n-------d93kswow$\r\n").chain([0, 13, 13, 10, 10]).collect();
    stream.extend_from_slice(&body);
    stream.extend_from_slice(b"\r\n-------d93kswow#\r\n");
    let (got, _) = whole(&stream, Leniency::default());
    assert_eq!((&got[0].body, got[0].end), (&body, Some(Flag::Abort)));
}

/// A refused frame is answered where that is allowed, and the next one is read.
#[test]
fn refused_but_the_stream_goes_on() {
    let to = "msrp://a.example.com:7777/iau39;tcp";
    for (frame, cause, answered) in [
        (send("bad line\r\n", "-------d93kswow$\r\n"), Cause::HeaderLine, true),
        (send("Bad Name: x\r\n", "-------d93kswow$\r\n"), Cause::HeaderLine, true),
        (send("X:y\r\n", "-------d93kswow$\r\n"), Cause::HeaderLine, true),
        (send("X: a\rb\r\n", "-------d93kswow$\r\n"), Cause::HeaderLine, true),
        (send("X: a\n", "-------d93kswow$\r\n"), Cause::HeaderLine, true),
        (send("-------other123$\r\n", "-------d93kswow$\r\n"), Cause::HeaderLine, true),
        (send("Byte-Range: 1\r\n", "-------d93kswow$\r\n"), Cause::Malformed("Byte-Range"), true),
        (
            send("Byte-Range: 1\r\nFailure-Report: no\r\n", "-------d93kswow$\r\n"),
            Cause::Malformed("Byte-Range"),
            false,
        ),
        (send("Message-ID: again\r\n", "-------d93kswow$\r\n"), Cause::Repeated("Message-ID"), true),
        (send("Success-Report: maybe\r\n", "-------d93kswow$\r\n"), Cause::Malformed("Success-Report"), true),
        (send("", "\r\nbody\r\n-------d93kswow$\r\n"), Cause::Missing("Content-Type"), true),
        (
            send("Content-Type: a/b\r\nX: late\r\n", "\r\nbody\r\n-------x\r\n-------d93kswow+\r\n"),
            Cause::Order("Content-Type"),
            true,
        ),
        (format!("MSRP d93kswow SEND\r\n{PATHS}-------d93kswow$\r\n"), Cause::Missing("Message-ID"), true),
        (
            format!("MSRP d93kswow SEND\r\nMessage-ID: 1234\r\n{PATHS}-------d93kswow$\r\n"),
            Cause::Order("To-Path"),
            true,
        ),
        (
            "MSRP d93kswow SEND\r\nTo-Path: http://x\r\nMessage-ID: 1234\r\n-------d93kswow$\r\n".to_owned(),
            Cause::Malformed("To-Path"),
            false,
        ),
        (format!("MSRP d93kswow REPORT\r\n{PATHS}-------d93kswow$\r\n"), Cause::Missing("Message-ID"), false),
        ("MSRP d93kswow 200 OK\r\nX: y\r\n-------d93kswow$\r\n".to_owned(), Cause::Order("To-Path"), false),
        (
            format!("MSRP d93kswow send\r\n{PATHS}-------d93kswow$\r\n"),
            Cause::StartLine("a method or status code"),
            true,
        ),
        (send(&format!("X: {}\r\n", "y".repeat(9000)), "-------d93kswow$\r\n"), long(), true),
        (send(&format!("X: {}\r\n", "y".repeat(8188)), "-------d93kswow$\r\n"), long(), true),
        (send(&format!("X: {}\n", "y".repeat(9000)), "-------d93kswow$\r\n\r\n-------d93kswow$\r\n"), long(), true),
        (send(&"X: y\r\n".repeat(62), "-------d93kswow$\r\n"), headers(), true),
        (send(&"X: y\r\n".repeat(20_000), "-------d93kswow$\r\n"), long(), true),
    ] {
        let next = "MSRP next1 200\r\nTo-Path: msrp://a:1/x;tcp\r\nFrom-Path: msrp://b:1/x;tcp\r\n-------next1$\r\n";
        let (got, idle) = whole(format!("{frame}{next}").as_bytes(), Leniency::default());
        let short = &frame[..frame.len().min(400)];
        assert_eq!((got.len(), idle), (2, true), "{short}");
        let (found, fatal, reply) = got[0].error.clone().unwrap();
        assert_eq!((found, fatal), (cause, false), "{short}");
        assert_eq!(reply.is_some(), answered, "{short}");
        if let Some((id, back, from)) = reply {
            let expected = ("d93kswow", to, "msrp://b.example.com:8888/9di4ea;tcp");
            assert_eq!((id.as_str(), back.as_str(), from.as_str()), expected);
        }
        assert_eq!(got[1].end, Some(Flag::End));
    }
}

fn long() -> Cause {
    Cause::TooLarge { what: "head or one of its lines", max: 8192 }
}

fn headers() -> Cause {
    Cause::TooLarge { what: "number of headers", max: 64 }
}

#[test]
fn limits_are_reached_before_they_are_passed() {
    // Line, CRLF included, of exactly 8192; exactly 64 headers.
    let line = format!("X: {}\r\n", "y".repeat(8187));
    assert_eq!(line.len(), 8192);
    assert_eq!(only(&send(&line, "-------d93kswow$\r\n"), Leniency::default()).error.map(|e| e.0), None);
    assert_eq!(only(&send(&"X: y\r\n".repeat(61), "-------d93kswow$\r\n"), Leniency::default()).error, None);
}

/// A head that has used up its bytes exactly is refused with the next one, not before.
#[test]
fn at_the_end_of_the_head() {
    let stream = format!("MSRP abcd SEND\r\n{PATHS}X: y\r\n");
    let limits = Limits { head: stream.len(), ..Limits::default() };
    for more in ["", "-"] {
        let stream = format!("{stream}{more}");
        for size in [1, stream.len()] {
            let (got, _) = feed(stream.as_bytes().chunks(size), limits, Leniency::default());
            assert_eq!(got.len(), more.len());
        }
    }
}

/// A head that is too long is passed over, with its body, as long as it has an end within bounds.
#[test]
fn a_head_without_end() {
    let limits = Limits { header: 60, head: 500, ..Limits::default() };
    let next = format!("MSRP abcd 200\r\n{PATHS}-------abcd$\r\n");
    let (long, filler) = (format!("X: {}", "y".repeat(70)), "X: y\r\n".repeat(80));
    let endless = "y".repeat(2000);
    for (name, start, rest, answered, goes_on) in [
        ("a long line", "MSRP abcd SEND", format!("{long}\r\n-------abcd$\r\n{next}"), true, true),
        ("and a body", "MSRP abcd SEND", format!("{long}\r\n\r\n{endless}\r\n-------abcd$\r\n{next}"), true, true),
        ("a body that is empty", "MSRP abcd SEND", format!("{long}\r\n\r\n-------abcd$\r\n{next}"), true, true),
        ("a response", "MSRP abcd 200", format!("{long}\r\n-------abcd$\r\n{next}"), false, true),
        ("no report", "MSRP abcd SEND", format!("Failure-Report: no\r\n{long}\r\n-------abcd$\r\n{next}"), false, true),
        ("many lines", "MSRP abcd SEND", format!("{filler}-------abcd$\r\n{next}"), true, true),
        ("a line without end", "MSRP abcd SEND", format!("X: {endless}\r\n-------abcd$\r\n{next}"), true, false),
        ("lines without end", "MSRP abcd SEND", format!("{}-------abcd$\r\n{next}", filler.repeat(3)), true, false),
    ] {
        let stream = format!("{start}\r\n{PATHS}{rest}");
        let cause = Cause::TooLarge { what: "head or one of its lines", max: 60 };
        for size in [1, 7, 1000, stream.len()] {
            let (got, _) = feed(stream.as_bytes().chunks(size), limits, Leniency::default());
            let (found, fatal, reply) = got[0].error.clone().expect(name);
            assert_eq!((found, fatal, reply.is_some()), (cause, false, answered), "{name} by {size}");
            assert_eq!(got.len(), 2, "{name} by {size}");
            if goes_on {
                assert_eq!(got[1].end, Some(Flag::End), "{name} by {size}");
            } else {
                let lost = Cause::TooLarge { what: "head", max: 500 };
                assert_eq!(got[1].error, Some((lost, true, None)), "{name} by {size}");
            }
        }
    }
}

#[test]
fn the_stream_is_lost() {
    for (stream, cause) in [
        ("GET / HTTP/1.1\r\n".to_owned(), Cause::NotMsrp),
        ("msrp abcd SEND\r\n".to_owned(), Cause::NotMsrp),
        ("\r\nMSRP abcd SEND\r\n".to_owned(), Cause::NotMsrp),
        ("MSRP abcd\r\n".to_owned(), Cause::StartLine("a method or status code")),
        ("MSRP abc SEND\r\n".to_owned(), Cause::StartLine("a transaction id")),
        ("MSRP -abcdef SEND\r\n".to_owned(), Cause::StartLine("a transaction id")),
        (format!("MSRP {} SEND\r\n", "a".repeat(33)), Cause::StartLine("a transaction id")),
        ("MSRP abcd SEND\n".to_owned(), Cause::StartLine("CRLF")),
        (format!("MSRP abcd 200 {}\r\n", "x".repeat(600)), Cause::TooLarge { what: "start line", max: 512 }),
        (format!("MSRP {}", "x".repeat(600)), Cause::TooLarge { what: "start line", max: 512 }),
    ] {
        let (got, _) = whole(stream.as_bytes(), Leniency::default());
        assert_eq!(got[0].error, Some((cause, true, None)), "{stream}");
    }
}

#[test]
fn only_a_send_may_have_a_large_body() {
    let limits = Limits { other_body: 10, ..Limits::default() };
    for (method, body, good) in [
        ("SEND", "0123456789a", true),
        ("NICKNAME", "0123456789", true),
        ("NICKNAME", "0123456789a", false),
        ("NICKNAME", "0123456\r\n--", false),
        ("NICKNAME", "\r\n-------abcd\r\n", false),
        ("NICKNAME", "-------abcd", false),
    ] {
        let stream = format!(
            "MSRP abcd {method}\r\n{PATHS}Message-ID: 1234\r\nContent-Type: text/plain\r\n\r\n{body}\r\n-------abcd$\r\n\
             MSRP abcd 200\r\n{PATHS}-------abcd$\r\n"
        );
        let whole = feed(std::iter::once(stream.as_bytes()), limits, Leniency::default());
        let expected = if good { body } else { &body[..10] };
        assert_eq!(String::from_utf8_lossy(&whole.0[0].body), expected, "{method} {body}");
        assert_eq!(whole.0[0].error.is_none(), good);
        assert_eq!(whole.0[1].end, Some(Flag::End));
        for size in 1..40 {
            assert_eq!(feed(stream.as_bytes().chunks(size), limits, Leniency::default()), whole, "{method} {size}");
        }
    }
}

/// Each deviation is refused unless its own switch is on.
#[test]
fn a_switch_for_each_deviation() {
    let off = Leniency::default();
    let end = "-------d93kswow$\r\n";
    let (to, from) = PATHS.split_at(PATHS.find("From").unwrap());
    for (name, frame, on) in [
        (
            "paths",
            format!("MSRP d93kswow SEND\r\n{from}{to}Message-ID: 1234\r\n{end}"),
            Leniency { paths_anywhere: true, ..off },
        ),
        (
            "content type",
            send("Content-Type: text/plain\r\nByte-Range: 1-2/2\r\n", &format!("\r\nhi\r\n{end}")),
            Leniency { content_type_anywhere: true, ..off },
        ),
        ("no body", send("Content-Type: text/plain\r\n", end), Leniency { content_type_without_body: true, ..off }),
        ("blank", send("", &format!("\r\n{end}")), Leniency { blank_line_without_content_type: true, ..off }),
        (
            "untyped",
            send("", &format!("\r\n-------d93 hi\r\n{end}")),
            Leniency { blank_line_without_content_type: true, ..off },
        ),
        ("between", format!("\r\n\r\n{}\r\n", send("", end)), Leniency { blank_lines_between_frames: true, ..off }),
        ("colon", send("Success-Report:yes\r\n", end), Leniency { no_space_after_colon: true, ..off }),
        ("id", send("", end).replace("d93kswow", "d_3"), Leniency { any_transaction_id: true, ..off }),
        ("long id", send("", end).replace("d93kswow", &"d".repeat(64)), Leniency { any_transaction_id: true, ..off }),
        (
            "message id",
            send("", end).replace("12339sdqwer", "<{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}@a.example.com>"),
            Leniency { any_message_id: true, ..off },
        ),
        (
            "keep-alive",
            format!("MSRP d93kswow SEND\r\n{PATHS}{end}"),
            Leniency { keep_alive_without_message_id: true, ..off },
        ),
        ("transport", send("", end).replace("9di4ea;tcp", "9di4ea"), Leniency { uri_without_transport: true, ..off }),
        ("zero", send("Byte-Range: 0-0/0\r\n", end), Leniency { range_from_zero: true, ..off }),
        ("total", send("Byte-Range: 1-0\r\n", end), Leniency { range_without_total: true, ..off }),
        (
            "status",
            format!("MSRP d93kswow REPORT\r\n{PATHS}Message-ID: 1234\r\nStatus: 200 OK\r\n{end}"),
            Leniency { status_without_namespace: true, ..off },
        ),
    ] {
        assert!(whole(frame.as_bytes(), off).0[0].error.is_some(), "{name}");
        for leniency in [on, Leniency::ALL] {
            let got = only(&frame, leniency);
            assert_eq!((got.error, got.end), (None, Some(Flag::End)), "{name}");
            let body = match name {
                "content type" => "hi",
                "untyped" => "-------d93 hi",
                _ => "",
            };
            assert_eq!((String::from_utf8_lossy(&got.body).as_ref(), got.has_body), (body, !body.is_empty()), "{name}");
        }
    }
}

/// Pieces of frames, right and wrong.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "MSRP abcd SEND\r\n", "MSRP abcd AUTH\r\n", "MSRP abcd 200 OK\r\n", PATHS, "Message-ID: 1234\r\n",
            "Content-Type: a/b\r\n\r\n", "\r\n-------abcd$\r\n", "\r\n-------abcd+\r\n", "-------abcd#\r\n", "\r\n",
            "\r", "\n", "-------", "abcd", "$", "X: y\r\n", "Failure-Report: no\r\n", "bad\r\n", "0123456789",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        4 => Just(format!("MSRP abcd SEND\r\n{PATHS}Message-ID: 1234\r\nContent-Type: a/b\r\n\r\n").into_bytes()),
        1 => Just(format!("MSRP abcd AUTH\r\n{PATHS}Content-Type: a/b\r\n\r\n").into_bytes()),
        2 => Just(format!("MSRP abcd SEND\r\n{PATHS}Message-ID: 1234\r\n\r\n").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_the_stream_is_cut(stream in stream(), cuts in prop::collection::vec(1_usize..40, 1..40), lenient: bool) {
        let limits = Limits { start_line: 40, header: 60, headers: 5, head: 200, other_body: 20 };
        let leniency = if lenient { Leniency::ALL } else { Leniency::default() };
        let whole = feed(std::iter::once(stream.as_slice()), limits, leniency);
        let (mut rest, mut slices) = (stream.as_slice(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (slice, more) = rest.split_at((*cut).min(rest.len()));
            slices.push(slice);
            rest = more;
        }
        let mut cut = feed(slices.into_iter(), limits, leniency);
        let ones = feed(stream.chunks(1), limits, leniency);
        prop_assert_eq!(&cut, &ones);
        cut.1 = whole.1;
        prop_assert_eq!(cut, whole);
    }
}
