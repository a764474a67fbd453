//! Subscriptions to a list of presentities (RFC 4662): by a URI of the server, or with the list in the body (RFC 5367).
//! There are no subscriptions behind them: each resource of ours is watched directly, and one change of it is one change
//! for all lists that have it.

use chappe_presence::list::{self, Entry};
use chappe_presence::rules::{Handling, Permission};
use chappe_sip::event::Reject;
use chappe_sip::{HeaderName, Reply, Uri};

use super::permit::{self, Identity};
use super::view::{PresenceView, Resource};
use crate::core::epoch_seconds;
use crate::pipeline::Sender;
use crate::service::Request;
use crate::service::notify::{self, Opened};
use crate::shard::Turn;

/// The list of a SUBSCRIBE.
pub(super) struct Wanted {
    uri: Box<str>,
    /// Or the status that refuses it.
    entries: Result<Vec<Entry>, u16>,
}

/// The list that a SUBSCRIBE is for, if it is for one.
pub(super) fn wanted(turn: &Turn<'_>, request: &Request, uri: &Uri<'_>) -> Option<Wanted> {
    let (core, message) = (turn.core, &request.message);
    let settings = &core.presence.settings;
    let text: Box<str> = String::from_utf8_lossy(message.uri()).into();
    if list::is_requested(message) {
        let ours = uri.is_sip() && core.domain(uri.host).is_some();
        if !ours {
            return None;
        }
        let limits = &settings.policy.limits;
        let entries = match list::body(message) {
            Some(body) => list::entries(body, settings.max_entries, limits).map_err(|_| 400),
            None => Err(400),
        };
        return Some(Wanted { uri: text, entries });
    }
    let watcher = match &request.sender {
        Sender::User(entry) => &*entry.aor,
        _ => "",
    };
    let entries = core.presence.books.list(&text, watcher, settings.max_entries)?;
    Some(Wanted { uri: text, entries: Ok(entries) })
}

pub(super) fn subscribe(turn: &mut Turn<'_>, request: &Request, wanted: Wanted) {
    let (core, message) = (turn.core, &request.message);
    if matches!(request.sender, Sender::Outside { .. }) {
        return turn.answer(request.key, message, 403);
    }
    // RFC 4662 §4.4: the subscriber has to understand what it will get.
    let understands = |name| message.values(name).any(|tag| tag.eq_ignore_ascii_case(b"eventlist"));
    if !understands(HeaderName::Supported) && !understands(HeaderName::Require) {
        let reply = Reply::new(message, 421, &core.tag()).header(HeaderName::Require, "eventlist");
        return turn.respond(request.key, 421, reply.finish());
    }
    let entries = match wanted.entries {
        Ok(entries) => entries,
        Err(status) => return turn.answer(request.key, message, status),
    };
    let (who, now) = (Identity::of(core, request), epoch_seconds());
    let resources: Vec<Resource> = entries
        .into_iter()
        .map(|entry| {
            let target = target(turn, &entry.uri);
            let permission = match &target {
                Ok(aor) => permit::permission(core, aor, &who, now),
                Err(_) => Permission::of(Handling::Block),
            };
            Resource::listed(entry, target, permission)
        })
        .collect();
    let mut watched: Vec<Box<str>> = resources.iter().filter_map(|r| r.aor().map(Into::into)).collect();
    watched.sort_unstable();
    watched.dedup();
    let settings = &core.presence.settings;
    let opened = match core.watched.count() >= settings.max_subscriptions {
        true => Err(Reject::TooMany),
        false => Ok(Opened {
            package: &chappe_presence::Presence,
            granted: true,
            view: Box::new(PresenceView::list(who, &wanted.uri, resources)),
            resources: watched,
            limit: settings.max_watchers,
        }),
    };
    notify::open(turn, request, opened);
}

/// The AOR that an entry means, or why it cannot be watched: nobody of ours has that name, or it is for others to say.
fn target(turn: &Turn<'_>, uri: &str) -> Result<Box<str>, &'static str> {
    let Ok(uri) = Uri::parse(uri.as_bytes()) else { return Err("noresource") };
    match crate::pipeline::addressee(turn, &uri) {
        Some(user) if !user.disabled => Ok(user.aor.clone()),
        Some(_) => Err("noresource"),
        None if uri.is_sip() && turn.core.domain(uri.host).is_none() => Err("giveup"),
        None => Err("noresource"),
    }
}
