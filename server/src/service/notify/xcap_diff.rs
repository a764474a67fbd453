//! The event package `xcap-diff` (RFC 5875): a user's devices learn what becomes of the user's XML documents.
//!
//! What is told is decided in [`chappe_xcap::watch`]. Users follow documents of their own; entries for those of others
//! select nothing.

use std::sync::Arc;

use bytes::Bytes;
use chappe_sip::event::{self, Package, Reject, Subscription};
use chappe_sip::{HeaderName, Message};
use chappe_store::DocumentKey;
use chappe_xcap::DIFF_TYPE;
use chappe_xcap::watch::{Processing, Selection, Watch, selections};

use super::{Document, Opened, View};
use crate::core::Core;
use crate::directory::Entry;
use crate::pipeline::Sender;
use crate::service::Request;
use crate::shard::Turn;
use crate::xcap::{DocumentChange, DocumentWatcher, owner_of};

pub const NAME: &str = "xcap-diff";
const LIST_TYPE: &[u8] = b"application/resource-lists+xml";
/// Subscriptions of one user.
const PER_USER: usize = 64;

/// The package.
#[derive(Debug, Clone, Copy)]
pub struct XcapDiff;

impl Package for XcapDiff {
    fn name(&self) -> &'static str {
        NAME
    }

    fn content_types(&self) -> &'static [&'static str] {
        &[DIFF_TYPE]
    }

    /// §4.5.
    fn default_expires(&self) -> u32 {
        3600
    }

    /// §4.10.
    fn min_interval(&self) -> u32 {
        5
    }
}

struct DiffView {
    user: Box<str>,
    watch: Watch,
}

impl View for DiffView {
    fn is_dirty(&self) -> bool {
        self.watch.is_dirty()
    }

    fn want_full(&mut self) {
        self.watch.want_full();
    }

    fn document(&mut self, _core: &Arc<Core>, _subscription: &mut Subscription, _now: u64) -> Option<Document> {
        let etag = self.watch.etag();
        Some(Document { content_type: DIFF_TYPE.into(), bytes: Bytes::from(self.watch.document()), etag: Some(etag) })
    }

    fn etag(&mut self, _core: &Arc<Core>, _subscription: &Subscription) -> Option<Box<str>> {
        Some(self.watch.etag())
    }
}

/// SUBSCRIBE outside of a dialog.
pub(super) fn subscribe(turn: &mut Turn<'_>, request: Request, user: &Arc<Entry>) {
    let core = turn.core;
    let allowed = match &request.sender {
        Sender::Trusted => true,
        Sender::User(sender) => sender.aor == user.aor,
        Sender::Outside { .. } => false,
    };
    if !allowed {
        return super::open(turn, &request, Err(Reject::Forbidden));
    }
    if core.watched.count() >= core.presence.settings.max_subscriptions {
        return super::open(turn, &request, Err(Reject::TooMany));
    }
    let processing = processing(&request.message);
    let watch = match selected(core, &user.aor, &request.message) {
        Ok(selections) => watch(core, &user.aor, selections, processing),
        Err(status) => return turn.answer(request.key, &request.message, status),
    };
    start(core, user.aor.clone(), watch, request, |turn, request, user, watch| {
        let resources = vec![user.clone()];
        let view = Box::new(DiffView { user, watch });
        let opened = Opened { package: &XcapDiff, granted: true, view, resources, limit: PER_USER };
        super::open(turn, request, Ok(opened));
    });
}

/// Takes over what a SUBSCRIBE within the dialog of a subscription asks for anew: another mode, another list (§4.3,
/// §4.4). Gives the request back unless it waits for documents.
pub(super) fn renewed(turn: &mut Turn<'_>, request: Request) -> Option<Request> {
    let core = turn.core;
    let message = Arc::clone(&request.message);
    let Some(view) = super::view_of::<DiffView>(turn, &message) else { return Some(request) };
    if message.body().is_empty() {
        view.watch.processing = processing(&message);
        return Some(request);
    }
    let user = view.user.clone();
    match selected(core, &user, &message) {
        Ok(selections) => {
            let watch = watch(core, &user, selections, processing(&message));
            start(core, user, watch, request, |turn, request, _, watch| {
                if let Some(view) = super::view_of::<DiffView>(turn, &request.message) {
                    view.watch = watch;
                }
                super::renew(turn, request);
            });
        }
        Err(status) => turn.answer(request.key, &message, status),
    }
    None
}

fn processing(message: &Message) -> Processing {
    Processing::of(event::parameter(message, "diff-processing"))
}

fn watch(core: &Core, user: &str, selections: Vec<Selection>, processing: Processing) -> Watch {
    let settings = &core.xcap.settings;
    Watch::new(&format!("sip:{user}"), &settings.root, settings.limits, selections, processing)
}

/// What the list of a request selects of the documents of `user`, or the status that refuses it.
fn selected(core: &Core, user: &str, message: &Message) -> Result<Vec<Selection>, u16> {
    let kind = message.header(HeaderName::ContentType).unwrap_or_default();
    let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(LIST_TYPE) {
        return Err(if message.body().is_empty() { 400 } else { 415 });
    }
    let body = str::from_utf8(message.body()).map_err(|_| 400_u16)?;
    let settings = &core.xcap.settings;
    let mut found = selections(body, &settings.root, &settings.limits).map_err(|_| 400_u16)?;
    let is_own = |selection: &Selection| {
        selection.xui.as_deref().is_none_or(|xui| owner_of(core, xui).is_some_and(|owner| *owner == *user))
    };
    found.retain(is_own);
    Ok(found)
}

/// Fetches what there is, and goes on in the shard of the request.
fn start(
    core: &Arc<Core>,
    user: Box<str>,
    watch: Watch,
    request: Request,
    begin: impl FnOnce(&mut Turn<'_>, &Request, Box<str>, Watch) + Send + 'static,
) {
    let core = Arc::clone(core);
    core.runtime.clone().spawn(async move {
        let message = Arc::clone(&request.message);
        let (key, at) = (request.key, Arc::clone(&core));
        let begin = |watch| {
            let user = user.clone();
            at.visit(request.message.call_id(), |turn| begin(turn, &request, user, watch));
        };
        if let Err(error) = core.xcap.watch_from_now(&core, &user, watch, begin).await {
            core.counters.store_failed();
            tracing::error!(%error, "documents cannot be read");
            core.visit(message.call_id(), |turn| turn.answer(key, &message, 503));
        }
    });
}

/// Tells subscriptions of changes.
pub struct Feed;

impl DocumentWatcher for Feed {
    fn changed(&self, core: &Arc<Core>, change: &DocumentChange) {
        let DocumentKey { owner, auid, name } = &change.key;
        super::changed(core, NAME, owner, |view: &mut DiffView, _| {
            let previous = change.before.as_deref().map(|document| &*document.etag);
            let new = change.after.as_deref().map(|document| (&*document.etag, &*document.text));
            view.watch.changed((auid, name), previous, new, change.patch.as_ref());
        });
    }
}
