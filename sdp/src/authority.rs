//! Where a `msrp:` URI or a `c=` line points to, and whether two of them are one place (RFC 6714 §4.4).
//!
//! URIs stay text elsewhere: this reads no more of them than who is dialled.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::text;

/// The port of MSRP where none is given (RFC 4975 §15).
pub const MSRP_PORT: u16 = 2855;

/// Says in a path or an `m=` line that nobody listens (RFC 4145 §4.1).
pub const DISCARD_PORT: u16 = 9;

/// An address in one form, or a name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Host {
    /// Reads an address, with brackets or without, or a name; percent-encoded letters are decoded (RFC 4975 §6.1).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().ok().map(|ip| Self::Ip(IpAddr::V6(ip).to_canonical()));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self::Ip(ip.to_canonical()));
        }
        let name = decode(text)?.to_ascii_lowercase();
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        let name = name.strip_suffix('.').unwrap_or(&name);
        (letters && !name.is_empty() && name.len() <= 255).then(|| Self::Name(name.to_owned()))
    }
}

impl fmt::Display for Host {
    /// As in a URI: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The part of a `msrp:` or `msrps:` URI that says where it points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// `msrps:`.
    pub secure: bool,
    pub host: Host,
    pub port: Option<u16>,
    /// In lower case: `tcp`, `ws`, `dc` …
    pub transport: String,
}

impl Authority {
    /// Reads a URI (RFC 4975 §9).
    #[must_use]
    pub fn of(uri: &str) -> Option<Self> {
        let place = Place::find(uri)?;
        let port = &uri[place.port.clone()];
        Some(Self {
            secure: place.secure,
            host: Host::parse(&uri[place.host])?,
            port: if port.is_empty() { None } else { Some(text::number(port)?) },
            transport: uri[place.transport].to_ascii_lowercase(),
        })
    }

    /// Whether somebody could be listening there.
    #[must_use]
    pub fn is_dialable(&self) -> bool {
        self.transport == "tcp" && !matches!(self.port, Some(0 | DISCARD_PORT))
    }
}

/// `uri` with another port, as far as it is a `msrp:` URI.
pub(crate) fn with_port(uri: &str, port: u16) -> String {
    match Place::find(uri) {
        Some(Place { host, port: old, .. }) => format!("{}:{port}{}", &uri[..host.end], &uri[old.end..]),
        None => uri.to_owned(),
    }
}

/// Where the parts of a URI stand.
struct Place {
    secure: bool,
    /// With brackets.
    host: std::ops::Range<usize>,
    /// Empty where there is none; then it follows the host at once.
    port: std::ops::Range<usize>,
    transport: std::ops::Range<usize>,
}

impl Place {
    fn find(uri: &str) -> Option<Self> {
        if !uri.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>".contains(&byte)) {
            return None;
        }
        let colon = uri.find("://")?;
        let secure = match &uri[..colon] {
            scheme if scheme.eq_ignore_ascii_case("msrp") => false,
            scheme if scheme.eq_ignore_ascii_case("msrps") => true,
            _ => return None,
        };
        let start = colon + 3;
        let rest = &uri[start..];
        let semicolon = start + rest.find(';')?;
        let end = start + rest.find(['/', ';'])?;
        let transport = semicolon + 1..uri[semicolon + 1..].find(';').map_or(uri.len(), |len| semicolon + 1 + len);
        if !text::is_token(&uri[transport.clone()]) {
            return None;
        }
        let host = uri[start..end].rfind('@').map_or(start, |at| start + at + 1);
        let host_end = match uri[host..end].strip_prefix('[') {
            Some(_) => host + uri[host..end].find(']')? + 1,
            None => host + uri[host..end].find(':').unwrap_or(end - host),
        };
        let port = match &uri[host_end..end] {
            "" => end..end,
            text if text.starts_with(':') && text.len() > 1 => host_end + 1..end,
            _ => return None,
        };
        Some(Self { secure, host: host..host_end, port, transport })
    }
}

/// Percent-encoded characters that need not be encoded; what else is encoded has no place in a host.
fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok())?;
        decoded.push(byte.is_ascii().then_some(char::from(byte))?);
        decoded += &part[2..];
    }
    Some(decoded)
}

