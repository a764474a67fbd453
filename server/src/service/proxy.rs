//! The proxy (RFC 3261 §16): every request that is not for a service of ours, and calls between our users.

use std::collections::VecDeque;
use std::sync::Arc;

use chappe_push::Asleep;
use chappe_sip::layer::{ClientKey, Dest, Event, ServerKey};
use chappe_sip::outbound::FlowToken;
use chappe_sip::proxy::preferences::{Disposition, Preferences, candidates as candidates_of};
use chappe_sip::proxy::{
    self, Action, Actions, CancelReason, Candidate, Change, Failure, Final, ForkPolicy, Forward, RecordRoute,
    ResponseContext, Routed, Target,
};
use chappe_sip::registrar::{Binding, Gruu, targets};
use chappe_sip::{Flow, HeaderName, Message, Method, Transport, Uri};
use smallvec::SmallVec;

use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::hops::Hop;
use crate::media::hook::{self, Branches};
use crate::pipeline::Voucher;
use crate::push::Sleeper;
use crate::service::Request;
use crate::service::pager::is_alive;
use crate::shard::Turn;
use crate::work::{Token, Work};

/// Above this a request does not go over UDP to somebody whose path we do not know (RFC 3261 §18.1.1).
const DATAGRAM: usize = 1300;

/// One way to send a request on.
struct Way {
    /// The new Request-URI; `None` leaves the received one.
    uri: Option<Box<str>>,
    /// Route values to put on top.
    route: Box<str>,
    hop: Hop,
    /// What to resolve, where `hop` is a name.
    name: Option<Box<str>>,
    /// Further addresses of the same hop (RFC 3263 §4.3).
    others: Vec<Dest>,
    client: Option<ClientKey>,
}

/// A request being forwarded.
pub struct Proxied {
    key: ServerKey,
    message: Arc<Message>,
    source: Flow,
    context: ResponseContext,
    ways: SmallVec<[Way; 1]>,
    remove_routes: usize,
    remove_last_route: bool,
    voucher: Voucher,
    hash: u32,
    /// INVITE client transactions that may still bring a 2xx.
    alive: usize,
    /// Reason of the client's CANCEL.
    cancel_reason: Option<String>,
    timer: Option<std::time::Instant>,
    /// What the media gateway has to do with it.
    media: Branches,
    /// Devices that are being woken for it.
    asleep: Asleep,
    within: Option<Within>,
}

/// A request within a dialog: it goes to the device of the dialog under the URI of the dialog, wherever the device is.
struct Within {
    /// `None` leaves the received one.
    uri: Option<Box<str>>,
}

/// A request to one of our users: to all devices.
pub fn to_user(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, user: &Entry) {
    fork(turn, request, routed, &user.aor, |_| true);
}

/// A request to one device of one of our users (RFC 5627 §6.1).
pub fn to_gruu(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, gruu: Gruu) {
    let core = turn.core;
    let aor = gruu.aor.as_str();
    let checked = match core.directory.find(aor) {
        Some(_) => core.location.with(aor, |bindings| gruu.check(bindings, epoch_seconds()).map_err(|e| e.status())),
        None => Err(404),
    };
    match checked {
        Ok(()) => fork(turn, request, routed, aor, |binding| gruu.admits(binding)),
        Err(status) => turn.answer(request.key, &request.message, status),
    }
}

/// A request that leaves our domains.
pub fn elsewhere(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>) {
    let way = Way::to_uri(turn.core, &request.message, routed);
    one(turn, request, routed, way);
}

