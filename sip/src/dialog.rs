//! Dialogs: the state that two user agents share over several requests (RFC 3261 §12).

use std::fmt::Write as _;

use bytes::Bytes;

use crate::header::NameAddr;
use crate::message::Message;
use crate::name::HeaderName;
use crate::text::is_token_str;
use crate::uri::{Scheme, Uri};

/// Longest route set that a dialog takes.
const MAX_ROUTES: usize = 32;

/// What names a dialog at this end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialogId {
    pub call_id: Box<str>,
    pub local_tag: Box<str>,
    /// Empty where the peer has none (RFC 2543).
    pub remote_tag: Box<str>,
}

impl DialogId {
    /// The dialog that a received request belongs to; `None` for a request outside of any.
    pub fn of_request(request: &Message) -> Option<DialogId> {
        (!request.to_tag().is_empty())
            .then(|| DialogId::new(request.call_id(), request.to_tag(), request.from_tag()))
            .flatten()
    }

    /// The dialog that a response to our request belongs to.
    pub fn of_response(response: &Message) -> Option<DialogId> {
        DialogId::new(response.call_id(), response.from_tag(), response.to_tag())
    }

    fn new(call_id: &[u8], local_tag: &[u8], remote_tag: &[u8]) -> Option<DialogId> {
        Some(DialogId { call_id: text(call_id)?, local_tag: text(local_tag)?, remote_tag: text(remote_tag)? })
    }
}

/// Why no dialog can be made, or a request does not fit into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialogError {
    #[error("no Contact with one SIP URI")]
    Contact,
    #[error("{0} cannot be read")]
    Malformed(&'static str),
    #[error("CSeq is lower than one before")]
    OutOfOrder,
}

impl DialogError {
    /// The response code that tells the peer.
    pub fn status(self) -> u16 {
        match self {
            DialogError::Contact | DialogError::Malformed(_) => 400,
            DialogError::OutOfOrder => 500,
        }
    }
}

/// One end of a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    pub id: DialogId,
    /// URIs of From and To as we write them.
    local: Box<str>,
    remote: Box<str>,
    /// URIs in the order in which our requests visit them.
    routes: Box<[Box<str>]>,
    remote_target: Box<str>,
    /// Of the last request that we sent; `None` before the first.
    local_seq: Option<u32>,
    /// Of the last request that we took; `None` before the first.
    remote_seq: Option<u32>,
    secure: bool,
}

impl Dialog {
    /// The dialog that our 2xx (or 101-199 with a tag) to `request` makes, `local_tag` being the tag that we put into
    /// its To (§12.1.1). `secure`: the request came over TLS; with a SIPS Request-URI, so must ours go.
    pub fn uas(request: &Message, local_tag: &str, secure: bool) -> Result<Dialog, DialogError> {
        let id = DialogId::new(request.call_id(), local_tag.as_bytes(), request.from_tag());
        Ok(Dialog {
            id: id.ok_or(DialogError::Malformed("a tag or Call-ID"))?,
            local: address(request, HeaderName::To)?,
            remote: address(request, HeaderName::From)?,
            routes: routes(request)?.into_boxed_slice(),
            remote_target: contact(request)?,
            local_seq: None,
            remote_seq: Some(request.cseq()),
            secure: secure && is_sips(request.uri()),
        })
    }

    /// The dialog that a 2xx (or 101-199 with a tag) to our `request` makes (§12.1.2). Each To tag of a forked request
    /// makes its own.
    pub fn uac(request: &Message, response: &Message, secure: bool) -> Result<Dialog, DialogError> {
        let id = DialogId::new(request.call_id(), request.from_tag(), response.to_tag());
        let mut routes = routes(response)?;
        routes.reverse();
        Ok(Dialog {
            id: id.ok_or(DialogError::Malformed("a tag or Call-ID"))?,
            local: address(request, HeaderName::From)?,
            remote: address(request, HeaderName::To)?,
            routes: routes.into_boxed_slice(),
            remote_target: contact(response)?,
            local_seq: Some(request.cseq()),
            remote_seq: None,
            secure: secure && is_sips(request.uri()),
        })
    }

