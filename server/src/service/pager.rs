//! MESSAGE for one of our users (RFC 3428): to every device at once, or into the queue.

mod memory;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chappe_chat::pager::{Action, Delivery};
use chappe_chat::{Lifetime, Refusal};
use chappe_sip::layer::ServerKey;
use chappe_sip::proxy::{self, Forward, Routed, Target};
use chappe_sip::registrar::{Binding, targets};
use chappe_sip::{Flow, HeaderName, Message, Reply, Uri};
use chappe_store::{NewMessage, Outcome, Receipt, ReceiptState, Settlement, StoreError};
use smallvec::SmallVec;

use crate::core::{Core, epoch_ms, epoch_seconds};
use crate::directory::Entry;
use crate::history;
use crate::hops::Hop;
use crate::lists;
use crate::pipeline::{Sender, Voucher};
use crate::service::receipt::{self, Facts};
use crate::service::registrar::store_status;
use crate::service::{Request, chat, drain, rights};
use crate::shard::Turn;
use crate::steps::{Kept, Kind};
use crate::work::{Token, Work};

/// How long a change of a message waits, in seconds, that its sender wants delivered now or never.
const REVISION_KEPT: u64 = 60;

/// A device that the message goes to.
struct Device {
    name: Box<str>,
    /// Which registration it was tried on.
    stamp: u64,
    /// None is to be made for it: it sends its own, or the sender wants none.
    answers_itself: bool,
    /// Where it is.
    flow: Option<Flow>,
    /// Its final response, ready for the sender; without bytes where it leaves out whose it is.
    response: Option<(u16, Option<Bytes>)>,
}

/// A MESSAGE on its way.
pub struct Pager {
    key: ServerKey,
    message: Arc<Message>,
    /// Where it came from.
    flow: Flow,
    delivery: Delivery,
    recipient: Arc<Entry>,
    /// AOR of the sender, where it is one of ours or said to be.
    sender: Box<str>,
    voucher: Voucher,
    lifetime: Lifetime,
    facts: Facts,
    devices: SmallVec<[Device; 2]>,
    /// Other devices of the sender, which are to show what this one has sent.
    own: Vec<Box<str>>,
    /// Id in the queue.
    stored: Option<u64>,
    accepted_ms: u64,
}

