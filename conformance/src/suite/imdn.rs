//! Envelopes and notifications in MESSAGE (RFC 3862, RFC 5438), as far as a server between the two ends decides.

use crate::case::{ANSWER, Case, Ctx, Verdict, cases, check, fail, skip};
use crate::handset::{Handset, Model};
use crate::message::Message;
use crate::suite::pair::{Pair, final_answer, pair, pair_unregistered, try_deliver};

pub(crate) fn cases() -> Vec<Case> {
    cases! { "imdn";
        "3862 2.2" "bytes" Must "An envelope arrives byte for byte, headers in their order and spelling" => bytes;
        "3862 2.2" "bytes-stored" Must "An envelope that was kept arrives byte for byte" => bytes_stored;
        "3862 5" "content" Must "Content of any octets arrives in its envelope as it was" => content;
        "3862 3.4" "extensions" Must "Namespaces and headers that nobody knows pass" => extensions;
        "5438 6.2" "unknown-words" Must "Unknown words in Disposition-Notification do no harm" => unknown_words;
        "5438 6.3" "stored-headers" Must "A kept message has its Message-ID, DateTime and unknown headers" => stored_headers;
        "5438 7.2.1" "none-asked" Must "Where no notification is asked for, none is made" => none_asked;
        "5438 7.2.1" "none-for-a-notification" Must "No notification is made for a notification, even where it asks" => none_for_one;
        "5438 7.2.1" "passes" Must "A notification of the recipient arrives byte for byte" => passes;
        "5438 7.2.1" "both-kinds" Must "Delivered and displayed each arrive once" => both_kinds;
        "5438 7.2.1" "stored" Should "A notification for a sender that is away waits for it" => stored;
        "5438 8.2" "once" Must "Two devices of the recipient make no more than one delivery notification" => once;
        "5438 8.2" "repeated" Should "A device that repeats its notification does not make the sender see two" => repeated;
        "5438 7.2.1" "made" Must "A notification that the server makes names the message and its time, and asks for nothing" => made;
        "5438 9" "made-disposition" Must "A notification that the server makes has Content-Disposition: notification" => disposition;
        "5438 8.2" "failed" Should "A message that was taken and cannot be delivered makes the failure that was asked for" => failed;
        "5438 8.2" "failed-unasked" Must "No failure is told that was not asked for" => failed_unasked;
        "5438 12.1.3.1" "refused" Must "A message that was refused makes no notification" => refused;
    }
}

const DATE: &str = "2026-03-04T10:15:30.250Z";

/// An envelope of a's for b. `more` are header lines behind the others.
fn envelope(p: &Pair, id: &str, wants: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let wants = if wants.is_empty() { String::new() } else { format!("imdn.Disposition-Notification: {wants}\r\n") };
    let head = format!(
        "From: A <{}>\r\nTo: <{}>\r\nDateTime: {DATE}\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\n\
         {wants}{more}\r\nContent-type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        p.a.aor(),
        p.b.aor(),
        body.len(),
    );
    [head.as_bytes(), body].concat()
}

/// The notification of b about a's message.
fn notification(p: &Pair, own: &str, about: &str, kind: &str, more: &str) -> Vec<u8> {
    let element = if kind == "displayed" { "display-notification" } else { "delivery-notification" };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{about}\
         </message-id><datetime>{DATE}</datetime><{element}><status><{kind}/></status></{element}></imdn>"
    );
    let head = format!(
        "From: <{}>\r\nTo: <{}>\r\nDateTime: {DATE}\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {own}\r\n{more}\
         \r\nContent-Type: message/imdn+xml\r\nContent-Disposition: notification\r\nContent-Length: {}\r\n\r\n",
        p.b.aor(),
        p.a.aor(),
        xml.len(),
    );
    [head, xml].concat().into_bytes()
}

/// Two users; both have registered.
async fn both(ctx: &Ctx) -> Verdict<Pair> {
    let mut p = pair(ctx).await?;
    p.a.register().await?;
    Ok(p)
}

