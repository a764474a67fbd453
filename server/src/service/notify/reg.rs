//! The reg package (RFC 3680): devices and trusted peers learn of registrations.

use std::sync::Arc;

use bytes::Bytes;
use chappe_sip::Aor;
use chappe_sip::event::reg::{self, Backlog, Reg};
use chappe_sip::event::{Package, Reject, Subscription};
use chappe_sip::registrar::Binding;

use super::{Document, Opened, Service, View};
use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::pipeline::Sender;
use crate::service::Request;
use crate::shard::Turn;

const NAME: &str = "reg";
/// Subscriptions to one AOR, at most.
const PER_AOR: usize = 32;

/// The package as a service of this server.
pub struct Registrations;

impl Service for Registrations {
    fn package(&self) -> &'static dyn Package {
        &Reg
    }

    fn open(&self, _turn: &mut Turn<'_>, request: &Request, user: &Arc<Entry>) -> Result<Opened, Reject> {
        let allowed = match &request.sender {
            Sender::Trusted => true,
            Sender::User(sender) => sender.aor == user.aor,
            Sender::Outside { .. } => false,
        };
        if !allowed {
            return Err(Reject::Forbidden);
        }
        let view = RegView { aor: user.aor.clone(), backlog: Backlog::default() };
        let resources = vec![user.aor.clone()];
        Ok(Opened { package: &Reg, granted: true, view: Box::new(view), resources, limit: PER_AOR })
    }
}

struct RegView {
    aor: Box<str>,
    backlog: Backlog,
}

impl View for RegView {
    fn is_dirty(&self) -> bool {
        !self.backlog.is_empty()
    }

    fn want_full(&mut self) {
        self.backlog.want_full();
    }

    fn document(&mut self, core: &Arc<Core>, subscription: &mut Subscription, now: u64) -> Option<Document> {
        let aor = Aor::from_canonical(self.aor.clone());
        let version = subscription.next_version();
        let backlog = &mut self.backlog;
        let xml = core.location.with(&self.aor, |b| backlog.document(version, &aor, b, Some(&core.gruu), now));
        Some(Document { content_type: "application/reginfo+xml".into(), bytes: Bytes::from(xml), etag: None })
    }
}

/// Whether somebody is told of the registrations of an AOR.
pub fn is_watched(core: &Core, aor: &str) -> bool {
    !core.watched.of(NAME, aor).is_empty()
}

/// Tells the watchers of an AOR what changed. Never to be called with a shard locked.
pub fn registration_changed(core: &Arc<Core>, aor: &str, before: &[Binding], after: &[Binding]) {
    super::changed(core, NAME, aor, |view: &mut RegView, _| {
        reg::changes(before, after, epoch_seconds(), |event, binding| view.backlog.push(event, binding));
    });
}
