//! Which devices are served: who registers, who is there, who left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use chappe_chat::drain::{Lanes, Pace};
use chappe_chat::patience::Patience;
use chappe_sip::registrar::{Binding, Target, targets};

use super::{Key, News, Phase, Registration, Session, Sessions};
use crate::core::epoch_seconds;
use crate::service::chat;
use crate::service::pager::{is_alive, stamp};

impl Sessions {
    pub(super) fn kick(&mut self, aor: Box<str>, device: Option<Box<str>>, registered: Option<u64>) {
        let core = &self.core;
        let live: Vec<Box<str>> = core.location.with(&aor, |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
            let wanted = found.iter().filter(|t| device.as_deref().is_none_or(|d| d == t.binding.device()));
            let rests = |t: &&Target<'_>| {
                // Most have nothing against them.
                let key = (!self.tried.is_empty()).then(|| (aor.clone(), t.binding.device().into()));
                let patience = key.and_then(|key| self.tried.get(&key));
                patience.is_some_and(|one| !one.may_try(&registration(t.binding), Instant::now()))
            };
            wanted.filter(|t| !rests(t)).map(|t| t.binding.device().into()).collect()
        });
        for name in live {
            let key = (aor.clone(), name);
            if registered.is_some() {
                self.is_back(&key, registered);
            }
            match self.sessions.get_mut(&key) {
                Some(session) if matches!(session.phase, Phase::Full) && session.backlog.is_empty() => {
                    session.phase = Phase::Loading;
                    self.wanted.push(key);
                }
                Some(session) => session.again = true,
                None => {
                    let session = Session {
                        phase: Phase::Loading,
                        backlog: VecDeque::new(),
                        after: 0,
                        again: false,
                        overtaken: false,
                        bound: None,
                        stalled: None,
                        lanes: Lanes::default(),
                        came: registered,
                        pace: Pace::new(Instant::now()),
                    };
                    self.sessions.insert(key.clone(), session);
                    self.wanted.push(key);
                }
            }
        }
    }

    /// A device has registered: what it could not be reached for is tried anew, and what chat sessions have goes on over
    /// the flow that it has now.
    pub(super) fn is_back(&mut self, key: &Key, registered: Option<u64>) {
        if let Some(binding) = self.binding(key)
            && let Some(handed) = self.handed.get(key)
        {
            chat::is_over(&self.core, &key.0, &binding, handed.values().map(|one| &*one.letter));
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.came = registered;
        if session.lanes.clear() {
            self.read_anew(key);
        }
    }

    /// Whether a device has registered since.
    pub(super) fn is_elsewhere(&self, key: &Key, tried: u64) -> bool {
        self.binding(key).is_some_and(|binding| stamp(&binding) != tried)
    }

    /// How a device can be reached.
    pub(super) fn binding(&self, key: &Key) -> Option<Binding> {
        let core = &self.core;
        core.location.with(&key.0, |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
            found.iter().find(|t| t.binding.device() == &*key.1).map(|t| t.binding.clone())
        })
    }

    /// Ends the session of a device that is not there.
    pub(super) fn drop(&mut self, key: &Key) {
        let Some(session) = self.sessions.remove(key) else { return };
        for message in &session.backlog {
            self.left(key, message);
        }
    }

    /// A device has not taken a MESSAGE. It is left alone for a while, unless it registers anew.
    pub(super) fn failed(&mut self, key: &Key) {
        let Some(binding) = self.binding(key) else {
            self.tried.remove(key);
            return;
        };
        let (registration, now) = (registration(&binding), Instant::now());
        let patience = match self.tried.get_mut(key) {
            Some(patience) => {
                patience.failed(registration, now);
                patience
            }
            None => self.tried.entry(key.clone()).or_insert_with(|| Patience::new(registration, now)),
        };
        let (core, key, until) = (Arc::clone(&self.core), key.clone(), patience.until());
        self.core.runtime.spawn(async move {
            tokio::time::sleep_until(until.into()).await;
            core.drain.tell(News::Again { key });
        });
    }

    /// The pause of a device is over; one that is not there, or has nothing waiting, is forgotten.
    pub(super) fn again(&mut self, key: Key) {
        let Some(patience) = self.tried.get(&key) else { return };
        let Some(binding) = self.binding(&key).filter(|_| self.core.waiting.count(&key.0) > 0) else {
            self.tried.remove(&key);
            return;
        };
        // A later try has a pause of its own.
        if patience.may_try(&registration(&binding), Instant::now()) {
            self.kick(key.0, Some(key.1), None);
        }
    }

    /// Whether a device will be known again: one without an instance-id is its contact, and gone with its connection.
    pub(super) fn comes_again(&self, key: &Key) -> bool {
        let core = &self.core;
        core.location.with(&key.0, |bindings| match bindings.iter().find(|binding| binding.device() == &*key.1) {
            Some(binding) => binding.instance_id().is_some() || binding.flow.is_some_and(|flow| is_alive(core, &flow)),
            None => core.away.of(&key.0, epoch_seconds()).iter().any(|away| away.device == key.1),
        })
    }
}

pub(super) fn registration(binding: &Binding) -> Registration {
    (binding.flow, binding.registered())
}
