//! Frames as bytes (RFC 4975 §7, §9). Control characters in what is written are replaced, so that no value can begin a
//! line of its own.

use crate::head::{Flag, Head, Start};
use crate::range::ByteRange;

/// A frame on its way into a buffer; [`Frame::end`] completes it.
#[must_use = "a frame without its end-line runs into the next"]
pub struct Frame<'a> {
    out: &'a mut Vec<u8>,
    id: &'a str,
}

impl<'a> Frame<'a> {
    /// Start line and paths of a request; `to` and `from` are header values, one or more URIs.
    pub fn request(out: &'a mut Vec<u8>, id: &'a str, method: &str, to: &str, from: &str) -> Frame<'a> {
        start(out, id);
        push_clean(out, method);
        out.extend_from_slice(b"\r\n");
        Frame { out, id }.header("To-Path", to).header("From-Path", from)
    }

    /// Start line and paths of a response (RFC 4975 §7.2).
    pub fn response(out: &'a mut Vec<u8>, id: &'a str, code: u16, comment: &str, to: &str, from: &str) -> Frame<'a> {
        start(out, id);
        push_code(out, code, comment);
        out.extend_from_slice(b"\r\n");
        Frame { out, id }.header("To-Path", to).header("From-Path", from)
    }

    /// A header line.
    pub fn header(self, name: &str, value: &str) -> Frame<'a> {
        push_clean(self.out, name);
        self.out.extend_from_slice(b": ");
        push_clean(self.out, value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// `Byte-Range`.
    pub fn range(self, range: ByteRange) -> Frame<'a> {
        self.out.extend_from_slice(b"Byte-Range: ");
        range.write(self.out);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// `Content-Type` and the body, which must not hold the end-line. Only the end may follow.
    pub fn body(self, content_type: &str, data: &[u8]) -> Frame<'a> {
        let frame = self.header("Content-Type", content_type);
        frame.out.extend_from_slice(b"\r\n");
        frame.out.extend_from_slice(data);
        frame.out.extend_from_slice(b"\r\n");
        frame
    }

    /// The end-line.
    pub fn end(self, flag: Flag) {
        end_line(self.out, self.id, flag);
    }
}

/// Appends the end-line. After a body a CRLF has to stand before it.
pub fn end_line(out: &mut Vec<u8>, id: &str, flag: Flag) {
    out.extend_from_slice(b"-------");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&[flag.byte(), b'\r', b'\n']);
}

/// Appends the response to a request, with our URI taken from its To-Path, if one is due
/// ([`Head::wants_response`]); says whether it was.
pub fn response(out: &mut Vec<u8>, request: &Head, code: u16, comment: &str) -> bool {
    let due = request.wants_response(code);
    if due {
        let (to, from) = request.way_back();
        Frame::response(out, request.transaction_id(), code, comment, to, from).end(Flag::End);
    }
    due
}

/// A REPORT (RFC 4975 §7.1.2): what became of some bytes of a message.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// From-Path of the SEND.
    pub to: &'a str,
    /// Our URI.
    pub from: &'a str,
    pub message_id: &'a str,
    /// Which bytes; to be given in every failure report about a chunk (§7.1.4).
    pub range: Option<ByteRange>,
    /// 200 in a success report.
    pub code: u16,
    pub comment: &'a str,
}

/// Appends a REPORT.
pub fn report(out: &mut Vec<u8>, id: &str, report: &Report<'_>) {
    let frame = Frame::request(out, id, "REPORT", report.to, report.from).header("Message-ID", report.message_id);
    let frame = match report.range {
        Some(range) => frame.range(range),
        None => frame,
    };
    frame.out.extend_from_slice(b"Status: 000 ");
    push_code(frame.out, report.code, report.comment);
    frame.out.extend_from_slice(b"\r\n");
    frame.end(Flag::End);
}

/// To-Path and From-Path after a relay has moved its own URI from one to the other (RFC 4976 §6.4); `None` if no next
/// hop is left.
pub fn shifted(to: &str, from: &str) -> Option<(String, String)> {
    next_hops(to).map(|(own, rest)| (rest.to_owned(), format!("{own} {from}")))
}

/// Our URI, and the rest of a To-Path.
pub(crate) fn next_hops(to: &str) -> Option<(&str, &str)> {
    let (own, rest) = to.split_once(' ')?;
    let rest = rest.trim_start_matches(' ');
    (!rest.is_empty()).then_some((own, rest))
}

