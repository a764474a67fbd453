//! The INVITE usage of a dialog at a user agent: one call (RFC 3261 §13-§15, RFC 3311, RFC 4028).
//!
//! The caller owns the transactions, the socket and the clock: it hands in what came for the call and when time has
//! passed, and takes what is to be sent from [`Usage::poll_output`] and what the application has to know from
//! [`Usage::poll_event`]. Requests come out without a Via, as only the caller knows their next hop.

mod timer;
mod uac;
mod uas;
mod within;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::dialog::{Dialog, DialogError};
use crate::layer::ServerKey;
use crate::message::Message;
use crate::multipart;
use crate::name::HeaderName;
use crate::reply::Reply;
use crate::transaction::Timers;
use timer::SessionTimer;
pub use uac::NewInvite;
pub use uas::Incoming;

/// An INVITE within the call waits for so long: somebody may have to be asked.
const REINVITE: Duration = Duration::from_secs(180);
/// Requests of ours that may be under way in one call.
const MAX_PENDING: usize = 32;

/// What is the same for all calls of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub timers: Timers,
    /// The methods of Allow.
    pub allow: &'static str,
    /// Session interval in seconds that we ask for, and grant at most (RFC 4028); 0: what the peer asks for.
    pub session_expires: u32,
    /// Shortest interval that is taken; 90 at least.
    pub min_se: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            timers: Timers::default(),
            allow: "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, MESSAGE, INFO",
            session_expires: 1800,
            min_se: timer::FLOOR,
        }
    }
}

/// A request of ours, to be given back with its responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u8);

/// A request for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Of an ACK, that of its INVITE.
    pub id: RequestId,
    pub method: Box<str>,
    /// The URI that it goes to next (RFC 3261 §8.1.2).
    pub next_hop: Box<str>,
    /// No proxy stands in between, as far as the dialog knows.
    pub direct: bool,
    /// It has to go over TLS (§12.1.1).
    pub secure: bool,
    bytes: Bytes,
}

impl Outgoing {
    /// The request with its Via; `via` is the value of the header.
    pub fn with_via(&self, via: &str) -> Bytes {
        let line = memchr::memchr(b'\n', &self.bytes).map_or(0, |at| at + 1);
        Bytes::from([&self.bytes[..line], b"Via: ", via.as_bytes(), b"\r\n", &self.bytes[line..]].concat())
    }
}

/// What the caller is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// With [`crate::Layer::respond`].
    Respond { key: ServerKey, status: u16, bytes: Bytes },
    /// In a client transaction of its own.
    Request(Outgoing),
    /// Without a transaction.
    Ack(Outgoing),
    /// With [`crate::Layer::cancel`] of the transaction of that request.
    Cancel { id: RequestId, reason: Option<Box<str>> },
}

/// What the application has to know.
#[derive(Debug, Clone)]
pub enum Event {
    /// 101-199 to our INVITE.
    Ringing(Arc<Message>),
    /// The first 2xx to our INVITE, which has its ACK.
    Answered(Arc<Message>),
    /// The ACK to our 2xx.
    Established(Arc<Message>),
    /// An INVITE or UPDATE with another offer than before, to be answered with [`Usage::answer_offer`].
    Offer(Arc<Message>),
    /// What became of [`Usage::offer`].
    OfferAnswered(Arc<Message>),
    OfferRefused {
        status: u16,
    },
    /// Any other request, to be answered with [`Usage::respond`] or by the caller's own means.
    Request {
        key: ServerKey,
        request: Arc<Message>,
    },
    /// The final status of what went with [`Usage::request`]; 408 where none came.
    Response {
        id: RequestId,
        status: u16,
    },
    /// The call is over; nothing but this end of it comes after.
    Ended {
        why: End,
        reason: Option<Box<str>>,
    },
}

/// Why a call ended.
#[derive(Debug, Clone)]
pub enum End {
    /// BYE of the peer.
    Peer,
    /// CANCEL of the peer, before we answered.
    Cancelled,
    /// We ended it.
    Ours,
    /// Our INVITE came to nothing: final status, and the response where there is one.
    Failed { status: u16, response: Option<Arc<Message>> },
    /// No ACK to our 2xx.
    NoAck,
    /// Nobody has refreshed the session (RFC 4028 §10).
    Expired,
    /// A request within the dialog showed that the peer does not know it any more.
    Gone { status: u16 },
}

/// Why an INVITE makes no call here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error(transparent)]
    Dialog(#[from] DialogError),
    #[error("a session interval below {min} s")]
    TooSmall { min: u32 },
}

impl Refused {
    pub fn status(self) -> u16 {
        match self {
            Refused::Dialog(error) => error.status(),
            Refused::TooSmall { .. } => 422,
        }
    }

