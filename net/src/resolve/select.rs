//! The choices of RFC 3263 as functions of records; nothing here asks anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use chappe_sip::Transport;

use super::ResolveError;
use crate::outbox::Target;

/// What a URI, or the sent-by of a Via, says about where to send (RFC 3263 §4, §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Name, IPv4 address, or IPv6 address with or without brackets; that of `maddr` where there is one.
    pub host: String,
    pub port: Option<u16>,
    /// The `transport` parameter, or the transport of the Via.
    pub transport: Option<Transport>,
    /// A `sips` URI: only TLS will do.
    pub secure: bool,
}

/// A NAPTR record (RFC 3403).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    pub order: u16,
    pub preference: u16,
    pub flags: String,
    /// Such as `SIP+D2U`.
    pub service: String,
    /// Name of the SRV records.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Empty where the service is decidedly not offered.
    pub target: String,
}

/// SRV records to ask for, and the transport that they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub transport: Transport,
    pub name: String,
}

/// What to look up first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the host is an address.
    Numeric(Target),
    /// Addresses of the host itself.
    Addresses {
        transport: Transport,
        port: u16,
    },
    Services(Vec<Service>),
    Naptr,
}

impl Query {
    /// A `sip` URI of a host alone.
    pub fn host(host: &str) -> Query {
        Query { host: host.to_owned(), port: None, transport: None, secure: false }
    }

    /// Where a response goes by its topmost Via, when neither `received` nor a connection says it (RFC 3263 §5).
    pub fn via(transport: Transport, host: &str, port: Option<u16>) -> Query {
        Query { host: host.to_owned(), port, transport: Some(transport), secure: false }
    }

    /// One address that the host stands for. A TLS server is to prove the name that was looked up, not the one that
    /// DNS gave (RFC 5922 §4).
    pub fn target(&self, transport: Transport, addr: SocketAddr) -> Target {
        let name = transport == Transport::Tls && numeric(&self.host).is_none();
        Target { server_name: name.then(|| self.host.as_str().into()), ..Target::new(transport, addr) }
    }

    /// The transport asked for, if it is one that we have and can open, or `None` where it is ours to choose.
    fn transport(&self, have: &[Transport]) -> Result<Option<Transport>, ResolveError> {
        let wanted = match (self.transport, self.secure) {
            (None, _) => return Ok(None),
            // TLS runs over TCP, and nothing secure over UDP (RFC 3261 §26.2.2).
            (Some(Transport::Tcp), true) => Transport::Tls,
            (Some(Transport::Udp), true) => return Err(ResolveError::NoTransport),
            (Some(transport), _) => transport,
        };
        usable(wanted, have).map(Some)
    }
}

/// Servers cannot open a WebSocket to a client (RFC 7118 §5).
fn usable(transport: Transport, have: &[Transport]) -> Result<Transport, ResolveError> {
    if have.contains(&transport) && !transport.is_websocket() { Ok(transport) } else { Err(ResolveError::NoTransport) }
}

fn numeric(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// Hosts that DNS is never asked for: addresses, `localhost`, and names that cannot exist (RFC 6761 §6.3, §6.4),
/// which JavaScript clients write into their Via.
pub fn known(host: &str) -> Option<Result<Vec<IpAddr>, ResolveError>> {
    if let Some(ip) = numeric(host) {
        return Some(Ok(vec![ip]));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let top = name.rsplit('.').next().unwrap_or_default();
    if top.eq_ignore_ascii_case("localhost") {
        return Some(Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]));
    }
    (name.is_empty() || top.eq_ignore_ascii_case("invalid")).then_some(Err(ResolveError::NotFound))
}

/// What to look up first (RFC 3263 §4.1, §4.2); `have` are our transports, most preferred first.
pub fn first(query: &Query, have: &[Transport]) -> Result<Step, ResolveError> {
    let asked = query.transport(have)?;
    if let Some(ip) = numeric(&query.host) {
        let (transport, port) = fallback(query, have)?;
        return Ok(Step::Numeric(query.target(transport, SocketAddr::new(ip, port))));
    }
    match known(&query.host) {
        Some(Err(error)) => return Err(error),
        // A name that is not in DNS has no services there.
        Some(Ok(_)) => return fallback(query, have).map(|(transport, port)| Step::Addresses { transport, port }),
        None => {}
    }
    match (query.port, asked) {
        (Some(_), _) => fallback(query, have).map(|(transport, port)| Step::Addresses { transport, port }),
        (None, Some(_)) => Ok(Step::Services(services(query, have))),
        (None, None) => Ok(Step::Naptr),
    }
}

