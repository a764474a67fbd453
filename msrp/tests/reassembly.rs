//! Messages put together from chunks in any order, within limits (RFC 4975 §7.3.1).

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::time::{Duration, Instant};

use chappe_msrp::{Event, Flag, Head, Limits, Parser, Reassembler, ReassemblyLimits, Refusal};
use proptest::prelude::*;

const LIMITS: ReassemblyLimits =
    ReassemblyLimits { message: 100, held: 400, messages: 2, parts: 4, timeout: Duration::from_secs(60) };

#[expect(clippy::disallowed_methods, reason = "there is no other way to come by one")]
fn epoch() -> Instant {
    Instant::now()
}

fn head(message_id: &str, range: &str, body: bool) -> Head {
    let range = if range.is_empty() { String::new() } else { format!("Byte-Range: {range}\r\n") };
    let body = if body { "Content-Type: text/plain\r\n\r\n\r\n" } else { "" };
    let frame = format!(
        "MSRP abcd SEND\r\nTo-Path: msrp://b:1/b;tcp\r\nFrom-Path: msrp://a:1/a;tcp\r\nMessage-ID: {message_id}\r\n\
         {range}{body}-------abcd$\r\n"
    );
    match Parser::new(Limits::default()).next(&mut frame.as_bytes()) {
        Ok(Some(Event::Head(head))) => head,
        other => panic!("{other:?}"),
    }
}

fn feed(all: &mut Reassembler, id: &str, range: &str, body: &str, flag: Flag) -> Result<Option<String>, Refusal> {
    let now = epoch();
    let _ = all.begin(&head(id, range, true), now);
    for slice in body.as_bytes().chunks(3) {
        let _ = all.body(slice, now);
    }
    all.end(flag).map(|message| message.map(|message| String::from_utf8(message.data).unwrap()))
}

#[test]
fn by_position_and_by_what_really_came() {
    use Flag::{Abort, End, More};
    let done = |text: &str| Ok(Some(text.to_owned()));
    for (name, chunks, expected) in [
        ("no range", vec![("", "hello", End)], done("hello")),
        ("unknown end and total", vec![("1-*/*", "hello", End)], done("hello")),
        ("empty", vec![("1-0/0", "", End)], done("")),
        ("two", vec![("1-3/6", "abc", More), ("4-6/6", "def", End)], done("abcdef")),
        ("last first", vec![("4-6/6", "def", End), ("1-3/6", "abc", More)], done("abcdef")),
        ("interrupted early", vec![("1-6/6", "ab", More), ("3-6/6", "cdef", End)], done("abcdef")),
        ("the total of the header is wrong", vec![("1-3/99", "abc", More), ("4-6/99", "def", End)], done("abcdef")),
        ("later wins", vec![("1-4/6", "abXX", More), ("3-6/6", "cdef", End)], done("abcdef")),
        ("later wins, backwards", vec![("3-6/6", "XXef", End), ("1-4/6", "abcd", More)], done("abcdef")),
        ("within", vec![("5-6/6", "ef", End), ("2-3/6", "XX", More), ("1-4/6", "abcd", More)], done("abcdef")),
        ("twice", vec![("1-3/6", "abc", More), ("1-3/6", "abc", More), ("4-*/6", "def", End)], done("abcdef")),
        ("a gap", vec![("1-3/7", "abc", More), ("5-7/7", "efg", End)], Ok(None)),
        ("no end", vec![("1-3/6", "abc", More), ("4-6/6", "def", More)], Ok(None)),
        ("an empty end", vec![("1-3/*", "abc", More), ("4-3/3", "", End)], done("abc")),
        ("given up", vec![("1-3/6", "abc", More), ("4-6/6", "de", Abort)], Ok(None)),
        ("given up and again", vec![("1-3/6", "xyz", Abort), ("1-3/3", "abc", End)], done("abc")),
        ("too large by its word", vec![("1-4/99999999999", "abcd", More)], Err(Refusal::TooLarge)),
        ("too large by position", vec![("102-103/*", "a", More)], Err(Refusal::TooLarge)),
        ("too large by its bytes", vec![("99-*/*", "abc", More)], Err(Refusal::TooLarge)),
        ("at the very end", vec![("18446744073709551615-*/*", "ab", More)], Err(Refusal::TooLarge)),
        ("two ends", vec![("4-6/6", "def", End), ("7-8/8", "gh", End)], Err(Refusal::Inconsistent)),
        ("an end before the end", vec![("4-6/6", "def", More), ("1-3/3", "abc", End)], Err(Refusal::Inconsistent)),
        (
            "too many parts",
            vec![
                ("3-3/*", "a", More),
                ("5-5/*", "a", More),
                ("7-7/*", "a", More),
                ("9-9/*", "a", More),
                ("11-11/*", "a", More),
            ],
            Err(Refusal::TooMany),
        ),
    ] {
        let mut all = Reassembler::new(LIMITS);
        let results: Vec<_> =
            chunks.iter().map(|(range, body, flag)| feed(&mut all, "1234", range, body, *flag)).collect();
        assert_eq!(results.last(), Some(&expected), "{name}");
        if !matches!(expected, Ok(None)) || name == "given up" {
            assert_eq!((all.held(), all.poll_timeout()), (0, None), "{name}");
        }
    }
}

