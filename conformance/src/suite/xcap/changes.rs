//! Who follows documents is told of changes (RFC 5875), and who watches a user of changed rules.

use super::{Bench, ELEMENT, LISTS, expect};
use crate::case::{ANSWER, Ctx, Verdict, check, fail, skip};
use crate::http::Ask;
use crate::message::Message;
use crate::ua::{Req, Ua};

const RULES: &str = "application/auth-policy+xml";

/// A document, and a device of its owner that follows.
struct Follower {
    bench: Bench,
    ua: Ua,
    request: Req,
    ok: Message,
    first: String,
}

impl Bench {
    /// The selector of the document, or of a node in it, relative to the root.
    fn sel(&self, node: &str) -> String {
        self.target(node).trim_start_matches(&format!("{}/", self.root)).to_owned()
    }
}

fn request(ua: &mut Ua, mode: &str, sels: &[String]) -> Req {
    let entries: String = sels.iter().map(|sel| format!("<entry uri=\"{}\"/>", sel.replace('"', "%22"))).collect();
    let body = super::lists(&format!("<list>{entries}</list>"));
    let event = if mode.is_empty() { "xcap-diff".to_owned() } else { format!("xcap-diff;diff-processing={mode}") };
    let aor = ua.aor();
    ua.req("SUBSCRIBE", &aor).add("Event", event).add("Expires", "600").body(LISTS, body)
}

/// The next NOTIFY, answered; none comes more often than every five seconds.
async fn notified(ua: &mut Ua) -> Verdict<String> {
    match ua.incoming_within("NOTIFY", ANSWER + ANSWER).await? {
        Some(notify) => {
            ua.reply(&notify, "200 OK", &[]).await?;
            let kind = notify.header("content-type").unwrap_or("").to_owned();
            check!(kind.starts_with("application/xcap-diff+xml"), "Content-Type of NOTIFY is {kind:?}");
            Ok(notify.body_text())
        }
        None => fail("no NOTIFY"),
    }
}

/// Subscribes to what `sels` says of a document with two lists in it.
async fn follow(ctx: &Ctx, mode: &str, sels: impl FnOnce(&Bench) -> Vec<String>) -> Verdict<Follower> {
    let bench = Bench::with(ctx, "<list name=\"a\"/><list name=\"b\"/>").await?;
    let mut ua = ctx.ua(&bench.lease[0]).await?;
    ua.register().await?;
    let request = request(&mut ua, mode, &sels(&bench));
    let (request, ok) = ua.call_as(&request).await?;
    match ok.status() {
        Some(200 | 202) => {}
        Some(403 | 404 | 405 | 480 | 489 | 501) => return skip(format!("no xcap-diff: {}", ok.start)),
        _ => return fail(format!("expected 200 to SUBSCRIBE, got {}", ok.start)),
    }
    let first = notified(&mut ua).await?;
    Ok(Follower { bench, ua, request, ok, first })
}

/// The line of a document of changes that speaks of a selector.
fn line<'t>(text: &'t str, sel: &str) -> Option<&'t str> {
    let quoted = format!("sel=\"{}\"", sel.replace('"', "%22"));
    let at = text.find(&quoted)?;
    let start = text[..at].rfind('<')?;
    let end = text[at..].find('>').map_or(text.len(), |end| at + end + 1);
    Some(&text[start..end])
}

fn tag(reply: &crate::http::Reply) -> String {
    reply.header("etag").unwrap_or("").trim_matches('"').to_owned()
}

pub(super) async fn first(ctx: Ctx) -> Verdict {
    let node = "resource-lists/list[@name=\"a\"]";
    let mut f =
        follow(&ctx, "", |b| vec![b.sel(""), b.sel(node), b.sel("resource-lists/list[@name=\"none\"]")]).await?;
    let etag = tag(&f.bench.get("").await?);
    let (whole, one) = (f.bench.sel(""), f.bench.sel(node));
    let document = line(&f.first, &whole).unwrap_or("");
    check!(document.contains(&format!("new-etag=\"{etag}\"")), "the document {etag} is not named in {}", f.first);
    check!(!document.contains("previous-etag"), "the first has a tag of before: {document}");
    check!(line(&f.first, &one).is_some(), "the node is not shown in {}", f.first);
    check!(f.first.contains("<list name=\"a\""), "the node is shown without content: {}", f.first);
    check!(!f.first.contains("none"), "a node that is not there is in {}", f.first);
    f.bench.end().await
}

