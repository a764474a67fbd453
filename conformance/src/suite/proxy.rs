//! The proxy of RFC 3261 §16: what it checks, adds, takes off and leaves alone.

use std::time::{Duration, Instant};

use crate::case::{Case, Ctx, Verdict, cases, check, fail, skip};
use crate::message::{param, uri_of, uri_param};
use crate::suite::pair::{final_answer, pair};

pub(crate) fn cases() -> Vec<Case> {
    cases! { "rfc3261-proxy";
        "16.3-3" "max-forwards-zero" Must "A request with Max-Forwards 0 is answered 483" => max_forwards_zero;
        "16.6-3" "max-forwards-less-one" Must "Max-Forwards goes down by one" => max_forwards_less;
        "16.6-3" "max-forwards-added" Must "A request without Max-Forwards gets one" => max_forwards_added;
        "16.3-5" "proxy-require" Must "An unknown Proxy-Require is answered 420 with Unsupported" => proxy_require;
        "16.5" "unknown-user" Must "A request for a user that does not exist is answered 404" => unknown_user;
        "16.5" "no-binding" Should "A request for a user without bindings is answered 480" => no_binding;
        "16.6-2" "request-uri" Must "The Request-URI becomes the Contact that was registered" => request_uri;
        "16.6-8" "via-on-top" Must "A Via with a branch of its own goes on top of those that came" => via_on_top;
        "16.7-3" "via-off" Must "A response comes back without the proxy's own Via" => via_off;
        "16.6" "unknown-method" Must "An unknown method is forwarded like any other" => unknown_method;
        "16.6-1" "headers-untouched" Must "Headers the proxy has no use for are forwarded as they came, in order" => headers_untouched;
        "16.6-1" "body-untouched" Must "A body is forwarded octet for octet" => body_untouched;
        "16.6-1" "odd-request" Must "Odd but legal names, escapes, quotes and UTF-8 pass through" => odd_request;
        "7.3.1" "percent-name" Must "A header name may hold a percent sign" => percent_name;
        "16.6-1" "many-vias" Must "Thirty Via entries are kept in order" => many_vias;
        "16.7-9" "response-untouched" Must "Reason phrase, unknown headers and body of a response pass through" => response_untouched;
        "8.2.6.2" "to-tag-untouched" Must "The callee's To tag reaches the caller as it is" => to_tag;
        "17.2.1" "trying" Must "An INVITE is answered 100 within 200 ms when the callee is silent" => trying;
        "16.7-5" "provisional" Must "Provisional responses are forwarded, but not a 100" => provisional;
        "16.6-4" "record-route" Should "An INVITE that is forwarded gets a Record-Route with lr" => record_route;
        "16.12" "in-dialog" Must "A request inside the dialog follows the route set to the callee's Contact" => in_dialog;
        "16.12" "in-dialog-back" Must "The callee's request inside the dialog reaches the caller" => in_dialog_back;
        "16.4" "own-route-off" Must "The proxy takes its own Route value off" => own_route_off;
        "16.4" "strict-upstream" Must "A Request-URI that is the proxy's own Record-Route is put right from the last Route" => strict_upstream;
        "16.6-6" "strict-downstream" Must "Towards a strict router the Route goes into the Request-URI" => strict_downstream;
        "13.2.2.4" "ack-to-2xx" Must "The ACK to a 2xx goes through to the callee" => ack_to_2xx;
        "17.1.1.3" "ack-hop-by-hop" Must "A refusal is acknowledged by the proxy, and the caller's ACK ends at it" => ack_hop_by_hop;
        "16.10" "cancel" Must "CANCEL is answered 200 and goes on to the callee, whose 487 comes back" => cancel;
        "9.1" "cancel-waits" Must "A CANCEL does not reach a branch before its first provisional response" => cancel_waits;
        "16.7-6" "lone-503" Should "A lone 503 goes back as 500" => lone_503;
    }
}

