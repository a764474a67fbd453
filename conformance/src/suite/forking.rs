//! Several devices of one user: RFC 3261 §16.6-16.7 and the breadth and loop rules of RFC 5393.

use crate::case::{Case, Ctx, SILENCE, Verdict, cases, check, fail};
use crate::message::{Message, param};
use crate::suite::pair::{Fork, Pair, answer, deliver, final_answer, fork, pair};
use crate::ua::{Req, Ua};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases! { "rfc3261-forking";
        "16.7-10" "first-2xx-wins" Must "An INVITE reaches every device; a 2xx cancels the others" => first_2xx;
        "16.7-5" "later-2xx" Must "A second 2xx to an INVITE is forwarded too" => later_2xx;
        "16.7-6" "waits-for-all" Must "A refusal is not forwarded while another device rings" => waits;
        "16.7-6" "best-class" Must "Of a 5xx and a 4xx the lower class goes back" => best_class;
        "16.7-6" "6xx-first" Must "A 6xx outranks every other refusal" => six_first;
        "16.7-5" "6xx-cancels" Must "A 6xx cancels the devices that still ring, and only then goes back" => six_cancels;
        "16.7-7" "challenges-merged" Must "Challenges of several devices go back in one response" => challenges_merged;
        "16.6" "q-order" Should "Devices are tried in order of q" => q_order;
        "16.5" "one-device-stale" Must "A device that refuses does not end the call at the others" => one_refuses;
    };
    all.extend(cases! { "rfc5393";
        "4.2" "loop" Must "A request that comes round unchanged is answered 482" => looped;
        "4.2" "spiral" Must "A request that comes back for another user is no loop" => spiral;
        "5.3.3" "max-breadth-split" Must "Max-Breadth is shared out among parallel branches" => breadth_split;
        "5.3.3" "max-breadth-one" Must "With a Max-Breadth of 1 two devices are not called at once" => breadth_serial;
        "5.3.3" "max-breadth-added" Must "A request without Max-Breadth gets one" => breadth_added;
        "5.3.3" "max-breadth-kept" Must "A Max-Breadth of 1 does not grow on its way" => breadth_one;
    });
    all
}

/// Sends an INVITE and waits until each device has it.
async fn ring(f: &mut Fork, request: &Req) -> Verdict<(Req, Vec<Message>)> {
    let (first, rest) = f.devices.split_at_mut(1);
    let (sent, seen) = deliver(&mut f.a, &mut first[0], request).await?;
    let mut all = vec![seen];
    for device in rest {
        all.push(device.incoming("INVITE").await?);
    }
    Ok((sent, all))
}

async fn refuse(a: &mut Ua, device: &mut Ua, invite: &Req, seen: &Message) -> Verdict {
    device.reply(seen, "486 Busy Here", &[]).await?;
    let last = final_answer(a, invite).await?;
    a.ack_failure(invite, &last).await
}

async fn first_2xx(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.5", "0.5"]).await?;
    let request = f.invite();
    let (invite, seen) = ring(&mut f, &request).await?;
    f.devices[0].reply(&seen[0], "180 Ringing", &[]).await?;
    f.devices[1].reply(&seen[1], "180 Ringing", &[]).await?;
    f.devices[1].reply_with(&seen[1], "200 OK", &[], super::pair::SDP).await?;
    let cancel = f.devices[0].incoming("CANCEL").await?;
    f.devices[0].reply(&cancel, "200 OK", &[]).await?;
    f.devices[0].reply(&seen[0], "487 Request Terminated", &[]).await?;
    let ok = final_answer(&mut f.a, &invite).await?;
    check!(ok.status() == Some(200), "expected 200, got {}", ok.start);
    let ack = f.a.in_dialog(&invite, &ok, "ACK");
    f.a.send(&ack).await?;
    f.devices[1].incoming("ACK").await?;
    // A provisional response may have been overtaken: datagrams keep no order.
    check!(f.a.final_response(&invite, SILENCE).await.is_none(), "a further final response came to the caller");
    Ok(())
}

