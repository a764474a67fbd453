//! Signed tokens (RFC 7515, RFC 7519) on ring: ES256 and RS256.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use serde_json::Value;

/// Why a key is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("not a private key in PEM (BEGIN PRIVATE KEY)")]
    Pem,
    #[error("not a key that can sign: {0}")]
    Rejected(String),
    #[error("{0}")]
    File(String),
}

/// A key that signs.
pub(crate) enum SigningKey {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl SigningKey {
    pub(crate) fn es256(pkcs8: &[u8]) -> Result<SigningKey, KeyError> {
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new());
        key.map(SigningKey::Es256).map_err(|error| KeyError::Rejected(error.to_string()))
    }

    pub(crate) fn rs256(pkcs8: &[u8]) -> Result<SigningKey, KeyError> {
        let key = RsaKeyPair::from_pkcs8(pkcs8);
        key.map(SigningKey::Rs256).map_err(|error| KeyError::Rejected(error.to_string()))
    }

    /// The public point of an ES256 key, uncompressed.
    pub(crate) fn public(&self) -> &[u8] {
        match self {
            SigningKey::Es256(key) => key.public_key().as_ref(),
            SigningKey::Rs256(key) => key.public_key().as_ref(),
        }
    }

    /// A token with these claims.
    pub(crate) fn token(&self, key_id: Option<&str>, claims: &Value) -> String {
        let algorithm = match self {
            SigningKey::Es256(_) => "ES256",
            SigningKey::Rs256(_) => "RS256",
        };
        let header = match key_id {
            Some(id) => serde_json::json!({ "alg": algorithm, "kid": id, "typ": "JWT" }),
            None => serde_json::json!({ "alg": algorithm, "typ": "JWT" }),
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(claims));
        let random = SystemRandom::new();
        let signed = match self {
            SigningKey::Es256(key) => key.sign(&random, text.as_bytes()).map(|s| s.as_ref().to_vec()),
            SigningKey::Rs256(key) => {
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut out).map(|()| out)
            }
        };
        // Only without randomness of the system.
        let signed = signed.expect("a key that was taken signs");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signed))
    }
}

/// The octets of the first PEM block.
pub(crate) fn pem(text: &str) -> Result<Vec<u8>, KeyError> {
    let (_, rest) = text.split_once("-----BEGIN PRIVATE KEY-----").ok_or(KeyError::Pem)?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----").ok_or(KeyError::Pem)?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(body).map_err(|_| KeyError::Pem)
}

#[cfg(test)]
pub(crate) fn test_key() -> Vec<u8> {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_with_the_key() {
        let pkcs8 = test_key();
        let key = SigningKey::es256(&pkcs8).unwrap();
        let token = key.token(Some("KEY1"), &serde_json::json!({ "iss": "T", "iat": 1 }));
        let (text, signed) = token.rsplit_once('.').unwrap();
        let public = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key.public());
        public.verify(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signed).unwrap()).unwrap();
        let header = URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("ES256"), Some("KEY1")));
        let text = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&pkcs8));
        assert_eq!(pem(&text), Ok(pkcs8));
        assert_eq!(pem("-----BEGIN EC PRIVATE KEY-----"), Err(KeyError::Pem));
        assert!(SigningKey::es256(b"junk").is_err());
    }
}
