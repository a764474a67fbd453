//! What is known of presentities: publications, the document made of them, and who watches.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use bytes::Bytes;
use chappe_presence::compose::{Silent, compose};
use chappe_presence::filter::{Shown, absent};
use chappe_presence::ns::Ns;
use chappe_presence::publish::{Policy, Publications, Published, Reject};
use chappe_presence::rules::Handling;
use chappe_presence::winfo::{self, Status};
use chappe_presence::xml::{self, Limits};
use chappe_sip::{Flow, Message};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::winfo as winfo_view;
use super::{Books, WINFO, silent, uri_of};
use crate::core::Core;
use crate::service::notify;

const SHARDS: usize = 64;
/// Ways to show one document that are kept.
const VARIANTS: usize = 16;
/// Watchers who came for a decision and went, kept for each presentity, and for how long in seconds.
const WAITING: usize = 64;
const WAITING_FOR: u64 = 7 * 86_400;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct PresenceSettings {
    /// For a watcher that no rule is for.
    pub default: Handling,
    pub policy: Policy,
    /// Whether the end of a flow withdraws what was published over it.
    pub withdraw: bool,
    /// Subscriptions to one presentity.
    pub max_watchers: usize,
    /// Subscriptions of whatever package.
    pub max_subscriptions: usize,
    /// Publications of all presentities.
    pub max_publications: usize,
    /// Entries of one list.
    pub max_entries: usize,
}

/// The state of the presence agent.
pub struct PresenceAgent {
    pub settings: PresenceSettings,
    shards: Box<[Mutex<Presentities>]>,
    connections: Mutex<Connections>,
    /// When to look at a presentity again.
    alarms: Mutex<BTreeSet<(u64, Box<str>)>>,
    /// What users have written about one another.
    pub books: Books,
    hasher: RandomState,
    publications: AtomicUsize,
    pub published: AtomicU64,
    pub refused: AtomicU64,
    pub withdrawn: AtomicU64,
}

/// Who has published over each connection.
type Connections = HashMap<u64, SmallVec<[Box<str>; 1]>, RandomState>;

type Presentities = HashMap<Box<str>, Presentity, RandomState>;

#[derive(Default)]
struct Presentity {
    publications: Publications,
    document: Option<Arc<Composed>>,
    /// Counts what makes a document out of date.
    age: u64,
    watchers: Vec<winfo::Watcher>,
    /// The earliest alarm that is set.
    alarm: Option<u64>,
}

/// A document as it is sent.
#[derive(Debug, Clone)]
pub struct Written {
    pub bytes: Bytes,
    pub etag: Box<str>,
}

/// The document of a presentity, and what of it is shown to whom.
pub struct Composed {
    whole: Written,
    variants: Mutex<Vec<(Shown, Written)>>,
}

/// What an operator and the metrics see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PresenceCounts {
    pub presentities: usize,
    pub publications: usize,
    pub watchers: usize,
    pub pending: usize,
}

/// What the passing of time did to a presentity.
pub struct Due {
    pub aor: Box<str>,
    /// A publication has run out.
    pub published: bool,
    /// A period of a rule has begun or ended.
    pub rules: bool,
}

impl PresenceAgent {
    pub fn new(settings: PresenceSettings) -> PresenceAgent {
        let hasher = RandomState::new();
        PresenceAgent {
            settings,
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect(),
            connections: Mutex::new(HashMap::with_hasher(hasher.clone())),
            alarms: Mutex::default(),
            books: Books::default(),
            hasher,
            publications: AtomicUsize::new(0),
            published: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            withdrawn: AtomicU64::new(0),
        }
    }

    fn shard(&self, aor: &str) -> &Mutex<Presentities> {
        &self.shards[self.hasher.hash_one(aor) as usize % SHARDS]
    }

    /// An id for a device in documents, which says nothing about it.
    pub fn name_of_device(&self, device: &str) -> Box<str> {
        format!("r{:x}", self.hasher.hash_one(device) as u32).into()
    }

    /// Whether something of a user is here: publications or watchers.
    pub fn knows(&self, aor: &str) -> bool {
        self.shard(aor).lock().contains_key(aor)
    }