/// A request with a way of its own: within a dialog, or along a Route. `down` is the flow that our Route value named.
pub fn in_dialog(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, down: Option<FlowToken>) {
    if hook::takes(turn, &request) {
        return;
    }
    let core = turn.core;
    let uri = Uri::parse(routed.request_uri.as_bytes()).ok();
    if let Some(token) = down {
        let gone = token.flow.is_connection() && (token.stale || !is_alive(core, &token.flow));
        if !gone {
            let way = Way::on(routed, Hop::Known(token.flow.into()));
            return one(turn, request, routed, way);
        }
        // The device may have come back over another connection.
        let way = uri.as_ref().and_then(|uri| registered_way(core, routed, uri));
        return match way {
            Some(way) => one(turn, request, routed, way),
            None if routed.in_dialog => asleep_in_dialog(turn, request, routed, uri.as_ref()),
            None => turn.answer(request.key, &request.message, 430),
        };
    }
    if routed.next_route.is_some() {
        return elsewhere(turn, request, routed);
    }
    let Some(uri) = uri else { return turn.answer(request.key, &request.message, 400) };
    match routed.destination {
        proxy::Destination::Elsewhere => match registered_way(core, routed, &uri) {
            Some(way) => one(turn, request, routed, way),
            None if core.push.purrs.read(&uri).is_some() => asleep_in_dialog(turn, request, routed, Some(&uri)),
            None => {
                let way = Way::to_uri(core, &request.message, routed);
                one(turn, request, routed, way);
            }
        },
        proxy::Destination::User => match core.gruu.read(&uri) {
            Ok(Some(gruu)) => to_gruu(turn, request, routed, gruu),
            Ok(None) => match crate::pipeline::addressee(turn, &uri) {
                Some(user) => to_user(turn, request, routed, &user),
                None => turn.answer(request.key, &request.message, 404),
            },
            Err(error) => turn.answer(request.key, &request.message, error.status()),
        },
        proxy::Destination::Server => turn.answer(request.key, &request.message, 481),
    }
}

/// A request within a dialog of a device that is not there: it waits while the device is woken, if the dialog says which one it
/// is (RFC 8599 §6.2.3).
fn asleep_in_dialog(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, uri: Option<&Uri<'_>>) {
    let core = turn.core;
    let purr = uri.filter(|_| core.push.is_on()).and_then(|uri| core.push.purrs.read(uri));
    let asleep = purr.map(|purr| (crate::push::sleepers(core, purr.aor.as_str(), |b| purr.admits(b)), purr.aor));
    match asleep.filter(|(sleepers, _)| !sleepers.is_empty()) {
        Some((sleepers, aor)) => {
            begin(turn, request, routed, SmallVec::new(), &[], Some((aor.as_str(), sleepers)));
        }
        None => turn.answer(request.key, &request.message, 480),
    }
}

fn fork(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, aor: &str, admits: impl Fn(&Binding) -> bool) {
    let core = turn.core;
    let method = request.message.method();
    let may_wait = core.push.is_on() && matches!(method, Method::Invite | Method::Subscribe | Method::Refer);
    let mut asleep = Vec::new();
    let (mut ways, mut candidates) = (SmallVec::<[Way; 1]>::new(), SmallVec::<[Candidate; 2]>::new());
    let message = Arc::clone(&request.message);
    let preferences = Preferences::of(&message);
    let disposition = Disposition::of(&message);
    core.location.with(aor, |bindings| {
        // Of one look: a device is in one of the two, and rings once.
        if may_wait {
            asleep = crate::push::sleepers_among(core, bindings, &admits);
        }
        let mut found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), admits);
        preferences.apply(&mut found);
        for (candidate, binding) in candidates_of(&found, &disposition) {
            ways.push(Way::to_binding(core, binding));
            candidates.push(candidate);
        }
    });
    if ways.is_empty() && asleep.is_empty() {
        return turn.answer(request.key, &request.message, 480);
    }
    if method != Method::Invite && !ways.is_empty() {
        // One answer is enough, and somebody is there to give it.
        asleep.clear();
    }
    begin(turn, request, routed, ways, &candidates, Some((aor, asleep)).filter(|(_, asleep)| !asleep.is_empty()));
}

fn one(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, way: Way) {
    begin(turn, request, routed, SmallVec::from_iter([way]), &[Candidate { group: 0, instance: 0 }], None);
}

