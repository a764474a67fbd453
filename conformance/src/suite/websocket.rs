//! SIP over WebSocket: RFC 7118. Needs `--http` or a target with `transport=ws`.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail, skip};
use crate::message::uri_of;
use crate::suite::pair::{deliver, final_answer, pair_over, pair_unregistered};
use crate::target::Proto;
use crate::ua::Ua;
use crate::ws;

pub(crate) fn cases() -> Vec<Case> {
    cases! { "rfc7118";
        "4.1" "handshake" Must "The upgrade is answered 101 with the sub-protocol sip" => handshake;
        "4.1" "no-protocol" Should "An upgrade that does not offer sip is not answered with sip" => no_protocol;
        "5.4" "register" Must "A browser with a host of .invalid registers" => register;
        "5" "via" Must "A response comes back on the connection though Via cannot be resolved" => via;
        "4.2" "binary" Must "A message in a binary frame is taken" => binary;
        "4.2" "fragments" Must "A message in several frames is taken as one" => fragments;
        "4.2" "no-length" Must "Content-Length is not needed" => no_length;
        "5.4" "called" Must "A request for the browser arrives on its connection" => called;
        "8.2" "call" Must "A call to a browser is set up and torn down" => call;
        "8.2" "call-back" Must "A browser calls, and the callee's BYE reaches it on its connection" => call_back;
        "5.4" "message" Must "Messages go from and to a browser" => message;
        "7" "closed" Must "A closed connection ends the browser's binding" => closed;
    }
}

async fn raw(ctx: &Ctx, protocol: Option<&str>) -> Verdict<ws::Answer> {
    let (addr, host, path) = match &ctx.shared.ws {
        Some(ws) => ws.clone(),
        None if ctx.proto() == Proto::Ws => {
            let addr = ctx.options().target.addr;
            (addr, addr.to_string(), "/ws".into())
        }
        None => return skip("no --http given"),
    };
    let Ok(stream) = TcpStream::connect(addr).await else { return fail("cannot connect") };
    let (mut read, mut write) = stream.into_split();
    match tokio::time::timeout(ANSWER, ws::handshake(&mut read, &mut write, &host, &path, protocol)).await {
        Ok(Ok(answer)) => {
            ctx.log.note(&answer.head);
            let _ = write.shutdown().await;
            Ok(answer)
        }
        Ok(Err(error)) => fail(format!("no answer to the upgrade: {error}")),
        Err(_) => fail("no answer to the upgrade"),
    }
}

async fn handshake(ctx: Ctx) -> Verdict {
    raw(&ctx, Some("sip")).await?.check(Some("sip")).or_else(fail)
}

async fn no_protocol(ctx: Ctx) -> Verdict {
    let answer = match raw(&ctx, None).await {
        Ok(answer) => answer,
        // Closing without a word refuses as well.
        Err(crate::case::Stop::Fail(_)) => return Ok(()),
        Err(skip) => return Err(skip),
    };
    check!(answer.status() != Some(101), "upgraded without a sub-protocol");
    Ok(())
}

async fn browser(ctx: &Ctx) -> Verdict<(Ua, crate::case::Lease)> {
    let lease = ctx.accounts(1).await?;
    let ua = ctx.ua_over(&lease[0], Proto::Ws).await?;
    Ok((ua, lease))
}

async fn register(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = browser(&ctx).await?;
    let contact = ua.contact_uri();
    let answer = ua.register().await?;
    let got = answer.values("contact");
    check!(got.len() == 1, "the bindings are {got:?}");
    check!(uri_of(&got[0]).contains("transport=ws"), "{contact} came back as {got:?}");
    Ok(())
}

async fn via(ctx: Ctx) -> Verdict {
    let (mut ua, _lease) = browser(&ctx).await?;
    let uri = format!("sip:{}", ctx.domain());
    let request = ua.req("OPTIONS", &uri);
    let answer = ua.exchange(&request).await?;
    let via = answer.header("via").unwrap_or("").to_owned();
    check!(via.contains(".invalid"), "Via came back as {via}");
    Ok(())
}

