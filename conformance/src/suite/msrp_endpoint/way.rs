//! Who connects to whom, and over what.

use super::talk::{Call, Offer, Talk, listen};
use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail, skip};
use crate::msrp::{Conn, Via, home, place_of};
use crate::suite::msrp::pattern;
use crate::tls::{self, Own};

pub(super) fn cases() -> Vec<Case> {
    cases! { "msrp-endpoint";
        "6135 4.2.2" "active" Must "An offer with a=setup:active is answered with passive" => active;
        "6135 4.2.2" "passive" Must "An offer with a=setup:passive is answered with active: the target connects, and sends first" => passive;
        "6135 4.2.2" "actpass" Must "An offer with a=setup:actpass is answered with one of the two, and the session comes about" => actpass;
        "6135 4.2.1" "no-setup" Must "An offer without a=setup is of an end that connects" => no_setup;
        "6135 4.4" "connection" Must "a=connection does no harm" => connection;
        "6135 4.2.2" "unreachable" Must "A call whose passive end cannot be reached does not stay up" => unreachable;
        "6714 4.3" "cema" Must "An offer with a=msrp-cema and an address unlike the path is answered with the attribute" => cema;
        "6714 4.3" "cema-passive" Must "With a=msrp-cema the active end connects to the c-line and the m-line" => cema_passive;
        "14.4" "fingerprint" Must "The certificate of the target is the one that its answer names" => fingerprint;
        "14.4" "own-fingerprint" Must "A self-signed certificate that the offer names is taken" => own_fingerprint;
        "14.4" "other-fingerprint" Must "A certificate other than the offer names is not, and the session does not come about" => other_fingerprint;
        "14.4" "passive-fingerprint" Must "An active target takes the passive end's certificate by its fingerprint" => passive_fingerprint;
        "14.4" "passive-other" Must "An active target sends nothing to a passive end with another certificate" => passive_other;
        "14.4" "secure-only" Must "A session of msrps is not to be had without TLS" => secure_only;
        "4976 5.1" "relayed" Must "An end behind the target's relay talks with one at the target" => relayed;
        "7977 5.1" "websocket" Must "A browser behind the target's relay talks with an end at the target" => websocket;
    }
}

async fn active(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let setup = talk.call.answer.attribute("setup");
    check!(setup == Some("passive"), "a=setup of the answer is {setup:?}");
    talk.alive().await
}

/// What the target, which is the active end, opens on a listener of ours.
async fn accepted(
    ctx: &Ctx,
    call: Call,
    listener: tokio::net::TcpListener,
    own: Option<&Own>,
) -> Verdict<Option<Talk>> {
    let Ok(Ok((stream, _))) = tokio::time::timeout(ANSWER, listener.accept()).await else {
        return fail("nobody connected to the passive end");
    };
    let conn = match own {
        None => Conn::accepted(stream, &ctx.log),
        Some(own) => match own.accept(stream).await {
            Ok(stream) => Conn::accepted_tls(stream, &ctx.log),
            Err(_) => return Ok(None),
        },
    };
    match conn {
        Ok(conn) => Ok(Some(call.over(conn))),
        Err(error) => fail(format!("cannot read the target's connection: {error}")),
    }
}

/// The SEND that opens the session.
async fn opened(talk: &mut Talk) -> Verdict {
    let first = talk.incoming().await?;
    let to = first.path_to();
    check!(to == [talk.own.as_str()], "To-Path of the first SEND is {to:?}");
    talk.reply(&first, "200 OK").await
}

/// A certificate of ours where the session wants one, and the line that names it.
fn certificate(secure: bool) -> Verdict<Option<Own>> {
    match secure.then(Own::new).transpose() {
        Ok(own) => Ok(own),
        Err(error) => fail(format!("cannot make a certificate: {error}")),
    }
}

