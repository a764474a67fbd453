//! From a chat session into the queue: what a device sends is on disk before it is confirmed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chappe_chat::envelope::{Envelope, Kind, Source, Stamp};
use chappe_chat::{Lifetime, Refusal};
use chappe_sip::Aor;
use chappe_sip::header::Date;
use chappe_store::{NewMessage, Receipt, ReceiptState, Wants};

use super::Sides;
use crate::core::{Core, epoch_ms};
use crate::history;
use crate::lists;
use crate::service::{drain, receipt, rights};
use crate::steps::{self, By, Kept, Step};

/// What a session tells of all its messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Thread {
    pub contribution_id: Option<Box<str>>,
    pub conversation_id: Option<Box<str>>,
    pub in_reply_to: Option<Box<str>>,
    /// Call-ID.
    pub call_id: Box<str>,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Cannot be read.
    Malformed,
    TooLarge,
    Type,
    /// The recipient has as many messages waiting as there may be.
    Full,
    /// A message of somebody else is not to be changed.
    Forbidden,
    /// The store is slow, full or broken.
    Busy,
}

impl NotTaken {
    /// The MSRP code (RFC 4975 §10).
    pub(super) fn msrp(self) -> u16 {
        match self {
            NotTaken::Malformed => 400,
            NotTaken::TooLarge => 413,
            NotTaken::Type => 415,
            NotTaken::Full | NotTaken::Forbidden => 403,
            // Try again later: as if the next hop had not answered.
            NotTaken::Busy => 408,
        }
    }

    /// The SIP code, where the message came in an INVITE.
    pub(super) fn sip(self) -> u16 {
        match self {
            NotTaken::Malformed => 400,
            NotTaken::TooLarge => 513,
            NotTaken::Type => 415,
            NotTaken::Forbidden => 403,
            NotTaken::Full => 480,
            NotTaken::Busy => 503,
        }
    }
}

/// A message with what is stored together with it.
#[derive(Debug, Default)]
pub(super) struct Lot {
    /// It, and copies for other devices.
    pub messages: Vec<NewMessage>,
    /// The earlier message that it changes or recalls.
    pub revises: Option<Box<str>>,
}

impl Lot {
    /// What a message of the server's own is.
    pub(super) fn of(messages: Vec<NewMessage>) -> Lot {
        Lot { messages, revises: None }
    }

    /// The message that a delivery receipt is about.
    pub(super) fn delivered(&self) -> Option<&str> {
        let once = self.messages.first()?.once.as_ref()?;
        (once.state == ReceiptState::Delivered).then_some(&*once.message_id)
    }

    /// Whether its sender may send it.
    async fn check(&self, core: &Core) -> Result<(), NotTaken> {
        match rights::check(core, &self.messages, self.revises.as_deref()).await {
            Ok(()) => Ok(()),
            Err(403) => Err(NotTaken::Forbidden),
            Err(_) => Err(NotTaken::Busy),
        }
    }
}

/// What a message turned out to be.
pub(super) enum Content {
    /// To be shown now or never.
    Composing(Box<Envelope>),
    /// To be stored.
    Stored(Lot),
    /// A receipt that cannot be read, or that nobody is to hear of.
    Nothing,
}

/// Reads what a device sent to its peer.
pub(super) fn read(
    core: &Core,
    sides: &Sides,
    thread: &Thread,
    id: &str,
    content_type: &str,
    body: Bytes,
) -> Result<Content, NotTaken> {
    let (from, to) = (uri(&sides.user.aor), uri(&sides.peer.aor));
    let key: [&[u8]; 2] = [thread.call_id.as_bytes(), id.as_bytes()];
    let source = Source {
        from: &from,
        to: &to,
        contribution_id: thread.contribution_id.as_deref(),
        conversation_id: thread.conversation_id.as_deref(),
        in_reply_to: thread.in_reply_to.as_deref(),
        message_id: None,
        key: &key,
        accepted_ms: epoch_ms(),
    };
    let envelope = Envelope::read(&source, content_type, body).map_err(|_| NotTaken::Malformed)?;
    sort(core, sides, envelope)
}

