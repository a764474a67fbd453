//! MSRP frames and what a receiver makes of them, as a relay shows it: RFC 4975. Needs `--msrp` or `--msrp-tls`.

use std::time::Duration;

use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail};
use crate::msrp::{Client, Conn, Frame, Pair, Req, home, id_of, same};

pub(crate) fn cases() -> Vec<Case> {
    cases! { "msrp";
        "9" "plain" Must "A SEND with a text arrives, and the parts of its frame stand in the order of the grammar" => plain;
        "9" "id-short" Must "A transaction id of 4 characters is taken, and the response has it" => id_short;
        "9" "id-long" Must "A transaction id of 32 characters, with all that the grammar allows in it, is taken" => id_long;
        "9" "header-case" Must "The case of header names does not matter" => header_case;
        "9" "header-order" Must "Headers behind the paths may come in any order" => header_order;
        "9" "status-comment" Must "A response with a long comment, and one with none, is taken" => comments;
        "9" "method-case" Must "Methods are upper case: another is not taken for SEND" => method_case;
        "7.1" "several" Must "Several requests in one write are each handled" => several;
        "7.1" "one-at-a-time" Must "A request that comes octet by octet is taken" => one_at_a_time;
        "7.1" "end-line-cut" Must "An end-line that two writes share is found, wherever the cut" => end_line_cut;
        "7.1" "look-alike" Must "What only looks like the end-line belongs to the body" => look_alike;
        "7.1" "octets" Must "A body of any octets arrives as it was" => octets;
        "7.1" "line-ends" Must "Line ends at the borders of a body belong to it" => line_ends;
        "7.1" "utf8-headers" Must "Header values in UTF-8 arrive as they were" => utf8;
        "7.1" "no-body" Must "A SEND without a body arrives without one, and without Content-Type" => no_body;
        "7.1.1" "empty-body" Must "An empty body is a body: Content-Type stays" => empty_body;
        "7.1.1" "sizes" Must "Chunks of any size are received" => sizes;
        "7.1.1" "interruptible" Must "What the target sends in chunks above 2048 octets has * as the end of the range" => interruptible;
        "7.1.1" "interrupted" Must "A response of the target is not kept waiting by a chunk that it is sending" => interrupted;
        "7.1.1" "fair" Should "Messages of two sessions that go over one connection take turns" => fair;
        "7.1.1" "huge-total" Must "A total beyond all memory does no harm" => huge_total;
        "7.1.2" "report-silence" Must "A REPORT is answered by no response and no REPORT, whomever it names" => report_silence;
        "7.1.1" "report-unknown" Should "A REPORT on a Message-ID that nobody sent is passed over" => report_unknown;
        "7.1.4" "failure-no" Must "Failure-Report: no gets no response, neither 200 nor an error" => failure_no;
        "7.1.4" "failure-partial" Must "Failure-Report: partial gets no 200" => failure_partial;
        "7.1.4" "failure-default" Must "A SEND without Failure-Report, or with yes, is answered" => failure_default;
        "7.2" "response" Must "A response has the transaction id, the leftmost From-Path URI as To-Path, and $" => response;
        "7.3" "unknown-session" Must "A SEND for a session that does not exist is not taken for received" => unknown_session;
        "6.1" "host-case" Must "Scheme, host and transport of a URI are compared without case" => host_case;
        "6.1" "id-case" Must "The session-id of a URI is compared with case" => id_case;
        "6.1" "no-id" Must "A URI without a session-id equals none with one" => no_id;
        "6.1" "transport" Must "URIs with different transports do not match" => transport;
        "6.1" "userinfo" Must "Userinfo does not matter to the comparison of URIs" => userinfo;
        "12" "unknown-header" Must "A header that nobody knows does no harm, and reaches the other end" => unknown_header;
        "9" "garbage" Must "Octets that are no MSRP harm nobody else" => garbage;
        "9" "no-from-path" Must "A SEND without From-Path is not forwarded, and harms nobody else" => no_from_path;
        "14.5" "endless-line" Should "A header that does not end ends the connection" => endless_line;
        "14.5" "endless-headers" Should "Headers without end end the connection" => endless_headers;
        "14.2" "tls" Must "The target speaks MSRP over TLS" => tls;
    }
}

