//! What becomes of a message that its next hop does not want: nothing more of it goes there (RFC 4975 §7.3.2, §10.5).

use std::sync::Arc;

use chappe_msrp::{ChunkHead, Head, Outcome, StreamKey};

use super::connection::{Connection, Touched, touch};
use super::relay::Relay;

/// The comment of a response with the next hop's code.
pub(super) const COMMENT: &str = "Refused By Next Hop";

/// Refused messages that are remembered of a stream.
const REMEMBERED: usize = 4;
/// The message is not to be sent again.
const STOP: u16 = 413;

/// Messages of a stream that the next hop has refused, and by which code. What still comes of them gets the same.
#[derive(Default)]
pub(super) struct Refusals(Vec<(Box<str>, u16)>);

impl Refusals {
    /// `false` if that is known.
    fn note(&mut self, message_id: &str, code: u16) -> bool {
        if self.0.iter().any(|(refused, _)| **refused == *message_id) {
            return false;
        }
        if self.0.len() >= REMEMBERED {
            self.0.remove(0);
        }
        self.0.push((message_id.into(), code));
        true
    }

    /// The code for a chunk that is under way.
    pub(super) fn code(&self, head: &Head) -> Option<u16> {
        let id = head.message_id()?;
        self.0.iter().find(|(refused, _)| **refused == *id).map(|(_, code)| *code)
    }

    /// The code for a chunk that begins. A message that is sent anew is tried again, unless it was to be stopped.
    pub(super) fn code_of_new(&mut self, head: &Head) -> Option<u16> {
        let code = self.code(head)?;
        let anew = head.byte_range().is_none_or(|range| range.start <= 1);
        if anew && code != STOP {
            self.0.retain(|(refused, _)| Some(&**refused) != head.message_id());
            return None;
        }
        Some(code)
    }
}

impl Relay {
    /// The next hop has refused a chunk of a message, of which more may be to come. What was taken over of it and has
    /// not gone out is reported like that chunk.
    pub(super) fn stop_message(
        &self,
        to: &Arc<Connection>,
        key: StreamKey,
        head: &ChunkHead,
        code: u16,
        touched: &mut Touched,
    ) {
        let mut out = to.way_out.lock();
        let Some(source) = out.streams.get_mut(&key) else { return };
        if !source.refusals.note(head.message_id(), code) {
            return;
        }
        let (source, shifts) = (Arc::clone(&source.connection), source.shifts);
        let unsent = out.outgoing.stop(key, head.message_id());
        drop(out);
        touch(touched, to);
        // Whoever is in the middle of a chunk has it in his response.
        for chunk in unsent.into_iter().filter(|chunk| chunk.range.end.is_some_and(|end| end >= chunk.range.start)) {
            if let Some(code) = Outcome::Response(code).failure(chunk.head.failure_report()) {
                self.report(&source, shifts, &chunk.head, chunk.range, code, touched);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chappe_msrp::{Event, Limits, Parser};

    use super::*;

    fn chunk(message_id: &str, start: u64) -> Head {
        let text = format!(
            "MSRP abcd SEND\r\nTo-Path: msrp://r:1/r;tcp msrp://b:1/b;tcp\r\nFrom-Path: msrp://a:1/a;tcp\r\n\
             Message-ID: {message_id}\r\nByte-Range: {start}-*/*\r\nContent-Type: text/plain\r\n\r\n"
        );
        match Parser::new(Limits::default()).next(&mut text.as_bytes()) {
            Ok(Some(Event::Head(head))) => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refused_message_may_begin_anew_but_for_413() {
        let mut refusals = Refusals::default();
        assert!(refusals.note("mess0001", 413) && refusals.note("mess0002", 415) && !refusals.note("mess0002", 481));
        assert_eq!(refusals.code(&chunk("mess0002", 1)), Some(415));
        for (message, start, expected) in [
            ("mess0001", 100, Some(413)),
            ("mess0001", 1, Some(413)),
            ("mess0002", 100, Some(415)),
            ("mess0002", 1, None),
            ("mess0002", 100, None),
            ("mess0003", 100, None),
        ] {
            assert_eq!(refusals.code_of_new(&chunk(message, start)), expected, "{message} from {start}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut refusals = Refusals::default();
        for number in 0..=REMEMBERED {
            refusals.note(&format!("mess{number}"), 413);
        }
        assert_eq!(refusals.code(&chunk("mess0", 1)), None);
        assert_eq!(refusals.code(&chunk("mess1", 1)), Some(413));
    }
}
