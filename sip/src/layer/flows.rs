//! Which client transactions wait on which connection, so that a closed connection costs what it carried and not a
//! walk over all. A list for each connection, threaded through the slots.

use std::collections::HashMap;
use std::net::SocketAddr;

use ahash::RandomState;

use super::Dest;
use crate::transport::{Flow, Transport};

const NONE: u32 = u32::MAX;

/// A connection by number, or by its peer where the caller left the choice to the transport layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Connection {
    Number(u64),
    Peer(Transport, SocketAddr),
}

impl Connection {
    /// `None` where nothing can close.
    fn of(dest: &Dest) -> Option<Connection> {
        match dest {
            Dest::Flow(flow) => flow.is_connection().then_some(Connection::Number(flow.connection)),
            Dest::Address { transport, address } => {
                transport.is_reliable().then_some(Connection::Peer(*transport, *address))
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

#[derive(Debug)]
pub(super) struct Flows {
    heads: HashMap<Connection, u32, RandomState>,
    links: Vec<Link>,
}

impl Flows {
    pub(super) fn new([a, b, c, d]: [u64; 4]) -> Flows {
        Flows { heads: HashMap::with_hasher(RandomState::with_seeds(c, d, a, b)), links: Vec::new() }
    }

    pub(super) fn add(&mut self, slot: u32, dest: &Dest) {
        let Some(connection) = Connection::of(dest) else { return };
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, Link { prev: NONE, next: NONE });
        }
        let next = self.heads.insert(connection, slot).unwrap_or(NONE);
        self.links[slot as usize] = Link { prev: NONE, next };
        if next != NONE {
            self.links[next as usize].prev = slot;
        }
    }

    /// Takes out a slot that was added with the same `dest`.
    pub(super) fn remove(&mut self, slot: u32, dest: &Dest) {
        let Some(connection) = Connection::of(dest) else { return };
        let Link { prev, next } = self.links[slot as usize];
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
        match (prev, next) {
            (NONE, NONE) => {
                self.heads.remove(&connection);
            }
            (NONE, next) => {
                self.heads.insert(connection, next);
            }
            (prev, next) => self.links[prev as usize].next = next,
        }
    }

    /// The slots on `flow`, by its number and by its peer.
    pub(super) fn on(&self, flow: &Flow) -> Vec<u32> {
        let mut slots = Vec::new();
        for connection in [Connection::Number(flow.connection), Connection::Peer(flow.transport, flow.remote)] {
            let mut slot = self.heads.get(&connection).copied().unwrap_or(NONE);
            while slot != NONE {
                slots.push(slot);
                slot = self.links[slot as usize].next;
            }
        }
        slots
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}
