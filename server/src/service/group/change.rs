//! Changes of a group, and what follows from them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_chat::group::refer::Referral;
use chappe_chat::group::{Actor, Change, Event, Member, Refused, Why};
use chappe_sip::{Aor, HeaderName, Message, Method};
use chappe_store::{GroupChange, GroupError, GroupMember, NewGroupEntry};

use super::entry::{self, Logged};
use super::news::{Answering, Key};
use super::room::{Room, of_user, owner_of};
use super::{factory, record};
use crate::core::{Core, epoch_ms};

/// Why a change was not made.
pub(super) enum Failed {
    Refused(Refused),
    /// The store is slow, full or broken.
    Store,
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Failed {
        Failed::Refused(refused)
    }
}

impl Failed {
    pub(super) fn answer(self, core: &Core) -> (u16, Vec<(&'static str, String)>) {
        match self {
            Failed::Refused(refused) => (refused.status(), factory::warning(core, refused)),
            Failed::Store => (503, Vec::new()),
        }
    }
}

impl Room {
    /// A request to the focus, within a call or not.
    pub(super) async fn request(&mut self, user: Aor, device: Box<str>, request: Arc<Message>, answering: Answering) {
        match request.method() {
            Method::Message => self.message(user, device, &request, answering).await,
            Method::Refer => match self.refer(&user, &request).await {
                Ok(()) => answering.give(&self.core, 202, &[("Refer-Sub", "false".to_owned())]),
                Err((status, headers)) => answering.give(&self.core, status, &headers),
            },
            Method::Subscribe => match answering {
                Answering::Call { call, key, request } => self.subscribe_within(&user, request, &call, key),
                // Outside of a call it does not get here.
                Answering::Transaction { .. } => answering.give(&self.core, 405, &[]),
            },
            _ => answering.give(&self.core, 405, &[(HeaderName::Allow.as_str(), super::ALLOW.to_owned())]),
        }
    }

    pub(super) async fn refer(
        &mut self,
        user: &Aor,
        request: &Message,
    ) -> Result<(), (u16, Vec<(&'static str, String)>)> {
        let max = self.core.groups.settings.limits.members;
        let read = Referral::read(request, max, |uri| super::anybody(&self.core, uri));
        let referral = read.map_err(|error| (error.status(), Vec::new()))?;
        for change in referral.changes {
            self.change(user, change).await.map_err(|failed| failed.answer(&self.core))?;
        }
        Ok(())
    }

    /// Changes the group, on disk first, and does what follows.
    pub(super) async fn change(&mut self, by: &Aor, change: Change) -> Result<(), Failed> {
        // What came before is before it in the log.
        self.flush().await;
        let (mut next, now) = (self.group.clone(), epoch_ms());
        let limits = &self.core.groups.settings.limits;
        let events = next.apply(Actor::User(by), change, self.last + 1, limits, now)?;
        if events.is_empty() {
            return Ok(());
        }
        let changed: Vec<&Member> = next.members.changed_since(&self.group.members).collect();
        let entries: Vec<NewGroupEntry> = events
            .iter()
            .filter_map(|event| match event {
                Event::Announce(what) => Some(entry::announcement(what, now)),
                _ => None,
            })
            .collect();
        let written = GroupChange {
            id: self.id.as_str().into(),
            seen: self.group.revision,
            token: self.token,
            data: record::state(&next),
            members: match next.closed_ms {
                None => changed.iter().map(|member| record::member(member)).collect(),
                // It is nobody's any more.
                Some(_) => next.members.iter().map(|m| GroupMember { active: false, ..record::member(m) }).collect(),
            },
            entries: entries.clone(),
        };
        match self.core.stored(self.core.stores.groups.change(written)).await {
            Ok(_) => {}
            Err(GroupError::Store(error)) => {
                self.core.counters.store_failed();
                tracing::error!(%error, "the change of a group could not be stored");
                return Err(Failed::Store);
            }
            Err(error) => {
                tracing::warn!(%error, "a group has another owner");
                self.over = Some(503);
                return Err(Failed::Store);
            }
        }
        for member in changed.iter().filter(|member| member.state.is_in()) {
            // All that lies before it it has.
            self.ledger.admit(&member.user, member.since);
        }
        self.owner = owner_of(&next);
        self.group = next;
        for entry in &entries {
            self.last += 1;
            if let Some(logged) = Logged::written(self.last, entry) {
                self.remember(Arc::new(logged));
            }
        }
        for event in events {
            match event {
                Event::Invite(user) => {
                    self.seat_devices(&user, true);
                    self.pump_user(&user);
                }
                Event::Dismiss { user, why } => self.dismiss(&user, why),
                Event::Ended => {
                    let users: Vec<Aor> = self.seats.values().map(|seat| seat.user.clone()).collect();
                    users.iter().for_each(|user| self.dismiss(user, Why::Ended));
                    let members: Vec<Aor> = self.group.members.iter().map(|member| member.user.clone()).collect();
                    members.iter().for_each(|user| self.closes_account(user));
                    self.over = Some(410);
                }
                Event::Announce(what) => self.note_inviter(&what),
                Event::Roster => {}
            }
        }
        Ok(())
    }

    /// Ends the sessions of somebody who is not in any more.
    pub(super) fn dismiss(&mut self, user: &Aor, why: Why) {
        let keys: Vec<Key> = of_user(&self.seats, user.as_str()).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.moved.remove(&key);
            if let Some(seat) = self.seats.remove(&key) {
                self.core.groups.counts.seats.fetch_sub(1, Ordering::Relaxed);
                if let Some(call) = seat.call {
                    call.end(&self.core, Some(why.reason()));
                }
            }
        }
        self.closes_account(user);
        self.cursors.retain(|(name, _), _| **name != *user.as_str());
        if why != Why::Ended {
            self.end_subscriptions(user);
        }
    }
}
