//! SIP without I/O: messages, URIs, headers, transactions, dialogs, proxy and registrar decisions.
//!
//! Bytes and time come in, bytes and deadlines go out; sockets, clocks and storage belong to the caller.

pub mod registrar;
mod transport;

pub use transport::{Flow, Transport};
