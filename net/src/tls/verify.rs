//! Who the other end is (RFC 5922 §7).

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::proof::{Fingerprint, Fingerprints};
use super::signatures::verify_signatures;
use crate::events::PeerIdentity;

/// The identities in a certificate.
pub(crate) fn identity(certificate: &CertificateDer<'_>) -> PeerIdentity {
    let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return PeerIdentity::default() };
    PeerIdentity {
        uris: parsed.valid_uri_names().map(str::to_owned).collect(),
        names: parsed.valid_dns_names().map(str::to_owned).collect(),
    }
}

impl PeerIdentity {
    /// Whether the certificate is one of the SIP domain `domain` (RFC 5922 §7.2): a SIP URI without a user names it,
    /// or, where there is no SIP URI at all, a DNS name does. Without wildcards and case-insensitive.
    pub fn is_domain(&self, domain: &str) -> bool {
        let mut sip = self.uris.iter().filter_map(|uri| strip_sip(uri)).peekable();
        if sip.peek().is_some() {
            sip.any(|rest| !rest.contains('@') && rest.eq_ignore_ascii_case(domain))
        } else {
            self.names.iter().any(|name| name.eq_ignore_ascii_case(domain))
        }
    }
}

fn strip_sip(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    scheme.eq_ignore_ascii_case("sip").then_some(rest)
}

/// What a server's certificate has to be. Its key has to sign the handshake in any case.
#[derive(Debug)]
pub(super) enum Expected {
    Anything,
    /// Of the SIP domain asked for, and leading to an authority.
    Domain(RootCertStore),
    /// Of the host asked for, and leading to an authority.
    Host(RootCertStore),
    /// This one.
    Certificate(Fingerprint),
}

/// Verifies that a server is who we want to talk to.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) expected: Expected,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (roots, is_domain) = match &self.expected {
            Expected::Domain(roots) => (roots, true),
            Expected::Host(roots) => (roots, false),
            Expected::Certificate(hash) if !Fingerprints::of(end_entity).matches(hash) => {
                return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
            }
            Expected::Certificate(_) | Expected::Anything => return Ok(ServerCertVerified::assertion()),
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        match server_name {
            ServerName::DnsName(name) if is_domain && identity(end_entity).is_domain(name.as_ref()) => {}
            ServerName::DnsName(_) if is_domain => {
                return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
            }
            other => verify_server_name(&certificate, other)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    verify_signatures!();
}

/// The name a server is to prove: the domain that was looked up, or the address itself.
pub(crate) fn server_name(domain: Option<&str>, address: std::net::IpAddr) -> Option<ServerName<'static>> {
    match domain {
        Some(domain) => ServerName::try_from(domain.to_owned()).ok(),
        None => Some(ServerName::IpAddress(address.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_identities() {
        let sip = ["sip:example.com", "sip:user@example.net", "https://example.edu"];
        for (name, uris, names, domain, expected) in [
            ("SIP URI", &sip[..], &[][..], "example.com", true),
            ("any case", &sip, &[], "EXAMPLE.com", true),
            ("a URI with a user is no domain", &sip, &[], "example.net", false),
            ("other schemes are none", &sip, &[], "example.edu", false),
            ("DNS names do not count beside SIP URIs", &sip, &["dns.example"], "dns.example", false),
            ("DNS names count alone", &sip[2..], &["dns.example"], "dns.example", true),
            ("no sub-domains", &sip, &[], "a.example.com", false),
            ("no wildcards", &[], &["*.example.com"], "a.example.com", false),
        ] {
            let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
            let identity = PeerIdentity { uris: owned(uris), names: owned(names) };
            assert_eq!(identity.is_domain(domain), expected, "{name}");
        }
    }
}
