//! Settings about addresses: networks, listeners, domains, hosts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::schema::choice;
use super::setting::{Choice, Setting, quoted, words};

/// A network, `10.1.0.0/16`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// 127.0.0.0/8 and ::1.
    pub const LOOPBACK: [Network; 2] = [
        Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
        Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    ];

    /// Address and length of the prefix.
    pub fn parts(&self) -> (IpAddr, u8) {
        (self.address, self.prefix)
    }

    /// Whether `address` is in the network; an IPv4 address written as IPv6 (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same_prefix(own.to_bits().into(), other.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same_prefix(own.to_bits(), other.to_bits(), 128, self.prefix),
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, width: u8, prefix: u8) -> bool {
    let drop = width - prefix;
    prefix == 0 || a >> drop == b >> drop
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == whole { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.prefix) }
    }
}

impl Setting for Network {
    fn expected() -> String {
        r#"a network such as "10.1.0.0/16" or an address such as "::1""#.into()
    }

    fn from_text(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(whole), |prefix| prefix.parse().ok())?;
        (prefix <= whole).then_some(Network { address, prefix })
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for IpAddr {
    fn expected() -> String {
        r#"an address such as "203.0.113.7""#.into()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|address: &IpAddr| !address.is_unspecified() && !address.is_multicast())
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Whether one of `networks` has `address`.
pub fn any_contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

choice! {
    /// What SIP listeners speak.
    pub enum SipScheme { Udp = "udp", Tcp = "tcp", Tls = "tls" }
}

impl From<SipScheme> for chappe_sip::Transport {
    fn from(scheme: SipScheme) -> Self {
        match scheme {
            SipScheme::Udp => Self::Udp,
            SipScheme::Tcp => Self::Tcp,
            SipScheme::Tls => Self::Tls,
        }
    }
}

choice! {
    /// What HTTP listeners speak.
    pub enum HttpScheme { Http = "http", Https = "https" }
}

choice! {
    /// What MSRP listeners speak.
    pub enum MsrpScheme { Tcp = "tcp", Tls = "tls" }
}

choice! {
    /// What the media listener speaks.
    pub enum MediaScheme { Udp = "udp" }
}

choice! {
    /// What listeners of the relay speak.
    pub enum TurnScheme { Udp = "udp", Tcp = "tcp" }
}

choice! {
    /// What the management listener speaks.
    pub enum ManagementScheme { Http = "http" }
}

/// Where to listen: `udp://0.0.0.0:5060`. Port 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listen<S> {
    pub scheme: S,
    pub address: SocketAddr,
}

impl<S: Choice> Listen<S> {
    /// On every IPv4 address.
    pub const fn any(scheme: S, port: u16) -> Self {
        Listen { scheme, address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port) }
    }

    /// On 127.0.0.1.
    pub const fn local(scheme: S, port: u16) -> Self {
        Listen { scheme, address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port) }
    }
}

impl<S: Choice> fmt::Display for Listen<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.word(), self.address)
    }
}

impl<S: Choice> Setting for Listen<S> {
    fn expected() -> String {
        let schemes: Vec<_> = S::ALL.iter().map(|scheme| format!("{}://ADDRESS:PORT", scheme.word())).collect();
        let (last, head) = schemes.split_last().expect("a listener has a scheme");
        if head.is_empty() { last.clone() } else { format!("{} or {last}", head.join(", ")) }
    }

    fn from_text(text: &str) -> Option<Self> {
        let (scheme, address) = text.split_once("://")?;
        Some(Listen { scheme: S::parse(scheme)?, address: address.trim_end_matches('/').parse().ok()? })
    }

    fn complaint(value: &toml::de::DeValue<'_>) -> Option<String> {
        let text = value.as_str()?;
        let Some((scheme, address)) = text.split_once("://") else {
            return Some(format!("has no scheme: {}", words(S::ALL)));
        };
        if S::parse(scheme).is_none() {
            return Some(format!("has the scheme \"{scheme}\": allowed is {}", words(S::ALL)));
        }
        if address.parse::<IpAddr>().is_ok() {
            return Some("has no port".into());
        }
        None
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A domain that is served, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain(String);

impl Domain {
    /// "localhost".
    pub fn localhost() -> Self {
        Domain("localhost".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Setting for Domain {
    fn expected() -> String {
        r#"a domain such as "example.com""#.into()
    }

    fn from_text(text: &str) -> Option<Self> {
        is_host(text).then(|| Domain(text.to_ascii_lowercase()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

/// A host name or address that others reach us by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// As it stands in a URI: an IPv6 address in brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Host {
    fn expected() -> String {
        r#"a host name or address such as "sip.example.com", "192.0.2.1" or "[2001:db8::1]""#.into()
    }

    fn from_text(text: &str) -> Option<Self> {
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>() {
            return Some(Host(format!("[{address}]")));
        }
        is_host(text).then(|| Host(text.to_ascii_lowercase()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

/// Labels of letters, digits, `-` and `_`, at most 253 bytes; an IPv4 address passes too.
fn is_host(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, holds) in [
            ("127.0.0.0/8", "127.1.2.3", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.0/8", "::ffff:10.9.9.9", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "2001:db9::1", true),
        ] {
            let network = Network::from_text(network).expect(network);
            assert_eq!(network.contains(address.parse().unwrap()), holds, "{network} {address}");
        }
        for wrong in ["10.0.0.0/33", "::1/129", "localhost", "10.0.0/8", ""] {
            assert_eq!(Network::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hosts_and_domains() {
        for (text, host) in [
            ("Sip.Example.com", Some("sip.example.com")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("[2001:db8::1]")),
            ("[::1]", Some("[::1]")),
            ("a..b", None),
            ("-a.b", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(Host::from_text(text).as_ref().map(Host::as_str), host, "{text}");
        }
    }
}
