//! Frames for sessions of our own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_msrp::endpoint::{Inbox, Part, Reception};
use chappe_msrp::relay::{self, Refused};
use chappe_msrp::{Flag, Head, Method, ReceivedReport, Uri};

use super::super::connection::{Connection, Current, Touched};
use super::super::relay::Relay;
use super::answer::comment;
use super::events::Event;
use super::{Answer, End, Intake, StreamEnd, during};

/// A chunk for a session of ours that is being read.
pub(in super::super) struct Taking {
    head: Head,
    end: Arc<End>,
}

impl Relay {
    /// The session of ours that a request is for: the one that its only URI names (RFC 4975 §7.3).
    pub(in super::super) fn end_for(&self, head: &Head) -> Option<Arc<End>> {
        let (first, after) = relay::split(head.raw_to_path());
        if !after.is_empty() || self.ends.len() == 0 {
            return None;
        }
        let uri = Uri::parse_with(first.as_bytes(), &self.settings.leniency).ok()?;
        self.ends.find(&uri)
    }

    /// A SEND for it begins.
    pub(in super::super) fn begin_own(
        self: &Arc<Self>,
        from: &Arc<Connection>,
        end: Arc<End>,
        head: Head,
        touched: &mut Touched,
        ending: &mut bool,
    ) -> Current {
        if let Err(refused) = self.admit_own(from, &end, &head, touched) {
            *ending |= self.refuse(from, &head, refused, touched);
            return Current::Unwanted;
        }
        end.dispatch(touched);
        end.used.store(self.now(), Ordering::Relaxed);
        if !head.has_body() {
            // No message, but a sign of life.
            self.respond(from, &head, 200, "OK", touched);
            from.succeeded();
            return Current::Unwanted;
        }
        let new = end.inbox.lock().is_new(&head);
        let reception = if new { during(touched, || end.user.begin(&end, &head)) } else { Reception::Whole };
        let begun = {
            let mut inbox = end.inbox.lock();
            let begun = inbox.begin(&head, reception, self.instant());
            end.account(&inbox);
            end.tell_broken(&mut inbox);
            begun
        };
        match begun {
            Ok(()) => Current::Own(Box::new(Taking { head, end })),
            Err(code) => self.unwanted(from, &end, &head, code, touched),
        }
    }

    /// Whether a connection may use a session; the first one that does is bound to it (§5.4).
    fn admit_own(
        self: &Arc<Self>,
        from: &Arc<Connection>,
        end: &Arc<End>,
        head: &Head,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let first = relay::split(head.raw_to_path()).0;
        let uri = Uri::parse_with(first.as_bytes(), &self.settings.leniency).map_err(|_| Refused::Unknown)?;
        let own = end.uri().uri();
        let mut state = end.state.lock();
        let same = |own: &Uri<'_>| state.matching.same(&uri, own);
        if end.has_ended() || !(same(&own) || state.told.as_ref().is_some_and(|told| same(&told.uri()))) {
            return Err(Refused::Unknown);
        }
        if own.secure && !from.secure {
            return Err(Refused::Insecure);
        }
        match &state.connection {
            // A next hop may use connections of its own beside the one that we dialled.
            Some(bound) if Arc::ptr_eq(bound, from) || from.is_beside(bound) => return Ok(()),
            Some(_) => return Err(Refused::Bound),
            None => {}
        }
        if !from.is_of(&state.fingerprints) {
            return Err(Refused::Certificate);
        }
        state.connection = Some(Arc::clone(from));
        drop(state);
        from.add_end(end);
        if end.has_ended() {
            from.remove_end(end);
            return Err(Refused::Unknown);
        }
        end.tell_bound();
        during(touched, || end.feed());
        Ok(())
    }

    pub(in super::super) fn body_own(
        self: &Arc<Self>,
        from: &Arc<Connection>,
        taking: Box<Taking>,
        slice: &[u8],
        touched: &mut Touched,
    ) -> Current {
        let Taking { head, end } = &*taking;
        if end.has_ended() {
            self.respond(from, head, 481, comment(481), touched);
            return Current::Unwanted;
        }
        end.received.fetch_add(slice.len() as u64, Ordering::Relaxed);
        self.counters.end_bytes.add(slice.len() as u64);
        let place = {
            let mut inbox = end.inbox.lock();
            let mut place = inbox.body(head, slice, self.instant());
            end.account(&inbox);
            if self.ends.held.load(Ordering::Relaxed) > self.settings.endpoint_memory
                && let Err(code) = inbox.give_up(head)
            {
                place = Err(code);
                end.account(&inbox);
            }
            end.tell_broken(&mut inbox);
            place
        };
        match place {
            Ok(None) => {}
            Ok(Some(offset)) => {
                let id = head.message_id().unwrap_or_default();
                end.expect_resume();
                if during(touched, || end.user.slice(end, id, offset, slice)) == Intake::Pause {
                    end.pause(from);
                }
            }
            Err(code) => return self.unwanted(from, end, head, code, touched),
        }
        Current::Own(taking)
    }

