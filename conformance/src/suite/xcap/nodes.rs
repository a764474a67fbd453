//! Elements, attributes and namespaces.

use super::{ATTRIBUTE, Bench, ELEMENT, LISTS, NS, expect, lists};
use crate::case::{Ctx, Verdict, check};

pub(super) async fn bill(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "\n  <list name=\"friends\">\n  </list>\n").await?;
    let friends = "resource-lists/list[@name=\"friends\"]";
    let bob = "<entry uri=\"sip:bob@example.com\">\n    <display-name>Bob Jones</display-name>\n  </entry>";
    expect(&bench.put(&format!("{friends}/entry"), ELEMENT, bob).await?, 201, "Bob")?;
    let expected = lists(&format!("\n  <list name=\"friends\">\n  {bob}</list>\n"));
    let found = bench.get("").await?;
    check!(found.body == expected.as_bytes(), "the document is {}", found.text());
    let close = "<list name=\"close-friends\">\n   <entry uri=\"sip:joe@example.com\"/>\n   <entry uri=\"sip:nancy@example.com\"/>\n\
                 <entry uri=\"sip:petri@example.com\"/>\n</list>";
    let put = bench.put(&format!("{friends}/list[@name=\"close-friends\"]"), ELEMENT, close).await?;
    expect(&put, 201, "the list in the list")?;
    let petri = "resource-lists/list/list/entry[@uri=\"sip:petri@example.com\"]";
    expect(&bench.delete(petri).await?, 200, "Petri goes")?;
    let nancy = bench.get("resource-lists/list/list/entry[2]/@uri").await?;
    expect(&nancy, 200, "Nancy")?;
    check!(nancy.content_type() == ATTRIBUTE, "type {}", nancy.content_type());
    check!(nancy.body == b"\"sip:nancy@example.com\"", "Nancy is {}", nancy.text());
    bench.end().await
}

pub(super) async fn insertion(ctx: Ctx) -> Verdict {
    // Comments and space stay on their side; elements of two names stay together.
    let before = "\n <entry uri=\"a\"/>\n <entry uri=\"b\"/>\n <!-- c -->\n <external anchor=\"http://a\"/>\n";
    let (entry, external) = ("<entry uri=\"n\"/>", "<external anchor=\"http://n\"/>");
    for (at, body, expected) in [
        ("entry[@uri=\"n\"]", entry, before.replace("<entry uri=\"b\"/>", "<entry uri=\"b\"/><entry uri=\"n\"/>")),
        ("entry[3][@uri=\"n\"]", entry, before.replace("<entry uri=\"b\"/>", "<entry uri=\"b\"/><entry uri=\"n\"/>")),
        ("*[3][@uri=\"n\"]", entry, before.replace("<entry uri=\"b\"/>", "<entry uri=\"b\"/><entry uri=\"n\"/>")),
        ("entry[1][@uri=\"n\"]", entry, before.replace("<entry uri=\"a\"/>", "<entry uri=\"n\"/><entry uri=\"a\"/>")),
        (
            "*[2][@anchor=\"http://n\"]",
            external,
            before.replace("<entry uri=\"a\"/>", &format!("<entry uri=\"a\"/>{external}")),
        ),
        (
            "*[1][@anchor=\"http://n\"]",
            external,
            before.replace("<entry uri=\"a\"/>", &format!("{external}<entry uri=\"a\"/>")),
        ),
        ("list", "<list/>", format!("{before}<list/>")),
        ("*[@uri=\"n\"]", entry, format!("{before}{entry}")),
    ] {
        let mut bench = Bench::with(&ctx, &format!("<list>{before}</list>")).await?;
        let put = bench.put(&format!("resource-lists/list/{at}"), ELEMENT, body).await?;
        expect(&put, 201, at)?;
        let found = bench.get("").await?;
        check!(found.body == lists(&format!("<list>{expected}</list>")).as_bytes(), "{at}: {}", found.text());
        let node = bench.get(&format!("resource-lists/list/{at}")).await?;
        check!(node.body == body.as_bytes(), "{at} selects {}", node.text());
        bench.end().await?;
    }
    let mut bench = Bench::with(&ctx, "<list/>").await?;
    expect(&bench.put("resource-lists/list/entry", ELEMENT, entry).await?, 201, "an empty element opens")?;
    check!(bench.get("").await?.body == lists(&format!("<list>{entry}</list>")).as_bytes(), "it is another");
    bench.end().await
}

pub(super) async fn attribute(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list  name='a' />").await?;
    let at = "resource-lists/list/@name";
    let found = bench.get(at).await?;
    check!(found.body == b"'a'" || found.body == b"\"a\"", "the value is {}", found.text());
    expect(&bench.put(at, ATTRIBUTE, "\"b&amp;c\"").await?, 200, "a new value")?;
    check!(bench.get(at).await?.body == b"\"b&amp;c\"", "it is another value");
    expect(&bench.delete(at).await?, 200, "DELETE")?;
    expect(&bench.get(at).await?, 404, "it is gone")?;
    expect(&bench.delete(at).await?, 404, "DELETE again")?;
    expect(&bench.put(at, ATTRIBUTE, "\"d\"").await?, 201, "it is new again")?;
    check!(bench.get("resource-lists/list[@name=\"d\"]").await?.status == 200, "it is not found by its value");
    bench.end().await
}