fn begin(
    turn: &mut Turn<'_>,
    request: Request,
    routed: &Routed<'_>,
    ways: SmallVec<[Way; 1]>,
    candidates: &[Candidate],
    asleep: Option<(&str, Vec<Sleeper>)>,
) {
    let core = turn.core;
    let message = request.message;
    hook::passing(core, &message);
    let policy = ForkPolicy {
        timer_c: core.settings.timer_c,
        max_breadth: core.settings.proxy.breadth(&message),
        ..ForkPolicy::default()
    };
    let token = turn.shard.works.reserve();
    turn.shard.layer.set_user(request.key, token.0);
    if message.method() == Method::Invite {
        turn.shard.layer.trying(turn.now, request.key);
    }
    let mut work = Box::new(Proxied {
        key: request.key,
        context: ResponseContext::new(message.method(), candidates, policy),
        hash: proxy::loop_hash(&message),
        voucher: request.sender.voucher(),
        message,
        source: request.flow,
        ways,
        remove_routes: routed.remove_routes,
        remove_last_route: routed.remove_last_route,
        alive: 0,
        cancel_reason: None,
        timer: None,
        media: Branches::default(),
        asleep: Asleep::default(),
        within: routed.in_dialog.then(|| Within { uri: changed_uri(routed) }),
    });
    if let Some((aor, sleepers)) = asleep
        && let Some(until) = core.push.park(turn, token, aor, &sleepers, work.message.method())
    {
        work.context.hold(until, sleepers.len() as u32);
        work.asleep = Asleep::new(sleepers.into_iter().map(|sleeper| sleeper.device));
    }
    let actions = work.context.start(turn.now);
    work.carry_out(turn, token, actions, None);
    keep(turn, token, work);
}

/// What came of a request when devices were said to be awake.
pub struct Woken {
    /// It waits for nobody any more.
    pub over: bool,
    /// Devices that it still waits for, and that sleep again.
    pub again: Vec<Box<str>>,
    pub class: chappe_push::Class,
}

/// Devices of the user that a request is for have registered: those that were being woken for it get it, each once.
pub fn woken(turn: &mut Turn<'_>, token: Token, aor: &str, devices: &[Box<str>]) -> Woken {
    let Some(Work::Proxied(mut work)) = turn.shard.works.take(token) else {
        return Woken { over: true, again: Vec::new(), class: chappe_push::Class::Message };
    };
    let core = turn.core;
    let within = work.within.as_ref();
    let came = work.asleep.came(devices, |device| {
        let way = core.location.with(aor, |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |b| b.device() == device);
            found.first().map(|target| Way::to_binding(core, target.binding))
        })?;
        Some(match within {
            Some(within) => Way { uri: within.uri.clone(), ..way },
            None => way,
        })
    });
    let first = work.ways.len() as u16;
    let candidates: SmallVec<[Candidate; 2]> =
        (0..came.ways.len() as u16).map(|n| Candidate { group: 0, instance: first.saturating_add(n) }).collect();
    if !candidates.is_empty()
        && let Some((_, actions)) = work.context.add(&candidates, turn.now)
    {
        work.ways.extend(came.ways);
        work.carry_out(turn, token, actions, None);
    }
    let over = work.stops_waiting(turn, token);
    let class = crate::push::class_of(work.message.method());
    keep(turn, token, work);
    Woken { over, again: came.again, class }
}

/// A device cannot be woken. True if the request waits for nobody any more.
pub fn not_woken(turn: &mut Turn<'_>, token: Token, device: &str) -> bool {
    let Some(Work::Proxied(mut work)) = turn.shard.works.take(token) else {
        return true;
    };
    work.asleep.lost(device);
    let over = work.stops_waiting(turn, token);
    keep(turn, token, work);
    over
}

/// A response from a branch.
pub fn response(turn: &mut Turn<'_>, token: Token, mut work: Box<Proxied>, message: &Message) {
    let branch = token.branch_index();
    if work.asks_again(turn, token, message) {
        return keep(turn, token, work);
    }
    let described = work.media.incoming(turn.core, &work.message, message, branch);
    let message = described.as_ref().unwrap_or(message);
    let actions = work.context.handle_response(branch, message, turn.now);
    work.carry_out(turn, token, actions, Some(message));
    keep(turn, token, work);
}

