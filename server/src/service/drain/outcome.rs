//! What became of a message: its receipt, copies for other devices, its end.

use std::sync::Arc;
use std::time::Duration;

use chappe_store::{NewMessage, Outcome, QueuedMessage, ReceiptState, Settlement, Wants};

use super::{Handed, Key, News, OnLine, Phase, Sessions, other_devices};
use crate::core::epoch_ms;
use crate::service::receipt;

/// What a device did not take before it registered anew is tried again after this: the rest of its conversation has come
/// back by then.
const AGAIN: Duration = Duration::from_millis(100);

impl Sessions {
    /// A chat session is done with a message.
    pub(super) fn handed(&mut self, key: Key, id: u64, fate: Handed) {
        let Some(handed) = self.handed.get_mut(&key) else { return };
        let Some(OnLine { letter, stamp, .. }) = handed.remove(&id) else { return };
        let message = &letter.queued;
        if handed.is_empty() {
            self.handed.remove(&key);
        }
        match fate {
            Handed::Confirmed => self.delivered(&key, message, 200),
            Handed::Refused(status) => self.refused(&key, message, status),
            Handed::Returned { retry } => {
                let lane = message.sender.clone();
                // It was tried where the device is not any more, and that registration found it under way.
                let retry = retry.or_else(|| self.is_elsewhere(&key, stamp).then_some(AGAIN));
                let session = self.sessions.get_mut(&key);
                let rests = session.is_none_or(|session| session.resting.insert(lane.clone()));
                self.left(&key, message);
                if rests && let Some(wait) = retry {
                    let (core, key) = (Arc::clone(&self.core), key.clone());
                    self.core.runtime.spawn(async move {
                        tokio::time::sleep(wait).await;
                        core.drain.tell(News::Retry { key, lane });
                    });
                }
            }
        }
        // Whoever sends, reads or pauses goes on by itself.
        if let Some(session) = self.sessions.get_mut(&key)
            && matches!(session.phase, Phase::Full)
        {
            self.next(key);
        }
    }

    /// What a conversation left behind is read again, with all that came after it.
    pub(super) fn retry(&mut self, key: Key, lane: &str) {
        match self.sessions.get_mut(&key) {
            Some(session) => {
                session.resting.remove(lane);
                session.read_anew(&key, &self.owed);
                if matches!(session.phase, Phase::Full) {
                    session.phase = Phase::Loading;
                    session.again = false;
                    self.wanted.push(key);
                }
            }
            None => self.kick(key.0, Some(key.1), None),
        }
    }

    pub(super) fn refused(&mut self, key: &Key, message: &QueuedMessage, status: u16) {
        if self.owed.remove(&(key.clone(), message.id)) {
            return;
        }
        let settlement = message.settled(Outcome::Refused, Some(&key.1), status, epoch_ms());
        self.receipt(message, ReceiptState::Failed, Wants::NEGATIVE_DELIVERY);
        self.settle(settlement, message.device.is_some());
    }

    pub(super) fn delivered(&mut self, key: &Key, message: &QueuedMessage, status: u16) {
        let core = Arc::clone(&self.core);
        if self.owed.remove(&(key.clone(), message.id)) {
            // Settled, with its receipt, when the first device took it.
            return;
        }
        let is_message = message.device.is_none();
        let is_told = is_message && message.wants.contains(Wants::POSITIVE_DELIVERY);
        let (mut answers_itself, mut others) = (true, Vec::new());
        core.location.with(&key.0, |bindings| {
            let binding = bindings.iter().find(|binding| binding.device() == &*key.1);
            if let Some(binding) = binding.filter(|_| is_told) {
                answers_itself = receipt::answers_itself(binding);
            }
            if is_message {
                others = other_devices(&core, &key.0, bindings, |binding| {
                    binding.instance_id().is_some() || self.holds(&key.0, binding.device(), message.id)
                });
            }
        });
        // The user's other devices get theirs when they come.
        for device in others.into_iter().filter(|device| **device != *key.1) {
            if self.holds(&key.0, &device, message.id) {
                self.owed.insert(((key.0.clone(), device), message.id));
            } else if !core.waiting.is_full(&key.0, true, core.settings.queue_per_user) {
                self.write.append.push(copy(message, &device));
            }
        }
        if is_told && !answers_itself {
            self.receipt(message, ReceiptState::Delivered, Wants::POSITIVE_DELIVERY);
        }
        self.settle(message.settled(Outcome::Delivered, Some(&key.1), status, epoch_ms()), !is_message);
    }

    /// A device has not taken a message; where another has, this one gets a copy of its own.
    pub(super) fn left(&mut self, key: &Key, message: &QueuedMessage) {
        if self.owed.remove(&(key.clone(), message.id)) && self.comes_again(key) {
            self.write.append.push(copy(message, &key.1));
        }
    }

    /// Whether a message has gone, or goes with the next write: a read that began before may still show it.
    pub(super) fn is_settled(&self, id: u64) -> bool {
        self.settling.contains(&id) || self.settled.contains(id)
    }

    /// Whether another device of the user is being sent this message anyway.
    pub(super) fn holds(&self, aor: &str, device: &str, id: u64) -> bool {
        let key = (Box::from(aor), Box::from(device));
        self.sessions.get(&key).is_some_and(|s| {
            s.backlog.iter().any(|m| m.id == id) || matches!(&s.phase, Phase::Sending(m, _) if m.id() == id)
        }) || self.handed.get(&key).is_some_and(|handed| handed.contains_key(&id))
    }

    pub(super) fn receipt(&mut self, message: &QueuedMessage, state: ReceiptState, wanted: Wants) {
        let Some(id) = message.message_id.as_deref().filter(|_| message.wants.contains(wanted)) else { return };
        if let Some(made) = receipt::make(&self.core, &receipt::Subject::of(message, id), state) {
            if state == ReceiptState::Delivered {
                self.core.recent_receipts.insert(id, &message.sender, &message.recipient, state);
            }
            self.write.append.push(made);
        }
    }

    pub(super) fn settle(&mut self, settlement: Settlement, is_copy: bool) {
        // Two devices may be sent the same message; what follows it may go its own way from now on.
        if self.settling.insert(settlement.id) {
            self.core.waiting.remove(&settlement.recipient, is_copy);
        }
        self.write.settle.push(settlement);
    }
}

fn copy(message: &QueuedMessage, device: &str) -> NewMessage {
    NewMessage {
        recipient: message.recipient.clone(),
        device: Some(device.into()),
        sender: message.sender.clone(),
        message_id: message.message_id.clone(),
        call_id: message.call_id.clone(),
        headers: message.headers.clone(),
        body: message.body.clone(),
        accepted_ms: message.accepted_ms,
        expires_at: message.expires_at,
        wants: message.wants.only(Wants::SESSION),
        once: None,
    }
}
