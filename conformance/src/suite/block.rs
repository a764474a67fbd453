//! One list of blocked people for every door: who is in it reaches nobody, by whatever service, from the moment the list is
//! written (RFC 4826; `rcs_blockedcontacts` of GSMA RCC.07). What is told to who is blocked is left to the server, as long
//! as it is no success that the user could see.

use std::time::Duration;

use crate::case::{Case, Ctx, Verdict, cases, check, fail, skip};
use crate::handset::{Handset, Model, Seen};
use crate::target::Account;
use crate::ua::{Req, Ua};

use super::pair::{self, final_answer};
use super::xcap::{Bench, LISTS, expect, lists};

pub(crate) const NAME: &str = "block";

/// How soon a list counts.
const AT_ONCE: Duration = Duration::from_secs(1);
const CHAT: &str = "+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.im\"";
const FILES: &str = "+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.ft\"";

pub(crate) fn cases() -> Vec<Case> {
    cases! { NAME;
        "door" "call" Practice "A call of who is blocked does not ring, and rings again when the list is gone" => call;
        "door" "gruu" Practice "Nor does one to a device by its GRUU" => gruu;
        "door" "message" Practice "A MESSAGE does not arrive" => message;
        "door" "chat" Practice "A message in a chat session does not arrive, nor is it told delivered" => chat;
        "door" "file" Practice "An offer of a file does not arrive" => file;
        "door" "group" Practice "An invitation to a group does not arrive, the others are invited" => group;
        "door" "capability" Practice "A question for capabilities does not reach the device, and is not answered with any" => capability;
        "door" "presence" Practice "A new subscription to presence shows nothing" => presence;
        "door" "watcher" Practice "A watcher that is there already hears of it within a second" => watcher;
        "door" "event" Practice "A subscription to another package of the device does not arrive" => event;
        "way" "back" Practice "The user may still call and write to who is blocked" => back;
        "way" "number" Practice "Who is blocked by number is blocked by any address" => number;
    }
}

/// A user who blocks, and one who is blocked. Both are registered.
struct Two {
    blocker: Ua,
    blocked: Ua,
    lists: Bench,
}

impl Two {
    /// Nobody is blocked yet.
    async fn new(ctx: &Ctx) -> Verdict<Two> {
        let mut lists = Bench::new(ctx, "resource-lists").await?;
        lists.name = "index".into();
        let (mut blocker, mut blocked) = (ctx.ua(&lists.lease[0]).await?, ctx.ua(&lists.lease[1]).await?);
        blocker.register().await?;
        blocked.register().await?;
        Ok(Two { blocker, blocked, lists })
    }

    async fn blocking(ctx: &Ctx) -> Verdict<Two> {
        let mut two = Two::new(ctx).await?;
        let who = two.blocked.aor();
        block(&mut two.lists, &who).await?;
        Ok(two)
    }

    /// Sends a request of who is blocked: it is refused, and does not arrive.
    async fn turned_away(&mut self, request: &Req) -> Verdict {
        match pair::try_deliver(&mut self.blocked, &mut self.blocker, request).await? {
            Ok(_) => fail(format!("{} of who is blocked arrived", request.method)),
            Err(answer) => {
                let status = answer.status().unwrap_or(0);
                check!(status >= 300, "{} of who is blocked was answered {}", request.method, answer.start);
                self.blocker.nothing(&request.method).await
            }
        }
    }

    async fn end(self) -> Verdict {
        self.lists.end().await
    }
}

/// Makes `who` the only one in the list.
async fn block(bench: &mut Bench, who: &str) -> Verdict {
    let list = lists(&format!("<list name=\"rcs_blockedcontacts\"><entry uri=\"{who}\"/></list>"));
    let put = bench.put("", LISTS, &list).await?;
    match put.status {
        200 | 201 => Ok(()),
        403 | 404 | 405 | 409 => skip(format!("the list is not taken: {}", put.status)),
        status => fail(format!("the list is not taken: {status} {}", put.text())),
    }
}

