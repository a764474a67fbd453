//! File transfer by MSRP (RFC 5547, GSMA RCC.07 §3.5, OMA CPM), where the two sides do not meet: a file that comes for
//! somebody who is away, or who knows files by HTTP only, becomes one of the content server and is told of by a message; a
//! file that such a message tells of is brought by MSRP to a device that knows nothing else.
//!
//! ```text
//! device ──INVITE, MSRP──▶ Take ──▶ content server, message in the queue ──▶ drain ──▶ Give ──INVITE, MSRP──▶ device
//!                        (both on disk, then 200)                                 or the message as it is
//! ```
//!
//! Where a device of the recipient is there and takes files by MSRP, the proxy passes the INVITE on: who offers and who is
//! asked settle it between themselves.

mod give;
mod take;

use std::sync::Arc;

use chappe_chat::file::{FileOffer, Offered, is_by_msrp_only};
use chappe_chat::invitation::Invitation;
use chappe_chat::{Capabilities, Envelope};
use chappe_content::FileDocument;
use chappe_sip::registrar::{Binding, targets};
use chappe_store::QueuedMessage;

use super::{Letter, Sides, device_of, endpoint, may_have_sessions};
use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::files::Depot;
use crate::service::Request;
use crate::service::pager::is_alive;
use crate::shard::Turn;

/// The content server, as file transfer uses it.
pub struct FileBox {
    pub depot: Arc<Depot>,
    /// What links begin with, where no request says by which name the server is known.
    pub base: Box<str>,
}

/// Takes an INVITE that offers a file to a user none of whose devices takes it by MSRP now; else gives it back.
pub(super) fn invited(
    turn: &mut Turn<'_>,
    request: Request,
    user: &Arc<Entry>,
    peer: &Arc<Entry>,
    invitation: &Invitation,
) -> Result<(), Request> {
    let core = turn.core;
    if core.files().is_none() || is_taken_now(core, &peer.aor) {
        return Err(request);
    }
    match FileOffer::read(&invitation.sdp) {
        Ok(Offered::Push(offer)) => {
            let device = device_of(core, &user.aor, &request.message, &request.flow);
            let sides = Sides { user: Arc::clone(user), device, peer: Arc::clone(peer) };
            take::called(turn, request, sides, *offer, invitation);
            Ok(())
        }
        // Only who has it can give it.
        Ok(Offered::Pull) => Err(request),
        Err(refusal) => {
            tracing::debug!(%refusal, "a file that cannot be taken");
            let message = Arc::clone(&request.message);
            turn.answer(request.key, &message, refusal.status());
            Ok(())
        }
    }
}

/// Whether a device of a user is there that takes files by MSRP.
fn is_taken_now(core: &Core, aor: &str) -> bool {
    core.location.with(aor, |bindings| {
        let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
        found.iter().any(|target| {
            let binding = target.binding;
            may_have_sessions(binding) && Capabilities::of(binding.params(), binding.user_agent()).file_transfer
        })
    })
}

/// Whether a message has to go through the queue, since a device takes the file that it may tell of by MSRP only.
pub(super) fn diverts(core: &Core, binding: &Binding, body: &[u8]) -> bool {
    core.files().is_some()
        && may_have_sessions(binding)
        && needs_msrp(binding)
        && memchr::memmem::find(body, b"file-info").is_some()
}

fn needs_msrp(binding: &Binding) -> bool {
    is_by_msrp_only(Capabilities::of(binding.params(), binding.user_agent()))
}

/// Brings a device the file that a message tells of, where it takes files by MSRP only; `false` where the message goes as it
/// is. What becomes of it is told to the drain.
pub(super) fn deliver(core: &Arc<Core>, aor: &str, binding: &Binding, letter: &Arc<Letter>, peer: &Arc<Entry>) -> bool {
    if core.files().is_none() || !may_have_sessions(binding) || !needs_msrp(binding) {
        return false;
    }
    let Some(document) = letter.envelope().and_then(document) else { return false };
    // A link of somebody else's is nothing that we fetch for whoever writes it.
    let Some(id) = chappe_api::files::id_of(&document.file.url).map(str::to_owned) else { return false };
    give::give(core, aor, binding.clone(), Arc::clone(letter), Arc::clone(peer), id, document);
    true
}

/// Whether a device that took a message got the file that it tells of by MSRP: then it cannot send a receipt for it.
pub fn was_given(core: &Core, binding: &Binding, message: &QueuedMessage) -> bool {
    core.files().is_some()
        && endpoint(core).is_some()
        && may_have_sessions(binding)
        && needs_msrp(binding)
        && Letter::new(message.clone())
            .envelope()
            .and_then(document)
            .is_some_and(|document| chappe_api::files::id_of(&document.file.url).is_some())
}

/// The document that a message has.
fn document(envelope: &Envelope) -> Option<FileDocument> {
    let is_document = chappe_chat::media_type(&envelope.content_type).eq_ignore_ascii_case(chappe_content::FILE_TYPE);
    let content = is_document.then(|| envelope.content()).flatten()?;
    FileDocument::parse(&content).ok()
}