    /// The dialog that a NOTIFY makes for our `subscribe` (RFC 6665 §4.4.1); the caller has seen that Call-ID, tag and
    /// Event match.
    pub fn by_notify(subscribe: &Message, notify: &Message, secure: bool) -> Result<Dialog, DialogError> {
        let local_tag = text(subscribe.from_tag()).ok_or(DialogError::Malformed("a tag"))?;
        Ok(Dialog { local_seq: Some(subscribe.cseq()), ..Dialog::uas(notify, &local_tag, secure)? })
    }

    /// Checks the order of a request within the dialog and notes its CSeq (§12.2.2). ACK and CANCEL carry the number
    /// of another request and are not to be given here.
    pub fn receive(&mut self, request: &Message) -> Result<(), DialogError> {
        if self.remote_seq.is_some_and(|seq| request.cseq() < seq) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_seq = Some(request.cseq());
        Ok(())
    }

    /// Takes the Contact of a target refresh request (INVITE, UPDATE, SUBSCRIBE, NOTIFY, REFER) once it is accepted,
    /// or of the 2xx to one, as the new remote target; a message without Contact changes nothing.
    pub fn refresh_target(&mut self, message: &Message) -> Result<(), DialogError> {
        if message.header(HeaderName::Contact).is_some() {
            self.remote_target = contact(message)?;
        }
        Ok(())
    }

    /// Where the next request goes first: a proxy of the route set, or the peer itself.
    pub fn next_hop(&self) -> &str {
        self.routes.first().unwrap_or(&self.remote_target)
    }

    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The peer's URI, from its From or To.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// Our URI.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The route set, in the order in which our requests visit it.
    pub fn routes(&self) -> &[Box<str>] {
        &self.routes
    }

    /// CSeq of the last request that we sent.
    pub fn local_seq(&self) -> Option<u32> {
        self.local_seq
    }

    /// Another user of this dialog (RFC 5057 §3.1) has sent a request with this CSeq: the next one goes on behind it.
    pub fn continue_after(&mut self, seq: Option<u32>) {
        self.local_seq = self.local_seq.max(seq);
    }

    /// Whether our Contact has to be a SIPS URI.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Begins a new request with the next CSeq (§12.2.1.1). `via` is the value of the Via header; empty where the
    /// caller puts it in later.
    pub fn request(&mut self, method: &str, via: &str) -> Draft {
        let seq = self.local_seq.map_or(1, |seq| seq.wrapping_add(1) & (i32::MAX as u32));
        self.local_seq = Some(seq);
        self.draft(method, via, seq)
    }

    /// Begins the ACK for a 2xx to our INVITE with number `cseq` (§13.2.2.4).
    pub fn ack(&self, via: &str, cseq: u32) -> Draft {
        self.draft("ACK", via, cseq)
    }

    fn draft(&self, method: &str, via: &str, seq: u32) -> Draft {
        let mut head = String::with_capacity(512);
        let strict = self.routes.first().is_some_and(|first| !is_loose(first));
        let uri = if strict { request_uri(&self.routes[0]) } else { (*self.remote_target).to_owned() };
        let _ = write!(head, "{method} {uri} SIP/2.0\r\n");
        if !via.is_empty() {
            let _ = write!(head, "Via: {via}\r\n");
        }
        for route in self.routes.iter().skip(usize::from(strict)) {
            let _ = write!(head, "Route: <{route}>\r\n");
        }
        if strict {
            let _ = write!(head, "Route: <{}>\r\n", self.remote_target);
        }
        let DialogId { call_id, local_tag, remote_tag } = &self.id;
        let _ = write!(head, "Max-Forwards: 70\r\nFrom: <{}>", self.local);
        let _ = if local_tag.is_empty() { Ok(()) } else { write!(head, ";tag={local_tag}") };
        let _ = write!(head, "\r\nTo: <{}>", self.remote);
        let _ = if remote_tag.is_empty() { Ok(()) } else { write!(head, ";tag={remote_tag}") };
        let _ = write!(head, "\r\nCall-ID: {call_id}\r\nCSeq: {seq} {method}\r\n");
        Draft { head }
    }
}

