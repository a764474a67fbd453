//! `a=sendrecv` and its kin (RFC 8866 §6.7; for MSRP RFC 4975 §8.9).

use crate::line::Line;

/// What the one who describes it does with media. In a message session it is about content: reports and receipts flow
/// in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    pub send: bool,
    pub receive: bool,
}

impl Direction {
    pub const SEND_RECEIVE: Self = Self { send: true, receive: true };
    pub const SEND_ONLY: Self = Self { send: true, receive: false };
    pub const RECEIVE_ONLY: Self = Self { send: false, receive: true };
    pub const INACTIVE: Self = Self { send: false, receive: false };

    /// The name of the attribute.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.send, self.receive) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }

    /// What is left of our wish when the peer has said `peer` (RFC 3264 §6.1).
    #[must_use]
    pub fn with_peer(self, peer: Self) -> Self {
        Self { send: self.send && peer.receive, receive: self.receive && peer.send }
    }

    pub(crate) fn find(lines: &[Line<'_>]) -> Option<Self> {
        lines.iter().find_map(|line| {
            let (name, _) = line.as_attribute()?;
            [Self::SEND_RECEIVE, Self::SEND_ONLY, Self::RECEIVE_ONLY, Self::INACTIVE]
                .into_iter()
                .find(|direction| direction.name() == name)
        })
    }
}
