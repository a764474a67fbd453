//! The transport layer of SIP as the door of the HTTP listeners, and as the owner of their WebSockets.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use chappe_net::{HttpIo, Net, UpgradedSocket};
use tokio::net::TcpStream;

use crate::serve::Door;
use crate::websocket::{Protocol, Upgrade, WebSockets};

/// Leads from the HTTP listeners to a [`Net`].
pub struct NetDoor {
    net: Net,
    listeners: Vec<u16>,
}

impl NetDoor {
    /// `listeners` are the `Ws` and `Wss` listeners of `net`, in the order of the HTTP listeners.
    pub fn new(net: Net, listeners: Vec<u16>) -> NetDoor {
        NetDoor { net, listeners }
    }
}

#[async_trait]
impl Door for NetDoor {
    async fn prepare(&self, listener: usize, tcp: TcpStream, peer: SocketAddr) -> Option<(HttpIo, SocketAddr)> {
        self.net.accept_http(*self.listeners.get(listener)?, tcp, peer).await
    }
}

impl WebSockets for NetDoor {
    fn serves(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Sip
    }

    fn adopt(&self, upgrade: Upgrade, io: HttpIo, read: Bytes) {
        let Some(listener) = self.listeners.get(upgrade.peer.listener) else { return };
        let socket = UpgradedSocket {
            io,
            leftover: read,
            remote: upgrade.peer.remote,
            listener: *listener,
            upgrade: chappe_net::Upgrade {
                host: upgrade.host,
                origin: upgrade.origin,
                path: upgrade.path,
                protocol: upgrade.protocol.name().to_owned(),
                user: None,
            },
        };
        // A peer that is not admitted is closed by the transport layer.
        let _ = self.net.adopt_websocket(socket);
    }
}
