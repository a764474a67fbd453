//! The MSRP relay (RFC 4976), which streams chunks between connections without holding messages, and the sessions that
//! end at the server itself ([`endpoint`]).
//!
//! A read is parsed and each piece goes to the way out of the connection it is for; what was touched is written at the
//! end of the read. Memory is bounded for each stream: above its high mark nothing more is read from its source.
//!
//! ```text
//! read ─▶ Inbound (parser, where the chunk goes) ─▶ Outbound of the next hop (streams in turn) ─▶ write
//!                    ◀── pause ── stream above its mark        ── writable, stream below its mark ─▶ resume
//! ```
//!
//! Locks: a connection's Inbound is held by its reader only, and an Outbound only for a moment, one at a time.

mod auth;
mod connection;
mod counters;
mod dial;
pub mod endpoint;
mod frames;
mod link;
mod list;
mod local;
mod pump;
mod refusal;
mod relay;
mod session;
mod tick;

pub use counters::Counters;
pub use local::Local;
pub(crate) use pump::SOCKET_MARK;
pub use relay::{Accounts, Front, Relay, Settings};

#[cfg(test)]
mod tests;
