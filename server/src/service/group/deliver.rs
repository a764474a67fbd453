//! Messages out of the log to each device: as many as it may have under way, from behind its cursor.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use chappe_chat::envelope::Addresses;
use chappe_chat::group::reader::{self, Device};
use chappe_chat::pager::Outcome as Paged;
use chappe_imdn::CPIM_TYPE;
use chappe_msrp::FailureReport;
use chappe_sip::Aor;
use chappe_store::Outcome;

use super::entry::Logged;
use super::factory;
use super::news::{Key, News};
use super::page::{self, Page};
use super::receipts;
use super::room::{Room, of_user};
use super::seat::{Seat, State};
use crate::msrp::endpoint::{NewMessage, Sent};

/// Entries read for one device at a time.
const READ: usize = 64;

/// What is to be sent to a device next.
enum Next {
    Entry(Arc<Logged>),
    /// The store is being asked.
    Wait,
    Nothing,
}

impl Room {
    /// Sends something that is of use now or never.
    pub(super) fn send_now(&self, key: &Key, body: Bytes) {
        let call = self.seats.get(key).and_then(|seat| seat.call.as_ref()).filter(|call| call.state == State::Open);
        if let Some(end) = call.and_then(|call| call.end.as_ref()) {
            let _ = end.send(self.new_message(0, CPIM_TYPE.into(), body, FailureReport::No, false));
        }
    }

    pub(super) fn new_message(
        &self,
        key: u64,
        content_type: Box<str>,
        body: Bytes,
        failure_report: FailureReport,
        success_report: bool,
    ) -> NewMessage {
        NewMessage {
            key,
            message_id: self.core.tag().into(),
            content_type,
            headers: Vec::new(),
            body,
            success_report,
            failure_report,
        }
    }

