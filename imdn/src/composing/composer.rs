//! Who types, and tells (RFC 3994 §3.2, Figure 1).

use std::time::{Duration, Instant};

use super::{Composing, ComposingState};

/// RFC 3994 §3.2: the refresh interval should be no shorter.
const MIN_REFRESH: Duration = Duration::from_secs(60);

/// How a composer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComposerConfig {
    /// How often typing is told again; raised to 60 s. `None`: never, and watchers give up after 120 s.
    pub refresh: Option<Duration>,
    /// How long nobody types until that is told.
    pub idle: Duration,
}

impl Default for ComposerConfig {
    fn default() -> Self {
        Self { refresh: Some(MIN_REFRESH), idle: Duration::from_secs(15) }
    }
}

/// Makes the status messages of one user for one conversation. Changes are told at once, the same state again only when
/// the refresh interval is over.
///
/// ```text
///      ┌──────────── message sent (nothing is told) ───────────┐
///      ▼                                                       │
///    Idle ──────────────── input: "active" ───────────────▶ Active ──┐
///      ▲                                                       │  ▲  │ refresh: "active"
///      └──────────────── idle time over: "idle" ───────────────┘  └──┘
/// ```
#[derive(Debug)]
pub struct Composer {
    config: ComposerConfig,
    state: State,
    /// Only the latest state is worth telling.
    outbox: Option<Composing>,
    refused: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Idle,
    Active { last_input: Instant, refresh: Option<Instant> },
}

impl Composer {
    pub fn new(config: ComposerConfig) -> Self {
        let refresh = config.refresh.map(|refresh| refresh.max(MIN_REFRESH));
        Self { config: ComposerConfig { refresh, ..config }, state: State::Idle, outbox: None, refused: false }
    }

    /// The user types.
    pub fn handle_input(&mut self, now: Instant) {
        self.handle_timeout(now);
        match &mut self.state {
            State::Active { last_input, .. } => *last_input = now,
            State::Idle => self.tell_active(now, now),
        }
    }

    /// The message itself went out, which says enough.
    pub fn handle_sent(&mut self) {
        self.state = State::Idle;
        self.outbox = None;
    }

    /// The other side does not want to know: 415 to a status message (RFC 3994 §4). Nothing more is told.
    pub fn handle_refusal(&mut self) {
        self.refused = true;
        self.outbox = None;
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let State::Active { last_input, refresh } = self.state else { return };
        if last_input + self.config.idle <= now {
            self.state = State::Idle;
            self.tell(Composing::idle());
        } else if refresh.is_some_and(|refresh| refresh <= now) {
            self.tell_active(now, last_input);
        }
    }

    /// The next status message for the wire; call until `None`.
    pub fn poll_transmit(&mut self) -> Option<Composing> {
        self.outbox.take()
    }

    /// When `handle_timeout` is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let State::Active { last_input, refresh } = self.state else { return None };
        let idle = last_input + self.config.idle;
        Some(refresh.map_or(idle, |refresh| refresh.min(idle)))
    }

    pub fn state(&self) -> ComposingState {
        match self.state {
            State::Idle => ComposingState::Idle,
            State::Active { .. } => ComposingState::Active,
        }
    }

    fn tell_active(&mut self, now: Instant, last_input: Instant) {
        self.state = State::Active { last_input, refresh: self.config.refresh.map(|refresh| now + refresh) };
        self.tell(Composing::active(self.config.refresh));
    }

    fn tell(&mut self, sign: Composing) {
        if !self.refused {
            self.outbox = Some(sign);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Types at the given seconds, and returns what was told when until `end`. Timers fire when they ask to.
    fn transcript(config: ComposerConfig, typed: &[u64], sent: Option<u64>, end: u64) -> Vec<(u64, ComposingState)> {
        let start = epoch();
        let mut composer = Composer::new(config);
        let mut told = Vec::new();
        for second in 0..=end {
            let now = start + secs(second);
            if composer.poll_timeout().is_some_and(|due| due <= now) {
                composer.handle_timeout(now);
            }
            if typed.contains(&second) {
                composer.handle_input(now);
            }
            if sent == Some(second) {
                composer.handle_sent();
            }
            told.extend(std::iter::from_fn(|| composer.poll_transmit()).map(|sign| (second, sign.state)));
        }
        told
    }

    #[test]
    fn what_is_told_when() {
        use ComposingState::*;
        let default = ComposerConfig::default();
        let once = ComposerConfig { refresh: None, ..default };
        let steady: Vec<u64> = (0..150).step_by(10).collect();
        for (name, config, typed, sent, expected) in [
            ("the first keystroke, then idle", default, vec![3, 5, 9], None, vec![(3, Active), (24, Idle)]),
            (
                "idle and typing again",
                default,
                vec![0, 20],
                None,
                vec![(0, Active), (15, Idle), (20, Active), (35, Idle)],
            ),
            ("a message says enough", default, vec![0, 5], Some(8), vec![(0, Active)]),
            ("a message that nobody typed", default, vec![], Some(8), vec![]),
            ("typing after a message", default, vec![0, 12], Some(10), vec![(0, Active), (12, Active), (27, Idle)]),
            (
                "refreshed while typing goes on",
                default,
                steady.clone(),
                None,
                vec![(0, Active), (60, Active), (120, Active), (155, Idle)],
            ),
            (
                "never more often than each 60 s",
                ComposerConfig { refresh: Some(secs(5)), ..default },
                steady.clone(),
                None,
                vec![(0, Active), (60, Active), (120, Active), (155, Idle)],
            ),
            ("without refresh", once, steady, None, vec![(0, Active), (155, Idle)]),
        ] {
            assert_eq!(transcript(config, &typed, sent, 200), expected, "{name}");
        }
    }

    #[test]
    fn tells_its_interval() {
        let start = epoch();
        for (refresh, expected) in [(None, None), (Some(secs(1)), Some(60)), (Some(secs(90)), Some(90))] {
            let mut composer = Composer::new(ComposerConfig { refresh, ..ComposerConfig::default() });
            composer.handle_input(start);
            assert_eq!(composer.poll_transmit().unwrap().refresh, expected);
        }
    }

    #[test]
    fn a_late_timer_tells_only_how_it_is() {
        let start = epoch();
        let mut composer = Composer::new(ComposerConfig::default());
        composer.handle_input(start);
        assert_eq!(composer.poll_timeout(), Some(start + secs(15)));
        composer.handle_timeout(start + secs(500));
        assert_eq!(composer.poll_transmit(), Some(Composing::idle()));
        assert_eq!(
            (composer.poll_transmit(), composer.poll_timeout(), composer.state()),
            (None, None, ComposingState::Idle)
        );
        composer.handle_timeout(start + secs(600));
        assert_eq!(composer.poll_transmit(), None);
    }

    #[test]
    fn nothing_is_told_after_a_415() {
        let start = epoch();
        let mut composer = Composer::new(ComposerConfig::default());
        composer.handle_input(start);
        assert!(composer.poll_transmit().is_some());
        composer.handle_refusal();
        composer.handle_timeout(start + secs(15));
        composer.handle_input(start + secs(20));
        assert_eq!(composer.poll_transmit(), None);
        assert_eq!(composer.state(), ComposingState::Active);
    }
}
