//! Erasing somebody from groups, and what a user is told of groups in an export.

use std::sync::Arc;

use chappe_api::ExportedGroup;
use chappe_chat::group::{Announcement, Change, Group, GroupId, News as Told};
use chappe_imdn::Cpim;
use chappe_sip::Aor;
use chappe_store::{GroupEntry, GroupErasure, Outcome, StoreError, Stores};
use tokio::sync::oneshot;

use super::entry::{self, Logged};
use super::news::News;
use super::record;
use super::room::{Room, owner_of};
use crate::core::Core;

/// Entries read at a time.
const READ: usize = 1000;
/// A room may end while it is asked.
const TRIES: usize = 3;

/// What is erased of somebody in one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    pub groups: u64,
    pub entries: u64,
}

/// The answer of a room; `None` where it could not.
pub(super) type Answer = oneshot::Sender<Option<Erased>>;

/// Takes a user out of every group, as if he had never been there. `names`: his AOR, and his numbers.
///
/// # Errors
/// The store; then it may be done again.
pub async fn erase(core: &Arc<Core>, names: &[Box<str>]) -> Result<Erased, StoreError> {
    let mut sum = Erased::default();
    let names: Arc<[Box<str>]> = names.into();
    for id in core.stores.traces.groups_with(&names).await? {
        let Some(id) = GroupId::parse(&id) else { continue };
        let mut done = None;
        for _ in 0..TRIES {
            let (answer, answered) = oneshot::channel();
            core.groups.tell(core, &id, News::Erase { names: Arc::clone(&names), answer });
            done = answered.await.ok().flatten();
            if done.is_some() {
                break;
            }
        }
        let done = done.ok_or(StoreError::Conflict)?;
        sum = Erased { groups: sum.groups + done.groups, entries: sum.entries + done.entries };
    }
    names.iter().for_each(|name| drop(core.groups.waiting.lock().remove(name)));
    Ok(sum)
}

/// What the log keeps of somebody.
fn tells_of(entry: &GroupEntry, is_gone: &impl Fn(&Aor) -> bool) -> bool {
    let names = |name: &str| is_gone(&Aor::from_canonical(name));
    if names(&entry.from) || entry.to.as_deref().is_some_and(names) {
        return true;
    }
    match entry::announced(entry) {
        Some(Announcement { by, news }) => {
            by.as_ref().is_some_and(is_gone)
                || match &news {
                    Told::Added(users) | Told::Removed(users) => users.iter().any(is_gone),
                    Told::Role { user, .. } => is_gone(user),
                    _ => false,
                }
        }
        // A receipt that a member gave says in its envelope for whom it is.
        None => Logged::read(entry).and_then(|logged| logged.envelope).is_some_and(|envelope| {
            envelope.is_cpim()
                && Cpim::parse(envelope.body()).is_ok_and(|cpim| {
                    let uris = cpim.from().into_iter().chain(cpim.to()).map(|address| address.uri);
                    uris.filter_map(|uri| chappe_sip::Uri::parse(uri.as_bytes()).ok())
                        .filter_map(|uri| Aor::of(&uri))
                        .any(|aor| is_gone(&aor))
                })
        }),
    }
}

impl Room {
    /// Lets a user leave, and takes out what tells of him.
    pub(super) async fn erase(&mut self, names: &[Box<str>]) -> Option<Erased> {
        let is_gone = |user: &Aor| names.iter().any(|name| **name == *user.as_str());
        let users: Vec<Aor> = self.group.members.iter().map(|member| member.user.clone()).filter(is_gone).collect();
        for user in &users {
            // The last to go ends the group.
            if self.group.closed_ms.is_none() && self.group.admit(user).is_ok() {
                self.change(user, Change::Leave).await.ok()?;
            }
        }
        self.flush().await;
        self.save().await;
        match self.erase_stored(&users, is_gone).await {
            Ok(erased) => Some(erased),
            Err(error) => {
                tracing::error!(%error, "somebody could not be erased from a group");
                None
            }
        }
    }

