//! One device in one conversation: its calls and MSRP sessions, and what is on its way to it.
//!
//! News comes from calls, MSRP, the drain and time. Each is told to the [`Leg`], whose actions are done in their order by
//! one task at a time.

mod call;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use chappe_chat::envelope::Body;
use chappe_chat::invitation::{First, Invitation};
use chappe_chat::leg::{Action, Call, Entry as LegEntry, Leg, LegSettings, Why};
use chappe_chat::outgoing::Outgoing;
use chappe_chat::{Access, Capabilities, Envelope, Service};
use chappe_msrp::{Assembled, FailureReport};
use chappe_sdp::Agreement;
use chappe_sip::Flow;
use chappe_sip::registrar::{Binding, targets};
use parking_lot::Mutex;

use super::intake::{self, Content, Lot, Thread};
use super::{Letter, Sides, offer};
use crate::core::{Core, epoch_seconds};
use crate::msrp::endpoint::{Answer, End, NewMessage, Sent};
use crate::service::drain::{self, Handed};
use crate::service::pager::is_alive;
use crate::service::{Request, agent};
use crate::shard::Turn;
use agent::{CallRef, CallTarget, NewCall};
use call::Side;

/// What text without a type is.
const TEXT: &str = "text/plain;charset=UTF-8";
/// From the end of a call to that of its MSRP session.
const PARTING: Duration = Duration::from_secs(2);
/// One sign of typing in so long goes out by MESSAGE.
const TYPING: Duration = Duration::from_secs(10);
/// Calls of one line that are not over yet, at most: one in use, and others on their way out.
const CALLS: usize = 8;

pub(super) struct Line {
    core: Arc<Core>,
    pub(super) sides: Sides,
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
}

/// What the device has sent and is to be stored.
#[derive(Default)]
struct Inbox {
    waiting: Vec<(Lot, intake::Done)>,
    /// A task stores it.
    storing: bool,
}

struct State {
    leg: Leg,
    device: Capabilities,
    calls: HashMap<Call, LineCall, RandomState>,
    letters: HashMap<u64, Arc<Letter>, RandomState>,
    actions: VecDeque<Action>,
    /// A task does the actions.
    busy: bool,
    /// When a task looks at the time.
    alarm: Option<Instant>,
    /// Not in use any more.
    retired: bool,
    /// Calls of the device that are being taken.
    coming: u32,
    /// The flow that the device was last known to have.
    flow: Option<Flow>,
    /// How often its signs of typing go out by MESSAGE.
    typing: chappe_imdn::Pace,
}

impl State {
    /// The device is registered over this flow.
    fn is_over(&mut self, flow: Option<Flow>, now: Instant) {
        if std::mem::replace(&mut self.flow, flow) != flow {
            self.leg.handle_moved(now);
        }
    }

    fn is_done(&self) -> bool {
        self.leg.is_done() && self.calls.is_empty() && self.actions.is_empty() && self.coming == 0
    }
}

/// A call of the line.
struct LineCall {
    service: Service,
    thread: Thread,
    /// How the device writes envelopes in it.
    access: Access,
    reference: Option<CallRef>,
    end: Option<Arc<End>>,
    /// Ours, until it is answered.
    offered: Option<offer::Offered>,
    /// The device's, until it is accepted.
    invitation: Option<Box<Invitation>>,
    /// To be acted upon when the device has our answer.
    agreement: Option<Agreement>,
    /// The device is behind a relay, whose 200 says nothing of the device.
    relayed: bool,
}

impl Line {
    pub(super) fn new(core: &Arc<Core>, sides: Sides, device: Capabilities, settings: LegSettings) -> Arc<Line> {
        Arc::new(Line {
            core: Arc::clone(core),
            sides,
            inbox: Mutex::default(),
            state: Mutex::new(State {
                leg: Leg::new(device, settings),
                device,
                calls: HashMap::default(),
                letters: HashMap::default(),
                actions: VecDeque::new(),
                busy: false,
                alarm: None,
                retired: false,
                coming: 0,
                flow: None,
                typing: chappe_imdn::Pace::default(),
            }),
        })
    }

