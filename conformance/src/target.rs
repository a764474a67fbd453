//! What is tested: the address, the transport and the accounts that may be used.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::msrp::Place;

/// The transports a suite can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proto {
    Udp,
    Tcp,
    Tls,
    Ws,
}

impl Proto {
    /// The name in a `transport` parameter, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Proto::Udp => "udp",
            Proto::Tcp => "tcp",
            Proto::Tls => "tls",
            Proto::Ws => "ws",
        }
    }

    /// The name in Via, upper case.
    pub fn via(self) -> &'static str {
        match self {
            Proto::Udp => "UDP",
            Proto::Tcp => "TCP",
            Proto::Tls => "TLS",
            Proto::Ws => "WS",
        }
    }

    pub fn parse(name: &str) -> Option<Proto> {
        [Proto::Udp, Proto::Tcp, Proto::Tls, Proto::Ws].into_iter().find(|p| p.name().eq_ignore_ascii_case(name))
    }
}

/// Why there is nothing to report on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    #[error("{0:?} is not sip:HOST[:PORT][;transport=udp|tcp|tls|ws]")]
    Uri(String),
    #[error("{0:?} has no address")]
    Address(String),
    #[error("no suite is called {0:?}")]
    Suite(String),
    #[error("{0} answers no OPTIONS")]
    NoAnswer(String),
    #[error("no push service can listen at {0:?} (HOST:PORT)")]
    Push(String),
    #[error("{0} takes no connection")]
    NoConnection(String),
}

/// A server under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub addr: SocketAddr,
    pub proto: Proto,
    /// The host as written, for the TLS server name and the default domain.
    pub host: String,
}

impl Target {
    /// Reads `sip:HOST[:PORT][;transport=T]`; the scheme may be left out. Resolves the host once.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        let bad = || TargetError::Uri(text.to_owned());
        let (scheme_tls, rest) = match text.split_once(':') {
            Some(("sips", rest)) => (true, rest),
            Some(("sip", rest)) => (false, rest),
            _ => (false, text),
        };
        let mut parts = rest.split(';');
        let hostport = parts.next().filter(|h| !h.is_empty()).ok_or_else(bad)?;
        let mut proto = if scheme_tls { Proto::Tls } else { Proto::Udp };
        for part in parts {
            if let Some(name) = part.strip_prefix("transport=") {
                proto = Proto::parse(name).ok_or_else(bad)?;
            }
        }
        let (host, port) = host_port(hostport).ok_or_else(bad)?;
        let port = port.unwrap_or(match proto {
            Proto::Tls => 5061,
            Proto::Ws => 80,
            _ => 5060,
        });
        Ok(Target { addr: resolve(&host, port)?, proto, host })
    }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
pub(crate) fn host_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None => None,
        };
        return Some((host.to_owned(), port));
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host.to_owned(), Some(port.parse().ok()?))),
        None => Some((text.to_owned(), None)),
    }
}

/// The first address of a host, IPv4 before IPv6.
pub(crate) fn resolve(host: &str, port: u16) -> Result<SocketAddr, TargetError> {
    let none = || TargetError::Address(host.to_owned());
    let mut found: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|_| none())?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(none)
}

/// A user of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub user: String,
    pub password: String,
}

/// What `run` is to do. Only the target is needed; what the rest would test is skipped without it.
#[derive(Debug, Clone)]
pub struct Options {
    pub target: Target,
    /// Names of suites; empty runs all.
    pub suites: Vec<String>,
    /// Case names must contain this; empty runs all.
    pub filter: String,
    /// The domain of the accounts; the target's host when `None`.
    pub domain: Option<String>,
    /// Two let most cases run, three let all; more make the run shorter.
    pub accounts: Vec<Account>,
    /// `HOST[:PORT]` where MSRP is spoken over TCP.
    pub msrp: Option<String>,
    /// `HOST[:PORT]` where MSRP is spoken over TLS; clients authenticate there when it is given.
    pub msrp_tls: Option<String>,
    /// `http://HOST:PORT[/path]` of the WebSocket, for MSRP `https` as well; `/ws` when the path is empty.
    pub http: Option<String>,
    /// The number of one of the accounts, for which the target believes that this run is a gateway of its access network.
    pub msisdn: Option<String>,
    /// `HOST:PORT` at which the run is a Web Push service, over plain HTTP; the target has to trust it.
    pub push: Option<String>,
    /// False for a target that speaks MSRP only: the SIP suites are left out.
    pub sip: bool,
    /// Keep the exchange of cases that passed as well.
    pub keep_transcripts: bool,
}

impl Options {
    pub fn new(target: Target) -> Options {
        Options {
            target,
            suites: Vec::new(),
            filter: String::new(),
            domain: None,
            accounts: Vec::new(),
            msrp: None,
            msrp_tls: None,
            http: None,
            msisdn: None,
            push: None,
            sip: true,
            keep_transcripts: false,
        }
    }

    /// For a relay that speaks no SIP, at `HOST[:PORT]`; `secure` for TLS.
    pub fn relay(at: &str, secure: bool) -> Result<Options, TargetError> {
        let place = Place::parse(at, if secure { 2856 } else { 2855 }, secure)?;
        let proto = if secure { Proto::Tls } else { Proto::Tcp };
        let mut options = Options::new(Target { addr: place.addr, proto, host: place.host });
        let at = Some(at.to_owned());
        (options.msrp, options.msrp_tls) = if secure { (None, at) } else { (at, None) };
        options.sip = false;
        Ok(options)
    }

    pub fn domain(&self) -> &str {
        self.domain.as_deref().unwrap_or(&self.target.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, expected) in [
            ("sip:127.0.0.1:5080", Some(("127.0.0.1:5080", Proto::Udp))),
            ("sip:127.0.0.1;transport=tls", Some(("127.0.0.1:5061", Proto::Tls))),
            ("sips:127.0.0.1", Some(("127.0.0.1:5061", Proto::Tls))),
            ("127.0.0.1:1;transport=TCP", Some(("127.0.0.1:1", Proto::Tcp))),
            ("sip:[::1]:5070", Some(("[::1]:5070", Proto::Udp))),
            ("sip:", None),
            ("sip:127.0.0.1:70000", None),
            ("sip:127.0.0.1;transport=smoke", None),
        ] {
            let got = Target::parse(text).ok().map(|t| (t.addr.to_string(), t.proto));
            assert_eq!(got, expected.map(|(a, p)| (a.to_owned(), p)), "{text}");
        }
    }
}
