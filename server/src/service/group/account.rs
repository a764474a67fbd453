//! The conservation law for groups: a message counts once for each recipient, from the write that keeps it until a device of
//! the recipient has it or nobody will bring it any more.
//!
//! What waits in a group that has not been in use since the start is not counted yet.

use std::sync::Arc;

use chappe_chat::group::reader::{self, Kind};
use chappe_chat::group::{Group, Member, receipts};
use chappe_sip::Aor;
use chappe_store::{Event, Fate, GroupEntry, Outcome};

use super::entry::Logged;
use super::news::News;
use super::room::{Room, of_user};
use crate::core::{Core, epoch_ms};
use crate::lists;

/// Entries read at a time.
const READ: usize = 1000;
/// Entries that nobody needs any more before they are removed.
const TRIM: u64 = 256;

/// A message of the log, and whom it is for.
pub(super) struct Passed {
    seq: u64,
    from: Aor,
    to: Option<Aor>,
    message_id: Option<Box<str>>,
}

impl Passed {
    fn of(entry: &GroupEntry) -> Option<Passed> {
        let logged = Logged::read(entry).filter(Logged::is_message)?;
        let head = logged.head();
        Some(Passed {
            seq: entry.seq,
            from: head.from?.clone(),
            to: head.to.cloned(),
            message_id: entry.message_id.clone(),
        })
    }

    fn is_for(&self, group: &Group, user: &Aor) -> bool {
        let is_recipient = |member: &Member| {
            member.state.is_in()
                && member.user != self.from
                && reader::is_within(self.seq, member)
                && self.to.as_ref().is_none_or(|to| *to == member.user)
        };
        group.members.get(user).is_some_and(is_recipient)
    }

    fn recipients<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Member> {
        recipients(group, self.seq, &self.from, self.to.as_ref())
    }
}

/// Who gets a message.
pub(super) fn recipients<'a>(
    group: &'a Group,
    seq: u64,
    from: &'a Aor,
    to: Option<&'a Aor>,
) -> impl Iterator<Item = &'a Member> {
    receipts::recipients(group, seq, from).filter(move |member| to.is_none_or(|to| *to == member.user))
}

impl Room {
    /// Takes up the members, and counts in its own time what waits for them.
    pub(super) fn open_accounts(&mut self) {
        let floors: Vec<(Aor, u64)> = self
            .group
            .members
            .present()
            .map(|member| {
                let furthest = of_user(&self.cursors, member.user.as_str()).map(|(_, upto)| *upto).max();
                (member.user.clone(), furthest.unwrap_or(0).max(member.since))
            })
            .collect();
        floors.iter().for_each(|(user, floor)| self.ledger.admit(user, *floor));
        let lowest = floors.iter().map(|(_, floor)| *floor).min().unwrap_or(self.last);
        if lowest >= self.last {
            return self.counted(Vec::new());
        }
        let (core, id, group, last) = (Arc::clone(&self.core), self.id.clone(), self.group.clone(), self.last);
        core.runtime.clone().spawn(async move {
            let Some(messages) = read(&core, id.as_str(), lowest, |entry| entry.seq <= last).await else { return };
            let waits = |(user, floor): (Aor, u64)| {
                let is_due = |passed: &&Passed| passed.seq > floor && passed.is_for(&group, &user);
                let count = messages.iter().filter(is_due).count() as u64;
                (user, count)
            };
            let waiting = floors.into_iter().map(waits).collect();
            core.groups.tell(&core, &id, News::Counted { waiting });
        });
    }

    /// What waited when the group came into use.
    pub(super) fn counted(&mut self, waiting: Vec<(Aor, u64)>) {
        // It may have been in use before; what is counted of it is in the sum already.
        let before = self.core.groups.counted.lock().remove(&self.id).unwrap_or(0);
        let total: i64 = waiting.iter().map(|(_, count)| *count as i64).sum();
        self.core.ledger.load(total - before);
        for (user, count) in waiting {
            if !self.ledger.waited(&user, count) {
                self.core.ledger.settled_many(Outcome::Refused, count as i64);
            }
        }
        self.is_counted = true;
    }

