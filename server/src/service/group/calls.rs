//! Sessions of a room: devices that call, and devices that are called.

use std::sync::Arc;
use std::time::Instant;

use chappe_chat::group::{Change, Membership};
use chappe_chat::invitation::Invitation;
use chappe_sip::{Aor, Message};

use super::change::Failed;
use super::news::{Answering, Key, News, reject};
use super::room::Room;
use super::seat::{Call, State};
use super::side::{Side, What};
use super::{factory, invite, media};
use crate::service::agent::{self, CallEnd, CallEvent, CallRef, CallTarget, NewCall};

impl Room {
    /// A device calls: a member comes in, or back.
    pub(super) async fn called(
        &mut self,
        user: Aor,
        device: Box<str>,
        side: &Arc<Side>,
        reference: CallRef,
        invitation: &Invitation,
    ) {
        let admitted = self.group.admit_call(&user).map(|member| member.state != Membership::Joined);
        let joined = match admitted {
            Ok(true) => self.change(&user, Change::Join).await.map_err(|failed| failed.answer(&self.core)),
            Ok(false) => Ok(()),
            Err(refused) => Err((refused.status(), factory::warning(&self.core, refused))),
        };
        if let Err((status, headers)) = joined {
            let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            return reject(&self.core, &reference, status, lines);
        }
        let Some(endpoint) = self.core.endpoint().cloned() else {
            return reject(&self.core, &reference, 488, String::new());
        };
        let (end, agreement, body) = match media::answered(&self.core, &endpoint, &invitation.sdp, side) {
            Ok(answered) => answered,
            Err(status) => return reject(&self.core, &reference, status, String::new()),
        };
        // The member of this name, whatever the caller was called.
        let user = self.group.members.get(&user).map_or(user, |member| member.user.clone());
        let key: Key = (user.as_str().into(), device);
        side.knows(invitation.subject.as_deref().or(self.group.subject.as_deref()));
        let core = Arc::clone(&self.core);
        let seat = self.seat(&key, &user, invitation.device);
        // The device has the newest word: its call takes the place of one that is there.
        if let Some(old) = seat.call.take() {
            seat.rewind();
            old.end(&core, None);
        }
        seat.is_well();
        seat.wanted = false;
        let after_ack = agreement.after_ack;
        seat.call = Some(Call {
            id: side.call,
            reference: Some(reference.clone()),
            relayed: agreement.peer_path.len() > 1,
            end: Some(Arc::clone(&end)),
            offered: None,
            agreement: after_ack.then(|| agreement.clone()),
            state: State::Connecting,
            bound: false,
            since: Instant::now(),
            reached: None,
            dialed_in: true,
        });
        if !after_ack {
            end.agreed(&agreement);
        }
        let lines =
            format!("P-Asserted-Identity: <{}>\r\nContribution-ID: {}\r\n", self.focus, self.group.contribution_id);
        agent::on_shard(&core, &reference, move |turn, call| agent::accept(turn, call, body, &lines));
    }

    /// Invites a device.
    pub(super) fn invite(&mut self, key: &Key) {
        self.stirred.insert(key.0.clone());
        let now = Instant::now();
        let Some(binding) = self.binding(key) else { return self.is_away(key) };
        let Some(endpoint) = self.core.endpoint().cloned() else { return };
        let inviter = self.inviter(&Aor::from_canonical(key.0.clone())).cloned();
        let Some(seat) = self.seats.get_mut(key) else { return };
        seat.wanted = false;
        let side = Side::new(&self.core, &self.id, &key.0, &key.1);
        side.knows(self.group.subject.as_deref());
        let secure = binding.flow.is_some_and(|flow| flow.transport.is_secure());
        let (end, offered) = match media::offered(&self.core, &endpoint, secure, &side) {
            Ok(offered) => offered,
            Err(_) => return seat.failed(now),
        };
        let written = invite::Outgoing {
            group: &self.group,
            focus: &self.focus,
            device: seat.abilities,
            inviter: inviter.as_ref(),
            sdp: &offered.sdp,
            random: &self.core.tag(),
        };
        let (headers, body) = written.write();
        let tags = seat.abilities.contact_tags(chappe_chat::Service::Group);
        let new = NewCall {
            from: self.focus.as_str().into(),
            to: seat.user.to_uri().into(),
            headers,
            contact_params: format!("<{}>;isfocus{tags}", self.focus).into(),
            body,
            // The room withdraws it before.
            gives_up: self.core.settings.timer_c,
            target: CallTarget::Binding(Box::new(binding.clone())),
        };
        let reference = agent::invite(&self.core, new, side.clone());
        seat.call = Some(Call {
            id: side.call,
            reference: Some(reference),
            end: Some(end),
            offered: Some(offered),
            agreement: None,
            state: State::Inviting,
            bound: false,
            relayed: false,
            since: now,
            reached: Some(binding.flow),
            dialed_in: false,
        });
    }

