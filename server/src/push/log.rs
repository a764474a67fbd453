//! What was decided about each device: wanted, sent, and what the service said.

use std::collections::{HashMap, VecDeque};

use chappe_push::{Class, Key};

use crate::core::epoch_ms;

/// Devices that are remembered, and entries of each.
const DEVICES: usize = 20_000;
const ENTRIES: usize = 32;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    pub class: &'static str,
    pub what: String,
}

/// The decisions about one device, the latest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLog {
    pub device: Box<str>,
    pub provider: String,
    pub entries: Vec<Entry>,
}

#[derive(Default)]
pub(super) struct Log {
    devices: HashMap<Key, (String, VecDeque<Entry>)>,
    /// In the order in which they came in.
    order: VecDeque<Key>,
}

impl Log {
    pub(super) fn add(&mut self, key: &Key, provider: &str, class: Class, what: String) {
        if !self.devices.contains_key(key) {
            if self.devices.len() >= DEVICES
                && let Some(oldest) = self.order.pop_front()
            {
                self.devices.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        let (known, entries) = self.devices.entry(key.clone()).or_default();
        if !provider.is_empty() {
            provider.clone_into(known);
        }
        if entries.len() == ENTRIES {
            entries.pop_front();
        }
        entries.push_back(Entry { at_ms: epoch_ms(), class: class.as_str(), what });
    }

    pub(super) fn forget(&mut self, aor: &str) {
        self.devices.retain(|key, _| *key.0 != *aor);
        self.order.retain(|key| *key.0 != *aor);
    }

    pub(super) fn of(&self, aor: &str) -> Vec<DeviceLog> {
        let own = self.devices.iter().filter(|(key, _)| *key.0 == *aor);
        let mut found: Vec<DeviceLog> = own
            .map(|((_, device), (provider, entries))| DeviceLog {
                device: device.clone(),
                provider: provider.clone(),
                entries: entries.iter().cloned().collect(),
            })
            .collect();
        found.sort_by(|a, b| a.device.cmp(&b.device));
        found
    }
}
