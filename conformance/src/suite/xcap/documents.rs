//! Whole documents: who may, entity tags, conditions, spellings, and what is made to hurt.

use super::{ATTRIBUTE, Bench, ELEMENT, LISTS, NS, expect, lists};
use crate::case::{Ctx, Verdict, check, fail, skip};
use crate::http::{Ask, Client};

pub(super) async fn capabilities(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "resource-lists").await?;
    let target = format!("{}/xcap-caps/global/index", bench.root);
    let reply = bench.client.ask(Ask { method: "GET", target: &target, ..Ask::default() }).await?;
    expect(&reply, 200, "the capabilities")?;
    check!(reply.content_type() == "application/xcap-caps+xml", "type {}", reply.content_type());
    check!(reply.header("etag").is_some(), "no entity tag");
    let text = reply.text();
    for wanted in [
        "<auid>xcap-caps</auid>",
        "<auid>resource-lists</auid>",
        "<namespace>urn:ietf:params:xml:ns:xcap-caps</namespace>",
        "<namespace>urn:ietf:params:xml:ns:resource-lists</namespace>",
    ] {
        check!(text.contains(wanted), "no {wanted} in {text}");
    }
    Ok(())
}

pub(super) async fn challenge(ctx: Ctx) -> Verdict {
    let Some((addr, host, _)) = ctx.shared.ws.clone() else { return skip("no --http given") };
    let bench = Bench::new(&ctx, "resource-lists").await?;
    let mut nobody = Client::new(addr, &host, None, Some(ctx.log.clone()));
    for method in ["GET", "PUT", "DELETE"] {
        let target = bench.target("");
        let reply = nobody.ask(Ask { method, target: &target, ..Ask::default() }).await?;
        expect(&reply, 401, method)?;
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        check!(challenge.starts_with("Digest "), "{method}: the challenge is {challenge:?}");
    }
    Ok(())
}

pub(super) async fn create(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "resource-lists").await?;
    expect(&bench.get("").await?, 404, "before")?;
    let text = lists(
        "\r\n <!-- c --><list name='a'\t>\n<entry uri=\"sip:x@y\"><display-name>\u{e9}&amp;</display-name></entry></list>\n",
    );
    let made = bench.put("", LISTS, &text).await?;
    expect(&made, 201, "PUT")?;
    let Some(etag) = made.header("etag").map(str::to_owned) else { return fail("no entity tag with 201") };
    let reply = bench.get("").await?;
    expect(&reply, 200, "GET")?;
    check!(reply.body == text.as_bytes(), "not the bytes that were put: {}", reply.text());
    check!(reply.content_type() == LISTS, "type {}", reply.content_type());
    check!(reply.header("etag") == Some(&*etag), "another entity tag");
    let head = bench.ask("HEAD", "", &[], "").await?;
    check!(head.status == 200 && head.header("etag") == Some(&*etag), "HEAD is not as GET");
    bench.end().await
}

pub(super) async fn replace(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/>").await?;
    let before = bench.get("").await?.header("etag").map(str::to_owned);
    let reply = bench.put("", LISTS, &lists("<list name=\"b\"/>")).await?;
    expect(&reply, 200, "PUT")?;
    check!(reply.body.is_empty(), "200 with content");
    check!(reply.header("etag").is_some() && reply.header("etag") != before.as_deref(), "the same entity tag");
    bench.end().await
}

pub(super) async fn delete(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "").await?;
    expect(&bench.delete("").await?, 200, "DELETE")?;
    expect(&bench.get("").await?, 404, "GET")?;
    expect(&bench.delete("").await?, 404, "DELETE again")?;
    let made = bench.put("", LISTS, &lists("")).await?;
    expect(&made, 201, "PUT after it")?;
    bench.end().await
}

pub(super) async fn unknown_usage(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "no-such-usage").await?;
    expect(&bench.get("").await?, 404, "GET")?;
    expect(&bench.put("", "application/xml", "<a/>").await?, 404, "PUT")
}

pub(super) async fn unknown_user(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "resource-lists").await?;
    bench.xui = format!("sip:nobody-{}@{}", ctx.id(), ctx.domain());
    expect(&bench.get("").await?, 404, "GET")?;
    expect(&bench.put("", LISTS, &lists("")).await?, 404, "PUT")
}

