//! Transactions: RFC 3261 §17 with RFC 4320 (non-INVITE) and RFC 6026 (INVITE, stray responses).

use std::time::{Duration, Instant};

use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail, skip};
use crate::suite::pair::{SDP, final_answer, pair};
use crate::target::Proto;

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases! { "rfc3261-transaction";
        "17.2.1" "invite-again" Must "A repeated INVITE reaches the callee once and is answered with the last provisional" => invite_again;
        "17.2.2" "request-again" Must "A repeated request gets the same final response and reaches the callee once" => request_again;
        "17.2.2" "request-again-pending" Must "A request repeated while its answer is pending is absorbed" => request_pending;
        "17.2.1" "refusal-again" Must "Over UDP a refusal is repeated until the ACK comes" => refusal_again;
        "17.2.1" "invite-after-refusal" Must "A repeated INVITE gets the refusal again" => invite_after_refusal;
        "17.1.1.2" "invite-timer-a" Must "Over UDP an INVITE is repeated to a silent callee" => timer_a;
        "17.1.1.2" "invite-stops" Must "After a provisional response an INVITE is not repeated" => invite_stops;
        "17.1.2.2" "request-timer-e" Must "Over UDP another request is repeated to a silent callee" => timer_e;
        "17.1.1.2" "refusal-ack-again" Must "A repeated refusal is acknowledged again" => ack_again;
        "17.2.3" "sent-by" Must "The same branch from another sent-by is another transaction" => sent_by;
        "17.2.3" "old-branch" Must "A branch without the cookie is matched by the rules of RFC 2543" => old_branch;
        "17.1.3" "cseq-method" Must "A response with another CSeq method does not match" => cseq_method;
    };
    all.extend(cases! { "rfc4320";
        "4.1" "no-early-100" Must "Over UDP a request other than INVITE gets no provisional response early" => no_early_100;
        "4.1" "no-1xx" Must "A provisional response other than 100 to a request other than INVITE goes nowhere" => no_1xx;
        "4.2" "no-408" Must "A 408 to a request other than INVITE does not go back" => no_408;
    });
    all.extend(cases! { "rfc6026";
        "7.1" "2xx-again" Must "A repeated 2xx to an INVITE reaches the caller each time" => two_hundred_again;
        "7.1" "invite-after-2xx" Must "An INVITE repeated after the 2xx is absorbed" => invite_after_2xx;
        "7.2" "late-2xx-tag" Must "A 2xx with another To tag is passed on after the first" => other_tag;
        "7.1" "ack-passes" Must "Each ACK to a 2xx goes through to the callee" => ack_passes;
        "8.5" "stray-response" Must "A response without a transaction is not forwarded" => stray;
    });
    all
}

async fn invite_again(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "180 Ringing", &[]).await?;
    let ringing = p.answer(&invite).await?;
    check!(ringing.status() == Some(180), "expected 180, got {}", ringing.start);
    p.a.send(&invite).await?;
    let again = p.a.response(&invite, ANSWER).await;
    let line = again.as_ref().map_or("silence", |m| m.start.as_str()).to_owned();
    let quiet = p.b.nothing("INVITE").await;
    p.refuse(&invite, &seen).await?;
    quiet?;
    check!(line.starts_with("SIP/2.0 180"), "the repeated INVITE was answered {line}");
    Ok(())
}

async fn request_again(ctx: Ctx) -> Verdict {
    if ctx.proto() != Proto::Udp {
        return skip("over a stream nothing is sent again (timer J is 0)");
    }
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "299 Once", &[]).await?;
    let one = p.answer(&sent).await?;
    p.a.send(&sent).await?;
    let two = p.answer(&sent).await?;
    check!(one.start == two.start && one.tag("to") == two.tag("to"), "first {}, then {}", one.start, two.start);
    p.b.nothing("OPTIONS").await
}

async fn request_pending(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    p.a.send(&sent).await?;
    let branch = seen.branch();
    let copy = p.b.link.take(SILENCE, |m| m.method() == Some("OPTIONS") && m.branch() != branch).await;
    p.b.reply(&seen, "200 OK", &[]).await?;
    match copy {
        Some(copy) => fail(format!("the copy was forwarded with another branch: {}", copy.start)),
        None => Ok(()),
    }
}

