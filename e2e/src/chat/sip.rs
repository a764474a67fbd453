//! The SIP side of a device: one TCP connection, requests and what becomes of them.

use std::time::Instant;

use super::text::part;
use super::{Fate, Handset, Kind, Side};
use crate::msrp::Link;
use crate::wire::whole;
use crate::{DOMAIN, Message, Server, digest};

const READ: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Sip {
    pub(super) link: Link,
    input: Vec<u8>,
    pending: Vec<Pending>,
    cseq: u32,
}

/// A request without its final response.
#[derive(Debug)]
struct Pending {
    branch: String,
    request: Request,
    what: What,
    authorized: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) uri: String,
    /// Values of the headers, with their tags.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) call_id: String,
    pub(super) headers: String,
    pub(super) body: String,
}

/// What a response is about.
#[derive(Debug, Clone)]
pub(super) enum What {
    Register,
    /// The outbox entry at that place.
    Page(usize),
    /// The call of that Call-ID.
    Invite,
    Other,
}

impl Handset {
    /// Connects, and asks to be registered.
    ///
    /// # Panics
    /// When the server does not take the connection.
    pub fn on(&mut self, server: &Server) {
        let link = Link::to(server.addr("tcp")).expect("the server listens");
        self.sip = Some(Sip { link, input: Vec::new(), pending: Vec::new(), cseq: 0 });
        let aor = Handset::aor(self.user);
        let request = Request {
            method: "REGISTER",
            uri: format!("sip:{DOMAIN}"),
            from: format!("<{aor}>;tag={}", self.id()),
            to: format!("<{aor}>"),
            call_id: self.id(),
            headers: format!("Contact: {};expires=600\r\nSupported: path, gruu\r\n", self.contact()),
            body: String::new(),
        };
        self.request(request, What::Register);
    }

    pub(super) fn contact(&self) -> String {
        const ICSI: &str = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm";
        let local = self.sip.as_ref().map_or_else(String::new, |sip| sip.link.local().to_string());
        let tags = match self.kind {
            Kind::SimpleIm => "+g.oma.sip-im".to_owned(),
            Kind::Cpm => format!("+g.3gpp.icsi-ref=\"{ICSI}.session,{ICSI}.msg,{ICSI}.largemsg,{ICSI}.deferred\""),
            Kind::Pager => format!("+g.3gpp.icsi-ref=\"{ICSI}.msg\""),
        };
        let instance = format!("00000000-0000-1000-8000-{:06}{:06}", self.user, self.device);
        format!("<sip:user{}@{local};transport=tcp>;+sip.instance=\"<urn:uuid:{instance}>\";{tags}", self.user)
    }

    /// The connection is gone; requests on it have no answer.
    pub(super) fn sip_lost(&mut self) {
        let Some(sip) = self.sip.take() else { return };
        self.registered = false;
        for pending in sip.pending {
            match pending.what {
                What::Page(at) => self.outbox[at].fate = Fate::Waits,
                What::Invite => self.call_failed(&pending.request.call_id),
                What::Register | What::Other => {}
            }
        }
    }

    pub(super) fn request(&mut self, request: Request, what: What) {
        self.attempt(request, what, "");
    }

    fn attempt(&mut self, request: Request, what: What, more: &str) {
        let Some(sip) = &mut self.sip else { return };
        sip.cseq += 1;
        let branch = format!("z9hG4bK{}d{}p{}c{}", self.user, self.device, sip.link.local().port(), sip.cseq);
        let bytes = wire(&request, &branch, sip.cseq, &sip.link, more);
        sip.pending.push(Pending { branch, request, what, authorized: !more.is_empty() });
        self.put(&bytes);
    }

    /// An ACK for this response to an INVITE.
    fn acknowledge(&mut self, invite: &Request, branch: &str, answer: &Message) {
        let Some(sip) = &self.sip else { return };
        let cseq = answer.header("CSeq").and_then(|cseq| cseq.split(' ').next()?.parse().ok()).unwrap_or_default();
        let to = answer.header("To").unwrap_or_default().to_owned();
        let mut ack = Request { method: "ACK", to, headers: String::new(), body: String::new(), ..invite.clone() };
        let mut branch = branch.to_owned();
        if answer.code() < 300 {
            (ack.uri, ack.headers) = target_and_routes(answer);
            branch.push('a');
        }
        let bytes = wire(&ack, &branch, cseq, &sip.link, "");
        self.put(&bytes);
    }

    pub(super) fn put(&mut self, bytes: &str) {
        let limit = self.goes(Side::SipOut, bytes.as_bytes());
        let Some(sip) = &mut self.sip else { return };
        sip.link.put(&bytes.as_bytes()[..limit.unwrap_or(bytes.len())]);
        sip.link.step(&mut sip.input, 0, Instant::now());
        if limit.is_some() {
            self.spring(Side::SipOut, None);
        }
    }

    pub(super) fn read_sip(&mut self, server: &Server) {
        let Some(sip) = &mut self.sip else { return };
        sip.link.step(&mut sip.input, READ, Instant::now());
        while let Some(sip) = &mut self.sip {
            let blank = sip.input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            sip.input.drain(..blank);
            let Some(length) = whole(&sip.input) else { break };
            let message = Message::read(&sip.input.drain(..length).collect::<Vec<_>>());
            if self.comes(Side::SipIn) {
                return self.spring(Side::SipIn, None);
            }
            match message.code() {
                0 => self.asked(server, &message),
                code => self.answered(server, code, &message),
            }
        }
        if self.sip.as_ref().is_some_and(|sip| sip.link.ended) {
            self.sip_lost();
        }
    }