async fn passive(ctx: Ctx) -> Verdict {
    let secure = home(&ctx)? == Via::Tls;
    let own = certificate(secure)?;
    let (listener, mut offer) = listen(secure, &ctx, "passive").await?;
    if let Some(own) = &own {
        offer = offer.with(own.attribute());
    }
    let call = Call::new(&ctx, offer).await?;
    let setup = call.answer.attribute("setup");
    check!(setup == Some("active"), "a=setup of the answer is {setup:?}");
    let Some(mut talk) = accepted(&ctx, call, listener, own.as_ref()).await? else {
        return fail("the target refused our certificate");
    };
    opened(&mut talk).await?;
    talk.alive().await
}

async fn actpass(ctx: Ctx) -> Verdict {
    let (listener, offer) = listen(false, &ctx, "actpass").await?;
    if ctx.shared.msrp.tcp.is_none() {
        return skip("no --msrp given");
    }
    let mut call = Call::new(&ctx, offer).await?;
    match call.answer.attribute("setup") {
        Some("active") => {
            let Some(mut talk) = accepted(&ctx, call, listener, None).await? else { return fail("no connection") };
            opened(&mut talk).await?;
            talk.alive().await
        }
        Some("passive") => {
            let conn = call.dial().await?;
            call.over(conn).alive().await
        }
        setup => fail(format!("a=setup of the answer is {setup:?}")),
    }
}

async fn no_setup(ctx: Ctx) -> Verdict {
    let offer = Offer { setup: "", ..Offer::active(&ctx)? };
    let mut call = Call::new(&ctx, offer).await?;
    let setup = call.answer.attribute("setup");
    check!(matches!(setup, None | Some("passive")), "a=setup of the answer is {setup:?}");
    let conn = call.dial().await?;
    call.over(conn).alive().await
}

async fn connection(ctx: Ctx) -> Verdict {
    let mut call = Call::new(&ctx, Offer::active(&ctx)?.with("a=connection:existing")).await?;
    check!(call.answer.attribute("connection").is_none(), "the answer has a=connection");
    let conn = call.dial().await?;
    call.over(conn).alive().await
}

async fn unreachable(ctx: Ctx) -> Verdict {
    let (listener, offer) = listen(false, &ctx, "passive").await?;
    drop(listener);
    let mut call = Call::new(&ctx, offer).await?;
    call.ended().await
}

async fn cema(ctx: Ctx) -> Verdict {
    let offer = Offer { host: "192.0.2.77", port: 4711, ..Offer::active(&ctx)?.with("a=msrp-cema") };
    let mut call = Call::new(&ctx, offer).await?;
    check!(call.answer.attribute("msrp-cema").is_some(), "the answer lacks a=msrp-cema");
    let conn = call.dial().await?;
    call.over(conn).alive().await
}

async fn cema_passive(ctx: Ctx) -> Verdict {
    let (listener, mut offer) = listen(false, &ctx, "passive").await?;
    // A path where nobody is, as a middlebox leaves it.
    offer.path = format!("msrp://127.0.0.2:9/{};tcp", ctx.id());
    let call = Call::new(&ctx, offer.with("a=msrp-cema")).await?;
    check!(call.answer.attribute("msrp-cema").is_some(), "the answer lacks a=msrp-cema");
    let Some(mut talk) = accepted(&ctx, call, listener, None).await? else { return fail("no connection") };
    opened(&mut talk).await?;
    talk.alive().await
}

/// Skips where there is no TLS.
fn needs_tls(ctx: &Ctx) -> Verdict {
    if home(ctx)? == Via::Tls { Ok(()) } else { skip("no --msrp-tls given") }
}

async fn fingerprint(ctx: Ctx) -> Verdict {
    needs_tls(&ctx)?;
    let call = Call::new(&ctx, Offer::active(&ctx)?).await?;
    let Some(named) = call.answer.attribute("fingerprint") else { return fail("the answer has no a=fingerprint") };
    let place = place_of(&ctx, call.answer.path()).or_else(fail)?;
    let shown = match tls::certificate(place.addr, place.host.trim_matches(['[', ']'])).await {
        Ok(certificate) => tls::fingerprint(&certificate),
        Err(error) => return fail(format!("cannot see the certificate: {error}")),
    };
    check!(named.eq_ignore_ascii_case(&shown), "the answer names {named}, shown is {shown}");
    Ok(())
}

