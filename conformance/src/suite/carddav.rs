//! Address books: CardDAV (RFC 6352), what changed since (RFC 6578), and the same contacts through the other doors. Needs
//! `--http` and two accounts; the contacts that it makes are deleted again.

use crate::case::{Case, Ctx, Lease, Verdict, cases, check, skip};
use crate::http::{Ask, Client, Reply};

pub(crate) fn cases() -> Vec<Case> {
    cases! { "carddav";
        "6352 6.1" "options" Must "OPTIONS names addressbook among the classes of WebDAV" => options;
        "6352 7.1" "discovery" Must "The way leads from the well-known URI by the principal and its home to a book" => discovery;
        "6352 6.3.2" "create" Must "A new vCard is 201 and is read back as it was put" => create;
        "6352 6.3.2" "conditions" Must "If-None-Match: * makes only new ones, If-Match changes only the one that is meant" => conditions;
        "6352 6.3.2.1" "preconditions" Must "What is no vCard, or has the UID of another, is refused and says why" => preconditions;
        "6352 5.1" "others" Must "The book of another user is refused" => others;
        "6352 8.7" "multiget" Must "A multiget has each vCard that it names, and 404 for one that is not there" => multiget;
        "6352 8.6" "query" Must "A query finds by text, whatever the case" => query;
        "6578 3.2" "sync" Must "A sync has what was changed and what is gone since the token, and no more" => sync;
        "6578 3.2" "sync-token" Must "A token that was never given is refused" => sync_token;
        "4918 14.15" "protected" Should "Properties of the server cannot be changed" => protected;
        "6352 5" "hostile" Must "Entities, depth and junk in bodies are refused" => hostile;
        "4826 3" "one-book" Should "A contact is one through CardDAV, XCAP and JSON, whoever changed it last" => one_book;
    }
}

struct Bench {
    client: Client,
    other: Client,
    /// `user@domain`
    user: String,
    book: String,
    /// Of the contacts of this case.
    prefix: String,
    lease: Lease,
}

impl Bench {
    async fn new(ctx: &Ctx) -> Verdict<Bench> {
        let Some((addr, host, _)) = ctx.shared.ws.clone() else { return skip("no --http given") };
        let lease = ctx.accounts(2).await?;
        let client = |n: usize| Client::new(addr, &host, Some(lease[n].clone()), Some(ctx.log.clone()));
        let user = format!("{}@{}", lease[0].user, ctx.domain());
        let book = format!("/dav/addressbooks/{user}/contacts/");
        let mut bench = Bench { client: client(0), other: client(1), user, book, prefix: ctx.id(), lease };
        let reply = bench.propfind("/dav/", "0", "<D:current-user-principal/>").await?;
        if matches!(reply.status, 404 | 405 | 501) {
            return skip("no CardDAV at /dav");
        }
        Ok(bench)
    }

    fn path(&self, name: &str) -> String {
        format!("{}{}-{name}.vcf", self.book, self.prefix)
    }

    fn card(&self, name: &str, more: &str) -> String {
        format!("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:{}-{name}\r\nFN:{name}\r\n{more}END:VCARD\r\n", self.prefix)
    }

    async fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Verdict<Reply> {
        self.client.ask(Ask { method, target, headers, body: body.as_bytes() }).await
    }

    async fn put(&mut self, name: &str, body: &str) -> Verdict<Reply> {
        let path = self.path(name);
        self.ask("PUT", &path, &[("Content-Type", "text/vcard")], body).await
    }

    async fn propfind(&mut self, target: &str, depth: &str, props: &str) -> Verdict<Reply> {
        let body = format!(
            "<D:propfind xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:carddav\"><D:prop>{props}</D:prop></D:propfind>"
        );
        self.ask("PROPFIND", target, &[("Depth", depth), ("Content-Type", "application/xml")], &body).await
    }

    async fn report(&mut self, body: &str) -> Verdict<Reply> {
        let book = self.book.clone();
        self.ask("REPORT", &book, &[("Depth", "1"), ("Content-Type", "application/xml")], body).await
    }

    async fn sync(&mut self, token: &str) -> Verdict<Reply> {
        self.report(&format!(
            "<D:sync-collection xmlns:D=\"DAV:\"><D:sync-token>{token}</D:sync-token><D:sync-level>1</D:sync-level>\
             <D:prop><D:getetag/></D:prop></D:sync-collection>"
        ))
        .await
    }

    /// Deletes what the case made.
    async fn end(mut self, names: &[&str]) -> Verdict {
        for name in names {
            let path = self.path(name);
            self.ask("DELETE", &path, &[], "").await?;
        }
        drop(self.lease);
        Ok(())
    }
}

