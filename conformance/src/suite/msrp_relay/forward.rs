//! What is forwarded, to whom, and for whom (§6.2, §6.3, §6.4).

use std::time::Duration;

use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail, skip};
use crate::msrp::{Client, Conn, Frame, Pair, Req, Session, id_of, response, same};

pub(super) fn cases() -> Vec<Case> {
    cases! { "msrp-relay";
        "6.4.1" "path-shift" Must "The relay's URI moves from the head of To-Path to the head of From-Path" => path_shift;
        "6.4" "new-id" Must "Two senders with one transaction id do not collide at the receiver" => new_id;
        "6.4.1" "headers" Must "Message-ID, report headers, Content-* and unknown headers are forwarded as they came" => headers;
        "6.4.1" "message-ids" Must "Chunks of different messages are not put together" => message_ids;
        "6.4" "to-peer" Must "A client without a relay sends to the URI of the relay's client" => to_peer;
        "6.4.2" "from-peer" Must "The relay's client sends to a peer without a relay, over the peer's connection" => from_peer;
        "6.4.2" "connects" Should "The relay connects to a peer that has no connection to it" => connects;
        "6.3" "hop-connects" Should "A hop that was dialled may send on a connection of its own" => hop_connects;
        "6.4" "stranger" Must "A stranger cannot use the URI of a client to reach others" => stranger;
        "6.4" "other-client" Must "Another client cannot use a client's URI to reach others" => other_client;
        "6.4" "open-relay" Must "A request to a place that is not the relay's is not forwarded" => open_relay;
        "6.2" "not-ours" Should "A request whose To-Path does not begin with a URI of the relay ends the connection" => not_ours;
        "6.3" "reopened" Must "A URI ends with the connection that got it" => reopened;
        "6.3" "other-connection" Must "A client's second connection does not get what goes to the first" => other_connection;
        "5.1" "one-session" Should "A second peer cannot join a session that has one" => one_session;
        "3.1" "no-auth" Must "A client that has not authenticated is served by nobody else's URI" => no_auth;
        "6.4.2" "report" Must "A REPORT travels back along the path, its headers as they were" => report;
        "6.4.2" "report-body" Must "A REPORT with a body of 10240 octets is forwarded" => report_body;
        "6.4.2" "unknown-method" Should "A method that the relay does not know is forwarded" => unknown_method;
        "6.4.2" "nickname" Must "A NICKNAME is forwarded, and its response comes back" => nickname;
        "6.4.3" "response-path" Must "A response with more URIs is shifted and forwarded, under the id of the request" => response_path;
        "6.4.3" "response-error" Must "An error response to a NICKNAME comes back as it was" => response_error;
        "6.4.3" "stray-response" Must "A response to nothing is dropped and does no harm" => stray_response;
        "6.4.3" "broken-response" Must "A response that cannot be parsed is dropped" => broken_response;
        "6.4.3" "no-response" Must "Responses of the receiver do not reach the sender of a SEND" => hop_by_hop;
    }
}

async fn path_shift(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    let chunk = p.chunk(&req).await?;
    check!(chunk.path_to() == [p.b.session.uri.as_str()], "To-Path arrived as {:?}", chunk.path_to());
    let mut expected: Vec<&str> = req.to.split(' ').rev().skip(1).collect();
    expected.push(&p.a.session.uri);
    let got = chunk.path_from();
    let equal = got.len() == expected.len() && got.iter().zip(&expected).all(|(a, b)| same(a, b));
    check!(equal, "From-Path arrived as {got:?}, not {expected:?}");
    Ok(())
}

async fn new_id(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut other = Client::home(&ctx, 2).await?;
    let second = p.b.one_more().await?;
    let first = p.text();
    let twin = other.send_to(&second).tid(first.tid.clone()).body("the other");
    p.a.send(&first).await?;
    other.send(&twin).await?;
    let (one, two) = (p.b.chunk(id_of(&first)).await?, p.b.chunk(id_of(&twin)).await?);
    check!(one.tid != two.tid, "both arrived as {}, and neither is answered yet", one.tid);
    Ok(())
}

