//! Proofs of peers that no SIP domain is asked of: host names, and hashes of self-signed certificates.

use std::sync::Arc;

use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, Error};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::signatures::verify_signatures;

/// What a TLS server that we connect to has to prove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Proof {
    /// That it is the SIP domain of [`crate::Target::server_name`] (RFC 5922 §7.2).
    #[default]
    Domain,
    /// That it is the host of [`crate::Target::server_name`], be it by a wildcard (RFC 4976 §9.2, RFC 6125).
    Host,
    /// That it has this certificate, whoever signed it and whatever names and times are in it (RFC 8122 §6).
    Certificate(Fingerprint),
}

/// Hash of a certificate, as an SDP `fingerprint` tells it (RFC 8122 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fingerprint {
    Sha256([u8; 32]),
    /// Broken, and all that some deployed clients have: only for callers whose configuration allows it.
    Sha1([u8; 20]),
}

impl Fingerprint {
    /// From the name of its algorithm in any case, `sha-256` or `sha-1`, and its bytes. `None`: another algorithm, or
    /// not its length.
    pub fn new(algorithm: &str, bytes: &[u8]) -> Option<Fingerprint> {
        if algorithm.eq_ignore_ascii_case("sha-256") {
            bytes.try_into().ok().map(Fingerprint::Sha256)
        } else if algorithm.eq_ignore_ascii_case("sha-1") {
            bytes.try_into().ok().map(Fingerprint::Sha1)
        } else {
            None
        }
    }
}

/// Hashes of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprints {
    pub sha256: [u8; 32],
    pub sha1: [u8; 20],
}

impl Fingerprints {
    /// Of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Fingerprints {
        let (mut sha256, mut sha1) = ([0; 32], [0; 20]);
        sha256.copy_from_slice(digest::digest(&SHA256, certificate).as_ref());
        sha1.copy_from_slice(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate).as_ref());
        Fingerprints { sha256, sha1 }
    }

    pub fn matches(&self, fingerprint: &Fingerprint) -> bool {
        match fingerprint {
            Fingerprint::Sha256(bytes) => *bytes == self.sha256,
            Fingerprint::Sha1(bytes) => *bytes == self.sha1,
        }
    }
}

/// Asks clients for a certificate and takes any, or none; that the client has its key is verified.
#[derive(Debug)]
pub(super) struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyClient {
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms) -> Arc<AnyClient> {
        Arc::new(AnyClient { algorithms })
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    verify_signatures!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        // FIPS 180 examples.
        let of = Fingerprints::of(b"abc");
        assert_eq!(
            (of.sha256[..4].to_vec(), of.sha1[..4].to_vec()),
            (vec![0xba, 0x78, 0x16, 0xbf], vec![0xa9, 0x99, 0x3e, 0x36])
        );
        for (algorithm, bytes, known, matches) in [
            ("SHA-256", &of.sha256[..], true, true),
            ("sha-1", &of.sha1, true, true),
            ("sha-256", &[0; 32], true, false),
            ("sha-256", &of.sha1, false, false),
            ("sha-512", &[0; 64], false, false),
        ] {
            let fingerprint = Fingerprint::new(algorithm, bytes);
            assert_eq!(fingerprint.is_some(), known, "{algorithm}");
            assert_eq!(fingerprint.is_some_and(|f| of.matches(&f)), matches, "{algorithm}");
        }
    }
}
