//! Web Push: VAPID, content that only the device can read, and each error that services know.

use std::time::Duration;

use chappe_push::{Class, Outcome, Provider, VapidKey, WebPush};

use crate::sim::web::{Reader, Web};
use crate::sim::{Says, Service, target};

struct Bench {
    service: Service<Web>,
    push: WebPush,
    /// Holds the key.
    _directory: tempfile::TempDir,
}

async fn bench() -> Bench {
    let service = Service::start(Web::new).await;
    let directory = tempfile::tempdir().unwrap();
    let key = VapidKey::load(&directory.path().join("vapid.key")).unwrap();
    let trusted = [service.url.clone()];
    let push = WebPush::new(key, "mailto:ops@example.com", &trusted, &service.tls()).unwrap();
    Bench { service, push, _directory: directory }
}

impl Bench {
    async fn push(&self, prid: &str, class: Class) -> Outcome {
        self.push.send(&target("webpush", "", prid), &self.service.note(class)).await
    }
}

#[tokio::test]
async fn a_push_without_content_is_vouched_for() {
    let bench = bench().await;
    let url = bench.service.rules.subscribe("a");
    assert_eq!(bench.push(&url, Class::Call).await, Outcome::Accepted);
    assert_eq!(bench.push(&url, Class::Message).await, Outcome::Accepted);
    let seen = bench.service.seen();
    let told: Vec<_> = seen.iter().map(|s| (s.header("ttl"), s.header("urgency"), s.body.len())).collect();
    assert_eq!(told, [("30", "high", 0), ("86400", "normal", 0)]);
    assert_ne!(seen[0].header("topic"), seen[1].header("topic"), "a message does not take the place of a call");
}

#[tokio::test]
async fn content_is_for_the_device_alone() {
    let bench = bench().await;
    let reader = Reader::new();
    let url = bench.service.rules.subscribe("a") + &reader.fragment();
    assert_eq!(bench.push(&url, Class::Call).await, Outcome::Accepted);
    let seen = bench.service.seen().remove(0);
    assert_eq!(seen.path, "/p/a", "keys stay here");
    assert!(!String::from_utf8_lossy(&seen.body).contains("call"));
    let text = reader.read(&seen.body).expect("the device can read it");
    assert_eq!(text, b"{\"sip\":\"wake\",\"class\":\"call\"}");
    let other = Reader::new();
    assert_eq!(other.read(&seen.body), None, "and nobody else");
}

#[tokio::test]
async fn each_error_of_services_has_its_consequence() {
    let bench = bench().await;
    let url = bench.service.rules.subscribe("a");
    for (status, expected) in [
        (201, "accepted"),
        (202, "accepted"),
        (400, "refused"),
        (401, "misconfigured"),
        (403, "misconfigured"),
        (404, "gone"),
        (410, "gone"),
        (413, "refused"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
        // A redirection is not followed: nobody may send us elsewhere.
        (307, "refused"),
    ] {
        bench.service.rules.script.push(Says::new(status, "").with("location", "http://127.0.0.1:9/"));
        assert_eq!(bench.push(&url, Class::Message).await.as_str(), expected, "{status}");
    }
    bench.service.rules.script.push(Says::new(429, "").with("retry-after", "30"));
    let outcome = bench.push(&url, Class::Message).await;
    assert!(matches!(outcome, Outcome::Retry { after: Some(after), .. } if after == Duration::from_secs(30)));
    bench.service.rules.unsubscribe("a");
    assert_eq!(bench.push(&url, Class::Message).await.as_str(), "gone");
}

#[tokio::test]
async fn a_subscription_is_bound_to_our_key_and_to_no_other() {
    let (bench, stranger) = (bench().await, bench().await);
    let url = bench.service.rules.subscribe("a");
    assert_eq!(bench.push(&url, Class::Message).await, Outcome::Accepted);
    let key = VapidKey::load(&stranger._directory.path().join("other.key")).unwrap();
    let trusted = [bench.service.url.clone()];
    let other = WebPush::new(key, "mailto:x@example.com", &trusted, &bench.service.tls()).unwrap();
    let outcome = other.send(&target("webpush", "", &url), &bench.service.note(Class::Message)).await;
    assert_eq!(outcome.as_str(), "misconfigured");
}

#[tokio::test]
async fn services_fail_each_by_itself() {
    let bench = bench().await;
    let circuit = |url: &str| bench.push.circuit(&target("webpush", "", url));
    assert_eq!(circuit("https://push.example/a"), circuit("https://push.example/b#p256dh=x"));
    assert_ne!(circuit("https://push.example/a"), circuit("https://push.example.net/a"));
}
