//! The way to one device in one conversation: a chat session where the device has one, MESSAGE where it has not.
//!
//! Entries of the queue come in and are delivered in their order. Each is told confirmed or returned, exactly once; what is
//! returned stays in the queue, and is pushed again when its time has come. Calls, MSRP and MESSAGE transactions are the
//! caller's, whose outcomes it hands in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::access::{Capabilities, Service};
use crate::pager::Outcome;

mod progress;
mod rejection;
mod types;

pub use rejection::Rejection;
pub use types::{Action, Call, Entry, LegSettings, Why};

/// ```text
/// Idle ──push──▶ Inviting ──2xx──▶ Connecting ──MSRP──▶ Open ──idle, one-way and all sent──▶ Closing ──▶ Idle
///   │               ├──rings too long──▶ Cancelling ──▶ Idle      └──ended, lost──▶ Idle, all returned
///   │               ├──rejected──▶ Idle, all returned or paged
///   │               └──the device moves──▶ Idle ──▶ Inviting
///   └──the device calls (from any state)──▶ Connecting
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// `bound`: MSRP was faster than the 2xx.
    Inviting {
        call: Call,
        service: Service,
        until: Instant,
        bound: bool,
    },
    Cancelling {
        call: Call,
        until: Instant,
    },
    /// `ours`: we have called, and so over the flow that the device had then.
    Connecting {
        call: Call,
        service: Service,
        until: Instant,
        ours: bool,
    },
    /// `since`: the last message either way. `used`: one has been sent.
    Open {
        call: Call,
        service: Service,
        since: Instant,
        used: bool,
    },
    Closing {
        call: Call,
        until: Instant,
    },
}

/// How an entry under way goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In the INVITE.
    First,
    Session,
    Page,
}

/// The way to one device. See the module.
#[derive(Debug)]
pub struct Leg {
    settings: LegSettings,
    device: Capabilities,
    state: State,
    next_call: u32,
    /// The device has turned sessions down as such.
    no_sessions: bool,
    /// Messages in their order.
    queue: VecDeque<Entry>,
    receipts: VecDeque<Entry>,
    /// Under way, in the order of sending.
    flight: Vec<(Entry, Way)>,
    /// Sessions that failed, one after the other.
    failures: u32,
    actions: VecDeque<Action>,
}

impl Leg {
    pub fn new(device: Capabilities, settings: LegSettings) -> Leg {
        Leg {
            settings,
            device,
            state: State::Idle,
            next_call: 0,
            no_sessions: false,
            queue: VecDeque::new(),
            receipts: VecDeque::new(),
            flight: Vec::new(),
            failures: 0,
            actions: VecDeque::new(),
        }
    }

    /// Has it delivered, behind what was pushed before. One that is here already is not taken twice.
    pub fn push(&mut self, entry: Entry, now: Instant) {
        if self.holds(entry.id) {
            return;
        }
        if entry.receipt {
            self.receipts.push_back(entry)
        } else {
            self.queue.push_back(entry)
        }
        self.go_on(now);
    }

    /// The device says anew what it can do: it has registered.
    pub fn set_device(&mut self, device: Capabilities, now: Instant) {
        self.no_sessions &= self.device == device;
        self.device = device;
        self.go_on(now);
    }

    /// The device has registered over another flow than it had. Nobody answers on the old one any more: a call of ours over
    /// it whose session is not up is given up, and what it carried goes in another, at once. A session that is up stays, for
    /// MSRP has a connection of its own; so does a call of the device.
    pub fn handle_moved(&mut self, now: Instant) {
        match self.state {
            State::Inviting { call, .. } => self.actions.push_back(Action::Cancel { call }),
            State::Connecting { call, ours: true, .. } => self.actions.push_back(Action::Bye { call }),
            // Their ends are not waited for.
            State::Cancelling { .. } | State::Closing { .. } => {}
            State::Idle | State::Connecting { .. } | State::Open { .. } => return,
        }
        self.take_back();
        self.state = State::Idle;
        self.go_on(now);
    }

