//! The torture messages over TCP, then over UDP, each followed by an OPTIONS that proves the target alive; then what
//! the messages teach about registrars, said again in the target's own domain.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::case::{Case, Ctx, Level, SILENCE, Verdict, cases, check, fail};
use crate::link::{Link, local_ip};
use crate::message::{Message, uri_of};
use crate::target::Proto;
use crate::vectors::{RFC4475, RFC5118, Vector, Want};

/// How long an answer to a torture message may take before it counts as silence.
const PATIENCE: Duration = Duration::from_millis(1500);

fn vector_case(suite: &'static str, vector: &'static Vector) -> Case {
    Case {
        suite,
        name: vector.name.to_owned(),
        section: vector.section.to_owned(),
        level: Level::Must,
        rule: vector.rule.to_owned(),
        limit: crate::case::LIMIT,
        run: Box::new(move |ctx| Box::pin(one(ctx, vector))),
    }
}

pub(crate) fn rfc4475() -> Vec<Case> {
    let mut all: Vec<Case> = RFC4475.iter().map(|vector| vector_case("rfc4475", vector)).collect();
    all.extend(cases! { "rfc4475";
        "3.1.1.4" "escnull-bindings" Must "Contacts that differ only after an escaped NUL are two bindings" => escnull;
        "3.3.7" "regaut01-own-domain" Must "An unknown authorization scheme is challenged as if none had come" => unknown_scheme;
        "3.3.12" "cparam01-binding" Should "A parameter behind a bare Contact is kept with the binding" => contact_header_param;
        "3.3.13" "cparam02-binding" Must "A parameter inside the Contact URI is part of the binding" => contact_uri_param;
        "3.3.14" "regescrt-binding" Must "The escaped Route of a Contact URI is given back" => contact_escaped_route;
        "3.3.4" "unksm2-own-domain" Must "A To that is no SIP address of record is not registered" => strange_to;
    });
    all
}

pub(crate) fn rfc5118() -> Vec<Case> {
    RFC5118.iter().map(|vector| vector_case("rfc5118", vector)).collect()
}

async fn one(ctx: Ctx, vector: &'static Vector) -> Verdict {
    if !matches!(ctx.proto(), Proto::Udp | Proto::Tcp) {
        let link = ctx.link(ctx.proto()).await?;
        return over(&ctx, vector, link, true).await;
    }
    let link = ctx.link(Proto::Tcp).await?;
    over(&ctx, vector, link, true).await?;
    let (link, seen, _alone) = udp_at_via_port(&ctx, vector).await?;
    over(&ctx, vector, link, seen).await
}

/// Sends the vector and judges the answer; `seen` is false where an answer could not reach us.
async fn over(ctx: &Ctx, vector: &Vector, mut link: Link, seen: bool) -> Verdict {
    let proto = link.proto;
    let via = proto.name();
    if let Err(error) = link.send(vector.bytes).await {
        return fail(format!("{via}: cannot send: {error}"));
    }
    let patience = if vector.want == Want::Drop || !seen { SILENCE } else { PATIENCE };
    let mut trying = false;
    let answer = link
        .take(patience, |m| {
            trying |= m.status() == Some(100);
            m.status() != Some(100)
        })
        .await;
    let status = answer.as_ref().and_then(Message::status);
    let line = answer.as_ref().map_or("silence", |m| m.start.as_str()).to_owned();
    let short = vector.name == "clerr" && proto != Proto::Udp;
    match (vector.want, status) {
        (Want::Drop, None) if answer.is_none() => {}
        (Want::Drop, _) => return fail(format!("{via}: a stray response was followed by {line}")),
        // A stream needs a Content-Length (RFC 3261 §20.14), which RFC 2543 did not ask for.
        (Want::Accept, Some(400)) if vector.name == "inv2543" && proto != Proto::Udp => {}
        (Want::Accept, Some(400 | 500 | 505 | 513)) => return fail(format!("{via}: well-formed, but {line}")),
        (Want::Refuse(_) | Want::Lenient, Some(200..=299)) => return fail(format!("{via}: malformed, but {line}")),
        (Want::Accept, None) if seen && vector.bytes.starts_with(b"INVITE") => {
            ctx.should(trying, format!("{via}: the INVITE got neither 100 nor an answer"));
        }
        // On a stream the missing octets may still come.
        (Want::Refuse(_), None) if short => {}
        (Want::Refuse(codes), Some(code)) => {
            ctx.should(codes.contains(&code), format!("{via}: expected {codes:?}, got {line}"));
        }
        // A stream that lost its framing may just be closed.
        (Want::Refuse(codes), None) if seen && !link.closed => {
            ctx.should(false, format!("{via}: expected {codes:?}, got silence"));
        }
        (Want::Must(codes), Some(code)) if !codes.contains(&code) => {
            return fail(format!("{via}: expected {codes:?}, got {line}"));
        }
        (Want::Must(codes), None) if seen => return fail(format!("{via}: expected {codes:?}, got silence")),
        _ => {}
    }
    drop(link);
    alive(ctx, proto).await
}