/// A branch ended without a response: 408 or 430.
pub fn failed(turn: &mut Turn<'_>, token: Token, mut work: Box<Proxied>, status: u16) {
    let branch = token.branch_index();
    work.alive = work.alive.saturating_sub(1);
    if let Some(way) = work.ways.get_mut(branch) {
        way.client = None;
        if let Some(next) = (!work.context.is_answered()).then(|| way.others.pop()).flatten() {
            way.hop = Hop::Known(next);
            if work.launch(turn, token, branch, 1).is_ok() {
                return keep(turn, token, work);
            }
        }
    }
    let failure = match status {
        408 => Failure::Timeout,
        _ if work.ways.get(branch).is_some_and(|w| matches!(w.hop, Hop::Known(Dest::Flow(_)))) => Failure::FlowFailed,
        _ => Failure::Transport,
    };
    let actions = work.context.handle_branch_failed(branch, failure, turn.now);
    work.carry_out(turn, token, actions, None);
    keep(turn, token, work);
}

/// A transaction of the request is over.
pub fn transaction_ended(turn: &mut Turn<'_>, token: Token, mut work: Box<Proxied>, event: &Event) {
    match event {
        Event::ClientEnded { .. } => work.alive = work.alive.saturating_sub(1),
        // The client is gone: nobody waits for the answer of a non-INVITE any more.
        Event::ServerTimeout { .. } if work.message.method() != Method::Invite => {
            return turn.shard.works.end(token);
        }
        _ => {}
    }
    keep(turn, token, work);
}

pub fn deadline(turn: &mut Turn<'_>, token: Token, mut work: Box<Proxied>) {
    work.timer = None;
    let actions = work.context.handle_timeout(turn.now);
    work.carry_out(turn, token, actions, None);
    keep(turn, token, work);
}

/// CANCEL (RFC 3261 §9.2, §16.10).
pub fn cancel(turn: &mut Turn<'_>, key: ServerKey, invite: Option<ServerKey>, message: &Message) {
    let Some(invite) = invite else { return turn.answer(key, message, 481) };
    let token = turn.shard.layer.user(invite).map(Token);
    if let Some(token) = token.filter(|token| token.call().is_some()) {
        return super::agent::cancel(turn, token, key, invite, message);
    }
    turn.answer(key, message, 200);
    let Some(token) = token else { return };
    match turn.shard.works.take(token) {
        Some(Work::Proxied(mut work)) => {
            work.cancel_reason = message.header(HeaderName::Reason).map(|r| String::from_utf8_lossy(r).into_owned());
            work.media.cancel();
            let actions = work.context.handle_cancel(turn.now);
            work.carry_out(turn, token, actions, None);
            keep(turn, token, work);
        }
        Some(other) => turn.shard.works.put(token, other),
        None => {}
    }
}

