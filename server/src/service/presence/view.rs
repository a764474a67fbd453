//! What one watcher sees: of one presentity, or of all in a list.

use std::sync::Arc;

use bytes::Bytes;
use chappe_presence::list::{self, Entry, Instance, Shown};
use chappe_presence::pidf;
use chappe_presence::rules::{Handling, Permission};
use chappe_presence::winfo;
use chappe_sip::event::{Reason, State, Subscription};

use super::permit::{self, Identity};
use super::state::Written;
use super::uri_of;
use crate::core::{Core, epoch_seconds};
use crate::service::notify::{Document, Place, View};

/// A presentity that is watched.
pub(super) struct Resource {
    entry: Entry,
    /// Its AOR, or why it cannot be watched.
    target: Result<Box<str>, &'static str>,
    permission: Permission,
    dirty: bool,
}

impl Resource {
    pub(super) fn ours(aor: &str, permission: Permission) -> Resource {
        let entry = Entry { uri: uri_of(aor).into(), display_name: "".into() };
        Resource { entry, target: Ok(aor.into()), permission, dirty: true }
    }

    /// An entry of a list.
    pub(super) fn listed(entry: Entry, target: Result<Box<str>, &'static str>, permission: Permission) -> Resource {
        Resource { entry, target, permission, dirty: true }
    }

    /// Whom it watches, where that is one of ours.
    pub(super) fn aor(&self) -> Option<&str> {
        self.target.as_deref().ok()
    }

    fn instance(&self) -> Instance {
        match (&self.target, self.permission.handling) {
            (Err(reason), _) => Instance::Terminated(reason),
            (Ok(_), Handling::Block) => Instance::Terminated("rejected"),
            (Ok(_), Handling::Confirm) => Instance::Pending,
            (Ok(_), Handling::PoliteBlock | Handling::Allow) => Instance::Active,
        }
    }

    /// The document that the watcher may see now.
    fn written(&self, core: &Core, now: u64) -> Option<Written> {
        let aor = self.target.as_deref().ok()?;
        match self.permission.handling {
            Handling::Block | Handling::Confirm => None,
            Handling::PoliteBlock => Some(core.presence.absent(aor)),
            Handling::Allow => {
                let document = core.presence.document(core, aor, now);
                Some(core.presence.shown(&document, self.permission.shown.as_ref()))
            }
        }
    }
}

pub(super) struct PresenceView {
    who: Identity,
    resources: Vec<Resource>,
    /// The URI of the list, where it is one.
    list: Option<Box<str>>,
    full: bool,
    place: Option<Place>,
}

impl PresenceView {
    pub(super) fn single(who: Identity, resource: Resource) -> PresenceView {
        PresenceView { who, resources: vec![resource], list: None, full: true, place: None }
    }

    pub(super) fn list(who: Identity, uri: &str, resources: Vec<Resource>) -> PresenceView {
        PresenceView { who, resources, list: Some(uri.into()), full: true, place: None }
    }

    /// A presentity has something new; who sees a made-up document of it does not notice.
    pub(super) fn changed(&mut self, aor: &str) {
        for resource in self.resources.iter_mut().filter(|r| r.target.as_deref() == Ok(aor)) {
            resource.dirty |= resource.permission.handling == Handling::Allow;
        }
    }

    /// The rules of a presentity have changed.
    pub(super) fn decide_anew(&mut self, core: &Arc<Core>, aor: &str, subscription: &mut Subscription, now: u64) {
        for at in 0..self.resources.len() {
            let resource = &mut self.resources[at];
            if resource.target.as_deref() != Ok(aor) {
                continue;
            }
            let permission = permit::permission(core, aor, &self.who, now);
            if permission == resource.permission {
                continue;
            }
            (resource.permission, resource.dirty) = (permission, true);
            let handling = resource.permission.handling;
            subscription.hurry();
            if self.list.is_none() {
                match handling {
                    Handling::Block => subscription.terminate(Reason::Rejected, None),
                    Handling::Confirm => subscription.suspend(),
                    Handling::PoliteBlock | Handling::Allow => subscription.grant(),
                }
            }
            let event = match handling {
                Handling::Block => winfo::Event::Rejected,
                Handling::Confirm => winfo::Event::Deactivated,
                Handling::PoliteBlock | Handling::Allow => winfo::Event::Approved,
            };
            self.tell(core, at, event, subscription, now);
        }
    }

