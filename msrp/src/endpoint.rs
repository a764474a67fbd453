//! What an endpoint makes of messages that come and go in one session (RFC 4975 §7.1 to §7.3): which are complete, who is
//! answered with what, and when a message of one's own has arrived, was refused or has to be taken for lost.
//!
//! The caller owns connections and transactions; it says here what was read, written, answered and reported.

mod received;
mod sent;

pub use received::{Inbox, InboxLimits, Part, Reception};
pub use sent::{Fate, NewSent, Outbox, OutboxError, Sent};