/// ACK to a 2xx: forwarded without state along the dialog's route (§16.11).
pub fn ack(turn: &mut Turn<'_>, message: &Message, flow: &Flow) {
    let core = turn.core;
    if proxy::validate(message, &core.settings.proxy, &core.local).is_err() {
        return;
    }
    let routed = proxy::route(message, &core.local, flow.listener);
    let token = routed.flow_token.and_then(|t| core.tokens.read(t).ok());
    let known = token.is_some() || core.identity.is_trusted(flow.remote.ip());
    if !known && routed.destination == proxy::Destination::Elsewhere {
        return core.counters.relay_denied();
    }
    let uri = Uri::parse(routed.request_uri.as_bytes()).ok();
    let down = token.filter(|t| t.flow != *flow && (!t.flow.is_connection() || is_alive(core, &t.flow)));
    let way = match (down, routed.next_route, routed.destination) {
        (Some(token), ..) => Way::on(&routed, Hop::Known(token.flow.into())),
        (None, Some(_), _) => Way::to_uri(core, message, &routed),
        (None, None, proxy::Destination::Elsewhere) => {
            let way = uri.as_ref().and_then(|uri| registered_way(core, &routed, uri));
            way.unwrap_or_else(|| Way::to_uri(core, message, &routed))
        }
        // To a GRUU or an AOR of ours: to the device that answered, if there is but one.
        (None, None, _) => {
            let Some(way) = uri.as_ref().and_then(|uri| only_way(turn, uri)) else { return };
            way
        }
    };
    let Hop::Known(dest) = way.hop else { return };
    let mut branch = String::with_capacity(40);
    proxy::stateless_branch(&mut branch, message, "");
    let target = Target {
        request_uri: way.uri.as_deref(),
        remove_routes: routed.remove_routes,
        remove_last_route: routed.remove_last_route,
        push_routes: &way.route,
    };
    let changes: SmallVec<[Change<'_>; 1]> = hook::acknowledged(core, message).map(Change::Body).into_iter().collect();
    let plan = Forward {
        target,
        transport: dest.transport(),
        sent_by: core.hops.sent_by(&dest),
        branch: &branch,
        record_route: None,
        max_breadth: core.settings.proxy.breadth(message),
        changes: &changes,
    };
    let bytes = proxy::forward(message, &plan);
    turn.shard.send_stateless(dest, bytes);
}

fn keep(turn: &mut Turn<'_>, token: Token, mut work: Box<Proxied>) {
    if work.context.is_done() && work.alive == 0 {
        return turn.shard.works.end(token);
    }
    let next = work.context.poll_timeout();
    if next.is_some() && next < work.timer.or(next.map(|n| n + std::time::Duration::from_nanos(1))) {
        work.timer = next;
        if let Some(at) = next {
            turn.wake_at(at, token.branch(0));
        }
    }
    turn.shard.works.put(token, Work::Proxied(work));
}

impl Proxied {
    /// Ends the wait where no device is being woken any more.
    fn stops_waiting(&mut self, turn: &mut Turn<'_>, token: Token) -> bool {
        if !self.asleep.is_empty() {
            return self.context.is_done();
        }
        let actions = self.context.release(turn.now);
        self.carry_out(turn, token, actions, None);
        true
    }

    /// Does what the context wants; `at_hand` is the response that brought it about.
    fn carry_out(&mut self, turn: &mut Turn<'_>, token: Token, actions: Actions, at_hand: Option<&Message>) {
        let mut queue: VecDeque<Action> = actions.into_iter().collect();
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Start { branch, max_breadth } => {
                    if let Err(failure) = self.launch(turn, token, branch, max_breadth) {
                        queue.extend(self.context.handle_branch_failed(branch, failure, turn.now));
                    }
                }
                Action::Cancel { branch, reason } => {
                    let Some(client) = self.ways.get(branch).and_then(|w| w.client) else { continue };
                    let text = match reason {
                        CancelReason::Upstream => self.cancel_reason.as_deref(),
                        other => other.value(),
                    };
                    turn.shard.layer.cancel(turn.now, client, text);
                }
                Action::Abandon { branch } => {
                    if let Some(client) = self.ways.get_mut(branch).and_then(|w| w.client.take()) {
                        turn.shard.layer.terminate_client(client);
                        self.alive = self.alive.saturating_sub(1);
                    }
                }
                Action::Forward => {
                    let Some(message) = at_hand else { continue };
                    let Some(bytes) = proxy::strip_via(message) else { continue };
                    turn.core.counters.response(message.status());
                    let sent = turn.shard.layer.respond(turn.now, self.key, message.status(), bytes.clone());
                    if sent.is_err() && message.status() / 100 == 2 {
                        // §16.7 step 5: a late 2xx must reach the client even so.
                        turn.shard.send_stateless(self.source.into(), bytes);
                    }
                }
                Action::Final(Final::Response { status, bytes }) => turn.respond(self.key, status, bytes),
                Action::Final(Final::Generate(480)) if self.within.is_some() => {
                    // The dialog is not to end for a device that did not wake in time (RFC 5057 §5.1).
                    turn.answer(self.key, &Arc::clone(&self.message), 504);
                }
                Action::Final(Final::Generate(status)) => turn.answer(self.key, &Arc::clone(&self.message), status),
                Action::Final(Final::Silent) => {}
            }
        }
    }

    /// Sends the request once more, perhaps later, to a device that did not understand its description, in other words.
    fn asks_again(&mut self, turn: &mut Turn<'_>, token: Token, response: &Message) -> bool {
        let branch = token.branch_index();
        let Some(way) = self.ways.get_mut(branch).filter(|_| !self.context.is_answered()) else { return false };
        let Hop::Known(dest) = way.hop else { return false };
        let target = (&dest, way.uri.as_deref().unwrap_or_default());
        let again = self.media.ask_again(turn.core, &self.message, &self.source, target, response, branch);
        let Some(after) = again else { return false };
        way.client = None;
        if after.is_zero() {
            return self.launch(turn, token, branch, 1).is_ok();
        }
        let (core, cell) = (Arc::clone(turn.core), turn.cell);
        core.runtime.clone().spawn(async move {
            tokio::time::sleep(after).await;
            core.visit_cell(cell, |turn| relaunch(turn, token));
        });
        true
    }

    /// Sends the request one way; `Err` where that cannot be done at all.
    fn launch(&mut self, turn: &mut Turn<'_>, token: Token, branch: usize, max_breadth: u32) -> Result<(), Failure> {
        let core = turn.core;
        let Some(way) = self.ways.get_mut(branch) else { return Err(Failure::Transport) };
        let mut dest = match way.hop {
            Hop::Known(dest) => dest,
            Hop::Name => {
                let Some(name) = way.name.clone() else { return Err(Failure::Transport) };
                resolve(turn, token.branch(branch), name, max_breadth);
                return Ok(());
            }
            Hop::Gone => return Err(Failure::FlowFailed),
            Hop::Unsupported => return Err(Failure::Transport),
        };
        let size = self.message.bytes().len() + 300;
        if let Dest::Address { transport: Transport::Udp, address } = dest
            && size > DATAGRAM
            && !address.ip().is_loopback()
            && core.hops.faces().iter().any(|f| f.transport == Transport::Tcp)
        {
            way.others.push(dest);
            dest = Dest::Address { transport: Transport::Tcp, address };
        }
        let method = self.message.method();
        // Who wants to be woken within the dialog has us on its way (RFC 8599 §6.2.2).
        let wakes = || {
            refers(self.message.header(HeaderName::Contact))
                || way.uri.as_deref().is_some_and(|u| u.contains("pn-prid="))
        };
        let begins = method.forms_dialog() && self.message.to_tag().is_empty();
        let stays = begins && (core.settings.record_route || (core.push.is_on() && wakes()));
        let target = Target {
            request_uri: way.uri.as_deref(),
            remove_routes: self.remove_routes,
            remove_last_route: self.remove_last_route,
            push_routes: &way.route,
        };
        let forced = proxy::must_record_route(&self.message, &target, self.source.transport);
        let mut tokens = (String::new(), String::new());
        let record_route =
            (stays || forced).then(|| record_route(core, &self.source, &dest, way.uri.as_deref(), &mut tokens));
        let mut text = String::with_capacity(40);
        proxy::branch(&mut text, "", core.serial(), Some(self.hash));
        let mut changes = self.voucher.changes(&self.message);
        let device = (&dest, way.uri.as_deref().unwrap_or_default());
        match self.media.outgoing(core, &self.message, &self.source, device, branch) {
            Ok(body) => changes.extend(body.map(Change::Body)),
            Err(error) => {
                tracing::warn!(%error, "the media of a call cannot be carried");
                return Err(Failure::Transport);
            }
        }
        let plan = Forward {
            target,
            transport: dest.transport(),
            sent_by: core.hops.sent_by(&dest),
            branch: &text,
            record_route,
            max_breadth,
            changes: &changes,
        };
        let bytes = proxy::forward(&self.message, &plan);
        let user = token.branch(branch).0;
        let sent = turn.shard.layer.request(turn.now, dest, bytes, text.as_bytes(), self.message.method_text(), user);
        match sent {
            Ok(client) => {
                way.client = Some(client);
                if method == Method::Invite {
                    self.alive += 1;
                }
                Ok(())
            }
            Err(_) => Err(Failure::Transport),
        }
    }
}

