//! Capability discovery by OPTIONS (GSMA RCC.07 §2.6).

use crate::case::{Case, Ctx, Lease, Verdict, cases, check, fail, skip};
use crate::message::Message;
use crate::ua::{Req, Ua};

pub(crate) const NAME: &str = "capability";

const CHAT: &str = "+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.im\"";
const FILES: &str = "+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp\"";

pub(crate) fn cases() -> Vec<Case> {
    cases! { NAME;
        "2.6" "one-device" Practice "A device's feature tags reach who asks" => one_device;
        "2.6" "merged" Practice "The answers of several devices come as one, with the tags of all" => merged;
        "2.6" "unknown" Practice "Nobody of that name: 404" => unknown;
        "2.6" "away" Practice "A user that is known and not registered: 480, or 200 of the network with automata" => away;
        "2.6" "silent-device" Practice "A device that does not answer does not keep the others' answer back" => silent_device;
        "2.6" "repeated" Practice "Who asks again soon gets an answer with the same tags" => repeated;
        "2.6" "plain" Must "An OPTIONS that does not speak of RCS goes to the device" => plain;
        "2.6" "presence" Practice "A fetch of the presence of a device with feature tags names its services" => by_presence;
    }
}

/// Somebody who asks, and devices of another user, each with its tags.
struct Asked {
    alice: Ua,
    devices: Vec<Ua>,
    _lease: Lease,
}

async fn asked(ctx: &Ctx, tags: &[&str]) -> Verdict<Asked> {
    let lease = ctx.accounts(2).await?;
    let mut alice = ctx.ua(&lease[0]).await?;
    alice.register().await?;
    let mut devices = Vec::new();
    for tags in tags {
        let mut device = ctx.ua(&lease[1]).await?;
        // What was said of a device before is not to be said of this one.
        let instance = format!("+sip.instance=\"<urn:x-chappe:{}>\"", ctx.id());
        let contact = format!("<{}>;{instance};{tags};expires=300", device.contact_uri());
        device.register_as(&[&contact]).await?;
        devices.push(device);
    }
    Ok(Asked { alice, devices, _lease: lease })
}

fn query(alice: &mut Ua, to: &str) -> Req {
    let contact = format!("<{}>;{CHAT}", alice.contact_uri());
    alice.req("OPTIONS", to).add("Contact", contact).add("Accept", "application/sdp")
}

/// Sends the question and answers a challenge; devices are to answer next.
async fn ask(alice: &mut Ua, request: &Req) -> Verdict<Req> {
    let (sent, first) = alice.start(request).await?;
    match first {
        None => Ok(sent),
        Some(answer) if answer.status() == Some(100) => Ok(sent),
        Some(answer) => fail(format!("answered before the devices were: {}", answer.start)),
    }
}

async fn answer(device: &mut Ua, tags: &str) -> Verdict {
    let seen = device.incoming("OPTIONS").await?;
    let contact = format!("<{}>;{tags}", device.contact_uri());
    device.reply(&seen, "200 OK", &[("Contact", &contact)]).await
}

async fn outcome(alice: &mut Ua, request: &Req) -> Verdict<Message> {
    alice.outcome(request).await
}

fn tags(answer: &Message) -> String {
    answer.lines("contact").join(",").to_ascii_lowercase()
}

async fn one_device(ctx: Ctx) -> Verdict {
    let mut p = asked(&ctx, &[CHAT]).await?;
    let to = p.devices[0].aor();
    let request = query(&mut p.alice, &to);
    let request = ask(&mut p.alice, &request).await?;
    answer(&mut p.devices[0], FILES).await?;
    let got = outcome(&mut p.alice, &request).await?;
    check!(got.status() == Some(200), "expected 200, got {}", got.start);
    check!(tags(&got).contains("rcs.fthttp"), "the tags are not in {}", tags(&got));
    Ok(())
}

