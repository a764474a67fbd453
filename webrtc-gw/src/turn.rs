//! A relay for browsers that cannot be reached, or may not send datagrams (TURN, RFC 8656): the server of it, without I/O.
//!
//! A client asks for an address at the relay, says from whom it takes data there, and sends by it. Who asks has credentials for
//! a while ([`Authority`]). Relayed are datagrams; clients come by datagrams or streams. Not offered: allocations for TCP
//! (RFC 6062), pairs of ports, both families at once, ICMP.

pub mod credentials;
pub mod message;
pub mod peers;

mod allocation;
mod requests;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use ahash::AHashMap;

pub use credentials::{Authority, Grant, Signer};
pub use peers::{Peers, Prefix};

use allocation::{Allocation, Way};
use message::{Class, Draft, Message, Method, channel_data, to_channel};

/// Who talks to the relay: a 5-tuple, since a listener has one local address and one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    pub listener: u16,
    /// Whether messages follow each other in a stream.
    pub stream: bool,
    pub remote: SocketAddr,
}

/// The family of a relayed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// Now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    pub now: Instant,
    /// Seconds since the epoch.
    pub wall: u64,
}

/// Something to do, in its order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// To the client, by the way it came.
    Answer { client: Client, bytes: Vec<u8> },
    /// From the client's relayed address to a peer.
    Relay { client: Client, to: SocketAddr, bytes: Vec<u8> },
    /// A port is to be opened; [`Server::opened`] tells how that went.
    Open { client: Client, family: Family },
    /// Its port is not needed any more.
    Close { client: Client },
}

/// Why a port could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// We have no such address.
    Family,
    /// None is free.
    Full,
}

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub allocations: usize,
    pub per_user: usize,
    /// Bytes a second, each way, of one allocation.
    pub rate: u64,
    /// Whether datagrams that ask for the address they come from are answered to anybody.
    pub stun: bool,
}

/// What the relay has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub allocated: u64,
    /// Requests without credentials that count: none, wrong, lapsed. The first of every client is one.
    pub challenged: u64,
    /// Requests refused since a user or all had enough.
    pub full: u64,
    /// Peers refused by policy.
    pub forbidden: u64,
    pub packets_to_peers: u64,
    pub bytes_to_peers: u64,
    pub packets_to_clients: u64,
    pub bytes_to_clients: u64,
    /// Data without permission, or above the rate.
    pub dropped: u64,
    /// What is no message of TURN.
    pub malformed: u64,
}

/// The relay.
pub struct Server {
    authority: Authority,
    peers: Peers,
    limits: Limits,
    /// The port of the server that takes what browsers send, on each address that clients were given.
    media_port: u16,
    allocations: AHashMap<Client, Allocation>,
    relayed: AHashMap<SocketAddr, Client>,
    users: AHashMap<Box<str>, usize>,
    deadlines: BTreeSet<(Instant, Client)>,
    outbox: VecDeque<Action>,
    counters: Counters,
    indications: u64,
}

impl Server {
    #[must_use]
    pub fn new(authority: Authority, peers: Peers, limits: Limits, media_port: u16) -> Server {
        Server {
            authority,
            peers,
            limits,
            media_port,
            allocations: AHashMap::new(),
            relayed: AHashMap::new(),
            users: AHashMap::new(),
            deadlines: BTreeSet::new(),
            outbox: VecDeque::new(),
            counters: Counters::default(),
            indications: 0,
        }
    }

