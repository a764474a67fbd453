//! Devices of users that are not registered now, but were not long ago: what arrives meanwhile is kept for them by name.
//!
//! A device that is registered is known by its binding, so only the others take memory here. Who looks at the bindings of
//! an AOR and at this does both in one look at `Location`, as changes are made there: a device is always in one of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use chappe_chat::Capabilities;
use chappe_sip::registrar::Binding;
use chappe_store::{Device, Seen};
use parking_lot::Mutex;
use smallvec::SmallVec;

const SHARDS: usize = 16;
/// Devices of one user that are kept for: clients that make up a new name each time leave many behind.
const MOST: usize = 8;

/// A device that is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    pub device: Box<str>,
    /// It shows what its user has sent from other devices.
    pub own_copies: bool,
    /// When it was last registered, in seconds since the epoch.
    since: u64,
}

type Devices = HashMap<Box<str>, SmallVec<[Away; 1]>, RandomState>;

/// By AOR.
pub struct AwayDevices {
    shards: Box<[Mutex<Devices>]>,
    hasher: RandomState,
    count: AtomicUsize,
    /// For how many seconds a device is kept; 0: not at all.
    retention: u64,
}

impl AwayDevices {
    pub fn new(retention: u64) -> AwayDevices {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        AwayDevices { shards, hasher: RandomState::new(), count: AtomicUsize::new(0), retention }
    }

    /// The bindings of an AOR have changed. Gives what the store is to note: devices that came, and those that went.
    pub fn changed(&self, aor: &str, before: &[Binding], after: &[Binding], now: u64) -> SmallVec<[Seen; 2]> {
        let mut noted = SmallVec::new();
        if self.retention == 0 {
            return noted;
        }
        let has = |bindings: &[Binding], device: &str| bindings.iter().any(|binding| binding.device() == device);
        for binding in before.iter().filter(|binding| binding.instance_id().is_some()) {
            if !has(after, binding.device()) {
                // One that lapsed was not seen for longer.
                let at = now.min(binding.expires());
                let own_copies = shows_own(binding.params(), binding.user_agent());
                self.put(aor, Away { device: binding.device().into(), own_copies, since: at }, now);
                noted.push(seen(aor, binding, at));
            }
        }
        for binding in after.iter().filter(|binding| binding.instance_id().is_some()) {
            if !has(before, binding.device()) {
                self.take(aor, binding.device());
                noted.push(seen(aor, binding, now));
            }
        }
        noted
    }

    /// Takes over what the store had at the start; devices that are registered are not to be given.
    pub fn load(&self, aor: &str, known: Device, now: u64) {
        let own_copies = shows_own(&known.params, &known.user_agent);
        self.put(aor, Away { device: known.device, own_copies, since: known.last_seen }, now);
    }

