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
    /// `request` is what a 100 is made from, and is dropped with the first response; `latest` is empty before.
    Proceeding {
        request: Bytes,
        latest: Bytes,
        trying: Option<Instant>,
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
    outbox: Option<Bytes>,
}

impl InviteServer {
    /// A transaction for `request`, of which the bytes are kept until the first response.
    pub fn new(now: Instant, timers: &Timers, request: Bytes, reliable: bool) -> InviteServer {
        let state = State::Proceeding { request, latest: Bytes::new(), trying: Some(now + timers.trying) };
        InviteServer { state, reliable, outbox: None }
    }

    /// Takes a copy of the INVITE.
    pub fn handle_request(&mut self) {
        match &self.state {
            State::Proceeding { latest, .. } | State::Completed { latest, .. } if !latest.is_empty() => {
                self.outbox = Some(latest.clone());
            }
            // In Accepted it is the transaction user that repeats the 2xx.
            _ => {}
        }
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
            State::Proceeding { .. } | State::Confirmed { .. } | State::Terminated => AckFate::Absorbed,
        }
    }

    /// Sends a response on behalf of the transaction user. After a 2xx, more 2xx may follow (copies, other branches of
    /// a fork).
    pub fn respond(&mut self, now: Instant, timers: &Timers, status: u16, response: Bytes) -> Result<(), RespondError> {
        match &mut self.state {
            State::Proceeding { request, latest, trying } if status < 200 => {
                // A 100 of ours that comes late must not replace what is newer.
                if status == 100 && !latest.is_empty() {
                    return Ok(());
                }
                (*request, *latest, *trying) = (Bytes::new(), response.clone(), None);
            }
            State::Proceeding { .. } if status < 300 => {
                self.state = State::Accepted { timer_l: now + timers.timeout() };
            }
            State::Proceeding { .. } => {
                self.state = State::Completed {
                    latest: response.clone(),
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
        self.outbox = Some(response);
        Ok(())
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers) -> Fired {
        match &mut self.state {
            State::Proceeding { trying: Some(at), .. } if *at <= now => return Fired::TryingDue,
            State::Completed { timer_h, .. } if *timer_h <= now => {
                self.state = State::Terminated;
                return Fired::TimedOut;
            }
            State::Completed { latest, timer_g: Some(timer_g), interval, .. } if *timer_g <= now => {
                *interval = (*interval * 2).min(timers.t2);
                *timer_g = now + *interval;
                self.outbox = Some(latest.clone());
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
            State::Proceeding { trying, .. } => *trying,
            State::Completed { timer_g, timer_h, .. } => Some(timer_g.map_or(*timer_h, |g| g.min(*timer_h))),
            State::Confirmed { timer_i: at } | State::Accepted { timer_l: at } => Some(*at),
            State::Terminated => None,
        }
    }

    /// The next response for the wire.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.outbox.take()
    }

    /// The INVITE, while nothing has been answered.
    pub fn request(&self) -> Option<&Bytes> {
        match &self.state {
            State::Proceeding { request, .. } if !request.is_empty() => Some(request),
            _ => None,
        }
    }

    /// Whether a final response is still wanted, so that a CANCEL has something to cancel (RFC 3261 §9.2).
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
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
        tx.respond(t0 + ms(200), &timers, 100, bytes("100")).unwrap();
        assert_eq!((tx.poll_transmit(), tx.request(), tx.poll_timeout()), (Some(bytes("100")), None, None));
        let (t0, timers, mut answered) = start(false);
        answered.respond(t0, &timers, 180, bytes("180")).unwrap();
        assert_eq!(answered.poll_timeout(), None);
    }

    #[test]
    fn a_copy_gets_the_latest_provisional() {
        let (t0, timers, mut tx) = start(false);
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), None);
        for (status, sent) in [(100, "100"), (180, "180"), (183, "183")] {
            tx.respond(t0, &timers, status, bytes(sent)).unwrap();
            assert_eq!(tx.poll_transmit(), Some(bytes(sent)));
            tx.handle_request();
            assert_eq!(tx.poll_transmit(), Some(bytes(sent)));
        }
        tx.respond(t0, &timers, 100, bytes("100")).unwrap();
        assert_eq!(tx.poll_transmit(), None, "a late 100 is swallowed");
    }

    #[test]
    fn timer_g_repeats_a_300_to_699_and_timer_h_ends_it() {
        let (t0, timers, mut tx) = start(false);
        tx.respond(t0, &timers, 486, bytes("486")).unwrap();
        assert_eq!(tx.poll_transmit(), Some(bytes("486")));
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), Some(bytes("486")));
        let (sent, last) = run(&mut tx, t0);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!((last, tx.is_terminated()), (Fired::TimedOut, true));
    }

    #[test]
    fn timer_g_is_off_and_h_runs_on_a_reliable_transport() {
        let (t0, timers, mut tx) = start(true);
        tx.respond(t0, &timers, 486, bytes("486")).unwrap();
        tx.poll_transmit();
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_000)));
        assert_eq!(run(&mut tx, t0), (vec![], Fired::TimedOut));
    }

    #[test]
    fn an_ack_confirms_and_timer_i_absorbs_its_copies() {
        let (t0, timers, mut tx) = start(false);
        tx.respond(t0, &timers, 486, bytes("486")).unwrap();
        tx.poll_transmit();
        for at in [20, 600] {
            assert_eq!(tx.handle_ack(t0 + ms(at), &timers), AckFate::Absorbed);
        }
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), None);
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(5_020)));
        assert_eq!(run(&mut tx, t0), (vec![], Fired::Nothing));
        assert!(tx.is_terminated());

        let (t0, timers, mut reliable) = start(true);
        reliable.respond(t0, &timers, 486, bytes("486")).unwrap();
        assert_eq!(reliable.handle_ack(t0, &timers), AckFate::Absorbed);
        assert!(reliable.is_terminated());
    }

    #[test]
    fn accepted_absorbs_copies_passes_acks_and_sends_more_2xx_until_timer_l() {
        for reliable in [false, true] {
            let (t0, timers, mut tx) = start(reliable);
            tx.respond(t0, &timers, 200, bytes("200")).unwrap();
            assert_eq!(tx.poll_transmit(), Some(bytes("200")));
            tx.handle_request();
            assert_eq!(tx.poll_transmit(), None);
            assert_eq!(tx.handle_ack(t0, &timers), AckFate::Pass);
            tx.respond(t0 + ms(500), &timers, 200, bytes("200 of another")).unwrap();
            assert_eq!(tx.poll_transmit(), Some(bytes("200 of another")));
            for late in [180, 486] {
                assert_eq!(tx.respond(t0, &timers, late, bytes("late")), Err(RespondError::AlreadyFinal));
            }
            assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_000)));
            assert_eq!(run(&mut tx, t0), (vec![], Fired::Nothing));
            assert_eq!(tx.respond(t0, &timers, 200, bytes("200")), Err(RespondError::Gone));
        }
    }

    #[test]
    fn an_ack_before_any_final_response_changes_nothing() {
        let (t0, timers, mut tx) = start(false);
        assert_eq!(tx.handle_ack(t0, &timers), AckFate::Absorbed);
        assert!(tx.is_open());
    }
}