pub(super) async fn document(ctx: Ctx) -> Verdict {
    let mut f =
        follow(&ctx, "", |b| vec![b.sel("").rsplit_once('/').map_or("", |(folder, _)| folder).to_owned() + "/"])
            .await?;
    let sel = f.bench.sel("");
    let before = tag(&f.bench.get("").await?);
    check!(line(&f.first, &sel).is_some(), "a collection does not name its document: {}", f.first);
    let changed = f.bench.put("", LISTS, &super::lists("<list name=\"c\"/>")).await?;
    expect(&changed, 200, "the change")?;
    let text = notified(&mut f.ua).await?;
    let told = line(&text, &sel).unwrap_or("");
    let (previous, new) = (format!("previous-etag=\"{before}\""), format!("new-etag=\"{}\"", tag(&changed)));
    check!(told.contains(&previous) && told.contains(&new), "expected {previous} {new} in {text}");
    expect(&f.bench.delete("").await?, 200, "the deletion")?;
    let text = notified(&mut f.ua).await?;
    let told = line(&text, &sel).unwrap_or("");
    check!(told.contains("previous-etag=") && !told.contains("new-etag="), "the deletion is told as {text}");
    Ok(())
}

pub(super) async fn patch(ctx: Ctx) -> Verdict {
    let mut f = follow(&ctx, "xcap-patching", |b| vec![b.sel("")]).await?;
    let node = "resource-lists/list[@name=\"a\"]/entry[@uri=\"sip:x@example.com\"]";
    let put = f.bench.put(node, ELEMENT, "<entry uri=\"sip:x@example.com\"/>").await?;
    expect(&put, 201, "the new entry")?;
    let text = notified(&mut f.ua).await?;
    let told = line(&text, &f.bench.sel("")).unwrap_or("");
    check!(told.contains(&format!("new-etag=\"{}\"", tag(&put))), "the change is not told: {text}");
    ctx.should(text.contains("add") && text.contains("sip:x@example.com"), "the operation is not in the NOTIFY");
    f.bench.end().await
}

pub(super) async fn node(ctx: Ctx) -> Verdict {
    let at = "resource-lists/list[@name=\"new\"]";
    let mut f = follow(&ctx, "", |b| vec![b.sel(at)]).await?;
    let sel = f.bench.sel(at);
    check!(line(&f.first, &sel).is_none(), "a node that is not there is in {}", f.first);
    expect(&f.bench.put(at, ELEMENT, "<list name=\"new\"/>").await?, 201, "the new list")?;
    let text = notified(&mut f.ua).await?;
    check!(line(&text, &sel).is_some() && text.contains("<list name=\"new\""), "the node is not shown in {text}");
    expect(&f.bench.delete(at).await?, 200, "the deletion")?;
    let text = notified(&mut f.ua).await?;
    let told = line(&text, &sel).unwrap_or("");
    check!(["0", "false"].iter().any(|no| told.contains(&format!("exists=\"{no}\""))), "gone is told as {text}");
    f.bench.end().await
}

pub(super) async fn list(ctx: Ctx) -> Verdict {
    let mut f = follow(&ctx, "", |b| vec![b.sel("")]).await?;
    let at = f.bench.sel("resource-lists/list[@name=\"b\"]");
    let other = request(&mut f.ua, "", std::slice::from_ref(&at));
    let renewed = f.ua.in_dialog(&f.request, &f.ok, "SUBSCRIBE").add("Event", "xcap-diff").add("Expires", "600");
    let answer = f.ua.call(&renewed.body(LISTS, String::from_utf8_lossy(&other.body).into_owned())).await?;
    check!(matches!(answer.status(), Some(200 | 202)), "expected 200 to the refresh, got {}", answer.start);
    let text = notified(&mut f.ua).await?;
    check!(line(&text, &at).is_some() && line(&text, &f.bench.sel("")).is_none(), "not the new list: {text}");
    f.bench.end().await
}

