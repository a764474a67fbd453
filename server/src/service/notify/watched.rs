//! Which resources are watched, and from where.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use parking_lot::Mutex;

/// Where a subscription lives: its shard and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub cell: usize,
    pub id: u64,
}

type ByResource = HashMap<Box<str>, Vec<Place>, RandomState>;

/// The subscriptions to each resource of each package.
#[derive(Default)]
pub struct Watched {
    packages: Mutex<Vec<(&'static str, ByResource)>>,
    count: AtomicUsize,
}

impl Watched {
    /// Subscriptions that live.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The subscriptions of a package to one resource.
    pub fn of(&self, package: &str, resource: &str) -> Vec<Place> {
        if self.count() == 0 {
            return Vec::new();
        }
        let packages = self.packages.lock();
        let found = packages.iter().find(|(name, _)| *name == package);
        found.and_then(|(_, resources)| resources.get(resource)).cloned().unwrap_or_default()
    }

    /// Adds a subscription to each of its resources; adds nothing where one of them has `limit` already.
    pub(super) fn add(&self, package: &'static str, resources: &[Box<str>], place: Place, limit: usize) -> bool {
        let mut packages = self.packages.lock();
        let at = packages.iter().position(|(name, _)| *name == package).unwrap_or_else(|| {
            packages.push((package, ByResource::default()));
            packages.len() - 1
        });
        let Some((_, by_resource)) = packages.get_mut(at) else { return false };
        if resources.iter().any(|r| by_resource.get(r).is_some_and(|places| places.len() >= limit)) {
            return false;
        }
        for resource in resources {
            by_resource.entry(resource.clone()).or_default().push(place);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    pub(super) fn remove(&self, package: &str, resources: &[Box<str>], place: Place) {
        let mut packages = self.packages.lock();
        let Some((_, by_resource)) = packages.iter_mut().find(|(name, _)| *name == package) else { return };
        for resource in resources {
            if let Some(places) = by_resource.get_mut(resource) {
                places.retain(|p| *p != place);
                if places.is_empty() {
                    by_resource.remove(resource);
                }
            }
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_watched_until_its_last_subscription_goes() {
        let watched = Watched::default();
        let [one, two] = [1, 2].map(|id| Place { cell: 0, id });
        let list: Vec<Box<str>> = vec!["a".into(), "b".into()];
        assert!(watched.add("presence", &list, one, 2));
        assert!(watched.add("presence", &["a".into()], two, 2));
        assert!(!watched.add("presence", &list, Place { cell: 1, id: 3 }, 2), "a has two");
        assert_eq!((watched.of("presence", "a"), watched.of("presence", "b")), (vec![one, two], vec![one]));
        assert_eq!((watched.of("reg", "a"), watched.count()), (vec![], 2));
        watched.remove("presence", &list, one);
        watched.remove("presence", &["a".into()], two);
        assert_eq!((watched.of("presence", "a"), watched.count()), (vec![], 0));
    }
}
