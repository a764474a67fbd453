//! Why a section is refused, and how SIP says so.

use crate::file::FileError;
use crate::local::LocalError;

/// Why a section of an offer is refused: by port 0, or by a response where nothing else is left of the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No message session, and nobody has taken it.
    #[error("no use for media of this type")]
    MediaType,
    /// Port 0 in the offer: there is nothing to accept.
    #[error("ended by the offerer")]
    Ended,
    #[error("no transport for MSRP")]
    Protocol,
    /// One side wants TLS, the other does not.
    #[error("TLS on one side only")]
    Security,
    #[error("no a=path")]
    NoPath,
    #[error("malformed a={0}")]
    Malformed(&'static str),
    /// We would have to connect to an address that nobody listens on, or by a transport that is not TCP.
    #[error("cannot connect to the peer")]
    NotReachable,
    #[error("the offer does not say who connects")]
    Setup,
    #[error("no a=accept-types")]
    NoTypes,
    #[error("no media type in common")]
    Types,
    /// RFC 6714 §4.3.
    #[error("c= and m= point elsewhere than a=path")]
    AddressMismatch,
    /// Only with hash functions that are not trusted.
    #[error("no fingerprint that is trusted")]
    Fingerprint,
    #[error("{0}")]
    File(#[from] FileError),
    /// The user, or a rule of the caller.
    #[error("declined")]
    Declined,
    /// What we would say of ourselves is wrong.
    #[error("{0}")]
    Local(LocalError),
}

impl Refusal {
    /// The SIP response where the whole offer is refused.
    #[must_use]
    pub fn status(&self) -> u16 {
        if matches!(self, Self::Local(_)) { 500 } else { 488 }
    }

    /// Code for a `Warning` beside it (RFC 3261 §20.43); the text is that of the error.
    #[must_use]
    pub fn warning(&self) -> u16 {
        match self {
            Self::Protocol | Self::Security | Self::NotReachable => 302,
            Self::MediaType => 304,
            Self::Types => 305,
            Self::NoPath | Self::NoTypes | Self::Setup | Self::Malformed(_) => 307,
            _ => 399,
        }
    }
}
