//! The outside of the crate: what it lists, and how a run ends that cannot begin.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use chappe_conformance::{Options, Target, TargetError, list, run};

#[test]
fn every_torture_message_is_listed() {
    let count = |suite| list().iter().filter(|case| case.suite == suite).count();
    assert!(count("rfc4475") >= 50);
    assert_eq!(count("rfc5118"), 12);
}

/// It judges chat servers, which most targets are not.
#[test]
fn the_chat_suite_is_of_every_kind_with_every_other() {
    let chat: Vec<_> = list().into_iter().filter(|case| case.suite == "chat").collect();
    for kind in ["rcse", "cpm", "pager", "browser"] {
        let to = |other: &str| chat.iter().filter(|case| case.name.starts_with(&format!("{kind}-to-{other}-"))).count();
        assert_eq!([to("rcse"), to("cpm"), to("pager"), to("browser")].iter().filter(|cases| **cases >= 3).count(), 4);
    }
}

/// A target that answers every datagram with the same octets.
fn parrot(answer: &'static [u8]) -> Target {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(answer, from);
        }
    });
    Target::parse(&format!("sip:{addr}")).expect("an address")
}

#[tokio::test]
async fn a_target_that_speaks_no_sip_ends_the_run_at_once() {
    let started = Instant::now();
    let error = run(Options::new(parrot(b"HTTP/1.1 400 Bad Request\r\n\r\n"))).await.expect_err("nothing to test");
    assert!(matches!(error, TargetError::NoAnswer(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn an_unknown_suite_is_named() {
    let mut options = Options::new(Target::parse("sip:127.0.0.1:9").expect("an address"));
    options.suites = vec!["rfc0001".into()];
    let error = run(options).await.expect_err("no such suite");
    assert_eq!(error.to_string(), "no suite is called \"rfc0001\"");
}
