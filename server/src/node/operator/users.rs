//! Devices of users, what waits for them and why, and their messages of late.

use std::sync::Arc;

use chappe_api::{List, NodeError, Page, Queue, RecentMessage, Registered, WaitReason, Waiting};
use chappe_sip::registrar::{Binding, targets};
use chappe_store::{Depth, QueuedMessage, Wanted};

use super::{Operator, registered, waiting};
use crate::accounts::unavailable;
use crate::core::{Core, epoch_seconds};
use crate::service::notify;
use crate::service::pager::is_alive;
use crate::steps::{Kind, Step};

impl Operator {
    /// The bindings of a user, and how its devices can be reached now.
    pub(super) fn view(&self, aor: &str, bindings: &[Binding]) -> Registered {
        let core = &self.core;
        let live = live(core, bindings);
        let mut shown = registered(aor, bindings);
        for (shown, binding) in shown.bindings.iter_mut().zip(bindings) {
            shown.reachable = live.iter().any(|device| **device == *binding.device());
            shown.push = crate::push::target_of(&core.push, binding).map(|target| target.provider);
        }
        shown
    }

    /// Users with waiting messages, each with its oldest.
    pub(super) async fn queue_page(&self, page: Page) -> Result<List<Queue>, NodeError> {
        let queue = &self.core.stores.queue;
        let depths = queue.depths(page.after.as_deref(), page.size()).await.map_err(unavailable)?;
        let wanted: Vec<Wanted> =
            depths.iter().map(|(aor, _)| Wanted { recipient: aor.clone(), device: None, after: 0 }).collect();
        let oldest = queue.pending(&wanted, 1).await.map_err(unavailable)?;
        let one = |((aor, depth), oldest): (&(Box<str>, Depth), Vec<QueuedMessage>)| Queue {
            aor: aor.to_string(),
            messages: depth.count,
            bytes: depth.bytes,
            oldest_ms: oldest.first().map(|message| message.accepted_ms),
            reason: oldest.first().map(|message| reason(&self.core, message)),
        };
        let items = depths.iter().zip(oldest).map(one).collect();
        Ok(List::page(items, page.size(), |queue: &Queue| queue.aor.clone()))
    }

    pub(super) async fn queue_of(&self, aor: &str, page: Page) -> Result<List<Waiting>, NodeError> {
        let after = match &page.after {
            Some(after) => after.parse().map_err(|_| NodeError::Invalid { field: "after", why: "no number".into() })?,
            None => 0,
        };
        let wanted = [Wanted { recipient: aor.into(), device: None, after }];
        let found = self.core.stores.queue.pending(&wanted, page.size()).await.map_err(unavailable)?.pop();
        let one = |message: &QueuedMessage| Waiting { reason: Some(reason(&self.core, message)), ..waiting(message) };
        let items = found.unwrap_or_default().iter().map(one).collect();
        Ok(List::page(items, page.size(), |message: &Waiting| message.id.to_string()))
    }

    pub(super) fn remembered(&self, aor: &str, page: &Page) -> Result<List<RecentMessage>, NodeError> {
        let skipped: usize = match &page.after {
            Some(after) => after.parse().map_err(|_| NodeError::Invalid { field: "after", why: "no number".into() })?,
            None => 0,
        };
        let steps = self.core.recent.of_user(aor);
        let items: Vec<RecentMessage> =
            steps.iter().skip(skipped).take(page.size()).map(|kept| recent(&kept.get())).collect();
        let shown = skipped + items.len();
        Ok(List { items, next: (shown < steps.len()).then(|| shown.to_string()) })
    }

    /// Removes the bindings of a device, as if it had done so itself: watchers are told, the store follows.
    pub(super) fn remove_device(&self, aor: &str, device: &str) -> Result<(), NodeError> {
        let core: &Arc<Core> = &self.core;
        let changed = core.location.update(aor, |bindings| {
            let before = bindings.clone();
            bindings.retain(|binding| binding.device() != device);
            core.persist.seen(core.away.changed(aor, &before, bindings, epoch_seconds()));
            (before.len() != bindings.len()).then(|| (before, bindings.clone()))
        });
        let Some((before, after)) = changed else { return Err(NodeError::NotFound { what: "device" }) };
        core.persist.later(aor);
        notify::registration_changed(core, aor, &before, &after);
        Ok(())
    }
}

/// The devices that something can be sent to now.
fn live(core: &Core, bindings: &[Binding]) -> Vec<Box<str>> {
    let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
    found.iter().map(|target| target.binding.device().into()).collect()
}

/// Why a message waits now.
pub(super) fn reason(core: &Core, message: &QueuedMessage) -> WaitReason {
    let aor = &*message.recipient;
    let (is_registered, live) = core.location.with(aor, |bindings| {
        let now = epoch_seconds();
        (bindings.iter().any(|binding| binding.expires() > now), live(core, bindings))
    });
    let is_there = match message.device.as_deref() {
        Some(device) => live.iter().any(|live| **live == *device),
        None => !live.is_empty(),
    };
    if is_there {
        return match core.recent.last_answer(&message.call_id, aor) {
            Some(status) if status >= 300 => WaitReason::NotTaken,
            _ => WaitReason::InDelivery,
        };
    }
    let sleepers = crate::push::sleepers(core, aor, |_| true);
    let is_woken = sleepers.iter().any(|sleeper| {
        message.device.as_deref().is_none_or(|device| *sleeper.device == *device)
            && core.push.is_waking(aor, &sleeper.device)
    });
    match (is_woken, &message.device, is_registered) {
        (true, ..) => WaitReason::BeingWoken,
        (false, Some(_), _) => WaitReason::DeviceAway,
        (false, None, true) => WaitReason::Asleep,
        (false, None, false) => WaitReason::NotRegistered,
    }
}

fn recent(step: &Step<'_>) -> RecentMessage {
    let event = match step.kind {
        Kind::Relayed | Kind::Delivered | Kind::Displayed => "delivered",
        Kind::Tried if (200..300).contains(&step.status) => "delivered",
        Kind::Tried | Kind::Taken => "stored",
        Kind::Expired => "expired",
        Kind::Refused => "refused",
    };
    RecentMessage {
        message_id: step.message_id.map(ToOwned::to_owned),
        call_id: step.call_id.to_owned(),
        from: step.sender.to_owned(),
        to: step.recipient.to_owned(),
        at_ms: step.at_ms,
        event: event.to_owned(),
        status: (step.status != 0).then_some(step.status),
    }
}