async fn refusal_again(ctx: Ctx) -> Verdict {
    if ctx.proto() != Proto::Udp {
        return skip("only over UDP");
    }
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "486 Busy Here", &[]).await?;
    let one = p.answer(&invite).await?;
    check!(one.status() == Some(486), "expected 486, got {}", one.start);
    let again = p.a.response(&invite, Duration::from_millis(2500)).await;
    p.a.ack_failure(&invite, &one).await?;
    check!(again.is_some_and(|m| m.status() == Some(486)), "the 486 was not repeated before the ACK");
    match p.a.response(&invite, Duration::from_millis(1200)).await {
        Some(more) => fail(format!("after the ACK came another {}", more.start)),
        None => Ok(()),
    }
}

async fn invite_after_refusal(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "486 Busy Here", &[]).await?;
    let one = p.answer(&invite).await?;
    check!(one.status() == Some(486), "expected 486, got {}", one.start);
    p.a.send(&invite).await?;
    let two = p.a.response(&invite, ANSWER).await;
    p.a.ack_failure(&invite, &one).await?;
    check!(two.is_some_and(|m| m.status() == Some(486)), "the repeated INVITE did not get the 486 again");
    Ok(())
}

async fn timer_a(ctx: Ctx) -> Verdict {
    if ctx.proto() != Proto::Udp {
        return skip("only over UDP");
    }
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    let copy = p.b.incoming_within("INVITE", Duration::from_millis(2500)).await?;
    p.refuse(&invite, &seen).await?;
    let Some(copy) = copy else { return fail("the INVITE was not repeated within 2.5 s") };
    check!(copy.raw == seen.raw, "the copy differs from the first");
    Ok(())
}

async fn invite_stops(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "100 Trying", &[]).await?;
    // A copy may have crossed the 100; one that comes 100 ms later has not.
    p.b.incoming_within("INVITE", Duration::from_millis(100)).await?;
    let late = p.b.incoming_within("INVITE", Duration::from_millis(1300)).await?;
    p.refuse(&invite, &seen).await?;
    check!(late.is_none(), "the INVITE was repeated after the 100");
    Ok(())
}

async fn timer_e(ctx: Ctx) -> Verdict {
    if ctx.proto() != Proto::Udp {
        return skip("only over UDP");
    }
    let mut p = pair(&ctx).await?;
    let (_, seen) = p.deliver_options().await?;
    let copy = p.b.incoming_within("OPTIONS", Duration::from_millis(2500)).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let Some(copy) = copy else { return fail("the OPTIONS was not repeated within 2.5 s") };
    check!(copy.branch() == seen.branch(), "the copy has another branch");
    Ok(())
}

async fn ack_again(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply(&seen, "486 Busy Here", &[]).await?;
    p.b.incoming("ACK").await?;
    let last = final_answer(&mut p.a, &invite).await?;
    p.a.ack_failure(&invite, &last).await?;
    if p.b.link.proto != Proto::Udp {
        return Ok(());
    }
    p.b.reply(&seen, "486 Busy Here", &[]).await?;
    p.b.incoming("ACK").await.map(|_| ())
}

async fn sent_by(ctx: Ctx) -> Verdict {
    let (mut one, mut two) = (ctx.stranger().await?, ctx.stranger().await?);
    let uri = format!("sip:{}", ctx.domain());
    let first = one.req("OPTIONS", &uri);
    let mut second = two.req("OPTIONS", &uri);
    let branch = first.branch();
    let via = format!("SIP/2.0/{} {};branch={branch};rport", two.link.proto.via(), two.link.name);
    second = second.set("Via", via);
    one.send(&first).await?;
    two.send(&second).await?;
    let (a, b) = (one.outcome(&first).await?, two.outcome(&second).await?);
    check!(a.header("call-id") == Some(first.get("Call-ID")), "the first got the other's answer");
    check!(b.header("call-id") == Some(second.get("Call-ID")), "the second got the other's answer");
    Ok(())
}

async fn old_branch(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    // Learn whether a challenge comes, so that the request in question is the one that is forwarded.
    let request = p.invite();
    let (sent, seen) = p.deliver(&request).await?;
    p.refuse(&sent, &seen).await?;
    p.b.incoming("ACK").await?;
    let old = |n: u8, name: &str, proto: Proto| format!("SIP/2.0/{} {name};branch={n};rport", proto.via());
    let (name, proto) = (p.a.link.name.clone(), p.a.link.proto);
    let mut request = p.invite().set("Via", old(1, &name, proto));
    p.a.send(&request).await?;
    let first = p.a.response(&request, Duration::from_millis(500)).await;
    if let Some(answer) = first.filter(|m| matches!(m.status(), Some(401 | 407)))
        && let Some(next) = p.a.after_challenge(&request, &answer).await?
    {
        request = next.set("Via", old(2, &name, proto));
        p.a.send(&request).await?;
    }
    let seen = p.b.incoming("INVITE").await?;
    p.b.reply(&seen, "180 Ringing", &[]).await?;
    p.a.send(&request).await?;
    let branch = seen.branch();
    let copy = p.b.link.take(SILENCE, |m| m.method() == Some("INVITE") && m.branch() != branch).await;
    let last = p.refuse(&request, &seen).await?;
    check!(copy.is_none(), "the copy was forwarded as a request of its own");
    check!(last.status() == Some(486), "expected 486, got {}", last.start);
    Ok(())
}

