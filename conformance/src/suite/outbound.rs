//! Path (RFC 3327), outbound (RFC 5626) and GRUU (RFC 5627).

use std::time::Duration;

use crate::case::{ANSWER, Case, Ctx, Lease, SILENCE, Verdict, cases, check, fail, skip};
use crate::message::{Message, param, uri_of, uri_param};
use crate::suite::pair::{SDP, deliver, final_answer, invite, pair, pair_unregistered, try_deliver};
use crate::target::Proto;
use crate::ua::{Req, Ua};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases! { "rfc3327";
        "5.3" "path-echoed" Must "The Path of a REGISTER is given back in its 200" => path_echoed;
        "5.4" "path-followed" Must "A request for the binding goes out with the Path as Route, in order" => path_followed;
        "5.4" "path-per-binding" Must "Each binding keeps its own Path" => path_per_binding;
        "5.3" "path-unsupported" Should "A Path without Supported: path is taken or refused with 420" => path_unsupported;
    };
    all.extend(cases! { "rfc5626";
        "5.4" "crlf" Must "A double CRLF on a stream is answered with a single one" => crlf;
        "8" "stun" Must "A STUN binding request on the SIP port is answered with the address it came from" => stun;
        "6" "require-outbound" Must "A registration with instance and reg-id is answered with Require: outbound" => require_outbound;
        "6" "no-reg-id" Must "Without reg-id there is no Require: outbound" => no_reg_id;
        "6" "reg-id-alone" Must "A reg-id without instance is ignored" => reg_id_alone;
        "6" "same-flow-replaced" Must "The same instance and reg-id replace the binding, whatever the Contact" => replaced;
        "6" "two-flows" Must "Another reg-id of the instance is another binding" => two_flows;
        "6" "two-contacts" Should "Two Contacts with reg-id in one REGISTER are refused with 400" => two_contacts;
        "6" "first-hop" Must "A REGISTER that came over a hop without ob is answered 439" => first_hop;
        "5.3.2" "outgoing-flow" Must "A Contact with ob makes the callee's requests in the dialog come over the caller's flow" => outgoing_flow;
        "7" "same-flow" Must "Requests go over the flow that registered, not to the Contact's address" => same_flow;
        "7" "one-flow-at-a-time" Must "Of two flows of one instance one is tried at a time" => one_at_a_time;
        "7" "430" Should "After 430 the other flow of the instance is tried" => after_430;
        "7" "486" Must "After another refusal the other flow of the instance is left alone" => after_486;
        "7" "closed-flow" Must "A closed connection ends its bindings at once" => closed_flow;
    });
    all.extend(cases! { "rfc5627";
        "5.2" "gruus" Must "A REGISTER with instance and Supported: gruu gets a public and a temporary GRUU" => gruus;
        "5.4" "pub-stable" Must "The public GRUU stays the same over registrations" => pub_stable;
        "5.4" "temp-new" Must "Every refresh gives a new temporary GRUU" => temp_new;
        "6.1" "pub-reaches" Must "A request to the public GRUU reaches that device and no other" => pub_reaches;
        "6.1" "temp-reaches" Must "A request to a temporary GRUU reaches the device" => temp_reaches;
        "6.1" "unknown" Must "A GRUU that was never given out is answered 404, or 480 where it may have been" => unknown_gruu;
        "6.1" "away" Must "A GRUU without a binding is answered 480" => away_gruu;
        "6.1" "gr-off" Must "The forwarded Request-URI is the Contact, without gr" => gr_off;
    });
    all
}

async fn path_pair(ctx: &Ctx) -> Verdict<(crate::suite::pair::Pair, Ua, String)> {
    let p = pair_unregistered(ctx, ctx.proto(), Proto::Udp).await?;
    let edge = ctx.stranger_over(Proto::Udp).await?;
    let path = format!("<sip:edge@{};lr>", edge.link.name);
    Ok((p, edge, path))
}

