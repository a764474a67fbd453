//! MSRP from raw text (RFC 4975, 4976, 7977): frames, connections and clients of a relay, on a parser of its own.

mod client;
mod frame;
mod link;

use std::net::{IpAddr, SocketAddr};

pub(crate) use client::{Client, Message, Pair, Session, challenges, difference, home, id_of, response, same};
pub(crate) use frame::{Decoder, Frame, Req, uris};
pub(crate) use link::{Conn, Reading, Writing, connect};

use crate::case::Ctx;
use crate::target::{Options, TargetError, host_port, resolve};

/// What a connection runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Tcp,
    Tls,
    Ws,
}

impl Via {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Via::Tcp => "tcp",
            Via::Tls => "tls",
            Via::Ws => "ws",
        }
    }
}

/// One address of the target.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) addr: SocketAddr,
    /// The host as written, in brackets where it is an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Of the WebSocket.
    pub(crate) path: String,
    /// TLS below; for `Via::Ws` that of `wss`.
    pub(crate) secure: bool,
}

impl Place {
    pub(crate) fn parse(text: &str, port: u16, secure: bool) -> Result<Place, TargetError> {
        let bad = || TargetError::Uri(text.to_owned());
        let (host, given) = host_port(text).ok_or_else(bad)?;
        let port = given.unwrap_or(port);
        let addr = resolve(&host, port)?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(Place { addr, host, port, path: String::new(), secure })
    }

    /// Reads `http://`, `https://`, `ws://` and `wss://` with an optional path.
    pub(crate) fn web(url: &str) -> Result<Place, TargetError> {
        let bad = || TargetError::Uri(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let secure = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(bad()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut place = Place::parse(authority, if secure { 443 } else { 80 }, secure)?;
        place.path = if path.is_empty() { "/ws".to_owned() } else { format!("/{path}") };
        Ok(place)
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What the relay is called in AUTH: its domain where only an address is known of its host.
    pub(crate) fn relay_name(&self, domain: Option<&str>) -> String {
        let numeric = self.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        match domain {
            Some(domain) if numeric => format!("{domain}:{}", self.port),
            _ => self.authority(),
        }
    }

    /// `msrp` or `msrps`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "msrps" } else { "msrp" }
    }
}

/// Where a path leads. It has to be the target or this machine.
pub(crate) fn place_of(ctx: &Ctx, path: &str) -> Result<Place, String> {
    let uri = path.split(' ').next().unwrap_or("");
    let bad = || format!("{uri:?} is no place to connect to");
    let (scheme, rest) = uri.split_once("://").ok_or_else(bad)?;
    let authority = rest.split('/').next().and_then(|rest| rest.rsplit('@').next()).ok_or_else(bad)?;
    let (host, port) = host_port(authority).ok_or_else(bad)?;
    let target = ctx.options().target.addr.ip();
    let ip = host.parse::<IpAddr>().unwrap_or(target);
    if ip != target && !ip.is_loopback() {
        return Err(format!("{uri:?} leads away from the target"));
    }
    let port = port.ok_or_else(bad)?;
    let addr = SocketAddr::new(ip, port);
    Ok(Place { addr, host, port, path: String::new(), secure: scheme.eq_ignore_ascii_case("msrps") })
}

/// Where the target speaks MSRP.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) tcp: Option<Place>,
    pub(crate) tls: Option<Place>,
    pub(crate) ws: Option<Place>,
}

impl Places {
    pub(crate) fn of(options: &Options) -> Result<Places, TargetError> {
        let at = |text: &Option<String>, port, secure| match text {
            Some(text) => Place::parse(text, port, secure).map(Some),
            None => Ok(None),
        };
        let ws = match &options.http {
            Some(url) => Some(Place::web(url)?),
            None => None,
        };
        Ok(Places { tcp: at(&options.msrp, 2855, false)?, tls: at(&options.msrp_tls, 2856, true)?, ws })
    }

    pub(crate) fn get(&self, via: Via) -> Option<&Place> {
        match via {
            Via::Tcp => self.tcp.as_ref(),
            Via::Tls => self.tls.as_ref(),
            Via::Ws => self.ws.as_ref(),
        }
    }
}