async fn cseq_method(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    let answer = String::from_utf8_lossy(&p.b.reply_bytes(&seen, "299 Wrong", &[], "")).into_owned();
    p.b.send_raw(answer.replace(" OPTIONS\r\n", " INFO\r\n").as_bytes()).await?;
    p.accept(&sent, &seen).await.map(|_| ())
}

async fn no_early_100(ctx: Ctx) -> Verdict {
    if ctx.proto() != Proto::Udp {
        return skip("only over UDP");
    }
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    let early = p.a.response(&sent, Duration::from_millis(600)).await;
    p.b.reply(&seen, "200 OK", &[]).await?;
    match early {
        Some(early) => fail(format!("{} came within 600 ms", early.start)),
        None => Ok(()),
    }
}

async fn no_1xx(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "180 Ringing", &[]).await?;
    let early = p.a.response(&sent, SILENCE).await;
    p.b.reply(&seen, "200 OK", &[]).await?;
    match early.filter(|m| m.status() != Some(100)) {
        Some(early) => fail(format!("{} was forwarded", early.start)),
        None => Ok(()),
    }
}

async fn no_408(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "408 Request Timeout", &[]).await?;
    let started = Instant::now();
    while started.elapsed() < SILENCE {
        let Some(answer) = p.a.response(&sent, SILENCE).await else { return Ok(()) };
        check!(answer.status() != Some(408), "a 408 came back");
    }
    Ok(())
}

async fn two_hundred_again(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    for copy in 0..3 {
        p.b.reply_with(&seen, "200 OK", &[], SDP).await?;
        let ok = final_answer(&mut p.a, &invite).await;
        let Ok(ok) = ok else { return fail(format!("copy {copy} of the 200 did not come")) };
        check!(ok.status() == Some(200), "expected 200, got {}", ok.start);
    }
    Ok(())
}

async fn invite_after_2xx(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let call = p.call(&[]).await?;
    p.a.send(&call.invite).await?;
    let quiet = p.b.nothing("INVITE").await;
    let answer = p.a.response(&call.invite, SILENCE).await;
    p.hang_up(&call).await?;
    quiet?;
    check!(answer.is_none_or(|m| m.status() == Some(200)), "the repeated INVITE was answered anew");
    Ok(())
}

async fn other_tag(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (invite, seen) = p.deliver_invite().await?;
    p.b.reply_with(&seen, "200 OK", &[], SDP).await?;
    let one = final_answer(&mut p.a, &invite).await?;
    p.b.tag = ctx.id();
    p.b.reply_with(&seen, "200 OK", &[], SDP).await?;
    let two = final_answer(&mut p.a, &invite).await?;
    check!(two.tag("to").as_deref() == Some(&p.b.tag), "To tags {:?} and {:?}", one.tag("to"), two.tag("to"));
    Ok(())
}

async fn ack_passes(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let call = p.call(&[]).await?;
    p.b.incoming("ACK").await?;
    let ack = p.a.in_dialog(&call.invite, &call.ok, "ACK");
    p.a.send(&ack).await?;
    p.b.incoming("ACK").await?;
    p.hang_up(&call).await
}

async fn stray(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (sent, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    p.answer(&sent).await?;
    // The target's own Via on top, with a branch it never made.
    let own = seen.values("via").remove(0);
    let branch = seen.branch().unwrap_or_default();
    let mut forged = seen.clone();
    let changed = own.replace(&branch, &format!("z9hG4bKforged{}", ctx.id()));
    for (name, value) in &mut forged.headers {
        if name.eq_ignore_ascii_case("via") || name == "v" {
            *value = value.replace(&own, &changed);
            break;
        }
    }
    p.b.reply(&forged, "299 Stray", &[]).await?;
    match p.a.link.take(SILENCE, |m| m.status() == Some(299)).await {
        Some(_) => fail("a response that belongs to no transaction was forwarded"),
        None => Ok(()),
    }
}
