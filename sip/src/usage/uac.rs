//! The side that calls (RFC 3261 §13.2): the INVITE, its branches, the ACK to each 2xx, and the wish to stop.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::timer::{Agreed, SessionTimer, min_se};
use super::{Body, End, Event, Kind, Outgoing, Output, Pending, Phase, Policy, RequestId, Usage, outgoing};
use crate::dialog::Dialog;
use crate::message::Message;
use crate::name::HeaderName;
use crate::transaction::reread;

/// Branches of one INVITE that may answer with 2xx beyond the first; the copies of others are left alone.
const MAX_LOSERS: usize = 16;

/// An INVITE to send.
#[derive(Debug, Clone)]
pub struct NewInvite<'a> {
    pub request_uri: &'a str,
    /// Route values, comma-separated; empty for none.
    pub route: &'a str,
    /// URIs, without brackets and tags.
    pub from: &'a str,
    pub to: &'a str,
    pub tag: &'a str,
    pub call_id: &'a str,
    /// Our Contact value with its angle brackets.
    pub contact: &'a str,
    /// Whole lines.
    pub headers: &'a str,
    pub body: Body,
    /// When the INVITE is cancelled if nobody has answered.
    pub gives_up: Duration,
    pub secure: bool,
    /// A number that nobody can foresee.
    pub random: u64,
}

/// An INVITE of ours without a 2xx.
#[derive(Debug)]
pub(super) struct Calling {
    id: RequestId,
    /// The head without CSeq and what belongs to the session timer.
    head: Box<str>,
    next_hop: Box<str>,
    direct: bool,
    /// As it was sent, for the dialog that it makes.
    invite: Option<Arc<Message>>,
    pub(super) gives_up: Instant,
    /// It is not wanted any more: a 2xx that crosses is acknowledged and ended.
    pub(super) cancelled: bool,
    /// A 422 has been obeyed.
    raised: bool,
    secure: bool,
}

/// The 2xx of an INVITE beyond the first.
#[derive(Debug, Default)]
pub(super) struct Forks {
    invite: Option<(Arc<Message>, bool)>,
    losers: SmallVec<[Dialog; 0]>,
}

impl Usage {
    /// Calls somebody: the INVITE is the first output.
    pub fn outgoing(policy: &Policy, now: Instant, new: NewInvite<'_>) -> Usage {
        let mut head = format!("INVITE {} SIP/2.0\r\n", new.request_uri);
        if !new.route.is_empty() {
            let _ = write!(head, "Route: {}\r\n", new.route);
        }
        let NewInvite { from, to, tag, call_id, contact, headers, .. } = new;
        let _ = write!(
            head,
            "Max-Forwards: 70\r\nFrom: <{from}>;tag={tag}\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\n\
             Contact: {contact}\r\nAllow: {}\r\nSupported: timer\r\n{headers}",
            policy.allow
        );
        let first = crate::text::list(new.route.as_bytes()).next();
        let first = first.and_then(|value| crate::header::NameAddr::parse(value).ok());
        let first = first.map(|address| String::from_utf8_lossy(address.uri).into_owned());
        let calling = Calling {
            id: RequestId(0),
            head: head.into(),
            direct: first.is_none(),
            next_hop: first.unwrap_or_else(|| new.request_uri.to_owned()).into(),
            invite: None,
            gives_up: now + new.gives_up,
            cancelled: false,
            raised: false,
            secure: new.secure,
        };
        let mut usage = Usage::new(policy.clone(), contact, Phase::Calling(calling), new.random);
        usage.caller = true;
        usage.local = Some(new.body);
        usage.send_invite(1, (policy.session_expires > 0).then_some((policy.session_expires, None)));
        usage
    }

    /// Sends the INVITE with Session-Expires and Min-SE where there are any.
    fn send_invite(&mut self, cseq: u32, session: Option<(u32, Option<u32>)>) {
        let id = self.next_id();
        let (Phase::Calling(calling), Some(body)) = (&mut self.phase, &self.local) else { return };
        let mut text = String::from(&*calling.head);
        let _ = write!(text, "CSeq: {cseq} INVITE\r\n");
        if let Some((seconds, min)) = session {
            let _ = write!(text, "Session-Expires: {seconds}\r\n");
            let _ = min.map_or(Ok(()), |min| write!(text, "Min-SE: {min}\r\n"));
        }
        let _ = write!(text, "Content-Type: {}\r\nContent-Length: {}\r\n\r\n", body.content_type, body.bytes.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&body.bytes);
        let bytes = Bytes::from(bytes);
        calling.id = id;
        calling.invite = reread(&bytes).map(Arc::new);
        let request = Outgoing {
            id,
            method: "INVITE".into(),
            next_hop: calling.next_hop.clone(),
            direct: calling.direct,
            secure: calling.secure,
            bytes,
        };
        self.pending.push(Pending { id, kind: Kind::Invite, cseq, answered: false, cancel_at: None });
        self.outputs.push_back(Output::Request(request));
    }

