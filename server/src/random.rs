//! Tokens and passwords from the system's randomness.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes once it has booted");
    bytes
}

/// 256 bits in hexadecimal: a bearer token.
pub fn token() -> String {
    bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A password for people to type: 16 of 32 letters and digits that are not mistaken for one another, 80 bits.
pub fn password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letters: Vec<_> = bytes::<16>().iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-")
}