async fn max_forwards_zero(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let request = p.invite().set("Max-Forwards", "0");
    let answer = p.a.call(&request).await?;
    check!(answer.status() == Some(483), "expected 483, got {}", answer.start);
    Ok(())
}

async fn max_forwards_less(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let request = p.options().set("Max-Forwards", "31");
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.header("max-forwards") == Some("30"), "31 became {:?}", seen.header("max-forwards"));
    Ok(())
}

async fn max_forwards_added(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let request = p.options().without("Max-Forwards");
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let got = seen.header("max-forwards").and_then(|v| v.parse::<u8>().ok());
    check!(got.is_some_and(|n| n > 0), "Max-Forwards is {got:?}");
    ctx.should(got == Some(70), format!("70 is the value to start from, not {got:?}"));
    Ok(())
}

async fn proxy_require(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let request = p.options().add("Proxy-Require", "x-chappe-unknown");
    let answer = match crate::suite::pair::try_deliver(&mut p.a, &mut p.b, &request).await? {
        Err(answer) => answer,
        Ok(_) => return fail("forwarded"),
    };
    check!(answer.status() == Some(420), "expected 420, got {}", answer.start);
    let named = answer.values("unsupported");
    check!(named.iter().any(|v| v == "x-chappe-unknown"), "Unsupported is {named:?}");
    Ok(())
}

async fn unknown_user(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut a = ctx.ua(&users[0]).await?;
    let uri = format!("sip:nobody-{}@{}", ctx.token, ctx.domain());
    let request = crate::suite::pair::invite(&mut a, &uri);
    let answer = a.call(&request).await?;
    check!(answer.status() == Some(404), "expected 404, got {}", answer.start);
    Ok(())
}

async fn no_binding(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(2).await?;
    let mut a = ctx.ua(&users[0]).await?;
    let uri = format!("sip:{}@{}", users[1].user, ctx.domain());
    let request = crate::suite::pair::invite(&mut a, &uri);
    let answer = a.call(&request).await?;
    check!(answer.status() == Some(480), "expected 480, got {}", answer.start);
    Ok(())
}

async fn request_uri(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let request = p.options();
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let wanted = p.b.contact_uri();
    check!(seen.uri() == wanted, "the Request-URI is {}, the Contact {wanted}", seen.uri());
    check!(seen.header("to") == Some(request.get("To")), "To became {:?}", seen.header("to"));
    Ok(())
}

async fn via_on_top(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let vias = seen.values("via");
    check!(vias.len() >= 2, "only {} Via", vias.len());
    let top = param(&vias[0], "branch").unwrap_or_default();
    check!(top.starts_with("z9hG4bK") && top.len() > 7, "the branch on top is {top:?}");
    check!(top != sent.branch(), "the branch on top is the caller's own");
    let below = vias.last().and_then(|via| param(via, "branch"));
    check!(below.as_deref() == Some(&sent.branch()), "the caller's Via is not the last one: {vias:?}");
    Ok(())
}

async fn via_off(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    let answer = p.accept(&sent, &seen).await?;
    check!(answer.values("via").len() == 1, "the caller sees {:?}", answer.values("via"));
    Ok(())
}