    /// The device calls.
    pub(super) fn called(turn: &mut Turn<'_>, request: Request, sides: Sides, invitation: Invitation) {
        let core = turn.core;
        let thread = Thread {
            contribution_id: invitation.contribution_id.clone(),
            conversation_id: invitation.conversation_id.clone(),
            in_reply_to: invitation.in_reply_to.clone(),
            call_id: String::from_utf8_lossy(request.message.call_id()).into(),
        };
        let (service, access) = (invitation.service, invitation.access);
        let line = loop {
            let line = core.chat.line(core, &sides, invitation.device);
            let mut state = line.state.lock();
            if state.calls.len() >= CALLS {
                let message = Arc::clone(&request.message);
                return turn.answer(request.key, &message, 486);
            }
            if !state.retired {
                // Stays in use until the call is there.
                state.coming += 1;
                drop(state);
                break line;
            }
        };
        let side = Side::new(&line);
        let tags = invitation.device.contact_tags(service);
        let Some(reference) = agent::take(turn, request, |_| side.clone(), &tags) else {
            line.tell(|state, _| state.coming -= 1);
            return core.chat.forget(&line);
        };
        let new = LineCall {
            service,
            thread,
            access,
            reference: Some(reference),
            end: None,
            offered: None,
            invitation: Some(Box::new(invitation)),
            agreement: None,
            relayed: false,
        };
        line.tell(|state, now| {
            // A large message on its own leaves the session that is there alone.
            let call = if service == Service::Session { state.leg.handle_incoming(now) } else { side.apart() };
            side.is(call);
            state.coming -= 1;
            state.calls.insert(call, new);
            if service != Service::Session {
                state.actions.push_back(Action::Accept { call });
            }
        });
    }

    /// A message for the device.
    ///
    /// `false` where the line is not in use any more: there is another.
    pub(super) fn push(
        self: &Arc<Self>,
        letter: &Arc<Letter>,
        device: Capabilities,
        flow: Option<Flow>,
        waited: bool,
    ) -> bool {
        let id = letter.id();
        let Some(envelope) = letter.envelope() else {
            drain::handed(&self.core, &self.sides.user.aor, &self.sides.device, id, Handed::Refused(400));
            return true;
        };
        let entry = LegEntry {
            id,
            size: letter.queued.body.len(),
            waited,
            receipt: matches!(envelope.kind, chappe_chat::envelope::Kind::Receipt(_)),
        };
        self.tell(|state, now| {
            if state.retired {
                return false;
            }
            if state.device != device {
                state.device = device;
                state.leg.set_device(device, now);
            }
            state.is_over(flow, now);
            state.letters.insert(id, Arc::clone(letter));
            state.leg.push(entry, now);
            true
        })
    }

    /// The device has registered, over this flow.
    pub(super) fn is_over(self: &Arc<Self>, flow: Option<Flow>) {
        self.tell(|state, now| state.is_over(flow, now));
    }

    pub(super) fn paged(self: &Arc<Self>, id: u64, status: u16) {
        self.tell(|state, now| state.leg.handle_paged(id, status, None, now));
    }

    pub(super) fn has_session(&self) -> bool {
        self.state.lock().leg.open_session().is_some()
    }

    /// Sends an indication of typing, where there is a session for it.
    pub(super) fn show(&self, envelope: &Envelope) -> bool {
        let end = {
            let state = self.state.lock();
            let call = state.leg.open_session().and_then(|call| state.calls.get(&call));
            let Some(LineCall { end: Some(end), access, service, .. }) = call else { return false };
            (Arc::clone(end), access.addresses(*service))
        };
        let Body { content_type, bytes } = envelope.for_session(end.1);
        end.0.send(self.message(0, content_type, bytes, FailureReport::No)).is_ok()
    }

    /// The device has said in some way that it has a message.
    pub(super) fn has_message(self: &Arc<Self>, message_id: &str) {
        self.tell(|state, now| {
            let is = |envelope: &Envelope| *envelope.message_id == *message_id;
            if let Some(id) = state.letters.values().find(|one| one.envelope().is_some_and(is)).map(|one| one.id()) {
                state.leg.handle_delivered(id, now);
            }
        });
    }