pub(super) async fn namespaces(ctx: Ctx) -> Verdict {
    let content = "<list xmlns:o=\"urn:o\" o:x=\"1\"><entry uri=\"a\"><o:y>t</o:y></entry></list>";
    let mut bench = Bench::with(&ctx, content).await?;
    for (at, expected) in [
        ("resource-lists/list/entry/b:y?xmlns(b=urn:o)", "<o:y>t</o:y>"),
        ("resource-lists/list/@b:x?xmlns(b=urn:o)", "\"1\""),
        (&format!("r:resource-lists/r:list/r:entry/b:y?xmlns(b=urn:o)xmlns(r={NS})"), "<o:y>t</o:y>"),
        ("resource-lists/list/entry/b:y?element(/1)xmlns(b=urn:o)", "<o:y>t</o:y>"),
    ] {
        let found = bench.get(at).await?;
        expect(&found, 200, at)?;
        check!(found.body == expected.as_bytes(), "{at} selects {}", found.text());
    }
    for at in ["resource-lists/list/entry/y", "resource-lists/list/@x", "b:resource-lists?xmlns(b=urn:o)"] {
        expect(&bench.get(at).await?, 404, at)?;
    }
    let put = bench.put("resource-lists/list/entry/b:z?xmlns(b=urn:o)", ELEMENT, "<o:z/>").await?;
    expect(&put, 201, "a prefix of the document")?;
    bench.end().await
}

pub(super) async fn bindings(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list xmlns:o=\"urn:o\"><entry uri=\"a\"/></list>").await?;
    let at = "resource-lists/list/entry/namespace::*";
    let found = bench.get(at).await?;
    expect(&found, 200, "GET")?;
    check!(found.content_type() == "application/xcap-ns+xml", "type {}", found.content_type());
    let text = found.text();
    check!(text.starts_with("<entry"), "not named after the element: {text}");
    check!(text.contains(&format!("xmlns=\"{NS}\"")) && text.contains("xmlns:o=\"urn:o\""), "not in scope: {text}");
    for method in ["PUT", "DELETE"] {
        let reply =
            bench.ask(method, at, &[("Content-Type", ELEMENT)], if method == "PUT" { "<a/>" } else { "" }).await?;
        expect(&reply, 405, method)?;
        check!(reply.header("allow").is_some_and(|allow| allow.contains("GET")), "{method}: no Allow with GET");
    }
    bench.end().await
}

pub(super) async fn unbound(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list/>").await?;
    for at in ["o:resource-lists", "resource-lists/list[@o:x=\"1\"]", "resource-lists/@o:x", "o:a?xmlns(p=urn:o)"] {
        expect(&bench.get(at).await?, 400, at)?;
        expect(&bench.put(at, ELEMENT, "<a/>").await?, 400, at)?;
    }
    bench.end().await
}

pub(super) async fn no_match(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"/><list name=\"b\"/>").await?;
    for at in [
        "resource-lists/list",
        "resource-lists/list[3]",
        "resource-lists/list[@name=\"c\"]",
        "resource-lists/*[1][@name=\"b\"]",
        "resource-lists/list[1]/@x",
        "other",
        "resource-lists/list[last()]",
    ] {
        expect(&bench.get(at).await?, 404, at)?;
        expect(&bench.delete(at).await?, 404, at)?;
    }
    bench.end().await
}

pub(super) async fn space(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "\n <list name=\"a\"/>\n <!-- c -->\n <list name=\"b\"/>\n").await?;
    expect(&bench.delete("resource-lists/list[@name=\"a\"]").await?, 200, "DELETE")?;
    let found = bench.get("").await?;
    check!(found.body == lists("\n \n <!-- c -->\n <list name=\"b\"/>\n").as_bytes(), "left is {}", found.text());
    bench.end().await
}

pub(super) async fn extensions(ctx: Ctx) -> Verdict {
    let mut bench = Bench::with(&ctx, "<list name=\"a\"><entry uri=\"x\"/></list>").await?;
    let own =
        "<o:x xmlns:o=\"urn:example:unknown\" xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><o:y z=\"1\"/></o:x>";
    let at = "resource-lists/list/entry/q:x?xmlns(q=urn:example:unknown)";
    expect(&bench.put(at, ELEMENT, own).await?, 201, "PUT")?;
    let found = bench.get(at).await?;
    check!(found.body == own.as_bytes(), "declarations were changed: {}", found.text());
    let whole = lists("<list o:a=\"1\" xmlns:o=\"urn:example:unknown\"><entry uri=\"x\"/><o:b/></list>");
    expect(&bench.put("", LISTS, &whole).await?, 200, "as an attribute")?;
    bench.end().await
}
