//! Non-INVITE client transaction (RFC 3261 §17.1.2, Figure 6).

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Fired, Timers, Verdict};

/// ```text
/// Trying ──1xx──▶ Proceeding ──2xx-6xx──▶ Completed ──timer K──▶ Terminated
///    │ └────────────2xx-6xx─────────────────▲                        ▲
///    └──── timer F or transport error (also from Proceeding) ────────┘
/// ```
#[derive(Debug)]
enum State {
    /// Trying and Proceeding. Timers are milliseconds since `began`, which keeps this small. Timer E is off on a reliable
    /// transport, where `request` is then empty.
    Waiting {
        request: Bytes,
        began: Instant,
        timer_e: Option<NonZeroU32>,
        interval: NonZeroU32,
        timer_f: NonZeroU32,
        proceeding: bool,
        /// A copy is to be sent.
        again: bool,
    },
    Completed {
        timer_k: Instant,
    },
    Terminated,
}

/// See the module. The owner gives the same [`Timers`] to every call.
#[derive(Debug)]
pub struct NonInviteClient {
    state: State,
}

impl NonInviteClient {
    /// For `request`, which the owner is to send, and of which the bytes are kept while copies may have to be sent.
    pub fn new(now: Instant, timers: &Timers, request: Bytes, reliable: bool) -> NonInviteClient {
        let interval = millis(timers.t1);
        let state = State::Waiting {
            request: if reliable { Bytes::new() } else { request },
            began: now,
            timer_e: (!reliable).then_some(interval),
            interval,
            timer_f: millis(timers.timeout()),
            proceeding: false,
            again: false,
        };
        NonInviteClient { state }
    }

    pub fn handle_response(&mut self, now: Instant, timers: &Timers, status: u16) -> Verdict {
        match &mut self.state {
            State::Waiting { proceeding, .. } if status < 200 => {
                // Timer E runs on and is set to T2 when it next fires.
                *proceeding = true;
                Verdict::Pass
            }
            State::Waiting { timer_e, .. } => {
                self.state = match timer_e {
                    Some(_) => State::Completed { timer_k: now + timers.t4 },
                    None => State::Terminated,
                };
                Verdict::Pass
            }
            State::Completed { .. } | State::Terminated => Verdict::Absorb,
        }
    }

    /// The request could not be sent. Whether the transaction user has to know.
    pub fn handle_transport_error(&mut self) -> bool {
        let waiting = matches!(self.state, State::Waiting { .. });
        if waiting {
            self.state = State::Terminated;
        }
        waiting
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers) -> Fired {
        match &mut self.state {
            State::Waiting { began, timer_f, .. } if after(*began, *timer_f) <= now => {
                self.state = State::Terminated;
                return Fired::TimedOut;
            }
            State::Waiting { began, timer_e: Some(timer_e), interval, proceeding, again, .. }
                if after(*began, *timer_e) <= now =>
            {
                let (doubled, t2) = (interval.saturating_add(interval.get()), millis(timers.t2));
                *interval = if *proceeding { t2 } else { doubled.min(t2) };
                *timer_e = interval.saturating_add(millis(now.saturating_duration_since(*began)).get());
                *again = true;
            }
            State::Completed { timer_k } if *timer_k <= now => self.state = State::Terminated,
            _ => {}
        }
        Fired::Nothing
    }

    /// When [`NonInviteClient::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { began, timer_e, timer_f, .. } => {
                Some(after(*began, timer_e.map_or(*timer_f, |e| e.min(*timer_f))))
            }
            State::Completed { timer_k } => Some(*timer_k),
            State::Terminated => None,
        }
    }

    /// The next copy of the request for the wire.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        match &mut self.state {
            State::Waiting { request, again, .. } if *again => {
                *again = false;
                Some(request.clone())
            }
            _ => None,
        }
    }

    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

