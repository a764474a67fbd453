//! The response context of one proxied request: its branches, and which response goes upstream (RFC 3261 §16.6 to
//! §16.10, RFC 4320, RFC 5393 §5.3, RFC 5626 §7).
//!
//! ```text
//! Waiting ──Start──▶ Running ──final response, failure──▶ Done
//!    └──2xx or 6xx elsewhere, CANCEL, the device has answered──▶ Skipped
//! ```
//! The caller owns transactions and knows the targets by their index here. It sends a CANCEL only once a provisional
//! response has come (§9.1), and tells of timeouts and transport errors of client transactions.

use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::response::{merge_challenges, strip_via};
use crate::limits::Limits;
use crate::message::Message;
use crate::name::Method;

/// One way to send the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Groups are tried one after the other from the lowest number, the members of one in parallel.
    pub group: u16,
    /// The device: of candidates with the same number only one is tried at a time, the next after 408 or 430 (RFC
    /// 5626 §7). They share a group.
    pub instance: u16,
}

/// How a context behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkPolicy {
    /// Timer C, more than 3 minutes (§16.6 step 11).
    pub timer_c: Duration,
    /// How long a group of an INVITE may ring before the next group is tried.
    pub group_timeout: Option<Duration>,
    /// Branches that may be active at once: the request's Max-Breadth within our own bound.
    pub max_breadth: u32,
    /// Whether a 2xx cancels the other branches (Request-Disposition: no-cancel, RFC 3841 §9.1).
    pub cancel_on_answer: bool,
}

impl Default for ForkPolicy {
    fn default() -> Self {
        ForkPolicy { timer_c: Duration::from_secs(185), group_timeout: None, max_breadth: 60, cancel_on_answer: true }
    }
}

/// Why a branch is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// Another branch gave a 2xx.
    Answered,
    /// Another branch gave this 6xx.
    Declined(u16),
    /// The client cancelled: the Reason of its CANCEL goes along.
    Upstream,
    /// Timer C, or the time of the group.
    TimedOut,
}

impl CancelReason {
    /// A Reason value for the CANCEL (RFC 3326).
    pub fn value(self) -> Option<&'static str> {
        match self {
            CancelReason::Answered => Some("SIP;cause=200;text=\"Call completed elsewhere\""),
            CancelReason::Declined(600) => Some("SIP;cause=600;text=\"Busy Everywhere\""),
            CancelReason::Declined(604) => Some("SIP;cause=604;text=\"Does Not Exist Anywhere\""),
            CancelReason::Declined(_) => Some("SIP;cause=603;text=\"Decline\""),
            CancelReason::TimedOut => Some("SIP;cause=408;text=\"Request Timeout\""),
            CancelReason::Upstream => None,
        }
    }
}

/// Why a branch ended without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The client transaction timed out: a 408 (§16.6 step 7).
    Timeout,
    /// The request could not be sent to any address: a 503 (§16.9).
    Transport,
    /// The flow of the binding is gone: a 430 (RFC 5626 §5.3).
    FlowFailed,
}

/// What the caller does next, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the request to this candidate with this Max-Breadth.
    Start { branch: usize, max_breadth: u32 },
    /// Cancel this branch.
    Cancel { branch: usize, reason: CancelReason },
    /// Forget the client transaction of this branch: it has never been heard of.
    Abandon { branch: usize },
    /// Pass the response at hand upstream at once, without its top Via ([`strip_via`]).
    Forward,
    /// No branch is left; comes once, and not after a 2xx has been forwarded.
    Final(Final),
}

/// The outcome where no 2xx came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Final {
    /// The best response, ready for the server transaction: Via taken off, challenges collected.
    Response { status: u16, bytes: Bytes },
    /// Nothing worth passing on; answer with this code.
    Generate(u16),
    /// Nothing in time, and no code may say so: send nothing (RFC 4320 §4.2). A caller that stores messages does it
    /// now.
    Silent,
}

pub type Actions = SmallVec<[Action; 2]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running { proceeding: bool },
    Done,
    Skipped,
}

#[derive(Debug, Clone, Copy)]
struct Branch {
    group: u16,
    instance: u16,
    state: State,
    /// Cancelled because it took too long, so its 487 says no more than 408.
    overdue: bool,
    cancelled: bool,
    /// Its share of Max-Breadth while it runs.
    breadth: u32,
    timer_c: Option<Instant>,
}

