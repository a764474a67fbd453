//! MESSAGE of a focus to a device without a session.

use std::sync::Arc;

use bytes::Bytes;
use chappe_chat::Envelope;
use chappe_chat::group::GroupId;
use chappe_sip::header::Date;
use chappe_sip::layer::Dest;
use chappe_sip::registrar::Binding;
use chappe_sip::{HeaderName, Uri};

use super::news::{Key, News};
use crate::core::{Core, epoch_seconds};
use crate::hops::Hop;
use crate::service::drain;
use crate::shard::Turn;
use crate::work::{Token, Work};

/// The number of what is in no log.
pub(super) const NOW: u64 = 0;

/// A MESSAGE that waits for its answer.
pub struct Attempt {
    group: GroupId,
    key: Key,
    seq: u64,
}

/// Header lines and body of it.
pub(super) struct Page {
    pub headers: Bytes,
    pub body: Bytes,
    pub call_id: String,
}

impl Page {
    /// With the envelope for a device that knows them; others see by the name who writes.
    pub(super) fn new(
        core: &Core,
        envelope: &Envelope,
        focus: &str,
        to: &str,
        name: &str,
        with_envelope: bool,
    ) -> Option<Page> {
        let body = match (with_envelope, envelope.is_cpim()) {
            (true, true) => envelope.for_message(),
            (true, false) => envelope.for_session(chappe_chat::envelope::Addresses::Real),
            (false, _) => envelope.bare()?,
        };
        let call_id = format!("{}@chappe", core.tag());
        let name: String = name.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
        let mut headers = format!(
            "From: \"{name}\" <{focus}>;tag={}\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\nDate: {}\r\n\
             P-Asserted-Identity: <{focus}>\r\n",
            core.tag(),
            Date::from_unix(epoch_seconds()),
        );
        for (header, id) in [
            (HeaderName::ContributionId, &envelope.contribution_id),
            (HeaderName::ConversationId, &envelope.conversation_id),
        ] {
            if let Some(id) = id {
                headers.push_str(&format!("{}: {id}\r\n", header.as_str()));
            }
        }
        headers.push_str(&format!("Content-Type: {}\r\n", body.content_type));
        Some(Page { headers: headers.into(), body: body.bytes, call_id })
    }
}

/// Sends it; what comes of it is told to the room.
pub(super) fn send(core: &Arc<Core>, group: &GroupId, key: Key, seq: u64, binding: Binding, page: Page) {
    let attempt = Attempt { group: group.clone(), key, seq };
    match core.way_to(&binding) {
        Hop::Known(dest) => launch(core, &binding, dest, &page, attempt),
        Hop::Name => {
            let core = Arc::clone(core);
            core.runtime.clone().spawn(async move {
                let dest = match Uri::parse(binding.contact().as_bytes()) {
                    Ok(uri) => core.resolve(&uri).await,
                    Err(_) => None,
                };
                match dest {
                    Some(dest) => launch(&core, &binding, dest, &page, attempt),
                    None => tell(&core, attempt, 408),
                }
            });
        }
        Hop::Gone | Hop::Unsupported => tell(core, attempt, 430),
    }
}

fn launch(core: &Arc<Core>, binding: &Binding, dest: Dest, page: &Page, attempt: Attempt) {
    core.visit(page.call_id.as_bytes(), |turn| {
        let token = turn.shard.works.reserve();
        match drain::launch(turn, binding, dest, &page.headers, &page.body, token) {
            Ok(()) => turn.shard.works.put(token, Work::GroupPage(Box::new(attempt))),
            Err(status) => {
                turn.shard.works.end(token);
                tell(turn.core, attempt, status);
            }
        }
    });
}

pub(super) fn ended(turn: &mut Turn<'_>, token: Token, attempt: Box<Attempt>, status: u16) {
    if status < 200 {
        return turn.shard.works.put(token, Work::GroupPage(attempt));
    }
    turn.shard.works.end(token);
    tell(turn.core, *attempt, status);
}

fn tell(core: &Arc<Core>, attempt: Attempt, status: u16) {
    let Attempt { group, key, seq } = attempt;
    core.groups.tell(core, &group, News::Paged { key, seq, status });
}
