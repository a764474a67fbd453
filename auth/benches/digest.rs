//! The digest work of a REGISTER: challenge, first answer, refresh with the same nonce.

use chappe_auth::{Algorithm, Credentials, Gate, GateConfig, Ha1Set, Request, verify};
use divan::{Bencher, black_box};

const REQUEST: Request<'_> = Request { method: b"REGISTER", body: b"", realm: "example.com", binding: b"" };
const NOW: u64 = 1_800_000_000;

fn main() {
    divan::main();
}

fn gate() -> Gate {
    Gate::new(GateConfig::default(), &[1; 32], 0)
}

/// An answer with a wrong response: as much work as a right one.
fn answer(algorithm: Algorithm) -> String {
    let nonce = gate().nonce(&REQUEST, NOW, [2; 8]);
    let digits = if matches!(algorithm, Algorithm::Md5) { 32 } else { 64 };
    format!(
        "Digest username=\"alice\", realm=\"example.com\", nonce=\"{nonce}\", uri=\"sip:example.com\", \
         response=\"{}\", algorithm={algorithm}, cnonce=\"0a4f113b\", qop=auth, nc=00000001, opaque=\"abcdefgh\"",
        "0".repeat(digits)
    )
}

#[divan::bench]
fn challenge(bencher: Bencher<'_, '_>) {
    let gate = gate();
    bencher.bench(|| gate.challenge(black_box(&REQUEST), false, NOW, [2; 8]));
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let text = answer(Algorithm::Sha256);
    bencher.bench(|| Credentials::parse(black_box(text.as_bytes())).is_ok());
}

#[divan::bench(args = ["MD5", "SHA-256", "SHA-512-256"])]
fn response(bencher: Bencher<'_, '_>, algorithm: &str) {
    let text = answer(Algorithm::parse(algorithm.as_bytes()).expect("a name of ours"));
    let credentials = Credentials::parse(text.as_bytes()).expect("well formed");
    let ha1 = Ha1Set::from_password("alice", "example.com", b"secret");
    bencher.bench(|| verify(black_box(&credentials), b"REGISTER", b"", black_box(&ha1)));
}

/// Parse, nonce, response: all that an answered challenge costs but for the count's table.
#[divan::bench(args = ["MD5", "SHA-256", "SHA-512-256"])]
fn register(bencher: Bencher<'_, '_>, algorithm: &str) {
    let gate = gate();
    let text = answer(Algorithm::parse(algorithm.as_bytes()).expect("a name of ours"));
    let ha1 = Ha1Set::from_password("alice", "example.com", b"secret");
    bencher.bench(|| {
        let credentials = Credentials::parse(black_box(text.as_bytes())).expect("well formed");
        gate.judge(&credentials, &REQUEST, Some(&ha1), NOW)
    });
}
