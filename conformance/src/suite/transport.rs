//! Transport: RFC 3261 §18, RFC 3581 (rport), and the choice of transport of RFC 3263 as far as it needs no DNS.

use tokio::net::TcpListener;

use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail, skip};
use crate::link::{Link, local_ip};
use crate::message::param;
use crate::suite::pair::{deliver, final_answer, pair, pair_over, pair_unregistered};
use crate::target::Proto;
use crate::ua::Ua;

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases! { "rfc3261-transport";
        "18.2.1" "received" Must "A sent-by that is not the source gets a received parameter" => received;
        "18.2.2" "sent-by-port" Must "Over UDP and without rport the answer goes to the port of sent-by" => sent_by_port;
        "18.2.2" "same-connection" Must "Over a stream the answer comes on the connection the request came on" => same_connection;
        "18.3" "two-in-one" Must "Two requests in one segment are two requests" => two_in_one;
        "18.3" "split" Must "A request in pieces is one request" => split;
        "7.5" "leading-lines" Must "Empty lines before a request are passed over" => leading_lines;
        "18.3" "stream-body" Must "On a stream Content-Length ends a body" => stream_body;
        "20.14" "stream-no-length" Should "A request on a stream without Content-Length is refused or taken as without body" => stream_no_length;
        "18.3" "datagram-no-length" Must "In a datagram without Content-Length the body ends with the datagram" => datagram_no_length;
        "18.3" "datagram-trailer" Must "Octets of a datagram beyond Content-Length are dropped" => datagram_trailer;
        "18.1.1" "large-datagram" Must "A datagram of 60,000 octets is read" => large_datagram;
        "18.2.1" "udp-and-tcp" Must "A server that listens on UDP listens on TCP on the same port" => udp_and_tcp;
    };
    all.extend(cases! { "rfc3581";
        "4" "rport" Must "An empty rport is filled with the source port, and received is added" => rport;
        "4" "rport-answer" Must "With rport the answer goes to the source port, whatever sent-by says" => rport_answer;
        "4" "rport-forwarded" Must "The filled rport travels on in the forwarded request" => rport_forwarded;
    });
    all.extend(cases! { "rfc3263";
        "4.1" "transport-param" Must "A Contact with transport=tcp is called over TCP" => contact_over_tcp;
        "4.1" "numeric-udp" Must "A numeric Contact without transport is called over UDP at its port" => contact_over_udp;
        "4.3" "refused" Must "A Contact that refuses the connection ends the call without delay" => contact_refuses;
    });
    all
}

async fn stream(ctx: &Ctx) -> Verdict<Ua> {
    let proto = if ctx.proto() == Proto::Udp { Proto::Tcp } else { ctx.proto() };
    match proto {
        Proto::Ws => skip("only over streams"),
        proto => ctx.stranger_over(proto).await,
    }
}

fn server_uri(ctx: &Ctx) -> String {
    format!("sip:{}", ctx.domain())
}

async fn received(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger().await?;
    let uri = server_uri(&ctx);
    let via = format!("SIP/2.0/{} phone.invalid:5099;branch=z9hG4bK-{};rport", ua.link.proto.via(), ctx.id());
    let request = ua.req("OPTIONS", &uri).set("Via", via);
    let answer = ua.exchange(&request).await?;
    let got = answer.values("via").first().and_then(|via| param(via, "received"));
    let want = ua.link.local.ip().to_string();
    check!(got.as_deref() == Some(&want), "received is {got:?}, the source {want}");
    Ok(())
}

async fn sent_by_port(ctx: Ctx) -> Verdict {
    let mut from = ctx.stranger_over(Proto::Udp).await?;
    let mut at = ctx.stranger_over(Proto::Udp).await?;
    let uri = server_uri(&ctx);
    let via = format!("SIP/2.0/UDP {};branch=z9hG4bK-{}", at.link.name, ctx.id());
    let request = from.req("OPTIONS", &uri).set("Via", via);
    from.send(&request).await?;
    let Some(_) = at.response(&request, ANSWER / 3).await else {
        return match from.response(&request, SILENCE).await {
            Some(_) => fail("the answer went to the source port"),
            None => fail("no answer at the port of sent-by"),
        };
    };
    Ok(())
}

async fn same_connection(ctx: Ctx) -> Verdict {
    let mut ua = stream(&ctx).await?;
    let uri = server_uri(&ctx);
    // Nobody listens at that sent-by.
    let via = format!("SIP/2.0/{} 127.0.0.1:9;branch=z9hG4bK-{}", ua.link.proto.via(), ctx.id());
    let request = ua.req("OPTIONS", &uri).set("Via", via);
    ua.exchange(&request).await.map(|_| ())
}

async fn two_in_one(ctx: Ctx) -> Verdict {
    let mut ua = stream(&ctx).await?;
    let uri = server_uri(&ctx);
    let (one, two) = (ua.req("OPTIONS", &uri), ua.req("OPTIONS", &uri));
    let mut both = one.bytes();
    both.extend(two.bytes());
    ua.send_raw(&both).await?;
    ua.outcome(&one).await?;
    ua.outcome(&two).await.map(|_| ())
}

