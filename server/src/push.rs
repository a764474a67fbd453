//! Push (RFC 8599): devices that sleep are woken when something waits for them.
//!
//! What waits is known elsewhere: messages are in the queue and call by [`Waiting`](crate::waiting::Waiting), also for those
//! found there after a restart; calls are parked in their shard, and named here. A device that registers ends its wake-up
//! and gets the calls that wait for it. Who waits for whom, and which push goes when, is decided in [`chappe_push::Desk`].

mod calls;
mod circuit;
mod dead;
mod log;
mod registration;
mod sending;
mod services;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chappe_push::{Class, Desk, Key, Provider, Target};
use chappe_sip::Uri;
use chappe_sip::registrar::{Binding, PurrKey, sleeping, targets};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::core::{Core, epoch_seconds};
use crate::service::pager::is_alive;

pub use calls::Parked;
pub(crate) use calls::class_of;
use circuit::Circuits;
pub use dead::Dead;
use log::Log;
pub use log::{DeviceLog, Entry};
pub use registration::{PNS_REG, is_supported, least_expires};
use sending::send;
pub use sending::test;
pub use services::services;

/// Pushes under way at once, and looked at in one go.
const AT_ONCE: usize = 256;
/// See [`fell_asleep`].
const MOMENT: Duration = Duration::from_secs(2);
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
    dead: Dead,
    /// References to registrations, by which dialogs find them.
    pub(crate) purrs: PurrKey,
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
    desk: Desk<Parked>,
    /// Whom to push to, and since when the device names it.
    targets: HashMap<Key, (Target, u64)>,
    log: Log,
    circuits: Circuits,
}

/// A device that can be woken.
pub struct Sleeper {
    pub device: Box<str>,
    pub target: Target,
    /// When it was first bound, in seconds since the epoch.
    pub since: u64,
}

impl Push {
    pub fn new(settings: PushSettings, dead: Dead, purrs: PurrKey) -> (Push, Inbox) {
        let (hints, inbox) = mpsc::unbounded_channel();
        let push = Push {
            settings,
            state: Mutex::default(),
            dead,
            purrs,
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
        (state.desk.waking(), state.desk.parked())
    }

    /// The services that are configured, and whether one is left alone for a while.
    pub fn services(&self) -> Vec<(String, bool)> {
        let (state, now) = (self.state.lock(), Instant::now());
        let mut found: Vec<_> =
            self.settings.providers.keys().map(|name| (name.clone(), state.circuits.any_open(name, now))).collect();
        found.sort();
        found
    }

    /// Whether a device is being woken.
    pub fn is_waking(&self, aor: &str, device: &str) -> bool {
        self.state.lock().desk.is_waking(&(aor.into(), device.into()))
    }

    /// Forgets what was decided about the devices of a user who is gone.
    pub fn forget(&self, aor: &str) {
        self.state.lock().log.forget(aor);
    }

    /// Wants devices of a user awake.
    pub(crate) fn want(&self, aor: &str, sleepers: &[Sleeper], class: Class) {
        let now = Instant::now();
        let mut state = self.state.lock();
        for sleeper in sleepers {
            let key: Key = (aor.into(), sleeper.device.clone());
            state.targets.insert(key.clone(), (sleeper.target.clone(), sleeper.since));
            let what = match state.desk.want(&key, class, now) {
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
        self.busy.store(state.desk.waking() + state.desk.parked(), Ordering::Release);
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
    core.location.with(aor, |bindings| sleepers_among(core, bindings, admits))
}

/// The same of bindings that are being looked at: what is awake at that look is not asleep, and the other way round.
pub fn sleepers_among(core: &Core, bindings: &[Binding], admits: impl Fn(&Binding) -> bool) -> Vec<Sleeper> {
    let asleep = sleeping(bindings, epoch_seconds(), |flow| is_alive(core, flow), admits);
    let one = |binding: &&Binding| {
        let target = target_of(&core.push, binding).filter(|target| !core.push.dead.contains(target))?;
        Some(Sleeper { device: binding.device().into(), target, since: binding.registered() })
    };
    asleep.iter().filter_map(one).collect()
}

/// After devices were wanted awake: those that have registered between the look at the bindings and now are told, for their
/// REGISTER may have found nobody who waited. To be called with what wants them in place; a shard may be locked.
pub fn look_again(core: &Arc<Core>, aor: &str, devices: impl Fn(&str) -> bool) {
    let is_here = core.location.with(aor, |bindings| {
        targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true)
            .iter()
            .any(|target| devices(target.binding.device()))
    });
    if is_here {
        registered_later(core, aor);
    }
}

fn want_and_look(core: &Arc<Core>, aor: &str, class: Class, asleep: &[Sleeper]) {
    if !asleep.is_empty() {
        core.push.want(aor, asleep, class);
        look_again(core, aor, |device| asleep.iter().any(|sleeper| *sleeper.device == *device));
    }
}

/// A user has registered: what is awake now need not be woken, and gets the calls that wait for it. Never to be called
/// with a shard locked.
pub fn registered(core: &Arc<Core>, aor: &str) {
    let push = &core.push;
    if push.busy.load(Ordering::Acquire) == 0 {
        return;
    }
    let now = epoch_seconds();
    let (awake, parked) = {
        let mut state = push.state.lock();
        // The look is taken under this lock: whoever finds a device asleep after it wants it awake after it.
        let awake: Vec<Box<str>> = core.location.with(aor, |bindings| {
            targets(bindings, now, |flow| is_alive(core, flow), |_| true)
                .iter()
                .map(|t| t.binding.device().into())
                .collect()
        });
        let (woken, parked) = state.desk.registered(aor, &awake);
        for device in woken {
            push.woken.fetch_add(1, Ordering::Relaxed);
            let key: Key = (aor.into(), device.into());
            let provider = state.targets.remove(&key).map_or_else(String::new, |(target, _)| target.provider);
            state.log.add(&key, &provider, Class::Message, "it registered".into());
        }
        push.note_busy(&state);
        (awake, parked)
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
            let due = state.desk.poll(now, slots.available_permits());
            push.note_busy(&state);
            (due, state.desk.next_deadline())
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
    if core.waiting.count(aor) > 0 {
        want_and_look(core, aor, Class::Message, &sleepers(core, aor, |_| true));
    }
}

/// A connection of a user has ended. What waits for him may have been on its way over it, and has to wake the device: after a
/// moment, in which what the device has just taken leaves the queue.
pub fn fell_asleep(core: &Arc<Core>, aor: &str) {
    if core.push.is_on() && core.waiting.count(aor) > 0 {
        let (core, aor) = (Arc::clone(core), Box::<str>::from(aor));
        core.runtime.clone().spawn(async move {
            tokio::time::sleep(MOMENT).await;
            core.push.hint(&aor);
        });
    }
}

/// Something has come for a user that is not in his queue, such as a message to a group: his devices that sleep are woken for it.
pub fn wake(core: &Arc<Core>, aor: &str) {
    want_and_look(core, aor, Class::Message, &sleepers(core, aor, |_| true));
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
                want_and_look(core, aor, Class::Refresh, &sleepers(core, aor, soon));
            }
        }
        if page.len() < 1000 {
            break;
        }
    }
    let mut state = core.push.state.lock();
    state.desk.expire(Instant::now());
    let State { desk, targets, .. } = &mut *state;
    targets.retain(|key, _| desk.is_waking(key));
    core.push.note_busy(&state);
}

/// What was decided about the devices of a user, lately.
pub fn log_of(core: &Core, aor: &str) -> Vec<DeviceLog> {
    core.push.state.lock().log.of(aor)
}
