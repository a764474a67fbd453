//! The presence agent (RFC 3856): takes publications, tells watchers. Memory is the truth and nothing is on disk: after
//! a restart a device is told 412 and publishes anew, a subscriber is told 481 and subscribes anew.

mod documents;
mod list;
mod permit;
mod state;
mod view;
mod winfo;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_api::{PresenceOf, PublicationOf, WatcherOf};
use chappe_presence::compose::Silent;
use chappe_presence::publish::{Published, Reject};
use chappe_sip::event::{self, Package};
use chappe_sip::registrar::Binding;
use chappe_sip::{Aor, Flow, HeaderName, Method, Reply, Uri};

use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::pipeline::Sender;
use crate::service::notify::{self, Opened, Service, published};
use crate::service::{Request, capability};
use crate::shard::Turn;

pub use documents::Books;
pub use permit::{Identity, permission};
pub use state::{PresenceAgent, PresenceCounts, PresenceSettings};
use view::{PresenceView, Resource};
pub use winfo::WatcherInformation;

const PACKAGE: &str = "presence";
const WINFO: &str = "presence.winfo";
/// The flow of a device that has none to us.
const NOBODYS: Flow = Flow {
    transport: chappe_sip::Transport::Udp,
    listener: 0,
    connection: 0,
    remote: std::net::SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0)),
};

/// The package `presence` for one presentity.
pub struct Presence;

impl Service for Presence {
    fn package(&self) -> &'static dyn Package {
        &chappe_presence::Presence
    }

    fn open(&self, turn: &mut Turn<'_>, request: &Request, user: &Arc<Entry>) -> Result<Opened, event::Reject> {
        let core = turn.core;
        let who = Identity::of(core, request);
        let permission = permit::permission(core, &user.aor, &who, epoch_seconds());
        let handling = permission.handling;
        let resource = Resource::ours(&user.aor, permission);
        let view = PresenceView::single(who, resource);
        match handling {
            chappe_presence::rules::Handling::Block => Err(event::Reject::Forbidden),
            _ if core.watched.count() >= core.presence.settings.max_subscriptions => Err(event::Reject::TooMany),
            handling => Ok(Opened {
                package: &chappe_presence::Presence,
                granted: handling != chappe_presence::rules::Handling::Confirm,
                view: Box::new(view),
                resources: vec![user.aor.clone()],
                limit: core.presence.settings.max_watchers,
            }),
        }
    }
}

/// Takes a SUBSCRIBE to a list, by its URI or in its body; gives back what is none.
pub fn list(turn: &mut Turn<'_>, request: Request, uri: &Uri<'_>) -> Result<(), Request> {
    match list::wanted(turn, &request, uri) {
        Some(wanted) => {
            list::subscribe(turn, &request, wanted);
            Ok(())
        }
        None => Err(request),
    }
}

/// PUBLISH (RFC 3903 §6) for `user`, in whatever package.
pub fn publish(turn: &mut Turn<'_>, request: Request, user: &Arc<Entry>) {
    let (core, message, now) = (turn.core, &request.message, epoch_seconds());
    let agent = &core.presence;
    let package = match event::package_name(message) {
        Some(PACKAGE) => PACKAGE,
        Some(published::SUMMARY) => published::SUMMARY,
        Some(published::DIALOG) => published::DIALOG,
        _ => {
            let reply = Reply::new(message, 489, &core.tag()).header(HeaderName::AllowEvents, notify::EVENTS);
            return turn.respond(request.key, 489, reply.finish());
        }
    };
    if let Some(bytes) = crate::pipeline::bad_extension(turn, message, &["gruu", "outbound", "path"]) {
        return turn.respond(request.key, 420, bytes);
    }
    // A connection that a proxy shares among devices says nothing of any of them.
    let direct = message.values(HeaderName::Via).count() == 1;
    let flow = if direct { request.flow } else { NOBODYS };
    if package != PACKAGE {
        return published::publish(turn, &request, user, package, flow);
    }
    let allowed = match &request.sender {
        Sender::Trusted => true,
        Sender::User(sender) => sender.aor == user.aor,
        Sender::Outside { .. } => false,
    };
    if !allowed {
        return turn.answer(request.key, message, 403);
    }
    let result = agent.publish(&user.aor, message, core.tag().into(), flow, now);
    let changed = result.as_ref().is_ok_and(|published| published.changed);
    answer_publish(turn, &request, result);
    if changed {
        changed_later(core, user.aor.clone());
    }
}

/// Answers a PUBLISH with what became of it.
pub fn answer_publish(turn: &mut Turn<'_>, request: &Request, result: Result<Published, Reject>) {
    let (core, message) = (turn.core, &request.message);
    match result {
        Ok(published) => {
            let reply = Reply::new(message, 200, &core.tag())
                .header(HeaderName::SipEtag, &published.etag)
                .header(HeaderName::Expires, &published.expires.to_string());
            turn.respond(request.key, 200, reply.finish());
        }
        Err(reject) => {
            core.presence.refused.fetch_add(1, Ordering::Relaxed);
            let bytes = reject.reply(message, &core.tag()).finish();
            turn.respond(request.key, reject.status(), bytes);
        }
    }
}

