//! Outcomes on their way to the disk.

use std::sync::Arc;
use std::time::Duration;

use chappe_store::{NewMessage, Outcome, ReceiptState, Settlement, Wants, Write};

use super::{Key, News, Sessions, kick, kick_device};
use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::history;
use crate::service::receipt;
use crate::steps::{By, Kept, Kind, Step};

impl Sessions {
    /// Puts the outcomes of this round on disk, in one write.
    pub(super) fn flush(&mut self) {
        if self.write.settle.is_empty() && self.write.append.is_empty() && self.write.copies.is_empty() {
            return;
        }
        let write = std::mem::take(&mut self.write);
        let core = Arc::clone(&self.core);
        // Copies for a device that is away come in the order in which the others have taken the messages.
        self.core.spawn_begun(async move { commit(core, write).await });
    }
}

async fn commit(core: Arc<Core>, mut write: Write) {
    write.reached.extend(history::reached(&core, &write.append));
    let ids: Vec<u64> = write.settle.iter().map(|s| s.id).collect();
    let ends: Vec<(Outcome, Option<Kept>)> = write.settle.iter().map(|s| (s.outcome, lost(s))).collect();
    let new: Vec<(Box<str>, Option<Box<str>>)> =
        write.append.iter().map(|m| (m.recipient.clone(), m.device.clone())).collect();
    let copies: Vec<(Key, u64)> =
        write.copies.iter().filter_map(|copy| Some((for_device(&copy.message)?, copy.of))).collect();
    // A full disk gives way to nothing but room; what is not settled would be delivered again.
    let mut pause = Duration::from_millis(100);
    let written = loop {
        match core.stored(core.stores.queue.write(write.clone())).await {
            Ok(written) => break Some(written),
            Err(error) if error.is_temporary() && pause < Duration::from_secs(60) => {
                core.counters.store_failed();
                tracing::error!(%error, "outcomes could not be stored, trying again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(error) => {
                core.counters.store_failed();
                tracing::error!(%error, "outcomes could not be stored: messages may be delivered again");
                break None;
            }
        }
    };
    let Some(written) = written else {
        let copies: Vec<_> = copies.into_iter().map(|(key, of)| (key, of, None)).collect();
        copies.iter().for_each(|(key, ..)| core.waiting.remove(&key.0, Some(&key.1)));
        return core.drain.tell(News::Settled { ids, done: false, copies });
    };
    for ((outcome, lost), was_there) in ends.into_iter().zip(&written.settled) {
        if *was_there {
            core.ledger.settled(outcome);
            lost.into_iter().for_each(|lost| core.recent.keep(lost));
        }
    }
    for ((recipient, device), id) in new.into_iter().zip(&written.ids) {
        if id.is_none() {
            continue;
        }
        core.waiting.add(&recipient, device.as_deref(), 1);
        core.ledger.stored();
        if device.is_none() {
            core.counters.receipt();
        }
        kick(&core, &recipient);
    }
    let copies: Vec<_> = copies.into_iter().zip(&written.copies).map(|((key, of), id)| (key, of, *id)).collect();
    for (key, _, id) in &copies {
        match id {
            Some(_) => core.ledger.stored(),
            None => core.waiting.remove(&key.0, Some(&key.1)),
        }
    }
    core.drain.tell(News::Settled { ids, done: true, copies: copies.clone() });
    for (key, _, _) in copies {
        kick_device(&core, &key.0, &key.1);
    }
}

/// A message that reached nobody, for `explain`.
fn lost(settlement: &Settlement) -> Option<Kept> {
    let kind = match settlement.outcome {
        Outcome::Delivered => return None,
        Outcome::Expired => Kind::Expired,
        Outcome::Refused => Kind::Refused,
    };
    Some(Kept::new(&Step {
        kind,
        by: By::Sip,
        message_id: settlement.message_id.as_deref(),
        call_id: &settlement.call_id,
        sender: "",
        recipient: &settlement.recipient,
        device: settlement.device.as_deref(),
        status: settlement.detail,
        begun_ms: settlement.at_ms,
        at_ms: settlement.at_ms,
        came: None,
        went: None,
    }))
}

/// Whom a copy is for.
fn for_device(copy: &NewMessage) -> Option<Key> {
    Some((copy.recipient.clone(), copy.device.clone()?))
}

/// Messages in one sweep.
const SWEEP: usize = 500;

/// Ends the wait of messages whose time is over, and tells their senders where they asked (RFC 5438 §7.2.1.1).
pub async fn expire(core: &Arc<Core>) -> Result<(), chappe_store::StoreError> {
    loop {
        let lapsed = core.stored(core.stores.queue.expired(epoch_seconds(), SWEEP)).await?;
        let (count, now) = (lapsed.len(), epoch_ms());
        if count == 0 {
            return Ok(());
        }
        let mut write = Write::default();
        for message in lapsed {
            if let Some(id) = message.message_id.as_deref()
                && message.wants.contains(Wants::NEGATIVE_DELIVERY)
            {
                write.append.extend(receipt::make(core, &receipt::Subject::of(&message, id), ReceiptState::Failed));
            }
            core.waiting.remove(&message.recipient, message.device.as_deref());
            write.settle.push(message.settled(Outcome::Expired, None, 408, now));
        }
        commit(Arc::clone(core), write).await;
        if count < SWEEP {
            return Ok(());
        }
    }
}
