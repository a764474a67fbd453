//! `Via` (RFC 3261 §20.42, RFC 3581, RFC 7118 §5.2).

use std::net::Ipv6Addr;

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{self, decimal, is_host, is_lws, is_token_str, trim};
use crate::transport::Transport;

/// One Via value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport token as written.
    pub transport_text: &'a [u8],
    /// host[:port] as written.
    pub sent_by: &'a [u8],
    /// The host without its port; an IPv6 address keeps its brackets.
    pub host: &'a [u8],
    pub port: Option<u16>,
    /// Parameters with their leading `;`.
    pub params: &'a [u8],
    pub(crate) branch: &'a [u8],
}

impl<'a> Via<'a> {
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, ParseError> {
        let wrong = |expected| ParseError::Malformed { header: HeaderName::Via, expected };
        // White space may stand around each slash (RFC 3261 §25.1, SLASH).
        let rest = match value.get(..8) {
            Some(b"SIP/2.0/") => &value[8..],
            _ => {
                let mut parts = value.splitn(3, |b| *b == b'/');
                let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                if !trim(name).eq_ignore_ascii_case(b"SIP") || trim(version) != b"2.0" {
                    return Err(wrong("SIP/2.0"));
                }
                parts.next().ok_or(wrong("SIP/2.0/transport"))?
            }
        };
        let rest = trim(rest);
        let (head, params) = rest.split_at(text::find_near(rest, [b';']).unwrap_or(rest.len()));
        let space = head.iter().position(|b| is_lws(*b)).ok_or(wrong("a transport and a host"))?;
        let transport_text = &head[..space];
        let sent_by = trim(&head[space..]);
        if !is_token_str(transport_text) || sent_by.is_empty() {
            return Err(wrong("a transport and a host"));
        }
        let (host, port) = split_host_port(sent_by).ok_or(wrong("host or host:port"))?;
        if !text::can_be_extended(params) {
            return Err(wrong("parameters without angle brackets or open quotes"));
        }
        let mut branch: &[u8] = b"";
        let mut left = params.get(1..);
        while let Some(s) = left {
            let (name, value, tail) = text::cut_param(s, b';');
            if name.is_empty() {
                return Err(wrong("a parameter"));
            }
            if name.eq_ignore_ascii_case(b"branch") && branch.is_empty() {
                branch = value.unwrap_or_default();
            }
            left = tail;
        }
        Ok(Via { transport_text, sent_by, host, port, params, branch })
    }

    pub fn transport(&self) -> Option<Transport> {
        Transport::parse(self.transport_text)
    }

    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        text::param(self.params, name)
    }

    pub fn branch(&self) -> Option<&'a [u8]> {
        Some(self.branch).filter(|b| !b.is_empty())
    }
}

/// host[:port] with the host's brackets kept; `None` where it is neither.
fn split_host_port(s: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, rest) = cut_host(s)?;
    let port = match trim(rest) {
        [] => None,
        [b':', digits @ ..] => Some(u16::try_from(decimal(trim(digits))?).ok()?),
        _ => return None,
    };
    Some((host, port))
}

/// The host that `s` begins with, brackets kept, and what follows it.
#[inline]
pub(crate) fn cut_host(s: &[u8]) -> Option<(&[u8], &[u8])> {
    if s.first() == Some(&b'[') {
        let (host, rest) = s.split_at(text::find_near(s, [b']'])? + 1);
        // The parser of addresses also refuses the third colon that RFC 3261 let through (RFC 5954 §4.1).
        let ip = std::str::from_utf8(&host[1..host.len() - 1]).ok()?;
        ip.parse::<Ipv6Addr>().ok()?;
        return Some((host, rest));
    }
    let end = s.iter().position(|b| !is_host(*b)).unwrap_or(s.len());
    (end > 0).then(|| s.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn via_values() {
        for (value, expected) in [
            ("SIP/2.0/UDP h:5070;branch=z9hG4bK1;rport", Some(("UDP", "h", Some(5070), Some("z9hG4bK1")))),
            ("SIP / 2.0 / tcp  192.0.2.1 : 99 ;x", Some(("tcp", "192.0.2.1", Some(99), None))),
            ("SIP/2.0/TLS [2001:db8::1]:5061;branch=b", Some(("TLS", "[2001:db8::1]", Some(5061), Some("b")))),
            ("SIP/2.0/WS t1.invalid;branch=q", Some(("WS", "t1.invalid", None, Some("q")))),
            ("SIP/2.0/UDP h;branch=b;", None),
            ("SIP/2.0/UDP h;;branch=b", None),
            ("SIP/2.0/UDP h;branch=b<", None),
            ("SIP/2.0/UDP h;x=\"", None),
            ("SIP/2.0/UDP [2001:db8:::192.0.2.1]", None),
            ("SIP/2.0/UDP", None),
            ("SIP/3.0/UDP h", None),
            ("SIP/2.0/UDP h:99999", None),
            ("SIP/2.0/UDP a b", None),
        ] {
            let s = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
            let got = Via::parse(value.as_bytes()).ok();
            let got = got.map(|v| (s(v.transport_text), s(v.host), v.port, v.branch().map(s)));
            assert_eq!(got, expected.map(|(t, h, p, b)| (t.into(), h.into(), p, b.map(Into::into))), "{value}");
        }
    }
}
