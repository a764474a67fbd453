//! A push goes out, and what its service says of it has its consequences.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chappe_push::{Class, Due, Note, Outcome, Target};
use chappe_sip::registrar::Binding;

use super::circuit::BREAK;
use super::{Sleeper, calls, target_of};
use crate::core::{Core, epoch_seconds};

/// Sends a push that is due.
pub(super) async fn send(core: &Arc<Core>, due: Due) {
    let push = &core.push;
    let target = push.state.lock().targets.get(&due.key).cloned();
    let Some((target, since)) = target else { return };
    let Some(provider) = push.settings.providers.get(&target.provider) else {
        let why = "no such service is configured".to_owned();
        return finish(core, &due, &target, &Outcome::Refused(why));
    };
    let part = provider.circuit(&target);
    if push.state.lock().circuits.is_open(&target.provider, &part, Instant::now()) {
        let why = "the service has failed too often, and is left alone".to_owned();
        return finish(core, &due, &target, &Outcome::Retry { after: Some(BREAK), why });
    }
    push.sent.fetch_add(1, Ordering::Relaxed);
    let collapse = due.class.as_str().to_owned();
    let note = Note { class: due.class, ttl: due.class.ttl(), collapse, since, now: epoch_seconds() };
    let outcome = provider.send(&target, &note).await;
    let opens = push.state.lock().circuits.judge(&target.provider, &part, &outcome, Instant::now());
    if opens {
        let (provider, why) = (&target.provider, outcome.why());
        tracing::error!(provider, part, why, "a push service fails again and again, and is left alone for a while");
    }
    match &outcome {
        Outcome::Accepted => push.accepted.fetch_add(1, Ordering::Relaxed),
        _ => push.failed.fetch_add(1, Ordering::Relaxed),
    };
    if let Outcome::Misconfigured(why) = &outcome {
        tracing::error!(provider = target.provider, why, "a push service refuses what we say of ourselves");
    }
    if let Outcome::Gone(_) = &outcome
        && let Some(written) = push.dead.bury(&target)
    {
        // What goes wrong is in the log.
        let _ = written.await;
    }
    finish(core, &due, &target, &outcome);
}

fn finish(core: &Arc<Core>, due: &Due, target: &Target, outcome: &Outcome) {
    let push = &core.push;
    let parked = {
        let mut state = push.state.lock();
        let what = format!("{} {}", outcome.as_str(), outcome.why()).trim_end().to_owned();
        state.log.add(&due.key, &target.provider, due.class, what);
        let parked = state.desk.answered(due, outcome, Instant::now());
        push.note_busy(&state);
        parked
    };
    let (aor, device) = &due.key;
    if let Outcome::Gone(_) = outcome {
        retire(core, aor, device, target);
    }
    for call in parked {
        calls::lost(core, aor, &call, device);
    }
}

/// The token of a device is dead, and nothing else leads to it: it is not registered any more.
fn retire(core: &Arc<Core>, aor: &str, device: &str, target: &Target) {
    let now = epoch_seconds();
    let changed = core.location.update(aor, |bindings| {
        let before = bindings.clone();
        bindings.retain(|binding| {
            let is_it = binding.device() == device && target_of(&core.push, binding).as_ref() == Some(target);
            !(is_it && binding.dormant)
        });
        core.persist.seen(core.away.changed(aor, &before, bindings, now));
        (before.len() != bindings.len()).then(|| (before, bindings.clone()))
    });
    if let Some((before, after)) = changed {
        core.push.retired.fetch_add(1, Ordering::Relaxed);
        core.persist.later(aor);
        crate::service::notify::registration_changed(core, aor, &before, &after);
    }
}

/// Pushes to every device of a user that can be pushed to, awake or not, and says what came of it.
pub async fn test(core: &Arc<Core>, aor: &str) -> Vec<(Box<str>, String, Outcome)> {
    let found: Vec<Sleeper> = core.location.with(aor, |bindings| {
        let one = |binding: &Binding| {
            let (device, since) = (binding.device().into(), binding.registered());
            target_of(&core.push, binding).map(|target| Sleeper { device, target, since })
        };
        bindings.iter().filter_map(one).collect()
    });
    let mut done = Vec::new();
    for Sleeper { device, target, since } in found {
        if core.push.dead.contains(&target) {
            done.push((device, target.provider, Outcome::Gone("its service has called the token dead".to_owned())));
            continue;
        }
        let Some(provider) = core.push.settings.providers.get(&target.provider) else { continue };
        let class = Class::Message;
        let note = Note { class, ttl: class.ttl(), collapse: "test".to_owned(), since, now: epoch_seconds() };
        let outcome = provider.send(&target, &note).await;
        let what = format!("test: {} {}", outcome.as_str(), outcome.why()).trim_end().to_owned();
        core.push.state.lock().log.add(&(aor.into(), device.clone()), &target.provider, class, what);
        done.push((device, target.provider, outcome));
    }
    done
}