    pub(super) fn is_done(&self) -> bool {
        self.state.lock().is_done()
    }

    /// Takes it out of use, where there is nothing to do.
    pub(super) fn retire(&self) -> bool {
        let mut state = self.state.lock();
        state.retired = state.is_done();
        state.retired
    }

    /// Tells the leg something, and has done what it wants.
    fn tell<R>(self: &Arc<Self>, news: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.state.lock();
        let now = Instant::now();
        let result = news(&mut state, now);
        let State { leg, actions, .. } = &mut *state;
        actions.extend(std::iter::from_fn(|| leg.poll_action()));
        self.set_alarm(&mut state);
        if !state.busy && !state.actions.is_empty() {
            state.busy = true;
            let line = Arc::clone(self);
            self.core.runtime.spawn(async move { line.work() });
        }
        result
    }

    /// Does what is to be done, until there is nothing.
    fn work(self: &Arc<Self>) {
        loop {
            let action = {
                let mut state = self.state.lock();
                match state.actions.pop_front() {
                    Some(action) => action,
                    None => {
                        state.busy = false;
                        drop(state);
                        self.core.chat.forget(self);
                        return;
                    }
                }
            };
            self.act(action);
        }
    }

    fn act(self: &Arc<Self>, action: Action) {
        match action {
            Action::Invite { call, service, first } => self.invite(call, service, first),
            Action::Accept { call } => self.accept(call),
            Action::Send { call, id } => self.send(call, id),
            Action::Page { id } => drain::page(&self.core, &self.sides.user.aor, &self.sides.device, id),
            Action::Cancel { call } | Action::Bye { call } => {
                let reference = self.state.lock().calls.get(&call).and_then(|call| call.reference.clone());
                match reference {
                    Some(reference) => agent::end(&self.core, &reference, None),
                    None => self.ended(call),
                }
            }
            Action::Confirmed { id } => self.told(id, Handed::Confirmed),
            Action::Return { id, why } => self.told(
                id,
                match why {
                    Why::Later(pause) => Handed::Returned { retry: Some(pause.max(Duration::from_millis(100))) },
                    Why::Away => Handed::Returned { retry: None },
                    Why::Refused(status) => Handed::Refused(status),
                },
            ),
        }
    }

