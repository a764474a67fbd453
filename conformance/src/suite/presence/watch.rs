//! Watchers of one presentity, and who watches them.

use std::time::{Duration, Instant};

use super::{NAME, document, notified, notified_of, publish, publish_req, subscribe, subscribe_req, two};
use crate::case::{Case, Ctx, Verdict, cases, check, fail, skip};
use crate::target::Proto;

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "3856 6" "3856-first" Must "A watcher gets the published state in the first NOTIFY, as application/pidf+xml" => first;
        "3856 6" "3856-change" Must "A change of the published state is notified" => change;
        "3856 6" "3856-fetch" Must "Expires 0 fetches the state once" => fetch;
        "3856 6" "3856-devices" Must "The services of two devices are shown in one document" => devices;
        "3856 6" "3856-removed" Must "What was removed is not shown any more" => removed;
        "6665 4" "6665-refreshed" Must "A refresh gets a NOTIFY with the full state" => refreshed;
        "5839 7" "5839-suppressed" Should "A refresh with the tag of the state is answered 204 and not notified" => suppressed;
        "6446 4" "6446-rate" Should "A maximum rate that the subscriber asks for is kept to and told" => rate;
        "3857 4" "3857-full" Must "A presentity learns who watches it" => watchers;
        "3857 4" "3857-new" Must "A presentity is told of a new watcher" => new_watcher;
        "3857 4" "3857-others" Must "Nobody else learns who watches a presentity" => others;
        "3856 6" "practice-flow" Practice "A connection that ends takes along what was published over it" => dead_flow;
        "3856 6" "practice-registered" Practice "A user that is registered and publishes nothing is open" => registered;
    }
}

async fn first(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "first", "open", "");
    let request = publish_req(&mut p.bob, &body);
    publish(&mut p.bob, &request).await?;
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    let kind = s.first.header("content-type").unwrap_or("").to_owned();
    check!(kind.starts_with("application/pidf+xml"), "Content-Type is {kind}");
    let state = s.first.header("subscription-state").unwrap_or("").to_owned();
    check!(state.starts_with("active"), "Subscription-State is {state}");
    let text = s.first.body_text();
    for wanted in ["urn:ietf:params:xml:ns:pidf", "id=\"first\"", "<basic>open</basic>", &format!("entity=\"{bob}\"")] {
        check!(text.contains(wanted), "{wanted} is not in {text}");
    }
    s.end(&mut p.alice).await.map(|_| ())
}

async fn change(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "t1", "open", "");
    let request = publish_req(&mut p.bob, &body);
    let (tag, _) = publish(&mut p.bob, &request).await?;
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    let body = document(&p.bob, "t1", "closed", "<note>gone fishing</note>");
    let request = publish_req(&mut p.bob, &body).add("SIP-If-Match", tag);
    publish(&mut p.bob, &request).await?;
    let notify = notified_of(&mut p.alice, "gone fishing").await?;
    check!(notify.body_text().contains("<basic>closed</basic>"), "{}", notify.body_text());
    s.end(&mut p.alice).await.map(|_| ())
}

async fn fetch(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "fetched", "open", "");
    let request = publish_req(&mut p.bob, &body);
    publish(&mut p.bob, &request).await?;
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob).set("Expires", "0");
    let s = subscribe(&mut p.alice, &request).await?;
    let state = s.first.header("subscription-state").unwrap_or("").to_owned();
    check!(state.starts_with("terminated"), "Subscription-State is {state}");
    check!(s.first.body_text().contains("id=\"fetched\""), "the state is not in {}", s.first.body_text());
    Ok(())
}

async fn devices(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let mut other = ctx.ua(&p.bob.account.clone()).await?;
    other.register().await?;
    for (ua, tuple) in [(&mut p.bob, "phone"), (&mut other, "desk")] {
        let body = document(ua, tuple, "open", "");
        let request = publish_req(ua, &body);
        publish(ua, &request).await?;
    }
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    let text = s.first.body_text();
    check!(text.contains("id=\"phone\"") && text.contains("id=\"desk\""), "both devices are not in {text}");
    s.end(&mut p.alice).await.map(|_| ())
}

async fn removed(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "removed", "open", "");
    let request = publish_req(&mut p.bob, &body);
    let (tag, _) = publish(&mut p.bob, &request).await?;
    let request = publish_req(&mut p.bob, "").set("Expires", "0").add("SIP-If-Match", tag);
    publish(&mut p.bob, &request).await?;
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    check!(!s.first.body_text().contains("id=\"removed\""), "it is still in {}", s.first.body_text());
    s.end(&mut p.alice).await.map(|_| ())
}