async fn split(ctx: Ctx) -> Verdict {
    let mut ua = stream(&ctx).await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri).body("text/plain", "a body of some octets");
    let bytes = request.bytes();
    let header_end = bytes.len() - request.body.len();
    let mut at = 0;
    // In the start line, in a header name, between the CR and LF of the empty line, inside the body.
    for end in [5, 60, header_end - 1, header_end + 4, bytes.len()] {
        ua.send_raw(&bytes[at..end]).await?;
        tokio::task::yield_now().await;
        at = end;
    }
    ua.outcome(&request).await.map(|_| ())
}

async fn leading_lines(ctx: Ctx) -> Verdict {
    let mut ua = stream(&ctx).await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri);
    let mut bytes = b"\r\n\r\n\r\n".to_vec();
    bytes.extend(request.bytes());
    ua.send_raw(&bytes).await?;
    ua.outcome(&request).await.map(|_| ())
}

async fn stream_body(ctx: Ctx) -> Verdict {
    let mut ua = stream(&ctx).await?;
    let uri = server_uri(&ctx);
    let inner = ua.req("OPTIONS", &uri);
    let outer = ua.req("OPTIONS", &uri).body("message/sip", inner.bytes());
    let last = ua.req("OPTIONS", &uri);
    let mut bytes = outer.bytes();
    bytes.extend(last.bytes());
    ua.send_raw(&bytes).await?;
    ua.outcome(&outer).await?;
    ua.outcome(&last).await?;
    match ua.response(&inner, SILENCE).await {
        Some(answer) => fail(format!("a request inside a body was answered {}", answer.start)),
        None => Ok(()),
    }
}

async fn stream_no_length(ctx: Ctx) -> Verdict {
    let mut ua = stream(&ctx).await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri);
    let text = String::from_utf8_lossy(&request.bytes()).replace("Content-Length: 0\r\n", "");
    ua.send_raw(text.as_bytes()).await?;
    match ua.response(&request, ANSWER / 3).await {
        Some(_) => Ok(()),
        None if ua.link.wait_closed(SILENCE).await => Ok(()),
        None => fail("neither answered nor closed"),
    }
}

async fn udp_pair(ctx: &Ctx) -> Verdict<crate::suite::pair::Pair> {
    match ctx.proto() {
        Proto::Udp | Proto::Tcp => pair_over(ctx, Proto::Udp, Proto::Udp).await,
        _ => skip("only over UDP"),
    }
}

async fn datagram_no_length(ctx: Ctx) -> Verdict {
    let mut p = udp_pair(&ctx).await?;
    let uri = p.b.aor();
    let request = p.a.req("INFO", &uri).body("text/plain", "to the end").add("X-Last", "1");
    let (mut sent, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    p.answer(&sent).await?;
    sent = p.a.again(&sent);
    let text = String::from_utf8_lossy(&sent.bytes()).replace("Content-Length: 10\r\n", "");
    p.a.send_raw(text.as_bytes()).await?;
    let seen = match p.b.incoming_within("INFO", ANSWER / 3).await? {
        Some(seen) => seen,
        // The credentials were used once already: answer the new challenge.
        None => match p.a.response(&sent, SILENCE).await {
            Some(answer) if matches!(answer.status(), Some(401 | 407)) => {
                let Some(next) = p.a.after_challenge(&sent, &answer).await? else { return fail("challenged") };
                let text = String::from_utf8_lossy(&next.bytes()).replace("Content-Length: 10\r\n", "");
                p.a.send_raw(text.as_bytes()).await?;
                p.b.incoming("INFO").await?
            }
            Some(answer) => return fail(format!("refused: {}", answer.start)),
            None => return fail("neither forwarded nor answered"),
        },
    };
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.body == b"to the end", "the body arrived as {:?}", seen.body_text());
    Ok(())
}

async fn datagram_trailer(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger_over(Proto::Udp).await?;
    let uri = server_uri(&ctx);
    let (request, inner) = (ua.req("OPTIONS", &uri), ua.req("OPTIONS", &uri));
    let mut bytes = request.bytes();
    bytes.extend(inner.bytes());
    ua.send_raw(&bytes).await?;
    let answer = ua.response(&request, ANSWER / 3).await;
    let line = answer.as_ref().map_or("silence", |m| m.start.as_str()).to_owned();
    check!(answer.is_some_and(|m| m.status() == Some(200)), "expected 200, got {line}");
    match ua.response(&inner, SILENCE).await {
        Some(_) => fail("the octets behind were taken as a request"),
        None => Ok(()),
    }
}

async fn large_datagram(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger_over(Proto::Udp).await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri).body("text/plain", "x".repeat(60_000));
    ua.exchange(&request).await.map(|_| ())
}

