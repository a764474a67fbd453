//! How a leg goes on after each event: what is sent next, what is taken back, what is returned.

use std::time::{Duration, Instant};

use super::{Action, Call, Entry, Leg, Rejection, State, Way, Why};
use crate::access::{Access, Service};

impl Leg {
    /// Whether it is neither confirmed nor returned.
    pub(super) fn holds(&self, id: u64) -> bool {
        let waits = self.queue.iter().chain(&self.receipts).any(|entry| entry.id == id);
        waits || self.flight.iter().any(|(entry, _)| entry.id == id)
    }

    pub(super) fn new_call(&mut self) -> Call {
        self.next_call = self.next_call.wrapping_add(1);
        Call(self.next_call)
    }

    pub(super) fn is_open(&self, call: Call) -> bool {
        matches!(self.state, State::Open { call: current, .. } if current == call)
    }

    pub(super) fn is_in_session(&self, id: u64) -> bool {
        self.flight.iter().any(|(entry, way)| entry.id == id && *way == Way::Session)
    }

    /// Whether a message goes by MESSAGE, so that no other may overtake it.
    pub(super) fn is_paging(&self) -> bool {
        self.flight.iter().any(|(entry, way)| *way == Way::Page && !entry.receipt)
    }

    pub(super) fn in_session(&self) -> usize {
        self.flight.iter().filter(|(_, way)| *way == Way::Session).count()
    }

    pub(super) fn touch(&mut self, now: Instant) {
        if let State::Open { since, .. } = &mut self.state {
            *since = now;
        }
    }

    /// Does what can be done now.
    pub(super) fn go_on(&mut self, now: Instant) {
        if let State::Open { call, service, .. } = self.state {
            self.send(call, service, now);
        } else if self.state == State::Idle {
            self.begin(now);
        }
        // A session in both directions takes receipts; else they need none.
        while let Some(receipt) = self.receipts.front().copied()
            && self.flight.len() < self.settings.window.max(1)
        {
            self.receipts.pop_front();
            self.page(receipt);
        }
    }

    /// In an open session.
    pub(super) fn send(&mut self, call: Call, service: Service, now: Instant) {
        while self.in_session() < self.settings.window.max(1) {
            let receipt = if service.is_one_way() { None } else { self.receipts.pop_front() };
            let Some(entry) = receipt.or_else(|| self.next_for(service)) else { break };
            self.flight.push((entry, Way::Session));
            self.actions.push_back(Action::Send { call, id: entry.id });
            self.state = State::Open { call, service, since: now, used: true };
        }
        // A message that wants another session does not wait for receipts.
        if service.is_one_way() && self.in_session() == 0 && !self.queue.is_empty() {
            self.bye(call, now);
        }
    }

    /// Takes the message that comes next, if it may go in such a session.
    pub(super) fn next_for(&mut self, service: Service) -> Option<Entry> {
        let head = self.queue.front().filter(|_| !self.is_paging())?;
        let fits = match service {
            Service::Deferred => head.waited,
            // The one that the session was made for.
            Service::LargeMessage => !matches!(self.state, State::Open { used: true, .. }),
            _ => true,
        };
        if fits { self.queue.pop_front() } else { None }
    }

    /// With no session.
    pub(super) fn begin(&mut self, now: Instant) {
        let Some(head) = self.queue.front().copied().filter(|_| !self.is_paging()) else { return };
        let Some(service) = self.service_for(&head) else {
            self.queue.pop_front();
            return self.page(head);
        };
        let call = self.new_call();
        let has_first = self.device.first_in_invite(service) && head.size <= self.settings.max_first;
        if has_first {
            self.queue.pop_front();
            self.flight.push((head, Way::First));
        }
        self.state = State::Inviting { call, service, until: now + self.settings.ring, bound: false };
        self.actions.push_back(Action::Invite { call, service, first: has_first.then_some(head.id) });
    }

    /// The session that a message wants; `None` for a MESSAGE.
    pub(super) fn service_for(&self, entry: &Entry) -> Option<Service> {
        match self.device.access() {
            _ if self.no_sessions => None,
            Access::SimpleIm | Access::Cpm => Some(if entry.waited { Service::Deferred } else { Service::Session }),
            Access::Pager if self.device.large && !self.device.pager_large && entry.size > self.settings.max_page => {
                Some(Service::LargeMessage)
            }
            Access::Pager => None,
        }
    }

