//! Everything in memory and gone with the process: for tests, and the model that the other back ends are held against.

mod documents;
mod files;
mod groups;
mod sign_ins;
mod traces;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use chappe_sip::registrar::Binding;
use parking_lot::Mutex;

use crate::account::{Account, AccountError, AccountStore, Imported, Secrets};
use crate::backlog::Backlog;
use crate::conversation::{self, Conversation, ConversationId, Conversations, Cursor, Entry, Page};
use crate::device::{self, Device, Devices, Seen};
use crate::fate::{Counts, Fate, FateLog};
use crate::file::StoredFile;
use crate::ids::Ids;
use crate::location::{Located, LocationStore, Revision};
use crate::queue::{Depth, DeviceCopy, MessageQueue, NewMessage, QueuedMessage, Wanted, Write, Written};
use crate::reached::{News, Reached, ReceiptStates, ReceiptStatus, Way};
use crate::receipt::{Receipt, Receipts};
use crate::sign_in::SignIn;
use crate::{StoreError, codec};

/// All traits over maps.
#[derive(Debug)]
pub(crate) struct Memory {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ids: Ids,
    accounts: BTreeMap<Box<str>, Account>,
    tels: HashMap<Box<str>, Box<str>>,
    locations: BTreeMap<Box<str>, (Revision, Vec<Binding>)>,
    backlog: Backlog,
    messages: BTreeMap<u64, QueuedMessage>,
    fates: Vec<Fate>,
    counts: Counts,
    receipts: HashMap<Receipt, u64>,
    devices: BTreeMap<Box<str>, Vec<Device>>,
    conversations: HashMap<ConversationId, History>,
    ways: HashMap<Way, ReceiptStatus>,
    rooms: BTreeMap<Box<str>, groups::Room>,
    files: BTreeMap<Box<str>, StoredFile>,
    shelf: documents::Shelf,
    sign_ins: BTreeMap<(Box<str>, Box<str>), SignIn>,
}

#[derive(Debug, Default)]
struct History {
    entries: BTreeMap<u64, Entry>,
    /// With the id up to which each has erased it.
    members: BTreeMap<Box<str>, u64>,
}

impl Memory {
    pub(crate) fn new() -> Memory {
        Memory {
            state: Mutex::new(State {
                ids: Ids::after(0, 0),
                accounts: BTreeMap::new(),
                tels: HashMap::new(),
                locations: BTreeMap::new(),
                backlog: Backlog::default(),
                messages: BTreeMap::new(),
                fates: Vec::new(),
                counts: Counts::default(),
                receipts: HashMap::new(),
                devices: BTreeMap::new(),
                conversations: HashMap::new(),
                ways: HashMap::new(),
                rooms: BTreeMap::new(),
                files: BTreeMap::new(),
                shelf: Default::default(),
                sign_ins: BTreeMap::new(),
            }),
        }
    }
}

impl State {
    fn add(&mut self, account: Account) -> Result<(), AccountError> {
        if self.accounts.contains_key(&account.aor) {
            return Err(AccountError::Exists);
        }
        self.claim(&account)?;
        self.accounts.insert(account.aor.clone(), account);
        Ok(())
    }

    /// Takes the numbers of an account, or none of them.
    fn claim(&mut self, account: &Account) -> Result<(), AccountError> {
        for tel in &account.tel {
            if self.tels.get(tel).is_some_and(|owner| *owner != account.aor) {
                return Err(AccountError::TelTaken { tel: tel.clone() });
            }
        }
        self.tels.extend(account.tel.iter().map(|tel| (tel.clone(), account.aor.clone())));
        Ok(())
    }

    fn locate(&mut self, aor: &str, mut next: Vec<Binding>) -> Revision {
        if next.is_empty() {
            self.locations.remove(aor);
            return Revision::NONE;
        }
        next.iter_mut().for_each(|binding| binding.flow = None);
        let revision = Revision(self.ids.next());
        self.locations.insert(aor.into(), (revision, next));
        revision
    }

