//! Raw connections that we open, and what their peers prove.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use chappe_net::{
    CertificateFiles, ClientAuth, Config, Fingerprint, Fingerprints, Outbox, Proof, SendError, Target, Verify,
};
use chappe_sip::{Flow, Transport};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use support::raw::{Seen, Server, echo, sink};
use support::read_exact;

const TLS: &[&str] = &["tls://127.0.0.1:0"];

fn send(server: &Server, flow: Flow, text: &'static str, tag: u64) {
    let mut out = Outbox::new();
    out.send(flow, Bytes::from_static(text.as_bytes()), tag);
    server.net.flush(&mut out);
}

#[test]
fn what_is_sent_before_a_connection_is_open_waits() {
    let server = sink(TLS, |_| {});
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    // There is no TCP listener, and none is needed.
    let target = Target::new(Transport::Tcp, peer.local_addr().unwrap());
    let flow = server.net.connect(&target, &Proof::Host).unwrap();
    send(&server, flow, "one ", 1);
    send(&server, flow, "two ", 2);
    assert_eq!(server.net.connect(&target, &Proof::Domain), Ok(flow), "without TLS nothing is proved");
    send(&server, flow, "three", 3);
    let (mut stream, _) = peer.accept().unwrap();
    assert_eq!(read_exact(&mut stream, 13), "one two three");
    let (opened, info) = server.opened();
    assert_eq!((opened, info.outbound, info.local), (flow, true, stream.peer_addr().ok()));
    assert_eq!(server.net.connect(&target, &Proof::Host), Ok(flow), "and used again");
}

#[test]
fn a_refused_connection_fails_what_waits_for_it() {
    let server = sink(TLS, |config| {
        config.limits.backlog = 100;
        config.next_hops = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    });
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = SendError::Connect(std::io::ErrorKind::ConnectionRefused);
    let mut out = Outbox::new();
    let target = Target::new(Transport::Tcp, closed);
    for tag in [1, 2] {
        out.to(target.clone(), Bytes::from_static(&[0; 50]), tag);
    }
    server.net.flush(&mut out);
    for tag in [1, 2] {
        assert!(matches!(server.next(), Seen::Failed(failed, error) if (failed, error) == (tag, refused)));
    }
    assert!(matches!(server.next(), Seen::Unconnected(_, error) if error == refused));
    let flow = server.net.connect(&target, &Proof::Domain).unwrap();
    assert!(matches!(server.next(), Seen::Unconnected(failed, error) if (failed, error) == (flow, refused)));
    send(&server, flow, "late", 3);
    assert!(matches!(server.next(), Seen::Failed(3, SendError::Gone)));
    let far = Target::new(Transport::Tcp, "192.0.2.1:2855".parse().unwrap());
    assert_eq!(server.net.connect(&far, &Proof::Domain), Err(SendError::Forbidden));
    let udp = Target::new(Transport::Udp, closed);
    assert_eq!(server.net.connect(&udp, &Proof::Domain), Err(SendError::Unsupported));
    assert_eq!(server.net.connections(), 0);
}

#[test]
fn what_waits_for_a_connection_is_bounded() {
    let server = sink(TLS, |config| {
        config.limits.backlog = 100;
        config.limits.connect_timeout = Duration::from_secs(1);
    });
    // Accepts by itself, and never says a word of TLS.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new(Transport::Tls, silent.local_addr().unwrap());
    let flow = server.net.connect(&target, &Proof::Domain).unwrap();
    let piece = Bytes::from_static(&[0; 60]);
    let mut out = Outbox::new();
    out.send(flow, piece.clone(), 1);
    server.net.flush(&mut out);
    assert_eq!(server.net.queued(&flow), 60);
    out.send(flow, piece, 2);
    server.net.flush(&mut out);
    assert!(matches!(server.next(), Seen::Failed(2, SendError::Backlog)));
    assert!(matches!(server.next(), Seen::Failed(1, SendError::Timeout)));
    assert!(matches!(server.next(), Seen::Unconnected(failed, SendError::Timeout) if failed == flow));
}

fn flipped(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] ^= 1;
    bytes
}

