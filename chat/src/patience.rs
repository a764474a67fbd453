//! When a device that did not take a MESSAGE is tried again.
//!
//! Registrations that are merely refreshed say that a device is there, not that it takes messages: some never do, and what
//! waits for them would be sent again with each refresh.

use std::time::{Duration, Instant};

/// The first pause, and the longest; it doubles from one to the next.
const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(1800);

/// What is remembered of such a device. `R` names its registration: another one is another chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience<R> {
    registration: R,
    failures: u32,
    until: Instant,
    /// The next refresh is one more chance, whenever it comes: the device may just have been busy.
    spare: bool,
}

impl<R: PartialEq> Patience<R> {
    /// It has not taken a message for the first time.
    pub fn new(registration: R, now: Instant) -> Patience<R> {
        Patience { registration, failures: 1, until: now + FIRST, spare: true }
    }

    /// It has not taken one again.
    pub fn failed(&mut self, registration: R, now: Instant) {
        if self.registration != registration {
            *self = Patience::new(registration, now);
        } else if self.until <= now {
            self.until = now + FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
            self.failures += 1;
            self.spare = false;
        } else {
            self.spare = false;
        }
    }

    /// Whether it may be tried now.
    pub fn may_try(&self, registration: &R, now: Instant) -> bool {
        self.registration != *registration || self.spare || self.until <= now
    }

    /// When it may be tried again.
    pub fn until(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "some instant has to be the first")]
    fn epoch() -> Instant {
        Instant::now()
    }

    /// A device registers every so often and takes nothing: how often it is tried in a day.
    fn tries(every: u64) -> usize {
        let start = epoch();
        let (mut patience, mut tries): (Option<Patience<u8>>, _) = (None, 0);
        for at in (0..86_400).step_by(every as usize).map(|at| start + Duration::from_secs(at)) {
            match &mut patience {
                Some(patience) if !patience.may_try(&1, at) => continue,
                Some(patience) => patience.failed(1, at),
                None => patience = Some(Patience::new(1, at)),
            }
            tries += 1;
        }
        tries
    }

    #[test]
    fn refreshes_do_not_make_more_tries() {
        for (every, expected) in [(1, 54), (60, 53), (600, 52), (3600, 24)] {
            assert_eq!(tries(every), expected, "a refresh every {every} s");
        }
    }

    #[test]
    fn pauses_double_and_a_new_registration_ends_them() {
        let start = epoch();
        let mut patience = Patience::new("one", start);
        assert!(patience.may_try(&"one", start), "once more at the next refresh");
        patience.failed("one", start);
        for seconds in [60, 120, 240, 480, 960, 1800, 1800] {
            let now = patience.until();
            assert!(patience.may_try(&"one", now) && !patience.may_try(&"one", now - Duration::from_millis(1)));
            for copy in 0..3 {
                patience.failed("one", now);
                assert_eq!(patience.until() - now, Duration::from_secs(seconds), "{copy}: together they count once");
            }
        }
        let now = patience.until() - Duration::from_secs(1);
        assert!(patience.may_try(&"two", now));
        patience.failed("two", now);
        assert_eq!(patience, Patience::new("two", now));
    }
}
