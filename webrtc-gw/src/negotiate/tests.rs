use std::time::Instant;

use super::*;

const BROWSER: &str = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a b c\r\na=extmap-allow-mixed\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:4ZcD\r\n\
    a=ice-pwd:2/1muCWoOi3uLifh0NuRHlbe\r\na=ice-options:trickle\r\na=fingerprint:sha-256 \
    7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\na=setup:actpass\r\n\
    a=mid:a\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendrecv\r\na=msid:s t\r\na=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\n\
    a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\n\
    a=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\na=ssrc:1 cname:x\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 102\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:4ZcD\r\na=ice-pwd:2/1muCWoOi3uLifh0NuRHlbe\r\n\
    a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n\
    a=setup:actpass\r\na=mid:b\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\n\
    a=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\n\
    a=fmtp:102 packetization-mode=1;profile-level-id=42001f\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:c\r\na=sctp-port:5000\r\n";

fn locals() -> Locals {
    let address: IpAddr = "203.0.113.7".parse().unwrap();
    Locals { shared: SocketAddr::new(address, 10_000), phone: address, ports: vec![30_000, 30_002, 30_004] }
}

fn call(caller: Dialect, callee: Dialect) -> Call {
    let mut next = 0;
    let random = Box::new(move |bytes: &mut [u8]| {
        for byte in bytes {
            next = (next + 1) % 64;
            *byte = next;
        }
    });
    Call::new(Crypto::new().unwrap(), [caller, callee], [None, None], random)
}

#[expect(clippy::disallowed_methods, reason = "a beginning for virtual time")]
fn now() -> Instant {
    Instant::now()
}

fn string(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The lines of a section, without the session's.
fn section(sdp: &str, index: usize) -> String {
    sdp.split("m=").nth(index + 1).unwrap_or_default().to_owned()
}

/// An answer of a phone with one line of sound, and the rest refused.
fn phone(audio: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{audio}m=video 0 RTP/AVP 96\r\n\
         m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    )
}

#[test]
fn a_browsers_offer_in_a_phones_words() {
    let mut call = call(Dialect::Browser, Dialect::Plain);
    let offer = string(call.offer(Side::Caller, BROWSER.as_bytes(), &locals()).unwrap());
    for gone in [
        "ice-",
        "fingerprint",
        "setup",
        "candidate",
        "extmap",
        "ssrc",
        "msid",
        "BUNDLE",
        "mid:",
        "rtcp-mux",
        "red",
        "rtx",
    ] {
        assert!(!offer.contains(gone), "{gone} in {offer}");
    }
    let audio = section(&offer, 0);
    assert!(
        audio.starts_with("audio 30000 RTP/AVP 111 9 0 8 13 110 126\r\nc=IN IP4 203.0.113.7\r\na=rtcp:30001\r\n"),
        "{audio}"
    );
    assert!(
        audio.contains("a=fmtp:111 minptime=10;useinbandfec=1\r\n") && audio.ends_with("a=sendrecv\r\n"),
        "{audio}"
    );
    let video = section(&offer, 1);
    assert!(
        video.starts_with("video 30002 RTP/AVP 96 102\r\n") && video.contains("a=rtcp-fb:96 nack pli\r\n"),
        "{video}"
    );
    assert!(!video.contains("goog-remb"), "{video}");
    assert_eq!(section(&offer, 2), "application 0 RTP/AVP webrtc-datachannel\r\n");
}

#[test]
fn a_phones_answer_in_a_browsers_words() {
    let mut call = call(Dialect::Browser, Dialect::Plain);
    call.offer(Side::Caller, BROWSER.as_bytes(), &locals()).unwrap();
    // With another number for the keys than was offered.
    let answer = phone(
        "m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendonly\r\n",
    );
    let told = string(call.answer(Side::Callee, answer.as_bytes(), &locals(), now()).unwrap());
    assert!(told.contains("a=ice-lite\r\na=group:BUNDLE a\r\n"), "{told}");
    let audio = section(&told, 0);
    assert!(audio.starts_with("audio 10000 UDP/TLS/RTP/SAVPF 8 126\r\n"), "{audio}");
    for there in [
        "a=mid:a\r\n",
        "a=setup:passive\r\n",
        "a=rtcp-mux\r\n",
        "a=candidate:1 1 udp 2130706431 203.0.113.7 10000 typ host\r\n",
        "a=fingerprint:sha-256 ",
        "a=rtpmap:126 telephone-event/8000\r\na=fmtp:126 0-16\r\n",
        "a=sendonly\r\n",
    ] {
        assert!(audio.contains(there), "{there} not in {audio}");
    }
    assert_eq!(section(&told, 1), "video 0 UDP/TLS/RTP/SAVPF 96 97 102\r\n");
    let section = &call.bridge().sections[0];
    assert_eq!((section.payloads[0].0[126], section.payloads[1].0[101], section.payloads[0].0[111]), (101, 126, 0xff));
    // The same answer again, as a 200 behind a 183, is told again.
    assert_eq!(string(call.answer(Side::Callee, answer.as_bytes(), &locals(), now()).unwrap()), told);
}

