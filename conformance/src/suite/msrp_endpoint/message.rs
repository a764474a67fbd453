//! What is made of chunks, and what comes in their place.

use super::talk::Talk;
use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail};
use crate::msrp::{Req, id_of};
use crate::suite::msrp::pattern;

pub(super) fn cases() -> Vec<Case> {
    cases! { "msrp-endpoint";
        "7.1.1" "text" Must "A message in one SEND is taken, and what the target sends is a message of its own" => text;
        "7.1.1" "chunks" Must "Chunks in their order make one message" => chunks;
        "7.3.1" "out-of-order" Must "Chunks in any order make one message" => out_of_order;
        "7.3.1" "overlap" Must "Of octets that come twice the later ones count" => overlap;
        "7.1.1" "unknown-total" Must "A total that only the last chunk has is enough" => unknown_total;
        "7.1.1" "interrupted" Must "A chunk that was interrupted goes on in the next one" => interrupted;
        "7.1.1" "interleaved" Must "Chunks of several messages may take turns" => interleaved;
        "7.1.1" "no-range" Must "A SEND without Byte-Range is a whole message" => no_range;
        "7.1.1" "sizes" Must "Messages of any size up to a=max-size are taken in one SEND" => sizes;
        "7.1.1" "sent-chunks" Must "Chunks of the target above 2048 octets have * as the end of the range" => sent_chunks;
        "7.1" "one-at-a-time" Must "A SEND that comes octet by octet is taken" => one_at_a_time;
        "7.1" "look-alike" Must "What only looks like the end-line belongs to the body" => look_alike;
        "7.1" "octets" Must "A body of any octets is taken as it is" => octets;
        "7.1" "abort" Must "A message that was aborted is none, and the next one is" => abort;
        "7.1" "abort-later" Must "An abort in a later chunk takes back what came before" => abort_later;
        "7.1" "ids" Must "Transactions and messages of the target have ids of their own" => ids;
        "7.1" "pipelined" Must "Many messages at once are each answered and taken in their order" => pipelined;
        "8.6" "max-size" Must "A message larger than a=max-size gets 413" => max_size;
        "10.5" "stop" Must "The target stops a message that is answered 413, and goes on with others" => stop;
        "12" "unknown-method" Must "An unknown method gets 501, and the session goes on" => unknown_method;
        "12" "unknown-header" Must "Unknown headers do no harm" => unknown_header;
        "7.1.1" "empty-send" Must "A SEND without a body is answered, and is no message" => empty_send;
        "7.1.1" "no-message-id" Should "A SEND without Message-ID is not taken" => no_message_id;
    }
}

async fn text(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text();
    let chunks = talk.echo(&req).await?;
    check!(chunks[0].id() != Some(id_of(&req)), "it came back with the Message-ID of another sender");
    let kind = chunks[0].header("content-type");
    check!(kind == Some("text/plain"), "it came back as {kind:?}");
    Ok(())
}

/// Sends the pieces of `body` that are given by their borders, in that order, each answered 200.
async fn in_pieces(talk: &mut Talk, body: &[u8], pieces: &[(usize, usize)]) -> Verdict {
    let id = talk.ctx().id();
    for (start, end) in pieces {
        let flag = if *end == body.len() { '$' } else { '+' };
        let range = format!("{}-{end}/{}", start + 1, body.len());
        let req = talk.chunk(&id, &range, &body[*start..*end], flag);
        talk.expect(&req, 200).await?;
    }
    talk.comes_back(body).await.map(|_| ())
}

async fn chunks(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    in_pieces(&mut talk, &pattern(5000), &[(0, 2000), (2000, 2001), (2001, 4999), (4999, 5000)]).await
}

async fn out_of_order(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    in_pieces(&mut talk, &pattern(4000), &[(2000, 3000), (3000, 4000), (0, 500), (500, 2000)]).await?;
    in_pieces(&mut talk, &pattern(10), &[(9, 10), (0, 3), (3, 9)]).await
}

async fn overlap(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let id = ctx.id();
    for (range, body, flag) in
        [("1-6/12", "abcdef", '+'), ("4-9/12", "DEFGHI", '+'), ("1-2/12", "AB", '+'), ("10-12/12", "jkl", '$')]
    {
        let req = talk.chunk(&id, range, body, flag);
        talk.expect(&req, 200).await?;
    }
    talk.comes_back(b"ABcDEFGHIjkl").await.map(|_| ())
}