    pub fn reply(self, request: &Message, to_tag: &str) -> Bytes {
        let reply = Reply::new(request, self.status(), to_tag);
        match self {
            Refused::TooSmall { min } => reply.header(HeaderName::MinSe, &min.to_string()).finish(),
            Refused::Dialog(_) => reply.finish(),
        }
    }
}

/// Why a verb did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    #[error("the call is over, or not yet there")]
    NoCall,
    #[error("another offer or too many requests are under way")]
    Busy,
}

/// A body with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub content_type: Box<str>,
    pub bytes: Bytes,
}

/// ```text
/// UAS: Incoming ──2xx──▶ Up ──BYE──▶ Ending ──answer──▶ Over
///          └──300-699, CANCEL, BYE──────────────────────▲
/// UAC: Calling ──2xx──▶ Up; a 2xx after the wish to end it ──▶ Ending
///          └──300-699, timeout──▶ Over
/// ```
#[derive(Debug)]
enum Phase {
    Incoming(uas::Unanswered),
    Calling(uac::Calling),
    Up,
    /// Our BYE, or what is left of an INVITE, waits for its end.
    Ending,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The INVITE that makes the call.
    Invite,
    /// An INVITE or UPDATE within the call; `offer`: the application's, else a refresh.
    Reinvite {
        offer: bool,
    },
    Update,
    Bye,
    Other,
}

#[derive(Debug)]
struct Pending {
    id: RequestId,
    kind: Kind,
    cseq: u32,
    /// Final response came: only copies of a 2xx are waited for.
    answered: bool,
    /// When an INVITE within the call is cancelled: it has no timer of its own once a 100 has come.
    cancel_at: Option<Instant>,
}

/// An offer of ours: under way, or to go once more after a 491.
#[derive(Debug)]
struct Retry {
    /// `None` while it is under way.
    at: Option<Instant>,
    body: Body,
}

/// See the module.
#[derive(Debug)]
pub struct Usage {
    policy: Policy,
    contact: Box<str>,
    phase: Phase,
    /// From the first request of a UAS, from the 2xx of a UAC.
    dialog: Option<Dialog>,
    /// We made the Call-ID: decides who waits longer after a 491 (§14.1).
    caller: bool,
    /// The INVITE of a UAC has its branches.
    forks: uac::Forks,
    unacked: Option<uas::Unacked>,
    /// An offer that the application has not answered.
    held: Option<(ServerKey, Arc<Message>)>,
    pending: SmallVec<[Pending; 2]>,
    /// What each side has described last.
    local: Option<Body>,
    remote: Bytes,
    session: Option<SessionTimer>,
    /// What a 422 has asked for; goes with every Session-Expires from then on (RFC 4028 §7.4).
    min_se: Option<u32>,
    /// An INVITE within the dialog that says more than its offer is for the application, though the offer be the same.
    hears_subjects: bool,
    /// UPDATE is in the peer's Allow.
    updates: bool,
    retry: Option<Retry>,
    /// To be ended as soon as the ACK is there (§15).
    bye_wanted: Option<Option<Box<str>>>,
    random: u64,
    serial: u8,
    outputs: VecDeque<Output>,
    events: VecDeque<Event>,
}

/// The session description of a message: its body, or the part of it that is one. What else an INVITE brings, as the list
/// that makes a conference, it brings once.
fn description(message: &Message) -> Bytes {
    let content_type = message.header(HeaderName::ContentType).unwrap_or_default();
    match multipart::find(content_type, message.body(), &["application/sdp"]) {
        Ok(Some(part)) => message.bytes().slice_ref(part.body),
        Ok(None) | Err(_) => message.body_bytes(),
    }
}