    /// The device calls in this conversation. It has the newest word: its call takes the place of one that is there, or that
    /// we are inviting it to, and what was not confirmed goes with it. (Clients turn our invitation down while theirs is
    /// unanswered, so that of two calls that cross only this one can live.)
    pub fn handle_incoming(&mut self, now: Instant) -> Call {
        let call = self.new_call();
        match self.state {
            State::Idle | State::Closing { .. } | State::Cancelling { .. } => {}
            // Its final response comes for a call that is not ours any more.
            State::Inviting { call, .. } => self.actions.push_back(Action::Cancel { call }),
            State::Connecting { call, .. } | State::Open { call, .. } => self.actions.push_back(Action::Bye { call }),
        }
        self.take_back();
        self.no_sessions = false;
        self.state =
            State::Connecting { call, service: Service::Session, until: now + self.settings.connect, ours: false };
        self.actions.push_back(Action::Accept { call });
        self.go_on(now);
        call
    }

    /// A 2xx to our INVITE, with a session that both sides agree on.
    pub fn handle_answered(&mut self, call: Call, now: Instant) {
        match self.state {
            State::Inviting { call: current, service, bound, .. } if current == call => {
                self.confirm_first();
                self.state = if bound {
                    State::Open { call, service, since: now, used: false }
                } else {
                    State::Connecting { call, service, until: now + self.settings.connect, ours: true }
                };
                self.go_on(now);
            }
            State::Cancelling { call: current, .. } if current == call => {
                self.confirm_first();
                self.bye(call, now);
            }
            State::Connecting { call: current, .. } | State::Open { call: current, .. } if current == call => {}
            State::Closing { call: current, .. } if current == call => {}
            // Another call has taken its place.
            _ => self.actions.push_back(Action::Bye { call }),
        }
    }

    /// Any other final response to our INVITE; 408 and 430 for a timeout and a dead flow. `retry_after` as the response
    /// says. An answer without a session that we can agree on is a 488, after a BYE.
    pub fn handle_rejected(&mut self, call: Call, status: u16, retry_after: Option<Duration>, now: Instant) {
        match self.state {
            State::Inviting { call: current, .. } if current == call => {
                self.state = State::Idle;
                match Rejection::of(status) {
                    Rejection::Page => {
                        self.no_sessions = true;
                        self.take_back();
                    }
                    Rejection::Refused => self.return_all(Why::Refused(status)),
                    rejection => {
                        let why = self.when(rejection, retry_after);
                        self.return_all(why);
                    }
                }
                self.go_on(now);
            }
            State::Cancelling { call: current, .. } if current == call => {
                self.state = State::Idle;
                self.return_first();
                self.go_on(now);
            }
            _ => {}
        }
    }

    /// MSRP of the call is up.
    pub fn handle_bound(&mut self, call: Call, now: Instant) {
        match &mut self.state {
            State::Inviting { call: current, bound, .. } if *current == call => *bound = true,
            State::Connecting { call: current, service, .. } if *current == call => {
                self.state = State::Open { call, service: *service, since: now, used: false };
                self.go_on(now);
            }
            _ => {}
        }
    }

    /// MSRP has confirmed every byte of it, be it in a session that has ended since.
    pub fn handle_confirmed(&mut self, id: u64, now: Instant) {
        if self.is_in_session(id) {
            self.failures = 0;
            self.touch(now);
        }
        self.handle_delivered(id, now);
    }

    /// MSRP has refused it with this code. 408, 481 and 506 mean that the session is broken, not the message.
    pub fn handle_refused(&mut self, call: Call, id: u64, code: u16, now: Instant) {
        if matches!(code, 408 | 481 | 506) {
            return self.handle_lost(call, id, now);
        }
        if self.is_open(call) && self.is_in_session(id) {
            self.settle(id, |entry| Action::Return { id: entry.id, why: Why::Refused(code) });
            self.touch(now);
            self.go_on(now);
        }
    }

    /// MSRP does not know what became of it: no answer, or a connection that failed. The session ends.
    pub fn handle_lost(&mut self, call: Call, id: u64, now: Instant) {
        if self.is_open(call) && self.is_in_session(id) {
            self.fail(call, now);
            self.go_on(now);
        }
    }

