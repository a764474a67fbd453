//! Changing a message by splicing its bytes: what is not touched is copied as it came.

use std::fmt::Write as _;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::digits::{Digits, push_ip};
use crate::message::{Message, Span};
use crate::name::HeaderName;
use crate::text;

/// Replace `at` by a part of the scratch text.
#[derive(Debug, Clone, Copy)]
struct Splice {
    at: Span,
    with: Span,
}

/// Collects changes to a message and writes the result in one pass. Changes to the same place come out in the order
/// they were made.
#[derive(Debug)]
pub struct Edit<'m> {
    message: &'m Message,
    splices: SmallVec<[Splice; 12]>,
    text: String,
    /// A new body, and whether Content-Length has been replaced for it.
    body: Option<Bytes>,
}

impl<'m> Edit<'m> {
    pub fn new(message: &'m Message) -> Edit<'m> {
        Edit { message, splices: SmallVec::new(), text: String::with_capacity(256), body: None }
    }

    pub fn set_request_uri(&mut self, uri: &str) -> &mut Self {
        if let Some(at) = self.message.uri_span() {
            self.splice(at, |text| text.push_str(uri));
        }
        self
    }

    /// Replaces a slice that an accessor of the message gave.
    pub fn replace(&mut self, part: &[u8], with: &str) -> &mut Self {
        if let Some(at) = self.message.span_of(part) {
            self.splice(at, |text| text.push_str(with));
        }
        self
    }

    /// Adds a line before the first one of that name, or before all headers.
    pub fn prepend(&mut self, name: HeaderName, value: &str) -> &mut Self {
        self.prepend_with(name, |text| text.push_str(value))
    }

    /// Like [`Edit::prepend`], with the value written in place.
    pub fn prepend_with(&mut self, name: HeaderName, value: impl FnOnce(&mut String)) -> &mut Self {
        let at = self.message.line_spans(name).next().map_or(self.message.head_start(), |l| l.0);
        self.splice((at, at), |text| {
            text.push_str(name.as_str());
            text.push_str(": ");
            value(text);
            text.push_str("\r\n");
        })
    }

    /// Adds a line at the end of the headers.
    pub fn append(&mut self, name: HeaderName, value: &str) -> &mut Self {
        self.append_text(name.as_str(), value)
    }

    /// Like [`Edit::append`], for a header without a [`HeaderName`].
    pub fn append_text(&mut self, name: &str, value: &str) -> &mut Self {
        let at = self.message.head_end();
        self.splice((at, at), |text| {
            let _ = write!(text, "{name}: {value}\r\n");
        })
    }

    /// Replaces the value of the first line of that name; adds the line where there is none.
    pub fn set(&mut self, name: HeaderName, value: &str) -> &mut Self {
        match self.message.header(name) {
            Some(old) => self.replace(old, value),
            None => self.append(name, value),
        }
    }

    /// Removes every line of that name.
    pub fn remove(&mut self, name: HeaderName) -> &mut Self {
        let lines: SmallVec<[Span; 8]> = self.message.line_spans(name).collect();
        for line in lines {
            self.splice(line, |_| {});
        }
        self
    }

    /// Removes every line with that name (any case).
    pub fn remove_text(&mut self, name: &str) -> &mut Self {
        let lines: SmallVec<[Span; 8]> = self.message.line_spans_by_text(name).collect();
        for line in lines {
            self.splice(line, |_| {});
        }
        self
    }

    /// Removes the first `count` values of a comma-separated header, the lines that become empty included.
    pub fn remove_first_values(&mut self, name: HeaderName, mut count: usize) -> &mut Self {
        let message = self.message;
        for (line, value) in message.line_spans(name).zip(message.headers(name)) {
            if count == 0 {
                break;
            }
            let elements: SmallVec<[&[u8]; 8]> = text::list(value).collect();
            if elements.len() <= count {
                count -= elements.len();
                self.splice(line, |_| {});
            } else {
                let from = message.span_of(value).map_or(0, |s| s.0);
                let to = message.span_of(elements[count]).map_or(0, |s| s.0);
                count = 0;
                self.splice((from, to), |_| {});
            }
        }
        self
    }

    /// Replaces the body and its Content-Length; the Content-Type is the caller's to set.
    pub fn set_body(&mut self, body: Bytes) -> &mut Self {
        let len = body.len().to_string();
        self.body = Some(body);
        self.set(HeaderName::ContentLength, &len)
    }

    /// Writes where the message came from into its top Via: `received` where the host there is another, the value
    /// of `rport` where it was asked for (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn stamp_via(&mut self) -> &mut Self {
        if let Some(params) = via_stamp(self.message) {
            let Stamp { insert_at, remove, text: stamp } = params;
            for at in remove.into_iter().flatten() {
                self.splice(at, |_| {});
            }
            self.splice((insert_at, insert_at), |text| text.push_str(&stamp));
        }
        self
    }