async fn merged(ctx: Ctx) -> Verdict {
    let mut p = asked(&ctx, &[CHAT, FILES]).await?;
    let to = p.devices[0].aor();
    let request = query(&mut p.alice, &to);
    let request = ask(&mut p.alice, &request).await?;
    answer(&mut p.devices[0], CHAT).await?;
    answer(&mut p.devices[1], FILES).await?;
    let got = outcome(&mut p.alice, &request).await?;
    check!(got.status() == Some(200), "expected 200, got {}", got.start);
    let tags = tags(&got);
    check!(tags.contains("rcse.im") && tags.contains("rcs.fthttp"), "the tags of both are not in {tags}");
    Ok(())
}

async fn unknown(ctx: Ctx) -> Verdict {
    let mut p = asked(&ctx, &[]).await?;
    let to = format!("sip:nobody-{}@{}", ctx.token, ctx.domain());
    let request = query(&mut p.alice, &to);
    let got = p.alice.call(&request).await?;
    check!(got.status() == Some(404), "expected 404, got {}", got.start);
    Ok(())
}

async fn away(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let mut alice = ctx.ua(&lease[0]).await?;
    alice.register().await?;
    let to = ctx.ua(&lease[1]).await?.aor();
    let request = query(&mut alice, &to);
    let got = alice.call(&request).await?;
    let network = got.status() == Some(200) && tags(&got).contains("automata");
    check!(got.status() == Some(480) || network, "expected 480, got {}", got.start);
    Ok(())
}

async fn silent_device(ctx: Ctx) -> Verdict {
    let mut p = asked(&ctx, &[CHAT, FILES]).await?;
    let to = p.devices[0].aor();
    let request = query(&mut p.alice, &to);
    let request = ask(&mut p.alice, &request).await?;
    answer(&mut p.devices[0], CHAT).await?;
    p.devices[1].incoming("OPTIONS").await?;
    let got = outcome(&mut p.alice, &request).await?;
    check!(got.status() == Some(200), "expected 200, got {}", got.start);
    check!(tags(&got).contains("rcse.im"), "the tags are not in {}", tags(&got));
    Ok(())
}

async fn repeated(ctx: Ctx) -> Verdict {
    let mut p = asked(&ctx, &[CHAT]).await?;
    let to = p.devices[0].aor();
    let request = query(&mut p.alice, &to);
    let request = ask(&mut p.alice, &request).await?;
    answer(&mut p.devices[0], FILES).await?;
    let first = outcome(&mut p.alice, &request).await?;
    let request = query(&mut p.alice, &to);
    let (request, soon) = p.alice.start(&request).await?;
    let second = match soon {
        Some(answer) if answer.status().is_some_and(|s| s >= 200) => answer,
        _ => {
            answer(&mut p.devices[0], FILES).await?;
            outcome(&mut p.alice, &request).await?
        }
    };
    check!(second.status() == Some(200), "expected 200, got {}", second.start);
    check!(tags(&first) == tags(&second), "{} and then {}", tags(&first), tags(&second));
    Ok(())
}

async fn plain(ctx: Ctx) -> Verdict {
    let mut p = asked(&ctx, &[CHAT]).await?;
    let to = p.devices[0].aor();
    let request = p.alice.req("OPTIONS", &to);
    let request = ask(&mut p.alice, &request).await?;
    let seen = p.devices[0].incoming("OPTIONS").await?;
    p.devices[0].reply(&seen, "200 OK", &[("X-Device", "itself")]).await?;
    let got = outcome(&mut p.alice, &request).await?;
    check!(got.header("x-device") == Some("itself"), "it is not the answer of the device: {}", got.start);
    Ok(())
}

async fn by_presence(ctx: Ctx) -> Verdict {
    let mut p = asked(&ctx, &[FILES]).await?;
    let to = p.devices[0].aor();
    let request = p.alice.req("SUBSCRIBE", &to).add("Event", "presence").add("Expires", "0");
    let answer = p.alice.call(&request.add("Accept", "application/pidf+xml")).await?;
    match answer.status() {
        Some(200 | 202) => {}
        _ => return skip(format!("no presence: {}", answer.start)),
    }
    let notify = p.alice.incoming("NOTIFY").await?;
    p.alice.reply(&notify, "200 OK", &[]).await?;
    let text = notify.body_text();
    check!(text.contains("org.openmobilealliance:File-Transfer-HTTP"), "the service is not in {text}");
    Ok(())
}
