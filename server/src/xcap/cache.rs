//! Documents used lately, in two generations: when the younger is full, the older is forgotten and the younger grows old.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use chappe_store::{Document, DocumentKey};
use parking_lot::Mutex;

/// What is known of a document: that it is there, or not.
type Known = Option<Arc<Document>>;

/// Bytes that an entry takes beside its text.
const OVERHEAD: usize = 200;

#[derive(Default)]
struct Generations {
    young: HashMap<DocumentKey, Known, RandomState>,
    old: HashMap<DocumentKey, Known, RandomState>,
    bytes: usize,
}

pub(super) struct Cache {
    generations: Mutex<Generations>,
    /// Of one generation.
    most: usize,
}

impl Cache {
    pub(super) fn new(bytes: usize) -> Cache {
        Cache { generations: Mutex::default(), most: bytes / 2 }
    }

    /// `None`: it is not known whether there is one.
    pub(super) fn get(&self, key: &DocumentKey) -> Option<Known> {
        let generations = &mut *self.generations.lock();
        if let Some(known) = generations.young.get(key) {
            return Some(known.clone());
        }
        let known = generations.old.remove(key)?;
        generations.put(key.clone(), known.clone(), self.most);
        Some(known)
    }

    pub(super) fn put(&self, key: DocumentKey, known: Known) {
        let generations = &mut *self.generations.lock();
        generations.old.remove(&key);
        generations.put(key, known, self.most);
    }

    pub(super) fn forget(&self, owner: &str) {
        let generations = &mut *self.generations.lock();
        generations.old.retain(|key, _| *key.owner != *owner);
        generations.young.retain(|key, _| *key.owner != *owner);
        generations.bytes = generations.young.values().map(size).sum();
    }
}

impl Generations {
    fn put(&mut self, key: DocumentKey, known: Known, most: usize) {
        let size_now = size(&known);
        if size_now > most {
            self.bytes -= self.young.remove(&key).as_ref().map_or(0, size);
            return;
        }
        if self.bytes + size_now > most {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.old.remove(&key);
        self.bytes += size_now;
        self.bytes -= self.young.insert(key, known).as_ref().map_or(0, size);
    }
}

fn size(known: &Known) -> usize {
    OVERHEAD + known.as_ref().map_or(0, |document| document.text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> DocumentKey {
        DocumentKey { owner: format!("u{n}").into(), auid: "a".into(), name: "index".into() }
    }

    fn document(size: usize) -> Known {
        let text = "x".repeat(size).into();
        Some(Arc::new(Document { etag: "e".into(), modified: 0, text }))
    }

    #[test]
    fn what_is_used_stays() {
        let cache = Cache::new(10 * (OVERHEAD + 100));
        for n in 0..100 {
            cache.put(key(n), document(100));
            assert!(cache.get(&key(0)).is_some(), "{n}");
        }
        assert!(cache.get(&key(1)).is_none());
        let held = |generations: &Generations| generations.young.len() + generations.old.len();
        assert!(held(&cache.generations.lock()) <= 10);
    }

    #[test]
    fn what_is_not_there_is_known_too() {
        let cache = Cache::new(10_000);
        assert_eq!(cache.get(&key(1)), None);
        cache.put(key(1), None);
        assert_eq!(cache.get(&key(1)), Some(None));
        cache.put(key(1), document(1));
        assert!(cache.get(&key(1)).unwrap().is_some());
        cache.forget("u1");
        assert_eq!(cache.get(&key(1)), None);
        assert_eq!(cache.generations.lock().bytes, 0);
    }

    #[test]
    fn what_is_too_large_is_not_held_and_not_stale() {
        let cache = Cache::new(2000);
        cache.put(key(1), document(10));
        cache.put(key(1), document(5000));
        assert_eq!(cache.get(&key(1)), None);
        assert_eq!(cache.generations.lock().bytes, 0);
    }
}
