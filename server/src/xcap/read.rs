//! Documents that the server makes itself, and what it reads across users.

use std::sync::Arc;

use chappe_imdn::date_time;
use chappe_store::{DocumentHead, DocumentKey, StoreError};
use chappe_xcap::usage::{self, DirectoryEntry, rcs};
use chappe_xcap::watch::Watch;
use chappe_xcap::{DocumentSelector, canonical_xui};

use super::edit::Failed;
use super::{Xcap, selector_of};
use crate::core::Core;

/// Documents read in one page.
const PAGE: usize = 500;

impl Xcap {
    /// The union of all services of lists (RFC 4826 §4.4.8).
    pub async fn global_services(&self) -> Result<String, StoreError> {
        let (mut texts, mut after): (Vec<Box<str>>, Option<Box<str>>) = (Vec::new(), None);
        loop {
            let page = self.documents.named("rls-services", "index", after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(owner, _)| owner.clone());
            texts.extend(page.into_iter().map(|(_, document)| document.text));
            if !full {
                return Ok(usage::global_services(texts.iter().map(|text| &**text)));
            }
        }
    }

    /// What a user has.
    pub async fn heads(&self, owner: &str) -> Result<Vec<DocumentHead>, StoreError> {
        self.documents.of_owner(owner).await
    }

    /// What a document was before, the latest first.
    pub async fn versions(&self, key: &DocumentKey) -> Result<Vec<DocumentHead>, StoreError> {
        self.documents.versions(key).await
    }

    /// Gives `watch` what is there of a user, and lets `begin` make it known to who tells it of changes: between the two
    /// nothing changes.
    pub async fn watch_from_now(
        &self,
        core: &Arc<Core>,
        owner: &str,
        mut watch: Watch,
        begin: impl FnOnce(Watch) + Send,
    ) -> Result<(), StoreError> {
        let _lock = self.lock(owner).await;
        let lists = DocumentKey { owner: owner.into(), auid: "resource-lists".into(), name: "index".into() };
        if self.settings.rcs_lists && watch.names(&lists.auid, &lists.name) {
            self.make_lists(core, &lists).await.map_err(|failed| match failed {
                Failed::Store(error) => error,
                Failed::Refused(_) => StoreError::Conflict,
            })?;
        }
        for head in self.documents.of_owner(owner).await? {
            let DocumentKey { auid, name, .. } = &head.key;
            let document = match watch.needs_text(auid, name) {
                true => self.load(&head.key).await?,
                false => None,
            };
            watch.load(auid, name, &head.etag, document.as_deref().map(|document| &*document.text));
        }
        begin(watch);
        Ok(())
    }

    pub(super) async fn directory(&self, owner: &str) -> Result<String, StoreError> {
        let entry = |head: &DocumentHead| DirectoryEntry {
            document: selector_of(&head.key),
            etag: head.etag.clone(),
            modified: date_time(head.modified * 1000),
            size: head.size as usize,
        };
        let entries: Vec<DirectoryEntry> = self.heads(owner).await?.iter().map(entry).collect();
        Ok(usage::directory(&self.settings.root, &entries))
    }

    /// Whether `owner` has granted presence to somebody: a buddy who is not blocked.
    pub(super) async fn has_granted(&self, core: &Core, owner: &str, other: &str) -> Result<bool, StoreError> {
        let key = DocumentKey { owner: owner.into(), auid: "resource-lists".into(), name: "index".into() };
        let Some(document) = self.read(&key).await? else { return Ok(false) };
        let is_in = |list: &str| rcs::members(&document.text, list).iter().any(|member| is(core, member, other));
        Ok(is_in(rcs::BUDDIES) && !is_in(rcs::BLOCKED) && !is_in(rcs::REVOKED))
    }
}

/// Whether a member of a list is a user of ours.
fn is(core: &Core, member: &str, aor: &str) -> bool {
    super::owner_of(core, member).map_or_else(|| canonical_xui(member) == aor, |found| *found == *aor)
}

/// Documents of the server that users may read.
pub(super) fn global(selector: &DocumentSelector) -> Option<String> {
    (&*selector.auid == "xcap-caps" && &*selector.name == "index").then(usage::capabilities)
}
