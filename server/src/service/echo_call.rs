//! The partner of a test bed in a message session: takes a call with MSRP and sends back what it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chappe_imdn::{CPIM_TYPE, Cpim, Receipt};
use chappe_msrp::{FailureReport, ReassemblyLimits};
use chappe_sdp::{Agreement, Description, Local, MsrpAnswer, Names, Origin, Refusal, Remote, Rules, TypeList};
use chappe_sip::{HeaderName, Message, Reply, Uri};
use parking_lot::Mutex;

use crate::core::{Core, epoch_ms};
use crate::msrp::endpoint::{Answer, Assembled, End, EndClosed, EndUser, NewEnd, NewMessage, OpenError, Sent};
use crate::service::agent::{self, Body, CallEvent, CallRef, CallUser};
use crate::service::receipt::Facts;
use crate::service::{Request, receipt};
use crate::shard::Turn;

const SDP: &str = "application/sdp";
/// The largest message that is taken: it is in memory as a whole.
const MAX_SIZE: u64 = 8 << 20;
/// Bytes of messages on their way in, in one session: the largest and smaller ones beside it.
const MAX_HELD: usize = 12 << 20;
const LOST: &str = "SIP;cause=480;text=\"Message session lost\"";

/// A call with its session.
struct Echo {
    core: Arc<Core>,
    call: CallRef,
    /// Our URI and the peer's, as in From and To.
    own: Box<str>,
    peer: Box<str>,
    session: Mutex<Option<Session>>,
    keys: AtomicU64,
}

struct Session {
    end: Arc<End>,
    origin: Origin,
    agreement: Agreement,
    /// We connect, and the ACK has not come.
    waits: bool,
}

/// Why there is no session: what the INVITE is answered with.
enum No {
    Status(u16),
    Refusal(Refusal),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> No {
        No::Refusal(refusal)
    }
}

/// INVITE to the echo.
pub fn invite(turn: &mut Turn<'_>, request: Request) {
    let core = Arc::clone(turn.core);
    let message = Arc::clone(&request.message);
    let is_sdp = message.header(HeaderName::ContentType).is_some_and(|value| {
        std::str::from_utf8(value).is_ok_and(|value| chappe_chat::media_type(value).eq_ignore_ascii_case(SDP))
    });
    if !message.body().is_empty() && !is_sdp {
        let reply = Reply::new(&message, 415, &core.tag()).header(HeaderName::Accept, SDP);
        return turn.respond(request.key, 415, reply.finish());
    }
    let flow = request.flow;
    let uri = |header: HeaderName| {
        let address = message.header(header).and_then(|value| chappe_sip::header::NameAddr::parse(value).ok());
        address.map(|address| String::from_utf8_lossy(address.uri).into_owned()).unwrap_or_default().into()
    };
    let mut echo = None;
    let call = agent::take(
        turn,
        request,
        |call| {
            let made = Arc::new(Echo {
                core: Arc::clone(&core),
                call: call.clone(),
                own: uri(HeaderName::To),
                peer: uri(HeaderName::From),
                session: Mutex::default(),
                keys: AtomicU64::new(0),
            });
            echo = Some(Arc::clone(&made));
            made
        },
        "",
    );
    let (Some(call), Some(echo)) = (call, echo) else { return };
    // The address that the peer has for us in SIP will do for MSRP.
    let own = core.hops.sent_by_of(flow.listener, flow.remote.ip());
    match echo.open(&message, own) {
        Ok(answer) => agent::accept(turn, &call, body(&answer), ""),
        Err(No::Status(status)) => agent::reject(turn, &call, status, ""),
        Err(No::Refusal(refusal)) => {
            let warning = format!("Warning: {} {own} \"{refusal}\"\r\n", refusal.warning());
            agent::reject(turn, &call, refusal.status(), &warning);
        }
    }
}

fn body(answer: &Description<'_>) -> Body {
    Body { content_type: SDP.into(), bytes: answer.to_bytes().into() }
}

