//! Calls of a device: INVITE from either side, and their end.

use super::media::Media;
use super::sip::{Request, What, bodies, target_and_routes};
use super::text::{attribute, description, mixed};
use super::{Fate, Handset, Kind};
use crate::msrp::Link;
use crate::{Message, Server};

#[derive(Debug)]
pub(super) struct Call {
    call_id: String,
    /// The server sends, we do not.
    deferred: bool,
    /// Our INVITE, where it was ours.
    invite: Option<Request>,
    /// What our INVITE carries and nobody has answered yet.
    pub(super) first: Option<usize>,
    /// A BYE from us.
    bye: Option<Request>,
    /// Our own MSRP URI.
    pub(super) own: String,
    pub(super) media: Option<Media>,
}

impl Call {
    pub(super) fn link(&self) -> Option<&Link> {
        self.media.as_ref().map(|media| &media.link)
    }

    pub(super) fn is_open(&self) -> bool {
        self.media.as_ref().is_some_and(|media| media.open)
    }
}

impl Handset {
    /// The session to talk in, or the one that is coming up.
    pub(super) fn main(&self) -> Option<usize> {
        let both_ways = |call: &Call| !call.deferred;
        let open = self.calls.iter().rposition(|call| both_ways(call) && call.is_open());
        open.or_else(|| self.calls.iter().rposition(both_ways))
    }

    fn own(&mut self) -> String {
        format!("msrp://127.0.0.1:9/{};tcp", self.id())
    }

    pub(super) fn invite_of(&self, call_id: &str) -> Option<Request> {
        self.calls.iter().find(|call| call.call_id == call_id)?.invite.clone()
    }

    /// Calls, with what waits at that place of the outbox.
    pub(super) fn invite(&mut self, at: usize) {
        let (own, call_id, uri) = (self.own(), self.id(), Handset::aor(self.peer));
        let sdp = description(&own, "sendrecv");
        let first = (self.kind == Kind::SimpleIm).then_some(at);
        let (content_type, body) = match first {
            Some(at) => {
                self.outbox[at].fate = Fate::Flies;
                mixed(&sdp, &self.envelope(at, true))
            }
            None => ("application/sdp".into(), sdp),
        };
        let headers = self.service("session");
        let headers = format!("Contact: {}\r\n{headers}Content-Type: {content_type}\r\n", self.contact());
        let (from, to) = (format!("<{}>;tag={}", Handset::aor(self.user), self.id()), format!("<{uri}>"));
        let request = Request { method: "INVITE", uri, from, to, call_id: call_id.clone(), headers, body };
        let invite = Some(request.clone());
        self.calls.push(Call { call_id, deferred: false, invite, first, bye: None, own, media: None });
        self.request(request, What::Invite);
    }

    pub(super) fn invite_answered(&mut self, server: &Server, invite: &Request, code: u16, answer: &Message) {
        let Some(at) = self.calls.iter().position(|call| call.call_id == invite.call_id) else { return };
        if code >= 300 {
            if !matches!(code, 408 | 480 | 486 | 487 | 491 | 500..=599) {
                self.fault(format!("INVITE got {code}"));
            }
            self.rest();
            return self.call_failed(&invite.call_id);
        }
        if let Some(first) = self.calls[at].first.take() {
            self.outbox[first].fate = Fate::Taken;
        }
        let (uri, headers) = target_and_routes(answer);
        let to = answer.header("To").unwrap_or_default().to_owned();
        let bye = Request { method: "BYE", uri, to, headers, body: String::new(), ..invite.clone() };
        self.calls[at].bye = Some(bye);
        let Some(path) = bodies(answer).0.as_deref().and_then(|sdp| attribute(sdp, "path")).map(str::to_owned) else {
            return self.fault(format!("a 2xx without a session: {answer:?}"));
        };
        self.connect(server, at, &path);
    }

    pub(super) fn invited(&mut self, server: &Server, invite: &Message) {
        let call_id = invite.header("Call-ID").unwrap_or_default().to_owned();
        if self.kind == Kind::Pager {
            return self.put(&invite.response("405 Method Not Allowed", "Allow: MESSAGE, OPTIONS\r\n"));
        }
        if invite.header("To").is_some_and(|to| to.contains(";tag=")) {
            return self.put(&invite.response("488 Not Acceptable Here", ""));
        }
        let (sdp, cpim) = bodies(invite);
        let deferred = invite.all("P-Asserted-Identity").iter().any(|value| value.contains("rcse-standfw"));
        let path = sdp.as_deref().and_then(|sdp| attribute(sdp, "path"));
        let Some(path) = path.map(str::to_owned) else {
            self.fault(format!("an INVITE without a session: {invite:?}"));
            return self.put(&invite.response("488 Not Acceptable Here", ""));
        };
        if self.kind == Kind::SimpleIm && !deferred {
            // What rcsjta does with a second session: its own call that nobody has answered goes before, others end.
            if let Some(other) = self.main() {
                if self.calls[other].bye.is_none() {
                    return self.put(&invite.response("486 Busy Here", ""));
                }
                self.hang_up(other);
            }
        }
        if let Some(cpim) = cpim {
            self.content("message/cpim", &cpim);
        }
        let own = self.own();
        let sdp = description(&own, if deferred { "recvonly" } else { "sendrecv" });
        let answer =
            invite.response_with("200 OK", &format!("Contact: {}\r\n", self.contact()), "application/sdp", &sdp);
        let from = Message::read(answer.as_bytes()).header("To").unwrap_or_default().to_owned();
        let (uri, headers) = target_and_routes(invite);
        let to = invite.header("From").unwrap_or_default().to_owned();
        let bye = Request { method: "BYE", uri, from, to, call_id: call_id.clone(), headers, body: String::new() };
        self.calls.push(Call { call_id, deferred, invite: None, first: None, bye: Some(bye), own, media: None });
        self.put(&answer);
        // The link may have broken.
        if !self.calls.is_empty() {
            self.connect(server, self.calls.len() - 1, &path);
        }
    }

    /// An INVITE of ours has come to nothing: what it carried waits again.
    pub(super) fn call_failed(&mut self, call_id: &str) {
        self.call_over(call_id);
    }

    /// A call is over, without a word from us.
    pub(super) fn call_over(&mut self, call_id: &str) {
        if let Some(at) = self.calls.iter().position(|call| call.call_id == call_id) {
            // What came before the end counts.
            self.read_media_of(at);
            if let Some(at) = self.calls.iter().position(|call| call.call_id == call_id) {
                self.drop_call(at);
            }
        }
    }

    fn drop_call(&mut self, at: usize) -> Call {
        let call = self.calls.remove(at);
        let flying = call.media.iter().flat_map(|media| media.flying.iter().map(|(_, at)| *at));
        for at in flying.chain(call.first).collect::<Vec<_>>() {
            self.outbox[at].fate = Fate::Waits;
        }
        call
    }

    /// Ends a call.
    fn hang_up(&mut self, at: usize) {
        if let Some(bye) = self.drop_call(at).bye {
            self.request(bye, What::Other);
        }
    }

    /// The MSRP connection of a call is gone, and the call goes too.
    pub(super) fn media_lost(&mut self, at: usize) {
        self.hang_up(at);
    }
}