async fn register_path(b: &mut Ua, contact: &str, paths: &[&str]) -> Verdict<Message> {
    let mut request = b.register_req().add("Contact", format!("<{contact}>;expires=300")).add("Supported", "path");
    for path in paths {
        request = request.add("Path", *path);
    }
    let answer = b.call(&request).await?;
    match answer.status() {
        Some(200) if answer.header("path").is_some() => Ok(answer),
        Some(200) => skip("the target does not support Path"),
        Some(420) => skip("the target does not support Path (420)"),
        _ => fail(format!("expected 200, got {}", answer.start)),
    }
}

async fn path_echoed(ctx: Ctx) -> Verdict {
    let (mut p, _edge, path) = path_pair(&ctx).await?;
    let contact = p.b.contact_uri();
    let answer = register_path(&mut p.b, &contact, &[&path, "<sip:second.invalid;lr>"]).await?;
    let got = answer.values("path");
    check!(got == [path, "<sip:second.invalid;lr>".into()], "Path came back as {got:?}");
    Ok(())
}

async fn path_followed(ctx: Ctx) -> Verdict {
    let (mut p, mut edge, path) = path_pair(&ctx).await?;
    // The address in the Contact is never used: nobody is there.
    let contact = "sip:dev@127.0.0.1:9".to_owned();
    register_path(&mut p.b, &contact, &[&path, "<sip:second.invalid;lr>"]).await?;
    let request = p.options();
    let (_, seen) = deliver(&mut p.a, &mut edge, &request).await?;
    edge.reply(&seen, "200 OK", &[]).await?;
    let routes: Vec<String> = seen.values("route").iter().map(|r| uri_of(r).to_owned()).collect();
    let want = [uri_of(&path).to_owned(), "sip:second.invalid;lr".to_owned()];
    check!(routes == want, "Route is {routes:?}, the Path was {want:?}");
    check!(seen.uri() == contact, "the Request-URI is {}", seen.uri());
    Ok(())
}

async fn path_per_binding(ctx: Ctx) -> Verdict {
    let (mut p, mut edge, path) = path_pair(&ctx).await?;
    register_path(&mut p.b, "sip:dev@127.0.0.1:9", &[&path]).await?;
    let callee = p.callee().clone();
    let mut other = ctx.ua_over(&callee, Proto::Udp).await?;
    other.register().await?;
    let request = p.invite();
    let (sent, seen) = deliver(&mut p.a, &mut edge, &request).await?;
    let direct = other.incoming("INVITE").await?;
    edge.reply(&seen, "486 Busy Here", &[]).await?;
    other.reply(&direct, "486 Busy Here", &[]).await?;
    let last = final_answer(&mut p.a, &sent).await?;
    p.a.ack_failure(&sent, &last).await?;
    check!(direct.values("route").is_empty(), "the binding without Path got Route {:?}", direct.values("route"));
    Ok(())
}

async fn path_unsupported(ctx: Ctx) -> Verdict {
    let (mut p, _edge, path) = path_pair(&ctx).await?;
    let contact = p.b.contact_uri();
    let request = p.b.register_req().add("Contact", format!("<{contact}>")).add("Path", path);
    let answer = p.b.call(&request).await?;
    match answer.status() {
        Some(200) => Ok(()),
        Some(420) => {
            check!(answer.values("unsupported").iter().any(|v| v == "path"), "420 does not name path");
            Ok(())
        }
        _ => fail(format!("expected 200 or 420, got {}", answer.start)),
    }
}

/// An instance-id nobody else uses.
fn instance(ctx: &Ctx) -> String {
    let id = ctx.id();
    let (epoch, count) = id.split_once('.').unwrap_or((&id, "0"));
    let number = |hex: &str| u64::from_str_radix(hex, 16).unwrap_or(0);
    let (epoch, count) = (number(epoch), number(count));
    format!("urn:uuid:{:08x}-0000-1000-8000-{:012x}", epoch as u32, count & 0xffff_ffff_ffff)
}

fn outbound_req(ua: &mut Ua, instance: &str, reg_id: u32) -> Req {
    let contact = format!("<{};ob>;+sip.instance=\"<{instance}>\";reg-id={reg_id};expires=300", ua.contact_uri());
    ua.register_req().add("Contact", contact).add("Supported", "path, outbound, gruu")
}