    /// Puts a message into its place in the queue.
    fn keep(&mut self, id: u64, message: &NewMessage) -> Result<(), StoreError> {
        let size = message.size() as u64;
        self.backlog.push(&message.recipient, message.device.as_deref(), id, size, message.expires_at);
        self.fates.push(message.stored());
        self.counts.accepted += 1;
        self.messages.insert(id, codec::take_message(id, Bytes::from(codec::put_message(message)))?);
        Ok(())
    }

    fn first(&mut self, receipt: Receipt, now: u64) -> bool {
        let mut first = false;
        self.receipts.entry(receipt).or_insert_with(|| {
            first = true;
            now
        });
        first
    }
}

#[async_trait::async_trait]
impl AccountStore for Memory {
    async fn add(&self, account: Account) -> Result<(), AccountError> {
        self.state.lock().add(account)
    }

    async fn import(&self, accounts: Vec<Account>) -> Result<Imported, StoreError> {
        let mut state = self.state.lock();
        let mut imported = Imported::default();
        for (at, account) in accounts.into_iter().enumerate() {
            let aor = account.aor.clone();
            match state.add(account) {
                Ok(()) => imported.added += 1,
                Err(_) => imported.refused.push((at, aor)),
            }
        }
        Ok(imported)
    }

    async fn update(&self, account: Account) -> Result<(), AccountError> {
        let mut state = self.state.lock();
        let created = state.accounts.get(&account.aor).ok_or(AccountError::NotFound)?.created;
        state.claim(&account)?;
        state.tels.retain(|tel, owner| *owner != account.aor || account.tel.contains(tel));
        state.accounts.insert(account.aor.clone(), Account { created, ..account });
        Ok(())
    }

    async fn set_secrets(&self, aor: &str, secrets: Secrets) -> Result<(), AccountError> {
        self.state.lock().accounts.get_mut(aor).ok_or(AccountError::NotFound)?.secrets = secrets;
        Ok(())
    }

    async fn remove(&self, aor: &str) -> Result<(), AccountError> {
        let mut state = self.state.lock();
        let gone = state.accounts.remove(aor).ok_or(AccountError::NotFound)?;
        gone.tel.iter().for_each(|tel| drop(state.tels.remove(tel)));
        Ok(())
    }

    async fn account(&self, aor: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.state.lock().accounts.get(aor).cloned())
    }

    async fn aor_of(&self, tel: &str) -> Result<Option<Box<str>>, StoreError> {
        Ok(self.state.lock().tels.get(tel).cloned())
    }

    async fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<Account>, StoreError> {
        Ok(self.state.lock().accounts.range(past(after)).take(limit).map(|(_, account)| account.clone()).collect())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.state.lock().accounts.len() as u64)
    }
}

#[async_trait::async_trait]
impl LocationStore for Memory {
    async fn bindings(&self, aor: &str) -> Result<(Revision, Vec<Binding>), StoreError> {
        Ok(self.state.lock().locations.get(aor).cloned().unwrap_or((Revision::NONE, Vec::new())))
    }

    async fn replace(&self, aor: &str, seen: Revision, next: &[Binding]) -> Result<Revision, StoreError> {
        let mut state = self.state.lock();
        let stored = state.locations.get(aor).map_or(Revision::NONE, |(revision, _)| *revision);
        if stored != seen { Err(StoreError::Conflict) } else { Ok(state.locate(aor, next.to_vec())) }
    }

