//! Presence: RFC 3903 publications, RFC 3856 subscriptions, RFC 3857 watcher information, RFC 4662 lists; RFC 3842 messages that
//! wait, RFC 4235 calls. A case's name begins with the number of its document.

mod lists;
mod others;
mod publish;
mod watch;

use std::time::Duration;

use crate::case::{ANSWER, Case, Ctx, Lease, Verdict, check, fail, skip};
use crate::message::Message;
use crate::ua::{Req, Ua};

pub(crate) const NAME: &str = "presence";

pub(crate) fn cases() -> Vec<Case> {
    let mut all = publish::cases();
    all.extend(watch::cases());
    all.extend(lists::cases());
    all.extend(others::cases());
    all
}

/// Two users, both registered: one who is watched and one who watches.
struct Two {
    bob: Ua,
    alice: Ua,
    _lease: Lease,
}

async fn two(ctx: &Ctx) -> Verdict<Two> {
    let lease = ctx.accounts(2).await?;
    let mut bob = ctx.ua(&lease[0]).await?;
    let mut alice = ctx.ua(&lease[1]).await?;
    bob.register().await?;
    alice.register().await?;
    Ok(Two { bob, alice, _lease: lease })
}

/// A presence document with one service.
fn document(ua: &Ua, tuple: &str, basic: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{}\">\
         <tuple id=\"{tuple}\"><status><basic>{basic}</basic></status><contact>{}</contact>{more}</tuple></presence>",
        ua.aor(),
        ua.contact_uri()
    )
}

fn publish_req(ua: &mut Ua, body: &str) -> Req {
    let aor = ua.aor();
    let request = ua.req("PUBLISH", &aor).add("Event", "presence").add("Expires", "600");
    if body.is_empty() { request } else { request.body("application/pidf+xml", body) }
}

/// Publishes; gives the entity tag. Skips where there is no presence.
async fn publish(ua: &mut Ua, request: &Req) -> Verdict<(String, Message)> {
    let answer = ua.call(request).await?;
    match answer.status() {
        Some(200) => {}
        Some(405 | 489 | 501) => return skip(format!("no presence: {}", answer.start)),
        _ => return fail(format!("expected 200 to PUBLISH, got {}", answer.start)),
    }
    match answer.header("sip-etag") {
        Some(tag) => Ok((tag.to_owned(), answer.clone())),
        None => fail("200 to PUBLISH without SIP-ETag"),
    }
}

fn subscribe_req(ua: &mut Ua, to: &str) -> Req {
    ua.req("SUBSCRIBE", to).add("Event", "presence").add("Expires", "600").add("Accept", "application/pidf+xml")
}

/// A subscription: its request, its 200, and the first NOTIFY, answered.
struct Subscription {
    request: Req,
    ok: Message,
    first: Message,
}

async fn subscribe(ua: &mut Ua, request: &Req) -> Verdict<Subscription> {
    let (request, ok) = ua.call_as(request).await?;
    match ok.status() {
        Some(200 | 202) => {}
        Some(405 | 480 | 489 | 501) => return skip(format!("no presence: {}", ok.start)),
        _ => return fail(format!("expected 200 to SUBSCRIBE, got {}", ok.start)),
    }
    let first = notified(ua).await?;
    Ok(Subscription { request, ok, first })
}

/// The next NOTIFY, answered 200.
async fn notified(ua: &mut Ua) -> Verdict<Message> {
    let notify = ua.incoming("NOTIFY").await?;
    ua.reply(&notify, "200 OK", &[]).await?;
    Ok(notify)
}

/// The next NOTIFY that holds a text: others may come before, and none more often than every five seconds.
async fn notified_of(ua: &mut Ua, text: &str) -> Verdict<Message> {
    let mut last = String::new();
    for _ in 0..4 {
        let Some(notify) = ua.incoming_within("NOTIFY", ANSWER + Duration::from_secs(2)).await? else { break };
        ua.reply(&notify, "200 OK", &[]).await?;
        last = notify.body_text();
        if last.contains(text) {
            return Ok(notify);
        }
    }
    fail(format!("no NOTIFY with {text}; the last had {last:?}"))
}

impl Subscription {
    async fn end(&self, ua: &mut Ua) -> Verdict<Message> {
        let event = self.request.get("Event").to_owned();
        let stop = ua.in_dialog(&self.request, &self.ok, "SUBSCRIBE").add("Event", event).set("Expires", "0");
        let answer = ua.call(&stop).await?;
        check!(matches!(answer.status(), Some(200 | 202)), "expected 200, got {}", answer.start);
        for _ in 0..4 {
            let notify = notified(ua).await?;
            if notify.header("subscription-state").unwrap_or("").starts_with("terminated") {
                return Ok(notify);
            }
        }
        fail("no NOTIFY with Subscription-State: terminated")
    }
}