/// Tells the watchers of a presentity from a task, as a shard is locked now.
fn changed_later(core: &Arc<Core>, aor: Box<str>) {
    if core.watched.of(PACKAGE, &aor).is_empty() {
        return;
    }
    let core = Arc::clone(core);
    core.runtime.clone().spawn(async move { changed(&core, &aor) });
}

/// Tells the watchers of a presentity that there is something new. Never to be called with a shard locked.
fn changed(core: &Arc<Core>, aor: &str) {
    notify::changed(core, PACKAGE, aor, |view: &mut PresenceView, _| view.changed(aor));
}

/// A document of a user is another one now, or gone; what it says takes effect at once. Never to be called with a shard
/// locked.
pub fn document_changed(core: &Arc<Core>, owner: &str, auid: &str, name: &str, text: Option<&str>) {
    if core.presence.books.take(owner, auid, name, text) {
        rules_changed(core, owner);
    }
}

/// The rules of a presentity are other ones now, or whom it blocks: what they say of each watcher takes effect at once.
/// Never to be called with a shard locked.
pub fn rules_changed(core: &Arc<Core>, aor: &str) {
    let now = epoch_seconds();
    core.presence.rules_changed(core, aor, now);
    notify::changed(core, PACKAGE, aor, |view: &mut PresenceView, subscription| {
        view.decide_anew(core, aor, subscription, now);
    });
}

/// A device came, went, or changed what it can do. Never to be called with a shard locked.
pub fn registration_changed(core: &Arc<Core>, aor: &str, before: &[Binding], after: &[Binding]) {
    let agent = &core.presence;
    if !agent.knows(aor) {
        return;
    }
    let mut news = false;
    for old in before {
        let Some(gone) = old.flow.filter(|flow| !after.iter().any(|b| b.flow == Some(*flow))) else { continue };
        match after.iter().find(|new| new.same_identity(old)).and_then(|new| new.flow) {
            Some(new) => agent.rehome(aor, &gone, new),
            None if agent.settings.withdraw => news |= agent.withdraw(aor, &gone),
            None => {}
        }
    }
    let seen = |bindings: &[Binding]| -> Vec<(String, Option<Flow>, String)> {
        let live = bindings.iter().filter(|b| !b.dormant);
        live.map(|b| (b.device().to_owned(), b.flow, b.params().to_owned())).collect()
    };
    if news || seen(before) != seen(after) {
        agent.forget_document(aor);
        changed(core, aor);
    }
}

/// A connection is gone, and with it the devices behind it: what they published is no longer true.
pub fn flow_closed(core: &Arc<Core>, flow: &Flow) {
    if !core.presence.settings.withdraw {
        return;
    }
    for aor in core.presence.published_over(flow.connection) {
        if core.presence.withdraw(&aor, flow) {
            changed(core, &aor);
        }
    }
}

/// Ends what has run out; to be called every second.
pub fn tick(core: &Arc<Core>) {
    let now = epoch_seconds();
    for due in core.presence.due(now) {
        if due.published {
            changed(core, &due.aor);
        }
        if due.rules {
            rules_changed(core, &due.aor);
        }
    }
}

/// The devices of a user that are registered and reachable now, as presence shows those that publish nothing.
fn silent(core: &Core, aor: &str, now: u64) -> Vec<(Flow, Silent)> {
    core.location.with(aor, |bindings| {
        let live = bindings.iter().filter(|b| !b.dormant && b.expires() > now);
        let shown = live.map(|binding| {
            let id = core.presence.name_of_device(binding.device());
            let services = capability::tags_of_binding(binding).services();
            (binding.flow.unwrap_or(NOBODYS), Silent { id, open: true, services })
        });
        shown.collect()
    })
}

/// `sip:user@domain`.
fn uri_of(aor: &str) -> String {
    Aor::from_canonical(aor).to_uri()
}

/// Whether a method and an event are for this service though there is no user of that name.
pub fn may_be_list(method: Method, name: Option<&str>) -> bool {
    method == Method::Subscribe && name == Some(PACKAGE)
}

/// What an operator sees of a user.
pub fn seen(core: &Core, aor: &str) -> PresenceOf {
    let now = epoch_seconds();
    let agent = &core.presence;
    let publication = |seen: chappe_presence::publish::Seen<'_>| PublicationOf {
        etag: seen.etag.to_owned(),
        expires: seen.expires,
        flow: seen.flow.to_string(),
        services: seen
            .document
            .tuples
            .iter()
            .map(|tuple| match tuple.open {
                Some(true) => format!("{} open", tuple.id),
                Some(false) => format!("{} closed", tuple.id),
                None => tuple.id.to_string(),
            })
            .collect(),
    };
    let watcher = |watcher: chappe_presence::winfo::Watcher| {
        let who = Identity::named(core, &chappe_presence::rules::canonical(&watcher.uri));
        WatcherOf {
            status: watcher.status.as_str().to_owned(),
            rule: permit::permission(core, aor, &who, now).handling.as_str().to_owned(),
            since: watcher.since,
            expires: watcher.expires,
            uri: watcher.uri.into(),
        }
    };
    PresenceOf {
        aor: aor.to_owned(),
        publications: agent.with_publications(aor, |publications| publications.seen().map(publication).collect()),
        watchers: agent.watchers(aor, now).into_iter().map(watcher).collect(),
        document: agent.text(core, aor, now),
    }
}

#[cfg(test)]
mod tests;
