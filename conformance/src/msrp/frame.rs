//! MSRP frames (RFC 4975 §9), strict on what is read and free in what is written.

use memchr::memmem::{self, Finder};

/// The largest start line with headers that is taken from a target.
const MAX_HEAD: usize = 256 * 1024;

/// A whole chunk, request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) start: String,
    pub(crate) tid: String,
    /// `None` in a response.
    pub(crate) method: Option<String>,
    /// `None` in a request.
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    /// `None` where there is no body; empty when the decoder only counts.
    pub(crate) body: Option<Vec<u8>>,
    /// Octets of the body.
    pub(crate) len: u64,
    /// `$`, `+` or `#`.
    pub(crate) flag: u8,
}

impl Frame {
    fn new(start: &str) -> Result<Frame, String> {
        let mut words = start.splitn(3, ' ');
        let (Some("MSRP"), Some(tid), Some(rest)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("{start:?} is no start line"));
        };
        if !is_ident(tid) {
            return Err(format!("{tid:?} is no transaction id"));
        }
        let code = rest.split(' ').next().unwrap_or("");
        let status = (code.len() == 3).then(|| code.parse().ok()).flatten();
        let method = match status {
            Some(_) => None,
            None if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase()) => Some(rest.to_owned()),
            None => return Err(format!("{rest:?} is neither method nor status")),
        };
        let (start, tid) = (start.to_owned(), tid.to_owned());
        Ok(Frame { start, tid, method, status, headers: Vec::new(), body: None, len: 0, flag: 0 })
    }

    /// The first header of that name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(got, _)| got.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }

    pub(crate) fn path_to(&self) -> Vec<&str> {
        uris(self.header("to-path").unwrap_or(""))
    }

    pub(crate) fn path_from(&self) -> Vec<&str> {
        uris(self.header("from-path").unwrap_or(""))
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.header("message-id")
    }

    /// Start, end and total of Byte-Range; `None` for `*`.
    pub(crate) fn range(&self) -> Option<(u64, Option<u64>, Option<u64>)> {
        let (range, total) = self.header("byte-range")?.split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            text => text.parse().ok().map(Some),
        };
        Some((start.parse().ok()?, number(end)?, number(total)?))
    }

    /// What of the grammar or of the rules for every sender it breaks.
    pub(crate) fn fault(&self) -> Option<String> {
        let name = |at: usize| self.headers.get(at).map_or("", |(name, _)| name.as_str());
        if !name(0).eq_ignore_ascii_case("To-Path") || !name(1).eq_ignore_ascii_case("From-Path") {
            return Some("To-Path and From-Path do not come first".into());
        }
        if self.path_to().is_empty() || self.path_from().is_empty() {
            return Some("an empty path".into());
        }
        let is_type = |name: &str| name.eq_ignore_ascii_case("Content-Type");
        match (&self.body, self.headers.iter().position(|(name, _)| is_type(name))) {
            (None, Some(_)) => return Some("Content-Type without a body".into()),
            (Some(_), None) => return Some("a body without Content-Type".into()),
            (Some(_), Some(at)) if at + 1 != self.headers.len() => {
                return Some("Content-Type is not the last header".into());
            }
            _ => {}
        }
        if self.header("byte-range").is_some() && self.range().is_none() {
            return Some("Byte-Range cannot be read".into());
        }
        if self.header("content-transfer-encoding").is_some() {
            return Some("a transfer encoding".into());
        }
        if self.status.is_some() && self.flag != b'$' {
            return Some("a response does not end with $".into());
        }
        if self.is("SEND") || self.is("REPORT") {
            match self.id() {
                None => return Some("no Message-ID".into()),
                Some(id) if !is_ident(id) => return Some(format!("{id:?} is no Message-ID")),
                Some(_) => {}
            }
        }
        if self.is("REPORT") {
            if self.header("status").is_none() {
                return Some("a REPORT without Status".into());
            }
            if self.header("success-report").or(self.header("failure-report")).is_some() {
                return Some("a REPORT that asks for reports".into());
            }
        }
        let mark = format!("-------{}", self.tid);
        let body = self.body.as_deref().unwrap_or_default();
        let marked = memmem::find_iter(body, mark.as_bytes());
        if marked.into_iter().any(|at| matches!(body.get(at + mark.len()), Some(b'$' | b'+' | b'#'))) {
            return Some("the body holds its own end-line".into());
        }
        None
    }
}

