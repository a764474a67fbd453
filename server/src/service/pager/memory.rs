//! What is remembered of messages on their way, for `explain`.

use chappe_store::ReceiptState;

use super::Pager;
use crate::core::{Core, epoch_ms};
use crate::service::Request;
use crate::steps::{By, Kind, Step};

impl Pager {
    /// What happens now.
    pub(super) fn step(&self, kind: Kind, device: Option<usize>, status: u16) -> Step<'_> {
        let device = device.and_then(|device| self.devices.get(device));
        Step {
            kind,
            by: By::Sip,
            message_id: self.facts.message_id.as_deref(),
            call_id: std::str::from_utf8(self.message.call_id()).unwrap_or_default(),
            sender: &self.sender,
            recipient: &self.recipient.aor,
            device: device.map(|device| &*device.name),
            status,
            begun_ms: self.accepted_ms,
            at_ms: epoch_ms(),
            came: Some(self.flow),
            went: device.and_then(|device| device.flow),
        }
    }
}

/// A device told what became of a message.
pub(super) fn remember_receipt(
    core: &Core,
    request: &Request,
    id: &str,
    state: ReceiptState,
    teller: &str,
    sender: &str,
) {
    let kind = match state {
        ReceiptState::Delivered => Kind::Delivered,
        ReceiptState::Displayed => Kind::Displayed,
        _ => return,
    };
    let now = epoch_ms();
    core.recent.push(&Step {
        kind,
        by: By::Sip,
        message_id: Some(id),
        call_id: std::str::from_utf8(request.message.call_id()).unwrap_or_default(),
        sender,
        recipient: teller,
        device: None,
        status: 200,
        begun_ms: now,
        at_ms: now,
        came: Some(request.flow),
        went: None,
    });
}
