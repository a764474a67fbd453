//! MSRP over WebSocket: RFC 7977. Needs an account, `--http`, and `--msrp` or `--msrp-tls` for the other end.

use tokio::io::AsyncWriteExt;

use crate::case::{ANSWER, Case, Ctx, SILENCE, Stop, Verdict, cases, check, fail, skip};
use crate::msrp::{Client, Pair, Via, difference, home, id_of};
use crate::suite::msrp::pattern;
use crate::ws;

pub(crate) fn cases() -> Vec<Case> {
    cases! { "msrp-ws";
        "4.1" "handshake" Must "The upgrade is answered 101 with the sub-protocol msrp" => handshake;
        "4.1" "choice" Must "Of several sub-protocols one that was offered is chosen" => choice;
        "4.1" "no-protocol" Should "An upgrade that offers no sub-protocol is not served" => no_protocol;
        "4.1" "other-protocol" Must "An upgrade that offers only what is unknown does not get msrp" => other_protocol;
        "7" "origin" Should "An Origin in the upgrade is answered with Access-Control-Allow-Origin" => origin;
        "5.3.1" "auth" Must "AUTH gives a browser a Use-Path" => auth;
        "5.3.1" "use-path-tcp" Must "The URIs of Use-Path are for others too: their transport is tcp" => use_path_tcp;
        "5.3.1" "no-auth" Must "A browser that has not authenticated is not served" => no_auth;
        "5.2.1" "paths" Must "A response to AUTH names the ;ws URIs as they were" => paths;
        "4.2" "text" Must "A chunk in a text frame is taken" => text;
        "4.2" "binary" Must "A chunk in a binary frame is taken" => binary;
        "4.2" "octets" Must "Text frames are octets: a body that is not UTF-8 arrives as it was" => octets;
        "4.2" "fragments" Must "A chunk in several WebSocket frames is taken" => fragments;
        "4.2" "fragments-and-ping" Must "A ping between the fragments is answered, and breaks nothing" => fragments_ping;
        "5.1" "from-browser" Must "A browser's message reaches a client on TCP or TLS" => from_browser;
        "5.1" "to-browser" Must "A message from TCP or TLS reaches a browser" => to_browser;
        "5.1" "browsers" Must "Two browsers exchange messages" => browsers;
        "5.1" "one-chunk" Must "Each WebSocket message holds one whole chunk" => one_chunk;
        "5.1" "cut" Must "A large chunk goes to a browser in several smaller ones" => cut;
        "5.1" "large-up" Must "A browser's 4 MB in chunks arrive as they were" => large_up;
        "5.1" "not-whole" Should "A WebSocket message that is no whole chunk is not taken for one" => not_whole;
        "5.2.1" "ws-path" Must "A ;ws URI with a host of .invalid stands in the paths of the other end" => ws_path;
        "5.1" "report" Must "A REPORT travels between a browser and a client on TCP or TLS" => report;
        "6" "bodiless" Must "A SEND without a body keeps a connection open: it is answered" => bodiless;
        "6" "ping" Must "A ping is answered" => ping;
        "5.1" "closed" Must "A browser that has gone is reported to the sender" => closed;
    }
}

async fn upgrade(ctx: &Ctx, lines: &str) -> Verdict<ws::Answer> {
    let Some(place) = ctx.shared.msrp.get(Via::Ws) else { return skip("no --http given") };
    let (host, path) = (place.authority(), place.path.clone());
    let done = async {
        let stream = tokio::net::TcpStream::connect(place.addr).await?;
        if place.secure {
            let (mut read, mut write) = tokio::io::split(crate::tls::connect(stream, &place.host).await?);
            ws::handshake_with(&mut read, &mut write, &host, &path, lines).await
        } else {
            let (mut read, mut write) = stream.into_split();
            let answer = ws::handshake_with(&mut read, &mut write, &host, &path, lines).await;
            let _ = write.shutdown().await;
            answer
        }
    };
    match tokio::time::timeout(ANSWER, done).await {
        Ok(Ok(answer)) => {
            ctx.log.note(&answer.head);
            Ok(answer)
        }
        Ok(Err(error)) => fail(format!("no answer to the upgrade: {error}")),
        Err(_) => fail("no answer to the upgrade"),
    }
}

const OFFER: &str = "Sec-WebSocket-Protocol: msrp\r\n";

async fn handshake(ctx: Ctx) -> Verdict {
    upgrade(&ctx, OFFER).await?.check(Some("msrp")).or_else(fail)
}

async fn choice(ctx: Ctx) -> Verdict {
    for offer in ["msrp, made-up", "made-up, msrp"] {
        let answer = upgrade(&ctx, &format!("Sec-WebSocket-Protocol: {offer}\r\n")).await?;
        answer.check(Some("msrp")).or_else(fail)?;
    }
    Ok(())
}

/// The upgrade, where closing without a word is a refusal as well.
async fn refused(ctx: &Ctx, lines: &str) -> Verdict<Option<ws::Answer>> {
    match upgrade(ctx, lines).await {
        Ok(answer) => Ok(Some(answer)),
        Err(Stop::Fail(_)) => Ok(None),
        Err(skip) => Err(skip),
    }
}

