//! How subscriptions begin: by a SUBSCRIBE in a dialog of its own, or in that of a call.

use std::sync::Arc;

use chappe_sip::dialog::DialogId;
use chappe_sip::event::{self, Package, Policy, Reject, Subscription};
use chappe_sip::layer::ServerKey;
use chappe_sip::{Flow, Message};

use super::{EXTENSIONS, Opened, PACKAGES, Place, Watcher, contact, proceed, refuse};
use crate::core::epoch_seconds;
use crate::service::Request;
use crate::service::agent::{self, CallRef, Shared};
use crate::shard::Turn;

/// Answers a SUBSCRIBE outside of a dialog with what its package decided, and sends the first NOTIFY.
pub fn open(turn: &mut Turn<'_>, request: &Request, opened: Result<Opened, Reject>) {
    let Request { key, message, flow, .. } = request;
    let secure = flow.transport.is_secure();
    let begin = |tag: &str, package: &'static dyn Package, granted, now| {
        event::subscribe(message, &[package], &Policy::default(), tag, secure, granted, now)
    };
    begin_with(turn, Asked { key: *key, message, flow: *flow, contact: None }, opened, begin);
}

/// The same for a SUBSCRIBE in the dialog of a call of ours, which the subscription then shares.
pub fn open_within(
    turn: &mut Turn<'_>,
    call: &CallRef,
    key: ServerKey,
    message: &Arc<Message>,
    opened: Result<Opened, Reject>,
) {
    let Some(Shared { dialog, contact, flow }) = agent::shared(turn, call) else {
        return turn.answer(key, message, 481);
    };
    let begin = |_: &str, package: &'static dyn Package, granted, now| {
        event::subscribe_within(message, dialog, &[package], &Policy::default(), granted, now)
    };
    begin_with(turn, Asked { key, message, flow, contact: Some(contact) }, opened, begin);
}

/// The call of a dialog is over; its last request had this CSeq. A subscription in the same dialog goes on (RFC 5057 §3.1).
pub fn dialog_left(turn: &mut Turn<'_>, dialog: &DialogId, seq: Option<u32>) {
    let subscriptions = &mut turn.shard.subscriptions;
    let id = subscriptions.by_dialog.get(dialog);
    if let Some(watcher) = id.and_then(|id| subscriptions.watchers.get_mut(id)) {
        watcher.subscription.dialog.continue_after(seq);
    }
}

/// A SUBSCRIBE that begins something.
struct Asked<'a> {
    key: ServerKey,
    message: &'a Arc<Message>,
    flow: Flow,
    contact: Option<Box<str>>,
}

fn begin_with(
    turn: &mut Turn<'_>,
    asked: Asked<'_>,
    opened: Result<Opened, Reject>,
    begin: impl FnOnce(&str, &'static dyn Package, bool, u64) -> Result<Subscription, Reject>,
) {
    let (key, message, now) = (asked.key, asked.message, epoch_seconds());
    if let Some(bytes) = crate::pipeline::bad_extension(turn, message, &EXTENSIONS) {
        return turn.respond(key, 420, bytes);
    }
    let id = match opened.and_then(|opened| add(turn, asked, opened, now, begin)) {
        Ok(id) => id,
        Err(reject) => return refuse(turn, key, message, reject),
    };
    if let Some(watcher) = turn.shard.subscriptions.watchers.get(&id) {
        let contact = contact(turn.core, watcher);
        let lines = watcher.view.lines();
        let bytes = watcher.subscription.accept_with(message, 200, &contact, &PACKAGES, lines, now);
        turn.respond(key, 200, bytes);
    }
    proceed(turn, id);
}

fn add(
    turn: &mut Turn<'_>,
    asked: Asked<'_>,
    opened: Opened,
    now: u64,
    begin: impl FnOnce(&str, &'static dyn Package, bool, u64) -> Result<Subscription, Reject>,
) -> Result<u64, Reject> {
    let core = turn.core;
    let Opened { package, granted, mut view, resources, limit } = opened;
    let subscription = begin(&core.tag(), package, granted, now)?;
    let place = Place { cell: turn.cell, id: core.random() };
    if !core.watched.add(package.name(), &resources, place, limit) {
        return Err(Reject::TooMany);
    }
    view.want_full();
    view.opened(core, &subscription, place);
    let subscriptions = &mut turn.shard.subscriptions;
    subscriptions.by_dialog.insert(subscription.dialog.id.clone(), place.id);
    let Asked { flow, contact, .. } = asked;
    subscriptions
        .watchers
        .insert(place.id, Watcher { subscription, package, view, resources, flow, contact, due: None });
    Ok(place.id)
}
