//! The four transaction machines (RFC 3261 §17, corrected by RFC 6026 and RFC 4320).
//!
//! A machine keeps the bytes that it may have to send again and its timers, nothing else. Matching messages to
//! machines, and the socket and the clock, are the business of [`crate::layer`] and its caller. What the owner hands in
//! to be sent for the first time, a new request or a response, the owner sends itself; each other call makes at most one
//! packet, which [`poll_transmit`](InviteClient::poll_transmit) then gives. A machine whose `is_terminated` is true can
//! be dropped.
//!
//! Of a response an exact copy is kept: the one that went out came from a larger buffer, which is then free.

mod ack;
mod invite_client;
mod invite_server;
mod non_invite_client;
mod non_invite_server;

use std::time::Duration;

pub(crate) use ack::reread;
pub use ack::{ack_for, cancel_for};
pub use invite_client::InviteClient;
pub use invite_server::{AckFate, InviteServer};
pub use non_invite_client::NonInviteClient;
pub use non_invite_server::NonInviteServer;

/// The timer values of RFC 3261 §17.1.1.1 and Table 4, from which all others follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip; 500 ms.
    pub t1: Duration,
    /// Longest pause between copies of a non-INVITE request or an INVITE response; 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network; 5 s.
    pub t4: Duration,
    /// How long an INVITE client absorbs copies of a 300-699 over UDP; at least 32 s.
    pub d: Duration,
    /// How long an INVITE may stay unanswered before a 100 goes out; 200 ms.
    pub trying: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            d: Duration::from_secs(32),
            trying: Duration::from_millis(200),
        }
    }
}

impl Timers {
    /// 64·T1: timers B, F, H, J, L and M.
    pub fn timeout(&self) -> Duration {
        self.t1 * 64
    }

    /// 4·T1: by then the copies of a request that come 1·T1 and 3·T1 after it are here. 2 s by default.
    pub fn copies(&self) -> Duration {
        self.t1 * 4
    }

    /// When a non-INVITE is due a 100: a client's timer E has then been set to T2 (RFC 4320 §4.1). 3.5 s by default.
    pub fn non_invite_trying(&self) -> Duration {
        let (mut at, mut interval) = (Duration::ZERO, self.t1);
        while interval < self.t2 && !interval.is_zero() {
            at += interval;
            interval = (interval * 2).min(self.t2);
        }
        at
    }

    /// I and K.
    fn linger(&self, reliable: bool) -> Duration {
        if reliable { Duration::ZERO } else { self.t4 }
    }

    fn j(&self, reliable: bool) -> Duration {
        if reliable { Duration::ZERO } else { self.timeout() }
    }
}

/// What a response is to the transaction user of a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// News: hand it on.
    Pass,
    /// A copy of what was handed on before, or too late.
    Absorb,
}

/// What a timer brought about, apart from packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    Nothing,
    /// Server: a 100 is due; the owner makes it and calls `respond`.
    TryingDue,
    /// The peer did not do its part in time: no response (timers B and F), no ACK (H), or no answer from our own
    /// transaction user while the client could still use it.
    TimedOut,
}

/// Why a response was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RespondError {
    #[error("the transaction has ended")]
    Gone,
    #[error("a final response has been sent")]
    AlreadyFinal,
    #[error("this response is not for a non-INVITE request now (RFC 4320)")]
    Forbidden,
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the transcripts share.

    use std::time::{Duration, Instant};

    use bytes::Bytes;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    pub(crate) fn epoch() -> Instant {
        Instant::now()
    }

    pub(crate) fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    pub(crate) fn bytes(s: &'static str) -> Bytes {
        Bytes::from_static(s.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::ms;
    use super::*;

    #[test]
    fn the_100_to_a_non_invite_is_due_when_timer_e_reaches_t2() {
        for (t1, t2, due) in [(500, 4000, 3500), (100, 4000, 6300), (1000, 4000, 3000), (4000, 4000, 0)] {
            let timers = Timers { t1: ms(t1), t2: ms(t2), ..Timers::default() };
            assert_eq!(timers.non_invite_trying(), ms(due), "T1 {t1} T2 {t2}");
        }
    }
}