    async fn save(&self, batch: Vec<(Box<str>, Vec<Binding>)>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for (aor, bindings) in batch {
            state.locate(&aor, bindings);
        }
        Ok(())
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Located>, StoreError> {
        let state = self.state.lock();
        let page = state.locations.range(past(after)).take(limit);
        Ok(page
            .map(|(aor, (revision, bindings))| Located {
                aor: aor.clone(),
                revision: *revision,
                bindings: bindings.clone(),
            })
            .collect())
    }

    async fn remove_expired(&self, now: u64) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let lapsed = |(_, bindings): &(Revision, Vec<Binding>)| bindings.iter().any(|binding| binding.expires() <= now);
        let touched: Vec<_> = state
            .locations
            .iter()
            .filter(|(_, v)| lapsed(v))
            .map(|(aor, (_, all))| (aor.clone(), all.clone()))
            .collect();
        let mut removed = 0;
        for (aor, mut bindings) in touched {
            let before = bindings.len();
            bindings.retain(|binding| binding.expires() > now);
            removed += (before - bindings.len()) as u64;
            state.locate(&aor, bindings);
        }
        Ok(removed)
    }
}

#[async_trait::async_trait]
impl MessageQueue for Memory {
    async fn write(&self, write: Write) -> Result<Written, StoreError> {
        let state = &mut *self.state.lock();
        let mut written = Written::default();
        for message in write.append {
            if let Some(receipt) = message.once.clone()
                && !state.first(receipt, message.accepted_ms / 1000)
            {
                written.ids.push(None);
                continue;
            }
            let id = state.ids.next();
            state.keep(id, &message)?;
            written.ids.push(Some(id));
        }
        // How many copies of it there are so far.
        let mut taken: HashMap<u64, usize> = HashMap::new();
        for settlement in write.settle {
            let there = state.backlog.remove(&settlement.recipient, settlement.id);
            written.settled.push(there);
            if there {
                state.messages.remove(&settlement.id);
                settlement.outcome.count(&mut state.counts, 1);
                state.fates.push(settlement.fate());
                taken.insert(settlement.id, 0);
            }
        }
        for DeviceCopy { of, message } in write.copies {
            let Some(nth) = taken.get_mut(&of) else {
                written.copies.push(None);
                continue;
            };
            let id = Ids::of_copy(of, *nth);
            *nth += 1;
            state.keep(id, &message)?;
            written.copies.push(Some(id));
        }
        state.fates.extend(write.fates);
        for entry in write.entries {
            if let Some(receipt) = entry.once
                && !state.first(receipt, entry.at_ms / 1000)
            {
                written.entries.push(None);
                continue;
            }
            let id = state.ids.next();
            let history = state.conversations.entry(entry.conversation).or_default();
            for member in entry.members {
                history.members.entry(member).or_default();
            }
            let (conversation, author, message_id) = (entry.conversation, entry.author, entry.message_id);
            let stored = Entry { id, conversation, author, message_id, at_ms: entry.at_ms, content: entry.content };
            history.entries.insert(id, stored);
            written.entries.push(Some(id));
        }
        let take = |report: Reached| state.ways.entry(report.way).or_default().take(report.step, report.at_ms);
        written.news = write.reached.into_iter().map(take).collect();
        Ok(written)
    }

    async fn pending(&self, wanted: &[Wanted], limit: usize) -> Result<Vec<Vec<QueuedMessage>>, StoreError> {
        let state = self.state.lock();
        let one = |wanted: &Wanted| {
            let ids = state.backlog.select(&wanted.recipient, wanted.device.as_deref(), wanted.after, limit);
            ids.iter().filter_map(|id| state.messages.get(id).cloned()).collect()
        };
        Ok(wanted.iter().map(one).collect())
    }

    async fn expired(&self, now: u64, limit: usize) -> Result<Vec<QueuedMessage>, StoreError> {
        let state = &mut *self.state.lock();
        Ok(state.backlog.due(now, limit).iter().filter_map(|id| state.messages.get(id).cloned()).collect())
    }

    async fn depth(&self, recipient: &str) -> Result<Depth, StoreError> {
        Ok(self.state.lock().backlog.depth(recipient))
    }

    async fn depths(&self, after: Option<&str>, limit: usize) -> Result<Vec<(Box<str>, Depth)>, StoreError> {
        Ok(self.state.lock().backlog.depths(after, limit))
    }
}

