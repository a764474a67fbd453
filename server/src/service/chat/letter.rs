//! A message of the queue on its way to a device, read when something in it is first asked for.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chappe_chat::envelope::Kind;
use chappe_chat::{Access, Capabilities, Envelope};
use chappe_sip::registrar::Binding;
use chappe_sip::{Aor, Uri};
use chappe_store::{QueuedMessage, Wants};

use crate::core::{Core, epoch_ms};
use crate::directory::Entry;

/// A queued message. Most go by MESSAGE as they came, and are never read.
pub struct Letter {
    pub queued: QueuedMessage,
    /// When it set out, in milliseconds since the epoch.
    pub begun_ms: u64,
    read: OnceLock<Option<Box<Envelope>>>,
}

impl Letter {
    pub fn new(queued: QueuedMessage) -> Arc<Letter> {
        Arc::new(Letter { queued, begun_ms: epoch_ms(), read: OnceLock::new() })
    }

    pub fn id(&self) -> u64 {
        self.queued.id
    }

    /// What it says; `None` where that cannot be made out.
    pub fn envelope(&self) -> Option<&Envelope> {
        let QueuedMessage { headers, body, message_id, .. } = &self.queued;
        let read = || Envelope::stored(headers, body.clone(), message_id.as_deref()).ok().map(Box::new);
        self.read.get_or_init(read).as_deref()
    }

    /// The other side of the conversation that it belongs to.
    pub fn peer(&self, core: &Core) -> Option<Arc<Entry>> {
        if self.queued.sender != self.queued.recipient {
            return core.directory.find(&self.queued.sender);
        }
        // What the user has sent from another device.
        let uri = Uri::parse(self.envelope()?.to.as_bytes()).ok()?;
        core.directory.find(Aor::of(&uri)?.as_str())
    }

    /// The header lines and the body of a MESSAGE with it.
    ///
    /// What came by a session has the real addresses in its envelope, and for a device that is not known to take any, no
    /// envelope. What came by MESSAGE goes as it came, where the device can read it.
    pub fn for_message(&self, binding: &Binding) -> (Bytes, Bytes) {
        let QueuedMessage { headers, body, .. } = &self.queued;
        match self.dressed(binding) {
            Some(new) => (chappe_chat::stored::with_content(headers, &new.content_type), new.bytes),
            None => (headers.clone(), body.clone()),
        }
    }

    /// Another body than the one that came, where the device needs it.
    fn dressed(&self, binding: &Binding) -> Option<chappe_chat::envelope::Body> {
        let by_session = self.queued.wants.contains(Wants::SESSION);
        if !by_session && !super::may_have_sessions(binding) {
            return None;
        }
        let device = Capabilities::of(binding.params(), binding.user_agent());
        let envelope = self.envelope()?;
        if envelope.is_cpim() {
            let real = envelope.for_message();
            if by_session && !device.receipts {
                return Some(envelope.bare().unwrap_or(real));
            }
            return Some(real).filter(|real| real.bytes != self.queued.body);
        }
        // CPM knows nothing else (OMA CPM conversation functions §7.2).
        let needs_envelope = device.access() == Access::Cpm && envelope.kind == Kind::Content;
        needs_envelope.then(|| envelope.for_session(chappe_chat::envelope::Addresses::Real))
    }
}
