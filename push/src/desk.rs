//! Who waits for which device: wake-ups, and the requests that are parked until their devices are awake. Without I/O; the races
//! of wish, REGISTER, push and timeout are settled here, and in the order in which it is asked (docs/decisions/0091).
//!
//! A request looks at the bindings once, is parked, and looks again; a REGISTER changes the bindings, then asks here. Whichever
//! comes second sees the first.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::outcome::Outcome;
use crate::wake::{Class, Due, Key, Wakes};

/// Requests for one user that wait at once; one more goes on without waiting.
const PER_USER: usize = 16;

/// See the module. `C` names a request.
#[derive(Debug)]
pub struct Desk<C> {
    wakes: Wakes,
    /// By the user that they are for, with the time until which they wait.
    parked: HashMap<Box<str>, Vec<(C, Instant)>>,
}

impl<C> Default for Desk<C> {
    fn default() -> Desk<C> {
        Desk { wakes: Wakes::default(), parked: HashMap::new() }
    }
}

impl<C: Copy + Eq> Desk<C> {
    /// Wake-ups under way.
    pub fn waking(&self) -> usize {
        self.wakes.len()
    }

    /// Requests that wait.
    pub fn parked(&self) -> usize {
        self.parked.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.wakes.is_empty() && self.parked.is_empty()
    }

    /// Whether a device is being woken.
    pub fn is_waking(&self, key: &Key) -> bool {
        self.wakes.has(key)
    }

    /// See [`Wakes::want`].
    pub fn want(&mut self, key: &Key, class: Class, now: Instant) -> bool {
        self.wakes.want(key, class, now)
    }

    /// A request waits for devices of a user. False where too many do.
    pub fn park(&mut self, user: &str, request: C, until: Instant, now: Instant) -> bool {
        let parked = self.parked.entry(user.into()).or_default();
        if parked.len() >= PER_USER {
            parked.retain(|(_, until)| *until > now);
        }
        if parked.len() >= PER_USER {
            return false;
        }
        parked.push((request, until));
        true
    }

    /// A request does not wait any more.
    pub fn unpark(&mut self, user: &str, request: C) {
        if let Some(parked) = self.parked.get_mut(user) {
            parked.retain(|(own, _)| *own != request);
            if parked.is_empty() {
                self.parked.remove(user);
            }
        }
    }

    /// These devices of a user are awake: their wake-ups are over. Gives those that had one, and the requests that are to be
    /// told.
    pub fn registered<'d>(&mut self, user: &str, awake: &'d [Box<str>]) -> (Vec<&'d str>, Vec<C>) {
        let woken = awake.iter().filter(|device| self.wakes.over(&(user.into(), (*device).clone())));
        (woken.map(|device| &**device).collect(), self.of(user))
    }

    /// The pushes that are due, `most` at a time.
    pub fn poll(&mut self, now: Instant, most: usize) -> Vec<Due> {
        self.wakes.poll(now, most)
    }

    /// What the provider said of a push. Where the device cannot be woken, the requests that are to be told.
    pub fn answered(&mut self, due: &Due, outcome: &Outcome, now: Instant) -> Vec<C> {
        match self.wakes.answered(&due.key, due.number, outcome, now) {
            true => self.of(&due.key.0),
            false => Vec::new(),
        }
    }

    /// When [`Desk::poll`] has something next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wakes.next_deadline()
    }

    /// Forgets requests that have waited long enough; they have ended by themselves.
    pub fn expire(&mut self, now: Instant) {
        self.parked.retain(|_, parked| {
            parked.retain(|(_, until)| *until > now);
            !parked.is_empty()
        });
    }

    fn of(&self, user: &str) -> Vec<C> {
        self.parked.get(user).map_or_else(Vec::new, |parked| parked.iter().map(|(request, _)| *request).collect())
    }
}

/// The devices that one request waits for; each is given to it once.
#[derive(Debug, Default)]
pub struct Asleep(HashSet<Box<str>>);

/// What came of devices that are said to be awake.
#[derive(Debug)]
pub struct Came<W> {
    /// The ways to those that are.
    pub ways: Vec<W>,
    /// Those that are not any more: they have to be woken again.
    pub again: Vec<Box<str>>,
}

impl Asleep {
    pub fn new(devices: impl IntoIterator<Item = Box<str>>) -> Asleep {
        Asleep(devices.into_iter().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These devices are said to be awake; `way` finds the way to one, if it still is.
    pub fn came<W>(&mut self, devices: &[Box<str>], mut way: impl FnMut(&str) -> Option<W>) -> Came<W> {
        let mut came = Came { ways: Vec::new(), again: Vec::new() };
        for device in devices {
            if !self.0.contains(device) {
                continue;
            }
            match way(device) {
                Some(way) => {
                    self.0.remove(device);
                    came.ways.push(way);
                }
                None => came.again.push(device.clone()),
            }
        }
        came
    }

    /// A device cannot be woken.
    pub fn lost(&mut self, device: &str) {
        self.0.remove(device);
    }

    pub fn contains(&self, device: &str) -> bool {
        self.0.contains(device)
    }
}