/// Appends the head of a request or response under another transaction id with the paths shifted, all other headers as
/// they came, and the empty line if it has a body. `false`, and nothing, if no next hop is left.
pub fn forward(out: &mut Vec<u8>, head: &Head, id: &str) -> bool {
    let Some((to, from)) = shifted(head.raw_to_path(), head.raw_from_path()) else { return false };
    let word = head.word();
    let _ = match head.start() {
        Start::Request(_) => Frame::request(out, id, word, &to, &from),
        Start::Response { code } => Frame::response(out, id, code, word, &to, &from),
    };
    for line in head.others() {
        out.extend_from_slice(line);
    }
    if head.has_body() {
        out.extend_from_slice(b"\r\n");
    }
    true
}

fn start(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"MSRP ");
    out.extend_from_slice(id.as_bytes());
    out.push(b' ');
}

fn push_code(out: &mut Vec<u8>, code: u16, comment: &str) {
    out.extend([code / 100 % 10, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8));
    if !comment.is_empty() {
        out.push(b' ');
        push_clean(out, comment);
    }
}

pub(crate) fn push_clean(out: &mut Vec<u8>, text: &str) {
    let from = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in &mut out[from..] {
        if *byte < b' ' && *byte != b'\t' || *byte == 0x7f {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Limits, Parser};

    fn head(frame: &[u8]) -> Head {
        match Parser::new(Limits::default()).next(&mut &frame[..]) {
            Ok(Some(Event::Head(head))) => head,
            other => panic!("{other:?}"),
        }
    }

    fn text(out: Vec<u8>) -> String {
        String::from_utf8(out).unwrap()
    }

    fn request(method: &str, more: &str) -> Head {
        let paths = "To-Path: msrp://r:1/r;tcp msrp://b:1/b;tcp\r\nFrom-Path: msrp://q:1/q;tcp msrp://a:1/a;tcp\r\n";
        head(format!("MSRP abcd {method}\r\n{paths}Message-ID: 1234\r\n{more}-------abcd$\r\n").as_bytes())
    }

    #[test]
    fn a_send_is_answered_to_the_previous_hop_and_others_all_the_way() {
        for (method, to) in [("SEND", "msrp://q:1/q;tcp"), ("AUTH", "msrp://q:1/q;tcp msrp://a:1/a;tcp")] {
            let mut out = Vec::new();
            assert!(response(&mut out, &request(method, ""), 200, "OK"));
            let expected =
                format!("MSRP abcd 200 OK\r\nTo-Path: {to}\r\nFrom-Path: msrp://r:1/r;tcp\r\n-------abcd$\r\n");
            assert_eq!(text(out), expected);
        }
        let mut out = Vec::new();
        assert!(!response(&mut out, &request("REPORT", "Status: 000 200\r\n"), 481, "No session"));
        assert!(!response(&mut out, &request("SEND", "Failure-Report: no\r\n"), 481, ""));
        assert!(out.is_empty());
    }

    #[test]
    fn forwarded_with_what_is_not_known_here() {
        let mut out = Vec::new();
        assert!(forward(&mut out, &request("FUTURE", "x-other:  v\r\n"), "wxyz"));
        end_line(&mut out, "wxyz", Flag::End);
        let expected = "MSRP wxyz FUTURE\r\nTo-Path: msrp://b:1/b;tcp\r\n\
            From-Path: msrp://r:1/r;tcp msrp://q:1/q;tcp msrp://a:1/a;tcp\r\nMessage-ID: 1234\r\nx-other:  v\r\n\
            -------wxyz$\r\n";
        assert_eq!(text(out), expected);
        let last =
            head(b"MSRP abcd 200 OK\r\nTo-Path: msrp://r:1/r;tcp\r\nFrom-Path: msrp://b:1/b;tcp\r\n-------abcd$\r\n");
        let mut out = Vec::new();
        assert!(!forward(&mut out, &last, "wxyz") && out.is_empty());
    }

    #[test]
    fn reports_and_bodies() {
        let mut out = Vec::new();
        let range = ByteRange::parse(b"1-37/37");
        let (to, from) = ("msrp://a:1/a;tcp", "msrp://b:1/b;tcp");
        report(&mut out, "abcd", &Report { to, from, message_id: "1234", range, code: 200, comment: "OK" });
        let expected = "MSRP abcd REPORT\r\nTo-Path: msrp://a:1/a;tcp\r\nFrom-Path: msrp://b:1/b;tcp\r\n\
            Message-ID: 1234\r\nByte-Range: 1-37/37\r\nStatus: 000 200 OK\r\n-------abcd$\r\n";
        assert_eq!(text(out), expected);
        let mut out = Vec::new();
        Frame::request(&mut out, "abcd", "NICKNAME", to, from)
            .header("Use-Nickname", "\"a\"\r\nX: injected")
            .body("text/plain", b"hi")
            .end(Flag::End);
        let head = head(&out);
        assert_eq!(head.header("Use-Nickname"), Some("\"a\"  X: injected"));
        assert!(text(out).ends_with("Content-Type: text/plain\r\n\r\nhi\r\n-------abcd$\r\n"));
    }
}
