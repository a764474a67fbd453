//! Who may use a session, and how it ends.

use super::talk::{Call, Offer, Talk};
use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail, skip};
use crate::msrp::{Conn, Req, Via, home};
use crate::suite::msrp::pattern;

pub(super) fn cases() -> Vec<Case> {
    cases! { "msrp-endpoint";
        "8" "answer" Must "An answer has a path of one URI with a port, accept-types, and the protocol of the offer" => answer;
        "14.1" "random" Must "Session-ids have room for 80 random bits, and differ" => random;
        "8" "refused" Must "An offer without a session that can be taken is refused" => refused;
        "5.4" "silent" Must "The passive end sends nothing before it has got a request" => silent;
        "5.4" "bind" Must "The first request on its connection opens the session" => bind;
        "5.4" "unknown" Must "A request for a session that there is not gets 481" => unknown;
        "5.4" "in-use" Must "A request for a session that another connection has gets 506, and the first goes on" => in_use;
        "5.4" "two-sessions" Must "Two sessions may share a connection" => two_sessions;
        "5.4" "lost" Must "With its connection a session ends" => lost;
        "5.4" "lost-within" Must "A connection that is lost within a chunk harms nobody, and gives no message" => lost_within;
        "5.4" "bye" Must "With the call a session ends: 481" => bye;
        "5.4" "bye-within" Must "A call that ends while chunks are under way leaves nothing behind" => bye_within;
        "5.4" "reoffer" Must "Another exchange with the same URIs leaves the session as it is" => reoffer;
        "6.1" "host-case" Must "Scheme, host and transport of a URI are compared without case" => host_case;
        "6.1" "id-case" Must "The session-id of a URI is compared with case" => id_case;
        "6.1" "no-id" Must "A URI without a session-id equals none with one" => no_id;
        "6.1" "userinfo" Must "Userinfo does not matter to the comparison of URIs" => userinfo;
        "6.1" "port" Must "Ports are compared" => port;
        "6.1" "transport" Must "Transports are compared" => transport;
        "7.3" "more-uris" Must "A request that is to go on behind the session is not taken for its own" => more_uris;
    }
}

async fn answer(ctx: Ctx) -> Verdict {
    let call = Call::new(&ctx, Offer::active(&ctx)?).await?;
    let wanted = if call.offer.secure { " TCP/TLS/MSRP *" } else { " TCP/MSRP *" };
    check!(call.answer.media().ends_with(wanted), "the m-line is {:?}", call.answer.media());
    let path = call.answer.path();
    let scheme = if call.offer.secure { "msrps://" } else { "msrp://" };
    check!(path.starts_with(scheme) && !path.contains(' '), "the path is {path:?}");
    let authority = path[scheme.len()..].split('/').next().unwrap_or("");
    let port = authority.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    check!(port.is_some_and(|port| port > 0), "no port in {path:?}");
    check!(path.ends_with(";tcp"), "no transport in {path:?}");
    check!(call.answer.attribute("accept-types").is_some_and(|types| !types.is_empty()), "no accept-types");
    Ok(())
}

async fn random(ctx: Ctx) -> Verdict {
    let mut seen = Vec::new();
    for _ in 0..4 {
        let mut call = Call::new(&ctx, Offer::active(&ctx)?).await?;
        let id = call.answer.path().rsplit('/').next().and_then(|rest| rest.split(';').next()).unwrap_or("").to_owned();
        // Six bits in a character.
        check!(id.len() >= 14, "{id:?} has no room for 80 bits");
        check!(!seen.contains(&id), "{id:?} came again");
        seen.push(id);
        call.bye().await?;
    }
    Ok(())
}

async fn refused(ctx: Ctx) -> Verdict {
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
    for (what, section) in [
        ("audio alone", "m=audio 4000 RTP/AVP 0\r\n"),
        ("no path", "m=message 9 TCP/MSRP *\r\na=setup:active\r\na=accept-types:*\r\n"),
        (
            "another protocol",
            "m=message 9 UDP/MSRP *\r\na=setup:active\r\na=accept-types:*\r\na=path:msrp://a:9/x;tcp\r\n",
        ),
    ] {
        let sdp = format!("{head}{section}");
        if let Ok(call) = Call::attempt(&ctx, &sdp, Offer::active(&ctx)?).await? {
            check!(call.answer.media().starts_with("m=message 0 "), "{what} was accepted");
        }
    }
    Ok(())
}