    pub(in super::super) fn end_own(
        self: &Arc<Self>,
        from: &Arc<Connection>,
        taking: Box<Taking>,
        flag: Flag,
        touched: &mut Touched,
    ) {
        let Taking { head, end } = *taking;
        if end.has_ended() {
            return self.respond(from, &head, 481, comment(481), touched);
        }
        let part = {
            let mut inbox = end.inbox.lock();
            let part = inbox.end(&head, flag);
            end.account(&inbox);
            end.tell_broken(&mut inbox);
            part
        };
        from.succeeded();
        match part {
            Err(code) => {
                self.unwanted(from, &end, &head, code, touched);
            }
            Ok(Part::Chunk) => self.respond(from, &head, 200, "OK", touched),
            Ok(Part::Whole(message)) => {
                self.counters.end_messages_received.one();
                let bytes = message.data.len();
                let answer = Answer::new(&end, from, &head, bytes as u64, bytes);
                during(touched, || end.user.message(&end, message, answer));
            }
            Ok(Part::Streamed { total, .. }) => {
                self.counters.end_messages_received.one();
                let answer = Answer::new(&end, from, &head, total, 0);
                let id = head.message_id().unwrap_or_default();
                during(touched, || end.user.stream_ended(&end, id, StreamEnd::Complete { total, answer }));
            }
            Ok(Part::Aborted { .. }) => {
                self.respond(from, &head, 200, "OK", touched);
                let id = head.message_id().unwrap_or_default();
                during(touched, || end.user.stream_ended(&end, id, StreamEnd::Broken));
            }
        }
    }

    /// Nobody wants the rest of a chunk.
    fn unwanted(
        &self,
        from: &Arc<Connection>,
        end: &Arc<End>,
        head: &Head,
        code: u16,
        touched: &mut Touched,
    ) -> Current {
        self.counters.refused.one();
        self.respond(from, head, code, comment(code), touched);
        end.dispatch(touched);
        Current::Unwanted
    }

    /// A request other than SEND for a session of ours. Says whether the connection has to go.
    pub(in super::super) fn request_own(
        self: &Arc<Self>,
        from: &Arc<Connection>,
        end: &Arc<End>,
        head: &Head,
        touched: &mut Touched,
    ) -> bool {
        let bound = end.connection().is_some_and(|bound| Arc::ptr_eq(&bound, from) || from.is_beside(&bound));
        if head.method() != Some(Method::Report) {
            let refused = if bound { Refused::Method } else { Refused::Unknown };
            return self.refuse(from, head, refused, touched);
        }
        if bound && let Some(report) = ReceivedReport::of(head) {
            end.report(&report, touched);
            end.dispatch(touched);
        }
        false
    }
}

impl End {
    /// Counts what the inbox holds; to be called with it locked.
    pub(super) fn account(&self, inbox: &Inbox) {
        let now = inbox.held();
        let before = self.accounted.swap(now, Ordering::Relaxed);
        let held = &self.relay.ends.held;
        if now >= before {
            held.fetch_add(now - before, Ordering::Relaxed);
        } else {
            held.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Streams that were given up.
    pub(super) fn tell_broken(&self, inbox: &mut Inbox) {
        while let Some(head) = inbox.poll_ended() {
            self.tell(Event::StreamBroken { id: head.message_id().unwrap_or_default().into() });
        }
    }

    /// What is due at `now`: messages that do not go on.
    pub(in super::super) fn expire(self: &Arc<Self>) {
        let dropped = {
            let mut inbox = self.inbox.lock();
            let dropped = inbox.handle_timeout(self.relay.instant());
            self.account(&inbox);
            self.tell_broken(&mut inbox);
            dropped
        };
        self.relay.counters.end_messages_expired.add(dropped as u64);
    }
}
