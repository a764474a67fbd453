//! APNs: HTTP/2 over TLS, tokens and certificates, and each error that the service knows.

use std::time::Duration;

use chappe_push::{Apns, ApnsAuth, ApnsSettings, Class, Outcome, Provider, Target};

use crate::sim::apple::{Apple, KEY_ID, TEAM, TOPIC, says};
use crate::sim::{Says, Service, nowhere, target, token};

struct Bench {
    service: Service<Apple>,
    apns: Apns,
}

fn settings(url: &str, auth: ApnsAuth) -> ApnsSettings {
    ApnsSettings { auth, team: TEAM.to_owned(), sandbox: false, url: Some(url.to_owned()) }
}

async fn bench() -> Bench {
    let (key, public) = token::new_es256();
    let service = Service::start(|_| Apple::new(public)).await;
    let auth = ApnsAuth::Token { key, key_id: KEY_ID.to_owned() };
    let apns = Apns::new(settings(&service.url, auth), &service.tls()).unwrap();
    Bench { service, apns }
}

fn device() -> Target {
    target("apns", &format!("{TEAM}.{TOPIC}.voip"), &"5a".repeat(32))
}

impl Bench {
    async fn push(&self, class: Class) -> Outcome {
        self.apns.send(&device(), &self.service.note(class)).await
    }
}

#[tokio::test]
async fn calls_go_to_pushkit_and_messages_do_not() {
    let bench = bench().await;
    for class in [Class::Call, Class::Message, Class::Refresh] {
        assert_eq!(bench.push(class).await, Outcome::Accepted, "{class:?}");
    }
    let seen = bench.service.seen();
    let kinds: Vec<_> = seen.iter().map(|s| (s.header("apns-push-type"), s.header("apns-topic"))).collect();
    let voip = format!("{TOPIC}.voip");
    assert_eq!(kinds, [("voip", &*voip), ("background", TOPIC), ("background", TOPIC)]);
    assert_eq!(seen[0].path, format!("/3/device/{}", "5a".repeat(32)));
    assert_eq!(seen[0].header("apns-expiration"), (bench.service.now() + 30).to_string());
    assert!(seen.iter().all(|seen| seen.connection == 0), "one connection for all");
    assert!(!String::from_utf8_lossy(&seen[0].body).contains("sip:"), "nobody is named");
}

#[tokio::test]
async fn a_token_of_the_team_serves_for_long_and_is_renewed_in_time() {
    let bench = bench().await;
    let mut tokens = Vec::new();
    for pass in [0, 1000, 1000, 1000, 1000] {
        bench.service.pass(pass);
        assert_eq!(bench.push(Class::Message).await, Outcome::Accepted);
        tokens.push(bench.service.seen()[0].header("authorization").to_owned());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 2, "every 40 minutes: more than 20 and less than 60");
}

#[tokio::test]
async fn a_token_that_the_service_has_had_enough_of_is_made_anew_once() {
    let bench = bench().await;
    bench.push(Class::Message).await;
    bench.service.rules.forget_tokens();
    bench.service.pass(1);
    bench.service.rules.script.push(says(403, "ExpiredProviderToken"));
    bench.service.rules.forget_tokens();
    bench.service.seen();
    let outcome = bench.push(Class::Message).await;
    let seen = bench.service.seen();
    assert_eq!(seen.len(), 2, "once more");
    assert_ne!(seen[0].header("authorization"), seen[1].header("authorization"));
    // The service does not like a new one so soon, and says so: it is not tried a third time.
    assert_eq!(outcome.as_str(), "misconfigured");
    assert_eq!(outcome.why(), "HTTP 429 TooManyProviderTokenUpdates");
}

#[tokio::test]
async fn a_certificate_stands_for_the_token() {
    let bench = bench().await;
    let auth = ApnsAuth::Certificate(bench.service.client.clone());
    let apns = Apns::new(settings(&bench.service.url, auth), &bench.service.tls()).unwrap();
    assert_eq!(apns.send(&device(), &bench.service.note(Class::Call)).await, Outcome::Accepted);
    let seen = bench.service.seen().remove(0);
    assert!(seen.certified && seen.header("authorization").is_empty());
    let junk = ApnsAuth::Certificate("junk".to_owned());
    assert!(Apns::new(settings(&bench.service.url, junk), &bench.service.tls()).is_err());
}

