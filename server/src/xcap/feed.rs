//! What other services keep to of the documents: told at the start, and with each change.

use std::sync::Arc;

use chappe_store::{DocumentKey, StoreError};

use super::{DocumentChange, DocumentWatcher};
use crate::core::Core;
use crate::service::presence;

/// Documents that presence keeps to, by usage and name.
const OF_PRESENCE: [(&str, &str); 4] = [
    ("resource-lists", "index"),
    ("rls-services", "index"),
    ("pres-rules", "index"),
    ("org.openmobilealliance.pres-rules", "pres-rules"),
];
/// Documents read in one page.
const PAGE: usize = 500;

/// Tells presence.
pub struct PresenceFeed;

impl DocumentWatcher for PresenceFeed {
    fn changed(&self, core: &Arc<Core>, change: &DocumentChange) {
        let DocumentKey { owner, auid, name } = &change.key;
        presence::document_changed(core, owner, auid, name, change.after.as_deref().map(|document| &*document.text));
    }
}

/// Reads all that is kept to, before the first request.
pub async fn load(core: &Arc<Core>) -> Result<(), StoreError> {
    for (auid, name) in OF_PRESENCE {
        let mut after: Option<Box<str>> = None;
        loop {
            let page = core.stores.documents.named(auid, name, after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(owner, _)| owner.clone());
            for (owner, document) in page {
                presence::document_changed(core, &owner, auid, name, Some(&document.text));
            }
            if !full {
                break;
            }
        }
    }
    Ok(())
}

/// The account is gone, and its documents.
pub fn forget(core: &Arc<Core>, owner: &str) {
    for (auid, name) in OF_PRESENCE {
        presence::document_changed(core, owner, auid, name, None);
    }
}