    /// Takes a PUBLISH of a presentity or of one who speaks for it.
    pub fn publish(
        &self,
        aor: &str,
        request: &Message,
        etag: Box<str>,
        flow: Flow,
        now: u64,
    ) -> Result<Published, Reject> {
        let mut shard = self.shard(aor).lock();
        let presentity = shard.entry(aor.into()).or_default();
        let before = presentity.publications.len();
        let mut policy = self.settings.policy.clone();
        if self.publications.load(Ordering::Relaxed) >= self.settings.max_publications {
            // No room: the user's own older ones give way.
            policy.max_publications = before.clamp(1, policy.max_publications);
        }
        let result = presentity.publications.publish(request, &policy, etag, flow, now);
        self.count(before, presentity.publications.len());
        if let Ok(published) = &result {
            self.published.fetch_add(1, Ordering::Relaxed);
            if published.changed {
                presentity.out_of_date();
            }
            self.set_alarm(aor, presentity, presentity.publications.next_expiry());
            if presentity.publications.speaks(&flow) {
                self.remember_connection(aor, &flow);
            }
        }
        forget_if_idle(&mut shard, aor);
        result
    }

    fn count(&self, before: usize, after: usize) {
        match after >= before {
            true => self.publications.fetch_add(after - before, Ordering::Relaxed),
            false => self.publications.fetch_sub(before - after, Ordering::Relaxed),
        };
    }

    fn set_alarm(&self, aor: &str, presentity: &mut Presentity, at: Option<u64>) {
        if let Some(at) = at
            && presentity.alarm.is_none_or(|alarm| at < alarm)
        {
            presentity.alarm = Some(at);
            self.alarms.lock().insert((at, aor.into()));
        }
    }

    /// The presentities that published over a connection; it is not known any more afterwards.
    pub fn published_over(&self, connection: u64) -> SmallVec<[Box<str>; 1]> {
        self.connections.lock().remove(&connection).unwrap_or_default()
    }

    /// Takes back what was published over a flow; whether there was something.
    pub fn withdraw(&self, aor: &str, flow: &Flow) -> bool {
        let mut shard = self.shard(aor).lock();
        let Some(presentity) = shard.get_mut(aor) else { return false };
        let before = presentity.publications.len();
        let news = presentity.publications.withdraw(flow);
        let after = presentity.publications.len();
        self.count(before, after);
        self.withdrawn.fetch_add((before - after) as u64, Ordering::Relaxed);
        if news {
            presentity.out_of_date();
        }
        forget_if_idle(&mut shard, aor);
        news
    }

    /// A device has moved from one flow to another, with what it has published.
    pub fn rehome(&self, aor: &str, old: &Flow, new: Flow) {
        let mut shard = self.shard(aor).lock();
        let moved = shard.get_mut(aor).is_some_and(|presentity| presentity.publications.rehome(old, new));
        drop(shard);
        if moved {
            self.remember_connection(aor, &new);
        }
    }

    fn remember_connection(&self, aor: &str, flow: &Flow) {
        if flow.is_connection() {
            let mut connections = self.connections.lock();
            let aors = connections.entry(flow.connection).or_default();
            if !aors.iter().any(|known| **known == *aor) {
                aors.push(aor.into());
            }
        }
    }

    /// What the document says of devices is not true any more.
    pub fn forget_document(&self, aor: &str) {
        if let Some(presentity) = self.shard(aor).lock().get_mut(aor) {
            presentity.out_of_date();
        }
    }

    /// The document of a presentity as it is now.
    pub fn document(&self, core: &Core, aor: &str, now: u64) -> Arc<Composed> {
        let age = match self.shard(aor).lock().get(aor) {
            Some(Presentity { document: Some(document), .. }) => return Arc::clone(document),
            Some(presentity) => presentity.age,
            None => 0,
        };
        // What is registered is looked up with no lock held; the age tells whether it is old by then.
        let devices = silent(core, aor, now);
        let mut shard = self.shard(aor).lock();
        let nothing = Publications::default();
        let known = shard.get_mut(aor);
        let publications = known.as_ref().map_or(&nothing, |p| &p.publications);
        let mute = devices.into_iter().filter(|(flow, _)| !publications.speaks(flow)).map(|(_, silent)| silent);
        let mut mute: Vec<Silent> = mute.collect();
        let uri = uri_of(aor);
        let text = match (publications.is_empty(), mute.is_empty()) {
            (true, true) => absent(&uri, &uri),
            _ => {
                mute.dedup_by(|a, b| a.id == b.id);
                compose(&uri, &uri, &publications.sources(), &mute)
            }
        };
        let document = Arc::new(Composed { whole: self.written(text), variants: Mutex::default() });
        if let Some(presentity) = known.filter(|p| p.age == age) {
            presentity.document = Some(Arc::clone(&document));
        }
        document
    }

