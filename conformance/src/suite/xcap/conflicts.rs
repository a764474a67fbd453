//! 409, and the help that goes with it.

use super::{ATTRIBUTE, Bench, ELEMENT, LISTS, expect, lists};
use crate::case::{Ctx, Verdict, check};
use crate::http::{Ask, Reply};

/// A 409 whose report has this element.
fn report(reply: &Reply, element: &str, what: &str) -> Verdict {
    expect(reply, 409, what)?;
    check!(reply.content_type() == "application/xcap-error+xml", "{what}: type {}", reply.content_type());
    let text = reply.text();
    check!(text.contains("urn:ietf:params:xml:ns:xcap-error"), "{what}: not a report: {text}");
    check!(text.contains(&format!("<{element}")), "{what}: no {element} in {text}");
    Ok(())
}

pub(super) async fn not_well_formed(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "").await?;
    for text in ["", "text", "<resource-lists>", "<a></b>", "<a/><b/>"] {
        report(&bench.put("", LISTS, text).await?, "not-well-formed", text)?;
    }
    bench.end().await
}

pub(super) async fn not_xml_frag(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list/>").await?;
    for text in ["", "text", "<entry uri=\"a\">", "<entry uri=\"a\"/><entry uri=\"b\"/>", "</list><list>"] {
        report(&bench.put("resource-lists/list/entry", ELEMENT, text).await?, "not-xml-frag", text)?;
    }
    bench.end().await
}

pub(super) async fn not_xml_att_value(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list/>").await?;
    for text in ["\"a<b\"", "\"a", "\"a\"b\"", "\"a&b\""] {
        report(&bench.put("resource-lists/list/@name", ATTRIBUTE, text).await?, "not-xml-att-value", text)?;
    }
    bench.end().await
}

pub(super) async fn not_utf_8(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list/>").await?;
    let target = bench.target("");
    let headers = [("Content-Type", LISTS)];
    let latin = lists("<list name=\"\u{e9}\"/>").replace("UTF-8", "ISO-8859-1");
    let octets: Vec<u8> = latin.chars().map(|c| c as u8).collect();
    let reply = bench.client.ask(Ask { method: "PUT", target: &target, headers: &headers, body: &octets }).await?;
    report(&reply, "not-utf-8", "a document in another encoding")?;
    let target = bench.target("resource-lists/list/@name");
    let headers = [("Content-Type", ATTRIBUTE)];
    let reply = bench.client.ask(Ask { method: "PUT", target: &target, headers: &headers, body: b"\"\xe9\"" }).await?;
    report(&reply, "not-utf-8", "a value in another encoding")?;
    bench.end().await
}

pub(super) async fn no_parent(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/>").await?;
    let reply = bench.put("resource-lists/list[@name=\"a\"]/list/entry", ELEMENT, "<entry uri=\"x\"/>").await?;
    report(&reply, "no-parent", "an element without its parent")?;
    let text = reply.text();
    let ancestor = text.split_once("<ancestor>").and_then(|(_, rest)| rest.split_once("</ancestor>"));
    if let Some((ancestor, _)) = ancestor {
        let at = ancestor.find("/~~/").map(|at| ancestor[at + 4..].to_owned());
        check!(at.is_some(), "the ancestor is not a node: {ancestor}");
        let target = format!("{}/~~/{}", bench.target(""), at.unwrap_or_default());
        let found = bench.client.ask(Ask { method: "GET", target: &target, ..Ask::default() }).await?;
        expect(&found, 200, "the ancestor")?;
        check!(found.body.starts_with(b"<list name=\"a\""), "the ancestor is {}", found.text());
    } else {
        ctx.should(false, "no ancestor is named");
    }
    bench.delete("").await?;
    let reply = bench.put("resource-lists/list", ELEMENT, "<list/>").await?;
    report(&reply, "no-parent", "an element without its document")
}

pub(super) async fn cannot_insert(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/><list name=\"b\"/>").await?;
    for (at, media_type, body) in [
        ("resource-lists/list[@name=\"a\"]", ELEMENT, "<list name=\"c\"/>"),
        ("resource-lists/list[@name=\"c\"]", ELEMENT, "<list/>"),
        ("resource-lists/list[4]", ELEMENT, "<list/>"),
        ("resource-lists/list", ELEMENT, "<list/>"),
        ("resource-lists/list[@name=\"a\"]/@name", ATTRIBUTE, "\"c\""),
    ] {
        report(&bench.put(at, media_type, body).await?, "cannot-insert", at)?;
    }
    bench.end().await
}

