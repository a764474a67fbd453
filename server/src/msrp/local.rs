//! Which URIs name this relay, and what the ones that it hands out look like.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use chappe_msrp::Uri;
use chappe_msrp::auth::mint;
use chappe_msrp::{OwnedUri, uri::UriError};

use super::connection::Connection;

/// Names, addresses and ports of the relay.
#[derive(Debug, Default)]
pub struct Local {
    hosts: HashSet<Box<str>>,
    addresses: HashSet<IpAddr>,
    /// Ports that others reach us on; WebSocket ports among them.
    ports: HashSet<u16>,
    /// Ports of plain and of TLS listeners, in their order.
    plain: Vec<Listening>,
    tls: Vec<Listening>,
    /// Listens on all addresses of the machine.
    wildcard: bool,
    advertised: Option<Box<str>>,
}

#[derive(Debug, Clone)]
struct Listening {
    bound: SocketAddr,
    /// How others reach it, where it is not known by which address.
    host: Box<str>,
}

impl Local {
    /// `advertised` is the host of the URIs handed out; without it the address that the client reached.
    pub fn new(advertised: Option<&str>) -> Local {
        let mut local = Local::default();
        if let Some(host) = advertised {
            local.add_host(host);
            local.advertised = Some(host.into());
        }
        local
    }

    /// A name or address of ours; IPv6 with or without brackets.
    pub fn add_host(&mut self, host: &str) {
        match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => {
                self.addresses.insert(address);
            }
            Err(_) => {
                self.hosts.insert(host.to_ascii_lowercase().into());
            }
        }
    }

    /// A listener of ours; `host` is an address of this machine where it listens on all of them.
    pub fn add_listener(&mut self, secure: bool, bound: SocketAddr, host: &str) {
        self.add_port(bound);
        self.add_host(host);
        let listening = Listening { bound, host: host.into() };
        if secure { &mut self.tls } else { &mut self.plain }.push(listening);
    }

    /// A port that WebSockets come in on.
    pub fn add_port(&mut self, bound: SocketAddr) {
        self.ports.insert(bound.port());
        if bound.ip().is_unspecified() {
            self.wildcard = true;
        } else {
            self.addresses.insert(bound.ip());
        }
    }

    /// Whether a URI names this relay, as seen by `connection`.
    pub(super) fn names(&self, uri: &Uri<'_>, connection: &Connection) -> bool {
        if uri.port.is_some_and(|port| !self.ports.contains(&port)) {
            return false;
        }
        let Some(address) = uri.ip() else { return self.is_host(uri.host) };
        self.addresses.contains(&address)
            || self.wildcard && (address.is_loopback() || connection.local.is_some_and(|local| local.ip() == address))
    }

    fn is_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.hosts.contains(host.to_ascii_lowercase().as_str());
        }
        self.hosts.contains(host)
    }

    /// How others reach us, if that is configured.
    pub(super) fn advertised(&self) -> Option<&str> {
        self.advertised.as_deref()
    }

    /// A URI of a session that ends here, for a peer whose signalling came to `reached`.
    pub(super) fn mint_end(
        &self,
        secure: bool,
        reached: Option<IpAddr>,
        random: [u8; 16],
    ) -> Result<OwnedUri, UriError> {
        let listeners = if secure { &self.tls } else { &self.plain };
        let reached = reached.map(|address| address.to_canonical()).filter(|address| !address.is_unspecified());
        let there = |other: &&Listening| reached.is_some_and(|reached| other.bound.ip() == reached);
        let everywhere = |other: &&Listening| {
            other.bound.ip().is_unspecified()
                && reached.is_none_or(|reached| reached.is_ipv4() == other.bound.is_ipv4())
        };
        let listener = listeners.iter().find(there).or_else(|| listeners.iter().find(everywhere));
        let listener = listener.or(listeners.first()).ok_or(UriError("a listener"))?;
        let host = match (&self.advertised, reached) {
            (Some(host), _) => host.to_string(),
            (None, Some(reached)) if listener.bound.ip().is_unspecified() => host_of(reached),
            (None, _) => listener.host.to_string(),
        };
        mint(secure, &host, listener.bound.port(), random)
    }

    /// A URI to hand out to the client on `connection`. Its scheme and port are those of the listener that the client
    /// uses; a WebSocket client gets those of a stream listener that is as safe, for nobody else could use its own.
    pub(super) fn mint(&self, connection: &Connection, random: [u8; 16]) -> Result<OwnedUri, UriError> {
        let reached = connection.local;
        let fits = |listeners: &[Listening]| {
            let same = |other: &&Listening| reached.is_some_and(|reached| reached.port() == other.bound.port());
            let family = |other: &&Listening| reached.is_none_or(|reached| reached.is_ipv4() == other.bound.is_ipv4());
            listeners.iter().find(same).or_else(|| listeners.iter().find(family)).or(listeners.first()).cloned()
        };
        let (secure, listener) = match (connection.secure, fits(&self.tls), fits(&self.plain)) {
            (true, Some(tls), _) => (true, tls),
            (_, _, Some(plain)) => (false, plain),
            (_, Some(tls), None) => (true, tls),
            (_, None, None) => return Err(UriError("a listener")),
        };
        let host = match (&self.advertised, reached) {
            (Some(host), _) => host.to_string(),
            (None, Some(reached)) => host_of(reached.ip()),
            (None, None) => listener.host.to_string(),
        };
        mint(secure, &host, listener.bound.port(), random)
    }
}

fn host_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
