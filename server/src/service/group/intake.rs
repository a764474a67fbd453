//! Messages into the log: on disk before their senders are told so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chappe_chat::envelope::{Kind, Source, Stamp};
use chappe_chat::group::data::{self, GROUP_DATA_TYPE};
use chappe_chat::group::reader;
use chappe_chat::{Envelope, Refusal, media_type};
use chappe_imdn::Cpim;
use chappe_msrp::Assembled;
use chappe_sip::{Aor, Message, Uri};
use chappe_store::{GroupError, NewGroupEntry, Receipt, ReceiptState};

use super::change::Failed;
use super::entry::{self, Logged, Way};
use super::news::{Answering, Key};
use super::room::Room;
use crate::core::epoch_ms;
use crate::msrp::endpoint::Answer;
use crate::service::rights;

const TEXT: &str = "text/plain;charset=UTF-8";

/// Who is told that a message is on disk.
pub(super) enum Taken {
    Msrp(Answer),
    Sip(Answering),
    Nobody,
}

impl Taken {
    pub(super) fn tell(self, room: &Room, result: Result<(), NotTaken>) {
        match (self, result) {
            (Taken::Msrp(answer), Ok(())) => answer.ok(),
            (Taken::Msrp(answer), Err(not)) => answer.refuse(not.codes().0),
            (Taken::Sip(answering), Ok(())) => answering.give(&room.core, 200, &[]),
            (Taken::Sip(answering), Err(not)) => answering.give(&room.core, not.codes().1, &[]),
            (Taken::Nobody, _) => {}
        }
    }
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    Malformed,
    TooLarge,
    Type,
    Forbidden,
    /// It is for somebody who is not in.
    Nobody,
    /// The store is slow, full or broken.
    Busy,
}

impl NotTaken {
    /// Of MSRP and of SIP.
    fn codes(self) -> (u16, u16) {
        match self {
            NotTaken::Malformed => (400, 400),
            NotTaken::TooLarge => (413, 513),
            NotTaken::Type => (415, 415),
            NotTaken::Forbidden => (403, 403),
            // RFC 7701 §6.2.
            NotTaken::Nobody => (404, 404),
            // Try again later: as if the next hop had not answered.
            NotTaken::Busy => (408, 503),
        }
    }
}

impl Room {
    /// What a device sent in its session.
    pub(super) async fn received(&mut self, key: &Key, message: Assembled, answer: Answer) {
        let content_type = message.head.content_type().unwrap_or(TEXT).to_owned();
        let id = message.head.message_id().unwrap_or_default().to_owned();
        let session = self.focus.clone();
        let parts: [&[u8]; 3] = [session.as_bytes(), key.1.as_bytes(), id.as_bytes()];
        let read = self.envelope(key, &parts, &content_type, message.data.into());
        self.take(key, read, Taken::Msrp(answer)).await;
    }

    /// MESSAGE to the focus.
    pub(super) async fn message(&mut self, user: Aor, device: Box<str>, request: &Arc<Message>, answering: Answering) {
        let user = self.group.members.get(&user).map_or(user, |member| member.user.clone());
        let read =
            Envelope::of_message(request, &user.to_uri(), &self.focus, epoch_ms()).map_err(|_| NotTaken::Malformed);
        self.take(&(user.as_str().into(), device), read, Taken::Sip(answering)).await;
    }

    pub(super) fn envelope(
        &self,
        key: &Key,
        parts: &[&[u8]],
        content_type: &str,
        body: Bytes,
    ) -> Result<Envelope, NotTaken> {
        self.envelope_of(&Aor::from_canonical(key.0.clone()).to_uri(), parts, content_type, body)
    }

    /// `from`: the URI of the sender.
    pub(super) fn envelope_of(
        &self,
        from: &str,
        parts: &[&[u8]],
        content_type: &str,
        body: Bytes,
    ) -> Result<Envelope, NotTaken> {
        let source = Source {
            from,
            to: &self.focus,
            contribution_id: Some(&self.group.contribution_id),
            conversation_id: self.group.conversation_id.as_deref(),
            in_reply_to: None,
            message_id: None,
            key: parts,
            accepted_ms: epoch_ms(),
        };
        Envelope::read(&source, content_type, body).map_err(|_| NotTaken::Malformed)
    }

