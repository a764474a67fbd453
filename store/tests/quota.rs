//! Many uploads and removals at a time: what the store says that a user has is what is there, and never over the quota.

use std::collections::BTreeMap;
use std::sync::Arc;

use chappe_store::{Added, ContentHash, FileUsage, StoredFile, StoredThumbnail, Stores};
use tokio::task::JoinSet;

const OWNERS: u64 = 16;
const TASKS: u64 = 64;
const QUOTA: u64 = 10_000;

/// xorshift
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One client of many: the files that it has added and not removed, by id, with owner and charge.
struct Client {
    number: u64,
    random: Random,
    made: u64,
    files: BTreeMap<String, (String, u64)>,
    /// Adds that were refused.
    refused: u64,
}

impl Client {
    async fn act(mut self, stores: Arc<Stores>, steps: u64) -> Client {
        for _ in 0..steps {
            // Where more is added than removed users stay at their quota.
            if self.random.below(100) < 60 {
                self.add(&stores).await;
            } else {
                self.remove(&stores).await;
            }
        }
        self
    }

    async fn add(&mut self, stores: &Stores) {
        let id = format!("{:02}-{:09}", self.number, self.made);
        self.made += 1;
        let owner = format!("u{}@d", self.random.below(OWNERS));
        let size = 1 + self.random.below(900);
        let hash = |random: &mut Random| ContentHash([random.below(40) as u8; 32]);
        let picture = StoredThumbnail { content_type: "image/png".into(), size: 7, hash: hash(&mut self.random) };
        let file = StoredFile {
            id: id.as_str().into(),
            owner: owner.as_str().into(),
            tid: None,
            name: "a".into(),
            content_type: "image/jpeg".into(),
            size,
            hash: hash(&mut self.random),
            thumbnail: Some(picture).filter(|_| size.is_multiple_of(3)),
            created: 1,
            expires: u64::MAX / 4,
        };
        let charge = file.charge();
        match stores.files.add(file, QUOTA).await.expect("the store works") {
            Added::Stored => {
                self.files.insert(id, (owner, charge));
            }
            Added::OverQuota { used } => {
                assert!(used <= QUOTA && used + charge > QUOTA, "{charge} more than {used} were refused");
                self.refused += 1;
            }
        }
    }

    async fn remove(&mut self, stores: &Stores) {
        let at = self.random.below(self.files.len().max(1) as u64) as usize;
        let Some(id) = self.files.keys().nth(at).cloned() else { return };
        assert!(stores.files.remove(&id).await.expect("the store works"), "{id} was gone");
        self.files.remove(&id);
    }
}

/// `rounds` times `TASKS` times `steps` changes; after each round everything is compared.
async fn agree(stores: Stores, seed: u64, rounds: u64, steps: u64) {
    let stores = Arc::new(stores);
    let new = |number| Client {
        number,
        random: Random((seed << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        made: 0,
        files: BTreeMap::new(),
        refused: 0,
    };
    let mut clients: Vec<Client> = (0..TASKS).map(new).collect();
    for round in 0..rounds {
        let mut running = JoinSet::new();
        for client in clients.drain(..) {
            running.spawn(client.act(Arc::clone(&stores), steps));
        }
        clients = running.join_all().await;
        let mut expected: BTreeMap<&str, FileUsage> = BTreeMap::new();
        for (owner, charge) in clients.iter().flat_map(|client| client.files.values()) {
            let usage = expected.entry(owner).or_default();
            (usage.files, usage.bytes) = (usage.files + 1, usage.bytes + charge);
        }
        let mut all = FileUsage::default();
        for owner in (0..OWNERS).map(|n| format!("u{n}@d")) {
            let usage = stores.files.usage(Some(&owner)).await.expect("the store works");
            let wanted = expected.get(owner.as_str()).copied().unwrap_or_default();
            assert_eq!(usage, wanted, "seed {seed}, round {round}: {owner}");
            assert!(usage.bytes <= QUOTA, "seed {seed}, round {round}: {owner} has {}", usage.bytes);
            (all.files, all.bytes) = (all.files + usage.files, all.bytes + usage.bytes);
        }
        assert_eq!(stores.files.usage(None).await.expect("the store works"), all, "seed {seed}, round {round}");
    }
    assert!(clients.iter().map(|client| client.refused).sum::<u64>() > 0, "seed {seed}: nobody was at the quota");
    let uploads: u64 = clients.iter().map(|client| client.made).sum();
    println!("{uploads} uploads");
}

async fn sqlite(dir: &tempfile::TempDir) -> Stores {
    Stores::open("sqlite:", dir.path()).await.expect("the store opens")
}

#[tokio::test]
async fn a_quota_does_not_drift_in_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    agree(Stores::open("memory:", dir.path()).await.expect("the store opens"), 1, 4, 50).await;
}

#[tokio::test]
async fn a_quota_does_not_drift_in_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    agree(sqlite(&dir).await, 2, 3, 20).await;
}

#[tokio::test]
#[ignore = "takes minutes; run by make soak"]
async fn a_quota_does_not_drift_in_a_million_uploads() {
    let dir = tempfile::tempdir().expect("a directory");
    agree(sqlite(&dir).await, 3, 100, 270).await;
}
