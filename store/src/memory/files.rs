//! Uploaded files in a map.

use super::{Memory, past};
use crate::StoreError;
use crate::file::{Added, ContentHash, FileUsage, Files, StoredFile};

#[async_trait::async_trait]
impl Files for Memory {
    async fn add(&self, file: StoredFile, quota: u64) -> Result<Added, StoreError> {
        let mut state = self.state.lock();
        let of_owner = state.files.values().filter(|other| other.owner == file.owner && other.id != file.id);
        let used: u64 = of_owner.map(StoredFile::charge).sum();
        if used.saturating_add(file.charge()) > quota {
            return Ok(Added::OverQuota { used });
        }
        state.files.insert(file.id.clone(), file);
        Ok(Added::Stored)
    }

    async fn file(&self, id: &str) -> Result<Option<StoredFile>, StoreError> {
        Ok(self.state.lock().files.get(id).cloned())
    }

    async fn of_transfer(&self, tid: &str) -> Result<Option<StoredFile>, StoreError> {
        let state = self.state.lock();
        let of_tid = state.files.values().filter(|file| file.tid.as_deref() == Some(tid));
        Ok(of_tid.max_by_key(|file| (file.created, file.id.clone())).cloned())
    }

    async fn usage(&self, owner: Option<&str>) -> Result<FileUsage, StoreError> {
        let state = self.state.lock();
        let counted = state.files.values().filter(|file| owner.is_none_or(|owner| *file.owner == *owner));
        Ok(counted.fold(FileUsage::default(), |usage, file| FileUsage {
            files: usage.files + 1,
            bytes: usage.bytes + file.charge(),
        }))
    }

    async fn list(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredFile>, StoreError> {
        let state = self.state.lock();
        let files = state.files.range(past(after)).map(|(_, file)| file);
        Ok(files.filter(|file| owner.is_none_or(|owner| *file.owner == *owner)).take(limit).cloned().collect())
    }

    async fn expired(&self, now: u64, limit: usize) -> Result<Vec<StoredFile>, StoreError> {
        let state = self.state.lock();
        Ok(state.files.values().filter(|file| file.expires <= now).take(limit).cloned().collect())
    }

    async fn remove(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.state.lock().files.remove(id).is_some())
    }

    async fn needed(&self, hashes: &[ContentHash]) -> Result<Vec<bool>, StoreError> {
        let state = self.state.lock();
        let needs = |hash: &ContentHash| state.files.values().any(|file| file.hashes().any(|other| other == *hash));
        Ok(hashes.iter().map(needs).collect())
    }
}
