//! What became of a message: its receipt, copies for other devices, its end.

use std::sync::Arc;
use std::time::Duration;

use chappe_chat::drain::{Ended, Written};
use chappe_store::{DeviceCopy, NewMessage, Outcome, QueuedMessage, ReceiptState, Settlement, Wants};

use super::{Handed, Key, News, OnLine, Phase, Sessions, other_devices};
use crate::core::epoch_ms;
use crate::service::{chat, pager, receipt};
use crate::steps::By;
use crate::work::Token;

/// What a device did not take before it registered anew is tried again after this: the rest of its conversation has come
/// back by then.
const AGAIN: Duration = Duration::from_millis(100);

impl Sessions {
    /// A chat session is done with a message.
    pub(super) fn handed(&mut self, key: Key, id: u64, fate: Handed) {
        let Some(handed) = self.handed.get_mut(&key) else { return };
        let Some(OnLine { letter, stamp, is_paged }) = handed.remove(&id) else { return };
        let message = &letter.queued;
        if handed.is_empty() {
            self.handed.remove(&key);
        }
        if !is_paged {
            let status = match fate {
                Handed::Confirmed => 200,
                Handed::Refused(status) => status,
                Handed::Returned { .. } => 480,
            };
            self.remember(&key, &letter, By::Msrp, status);
        }
        match fate {
            Handed::Confirmed => self.delivered(&key, message, 200),
            Handed::Refused(status) => self.refused(&key, message, status),
            Handed::Returned { retry } => {
                self.answer_sender(id, false);
                let lane = message.sender.clone();
                // It was tried where the device is not any more, and that registration found it under way.
                let retry = retry.or_else(|| self.is_elsewhere(&key, stamp).then_some(AGAIN));
                let wait = match self.sessions.get_mut(&key) {
                    Some(session) => session.lanes.rest(&lane, retry),
                    None => retry,
                };
                self.left(&key, message);
                if let Some(wait) = wait {
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
                session.lanes.go_on(lane);
                self.read_anew(&key);
            }
            None => self.kick(key.0, Some(key.1), None),
        }
    }

    pub(super) fn refused(&mut self, key: &Key, message: &QueuedMessage, status: u16) {
        let Some(settlement) = self.first(key, message, Outcome::Refused, status) else { return };
        // Another device may take it; what becomes of it there is what the sender hears.
        let others = self.others(key, message);
        if others.is_empty() {
            self.receipt(message, ReceiptState::Failed, Wants::NEGATIVE_DELIVERY);
        }
        for device in others {
            self.keep(message.id, copy(message, &device, message.wants));
        }
        self.settle(settlement, message.device.is_some());
    }

    pub(super) fn delivered(&mut self, key: &Key, message: &QueuedMessage, status: u16) {
        let Some(settlement) = self.first(key, message, Outcome::Delivered, status) else { return };
        // The user's other devices get theirs when they come.
        for device in self.others(key, message) {
            self.keep(message.id, copy(message, &device, message.wants.only(Wants::SESSION)));
        }
        if message.wants.contains(Wants::POSITIVE_DELIVERY) && !self.tells_itself(key, message) {
            self.receipt(message, ReceiptState::Delivered, Wants::POSITIVE_DELIVERY);
        }
        self.settle(settlement, message.device.is_some());
    }

    /// The devices that a message for any is kept for, as one is done with it.
    fn others(&self, key: &Key, message: &QueuedMessage) -> Vec<Box<str>> {
        if message.device.is_some() {
            return Vec::new();
        }
        let mut others = self.core.location.with(&key.0, |bindings| {
            other_devices(&self.core, &key.0, bindings, |binding| {
                binding.instance_id().is_some() || self.holds(&key.0, binding.device(), message.id)
            })
        });
        others.retain(|device| *device != key.1);
        others
    }

    /// Whether a device that has a message says so to its sender by itself.
    fn tells_itself(&self, key: &Key, message: &QueuedMessage) -> bool {
        self.core.location.with(&key.0, |bindings| {
            let binding = bindings.iter().find(|binding| binding.device() == &*key.1);
            binding.is_none_or(|one| receipt::answers_itself(one) && !chat::was_given(&self.core, one, message))
        })
    }

    /// A sender waits for the first device, or does not any more.
    pub(super) fn awaited(&mut self, id: u64, by: Option<(usize, Token)>) {
        match by {
            // Too fast for this: how is not remembered.
            Some((cell, token)) if self.is_settled(id) => self.tell_sender(cell, token, false),
            Some(by) => drop(self.awaited.insert(id, by)),
            None => drop(self.awaited.remove(&id)),
        }
    }

    /// A message has ended, or nobody takes it for now.
    pub(super) fn answer_sender(&mut self, id: u64, is_taken: bool) {
        if let Some((cell, token)) = self.awaited.remove(&id) {
            self.tell_sender(cell, token, is_taken);
        }
    }

    fn tell_sender(&self, cell: usize, token: Token, is_taken: bool) {
        let core = Arc::clone(&self.core);
        // Off this task, which has no time to wait for shards.
        self.core.runtime.spawn(async move { core.visit_cell(cell, |turn| pager::taken(turn, token, is_taken)) });
    }

    /// Ends the wait of a message, unless another device has done that before: then only the copy of this one ends.
    fn first(&mut self, key: &Key, message: &QueuedMessage, outcome: Outcome, status: u16) -> Option<Settlement> {
        let settlement = message.settled(outcome, Some(&key.1), status, epoch_ms());
        match self.owed.ended(key, message.id, settlement) {
            Ended::First(settlement) => return Some(settlement),
            Ended::Copy(id, settlement) => self.settle(Settlement { id, ..settlement }, true),
            Ended::Later => {}
        }
        None
    }

    /// Keeps a message that is being settled for a device that has not got it, if there is room.
    fn keep(&mut self, of: u64, message: NewMessage) {
        let core = &self.core;
        let Some(device) = message.device.clone() else { return };
        let key = (message.recipient.clone(), device);
        if self.holds(&key.0, &key.1, of) {
            self.owed.owe(key.clone(), of);
        } else if core.waiting.is_full(&key.0, true, core.settings.queue_per_user) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(&key).filter(|s| matches!(s.phase, Phase::Loading)) {
            session.bound = Some(session.bound.map_or(of, |bound| bound.min(of)));
        }
        self.owed.writes(key, of);
        // Counted before the write, so that a registration that comes now looks for it.
        core.waiting.add(&message.recipient, message.device.as_deref(), 1);
        self.write.copies.push(DeviceCopy { of, message });
    }

    /// The copy of a message for a device is on disk under this id, or is not to be.
    pub(super) fn copied(&mut self, key: &Key, of: u64, copy: Option<u64>) {
        match (self.owed.written(key, of, copy), copy) {
            (Written::Ended(settlement), Some(id)) => self.settle(Settlement { id, ..settlement }, true),
            // A read was faster than the news of it.
            (Written::Held, Some(id)) => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.backlog.retain(|message| message.id != id);
                }
            }
            (Written::Waits, Some(id)) => self.read_from(key, id),
            (_, None) => {}
        }
    }

    /// A device has not taken a message. Where another has, the copy of this one waits, if the device will be back.
    pub(super) fn left(&mut self, key: &Key, message: &QueuedMessage) {
        if !self.owed.is_owed(key, message.id) {
            return;
        }
        if self.comes_again(key) {
            self.owed.left(key, message.id);
        } else {
            // Not the first to be done with it.
            self.first(key, message, Outcome::Refused, 430);
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
        if self.settling.insert(settlement.id) && !self.settled.contains(settlement.id) {
            let device = settlement.device.as_deref().filter(|_| is_copy);
            self.core.waiting.remove(&settlement.recipient, device);
        }
        self.answer_sender(settlement.id, settlement.outcome == Outcome::Delivered);
        self.write.settle.push(settlement);
    }
}

fn copy(message: &QueuedMessage, device: &str, wants: Wants) -> NewMessage {
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
        wants,
        once: None,
    }
}
