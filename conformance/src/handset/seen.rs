//! What a handset has seen, and how a case waits for more.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::group::Room;
use super::{Cut, Step};

/// How a message came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// MESSAGE.
    Page,
    /// A CPIM part of an INVITE.
    Invite,
    /// Subject of an INVITE.
    Subject,
    /// MSRP.
    Session,
}

/// One copy of a message.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    /// Of its envelope.
    pub(crate) id: Option<String>,
    pub(crate) text: String,
    pub(crate) content_type: String,
    /// Headers of its envelope that belong to other namespaces: `namespace#name` and value.
    pub(crate) more: Vec<(String, String)>,
    pub(crate) disposition: Option<String>,
    pub(crate) wants: Vec<String>,
    pub(crate) date: Option<String>,
    /// The user it is from, by SIP.
    pub(crate) from: String,
    pub(crate) how: How,
    /// It came in a deferred session.
    pub(crate) deferred: bool,
    /// User part of the focus, where it came from one.
    pub(crate) room: Option<String>,
}

/// One copy of a notification.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) id: String,
    /// `delivered`, `displayed`, `failed`, …
    pub(crate) kind: String,
    pub(crate) how: How,
    /// The user whose it is, by SIP.
    pub(crate) from: String,
}

/// What became of something sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Pending,
    /// The status of the SIP or MSRP answer.
    Answered(u16),
    /// Its link went before.
    Lost,
}

#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) how: How,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The INVITE is pending.
    Ringing,
    /// Its 2xx came or went.
    Up,
    /// MSRP is there too.
    Open,
    Ended,
}

/// Lines of an envelope that its kind of handset does not write by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    /// Of the envelope, each with its CRLF.
    pub(crate) headers: String,
    /// Of the content.
    pub(crate) content: String,
}

/// A session that the handset took part in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) peer: String,
    pub(crate) deferred: bool,
    pub(crate) phase: Phase,
    /// Its final status, or 0.
    pub(crate) status: u16,
    /// The peer's BYE ended it.
    pub(crate) ended_by_peer: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) messages: Vec<Got>,
    pub(crate) receipts: Vec<Receipt>,
    /// Users and whether they compose, in order.
    pub(crate) composing: Vec<(String, bool)>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) rooms: Vec<Room>,
    /// What the envelopes of messages to be sent have besides, by their ids.
    pub(crate) extras: HashMap<String, Extra>,
    /// How often it was cut off.
    pub(crate) cuts: usize,
    /// What the server did that this kind of handset cannot work with.
    pub(crate) faults: Vec<String>,
}

impl Seen {
    /// `number` is the place among what was sent.
    pub(crate) fn fate(&mut self, number: usize, fate: Fate) {
        if let Some(sent) = self.sent.get_mut(number).filter(|sent| sent.fate == Fate::Pending) {
            sent.fate = fate;
        }
    }

    pub(crate) fn how(&mut self, number: usize, how: How) {
        if let Some(sent) = self.sent.get_mut(number) {
            sent.how = how;
        }
    }
}

/// What the tasks of a handset share with the case.
pub(crate) struct State {
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
    traps: Mutex<Vec<(Step, Cut)>>,
    pub(crate) silent: watch::Sender<bool>,
}

impl State {
    pub(crate) fn new() -> State {
        let (seen, traps) = (Mutex::default(), Mutex::default());
        State { seen, changed: watch::Sender::new(()), traps, silent: watch::Sender::new(false) }
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let out = change(&mut self.seen.lock().expect("no holder panics"));
        self.changed.send_replace(());
        out
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().expect("no holder panics"))
    }

    /// What `find` finds within `wait`.
    pub(crate) async fn wait<T>(&self, wait: Duration, mut find: impl FnMut(&Seen) -> Option<T>) -> Option<T> {
        let until = Instant::now() + wait;
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(found) = self.look(&mut find) {
                return Some(found);
            }
            if timeout_at(until, changed.changed()).await.is_err() {
                return None;
            }
        }
    }

    pub(crate) fn set_trap(&self, step: Step, cut: Cut) {
        self.traps.lock().expect("no holder panics").push((step, cut));
    }

    /// Takes the trap of that step, if one is set.
    pub(crate) fn trap(&self, step: Step) -> Option<Cut> {
        let mut traps = self.traps.lock().expect("no holder panics");
        let at = traps.iter().position(|(set, _)| *set == step)?;
        Some(traps.remove(at).1)
    }
}
