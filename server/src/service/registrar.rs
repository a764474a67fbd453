//! REGISTER (RFC 3261 §10.3): authenticate, decide, put on disk what is new, answer.

use std::borrow::Cow;
use std::sync::Arc;

use chappe_sip::layer::ServerKey;
use chappe_sip::registrar::{self, Answer, Binding};
use chappe_sip::{Aor, Flow, Message, Reply, Scheme};
use chappe_store::StoreError;

use crate::admission::Offence;
use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::identity::{Checked, Fresh, Role};
use crate::metrics::Verdict;
use crate::pipeline::is_private;
use crate::push;
use crate::service::{chat, drain, group, notify};
use crate::shard::Turn;

/// What came of the decision.
enum Decided {
    Refused(registrar::Reject),
    Query,
    /// With what watchers have to be told, where there are any.
    Refreshed {
        told: Option<(Vec<Binding>, Vec<Binding>)>,
    },
    Changed {
        before: Vec<Binding>,
        after: Vec<Binding>,
    },
}

pub fn register(turn: &mut Turn<'_>, key: ServerKey, message: &Arc<Message>, flow: &Flow) {
    let core = turn.core;
    let now = epoch_seconds();
    let Some(domain) = message.to().and_then(|to| to.parse_uri().ok()).and_then(|to| match to.scheme {
        Scheme::Sip | Scheme::Sips => core.domain(to.host),
        Scheme::Tel => core.settings.domains.first().map(|d| &**d),
        Scheme::Urn | Scheme::Other => None,
    }) else {
        // §10.3 step 5; an AOR that cannot be one at all is malformed.
        let is_sip = message.to().and_then(|to| to.parse_uri().ok()).is_some_and(|uri| uri.is_sip());
        return turn.answer(key, message, if is_sip { 404 } else { 400 });
    };

    let tag = core.tag();
    let fresh = Fresh { now, salt: core.random().to_be_bytes(), tag: &tag, secure: is_private(flow) };
    let checked = core.identity.check(message, Role::Registrar, domain, &core.directory, fresh);
    let user = match checked {
        Checked::User(user) => user,
        Checked::Challenge(bytes) => {
            core.counters.authentication(Verdict::Challenged);
            return turn.challenge(key, message, flow, 401, bytes);
        }
        Checked::Wrong { answer, unknown } => {
            core.counters.authentication(Verdict::Refused);
            core.offence(flow, if unknown { Offence::UnknownUser } else { Offence::WrongPassword });
            return turn.challenge(key, message, flow, 401, answer);
        }
    };
    if !is_own_aor(turn, message, &user) {
        return turn.answer(key, message, 403);
    }
    core.counters.authentication(Verdict::Accepted);
    core.identity.remember(flow, &user);

    if !push::is_supported(&core.push, message) {
        // RFC 8599 §5.6: nobody else on the way could serve it.
        return turn.answer(key, message, 555);
    }
    let aor = &*user.aor;
    let mut policy = Cow::Borrowed(&core.settings.registrar);
    if let Some(least) = push::least_expires(&core.push, message).filter(|least| *least > policy.min_expires) {
        policy.to_mut().min_expires = least;
    }
    let watched = notify::is_watched(core, aor);
    let mut response = None;
    let decided = core.location.update(aor, |bindings| {
        let outcome = match registrar::register(message, bindings, &policy, flow, now) {
            Ok(outcome) => outcome,
            Err(reject) => return Decided::Refused(reject),
        };
        let (outbound, direct) = (outcome.outbound, outcome.direct);
        let decided = if outcome.is_query() {
            Decided::Query
        } else if outcome.is_durable() {
            let before = bindings.clone();
            outcome.apply(bindings);
            core.persist.seen(core.away.changed(aor, &before, bindings, now));
            Decided::Changed { before, after: bindings.clone() }
        } else {
            let lapsed = bindings.iter().any(|binding| binding.expires() <= now);
            let before = (watched || lapsed).then(|| bindings.clone());
            outcome.apply(bindings);
            if let Some(before) = &before {
                core.persist.seen(core.away.changed(aor, before, bindings, now));
            }
            Decided::Refreshed { told: before.filter(|_| watched).map(|before| (before, bindings.clone())) }
        };
        response = Some(answer(core, message, bindings, &user, flow, (outbound, direct), now));
        decided
    });

    let has_bound = matches!(decided, Decided::Changed { .. } | Decided::Refreshed { .. });
    if has_bound && let Some(id) = core.bearers.used_by(message, now) {
        core.sign_ins.bound(aor, &chat::device_of(core, aor, message, flow), &id);
    }

    match (decided, response) {
        (Decided::Refused(reject), _) => {
            let bytes = reject.reply(message, &core.tag()).finish();
            turn.respond(key, reject.status(), bytes);
        }
        (Decided::Query, Some(reply)) => turn.registered(key, reply.finish()),
        (Decided::Refreshed { told }, Some(reply)) => {
            core.counters.refreshed();
            core.persist.later(aor);
            turn.registered(key, reply.finish());
            drain::registered(core, aor);
            group::registered(core, aor, false);
            push::registered_later(core, aor);
            if let Some((before, after)) = told {
                let (core, user) = (Arc::clone(core), Arc::clone(&user));
                // Watchers may live in this shard, which is locked now.
                core.runtime.clone().spawn(async move {
                    notify::registration_changed(&core, &user.aor, &before, &after);
                });
            }
        }
        (Decided::Changed { before, after }, Some(reply)) => {
            let (core, message) = (Arc::clone(core), Arc::clone(message));
            let handle = core.runtime.clone();
            handle.spawn(async move { store_and_answer(core, key, message, user, before, after, reply).await });
        }
        // There is a response for everything that was not refused.
        (_, None) => turn.answer(key, message, 500),
    }
}

