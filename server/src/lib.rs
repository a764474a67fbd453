//! Chappe: an open RCS and SIP messaging server. This crate is the configuration, the services and the `chappe` binary.

pub mod config;
