//! What a peer says of a message session: one `m=message` section (RFC 4975 §8 and its extensions).

use crate::authority::{Authority, Host, Names};
use crate::description::Description;
use crate::direction::Direction;
use crate::file::FileDescription;
use crate::fingerprint::Fingerprint;
use crate::media::Media;
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::setup::Setup;
use crate::text;
use crate::types::{Chatroom, Sendable, TypeList};

/// A message session as its other end describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// By TLS.
    pub secure: bool,
    /// Whether the `m=` line asks for TLS, which is what an answer repeats.
    pub secure_protocol: bool,
    pub port: u16,
    /// The host of the `c=` line.
    pub host: Option<Host>,
    /// The first is where one connects to, the last the peer itself; with several the peer uses relays.
    pub path: Vec<String>,
    pub sendable: Sendable,
    /// That of the peer.
    pub direction: Direction,
    pub setup: Option<Setup>,
    /// `a=msrp-cema` (RFC 6714).
    pub cema: bool,
    pub fingerprints: Vec<Fingerprint>,
    pub chatroom: Option<Chatroom>,
    pub file: Option<FileDescription>,
}

/// Whether a section is a message session by MSRP; `Some(true)` with TLS.
#[must_use]
pub fn msrp_security(media: &Media<'_>, ignore_case: bool) -> Option<bool> {
    let is = |found: &str, wanted: &str| found == wanted || (ignore_case && found.eq_ignore_ascii_case(wanted));
    let secure = [("TCP/MSRP", false), ("TCP/TLS/MSRP", true)];
    let secure = secure.into_iter().find(|(protocol, _)| is(media.protocol(), protocol))?.1;
    is(media.kind(), "message").then_some(secure)
}

impl Remote {
    /// Reads the section at `index`.
    ///
    /// # Errors
    /// Why there can be no session.
    pub fn read(description: &Description<'_>, index: usize, rules: &Rules) -> Result<Self, Refusal> {
        let Rules { limits, leniency } = *rules;
        let media = description.media().get(index).ok_or(Refusal::MediaType)?;
        if media.kind() != "message" && !(leniency.case && media.kind().eq_ignore_ascii_case("message")) {
            return Err(Refusal::MediaType);
        }
        if media.port() == 0 {
            return Err(Refusal::Ended);
        }
        let secure_protocol = msrp_security(media, leniency.case).ok_or(Refusal::Protocol)?;
        let value = |name: &'static str| match media.attribute(name) {
            None => Ok(None),
            Some(value) => text::trimmed(value, leniency.spaces).map(Some).ok_or(Refusal::Malformed(name)),
        };

        let path = value("path")?.ok_or(Refusal::NoPath)?;
        let (path, secure) = Self::read_path(path, media.port(), secure_protocol, rules)?;

        let list = |name: &'static str| match value(name)? {
            None => Ok(None),
            Some(types) => TypeList::parse(types, leniency, limits.entries).map(Some).ok_or(Refusal::Malformed(name)),
        };
        let types = match list("accept-types")? {
            Some(types) => types,
            None if leniency.no_accept_types => TypeList::any(),
            None => return Err(Refusal::NoTypes),
        };
        let max_size = match value("max-size")? {
            None => None,
            Some(size) if size.bytes().all(|byte| byte.is_ascii_digit()) && !size.is_empty() => {
                // More than we can count is no limit.
                size.parse().ok()
            }
            Some(_) => return Err(Refusal::Malformed("max-size")),
        };
        let sendable = Sendable {
            types,
            wrapped_types: list("accept-wrapped-types")?.unwrap_or_default(),
            max_size,
            max_size_binds: false,
        };

        // RFC 8122 §5: the session's count where the section has none.
        let own = media.attributes("fingerprint").count() > 0;
        let found: Vec<&[u8]> = match own {
            true => media.attributes("fingerprint").collect(),
            false => description.attributes("fingerprint").collect(),
        };
        if found.len() > limits.entries {
            return Err(Refusal::Malformed("fingerprint"));
        }
        let read = |value| text::trimmed(value, leniency.spaces).and_then(|text| Fingerprint::parse(text, leniency));
        let fingerprints: Option<Vec<Fingerprint>> = found.into_iter().map(read).collect();

        let setup = description.attribute_for(media, "setup").and_then(|value| text::trimmed(value, leniency.spaces));
        let chatroom = match value("chatroom")? {
            None => None,
            Some(tokens) => {
                Some(Chatroom::parse(tokens, leniency, limits.entries).ok_or(Refusal::Malformed("chatroom"))?)
            }
        };
        Ok(Self {
            secure,
            secure_protocol,
            port: media.port(),
            host: description.connection_for(media).and_then(|connection| {
                // Multicast addresses have a TTL behind them; nobody connects to one.
                Host::parse(connection.address.split('/').next().unwrap_or_default())
            }),
            path,
            sendable,
            direction: description.direction_for(media),
            setup: setup.and_then(|value| Setup::parse(value, leniency)),
            cema: media.has("msrp-cema"),
            fingerprints: fingerprints.ok_or(Refusal::Malformed("fingerprint"))?,
            chatroom,
            file: FileDescription::read(media, rules)?,
        })
    }

    /// The URIs of a path, and whether TLS is used.
    fn read_path(value: &str, port: u16, secure: bool, rules: &Rules) -> Result<(Vec<String>, bool), Refusal> {
        let Rules { limits, leniency } = *rules;
        let malformed = Refusal::Malformed("path");
        if !leniency.spaces && !text::single_spaced(value) {
            return Err(malformed);
        }
        let mut path = Vec::new();
        let mut first_secure = None;
        for uri in value.split_ascii_whitespace() {
            let authority = Authority::of(uri).ok_or(malformed)?;
            if path.len() >= limits.path {
                return Err(malformed);
            }
            first_secure.get_or_insert(authority.secure);
            // RFC 4975 §8.2: with a port.
            path.push(match authority.port {
                Some(_) => uri.to_owned(),
                None if leniency.path_without_port => crate::authority::with_port(uri, port),
                None => return Err(malformed),
            });
        }
        let first_secure = first_secure.ok_or(Refusal::NoPath)?;
        if first_secure != secure && !leniency.scheme {
            return Err(Refusal::Security);
        }
        Ok((path, first_secure || secure))
    }

    /// Whether the peer uses a relay of its own.
    #[must_use]
    pub fn uses_relay(&self) -> bool {
        self.path.len() > 1
    }

    /// Whether `c=` and `m=` name the host and port of a URI in the path (RFC 6714 §4.4).
    #[must_use]
    pub fn address_matches(&self, names: &Names) -> bool {
        self.path.iter().filter_map(|uri| Authority::of(uri)).any(|uri| {
            uri.port == Some(self.port) && self.host.as_ref().is_some_and(|host| names.same_host(host, &uri.host))
        })
    }

    /// Names whose addresses decide whether `c=` and `m=` match the path; none where that can be seen without.
    #[must_use]
    pub fn names_to_resolve(&self) -> Vec<String> {
        if self.address_matches(&Names::default()) {
            return Vec::new();
        }
        let of_path = self.path.iter().filter_map(|uri| Authority::of(uri)).filter(|uri| uri.port == Some(self.port));
        let mut hosts: Vec<Host> = of_path.map(|uri| uri.host).collect();
        if hosts.is_empty() {
            return Vec::new();
        }
        hosts.extend(self.host.clone());
        let names = hosts.into_iter().filter_map(|host| match host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        });
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
