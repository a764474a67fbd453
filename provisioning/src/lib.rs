//! RCS auto-configuration (GSMA RCC.14): what a handset asks, the document that it gets, and the exchange in between,
//! without I/O.
//!
//! [`Query`] reads a request. [`Exchange`] decides what to do with it: know the number from the access network, send a
//! one-time password, believe a token. [`document`] writes what the handset is told, in the form of its profile.
//!
//! The text of RCC.14 is not public; names and meanings are those that deployed clients use. What could not be checked
//! stands behind one constant or function, marked (u).

mod code;
mod document;
mod exchange;
mod order;
mod profile;
mod query;
mod settings;
mod tree;

pub use code::{CODE_DIGITS, Code};
pub use document::{Account, Message, Token, Version, document};
pub use exchange::{Answer, Arrival, Exchange, ExchangeConfig, Fresh, Known, Pending, SessionId};
pub use order::{BadOrder, Order, Orders};
pub use profile::Profile;
pub use query::{BadQuery, Query};
pub use settings::{Auth, Chat, Files, Lists, Settings, Transport};
pub use tree::Characteristic;