async fn udp_and_tcp(ctx: Ctx) -> Verdict {
    for proto in [Proto::Udp, Proto::Tcp] {
        let mut ua = ctx.stranger_over(proto).await?;
        let uri = server_uri(&ctx);
        let request = ua.req("OPTIONS", &uri);
        ua.exchange(&request).await?;
    }
    Ok(())
}

async fn rport(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger_over(Proto::Udp).await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri);
    let answer = ua.exchange(&request).await?;
    let via = answer.values("via").into_iter().next().unwrap_or_default();
    let (port, ip) = (ua.link.local.port().to_string(), ua.link.local.ip().to_string());
    check!(param(&via, "rport").as_deref() == Some(&port), "the source port is {port}, Via came back as {via}");
    check!(param(&via, "received").as_deref() == Some(&ip), "the source is {ip}, Via came back as {via}");
    Ok(())
}

async fn rport_answer(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger_over(Proto::Udp).await?;
    let uri = server_uri(&ctx);
    let via = format!("SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK-{};rport", ctx.id());
    let request = ua.req("OPTIONS", &uri).set("Via", via);
    ua.exchange(&request).await.map(|_| ())
}

async fn rport_forwarded(ctx: Ctx) -> Verdict {
    let mut p = udp_pair(&ctx).await?;
    let (_, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let via = seen.values("via").pop().unwrap_or_default();
    let port = p.a.link.local.port().to_string();
    check!(param(&via, "rport").as_deref() == Some(&port), "the caller's Via arrived as {via}");
    Ok(())
}

async fn contact_over_tcp(ctx: Ctx) -> Verdict {
    if !matches!(ctx.proto(), Proto::Udp | Proto::Tcp) {
        return skip("needs plain UDP and TCP");
    }
    let mut p = pair_unregistered(&ctx, ctx.proto(), Proto::Udp).await?;
    let Ok(ip) = local_ip(ctx.options().target.addr) else { return skip("no route to the target") };
    let Ok(listener) = TcpListener::bind((ip, 0)).await else { return skip("cannot listen") };
    let Ok(at) = listener.local_addr() else { return skip("cannot listen") };
    p.b.register_as(&[&format!("<sip:dev@{at};transport=tcp>;expires=300")]).await?;
    let log = ctx.log.clone();
    let accepted = tokio::spawn(async move { listener.accept().await.ok() });
    let request = p.options();
    let mut callee = None;
    let (sent, _) = p.a.start(&request).await?;
    if let Ok(Ok(Some((stream, _)))) = tokio::time::timeout(ANSWER, accepted).await {
        callee = Some(Link::accepted(stream, &log));
    }
    let Some(Ok(link)) = callee else { return fail("no TCP connection was made to the Contact") };
    let callee_account = p.callee().clone();
    let mut b = Ua::new(&ctx, link, &callee_account);
    let seen = b.incoming("OPTIONS").await?;
    b.reply(&seen, "200 OK", &[]).await?;
    let answer = final_answer(&mut p.a, &sent).await?;
    check!(answer.status() == Some(200), "expected 200, got {}", answer.start);
    let via = seen.values("via").into_iter().next().unwrap_or_default();
    check!(via.replace(' ', "").starts_with("SIP/2.0/TCP"), "the Via on top is {via}");
    Ok(())
}

async fn contact_over_udp(ctx: Ctx) -> Verdict {
    if !matches!(ctx.proto(), Proto::Udp | Proto::Tcp) {
        return skip("needs plain UDP and TCP");
    }
    // Registered from one socket for the address of another.
    let mut p = pair_unregistered(&ctx, ctx.proto(), Proto::Udp).await?;
    let callee = p.callee().clone();
    let mut other = ctx.ua_over(&callee, Proto::Udp).await?;
    let contact = other.contact_uri();
    p.b.register_as(&[&format!("<{contact}>;expires=300")]).await?;
    let request = p.options();
    let (_, seen) = deliver(&mut p.a, &mut other, &request).await?;
    other.reply(&seen, "200 OK", &[]).await
}

async fn contact_refuses(ctx: Ctx) -> Verdict {
    // Who registers over a stream is called over that stream.
    if ctx.proto() != Proto::Udp {
        return skip("needs UDP and TCP");
    }
    let mut p = pair(&ctx).await?;
    p.b.clear().await?;
    let Ok(ip) = local_ip(ctx.options().target.addr) else { return skip("no route to the target") };
    // A port that was free a moment ago: a connection to it is refused.
    let at = match TcpListener::bind((ip, 0)).await.and_then(|l| l.local_addr()) {
        Ok(at) => at,
        Err(_) => return skip("cannot listen"),
    };
    p.b.register_as(&[&format!("<sip:dev@{at};transport=tcp>;expires=300")]).await?;
    let request = p.invite();
    let answer = p.a.call(&request).await?;
    check!(answer.status().is_some_and(|code| code >= 400), "expected a refusal, got {}", answer.start);
    Ok(())
}
