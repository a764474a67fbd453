//! The seam to the HTTP server: its connections, and those that become WebSockets (RFC 6455 §4, RFC 7118 §4).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chappe_sip::Flow;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::events::{ConnectionInfo, Upgrade};
use crate::listen;
use crate::net::Net;
use crate::tls::Fingerprints;
use crate::websocket::WebSocket;
use crate::wire::Wire;

/// A connection of the HTTP server. Its type is known, so that an upgraded connection can be taken apart again.
#[derive(Debug)]
pub enum HttpIo {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that an HTTP server has upgraded to a WebSocket, its 101 sent.
#[derive(Debug)]
pub struct UpgradedSocket {
    pub io: HttpIo,
    /// What the HTTP server read behind the request.
    pub leftover: Bytes,
    pub remote: SocketAddr,
    /// Index of the WebSocket listener in the `Net` that takes the socket over, which says whether the flow is `Ws` or
    /// `Wss`, raw or not. That `Net` need not be the one that accepted the connection: where one serves SIP and another
    /// MSRP, [`Upgrade::protocol`] chooses.
    pub listener: u16,
    pub upgrade: Upgrade,
}

impl Net {
    /// Prepares a connection that the HTTP server accepted on the address of a WebSocket listener: PROXY header,
    /// [`crate::Events::admit`] and TLS, with the limits of all handshakes. Returns it with the peer's address. `None`: it failed and is closed.
    pub async fn accept_http(
        &self,
        listener: u16,
        mut tcp: TcpStream,
        peer: SocketAddr,
    ) -> Option<(HttpIo, SocketAddr)> {
        let net = self.inner();
        let config = &net.listeners.get(usize::from(listener))?.config;
        if net.is_full() {
            net.counters.over_limit.one();
            return None;
        }
        let _preparing = listen::Preparing::new(net);
        listen::tune(&tcp, &net.limits);
        let remote = listen::behind_proxy(net, listener, &mut tcp, peer).await?;
        if !listen::is_welcome(net, config.transport, remote) {
            return None;
        }
        if !config.transport.is_secure() {
            return Some((HttpIo::Plain(tcp), remote));
        }
        let tls = net.tls.server(config.client_auth)?.https.clone();
        let stream = listen::handshake(net, tls, tcp).await?;
        Some((HttpIo::Tls(Box::new(stream)), remote))
    }

    /// Takes over a WebSocket. Its messages, or the bytes of them, come as those of every flow. `None`: the peer is not
    /// admitted, there are too many connections, or no such listener of that sub-protocol; the connection is closed.
    pub fn adopt_websocket(&self, socket: UpgradedSocket) -> Option<Flow> {
        let net = self.inner();
        let UpgradedSocket { io, leftover, remote, listener, upgrade } = socket;
        let config = &net.listeners.get(usize::from(listener))?.config;
        let transport = config.transport;
        if !transport.is_websocket() || !upgrade.protocol.eq_ignore_ascii_case(config.subprotocol) {
            return None;
        }
        if net.is_full() {
            net.counters.over_limit.one();
            return None;
        }
        let ticket = listen::admit(net, transport, remote)?;
        let mut info = ConnectionInfo { upgrade: Some(upgrade), ..ConnectionInfo::default() };
        let mut wire = match io {
            HttpIo::Plain(tcp) => {
                info.local = tcp.local_addr().ok();
                Wire::plain(tcp)
            }
            HttpIo::Tls(stream) => {
                let (tcp, session) = stream.into_inner();
                info.local = tcp.local_addr().ok();
                info.server_name = session.server_name().map(str::to_owned);
                // HTTP listeners take no certificate that is not verified.
                let shown = session.peer_certificates().and_then(<[_]>::first);
                info.peer = shown.map(crate::tls::identity);
                info.fingerprints = shown.map(|certificate| Fingerprints::of(certificate));
                Wire::tls(tcp, rustls::Connection::Server(session))
            }
        };
        let websocket = if config.raw { WebSocket::raw() } else { WebSocket::new(&net.limits) };
        wire.websocket = Some(Box::new(websocket));
        wire.put_back(leftover);
        Some(listen::open(net, listener, transport, remote, wire, None, info, ticket))
    }
}

impl AsyncRead for HttpIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HttpIo::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            HttpIo::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            HttpIo::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            HttpIo::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            HttpIo::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            HttpIo::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HttpIo::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            HttpIo::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HttpIo::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            HttpIo::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