#[async_trait::async_trait]
impl FateLog for Memory {
    async fn record(&self, fates: Vec<Fate>) -> Result<(), StoreError> {
        self.state.lock().fates.extend(fates);
        Ok(())
    }

    async fn lookup(&self, id: &str) -> Result<Vec<Fate>, StoreError> {
        Ok(self.state.lock().fates.iter().filter(|fate| fate.concerns(id)).cloned().collect())
    }

    async fn purge(&self, before_ms: u64) -> Result<(), StoreError> {
        self.state.lock().fates.retain(|fate| fate.at_ms >= before_ms);
        Ok(())
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let state = self.state.lock();
        Ok(Counts { stored: state.messages.len() as u64, ..state.counts })
    }
}

#[async_trait::async_trait]
impl Receipts for Memory {
    async fn first(&self, receipts: Vec<Receipt>, now: u64) -> Result<Vec<bool>, StoreError> {
        let mut state = self.state.lock();
        Ok(receipts.into_iter().map(|receipt| state.first(receipt, now)).collect())
    }

    async fn known(&self, receipts: Vec<Receipt>) -> Result<Vec<bool>, StoreError> {
        let state = self.state.lock();
        Ok(receipts.iter().map(|receipt| state.receipts.contains_key(receipt)).collect())
    }

    async fn forget(&self, before: u64) -> Result<(), StoreError> {
        self.state.lock().receipts.retain(|_, seen| *seen >= before);
        Ok(())
    }
}

#[async_trait::async_trait]
impl Devices for Memory {
    async fn seen(&self, batch: Vec<Seen>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for Seen { aor, device, at, params, user_agent } in batch {
            let devices = state.devices.entry(aor).or_default();
            match devices.iter_mut().find(|known| known.device == device) {
                Some(known) if known.last_seen <= at => {
                    *known = Device { device, first_seen: known.first_seen.min(at), last_seen: at, params, user_agent };
                }
                Some(known) => known.first_seen = known.first_seen.min(at),
                None => devices.push(Device { device, first_seen: at, last_seen: at, params, user_agent }),
            }
            devices.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then(a.device.cmp(&b.device)));
            devices.truncate(device::KEPT);
        }
        Ok(())
    }

    async fn of(&self, aor: &str) -> Result<Vec<Device>, StoreError> {
        Ok(self.state.lock().devices.get(aor).cloned().unwrap_or_default())
    }

    async fn all(&self, after: Option<(&str, &str)>, limit: usize) -> Result<Vec<(Box<str>, Device)>, StoreError> {
        let state = self.state.lock();
        let from = after.map_or("", |(aor, _)| aor);
        let mut found = Vec::new();
        for (aor, devices) in state.devices.range::<str, _>((Bound::Included(from), Bound::Unbounded)) {
            let mut devices: Vec<&Device> = devices.iter().collect();
            devices.retain(|known| after.is_none_or(|after| (&**aor, &*known.device) > after));
            devices.sort_by(|a, b| a.device.cmp(&b.device));
            found.extend(devices.into_iter().take(limit - found.len()).map(|known| (aor.clone(), known.clone())));
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    async fn remove(&self, aor: &str, device: Option<&str>) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let Some(devices) = state.devices.get_mut(aor) else { return Ok(0) };
        let before = devices.len();
        devices.retain(|known| device.is_some_and(|device| *known.device != *device));
        let gone = before - devices.len();
        if devices.is_empty() {
            state.devices.remove(aor);
        }
        Ok(gone as u64)
    }

    async fn forget(&self, before: u64) -> Result<u64, StoreError> {
        let mut gone = 0;
        self.state.lock().devices.retain(|_, devices| {
            let had = devices.len();
            devices.retain(|known| known.last_seen >= before);
            gone += (had - devices.len()) as u64;
            !devices.is_empty()
        });
        Ok(gone)
    }
}