async fn unknown_method(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let uri = p.b.aor();
    let request = p.a.req("X-Chappe.1!", &uri);
    let (sent, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let answer = p.answer(&sent).await?;
    check!(answer.status() == Some(200), "expected the callee's 200, got {}", answer.start);
    Ok(())
}

async fn headers_untouched(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let odd = [
        ("X-Unknown", ";;,,;;,; \"<>\\\""),
        ("x-uNKNOWN", "two"),
        ("NewFangledHeader", "newfangled value continued"),
        ("Subject", ""),
        ("Accept-Contact", "*;audio;require"),
        ("X-Unknown", "three"),
    ];
    let mut request = p.options();
    for (name, value) in odd {
        request = request.add(name, value);
    }
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let got = seen.lines("x-unknown");
    check!(got == [odd[0].1, odd[1].1, odd[5].1], "X-Unknown arrived as {got:?}");
    for (name, value) in [odd[2], odd[3], odd[4]] {
        check!(seen.lines(name) == [value], "{name} arrived as {:?}", seen.lines(name));
    }
    let text = String::from_utf8_lossy(&seen.raw).into_owned();
    ctx.should(text.contains("x-uNKNOWN"), "the spelling of a header name was changed");
    Ok(())
}

async fn body_untouched(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let uri = p.b.aor();
    let body: Vec<u8> = (0..=255u8).chain(*b"\r\n\r\nINVITE sip:x SIP/2.0\r\n\0\r").collect();
    let request = p.a.req("INFO", &uri).body("application/octet-stream", &body);
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.body == body, "{} octets arrived as {} others", body.len(), seen.body.len());
    Ok(())
}

async fn odd_request(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let uri = format!("{};unknown=%41%2542;flag", p.b.aor());
    let from = format!("\"BEL:\\\u{7} quote:\\\" é\" <{}>;tag={}", p.a.aor(), p.a.tag);
    let call_id = format!("{}!%+-.'`*_~", ctx.id());
    let request = p.a.req("OPTIONS", &uri).set("From", &from).set("Call-ID", &call_id);
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.header("from") == Some(&from), "From arrived as {:?}", seen.header("from"));
    check!(seen.header("call-id") == Some(&call_id), "Call-ID arrived as {:?}", seen.header("call-id"));
    Ok(())
}

async fn percent_name(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let request = p.options().add("C%6Fntact", "<sip:a@b>");
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.header("c%6Fntact") == Some("<sip:a@b>"), "an unknown header is gone");
    Ok(())
}

async fn many_vias(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let mut request = p.options();
    for n in 0..30 {
        request = request.add("Via", format!("SIP/2.0/UNKNOWN h{n}.invalid;branch=z9hG4bK{n};x=a"));
    }
    let (sent, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let order = |vias: Vec<String>| -> Vec<String> { vias.iter().filter_map(|v| param(v, "branch")).collect() };
    let want: Vec<String> = std::iter::once(sent.branch()).chain((0..30).map(|n| format!("z9hG4bK{n}"))).collect();
    let got = order(seen.values("via"));
    check!(got.ends_with(&want), "the Via entries arrived as {got:?}");
    let answer = p.answer(&sent).await?;
    check!(order(answer.values("via")) == want, "the Via entries came back as {:?}", answer.values("via"));
    Ok(())
}

async fn response_untouched(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    let line = "299 = 2**3 * 5**2 но сто девяносто девять - простое";
    p.b.reply_with(&seen, line, &[("X-Unknown", ";;,;"), ("Allow", "X1, OPTIONS")], "body\0of\r\nsorts").await?;
    let answer = p.answer(&sent).await?;
    check!(answer.start == format!("SIP/2.0 {line}"), "the status line came back as {:?}", answer.start);
    check!(answer.header("x-unknown") == Some(";;,;"), "X-Unknown came back as {:?}", answer.header("x-unknown"));
    check!(answer.body == b"body\0of\r\nsorts", "the body came back as {:?}", answer.body_text());
    Ok(())
}

async fn to_tag(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "480 Later", &[]).await?;
    let answer = p.answer(&sent).await?;
    check!(answer.status() == Some(480), "expected 480, got {}", answer.start);
    check!(answer.tag("to").as_deref() == Some(&p.b.tag), "the To tag is {:?}", answer.tag("to"));
    Ok(())
}

async fn trying(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_invite().await?;
    let arrived = Instant::now();
    let first = p.a.response(&sent, Duration::from_millis(1000)).await;
    let (took, line) = (arrived.elapsed(), first.as_ref().map_or("silence", |m| m.start.as_str()).to_owned());
    p.refuse(&sent, &seen).await?;
    check!(line.starts_with("SIP/2.0 100"), "expected 100, got {line}");
    // 200 ms, and what a busy machine adds.
    check!(took < Duration::from_millis(450), "the 100 took {} ms", took.as_millis());
    Ok(())
}