/// Sends an envelope from a and takes it at b; gives it as it arrived.
async fn send(p: &mut Pair, body: &[u8]) -> Verdict<Message> {
    let uri = p.b.aor();
    let request = p.a.req("MESSAGE", &uri).body("message/cpim", body);
    let (sent, seen) = match try_deliver(&mut p.a, &mut p.b, &request).await? {
        Ok(done) => done,
        // A server may store it first, behind what waits already.
        Err(answer) if answer.status() == Some(202) => {
            let Some(seen) = p.b.incoming_within("MESSAGE", ANSWER).await? else {
                return fail("a MESSAGE was answered 202 and did not arrive");
            };
            p.b.reply(&seen, "200 OK", &[]).await?;
            return Ok(seen);
        }
        Err(answer) => return fail(format!("MESSAGE was not forwarded: {}", answer.start)),
    };
    p.b.reply(&seen, "200 OK", &[]).await?;
    let answer = final_answer(&mut p.a, &sent).await?;
    check!(matches!(answer.status(), Some(200 | 202)), "expected 200 or 202, got {}", answer.start);
    Ok(seen)
}

/// The same the other way, for what the recipient has to say.
async fn send_back(p: &mut Pair, body: &[u8]) -> Verdict<Message> {
    std::mem::swap(&mut p.a, &mut p.b);
    let seen = send(p, body).await;
    std::mem::swap(&mut p.a, &mut p.b);
    seen
}

fn intact(seen: &Message, sent: &[u8]) -> Verdict {
    let kind = seen.header("content-type").unwrap_or("");
    check!(kind.to_ascii_lowercase().starts_with("message/cpim"), "Content-Type arrived as {kind:?}");
    check!(seen.body == sent, "the envelope arrived as {:?}", seen.body_text());
    Ok(())
}

/// Leaves an envelope for b, who is away, and takes it when b registers.
async fn kept(ctx: &Ctx, wants: &str, more: &str) -> Verdict<(Vec<u8>, Message)> {
    let mut p = pair_unregistered(ctx, ctx.proto(), ctx.proto()).await?;
    let body = envelope(&p, &ctx.token, wants, more, b"for later");
    leave(&mut p, &body).await?;
    p.b.register().await?;
    let seen = p.b.incoming("MESSAGE").await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    Ok((body, seen))
}

async fn leave(p: &mut Pair, body: &[u8]) -> Verdict {
    let uri = p.b.aor();
    let request = p.a.req("MESSAGE", &uri).body("message/cpim", body);
    let answer = p.a.call(&request).await?;
    match answer.status() {
        Some(202) => Ok(()),
        _ => skip(format!("the target keeps no messages: {}", answer.start)),
    }
}

/// Headers that a careless writer would put in order, and that are legal.
const ODD: &str = "NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r\nRequire: MyFeatures.VitalMessageOption\r\n\
    MyFeatures.VitalMessageOption: Confirmation-requested\r\nSubject:;lang=fr Objet \\u00e9l\\u00e9gant\r\n\
    Subject: the second \\\"one\\\"\r\ncc: Depth 2 <im:x@example.com>\r\n";

async fn bytes(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let body = envelope(&p, &ctx.token, "positive-delivery", ODD, "\r\n\r\nNS: no header\r\n".as_bytes());
    let seen = send(&mut p, &body).await?;
    intact(&seen, &body)
}

async fn bytes_stored(ctx: Ctx) -> Verdict {
    let (body, seen) = kept(&ctx, "display", ODD).await?;
    intact(&seen, &body)
}

async fn content(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let octets: Vec<u8> = (0..=255).chain([13, 10, 13, 10, 0xff]).collect();
    let body = envelope(&p, &ctx.token, "", "", &octets);
    let seen = send(&mut p, &body).await?;
    intact(&seen, &body)
}

async fn extensions(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let more =
        "NS: x <tag:example.com,2026:x>\r\nx.In-Reply-To: 17\r\nNS: imdn2 <urn:ietf:params:imdn>\r\nX-Bare: 1\r\n";
    let body = envelope(&p, &ctx.token, "", more, b"replied");
    let seen = send(&mut p, &body).await?;
    intact(&seen, &body)
}

async fn unknown_words(ctx: Ctx) -> Verdict {
    let mut p = both(&ctx).await?;
    let body = envelope(&p, &ctx.token, "interworking, x-seen;when=now", "", b"words");
    let seen = send(&mut p, &body).await?;
    intact(&seen, &body)?;
    p.a.nothing("MESSAGE").await
}

async fn stored_headers(ctx: Ctx) -> Verdict {
    let (_, seen) = kept(&ctx, "positive-delivery", "NS: x <tag:example.com,2026:x>\r\nx.Mood: fair\r\n").await?;
    let text = seen.body_text();
    for line in [&format!("imdn.Message-ID: {}", ctx.token), &format!("DateTime: {DATE}"), "x.Mood: fair"] {
        check!(text.contains(&format!("\r\n{line}\r\n")), "{line:?} is not in {text:?}");
    }
    Ok(())
}

