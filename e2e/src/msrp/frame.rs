//! Frames as they come in (RFC 4975 §9), body by pieces; what is not well-formed fails the test.

use std::collections::VecDeque;

use memchr::memmem;

/// No head of the relay is longer.
const MAX_HEAD: usize = 64 * 1024;

/// Start line and headers of a request or response; the body too where it was collected.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    pub id: String,
    /// `SEND`, `REPORT`, …; empty in a response.
    pub method: String,
    /// 0 in a request.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// `$`, `+` or `#`; `\0` as long as the end has not come.
    pub flag: u8,
}

impl Frame {
    /// The value of a header; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// First byte of the chunk in its message, beginning with 1, and the length of the message where it is told.
    ///
    /// # Panics
    /// When Byte-Range is none.
    #[must_use]
    pub fn range(&self) -> (u64, Option<u64>) {
        let value = self.header("Byte-Range");
        let parts = value.split_once('-').and_then(|(start, rest)| Some((start, rest.split_once('/')?)));
        let Some((start, (_, total))) = parts else { panic!("no Byte-Range: {self:?}") };
        (start.parse().unwrap_or_else(|_| panic!("Byte-Range: {value}")), total.parse().ok())
    }
}

/// What comes in, in its order.
#[derive(Debug)]
pub enum Event {
    Head(Frame),
    Body(Vec<u8>),
    /// With the continuation flag.
    End(u8),
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct Frames {
    /// What has not been understood yet.
    pub input: Vec<u8>,
    /// The end-line of the body that is coming in, with the line break before it.
    within: Option<Vec<u8>>,
    ready: VecDeque<Event>,
}

impl Frames {
    /// Whether nothing of a frame is at hand, nor more of one to come.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.input.is_empty() && self.within.is_none() && self.ready.is_empty()
    }

    /// The next event, if it is there.
    ///
    /// # Panics
    /// When what came is not MSRP.
    pub fn event(&mut self) -> Option<Event> {
        if let Some(event) = self.ready.pop_front() {
            return Some(event);
        }
        let Some(mark) = &self.within else { return self.head() };
        let found = memmem::find(&self.input, mark);
        let rest = found.and_then(|at| self.input.get(at + mark.len()..at + mark.len() + 3));
        // As much as cannot be the beginning of the end-line.
        let safe = found.unwrap_or_else(|| self.input.len().saturating_sub(mark.len() + 2));
        if let Some(&[flag, b'\r', b'\n']) = rest {
            assert!(b"$+#".contains(&flag), "an end-line with the flag {:?}", char::from(flag));
            let end = safe + mark.len() + 3;
            let mut data: Vec<u8> = self.input.drain(..end).collect();
            data.truncate(safe);
            self.within = None;
            self.ready.extend((!data.is_empty()).then_some(Event::Body(data)));
            self.ready.push_back(Event::End(flag));
            return self.ready.pop_front();
        }
        assert!(rest.is_none(), "an end-line with more behind it: {:?}", rest.map(String::from_utf8_lossy));
        (safe > 0).then(|| Event::Body(self.input.drain(..safe).collect()))
    }

    fn head(&mut self) -> Option<Event> {
        let mut frame = Frame::default();
        let mut at = 0;
        loop {
            let Some(length) = memmem::find(&self.input[at..], b"\r\n") else {
                assert!(self.input.len() < MAX_HEAD, "a head without end: {}", String::from_utf8_lossy(&self.input));
                return None;
            };
            let line = std::str::from_utf8(&self.input[at..at + length]).expect("heads are UTF-8");
            let first = at == 0;
            at += length + 2;
            if first {
                let mut words = line.splitn(3, ' ');
                let (Some("MSRP"), Some(id), Some(rest)) = (words.next(), words.next(), words.next()) else {
                    panic!("{line:?} begins no frame");
                };
                assert!((4..=32).contains(&id.len()), "the transaction id {id:?}");
                let word = rest.split(' ').next().unwrap_or_default();
                match word.parse() {
                    Ok(status) if word.len() == 3 => frame.status = status,
                    _ => frame.method = rest.to_owned(),
                }
                frame.id = id.to_owned();
                continue;
            }
            let end = line.strip_prefix("-------").and_then(|rest| rest.strip_prefix(frame.id.as_str()));
            if let Some(flag) = end {
                assert!(matches!(flag, "$" | "+" | "#"), "the end-line {line:?}");
                self.ready.push_back(Event::End(flag.as_bytes()[0]));
                break;
            }
            if line.is_empty() {
                let mark = format!("\r\n-------{}", frame.id).into_bytes();
                // The blank line may be the line break before the end-line, too.
                self.within = Some(mark);
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no header"));
            frame.headers.push((name.to_owned(), value.to_owned()));
        }
        let name = |index: usize| frame.headers.get(index).map(|(name, _)| name.as_str());
        assert_eq!((name(0), name(1)), (Some("To-Path"), Some("From-Path")), "{frame:?}");
        self.input.drain(..at);
        Some(Event::Head(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Frames};

    #[test]
    fn frames_are_cut_at_any_border() {
        let wire = b"MSRP abcd SEND\r\nTo-Path: msrp://a:1/x;tcp\r\nFrom-Path: msrp://b:1/y;tcp\r\nMessage-ID: 1\r\n\
                     Content-Type: a/b\r\n\r\nto\r\n-------abc\r\n\r\n-------abcd+\r\nMSRP efgh 200 OK\r\n\
                     To-Path: msrp://a:1/x;tcp\r\nFrom-Path: msrp://b:1/y;tcp\r\n-------efgh$\r\n";
        for size in 1..wire.len() {
            let (mut frames, mut body, mut seen) = (Frames::default(), Vec::new(), Vec::new());
            for piece in wire.chunks(size) {
                frames.input.extend_from_slice(piece);
                while let Some(event) = frames.event() {
                    match event {
                        Event::Head(frame) => seen.push(format!("{}{}", frame.method, frame.status)),
                        Event::Body(data) => body.extend(data),
                        Event::End(flag) => seen.push(char::from(flag).into()),
                    }
                }
            }
            assert_eq!(String::from_utf8_lossy(&body), "to\r\n-------abc\r\n", "in pieces of {size}");
            assert_eq!(seen, ["SEND0", "+", "200", "$"], "in pieces of {size}");
            assert!(frames.is_idle());
        }
    }
}
