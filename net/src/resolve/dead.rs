//! Targets that did not answer lately (RFC 3263 §4.3, RFC 3261 §21.5.4).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chappe_sip::Transport;
use parking_lot::Mutex;

use crate::outbox::Target;

/// More dead targets than this are not remembered.
const MOST: usize = 10_000;

/// Transport addresses with the time until which they are not tried again.
#[derive(Debug, Default)]
pub struct DeadTargets {
    until: Mutex<HashMap<(Transport, SocketAddr), Instant>>,
}

impl DeadTargets {
    /// Leaves `target` out for `time`: after a failed connection, a timeout, or a 503 with its Retry-After.
    pub fn mark(&self, target: &Target, now: Instant, time: Duration) {
        let mut until = self.until.lock();
        if until.len() >= MOST {
            until.retain(|_, until| *until > now);
        }
        if until.len() < MOST {
            until.insert((target.transport, target.addr), now + time);
        }
    }

    /// `target` answered.
    pub fn revive(&self, target: &Target) {
        self.until.lock().remove(&(target.transport, target.addr));
    }

    pub fn is_dead(&self, target: &Target, now: Instant) -> bool {
        self.until.lock().get(&(target.transport, target.addr)).is_some_and(|until| *until > now)
    }

    /// Takes the dead out of `targets`, unless nothing would be left.
    pub fn leave_out(&self, targets: &mut Vec<Target>, now: Instant) {
        if targets.iter().any(|t| !self.is_dead(t, now)) {
            targets.retain(|t| !self.is_dead(t, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_expires_and_an_answer_revives() {
        let (dead, now) = (DeadTargets::default(), Instant::now());
        let target = Target::new(Transport::Tcp, "192.0.2.1:5060".parse().unwrap());
        let other = Target::new(Transport::Udp, target.addr);
        dead.mark(&target, now, Duration::from_secs(30));
        assert!(dead.is_dead(&target, now + Duration::from_secs(29)) && !dead.is_dead(&other, now));
        assert!(!dead.is_dead(&target, now + Duration::from_secs(30)));
        dead.revive(&target);
        assert!(!dead.is_dead(&target, now));
    }
}
