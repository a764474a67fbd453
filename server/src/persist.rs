//! Bindings on their way to the store: new ones before their 200, refreshes some seconds behind, as are the devices that
//! came and went.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ahash::RandomState;
use chappe_store::{Devices, LocationStore, Revision, Seen, StoreError, Stores};
use parking_lot::Mutex;

use crate::location::Location;

/// Attempts at a compare-and-set before giving up; another writer (a second node, an operator) is rare.
const ATTEMPTS: usize = 16;
/// AORs in one batch of refreshes.
const BATCH: usize = 512;

/// Devices by AOR and name.
type Noted = HashMap<(Box<str>, Box<str>), Seen, RandomState>;

/// Writes what [`Location`] has.
pub struct Persist {
    store: Arc<dyn LocationStore>,
    devices: Arc<dyn Devices>,
    location: Arc<Location>,
    /// AORs whose refreshes are not on disk.
    dirty: Mutex<HashSet<Box<str>, RandomState>>,
    /// Devices that came or went, by AOR and name: the latest word of each.
    seen: Mutex<Noted>,
}

impl Persist {
    pub fn new(stores: &Stores, location: Arc<Location>) -> Persist {
        let (store, devices) = (Arc::clone(&stores.locations), Arc::clone(&stores.devices));
        Persist { store, devices, location, dirty: Mutex::default(), seen: Mutex::default() }
    }

    /// Puts the present bindings of an AOR on disk. Whoever writes last writes the latest, for the bindings are read
    /// again after a lost race.
    pub async fn now(&self, aor: &str) -> Result<(), StoreError> {
        let (mut seen, mut bindings) = self.location.for_store(aor);
        for _ in 0..ATTEMPTS {
            match self.store.replace(aor, seen, &bindings).await {
                Ok(revision) => {
                    self.location.set_stored(aor, revision);
                    return Ok(());
                }
                Err(StoreError::Conflict) => {
                    seen = self.store.bindings(aor).await?.0;
                    bindings = self.location.for_store(aor).1;
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Notes that an AOR was refreshed, or lost bindings that lapsed.
    pub fn later(&self, aor: &str) {
        let mut dirty = self.dirty.lock();
        if !dirty.contains(aor) {
            dirty.insert(aor.into());
        }
    }

    /// Notes devices that came or went.
    pub fn seen(&self, devices: impl IntoIterator<Item = Seen>) {
        for seen in devices {
            self.seen.lock().insert((seen.aor.clone(), seen.device.clone()), seen);
        }
    }

    pub fn waiting(&self) -> usize {
        self.dirty.lock().len() + self.seen.lock().len()
    }

    /// Writes all that was noted. What fails stays noted.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let seen: Vec<Seen> = self.seen.lock().drain().map(|(_, seen)| seen).collect();
        if !seen.is_empty()
            && let Err(error) = self.devices.seen(seen.clone()).await
        {
            let mut noted = self.seen.lock();
            for seen in seen {
                // What was noted meanwhile is newer.
                noted.entry((seen.aor.clone(), seen.device.clone())).or_insert(seen);
            }
            return Err(error);
        }
        let mut dirty: Vec<Box<str>> = self.dirty.lock().drain().collect();
        while !dirty.is_empty() {
            let batch: Vec<Box<str>> = dirty.drain(dirty.len().saturating_sub(BATCH)..).collect();
            let rows = batch.iter().map(|aor| (aor.clone(), self.location.for_store(aor).1)).collect();
            if let Err(error) = self.store.save(rows).await {
                self.dirty.lock().extend(batch.into_iter().chain(dirty));
                return Err(error);
            }
            for aor in batch.iter().filter(|aor| self.location.with(aor, <[_]>::is_empty)) {
                self.location.set_stored(aor, Revision::NONE);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_sip::registrar::{Binding, Parts};

    fn binding(contact: &str) -> Binding {
        let parts = Parts { contact, call_id: "c", cseq: 1, registered: 1, expires: 2, ..Parts::default() };
        Binding::new(parts).unwrap()
    }

    #[tokio::test]
    async fn the_latest_bindings_win_over_a_foreign_writer() {
        let stores = chappe_store::Stores::memory();
        let location = Arc::new(Location::default());
        let persist = Persist::new(&stores, Arc::clone(&location));
        location.update("u@d", |b| b.push(binding("sip:a")));
        persist.now("u@d").await.unwrap();
        let (seen, _) = stores.locations.bindings("u@d").await.unwrap();
        stores.locations.replace("u@d", seen, &[binding("sip:foreign")]).await.unwrap();
        location.update("u@d", |b| b.push(binding("sip:b")));
        persist.now("u@d").await.unwrap();
        let (_, stored) = stores.locations.bindings("u@d").await.unwrap();
        assert_eq!(stored, [binding("sip:a"), binding("sip:b")]);
    }

    #[tokio::test]
    async fn refreshes_follow_behind() {
        let stores = chappe_store::Stores::memory();
        let location = Arc::new(Location::default());
        let persist = Persist::new(&stores, Arc::clone(&location));
        for n in 0..BATCH + 5 {
            let aor = format!("u{n}@d");
            location.update(&aor, |b| b.push(binding("sip:a")));
            persist.later(&aor);
            persist.later(&aor);
        }
        assert_eq!(persist.waiting(), BATCH + 5);
        persist.flush().await.unwrap();
        assert_eq!(persist.waiting(), 0);
        assert_eq!(stores.locations.scan(None, 10_000).await.unwrap().len(), BATCH + 5);
    }

    #[tokio::test]
    async fn the_latest_word_of_a_device_is_written_once() {
        let stores = chappe_store::Stores::memory();
        let persist = Persist::new(&stores, Arc::default());
        let seen = |at| Seen { aor: "u@d".into(), device: "1".into(), at, params: "".into(), user_agent: "".into() };
        persist.seen((1..=5).map(seen));
        assert_eq!(persist.waiting(), 1);
        persist.flush().await.unwrap();
        assert_eq!((persist.waiting(), stores.devices.of("u@d").await.unwrap()[0].last_seen), (0, 5));
    }
}
