//! MSRP URIs (RFC 4975 §6): who a frame is for and by which connection.

use std::fmt;
use std::net::IpAddr;

use crate::limits::Leniency;

/// Why text is not an MSRP URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("URI: expected {0}")]
pub struct UriError(pub &'static str);

/// A URI read in place: `msrp[s]://[user@]host[:port][/session-id];transport[;parameters]`.
///
/// The session-id is what gives access to a session: `Debug` shows only its beginning.
#[derive(Clone, Copy)]
pub struct Uri<'a> {
    text: &'a str,
    /// Over TLS (`msrps`).
    pub secure: bool,
    pub userinfo: Option<&'a str>,
    /// Name or address as written, IPv6 in its brackets.
    pub host: &'a str,
    pub port: Option<u16>,
    pub session_id: Option<&'a str>,
    /// `tcp`, `ws` or another, as written.
    pub transport: &'a str,
    /// What follows the transport, without its first semicolon.
    pub parameters: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads `text`, which has to be the URI and nothing else.
    pub fn parse(text: &'a [u8]) -> Result<Uri<'a>, UriError> {
        Uri::parse_with(text, &Leniency::default())
    }

    /// Reads `text`, with the deviations that `leniency` allows.
    pub fn parse_with(text: &'a [u8], leniency: &Leniency) -> Result<Uri<'a>, UriError> {
        let text = std::str::from_utf8(text).map_err(|_| UriError("visible ASCII"))?;
        let secure = starts_with(text, "msrps://");
        if !secure && !starts_with(text, "msrp://") {
            return Err(UriError("the scheme msrp or msrps"));
        }
        let rest = &text[if secure { 8 } else { 7 }..];
        let (hier, tail) = match cut(rest, b';') {
            (_, None) if !leniency.uri_without_transport => return Err(UriError("a transport")),
            parts => parts,
        };
        let (authority, session_id) = cut(hier, b'/');
        if session_id.is_some_and(|id| id.is_empty() || !all(id, SESSION)) {
            return Err(UriError("a session-id"));
        }
        let (userinfo, hostport) = match memchr::memrchr(b'@', authority.as_bytes()) {
            Some(at) => (Some(&authority[..at]), &authority[at + 1..]),
            None => (None, authority),
        };
        if userinfo.is_some_and(|user| !all(user, USER)) {
            return Err(UriError("userinfo"));
        }
        let (host, port) = host_and_port(hostport)?;
        let (transport, parameters) = match tail {
            Some(tail) => cut(tail, b';'),
            None => ("tcp", None),
        };
        if transport.is_empty() || !all(transport, ALPHANUMERIC) {
            return Err(UriError("a transport"));
        }
        if parameters.is_some_and(|text| !text.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(UriError("parameters"));
        }
        Ok(Uri { text, secure, userinfo, host, port, session_id, transport, parameters })
    }

    /// The URI as it came.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The host as an address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        let host = self.host;
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6.parse().ok().map(IpAddr::V6),
            None => host.parse().ok().map(IpAddr::V4),
        }
    }

    /// Same URI by RFC 4975 §6.1: userinfo and further parameters do not count, a port or session-id that only one
    /// has makes a difference.
    pub fn matches(&self, other: &Uri<'_>) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && self.session_id == other.session_id
            && self.transport.eq_ignore_ascii_case(other.transport)
            && same_host(self.host, other.host)
    }

    /// Same session-id, and both have one: the practice where a middlebox changes hosts (RFC 6714), by an operator's
    /// choice only.
    pub fn matches_session(&self, other: &Uri<'_>) -> bool {
        self.session_id.is_some() && self.session_id == other.session_id
    }

    /// A copy that owns its text.
    pub fn to_owned(&self) -> OwnedUri {
        OwnedUri(self.text.into())
    }
}

impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "msrps" } else { "msrp" };
        write!(f, "{scheme}://{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if let Some(id) = self.session_id {
            write!(f, "/{}…", &id[..id.len().min(4).min(id.len() / 2)])?;
        }
        write!(f, ";{}", self.transport)
    }
}