/// Whether a Contact refers to a registration.
fn refers(contact: Option<&[u8]>) -> bool {
    contact.is_some_and(|value| memchr::memmem::find(value, b"pn-purr=").is_some())
}

/// Looks a next hop up, then goes on with the branch.
fn resolve(turn: &Turn<'_>, token: Token, name: Box<str>, max_breadth: u32) {
    let (core, cell) = (Arc::clone(turn.core), turn.cell);
    core.runtime.clone().spawn(async move {
        let mut found = match Uri::parse(name.as_bytes()) {
            Ok(uri) => core.resolve_all(&uri).await,
            Err(_) => Vec::new(),
        };
        core.visit_cell(cell, |turn| {
            let Some(Work::Proxied(mut work)) = turn.shard.works.take(token) else { return };
            let branch = token.branch_index();
            let launched = if found.is_empty() {
                Err(Failure::Transport)
            } else {
                let first = found.remove(0);
                found.reverse();
                if let Some(way) = work.ways.get_mut(branch) {
                    (way.hop, way.others) = (Hop::Known(first), found);
                }
                work.launch(turn, token, branch, max_breadth)
            };
            if let Err(failure) = launched {
                let actions = work.context.handle_branch_failed(branch, failure, turn.now);
                work.carry_out(turn, token, actions, None);
            }
            keep(turn, token, work);
        });
    });
}

