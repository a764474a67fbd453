//! What is over: files, uploads that nobody goes on with, contents that no file has.

use std::time::Duration;

use chappe_store::StoreError;

use super::Depot;
use crate::core::epoch_seconds;

/// Files that are removed in one go.
const PAGE: usize = 200;
/// How often expired files are looked for.
const EVERY: Duration = Duration::from_secs(30);
/// Looks for orphans come as often as this many of the others.
const ORPHANS: u32 = 120;

/// What a sweep has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub files: u64,
    pub uploads: u64,
    pub orphans: u64,
}

impl Depot {
    /// Sweeps for as long as the node runs, and at once what a crash has left.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(EVERY);
        for round in 0_u32.. {
            ticks.tick().await;
            let mut swept = match self.sweep(epoch_seconds()).await {
                Ok(swept) => swept,
                Err(error) => {
                    tracing::warn!(%error, "files: expired ones could not be removed");
                    continue;
                }
            };
            if round.is_multiple_of(ORPHANS) {
                match self.sweep_orphans().await {
                    Ok(orphans) => swept.orphans = orphans,
                    Err(error) => tracing::warn!(%error, "files: orphans could not be removed"),
                }
            }
            if swept != Swept::default() {
                tracing::info!(files = swept.files, uploads = swept.uploads, orphans = swept.orphans, "files swept");
            }
        }
    }

    /// Removes files that have expired at `now`, and gives up uploads that nobody has gone on with.
    pub async fn sweep(&self, now: u64) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        loop {
            let expired = self.inner.rows.expired(now, PAGE).await?;
            for file in &expired {
                swept.files += u64::from(self.inner.remove(file).await?);
            }
            if expired.len() < PAGE {
                break;
            }
        }
        self.inner.counters.expired.add(swept.files);
        let before = now.saturating_sub(self.inner.settings.resume.as_secs());
        for partial in self.inner.partials.all() {
            if !partial.is_written() && partial.touched() <= before && self.give_up(partial).await.is_ok() {
                swept.uploads += 1;
            }
        }
        Ok(swept)
    }

    /// Removes contents that no file has: what a crash left between their coming and the row of their file.
    pub async fn sweep_orphans(&self) -> Result<u64, StoreError> {
        let mut orphans = 0;
        for first_byte in 0..=u8::MAX {
            let hashes = self.inner.blobs.list(first_byte).await?;
            for page in hashes.chunks(PAGE) {
                let needed = self.inner.rows.needed(page).await?;
                for (hash, _) in page.iter().zip(needed).filter(|(_, needed)| !needed) {
                    // A file may have come meanwhile.
                    let _guards = self.inner.lock([*hash].into_iter()).await;
                    orphans += self.inner.drop_unneeded(&[*hash]).await?;
                }
            }
        }
        self.inner.counters.orphans.add(orphans);
        Ok(orphans)
    }
}