    /// Those of a user.
    pub fn of(&self, aor: &str, now: u64) -> SmallVec<[Away; 1]> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return SmallVec::new();
        }
        let shard = self.shard(aor).lock();
        let known = shard.get(aor).map_or(&[][..], |devices| devices);
        known.iter().filter(|away| away.since + self.retention > now).cloned().collect()
    }

    /// One device is not waited for any more.
    pub fn forget(&self, aor: &str, device: &str) {
        self.take(aor, device);
    }

    /// The account is gone.
    pub fn remove(&self, aor: &str) {
        let gone = self.shard(aor).lock().remove(aor).map_or(0, |devices| devices.len());
        self.count.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Forgets those that were away for too long. Gives from when on devices are kept.
    pub fn expire(&self, now: u64) -> u64 {
        let before = now.saturating_sub(self.retention);
        for shard in &self.shards {
            shard.lock().retain(|_, devices| {
                let had = devices.len();
                devices.retain(|away| away.since > before);
                self.count.fetch_sub(had - devices.len(), Ordering::Relaxed);
                !devices.is_empty()
            });
        }
        before
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn put(&self, aor: &str, away: Away, now: u64) {
        if away.since + self.retention <= now {
            return;
        }
        let mut shard = self.shard(aor).lock();
        let devices = shard.entry(aor.into()).or_default();
        let had = devices.len();
        devices.retain(|known| known.device != away.device);
        devices.push(away);
        // Those that were there last stay.
        devices.sort_by_key(|known| std::cmp::Reverse(known.since));
        devices.truncate(MOST);
        self.count.fetch_add(devices.len(), Ordering::Relaxed);
        self.count.fetch_sub(had, Ordering::Relaxed);
    }

    fn take(&self, aor: &str, device: &str) {
        let mut shard = self.shard(aor).lock();
        let Some(devices) = shard.get_mut(aor) else { return };
        let had = devices.len();
        devices.retain(|known| *known.device != *device);
        self.count.fetch_sub(had - devices.len(), Ordering::Relaxed);
        if devices.is_empty() {
            shard.remove(aor);
        }
    }

    fn shard(&self, aor: &str) -> &Mutex<Devices> {
        &self.shards[self.hasher.hash_one(aor) as usize % SHARDS]
    }
}

fn shows_own(params: &str, user_agent: &str) -> bool {
    Capabilities::of(params, user_agent).takes_own_copies()
}

fn seen(aor: &str, binding: &Binding, at: u64) -> Seen {
    Seen {
        aor: aor.into(),
        device: binding.device().into(),
        at,
        params: binding.params().into(),
        user_agent: binding.user_agent().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_sip::registrar::Parts;

    fn binding(instance: Option<&str>, expires: u64) -> Binding {
        let parts =
            Parts { contact: "sip:a", instance_id: instance, call_id: "c", cseq: 1, expires, ..Parts::default() };
        Binding::new(parts).unwrap()
    }

    fn names(away: &AwayDevices, now: u64) -> Vec<String> {
        away.of("u@d", now).into_iter().map(|one| one.device.into()).collect()
    }

    #[test]
    fn a_device_is_away_from_the_end_of_its_binding_to_the_next() {
        let away = AwayDevices::new(100);
        let (phone, nameless) = (binding(Some("urn:uuid:1"), 2000), binding(None, 2000));
        let device = phone.device().to_owned();
        let noted = away.changed("u@d", &[], &[phone.clone(), nameless.clone()], 1000);
        assert_eq!((noted.len(), noted[0].at, names(&away, 1000)), (1, 1000, vec![]));
        let noted = away.changed("u@d", &[phone.clone(), nameless.clone()], std::slice::from_ref(&nameless), 1500);
        assert_eq!((noted.len(), noted[0].at), (1, 1500));
        assert_eq!(names(&away, 1599), std::slice::from_ref(&device));
        assert_eq!(names(&away, 1600), [] as [&str; 0], "after its time");
        away.changed("u@d", &[], std::slice::from_ref(&phone), 1550);
        assert_eq!((names(&away, 1550), away.count()), (vec![], 0), "it is back");
        // The binding of one that is gone is found late.
        away.changed("u@d", &[phone], &[], 2090);
        assert_eq!((names(&away, 2099), names(&away, 2100)), (vec![device], vec![]));
        assert_eq!((away.expire(2100), away.count()), (2000, 0));
    }

    #[test]
    fn the_last_few_are_kept_and_none_where_none_is_wanted() {
        let away = AwayDevices::new(100);
        for n in 0..20 {
            away.changed("u@d", &[binding(Some(&format!("urn:uuid:{n}")), 9000)], &[], 1000 + n);
        }
        let kept = names(&away, 1020);
        assert_eq!((kept.len(), away.count()), (MOST, MOST));
        assert!(kept[0].contains("19") && kept[MOST - 1].contains("12"), "{kept:?}");
        away.remove("u@d");
        assert_eq!((names(&away, 1020), away.count()), (vec![], 0));
        let none = AwayDevices::new(0);
        assert!(none.changed("u@d", &[binding(Some("urn:uuid:1"), 9000)], &[], 1000).is_empty());
        assert_eq!(names(&none, 1000), [] as [&str; 0]);
    }
}
