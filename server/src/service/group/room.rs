//! A group in use: one task that owns its state.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use chappe_chat::Capabilities;
use chappe_chat::group::authors::{Authors, Most};
use chappe_chat::group::ledger::Ledger;
use chappe_chat::group::roster::Roster;
use chappe_chat::group::{Announcement, Group, GroupId, Membership, News as Told};
use chappe_sip::Aor;
use chappe_sip::header::Date;
use chappe_sip::registrar::{Binding, targets};
use chappe_store::{Fate, GroupCursor, GroupError, NewGroupEntry, StoreError};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::entry::{self, Logged};
use super::intake::Taken;
use super::news::{Key, News};
use super::receipts;
use super::record;
use super::roster::Shared;
use super::seat::{Call, Seat, State};
use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::service::pager::is_alive;

/// News handled before what came with them is stored.
const BATCH: usize = 256;
/// Entries at the end of the log that are kept in memory for all devices.
const RECENT: usize = 256;
/// Entries of the log that a further device of a member is given, where it follows groups by MESSAGE.
const HISTORY: u64 = 100;
/// Messages that are remembered, to know whose receipts are and what of them is news.
const AUTHORS: Most = Most { messages: 4096, states: 65_536 };
/// Cursors follow behind by so much.
const SAVE: Duration = Duration::from_secs(1);
/// A group without anything to do stays in memory for so long.
const LINGER: Duration = Duration::from_secs(60);

pub(super) struct Room {
    pub core: Arc<Core>,
    pub id: GroupId,
    pub focus: String,
    pub group: Group,
    pub token: u64,
    /// Number of the last entry of the log.
    pub last: u64,
    pub seats: BTreeMap<Key, Seat>,
    /// Cursors of devices, from the store and since.
    pub cursors: BTreeMap<Key, u64>,
    /// The end of the log.
    pub recent: VecDeque<Arc<Logged>>,
    /// To be written next.
    pub incoming: Vec<(NewGroupEntry, Taken)>,
    /// Who is answered when that is written, though nothing is written for them.
    pub held: Vec<Taken>,
    /// Who wrote the last messages, and what it has heard of them.
    pub authors: Authors,
    /// Who owns the group, as it is in memory.
    pub owner: Option<Aor>,
    /// Who brought whom.
    pub inviters: HashMap<Box<str>, Aor, RandomState>,
    /// Cursors to be saved.
    pub moved: HashMap<Key, u64, RandomState>,
    pub save_at: Option<Instant>,
    pub used: Instant,
    pub roster: Shared,
    /// Users whose sessions have changed since the roster was told.
    pub stirred: HashSet<Box<str>, RandomState>,
    /// Revisions of the group that the roster has, and of the roster that subscribers were told of.
    pub told_group: u64,
    pub told_roster: u64,
    /// Many subscribers are not told before.
    pub roster_after: Instant,
    /// What waits for whom.
    pub ledger: Ledger,
    /// What waited at the beginning is in the ledger.
    pub is_counted: bool,
    /// What became of messages, to be written down.
    pub fates: Vec<Fate>,
    /// The log was removed up to here.
    pub trimmed: u64,
    /// What it knows is old, or it has ended.
    pub over: Option<u16>,
}

/// The highest of those who are in.
pub(super) fn owner_of(group: &Group) -> Option<Aor> {
    group.members.present().max_by_key(|member| member.role).map(|member| member.user.clone())
}

/// What is kept for the devices of one user.
pub(super) fn of_user<'a, T>(all: &'a BTreeMap<Key, T>, user: &'a str) -> impl Iterator<Item = (&'a Key, &'a T)> {
    let first: Key = (user.into(), Box::default());
    all.range(first..).take_while(move |((of, _), _)| **of == *user)
}

