//! Where the links of a device break.

use super::Handset;

/// A direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    SipIn,
    SipOut,
    MsrpIn,
    MsrpOut,
}

/// How much of a frame that goes out still goes. One that comes in is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Nothing,
    HalfOfTheHead,
    TheHead,
    HalfOfTheBody,
    AllButOneOctet,
    All,
}

impl Place {
    pub const ALL: [Place; 6] =
        [Place::Nothing, Place::HalfOfTheHead, Place::TheHead, Place::HalfOfTheBody, Place::AllButOneOctet, Place::All];

    fn octets(self, frame: &[u8]) -> usize {
        let head = frame.windows(4).position(|window| window == b"\r\n\r\n").map_or(frame.len(), |at| at + 4);
        match self {
            Place::Nothing => 0,
            Place::HalfOfTheHead => head / 2,
            Place::TheHead => head,
            Place::HalfOfTheBody => head + (frame.len() - head) / 2,
            Place::AllButOneOctet => frame.len() - 1,
            Place::All => frame.len(),
        }
    }
}

/// Breaks links at a frame, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    pub side: Side,
    /// Counted from 0, over the life of the device.
    pub frame: usize,
    pub place: Place,
    /// All links, not only the one with the frame.
    pub all: bool,
}

impl Handset {
    /// Counts a frame that has come; true if the trap is there.
    pub(super) fn comes(&mut self, side: Side) -> bool {
        self.count(side).is_some()
    }

    fn count(&mut self, side: Side) -> Option<Place> {
        let count = self.frames.entry(side).or_default();
        let at = std::mem::replace(count, *count + 1);
        self.trap.filter(|trap| trap.side == side && trap.frame == at && self.cuts == 0).map(|trap| trap.place)
    }

    /// Counts a frame that is to go, and gives as much of it as goes; then the link breaks.
    pub(super) fn goes(&mut self, side: Side, frame: &[u8]) -> Option<usize> {
        self.count(side).map(|place| place.octets(frame))
    }

    /// Breaks the link of the trap; `call` is the one that the frame was of.
    pub(super) fn spring(&mut self, side: Side, call: Option<usize>) {
        self.cuts += 1;
        let all = self.trap.is_some_and(|trap| trap.all);
        match (side, call) {
            _ if all => self.off(),
            (Side::MsrpIn | Side::MsrpOut, Some(call)) => self.media_lost(call),
            _ => self.sip_lost(),
        }
    }
}
