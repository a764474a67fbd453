//! Push (RFC 8599): devices that sleep are woken when something waits for them.
//!
//! What waits is known elsewhere: messages are in the queue and call by [`Waiting`](crate::waiting::Waiting), also for those
//! found there after a restart; calls are parked in their shard, and named here. A device that registers ends its wake-up
//! and gets the calls that wait for it. Which push goes when is decided in [`chappe_push::Wakes`].

mod calls;
mod log;
mod registration;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chappe_push::{Class, Due, Key, Note, Outcome, Provider, Target, Wakes};
use chappe_sip::Uri;
use chappe_sip::registrar::{Binding, sleeping, targets};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::core::{Core, epoch_seconds};
use crate::service::pager::is_alive;

pub use calls::Parked;
use log::Log;
pub use log::{DeviceLog, Entry};
pub use registration::{PNS_REG, is_supported};

/// Pushes under way at once, and looked at in one go.
const AT_ONCE: usize = 256;
/// Tokens that are remembered as dead.
const DEAD: usize = 100_000;
/// Failures of a service one after the other from which on it is left alone for a while.
const BREAKER: u32 = 20;
const BREAK: Duration = Duration::from_secs(30);
/// How often registrations are looked through for those that run out.
const SWEEP: Duration = Duration::from_secs(30);
/// A registration is refreshed by a push so long before its end (RFC 8599 §5.5 wants 120 s).
const REFRESH: u64 = 180;

/// What the operator decided.
pub struct PushSettings {
    /// How long a call waits for devices to wake.
    pub wait: Duration,
    /// By `pn-provider`.
    pub providers: HashMap<String, Arc<dyn Provider>>,
}

/// Wakes devices.
pub struct Push {
    pub(crate) settings: PushSettings,
    state: Mutex<State>,
    /// Wake-ups and parked calls: nobody looks further where there are none.
    busy: AtomicUsize,
    changed: Notify,
    hints: mpsc::UnboundedSender<Box<str>>,
    pub sent: AtomicU64,
    pub accepted: AtomicU64,
    pub failed: AtomicU64,
    pub retired: AtomicU64,
    pub woken: AtomicU64,
}

/// AORs for which something waits.
pub struct Inbox(mpsc::UnboundedReceiver<Box<str>>);

#[derive(Default)]
struct State {
    wakes: Wakes,
    targets: HashMap<Key, Target>,
    /// Calls by the AOR that they are for.
    parked: HashMap<Box<str>, Vec<Parked>>,
    log: Log,
    dead: HashSet<Target>,
    breakers: HashMap<String, Breaker>,
}

#[derive(Default)]
struct Breaker {
    failures: u32,
    until: Option<Instant>,
}

/// A device that can be woken.
pub struct Sleeper {
    pub device: Box<str>,
    pub target: Target,
}

impl Push {
    pub fn new(settings: PushSettings) -> (Push, Inbox) {
        let (hints, inbox) = mpsc::unbounded_channel();
        let push = Push {
            settings,
            state: Mutex::default(),
            busy: AtomicUsize::new(0),
            changed: Notify::new(),
            hints,
            sent: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retired: AtomicU64::new(0),
            woken: AtomicU64::new(0),
        };
        (push, Inbox(inbox))
    }

    pub fn is_on(&self) -> bool {
        !self.settings.providers.is_empty()
    }

    /// Something waits for a user: devices that sleep are to be woken. Costs nothing where no service is configured.
    pub fn hint(&self, aor: &str) {
        if self.is_on() {
            // Nobody listens only when the node is ending.
            let _ = self.hints.send(aor.into());
        }
    }