async fn later_2xx(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.5", "0.5"]).await?;
    let request = f.invite();
    let (invite, seen) = ring(&mut f, &request).await?;
    for (device, seen) in f.devices.iter_mut().zip(&seen) {
        device.reply_with(seen, "200 OK", &[], super::pair::SDP).await?;
    }
    let mut tags = Vec::new();
    for _ in 0..2 {
        let ok = final_answer(&mut f.a, &invite).await?;
        check!(ok.status() == Some(200), "expected 200, got {}", ok.start);
        tags.push(ok.tag("to"));
    }
    check!(tags[0] != tags[1], "the same 200 came twice");
    Ok(())
}

async fn waits(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.5", "0.5"]).await?;
    let request = f.invite();
    let (invite, seen) = ring(&mut f, &request).await?;
    f.devices[1].reply(&seen[1], "180 Ringing", &[]).await?;
    f.devices[0].reply(&seen[0], "486 Busy Here", &[]).await?;
    f.devices[0].incoming("ACK").await?;
    let ringing = answer(&mut f.a, &invite).await?;
    check!(ringing.status() == Some(180), "expected 180, got {}", ringing.start);
    if let Some(early) = f.a.response(&invite, SILENCE).await {
        return fail(format!("{} came while a device was ringing", early.start));
    }
    f.devices[1].reply(&seen[1], "480 Away", &[]).await?;
    let last = final_answer(&mut f.a, &invite).await?;
    f.a.ack_failure(&invite, &last).await?;
    check!(matches!(last.status(), Some(480 | 486)), "expected 480 or 486, got {}", last.start);
    Ok(())
}

/// Refuses with these two and gives what comes back.
async fn both(ctx: &Ctx, one: &str, two: &str) -> Verdict<Message> {
    let mut f = fork(ctx, &["0.5", "0.5"]).await?;
    let request = f.invite();
    let (invite, seen) = ring(&mut f, &request).await?;
    f.devices[0].reply(&seen[0], one, &[]).await?;
    f.devices[1].reply(&seen[1], two, &[]).await?;
    let last = final_answer(&mut f.a, &invite).await?;
    f.a.ack_failure(&invite, &last).await?;
    Ok(last)
}

async fn best_class(ctx: Ctx) -> Verdict {
    let last = both(&ctx, "500 Server Internal Error", "486 Busy Here").await?;
    check!(last.status() == Some(486), "of 500 and 486 came {}", last.start);
    Ok(())
}

async fn six_first(ctx: Ctx) -> Verdict {
    let last = both(&ctx, "486 Busy Here", "603 Decline").await?;
    check!(last.status() == Some(603), "of 486 and 603 came {}", last.start);
    Ok(())
}

async fn six_cancels(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.5", "0.5"]).await?;
    let request = f.invite();
    let (invite, seen) = ring(&mut f, &request).await?;
    f.devices[0].reply(&seen[0], "180 Ringing", &[]).await?;
    let ringing = answer(&mut f.a, &invite).await?;
    check!(ringing.status() == Some(180), "expected 180, got {}", ringing.start);
    f.devices[1].reply(&seen[1], "603 Decline", &[]).await?;
    let cancel = f.devices[0].incoming("CANCEL").await?;
    f.devices[0].reply(&cancel, "200 OK", &[]).await?;
    f.devices[0].reply(&seen[0], "487 Request Terminated", &[]).await?;
    let last = final_answer(&mut f.a, &invite).await?;
    f.a.ack_failure(&invite, &last).await?;
    check!(last.status() == Some(603), "expected 603, got {}", last.start);
    Ok(())
}

