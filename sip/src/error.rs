//! What is wrong with bytes that a peer sent.

use crate::name::HeaderName;

/// Why bytes off the wire are not a SIP message, or not one that can be processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("start line: expected {0}")]
    StartLine(&'static str),
    #[error("SIP version is not 2.0")]
    Version,
    #[error("no end of the headers")]
    Incomplete,
    #[error("header line {0} is malformed")]
    HeaderLine(usize),
    #[error("no {} header", .0.as_str())]
    MissingHeader(HeaderName),
    #[error("{} header: expected {expected}", .header.as_str())]
    Malformed { header: HeaderName, expected: &'static str },
    #[error("{} given more than once", .0.as_str())]
    Repeated(HeaderName),
    #[error("URI: expected {0}")]
    Uri(&'static str),
    #[error("the body has {have} bytes, Content-Length says {says}")]
    ShortBody { have: usize, says: usize },
    #[error("{what} of {len}, over the limit of {max}")]
    TooLarge { what: &'static str, len: usize, max: usize },
}

impl ParseError {
    /// The response code that tells the peer (RFC 3261 §21.4, §16.3).
    pub fn status(&self) -> u16 {
        match self {
            ParseError::Version => 505,
            ParseError::TooLarge { what: "Request-URI", .. } => 414,
            ParseError::TooLarge { what: "message", .. } => 513,
            _ => 400,
        }
    }
}
