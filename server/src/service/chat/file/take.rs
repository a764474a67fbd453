//! A file that comes by MSRP for somebody who does not take it now: it becomes a file of the content server, and a message
//! tells of it. Both are on disk before its last chunk has a 200.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chappe_api::files::{Depot as _, FileError, Incoming, NewFile, Picture, Uploaded};
use chappe_chat::file::{Extent, FileOffer, InOrder};
use chappe_chat::invitation::Invitation;
use chappe_content::range::ContentRange;
use chappe_content::{FILE_TYPE, media, name};
use chappe_imdn::{CPIM_TYPE, IMDN_NAMESPACE, date_time};
use chappe_msrp::{Head, ReassemblyLimits};
use chappe_sdp::{Agreement, Description, Direction, Local, MsrpAnswer, Names, Origin, Refusal, Rules, TypeList};
use chappe_sip::{HeaderName, multipart};
use futures_util::StreamExt;
use parking_lot::Mutex;
use ring::digest;
use tokio::sync::{Notify, mpsc};

use super::super::intake::{self, Content, NotTaken, Thread};
use super::super::{Sides, endpoint};
use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::msrp::endpoint::{Answer, Assembled, End, EndClosed, EndUser, Intake, NewEnd, Reception, Sent, StreamEnd};
use crate::service::Request;
use crate::service::agent::{self, Body, CallEvent, CallRef, CallUser};
use crate::shard::Turn;

/// Bytes that wait for the disk, from which on the connection is not read.
const WAITING: usize = 1 << 20;
/// From the last chunk to the sender's BYE; then we end the call.
const PARTING: Duration = Duration::from_secs(10);
const ALLOW: &str = concat!("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE", "\r\n");

/// One transfer.
struct Take {
    core: Arc<Core>,
    sides: Sides,
    offer: FileOffer,
    sdp: Bytes,
    thread: Thread,
    message_id: Box<str>,
    call: CallRef,
    pieces: mpsc::UnboundedSender<Piece>,
    state: Mutex<State>,
    /// The call is over.
    ended: Notify,
}

#[derive(Default)]
struct State {
    end: Option<Arc<End>>,
    /// To be acted upon when the ACK has come.
    agreement: Option<Agreement>,
    order: InOrder,
    waiting: usize,
    paused: bool,
    over: bool,
}

enum Piece {
    Data(Bytes),
    /// All is there: so many bytes.
    Complete(u64, Answer),
    Broken,
}

/// Why a file is not taken before its first byte.
struct No {
    status: u16,
    why: String,
}

impl From<FileError> for No {
    fn from(error: FileError) -> No {
        use chappe_content::Refusal;
        let status = match &error {
            // What clients know (GSMA RCC.07 §3.5: 403 with a Warning that says so).
            FileError::Refused(Refusal::Size { .. } | Refusal::ThumbnailSize { .. } | Refusal::Quota { .. }) => 403,
            FileError::Refused(Refusal::Type { .. }) => 415,
            FileError::Busy { .. } | FileError::Unavailable | FileError::Full => 503,
            _ => 488,
        };
        No { status, why: error.to_string() }
    }
}

/// Takes the call.
pub(super) fn called(turn: &mut Turn<'_>, request: Request, sides: Sides, offer: FileOffer, invitation: &Invitation) {
    let core = Arc::clone(turn.core);
    let thread = Thread {
        contribution_id: invitation.contribution_id.clone(),
        conversation_id: invitation.conversation_id.clone(),
        in_reply_to: invitation.in_reply_to.clone(),
        call_id: String::from_utf8_lossy(request.message.call_id()).into(),
    };
    let message_id = offer.message_id(request.message.call_id());
    let icon = icon(&request.message, &offer);
    let flow = request.flow;
    let tags = invitation.device.contact_tags(invitation.service);
    let (pieces, incoming) = mpsc::unbounded_channel();
    let mut made = None;
    let taken = agent::take(
        turn,
        request,
        |call| {
            let take = Arc::new(Take {
                core: Arc::clone(&core),
                sides,
                offer,
                sdp: invitation.sdp.clone(),
                thread,
                message_id,
                call: call.clone(),
                pieces,
                state: Mutex::default(),
                ended: Notify::new(),
            });
            made = Some(Arc::clone(&take));
            take
        },
        &tags,
    );
    let (Some(_), Some(take)) = (taken, made) else { return };
    let own = core.hops.sent_by_of(flow.listener, flow.remote.ip()).to_owned();
    core.runtime.clone().spawn(async move { take.run(incoming, icon, own).await });
}

