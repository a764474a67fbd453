//! HTTP: management, admin API, WebSocket entry.
//!
//! [`management`] is for operators: metrics, health, the admin API under `/api`, the console at `/admin/`. [`public`] is for users: a page that
//! says what runs here, the WebSocket entry of SIP (RFC 7118), and the services whose routers it is given, which learn by
//! [`identity`] who asks. What the answers hold comes from the [`Node`] that runs; this crate decides nothing about
//! messages.

mod accounts;
mod body;
mod console;
pub mod contacts;
mod devices;
mod erasure;
mod error;
mod explain;
pub mod files;
pub mod history;
pub mod identity;
pub mod management;
mod media;
mod node;
mod openapi;
mod pages;
mod presence;
pub mod provisioning;
pub mod public;
mod push;
pub mod serve;
mod system;
pub mod tokens;
mod trace;
mod transport;
pub mod turn;
mod websocket;
pub mod xcap;

pub use devices::{SignedOut, UserDevice};
pub use erasure::{
    ErasureReceipt, Export, ExportedDevice, ExportedDocument, ExportedFile, ExportedGroup, ExportedMessage, Gone, Kept,
};
pub use error::NodeError;
pub use explain::{Explanation, FateEvent, Hop, HopProtocol, RecentMessage, WaitReason, WaitsFor};
pub use media::{MediaCall, MediaDialect, MediaSide};
pub use node::*;
pub use presence::{PresenceOf, PublicationOf, WatcherOf};
pub use push::{PushDecision, PushDevice, PushOf, PushTested};
pub use serve::{Door, Limits, OpenDoor, Peer, Server};
pub use system::{Certificate, ConformanceReport, PushService, System};
pub use trace::{TraceMessage, TracePacket};
pub use transport::NetDoor;
pub use websocket::{Protocol, Upgrade, WebSockets};
