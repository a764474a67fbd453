//! Request validation (RFC 3261 §16.3, RFC 5393 §4.2.2 and §5.3.3).

use bytes::Bytes;
use smallvec::SmallVec;

use super::branch::{BranchParts, loop_hash};
use super::local::Local;
use crate::header::Via;
use crate::message::Message;
use crate::name::{HeaderName, Method};
use crate::reply::{Reply, reason_phrase};
use crate::uri::Uri;

/// What the checks need to know of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyPolicy {
    /// Option tags that may stand in Proxy-Require.
    pub understood: Vec<Box<str>>,
    /// Whether to look for loops; needed by whoever forks (RFC 5393 §4.1).
    pub detect_loops: bool,
    /// Branches that one request may have at once, at most, and where it says nothing (RFC 5393 §5.3.3).
    pub max_breadth: u32,
}

impl Default for ProxyPolicy {
    fn default() -> Self {
        ProxyPolicy { understood: Vec::new(), detect_loops: true, max_breadth: 60 }
    }
}

impl ProxyPolicy {
    /// The Max-Breadth that a received request has here.
    pub fn breadth(&self, request: &Message) -> u32 {
        let received = request.number(HeaderName::MaxBreadth).unwrap_or(u64::from(self.max_breadth));
        u32::try_from(received).unwrap_or(u32::MAX).min(self.max_breadth)
    }
}

/// A request that is answered instead of forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub status: u16,
    /// Instead of the standard phrase.
    pub reason: Option<Box<str>>,
    pub headers: SmallVec<[(HeaderName, String); 1]>,
}

impl Reject {
    pub fn new(status: u16) -> Reject {
        Reject { status, reason: None, headers: SmallVec::new() }
    }

    #[must_use]
    pub fn because(mut self, reason: &str) -> Reject {
        self.reason = Some(reason.into());
        self
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Reject {
        self.headers.push((name, value.into()));
        self
    }

    /// The response; never to be sent for an ACK.
    pub fn reply(&self, request: &Message, to_tag: &str) -> Bytes {
        let reason = self.reason.as_deref().unwrap_or_else(|| reason_phrase(self.status));
        let reply = Reply::with_reason(request, self.status, reason, to_tag);
        self.headers.iter().fold(reply, |reply, (name, value)| reply.header(*name, value)).finish()
    }
}

/// The checks of §16.3 in their order, without authorization, which is the caller's. OPTIONS and REGISTER with
/// Max-Forwards 0 pass when they are for this server, which then answers them itself.
///
/// Only what a proxy needs must be well-formed; anything else is passed on as it is.
pub fn validate(request: &Message, policy: &ProxyPolicy, local: &Local) -> Result<(), Reject> {
    request.check().map_err(|error| Reject::new(error.status()).because(&error.to_string()))?;
    // The check has read the Request-URI as a whole; only its scheme is left to judge.
    if !understands(request.uri()) {
        return Err(Reject::new(416));
    }
    if let Some(value) = request.header(HeaderName::MaxForwards) {
        match crate::text::decimal(value) {
            Some(0) => {
                let answered_here = matches!(request.method(), Method::Options | Method::Register);
                let is_us = || Uri::parse(request.uri()).is_ok_and(|uri| local.is_our_uri(&uri));
                if !(answered_here && is_us()) {
                    return Err(Reject::new(483));
                }
            }
            Some(_) => {}
            None => return Err(Reject::new(400).because("Max-Forwards is not a number")),
        }
    }
    if policy.detect_loops && has_looped(request, local) {
        return Err(Reject::new(482));
    }
    if let Some(value) = request.header(HeaderName::MaxBreadth) {
        match crate::text::decimal(value) {
            Some(0) => return Err(Reject::new(440)),
            Some(_) => {}
            None => return Err(Reject::new(400).because("Max-Breadth is not a number")),
        }
    }
    // A CANCEL takes the way of its request and must hold no Proxy-Require (§9.1); an ACK cannot be answered.
    if !matches!(request.method(), Method::Cancel | Method::Ack) {
        let mut unsupported = String::new();
        for tag in request.values(HeaderName::ProxyRequire) {
            if !policy.understood.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(tag)) {
                let separator = if unsupported.is_empty() { "" } else { ", " };
                unsupported.push_str(separator);
                unsupported.push_str(&String::from_utf8_lossy(tag));
            }
        }
        if !unsupported.is_empty() {
            return Err(Reject::new(420).header(HeaderName::Unsupported, unsupported));
        }
    }
    Ok(())
}

