//! Transaction ids (RFC 4975 §7.1): 64 bits that nobody can foresee, from a key that the caller draws.

use std::fmt;
use std::hash::Hasher;

/// A transaction id of our own, 16 letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId([u8; TransactionId::LEN]);

impl TransactionId {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// The id, if `text` has the form of one of ours.
    pub fn from_text(text: &str) -> Option<TransactionId> {
        let id = <[u8; Self::LEN]>::try_from(text.as_bytes()).ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(TransactionId(id))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Source of the transaction ids of one connection: a keyed hash of a count. No two among 32,768 in a row are equal.
#[derive(Clone)]
pub struct TransactionIds {
    key: [u64; 2],
    count: u64,
}

impl TransactionIds {
    /// `key` must come from a cryptographic source of randomness and be used for one connection only.
    pub fn new(key: [u64; 2]) -> TransactionIds {
        TransactionIds { key, count: 0 }
    }

    /// The next id.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> TransactionId {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut hash = siphash(self.key, self.count);
        let mut count = self.count;
        self.count = self.count.wrapping_add(1);
        let mut id = [0; TransactionId::LEN];
        for (at, letter) in id.iter_mut().enumerate() {
            let from = if at < 13 { &mut hash } else { &mut count };
            *letter = ALPHABET[(*from & 31) as usize];
            *from >>= 5;
        }
        TransactionId(id)
    }
}

impl fmt::Debug for TransactionIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionIds").field("count", &self.count).finish_non_exhaustive()
    }
}

/// SipHash-2-4 of the eight bytes of `word`.
fn siphash(key: [u64; 2], word: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let rounds = |v: &mut [u64; 4], count: usize| {
        for _ in 0..count {
            v[0] = v[0].wrapping_add(v[1]);
            v[2] = v[2].wrapping_add(v[3]);
            v[1] = v[1].rotate_left(13) ^ v[0];
            v[3] = v[3].rotate_left(16) ^ v[2];
            v[0] = v[0].rotate_left(32);
            v[2] = v[2].wrapping_add(v[1]);
            v[0] = v[0].wrapping_add(v[3]);
            v[1] = v[1].rotate_left(17) ^ v[2];
            v[3] = v[3].rotate_left(21) ^ v[0];
            v[2] = v[2].rotate_left(32);
        }
    };
    // The last block has only the length of the input.
    for block in [word, 8 << 56] {
        v[3] ^= block;
        rounds(&mut v, 2);
        v[0] ^= block;
    }
    v[2] ^= 0xff;
    rounds(&mut v, 4);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

/// For keys that are our own, so that nobody else can make them collide.
#[derive(Default)]
pub(crate) struct OwnHasher(u64);

impl Hasher for OwnHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The table takes its place from the low bits and its tag from the high ones.
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_of_the_published_vectors() {
        // The reference table's entry for the input 00 01 .. 07 under the key 00 01 .. 0f.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(siphash(key, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn ids_differ_and_are_in_the_grammar() {
        let mut ids = TransactionIds::new([1, 2]);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let id = ids.next();
            assert!(crate::head::is_ident(id.as_bytes()));
            assert_eq!(TransactionId::from_text(id.as_str()), Some(id));
            assert!(seen.insert(id));
        }
        assert_ne!(TransactionIds::new([1, 2]).next(), TransactionIds::new([1, 3]).next());
        assert_eq!(TransactionId::from_text("short"), None);
    }
}