async fn plain(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    let message = p.deliver(&req).await?;
    check!(message.flag == b'$', "the text ended with {}", char::from(message.flag));
    Ok(())
}

async fn with_id(ctx: &Ctx, len: usize) -> Verdict {
    let mut p = Pair::new(ctx).await?;
    let mut tid: String = ctx.id().chars().rev().filter(char::is_ascii_alphanumeric).collect();
    match len {
        4 => tid.truncate(4),
        _ => {
            tid.truncate(8);
            tid += ".-+%=.-+%=.-+%=.-+%=.-+%";
        }
    }
    let req = p.text().tid(tid);
    p.deliver(&req).await.map(|_| ())
}

async fn id_short(ctx: Ctx) -> Verdict {
    with_id(&ctx, 4).await
}

async fn id_long(ctx: Ctx) -> Verdict {
    with_id(&ctx, 32).await
}

async fn header_case(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    let text = String::from_utf8_lossy(&req.bytes()).into_owned();
    let names = ["To-Path:", "From-Path:", "Message-ID:", "Content-Type:"];
    let text = names.iter().fold(text, |text, name| text.replace(name, &name.to_ascii_lowercase()));
    p.a.conn.send(text.as_bytes()).await?;
    p.arrived(&req).await.map(|_| ())
}

async fn header_order(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut req = p.text();
    let id = req.lines.remove(0);
    req.lines = vec!["X-First: 1".into(), "Byte-Range: 1-*/*".into(), "Failure-Report: yes".into(), id];
    p.deliver(&req).await.map(|_| ())
}

async fn comments(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for status in ["200", &format!("200 {}", "all is well ".repeat(20))] {
        let req = p.text();
        let chunk = p.chunk(&req).await?;
        p.b.reply(&chunk, status).await?;
        if let Some(frame) = p.a.failure(&req, SILENCE).await {
            return fail(format!("{} came after {status:?}", frame.start));
        }
    }
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn method_case(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut req = p.text();
    req.method = "Send".into();
    p.a.send(&req).await?;
    let wrong = id_of(&req).to_owned();
    let seen = p.b.conn.take(SILENCE, |frame| frame.is("SEND") && frame.id() == Some(wrong.as_str())).await;
    check!(seen.is_none(), "a Send arrived as a SEND");
    lives(&ctx).await
}

async fn several(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let all: Vec<Req> = (0..5).map(|n| p.send().body(format!("{n} of {}", ctx.token))).collect();
    let wire: Vec<u8> = all.iter().flat_map(Req::bytes).collect();
    p.a.conn.send(&wire).await?;
    for req in &all {
        p.arrived(req).await?;
    }
    Ok(())
}

async fn one_at_a_time(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    for byte in req.bytes() {
        p.a.conn.send_quietly(&[byte]).await?;
        tokio::task::yield_now().await;
    }
    p.arrived(&req).await.map(|_| ())
}

async fn end_line_cut(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let tail = p.text().tail().len();
    for cut in 0..=tail {
        let req = p.text();
        let wire = req.bytes();
        let (first, second) = wire.split_at(wire.len() - cut);
        p.a.conn.send(first).await?;
        tokio::time::sleep(Duration::from_millis(3)).await;
        p.a.conn.send(second).await?;
        p.arrived(&req).await?;
    }
    Ok(())
}

async fn look_alike(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut req = p.send();
    let (tid, other) = (req.tid.clone(), ctx.id());
    let body = format!(
        "\r\n-------{other}$\r\n-------{tid}\r\n-------{tid}!\r\n------{tid}$\r\n-------$\r\n-------{}$\r\n\
         -------\r\n-------{tid}x$\r\nMSRP {other} SEND\r\n",
        &tid[..tid.len() - 1]
    );
    req = req.body(body);
    p.deliver(&req).await?;
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn octets(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let req = p.send().body(all.repeat(3));
    p.deliver(&req).await.map(|_| ())
}

async fn line_ends(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for body in ["\r\n", "\r\n\r\n", "\n", "\r", "\r\nx\r\n", "x\r", "x\r\n-", "\r\n-------"] {
        let req = p.send().body(body);
        p.deliver(&req).await?;
    }
    Ok(())
}

async fn utf8(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text().line("X-Note: Grüße, 挨拶");
    let message = p.deliver(&req).await?;
    let got = message.chunks[0].header("x-note");
    check!(got == Some("Grüße, 挨拶"), "X-Note arrived as {got:?}");
    Ok(())
}

async fn no_body(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.send();
    let message = p.deliver(&req).await?;
    check!(message.body.is_none(), "a body came with it");
    Ok(())
}

async fn empty_body(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for range in [None, Some("Byte-Range: 1-0/0")] {
        let mut req = p.send().body("");
        req.lines.extend(range.map(str::to_owned));
        let message = p.deliver(&req).await?;
        check!(message.body.is_some(), "the empty body became none");
        let kind = message.chunks[0].header("content-type");
        check!(kind == Some("text/plain"), "Content-Type arrived as {kind:?}");
    }
    Ok(())
}

async fn sizes(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for size in [1, 2, 1023, 2047, 2048, 2049, 4095, 16_384, 65_535, 65_536, 300_000] {
        let req = p.send().line(format!("Byte-Range: 1-*/{size}")).body(pattern(size));
        p.deliver(&req).await?;
    }
    Ok(())
}

/// Octets that show where a piece is missing or twice.
pub(super) fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (b'a' + (at / 7 % 26) as u8) ^ (at / 1000 % 2) as u8).collect()
}