pub fn message(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, recipient: Arc<Entry>) {
    let core = turn.core;
    let message = Arc::clone(&request.message);
    let content_type = message.header(HeaderName::ContentType).and_then(|t| std::str::from_utf8(t).ok());
    if let Err(refusal) = core.settings.message.check(content_type, message.body().len()) {
        core.ledger.rejected.fetch_add(1, Ordering::Relaxed);
        return refuse(turn, &request, refusal);
    }
    let facts = Facts::of(&message);
    let sender = match &request.sender {
        Sender::User(entry) => entry.aor.clone(),
        Sender::Trusted | Sender::Outside { .. } => sender_name(turn, &message),
    };
    let author = match &request.sender {
        Sender::User(entry) => Some(&**entry),
        Sender::Trusted | Sender::Outside { .. } => None,
    };
    if !facts.is_receipt && lists::is_unwanted(core, &recipient, &request) {
        // As if the recipient were away.
        core.ledger.rejected.fetch_add(1, Ordering::Relaxed);
        let is_for_now =
            core.settings.message.lifetime(content_type, message.number(HeaderName::Expires)) == Lifetime::NowOnly;
        return turn.answer(request.key, &message, if is_for_now { 480 } else { 202 });
    }
    if let Some((_, state)) = &facts.about
        && let Some(reader) = author
        && (lists::blocks(core, reader, &recipient.aor, Some(&recipient))
            || *state == ReceiptState::Displayed && reader.hides_displayed())
    {
        // Nobody but the reader's own devices is to know.
        if *state == ReceiptState::Displayed {
            chat::displayed(core, &request, &sender, &recipient.aor);
        }
        return turn.answer(request.key, &message, 200);
    }
    if let Some((id, state)) = &facts.about {
        // What one device has told, or we ourselves, is not told again.
        if !core.recent_receipts.insert(id, &recipient.aor, &sender, *state) {
            return turn.answer(request.key, &message, 200);
        }
        memory::remember_receipt(core, &request, id, *state, &sender, &recipient.aor);
        match state {
            ReceiptState::Delivered => chat::delivered(core, &request, &sender, &recipient.aor, id),
            ReceiptState::Displayed => chat::displayed(core, &request, &sender, &recipient.aor),
            _ => {}
        }
    }
    if chappe_imdn::is_composing(content_type.unwrap_or_default())
        && let Ok(envelope) = chappe_chat::Envelope::of_message(&message, "", "", epoch_ms())
        && chat::composing(core, &recipient.aor, &sender, &envelope)
    {
        return turn.answer(request.key, &message, 200);
    }
    let expires = message.number(HeaderName::Expires);
    let lifetime = match core.settings.message.lifetime(content_type, expires) {
        // Who may send it is known to the store only.
        Lifetime::NowOnly if facts.revises.is_some() => Lifetime::Keep(REVISION_KEPT),
        lifetime => lifetime,
    };
    let storable = matches!(lifetime, Lifetime::Keep(_));
    let own = match author {
        Some(author) if storable && !facts.is_receipt && author.aor != recipient.aor => {
            chat::own_devices(core, &author.aor, &message, &request.flow)
        }
        _ => Vec::new(),
    };
    let voucher = request.sender.voucher();
    let token = turn.shard.works.reserve();
    turn.shard.layer.set_user(request.key, token.0);

    let now = epoch_seconds();
    let mut devices: SmallVec<[Device; 2]> = SmallVec::new();
    let mut failed: SmallVec<[(usize, u16); 2]> = SmallVec::new();
    let (mut is_queued, mut awaited) = (false, false);
    // What waits goes first: a message that overtook it would arrive out of order.
    let by_session = match facts.is_receipt {
        true => chat::takes_receipt(core, &recipient.aor, &sender),
        false => chat::diverts(core, &recipient.aor, &sender, message.body()),
    };
    let behind_others = storable && (core.waiting.holds_up(&recipient.aor) || by_session);
    if !behind_others {
        let hash = proxy::loop_hash(&message);
        core.location.with(&recipient.aor, |bindings| {
            let found = targets(bindings, now, |flow| is_alive(core, flow), |_| true);
            let breadth = (core.settings.proxy.breadth(&message) / found.len().max(1) as u32).max(1);
            // One that would miss it while another takes it, or is to get others first, gets it from the queue.
            let is_ready = |target: &chappe_sip::registrar::Target<'_>| {
                !core.waiting.holds_up_device(&recipient.aor, target.binding.device())
            };
            // So does one that is to be written down in any case.
            let is_written = !own.is_empty() || core.settings.keeps_history() || facts.revises.is_some();
            if storable && (is_written || several(core, &recipient.aor, bindings) || !found.iter().all(is_ready)) {
                (is_queued, awaited) = (true, found.iter().any(is_ready));
                return;
            }
            for target in &found {
                let at = devices.len();
                devices.push(Device::of(target.binding, &facts));
                let launch = Launch { message: &message, routed, voucher: &voucher, hash, breadth };
                if let Err(status) = launch.to(turn, target.binding, token.branch(at)) {
                    failed.push((at, status));
                }
            }
        });
    }
    let mut pager = Box::new(Pager {
        key: request.key,
        flow: request.flow,
        delivery: if is_queued { Delivery::queued(awaited) } else { Delivery::new(devices.len(), storable) },
        message,
        recipient,
        sender,
        voucher,
        lifetime,
        facts,
        devices,
        own,
        stored: None,
        accepted_ms: epoch_ms(),
    });
    for (device, status) in failed {
        pager.delivery.handle_response(device, status);
    }
    if awaited || !pager.devices.is_empty() {
        turn.wake_at(turn.now + core.settings.answer_within, token);
    }
    drive(turn, token, pager);
}

