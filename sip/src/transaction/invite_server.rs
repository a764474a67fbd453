//! INVITE server transaction (RFC 3261 §17.2.1 with RFC 6026 §8.5).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Fired, RespondError, Timers};

/// ```text
/// Proceeding ──300-699──▶ Completed ──ACK──▶ Confirmed ──timer I──▶ Terminated
///    │ ▲ └1xx              └──timer H──────────────────────────────────▲
///    │ └─┘                                                             │
///    └──2xx──▶ Accepted ──timer L──────────────────────────────────────┘
/// ```
#[derive(Debug)]
enum State {
    /// Proceeding without a response: `request` is what a 100 is made from.
    Trying {
        request: Bytes,
        due: Instant,
    },
    Proceeding {
        latest: Bytes,
    },
    /// Timer G is off on a reliable transport.
    Completed {
        latest: Bytes,
        timer_g: Option<Instant>,
        interval: Duration,
        timer_h: Instant,
    },
    Confirmed {
        timer_i: Instant,
    },
    Accepted {
        timer_l: Instant,
    },
    Terminated,
}

/// Where an ACK belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckFate {
    /// It was for this transaction's 300-699.
    Absorbed,
    /// It is for a 2xx: the transaction user's.
    Pass,
}

/// See the module. The owner gives the same [`Timers`] to every call.
#[derive(Debug)]
pub struct InviteServer {
    state: State,
    reliable: bool,
    /// A copy of the latest response is to be sent.
    again: bool,
}

impl InviteServer {
    /// A transaction for `request`, of which the bytes are kept until the first response.
    pub fn new(now: Instant, timers: &Timers, request: Bytes, reliable: bool) -> InviteServer {
        InviteServer { state: State::Trying { request, due: now + timers.trying }, reliable, again: false }
    }

    /// Takes a copy of the INVITE.
    pub fn handle_request(&mut self) {
        // In Accepted it is the transaction user that repeats the 2xx.
        self.again = matches!(self.state, State::Proceeding { .. } | State::Completed { .. });
    }

    /// Takes an ACK that matches this transaction.
    pub fn handle_ack(&mut self, now: Instant, timers: &Timers) -> AckFate {
        match &self.state {
            State::Completed { .. } => {
                self.state = if self.reliable {
                    State::Terminated
                } else {
                    State::Confirmed { timer_i: now + timers.linger(self.reliable) }
                };
                AckFate::Absorbed
            }
            State::Accepted { .. } => AckFate::Pass,
            State::Trying { .. } | State::Proceeding { .. } | State::Confirmed { .. } | State::Terminated => {
                AckFate::Absorbed
            }
        }
    }

    /// Takes a response of the transaction user; whether the owner is to send it. After a 2xx, more 2xx may follow
    /// (copies, other branches of a fork).
    pub fn respond(
        &mut self,
        now: Instant,
        timers: &Timers,
        status: u16,
        response: &[u8],
    ) -> Result<bool, RespondError> {
        match &self.state {
            // A 100 of ours that comes late must not replace what is newer.
            State::Proceeding { .. } if status == 100 => return Ok(false),
            State::Trying { .. } | State::Proceeding { .. } if status < 200 => {
                self.state = State::Proceeding { latest: Bytes::copy_from_slice(response) };
            }
            State::Trying { .. } | State::Proceeding { .. } if status < 300 => {
                self.state = State::Accepted { timer_l: now + timers.timeout() };
            }
            State::Trying { .. } | State::Proceeding { .. } => {
                self.state = State::Completed {
                    latest: Bytes::copy_from_slice(response),
                    timer_g: (!self.reliable).then(|| now + timers.t1),
                    interval: timers.t1,
                    timer_h: now + timers.timeout(),
                };
            }
            State::Accepted { .. } if (200..300).contains(&status) => {}
            State::Completed { .. } | State::Confirmed { .. } | State::Accepted { .. } => {
                return Err(RespondError::AlreadyFinal);
            }
            State::Terminated => return Err(RespondError::Gone),
        }
        Ok(true)
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers) -> Fired {
        match &mut self.state {
            State::Trying { due, .. } if *due <= now => return Fired::TryingDue,
            State::Completed { timer_h, .. } if *timer_h <= now => {
                self.state = State::Terminated;
                return Fired::TimedOut;
            }
            State::Completed { timer_g: Some(timer_g), interval, .. } if *timer_g <= now => {
                *interval = (*interval * 2).min(timers.t2);
                *timer_g = now + *interval;
                self.again = true;
            }
            State::Confirmed { timer_i: at } | State::Accepted { timer_l: at } if *at <= now => {
                self.state = State::Terminated;
            }
            _ => {}
        }
        Fired::Nothing
    }