/// Registers a flow; skips where the target has no outbound.
async fn register_flow(ua: &mut Ua, instance: &str, reg_id: u32) -> Verdict<Message> {
    let request = outbound_req(ua, instance, reg_id);
    let answer = ua.register_with(&request).await?;
    if !answer.values("require").iter().any(|v| v.eq_ignore_ascii_case("outbound")) {
        return skip("no Require: outbound in the 200: the target does not support outbound here");
    }
    Ok(answer)
}

async fn crlf(ctx: Ctx) -> Verdict {
    let proto = if ctx.proto() == Proto::Udp { Proto::Tcp } else { ctx.proto() };
    if proto == Proto::Ws {
        return skip("WebSocket has its own keep-alive");
    }
    let mut link = ctx.link(proto).await?;
    if let Err(error) = link.send(b"\r\n\r\n").await {
        return fail(format!("cannot send: {error}"));
    }
    let pong = link.take_other(ANSWER / 3).await;
    check!(pong.as_deref() == Some(b"\r\n"), "the answer is {pong:?}");
    Ok(())
}

async fn stun(ctx: Ctx) -> Verdict {
    let mut ua = outbound_udp(&ctx).await?;
    let id: Vec<u8> = ctx.id().bytes().cycle().take(12).collect();
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend(&id);
    ua.0.send_raw(&request).await?;
    let Some(answer) = ua.0.link.take_other(ANSWER / 3).await else { return fail("no answer") };
    check!(answer.len() > 20 && answer[..2] == [1, 1] && answer[8..20] == id[..], "no binding success response");
    let mut at = 20;
    while at + 4 <= answer.len() {
        let kind = u16::from_be_bytes([answer[at], answer[at + 1]]);
        let len = usize::from(u16::from_be_bytes([answer[at + 2], answer[at + 3]]));
        if kind == 0x20 && len >= 8 && at + 8 <= answer.len() {
            let port = u16::from_be_bytes([answer[at + 6], answer[at + 7]]) ^ 0x2112;
            check!(port == ua.0.link.local.port(), "the port is {port}, not {}", ua.0.link.local.port());
            return Ok(());
        }
        at += 4 + len.div_ceil(4) * 4;
    }
    fail("no XOR-MAPPED-ADDRESS")
}

async fn outbound_udp(ctx: &Ctx) -> Verdict<(Ua, Lease)> {
    let lease = ctx.accounts(1).await?;
    let mut ua = ctx.ua_over(&lease[0], Proto::Udp).await?;
    let instance = instance(ctx);
    register_flow(&mut ua, &instance, 1).await?;
    Ok((ua, lease))
}

async fn require_outbound(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let instance = instance(&ctx);
    let answer = register_flow(&mut ua, &instance, 1).await?;
    let value = answer.values("contact").into_iter().next().unwrap_or_default();
    check!(param(&value, "reg-id").as_deref() == Some("1"), "Contact came back as {value}");
    check!(value.contains(&instance), "Contact came back as {value}");
    let timer = answer.header("flow-timer");
    check!(timer.is_none_or(|t| t.parse::<u32>().is_ok_and(|t| t > 0)), "Flow-Timer is {timer:?}");
    Ok(())
}

fn no_outbound(answer: &Message) -> Verdict {
    let tags = answer.values("require");
    check!(!tags.iter().any(|v| v.eq_ignore_ascii_case("outbound")), "Require is {tags:?}");
    Ok(())
}

async fn no_reg_id(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let contact = format!("<{}>;+sip.instance=\"<{}>\";expires=300", ua.contact_uri(), instance(&ctx));
    let request = ua.register_req().add("Contact", contact).add("Supported", "path, outbound");
    no_outbound(&ua.register_with(&request).await?)
}

async fn reg_id_alone(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let contact = format!("<{}>;reg-id=1;expires=300", ua.contact_uri());
    let request = ua.register_req().add("Contact", contact).add("Supported", "path, outbound");
    no_outbound(&ua.register_with(&request).await?)
}

async fn replaced(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let (mut old, mut new) = (ctx.ua(&users[0]).await?, ctx.ua(&users[0]).await?);
    let instance = instance(&ctx);
    register_flow(&mut old, &instance, 1).await?;
    let answer = register_flow(&mut new, &instance, 1).await?;
    let got: Vec<String> = answer.values("contact");
    check!(got.len() == 1 && got[0].contains(&new.link.name), "the bindings are {got:?}");
    Ok(())
}

