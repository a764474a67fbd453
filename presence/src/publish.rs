//! PUBLISH (RFC 3903 §6): what is published for one user in an event package, and what a request makes of it.

use chappe_sip::header::ContentType;
use chappe_sip::{Flow, HeaderName, Message, Reply};

use crate::compose::Source;
use crate::pidf::{Document, MEDIA_TYPE};
use crate::xml::{Limits, XmlError};

/// The compositor's own settings; times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Shorter ones are refused with 423.
    pub min_expires: u32,
    /// Longer ones are cut.
    pub max_expires: u32,
    /// Where the request names none.
    pub default_expires: u32,
    /// Publications of one presentity; the one that was longest without a word gives way.
    pub max_publications: usize,
    pub limits: Limits,
}

impl Default for Policy {
    fn default() -> Self {
        let limits = Limits::default();
        Policy { min_expires: 60, max_expires: 3600, default_expires: 3600, max_publications: 16, limits }
    }
}

/// What is published in an event package.
pub trait State: PartialEq + Sized {
    const MEDIA_TYPE: &'static str;

    fn read(body: &[u8], limits: &Limits) -> Result<Self, XmlError>;
}

impl State for Document {
    const MEDIA_TYPE: &'static str = MEDIA_TYPE;

    fn read(body: &[u8], limits: &Limits) -> Result<Document, XmlError> {
        Document::parse(body, limits)
    }
}

/// Why a PUBLISH is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// §6 step 4: it was changed meanwhile, or ran out, or the server has started anew.
    #[error("no publication of that entity tag")]
    ConditionFailed,
    #[error("{0}")]
    Malformed(&'static str),
    #[error("shorter than {min} s")]
    TooBrief { min: u32 },
    #[error("not of a type that is composed")]
    MediaType { accept: &'static str },
    #[error("in an encoding that is not read")]
    Encoding,
    #[error("{0}")]
    Body(#[from] XmlError),
}

impl Reject {
    pub fn status(self) -> u16 {
        match self {
            Reject::ConditionFailed => 412,
            Reject::Malformed(_) => 400,
            Reject::TooBrief { .. } => 423,
            Reject::MediaType { .. } | Reject::Encoding => 415,
            Reject::Body(XmlError::TooLong { .. }) => 413,
            Reject::Body(_) => 400,
        }
    }

    pub fn reply(self, request: &Message, to_tag: &str) -> Reply {
        let reply = match self {
            Reject::Malformed(why) => Reply::with_reason(request, 400, why, to_tag),
            Reject::Body(error) if self.status() == 400 => {
                Reply::with_reason(request, 400, &format!("Bad Document: {error}"), to_tag)
            }
            _ => Reply::new(request, self.status(), to_tag),
        };
        match self {
            Reject::TooBrief { min } => reply.header(HeaderName::MinExpires, &min.to_string()),
            Reject::MediaType { accept } => reply.header(HeaderName::Accept, accept),
            Reject::Encoding => reply.header(HeaderName::AcceptEncoding, "identity"),
            _ => reply,
        }
    }
}

/// What a PUBLISH did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// For SIP-ETag.
    pub etag: Box<str>,
    /// In seconds, for Expires.
    pub expires: u32,
    /// Whether there is something new to see.
    pub changed: bool,
}

#[derive(Debug, Clone)]
struct Publication<S> {
    etag: Box<str>,
    expires: u64,
    document: S,
    /// Where the latest PUBLISH came from.
    flow: Flow,
    order: u64,
    updated: u64,
}

/// The publications of one user in one package.
#[derive(Debug, Clone)]
pub struct Publications<S = Document> {
    list: Vec<Publication<S>>,
    /// Counts publications and their changes.
    turns: u64,
}

impl<S> Default for Publications<S> {
    fn default() -> Self {
        Publications { list: Vec::new(), turns: 0 }
    }
}

/// What an operator sees of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a, S = Document> {
    pub etag: &'a str,
    pub expires: u64,
    pub flow: &'a Flow,
    pub document: &'a S,
}

