//! INVITE client transaction (RFC 3261 §17.1.1 with RFC 6026 §8.4; CANCEL by §9.1).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Fired, Timers, Verdict};

/// ```text
/// Calling ──1xx──▶ Proceeding ──300-699──▶ Completed ──timer D──▶ Terminated
///  │ │ └─────────────────300-699───────────────▲                     ▲
///  │ └──────2xx (also from Proceeding)──▶ Accepted ──timer M─────────┤
///  └── timer B, transport error, 64·T1 after CANCEL ─────────────────┘
/// ```
#[derive(Debug)]
enum State {
    /// Timer A is off on a reliable transport.
    Calling {
        request: Bytes,
        timer_a: Option<Instant>,
        interval: Duration,
        timer_b: Instant,
    },
    /// `request` is what ACK and CANCEL are made from. `gives_up`: 64·T1 after the CANCEL.
    Proceeding {
        request: Bytes,
        gives_up: Option<Instant>,
    },
    /// Timer D is zero on a reliable transport: over once the ACK is sent.
    Completed {
        ack: Bytes,
        timer_d: Option<Instant>,
    },
    Accepted {
        timer_m: Instant,
    },
    Terminated,
}

/// What is known of the wish to cancel.
#[derive(Debug)]
enum Cancel {
    No,
    /// Asked for; goes out with the first provisional response. Holds the Reason value.
    Wanted(Option<Box<str>>),
    Sent,
}

/// See the module. The owner gives the same [`Timers`] to every call.
#[derive(Debug)]
pub struct InviteClient {
    state: State,
    cancel: Cancel,
    reliable: bool,
    /// The INVITE, or the ACK, is to be sent.
    send: bool,
}

impl InviteClient {
    /// For `request`, which the owner is to send, and of which the bytes are kept until the final response.
    pub fn new(now: Instant, timers: &Timers, request: Bytes, reliable: bool) -> InviteClient {
        let state = State::Calling {
            request,
            timer_a: (!reliable).then(|| now + timers.t1),
            interval: timers.t1,
            timer_b: now + timers.timeout(),
        };
        InviteClient { state, cancel: Cancel::No, reliable, send: false }
    }

    /// Takes a response; `ack` makes the ACK for a 300-699 from the bytes of the INVITE.
    pub fn handle_response(
        &mut self,
        now: Instant,
        timers: &Timers,
        status: u16,
        ack: impl FnOnce(&Bytes) -> Bytes,
    ) -> Verdict {
        match &mut self.state {
            State::Calling { request, .. } if status < 200 => {
                self.state = State::Proceeding { request: std::mem::take(request), gives_up: None };
                Verdict::Pass
            }
            State::Proceeding { .. } if status < 200 => Verdict::Pass,
            State::Calling { .. } | State::Proceeding { .. } if status < 300 => {
                self.state = State::Accepted { timer_m: now + timers.timeout() };
                Verdict::Pass
            }
            State::Calling { request, .. } | State::Proceeding { request, .. } => {
                let ack = ack(request);
                self.send = true;
                self.state = State::Completed { ack, timer_d: (!self.reliable).then(|| now + timers.d) };
                Verdict::Pass
            }
            State::Completed { .. } => {
                self.send |= status >= 300;
                Verdict::Absorb
            }
            // Each 2xx goes up: copies, and those of other branches of a fork (RFC 6026 §7.2).
            State::Accepted { .. } if (200..300).contains(&status) => Verdict::Pass,
            State::Accepted { .. } | State::Terminated => Verdict::Absorb,
        }
    }

    /// Asks for the CANCEL of this request, to be taken from [`InviteClient::poll_cancel`] once a provisional
    /// response has come. False where it is too late, or was asked for before.
    pub fn cancel(&mut self, reason: Option<&str>) -> bool {
        let open = matches!(self.state, State::Calling { .. } | State::Proceeding { .. });
        if !open || !matches!(self.cancel, Cancel::No) {
            return false;
        }
        self.cancel = Cancel::Wanted(reason.map(Into::into));
        true
    }

