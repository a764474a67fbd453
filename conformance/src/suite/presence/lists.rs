//! Subscriptions to lists.

use super::{NAME, document, notified_of, publish, publish_req, subscribe, two};
use crate::case::{Case, Ctx, Verdict, cases, check, skip};
use crate::ua::{Req, Ua};

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "5367 4" "5367-fetch" Must "A list in the body is fetched whole: every resource, and the documents of those who are known" => fetch;
        "4662 5" "4662-full-first" Must "The first NOTIFY of a list has the full state, the next what changed, with versions in turn" => full_first;
        "4662 4" "4662-eventlist" Must "A list is refused with 421 to who does not know lists" => eventlist;
        "5367 4" "5367-junk" Must "A body that is no list is refused" => junk;
    }
}

fn list_req(ua: &mut Ua, entries: &[&str]) -> Req {
    let inside: String = entries.iter().map(|uri| format!("<entry uri=\"{uri}\"/>")).collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{inside}</list></resource-lists>"
    );
    let aor = ua.aor();
    ua.req("SUBSCRIBE", &aor)
        .add("Event", "presence")
        .add("Expires", "600")
        .add("Accept", "application/pidf+xml, application/rlmi+xml, multipart/related")
        .add("Supported", "eventlist")
        .add("Require", "recipient-list-subscribe")
        .add("Content-Disposition", "recipient-list")
        .body("application/resource-lists+xml", body)
}

/// Skips where lists in the body are not known.
async fn supported(ua: &mut Ua, request: &Req) -> Verdict {
    let answer = ua.call(&request.clone().set("Expires", "0")).await?;
    match answer.status() {
        Some(403 | 404 | 405 | 415 | 420 | 480 | 489 | 501) => skip(format!("no lists: {}", answer.start)),
        _ => super::notified(ua).await.map(|_| ()),
    }
}

async fn fetch(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "listed", "open", "");
    let request = publish_req(&mut p.bob, &body);
    publish(&mut p.bob, &request).await?;
    let (bob, nobody) = (p.bob.aor(), format!("sip:nobody-{}@{}", ctx.token, ctx.domain()));
    let request = list_req(&mut p.alice, &[&bob, &nobody]);
    supported(&mut p.alice, &request).await?;
    let request = list_req(&mut p.alice, &[&bob, &nobody]).set("Expires", "0");
    let s = subscribe(&mut p.alice, &request).await?;
    let kind = s.first.header("content-type").unwrap_or("").to_owned();
    check!(kind.starts_with("multipart/related") && kind.contains("rlmi+xml"), "Content-Type is {kind}");
    check!(s.first.header("require").is_some_and(|r| r.contains("eventlist")), "NOTIFY without Require: eventlist");
    let text = s.first.body_text();
    for wanted in [
        "fullState=\"true\"",
        &format!("uri=\"{bob}\""),
        &format!("uri=\"{nobody}\""),
        "id=\"listed\"",
        "state=\"terminated\"",
    ] {
        check!(text.contains(wanted), "{wanted} is not in {text}");
    }
    Ok(())
}

async fn full_first(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let (bob, alice) = (p.bob.aor(), p.alice.aor());
    let request = list_req(&mut p.alice, &[&bob, &alice]);
    supported(&mut p.alice, &request).await?;
    let request = list_req(&mut p.alice, &[&bob, &alice]);
    let s = subscribe(&mut p.alice, &request).await?;
    let text = s.first.body_text();
    check!(text.contains("fullState=\"true\"") && text.contains("version=\"0\""), "the first is not full: {text}");
    let body = document(&p.bob, "new", "open", "");
    let request = publish_req(&mut p.bob, &body);
    publish(&mut p.bob, &request).await?;
    let next = notified_of(&mut p.alice, "id=\"new\"").await?;
    let text = next.body_text();
    check!(text.contains("version=\"1\"") && text.contains("fullState=\"false\""), "the second is not partial: {text}");
    check!(!text.contains(&format!("resource uri=\"{alice}\"")), "what did not change is in {text}");
    s.end(&mut p.alice).await.map(|_| ())
}

async fn eventlist(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = list_req(&mut p.alice, &[&bob]);
    supported(&mut p.alice, &request).await?;
    let request = list_req(&mut p.alice, &[&bob]).without("Supported");
    let answer = p.alice.call(&request).await?;
    check!(answer.status() == Some(421), "expected 421, got {}", answer.start);
    check!(answer.header("require").is_some_and(|r| r.contains("eventlist")), "421 without Require: eventlist");
    Ok(())
}

async fn junk(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let bob = p.bob.aor();
    let request = list_req(&mut p.alice, &[&bob]);
    supported(&mut p.alice, &request).await?;
    let request = list_req(&mut p.alice, &[&bob]).body("application/resource-lists+xml", "<list/>");
    let answer = p.alice.call(&request).await?;
    check!(answer.status() == Some(400), "expected 400, got {}", answer.start);
    Ok(())
}
