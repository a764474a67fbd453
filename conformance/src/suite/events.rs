//! The registration event package: RFC 3680 over RFC 6665.

use std::time::Duration;

use crate::case::{ANSWER, Case, Ctx, Verdict, cases, check, fail, skip};
use crate::message::{Message, param};
use crate::ua::{Req, Ua};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases! { "rfc3680";
        "4.6" "subscribe" Must "A user may subscribe to its own registration and gets a full NOTIFY at once" => subscribe;
        "4.7" "update" Must "A change of the bindings is notified" => update;
        "5.1" "document" Must "The document names the address of record, its state and each contact" => document;
    };
    all.extend(cases! { "rfc6665";
        "4.2.1.1" "expires" Must "The 200 to SUBSCRIBE grants no longer than was asked" => granted;
        "4.1.3" "notify-headers" Must "NOTIFY carries Event, Subscription-State and Contact in the dialog of the SUBSCRIBE" => notify_headers;
        "4.2.1.4" "unsubscribe" Must "Expires 0 ends the subscription with a last NOTIFY" => unsubscribe;
        "4.1.2.3" "unknown-event" Must "An unknown event package is refused with 489" => unknown_event;
        "7.2" "481" Should "A NOTIFY answered 481 ends the subscription" => gone;
    });
    all
}

struct Subscription {
    request: Req,
    ok: Message,
    notify: Message,
}

fn subscribe_req(ua: &mut Ua) -> Req {
    let aor = ua.aor();
    ua.req("SUBSCRIBE", &aor).add("Event", "reg").add("Expires", "600").add("Accept", "application/reginfo+xml")
}

/// Sends a SUBSCRIBE; skips where the target knows no packages and hands it to the user's own device.
async fn ask(ua: &mut Ua, request: &Req) -> Verdict<(Req, Message)> {
    let mut sent = request.clone();
    for _ in 0..2 {
        ua.send(&sent).await?;
        let branch = sent.branch();
        let answer = ua.link.take(ANSWER, |m| match m.status() {
            Some(status) => status >= 200 && m.branch().as_deref() == Some(&branch),
            None => m.method() == Some("SUBSCRIBE"),
        });
        let Some(answer) = answer.await else { return fail("no final response to SUBSCRIBE") };
        if answer.status().is_none() {
            ua.reply(&answer, "489 Bad Event", &[]).await?;
            return skip("no reg event package: the SUBSCRIBE went to the user's device");
        }
        match ua.after_challenge(&sent, &answer).await? {
            Some(next) => sent = next,
            None => return Ok((sent, answer)),
        }
    }
    fail("SUBSCRIBE is challenged twice")
}

/// Subscribes and takes the first NOTIFY, answered 200.
async fn subscribed(ua: &mut Ua) -> Verdict<Subscription> {
    let request = subscribe_req(ua);
    let (request, ok) = ask(ua, &request).await?;
    match ok.status() {
        Some(200 | 202) => {}
        Some(403..=405 | 480 | 489 | 501) => return skip(format!("no reg event package: {}", ok.start)),
        _ => return fail(format!("expected 200 to SUBSCRIBE, got {}", ok.start)),
    }
    let notify = ua.incoming("NOTIFY").await?;
    ua.reply(&notify, "200 OK", &[]).await?;
    Ok(Subscription { request, ok, notify })
}

async fn subscriber(ctx: &Ctx) -> Verdict<(Ua, crate::case::Lease)> {
    let lease = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&lease[0]).await?;
    ua.register().await?;
    Ok((ua, lease))
}

async fn end(ua: &mut Ua, s: &Subscription) -> Verdict<Message> {
    let stop = ua.in_dialog(&s.request, &s.ok, "SUBSCRIBE").add("Event", "reg").set("Expires", "0");
    let answer = ua.call(&stop).await?;
    check!(matches!(answer.status(), Some(200 | 202)), "expected 200, got {}", answer.start);
    let last = ua.incoming("NOTIFY").await?;
    ua.reply(&last, "200 OK", &[]).await?;
    Ok(last)
}

async fn subscribe(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = subscriber(&ctx).await?;
    let s = subscribed(&mut ua).await?;
    check!(s.ok.status() == Some(200), "RFC 6665 wants 200, got {}", s.ok.start);
    let body = s.notify.body_text();
    check!(body.contains("state=\"full\""), "the first document is not full: {body}");
    end(&mut ua, &s).await.map(|_| ())
}