#[test]
fn a_self_signed_peer_is_known_by_its_hash() {
    let callee = echo(TLS, |config| config.listeners[0].client_auth = Some(ClientAuth::Fingerprint));
    let caller = sink(TLS, |config| config.tls.verify = Verify::Files(Vec::new()));
    let theirs = callee.net.own_fingerprints(None).unwrap();
    let mut target = Target::new(Transport::Tls, callee.address());
    target.server_name = Some("whoever.invalid".into());
    let sha256 = Proof::Certificate(Fingerprint::Sha256(theirs.sha256));
    let wrong = Proof::Certificate(Fingerprint::Sha256(flipped(theirs.sha256)));
    for proof in [wrong, Proof::Domain, Proof::Host] {
        let flow = caller.net.connect(&target, &proof).unwrap();
        assert!(matches!(caller.next(), Seen::Unconnected(failed, SendError::Tls) if failed == flow), "{proof:?}");
    }
    let mut flows = Vec::new();
    for (name, proof) in [
        (Some("whoever.invalid"), sha256),
        (Some("whoever.invalid"), Proof::Certificate(Fingerprint::Sha1(theirs.sha1))),
        (None, sha256),
    ] {
        target.server_name = name.map(Into::into);
        let flow = caller.net.connect(&target, &proof).unwrap();
        let (opened, info) = caller.opened();
        assert_eq!((opened, info.fingerprints, info.peer), (flow, Some(theirs), None));
        let (there, info) = callee.opened();
        assert_eq!((info.fingerprints, info.peer), (caller.net.own_fingerprints(None), None));
        assert!(!callee.net.alias(&there, there.remote), "its names are not verified");
        send(&caller, flow, "hello", 1);
        assert_eq!((callee.data(), caller.data()), (b"hello".to_vec(), b"hello".to_vec()));
        assert_eq!(caller.net.connect(&target, &proof), Ok(flow));
        assert_eq!(caller.net.reuse(&target), None, "a hash is no name");
        flows.push(flow);
    }
    flows.sort_by_key(|flow| flow.connection);
    flows.dedup();
    assert_eq!(flows.len(), 3);
}

/// A certificate for `name`, and the authority for it, in `directory`.
fn signed(directory: &std::path::Path, name: &str) -> (CertificateFiles, std::path::PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = directory.join("ca.pem");
    fs::write(&authority, params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    // With such a name the others mean nothing to SIP.
    params.subject_alt_names.push(rcgen::SanType::URI("sip:sip.example".try_into().unwrap()));
    let key = KeyPair::generate().unwrap();
    let files = CertificateFiles { certificate: directory.join("a.pem"), key: directory.join("a.key") };
    fs::write(&files.certificate, params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    (files, authority)
}

#[test]
fn hosts_are_known_by_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let (files, authority) = signed(directory.path(), "*.example.com");
    let known = Fingerprints::of(&CertificateDer::from_pem_file(&files.certificate).unwrap());
    let both = |config: &mut Config| {
        config.tls.certificates = vec![files.clone()];
        config.tls.client_authorities = vec![authority.clone()];
        config.tls.verify = Verify::Files(vec![authority.clone()]);
        config.listeners[0].client_auth = Some(ClientAuth::Fingerprint);
    };
    let (callee, caller) = (sink(TLS, both), sink(TLS, both));
    let mut target = Target::new(Transport::Tls, callee.address());
    for (name, proof, good) in [
        ("a.example.com", Proof::Host, true),
        ("b.a.example.com", Proof::Host, false),
        ("sip.example", Proof::Host, false),
        ("a.example.com", Proof::Domain, false),
        ("sip.example", Proof::Domain, true),
    ] {
        target.server_name = Some(name.into());
        let flow = caller.net.connect(&target, &proof).unwrap();
        match caller.next() {
            Seen::Opened(opened, info) => {
                assert!(good && opened == flow && info.peer.is_some(), "{name}");
                let (_, info) = callee.opened();
                assert_eq!((info.fingerprints, info.server_name.as_deref()), (Some(known), Some(name)));
                // Not asked for in the handshake, yet it leads to an authority.
                assert_eq!(info.peer.unwrap().names, ["*.example.com"]);
            }
            Seen::Unconnected(failed, SendError::Tls) => assert!(!good && failed == flow, "{name}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_client_without_a_certificate_is_welcome_where_hashes_are_compared() {
    let callee = sink(TLS, |config| config.listeners[0].client_auth = Some(ClientAuth::Fingerprint));
    let caller = sink(&["tcp://127.0.0.1:0"], |config| config.tls.verify = Verify::Nothing);
    assert_eq!(caller.net.own_fingerprints(None), None);
    let flow = caller.net.connect(&Target::new(Transport::Tls, callee.address()), &Proof::Host).unwrap();
    assert_eq!(caller.opened().0, flow);
    let (_, info) = callee.opened();
    assert_eq!((info.fingerprints, info.peer), (None, None));
    let mut plain = support::connect(callee.address());
    support::write(&mut plain, "MSRP a SEND\r\n");
    let _ = plain.read_to_end(&mut Vec::new());
}
