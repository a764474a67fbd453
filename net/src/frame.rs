//! Where one message ends on a stream (RFC 3261 §18.3, §7.5; keep-alives of RFC 5626 §3.5.1).
//!
//! A framer sees the bytes that are not consumed yet and says what stands at their beginning. It keeps how far it has
//! looked, so that a message that trickles in byte by byte is scanned once.

use memchr::{memchr, memmem};

/// Finds the units of a protocol in a stream of bytes.
///
/// `next` is called with all bytes that no earlier answer consumed; after [`Frame::Need`] the next call sees the same
/// bytes and more behind them. After an error the framer is not used again.
pub trait Framer: Send {
    fn next(&mut self, buffer: &[u8]) -> Result<Frame, FrameError>;
}

/// What stands at the beginning of the bytes shown to a [`Framer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// An unfinished unit; at least so many bytes in all are wanted before it makes sense to ask again.
    Need(usize),
    /// `length` bytes of line ends between messages; `pings` of them were double CRLFs, each due one CRLF as answer.
    Blank { length: usize, pings: usize },
    /// A whole message of so many bytes.
    Message(usize),
}

/// Why a stream cannot be cut into messages any further. The connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first line is none of SIP: another protocol, or a scanner.
    #[error("the first line is not of SIP")]
    NotSip,
    #[error("no Content-Length on a stream")]
    NoContentLength,
    #[error("Content-Length is not a number, or differs from another one")]
    BadContentLength,
    #[error("headers of more than {max} bytes")]
    HeadTooLarge { max: usize },
    #[error("a message of {length} bytes, over the limit of {max}")]
    TooLarge { length: u64, max: usize },
}

/// Bounds on a message on a stream, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Start line and headers with the empty line.
    pub head: usize,
    /// Head and body.
    pub message: usize,
}

/// The longest first line; longer ones are not waited for.
const FIRST_LINE: usize = 8 * 1024;

/// Cuts a stream into SIP messages by Content-Length.
#[derive(Debug, Clone)]
pub struct SipFramer {
    limits: FrameLimits,
    /// Bytes known to hold no end of the head.
    scanned: usize,
    /// Length of the message once its head is complete, otherwise 0.
    total: usize,
    first_line_seen: bool,
    /// Whether the line ends seen since the last ping are an odd number.
    half_ping: bool,
}

impl SipFramer {
    pub fn new(limits: FrameLimits) -> SipFramer {
        SipFramer { limits, scanned: 0, total: 0, first_line_seen: false, half_ping: false }
    }

    fn blank(&mut self, buffer: &[u8]) -> Option<Frame> {
        let length = buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if length == 0 {
            return None;
        }
        let mut pings = 0;
        for _ in buffer[..length].iter().filter(|b| **b == b'\n') {
            pings += usize::from(self.half_ping);
            self.half_ping = !self.half_ping;
        }
        Some(Frame::Blank { length, pings })
    }

    fn first_line(&mut self, buffer: &[u8]) -> Result<(), FrameError> {
        // A first byte that starts neither a method nor a version needs no waiting: TLS, telnet, binary rubbish.
        if !is_token_byte(buffer[0]) {
            return Err(FrameError::NotSip);
        }
        let window = &buffer[..buffer.len().min(FIRST_LINE)];
        match memchr(b'\n', &window[self.scanned.min(window.len())..]) {
            Some(at) if !names_sip(&window[..self.scanned + at]) => Err(FrameError::NotSip),
            Some(_) => {
                self.first_line_seen = true;
                Ok(())
            }
            None if window.len() == FIRST_LINE => Err(FrameError::NotSip),
            None => Ok(()),
        }
    }
}

impl Framer for SipFramer {
    fn next(&mut self, buffer: &[u8]) -> Result<Frame, FrameError> {
        if self.total == 0 {
            if self.scanned == 0 {
                if let Some(blank) = self.blank(buffer) {
                    return Ok(blank);
                }
                if buffer.is_empty() {
                    return Ok(Frame::Need(1));
                }
                self.half_ping = false;
            }
            if !self.first_line_seen {
                self.first_line(buffer)?;
            }
            // The four bytes of the end may straddle what was seen before.
            let from = self.scanned.saturating_sub(3);
            let Some(at) = memmem::find(&buffer[from..], b"\r\n\r\n") else {
                if buffer.len() > self.limits.head {
                    return Err(FrameError::HeadTooLarge { max: self.limits.head });
                }
                self.scanned = buffer.len();
                return Ok(Frame::Need(buffer.len() + 1));
            };
            let head = from + at + 4;
            if head > self.limits.head {
                return Err(FrameError::HeadTooLarge { max: self.limits.head });
            }
            let body = content_length(&buffer[..head])?;
            let length = body.saturating_add(head as u64);
            if length > self.limits.message as u64 {
                return Err(FrameError::TooLarge { length, max: self.limits.message });
            }
            self.total = length as usize;
        }
        if buffer.len() < self.total {
            return Ok(Frame::Need(self.total));
        }
        let total = self.total;
        (self.scanned, self.total, self.first_line_seen) = (0, 0, false);
        Ok(Frame::Message(total))
    }
}

