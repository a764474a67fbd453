//! Chappe: an open RCS and SIP messaging server. This crate is the configuration, the services and the `chappe` binary.

pub mod accounts;
pub mod admin;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod http;
pub mod limits;
pub mod listeners;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod notify;
pub mod random;
pub mod run_file;
