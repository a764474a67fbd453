//! What the exchange of SDP says of the peer: who connects to whom, and with which certificate (RFC 4975 §5.4, RFC 6135,
//! RFC 6714, RFC 8122).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_msrp::relay::Matching;
use chappe_msrp::{OwnedUri, Uri};
use chappe_net::{Fingerprint, Proof};
use chappe_sdp::{Agreement, Connect, Host, Target};

use super::super::connection::Connection;
use super::super::dial::Hop;
use super::EndClosed;
use super::end::End;
use super::events::Event;

/// Milliseconds that the peer has to connect once that is agreed upon.
const CONNECT: u64 = 32_000;

/// How to connect.
enum Way<'a> {
    /// To the relay that is ours, for this session of it.
    Link(Uri<'a>),
    Dial(Hop),
}

impl End {
    /// The SDP exchange is over. Where we are active we connect now and send an empty SEND: an answerer calls this when
    /// the ACK has come ([`Agreement::after_ack`]). Where we are passive the peer has half a minute to connect. A second
    /// call, after another exchange with the same URIs, changes the way to the peer only.
    pub fn agreed(self: &Arc<Self>, agreement: &Agreement) {
        let to = agreement.to_path().collect::<Vec<_>>().join(" ");
        let first = agreement.peer_path.first().and_then(|uri| Uri::parse(uri.as_bytes()).ok());
        let dial = {
            let mut state = self.state.lock();
            if self.has_ended() {
                return;
            }
            let again = state.to_path.replace(to.into()).is_some();
            state.agreed = self.relay.now();
            let told = Some(agreement.own_uri()).filter(|own| *own != self.uri().as_str());
            state.told = told.and_then(|own| OwnedUri::parse(own).ok());
            if agreement.matching == chappe_sdp::Matching::SessionId {
                state.matching = Matching::Session;
            }
            match fingerprints(agreement) {
                Some(fingerprints) => state.fingerprints = fingerprints,
                None => {
                    drop(state);
                    return self.relay.shut(self, EndClosed::Unsupported);
                }
            }
            match &agreement.connect {
                Connect::Listen => None,
                Connect::To(_) if again || state.connection.is_some() => None,
                Connect::To(target) => {
                    self.queue_opening(&mut state);
                    // The peer may be behind the relay that is here too.
                    let ours = first.filter(|uri| self.relay.sessions.find(uri).is_some());
                    Some(match ours {
                        Some(uri) => Way::Link(uri),
                        None => Way::Dial(hop(agreement.secure, target, proof(&state.fingerprints))),
                    })
                }
                Connect::OwnRelay { .. } => {
                    drop(state);
                    return self.relay.shut(self, EndClosed::Unsupported);
                }
            }
        };
        match dial {
            Some(way) => self.dial(way),
            None => self.check_certificate(),
        }
        self.feed();
    }

    /// The connection that we opened for it is there.
    pub(in super::super) fn connected(self: &Arc<Self>) {
        self.tell_bound();
        self.dispatch_later();
    }

    /// Tells the user of its connection, once.
    pub(super) fn tell_bound(&self) {
        if !std::mem::replace(&mut self.state.lock().bound, true) {
            self.tell(Event::Bound);
        }
    }

    /// The peer was to connect and did not.
    pub(super) fn waits_in_vain(&self, now: u64) -> bool {
        let state = self.state.lock();
        state.connection.is_none() && state.to_path.is_some() && now.saturating_sub(state.agreed) >= CONNECT
    }

    fn dial(self: &Arc<Self>, way: Way<'_>) {
        let connection = match way {
            Way::Link(uri) => self.relay.link(&uri),
            Way::Dial(hop) => match self.relay.dial_hop(hop) {
                Ok(connection) => connection,
                Err(_) => return self.relay.shut(self, EndClosed::Unreachable),
            },
        };
        {
            let mut state = self.state.lock();
            if state.connection.is_some() {
                return;
            }
            state.connection = Some(Arc::clone(&connection));
        }
        connection.add_end(self);
        if connection.open.load(Ordering::Acquire) {
            self.tell_bound();
        }
        // It may have failed at once.
        if connection.way_out.lock().gone {
            self.relay.shut(self, EndClosed::Unreachable);
        }
    }

    /// The peer may have connected before its fingerprints were known.
    fn check_certificate(self: &Arc<Self>) {
        let (connection, fingerprints) = {
            let state = self.state.lock();
            (state.connection.clone(), state.fingerprints.clone())
        };
        if let Some(connection) = connection.filter(|connection| !connection.is_of(&fingerprints)) {
            self.relay.shut(self, EndClosed::Unreachable);
            self.relay.close(&connection);
        }
    }
}

fn hop(secure: bool, target: &Target, proof: Proof) -> Hop {
    let name = target.tls.as_ref().and_then(|host| match host {
        Host::Name(name) if secure => Some(Arc::from(name.as_str())),
        _ => None,
    });
    Hop { secure, host: target.host.to_string().into(), port: target.port, by_service: false, name, proof }
}

/// A connection of ours has to be to one of these, or to the host.
fn proof(fingerprints: &[Fingerprint]) -> Proof {
    fingerprints.first().map_or(Proof::Host, |fingerprint| Proof::Certificate(*fingerprint))
}

/// The peer's fingerprints of the best hash that the transport layer knows; none where names decide, and `None` where
/// there are only others.
fn fingerprints(agreement: &Agreement) -> Option<Vec<Fingerprint>> {
    let of = |algorithm: &str| -> Vec<Fingerprint> {
        let same = |given: &&chappe_sdp::Fingerprint| given.function.eq_ignore_ascii_case(algorithm);
        agreement.fingerprints.iter().filter(same).filter_map(|f| Fingerprint::new(algorithm, &f.value)).collect()
    };
    let found = ["sha-256", "sha-1"].into_iter().map(of).find(|found| !found.is_empty());
    match found {
        None if agreement.fingerprints.is_empty() => Some(Vec::new()),
        found => found,
    }
}

impl Connection {
    /// Whether the peer has shown one of these certificates, or none at all: a listener need not ask for one.
    pub(super) fn is_of(&self, fingerprints: &[Fingerprint]) -> bool {
        let Some(shown) = self.shown.get() else { return true };
        fingerprints.is_empty() || fingerprints.iter().any(|fingerprint| shown.matches(fingerprint))
    }
}
