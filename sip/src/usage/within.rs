//! Requests within the call, of either side (RFC 3261 §12.2, §14, §15; RFC 3311; RFC 4028 §10).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::timer::{Agreed, SessionTimer, TooSmall, min_se};
use super::{
    Body, End, Event, Kind, MAX_PENDING, NotNow, Output, Pending, Phase, REINVITE, RequestId, Retry, Usage, outgoing,
};
use crate::dialog::Draft;
use crate::header::ContentType;
use crate::layer::ServerKey;
use crate::message::Message;
use crate::name::{HeaderName, Method};
use crate::reply::Reply;

/// A refresh that failed for a reason that may pass is tried again after this time at least.
const REFRESH_AGAIN: Duration = Duration::from_secs(10);

impl Usage {
    /// Takes a request of this dialog, but no ACK and no CANCEL.
    pub fn handle_request(&mut self, now: Instant, key: ServerKey, request: &Arc<Message>) {
        let method = request.method();
        if self.has_ended() {
            return self.reply(key, request, if method == Method::Bye { 200 } else { 481 });
        }
        let Some(dialog) = &mut self.dialog else { return self.reply(key, request, 481) };
        if let Err(error) = dialog.receive(request) {
            return self.reply(key, request, error.status());
        }
        match method {
            Method::Bye => {
                self.reply(key, request, 200);
                let reason = request.header(HeaderName::Reason).map(String::from_utf8_lossy);
                match self.phase {
                    Phase::Incoming(_) => self.abandon(End::Peer, reason.as_deref()),
                    _ => self.ended(End::Peer, reason.as_deref()),
                }
            }
            Method::Invite | Method::Update => self.handle_offer(now, key, request),
            // We send nothing reliably.
            Method::Prack => self.reply(key, request, 481),
            _ => self.events.push_back(Event::Request { key, request: Arc::clone(request) }),
        }
    }

    /// An INVITE or UPDATE within the dialog.
    fn handle_offer(&mut self, now: Instant, key: ServerKey, request: &Arc<Message>) {
        let invite = request.method() == Method::Invite;
        let has_offer = !request.body().is_empty();
        let ours = self.pending.iter().any(|p| !p.answered && matches!(p.kind, Kind::Reinvite { .. } | Kind::Update));
        // §14.2: the first one is still unanswered.
        if self.held.is_some() || matches!(self.phase, Phase::Incoming(_)) && (invite || has_offer) {
            let wait = self.below(11).to_string();
            let reply = Reply::new(request, 500, "").header(HeaderName::RetryAfter, &wait);
            return self.outputs.push_back(Output::Respond { key, status: 500, bytes: reply.finish() });
        }
        // Ours is under way, or its ACK; an UPDATE without an offer collides with nothing (RFC 3311 §5.2).
        if (ours || self.unacked.is_some()) && (invite || has_offer) {
            return self.reply(key, request, 491);
        }
        if let Err(TooSmall { min }) = Agreed::as_uas(request, self.policy.session_expires, self.policy.min_se) {
            let reply = Reply::new(request, 422, "").header(HeaderName::MinSe, &min.to_string());
            return self.outputs.push_back(Output::Respond { key, status: 422, bytes: reply.finish() });
        }
        let is_multipart = || {
            let content_type = request.header(HeaderName::ContentType).unwrap_or_default();
            ContentType::parse(content_type).is_ok_and(|content_type| content_type.is_multipart())
        };
        let says_more = || request.header(HeaderName::Subject).is_some() || is_multipart();
        let speaks = invite && self.hears_subjects && says_more();
        if speaks || has_offer && super::description(request) != self.remote {
            self.held = Some((key, Arc::clone(request)));
            return self.events.push_back(Event::Offer(Arc::clone(request)));
        }
        // A refresh: what was agreed stays.
        if invite {
            self.take_invite(now, key, request, "", false);
        } else {
            let reply = self.take(now, request, false);
            let bytes = match &self.local {
                Some(body) if has_offer => reply.finish_with(&body.content_type, &body.bytes),
                _ => reply.finish(),
            };
            self.outputs.push_back(Output::Respond { key, status: 200, bytes });
        }
    }