/// The small picture of the file, which came beside its description (RFC 5547 §7).
fn icon(message: &chappe_sip::Message, offer: &FileOffer) -> Option<Picture> {
    offer.file.icon.as_ref()?;
    let content_type = message.header(HeaderName::ContentType)?;
    let kinds = ["image/jpeg", "image/png", "image/gif", "image/webp"];
    let (kind, part) = kinds.iter().find_map(|kind| {
        let part = multipart::find(content_type, message.body(), &[kind]).ok().flatten()?;
        Some((kind, part))
    })?;
    let encoding = part.header("Content-Transfer-Encoding").unwrap_or(b"binary");
    let bytes = if encoding.eq_ignore_ascii_case(b"base64") {
        let text: Vec<u8> = part.body.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok()?
    } else {
        part.body.to_vec()
    };
    Some(Picture { content_type: (*kind).to_owned(), bytes: bytes.into() }).filter(|picture| !picture.bytes.is_empty())
}

impl Take {
    fn depot(&self) -> Option<&super::FileBox> {
        self.core.files()
    }

    async fn run(self: Arc<Self>, mut pieces: mpsc::UnboundedReceiver<Piece>, icon: Option<Picture>, own: String) {
        let begun = match self.begin(icon).await {
            Ok(begun) => match self.open(&begun.1, &own) {
                Ok(answer) => Ok((begun, answer)),
                Err(no) => {
                    begun.0.discard().await;
                    Err(no)
                }
            },
            Err(no) => Err(no),
        };
        let ((incoming, extent), answer) = match begun {
            Ok(begun) => begun,
            Err(No { status, why }) => {
                tracing::debug!(status, %why, "a file is not taken");
                let why: String = why.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
                let warning = format!("Warning: 399 {own} \"{why}\"\r\n");
                agent::on_shard(&self.core, &self.call, move |turn, call| agent::reject(turn, call, status, &warning));
                return;
            }
        };
        let headers = format!("P-Asserted-Identity: <{}>\r\n", intake::uri(&self.sides.peer.aor));
        agent::on_shard(&self.core, &self.call, move |turn, call| agent::accept(turn, call, answer, &headers));
        self.receive(&mut pieces, incoming, extent).await;
        // The sender ends the call of a file that it has sent (RFC 5547 §8.4).
        let _ = tokio::time::timeout(PARTING, self.ended.notified()).await;
        agent::end(&self.core, &self.call, None);
        self.close();
    }