async fn two_flows(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let (mut one, mut two) = (ctx.ua(&users[0]).await?, ctx.ua(&users[0]).await?);
    let instance = instance(&ctx);
    register_flow(&mut one, &instance, 1).await?;
    let answer = register_flow(&mut two, &instance, 2).await?;
    check!(answer.values("contact").len() == 2, "the bindings are {:?}", answer.values("contact"));
    Ok(())
}

async fn two_contacts(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let instance = instance(&ctx);
    register_flow(&mut ua, &instance, 1).await?;
    let second = format!("<sip:dev@127.0.0.1:9>;+sip.instance=\"<{instance}>\";reg-id=2;expires=300");
    let request = outbound_req(&mut ua, &instance, 1).add("Contact", second);
    let answer = ua.call(&request).await?;
    check!(answer.status() == Some(400), "expected 400, got {}", answer.start);
    Ok(())
}

async fn first_hop(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let instance = instance(&ctx);
    register_flow(&mut ua, &instance, 1).await?;
    let request = outbound_req(&mut ua, &instance, 2).add("Via", "SIP/2.0/UDP phone.invalid;branch=z9hG4bKphone");
    let answer = ua.call(&request).await?;
    check!(answer.status() == Some(439), "expected 439, got {}", answer.start);
    Ok(())
}

async fn same_flow(ctx: Ctx) -> Verdict {
    let mut p = pair_unregistered(&ctx, ctx.proto(), ctx.proto()).await?;
    let (instance, real) = (instance(&ctx), p.b.link.name.clone());
    // A phone behind a NAT: the address it names is not where it is.
    p.b.link.name = "192.0.2.1:5060".into();
    let registered = register_flow(&mut p.b, &instance, 1).await;
    p.b.link.name = real;
    registered?;
    let (sent, seen) = p.deliver_options().await?;
    p.accept(&sent, &seen).await.map(|_| ())
}

async fn outgoing_flow(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    let instance = instance(&ctx);
    register_flow(&mut p.a, &instance, 1).await?;
    // Behind a NAT: the address in the Contact leads nowhere.
    let real = std::mem::replace(&mut p.a.link.name, "192.0.2.1:5060".into());
    let contact = format!("<{};ob>", p.a.contact_uri());
    p.a.link.name = real;
    let invite = p.invite().set("Contact", contact);
    let (invite, at_b) = p.deliver(&invite).await?;
    p.b.reply_with(&at_b, "200 OK", &[], SDP).await?;
    let ok = p.answer(&invite).await?;
    check!(ok.status() == Some(200), "expected 200, got {}", ok.start);
    let ack = p.a.in_dialog(&invite, &ok, "ACK");
    p.a.send(&ack).await?;
    p.hang_up_back(&crate::suite::pair::Call { invite, at_b, ok }).await
}

struct Flows {
    a: Ua,
    flows: [Ua; 2],
    _lease: Lease,
}

/// A callee with two flows of one instance.
async fn flows(ctx: &Ctx) -> Verdict<Flows> {
    let lease = ctx.accounts(2).await?;
    let a = ctx.ua(&lease[0]).await?;
    let mut flows = [ctx.ua(&lease[1]).await?, ctx.ua(&lease[1]).await?];
    let instance = instance(ctx);
    for (n, flow) in flows.iter_mut().enumerate() {
        register_flow(flow, &instance, n as u32 + 1).await?;
    }
    Ok(Flows { a, flows, _lease: lease })
}

/// Sends an INVITE; gives which flow it came on.
async fn first_flow(f: &mut Flows) -> Verdict<(Req, Message, usize)> {
    let uri = f.flows[0].aor();
    let request = invite(&mut f.a, &uri);
    let (sent, _) = f.a.start(&request).await?;
    for _ in 0..30 {
        for (n, flow) in f.flows.iter_mut().enumerate() {
            if let Some(seen) = flow.incoming_within("INVITE", Duration::from_millis(50)).await? {
                return Ok((sent, seen, n));
            }
        }
    }
    fail("the INVITE came on neither flow")
}