async fn unknown_total(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let id = ctx.id();
    for (range, body, flag) in [("1-5/*", "hello", '+'), ("6-*/*", " there", '+'), ("12-14/14", "...", '$')] {
        let req = talk.chunk(&id, range, body, flag);
        talk.expect(&req, 200).await?;
    }
    talk.comes_back(b"hello there...").await?;
    let req = talk.chunk(&ctx.id(), "1-*/*", "and all of it", '$');
    talk.echo(&req).await.map(|_| ())
}

async fn interrupted(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let (body, id) = (pattern(9000), ctx.id());
    for (start, end, flag) in [(0, 3000, '+'), (3000, 3001, '+'), (3001, 9000, '$')] {
        let req = talk.chunk(&id, &format!("{}-*/9000", start + 1), &body[start..end], flag);
        talk.expect(&req, 200).await?;
    }
    talk.comes_back(&body).await.map(|_| ())
}

async fn interleaved(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let (first, second) = (ctx.id(), ctx.id());
    for (id, range, body, flag) in [
        (&first, "1-3/6", "one", '+'),
        (&second, "1-3/7", "two", '+'),
        (&second, "4-7/7", ", 2.", '$'),
        (&first, "4-6/6", ", 1", '$'),
    ] {
        let req = talk.chunk(id, range, body, flag);
        talk.expect(&req, 200).await?;
    }
    talk.comes_back(b"two, 2.").await?;
    talk.comes_back(b"one, 1").await.map(|_| ())
}

async fn no_range(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.req().body("no range at all");
    talk.echo(&req).await.map(|_| ())
}

async fn sizes(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let most = talk.call.answer.attribute("max-size").and_then(|size| size.parse().ok()).unwrap_or(usize::MAX);
    for size in [1, 2, 2047, 2048, 2049, 65_536, 300_000, 1 << 20].into_iter().filter(|size| *size <= most) {
        let req = talk.req().line(format!("Byte-Range: 1-*/{size}")).body(pattern(size));
        talk.echo(&req).await?;
    }
    Ok(())
}

async fn sent_chunks(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.req().line("Byte-Range: 1-*/200000").body(pattern(200_000));
    for chunk in talk.echo(&req).await? {
        let range = chunk.range();
        check!(range.is_some(), "a chunk without Byte-Range");
        let end = range.map(|(_, end, _)| end);
        let seen = chunk.header("byte-range");
        check!(chunk.len <= 2048 || end == Some(None), "a chunk of {} octets has Byte-Range {seen:?}", chunk.len);
    }
    Ok(())
}

async fn one_at_a_time(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text();
    for byte in req.bytes() {
        talk.conn.send_quietly(&[byte]).await?;
        tokio::task::yield_now().await;
    }
    let answer = talk.response(&req).await?;
    check!(answer.status == Some(200), "it was answered {}", answer.start);
    let sent = format!("text of {}", ctx.token);
    talk.comes_back(sent.as_bytes()).await.map(|_| ())
}

async fn look_alike(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let mut req = talk.req();
    let (tid, other) = (req.tid.clone(), ctx.id());
    req = req.body(format!(
        "\r\n-------{other}$\r\n-------{tid}\r\n-------{tid}!\r\n------{tid}$\r\n-------$\r\n-------\r\nMSRP {other} SEND\r\n"
    ));
    talk.echo(&req).await?;
    talk.alive().await
}

async fn octets(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let mut req = talk.req().body(all.repeat(3));
    if let Some((kind, _)) = &mut req.content {
        *kind = "application/octet-stream".into();
    }
    talk.echo(&req).await.map(|_| ())
}

async fn abort(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text().flag('#');
    talk.send(&req).await?;
    talk.nothing(SILENCE, "the message was aborted").await?;
    talk.alive().await
}

async fn abort_later(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let id = ctx.id();
    let req = talk.chunk(&id, "1-3/9", "abc", '+');
    talk.expect(&req, 200).await?;
    let req = talk.chunk(&id, "4-*/9", "de", '#');
    talk.send(&req).await?;
    talk.nothing(SILENCE, "the message was aborted").await?;
    talk.alive().await
}