async fn headers(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let lines = [
        "Success-Report: yes",
        "Failure-Report: yes",
        "Byte-Range: 1-*/5",
        "X-One: a, b;c=\"d\"",
        "Content-ID: <x@example.com>",
        "Content-Disposition: attachment; filename=\"a b.txt\"",
        "Content-Description: a text",
    ];
    let mut req = p.send().body("hello");
    req.lines.extend(lines.map(str::to_owned));
    req.content = Some(("text/plain;charset=UTF-8".into(), b"hello".to_vec()));
    let message = p.deliver(&req).await?;
    let chunk = &message.chunks[0];
    for line in lines.into_iter().filter(|line| !line.starts_with("Byte-Range")) {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        check!(chunk.header(name) == Some(value), "{line} arrived as {:?}", chunk.header(name));
    }
    let kind = chunk.header("content-type");
    check!(kind == Some("text/plain;charset=UTF-8"), "Content-Type arrived as {kind:?}");
    Ok(())
}

async fn message_ids(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let all: Vec<Req> = (0..20).map(|n| p.send().line("Byte-Range: 1-1/1").body(vec![b'a' + n])).collect();
    p.a.conn.send(&all.iter().flat_map(Req::bytes).collect::<Vec<_>>()).await?;
    for req in &all {
        let message = p.arrived(req).await?;
        check!(message.body.as_ref().map(Vec::len) == Some(1), "messages were put together");
    }
    Ok(())
}

async fn to_peer(ctx: Ctx) -> Verdict {
    let mut a = Client::home(&ctx, 0).await?;
    let mut peer = Client::peer(&ctx, &a.session).await?;
    let req = peer.send_to(&a.session).body("from outside");
    let answer = peer.exchange(&req).await?;
    check!(answer.status == Some(200), "expected 200, got {}", answer.start);
    check!(answer.path_to() == [peer.session.uri.as_str()], "To-Path of the response is {:?}", answer.path_to());
    let chunk = a.chunk(id_of(&req)).await?;
    let from = chunk.path_from();
    let right = from.len() == 2 && same(from[0], a.session.relay()) && from[1] == peer.session.uri;
    check!(right, "From-Path arrived as {from:?}");
    a.reply(&chunk, "200 OK").await
}

async fn from_peer(ctx: Ctx) -> Verdict {
    let mut a = Client::home(&ctx, 0).await?;
    let mut peer = Client::peer(&ctx, &a.session).await?;
    // The peer is active: it opens the session, and so its connection is known.
    let hello = peer.send_to(&a.session);
    peer.exchange(&hello).await?;
    let opened = a.chunk(id_of(&hello)).await?;
    a.reply(&opened, "200 OK").await?;
    let req = a.send_to(&peer.session).body("to outside");
    a.send(&req).await?;
    let chunk = peer.chunk(id_of(&req)).await?;
    let from = chunk.path_from();
    let right = from.len() == 2 && same(from[0], a.session.relay()) && from[1] == a.session.uri;
    check!(right, "From-Path arrived as {from:?}");
    peer.reply(&chunk, "200 OK").await
}

/// A client's SEND to a peer that the relay has to dial: the client, and the connection that was made, with the SEND
/// answered.
async fn dialled(ctx: &Ctx) -> Verdict<(Client, Conn)> {
    let mut a = Client::home(ctx, 0).await?;
    if !a.conn.local.ip().is_loopback() {
        return skip("the target may not reach this machine");
    }
    let Ok(listener) = tokio::net::TcpListener::bind((a.conn.local.ip(), 0)).await else {
        return skip("no port to listen at");
    };
    let Ok(at) = listener.local_addr() else { return skip("no port to listen at") };
    let uri = format!("msrp://{at}/{};tcp", ctx.id());
    let peer = Session { uri: uri.clone(), path: Vec::new(), expires: None };
    let req = a.send_to(&peer).body("knock");
    a.send(&req).await?;
    let Ok(Ok((stream, _))) = tokio::time::timeout(ANSWER, listener.accept()).await else {
        return fail("no connection was made to the peer");
    };
    let Ok(mut conn) = Conn::accepted(stream, &ctx.log) else { return fail("the connection broke") };
    let Some(chunk) = conn.take(ANSWER, |frame| frame.is("SEND") && frame.id() == Some(id_of(&req))).await else {
        return fail("a connection was made, and nothing was sent");
    };
    check!(chunk.path_to() == [uri.as_str()], "To-Path arrived as {:?}", chunk.path_to());
    conn.send(&response(&chunk, "200 OK")).await?;
    Ok((a, conn))
}

