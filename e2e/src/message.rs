//! A SIP message as text: enough to be a phone, and strict about what arrives.

/// A request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub start: String,
    /// Names as written, in order.
    pub headers: Vec<(String, String)>,
    /// Text; a compressed one has lost something here.
    pub body: String,
}

impl Message {
    /// Reads one whole message.
    ///
    /// # Panics
    /// When it is not well-formed: what the server sends has to be.
    pub fn read(bytes: &[u8]) -> Message {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no empty line in {:?}", String::from_utf8_lossy(bytes)));
        let (head, body) = (&bytes[..end], &bytes[end + 4..]);
        let head = std::str::from_utf8(head).unwrap_or_else(|error| panic!("not UTF-8: {error}: {head:?}"));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        assert!(start.starts_with("SIP/2.0 ") || start.ends_with(" SIP/2.0"), "start line {start:?}");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
            (name.trim().to_owned(), value.trim().to_owned())
        };
        let message =
            Message { start, headers: lines.map(header).collect(), body: String::from_utf8_lossy(body).into() };
        if let Some(length) = message.header("Content-Length") {
            assert_eq!(length.parse(), Ok(body.len()), "Content-Length of {message:?}");
        }
        message
    }

    /// The first header of that name, long form.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every header line of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let short = match name {
            "Call-ID" => "i",
            "Contact" => "m",
            "Content-Length" => "l",
            "Content-Type" => "c",
            "From" => "f",
            "To" => "t",
            "Via" => "v",
            _ => "",
        };
        let wanted = |found: &str| found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(short);
        self.headers.iter().filter(|(found, _)| wanted(found)).map(|(_, value)| value.as_str()).collect()
    }

    /// The code of a response; 0 for a request.
    pub fn code(&self) -> u16 {
        let code = self.start.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
        code.and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// The method of a request, or that in CSeq of a response.
    pub fn method(&self) -> &str {
        if self.code() == 0 {
            return self.start.split(' ').next().unwrap_or_default();
        }
        self.header("CSeq").and_then(|cseq| cseq.rsplit(' ').next()).unwrap_or_default()
    }

    /// The branch of the top Via.
    pub fn branch(&self) -> &str {
        let via = self.header("Via").unwrap_or_default();
        let rest = via.split_once("branch=").map(|(_, rest)| rest).unwrap_or_default();
        rest.split([';', ',', ' ']).next().unwrap_or_default()
    }

    /// A response to this request: Via, From, To with a tag, Call-ID and CSeq as RFC 3261 §8.2.6.2 wants them, and more lines.
    pub fn response(&self, status: &str, more: &str) -> String {
        let mut out = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            for value in self.all(name) {
                let tag = if name == "To" && !value.contains(";tag=") { ";tag=e2e" } else { "" };
                out.push_str(&format!("{name}: {value}{tag}\r\n"));
            }
        }
        out + more + "Content-Length: 0\r\n\r\n"
    }
}

impl Message {
    /// The same with a body.
    pub fn response_with(&self, status: &str, more: &str, content_type: &str, body: &str) -> String {
        let bare = self.response(status, more);
        let head = bare.strip_suffix("Content-Length: 0\r\n\r\n").unwrap_or(&bare);
        format!("{head}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_response() {
        let request = Message::read(
            b"MESSAGE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1;rport\r\nVia: SIP/2.0/TCP g\r\nf: <sip:c@d>;tag=1\r\n\
              To: <sip:a@b>\r\ni: x\r\nCSeq: 1 MESSAGE\r\nl: 2\r\n\r\nhi",
        );
        assert_eq!((request.code(), request.method(), request.branch()), (0, "MESSAGE", "z9hG4bK1"));
        let response = Message::read(request.response("200 OK", "").as_bytes());
        assert_eq!((response.code(), response.method(), response.all("Via").len()), (200, "MESSAGE", 2));
        assert_eq!(response.header("To"), Some("<sip:a@b>;tag=e2e"));
    }
}