    async fn take(&mut self, key: &Key, read: Result<Envelope, NotTaken>, taken: Taken) {
        let user = Aor::from_canonical(key.0.clone());
        if self.group.admit(&user).is_err() {
            return taken.tell(self, Err(NotTaken::Forbidden));
        }
        let mut envelope = match read {
            Ok(envelope) => envelope,
            Err(not) => return taken.tell(self, Err(not)),
        };
        let to = match self.only_for(&user, &envelope) {
            Ok(to) => to,
            Err(not) => return taken.tell(self, Err(not)),
        };
        if let Some(to) = &to {
            envelope.to = to.to_uri().into();
        }
        match &envelope.kind {
            Kind::Composing => {
                self.show(key, &envelope);
                taken.tell(self, Ok(()));
            }
            Kind::Receipt(None) => taken.tell(self, Ok(())),
            Kind::Receipt(Some(notification)) => self.receipt(key, notification, &envelope, taken),
            Kind::Content if media_type(&envelope.content_type).eq_ignore_ascii_case(GROUP_DATA_TYPE) => {
                self.group_data(key, &user, &envelope, taken).await;
            }
            Kind::Content if !self.may_send(&user, &envelope).await => taken.tell(self, Err(NotTaken::Forbidden)),
            Kind::Content => match self.core.settings.message.check_envelope(&envelope) {
                Ok(()) => {
                    let once = Receipt {
                        message_id: envelope.message_id.clone(),
                        sender: user.as_str().into(),
                        recipient: self.id.as_str().into(),
                        state: ReceiptState::Accepted,
                    };
                    let kind = if to.is_some() { reader::Kind::Private } else { reader::Kind::Message };
                    let way = Way { kind, from: &user, device: &key.1, to: to.as_ref() };
                    let entry = self.entry(&way, &envelope, once);
                    self.push(entry, taken);
                }
                Err(Refusal::TooLarge { .. }) => taken.tell(self, Err(NotTaken::TooLarge)),
                Err(_) => taken.tell(self, Err(NotTaken::Type)),
            },
        }
    }

    /// Whether it is no change of what another member wrote.
    async fn may_send(&self, user: &Aor, envelope: &Envelope) -> bool {
        let Some(id) = envelope.relation.as_ref().and_then(|relation| relation.revised()) else { return true };
        let (author, group) = (user.as_str(), self.id.as_str());
        let is_coming = self
            .incoming
            .iter()
            .filter_map(|(entry, _)| entry.once.as_ref())
            .any(|once| once.state == ReceiptState::Accepted && *once.message_id == *id && *once.sender == *author);
        is_coming || rights::wrote_in_group(&self.core, author, group, id).await.unwrap_or(false)
    }

    /// The one member that a message is for, where its envelope names one (RFC 7701 §6.2). One for several, or for somebody who
    /// is known and not in, is for nobody: never for all.
    fn only_for(&self, sender: &Aor, envelope: &Envelope) -> Result<Option<Aor>, NotTaken> {
        if envelope.kind != Kind::Content || !envelope.is_cpim() {
            return Ok(None);
        }
        let Ok(cpim) = Cpim::parse(envelope.body()) else { return Ok(None) };
        let named = cpim.to();
        let to = match named.as_slice() {
            [] => return Ok(None),
            [to] => to,
            _ => return Err(NotTaken::Forbidden),
        };
        let Ok(uri) = Uri::parse(to.uri.as_bytes()) else { return Ok(None) };
        let Some(user) = super::anybody(&self.core, &uri).filter(|user| user != sender) else { return Ok(None) };
        match self.group.members.get(&user) {
            Some(member) if member.state.is_in() => Ok(Some(member.user.clone())),
            Some(_) => Err(NotTaken::Nobody),
            None if self.core.directory.find(user.as_str()).is_some() => Err(NotTaken::Nobody),
            // The focus, the factory, nobody by name: all of them.
            None => Ok(None),
        }
    }

    pub(super) fn push(&mut self, entry: NewGroupEntry, taken: Taken) {
        if self.sheds() {
            return taken.tell(self, Err(NotTaken::Busy));
        }
        self.incoming.push((entry, taken));
    }

    /// Whether the store has too much to do already, which is counted.
    pub(super) fn sheds(&self) -> bool {
        let core = &self.core;
        let is_full = core.store_queue.load(Ordering::Relaxed) as usize >= core.settings.max_store_queue;
        if is_full {
            core.counters.shed(crate::metrics::Shed::Store);
        }
        is_full
    }

