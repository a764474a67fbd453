//! The messages stored last, so that a phone that wakes a moment later costs no read.

use std::collections::VecDeque;

use ahash::AHashMap;
use bytes::Bytes;

/// Bytes kept.
const ROOM: usize = 8 << 20;

/// Encoded messages by id, the oldest dropped first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    messages: AHashMap<u64, Bytes>,
    /// Ids in the order they came, those gone meanwhile too.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, id: u64, data: Bytes) {
        self.bytes += data.len();
        self.messages.insert(id, data);
        self.order.push_back(id);
        while self.bytes > ROOM || self.order.len() > 2 * self.messages.len() + 16 {
            let Some(oldest) = self.order.pop_front() else { return };
            self.remove(oldest);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<Bytes> {
        self.messages.get(&id).cloned()
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(data) = self.messages.remove(&id) {
            self.bytes -= data.len();
        }
    }
}