/// Transport and port where no record says otherwise.
pub fn fallback(query: &Query, have: &[Transport]) -> Result<(Transport, u16), ResolveError> {
    let transport = match query.transport(have)? {
        Some(transport) => transport,
        None if query.secure => usable(Transport::Tls, have)?,
        // RFC 3263 §4.1 says UDP; a server without UDP takes what it has.
        None => [Transport::Udp, Transport::Tcp, Transport::Tls]
            .into_iter()
            .find(|t| usable(*t, have).is_ok())
            .ok_or(ResolveError::NoTransport)?,
    };
    Ok((transport, query.port.unwrap_or(transport.default_port())))
}

/// The SRV records that NAPTR records lead to, for transports that we have, in the order to follow them
/// (RFC 3263 §4.1).
pub fn naptr(records: &[Naptr], query: &Query, have: &[Transport]) -> Vec<Service> {
    let transport = |record: &Naptr| {
        let transport = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)]
            .into_iter()
            .find(|(service, _)| record.service.eq_ignore_ascii_case(service))?
            .1;
        (!query.secure || transport == Transport::Tls).then_some(())?;
        usable(transport, have).ok()
    };
    let usable = |record: &&Naptr| record.flags.eq_ignore_ascii_case("s") && !record.replacement.is_empty();
    let mut records: Vec<_> = records.iter().filter(usable).collect();
    records.sort_by_key(|record| (record.order, record.preference));
    let service = |r: &Naptr| Some(Service { transport: transport(r)?, name: r.replacement.clone() });
    records.into_iter().filter_map(service).collect()
}

/// The SRV records to ask for where no NAPTR record leads anywhere: those of the transport asked for, else of each
/// that we have.
pub fn services(query: &Query, have: &[Transport]) -> Vec<Service> {
    let one = query.transport(have).ok().flatten();
    let candidates = have.iter().copied().filter(|t| match one {
        Some(transport) => *t == transport,
        None => !query.secure || *t == Transport::Tls,
    });
    let host = &query.host;
    let service = |transport| {
        let name = match transport {
            Transport::Udp => format!("_sip._udp.{host}"),
            Transport::Tcp => format!("_sip._tcp.{host}"),
            Transport::Tls => format!("_sips._tcp.{host}"),
            Transport::Ws | Transport::Wss => return None,
        };
        Some(Service { transport, name })
    };
    candidates.filter_map(service).collect()
}