    /// Invites the device.
    fn invite(self: &Arc<Self>, call: Call, service: Service, first: Option<u64>) {
        let rejected = |status| self.tell(|state, now| state.leg.handle_rejected(call, status, None, now));
        let Some(binding) = self.binding() else { return rejected(430) };
        let Some(endpoint) = super::endpoint(&self.core) else { return rejected(488) };
        let (device, about) = {
            let state = self.state.lock();
            let letter = first.and_then(|id| state.letters.get(&id)).or_else(|| state.letters.values().next());
            (state.device, letter.cloned())
        };
        let side = Side::new(self);
        side.is(call);
        let secure = binding.flow.is_some_and(|flow| flow.transport.is_secure());
        let label = &self.sides.user.aor;
        let opened = offer::open(&self.core, endpoint, secure, None, label, side.clone());
        let Ok(end) = opened else { return rejected(503) };
        let Some(offered) = offer::offer(&self.core, endpoint, &end, service) else {
            end.close();
            return rejected(500);
        };
        let access = device.access();
        let made = |parts: &[&[u8]]| chappe_chat::made_id(parts);
        let random = self.core.random().to_be_bytes();
        let envelope = about.as_deref().and_then(Letter::envelope);
        let contribution_id = match envelope.and_then(|envelope| envelope.contribution_id.clone()) {
            Some(id) => id,
            None => made(&[&random]),
        };
        let mut pair = [self.sides.user.aor.as_bytes(), self.sides.peer.aor.as_bytes()];
        pair.sort_unstable();
        let conversation_id =
            envelope.and_then(|envelope| envelope.conversation_id.clone()).unwrap_or_else(|| made(&pair));
        let first_body = first.and(envelope).map(|envelope| envelope.for_session(access.addresses(service)).bytes);
        let (from, to) = (intake::uri(&self.sides.peer.aor), intake::uri(&self.sides.user.aor));
        let domain = self.core.settings.domains.first().map_or("localhost", |domain| domain);
        let written = Outgoing {
            device,
            service,
            sender: &from,
            alias: None,
            domain,
            contribution_id: &contribution_id,
            conversation_id: Some(&conversation_id),
            in_reply_to: envelope.and_then(|envelope| envelope.in_reply_to.as_deref()),
            sdp: &offered.sdp,
            first: first_body.as_deref(),
            random: &self.core.tag(),
        }
        .write();
        let thread = Thread {
            contribution_id: Some(contribution_id),
            conversation_id: Some(conversation_id),
            in_reply_to: None,
            call_id: Box::default(),
        };
        let new = LineCall {
            service,
            thread,
            access,
            reference: None,
            end: Some(end),
            offered: Some(offered),
            invitation: None,
            agreement: None,
            relayed: false,
        };
        {
            let mut state = self.state.lock();
            state.flow = binding.flow;
            state.calls.insert(call, new);
        }
        let reference = agent::invite(
            &self.core,
            NewCall {
                target: CallTarget::Binding(Box::new(binding)),
                from: from.into(),
                to: to.into(),
                headers: written.headers,
                contact_params: device.contact_tags(service).into(),
                body: agent::Body { content_type: written.content_type.into(), bytes: written.body },
                // The leg withdraws it before.
                gives_up: self.core.settings.timer_c,
            },
            side,
        );
        if let Some(call) = self.state.lock().calls.get_mut(&call) {
            call.thread.call_id = reference.call_id().into();
            call.reference = Some(reference);
        }
    }

    /// Takes the call of the device: its first message is on disk before it is answered.
    fn accept(self: &Arc<Self>, call: Call) {
        let (invitation, reference, thread, service) = {
            let mut state = self.state.lock();
            let Some(call) = state.calls.get_mut(&call) else { return };
            let (Some(invitation), Some(reference)) = (call.invitation.take(), call.reference.clone()) else { return };
            (invitation, reference, call.thread.clone(), call.service)
        };
        let first = invitation.first.clone();
        let line = Arc::clone(self);
        let accept = move |core: &Arc<Core>, taken: Result<(), intake::NotTaken>| {
            let status = match taken {
                Ok(()) => match line.accept_now(call, service, &reference, &invitation) {
                    Ok(()) => return,
                    Err(status) => status,
                },
                Err(not) => not.sip(),
            };
            agent::on_shard(core, &reference, move |turn, reference| agent::reject(turn, reference, status, ""));
            line.ended(call);
        };
        let first = first.map(|first| match first {
            First::Cpim(body) => (chappe_imdn::CPIM_TYPE, body),
            First::Text(text) => (TEXT, Bytes::copy_from_slice(text.as_bytes())),
        });
        let read =
            first.map(|(content_type, body)| intake::read(&self.core, &self.sides, &thread, "", content_type, body));
        match read.transpose() {
            Ok(Some(Content::Stored(lot))) => self.store(lot, Box::new(accept)),
            Ok(Some(Content::Composing(_) | Content::Nothing) | None) => accept(&self.core, Ok(())),
            Err(not) => accept(&self.core, Err(not)),
        }
    }