impl Usage {
    fn new(policy: Policy, contact: &str, phase: Phase, random: u64) -> Usage {
        Usage {
            policy,
            contact: contact.into(),
            phase,
            dialog: None,
            caller: false,
            forks: uac::Forks::default(),
            unacked: None,
            held: None,
            pending: SmallVec::new(),
            local: None,
            remote: Bytes::new(),
            session: None,
            min_se: None,
            hears_subjects: false,
            updates: false,
            retry: None,
            bye_wanted: None,
            random,
            serial: 0,
            outputs: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// From now on an INVITE within the dialog that has a Subject, or a body beside its offer, is an [`Event::Offer`] whatever
    /// it offers.
    pub fn hear_subjects(&mut self) {
        self.hears_subjects = true;
    }

    /// Our Contact, with its angle brackets and parameters.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// Another user of the dialog, such as a subscription, has sent a request with this CSeq (RFC 5057 §3.1).
    pub fn continue_after(&mut self, seq: Option<u32>) {
        if let Some(dialog) = &mut self.dialog {
            dialog.continue_after(seq);
        }
    }

    /// Ends the call in the way that is right now: 603, CANCEL, or BYE, which waits for the ACK where that is still to
    /// come. `reason` is a Reason value (RFC 3326).
    pub fn end(&mut self, reason: Option<&str>) {
        match &mut self.phase {
            Phase::Incoming(_) => self.reject(603, ""),
            Phase::Calling(_) => self.cancel(reason),
            Phase::Up if self.unacked.as_ref().is_some_and(|unacked| unacked.first) => {
                self.bye_wanted = Some(reason.map(Into::into));
            }
            Phase::Up => self.hang_up(End::Ours, reason),
            Phase::Ending | Phase::Over => {}
        }
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.calling_timeout(now);
        self.uas_timeout(now);
        self.cancel_reinvites(|at| at <= now);
        if matches!(self.phase, Phase::Up) {
            self.session_timeout(now);
            self.retry_timeout(now);
        }
    }

    /// When [`Usage::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Incoming(incoming) => incoming.repeat.as_ref().map(|(at, ..)| *at),
            Phase::Calling(calling) => Some(calling.gives_up).filter(|_| !calling.cancelled),
            Phase::Up | Phase::Ending | Phase::Over => None,
        };
        let unacked = self.unacked.as_ref().map(|unacked| unacked.next.min(unacked.until));
        let up = matches!(self.phase, Phase::Up);
        let session = self.session.as_ref().filter(|_| up).map(SessionTimer::next);
        let retry = self.retry.as_ref().filter(|_| up).and_then(|retry| retry.at);
        let cancel = self.pending.iter().filter_map(|pending| pending.cancel_at).min();
        [phase, unacked, session, retry, cancel].into_iter().flatten().min()
    }

    /// The next thing to send; call until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next event; call until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The dialog, once there is one.
    pub fn dialog(&self) -> Option<&Dialog> {
        self.dialog.as_ref()
    }

    /// Answered, and not over.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up)
    }

    /// Ended for the application; what is left is between the two ends.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ending | Phase::Over)
    }

    /// Whether a request, or an INVITE with a 2xx, is still of interest.
    pub fn is_under_way(&self, id: RequestId) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// An answer to a request of ours is still to come.
    pub fn is_waiting(&self) -> bool {
        self.pending.iter().any(|pending| !pending.answered)
    }

    /// Nothing will come or go any more.
    pub fn is_over(&self) -> bool {
        self.has_ended() && self.pending.is_empty() && self.outputs.is_empty() && self.events.is_empty()
    }

    /// Tells the application of the end and takes leave of what belonged to the call. A BYE goes by
    /// [`Usage::hang_up`].
    fn ended(&mut self, why: End, reason: Option<&str>) {
        if self.has_ended() {
            return;
        }
        // §15.1.2: what waits for an answer gets one.
        if let Some((key, request)) = self.held.take() {
            self.reply(key, &request, 487);
        }
        (self.unacked, self.session, self.retry, self.bye_wanted) = (None, None, None, None);
        self.cancel_reinvites(|_| true);
        self.phase = Phase::Over;
        self.events.push_back(Event::Ended { why, reason: reason.map(Into::into) });
    }

    fn cancel_reinvites(&mut self, due: impl Fn(Instant) -> bool) {
        for pending in &mut self.pending {
            if pending.cancel_at.take_if(|at| due(*at)).is_some() {
                self.outputs.push_back(Output::Cancel { id: pending.id, reason: None });
            }
        }
    }

    fn reply(&mut self, key: ServerKey, request: &Message, status: u16) {
        let tag = self.dialog.as_ref().map_or("", |dialog| &*dialog.id.local_tag);
        let bytes = Reply::new(request, status, tag).finish();
        self.outputs.push_back(Output::Respond { key, status, bytes });
    }

    /// A number below `n`, from those that the caller gave.
    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) % n.max(1)
    }

    fn next_id(&mut self) -> RequestId {
        loop {
            self.serial = self.serial.wrapping_add(1);
            let id = RequestId(self.serial);
            // Fewer than 256 are under way.
            if !self.pending.iter().any(|pending| pending.id == id) {
                return id;
            }
        }
    }
}

fn outgoing(dialog: &Dialog, id: RequestId, method: &str, bytes: Bytes) -> Outgoing {
    Outgoing {
        id,
        method: method.into(),
        next_hop: dialog.next_hop().into(),
        direct: dialog.routes().is_empty(),
        secure: dialog.is_secure(),
        bytes,
    }
}

#[cfg(test)]
mod tests;
