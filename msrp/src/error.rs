//! What is wrong with bytes that a peer sent, and the answer to it where one is due.

use crate::write;

/// Why a frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    #[error("not MSRP")]
    NotMsrp,
    #[error("start line: expected {0}")]
    StartLine(&'static str),
    #[error("a header line is malformed")]
    HeaderLine,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} given more than once")]
    Repeated(&'static str),
    #[error("{0} is malformed")]
    Malformed(&'static str),
    #[error("{0} is not in its place")]
    Order(&'static str),
    #[error("{what} over the limit of {max}")]
    TooLarge { what: &'static str, max: usize },
}

/// A refused frame. Unless [`ParseError::is_fatal`] the parser passes over the rest of it and goes on with the next;
/// no `End` follows for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ParseError {
    pub cause: Cause,
    pub(crate) fatal: bool,
    /// The way back, when the frame was a request that may be answered (RFC 4975 §7.2).
    pub reply: Option<Box<Reply>>,
}

impl ParseError {
    pub(crate) fn fatal(cause: Cause) -> ParseError {
        ParseError { cause, fatal: true, reply: None }
    }

    /// Frames can no longer be told apart: the connection has to go.
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// The response code, where a response is due (RFC 4975 §10.2).
    pub fn status(&self) -> Option<u16> {
        self.reply.as_ref().map(|_| 400)
    }
}

/// What a response to a request needs of it (RFC 4975 §7.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request's transaction id.
    pub transaction_id: Box<str>,
    /// Value of To-Path: the previous hop for a SEND, the whole way back for any other request.
    pub to: Box<str>,
    /// Value of From-Path: the URI under which we were addressed.
    pub from: Box<str>,
}

impl Reply {
    /// Appends the response.
    pub fn write(&self, out: &mut Vec<u8>, code: u16, comment: &str) {
        write::Frame::response(out, &self.transaction_id, code, comment, &self.to, &self.from).end(crate::Flag::End);
    }
}

impl std::fmt::Debug for Reply {
    // Paths hold session ids, which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("transaction_id", &self.transaction_id).finish_non_exhaustive()
    }
}
