//! Documents in memory.

use std::collections::BTreeMap;

use super::Memory;
use crate::StoreError;
use crate::document::{Document, DocumentError, DocumentHead, DocumentKey, DocumentWrite, Documents};

#[derive(Debug, Default)]
pub(super) struct Shelf {
    documents: BTreeMap<DocumentKey, Document>,
    /// The latest first.
    versions: BTreeMap<DocumentKey, Vec<Document>>,
    /// By usage and name.
    claims: BTreeMap<(Box<str>, Box<str>), DocumentKey>,
}

fn head(key: &DocumentKey, document: &Document) -> DocumentHead {
    DocumentHead {
        key: key.clone(),
        etag: document.etag.clone(),
        modified: document.modified,
        size: document.text.len() as u64,
    }
}

#[async_trait::async_trait]
impl Documents for Memory {
    async fn write(&self, write: DocumentWrite) -> Result<(), DocumentError> {
        let shelf = &mut self.state.lock().shelf;
        let DocumentWrite { key, seen, next, at: _, claims, keep, most_documents, most_bytes } = write;
        let current = shelf.documents.get(&key);
        if current.map(|document| &document.etag) != seen.as_ref() {
            return Err(DocumentError::Changed);
        }
        if let Some(next) = &next {
            let others = shelf.documents.iter().filter(|(other, _)| other.owner == key.owner && **other != key);
            let (count, bytes) = others.fold((0, 0), |(count, bytes), (_, d)| (count + 1, bytes + d.text.len() as u64));
            if count + 1 > most_documents && current.is_none() {
                return Err(DocumentError::TooMany);
            }
            let before = current.map_or(0, |document| document.text.len());
            if bytes + next.text.len() as u64 > most_bytes && next.text.len() > before {
                return Err(DocumentError::TooLarge);
            }
        }
        if let Some(claims) = claims {
            let name = |value: &str| (key.auid.clone(), Box::from(value));
            let other = |value: &str| shelf.claims.get(&name(value)).is_some_and(|owner| *owner != key);
            let taken: Vec<Box<str>> = claims.iter().filter(|value| other(value)).cloned().collect();
            if !taken.is_empty() {
                return Err(DocumentError::Taken(taken));
            }
            shelf.claims.retain(|_, owner| *owner != key);
            if next.is_some() {
                shelf.claims.extend(claims.iter().map(|value| (name(value), key.clone())));
            }
        }
        let before = match next {
            Some(next) => shelf.documents.insert(key.clone(), next),
            None => shelf.documents.remove(&key),
        };
        if let Some(before) = before {
            let versions = shelf.versions.entry(key).or_default();
            versions.insert(0, before);
            versions.truncate(keep);
        }
        Ok(())
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<Document>, StoreError> {
        Ok(self.state.lock().shelf.documents.get(key).cloned())
    }

    async fn of_owner(&self, owner: &str) -> Result<Vec<DocumentHead>, StoreError> {
        let shelf = &self.state.lock().shelf;
        let mine = shelf.documents.iter().filter(|(key, _)| *key.owner == *owner);
        Ok(mine.map(|(key, document)| head(key, document)).collect())
    }

    async fn named(
        &self,
        auid: &str,
        name: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, Document)>, StoreError> {
        let shelf = &self.state.lock().shelf;
        let fits = |key: &DocumentKey| {
            *key.auid == *auid && *key.name == *name && after.is_none_or(|after| *key.owner > *after)
        };
        let found = shelf.documents.iter().filter(|(key, _)| fits(key)).take(limit);
        Ok(found.map(|(key, document)| (key.owner.clone(), document.clone())).collect())
    }

    async fn taken(&self, auid: &str, names: &[Box<str>]) -> Result<Vec<bool>, StoreError> {
        let shelf = &self.state.lock().shelf;
        Ok(names.iter().map(|name| shelf.claims.contains_key(&(auid.into(), name.clone()))).collect())
    }

    async fn versions(&self, key: &DocumentKey) -> Result<Vec<DocumentHead>, StoreError> {
        let shelf = &self.state.lock().shelf;
        Ok(shelf.versions.get(key).into_iter().flatten().map(|document| head(key, document)).collect())
    }

    async fn version(&self, key: &DocumentKey, etag: &str) -> Result<Option<Document>, StoreError> {
        let shelf = &self.state.lock().shelf;
        Ok(shelf.versions.get(key).into_iter().flatten().find(|document| *document.etag == *etag).cloned())
    }

    async fn remove_owner(&self, owner: &str) -> Result<u64, StoreError> {
        let shelf = &mut self.state.lock().shelf;
        let before = shelf.documents.len();
        shelf.documents.retain(|key, _| *key.owner != *owner);
        shelf.versions.retain(|key, _| *key.owner != *owner);
        shelf.claims.retain(|_, key| *key.owner != *owner);
        Ok((before - shelf.documents.len()) as u64)
    }
}
