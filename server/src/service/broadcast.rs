//! MESSAGE to a list (RFC 5365): on disk for everybody who is on it, then 202. Each recipient is served as in a conversation of
//! two, from the queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chappe_chat::broadcast::{Broadcast, EXTENSION};
use chappe_chat::{Lifetime, Refusal};
use chappe_sip::{Aor, Edit, HeaderName, Message, Reply};
use chappe_store::{NewMessage, Receipt, ReceiptState, Wants};

use crate::core::{Core, epoch_ms};
use crate::lists;
use crate::service::receipt::{self, Facts};
use crate::service::{Request, drain, group, pager};
use crate::shard::Turn;

/// A broadcast of a user of ours.
pub(super) fn message(turn: &mut Turn<'_>, request: Request, sender: Aor) {
    let (core, message) = (turn.core, Arc::clone(&request.message));
    if let Some(bytes) = crate::pipeline::bad_extension(turn, &message, &[EXTENSION]) {
        return turn.respond(request.key, 420, bytes);
    }
    let most = core.groups.most_recipients();
    let broadcast = match Broadcast::read(&message, most, |uri| group::anybody(core, uri)) {
        Ok(broadcast) => broadcast,
        Err(error) => return refuse(turn, &request, error.status(), &group::warning_of(core, error.warning())),
    };
    if let Err(refusal) = core.settings.message.check(Some(&broadcast.content_type), broadcast.body.len()) {
        let accept = match refusal {
            Refusal::Type => vec![(HeaderName::Accept.as_str(), core.settings.message.types.join(", "))],
            Refusal::TooLarge { .. } => Vec::new(),
        };
        return refuse(turn, &request, refusal.status(), &accept);
    }
    let facts = Facts::of_body(&broadcast.content_type, &broadcast.body);
    let expires = message.number(HeaderName::Expires);
    let lifetime = core.settings.message.lifetime(Some(&broadcast.content_type), expires);
    let (Lifetime::Keep(seconds), false) = (lifetime, facts.is_receipt) else {
        // Neither what is of use now or never, nor receipts, go to many.
        return refuse(turn, &request, 403, &[]);
    };
    if core.store_queue.load(Ordering::Relaxed) as usize >= core.settings.max_store_queue {
        core.counters.shed(crate::metrics::Shed::Store);
        return refuse(turn, &request, 503, &[(HeaderName::RetryAfter.as_str(), core.retry_after())]);
    }
    let draft = Draft { broadcast: &broadcast, facts: &facts, sender: &sender, seconds };
    let (mut messages, mut failed) = (Vec::new(), Vec::new());
    for recipient in &broadcast.recipients {
        match draft.for_one(core, &request, recipient) {
            For::Message(message) => messages.push(*message),
            For::Nobody => {
                core.ledger.rejected.fetch_add(1, Ordering::Relaxed);
            }
            For::Failure => failed.extend(draft.failure(core, recipient)),
        }
    }
    let (core, revision) = (Arc::clone(core), facts.revises.clone());
    core.runtime.clone().spawn(async move {
        let recipients: Vec<Box<str>> = messages.iter().map(|message| message.recipient.clone()).collect();
        let result =
            if messages.is_empty() { Ok(Vec::new()) } else { pager::put_allowed(&core, messages, revision).await };
        let status = result.as_ref().err().copied().unwrap_or(202);
        if result.is_ok() {
            recipients.iter().for_each(|aor| drain::kick(&core, aor));
            failed.into_iter().for_each(|failure| receipt::send(&core, failure));
        }
        group::answer(&core, request.key, &message, status, &[]);
    });
}

fn refuse(turn: &mut Turn<'_>, request: &Request, status: u16, headers: &[(&'static str, String)]) {
    turn.core.ledger.rejected.fetch_add(1, Ordering::Relaxed);
    let tag = turn.core.tag();
    let reply = Reply::new(&request.message, status, &tag);
    let reply = headers.iter().fold(reply, |reply, (name, value)| reply.header_text(name, value.as_bytes()));
    turn.respond(request.key, status, reply.finish());
}

/// What a recipient gets.
enum For {
    Message(Box<NewMessage>),
    /// It wants nothing of the sender, who is not to know.
    Nobody,
    /// There is no such user here, or too much waits for it.
    Failure,
}

/// What all recipients have in common.
struct Draft<'a> {
    broadcast: &'a Broadcast,
    facts: &'a Facts,
    sender: &'a Aor,
    /// How long it waits.
    seconds: u64,
}

impl Draft<'_> {
    fn for_one(&self, core: &Arc<Core>, request: &Request, recipient: &Aor) -> For {
        let Some(entry) = core.directory.find(recipient.as_str()).filter(|entry| !entry.disabled) else {
            return For::Failure;
        };
        if lists::is_unwanted(core, &entry, request) {
            return For::Nobody;
        }
        if core.waiting.is_full(&entry.aor, false, core.settings.queue_per_user) {
            return For::Failure;
        }
        let Some(own) = self.write(core, request, recipient) else { return For::Failure };
        let now = epoch_ms();
        let date = chappe_sip::header::Date::from_unix(now / 1000).to_string();
        let sender: Box<str> = self.sender.as_str().into();
        let once = self.facts.message_id.clone().map(|message_id| Receipt {
            message_id,
            sender: sender.clone(),
            recipient: entry.aor.clone(),
            state: ReceiptState::Accepted,
        });
        For::Message(Box::new(NewMessage {
            recipient: entry.aor.clone(),
            sender,
            message_id: self.facts.message_id.clone(),
            call_id: String::from_utf8_lossy(own.call_id()).into(),
            headers: pager::kept_headers(&own, &date, &request.sender.voucher()),
            body: self.broadcast.body.clone(),
            accepted_ms: now,
            expires_at: now / 1000 + self.seconds,
            wants: self.facts.wants,
            once,
            device: None,
        }))
    }

    /// The MESSAGE as one recipient gets it: to him, and without the list (RFC 5365 §7.3).
    fn write(&self, core: &Core, request: &Request, recipient: &Aor) -> Option<Message> {
        let uri = recipient.to_uri();
        let mut edit = Edit::new(&request.message);
        edit.set_request_uri(&uri)
            .set(HeaderName::To, &format!("<{uri}>"))
            .set(HeaderName::CallId, &format!("{}@chappe", core.tag()))
            .set(HeaderName::CSeq, "1 MESSAGE")
            .remove(HeaderName::Require)
            .remove_text("Content-Disposition")
            .set(HeaderName::ContentType, &self.broadcast.content_type)
            .set_body(Bytes::new());
        let limits = chappe_sip::Limits { message: usize::MAX, head: usize::MAX, headers: usize::MAX, uri: usize::MAX };
        Message::parse(edit.finish(), &limits).ok()
    }

    /// That it did not reach somebody, for a sender that wants to know.
    fn failure(&self, core: &Core, recipient: &Aor) -> Option<NewMessage> {
        let message_id = self.facts.message_id.as_deref()?;
        let subject = receipt::Subject {
            message_id,
            sender: self.sender.as_str(),
            recipient: recipient.as_str(),
            body: &self.broadcast.body,
            accepted_ms: epoch_ms(),
        };
        let wants = self.facts.wants.contains(Wants::NEGATIVE_DELIVERY);
        wants.then(|| receipt::make(core, &subject, ReceiptState::Failed)).flatten()
    }
}
