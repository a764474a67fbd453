//! Chappe: an open RCS and SIP messaging server. This crate is the configuration, the services and the `chappe` binary.

pub mod admin;
pub mod config;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod random;
pub mod run_file;