    /// Finds a place for the file, and what of it is to come.
    async fn begin(&self, icon: Option<Picture>) -> Result<(Box<dyn Incoming>, Extent), No> {
        let files = self.depot().ok_or(FileError::Unavailable)?;
        let selector = &self.offer.file.selector;
        let extent = self.offer.extent();
        let extent = extent.ok_or_else(|| No { status: 488, why: "this range cannot be taken".into() })?;
        let content_type = selector.media_type.as_deref().and_then(media::checked).unwrap_or(media::UNKNOWN);
        let policy = files.depot.policy();
        policy.check_type(content_type).map_err(FileError::from)?;
        let (owner, key) = (&self.sides.user.aor, self.offer.key(&self.sides.user.aor, &self.sides.peer.aor));
        let expected = selector.size;
        if let Some(size) = expected {
            policy.check_size(size, 0).map_err(FileError::from)?;
        }
        if extent.first > 0 {
            let unknown = || No { status: 488, why: "nothing is known of the first part of this file".into() };
            let progress = files.depot.progress(owner, &key.ok_or_else(unknown)?).await.map_err(|_| unknown())?;
            let range = ContentRange { first: extent.first, last: extent.size - 1, size: extent.size };
            return Ok((files.depot.resume(owner, &progress.token, range).await?, extent));
        }
        // With the margin that is left for the form around a file: none is here.
        let expected = expected.map(|size| size.saturating_add(64 * 1024));
        let new = NewFile {
            owner: owner.clone(),
            tid: key.map(Into::into),
            name: name::harmless(&self.offer.name()),
            content_type: content_type.to_owned(),
            expected,
        };
        let mut incoming = files.depot.begin(new).await?;
        let fits = |picture: &Picture| picture.bytes.len() as u64 <= policy.max_thumbnail;
        if let Some(picture) = icon.filter(fits)
            && let Err(error) = incoming.picture(picture).await
        {
            incoming.discard().await;
            return Err(error.into());
        }
        Ok((incoming, extent))
    }

    /// Our end of the session, and the answer that names it.
    fn open(self: &Arc<Self>, extent: &Extent, own: &str) -> Result<Body, No> {
        let no = |status| move |why: String| No { status, why };
        let endpoint = endpoint(&self.core).ok_or_else(|| no(488)("no message sessions".into()))?;
        let host = chappe_sip::Uri::parse(format!("sip:{own}").as_bytes()).ok().and_then(|uri| uri.ip());
        let max = self.depot().map_or(0, |files| files.depot.policy().max_size);
        let max_size = (extent.size - extent.first).min(max);
        let new = NewEnd {
            secure: self.offer.secure,
            reached: host,
            limits: ReassemblyLimits { message: 64 * 1024, ..ReassemblyLimits::default() },
            max_size,
            label: (&*self.sides.user.aor).into(),
        };
        let opened = endpoint.open(new, Arc::clone(self) as Arc<dyn EndUser>);
        let end = opened.map_err(|error| no(503)(error.to_string()))?;
        let (agreement, sdp) = match self.answer(&end, endpoint.fingerprint().into_iter().collect(), max_size) {
            Ok(agreed) => agreed,
            Err(refusal) => {
                end.close();
                return Err(no(refusal.status())(refusal.to_string()));
            }
        };
        let mut state = self.state.lock();
        if state.over {
            end.close();
            return Err(no(487)("the call is over".into()));
        }
        state.end = Some(Arc::clone(&end));
        if agreement.after_ack {
            state.agreement = Some(agreement);
        } else {
            drop(state);
            end.agreed(&agreement);
        }
        Ok(Body { content_type: "application/sdp".into(), bytes: sdp.into() })
    }

    fn answer(
        &self,
        end: &End,
        fingerprints: Vec<chappe_sdp::Fingerprint>,
        max_size: u64,
    ) -> Result<(Agreement, Vec<u8>), Refusal> {
        let rules = Rules::default();
        let offer = Description::parse_within(&self.sdp, &rules).map_err(|_| Refusal::MediaType)?;
        let mut local = Local::new(end.uri().as_str(), TypeList::any());
        local.direction = Direction::RECEIVE_ONLY;
        local.max_size = Some(max_size);
        local.fingerprints = fingerprints;
        let origin = Origin::new(epoch_seconds(), end.uri().uri().host);
        let mut answer = MsrpAnswer::new(&offer, &origin, &rules);
        let agreement = answer.accept(self.offer.index, &local, &Names::default())?;
        Ok((agreement, answer.finish()?.to_bytes()))
    }

