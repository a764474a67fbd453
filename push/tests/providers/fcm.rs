//! FCM: the exchange of tokens, messages, and each error that the service knows.

use std::time::Duration;

use chappe_push::{Class, Fcm, Outcome, Provider, Target};

use crate::sim::google::{Google, PROJECT, error};
use crate::sim::{Says, Service, target};

struct Bench {
    service: Service<Google>,
    fcm: Fcm,
}

async fn bench() -> Bench {
    let service = Service::start(Google::new).await;
    let fcm = Fcm::new(&Google::account(&service.url), Some(&service.url), &service.tls()).unwrap();
    Bench { service, fcm }
}

fn device() -> Target {
    target("fcm", PROJECT, "cT9x:APA91bExample")
}

impl Bench {
    async fn push(&self, class: Class) -> Outcome {
        self.fcm.send(&device(), &self.service.note(class)).await
    }

    /// The paths that were asked since the last call.
    fn asked(&self) -> Vec<String> {
        let seen = self.service.seen();
        seen.iter().map(|seen| seen.path.rsplit('/').next().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn one_token_serves_for_most_of_an_hour() {
    let bench = bench().await;
    assert_eq!(bench.push(Class::Call).await, Outcome::Accepted);
    bench.service.pass(3000);
    assert_eq!(bench.push(Class::Message).await, Outcome::Accepted);
    bench.service.pass(400);
    assert_eq!(bench.push(Class::Refresh).await, Outcome::Accepted);
    let seen = bench.service.seen();
    let messages: Vec<_> = seen.iter().filter(|seen| seen.path.ends_with(":send")).collect();
    assert_eq!(seen.len() - messages.len(), 2, "a token was asked for twice");
    let of = |n: usize, name: &str| messages[n].json()["message"]["android"][name].as_str().unwrap().to_owned();
    assert_eq!([of(0, "priority"), of(1, "priority"), of(2, "priority")], ["HIGH", "HIGH", "NORMAL"]);
    assert_eq!((of(0, "ttl"), of(0, "collapse_key")), ("30s".to_owned(), "call".to_owned()));
    assert!(messages[0].json()["message"].get("notification").is_none(), "the application shows what it gets");
}

#[tokio::test]
async fn pushes_at_one_time_ask_for_one_token() {
    let bench = bench().await;
    let pushes = (0..20).map(|_| bench.push(Class::Message));
    for outcome in futures(pushes).await {
        assert_eq!(outcome, Outcome::Accepted);
    }
    assert_eq!(bench.asked().iter().filter(|path| *path == "token").count(), 1);
}

/// All at one time, on one task.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(move |context| {
        for (one, done) in running.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = one.as_mut().poll(context) {
                *done = Some(output);
            }
        }
        if running.iter().any(|(_, done)| done.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(running.iter_mut().filter_map(|(_, done)| done.take()).collect())
    })
    .await
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_asked_for_anew_once() {
    let bench = bench().await;
    bench.push(Class::Message).await;
    bench.service.rules.revoke();
    assert_eq!(bench.push(Class::Message).await, Outcome::Accepted);
    assert_eq!(bench.asked(), ["token", "messages:send", "messages:send", "token", "messages:send"]);
    for _ in 0..2 {
        bench.service.rules.script.push(error(401, "THIRD_PARTY_AUTH_ERROR"));
    }
    let outcome = bench.push(Class::Message).await;
    assert_eq!(outcome.as_str(), "misconfigured");
    assert_eq!(bench.asked(), ["messages:send", "token", "messages:send"]);
}

#[tokio::test]
async fn each_error_of_the_service_has_its_consequence() {
    let bench = bench().await;
    for (status, code, expected) in [
        (404, "UNREGISTERED", "gone"),
        (400, "INVALID_ARGUMENT", "gone"),
        (403, "SENDER_ID_MISMATCH", "gone"),
        (400, "UNSPECIFIED_ERROR", "refused"),
        (429, "QUOTA_EXCEEDED", "retry"),
        (500, "INTERNAL", "retry"),
        (503, "UNAVAILABLE", "retry"),
    ] {
        bench.service.rules.script.push(error(status, code));
        let outcome = bench.push(Class::Message).await;
        assert_eq!(outcome.as_str(), expected, "{outcome:?}");
        assert!(outcome.why().starts_with(&format!("HTTP {status} {code}")), "{outcome:?}");
    }
    // Without its detail of FCM an error of this kind is ours, and tells nothing of the token.
    let body = "{\"error\":{\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\"}]}}";
    bench.service.rules.script.push(Says::new(400, body));
    assert_eq!(bench.push(Class::Message).await.as_str(), "refused");
    let said = |outcome| match outcome {
        Outcome::Retry { after, .. } => after,
        other => panic!("{other:?}"),
    };
    bench.service.rules.script.push(error(429, "QUOTA_EXCEEDED"));
    assert_eq!(said(bench.push(Class::Message).await), Some(Duration::from_secs(60)));
    bench.service.rules.script.push(error(429, "QUOTA_EXCEEDED").with("retry-after", "120"));
    assert_eq!(said(bench.push(Class::Message).await), Some(Duration::from_secs(120)));
    bench.service.rules.script.push(error(503, "UNAVAILABLE"));
    assert_eq!(said(bench.push(Class::Message).await), None, "the schedule decides");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let bench = bench().await;
    for (says, expected) in [
        (Says::new(503, ""), "retry"),
        (Says::new(429, "").with("retry-after", "9"), "retry"),
        (
            Says::new(400, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}"),
            "misconfigured",
        ),
        (Says::new(200, "no json"), "misconfigured"),
    ] {
        bench.service.rules.tokens.push(says);
        let outcome = bench.push(Class::Message).await;
        assert_eq!(outcome.as_str(), expected, "{outcome:?}");
        assert_eq!(bench.asked(), ["token"]);
    }
    assert_eq!(bench.push(Class::Message).await, Outcome::Accepted, "and then it is");
}

#[tokio::test]
async fn tokens_of_devices_are_judged_by_the_service_and_projects_by_us() {
    let bench = bench().await;
    let note = bench.service.note(Class::Message);
    assert_eq!(bench.fcm.send(&target("fcm", PROJECT, "junk"), &note).await.as_str(), "gone");
    assert_eq!(bench.fcm.send(&target("fcm", "", "cT9x:APA91bExample"), &note).await, Outcome::Accepted);
    assert_eq!(bench.fcm.send(&target("fcm", "other", "cT9x:APA91bExample"), &note).await.as_str(), "refused");
}
