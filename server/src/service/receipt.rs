//! Receipts that the server makes where the sender asked for them and the device cannot (RFC 5438).

use std::sync::Arc;

use chappe_chat::{Capabilities, Relation};
use chappe_imdn::{Content, Cpim, Dispositions, Receipt, Status, classify};
use chappe_sip::registrar::Binding;
use chappe_sip::{HeaderName, Message};
use chappe_store::{NewMessage, ReceiptState, Wants};

use crate::core::{Core, epoch_ms};
use crate::history;

/// What of a message matters to receipts.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// IMDN Message-ID.
    pub message_id: Option<Box<str>>,
    pub wants: Wants,
    /// The message is a receipt itself, and begets none.
    pub is_receipt: bool,
    /// The message that this one changes or recalls.
    pub revises: Option<Box<str>>,
    /// For a receipt: the message that it is about, and what it tells.
    pub about: Option<(Box<str>, ReceiptState)>,
}

impl Facts {
    /// Reads them from a MESSAGE; a body that only pretends to be an envelope tells nothing.
    pub fn of(message: &Message) -> Facts {
        let Some(content_type) = message.header(HeaderName::ContentType).and_then(|t| std::str::from_utf8(t).ok())
        else {
            return Facts::default();
        };
        // Plain text, the common case, needs no look inside.
        let media = chappe_chat::media_type(content_type);
        if !media.get(..8).is_some_and(|m| m.eq_ignore_ascii_case("message/")) {
            return Facts::default();
        }
        Facts::of_body(content_type, message.body())
    }

    /// Reads them from a body.
    pub fn of_body(content_type: &str, body: &[u8]) -> Facts {
        match classify(content_type, body) {
            Ok(Content::Message(envelope)) => Facts {
                message_id: envelope.message_id().map(Into::into),
                wants: wants(&envelope.dispositions()),
                is_receipt: false,
                revises: Relation::of(&envelope).and_then(|relation| relation.revised().map(Into::into)),
                about: None,
            },
            Ok(Content::Receipt { envelope, notification }) => Facts {
                message_id: envelope.and_then(|e| e.message_id().map(Into::into)),
                wants: Wants::default(),
                is_receipt: true,
                revises: None,
                about: notification.ok().map(|n| (n.message_id.as_str().into(), state(&n))),
            },
            Ok(Content::Bare | Content::Composing) | Err(_) => Facts::default(),
        }
    }
}

/// What a receipt tells.
pub fn state(notification: &chappe_imdn::Notification) -> ReceiptState {
    match notification.status {
        Status::Delivered => ReceiptState::Delivered,
        Status::Failed => ReceiptState::Failed,
        Status::Displayed => ReceiptState::Displayed,
        Status::Processed => ReceiptState::Processed,
        Status::Stored => ReceiptState::Stored,
        Status::Forbidden => ReceiptState::Forbidden,
        _ => ReceiptState::Error,
    }
}

/// What a sender asked to hear, as it is kept.
pub fn wants(asked: &Dispositions) -> Wants {
    let mut wants = Wants::default();
    for (flag, bit) in [
        (asked.positive_delivery, Wants::POSITIVE_DELIVERY),
        (asked.negative_delivery, Wants::NEGATIVE_DELIVERY),
        (asked.processing, Wants::PROCESSING),
        (asked.display, Wants::DISPLAY),
    ] {
        if flag {
            wants = wants | bit;
        }
    }
    wants
}

/// Whether the device sends receipts itself, judged by what it says of itself.
pub fn answers_itself(binding: &Binding) -> bool {
    Capabilities::of(binding.params(), binding.user_agent()).receipts
}

/// A message whose receipt is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub message_id: &'a str,
    /// AOR of its sender, who gets the receipt.
    pub sender: &'a str,
    /// AOR of its recipient, whose receipt it is.
    pub recipient: &'a str,
    pub body: &'a [u8],
    /// When it was accepted, in milliseconds since the epoch.
    pub accepted_ms: u64,
}

/// The receipt as a message to be stored for the sender. Stored once only: a copy finds its twin. `None` where the
/// sender is not one of our users.
pub fn make(core: &Core, subject: &Subject<'_>, state: ReceiptState) -> Option<NewMessage> {
    core.directory.find(subject.sender)?;
    let uri = |aor: &str| chappe_sip::Aor::from_canonical(aor).to_uri();
    let (from, to) = (uri(subject.recipient), uri(subject.sender));
    let envelope = Cpim::parse(subject.body).ok();
    let accepted = chappe_imdn::date_time(subject.accepted_ms);
    let sent = envelope.as_ref().and_then(Cpim::date_time).unwrap_or(&accepted);
    let receipt = match state {
        ReceiptState::Delivered => Receipt::delivered(&from, &to, subject.message_id, sent),
        ReceiptState::Stored => Receipt::stored(&from, &to, subject.message_id, sent),
        _ => Receipt::failed(&from, &to, subject.message_id, sent),
    };
    let receipt = match &envelope {
        Some(envelope) => receipt.about(envelope),
        None => receipt,
    };
    let now = epoch_ms();
    let mut random = [0; 15];
    random[..8].copy_from_slice(&core.random().to_be_bytes());
    random[8..].copy_from_slice(&core.random().to_be_bytes()[1..]);
    let id = chappe_imdn::message_id(random);
    let body = receipt.to_cpim(&id, now);
    let domain = core.settings.domains.first().map_or("localhost", |d| d);
    let call_id = format!("{}@{domain}", core.tag());
    let headers = format!(
        "From: <{from}>;tag={}\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\nDate: {}\r\n\
         P-Asserted-Identity: <{from}>\r\nContent-Type: {}\r\n",
        core.tag(),
        chappe_sip::header::Date::from_unix(now / 1000),
        chappe_imdn::CPIM_TYPE,
    );
    Some(NewMessage {
        recipient: subject.sender.into(),
        device: None,
        sender: subject.recipient.into(),
        message_id: Some(id.into()),
        call_id: call_id.into(),
        headers: headers.into(),
        body: body.into(),
        accepted_ms: now,
        expires_at: now / 1000 + core.settings.message.default_expires,
        wants: Wants::default(),
        once: Some(chappe_store::Receipt {
            message_id: subject.message_id.into(),
            sender: subject.sender.into(),
            recipient: subject.recipient.into(),
            state,
        }),
    })
}

/// Stores a receipt and sends it on.
pub fn send(core: &Arc<Core>, receipt: NewMessage) {
    let core = Arc::clone(core);
    core.runtime.clone().spawn(async move {
        let sender = receipt.recipient.clone();
        match core.stored(core.stores.queue.write(history::write(&core, vec![receipt]))).await {
            Ok(written) if written.ids.first().is_some_and(Option::is_some) => {
                core.counters.receipt();
                core.ledger.stored();
                core.waiting.add(&sender, None, 1);
                super::drain::kick(&core, &sender);
            }
            Ok(_) => {}
            Err(error) => {
                core.counters.store_failed();
                tracing::error!(%error, "a receipt could not be stored");
            }
        }
    });
}

/// Whether the sender wants to hear that the message arrived.
pub fn wants_delivered(facts: &Facts) -> bool {
    !facts.is_receipt && facts.wants.contains(Wants::POSITIVE_DELIVERY) && facts.message_id.is_some()
}

impl<'a> Subject<'a> {
    /// A message that waits.
    pub fn of(message: &'a chappe_store::QueuedMessage, message_id: &'a str) -> Subject<'a> {
        Subject {
            message_id,
            sender: &message.sender,
            recipient: &message.recipient,
            body: &message.body,
            accepted_ms: message.accepted_ms,
        }
    }
}