    /// The final response to the MESSAGE with it; 408 and 430 for a timeout and a dead flow.
    pub fn handle_paged(&mut self, id: u64, status: u16, retry_after: Option<Duration>, now: Instant) {
        if !self.flight.iter().any(|(entry, way)| entry.id == id && *way == Way::Page) {
            return;
        }
        match (Outcome::of(status), Rejection::of(status)) {
            (Outcome::Took, _) => {
                self.settle(id, |entry| Action::Confirmed { id: entry.id });
            }
            (Outcome::Refused, _) => {
                self.settle(id, |entry| Action::Return { id: entry.id, why: Why::Refused(status) });
            }
            (Outcome::Away, rejection) => {
                let why = self.when(rejection, retry_after);
                self.settle(id, |entry| Action::Return { id: entry.id, why });
                // The others would fare alike, but a session that is open shows that the device is there.
                if !matches!(self.state, State::Open { .. }) {
                    self.return_queued(why);
                }
            }
        }
        self.go_on(now);
    }

    /// The device has sent a delivery receipt for it, in whatever way.
    pub fn handle_delivered(&mut self, id: u64, now: Instant) {
        let confirmed = Action::Confirmed { id };
        if self.settle(id, |_| confirmed).is_none() {
            let before = self.queue.len() + self.receipts.len();
            self.queue.retain(|entry| entry.id != id);
            self.receipts.retain(|entry| entry.id != id);
            if self.queue.len() + self.receipts.len() < before {
                self.actions.push_back(confirmed);
            }
        }
        self.go_on(now);
    }

    /// A message of the device came in the session: it is not idle.
    pub fn handle_activity(&mut self, call: Call, now: Instant) {
        if self.is_open(call) {
            self.touch(now);
        }
    }

    /// The call is over: BYE from either side, the dialog or the MSRP connection failed. Both have been cleared away.
    pub fn handle_ended(&mut self, call: Call, now: Instant) {
        match self.state {
            State::Closing { call: current, .. } if current == call => self.state = State::Idle,
            State::Cancelling { call: current, .. } if current == call => {
                self.state = State::Idle;
                self.return_first();
            }
            State::Inviting { call: current, .. }
            | State::Connecting { call: current, .. }
            | State::Open { call: current, .. }
                if current == call =>
            {
                self.state = State::Idle;
                self.return_failed();
            }
            _ => return,
        }
        self.go_on(now);
    }

    /// The device is gone: its registration has ended.
    pub fn handle_gone(&mut self, now: Instant) {
        self.stop(Why::Away, now);
    }

    /// Ends the session and returns everything that is not under way by MESSAGE.
    pub fn close(&mut self, now: Instant) {
        self.stop(Why::Later(Duration::ZERO), now);
    }

    /// Fires what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        match self.state {
            State::Inviting { call, .. } => {
                // The first message may have arrived all the same: the final response tells.
                let queue = std::mem::take(&mut self.queue);
                self.actions.extend(queue.into_iter().map(|entry| Action::Return { id: entry.id, why: Why::Away }));
                self.cancel(call, now);
            }
            State::Cancelling { .. } => {
                self.state = State::Idle;
                self.return_first();
            }
            State::Connecting { call, .. } => self.fail(call, now),
            State::Open { call, .. } if self.in_session() > 0 => self.fail(call, now),
            State::Open { call, .. } => self.bye(call, now),
            State::Closing { .. } => self.state = State::Idle,
            State::Idle => {}
        }
        self.go_on(now);
    }

    /// When [`Leg::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Inviting { until, .. }
            | State::Cancelling { until, .. }
            | State::Connecting { until, .. }
            | State::Closing { until, .. } => Some(until),
            State::Open { since, .. } if self.in_session() > 0 => Some(since + self.settings.stall),
            State::Open { since, service, .. } if service.is_one_way() => Some(since + self.settings.linger),
            State::Open { since, .. } => Some(since + self.settings.idle),
        }
    }

    /// What to do next; call until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The session that composing indications may go in; without one they are of no use.
    pub fn open_session(&self) -> Option<Call> {
        match self.state {
            State::Open { call, service, .. } if !service.is_one_way() => Some(call),
            _ => None,
        }
    }

    /// Entries that are neither confirmed nor returned.
    pub fn len(&self) -> usize {
        self.queue.len() + self.receipts.len() + self.flight.len()
    }

    /// Whether there is nothing to deliver.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it may be forgotten: no entries, no call, nothing to be done.
    pub fn is_done(&self) -> bool {
        self.is_empty() && self.state == State::Idle && self.actions.is_empty()
    }
}

#[cfg(test)]
mod tests;