async fn refreshed(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "again", "open", "");
    let request = publish_req(&mut p.bob, &body);
    publish(&mut p.bob, &request).await?;
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    let refresh = p.alice.in_dialog(&s.request, &s.ok, "SUBSCRIBE").add("Event", "presence").set("Expires", "300");
    let answer = p.alice.call(&refresh).await?;
    check!(matches!(answer.status(), Some(200 | 202)), "expected 200, got {}", answer.start);
    let notify = notified(&mut p.alice).await?;
    check!(notify.body_text().contains("id=\"again\""), "the state is not in {}", notify.body_text());
    s.end(&mut p.alice).await.map(|_| ())
}

async fn suppressed(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    let Some(tag) = s.first.header("sip-etag").map(ToOwned::to_owned) else {
        return skip("no SIP-ETag in NOTIFY");
    };
    let refresh = p.alice.in_dialog(&s.request, &s.ok, "SUBSCRIBE").add("Event", "presence").set("Expires", "300");
    let answer = p.alice.call(&refresh.add("Suppress-If-Match", tag)).await?;
    check!(answer.status() == Some(204), "expected 204, got {}", answer.start);
    p.alice.nothing("NOTIFY").await?;
    s.end(&mut p.alice).await.map(|_| ())
}

async fn rate(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob).set("Event", "presence;max-rate=0.1");
    let s = subscribe(&mut p.alice, &request).await?;
    let state = s.first.header("subscription-state").unwrap_or("").to_owned();
    check!(state.contains("max-rate="), "Subscription-State is {state}");
    let begun = Instant::now();
    let body = document(&p.bob, "slow", "open", "<note>slowly</note>");
    let request = publish_req(&mut p.bob, &body);
    publish(&mut p.bob, &request).await?;
    let Some(notify) = p.alice.incoming_within("NOTIFY", Duration::from_secs(13)).await? else {
        return fail("no NOTIFY within 13 s");
    };
    p.alice.reply(&notify, "200 OK", &[]).await?;
    check!(begun.elapsed() > Duration::from_secs(7), "a NOTIFY came after {:?}", begun.elapsed());
    s.end(&mut p.alice).await.map(|_| ())
}

async fn watchers(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let (bob, alice) = (p.bob.aor(), p.alice.aor());
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    let request = winfo_req(&mut p.bob, &bob);
    let w = subscribe(&mut p.bob, &request).await?;
    let text = w.first.body_text();
    for wanted in
        ["urn:ietf:params:xml:ns:watcherinfo", "state=\"full\"", "package=\"presence\"", "status=\"active\"", &alice]
    {
        check!(text.contains(wanted), "{wanted} is not in {text}");
    }
    s.end(&mut p.alice).await?;
    w.end(&mut p.bob).await.map(|_| ())
}

fn winfo_req(ua: &mut crate::ua::Ua, to: &str) -> crate::ua::Req {
    subscribe_req(ua, to).set("Event", "presence.winfo").set("Accept", "application/watcherinfo+xml")
}

async fn new_watcher(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let (bob, alice) = (p.bob.aor(), p.alice.aor());
    let request = winfo_req(&mut p.bob, &bob);
    let w = subscribe(&mut p.bob, &request).await?;
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    notified_of(&mut p.bob, &alice).await?;
    s.end(&mut p.alice).await?;
    notified_of(&mut p.bob, "status=\"terminated\"").await?;
    w.end(&mut p.bob).await.map(|_| ())
}

async fn others(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = winfo_req(&mut p.bob, &bob);
    let w = subscribe(&mut p.bob, &request).await?;
    let request = winfo_req(&mut p.alice, &bob);
    let answer = p.alice.call(&request).await?;
    check!(answer.status() == Some(403), "expected 403, got {}", answer.start);
    w.end(&mut p.bob).await.map(|_| ())
}

async fn dead_flow(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let over = if ctx.proto() == Proto::Udp { Proto::Tcp } else { ctx.proto() };
    let mut bob = ctx.ua_over(&lease[0], over).await?;
    let mut alice = ctx.ua(&lease[1]).await?;
    bob.register().await?;
    alice.register().await?;
    let body = document(&bob, "over-tcp", "open", "");
    let request = publish_req(&mut bob, &body);
    publish(&mut bob, &request).await?;
    let to = bob.aor();
    let request = subscribe_req(&mut alice, &to);
    let s = subscribe(&mut alice, &request).await?;
    check!(s.first.body_text().contains("over-tcp"), "the state is not in {}", s.first.body_text());
    drop(bob);
    let notify = notified_of(&mut alice, "<basic>closed</basic>").await?;
    check!(!notify.body_text().contains("over-tcp"), "it is still in {}", notify.body_text());
    s.end(&mut alice).await.map(|_| ())
}

async fn registered(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = subscribe_req(&mut p.alice, &bob);
    let s = subscribe(&mut p.alice, &request).await?;
    let text = s.first.body_text();
    check!(text.contains("<basic>open</basic>"), "a registered user is not open in {text}");
    p.bob.clear().await?;
    let notify = notified_of(&mut p.alice, "<basic>closed</basic>").await?;
    check!(!notify.body_text().contains("open"), "{}", notify.body_text());
    s.end(&mut p.alice).await.map(|_| ())
}
