//! TLS configuration for both directions (RFC 3261 §26.3, RFC 5922).

mod certificates;
mod proof;
mod signatures;
mod verify;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, KeyLogFile, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

pub use proof::{Fingerprint, Fingerprints, Proof};
pub(crate) use verify::{identity, server_name};

use crate::counters::Counters;
use crate::events::{ConnectionInfo, PeerIdentity};
use certificates::Certificates;
use proof::AnyClient;
use verify::{Expected, Verifier};

/// Certificates and what is asked of peers.
#[derive(Debug, Clone, Default)]
pub struct TlsConfig {
    /// The first serves clients that name no host, or one that no certificate is for. With none, a self-signed
    /// certificate is made.
    pub certificates: Vec<CertificateFiles>,
    /// Where the self-signed certificate is kept over restarts; `None`: a new one each time.
    pub data_dir: Option<PathBuf>,
    /// Domains of the self-signed certificate, besides `localhost`.
    pub domains: Vec<String>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Files with the authorities for client certificates.
    pub client_authorities: Vec<PathBuf>,
    /// How servers that we connect to are verified.
    pub verify: Verify,
    /// Write session secrets to the file named by the environment variable `SSLKEYLOGFILE`, for debugging: whoever
    /// reads it can read the traffic.
    pub key_log: bool,
}

/// Two PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate with its intermediates.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Mutual TLS on our listeners.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    Off,
    /// Verified where the client has one.
    Optional,
    /// Handshakes without one fail.
    Required,
    /// Asked for and taken as it is: the user compares [`ConnectionInfo::fingerprints`] with what it expects
    /// (RFC 8122 §6). The peer's identity is told where its certificate leads to the authorities, if there are any.
    /// HTTP listeners do not ask for one then.
    Fingerprint,
}

