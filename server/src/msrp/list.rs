//! What the operator sees of the relay and of the sessions that end here: metrics and sessions; and the kill.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_api::{MsrpKind, MsrpSession};
use chappe_msrp::relay::Side;

use super::connection::Connection;
use super::endpoint::{End, EndClosed};
use super::relay::Relay;
use super::session::Session;
use crate::metrics::{Exposition, Kind};

impl Relay {
    /// Sessions in the order of their numbers, `limit` of those behind `after`.
    pub fn list(&self, after: u64, limit: usize) -> Vec<MsrpSession> {
        enum Either {
            Relayed(Arc<Session>),
            Own(Arc<End>),
        }
        let relayed = self.sessions.all().into_iter().map(|session| (session.number, Either::Relayed(session)));
        let own = self.ends.all().into_iter().map(|end| (end.number(), Either::Own(end)));
        let mut all: Vec<_> = relayed.chain(own).filter(|(number, _)| *number > after).collect();
        all.sort_by_key(|(number, _)| *number);
        let rows = all.iter().take(limit).map(|(_, session)| match session {
            Either::Relayed(session) => self.row(session),
            Either::Own(end) => self.row_of_end(end),
        });
        rows.collect()
    }

    fn row(&self, session: &Arc<Session>) -> MsrpSession {
        let now = self.now();
        let peer = session.peer();
        let queued = |to: &Connection, key| to.way_out.lock().outgoing.queued(key) as u64;
        let from_outside: u64 = session.keys_from_outside().into_iter().map(|key| queued(&session.owner, key)).sum();
        let seconds = |since: u64| now.saturating_sub(since) / 1000;
        let flow = |connection: &Connection| connection.flow().map(ToString::to_string);
        MsrpSession {
            id: session.number,
            kind: MsrpKind::Relay,
            user: session.user.to_string(),
            flow: flow(&session.owner).unwrap_or_default(),
            peer: peer.as_ref().and_then(|peer| flow(peer)),
            sent_bytes: session.sent.load(Ordering::Relaxed),
            received_bytes: session.received.load(Ordering::Relaxed),
            queued_bytes: from_outside + peer.as_ref().map_or(0, |peer| queued(peer, session.key(Side::Owner))),
            age_s: seconds(session.created),
            idle_s: seconds(session.used.load(Ordering::Relaxed)),
            expires_s: session.expires.load(Ordering::Relaxed).saturating_sub(now) / 1000,
        }
    }

    fn row_of_end(&self, end: &Arc<End>) -> MsrpSession {
        let now = self.now();
        let seconds = |since: u64| now.saturating_sub(since) / 1000;
        let connection = end.connection();
        MsrpSession {
            id: end.number(),
            kind: MsrpKind::Endpoint,
            user: end.label().to_string(),
            flow: connection.and_then(|connection| connection.flow().map(ToString::to_string)).unwrap_or_default(),
            peer: None,
            sent_bytes: end.received.load(Ordering::Relaxed),
            received_bytes: end.sent.load(Ordering::Relaxed),
            queued_bytes: end.queued() as u64,
            age_s: seconds(end.created),
            idle_s: seconds(end.used.load(Ordering::Relaxed)),
            expires_s: 0,
        }
    }

    /// Ends a session by its number; `false` if there is none.
    pub fn kill(&self, number: u64) -> bool {
        if let Some(end) = self.ends.all().into_iter().find(|end| end.number() == number) {
            self.shut(&end, EndClosed::Operator);
            return true;
        }
        let found = self.sessions.all().into_iter().find(|session| session.number == number);
        found.is_some_and(|session| {
            self.end_session(&session);
            true
        })
    }

    /// Sessions now, those that end here included.
    pub fn sessions_now(&self) -> u64 {
        (self.sessions.len() + self.ends.len()) as u64
    }

    /// Whether something waits for its next hop.
    pub fn is_busy(&self) -> bool {
        self.all_connections().iter().any(|connection| !connection.way_out.lock().outgoing.is_idle())
    }

    /// The Prometheus families of the relay.
    pub fn write_metrics(&self, out: &mut Exposition) {
        let (mut queued, mut held, mut connections) = (0, 0u64, 0u64);
        for connection in self.all_connections() {
            connections += 1;
            queued += connection.way_out.lock().outgoing.held();
            held += u64::from(connection.holds.load(Ordering::Relaxed) > 0);
        }
        out.family("chappe_msrp_sessions", Kind::Gauge, "MSRP sessions now.").sample(&[], self.sessions.len());
        out.family("chappe_msrp_endpoint_sessions", Kind::Gauge, "MSRP sessions now that end at the server.")
            .sample(&[], self.ends.len());
        out.family(
            "chappe_msrp_endpoint_held_bytes",
            Kind::Gauge,
            "Bytes held now of messages to the server that are not complete or not answered.",
        )
        .sample(&[], self.ends.held.load(Ordering::Relaxed));
        out.family("chappe_msrp_connections", Kind::Gauge, "MSRP connections now, those being opened included.")
            .sample(&[], connections);
        out.family("chappe_msrp_queued_bytes", Kind::Gauge, "Bytes that wait for their next hop now.")
            .sample(&[], queued);
        out.family(
            "chappe_msrp_paused_connections",
            Kind::Gauge,
            "Connections that are not read now because what came from them is not taken.",
        )
        .sample(&[], held);
        self.counters.write(out);
    }
}