async fn no_protocol(ctx: Ctx) -> Verdict {
    let answer = refused(&ctx, "").await?;
    check!(answer.is_none_or(|answer| answer.status() != Some(101)), "upgraded without a sub-protocol");
    Ok(())
}

async fn other_protocol(ctx: Ctx) -> Verdict {
    let answer = refused(&ctx, "Sec-WebSocket-Protocol: made-up\r\n").await?;
    let got = answer.and_then(|answer| answer.header("sec-websocket-protocol").map(str::to_owned));
    check!(got.is_none(), "made-up was offered, {got:?} was chosen");
    Ok(())
}

async fn origin(ctx: Ctx) -> Verdict {
    let answer = upgrade(&ctx, &format!("{OFFER}Origin: https://www.example.com\r\n")).await?;
    check!(answer.status() == Some(101), "not upgraded: {}", answer.head.lines().next().unwrap_or(""));
    check!(answer.header("access-control-allow-origin").is_some(), "no Access-Control-Allow-Origin");
    Ok(())
}

async fn browser(ctx: &Ctx) -> Verdict<Client> {
    Client::over(ctx, Via::Ws, 0).await
}

async fn auth(ctx: Ctx) -> Verdict {
    browser(&ctx).await.map(|_| ())
}

async fn use_path_tcp(ctx: Ctx) -> Verdict {
    let browser = browser(&ctx).await?;
    let path = &browser.session.path;
    check!(path.iter().all(|uri| uri.to_ascii_lowercase().ends_with(";tcp")), "Use-Path is {path:?}");
    Ok(())
}

async fn no_auth(ctx: Ctx) -> Verdict {
    let mut b = Client::over(&ctx, home(&ctx)?, 1).await?;
    let known = browser(&ctx).await?;
    let mut guest = Client::open(&ctx, Via::Ws, 2).await?;
    // Over a URI that another browser got, to a place outside of the relay.
    let mut req = guest.send_to(&b.session).body("by theft");
    req.to = format!("{} {}", known.session.relay(), req.to);
    let _ = guest.send(&req).await;
    b.nothing("the browser has not authenticated").await
}

async fn paths(ctx: Ctx) -> Verdict {
    let mut client = Client::open(&ctx, Via::Ws, 0).await?;
    let (answer, _) = client.challenged().await?;
    let (own, relay) = (client.session.uri.as_str(), client.relay.as_str());
    check!(answer.path_to() == [own], "To-Path is {:?}, not {own}", answer.path_to());
    check!(answer.path_from() == [relay], "From-Path is {:?}, not {relay}", answer.path_from());
    Ok(())
}

async fn up(ctx: &Ctx) -> Verdict<Pair> {
    Pair::over(ctx, Via::Ws, home(ctx)?).await
}

async fn down(ctx: &Ctx) -> Verdict<Pair> {
    Pair::over(ctx, home(ctx)?, Via::Ws).await
}

/// A text whose frames `cut` makes.
async fn framed(ctx: &Ctx, cut: impl Fn(&[u8]) -> Vec<u8>) -> Verdict<Pair> {
    let mut p = up(ctx).await?;
    let req = p.text();
    let bytes = req.bytes();
    p.a.conn.send_frames(&bytes, &cut(&bytes)).await?;
    p.arrived(&req).await?;
    Ok(p)
}

async fn text(ctx: Ctx) -> Verdict {
    framed(&ctx, |bytes| ws::frame_part(bytes, 1, true)).await.map(|_| ())
}

async fn binary(ctx: Ctx) -> Verdict {
    framed(&ctx, |bytes| ws::frame_part(bytes, 2, true)).await.map(|_| ())
}

async fn octets(ctx: Ctx) -> Verdict {
    let mut p = up(&ctx).await?;
    let req = p.send().body((0..=255u8).collect::<Vec<u8>>());
    p.deliver(&req).await?;
    let mut p = down(&ctx).await?;
    let req = p.send().body((0..=255u8).collect::<Vec<u8>>());
    p.deliver(&req).await.map(|_| ())
}

fn in_three(bytes: &[u8], between: &[u8]) -> Vec<u8> {
    let (head, tail) = bytes.split_at(9);
    let (middle, tail) = tail.split_at(tail.len() - 3);
    let part = ws::frame_part;
    [&part(head, 2, false), between, &part(middle, 0, false), &part(tail, 0, true)].concat()
}

async fn fragments(ctx: Ctx) -> Verdict {
    framed(&ctx, |bytes| in_three(bytes, b"")).await.map(|_| ())
}

async fn fragments_ping(ctx: Ctx) -> Verdict {
    let p = framed(&ctx, |bytes| in_three(bytes, &ws::frame_part(b"here", 9, true))).await?;
    check!(p.a.conn.pongs() == 1, "the ping was not answered");
    Ok(())
}