async fn call(ctx: Ctx) -> Verdict {
    let mut two = Two::blocking(&ctx).await?;
    let to = two.blocker.aor();
    let invite = pair::invite(&mut two.blocked, &to);
    two.turned_away(&invite).await?;
    expect(&two.lists.put("", LISTS, &lists("")).await?, 200, "a list without him")?;
    let invite = pair::invite(&mut two.blocked, &to);
    let (sent, seen) = pair::deliver(&mut two.blocked, &mut two.blocker, &invite).await?;
    two.blocker.reply(&seen, "486 Busy Here", &[]).await?;
    let answer = final_answer(&mut two.blocked, &sent).await?;
    two.blocked.ack_failure(&sent, &answer).await?;
    two.end().await
}

async fn gruu(ctx: Ctx) -> Verdict {
    let mut two = Two::new(&ctx).await?;
    let contact = format!("<{}>;+sip.instance=\"<urn:x-chappe:{}>\";expires=300", two.blocker.contact_uri(), ctx.id());
    let register = two.blocker.register_req().add("Supported", "gruu").set("Contact", contact);
    let ok = two.blocker.register_with(&register).await?;
    let granted = ok.lines("contact").join(",");
    let mut gruus = Vec::new();
    for name in ["pub-gruu=\"", "temp-gruu=\""] {
        let found = granted.split_once(name).and_then(|(_, rest)| rest.split_once('"'));
        gruus.extend(found.map(|(uri, _)| uri.to_owned()));
    }
    if gruus.is_empty() {
        return skip("no GRUU is given");
    }
    let who = two.blocked.aor();
    block(&mut two.lists, &who).await?;
    for gruu in gruus {
        let invite = pair::invite(&mut two.blocked, &gruu);
        two.turned_away(&invite).await?;
        let message = two.blocked.req("MESSAGE", &gruu).body("text/plain", "to the device");
        let answer = two.blocked.call(&message).await?;
        check!(answer.status().is_some_and(|s| s != 200), "a MESSAGE to {gruu} was answered {}", answer.start);
        two.blocker.nothing("MESSAGE").await?;
    }
    two.end().await
}

async fn message(ctx: Ctx) -> Verdict {
    let mut two = Two::blocking(&ctx).await?;
    let to = two.blocker.aor();
    let request = two.blocked.req("MESSAGE", &to).body("text/plain", format!("unwanted {}", ctx.token));
    let (_, answer) = two.blocked.call_as(&request).await?;
    // As if the user were away (202) or refused; 200 would say that it arrived.
    check!(answer.status().is_some_and(|s| s != 200), "it was answered {}", answer.start);
    two.blocker.nothing("MESSAGE").await?;
    // Nor does it wait for a better time.
    expect(&two.lists.put("", LISTS, &lists("")).await?, 200, "a list without him")?;
    two.blocker.register().await?;
    two.blocker.nothing("MESSAGE").await?;
    two.end().await
}

/// Handsets of a user who blocks and one who is blocked.
async fn handsets(ctx: &Ctx, lists: &Bench, model: &Model) -> Verdict<(Handset, Handset)> {
    let on = |n: usize| Handset::on(ctx, &lists.lease[n], model.clone());
    Ok((on(0).await?, on(1).await?))
}

async fn chat(ctx: Ctx) -> Verdict {
    for model in [Model::rcse(), Model::cpm()] {
        let mut bench = Bench::new(&ctx, "resource-lists").await?;
        bench.name = "index".into();
        let (blocker, blocked) = handsets(&ctx, &bench, &model).await?;
        block(&mut bench, &format!("sip:{}@{}", blocked.user, ctx.domain())).await?;
        let id = blocked.send(&blocker, &format!("unwanted {}", ctx.token));
        let arrived = blocker.wait(Duration::from_secs(2), |seen| seen.messages.first().cloned()).await;
        check!(arrived.is_none(), "{:?} arrived", arrived.map(|got| got.text));
        check!(blocked.receipts(&id, "delivered") == 0, "it was told delivered");
        // What comes from the others arrives as ever.
        let back = format!("wanted {}", ctx.token);
        blocker.send(&blocked, &back);
        blocked.text(&back).await?;
        bench.end().await?;
    }
    Ok(())
}

