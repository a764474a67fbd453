//! Push (RFC 8599), seen by the user agent: what a registration is told, and, where the run may be a Web Push service that the target
//! trusts (`--push`), what wakes a device that sleeps and what it then gets.

use std::time::Duration;

use crate::case::{ANSWER, Case, Ctx, Lease, SILENCE, Verdict, cases, check, fail, skip};
use crate::message::Message;
use crate::push::Subscription;
use crate::suite::pair;
use crate::target::{Account, Proto};
use crate::ua::Ua;

pub(crate) const NAME: &str = "push";

/// A sleeping device has to be pushed to within this time.
const SOON: Duration = Duration::from_secs(4);

pub(crate) fn cases() -> Vec<Case> {
    cases! { "push";
        "5.6.1.2" "query-all" Must "A question without a value is answered with a Feature-Caps for each service" => query_all;
        "5.6.1.2" "query-one" Must "A question for one service is answered with that service" => query_one;
        "5.4" "not-asked" Must "Who names no push service is told of none" => not_asked;
        "5.6.1.1" "unknown-service" Must "A service that is not supported is answered 555, or 2xx without sip.pns" => unknown;
        "5.6.1.1" "too-short" Must "A binding too short to be refreshed gets 423, or is not said to be pushed to" => too_short;
        "5.6.1.1" "pnsreg" Should "A device that wakes itself is told a time above 120 s" => pnsreg;
        "5.6.1.1" "no-pnsreg" Must "sip.pnsreg stands only beside sip.pns, and only for devices that say they wake themselves" => no_pnsreg;
        "6.2.1" "purr-fresh" Must "A reference to a registration changes, and names nobody" => purr_fresh;
        "5.6.1.1" "vapid" Must "sip.vapid is the public key with which pushes are signed" => vapid;
        "5.6.2" "message" Must "A message for a device that sleeps has it pushed to, and reaches it when it registers" => message;
        "5.6.2" "call-once" Must "A call waits for the REGISTER of the device that was pushed to, and rings once" => call_once;
        "5.6.2" "no-content" Must "A push of Web Push has no content where the device gave no keys for it" => no_content;
        "5.6.2" "dead" Must "A subscription that the service calls gone fails the call, and is not pushed to again" => dead;
        "5.5" "removed" Must "Once the binding is removed its device is not pushed to" => removed;
        "6.2.3" "within-dialog" Must "A request within a dialog waits for the device that pn-purr refers to" => within_dialog;
    }
}

/// Registers with parameters of push, over a connection that can end; gives the answer.
async fn ask(ctx: &Ctx, params: &str, more: &str, expires: u32) -> Verdict<(Message, Lease)> {
    let lease = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&lease[0]).await?;
    let contact = format!("<{};{params}>;expires={expires}{more}", ua.contact_uri());
    let request = ua.register_req().add("Contact", contact);
    let answer = ua.call(&request).await?;
    let _ = ua.clear().await;
    Ok((answer, lease))
}

/// Feature-Caps with sip.pns: the service, and the whole value.
fn services(answer: &Message) -> Vec<(String, String)> {
    let values = answer.values("feature-caps");
    let named = values.into_iter().filter_map(|value| {
        let (_, rest) = value.split_once("+sip.pns=\"")?;
        Some((rest.split('"').next()?.to_owned(), value.clone()))
    });
    named.collect()
}

fn indicator(value: &str, name: &str) -> Option<String> {
    let (_, rest) = value.split_once(&format!("+sip.{name}=\""))?;
    Some(rest.split('"').next()?.to_owned())
}

/// What the target offers.
async fn offered(ctx: &Ctx) -> Verdict<Vec<(String, String)>> {
    let (answer, _lease) = ask(ctx, "pn-provider", "", 600).await?;
    let found = services(&answer);
    if answer.status() != Some(200) || found.is_empty() {
        return skip(format!("no push: {}", answer.start));
    }
    Ok(found)
}

async fn query_all(ctx: Ctx) -> Verdict {
    let found = offered(&ctx).await?;
    let mut names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    check!(names.len() == found.len(), "a service stands there twice: {found:?}");
    check!(found.iter().all(|(_, value)| indicator(value, "pnspurr").is_none()), "a reference to nothing: {found:?}");
    Ok(())
}

async fn query_one(ctx: Ctx) -> Verdict {
    for (name, _) in offered(&ctx).await? {
        let (answer, _lease) = ask(&ctx, &format!("pn-provider={name}"), "", 600).await?;
        let found = services(&answer);
        check!(answer.status() == Some(200), "{name} is answered {}", answer.start);
        check!(found.len() == 1 && found[0].0 == name, "{name} is answered with {found:?}");
    }
    Ok(())
}