impl<S: State> Publications<S> {
    /// Decides on a PUBLISH whose sender may publish for this presentity; `etag` has never been used before. `now` in
    /// seconds. On `Err` nothing has changed.
    pub fn publish(
        &mut self,
        request: &Message,
        policy: &Policy,
        etag: Box<str>,
        flow: Flow,
        now: u64,
    ) -> Result<Published, Reject> {
        let mut tags = request.headers(HeaderName::SipIfMatch);
        let (condition, more) = (tags.next(), tags.next().is_some());
        if more {
            return Err(Reject::Malformed("More Than One SIP-If-Match"));
        }
        let mut changed = self.expire(now);
        let at = match condition {
            None => None,
            Some(tag) => {
                let tag = tag.trim_ascii();
                let known = self.list.iter().position(|p| p.etag.as_bytes() == tag);
                Some(known.ok_or(Reject::ConditionFailed)?)
            }
        };
        let expires = expires(request, policy)?;
        let document = match request.body() {
            [] => None,
            body => Some(document::<S>(request, body, policy)?),
        };
        let published = |changed| Ok(Published { etag: etag.clone(), expires, changed });
        match (at, document) {
            (None, None) => return Err(Reject::Malformed("Neither A Body Nor SIP-If-Match")),
            (Some(at), _) if expires == 0 => {
                self.list.remove(at);
                return published(true);
            }
            // §6 step 6: it is over as soon as it is there.
            (None, Some(_)) if expires == 0 => return published(changed),
            (Some(at), document) => {
                self.turns += 1;
                let publication = &mut self.list[at];
                if let Some(document) = document {
                    changed |= publication.document != document;
                    publication.document = document;
                    publication.updated = self.turns;
                }
                (publication.expires, publication.flow) = (now + u64::from(expires), flow);
                publication.etag = etag.clone();
            }
            (None, Some(document)) => {
                if self.list.len() >= policy.max_publications.max(1)
                    && let Some(oldest) = (0..self.list.len()).min_by_key(|at| self.list[*at].updated)
                {
                    self.list.remove(oldest);
                }
                self.turns += 1;
                let (order, updated) = (self.turns, self.turns);
                let expires = now + u64::from(expires);
                self.list.push(Publication { etag: etag.clone(), expires, document, flow, order, updated });
                changed = true;
            }
        }
        published(changed)
    }

    /// Removes what has run out; whether there was some.
    pub fn expire(&mut self, now: u64) -> bool {
        self.remove(|publication| publication.expires <= now)
    }

    /// Removes what came from a flow that is gone; whether there was some.
    pub fn withdraw(&mut self, flow: &Flow) -> bool {
        self.remove(|publication| same_flow(&publication.flow, flow))
    }

    /// The device of a flow has moved to another one.
    pub fn rehome(&mut self, old: &Flow, new: Flow) -> bool {
        let mut moved = false;
        for publication in self.list.iter_mut().filter(|publication| same_flow(&publication.flow, old)) {
            publication.flow = new;
            moved = true;
        }
        moved
    }

    fn remove(&mut self, gone: impl Fn(&Publication<S>) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(|publication| !gone(publication));
        self.list.len() < before
    }

    /// When the next one runs out.
    pub fn next_expiry(&self) -> Option<u64> {
        self.list.iter().map(|p| p.expires).min()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The flows that they came from.
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.list.iter().map(|p| &p.flow)
    }

    /// Whether the device at the other end of a flow publishes.
    pub fn speaks(&self, flow: &Flow) -> bool {
        self.list.iter().any(|p| same_flow(&p.flow, flow))
    }

    pub fn seen(&self) -> impl Iterator<Item = Seen<'_, S>> {
        self.list.iter().map(|p| Seen { etag: &p.etag, expires: p.expires, flow: &p.flow, document: &p.document })
    }
}

impl Publications {
    /// For [`crate::compose::compose`].
    pub fn sources(&self) -> Vec<Source<'_>> {
        // The first publication over the same flow stands for its device.
        let device = |p: &Publication<Document>| {
            self.list.iter().find(|o| same_flow(&o.flow, &p.flow)).map_or(p.order, |o| o.order)
        };
        let mut sources = Vec::with_capacity(self.list.len());
        for p in &self.list {
            sources.push(Source { document: &p.document, order: p.order, updated: p.updated, device: device(p) });
        }
        sources
    }
}

