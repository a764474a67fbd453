//! Services that fail again and again are left alone for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chappe_push::Outcome;

/// Failures one after the other from which on it is.
const FAILURES: u32 = 20;
/// For how long; then one more failure does.
pub(super) const BREAK: Duration = Duration::from_secs(30);
/// Services that are looked at; there is one for each origin of Web Push, and anybody can name one.
const MOST: usize = 4096;

/// By the name of a service, and the part of it that fails as one.
#[derive(Default)]
pub(super) struct Circuits(HashMap<(String, String), Circuit>);

#[derive(Default)]
struct Circuit {
    failures: u32,
    until: Option<Instant>,
}

impl Circuits {
    /// Whether a part of a service is left alone.
    pub(super) fn is_open(&self, provider: &str, part: &str, now: Instant) -> bool {
        let known = self.0.get(&(provider.to_owned(), part.to_owned()));
        known.and_then(|circuit| circuit.until).is_some_and(|until| until > now)
    }

    /// Whether any part of a service is.
    pub(super) fn any_open(&self, provider: &str, now: Instant) -> bool {
        self.0.iter().any(|((name, _), circuit)| name == provider && circuit.until.is_some_and(|until| until > now))
    }

    /// Learns from an outcome. True where the service is left alone from now on.
    pub(super) fn judge(&mut self, provider: &str, part: &str, outcome: &Outcome, now: Instant) -> bool {
        let key = (provider.to_owned(), part.to_owned());
        let failures = match outcome {
            Outcome::Retry { .. } => 1,
            // It will say the same to the next push. Where anybody can name a service it says so of a subscription only.
            Outcome::Misconfigured(_) if part.is_empty() => FAILURES,
            Outcome::Misconfigured(_) => return false,
            Outcome::Accepted | Outcome::Gone(_) | Outcome::Refused(_) => {
                self.0.remove(&key);
                return false;
            }
        };
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.0.retain(|_, circuit| circuit.until.is_some_and(|until| until > now));
            if self.0.len() >= MOST {
                return false;
            }
        }
        let circuit = self.0.entry(key).or_default();
        circuit.failures = circuit.failures.saturating_add(failures);
        let opens = circuit.failures >= FAILURES;
        if opens {
            (circuit.failures, circuit.until) = (FAILURES - 1, Some(now + BREAK));
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> Outcome {
        Outcome::Retry { after: None, why: String::new() }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_closes_it() {
        let (mut circuits, now) = (Circuits::default(), Instant::now());
        let failed = |circuits: &mut Circuits, now| circuits.judge("fcm", "", &later(), now);
        assert!((1..FAILURES).all(|_| !failed(&mut circuits, now)));
        circuits.judge("fcm", "", &Outcome::Gone(String::new()), now);
        assert!((1..FAILURES).all(|_| !failed(&mut circuits, now)), "it began anew");
        assert!(failed(&mut circuits, now) && circuits.is_open("fcm", "", now) && circuits.any_open("fcm", now));
        let after = now + BREAK;
        assert!(!circuits.is_open("fcm", "", after), "one may try");
        assert!(failed(&mut circuits, after) && circuits.is_open("fcm", "", after), "and one failure is enough");
        circuits.judge("fcm", "", &Outcome::Accepted, after + BREAK);
        assert!(!failed(&mut circuits, after + BREAK));
    }

    #[test]
    fn wrong_credentials_open_it_at_once_but_not_for_services_of_others() {
        let (mut circuits, now) = (Circuits::default(), Instant::now());
        let wrong = Outcome::Misconfigured(String::new());
        assert!(circuits.judge("apns", "", &wrong, now) && circuits.is_open("apns", "", now));
        assert!((0..100).all(|_| !circuits.judge("webpush", "https://push.example", &wrong, now)));
        for _ in 0..100 {
            circuits.judge("webpush", "https://mine.example", &later(), now);
        }
        assert!(circuits.is_open("webpush", "https://mine.example", now));
        assert!(!circuits.is_open("webpush", "https://push.example", now), "each fails by itself");
    }

    #[test]
    fn who_names_many_services_fills_no_memory() {
        let (mut circuits, now) = (Circuits::default(), Instant::now());
        for n in 0..2 * MOST {
            circuits.judge("webpush", &format!("https://{n}.example"), &later(), now);
        }
        assert!(circuits.0.len() <= MOST);
    }
}
