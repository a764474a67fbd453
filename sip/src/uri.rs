//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966, RFC 5954).

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::ParseError;
use crate::header::cut_host;
use crate::text::{self, decimal, find_near, is_token_str};
use crate::transport::Transport;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    Urn,
    /// Any other; such a URI has no user, host or parameters here, only its text.
    Other,
}

/// A URI as parts of the text it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The whole URI.
    pub text: &'a str,
    pub scheme: Scheme,
    /// The user part of a sip URI with its escapes, the number of a tel URI, or empty.
    pub user: &'a str,
    /// `None` where there is no `:`.
    pub password: Option<&'a str>,
    /// The host; an IPv6 address keeps its brackets. Empty for other schemes than sip and sips.
    pub host: &'a str,
    pub port: Option<u16>,
    /// URI parameters with their leading `;`.
    pub params: &'a str,
    /// URI headers without the `?`.
    pub headers: &'a str,
}

const URI_CHARACTERS: &str = "ASCII characters without blanks, quotes and angle brackets";

impl<'a> Uri<'a> {
    pub fn parse(uri: &'a [u8]) -> Result<Uri<'a>, ParseError> {
        let wrong = ParseError::Uri;
        let text = std::str::from_utf8(uri).map_err(|_| wrong(URI_CHARACTERS))?;
        if let Some(rest) = text.strip_prefix("sip:") {
            return Uri::with_host(text, Scheme::Sip, rest);
        }
        let colon = find_near(uri, [b':']).ok_or(wrong("a scheme"))?;
        let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
        let is = |name: &str| scheme.eq_ignore_ascii_case(name);
        let scheme = match () {
            () if is("sip") => Scheme::Sip,
            () if is("sips") => Scheme::Sips,
            () if is("tel") => Scheme::Tel,
            () if is("urn") => Scheme::Urn,
            () if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(is_scheme) => {
                Scheme::Other
            }
            () => return Err(wrong("a scheme")),
        };
        if matches!(scheme, Scheme::Sip | Scheme::Sips) {
            return Uri::with_host(text, scheme, rest);
        }
        if uri.iter().any(|b| text::is_not_uri(*b)) {
            return Err(wrong(URI_CHARACTERS));
        }
        let bare = Uri { text, scheme, user: "", password: None, host: "", port: None, params: "", headers: "" };
        if scheme != Scheme::Tel {
            return Ok(bare);
        }
        let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let digits = number.strip_prefix('+').unwrap_or(number);
        let fine = digits.bytes().all(|b| b.is_ascii_hexdigit() || b"-.()*#".contains(&b));
        if digits.is_empty() || !fine {
            return Err(wrong("a telephone number"));
        }
        Ok(Uri { user: number, params, ..bare })
    }

    /// Reads what follows `sip:`. Each byte is looked at by the part that it belongs to.
    fn with_host(text: &'a str, scheme: Scheme, rest: &'a str) -> Result<Uri<'a>, ParseError> {
        let wrong = ParseError::Uri;
        // The user part may hold `;` and `?` (§25.1), so `@` comes first; in the other parts it is escaped.
        let (user, password, rest) = match find_near(rest.as_bytes(), [b'@']) {
            None => ("", None, rest),
            Some(at) => {
                let (info, rest) = (&rest[..at], &rest[at + 1..]);
                let (user, password) = match check_part(info.as_bytes(), b':')? {
                    Some(end) => (&info[..end], Some(&info[end + 1..])),
                    None => (info, None),
                };
                if user.is_empty() {
                    return Err(wrong("a user part"));
                }
                (user, password, rest)
            }
        };
        let (host, tail) = cut_host(rest.as_bytes()).ok_or(wrong("a host"))?;
        let (port, tail) = match tail {
            [b':', tail @ ..] => {
                let (digits, tail) = tail.split_at(tail.iter().take_while(|b| b.is_ascii_digit()).count());
                let port = decimal(digits).and_then(|port| u16::try_from(port).ok());
                (Some(port.ok_or(wrong("a port"))?), tail)
            }
            _ => (None, tail),
        };
        if !matches!(tail, [] | [b';' | b'?', ..]) {
            return Err(wrong("a host"));
        }
        let (host, end) = (&rest[..host.len()], rest.len() - tail.len());
        let (params, headers) = match check_part(tail, b'?')? {
            Some(mark) => (&rest[end..end + mark], &rest[end + mark + 1..]),
            None => (&rest[end..], ""),
        };
        Ok(Uri { text, scheme, user, password, host, port, params, headers })
    }