/// Goes on with a branch that has waited.
fn relaunch(turn: &mut Turn<'_>, token: Token) {
    let Some(Work::Proxied(mut work)) = turn.shard.works.take(token) else { return };
    let branch = token.branch_index();
    let over = work.media.is_cancelled() || work.context.is_answered();
    let launched = if over { Err(Failure::Timeout) } else { work.launch(turn, token, branch, 1) };
    if let Err(failure) = launched {
        let actions = work.context.handle_branch_failed(branch, failure, turn.now);
        work.carry_out(turn, token, actions, None);
    }
    keep(turn, token, work);
}

/// Our Record-Route: with the flow on each side where the client is reached only by it (RFC 5626 §5.3.2). The token
/// is also what proves that a later request belongs to a dialog that we let through.
fn record_route<'a>(
    core: &'a Core,
    source: &'a Flow,
    dest: &'a Dest,
    contact: Option<&str>,
    tokens: &'a mut (String, String),
) -> RecordRoute<'a> {
    core.tokens.write(source, &mut tokens.0);
    let by_flow = match dest {
        Dest::Flow(flow) if flow.is_connection() => Some(flow),
        // Behind a NAT the contact's address is not the one seen.
        Dest::Flow(flow) => {
            let uri = contact.and_then(|c| Uri::parse(c.as_bytes()).ok());
            let same = uri.is_some_and(|u| {
                u.ip() == Some(flow.remote.ip().to_canonical()) && u.port.unwrap_or(5060) == flow.remote.port()
            });
            (!same).then_some(flow)
        }
        Dest::Address { .. } => None,
    };
    if let Some(flow) = by_flow {
        core.tokens.write(flow, &mut tokens.1);
    }
    let upstream = proxy::Hop {
        transport: source.transport,
        sent_by: core.hops.sent_by_of(source.listener, source.remote.ip()),
        token: Some(&tokens.0),
    };
    let downstream = proxy::Hop {
        transport: dest.transport(),
        sent_by: core.hops.sent_by(dest),
        token: Some(if by_flow.is_some() { &tokens.1 } else { &tokens.0 }),
    };
    RecordRoute { upstream, downstream }
}

impl Way {
    fn on(routed: &Routed<'_>, hop: Hop) -> Way {
        Way { uri: changed_uri(routed), route: "".into(), hop, name: None, others: Vec::new(), client: None }
    }

    fn to_binding(core: &Core, binding: &Binding) -> Way {
        let hop = core.way_to(binding);
        let route = path_beyond_us(core, binding.path());
        let name = (hop == Hop::Name).then(|| match chappe_sip::text::list(route.as_bytes()).next() {
            Some(first) => {
                let addr = chappe_sip::header::NameAddr::parse(first).map_or(&b""[..], |a| a.uri);
                String::from_utf8_lossy(addr).into()
            }
            None => binding.contact().into(),
        });
        Way { uri: Some(binding.contact().into()), route: route.into(), hop, name, others: Vec::new(), client: None }
    }

