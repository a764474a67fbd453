//! What a proxy decides for each request and response (RFC 3261 §16), without sockets, clock or transactions.
//!
//! In order: [`validate`] (§16.3), [`route`] (§16.4), the target set (§16.5, by the caller from its bindings, with
//! [`preferences`]), [`next_hop`] and [`forward`] (§16.6), [`ResponseContext`] for the branches and [`strip_via`]
//! for responses (§16.7). Resolution of host names (RFC 3263) and transactions belong to others.

mod branch;
mod context;
mod forward;
pub mod identity;
mod local;
pub mod overload;
pub mod preferences;
mod response;
mod route;
#[cfg(test)]
mod scenarios;
mod validate;

pub use branch::{BranchParts, branch, loop_hash, stateless_branch};
pub use context::{Action, Actions, CancelReason, Candidate, Failure, Final, ForkPolicy, ResponseContext};
pub use forward::{Change, Forward, Hop, NextHop, RecordRoute, Target, forward, must_record_route, next_hop};
pub use local::{Listener, Local};
pub use response::{forward_response, merge_challenges, strip_via};
pub use route::{Destination, Routed, route};
pub use validate::{ProxyPolicy, Reject, validate};
