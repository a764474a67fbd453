//! Whom providers trust, and who they are to services that ask for a certificate.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::jose::KeyError;

/// TLS of a client: roots of the system, those of the operator, and perhaps a certificate of its own.
#[derive(Clone, Default)]
pub struct Tls {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Arc<CertifiedKey>>,
}

impl Tls {
    /// Trusts the certificates in PEM as well, for services in the own network.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn trusting(mut self, pem: &str) -> Result<Tls, KeyError> {
        self.roots.extend(certificates(pem)?);
        Ok(self)
    }

    /// Shows a certificate: the chain and its private key in one PEM text.
    ///
    /// # Errors
    /// One of them is missing, or the key is not that of the certificate.
    pub fn showing(mut self, pem: &str) -> Result<Tls, KeyError> {
        let chain = certificates(pem)?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Pem)?;
        let provider = rustls::crypto::ring::default_provider();
        let identity = CertifiedKey::from_der(chain, key, &provider);
        self.identity = Some(Arc::new(identity.map_err(|error| KeyError::Rejected(error.to_string()))?));
        Ok(self)
    }

    pub(crate) fn client(&self) -> rustls::ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        // What cannot be read is missed when a service is not trusted, and said then.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.roots.iter().cloned());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the versions of rustls")
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            Some(identity) => config.with_client_cert_resolver(Arc::new(Shown(Arc::clone(identity)))),
            None => config.with_no_client_auth(),
        };
        // APNs speaks nothing but HTTP/2, and only with those who ask for it.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

/// Shows its certificate to whoever asks for one.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| KeyError::File(format!("a certificate cannot be read: {error}")))?;
    if found.is_empty() {
        return Err(KeyError::File("there is no certificate".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_and_keys_belong_together() {
        let made = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let ((one, its_key), (_, other_key)) = (made(), made());
        assert!(Tls::default().showing(&format!("{one}{its_key}")).is_ok());
        assert!(matches!(Tls::default().showing(&format!("{one}{other_key}")), Err(KeyError::Rejected(_))));
        assert_eq!(Tls::default().showing(&one).err(), Some(KeyError::Pem));
        assert!(matches!(Tls::default().trusting(&its_key), Err(KeyError::File(_))));
        assert_eq!(Tls::default().trusting(&one).unwrap().roots.len(), 1);
    }
}
