//! CPU for each packet of 20 ms of sound, without sockets: relay of a section, SRTP to RTP and back, transcoding.

use chappe_webrtc_gw::Crypto;
use chappe_webrtc_gw::rtp::Header;
use chappe_webrtc_gw::srtp::{Key, Srtp, Suite};
use chappe_webrtc_gw::stun;
use chappe_webrtc_gw::transcode::{Sound, Transcoder};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    let head = Header { marker: false, payload_type: 8, sequence, timestamp, ssrc: 7, payload: 12, padding: 0 };
    head.write(payload)
}

fn pair(suite: Suite) -> (Srtp, Srtp) {
    let crypto = Crypto::new().expect("randomness");
    let (a, b) = (Key(vec![1; suite.key_len()]), Key(vec![2; suite.key_len()]));
    let make = |inbound: &Key, outbound: &Key| Srtp::new(suite, inbound, outbound, &crypto).expect("keys that fit");
    (make(&a, &b), make(&b, &a))
}

/// RTP with another payload type.
#[divan::bench]
fn relay(bencher: Bencher<'_, '_>) {
    let packet = packet(1, &[0xd5; 160]);
    bencher.bench(|| {
        let header = Header::parse(black_box(&packet)).expect("a packet");
        let mut out = packet.clone();
        out[1] = out[1] & 0x80 | (header.payload_type ^ 1);
        out
    });
}

/// Towards a browser.
#[divan::bench(args = ["80", "GCM"])]
fn protect(bencher: Bencher<'_, '_>, suite: &str) {
    let (mut srtp, _) = pair(if suite == "80" { Suite::Aes128Sha1_80 } else { Suite::Aes128Gcm });
    let mut sequence = 0u16;
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        srtp.protect(&packet(sequence, &[0xd5; 160]), false).expect("a packet")
    });
}

/// To a browser and from it.
#[divan::bench(args = ["80", "GCM"])]
fn protect_and_unprotect(bencher: Bencher<'_, '_>, suite: &str) {
    let (mut ours, mut theirs) = pair(if suite == "80" { Suite::Aes128Sha1_80 } else { Suite::Aes128Gcm });
    let mut sequence = 0u16;
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        let wire = theirs.protect(&packet(sequence, &[0xd5; 160]), false).expect("a packet");
        ours.unprotect(&wire, false).expect("our packet")
    });
}

#[divan::bench(args = ["PCMA to Opus", "Opus to PCMA"])]
fn transcode(bencher: Bencher<'_, '_>, way: &str) {
    let mut to_opus = Transcoder::new(Sound::Pcma, Sound::Opus, 111).expect("codecs");
    let mut back = Transcoder::new(Sound::Opus, Sound::Pcma, 8).expect("codecs");
    // Something like speech: a tone whose loudness changes.
    let payload: Vec<u8> = (0..160u8).map(|n| n.wrapping_mul(37) ^ 0x55).collect();
    let mut sequence = 0u16;
    let mut opus = Vec::new();
    for n in 1..50 {
        let bytes = packet(n, &payload);
        opus = to_opus.handle(&Header::parse(&bytes).expect("a packet"), &payload).expect("sound").remove(0);
    }
    let mut to_opus = Transcoder::new(Sound::Pcma, Sound::Opus, 111).expect("codecs");
    bencher.bench_local(|| {
        sequence = sequence.wrapping_add(1);
        let timestamp = u32::from(sequence) * 160;
        let head = Header { marker: false, payload_type: 8, sequence, timestamp, ssrc: 7, payload: 12, padding: 0 };
        if way == "PCMA to Opus" { to_opus.handle(&head, &payload) } else { back.handle(&head, &opus[12..]) }
    });
}

/// A check of a browser, answered.
#[divan::bench]
fn check(bencher: Bencher<'_, '_>) {
    let bytes = stun::request([7; 12], "ours:theirs", b"a password of ours!!", true);
    let seen = "192.0.2.1:40000".parse().expect("an address");
    bencher.bench(|| {
        let request = stun::Request::parse(black_box(&bytes)).expect("a request");
        assert!(request.is_signed_with(b"a password of ours!!"));
        request.success(seen, Some(b"a password of ours!!"))
    });
}
