//! Signing devices of a user out: their registrations, connections and sessions end.

use std::sync::Arc;

use chappe_sip::registrar::Binding;
use chappe_store::StoreError;

use crate::core::{Core, epoch_seconds};
use crate::msrp::Relay;

/// Ends every registration and session of a user, and lets every connection be asked who it is; gives how many registrations ended.
pub fn all(core: &Arc<Core>, relay: &Relay, aor: &str) -> u64 {
    let ended = end(core, aor, |_| true);
    forget_flows(core, aor);
    sessions(relay, aor);
    ended
}

/// Signs out what has this id: a sign-in, with the devices that registered by it, or a device. Gives what ended: sign-ins and
/// registrations.
///
/// # Errors
/// The store.
pub async fn one(core: &Arc<Core>, relay: &Relay, aor: &str, id: &str) -> Result<u64, StoreError> {
    let by_it = |binding: &Binding| {
        binding.device() == id || core.sign_ins.behind(aor, binding.device()).is_some_and(|behind| *behind == *id)
    };
    let ended = end(core, aor, by_it);
    let gone = core.sign_ins.sign_out(aor, Some(id)).await?.len() as u64;
    // What it was seen for is on disk before it goes from there.
    core.persist.flush().await?;
    let known = core.stores.devices.remove(aor, Some(id)).await?;
    core.away.forget(aor, id);
    if ended + gone + known > 0 {
        forget_flows(core, aor);
        sessions(relay, aor);
    }
    Ok(ended + gone + known)
}

/// Every connection of a user is asked who it is at its next request.
pub fn forget_flows(core: &Core, aor: &str) {
    core.identity.forget_user(aor);
}

fn sessions(relay: &Relay, aor: &str) {
    // Sessions do not say which device they are with.
    let mut after = 0;
    loop {
        let page = relay.list(after, 1000);
        let Some(last) = page.last() else { return };
        after = last.id;
        for session in page.iter().filter(|session| session.user == aor) {
            // It may have ended meanwhile.
            let _ = relay.kill(session.id);
        }
    }
}

/// Ends the registrations that `which` says, and closes their connections; gives how many.
pub fn end(core: &Arc<Core>, aor: &str, which: impl Fn(&Binding) -> bool) -> u64 {
    let (before, after) = core.location.update(aor, |bindings| {
        let before = bindings.clone();
        bindings.retain(|binding| !which(binding));
        (before, bindings.clone())
    });
    let ended = before.len() - after.len();
    if ended == 0 {
        return 0;
    }
    core.persist.seen(core.away.changed(aor, &before, &after, epoch_seconds()));
    core.persist.later(aor);
    crate::service::notify::registration_changed(core, aor, &before, &after);
    for flow in before.iter().filter(|binding| which(binding)).filter_map(|binding| binding.flow.as_ref()) {
        core.identity.forget(flow);
        if let Some(net) = core.net() {
            net.close(flow);
        }
    }
    ended as u64
}
