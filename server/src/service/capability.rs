//! Capability discovery (GSMA RCC.07 §2.6): an OPTIONS that speaks of RCS services is answered for all devices of a user
//! in one. Devices that are awake are asked, each at most once in a while whoever wants to know; for those that sleep,
//! what they said last counts, and none is woken. What a presence document says of services is added.
//!
//! Any other OPTIONS goes to the devices like all that is proxied.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahash::RandomState;
use chappe_presence::capability::Tags;
use chappe_sip::header::{Date, NameAddr};
use chappe_sip::layer::ServerKey;
use chappe_sip::proxy::{self, Forward, Routed, Target};
use chappe_sip::registrar::{Binding, sleeping, targets};
use chappe_sip::{Aor, HeaderName, Message, Reply};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::admission::Rates;
use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;
use crate::hops::Hop;
use crate::pipeline::Sender;
use crate::service::pager::is_alive;
use crate::service::{Request, options};
use crate::shard::Turn;
use crate::work::{Token, Work};

const SHARDS: usize = 16;
/// Devices of one user that are remembered.
const DEVICES: usize = 16;
/// Parts of the table of rates.
const ASKERS: usize = 200_000;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct CapabilitySettings {
    /// Whether the server answers; else every OPTIONS is proxied.
    pub enabled: bool,
    /// What a device said is not asked again before.
    pub fresh: Duration,
    /// How long devices have to answer.
    pub answer_within: Duration,
    /// Questions of one user in a second that may reach devices, and how many more at once; the rest is answered from
    /// what is known.
    pub rate: u32,
    pub burst: u32,
    /// Users whose devices are remembered.
    pub max_users: usize,
}

/// What is known of devices.
pub struct Capabilities {
    pub settings: CapabilitySettings,
    known: Box<[Mutex<Users>]>,
    askers: Rates<Box<str>>,
    hasher: RandomState,
    pub queries: AtomicU64,
    pub asked: AtomicU64,
    pub from_memory: AtomicU64,
    pub throttled: AtomicU64,
}

type Users = HashMap<Box<str>, SmallVec<[Known; 1]>, RandomState>;

struct Known {
    device: Box<str>,
    tags: Tags,
    /// In seconds since the epoch.
    at: u64,
}

impl Capabilities {
    pub fn new(settings: CapabilitySettings) -> Capabilities {
        let hasher = RandomState::new();
        Capabilities {
            known: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect(),
            askers: Rates::new(settings.rate, settings.burst, ASKERS),
            hasher,
            settings,
            queries: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            from_memory: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
        }
    }

    fn shard(&self, aor: &str) -> &Mutex<Users> {
        &self.known[self.hasher.hash_one(aor) as usize % SHARDS]
    }

    /// What a device said last, and when.
    fn of(&self, aor: &str, device: &str) -> Option<(Tags, u64)> {
        let shard = self.shard(aor).lock();
        let known = shard.get(aor)?.iter().find(|known| *known.device == *device)?;
        Some((known.tags.clone(), known.at))
    }

    fn learn(&self, aor: &str, device: &str, tags: Tags, now: u64) {
        let mut shard = self.shard(aor).lock();
        if shard.len() >= self.settings.max_users.div_ceil(SHARDS) && !shard.contains_key(aor) {
            let old = now.saturating_sub(3600);
            shard.retain(|_, devices| devices.iter().any(|d| d.at > old));
            if shard.len() >= self.settings.max_users.div_ceil(SHARDS) {
                shard.clear();
            }
        }
        let devices = shard.entry(aor.into()).or_default();
        match devices.iter_mut().find(|known| *known.device == *device) {
            Some(known) => (known.tags, known.at) = (tags, now),
            None => {
                if devices.len() == DEVICES
                    && let Some(oldest) = (0..devices.len()).min_by_key(|at| devices[*at].at)
                {
                    devices.remove(oldest);
                }
                devices.push(Known { device: device.into(), tags, at: now });
            }
        }
    }

    /// Users of whom something is known.
    pub fn users(&self) -> usize {
        self.known.iter().map(|shard| shard.lock().len()).sum()
    }
}

/// A device that has been asked.
struct Asked {
    name: Box<str>,
    /// What its registration says, should it not answer.
    registered: (Tags, u64),
    answered: bool,
}

