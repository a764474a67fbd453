//! Tokens that their services called dead. They are not pushed to again, not after a restart either: who keeps trying is
//! taken for a spammer by the services. Why a file of its own: docs/decisions/0100.

use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chappe_push::Target;
use parking_lot::Mutex;
use ring::digest::{Context as Hash, SHA256};

/// Tokens that are remembered; of more the oldest are forgotten.
const MOST: usize = 200_000;
/// Characters of a digest.
const LENGTH: usize = 43;

type Digest = [u8; 32];

/// The dead. Only digests are kept: a token is a secret, and may tell of a person.
pub struct Dead {
    known: Mutex<Known>,
    file: Arc<Mutex<File>>,
}

#[derive(Default)]
struct Known {
    digests: HashSet<Digest>,
    order: VecDeque<Digest>,
}

impl Known {
    /// False for one that was there.
    fn add(&mut self, digest: Digest) -> bool {
        if !self.digests.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        true
    }
}

impl Dead {
    /// Reads those of former times; the file is in the data directory.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(directory: &Path) -> anyhow::Result<Dead> {
        let path = directory.join("push.dead");
        let failed = || format!("the dead push tokens in {}", path.display());
        let mut text = String::new();
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).with_context(failed)?;
        file.read_to_string(&mut text).with_context(failed)?;
        let mut known = Known::default();
        let mut lines = 0;
        for line in text.lines() {
            lines += 1;
            // A line that the end of the machine cut off is none.
            let digest =
                Some(line).filter(|line| line.len() == LENGTH).and_then(|line| URL_SAFE_NO_PAD.decode(line).ok());
            if let Some(digest) = digest.and_then(|digest| digest.try_into().ok()) {
                known.add(digest);
            }
        }
        if lines > known.order.len() {
            file = rewritten(&path, &known).with_context(failed)?;
        }
        Ok(Dead { known: Mutex::new(known), file: Arc::new(Mutex::new(file)) })
    }

    pub fn contains(&self, target: &Target) -> bool {
        let known = self.known.lock();
        !known.digests.is_empty() && known.digests.contains(&digest(target))
    }

    /// Not to be used any more, from now on; it is on disk once the task that this gives is done.
    pub fn bury(&self, target: &Target) -> Option<tokio::task::JoinHandle<()>> {
        let digest = digest(target);
        self.known.lock().add(digest).then(|| {
            let file = Arc::clone(&self.file);
            tokio::task::spawn_blocking(move || {
                let line = format!("{}\n", URL_SAFE_NO_PAD.encode(digest));
                let mut file = file.lock();
                if let Err(error) = file.write_all(line.as_bytes()).and_then(|()| file.sync_data()) {
                    tracing::error!(%error, "a dead push token could not be written down: a restart forgets it");
                }
            })
        })
    }
}

/// The same without the oldest and without what was cut off.
fn rewritten(path: &PathBuf, known: &Known) -> std::io::Result<File> {
    let text: String = known.order.iter().map(|digest| URL_SAFE_NO_PAD.encode(digest) + "\n").collect();
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    OpenOptions::new().append(true).open(path)
}

fn digest(target: &Target) -> Digest {
    let mut hash = Hash::new(&SHA256);
    for part in [&target.provider, &target.param, &target.prid] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(prid: &str) -> Target {
        Target { provider: "fcm".into(), param: "p".into(), prid: prid.into() }
    }

    #[tokio::test]
    async fn the_dead_stay_dead() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("push.dead");
        let dead = Dead::open(directory.path()).unwrap();
        assert!(!dead.contains(&target("a")));
        for prid in ["a", "b"] {
            dead.bury(&target(prid)).unwrap().await.unwrap();
        }
        assert!(dead.bury(&target("a")).is_none(), "it is known");
        assert!(!std::fs::read_to_string(&path).unwrap().contains("fcm"), "digests only");
        // The machine died while the next was written.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"cut-o").unwrap();
        drop(dead);
        let dead = Dead::open(directory.path()).unwrap();
        dead.bury(&target("c")).unwrap().await.unwrap();
        drop(dead);
        let dead = Dead::open(directory.path()).unwrap();
        assert_eq!(["a", "b", "c", "d"].map(|prid| dead.contains(&target(prid))), [true, true, true, false]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut known = Known::default();
        for n in 0..=MOST {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            assert!(known.add(digest));
        }
        assert_eq!((known.digests.len(), known.digests.contains(&[0; 32])), (MOST, false));
    }
}