async fn challenges_merged(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.5", "0.5"]).await?;
    let request = f.invite();
    let (invite, seen) = ring(&mut f, &request).await?;
    let challenge = |n: u8| format!("Digest realm=\"device{n}.invalid\", nonce=\"n{n}\", algorithm=MD5, qop=\"auth\"");
    for (n, status, header) in
        [(0, "401 Unauthorized", "WWW-Authenticate"), (1, "407 Proxy Authentication Required", "Proxy-Authenticate")]
    {
        f.devices[n].reply(&seen[n], status, &[(header, &challenge(n as u8))]).await?;
    }
    let last = final_answer(&mut f.a, &invite).await?;
    f.a.ack_failure(&invite, &last).await?;
    check!(matches!(last.status(), Some(401 | 407)), "expected 401 or 407, got {}", last.start);
    check!(last.lines("www-authenticate").contains(&challenge(0).as_str()), "the device's WWW-Authenticate is gone");
    check!(
        last.lines("proxy-authenticate").contains(&challenge(1).as_str()),
        "the device's Proxy-Authenticate is gone"
    );
    Ok(())
}

async fn q_order(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.3", "0.9"]).await?;
    let request = f.invite();
    let (invite, seen) = deliver(&mut f.a, &mut f.devices[1], &request).await?;
    let early = f.devices[0].incoming_within("INVITE", SILENCE).await?;
    f.devices[1].reply(&seen, "486 Busy Here", &[]).await?;
    let late = match early.clone() {
        Some(early) => early,
        None => f.devices[0].incoming("INVITE").await?,
    };
    refuse(&mut f.a, &mut f.devices[0], &invite, &late).await?;
    check!(early.is_none(), "the device with q=0.3 was called together with q=0.9");
    Ok(())
}

async fn one_refuses(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.5", "0.5", "0.5"]).await?;
    let request = f.invite();
    let (invite, seen) = ring(&mut f, &request).await?;
    f.devices[0].reply(&seen[0], "486 Busy Here", &[]).await?;
    f.devices[1].reply(&seen[1], "503 Service Unavailable", &[]).await?;
    f.devices[2].reply_with(&seen[2], "200 OK", &[], super::pair::SDP).await?;
    let ok = final_answer(&mut f.a, &invite).await?;
    check!(ok.status() == Some(200), "expected 200, got {}", ok.start);
    let ack = f.a.in_dialog(&invite, &ok, "ACK");
    f.a.send(&ack).await
}

/// Sends what reached the callee back to the target, as a proxy in between would, for `uri`.
async fn send_back(b: &mut Ua, seen: &Message, uri: &str) -> Verdict<Req> {
    let mut back = Req { method: "OPTIONS".into(), uri: uri.to_owned(), headers: Vec::new(), body: Vec::new() };
    back = back.add("Via", b.via());
    let hops = seen.header("max-forwards").and_then(|v| v.parse::<u32>().ok()).unwrap_or(70);
    for (name, value) in &seen.headers {
        match name.eq_ignore_ascii_case("max-forwards") {
            true => back = back.add("Max-Forwards", (hops - 1).to_string()),
            false if name.eq_ignore_ascii_case("content-length") => {}
            false => back = back.add(name, value.as_str()),
        }
    }
    b.send(&back).await?;
    Ok(back)
}

/// Sends the request back and waits for what becomes of it: a response to it, or the request at `b` or `a` once more. A
/// challenge is answered as the caller would, all else in the request staying as it is.
async fn come_back(p: &mut Pair, seen: &Message, uri: &str) -> Verdict<Message> {
    let mut back = send_back(&mut p.b, seen, uri).await?;
    for _ in 0..2 {
        let (branch, cseq) = (back.branch(), seen.cseq());
        let wanted = |m: &Message| match m.status() {
            Some(status) => status != 100 && m.branch().as_deref() == Some(&branch),
            None => m.method() == Some("OPTIONS") && m.cseq() == cseq,
        };
        let next = tokio::select! {
            at_b = p.b.link.take(crate::case::ANSWER, wanted) => at_b,
            at_a = p.a.link.take(crate::case::ANSWER, |m| m.method() == Some("OPTIONS")) => at_a,
        };
        let Some(next) = next else { return fail("the request that came back was not answered") };
        let Some((header, challenge)) = crate::ua::challenge_of(&next) else { return Ok(next) };
        let (value, via) = (p.a.credentials(&challenge, &back, "auth", 1), p.b.via());
        // Only the Via on top is this hop's own.
        let mut own = Some(via);
        for (name, value) in &mut back.headers {
            if name == "Via"
                && let Some(via) = own.take()
            {
                *value = via;
            }
        }
        back = back.set(header, value);
        p.b.send(&back).await?;
    }
    crate::case::skip("the target challenges what comes back")
}