/// Whether a first line (without its end) has `SIP/` in it, as every request and status line does.
pub(crate) fn names_sip(line: &[u8]) -> bool {
    // A status line has it in front, a request line near its end.
    let is_version = |w: &[u8]| w.len() >= 4 && w[..4].eq_ignore_ascii_case(b"SIP/");
    is_version(line) || memchr::memrchr_iter(b'/', line).any(|at| at >= 3 && is_version(&line[at - 3..]))
}

/// The bytes of an RFC 3261 §25.1 token.
pub(crate) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

/// The Content-Length of a head that ends in an empty line. The same length given twice is left for the parser to
/// judge, since it does not make the framing doubtful.
fn content_length(head: &[u8]) -> Result<u64, FrameError> {
    let mut found = None;
    let mut at = 0;
    while let Some(end) = memchr(b'\n', &head[at..]) {
        let next = at + end + 1;
        if let Some(value) = content_length_value(&head[at..]) {
            let length = number(value).ok_or(FrameError::BadContentLength)?;
            if found.replace(length).is_some_and(|earlier| earlier != length) {
                return Err(FrameError::BadContentLength);
            }
        }
        at = next;
    }
    found.ok_or(FrameError::NoContentLength)
}

/// What follows the colon if a line begins with this header's long or compact name (RFC 3261 §20.14).
fn content_length_value(line: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"content-length";
    let name = match line.first()? {
        b'l' | b'L' => 1,
        b'c' | b'C' if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) => NAME.len(),
        _ => return None,
    };
    let after = &line[name..];
    let colon = after.iter().position(|b| !matches!(b, b' ' | b'\t'))?;
    (after[colon] == b':').then(|| &after[colon + 1..])
}

