//! Calls of a handset: INVITE from either side up to its BYE, with the session that belongs to it.

use super::Step;
use super::cpim::mixed;
use super::engine::{Engine, Go, Halt, What};
use super::media::{Media, Out, Port};
use super::model::{Content, First};
use super::sdp::{Own, Remote};
use super::seen::{Fate, How, Phase, Session};
use crate::message::{Message, uri_of};
use crate::ua::{Req, same_transaction};

pub(super) struct Call {
    /// Its place in what the handset has seen.
    pub(super) number: usize,
    pub(super) peer: String,
    pub(super) deferred: bool,
    pub(super) side: Side,
    /// One's own session description.
    pub(super) sdp: String,
    pub(super) remote: Option<Remote>,
    pub(super) port: Option<Port>,
    pub(super) media: Option<Media>,
    /// What is to be sent when there is a session.
    pub(super) queue: Vec<Out>,
    /// The messages that go with it, by their numbers.
    pub(super) sent: Vec<usize>,
    /// The focus of a group; empty while its URI is not known.
    pub(super) focus: Option<String>,
}

pub(super) enum Side {
    Calling,
    /// The 2xx that the other side sent.
    Caller(Box<Req>, Box<Message>),
    /// The INVITE; answered or not.
    Called(Box<Message>, bool),
}

impl Call {
    pub(super) fn put(&self, out: Out) {
        // What a session does not take any more is lost with it, and told so.
        let _ = self.media.as_ref().is_some_and(|media| media.send(out));
    }

    pub(super) fn put_later(&mut self, out: Out) {
        match &self.media {
            Some(_) => self.put(out),
            None => self.queue.push(out),
        }
    }

    pub(super) fn rings(&self) -> bool {
        matches!(self.side, Side::Called(_, false))
    }

    pub(super) fn call_id(&self) -> &str {
        match &self.side {
            Side::Called(invite, _) => invite.header("call-id").unwrap_or(""),
            Side::Caller(invite, _) => invite.get("Call-ID"),
            Side::Calling => "",
        }
    }
}

impl Engine {
    pub(super) fn phase(&self, number: usize, phase: Phase) {
        self.state.change(|seen| {
            if let Some(session) = seen.sessions.get_mut(number) {
                session.phase = phase;
            }
        });
    }

    pub(super) fn status(&self, number: usize, status: u16) {
        self.state.change(|seen| {
            if let Some(session) = seen.sessions.get_mut(number) {
                session.status = status;
            }
        });
    }

    pub(super) fn new_session(&self, peer: &str, deferred: bool) -> usize {
        let session =
            Session { peer: peer.to_owned(), deferred, phase: Phase::Ringing, status: 0, ended_by_peer: false };
        self.state.change(|seen| {
            seen.sessions.push(session);
            seen.sessions.len() - 1
        })
    }

    /// Notes that a call is over; what it did not get done is lost.
    pub(super) fn ended(&self, call: Call, by_peer: bool) {
        self.state.change(|seen| {
            call.sent.into_iter().for_each(|number| seen.fate(number, Fate::Lost));
            if let Some(session) = seen.sessions.get_mut(call.number) {
                (session.phase, session.ended_by_peer) = (Phase::Ended, by_peer);
            }
        });
    }

    pub(super) fn take_call(&mut self, number: usize) -> Option<Call> {
        let at = self.calls.iter().position(|call| call.number == number)?;
        Some(self.calls.remove(at))
    }

    /// Sends a text in the session with `to`, or begins one.
    pub(super) async fn say(&mut self, to: &str, id: &str, text: &str, sent: usize) -> Go {
        let with = |call: &Call| call.peer == to && !call.deferred && call.remote.as_ref().is_none_or(|r| r.receives);
        let Some(at) = self.calls.iter().position(with) else { return self.invite(to, id, text, sent).await };
        let body = self.envelope(to, true, id, Content::Text(text));
        self.state.change(|seen| seen.how(sent, How::Session));
        let call = &mut self.calls[at];
        call.sent.push(sent);
        call.put_later(Out { key: Some(sent), content_type: "message/cpim", body });
        if call.rings() { self.answer(at).await } else { Ok(()) }
    }