fn expect(reply: &Reply, status: u16, what: &str) -> Verdict {
    check!(reply.status == status, "{what}: expected {status}, got {} {}", reply.status, reply.text());
    Ok(())
}

/// The text of the first element of that name, whatever its prefix.
fn element(reply: &Reply, name: &str) -> String {
    let text = reply.text();
    let Ok(document) = roxmltree::Document::parse(&text) else { return String::new() };
    let found = document.descendants().find(|node| node.is_element() && node.tag_name().name() == name);
    let text =
        found.map(|node| node.descendants().filter(|n| n.is_text()).filter_map(|n| n.text()).collect::<String>());
    text.unwrap_or_default().trim().to_owned()
}

/// Each response of a multistatus: its address, and whether it says 404.
fn responses(reply: &Reply) -> Vec<(String, bool)> {
    let text = reply.text();
    let Ok(document) = roxmltree::Document::parse(&text) else { return Vec::new() };
    let all = document.descendants().filter(|node| node.has_tag_name(("DAV:", "response")));
    all.map(|node| {
        let href = node.children().find(|child| child.has_tag_name(("DAV:", "href"))).and_then(|href| href.text());
        let gone =
            node.children().any(|c| c.has_tag_name(("DAV:", "status")) && c.text().is_some_and(|s| s.contains("404")));
        (href.unwrap_or_default().trim().to_owned(), gone)
    })
    .collect()
}

async fn options(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let book = bench.book.clone();
    let reply = bench.ask("OPTIONS", &book, &[], "").await?;
    check!(matches!(reply.status, 200 | 204), "expected 200, got {}", reply.status);
    let classes = reply.header("dav").unwrap_or("").to_owned();
    check!(classes.split(',').any(|class| class.trim() == "addressbook"), "DAV is {classes:?}");
    let allow = reply.header("allow").unwrap_or("").to_owned();
    check!(allow.contains("PROPFIND") && allow.contains("REPORT"), "Allow is {allow:?}");
    Ok(())
}

async fn discovery(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let reply = bench.ask("PROPFIND", "/.well-known/carddav", &[("Depth", "0")], "").await?;
    check!(matches!(reply.status, 301 | 302 | 303 | 307 | 308), "the well-known URI leads nowhere: {}", reply.status);
    let root = reply.header("location").unwrap_or("").to_owned();
    let path = |url: &str| {
        url.split_once("://").map_or(url.to_owned(), |(_, rest)| rest[rest.find('/').unwrap_or(0)..].to_owned())
    };
    let reply = bench.propfind(&path(&root), "0", "<D:current-user-principal/>").await?;
    expect(&reply, 207, "the root")?;
    let principal = path(&element(&reply, "current-user-principal"));
    let reply = bench.propfind(&principal, "0", "<C:addressbook-home-set/>").await?;
    let home = path(&element(&reply, "addressbook-home-set"));
    check!(!home.is_empty(), "no addressbook-home-set at {principal}: {}", reply.text());
    let reply = bench.propfind(&home, "1", "<D:resourcetype/>").await?;
    check!(reply.text().contains("addressbook"), "no address book in {home}: {}", reply.text());
    let reply = bench.propfind(&home, "infinity", "<D:resourcetype/>").await?;
    check!(matches!(reply.status, 207 | 403), "Depth infinity: {}", reply.status);
    Ok(())
}

async fn create(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let card = bench.card("new", "NOTE:żółć \u{1f5fc}\r\nX-ODD;A=b:c\r\n");
    let put = bench.put("new", &card).await?;
    expect(&put, 201, "a new vCard")?;
    let path = bench.path("new");
    let got = bench.ask("GET", &path, &[], "").await?;
    expect(&got, 200, "GET")?;
    check!(got.content_type().starts_with("text/vcard"), "Content-Type is {}", got.content_type());
    check!(got.text() == card, "not what was put: {}", got.text());
    check!(got.header("etag").is_some(), "GET without ETag");
    if let Some(etag) = put.header("etag") {
        check!(got.header("etag") == Some(etag), "PUT gave {etag}, GET {:?}", got.header("etag"));
    }
    bench.end(&["new"]).await
}

