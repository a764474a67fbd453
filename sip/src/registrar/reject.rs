//! Why a REGISTER is refused, and the answer to it.

use crate::error::ParseError;
use crate::message::Message;
use crate::name::HeaderName;
use crate::reply::{Reply, reason_phrase};

/// Nothing has been changed; [`Reject::reply`] tells the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    #[error(transparent)]
    Malformed(#[from] ParseError),
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("the address-of-record has {0} bindings already")]
    Full(usize),
    #[error("option tags not understood: {0}")]
    BadExtension(String),
    #[error("bindings last at least {min} seconds")]
    IntervalTooBrief { min: u32 },
    #[error("the first hop does not support outbound")]
    FirstHopLacksOutbound,
    /// Same Call-ID, CSeq not higher than what a binding has (RFC 3261 §10.3 steps 6 and 7).
    #[error("CSeq {got} is not above {seen}")]
    OutOfOrder { seen: u32, got: u32 },
}

impl Reject {
    /// The response code.
    pub fn status(&self) -> u16 {
        match self {
            Reject::Malformed(error) => error.status(),
            Reject::BadRequest(_) => 400,
            Reject::Forbidden(_) | Reject::Full(_) => 403,
            Reject::BadExtension(_) => 420,
            Reject::IntervalTooBrief { .. } => 423,
            Reject::FirstHopLacksOutbound => 439,
            Reject::OutOfOrder { .. } => 500,
        }
    }

    /// The phrase of the status line: the standard one, or the cause where a client's user may see it.
    pub fn reason(&self) -> &str {
        match self {
            Reject::BadRequest(what) | Reject::Forbidden(what) => what,
            Reject::Full(_) => "Too Many Bindings",
            Reject::OutOfOrder { .. } => "CSeq Out Of Order",
            _ => reason_phrase(self.status()),
        }
    }

    /// The response with what its code requires (Unsupported, Min-Expires).
    pub fn reply(&self, request: &Message, to_tag: &str) -> Reply {
        let reply = Reply::with_reason(request, self.status(), self.reason(), to_tag);
        match self {
            Reject::BadExtension(tags) => reply.header(HeaderName::Unsupported, tags),
            Reject::IntervalTooBrief { min } => reply.header(HeaderName::MinExpires, &min.to_string()),
            _ => reply,
        }
    }
}
