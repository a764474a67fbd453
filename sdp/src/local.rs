//! What we say of a message session, and how it is written.

use crate::authority::{Authority, DISCARD_PORT, with_port};
use crate::direction::Direction;
use crate::file::{FileDescription, FileError};
use crate::fingerprint::Fingerprint;
use crate::line::Line;
use crate::media::Media;
use crate::origin::Connection;
use crate::setup::Setup;
use crate::types::{Chatroom, TypeList};

/// Why a session cannot be described as the caller wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    #[error("no URI in the path, or one that is no MSRP URI with a port")]
    Path,
    #[error("no media type is accepted")]
    Types,
    #[error("{0}")]
    File(#[from] FileError),
}

/// Our end of a message session.
#[derive(Debug, Clone)]
pub struct Local {
    /// The first is where the peer connects to, the last ourselves; those before it are relays of ours. All with a
    /// port; the last is new for each session and hard to guess (RFC 4975 §8.2). `msrps:` in the first asks for TLS.
    pub path: Vec<String>,
    /// Peers can connect to the address in the path: there is no NAT before it. With a relay they can in any case.
    pub reachable: bool,
    /// RFC 6714 is used.
    pub cema: bool,
    pub accept_types: TypeList,
    /// Accepted inside of containers only, beyond `accept_types`.
    pub accept_wrapped_types: TypeList,
    /// Types that the peer must take, such as `message/cpim` for a chat room (RFC 7701 §5.2).
    pub required_types: Vec<String>,
    /// Largest message that we take, in bytes with its envelope.
    pub max_size: Option<u64>,
    pub direction: Direction,
    /// Of our certificates, where they are self-signed; not told with a relay, which has certificates of its own.
    pub fingerprints: Vec<Fingerprint>,
    pub chatroom: Option<Chatroom>,
    /// In an offer the file that is sent or asked for, by `direction`. In the answer to someone who asks for a file
    /// what is said about it besides what was asked. In other answers not used.
    pub file: Option<FileDescription>,
    /// Further attributes.
    pub other: Vec<(String, Option<String>)>,
}

impl Local {
    /// A session in both directions, reachable, without extensions.
    pub fn new(uri: impl Into<String>, accept_types: TypeList) -> Self {
        Self {
            path: vec![uri.into()],
            reachable: true,
            cema: false,
            accept_types,
            accept_wrapped_types: TypeList::default(),
            required_types: Vec::new(),
            max_size: None,
            direction: Direction::SEND_RECEIVE,
            fingerprints: Vec::new(),
            chatroom: None,
            file: None,
            other: Vec::new(),
        }
    }

    /// Whether we use a relay.
    #[must_use]
    pub fn uses_relay(&self) -> bool {
        self.path.len() > 1
    }

    /// Whether peers connect by TLS.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.path.first().and_then(|uri| Authority::of(uri)).is_some_and(|uri| uri.secure)
    }

    pub(crate) fn is_reachable(&self) -> bool {
        self.reachable || self.uses_relay()
    }

    pub(crate) fn check(&self) -> Result<(), LocalError> {
        let good = |uri: &String| Authority::of(uri).is_some_and(|uri| uri.port.is_some());
        if self.path.is_empty() || !self.path.iter().all(good) {
            return Err(LocalError::Path);
        }
        if self.accept_types.is_empty() {
            return Err(LocalError::Types);
        }
        Ok(())
    }

    /// The path that goes with `setup`: nobody connects to an active endpoint, and port 9 says so in the `m=` line
    /// (RFC 4145 §4.1), which has the port of the URI (RFC 4975 §8.1).
    pub(crate) fn path_for(&self, setup: Setup) -> Vec<String> {
        match self.path.as_slice() {
            [own] if setup == Setup::Active => vec![with_port(own, DISCARD_PORT)],
            path => path.to_vec(),
        }
    }

    /// The section; `path` is one of [`path_for`](Self::path_for), `file` the attributes about a file.
    pub(crate) fn section(&self, said: &Said<'_>) -> Result<Media<'static>, LocalError> {
        // Under RFC 6714 the relay is what `c=` and `m=` name, else it is ourselves.
        let named = if said.cema { said.path.first() } else { said.path.last() };
        let named = named.and_then(|uri| Authority::of(uri)).ok_or(LocalError::Path)?;
        let protocol = if said.secure { "TCP/TLS/MSRP" } else { "TCP/MSRP" };
        let port = named.port.ok_or(LocalError::Path)?;
        let mut media = Media::new("message", port, protocol, "*").ok_or(LocalError::Path)?;
        media.push(Connection::new(&named.host.to_string()).line());
        media.push_attribute("accept-types", Some(&self.accept_types.to_string()));
        if !self.accept_wrapped_types.is_empty() {
            media.push_attribute("accept-wrapped-types", Some(&self.accept_wrapped_types.to_string()));
        }
        if let Some(size) = self.max_size {
            media.push_attribute("max-size", Some(&size.to_string()));
        }
        media.push_attribute("setup", Some(said.setup.name()));
        if said.cema {
            media.push_attribute("msrp-cema", None);
        }
        media.push_attribute("path", Some(&said.path.join(" ")));
        if said.secure && !self.uses_relay() {
            for fingerprint in &self.fingerprints {
                media.push_attribute("fingerprint", Some(&fingerprint.to_string()));
            }
        }
        if let Some(chatroom) = &self.chatroom {
            media.push_attribute("chatroom", chatroom.value().as_deref());
        }
        for line in said.file {
            media.push(line.clone());
        }
        for (name, value) in &self.other {
            media.push_attribute(name, value.as_deref());
        }
        media.push_attribute(said.direction.name(), None);
        Ok(media)
    }
}

/// What a section says beyond what [`Local`] holds.
pub(crate) struct Said<'s> {
    pub(crate) path: &'s [String],
    pub(crate) secure: bool,
    pub(crate) setup: Setup,
    pub(crate) cema: bool,
    pub(crate) direction: Direction,
    pub(crate) file: &'s [Line<'static>],
}

/// The attributes of a file as lines.
pub(crate) fn file_lines(file: &FileDescription) -> Vec<Line<'static>> {
    let attributes = file.attributes();
    attributes.iter().map(|(name, value)| Line::attribute(name, Some(value.as_bytes()))).collect()
}
