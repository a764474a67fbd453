//! Why something is not done to a group, and what the wire says of it.

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error("no such group")]
    NotFound,
    #[error("the group has ended")]
    Gone,
    #[error("not a member of the group")]
    NotMember,
    #[error("removed from the group")]
    Removed,
    #[error("banned from the group")]
    Banned,
    #[error("the member may not do this")]
    NotAllowed,
    #[error("the group takes no more members")]
    Closed,
    #[error("more than {max} members")]
    TooManyMembers { max: usize },
    #[error("in {max} groups already")]
    TooManyGroups { max: usize },
    #[error("no such member")]
    UnknownMember,
    #[error("nobody else on the list")]
    Empty,
    #[error("{what} is longer than {max} bytes")]
    TooLong { what: &'static str, max: usize },
    #[error("a list is for the factory only")]
    ListAtFocus,
    #[error("the nickname is another member's")]
    NicknameTaken,
    #[error("no nickname")]
    NicknameMalformed,
}

impl Refused {
    /// The SIP response.
    pub fn status(self) -> u16 {
        match self {
            Refused::NotFound | Refused::UnknownMember => 404,
            Refused::Gone => 410,
            Refused::NotMember
            | Refused::Removed
            | Refused::Banned
            | Refused::NotAllowed
            | Refused::Closed
            | Refused::NicknameTaken => 403,
            Refused::TooManyMembers { .. } => FULL,
            Refused::TooManyGroups { .. } => 486,
            Refused::Empty | Refused::NicknameMalformed => 400,
            Refused::TooLong { .. } => 413,
            Refused::ListAtFocus => 420,
        }
    }

    /// The code and the text of a Warning, whose host is the server's. (u) 127 is what clients look for: they show the chat
    /// as over.
    pub fn warning(self) -> Option<(u16, &'static str)> {
        Some(match self {
            Refused::NotMember => (127, "Not a member of this chat"),
            Refused::Removed | Refused::Banned => (127, "Removed from this chat"),
            Refused::NotAllowed => (127, "Not allowed in this chat"),
            Refused::Closed => (399, "This chat takes no more members"),
            Refused::TooManyMembers { .. } => (399, "Too many members"),
            Refused::TooManyGroups { .. } => (399, "Too many chats"),
            _ => return None,
        })
    }

    /// The same in MSRP (RFC 4975 §10, RFC 7701 §7.1, §8.2).
    pub fn msrp_status(self) -> u16 {
        match self {
            Refused::NicknameTaken => 425,
            Refused::NicknameMalformed => 424,
            Refused::UnknownMember => 404,
            Refused::NotFound | Refused::Gone => 481,
            Refused::TooLong { .. } => 413,
            _ => 403,
        }
    }
}

/// The answer to a list that is too long. (u) 486 is seen too.
const FULL: u16 = 403;