/// The URIs of a path.
pub(crate) fn uris(path: &str) -> Vec<&str> {
    path.split(' ').filter(|uri| !uri.is_empty()).collect()
}

fn is_ident(text: &str) -> bool {
    let body = |b: u8| b.is_ascii_alphanumeric() || b".-+%=".contains(&b);
    (4..=32).contains(&text.len())
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(body)
}

/// Cuts frames off a stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// What lies before is used up.
    at: usize,
    /// A frame whose body has begun, with the text that ends it.
    open: Option<(Frame, Finder<'static>)>,
    count_only: bool,
}

impl Decoder {
    /// A decoder that drops what bodies hold.
    pub(crate) fn counting() -> Decoder {
        Decoder { count_only: true, ..Decoder::default() }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 && (self.at == self.buffer.len() || self.at > 64 * 1024) {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a frame has begun that is not whole yet.
    pub(crate) fn is_within(&self) -> bool {
        self.open.is_some() || self.at < self.buffer.len()
    }

    /// The next frame; `None` when more octets are needed. After an error the stream is of no more use.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, String> {
        if self.open.is_none() {
            match self.head()? {
                Some(Head::Whole(frame)) => return Ok(Some(frame)),
                Some(Head::Body(frame)) => {
                    let end = Finder::new(format!("\r\n-------{}", frame.tid).as_bytes()).into_owned();
                    self.open = Some((frame, end));
                }
                None => return Ok(None),
            }
        }
        Ok(self.body())
    }

    fn head(&mut self) -> Result<Option<Head>, String> {
        let mut lines = Lines { rest: &self.buffer[self.at..], used: 0 };
        let Some(start) = lines.next() else { return self.too_long() };
        let mut frame = Frame::new(&text(start))?;
        let end = format!("-------{}", frame.tid);
        while let Some(line) = lines.next() {
            let line = text(line);
            match line.strip_prefix(&end) {
                _ if line.is_empty() => {
                    self.at += lines.used;
                    frame.body = Some(Vec::new());
                    return Ok(Some(Head::Body(frame)));
                }
                Some(flag @ ("$" | "+" | "#")) => {
                    frame.flag = flag.as_bytes()[0];
                    self.at += lines.used;
                    return Ok(Some(Head::Whole(frame)));
                }
                _ => match line.split_once(": ") {
                    Some((name, value)) => frame.headers.push((name.to_owned(), value.to_owned())),
                    None => return Err(format!("{line:?} is no header")),
                },
            }
        }
        self.too_long()
    }

    fn too_long(&self) -> Result<Option<Head>, String> {
        match self.buffer.len() - self.at > MAX_HEAD {
            true => Err(format!("headers of more than {MAX_HEAD} octets")),
            false => Ok(None),
        }
    }

    fn body(&mut self) -> Option<Frame> {
        let (mut frame, end) = self.open.take()?;
        let mark = end.needle().len();
        let data = &self.buffer[self.at..];
        let mut from = 0;
        let (taken, flag) = loop {
            match end.find(&data[from..]).map(|found| from + found) {
                // All but what may be the beginning of the end-line belongs to the body.
                None => break (data.len().saturating_sub(mark - 1), None),
                Some(found) => match data.get(found + mark..found + mark + 3) {
                    Some([flag @ (b'$' | b'+' | b'#'), b'\r', b'\n']) => break (found, Some(*flag)),
                    Some(_) => from = found + 1,
                    None => break (found, None),
                },
            }
        };
        frame.len += taken as u64;
        if let (Some(body), false) = (&mut frame.body, self.count_only) {
            body.extend_from_slice(&data[..taken]);
        }
        self.at += taken;
        match flag {
            Some(flag) => {
                self.at += mark + 3;
                frame.flag = flag;
                Some(frame)
            }
            None => {
                self.open = Some((frame, end));
                None
            }
        }
    }
}

enum Head {
    Whole(Frame),
    Body(Frame),
}

/// Lines that end in CRLF.
struct Lines<'a> {
    rest: &'a [u8],
    used: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memmem::find(self.rest, b"\r\n")?;
        let (line, rest) = self.rest.split_at(end);
        (self.rest, self.used) = (&rest[2..], self.used + end + 2);
        Some(line)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Req {
    pub(crate) method: String,
    pub(crate) tid: String,
    pub(crate) to: String,
    pub(crate) from: String,
    /// Header lines behind the paths, in order.
    pub(crate) lines: Vec<String>,
    /// Media type and octets.
    pub(crate) content: Option<(String, Vec<u8>)>,
    pub(crate) flag: char,
}

impl Req {
    pub(crate) fn new(method: &str, tid: String, to: String, from: String) -> Req {
        Req { method: method.to_owned(), tid, to, from, lines: Vec::new(), content: None, flag: '$' }
    }