async fn connects(ctx: Ctx) -> Verdict {
    dialled(&ctx).await.map(|_| ())
}

async fn hop_connects(ctx: Ctx) -> Verdict {
    let (mut a, _conn) = dialled(&ctx).await?;
    let mut way = Client::peer(&ctx, &a.session).await?;
    let req = way.send_to(&a.session).body("by a connection of my own");
    let answer = way.exchange(&req).await?;
    check!(answer.status == Some(200), "expected 200, got {}", answer.start);
    let chunk = a.chunk(id_of(&req)).await?;
    a.reply(&chunk, "200 OK").await
}

async fn stranger(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut thief = Client::peer(&ctx, &p.a.session).await?;
    let mut req = thief.send_to(&p.b.session).body("by theft");
    req.to = format!("{} {}", p.a.session.relay(), req.to);
    thief.send(&req).await?;
    p.b.nothing("a stranger used the URI of a client").await?;
    p.a.nothing("a stranger used the URI of a client").await
}

async fn other_client(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut thief = Client::home(&ctx, 2).await?;
    let mut req = thief.send_to(&p.b.session).body("by theft");
    req.to = req.to.replace(thief.session.relay(), p.a.session.relay());
    thief.send(&req).await?;
    p.b.nothing("another client used the URI of a client").await
}

async fn open_relay(ctx: Ctx) -> Verdict {
    let mut a = Client::home(&ctx, 0).await?;
    if !a.conn.local.ip().is_loopback() {
        return skip("the target may not reach this machine");
    }
    let Ok(listener) = tokio::net::TcpListener::bind((a.conn.local.ip(), 0)).await else {
        return skip("no port to listen at");
    };
    let Ok(at) = listener.local_addr() else { return skip("no port to listen at") };
    let peer = Session { uri: format!("msrp://{at}/{};tcp", ctx.id()), path: Vec::new(), expires: None };
    let mut stranger = Client::peer(&ctx, &a.session).await?;
    for client in [&mut a, &mut stranger] {
        let mut req = client.send_to(&peer).body("an open relay");
        req.to = peer.uri.clone();
        // The connection may well be dropped for it.
        let _ = client.send(&req).await;
        let came = tokio::time::timeout(SILENCE * 2, listener.accept()).await.is_ok();
        check!(!came, "a connection was made to {}", peer.uri);
    }
    Ok(())
}

async fn not_ours(ctx: Ctx) -> Verdict {
    let mut a = Client::home(&ctx, 0).await?;
    let uri = "msrp://elsewhere.invalid:2855/nobody;tcp";
    let req = Req::new("SEND", ctx.id(), uri.into(), a.session.uri.clone())
        .line(format!("Message-ID: {}", ctx.id()))
        .body("for others");
    a.send(&req).await?;
    check!(a.conn.wait_closed(Duration::from_secs(2)).await, "the connection is open");
    Ok(())
}

async fn reopened(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let old = p.b.session.clone();
    p.b = Client::home(&ctx, 1).await?;
    let req = p.a.send_to(&old).body("for the connection that was");
    p.a.send(&req).await?;
    p.b.nothing("its URI ended with its connection").await?;
    // Nor can it be used from the new connection.
    let mut req = p.b.send_to(&p.a.session).body("by a URI that was");
    req.to = req.to.replace(p.b.session.relay(), old.relay());
    p.b.send(&req).await?;
    p.a.nothing("a URI outlived its connection").await
}