#[test]
fn where_no_codec_is_shared_sound_is_transcoded() {
    let offer = BROWSER.replace("111 63 9 0 8 13 110 126", "111");
    let mut call = call(Dialect::Browser, Dialect::Plain);
    let told = string(call.offer(Side::Caller, offer.as_bytes(), &locals()).unwrap());
    assert!(section(&told, 0).starts_with("audio 30000 RTP/AVP 111 0 8\r\n"), "{told}");
    let answer = phone("m=audio 4000 RTP/AVP 8\r\n");
    let told = string(call.answer(Side::Callee, answer.as_bytes(), &locals(), now()).unwrap());
    let audio = section(&told, 0);
    assert!(audio.starts_with("audio 10000 UDP/TLS/RTP/SAVPF 111\r\n") && audio.contains("opus/48000/2"), "{audio}");
    assert!(call.bridge().is_transcoded());
    // A phone that can Opus is not transcoded for.
    let answer = phone("m=audio 4000 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n");
    call.answer(Side::Callee, answer.as_bytes(), &locals(), now()).unwrap();
    assert!(!call.bridge().is_transcoded());
}

#[test]
fn keys_stay_over_hold_and_resume() {
    let mut call = call(Dialect::Sdes, Dialect::Browser);
    let key = "a=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n";
    let offer = |direction: &str| {
        let sdp = phone(&format!(
            "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:x\r\n{key}a={direction}\r\n"
        ));
        sdp.split("m=video").next().unwrap().to_owned()
    };
    let told = string(call.offer(Side::Caller, offer("sendrecv").as_bytes(), &locals()).unwrap());
    assert!(told.contains("a=setup:actpass\r\n") && told.contains("a=group:BUNDLE 0\r\n"), "{told}");
    let answer = |direction: &str| {
        let audio =
            section(BROWSER, 0).replace("actpass", "active").replace("mid:a", "mid:0").replace("sendrecv", direction);
        let audio = audio.replace("111 63 9 0 8 13 110 126", "0");
        format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm={audio}")
    };
    let first = string(call.answer(Side::Callee, answer("sendrecv").as_bytes(), &locals(), now()).unwrap());
    let line = first.lines().find(|line| line.starts_with("a=crypto:")).unwrap().to_owned();
    assert!(line.starts_with("a=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:"), "{line}");
    assert!(first.contains("audio 30000 RTP/SAVP 0\r\n"), "{first}");

    let told = string(call.offer(Side::Caller, offer("sendonly").as_bytes(), &locals()).unwrap());
    assert!(told.contains("a=mid:0\r\n") && told.contains("a=sendonly\r\n"), "{told}");
    let again = string(call.answer(Side::Callee, answer("recvonly").as_bytes(), &locals(), now()).unwrap());
    assert!(again.contains(&line) && again.contains("a=recvonly\r\n"), "{again}");
    // The browser resumes.
    let resume = answer("sendrecv").replace("setup:active", "setup:actpass");
    let told = string(call.offer(Side::Callee, resume.as_bytes(), &locals()).unwrap());
    assert!(told.contains(&line) && told.contains("audio 30000 RTP/SAVP 0\r\n"), "{told}");
}

#[test]
fn another_ufrag_restarts_ice() {
    let mut call = call(Dialect::Browser, Dialect::Plain);
    call.offer(Side::Caller, BROWSER.as_bytes(), &locals()).unwrap();
    let ufrags = |call: &Call| call.bridge().ufrags().map(|(_, ufrag)| ufrag.to_owned()).collect::<Vec<_>>();
    let before = ufrags(&call);
    call.offer(Side::Caller, BROWSER.as_bytes(), &locals()).unwrap();
    assert_eq!(ufrags(&call), before);
    call.offer(Side::Caller, BROWSER.replace("4ZcD", "5ZcD").as_bytes(), &locals()).unwrap();
    let after = ufrags(&call);
    assert!(after.len() == 2 && after[0] != before[0] && after[1] == before[0], "{after:?}");
}

#[test]
fn what_cannot_be_bridged() {
    let mut call = call(Dialect::Browser, Dialect::Plain);
    let refusal = |call: &mut Call, sdp: &str| call.offer(Side::Caller, sdp.as_bytes(), &locals()).unwrap_err();
    let no_key = BROWSER.replace("a=fingerprint", "a=x-fingerprint");
    let data = format!("{}m={}", BROWSER.split("m=").next().unwrap(), section(BROWSER, 2));
    let many = format!("{BROWSER}{}", format!("m={}", section(BROWSER, 2)).repeat(6));
    for (sdp, status) in [("x", 400), (&*no_key, 488), (&*data, 488), (&*many, 488)] {
        assert_eq!(refusal(&mut call, sdp).status(), status, "{sdp}");
    }
    let answer = phone("m=audio 4000 RTP/AVP 8\r\n");
    assert_eq!(call.answer(Side::Callee, answer.as_bytes(), &locals(), now()), Err(Refusal::NoOffer));
    call.offer(Side::Caller, BROWSER.as_bytes(), &locals()).unwrap();
    let short = answer.split("m=application").next().unwrap();
    assert_eq!(call.answer(Side::Callee, short.as_bytes(), &locals(), now()), Err(Refusal::Mismatch));
}