/// A decimal number between optional white space, which may be folded over lines (RFC 3261 §7.3.1).
fn number(value: &[u8]) -> Option<u64> {
    let start = skip_lws(value);
    let digits = value[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = &value[start + digits..];
    let rest = &rest[skip_lws(rest)..];
    if digits == 0 || !rest.starts_with(b"\r\n") {
        return None;
    }
    let mut n: u64 = 0;
    for digit in &value[start..start + digits] {
        n = n.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(n)
}

fn skip_lws(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match &text[at..] {
            [b' ' | b'\t', ..] => at += 1,
            [b'\r', b'\n', b' ' | b'\t', ..] => at += 3,
            _ => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: FrameLimits = FrameLimits { head: 9000, message: 10_000 };

    static LONG: &str = match std::str::from_utf8(&[b'y'; 4000]) {
        Ok(text) => text,
        Err(_) => "",
    };

    /// Feeds `stream` in pieces and returns messages and pings in order, with the error that ended it.
    fn cut(stream: &[u8], pieces: impl IntoIterator<Item = usize>) -> (Vec<Vec<u8>>, usize, Option<FrameError>) {
        let mut framer = SipFramer::new(LIMITS);
        let (mut buffer, mut messages, mut pings) = (Vec::new(), Vec::new(), 0);
        let mut rest = stream;
        let mut pieces = pieces.into_iter();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(pieces.next().unwrap_or(rest.len()).clamp(1, rest.len()));
            (rest, _) = (later, buffer.extend_from_slice(piece));
            loop {
                match framer.next(&buffer) {
                    Err(error) => return (messages, pings, Some(error)),
                    Ok(Frame::Need(total)) => {
                        assert!(total > buffer.len());
                        break;
                    }
                    Ok(Frame::Blank { length, pings: more }) => {
                        buffer.drain(..length);
                        pings += more;
                    }
                    Ok(Frame::Message(length)) => messages.push(buffer.drain(..length).collect()),
                }
            }
        }
        (messages, pings, None)
    }

    fn message(headers: &str, body: &str) -> String {
        format!("MESSAGE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n{headers}\r\n\r\n{body}")
    }

    #[test]
    fn length_headers() {
        use FrameError::*;
        for (name, headers, body, error) in [
            ("long form", "Content-Length: 4", "abcd", None),
            ("any case", "cONTENT-lENGTH:4", "abcd", None),
            ("compact", "l: 4", "abcd", None),
            ("space before the colon", "L \t: 4 ", "abcd", None),
            ("folded", "Content-Length:\r\n  4\r\n\t", "abcd", None),
            ("leading zeros", "Content-Length: 0004", "abcd", None),
            ("the same twice", "l: 4\r\nContent-Length: 4", "abcd", None),
            ("two that differ", "l: 4\r\nContent-Length: 5", "abcd", Some(BadContentLength)),
            ("negative", "l: -4", "abcd", Some(BadContentLength)),
            ("empty", "l:", "abcd", Some(BadContentLength)),
            ("list", "l: 4, 4", "abcd", Some(BadContentLength)),
            ("beyond 64 bits", "l: 18446744073709551616", "", Some(BadContentLength)),
            ("64 bits", "l: 18446744073709551615", "", Some(TooLarge { length: u64::MAX, max: 10_000 })),
            ("other names", "Language: 4\r\nContent-Length-X: 4\r\nx-l: 4", "abcd", Some(NoContentLength)),
        ] {
            let text = message(headers, body);
            let (messages, _, found) = cut(text.as_bytes(), []);
            assert_eq!(found, error, "{name}");
            assert_eq!(messages.len(), usize::from(error.is_none()), "{name}");
        }
    }

    #[test]
    fn other_protocols_end_at_the_first_line() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"\0\0\0\0", b"quit\r\n", b" INVITE"] {
            assert_eq!(cut(bytes, [1, 1, 1, 1]).2, Some(FrameError::NotSip), "{bytes:?}");
        }
        let endless = vec![b'A'; FIRST_LINE];
        assert_eq!(cut(&endless, [7; 2000]).2, Some(FrameError::NotSip));
    }

    #[test]
    fn head_over_the_limit() {
        let long = message(&format!("Subject: {}\r\nl: 0", "x".repeat(9000)), "");
        assert_eq!(cut(long.as_bytes(), [100; 50]).2, Some(FrameError::HeadTooLarge { max: 9000 }));
        assert_eq!(cut(long.as_bytes(), []).2, Some(FrameError::HeadTooLarge { max: 9000 }));
    }

    #[test]
    fn every_double_crlf_is_a_ping() {
        for (stream, expected) in [("\r\n\r\n", 1), ("\r\n", 0), (&"\r\n\r\n".repeat(50), 50), ("\r\n\r\n\r\n", 1)] {
            assert_eq!(cut(stream.as_bytes(), []).1, expected, "{stream:?}");
            assert_eq!(cut(stream.as_bytes(), [1; 300]).1, expected, "{stream:?} byte by byte");
        }
        // Half a ping before a message is not completed by a line end behind it.
        let stream = format!("\r\n{}\r\n", message("l: 0", ""));
        assert_eq!(cut(stream.as_bytes(), []), (vec![message("l: 0", "").into_bytes()], 0, None));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            bodies in proptest::collection::vec("[a-z\r\n ]{0,40}", 1..6),
            blanks in proptest::collection::vec(0usize..4, 6),
            pieces in proptest::collection::vec(1usize..90, 0..80),
        ) {
            let mut stream = String::new();
            let mut expected = Vec::new();
            for (body, blank) in bodies.iter().zip(&blanks) {
                stream += &"\r\n".repeat(*blank);
                let text = message(&format!("Content-Length: {}", body.len()), body);
                stream += &text;
                expected.push(text.into_bytes());
            }
            let (messages, pings, error) = cut(stream.as_bytes(), pieces);
            prop_assert_eq!(error, None);
            prop_assert_eq!(messages, expected);
            prop_assert_eq!(pings, blanks.iter().take(bodies.len()).map(|b| b / 2).sum::<usize>());
        }

        #[test]
        fn any_split_of_rubbish_ends_the_same(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "\r\n", "\n", "\r", "A SIP/2.0\r\n", "l: 3\r\n", "l:", "Content-Length", ":", " 7", "\r\n\r\n", "x", "\u{ff}", LONG,
                ]),
                0..20,
            ),
            step in 1usize..40,
        ) {
            let bytes = parts.concat().into_bytes();
            let whole = cut(&bytes, []);
            let pieces = cut(&bytes, std::iter::repeat_n(step, bytes.len()));
            prop_assert_eq!((&whole.0, whole.1), (&pieces.0, pieces.1));
            prop_assert_eq!(whole.2.is_some(), pieces.2.is_some());
        }
    }
}