/// The final response of a device, or 408 and 430 for a timeout and a dead flow.
pub fn response(turn: &mut Turn<'_>, token: Token, mut work: Box<Pager>, status: u16, message: Option<&Message>) {
    if status < 200 {
        return turn.shard.works.put(token.branch(0), Work::Pager(work));
    }
    let device = token.branch_index();
    if status >= 300 || work.stored.is_some() {
        turn.core.recent.push(&work.step(Kind::Tried, Some(device), status));
    }
    if let Some(entry) = work.devices.get_mut(device) {
        entry.response = message.map(|message| (status, proxy::strip_via(message)));
    }
    work.delivery.handle_response(device, status);
    drive(turn, token, work);
}

/// The sender has to be answered.
pub fn deadline(turn: &mut Turn<'_>, token: Token, mut work: Box<Pager>) {
    if let Some(id) = work.stored.filter(|_| work.delivery.is_waiting()) {
        drain::forget(turn.core, id);
    }
    work.delivery.handle_deadline();
    drive(turn, token, work);
}

/// A device has taken it from the queue, or none will soon.
pub fn taken(turn: &mut Turn<'_>, token: Token, is_taken: bool) {
    if let Some(Work::Pager(mut pager)) = turn.shard.works.take(token) {
        pager.delivery.taken(is_taken);
        drive(turn, token, pager);
    }
}

fn drive(turn: &mut Turn<'_>, token: Token, mut pager: Box<Pager>) {
    while let Some(action) = pager.delivery.poll_action() {
        match action {
            Action::Forward { device } => pager.forward(turn, device),
            Action::Answer { status } => pager.answer(turn, status),
            Action::Store => {
                if let Err(status) = pager.store(turn, token) {
                    pager.delivery.stored(Err(status));
                }
            }
            Action::Withdraw { device } => pager.withdraw(turn, device),
        }
    }
    if pager.delivery.is_done() {
        turn.shard.works.end(token);
    } else {
        turn.shard.works.put(token, Work::Pager(pager));
    }
}

impl Pager {
    fn forward(&mut self, turn: &mut Turn<'_>, device: usize) {
        let core = turn.core;
        let Some((status, bytes)) = self.devices.get_mut(device).and_then(|d| d.response.take()) else {
            return self.answer(turn, 480);
        };
        // There are devices that give back the topmost Via only. What they say counts all the same.
        let bytes = bytes.unwrap_or_else(|| Reply::new(&self.message, status, &core.tag()).finish());
        turn.respond(self.key, status, bytes);
        if !(200..300).contains(&status) {
            return self.rejected(core);
        }
        core.ledger.delivered_at_once();
        core.recent.push(&self.step(Kind::Relayed, Some(device), status));
        self.delivered(core, device);
    }

    fn answer(&mut self, turn: &mut Turn<'_>, status: u16) {
        let core = turn.core;
        let reason = match status {
            480 if matches!(self.lifetime, Lifetime::NowOnly) => "Recipient Is Away",
            480 => "Message Queue Full",
            _ => chappe_sip::reason_phrase(status),
        };
        let mut reply = Reply::with_reason(&self.message, status, reason, &core.tag());
        if status == 503 || (status == 480 && !matches!(self.lifetime, Lifetime::NowOnly)) {
            reply = reply.header(HeaderName::RetryAfter, &core.retry_after());
        }
        turn.respond(self.key, status, reply.finish());
        if status >= 300 {
            self.rejected(core);
        }
    }

    /// The message is not taken. A receipt may come again.
    fn rejected(&self, core: &Core) {
        core.ledger.rejected.fetch_add(1, Ordering::Relaxed);
        if let Some((id, state)) = &self.facts.about {
            core.recent_receipts.remove(id, &self.recipient.aor, &self.sender, *state);
        }
    }

    /// Begins a write; its end comes back through [`stored`]. `Err` where there is no room for it.
    fn store(&self, turn: &Turn<'_>, token: Token) -> Result<(), u16> {
        let core = turn.core;
        let Some(message) = self.to_store() else { return Err(480) };
        if core.waiting.is_full(&self.recipient.aor, false, core.settings.queue_per_user) {
            return Err(480);
        }
        if core.store_queue.load(Ordering::Relaxed) as usize >= core.settings.max_store_queue {
            core.counters.shed(crate::metrics::Shed::Store);
            return Err(503);
        }
        let copies = self.own.iter().map(|device| own_copy(&message, device));
        let messages: Vec<NewMessage> = std::iter::once(message.clone()).chain(copies).collect();
        let (core, cell) = (Arc::clone(core), turn.cell);
        let taken = Kept::new(&self.step(Kind::Taken, None, 202));
        let revision = self.facts.revises.clone();
        core.runtime.clone().spawn(async move {
            let result = put_allowed(&core, messages, revision).await;
            if result.as_ref().is_ok_and(|ids| ids.first().is_some_and(Option::is_some)) {
                core.recent.keep(taken);
            }
            core.visit_cell(cell, |turn| stored(turn, token, result));
        });
        Ok(())
    }

