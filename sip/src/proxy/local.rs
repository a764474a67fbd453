//! Which hosts, ports and domains are this server.

use std::net::IpAddr;

use ahash::AHashSet;

use crate::transport::Transport;
use crate::uri::{Uri, host_ip};

/// One listening socket, under the index that [`crate::Flow::listener`] has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub transport: Transport,
    pub port: u16,
    /// host:port as it stands in Via and Record-Route: the advertised address.
    pub sent_by: Box<str>,
}

/// Answers whether an address means this server; built once from the configuration.
#[derive(Debug, Clone, Default)]
pub struct Local {
    listeners: Vec<Listener>,
    domains: AHashSet<Box<str>>,
    names: AHashSet<Box<str>>,
    addresses: AHashSet<IpAddr>,
    ports: Vec<u16>,
}

impl Local {
    pub fn new() -> Local {
        Local::default()
    }

    /// Adds a listener; the order gives its index. `host` is what peers use to reach it (a name or an address, IPv6
    /// with or without brackets); a listener on all interfaces adds the others with [`Local::add_host`].
    pub fn add_listener(&mut self, transport: Transport, host: &str, port: u16) -> &mut Self {
        self.add_host(host);
        if !self.ports.contains(&port) {
            self.ports.push(port);
        }
        let brackets = host.contains(':') && !host.starts_with('[');
        let sent_by = if brackets { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        self.listeners.push(Listener { transport, port, sent_by: sent_by.into_boxed_str() });
        self
    }

    /// Adds a name or address of this server: of an interface, behind a NAT, of a load balancer.
    pub fn add_host(&mut self, host: &str) -> &mut Self {
        match ip_of(host) {
            Some(ip) => self.addresses.insert(ip),
            None => self.names.insert(canonical(host).into_boxed_str()),
        };
        self
    }

    /// Adds a port that peers see for one of the listeners where it is another than the listener's own.
    pub fn add_port(&mut self, port: u16) -> &mut Self {
        if !self.ports.contains(&port) {
            self.ports.push(port);
        }
        self
    }

    /// Adds a domain whose users are ours.
    pub fn add_domain(&mut self, domain: &str) -> &mut Self {
        self.domains.insert(canonical(domain).into_boxed_str());
        self
    }

    pub fn listener(&self, index: u16) -> Option<&Listener> {
        self.listeners.get(usize::from(index))
    }

    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Whether the host is a domain that we answer for.
    pub fn is_domain(&self, host: &str) -> bool {
        contains(&self.domains, host)
    }

    /// Whether host and port are this server. Without a port, a domain or the default ports count (RFC 3263 would
    /// lead here); a domain with a foreign port is another server on the same name.
    pub fn is_us(&self, host: &str, port: Option<u16>) -> bool {
        match port {
            Some(port) if !self.ports.contains(&port) => {
                matches!(port, 5060 | 5061) && host_ip(host).is_none() && self.is_domain(host)
            }
            Some(_) => self.is_host(host) || self.is_domain(host),
            None => {
                self.is_domain(host)
                    || (self.is_host(host) && self.ports.iter().any(|p| matches!(p, 5060 | 5061 | 80 | 443)))
            }
        }
    }

    /// [`Local::is_us`] for a sip or sips URI.
    pub fn is_our_uri(&self, uri: &Uri<'_>) -> bool {
        uri.is_sip() && self.is_us(uri.host, uri.port)
    }

    /// Whether the host alone, whatever the port, is a name or address of this server.
    pub fn is_host(&self, host: &str) -> bool {
        match ip_of(host) {
            Some(ip) => self.addresses.contains(&ip),
            None => contains(&self.names, host),
        }
    }
}

fn ip_of(host: &str) -> Option<IpAddr> {
    // A name that begins like an address is rare, so most names skip the parser.
    if !host.starts_with(|c: char| c.is_ascii_digit() || c == '[' || c == ':') && !host.contains(':') {
        return None;
    }
    host_ip(host).or_else(|| host.parse().ok()).map(|ip| ip.to_canonical())
}

fn canonical(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Look-up in any case without an allocation; a host longer than a DNS name is nobody's.
fn contains(set: &AHashSet<Box<str>>, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut buffer = [0u8; 255];
    let Some(lower) = buffer.get_mut(..host.len()) else { return false };
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).is_ok_and(|lower| set.contains(lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_domains() {
        let mut local = Local::new();
        local.add_listener(Transport::Udp, "192.0.2.1", 5060).add_listener(Transport::Tcp, "2001:db8::1", 5070);
        local.add_domain("Example.com").add_host("proxy.example.net");
        for (uri, ours) in [
            ("sip:192.0.2.1", true),
            ("sip:192.0.2.1:5060", true),
            ("sip:192.0.2.1:5070", true),
            ("sip:192.0.2.1:5080", false),
            ("sip:[2001:DB8:0::1]:5070", true),
            ("sip:a@EXAMPLE.com.", true),
            ("sip:a@example.com:5061", true),
            ("sip:a@example.com:43210", false),
            ("sip:PROXY.example.net:5060", true),
            ("sip:other.example.net", false),
            ("tel:+1", false),
        ] {
            assert_eq!(local.is_our_uri(&Uri::parse(uri.as_bytes()).unwrap()), ours, "{uri}");
        }
        assert_eq!(&*local.listener(1).unwrap().sent_by, "[2001:db8::1]:5070");
        assert!(!local.is_domain(&"x".repeat(300)));
    }
}
