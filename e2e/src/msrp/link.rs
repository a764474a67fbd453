//! A connection that reads and writes as the socket allows, so that neither waits for the other.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::wire::{connect, frame, unframe, websocket};
use crate::{PATIENCE, Server};

/// How a client comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Tcp,
    Tls,
    Ws,
}

impl Via {
    pub const ALL: [Via; 3] = [Via::Tcp, Via::Tls, Via::Ws];
}

/// Dropped, it closes.
#[derive(Debug)]
pub struct Link {
    pub via: Via,
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What waits for the socket, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// WebSocket frames that are not whole yet.
    raw: Vec<u8>,
    /// The server has closed.
    pub ended: bool,
}

impl Link {
    /// Connects.
    ///
    /// # Panics
    /// When the server does not take it.
    #[must_use]
    pub fn open(server: &Server, via: Via) -> Link {
        let stream = match via {
            Via::Tcp => connect(server.msrp("tcp")),
            Via::Tls => connect(server.msrp("tls")),
            Via::Ws => websocket(server.addr("http"), "msrp"),
        };
        Link::over(stream, via)
    }

    /// Connects to any address of a server, by TCP; `None` when nobody takes it.
    #[must_use]
    pub fn to(addr: std::net::SocketAddr) -> Option<Link> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Link::over(stream, Via::Tcp))
    }

    fn over(stream: TcpStream, via: Via) -> Link {
        stream.set_nonblocking(true).expect("a socket can be made non-blocking");
        let tls = (via == Via::Tls).then(|| {
            let name = ServerName::try_from(crate::DOMAIN).expect("a name");
            Box::new(ClientConnection::new(any_certificate(), name).expect("a TLS client"))
        });
        Link { via, stream, tls, out: Vec::new(), written: 0, raw: Vec::new(), ended: false }
    }

    /// Bounds what the kernel takes in for us, so that we look slow to the server when we do not read.
    pub fn small_buffer(&self) {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.stream, 8 * 1024).expect("a size");
    }

    /// Closes with a reset, not after what is under way.
    pub fn reset(self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    /// The host and port of this end.
    #[must_use]
    pub fn local(&self) -> std::net::SocketAddr {
        self.stream.local_addr().expect("an open socket has an address")
    }

    /// Puts bytes on the way out; over WebSocket they are one message.
    pub fn put(&mut self, bytes: &[u8]) {
        if self.written > 1 << 16 {
            self.out.drain(..std::mem::take(&mut self.written));
        }
        match self.via {
            Via::Ws => self.out.extend_from_slice(&frame(0x82, bytes)),
            _ => self.out.extend_from_slice(bytes),
        }
    }

    /// For a wait on many: whether something can be read, or what waits be written.
    #[must_use]
    pub fn wish(&self) -> PollFd<'_> {
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, self.is_writing());
        PollFd::new(&self.stream, wanted)
    }

    /// Bytes that the socket has not taken.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether something waits for the socket.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.queued() > 0 || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Waits until something can be written or up to `most` bytes read, at the latest until `deadline`, and does it.
    /// What came is behind `input`. With `most` 0 nothing is read.
    pub fn step(&mut self, input: &mut Vec<u8>, most: usize, deadline: Instant) {
        if let Err(error) = self.try_step(input, most, deadline) {
            let gone = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof];
            assert!(gone.contains(&error.kind()), "a connection failed with {error}");
            self.ended = true;
        }
    }

    fn try_step(&mut self, input: &mut Vec<u8>, most: usize, deadline: Instant) -> io::Result<()> {
        let before = (self.queued(), input.len());
        self.write()?;
        self.read(input, most)?;
        if self.ended || (self.queued(), input.len()) != before {
            return Ok(());
        }
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::OUT, self.is_writing());
        wanted.set(PollFlags::IN, most > 0);
        let left = deadline.saturating_duration_since(Instant::now());
        let time = Timespec::try_from(left).expect("a time");
        match poll(&mut [PollFd::new(&self.stream, wanted)], Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.write()?;
        self.read(input, most)
    }

    fn write(&mut self) -> io::Result<()> {
        loop {
            let waiting = &self.out[self.written..];
            let result = match &mut self.tls {
                None if waiting.is_empty() => return Ok(()),
                None => self.stream.write(waiting).inspect(|taken| self.written += taken),
                Some(tls) => {
                    if !waiting.is_empty() {
                        self.written += tls.writer().write(waiting)?;
                    }
                    if !tls.wants_write() {
                        return Ok(());
                    }
                    tls.write_tls(&mut self.stream)
                }
            };
            match result {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
            }
        }
    }

    fn read(&mut self, input: &mut Vec<u8>, most: usize) -> io::Result<()> {
        let mut chunk = [0; 65_536];
        let mut left = most;
        while left > 0 && !self.ended {
            let result = match &mut self.tls {
                None => {
                    let size = left.min(chunk.len());
                    let result = self.stream.read(&mut chunk[..size]);
                    let got = result.as_ref().map_or(0, |got| *got);
                    if self.via == Via::Ws { &mut self.raw } else { &mut *input }.extend_from_slice(&chunk[..got]);
                    result
                }
                Some(tls) => {
                    let result = tls.read_tls(&mut self.stream);
                    tls.process_new_packets().map_err(io::Error::other)?;
                    loop {
                        match tls.reader().read(&mut chunk) {
                            Ok(0) => break self.ended = true,
                            Ok(got) => input.extend_from_slice(&chunk[..got]),
                            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                            Err(error) => return Err(error),
                        }
                    }
                    result
                }
            };
            match result {
                Ok(0) => self.ended = true,
                Ok(got) => left = left.saturating_sub(got),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while let Some((kind, payload)) = unframe(&mut self.raw) {
            match kind {
                1 | 2 => input.extend_from_slice(&payload),
                8 => self.ended = true,
                9 => self.out.extend_from_slice(&frame(0x8a, &payload)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The moment after which the test has failed.
#[must_use]
pub fn patience() -> Instant {
    Instant::now() + PATIENCE
}

/// The testbed signs its own certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn any_certificate() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has all versions");
        let verifier = Arc::new(AnyCertificate(provider));
        Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    });
    Arc::clone(config)
}