async fn provisional(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "100 Trying below", &[]).await?;
    for status in ["180 Ringing", "183 Session Progress", "199 Early Dialog Gone"] {
        p.b.reply(&seen, status, &[]).await?;
        let code = status.get(..3).and_then(|s| s.parse().ok());
        loop {
            let Some(answer) = p.a.response(&sent, crate::case::ANSWER).await else {
                return fail(format!("{status} was not forwarded"));
            };
            check!(!answer.start.ends_with("below"), "the callee's 100 was forwarded");
            if answer.status() == code {
                break;
            }
            check!(answer.status() == Some(100), "expected {status}, got {}", answer.start);
        }
    }
    p.b.reply(&seen, "486 Busy Here", &[]).await?;
    let answer = p.answer(&sent).await?;
    p.a.ack_failure(&sent, &answer).await
}

async fn record_route(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let call = p.call(&[]).await?;
    p.hang_up(&call).await?;
    let routes = call.at_b.values("record-route");
    check!(!routes.is_empty(), "no Record-Route");
    for route in &routes {
        check!(uri_param(uri_of(route), "lr").is_some(), "{route} has no lr");
    }
    check!(call.ok.values("record-route") == routes, "the 200 came back with {:?}", call.ok.values("record-route"));
    Ok(())
}

async fn in_dialog(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let call = p.call(&[]).await?;
    p.b.incoming("ACK").await?;
    let bye = p.a.in_dialog(&call.invite, &call.ok, "BYE");
    let (bye, seen) = p.deliver(&bye).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let answer = p.answer(&bye).await?;
    check!(answer.status() == Some(200), "expected the callee's 200, got {}", answer.start);
    let contact = p.b.contact_uri();
    check!(seen.uri() == contact, "the Request-URI is {}, the Contact {contact}", seen.uri());
    Ok(())
}

async fn in_dialog_back(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let call = p.call(&[]).await?;
    p.hang_up_back(&call).await
}

async fn own_route_off(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let call = p.call(&[]).await?;
    let own = call.ok.values("record-route");
    if own.is_empty() {
        return skip("the target does not record-route");
    }
    let bye = p.a.in_dialog(&call.invite, &call.ok, "BYE");
    let (_, seen) = p.deliver(&bye).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.values("route").is_empty(), "Route arrived as {:?}", seen.values("route"));
    Ok(())
}

async fn strict_upstream(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let call = p.call(&[]).await?;
    let mut routes = call.ok.values("record-route");
    routes.reverse();
    if routes.is_empty() {
        return skip("the target does not record-route");
    }
    // What a strict router in front of the target sends: the route in the Request-URI, the target at the end.
    let mut bye = p.a.in_dialog(&call.invite, &call.ok, "BYE").without("Route");
    let contact = std::mem::replace(&mut bye.uri, uri_of(&routes[0]).to_owned());
    for route in &routes[1..] {
        bye = bye.add("Route", route.as_str());
    }
    bye = bye.add("Route", format!("<{contact}>"));
    let (_, seen) = p.deliver(&bye).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.uri() == contact, "the Request-URI arrived as {}", seen.uri());
    check!(seen.values("route").is_empty(), "Route arrived as {:?}", seen.values("route"));
    Ok(())
}