    /// Writes what comes, until all is there or nothing more comes.
    async fn receive(
        &self,
        pieces: &mut mpsc::UnboundedReceiver<Piece>,
        mut incoming: Box<dyn Incoming>,
        extent: Extent,
    ) {
        let mut hash = (extent.first == 0).then(|| digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY));
        let mut received = extent.first;
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Data(data) => {
                    let length = data.len();
                    if let Some(hash) = &mut hash {
                        hash.update(&data);
                    }
                    if let Err(error) = incoming.write(data).await {
                        tracing::debug!(%error, "a file that comes by MSRP is not taken");
                        self.refused(&error);
                        incoming.discard().await;
                        return;
                    }
                    received += length as u64;
                    self.written(length);
                }
                Piece::Complete(total, answer) => {
                    let expected = self.offer.file.selector.size;
                    if extent.first.checked_add(total) != Some(received)
                        || expected.is_some_and(|size| size != received)
                    {
                        self.refused(&FileError::Length);
                        incoming.discard().await;
                        return answer.refuse(400);
                    }
                    let hash = hash.map(digest::Context::finish);
                    match self.complete(incoming, hash.as_ref().map(AsRef::as_ref)).await {
                        Ok(()) => answer.ok(),
                        Err(code) => answer.refuse(code),
                    }
                    return;
                }
                Piece::Broken => break,
            }
        }
        // Where it has a name its sender can go on with it.
        let goes_on = self.offer.key("", "").is_some() && received > 0;
        if goes_on {
            let _ = incoming.keep().await;
        } else {
            incoming.discard().await;
        }
    }

    /// All is there: a file, and a message that tells of it. The error is an MSRP code.
    async fn complete(&self, incoming: Box<dyn Incoming>, hash: Option<&[u8]>) -> Result<(), u16> {
        let files = self.depot().ok_or(408u16)?;
        let wanted = self.offer.file.selector.hash("sha-1");
        if let (Some(hash), Some(wanted)) = (hash, wanted)
            && hash != wanted
        {
            self.refused(&FileError::Length);
            incoming.discard().await;
            return Err(400);
        }
        let uploaded = incoming.finish().await.map_err(|error| {
            self.refused(&error);
            code(&error)
        })?;
        if let (None, Some(wanted)) = (hash, wanted)
            && self.content_hash(files, &uploaded).await.is_none_or(|hash| hash.as_ref() != wanted)
        {
            let _ = files.depot.remove(&self.sides.user.aor, &uploaded.id).await;
            return Err(400);
        }
        self.tell(files, &uploaded).await
    }

    /// The hash of a file that came in parts.
    async fn content_hash(&self, files: &super::FileBox, uploaded: &Uploaded) -> Option<digest::Digest> {
        let found = files.depot.find(&uploaded.id, chappe_api::files::Which::File).await.ok()?;
        let mut stream = found.content.read(0, found.size).await.ok()?;
        let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        while let Some(data) = stream.next().await {
            hash.update(&data.ok()?);
        }
        Some(hash.finish())
    }

    /// Puts the message that tells of a file into the recipient's queue.
    async fn tell(&self, files: &super::FileBox, uploaded: &Uploaded) -> Result<(), u16> {
        let mut document = chappe_api::files::document(uploaded, &files.base);
        document.file.disposition = self.offer.is_rendered().then(|| "render".to_owned());
        let (from, to) = (intake::uri(&self.sides.user.aor), intake::uri(&self.sides.peer.aor));
        let body = chappe_imdn::Envelope::new(&from, &to)
            .namespace("imdn", IMDN_NAMESPACE)
            .header("imdn.Message-ID", &self.message_id)
            .header("DateTime", &date_time(epoch_ms()))
            .header("imdn.Disposition-Notification", "positive-delivery, display")
            .content(FILE_TYPE, &[], document.to_xml().as_bytes());
        let read = intake::read(&self.core, &self.sides, &self.thread, &self.message_id, CPIM_TYPE, body.into());
        let messages = match read {
            Ok(Content::Stored(messages)) => messages,
            Ok(Content::Composing(_) | Content::Nothing) => return Ok(()),
            Err(not) => {
                let _ = files.depot.remove(&self.sides.user.aor, &uploaded.id).await;
                return Err(not.msrp());
            }
        };
        let (done, stored) = tokio::sync::oneshot::channel::<Result<(), NotTaken>>();
        let tell = move |_: &Arc<Core>, taken| {
            let _ = done.send(taken);
        };
        intake::store(&self.core, vec![(messages, Box::new(tell))]).await;
        stored.await.unwrap_or(Err(NotTaken::Busy)).map_err(NotTaken::msrp)
    }

    fn refused(&self, error: &FileError) {
        if let (Some(files), Some(reason)) = (self.depot(), error.reason()) {
            files.depot.refused(reason);
        }
    }

    /// So many bytes have left memory.
    fn written(&self, length: usize) {
        let end = {
            let mut state = self.state.lock();
            state.waiting -= length;
            let goes_on = state.paused && state.waiting <= WAITING / 2;
            if goes_on {
                state.paused = false;
            }
            state.end.clone().filter(|_| goes_on)
        };
        if let Some(end) = end {
            end.resume();
        }
    }

    fn close(&self) {
        let end = {
            let mut state = self.state.lock();
            state.over = true;
            state.end.take()
        };
        if let Some(end) = end {
            end.close();
        }
    }
}