    fn accept_now(
        self: &Arc<Self>,
        call: Call,
        service: Service,
        reference: &CallRef,
        invitation: &Invitation,
    ) -> Result<(), u16> {
        let endpoint = super::endpoint(&self.core).ok_or(488u16)?;
        let side = Side::new(self);
        side.is(call);
        let secure = offer::is_secure(&invitation.sdp);
        let end = offer::open(&self.core, endpoint, secure, None, &self.sides.user.aor, side).map_err(|_| 503u16)?;
        let answered = offer::answer(&self.core, endpoint, &end, &invitation.sdp, service);
        let (agreement, sdp) = match answered {
            Ok(answered) => answered,
            Err(refusal) => {
                tracing::debug!(%refusal, "a chat session cannot be agreed upon");
                end.close();
                return Err(refusal.status());
            }
        };
        if let Some(call) = self.state.lock().calls.get_mut(&call) {
            call.end = Some(Arc::clone(&end));
            call.relayed = agreement.peer_path.len() > 1;
        }
        if agreement.after_ack {
            if let Some(call) = self.state.lock().calls.get_mut(&call) {
                call.agreement = Some(agreement);
            }
        } else {
            end.agreed(&agreement);
        }
        let body = agent::Body { content_type: "application/sdp".into(), bytes: sdp.into() };
        let headers = self.answer_headers(invitation);
        agent::on_shard(&self.core, reference, move |turn, reference| agent::accept(turn, reference, body, &headers));
        Ok(())
    }

    /// What a 2xx to the device's call says of the conversation: there are clients that take none without.
    fn answer_headers(&self, invitation: &Invitation) -> String {
        let mut headers = format!("P-Asserted-Identity: <{}>\r\n", intake::uri(&self.sides.peer.aor));
        for (name, id) in
            [("Contribution-ID", &invitation.contribution_id), ("Conversation-ID", &invitation.conversation_id)]
        {
            if let Some(id) = id {
                headers.extend([name, ": ", id, "\r\n"]);
            }
        }
        headers
    }

    /// Sends a message in the session.
    fn send(self: &Arc<Self>, call: Call, id: u64) {
        let found = {
            let state = self.state.lock();
            let (call, letter) = (state.calls.get(&call), state.letters.get(&id));
            call.zip(letter).and_then(|(call, letter)| {
                let addresses = call.access.addresses(call.service);
                Some((Arc::clone(call.end.as_ref()?), letter.envelope()?.for_session(addresses), call.relayed))
            })
        };
        let Some((end, Body { content_type, bytes }, relayed)) = found else {
            return self.tell(|state, now| state.leg.handle_lost(call, id, now));
        };
        let mut new = self.message(id, content_type, bytes, FailureReport::Yes);
        new.success_report = relayed;
        if end.send(new).is_err() {
            self.tell(|state, now| state.leg.handle_lost(call, id, now));
        }
    }

    fn message(&self, key: u64, content_type: Box<str>, body: Bytes, failure_report: FailureReport) -> NewMessage {
        NewMessage {
            key,
            message_id: self.core.tag().into(),
            content_type,
            headers: Vec::new(),
            body,
            success_report: false,
            failure_report,
        }
    }

    /// What the device sent in a session.
    fn received(self: &Arc<Self>, call: Call, message: Assembled, answer: Answer) {
        let thread = {
            let mut state = self.state.lock();
            state.leg.handle_activity(call, Instant::now());
            state.calls.get(&call).map(|call| call.thread.clone()).unwrap_or_default()
        };
        let content_type = message.head.content_type().unwrap_or(TEXT).to_owned();
        let id = message.head.message_id().unwrap_or_default().to_owned();
        match intake::read(&self.core, &self.sides, &thread, &id, &content_type, message.data.into()) {
            Ok(Content::Stored(lot)) => {
                match lot.delivered() {
                    Some(about) => self.has_message(about),
                    None => self.state.lock().typing.handle_message(),
                }
                let done = move |_: &Arc<Core>, taken: Result<(), intake::NotTaken>| match taken {
                    Ok(()) => answer.ok(),
                    Err(not) => answer.refuse(not.msrp()),
                };
                self.store(lot, Box::new(done));
            }
            Ok(Content::Composing(envelope)) => {
                answer.ok();
                let paged = self.may_page(&envelope);
                super::typing::said(&self.core, &self.sides.peer.aor, &self.sides.user.aor, &envelope, paged);
            }
            Ok(Content::Nothing) => answer.ok(),
            Err(not) => answer.refuse(not.msrp()),
        }
    }

    /// Whether a sign of typing goes out by MESSAGE, too: now and then.
    fn may_page(&self, envelope: &Envelope) -> bool {
        let said = envelope.content().and_then(|content| chappe_imdn::Composing::parse(&content).ok());
        self.state.lock().typing.admit(said.unwrap_or_default().state, TYPING, Instant::now())
    }

