//! UDP, TCP, TLS and WebSocket listeners, flows and their reuse, DNS.
//!
//! A message meets no task hop here: the thread that read it calls [`Events::message`] and then sends what that put
//! into its [`Outbox`]. Datagrams are received by threads that block, connections by one small tokio task each, and
//! any thread may write to any connection.
//!
//! Listeners with [`ListenerConfig::raw`] hand over bytes instead of messages ([`Events::data`]), for MSRP.

mod buffers;
mod config;
mod connect;
mod connection;
mod counters;
mod events;
pub mod frame;
mod http;
mod listen;
mod net;
mod network;
mod outbox;
mod proxy_protocol;
pub mod resolve;
mod stun;
mod table;
mod tls;
mod udp;
mod websocket;
mod wire;

pub use config::{Config, HostPort, Limits, ListenerConfig, ListenerError, MakeFramer};
pub use counters::{Count, Counters, TransportCounters};
pub use events::{CloseReason, ConnectionInfo, Events, PeerIdentity, Reading, Upgrade};
pub use frame::{FrameError, Framer};
pub use http::{HttpIo, UpgradedSocket};
pub use net::{ListenerInfo, Net, StartError};
pub use network::{Network, NetworkError};
pub use outbox::{Outbox, SendError, Target};
pub use resolve::{DeadTargets, Lookup, Query, ResolveConfig, ResolveError, Resolver};
pub use tls::{CertificateFiles, ClientAuth, Fingerprint, Fingerprints, Proof, TlsConfig, TlsError, Verify};