/// Verification of servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verify {
    /// With the authorities of the system.
    #[default]
    System,
    /// With the authorities in these PEM files and no other.
    Files(Vec<PathBuf>),
    /// Not at all: anybody on the way can read and change the traffic.
    Nothing,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {error}")]
    File { path: PathBuf, error: rustls_pki_types::pem::Error },
    #[error("no certificate in {path}")]
    NoCertificate { path: PathBuf },
    #[error("certificate {path} does not go with its key: {error}")]
    Pair { path: PathBuf, error: rustls::Error },
    #[error("client certificates are wanted without client_authorities")]
    NoAuthorities,
    #[error("cannot use the client authorities: {0}")]
    Authorities(rustls::server::VerifierBuilderError),
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    #[error("cannot keep the self-signed certificate in {path}: {error}")]
    Keep { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The configurations of both directions.
pub(crate) struct Tls {
    config: TlsConfig,
    certificates: Option<Arc<Certificates>>,
    /// For each way that a listener asks for client certificates.
    servers: Vec<ServerTls>,
    /// Made when the first connection needs it, since reading the system's authorities takes a while.
    client: OnceLock<Option<Arc<ClientConfig>>>,
    /// The same for [`Proof::Host`].
    host_client: OnceLock<Option<Arc<ClientConfig>>>,
}

/// Server configurations over one set of certificates.
pub(crate) struct ServerTls {
    client_auth: ClientAuth,
    pub(crate) stream: Arc<ServerConfig>,
    pub(crate) https: Arc<ServerConfig>,
    /// Verifies what the handshake has not.
    chain: Option<Arc<dyn ClientCertVerifier>>,
}

impl ServerTls {
    /// Notes who a client of a stream listener has shown to be.
    pub(crate) fn tell(&self, certificates: Option<&[CertificateDer<'_>]>, info: &mut ConnectionInfo) {
        let Some([own, intermediates @ ..]) = certificates else { return };
        info.fingerprints = Some(Fingerprints::of(own));
        let verified = self.client_auth != ClientAuth::Fingerprint
            || self.chain.as_ref().is_some_and(|c| c.verify_client_cert(own, intermediates, UnixTime::now()).is_ok());
        info.peer = verified.then(|| identity(own));
    }
}

impl Tls {
    /// Reads or makes the certificates, where something listens or one is configured. `listening` tells how each
    /// listener asks for client certificates.
    pub(crate) fn new(
        config: TlsConfig,
        listening: impl Iterator<Item = Option<ClientAuth>>,
        counters: &Arc<Counters>,
    ) -> Result<Tls, TlsError> {
        let mut ways: Vec<_> = listening.map(|own| own.unwrap_or(config.client_auth)).collect();
        if !config.certificates.is_empty() {
            // Faults are to be seen at the start even if nothing uses it.
            ways.push(config.client_auth);
        }
        let (mut certificates, mut servers) = (None, Vec::<ServerTls>::new());
        for client_auth in ways {
            if servers.iter().any(|made| made.client_auth == client_auth) {
                continue;
            }
            let loaded = match &certificates {
                Some(loaded) => Arc::clone(loaded),
                None => certificates.insert(Arc::new(Certificates::load(&config, counters.clone())?)).clone(),
            };
            servers.push(server(&config, client_auth, loaded)?);
        }
        Ok(Tls { config, certificates, servers, client: OnceLock::new(), host_client: OnceLock::new() })
    }

    /// For a listener that asks for client certificates like `own`, or as all do.
    pub(crate) fn server(&self, own: Option<ClientAuth>) -> Option<&ServerTls> {
        let client_auth = own.unwrap_or(self.config.client_auth);
        self.servers.iter().find(|made| made.client_auth == client_auth)
    }

    /// Hashes of the certificate that is shown for `name`.
    pub(crate) fn own_fingerprints(&self, name: Option<&str>) -> Option<Fingerprints> {
        let shown = self.certificates.as_ref()?.for_name(name);
        shown.cert.first().map(|certificate| Fingerprints::of(certificate))
    }

    /// Who a server has shown to be, which `proof` was asked of.
    pub(crate) fn server_identity(&self, proof: &Proof, certificate: &CertificateDer<'_>) -> Option<PeerIdentity> {
        let verified = self.config.verify != Verify::Nothing && !matches!(proof, Proof::Certificate(_));
        verified.then(|| identity(certificate))
    }

    pub(crate) fn client(&self, proof: &Proof) -> Option<Arc<ClientConfig>> {
        let make = || match client(&self.config, proof, self.certificates.clone()) {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                tracing::error!(%error, "cannot connect by TLS");
                None
            }
        };
        match proof {
            Proof::Domain => self.client.get_or_init(make).clone(),
            Proof::Host => self.host_client.get_or_init(make).clone(),
            Proof::Certificate(_) => make(),
        }
    }
}

fn server(config: &TlsConfig, client_auth: ClientAuth, certificates: Arc<Certificates>) -> Result<ServerTls, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let chain = match (client_auth, config.client_authorities.is_empty()) {
        (ClientAuth::Off, _) | (ClientAuth::Fingerprint, true) => None,
        (_, true) => return Err(TlsError::NoAuthorities),
        (_, false) => {
            let roots = Arc::new(authorities(&config.client_authorities)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
            let verifier =
                if client_auth == ClientAuth::Optional { verifier.allow_unauthenticated() } else { verifier };
            Some(verifier.build().map_err(TlsError::Authorities)?)
        }
    };
    let make = |verifier| -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let mut made = builder.with_client_cert_verifier(verifier).with_cert_resolver(certificates.clone());
        made.ticketer = ring::Ticketer::new()?;
        // One connection of a phone resumes one earlier session; more tickets cost memory and bytes.
        made.send_tls13_tickets = 1;
        if config.key_log {
            made.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(made)
    };
    let nobody = WebPkiClientVerifier::no_client_auth;
    let (stream, mut https) = if client_auth == ClientAuth::Fingerprint {
        (make(AnyClient::new(algorithms))?, make(nobody())?)
    } else {
        let stream = make(chain.clone().unwrap_or_else(nobody))?;
        (stream.clone(), stream)
    };
    https.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(ServerTls { client_auth, stream: Arc::new(stream), https: Arc::new(https), chain })
}

fn client(
    config: &TlsConfig,
    proof: &Proof,
    certificates: Option<Arc<Certificates>>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let roots = || match &config.verify {
        Verify::Files(files) => authorities(files),
        _ => Ok(system_authorities()),
    };
    let expected = match (proof, &config.verify) {
        (Proof::Certificate(hash), _) => Expected::Certificate(*hash),
        (_, Verify::Nothing) => Expected::Anything,
        (Proof::Host, _) => Expected::Host(roots()?),
        (Proof::Domain, _) => Expected::Domain(roots()?),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { expected, algorithms }));
    let mut client = match certificates {
        // Shown only to servers that ask (mutual TLS between domains, RFC 5922 §7.4).
        Some(certificates) => builder.with_client_cert_resolver(certificates),
        None => builder.with_no_client_auth(),
    };
    if config.key_log {
        client.key_log = Arc::new(KeyLogFile::new());
    }
    if matches!(proof, Proof::Certificate(_)) {
        // The configuration serves one connection.
        client.resumption = Resumption::disabled();
    }
    Ok(client)
}

fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read an authority of the system");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

fn authorities(files: &[PathBuf]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in files {
        for certificate in read_certificates(path)? {
            roots.add(certificate).map_err(|error| TlsError::Pair { path: path.clone(), error })?;
        }
    }
    Ok(roots)
}

fn read_certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |error| TlsError::File { path: path.clone(), error };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(fault)?.collect::<Result<_, _>>().map_err(fault)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.clone() });
    }
    Ok(certificates)
}
