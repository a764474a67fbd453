//! What a room is told of one call, by SIP and by MSRP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chappe_chat::group::GroupId;
use chappe_chat::group::list::LIST_TYPE;
use chappe_msrp::Assembled;
use chappe_sip::{HeaderName, Message, multipart};
use parking_lot::Mutex;

use super::news::{Key, News};
use crate::core::Core;
use crate::msrp::endpoint::{Answer, End, EndClosed, EndUser, Sent};
use crate::service::agent::{self, CallEvent, CallRef, CallUser};
use crate::shard::Turn;

/// One call of one device.
pub(super) struct Side {
    core: Arc<Core>,
    group: GroupId,
    pub(super) key: Key,
    /// Never used twice.
    pub(super) call: u32,
    /// The subject that the device was told, or has told, last: a session that is refreshed repeats it.
    subject: Mutex<Option<Box<str>>>,
}

impl Side {
    pub(super) fn new(core: &Arc<Core>, group: &GroupId, user: &str, device: &str) -> Arc<Side> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let call = NEXT.fetch_add(1, Ordering::Relaxed);
        let subject = Mutex::default();
        Arc::new(Side {
            core: Arc::clone(core),
            group: group.clone(),
            key: (user.into(), device.into()),
            call,
            subject,
        })
    }

    /// The device knows this subject.
    pub(super) fn knows(&self, subject: Option<&str>) {
        *self.subject.lock() = subject.map(Into::into);
    }

    /// INVITE within the session. What it says of MSRP stays as it is; a list is for the factory (RFC 5366 §6), and a Subject
    /// that the device has not had is a wish.
    fn called_again(&self, turn: &mut Turn<'_>, call: &CallRef, request: &Message) {
        let content_type = request.header(HeaderName::ContentType).unwrap_or_default();
        if matches!(multipart::find(content_type, request.body(), &[LIST_TYPE]), Ok(Some(_))) {
            return agent::answer_offer(turn, call, Err(420));
        }
        let subject = request.header(HeaderName::Subject).and_then(|subject| std::str::from_utf8(subject).ok());
        let is_new = |subject: &&str| !subject.is_empty() && self.subject.lock().as_deref() != Some(*subject);
        let wish = subject.map(str::trim).filter(is_new);
        match wish {
            Some(subject) if agent::is_offer_unchanged(turn, call) => {
                // Whatever becomes of it: the session is refreshed with it from now on.
                self.knows(Some(subject));
                self.tell(What::Renames(subject.into(), call.clone()));
            }
            _ => agent::answer_unchanged(turn, call),
        }
    }

    fn tell(&self, what: What) {
        let news = News::Side { key: self.key.clone(), call: self.call, what };
        self.core.groups.tell(&self.core, &self.group, news);
    }
}

/// What happened to it.
pub(super) enum What {
    Call(CallEvent, CallRef),
    /// INVITE within the session with another subject, to be answered.
    Renames(Box<str>, CallRef),
    Bound,
    Message(Box<Assembled>, Answer),
    Sent(u64, Sent),
    Closed(EndClosed),
}

impl EndUser for Side {
    fn bound(&self, _end: &Arc<End>) {
        self.tell(What::Bound);
    }

    fn message(&self, _end: &Arc<End>, message: Assembled, answer: Answer) {
        self.tell(What::Message(Box::new(message), answer));
    }

    fn sent(&self, _end: &Arc<End>, key: u64, sent: Sent) {
        // What is shown now or never has no number.
        if key != 0 {
            self.tell(What::Sent(key, sent));
        }
    }

    fn closed(&self, _end: &Arc<End>, why: EndClosed) {
        if why != EndClosed::Here {
            self.tell(What::Closed(why));
        }
    }
}

impl CallUser for Side {
    fn event(self: Arc<Self>, turn: &mut Turn<'_>, call: &CallRef, event: CallEvent) {
        match event {
            CallEvent::Offer(request) => self.called_again(turn, call, &request),
            CallEvent::Ringing(_)
            | CallEvent::OfferAnswered(_)
            | CallEvent::OfferRefused { .. }
            | CallEvent::Response { .. } => {}
            event => self.tell(What::Call(event, call.clone())),
        }
    }

    fn hears_subjects(&self) -> bool {
        true
    }
}
