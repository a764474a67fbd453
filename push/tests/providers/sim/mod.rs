//! Push services as those who make devices run them: HTTP/2 over TLS, and as strict about what they get.

pub mod apple;
pub mod google;
pub mod token;
pub mod web;
pub mod windows;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chappe_push::{Class, Note, Target, Tls};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Seconds since the epoch at which tests begin.
pub const START: u64 = 1_700_000_000;

/// A request as the service got it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub version: Version,
    /// Whether the client has shown a certificate.
    pub certified: bool,
    /// Connections are numbered from 0.
    pub connection: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What the service says.
#[derive(Debug, Clone, Default)]
pub struct Says {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Says {
    pub fn new(status: u16, body: impl Into<String>) -> Says {
        Says { status, body: body.into(), headers: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Says {
        self.headers.push((name, value.into()));
        self
    }
}

/// What makes a service: it judges each request.
pub trait Rules: Send + Sync + 'static {
    fn judge(&self, seen: &Seen, now: u64) -> Says;
}

/// A service on a port of its own, as long as this lives.
pub struct Service<R> {
    pub url: String,
    /// That of its certificate, and of the client's.
    pub root: String,
    /// A certificate and key that it takes from clients.
    pub client: String,
    pub rules: Arc<R>,
    seen: Arc<Mutex<Vec<Seen>>>,
    clock: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl<R> Drop for Service<R> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl<R: Rules> Service<R> {
    pub async fn start(rules: impl FnOnce(&str) -> R) -> Service<R> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let authority = Authority::new();
        let rules = Arc::new(rules(&url));
        let (seen, clock) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(START)));
        let accepting = tokio::spawn(accept(
            listener,
            TlsAcceptor::from(authority.server()),
            Arc::clone(&rules),
            Arc::clone(&seen),
            Arc::clone(&clock),
        ));
        Service { url, root: authority.root.clone(), client: authority.client(), rules, seen, clock, accepting }
    }

    pub fn tls(&self) -> Tls {
        Tls::default().trusting(&self.root).unwrap()
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Moves the clock of the service, and of what it is sent.
    pub fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    pub fn note(&self, class: Class) -> Note {
        Note { class, ttl: class.ttl(), collapse: class.as_str().to_owned(), since: 0, now: self.now() }
    }
}

async fn accept<R: Rules>(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    rules: Arc<R>,
    seen: Arc<Mutex<Vec<Seen>>>,
    clock: Arc<AtomicU64>,
) {
    let connections = AtomicUsize::new(0);
    while let Ok((stream, _)) = listener.accept().await {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        let (acceptor, rules, seen, clock) = (acceptor.clone(), rules.clone(), seen.clone(), clock.clone());
        tokio::spawn(async move { serve(stream, number, acceptor, rules, seen, clock).await });
    }
}

async fn serve<R: Rules>(
    stream: TcpStream,
    connection: usize,
    acceptor: TlsAcceptor,
    rules: Arc<R>,
    seen: Arc<Mutex<Vec<Seen>>>,
    clock: Arc<AtomicU64>,
) {
    let Ok(tls) = acceptor.accept(stream).await else { return };
    let certified = tls.get_ref().1.peer_certificates().is_some();
    let answer = service_fn(move |request: Request<Incoming>| {
        let (rules, seen, clock) = (rules.clone(), seen.clone(), clock.clone());
        async move {
            let (head, body) = request.into_parts();
            let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
            let request = Seen {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
                body: body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
                version: head.version,
                certified,
                connection,
            };
            let says = rules.judge(&request, clock.load(Ordering::Relaxed));
            seen.lock().unwrap().push(request);
            let mut answer = Response::builder().status(says.status);
            for (name, value) in says.headers {
                answer = answer.header(name, value);
            }
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(says.body))).unwrap())
        }
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(tls), answer).await;
}

/// Answers that were laid down for one token, or the next of them for any.
#[derive(Default)]
pub struct Script(Mutex<VecDeque<Says>>);

impl Script {
    pub fn push(&self, says: Says) {
        self.0.lock().unwrap().push_back(says);
    }

    pub fn next(&self) -> Option<Says> {
        self.0.lock().unwrap().pop_front()
    }
}

/// Signs the certificates of a service and its clients.
struct Authority {
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        Authority { root, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn client(&self) -> String {
        let (certificate, key) = self.sign("com.example.app");
        certificate + &key
    }

    fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root.as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = verifier.allow_unauthenticated().build().unwrap();
        let (certificate, key) = self.sign("127.0.0.1");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

pub fn target(provider: &str, param: &str, prid: &str) -> Target {
    Target { provider: provider.into(), param: param.into(), prid: prid.into() }
}

/// The address of a port that nobody listens on.
pub async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