async fn other_connection(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut twin = Client::home(&ctx, 1).await?;
    let req = p.text();
    p.deliver(&req).await?;
    twin.nothing("it was for another connection of this client").await?;
    let mut req = twin.send_to(&p.a.session).body("by the URI of another connection");
    req.to = req.to.replace(twin.session.relay(), p.b.session.relay());
    twin.send(&req).await?;
    p.a.nothing("the URI of another connection was used").await
}

async fn one_session(ctx: Ctx) -> Verdict {
    let mut a = Client::home(&ctx, 0).await?;
    let mut first = Client::peer(&ctx, &a.session).await?;
    let req = first.send_to(&a.session).body("the first");
    first.send(&req).await?;
    let chunk = a.chunk(id_of(&req)).await?;
    a.reply(&chunk, "200 OK").await?;
    let mut second = Client::peer(&ctx, &a.session).await?;
    let req = second.send_to(&a.session).body("the second");
    second.send(&req).await?;
    let came = a.conn.take(SILENCE * 2, |frame| frame.id() == Some(id_of(&req))).await;
    check!(came.is_none(), "a second peer's SEND was forwarded");
    Ok(())
}

async fn no_auth(ctx: Ctx) -> Verdict {
    let a = Client::home(&ctx, 0).await?;
    let mut guest = Client::peer(&ctx, &a.session).await?;
    let mut other = Client::peer(&ctx, &a.session).await?;
    // Through the relay's own address, and through a session-id of its own making.
    let base = a.session.relay().split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
    let scheme = a.session.relay().split(':').next().unwrap_or("msrp");
    for hop in [format!("{scheme}://{base};tcp"), format!("{scheme}://{base}/{};tcp", ctx.id())] {
        let mut req = guest.send_to(&other.session).body("for free");
        req.to = format!("{hop} {}", other.session.uri);
        let _ = guest.send(&req).await;
    }
    other.nothing("nobody has authenticated").await
}

async fn report(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text().line("Success-Report: yes");
    let chunk = p.chunk(&req).await?;
    p.b.reply(&chunk, "200 OK").await?;
    let report = p.b.report(&chunk, "200 OK", "1-9/9").line("X-Note: end to end");
    p.b.send(&report).await?;
    let Some(got) = p.a.request("REPORT", ANSWER).await else { return fail("the REPORT did not arrive") };
    check!(got.id() == Some(id_of(&req)), "Message-ID is {:?}", got.id());
    for (name, value) in [("byte-range", "1-9/9"), ("status", "000 200 OK"), ("x-note", "end to end")] {
        check!(got.header(name) == Some(value), "{name} arrived as {:?}", got.header(name));
    }
    check!(got.path_to() == [p.a.session.uri.as_str()], "To-Path arrived as {:?}", got.path_to());
    let expected = [p.a.session.relay(), p.b.session.relay(), &p.b.session.uri];
    let from = got.path_from();
    let right = from.len() == expected.len() && from.iter().zip(expected).all(|(a, b)| same(a, b));
    check!(right, "From-Path arrived as {from:?}, not {expected:?}");
    check!(p.b.conn.response(&report.tid, SILENCE).await.is_none(), "the relay answered a REPORT");
    Ok(())
}

/// A REPORT with a body of that size, as it arrives.
async fn with_body(ctx: &Ctx, size: usize) -> Verdict<(Pair, Option<Frame>)> {
    let mut p = Pair::new(ctx).await?;
    let req = p.text();
    let chunk = p.chunk(&req).await?;
    p.b.reply(&chunk, "200 OK").await?;
    let report = p.b.report(&chunk, "200 OK", "1-9/9").body(vec![b'r'; size]);
    p.b.send(&report).await?;
    let got = p.a.request("REPORT", Duration::from_secs(1)).await;
    Ok((p, got))
}

async fn report_body(ctx: Ctx) -> Verdict {
    let (_, got) = with_body(&ctx, 10_240).await?;
    let size = got.and_then(|report| report.body).map(|body| body.len());
    check!(size == Some(10_240), "10240 octets arrived as {size:?}");
    let (p, got) = with_body(&ctx, 100_000).await?;
    ctx.should(got.is_none(), "a REPORT with 100000 octets was forwarded (RFC 4975 §7.1)");
    drop(p);
    Ok(())
}

