//! Calls that come to a handset, and what it does with them.

use super::Step;
use super::call::{Call, Side, own};
use super::content::{Origin, asserted, user_of};
use super::cpim::{is, parts};
use super::engine::{Engine, Go, Halt};
use super::media::Port;
use super::model::{Accept, Kind};
use super::sdp::Remote;
use super::seen::{How, Phase};
use crate::message::{Message, uri_of};

impl Engine {
    pub(super) async fn invited(&mut self, invite: Message) -> Go {
        self.trap(Step::Called)?;
        let is_large = invite.lines("accept-contact").join("\n").contains("oma.cpm.largemsg");
        if !(self.model.calls() || self.model.large && is_large) {
            return self.respond(&invite, "405 Method Not Allowed", &[("Allow", "MESSAGE, OPTIONS")], "").await;
        }
        let said =
            [invite.lines("accept-contact"), invite.lines("contact"), invite.lines("p-asserted-service")].concat();
        if let Some(why) = self.model.stranger(&said.join("\n")) {
            self.respond(&invite, "403 Forbidden", &[("Warning", "399 handset \"Unsupported Extension\"")], "").await?;
            return Err(Halt::Fault(why.into()));
        }
        let content_type = invite.header("content-type").unwrap_or("").to_owned();
        let parts = match is(&content_type, "multipart/mixed") {
            true => parts(&content_type, &invite.body),
            false => vec![(content_type.clone(), invite.body.clone())],
        };
        let part = |wanted: &str| parts.iter().find(|(kind, _)| is(kind, wanted)).map(|(_, body)| body.clone());
        let sdp = part("application/sdp").map(|sdp| String::from_utf8_lossy(&sdp).into_owned());
        let Some(remote) = sdp.as_deref().and_then(Remote::read) else {
            return self.respond(&invite, "488 Not Acceptable Here", &[], "").await;
        };
        let deferred = asserted(&invite).starts_with("rcse-standfw");
        let peer = match (deferred, invite.header("referred-by")) {
            (true, Some(by)) => user_of(uri_of(by)),
            (true, None) => return self.refuse(&invite, 606, "a deferred session without Referred-By").await,
            _ => asserted(&invite),
        };
        let focus = Engine::focus_of(&invite);
        if let Some(focus) = &focus {
            self.note_invitation(focus, &invite, part("application/resource-lists+xml"));
        }
        let peer = focus.as_deref().map_or(peer, user_of);
        let cpim = part("message/cpim");
        let subject = invite.header("subject").filter(|_| cpim.is_none() && focus.is_none()).map(str::to_owned);
        let first = cpim.is_some() || subject.is_some();
        if self.model.kind == Kind::Rcse && !first && !deferred && focus.is_none() {
            return self.refuse(&invite, 603, "a SIMPLE IM call without a first message").await;
        }
        if self.model.kind == Kind::Rcse && focus.is_none() && self.collides(&invite, &peer).await? {
            return Ok(());
        }
        let number = self.new_session(&peer, deferred);
        self.calls.push(Call {
            number,
            peer: peer.clone(),
            deferred,
            side: Side::Called(Box::new(invite.clone()), false),
            sdp: String::new(),
            remote: Some(remote),
            port: None,
            media: None,
            queue: Vec::new(),
            sent: Vec::new(),
            focus: focus.clone(),
        });
        let mut told = Ok(());
        let how = if cpim.is_some() { How::Invite } else { How::Subject };
        // Some reject a call together with its message, others the call only.
        let reads = !matches!(self.model.accept, Accept::Reject(_));
        if let (Some(body), true) = (cpim.or(subject.map(String::into_bytes)), reads) {
            let origin = Origin { from: peer, how, call: Some(number), deferred, quiet: false, focus: focus.clone() };
            let kind = if how == How::Invite { "message/cpim" } else { "text/plain" };
            told = self.content(origin, kind, body).await;
        }
        if let Err(Halt::Cut(cut)) = told {
            return Err(Halt::Cut(cut));
        }
        let Some(at) = self.calls.iter().position(|call| call.number == number) else { return told };
        match self.model.accept {
            Accept::Auto => self.answer(at).await?,
            _ if deferred => self.answer(at).await?,
            Accept::Ring => self.respond(&invite, "180 Ringing", &[], "").await?,
            Accept::Reject(_) | Accept::Block => {
                let status = if let Accept::Reject(status) = self.model.accept { status } else { 486 };
                self.status(number, status);
                self.respond(&invite, &format!("{status} Rejected"), &[], "").await?;
                if let Some(call) = self.take_call(number) {
                    self.ended(call, false);
                }
            }
        }
        told
    }

    async fn refuse(&mut self, invite: &Message, status: u16, why: &str) -> Go {
        self.respond(invite, &format!("{status} Rejected"), &[], "").await?;
        Err(Halt::Fault(why.to_owned()))
    }

    /// What rcsjta does with a second session; true if it has refused this one.
    async fn collides(&mut self, invite: &Message, peer: &str) -> Go<bool> {
        let with = |call: &&Call| call.peer == peer && !call.deferred;
        let Some(other) = self.calls.iter().find(with) else { return Ok(false) };
        let number = other.number;
        match &other.side {
            Side::Calling => {
                self.respond(invite, "486 Busy Here", &[], "").await?;
                return Ok(true);
            }
            Side::Called(older, false) => {
                let older = older.clone();
                self.respond(&older, "486 Busy Here", &[], "").await?;
                if let Some(call) = self.take_call(number) {
                    self.ended(call, false);
                }
            }
            _ => self.end(number).await?,
        }
        Ok(false)
    }

    pub(super) async fn answer_ringing(&mut self) -> Go {
        let rings = self.calls.iter().position(Call::rings);
        match rings {
            Some(at) => self.answer(at).await,
            None => Err(Halt::Fault("told to answer while nothing rings".into())),
        }
    }

    pub(super) async fn answer(&mut self, at: usize) -> Go {
        let mut port = Port::open(&self.ctx, self.model.reach, &self.account).await?;
        let call = &mut self.calls[at];
        let (Side::Called(invite, answered), Some(remote)) = (&mut call.side, &call.remote) else { return Ok(()) };
        *answered = true;
        if remote.secure {
            port.secured();
        }
        let (invite, setup, number) = (invite.clone(), port.answer(&remote.setup), call.number);
        let one_way = call.deferred || self.model.large;
        let sdp = own(&port, setup, if one_way { "recvonly" } else { "sendrecv" });
        (call.port, call.sdp) = (Some(port), sdp.clone());
        let timer = [("Require", "timer"), ("Session-Expires", "1800;refresher=uac")];
        let more = if invite.header("session-expires").is_some() { &timer[..] } else { &[] };
        self.status(number, 200);
        self.respond(&invite, "200 OK", more, &sdp).await?;
        self.phase(number, Phase::Up);
        self.trap(Step::Accepted)?;
        self.open(at, setup == "active");
        match self.calls[at].focus.clone().filter(|_| self.model.follows) {
            Some(focus) => self.watch(&focus, None).await,
            None => Ok(()),
        }
    }
}