/// Whether the scheme is one that a request can be routed by.
fn understands(uri: &[u8]) -> bool {
    let scheme = &uri[..memchr::memchr(b':', uri).unwrap_or(0)];
    ["sip", "sips", "tel", "urn"].iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether we have forwarded this very request before and nothing that routes it has changed since; Via values of
/// others, however odd, are passed over.
fn has_looped(request: &Message, local: &Local) -> bool {
    let mut hash = None;
    request.values(HeaderName::Via).any(|value| {
        // Most Via values are a client's and hold no loop part; only the rest are parsed.
        if memchr::memchr(b'~', value).is_none() {
            return false;
        }
        let Ok(via) = Via::parse(value) else { return false };
        let Some(theirs) = via.branch().and_then(BranchParts::parse).and_then(|b| b.loop_part) else { return false };
        let ours = std::str::from_utf8(via.host).is_ok_and(|host| local.is_us(host, via.port));
        ours && theirs == *hash.get_or_insert_with(|| loop_hash(request))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::proxy::branch;
    use crate::transport::Transport;

    /// A request with extra header lines behind the first Via.
    pub(crate) fn request(method: &str, uri: &str, extra: &str) -> Message {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKc1\r\n{extra}\
             From: <sip:b@example.net>;tag=f1\r\nTo: <sip:a@example.com>\r\nCall-ID: call1\r\nCSeq: 1 {method}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.into(), &Limits::default()).unwrap()
    }

    pub(crate) fn local() -> Local {
        let mut local = Local::new();
        local.add_listener(Transport::Udp, "192.0.2.1", 5060).add_listener(Transport::Tcp, "192.0.2.1", 5060);
        local.add_domain("example.com");
        local
    }

    #[test]
    fn the_checks_of_16_3() {
        let policy = ProxyPolicy { understood: vec!["foo".into()], ..ProxyPolicy::default() };
        for (name, method, uri, extra, status) in [
            ("plain", "INVITE", "sip:a@example.com", "Max-Forwards: 70\r\n", 0),
            ("no Max-Forwards", "INVITE", "sip:a@example.com", "", 0),
            ("unknown method", "NEWMETHOD", "sip:a@example.com", "", 0),
            ("unknown scheme", "INVITE", "nobody:a@example.com", "", 416),
            ("tel", "INVITE", "tel:+15550100", "", 0),
            ("urn", "INVITE", "urn:service:sos", "", 0),
            ("bad URI", "INVITE", "sip:a@b@c", "", 400),
            ("hops used up", "INVITE", "sip:a@example.com", "Max-Forwards: 0\r\n", 483),
            ("OPTIONS for us", "OPTIONS", "sip:example.com", "Max-Forwards: 0\r\n", 0),
            ("OPTIONS for another", "OPTIONS", "sip:a@example.org", "Max-Forwards: 0\r\n", 483),
            ("REGISTER for us", "REGISTER", "sip:example.com", "Max-Forwards: 0\r\n", 0),
            ("bad Max-Forwards", "INVITE", "sip:a@example.com", "Max-Forwards: x\r\n", 400),
            ("no breadth", "INVITE", "sip:a@example.com", "Max-Breadth: 0\r\n", 440),
            ("understood extension", "INVITE", "sip:a@example.com", "Proxy-Require: FOO\r\n", 0),
            ("CANCEL is not judged", "CANCEL", "sip:a@example.com", "Proxy-Require: x\r\n", 0),
            ("malformed Date", "INVITE", "sip:a@example.com", "Date: yesterday\r\n", 0),
        ] {
            let got = validate(&request(method, uri, extra), &policy, &local());
            assert_eq!(got.err().map_or(0, |r| r.status), status, "{name}");
        }
    }

    #[test]
    fn extensions_not_understood_are_listed() {
        let request = request("INVITE", "sip:a@example.com", "Proxy-Require: x, privacy\r\nProxy-Require: y\r\n");
        let policy = ProxyPolicy { understood: vec!["privacy".into()], ..ProxyPolicy::default() };
        let reject = validate(&request, &policy, &local()).unwrap_err();
        let reply = String::from_utf8(reject.reply(&request, "t").to_vec()).unwrap();
        assert!(reply.starts_with("SIP/2.0 420 Bad Extension\r\n"), "{reply}");
        assert!(reply.contains("\r\nUnsupported: x, y\r\n"), "{reply}");
    }

    #[test]
    fn a_loop_is_told_from_a_spiral() {
        let via = |uri: &str| {
            let mut text = String::from("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=");
            branch(&mut text, "n", 5, Some(loop_hash(&request("INVITE", uri, ""))));
            text + "\r\n"
        };
        let odd = "Via: SIP/2.0/FOO strange.example;x=\"a,b;branch=~\";flag;branch=~~~~~~~~~, SIP/2.0/UDP h;branch\r\n";
        for (name, extra, status) in [
            ("never seen", String::new(), 0),
            ("loop", via("sip:a@example.com"), 482),
            ("loop below the Via of others", odd.to_owned() + &via("sip:a@example.com"), 482),
            ("spiral: another Request-URI then", via("sip:z@example.com"), 0),
            ("not our sent-by", via("sip:a@example.com").replace("192.0.2.1", "192.0.2.2"), 0),
        ] {
            let got = validate(&request("INVITE", "sip:a@example.com", &extra), &ProxyPolicy::default(), &local());
            assert_eq!(got.err().map_or(0, |r| r.status), status, "{name}");
        }
    }

    #[test]
    fn breadth_is_bounded() {
        for (extra, breadth) in [("", 60), ("Max-Breadth: 4\r\n", 4), ("Max-Breadth: 9999999999\r\n", 60)] {
            let request = request("INVITE", "sip:a@example.com", extra);
            assert_eq!(ProxyPolicy::default().breadth(&request), breadth, "{extra}");
        }
    }
}