async fn ids(ctx: Ctx) -> Verdict {
    const MESSAGES: usize = 20;
    let mut talk = Talk::new(&ctx).await?;
    let (mut transactions, mut messages) = (Vec::new(), Vec::new());
    for _ in 0..MESSAGES {
        let req = talk.text();
        for chunk in talk.echo(&req).await? {
            transactions.push(chunk.tid.clone());
            messages.push(chunk.id().unwrap_or("").to_owned());
        }
    }
    for (what, all) in [("transaction ids", &mut transactions), ("Message-IDs", &mut messages)] {
        // 64 bits in letters and digits (§7.1), which is for transactions alone.
        let short = all.iter().any(|id| id.len() < 11);
        check!(!short || what != "transaction ids", "transaction ids are too short for 64 random bits: {all:?}");
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        check!(all.len() == count, "{what} come again");
    }
    Ok(())
}

async fn pipelined(ctx: Ctx) -> Verdict {
    const MESSAGES: usize = 30;
    let mut talk = Talk::new(&ctx).await?;
    let all: Vec<Req> = (0..MESSAGES).map(|n| talk.req().body(format!("{n} of {}", ctx.token))).collect();
    let wire: Vec<u8> = all.iter().flat_map(Req::bytes).collect();
    talk.conn.send(&wire).await?;
    for (n, req) in all.iter().enumerate() {
        let answer = talk.response(req).await?;
        check!(answer.status == Some(200), "{n} was answered {}", answer.start);
        let sent = format!("{n} of {}", ctx.token);
        talk.comes_back(sent.as_bytes()).await?;
    }
    Ok(())
}

async fn max_size(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let Some(most) = talk.call.answer.attribute("max-size").and_then(|size| size.parse::<u64>().ok()) else {
        return crate::case::skip("the answer has no a=max-size");
    };
    let req = talk.chunk(&ctx.id(), &format!("1-*/{}", most + 1), pattern(3000), '+');
    talk.expect(&req, 413).await?;
    // Whatever of it still comes.
    let rest = talk.chunk(id_of(&req), &format!("3001-*/{}", most + 1), pattern(3000), '+');
    talk.expect(&rest, 413).await?;
    talk.alive().await
}

async fn stop(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.req().line("Byte-Range: 1-*/1000000").body(pattern(1_000_000));
    talk.conn.read(false);
    talk.send(&req).await?;
    tokio::time::sleep(SILENCE).await;
    talk.conn.read(true);
    let first = talk.incoming().await?;
    let refused = first.id().unwrap_or("").to_owned();
    talk.reply(&first, "413 Stop Sending").await?;
    let next = talk.text();
    talk.send(&next).await?;
    let sent = format!("text of {}", ctx.token);
    loop {
        let chunk = talk.incoming().await?;
        if chunk.id() == Some(refused.as_str()) {
            // What was under way, and the end of it.
            if chunk.flag != b'#' && matches!(chunk.header("failure-report"), None | Some("yes")) {
                talk.reply(&chunk, "413 Stop Sending").await?;
            }
            continue;
        }
        talk.reply(&chunk, "200 OK").await?;
        check!(chunk.body.as_deref() == Some(sent.as_bytes()), "another message came");
        return Ok(());
    }
}

async fn unknown_method(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    for (method, body) in [("FOO", None), ("UNHEARD", Some("with a body"))] {
        let mut req = Req { method: method.into(), ..talk.req() };
        if let Some(body) = body {
            req = req.body(body);
        }
        talk.expect(&req, 501).await?;
    }
    talk.alive().await
}

async fn unknown_header(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text().line("X-Nobody-Knows: this: \"and\" that;x=y").line("x-Note: Grüße");
    talk.echo(&req).await.map(|_| ())
}

async fn empty_send(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    for line in [None, Some("Byte-Range: 1-0/0")] {
        let mut req = talk.req();
        req.lines.extend(line.map(str::to_owned));
        talk.expect(&req, 200).await?;
        talk.nothing(SILENCE, "a SEND without a body is no message").await?;
    }
    talk.alive().await
}

async fn no_message_id(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let mut req = talk.text();
    req.lines.clear();
    talk.send(&req).await?;
    match talk.conn.response(&req.tid, ANSWER).await {
        Some(answer) if answer.status == Some(200) => return fail("it got a 200"),
        _ => {}
    }
    if !talk.conn.closed {
        talk.nothing(SILENCE, "the SEND had no Message-ID").await?;
    }
    Ok(())
}
