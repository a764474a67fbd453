//! Sessions: the URIs that were handed out, each with the client that asked for it and whoever uses it from outside.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ahash::RandomState;
use chappe_msrp::StreamKey;
use chappe_msrp::relay::{Bound, Named, Side};
use chappe_msrp::{OwnedUri, Uri};
use parking_lot::Mutex;

use super::connection::Connection;

const SHARDS: usize = 64;

/// One URI of ours (RFC 4976 §6.3).
pub(super) struct Session {
    /// What the operator calls it; the session-id is a secret.
    pub number: u64,
    pub uri: OwnedUri,
    /// USER@DOMAIN.
    pub user: Arc<str>,
    /// The client's own URI, from its AUTH.
    pub client: Box<str>,
    pub owner: Arc<Connection>,
    /// Who uses the URI from outside: the first who did, as long as it is connected.
    peer: Mutex<Option<Arc<Connection>>>,
    /// Milliseconds of the relay's clock.
    pub created: u64,
    pub expires: AtomicU64,
    pub used: AtomicU64,
    ended: AtomicBool,
    /// Body bytes from the owner and to it.
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// Body bytes that it may still transfer now, where there is a rate.
    pub allowance: AtomicI64,
}

/// What a session is made of.
pub(super) struct NewSession {
    pub number: u64,
    pub uri: OwnedUri,
    pub user: Arc<str>,
    pub client: Box<str>,
    pub owner: Arc<Connection>,
    pub now: u64,
    pub expires: u64,
    pub allowance: i64,
}

impl Session {
    pub(super) fn new(new: NewSession) -> Arc<Session> {
        Arc::new(Session {
            number: new.number,
            uri: new.uri,
            user: new.user,
            client: new.client,
            owner: new.owner,
            peer: Mutex::new(None),
            created: new.now,
            expires: AtomicU64::new(new.expires),
            used: AtomicU64::new(new.now),
            ended: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            allowance: AtomicI64::new(new.allowance),
        })
    }

    /// The stream of one direction on the connection that it goes out on.
    pub(super) fn key(&self, from: Side) -> StreamKey {
        StreamKey(self.number << 1 | u64::from(from == Side::Peer))
    }

    /// How a frame that came on `connection` stands to the session. `behind`: it has passed another session of ours
    /// and so comes from outside, whoever's connection it is.
    pub(super) fn named(&self, connection: &Arc<Connection>, behind: bool, now: u64) -> Named<'_> {
        let bound = match &*self.peer.lock() {
            None => Bound::Nowhere,
            Some(peer) if Arc::ptr_eq(peer, connection) => Bound::Here,
            Some(_) => Bound::Elsewhere,
        };
        Named {
            uri: self.uri.uri(),
            from_owner: !behind && Arc::ptr_eq(&self.owner, connection),
            bound,
            expired: self.has_ended() || self.expires.load(Ordering::Relaxed) <= now,
        }
    }

    pub(super) fn peer(&self) -> Option<Arc<Connection>> {
        self.peer.lock().clone()
    }

    /// Binds the session to the first connection that uses it from outside.
    pub(super) fn bind(self: &Arc<Session>, connection: &Arc<Connection>) {
        let mut peer = self.peer.lock();
        if peer.is_none() {
            *peer = Some(Arc::clone(connection));
            drop(peer);
            connection.add(self);
        }
    }

    /// Lets another connection use it, `connection` being gone.
    pub(super) fn unbind(&self, connection: &Arc<Connection>) {
        let mut peer = self.peer.lock();
        if peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, connection)) {
            *peer = None;
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Body bytes passed from one side; `false` when the allowance is used up.
    pub(super) fn transferred(&self, from: Side, bytes: usize, limited: bool) -> bool {
        let counter = if from == Side::Owner { &self.sent } else { &self.received };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        !limited || self.allowance.fetch_sub(bytes as i64, Ordering::Relaxed) > bytes as i64
    }
}

type Table = HashMap<Box<str>, Arc<Session>, RandomState>;

/// All sessions by their session-id.
pub(super) struct Sessions {
    shards: Box<[Mutex<Table>]>,
    /// How many each user has.
    users: Mutex<HashMap<Arc<str>, usize, RandomState>>,
    hasher: RandomState,
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            users: Mutex::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Sessions {
    pub(super) fn find(&self, uri: &Uri<'_>) -> Option<Arc<Session>> {
        let id = uri.session_id?;
        self.shard(id).lock().get(id).cloned()
    }

    /// Takes the session in; its owner is told.
    pub(super) fn insert(&self, session: &Arc<Session>) {
        let uri = session.uri.uri();
        let id = uri.session_id.unwrap_or_default();
        *self.users.lock().entry(Arc::clone(&session.user)).or_default() += 1;
        self.shard(id).lock().insert(id.into(), Arc::clone(session));
        session.owner.add(session);
    }

    /// Ends a session; `false` if it has ended before.
    pub(super) fn end(&self, session: &Arc<Session>) -> bool {
        if session.ended.swap(true, Ordering::Relaxed) {
            return false;
        }
        let uri = session.uri.uri();
        let id = uri.session_id.unwrap_or_default();
        self.shard(id).lock().remove(id);
        let mut users = self.users.lock();
        if let Some(count) = users.get_mut(&session.user) {
            *count -= 1;
            if *count == 0 {
                users.remove(&session.user);
            }
        }
        drop(users);
        session.owner.remove(session);
        if let Some(peer) = session.peer.lock().take() {
            peer.remove(session);
        }
        true
    }

    /// How many a user has.
    pub(super) fn held(&self, user: &str) -> usize {
        self.users.lock().get(user).copied().unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// All of them, as they are now.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn shard(&self, id: &str) -> &Mutex<Table> {
        &self.shards[self.hasher.hash_one(id) as usize % SHARDS]
    }
}