async fn method(ctx: &Ctx, name: &str) -> Verdict<(Pair, Req, Frame)> {
    let mut p = Pair::new(ctx).await?;
    let req = Req::new(name, ctx.id(), p.a.session.route(&p.b.session), p.a.session.uri.clone())
        .line("Use-Nickname: \"Alice the great\"");
    p.a.send(&req).await?;
    let Some(got) = p.b.request(name, ANSWER).await else {
        return fail(match p.a.conn.response(&req.tid, SILENCE).await {
            Some(answer) => format!("{name} was answered {}", answer.start),
            None => format!("{name} did not arrive"),
        });
    };
    Ok((p, req, got))
}

async fn unknown_method(ctx: Ctx) -> Verdict {
    let (p, _, got) = method(&ctx, "WHATEVER").await?;
    check!(got.path_to() == [p.b.session.uri.as_str()], "To-Path arrived as {:?}", got.path_to());
    Ok(())
}

async fn answered(ctx: &Ctx, status: &str) -> Verdict<(Pair, Frame)> {
    let (mut p, req, got) = method(ctx, "NICKNAME").await?;
    let nick = got.header("use-nickname");
    check!(nick == Some("\"Alice the great\""), "Use-Nickname arrived as {nick:?}");
    p.b.reply(&got, status).await?;
    match p.a.conn.response(&req.tid, ANSWER).await {
        Some(answer) => Ok((p, answer)),
        None => fail("the response did not come back"),
    }
}

async fn nickname(ctx: Ctx) -> Verdict {
    let (_, answer) = answered(&ctx, "200 OK").await?;
    check!(answer.status == Some(200), "200 became {}", answer.start);
    Ok(())
}

async fn response_path(ctx: Ctx) -> Verdict {
    let (p, answer) = answered(&ctx, "200 OK").await?;
    check!(answer.path_to() == [p.a.session.uri.as_str()], "To-Path arrived as {:?}", answer.path_to());
    let expected = [p.a.session.relay(), p.b.session.relay(), &p.b.session.uri];
    let from = answer.path_from();
    let right = from.len() == expected.len() && from.iter().zip(expected).all(|(a, b)| same(a, b));
    check!(right, "From-Path arrived as {from:?}, not {expected:?}");
    Ok(())
}

async fn response_error(ctx: Ctx) -> Verdict {
    let (_, answer) = answered(&ctx, "425 Nickname reserved or already in use").await?;
    check!(answer.status == Some(425), "425 became {}", answer.start);
    Ok(())
}

async fn stray_response(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let text = |to: &str, from: &str, code: u16| {
        let tid = ctx.id();
        format!("MSRP {tid} {code}\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n-------{tid}$\r\n")
    };
    let (own, relay) = (p.b.session.uri.clone(), p.b.session.relay().to_owned());
    for response in [text(&relay, &own, 200), text(&relay, &own, 481), text("msrp://x.invalid:1/x;tcp", &own, 200)] {
        p.b.conn.send(response.as_bytes()).await?;
    }
    if let Some(frame) = p.a.conn.take(SILENCE, |_| true).await {
        return fail(format!("{} came of a response to nothing", frame.start));
    }
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn broken_response(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut other = Pair::new(&ctx).await?;
    let req = p.text();
    let chunk = p.chunk(&req).await?;
    let tid = &chunk.tid;
    p.b.conn.send(format!("MSRP {tid} 2xx OK\r\nTo-Path: ;;;\r\n-------{tid}$\r\n").as_bytes()).await?;
    if let Some(frame) =
        p.a.conn.take(SILENCE, |frame| frame.is("SEND") || frame.method.is_none() && frame.tid != req.tid).await
    {
        return fail(format!("{} came of a broken response", frame.start));
    }
    let req = other.text();
    other.deliver(&req).await.map(|_| ())
}

async fn hop_by_hop(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    p.deliver(&req).await?;
    match p.a.conn.take(SILENCE, |frame| frame.status.is_some()).await {
        Some(frame) => fail(format!("{} came after the relay's own 200", frame.start)),
        None => Ok(()),
    }
}
