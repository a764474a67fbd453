//! TLS configuration for both directions (RFC 3261 §26.3, RFC 5922).

mod certificates;
mod verify;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, KeyLogFile, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub(crate) use verify::{identity, server_name};

use crate::counters::Counters;
use certificates::Certificates;
use verify::Verifier;

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
    /// Where a listener wants it.
    pub(crate) server: Option<ServerTls>,
    /// Made when the first connection needs it, since reading the system's authorities takes a while.
    client: OnceLock<Option<Arc<ClientConfig>>>,
}

/// Server configurations over one set of certificates.
pub(crate) struct ServerTls {
    pub(crate) sip: Arc<ServerConfig>,
    pub(crate) https: Arc<ServerConfig>,
}

impl Tls {
    /// Reads or makes the certificates, where `listening` or one is configured.
    pub(crate) fn new(config: TlsConfig, listening: bool, counters: &Arc<Counters>) -> Result<Tls, TlsError> {
        let (mut certificates, mut serving) = (None, None);
        if listening || !config.certificates.is_empty() {
            let loaded = Arc::new(Certificates::load(&config, counters.clone())?);
            serving = Some(server(&config, loaded.clone())?);
            certificates = Some(loaded);
        }
        Ok(Tls { config, certificates, server: serving, client: OnceLock::new() })
    }

    /// Whether servers that we connect to have proved who they are.
    pub(crate) fn verifies(&self) -> bool {
        self.config.verify != Verify::Nothing
    }

    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        let make = || match client(&self.config, self.certificates.clone()) {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                tracing::error!(%error, "cannot connect by TLS");
                None
            }
        };
        self.client.get_or_init(make).clone()
    }
}

fn server(config: &TlsConfig, certificates: Arc<Certificates>) -> Result<ServerTls, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let verifier = if config.client_auth == ClientAuth::Off {
        WebPkiClientVerifier::no_client_auth()
    } else {
        if config.client_authorities.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
        let roots = Arc::new(authorities(&config.client_authorities)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let verifier =
            if config.client_auth == ClientAuth::Optional { verifier.allow_unauthenticated() } else { verifier };
        verifier.build().map_err(TlsError::Authorities)?
    };
    let mut sip = builder.with_client_cert_verifier(verifier).with_cert_resolver(certificates);
    sip.ticketer = ring::Ticketer::new()?;
    // One connection of a phone resumes one earlier session; more tickets cost memory and bytes.
    sip.send_tls13_tickets = 1;
    if config.key_log {
        sip.key_log = Arc::new(KeyLogFile::new());
    }
    let mut https = sip.clone();
    https.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(ServerTls { sip: Arc::new(sip), https: Arc::new(https) })
}

fn client(config: &TlsConfig, certificates: Option<Arc<Certificates>>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let roots = match &config.verify {
        Verify::Nothing => None,
        Verify::Files(files) => Some(authorities(files)?),
        Verify::System => {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "cannot read an authority of the system");
            }
            roots.add_parsable_certificates(found.certs);
            Some(roots)
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { roots, algorithms }));
    let mut client = match certificates {
        // Shown only to servers that ask (mutual TLS between domains, RFC 5922 §7.4).
        Some(certificates) => builder.with_client_cert_resolver(certificates),
        None => builder.with_no_client_auth(),
    };
    if config.key_log {
        client.key_log = Arc::new(KeyLogFile::new());
    }
    Ok(client)
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
