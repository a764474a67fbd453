//! The calls of one shard, and how what they want is done.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use ahash::RandomState;
use chappe_sip::dialog::DialogId;
use chappe_sip::layer::{ClientKey, Dest};
use chappe_sip::usage::{Event, Output, RequestId, Usage};
use chappe_sip::{Flow, Message, Method};

use super::wire;
use super::{ALLOW, CallRef, CallUser};
use crate::service::notify;
use crate::shard::Turn;

/// One call.
pub(super) struct Call {
    pub(super) usage: Usage,
    user: Arc<dyn CallUser>,
    reference: CallRef,
    /// Where the peer was last heard, or is reached.
    pub(super) flow: Option<Flow>,
    /// Where the INVITE came from or goes to.
    pub(super) first: Dest,
    /// The INVITE under way.
    pub(super) client: Option<(RequestId, ClientKey)>,
    dialog: Option<DialogId>,
    /// It came in.
    taken: bool,
    due: Option<Instant>,
    /// What it wants is being done: not to be begun anew from within.
    settling: bool,
    busy: bool,
}

impl Call {
    pub(super) fn new(
        mut usage: Usage,
        user: Arc<dyn CallUser>,
        reference: CallRef,
        flow: Option<Flow>,
        first: Dest,
    ) -> Call {
        if user.hears_subjects() {
            usage.hear_subjects();
        }
        Call {
            taken: usage.dialog().is_some(),
            usage,
            user,
            reference,
            flow,
            first,
            client: None,
            dialog: None,
            due: None,
            settling: false,
            busy: true,
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.reference.number()
    }
}

/// The calls whose Call-ID belongs to one shard.
#[derive(Default)]
pub struct Calls {
    calls: HashMap<u32, Call, RandomState>,
    by_dialog: HashMap<DialogId, u32, RandomState>,
    /// Call-ID and From tag of the INVITEs that were taken.
    taken: HashSet<(Box<str>, Box<str>), RandomState>,
    due: BTreeSet<(Instant, u32)>,
}

impl Calls {
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn insert(&mut self, call: Call) {
        self.calls.insert(call.number(), call);
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Call> {
        self.calls.get_mut(&number)
    }

    pub(super) fn of_dialog(&self, id: &DialogId) -> Option<u32> {
        self.by_dialog.get(id).copied()
    }

    /// The CSeq of the last request that the call of a dialog has sent, where there is a call.
    pub fn local_seq(&self, id: &DialogId) -> Option<Option<u32>> {
        let call = self.calls.get(self.by_dialog.get(id)?)?;
        Some(call.usage.dialog().and_then(|dialog| dialog.local_seq()))
    }

    /// Another user of the dialog of a call has sent a request with this CSeq.
    pub fn continue_after(&mut self, id: &DialogId, seq: Option<u32>) {
        if let Some(call) = self.by_dialog.get(id).and_then(|number| self.calls.get_mut(number)) {
            call.usage.continue_after(seq);
        }
    }

    pub(super) fn all(&self) -> Vec<CallRef> {
        self.calls.values().map(|call| call.reference.clone()).collect()
    }

    /// Whether there is a call that an INVITE with the same Call-ID and tag made.
    pub(super) fn is_merged(&self, invite: &Message) -> bool {
        let text = |bytes| Box::from(String::from_utf8_lossy(bytes));
        self.taken.contains(&(text(invite.call_id()), text(invite.from_tag())))
    }

    fn schedule(&mut self, number: u32, at: Option<Instant>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.due == at {
            return;
        }
        if let Some(old) = std::mem::replace(&mut call.due, at) {
            self.due.remove(&(old, number));
        }
        if let Some(at) = at {
            self.due.insert((at, number));
        }
    }
}

/// Does something with a call and what follows from it; `None` where there is no such call any more.
pub(super) fn with<R>(turn: &mut Turn<'_>, call: &CallRef, work: impl FnOnce(&mut Usage) -> R) -> Option<R> {
    let number = call.number();
    let result = work(&mut turn.shard.calls.get_mut(number)?.usage);
    settle(turn, number);
    Some(result)
}

/// Sends what a call wants to send, tells its user what there is to tell, until both are done; sets its clock.
pub(super) fn settle(turn: &mut Turn<'_>, number: u32) {
    let Some(call) = turn.shard.calls.get_mut(number) else { return };
    if std::mem::replace(&mut call.settling, true) {
        return;
    }
    loop {
        note_dialog(turn, number);
        let Some(call) = turn.shard.calls.get_mut(number) else { break };
        if let Some(output) = call.usage.poll_output() {
            carry_out(turn, number, output);
        } else if let Some(event) = call.usage.poll_event() {
            tell(turn, number, event);
        } else {
            break;
        }
    }
    let Some(call) = turn.shard.calls.get_mut(number) else { return };
    call.settling = false;
    if call.busy && call.usage.has_ended() && !call.usage.is_waiting() {
        call.busy = false;
        turn.core.calls.no_longer_busy();
    }
    let (over, due) = (call.usage.is_over(), call.usage.poll_timeout());
    if over {
        remove(turn, number);
    } else {
        turn.shard.calls.schedule(number, due);
    }
}

fn note_dialog(turn: &mut Turn<'_>, number: u32) {
    let calls = &mut turn.shard.calls;
    let Some(call) = calls.calls.get_mut(&number) else { return };
    if call.dialog.is_none()
        && let Some(dialog) = call.usage.dialog()
    {
        call.dialog = Some(dialog.id.clone());
        if call.taken {
            calls.taken.insert((dialog.id.call_id.clone(), dialog.id.remote_tag.clone()));
        }
        calls.by_dialog.insert(dialog.id.clone(), number);
    }
}

fn remove(turn: &mut Turn<'_>, number: u32) {
    turn.shard.calls.schedule(number, None);
    if let Some(call) = turn.shard.calls.calls.remove(&number) {
        if let Some(dialog) = &call.dialog {
            let seq = call.usage.dialog().and_then(|dialog| dialog.local_seq());
            notify::dialog_left(turn, dialog, seq);
            turn.shard.calls.by_dialog.remove(dialog);
            if call.taken {
                turn.shard.calls.taken.remove(&(dialog.call_id.clone(), dialog.remote_tag.clone()));
            }
        }
        turn.core.calls.remove(&call.reference.0.peer);
    }
}

fn carry_out(turn: &mut Turn<'_>, number: u32, output: Output) {
    match output {
        Output::Respond { key, status, bytes } => turn.respond(key, status, bytes),
        Output::Request(request) => wire::request(turn, number, request),
        Output::Ack(ack) => wire::ack(turn, number, ack),
        Output::Cancel { id, reason } => {
            let Some(call) = turn.shard.calls.get_mut(number) else { return };
            match call.client.filter(|(of, _)| *of == id).map(|(_, client)| client) {
                Some(client) => {
                    turn.shard.layer.cancel(turn.now, client, reason.as_deref());
                }
                // It has not been sent: its next hop is being looked up.
                None => call.usage.handle_failure(turn.now, id, 487),
            }
        }
    }
}

fn tell(turn: &mut Turn<'_>, number: u32, event: Event) {
    let Some(call) = turn.shard.calls.get_mut(number) else { return };
    if let Event::Request { key, request } = &event
        && request.method() == Method::Options
    {
        return call.usage.respond(*key, request, 200, &format!("Allow: {ALLOW}\r\nAccept: application/sdp\r\n"));
    }
    let (user, reference) = (Arc::clone(&call.user), call.reference.clone());
    user.event(turn, &reference, event);
}

pub(super) fn fire(turn: &mut Turn<'_>) {
    while let Some((at, number)) = turn.shard.calls.due.first().copied() {
        if at > turn.now {
            return;
        }
        turn.shard.calls.schedule(number, None);
        let now = turn.now;
        if let Some(call) = turn.shard.calls.get_mut(number) {
            call.usage.handle_timeout(now);
            settle(turn, number);
        }
    }
}
