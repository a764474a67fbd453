//! SIP messages as a judge reads them: `rsip` where it can, a small tolerant reader where it refuses.
//!
//! `rsip` 0.4 gives up on folded lines, tel URIs, unknown methods and bare IPv6 hosts. Those messages are legal, so a
//! refusal by `rsip` must not be held against a target; the tolerant reader then takes over.

/// One received message, kept with its octets.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// As it came.
    pub(crate) raw: Vec<u8>,
    /// Request line or status line.
    pub(crate) start: String,
    /// Name as written and unfolded value, in order of arrival.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether `rsip` accepted the message and agreed with the tolerant reader on the number of headers.
    pub(crate) by_rsip: bool,
}

/// The long name of a compact header name (RFC 3261 §7.3.3 and later registrations).
fn long_name(name: &str) -> &str {
    match name {
        "i" => "call-id",
        "m" => "contact",
        "e" => "content-encoding",
        "l" => "content-length",
        "c" => "content-type",
        "f" => "from",
        "s" => "subject",
        "k" => "supported",
        "t" => "to",
        "v" => "via",
        "o" => "event",
        "u" => "allow-events",
        other => other,
    }
}

/// Offset of the first octet after the empty line, if the header block is complete.
pub(crate) fn end_of_headers(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

impl Message {
    /// Reads one whole message; `None` when there is no complete header block.
    pub(crate) fn read(raw: &[u8]) -> Option<Message> {
        let end = end_of_headers(raw)?;
        let text = String::from_utf8_lossy(&raw[..end - 4]);
        let (start, headers) = tolerant(&text);
        let body = raw[end..].to_vec();
        let message = Message { raw: raw.to_vec(), start, headers, body, by_rsip: false };
        Some(match rsip_headers(raw) {
            Some(headers) if headers.len() == message.headers.len() => Message { headers, by_rsip: true, ..message },
            _ => message,
        })
    }

    /// The status code of a response.
    pub(crate) fn status(&self) -> Option<u16> {
        let rest = self.start.strip_prefix("SIP/2.0 ")?;
        rest.get(..3)?.parse().ok()
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> Option<&str> {
        if self.start.starts_with("SIP/") { None } else { self.start.split(' ').next() }
    }

    /// The Request-URI of a request.
    pub(crate) fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }

    /// The header lines of that (long, any case) name, in order.
    pub(crate) fn lines(&self, name: &str) -> Vec<&str> {
        let wanted = name.to_ascii_lowercase();
        let named = |got: &str| long_name(&got.to_ascii_lowercase()) == wanted;
        self.headers.iter().filter(|(n, _)| named(n)).map(|(_, v)| v.as_str()).collect()
    }

    /// The first header line of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.lines(name).into_iter().next()
    }

    /// All comma-separated values of that name over all its lines.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        self.lines(name).into_iter().flat_map(split_values).collect()
    }

    /// The tag of From or To.
    pub(crate) fn tag(&self, name: &str) -> Option<String> {
        param(self.header(name)?, "tag")
    }

    /// The branch of the top Via.
    pub(crate) fn branch(&self) -> Option<String> {
        param(self.values("via").first()?, "branch")
    }

    /// Number and method of CSeq.
    pub(crate) fn cseq(&self) -> Option<(u32, String)> {
        let mut words = self.header("cseq")?.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    }

    /// What makes the message malformed beyond doubt, whoever wrote it (RFC 3261 §7, §8.1.1, §8.2.6).
    pub(crate) fn fault(&self) -> Option<String> {
        let head = end_of_headers(&self.raw).map_or(&self.raw[..], |end| &self.raw[..end]);
        let bare = head.iter().enumerate().any(|(at, b)| *b == b'\n' && (at == 0 || head[at - 1] != b'\r'));
        if bare {
            return Some("a line feed without carriage return among the headers".into());
        }
        if self.headers.iter().any(|(name, _)| name.is_empty()) {
            return Some("a header line without a colon".into());
        }
        if self.lines("via").is_empty() {
            return Some("no Via".into());
        }
        for name in ["From", "To", "Call-ID", "CSeq"] {
            match self.lines(name).len() {
                1 => {}
                count => return Some(format!("{count} {name} headers")),
            }
        }
        let length = self.header("content-length").map(|v| v.parse::<usize>().ok());
        if length.is_some_and(|length| length != Some(self.body.len())) {
            return Some(format!("Content-Length {:?} with {} octets of body", length.flatten(), self.body.len()));
        }
        match self.status() {
            Some(status) if !(100..700).contains(&status) => Some(format!("status {status}")),
            Some(status) if status > 100 && self.tag("to").is_none() => Some(format!("a {status} without To tag")),
            None if self.header("max-forwards").is_none() => Some("a request without Max-Forwards".into()),
            _ => None,
        }
    }

    pub(crate) fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Header lines as `rsip` sees them, `None` where it refuses the message.