    pub(super) fn pump_all(&mut self) {
        let keys: Vec<Key> =
            self.seats.iter().filter(|(_, seat)| self.may_go_on(seat)).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.pump(key));
    }

    pub(super) fn pump_user(&mut self, user: &Aor) {
        let keys: Vec<Key> = of_user(&self.seats, user.as_str()).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.pump(key));
    }

    pub(super) fn may_go_on(&self, seat: &Seat) -> bool {
        !seat.away && !seat.reading && (seat.wanted || seat.cursor.after() < self.last)
    }

    /// Sends a device what it may have now.
    pub(super) fn pump(&mut self, key: &Key) {
        loop {
            let Some(seat) = self.seats.get(key) else { return };
            let by_message = seat.is_paged();
            match &seat.call {
                Some(call) if call.state == State::Open => {
                    if seat.cursor.room() == 0 {
                        return;
                    }
                }
                Some(_) => return,
                None if seat.away || seat.rest.is_some() || seat.paging.is_some() => return,
                None if by_message => {}
                None => {
                    let wanted = seat.wanted;
                    return match self.next(key) {
                        Next::Entry(_) => self.invite(key),
                        Next::Wait | Next::Nothing if wanted => self.invite(key),
                        Next::Wait | Next::Nothing => {}
                    };
                }
            }
            let Next::Entry(logged) = self.next(key) else { return };
            let Some(seat) = self.seats.get_mut(key) else { return };
            if !seat.cursor.take(logged.seq, true) {
                continue;
            }
            seat.sent.insert(logged.seq, Arc::clone(&logged));
            if seat.call.is_some() { self.send(key, &logged) } else { self.page(key, &logged) }
        }
    }

    /// The next entry that is due to a device, not taken yet.
    fn next(&mut self, key: &Key) -> Next {
        loop {
            let Some(seat) = self.seats.get_mut(key) else { return Next::Nothing };
            let Some(member) = self.group.members.get(&seat.user) else { return Next::Nothing };
            let after = seat.cursor.after();
            if after >= self.last {
                return Next::Nothing;
            }
            while seat.pages.front().is_some_and(|logged| logged.seq <= after) {
                seat.pages.pop_front();
            }
            let oldest = self.recent.front().map_or(u64::MAX, |logged| logged.seq);
            let found = if after + 1 >= oldest {
                self.recent.get((after + 1 - oldest) as usize).cloned()
            } else {
                seat.pages.front().cloned()
            };
            let Some(logged) = found else {
                self.ask(key, after);
                return Next::Wait;
            };
            let device = Device { name: &seat.device, announcements: seat.wants_news() };
            let user = member.user.clone();
            if reader::is_due(&logged.head(), member, device) {
                if !self.withholds(&user, &logged) {
                    return Next::Entry(logged);
                }
                self.settled(&user, &logged, Outcome::Refused, 403);
            }
            let Some(seat) = self.seats.get_mut(key) else { return Next::Nothing };
            let before = seat.cursor.confirmed();
            seat.cursor.take(logged.seq, false);
            let confirmed = seat.cursor.confirmed();
            if confirmed > before {
                self.moved(key, confirmed);
            }
        }
    }

    /// Reads on in the log, for a device that is behind.
    pub(super) fn ask(&mut self, key: &Key, after: u64) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        if std::mem::replace(&mut seat.reading, true) {
            return;
        }
        let (core, id, key) = (Arc::clone(&self.core), self.id.clone(), key.clone());
        core.runtime.clone().spawn(async move {
            let read = core.stored(core.stores.groups.read(id.as_str(), after, READ)).await;
            let entries = match read {
                Ok(entries) => Some(entries.iter().filter_map(Logged::read).map(Arc::new).collect()),
                Err(error) => {
                    core.counters.store_failed();
                    tracing::error!(%error, "the log of a group could not be read");
                    None
                }
            };
            core.groups.tell(&core, &id, News::Read { key, after, entries });
        });
    }

    pub(super) fn read(&mut self, key: &Key, after: u64, entries: Option<Vec<Arc<Logged>>>) {
        entries.iter().flatten().for_each(|logged| receipts::note(&mut self.authors, logged));
        let oldest = self.recent.front().map_or(self.last + 1, |logged| logged.seq);
        let Some(seat) = self.seats.get_mut(key) else { return };
        seat.reading = false;
        match entries {
            None => seat.failed(Instant::now()),
            // What lay here has gone with time.
            Some(entries) if entries.is_empty() && seat.cursor.after() == after => {
                seat.cursor.take(oldest.saturating_sub(1).max(after), false);
            }
            Some(entries) => seat.pages = entries.into(),
        }
        self.pump(key);
    }

    /// Sends an entry in the session.
    pub(super) fn send(&mut self, key: &Key, logged: &Arc<Logged>) {
        let Some(call) = self.seats.get(key).and_then(|seat| seat.call.as_ref()) else { return };
        let (Some(envelope), Some(end)) = (&logged.envelope, &call.end) else { return };
        let body = envelope.for_session(Addresses::Real);
        let new = self.new_message(logged.seq, body.content_type, body.bytes, FailureReport::Yes, call.relayed);
        if let Err(error) = end.send(new) {
            tracing::debug!(%error, "a session of a group takes no more");
            self.lost(key, Instant::now());
        }
    }

    /// Sends an entry by MESSAGE.
    pub(super) fn page(&mut self, key: &Key, logged: &Arc<Logged>) {
        let Some(binding) = self.binding(key) else {
            if let Some(seat) = self.seats.get_mut(key) {
                seat.rewind();
            }
            return self.is_away(key);
        };
        let told = logged.told(&self.id, &self.focus).and_then(|(by, told)| {
            let parts: [&[u8]; 2] = [self.id.as_str().as_bytes(), &logged.seq.to_be_bytes()];
            self.envelope_of(&by, &parts, CPIM_TYPE, told).ok()
        });
        let Some(envelope) = logged.envelope.as_ref().or(told.as_ref()) else {
            return self.confirmed(key, logged.seq, None);
        };
        let name = logged.from().map_or_else(String::new, |from| {
            let of_member = self.group.members.get(from).and_then(|member| member.display_name.clone());
            let of_account = || factory::name_of(&self.core, from);
            of_member.or_else(of_account).map_or_else(|| from.user().to_owned(), |name| name.into())
        });
        let Some(seat) = self.seats.get_mut(key) else { return };
        let to = seat.user.to_uri();
        match Page::new(&self.core, envelope, &self.focus, &to, &name, seat.abilities.receipts) {
            Some(page) => {
                seat.paging = Some(logged.seq);
                page::send(&self.core, &self.id, key.clone(), logged.seq, binding, page);
            }
            // Nothing that such a device could show.
            None => self.confirmed(key, logged.seq, Some(415)),
        }
    }

    /// Sends something that is of use now or never, by MESSAGE.
    pub(super) fn page_now(&self, key: &Key, from: &str, body: Bytes) {
        let Some(seat) = self.seats.get(key).filter(|seat| seat.wants_news() && !seat.away && seat.call.is_none())
        else {
            return;
        };
        let (Some(binding), Ok(envelope)) = (self.binding(key), self.envelope_of(from, &[], CPIM_TYPE, body)) else {
            return;
        };
        if let Some(page) = Page::new(&self.core, &envelope, &self.focus, &seat.user.to_uri(), "", true) {
            page::send(&self.core, &self.id, key.clone(), page::NOW, binding, page);
        }
    }

    pub(super) fn paged(&mut self, key: &Key, seq: u64, status: u16) {
        let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.paging == Some(seq)) else { return };
        seat.paging = None;
        match Paged::of(status) {
            Paged::Took => self.confirmed(key, seq, None),
            Paged::Refused => self.confirmed(key, seq, Some(status)),
            Paged::Away => {
                seat.rewind();
                self.is_away(key);
            }
        }
        self.pump(key);
    }

    /// News of what was sent in a session.
    pub(super) fn sent(&mut self, key: &Key, seq: u64, sent: Sent) {
        let now = Instant::now();
        let Some(call) = self.seats.get_mut(key).and_then(|seat| seat.call.as_mut()) else { return };
        match sent {
            Sent::Written => return,
            Sent::Confirmed if call.relayed => return,
            Sent::Confirmed | Sent::Reported => {
                call.since = now;
                self.confirmed(key, seq, None);
            }
            Sent::Refused(408 | 481 | 506) | Sent::Lost => return self.lost(key, now),
            // Not for this device, and nothing changes that.
            Sent::Refused(status) => self.confirmed(key, seq, Some(status)),
        }
        self.pump(key);
    }

    /// A device has an entry, or will never have it, for which `refused` is the reason.
    pub(super) fn confirmed(&mut self, key: &Key, seq: u64, refused: Option<u16>) {
        let took = refused.is_none();
        let Some(seat) = self.seats.get_mut(key) else { return };
        let user = seat.user.clone();
        if let Some(logged) = seat.sent.get(&seq).cloned() {
            let outcome = if took { Outcome::Delivered } else { Outcome::Refused };
            self.settled(&user, &logged, outcome, refused.unwrap_or(0));
        }
        let Some(seat) = self.seats.get_mut(key) else { return };
        let logged = seat.sent.remove(&seq);
        let makes_none = !seat.abilities.receipts;
        if took {
            seat.is_well();
            self.core.groups.counts.delivered.fetch_add(1, Ordering::Relaxed);
        }
        if seat.cursor.confirm(seq) {
            let upto = seat.cursor.confirmed();
            self.moved(key, upto);
        }
        if took
            && makes_none
            && let Some(logged) = logged
        {
            self.receipt_for(key, &logged);
        }
    }
}
