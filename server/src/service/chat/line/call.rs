//! What a line is told of one of its calls, by SIP and by MSRP.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chappe_chat::leg::Call;
use chappe_msrp::Assembled;
use chappe_sip::{HeaderName, Message};

use super::Line;
use crate::msrp::endpoint::{Answer, End, EndClosed, EndUser, Sent};
use crate::service::agent::{self, CallEnd, CallEvent, CallRef, CallUser};
use crate::shard::Turn;

/// Calls that are apart from the session of the leg have numbers that it never gives.
const APART: u32 = 1 << 31;

const ALLOW: &str = concat!("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE", "\r\n");

/// One call, as its dialog and its MSRP session know it.
pub(super) struct Side {
    line: Weak<Line>,
    call: AtomicU32,
}

impl Side {
    pub(super) fn new(line: &Arc<Line>) -> Arc<Side> {
        Arc::new(Side { line: Arc::downgrade(line), call: AtomicU32::new(0) })
    }

    /// Which call it is; known before anything is told of it.
    pub(super) fn is(&self, call: Call) {
        self.call.store(call.0, Ordering::Release);
    }

    /// A number for a call that is not the leg's.
    pub(super) fn apart(&self) -> Call {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Call(APART | NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn call(&self) -> Call {
        Call(self.call.load(Ordering::Acquire))
    }
}

impl EndUser for Side {
    fn bound(&self, _end: &Arc<End>) {
        if let Some(line) = self.line.upgrade() {
            line.tell(|state, now| state.leg.handle_bound(self.call(), now));
        }
    }

    fn message(&self, _end: &Arc<End>, message: Assembled, answer: Answer) {
        match self.line.upgrade() {
            Some(line) => line.received(self.call(), message, answer),
            None => answer.refuse(481),
        }
    }

    fn sent(&self, _end: &Arc<End>, key: u64, sent: Sent) {
        if let Some(line) = self.line.upgrade() {
            line.sent(self.call(), key, sent);
        }
    }

    fn closed(&self, _end: &Arc<End>, why: EndClosed) {
        let Some(line) = self.line.upgrade().filter(|_| why != EndClosed::Here) else { return };
        tracing::debug!(?why, "the MSRP session of a chat is over");
        let reference = line.state.lock().calls.get(&self.call()).and_then(|call| call.reference.clone());
        if let Some(reference) = reference {
            agent::end(&line.core, &reference, None);
        }
        line.ended(self.call());
    }
}

impl CallUser for Side {
    fn event(self: Arc<Self>, turn: &mut Turn<'_>, reference: &CallRef, event: CallEvent) {
        let Some(line) = self.line.upgrade() else { return };
        let call = self.call();
        match event {
            CallEvent::Answered(response) => {
                if line.agreed(call, &response) {
                    return line.tell(|state, now| state.leg.handle_answered(call, now));
                }
                line.tell(|state, now| state.leg.handle_rejected(call, 488, None, now));
                agent::end_here(turn, reference, None);
            }
            CallEvent::Ended { why: CallEnd::Failed { status, response }, .. } => {
                let pause = response.as_deref().and_then(retry_after);
                line.tell(|state, now| {
                    if let Some(end) = state.calls.remove(&call).and_then(|call| call.end) {
                        end.close();
                    }
                    state.leg.handle_rejected(call, status, pause, now);
                });
            }
            CallEvent::Ended { .. } => line.ended(call),
            // What a session says once it stays as it is.
            CallEvent::Offer(_) => agent::answer_offer(turn, reference, Err(488)),
            CallEvent::Request { key, request } => agent::respond(turn, reference, key, &request, 405, ALLOW),
            CallEvent::Established(_) => line.established(call),
            CallEvent::Ringing(_)
            | CallEvent::OfferAnswered(_)
            | CallEvent::OfferRefused { .. }
            | CallEvent::Response { .. } => {}
        }
    }
}

/// `Retry-After` in seconds (RFC 3261 §20.33).
fn retry_after(response: &Message) -> Option<Duration> {
    let value = response.header(HeaderName::RetryAfter)?;
    let digits = value.iter().take_while(|c| c.is_ascii_digit()).count();
    let seconds: u64 = std::str::from_utf8(&value[..digits]).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}