/// Holds a group until it has nothing to do.
pub(super) async fn run(
    core: Arc<Core>,
    id: GroupId,
    mut receiver: mpsc::UnboundedReceiver<News>,
    token: Arc<AtomicU64>,
) {
    let loaded = {
        let _permit = core.groups.loading.acquire().await;
        Room::load(&core, &id).await
    };
    let mut room = match loaded {
        Ok(room) => room,
        Err(status) => return refuse_all(&core, &id, receiver, status),
    };
    token.store(room.token, Ordering::Relaxed);
    room.begin();
    let mut news = Vec::with_capacity(BATCH);
    loop {
        let due = room.due();
        tokio::select! {
            biased;
            _ = receiver.recv_many(&mut news, BATCH) => {}
            () = tokio::time::sleep_until(due.into()) => {}
        }
        for one in news.drain(..) {
            room.handle(one).await;
        }
        room.flush().await;
        room.tick(Instant::now()).await;
        room.pump_all();
        // Receipts that were made for devices.
        room.flush().await;
        room.write_fates();
        room.tell_roster();
        if let Some(status) = room.over {
            room.disperse();
            room.close_accounts(status != 410);
            return refuse_all(&core, &id, receiver, status);
        }
        if room.is_idle() && receiver.is_empty() {
            room.save().await;
            if core.groups.retire(&id, &receiver) {
                room.leave_waiting();
                room.close_accounts(false);
                if let Err(error) = core.stores.groups.release(id.as_str(), room.token).await {
                    tracing::debug!(%error, "the lease of a group could not be given back");
                }
                return;
            }
        }
    }
}

/// Answers all that comes until nothing does.
fn refuse_all(core: &Arc<Core>, id: &GroupId, mut receiver: mpsc::UnboundedReceiver<News>, status: u16) {
    loop {
        while let Ok(news) = receiver.try_recv() {
            news.refuse(core, status);
        }
        if core.groups.retire(id, &receiver) {
            return;
        }
    }
}

impl Room {
    /// Claims and reads a group; the status says why not.
    pub(super) async fn load(core: &Arc<Core>, id: &GroupId) -> Result<Room, u16> {
        let groups = &core.stores.groups;
        let broken = |error: StoreError| {
            core.counters.store_failed();
            tracing::error!(%error, "a group could not be read");
            503
        };
        let token = match core.stored(groups.claim(id.as_str(), core.groups.lease(), epoch_ms())).await {
            Ok(Some(token)) => token,
            Ok(None) => return Err(503),
            Err(GroupError::Store(error)) => return Err(broken(error)),
            Err(_) => return Err(404),
        };
        let stored = groups.load(id.as_str()).await.map_err(broken)?.ok_or(404u16)?;
        let group = record::read(&stored, core.groups.settings.rights).map_err(broken)?;
        let last = stored.head.last;
        let after = last.saturating_sub(RECENT as u64);
        let recent = groups.read(id.as_str(), after, RECENT).await.map_err(broken)?;
        let cursors = groups.cursors(id.as_str()).await.map_err(broken)?;
        let cursors = cursors.into_iter().map(|cursor| ((cursor.user, cursor.device), cursor.upto)).collect();
        let mut room = Room {
            focus: super::focus(core, id),
            core: Arc::clone(core),
            id: id.clone(),
            over: group.closed_ms.map(|_| 410),
            owner: owner_of(&group),
            group,
            token,
            last,
            seats: BTreeMap::new(),
            cursors,
            recent: VecDeque::new(),
            incoming: Vec::new(),
            held: Vec::new(),
            authors: Authors::new(AUTHORS),
            inviters: HashMap::default(),
            moved: HashMap::default(),
            save_at: None,
            used: Instant::now(),
            roster: Arc::new(Mutex::new(Roster::new(&super::focus(core, id)))),
            stirred: HashSet::default(),
            told_group: 0,
            told_roster: 0,
            roster_after: Instant::now(),
            ledger: Ledger::default(),
            is_counted: false,
            fates: Vec::new(),
            trimmed: 0,
        };
        recent.iter().filter_map(entry::announced).for_each(|what| room.note_inviter(&what));
        recent.iter().filter_map(Logged::read).for_each(|logged| room.remember(Arc::new(logged)));
        Ok(room)
    }

    /// Finds the devices that are there.
    pub(super) fn begin(&mut self) {
        self.open_accounts();
        let members: Vec<(Aor, bool)> = self
            .group
            .members
            .present()
            .map(|member| (member.user.clone(), member.state == Membership::Invited))
            .collect();
        for (user, invited) in members {
            self.seat_devices(&user, invited);
        }
        self.pump_all();
    }