fn rsip_headers(raw: &[u8]) -> Option<Vec<(String, String)>> {
    let message = rsip::SipMessage::try_from(raw).ok()?;
    let headers = match &message {
        rsip::SipMessage::Request(request) => &request.headers,
        rsip::SipMessage::Response(response) => &response.headers,
    };
    headers
        .iter()
        .map(|header| {
            let line = header.to_string();
            line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

fn tolerant(text: &str) -> (String, Vec<(String, String)>) {
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or("").to_owned();
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.starts_with([' ', '\t']), headers.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (_, _, Some((name, value))) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
            _ => headers.push((String::new(), line.to_owned())),
        }
    }
    (start, headers)
}

/// Splits at commas outside quoted strings and angle brackets.
pub(crate) fn split_values(line: &str) -> Vec<String> {
    split_outside(line, b',')
}

fn split_outside(line: &str, at: u8) -> Vec<String> {
    let (mut parts, mut start, mut quoted, mut angle, mut escaped) = (Vec::new(), 0, false, false, false);
    for (index, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            byte if byte == at && !quoted && !angle => {
                parts.push(line[start..index].trim().to_owned());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(line[start..].trim().to_owned());
    parts.retain(|part| !part.is_empty());
    parts
}

/// A header parameter of one value: `Some("")` for a parameter without a value; quotes are taken off.
pub(crate) fn param(value: &str, name: &str) -> Option<String> {
    let value = match brackets(value) {
        Some((_, close)) => &value[close + 1..],
        None => value,
    };
    split_outside(value, b';').into_iter().skip(usize::from(!value.trim_start().starts_with(';'))).find_map(|part| {
        let (got, set) = part.split_once('=').unwrap_or((&part, ""));
        got.trim().eq_ignore_ascii_case(name).then(|| set.trim().trim_matches('"').to_owned())
    })
}

/// The URI of a name-addr or addr-spec value.
pub(crate) fn uri_of(value: &str) -> &str {
    match brackets(value) {
        Some((open, close)) => &value[open + 1..close],
        None => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// The brackets of a name-addr: not those in quoted display names or parameters.
fn brackets(value: &str) -> Option<(usize, usize)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => return value[at..].find('>').map(|len| (at, at + len)),
            // An addr-spec: brackets further on belong to parameters.
            b';' if !quoted => return None,
            _ => {}
        }
    }
    None
}

/// Whether a URI carries that parameter (with or without a value).
pub(crate) fn uri_param(uri: &str, name: &str) -> Option<String> {
    let uri = uri.split('?').next().unwrap_or(uri);
    let after_host = &uri[uri.rfind('@').map_or(0, |at| at + 1)..];
    after_host.split(';').skip(1).find_map(|part| {
        let (got, set) = part.split_once('=').unwrap_or((part, ""));
        got.eq_ignore_ascii_case(name).then(|| set.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_values() {
        for (value, name, expected) in [
            ("<sip:a@b;x=1>;tag=7", "tag", Some("7")),
            ("\"A; tag=0\" <sip:a@b>;expires=60", "expires", Some("60")),
            ("sip:a@b;tag=q", "tag", Some("q")),
            ("SIP/2.0/UDP h:5060;rport;branch=z9", "rport", Some("")),
            ("<sip:a@b;tag=no>", "tag", None),
            ("<sip:a@b>;+sip.instance=\"<urn:x>\";reg-id=1", "reg-id", Some("1")),
            ("<sip:a@b>;reg-id=1;+sip.instance=\"<urn:x>\"", "reg-id", Some("1")),
            ("<sip:a@b>;pub-gruu=\"sip:a@b;gr=u\"", "pub-gruu", Some("sip:a@b;gr=u")),
        ] {
            assert_eq!(param(value, name).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn reads_what_rsip_refuses() {
        let raw = b"FOO tel:+1555 SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n ;branch=z9hG4bK1\r\nl: 2\r\n\r\nhi";
        let message = Message::read(raw).expect("complete");
        assert!(!message.by_rsip);
        assert_eq!(message.method(), Some("FOO"));
        assert_eq!(message.branch().as_deref(), Some("z9hG4bK1"));
        assert_eq!(message.header("Content-Length"), Some("2"));
        assert_eq!(message.body, b"hi");
    }

    #[test]
    fn values_split_outside_quotes() {
        assert_eq!(split_values("<sip:a,b@c>, \"x,y\" <sip:d@e>;q=1,<sip:f@g>").len(), 3);
    }
}