    /// Something was written.
    pub(super) fn accepted(&mut self, logged: &Logged) {
        let head = logged.head();
        let Some(from) = head.from.filter(|_| logged.is_message()) else { return };
        let members = || recipients(&self.group, logged.seq, from, head.to).map(|member| &member.user);
        members().filter(|member| *member != from).for_each(|member| crate::push::wake(&self.core, member.as_str()));
        let count = self.ledger.accept(members());
        self.core.ledger.stored_many(count);
        if let Some(envelope) = &logged.envelope {
            let id = Some(envelope.message_id.clone());
            self.note(id, self.focus.trim_start_matches("sip:").into(), Event::Stored, 200);
        }
    }

    /// A message has ended for one member.
    pub(super) fn settled(&mut self, user: &Aor, logged: &Logged, outcome: Outcome, status: u16) {
        let is_own = logged.from() == Some(user);
        if !logged.is_message() || is_own || !self.ledger.settle(user, logged.seq) {
            return;
        }
        self.core.ledger.settled(outcome);
        if outcome != Outcome::Delivered
            && let Some(envelope) = &logged.envelope
        {
            let id = Some(envelope.message_id.clone());
            self.note(id, user.as_str().into(), event(outcome), status);
        }
    }

    pub(super) fn closes_account(&mut self, user: &Aor) {
        let waited = self.ledger.dismiss(user);
        self.core.ledger.settled_many(Outcome::Refused, waited);
    }

    fn note(&mut self, message_id: Option<Box<str>>, recipient: Box<str>, event: Event, detail: u16) {
        // A step that was not stored at once is known by the id of the group.
        let call_id = self.id.as_str().into();
        let fate = Fate { message_id, call_id, recipient, device: None, event, detail, at_ms: epoch_ms() };
        self.fates.push(fate);
    }

    /// Has what became of messages written down, behind everything else.
    pub(super) fn write_fates(&mut self) {
        if self.fates.is_empty() {
            return;
        }
        let (core, fates) = (Arc::clone(&self.core), std::mem::take(&mut self.fates));
        core.runtime.clone().spawn(async move {
            if let Err(error) = core.stores.fates.record(fates).await {
                tracing::warn!(%error, "what became of messages of a group could not be written down");
            }
        });
    }

    /// Where nothing is kept that all have: has it removed. The slowest device counts, one that is away too.
    pub(super) fn trim(&mut self) {
        if self.core.groups.settings.keep_delivered {
            return;
        }
        let is_in = |user: &str| self.group.members.get(&Aor::from_canonical(user)).is_some_and(|m| m.state.is_in());
        let devices = self.cursors.iter().filter(|((user, _), _)| is_in(user)).map(|(_, upto)| *upto);
        let Some(upto) = devices.chain(self.ledger.slowest()).min() else { return };
        if upto >= self.trimmed + TRIM {
            self.trimmed = upto;
            self.remove(upto);
        }
    }

    /// Looks for what is older than it may be.
    pub(super) fn expire(&mut self, before_ms: u64) {
        if !self.is_counted {
            return;
        }
        let (core, id) = (Arc::clone(&self.core), self.id.clone());
        core.runtime.clone().spawn(async move {
            let mut upto = 0;
            let old = read(&core, id.as_str(), 0, |entry| {
                let is_old = entry.at_ms < before_ms;
                upto = if is_old { entry.seq } else { upto };
                is_old
            });
            if let Some(messages) = old.await {
                core.groups.tell(&core, &id, News::Old { upto, messages });
            }
        });
    }