    /// Something at the end of the log.
    pub(super) fn remember(&mut self, logged: Arc<Logged>) {
        receipts::note(&mut self.authors, &logged);
        // One that cannot be read leaves a gap: what lies before it is read from the store.
        if self.recent.back().is_some_and(|last| last.seq + 1 != logged.seq) {
            self.recent.clear();
        }
        self.recent.push_back(logged);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    pub(super) fn note_inviter(&mut self, what: &Announcement) {
        if let (Some(by), Told::Added(users)) = (&what.by, &what.news) {
            self.inviters.extend(users.iter().map(|user| (user.as_str().into(), by.clone())));
        }
    }

    /// Who brought a member; of those who were there from the beginning, whoever owns the group.
    pub(super) fn inviter(&self, user: &Aor) -> Option<&Aor> {
        self.inviters.get(user.as_str()).or(self.owner.as_ref()).filter(|inviter| *inviter != user)
    }

    pub(super) async fn handle(&mut self, news: News) {
        self.used = Instant::now();
        match news {
            News::Called { user, device, side, call, invitation } => {
                self.called(user, device, &side, call, &invitation).await;
            }
            News::Request { user, device, request, answering } => self.request(user, device, request, answering).await,
            News::Side { key, call, what } => self.side(key, call, what).await,
            News::Paged { key, seq, status } => self.paged(&key, seq, status),
            News::Read { key, after, entries } => self.read(&key, after, entries),
            News::Registered { user } => {
                let user = Aor::from_canonical(user);
                if let Ok(member) = self.group.admit(&user) {
                    let invited = member.state == Membership::Invited;
                    self.seat_devices(&user, invited);
                    self.pump_user(&user);
                }
            }
            News::Subscribe { user, request } => self.subscribe(&user, *request),
            News::Counted { waiting } => self.counted(waiting),
            News::Expire { before_ms } => self.expire(before_ms),
            News::Old { upto, messages } => self.expired(upto, &messages),
            News::Erase { names, answer } => {
                let erased = self.erase(&names).await;
                let _ = answer.send(erased);
            }
            News::Fenced => self.over = Some(503),
        }
    }

    /// A seat for each device of a member that is there, and a word when another comes.
    pub(super) fn seat_devices(&mut self, user: &Aor, wanted: bool) {
        self.core.groups.waits(user, &self.id);
        if self.is_unwanted(user) {
            return;
        }
        for binding in self.bindings(user) {
            let key: Key = (user.as_str().into(), binding.device().into());
            let abilities = Capabilities::of(binding.params(), binding.user_agent());
            let core = Arc::clone(&self.core);
            let seat = self.seat(&key, user, abilities);
            seat.no_sessions &= seat.abilities == abilities;
            seat.abilities = abilities;
            seat.wanted |= wanted && seat.call.is_none();
            seat.is_well();
            // Nobody answers where it was called before.
            let is_old = |call: &mut Call| {
                call.state == State::Inviting && call.reached.is_some_and(|reached| reached != binding.flow)
            };
            if let Some(call) = seat.call.take_if(is_old) {
                seat.rewind();
                seat.wanted |= wanted;
                call.end(&core, None);
            }
        }
    }

    pub(super) fn seat(&mut self, key: &Key, user: &Aor, abilities: Capabilities) -> &mut Seat {
        self.stirred.insert(key.0.clone());
        let window = self.core.groups.settings.window;
        if !self.seats.contains_key(key) {
            let confirmed = self.cursor_of(key, &abilities);
            self.seats.insert(key.clone(), Seat::new(user.clone(), key.1.clone(), abilities, confirmed, window));
            self.core.groups.counts.seats.fetch_add(1, Ordering::Relaxed);
            self.moved(key, confirmed);
        }
        self.seats.get_mut(key).expect("it has just been put there")
    }

    /// Where a device goes on: where it was; one that is new, where the others of its user are.
    pub(super) fn cursor_of(&self, key: &Key, abilities: &Capabilities) -> u64 {
        let since =
            self.group.members.get(&Aor::from_canonical(key.0.clone())).map_or(self.last, |member| member.since);
        let known = self.cursors.get(key).copied();
        let of_user = of_user(&self.cursors, &key.0).map(|(_, upto)| *upto).max().unwrap_or(0);
        // One that hears news is told that it was brought; one that is new, what was said last.
        match (abilities.group_news, known) {
            (true, Some(known)) => known.max(since.saturating_sub(1)),
            (true, None) => of_user.min(self.last.saturating_sub(HISTORY)).max(since.saturating_sub(1)),
            (false, known) => known.unwrap_or(of_user).max(since),
        }
    }

    /// How devices of a user can be reached now.
    pub(super) fn bindings(&self, user: &Aor) -> Vec<Binding> {
        let core = &self.core;
        core.location.with(user.as_str(), |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
            found.iter().map(|target| target.binding.clone()).collect()
        })
    }

