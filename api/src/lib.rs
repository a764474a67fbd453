//! HTTP: management, admin API, WebSocket entry.
//!
//! [`management`] is for operators: metrics, health, the admin API under `/api`. [`public`] is for users: a page that
//! says what runs here, the WebSocket entry of SIP (RFC 7118), and the services whose routers it is given, which learn by
//! [`identity`] who asks. What the answers hold comes from the [`Node`] that runs; this crate decides nothing about
//! messages.

mod accounts;
mod body;
pub mod contacts;
mod error;
pub mod files;
pub mod history;
pub mod identity;
pub mod management;
mod node;
mod openapi;
mod pages;
mod presence;
pub mod provisioning;
pub mod public;
mod push;
pub mod serve;
mod trace;
mod transport;
mod websocket;
pub mod xcap;

pub use error::NodeError;
pub use node::*;
pub use presence::{PresenceOf, PublicationOf, WatcherOf};
pub use push::{PushDecision, PushDevice, PushOf, PushTested};
pub use serve::{Door, Limits, OpenDoor, Peer, Server};
pub use transport::NetDoor;
pub use websocket::{Protocol, Upgrade, WebSockets};
