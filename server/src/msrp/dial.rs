//! Connections that the relay opens: to relays and clients that are named in To-Path (RFC 4976 §6.4.2).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chappe_msrp::Uri;
use chappe_msrp::relay::Refused;
use chappe_net::{Proof, ResolveError, Target};
use chappe_sip::Transport;

use super::connection::{Connection, Touched};
use super::endpoint::EndClosed;
use super::relay::Relay;

const DEFAULT_PORT: u16 = 2855;
/// A name has so long to be resolved.
const RESOLVE: Duration = Duration::from_secs(10);
/// A server of a relay that could not be reached is not tried again for so long while there are others.
const PASSED_OVER: Duration = Duration::from_secs(30);

/// What a URI says of the connection to its host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Hop {
    pub secure: bool,
    pub host: Box<str>,
    pub port: u16,
    /// The URI had no port: the domain may say by SRV where its relay is (RFC 4976 §8).
    pub by_service: bool,
    /// What its certificate has to be for, where it is asked for by name.
    pub name: Option<Arc<str>>,
    pub proof: Proof,
}

impl Relay {
    /// The connection to a next hop; what is put on its way out waits until it is open. Sessions of our own are reached by
    /// a link, which is the caller's alone.
    pub(super) fn dial(self: &Arc<Self>, uri: &Uri<'_>) -> Result<Arc<Connection>, Refused> {
        // Nobody can open a WebSocket or data channel to a client.
        if !uri.transport.eq_ignore_ascii_case("tcp") {
            return Err(Refused::Unknown);
        }
        if self.ends.find(uri).is_some() {
            return if self.is_stopping() { Err(Refused::Unknown) } else { Ok(self.link(uri)) };
        }
        let host: Box<str> = uri.host.to_ascii_lowercase().into();
        let name = (address(&host).is_none()).then(|| Arc::from(&*host));
        let port = uri.port.unwrap_or(DEFAULT_PORT);
        // There is no service for relays without TLS.
        let by_service = uri.port.is_none() && uri.secure && name.is_some();
        self.dial_hop(Hop { secure: uri.secure, host, port, by_service, name, proof: Proof::Host })
    }

    /// The same by what is known of the hop.
    pub(super) fn dial_hop(self: &Arc<Self>, hop: Hop) -> Result<Arc<Connection>, Refused> {
        let connection = {
            let mut dialled = self.dialled.lock();
            if let Some(open) = dialled.get(&hop) {
                return Ok(Arc::clone(open));
            }
            if self.is_stopping() {
                return Err(Refused::Unknown);
            }
            let connection = self.new_connection(None, hop.secure, false, true, None);
            dialled.insert(hop.clone(), Arc::clone(&connection));
            connection
        };
        self.counters.dialled.one();
        match address(&hop.host) {
            Some(address) => self.connect(&hop, &connection, SocketAddr::new(address, hop.port)),
            None => self.resolve(hop, Arc::clone(&connection)),
        }
        Ok(connection)
    }

    fn resolve(self: &Arc<Self>, hop: Hop, connection: Arc<Connection>) {
        let relay = Arc::clone(self);
        self.runtime.spawn(async move {
            // The addresses in their order (RFC 4975 §6.2); one that may not be reached is passed over.
            let address = relay.addresses(&hop).await.into_iter().find(|a| relay.may_reach(*a));
            match address {
                Some(address) => relay.connect(&hop, &connection, address),
                None => relay.not_opened(&connection),
            }
        });
    }

    /// The best first; none where the name has none.
    async fn addresses(&self, hop: &Hop) -> Vec<SocketAddr> {
        if let (true, Some(resolver)) = (hop.by_service, self.resolver.get()) {
            match resolver.relay(&hop.host).await {
                Ok(servers) if !servers.is_empty() => return servers.iter().map(|server| server.addr).collect(),
                // The domain says that it has none.
                Err(ResolveError::NotFound) => return Vec::new(),
                // Names may be known to this machine that no name server knows.
                Ok(_) | Err(_) => {}
            }
        }
        let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((&*hop.host, hop.port))).await;
        found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default()
    }

    /// The next look-up passes over a server that could not be reached.
    fn pass_over(&self, connection: &Arc<Connection>) {
        let dialled = self.dialled.lock();
        let hop =
            dialled.iter().find_map(|(hop, other)| (Arc::ptr_eq(other, connection) && hop.by_service).then_some(hop));
        if let (Some(hop), Some(flow), Some(resolver)) = (hop, connection.flow(), self.resolver.get()) {
            let target = Target { server_name: hop.name.clone(), ..Target::new(Transport::Tls, flow.remote) };
            resolver.dead().mark(&target, Instant::now(), PASSED_OVER);
        }
    }

    fn may_reach(&self, address: SocketAddr) -> bool {
        let networks = self.settings.next_hops.as_ref();
        networks.is_none_or(|networks| networks.iter().any(|network| network.contains(address.ip())))
    }

    fn connect(&self, hop: &Hop, connection: &Arc<Connection>, address: SocketAddr) {
        let Some(net) = self.net() else { return self.not_opened(connection) };
        let transport = if hop.secure { Transport::Tls } else { Transport::Tcp };
        let target = Target { server_name: hop.name.clone(), ..Target::new(transport, address) };
        let registering = self.dialling.lock();
        match net.connect(&target, &hop.proof) {
            Ok(flow) => {
                connection.set_flow(flow);
                self.register(&flow, Arc::clone(connection));
                drop(registering);
                self.flush(&mut Touched::from_iter([Arc::clone(connection)]));
            }
            Err(error) => {
                drop(registering);
                tracing::debug!(%error, "MSRP next hop cannot be reached");
                self.not_opened(connection);
            }
        }
    }

    /// A next hop could not be reached; nothing of it was `opened`.
    pub(super) fn not_opened(&self, connection: &Arc<Connection>) {
        self.counters.dial_failures.one();
        self.pass_over(connection);
        self.undialled(connection);
        for end in connection.ends() {
            self.shut(&end, EndClosed::Unreachable);
        }
        self.lost(connection);
    }

    /// The next frame for the hop opens another connection.
    pub(super) fn undialled(&self, connection: &Arc<Connection>) {
        self.dialled.lock().retain(|_, other| !Arc::ptr_eq(other, connection));
    }
}

/// A host that is an address.
fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse().ok(),
        None => host.parse().ok(),
    }
}