async fn own_fingerprint(ctx: Ctx) -> Verdict {
    needs_tls(&ctx)?;
    let Some(own) = certificate(true)? else { return Ok(()) };
    let mut call = Call::new(&ctx, Offer::active(&ctx)?.with(own.attribute())).await?;
    let conn = call.dial_as(Some(&own)).await?;
    call.over(conn).alive().await
}

async fn other_fingerprint(ctx: Ctx) -> Verdict {
    needs_tls(&ctx)?;
    let (Some(named), Some(shown)) = (certificate(true)?, certificate(true)?) else { return Ok(()) };
    let mut call = Call::new(&ctx, Offer::active(&ctx)?.with(named.attribute())).await?;
    let conn = call.dial_as(Some(&shown)).await?;
    let mut talk = call.over(conn);
    let req = talk.text();
    talk.send(&req).await?;
    let status = talk.conn.response(&req.tid, ANSWER).await.and_then(|answer| answer.status);
    check!(status != Some(200), "a message was taken from somebody with another certificate");
    check!(status.is_some() || talk.conn.closed, "neither a response nor the end of the connection");
    talk.nothing(SILENCE, "the certificate is another's").await
}

async fn passive_fingerprint(ctx: Ctx) -> Verdict {
    needs_tls(&ctx)?;
    passive(ctx).await
}

async fn passive_other(ctx: Ctx) -> Verdict {
    needs_tls(&ctx)?;
    let (Some(named), Some(shown)) = (certificate(true)?, certificate(true)?) else { return Ok(()) };
    let (listener, offer) = listen(true, &ctx, "passive").await?;
    let call = Call::new(&ctx, offer.with(named.attribute())).await?;
    if let Some(mut talk) = accepted(&ctx, call, listener, Some(&shown)).await? {
        // With TLS 1.3 the target says what it thinks of the certificate when our side is done.
        talk.nothing(SILENCE * 2, "the certificate is another than the offer names").await?;
        check!(talk.conn.wait_closed(ANSWER).await, "the target keeps the connection");
        return talk.call.ended().await;
    }
    Ok(())
}

async fn secure_only(ctx: Ctx) -> Verdict {
    needs_tls(&ctx)?;
    if ctx.shared.msrp.tcp.is_none() {
        return skip("no --msrp given");
    }
    let call = Call::new(&ctx, Offer::active(&ctx)?).await?;
    let conn = Conn::open(&ctx, Via::Tcp).await?;
    let mut talk = call.over(conn);
    let req = talk.text();
    talk.send(&req).await?;
    let status = talk.conn.response(&req.tid, ANSWER).await.and_then(|answer| answer.status);
    check!(status != Some(200), "a message was taken without TLS");
    Ok(())
}

/// Text and more than a few frames, both ways.
async fn talks(mut talk: Talk) -> Verdict {
    talk.alive().await?;
    let (body, id) = (pattern(100_000), talk.ctx().id());
    for (at, part) in body.chunks(10_000).enumerate() {
        let (start, end) = (at * 10_000 + 1, at * 10_000 + part.len());
        let flag = if end == body.len() { '$' } else { '+' };
        let req = talk.chunk(&id, &format!("{start}-{end}/{}", body.len()), part, flag);
        talk.send(&req).await?;
    }
    talk.comes_back(&body).await?;
    talk.alive().await
}

async fn relayed(ctx: Ctx) -> Verdict {
    let via = home(&ctx)?;
    talks(Talk::relayed(&ctx, via).await?).await
}

async fn websocket(ctx: Ctx) -> Verdict {
    talks(Talk::relayed(&ctx, Via::Ws).await?).await
}
