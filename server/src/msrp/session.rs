//! Sessions: the URIs that were handed out, each with the client that asked for it and whoever uses it from outside.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ahash::RandomState;
use chappe_msrp::StreamKey;
use chappe_msrp::relay::{Bound, Named, Side};
use chappe_msrp::{OwnedUri, Uri};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::connection::Connection;

const SHARDS: usize = 64;
/// Connections that a dialled hop may use for its part, besides the one that we opened.
const WAYS: usize = 8;

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
    outside: Mutex<Outside>,
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

/// Who uses the URI from outside.
#[derive(Default)]
struct Outside {
    /// The first who did, as long as it is connected.
    peer: Option<Arc<Connection>>,
    /// What the host of a peer that we dialled has opened for its own requests. Chunks of several connections may be
    /// under way at once, so each has a stream of its own.
    ways: Vec<(Arc<Connection>, StreamKey)>,
}

impl Outside {
    /// The stream of what `connection` sends, if that is one of those.
    fn way(&self, connection: &Arc<Connection>) -> Option<StreamKey> {
        self.ways.iter().find(|(way, _)| Arc::ptr_eq(way, connection)).map(|(_, key)| *key)
    }

    fn may_join(&self, peer: &Connection, connection: &Connection) -> bool {
        self.ways.len() < WAYS && connection.is_beside(peer)
    }
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
            outside: Mutex::default(),
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
        stream(self.number, from)
    }

    /// How a frame that came on `connection` stands to the session. `behind`: it has passed another session of ours
    /// and so comes from outside, whoever's connection it is.
    pub(super) fn named(&self, connection: &Arc<Connection>, behind: bool, now: u64) -> Named<'_> {
        let outside = self.outside.lock();
        let bound = match &outside.peer {
            _ if outside.way(connection).is_some() => Bound::Here,
            None => Bound::Nowhere,
            Some(peer) if Arc::ptr_eq(peer, connection) || outside.may_join(peer, connection) => Bound::Here,
            Some(_) => Bound::Elsewhere,
        };
        drop(outside);
        Named {
            uri: self.uri.uri(),
            from_owner: !behind && Arc::ptr_eq(&self.owner, connection),
            bound,
            expired: self.has_ended() || self.expires.load(Ordering::Relaxed) <= now,
        }
    }

    pub(super) fn peer(&self) -> Option<Arc<Connection>> {
        self.outside.lock().peer.clone()
    }

    /// Binds the session to the first connection that uses it from outside, and to those that the host of that one has
    /// opened if we had dialled it. `numbers` names new streams. Gives the stream of what it sends; `None` if it is
    /// somebody else's.
    pub(super) fn bind(self: &Arc<Session>, connection: &Arc<Connection>, numbers: &AtomicU64) -> Option<StreamKey> {
        let mut outside = self.outside.lock();
        if let Some(key) = outside.way(connection) {
            return Some(key);
        }
        let key = match &outside.peer {
            Some(peer) if Arc::ptr_eq(peer, connection) => return Some(self.key(Side::Peer)),
            Some(peer) if outside.may_join(peer, connection) => {
                let key = stream(numbers.fetch_add(1, Ordering::Relaxed), Side::Peer);
                outside.ways.push((Arc::clone(connection), key));
                key
            }
            Some(_) => return None,
            None => {
                outside.peer = Some(Arc::clone(connection));
                self.key(Side::Peer)
            }
        };
        drop(outside);
        connection.add(self);
        Some(key)
    }

    /// Lets another connection use it, `connection` being gone. Gives the stream of what came on it.
    pub(super) fn unbind(&self, connection: &Arc<Connection>) -> Option<StreamKey> {
        let mut outside = self.outside.lock();
        if outside.peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, connection)) {
            outside.peer = None;
            return Some(self.key(Side::Peer));
        }
        let at = outside.ways.iter().position(|(way, _)| Arc::ptr_eq(way, connection))?;
        Some(outside.ways.swap_remove(at).1)
    }

    /// The streams of all that comes from outside.
    pub(super) fn keys_from_outside(&self) -> SmallVec<[StreamKey; 2]> {
        let outside = self.outside.lock();
        std::iter::once(self.key(Side::Peer)).chain(outside.ways.iter().map(|(_, key)| *key)).collect()
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

fn stream(number: u64, from: Side) -> StreamKey {
    StreamKey(number << 1 | u64::from(from == Side::Peer))
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
        let Outside { peer, ways } = std::mem::take(&mut *session.outside.lock());
        peer.iter().chain(ways.iter().map(|(way, _)| way)).for_each(|connection| connection.remove(session));
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
