//! A caller and a registered callee, and the usual steps between them.

use std::time::Duration;

use crate::case::{ANSWER, Ctx, Lease, Verdict, check, fail};
use crate::message::Message;
use crate::target::Proto;
use crate::ua::{Req, Ua};

pub(crate) struct Pair {
    pub(crate) a: Ua,
    pub(crate) b: Ua,
    lease: Lease,
}

/// Two users; the second has registered its flow.
pub(crate) async fn pair(ctx: &Ctx) -> Verdict<Pair> {
    pair_over(ctx, ctx.proto(), ctx.proto()).await
}

pub(crate) async fn pair_over(ctx: &Ctx, caller: Proto, callee: Proto) -> Verdict<Pair> {
    let mut pair = pair_unregistered(ctx, caller, callee).await?;
    pair.b.register().await?;
    Ok(pair)
}

pub(crate) async fn pair_unregistered(ctx: &Ctx, caller: Proto, callee: Proto) -> Verdict<Pair> {
    let lease = ctx.accounts(2).await?;
    let a = ctx.ua_over(&lease[0], caller).await?;
    let b = ctx.ua_over(&lease[1], callee).await?;
    Ok(Pair { a, b, lease })
}

/// A caller and a callee with one more device, all registered devices of the callee in `devices`.
pub(crate) struct Fork {
    pub(crate) a: Ua,
    pub(crate) devices: Vec<Ua>,
    _lease: Lease,
}

/// `qs` gives a device each, with that q.
pub(crate) async fn fork(ctx: &Ctx, qs: &[&str]) -> Verdict<Fork> {
    let lease = ctx.accounts(2).await?;
    let a = ctx.ua(&lease[0]).await?;
    let mut devices = Vec::new();
    for q in qs {
        let mut device = ctx.ua(&lease[1]).await?;
        let contact = format!("<{}>;q={q};expires=300", device.contact_uri());
        device.register_as(&[&contact]).await?;
        devices.push(device);
    }
    Ok(Fork { a, devices, _lease: lease })
}

impl Fork {
    pub(crate) fn invite(&mut self) -> Req {
        let uri = self.devices[0].aor();
        invite(&mut self.a, &uri)
    }
}

pub(crate) const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";

pub(crate) fn invite(a: &mut Ua, uri: &str) -> Req {
    a.req("INVITE", uri).body("application/sdp", SDP)
}

/// Sends `request` from `a`, answers a challenge, and waits until it arrives at `b`.
pub(crate) async fn deliver(a: &mut Ua, b: &mut Ua, request: &Req) -> Verdict<(Req, Message)> {
    match try_deliver(a, b, request).await? {
        Ok(done) => Ok(done),
        Err(answer) => fail(format!("{} was not forwarded: {}", request.method, answer.start)),
    }
}

/// Like `deliver`; the inner error is the final answer that came instead.
pub(crate) async fn try_deliver(a: &mut Ua, b: &mut Ua, request: &Req) -> Verdict<Result<(Req, Message), Message>> {
    let mut sent = request.clone();
    a.send(&sent).await?;
    let until = tokio::time::Instant::now() + ANSWER;
    let method = request.method.clone();
    let mut challenged = false;
    let mut early = Vec::new();
    loop {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return fail(format!("{method} neither arrived at {} nor was answered", b.account.user));
        }
        // Turns are short so that a connection that closed on one side does not end the wait on the other.
        let turn = left.min(Duration::from_millis(500));
        tokio::select! {
            biased;
            arrived = b.incoming_within(&method, turn) => {
                if let Some(message) = arrived? {
                    a.link.put_back(early);
                    return Ok(Ok((sent, message)));
                }
                check!(!b.link.closed, "the target closed the callee's connection");
            }
            answer = a.response(&sent, turn) => {
                let Some(answer) = answer else { continue };
                match answer.status() {
                    Some(401 | 407) if !challenged => {
                        challenged = true;
                        match a.after_challenge(&sent, &answer).await? {
                            Some(next) => sent = next,
                            None => return fail("a challenge that cannot be answered"),
                        }
                        a.send(&sent).await?;
                    }
                    Some(100..=199) => early.push(answer),
                    _ => {
                        a.ack_failure(&sent, &answer).await?;
                        return Ok(Err(answer));
                    }
                }
            }
        }
    }
}

/// An answered call.
pub(crate) struct Call {
    pub(crate) invite: Req,
    /// The INVITE as it reached the callee.
    pub(crate) at_b: Message,
    /// The 200 as it reached the caller.
    pub(crate) ok: Message,
}

