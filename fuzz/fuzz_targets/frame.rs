//! Streams: however the bytes are split, the same messages come out, and nothing grows without bound.

#![no_main]

use chappe_net::frame::{Frame, FrameError, FrameLimits, Framer, SipFramer};
use libfuzzer_sys::fuzz_target;

const LIMITS: FrameLimits = FrameLimits { head: 2048, message: 4096 };

/// Cuts `stream`, of which `step` bytes come at a time.
fn cut(stream: &[u8], step: usize) -> (Vec<&[u8]>, usize, Option<FrameError>) {
    let mut framer = SipFramer::new(LIMITS);
    let (mut messages, mut pings) = (Vec::new(), 0);
    let (mut start, mut end) = (0, 0);
    while end < stream.len() {
        end = (end + step).min(stream.len());
        loop {
            match framer.next(&stream[start..end]) {
                Ok(Frame::Message(length)) => {
                    assert!(length > 0 && length <= LIMITS.message && length <= end - start);
                    messages.push(&stream[start..start + length]);
                    start += length;
                }
                Ok(Frame::Blank { length, pings: more }) => {
                    assert!(length > 0 && 2 * more <= length + 1 && length <= end - start);
                    pings += more;
                    start += length;
                }
                Ok(Frame::Need(total)) => {
                    assert!(total > end - start && total <= LIMITS.message.max(LIMITS.head + 1));
                    break;
                }
                Err(error) => return (messages, pings, Some(error)),
            }
        }
    }
    (messages, pings, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((step, stream)) = data.split_first() else { return };
    let whole = cut(stream, stream.len().max(1));
    let pieces = cut(stream, usize::from(*step).max(1));
    assert_eq!(whole.0, pieces.0);
    // Both end in an error or neither does; which one may depend on how much of a first line is there.
    assert_eq!(whole.2.is_some(), pieces.2.is_some());
    assert_eq!(whole.1, pieces.1);
});