    /// Takes what a client has sent: a datagram, or one message of a stream.
    pub fn handle_packet(&mut self, client: Client, bytes: &[u8], time: Time) {
        if let Some((channel, data)) = channel_data(bytes) {
            let peer = self.allocations.get(&client).and_then(|own| own.peer_of(channel, time.now));
            return match peer {
                Some(peer) => self.relay(client, peer, data, time.now),
                None => self.counters.dropped += 1,
            };
        }
        let Ok(message) = Message::parse(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        match (message.class, message.method) {
            (Class::Indication, Method::Send) => self.send(client, &message, time.now),
            // A sign of life (RFC 8489 §12.1).
            (Class::Indication, Method::Binding) => {}
            (Class::Request, Method::Binding) => self.bound(client, &message),
            (Class::Request, Method::Allocate | Method::Refresh | Method::CreatePermission | Method::ChannelBind) => {
                self.request(client, &message, time);
            }
            _ => self.counters.malformed += 1,
        }
    }

    /// Takes a datagram that a peer has sent to the address of a client (§11.3).
    pub fn handle_peer(&mut self, client: Client, from: SocketAddr, data: &[u8], now: Instant) {
        let Some(own) = self.allocations.get_mut(&client) else { return };
        if !own.is_permitted(from.ip(), now) || !own.may_send(Way::ToClient, data.len(), self.limits.rate, now) {
            self.counters.dropped += 1;
            return;
        }
        let bytes = match own.channel_of(from, now) {
            Some(channel) => to_channel(channel, data, client.stream),
            None => {
                self.indications += 1;
                let mut transaction = [0; 12];
                transaction[4..].copy_from_slice(&self.indications.to_be_bytes());
                Draft::data(transaction, from, data)
            }
        };
        self.counters.packets_to_clients += 1;
        self.counters.bytes_to_clients += data.len() as u64;
        self.outbox.push_back(Action::Answer { client, bytes });
    }

    /// The port of a client is open, or cannot be.
    pub fn opened(&mut self, client: Client, outcome: Result<SocketAddr, NotOpened>, now: Instant) {
        let Some(own) = self.allocations.get_mut(&client) else { return };
        let request = Draft::answer_to(Method::Allocate, own.transaction);
        let key = own.key;
        let bytes = match outcome {
            Ok(address) => {
                own.relayed = Some(address);
                let lifetime = own.seconds_left(now);
                self.relayed.insert(address, client);
                let media = SocketAddr::new(address.ip(), self.media_port);
                if !self.peers.media.contains(&media) {
                    self.peers.media.push(media);
                }
                self.counters.allocated += 1;
                request.relayed(address).lifetime(lifetime).mapped(client.remote).finish(Some(&key))
            }
            Err(why) => {
                self.forget(client);
                let (code, reason) = match why {
                    NotOpened::Family => (440, "Address Family not Supported"),
                    NotOpened::Full => (508, "Insufficient Capacity"),
                };
                self.counters.full += u64::from(why == NotOpened::Full);
                request.into_error(code, reason).finish(Some(&key))
            }
        };
        self.outbox.push_back(Action::Answer { client, bytes });
    }

    /// The connection of a client is gone.
    pub fn gone(&mut self, client: Client) {
        if self.forget(client) {
            self.outbox.push_back(Action::Close { client });
        }
    }

    /// What to do next; call until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    /// When [`Server::handle_timeout`] is next wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends allocations that nobody has refreshed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, client)) = self.deadlines.first().copied()
            && at <= now
        {
            self.gone(client);
            self.deadlines.remove(&(at, client));
        }
    }

    /// Allocations that there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.allocations.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allocations.is_empty()
    }

    /// Whether a client has an allocation.
    #[must_use]
    pub fn has(&self, client: Client) -> bool {
        self.allocations.contains_key(&client)
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The relay's own, which also gives credentials.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Says at which address a client is seen. The answer to a datagram is longer than the question, whoever has sent it.
    fn bound(&mut self, client: Client, message: &Message<'_>) {
        if client.stream || self.limits.stun {
            let bytes = message.success().mapped(client.remote).finish(None);
            self.outbox.push_back(Action::Answer { client, bytes });
        } else {
            self.counters.challenged += 1;
        }
    }

    /// A Send indication (§11.2).
    fn send(&mut self, client: Client, message: &Message<'_>, now: Instant) {
        match (&message.peers[..], message.data) {
            ([peer], Some(data)) if message.unknown.is_empty() => self.relay(client, *peer, data, now),
            _ => self.counters.malformed += 1,
        }
    }

    fn relay(&mut self, client: Client, peer: SocketAddr, data: &[u8], now: Instant) {
        let admitted = self.peers.admit(peer, self.relayed.contains_key(&peer));
        let may = self.allocations.get_mut(&client).is_some_and(|own| {
            let open = own.relayed.is_some() && own.is_permitted(peer.ip(), now);
            open && admitted && own.may_send(Way::ToPeer, data.len(), self.limits.rate, now)
        });
        if !may {
            self.counters.dropped += 1;
            return;
        }
        self.counters.packets_to_peers += 1;
        self.counters.bytes_to_peers += data.len() as u64;
        self.outbox.push_back(Action::Relay { client, to: peer, bytes: data.to_vec() });
    }

    /// Whether there was an allocation.
    fn forget(&mut self, client: Client) -> bool {
        let Some(own) = self.allocations.remove(&client) else { return false };
        self.deadlines.remove(&(own.expires, client));
        if let Some(address) = own.relayed {
            self.relayed.remove(&address);
        }
        if let Some(count) = self.users.get_mut(&own.user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&own.user);
            }
        }
        true
    }
}
