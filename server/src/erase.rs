//! Erasing a user: every record, blob, queue entry and log line of the node that tells of him (docs/decisions/0092).
//!
//! The account is shut first and removed last, so that nothing new comes and a crash between leaves something that can be erased again.

use std::sync::Arc;

use chappe_api::{AccountChange, Accounts, ErasureReceipt, Gone, Kept, NodeError};
use chappe_store::{Outcome, QueuedMessage, StoreError};

use crate::accounts::{StoredAccounts, unavailable};
use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::files::Depot;
use crate::logging::Redacted;
use crate::msrp::Relay;
use crate::service::group;
use crate::signout;

/// Messages that one step settles.
const BATCH: usize = 500;

/// What a node erases from.
pub struct Eraser<'a> {
    pub core: &'a Arc<Core>,
    pub relay: &'a Relay,
    pub depot: Option<&'a Depot>,
    pub accounts: &'a StoredAccounts,
}

impl Eraser<'_> {
    /// Erases the user, and tells what went.
    ///
    /// # Errors
    /// No such account; or the store, and then it can be done again.
    pub async fn erase(&self, aor: &str) -> Result<ErasureReceipt, NodeError> {
        let shut = AccountChange { disabled: Some(true), ..AccountChange::default() };
        let account = self.accounts.change(aor, shut).await?;
        let names = names(&account);
        let gone = self.gone(&account.aor, &names).await.map_err(unavailable)?;
        self.accounts.remove(&account.aor).await?;
        let scrubbed = self.settle_down(&account.aor, &names).await.map_err(unavailable)?;
        tracing::info!(user = %Redacted(&account.aor), "an account was erased");
        Ok(ErasureReceipt { aor: account.aor, at: epoch_seconds(), gone, kept: kept(scrubbed), scrubbed })
    }

    /// Removes all but the account itself.
    async fn gone(&self, aor: &str, names: &[Box<str>]) -> Result<Vec<Gone>, StoreError> {
        let stores = &self.core.stores;
        let mut gone = vec![Gone { what: "account".into(), count: 1 }];
        let mut note = |what: &str, count: u64| gone.push(Gone { what: what.into(), count });
        note("numbers", names.len() as u64 - 1);
        note("devices", stores.devices.of(aor).await?.len() as u64);
        note("registrations", signout::all(self.core, self.relay, aor));
        note("sign-ins", self.core.sign_ins.sign_out(aor, None).await?.len() as u64);
        let groups = group::erase(self.core, names).await?;
        note("memberships in groups", groups.groups);
        note("entries in the logs of groups", groups.entries);
        note("waiting messages", self.queue(names).await?);
        let heads = stores.documents.of_owner(aor).await?;
        let mut versions = 0;
        for head in &heads {
            versions += stores.documents.versions(&head.key).await?.len() as u64;
        }
        note("documents", heads.len() as u64);
        note("former versions of documents", versions);
        crate::xcap::feed::forget(self.core, aor);
        self.core.xcap.remove_owner(aor).await?;
        note("uploaded files", stores.files.usage(Some(aor)).await?.files);
        if let Some(depot) = self.depot {
            depot.remove_all(aor).await;
            if stores.files.usage(Some(aor)).await?.files > 0 {
                return Err(StoreError::Conflict);
            }
        }
        Ok(gone)
    }

    /// Ends the wait of every message that is from the user, to him, or that names him as either.
    async fn queue(&self, names: &[Box<str>]) -> Result<u64, StoreError> {
        let (mut count, mut after) = (0, 0);
        loop {
            let page = self.core.stores.traces.queued_with(names, after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after = last.id;
            let about: Vec<&QueuedMessage> = page.iter().filter(|message| is_about(message, names)).collect();
            let now = epoch_ms();
            let ends = about.iter().map(|message| message.settled(Outcome::Refused, None, 410, now)).collect();
            let ended = self.core.stores.queue.settle(ends).await?;
            for (message, _) in about.iter().zip(ended).filter(|(_, ended)| *ended) {
                self.core.waiting.remove(&message.recipient, message.device.as_deref());
                self.core.ledger.settled(Outcome::Refused);
                count += 1;
            }
        }
    }

    /// What was under way is on disk; what tells of the user is taken out of that, and out of the files.
    async fn settle_down(&self, aor: &str, names: &[Box<str>]) -> Result<bool, StoreError> {
        let core = self.core;
        core.persist.flush().await?;
        core.stores.devices.remove(aor, None).await?;
        core.recent.forget(names);
        core.push.forget(aor);
        core.stores.traces.erase_traces(names).await?;
        core.stores.traces.scrub().await
    }
}

/// The names by which records know a user.
pub fn names(account: &chappe_api::Account) -> Vec<Box<str>> {
    std::iter::once(&account.aor).chain(&account.tel).map(|name| name.as_str().into()).collect()
}

fn kept(scrubbed: bool) -> Vec<Kept> {
    let kept = |what: &str, why: &str| Kept { what: what.into(), why: why.into() };
    let mut all = vec![
        kept("address books and block lists of other users", "what others wrote down is theirs"),
        kept(
            "digests of message ids, for as long as receipts are remembered",
            "a message that is repeated must not come twice",
        ),
        kept("counters", "they name nobody"),
        kept("backups that were made before", "they are not the server's"),
    ];
    if !scrubbed {
        all.push(kept("pages and log of the database engine", "it writes over them in its own time"));
    }
    all
}

/// Whether a message is from one of these names, to it, or says so in its headers or in its envelope. What a text says does not
/// count.
pub fn is_about(message: &QueuedMessage, names: &[Box<str>]) -> bool {
    let is_one = |text: &str| names.iter().any(|name| mentions(text.as_bytes(), name));
    is_one(&message.recipient)
        || is_one(&message.sender)
        || names.iter().any(|name| mentions(&message.headers, name) || mentions(envelope_head(message), name))
}

/// The headers of a CPIM envelope; nothing for other content.
fn envelope_head(message: &QueuedMessage) -> &[u8] {
    let is_cpim = message.headers.to_ascii_lowercase().windows(12).any(|window| window == b"message/cpim");
    if !is_cpim {
        return &[];
    }
    let end = message.body.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(message.body.len());
    &message.body[..end]
}

/// Whether a name stands in `text` by itself, not as part of a longer one.
fn mentions(text: &[u8], name: &str) -> bool {
    let belongs = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    let name = name.as_bytes();
    !name.is_empty()
        && text.windows(name.len()).enumerate().any(|(at, window)| {
            window == name
                && !belongs(at.checked_sub(1).and_then(|at| text.get(at)))
                && !belongs(text.get(at + name.len()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole() {
        for (text, name, expected) in [
            ("From: <sip:al@d>;tag=1", "al@d", true),
            ("From: <sip:pal@d>", "al@d", false),
            ("From: <sip:al@d.example>", "al@d", false),
            ("al@d", "al@d", true),
            ("tel:+1555;x", "+1555", true),
            ("tel:+15550", "+1555", false),
            ("<sip:pal@d>, <sip:al@d>", "al@d", true),
            ("", "al@d", false),
            ("x", "", false),
        ] {
            assert_eq!(mentions(text.as_bytes(), name), expected, "{text} {name}");
        }
    }
}