    /// The message as it is kept; `None` where it is only for now.
    fn to_store(&self) -> Option<NewMessage> {
        let Lifetime::Keep(seconds) = self.lifetime else { return None };
        let now = epoch_ms();
        let date = chappe_sip::header::Date::from_unix(now / 1000).to_string();
        Some(NewMessage {
            recipient: self.recipient.aor.clone(),
            sender: self.sender.clone(),
            message_id: self.facts.message_id.clone(),
            call_id: String::from_utf8_lossy(self.message.call_id()).into(),
            headers: kept_headers(&self.message, &date, &self.voucher),
            body: Bytes::copy_from_slice(self.message.body()),
            accepted_ms: now,
            expires_at: now / 1000 + seconds,
            wants: self.facts.wants,
            once: self.once(),
            device: None,
        })
    }

    /// A sender that has seen no answer may send again under another Call-ID: one with an id is stored once. So is a receipt,
    /// whoever tells it.
    fn once(&self) -> Option<Receipt> {
        let (sender, recipient) = (self.sender.clone(), self.recipient.aor.clone());
        match &self.facts.about {
            Some((id, state)) => {
                Some(Receipt { message_id: id.clone(), sender: recipient, recipient: sender, state: *state })
            }
            None if self.facts.is_receipt => None,
            None => {
                let message_id = self.facts.message_id.clone()?;
                Some(Receipt { message_id, sender, recipient, state: ReceiptState::Accepted })
            }
        }
    }

    /// A device took a message that had been stored meanwhile.
    fn withdraw(&mut self, turn: &mut Turn<'_>, device: usize) {
        let core = turn.core;
        self.delivered(core, device);
        let Some(id) = self.stored else { return };
        let settlement = Settlement {
            id,
            recipient: self.recipient.aor.clone(),
            device: self.devices.get(device).map(|d| d.name.clone()),
            message_id: self.facts.message_id.clone(),
            call_id: String::from_utf8_lossy(self.message.call_id()).into(),
            outcome: Outcome::Delivered,
            detail: 200,
            at_ms: epoch_ms(),
        };
        drain::settle(core, settlement);
    }

    /// A device has the message: its receipt, where the device sends none.
    fn delivered(&self, core: &Arc<Core>, device: usize) {
        let makes_own = self.devices.get(device).is_none_or(|d| d.answers_itself);
        let Some(id) = self.facts.message_id.as_deref().filter(|_| !makes_own && receipt::wants_delivered(&self.facts))
        else {
            return;
        };
        let subject = receipt::Subject {
            message_id: id,
            sender: &self.sender,
            recipient: &self.recipient.aor,
            body: self.message.body(),
            accepted_ms: self.accepted_ms,
        };
        if core.recent_receipts.insert(id, &self.sender, &self.recipient.aor, ReceiptState::Delivered)
            && let Some(made) = receipt::make(core, &subject, ReceiptState::Delivered)
        {
            receipt::send(core, made);
        }
    }
}

/// A message for another device of its sender.
fn own_copy(message: &NewMessage, device: &str) -> NewMessage {
    let once = message.once.clone().map(|once| Receipt { recipient: device.into(), ..once });
    NewMessage {
        recipient: message.sender.clone(),
        device: Some(device.into()),
        wants: Default::default(),
        once,
        ..message.clone()
    }
}

/// Stores a message with its copies if its sender may send it. `revision`: the message that it changes or recalls. `Err` is the
/// status of the refusal.
pub(super) async fn put_allowed(
    core: &Arc<Core>,
    messages: Vec<NewMessage>,
    revision: Option<Box<str>>,
) -> Result<Vec<Option<u64>>, u16> {
    rights::check(core, &messages, revision.as_deref()).await?;
    put(core, messages).await.map_err(|error| store_status(&error))
}

