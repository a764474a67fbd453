//! Requests that wait for devices to wake, calls above all: parked in their shard, each device rings once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chappe_push::Class;
use chappe_sip::Method;

use super::{Push, Sleeper, look_again, sleepers};
use crate::core::Core;
use crate::service::proxy;
use crate::shard::Turn;
use crate::work::Token;

/// For how long other requests wait at most.
const OTHERS: Duration = Duration::from_secs(20);

/// A request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parked {
    cell: usize,
    token: Token,
}

impl Push {
    /// A request waits for these devices, which are being woken from now on. Gives until when; `None` where too many wait.
    pub(crate) fn park(
        &self,
        turn: &Turn<'_>,
        token: Token,
        aor: &str,
        sleepers: &[Sleeper],
        method: Method,
    ) -> Option<Instant> {
        let class = class_of(method);
        // What is no call has to be answered within the 32 s of its transaction.
        let wait = if class == Class::Call { self.settings.wait } else { self.settings.wait.min(OTHERS) };
        let (request, until) = (Parked { cell: turn.cell, token }, turn.now + wait);
        if !self.state.lock().desk.park(aor, request, until, turn.now) {
            return None;
        }
        self.want(aor, sleepers, class);
        look_again(turn.core, aor, |device| sleepers.iter().any(|sleeper| *sleeper.device == *device));
        Some(until)
    }

    fn unpark(&self, aor: &str, request: Parked) {
        let mut state = self.state.lock();
        state.desk.unpark(aor, request);
        self.note_busy(&state);
    }
}

/// These devices of a user are awake: the request goes to those that it waits for. Those that sleep again meanwhile are woken
/// again.
pub(super) fn woken(core: &Arc<Core>, aor: &str, request: &Parked, devices: &[Box<str>]) {
    let woken = core.visit_cell(request.cell, |turn| proxy::woken(turn, request.token, aor, devices));
    if woken.over {
        return core.push.unpark(aor, *request);
    }
    if !woken.again.is_empty() {
        let is_wanted = |device: &str| woken.again.iter().any(|again| **again == *device);
        let asleep = sleepers(core, aor, |binding| is_wanted(binding.device()));
        core.push.want(aor, &asleep, woken.class);
        look_again(core, aor, is_wanted);
    }
}

/// A device cannot be woken: the request waits for the others, if there are any.
pub(super) fn lost(core: &Arc<Core>, aor: &str, request: &Parked, device: &str) {
    let over = core.visit_cell(request.cell, |turn| proxy::not_woken(turn, request.token, device));
    if over {
        core.push.unpark(aor, *request);
    }
}

/// What is pushed for a request: what is no call shows nothing to a user.
pub(crate) fn class_of(method: Method) -> Class {
    if method == Method::Invite { Class::Call } else { Class::Message }
}