/// A request that is being written.
#[derive(Debug)]
pub struct Draft {
    head: String,
}

impl Draft {
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Draft {
        let _ = write!(self.head, "{}: {value}\r\n", name.as_str());
        self
    }

    /// Adds a header by its text.
    #[must_use]
    pub fn header_text(mut self, name: &str, value: &str) -> Draft {
        let _ = write!(self.head, "{name}: {value}\r\n");
        self
    }

    /// Adds headers as whole lines.
    #[must_use]
    pub fn lines(mut self, lines: &str) -> Draft {
        self.head.push_str(lines);
        self
    }

    /// The request without a body.
    pub fn finish(mut self) -> Bytes {
        self.head.push_str("Content-Length: 0\r\n\r\n");
        Bytes::from(self.head)
    }

    /// The request with a body.
    pub fn finish_with(mut self, content_type: &str, body: &[u8]) -> Bytes {
        let _ = write!(self.head, "Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut bytes = self.head.into_bytes();
        bytes.extend_from_slice(body);
        Bytes::from(bytes)
    }
}

/// A tag or Call-ID, which is copied into later messages; empty is fine.
fn text(value: &[u8]) -> Option<Box<str>> {
    let fine = value.iter().all(|b| b.is_ascii_graphic());
    fine.then(|| std::str::from_utf8(value).ok().map(Into::into)).flatten()
}

fn uri_of(value: &[u8]) -> Option<Box<str>> {
    let uri = NameAddr::parse(value).ok()?.uri;
    Uri::parse(uri).ok()?;
    text(uri)
}

fn address(message: &Message, name: HeaderName) -> Result<Box<str>, DialogError> {
    message.header(name).and_then(uri_of).ok_or(DialogError::Malformed(name.as_str()))
}

fn contact(message: &Message) -> Result<Box<str>, DialogError> {
    let mut values = message.values(HeaderName::Contact);
    let (Some(value), None) = (values.next(), values.next()) else { return Err(DialogError::Contact) };
    let uri = uri_of(value).ok_or(DialogError::Contact)?;
    match Uri::parse(uri.as_bytes()) {
        Ok(parsed) if parsed.is_sip() => Ok(uri),
        _ => Err(DialogError::Contact),
    }
}

fn routes(message: &Message) -> Result<Vec<Box<str>>, DialogError> {
    let wrong = DialogError::Malformed("Record-Route");
    let values = message.values(HeaderName::RecordRoute).take(MAX_ROUTES + 1);
    let routes: Option<Vec<_>> = values.map(uri_of).collect();
    routes.filter(|routes| routes.len() <= MAX_ROUTES).ok_or(wrong)
}

fn is_sips(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.scheme == Scheme::Sips)
}

fn is_loose(route: &str) -> bool {
    Uri::parse(route.as_bytes()).is_ok_and(|uri| uri.param("lr").is_some())
}

