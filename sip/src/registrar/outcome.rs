//! What an accepted REGISTER changes.

use smallvec::SmallVec;

use super::Binding;
use crate::transport::Flow;

/// What became of a contact, in the words of the reg event package (RFC 3680 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Registered,
    Refreshed,
    /// Its time had run out.
    Expired,
    /// The client removed it, or its device registered from elsewhere.
    Unregistered,
    /// The server removed it to make room.
    Deactivated,
}

impl Event {
    /// The value of the `event` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Registered => "registered",
            Event::Refreshed => "refreshed",
            Event::Expired => "expired",
            Event::Unregistered => "unregistered",
            Event::Deactivated => "deactivated",
        }
    }
}

/// What a mere refresh renews.
#[derive(Debug, Clone, PartialEq)]
pub struct Refresh {
    /// Seconds since the Unix epoch.
    pub expires: u64,
    pub cseq: u32,
    /// `None` where it stays.
    pub call_id: Option<Box<str>>,
    /// `None` behind a proxy.
    pub flow: Option<Flow>,
}

impl Refresh {
    /// Renews `binding`, which is awake from now on.
    pub fn apply(self, binding: &mut Binding) {
        binding.set_expires(self.expires);
        binding.cseq = self.cseq;
        if let Some(call_id) = self.call_id {
            // The decision was made with one that fits.
            let _ = binding.set_call_id(&call_id);
        }
        binding.flow = self.flow;
        binding.dormant = false;
    }
}

/// One change; `at` is an index into the bindings that the decision was made on.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Add(Binding),
    /// The same device or contact with other particulars.
    Replace {
        at: usize,
        with: Binding,
    },
    /// Nothing but time, order and flow: need not be on disk before the 200.
    Refresh {
        at: usize,
        with: Refresh,
    },
    Remove {
        at: usize,
        why: Event,
    },
}

/// An accepted REGISTER. Each current binding is in at most one change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    pub changes: SmallVec<[Change; 1]>,
    /// Outbound was applied: the 200 requires it (RFC 5626 §6).
    pub outbound: bool,
    /// The client is connected to us without a proxy between.
    pub direct: bool,
}

impl Outcome {
    /// No Contact: the client only asks.
    pub fn is_query(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether something changed that must be stored before the 200.
    pub fn is_durable(&self) -> bool {
        self.changes.iter().any(|c| !matches!(c, Change::Refresh { .. } | Change::Remove { why: Event::Expired, .. }))
    }

    /// Makes `current`, which must be the bindings that the decision was made on, the next ones.
    pub fn apply(self, current: &mut Vec<Binding>) {
        let mut gone: SmallVec<[usize; 4]> = SmallVec::new();
        let mut added: SmallVec<[Binding; 1]> = SmallVec::new();
        for change in self.changes {
            match change {
                Change::Add(binding) => added.push(binding),
                Change::Replace { at, with } => current[at] = with,
                Change::Refresh { at, with } => with.apply(&mut current[at]),
                Change::Remove { at, .. } => gone.push(at),
            }
        }
        gone.sort_unstable();
        for at in gone.into_iter().rev() {
            current.remove(at);
        }
        current.extend(added);
    }

    /// The next bindings as a copy.
    pub fn next(&self, current: &[Binding]) -> Vec<Binding> {
        let mut next = current.to_vec();
        self.clone().apply(&mut next);
        next
    }

    /// Tells `report` what became of which contact, in order; a replaced contact whose URI changed is reported as
    /// gone and the new one as registered.
    pub fn events(&self, current: &[Binding], mut report: impl FnMut(Event, &Binding)) {
        for change in &self.changes {
            match change {
                Change::Add(binding) => report(Event::Registered, binding),
                Change::Replace { at, with } if with.contact() == current[*at].contact() => {
                    report(Event::Refreshed, with);
                }
                Change::Replace { at, with } => {
                    report(Event::Unregistered, &current[*at]);
                    report(Event::Registered, with);
                }
                Change::Refresh { at, with } => {
                    let mut binding = current[*at].clone();
                    with.clone().apply(&mut binding);
                    report(Event::Refreshed, &binding);
                }
                Change::Remove { at, why } => report(*why, &current[*at]),
            }
        }
    }
}