    /// Answers the offer that [`Event::Offer`] brought: with our description, or with a refusal, which leaves the
    /// session as it was.
    pub fn answer_offer(&mut self, now: Instant, answer: Result<Body, u16>) {
        let Some((key, request)) = self.held.take() else { return };
        match answer {
            Err(status) => self.reply(key, &request, status),
            Ok(body) => {
                self.local = Some(body);
                if request.method() == Method::Invite {
                    return self.take_invite(now, key, &request, "", false);
                }
                let reply = self.take(now, &request, false);
                let bytes = match &self.local {
                    Some(body) => reply.finish_with(&body.content_type, &body.bytes),
                    None => reply.finish(),
                };
                self.outputs.push_back(Output::Respond { key, status: 200, bytes });
            }
        }
    }

    /// Whether what [`Event::Offer`] brought would leave the session as it is.
    pub fn is_offer_unchanged(&self) -> bool {
        let is_same = |request: &Message| request.body().is_empty() || super::description(request) == self.remote;
        self.held.as_ref().is_some_and(|(_, request)| is_same(request))
    }

    /// Answers what [`Event::Offer`] brought with what was agreed before; 488 where it offers something else.
    pub fn answer_unchanged(&mut self, now: Instant) {
        if !self.is_offer_unchanged() {
            return self.answer_offer(now, Err(488));
        }
        let Some((key, request)) = self.held.take() else { return };
        if request.method() == Method::Invite {
            self.take_invite(now, key, &request, "", false);
        } else {
            let reply = self.take(now, &request, false);
            self.outputs.push_back(Output::Respond { key, status: 200, bytes: reply.finish() });
        }
    }

    /// Answers a request that [`Event::Request`] brought.
    pub fn respond(&mut self, key: ServerKey, request: &Message, status: u16, headers: &str) {
        let bytes = Reply::new(request, status, "").lines(headers).finish();
        self.outputs.push_back(Output::Respond { key, status, bytes });
    }

    /// Offers another session to the peer with a re-INVITE.
    pub fn offer(&mut self, now: Instant, body: Body) -> Result<(), NotNow> {
        if !self.is_up() {
            return Err(NotNow::NoCall);
        }
        if self.is_negotiating() || self.retry.is_some() {
            return Err(NotNow::Busy);
        }
        self.send_offer(now, "INVITE", Some(body), Kind::Reinvite { offer: true });
        Ok(())
    }

    /// Sends a request of another method within the call.
    pub fn request(&mut self, method: &str, headers: &str, body: Option<&Body>) -> Result<RequestId, NotNow> {
        if !self.is_up() {
            return Err(NotNow::NoCall);
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(NotNow::Busy);
        }
        let lines = |draft: Draft| draft.lines(headers);
        self.send(method, Kind::Other, lines, body).ok_or(NotNow::NoCall)
    }

    fn is_negotiating(&self) -> bool {
        let ours = |p: &Pending| !p.answered && matches!(p.kind, Kind::Reinvite { .. } | Kind::Update);
        self.held.is_some() || self.unacked.is_some() || self.pending.iter().any(ours)
    }

    fn send(
        &mut self,
        method: &str,
        kind: Kind,
        write: impl FnOnce(Draft) -> Draft,
        body: Option<&Body>,
    ) -> Option<RequestId> {
        let id = self.next_id();
        let dialog = self.dialog.as_mut()?;
        let draft = write(dialog.request(method, ""));
        let bytes = match body {
            Some(body) => draft.finish_with(&body.content_type, &body.bytes),
            None => draft.finish(),
        };
        let cseq = dialog.local_seq().unwrap_or_default();
        self.pending.push(Pending { id, kind, cseq, answered: false, cancel_at: None });
        self.outputs.push_back(Output::Request(outgoing(dialog, id, method, bytes)));
        Some(id)
    }