    /// Takes the wish to stop calling (§9.1); the final response ends the call.
    pub(super) fn cancel(&mut self, reason: Option<&str>) {
        let Phase::Calling(calling) = &mut self.phase else { return };
        if !std::mem::replace(&mut calling.cancelled, true) {
            self.outputs.push_back(Output::Cancel { id: calling.id, reason: reason.map(Into::into) });
        }
    }

    pub(super) fn calling_timeout(&mut self, now: Instant) {
        if let Phase::Calling(calling) = &self.phase
            && calling.gives_up <= now
        {
            self.cancel(Some("SIP;cause=408;text=\"Request Timeout\""));
        }
    }

    /// A response to the INVITE that made the call.
    pub(super) fn invite_response(&mut self, now: Instant, id: RequestId, response: &Arc<Message>) {
        match response.status() {
            ..=100 => {}
            101..=199 => {
                if matches!(self.phase, Phase::Calling(_)) {
                    self.events.push_back(Event::Ringing(Arc::clone(response)));
                }
            }
            200..=299 => self.invite_taken(now, id, response),
            status => {
                self.pending.retain(|pending| pending.id != id);
                if status == 422 && self.raise(response) {
                    return;
                }
                self.invite_failed(status, Some(response));
            }
        }
    }

    /// The INVITE came to nothing.
    pub(super) fn invite_failed(&mut self, status: u16, response: Option<&Arc<Message>>) {
        let Phase::Calling(calling) = &self.phase else { return };
        let why = match calling.cancelled {
            true => End::Ours,
            false => End::Failed { status, response: response.cloned() },
        };
        self.ended(why, None);
    }

    /// Calls again with the interval that a 422 asks for, once (RFC 4028 §7.3).
    fn raise(&mut self, response: &Message) -> bool {
        let Phase::Calling(calling) = &mut self.phase else { return false };
        let Some(min) = min_se(response).filter(|min| *min <= 86_400) else { return false };
        if calling.cancelled || std::mem::replace(&mut calling.raised, true) {
            return false;
        }
        self.min_se = Some(min);
        let cseq = calling.invite.as_ref().map_or(1, |invite| invite.cseq());
        let seconds = self.policy.session_expires.max(min);
        self.send_invite(cseq + 1, Some((seconds, Some(min))));
        true
    }

    fn invite_taken(&mut self, now: Instant, id: RequestId, response: &Arc<Message>) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) {
            pending.answered = true;
        }
        if matches!(self.phase, Phase::Calling(_)) {
            return self.first_taken(now, id, response);
        }
        let Some((invite, secure)) = self.forks.invite.clone() else { return };
        let same = |dialog: &Dialog| dialog.id.remote_tag.as_bytes() == response.to_tag();
        // §13.2.2.4: an ACK for each copy.
        if let Some(dialog) = self.dialog.as_ref().filter(|d| same(d)).or(self.forks.losers.iter().find(|d| same(d))) {
            let ack = outgoing(dialog, id, "ACK", dialog.ack("", response.cseq()).finish());
            self.outputs.push_back(Output::Ack(ack));
            return;
        }
        if self.forks.losers.len() >= MAX_LOSERS {
            return;
        }
        let Ok(mut dialog) = Dialog::uac(&invite, response, secure) else { return };
        let ack = outgoing(&dialog, id, "ACK", dialog.ack("", response.cseq()).finish());
        self.outputs.push_back(Output::Ack(ack));
        self.bye(&mut dialog, None);
        self.forks.losers.push(dialog);
    }

    fn first_taken(&mut self, now: Instant, id: RequestId, response: &Arc<Message>) {
        let Phase::Calling(calling) = &self.phase else { return };
        let (cancelled, secure) = (calling.cancelled, calling.secure);
        let Some(invite) = calling.invite.clone() else { return };
        let Ok(dialog) = Dialog::uac(&invite, response, secure) else {
            // Nothing says where the ACK should go.
            return self.invite_failed(502, Some(response));
        };
        let ack = outgoing(&dialog, id, "ACK", dialog.ack("", response.cseq()).finish());
        self.outputs.push_back(Output::Ack(ack));
        self.forks.invite = Some((invite, secure));
        self.dialog = Some(dialog);
        self.phase = Phase::Up;
        if cancelled {
            return self.hang_up(End::Ours, None);
        }
        self.note_allow(response);
        self.remote = super::description(response);
        self.session = Agreed::as_uac(response).map(|agreed| SessionTimer::start(now, agreed, true));
        self.events.push_back(Event::Answered(Arc::clone(response)));
    }

    /// The BYE of a dialog.
    pub(super) fn bye(&mut self, dialog: &mut Dialog, reason: Option<&str>) {
        let mut draft = dialog.request("BYE", "");
        if let Some(reason) = reason {
            draft = draft.header(HeaderName::Reason, reason);
        }
        let (id, bytes) = (self.next_id(), draft.finish());
        let cseq = dialog.local_seq().unwrap_or_default();
        self.pending.push(Pending { id, kind: Kind::Bye, cseq, answered: false, cancel_at: None });
        self.outputs.push_back(Output::Request(outgoing(dialog, id, "BYE", bytes)));
    }
}
