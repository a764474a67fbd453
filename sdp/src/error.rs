//! Why bytes are no session description.

/// Why bytes off the wire are no session description; the answer to the sender is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("{len} bytes, over the limit of {max}")]
    TooLarge { len: usize, max: usize },
    #[error("more than {max} lines")]
    TooManyLines { max: usize },
    #[error("line at byte {at} is longer than {max} bytes")]
    LineTooLong { at: usize, max: usize },
    #[error("more than {max} media sections")]
    TooManyMedia { max: usize },
    #[error("a NUL or a carriage return inside of the line at byte {at}")]
    Octet { at: usize },
    #[error("no letter and equals sign in the line at byte {at}")]
    NotALine { at: usize },
    #[error("not version 0")]
    Version,
    /// Also where a second description begins (RFC 3264 §5).
    #[error("unexpected {kind}= at byte {at}")]
    Unexpected { kind: char, at: usize },
    #[error("no {kind}= line")]
    Missing { kind: char },
    #[error("malformed {kind}= line at byte {at}")]
    Malformed { kind: char, at: usize },
}

impl ParseError {
    /// The SIP response to a request that carries such a body.
    #[must_use]
    pub fn status(&self) -> u16 {
        400
    }
}
