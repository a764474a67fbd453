//! DTLS of a leg (RFC 5764): `rtc-dtls` with one peer, whose certificate has to be the one of its description.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use chappe_sdp::{Fingerprint, Hash, Leniency, matches};
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use crate::srtp::{Key, Srtp, Suite};

/// What all legs share: the provider of cryptography, and the certificate of this process.
#[derive(Clone)]
pub struct Crypto {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    fingerprint: Arc<str>,
}

impl Crypto {
    /// Makes a certificate.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new() -> Result<Crypto, Error> {
        let provider = rtc_crypto::default_provider().map_err(|error| Error::Crypto(error.to_string()))?;
        let certificate = Certificate::generate_self_signed(vec!["chappe".to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().map(|der| der.to_vec()).unwrap_or_default();
        let fingerprint = Fingerprint::of(&der, Hash::Sha256).to_string().replacen("SHA-256", "sha-256", 1);
        Ok(Crypto { provider, certificate, fingerprint: fingerprint.into() })
    }

    pub(crate) fn provider(&self) -> &dyn RTCCryptoProvider {
        &*self.provider
    }

    /// The value of `a=fingerprint`.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl std::fmt::Debug for Crypto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crypto").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The association with the peer of a leg. Which path ICE has chosen does not matter to it.
pub struct Dtls {
    endpoint: Endpoint,
    is_client: bool,
    established: bool,
}

/// Stands for the peer, wherever it is.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);

impl Dtls {
    /// `active` is our role; `fingerprints` are the peer's.
    ///
    /// # Errors
    /// Where the handshake cannot even begin.
    pub fn new(crypto: &Crypto, active: bool, fingerprints: Vec<Fingerprint>, now: Instant) -> Result<Dtls, Error> {
        let check = move |chain: &[Vec<u8>], _: &[_]| match chain.first() {
            Some(certificate) if matches(&fingerprints, certificate, Leniency::DEPLOYED) => Ok(()),
            _ => Err(Error::Other("the certificate is not that of the description".to_owned())),
        };
        let profiles = vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ];
        let config = ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&crypto.provider))
            .with_certificates(vec![crypto.certificate.clone()])
            .with_srtp_protection_profiles(profiles)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(check)))
            .build(active, None)?;
        let config = Arc::new(config);
        let local = SocketAddr::new([192, 0, 2, 2].into(), 1);
        let server = (!active).then(|| Arc::clone(&config));
        let mut endpoint = Endpoint::new(local, TransportProtocol::UDP, server);
        if active {
            endpoint.connect(now, PEER, config, None)?;
        }
        Ok(Dtls { endpoint, is_client: active, established: false })
    }

    /// Takes a datagram; gives the keys once the handshake is complete.
    ///
    /// # Errors
    /// What is no DTLS or comes at the wrong moment, which is to be dropped: what is lost or overtaken is repeated. Also
    /// certificates of somebody else, and a peer that closes.
    pub fn handle(&mut self, datagram: &[u8], crypto: &Crypto, now: Instant) -> Result<Option<Srtp>, Error> {
        for event in self.endpoint.read(now, PEER, None, BytesMut::from(datagram))? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.established = true;
                    return self.keys(crypto).map(Some);
                }
                EndpointEvent::PeerClosed => return Err(Error::ErrConnClosed),
                // Data channels are refused in the description.
                _ => {}
            }
        }
        Ok(None)
    }

    #[must_use]
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// The next datagram for the peer.
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|out| out.message)
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PEER).filter(|_| !self.established)
    }

    /// # Errors
    /// Where it cannot repeat anything: the peer did not answer often enough, or has to repeat itself.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        match self.poll_timeout() {
            Some(at) if at <= now => self.endpoint.handle_timeout(PEER, now),
            _ => Ok(()),
        }
    }

    /// Tells the peer that it is over.
    pub fn close(&mut self, now: Instant) {
        let _ = self.endpoint.close(now);
    }

    /// RFC 5764 §4.2: client key, server key, client salt, server salt.
    fn keys(&self, crypto: &Crypto) -> Result<Srtp, Error> {
        let state = self.endpoint.get_connection_state(PEER).ok_or(Error::HandshakeInProgress)?;
        let suite = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Suite::Aes128Sha1_80,
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Suite::Aes128Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Suite::Aes256Gcm,
            _ => return Err(Error::Other("no SRTP profile in common".to_owned())),
        };
        let (key, salt) = (suite.profile().key_len(), suite.profile().salt_len());
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt))?;
        let material: &[u8] = material.as_ref();
        let part = |from: usize, len: usize| material.get(from..from + len).unwrap_or_default();
        let client = Key([part(0, key), part(2 * key, salt)].concat());
        let server = Key([part(key, key), part(2 * key + salt, salt)].concat());
        let (inbound, outbound) = if self.is_client { (server, client) } else { (client, server) };
        Srtp::new(suite, &inbound, &outbound, crypto)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rtp::Header;

    fn fingerprint(crypto: &Crypto) -> Vec<Fingerprint> {
        vec![Fingerprint::parse(crypto.fingerprint(), Leniency::STRICT).unwrap()]
    }

    /// A handshake in virtual time with a link that loses so many of our datagrams of a hundred. What the client sends arrives:
    /// the one of the library forgets to repeat it, and with browsers we are the server.
    fn shake(seed: u64, lost: u64, good: bool) -> Result<(Srtp, Srtp), Error> {
        #[expect(clippy::disallowed_methods, reason = "a beginning for virtual time")]
        let mut now = Instant::now();
        let (ours, theirs) = (Crypto::new().unwrap(), Crypto::new().unwrap());
        let expected = if good { fingerprint(&theirs) } else { fingerprint(&ours) };
        let mut server = Dtls::new(&ours, false, expected, now)?;
        let mut client = Dtls::new(&theirs, true, fingerprint(&ours), now)?;
        let (mut one, mut other, mut dice) = (None, None, seed);
        let mut arrives = || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % 100 >= lost
        };
        for _ in 0..1000 {
            let mut moved = false;
            while let Some(datagram) = client.poll_transmit() {
                moved = true;
                one = server.handle(&datagram, &ours, now).unwrap_or_default().or(one);
            }
            while let Some(datagram) = server.poll_transmit() {
                moved = true;
                if arrives() {
                    other = client.handle(&datagram, &theirs, now).unwrap_or_default().or(other);
                }
            }
            if let (Some(_), Some(_)) = (&one, &other) {
                break;
            }
            if !moved {
                now += Duration::from_millis(200);
                // One that cannot go on by itself waits for the other to repeat.
                let _ = (client.handle_timeout(now), server.handle_timeout(now));
            }
        }
        one.zip(other).ok_or(Error::HandshakeInProgress)
    }

    #[test]
    fn both_ends_have_the_same_keys_however_much_is_lost() {
        for seed in 0..24 {
            let lost = seed % 4 * 10;
            let shaken = shake(seed, lost, true);
            let (mut server, mut client) = shaken.unwrap_or_else(|error| panic!("seed {seed}, {lost} %: {error}"));
            let header =
                Header { marker: false, payload_type: 0, sequence: 1, timestamp: 1, ssrc: 1, payload: 12, padding: 0 };
            let packet = header.write(b"sound");
            let wire = client.protect(&packet, false).unwrap();
            assert_eq!(server.unprotect(&wire, false).unwrap()[..], packet[..]);
            let wire = server.protect(&packet, false).unwrap();
            assert_eq!(client.unprotect(&wire, false).unwrap()[..], packet[..]);
        }
    }

    #[test]
    fn another_certificate_than_announced_is_refused() {
        assert!(shake(1, 0, false).is_err());
    }
}
