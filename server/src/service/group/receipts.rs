//! Receipts within a group: each once, in an order that makes sense, and only as its reader wishes.

use chappe_chat::Envelope;
use chappe_chat::envelope::Kind;
use chappe_chat::group::reader;
use chappe_imdn::{CPIM_TYPE, Cpim, Dispositions, Notification};
use chappe_sip::{Aor, Uri};
use chappe_store::{NewGroupEntry, Receipt, ReceiptState};

use super::account::blocks;
use super::entry::{Logged, Way};
use super::intake::Taken;
use super::news::Key;
use super::room::Room;
use crate::core::epoch_ms;
use crate::service::receipt;

/// Who wrote a message, and what it wants to hear of it.
#[derive(Debug, Clone)]
pub(super) struct Author {
    pub(super) user: Aor,
    wants: Dispositions,
    date: Box<str>,
}

impl Author {
    /// `None` for what is no message.
    pub(super) fn of(logged: &Logged) -> Option<Author> {
        let envelope = logged.envelope.as_ref().filter(|_| logged.is_message())?;
        Some(Author { user: logged.from()?.clone(), wants: envelope.wants, date: envelope.date.clone() })
    }
}

impl Room {
    /// What a device tells of a message.
    pub(super) fn receipt(&mut self, key: &Key, told: &Notification, envelope: &Envelope, taken: Taken) {
        let (id, state) = (told.message_id.clone(), receipt::state(told));
        // About nothing that was ever here.
        let Some(author) = self.author(&id, envelope) else { return taken.tell(self, Ok(())) };
        let reader = Aor::from_canonical(key.0.clone());
        let hides = state == ReceiptState::Displayed
            && self.core.directory.find(reader.as_str()).is_some_and(|entry| entry.hides_displayed());
        if hides || blocks(&self.core, &reader, &author.user) || self.is_old_news(&reader, &id, state) {
            return taken.tell(self, Ok(()));
        }
        // What was displayed has arrived: its sender hears that first, whichever of the two came first.
        if state == ReceiptState::Displayed && author.wants.positive_delivery {
            self.delivered_to(key, &author, &id);
        }
        let entry = self.receipt_entry(key, &author.user, &id, state, envelope);
        self.push(entry, taken);
    }

    /// One device has it: that another has not, or that it waits, is nothing for its sender.
    fn is_old_news(&self, reader: &Aor, id: &str, state: ReceiptState) -> bool {
        if matches!(state, ReceiptState::Delivered | ReceiptState::Displayed) {
            return false;
        }
        let arrived = |logged: &Logged| {
            let about = logged.envelope.as_ref().map(|envelope| &envelope.kind);
            logged.from() == Some(reader)
                && matches!(about, Some(Kind::Receipt(Some(told))) if told.message_id == *id
                    && receipt::state(told) == ReceiptState::Delivered)
        };
        self.recent.iter().any(|logged| arrived(logged))
    }

    /// The delivery receipt of a device that makes none.
    pub(super) fn receipt_for(&mut self, key: &Key, logged: &Logged) {
        let (Some(envelope), Some(author)) = (&logged.envelope, Author::of(logged)) else { return };
        if author.wants.positive_delivery && *author.user.as_str() != *key.0 {
            self.delivered_to(key, &author, &envelope.message_id);
        }
    }

    /// A delivery receipt in the name of a member.
    fn delivered_to(&mut self, key: &Key, author: &Author, id: &str) {
        let (from, to) = (Aor::from_canonical(key.0.clone()).to_uri(), author.user.to_uri());
        let written =
            chappe_imdn::Receipt::delivered(&from, &to, id, &author.date).to_cpim(&self.core.tag(), epoch_ms());
        if let Ok(read) = self.envelope(key, &[id.as_bytes()], CPIM_TYPE, written.into()) {
            let entry = self.receipt_entry(key, &author.user, id, ReceiptState::Delivered, &read);
            self.incoming.push((entry, Taken::Nobody));
        }
    }

    fn receipt_entry(
        &self,
        key: &Key,
        author: &Aor,
        id: &str,
        state: ReceiptState,
        envelope: &Envelope,
    ) -> NewGroupEntry {
        let user = Aor::from_canonical(key.0.clone());
        let once =
            Receipt { message_id: id.into(), sender: author.as_str().into(), recipient: user.as_str().into(), state };
        let way = Way { kind: reader::Kind::Receipt, from: &user, device: &key.1, to: Some(author) };
        self.entry(&way, envelope, once)
    }

    /// Who wrote a message: as the room remembers, else as the receipt says.
    fn author(&self, message_id: &str, receipt: &Envelope) -> Option<Author> {
        if let Some(author) = self.authors.get(message_id) {
            return Some(author.clone());
        }
        let cpim = receipt.is_cpim().then(|| Cpim::parse(receipt.body()).ok()).flatten()?;
        let to = cpim.to().first().map(|address| address.uri.to_owned())?;
        let user = super::anybody(&self.core, &Uri::parse(to.as_bytes()).ok()?)?;
        let user = self.group.members.get(&user).map(|member| member.user.clone())?;
        // What it wanted to hear is not remembered: it hears what is told.
        Some(Author { user, wants: Dispositions::default(), date: Box::default() })
    }
}
