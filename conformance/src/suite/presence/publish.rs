//! Publications.

use super::{NAME, document, publish, publish_req, two};
use crate::case::{Case, Ctx, Verdict, cases, check, fail, skip};

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "3903 6" "3903-initial" Must "An initial PUBLISH is answered 200 with an entity tag and no longer a lifetime than asked for" => initial;
        "3903 6" "3903-refresh" Must "A refresh gets a new entity tag, and the old one is not valid any more" => refresh;
        "3903 6" "3903-remove" Must "Expires 0 with the entity tag removes a publication" => remove;
        "3903 6" "3903-unknown-tag" Must "An unknown entity tag is answered 412" => unknown_tag;
        "3903 6" "3903-two-tags" Must "More than one SIP-If-Match is answered 400" => two_tags;
        "3903 6" "3903-nothing" Must "A PUBLISH with neither a body nor an entity tag is answered 400" => nothing;
        "3903 6" "3903-brief" Must "A lifetime that is too short is answered 423 with Min-Expires, or granted" => brief;
        "3903 6" "3903-type" Must "A body of another type is answered 415 with Accept" => media_type;
        "3903 6" "3903-event" Must "An unknown event package is answered 489 with Allow-Events" => event;
        "3903 6" "3903-other" Must "A user may not publish for another" => other;
        "3903 6" "3903-junk" Must "A document that is none changes nothing and is refused" => junk;
        "3903 6" "3903-laughs" Must "A document with entities of its own is refused" => laughs;
    }
}

async fn initial(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "t1", "open", "");
    let request = publish_req(&mut p.bob, &body);
    let (tag, ok) = publish(&mut p.bob, &request).await?;
    check!(!tag.is_empty() && !tag.contains(['"', ' ', '*']), "the entity tag is no token: {tag}");
    let granted = ok.header("expires").and_then(|e| e.parse::<u32>().ok());
    check!(granted.is_some_and(|e| e > 0 && e <= 600), "asked for 600, granted {granted:?}");
    Ok(())
}

async fn refresh(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "t1", "open", "");
    let request = publish_req(&mut p.bob, &body);
    let (first, _) = publish(&mut p.bob, &request).await?;
    let request = publish_req(&mut p.bob, "").add("SIP-If-Match", &first);
    let (second, _) = publish(&mut p.bob, &request).await?;
    check!(first != second, "the refresh got the same entity tag");
    let request = publish_req(&mut p.bob, "").add("SIP-If-Match", &first);
    let stale = p.bob.call(&request).await?;
    check!(stale.status() == Some(412), "expected 412 to the old entity tag, got {}", stale.start);
    let request = publish_req(&mut p.bob, &body).add("SIP-If-Match", &second);
    let (third, _) = publish(&mut p.bob, &request).await?;
    check!(third != second, "the change got the same entity tag");
    Ok(())
}

async fn remove(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "t1", "open", "");
    let request = publish_req(&mut p.bob, &body);
    let (tag, _) = publish(&mut p.bob, &request).await?;
    let request = publish_req(&mut p.bob, "").set("Expires", "0").add("SIP-If-Match", &tag);
    let (gone, _) = publish(&mut p.bob, &request).await?;
    let request = publish_req(&mut p.bob, "").add("SIP-If-Match", &gone);
    let answer = p.bob.call(&request).await?;
    check!(answer.status() == Some(412), "expected 412 after the removal, got {}", answer.start);
    Ok(())
}

/// Sends a PUBLISH that has to be refused with this status; skips where there is no presence.
async fn refused(
    ctx: &Ctx,
    status: u16,
    header: &str,
    change: impl FnOnce(crate::ua::Req) -> crate::ua::Req,
) -> Verdict {
    let mut p = two(ctx).await?;
    let body = document(&p.bob, "t1", "open", "");
    let request = publish_req(&mut p.bob, &body);
    publish(&mut p.bob, &request).await?;
    let request = change(publish_req(&mut p.bob, &body));
    let answer = p.bob.call(&request).await?;
    check!(answer.status() == Some(status), "expected {status}, got {}", answer.start);
    check!(header.is_empty() || answer.header(header).is_some(), "{status} without {header}");
    Ok(())
}

async fn unknown_tag(ctx: Ctx) -> Verdict {
    refused(&ctx, 412, "", |r| r.add("SIP-If-Match", "never-given")).await
}

async fn two_tags(ctx: Ctx) -> Verdict {
    refused(&ctx, 400, "", |r| r.add("SIP-If-Match", "a").add("SIP-If-Match", "b")).await
}

async fn nothing(ctx: Ctx) -> Verdict {
    refused(&ctx, 400, "", |mut r| {
        r.body.clear();
        r.without("Content-Type")
    })
    .await
}

async fn brief(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "t1", "open", "");
    let request = publish_req(&mut p.bob, &body).set("Expires", "1");
    let answer = p.bob.call(&request).await?;
    match answer.status() {
        Some(423) => check!(answer.header("min-expires").is_some(), "423 without Min-Expires"),
        Some(200) => {}
        Some(405 | 489 | 501) => return skip(format!("no presence: {}", answer.start)),
        _ => return fail(format!("expected 423 or 200, got {}", answer.start)),
    }
    Ok(())
}

async fn media_type(ctx: Ctx) -> Verdict {
    refused(&ctx, 415, "accept", |r| r.body("text/plain", "here")).await
}

async fn event(ctx: Ctx) -> Verdict {
    refused(&ctx, 489, "allow-events", |r| r.set("Event", "x-chappe-unknown")).await
}

async fn other(ctx: Ctx) -> Verdict {
    let mut p = two(&ctx).await?;
    let body = document(&p.bob, "t1", "open", "");
    let request = publish_req(&mut p.bob, &body);
    publish(&mut p.bob, &request).await?;
    let (alice, bob) = (document(&p.alice, "t1", "closed", ""), p.bob.aor());
    let request = publish_req(&mut p.alice, &alice);
    let to = format!("<{bob}>");
    let request = crate::ua::Req { uri: bob, ..request.set("To", to) };
    let answer = p.alice.call(&request).await?;
    check!(answer.status() == Some(403), "expected 403, got {}", answer.start);
    Ok(())
}

async fn junk(ctx: Ctx) -> Verdict {
    refused(&ctx, 400, "", |r| r.body("application/pidf+xml", "<presence><tuple")).await
}

async fn laughs(ctx: Ctx) -> Verdict {
    let body = "<?xml version=\"1.0\"?><!DOCTYPE p [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\">]>\
        <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:a@b\"><note>&b;</note></presence>";
    refused(&ctx, 400, "", |r| r.body("application/pidf+xml", body)).await
}