    /// An INVITE or UPDATE of ours; the session timer keeps its interval and its refresher (RFC 4028 §7.4).
    fn send_offer(&mut self, now: Instant, method: &str, body: Option<Body>, kind: Kind) {
        let session = self.session.map(|timer| {
            let refresher = if timer.refresh.is_some() { "uac" } else { "uas" };
            format!("{};refresher={refresher}", timer.seconds)
        });
        let (contact, allow, min_se) = (self.contact.clone(), self.policy.allow, self.min_se);
        let write = |draft: Draft| {
            let draft = draft.header(HeaderName::Contact, &contact).header(HeaderName::Allow, allow);
            let draft = draft.header(HeaderName::Supported, "timer");
            let Some(value) = &session else { return draft };
            let draft = draft.header(HeaderName::SessionExpires, value);
            match min_se {
                Some(min) => draft.header(HeaderName::MinSe, &min.to_string()),
                None => draft,
            }
        };
        let id = self.send(method, kind, write, body.as_ref());
        if let Some(pending) =
            self.pending.iter_mut().find(|p| Some(p.id) == id && matches!(kind, Kind::Reinvite { .. }))
        {
            pending.cancel_at = Some(now + REINVITE);
        }
        if let (Kind::Reinvite { offer: true }, Some(body)) = (kind, body) {
            self.retry = Some(Retry { at: None, body });
        }
    }

    /// Sends BYE and tells the application that the call is over.
    pub(super) fn hang_up(&mut self, why: End, reason: Option<&str>) {
        self.ended(why, reason);
        let Some(mut dialog) = self.dialog.take() else { return };
        self.phase = Phase::Ending;
        self.bye(&mut dialog, reason);
        self.dialog = Some(dialog);
    }

    /// Takes a response to a request of ours.
    pub fn handle_response(&mut self, now: Instant, id: RequestId, response: &Message) {
        let response = Arc::new(response.clone());
        let Some(pending) = self.pending.iter_mut().find(|p| p.id == id && p.cseq == response.cseq()) else { return };
        let (kind, status, again) = (pending.kind, response.status(), pending.answered);
        if kind == Kind::Invite {
            return self.invite_response(now, id, &response);
        }
        if status < 200 {
            return;
        }
        let reinvite = matches!(kind, Kind::Reinvite { .. });
        if reinvite && status < 300 {
            (pending.answered, pending.cancel_at) = (true, None);
            if let Some(dialog) = &mut self.dialog {
                let _ = dialog.refresh_target(&response);
                let ack = outgoing(dialog, id, "ACK", dialog.ack("", response.cseq()).finish());
                self.outputs.push_back(Output::Ack(ack));
            }
            if again {
                return;
            }
        } else {
            self.pending.retain(|p| p.id != id);
        }
        self.answered(now, id, kind, status, Some(&response));
    }

    /// No response came: 408 for a timeout, 503 where the request could not be sent.
    pub fn handle_failure(&mut self, now: Instant, id: RequestId, status: u16) {
        let Some(at) = self.pending.iter().position(|p| p.id == id) else { return };
        let pending = self.pending.remove(at);
        match pending.kind {
            _ if pending.answered => {}
            Kind::Invite => self.invite_failed(status, None),
            kind => self.answered(now, id, kind, status, None),
        }
    }

    /// The transaction of an INVITE of ours is over: no more copies of its 2xx.
    pub fn handle_transaction_ended(&mut self, id: RequestId) {
        self.pending.retain(|p| p.id != id);
        if matches!(self.phase, Phase::Ending) && self.pending.is_empty() {
            self.phase = Phase::Over;
        }
    }

