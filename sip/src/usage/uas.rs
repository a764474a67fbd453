//! The side that is called (RFC 3261 §13.3): provisional answers, the 2xx that is repeated until its ACK, CANCEL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::timer::{Agreed, SessionTimer, TooSmall};
use super::{Body, End, Event, Output, Phase, Policy, Refused, Usage};
use crate::dialog::Dialog;
use crate::layer::ServerKey;
use crate::message::Message;
use crate::name::{HeaderName, Method};
use crate::reply::Reply;

/// A provisional answer is repeated so often, or a proxy takes the call for dead (§13.3.1.1).
const AGAIN: Duration = Duration::from_secs(60);

/// An INVITE that comes in.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    pub key: ServerKey,
    pub request: &'a Arc<Message>,
    /// Goes into our answers.
    pub local_tag: &'a str,
    /// Our Contact value with its angle brackets.
    pub contact: &'a str,
    /// It came over TLS.
    pub secure: bool,
    /// A number that nobody can foresee.
    pub random: u64,
}

/// An INVITE without a final answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) key: ServerKey,
    pub(super) request: Arc<Message>,
    /// When the last provisional answer goes once more.
    pub(super) repeat: Option<(Instant, u16, Bytes)>,
}

/// A 2xx that waits for its ACK.
#[derive(Debug)]
pub(super) struct Unacked {
    key: ServerKey,
    cseq: u32,
    bytes: Bytes,
    pub(super) next: Instant,
    interval: Duration,
    pub(super) until: Instant,
    /// That of the INVITE that made the call.
    pub(super) first: bool,
}

impl Usage {
    /// A call that comes in; nothing is answered yet.
    pub fn incoming(policy: &Policy, new: Incoming<'_>) -> Result<Usage, Refused> {
        let Incoming { key, request, local_tag, contact, secure, random } = new;
        let dialog = Dialog::uas(request, local_tag, secure)?;
        Agreed::as_uas(request, policy.session_expires, policy.min_se)
            .map_err(|TooSmall { min }| Refused::TooSmall { min })?;
        let incoming = Unanswered { key, request: Arc::clone(request), repeat: None };
        let mut usage = Usage::new(policy.clone(), contact, Phase::Incoming(incoming), random);
        usage.dialog = Some(dialog);
        usage.note_allow(request);
        Ok(usage)
    }

    /// A provisional answer, 101-199, which makes an early dialog; `headers` are whole lines.
    pub fn ring(&mut self, now: Instant, status: u16, headers: &str) {
        let (Phase::Incoming(incoming), Some(dialog)) = (&mut self.phase, &self.dialog) else { return };
        let key = incoming.key;
        let bytes = Reply::new(&incoming.request, status, &dialog.id.local_tag)
            .copy(&incoming.request, HeaderName::RecordRoute)
            .header(HeaderName::Contact, &self.contact)
            .lines(headers)
            .finish();
        incoming.repeat = Some((now + AGAIN, status, bytes.clone()));
        self.outputs.push_back(Output::Respond { key, status, bytes });
    }

    /// Takes the call: 200 with our description.
    pub fn accept(&mut self, now: Instant, body: Body, headers: &str) {
        if !matches!(self.phase, Phase::Incoming(_)) {
            return;
        }
        let Phase::Incoming(incoming) = std::mem::replace(&mut self.phase, Phase::Up) else { return };
        self.local = Some(body);
        self.take_invite(now, incoming.key, &incoming.request, headers, true);
    }

    /// Refuses the call with 300-699.
    pub fn reject(&mut self, status: u16, headers: &str) {
        let (Phase::Incoming(incoming), Some(dialog)) = (&self.phase, &self.dialog) else { return };
        let key = incoming.key;
        let bytes = Reply::new(&incoming.request, status, &dialog.id.local_tag).lines(headers).finish();
        self.outputs.push_back(Output::Respond { key, status, bytes });
        self.ended(End::Ours, None);
    }

    /// Takes a CANCEL, which has been answered itself, of the INVITE `key`; too late, it changes nothing (§9.2).
    pub fn handle_cancel(&mut self, key: ServerKey, cancel: &Message) {
        // An INVITE within the call is given up, and the call goes on.
        if let Some((_, request)) = self.held.take_if(|(held, _)| *held == key) {
            return self.reply(key, &request, 487);
        }
        let reason = cancel.header(HeaderName::Reason).map(String::from_utf8_lossy);
        self.abandon(End::Cancelled, reason.as_deref());
    }