    /// Wake-ups under way, and calls that wait.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.wakes.len(), state.parked.values().map(Vec::len).sum())
    }

    /// The services that are configured, and whether one is left alone for a while.
    pub fn services(&self) -> Vec<(String, bool)> {
        let state = self.state.lock();
        let mut found: Vec<_> =
            self.settings.providers.keys().map(|name| (name.clone(), state.is_open(name))).collect();
        found.sort();
        found
    }

    /// Whether a device is being woken.
    pub fn is_waking(&self, aor: &str, device: &str) -> bool {
        self.state.lock().wakes.has(&(aor.into(), device.into()))
    }

    /// Forgets what was decided about the devices of a user who is gone.
    pub fn forget(&self, aor: &str) {
        self.state.lock().log.forget(aor);
    }

    fn is_dead(&self, target: &Target) -> bool {
        self.state.lock().dead.contains(target)
    }

    /// Wants devices of a user awake.
    pub(crate) fn want(&self, aor: &str, sleepers: &[Sleeper], class: Class) {
        let now = Instant::now();
        let mut state = self.state.lock();
        for sleeper in sleepers {
            let key: Key = (aor.into(), sleeper.device.clone());
            state.targets.insert(key.clone(), sleeper.target.clone());
            let what = match state.wakes.want(&key, class, now) {
                true => "wanted awake",
                false => "is being woken already",
            };
            state.log.add(&key, &sleeper.target.provider, class, what.into());
        }
        self.note_busy(&state);
        drop(state);
        self.changed.notify_one();
    }

    fn note_busy(&self, state: &State) {
        self.busy.store(state.wakes.len() + state.parked.len(), Ordering::Release);
    }
}

/// What a binding registered with, where one of our services can use it.
pub fn target_of(push: &Push, binding: &Binding) -> Option<Target> {
    let uri = Uri::parse(binding.contact().as_bytes()).ok()?;
    let param = |name| uri.param(name);
    let target = Target::new(param("pn-provider"), param("pn-param"), param("pn-prid")).ok()??;
    push.settings.providers.contains_key(&target.provider).then_some(target)
}

/// The devices of a user that no request reaches now, and a push may.
pub fn sleepers(core: &Core, aor: &str, admits: impl Fn(&Binding) -> bool) -> Vec<Sleeper> {
    if !core.push.is_on() {
        return Vec::new();
    }
    let now = epoch_seconds();
    let found: Vec<Sleeper> = core.location.with(aor, |bindings| {
        let asleep = sleeping(bindings, now, |flow| is_alive(core, flow), admits);
        let one = |binding: &&Binding| {
            target_of(&core.push, binding).map(|target| Sleeper { device: binding.device().into(), target })
        };
        asleep.iter().filter_map(one).collect()
    });
    found.into_iter().filter(|sleeper| !core.push.is_dead(&sleeper.target)).collect()
}

/// A user has registered: what is awake now need not be woken, and gets the calls that wait for it. Never to be called
/// with a shard locked.
pub fn registered(core: &Arc<Core>, aor: &str) {
    let push = &core.push;
    if push.busy.load(Ordering::Acquire) == 0 {
        return;
    }
    let now = epoch_seconds();
    let awake: Vec<Box<str>> = core.location.with(aor, |bindings| {
        targets(bindings, now, |flow| is_alive(core, flow), |_| true)
            .iter()
            .map(|t| t.binding.device().into())
            .collect()
    });
    let parked = {
        let mut state = push.state.lock();
        for device in &awake {
            let key: Key = (aor.into(), device.clone());
            if state.wakes.over(&key) {
                push.woken.fetch_add(1, Ordering::Relaxed);
                let target = state.targets.remove(&key);
                let provider = target.map_or_else(String::new, |target| target.provider);
                state.log.add(&key, &provider, Class::Message, "it registered".into());
            }
        }
        let parked = state.parked.get(aor).cloned().unwrap_or_default();
        push.note_busy(&state);
        parked
    };
    for call in parked {
        calls::woken(core, aor, &call, &awake);
    }
}

/// The same from where a shard may be locked.
pub fn registered_later(core: &Arc<Core>, aor: &str) {
    if core.push.busy.load(Ordering::Acquire) > 0 {
        let (core, aor) = (Arc::clone(core), Box::<str>::from(aor));
        core.runtime.clone().spawn(async move { registered(&core, &aor) });
    }
}