async fn from_browser(ctx: Ctx) -> Verdict {
    let mut p = up(&ctx).await?;
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn to_browser(ctx: Ctx) -> Verdict {
    let mut p = down(&ctx).await?;
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn browsers(ctx: Ctx) -> Verdict {
    let mut p = Pair::over(&ctx, Via::Ws, Via::Ws).await?;
    for _ in 0..2 {
        let req = p.text();
        p.deliver(&req).await?;
        std::mem::swap(&mut p.a, &mut p.b);
    }
    Ok(())
}

/// The connection itself looks at each message, and holds a fault against the target.
async fn one_chunk(ctx: Ctx) -> Verdict {
    let mut p = down(&ctx).await?;
    let all: Vec<_> = (0..20).map(|n| p.send().body(pattern(n * 100))).collect();
    p.a.conn.send(&all.iter().flat_map(crate::msrp::Req::bytes).collect::<Vec<_>>()).await?;
    for req in &all {
        p.arrived(req).await?;
    }
    Ok(())
}

async fn cut(ctx: Ctx) -> Verdict {
    const SIZE: usize = 4 << 20;
    let mut p = down(&ctx).await?;
    let req = p.send().line(format!("Byte-Range: 1-*/{SIZE}")).body(pattern(SIZE));
    let message = p.deliver(&req).await?;
    check!(message.chunks.len() > 1, "4 MB came in one WebSocket message");
    let largest = message.chunks.iter().map(|chunk| chunk.len).max().unwrap_or(0);
    ctx.should(largest <= 65_536, format!("a WebSocket message holds {largest} octets of a body"));
    Ok(())
}

async fn large_up(ctx: Ctx) -> Verdict {
    const PART: usize = 16_384;
    let Pair { mut a, mut b } = up(&ctx).await?;
    let body = pattern(4 << 20);
    let first = a.send_to(&b.session);
    let id = id_of(&first).to_owned();
    let reading = tokio::spawn(async move { b.message(&id).await });
    for (n, part) in body.chunks(PART).enumerate() {
        let (start, end) = (n * PART + 1, n * PART + part.len());
        let flag = if end == body.len() { '$' } else { '+' };
        let range = format!("Byte-Range: {start}-{end}/{}", body.len());
        let req = first.clone().tid(ctx.id()).line(range).body(part).flag(flag);
        a.conn.send_quietly(&ws::frame(&req.bytes())).await?;
    }
    let Ok(message) = reading.await else { return fail("the receiver broke") };
    let got = message?.body;
    check!(got.as_ref() == Some(&body), "{}", difference(&body, got.as_deref()));
    Ok(())
}

async fn not_whole(ctx: Ctx) -> Verdict {
    let mut p = up(&ctx).await?;
    let req = p.text().line("Failure-Report: no");
    let bytes = req.bytes();
    let (head, _) = bytes.split_at(bytes.len() - 6);
    p.a.conn.send(head).await?;
    let got = p.b.conn.take(SILENCE, |frame| frame.id() == Some(id_of(&req)) && frame.flag == b'$').await;
    check!(got.is_none(), "a chunk without its end arrived as complete");
    // Others are served all the same.
    let mut p = up(&ctx).await?;
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn ws_path(ctx: Ctx) -> Verdict {
    let mut p = up(&ctx).await?;
    let req = p.text();
    let chunk = p.chunk(&req).await?;
    let from = chunk.path_from();
    check!(from.last() == Some(&p.a.session.uri.as_str()), "From-Path arrived as {from:?}");
    p.b.reply(&chunk, "200 OK").await
}

async fn report(ctx: Ctx) -> Verdict {
    for mut p in [up(&ctx).await?, down(&ctx).await?] {
        let req = p.text().line("Success-Report: yes");
        let chunk = p.chunk(&req).await?;
        p.b.reply(&chunk, "200 OK").await?;
        let report = p.b.report(&chunk, "200 OK", "1-9/9");
        p.b.send(&report).await?;
        let Some(got) = p.a.request("REPORT", ANSWER).await else { return fail("the REPORT did not arrive") };
        check!(got.path_to() == [p.a.session.uri.as_str()], "To-Path arrived as {:?}", got.path_to());
    }
    Ok(())
}

async fn bodiless(ctx: Ctx) -> Verdict {
    let mut p = up(&ctx).await?;
    let req = p.send();
    let message = p.deliver(&req).await?;
    check!(message.body.is_none(), "a body came with it");
    Ok(())
}

async fn ping(ctx: Ctx) -> Verdict {
    let mut client = Client::open(&ctx, Via::Ws, 0).await?;
    client.conn.send_frames(b"(ping)", &ws::frame_part(b"still there?", 9, true)).await?;
    client.challenged().await?;
    check!(client.conn.pongs() == 1, "no pong came before the answer to an AUTH");
    Ok(())
}

async fn closed(ctx: Ctx) -> Verdict {
    let Pair { mut a, b } = down(&ctx).await?;
    let session = b.session.clone();
    drop(b);
    tokio::time::sleep(SILENCE).await;
    let req = a.send_to(&session).body("too late");
    a.send(&req).await?;
    check!(a.failure(&req, ANSWER).await.is_some(), "neither an error nor a REPORT came");
    Ok(())
}