async fn one_at_a_time(ctx: Ctx) -> Verdict {
    let mut f = flows(&ctx).await?;
    let (sent, seen, n) = first_flow(&mut f).await?;
    f.flows[n].reply(&seen, "180 Ringing", &[]).await?;
    let other = f.flows[1 - n].nothing("INVITE").await;
    f.flows[n].reply(&seen, "486 Busy Here", &[]).await?;
    let last = final_answer(&mut f.a, &sent).await?;
    f.a.ack_failure(&sent, &last).await?;
    other
}

async fn after_430(ctx: Ctx) -> Verdict {
    let mut f = flows(&ctx).await?;
    let (sent, seen, n) = first_flow(&mut f).await?;
    f.flows[n].reply(&seen, "430 Flow Failed", &[]).await?;
    let seen = f.flows[1 - n].incoming("INVITE").await?;
    f.flows[1 - n].reply_with(&seen, "200 OK", &[], SDP).await?;
    let ok = final_answer(&mut f.a, &sent).await?;
    check!(ok.status() == Some(200), "expected 200, got {}", ok.start);
    let ack = f.a.in_dialog(&sent, &ok, "ACK");
    f.a.send(&ack).await
}

async fn after_486(ctx: Ctx) -> Verdict {
    let mut f = flows(&ctx).await?;
    let (sent, seen, n) = first_flow(&mut f).await?;
    f.flows[n].reply(&seen, "486 Busy Here", &[]).await?;
    let last = final_answer(&mut f.a, &sent).await?;
    f.a.ack_failure(&sent, &last).await?;
    check!(last.status() == Some(486), "expected 486, got {}", last.start);
    f.flows[1 - n].nothing("INVITE").await
}

async fn closed_flow(ctx: Ctx) -> Verdict {
    let proto = if ctx.proto() == Proto::Udp { Proto::Tcp } else { ctx.proto() };
    let lease = ctx.accounts(2).await?;
    let mut a = ctx.ua(&lease[0]).await?;
    let mut b = ctx.ua_over(&lease[1], proto).await?;
    let instance = instance(&ctx);
    register_flow(&mut b, &instance, 1).await?;
    let uri = b.aor();
    drop(b);
    // The close needs a moment to arrive; a refusal of any kind within the time of an answer will do.
    let request = invite(&mut a, &uri);
    let answer = a.call(&request).await?;
    check!(
        matches!(answer.status(), Some(404 | 408 | 410 | 430 | 480 | 500 | 503)),
        "expected a quick refusal, got {}",
        answer.start
    );
    Ok(())
}

struct Gruu {
    public: String,
    temporary: String,
}

/// Registers an instance; skips where the target gives no GRUU.
async fn register_gruu(ua: &mut Ua, instance: &str) -> Verdict<Gruu> {
    let contact = format!("<{}>;+sip.instance=\"<{instance}>\";expires=300", ua.contact_uri());
    let request = ua.register_req().add("Contact", contact).add("Supported", "gruu");
    let answer = ua.register_with(&request).await?;
    let values = answer.values("contact");
    let value = values.iter().find(|v| v.contains(instance));
    let get = |name: &str| value.and_then(|v| param(v, name));
    match (get("pub-gruu"), get("temp-gruu")) {
        (Some(public), Some(temporary)) => Ok(Gruu { public, temporary }),
        (None, None) => skip("the target gives no GRUU"),
        (public, temporary) => fail(format!("pub-gruu {public:?}, temp-gruu {temporary:?}")),
    }
}

async fn gruus(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let instance = instance(&ctx);
    let got = register_gruu(&mut ua, &instance).await?;
    check!(uri_param(&got.public, "gr").as_deref() == Some(&instance), "pub-gruu is {}", got.public);
    check!(got.public.starts_with(&ua.aor()), "pub-gruu is {}, the address of record {}", got.public, ua.aor());
    check!(uri_param(&got.temporary, "gr").is_some(), "temp-gruu is {}", got.temporary);
    check!(!got.temporary.contains(&ua.account.user), "temp-gruu tells the user: {}", got.temporary);
    Ok(())
}

