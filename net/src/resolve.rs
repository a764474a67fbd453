//! From a URI's host to addresses to try (RFC 3263), and which of them are dead.

mod dead;
mod hickory;
pub mod select;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chappe_sip::Transport;
use tokio::sync::Semaphore;

use crate::outbox::Target;
pub use dead::DeadTargets;
use hickory::Hickory;
use select::Step;
pub use select::{Naptr, Query, Service, Srv};

/// The most targets a query gives.
const TARGETS: usize = 16;
/// The most SRV records of a service that are followed.
const SERVERS: usize = 8;

/// How names are looked up.
#[derive(Debug, Clone)]
pub struct ResolveConfig {
    /// Name servers; none: those of the system.
    pub servers: Vec<SocketAddr>,
    /// Transports that requests may be sent over, most preferred first.
    pub transports: Vec<Transport>,
    /// Address families that can be sent to.
    pub ipv4: bool,
    pub ipv6: bool,
    /// For the whole of a resolution.
    pub timeout: Duration,
    /// Resolutions under way at a time; more fail at once.
    pub concurrent: usize,
    /// Records kept until they expire.
    pub cache: u64,
    /// The longest that the absence of a record is believed.
    pub negative: Duration,
}

impl Default for ResolveConfig {
    fn default() -> ResolveConfig {
        ResolveConfig {
            servers: Vec::new(),
            transports: vec![Transport::Udp, Transport::Tcp, Transport::Tls],
            ipv4: true,
            ipv6: true,
            timeout: Duration::from_secs(4),
            concurrent: 1000,
            cache: 10_000,
            negative: Duration::from_secs(60),
        }
    }
}

/// Why a host has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist or offers nothing we could use.
    #[error("no such host")]
    NotFound,
    /// It can be reached only by a transport that we have not, or its URI contradicts itself.
    #[error("no usable transport")]
    NoTransport,
    #[error("name servers did not answer in time")]
    Timeout,
    #[error("name servers could not tell")]
    Failed,
    #[error("too many resolutions under way")]
    Busy,
}

/// Where records come from: DNS, or a table in tests. No record is an empty list and no error.
#[async_trait]
pub trait Lookup: Send + Sync {
    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, ResolveError>;
    async fn srv(&self, name: &str) -> Result<Vec<Srv>, ResolveError>;
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError>;
}

/// Finds the addresses to try for a URI or a Via.
pub struct Resolver {
    config: ResolveConfig,
    lookup: Arc<dyn Lookup>,
    turns: Semaphore,
    dead: DeadTargets,
}

impl Resolver {
    /// Asks DNS. Where the system tells no name server, every look-up of a name fails.
    pub fn new(config: ResolveConfig) -> Resolver {
        let lookup = Arc::new(Hickory::new(&config));
        Resolver::with_lookup(config, lookup)
    }

    /// Asks `lookup`.
    pub fn with_lookup(config: ResolveConfig, lookup: Arc<dyn Lookup>) -> Resolver {
        let turns = Semaphore::new(config.concurrent.clamp(1, Semaphore::MAX_PERMITS));
        Resolver { config, lookup, turns, dead: DeadTargets::default() }
    }

    /// Targets that failed and are left out for a while.
    pub fn dead(&self) -> &DeadTargets {
        &self.dead
    }

