//! Reading a frame allocates its head's buffer and nothing else.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use chappe_msrp::{Event, Limits, Parser};

#[test]
fn one_for_a_send() {
    let frame = format!(
        "MSRP d93kswow SEND\r\nTo-Path: msrp://r.example.com:2855/abc;tcp msrp://b.example.com:8888/9di4ea;tcp\r\n\
         From-Path: msrp://a.example.com:7777/iau39;tcp\r\nMessage-ID: 12339sdqwer\r\nSuccess-Report: no\r\n\
         Failure-Report: yes\r\nByte-Range: 1-200/200\r\nContent-Type: message/cpim\r\n\r\n{}\r\n-------d93kswow$\r\n",
        "x".repeat(200)
    );
    let mut parser = Parser::new(Limits::default());
    let mut run = || {
        let (mut input, mut bytes) = (frame.as_bytes(), 0);
        while let Some(event) = parser.next(&mut input).unwrap() {
            match event {
                Event::Head(head) => bytes += head.to_path().count() + head.message_id().unwrap().len(),
                Event::Body(data) => bytes += data.len(),
                Event::End(_) => {}
            }
        }
        assert_eq!(bytes, 213);
    };
    // The search is prepared once.
    run();
    assert_eq!(allocation_counter::measure(run).count_total, 1);
}
