//! The conference event package (RFC 4575): members follow who is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_chat::group::roster::{self, ROSTER_TYPE, Roster, Status};
use chappe_chat::group::{Group, GroupId};
use chappe_sip::event::{Package, Reason, Reject, Subscription};
use chappe_sip::layer::ServerKey;
use chappe_sip::{Aor, Message};
use parking_lot::Mutex;

use super::news::News;
use super::room::{Room, of_user};
use super::seat::State;
use crate::core::Core;
use crate::service::Request;
use crate::service::agent::{self, CallRef};
use crate::service::notify::{self, Document, Opened, View};
use crate::shard::Turn;

const NAME: &str = "conference";
/// Subscriptions to one group, at most.
const PER_GROUP: usize = 200_000;
/// The notifier counts whole seconds, the roster finer.
const SLACK: Duration = Duration::from_secs(2);

/// The package as the notifier knows it.
pub struct Conference;

impl Package for Conference {
    fn name(&self) -> &'static str {
        NAME
    }

    fn content_types(&self) -> &'static [&'static str] {
        &[ROSTER_TYPE]
    }

    fn default_expires(&self) -> u32 {
        3600
    }

    fn min_interval(&self) -> u32 {
        5
    }
}

/// A roster that its room changes and subscriptions read.
pub(super) type Shared = Arc<Mutex<Roster>>;

/// What a subscriber has been told.
struct RosterView {
    user: Aor,
    roster: Shared,
    told: roster::Subscription,
}

impl View for RosterView {
    fn is_dirty(&self) -> bool {
        self.told.poll_timeout(&self.roster.lock(), Instant::now()).is_some()
    }

    fn want_full(&mut self) {
        self.told.refresh();
    }

    fn document(&mut self, _core: &Arc<Core>, subscription: &mut Subscription, _now: u64) -> Option<Document> {
        if !subscription.shows_state() {
            return None;
        }
        let document = self.told.poll_early(&mut self.roster.lock(), Instant::now(), SLACK)?;
        if document.is_last {
            subscription.terminate(Reason::NoResource, None);
        }
        Some(Document { content_type: ROSTER_TYPE.into(), bytes: Bytes::from(document.text), etag: None })
    }
}

/// SUBSCRIBE to a focus: the room knows who may.
pub(super) fn subscribe(turn: &mut Turn<'_>, request: Request, user: Aor, id: &GroupId) {
    if chappe_sip::event::package_name(&request.message) != Some(NAME) {
        return notify::open(turn, &request, Err(Reject::BadEvent));
    }
    let core = turn.core;
    core.groups.tell(core, id, News::Subscribe { user, request: Box::new(request) });
}

impl Room {
    pub(super) fn subscribe(&mut self, user: &Aor, request: Request) {
        let opened = self.opened(user);
        let message = Arc::clone(&request.message);
        self.core.visit(message.call_id(), |turn| notify::open(turn, &request, opened));
    }

    /// SUBSCRIBE in the dialog of a session.
    pub(super) fn subscribe_within(&mut self, user: &Aor, request: Arc<Message>, call: &CallRef, key: ServerKey) {
        let opened = match chappe_sip::event::package_name(&request) {
            Some(NAME) => self.opened(user),
            _ => Err(Reject::BadEvent),
        };
        agent::on_shard(&self.core, call, move |turn, call| notify::open_within(turn, call, key, &request, opened));
    }

    fn opened(&mut self, user: &Aor) -> Result<Opened, Reject> {
        // The first document has all of it, and the next waits.
        self.tell_roster();
        let Ok(member) = self.group.admit(user) else { return Err(Reject::Forbidden) };
        let own = member.user.to_uri();
        let view = RosterView {
            user: member.user.clone(),
            roster: Arc::clone(&self.roster),
            told: roster::Subscription::new(Some(&own)),
        };
        let resources = vec![self.id.as_str().into()];
        Ok(Opened { package: &Conference, granted: true, view: Box::new(view), resources, limit: PER_GROUP })
    }

    /// Whether anybody follows.
    pub(super) fn is_watched(&self) -> bool {
        !self.core.watched.of(NAME, self.id.as_str()).is_empty()
    }

    /// Takes over what the group and the sessions of its members have become, and tells those who follow.
    pub(super) fn tell_roster(&mut self) {
        let now = Instant::now();
        let is_news = !self.stirred.is_empty() || self.told_group != self.group.revision;
        if !is_news && self.told_roster == self.roster.lock().revision() {
            return;
        }
        let revision = {
            let mut roster = self.roster.lock();
            if self.told_group != self.group.revision {
                sync(&mut roster, &self.group, self.core.groups.settings.limits.members, now);
                self.told_group = self.group.revision;
            }
            for user in std::mem::take(&mut self.stirred) {
                let user = Aor::from_canonical(user);
                if self.group.admit(&user).is_ok() {
                    let (status, dialed_in) = self.status(&user);
                    roster.set_status(&user.to_uri(), status, dialed_in, now);
                }
            }
            roster.revision()
        };
        if revision != self.told_roster && (self.roster_after <= now || self.over.is_some()) {
            self.told_roster = revision;
            self.roster_after = now + pace(self.core.watched.of(NAME, self.id.as_str()).len());
            notify::changed(&self.core, NAME, self.id.as_str(), |_: &mut RosterView, _| {});
        }
    }

    /// Ends the subscriptions of somebody who is not in any more.
    pub(super) fn end_subscriptions(&self, user: &Aor) {
        notify::changed(&self.core, NAME, self.id.as_str(), |view: &mut RosterView, subscription| {
            if view.user == *user {
                subscription.terminate(Reason::Rejected, None);
            }
        });
    }

    /// Where the best session of a user stands.
    fn status(&self, user: &Aor) -> (Status, bool) {
        let mut best = (Status::Pending, false);
        for (_, seat) in of_user(&self.seats, user.as_str()) {
            match &seat.call {
                Some(call) if matches!(call.state, State::Connecting | State::Open) => {
                    return (Status::Connected, call.dialed_in);
                }
                Some(call) if call.state == State::Inviting => best = (Status::DialingOut, false),
                // It gets each message at once.
                None if !seat.away && seat.is_paged() => return (Status::Connected, false),
                Some(_) | None => {}
            }
        }
        best
    }
}

/// How long the subscribers of a group are left alone once they were told: each gets a document in five seconds at most, and
/// to look at ten thousand for each one who joins is work for nothing.
fn pace(subscribers: usize) -> Duration {
    Duration::from_millis(subscribers as u64 / 2).min(Duration::from_secs(4))
}

/// Users are written as AORs.
pub(super) fn sync(roster: &mut Roster, group: &Group, max: usize, now: Instant) {
    roster.sync(group, max, Aor::to_uri, now);
}