async fn conditions(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let card = bench.card("c", "");
    expect(&bench.put("c", &card).await?, 201, "a new vCard")?;
    let path = bench.path("c");
    let kind = ("Content-Type", "text/vcard");
    let again = bench.ask("PUT", &path, &[kind, ("If-None-Match", "*")], &card).await?;
    expect(&again, 412, "If-None-Match: *")?;
    let wrong = bench.ask("PUT", &path, &[kind, ("If-Match", "\"never\"")], &card).await?;
    expect(&wrong, 412, "If-Match of another")?;
    let etag = bench.ask("GET", &path, &[], "").await?.header("etag").unwrap_or("").to_owned();
    let changed = bench.card("c", "NOTE:x\r\n");
    let right = bench.ask("PUT", &path, &[kind, ("If-Match", &etag)], &changed).await?;
    check!(matches!(right.status, 200 | 204), "If-Match of this one: {}", right.status);
    let stale = bench.ask("DELETE", &path, &[("If-Match", &etag)], "").await?;
    expect(&stale, 412, "DELETE with the tag of before")?;
    bench.end(&["c"]).await
}

async fn preconditions(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let card = bench.card("one", "");
    expect(&bench.put("one", &card).await?, 201, "a new vCard")?;
    for (body, condition) in [
        ("junk", "valid-address-data"),
        ("BEGIN:VCARD\r\nVERSION:4.0\r\nFN:x\r\n", "valid-address-data"),
        (&*format!("{card}{card}"), "valid-address-data"),
        (&*card, "no-uid-conflict"),
    ] {
        let refused = bench.put("two", body).await?;
        check!(matches!(refused.status, 403 | 409), "{condition}: got {}", refused.status);
        check!(refused.text().contains(condition), "{condition} is not named in {}", refused.text());
    }
    bench.end(&["one"]).await
}

async fn others(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let card = bench.card("o", "");
    expect(&bench.put("o", &card).await?, 201, "a new vCard")?;
    let (book, path) = (bench.book.clone(), bench.path("o"));
    for (method, target) in [("PROPFIND", &book), ("GET", &path), ("PUT", &path), ("DELETE", &path)] {
        let headers = [("Depth", "0"), ("Content-Type", "text/vcard")];
        let reply = bench.other.ask(Ask { method, target, headers: &headers, body: b"" }).await?;
        check!(matches!(reply.status, 403 | 404), "{method} of another's is {}", reply.status);
    }
    expect(&bench.ask("GET", &path, &[], "").await?, 200, "GET of one's own afterwards")?;
    bench.end(&["o"]).await
}

async fn multiget(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let card = bench.card("m", "NOTE:<&>\r\n");
    expect(&bench.put("m", &card).await?, 201, "a new vCard")?;
    let (there, none) = (bench.path("m"), bench.path("none"));
    let reply = bench
        .report(&format!(
            "<C:addressbook-multiget xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:carddav\"><D:prop><D:getetag/>\
             <C:address-data/></D:prop><D:href>{there}</D:href><D:href>{none}</D:href></C:addressbook-multiget>"
        ))
        .await?;
    expect(&reply, 207, "multiget")?;
    check!(responses(&reply).len() == 2, "two responses are wanted in {}", reply.text());
    check!(responses(&reply).iter().filter(|(_, gone)| *gone).count() == 1, "one is not there: {}", reply.text());
    let data = element(&reply, "address-data").replace("\r\n", "\n");
    check!(data == card.replace("\r\n", "\n").trim(), "the vCard is {data}");
    bench.end(&["m"]).await
}

async fn query(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let word = format!("Ünal{}", bench.prefix);
    let (one, two) = (bench.card("a", &format!("NICKNAME:{word}\r\n")), bench.card("b", ""));
    expect(&bench.put("a", &one).await?, 201, "a new vCard")?;
    expect(&bench.put("b", &two).await?, 201, "another")?;
    let reply = bench
        .report(&format!(
            "<C:addressbook-query xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:carddav\"><D:prop><D:getetag/></D:prop>\
             <C:filter><C:prop-filter name=\"NICKNAME\"><C:text-match collation=\"i;unicode-casemap\">{}</C:text-match>\
             </C:prop-filter></C:filter></C:addressbook-query>",
            word.to_uppercase()
        ))
        .await?;
    expect(&reply, 207, "query")?;
    let found = responses(&reply);
    check!(found.len() == 1 && found[0].0.contains("-a.vcf"), "expected one, got {found:?}");
    bench.end(&["a", "b"]).await
}

