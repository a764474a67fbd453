//! Open connections, by number and by the address they lead to (RFC 3261 §18, RFC 5923).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use chappe_sip::Transport;
use parking_lot::{Mutex, RwLock};

use crate::connection::Connection;
use crate::outbox::Target;
use crate::tls::Proof;

const SHARDS: usize = 64;

type Shard = RwLock<HashMap<u64, Arc<Connection>, RandomState>>;

/// Where a connection leads, and what its peer has proved.
#[derive(Clone, Copy)]
pub(crate) struct Leads<'a> {
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
    pub(crate) name: Option<&'a str>,
    pub(crate) proof: &'a Proof,
}

impl<'a> Leads<'a> {
    pub(crate) fn to(target: &'a Target, proof: &'a Proof) -> Leads<'a> {
        Leads {
            transport: target.transport,
            remote: target.addr,
            name: target.server_name.as_deref(),
            // Without TLS nothing is proved.
            proof: if target.transport.is_secure() { proof } else { &Proof::Domain },
        }
    }
}

pub(crate) struct Table {
    by_number: Box<[Shard]>,
    /// Hash of transport, address and name to the number of the youngest such connection. Keeping the hash and not
    /// the key saves 100 bytes for each connection; a look-up compares with the connection itself.
    by_remote: Box<[Mutex<HashMap<u64, u64, RandomState>>]>,
    by_address: Mutex<HashMap<IpAddr, usize, RandomState>>,
    count: AtomicUsize,
    hasher: RandomState,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            by_number: (0..SHARDS).map(|_| RwLock::default()).collect(),
            by_remote: (0..SHARDS).map(|_| Mutex::default()).collect(),
            by_address: Mutex::default(),
            count: AtomicUsize::new(0),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Connection>> {
        self.by_number[number as usize % SHARDS].read().get(&number).cloned()
    }

    fn hash(&self, leads: &Leads<'_>) -> u64 {
        let Leads { transport, remote, name, proof } = leads;
        self.hasher.hash_one((transport, remote, name.map(|n| n.to_ascii_lowercase()), proof))
    }

    /// Takes up a connection that a peer opened.
    pub(crate) fn insert(&self, connection: &Arc<Connection>) {
        let key = self.key(connection);
        self.put(connection);
        self.by_remote[key as usize % SHARDS].lock().insert(key, connection.flow.connection);
    }

    fn put(&self, connection: &Arc<Connection>) {
        let number = connection.flow.connection;
        self.by_number[number as usize % SHARDS].write().insert(number, connection.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn key(&self, connection: &Connection) -> u64 {
        let flow = &connection.flow;
        let (name, proof) = (connection.server_name(), connection.proof());
        self.hash(&Leads { transport: flow.transport, remote: flow.remote, name, proof })
    }

    /// The open connection that `leads` there.
    pub(crate) fn find(&self, leads: &Leads<'_>) -> Option<Arc<Connection>> {
        let key = self.hash(leads);
        let number = *self.by_remote[key as usize % SHARDS].lock().get(&key)?;
        self.get(number).filter(|c| c.leads_to(leads))
    }

    /// The open connection that `leads` there, or the one that `make` gives, so that two threads do not both open one.
    /// Returns whether it was made.
    pub(crate) fn find_or_insert(
        &self,
        leads: &Leads<'_>,
        make: impl FnOnce() -> Arc<Connection>,
    ) -> (Arc<Connection>, bool) {
        let key = self.hash(leads);
        let mut shard = self.by_remote[key as usize % SHARDS].lock();
        let known = shard.get(&key).and_then(|number| self.get(*number));
        if let Some(connection) = known.filter(|c| c.leads_to(leads)) {
            return (connection, false);
        }
        let connection = make();
        self.put(&connection);
        shard.insert(key, connection.flow.connection);
        (connection, true)
    }

    /// Makes a connection found by another address of its peer too.
    pub(crate) fn alias(&self, connection: &Connection, remote: SocketAddr) {
        let key = self.hash(&alias_of(connection, remote));
        self.by_remote[key as usize % SHARDS].lock().insert(key, connection.flow.connection);
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        let number = connection.flow.connection;
        if self.by_number[number as usize % SHARDS].write().remove(&number).is_none() {
            return;
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        let alias = connection.alias().map(|remote| self.hash(&alias_of(connection, remote)));
        for key in [Some(self.key(connection)), alias].into_iter().flatten() {
            let mut shard = self.by_remote[key as usize % SHARDS].lock();
            if shard.get(&key) == Some(&number) {
                shard.remove(&key);
            }
        }
    }

    /// Calls `f` for every connection, without a lock held meanwhile.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Arc<Connection>)) {
        for shard in &self.by_number {
            let connections: Vec<_> = shard.read().values().cloned().collect();
            connections.iter().for_each(&mut f);
        }
    }

    /// Counts a connection from `address`; `false` if there are `max` of them already.
    pub(crate) fn enter(&self, address: IpAddr, max: usize) -> bool {
        let mut counts = self.by_address.lock();
        let count = counts.entry(address).or_insert(0);
        let enter = *count < max;
        *count += usize::from(enter);
        enter
    }

    pub(crate) fn leave(&self, address: IpAddr) {
        let mut counts = self.by_address.lock();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// The connection by another address of its peer.
fn alias_of(connection: &Connection, remote: SocketAddr) -> Leads<'static> {
    Leads { transport: connection.flow.transport, remote, name: None, proof: &Proof::Domain }
}
