//! When which device is pushed to. A wake-up is an object with one owner, this table: whoever wants a device awake joins the
//! one that is there, and its REGISTER ends it for all.
//!
//! ```text
//! want ──▶ due ──poll──▶ in flight ──accepted──▶ due again after a gap ─▶ … ─▶ given up
//!           ▲                │  └─────gone, refused────────────────────────────▶ given up
//!           └────retry───────┘
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

/// Time for a provider to answer, and for one that says "later".
const PATIENCE: Duration = Duration::from_secs(30);
const LATER: Duration = Duration::from_secs(5);
const MOST_LATER: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Wake {
    class: Class,
    sent: usize,
    /// Names the push under way.
    in_flight: Option<u64>,
    due: Instant,
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
                return false;
            }
            // What is urgent does not wait for the gap of what was not.
            self.due.remove(&(wake.due, key.clone()));
            (wake.class, wake.sent, wake.in_flight, wake.due) = (class, 0, None, now);
            self.due.insert((now, key.clone()));
            return true;
        }
        self.wakes.insert(key.clone(), Wake { class, sent: 0, in_flight: None, due: now });
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
                self.wakes.remove(&key);
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
    /// nothing. True if the wake-up was given up.
    pub fn answered(&mut self, key: &Key, number: u64, outcome: &Outcome, now: Instant) -> bool {
        let Some(wake) = self.wakes.get_mut(key).filter(|wake| wake.in_flight == Some(number)) else { return false };
        self.due.remove(&(wake.due, key.clone()));
        wake.in_flight = None;
        let gap = wake.class.gaps().get(wake.sent - 1).copied();
        let after = match outcome {
            Outcome::Accepted => gap,
            Outcome::Retry { after, .. } => gap.map(|gap| after.unwrap_or(LATER).min(MOST_LATER).max(LATER.min(gap))),
            Outcome::Gone(_) | Outcome::Misconfigured(_) | Outcome::Refused(_) => None,
        };
        // After the last push there is a gap too: the device may still come.
        let last = matches!(outcome, Outcome::Accepted).then_some(PATIENCE);
        match after.or(last) {
            Some(after) => {
                wake.due = now + after;
                if after == PATIENCE && gap.is_none() {
                    wake.sent = usize::MAX;
                }
                self.due.insert((wake.due, key.clone()));
                false
            }
            None => {
                self.wakes.remove(key);
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
