//! Who connects and what a connection carries: RFC 4975 §5.4, RFC 6135, RFC 6714, as far as it is seen from outside.

use crate::case::{ANSWER, Case, Ctx, Verdict, cases, check, skip};
use crate::message::Message;
use crate::msrp::{Client, Pair, id_of};
use crate::suite::pair::{Pair as Users, pair};

pub(crate) fn cases() -> Vec<Case> {
    cases! { "msrp-connection";
        "4975 5.4" "shared" Must "Sessions with several others share one connection" => shared;
        "4975 5.4" "lost" Must "With its connection a session ends, and no other" => lost;
        "4975 5.4" "first-empty" Must "The active end opens the session with a SEND without a body" => first_empty;
        "4975 5.4" "half-closed" Should "What was sent before a FIN is forwarded" => half_closed;
        "6135 4.5" "active-peer" Must "A client behind its relay need not send first: the active peer does" => active_peer;
        "6135 4.5" "active-client" Must "A client behind its relay sends first when it is the active end" => active_client;
        "6135 4.2.2" "offer" Must "a=setup and the path of an offer pass a SIP proxy as they are" => offer;
        "6135 4.2.2" "answer" Must "a=setup and the path of an answer pass a SIP proxy as they are" => answer;
        "6714 4.2" "cema-offer" Must "a=msrp-cema with a c-line and port unlike the path passes a SIP proxy" => cema_offer;
        "6714 4.3" "cema-answer" Must "An answer with or without a=msrp-cema passes a SIP proxy" => cema_answer;
    }
}

async fn shared(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut other = Client::home(&ctx, 2).await?;
    let second = p.a.one_more().await?;
    let first = p.text();
    let next = p.a.send_in(&second, &other.session).body("to another");
    p.a.conn.send(&[first.bytes(), next.bytes()].concat()).await?;
    p.arrived(&first).await?;
    let chunk = other.chunk(id_of(&next)).await?;
    check!(chunk.path_from().last() == Some(&second.uri.as_str()), "From-Path is {:?}", chunk.path_from());
    other.reply(&chunk, "200 OK").await
}

async fn lost(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let gone = Client::home(&ctx, 2).await?;
    let mine = p.a.one_more().await?;
    let session = gone.session.clone();
    drop(gone);
    tokio::time::sleep(crate::case::SILENCE).await;
    let req = p.a.send_in(&mine, &session).body("to one who left");
    p.a.send(&req).await?;
    check!(p.a.failure(&req, ANSWER).await.is_some(), "neither an error nor a REPORT came");
    let req = p.text();
    p.deliver(&req).await.map(|_| ())
}

async fn first_empty(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for line in [None, Some("Byte-Range: 1-0/0")] {
        let mut req = p.send();
        req.lines.extend(line.map(str::to_owned));
        let message = p.deliver(&req).await?;
        check!(message.body.is_none(), "a body came with it");
    }
    Ok(())
}

async fn half_closed(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    p.a.send(&req).await?;
    p.a.conn.finish().await;
    p.b.message(id_of(&req)).await.map(|_| ())
}

async fn active_peer(ctx: Ctx) -> Verdict {
    let mut a = Client::home(&ctx, 0).await?;
    let mut peer = Client::peer(&ctx, &a.session).await?;
    let hello = peer.send_to(&a.session);
    let answer = peer.exchange(&hello).await?;
    check!(answer.status == Some(200), "expected 200, got {}", answer.start);
    let opened = a.chunk(id_of(&hello)).await?;
    a.reply(&opened, "200 OK").await
}

async fn active_client(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let hello = p.send();
    p.deliver(&hello).await?;
    // And the passive end sends from then on.
    let back = p.b.send_to(&p.a.session).body("and back");
    p.b.send(&back).await?;
    p.a.message(id_of(&back)).await.map(|_| ())
}

fn sdp(ctx: &Ctx, lines: &str) -> String {
    format!(
        "v=0\r\no=- 3811155201 3811155201 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
         m=message 9 TCP/TLS/MSRP *\r\na=accept-types:message/cpim text/plain\r\n\
         a=path:msrps://relay.example.com:2855/{id};tcp msrps://10.0.0.1:2855/{id}x;tcp\r\n{lines}",
        id = ctx.id()
    )
}

async fn users(ctx: &Ctx) -> Verdict<Users> {
    if !ctx.options().sip {
        return skip("the target speaks no SIP");
    }
    pair(ctx).await
}

fn intact(got: &Message, sent: &str) -> Verdict {
    check!(got.body_text() == sent, "the session description arrived as {:?}", got.body_text());
    Ok(())
}

/// Sends an offer with these lines, answers with those, and checks what arrives.
async fn exchange(ctx: &Ctx, offered: &str, answered: &str) -> Verdict {
    let mut p = users(ctx).await?;
    let (offer, answer) = (sdp(ctx, offered), sdp(ctx, answered));
    let mut request = p.invite();
    request = request.body("application/sdp", &offer);
    let (sent, seen) = p.deliver(&request).await?;
    intact(&seen, &offer)?;
    p.b.reply_with(&seen, "200 OK", &[], &answer).await?;
    let got = p.answer(&sent).await?;
    check!(got.status() == Some(200), "expected 200, got {}", got.start);
    intact(&got, &answer)
}

async fn offer(ctx: Ctx) -> Verdict {
    for setup in ["active", "passive", "actpass", "holdconn"] {
        let mut p = users(&ctx).await?;
        let offer = sdp(&ctx, &format!("a=setup:{setup}\r\n"));
        let request = p.invite().body("application/sdp", &offer);
        let (_, seen) = p.deliver(&request).await?;
        intact(&seen, &offer)?;
        p.b.reply(&seen, "488 Not Acceptable Here", &[]).await?;
    }
    Ok(())
}

async fn answer(ctx: Ctx) -> Verdict {
    exchange(&ctx, "a=setup:actpass\r\n", "a=setup:active\r\n").await?;
    exchange(&ctx, "a=setup:active\r\n", "a=setup:passive\r\n").await
}

async fn cema_offer(ctx: Ctx) -> Verdict {
    exchange(&ctx, "a=setup:actpass\r\na=msrp-cema\r\n", "a=setup:passive\r\na=msrp-cema\r\n").await
}

async fn cema_answer(ctx: Ctx) -> Verdict {
    exchange(&ctx, "a=setup:actpass\r\na=msrp-cema\r\n", "a=setup:active\r\n").await
}
