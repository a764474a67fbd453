//! A file of the content server on its way by MSRP to a device that takes files in no other way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chappe_api::files::{Depot as _, FileError, Found, Which};
use chappe_chat::file::{NotTaken, after_invite, after_refusal};
use chappe_chat::outgoing::Outgoing;
use chappe_chat::{Capabilities, Service};
use chappe_content::FileDocument;
use chappe_msrp::{FailureReport, ReassemblyLimits};
use chappe_sdp::{
    Agreement, Description, Direction, FileDescription, FileSelector, Local, MsrpOffer, Names, Origin, Outcome, Rules,
    TypeList,
};
use chappe_sip::registrar::Binding;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::{Letter, endpoint, intake};
use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::msrp::endpoint::{Answer, Assembled, End, EndClosed, EndUser, NewEnd, NewStream, Room, Sent};
use crate::service::agent::{self, Body, CallEnd, CallEvent, CallRef, CallTarget, CallUser, NewCall};
use crate::service::drain::{self, Handed};
use crate::shard::Turn;

/// The one stream of a session.
const KEY: u64 = 1;
/// After a transfer that was cut.
const PAUSE: Duration = Duration::from_secs(2);
const ALLOW: &str = concat!("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE", "\r\n");

/// From the BYE of a device to what its MSRP connection may still tell.
const PARTING: Duration = Duration::from_secs(1);

/// One transfer.
struct Give {
    core: Arc<Core>,
    aor: Box<str>,
    device: Box<str>,
    /// Of the message in the queue.
    letter: Arc<Letter>,
    state: Mutex<State>,
    /// There is room for more.
    room: Notify,
    told: AtomicBool,
}

#[derive(Default)]
struct State {
    end: Option<Arc<End>>,
    offer: Option<MsrpOffer>,
    found: Option<Found>,
    call: Option<CallRef>,
    /// The device is behind a relay, whose 200 says nothing of the device.
    relayed: bool,
}

/// Begins it.
pub(super) fn give(
    core: &Arc<Core>,
    aor: &str,
    binding: Binding,
    letter: Arc<Letter>,
    peer: Arc<Entry>,
    id: String,
    document: FileDocument,
) {
    let give = Arc::new(Give {
        core: Arc::clone(core),
        aor: aor.into(),
        device: binding.device().into(),
        letter,
        state: Mutex::default(),
        room: Notify::new(),
        told: AtomicBool::new(false),
    });
    core.runtime.spawn(async move { give.begin(binding, &peer, &id, &document).await });
}