    fn answered(&mut self, server: &Server, code: u16, answer: &Message) {
        let Some(sip) = &mut self.sip else { return };
        let is = |pending: &Pending| pending.branch == answer.branch() && pending.request.method == answer.method();
        let Some(at) = sip.pending.iter().position(is) else {
            // A 2xx that comes again is acknowledged again.
            if answer.method() == "INVITE" && (200..300).contains(&code) {
                let call = answer.header("Call-ID").unwrap_or_default().to_owned();
                if let Some(invite) = self.invite_of(&call) {
                    self.acknowledge(&invite, answer.branch(), answer);
                }
            }
            return;
        };
        if code < 200 {
            return;
        }
        let Pending { branch, request, what, authorized } = sip.pending.remove(at);
        if request.method == "INVITE" {
            self.acknowledge(&request, &branch, answer);
        }
        let asked = match code {
            401 if !authorized => Some(("WWW-Authenticate", "Authorization")),
            407 if !authorized => Some(("Proxy-Authenticate", "Proxy-Authorization")),
            _ => None,
        };
        if let Some((challenge, credentials)) = asked {
            let (user, password) = (format!("user{}", self.user), format!("pass{}", self.user));
            let challenges = answer.all(challenge);
            let value = digest::answer(&challenges, &user, &password, request.method, &request.uri);
            let value = value.unwrap_or_else(|| panic!("no MD5 in {challenges:?}"));
            return self.attempt(request, what, &format!("{credentials}: {value}\r\n"));
        }
        match what {
            What::Register if code == 200 => self.registered = true,
            // Overloaded: it comes again.
            What::Register if code >= 500 => {
                self.off();
                self.rest();
            }
            What::Register => self.fault(format!("REGISTER got {code}")),
            What::Page(at) if matches!(code, 200 | 202) => self.outbox[at].fate = Fate::Taken,
            What::Page(at) => {
                if matches!(code, 400..=407 | 409..=479 | 481..=499) {
                    self.fault(format!("MESSAGE got {code}"));
                }
                self.outbox[at].fate = Fate::Waits;
                self.rest();
            }
            What::Invite => self.invite_answered(server, &request, code, answer),
            What::Other => {}
        }
    }

    fn asked(&mut self, server: &Server, request: &Message) {
        match request.method() {
            "INVITE" => self.invited(server, request),
            "BYE" => {
                self.put(&request.response("200 OK", ""));
                self.call_over(request.header("Call-ID").unwrap_or_default());
            }
            "MESSAGE" => {
                let receipt = request.body.contains("message/imdn+xml");
                if self.kind == Kind::SimpleIm && !receipt {
                    self.fault("a text by MESSAGE for a device of SIMPLE IM".into());
                }
                let content_type = request.header("Content-Type").unwrap_or_default();
                self.content(content_type, &request.body);
                self.put(&request.response("200 OK", ""));
            }
            "ACK" => {}
            _ => self.put(&request.response("200 OK", "")),
        }
    }

    /// A notification or text by MESSAGE.
    pub(super) fn page(&mut self, at: usize) {
        self.outbox[at].fate = Fate::Flies;
        let (body, headers) = (self.envelope(at, false), self.service("msg"));
        let uri = Handset::aor(self.peer);
        let request = Request {
            method: "MESSAGE",
            from: format!("<{}>;tag={}", Handset::aor(self.user), self.id()),
            to: format!("<{uri}>"),
            uri,
            call_id: self.id(),
            headers: format!("{headers}Content-Type: message/cpim\r\n"),
            body,
        };
        self.request(request, What::Page(at));
    }

    /// What requests of its kind say of the service.
    pub(super) fn service(&mut self, service: &str) -> String {
        let (user, peer, contribution) = (self.user.min(self.peer), self.user.max(self.peer), self.id());
        match self.kind {
            Kind::SimpleIm => format!("Accept-Contact: *;+g.oma.sip-im\r\nContribution-ID: {contribution}\r\n"),
            Kind::Cpm | Kind::Pager => {
                let icsi = format!("3gpp-service.ims.icsi.oma.cpm.{service}");
                format!(
                    "Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A{icsi}\"\r\nP-Preferred-Service: urn:urn-7:{icsi}\r\n\
                     Conversation-ID: c{user}-{peer}\r\nContribution-ID: {contribution}\r\n"
                )
            }
        }
    }
}

/// Where requests in the dialog of that message go, and their Route lines.
pub(super) fn target_and_routes(message: &Message) -> (String, String) {
    let contact = message.header("Contact").unwrap_or_default();
    let uri = contact.split_once('<').map_or(contact, |(_, rest)| rest).split('>').next().unwrap_or_default();
    let mut routes = message.all("Record-Route");
    if message.code() != 0 {
        routes.reverse();
    }
    (uri.to_owned(), routes.iter().map(|route| format!("Route: {route}\r\n")).collect())
}

/// The session description of a request or response, and an envelope that came with it.
pub(super) fn bodies(message: &Message) -> (Option<String>, Option<String>) {
    let content_type = message.header("Content-Type").unwrap_or_default();
    let found = |wanted| part(content_type, &message.body, wanted);
    (found("application/sdp"), found("message/cpim"))
}

fn wire(request: &Request, branch: &str, cseq: u32, link: &Link, more: &str) -> String {
    let Request { method, uri, from, to, call_id, headers, body } = request;
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP {};rport;branch={branch}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{headers}{more}Content-Length: {}\r\n\r\n{body}",
        link.local(),
        body.len()
    )
}