    /// The new message.
    pub fn finish(mut self) -> Bytes {
        self.splices.sort_by_key(|s| s.at);
        let old = self.message.bytes();
        let new_body = self.body.as_deref();
        let head_end = self.message.head_end() as usize;
        let body = self.message.body_span();
        let capacity = body.1 as usize + self.text.len() + new_body.map_or(0, <[u8]>::len) + 2;
        let mut out = Vec::with_capacity(capacity);
        // What stands before the start line (blank lines of a datagram) is not passed on.
        let mut at = old.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        for splice in &self.splices {
            let (from, to) = (splice.at.0 as usize, splice.at.1 as usize);
            if from > at {
                out.extend_from_slice(&old[at..from]);
            }
            out.extend_from_slice(&self.text.as_bytes()[splice.with.0 as usize..splice.with.1 as usize]);
            at = at.max(to);
        }
        match new_body {
            Some(new_body) => {
                out.extend_from_slice(&old[at.min(head_end)..head_end]);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(new_body);
            }
            None => out.extend_from_slice(&old[at..body.1 as usize]),
        }
        Bytes::from(out)
    }

    fn splice(&mut self, at: Span, write: impl FnOnce(&mut String)) -> &mut Self {
        let from = self.text.len() as u32;
        write(&mut self.text);
        self.splices.push(Splice { at, with: (from, self.text.len() as u32) });
        self
    }
}

/// What the top Via of a received message lacks.
pub(crate) struct Stamp {
    /// Position behind the last parameter of the top Via value.
    pub(crate) insert_at: u32,
    /// A `received` or `rport` that is there already and must go.
    pub(crate) remove: [Option<Span>; 2],
    pub(crate) text: String,
}

pub(crate) fn via_stamp(message: &Message) -> Option<Stamp> {
    let source = message.source()?;
    let via = message.via()?;
    let host = std::str::from_utf8(via.host).unwrap_or_default();
    let rport = via.param("rport");
    let ip = source.ip().to_canonical();
    if rport.is_none() && via.param("received").is_none() && crate::uri::host_ip(host) == Some(ip) {
        return None;
    }
    let mut remove = [None, None];
    for (slot, name) in remove.iter_mut().zip(["received", "rport"]) {
        *slot = param_span(message, via.params, name);
    }
    let mut text = String::with_capacity(64);
    text.push_str(";received=");
    push_ip(&mut text, ip);
    if rport.is_some() {
        text.push_str(";rport=");
        text.push_str(Digits::of(source.port().into()).as_str());
    }
    Some(Stamp { insert_at: message.via_span().1, remove, text })
}

/// A parameter with its `;` as positions.
fn param_span(message: &Message, params: &[u8], name: &str) -> Option<Span> {
    let (at, _) = text::params(params, b';').find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))?;
    let from = message.span_of(at)?.0;
    let all = message.span_of(params)?;
    let old = message.bytes();
    let semicolon = old[..from as usize].iter().rposition(|b| *b == b';')? as u32;
    let rest = &old[from as usize..all.1 as usize];
    let end = from + text::find_outside(rest, b';').unwrap_or(rest.len()) as u32;
    Some((semicolon, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace('\n', "\r\n")), &Limits::default()).unwrap()
    }

    fn text(bytes: Bytes) -> String {
        String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n")
    }

    const REQUEST: &str = "INVITE sip:a@h SIP/2.0\nVia: SIP/2.0/UDP c:5070;rport;branch=z9hG4bK1, SIP/2.0/UDP d\n\
        Max-Forwards: 70\nRoute: <sip:p1;lr>, <sip:p2;lr>\nX: y\nRoute: <sip:p3>\nFrom: <sip:b@h>;tag=1\nTo: <sip:a@h>\n\
        Call-ID: c\nCSeq: 1 INVITE\nContent-Length: 4\n\nbody";

    #[test]
    fn untouched_is_unchanged() {
        assert_eq!(text(Edit::new(&message(REQUEST)).finish()), REQUEST);
    }

    #[test]
    fn a_forward_is_a_splice() {
        let m = message(REQUEST).from_source("192.0.2.9:4000".parse().unwrap());
        let mut edit = Edit::new(&m);
        edit.set_request_uri("sip:a@contact:99").stamp_via().prepend(HeaderName::Via, "SIP/2.0/TCP p;branch=z9hG4bK2");
        edit.set(HeaderName::MaxForwards, "69").remove_first_values(HeaderName::Route, 2);
        edit.prepend(HeaderName::RecordRoute, "<sip:p;lr>").append(HeaderName::UserAgent, "u");
        assert_eq!(
            text(edit.finish()),
            "INVITE sip:a@contact:99 SIP/2.0\nVia: SIP/2.0/TCP p;branch=z9hG4bK2\nRecord-Route: <sip:p;lr>\n\
             Via: SIP/2.0/UDP c:5070;branch=z9hG4bK1;received=192.0.2.9;rport=4000, SIP/2.0/UDP d\nMax-Forwards: 69\n\
             X: y\nRoute: <sip:p3>\nFrom: <sip:b@h>;tag=1\nTo: <sip:a@h>\nCall-ID: c\nCSeq: 1 INVITE\n\
             Content-Length: 4\nUser-Agent: u\n\nbody"
        );
    }

    #[test]
    fn part_of_a_line_of_values_goes() {
        let m = message(REQUEST);
        let mut edit = Edit::new(&m);
        edit.remove_first_values(HeaderName::Route, 1).set_body(Bytes::from_static(b"longer body"));
        let out = text(edit.finish());
        assert!(out.contains("\nRoute: <sip:p2;lr>\nX: y\nRoute: <sip:p3>\n"), "{out}");
        assert!(out.ends_with("Content-Length: 11\n\nlonger body"), "{out}");
    }
}