#[derive(Debug)]
struct Best {
    rank: u8,
    status: u16,
    /// `None`: made from a failure.
    bytes: Option<Bytes>,
}

/// See the module.
#[derive(Debug)]
pub struct ResponseContext {
    branches: SmallVec<[Branch; 2]>,
    policy: ForkPolicy,
    invite: bool,
    group: u16,
    group_until: Option<Instant>,
    hold_until: Option<Instant>,
    /// Candidates that may still be added while it is held open: breadth is kept for them.
    expected: u32,
    best: Option<Best>,
    /// Every 401 and 407, in order of arrival, without our Via; the best is among them.
    challenges: Vec<Bytes>,
    cancelled: bool,
    /// No new branches: a 2xx, a 6xx or a CANCEL has come.
    closed: bool,
    final_sent: bool,
}

impl ResponseContext {
    pub fn new(method: Method, candidates: &[Candidate], policy: ForkPolicy) -> ResponseContext {
        let mut context = ResponseContext {
            branches: SmallVec::with_capacity(candidates.len()),
            policy,
            invite: method == Method::Invite,
            group: 0,
            group_until: None,
            hold_until: None,
            expected: 0,
            best: None,
            challenges: Vec::new(),
            cancelled: false,
            closed: false,
            final_sent: false,
        };
        context.push(candidates);
        context
    }

    /// One target, as most requests have.
    pub fn single(method: Method, policy: ForkPolicy) -> ResponseContext {
        ResponseContext::new(method, &[Candidate { group: 0, instance: 0 }], policy)
    }

    /// Starts the first group. Without candidates and without [`ResponseContext::hold`], the outcome is 480.
    pub fn start(&mut self, now: Instant) -> Actions {
        let mut actions = Actions::new();
        self.settle(now, &mut actions);
        actions
    }

    /// Keeps the context open until `until` even when no branch is left, for devices that are being woken. Those that ring
    /// meanwhile leave some of the breadth for them.
    pub fn hold(&mut self, until: Instant, devices: u32) {
        (self.hold_until, self.expected) = (Some(until), devices);
    }

    /// Ends [`ResponseContext::hold`].
    pub fn release(&mut self, now: Instant) -> Actions {
        (self.hold_until, self.expected) = (None, 0);
        let mut actions = Actions::new();
        self.settle(now, &mut actions);
        actions
    }

    /// Adds candidates that became known meanwhile (§16.5); their first index comes back. `None` where no branch may
    /// be added any more. The caller adds a URI only once, and only for a Request-URI that it is responsible for.
    pub fn add(&mut self, candidates: &[Candidate], now: Instant) -> Option<(usize, Actions)> {
        if self.closed || self.final_sent {
            return None;
        }
        let first = self.branches.len();
        self.push(candidates);
        self.expected = self.expected.saturating_sub(candidates.len() as u32);
        for candidate in candidates {
            // Earlier groups are open again for those who come late.
            self.group = self.group.min(candidate.group);
        }
        let mut actions = Actions::new();
        self.settle(now, &mut actions);
        Some((first, actions))
    }

    /// Follows a 3xx: the branch ends, its response does not count (§16.7 step 4), and `count` contacts of it, each
    /// a device of its own, are tried in the same group. `None`, and nothing done, where no branch may be added:
    /// then the response goes to [`ResponseContext::handle_response`].
    pub fn redirect(&mut self, branch: usize, count: u16, now: Instant) -> Option<(usize, Actions)> {
        let Branch { group, state: State::Running { .. }, .. } = *self.branches.get(branch)? else { return None };
        if self.closed || self.final_sent || count == 0 {
            return None;
        }
        self.finish_branch(branch, 300);
        let instance = self.branches.iter().map(|b| b.instance).max().unwrap_or(0);
        let new: SmallVec<[Candidate; 4]> =
            (1..=count).map(|n| Candidate { group, instance: instance.saturating_add(n) }).collect();
        self.add(&new, now)
    }