    /// The INVITE and the Reason to make a CANCEL from, when it may go out now. Without a final response the
    /// transaction ends 64·T1 later.
    pub fn poll_cancel(&mut self, now: Instant, timers: &Timers) -> Option<(Bytes, Option<Box<str>>)> {
        let State::Proceeding { request, gives_up } = &mut self.state else { return None };
        let Cancel::Wanted(reason) = &mut self.cancel else { return None };
        let reason = reason.take();
        *gives_up = Some(now + timers.timeout());
        self.cancel = Cancel::Sent;
        Some((request.clone(), reason))
    }

    /// The INVITE or the ACK could not be sent. Whether the transaction user has to know.
    pub fn handle_transport_error(&mut self) -> bool {
        let open = matches!(self.state, State::Calling { .. } | State::Proceeding { .. } | State::Completed { .. });
        if open {
            self.state = State::Terminated;
        }
        open
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Fired {
        match &mut self.state {
            State::Calling { timer_b, .. } if *timer_b <= now => {
                self.state = State::Terminated;
                return Fired::TimedOut;
            }
            State::Calling { timer_a: Some(timer_a), interval, .. } if *timer_a <= now => {
                *interval *= 2;
                *timer_a = now + *interval;
                self.send = true;
            }
            State::Proceeding { gives_up: Some(at), .. } if *at <= now => {
                self.state = State::Terminated;
                return Fired::TimedOut;
            }
            State::Completed { timer_d: Some(at), .. } | State::Accepted { timer_m: at } if *at <= now => {
                self.state = State::Terminated;
            }
            _ => {}
        }
        Fired::Nothing
    }

    /// When [`InviteClient::handle_timeout`] is next wanted. Nothing in Proceeding: timer C is the proxy's, and a
    /// call may ring for long.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Calling { timer_a, timer_b, .. } => Some(timer_a.map_or(*timer_b, |a| a.min(*timer_b))),
            State::Proceeding { gives_up: at, .. } | State::Completed { timer_d: at, .. } => *at,
            State::Accepted { timer_m } => Some(*timer_m),
            State::Terminated => None,
        }
    }

    /// The next copy of the INVITE, or the next ACK, for the wire.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if !std::mem::take(&mut self.send) {
            return None;
        }
        match &mut self.state {
            State::Calling { request, .. } => Some(request.clone()),
            State::Completed { ack, timer_d: Some(_) } => Some(ack.clone()),
            State::Completed { ack, timer_d: None } => {
                let ack = std::mem::take(ack);
                self.state = State::Terminated;
                Some(ack)
            }
            State::Proceeding { .. } | State::Accepted { .. } | State::Terminated => None,
        }
    }

    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bytes, epoch, ms};
    use super::*;

    fn start(reliable: bool) -> (Instant, Timers, InviteClient) {
        let (now, timers) = (epoch(), Timers::default());
        let mut tx = InviteClient::new(now, &timers, bytes("INVITE"), reliable);
        assert_eq!(tx.poll_transmit(), None, "the first is the owner's to send");
        (now, timers, tx)
    }

    fn answer(tx: &mut InviteClient, now: Instant, status: u16) -> Verdict {
        tx.handle_response(now, &Timers::default(), status, |invite| {
            assert_eq!(invite, "INVITE");
            bytes("ACK")
        })
    }

    fn run(tx: &mut InviteClient, t0: Instant) -> (Vec<u64>, Fired) {
        let (mut sent, mut last) = (Vec::new(), Fired::Nothing);
        while let Some(at) = tx.poll_timeout() {
            last = tx.handle_timeout(at);
            if tx.poll_transmit().is_some() {
                sent.push((at - t0).as_millis() as u64);
            }
        }
        (sent, last)
    }

    #[test]
    fn timer_a_doubles_without_bound_and_timer_b_ends_it() {
        let (t0, _, mut tx) = start(false);
        assert_eq!(run(&mut tx, t0), (vec![500, 1500, 3500, 7500, 15500, 31500], Fired::TimedOut));
        assert!(tx.is_terminated());
    }

    #[test]
    fn a_reliable_transport_sends_once() {
        let (t0, _, mut tx) = start(true);
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_000)));
        assert_eq!(run(&mut tx, t0), (vec![], Fired::TimedOut));
    }

    #[test]
    fn a_provisional_response_stops_timers_a_and_b() {
        let (t0, _, mut tx) = start(false);
        assert_eq!(answer(&mut tx, t0, 100), Verdict::Pass);
        assert_eq!(answer(&mut tx, t0, 180), Verdict::Pass);
        assert_eq!(tx.poll_timeout(), None);
        assert_eq!(tx.handle_timeout(t0 + ms(400_000)), Fired::Nothing);
        assert!(!tx.is_terminated());
    }

    #[test]
    fn a_300_to_699_is_acknowledged_each_time_and_passed_once() {
        for provisional in [false, true] {
            let (t0, _, mut tx) = start(false);
            if provisional {
                answer(&mut tx, t0, 180);
            }
            assert_eq!(answer(&mut tx, t0, 486), Verdict::Pass);
            assert_eq!(tx.poll_transmit(), Some(bytes("ACK")));
            assert_eq!(answer(&mut tx, t0 + ms(500), 486), Verdict::Absorb);
            assert_eq!(tx.poll_transmit(), Some(bytes("ACK")));
            for late in [180, 200] {
                assert_eq!(answer(&mut tx, t0 + ms(500), late), Verdict::Absorb);
                assert_eq!(tx.poll_transmit(), None);
            }
            assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_000)));
            assert_eq!(run(&mut tx, t0), (vec![], Fired::Nothing));
            assert!(tx.is_terminated());
        }
    }

    #[test]
    fn timer_d_is_zero_on_a_reliable_transport() {
        let (t0, _, mut tx) = start(true);
        assert_eq!(answer(&mut tx, t0, 603), Verdict::Pass);
        assert_eq!(tx.poll_transmit(), Some(bytes("ACK")));
        assert!(tx.is_terminated());
    }

    #[test]
    fn accepted_passes_every_2xx_until_timer_m() {
        for reliable in [false, true] {
            let (t0, _, mut tx) = start(reliable);
            for at in [0, 500, 31_999] {
                assert_eq!(answer(&mut tx, t0 + ms(at), 200), Verdict::Pass);
                assert_eq!(tx.poll_transmit(), None);
            }
            for late in [180, 486] {
                assert_eq!(answer(&mut tx, t0, late), Verdict::Absorb);
            }
            assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_000)));
            assert_eq!(run(&mut tx, t0), (vec![], Fired::Nothing));
            assert!(tx.is_terminated());
        }
    }

    #[test]
    fn cancel_waits_for_a_provisional_response() {
        let (t0, timers, mut tx) = start(false);
        assert!(tx.cancel(Some("SIP;cause=200")));
        assert!(!tx.cancel(None), "asked for before");
        assert_eq!(tx.poll_cancel(t0, &timers), None);
        answer(&mut tx, t0 + ms(50), 100);
        assert_eq!(tx.poll_cancel(t0 + ms(50), &timers), Some((bytes("INVITE"), Some("SIP;cause=200".into()))));
        assert_eq!(tx.poll_cancel(t0 + ms(50), &timers), None);
        assert_eq!(tx.poll_timeout(), Some(t0 + ms(32_050)));
        assert_eq!(run(&mut tx, t0), (vec![], Fired::TimedOut));
    }

    #[test]
    fn cancel_after_the_final_response_is_too_late() {
        let (t0, timers, mut tx) = start(false);
        answer(&mut tx, t0, 200);
        assert!(!tx.cancel(None));
        let (_, _, mut crossing) = start(false);
        crossing.cancel(None);
        answer(&mut crossing, t0, 200);
        assert_eq!(crossing.poll_cancel(t0, &timers), None);
    }

    #[test]
    fn transport_errors() {
        for (name, status, told) in [
            ("calling", None, true),
            ("proceeding", Some(180), true),
            ("ACK", Some(486), true),
            ("2xx", Some(200), false),
        ] {
            let (t0, _, mut tx) = start(false);
            status.map(|s| answer(&mut tx, t0, s));
            assert_eq!((tx.handle_transport_error(), tx.is_terminated()), (told, told), "{name}");
        }
    }
}
