//! What an exchange of offer and answer comes to: who connects where, and what may be sent.

use crate::authority::{Authority, Host, MSRP_PORT};
use crate::direction::Direction;
use crate::file::FileDescription;
use crate::fingerprint::Fingerprint;
use crate::local::Local;
use crate::refusal::Refusal;
use crate::remote::Remote;
use crate::rules::Leniency;
use crate::setup::Role;
use crate::types::{Chatroom, Sendable};

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
    /// With TLS the name or address that the certificate has to be for, unless fingerprints decide; also for SNI.
    pub tls: Option<Host>,
}

/// Who makes the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    /// The peer connects to us. The offerer has listened since the offer.
    Listen,
    /// We connect.
    To(Target),
    /// We connect to our own relay, whatever `a=setup` says (RFC 6135 §4.5).
    OwnRelay { uri: String },
}

/// How the To-Path of a request is compared with our URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// As a whole (RFC 4975 §6.1).
    Whole,
    /// By its session-id.
    SessionId,
}

/// A file that goes over the session, and nothing else does (RFC 5547 §8.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Whether we send it.
    pub send: bool,
    /// As the peer describes it, or the offer where the answer says nothing.
    pub file: FileDescription,
}

/// A message session that both sides have agreed upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Of the section in the description.
    pub index: usize,
    /// The active side sends the first request at once, an empty one if need be; the passive side sends nothing before
    /// (RFC 4975 §5.4, RFC 6135 §4.2.2).
    pub role: Role,
    pub connect: Connect,
    /// The answerer connects when its answer has arrived, so at the ACK: before it the offerer may not be listening.
    pub after_ack: bool,
    pub secure: bool,
    /// Of which the peer's certificate has to match one, see [`matches`](crate::matches). Where there are none, or a
    /// relay is in between, names decide.
    pub fingerprints: Vec<Fingerprint>,
    /// As we told the peer; the last is our URI. Its port may be 9 where [`Local`] had another.
    pub own_path: Vec<String>,
    pub peer_path: Vec<String>,
    /// Both use RFC 6714.
    pub cema: bool,
    pub matching: Matching,
    /// Ours. It holds for content: reports and receipts are sent in any case (RFC 4975 §8.9).
    pub direction: Direction,
    pub sendable: Sendable,
    /// What the peer can do in a chat room.
    pub chatroom: Option<Chatroom>,
    pub transfer: Option<Transfer>,
}

impl Agreement {
    /// The To-Path of our requests: our relays, nearest first, then the peer's path.
    pub fn to_path(&self) -> impl Iterator<Item = &str> {
        let relays = self.own_path.iter().rev().skip(1);
        relays.chain(&self.peer_path).map(String::as_str)
    }

    /// The From-Path of our requests.
    #[must_use]
    pub fn own_uri(&self) -> &str {
        self.own_path.last().map(String::as_str).unwrap_or_default()
    }

    /// Whether we send first, and without delay.
    #[must_use]
    pub fn sends_first(&self) -> bool {
        self.role == Role::Active
    }
}

/// Where the active side connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The first URI of the peer's path.
    Path,
    /// `c=` and `m=` of the peer (RFC 6714).
    Address,
}

pub(crate) fn connect(local: &Local, remote: &Remote, role: Role, by: By) -> Result<Connect, Refusal> {
    if let [.., relay, _] = local.path.as_slice() {
        return Ok(Connect::OwnRelay { uri: relay.clone() });
    }
    if role == Role::Passive {
        return Ok(Connect::Listen);
    }
    let first = remote.path.first().and_then(|uri| Authority::of(uri)).ok_or(Refusal::NoPath)?;
    let tls = remote.secure.then(|| first.host.clone());
    let reached = Authority { port: if by == By::Address { Some(remote.port) } else { first.port }, ..first };
    if !reached.is_dialable() {
        return Err(Refusal::NotReachable);
    }
    let host = match by {
        By::Path => reached.host,
        By::Address => remote.host.clone().ok_or(Refusal::NotReachable)?,
    };
    Ok(Connect::To(Target { host, port: reached.port.unwrap_or(MSRP_PORT), tls }))
}

/// How To-Paths are compared. That middleboxes change them is known from practice, not from RFC 6714.
pub(crate) fn matching(cema: bool, leniency: Leniency) -> Matching {
    if cema && leniency.match_session_id { Matching::SessionId } else { Matching::Whole }
}

/// The peer's fingerprints, where its certificate is what we get to see.
pub(crate) fn expected_fingerprints(
    local: &Local,
    remote: &Remote,
    leniency: Leniency,
) -> Result<Vec<Fingerprint>, Refusal> {
    if !remote.secure || local.uses_relay() || remote.uses_relay() || remote.fingerprints.is_empty() {
        return Ok(Vec::new());
    }
    match crate::fingerprint::strongest(&remote.fingerprints, leniency) {
        Some(_) => Ok(remote.fingerprints.clone()),
        None => Err(Refusal::Fingerprint),
    }
}

/// Whether both sides have types to talk in (RFC 4975 §8.6).
pub(crate) fn check_types(local: &Local, remote: &Remote) -> Result<(), Refusal> {
    let theirs = &remote.sendable.types;
    let required = local.required_types.iter().all(|required| theirs.allows(required));
    if required && theirs.overlaps(&local.accept_types) { Ok(()) } else { Err(Refusal::Types) }
}