    /// News of one call.
    pub(super) async fn side(&mut self, key: Key, id: u32, what: What) {
        let now = Instant::now();
        let current = self.seats.get_mut(&key).is_some_and(|seat| seat.call(id).is_some());
        if !current {
            // Of a call that is not in use any more.
            return News::Side { key, call: id, what }.refuse(&self.core, 481);
        }
        match what {
            What::Call(CallEvent::Answered(response), reference) => {
                self.answered(&key, id, &response, &reference).await
            }
            What::Call(CallEvent::Established(_), _) => {
                let Some(call) = self.seats.get_mut(&key).and_then(|seat| seat.call(id)) else { return };
                if let (Some(end), Some(agreement)) = (&call.end, call.agreement.take()) {
                    end.agreed(&agreement);
                }
            }
            What::Call(CallEvent::Request { key: transaction, request }, call) => {
                let answering = Answering::Call { call, key: transaction, request: Arc::clone(&request) };
                let user = Aor::from_canonical(key.0.clone());
                self.request(user, key.1.clone(), request, answering).await;
            }
            What::Call(CallEvent::Ended { why: CallEnd::Failed { status, .. }, .. }, _) => {
                self.rejected(&key, status).await
            }
            What::Call(CallEvent::Ended { why, reason }, _) => {
                let left = matches!(why, CallEnd::Peer) && reason.as_deref().is_some_and(says_goodbye);
                self.ended(&key, now);
                if left {
                    let user = Aor::from_canonical(key.0.clone());
                    if let Err(Failed::Store) = self.change(&user, Change::Leave).await {
                        tracing::error!("somebody has left a group, which could not be stored");
                    }
                }
            }
            What::Call(..) => {}
            What::Renames(subject, call) => self.renamed(&key, subject, &call).await,
            What::Bound => {
                if let Some(call) = self.seats.get_mut(&key).and_then(|seat| seat.call(id)) {
                    match call.state {
                        State::Connecting => (call.state, call.since) = (State::Open, now),
                        State::Inviting => call.bound = true,
                        State::Open | State::Parting => {}
                    }
                }
                self.pump(&key);
            }
            What::Message(message, answer) => {
                if let Some(call) = self.seats.get_mut(&key).and_then(|seat| seat.call(id)) {
                    call.since = now;
                }
                self.received(&key, *message, answer).await;
            }
            What::Sent(seq, sent) => self.sent(&key, seq, sent),
            What::Closed(why) => {
                tracing::debug!(?why, "the MSRP session of a group is over");
                // A client that leaves may close this first.
                let Some(seat) = self.seats.get_mut(&key) else { return };
                if seat.cursor.in_flight() > 0 {
                    seat.failed(now);
                }
                seat.rewind();
                if let Some(call) = seat.call(id) {
                    (call.state, call.since, call.end) = (State::Parting, now, None);
                }
                self.stirred.insert(key.0);
            }
        }
    }

