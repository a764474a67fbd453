//! Pager-mode messages: RFC 3428.

use crate::case::{ANSWER, Case, Ctx, Verdict, cases, check, fail, skip};
use crate::message::Message;
use crate::suite::pair::{Pair, final_answer, pair, pair_unregistered};
use crate::target::Proto;
use crate::ua::Req;

pub(crate) fn cases() -> Vec<Case> {
    cases! { "rfc3428";
        "6" "online" Must "A MESSAGE reaches the registered device with its body as it was" => online;
        "4" "no-contact" Must "A MESSAGE arrives without Contact" => no_contact;
        "7" "answer-bare" Must "The 2xx to a MESSAGE has neither body nor Contact" => answer_bare;
        "7" "utf8-and-octets" Must "Bodies in UTF-8 and of any octets arrive unchanged" => octets;
        "7" "refused" Must "A MESSAGE the device refuses is not answered 200" => refused;
        "6" "unknown-user" Must "A MESSAGE to a user that does not exist is answered 404" => unknown_user;
        "7" "once" Must "A MESSAGE that is repeated on its way arrives once" => once;
        "7" "stored" Must "A MESSAGE kept for later is answered 202, not 200" => stored;
        "7" "drained" Must "Messages kept for later arrive at the next REGISTER, in order and once" => drained;
        "7" "kept-on-failure" Must "A kept message the device does not answer with 2xx is not lost" => kept_on_failure;
        "8" "too-large" Must "A MESSAGE too large is refused with 413 or 513, or delivered whole" => too_large;
        "7" "unknown-type" Must "A MESSAGE of an unknown type is delivered, or refused with 415 and Accept" => unknown_type;
        "4" "both-ways" Must "Two users exchange messages both ways" => both_ways;
        "6" "to-tag-dialog" Should "A MESSAGE starts no dialog: the next one may have another Call-ID" => new_call_ids;
    }
}

impl Pair {
    fn message(&mut self, text: &str) -> Req {
        let uri = self.b.aor();
        self.a.req("MESSAGE", &uri).body("text/plain;charset=UTF-8", text)
    }

    /// Sends a MESSAGE, has the callee accept it, and gives what it saw and what the sender got.
    async fn send_message(&mut self, request: &Req) -> Verdict<(Message, Message)> {
        let (sent, seen) = self.deliver(request).await?;
        self.b.reply(&seen, "200 OK", &[]).await?;
        let answer = final_answer(&mut self.a, &sent).await?;
        Ok((seen, answer))
    }
}

async fn online(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let text = format!("hello {}", ctx.token);
    let request = p.message(&text);
    let (seen, answer) = p.send_message(&request).await?;
    check!(seen.body_text() == text, "the body arrived as {:?}", seen.body_text());
    check!(matches!(answer.status(), Some(200 | 202)), "expected 200 or 202, got {}", answer.start);
    let from = p.a.aor();
    check!(seen.header("from").is_some_and(|f| f.contains(&from)), "From arrived as {:?}", seen.header("from"));
    let kind = seen.header("content-type").unwrap_or("").replace(' ', "").to_ascii_lowercase();
    check!(kind.starts_with("text/plain"), "Content-Type arrived as {kind:?}");
    Ok(())
}

async fn no_contact(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let text = format!("no contact {}", ctx.token);
    let request = p.message(&text);
    let (seen, _) = p.send_message(&request).await?;
    check!(seen.header("contact").is_none(), "Contact is {:?}", seen.header("contact"));
    Ok(())
}

async fn answer_bare(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let text = format!("bare {}", ctx.token);
    let request = p.message(&text);
    let (_, answer) = p.send_message(&request).await?;
    check!(answer.header("contact").is_none(), "Contact is {:?}", answer.header("contact"));
    check!(answer.body.is_empty(), "a body of {} octets", answer.body.len());
    Ok(())
}

async fn octets(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let mut body = format!("{} ‘дом’ 家 🏠 \r\n.\r\n", ctx.token).into_bytes();
    body.extend([0, 13, 0xff, 10, 0x80]);
    let uri = p.b.aor();
    let request = p.a.req("MESSAGE", &uri).body("text/plain;charset=UTF-8", &body);
    let (seen, _) = p.send_message(&request).await?;
    check!(seen.body == body, "{} octets arrived as {} others", body.len(), seen.body.len());
    Ok(())
}

async fn refused(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let text = format!("refuse {}", ctx.token);
    let request = p.message(&text);
    let (sent, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "486 Busy Here", &[]).await?;
    let answer = final_answer(&mut p.a, &sent).await?;
    check!(answer.status() != Some(200), "the device refused, the sender got 200");
    if answer.status() == Some(202) {
        // Kept for later: it is taken, so that it is not in the way of what these users send next.
        p.b.register().await?;
        let branch = seen.branch();
        if let Some(again) = p.b.link.take(ANSWER, |m| m.method() == Some("MESSAGE") && m.branch() != branch).await {
            p.b.reply(&again, "200 OK", &[]).await?;
        }
    }
    Ok(())
}

async fn unknown_user(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut a = ctx.ua(&users[0]).await?;
    let uri = format!("sip:nobody-{}@{}", ctx.token, ctx.domain());
    let request = a.req("MESSAGE", &uri).body("text/plain", "hello");
    let answer = a.call(&request).await?;
    check!(answer.status() == Some(404), "expected 404, got {}", answer.start);
    Ok(())
}

