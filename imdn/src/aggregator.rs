//! Collects the notifications about a message to many, and says when to send them on (RFC 5438 §8.3).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::disposition::{Disposition, Dispositions, Status};
use crate::notification::Notification;
use crate::xml::XmlError;

/// What the sender of a message to many may learn of its recipients (RFC 5438 §8, §14.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Disclosure {
    /// Who they are.
    #[default]
    Members,
    /// How many they are: notifications go without addresses.
    Count,
    /// Neither: one aggregate in all, in which notifications that say the same are one.
    Nothing,
}

/// How notifications are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregatorConfig {
    /// The first timer: how long a notification waits for others.
    pub batch: Duration,
    /// The second timer: how long the message is remembered. What comes later is swallowed.
    pub lifetime: Duration,
    /// Bytes of documents that wait; more go before their time.
    pub max_waiting: usize,
    pub disclosure: Disclosure,
}

impl Default for AggregatorConfig {
    fn default() -> Self {
        Self {
            batch: Duration::from_secs(5),
            lifetime: Duration::from_secs(24 * 3600),
            max_waiting: 64 * 1024,
            disclosure: Disclosure::Members,
        }
    }
}

/// What became of a notification. Only what is kept reaches the sender, in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Kept,
    /// This recipient had told of this disposition already (RFC 5438 §7.2.1).
    Repeated,
    /// The sender did not ask for it.
    Unasked,
    /// Of another message, or from nobody among the recipients.
    Foreign,
    /// The message is forgotten.
    Late,
}

/// The notifications about one message.
///
/// A batch is due when a notification has waited long enough, when all recipients have told of a disposition, when too
/// much waits, or at the end.
#[derive(Debug)]
pub struct Aggregator {
    message_id: Box<str>,
    /// `DateTime` of the message.
    sent: Box<str>,
    wanted: Dispositions,
    config: AggregatorConfig,
    recipients: HashMap<Box<str>, Heard>,
    /// How many recipients may still tell of delivery, and of display.
    open: [usize; 2],
    waiting: Vec<Vec<u8>>,
    due: Vec<Vec<Vec<u8>>>,
    batch_at: Option<Instant>,
    /// `None` once it is over.
    ends_at: Option<Instant>,
}

/// What one recipient has told.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    delivery: bool,
    display: bool,
    processing: bool,
    interworking: bool,
    /// The message never arrived, so nothing else will.
    failed: bool,
}

impl Heard {
    fn slot(&mut self, disposition: Disposition) -> &mut bool {
        match disposition {
            Disposition::Delivery => &mut self.delivery,
            Disposition::Display => &mut self.display,
            Disposition::Processing => &mut self.processing,
            Disposition::Interworking => &mut self.interworking,
        }
    }

    /// Whether no word of delivery, and of display, is to be expected any more. What was displayed was delivered.
    fn settled(self) -> [bool; 2] {
        [self.delivery || self.display || self.failed, self.display || self.failed]
    }
}

impl Aggregator {
    /// For a message with this id and `DateTime`, whose sender asked for `wanted`, to recipients by the names under which
    /// their notifications will be handed in.
    pub fn new<'r>(
        (message_id, sent): (&str, &str),
        wanted: Dispositions,
        recipients: impl IntoIterator<Item = &'r str>,
        config: AggregatorConfig,
        now: Instant,
    ) -> Self {
        let recipients: HashMap<_, _> = recipients.into_iter().map(|name| (name.into(), Heard::default())).collect();
        Self {
            message_id: message_id.into(),
            sent: sent.into(),
            wanted,
            config,
            open: [recipients.len(); 2],
            recipients,
            waiting: Vec::new(),
            due: Vec::new(),
            batch_at: None,
            ends_at: Some(now + config.lifetime),
        }
    }

    /// Takes the document of a notification that `from` sent.
    pub fn handle_notification(&mut self, from: &str, document: &[u8], now: Instant) -> Result<Taken, XmlError> {
        self.handle_timeout(now);
        if self.ends_at.is_none() {
            return Ok(Taken::Late);
        }
        let seen = Notification::parse(document)?;
        let Some(heard) = self.recipients.get_mut(from).filter(|_| *seen.message_id == *self.message_id) else {
            return Ok(Taken::Foreign);
        };
        if *heard.slot(seen.disposition) {
            return Ok(Taken::Repeated);
        }
        let before = heard.settled();
        *heard.slot(seen.disposition) = true;
        heard.failed |= seen.disposition == Disposition::Delivery && seen.status != Status::Delivered;
        let after = heard.settled();
        // Also what nobody asked for tells that there is nothing to wait for.
        let mut all_told = false;
        for kind in [0, 1] {
            if after[kind] && !before[kind] {
                self.open[kind] -= 1;
                all_told |= self.open[kind] == 0;
            }
        }
        let asked = self.wanted.wants(seen.disposition, seen.status);
        if asked {
            self.keep(seen, document)?;
            self.batch_at.get_or_insert(now + self.config.batch);
        }
        let full = self.waiting.iter().map(Vec::len).sum::<usize>() > self.config.max_waiting;
        match self.config.disclosure {
            Disclosure::Nothing if self.is_complete() => self.end(),
            Disclosure::Nothing => {}
            Disclosure::Members | Disclosure::Count if all_told || full => self.flush(),
            Disclosure::Members | Disclosure::Count => {}
        }
        Ok(if asked { Taken::Kept } else { Taken::Unasked })
    }

    /// Fires what is due at `now`; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ends_at.is_some_and(|end| end <= now) {
            self.end();
        } else if self.poll_timeout().is_some_and(|due| due <= now) {
            self.flush();
        }
    }

    /// When `handle_timeout` is next wanted; never again once it is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let end = self.ends_at?;
        let batch = self.batch_at.filter(|_| self.config.disclosure != Disclosure::Nothing);
        Some(batch.map_or(end, |batch| batch.min(end)))
    }

    /// The documents of the next aggregate for the sender; call until `None`.
    pub fn poll_batch(&mut self) -> Option<Vec<Vec<u8>>> {
        (!self.due.is_empty()).then(|| self.due.remove(0))
    }

    /// Whether each recipient has told all that the sender is sure to be told of.
    pub fn is_complete(&self) -> bool {
        let [delivery, display] = self.open;
        let asked = self.wanted.positive_delivery || self.wanted.display;
        asked && (!self.wanted.positive_delivery || delivery == 0) && (!self.wanted.display || display == 0)
    }

    /// Whether the state may go, once `poll_batch` has nothing more.
    pub fn is_over(&self) -> bool {
        self.ends_at.is_none()
    }

    fn keep(&mut self, seen: Notification, document: &[u8]) -> Result<(), XmlError> {
        let kept = match self.config.disclosure {
            Disclosure::Members => document.to_vec(),
            Disclosure::Count => Notification::without_recipient(document)?,
            Disclosure::Nothing => {
                // Nothing of the document's own, by which recipients could be told apart.
                let date_time = self.sent.to_string();
                let same = Notification { date_time, recipient: None, original_recipient: None, subject: None, ..seen };
                same.to_xml().into_bytes()
            }
        };
        if self.config.disclosure != Disclosure::Nothing || !self.waiting.contains(&kept) {
            self.waiting.push(kept);
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.batch_at = None;
        if !self.waiting.is_empty() {
            self.due.push(std::mem::take(&mut self.waiting));
        }
    }

    fn end(&mut self) {
        self.flush();
        self.ends_at = None;
    }
}

#[cfg(test)]
mod tests;