async fn interruptible(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.send().line("Byte-Range: 1-*/200000").body(pattern(200_000));
    let message = p.deliver(&req).await?;
    for chunk in &message.chunks {
        let end = chunk.range().map(|(_, end, _)| end);
        check!(
            chunk.len <= 2048 || end == Some(None),
            "a chunk of {} octets has Byte-Range {:?}",
            chunk.len,
            chunk.header("byte-range")
        );
    }
    Ok(())
}

/// A chunk stalls in the middle while the receiver wants an answer of the target on the same connection.
async fn interrupted(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.send().line("Byte-Range: 1-*/100000").body(pattern(100_000));
    let wire = req.bytes();
    let (first, second) = wire.split_at(wire.len() / 2);
    p.a.conn.send(first).await?;
    tokio::time::sleep(SILENCE).await;
    p.b.alive().await?;
    p.a.conn.send(second).await?;
    p.arrived(&req).await.map(|_| ())
}

async fn fair(ctx: Ctx) -> Verdict {
    const BIG: usize = 16 << 20;
    let mut p = Pair::new(&ctx).await?;
    let mut other = Client::home(&ctx, 2).await?;
    let second = p.b.one_more().await?;
    let big = p.send().line(format!("Byte-Range: 1-*/{BIG}")).line("Failure-Report: no").body(pattern(BIG));
    let small = other.send_to(&second).line("Failure-Report: no").body("small");
    p.b.conn.read(false);
    let Pair { mut a, mut b } = p;
    let sent = big.clone();
    let sending = tokio::spawn(async move { a.send(&sent).await.map(|()| a) });
    tokio::time::sleep(SILENCE).await;
    other.send(&small).await?;
    tokio::time::sleep(SILENCE).await;
    b.conn.read(true);
    let (mut small_at, mut at) = (None, 0);
    let whole = loop {
        let Some(frame) = b.conn.take(ANSWER, |frame| frame.is("SEND")).await else {
            return fail(format!("only {at} chunks came"));
        };
        at += 1;
        match frame.id() {
            id if id == Some(id_of(&small)) => small_at = Some(at),
            id if id == Some(id_of(&big)) && frame.flag != b'+' => break at,
            _ => {}
        }
    };
    sending.abort();
    check!(small_at.is_some(), "16 MB came first, in {whole} chunks, then a message of 5 octets");
    Ok(())
}

