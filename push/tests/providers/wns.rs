//! WNS: the exchange of tokens, notifications, and each error that the service knows.

use std::time::Duration;

use chappe_push::{Class, Outcome, Provider, Wns, WnsSettings};

use crate::sim::windows::{CLIENT, SECRET, Windows};
use crate::sim::{Says, Service, target};

struct Bench {
    service: Service<Windows>,
    wns: Wns,
}

async fn bench() -> Bench {
    let service = Service::start(|_| Windows::default()).await;
    let settings = WnsSettings {
        client_id: CLIENT.to_owned(),
        secret: SECRET.to_owned(),
        tenant: None,
        token_url: Some(format!("{}/accesstoken.srf", service.url)),
        trusted: vec![service.url.clone()],
    };
    let wns = Wns::new(settings, &service.tls()).unwrap();
    Bench { service, wns }
}

impl Bench {
    async fn push(&self, class: Class) -> Outcome {
        let channel = format!("{}/?token=AwYAAABq7aWo", self.service.url);
        self.wns.send(&target("wns", "", &channel), &self.service.note(class)).await
    }
}

#[tokio::test]
async fn one_token_serves_for_most_of_a_day() {
    let bench = bench().await;
    for pass in [0, 80_000, 7000] {
        bench.service.pass(pass);
        assert_eq!(bench.push(Class::Call).await, Outcome::Accepted);
    }
    let seen = bench.service.seen();
    assert_eq!(seen.iter().filter(|seen| seen.path == "/accesstoken.srf").count(), 2);
    let told = seen.last().unwrap();
    assert_eq!((told.header("x-wns-ttl"), told.header("x-wns-priority")), ("30", "1"));
    assert_eq!(told.json()["class"], "call");
}

#[tokio::test]
async fn a_token_that_ended_early_is_asked_for_anew_once() {
    let bench = bench().await;
    bench.push(Class::Message).await;
    bench.service.rules.revoke();
    assert_eq!(bench.push(Class::Message).await, Outcome::Accepted);
    for _ in 0..2 {
        bench.service.rules.script.push(Says::new(401, ""));
    }
    assert_eq!(bench.push(Class::Message).await.as_str(), "misconfigured");
}

#[tokio::test]
async fn each_error_of_the_service_has_its_consequence() {
    let bench = bench().await;
    for (status, said, expected) in [
        (200, "received", "accepted"),
        (200, "dropped", "refused"),
        (200, "channelthrottled", "retry"),
        (400, "", "refused"),
        (403, "", "gone"),
        (404, "", "gone"),
        (405, "", "refused"),
        (406, "", "retry"),
        (410, "", "gone"),
        (413, "", "refused"),
        (500, "", "retry"),
        (503, "", "retry"),
    ] {
        bench.service.rules.script.push(Says::new(status, "").with("x-wns-status", said));
        let outcome = bench.push(Class::Message).await;
        assert_eq!(outcome.as_str(), expected, "{status} {said}: {outcome:?}");
    }
    bench.service.rules.script.push(Says::new(406, "").with("retry-after", "5"));
    let outcome = bench.push(Class::Message).await;
    assert!(matches!(outcome, Outcome::Retry { after: Some(after), .. } if after == Duration::from_secs(5)));
    bench.service.rules.script.push(Says::new(403, "").with("x-wns-error-description", "Channel of another app"));
    assert_eq!(bench.push(Class::Message).await.why(), "HTTP 403 Channel of another app");
}

#[tokio::test]
async fn channels_of_others_get_nothing() {
    let bench = bench().await;
    let note = bench.service.note(Class::Message);
    for channel in ["https://notify.windows.com.example.com/?token=x", "https://169.254.169.254/", "token"] {
        assert_eq!(bench.wns.send(&target("wns", "", channel), &note).await.as_str(), "refused", "{channel}");
    }
    assert!(bench.service.seen().is_empty(), "not even a token was asked for");
}
