//! What time does: responses that do not come, probation, expiry, idle connections, rates.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::connection::{Connection, Touched};
use super::relay::Relay;
use super::session::Session;
use crate::core::epoch_seconds;

/// How often time is looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// Ticks between looks at what is slow.
const SLOW: u32 = 4;
/// Milliseconds after which a connection to ourselves is closed that no session uses.
const LINK: u64 = 2_000;
/// Ticks between forgetting old nonces.
const NONCES: u32 = 240;

impl Relay {
    /// Looks at the time until the end.
    pub async fn run_clock(self: Arc<Self>) {
        let start = Instant::now();
        let mut ticks = tokio::time::interval(PERIOD);
        for count in 0u32.. {
            ticks.tick().await;
            let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.set_now(now);
            self.refill();
            if count % SLOW == 0 {
                self.tick(now);
            }
            if count % NONCES == 0 {
                self.gate.expire(epoch_seconds());
            }
        }
    }

    /// Does what is due at `now`, in milliseconds since the start.
    pub fn tick(&self, now: u64) {
        self.set_now(now);
        let mut touched = Touched::new();
        for connection in self.all_connections() {
            loop {
                let Some((_, waiting)) = connection.way_out.lock().open.handle_timeout(self.instant()) else { break };
                self.unanswered(waiting, &mut touched);
            }
            if self.is_over(&connection, now) {
                self.close(&connection);
            }
        }
        self.flush(&mut touched);
        self.tick_ends(now);
        let idle = self.settings.session_idle;
        for session in self.sessions.all() {
            let unused = idle > 0 && now.saturating_sub(session.used.load(Ordering::Relaxed)) > idle;
            if unused || session.expires.load(Ordering::Relaxed) <= now {
                self.end_session(&session);
            }
        }
    }

    /// Whether a connection has had its time (RFC 4976 §6.1, §6.5).
    fn is_over(&self, connection: &Connection, now: u64) -> bool {
        if !connection.proven.load(Ordering::Relaxed) {
            return now.saturating_sub(connection.opened) >= self.settings.probation;
        }
        let used = connection.used.load(Ordering::Relaxed);
        let idle = if connection.link().is_some() { LINK } else { self.settings.connection_idle };
        now.saturating_sub(used) >= idle && !connection.has_sessions() && connection.way_out.lock().outgoing.is_idle()
    }

    /// A session has used up its allowance: its source is not read until there is some again.
    pub(super) fn throttle(&self, session: &Arc<Session>, source: &Arc<Connection>) {
        let mut throttled = self.throttled.lock();
        let known = throttled.iter().any(|(s, c)| Arc::ptr_eq(s, session) && Arc::ptr_eq(c, source));
        if !known {
            source.holds.fetch_add(1, Ordering::AcqRel);
            throttled.push((Arc::clone(session), Arc::clone(source)));
        }
    }

    /// Gives the sessions that wait for it their share of a period.
    pub(super) fn refill(&self) {
        let rate = i64::try_from(self.settings.rate).unwrap_or(i64::MAX);
        if rate == 0 {
            return;
        }
        let share = (rate / 4).max(1);
        for session in self.sessions.all() {
            let full = |allowance: i64| Some(allowance.saturating_add(share).min(rate));
            let _ = session.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, full);
        }
        let mut throttled = self.throttled.lock();
        throttled.retain(|(session, source)| {
            let waits = session.allowance.load(Ordering::Relaxed) <= 0 && !session.has_ended();
            if !waits {
                self.release(source);
            }
            waits
        });
    }
}
