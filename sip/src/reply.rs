//! Responses to a request (RFC 3261 §8.2.6).

use std::fmt::Write as _;

use bytes::Bytes;

use crate::digits::Digits;
use crate::edit::{Stamp, via_stamp};
use crate::message::Message;
use crate::name::HeaderName;

/// Writes a response. Via, From, To, Call-ID, CSeq and (for 100) Timestamp come from the request as they are; the top
/// Via is stamped with the request's source.
#[derive(Debug)]
pub struct Reply {
    head: Vec<u8>,
}

impl Reply {
    /// A response with the standard phrase. `to_tag` is added where the To of the request has none and the response
    /// is not 100.
    pub fn new(request: &Message, status: u16, to_tag: &str) -> Reply {
        Reply::with_reason(request, status, reason_phrase(status), to_tag)
    }

    pub fn with_reason(request: &Message, status: u16, reason: &str, to_tag: &str) -> Reply {
        let mut head = Vec::with_capacity(512);
        head.extend_from_slice(b"SIP/2.0 ");
        for part in [Digits::of(status.into()).as_str(), " ", reason, "\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        let mut stamp = via_stamp(request);
        for (from, to) in request.line_spans(HeaderName::Via) {
            match stamp.take() {
                Some(Stamp { insert_at, remove, text }) => {
                    let mut at = from as usize;
                    let mut gaps = remove;
                    gaps.sort();
                    for (gap_from, gap_to) in gaps.into_iter().flatten() {
                        head.extend_from_slice(&request.bytes()[at..gap_from as usize]);
                        at = gap_to as usize;
                    }
                    head.extend_from_slice(&request.bytes()[at..insert_at as usize]);
                    head.extend_from_slice(text.as_bytes());
                    head.extend_from_slice(&request.bytes()[insert_at as usize..to as usize]);
                }
                None => head.extend_from_slice(&request.bytes()[from as usize..to as usize]),
            }
        }
        for name in [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
            let Some(value) = request.header(name) else { continue };
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            if name == HeaderName::To && status > 100 && !to_tag.is_empty() && request.to_tag().is_empty() {
                head.extend_from_slice(b";tag=");
                head.extend_from_slice(to_tag.as_bytes());
            }
            head.extend_from_slice(b"\r\n");
        }
        let mut reply = Reply { head };
        if status == 100
            && let Some(value) = request.header(HeaderName::Timestamp)
        {
            reply.push(HeaderName::Timestamp.as_str(), value);
        }
        reply
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Reply {
        self.push(name.as_str(), value.as_bytes());
        self
    }

    /// Adds a header where there is a value.
    #[must_use]
    pub fn maybe(self, name: HeaderName, value: Option<&str>) -> Reply {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Adds a header by its text.
    #[must_use]
    pub fn header_text(mut self, name: &str, value: &[u8]) -> Reply {
        self.push(name, value);
        self
    }

    /// Adds headers as whole lines.
    #[must_use]
    pub fn lines(mut self, lines: &str) -> Reply {
        self.head.extend_from_slice(lines.as_bytes());
        self
    }

    /// Copies every line of a header from the request, for Record-Route in dialog-forming responses (§12.1.1).
    #[must_use]
    pub fn copy(mut self, request: &Message, name: HeaderName) -> Reply {
        for value in request.headers(name) {
            self.push(name.as_str(), value);
        }
        self
    }

    /// The response without a body.
    pub fn finish(mut self) -> Bytes {
        self.head.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        Bytes::from(self.head)
    }

    /// The response with a body.
    pub fn finish_with(mut self, content_type: &str, body: &[u8]) -> Bytes {
        self.push(HeaderName::ContentType.as_str(), content_type.as_bytes());
        let _ = write!(Text(&mut self.head), "Content-Length: {}\r\n\r\n", body.len());
        self.head.extend_from_slice(body);
        Bytes::from(self.head)
    }

    fn push(&mut self, name: &str, value: &[u8]) {
        self.head.extend_from_slice(name.as_bytes());
        self.head.extend_from_slice(b": ");
        self.head.extend_from_slice(value);
        self.head.extend_from_slice(b"\r\n");
    }
}

/// `fmt::Write` into bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.0.extend_from_slice(s.as_bytes());
        Ok(())
    }
}

/// The phrase that goes with a status code (RFC 3261 §21 and the documents that add codes).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        424 => "Bad Location Information",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        555 => "Push Notification Service Not Supported",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirect",
            4 => "Client Error",
            5 => "Server Error",
            _ => "Global Failure",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn a_reply_takes_over_what_identifies_the_request() {
        let request = "OPTIONS sip:h SIP/2.0\r\nv: SIP/2.0/UDP c;received=1.1.1.1;rport;branch=z9hG4bK1\r\n\
            Via: SIP/2.0/UDP d\r\nFrom: <sip:b@h>;tag=1\r\nt: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let request = Message::parse(Bytes::from(request), &Limits::default()).unwrap();
        let request = request.from_source("[2001:db8::5]:4000".parse().unwrap());
        let reply = Reply::new(&request, 200, "x9").header(HeaderName::Allow, "OPTIONS").finish();
        assert_eq!(
            std::str::from_utf8(&reply).unwrap(),
            "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP c;branch=z9hG4bK1;received=2001:db8::5;rport=4000\r\n\
             Via: SIP/2.0/UDP d\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>;tag=x9\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\
             Allow: OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
