//! Live bindings, in memory: the truth of the hot path. The store follows behind a refresh and ahead of a new binding.

use std::collections::HashMap;

use ahash::RandomState;
use chappe_sip::Flow;
use chappe_sip::registrar::Binding;
use chappe_store::Revision;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

const SHARDS: usize = 64;

type Shard = RwLock<HashMap<Box<str>, Entry, RandomState>>;

/// The AORs with a binding over each connection.
type Connections = HashMap<u64, SmallVec<[Box<str>; 1]>, RandomState>;

/// What is known of one AOR.
#[derive(Default)]
struct Entry {
    bindings: Vec<Binding>,
    /// Revision of the record in the store, for compare-and-set.
    stored: Revision,
}

/// Bindings by AOR, and which AORs hang on a connection.
pub struct Location {
    shards: Box<[Shard]>,
    /// AORs with a binding over that connection, so that its end finds them.
    connections: Box<[Mutex<Connections>]>,
    hasher: RandomState,
}

/// What the end of a flow or of time did to one AOR.
#[derive(Debug)]
pub struct Changed {
    pub aor: Box<str>,
    pub before: Vec<Binding>,
    pub after: Vec<Binding>,
}

impl Default for Location {
    fn default() -> Self {
        let hasher = RandomState::new();
        Location {
            shards: (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(hasher.clone()))).collect(),
            connections: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect(),
            hasher,
        }
    }
}

impl Location {
    /// Looks at the bindings of an AOR, expired and dormant ones included; none for one that is not registered.
    pub fn with<R>(&self, aor: &str, look: impl FnOnce(&[Binding]) -> R) -> R {
        let shard = self.shard(aor).read();
        look(shard.get(aor).map_or(&[], |e| &e.bindings))
    }

    /// Changes the bindings of an AOR, with nobody between. The number of connections per AOR is small, so their index
    /// is kept by comparing before and after.
    pub fn update<R>(&self, aor: &str, change: impl FnOnce(&mut Vec<Binding>) -> R) -> R {
        let mut shard = self.shard(aor).write();
        let Some(entry) = shard.get_mut(aor) else {
            let mut bindings = Vec::new();
            let result = change(&mut bindings);
            if !bindings.is_empty() {
                bindings.shrink_to_fit();
                self.reindex(aor, &[], &connections(&bindings));
                shard.insert(aor.into(), Entry { bindings, stored: Revision::NONE });
            }
            return result;
        };
        let before = connections(&entry.bindings);
        let result = change(&mut entry.bindings);
        self.reindex(aor, &before, &connections(&entry.bindings));
        if entry.bindings.is_empty() && entry.stored == Revision::NONE {
            shard.remove(aor);
        } else if entry.bindings.capacity() > entry.bindings.len() {
            entry.bindings.shrink_to_fit();
        }
        result
    }

    /// The bindings as they are now and the revision that the store had when last heard of.
    pub fn for_store(&self, aor: &str) -> (Revision, Vec<Binding>) {
        let shard = self.shard(aor).read();
        shard.get(aor).map_or((Revision::NONE, Vec::new()), |e| (e.stored, e.bindings.clone()))
    }

    /// Notes what revision the store has now.
    pub fn set_stored(&self, aor: &str, revision: Revision) {
        let mut shard = self.shard(aor).write();
        if let Some(entry) = shard.get_mut(aor) {
            entry.stored = revision;
            if entry.bindings.is_empty() && revision == Revision::NONE {
                shard.remove(aor);
            }
        }
    }

    /// Takes over what the store had at the start.
    pub fn load(&self, aor: Box<str>, revision: Revision, bindings: Vec<Binding>) {
        self.shard(&aor).write().insert(aor, Entry { bindings, stored: revision });
    }