    pub(super) fn page(&mut self, entry: Entry) {
        self.flight.push((entry, Way::Page));
        self.actions.push_back(Action::Page { id: entry.id });
    }

    /// Ends the wait for one that is under way.
    pub(super) fn settle(&mut self, id: u64, action: impl FnOnce(&Entry) -> Action) -> Option<(Entry, Way)> {
        let at = self.flight.iter().position(|(entry, _)| entry.id == id)?;
        let found = self.flight.remove(at);
        self.actions.push_back(action(&found.0));
        Some(found)
    }

    /// An invitation was withdrawn and has not been answered.
    pub(super) fn return_first(&mut self) {
        if let Some(id) = self.first() {
            self.settle(id, |entry| Action::Return { id: entry.id, why: Why::Away });
        }
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.flight.iter().find(|(_, way)| *way == Way::First).map(|(entry, _)| entry.id)
    }

    /// A 2xx to the INVITE says that its message has arrived.
    pub(super) fn confirm_first(&mut self) {
        if let Some(id) = self.first() {
            self.settle(id, |entry| Action::Confirmed { id: entry.id });
            self.failures = 0;
        }
    }

    /// What a call did not confirm waits for the next, in its order.
    pub(super) fn take_back(&mut self) {
        let (pages, back): (Vec<_>, Vec<_>) = self.flight.drain(..).partition(|(_, way)| *way == Way::Page);
        self.flight = pages;
        for (entry, _) in back.into_iter().rev() {
            if entry.receipt { self.receipts.push_front(entry) } else { self.queue.push_front(entry) }
        }
    }

    /// Returns what waits and what the call did not confirm; what goes by MESSAGE has an end of its own.
    pub(super) fn return_all(&mut self, why: Why) {
        let pages = self.flight.iter().filter(|(_, way)| *way == Way::Page).count();
        if self.flight.len() > pages {
            self.take_back();
        }
        let queue = std::mem::take(&mut self.queue);
        self.actions.extend(queue.into_iter().map(|entry| Action::Return { id: entry.id, why }));
    }

    pub(super) fn return_queued(&mut self, why: Why) {
        let (queue, receipts) = (std::mem::take(&mut self.queue), std::mem::take(&mut self.receipts));
        self.actions.extend(queue.into_iter().chain(receipts).map(|entry| Action::Return { id: entry.id, why }));
    }

    /// A session ended before its time for what is still there.
    pub(super) fn return_failed(&mut self) {
        if self.queue.is_empty() && self.flight.iter().all(|(_, way)| *way == Way::Page) {
            return;
        }
        let why = Why::Later(self.pause());
        self.return_all(why);
    }

    /// When to try again. No device is asked without a pause, whatever it says.
    pub(super) fn when(&mut self, rejection: Rejection, retry_after: Option<Duration>) -> Why {
        match retry_after {
            Some(pause) => Why::Later(pause.max(self.settings.pause)),
            None if rejection == Rejection::Later => Why::Later(self.pause()),
            None => Why::Away,
        }
    }

    /// Doubles with each failure in a row.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.settings.pause.saturating_mul(1 << self.failures.min(20));
        self.failures += 1;
        pause.min(self.settings.max_pause)
    }

    /// The session is of no use any more.
    pub(super) fn fail(&mut self, call: Call, now: Instant) {
        self.return_failed();
        self.bye(call, now);
    }

    pub(super) fn cancel(&mut self, call: Call, now: Instant) {
        self.actions.push_back(Action::Cancel { call });
        self.state = State::Cancelling { call, until: now + self.settings.close };
    }

    pub(super) fn bye(&mut self, call: Call, now: Instant) {
        self.actions.push_back(Action::Bye { call });
        self.state = State::Closing { call, until: now + self.settings.close };
    }

    pub(super) fn stop(&mut self, why: Why, now: Instant) {
        match self.state {
            State::Inviting { call, .. } => self.cancel(call, now),
            State::Connecting { call, .. } | State::Open { call, .. } => self.bye(call, now),
            State::Idle | State::Cancelling { .. } | State::Closing { .. } => {}
        }
        self.take_back();
        self.return_queued(why);
    }
}