async fn frames(ctx: &Ctx, cut: impl Fn(&[u8]) -> Vec<u8>) -> Verdict {
    let (mut ua, _lease) = browser(ctx).await?;
    let uri = format!("sip:{}", ctx.domain());
    let request = ua.req("OPTIONS", &uri);
    let frames = cut(&request.bytes());
    if let Err(error) = ua.link.send_frames(&request.bytes(), &frames).await {
        return fail(format!("cannot send: {error}"));
    }
    ua.outcome(&request).await.map(|_| ())
}

async fn binary(ctx: Ctx) -> Verdict {
    frames(&ctx, |bytes| ws::frame_part(bytes, 2, true)).await
}

async fn fragments(ctx: Ctx) -> Verdict {
    frames(&ctx, |bytes| {
        let (head, tail) = bytes.split_at(40);
        let (middle, tail) = tail.split_at(20);
        [ws::frame_part(head, 1, false), ws::frame_part(middle, 0, false), ws::frame_part(tail, 0, true)].concat()
    })
    .await
}

async fn no_length(ctx: Ctx) -> Verdict {
    frames(&ctx, |bytes| {
        let text = String::from_utf8_lossy(bytes).replace("Content-Length: 0\r\n", "");
        ws::frame_part(text.as_bytes(), 1, true)
    })
    .await
}

async fn called(ctx: Ctx) -> Verdict {
    let mut p = pair_over(&ctx, ctx.proto(), Proto::Ws).await?;
    let (sent, seen) = p.deliver_options().await?;
    p.accept(&sent, &seen).await?;
    let via = seen.values("via").into_iter().next().unwrap_or_default().to_ascii_uppercase();
    check!(via.starts_with("SIP/2.0/WS"), "the Via on top is {via}");
    Ok(())
}

async fn call(ctx: Ctx) -> Verdict {
    let mut p = pair_over(&ctx, ctx.proto(), Proto::Ws).await?;
    let call = p.call(&[]).await?;
    p.b.incoming("ACK").await?;
    p.hang_up(&call).await
}

async fn call_back(ctx: Ctx) -> Verdict {
    let mut p = pair_over(&ctx, Proto::Ws, ctx.proto()).await?;
    p.a.register().await?;
    let call = p.call(&[]).await?;
    p.b.incoming("ACK").await?;
    p.hang_up_back(&call).await
}

async fn message(ctx: Ctx) -> Verdict {
    let mut p = pair_over(&ctx, ctx.proto(), Proto::Ws).await?;
    p.a.register().await?;
    for _ in 0..2 {
        let text = format!("browser {} é", ctx.token);
        let uri = p.b.aor();
        let request = p.a.req("MESSAGE", &uri).body("text/plain;charset=UTF-8", &text);
        let (sent, seen) = deliver(&mut p.a, &mut p.b, &request).await?;
        p.b.reply(&seen, "200 OK", &[]).await?;
        let answer = final_answer(&mut p.a, &sent).await?;
        check!(answer.status() == Some(200), "expected 200, got {}", answer.start);
        check!(seen.body_text() == text, "the body arrived as {:?}", seen.body_text());
        std::mem::swap(&mut p.a, &mut p.b);
    }
    Ok(())
}

async fn closed(ctx: Ctx) -> Verdict {
    let mut p = pair_unregistered(&ctx, ctx.proto(), ctx.proto()).await?;
    let account = p.callee().clone();
    let mut b = ctx.ua_over(&account, Proto::Ws).await?;
    b.register().await?;
    drop(b);
    let request = p.invite();
    let answer = p.a.call(&request).await?;
    check!(answer.status().is_some_and(|code| code >= 400), "expected a refusal, got {}", answer.start);
    // The query tells whether the binding went with the connection.
    let query = p.b.register_req();
    let mut left = p.b.register_with(&query).await?.values("contact");
    if !left.is_empty() {
        p.b.nothing("OPTIONS").await?;
        let query = p.b.register_req();
        left = p.b.register_with(&query).await?.values("contact");
    }
    ctx.should(left.is_empty(), format!("still listed {} ms later: {left:?}", SILENCE.as_millis()));
    Ok(())
}