    /// Gives up what has become too old.
    pub(super) fn expired(&mut self, upto: u64, messages: &[Passed]) {
        let users: Vec<Aor> = self.group.members.present().map(|member| member.user.clone()).collect();
        for passed in messages {
            let late: Vec<Aor> = passed
                .recipients(&self.group)
                .filter(|member| !self.ledger.is_settled(&member.user, passed.seq))
                .map(|member| member.user.clone())
                .collect();
            for user in late {
                if self.ledger.settle(&user, passed.seq) {
                    self.core.ledger.settled(Outcome::Expired);
                    self.note(passed.message_id.clone(), user.as_str().into(), Event::Expired, 0);
                }
            }
        }
        users.iter().for_each(|user| self.ledger.passed(user, upto));
        self.recent.retain(|logged| logged.seq > upto);
        self.trimmed = self.trimmed.max(upto);
        self.remove(upto);
    }

    fn remove(&self, upto: u64) {
        let (core, id) = (Arc::clone(&self.core), self.id.clone());
        core.runtime.clone().spawn(async move {
            if let Err(error) = core.stores.groups.trim(id.as_str(), upto).await {
                tracing::warn!(%error, "old messages of a group could not be removed");
            }
        });
    }

    /// The group goes out of use, and is counted as it is; `lost`: another node counts it from now on.
    pub(super) fn close_accounts(&mut self, lost: bool) {
        if !self.is_counted {
            return;
        }
        let waiting = self.ledger.waiting();
        if lost {
            self.core.ledger.load(-waiting);
        } else if waiting != 0 {
            self.core.groups.counted.lock().insert(self.id.clone(), waiting);
        }
    }

    /// Whether a member wants nothing of an entry, as it blocks whoever wrote it.
    pub(super) fn withholds(&self, user: &Aor, logged: &Logged) -> bool {
        reader::is_withheld(&logged.head(), |from| blocks(&self.core, user, from))
    }

    /// Whether a member was brought by somebody whom it blocks, and has not come in: it is not called.
    pub(super) fn is_unwanted(&self, user: &Aor) -> bool {
        use chappe_chat::group::Membership;
        let is_invited = self.group.members.get(user).is_some_and(|member| member.state == Membership::Invited);
        is_invited && self.inviter(user).is_some_and(|inviter| blocks(&self.core, user, inviter))
    }
}

/// Whether a user of ours wants nothing of somebody.
pub(super) fn blocks(core: &Core, user: &Aor, other: &Aor) -> bool {
    let Some(entry) = core.directory.find(user.as_str()).filter(|_| user != other) else { return false };
    lists::blocks(core, &entry, other.as_str(), core.directory.find(other.as_str()).as_deref())
}

fn event(outcome: Outcome) -> Event {
    match outcome {
        Outcome::Delivered => Event::Delivered,
        Outcome::Expired => Event::Expired,
        Outcome::Refused => Event::Refused,
    }
}

/// The messages among the entries above `after`, as long as `wanted` says so; `None` where the store fails.
async fn read(
    core: &Core,
    id: &str,
    mut after: u64,
    mut wanted: impl FnMut(&GroupEntry) -> bool,
) -> Option<Vec<Passed>> {
    let mut messages = Vec::new();
    loop {
        let entries = match core.stores.groups.read(id, after, READ).await {
            Ok(entries) => entries,
            Err(error) => {
                core.counters.store_failed();
                tracing::error!(%error, "the log of a group could not be read");
                return None;
            }
        };
        let full = entries.len() == READ;
        for entry in &entries {
            if !wanted(entry) {
                return Some(messages);
            }
            after = entry.seq;
            messages.extend(Passed::of(entry));
        }
        if !full {
            return Some(messages);
        }
    }
}