    pub(super) fn binding(&self, key: &Key) -> Option<Binding> {
        let bindings = self.bindings(&Aor::from_canonical(key.0.clone()));
        bindings.into_iter().find(|binding| *binding.device() == *key.1)
    }

    /// Nobody is in the room any more, as far as this node is concerned.
    pub(super) fn disperse(&mut self) {
        for seat in std::mem::take(&mut self.seats).into_values() {
            self.core.groups.counts.seats.fetch_sub(1, Ordering::Relaxed);
            if let Some(call) = seat.call {
                call.end(&self.core, None);
            }
        }
    }

    pub(super) fn moved(&mut self, key: &Key, upto: u64) {
        self.ledger.passed(&Aor::from_canonical(key.0.clone()), upto);
        self.cursors.insert(key.clone(), upto);
        self.moved.insert(key.clone(), upto);
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE);
    }

    /// Writes cursors down.
    pub(super) async fn save(&mut self) {
        self.save_at = None;
        let id = self.id.as_str();
        let moved = std::mem::take(&mut self.moved).into_iter();
        let cursors: Vec<GroupCursor> =
            moved.map(|((user, device), upto)| GroupCursor { group: id.into(), user, device, upto }).collect();
        if !cursors.is_empty()
            && let Err(error) = self.core.stores.groups.save_cursors(cursors).await
        {
            tracing::warn!(%error, "what devices of a group have could not be stored");
        }
        self.trim();
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Instant {
        let settings = &self.core.groups.settings;
        let seats = self.seats.values().filter_map(|seat| seat.due(settings.ring, settings.idle));
        let roster = {
            let roster = self.roster.lock();
            let behind = (self.told_roster != roster.revision()).then_some(self.roster_after);
            roster.poll_timeout().into_iter().chain(behind).min()
        };
        let now = Instant::now();
        // One that is in use is looked at again.
        let linger = if self.used.elapsed() < LINGER { self.used + LINGER } else { now + LINGER };
        let due = seats.chain(self.save_at).chain(roster).min().map_or(linger, |due| due.min(linger));
        due.max(now + Duration::from_millis(1))
    }

    /// Does what is due.
    pub(super) async fn tick(&mut self, now: Instant) {
        if self.save_at.is_some_and(|at| at <= now) {
            self.save().await;
        }
        self.roster.lock().handle_timeout(now);
        let (ring, idle) = (self.core.groups.settings.ring, self.core.groups.settings.idle);
        let due: Vec<Key> = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.due(ring, idle).is_some_and(|at| at <= now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let Some(seat) = self.seats.get_mut(&key) else { continue };
            match seat.call.as_ref().map(|call| call.state) {
                // Rings for too long: with its next registration.
                Some(State::Inviting) => {
                    seat.away = true;
                    self.lost(&key, now);
                }
                Some(State::Connecting) => {
                    seat.failed(now);
                    self.lost(&key, now);
                }
                Some(State::Open | State::Parting) => self.lost(&key, now),
                None => {
                    seat.rest = None;
                    self.pump(&key);
                }
            }
        }
    }

    /// Nothing to do but to wait for devices.
    pub(super) fn is_idle(&self) -> bool {
        self.used.elapsed() >= LINGER
            && self.incoming.is_empty()
            && !self.is_watched()
            && self
                .seats
                .values()
                .all(|seat| seat.call.is_none() && seat.paging.is_none() && !seat.reading && seat.rest.is_none())
    }

    /// Only registrations of users for whom something waits are of interest from now on.
    pub(super) fn leave_waiting(&mut self) {
        let mut waiting = self.core.groups.waiting.lock();
        for member in self.group.members.present() {
            let user = member.user.as_str();
            let mut seated = of_user(&self.seats, user).peekable();
            let has_all = seated.peek().is_some() && seated.all(|(_, seat)| seat.cursor.confirmed() >= self.last);
            if has_all && let Some(groups) = waiting.get_mut(user) {
                groups.remove(&self.id);
                if groups.is_empty() {
                    waiting.remove(user);
                }
            }
        }
        self.core.groups.counts.seats.fetch_sub(self.seats.len(), Ordering::Relaxed);
    }

    /// The store says so.
    pub(super) fn is_not_ours(&mut self) {
        self.over = Some(503);
    }

    pub(super) fn date(&self) -> String {
        Date::from_unix(epoch_seconds()).to_string()
    }
}