async fn none_asked(ctx: Ctx) -> Verdict {
    for wants in ["", "display", "negative-delivery"] {
        let mut p = both(&ctx).await?;
        let body = envelope(&p, &ctx.token, wants, "", b"do not answer");
        send(&mut p, &body).await?;
        p.a.nothing("MESSAGE").await?;
    }
    Ok(())
}

async fn none_for_one(ctx: Ctx) -> Verdict {
    let mut p = both(&ctx).await?;
    let body = envelope(&p, &ctx.token, "", "", b"first");
    send(&mut p, &body).await?;
    let more = "imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n";
    let told = notification(&p, &format!("n{}", ctx.token), &ctx.token, "delivered", more);
    send_back(&mut p, &told).await?;
    p.b.nothing("MESSAGE").await
}

async fn passes(ctx: Ctx) -> Verdict {
    let mut p = both(&ctx).await?;
    let body = envelope(&p, &ctx.token, "display", "", b"shown");
    send(&mut p, &body).await?;
    let told = notification(&p, &format!("n{}", ctx.token), &ctx.token, "displayed", "");
    let seen = send_back(&mut p, &told).await?;
    intact(&seen, &told)
}

async fn both_kinds(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(2).await?;
    let a = Handset::on(&ctx, &users[0], Model::pager()).await?;
    let b = Handset::on(&ctx, &users[1], Model::pager()).await?;
    let id = a.send(&b, &format!("both kinds {}", ctx.token));
    a.taken(&id).await?;
    b.message(&id).await?;
    a.receipt(&id, "delivered").await?;
    b.display(&id);
    a.receipt(&id, "displayed").await?;
    tokio::time::sleep(crate::case::SILENCE).await;
    let counts = ["delivered", "displayed"].map(|kind| a.receipts(&id, kind));
    check!(counts == [1, 1], "{} delivered and {} displayed arrived", counts[0], counts[1]);
    Ok(())
}

async fn stored(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let body = envelope(&p, &ctx.token, "display", "", b"read it later");
    send(&mut p, &body).await?;
    let told = notification(&p, &format!("n{}", ctx.token), &ctx.token, "displayed", "");
    let uri = p.a.aor();
    let request = p.b.req("MESSAGE", &uri).body("message/cpim", &told);
    let answer = p.b.call(&request).await?;
    check!(matches!(answer.status(), Some(200 | 202)), "expected 200 or 202, got {}", answer.start);
    p.a.register().await?;
    let seen = p.a.incoming("MESSAGE").await?;
    p.a.reply(&seen, "200 OK", &[]).await?;
    intact(&seen, &told)
}

/// Delivery notifications about this case's message that come to the sender.
async fn count(p: &mut Pair) -> Verdict<usize> {
    let mut count = 0;
    let mut wait = ANSWER / 4;
    while let Some(seen) = p.a.incoming_within("MESSAGE", wait).await? {
        p.a.reply(&seen, "200 OK", &[]).await?;
        count += usize::from(seen.body_text().contains("<delivered"));
        wait = crate::case::SILENCE;
    }
    Ok(count)
}

async fn once(ctx: Ctx) -> Verdict {
    let mut p = both(&ctx).await?;
    let mut other = ctx.ua(p.callee()).await?;
    other.register().await?;
    let body = envelope(&p, &ctx.token, "positive-delivery", "", b"for both");
    send(&mut p, &body).await?;
    if let Some(seen) = other.incoming_within("MESSAGE", ANSWER).await? {
        other.reply(&seen, "200 OK", &[]).await?;
    }
    let count = count(&mut p).await?;
    check!(count <= 1, "{count} delivery notifications arrived");
    Ok(())
}

async fn repeated(ctx: Ctx) -> Verdict {
    let mut p = both(&ctx).await?;
    let body = envelope(&p, &ctx.token, "positive-delivery", "", b"say it twice");
    send(&mut p, &body).await?;
    let mut seen = 0;
    for n in 0..2 {
        let told = notification(&p, &format!("n{n}{}", ctx.token), &ctx.token, "delivered", "");
        let uri = p.a.aor();
        let request = p.b.req("MESSAGE", &uri).body("message/cpim", &told);
        match try_deliver(&mut p.b, &mut p.a, &request).await {
            Ok(Ok((sent, message))) => {
                seen += usize::from(message.body_text().contains("<delivered"));
                p.a.reply(&message, "200 OK", &[]).await?;
                final_answer(&mut p.b, &sent).await?;
            }
            Ok(Err(answer)) => check!(matches!(answer.status(), Some(200 | 202)), "refused: {}", answer.start),
            Err(error) => return Err(error),
        }
    }
    seen += count(&mut p).await?;
    check!(seen == 1, "{seen} delivery notifications arrived");
    Ok(())
}