/// What becomes of a message.
pub(super) fn sort(core: &Core, sides: &Sides, envelope: Envelope) -> Result<Content, NotTaken> {
    let is_full = || core.waiting.is_full(&sides.peer.aor, false, core.settings.queue_per_user);
    let (user, peer) = (&sides.user, &sides.peer);
    if !matches!(envelope.kind, Kind::Receipt(_)) && lists::blocks(core, peer, &user.aor, Some(user)) {
        // Taken as if the peer were away.
        return Ok(Content::Nothing);
    }
    let once = match &envelope.kind {
        Kind::Composing => return Ok(Content::Composing(Box::new(envelope))),
        Kind::Receipt(None) => return Ok(Content::Nothing),
        Kind::Receipt(Some(notification)) => {
            let state = receipt::state(notification);
            let id = notification.message_id.as_str();
            if is_full() {
                return Err(NotTaken::Full);
            }
            if !core.recent_receipts.insert(id, &sides.peer.aor, &sides.user.aor, state) {
                return Ok(Content::Nothing);
            }
            // The receipt is about a message of the peer.
            Receipt { message_id: id.into(), sender: sides.peer.aor.clone(), recipient: sides.user.aor.clone(), state }
        }
        Kind::Content => {
            core.settings.message.check_envelope(&envelope).map_err(|refusal| match refusal {
                Refusal::TooLarge { .. } => NotTaken::TooLarge,
                _ => NotTaken::Type,
            })?;
            // A device that has not seen the confirmation sends it again.
            Receipt {
                message_id: envelope.message_id.clone(),
                sender: sides.user.aor.clone(),
                recipient: sides.peer.aor.clone(),
                state: ReceiptState::Accepted,
            }
        }
    };
    if is_full() {
        return Err(NotTaken::Full);
    }
    // The user's other devices show what this one has sent, and that it has read what it was sent.
    let for_others = envelope.kind == Kind::Content || once.state == ReceiptState::Displayed;
    let is_told = match once.state {
        ReceiptState::Accepted => true,
        ReceiptState::Displayed => !user.hides_displayed() && !lists::blocks(core, user, &peer.aor, Some(peer)),
        _ => !lists::blocks(core, user, &peer.aor, Some(peer)),
    };
    let mut all = vec![message(core, sides, &envelope, Some(once))];
    if for_others {
        for device in super::other_devices(core, &sides.user.aor, &sides.device) {
            let once = all[0].once.clone().map(|once| Receipt { recipient: device.clone(), ..once });
            let copy = NewMessage {
                recipient: sides.user.aor.clone(),
                device: Some(device),
                wants: Wants::SESSION,
                once,
                ..all[0].clone()
            };
            all.push(copy);
        }
    }
    if !is_told {
        // Only the user's own devices are to know.
        all.remove(0);
    }
    let revises = envelope.relation.as_ref().and_then(|relation| relation.revised().map(Into::into));
    Ok(if all.is_empty() { Content::Nothing } else { Content::Stored(Lot { messages: all, revises }) })
}

fn message(core: &Core, sides: &Sides, envelope: &Envelope, once: Option<Receipt>) -> NewMessage {
    let now = epoch_ms();
    let domain = core.settings.domains.first().map_or("localhost", |domain| domain);
    let call_id = format!("{}@{domain}", core.tag());
    let (tag, date) = (core.tag(), Date::from_unix(now / 1000).to_string());
    let (headers, body) = envelope.to_stored(&Stamp { call_id: &call_id, tag: &tag, date: &date });
    let lifetime = match core.settings.message.lifetime(Some(&envelope.content_type), None) {
        Lifetime::Keep(seconds) => seconds,
        Lifetime::NowOnly => core.settings.message.default_expires,
    };
    NewMessage {
        recipient: sides.peer.aor.clone(),
        device: None,
        sender: sides.user.aor.clone(),
        message_id: Some(envelope.message_id.clone()),
        call_id: call_id.into(),
        headers,
        body,
        accepted_ms: now,
        expires_at: now / 1000 + lifetime,
        wants: receipt::wants(&envelope.wants) | Wants::SESSION,
        once,
    }
}