async fn looped(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let request = p.options();
    let aor = p.b.aor();
    let (_, mut seen) = p.deliver(&request).await?;
    let first = seen.clone();
    let mut result = fail("the request went round four times");
    // A target that checks ends it long before Max-Forwards does.
    for _ in 0..4 {
        match come_back(&mut p, &seen, &aor).await? {
            next if next.status() == Some(482) => {
                result = Ok(());
                break;
            }
            next if next.status().is_some() => {
                result = fail(format!("expected 482, got {}", next.start));
                break;
            }
            next => seen = next,
        }
    }
    p.b.reply(&first, "480 Away", &[]).await?;
    result
}

async fn spiral(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    p.a.register().await?;
    let (_, seen) = p.deliver_options().await?;
    let aor = p.a.aor();
    let next = come_back(&mut p, &seen, &aor).await?;
    p.b.reply(&seen, "480 Away", &[]).await?;
    check!(next.status() != Some(482), "the spiral was answered 482");
    Ok(())
}

async fn breadth_split(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.5", "0.5"]).await?;
    let request = f.invite().add("Max-Breadth", "7");
    let (invite, seen) = ring(&mut f, &request).await?;
    let shares: Vec<u32> =
        seen.iter().filter_map(|m| m.header("max-breadth").and_then(|v| v.trim().parse().ok())).collect();
    for (device, seen) in f.devices.iter_mut().zip(&seen) {
        device.reply(seen, "486 Busy Here", &[]).await?;
    }
    let last = final_answer(&mut f.a, &invite).await?;
    f.a.ack_failure(&invite, &last).await?;
    check!(shares.len() == 2, "Max-Breadth is on {} of two branches", shares.len());
    check!(shares.iter().sum::<u32>() <= 7 && shares.iter().all(|n| *n > 0), "7 was shared out as {shares:?}");
    Ok(())
}

async fn breadth_serial(ctx: Ctx) -> Verdict {
    let mut f = fork(&ctx, &["0.5", "0.5"]).await?;
    let request = f.invite().add("Max-Breadth", "1");
    let (invite, first) = f.a.start(&request).await?;
    if first.is_some_and(|m| m.status() == Some(440)) {
        return Ok(());
    }
    let mut seen = Vec::new();
    for device in &mut f.devices {
        seen.push(device.incoming_within("INVITE", SILENCE).await?);
    }
    let at_once = seen.iter().flatten().count();
    // Refuse until nobody is left to be asked.
    for _ in 0..2 {
        for (device, seen) in f.devices.iter_mut().zip(&mut seen) {
            if let Some(seen) = seen.take() {
                device.reply(&seen, "480 Away", &[]).await?;
            }
            *seen = device.incoming_within("INVITE", SILENCE / 2).await?;
        }
    }
    let last = final_answer(&mut f.a, &invite).await?;
    f.a.ack_failure(&invite, &last).await?;
    check!(at_once < 2, "both devices were called at once");
    check!(at_once == 1, "nobody was called, and the answer is not 440: {}", last.start);
    Ok(())
}

async fn breadth_added(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let (_, seen) = p.deliver_options().await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let got = seen.values("max-breadth");
    check!(got.len() == 1 && got[0].parse::<u32>().is_ok_and(|n| n > 0), "Max-Breadth is {got:?}");
    ctx.should(got == ["60"], format!("60 is the value to start from, not {got:?}"));
    Ok(())
}

async fn breadth_one(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let request = p.options().add("Max-Breadth", "1");
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.header("max-breadth") == Some("1"), "Max-Breadth arrived as {:?}", seen.header("max-breadth"));
    check!(param(&seen.values("via")[0], "branch").is_some(), "no branch");
    Ok(())
}
