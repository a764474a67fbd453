//! Non-INVITE server transaction (RFC 3261 §17.2.2, Figure 8; RFC 4320 §4).
//!
//! Answers a repeated request with the latest response, and lingers for timer J so that a late copy is not taken for a
//! new request. Keeps to RFC 4320: no 1xx but 100, no 100 over UDP before it is due, no 408. A transaction user that
//! has not answered within 64·T1 can no longer be heard by the client, so the transaction ends then.

use std::time::Instant;

use bytes::Bytes;

use super::{Fired, RespondError, Timers};

/// ```text
/// Trying ──100──▶ Proceeding ──2xx-6xx──▶ Completed ──timer J──▶ Terminated
///    │ └────────────2xx-6xx─────────────────▲                        ▲
///    └──────── 64·T1 without an answer (also from Proceeding) ───────┘
/// ```
#[derive(Debug)]
enum State {
    /// `request` is what a 100 is made from.
    Trying {
        request: Bytes,
        began: Instant,
    },
    Proceeding {
        latest: Bytes,
        began: Instant,
    },
    Completed {
        latest: Bytes,
        timer_j: Instant,
    },
    Terminated,
}

/// See the module. The owner gives the same [`Timers`] to every call.
#[derive(Debug)]
pub struct NonInviteServer {
    state: State,
    reliable: bool,
    /// A copy of the latest response is to be sent.
    again: bool,
}

impl NonInviteServer {
    /// A transaction for `request`, of which the bytes are kept until the first response.
    pub fn new(now: Instant, request: Bytes, reliable: bool) -> NonInviteServer {
        NonInviteServer { state: State::Trying { request, began: now }, reliable, again: false }
    }

    /// Takes a copy of the request that opened this transaction.
    pub fn handle_request(&mut self) {
        // Nothing to repeat until the transaction user has answered.
        self.again = matches!(self.state, State::Proceeding { .. } | State::Completed { .. });
    }

    /// Takes the response of the transaction user, which the owner is to send.
    pub fn respond(&mut self, now: Instant, timers: &Timers, status: u16, response: &[u8]) -> Result<(), RespondError> {
        let began = match self.state {
            State::Trying { began, .. } | State::Proceeding { began, .. } => began,
            State::Completed { .. } => return Err(RespondError::AlreadyFinal),
            State::Terminated => return Err(RespondError::Gone),
        };
        self.state = if status < 200 {
            let early = !self.reliable && now < began + timers.non_invite_trying();
            if status != 100 || early {
                return Err(RespondError::Forbidden);
            }
            State::Proceeding { latest: Bytes::copy_from_slice(response), began }
        } else if status == 408 {
            return Err(RespondError::Forbidden);
        } else if self.reliable {
            State::Terminated
        } else {
            State::Completed { latest: Bytes::copy_from_slice(response), timer_j: now + timers.j(self.reliable) }
        };
        Ok(())
    }

    /// Brings timer J forward to `at`, for requests whose late copies do no harm as new ones.
    pub fn shorten(&mut self, at: Instant) {
        if let State::Completed { timer_j, .. } = &mut self.state {
            *timer_j = at.min(*timer_j);
        }
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers) -> Fired {
        match self.state {
            State::Trying { began, .. } | State::Proceeding { began, .. } if began + timers.timeout() <= now => {
                self.state = State::Terminated;
                Fired::TimedOut
            }
            State::Trying { began, .. } if began + timers.non_invite_trying() <= now => Fired::TryingDue,
            State::Completed { timer_j, .. } if timer_j <= now => {
                self.state = State::Terminated;
                Fired::Nothing
            }
            _ => Fired::Nothing,
        }
    }

