//! What the server stands on: certificates, the store's size, push services.

use std::path::{Path, PathBuf};

use chappe_api::{Certificate, ConformanceReport, NodeError, PushService, System};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;

use super::Operator;
use crate::accounts::unavailable;
use crate::config::{Config, HttpScheme, MsrpScheme, SipScheme};

/// Longest report that is read, in bytes.
const MAX_REPORT: u64 = 64 * 1024 * 1024;

impl Operator {
    pub(super) async fn look_at_system(&self) -> Result<System, NodeError> {
        let config = self.config.clone();
        let read = tokio::task::spawn_blocking(move || (certificates(&config), store_bytes(&config)));
        let (certificates, store_bytes) = read.await.map_err(|error| fault(&error.to_string()))?;
        let files_bytes = match &self.depot {
            Some(depot) => Some(depot.rows().usage(None).await.map_err(unavailable)?.bytes),
            None => None,
        };
        let push = self.core.push.services();
        let push = push.into_iter().map(|(provider, rested)| PushService { provider, rested }).collect();
        Ok(System { certificates, store_bytes, files_bytes, push })
    }

    pub(super) async fn read_report(&self) -> Result<ConformanceReport, NodeError> {
        let Some(path) = self.config.management.conformance_report.clone() else {
            return Err(NodeError::NotFound { what: "report" });
        };
        let read = tokio::task::spawn_blocking(move || report(&path));
        let read = read.await.map_err(|error| fault(&error.to_string()))?;
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => NodeError::NotFound { what: "report" },
            _ => fault(&error.to_string()),
        })
    }
}

fn fault(why: &str) -> NodeError {
    NodeError::Unavailable { why: why.to_owned() }
}

fn report(path: &Path) -> std::io::Result<ConformanceReport> {
    let meta = std::fs::metadata(path)?;
    if meta.len() > MAX_REPORT {
        return Err(std::io::Error::other(format!("{} is larger than {MAX_REPORT} bytes", path.display())));
    }
    let written = meta.modified()?.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(ConformanceReport { written, junit: std::fs::read_to_string(path)? })
}

/// Those that TLS listeners show: the configured ones, else the one that the server has made.
fn certificates(config: &Config) -> Vec<Certificate> {
    let secure = config.sip.listen.iter().any(|listen| listen.scheme == SipScheme::Tls)
        || config.http.listen.iter().any(|listen| listen.scheme == HttpScheme::Https)
        || config.msrp.listen.iter().any(|listen| listen.scheme == MsrpScheme::Tls);
    if !secure {
        return Vec::new();
    }
    let own = config.tls.certificate.clone().unwrap_or_else(|| config.data_dir.join("self-signed.pem"));
    let extra = config.tls.extra.iter().filter_map(|extra| extra.certificate.clone());
    std::iter::once(own).chain(extra).filter_map(|path: PathBuf| certificate(&path)).collect()
}

/// The first certificate of a file; `None` where there is none that can be read, as `chappe doctor` tells.
fn certificate(path: &Path) -> Option<Certificate> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let mut names: Vec<String> = Vec::new();
    if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    if names.is_empty() {
        names.push(parsed.subject().to_string());
    }
    Some(Certificate {
        names,
        issuer: parsed.issuer().to_string(),
        expires: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0),
        self_signed: parsed.issuer() == parsed.subject(),
    })
}

/// Of the SQLite file with its write-ahead log.
fn store_bytes(config: &Config) -> Option<u64> {
    let url = config.store_url();
    let file = url.strip_prefix("sqlite:")?;
    let path = config.data_dir.join(if file.is_empty() { "chappe.db" } else { file });
    let size = |path: &Path| std::fs::metadata(path).map(|meta| meta.len());
    let log = size(Path::new(&format!("{}-wal", path.display()))).unwrap_or(0);
    size(&path).ok().map(|bytes| bytes + log)
}
