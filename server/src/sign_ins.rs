//! Who is signed in, in memory; the store has the same (docs/decisions/0093).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ahash::RandomState;
use chappe_store::{SignIn, SignInKind, SignIns, StoreError};
use parking_lot::{Mutex, RwLock};

/// Sign-ins of one user; the one that was not seen for longest makes room.
const MOST: usize = 64;
/// Rows read at a time.
const PAGE: usize = 4096;
/// That it was seen is written down when it was last seen so many seconds before.
const SLACK: u64 = 600;

type Users = HashMap<Box<str>, Vec<SignIn>, RandomState>;

/// A user, and an id or a device.
type Name = (Box<str>, Box<str>);

/// Sign-ins by user.
pub struct SignInTable {
    store: Arc<dyn SignIns>,
    users: RwLock<Users>,
    /// Seen, and not written down yet.
    seen: Mutex<HashSet<Name, RandomState>>,
    /// By which sign-in devices have registered, by user and device: since the start.
    bound: Mutex<HashMap<Name, Box<str>, RandomState>>,
}

impl SignInTable {
    pub fn new(store: Arc<dyn SignIns>) -> SignInTable {
        SignInTable { store, users: RwLock::default(), seen: Mutex::default(), bound: Mutex::default() }
    }

    /// Takes over what the store has.
    ///
    /// # Errors
    /// The store.
    pub async fn load(&self) -> Result<(), StoreError> {
        let mut after: Option<Name> = None;
        loop {
            let from = after.as_ref().map(|(aor, id)| (&**aor, &**id));
            let page = self.store.sign_ins(from, PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|last| (last.aor.clone(), last.id.clone()));
            let mut users = self.users.write();
            page.into_iter().for_each(|one| users.entry(one.aor.clone()).or_default().push(one));
            if !full {
                return Ok(());
            }
        }
    }

    /// Of a user, those seen last first.
    pub fn of(&self, aor: &str) -> Vec<SignIn> {
        let mut found = self.users.read().get(aor).cloned().unwrap_or_default();
        found.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then(a.id.cmp(&b.id)));
        found
    }

    /// One that is good at `now`, in seconds since the epoch.
    pub fn find(&self, aor: &str, id: &str, now: u64) -> Option<SignIn> {
        let users = self.users.read();
        let found = users.get(aor)?.iter().find(|one| *one.id == *id)?;
        (found.expires == 0 || now < found.expires).then(|| found.clone())
    }

    /// Whether it is good; then it was seen.
    pub fn is_good(&self, aor: &str, id: &str, now: u64) -> bool {
        let Some(found) = self.find(aor, id, now) else { return false };
        if found.last_seen + SLACK <= now {
            if let Some(one) = self.users.write().get_mut(aor).and_then(|own| own.iter_mut().find(|one| *one.id == *id))
            {
                one.last_seen = now;
            }
            self.seen.lock().insert((aor.into(), id.into()));
        }
        true
    }

    /// Adds or replaces one, on disk first.
    ///
    /// # Errors
    /// The store; then nothing has changed.
    pub async fn put(&self, sign_in: SignIn) -> Result<(), StoreError> {
        self.store.put(sign_in.clone()).await?;
        let crowded = self.insert(sign_in);
        for (aor, id) in crowded {
            self.store.sign_out(&aor, Some(&id)).await?;
        }
        Ok(())
    }

    /// The same in memory only: whoever calls this has it written down.
    pub fn note(&self, sign_in: SignIn) {
        self.insert(sign_in);
    }

    fn insert(&self, sign_in: SignIn) -> Vec<Name> {
        let mut users = self.users.write();
        let own = users.entry(sign_in.aor.clone()).or_default();
        own.retain(|one| one.id != sign_in.id);
        own.push(sign_in);
        let mut crowded = Vec::new();
        while own.len() > MOST {
            let oldest = own.iter().enumerate().min_by_key(|(_, one)| one.last_seen).map(|(at, _)| at);
            crowded.extend(oldest.map(|at| own.swap_remove(at)).map(|gone| (gone.aor, gone.id)));
        }
        crowded
    }

    /// A device has registered by a sign-in.
    pub fn bound(&self, aor: &str, device: &str, id: &str) {
        self.bound.lock().insert((aor.into(), device.into()), id.into());
    }

    /// The sign-in that a device has registered by.
    pub fn behind(&self, aor: &str, device: &str) -> Option<Box<str>> {
        self.bound.lock().get(&(Box::from(aor), Box::from(device))).cloned()
    }

    /// Signs one out, or all of a user; gives those that were there.
    ///
    /// # Errors
    /// The store; then nobody may come in any more, until the next start.
    pub async fn sign_out(&self, aor: &str, id: Option<&str>) -> Result<Vec<SignIn>, StoreError> {
        let gone: Vec<SignIn> = {
            let mut users = self.users.write();
            let Some(own) = users.get_mut(aor) else { return Ok(Vec::new()) };
            let (gone, rest) = own.drain(..).partition(|one| id.is_none_or(|id| *one.id == *id));
            *own = rest;
            if own.is_empty() {
                users.remove(aor);
            }
            gone
        };
        self.bound.lock().retain(|(owner, _), own| **owner != *aor || id.is_some_and(|id| **own != *id));
        self.store.sign_out(aor, id).await?;
        Ok(gone)
    }

    /// Writes down who was seen, and forgets what is over; call it every minute or so.
    ///
    /// # Errors
    /// The store; then it is tried again the next time.
    pub async fn flush(&self, now: u64) -> Result<(), StoreError> {
        let seen: Vec<Name> = self.seen.lock().drain().collect();
        for (aor, id) in seen {
            let Some(found) = self.find(&aor, &id, now) else { continue };
            if let Err(error) = self.store.put(found).await {
                self.seen.lock().insert((aor, id));
                return Err(error);
            }
        }
        let over: Vec<Name> = {
            let users = self.users.read();
            let over = users.values().flatten().filter(|one| one.expires != 0 && one.expires <= now);
            over.map(|one| (one.aor.clone(), one.id.clone())).collect()
        };
        for (aor, id) in over {
            self.sign_out(&aor, Some(&id)).await?;
        }
        Ok(())
    }

    /// The store, for what is written behind.
    pub fn store(&self) -> Arc<dyn SignIns> {
        Arc::clone(&self.store)
    }
}