    async fn erase_stored(&mut self, users: &[Aor], is_gone: impl Fn(&Aor) -> bool) -> Result<Erased, StoreError> {
        let (mut entries, mut announced, mut waited) = (Vec::new(), Vec::new(), Vec::new());
        let mut after = 0;
        loop {
            let page = self.core.stores.groups.read(self.id.as_str(), after, READ).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            announced.extend(page.iter().filter_map(entry::announced));
            for one in page.iter().filter(|one| tells_of(one, &is_gone)) {
                entries.push(one.seq);
                waited.extend(Logged::read(one).filter(Logged::is_message));
            }
        }
        let mut next: Group = self.group.clone();
        let changed = next.erase(&is_gone, announced.iter());
        let blank = Announcement { by: None, news: Told::Erased };
        let erased = Erased { groups: 1, entries: entries.len() as u64 };
        let erasure = GroupErasure {
            id: self.id.as_str().into(),
            token: self.token,
            users: users.iter().map(|user| user.as_str().into()).collect(),
            seen: self.group.revision,
            data: record::state(&next),
            // Of a group that is over nobody is an active member.
            members: changed.iter().map(record::member).collect(),
            entries,
            blank: entry::announcement(&blank, 0).content,
        };
        self.core.stores.traces.erase_member(erasure).await.map_err(|error| match error {
            chappe_store::GroupError::Store(error) => error,
            _ => StoreError::Conflict,
        })?;
        let recipients: Vec<Aor> = next.members.iter().map(|member| member.user.clone()).collect();
        self.owner = owner_of(&next);
        self.group = next;
        for logged in &waited {
            recipients.iter().for_each(|user| self.settled(user, logged, Outcome::Refused, 410));
        }
        self.forget(&is_gone);
        Ok(erased)
    }

    /// Forgets what was remembered of the log and of people who are erased.
    fn forget(&mut self, is_gone: &impl Fn(&Aor) -> bool) {
        self.recent.clear();
        self.authors.forget(is_gone);
        self.inviters.retain(|user, by| !is_gone(by) && !is_gone(&Aor::from_canonical(user.clone())));
        self.cursors.retain(|(user, _), _| !is_gone(&Aor::from_canonical(user.clone())));
        self.moved.retain(|(user, _), _| !is_gone(&Aor::from_canonical(user.clone())));
        self.seats.values_mut().for_each(|seat| seat.pages.clear());
        self.stirred.insert(Box::default());
    }
}

/// The groups that a user is or was in, with what he wrote there.
pub async fn exported(stores: &Stores, names: &[Box<str>]) -> Result<Vec<ExportedGroup>, StoreError> {
    let mut found = Vec::new();
    for id in stores.traces.groups_with(names).await? {
        let Some(stored) = stores.groups.load(&id).await? else { continue };
        let group = record::read(&stored, chappe_chat::group::Rights::default())?;
        let own = group.members.iter().find(|member| names.iter().any(|name| **name == *member.user.as_str()));
        let mut shown = ExportedGroup {
            id: id.to_string(),
            subject: group.subject.clone().map(Into::into),
            role: own.map(|own| own.role.as_str().to_owned()),
            state: own.map(|own| own.state.as_str().to_owned()),
            nickname: own.and_then(|own| own.nickname.clone()).map(Into::into),
            messages: Vec::new(),
        };
        let mut after = 0;
        loop {
            let page = stores.groups.read(&id, after, READ).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            let own = page.iter().filter(|one| names.contains(&one.from));
            let messages = own.filter_map(|one| Some((one, Logged::read(one).filter(Logged::is_message)?)));
            shown.messages.extend(messages.filter_map(|(one, logged)| {
                let envelope = logged.envelope?;
                Some(crate::export::message(one.at_ms, &one.from, None, &envelope))
            }));
        }
        if own.is_some() || !shown.messages.is_empty() {
            found.push(shown);
        }
    }
    Ok(found)
}