    /// The device has our answer.
    fn established(&self, call: Call) {
        let found = self.state.lock().calls.get_mut(&call).and_then(|call| call.end.clone().zip(call.agreement.take()));
        if let Some((end, agreement)) = found {
            end.agreed(&agreement);
        }
    }

    /// Reads the answer to our offer; `false` where there is no session to be had.
    fn agreed(self: &Arc<Self>, call: Call, response: &chappe_sip::Message) -> bool {
        let (end, offered) = {
            let mut state = self.state.lock();
            let Some(call) = state.calls.get_mut(&call) else { return false };
            (call.end.clone(), call.offered.take())
        };
        let (Some(end), Some(offered)) = (end, offered) else { return false };
        match offered.agreed(response.body()) {
            Some(agreement) => {
                if let Some(call) = self.state.lock().calls.get_mut(&call) {
                    call.relayed = agreement.peer_path.len() > 1;
                }
                end.agreed(&agreement);
                true
            }
            None => false,
        }
    }

    /// Stores what the device sent, in the order in which it came.
    fn store(self: &Arc<Self>, lot: Lot, done: intake::Done) {
        let mut inbox = self.inbox.lock();
        inbox.waiting.push((lot, done));
        if std::mem::replace(&mut inbox.storing, true) {
            return;
        }
        drop(inbox);
        let line = Arc::clone(self);
        self.core.runtime.spawn(async move {
            loop {
                let batch = {
                    let mut inbox = line.inbox.lock();
                    inbox.storing = !inbox.waiting.is_empty();
                    std::mem::take(&mut inbox.waiting)
                };
                if batch.is_empty() {
                    return;
                }
                intake::store(&line.core, batch).await;
            }
        });
    }

    fn sent(self: &Arc<Self>, call: Call, id: u64, sent: Sent) {
        if id == 0 {
            return;
        }
        self.tell(|state, now| {
            let relayed = state.calls.get(&call).is_some_and(|call| call.relayed);
            match sent {
                Sent::Confirmed if relayed => {}
                Sent::Confirmed | Sent::Reported => state.leg.handle_confirmed(id, now),
                Sent::Refused(code) => state.leg.handle_refused(call, id, code, now),
                Sent::Lost => state.leg.handle_lost(call, id, now),
                Sent::Written => {}
            }
        });
    }

    /// A call and its MSRP session are over.
    fn ended(self: &Arc<Self>, call: Call) {
        self.tell(|state, now| {
            if let Some(LineCall { end: Some(end), .. }) = state.calls.remove(&call) {
                // A device that loses its connection before it has read our BYE takes the session for broken.
                self.core.runtime.spawn(async move {
                    tokio::time::sleep(PARTING).await;
                    end.close();
                });
            }
            state.leg.handle_ended(call, now);
        });
    }

    fn told(&self, id: u64, fate: Handed) {
        self.state.lock().letters.remove(&id);
        drain::handed(&self.core, &self.sides.user.aor, &self.sides.device, id, fate);
    }

    /// How the device can be reached now.
    fn binding(&self) -> Option<Binding> {
        let core = &self.core;
        core.location.with(&self.sides.user.aor, |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
            let mut found = found.iter().filter(|target| target.binding.device() == &*self.sides.device);
            found.next().map(|target| target.binding.clone())
        })
    }

    fn set_alarm(self: &Arc<Self>, state: &mut State) {
        let Some(due) = state.leg.poll_timeout() else { return };
        if state.alarm.is_some_and(|alarm| alarm <= due) {
            return;
        }
        state.alarm = Some(due);
        let line = Arc::downgrade(self);
        self.core.runtime.spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            if let Some(line) = line.upgrade() {
                line.tell(|state, now| {
                    // One that was set for an earlier time has fired before.
                    if state.alarm == Some(due) {
                        state.alarm = None;
                    }
                    state.leg.handle_timeout(now);
                });
            }
        });
    }
}
