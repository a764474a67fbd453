//! What deployed clients do, beside or against the documents, that a server has to live with.

use tokio::net::TcpListener;

use crate::case::{Case, Ctx, Verdict, cases, check, fail, skip};
use crate::digest::Challenge;
use crate::message::param;
use crate::suite::pair::{deliver, pair, pair_over, pair_unregistered};
use crate::target::Proto;

pub(crate) fn cases() -> Vec<Case> {
    cases! { "habits";
        "1" "gruu-in-dialog" Should "A request inside a dialog for the callee's GRUU arrives" => gruu_in_dialog;
        "2" "connection-reused" Should "A client on a stream is called over its connection; the Contact's port does not listen" => reused;
        "2" "alias-and-ob" Should "A Via with alias and a Contact with ob are taken" => alias_and_ob;
        "3" "stale-binding" Should "A binding that cannot be reached does not hide another device's refusal" => stale_binding;
        "4" "empty-response" Should "A first REGISTER with an empty response and nonce is challenged" => empty_response;
        "4" "no-nonce" Should "A first REGISTER with an Authorization without nonce is challenged" => no_nonce;
        "4" "algorithm-named" Should "Every challenge names its algorithm" => algorithm_named;
        "4" "subscribe-unchallenged" Should "A SUBSCRIBE on the connection that registered is not challenged again" => subscribe_unchallenged;
        "6" "imdn-bare" Should "A message/imdn+xml MESSAGE is delivered" => imdn_bare;
        "6" "imdn-cpim" Should "A message/cpim MESSAGE with an IMDN inside is delivered" => imdn_cpim;
        "7" "invalid-host" Should "A client whose Via and Contact name a host of .invalid is answered and reached" => invalid_host;
    }
}

fn stream(ctx: &Ctx) -> Proto {
    if ctx.proto() == Proto::Udp { Proto::Tcp } else { ctx.proto() }
}

async fn gruu_in_dialog(ctx: Ctx) -> Verdict {
    let mut p = pair_unregistered(&ctx, ctx.proto(), ctx.proto()).await?;
    let instance = "urn:uuid:00000000-0000-1000-8000-0000000000aa";
    let contact = format!("<{}>;+sip.instance=\"<{instance}>\";expires=300", p.b.contact_uri());
    let request = p.b.register_req().add("Contact", contact).add("Supported", "gruu");
    let answer = p.b.register_with(&request).await?;
    let Some(gruu) = answer.values("contact").iter().find_map(|v| param(v, "pub-gruu")) else {
        return skip("the target gives no GRUU");
    };
    let (invite, seen) = p.deliver_invite().await?;
    // The callee's Contact is its GRUU.
    let text = String::from_utf8_lossy(&p.b.reply_bytes(&seen, "200 OK", &[], super::pair::SDP)).into_owned();
    let text = text.replace(&format!("Contact: <{}>", p.b.contact_uri()), &format!("Contact: <{gruu}>"));
    p.b.send_raw(text.as_bytes()).await?;
    let ok = p.answer(&invite).await?;
    let ack = p.a.in_dialog(&invite, &ok, "ACK");
    check!(ack.uri == gruu, "the Contact came back as {}", ack.uri);
    p.a.send(&ack).await?;
    p.b.incoming("ACK").await?;
    let bye = p.a.in_dialog(&invite, &ok, "BYE");
    let (bye, seen) = p.deliver(&bye).await?;
    p.accept(&bye, &seen).await.map(|_| ())
}

async fn reused(ctx: Ctx) -> Verdict {
    let mut p = pair_unregistered(&ctx, ctx.proto(), stream(&ctx)).await?;
    let real = std::mem::replace(&mut p.b.link.name, "127.0.0.1:9".into());
    let registered = p.b.register().await;
    p.b.link.name = real;
    registered?;
    let (_, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "200 OK", &[]).await
}

async fn alias_and_ob(ctx: Ctx) -> Verdict {
    let mut p = pair_unregistered(&ctx, ctx.proto(), stream(&ctx)).await?;
    let via = format!("{};alias;keep", p.b.via());
    let contact = format!("<{};ob>;expires=300", p.b.contact_uri());
    let request = p.b.register_req().set("Via", via).add("Contact", contact);
    p.b.register_with(&request).await?;
    let request = p.options();
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await
}

