//! Messaging decisions without I/O: pager-mode delivery and what may be sent and kept.

pub mod pager;
mod policy;
pub mod stored;

pub use policy::{Lifetime, MessagePolicy, Refusal, media_type};
