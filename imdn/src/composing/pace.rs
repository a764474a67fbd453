//! How often a server in the middle passes on that somebody types.

use std::time::{Duration, Instant};

use super::ComposingState;

/// Decides for one sender in one conversation. In each interval one "active" passes, and one "idle" that takes it back,
/// so that nobody seems to type who has stopped; what changes nothing is dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// When "active" last passed.
    passed: Option<Instant>,
    /// What the receivers were told last.
    told: ComposingState,
}

impl Pace {
    /// Whether a status message is passed on. A broken one counts as "idle".
    pub fn admit(&mut self, state: ComposingState, interval: Duration, now: Instant) -> bool {
        match state {
            ComposingState::Idle if self.told == ComposingState::Idle => return false,
            ComposingState::Active if self.passed.is_some_and(|passed| now < passed + interval) => return false,
            ComposingState::Active => self.passed = Some(now),
            ComposingState::Idle => {}
        }
        self.told = state;
        true
    }

    /// The sender's message passed, after which its receivers take the sender for idle, and the next sign counts anew.
    /// Messages have limits of their own.
    pub fn handle_message(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ComposingState::{Active, Idle};
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn one_for_each_interval() {
        let start = epoch();
        let mut pace = Pace::default();
        for (second, state, expected) in [
            (0, Idle, false),
            (0, Active, true),
            (1, Active, false),
            (9, Active, false),
            (10, Active, true),
            (11, Idle, true),
            (11, Idle, false),
            (12, Active, false),
            (13, Idle, false),
            (20, Active, true),
        ] {
            assert_eq!(
                pace.admit(state, INTERVAL, start + Duration::from_secs(second)),
                expected,
                "{second} {state:?}"
            );
        }
        pace.handle_message();
        assert!(!pace.admit(Idle, INTERVAL, start + Duration::from_secs(21)));
        assert!(pace.admit(Active, INTERVAL, start + Duration::from_secs(21)));
    }

    proptest! {
        #[test]
        fn no_flood_passes_and_nobody_hangs(signs in proptest::collection::vec((0_u64..3000, any::<bool>()), 1..100)) {
            let (start, mut now, mut pace) = (epoch(), Duration::ZERO, Pace::default());
            let mut passed: Vec<(Duration, ComposingState)> = Vec::new();
            for (millis, active) in signs {
                now += Duration::from_millis(millis);
                let state = if active { Active } else { Idle };
                if pace.admit(state, INTERVAL, start + now) {
                    passed.push((now, state));
                }
                if state == Idle {
                    prop_assert!(passed.last().is_none_or(|last| last.1 == Idle), "left active");
                }
            }
            for (at, _) in &passed {
                let near = passed.iter().filter(|(other, _)| *other >= *at && *other < *at + INTERVAL).count();
                prop_assert!(near <= 3, "{} in one interval", near);
            }
        }
    }
}
