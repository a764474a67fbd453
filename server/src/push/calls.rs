//! Calls that wait for devices to wake: parked in their shard, each device rings once.

use std::sync::Arc;
use std::time::Instant;

use chappe_push::Class;

use super::{Push, Sleeper};
use crate::core::Core;
use crate::service::proxy;
use crate::shard::Turn;
use crate::work::Token;

/// Calls for one user that wait at once; one more goes on without waiting.
const PER_USER: usize = 16;

/// A call that waits.
#[derive(Debug, Clone)]
pub struct Parked {
    pub(super) cell: usize,
    pub(super) token: Token,
    pub(super) until: Instant,
}

impl Push {
    /// A call waits for these devices, which are being woken from now on. False where too many wait.
    pub(crate) fn park(&self, turn: &Turn<'_>, token: Token, aor: &str, sleepers: &[Sleeper]) -> bool {
        {
            let mut state = self.state.lock();
            let parked = state.parked.entry(aor.into()).or_default();
            if parked.len() >= PER_USER {
                parked.retain(|call| call.until > turn.now);
            }
            if parked.len() >= PER_USER {
                return false;
            }
            parked.push(Parked { cell: turn.cell, token, until: turn.now + self.settings.wait });
        }
        self.want(aor, sleepers, Class::Call);
        true
    }

    fn unpark(&self, aor: &str, token: Token) {
        let mut state = self.state.lock();
        if let Some(parked) = state.parked.get_mut(aor) {
            parked.retain(|call| call.token != token);
            if parked.is_empty() {
                state.parked.remove(aor);
            }
        }
        self.note_busy(&state);
    }
}

/// These devices of a user are awake: the call goes to those that it waits for.
pub(super) fn woken(core: &Arc<Core>, aor: &str, call: &Parked, devices: &[Box<str>]) {
    let over = core.visit_cell(call.cell, |turn| proxy::woken(turn, call.token, aor, devices));
    if over {
        core.push.unpark(aor, call.token);
    }
}

/// A device cannot be woken: the call waits for the others, if there are any.
pub(super) fn lost(core: &Arc<Core>, aor: &str, call: &Parked, device: &str) {
    let over = core.visit_cell(call.cell, |turn| proxy::not_woken(turn, call.token, device));
    if over {
        core.push.unpark(aor, call.token);
    }
}
