//! What a leg is told and tells.

use std::time::Duration;

use crate::access::Service;

/// What a leg may take and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegSettings {
    /// How long a device may ring before the invitation is withdrawn.
    pub ring: Duration,
    /// From a 2xx to the MSRP connection.
    pub connect: Duration,
    /// From the last message to the end of the session.
    pub idle: Duration,
    /// From the last message to the end of a one-way session, so that the receipts for it may come the same way.
    pub linger: Duration,
    /// How long the end of a call is waited for.
    pub close: Duration,
    /// How long a session may confirm nothing while something is under way.
    pub stall: Duration,
    /// Messages under way in a session.
    pub window: usize,
    /// Largest first message in an INVITE, in bytes.
    pub max_first: usize,
    /// Largest content of a MESSAGE where the device takes it in a session as well, in bytes.
    pub max_page: usize,
    /// First and longest pause after a session that failed; it doubles from one to the next.
    pub pause: Duration,
    pub max_pause: Duration,
}

impl Default for LegSettings {
    fn default() -> LegSettings {
        LegSettings {
            ring: Duration::from_secs(60),
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            linger: Duration::from_secs(3),
            close: Duration::from_secs(32),
            stall: Duration::from_secs(300),
            window: 8,
            max_first: 16 * 1024,
            max_page: 1300,
            pause: Duration::from_secs(1),
            max_pause: Duration::from_secs(300),
        }
    }
}

/// An entry of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub id: u64,
    /// Bytes of the body.
    pub size: usize,
    /// The device was away when it was accepted: it goes in a deferred session where none is open.
    pub waited: bool,
    /// It needs no session, and may overtake messages.
    pub receipt: bool,
}

/// A call of the leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub u32);

/// Why an entry is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Try again after this time.
    Later(Duration),
    /// Try again when the device registers or calls.
    Away,
    /// The device will not have it; the code is that of SIP or MSRP.
    Refused(u16),
}

/// What the caller has to do; see [`super::Leg::poll_action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Invite the device: SDP, and the first message if there is one. Then [`super::Leg::handle_answered`] or
    /// [`super::Leg::handle_rejected`].
    Invite { call: Call, service: Service, first: Option<u64> },
    /// Accept the call that [`super::Leg::handle_incoming`] announced; if it cannot be, [`super::Leg::handle_ended`].
    Accept { call: Call },
    /// Send it in the session. Then [`super::Leg::handle_confirmed`], [`super::Leg::handle_refused`], [`super::Leg::handle_lost`] or
    /// [`super::Leg::handle_ended`]. Behind a relay of MSRP a 200 is not the device's; a success REPORT is.
    Send { call: Call, id: u64 },
    /// Send it by MESSAGE, without the envelope if the device wants none. Then [`super::Leg::handle_paged`].
    Page { id: u64 },
    /// Withdraw the invitation. A final response is still awaited.
    Cancel { call: Call },
    /// End the call and its MSRP session. Then [`super::Leg::handle_ended`].
    Bye { call: Call },
    /// The device has it.
    Confirmed { id: u64 },
    /// It stays in the queue, or is given up.
    Return { id: u64, why: Why },
}
