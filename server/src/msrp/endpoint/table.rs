//! All sessions of our own, by their session-ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use chappe_msrp::Uri;
use parking_lot::Mutex;

use super::End;

const SHARDS: usize = 64;

type Table = HashMap<Box<str>, Arc<End>, RandomState>;

pub(in super::super) struct Ends {
    shards: Box<[Mutex<Table>]>,
    hasher: RandomState,
    count: AtomicUsize,
    /// Bytes held of messages that are not complete, or not answered, in all sessions.
    pub held: AtomicUsize,
}

impl Default for Ends {
    fn default() -> Self {
        Ends {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
        }
    }
}

impl Ends {
    pub(in super::super) fn find(&self, uri: &Uri<'_>) -> Option<Arc<End>> {
        let id = uri.session_id?;
        self.shard(id).lock().get(id).cloned()
    }

    /// Takes a session in, unless there are `max` already.
    pub(super) fn insert(&self, end: &Arc<End>, max: usize) -> bool {
        if self.count.fetch_add(1, Ordering::Relaxed) >= max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let uri = end.uri().uri();
        let id = uri.session_id.unwrap_or_default();
        self.shard(id).lock().insert(id.into(), Arc::clone(end));
        true
    }

    pub(super) fn remove(&self, end: &End) {
        let uri = end.uri().uri();
        let id = uri.session_id.unwrap_or_default();
        if self.shard(id).lock().remove(id).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(in super::super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// All of them, as they are now.
    pub(in super::super) fn all(&self) -> Vec<Arc<End>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn shard(&self, id: &str) -> &Mutex<Table> {
        &self.shards[self.hasher.hash_one(id) as usize % SHARDS]
    }
}