/// What the caller found out about names, for this crate asks nobody. A name that is not in it equals itself only.
#[derive(Debug, Clone, Default)]
pub struct Names(Vec<(Host, IpAddr)>);

impl Names {
    /// Adds an address of `name`; each may have several.
    pub fn add(&mut self, name: &str, address: IpAddr) {
        if let Some(host) = Host::parse(name) {
            self.0.push((host, address.to_canonical()));
        }
    }

    fn addresses<'n>(&'n self, host: &'n Host) -> impl Iterator<Item = IpAddr> + 'n {
        let own = match host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        };
        own.into_iter().chain(self.0.iter().filter(move |(name, _)| name == host).map(|(_, ip)| *ip))
    }

    /// Whether both are one host: the same name, or one address in common.
    #[must_use]
    pub fn same_host(&self, a: &Host, b: &Host) -> bool {
        a == b || self.addresses(a).any(|address| self.addresses(b).any(|other| other == address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        for (uri, expected) in [
            ("msrp://198.51.100.7:2855/s11;tcp", Some("- 198.51.100.7 2855 tcp")),
            ("MSRPS://Alice@Relay.Example.COM:443/a/b+c=;TCP;x=y", Some("s relay.example.com 443 tcp")),
            ("msrp://a:b@h:1;tcp", Some("- h 1 tcp")),
            ("msrp://[2001:DB8:0:0::1]:2855/x;tcp", Some("- [2001:db8::1] 2855 tcp")),
            ("msrp://[::ffff:192.0.2.1]:9/x;tcp", Some("- 192.0.2.1 9 tcp")),
            ("msrps://df7jal23ls0d.invalid:2855/98cjs;ws", Some("s df7jal23ls0d.invalid 2855 ws")),
            ("msrp://%61lice.example.com:1/x;tcp", Some("- alice.example.com 1 tcp")),
            ("msrp://h/x;tcp", Some("- h 0 tcp")),
            ("msrp://h:1/x", None),
            ("msrp://h:1/x;", None),
            ("msrp://h:/x;tcp", None),
            ("msrp://h:65536/x;tcp", None),
            ("msrp://h:+1/x;tcp", None),
            ("msrp://:1/x;tcp", None),
            ("msrp://[::1:1/x;tcp", None),
            ("msrp://[::1]1/x;tcp", None),
            ("msrp://h%0a:1/x;tcp", None),
            ("msrp://h%é:1/x;tcp", None),
            ("msrp://h :1/x;tcp", None),
            ("sip://h:1/x;tcp", None),
            ("msrp:h:1/x;tcp", None),
            ("", None),
        ] {
            let read = Authority::of(uri).map(|uri| {
                let scheme = if uri.secure { 's' } else { '-' };
                format!("{scheme} {} {} {}", uri.host, uri.port.unwrap_or(0), uri.transport)
            });
            assert_eq!(read.as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn another_port() {
        for (uri, expected) in [
            ("msrp://10.1.2.3:20000/x;tcp", "msrp://10.1.2.3:9/x;tcp"),
            ("msrp://a@[::1]:1/x;tcp;p", "msrp://a@[::1]:9/x;tcp;p"),
            ("msrp://host/x;tcp", "msrp://host:9/x;tcp"),
            ("garbage", "garbage"),
        ] {
            assert_eq!(with_port(uri, 9), expected, "{uri}");
        }
    }

    #[test]
    fn hosts_match() {
        let mut names = Names::default();
        names.add("relay.example.com", "192.0.2.1".parse().unwrap());
        names.add("relay.example.com", "2001:db8::1".parse().unwrap());
        names.add("other.example.com", "192.0.2.1".parse().unwrap());
        for (a, b, expected) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:DB8::0:1", "[2001:db8:0:0:0:0:0:1]", true),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("RELAY.example.com.", "relay.example.com", true),
            ("relay.example.com", "192.0.2.1", true),
            ("2001:db8::1", "relay.example.com", true),
            ("relay.example.com", "192.0.2.2", false),
            ("relay.example.com", "other.example.com", true),
            ("unknown.example.com", "192.0.2.1", false),
            ("unknown.example.com", "unknown.example.com", true),
        ] {
            let (a, b) = (Host::parse(a).unwrap(), Host::parse(b).unwrap());
            assert_eq!((names.same_host(&a, &b), names.same_host(&b, &a)), (expected, expected), "{a} {b}");
        }
    }
}
