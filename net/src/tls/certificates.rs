//! Our certificates: by host name, read again when their files change.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use parking_lot::RwLock;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{CertificateFiles, TlsConfig, TlsError, read_certificates};
use crate::counters::Counters;

/// Looks at its files when a handshake asks for a certificate, at most once a second; connections keep what they
/// were made with.
pub(crate) struct Certificates {
    files: Vec<CertificateFiles>,
    loaded: RwLock<Loaded>,
    counters: Arc<Counters>,
    started: Instant,
    /// Second of the last look.
    looked: AtomicU64,
}

struct Loaded {
    default: Arc<CertifiedKey>,
    /// By lower-case DNS name; a wildcard is kept as `*.domain`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    stamps: Vec<Stamp>,
}

type Stamp = Option<(SystemTime, u64)>;

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    pub(crate) fn load(config: &TlsConfig, counters: Arc<Counters>) -> Result<Certificates, TlsError> {
        let mut files = config.certificates.clone();
        let mut loaded = None;
        if files.is_empty() {
            match &config.data_dir {
                Some(directory) => files.push(kept_self_signed(directory, &config.domains)?),
                None => loaded = Some(unkept_self_signed(&config.domains)?),
            }
        }
        let loaded = match loaded {
            Some(loaded) => loaded,
            None => load(&files)?,
        };
        let looked = AtomicU64::new(0);
        Ok(Certificates { files, loaded: RwLock::new(loaded), counters, started: Instant::now(), looked })
    }

    /// Reads the files again if one of them changed since they were read.
    fn look(&self) {
        let now = self.started.elapsed().as_secs();
        let looked = self.looked.load(Ordering::Relaxed);
        let ours =
            looked < now && self.looked.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !ours || stamps(&self.files) == self.loaded.read().stamps {
            return;
        }
        match load(&self.files) {
            Ok(loaded) => {
                *self.loaded.write() = loaded;
                self.counters.certificate_reloads.one();
                tracing::info!("read the certificates again");
            }
            // Perhaps only one of the two files has been written so far. The old ones serve until the next change.
            Err(error) => {
                tracing::warn!(%error, "keeping the old certificates");
                self.loaded.write().stamps = stamps(&self.files);
            }
        }
    }

    pub(super) fn for_name(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        self.look();
        let loaded = self.loaded.read();
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            loaded.by_name.get(&name).or_else(|| {
                // A wildcard stands for exactly one label (RFC 6125 §6.4.3).
                let (_, parent) = name.split_once('.')?;
                loaded.by_name.get(&format!("*.{parent}"))
            })
        });
        found.unwrap_or(&loaded.default).clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.for_name(hello.server_name()))
    }
}

impl ResolvesClientCert for Certificates {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.for_name(None))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn stamps(files: &[CertificateFiles]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| fs::metadata(path).and_then(|m| Ok((m.modified()?, m.len()))).ok();
    files.iter().flat_map(|f| [stamp(&f.certificate), stamp(&f.key)]).collect()
}

fn load(files: &[CertificateFiles]) -> Result<Loaded, TlsError> {
    // Taken before reading: a change in between is then seen at the next look.
    let stamps = stamps(files);
    let mut by_name = HashMap::new();
    let mut default = None;
    for CertificateFiles { certificate, key } in files {
        let chain = read_certificates(certificate)?;
        let read = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File { path: key.clone(), error })?;
        let certified = certify(chain, read, certificate)?;
        names_of(&certified, &mut by_name);
        default.get_or_insert(certified);
    }
    let default = default.ok_or_else(|| TlsError::NoCertificate { path: PathBuf::new() })?;
    Ok(Loaded { default, by_name, stamps })
}

fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    path: &Path,
) -> Result<Arc<CertifiedKey>, TlsError> {
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map(Arc::new)
        .map_err(|error| TlsError::Pair { path: path.to_owned(), error })
}