impl Pair {
    pub(crate) fn options(&mut self) -> Req {
        let uri = self.b.aor();
        self.a.req("OPTIONS", &uri)
    }

    pub(crate) fn invite(&mut self) -> Req {
        let uri = self.b.aor();
        invite(&mut self.a, &uri)
    }

    pub(crate) fn callee(&self) -> &crate::target::Account {
        &self.lease[1]
    }

    pub(crate) async fn deliver(&mut self, request: &Req) -> Verdict<(Req, Message)> {
        deliver(&mut self.a, &mut self.b, request).await
    }

    /// OPTIONS to the callee: as sent, and as it arrived.
    pub(crate) async fn deliver_options(&mut self) -> Verdict<(Req, Message)> {
        let request = self.options();
        self.deliver(&request).await
    }

    /// INVITE to the callee: as sent, and as it arrived.
    pub(crate) async fn deliver_invite(&mut self) -> Verdict<(Req, Message)> {
        let request = self.invite();
        self.deliver(&request).await
    }

    /// The callee answers with a bare 200, and the caller gets it.
    pub(crate) async fn accept(&mut self, sent: &Req, seen: &Message) -> Verdict<Message> {
        self.b.reply(seen, "200 OK", &[]).await?;
        let answer = self.answer(sent).await?;
        check!(answer.status() == Some(200), "expected 200, got {}", answer.start);
        Ok(answer)
    }

    /// The callee of an INVITE is busy; the caller acknowledges the final answer it gets, which is returned.
    pub(crate) async fn refuse(&mut self, sent: &Req, seen: &Message) -> Verdict<Message> {
        self.b.reply(seen, "486 Busy Here", &[]).await?;
        let answer = final_answer(&mut self.a, sent).await?;
        self.a.ack_failure(sent, &answer).await?;
        Ok(answer)
    }

    /// The next response to `request` at the caller that is not 100.
    pub(crate) async fn answer(&mut self, request: &Req) -> Verdict<Message> {
        answer(&mut self.a, request).await
    }

    /// A call that is answered and acknowledged; `more` goes into the callee's 200.
    pub(crate) async fn call(&mut self, more: &[(&str, &str)]) -> Verdict<Call> {
        let invite = self.invite();
        let (invite, at_b) = self.deliver(&invite).await?;
        self.b.reply_with(&at_b, "200 OK", more, SDP).await?;
        let ok = self.answer(&invite).await?;
        check!(ok.status() == Some(200), "expected the callee's 200, got {}", ok.start);
        let ack = self.a.in_dialog(&invite, &ok, "ACK");
        self.a.send(&ack).await?;
        Ok(Call { invite, at_b, ok })
    }

    /// The callee ends the call: its BYE follows the route set back to the caller's Contact.
    pub(crate) async fn hang_up_back(&mut self, call: &Call) -> Verdict {
        let contact = call.invite.get("Contact").to_owned();
        let mut bye = self
            .b
            .req("BYE", crate::message::uri_of(&contact))
            .set("From", format!("{};tag={}", call.invite.get("To"), self.b.tag))
            .set("To", call.invite.get("From"))
            .set("Call-ID", call.invite.get("Call-ID"));
        for route in call.at_b.values("record-route") {
            bye = bye.add("Route", route);
        }
        let (bye, seen) = deliver(&mut self.b, &mut self.a, &bye).await?;
        self.a.reply(&seen, "200 OK", &[]).await?;
        let answer = final_answer(&mut self.b, &bye).await?;
        check!(answer.status() == Some(200), "expected the caller's 200, got {}", answer.start);
        Ok(())
    }

    /// Ends a call from the caller's side.
    pub(crate) async fn hang_up(&mut self, call: &Call) -> Verdict {
        let bye = self.a.in_dialog(&call.invite, &call.ok, "BYE");
        let (bye, at_b) = self.deliver(&bye).await?;
        self.b.reply(&at_b, "200 OK", &[]).await?;
        self.answer(&bye).await.map(|_| ())
    }
}

pub(crate) async fn answer(a: &mut Ua, request: &Req) -> Verdict<Message> {
    let until = tokio::time::Instant::now() + ANSWER;
    loop {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        match a.response(request, left).await {
            Some(answer) if answer.status() == Some(100) => {}
            Some(answer) => return Ok(answer),
            None => return fail(format!("no response to {} came back", request.method)),
        }
    }
}

/// The next final response, provisional ones passed over.
pub(crate) async fn final_answer(a: &mut Ua, request: &Req) -> Verdict<Message> {
    loop {
        let answer = answer(a, request).await?;
        if answer.status().unwrap_or(0) >= 200 {
            return Ok(answer);
        }
    }
}