async fn update(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = subscriber(&ctx).await?;
    let s = subscribed(&mut ua).await?;
    ua.register_as(&["<sip:second@127.0.0.1:9>;expires=300"]).await?;
    // No more than one in five seconds need come (§4.10).
    let Some(notify) = ua.incoming_within("NOTIFY", Duration::from_secs(7)).await? else {
        return fail("no NOTIFY within 7 s of the change");
    };
    ua.reply(&notify, "200 OK", &[]).await?;
    let body = notify.body_text();
    check!(body.contains("sip:second@127.0.0.1:9"), "the new contact is not in {body}");
    let version = |m: &Message| {
        let body = m.body_text();
        // The XML declaration has a version too.
        let root = &body[body.find("<reginfo")?..];
        let at = root.find(" version=\"")?;
        root[at + 10..].split('"').next()?.parse::<u64>().ok()
    };
    check!(version(&notify) > version(&s.notify), "versions {:?}, {:?}", version(&s.notify), version(&notify));
    end(&mut ua, &s).await.map(|_| ())
}

async fn document(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = subscriber(&ctx).await?;
    let s = subscribed(&mut ua).await?;
    let kind = s.notify.header("content-type").unwrap_or("");
    check!(kind.starts_with("application/reginfo+xml"), "Content-Type is {kind}");
    let body = s.notify.body_text();
    let (aor, contact) = (ua.aor(), ua.contact_uri());
    for wanted in [
        "urn:ietf:params:xml:ns:reginfo",
        &format!("aor=\"{aor}\""),
        "state=\"active\"",
        &contact,
        "event=\"registered\"",
    ] {
        check!(body.contains(wanted), "{wanted} is not in {body}");
    }
    end(&mut ua, &s).await.map(|_| ())
}

async fn granted(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = subscriber(&ctx).await?;
    let s = subscribed(&mut ua).await?;
    let got = s.ok.header("expires").and_then(|v| v.parse::<u32>().ok());
    check!(got.is_some_and(|e| e > 0 && e <= 600), "asked for 600, granted {got:?}");
    end(&mut ua, &s).await.map(|_| ())
}

async fn notify_headers(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = subscriber(&ctx).await?;
    let s = subscribed(&mut ua).await?;
    let n = &s.notify;
    check!(n.header("event").is_some_and(|e| e.starts_with("reg")), "Event is {:?}", n.header("event"));
    let state = n.header("subscription-state").unwrap_or("").to_owned();
    check!(state.starts_with("active"), "Subscription-State is {state:?}");
    check!(param(&state, "expires").is_some(), "Subscription-State is {state:?}");
    check!(n.header("contact").is_some(), "no Contact");
    check!(n.header("call-id") == Some(s.request.get("Call-ID")), "another Call-ID");
    check!(n.tag("to").as_deref() == Some(&ua.tag), "the To tag is {:?}", n.tag("to"));
    check!(n.tag("from") == s.ok.tag("to"), "the From tag is {:?}, the 200 said {:?}", n.tag("from"), s.ok.tag("to"));
    end(&mut ua, &s).await.map(|_| ())
}

async fn unsubscribe(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = subscriber(&ctx).await?;
    let s = subscribed(&mut ua).await?;
    let last = end(&mut ua, &s).await?;
    let state = last.header("subscription-state").unwrap_or("").to_owned();
    check!(state.starts_with("terminated"), "Subscription-State is {state:?}");
    Ok(())
}

async fn unknown_event(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = subscriber(&ctx).await?;
    subscribed(&mut ua).await?;
    let request = subscribe_req(&mut ua).set("Event", "x-chappe-unknown");
    let (_, answer) = ask(&mut ua, &request).await?;
    check!(answer.status() == Some(489), "expected 489, got {}", answer.start);
    ctx.should(answer.header("allow-events").is_some(), "489 without Allow-Events");
    Ok(())
}

async fn gone(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = subscriber(&ctx).await?;
    let request = subscribe_req(&mut ua);
    let (request, ok) = ask(&mut ua, &request).await?;
    if !matches!(ok.status(), Some(200 | 202)) {
        return skip(format!("no reg event package: {}", ok.start));
    }
    let notify = ua.incoming("NOTIFY").await?;
    ua.reply(&notify, "481 Gone", &[]).await?;
    let refresh = ua.in_dialog(&request, &ok, "SUBSCRIBE").add("Event", "reg").set("Expires", "600");
    let answer = ua.call(&refresh).await?;
    check!(answer.status() == Some(481), "a subscription that is gone was refreshed: {}", answer.start);
    ua.incoming_within("NOTIFY", ANSWER / 12).await.map(|_| ())
}