#[test]
fn messages_of_a_session_are_kept_apart_and_counted() {
    let mut all = Reassembler::new(LIMITS);
    assert_eq!(feed(&mut all, "aaaa", "1-3/*", "abc", Flag::More), Ok(None));
    assert_eq!(feed(&mut all, "bbbb", "1-3/*", "xyz", Flag::More), Ok(None));
    assert_eq!(feed(&mut all, "cccc", "1-3/*", "...", Flag::More), Err(Refusal::TooMany));
    assert_eq!(all.progress("aaaa").unwrap().coverage().prefix(), 3);
    assert_eq!(feed(&mut all, "aaaa", "4-6/6", "def", Flag::End), Ok(Some("abcdef".to_owned())));
    assert_eq!(feed(&mut all, "bbbb", "4-6/6", "zzz", Flag::End), Ok(Some("xyzzzz".to_owned())));
    assert_eq!(all.held(), 0);
    // A bodiless SEND is no message.
    all.begin(&head("dddd", "1-0/0", false), epoch()).unwrap();
    assert!(matches!(all.end(Flag::End), Ok(None)));
}

#[test]
fn bytes_of_all_messages_are_limited() {
    let mut all = Reassembler::new(ReassemblyLimits { held: 250, ..LIMITS });
    assert_eq!(feed(&mut all, "aaaa", "1-*/*", &"a".repeat(100), Flag::More), Ok(None));
    assert_eq!(feed(&mut all, "bbbb", "1-*/*", &"b".repeat(100), Flag::More), Err(Refusal::TooMany));
    assert_eq!(all.held(), 164);
}

#[test]
fn dropped_when_nothing_more_comes() {
    let (start, secs) = (epoch(), Duration::from_secs);
    let mut all = Reassembler::new(LIMITS);
    all.begin(&head("aaaa", "1-*/*", true), start).unwrap();
    all.end(Flag::More).unwrap();
    all.begin(&head("bbbb", "1-*/*", true), start + secs(10)).unwrap();
    assert_eq!(all.poll_timeout(), Some(start + secs(60)));
    assert!(all.handle_timeout(start + secs(59)).is_none());
    assert_eq!(all.handle_timeout(start + secs(60)).unwrap().message_id(), Some("aaaa"));
    assert!(all.handle_timeout(start + secs(60)).is_none());
    // A byte now and then keeps the other one, which is still coming.
    all.body(b"x", start + secs(65)).unwrap();
    assert_eq!(all.poll_timeout(), Some(start + secs(125)));
    assert_eq!(all.handle_timeout(start + secs(125)).unwrap().message_id(), Some("bbbb"));
    assert_eq!(all.body(b"x", start + secs(126)), Ok(()));
    assert!(matches!(all.end(Flag::End), Err(Refusal::TimedOut)));
    assert_eq!((all.held(), all.poll_timeout()), (0, None));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Chunks of changing content over each other, then the whole tiled in any order: always as written to an array.
    #[test]
    fn as_writing_to_an_array(
        writes in prop::collection::vec((0_usize..60, prop::collection::vec(any::<u8>(), 1..30)), 0..12),
        cuts in prop::collection::btree_set(1_usize..90, 0..6),
        order in any::<prop::sample::Index>(),
    ) {
        let limits = ReassemblyLimits { parts: 1000, held: 100_000, ..LIMITS };
        let (mut all, mut array, now) = (Reassembler::new(limits), [0_u8; 90], epoch());
        let mut send = |start: usize, data: &[u8], flag: Flag| {
            all.begin(&head("1234", &format!("{}-*/90", start + 1), true), now).unwrap();
            for slice in data.chunks(7) {
                all.body(slice, now).unwrap();
            }
            array[start..start + data.len()].copy_from_slice(data);
            all.end(flag).unwrap().map(|message| (message.data, array))
        };
        for (start, data) in &writes {
            prop_assert!(send(*start, data, Flag::More).is_none());
        }
        let mut bounds: Vec<usize> = cuts.into_iter().collect();
        bounds.insert(0, 0);
        bounds.push(90);
        let mut tiles: Vec<(usize, usize)> = bounds.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let by = order.index(tiles.len());
        tiles.rotate_left(by);
        // It is complete as soon as the end is known and nothing is missing, which may be before the last tile.
        let done = tiles.into_iter().find_map(|(from, to)| {
            let data: Vec<u8> = (from..to).map(|at| at as u8 ^ 0x55).collect();
            send(from, &data, if to == 90 { Flag::End } else { Flag::More })
        });
        let (data, array) = done.unwrap();
        prop_assert_eq!(data, array.to_vec());
        prop_assert_eq!(all.held(), 0);
    }
}