/// Two requests over the same connection, or from the same address where there is none. A flow to port 0 is that of a
/// device which is known to be behind somebody else's connection: it is nobody's.
pub fn same_flow(a: &Flow, b: &Flow) -> bool {
    match (a.connection, b.connection) {
        (0, 0) if a.remote.port() == 0 => false,
        (0, 0) => a.transport == b.transport && a.remote == b.remote,
        (a, b) => a == b,
    }
}

/// §6 step 5.
fn expires(request: &Message, policy: &Policy) -> Result<u32, Reject> {
    let wanted = request.number(HeaderName::Expires).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    match wanted.unwrap_or(policy.default_expires) {
        0 => Ok(0),
        wanted if wanted < policy.min_expires => Err(Reject::TooBrief { min: policy.min_expires }),
        wanted => Ok(wanted.min(policy.max_expires)),
    }
}

/// §6 step 6: the body, where it is of a type that can be composed.
fn document<S: State>(request: &Message, body: &[u8], policy: &Policy) -> Result<S, Reject> {
    let encoding = request.header(HeaderName::ContentEncoding).map(<[u8]>::trim_ascii);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Reject::Encoding);
    }
    let value = request.header(HeaderName::ContentType).unwrap_or_default();
    if !ContentType::parse(value).is_ok_and(|t| t.is(S::MEDIA_TYPE)) {
        return Err(Reject::MediaType { accept: S::MEDIA_TYPE });
    }
    Ok(S::read(body, &policy.limits)?)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chappe_sip::Transport;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn body(basic: &str) -> String {
        format!(
            "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:b@h'><tuple id='t'><status><basic>{basic}</basic></status></tuple></presence>"
        )
    }

    fn request(headers: &str, body: &str) -> Message {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/pidf+xml\r\n" };
        let text = format!(
            "PUBLISH sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 PUBLISH\r\nEvent: presence\r\n{kind}{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(Bytes::from(text), &chappe_sip::Limits::default()).unwrap()
    }

    fn flow(connection: u64, port: u16) -> Flow {
        let transport = if connection == 0 { Transport::Udp } else { Transport::Tcp };
        Flow { transport, listener: 0, connection, remote: ([192, 0, 2, 1], port).into() }
    }

    /// The publications of a test, where each request gets the next tag: e1, e2, ….
    #[derive(Default)]
    struct Bench {
        all: Publications,
        tags: u32,
    }

    impl Bench {
        fn publish(&mut self, headers: &str, body: &str, now: u64) -> Result<(u32, bool), u16> {
            self.tags += 1;
            let tag = format!("e{}", self.tags).into();
            let done = self.all.publish(&request(headers, body), &Policy::default(), tag, flow(1, 5060), now);
            done.map(|p| (p.expires, p.changed)).map_err(Reject::status)
        }
    }

    #[test]
    fn the_life_of_a_publication() {
        let mut bench = Bench::default();
        for (name, headers, body, expected, left) in [
            ("initial", "Expires: 600\r\n", &*body("open"), Ok((600, true)), 1),
            ("refresh", "SIP-If-Match: e1\r\nExpires: 600\r\n", "", Ok((600, false)), 1),
            ("the tag of before", "SIP-If-Match: e1\r\n", "", Err(412), 1),
            ("modify", "SIP-If-Match: e2\r\n", &body("closed"), Ok((3600, true)), 1),
            ("modify to the same", "SIP-If-Match: e4\r\n", &body("closed"), Ok((3600, false)), 1),
            ("remove", "SIP-If-Match: e5\r\nExpires: 0\r\n", "", Ok((0, true)), 0),
            ("remove again", "SIP-If-Match: e6\r\nExpires: 0\r\n", "", Err(412), 0),
        ] {
            assert_eq!(bench.publish(headers, body, NOW), expected, "{name}");
            assert_eq!(bench.all.len(), left, "{name}");
        }
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut bench = Bench::default();
        bench.publish("Expires: 600\r\n", &body("open"), NOW).unwrap();
        let open = body("open");
        for (name, headers, body, status) in [
            ("neither body nor tag", "", "", 400),
            ("two tags", "SIP-If-Match: e1\r\nSIP-If-Match: e2\r\n", &*open, 400),
            ("unknown tag", "SIP-If-Match: x\r\n", &open, 412),
            ("the tag in quotes", "SIP-If-Match: \"e1\"\r\n", &open, 412),
            ("any tag", "SIP-If-Match: *\r\n", &open, 412),
            ("too brief", "Expires: 59\r\n", &open, 423),
            ("compressed", "Content-Encoding: gzip\r\n", &open, 415),
            ("another type", "", "<presence/>", 400),
            ("not XML", "", "open", 400),
        ] {
            assert_eq!(bench.publish(headers, body, NOW), Err(status), "{name}");
            assert_eq!(bench.all.seen().map(|p| p.etag).collect::<Vec<_>>(), ["e1"], "{name}");
        }
        let long = format!("{}{}", body("open"), " ".repeat(70_000));
        assert_eq!(bench.publish("", &long, NOW), Err(413));
        let text = request("", &open).bytes().to_vec();
        let text = String::from_utf8(text).unwrap().replace("application/pidf+xml", "text/plain");
        let other = Message::parse(Bytes::from(text), &chappe_sip::Limits::default()).unwrap();
        let reject = bench.all.publish(&other, &Policy::default(), "e99".into(), flow(1, 1), NOW).unwrap_err();
        let reply = String::from_utf8(reject.reply(&other, "t").finish().to_vec()).unwrap();
        assert!(reply.contains("415") && reply.contains("\r\nAccept: application/pidf+xml\r\n"), "{reply}");
    }

    #[test]
    fn durations_are_cut_and_run_out() {
        let mut bench = Bench::default();
        assert_eq!(bench.publish("Expires: 99999999999\r\n", &body("open"), NOW), Ok((3600, true)));
        assert_eq!(bench.all.next_expiry(), Some(NOW + 3600));
        assert!(!bench.all.expire(NOW + 3599));
        assert_eq!(bench.publish("SIP-If-Match: e1\r\n", "", NOW + 3600), Err(412), "it has run out");
        assert!(bench.all.is_empty());
        assert_eq!(bench.publish("Expires: 0\r\n", &body("open"), NOW), Ok((0, false)), "over at once");
        assert!(bench.all.is_empty());
    }

    #[test]
    fn a_dead_flow_takes_its_publications_along() {
        let mut all: Publications = Publications::default();
        let policy = Policy::default();
        for (etag, flow) in [("a", flow(7, 1)), ("b", flow(8, 1)), ("c", flow(0, 1)), ("d", flow(0, 2))] {
            all.publish(&request("", &body("open")), &policy, etag.into(), flow, NOW).unwrap();
        }
        let left = |all: &Publications| all.seen().map(|p| p.etag).collect::<String>();
        assert!(all.withdraw(&flow(7, 99)));
        assert_eq!(left(&all), "bcd");
        assert!(!all.withdraw(&flow(7, 1)));
        assert!(all.withdraw(&flow(0, 2)));
        assert_eq!(left(&all), "bc", "over UDP the address is the flow");
        let nobodys = flow(0, 0);
        all.publish(&request("", &body("open")), &policy, "e".into(), nobodys, NOW).unwrap();
        assert!(!all.withdraw(&nobodys) && !all.speaks(&nobodys), "a device behind a proxy has no flow to us");
    }

    #[test]
    fn what_a_device_published_moves_with_it() {
        let mut all: Publications = Publications::default();
        all.publish(&request("", &body("open")), &Policy::default(), "a".into(), flow(7, 1), NOW).unwrap();
        assert!(all.rehome(&flow(7, 1), flow(8, 1)) && !all.rehome(&flow(7, 1), flow(9, 1)));
        assert!(!all.withdraw(&flow(7, 1)) && all.withdraw(&flow(8, 1)));
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let mut all: Publications = Publications::default();
        let policy = Policy { max_publications: 3, ..Policy::default() };
        for n in 0..5 {
            all.publish(&request("", &body("open")), &policy, format!("e{n}").into(), flow(n + 1, 1), NOW).unwrap();
            if n == 2 {
                all.publish(&request("SIP-If-Match: e0\r\n", &body("closed")), &policy, "e0b".into(), flow(1, 1), NOW)
                    .unwrap();
            }
        }
        let left: Vec<&str> = all.seen().map(|p| p.etag).collect();
        assert_eq!(left, ["e0b", "e3", "e4"], "those longest without a word gave way");
    }
}
