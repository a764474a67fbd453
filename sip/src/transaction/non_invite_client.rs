//! Non-INVITE client transaction (RFC 3261 §17.1.2, Figure 6).

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
    /// Trying and Proceeding. Timer E is off on a reliable transport, where `request` is then empty.
    Waiting {
        request: Bytes,
        timer_e: Option<Instant>,
        interval: Duration,
        timer_f: Instant,
        proceeding: bool,
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
    reliable: bool,
    outbox: Option<Bytes>,
}

impl NonInviteClient {
    /// Sends `request`.
    pub fn new(now: Instant, timers: &Timers, request: Bytes, reliable: bool) -> NonInviteClient {
        let kept = if reliable { Bytes::new() } else { request.clone() };
        let state = State::Waiting {
            request: kept,
            timer_e: (!reliable).then(|| now + timers.t1),
            interval: timers.t1,
            timer_f: now + timers.timeout(),
            proceeding: false,
        };
        NonInviteClient { state, reliable, outbox: Some(request) }
    }

    pub fn handle_response(&mut self, now: Instant, timers: &Timers, status: u16) -> Verdict {
        match &mut self.state {
            State::Waiting { proceeding, .. } if status < 200 => {
                // Timer E runs on and is set to T2 when it next fires.
                *proceeding = true;
                Verdict::Pass
            }
            State::Waiting { .. } => {
                self.state = if self.reliable {
                    State::Terminated
                } else {
                    State::Completed { timer_k: now + timers.linger(self.reliable) }
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
            State::Waiting { timer_f, .. } if *timer_f <= now => {
                self.state = State::Terminated;
                return Fired::TimedOut;
            }
            State::Waiting { request, timer_e: Some(timer_e), interval, proceeding, .. } if *timer_e <= now => {
                *interval = if *proceeding { timers.t2 } else { (*interval * 2).min(timers.t2) };
                *timer_e = now + *interval;
                self.outbox = Some(request.clone());
            }
            State::Completed { timer_k } if *timer_k <= now => self.state = State::Terminated,
            _ => {}
        }
        Fired::Nothing
    }

    /// When [`NonInviteClient::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { timer_e, timer_f, .. } => Some(timer_e.map_or(*timer_f, |e| e.min(*timer_f))),
            State::Completed { timer_k } => Some(*timer_k),
            State::Terminated => None,
        }
    }

    /// The next copy of the request for the wire.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.outbox.take()
    }

    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bytes, epoch, ms};
    use super::*;

    fn start(reliable: bool) -> (Instant, Timers, NonInviteClient) {
        let (now, timers) = (epoch(), Timers::default());
        let mut tx = NonInviteClient::new(now, &timers, bytes("OPTIONS"), reliable);
        assert_eq!(tx.poll_transmit(), Some(bytes("OPTIONS")));
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