/// A route as Request-URI: without the parameters and headers that may not stand there (§19.1.1, Table 1).
fn request_uri(route: &str) -> String {
    let Ok(uri) = Uri::parse(route.as_bytes()) else { return route.to_owned() };
    let end = route.len() - if uri.headers.is_empty() { 0 } else { uri.headers.len() + 1 };
    let mut out = route[..end - uri.params.len()].to_owned();
    for (name, value) in crate::text::params(uri.params.as_bytes(), b';') {
        if name.eq_ignore_ascii_case(b"method") || !is_token_str(name) {
            continue;
        }
        out.push(';');
        out.push_str(&String::from_utf8_lossy(name));
        if let Some(value) = value {
            out.push('=');
            out.push_str(&String::from_utf8_lossy(value));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::reread;

    const SUBSCRIBE: &str = "SUBSCRIBE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\n\
        Record-Route: <sip:p1;lr>, <sip:p2;lr;x=y>\nRecord-Route: <sip:p3;lr>;z\nFrom: \"A\" <sip:alice@example.com>;tag=a1\n\
        To: <sip:bob@example.com>\nCall-ID: c1@h\nCSeq: 7 SUBSCRIBE\nContact: <sip:alice@192.0.2.7:5070>;q=1\n\n";
    const OK: &str = "SIP/2.0 200 OK\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\n\
        Record-Route: <sip:p1;lr>, <sip:p2;lr;x=y>\nRecord-Route: <sip:p3;lr>;z\nFrom: \"A\" <sip:alice@example.com>;tag=a1\n\
        To: <sip:bob@example.com>;tag=b1\nCall-ID: c1@h\nCSeq: 7 SUBSCRIBE\nContact: <sip:server@192.0.2.9>\n\n";

    fn message(text: &str) -> Message {
        reread(&Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    fn text_of(bytes: Bytes) -> String {
        String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n")
    }

    #[test]
    fn a_uas_goes_back_by_the_record_route_in_order() {
        let mut dialog = Dialog::uas(&message(SUBSCRIBE), "b1", false).unwrap();
        assert_eq!(dialog.next_hop(), "sip:p1;lr");
        let notify =
            dialog.request("NOTIFY", "SIP/2.0/UDP s;branch=z9hG4bK9").header(HeaderName::Event, "reg").finish();
        assert_eq!(
            text_of(notify),
            "NOTIFY sip:alice@192.0.2.7:5070 SIP/2.0\nVia: SIP/2.0/UDP s;branch=z9hG4bK9\nRoute: <sip:p1;lr>\n\
             Route: <sip:p2;lr;x=y>\nRoute: <sip:p3;lr>\nMax-Forwards: 70\nFrom: <sip:bob@example.com>;tag=b1\n\
             To: <sip:alice@example.com>;tag=a1\nCall-ID: c1@h\nCSeq: 1 NOTIFY\nEvent: reg\nContent-Length: 0\n\n"
        );
        assert!(text_of(dialog.request("NOTIFY", "").finish()).contains("\nCSeq: 2 NOTIFY\n"));
    }

    #[test]
    fn a_uac_goes_by_the_record_route_in_reverse() {
        let mut dialog = Dialog::uac(&message(SUBSCRIBE), &message(OK), false).unwrap();
        assert_eq!(
            dialog.routes().iter().map(|r| &**r).collect::<Vec<_>>(),
            ["sip:p3;lr", "sip:p2;lr;x=y", "sip:p1;lr"]
        );
        let refresh = text_of(dialog.request("SUBSCRIBE", "").finish_with("text/plain", b"hi"));
        assert!(refresh.starts_with("SUBSCRIBE sip:server@192.0.2.9 SIP/2.0\nRoute: <sip:p3;lr>\n"), "{refresh}");
        assert!(refresh.contains("\nCSeq: 8 SUBSCRIBE\n"), "{refresh}");
        assert!(refresh.ends_with("\nContent-Type: text/plain\nContent-Length: 2\n\nhi"), "{refresh}");
        assert!(text_of(dialog.ack("", 7).finish()).contains("\nCSeq: 7 ACK\n"));
    }

    #[test]
    fn both_ends_name_the_dialog_alike() {
        let (uas, uac) = (
            Dialog::uas(&message(SUBSCRIBE), "b1", false).unwrap(),
            Dialog::uac(&message(SUBSCRIBE), &message(OK), false).unwrap(),
        );
        let refresh = message(&SUBSCRIBE.replace("To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b1"));
        assert_eq!(DialogId::of_request(&refresh).as_ref(), Some(&uas.id));
        assert_eq!(DialogId::of_response(&message(OK)), Some(uac.id.clone()));
        assert_eq!(DialogId::of_request(&message(SUBSCRIBE)), None);
        assert_eq!((uas.id.local_tag, uas.id.remote_tag), (uac.id.remote_tag, uac.id.local_tag));
    }

    #[test]
    fn a_strict_router_takes_the_request_uri() {
        let strict = SUBSCRIBE.replace("<sip:p1;lr>", "<sip:p1;transport=tcp;method=X>");
        let mut dialog = Dialog::uas(&message(&strict), "b1", false).unwrap();
        let notify = text_of(dialog.request("NOTIFY", "").finish());
        assert!(
            notify.starts_with(
                "NOTIFY sip:p1;transport=tcp SIP/2.0\nRoute: <sip:p2;lr;x=y>\nRoute: <sip:p3;lr>\n\
                 Route: <sip:alice@192.0.2.7:5070>\n"
            ),
            "{notify}"
        );
    }

    #[test]
    fn cseq_may_skip_but_not_fall() {
        let mut dialog = Dialog::uas(&message(SUBSCRIBE), "b1", false).unwrap();
        for (cseq, expected) in
            [(8, Ok(())), (20, Ok(())), (19, Err(DialogError::OutOfOrder)), (20, Ok(())), (21, Ok(()))]
        {
            let request = message(&SUBSCRIBE.replace("CSeq: 7", &format!("CSeq: {cseq}")));
            assert_eq!(dialog.receive(&request), expected, "{cseq}");
        }
        assert_eq!(DialogError::OutOfOrder.status(), 500);
        let mut uac = Dialog::uac(&message(SUBSCRIBE), &message(OK), false).unwrap();
        assert_eq!(uac.receive(&message(&SUBSCRIBE.replace("CSeq: 7", "CSeq: 3"))), Ok(()), "the first one sets it");
    }

    #[test]
    fn an_accepted_refresh_moves_the_target() {
        let mut dialog = Dialog::uas(&message(SUBSCRIBE), "b1", false).unwrap();
        dialog.refresh_target(&message(&SUBSCRIBE.replace("192.0.2.7:5070", "198.51.100.1"))).unwrap();
        assert_eq!(dialog.remote_target(), "sip:alice@198.51.100.1");
        dialog.refresh_target(&message(&SUBSCRIBE.replace("Contact: <sip:alice@192.0.2.7:5070>;q=1\n", ""))).unwrap();
        assert_eq!(dialog.remote_target(), "sip:alice@198.51.100.1");
    }

    #[test]
    fn what_makes_no_dialog() {
        for (name, from, to) in [
            ("no contact", "Contact: <sip:alice@192.0.2.7:5070>;q=1\n", ""),
            ("two contacts", ";q=1", ", <sip:b@h>"),
            ("a contact of another scheme", "<sip:alice@192.0.2.7:5070>", "<mailto:alice@h>"),
            ("a broken route", "<sip:p2;lr;x=y>", "<sip:>"),
            ("a quote in a tag", "tag=a1", "tag=\"a b\""),
        ] {
            let refused = Dialog::uas(&message(&SUBSCRIBE.replace(from, to)), "b1", false);
            assert_eq!(refused.map_err(DialogError::status), Err(400), "{name}");
        }
        let many = SUBSCRIBE.replace("<sip:p1;lr>", &vec!["<sip:p;lr>"; 40].join(","));
        assert!(Dialog::uas(&message(&many), "b1", false).is_err());
    }

    #[test]
    fn secure_needs_tls_and_sips() {
        let sips = SUBSCRIBE.replace("SUBSCRIBE sip:bob", "SUBSCRIBE sips:bob");
        for (text, tls, expected) in [(SUBSCRIBE, true, false), (&sips, false, false), (&sips, true, true)] {
            assert_eq!(Dialog::uas(&message(text), "b", tls).unwrap().is_secure(), expected);
        }
    }

    #[test]
    fn a_notify_makes_the_subscribers_dialog() {
        let notify = "NOTIFY sip:alice@192.0.2.7:5070 SIP/2.0\nVia: SIP/2.0/UDP s;branch=z9hG4bK2\nRecord-Route: <sip:p3;lr>\n\
            From: <sip:bob@example.com>;tag=b1\nTo: <sip:alice@example.com>;tag=a1\nCall-ID: c1@h\nCSeq: 1 NOTIFY\n\
            Contact: <sip:server@192.0.2.9>\n\n";
        let mut dialog = Dialog::by_notify(&message(SUBSCRIBE), &message(notify), false).unwrap();
        let refresh = text_of(dialog.request("SUBSCRIBE", "").finish());
        assert!(refresh.starts_with("SUBSCRIBE sip:server@192.0.2.9 SIP/2.0\nRoute: <sip:p3;lr>\n"), "{refresh}");
        assert!(refresh.contains("\nCSeq: 8 SUBSCRIBE\n"), "{refresh}");
    }
}