    fn answered(&mut self, now: Instant, id: RequestId, kind: Kind, status: u16, response: Option<&Arc<Message>>) {
        if self.has_ended() {
            return;
        }
        if kind == Kind::Other {
            self.events.push_back(Event::Response { id, status });
        }
        if ends_call(kind, status) {
            return self.hang_up(End::Gone { status }, None);
        }
        match (kind, status, response) {
            (Kind::Reinvite { .. } | Kind::Update, 200..=299, Some(response)) => {
                self.note_allow(response);
                if kind == Kind::Update
                    && let Some(dialog) = &mut self.dialog
                {
                    let _ = dialog.refresh_target(response);
                }
                self.session = Agreed::as_uac(response).map(|agreed| SessionTimer::start(now, agreed, true));
                if !response.body().is_empty() {
                    self.remote = super::description(response);
                }
                if let (Kind::Reinvite { offer: true }, Some(Retry { body, .. })) = (kind, self.retry.take()) {
                    self.local = Some(body);
                    self.events.push_back(Event::OfferAnswered(Arc::clone(response)));
                }
            }
            (Kind::Reinvite { offer: true }, 491, _) => {
                let at = now + self.glare();
                if let Some(retry) = &mut self.retry {
                    retry.at = Some(at);
                }
            }
            (Kind::Reinvite { offer: true }, ..) => {
                self.retry = None;
                self.events.push_back(Event::OfferRefused { status });
            }
            (Kind::Reinvite { .. } | Kind::Update, ..) => self.refresh_failed(now, kind, status, response),
            (Kind::Invite | Kind::Bye | Kind::Other, ..) => {}
        }
    }

    /// §14.1: who made the Call-ID waits for longer.
    fn glare(&mut self) -> Duration {
        let (least, steps) = if self.caller { (2100, 191) } else { (0, 201) };
        Duration::from_millis(least + 10 * self.below(steps))
    }

    fn refresh_failed(&mut self, now: Instant, kind: Kind, status: u16, response: Option<&Arc<Message>>) {
        let glare = self.glare();
        let Some(session) = &mut self.session else { return };
        let again = match (status, response) {
            (491, _) => now + glare,
            (422, Some(response)) => {
                let Some(min) = min_se(response).filter(|min| *min > session.seconds && *min <= 86_400) else { return };
                session.seconds = min;
                self.min_se = Some(min);
                now
            }
            // The peer does not know UPDATE after all.
            (405 | 501, _) if kind == Kind::Update => {
                self.updates = false;
                now
            }
            _ => now + (session.gives_up.saturating_duration_since(now) / 2).max(REFRESH_AGAIN),
        };
        if session.refresh.is_some() {
            session.refresh = Some(again);
        }
    }

    pub(super) fn session_timeout(&mut self, now: Instant) {
        let Some(session) = self.session else { return };
        if session.gives_up <= now {
            return self.hang_up(End::Expired, Some("SIP;cause=408;text=\"Session Expired\""));
        }
        if session.refresh.is_none_or(|at| at > now) {
            return;
        }
        let busy = self.is_negotiating();
        if let Some(session) = &mut self.session {
            // Set anew by the answer.
            session.refresh = Some(if busy { now + self.policy.timers.t2 } else { session.gives_up });
        }
        if busy {
            return;
        }
        if self.updates {
            self.send_offer(now, "UPDATE", None, Kind::Update);
        } else {
            self.send_offer(now, "INVITE", self.local.clone(), Kind::Reinvite { offer: false });
        }
    }

    pub(super) fn retry_timeout(&mut self, now: Instant) {
        let Some(retry) = self.retry.take_if(|retry| retry.at.is_some_and(|at| at <= now)) else { return };
        if self.is_negotiating() {
            self.retry = Some(Retry { at: Some(now + self.policy.timers.t1), ..retry });
        } else {
            self.send_offer(now, "INVITE", Some(retry.body), Kind::Reinvite { offer: true });
        }
    }
}

/// Whether the answer to a request within the dialog means that the call is no more (RFC 3261 §12.2.1.2, RFC 5057
/// §5.1) (u): some answers concern the dialog, some only those methods that the call consists of.
pub(super) fn ends_call(kind: Kind, status: u16) -> bool {
    match status {
        404 | 408 | 410 | 416 | 481..=485 | 502 | 604 => true,
        480 => matches!(kind, Kind::Reinvite { .. } | Kind::Update),
        _ => false,
    }
}