    /// The same as text.
    pub fn text(&self, core: &Core, aor: &str, now: u64) -> String {
        String::from_utf8_lossy(&self.document(core, aor, now).whole.bytes).into_owned()
    }

    /// The document of a presentity who is not there, or does not want to be.
    pub fn absent(&self, aor: &str) -> Written {
        let uri = uri_of(aor);
        self.written(absent(&uri, &uri))
    }

    fn written(&self, text: String) -> Written {
        Written { etag: format!("{:016x}", self.hasher.hash_one(&text)).into(), bytes: Bytes::from(text) }
    }

    /// What of a document is shown.
    pub fn shown(&self, document: &Composed, shown: Option<&Shown>) -> Written {
        let Some(shown) = shown else { return document.whole.clone() };
        if let Some((_, written)) = document.variants.lock().iter().find(|(known, _)| known == shown) {
            return written.clone();
        }
        let text = std::str::from_utf8(&document.whole.bytes).unwrap_or_default();
        // What we wrote can be read; if it could not, nothing is shown.
        let written = self.written(shown.apply(text).unwrap_or_default());
        let mut variants = document.variants.lock();
        if variants.len() < VARIANTS {
            variants.push((shown.clone(), written.clone()));
        }
        written
    }

    /// The sphere that a presentity says it is in.
    pub fn sphere(&self, aor: &str) -> Option<String> {
        let shard = self.shard(aor).lock();
        let presentity = shard.get(aor)?;
        let sources = presentity.publications.sources();
        let newest = sources.iter().filter(|s| s.document.person.is_some()).max_by_key(|s| s.updated)?;
        let pieces = &newest.document.person.as_ref()?.pieces;
        let (_, sphere) = pieces.iter().find(|(name, _)| name.ends_with("pidf:rpid sphere"))?;
        // <rpid:sphere><rpid:work/></rpid:sphere>, or text.
        let declared =
            sphere.xml.replacen("<rpid:sphere", &format!("<rpid:sphere xmlns:rpid=\"{}\"", Ns::RPID.uri()), 1);
        let element = xml::parse(declared.as_bytes(), &Limits::default()).ok()?;
        let inside = element.elements().next().map(|e| e.name.to_string());
        inside.or_else(|| Some(element.text().into_owned())).filter(|sphere| !sphere.is_empty())
    }

    /// A watcher came, or its state changed; who watches the watchers is told.
    pub fn watch(&self, core: &Arc<Core>, aor: &str, watcher: winfo::Watcher) {
        let mut shard = self.shard(aor).lock();
        let presentity = shard.entry(aor.into()).or_default();
        let news = match presentity.watchers.iter_mut().find(|known| known.id == watcher.id) {
            Some(known) => {
                let news = (known.status, known.event) != (watcher.status, watcher.event);
                *known = winfo::Watcher { since: known.since, ..watcher.clone() };
                news
            }
            None => {
                // Who came back does not wait any more.
                presentity.watchers.retain(|w| w.status != Status::Waiting || w.uri != watcher.uri);
                presentity.watchers.push(watcher.clone());
                true
            }
        };
        if let Some(at) = self.books.of(aor).and_then(|book| book.next_change(watcher.since)) {
            self.set_alarm(aor, presentity, Some(at));
        }
        drop(shard);
        if news {
            tell(core, aor, watcher);
        }
    }

    /// A watcher has gone; one that nobody had decided about is remembered for a while.
    pub fn unwatch(&self, core: &Arc<Core>, aor: &str, id: u64, event: winfo::Event, now: u64) {
        let mut shard = self.shard(aor).lock();
        let Some(presentity) = shard.get_mut(aor) else { return };
        let Some(at) = presentity.watchers.iter().position(|w| w.id == id) else { return };
        let mut watcher = presentity.watchers.swap_remove(at);
        watcher.event = event;
        let room = presentity.watchers.iter().filter(|w| w.status == Status::Waiting).count() < WAITING;
        watcher.status = match watcher.status {
            Status::Pending if event == winfo::Event::Timeout && room => Status::Waiting,
            _ => Status::Terminated,
        };
        if watcher.status == Status::Waiting {
            watcher.expires = now + WAITING_FOR;
            presentity.watchers.push(watcher.clone());
        }
        forget_if_idle(&mut shard, aor);
        drop(shard);
        tell(core, aor, watcher);
    }

