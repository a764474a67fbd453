//! What else is published of a user: messages that wait (RFC 3842) and calls (RFC 4235).

use super::{NAME, Subscription, notified, notified_of, publish, subscribe, two};
use crate::case::{Case, Ctx, Verdict, cases, check, fail, skip};
use crate::message::Message;
use crate::target::Proto;
use crate::ua::{Req, Ua};

const DIALOGS: &str = "application/dialog-info+xml";

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "3842 3.8" "3842-first" Must "A device of the user gets the number of messages that wait at once" => summary;
        "3842 3.8" "3842-change" Should "A message that begins to wait, and one that is delivered, change it" => summary_change;
        "3842 3.7" "3842-others" Should "Nobody else learns whether messages wait" => summary_others;
        "4235 3.7" "4235-published" Practice "The calls that a device publishes are told to the user's other devices" => dialogs;
        "4235 4.1" "4235-devices" Practice "The calls of two devices are in one document, with an id each" => dialogs_of_two;
        "4235 3" "4235-unpublished" Practice "Of a user whose devices publish no calls the devices are asked" => dialogs_of_device;
        "4235 3" "4235-dead" Practice "A connection that ends takes its calls along" => dialogs_of_dead;
    }
}

fn summary_req(ua: &mut Ua, to: &str) -> Req {
    let request = ua.req("SUBSCRIBE", to).add("Event", "message-summary").add("Expires", "600");
    request.add("Accept", "application/simple-message-summary")
}

async fn summary(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = summary_req(&mut p.bob, &bob);
    let s = subscribe(&mut p.bob, &request).await?;
    let kind = s.first.header("content-type").unwrap_or("").to_owned();
    check!(kind.starts_with("application/simple-message-summary"), "Content-Type is {kind}");
    let text = s.first.body_text();
    let first = text.lines().next().unwrap_or("").to_ascii_lowercase();
    check!(first.starts_with("messages-waiting:"), "it begins with {first:?}");
    check!(!text.contains("Message-Account: <"), "the account stands in angle brackets");
    s.end(&mut p.bob).await.map(|_| ())
}

/// Waits for a summary that says so.
async fn says(ua: &mut Ua, waiting: &str) -> Verdict<Message> {
    notified_of(ua, &format!("Messages-Waiting: {waiting}")).await
}

async fn summary_change(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    // A desk phone that shows a lamp, and is registered nowhere.
    let mut lamp = ctx.ua(&p.bob.account.clone()).await?;
    p.bob.clear().await?;
    let bob = p.bob.aor();
    let request = summary_req(&mut lamp, &bob);
    let s = subscribe(&mut lamp, &request).await?;
    let message = p.alice.req("MESSAGE", &bob).body("text/plain", format!("for later {}", ctx.token));
    let answer = p.alice.call(&message).await?;
    if answer.status() != Some(202) {
        return skip(format!("messages do not wait: {}", answer.start));
    }
    let notify = says(&mut lamp, "yes").await?;
    check!(notify.body_text().contains("Message: 1/0"), "{}", notify.body_text());
    p.bob.register().await?;
    let got = p.bob.incoming("MESSAGE").await?;
    p.bob.reply(&got, "200 OK", &[]).await?;
    says(&mut lamp, "no").await?;
    s.end(&mut lamp).await.map(|_| ())
}

async fn summary_others(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = summary_req(&mut p.alice, &bob);
    let answer = p.alice.call(&request).await?;
    check!(answer.status().is_some_and(|s| s >= 300), "it was answered {}", answer.start);
    Ok(())
}

fn calls(ua: &Ua, dialogs: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" state=\"full\" \
         entity=\"{}\">{dialogs}</dialog-info>",
        ua.aor()
    )
}

fn call(id: &str, state: &str) -> String {
    format!("<dialog id=\"{id}\" direction=\"initiator\"><state>{state}</state></dialog>")
}