    /// When [`NonInviteServer::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self, timers: &Timers) -> Option<Instant> {
        match self.state {
            State::Trying { began, .. } => Some(began + timers.non_invite_trying().min(timers.timeout())),
            State::Proceeding { began, .. } => Some(began + timers.timeout()),
            State::Completed { timer_j, .. } => Some(timer_j),
            State::Terminated => None,
        }
    }

    /// The next copy of a response for the wire.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if !std::mem::take(&mut self.again) {
            return None;
        }
        match &self.state {
            State::Proceeding { latest, .. } | State::Completed { latest, .. } => Some(latest.clone()),
            State::Trying { .. } | State::Terminated => None,
        }
    }

    /// The request, while nothing has been answered.
    pub fn request(&self) -> Option<&Bytes> {
        match &self.state {
            State::Trying { request, .. } => Some(request),
            _ => None,
        }
    }

    /// Whether a final response is still wanted.
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

    fn start(reliable: bool) -> (Instant, Timers, NonInviteServer) {
        let now = epoch();
        (now, Timers::default(), NonInviteServer::new(now, bytes("MESSAGE"), reliable))
    }

    #[test]
    fn timer_j_can_be_brought_forward_but_not_put_off() {
        let (t0, timers, mut tx) = start(false);
        tx.shorten(t0);
        assert!(!tx.is_terminated(), "there is no answer yet");
        tx.respond(t0, &timers, 200, b"200").unwrap();
        tx.shorten(t0 + ms(5000));
        tx.shorten(t0 + ms(40_000));
        assert_eq!(tx.poll_timeout(&timers), Some(t0 + ms(5000)));
        tx.handle_timeout(t0 + ms(5000), &timers);
        assert!(tx.is_terminated());
    }

    #[test]
    fn a_copy_is_absorbed_until_there_is_an_answer() {
        let (t0, timers, mut tx) = start(false);
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), None);
        tx.respond(t0, &timers, 200, b"200").unwrap();
        assert_eq!(tx.poll_transmit(), None, "the first is the owner's to send");
        for _ in 0..2 {
            tx.handle_request();
            assert_eq!(tx.poll_transmit(), Some(bytes("200")));
            assert_eq!(tx.poll_transmit(), None);
        }
    }

    #[test]
    fn a_late_copy_gets_the_final_response_until_timer_j() {
        let (t0, timers, mut tx) = start(false);
        tx.respond(t0, &timers, 200, b"200").unwrap();
        assert_eq!(tx.handle_timeout(t0 + ms(31_000), &timers), Fired::Nothing);
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), Some(bytes("200")));
        assert_eq!(tx.poll_timeout(&timers), Some(t0 + ms(32_000)));
        tx.handle_timeout(t0 + ms(32_000), &timers);
        assert!(tx.is_terminated());
        assert_eq!(tx.respond(t0, &timers, 200, b"200"), Err(RespondError::Gone));
    }

    #[test]
    fn the_second_final_is_refused() {
        let (t0, timers, mut tx) = start(false);
        tx.respond(t0, &timers, 404, b"404").unwrap();
        assert_eq!(tx.respond(t0, &timers, 200, b"200"), Err(RespondError::AlreadyFinal));
        tx.handle_request();
        assert_eq!(tx.poll_transmit(), Some(bytes("404")));
    }

    #[test]
    fn timer_j_is_zero_on_a_reliable_transport() {
        let (t0, timers, mut tx) = start(true);
        tx.respond(t0, &timers, 200, b"200").unwrap();
        assert!(tx.is_terminated());
    }

    #[test]
    fn only_100_and_not_before_timer_e_is_at_t2_over_udp() {
        for (name, reliable, at, status, expected) in [
            ("early 100 on UDP", false, 3_499, 100, Err(RespondError::Forbidden)),
            ("due 100 on UDP", false, 3_500, 100, Ok(())),
            ("early 100 on TCP", true, 0, 100, Ok(())),
            ("180", true, 4_000, 180, Err(RespondError::Forbidden)),
            ("408", true, 4_000, 408, Err(RespondError::Forbidden)),
            ("408 on UDP", false, 4_000, 408, Err(RespondError::Forbidden)),
        ] {
            let (t0, timers, mut tx) = start(reliable);
            assert_eq!(tx.respond(t0 + ms(at), &timers, status, b"r"), expected, "{name}");
            tx.handle_request();
            assert_eq!(tx.poll_transmit().is_some(), expected.is_ok(), "{name}");
        }
    }

    #[test]
    fn a_100_is_due_at_3500_ms_and_is_then_repeated() {
        for reliable in [false, true] {
            let (t0, timers, mut tx) = start(reliable);
            assert_eq!(tx.poll_timeout(&timers), Some(t0 + ms(3_500)));
            assert_eq!(tx.handle_timeout(t0 + ms(3_499), &timers), Fired::Nothing);
            assert_eq!(tx.handle_timeout(t0 + ms(3_500), &timers), Fired::TryingDue);
            assert_eq!(tx.request(), Some(&bytes("MESSAGE")));
            tx.respond(t0 + ms(3_500), &timers, 100, b"100").unwrap();
            tx.handle_request();
            assert_eq!(tx.poll_transmit(), Some(bytes("100")));
            tx.respond(t0 + ms(9_000), &timers, 200, b"200").unwrap();
            tx.handle_request();
            assert_eq!(tx.poll_transmit(), (!reliable).then(|| bytes("200")));
        }
    }

    #[test]
    fn without_an_answer_it_ends_with_the_client() {
        let (t0, timers, mut tx) = start(false);
        assert_eq!(tx.handle_timeout(t0 + ms(32_000), &timers), Fired::TimedOut);
        assert!(tx.is_terminated());
        assert_eq!(tx.poll_transmit(), None);
    }
}