/// A URI that owns its text. `Debug` shows only the beginning of the session-id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OwnedUri(Box<str>);

impl OwnedUri {
    /// Takes `text` after reading it.
    pub fn parse(text: &str) -> Result<OwnedUri, UriError> {
        Uri::parse(text.as_bytes()).map(|uri| uri.to_owned())
    }

    /// A URI of one's own; `host` with brackets if it is IPv6.
    pub fn new(
        secure: bool,
        host: &str,
        port: Option<u16>,
        session_id: Option<&str>,
        transport: &str,
    ) -> Result<OwnedUri, UriError> {
        let scheme = if secure { "msrps" } else { "msrp" };
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let session = session_id.map_or(String::new(), |id| format!("/{id}"));
        let text = format!("{scheme}://{host}{port}{session};{transport}");
        let uri = Uri::parse(text.as_bytes())?;
        // A host or id with a separator in it would have made another URI of it.
        if uri.host != host || uri.session_id != session_id || uri.transport != transport {
            return Err(UriError("a host, session-id and transport"));
        }
        Ok(OwnedUri(text.into()))
    }

    /// Its parts.
    pub fn uri(&self) -> Uri<'_> {
        let lenient = Leniency { uri_without_transport: true, ..Leniency::default() };
        // Only what was read before gets in.
        Uri::parse_with(self.0.as_bytes(), &lenient).unwrap_or(Uri {
            text: &self.0,
            secure: false,
            userinfo: None,
            host: "",
            port: None,
            session_id: None,
            transport: "",
            parameters: None,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OwnedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri().fmt(f)
    }
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), UriError> {
    let after = match text.strip_prefix('[') {
        Some(v6) => {
            let close = v6.find(']').ok_or(UriError("a closing bracket"))?;
            v6[..close].parse::<std::net::Ipv6Addr>().map_err(|_| UriError("an IPv6 address"))?;
            close + 2
        }
        None => memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len()),
    };
    let host = &text[..after];
    if host.is_empty() || !host.starts_with('[') && !all(host, HOST) {
        return Err(UriError("a host"));
    }
    let port = match &text[after..] {
        "" => None,
        rest => {
            let digits = rest.strip_prefix(':').unwrap_or_default();
            if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(UriError("a port"));
            }
            Some(digits.parse().map_err(|_| UriError("a port"))?)
        }
    };
    Ok((host, port))
}

const ALPHANUMERIC: u8 = 1;
const SESSION: u8 = 2;
/// unreserved, percent-encoded and sub-delims of RFC 3986 but for `;`, which ends the authority here.
const HOST: u8 = 4;
const USER: u8 = 8;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => ALPHANUMERIC | SESSION | HOST | USER,
            b'-' | b'.' | b'_' | b'~' | b'+' | b'=' => SESSION | HOST | USER,
            b'/' => SESSION,
            b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b',' => HOST | USER,
            b':' => USER,
            _ => 0,
        };
        byte += 1;
    }
    table
};

fn all(text: &str, class: u8) -> bool {
    text.bytes().all(|byte| CLASSES[byte as usize] & class != 0)
}

/// At the first `byte`, which is left out.
fn cut(text: &str, byte: u8) -> (&str, Option<&str>) {
    match memchr::memchr(byte, text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn starts_with(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()))
}

fn same_host(a: &str, b: &str) -> bool {
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    if a.starts_with('[') && b.starts_with('[') {
        let address = |host: &str| host.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().ok();
        return address(a).is_some() && address(a) == address(b);
    }
    (a.contains('%') || b.contains('%')) && normal(a).eq(normal(b))
}

