//! Registrar decisions (RFC 3261 §10, RFC 5626 §6, RFC 5627).

mod binding;

pub use binding::Binding;