    /// A URI parameter: `None` where absent, empty for a flag.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        text::param(self.params.as_bytes(), name).and_then(|v| std::str::from_utf8(v).ok())
    }

    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The `transport` parameter, where it is one we know.
    pub fn transport(&self) -> Option<Transport> {
        self.param("transport").and_then(|t| Transport::parse(t.as_bytes()))
    }

    /// The transport a request for this URI uses when nothing else decides (RFC 3263 §4.1 without NAPTR): the
    /// parameter, made secure for `sips`, else UDP or TLS.
    pub fn effective_transport(&self) -> Transport {
        match (self.transport(), self.scheme) {
            (Some(Transport::Ws | Transport::Wss), Scheme::Sips) => Transport::Wss,
            (Some(Transport::Tls), _) | (_, Scheme::Sips) => Transport::Tls,
            (Some(transport), _) => transport,
            (None, _) => Transport::Udp,
        }
    }

    /// The host as an address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }

    /// The user part with its escapes undone.
    pub fn user_decoded(&self) -> Cow<'a, str> {
        unescape(self.user)
    }

    /// Equality of RFC 3261 §19.1.4 (tel: RFC 3966 §4, visual separators do not count).
    pub fn equals(&self, other: &Uri<'_>) -> bool {
        if self.scheme != other.scheme {
            return false;
        }
        if self.text == other.text {
            return true;
        }
        match self.scheme {
            Scheme::Sip | Scheme::Sips => {
                unescape(self.user) == unescape(other.user)
                    && self.password.map(unescape) == other.password.map(unescape)
                    && hosts_equal(self.host, other.host)
                    && self.port == other.port
                    && params_equal(self, other)
                    && headers_equal(self.headers, other.headers)
            }
            Scheme::Tel => number(self.user) == number(other.user) && self.params.eq_ignore_ascii_case(other.params),
            Scheme::Urn => self.text.eq_ignore_ascii_case(other.text),
            Scheme::Other => self.text == other.text,
        }
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// An address-of-record in canonical form, `user@host` with the host in lower case, no parameters, no scheme, the
/// user's escapes undone; or `+number` for a global tel URI (RFC 3261 §10.3 step 5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(Box<str>);

impl Aor {
    /// `None` for a URI without a user or number, or of another scheme.
    pub fn of(uri: &Uri<'_>) -> Option<Aor> {
        match uri.scheme {
            Scheme::Sip | Scheme::Sips if !uri.user.is_empty() => {
                let user = uri.user_decoded();
                let host = uri.host.trim_end_matches('.');
                if host.is_empty() {
                    return None;
                }
                let mut text = String::with_capacity(user.len() + 1 + host.len());
                text.push_str(&user);
                text.push('@');
                text.extend(host.chars().map(|c| c.to_ascii_lowercase()));
                Some(Aor(text.into_boxed_str()))
            }
            Scheme::Tel => Some(number(uri.user)).filter(|n| !n.is_empty()).map(|n| Aor(n.into_boxed_str())),
            _ => None,
        }
    }

    /// From text that is canonical already, as the store keeps it.
    pub fn from_canonical(text: impl Into<Box<str>>) -> Aor {
        Aor(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(user, _)| user)
    }

    /// Empty for a telephone number.
    pub fn host(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, host)| host)
    }

    /// As a URI, with the user escaped where it must be: `sip:user@host` or `tel:+number`.
    pub fn to_uri(&self) -> String {
        match self.0.rsplit_once('@') {
            Some((user, host)) => format!("sip:{}@{host}", escape_user(user)),
            None => format!("tel:{}", self.0),
        }
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address from a host part, with or without brackets.
pub fn host_ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Whether two hosts are the same: names in any case, addresses by value.
pub fn hosts_equal(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || matches!((host_ip(a), host_ip(b)), (Some(x), Some(y)) if x == y)
}

/// The digits of a telephone number without visual separators (RFC 3966 §5.1.1), letters in lower case.
pub fn number(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Undoes `%hh` escapes; those that would not make UTF-8 stay as they are.
pub fn unescape(s: &str) -> Cow<'_, str> {
    if !s.contains('%') {
        return s.into();
    }
    let bytes = s.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%').then(|| s.get(i + 1..i + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8(out).map_or(s.into(), Cow::Owned)
}

/// Escapes what a user part may not hold as it is (RFC 3261 §25.1).
pub fn escape_user(user: &str) -> Cow<'_, str> {
    escape(user, b"-_.!~*'()&=+$,;?/")
}

/// Escapes what a URI parameter may not hold as it is (RFC 3261 §25.1, paramchar).
pub fn escape_param(value: &str) -> Cow<'_, str> {
    escape(value, b"-_.!~*'()[]/:&+$")
}