    /// The caller gave up: 487.
    pub(super) fn abandon(&mut self, why: End, reason: Option<&str>) {
        let Phase::Incoming(incoming) = &self.phase else { return };
        let (key, request) = (incoming.key, Arc::clone(&incoming.request));
        self.reply(key, &request, 487);
        self.ended(why, reason);
    }

    /// Takes an ACK of this dialog.
    pub fn handle_ack(&mut self, ack: &Arc<Message>) {
        let Some(unacked) = self.unacked.take_if(|unacked| unacked.cseq == ack.cseq()) else { return };
        if !ack.body().is_empty() {
            self.remote = super::description(ack);
        }
        if unacked.first {
            self.events.push_back(Event::Established(Arc::clone(ack)));
        }
        if let Some(reason) = self.bye_wanted.take() {
            self.hang_up(End::Ours, reason.as_deref());
        }
    }

    /// Answers an INVITE with 200 and our description, and repeats that until the ACK comes (§13.3.1.4): end to end, as
    /// there may be UDP further on.
    pub(super) fn take_invite(&mut self, now: Instant, key: ServerKey, request: &Message, headers: &str, first: bool) {
        let reply = self.take(now, request, first).lines(headers);
        let bytes = match &self.local {
            Some(body) => reply.finish_with(&body.content_type, &body.bytes),
            None => reply.finish(),
        };
        let (t1, timeout) = (self.policy.timers.t1, self.policy.timers.timeout());
        let (next, until) = (now + t1, now + timeout);
        let (cseq, interval) = (request.cseq(), t1);
        self.unacked = Some(Unacked { key, cseq, bytes: bytes.clone(), next, interval, until, first });
        self.outputs.push_back(Output::Respond { key, status: 200, bytes });
    }

    /// The head of a 200 to an INVITE or UPDATE, which refreshes the target and the session.
    pub(super) fn take(&mut self, now: Instant, request: &Message, first: bool) -> Reply {
        if !request.body().is_empty() {
            self.remote = super::description(request);
        }
        self.note_allow(request);
        let agreed = Agreed::as_uas(request, self.policy.session_expires, self.policy.min_se).unwrap_or_default();
        self.session = agreed.map(|agreed| SessionTimer::start(now, agreed, false));
        let Some(dialog) = &mut self.dialog else { return Reply::new(request, 200, "") };
        if !first {
            // What cannot be read leaves the old one.
            let _ = dialog.refresh_target(request);
        }
        let mut reply = Reply::new(request, 200, &dialog.id.local_tag);
        if first {
            reply = reply.copy(request, HeaderName::RecordRoute);
        }
        let mut reply = reply
            .header(HeaderName::Contact, &self.contact)
            .header(HeaderName::Allow, self.policy.allow)
            .header(HeaderName::Supported, "timer");
        if let Some(agreed) = agreed {
            if agreed.refresher == crate::header::Refresher::Uac {
                reply = reply.header(HeaderName::Require, "timer");
            }
            reply = reply.header(HeaderName::SessionExpires, &agreed.value());
        }
        reply
    }

    pub(super) fn note_allow(&mut self, message: &Message) {
        if message.header(HeaderName::Allow).is_some() {
            self.updates = message.values(HeaderName::Allow).any(|method| Method::of(method) == Method::Update);
        }
    }

    pub(super) fn uas_timeout(&mut self, now: Instant) {
        if let Phase::Incoming(Unanswered { key, repeat: Some((at, status, bytes)), .. }) = &mut self.phase
            && *at <= now
        {
            *at = now + AGAIN;
            self.outputs.push_back(Output::Respond { key: *key, status: *status, bytes: bytes.clone() });
        }
        let Some(unacked) = &mut self.unacked else { return };
        if unacked.until <= now {
            // §13.3.1.4: the dialog is there, but the peer may not know.
            let why = if self.bye_wanted.is_some() { End::Ours } else { End::NoAck };
            let reason = self.bye_wanted.take().flatten();
            self.hang_up(why, reason.as_deref());
        } else if unacked.next <= now {
            unacked.interval = (unacked.interval * 2).min(self.policy.timers.t2);
            unacked.next = now + unacked.interval;
            let (key, bytes) = (unacked.key, unacked.bytes.clone());
            self.outputs.push_back(Output::Respond { key, status: 200, bytes });
        }
    }
}