async fn silent(ctx: Ctx) -> Verdict {
    let mut talk = Talk::connected(&ctx).await?;
    if let Some(frame) = talk.conn.take(SILENCE * 2, |_| true).await {
        return fail(format!("{} came first", frame.start));
    }
    check!(!talk.conn.closed, "the target closed the connection");
    talk.alive().await
}

async fn bind(ctx: Ctx) -> Verdict {
    let mut talk = Talk::connected(&ctx).await?;
    let req = talk.req();
    talk.expect(&req, 200).await?;
    talk.alive().await?;
    // A message will do as well.
    Talk::connected(&ctx).await?.alive().await
}

/// The URI with `change` made to its session-id.
fn other_id(uri: &str, change: impl Fn(&str) -> String) -> String {
    let Some((authority, rest)) = uri.rsplit_once('/') else { return uri.to_owned() };
    let (id, params) = rest.split_once(';').unwrap_or((rest, "tcp"));
    format!("{authority}/{};{params}", change(id))
}

/// Sends a text to `to` and gives whether it was taken; a 200 for what is not known has failed.
async fn taken(talk: &mut Talk, to: String) -> Verdict<bool> {
    let mut req = talk.text();
    req.to = to;
    talk.send(&req).await?;
    match talk.conn.response(&req.tid, ANSWER).await.and_then(|answer| answer.status) {
        Some(200) => Ok(true),
        Some(481) => Ok(false),
        // A relay ends the connection of who sends what is not for it (RFC 4976 §6.2).
        None if talk.conn.closed => Ok(false),
        Some(status) => {
            talk.ctx().should(false, format!("expected 481, got {status}"));
            Ok(false)
        }
        None => fail("neither a response nor the end of the connection"),
    }
}

async fn unknown(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let mut req = talk.text();
    req.to = other_id(&talk.to, |id| format!("{id}zz"));
    let answer = talk.exchange(&req).await?;
    check!(answer.status == Some(481), "expected 481, got {}", answer.start);
    talk.alive().await
}

async fn in_use(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let mut other = talk.call.dial().await?;
    let req = talk.text();
    other.send(&req.bytes()).await?;
    let Some(answer) = other.response(&req.tid, ANSWER).await else {
        return fail("no response on the second connection");
    };
    check!(answer.status == Some(506), "expected 506, got {}", answer.start);
    talk.nothing(SILENCE, "the message came on a connection of somebody else").await?;
    talk.alive().await
}

async fn two_sessions(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let call = Call::new(&ctx, Offer::active(&ctx)?).await?;
    let (to, own) = (call.answer.path().to_owned(), call.offer.path.clone());
    let first = (std::mem::replace(&mut talk.to, to), std::mem::replace(&mut talk.own, own));
    let hello = talk.req();
    talk.expect(&hello, 200).await?;
    talk.alive().await?;
    (talk.to, talk.own) = first;
    talk.alive().await
}

/// Whether a new connection gets 481 for the session of a call, before long.
async fn is_gone(call: &mut Call, req: &Req) -> Verdict {
    let mut status = None;
    for _ in 0..20 {
        let mut conn: Conn = call.dial().await?;
        conn.send(&req.bytes()).await?;
        status = conn.response(&req.tid, ANSWER).await.and_then(|answer| answer.status);
        if status == Some(481) {
            return Ok(());
        }
        // The target may not have met the end of the old one yet.
        tokio::time::sleep(SILENCE).await;
    }
    fail(format!("expected 481 on a new connection, got {status:?}"))
}

async fn lost(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    talk.alive().await?;
    let req = talk.text();
    let Talk { mut call, conn, .. } = talk;
    drop(conn);
    call.ended().await?;
    is_gone(&mut call, &req).await
}

async fn lost_within(ctx: Ctx) -> Verdict {
    let talk = Talk::new(&ctx).await?;
    let req = talk.req().line("Byte-Range: 1-*/100000").body(pattern(100_000));
    let wire = req.bytes();
    let Talk { mut call, mut conn, .. } = talk;
    conn.send(&wire[..wire.len() / 2]).await?;
    drop(conn);
    call.ended().await?;
    Talk::new(&ctx).await?.alive().await
}