    /// Tells the presentity of its watcher.
    fn tell(&self, core: &Arc<Core>, at: usize, event: winfo::Event, subscription: &Subscription, now: u64) {
        let (Some(place), Some(resource)) = (self.place, self.resources.get(at)) else { return };
        let Ok(aor) = &resource.target else { return };
        let status = match resource.permission.handling {
            // It ends as soon as its last NOTIFY is answered.
            Handling::Block => return core.presence.unwatch(core, aor, place.id, winfo::Event::Rejected, now),
            Handling::Confirm => winfo::Status::Pending,
            Handling::PoliteBlock | Handling::Allow => winfo::Status::Active,
        };
        let watcher = winfo::Watcher {
            id: place.id,
            uri: self.who.uri.clone(),
            display_name: self.who.display_name.clone(),
            status,
            event,
            since: now,
            expires: subscription.expires(),
        };
        core.presence.watch(core, aor, watcher);
    }

    fn list_document(&mut self, core: &Arc<Core>, uri: &str, version: u32, now: u64) -> Document {
        let full = std::mem::take(&mut self.full);
        let told: Vec<usize> = (0..self.resources.len()).filter(|at| full || self.resources[*at].dirty).collect();
        let documents: Vec<Option<Written>> = told.iter().map(|at| self.resources[*at].written(core, now)).collect();
        let shown = told.iter().zip(&documents).map(|(at, document)| Shown {
            entry: &self.resources[*at].entry,
            instance: self.resources[*at].instance(),
            document: document.as_ref().map(|written| &written.bytes[..]),
        });
        let shown: Vec<Shown<'_>> = shown.collect();
        let domain = core.settings.domains.first().map_or("localhost", |d| d);
        let made = list::notification(version, full, uri, &shown, &core.tag(), domain);
        for at in told {
            self.resources[at].dirty = false;
        }
        Document { content_type: made.content_type.into(), bytes: Bytes::from(made.body), etag: None }
    }
}

impl View for PresenceView {
    fn is_dirty(&self) -> bool {
        self.full || self.resources.iter().any(|r| r.dirty)
    }

    fn want_full(&mut self) {
        self.full = true;
    }

    fn document(&mut self, core: &Arc<Core>, subscription: &mut Subscription, now: u64) -> Option<Document> {
        if let Some(uri) = self.list.clone() {
            let version = subscription.next_version();
            return Some(self.list_document(core, &uri, version, now));
        }
        self.full = false;
        let resource = self.resources.first_mut()?;
        resource.dirty = false;
        if !subscription.shows_state() {
            return None;
        }
        let Written { bytes, etag } = resource.written(core, now)?;
        Some(Document { content_type: pidf::MEDIA_TYPE.into(), bytes, etag: Some(etag) })
    }

    fn etag(&mut self, core: &Arc<Core>, subscription: &Subscription) -> Option<Box<str>> {
        let resource = self.resources.first().filter(|_| self.list.is_none() && subscription.shows_state())?;
        Some(resource.written(core, epoch_seconds())?.etag)
    }

    fn lines(&self) -> &'static str {
        if self.list.is_some() { "Require: eventlist\r\n" } else { "" }
    }

    fn opened(&mut self, core: &Arc<Core>, subscription: &Subscription, place: Place) {
        // A fetch is over before anybody could hear of it.
        if matches!(subscription.state(), State::Terminated { .. }) && self.place.is_none() {
            return;
        }
        let now = epoch_seconds();
        let event = if self.place.is_none() { winfo::Event::Subscribe } else { winfo::Event::Approved };
        self.place = Some(place);
        for at in 0..self.resources.len() {
            let pending = self.resources[at].permission.handling == Handling::Confirm;
            self.tell(core, at, if pending { winfo::Event::Subscribe } else { event }, subscription, now);
        }
    }

    fn closed(&mut self, core: &Arc<Core>, subscription: &Subscription, place: Place) {
        let event = match subscription.state() {
            State::Terminated { reason: Reason::Rejected, .. } => winfo::Event::Rejected,
            State::Terminated { reason: Reason::Giveup, .. } => winfo::Event::Giveup,
            State::Terminated { reason: Reason::NoResource, .. } => winfo::Event::NoResource,
            State::Terminated { reason: Reason::Deactivated | Reason::Probation, .. } => winfo::Event::Deactivated,
            _ => winfo::Event::Timeout,
        };
        for aor in self.resources.iter().filter_map(|r| r.target.as_deref().ok()) {
            core.presence.unwatch(core, aor, place.id, event, epoch_seconds());
        }
    }
}