async fn not_asked(ctx: Ctx) -> Verdict {
    offered(&ctx).await?;
    let (answer, _lease) = ask(&ctx, "x=y", "", 600).await?;
    check!(services(&answer).is_empty(), "it was told of {:?}", services(&answer));
    Ok(())
}

async fn unknown(ctx: Ctx) -> Verdict {
    offered(&ctx).await?;
    for params in [
        "pn-provider=carrier-pigeon",
        "pn-provider=carrier-pigeon;pn-prid=grey",
        "pn-provider=carrier-pigeon;pn-param=x;pn-prid=y",
    ] {
        let (answer, _lease) = ask(&ctx, params, "", 600).await?;
        match answer.status() {
            Some(555) => {}
            Some(200) => check!(services(&answer).is_empty(), "it is said to be supported: {:?}", services(&answer)),
            _ => return fail(format!("answered {}", answer.start)),
        }
    }
    Ok(())
}

/// Parameters of push for a device whose token nobody will use.
async fn some_device(ctx: &Ctx) -> Verdict<String> {
    let found = offered(ctx).await?;
    let (name, _) = &found[0];
    let prid = match name.as_str() {
        "webpush" | "wns" => format!("https%3A%2F%2Fpush.example%2F{}", ctx.id()),
        _ => ctx.id(),
    };
    Ok(format!("pn-provider={name};pn-prid={prid}"))
}

async fn too_short(ctx: Ctx) -> Verdict {
    let params = some_device(&ctx).await?;
    let (answer, _lease) = ask(&ctx, &params, "", 60).await?;
    match answer.status() {
        Some(423) => check!(answer.header("min-expires").is_some(), "423 without Min-Expires"),
        Some(200) => {
            let granted = answer.values("contact").iter().find_map(|value| {
                let (_, rest) = value.split_once("expires=")?;
                rest.split(';').next()?.trim().parse::<u32>().ok()
            });
            let is_long = granted.is_some_and(|seconds| seconds > 120);
            check!(is_long || services(&answer).is_empty(), "{granted:?} s, and said to be pushed to");
        }
        _ => return fail(format!("answered {}", answer.start)),
    }
    Ok(())
}

async fn pnsreg(ctx: Ctx) -> Verdict {
    let params = some_device(&ctx).await?;
    let (answer, _lease) = ask(&ctx, &params, ";+sip.pnsreg", 3600).await?;
    let found = services(&answer);
    check!(!found.is_empty(), "nothing is said of push: {}", answer.start);
    let said = indicator(&found[0].1, "pnsreg").and_then(|value| value.parse::<u32>().ok());
    check!(said.is_some_and(|seconds| seconds > 120), "sip.pnsreg is {said:?}");
    Ok(())
}

async fn no_pnsreg(ctx: Ctx) -> Verdict {
    let params = some_device(&ctx).await?;
    let (answer, _lease) = ask(&ctx, &params, "", 3600).await?;
    for value in answer.values("feature-caps") {
        check!(value.contains("+sip.pns=") || !value.contains("+sip.pnsreg"), "{value}");
        check!(indicator(&value, "pnsreg").is_none(), "the device does not wake itself: {value}");
    }
    Ok(())
}

async fn purr_fresh(ctx: Ctx) -> Verdict {
    let params = some_device(&ctx).await?;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (answer, lease) = ask(&ctx, &params, "", 3600).await?;
        let Some(reference) = services(&answer).first().and_then(|(_, value)| indicator(value, "pnspurr")) else {
            return skip("sip.pnspurr is not offered");
        };
        check!(!reference.contains(&lease[0].user), "it names the user: {reference}");
        let shortest = seen.iter().chain([&reference]).map(String::len).min().unwrap_or(0);
        check!(shortest >= 16, "it can be guessed: {reference}");
        seen.push(reference);
    }
    check!(seen[0] != seen[1], "twice the same: {}", seen[0]);
    Ok(())
}

/// A user with a device that sleeps: it has registered with a subscription, and its connection has ended.
struct Sleeper {
    account: Account,
    subscription: Subscription,
    instance: String,
    /// The answer to its registration.
    told: Message,
    caller: Ua,
    _lease: Lease,
}

impl Sleeper {
    async fn new(ctx: &Ctx) -> Verdict<Sleeper> {
        let (sleeper, ua) = Sleeper::awake(ctx).await?;
        falls_asleep(ua).await;
        Ok(sleeper)
    }