async fn strict_downstream(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    if seen.values("record-route").is_empty() {
        p.refuse(&invite, &seen).await?;
        return skip("the target does not record-route");
    }
    // The callee plays a strict router too: a Record-Route without lr above the target's.
    let strict = p.b.contact_uri();
    let mut answer = seen.clone();
    answer.headers.insert(0, ("Record-Route".into(), format!("<{strict}>")));
    p.b.reply_with(&answer, "200 OK", &[], super::pair::SDP).await?;
    let ok = p.answer(&invite).await?;
    let remote = "sip:far-end@127.0.0.1:9";
    let mut ack = p.a.in_dialog(&invite, &ok, "ACK");
    ack.uri = remote.into();
    p.a.send(&ack).await?;
    let mut bye = p.a.in_dialog(&invite, &ok, "BYE");
    bye.uri = remote.into();
    let (_, seen) = p.deliver(&bye).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.uri() == strict, "the Request-URI arrived as {}, not as the strict router {strict}", seen.uri());
    let routes = seen.values("route");
    check!(routes.last().is_some_and(|r| uri_of(r) == remote), "Route arrived as {routes:?}");
    Ok(())
}

async fn ack_to_2xx(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let call = p.call(&[]).await?;
    let ack = p.b.incoming("ACK").await?;
    p.hang_up(&call).await?;
    check!(ack.tag("to").as_deref() == Some(&p.b.tag), "the ACK's To tag is {:?}", ack.tag("to"));
    check!(ack.cseq() == call.at_b.cseq().map(|(n, _)| (n, "ACK".into())), "the ACK's CSeq is {:?}", ack.cseq());
    Ok(())
}

async fn ack_hop_by_hop(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "486 Busy Here", &[]).await?;
    let ack = p.b.incoming("ACK").await?;
    check!(ack.branch() == seen.branch(), "the ACK's branch is not the INVITE's");
    check!(ack.tag("to").as_deref() == Some(&p.b.tag), "the ACK's To tag is {:?}", ack.tag("to"));
    let answer = p.answer(&invite).await?;
    check!(answer.status() == Some(486), "expected 486, got {}", answer.start);
    p.a.ack_failure(&invite, &answer).await?;
    p.b.nothing("ACK").await
}

async fn cancel(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "180 Ringing", &[]).await?;
    let ringing = p.answer(&invite).await?;
    check!(ringing.status() == Some(180), "expected 180, got {}", ringing.start);
    let cancel = crate::ua::same_transaction(&invite, "CANCEL");
    let answer = p.a.exchange(&cancel).await?;
    check!(answer.status() == Some(200), "CANCEL was answered {}", answer.start);
    let at_b = p.b.incoming("CANCEL").await?;
    check!(at_b.branch() == seen.branch(), "the CANCEL's branch is not the INVITE's");
    check!(at_b.uri() == seen.uri(), "the CANCEL's Request-URI is not the INVITE's");
    check!(at_b.values("via").len() == 1, "the CANCEL has {} Via", at_b.values("via").len());
    p.b.reply(&at_b, "200 OK", &[]).await?;
    p.b.reply(&seen, "487 Request Terminated", &[]).await?;
    let last = p.answer(&invite).await?;
    p.a.ack_failure(&invite, &last).await?;
    check!(last.status() == Some(487), "expected 487, got {}", last.start);
    Ok(())
}

async fn cancel_waits(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    let cancel = crate::ua::same_transaction(&invite, "CANCEL");
    let answer = p.a.exchange(&cancel).await?;
    check!(answer.status() == Some(200), "CANCEL was answered {}", answer.start);
    p.b.nothing("CANCEL").await?;
    p.b.reply(&seen, "180 Ringing", &[]).await?;
    let at_b = p.b.incoming("CANCEL").await?;
    p.b.reply(&at_b, "200 OK", &[]).await?;
    p.b.reply(&seen, "487 Request Terminated", &[]).await?;
    let last = final_answer(&mut p.a, &invite).await?;
    p.a.ack_failure(&invite, &last).await?;
    check!(last.status() == Some(487), "expected 487, got {}", last.start);
    Ok(())
}

async fn lone_503(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "503 Service Unavailable", &[("Retry-After", "3600")]).await?;
    let answer = final_answer(&mut p.a, &invite).await?;
    p.a.ack_failure(&invite, &answer).await?;
    check!(answer.status() == Some(500), "expected 500, got {}", answer.start);
    Ok(())
}