/// Sends what is due until the node ends.
pub async fn run(core: Arc<Core>, mut inbox: Inbox) {
    let push = &core.push;
    if !push.is_on() {
        return;
    }
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut sweeps = tokio::time::interval(SWEEP);
    loop {
        let now = Instant::now();
        let (due, next) = {
            let mut state = push.state.lock();
            let due = state.wakes.poll(now, slots.available_permits());
            push.note_busy(&state);
            (due, state.wakes.next_deadline())
        };
        let full = slots.available_permits() == 0 || due.len() == slots.available_permits();
        for due in due {
            let (core, slots) = (Arc::clone(&core), Arc::clone(&slots));
            let Ok(permit) = slots.try_acquire_owned() else { break };
            core.runtime.clone().spawn(async move {
                send(&core, due).await;
                drop(permit);
                core.push.changed.notify_one();
            });
        }
        let wait = next.filter(|_| !full).map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(now));
        tokio::select! {
            hint = inbox.0.recv() => match hint {
                Some(aor) => wake_for_messages(&core, &aor),
                None => return,
            },
            () = push.changed.notified() => {}
            () = tokio::time::sleep(wait) => {}
            _ = sweeps.tick() => sweep(&core),
        }
    }
}

fn wake_for_messages(core: &Arc<Core>, aor: &str) {
    let asleep = sleepers(core, aor, |_| true);
    if !asleep.is_empty() && core.waiting.count(aor) > 0 {
        core.push.want(aor, &asleep, Class::Message);
    }
}

/// Something has come for a user that is not in his queue, such as a message to a group: his devices that sleep are woken for it.
pub fn wake(core: &Core, aor: &str) {
    let asleep = sleepers(core, aor, |_| true);
    if !asleep.is_empty() {
        core.push.want(aor, &asleep, Class::Message);
    }
}

/// Registrations of sleeping devices that run out are refreshed by waking them; parked calls that are long over are
/// forgotten.
fn sweep(core: &Arc<Core>) {
    let now = epoch_seconds();
    let mut after: Option<Box<str>> = None;
    loop {
        let page = core.location.page(after.as_deref(), 1000);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (aor, bindings) in &page {
            let soon = |b: &Binding| b.expires() > now && b.expires() <= now + REFRESH;
            if bindings.iter().any(|b| soon(b) && b.contact().contains("pn-prid")) {
                let asleep = sleepers(core, aor, soon);
                if !asleep.is_empty() {
                    core.push.want(aor, &asleep, Class::Refresh);
                }
            }
        }
        if page.len() < 1000 {
            break;
        }
    }
    let mut state = core.push.state.lock();
    let now = Instant::now();
    state.parked.retain(|_, calls| {
        calls.retain(|call| call.until > now);
        !calls.is_empty()
    });
    let State { wakes, targets, .. } = &mut *state;
    targets.retain(|key, _| wakes.has(key));
    core.push.note_busy(&state);
}

async fn send(core: &Arc<Core>, due: Due) {
    let push = &core.push;
    let target = push.state.lock().targets.get(&due.key).cloned();
    let Some(target) = target else { return };
    let outcome = match push.settings.providers.get(&target.provider) {
        Some(_) if push.state.lock().is_open(&target.provider) => {
            Outcome::Retry { after: Some(BREAK), why: "the service has failed too often, and is left alone".to_owned() }
        }
        Some(provider) => {
            push.sent.fetch_add(1, Ordering::Relaxed);
            let collapse = due.class.as_str().to_owned();
            let note = Note { class: due.class, ttl: due.class.ttl(), collapse, now: epoch_seconds() };
            provider.send(&target, &note).await
        }
        None => Outcome::Refused("no such service is configured".to_owned()),
    };
    finish(core, &due, &target, &outcome);
}

impl State {
    /// Whether a service is left alone.
    fn is_open(&self, provider: &str) -> bool {
        self.breakers.get(provider).and_then(|breaker| breaker.until).is_some_and(|until| until > Instant::now())
    }