    /// By the remaining Route, or the Request-URI.
    fn to_uri(core: &Core, message: &Message, routed: &Routed<'_>) -> Way {
        let uri = changed_uri(routed);
        let target = Target {
            request_uri: uri.as_deref(),
            remove_routes: routed.remove_routes,
            remove_last_route: routed.remove_last_route,
            push_routes: "",
        };
        let next = proxy::next_hop(message, &target);
        let hop = Uri::parse(next.uri.as_bytes()).map_or(Hop::Unsupported, |u| core.hops.of_uri(&u, next.sips));
        let name = (hop == Hop::Name).then(|| next.uri.as_ref().into());
        Way { uri, route: "".into(), hop, name, others: Vec::new(), client: None }
    }
}

/// The Request-URI to go on with, where it is another than received.
fn changed_uri(routed: &Routed<'_>) -> Option<Box<str>> {
    match &routed.request_uri {
        std::borrow::Cow::Owned(uri) => Some(uri.as_str().into()),
        std::borrow::Cow::Borrowed(uri) if routed.remove_last_route => Some((*uri).into()),
        std::borrow::Cow::Borrowed(_) => None,
    }
}

/// A binding whose contact a Request-URI is, for clients that are reached only by the connection they opened.
fn registered_way(core: &Core, routed: &Routed<'_>, uri: &Uri<'_>) -> Option<Way> {
    registered_hop(core, uri).map(|hop| Way::on(routed, hop))
}

/// The way to the device whose contact a URI is, or whose registration it refers to.
pub fn registered_hop(core: &Core, uri: &Uri<'_>) -> Option<Hop> {
    if let Some(purr) = core.push.purrs.read(uri) {
        return core.location.with(purr.aor.as_str(), |bindings| {
            let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |b| purr.admits(b));
            found.first().map(|target| core.way_to(target.binding))
        });
    }
    let user = uri.user_decoded();
    core.settings.domains.iter().find_map(|domain| {
        let aor = format!("{user}@{domain}");
        core.location.with(&aor, |bindings| {
            let found = targets(
                bindings,
                epoch_seconds(),
                |flow| is_alive(core, flow),
                |b| Uri::parse(b.contact().as_bytes()).is_ok_and(|contact| contact.equals(uri)),
            );
            let binding = found.first()?.binding;
            Some(core.way_to(binding))
        })
    })
}

/// The one device that a URI of ours means.
fn only_way(turn: &Turn<'_>, uri: &Uri<'_>) -> Option<Way> {
    let core = turn.core;
    let gruu = core.gruu.read(uri).ok()?;
    let aor: Box<str> = match &gruu {
        Some(gruu) => gruu.aor.as_str().into(),
        None => crate::pipeline::addressee(turn, uri)?.aor.clone(),
    };
    core.location.with(&aor, |bindings| {
        let admits = |b: &Binding| gruu.as_ref().is_none_or(|g| g.admits(b));
        let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), admits);
        match &found[..] {
            [only] => Some(Way::to_binding(core, only.binding)),
            _ => None,
        }
    })
}

/// The Path of a binding without the values that are ours (we are the edge ourselves).
pub fn path_beyond_us<'p>(core: &Core, path: &'p str) -> &'p str {
    let mut rest = path;
    while !rest.is_empty() {
        let Some(first) = chappe_sip::text::list(rest.as_bytes()).next() else { break };
        let ours = chappe_sip::header::NameAddr::parse(first)
            .ok()
            .and_then(|a| a.parse_uri().ok())
            .is_some_and(|uri| core.local.is_our_uri(&uri));
        if !ours {
            break;
        }
        let end = first.as_ptr() as usize + first.len() - rest.as_ptr() as usize;
        rest = rest.get(end..).unwrap_or_default().trim_start_matches([',', ' ', '\t']);
    }
    rest
}