    /// Calls, with a text; a standalone message has the session for itself.
    pub(super) async fn invite(&mut self, to: &str, id: &str, text: &str, sent: usize) -> Go {
        let port = Port::open(&self.ctx, self.model.reach, &self.account).await?;
        let (service, way) = if self.model.large { ("largemsg", "sendonly") } else { ("session", "sendrecv") };
        let sdp = own(&port, port.offer(), way);
        let (uri, contact, conversation) = (self.aor_of(to), self.contact(), self.conversation(to));
        let body = self.envelope(to, true, id, Content::Text(text));
        let req = self.ua.req("INVITE", &uri).set("Contact", contact);
        let req = self.model.service(req, service, &self.ctx, &conversation);
        let req = req
            .add("P-Preferred-Identity", format!("<{}>", self.ua.aor()))
            .add("Allow", "INVITE, UPDATE, ACK, CANCEL, BYE, NOTIFY, OPTIONS, MESSAGE")
            .add("Supported", "timer")
            .add("Session-Expires", "1800");
        let mut queue = Vec::new();
        let (req, how) = match self.model.first {
            First::Invite => {
                let boundary = self.ctx.id();
                let parts = mixed(&boundary, &[("application/sdp", sdp.as_bytes()), ("message/cpim", &body)]);
                (req.body(&format!("multipart/mixed;boundary=\"{boundary}\""), parts), How::Invite)
            }
            First::Subject => (req.add("Subject", text).body("application/sdp", &sdp), How::Subject),
            First::Session => {
                queue.push(Out { key: Some(sent), content_type: "message/cpim", body });
                (req.body("application/sdp", &sdp), How::Session)
            }
        };
        self.state.change(|seen| seen.how(sent, how));
        let number = self.new_session(to, false);
        self.calls.push(Call {
            number,
            peer: to.to_owned(),
            deferred: false,
            side: Side::Calling,
            sdp,
            remote: None,
            port: Some(port),
            media: None,
            queue,
            sent: vec![sent],
            focus: None,
        });
        self.start(req, What::Invite(number)).await
    }

    /// The final answer to one's own INVITE; a failure was acknowledged.
    pub(super) async fn invite_answered(&mut self, number: usize, invite: Req, answer: Message) -> Go {
        let status = answer.status().unwrap_or(0);
        if let Some(done) = self.answers.remove(&number) {
            let _ = done.send(answer.clone());
        }
        self.status(number, status);
        let Some(at) = self.calls.iter().position(|call| call.number == number) else {
            // Cancelled or forgotten meanwhile: a 2xx that came in spite of it is ended.
            return if status < 300 { self.hang_up_answer(&invite, &answer).await } else { Ok(()) };
        };
        if status >= 300 {
            let mut call = self.calls.remove(at);
            let other = self.calls.iter_mut().find(|other| other.peer == call.peer && !other.deferred);
            // Both called at once: what waits goes into the session that there is.
            if let Some(other) = other {
                let waits = |number: &usize| call.queue.iter().any(|out| out.key == Some(*number));
                let (waiting, first): (Vec<usize>, _) = call.sent.iter().copied().partition(waits);
                call.sent = first;
                other.sent.extend(waiting);
                call.queue.drain(..).for_each(|out| other.put_later(out));
            }
            self.state.change(|seen| call.sent.iter().for_each(|sent| seen.fate(*sent, Fate::Answered(status))));
            self.ended(call, false);
            return Ok(());
        }
        let ack = self.ua.in_dialog(&invite, &answer, "ACK");
        self.ua.send(&ack).await?;
        self.trap(Step::Answered)?;
        let remote = Remote::read(&answer.body_text()).filter(|remote| remote.accepted && !remote.path.is_empty());
        let (to_focus, said) = (self.calls[at].focus.is_some(), (invite.clone(), answer.clone()));
        let call = &mut self.calls[at];
        call.side = Side::Caller(Box::new(invite), Box::new(answer));
        let waits = |number: usize| call.queue.iter().any(|out| out.key == Some(number));
        if let Some(first) = call.sent.first().copied().filter(|first| !waits(*first)) {
            self.state.change(|seen| seen.fate(first, Fate::Answered(status)));
        }
        let Some(remote) = remote else {
            self.end(number).await?;
            return Err(Halt::Fault("a 2xx without a message session".into()));
        };
        self.phase(number, Phase::Up);
        // Without a=setup the one who offered connects (RFC 4975 §5.4).
        let active = remote.setup != "active";
        self.calls[at].remote = Some(remote);
        self.open(at, active);
        if to_focus { self.focus_answered(at, &said.0, &said.1).await } else { Ok(()) }
    }

    pub(super) fn open(&mut self, at: usize, active: bool) {
        let call = &mut self.calls[at];
        let (Some(port), Some(remote)) = (call.port.take(), &call.remote) else { return };
        let back = (call.number, self.news.clone());
        let media = Media::start(&self.ctx, &self.state, port, remote, active, self.model.manners(), back);
        for out in call.queue.drain(..) {
            media.send(out);
        }
        call.media = Some(media);
    }

    /// A 2xx that belongs to no request of now: a copy, or one of another fork.
    pub(super) async fn late_answer(&mut self, answer: &Message) -> Go {
        let invite = answer.cseq().is_some_and(|(_, method)| method == "INVITE");
        if !invite || !matches!(answer.status(), Some(200..=299)) {
            return Ok(());
        }
        let known = self.calls.iter().find_map(|call| match &call.side {
            Side::Caller(invite, first) if Some(invite.get("Call-ID")) == answer.header("call-id") => {
                Some((invite.clone(), first.tag("to") == answer.tag("to")))
            }
            _ => None,
        });
        match known {
            Some((invite, true)) => {
                let ack = self.ua.in_dialog(&invite, answer, "ACK");
                Ok(self.ua.send(&ack).await?)
            }
            Some((invite, false)) => self.hang_up_answer(&invite, answer).await,
            None => Ok(()),
        }
    }

