//! Messaging decisions without I/O: pager-mode delivery, chat sessions, and what may be sent and kept.
//!
//! [`Capabilities`] says how a device takes messages; [`invitation`] reads the INVITE of a session, [`outgoing`] writes
//! one.

mod access;
pub mod invitation;
pub mod outgoing;
pub mod pager;
mod policy;
pub mod stored;

pub use access::{Access, Capabilities, Service};
pub use policy::{Lifetime, MessagePolicy, Refusal, media_type};