    /// A response from a branch, the top Via still in it.
    pub fn handle_response(&mut self, branch: usize, response: &Message, now: Instant) -> Actions {
        let mut actions = Actions::new();
        let status = response.status();
        let Some(entry) = self.branches.get_mut(branch) else { return actions };
        let State::Running { .. } = entry.state else {
            // A late or repeated 2xx to an INVITE is for the client (§16.7 step 5), also from a branch that was given up.
            if self.invite && status / 100 == 2 && entry.state == State::Done {
                actions.push(Action::Forward);
                self.answered(&mut actions);
            }
            return actions;
        };
        match status {
            0..=199 => {
                entry.state = State::Running { proceeding: true };
                // Other provisional responses than 100 are for INVITE alone (RFC 4320 §4.1).
                if status > 100 && self.invite {
                    if entry.timer_c.is_some() {
                        entry.timer_c = Some(now + self.policy.timer_c);
                    }
                    if !self.final_sent {
                        actions.push(Action::Forward);
                    }
                }
                return actions;
            }
            200..=299 => {
                self.finish_branch(branch, status);
                if self.invite || !self.final_sent {
                    actions.push(Action::Forward);
                }
                self.answered(&mut actions);
            }
            _ => {
                let (overdue, cancelled) = (entry.overdue, entry.cancelled);
                self.finish_branch(branch, status);
                if self.final_sent {
                    return actions;
                }
                match status {
                    487 if overdue => self.note_failure(408),
                    430 => self.note_failure(430),
                    408 if !self.invite => self.note_failure(408),
                    _ => self.note_response(status, cancelled, response),
                }
                if status >= 600 {
                    self.close();
                    self.cancel_running(CancelReason::Declined(status), &mut actions);
                }
            }
        }
        self.settle(now, &mut actions);
        actions
    }

    /// A branch ended without a response.
    pub fn handle_branch_failed(&mut self, branch: usize, failure: Failure, now: Instant) -> Actions {
        let mut actions = Actions::new();
        let Some(entry) = self.branches.get(branch) else { return actions };
        if !matches!(entry.state, State::Running { .. }) {
            return actions;
        }
        let status = match failure {
            Failure::Timeout => 408,
            Failure::Transport => 503,
            Failure::FlowFailed => 430,
        };
        self.finish_branch(branch, status);
        self.note_failure(status);
        self.settle(now, &mut actions);
        actions
    }

    /// The client cancelled the INVITE (§16.10). The 200 to the CANCEL is the caller's; the 487 comes as the outcome.
    pub fn handle_cancel(&mut self, now: Instant) -> Actions {
        let mut actions = Actions::new();
        if !self.invite || self.final_sent {
            return actions;
        }
        self.cancelled = true;
        self.hold_until = None;
        self.close();
        self.cancel_running(CancelReason::Upstream, &mut actions);
        self.settle(now, &mut actions);
        actions
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Actions {
        let mut actions = Actions::new();
        for index in 0..self.branches.len() {
            let branch = &mut self.branches[index];
            if branch.timer_c.is_none_or(|at| at > now) {
                continue;
            }
            branch.timer_c = None;
            branch.overdue = true;
            match branch.state {
                State::Running { proceeding: true } => self.cancel(index, CancelReason::TimedOut, &mut actions),
                State::Running { proceeding: false } => {
                    self.finish_branch(index, 408);
                    self.note_failure(408);
                    actions.push(Action::Abandon { branch: index });
                }
                _ => {}
            }
        }
        if self.hold_until.is_some_and(|at| at <= now) {
            // Who comes late may still ring with the others.
            self.hold_until = None;
        }
        if self.group_until.is_some_and(|at| at <= now) {
            self.group_until = None;
            // Only to move on; the last group rings until timer C or the caller's patience ends.
            if !self.closed && self.branches.iter().any(|b| b.state == State::Waiting && b.group > self.group) {
                for index in 0..self.branches.len() {
                    if matches!(self.branches[index].state, State::Running { .. }) {
                        self.branches[index].overdue = true;
                        self.cancel(index, CancelReason::TimedOut, &mut actions);
                    }
                    if self.branches[index].group <= self.group {
                        self.skip(index);
                    }
                }
                self.next_group();
            }
        }
        self.settle(now, &mut actions);
        actions
    }

    /// When [`ResponseContext::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = self.branches.iter().filter_map(|b| b.timer_c);
        timers.chain(self.group_until).chain(self.hold_until).min()
    }

    /// Whether every branch has ended and the outcome is told. Late 2xx of an INVITE may still come and be handled,
    /// as long as the caller keeps the context.
    pub fn is_done(&self) -> bool {
        self.final_sent && !self.branches.iter().any(|b| matches!(b.state, State::Waiting | State::Running { .. }))
    }

    /// Whether a final response has gone upstream, or the outcome has been told.
    pub fn is_answered(&self) -> bool {
        self.final_sent
    }