pub(super) async fn cannot_delete(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/><list name=\"b\"/>").await?;
    for at in ["resource-lists/list[1]", "resource-lists/*[1]"] {
        report(&bench.delete(at).await?, "cannot-delete", at)?;
    }
    expect(&bench.delete("resource-lists/list[2]").await?, 200, "the last one can go")?;
    bench.end().await
}

pub(super) async fn schema(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list><entry uri=\"a\"/></list>").await?;
    let schema = "schema-validation-error";
    report(&bench.put("", LISTS, "<a/>").await?, schema, "another root")?;
    report(&bench.put("", LISTS, &lists("<entry uri=\"a\"/>")).await?, schema, "an entry outside of a list")?;
    report(&bench.put("resource-lists/list/foo", ELEMENT, "<foo/>").await?, schema, "an element that is unknown")?;
    report(&bench.delete("resource-lists/list/entry/@uri").await?, schema, "an attribute that must be there")?;
    bench.end().await
}

pub(super) async fn siblings(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list><entry uri=\"sip:a@b\"/><list/></list>").await?;
    let twice = lists("<list><entry uri=\"sip:a@b\"/><entry uri=\"sip:a@b\"/></list>");
    let reply = bench.put("", LISTS, &twice).await?;
    report(&reply, "uniqueness-failure", "two of an address")?;
    check!(reply.text().contains("<exists field=\""), "no field is named: {}", reply.text());
    let elsewhere = bench.put("resource-lists/list/list/entry", ELEMENT, "<entry uri=\"sip:a@b\"/>").await?;
    expect(&elsewhere, 201, "in another list")?;
    bench.end().await
}

fn service(uri: &str, list: &str) -> String {
    format!(
        "<rls-services xmlns=\"urn:ietf:params:xml:ns:rls-services\"><service uri=\"{uri}\">{list}<packages><package>presence\
         </package></packages></service></rls-services>"
    )
}

const RLS: &str = "application/rls-services+xml";

pub(super) async fn service_uri(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "rls-services").await?;
    let uri = format!("sip:friends-{}@{}", ctx.id(), ctx.domain());
    expect(&bench.put("", RLS, &service(&uri, "<list/>")).await?, 201, "a new address")?;
    let first = bench.name.clone();
    bench.name = format!("{first}-2");
    let reply = bench.put("", RLS, &service(&uri, "<list/>")).await?;
    report(&reply, "uniqueness-failure", "an address that is taken")?;
    let text = reply.text();
    check!(text.contains("<exists field=\"rls-services/service"), "no field is named: {text}");
    let free = text.split_once("<alt-value>").and_then(|(_, rest)| rest.split_once("</alt-value>"));
    match free {
        Some((free, _)) => expect(&bench.put("", RLS, &service(free, "<list/>")).await?, 201, "what is suggested")?,
        None => ctx.should(false, "no other address is suggested"),
    }
    let _ = bench.delete("").await?;
    bench.name = first;
    bench.end().await
}

pub(super) async fn resource_list(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "rls-services").await?;
    let uri = format!("sip:friends-{}@{}", ctx.id(), ctx.domain());
    let list = |xui: &str| {
        format!(
            "<resource-list>http://{}/xcap-root/resource-lists/users/{xui}/index/~~/resource-lists/list%5B@name=%22a%22%5D\
             </resource-list>",
            ctx.domain()
        )
    };
    let other = list(&format!("sip:somebody@{}", ctx.domain()));
    report(&bench.put("", RLS, &service(&uri, &other)).await?, "constraint-failure", "somebody else's list")?;
    let relative = "<resource-list>resource-lists/users/x/index</resource-list>";
    report(&bench.put("", RLS, &service(&uri, relative)).await?, "constraint-failure", "a relative URI")?;
    let own = list(&bench.xui);
    expect(&bench.put("", RLS, &service(&uri, &own)).await?, 201, "the owner's list")?;
    bench.end().await
}
