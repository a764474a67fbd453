//! The package `presence.winfo` (RFC 3857): a presentity learns who watches it.

use std::sync::Arc;

use bytes::Bytes;
use chappe_presence::WatcherInfo;
use chappe_presence::winfo::{Backlog, Watcher};
use chappe_sip::event::{Package, Reject, Subscription};

use super::uri_of;
use crate::core::Core;
use crate::directory::Entry;
use crate::pipeline::Sender;
use crate::service::Request;
use crate::service::notify::{self, Document, Opened, Service};
use crate::shard::Turn;

/// Subscriptions of one presentity, at most.
const PER_USER: usize = 32;

pub struct WatcherInformation;

impl Service for WatcherInformation {
    fn package(&self) -> &'static dyn Package {
        &WatcherInfo
    }

    /// Only the presentity itself may know (RFC 3857 §4.6).
    fn open(&self, _turn: &mut Turn<'_>, request: &Request, user: &Arc<Entry>) -> Result<Opened, Reject> {
        let allowed = match &request.sender {
            Sender::Trusted => true,
            Sender::User(sender) => sender.aor == user.aor,
            Sender::Outside { .. } => false,
        };
        if !allowed {
            return Err(Reject::Forbidden);
        }
        let view = View { aor: user.aor.clone(), backlog: Backlog::default() };
        let resources = vec![user.aor.clone()];
        Ok(Opened { package: &WatcherInfo, granted: true, view: Box::new(view), resources, limit: PER_USER })
    }
}

pub(super) struct View {
    aor: Box<str>,
    backlog: Backlog,
}

impl View {
    pub(super) fn push(&mut self, watcher: &Watcher) {
        self.backlog.push(watcher);
    }
}

impl notify::View for View {
    fn is_dirty(&self) -> bool {
        !self.backlog.is_empty()
    }

    fn want_full(&mut self) {
        self.backlog.want_full();
    }

    fn document(&mut self, core: &Arc<Core>, subscription: &mut Subscription, now: u64) -> Option<Document> {
        let watchers = core.presence.watchers(&self.aor, now);
        let xml = self.backlog.document(subscription.next_version(), &uri_of(&self.aor), &watchers, now);
        Some(Document { content_type: "application/watcherinfo+xml".into(), bytes: Bytes::from(xml), etag: None })
    }
}