    async fn awake(ctx: &Ctx) -> Verdict<(Sleeper, Ua)> {
        let Some(service) = &ctx.shared.push else { return skip("no --push given") };
        if ctx.proto() == Proto::Udp {
            return skip("devices that sleep are told by their connections");
        }
        if !offered(ctx).await?.iter().any(|(name, _)| name == "webpush") {
            return skip("Web Push is not offered");
        }
        let lease = ctx.accounts(2).await?;
        let mut caller = ctx.ua(&lease[1]).await?;
        caller.register().await?;
        let subscription = service.subscribe(&ctx.id());
        let instance = format!("urn:uuid:00000000-0000-4000-8000-{:012x}", rand_of(&ctx.id()));
        let mut ua = ctx.ua(&lease[0]).await?;
        let told = register(&mut ua, &subscription, &instance).await?;
        let account = lease[0].clone();
        Ok((Sleeper { account, subscription, instance, told, caller, _lease: lease }, ua))
    }

    /// The device wakes: a new connection, and a REGISTER.
    async fn wakes(&mut self, ctx: &Ctx) -> Verdict<Ua> {
        let mut ua = ctx.ua(&self.account).await?;
        register(&mut ua, &self.subscription, &self.instance).await?;
        Ok(ua)
    }

    async fn pushed(&mut self) -> Verdict<crate::push::Push> {
        match self.subscription.next(SOON).await {
            Some(push) => Ok(push),
            None => fail(format!("no push within {} s", SOON.as_secs())),
        }
    }

    fn aor(&self, ctx: &Ctx) -> String {
        format!("sip:{}@{}", self.account.user, ctx.domain())
    }
}

/// The connection ends. Nothing tells when the target has seen it, which takes no longer than any answer of this machine.
async fn falls_asleep(ua: Ua) {
    drop(ua);
    tokio::time::sleep(SILENCE).await;
}

/// Digits of a word that was never used before.
fn rand_of(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        & 0xffff_ffff_ffff
}

async fn register(ua: &mut Ua, subscription: &Subscription, instance: &str) -> Verdict<Message> {
    let contact = format!(
        "<{};pn-provider=webpush;pn-prid={}>;+sip.instance=\"<{instance}>\";reg-id=1;expires=3600",
        ua.contact_uri(),
        subscription.prid()
    );
    let request = ua.register_req().add("Contact", contact).add("Supported", "outbound, path");
    ua.register_with(&request).await
}

async fn vapid(ctx: Ctx) -> Verdict {
    let mut sleeper = Sleeper::new(&ctx).await?;
    let key = services(&sleeper.told).first().and_then(|(_, value)| indicator(value, "vapid"));
    let Some(key) = key else { return skip("pushes are not signed") };
    let to = sleeper.aor(&ctx);
    let message = sleeper.caller.req("MESSAGE", &to).body("text/plain", &ctx.token);
    sleeper.caller.call(&message).await?;
    let push = sleeper.pushed().await?;
    let signed = push.header("authorization").unwrap_or_default().to_owned();
    check!(signed.starts_with("vapid ") && signed.contains(&format!("k={key}")), "{signed} for {key}");
    let mut ua = sleeper.wakes(&ctx).await?;
    let came = ua.incoming("MESSAGE").await?;
    ua.reply(&came, "200 OK", &[]).await?;
    ua.clear().await
}

async fn message(ctx: Ctx) -> Verdict {
    let mut sleeper = Sleeper::new(&ctx).await?;
    let to = sleeper.aor(&ctx);
    let message = sleeper.caller.req("MESSAGE", &to).body("text/plain", &ctx.token);
    let answer = sleeper.caller.call(&message).await?;
    if answer.status() != Some(202) {
        return skip(format!("messages are not kept: {}", answer.start));
    }
    let push = sleeper.pushed().await?;
    check!(push.method == "POST" && push.header("ttl").is_some(), "{push:?}");
    let mut ua = sleeper.wakes(&ctx).await?;
    let came = ua.incoming("MESSAGE").await?;
    ua.reply(&came, "200 OK", &[]).await?;
    check!(came.body_text() == ctx.token, "another text: {}", came.body_text());
    ua.nothing("MESSAGE").await?;
    check!(sleeper.subscription.next(SILENCE).await.is_none(), "it was pushed to again");
    ua.clear().await
}