/// SRV records in the order to try them (RFC 2782): by priority, and within one at random by weight. `random(n)`
/// gives a number below `n`. Records without a target are dropped.
pub fn order(mut records: Vec<Srv>, mut random: impl FnMut(u32) -> u32) -> Vec<Srv> {
    records.retain(|record| !record.target.is_empty());
    // Weight 0 stands first, so that it is chosen only when the draw is 0.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while !records.is_empty() {
        let group = records.iter().take_while(|r| r.priority == records[0].priority).count();
        let total: u32 = records[..group].iter().map(|r| u32::from(r.weight)).sum();
        let draw = random(total + 1);
        let mut sum = 0;
        let reached = |r: &Srv| {
            sum += u32::from(r.weight);
            sum >= draw
        };
        let chosen = records[..group].iter().position(reached).unwrap_or(0);
        ordered.push(records.remove(chosen));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAVE: &[Transport] = &[Transport::Udp, Transport::Tcp, Transport::Tls];

    fn query(text: &str) -> Query {
        // host[:port][;transport][;s]
        let mut parts = text.split(';');
        let mut query = Query::host("");
        let host = parts.next().unwrap_or_default();
        match host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (query.host, query.port) = (host.to_owned(), port.parse().ok()),
            None => query.host = host.to_owned(),
        }
        for part in parts {
            match part {
                "s" => query.secure = true,
                transport => query.transport = Transport::parse(transport.as_bytes()),
            }
        }
        query
    }

    #[test]
    fn first_steps() {
        use ResolveError::*;
        use Transport::{Tcp, Tls, Udp};
        let numeric = |t, a: &str| Ok(Step::Numeric(Target::new(t, a.parse().unwrap())));
        let services = |t, name: &str| Ok(Step::Services(vec![Service { transport: t, name: name.to_owned() }]));
        for (text, expected) in [
            ("192.0.2.1", numeric(Udp, "192.0.2.1:5060")),
            ("192.0.2.1;s", numeric(Tls, "192.0.2.1:5061")),
            ("192.0.2.1;tcp", numeric(Tcp, "192.0.2.1:5060")),
            ("192.0.2.1:99;tcp;s", numeric(Tls, "192.0.2.1:99")),
            ("[2001:db8::1]:5070", numeric(Udp, "[2001:db8::1]:5070")),
            ("[2001:db8::1]", numeric(Udp, "[2001:db8::1]:5060")),
            ("a.example:5070", Ok(Step::Addresses { transport: Udp, port: 5070 })),
            ("a.example:5070;s", Ok(Step::Addresses { transport: Tls, port: 5070 })),
            ("a.example:5070;tcp", Ok(Step::Addresses { transport: Tcp, port: 5070 })),
            ("a.example;tcp", services(Tcp, "_sip._tcp.a.example")),
            ("a.example;tcp;s", services(Tls, "_sips._tcp.a.example")),
            ("a.example;tls", services(Tls, "_sips._tcp.a.example")),
            ("a.example;udp;s", Err(NoTransport)),
            ("a.example;ws", Err(NoTransport)),
            ("a.example", Ok(Step::Naptr)),
            ("a.example;s", Ok(Step::Naptr)),
            ("localhost", Ok(Step::Addresses { transport: Udp, port: 5060 })),
            ("x.invalid", Err(NotFound)),
            ("x.INVALID.;tcp", Err(NotFound)),
            ("", Err(NotFound)),
        ] {
            assert_eq!(first(&query(text), HAVE), expected, "{text}");
        }
        assert_eq!(first(&query("192.0.2.1;tls"), &[Udp]), Err(NoTransport));
        assert_eq!(first(&query("192.0.2.1"), &[Tcp]), numeric(Tcp, "192.0.2.1:5060"));
    }

    fn record(order: u16, preference: u16, flags: &str, service: &str, replacement: &str) -> Naptr {
        let (flags, service, replacement) = (flags.to_owned(), service.to_owned(), replacement.to_owned());
        Naptr { order, preference, flags, service, replacement }
    }

    #[test]
    fn naptr_by_order_and_preference() {
        let records = [
            record(2, 1, "s", "SIP+D2U", "udp"),
            record(1, 9, "S", "sip+d2t", "tcp"),
            record(1, 3, "s", "SIPS+D2T", "tls"),
            record(0, 0, "u", "SIP+D2U", "not s"),
            record(0, 0, "s", "E2U+sip", "enum"),
            record(0, 0, "s", "SIP+D2S", "sctp"),
            record(0, 0, "s", "SIP+D2U", ""),
        ];
        let names = |query: &Query, have: &[Transport]| -> Vec<String> {
            naptr(&records, query, have).into_iter().map(|s| s.name).collect()
        };
        assert_eq!(names(&query("a"), HAVE), ["tls", "tcp", "udp"]);
        assert_eq!(names(&query("a;s"), HAVE), ["tls"]);
        assert_eq!(names(&query("a"), &[Transport::Udp]), ["udp"]);
    }

    #[test]
    fn srv_by_priority_then_weight() {
        let srv = |priority, weight, target: &str| Srv { priority, weight, port: 1, target: target.to_owned() };
        let records =
            vec![srv(2, 0, "backup"), srv(1, 60, "big"), srv(1, 40, "small"), srv(1, 0, "zero"), srv(0, 0, "")];
        for (draws, expected) in [
            ([0, 0, 0, 0], ["zero", "big", "small", "backup"]),
            ([1, 0, 0, 0], ["big", "zero", "small", "backup"]),
            ([60, 1, 0, 0], ["big", "small", "zero", "backup"]),
            ([61, 60, 0, 0], ["small", "big", "zero", "backup"]),
            ([100, 1, 0, 0], ["small", "big", "zero", "backup"]),
        ] {
            let mut draws = draws.into_iter();
            let ordered = order(records.clone(), |bound| draws.next().unwrap_or(0).min(bound - 1));
            let names: Vec<_> = ordered.iter().map(|r| r.target.as_str()).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn weights_are_shares() {
        let srv = |weight, target: &str| Srv { priority: 0, weight, port: 1, target: target.to_owned() };
        let mut first = 0;
        for draw in 0..101 {
            let ordered = order(vec![srv(75, "a"), srv(25, "b")], |bound| draw.min(bound - 1));
            first += usize::from(ordered[0].target == "a");
        }
        assert_eq!(first, 76);
    }
}
