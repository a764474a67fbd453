//! Milenage, the algorithm set of most SIM cards (3GPP TS 35.206).

use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};
use subtle::ConstantTimeEq;

use crate::aka::{AkaAuthenticator, Sqn, Vector};

type Block = [u8; 16];

/// The functions f1 to f5* of one subscriber.
#[derive(Clone)]
pub struct Milenage {
    cipher: Aes128,
    opc: Block,
    amf: [u8; 2],
}

impl std::fmt::Debug for Milenage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Milenage(…)")
    }
}

/// OPc from the operator's OP and a subscriber's key K (TS 35.206 §4.1).
pub fn operator_constant(k: &[u8; 16], op: &[u8; 16]) -> [u8; 16] {
    xor(encrypt(&Aes128::new(k.into()), *op), op)
}

/// What f2, f5, f3 and f4 make of a RAND.
struct Answers {
    res: [u8; 8],
    ak: [u8; 6],
    ck: Block,
    ik: Block,
}

impl Milenage {
    /// For a subscriber with key K and OPc. AMF is 8000: the "separation bit" that TS 33.102 annex H wants for EPS and
    /// that phones take for IMS too.
    pub fn new(k: &[u8; 16], opc: [u8; 16]) -> Self {
        Self { cipher: Aes128::new(k.into()), opc, amf: [0x80, 0] }
    }

    /// With another authentication management field.
    pub fn with_amf(self, amf: [u8; 2]) -> Self {
        Self { amf, ..self }
    }

    /// f1 and f1*: the two authentication codes over SQN and AMF.
    fn codes(&self, rand: &Block, sqn: [u8; 6], amf: [u8; 2]) -> ([u8; 8], [u8; 8]) {
        let mut input = [0; 16];
        for half in input.chunks_exact_mut(8) {
            half[..6].copy_from_slice(&sqn);
            half[6..].copy_from_slice(&amf);
        }
        let rotated = rotate(xor(input, &self.opc), 8);
        let out = xor(encrypt(&self.cipher, xor(rotated, &self.temp(rand))), &self.opc);
        (part(&out), part(&out[8..]))
    }

    fn answers(&self, rand: &Block) -> Answers {
        let out2 = self.out(rand, 0, 1);
        Answers { res: part(&out2[8..]), ak: part(&out2), ck: self.out(rand, 4, 2), ik: self.out(rand, 8, 4) }
    }

    /// f5*: the anonymity key of a resynchronisation.
    fn resync_key(&self, rand: &Block) -> [u8; 6] {
        part(&self.out(rand, 12, 8))
    }

    /// OUT2 to OUT5, which differ in a rotation (in bytes) and a constant.
    fn out(&self, rand: &Block, rotation: usize, constant: u8) -> Block {
        let mut input = rotate(xor(self.temp(rand), &self.opc), rotation);
        input[15] ^= constant;
        xor(encrypt(&self.cipher, input), &self.opc)
    }

    fn temp(&self, rand: &Block) -> Block {
        encrypt(&self.cipher, xor(*rand, &self.opc))
    }
}

impl AkaAuthenticator for Milenage {
    fn vector(&self, rand: [u8; 16], sqn: Sqn) -> Vector {
        let answers = self.answers(&rand);
        let (mac, _) = self.codes(&rand, sqn.to_bytes(), self.amf);
        let mut autn = [0; 16];
        autn[..6].copy_from_slice(&xor(sqn.to_bytes(), &answers.ak));
        autn[6..8].copy_from_slice(&self.amf);
        autn[8..].copy_from_slice(&mac);
        Vector { rand, autn, xres: answers.res.to_vec(), ck: answers.ck, ik: answers.ik }
    }

    fn resynchronise(&self, rand: &[u8; 16], auts: &[u8; 14]) -> Option<Sqn> {
        let sqn = xor(part::<6>(auts), &self.resync_key(rand));
        // The AMF counts as zero here (TS 33.102 §6.3.3).
        let (_, mac) = self.codes(rand, sqn, [0, 0]);
        bool::from(mac.ct_eq(&auts[6..])).then(|| Sqn::from_bytes(sqn))
    }
}

fn encrypt(cipher: &Aes128, block: Block) -> Block {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

fn xor<const N: usize>(mut left: [u8; N], right: &[u8; N]) -> [u8; N] {
    for (left, right) in left.iter_mut().zip(right) {
        *left ^= right;
    }
    left
}

fn rotate(mut block: Block, bytes: usize) -> Block {
    block.rotate_left(bytes);
    block
}

fn part<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        let mut out = [0; N];
        crate::hex::decode(text.as_bytes(), &mut out).unwrap();
        out
    }

    /// Test set 1 of TS 35.208 §4.3, which names every function's value.
    #[test]
    fn functions_of_test_set_1() {
        let k = bytes("465b5ce8b199b49faa5f0a2ee238a6bc");
        let opc = operator_constant(&k, &bytes("cdc202d5123e20f62b6d676ac72cb318"));
        assert_eq!(opc, bytes("cd63cb71954a9f4e48a5994e37a02baf"));
        let sim = Milenage::new(&k, opc);
        let rand = bytes("23553cbe9637a89d218ae64dae47bf35");
        let (f1, f1_star) = sim.codes(&rand, bytes("ff9bb4d0b607"), bytes("b9b9"));
        assert_eq!((f1, f1_star), (bytes("4a9ffac354dfafb3"), bytes("01cfaf9ec4e871e9")));
        let answers = sim.answers(&rand);
        assert_eq!((answers.res, answers.ak), (bytes("a54211d5e3ba50bf"), bytes("aa689c648370")));
        assert_eq!(answers.ck, bytes("b40ba9a3c58b2a05bbf0d987b21bf8cb"));
        assert_eq!(answers.ik, bytes("f769bcd751044604127672711c6d3441"));
        assert_eq!(sim.resync_key(&rand), bytes("451e8beca43b"));
    }

    #[test]
    fn vector_and_resynchronisation() {
        let k = bytes("00112233445566778899aabbccddeeff");
        let opc = operator_constant(&k, &bytes("0f0e0d0c0b0a09080706050403020100"));
        assert_eq!(opc, bytes("3d307b3d58482f495783cb8e4ce922bb"));
        let sim = Milenage::new(&k, opc);
        let rand = bytes("101112131415161718191a1b1c1d1e1f");
        let vector = sim.vector(rand, Sqn::new(0x20));
        assert_eq!(vector.autn, bytes("d53757807e0f80005689c14c2438dedf"));
        assert_eq!(vector.xres, bytes::<8>("e2acccf68046223c"));
        assert_eq!(vector.ck, bytes("ee67b52c0c545d2bab5338f32c545e18"));
        assert_eq!(vector.ik, bytes("9a3a62a40934475b498645e65a9f64e9"));

        let mut auts = bytes("1b2d923fda8083bb31b8014852b6");
        assert_eq!(sim.resynchronise(&rand, &auts), Some(Sqn::new(0x40)));
        auts[3] ^= 1;
        assert_eq!(sim.resynchronise(&rand, &auts), None, "wrong MAC-S");
    }
}