    /// The answer where no name has to be looked up, so that the caller need not wait; `None`: ask [`Self::resolve`].
    pub fn immediate(&self, query: &Query) -> Option<Result<Vec<Target>, ResolveError>> {
        match select::first(query, &self.config.transports) {
            Ok(Step::Numeric(target)) => Some(Ok(vec![target])),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The addresses for `query`, in the order to try them. Dead ones are left out unless all are dead. Never an empty
    /// list.
    pub async fn resolve(&self, query: &Query) -> Result<Vec<Target>, ResolveError> {
        let _turn = self.turns.try_acquire().map_err(|_| ResolveError::Busy)?;
        let targets = tokio::time::timeout(self.config.timeout, self.look_up(query));
        let mut targets = targets.await.unwrap_or(Err(ResolveError::Timeout))?;
        targets.truncate(TARGETS);
        self.dead.leave_out(&mut targets, Instant::now());
        if targets.is_empty() { Err(ResolveError::NotFound) } else { Ok(targets) }
    }

    /// The servers of an MSRP relay that is named without a port, by the SRV records of `_msrps._tcp` (RFC 4976 §8): the
    /// best first, none where there are no such records and the host itself is the relay. Each has to prove `host`.
    /// Dead ones are left out unless all are dead. An error also where the domain says that it has no relay.
    pub async fn relay(&self, host: &str) -> Result<Vec<Target>, ResolveError> {
        match select::known(host) {
            Some(Err(error)) => return Err(error),
            // No names of DNS.
            Some(Ok(_)) => return Ok(Vec::new()),
            None => {}
        }
        let _turn = self.turns.try_acquire().map_err(|_| ResolveError::Busy)?;
        let query = Query { transport: Some(Transport::Tls), secure: true, ..Query::host(host) };
        let service = Service { transport: Transport::Tls, name: format!("_msrps._tcp.{host}") };
        let servers = tokio::time::timeout(self.config.timeout, self.servers(&query, &service));
        match servers.await.unwrap_or(Err(ResolveError::Timeout))? {
            Servers::At(mut targets) => {
                targets.truncate(TARGETS);
                self.dead.leave_out(&mut targets, Instant::now());
                Ok(targets)
            }
            Servers::Declined => Err(ResolveError::NotFound),
            Servers::None => Ok(Vec::new()),
        }
    }

    async fn look_up(&self, query: &Query) -> Result<Vec<Target>, ResolveError> {
        let have = &self.config.transports;
        let services = match select::first(query, have)? {
            Step::Numeric(target) => return Ok(vec![target]),
            Step::Addresses { transport, port } => return self.addresses(query, &query.host, transport, port).await,
            Step::Services(services) => services,
            Step::Naptr => {
                let records = self.lookup.naptr(&query.host).await?;
                let services = select::naptr(&records, query, have);
                if services.is_empty() { select::services(query, have) } else { services }
            }
        };
        let mut declined = false;
        for service in services {
            match self.servers(query, &service).await? {
                Servers::At(targets) => return Ok(targets),
                Servers::Declined => declined = true,
                Servers::None => {}
            }
        }
        if declined {
            return Err(ResolveError::NotFound);
        }
        let (transport, port) = select::fallback(query, have)?;
        self.addresses(query, &query.host, transport, port).await
    }

    /// What the SRV records of one service lead to (RFC 2782).
    async fn servers(&self, query: &Query, service: &Service) -> Result<Servers, ResolveError> {
        let records = self.lookup.srv(&service.name).await?;
        // A lone root as target says that the service is decidedly not there.
        let declined = !records.is_empty() && records.iter().all(|r| r.target.is_empty());
        let mut targets = Vec::new();
        for srv in select::order(records, random).into_iter().take(SERVERS) {
            // One server without an address is no reason to give up the others.
            let found = self.addresses(query, &srv.target, service.transport, srv.port).await;
            targets.extend(found.into_iter().flatten());
            if targets.len() >= TARGETS {
                break;
            }
        }
        Ok(match (targets.is_empty(), declined) {
            (false, _) => Servers::At(targets),
            (true, true) => Servers::Declined,
            (true, false) => Servers::None,
        })
    }

    async fn addresses(
        &self,
        query: &Query,
        host: &str,
        transport: Transport,
        port: u16,
    ) -> Result<Vec<Target>, ResolveError> {
        let mut addresses = match select::known(host) {
            Some(known) => known?,
            None => self.lookup.addresses(host).await?,
        };
        addresses.retain(|a| if a.is_ipv4() { self.config.ipv4 } else { self.config.ipv6 });
        // What speaks both families is tried by IPv6 first (RFC 6724 §2.1), the rest in the order of the answer.
        addresses.sort_by_key(IpAddr::is_ipv4);
        let target = |ip| query.target(transport, SocketAddr::new(ip, port));
        Ok(addresses.into_iter().map(target).collect())
    }
}

/// What the SRV records of a service say.
enum Servers {
    At(Vec<Target>),
    /// There is no such service.
    Declined,
    /// No records, or none with an address.
    None,
}

/// A number below `bound`, to spread load; nothing secret hangs on it.
fn random(bound: u32) -> u32 {
    let bits = ahash::RandomState::new().hash_one(bound) as u32;
    ((u64::from(bits) * u64::from(bound)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A zone as a table, with a note of what was asked.
    #[derive(Default)]
    struct Zone {
        naptr: HashMap<&'static str, Vec<Naptr>>,
        srv: HashMap<&'static str, Vec<Srv>>,
        addresses: HashMap<&'static str, Vec<&'static str>>,
        asked: parking_lot::Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Lookup for Zone {
        async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, ResolveError> {
            self.asked.lock().push(format!("NAPTR {name}"));
            Ok(self.naptr.get(name).cloned().unwrap_or_default())
        }

        async fn srv(&self, name: &str) -> Result<Vec<Srv>, ResolveError> {
            self.asked.lock().push(format!("SRV {name}"));
            Ok(self.srv.get(name).cloned().unwrap_or_default())
        }

        async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
            if name == "slow.example" {
                std::future::pending::<()>().await;
            }
            self.asked.lock().push(format!("A {name}"));
            Ok(self.addresses.get(name).into_iter().flatten().map(|a| a.parse().unwrap()).collect())
        }
    }

    fn naptr(order: u16, service: &str, replacement: &str) -> Naptr {
        let (flags, service, replacement) = ("s".to_owned(), service.to_owned(), replacement.to_owned());
        Naptr { order, preference: 0, flags, service, replacement }
    }

    fn srv(priority: u16, target: &str, port: u16) -> Srv {
        Srv { priority, weight: 0, port, target: target.to_owned() }
    }

    fn zone() -> Zone {
        let mut zone = Zone::default();
        zone.naptr.insert(
            "full.example",
            vec![naptr(2, "SIP+D2U", "_sip._udp.full.example"), naptr(1, "SIPS+D2T", "_sips._tcp.other.example")],
        );
        zone.srv.insert("_sip._udp.full.example", vec![srv(1, "u.full.example", 5070)]);
        zone.srv.insert(
            "_sips._tcp.other.example",
            vec![srv(2, "b.full.example", 5071), srv(1, "a.full.example", 5061), srv(3, "gone.example", 1)],
        );
        zone.srv.insert("_sip._tcp.srv.example", vec![srv(1, "a.full.example", 5080)]);
        zone.srv.insert("_sip._udp.declined.example", vec![srv(0, "", 0)]);
        zone.addresses.insert("a.full.example", vec!["192.0.2.1", "2001:db8::1"]);
        zone.addresses.insert("b.full.example", vec!["192.0.2.2"]);
        zone.addresses.insert("u.full.example", vec!["192.0.2.3"]);
        zone.addresses.insert("plain.example", vec!["192.0.2.4"]);
        zone.addresses.insert("declined.example", vec!["192.0.2.5"]);
        zone
    }

    async fn run(
        query: &Query,
        change: impl FnOnce(&mut ResolveConfig),
    ) -> (Result<Vec<String>, ResolveError>, String) {
        let (zone, mut config) = (Arc::new(zone()), ResolveConfig::default());
        change(&mut config);
        let resolver = Resolver::with_lookup(config, zone.clone());
        let found = resolver.resolve(query).await.map(|targets| {
            let print = |t: &Target| {
                let name = t.server_name.as_deref().map(|n| format!(" {n}")).unwrap_or_default();
                format!("{} {}{name}", t.transport, t.addr)
            };
            targets.iter().map(print).collect()
        });
        let asked = zone.asked.lock().join(", ");
        (found, asked)
    }

    #[tokio::test]
    async fn transcripts() {
        use ResolveError::*;
        for (query, expected, asked) in [
            (
                Query::host("full.example"),
                Ok(&[
                    "TLS [2001:db8::1]:5061 full.example",
                    "TLS 192.0.2.1:5061 full.example",
                    "TLS 192.0.2.2:5071 full.example",
                ][..]),
                "NAPTR full.example, SRV _sips._tcp.other.example, A a.full.example, A b.full.example, A gone.example",
            ),
            (
                Query { transport: Some(Transport::Udp), ..Query::host("full.example") },
                Ok(&["UDP 192.0.2.3:5070"]),
                "SRV _sip._udp.full.example, A u.full.example",
            ),
            (
                Query::host("srv.example"),
                Ok(&["TCP [2001:db8::1]:5080", "TCP 192.0.2.1:5080"]),
                "NAPTR srv.example, SRV _sip._udp.srv.example, SRV _sip._tcp.srv.example, A a.full.example",
            ),
            (
                Query { port: Some(5099), ..Query::host("plain.example") },
                Ok(&["UDP 192.0.2.4:5099"]),
                "A plain.example",
            ),
            (
                Query { secure: true, ..Query::host("plain.example") },
                Ok(&["TLS 192.0.2.4:5061 plain.example"]),
                "NAPTR plain.example, SRV _sips._tcp.plain.example, A plain.example",
            ),
            (
                Query { transport: Some(Transport::Udp), ..Query::host("declined.example") },
                Err(NotFound),
                "SRV _sip._udp.declined.example",
            ),
            (Query { port: Some(1), ..Query::host("nothing.example") }, Err(NotFound), "A nothing.example"),
            (Query::host("192.0.2.9"), Ok(&["UDP 192.0.2.9:5060"]), ""),
            (Query { port: Some(7), ..Query::host("LocalHost") }, Ok(&["UDP [::1]:7", "UDP 127.0.0.1:7"]), ""),
            (Query { port: Some(7), ..Query::host("df7jal23ls0d.invalid") }, Err(NotFound), ""),
            (Query { transport: Some(Transport::Ws), ..Query::host("full.example") }, Err(NoTransport), ""),
        ] {
            let (found, seen) = run(&query, |_| {}).await;
            let expected = expected.map(|list| list.iter().map(|s| (*s).to_owned()).collect());
            assert_eq!((found, seen.as_str()), (expected, asked), "{query:?}");
        }
    }

    #[tokio::test]
    async fn relays_by_srv() {
        let mut zone = zone();
        zone.srv.insert(
            "_msrps._tcp.relay.example",
            vec![srv(1, "b.full.example", 9001), srv(0, "a.full.example", 9000), srv(2, "gone.example", 1)],
        );
        zone.srv.insert("_msrps._tcp.none.example", vec![srv(0, "", 0)]);
        let resolver = Resolver::with_lookup(ResolveConfig::default(), Arc::new(zone));
        let ask = async |host: &str| {
            let found = resolver.relay(host).await?;
            let print = |t: &Target| format!("{} {} {}", t.transport, t.addr, t.server_name.as_deref().unwrap_or("-"));
            Ok(found.iter().map(print).collect::<Vec<_>>())
        };
        let all = [
            "TLS [2001:db8::1]:9000 relay.example",
            "TLS 192.0.2.1:9000 relay.example",
            "TLS 192.0.2.2:9001 relay.example",
        ];
        for (host, expected) in [
            ("relay.example", Ok(&all[..])),
            ("plain.example", Ok(&[][..])),
            ("192.0.2.9", Ok(&[][..])),
            ("localhost", Ok(&[][..])),
            ("none.example", Err(ResolveError::NotFound)),
            ("a.invalid", Err(ResolveError::NotFound)),
        ] {
            let expected = expected.map(|list| list.iter().map(|s| (*s).to_owned()).collect());
            assert_eq!(ask(host).await, expected, "{host}");
        }
        let first = resolver.relay("relay.example").await.unwrap().remove(0);
        resolver.dead().mark(&first, Instant::now(), std::time::Duration::from_secs(3600));
        assert_eq!(ask("relay.example").await, Ok(all[1..].iter().map(|s| (*s).to_owned()).collect()));
    }

    #[tokio::test]
    async fn families_and_transports_we_have_not_are_left_out() {
        let (found, _) = run(&Query::host("full.example"), |c| c.transports = vec![Transport::Udp]).await;
        assert_eq!(found.unwrap(), ["UDP 192.0.2.3:5070"]);
        let (found, _) = run(&Query::host("srv.example"), |c| c.ipv6 = false).await;
        assert_eq!(found.unwrap(), ["TCP 192.0.2.1:5080"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_ends_in_a_timeout_and_no_queue() {
        let config = ResolveConfig { concurrent: 1, ..ResolveConfig::default() };
        let resolver = Resolver::with_lookup(config, Arc::new(zone()));
        let slow = Query { port: Some(1), ..Query::host("slow.example") };
        let quick = Query { port: Some(1), ..Query::host("plain.example") };
        let (first, second) = tokio::join!(resolver.resolve(&slow), resolver.resolve(&quick));
        assert_eq!((first, second), (Err(ResolveError::Timeout), Err(ResolveError::Busy)));
    }

    #[tokio::test]
    async fn dead_targets_are_left_out_while_another_lives() {
        let resolver = Resolver::with_lookup(ResolveConfig::default(), Arc::new(zone()));
        let query = Query::host("full.example");
        let all = resolver.resolve(&query).await.unwrap();
        resolver.dead().mark(&all[0], Instant::now(), Duration::from_secs(60));
        assert_eq!(resolver.resolve(&query).await.unwrap(), all[1..]);
        for target in &all {
            resolver.dead().mark(target, Instant::now(), Duration::from_secs(60));
        }
        assert_eq!(resolver.resolve(&query).await.unwrap(), all);
    }
}
