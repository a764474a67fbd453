//! The partner of a test bed: sends each message back to its sender.

use std::sync::Arc;

use chappe_sip::{Aor, HeaderName, Method};
use chappe_store::{NewMessage, Wants};

use crate::core::{epoch_ms, epoch_seconds};
use crate::service::receipt::{self, Facts};
use crate::service::{Request, drain};
use crate::shard::Turn;

pub fn message(turn: &mut Turn<'_>, request: Request) {
    let core = turn.core;
    let message = &request.message;
    let from = message.from().and_then(|a| a.parse_uri().ok());
    let Some(sender) = from.and_then(|uri| crate::pipeline::addressee(turn, &uri)) else {
        return turn.answer(request.key, message, 403);
    };
    let (Some(echo), Method::Message) = (&core.settings.echo, message.method()) else {
        return turn.answer(request.key, message, 480);
    };
    let facts = Facts::of(message);
    let content_type = String::from_utf8_lossy(message.header(HeaderName::ContentType).unwrap_or(b"text/plain"));
    let is_composing = chappe_imdn::is_composing(&content_type);
    turn.answer(request.key, message, 200);
    core.ledger.delivered_at_once();
    if let Some(id) = facts.message_id.as_deref().filter(|_| receipt::wants_delivered(&facts)) {
        let subject = receipt::Subject {
            message_id: id,
            sender: &sender.aor,
            recipient: echo,
            body: message.body(),
            accepted_ms: epoch_ms(),
        };
        if let Some(made) = receipt::make(core, &subject, chappe_store::ReceiptState::Delivered) {
            receipt::send(core, made);
        }
    }
    // Neither a receipt nor a sign of typing is a message to answer.
    if facts.is_receipt || is_composing {
        return;
    }
    let uri = |aor: &str| Aor::from_canonical(aor).to_uri();
    let (call_id, now) = (format!("{}@echo", core.tag()), epoch_ms());
    let headers = format!(
        "From: \"Echo\" <{}>;tag={}\r\nTo: <{}>\r\nCall-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\nDate: {}\r\nContent-Type: {content_type}\r\n",
        uri(echo),
        core.tag(),
        uri(&sender.aor),
        chappe_sip::header::Date::from_unix(now / 1000),
    );
    let back = NewMessage {
        recipient: sender.aor.clone(),
        device: None,
        sender: echo.clone(),
        message_id: None,
        call_id: call_id.into(),
        headers: headers.into(),
        body: message.body_bytes(),
        accepted_ms: now,
        expires_at: epoch_seconds() + core.settings.message.default_expires,
        wants: Wants::default(),
        once: None,
    };
    let core = Arc::clone(core);
    core.runtime.clone().spawn(async move {
        match core.stored(core.stores.queue.append(vec![back])).await {
            Ok(_) => {
                core.ledger.stored();
                core.waiting.add(&sender.aor, None, 1);
                drain::kick(&core, &sender.aor);
            }
            Err(error) => tracing::error!(%error, "an echo could not be stored"),
        }
    });
}