    /// Who watches a presentity.
    pub fn watchers(&self, aor: &str, now: u64) -> Vec<winfo::Watcher> {
        let mut shard = self.shard(aor).lock();
        let Some(presentity) = shard.get_mut(aor) else { return Vec::new() };
        presentity.watchers.retain(|w| w.status != Status::Waiting || w.expires > now);
        presentity.watchers.clone()
    }

    /// Who waited for a decision has got it.
    pub fn rules_changed(&self, core: &Arc<Core>, aor: &str, now: u64) {
        let waiting: Vec<winfo::Watcher> =
            self.watchers(aor, now).into_iter().filter(|w| w.status == Status::Waiting).collect();
        for mut watcher in waiting {
            let who = super::Identity::named(core, &chappe_presence::rules::canonical(&watcher.uri));
            let handling = super::permit::permission(core, aor, &who, now).handling;
            if handling == Handling::Confirm {
                continue;
            }
            let approved = handling > Handling::Confirm;
            watcher.event = if approved { winfo::Event::Approved } else { winfo::Event::Rejected };
            watcher.status = Status::Terminated;
            let mut shard = self.shard(aor).lock();
            if let Some(presentity) = shard.get_mut(aor) {
                presentity.watchers.retain(|w| w.id != watcher.id);
            }
            forget_if_idle(&mut shard, aor);
            drop(shard);
            tell(core, aor, watcher);
        }
        let next = self.books.of(aor).and_then(|book| book.next_change(now));
        if let (Some(presentity), Some(at)) = (self.shard(aor).lock().get_mut(aor), next) {
            self.set_alarm(aor, presentity, Some(at));
        }
    }

    /// The presentities whose time has come.
    pub fn due(&self, now: u64) -> Vec<Due> {
        let mut due = Vec::new();
        loop {
            let aor = {
                let mut alarms = self.alarms.lock();
                match alarms.first() {
                    Some((at, _)) if *at <= now => alarms.pop_first().map(|(_, aor)| aor),
                    _ => None,
                }
            };
            let Some(aor) = aor else { return due };
            let book = self.books.of(&aor);
            let mut shard = self.shard(&aor).lock();
            let Some(presentity) = shard.get_mut(&aor) else { continue };
            presentity.alarm = None;
            let before = presentity.publications.len();
            let published = presentity.publications.expire(now);
            self.count(before, presentity.publications.len());
            if published {
                presentity.out_of_date();
            }
            let periods = book.is_some_and(|book| book.next_change(now.saturating_sub(1)).is_some());
            let next = presentity.publications.next_expiry();
            self.set_alarm(&aor, presentity, next);
            forget_if_idle(&mut shard, &aor);
            drop(shard);
            due.push(Due { aor, published, rules: periods });
        }
    }

    pub fn counts(&self) -> PresenceCounts {
        let mut counts = PresenceCounts::default();
        for shard in &self.shards {
            let shard = shard.lock();
            counts.presentities += shard.len();
            for presentity in shard.values() {
                counts.publications += presentity.publications.len();
                for watcher in &presentity.watchers {
                    match watcher.status {
                        Status::Active => counts.watchers += 1,
                        Status::Pending => counts.pending += 1,
                        Status::Waiting | Status::Terminated => {}
                    }
                }
            }
        }
        counts
    }

    /// Looks at the publications of a presentity.
    pub fn with_publications<R>(&self, aor: &str, look: impl FnOnce(&Publications) -> R) -> R {
        let shard = self.shard(aor).lock();
        match shard.get(aor) {
            Some(presentity) => look(&presentity.publications),
            None => look(&Publications::default()),
        }
    }
}

impl Presentity {
    fn out_of_date(&mut self) {
        self.document = None;
        self.age += 1;
    }
}

/// A presentity without publications and watchers is no more than a registration.
fn forget_if_idle(shard: &mut Presentities, aor: &str) {
    if shard.get(aor).is_some_and(|p| p.publications.is_empty() && p.watchers.is_empty()) {
        shard.remove(aor);
    }
}

/// Tells who watches the watchers, from a task, as a shard may be locked now.
fn tell(core: &Arc<Core>, aor: &str, watcher: winfo::Watcher) {
    if core.watched.of(WINFO, aor).is_empty() {
        return;
    }
    let (core, aor): (_, Box<str>) = (Arc::clone(core), aor.into());
    core.runtime.clone().spawn(async move {
        notify::changed(&core, WINFO, &aor, |view: &mut winfo_view::View, _| view.push(&watcher));
    });
}