impl Give {
    async fn begin(self: Arc<Self>, binding: Binding, peer: &Entry, id: &str, document: &FileDocument) {
        let (Some(files), Some(endpoint)) = (self.core.files(), endpoint(&self.core)) else {
            return self.tell(Handed::Returned { retry: None });
        };
        let found = match files.depot.find(id, Which::File).await {
            Ok(found) => found,
            // Nobody can bring it any more.
            Err(FileError::NotFound) => return self.tell(Handed::Refused(404)),
            Err(FileError::Expired) => return self.tell(Handed::Refused(410)),
            Err(_) => return self.tell(Handed::Returned { retry: Some(PAUSE) }),
        };
        let new = NewEnd {
            secure: binding.flow.is_some_and(|flow| flow.transport.is_secure()),
            reached: None,
            limits: ReassemblyLimits { message: 64 * 1024, ..ReassemblyLimits::default() },
            max_size: 64 * 1024,
            label: (&*self.aor).into(),
        };
        let Ok(end) = endpoint.open(new, Arc::clone(&self) as Arc<dyn EndUser>) else {
            return self.tell(Handed::Returned { retry: Some(PAUSE) });
        };
        let mut local = Local::new(end.uri().as_str(), TypeList::any());
        local.direction = Direction::SEND_ONLY;
        local.fingerprints = endpoint.fingerprint().into_iter().collect();
        local.file = Some(FileDescription {
            selector: FileSelector {
                name: Some(found.name.to_string()),
                size: Some(found.size),
                media_type: Some(found.content_type.to_string()),
                hashes: Vec::new(),
            },
            // New for each transfer, also for one that is tried again (RFC 5547 §6).
            transfer_id: Some(format!("{}{}", self.core.tag(), self.core.tag())),
            disposition: Some(document.file.disposition.as_deref().unwrap_or("attachment").to_owned()),
            ..FileDescription::default()
        });
        let offer = match MsrpOffer::new(local) {
            Ok(offer) => offer,
            Err(error) => {
                tracing::debug!(%error, "a file cannot be offered");
                end.close();
                return self.tell(Handed::Refused(415));
            }
        };
        let mut description = Description::new(&Origin::new(epoch_seconds(), end.uri().uri().host));
        description.push(offer.media().clone());
        let sdp = description.to_bytes();
        let device = Capabilities::of(binding.params(), binding.user_agent());
        let (from, to) = (intake::uri(&peer.aor), intake::uri(&self.aor));
        let envelope = self.letter.envelope();
        let contribution_id = envelope.and_then(|envelope| envelope.contribution_id.clone());
        let contribution_id =
            contribution_id.unwrap_or_else(|| chappe_chat::made_id(&[&self.core.random().to_be_bytes()]));
        let written = Outgoing {
            device,
            service: Service::FileTransfer,
            sender: &from,
            alias: None,
            domain: self.core.settings.domains.first().map_or("localhost", |domain| domain),
            contribution_id: &contribution_id,
            conversation_id: envelope.and_then(|envelope| envelope.conversation_id.as_deref()),
            in_reply_to: None,
            sdp: &sdp,
            first: None,
            random: &self.core.tag(),
        }
        .write();
        {
            let mut state = self.state.lock();
            (state.end, state.offer, state.found) = (Some(end), Some(offer), Some(found));
        }
        let new = NewCall {
            target: CallTarget::Binding(Box::new(binding)),
            from: from.into(),
            to: to.into(),
            headers: written.headers,
            contact_params: device.contact_tags(Service::FileTransfer).into(),
            body: Body { content_type: written.content_type.into(), bytes: written.body },
            gives_up: self.core.settings.timer_c,
        };
        let call = agent::invite(&self.core, new, Arc::clone(&self) as Arc<dyn CallUser>);
        self.state.lock().call = Some(call);
    }

    /// Tells the drain what became of it, once.
    fn tell(&self, fate: Handed) {
        if !self.told.swap(true, Ordering::AcqRel) {
            drain::handed(&self.core, &self.aor, &self.device, self.letter.id(), fate);
        }
    }

    fn not_taken(&self, not: NotTaken, retry: Option<Duration>) {
        self.tell(match not {
            NotTaken::Never(status) => Handed::Refused(status),
            NotTaken::Later => Handed::Returned { retry },
        });
    }

    /// Reads the answer, and begins to send.
    fn answered(self: &Arc<Self>, body: &[u8]) -> bool {
        let (end, offer, found) = {
            let mut state = self.state.lock();
            (state.end.clone(), state.offer.take(), state.found.take())
        };
        let (Some(end), Some(offer), Some(found)) = (end, offer, found) else { return false };
        let Some(agreement) = agreed(&offer, body) else { return false };
        let relayed = agreement.peer_path.len() > 1;
        self.state.lock().relayed = relayed;
        end.agreed(&agreement);
        let give = Arc::clone(self);
        self.core.runtime.spawn(async move { give.send(&end, found, relayed).await });
        true
    }

    /// Sends the content, as fast as the device takes it.
    async fn send(&self, end: &Arc<End>, found: Found, relayed: bool) {
        let head = NewStream {
            key: KEY,
            message_id: self.core.tag().into(),
            content_type: found.content_type.clone(),
            headers: Vec::new(),
            total: Some(found.size),
            success_report: relayed,
            failure_report: FailureReport::Yes,
        };
        let Ok(mut sink) = end.stream(head) else { return };
        let Ok(mut content) = found.content.read(0, found.size).await else {
            sink.abort();
            self.tell(Handed::Returned { retry: Some(PAUSE) });
            return self.hang_up();
        };
        while let Some(bytes) = content.next().await {
            let Ok(bytes) = bytes else {
                sink.abort();
                self.tell(Handed::Returned { retry: Some(PAUSE) });
                return self.hang_up();
            };
            // Whoever closed the session has told why.
            match sink.write(bytes) {
                Ok(Room::Ready) => {}
                Ok(Room::Full) => self.room.notified().await,
                Err(_) => return,
            }
        }
        let _ = sink.finish();
    }