/// Whatever came before, a new flow gets an answer.
async fn alive(ctx: &Ctx, proto: Proto) -> Verdict {
    let mut ua = ctx.stranger_over(proto).await?;
    let uri = format!("sip:{}", ctx.domain());
    let options = ua.req("OPTIONS", &uri);
    match ua.exchange(&options).await {
        Ok(_) => Ok(()),
        Err(_) => fail(format!("{}: the target does not answer an OPTIONS any more", proto.name())),
    }
}

/// A UDP flow at the port the top Via names, since answers go there (RFC 3261 §18.2.2). On loopback every message has
/// an address of its own; elsewhere they take turns.
async fn udp_at_via_port(
    ctx: &Ctx,
    vector: &Vector,
) -> Verdict<(Link, bool, Option<tokio::sync::MutexGuard<'static, ()>>)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static TURN: Mutex<()> = Mutex::const_new(());
    let to = ctx.options().target.addr;
    let Ok(local) = local_ip(to) else { return fail("no route to the target") };
    let port = Message::read(vector.bytes).and_then(|m| via_port(&m)).unwrap_or(5060);
    let (ip, turn) = match local {
        IpAddr::V4(v4) if v4.is_loopback() => {
            let n = NEXT.fetch_add(1, Ordering::Relaxed) % 60_000;
            (Ipv4Addr::new(127, 77, (n / 250) as u8, (n % 250 + 1) as u8).into(), None)
        }
        other => (other, Some(TURN.lock().await)),
    };
    if let Ok(link) = Link::udp_from(SocketAddr::new(ip, port), to, &ctx.log).await {
        return Ok((link, true, turn));
    }
    ctx.log.note("the port in Via is taken on this machine: the answer over UDP is not seen");
    Ok((ctx.link(Proto::Udp).await?, false, turn))
}

fn via_port(message: &Message) -> Option<u16> {
    let via = message.header("via")?;
    let sent_by = via.split(';').next()?.split_whitespace().last()?;
    crate::target::host_port(sent_by)?.1
}

fn local(ctx: &Ctx) -> Verdict<IpAddr> {
    local_ip(ctx.options().target.addr).or_else(|_| fail("no route to the target"))
}

/// Registers one Contact value and gives the Contact values of the answer.
async fn registered(ctx: &Ctx, contacts: &[&str]) -> Verdict<Vec<String>> {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let answer = ua.register_as(contacts).await?;
    ua.clear().await?;
    Ok(answer.values("contact"))
}

async fn escnull(ctx: Ctx) -> Verdict {
    let ip = local(&ctx)?;
    let (one, two) = (format!("<sip:%00@{ip}:4000>;expires=300"), format!("<sip:%00%00@{ip}:4000>;expires=300"));
    let got = registered(&ctx, &[&one, &two]).await?;
    let uris: Vec<&str> = got.iter().map(|value| uri_of(value)).collect();
    for wanted in [uri_of(&one), uri_of(&two)] {
        check!(uris.contains(&wanted), "{wanted} is not among the bindings {uris:?}");
    }
    Ok(())
}

async fn unknown_scheme(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let request = ua.register_req().add("Authorization", "NoOneKnowsThisScheme opaque-data=here");
    let answer = ua.exchange(&request).await?;
    check!(answer.status() == Some(401), "expected 401, got {}", answer.start);
    Ok(())
}

async fn contact_header_param(ctx: Ctx) -> Verdict {
    let contact = format!("sip:dev@{}:4000;unknownparam", local(&ctx)?);
    let got = registered(&ctx, &[&contact]).await?;
    let kept = got.iter().any(|value| crate::message::param(value, "unknownparam").is_some());
    let in_uri = got.iter().any(|value| uri_of(value).contains("unknownparam") && value.contains('<'));
    check!(!in_uri, "the parameter went into the URI: {got:?}");
    check!(kept, "the parameter is gone: {got:?}");
    Ok(())
}

async fn contact_uri_param(ctx: Ctx) -> Verdict {
    let uri = format!("sip:dev@{}:4000;unknownparam", local(&ctx)?);
    let got = registered(&ctx, &[&format!("<{uri}>")]).await?;
    check!(got.iter().any(|value| uri_of(value) == uri), "{uri} is not among {got:?}");
    Ok(())
}

async fn contact_escaped_route(ctx: Ctx) -> Verdict {
    let uri = format!("sip:dev@{}:4000?Route=%3Csip:sip.example.com%3E", local(&ctx)?);
    let got = registered(&ctx, &[&format!("<{uri}>")]).await?;
    check!(got.iter().any(|value| uri_of(value) == uri), "{uri} is not among {got:?}");
    Ok(())
}

async fn strange_to(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let contact = ua.contact_uri();
    let request = ua.register_req().set("To", "<isbn:2983792873>").add("Contact", format!("<{contact}>"));
    let answer = ua.call(&request).await?;
    check!(answer.status().is_some_and(|code| code >= 300), "a strange To was registered: {}", answer.start);
    ctx.should(matches!(answer.status(), Some(400 | 401 | 403 | 404)), format!("expected 400, got {}", answer.start));
    Ok(())
}
