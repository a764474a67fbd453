//! MSRP peers written from the RFCs alone: frames, the connection they are on, and a client of the relay.

mod frame;
mod link;
mod peer;

pub use frame::{Event, Frame, Frames};
pub use link::{Link, Via, patience};
pub use peer::{Peer, Session, send_frame};

/// A body of which every octet tells where it belongs: the same for all, and without a short period.
#[derive(Debug)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// A prime, so that no exchange of pieces of usual sizes goes unseen.
    const PERIOD: usize = 65_521;

    #[must_use]
    pub fn new() -> Pattern {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        };
        // Twice, so that any window of the period is one slice.
        let once: Vec<u8> = (0..Pattern::PERIOD).map(|_| next()).collect();
        Pattern([&once[..], &once[..]].concat())
    }

    /// The longest slice at hand of what begins at `at`; `len` at most.
    #[must_use]
    pub fn slice(&self, at: u64, len: usize) -> &[u8] {
        let start = (at % Pattern::PERIOD as u64) as usize;
        &self.0[start..start + len.min(Pattern::PERIOD)]
    }

    /// The body from `at` on.
    #[must_use]
    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            out.extend_from_slice(self.slice(at + out.len() as u64, len - out.len()));
        }
        out
    }

    /// Whether `data` is what belongs at `at`.
    #[must_use]
    pub fn is(&self, at: u64, mut data: &[u8]) -> bool {
        let mut at = at;
        while !data.is_empty() {
            let wanted = self.slice(at, data.len());
            if wanted != &data[..wanted.len()] {
                return false;
            }
            at += wanted.len() as u64;
            data = &data[wanted.len()..];
        }
        true
    }
}

impl Default for Pattern {
    fn default() -> Pattern {
        Pattern::new()
    }
}