async fn file(ctx: Ctx) -> Verdict {
    let mut two = Two::blocking(&ctx).await?;
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
         a=accept-types:image/jpeg\r\na=file-transfer-id:{id}\r\na=file-disposition:attachment\r\n\
         a=file-selector:name:\"beach.jpg\" type:image/jpeg size:1000\r\na=setup:active\r\n\
         a=path:msrp://127.0.0.1:9/{id};tcp\r\na=sendonly\r\n",
        id = ctx.id()
    );
    let to = two.blocker.aor();
    let contact = format!("<{}>;+g.oma.sip-im;{FILES}", two.blocked.contact_uri());
    let invite = two.blocked.req("INVITE", &to);
    let invite = invite
        .set("Contact", contact)
        .add("Accept-Contact", format!("*;+g.oma.sip-im;{FILES}"))
        .add("Contribution-ID", ctx.id())
        .body("application/sdp", sdp);
    two.turned_away(&invite).await?;
    two.end().await
}

async fn group(ctx: Ctx) -> Verdict {
    let mut bench = Bench::new(&ctx, "resource-lists").await?;
    bench.name = "index".into();
    let third = ctx.accounts(1).await?;
    let (blocker, blocked) = handsets(&ctx, &bench, &Model::cpm()).await?;
    let other = Handset::on(&ctx, &third[0], Model::cpm()).await?;
    block(&mut bench, &format!("sip:{}@{}", blocked.user, ctx.domain())).await?;
    let room = match blocked.create(&[&blocker.user, &other.user], &format!("unwanted {}", ctx.token)).await {
        Ok(room) => room,
        Err(verdict) => return skip(format!("no group is made: {verdict:?}")),
    };
    other
        .find("the invitation of the other", |seen| seen.rooms.iter().find(|r| r.focus == room.focus).map(|_| ()))
        .await?;
    let called = |seen: &Seen| seen.rooms.iter().any(|known| known.focus == room.focus).then_some(());
    check!(blocker.wait(Duration::from_secs(2), called).await.is_none(), "who blocks the inviter was invited");
    bench.end().await
}

async fn capability(ctx: Ctx) -> Verdict {
    let mut two = Two::blocking(&ctx).await?;
    let to = two.blocker.aor();
    let contact = format!("<{}>;{CHAT}", two.blocked.contact_uri());
    let query = two.blocked.req("OPTIONS", &to).add("Contact", contact).add("Accept", "application/sdp");
    let query = two.turned_away(&query).await;
    let plain = two.blocked.req("OPTIONS", &to);
    two.turned_away(&plain).await.and(query)?;
    two.end().await
}

/// Whether a document of presence says that somebody is there.
fn shows_open(text: &str) -> bool {
    text.contains(">open<")
}

async fn presence(ctx: Ctx) -> Verdict {
    let mut two = Two::blocking(&ctx).await?;
    let to = two.blocker.aor();
    let ask = two.blocked.req("SUBSCRIBE", &to).add("Event", "presence").add("Expires", "600");
    let (sent, answer) = two.blocked.call_as(&ask).await?;
    match answer.status() {
        Some(489 | 405 | 501) => return skip("no presence"),
        // A server may be polite: it then shows somebody who is not there.
        Some(200 | 202) => {
            let notify = two.blocked.incoming("NOTIFY").await?;
            two.blocked.reply(&notify, "200 OK", &[]).await?;
            check!(!shows_open(&notify.body_text()), "who is blocked sees {}", notify.body_text());
            let end = two.blocked.in_dialog(&sent, &answer, "SUBSCRIBE").add("Event", "presence").set("Expires", "0");
            let _ = two.blocked.call(&end).await?;
        }
        Some(400..) => {}
        _ => return fail(format!("it was answered {}", answer.start)),
    }
    two.end().await
}

