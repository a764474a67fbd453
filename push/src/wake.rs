//! When which device is pushed to. A wake-up is an object with one owner, this table: whoever wants a device awake joins the
//! one that is there, and its REGISTER ends it for all.
//!
//! ```text
//! want ──▶ due ──poll──▶ in flight ──accepted──▶ due again after a gap ─▶ … ─▶ given up
//!           ▲                │  └─────gone, refused────────────────────────────▶ given up
//!           └─────later──────┘ (as long as a push would be of use)
//! REGISTER at any time: over
//! ```

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::outcome::Outcome;

/// A device: whose, and which.
pub type Key = (Box<str>, Box<str>);

/// What somebody wants of a device, by falling haste.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A call waits to ring.
    Call,
    /// Messages wait.
    Message,
    /// The registration runs out.
    Refresh,
}

impl Class {
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Call => "call",
            Class::Message => "message",
            Class::Refresh => "refresh",
        }
    }

    /// Times between one push and the next, while the device does not come.
    fn gaps(self) -> &'static [Duration] {
        match self {
            Class::Call => &CALL,
            Class::Message => &MESSAGE,
            Class::Refresh => &REFRESH,
        }
    }

    /// After which a push of this class is of no use.
    pub fn ttl(self) -> Duration {
        match self {
            Class::Call => Duration::from_secs(30),
            Class::Message => Duration::from_secs(24 * 3600),
            Class::Refresh => Duration::from_secs(120),
        }
    }
}

const CALL: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(10)];
const MESSAGE: [Duration; 5] = [
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
];
const REFRESH: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(30)];

/// Time for a provider to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// After a failure for which the provider does not say when to come again: the first time, at most, and what it may say at most.
const LATER: Duration = Duration::from_secs(2);
const MOST_LATER: Duration = Duration::from_secs(600);
const MOST_SAID: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Wake {
    class: Class,
    /// What it is wanted for as well, with less haste: that goes on where this is given up.
    also: Option<Class>,
    since: Instant,
    /// Pushes that the provider took, or never answered.
    sent: usize,
    /// Failures since the last of them.
    failed: u32,
    /// Names the push under way.
    in_flight: Option<u64>,
    due: Instant,
}

impl Wake {
    fn new(class: Class, now: Instant) -> Wake {
        Wake { class, also: None, since: now, sent: 0, failed: 0, in_flight: None, due: now }
    }

    /// What remains of it where its haste was in vain: a push for the rest is due after the first gap.
    fn rest(&self, now: Instant) -> Option<Wake> {
        let class = self.also?;
        Some(Wake { sent: 1, due: now + class.gaps()[0], ..Wake::new(class, now) })
    }

    /// When the next push is due after what became of one; never where none would help.
    fn after(&mut self, outcome: &Outcome, number: u64, now: Instant) -> Option<Duration> {
        match outcome {
            Outcome::Accepted => {
                self.failed = 0;
                // After the last push there is a gap too: the device may still come.
                Some(self.class.gaps().get(self.sent - 1).copied().unwrap_or(PATIENCE))
            }
            Outcome::Retry { after, .. } => {
                // It was none: another one takes its place.
                self.sent -= 1;
                let doubled = LATER.saturating_mul(1 << self.failed.min(16)).min(MOST_LATER);
                self.failed += 1;
                // Devices that failed together do not come again together.
                let spread = doubled / 4 * (number.wrapping_mul(0x9e37_79b9) % 1024) as u32 / 1024;
                let after = after.map_or(doubled + spread, |after| after.clamp(LATER, MOST_SAID));
                (now + after < self.since + self.class.ttl()).then_some(after)
            }
            Outcome::Gone(_) | Outcome::Misconfigured(_) | Outcome::Refused(_) => None,
        }
    }
}

/// A push that is to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub key: Key,
    pub class: Class,
    /// To be given back to [`Wakes::answered`].
    pub number: u64,
}

/// All wake-ups.
#[derive(Debug, Default)]
pub struct Wakes {
    wakes: HashMap<Key, Wake>,
    due: BTreeSet<(Instant, Key)>,
    next: u64,
}

impl Wakes {
    pub fn len(&self) -> usize {
        self.wakes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.wakes.is_empty()
    }

    /// Whether the device is being woken.
    pub fn has(&self, key: &Key) -> bool {
        self.wakes.contains_key(key)
    }

    /// A device is wanted awake. False if it is being woken already for something no less urgent.
    pub fn want(&mut self, key: &Key, class: Class, now: Instant) -> bool {
        if let Some(wake) = self.wakes.get_mut(key) {
            if class >= wake.class {
                let less = Some(class).filter(|class| *class > wake.class);
                wake.also = wake.also.into_iter().chain(less).min();
                return false;
            }
            // What is urgent does not wait for the gap of what was not.
            self.due.remove(&(wake.due, key.clone()));
            let also = Some(wake.also.map_or(wake.class, |also| also.min(wake.class)));
            *wake = Wake { also, ..Wake::new(class, now) };
            self.due.insert((now, key.clone()));
            return true;
        }
        self.wakes.insert(key.clone(), Wake::new(class, now));
        self.due.insert((now, key.clone()));
        true
    }

    /// The device has registered, or is not wanted any more. False if nobody wanted it.
    pub fn over(&mut self, key: &Key) -> bool {
        match self.wakes.remove(key) {
            Some(wake) => {
                self.due.remove(&(wake.due, key.clone()));
                true
            }
            None => false,
        }
    }

    /// The pushes that are due, `most` at a time.
    pub fn poll(&mut self, now: Instant, most: usize) -> Vec<Due> {
        let mut found = Vec::new();
        while found.len() < most {
            let Some((at, key)) = self.due.first().cloned() else { break };
            if at > now {
                break;
            }
            self.due.pop_first();
            let Some(wake) = self.wakes.get_mut(&key) else { continue };
            if wake.in_flight.is_some() {
                // The provider never answered.
                wake.in_flight = None;
            }
            if wake.sent > wake.class.gaps().len() {
                match wake.rest(now) {
                    Some(rest) => {
                        self.due.insert((rest.due, key.clone()));
                        *wake = rest;
                    }
                    None => drop(self.wakes.remove(&key)),
                }
                continue;
            }
            self.next += 1;
            wake.sent += 1;
            wake.in_flight = Some(self.next);
            wake.due = now + PATIENCE;
            self.due.insert((wake.due, key.clone()));
            found.push(Due { key, class: wake.class, number: self.next });
        }
        found
    }

    /// What the provider said of a push. Answers to pushes of wake-ups that are over, or were overtaken, count for
    /// nothing. True if the wake-up was given up, at least what was most urgent of it.
    pub fn answered(&mut self, key: &Key, number: u64, outcome: &Outcome, now: Instant) -> bool {
        let Some(wake) = self.wakes.get_mut(key).filter(|wake| wake.in_flight == Some(number)) else { return false };
        self.due.remove(&(wake.due, key.clone()));
        wake.in_flight = None;
        match wake.after(outcome, number, now) {
            Some(after) => {
                wake.due = now + after;
                self.due.insert((wake.due, key.clone()));
                false
            }
            None => {
                // Where the service is only late, the rest may still have its time.
                let rest = wake.rest(now).filter(|_| matches!(outcome, Outcome::Retry { .. }));
                match rest {
                    Some(rest) => {
                        self.due.insert((rest.due, key.clone()));
                        *wake = rest;
                    }
                    None => drop(self.wakes.remove(key)),
                }
                true
            }
        }
    }

    /// When [`Wakes::poll`] has something next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests;