pub(super) async fn others(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list/>").await?;
    for (method, node) in [("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "resource-lists/list")] {
        let (target, body) = (bench.target(node), lists(""));
        let headers = [("Content-Type", LISTS)];
        let body = if method == "PUT" { body.as_bytes() } else { b"" };
        let reply = bench.other.ask(Ask { method, target: &target, headers: &headers, body }).await?;
        expect(&reply, 403, method)?;
    }
    expect(&bench.get("").await?, 200, "it is still there")?;
    bench.end().await
}

pub(super) async fn global(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "resource-lists").await?;
    for path in ["resource-lists/global/index", "xcap-caps/global/index"] {
        let target = format!("{}/{path}", bench.root);
        let headers = [("Content-Type", LISTS)];
        let body = lists("");
        let ask = Ask { method: "PUT", target: &target, headers: &headers, body: body.as_bytes() };
        let reply = bench.client.ask(ask).await?;
        check!(matches!(reply.status, 403 | 405), "{path}: {}", reply.status);
    }
    Ok(())
}

pub(super) async fn post(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "").await?;
    let reply = bench.ask("POST", "", &[("Content-Type", LISTS)], &lists("")).await?;
    expect(&reply, 405, "POST")?;
    check!(reply.header("allow").is_some_and(|allow| allow.contains("PUT")), "no Allow");
    bench.end().await
}

pub(super) async fn types(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/>").await?;
    expect(&bench.put("", "application/xml", &lists("")).await?, 415, "document")?;
    expect(&bench.put("", ELEMENT, &lists("")).await?, 415, "document as an element")?;
    expect(&bench.put("resource-lists/list", LISTS, "<list name=\"a\"/>").await?, 415, "element")?;
    expect(&bench.put("resource-lists/list/@name", ELEMENT, "\"b\"").await?, 415, "attribute")?;
    let with_charset = "application/resource-lists+xml; charset=\"utf-8\"";
    expect(&bench.put("", with_charset, &lists("")).await?, 200, "with a parameter")?;
    bench.end().await
}

pub(super) async fn if_match(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/>").await?;
    let etag = bench.get("").await?.header("etag").unwrap_or_default().to_owned();
    let element = [("Content-Type", ELEMENT), ("If-Match", &*etag)];
    let list = "<list name=\"b\"/>";
    let done = bench.ask("PUT", "resource-lists/list[@name=\"b\"]", &element, list).await?;
    expect(&done, 201, "with the present tag")?;
    // The tag has changed with that.
    let stale = bench.ask("PUT", "resource-lists/list[@name=\"c\"]", &element, "<list name=\"c\"/>").await?;
    expect(&stale, 412, "with the old tag")?;
    let stale = bench.ask("DELETE", "resource-lists/list[@name=\"b\"]", &[("If-Match", &*etag)], "").await?;
    expect(&stale, 412, "DELETE with the old tag")?;
    let document = [("Content-Type", LISTS), ("If-Match", &*etag)];
    expect(&bench.ask("PUT", "", &document, &lists("")).await?, 412, "document with the old tag")?;
    let any = [("Content-Type", LISTS), ("If-Match", "*")];
    expect(&bench.ask("PUT", "", &any, &lists("")).await?, 200, "with any")?;
    expect(&bench.delete("").await?, 200, "DELETE")?;
    expect(&bench.ask("PUT", "", &any, &lists("")).await?, 412, "with any, of nothing")
}

pub(super) async fn if_none_match(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "resource-lists").await?;
    let document = [("Content-Type", LISTS), ("If-None-Match", "*")];
    expect(&bench.ask("PUT", "", &document, &lists("<list/>")).await?, 201, "a new document")?;
    expect(&bench.ask("PUT", "", &document, &lists("")).await?, 412, "one that is there")?;
    let element = [("Content-Type", ELEMENT), ("If-None-Match", "*")];
    let put = bench.ask("PUT", "resource-lists/list[@name=\"b\"]", &element, "<list name=\"b\"/>").await?;
    expect(&put, 412, "a new element")?;
    bench.end().await
}

pub(super) async fn not_modified(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/>").await?;
    let etag = bench.get("").await?.header("etag").unwrap_or_default().to_owned();
    for node in ["", "resource-lists/list", "resource-lists/list/@name"] {
        let reply = bench.ask("GET", node, &[("If-None-Match", &*etag)], "").await?;
        expect(&reply, 304, node)?;
        check!(reply.body.is_empty(), "304 with content");
        let reply = bench.ask("GET", node, &[("If-None-Match", "\"other\"")], "").await?;
        expect(&reply, 200, node)?;
    }
    bench.end().await
}

