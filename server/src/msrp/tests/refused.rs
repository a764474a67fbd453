//! Messages that the next hop does not want.

use chappe_msrp::Flag;

use super::bed::Bed;

#[test]
fn a_chunk_that_is_refused_while_it_goes_out_is_aborted() {
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let to = format!("{alices} {bobs} {}", bob.uri);
    for (message, code) in [("mess0001", 413), ("mess0002", 415)] {
        let running = alice.begin(&to, message, "");
        alice.write([b'x'; 5000]);
        bob.reply_early(code);
        let report = alice.expect("REPORT");
        assert_eq!(report.head.status_header().map(|status| status.code), Some(code));
        assert_eq!(
            (report.head.message_id(), report.head.byte_range().map(|range| range.start)),
            (Some(message), Some(1))
        );
        let got = bob.expect("SEND");
        assert_eq!((got.head.message_id(), got.flag), (Some(message), Flag::Abort));
        assert!(got.body.len() < 5000);
        // The rest is not wanted either, and what comes after it.
        alice.write([b'x'; 100]);
        let refused = alice.expect(&code.to_string());
        assert_eq!(refused.head.transaction_id(), running);
        alice.write(format!("\r\n-------{running}+\r\n"));
        let id = alice.id();
        let from = alice.uri.clone();
        alice.write(format!(
            "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {message}\r\nByte-Range: 5101-5103/*\r\n\
             Content-Type: text/plain\r\n\r\nend\r\n-------{id}$\r\n"
        ));
        assert_eq!(alice.expect(&code.to_string()).head.transaction_id(), id);
    }
    // Sent anew, one is tried again and the other is not.
    alice.send(&to, "mess0001", "", b"again");
    alice.expect("413");
    alice.send(&to, "mess0001", "Failure-Report: no\r\n", b"again");
    alice.send(&to, "mess0002", "", b"again");
    alice.expect("200");
    assert_eq!(bob.expect("SEND").head.message_id(), Some("mess0002"));
}

/// Nothing is lost without a word: each chunk is refused, or reported.
#[test]
fn what_waits_of_a_refused_message_is_dropped_and_reported() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 250;
    let bed = Bed::new(|_| {});
    let (mut alice, alices) = bed.session(0);
    let (mut bob, bobs) = bed.session(1);
    let to = format!("{alices} {bobs} {}", bob.uri);
    let (mut writer, from, paths) = (alice.stream.try_clone().unwrap(), alice.uri.clone(), to.clone());
    let writing = std::thread::spawn(move || {
        for chunk in 0..CHUNKS {
            let (start, flag) = (chunk * CHUNK + 1, if chunk + 1 == CHUNKS { '$' } else { '+' });
            let head = format!(
                "MSRP chunk{chunk:03} SEND\r\nTo-Path: {paths}\r\nFrom-Path: {from}\r\nMessage-ID: mess0001\r\n\
                 Byte-Range: {start}-*/*\r\nContent-Type: text/plain\r\n\r\n"
            );
            let end = format!("\r\n-------chunk{chunk:03}{flag}\r\n");
            let frame = [head.as_bytes(), &[b'x'; CHUNK], end.as_bytes()].concat();
            std::io::Write::write_all(&mut writer, &frame).unwrap();
        }
    });
    bed.until("the way is full", || bed.relay.counters.pauses.get() > 0);
    let receiving = std::thread::spawn(move || {
        let mut bytes = 0;
        loop {
            let got = bob.expect("SEND");
            if got.head.message_id() != Some("mess0001") {
                return bytes;
            }
            bytes += got.body.len();
            bob.reply(&got, 413);
        }
    });
    let mut failed = [false; CHUNKS];
    while failed.contains(&false) {
        let got = alice.read().expect("a word about each");
        match got.kind().as_str() {
            "200" => {}
            "413" => failed[got.head.transaction_id()[5..].parse::<usize>().unwrap()] = true,
            _ => {
                assert_eq!(got.head.status_header().map(|status| status.code), Some(413));
                let range = got.head.byte_range().unwrap();
                let last = range.end.unwrap_or(range.start).max(range.start);
                let chunk = |position: u64| (position as usize - 1) / CHUNK;
                failed[chunk(range.start)..=chunk(last)].fill(true);
            }
        }
    }
    writing.join().unwrap();
    alice.send(&to, "mess0002", "Failure-Report: no\r\n", b"something else");
    let bytes = receiving.join().unwrap();
    assert!(bytes < CHUNK * CHUNKS, "all of it went out");
}
