//! The list of blocked contacts that RCS phones keep in their documents is their user's block list, at every door.
//!
//! What the phone adds to its list is blocked, what it takes out is not any more; what the operator has blocked besides
//! stays.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use ahash::RandomState;
use chappe_api::{Node, NodeError};
use chappe_xcap::usage::rcs;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{DocumentChange, DocumentWatcher};
use crate::core::Core;
use crate::lists;

/// What is to become of one user's list: who was in the document before, and who is in it now.
type Changes = HashMap<Box<str>, (BTreeSet<String>, BTreeSet<String>), RandomState>;

/// Tells the accounts.
#[derive(Default)]
pub struct BlockedFeed {
    /// At most one for each user.
    changes: Mutex<Changes>,
    some: Notify,
}

impl DocumentWatcher for BlockedFeed {
    fn changed(&self, _core: &Arc<Core>, change: &DocumentChange) {
        if &*change.key.auid != "resource-lists" || &*change.key.name != "index" {
            return;
        }
        let of = |text: Option<&str>| text.map(|text| as_kept(rcs::members(text, rcs::BLOCKED))).unwrap_or_default();
        let before = of(change.before.as_deref().map(|document| &*document.text));
        let after = of(change.after.as_deref().map(|document| &*document.text));
        self.note(&change.key.owner, before, after);
    }
}

impl BlockedFeed {
    fn note(&self, owner: &str, before: BTreeSet<String>, after: BTreeSet<String>) {
        if before == after {
            return;
        }
        // Of several changes the first state and the last one count.
        self.changes.lock().entry(owner.into()).or_insert_with(|| (before, BTreeSet::new())).1 = after;
        self.some.notify_one();
    }

    /// Brings changes to the accounts, for as long as `node` is there.
    pub async fn run(self: Arc<Self>, node: Weak<dyn Node>) {
        loop {
            self.some.notified().await;
            let changes = std::mem::take(&mut *self.changes.lock());
            let Some(node) = node.upgrade() else { return };
            for (owner, (before, after)) in changes {
                if let Err(error) = apply(&*node, &owner, &before, &after).await {
                    tracing::error!(user = %crate::logging::Redacted(&owner), %error, "a block list could not be changed");
                }
            }
        }
    }
}

async fn apply(
    node: &dyn Node,
    owner: &str,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Result<(), NodeError> {
    let account = match node.accounts().show(owner).await {
        // Gone, with its documents.
        Err(NodeError::NotFound { .. }) => return Ok(()),
        account => account?,
    };
    let entries = merged(&account.blocked, before, after);
    if entries == account.blocked {
        return Ok(());
    }
    lists::replace_blocked(node.accounts(), owner, entries).await
}

/// Members as the account keeps them; what it would not keep is left out.
fn as_kept(members: BTreeSet<String>) -> BTreeSet<String> {
    let kept = members.into_iter().filter_map(|member| lists::entries(&[member]).ok());
    kept.flatten().map(String::from).collect()
}

/// The list after a change of the document.
fn merged(blocked: &[String], before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    let stays = |entry: &&String| after.contains(*entry) || !before.contains(*entry);
    let mut entries: Vec<String> = blocked.iter().filter(stays).cloned().collect();
    let new = after.iter().filter(|entry| !blocked.contains(entry));
    entries.extend(new.cloned());
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(entries: &[&str]) -> BTreeSet<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_phone_changes_leaves_the_rest_alone() {
        let blocked = ["sip:operator@d".to_owned(), "sip:a@d".to_owned()];
        for (before, after, expected) in [
            (&["sip:a@d"][..], &["sip:a@d", "tel:+1"][..], &["sip:operator@d", "sip:a@d", "tel:+1"][..]),
            (&["sip:a@d"], &[], &["sip:operator@d"]),
            (&[], &["sip:a@d"], &["sip:operator@d", "sip:a@d"]),
            (&["sip:b@d"], &[], &["sip:operator@d", "sip:a@d"]),
        ] {
            assert_eq!(merged(&blocked, &set(before), &set(after)), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn members_are_compared_as_the_account_keeps_them() {
        let members = ["a@d".to_owned(), "+15551".to_owned(), String::new()].into();
        assert_eq!(as_kept(members), set(&["sip:a@d", "tel:+15551"]));
    }

    #[test]
    fn of_several_changes_the_first_and_the_last_state_count() {
        let feed = BlockedFeed::default();
        feed.note("u@d", set(&[]), set(&["sip:a@d"]));
        feed.note("u@d", set(&["sip:a@d"]), set(&["sip:b@d"]));
        feed.note("v@d", set(&["sip:a@d"]), set(&["sip:a@d"]));
        let changes = std::mem::take(&mut *feed.changes.lock());
        assert_eq!(changes.len(), 1);
        assert_eq!(changes["u@d"], (set(&[]), set(&["sip:b@d"])));
    }
}