async fn huge_total(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for total in ["99999999999", "9223372036854775807", "18446744073709551615"] {
        let req = p.text().line(format!("Byte-Range: 1-*/{total}")).flag('+');
        p.a.send(&req).await?;
    }
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn report_silence(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let (far, own) = (p.b.session.uri.clone(), p.b.session.relay().to_owned());
    let unknown = own.replace(';', "zz;");
    for to in [own.clone(), format!("{unknown} {far}"), format!("{own} {far}")] {
        let id = ctx.id();
        let req = Req::new("REPORT", ctx.id(), to, far.clone())
            .line(format!("Message-ID: {id}"))
            .line("Byte-Range: 1-5/5")
            .line("Status: 000 200 OK");
        if p.b.send(&req).await.is_err() {
            break;
        }
        let wrong = |frame: &Frame| {
            let error = frame.header("status").is_some_and(|status| !status.starts_with("000 200"));
            let reported = frame.is("REPORT") && frame.id() == Some(id.as_str()) && error;
            reported || (frame.status.is_some() && frame.tid == req.tid)
        };
        if let Some(frame) = p.b.conn.take(SILENCE, wrong).await {
            return fail(format!("{} answers a REPORT", frame.start));
        }
    }
    Ok(())
}

async fn report_unknown(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    let chunk = p.chunk(&req).await?;
    p.b.reply(&chunk, "200 OK").await?;
    let mut report = p.b.report(&chunk, "200 OK", "1-5/5");
    report.lines[0] = format!("Message-ID: {}", ctx.id());
    p.b.send(&report).await?;
    p.b.alive().await
}

async fn failure_no(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text().line("Failure-Report: no");
    p.deliver(&req).await?;
    p.a.silent(&req).await?;
    let gone = p.b.session.path.iter().map(|uri| uri.replace(';', "zz;")).collect();
    let gone = crate::msrp::Session { path: gone, ..p.b.session.clone() };
    let req = p.a.send_to(&gone).line("Failure-Report: no").body("to nobody");
    p.a.send(&req).await?;
    p.a.silent(&req).await
}

async fn failure_partial(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text().line("Failure-Report: partial");
    p.deliver(&req).await?;
    p.a.silent(&req).await
}

async fn failure_default(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for line in [None, Some("Failure-Report: yes")] {
        let mut req = p.text();
        req.lines.extend(line.map(str::to_owned));
        p.deliver(&req).await?;
    }
    Ok(())
}

async fn response(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    let answer = p.a.exchange(&req).await?;
    check!(answer.path_to() == [p.a.session.uri.as_str()], "To-Path of the response is {:?}", answer.path_to());
    let from = answer.path_from();
    let hop = req.to.split(' ').next().unwrap_or("");
    check!(from.len() == 1 && same(from[0], hop), "From-Path of the response is {from:?}");
    check!(answer.body.is_none(), "the response has a body");
    Ok(())
}

async fn unknown_session(ctx: Ctx) -> Verdict {
    let mut a = Client::home(&ctx, 0).await?;
    let nowhere = a.session.relay().replace(';', "zz;");
    let req = Req::new("SEND", ctx.id(), nowhere, a.session.uri.clone())
        .line(format!("Message-ID: {}", ctx.id()))
        .body("to nobody");
    a.send(&req).await?;
    let answer = a.conn.response(&req.tid, ANSWER).await;
    match answer.as_ref().and_then(|answer| answer.status) {
        Some(200) => fail("it got a 200"),
        Some(481) => Ok(()),
        None if a.conn.closed => Ok(()),
        status => {
            ctx.should(false, format!("expected 481 or the end of the connection, got {status:?}"));
            Ok(())
        }
    }
}

/// Whether b gets what a sends when the target's URIs are written otherwise.
async fn written(ctx: &Ctx, wait: Duration, change: impl Fn(&str) -> String) -> Verdict<bool> {
    let mut p = Pair::new(ctx).await?;
    let mut req = p.text().line("Failure-Report: no");
    let (hops, last) = req.to.rsplit_once(' ').unwrap_or(("", &req.to));
    let hops: Vec<String> = hops.split(' ').map(change).collect();
    req.to = format!("{} {last}", hops.join(" "));
    p.a.send(&req).await?;
    Ok(p.b.conn.take(wait, |frame| frame.id() == Some(id_of(&req))).await.is_some())
}

/// Scheme, authority, session-id and the rest.
fn pieces(uri: &str) -> Option<(&str, &str, &str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let (authority, rest) = rest.split_once('/')?;
    let (id, rest) = rest.split_once(';')?;
    Some((scheme, authority, id, rest))
}

async fn host_case(ctx: Ctx) -> Verdict {
    let changed = |uri: &str| match pieces(uri) {
        Some((scheme, authority, id, rest)) => {
            let upper = str::to_ascii_uppercase;
            format!("{}://{}/{id};{}", upper(scheme), upper(authority), upper(rest))
        }
        None => uri.to_owned(),
    };
    check!(written(&ctx, ANSWER, changed).await?, "a URI in upper case is not known");
    Ok(())
}

async fn id_case(ctx: Ctx) -> Verdict {
    let turned = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let changed = |uri: &str| match pieces(uri) {
        Some((scheme, authority, id, rest)) => {
            format!("{scheme}://{authority}/{};{rest}", id.chars().map(turned).collect::<String>())
        }
        None => uri.to_owned(),
    };
    check!(!written(&ctx, SILENCE * 2, changed).await?, "a session-id in other case is taken for the same");
    Ok(())
}

async fn no_id(ctx: Ctx) -> Verdict {
    let changed = |uri: &str| match pieces(uri) {
        Some((scheme, authority, _, rest)) => format!("{scheme}://{authority};{rest}"),
        None => uri.to_owned(),
    };
    check!(!written(&ctx, SILENCE * 2, changed).await?, "a URI without a session-id is taken for a session's");
    Ok(())
}

async fn transport(ctx: Ctx) -> Verdict {
    let changed = |uri: &str| uri.replace(";tcp", ";udp");
    check!(!written(&ctx, SILENCE * 2, changed).await?, "a URI with another transport is taken for the same");
    Ok(())
}

async fn userinfo(ctx: Ctx) -> Verdict {
    let changed = |uri: &str| uri.replace("://", "://somebody@");
    check!(written(&ctx, ANSWER, changed).await?, "a URI with userinfo is not known");
    Ok(())
}

async fn unknown_header(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text().line("X-Nobody-Knows: this: \"and\" that;x=y");
    let message = p.deliver(&req).await?;
    let got = message.chunks[0].header("x-nobody-knows");
    check!(got == Some("this: \"and\" that;x=y"), "the unknown header arrived as {got:?}");
    Ok(())
}

/// Fails unless the target still takes connections and requests.
async fn lives(ctx: &Ctx) -> Verdict {
    let mut p = Pair::new(ctx).await?;
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn garbage(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for junk in
        ["GET / HTTP/1.1\r\n\r\n", "\r\n\r\n\r\n", "MSRP\r\n", "MSRP a SEND\r\n\r\n", "\0\u{1}\u{2}", "MSRP x 200"]
    {
        let mut conn = Conn::open(&ctx, home(&ctx)?).await?;
        conn.send(junk.as_bytes()).await?;
        conn.finish().await;
    }
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn no_from_path(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    let text = String::from_utf8_lossy(&req.bytes()).into_owned();
    let lines = text.split("\r\n").filter(|line| !line.starts_with("From-Path"));
    p.a.conn.send(lines.collect::<Vec<_>>().join("\r\n").as_bytes()).await?;
    p.b.nothing("a SEND without From-Path was sent").await?;
    lives(&ctx).await
}

async fn endless(ctx: &Ctx, piece: &str) -> Verdict {
    let mut conn = Conn::open(ctx, home(ctx)?).await?;
    let start = format!(
        "MSRP {} AUTH\r\nTo-Path: msrp://a.example:1/x;tcp\r\nFrom-Path: msrp://b.invalid:1/x;tcp\r\n",
        ctx.id()
    );
    conn.send(start.as_bytes()).await?;
    let piece = piece.repeat(65_536 / piece.len());
    for _ in 0..64 {
        if conn.send_quietly(piece.as_bytes()).await.is_err() || conn.closed {
            return Ok(());
        }
    }
    check!(conn.wait_closed(ANSWER).await, "4 MB of headers were taken");
    Ok(())
}

async fn endless_line(ctx: Ctx) -> Verdict {
    endless(&ctx, "x").await
}

async fn endless_headers(ctx: Ctx) -> Verdict {
    endless(&ctx, "X-Filler: of no use\r\n").await
}

async fn tls(ctx: Ctx) -> Verdict {
    let mut client = Client::over(&ctx, crate::msrp::Via::Tls, 0).await?;
    client.alive().await
}
