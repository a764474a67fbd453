//! Messages and notifications, whatever carries them.

use super::text::{Envelope, envelope, notification, read_notification};
use super::{Fate, Handset, Kind, Outgoing, Receipt};
use crate::DOMAIN;

impl Handset {
    pub(super) fn aor(user: usize) -> String {
        format!("sip:user{user}@{DOMAIN}")
    }

    /// What waits at that place of the outbox, as it goes; sessions of SIMPLE IM have no addresses in it.
    pub(super) fn envelope(&self, at: usize, session: bool) -> String {
        let Outgoing { id, text, is_receipt, .. } = &self.outbox[at];
        let (from, to) = (Handset::aor(self.user), Handset::aor(self.peer));
        let addresses = (!session || self.kind == Kind::Cpm).then_some((from.as_str(), to.as_str()));
        let content_type = if *is_receipt { "message/imdn+xml" } else { "text/plain;charset=UTF-8" };
        envelope(addresses, id, content_type, text)
    }

    /// Takes an envelope that came.
    pub(super) fn content(&mut self, content_type: &str, body: &str) {
        if content_type.starts_with("application/im-iscomposing") {
            return;
        }
        if !content_type.starts_with("message/cpim") {
            return self.fault(format!("content of the type {content_type:?}"));
        }
        let envelope = Envelope::read(body);
        let copies = self.copies.entry(envelope.id.clone()).or_default();
        *copies += 1;
        let first = *copies == 1;
        if envelope.content_type.starts_with("message/imdn+xml") {
            let (about, kind) = read_notification(&envelope.body);
            if first {
                self.receipts.push(Receipt { about, kind, id: envelope.id });
            }
            return;
        }
        if first {
            self.screen.push((envelope.id.clone(), envelope.body));
        }
        // What its user wrote on another device.
        if envelope.id.starts_with(&format!("u{}d", self.user)) {
            return;
        }
        // Of a copy it is told again: the first word may have been lost.
        if envelope.wants.contains("positive-delivery") {
            self.tell(&envelope.id, "delivered");
        }
        if first && self.displays && envelope.wants.contains("display") {
            self.tell(&envelope.id, "displayed");
        }
    }

    fn tell(&mut self, about: &str, kind: &str) {
        let (id, text) = (self.id(), notification(about, kind));
        self.outbox.push(Outgoing { id, text, is_receipt: true, fate: Fate::Waits });
    }
}