    pub(super) fn entry(&self, way: &Way<'_>, envelope: &Envelope, once: Receipt) -> NewGroupEntry {
        let (tag, date) = (self.core.tag(), self.date());
        let call_id = format!("{tag}@chappe");
        entry::message(way, envelope, &Stamp { call_id: &call_id, tag: &tag, date: &date }, epoch_ms(), once)
    }

    /// A wish about subject or icon; the answer goes to the device that asked.
    pub(super) async fn group_data(&mut self, key: &Key, user: &Aor, envelope: &Envelope, taken: Taken) {
        let content = envelope.content().map(|content| content.into_owned());
        let Some(request) = content.and_then(|content| data::Request::read(&content).ok()) else {
            return taken.tell(self, Err(NotTaken::Malformed));
        };
        let mut results = Vec::with_capacity(request.changes.len());
        for (target, change) in request.changes {
            match self.change(user, change).await {
                Ok(()) => results.push((target, Ok(()))),
                Err(Failed::Refused(refused)) => results.push((target, Err(refused))),
                Err(Failed::Store) => return taken.tell(self, Err(NotTaken::Busy)),
            }
        }
        // A MESSAGE has its answer at once; in a session it is a message of its own.
        if let Taken::Sip(answering) = taken {
            let refused = results.iter().find_map(|(_, result)| result.err());
            let (status, headers) =
                refused.map_or((200, Vec::new()), |refused| Failed::from(refused).answer(&self.core));
            return answering.give(&self.core, status, &headers);
        }
        taken.tell(self, Ok(()));
        let text = data::response(&request.id, &results);
        let written = chappe_imdn::Envelope::new(&self.focus, &user.to_uri())
            .namespace("imdn", chappe_imdn::IMDN_NAMESPACE)
            .header("imdn.Message-ID", &self.core.tag())
            .header("DateTime", &chappe_imdn::date_time(epoch_ms()))
            .content(GROUP_DATA_TYPE, &[], text.as_bytes());
        self.send_now(key, written.into());
    }

    /// Shows the others that somebody types.
    pub(super) fn show(&self, key: &Key, envelope: &Envelope) {
        let Some(content) = envelope.content() else { return };
        let user = Aor::from_canonical(key.0.clone());
        let from = user.to_uri();
        // With its sender, as there are many (GSMA RCC.07 §3.4.4.1.5).
        let written: Bytes =
            chappe_imdn::Envelope::new(&from, &self.focus).content(chappe_imdn::COMPOSING_TYPE, &[], &content).into();
        for (other, seat) in &self.seats {
            if other.0 == key.0 || super::account::blocks(&self.core, &seat.user, &user) {
                continue;
            }
            if seat.is_open() {
                self.send_now(other, written.clone());
            } else {
                self.page_now(other, &from, written.clone());
            }
        }
    }

    /// Puts what has come in on disk, in one write, and then says so.
    pub(super) async fn flush(&mut self) {
        let held = std::mem::take(&mut self.held);
        if self.incoming.is_empty() {
            self.authors.keep();
            return held.into_iter().for_each(|taken| taken.tell(self, Ok(())));
        }
        let (entries, takers): (Vec<NewGroupEntry>, Vec<Taken>) =
            std::mem::take(&mut self.incoming).into_iter().unzip();
        let append = self.core.stores.groups.append(self.id.as_str(), self.token, entries.clone());
        match self.core.stored(append).await {
            Ok(seqs) => {
                self.authors.keep();
                for ((entry, taken), seq) in entries.iter().zip(takers).zip(seqs) {
                    if let Some(seq) = seq {
                        self.last = seq;
                        if let Some(logged) = Logged::written(seq, entry) {
                            let counted = u64::from(logged.is_message());
                            self.core.groups.counts.messages.fetch_add(counted, Ordering::Relaxed);
                            self.accepted(&logged);
                            self.remember(Arc::new(logged));
                        }
                    }
                    taken.tell(self, Ok(()));
                }
                held.into_iter().for_each(|taken| taken.tell(self, Ok(())));
            }
            Err(error) => {
                self.core.counters.store_failed();
                tracing::error!(%error, "messages of a group could not be stored");
                if !matches!(error, GroupError::Store(_)) {
                    self.is_not_ours();
                }
                self.authors.take_back();
                takers.into_iter().chain(held).for_each(|taken| taken.tell(self, Err(NotTaken::Busy)));
            }
        }
    }
}
