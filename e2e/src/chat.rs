//! Chat devices written from the documents alone: SIMPLE IM, CPM and MESSAGE only (OMA, GSMA RCC.07; RFC 3428, 4975, 5438).
//!
//! A [`Handset`] is one device of one user in one conversation. It never waits: whoever has many of them steps all whose
//! sockets have something ([`turn`]), and so thousands live in one thread. What it has sent, shown and been told outlives its
//! connections, as on a phone: what nobody confirmed goes again under the same id, and a copy of what was shown is told by
//! its id, not shown, and confirmed again.

mod call;
mod content;
mod media;
mod sip;
mod text;
mod trap;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};

use crate::Server;
use call::Call;
use sip::Sip;
pub use trap::{Place, Side, Trap};

/// What a device is, and so how it talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SIMPLE IM: sessions, the first message in the INVITE.
    SimpleIm,
    /// OMA CPM: sessions and MESSAGE.
    Cpm,
    /// MESSAGE with envelopes.
    Pager,
}

/// How far something is that a device has to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Waits,
    /// On its way, unconfirmed.
    Flies,
    /// Confirmed.
    Taken,
}

/// Something a device has to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub id: String,
    pub text: String,
    /// It is a notification.
    pub is_receipt: bool,
    pub fate: Fate,
}

/// A notification that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub about: String,
    pub kind: String,
    /// Its own id; copies have the same.
    pub id: String,
}

/// A device. See the module.
#[derive(Debug)]
pub struct Handset {
    pub user: usize,
    pub peer: usize,
    pub kind: Kind,
    device: usize,
    /// It says that its user has read what comes.
    pub displays: bool,
    /// In the order in which its user wrote.
    pub outbox: Vec<Outgoing>,
    /// Ids and texts of what was shown, in order.
    pub screen: Vec<(String, String)>,
    /// How often each message came.
    pub copies: HashMap<String, usize>,
    /// Each once; copies of one are counted in `copies`, by their own id.
    pub receipts: Vec<Receipt>,
    /// What the server did that such a device cannot work with.
    pub faults: Vec<String>,
    /// Where its links break.
    pub trap: Option<Trap>,
    /// Frames so far, by link and direction.
    pub frames: HashMap<Side, usize>,
    /// How often it was cut off.
    pub cuts: usize,
    sip: Option<Sip>,
    calls: Vec<Call>,
    registered: bool,
    serial: u64,
    /// Nothing is begun before.
    rests: Option<Instant>,
}

/// Unconfirmed texts in a session at a time.
const WINDOW: usize = 3;
/// How long a device rests when it was turned away.
const REST: Duration = Duration::from_millis(200);

impl Handset {
    /// A device that is not connected.
    #[must_use]
    pub fn new(user: usize, device: usize, peer: usize, kind: Kind) -> Handset {
        Handset {
            user,
            peer,
            kind,
            device,
            displays: false,
            outbox: Vec::new(),
            screen: Vec::new(),
            copies: HashMap::new(),
            receipts: Vec::new(),
            faults: Vec::new(),
            trap: None,
            frames: HashMap::new(),
            cuts: 0,
            sip: None,
            calls: Vec::new(),
            registered: false,
            serial: 0,
            rests: None,
        }
    }

    /// Writes a text, to be sent when it can be. Its id.
    pub fn write(&mut self, text: &str) -> String {
        let id = self.id();
        self.outbox.push(Outgoing { id: id.clone(), text: text.to_owned(), is_receipt: false, fate: Fate::Waits });
        id
    }

    fn id(&mut self) -> String {
        self.serial += 1;
        format!("u{}d{}n{:04}", self.user, self.device, self.serial)
    }

