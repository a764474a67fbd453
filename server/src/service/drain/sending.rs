//! Messages that go by MESSAGE, and what devices answer.

use std::sync::Arc;

use bytes::Bytes;
use chappe_chat::{pager, stored};
use chappe_sip::layer::Dest;
use chappe_sip::proxy;
use chappe_sip::registrar::Binding;

use super::{Attempt, Key, News, Phase, Sessions};
use crate::core::{Core, epoch_ms};
use crate::hops::Hop;
use crate::service::chat::{self, Letter};
use crate::service::pager::stamp;
use crate::service::proxy::path_beyond_us;
use crate::shard::Turn;
use crate::steps::{By, Kind, Step};
use crate::work::{Token, Work};

/// Sends a stored message to a binding at `dest`.
pub fn launch(
    turn: &mut Turn<'_>,
    binding: &Binding,
    dest: Dest,
    headers: &[u8],
    body: &[u8],
    token: Token,
) -> Result<(), u16> {
    let core = turn.core;
    let mut via = String::with_capacity(80);
    for part in ["SIP/2.0/", dest.transport().via(), " ", core.hops.sent_by(&dest), ";branch="] {
        via.push_str(part);
    }
    let at = via.len();
    proxy::branch(&mut via, "", core.serial(), None);
    let onward = stored::Onward { uri: binding.contact(), via: &via, route: path_beyond_us(core, binding.path()) };
    let bytes = stored::request(onward, headers, body);
    let sent = turn.shard.layer.request(turn.now, dest, bytes, &via.as_bytes()[at..], b"MESSAGE", token.0);
    sent.map(|_| ()).map_err(|_| 503)
}

impl Sessions {
    /// A device was tried, for `explain`.
    pub(super) fn remember(&self, key: &Key, letter: &Letter, by: By, status: u16) {
        let queued = &letter.queued;
        self.core.recent.push(&Step {
            kind: Kind::Tried,
            by,
            message_id: queued.message_id.as_deref(),
            call_id: &queued.call_id,
            sender: &queued.sender,
            recipient: &queued.recipient,
            device: Some(&key.1),
            status,
            begun_ms: letter.begun_ms,
            at_ms: epoch_ms(),
            came: None,
            went: self.binding(key).and_then(|binding| binding.flow),
        });
    }

    /// Sends a message that a chat session has by MESSAGE.
    pub(super) fn page(&mut self, key: &Key, id: u64) {
        let binding = self.binding(key);
        let Some(one) = self.handed.get_mut(key).and_then(|handed| handed.get_mut(&id)) else { return };
        if let Some(binding) = &binding {
            one.stamp = stamp(binding);
        }
        one.is_paged = true;
        let letter = Arc::clone(&one.letter);
        match binding {
            Some(binding) => self.launch(key.clone(), binding, &letter),
            None => self.core.drain.tell(News::Ended { key: key.clone(), id, status: 430 }),
        }
    }

    pub(super) fn launch(&self, key: Key, binding: Binding, letter: &Letter) {
        let (core, id) = (Arc::clone(&self.core), letter.id());
        let (headers, body) = letter.for_message(&binding);
        let onward = Onward { key, id, call_id: letter.queued.call_id.clone(), headers, body };
        match core.way_to(&binding) {
            Hop::Known(dest) => onward.send(&core, &binding, dest),
            Hop::Name => {
                core.runtime.clone().spawn(async move {
                    let dest = match chappe_sip::Uri::parse(binding.contact().as_bytes()) {
                        Ok(uri) => core.resolve(&uri).await,
                        Err(_) => None,
                    };
                    match dest {
                        Some(dest) => onward.send(&core, &binding, dest),
                        None => core.drain.tell(News::Ended { key: onward.key, id, status: 408 }),
                    }
                });
            }
            Hop::Gone | Hop::Unsupported => core.drain.tell(News::Ended { key: onward.key, id, status: 430 }),
        }
    }

    pub(super) fn ended(&mut self, key: Key, id: u64, status: u16) {
        if let Some(one) = self.handed.get(&key).and_then(|handed| handed.get(&id)) {
            self.remember(&key, &one.letter, By::Sip, status);
            return chat::paged(&self.core, &key.0, &key.1, &one.letter, status);
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let (letter, tried) = match std::mem::replace(&mut session.phase, Phase::Loading) {
            Phase::Sending(letter, tried) if letter.id() == id => (letter, tried),
            other => {
                session.phase = other;
                return;
            }
        };
        self.remember(&key, &letter, By::Sip, status);
        match pager::Outcome::of(status) {
            // It was sent where the device is not any more.
            pager::Outcome::Away if self.is_elsewhere(&key, tried) => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.backlog.push_front(letter.queued.clone());
                }
            }
            // It stays, and so does what is behind it; the next registration begins anew.
            pager::Outcome::Away => {
                self.answer_sender(id, false);
                self.left(&key, &letter.queued);
                self.failed(&key);
                return self.drop(&key);
            }
            pager::Outcome::Took => {
                self.tried.remove(&key);
                self.delivered(&key, &letter.queued, status);
            }
            pager::Outcome::Refused => {
                self.tried.remove(&key);
                self.refused(&key, &letter.queued, status);
            }
        }
        self.next(key);
    }
}

/// A stored message as it goes to a device.
struct Onward {
    key: Key,
    id: u64,
    call_id: Box<str>,
    headers: Bytes,
    body: Bytes,
}

impl Onward {
    /// Sends it, in the shard of its Call-ID.
    fn send(self, core: &Arc<Core>, binding: &Binding, dest: Dest) {
        let Onward { key, id, call_id, headers, body } = self;
        core.visit(call_id.as_bytes(), |turn| {
            let token = turn.shard.works.reserve();
            match launch(turn, binding, dest, &headers, &body, token) {
                Ok(()) => turn.shard.works.put(token, Work::Drain(Box::new(Attempt { key, id }))),
                Err(status) => {
                    turn.shard.works.end(token);
                    turn.core.drain.tell(News::Ended { key, id, status });
                }
            }
        });
    }
}
