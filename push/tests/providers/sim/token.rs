//! Signed tokens as a service looks at them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

/// A token whose signature is right.
pub struct Checked {
    pub header: Value,
    pub claims: Value,
}

fn read(text: &str, algorithm: &'static dyn VerificationAlgorithm, name: &str, key: &[u8]) -> Option<Checked> {
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let part = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    let (header, claims) = (part(header)?, part(claims)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let is_good = UnparsedPublicKey::new(algorithm, key).verify(signed.as_bytes(), &signature).is_ok();
    (is_good && header["alg"] == name).then_some(Checked { header, claims })
}

pub fn es256(text: &str, key: &[u8]) -> Option<Checked> {
    read(text, &ECDSA_P256_SHA256_FIXED, "ES256", key)
}

pub fn rs256(text: &str, key: &[u8]) -> Option<Checked> {
    read(text, &RSA_PKCS1_2048_8192_SHA256, "RS256", key)
}

/// A new key: in PEM, and its public point.
pub fn new_es256() -> (String, Vec<u8>) {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &SystemRandom::new());
    let text = STANDARD.encode(pkcs8.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    (pem, key.unwrap().public_key().as_ref().to_vec())
}

/// Of tests only.
pub const RSA: &str = include_str!("rsa.pem");

/// The public key of [`RSA`].
pub fn rsa_public() -> Vec<u8> {
    let body: String = RSA.lines().filter(|line| !line.starts_with("-----")).collect();
    RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap().public().as_ref().to_vec()
}