    /// When [`InviteServer::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Trying { due, .. } => Some(*due),
            State::Proceeding { .. } => None,
            State::Completed { timer_g, timer_h, .. } => Some(timer_g.map_or(*timer_h, |g| g.min(*timer_h))),
            State::Confirmed { timer_i: at } | State::Accepted { timer_l: at } => Some(*at),
            State::Terminated => None,
        }
    }

    /// The next copy of a response for the wire.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if !std::mem::take(&mut self.again) {
            return None;
        }
        match &self.state {
            State::Proceeding { latest } | State::Completed { latest, .. } => Some(latest.clone()),
            _ => None,
        }
    }

    /// The INVITE, while nothing has been answered.
    pub fn request(&self) -> Option<&Bytes> {
        match &self.state {
            State::Trying { request, .. } => Some(request),
            _ => None,
        }
    }

    /// Whether a final response is still wanted, so that a CANCEL has something to cancel (RFC 3261 §9.2).
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
    }

    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bytes, epoch, ms};
    use super::*;

    fn start(reliable: bool) -> (Instant, Timers, InviteServer) {
        let (now, timers) = (epoch(), Timers::default());
        (now, timers.clone(), InviteServer::new(now, &timers, bytes("INVITE"), reliable))
    }

    fn run(tx: &mut InviteServer, t0: Instant) -> (Vec<u64>, Fired) {
        let (mut sent, mut last) = (Vec::new(), Fired::Nothing);
        while let Some(at) = tx.poll_timeout() {
            last = tx.handle_timeout(at, &Timers::default());
            if tx.poll_transmit().is_some() {
                sent.push((at - t0).as_millis() as u64);
            }
        }
        (sent, last)
    }

    #[test]
    fn a_100_is_due_after_200_ms_without_an_answer() {
        let (t0, timers, mut tx) = start(false);
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(200)));
        assert_eq!(tx.handle_timeout(t0 + ms(199), &timers), Fired::Nothing);
        assert_eq!(tx.handle_timeout(t0 + ms(200), &timers), Fired::TryingDue);
        assert_eq!(tx.request(), Some(&bytes("INVITE")));
        assert_eq!(tx.respond(t0 + ms(200), &timers, 100, b"100"), Ok(true));
        assert_eq!((tx.poll_transmit(), tx.request(), tx.poll_timeout()), (None, None, None));
        let (t0, timers, mut answered) = start(false);
        answered.respond(t0, &timers, 180, b"180").unwrap();
        assert_eq!(answered.poll_timeout(), None);
    }

    #[test]
    fn a_copy_gets_the_latest_provisional() {
        let (t0, timers, mut tx) = start(false);
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), None);
        for (status, sent) in [(100, "100"), (180, "180"), (183, "183")] {
            assert_eq!(tx.respond(t0, &timers, status, sent.as_bytes()), Ok(true));
            assert_eq!(tx.poll_transmit(), None);
            tx.handle_request();
            assert_eq!(tx.poll_transmit(), Some(bytes(sent)));
        }
        assert_eq!(tx.respond(t0, &timers, 100, b"100"), Ok(false), "a late 100 is swallowed");
    }

    #[test]
    fn timer_g_repeats_a_300_to_699_and_timer_h_ends_it() {
        let (t0, timers, mut tx) = start(false);
        tx.respond(t0, &timers, 486, b"486").unwrap();
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), Some(bytes("486")));
        let (sent, last) = run(&mut tx, t0);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!((last, tx.is_terminated()), (Fired::TimedOut, true));
    }

    #[test]
    fn timer_g_is_off_and_h_runs_on_a_reliable_transport() {
        let (t0, timers, mut tx) = start(true);
        tx.respond(t0, &timers, 486, b"486").unwrap();
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_000)));
        assert_eq!(run(&mut tx, t0), (vec![], Fired::TimedOut));
    }

    #[test]
    fn an_ack_confirms_and_timer_i_absorbs_its_copies() {
        let (t0, timers, mut tx) = start(false);
        tx.respond(t0, &timers, 486, b"486").unwrap();
        for at in [20, 600] {
            assert_eq!(tx.handle_ack(t0 + ms(at), &timers), AckFate::Absorbed);
        }
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), None);
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(5_020)));
        assert_eq!(run(&mut tx, t0), (vec![], Fired::Nothing));
        assert!(tx.is_terminated());

        let (t0, timers, mut reliable) = start(true);
        reliable.respond(t0, &timers, 486, b"486").unwrap();
        assert_eq!(reliable.handle_ack(t0, &timers), AckFate::Absorbed);
        assert!(reliable.is_terminated());
    }

    #[test]
    fn accepted_absorbs_copies_passes_acks_and_sends_more_2xx_until_timer_l() {
        for reliable in [false, true] {
            let (t0, timers, mut tx) = start(reliable);
            assert_eq!(tx.respond(t0, &timers, 200, b"200"), Ok(true));
            tx.handle_request();
            assert_eq!(tx.poll_transmit(), None);
            assert_eq!(tx.handle_ack(t0, &timers), AckFate::Pass);
            assert_eq!(tx.respond(t0 + ms(500), &timers, 200, b"200 of another"), Ok(true));
            for late in [180, 486] {
                assert_eq!(tx.respond(t0, &timers, late, b"late"), Err(RespondError::AlreadyFinal));
            }
            assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_000)));
            assert_eq!(run(&mut tx, t0), (vec![], Fired::Nothing));
            assert_eq!(tx.respond(t0, &timers, 200, b"200"), Err(RespondError::Gone));
        }
    }

    #[test]
    fn an_ack_before_any_final_response_changes_nothing() {
        let (t0, timers, mut tx) = start(false);
        assert_eq!(tx.handle_ack(t0, &timers), AckFate::Absorbed);
        assert!(tx.is_open());
    }
}