impl Echo {
    /// Answers the offer of the INVITE with a session of its own.
    fn open(self: &Arc<Self>, message: &Message, own: &str) -> Result<Description<'static>, No> {
        // Nothing is offered by the echo itself.
        if message.body().is_empty() {
            return Err(Refusal::MediaType.into());
        }
        let rules = Rules::default();
        let offer = Description::parse_within(message.body(), &rules).map_err(|error| No::Status(error.status()))?;
        let sections = 0..offer.media().len();
        let read = |index| Remote::read(&offer, index, &rules).map(|remote| (index, remote));
        let (index, remote) = match sections.clone().find_map(|index| read(index).ok()) {
            Some(found) => found,
            // The first that is a message session says why.
            None => {
                let refusals = sections.filter_map(|index| read(index).err());
                return Err(refusals.min_by_key(|r| *r == Refusal::MediaType).unwrap_or(Refusal::MediaType).into());
            }
        };
        let endpoint = self.core.endpoint().ok_or(No::Status(488))?;
        let host = Uri::parse(format!("sip:{own}").as_bytes()).ok().and_then(|uri| uri.ip());
        let new = NewEnd {
            secure: remote.secure,
            reached: host,
            limits: ReassemblyLimits { message: MAX_SIZE, held: MAX_HELD, ..ReassemblyLimits::default() },
            max_size: MAX_SIZE,
            label: self.core.settings.echo.as_deref().unwrap_or("echo").into(),
        };
        let end = endpoint.open(new, Arc::clone(self) as Arc<dyn EndUser>).map_err(|error| match error {
            OpenError::NoListener => No::Refusal(Refusal::Security),
            OpenError::TooMany | OpenError::Stopping => No::Status(503),
        })?;
        let address = host.map_or_else(|| "127.0.0.1".to_owned(), |host| host.to_string());
        let origin = Origin::new(self.core.random() >> 2, &address);
        match self.answer(&offer, index, &end, &origin) {
            Ok((answer, agreement)) => {
                let waits = agreement.after_ack;
                if !waits {
                    end.agreed(&agreement);
                }
                *self.session.lock() = Some(Session { end, origin, agreement, waits });
                Ok(answer)
            }
            Err(refusal) => {
                end.close();
                Err(refusal.into())
            }
        }
    }

    fn answer(
        &self,
        offer: &Description<'_>,
        index: usize,
        end: &End,
        origin: &Origin,
    ) -> Result<(Description<'static>, Agreement), Refusal> {
        let mut answer = MsrpAnswer::new(offer, origin, &Rules::default());
        let types = TypeList::new(["message/cpim", "text/plain", "*"]);
        let mut local = Local::new(end.uri().as_str(), types);
        local.cema = true;
        local.max_size = Some(MAX_SIZE);
        local.fingerprints = self.core.endpoint().and_then(|endpoint| endpoint.fingerprint()).into_iter().collect();
        let agreement = answer.accept(index, &local, &Names::default())?;
        Ok((answer.finish()?, agreement))
    }

    /// Another offer in the same call: the session keeps its URI.
    fn again(&self, message: &Message) -> Result<Body, u16> {
        let mut session = self.session.lock();
        let session = session.as_mut().ok_or(488_u16)?;
        let offer = Description::parse_within(message.body(), &Rules::default()).map_err(|error| error.status())?;
        let origin = session.origin.next_version();
        let index = session.agreement.index;
        let (answer, agreement) =
            self.answer(&offer, index, &session.end, &origin).map_err(|refusal| refusal.status())?;
        session.end.agreed(&agreement);
        (session.origin, session.agreement) = (origin, agreement);
        Ok(body(&answer))
    }

    fn send(&self, end: &Arc<End>, content_type: &str, headers: Vec<(Box<str>, Box<str>)>, body: bytes::Bytes) -> bool {
        let message = NewMessage {
            key: self.keys.fetch_add(1, Ordering::Relaxed),
            message_id: self.core.tag().into(),
            content_type: content_type.into(),
            headers,
            body,
            success_report: false,
            failure_report: FailureReport::Yes,
        };
        end.send(message).is_ok()
    }

    /// Tells the sender that its message arrived, if it asked for that.
    fn receipt(&self, end: &Arc<End>, facts: &Facts, data: &[u8]) {
        let (Some(id), true) = (&facts.message_id, receipt::wants_delivered(facts)) else { return };
        let Ok(envelope) = Cpim::parse(data) else { return };
        let now = epoch_ms();
        let accepted = chappe_imdn::date_time(now);
        let sent = envelope.date_time().unwrap_or(&accepted).to_owned();
        let receipt = Receipt::delivered(&self.own, &self.peer, id, &sent).about(&envelope);
        let mut random = [0; 15];
        random[..8].copy_from_slice(&self.core.random().to_be_bytes());
        random[8..].copy_from_slice(&self.core.random().to_be_bytes()[1..]);
        let body = receipt.to_cpim(&chappe_imdn::message_id(random), now);
        self.send(end, CPIM_TYPE, Vec::new(), body.into());
    }
}

impl CallUser for Echo {
    fn event(self: Arc<Self>, turn: &mut Turn<'_>, call: &CallRef, event: CallEvent) {
        match event {
            CallEvent::Established(_) => {
                if let Some(session) = self.session.lock().as_mut()
                    && std::mem::take(&mut session.waits)
                {
                    session.end.agreed(&session.agreement);
                }
            }
            CallEvent::Offer(offer) => {
                let answer = self.again(&offer);
                agent::answer_offer(turn, call, answer);
            }
            CallEvent::Request { key, request } => {
                agent::respond(turn, call, key, &request, 405, &format!("Allow: {}\r\n", agent::ALLOW));
            }
            CallEvent::Ended { .. } => {
                let session = self.session.lock().take();
                if let Some(session) = session {
                    session.end.close();
                }
            }
            CallEvent::Ringing(_)
            | CallEvent::Answered(_)
            | CallEvent::OfferAnswered(_)
            | CallEvent::OfferRefused { .. }
            | CallEvent::Response { .. } => {}
        }
    }
}

impl EndUser for Echo {
    fn message(&self, end: &Arc<End>, message: Assembled, answer: Answer) {
        let Assembled { head, data } = message;
        let content_type = head.content_type().unwrap_or("text/plain").to_owned();
        let facts = Facts::of_body(&content_type, &data);
        // Neither a receipt nor a sign of typing is a message to answer.
        if facts.is_receipt || chappe_imdn::is_composing(&content_type) || is_composing_inside(&content_type, &data) {
            return answer.ok();
        }
        self.receipt(end, &facts, &data);
        let described = |name: &str| {
            let prefix = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Content-"));
            prefix && !name.eq_ignore_ascii_case("Content-Type")
        };
        let headers = head.lines().filter(|line| described(line.name));
        let headers = headers.map(|line| (line.name.into(), line.value.into())).collect();
        // What cannot be sent back has not arrived.
        if self.send(end, &content_type, headers, data.into()) { answer.ok() } else { answer.refuse(413) }
    }

    fn sent(&self, _end: &Arc<End>, _key: u64, _sent: Sent) {}

    fn closed(&self, _end: &Arc<End>, why: EndClosed) {
        if why != EndClosed::Here {
            agent::end(&self.core, &self.call, Some(LOST));
        }
    }
}

fn is_composing_inside(content_type: &str, data: &[u8]) -> bool {
    matches!(chappe_imdn::classify(content_type, data), Ok(chappe_imdn::Content::Composing))
}