    /// The connection of `flow` is gone: bindings over it become dormant where the device has a name that outlives
    /// its address, and go where it has none (RFC 5626 §4.4, and a 430 for what was under way).
    pub fn flow_closed(&self, flow: &Flow) -> Vec<Changed> {
        let aors = self.connection_shard(flow.connection).lock().remove(&flow.connection).unwrap_or_default();
        let mut changes = Vec::new();
        for aor in aors {
            self.update(&aor, |bindings| {
                let hit = |b: &Binding| b.flow.is_some_and(|f| f.connection == flow.connection);
                if !bindings.iter().any(hit) {
                    return;
                }
                let before = bindings.clone();
                bindings.retain(|b| !hit(b) || b.instance_id().is_some());
                for binding in bindings.iter_mut().filter(|b| hit(b)) {
                    (binding.flow, binding.dormant) = (None, true);
                }
                changes.push(Changed { aor: aor.clone(), before, after: bindings.clone() });
            });
        }
        changes
    }

    /// Removes the bindings of one part of all AORs that lapsed at `now`; `part` is taken modulo the number of parts. `look`
    /// sees each change (AOR, before, after) before anybody else does.
    pub fn expire(&self, part: usize, now: u64, mut look: impl FnMut(&str, &[Binding], &[Binding])) -> Vec<Changed> {
        let shard = &self.shards[part % SHARDS];
        let lapsed: Vec<Box<str>> = {
            let shard = shard.read();
            let lapsed = shard.iter().filter(|(_, e)| e.bindings.iter().any(|b| b.expires() <= now));
            lapsed.map(|(aor, _)| aor.clone()).collect()
        };
        let mut changes = Vec::new();
        for aor in lapsed {
            self.update(&aor, |bindings| {
                let before = bindings.clone();
                bindings.retain(|b| b.expires() > now);
                if bindings.len() < before.len() {
                    look(&aor, &before, bindings);
                    changes.push(Changed { aor: aor.clone(), before, after: bindings.clone() });
                }
            });
        }
        changes
    }

    /// Up to `limit` AORs in alphabetic order after the one named. Reads all: for operators, not for the hot path.
    pub fn page(&self, after: Option<&str>, limit: usize) -> Vec<(Box<str>, Vec<Binding>)> {
        let mut all: Vec<Box<str>> = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let registered = shard.iter().filter(|(_, e)| !e.bindings.is_empty()).map(|(aor, _)| aor);
            all.extend(registered.filter(|aor| after.is_none_or(|a| &***aor > a)).cloned());
        }
        all.sort_unstable();
        all.truncate(limit);
        let bindings = |aor: &str| self.with(aor, <[Binding]>::to_vec);
        all.into_iter()
            .map(|aor| {
                let found = bindings(&aor);
                (aor, found)
            })
            .collect()
    }

    /// (AORs, bindings).
    pub fn counts(&self) -> (u64, u64) {
        self.shards.iter().fold((0, 0), |(aors, bindings), shard| {
            let shard = shard.read();
            let registered = shard.values().filter(|e| !e.bindings.is_empty());
            registered.fold((aors, bindings), |(a, b), e| (a + 1, b + e.bindings.len() as u64))
        })
    }

    fn shard(&self, aor: &str) -> &Shard {
        &self.shards[self.hasher.hash_one(aor) as usize % SHARDS]
    }

    fn connection_shard(&self, connection: u64) -> &Mutex<Connections> {
        &self.connections[connection as usize % SHARDS]
    }

    fn reindex(&self, aor: &str, before: &[u64], after: &[u64]) {
        for gone in before.iter().filter(|c| !after.contains(c)) {
            let mut map = self.connection_shard(*gone).lock();
            if let Some(aors) = map.get_mut(gone) {
                aors.retain(|a| &**a != aor);
                if aors.is_empty() {
                    map.remove(gone);
                }
            }
        }
        for new in after.iter().filter(|c| !before.contains(c)) {
            let mut map = self.connection_shard(*new).lock();
            let aors = map.entry(*new).or_default();
            if !aors.iter().any(|a| &**a == aor) {
                aors.push(aor.into());
            }
        }
    }
}