pub(super) async fn one_tag(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/><list name=\"b\"/>").await?;
    let first = bench.get("resource-lists/list[1]").await?.header("etag").map(str::to_owned);
    let put = bench.put("resource-lists/list[2]/@name", ATTRIBUTE, "\"c\"").await?;
    expect(&put, 200, "PUT")?;
    let now = put.header("etag").map(str::to_owned);
    check!(now.is_some() && now != first, "the tag has not changed");
    for node in ["", "resource-lists", "resource-lists/list[1]", "resource-lists/list[1]/@name"] {
        let found = bench.get(node).await?.header("etag").map(str::to_owned);
        check!(found == now, "{node}: {found:?}, not {now:?}");
    }
    bench.end().await
}

pub(super) async fn spellings(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/><list name=\"b&amp;c/d\"/>").await?;
    let (xui, name) = (bench.xui.clone(), bench.name.clone());
    let encoded = xui.replace(':', "%3A").replace('@', "%40");
    let home = format!("{}/resource-lists/users", bench.root);
    for target in [
        format!("{home}/{xui}/{name}/~~/resource-lists/list%5B@name=%22a%22%5D"),
        format!("{home}/{encoded}/{name}/~~/resource-lists/list%5B@name=%22a%22%5D"),
        format!("{home}/{}/{name}/~~/resource-lists/list%5b%40name=%22a%22%5d", encoded.to_ascii_lowercase()),
        format!("{home}/{xui}/{name}/%7E%7E/resource-lists/list%5B@name='a'%5D"),
        format!("{home}/{xui}/{name}/~~/resource-lists/list[@name=%22a%22]"),
        format!("{home}/{xui}/{name}/~~/resource-lists/list%5B1%5D"),
        format!("{home}/{xui}/{name}/~~/*/*%5B1%5D"),
    ] {
        let reply = bench.client.ask(Ask { method: "GET", target: &target, ..Ask::default() }).await?;
        expect(&reply, 200, &target)?;
        check!(reply.body == b"<list name=\"a\"/>", "{target}: {}", reply.text());
    }
    for value in ["b&amp;c/d", "b%26amp;c%2Fd"] {
        let target = format!("{home}/{xui}/{name}/~~/resource-lists/list%5B@name=%22{value}%22%5D/@name");
        let reply = bench.client.ask(Ask { method: "GET", target: &target, ..Ask::default() }).await?;
        expect(&reply, 200, &target)?;
    }
    // Decoded once, not twice.
    let target = format!("{home}/{xui}/{name}/~~/resource-lists/list%5B@name=%2522a%2522%5D");
    let reply = bench.client.ask(Ask { method: "GET", target: &target, ..Ask::default() }).await?;
    expect(&reply, 404, &target)?;
    bench.end().await
}

pub(super) async fn hostile(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list/>").await?;
    let laughs: String = (1..10).map(|n| format!("<!ENTITY e{n} \"&e{0};&e{0};&e{0};&e{0};\">", n - 1)).collect();
    let laughs = format!("<!DOCTYPE a [<!ENTITY e0 \"ha\">{laughs}]>{}", lists("<list name=\"&e9;\"/>"));
    let outside = format!("<!DOCTYPE a SYSTEM \"file:///etc/passwd\">{}", lists(""));
    let entity = format!("<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}", lists("<list>&e;</list>"));
    let deep = lists(&format!("{}{}", "<list>".repeat(5000), "</list>".repeat(5000)));
    let wide =
        format!("<resource-lists xmlns=\"{NS}\" {}/>", (0..5000).map(|n| format!("a{n}=\"\" ")).collect::<String>());
    for (name, text) in [
        ("entities", laughs),
        ("external subset", outside),
        ("external entity", entity),
        ("depth", deep),
        ("width", wide),
    ] {
        let reply = bench.put("", LISTS, &text).await?;
        check!(matches!(reply.status, 400 | 409 | 413), "{name}: {}", reply.status);
        check!(!reply.text().contains("root:"), "{name}: the answer has a file of the server");
    }
    let long = lists(&format!("<list name=\"{}\"/>", "x".repeat(1 << 20)));
    let reply = bench.put("", LISTS, &long).await?;
    check!(matches!(reply.status, 409 | 413), "size: {}", reply.status);
    let node = "resource-lists/".to_owned() + &"list/".repeat(500);
    let reply = bench.get(&node).await?;
    check!(matches!(reply.status, 400 | 404 | 414), "a long selector: {}", reply.status);
    expect(&bench.get("resource-lists/list").await?, 200, "the document is as it was")?;
    bench.end().await
}