/// What goes on when messages are on disk, or not.
pub(super) type Done = Box<dyn FnOnce(&Arc<Core>, Result<(), NotTaken>) + Send>;

/// Stores messages in one write, tells whoever waits for it, and sends them on.
pub(super) async fn store(core: &Arc<Core>, batch: Vec<(Lot, Done)>) {
    if core.store_queue.load(Ordering::Relaxed) as usize >= core.settings.max_store_queue {
        core.counters.shed(crate::metrics::Shed::Store);
        return batch.into_iter().for_each(|(lot, done)| {
            told(&lot.messages).iter().for_each(|receipt| may_be_told_again(core, receipt));
            done(core, Err(NotTaken::Busy));
        });
    }
    let (mut messages, mut dones) = (Vec::new(), Vec::with_capacity(batch.len()));
    for (lot, done) in batch {
        match lot.check(core).await {
            Ok(()) => {
                messages.extend(lot.messages);
                dones.push(done);
            }
            Err(not) => done(core, Err(not)),
        }
    }
    let receipts = told(&messages);
    let steps: Vec<Option<Kept>> = messages.iter().map(step).collect();
    let who: Vec<(Box<str>, Option<Box<str>>)> =
        messages.iter().map(|message| (message.recipient.clone(), message.device.clone())).collect();
    // Counted before the write, so that what comes now queues behind.
    who.iter().for_each(|(recipient, device)| core.waiting.add(recipient, device.as_deref(), 1));
    let written = core.stored(core.stores.queue.write(history::write(core, messages))).await;
    let result = written.map(|written| written.ids);
    let stored: Vec<bool> = match &result {
        Ok(ids) => ids.iter().map(Option::is_some).collect(),
        Err(error) => {
            core.counters.store_failed();
            tracing::error!(%error, "messages could not be stored");
            receipts.iter().for_each(|receipt| may_be_told_again(core, receipt));
            Vec::new()
        }
    };
    for (at, ((recipient, device), step)) in who.iter().zip(steps).enumerate() {
        match stored.get(at) {
            Some(true) => {
                core.ledger.stored();
                step.into_iter().for_each(|step| core.recent.keep(step));
            }
            // Seen before, or not stored.
            _ => core.waiting.remove(recipient, device.as_deref()),
        }
    }
    let taken = result.map(|_| ()).map_err(|_| NotTaken::Busy);
    dones.into_iter().for_each(|done| done(core, taken));
    for (recipient, _) in who {
        drain::kick(core, &recipient);
    }
}

/// What `explain` is to know of one; nothing of copies for the sender's own devices.
fn step(message: &NewMessage) -> Option<Kept> {
    let once = message.once.as_ref().filter(|_| message.device.is_none())?;
    let (kind, message_id, sender, recipient) = match once.state {
        ReceiptState::Accepted => {
            (steps::Kind::Taken, message.message_id.as_deref(), &message.sender, &message.recipient)
        }
        ReceiptState::Delivered => (steps::Kind::Delivered, Some(&*once.message_id), &once.sender, &once.recipient),
        ReceiptState::Displayed => (steps::Kind::Displayed, Some(&*once.message_id), &once.sender, &once.recipient),
        _ => return None,
    };
    Some(Kept::new(&Step {
        kind,
        by: By::Msrp,
        message_id,
        call_id: &message.call_id,
        sender,
        recipient,
        device: None,
        status: 200,
        begun_ms: message.accepted_ms,
        at_ms: epoch_ms(),
        came: None,
        went: None,
    }))
}

/// What the receipts among these tell.
fn told(messages: &[NewMessage]) -> Vec<Receipt> {
    let marks = messages.iter().filter_map(|message| message.once.as_ref());
    marks.filter(|mark| mark.state != ReceiptState::Accepted).cloned().collect()
}

/// A receipt was not taken: its device sends it again.
fn may_be_told_again(core: &Core, receipt: &Receipt) {
    core.recent_receipts.remove(&receipt.message_id, &receipt.sender, &receipt.recipient, receipt.state);
}

pub(super) fn uri(aor: &str) -> String {
    Aor::from_canonical(aor).to_uri()
}
