//! A MESSAGE as it waits, and as it is sent again (RFC 3428 §7, §11).
//!
//! Kept are the header lines that mean something to the recipient, byte for byte; what belonged to the way here
//! (Via, Route, credentials) is left behind. Call-ID, CSeq and From tag stay, so that a device that has the message
//! already can tell.

use bytes::Bytes;
use chappe_sip::{HeaderName, Message};

/// Headers that belong to the hop or to us.
fn is_of_the_way(name: HeaderName) -> bool {
    matches!(
        name,
        HeaderName::Via
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::MaxForwards
            | HeaderName::MaxBreadth
            | HeaderName::Contact
            | HeaderName::ContentLength
            | HeaderName::Authorization
            | HeaderName::ProxyAuthorization
            | HeaderName::ProxyRequire
            | HeaderName::Expires
            | HeaderName::Timestamp
    )
}

/// The header lines to keep. `date` (RFC 1123 form) is added where the sender gave none.
pub fn headers(message: &Message, date: &str) -> Bytes {
    let mut out = Vec::with_capacity(message.bytes().len().min(2048));
    let mut push = |name: &[u8], value: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    let mut dated = false;
    for (name, value) in message.all_headers() {
        let known = HeaderName::of(name);
        if is_of_the_way(known) {
            continue;
        }
        dated |= known == HeaderName::Date;
        // The full name: a compact one saves nothing on disk and is harder to read there.
        push(if known == HeaderName::Other { name } else { known.as_str().as_bytes() }, value);
    }
    if !dated {
        push(HeaderName::Date.as_str().as_bytes(), date.as_bytes());
    }
    Bytes::from(out)
}

/// Kept header lines for another body: with that type, and without what was said of the old one.
pub fn with_content(headers: &[u8], content_type: &str) -> Bytes {
    let mut out = Vec::with_capacity(headers.len() + content_type.len() + 16);
    let mut dropped = false;
    for line in headers.split_inclusive(|c| *c == b'\n') {
        // What is folded belongs to the line before it.
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            dropped = line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"Content-"));
        }
        if !dropped {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(format!("Content-Type: {content_type}\r\n").as_bytes());
    Bytes::from(out)
}

/// A request for one device.
#[derive(Debug, Clone, Copy)]
pub struct Onward<'a> {
    /// Request-URI: the contact of the device.
    pub uri: &'a str,
    /// The Via value, with a branch of ours.
    pub via: &'a str,
    /// Path of the device, comma-separated, or empty (RFC 3327 §5.2).
    pub route: &'a str,
}

/// The MESSAGE from its kept header lines and body.
pub fn request(onward: Onward<'_>, headers: &[u8], body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(headers.len() + body.len() + onward.uri.len() + onward.via.len() + 128);
    let mut push = |parts: &[&[u8]]| parts.iter().for_each(|p| out.extend_from_slice(p));
    push(&[
        b"MESSAGE ",
        onward.uri.as_bytes(),
        b" SIP/2.0\r\nVia: ",
        onward.via.as_bytes(),
        b"\r\nMax-Forwards: 69\r\n",
    ]);
    if !onward.route.is_empty() {
        push(&[b"Route: ", onward.route.as_bytes(), b"\r\n"]);
    }
    push(&[headers, b"Content-Length: ", body.len().to_string().as_bytes(), b"\r\n\r\n", body]);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_sip::Limits;

    fn parse(bytes: Bytes) -> Message {
        let message = Message::parse(bytes, &Limits::default()).unwrap();
        message.check().unwrap();
        message
    }

    #[test]
    fn a_message_comes_back_with_what_the_recipient_needs() {
        let original = parse(Bytes::from(
            "MESSAGE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP c;branch=z9hG4bK1\r\nRoute: <sip:p;lr>\r\n\
             Proxy-Authorization: Digest secret\r\nFrom: <sip:alice@example.com>;tag=1\r\nt: <sip:bob@example.com>\r\n\
             i: c1\r\nCSeq: 7 MESSAGE\r\nExpires: 60\r\nP-Asserted-Identity: <sip:alice@example.com>\r\n\
             X-Vendor:  odd ; value\r\nc: text/plain\r\nl: 5\r\n\r\nHello",
        ));
        let kept = headers(&original, "Tue, 24 Nov 2026 10:00:00 GMT");
        let onward = Onward { uri: "sip:bob@192.0.2.1", via: "SIP/2.0/UDP s;branch=z9hG4bK9", route: "<sip:edge;lr>" };
        let again = parse(request(onward, &kept, original.body()));
        assert_eq!((again.uri(), again.branch()), (&b"sip:bob@192.0.2.1"[..], &b"z9hG4bK9"[..]));
        assert_eq!((again.call_id(), again.cseq(), again.from_tag()), (&b"c1"[..], 7, &b"1"[..]));
        assert_eq!(again.header(HeaderName::Route), Some(&b"<sip:edge;lr>"[..]));
        assert_eq!(again.other_header("x-vendor"), Some(&b"odd ; value"[..]));
        assert_eq!(again.headers(HeaderName::PAssertedIdentity).collect::<Vec<_>>(), [b"<sip:alice@example.com>"]);
        assert_eq!(again.header(HeaderName::Date), Some(&b"Tue, 24 Nov 2026 10:00:00 GMT"[..]));
        assert_eq!(again.body(), b"Hello");
        for gone in [HeaderName::ProxyAuthorization, HeaderName::Expires] {
            assert_eq!(again.header(gone), None);
        }
    }
}