/// At least 1, so that time goes on whatever the settings; the largest is 49 days.
fn millis(duration: Duration) -> NonZeroU32 {
    let millis = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    NonZeroU32::new(millis).unwrap_or(NonZeroU32::MIN)
}

fn after(began: Instant, millis: NonZeroU32) -> Instant {
    began + Duration::from_millis(millis.get().into())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bytes, epoch, ms};
    use super::*;

    fn start(reliable: bool) -> (Instant, Timers, NonInviteClient) {
        let (now, timers) = (epoch(), Timers::default());
        let mut tx = NonInviteClient::new(now, &timers, bytes("OPTIONS"), reliable);
        assert_eq!(tx.poll_transmit(), None, "the first is the owner's to send");
        (now, timers, tx)
    }

    /// Runs the timers until `until`; the milliseconds at which a copy went out, and what fired last.
    fn run(tx: &mut NonInviteClient, timers: &Timers, t0: Instant, until: u64) -> (Vec<u64>, Fired) {
        let (mut sent, mut last) = (Vec::new(), Fired::Nothing);
        while let Some(at) = tx.poll_timeout().filter(|at| *at <= t0 + ms(until)) {
            last = tx.handle_timeout(at, timers);
            if tx.poll_transmit().is_some() {
                sent.push((at - t0).as_millis() as u64);
            }
        }
        (sent, last)
    }

    #[test]
    fn timer_e_doubles_up_to_t2_and_timer_f_ends_it() {
        let (t0, timers, mut tx) = start(false);
        let (sent, last) = run(&mut tx, &timers, t0, 40_000);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!((last, tx.is_terminated()), (Fired::TimedOut, true));
    }

    #[test]
    fn in_proceeding_timer_e_is_t2() {
        let (t0, timers, mut tx) = start(false);
        assert_eq!(tx.handle_response(t0 + ms(100), &timers, 100), Verdict::Pass);
        let (sent, last) = run(&mut tx, &timers, t0, 40_000);
        assert_eq!(sent, [500, 4500, 8500, 12500, 16500, 20500, 24500, 28500]);
        assert_eq!(last, Fired::TimedOut);
    }

    #[test]
    fn a_reliable_transport_sends_once() {
        let (t0, timers, mut tx) = start(true);
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_000)));
        assert_eq!(run(&mut tx, &timers, t0, 40_000), (vec![], Fired::TimedOut));
    }

    #[test]
    fn completed_absorbs_copies_for_timer_k() {
        let (t0, timers, mut tx) = start(false);
        assert_eq!(tx.handle_response(t0 + ms(10), &timers, 200), Verdict::Pass);
        assert_eq!(tx.handle_response(t0 + ms(20), &timers, 200), Verdict::Absorb);
        assert_eq!(tx.handle_response(t0 + ms(20), &timers, 100), Verdict::Absorb);
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(5_010)));
        assert_eq!(tx.handle_timeout(t0 + ms(5_010), &timers), Fired::Nothing);
        assert!(tx.is_terminated());
    }

    #[test]
    fn timer_k_is_zero_on_a_reliable_transport() {
        let (t0, timers, mut tx) = start(true);
        tx.handle_response(t0, &timers, 100);
        assert_eq!(tx.handle_response(t0, &timers, 500), Verdict::Pass);
        assert!(tx.is_terminated());
    }

    #[test]
    fn a_transport_error_ends_it_once() {
        let (t0, timers, mut tx) = start(false);
        assert!(tx.handle_transport_error());
        assert!(tx.is_terminated());
        assert!(!tx.handle_transport_error());
        let (_, _, mut done) = start(false);
        done.handle_response(t0, &timers, 200);
        assert!(!done.handle_transport_error());
    }

    #[test]
    fn a_late_clock_sends_one_copy() {
        let (t0, timers, mut tx) = start(false);
        tx.handle_timeout(t0 + ms(20_000), &timers);
        assert!(tx.poll_transmit().is_some());
        assert_eq!(tx.poll_transmit(), None);
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(21_000)));
    }
}
