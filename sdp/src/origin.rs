//! `o=` and `c=` (RFC 8866 §5.2, §5.7).

use std::fmt;
use std::net::IpAddr;

use crate::line::Line;
use crate::rules::Leniency;
use crate::text;

/// The first version is below this (RFC 3264 §5).
const FIRST_BELOW: u64 = (1 << 62) - 1;

/// Who made a description, and which version of it this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `-` where there is none.
    pub username: String,
    /// A number in what we write; peers may have written something else.
    pub session_id: String,
    /// A number in what we write; peers may have written something else.
    pub version: String,
    /// `IN`.
    pub network: String,
    /// `IP4` or `IP6`.
    pub family: String,
    /// An address or a name.
    pub address: String,
}

impl Origin {
    /// For a new session: `id` is unique and also the first version; values of 2^62 - 1 and above are reduced.
    #[must_use]
    pub fn new(id: u64, address: &str) -> Self {
        let number = (id % FIRST_BELOW).to_string();
        Self {
            username: "-".to_owned(),
            session_id: number.clone(),
            version: number,
            network: "IN".to_owned(),
            family: family(address).to_owned(),
            address: address.to_owned(),
        }
    }

    pub(crate) fn parse(line: &Line<'_>, leniency: Leniency) -> Option<Self> {
        let value = line.text()?;
        if !leniency.origin && !text::single_spaced(value) {
            return None;
        }
        // From the right: user names with spaces occur, and none at all.
        let mut words: Vec<&str> = value.split_ascii_whitespace().collect();
        let (address, family, network) = (words.pop()?, words.pop()?, words.pop()?);
        let (version, session_id) = (words.pop()?, words.pop()?);
        let username = match words.as_slice() {
            [name] => (*name).to_owned(),
            _ if !leniency.origin => return None,
            [] => "-".to_owned(),
            words => words.join(" "),
        };
        let numbers = [session_id, version].into_iter().all(|number| text::number::<i64>(number).is_some());
        let regular = numbers && text::is_token(network) && text::is_token(family);
        if !regular && !leniency.origin {
            return None;
        }
        Some(Self {
            username,
            session_id: session_id.to_owned(),
            version: version.to_owned(),
            network: network.to_owned(),
            family: family.to_owned(),
            address: address.to_owned(),
        })
    }

    /// Whether both name one session, in whatever version (RFC 3264 §8).
    #[must_use]
    pub fn same_session(&self, other: &Self) -> bool {
        Self { version: other.version.clone(), ..self.clone() } == *other
    }

    /// The origin of the next version; a version that is no number starts over at 1.
    #[must_use]
    pub fn next_version(&self) -> Self {
        let version = text::number::<u64>(&self.version).unwrap_or(0).saturating_add(1);
        Self { version: version.to_string(), ..self.clone() }
    }

    pub(crate) fn line(&self) -> Line<'static> {
        Line::new('o', self.to_string())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, session_id, version, network, family, address } = self;
        write!(f, "{username} {session_id} {version} {network} {family} {address}")
    }
}

/// A `c=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub network: String,
    pub family: String,
    /// An address or a name; of a multicast address with its TTL.
    pub address: String,
}

impl Connection {
    /// For an address or a name; an IPv6 address may have brackets.
    #[must_use]
    pub fn new(host: &str) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self { network: "IN".to_owned(), family: family(host).to_owned(), address: host.to_owned() }
    }

    pub(crate) fn parse(line: &Line<'_>) -> Option<Self> {
        let mut words = line.text()?.split_ascii_whitespace();
        let (network, family, address) = (words.next()?, words.next()?, words.next()?);
        words.next().is_none().then(|| Self {
            network: network.to_owned(),
            family: family.to_owned(),
            address: address.to_owned(),
        })
    }

    pub(crate) fn line(&self) -> Line<'static> {
        Line::new('c', format!("{} {} {}", self.network, self.family, self.address))
    }
}

/// A name counts as IPv4, as everybody writes it.
fn family(host: &str) -> &'static str {
    match host.parse() {
        Ok(IpAddr::V6(_)) => "IP6",
        _ => "IP4",
    }
}