    /// Texts that were confirmed.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.texts().filter(|out| out.fate == Fate::Taken).count()
    }

    /// What its user wrote.
    pub fn texts(&self) -> impl Iterator<Item = &Outgoing> {
        self.outbox.iter().filter(|out| !out.is_receipt)
    }

    /// Whether all it has to say was confirmed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.outbox.iter().all(|out| out.fate == Fate::Taken)
    }

    /// How many different notifications of that kind came about a message.
    #[must_use]
    pub fn told(&self, id: &str, kind: &str) -> usize {
        self.receipts.iter().filter(|receipt| receipt.about == id && receipt.kind == kind).count()
    }

    /// Whether it has no connection.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.sip.is_none()
    }

    /// Whether it has none and may have one.
    #[must_use]
    pub fn may_come_back(&self) -> bool {
        self.is_off() && self.rests.is_none()
    }

    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// All its connections are gone, with the calls on them.
    pub fn off(&mut self) {
        self.sip_lost();
        self.calls.clear();
        self.outbox.iter_mut().filter(|out| out.fate == Fate::Flies).for_each(|out| out.fate = Fate::Waits);
    }

    /// Does what it can without waiting.
    pub fn step(&mut self, server: &Server) {
        self.read_sip(server);
        self.read_media();
        self.go(server);
    }

    /// Sends what waits.
    fn go(&mut self, _server: &Server) {
        if !self.registered || self.rests.is_some_and(|until| until > Instant::now()) {
            return;
        }
        for at in 0..self.outbox.len() {
            // The link may break on the way.
            if self.outbox[at].is_receipt && self.outbox[at].fate == Fate::Waits && self.registered {
                match self.main() {
                    Some(call) if self.calls[call].is_open() => self.say(call, at),
                    _ => self.page(at),
                }
            }
        }
        let flying = |this: &Handset| this.texts().filter(|out| out.fate == Fate::Flies).count();
        while let Some(at) = self.outbox.iter().position(|out| !out.is_receipt && out.fate == Fate::Waits) {
            // Behind one that is lost nothing goes before it.
            match (self.kind, self.main()) {
                _ if !self.registered => return,
                (Kind::Pager, _) if flying(self) == 0 => self.page(at),
                (Kind::SimpleIm | Kind::Cpm, None) if flying(self) == 0 => return self.invite(at),
                (Kind::SimpleIm | Kind::Cpm, Some(call)) if self.calls[call].is_open() && flying(self) < WINDOW => {
                    self.say(call, at);
                }
                _ => return,
            }
            if self.outbox[at].fate == Fate::Waits {
                return;
            }
        }
    }

    fn rest(&mut self) {
        self.rests = Some(Instant::now() + REST);
    }

    fn fault(&mut self, why: String) {
        self.faults.push(format!("user{} device {}: {why}", self.user, self.device));
    }
}

/// Waits a moment until some of the devices have something to do, and has them do it.
///
/// # Panics
/// When the sockets cannot be waited for.
pub fn turn(handsets: &mut [Handset], server: &Server) {
    /// Longer than this nobody has to wait for one that rests.
    const MOMENT: Duration = Duration::from_millis(50);
    let busy: Vec<bool> = {
        let (mut wishes, mut whose): (Vec<PollFd<'_>>, Vec<usize>) = (Vec::new(), Vec::new());
        for (at, handset) in handsets.iter().enumerate() {
            for link in handset.sip.iter().map(|sip| &sip.link).chain(handset.calls.iter().filter_map(Call::link)) {
                wishes.push(link.wish());
                whose.push(at);
            }
        }
        let time = Timespec::try_from(MOMENT).expect("a time");
        match poll(&mut wishes, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        let mut busy = vec![false; handsets.len()];
        for (wish, at) in wishes.iter().zip(whose) {
            busy[at] |= !wish.revents().is_empty();
        }
        busy
    };
    let now = Instant::now();
    for (handset, busy) in handsets.iter_mut().zip(busy) {
        let rested = handset.rests.is_some_and(|until| until <= now);
        if rested {
            handset.rests = None;
        }
        if busy || rested {
            handset.step(server);
        }
    }
}