fn escape<'a>(text: &'a str, also_plain: &[u8]) -> Cow<'a, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || also_plain.contains(&b);
    if text.bytes().all(plain) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for b in text.bytes() {
        if plain(b) {
            out.push(b as char);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out.into()
}

fn is_scheme(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')
}

/// Refuses what may not stand in a part of a sip URI, and finds the first `mark` (one of `: ; ?`).
fn check_part(part: &[u8], mark: u8) -> Result<Option<usize>, ParseError> {
    let mut found = None;
    for (i, b) in part.iter().enumerate() {
        if !text::is_uri_mark(*b) {
            continue;
        }
        match *b {
            b if b == mark => found = found.or(Some(i)),
            b':' | b';' | b'?' => {}
            b'%' if part.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => {}
            b'%' => return Err(ParseError::Uri("two hexadecimal digits after %")),
            b'@' => return Err(ParseError::Uri("a user part")),
            _ => return Err(ParseError::Uri(URI_CHARACTERS)),
        }
    }
    Ok(found)
}

fn params_equal(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    // One that is in both must match; these four must be in both or in neither, others need not (§19.1.4).
    let must = ["user", "ttl", "method", "maddr", "transport", "gr"];
    let covers = |x: &Uri<'_>, y: &Uri<'_>| {
        text::params(x.params.as_bytes(), b';').all(|(name, value)| {
            let name = std::str::from_utf8(name).unwrap_or_default();
            let value = unescape(std::str::from_utf8(value.unwrap_or_default()).unwrap_or_default());
            match y.param(name) {
                Some(other) => unescape(other).eq_ignore_ascii_case(&value),
                None => !must.iter().any(|m| m.eq_ignore_ascii_case(name)),
            }
        })
    };
    covers(a, b) && covers(b, a)
}

fn headers_equal(a: &str, b: &str) -> bool {
    let sorted = |s: &str| {
        let mut all: Vec<(String, String)> = text::params(s.as_bytes(), b'&')
            .map(|(n, v)| {
                let text = |b: &[u8]| unescape(std::str::from_utf8(b).unwrap_or_default()).into_owned();
                (text(n).to_ascii_lowercase(), text(v.unwrap_or_default()))
            })
            .collect();
        all.sort();
        all
    };
    a == b || sorted(a) == sorted(b)
}

/// Whether `s` may stand as a parameter value without quotes.
pub fn is_token(s: &str) -> bool {
    is_token_str(s.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(s: &str) -> Uri<'_> {
        Uri::parse(s.as_bytes()).unwrap_or_else(|e| panic!("{s}: {e}"))
    }

    #[test]
    fn parts_of_a_uri() {
        let u = uri("sip:al;x?y:pw@[2001:DB8::1]:5070;transport=TCP;lr?Subject=a%20b&x=y");
        assert_eq!((u.user, u.password, u.host, u.port), ("al;x?y", Some("pw"), "[2001:DB8::1]", Some(5070)));
        assert_eq!((u.transport(), u.param("LR"), u.headers), (Some(Transport::Tcp), Some(""), "Subject=a%20b&x=y"));
        assert_eq!(uri("tel:+1-555-0100;ext=2").user, "+1-555-0100");
        assert_eq!(uri("urn:service:sos").scheme, Scheme::Urn);
        assert_eq!(uri("sip:example.com").user, "");
        assert_eq!(uri("SIPS:a@h").effective_transport(), Transport::Tls);
    }

    #[test]
    fn bad_uris() {
        for text in [
            "",
            "sip",
            "sip:",
            "sip:a@",
            "sip:@h",
            "sip:a b@h",
            "sip:a@h:x",
            "tel:",
            "tel:abcz",
            "1p:x",
            "sip:%4@h",
            "sip:a@b@c",
        ] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn equality_of_uris() {
        // The pairs of RFC 3261 §19.1.4.
        for (a, b, same) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp", true),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
                true,
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
                true,
            ),
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;newparam=6", false),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false),
            ("sip:bob@[2001:db8:0::1]", "sip:bob@[2001:DB8::1]", true),
            ("tel:+1-555-0100", "tel:+15550100", true),
            ("sip:a@h", "sips:a@h", false),
        ] {
            assert_eq!(uri(a).equals(&uri(b)), same, "{a} {b}");
            assert_eq!(uri(b).equals(&uri(a)), same, "{b} {a}");
        }
    }

    #[test]
    fn addresses_of_record() {
        for (text, aor, back) in [
            ("sip:J%20Doe@Example.COM:5060;x=y", "J Doe@example.com", "sip:J%20Doe@example.com"),
            ("sips:a@h", "a@h", "sip:a@h"),
            ("tel:+1-555-0100;phone-context=x", "+15550100", "tel:+15550100"),
        ] {
            let got = Aor::of(&uri(text)).unwrap();
            assert_eq!((got.as_str(), got.to_uri().as_str()), (aor, back));
        }
        assert_eq!(Aor::of(&uri("sip:h")), None);
    }
}
