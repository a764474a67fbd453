//! `Via` (RFC 3261 §20.42, RFC 3581, RFC 7118 §5.2).

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{self, decimal, is_lws, is_token_str, trim};
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
}

impl<'a> Via<'a> {
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, ParseError> {
        let wrong = |expected| ParseError::Malformed { header: HeaderName::Via, expected };
        let params_at = memchr::memchr(b';', value).unwrap_or(value.len());
        let (head, params) = value.split_at(params_at);
        // SIP / 2.0 / UDP host: white space may stand around each slash (torture test `intmeth`'s cousin, §7.3.1).
        let (name, rest) = head.split_at(memchr::memchr(b'/', head).ok_or(wrong("SIP/2.0/transport"))?);
        let rest = &rest[1..];
        let (version, rest) = rest.split_at(memchr::memchr(b'/', rest).ok_or(wrong("SIP/2.0/transport"))?);
        let rest = trim(&rest[1..]);
        if !trim(name).eq_ignore_ascii_case(b"SIP") || trim(version) != b"2.0" {
            return Err(wrong("SIP/2.0"));
        }
        let space = rest.iter().position(|b| is_lws(*b)).ok_or(wrong("a transport and a host"))?;
        let transport_text = &rest[..space];
        let sent_by = trim(&rest[space..]);
        if !is_token_str(transport_text) || sent_by.is_empty() {
            return Err(wrong("a transport and a host"));
        }
        let (host, port) = split_host_port(sent_by).ok_or(wrong("host or host:port"))?;
        Ok(Via { transport_text, sent_by, host, port, params })
    }

    pub fn transport(&self) -> Option<Transport> {
        Transport::parse(self.transport_text)
    }

    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        text::param(self.params, name)
    }

    pub fn branch(&self) -> Option<&'a [u8]> {
        self.param("branch").filter(|b| !b.is_empty())
    }
}

/// host[:port] with the host's brackets kept; `None` where it is neither.
pub(crate) fn split_host_port(s: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, rest) = if s.first() == Some(&b'[') {
        s.split_at(memchr::memchr(b']', s)? + 1)
    } else {
        s.split_at(memchr::memchr(b':', s).unwrap_or(s.len()))
    };
    let host = trim(host);
    let fine = match host {
        [b'[', inner @ .., b']'] => inner.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.' | b'%')),
        _ => host.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    };
    if host.is_empty() || !fine {
        return None;
    }
    let port = match trim(rest) {
        [] => None,
        [b':', digits @ ..] => Some(u16::try_from(decimal(trim(digits))?).ok()?),
        _ => return None,
    };
    Some((host, port))
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