#[tokio::test]
async fn each_error_of_the_service_has_its_consequence() {
    let bench = bench().await;
    for (status, reason, expected) in [
        (400, "BadDeviceToken", "gone"),
        (400, "DeviceTokenNotForTopic", "gone"),
        (400, "MissingDeviceToken", "gone"),
        (410, "Unregistered", "gone"),
        (410, "ExpiredToken", "gone"),
        (400, "BadCollapseId", "refused"),
        (400, "BadExpirationDate", "refused"),
        (400, "BadMessageId", "refused"),
        (400, "BadPriority", "refused"),
        (400, "BadTopic", "refused"),
        (400, "MissingTopic", "refused"),
        (400, "DuplicateHeaders", "refused"),
        (400, "PayloadEmpty", "refused"),
        (400, "TopicDisallowed", "refused"),
        (400, "InvalidPushType", "refused"),
        (400, "IdleTimeout", "refused"),
        (404, "BadPath", "refused"),
        (405, "MethodNotAllowed", "refused"),
        (413, "PayloadTooLarge", "refused"),
        (403, "InvalidProviderToken", "misconfigured"),
        (403, "MissingProviderToken", "misconfigured"),
        (403, "BadCertificate", "misconfigured"),
        (403, "BadCertificateEnvironment", "misconfigured"),
        (403, "Forbidden", "misconfigured"),
        (429, "TooManyProviderTokenUpdates", "misconfigured"),
        (429, "TooManyRequests", "retry"),
        (500, "InternalServerError", "retry"),
        (503, "ServiceUnavailable", "retry"),
        (503, "Shutdown", "retry"),
    ] {
        bench.service.rules.script.push(says(status, reason));
        let outcome = bench.push(Class::Message).await;
        assert_eq!((outcome.as_str(), outcome.why()), (expected, &*format!("HTTP {status} {reason}")));
    }
    bench.service.rules.script.push(says(503, "Shutdown").with("retry-after", "17"));
    let after = Some(Duration::from_secs(17));
    assert!(matches!(bench.push(Class::Message).await, Outcome::Retry { after: said, .. } if said == after));
    bench.service.rules.script.push(says(429, "TooManyRequests"));
    let after = Some(Duration::from_secs(60));
    assert!(matches!(bench.push(Class::Message).await, Outcome::Retry { after: said, .. } if said == after));
}

#[tokio::test]
async fn a_token_that_was_registered_after_its_death_is_kept() {
    let bench = bench().await;
    let dead = (bench.service.now() - 100) * 1000;
    let body = format!("{{\"reason\":\"Unregistered\",\"timestamp\":{dead}}}");
    for (since, expected) in [(bench.service.now() - 50, "refused"), (bench.service.now() - 200, "gone")] {
        bench.service.rules.script.push(Says::new(410, body.clone()));
        let note = chappe_push::Note { since, ..bench.service.note(Class::Message) };
        assert_eq!(bench.apns.send(&device(), &note).await.as_str(), expected);
    }
}

#[tokio::test]
async fn what_a_device_says_of_itself_is_looked_at_before_it_is_used() {
    let bench = bench().await;
    let note = bench.service.note(Class::Message);
    let foreign = target("apns", "OTHERTEAM1.com.example.app", &"5a".repeat(32));
    assert_eq!(bench.apns.send(&foreign, &note).await.as_str(), "refused");
    for prid in ["", "../../admin", "not hex", "5a/5a"] {
        let target = target("apns", &format!("{TEAM}.{TOPIC}"), prid);
        assert_eq!(bench.apns.send(&target, &note).await.as_str(), "gone", "{prid}");
    }
    assert!(bench.service.seen().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_service_that_is_not_trusted_or_not_there_is_tried_again_later() {
    let bench = bench().await;
    let (key, _) = token::new_es256();
    let auth = ApnsAuth::Token { key, key_id: KEY_ID.to_owned() };
    let note = bench.service.note(Class::Call);
    let strangers = Apns::new(settings(&bench.service.url, auth.clone()), &chappe_push::Tls::default()).unwrap();
    assert_eq!(strangers.send(&device(), &note).await.as_str(), "retry");
    let absent = format!("https://{}", nowhere().await);
    let apns = Apns::new(settings(&absent, auth), &bench.service.tls()).unwrap();
    let outcome = apns.send(&device(), &note).await;
    assert_eq!(outcome.as_str(), "retry");
    assert!(!outcome.why().contains("5a5a"), "the token is not for logs: {}", outcome.why());
    assert!(bench.service.seen().is_empty());
}