    fn judge(&mut self, provider: &str, outcome: &Outcome) {
        let breaker = self.breakers.entry(provider.to_owned()).or_default();
        match outcome {
            Outcome::Retry { .. } | Outcome::Misconfigured(_) => {
                breaker.failures += 1;
                if breaker.failures >= BREAKER {
                    (breaker.failures, breaker.until) = (0, Some(Instant::now() + BREAK));
                    tracing::error!(provider, "a push service fails again and again, and is left alone for a while");
                }
            }
            _ => (breaker.failures, breaker.until) = (0, None),
        }
    }
}

fn finish(core: &Arc<Core>, due: &Due, target: &Target, outcome: &Outcome) {
    let push = &core.push;
    let given_up = {
        let mut state = push.state.lock();
        state.judge(&target.provider, outcome);
        let what = format!("{} {}", outcome.as_str(), outcome.why()).trim_end().to_owned();
        state.log.add(&due.key, &target.provider, due.class, what);
        if let Outcome::Gone(_) = outcome {
            if state.dead.len() >= DEAD {
                state.dead.clear();
            }
            state.dead.insert(target.clone());
        }
        let given_up = state.wakes.answered(&due.key, due.number, outcome, Instant::now());
        push.note_busy(&state);
        given_up
    };
    match outcome {
        Outcome::Accepted => push.accepted.fetch_add(1, Ordering::Relaxed),
        _ => push.failed.fetch_add(1, Ordering::Relaxed),
    };
    if let Outcome::Misconfigured(why) = outcome {
        tracing::error!(provider = target.provider, why, "a push service refuses what we say of ourselves");
    }
    let (aor, device) = &due.key;
    if let Outcome::Gone(_) = outcome {
        retire(core, aor, device, target);
    }
    if given_up {
        let parked = push.state.lock().parked.get(aor).cloned().unwrap_or_default();
        for call in parked {
            calls::lost(core, aor, &call, device);
        }
    }
}

/// The token of a device is dead, and nothing else leads to it: it is not registered any more.
fn retire(core: &Arc<Core>, aor: &str, device: &str, target: &Target) {
    let now = epoch_seconds();
    let changed = core.location.update(aor, |bindings| {
        let before = bindings.clone();
        bindings.retain(|binding| {
            let is_it = binding.device() == device && target_of(&core.push, binding).as_ref() == Some(target);
            !(is_it && binding.dormant)
        });
        core.persist.seen(core.away.changed(aor, &before, bindings, now));
        (before.len() != bindings.len()).then(|| (before, bindings.clone()))
    });
    if let Some((before, after)) = changed {
        core.push.retired.fetch_add(1, Ordering::Relaxed);
        core.persist.later(aor);
        crate::service::notify::registration_changed(core, aor, &before, &after);
    }
}

/// Pushes to every device of a user that can be pushed to, awake or not, and says what came of it.
pub async fn test(core: &Arc<Core>, aor: &str) -> Vec<(Box<str>, String, Outcome)> {
    let found: Vec<(Box<str>, Target)> = core.location.with(aor, |bindings| {
        let one = |binding: &Binding| target_of(&core.push, binding).map(|target| (binding.device().into(), target));
        bindings.iter().filter_map(one).collect()
    });
    let mut done = Vec::new();
    for (device, target) in found {
        let Some(provider) = core.push.settings.providers.get(&target.provider) else { continue };
        let class = Class::Message;
        let note = Note { class, ttl: class.ttl(), collapse: "test".to_owned(), now: epoch_seconds() };
        let outcome = provider.send(&target, &note).await;
        let what = format!("test: {} {}", outcome.as_str(), outcome.why()).trim_end().to_owned();
        core.push.state.lock().log.add(&(aor.into(), device.clone()), &target.provider, class, what);
        done.push((device, target.provider, outcome));
    }
    done
}

/// What was decided about the devices of a user, lately.
pub fn log_of(core: &Core, aor: &str) -> Vec<DeviceLog> {
    core.push.state.lock().log.of(aor)
}
