//! Receipts within a group: each once, in an order that makes sense, and only as its reader wishes.

use chappe_chat::Envelope;
use chappe_chat::envelope::Kind;
use chappe_chat::group::authors::{Author, Authors};
use chappe_chat::group::reader;
use chappe_chat::receipts::{Privacy, Report};
use chappe_imdn::{CPIM_TYPE, Cpim, Dispositions, Notification};
use chappe_sip::{Aor, Uri};
use chappe_store::{NewGroupEntry, Receipt, ReceiptState};

use super::account::blocks;
use super::entry::{Logged, Way};
use super::intake::{NotTaken, Taken};
use super::news::Key;
use super::room::Room;
use crate::core::epoch_ms;
use crate::service::receipt;

/// Who wrote a message; `None` for what is no message.
fn author_of(logged: &Logged) -> Option<Author> {
    let envelope = logged.envelope.as_ref().filter(|_| logged.is_message())?;
    Some(Author { user: logged.from()?.clone(), wants: envelope.wants, date: envelope.date.clone() })
}

/// Takes up what an entry of the log says of a message: that it was written, or what a member has told of it.
pub(super) fn note(authors: &mut Authors, logged: &Logged) {
    let Some(envelope) = &logged.envelope else { return };
    match (author_of(logged), &envelope.kind) {
        (Some(author), _) => authors.wrote(&envelope.message_id, author),
        (None, Kind::Receipt(Some(told))) => {
            if let Some(who) = logged.from() {
                authors.heard(&told.message_id, who, Report::of(told));
            }
        }
        (None, _) => {}
    }
}

impl Room {
    /// What a device tells of a message.
    pub(super) fn receipt(&mut self, key: &Key, told: &Notification, envelope: &Envelope, taken: Taken) {
        let (id, report) = (told.message_id.clone(), Report::of(told));
        let reader = Aor::from_canonical(key.0.clone());
        let Some(author) = self.author(&id, envelope) else {
            // About nothing that was ever here.
            return taken.tell(self, Ok(()));
        };
        // Before anything is taken: the device tells it again.
        if self.sheds() {
            return taken.tell(self, Err(NotTaken::Busy));
        }
        let privacy = Privacy {
            hides_displayed: self.core.directory.find(reader.as_str()).is_some_and(|entry| entry.hides_displayed()),
            blocks_sender: blocks(&self.core, &reader, &author.user),
        };
        let is_hidden = privacy.blocks_sender || (privacy.hides_displayed && report == Report::Displayed);
        // Of a message that is not remembered the author hears what is told.
        let tells = self.authors.take(&id, &reader, report, privacy);
        let tells = tells.unwrap_or_else(|| (!is_hidden).then_some(report).into_iter().collect());
        let mut taken = Some(taken);
        for tell in tells {
            if tell == report {
                let entry = self.receipt_entry(key, &author.user, &id, receipt::state(told), envelope);
                self.incoming.push((entry, taken.take().unwrap_or(Taken::Nobody)));
            } else {
                // What was displayed has arrived: its author hears that first.
                self.delivered_to(key, &author, &id);
            }
        }
        match taken {
            // What makes this no news may not be on disk yet.
            Some(taken) if !self.authors.is_kept() => self.held.push(taken),
            Some(taken) => taken.tell(self, Ok(())),
            None => {}
        }
    }

    /// The delivery receipt of a device that makes none.
    pub(super) fn receipt_for(&mut self, key: &Key, logged: &Logged) {
        let (Some(envelope), Some(author)) = (&logged.envelope, author_of(logged)) else { return };
        let user = Aor::from_canonical(key.0.clone());
        self.authors.wrote(&envelope.message_id, author.clone());
        let tells = self.authors.take(&envelope.message_id, &user, Report::Delivered, Privacy::default());
        if tells.is_some_and(|tells| tells.contains(&Report::Delivered)) {
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
        if let Some(author) = self.authors.author(message_id) {
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
