//! TLS over real sockets, in both directions, and the PROXY protocol.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chappe_net::{CertificateFiles, ClientAuth, CloseReason, Config, Outbox, SendError, Target, Verify};
use chappe_sip::Transport;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use support::{Seen, Server, connect, options, read_exact, write};

/// An authority and what it signs, as files.
struct Authority {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Authority { directory, issuer: Issuer::new(params, key) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn sign(&self, file: &str, names: &[&str], uri: Option<&str>) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if let Some(uri) = uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles {
            certificate: self.directory.path().join(format!("{file}.pem")),
            key: self.directory.path().join(format!("{file}.key")),
        };
        fs::write(&files.key, key.serialize_pem()).unwrap();
        fs::write(&files.certificate, signed.pem()).unwrap();
        files
    }
}

struct Client<'a> {
    authority: &'a Path,
    versions: &'a [&'static SupportedProtocolVersion],
    certificate: Option<&'a CertificateFiles>,
}

impl Client<'_> {
    fn connect(&self, address: SocketAddr, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match self.certificate {
            Some(files) => {
                let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let session = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        StreamOwned::new(session, connect(address))
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

fn serve(certificates: Vec<CertificateFiles>) -> impl FnOnce(&mut Config) {
    move |config| config.tls.certificates = certificates
}

#[test]
fn both_versions_and_names() {
    let authority = Authority::new();
    let files = vec![authority.sign("a", &["a.example"], None), authority.sign("b", &["b.example"], None)];
    let server = Server::echo(&["tls://127.0.0.1:0"], serve(files));
    for version in [&version::TLS13, &version::TLS12] {
        for name in ["a.example", "b.example"] {
            let client = Client { authority: &authority.path(), versions: &[version], certificate: None };
            let mut stream = client.connect(server.address(0), name);
            let text = options(1, &"x".repeat(50_000));
            write(&mut stream, &text);
            assert_eq!(read_exact(&mut stream, text.len()), text);
            let (flow, info) = server.opened();
            assert_eq!((flow.transport, info.server_name.as_deref(), info.peer), (Transport::Tls, Some(name), None));
            assert_eq!(server.message().1, text);
            write(&mut stream, "\r\n\r\n");
            assert_eq!(read_exact(&mut stream, 2), "\r\n");
            assert!(!server.net.alias(&flow, flow.remote), "only for verified peers");
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            assert_eq!(server.closed(), CloseReason::Peer);
        }
    }
}

#[test]
fn a_self_signed_certificate_serves_without_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let server = Server::echo(&["tls://127.0.0.1:0"], |config| config.tls.data_dir = Some(path));
    let certificate = directory.path().join("self-signed.pem");
    let client = Client { authority: &certificate, versions: BOTH, certificate: None };
    let mut stream = client.connect(server.address(0), "localhost");
    let text = options(1, "");
    write(&mut stream, &text);
    assert_eq!(read_exact(&mut stream, text.len()), text);
}

#[test]
fn garbage_and_silence_do_not_disturb_others() {
    let authority = Authority::new();
    let files = vec![authority.sign("a", &["a.example"], None)];
    let server = Server::echo(&["tls://127.0.0.1:0"], |config| {
        config.tls.certificates = files;
        config.limits.handshakes = 1;
        config.limits.handshake_timeout = Duration::from_millis(500);
    });
    let mut silent = connect(server.address(0));
    let mut half = connect(server.address(0));
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").unwrap();
    for garbage in [&b"OPTIONS sip:x SIP/2.0\r\n\r\n"[..], &[0xff; 300], b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"] {
        let mut stream = connect(server.address(0));
        stream.write_all(garbage).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let client = Client { authority: &authority.path(), versions: BOTH, certificate: None };
    let mut stream = client.connect(server.address(0), "a.example");
    let text = options(1, "");
    write(&mut stream, &text);
    assert_eq!(read_exact(&mut stream, text.len()), text);
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    let _ = half.read_to_end(&mut Vec::new());
    assert_eq!(server.net.counters().handshake_failures.get(), 5);
    server.opened();
    server.message();
    // Rubbish inside an open session ends that one.
    stream.sock.write_all(b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
    assert_eq!(server.closed(), CloseReason::Protocol);
}

#[test]
fn what_a_slow_tls_peer_is_owed_arrives_in_order() {
    let authority = Authority::new();
    let files = vec![authority.sign("a", &["a.example"], None)];
    let server = Server::echo(&["tls://127.0.0.1:0"], |config| {
        config.tls.certificates = files;
        config.limits.backlog = 64_000_000;
    });
    let client = Client { authority: &authority.path(), versions: BOTH, certificate: None };
    let mut stream = client.connect(server.address(0), "a.example");
    write(&mut stream, "\r\n\r\n");
    assert_eq!(read_exact(&mut stream, 2), "\r\n");
    let (flow, _) = server.opened();
    let mut expected = Vec::new();
    for n in 0..200u32 {
        let piece = vec![n as u8; 100_000 + n as usize];
        expected.extend_from_slice(&piece);
        server.net.send(&flow, Bytes::from(piece)).unwrap();
    }
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == expected);
}

#[test]
fn client_certificates() {
    let authority = Authority::new();
    let ours = authority.sign("server", &["a.example"], None);
    let theirs = authority.sign("client", &["dns.example"], Some("sip:example.org"));
    let server = Server::echo(&["tls://127.0.0.1:0"], |config| {
        config.tls.certificates = vec![ours];
        config.tls.client_auth = ClientAuth::Required;
        config.tls.client_authorities = vec![authority.path()];
    });
    let path = authority.path();
    let mut client = Client { authority: &path, versions: BOTH, certificate: None };
    let mut refused = client.connect(server.address(0), "a.example");
    let _ = refused.write_all(b"\r\n\r\n");
    assert!(refused.read_exact(&mut [0; 2]).is_err());
    client.certificate = Some(&theirs);
    let mut stream = client.connect(server.address(0), "a.example");
    write(&mut stream, "\r\n\r\n");
    assert_eq!(read_exact(&mut stream, 2), "\r\n");
    let (flow, info) = server.opened();
    let peer = info.peer.unwrap();
    assert!(peer.is_domain("example.org") && !peer.is_domain("dns.example"), "{peer:?}");
    let listens = SocketAddr::new(flow.remote.ip(), 5061);
    assert_eq!(server.net.reuse(&Target::new(Transport::Tls, listens)), None);
    assert!(server.net.alias(&flow, listens));
    assert!(!server.net.alias(&flow, "192.0.2.1:5061".parse().unwrap()), "another host");
    assert_eq!(server.net.reuse(&Target::new(Transport::Tls, listens)), Some(flow));
}

#[test]
fn changed_files_serve_new_connections_and_keep_old_ones() {
    let (authority, next) = (Authority::new(), Authority::new());
    let files = authority.sign("a", &["a.example"], None);
    let server = Server::echo(&["tls://127.0.0.1:0"], serve(vec![files.clone()]));
    let old = Client { authority: &authority.path(), versions: BOTH, certificate: None };
    let mut stream = old.connect(server.address(0), "a.example");
    let text = options(1, "");
    write(&mut stream, &text);
    assert_eq!(read_exact(&mut stream, text.len()), text);
    let newer = next.sign("n", &["a.example"], None);
    fs::copy(&newer.key, &files.key).unwrap();
    fs::copy(&newer.certificate, &files.certificate).unwrap();
    let new = Client { authority: &next.path(), versions: BOTH, certificate: None };
    let end = Instant::now() + support::WAIT;
    loop {
        let mut stream = new.connect(server.address(0), "a.example");
        if stream.write_all(text.as_bytes()).is_ok() && stream.read_exact(&mut [0; 10]).is_ok() {
            break;
        }
        assert!(Instant::now() < end, "the new certificate never came");
    }
    assert_eq!(server.net.counters().certificate_reloads.get(), 1);
    write(&mut stream, &text);
    assert_eq!(read_exact(&mut stream, text.len()), text);
}

#[test]
fn connecting_verifies_the_domain() {
    let authority = Authority::new();
    let files = vec![authority.sign("a", &["a.example"], Some("sip:example.org"))];
    let callee = Server::echo(&["tls://127.0.0.1:0"], serve(files));
    let caller = Server::new(
        &["tls://127.0.0.1:0"],
        |config| config.tls.verify = Verify::Files(vec![authority.path()]),
        Box::new(|_, _, _| {}),
    );
    let text = Bytes::from(options(1, "hello"));
    let mut target = Target::new(Transport::Tls, callee.address(0));
    for (tag, name) in [(1, None), (2, Some("a.example")), (3, Some("other.example"))] {
        target.server_name = name.map(Into::into);
        let mut out = Outbox::new();
        out.to(target.clone(), text.clone(), tag);
        caller.net.flush(&mut out);
        assert_eq!(caller.failed(), (tag, SendError::Tls), "{name:?}");
    }
    target.server_name = Some("Example.org".into());
    let mut out = Outbox::new();
    out.to(target.clone(), text.clone(), 4);
    caller.net.flush(&mut out);
    let (flow, info) = caller.opened();
    assert!(info.outbound && info.peer.unwrap().is_domain("example.org"));
    assert_eq!(caller.message(), (flow, text.clone()));
    assert_eq!(caller.net.reuse(&target), Some(flow));
    target.server_name = Some("other.example".into());
    assert_eq!(caller.net.reuse(&target), None, "the peer has not proved that name");
    loop {
        if let Seen::Message(_, bytes) = callee.next() {
            assert_eq!(bytes, text);
            break;
        }
    }
}

#[test]
fn proxy_header_tells_the_peer() {
    let server = Server::echo(&["tcp://127.0.0.1:0"], |config| {
        config.listeners[0].proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut stream = connect(server.address(0));
    let text = options(1, "");
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x13\xc4\0\x50";
    write(&mut stream, [&header[..], text.as_bytes()].concat());
    assert_eq!(read_exact(&mut stream, text.len()), text);
    let (flow, info) = server.opened();
    assert_eq!(flow.remote, "192.0.2.7:5060".parse().unwrap());
    assert_eq!(info.proxy, Some(stream.local_addr().unwrap()));
    let mut without = connect(server.address(0));
    write(&mut without, &text);
    assert_eq!(without.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(server.net.counters().proxy_header_errors.get(), 1);
}