/// Stores messages in one write; their ids.
async fn put(core: &Arc<Core>, messages: Vec<NewMessage>) -> Result<Vec<Option<u64>>, StoreError> {
    let who: Vec<_> = messages.iter().map(|message| (message.recipient.clone(), message.device.clone())).collect();
    // Counted before the write, so that a message that comes now queues behind it.
    who.iter().for_each(|(aor, device)| core.waiting.add(aor, device.as_deref(), 1));
    let written = core.stored(core.stores.queue.write(history::write(core, messages))).await;
    let result = written.map(|written| written.ids);
    if let Err(error) = &result {
        core.counters.store_failed();
        tracing::error!(%error, "a message could not be stored");
    }
    for (at, (aor, device)) in who.iter().enumerate() {
        match result.as_ref().ok().and_then(|ids| ids.get(at).copied().flatten()) {
            Some(_) => {
                core.ledger.stored();
                if let Some(device) = device {
                    drain::kick_device(core, aor, device);
                }
            }
            // It is there already, or nowhere.
            None => core.waiting.remove(aor, device.as_deref()),
        }
    }
    result
}

/// The write that [`Pager::store`] began has ended.
fn stored(turn: &mut Turn<'_>, token: Token, result: Result<Vec<Option<u64>>, u16>) {
    let core = turn.core;
    let Some(Work::Pager(mut pager)) = turn.shard.works.take(token) else { return };
    match result {
        Ok(ids) => {
            pager.stored = ids.first().copied().flatten();
            pager.delivery.stored(Ok(()));
        }
        Err(status) => pager.delivery.stored(Err(status)),
    }
    if pager.delivery.is_waiting() {
        match pager.stored {
            Some(id) => drain::await_taken(core, id, turn.cell, token),
            // It was sent before, and what became of it is known to nobody here.
            None => pager.delivery.taken(false),
        }
    }
    // Somebody who registered since the message was tried reads the queue too early for it: look again.
    let tried: SmallVec<[u64; 2]> = pager.devices.iter().map(|d| d.stamp).collect();
    let fresh: SmallVec<[Box<str>; 2]> = core.location.with(&pager.recipient.aor, |bindings| {
        let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
        let fresh = found.iter().filter(|t| !tried.contains(&stamp(t.binding)));
        fresh.map(|t| t.binding.device().into()).collect()
    });
    for device in fresh {
        drain::kick_device(core, &pager.recipient.aor, &device);
    }
    drive(turn, token, pager);
}

impl Device {
    fn of(binding: &Binding, facts: &Facts) -> Device {
        Device {
            name: binding.device().into(),
            stamp: stamp(binding),
            answers_itself: !receipt::wants_delivered(facts) || receipt::answers_itself(binding),
            flow: binding.flow,
            response: None,
        }
    }
}

/// Whether a user has devices of which one would miss what another takes: with a name that outlives its address, and not alone.
fn several(core: &Core, aor: &str, bindings: &[Binding]) -> bool {
    let away = core.away.of(aor, epoch_seconds());
    let mut names = bindings.iter().map(Binding::device).chain(away.iter().map(|away| &*away.device));
    let Some(first) = names.next() else { return false };
    names.any(|name| *name != *first) && (!away.is_empty() || bindings.iter().any(|one| one.instance_id().is_some()))
}

/// Changes with each registration of the binding.
pub fn stamp(binding: &Binding) -> u64 {
    let flow = binding.flow.map_or(0, |f| f.connection ^ u64::from(f.remote.port()) << 48);
    flow ^ u64::from(binding.cseq) << 16 ^ binding.expires().rotate_left(40) ^ binding.registered()
}

/// Whether packets can still be sent down a flow.
pub fn is_alive(core: &Core, flow: &Flow) -> bool {
    !flow.is_connection() || core.net().is_some_and(|net| net.is_open(flow))
}

