//! SIP without I/O: messages, URIs, headers, transactions, dialogs, proxy and registrar decisions.
//!
//! Bytes and time come in, bytes and deadlines go out; sockets, clocks and storage belong to the caller.

pub mod dialog;
mod digits;
mod edit;
mod error;
pub mod event;
pub mod header;
pub mod layer;
mod limits;
mod message;
pub mod multipart;
mod name;
pub mod outbound;
pub mod proxy;
pub mod registrar;
mod reply;
pub mod text;
pub mod transaction;
mod transport;
pub mod uri;
pub mod usage;

pub use edit::Edit;
pub use error::ParseError;
pub use layer::Layer;
pub use limits::Limits;
pub use message::Message;
pub use name::{HeaderName, Method};
pub use reply::{Reply, reason_phrase};
pub use transport::{Flow, Transport};
pub use uri::{Aor, Scheme, Uri};
