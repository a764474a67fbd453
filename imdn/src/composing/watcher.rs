//! Who is told that somebody types (RFC 3994 §3.3, Figure 2).

use std::time::{Duration, Instant};

use super::{Composing, ComposingState};

/// RFC 3994 §3.3: how long a sign holds that does not say.
const DEFAULT_REFRESH: Duration = Duration::from_secs(120);
/// How long one holds at most, whatever it says.
const MAX_REFRESH: Duration = Duration::from_secs(3600);

/// Knows whether one user types in one conversation; idle at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watcher {
    active_until: Option<Instant>,
}

impl Watcher {
    /// Takes a status message, and returns whether the state is another now. Any number of "active" in a row is taken;
    /// the latest says how long it holds.
    pub fn handle_status(&mut self, status: &Composing, now: Instant) -> bool {
        let before = self.state(now);
        self.active_until = match status.state {
            ComposingState::Idle => None,
            ComposingState::Active => {
                let refresh = status.refresh.map_or(DEFAULT_REFRESH, |seconds| Duration::from_secs(seconds.into()));
                Some(now + refresh.min(MAX_REFRESH))
            }
        };
        self.state(now) != before
    }

    /// The user's message came, and returns whether the state is another now.
    pub fn handle_message(&mut self, now: Instant) -> bool {
        let was_active = self.state(now) == ComposingState::Active;
        self.active_until = None;
        was_active
    }

    /// Fires what is due at `now`, and returns whether the state is another now.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let over = self.active_until.is_some_and(|until| until <= now);
        if over {
            self.active_until = None;
        }
        over
    }

    /// When `handle_timeout` is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.active_until
    }

    pub fn state(&self, now: Instant) -> ComposingState {
        match self.active_until {
            Some(until) if until > now => ComposingState::Active,
            _ => ComposingState::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ComposingState::{Active, Idle};

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn back_to_idle() {
        let start = epoch();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let active = |refresh: Option<u32>| Composing { refresh, ..Composing::active(None) };
        for (name, refresh, holds) in [
            ("by default", None, 120),
            ("as told", Some(90), 90),
            ("shorter than 60 s", Some(5), 5),
            ("at most", Some(u32::MAX), 3600),
        ] {
            let mut watcher = Watcher::default();
            assert!(watcher.handle_status(&active(refresh), start), "{name}");
            assert_eq!(watcher.poll_timeout(), Some(at(holds)), "{name}");
            assert!(!watcher.handle_timeout(at(holds - 1)), "{name}");
            assert_eq!((watcher.state(at(holds - 1)), watcher.state(at(holds))), (Active, Idle), "{name}");
            assert!(watcher.handle_timeout(at(holds)), "{name}");
            assert!(!watcher.handle_timeout(at(holds + 1)), "{name}");
        }
        let mut watcher = Watcher::default();
        assert!(!watcher.handle_status(&Composing::idle(), start));
        assert!(!watcher.handle_message(start));
        watcher.handle_status(&active(None), start);
        assert!(watcher.handle_status(&Composing::idle(), at(1)));
        watcher.handle_status(&active(None), at(2));
        assert!(watcher.handle_message(at(3)));
        assert_eq!((watcher.state(at(3)), watcher.poll_timeout()), (Idle, None));
    }

    #[test]
    fn many_active_in_a_row() {
        let start = epoch();
        let mut watcher = Watcher::default();
        let changes: Vec<u64> = (0..100)
            .filter(|second| watcher.handle_status(&Composing::active(None), start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(changes, [0]);
        assert_eq!(watcher.poll_timeout(), Some(start + Duration::from_secs(99 + 120)));
    }
}