/// What became of a message at each member, for those of whom nothing else is written down.
pub async fn explain(core: &Core, fates: &mut Vec<Fate>) -> Result<(), chappe_store::StoreError> {
    let about: Vec<Fate> =
        fates.iter().filter(|fate| chappe_chat::group::GroupId::parse(&fate.call_id).is_some()).cloned().collect();
    for stored in about.iter().filter(|fate| fate.event == Event::Stored) {
        let groups = &core.stores.groups;
        let Some(found) = groups.load(&stored.call_id).await? else { continue };
        let Ok(group) = super::record::read(&found, core.groups.settings.rights) else { continue };
        let Some(entry) = find(core, &found.head.id, found.head.last, stored).await? else { continue };
        let Some(passed) = Passed::of(&entry) else { continue };
        let cursors = groups.cursors(&found.head.id).await?;
        for member in passed.recipients(&group) {
            let user = member.user.as_str();
            if about.iter().any(|fate| *fate.recipient == *user) {
                continue;
            }
            let furthest = cursors.iter().filter(|cursor| *cursor.user == *user).max_by_key(|cursor| cursor.upto);
            let has = furthest.filter(|cursor| cursor.upto >= passed.seq);
            fates.push(Fate {
                recipient: user.into(),
                device: has.map(|cursor| cursor.device.clone()),
                event: if has.is_some() { Event::Delivered } else { Event::Stored },
                detail: 0,
                ..stored.clone()
            });
        }
    }
    Ok(())
}

/// The entry of a message: by halves, as entries lie in the order of their times.
async fn find(core: &Core, id: &str, last: u64, stored: &Fate) -> Result<Option<GroupEntry>, chappe_store::StoreError> {
    let groups = &core.stores.groups;
    // A write takes a while, and clocks are set.
    const AROUND: u64 = 60_000;
    let (mut low, mut high) = (0, last);
    while high - low > READ as u64 {
        let middle = low + (high - low) / 2;
        match groups.read(id, middle, 1).await?.first() {
            Some(entry) if entry.at_ms + AROUND < stored.at_ms => low = middle,
            _ => high = middle,
        }
    }
    let mut after = low;
    loop {
        let entries = groups.read(id, after, READ).await?;
        let is_it = |entry: &&GroupEntry| {
            entry.message_id == stored.message_id && Logged::read(entry).is_some_and(|l| l.head().kind != Kind::Receipt)
        };
        if let Some(found) = entries.iter().find(is_it) {
            return Ok(Some(found.clone()));
        }
        match entries.last() {
            Some(entry) if entries.len() == READ && entry.at_ms < stored.at_ms + AROUND => after = entry.seq,
            _ => return Ok(None),
        }
    }
}

/// Groups whose log begins before this are to give up what is too old; those that ended before it are removed.
pub(super) async fn expire(core: &Arc<Core>, before_ms: u64, slack_ms: u64) -> Result<(), chappe_store::StoreError> {
    let groups = &core.stores.groups;
    let mut after: Option<Box<str>> = None;
    loop {
        let page = groups.list(after.as_deref(), READ).await?;
        let full = page.len() == READ;
        after = page.last().map(|head| head.id.clone());
        for head in page {
            let Some(id) = chappe_chat::group::GroupId::parse(&head.id) else { continue };
            let oldest = groups.read(&head.id, 0, 1).await?.first().map(|entry| entry.at_ms);
            let found = chappe_store::StoredGroup { head, members: Vec::new() };
            match super::record::read(&found, core.groups.settings.rights) {
                Ok(group) if group.closed_ms.is_some_and(|at| at < before_ms) => {
                    if let Ok(Some(token)) = groups.claim(id.as_str(), core.groups.lease(), epoch_ms()).await
                        && let Err(error) = groups.remove(id.as_str(), token).await
                    {
                        tracing::warn!(%error, "a group that has ended could not be removed");
                    }
                }
                Ok(group) if group.closed_ms.is_none() && oldest.is_some_and(|at| at + slack_ms < before_ms) => {
                    core.groups.tell(core, &id, News::Expire { before_ms });
                }
                _ => {}
            }
        }
        if !full {
            return Ok(());
        }
    }
}