    async fn hang_up_answer(&mut self, invite: &Req, answer: &Message) -> Go {
        let ack = self.ua.in_dialog(invite, answer, "ACK");
        self.ua.send(&ack).await?;
        let bye = self.ua.in_dialog(invite, answer, "BYE");
        self.start(bye, What::Other).await
    }

    /// A new offer for a session that goes on as it is.
    pub(super) async fn invited_again(&mut self, invite: &Message) -> Go {
        let call = self.calls.iter().find(|call| Some(call.call_id()) == invite.header("call-id"));
        match call.map(|call| call.sdp.clone()) {
            Some(sdp) => self.respond(invite, "200 OK", &[], &sdp).await,
            None => self.respond(invite, "481 No such call", &[], "").await,
        }
    }

    pub(super) async fn cancelled(&mut self, cancel: &Message) -> Go {
        self.respond(cancel, "200 OK", &[], "").await?;
        let rings = |call: &Call| call.rings() && Some(call.call_id()) == cancel.header("call-id");
        let Some(at) = self.calls.iter().position(rings) else { return Ok(()) };
        let call = self.calls.remove(at);
        if let Side::Called(invite, _) = &call.side {
            self.respond(invite, "487 Request Terminated", &[], "").await?;
        }
        self.status(call.number, 487);
        self.ended(call, true);
        Ok(())
    }

    pub(super) async fn bye(&mut self, bye: &Message) -> Go {
        let at = self.calls.iter().position(|call| Some(call.call_id()) == bye.header("call-id"));
        let Some(number) = at.map(|at| self.calls[at].number) else {
            return self.respond(bye, "481 No such call", &[], "").await;
        };
        self.respond(bye, "200 OK", &[], "").await?;
        self.listen().await?;
        if let Some(call) = self.take_call(number) {
            self.focus_said_bye(&call, bye);
            self.ended(call, true);
        }
        Ok(())
    }

    /// The MSRP connection is gone: the call goes too.
    pub(super) async fn down(&mut self, number: usize) -> Go {
        self.end(number).await
    }

    pub(super) async fn hang_up(&mut self) -> Go {
        let all: Vec<usize> = self.calls.iter().map(|call| call.number).collect();
        for number in all {
            self.end(number).await?;
        }
        Ok(())
    }

    /// Gives up the INVITE that is pending.
    pub(super) async fn cancel(&mut self) -> Go {
        let calling = self.calls.iter().find(|call| matches!(call.side, Side::Calling)).map(|call| call.number);
        match calling {
            Some(number) => self.end(number).await,
            None => Err(Halt::Fault("told to cancel while no call is pending".into())),
        }
    }

    /// Ends a call by what is right: CANCEL, BYE or a refusal.
    pub(super) async fn end(&mut self, number: usize) -> Go {
        self.end_as(number, None).await
    }

    /// The same; `reason` goes into a BYE.
    pub(super) async fn end_as(&mut self, number: usize, reason: Option<&str>) -> Go {
        let with = |bye: Req| match reason {
            Some(reason) => bye.add("Reason", reason),
            None => bye,
        };
        let Some(call) = self.take_call(number) else { return Ok(()) };
        match &call.side {
            Side::Calling => {
                let invite = self.pending.iter().find(|p| matches!(p.what, What::Invite(n) if n == number));
                if let Some(cancel) = invite.map(|pending| same_transaction(&pending.req, "CANCEL")) {
                    self.start(cancel, What::Other).await?;
                }
            }
            Side::Caller(invite, answer) => {
                let bye = self.ua.in_dialog(invite, answer, "BYE");
                self.start(with(bye), What::Other).await?;
            }
            Side::Called(invite, false) => self.respond(invite, "603 Decline", &[], "").await?,
            Side::Called(invite, true) => {
                let bye = self.as_called(invite, "BYE");
                self.start(with(bye), What::Other).await?;
            }
        }
        self.ended(call, false);
        Ok(())
    }

    /// A request within the dialog that `invite` made, from the side that was called.
    pub(super) fn as_called(&mut self, invite: &Message, method: &str) -> Req {
        let to = invite.header("to").unwrap_or("");
        let target = uri_of(invite.header("contact").unwrap_or("")).to_owned();
        let tagged = format!("{to};tag={}", self.ua.tag);
        let mut request = self
            .ua
            .req(method, &target)
            .set("From", tagged)
            .set("To", invite.header("from").unwrap_or(""))
            .set("Call-ID", invite.header("call-id").unwrap_or(""));
        for route in invite.values("record-route") {
            request = request.add("Route", route);
        }
        request
    }
}

pub(super) fn own(port: &Port, setup: &str, direction: &str) -> String {
    Own { path: &port.path, setup, port: port.number(setup), secure: port.secure, direction }.text()
}