async fn pub_stable(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let instance = instance(&ctx);
    let one = register_gruu(&mut ua, &instance).await?;
    ua.clear().await?;
    ua.call_id = ctx.id();
    let two = register_gruu(&mut ua, &instance).await?;
    check!(one.public == two.public, "{} became {}", one.public, two.public);
    Ok(())
}

async fn temp_new(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(2).await?;
    let (mut a, mut b) = (ctx.ua(&users[0]).await?, ctx.ua(&users[1]).await?);
    let instance = instance(&ctx);
    let one = register_gruu(&mut b, &instance).await?;
    let two = register_gruu(&mut b, &instance).await?;
    check!(one.temporary != two.temporary, "the temporary GRUU is the same");
    // The older one stays valid for as long as the Call-ID does.
    let request = a.req("OPTIONS", &one.temporary);
    let (_, seen) = deliver(&mut a, &mut b, &request).await?;
    b.reply(&seen, "200 OK", &[]).await
}

async fn pub_reaches(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(2).await?;
    let (mut a, mut b) = (ctx.ua(&users[0]).await?, ctx.ua(&users[1]).await?);
    let mut other = ctx.ua(&users[1]).await?;
    other.register().await?;
    let instance = instance(&ctx);
    let gruu = register_gruu(&mut b, &instance).await?;
    let request = a.req("OPTIONS", &gruu.public);
    let (_, seen) = deliver(&mut a, &mut b, &request).await?;
    b.reply(&seen, "200 OK", &[]).await?;
    other.nothing("OPTIONS").await
}

async fn temp_reaches(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(2).await?;
    let (mut a, mut b) = (ctx.ua(&users[0]).await?, ctx.ua(&users[1]).await?);
    let instance = instance(&ctx);
    let gruu = register_gruu(&mut b, &instance).await?;
    let request = a.req("OPTIONS", &gruu.temporary);
    let (_, seen) = deliver(&mut a, &mut b, &request).await?;
    b.reply(&seen, "200 OK", &[]).await
}

async fn refused_gruu(ctx: &Ctx, change: fn(&str) -> String, clear: bool, codes: &[u16]) -> Verdict {
    let users = ctx.accounts(2).await?;
    let (mut a, mut b) = (ctx.ua(&users[0]).await?, ctx.ua(&users[1]).await?);
    let instance = instance(ctx);
    let gruu = register_gruu(&mut b, &instance).await?;
    if clear {
        b.clear().await?;
    }
    let request = invite(&mut a, &change(&gruu.public));
    match try_deliver(&mut a, &mut b, &request).await? {
        Err(answer) => {
            check!(answer.status().is_some_and(|s| codes.contains(&s)), "expected {codes:?}, got {}", answer.start)
        }
        Ok(_) => return fail("forwarded"),
    }
    Ok(())
}

async fn unknown_gruu(ctx: Ctx) -> Verdict {
    let change = |gruu: &str| {
        let base = gruu.split(";gr=").next().unwrap_or(gruu);
        format!("{base};gr=urn:uuid:ffffffff-ffff-1fff-8fff-ffffffffffff")
    };
    refused_gruu(&ctx, change, false, &[404, 480]).await
}

async fn away_gruu(ctx: Ctx) -> Verdict {
    refused_gruu(&ctx, str::to_owned, true, &[480]).await
}

async fn gr_off(ctx: Ctx) -> Verdict {
    let mut p = pair(&ctx).await?;
    p.b.clear().await?;
    let instance = instance(&ctx);
    let gruu = register_gruu(&mut p.b, &instance).await?;
    let request = p.a.req("OPTIONS", &gruu.public);
    let (_, seen) = p.deliver(&request).await?;
    p.b.reply(&seen, "200 OK", &[]).await?;
    let contact = p.b.contact_uri();
    check!(seen.uri() == contact, "the Request-URI is {}, the Contact {contact}", seen.uri());
    p.b.nothing("OPTIONS").await.or_else(|_| {
        ctx.should(false, format!("a second copy came within {} ms", SILENCE.as_millis()));
        Ok(())
    })
}