/// A device that was configured.
pub fn device(aor: &str, mark: &str, name: &str, now: u64) -> SignIn {
    SignIn {
        aor: aor.into(),
        id: mark.into(),
        kind: SignInKind::Device,
        name: name.into(),
        created: now,
        last_seen: now,
        expires: 0,
        turn: 0,
        scope: Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SignInTable {
        SignInTable::new(chappe_store::Stores::memory().sign_ins)
    }

    #[tokio::test]
    async fn what_is_signed_out_is_out_at_once_and_for_good() {
        let table = table();
        for id in ["1", "2"] {
            table.put(device("a@d", id, "Phone", 100)).await.unwrap();
        }
        assert!(table.is_good("a@d", "1", 100) && table.is_good("a@d", "2", 100) && !table.is_good("b@d", "1", 100));
        assert_eq!(table.sign_out("a@d", Some("1")).await.unwrap().len(), 1);
        assert!(!table.is_good("a@d", "1", 100));
        let again = SignInTable::new(table.store());
        again.load().await.unwrap();
        assert_eq!(again.of("a@d"), [device("a@d", "2", "Phone", 100)]);
        assert_eq!(table.sign_out("a@d", None).await.unwrap().len(), 1);
        assert_eq!(table.sign_out("a@d", None).await.unwrap(), []);
    }

    #[tokio::test]
    async fn seen_and_over() {
        let table = table();
        table.put(SignIn { expires: 2000, ..device("a@d", "1", "Tab", 100) }).await.unwrap();
        assert!(table.is_good("a@d", "1", 100 + SLACK) && !table.is_good("a@d", "1", 2000));
        table.flush(1000).await.unwrap();
        let again = SignInTable::new(table.store());
        again.load().await.unwrap();
        assert_eq!(again.of("a@d")[0].last_seen, 100 + SLACK);
        table.flush(2000).await.unwrap();
        assert_eq!(table.of("a@d"), []);
    }

    #[tokio::test]
    async fn the_one_unseen_for_longest_makes_room() {
        let table = table();
        for n in 0..=MOST {
            table.put(device("a@d", &n.to_string(), "x", 1000 + n as u64)).await.unwrap();
        }
        assert_eq!(table.of("a@d").len(), MOST);
        assert!(table.find("a@d", "0", 0).is_none() && table.find("a@d", "1", 0).is_some());
        assert_eq!(table.store().sign_ins(None, 1000).await.unwrap().len(), MOST);
    }
}