/// Lower case, with percent-encoded unreserved characters decoded and other escapes in upper case.
fn normal(host: &str) -> impl Iterator<Item = u8> {
    let bytes = host.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        at += 1;
        if byte != b'%' {
            return Some(byte.to_ascii_lowercase());
        }
        let hex = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        if let (Some(high), Some(low)) = (hex(at), hex(at + 1)) {
            let decoded = (high * 16 + low) as u8;
            if decoded.is_ascii_alphanumeric() || b"-._~".contains(&decoded) {
                at += 2;
                return Some(decoded.to_ascii_lowercase());
            }
        }
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let uri = Uri::parse(b"msrps://alice@[2001:db8::1]:2855/a/b+c=;tcp;x=y;z").unwrap();
        assert!(uri.secure);
        assert_eq!((uri.userinfo, uri.host, uri.port), (Some("alice"), "[2001:db8::1]", Some(2855)));
        assert_eq!((uri.session_id, uri.transport, uri.parameters), (Some("a/b+c="), "tcp", Some("x=y;z")));
        assert_eq!(uri.ip(), Some("2001:db8::1".parse().unwrap()));
        let relay = Uri::parse(b"MSRP://relay.example.com;tcp").unwrap();
        assert_eq!((relay.secure, relay.port, relay.session_id, relay.ip()), (false, None, None, None));
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "msrp:host/x;tcp",
            "sip://host:1/x;tcp",
            "msrp://host:1/x",
            "msrp://host:1/x;",
            "msrp://host:1/x;t p",
            "msrp://host:1/x;t-p",
            "msrp://host:1/;tcp",
            "msrp://host:1/a%20;tcp",
            "msrp://host:1/a?b;tcp",
            "msrp://:1/x;tcp",
            "msrp://host:/x;tcp",
            "msrp://host:65536/x;tcp",
            "msrp://host:+1/x;tcp",
            "msrp://[::1/x;tcp",
            "msrp://[1.2.3.4]:1/x;tcp",
            "msrp://[::1]1/x;tcp",
            "msrp://ho<st:1/x;tcp",
            "msrp://höst:1/x;tcp",
        ] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn comparison() {
        let base = "msrp://Relay.example.com:2855/AbC;tcp";
        for (other, same) in [
            ("msrp://relay.EXAMPLE.com:2855/AbC;TCP", true),
            ("MSRP://user@relay.example.com:2855/AbC;tcp;p=1", true),
            ("msrp://relay.ex%61mple.com:2855/AbC;tcp", true),
            ("msrp://relay.ex%41mple.com:2855/AbC;tcp", true),
            ("msrp://relay.ex%2fmple.com:2855/AbC;tcp", false),
            ("msrp://relay.example.com:2855/abc;tcp", false),
            ("msrp://relay.example.com/AbC;tcp", false),
            ("msrp://relay.example.com:2855;tcp", false),
            ("msrps://relay.example.com:2855/AbC;tcp", false),
            ("msrp://relay.example.com:2855/AbC;ws", false),
        ] {
            let (a, b) = (Uri::parse(base.as_bytes()).unwrap(), Uri::parse(other.as_bytes()).unwrap());
            assert_eq!(a.matches(&b), same, "{other}");
            assert_eq!(b.matches(&a), same, "{other}");
        }
        let v6 = ["msrp://[2001:db8::1]:1/x;tcp", "msrp://[2001:DB8:0::0001]:1/x;tcp"];
        let [a, b] = v6.map(|text| Uri::parse(text.as_bytes()).unwrap());
        assert!(a.matches(&b));
        let moved = Uri::parse(b"msrp://sbc.example.net:9/x;tcp").unwrap();
        assert!(!a.matches(&moved) && a.matches_session(&moved));
    }

    #[test]
    fn own() {
        let uri = OwnedUri::new(true, "relay.example.com", Some(2855), Some("s3cretvalue"), "tcp").unwrap();
        assert_eq!(uri.as_str(), "msrps://relay.example.com:2855/s3cretvalue;tcp");
        assert_eq!(format!("{uri:?}"), "msrps://relay.example.com:2855/s3cr…;tcp");
        assert!(OwnedUri::new(false, "a/b", None, None, "tcp").is_err());
        assert!(OwnedUri::new(false, "a:1", None, None, "tcp").is_err());
    }
}