async fn once(ctx: Ctx) -> Verdict {
    if ctx.proto() != Proto::Udp {
        return skip("over a stream nothing is sent again (timer J is 0)");
    }
    let mut p = pair(&ctx).await?;
    let text = format!("once {}", ctx.token);
    let request = p.message(&text);
    let (sent, seen) = p.deliver(&request).await?;
    p.a.send(&sent).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    final_answer(&mut p.a, &sent).await?;
    p.a.send(&sent).await?;
    final_answer(&mut p.a, &sent).await?;
    let branch = seen.branch();
    let copy = p.b.link.take(crate::case::SILENCE, |m| m.method() == Some("MESSAGE") && m.branch() != branch).await;
    match copy {
        Some(_) => fail("the message arrived twice"),
        None => Ok(()),
    }
}

/// Sends a message to a user that is away; skips where the target keeps none.
async fn leave(p: &mut Pair, text: &str) -> Verdict {
    let request = p.message(text);
    let answer = p.a.call(&request).await?;
    match answer.status() {
        Some(202) => Ok(()),
        Some(200) => fail("a message to a user that is away was answered 200"),
        _ => skip(format!("the target keeps no messages: {}", answer.start)),
    }
}

async fn away(ctx: &Ctx) -> Verdict<Pair> {
    pair_unregistered(ctx, ctx.proto(), ctx.proto()).await
}

async fn stored(ctx: Ctx) -> Verdict {
    let mut p = away(&ctx).await?;
    let text = format!("kept {}", ctx.token);
    leave(&mut p, &text).await?;
    p.b.register().await?;
    let seen = p.b.incoming("MESSAGE").await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    check!(seen.body_text().contains(&text), "the body arrived as {:?}", seen.body_text());
    Ok(())
}

async fn drained(ctx: Ctx) -> Verdict {
    const COUNT: usize = 5;
    let mut p = away(&ctx).await?;
    for n in 0..COUNT {
        leave(&mut p, &format!("{} kept {n}.", ctx.token)).await?;
    }
    p.b.register().await?;
    for n in 0..COUNT {
        let seen = p.b.incoming("MESSAGE").await?;
        p.b.reply(&seen, "200 OK", &[]).await?;
        let wanted = format!("kept {n}.");
        check!(seen.body_text().contains(&wanted), "expected {wanted:?}, got {:?}", seen.body_text());
    }
    p.b.nothing("MESSAGE").await?;
    p.b.register().await?;
    p.b.nothing("MESSAGE").await
}

async fn kept_on_failure(ctx: Ctx) -> Verdict {
    let mut p = away(&ctx).await?;
    let text = format!("kept until taken {}", ctx.token);
    leave(&mut p, &text).await?;
    p.b.register().await?;
    let seen = p.b.incoming("MESSAGE").await?;
    p.b.reply(&seen, "480 Not Now", &[]).await?;
    // Another REGISTER is another chance.
    p.b.register().await?;
    let branch = seen.branch();
    let again = p.b.link.take(ANSWER, |m| m.method() == Some("MESSAGE") && m.branch() != branch).await;
    let Some(again) = again else { return fail("the message did not come again") };
    p.b.reply(&again, "200 OK", &[]).await
}

async fn too_large(ctx: Ctx) -> Verdict {
    let proto = if ctx.proto() == Proto::Udp { Proto::Tcp } else { ctx.proto() };
    let mut p = crate::suite::pair::pair_over(&ctx, proto, proto).await?;
    let text = format!("{} {}", ctx.token, "x".repeat(200_000));
    let request = p.message(&text);
    match crate::suite::pair::try_deliver(&mut p.a, &mut p.b, &request).await {
        Ok(Ok((_, seen))) => {
            p.b.reply(&seen, "200 OK", &[]).await?;
            check!(seen.body_text() == text, "{} octets arrived as {}", text.len(), seen.body.len());
            Ok(())
        }
        Ok(Err(answer)) => {
            check!(matches!(answer.status(), Some(413 | 513)), "expected 413 or 513, got {}", answer.start);
            Ok(())
        }
        // Closing a stream over a message beyond every limit is allowed too.
        Err(_) if p.a.link.wait_closed(crate::case::SILENCE).await => Ok(()),
        Err(error) => Err(error),
    }
}

async fn unknown_type(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let uri = p.b.aor();
    let request = p.a.req("MESSAGE", &uri).body("application/x-chappe-unknown", format!("type {}", ctx.token));
    match crate::suite::pair::try_deliver(&mut p.a, &mut p.b, &request).await? {
        Ok((_, seen)) => p.b.reply(&seen, "200 OK", &[]).await,
        Err(answer) => {
            check!(answer.status() == Some(415), "expected 415, got {}", answer.start);
            check!(answer.header("accept").is_some(), "415 without Accept");
            Ok(())
        }
    }
}

async fn both_ways(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    p.a.register().await?;
    for _ in 0..2 {
        let text = format!("ping {}", ctx.token);
        let request = p.message(&text);
        let (seen, answer) = p.send_message(&request).await?;
        check!(answer.status() == Some(200), "expected 200, got {}", answer.start);
        check!(seen.body_text() == text, "the body arrived as {:?}", seen.body_text());
        std::mem::swap(&mut p.a, &mut p.b);
    }
    Ok(())
}

async fn new_call_ids(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    for n in 0..2 {
        let text = format!("{n} {}", ctx.token);
        let request = p.message(&text);
        let (seen, _) = p.send_message(&request).await?;
        check!(seen.tag("to").is_none(), "To arrived with a tag");
    }
    Ok(())
}