    /// The device has ended the call: it has all, which its last answer by MSRP is about to tell, or its user has seen enough.
    fn left(self: &Arc<Self>) {
        let give = Arc::clone(self);
        self.core.runtime.spawn(async move {
            tokio::time::sleep(PARTING).await;
            give.tell(Handed::Refused(603));
            give.close();
        });
    }

    fn hang_up(&self) {
        let call = self.state.lock().call.clone();
        if let Some(call) = call {
            agent::end(&self.core, &call, None);
        }
    }

    fn close(&self) {
        let end = self.state.lock().end.take();
        if let Some(end) = end {
            end.close();
        }
        self.room.notify_one();
    }
}

fn agreed(offer: &MsrpOffer, body: &[u8]) -> Option<Agreement> {
    let rules = Rules::default();
    let description = Description::parse_within(body, &rules).ok()?;
    match offer.read_answer(&description, 0, 1, &Names::default(), &rules) {
        Ok(Outcome::Agreed(agreement)) => Some(*agreement),
        Ok(Outcome::Refused | Outcome::Reoffer) => None,
        Err(error) => {
            tracing::debug!(%error, "an answer that does not fit the offer of a file");
            None
        }
    }
}

impl CallUser for Give {
    fn event(self: Arc<Self>, turn: &mut Turn<'_>, call: &CallRef, event: CallEvent) {
        match event {
            CallEvent::Answered(response) => {
                if !self.answered(response.body()) {
                    self.tell(Handed::Refused(488));
                    agent::end_here(turn, call, None);
                }
            }
            CallEvent::Ended { why, .. } => {
                match why {
                    CallEnd::Failed { status, .. } => self.not_taken(after_invite(status), Some(PAUSE)),
                    CallEnd::Peer => return self.left(),
                    _ => self.tell(Handed::Returned { retry: Some(PAUSE) }),
                }
                self.close();
            }
            CallEvent::Offer(_) => agent::answer_offer(turn, call, Err(488)),
            CallEvent::Request { key, request } => agent::respond(turn, call, key, &request, 405, ALLOW),
            CallEvent::Established(_)
            | CallEvent::Ringing(_)
            | CallEvent::OfferAnswered(_)
            | CallEvent::OfferRefused { .. }
            | CallEvent::Response { .. } => {}
        }
    }
}

impl EndUser for Give {
    fn message(&self, _end: &Arc<End>, _message: Assembled, answer: Answer) {
        answer.refuse(415);
    }

    fn writable(&self, _end: &Arc<End>, _key: u64) {
        self.room.notify_one();
    }

    fn sent(&self, _end: &Arc<End>, key: u64, sent: Sent) {
        if key != KEY {
            return;
        }
        let relayed = self.state.lock().relayed;
        match sent {
            Sent::Written => return,
            Sent::Confirmed if relayed => return,
            Sent::Confirmed | Sent::Reported => self.tell(Handed::Confirmed),
            Sent::Refused(code) => self.not_taken(after_refusal(code), Some(PAUSE)),
            Sent::Lost => self.tell(Handed::Returned { retry: Some(PAUSE) }),
        }
        // RFC 5547 §8.4: the sender ends it.
        self.hang_up();
        self.room.notify_one();
    }

    fn closed(&self, _end: &Arc<End>, why: EndClosed) {
        self.room.notify_one();
        if why != EndClosed::Here {
            self.tell(Handed::Returned { retry: Some(PAUSE) });
            self.hang_up();
        }
    }
}