    pub(crate) fn line(mut self, line: impl Into<String>) -> Req {
        self.lines.push(line.into());
        self
    }

    pub(crate) fn body(mut self, bytes: impl Into<Vec<u8>>) -> Req {
        self.content = Some(("text/plain".into(), bytes.into()));
        self
    }

    pub(crate) fn flag(mut self, flag: char) -> Req {
        self.flag = flag;
        self
    }

    pub(crate) fn tid(mut self, tid: impl Into<String>) -> Req {
        self.tid = tid.into();
        self
    }

    /// Start line and headers, up to the first octet of the body.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut out = format!("MSRP {} {}\r\n", self.tid, self.method);
        out += &format!("To-Path: {}\r\nFrom-Path: {}\r\n", self.to, self.from);
        for line in &self.lines {
            out += line;
            out += "\r\n";
        }
        if let Some((kind, _)) = &self.content {
            out += &format!("Content-Type: {kind}\r\n\r\n");
        }
        out.into_bytes()
    }

    /// What follows the last octet of the body.
    pub(crate) fn tail(&self) -> Vec<u8> {
        let crlf = if self.content.is_some() { "\r\n" } else { "" };
        format!("{crlf}-------{}{}\r\n", self.tid, self.flag).into_bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let body = self.content.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        [&self.head()[..], body, &self.tail()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn req() -> Req {
        Req::new("SEND", "abcd".into(), "msrp://b:1/b;tcp".into(), "msrp://a:1/a;tcp".into()).line("Message-ID: m1-a")
    }

    #[test]
    fn frames_are_found_whatever_the_cut() {
        let body = b"\r\n-------abce$\r\n-------abcd\r\n-------abcdx\r\n------abcd$".to_vec();
        let frames = [req().bytes(), req().body(body.clone()).flag('+').bytes(), req().body("").bytes()].concat();
        for step in 1..frames.len() {
            let (mut decoder, mut got) = (Decoder::default(), Vec::new());
            for part in frames.chunks(step) {
                decoder.feed(part);
                while let Some(frame) = decoder.next().expect("well-formed") {
                    got.push(frame);
                }
            }
            assert!(!decoder.is_within());
            let bodies: Vec<_> = got.iter().map(|frame| frame.body.clone()).collect();
            assert_eq!(bodies, [None, Some(body.clone()), Some(Vec::new())], "in steps of {step}");
            assert_eq!(got[1].flag, b'+');
            assert_eq!(got.iter().filter_map(Frame::fault).collect::<Vec<_>>(), Vec::<String>::new());
        }
    }

    #[test]
    fn faults() {
        let report = || Req { method: "REPORT".into(), ..req() };
        for (what, frame, fault) in [
            ("plain", req().line("Byte-Range: 1-*/*").body("x").bytes(), None),
            ("no id", Req { lines: vec![], ..req() }.bytes(), Some("no Message-ID")),
            ("range", req().line("Byte-Range: 1-/2").bytes(), Some("Byte-Range cannot be read")),
            ("report", report().bytes(), Some("a REPORT without Status")),
            (
                "asking",
                report().line("Status: 000 200").line("Success-Report: no").bytes(),
                Some("a REPORT that asks for reports"),
            ),
            ("own end", req().body("-------abcd#").bytes(), Some("the body holds its own end-line")),
        ] {
            let mut decoder = Decoder::default();
            decoder.feed(&frame);
            let frame = decoder.next().expect("well-formed").expect("whole");
            assert_eq!(frame.fault().as_deref(), fault, "{what}");
        }
        for bad in ["MSRP abc SEND\r\n", "msrp abcd SEND\r\n", "MSRP abcd send\r\n", "MSRP abcd SEND\r\nTo-Path\r\n"] {
            let mut decoder = Decoder::default();
            decoder.feed(bad.as_bytes());
            assert!(decoder.next().is_err(), "{bad:?}");
        }
    }
}