/// A notification that the target makes itself, if it does.
async fn own(ctx: &Ctx) -> Verdict<(Pair, Message)> {
    let mut p = both(ctx).await?;
    let body = envelope(&p, &ctx.token, "positive-delivery", "", b"tell me");
    send(&mut p, &body).await?;
    match p.a.incoming_within("MESSAGE", ANSWER / 4).await? {
        Some(seen) => {
            p.a.reply(&seen, "200 OK", &[]).await?;
            Ok((p, seen))
        }
        None => skip("the target makes no delivery notifications"),
    }
}

async fn made(ctx: Ctx) -> Verdict {
    let (p, seen) = own(&ctx).await?;
    let text = seen.body_text();
    for part in [
        &format!("message-id>{}<", ctx.token),
        &format!("datetime>{DATE}<"),
        "<delivered",
        "xmlns=\"urn:ietf:params:xml:ns:imdn\"",
    ] {
        check!(text.contains(part), "no {part:?} in {text:?}");
    }
    let (from, to) = (format!("From: <{}>", p.b.aor()), format!("To: <{}>", p.a.aor()));
    check!(text.contains(&from) && text.contains(&to), "not from {from} to {to}: {text:?}");
    let asks = text.contains(".Disposition-Notification: ") || text.contains(".IMDN-Record-Route");
    check!(!asks, "the notification asks for something: {text:?}");
    let own = text.lines().find_map(|line| line.split_once(".Message-ID: "));
    check!(own.is_some_and(|(_, id)| id.len() >= 11 && id != ctx.token), "its Message-ID is {own:?}");
    Ok(())
}

async fn disposition(ctx: Ctx) -> Verdict {
    let (_, seen) = own(&ctx).await?;
    let text = seen.body_text().to_ascii_lowercase();
    check!(text.contains("\r\ncontent-disposition: notification"), "none in {text:?}");
    check!(text.contains("\r\ncontent-type: message/imdn+xml"), "no content type in {text:?}");
    Ok(())
}

/// A message is kept, and its device refuses it for good; what the sender then hears.
async fn undeliverable(ctx: &Ctx, wants: &str) -> Verdict<Option<Message>> {
    let mut p = pair_unregistered(ctx, ctx.proto(), ctx.proto()).await?;
    p.a.register().await?;
    let body = envelope(&p, &ctx.token, wants, "", b"in vain");
    leave(&mut p, &body).await?;
    p.b.register().await?;
    let seen = p.b.incoming("MESSAGE").await?;
    p.b.reply(&seen, "415 Unsupported Media Type", &[("Accept", "text/plain")]).await?;
    let told = p.a.incoming_within("MESSAGE", ANSWER / 2).await?;
    if let Some(told) = &told {
        p.a.reply(told, "200 OK", &[]).await?;
    } else if let Some(seen) = p.b.incoming_within("MESSAGE", crate::case::SILENCE).await? {
        p.b.reply(&seen, "200 OK", &[]).await?;
    }
    Ok(told)
}

async fn failed(ctx: Ctx) -> Verdict {
    let Some(told) = undeliverable(&ctx, "negative-delivery").await? else { return fail("no notification came") };
    let text = told.body_text();
    check!(text.contains(&format!("message-id>{}<", ctx.token)), "another message is named in {text:?}");
    check!(["<failed", "<error", "<forbidden"].iter().any(|word| text.contains(word)), "not failed: {text:?}");
    Ok(())
}

async fn failed_unasked(ctx: Ctx) -> Verdict {
    match undeliverable(&ctx, "positive-delivery").await? {
        Some(told) => fail(format!("a notification came: {:?}", told.body_text())),
        None => Ok(()),
    }
}

async fn refused(ctx: Ctx) -> Verdict {
    let mut p = both(&ctx).await?;
    let body = envelope(&p, &ctx.token, "negative-delivery, positive-delivery", "", b"to nobody");
    let uri = format!("sip:nobody-{}@{}", ctx.token, ctx.domain());
    let request = p.a.req("MESSAGE", &uri).body("message/cpim", body);
    let answer = p.a.call(&request).await?;
    check!(answer.status().is_some_and(|status| status >= 300), "expected a refusal, got {}", answer.start);
    p.a.nothing("MESSAGE").await
}