async fn bye(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    talk.alive().await?;
    talk.call.bye().await?;
    let to = talk.to.clone();
    check!(!taken(&mut talk, to).await?, "a message was taken after the end of the call");
    Ok(())
}

async fn bye_within(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.req().line("Byte-Range: 1-*/100000").body(pattern(100_000));
    let wire = req.bytes();
    let (first, second) = wire.split_at(wire.len() / 2);
    talk.conn.send(first).await?;
    talk.call.bye().await?;
    // Either of the two may come, and a connection that has ended takes nothing.
    let _ = talk.conn.send(second).await;
    let status = talk.conn.response(&req.tid, ANSWER).await.and_then(|answer| answer.status);
    check!(status == Some(481) || talk.conn.closed, "the chunk was answered {status:?}");
    Talk::new(&ctx).await?.alive().await
}

async fn reoffer(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let call = &mut talk.call;
    let sdp = String::from_utf8_lossy(&call.invite.body).replace("3811155201 IN", "3811155202 IN");
    let again = call.ua.in_dialog(&call.invite, &call.ok, "INVITE").body("application/sdp", sdp);
    let (again, answer) = call.ua.call_as(&again).await?;
    check!(answer.status() == Some(200), "the second INVITE was answered {}", answer.start);
    let ack = call.ua.in_dialog(&again, &answer, "ACK");
    call.ua.send(&ack).await?;
    let path = format!("a=path:{}\r\n", call.answer.path());
    check!(answer.body_text().contains(&path), "the path changed: {}", answer.body_text());
    talk.alive().await
}

async fn written(ctx: &Ctx, change: impl Fn(&str) -> String) -> Verdict<bool> {
    let mut talk = Talk::new(ctx).await?;
    let to = change(&talk.to);
    check!(to != talk.to, "nothing of {to} can be changed");
    taken(&mut talk, to).await
}

async fn host_case(ctx: Ctx) -> Verdict {
    let changed = |uri: &str| match (uri.rsplit_once('/'), uri.rsplit_once(';')) {
        (Some((authority, _)), Some((_, transport))) => {
            let id = &uri[authority.len()..uri.len() - transport.len()];
            format!("{}{id}{}", authority.to_ascii_uppercase(), transport.to_ascii_uppercase())
        }
        _ => uri.to_owned(),
    };
    check!(written(&ctx, changed).await?, "a URI in upper case is not known");
    Ok(())
}

async fn id_case(ctx: Ctx) -> Verdict {
    let turned = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let changed = |uri: &str| other_id(uri, |id| id.chars().map(turned).collect());
    check!(!written(&ctx, changed).await?, "a session-id in other case is taken for the same");
    Ok(())
}

async fn no_id(ctx: Ctx) -> Verdict {
    let changed = |uri: &str| match uri.rsplit_once('/') {
        Some((authority, _)) => format!("{authority};tcp"),
        None => uri.to_owned(),
    };
    check!(!written(&ctx, changed).await?, "a URI without a session-id is taken for a session's");
    Ok(())
}

async fn userinfo(ctx: Ctx) -> Verdict {
    check!(written(&ctx, |uri| uri.replace("://", "://somebody@")).await?, "a URI with userinfo is not known");
    Ok(())
}

async fn port(ctx: Ctx) -> Verdict {
    let changed = |uri: &str| match uri.rsplit_once('/') {
        Some((authority, rest)) => {
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            format!("{host}:1/{rest}")
        }
        None => uri.to_owned(),
    };
    check!(!written(&ctx, changed).await?, "a URI with another port is taken for the same");
    Ok(())
}

async fn transport(ctx: Ctx) -> Verdict {
    check!(
        !written(&ctx, |uri| uri.replace(";tcp", ";udp")).await?,
        "a URI with another transport is taken for the same"
    );
    Ok(())
}

async fn more_uris(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let to = format!("{} msrp://127.0.0.1:9/beyond;tcp", talk.to);
    check!(!taken(&mut talk, to).await?, "a message for somebody beyond the session was taken");
    talk.nothing(SILENCE, "a message for somebody beyond the session was sent").await?;
    if home(&ctx)? == Via::Ws {
        return skip("no stream");
    }
    Ok(())
}