/// A question on its way to devices.
pub struct Poll {
    key: ServerKey,
    message: Arc<Message>,
    user: Arc<Entry>,
    devices: SmallVec<[Asked; 2]>,
    found: Found,
}

/// What has been found out.
#[derive(Default)]
struct Found {
    tags: Tags,
    /// A device has answered now, or just before.
    awake: bool,
    /// There was something to know at all.
    any: bool,
    /// When the oldest of it was learned.
    oldest: Option<u64>,
}

impl Found {
    fn add(&mut self, tags: &Tags, at: Option<u64>) {
        self.any = true;
        self.tags.add(tags);
        self.oldest = match (self.oldest, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// Whether an OPTIONS is a question for RCS capabilities.
pub fn is_query(core: &Core, message: &Message) -> bool {
    let wants = |value: &[u8]| {
        let params = value.iter().position(|b| *b == b';').map_or(&[][..], |at| &value[at..]);
        Tags::of_params(params).is_rcs()
    };
    core.capabilities.settings.enabled
        && (contact_tags(message).is_some_and(|tags| tags.is_rcs())
            || message.values(HeaderName::AcceptContact).any(wants))
}

fn contact_tags(message: &Message) -> Option<Tags> {
    let contact = NameAddr::parse(message.header(HeaderName::Contact)?).ok()?;
    Some(Tags::of_params(contact.params))
}

/// What a device said of itself when it registered.
pub fn tags_of_binding(binding: &Binding) -> Tags {
    Tags::of_params(binding.params().as_bytes())
}

/// Answers an OPTIONS to a user of ours.
pub fn options(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, user: Arc<Entry>) {
    let (core, message, now) = (turn.core, Arc::clone(&request.message), epoch_seconds());
    let state = &core.capabilities;
    state.queries.fetch_add(1, Ordering::Relaxed);
    let mut found = Found::default();
    published(core, &user.aor, &mut found);
    let may_ask = match &request.sender {
        Sender::User(asker) => state.askers.admit(&asker.aor, core.uptime_ms()),
        Sender::Trusted => true,
        // Nobody vouches for it: devices are left in peace.
        Sender::Outside { .. } => false,
    };
    let fresh = state.settings.fresh.as_secs();
    let voucher = request.sender.voucher();
    let token = turn.shard.works.reserve();
    let mut devices: SmallVec<[Asked; 2]> = SmallVec::new();
    core.location.with(&user.aor, |bindings| {
        let alive = |flow: &chappe_sip::Flow| is_alive(core, flow);
        for target in &targets(bindings, now, alive, |_| true) {
            let binding = target.binding;
            let registered = (tags_of_binding(binding), binding.registered());
            match state.of(&user.aor, binding.device()) {
                Some((tags, at)) if now.saturating_sub(at) < fresh => {
                    found.add(&tags, Some(at));
                    found.awake = true;
                }
                _ if may_ask && devices.len() < 255 => {
                    let copy = Copy { message: &message, routed, changes: &voucher.changes(&message) };
                    match copy.to(turn, binding, token.branch(devices.len())) {
                        true => devices.push(Asked { name: binding.device().into(), registered, answered: false }),
                        false => found.add(&registered.0, Some(registered.1)),
                    }
                }
                known => {
                    let (tags, at) = known.unwrap_or(registered);
                    found.add(&tags, Some(at));
                    found.awake = true;
                    state.throttled.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        for binding in sleeping(bindings, now, alive, |_| true) {
            let known = state.of(&user.aor, binding.device());
            let (tags, at) = known.unwrap_or_else(|| (tags_of_binding(binding), binding.registered()));
            found.add(&tags, Some(at));
        }
    });
    state.asked.fetch_add(devices.len() as u64, Ordering::Relaxed);
    let poll = Box::new(Poll { key: request.key, message, user, devices, found });
    if poll.devices.is_empty() {
        turn.shard.works.end(token);
        state.from_memory.fetch_add(1, Ordering::Relaxed);
        return poll.answer(turn);
    }
    turn.shard.layer.set_user(request.key, token.0);
    turn.wake_at(turn.now + state.settings.answer_within, token);
    turn.shard.works.put(token, Work::Capability(poll));
}

/// The final response of a device, or 408 and 430 for a timeout and a dead flow.
pub fn response(turn: &mut Turn<'_>, token: Token, mut poll: Box<Poll>, status: u16, message: Option<&Message>) {
    if status >= 200
        && let Some(asked) = poll.devices.get_mut(token.branch_index()).filter(|asked| !asked.answered)
    {
        asked.answered = true;
        match message.filter(|_| status < 300) {
            Some(message) => {
                let tags = contact_tags(message).unwrap_or_default();
                poll.found.add(&tags, None);
                poll.found.awake = true;
                turn.core.capabilities.learn(&poll.user.aor, &asked.name, tags, epoch_seconds());
            }
            // It does not say; its registration did.
            None if !asked.registered.0.is_empty() => {
                let (tags, at) = (asked.registered.0.clone(), asked.registered.1);
                poll.found.add(&tags, Some(at));
            }
            None => {}
        }
    }
    match poll.devices.iter().all(|asked| asked.answered) {
        true => {
            turn.shard.works.end(token);
            poll.answer(turn);
        }
        false => turn.shard.works.put(token.branch(0), Work::Capability(poll)),
    }
}

/// Whoever has not answered by now does not count, but for what it said before.
pub fn deadline(turn: &mut Turn<'_>, token: Token, mut poll: Poll) {
    let Poll { devices, found, user, .. } = &mut poll;
    for asked in devices.iter().filter(|asked| !asked.answered) {
        let known = turn.core.capabilities.of(&user.aor, &asked.name);
        let (tags, at) = known.unwrap_or_else(|| (asked.registered.0.clone(), asked.registered.1));
        if !tags.is_empty() {
            found.add(&tags, Some(at));
        }
    }
    turn.shard.works.end(token);
    poll.answer(turn);
}

/// What the user's devices have published of services that are open.
fn published(core: &Core, aor: &str, found: &mut Found) {
    core.presence.with_publications(aor, |publications| {
        for seen in publications.seen() {
            for tuple in seen.document.tuples.iter().filter(|t| t.open == Some(true)) {
                let Some((id, version)) = &tuple.service else { continue };
                let tags = Tags::of_service(id, version);
                if !tags.is_empty() {
                    found.add(&tags, None);
                }
            }
        }
    });
}

impl Poll {
    fn answer(&self, turn: &mut Turn<'_>) {
        let (core, message, found) = (turn.core, &self.message, &self.found);
        if !found.any {
            // Known, and not there.
            return turn.answer(self.key, message, 480);
        }
        let now = epoch_seconds();
        let uri = Aor::from_canonical(self.user.aor.clone()).to_uri();
        // The network has answered, and nobody is there to take a call (RFC 3840 §10).
        let automata = if found.awake { "" } else { ";automata" };
        let contact = format!("<{uri}>{}{automata}", found.tags.params());
        let mut reply = Reply::new(message, 200, &core.tag())
            .header(HeaderName::Contact, &contact)
            .header(HeaderName::Allow, options::ALLOW)
            .header(HeaderName::Accept, "application/sdp")
            .header(HeaderName::Date, &Date::from_unix(now).to_string());
        if let Some(at) = found.oldest {
            reply = reply.header_text("Age", now.saturating_sub(at).to_string().as_bytes());
        }
        turn.respond(self.key, 200, reply.finish());
    }
}

/// What the copies of one question have in common.
struct Copy<'a> {
    message: &'a Arc<Message>,
    routed: &'a Routed<'a>,
    changes: &'a [proxy::Change<'a>],
}

impl Copy<'_> {
    /// Sends it to a device; false where it cannot be reached.
    fn to(&self, turn: &mut Turn<'_>, binding: &Binding, token: Token) -> bool {
        let core = turn.core;
        let Hop::Known(dest) = core.way_to(binding) else { return false };
        let target = Target {
            request_uri: Some(binding.contact()),
            remove_routes: self.routed.remove_routes,
            remove_last_route: self.routed.remove_last_route,
            push_routes: super::proxy::path_beyond_us(core, binding.path()),
        };
        let mut branch = String::with_capacity(40);
        proxy::branch(&mut branch, "", core.serial(), Some(proxy::loop_hash(self.message)));
        let plan = Forward {
            target,
            transport: dest.transport(),
            sent_by: core.hops.sent_by(&dest),
            branch: &branch,
            record_route: None,
            max_breadth: 1,
            changes: self.changes,
        };
        let bytes = proxy::forward(self.message, &plan);
        turn.shard.layer.request(turn.now, dest, bytes, branch.as_bytes(), b"OPTIONS", token.0).is_ok()
    }
}
