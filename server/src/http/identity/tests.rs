use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chappe_api::{NewAccount, Peer};

use super::*;
use crate::config::Config;
use crate::listeners::Listeners;
use crate::node::{Running, Setup};

/// A node whose trusted gateway is 192.0.2.9, with `alice@example.com`, who has a number.
struct Bed {
    running: Running,
    _dir: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "domains = [\"example.com\", \"other.example\"]\ndata_dir = {:?}\n[store]\nurl = \"memory:\"\n[http]\nlisten = []\n\
             [msrp]\nlisten = []\n[sip]\nlisten = [\"udp://127.0.0.1:0\"]\ntrusted = [\"192.0.2.9\"]\n\
             [limits.ban]\nthreshold = 11\n",
            dir.path()
        );
        let config = Arc::new(Config::parse(None, &text, std::iter::empty()).unwrap_or_else(|e| panic!("{e}")));
        let setup = Setup { config, listeners: Listeners::default(), http: Vec::new(), echo: None };
        let running = Running::start(setup).await.unwrap();
        let account = NewAccount {
            aor: "alice@example.com".into(),
            password: "secret".into(),
            tel: vec!["+15551".into()],
            display_name: "Alice".into(),
            ha1: None,
        };
        running.node().accounts().add(account).await.unwrap();
        Bed { running, _dir: dir }
    }

    fn ask(&self, from: &str, headers: &[(&str, &str)]) -> Result<User, Unidentified> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let local: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let peer = Peer { remote: format!("{from}:40000").parse().unwrap(), local, secure: false, listener: 0 };
        let asked = Asked { peer, method: "GET", target: "/a?b", headers: &map, domain: None };
        self.running.identity().identify(&asked)
    }

    /// The SHA-256 challenge that a request for `host` gets.
    fn challenge(&self, host: &str) -> String {
        let Err(Unidentified::Challenge(values)) = self.ask("198.51.100.1", &[("host", host)]) else {
            panic!("no challenge")
        };
        values.into_iter().find(|value| value.contains("algorithm=SHA-256,")).unwrap()
    }
}

fn parameter<'a>(challenge: &'a str, name: &str) -> &'a str {
    let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name} in {challenge}"));
    rest.split('"').next().unwrap()
}

fn hash(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 7616 §3.4, for GET and qop=auth.
fn answer(challenge: &str, user: &str, password: &str, uri: &str) -> String {
    let (realm, nonce) = (parameter(challenge, "realm"), parameter(challenge, "nonce"));
    let (ha1, ha2) = (hash(&format!("{user}:{realm}:{password}")), hash(&format!("GET:{uri}")));
    let response = hash(&format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
    format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm=SHA-256, qop=auth, nc=00000001, cnonce=\"c\""
    )
}

#[tokio::test]
async fn the_right_password_names_its_user_once_for_each_nonce_count() {
    let bed = Bed::new().await;
    for user in ["alice", "alice@example.com", "sip:alice@example.com"] {
        let authorization = answer(&bed.challenge("example.com"), user, "secret", "/a?b");
        let alice = bed.ask("198.51.100.1", &[("authorization", &authorization)]).unwrap();
        assert_eq!((&*alice.aor, &*alice.display_name, alice.tel.len()), ("alice@example.com", "Alice", 1), "{user}");
        let replayed = bed.ask("198.51.100.2", &[("authorization", &authorization)]).unwrap_err();
        let Unidentified::Challenge(values) = replayed else { panic!("{replayed:?}") };
        let (digest, others): (Vec<_>, Vec<_>) = values.iter().partition(|value| value.starts_with("Digest "));
        assert!(digest.iter().all(|value| value.contains("stale=true")), "{values:?}");
        assert_eq!((digest.len(), others), (3, vec![&"Bearer realm=\"example.com\"".to_owned()]), "digest comes first");
    }
}

#[tokio::test]
async fn whoever_is_wrong_is_asked_again_and_then_banned() {
    let bed = Bed::new().await;
    let right = bed.challenge("example.com");
    for (user, password, uri) in [("alice", "wrong", "/a?b"), ("bob", "secret", "/a?b"), ("alice", "secret", "/b")] {
        let authorization = answer(&right, user, password, uri);
        let refused = bed.ask("198.51.100.3", &[("authorization", &authorization)]).unwrap_err();
        assert!(matches!(refused, Unidentified::Challenge(_)), "{user} {password} {uri}: {refused:?}");
    }
    assert_eq!(bed.ask("198.51.100.3", &[]), Err(Unidentified::Banned));
    assert!(matches!(bed.ask("198.51.100.4", &[]), Err(Unidentified::Challenge(_))));
}

#[tokio::test]
async fn the_realm_is_the_domain_that_the_host_lies_in() {
    let bed = Bed::new().await;
    for (host, expected) in [
        ("other.example", "other.example"),
        ("xcap.Other.example:8080", "other.example"),
        ("127.0.0.1:8080", "example.com"),
        ("notother.example", "example.com"),
        ("[::1]:8080", "example.com"),
    ] {
        assert_eq!(parameter(&bed.challenge(host), "realm"), expected, "{host}");
    }
}

#[tokio::test]
async fn an_asserted_identity_is_believed_from_the_trust_domain_only() {
    let bed = Bed::new().await;
    for (from, value, expected) in [
        ("192.0.2.9", "\"sip:alice@example.com\"", Ok("alice@example.com")),
        ("192.0.2.9", "\"sip:nobody@example.com\", \"tel:+15551\"", Ok("alice@example.com")),
        ("192.0.2.9", "sip:+15551@example.com;user=phone", Ok("alice@example.com")),
        ("192.0.2.9", "\"sip:nobody@example.com\"", Err(true)),
        ("192.0.2.8", "\"sip:alice@example.com\"", Err(false)),
    ] {
        let known = bed.ask(from, &[(ASSERTED, value)]);
        match (known, expected) {
            (Ok(user), Ok(aor)) => assert_eq!(&*user.aor, aor),
            (Err(Unidentified::Forbidden), Err(true)) | (Err(Unidentified::Challenge(_)), Err(false)) => {}
            (known, _) => panic!("{from} {value}: {known:?}"),
        }
    }
}

#[test]
fn the_uri_of_credentials_is_that_of_the_request() {
    for (uri, target, expected) in [
        ("/a/b?c", "/a/b?c", true),
        ("http://h:80/a/b", "/a/b", true),
        ("/a/b", "http://h/a/b", true),
        ("/users/sip%3Aa%40d/x", "/users/sip:a@d/x", true),
        ("/a", "/b", false),
        ("/a", "/a?b", false),
        ("http://h", "/", true),
        ("/a%2", "/a%2", true),
        ("/a%é", "/a%é", true),
    ] {
        assert_eq!(is_same_resource(uri.as_bytes(), target), expected, "{uri} {target}");
    }
}