    /// How many branches wait for a final response.
    pub fn running(&self) -> usize {
        self.branches.iter().filter(|b| matches!(b.state, State::Running { .. })).count()
    }

    fn push(&mut self, candidates: &[Candidate]) {
        self.branches.extend(candidates.iter().map(|candidate| Branch {
            group: candidate.group,
            instance: candidate.instance,
            state: State::Waiting,
            overdue: false,
            cancelled: false,
            breadth: 0,
            timer_c: None,
        }));
    }

    /// Starts what may start, and tells the outcome where nothing runs any more.
    fn settle(&mut self, now: Instant, actions: &mut Actions) {
        if !self.closed {
            self.advance(now, actions);
        }
        let busy = self.branches.iter().any(|b| matches!(b.state, State::Running { .. } | State::Waiting));
        if busy || self.final_sent || (self.hold_until.is_some() && !self.closed) {
            return;
        }
        self.final_sent = true;
        actions.push(Action::Final(self.outcome()));
    }

    fn advance(&mut self, now: Instant, actions: &mut Actions) {
        loop {
            let started = self.start_group(now, actions);
            // Those that are cancelled for taking too long hold up no one.
            let holds = |b: &Branch| match b.state {
                State::Waiting => b.group <= self.group,
                State::Running { .. } => !b.overdue,
                State::Done | State::Skipped => false,
            };
            if started || self.branches.iter().any(holds) || !self.next_group() {
                return;
            }
        }
    }

    /// The next group that has something to try.
    fn next_group(&mut self) -> bool {
        self.group_until = None;
        let next = self.branches.iter().filter(|b| b.state == State::Waiting).map(|b| b.group).min();
        self.group = next.unwrap_or(self.group);
        next.is_some()
    }

    /// Starts the candidates of the open group, one of each device, within the breadth that is left.
    fn start_group(&mut self, now: Instant, actions: &mut Actions) -> bool {
        let used: u32 = self.branches.iter().map(|b| b.breadth).sum();
        let available = self.policy.max_breadth.max(1).saturating_sub(used);
        let mut ready: SmallVec<[usize; 8]> = SmallVec::new();
        for (index, branch) in self.branches.iter().enumerate() {
            let taken =
                |other: &Branch| other.instance == branch.instance && matches!(other.state, State::Running { .. });
            if branch.state == State::Waiting
                && branch.group <= self.group
                && !self.branches.iter().any(taken)
                && !ready.iter().any(|r: &usize| self.branches[*r].instance == branch.instance)
            {
                ready.push(index);
            }
        }
        // What finds no breadth waits for a branch to end: forking in series instead (RFC 5393 §5.3.3).
        ready.truncate(available as usize);
        let count = ready.len() as u32;
        // Devices that are being woken have their part, or they would not ring before another has ended.
        let parts = count + self.expected;
        for (n, index) in ready.iter().enumerate() {
            let share = (available / parts + u32::from((n as u32) < available % parts)).max(1);
            let branch = &mut self.branches[*index];
            branch.state = State::Running { proceeding: false };
            branch.breadth = share;
            if self.invite {
                branch.timer_c = Some(now + self.policy.timer_c);
            }
            actions.push(Action::Start { branch: *index, max_breadth: share });
        }
        if count > 0 && self.invite && self.group_until.is_none() {
            self.group_until = self.policy.group_timeout.map(|time| now + time);
        }
        count > 0
    }

    /// Ends a branch; unless it failed on the way, its device has answered and is not tried again (RFC 5626 §7).
    fn finish_branch(&mut self, index: usize, status: u16) {
        let branch = &mut self.branches[index];
        branch.state = State::Done;
        branch.breadth = 0;
        branch.timer_c = None;
        let instance = branch.instance;
        // A transport failure has not reached the device either.
        if !matches!(status, 408 | 430 | 503) {
            for other in 0..self.branches.len() {
                if self.branches[other].instance == instance {
                    self.skip(other);
                }
            }
        }
    }

    fn skip(&mut self, index: usize) {
        if self.branches[index].state == State::Waiting {
            self.branches[index].state = State::Skipped;
        }
    }

    /// A 2xx has gone upstream.
    fn answered(&mut self, actions: &mut Actions) {
        self.final_sent = true;
        self.close();
        if self.policy.cancel_on_answer {
            self.cancel_running(CancelReason::Answered, actions);
        }
    }