pub(super) async fn others(ctx: Ctx) -> Verdict {
    let bench = Bench::with(&ctx, "<list name=\"a\"/>").await?;
    let mut ua = ctx.ua(&bench.lease[1]).await?;
    ua.register().await?;
    let ask = request(&mut ua, "", &[bench.sel("")]);
    let (_, ok) = ua.call_as(&ask).await?;
    match ok.status() {
        Some(200 | 202) => {
            let text = notified(&mut ua).await?;
            check!(line(&text, &bench.sel("")).is_none(), "a document of somebody else is in {text}");
        }
        Some(403 | 404 | 405 | 480 | 489 | 501) => {}
        _ => return fail(format!("got {}", ok.start)),
    }
    // And nobody subscribes in somebody else's name.
    let mut theirs = request(&mut ua, "", &[bench.sel("")]);
    theirs.uri.clone_from(&bench.xui);
    let theirs = theirs.set("To", format!("<{}>", bench.xui));
    let answer = ua.call(&theirs).await?;
    check!(answer.status().is_some_and(|s| s >= 400), "subscribed for another: {}", answer.start);
    bench.end().await
}

pub(super) async fn junk(ctx: Ctx) -> Verdict {
    let mut f = follow(&ctx, "", |b| vec![b.sel("")]).await?;
    for (kind, body) in [(LISTS, "<list>"), (LISTS, "text"), ("text/plain", "a")] {
        let ask = request(&mut f.ua, "", &[]).body(kind, body);
        let answer = f.ua.call(&ask).await?;
        check!(matches!(answer.status(), Some(400 | 415)), "expected 400 or 415 to {body:?}, got {}", answer.start);
    }
    f.bench.end().await
}

pub(super) async fn rules(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "pres-rules").await?;
    bench.name = "index".into();
    let mut alice = ctx.ua(&bench.lease[1]).await?;
    alice.register().await?;
    let aor = alice.aor();
    let ruleset = |handling: &str| {
        format!(
            "<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\"><rule id=\"a\"><conditions><identity>\
             <one id=\"{}\"/></identity></conditions><actions><sub-handling \
             xmlns=\"urn:ietf:params:xml:ns:pres-rules\">{handling}</sub-handling></actions></rule></ruleset>",
            aor
        )
    };
    let (allow, block) = (ruleset("allow"), ruleset("block"));
    let put = bench.put("", RULES, &allow).await?;
    check!(matches!(put.status, 200 | 201), "the rules are not taken: {}", put.status);
    let ask = alice.req("SUBSCRIBE", &bench.xui).add("Event", "presence").add("Expires", "600");
    let (_, ok) = alice.call_as(&ask).await?;
    if matches!(ok.status(), Some(405 | 480 | 489 | 501)) {
        return skip(format!("no presence: {}", ok.start));
    }
    check!(matches!(ok.status(), Some(200 | 202)), "expected 200 to SUBSCRIBE, got {}", ok.start);
    let first = alice.incoming("NOTIFY").await?;
    alice.reply(&first, "200 OK", &[]).await?;
    check!(
        first.header("subscription-state").unwrap_or("").starts_with("active"),
        "not allowed: {:?}",
        first.header("subscription-state")
    );
    expect(&bench.put("", RULES, &block).await?, 200, "the other rules")?;
    let last = match alice.incoming_within("NOTIFY", ANSWER).await? {
        Some(last) => last,
        None => return fail("no NOTIFY to who is blocked"),
    };
    alice.reply(&last, "200 OK", &[]).await?;
    let state = last.header("subscription-state").unwrap_or("").to_owned();
    check!(state.starts_with("terminated"), "expected the end, got {state:?}");
    let target = bench.target("");
    let _ = bench.client.ask(Ask { method: "DELETE", target: &target, ..Ask::default() }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    #[test]
    fn lines_are_found_by_their_selector() {
        let sel = "a/users/b/index/~~/l%5B@n=\"x\"%5D";
        assert_eq!(encode("l[@n=\"x\"]"), "l%5B@n=%22x%22%5D");
        let text = "<d:xcap-diff>\n <d:document sel=\"a/users/b/index\" new-etag=\"1\"/>\n <d:element sel=\"a/users/b/index/~~/l%5B@n=%22x%22%5D\" exists=\"0\"/>";
        assert_eq!(line(text, sel), Some("<d:element sel=\"a/users/b/index/~~/l%5B@n=%22x%22%5D\" exists=\"0\"/>"));
        assert_eq!(line(text, "a/users/b/index"), Some("<d:document sel=\"a/users/b/index\" new-etag=\"1\"/>"));
        assert_eq!(line(text, "c"), None);
    }
}