async fn watcher(ctx: Ctx) -> Verdict {
    let mut two = Two::new(&ctx).await?;
    let to = two.blocker.aor();
    let ask = two.blocked.req("SUBSCRIBE", &to).add("Event", "presence").add("Expires", "600");
    let (_, answer) = two.blocked.call_as(&ask).await?;
    if !matches!(answer.status(), Some(200 | 202)) {
        return skip(format!("no presence: {}", answer.start));
    }
    let first = two.blocked.incoming("NOTIFY").await?;
    two.blocked.reply(&first, "200 OK", &[]).await?;
    let who = two.blocked.aor();
    block(&mut two.lists, &who).await?;
    let Some(last) = two.blocked.incoming_within("NOTIFY", AT_ONCE).await? else {
        return fail("nothing within a second");
    };
    two.blocked.reply(&last, "200 OK", &[]).await?;
    let state = last.header("subscription-state").unwrap_or("").to_owned();
    check!(state.starts_with("terminated") || !shows_open(&last.body_text()), "{state}: {}", last.body_text());
    two.end().await
}

async fn event(ctx: Ctx) -> Verdict {
    let mut two = Two::blocking(&ctx).await?;
    let to = two.blocker.aor();
    let ask = two.blocked.req("SUBSCRIBE", &to).add("Event", "dialog").add("Expires", "600");
    two.turned_away(&ask).await?;
    two.end().await
}

async fn back(ctx: Ctx) -> Verdict {
    let mut two = Two::blocking(&ctx).await?;
    let to = two.blocked.aor();
    let message =
        two.blocker.req("MESSAGE", &to).body("text/plain", format!("to the one who is blocked {}", ctx.token));
    let (sent, seen) = pair::deliver(&mut two.blocker, &mut two.blocked, &message).await?;
    two.blocked.reply(&seen, "200 OK", &[]).await?;
    let answer = final_answer(&mut two.blocker, &sent).await?;
    check!(matches!(answer.status(), Some(200 | 202)), "it was answered {}", answer.start);
    let invite = pair::invite(&mut two.blocker, &to);
    let (sent, seen) = pair::deliver(&mut two.blocker, &mut two.blocked, &invite).await?;
    two.blocked.reply(&seen, "486 Busy Here", &[]).await?;
    let answer = final_answer(&mut two.blocker, &sent).await?;
    two.blocker.ack_failure(&sent, &answer).await?;
    two.end().await
}

/// The number of a user, as the server asserts it to a callee.
async fn number_of(ctx: &Ctx, account: &Account) -> Verdict<String> {
    let mut ua = ctx.ua(account).await?;
    ua.register().await?;
    let own = ua.aor();
    let mut device = ctx.ua(account).await?;
    device.register().await?;
    let options = ua.req("OPTIONS", &own);
    let arrived = pair::try_deliver(&mut ua, &mut device, &options).await?;
    let Ok((sent, seen)) = arrived else { return skip("nobody's identity is asserted") };
    device.reply(&seen, "200 OK", &[]).await?;
    let _ = final_answer(&mut ua, &sent).await?;
    let asserted = seen.values("p-asserted-identity").join(",");
    match asserted.split_once("<tel:").and_then(|(_, rest)| rest.split_once('>')) {
        Some((number, _)) => Ok(format!("tel:{number}")),
        None => skip("the account has no number that the server asserts"),
    }
}

async fn number(ctx: Ctx) -> Verdict {
    let mut two = Two::new(&ctx).await?;
    let account = two.blocked.account.clone();
    let number = number_of(&ctx, &account).await?;
    block(&mut two.lists, &number).await?;
    let to = two.blocker.aor();
    let invite = pair::invite(&mut two.blocked, &to);
    two.turned_away(&invite).await?;
    two.end().await
}