/// A new binding is on disk before its 200; where the store fails, the binding is taken back.
async fn store_and_answer(
    core: Arc<Core>,
    key: ServerKey,
    message: Arc<Message>,
    user: Arc<Entry>,
    before: Vec<Binding>,
    after: Vec<Binding>,
    reply: Reply,
) {
    let aor = &*user.aor;
    match core.stored(core.persist.now(aor)).await {
        Ok(()) => {
            if after.len() < before.len() {
                core.counters.unregistered()
            } else {
                core.counters.registered()
            }
            core.visit(message.call_id(), |turn| turn.registered(key, reply.finish()));
            notify::registration_changed(&core, aor, &before, &after);
            drain::registered(&core, aor);
            group::registered(&core, aor, true);
            push::registered(&core, aor);
        }
        Err(error) => {
            core.counters.store_failed();
            tracing::error!(%error, "a registration could not be stored");
            core.location.update(aor, |bindings| {
                if *bindings == after {
                    *bindings = before;
                    core.persist.seen(core.away.changed(aor, &after, bindings, epoch_seconds()));
                }
            });
            let status = store_status(&error);
            core.visit(message.call_id(), |turn| turn.answer(key, &message, status));
        }
    }
}

/// The response code for a request that the store could not keep.
pub fn store_status(error: &StoreError) -> u16 {
    match error {
        StoreError::Unavailable(_) | StoreError::Closed => 503,
        _ => 500,
    }
}

/// Whether the To of a REGISTER names the authenticated account (§10.3 step 4).
fn is_own_aor(turn: &Turn<'_>, message: &Message, user: &Entry) -> bool {
    let Some(to) = message.to().and_then(|to| to.parse_uri().ok()) else { return false };
    if crate::pipeline::addressee(turn, &to).is_some_and(|e| e.aor == user.aor) {
        return true;
    }
    // Third-party registration: From would have to be somebody who may do that, and nobody may.
    false
}

fn answer(
    core: &Core,
    message: &Message,
    bindings: &[Binding],
    user: &Entry,
    flow: &Flow,
    (outbound, direct): (bool, bool),
    now: u64,
) -> Reply {
    let aor = Aor::from_canonical(user.aor.clone());
    let mut associated = String::new();
    if !user.tel.is_empty() {
        associated.push('<');
        associated.push_str(&aor.to_uri());
        associated.push('>');
        for tel in &user.tel {
            associated.push_str(", <tel:");
            associated.push_str(tel);
            associated.push('>');
        }
    }
    let to_tag = core.tag();
    let parts = Answer {
        aor: &aor,
        flow,
        to_tag: &to_tag,
        now,
        service_route: "",
        associated: &associated,
        gruu: Some(&core.gruu),
    };
    let reply = registrar::answer(message, bindings, outbound, direct, &core.settings.registrar, &parts);
    core.push.tell(message, reply, &aor, bindings, core.random())
}