    /// No more branches.
    fn close(&mut self) {
        self.closed = true;
        self.group_until = None;
        for index in 0..self.branches.len() {
            self.skip(index);
        }
    }

    fn cancel_running(&mut self, reason: CancelReason, actions: &mut Actions) {
        for index in 0..self.branches.len() {
            self.cancel(index, reason, actions);
        }
    }

    fn cancel(&mut self, index: usize, reason: CancelReason, actions: &mut Actions) {
        let branch = &mut self.branches[index];
        // Only INVITE is cancelled (§9.1), and only once.
        if self.invite && matches!(branch.state, State::Running { .. }) && !branch.cancelled {
            branch.cancelled = true;
            actions.push(Action::Cancel { branch: index, reason });
        }
    }

    fn note_failure(&mut self, status: u16) {
        // Below every response that did come, so that a dead contact never hides a live one's answer.
        let rank = match status {
            408 => 200,
            430 => 201,
            _ => 202,
        };
        if self.best.as_ref().is_none_or(|best| rank < best.rank) {
            self.best = Some(Best { rank, status, bytes: None });
        }
    }

    fn note_response(&mut self, status: u16, cancelled: bool, response: &Message) {
        let rank = rank(status, cancelled, self.cancelled);
        let challenge = matches!(status, 401 | 407);
        let better = self.best.as_ref().is_none_or(|best| rank < best.rank);
        if !better && !challenge {
            return;
        }
        let Some(bytes) = strip_via(response) else {
            // A response without a second Via cannot be passed on; its code can.
            if better {
                self.best = Some(Best { rank, status, bytes: None });
            }
            return;
        };
        if challenge {
            self.challenges.push(bytes.clone());
        }
        if better {
            self.best = Some(Best { rank, status, bytes: Some(bytes) });
        }
    }

    fn outcome(&mut self) -> Final {
        let challenges = std::mem::take(&mut self.challenges);
        match self.best.take() {
            // Cancelled before anything was sent, or with nothing heard.
            None | Some(Best { bytes: None, .. }) if self.cancelled => Final::Generate(487),
            None => Final::Generate(480),
            // Ours to answer for, not the whole server's (§16.7 step 6).
            Some(Best { status: 503, .. }) => Final::Generate(500),
            Some(Best { status: 408, bytes: None, .. }) if !self.invite => Final::Silent,
            Some(Best { status: 430, .. }) => Final::Generate(480),
            Some(Best { status, bytes: None, .. }) => Final::Generate(status),
            Some(Best { status, bytes: Some(bytes), .. }) => {
                Final::Response { status, bytes: collect(bytes, &challenges) }
            }
        }
    }
}

/// Adds the challenges of the other branches to the one that was chosen.
fn collect(best: Bytes, challenges: &[Bytes]) -> Bytes {
    if challenges.len() < 2 || !challenges.contains(&best) {
        return best;
    }
    // They have been within the limits of the one who parsed them before.
    let limits = Limits { message: usize::MAX, head: usize::MAX, headers: usize::MAX, uri: usize::MAX };
    let Ok(message) = Message::parse(best.clone(), &limits) else { return best };
    let others: Vec<Message> = challenges
        .iter()
        .filter(|other| other.as_ptr() != best.as_ptr())
        .filter_map(|other| Message::parse(other.clone(), &limits).ok())
        .collect();
    merge_challenges(&message, &others)
}

/// Order among final responses from 300 on; the lowest is the best (§16.7 step 6). `ours`: the branch was cancelled by
/// us; `upstream`: the client wants to hear of its own CANCEL.
fn rank(status: u16, ours: bool, upstream: bool) -> u8 {
    let class = match status / 100 {
        6 => 0,
        3 => 1,
        4 => 2,
        _ => 3,
    };
    let within = match status {
        487 if upstream => 0,
        // The client can do something about these.
        401 | 407 => 1,
        415 | 420 | 484 => 2,
        413 | 414 | 416 | 421 | 422 | 423 | 428 | 436..=438 | 488 | 493 | 494 => 3,
        // A person or a device that says no says more than one that is not there.
        480 | 404 | 410 => 6,
        481 => 7,
        408 => 8,
        487 if ours => 10,
        487 => 9,
        // Says of the next server, not of the user.
        500..=502 | 504..=699 => 4,
        503 => 9,
        _ => 4,
    };
    class * 16 + within
}

#[cfg(test)]
mod tests;
