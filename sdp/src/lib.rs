//! Session descriptions (RFC 8866), and offer and answer (RFC 3264) for message sessions, without I/O.
//!
//! [`Description`] is any session description: it keeps every line it was read from, so media that nobody here knows
//! survive.

mod description;
mod direction;
mod error;
mod line;
mod media;
mod origin;
mod rules;
#[expect(dead_code, reason = "the rest of the crate comes next")]
mod text;

pub use description::Description;
pub use direction::Direction;
pub use error::ParseError;
pub use line::Line;
pub use media::Media;
pub use origin::{Connection, Origin};
pub use rules::{Leniency, Limits, Rules};