/// What all copies of one message have in common.
pub struct Launch<'a> {
    pub message: &'a Arc<Message>,
    pub routed: &'a Routed<'a>,
    pub voucher: &'a Voucher,
    pub hash: u32,
    pub breadth: u32,
}

impl Launch<'_> {
    /// Sends a copy to one binding; `Err` has the code that stands for the failure.
    pub fn to(&self, turn: &mut Turn<'_>, binding: &Binding, token: Token) -> Result<(), u16> {
        let core = turn.core;
        let dest = match core.way_to(binding) {
            Hop::Known(dest) => dest,
            Hop::Name => {
                self.resolve(turn, binding, token);
                return Ok(());
            }
            Hop::Gone => return Err(430),
            Hop::Unsupported => return Err(480),
        };
        let own_path = super::proxy::path_beyond_us(core, binding.path());
        let target = Target {
            request_uri: Some(binding.contact()),
            remove_routes: self.routed.remove_routes,
            remove_last_route: self.routed.remove_last_route,
            push_routes: own_path,
        };
        let mut branch = String::with_capacity(40);
        proxy::branch(&mut branch, "", core.serial(), Some(self.hash));
        let changes = self.voucher.changes(self.message);
        let plan = Forward {
            target,
            transport: dest.transport(),
            sent_by: core.hops.sent_by(&dest),
            branch: &branch,
            record_route: None,
            max_breadth: self.breadth,
            changes: &changes,
        };
        let bytes = proxy::forward(self.message, &plan);
        let sent = turn.shard.layer.request(turn.now, dest, bytes, branch.as_bytes(), b"MESSAGE", token.0);
        sent.map(|_| ()).map_err(|_| 503)
    }

    /// The contact is a name: the copy goes out when DNS has answered, by way of the stored form of the message.
    fn resolve(&self, turn: &Turn<'_>, binding: &Binding, token: Token) {
        let (core, cell, binding) = (Arc::clone(turn.core), turn.cell, binding.clone());
        let date = chappe_sip::header::Date::from_unix(epoch_seconds()).to_string();
        let headers = kept_headers(self.message, &date, self.voucher);
        let message = Arc::clone(self.message);
        core.runtime.clone().spawn(async move {
            let dest = match Uri::parse(binding.contact().as_bytes()) {
                Ok(uri) => core.resolve(&uri).await,
                Err(_) => None,
            };
            core.visit_cell(cell, |turn| {
                let sent = dest
                    .is_some_and(|dest| drain::launch(turn, &binding, dest, &headers, message.body(), token).is_ok());
                if !sent && let Some(Work::Pager(work)) = turn.shard.works.take(token) {
                    response(turn, token, work, 408, None);
                }
            });
        });
    }
}

/// The header lines to keep, with the identity changes already made.
pub(super) fn kept_headers(message: &Message, date: &str, voucher: &Voucher) -> Bytes {
    let mut edit = chappe_sip::Edit::new(message);
    for change in &voucher.changes(message) {
        change.apply(&mut edit);
    }
    let limits = chappe_sip::Limits { message: usize::MAX, head: usize::MAX, headers: usize::MAX, uri: usize::MAX };
    match Message::parse(edit.finish(), &limits) {
        Ok(changed) => chappe_chat::stored::headers(&changed, date),
        Err(_) => chappe_chat::stored::headers(message, date),
    }
}

fn refuse(turn: &mut Turn<'_>, request: &Request, refusal: Refusal) {
    let core = turn.core;
    let reply = Reply::new(&request.message, refusal.status(), &core.tag());
    let reply = match refusal {
        Refusal::Type => reply.header(HeaderName::Accept, &core.settings.message.types.join(", ")),
        Refusal::TooLarge { .. } => reply,
    };
    turn.respond(request.key, refusal.status(), reply.finish());
}

/// The AOR in From, or its URI.
fn sender_name(turn: &Turn<'_>, message: &Message) -> Box<str> {
    let from = message.from();
    let uri = from.as_ref().and_then(|a| a.parse_uri().ok());
    if let Some(entry) = uri.and_then(|uri| crate::pipeline::addressee(turn, &uri)) {
        return entry.aor.clone();
    }
    from.map_or("".into(), |a| String::from_utf8_lossy(a.uri).into())
}