impl History {
    /// Hides what is there from a user, and drops what nobody sees.
    fn erase(&mut self, user: &str, upto: u64) -> bool {
        let Some(cleared) = self.members.get_mut(user) else { return false };
        *cleared = upto;
        let unseen = self.members.values().min().copied().unwrap_or(0);
        self.entries.retain(|id, _| *id > unseen);
        true
    }
}

#[async_trait::async_trait]
impl Conversations for Memory {
    async fn page(
        &self,
        user: &str,
        conversation: ConversationId,
        from: Cursor,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let state = self.state.lock();
        let limit = limit.min(conversation::MOST);
        let Some(history) = state.conversations.get(&conversation) else { return Ok(Page::default()) };
        let Some(cleared) = history.members.get(user) else { return Ok(Page::default()) };
        let (above, below) = from.bounds(*cleared);
        let there = history.entries.values().filter(|entry| entry.id > above && entry.id < below);
        let (entries, count) = (there.clone().cloned(), there.count());
        let entries: Vec<Entry> = match from.is_forward() {
            true => entries.take(limit).collect(),
            false => entries.rev().take(limit).collect(),
        };
        Ok(Page { more: count > entries.len(), entries })
    }

    async fn list(&self, user: &str, before: Option<u64>, limit: usize) -> Result<Vec<Conversation>, StoreError> {
        let state = self.state.lock();
        let one = |(id, history): (&ConversationId, &History)| {
            let cleared = history.members.get(user)?;
            let (_, last) = history.entries.last_key_value()?;
            let members = history.members.keys().cloned().collect();
            (last.id > *cleared).then(|| Conversation { id: *id, members, last: last.clone() })
        };
        let mut all: Vec<_> = state.conversations.iter().filter_map(one).collect();
        all.retain(|conversation| before.is_none_or(|before| conversation.last.id < before));
        all.sort_by_key(|conversation| std::cmp::Reverse(conversation.last.id));
        all.truncate(limit.min(conversation::MOST));
        Ok(all)
    }

    async fn erase(&self, user: &str, conversation: ConversationId) -> Result<bool, StoreError> {
        let state = &mut *self.state.lock();
        let upto = state.ids.next();
        Ok(state.conversations.get_mut(&conversation).is_some_and(|history| history.erase(user, upto)))
    }

    async fn erase_user(&self, user: &str) -> Result<u64, StoreError> {
        let state = &mut *self.state.lock();
        let upto = state.ids.next();
        Ok(state.conversations.values_mut().filter_map(|history| history.erase(user, upto).then_some(())).count()
            as u64)
    }

    async fn sweep(&self, before_ms: u64, limit: usize) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let below = Ids::floor(before_ms);
        let oldest: BTreeSet<u64> = state
            .conversations
            .values()
            .flat_map(|history| history.entries.keys().copied())
            .filter(|id| *id < below)
            .collect();
        let gone: BTreeSet<u64> = oldest.into_iter().take(limit.min(conversation::MOST)).collect();
        state.conversations.retain(|_, history| {
            let had = history.entries.len();
            history.entries.retain(|id, _| !gone.contains(id));
            had == history.entries.len() || !history.entries.is_empty()
        });
        Ok(gone.len() as u64)
    }
}

#[async_trait::async_trait]
impl ReceiptStates for Memory {
    async fn apply(&self, reports: Vec<Reached>) -> Result<Vec<News>, StoreError> {
        Ok(self.write(Write { reached: reports, ..Write::default() }).await?.news)
    }

    async fn status(&self, ways: &[Way]) -> Result<Vec<ReceiptStatus>, StoreError> {
        let state = self.state.lock();
        Ok(ways.iter().map(|way| state.ways.get(way).copied().unwrap_or_default()).collect())
    }

    async fn forget_status(&self, before_ms: u64) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let before = state.ways.len();
        state.ways.retain(|_, status| status.newest() >= before_ms);
        Ok((before - state.ways.len()) as u64)
    }
}

fn past(after: Option<&str>) -> impl std::ops::RangeBounds<str> {
    use std::ops::Bound;
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}