/// What a sender is told of a file that could not be kept.
fn code(error: &FileError) -> u16 {
    match error {
        FileError::Refused(_) => 413,
        FileError::Harmful => 403,
        _ => 408,
    }
}

impl CallUser for Take {
    fn event(self: Arc<Self>, turn: &mut Turn<'_>, call: &CallRef, event: CallEvent) {
        match event {
            CallEvent::Established(_) => {
                let (end, agreement) = {
                    let mut state = self.state.lock();
                    (state.end.clone(), state.agreement.take())
                };
                if let (Some(end), Some(agreement)) = (end, agreement) {
                    end.agreed(&agreement);
                }
            }
            // RFC 5547 §8.1: nothing begins anew under the same id; another file is another call.
            CallEvent::Offer(_) => agent::answer_offer(turn, call, Err(488)),
            CallEvent::Request { key, request } => agent::respond(turn, call, key, &request, 405, ALLOW),
            CallEvent::Ended { .. } => {
                self.ended.notify_one();
                let _ = self.pieces.send(Piece::Broken);
                self.close();
            }
            CallEvent::Ringing(_)
            | CallEvent::Answered(_)
            | CallEvent::OfferAnswered(_)
            | CallEvent::OfferRefused { .. }
            | CallEvent::Response { .. } => {}
        }
    }
}

impl EndUser for Take {
    fn begin(&self, _end: &Arc<End>, _head: &Head) -> Reception {
        Reception::Stream
    }

    fn message(&self, _end: &Arc<End>, _message: Assembled, answer: Answer) {
        answer.refuse(415);
    }

    fn slice(&self, _end: &Arc<End>, _id: &str, offset: u64, data: &[u8]) -> Intake {
        let mut state = self.state.lock();
        let Ok(new) = state.order.take(offset, data) else {
            drop(state);
            let _ = self.pieces.send(Piece::Broken);
            return Intake::Pause;
        };
        if new.is_empty() {
            return Intake::More;
        }
        state.waiting += new.len();
        // What was read before a pause took effect still comes, and does not end it: only the writer does.
        let paused = state.paused || state.waiting > WAITING;
        state.paused = paused;
        // With the state locked: what resumes comes after.
        let _ = self.pieces.send(Piece::Data(Bytes::copy_from_slice(new)));
        if paused { Intake::Pause } else { Intake::More }
    }

    fn stream_ended(&self, _end: &Arc<End>, _id: &str, ended: StreamEnd) {
        let _ = self.pieces.send(match ended {
            StreamEnd::Complete { total, answer } => Piece::Complete(total, answer),
            StreamEnd::Broken => Piece::Broken,
        });
    }

    fn sent(&self, _end: &Arc<End>, _key: u64, _sent: Sent) {}

    fn closed(&self, _end: &Arc<End>, why: EndClosed) {
        let _ = self.pieces.send(Piece::Broken);
        if why != EndClosed::Here {
            agent::end(&self.core, &self.call, None);
        }
    }
}
