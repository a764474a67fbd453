//! Black-box conformance suites and load generators; uses none of the server crates.
//!
//! [`run`] sends raw text to a target and judges what comes back, rule by rule; [`list`] names the rules; [`load`] measures.
//! Its own parsers are `rsip` and one for MSRP, so that a fault of the server's parser cannot hide itself. Traffic goes to the
//! target's address only.

mod case;
mod digest;
mod handset;
mod html;
mod http;
mod link;
pub mod load;
mod message;
mod msrp;
mod push;
mod report;
mod runner;
mod suite;
mod target;
mod tls;
mod ua;
mod vectors;
mod ws;

pub use case::Level;
pub use report::{Report, Status, Tested};
pub use runner::{Listed, list, run};
pub use target::{Account, Options, Proto, Target, TargetError};