async fn sync(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let (a, b) = (bench.card("a", ""), bench.card("b", ""));
    expect(&bench.put("a", &a).await?, 201, "a new vCard")?;
    let first = bench.sync("").await?;
    expect(&first, 207, "the first sync")?;
    let has = |reply: &Reply, path: &str| responses(reply).into_iter().find(|(href, _)| href.ends_with(path));
    check!(has(&first, &bench.path("a")).is_some(), "the first has not all: {}", first.text());
    let token = element(&first, "sync-token");
    check!(!token.is_empty(), "no sync-token in {}", first.text());
    expect(&bench.put("b", &b).await?, 201, "another")?;
    let path = bench.path("a");
    bench.ask("DELETE", &path, &[], "").await?;
    let second = bench.sync(&token).await?;
    expect(&second, 207, "the second sync")?;
    let gone = has(&second, &path);
    check!(gone.is_some_and(|(_, gone)| gone), "what is gone is not told: {}", second.text());
    check!(has(&second, &bench.path("b")).is_some_and(|(_, gone)| !gone), "what is new is not told: {}", second.text());
    check!(responses(&second).len() == 2, "more than what changed: {}", second.text());
    let third = bench.sync(&element(&second, "sync-token")).await?;
    check!(responses(&third).is_empty(), "nothing changed: {}", third.text());
    bench.end(&["b"]).await
}

async fn sync_token(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let reply = bench.sync("http://example.com/never-given").await?;
    check!(matches!(reply.status, 403 | 409), "expected 403, got {}", reply.status);
    check!(reply.text().contains("valid-sync-token"), "the condition is not named: {}", reply.text());
    Ok(())
}

async fn protected(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let body = "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop><D:getetag>x</D:getetag></D:prop></D:set></D:propertyupdate>";
    let book = bench.book.clone();
    let reply = bench.ask("PROPPATCH", &book, &[], body).await?;
    expect(&reply, 207, "PROPPATCH")?;
    check!(reply.text().contains("403"), "a property of the server was changed: {}", reply.text());
    Ok(())
}

async fn hostile(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let deep = format!("{}{}", "<a>".repeat(5000), "</a>".repeat(5000));
    for body in ["<a", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", &deep, "\u{0}"] {
        let reply = bench.report(body).await?;
        check!((400..500).contains(&reply.status), "{:.40}: got {}", body, reply.status);
    }
    let path = format!("{}..%2F..%2Fx", bench.book);
    let reply = bench.ask("PUT", &path, &[("Content-Type", "text/vcard")], &bench.card("x", "")).await?;
    check!((400..500).contains(&reply.status), "a path that leads out: {}", reply.status);
    Ok(())
}

async fn one_book(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx).await?;
    let number = format!("+1555{:07}", bench.prefix.bytes().fold(0_u32, |n, b| (n * 31 + u32::from(b)) % 9_999_999));
    let card = bench.card("one", &format!("TEL;VALUE=uri:tel:{number}\r\nNOTE:kept\r\n"));
    expect(&bench.put("one", &card).await?, 201, "a new vCard")?;
    let rest = format!("/oneapi/addressbook/v1/sip:{}/contacts/tel:{number}", bench.user);
    let shown = bench.ask("GET", &rest, &[], "").await?;
    if matches!(shown.status, 404 | 405) && !shown.text().contains("requestError") {
        return skip("no contacts in JSON");
    }
    expect(&shown, 200, "the contact in JSON")?;
    check!(shown.text().contains("\"one\""), "the name is not in {}", shown.text());
    // Renamed in JSON.
    let body = "{\"attribute\":{\"name\":\"display-name\",\"value\":\"two\"}}";
    let json = [("Content-Type", "application/json")];
    let renamed = bench.ask("PUT", &format!("{rest}/attributes/display-name"), &json, body).await?;
    check!(matches!(renamed.status, 200 | 201 | 204), "not renamed: {} {}", renamed.status, renamed.text());
    // Renamed by XCAP.
    let root = format!("/xcap-root/resource-lists/users/sip:{}/contacts", bench.user);
    let node = format!(
        "{root}/~~/resource-lists/list%5B@name=%22contacts%22%5D/entry%5B@uri=%22tel:{number}%22%5D/display-name"
    );
    let got = bench.ask("GET", &node, &[], "").await?;
    check!(got.text().contains("two"), "XCAP does not see the change: {} {}", got.status, got.text());
    let put = bench
        .ask("PUT", &node, &[("Content-Type", "application/xcap-el+xml")], "<display-name>three</display-name>")
        .await?;
    expect(&put, 200, "the change by XCAP")?;
    let path = bench.path("one");
    let got = bench.ask("GET", &path, &[], "").await?;
    check!(got.text().contains("FN:three") && got.text().contains("NOTE:kept"), "CardDAV shows {}", got.text());
    // Gone by XCAP.
    let entry = node.trim_end_matches("/display-name").to_owned();
    expect(&bench.ask("DELETE", &entry, &[], "").await?, 200, "the deletion by XCAP")?;
    expect(&bench.ask("GET", &path, &[], "").await?, 404, "CardDAV afterwards")?;
    expect(&bench.ask("GET", &rest, &[], "").await?, 404, "JSON afterwards")
}