    /// A device wishes for another subject in an INVITE within its session.
    async fn renamed(&mut self, key: &Key, subject: Box<str>, call: &CallRef) {
        let user = Aor::from_canonical(key.0.clone());
        let is_new = self.group.subject.as_deref() != Some(&*subject);
        let done = if is_new { self.change(&user, Change::Subject(Some(subject))).await } else { Ok(()) };
        let status = done.err().map(|failed| failed.answer(&self.core).0);
        agent::on_shard(&self.core, call, move |turn, call| match status {
            None => agent::answer_unchanged(turn, call),
            Some(status) => agent::answer_offer(turn, call, Err(status)),
        });
    }

    /// A 2xx to our INVITE: the member is in.
    pub(super) async fn answered(&mut self, key: &Key, id: u32, response: &Message, reference: &CallRef) {
        self.stirred.insert(key.0.clone());
        let now = Instant::now();
        let Some(call) = self.seats.get_mut(key).and_then(|seat| seat.call(id)) else { return };
        let agreement = call.offered.take().and_then(|offered| offered.agreed(response.body()));
        let (Some(agreement), Some(end)) = (agreement, &call.end) else {
            agent::end(&self.core, reference, None);
            return self.rejected(key, 488).await;
        };
        call.relayed = agreement.peer_path.len() > 1;
        end.agreed(&agreement);
        call.state = if call.bound { State::Open } else { State::Connecting };
        call.since = now;
        let user = Aor::from_canonical(key.0.clone());
        if self.group.members.get(&user).is_some_and(|member| member.state == Membership::Invited)
            && let Err(Failed::Store) = self.change(&user, Change::Join).await
        {
            tracing::error!("somebody has joined a group, which could not be stored");
        }
        self.pump(key);
    }

    /// Our INVITE came to nothing.
    pub(super) async fn rejected(&mut self, key: &Key, status: u16) {
        self.stirred.insert(key.0.clone());
        let now = Instant::now();
        let Some(seat) = self.seats.get_mut(key) else { return };
        if let Some(end) = seat.call.take().and_then(|call| call.end) {
            end.close();
        }
        seat.rewind();
        match status {
            603 => {
                let user = seat.user.clone();
                seat.away = true;
                let others = self.seats.values().any(|other| other.user == user && other.is_open());
                let joined = self.group.members.get(&user).is_some_and(|member| member.state == Membership::Joined);
                // Who left while it was away says so once.
                let change = if joined { Change::Leave } else { Change::Decline };
                if !others && let Err(Failed::Store) = self.change(&user, change).await {
                    tracing::error!("somebody has turned a group down, which could not be stored");
                }
            }
            405 | 406 | 415 | 420 | 488 | 501 | 606 => {
                seat.no_sessions = true;
                // What knows neither sessions nor MESSAGE waits for its next registration.
                seat.away = !(seat.abilities.standalone || seat.abilities.access() == chappe_chat::Access::Pager);
                self.pump(key);
            }
            486 | 500 | 503 | 600 => seat.failed(now),
            _ => {
                self.is_away(key);
                // It may have registered anew meanwhile.
                let flow = self.binding(key).map(|binding| binding.flow);
                tracing::debug!(status, there = flow.is_some(), "a device of a group is not there");
            }
        }
    }

    /// A call is over.
    pub(super) fn ended(&mut self, key: &Key, now: Instant) {
        self.stirred.insert(key.0.clone());
        let Some(seat) = self.seats.get_mut(key) else { return };
        if let Some(call) = seat.call.take() {
            call.part(&self.core);
        }
        if seat.cursor.in_flight() > 0 {
            seat.failed(now);
        }
        seat.rewind();
    }

    /// The MSRP session of a call is gone, and so is the call.
    pub(super) fn lost(&mut self, key: &Key, now: Instant) {
        self.stirred.insert(key.0.clone());
        let Some(seat) = self.seats.get_mut(key) else { return };
        if let Some(call) = seat.call.take() {
            call.end(&self.core, None);
        }
        if seat.cursor.in_flight() > 0 {
            seat.failed(now);
        }
        seat.rewind();
    }
}

/// Whether the Reason of a BYE means that the user leaves, and not only the session. (u)
fn says_goodbye(reason: &str) -> bool {
    let reason: String = reason.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    reason.starts_with("sip;") && reason.split(';').any(|param| param == "cause=200")
}
