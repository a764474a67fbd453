//! A device of a member in a room.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use chappe_chat::group::reader::Cursor;
use chappe_chat::{Access, Capabilities};
use chappe_sdp::Agreement;
use chappe_sip::{Aor, Flow};

use super::entry::Logged;
use crate::core::Core;
use crate::msrp::endpoint::End;
use crate::service::agent::{self, CallRef};
use crate::service::chat::offer::Offered;

/// From a 2xx to the MSRP connection.
pub(super) const CONNECT: Duration = Duration::from_secs(30);
/// How long a session may confirm nothing while something is under way.
pub(super) const STALL: Duration = Duration::from_secs(300);
/// First and longest pause after a session that failed.
const PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// From the end of an MSRP session to that of its call.
const GRACE: Duration = Duration::from_secs(1);
/// From the end of a call to that of its MSRP session.
const PARTING: Duration = Duration::from_secs(2);

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Ours, not answered.
    Inviting,
    /// Agreed upon, MSRP is not up.
    Connecting,
    Open,
    /// MSRP is gone; a BYE that says why may follow.
    Parting,
}

pub(super) struct Call {
    pub id: u32,
    pub reference: Option<CallRef>,
    pub end: Option<Arc<End>>,
    /// Ours, until it is answered.
    pub offered: Option<Offered>,
    /// To be acted upon when the device has our answer.
    pub agreement: Option<Agreement>,
    pub state: State,
    /// MSRP was faster than the 2xx.
    pub bound: bool,
    /// The device is behind a relay, whose 200 says nothing of the device.
    pub relayed: bool,
    /// The last that was heard.
    pub since: Instant,
    /// How the device was reached, where we called it.
    pub reached: Option<Option<Flow>>,
    /// The device called.
    pub dialed_in: bool,
}

impl Call {
    /// Ends it; what still comes of it is nobody's.
    pub(super) fn end(self, core: &Arc<Core>, reason: Option<&'static str>) {
        if let Some(reference) = &self.reference {
            agent::end(core, reference, reason);
        }
        self.part(core);
    }

    /// Its SIP side is over. A device that loses its connection before it has read our BYE takes the session for broken.
    pub(super) fn part(self, core: &Arc<Core>) {
        if let Some(end) = self.end {
            core.runtime.spawn(async move {
                tokio::time::sleep(PARTING).await;
                end.close();
            });
        }
    }
}

pub(super) struct Seat {
    pub user: Aor,
    pub device: Box<str>,
    pub abilities: Capabilities,
    pub cursor: Cursor,
    pub call: Option<Call>,
    /// Read from the store, not sent yet.
    pub pages: VecDeque<Arc<Logged>>,
    pub reading: bool,
    /// On its way.
    pub sent: HashMap<u64, Arc<Logged>, RandomState>,
    /// What a MESSAGE is under way with.
    pub paging: Option<u64>,
    /// Has turned sessions down as such.
    pub no_sessions: bool,
    /// Cannot be reached until it registers.
    pub away: bool,
    /// Is to be called although nothing waits.
    pub wanted: bool,
    pub rest: Option<Instant>,
    failures: u32,
}

impl Seat {
    pub(super) fn new(user: Aor, device: Box<str>, abilities: Capabilities, confirmed: u64, window: usize) -> Seat {
        Seat {
            user,
            device,
            abilities,
            cursor: Cursor::new(confirmed, window),
            call: None,
            pages: VecDeque::new(),
            reading: false,
            sent: HashMap::default(),
            paging: None,
            no_sessions: false,
            away: false,
            wanted: false,
            rest: None,
            failures: 0,
        }
    }

    /// Messages go to it by MESSAGE.
    pub(super) fn is_paged(&self) -> bool {
        self.no_sessions || self.abilities.access() == Access::Pager
    }

    /// It hears of changes by MESSAGE, and of who types.
    pub(super) fn wants_news(&self) -> bool {
        self.is_paged() && self.abilities.group_news && self.abilities.receipts
    }

    pub(super) fn is_open(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.state == State::Open)
    }

    /// The call with this number, if it is the one in use.
    pub(super) fn call(&mut self, id: u32) -> Option<&mut Call> {
        self.call.as_mut().filter(|call| call.id == id)
    }

    /// The session is gone; what was under way in it is read again.
    pub(super) fn rewind(&mut self) {
        self.cursor.rewind();
        self.pages.clear();
        self.sent.clear();
        self.paging = None;
    }

    /// Nothing is tried for a while, twice as long each time.
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(16)).min(MAX_PAUSE);
        self.failures += 1;
        self.rest = Some(now + pause);
    }

    /// The device has taken something, or has come back.
    pub(super) fn is_well(&mut self) {
        (self.failures, self.rest, self.away) = (0, None, false);
    }

    /// When something is due.
    pub(super) fn due(&self, ring: Duration, idle: Duration) -> Option<Instant> {
        let call = self.call.as_ref().map(|call| match call.state {
            State::Inviting => call.since + ring,
            State::Connecting => call.since + CONNECT,
            State::Parting => call.since + GRACE,
            State::Open if self.cursor.in_flight() > 0 => call.since + STALL,
            State::Open => call.since + idle,
        });
        call.or(self.rest)
    }
}