async fn stale_binding(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    // The port was free a moment ago: a connection to it is refused at once.
    let free = TcpListener::bind((p.b.link.local.ip(), 0)).await.and_then(|l| l.local_addr());
    let Ok(free) = free else { return skip("cannot listen") };
    if !matches!(ctx.proto(), Proto::Udp | Proto::Tcp) {
        return skip("needs plain UDP and TCP");
    }
    p.b.register_as(&[&format!("<sip:dead@{free};transport=tcp>;expires=300")]).await?;
    let (invite, seen) = p.deliver_invite().await?;
    let last = p.refuse(&invite, &seen).await?;
    check!(last.status() == Some(486), "expected 486, got {}", last.start);
    Ok(())
}

async fn first_register(ctx: &Ctx, authorization: &str) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let value = authorization.replace("USER", &ua.account.user).replace("REALM", ctx.domain());
    let request = ua.register_req().add("Authorization", value);
    let answer = ua.exchange(&request).await?;
    check!(answer.status() == Some(401), "expected 401, got {}", answer.start);
    check!(crate::ua::challenge_of(&answer).is_some(), "no challenge that can be answered");
    Ok(())
}

async fn empty_response(ctx: Ctx) -> Verdict {
    let value = "Digest username=\"USER@REALM\",realm=\"REALM\",uri=\"sip:REALM\",nonce=\"\",response=\"\"";
    first_register(&ctx, value).await
}

async fn no_nonce(ctx: Ctx) -> Verdict {
    first_register(&ctx, "Digest username=\"USER\", realm=\"REALM\", uri=\"sip:REALM\", response=\"\"").await
}

async fn algorithm_named(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let request = ua.register_req();
    let answer = ua.exchange(&request).await?;
    for line in answer.lines("www-authenticate") {
        let named = Challenge::parse(line).is_none_or(|c| c.names_algorithm);
        check!(named, "no algorithm in {line}");
    }
    Ok(())
}

async fn subscribe_unchallenged(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua_over(&users[0], stream(&ctx)).await?;
    ua.register().await?;
    let aor = ua.aor();
    let request = ua.req("SUBSCRIBE", &aor).add("Event", "reg").add("Expires", "60");
    ua.send(&request).await?;
    let answer = ua.link.take(crate::case::ANSWER, |m| m.status() != Some(100)).await;
    let Some(answer) = answer else { return fail("no answer to SUBSCRIBE") };
    match answer.status() {
        None => skip("no reg event package: the SUBSCRIBE went to the user's device"),
        Some(401 | 407) => fail(format!("challenged again: {}", answer.start)),
        Some(200 | 202) => {
            let notify = ua.incoming("NOTIFY").await?;
            ua.reply(&notify, "481 Done", &[]).await
        }
        _ => skip(format!("no reg event package: {}", answer.start)),
    }
}

fn imdn(token: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\r\n\
         <message-id>{token}</message-id><datetime>2026-11-23T10:00:00Z</datetime>\r\n\
         <delivery-notification><status><delivered/></status></delivery-notification>\r\n</imdn>\r\n"
    )
}

async fn delivered(ctx: &Ctx, kind: &str, body: &str) -> Verdict {
    let mut p = pair_over(ctx, ctx.proto(), ctx.proto()).await?;
    let uri = p.b.aor();
    let body = body.replace("FROM", &p.a.aor()).replace("TO", &uri);
    let request = p.a.req("MESSAGE", &uri).body(kind, &body);
    let (_, seen) = deliver(&mut p.a, &mut p.b, &request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.body_text() == body, "the body arrived as {:?}", seen.body_text());
    Ok(())
}

async fn imdn_bare(ctx: Ctx) -> Verdict {
    delivered(&ctx, "message/imdn+xml", &imdn(&ctx.token)).await
}

async fn imdn_cpim(ctx: Ctx) -> Verdict {
    let inner = imdn(&ctx.token);
    let body = format!(
        "From: <FROM>\r\nTo: <TO>\r\nDateTime: 2026-11-23T10:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: {0}-r\r\n\r\nContent-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\
         Content-Length: {1}\r\n\r\n{inner}",
        ctx.token,
        inner.len(),
    );
    delivered(&ctx, "message/cpim", &body).await
}

async fn invalid_host(ctx: Ctx) -> Verdict {
    let mut p = pair_unregistered(&ctx, ctx.proto(), stream(&ctx)).await?;
    p.b.link.name = format!("{}.invalid", ctx.token.replace('.', "x"));
    p.b.register().await?;
    let (sent, seen) = p.deliver_options().await?;
    p.accept(&sent, &seen).await.map(|_| ())
}