fn names_of(certified: &Arc<CertifiedKey>, by_name: &mut HashMap<String, Arc<CertifiedKey>>) {
    let Ok(certificate) = certified.end_entity_cert().map(webpki::EndEntityCert::try_from) else { return };
    for name in certificate.iter().flat_map(|c| c.valid_dns_names()) {
        by_name.entry(name.to_ascii_lowercase()).or_insert_with(|| certified.clone());
    }
}

/// A certificate for `domains` signed with its own key: certificate and key in PEM.
fn self_signed(domains: &[String]) -> Result<(String, String), TlsError> {
    let mut names: Vec<String> = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(domains.iter().filter(|d| *d != "localhost").cloned());
    let mut params = CertificateParams::new(names)?;
    for domain in domains {
        // The identity of a SIP domain (RFC 5922 §7.1).
        params.subject_alt_names.push(SanType::URI(format!("sip:{domain}").as_str().try_into()?));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, domains.first().map_or("localhost", String::as_str));
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn unkept_self_signed(domains: &[String]) -> Result<Loaded, TlsError> {
    let (certificate, key) = self_signed(domains)?;
    let path = PathBuf::new();
    let fault = |error| TlsError::File { path: path.clone(), error };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(fault)?];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(fault)?;
    let default = certify(chain, key, &path)?;
    let mut by_name = HashMap::new();
    names_of(&default, &mut by_name);
    Ok(Loaded { default, by_name, stamps: Vec::new() })
}

/// The self-signed certificate in `directory`, made now if it is not there yet.
fn kept_self_signed(directory: &Path, domains: &[String]) -> Result<CertificateFiles, TlsError> {
    let files =
        CertificateFiles { certificate: directory.join("self-signed.pem"), key: directory.join("self-signed.key") };
    if !files.certificate.exists() || !files.key.exists() {
        let (certificate, key) = self_signed(domains)?;
        let keep = |path: &Path, text: &str, mode| {
            write(path, text, mode).map_err(|error| TlsError::Keep { path: path.to_owned(), error })
        };
        fs::create_dir_all(directory).map_err(|error| TlsError::Keep { path: directory.to_owned(), error })?;
        keep(&files.key, &key, 0o600)?;
        keep(&files.certificate, &certificate, 0o644)?;
        tracing::info!(certificate = %files.certificate.display(), "made a self-signed certificate");
    }
    Ok(files)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_with_wildcard_and_default() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = TlsConfig::default();
        for name in ["a.example", "*.b.example"] {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            let (certificate, key) =
                (directory.path().join(format!("{}.pem", name.len())), directory.path().join(name.len().to_string()));
            fs::write(&certificate, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            config.certificates.push(CertificateFiles { certificate, key });
        }
        let certificates = Certificates::load(&config, Arc::default()).unwrap();
        let pick = |name| certificates.for_name(name).cert[0].clone();
        let (a, b) = (pick(Some("a.example")), pick(Some("x.b.example")));
        assert_ne!(a, b);
        for (name, expected) in [
            (None, &a),
            (Some("other.example"), &a),
            (Some("A.Example"), &a),
            (Some("Y.B.example"), &b),
            (Some("x.y.b.example"), &a),
            (Some("b.example"), &a),
        ] {
            assert_eq!(&pick(name), expected, "{name:?}");
        }
    }

    #[test]
    fn self_signed_is_kept_and_its_key_private() {
        let directory = tempfile::tempdir().unwrap();
        let config = TlsConfig {
            data_dir: Some(directory.path().join("tls")),
            domains: vec!["example.com".to_owned()],
            ..TlsConfig::default()
        };
        let first = Certificates::load(&config, Arc::default()).unwrap().for_name(None).cert.clone();
        let again = Certificates::load(&config, Arc::default()).unwrap().for_name(Some("example.com")).cert.clone();
        assert_eq!(first, again);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let key = fs::metadata(directory.path().join("tls/self-signed.key")).unwrap();
            assert_eq!(key.permissions().mode() & 0o777, 0o600);
        }
    }
}