fn connections(bindings: &[Binding]) -> SmallVec<[u64; 4]> {
    bindings.iter().filter_map(|b| b.flow).map(|f| f.connection).filter(|c| *c != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_sip::Transport;
    use chappe_sip::registrar::Parts;

    fn binding(contact: &str, instance: Option<&str>, connection: u64, expires: u64) -> Binding {
        let remote = "192.0.2.1:5060".parse().unwrap();
        let flow = Some(Flow { transport: Transport::Tcp, listener: 0, connection, remote });
        let parts = Parts { contact, instance_id: instance, call_id: "c", cseq: 1, flow, expires, ..Parts::default() };
        Binding::new(parts).unwrap()
    }

    fn set(location: &Location, aor: &str, bindings: &[Binding]) {
        location.update(aor, |b| *b = bindings.to_vec());
    }

    #[test]
    fn the_end_of_a_connection_reaches_its_bindings_only() {
        let location = Location::default();
        let named = binding("sip:a", Some("urn:uuid:1"), 7, 100);
        let nameless = binding("sip:b", None, 7, 100);
        let elsewhere = binding("sip:c", None, 8, 100);
        set(&location, "u@d", &[named.clone(), nameless, elsewhere.clone()]);
        set(&location, "v@d", std::slice::from_ref(&elsewhere));
        let changes = location.flow_closed(&named.flow.unwrap());
        assert_eq!(changes.len(), 1);
        let mut asleep = named.clone();
        (asleep.flow, asleep.dormant) = (None, true);
        assert_eq!(changes[0].after, [asleep, elsewhere.clone()]);
        assert!(location.flow_closed(&named.flow.unwrap()).is_empty());
        assert_eq!(location.flow_closed(&elsewhere.flow.unwrap()).len(), 2);
        assert_eq!(location.counts(), (1, 1));
    }

    #[test]
    fn a_device_that_moved_is_not_hit_by_the_end_of_its_old_connection() {
        let location = Location::default();
        let old = binding("sip:a", Some("urn:uuid:1"), 7, 100);
        let new = binding("sip:a2", Some("urn:uuid:1"), 9, 100);
        set(&location, "u@d", std::slice::from_ref(&old));
        set(&location, "u@d", std::slice::from_ref(&new));
        assert!(location.flow_closed(&old.flow.unwrap()).is_empty());
        assert_eq!(location.with("u@d", <[Binding]>::to_vec), [new]);
    }

    /// What a phone costs that registers over UDP: its contact, Call-ID and User-Agent are 100 bytes, its AOR 20.
    #[test]
    fn a_binding_takes_few_bytes() {
        const USERS: usize = 10_000;
        let location = Location::default();
        let used = allocation_counter::measure(|| {
            for n in 0..USERS {
                let phone = Binding::new(Parts {
                    contact: &format!("sip:user{n:06}@192.0.2.7:{:05};ob", n % 60_000),
                    call_id: &format!("{n:032x}"),
                    cseq: 1,
                    flow: binding("", None, 0, 0).flow,
                    registered: 1_750_000_000,
                    expires: 1_750_003_600,
                    user_agent: "Example Phone/1.2.3 (test)",
                    ..Parts::default()
                });
                location.update(&format!("user{n:06}@example.org"), |bindings| bindings.push(phone.unwrap()));
            }
        });
        let each = used.bytes_current as usize / USERS;
        assert!((200..=320).contains(&each), "{each} bytes");
        assert_eq!(used.count_current as usize / USERS, 3, "the AOR, the list, the text");
    }

    #[test]
    fn bindings_lapse() {
        let location = Location::default();
        for n in 0..100 {
            set(
                &location,
                &format!("u{n}@d"),
                &[binding("sip:a", None, n + 1, 10 + n), binding("sip:b", None, n + 1, 500)],
            );
        }
        let changed: usize = (0..SHARDS).map(|part| location.expire(part, 59, |_, _, _| ()).len()).sum();
        assert_eq!((changed, location.counts()), (50, (100, 150)));
        let changed: usize = (0..SHARDS).map(|part| location.expire(part, 500, |_, _, _| ()).len()).sum();
        assert_eq!((changed, location.counts()), (100, (0, 0)));
        assert_eq!(location.page(None, 10).len(), 0);
    }
}