async fn publish_calls(ua: &mut Ua, dialogs: &str, tag: Option<&str>) -> Verdict<String> {
    let aor = ua.aor();
    let body = calls(ua, dialogs);
    let mut request = ua.req("PUBLISH", &aor).add("Event", "dialog").add("Expires", "600").body(DIALOGS, body);
    if let Some(tag) = tag {
        request = request.add("SIP-If-Match", tag);
    }
    publish(ua, &request).await.map(|(tag, _)| tag)
}

async fn watch_calls(ua: &mut Ua) -> Verdict<Subscription> {
    let aor = ua.aor();
    let request = ua.req("SUBSCRIBE", &aor).add("Event", "dialog").add("Expires", "600").add("Accept", DIALOGS);
    subscribe(ua, &request).await
}

async fn dialogs(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let mut other = ctx.ua(&p.bob.account.clone()).await?;
    let tag = publish_calls(&mut p.bob, &call("c1", "early"), None).await?;
    let s = watch_calls(&mut other).await?;
    let text = s.first.body_text();
    for wanted in ["state=\"full\"", "id=\"c1\"", "early", &format!("entity=\"{}\"", p.bob.aor())] {
        check!(text.contains(wanted), "{wanted} is not in {text}");
    }
    let tag = publish_calls(&mut p.bob, &call("c1", "confirmed"), Some(&tag)).await?;
    let notify = notified_of(&mut other, "confirmed").await?;
    check!(!notify.body_text().contains("version=\"0\""), "the version is that of the first");
    publish_calls(&mut p.bob, &call("c1", "terminated"), Some(&tag)).await?;
    let notify = notified(&mut other).await?;
    check!(!notify.body_text().contains("confirmed"), "the call is still in {}", notify.body_text());
    s.end(&mut other).await.map(|_| ())
}

async fn dialogs_of_two(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let mut other = ctx.ua(&p.bob.account.clone()).await?;
    other.register().await?;
    publish_calls(&mut p.bob, &call("same", "early"), None).await?;
    publish_calls(&mut other, &call("same", "confirmed"), None).await?;
    let s = watch_calls(&mut other).await?;
    let text = s.first.body_text();
    check!(text.contains("early") && text.contains("confirmed"), "both calls are not in {text}");
    check!(text.matches("id=\"same\"").count() == 1, "two dialogs have one id in {text}");
    s.end(&mut other).await.map(|_| ())
}

async fn dialogs_of_device(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = p.alice.req("SUBSCRIBE", &bob).add("Event", "dialog").add("Expires", "600").add("Accept", DIALOGS);
    let (sent, first) = p.alice.start(&request).await?;
    if let Some(answer) = first.filter(|answer| answer.status() != Some(100)) {
        return fail(format!("it was answered {}", answer.start));
    }
    let seen = p.bob.incoming("SUBSCRIBE").await?;
    p.bob.reply(&seen, "489 Bad Event", &[("Allow-Events", "presence")]).await?;
    let answer = p.alice.outcome(&sent).await?;
    check!(answer.status() == Some(489), "expected the device's 489, got {}", answer.start);
    Ok(())
}

async fn dialogs_of_dead(ctx: Ctx) -> Verdict {
    let p = two(&ctx).await?;
    let over = if ctx.proto() == Proto::Udp { Proto::Tcp } else { ctx.proto() };
    let mut device = ctx.ua_over(&p.bob.account, over).await?;
    let mut other = ctx.ua(&p.bob.account).await?;
    publish_calls(&mut device, &call("c1", "confirmed"), None).await?;
    let s = watch_calls(&mut other).await?;
    check!(s.first.body_text().contains("c1"), "{}", s.first.body_text());
    drop(device);
    let notify = notified(&mut other).await?;
    check!(!notify.body_text().contains("c1"), "the call is still in {}", notify.body_text());
    s.end(&mut other).await.map(|_| ())
}