async fn call_once(ctx: Ctx) -> Verdict {
    let mut sleeper = Sleeper::new(&ctx).await?;
    let to = sleeper.aor(&ctx);
    let invite = pair::invite(&mut sleeper.caller, &to);
    let (sent, _) = sleeper.caller.start(&invite).await?;
    sleeper.pushed().await?;
    let mut ua = sleeper.wakes(&ctx).await?;
    let came = ua.incoming("INVITE").await?;
    // A second REGISTER is what many devices send; it must not bring the call again.
    register(&mut ua, &sleeper.subscription, &sleeper.instance).await?;
    ua.reply(&came, "486 Busy Here", &[]).await?;
    let answer = sleeper.caller.outcome(&sent).await?;
    check!(answer.status() == Some(486), "the caller gets {}", answer.start);
    sleeper.caller.ack_failure(&sent, &answer).await?;
    ua.nothing("INVITE").await?;
    check!(sleeper.subscription.next(SILENCE).await.is_none(), "it was pushed to again");
    ua.clear().await
}

async fn no_content(ctx: Ctx) -> Verdict {
    let mut sleeper = Sleeper::new(&ctx).await?;
    let to = sleeper.aor(&ctx);
    let message = sleeper.caller.req("MESSAGE", &to).body("text/plain", &ctx.token);
    sleeper.caller.call(&message).await?;
    let push = sleeper.pushed().await?;
    let length = push.header("content-length").unwrap_or("0");
    check!(length == "0", "{length} octets of content");
    let mut ua = sleeper.wakes(&ctx).await?;
    let came = ua.incoming("MESSAGE").await?;
    ua.reply(&came, "200 OK", &[]).await?;
    ua.clear().await
}

async fn dead(ctx: Ctx) -> Verdict {
    let mut sleeper = Sleeper::new(&ctx).await?;
    sleeper.subscription.answer(410);
    let to = sleeper.aor(&ctx);
    for _ in 0..2 {
        let invite = pair::invite(&mut sleeper.caller, &to);
        let answer = sleeper.caller.call(&invite).await?;
        check!(matches!(answer.status(), Some(404 | 480)), "the caller gets {}", answer.start);
    }
    check!(sleeper.subscription.next(ANSWER).await.is_some(), "it was never pushed to");
    check!(sleeper.subscription.next(SILENCE).await.is_none(), "it was pushed to again");
    Ok(())
}

async fn removed(ctx: Ctx) -> Verdict {
    let (mut sleeper, mut ua) = Sleeper::awake(&ctx).await?;
    ua.clear().await?;
    drop(ua);
    let to = sleeper.aor(&ctx);
    let invite = pair::invite(&mut sleeper.caller, &to);
    let answer = sleeper.caller.call(&invite).await?;
    check!(matches!(answer.status(), Some(404 | 480)), "the caller gets {}", answer.start);
    check!(sleeper.subscription.next(SILENCE).await.is_none(), "it was pushed to");
    Ok(())
}

async fn within_dialog(ctx: Ctx) -> Verdict {
    let (mut sleeper, mut ua) = Sleeper::awake(&ctx).await?;
    let reference = services(&sleeper.told).first().and_then(|(_, value)| indicator(value, "pnspurr"));
    let Some(reference) = reference else { return skip("sip.pnspurr is not offered") };
    let to = sleeper.aor(&ctx);
    let invite = pair::invite(&mut sleeper.caller, &to);
    let (sent, came) = pair::deliver(&mut sleeper.caller, &mut ua, &invite).await?;
    let contact = format!("<{};pn-purr={reference}>", ua.contact_uri());
    let bytes = ua.reply_bytes(&came, "200 OK", &[], pair::SDP);
    let text = String::from_utf8_lossy(&bytes).replacen(
        &format!("Contact: <{}>", ua.contact_uri()),
        &format!("Contact: {contact}"),
        1,
    );
    ua.send_raw(text.as_bytes()).await?;
    let answer = sleeper.caller.outcome(&sent).await?;
    check!(answer.status() == Some(200), "the call is answered {}", answer.start);
    let ack = sleeper.caller.in_dialog(&sent, &answer, "ACK");
    sleeper.caller.send(&ack).await?;
    ua.incoming("ACK").await?;
    falls_asleep(ua).await;
    let bye = sleeper.caller.in_dialog(&sent, &answer, "BYE");
    sleeper.caller.send(&bye).await?;
    sleeper.pushed().await?;
    let mut ua = sleeper.wakes(&ctx).await?;
    let came = ua.incoming("BYE").await?;
    ua.reply(&came, "200 OK", &[]).await?;
    let answer = sleeper.caller.outcome(&bye).await?;
    check!(answer.status() == Some(200), "the BYE is answered {}", answer.start);
    ua.clear().await
}
