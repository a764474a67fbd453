//! What happens to a new request before a service gets it, in order: stop, sanity, route, overload, identity, rates.

use std::sync::Arc;

use bytes::Bytes;
use chappe_sip::layer::ServerKey;
use chappe_sip::proxy::identity::{Parties, identity};
use chappe_sip::proxy::{self, Change, Destination};
use chappe_sip::{Aor, Flow, HeaderName, Message, Method, Reply, Scheme, Uri};
use smallvec::SmallVec;

use crate::admission::Offence;
use crate::core::{Challenge, epoch_seconds, is_sheltered};
use crate::directory::Entry;
use crate::identity::{Checked, Fresh, Role};
use crate::metrics::{Shed, Verdict as Outcome};
use crate::service::{self, Request};
use crate::shard::Turn;

/// Who stands behind a request.
#[derive(Debug, Clone)]
pub enum Sender {
    /// A peer of the trust domain: what it says of the sender is believed.
    Trusted,
    /// One of our users.
    User(Arc<Entry>),
    /// Somebody of another domain, or one whose dialog we set up.
    Outside { in_dialog: bool },
}

impl Sender {
    /// What we can say of the sender's identity.
    pub fn voucher(&self) -> Voucher {
        match self {
            Sender::Trusted => Voucher { from_trusted: true, identities: SmallVec::new() },
            Sender::Outside { .. } => Voucher { from_trusted: false, identities: SmallVec::new() },
            Sender::User(entry) => {
                let sip = Aor::from_canonical(entry.aor.clone()).to_uri();
                let tel = entry.tel.iter().map(|tel| format!("tel:{tel}"));
                Voucher { from_trusted: false, identities: std::iter::once(sip).chain(tel).collect() }
            }
        }
    }

    /// Whether the request may leave our domains.
    pub fn may_relay(&self) -> bool {
        match self {
            Sender::Trusted | Sender::User(_) => true,
            Sender::Outside { in_dialog } => *in_dialog,
        }
    }
}

/// Whose identity we vouch for (RFC 3325).
#[derive(Debug, Clone)]
pub struct Voucher {
    from_trusted: bool,
    identities: SmallVec<[String; 2]>,
}

impl Voucher {
    /// The header changes for a device of ours, which is outside the trust domain.
    pub fn changes<'m>(&self, message: &'m Message) -> SmallVec<[Change<'m>; 2]> {
        let identities: SmallVec<[&str; 2]> = self.identities.iter().map(String::as_str).collect();
        let parties = Parties { from_trusted: self.from_trusted, identities: &identities, ..Parties::default() };
        // Only strictness refuses, and that is not asked for.
        identity(message, &parties).unwrap_or_default()
    }
}

/// Takes a new request through the steps and hands it to its service.
pub fn request(turn: &mut Turn<'_>, key: ServerKey, message: Arc<Message>, flow: &Flow, trusted: bool) {
    let core = turn.core;
    if core.is_stopping() && !is_sheltered(&message) {
        return shed(turn, key, &message, Shed::Stopping);
    }
    if let Err(reject) = proxy::validate(&message, &core.settings.proxy, &core.local) {
        let bytes = reject.reply(&message, &core.tag());
        return turn.respond(key, reject.status, bytes);
    }
    if core.overloaded() && !is_sheltered(&message) {
        return shed(turn, key, &message, Shed::Store);
    }

    let routed = proxy::route(&message, &core.local, flow.listener);
    if message.method() == Method::Register && routed.destination == Destination::Server && routed.next_route.is_none()
    {
        return service::registrar::register(turn, key, &message, flow);
    }

    // A dialog that we record-routed comes back with a token of ours.
    let token = routed.flow_token.and_then(|t| core.tokens.read(t).ok());
    let sender = match identify(turn, &message, flow, trusted, token.is_some() && routed.in_dialog, routed.destination)
    {
        Ok(sender) => sender,
        Err(Answer { status: 407, bytes }) => return turn.challenge(key, &message, flow, 407, bytes),
        Err(Answer { status, bytes }) => return turn.respond(key, status, bytes),
    };
    if let Sender::User(entry) = &sender
        && !flow.remote.ip().is_loopback()
        && !core.admission.users.admit(&entry.aor, core.uptime_ms())
        && !is_sheltered(&message)
    {
        return shed(turn, key, &message, Shed::UserRate);
    }

    let request = Request { key, message: Arc::clone(&message), flow: *flow, sender };
    service::dispatch(turn, request, &routed, token);
}

struct Answer {
    status: u16,
    bytes: Bytes,
}

fn shed(turn: &mut Turn<'_>, key: ServerKey, message: &Message, why: Shed) {
    turn.core.counters.shed(why);
    match turn.core.busy(message) {
        Some(bytes) => turn.respond(key, 503, bytes),
        None => turn.shard.layer.terminate_server(key),
    }
}

/// Finds out who sent the request, or what to answer instead (RFC 3261 §22.3).
fn identify(
    turn: &Turn<'_>,
    message: &Message,
    flow: &Flow,
    trusted: bool,
    known_dialog: bool,
    destination: Destination,
) -> Result<Sender, Answer> {
    let core = turn.core;
    if trusted {
        return Ok(Sender::Trusted);
    }
    // What the server answers itself, to anybody; and nobody who calls for help is asked for a password.
    if destination == Destination::Server || proxy::overload::is_emergency_service(message.uri()) {
        return Ok(Sender::Outside { in_dialog: known_dialog });
    }
    let from = message.from().and_then(|a| a.parse_uri().ok());
    let claimed = from.as_ref().and_then(|uri| claimed_user(turn, uri));
    if let Some((aor, domain)) = claimed {
        let entry = core.directory.find(aor.as_str()).or_else(|| core.directory.find_tel(aor.as_str()));
        if let Some(entry) = &entry
            && !entry.disabled
            && (core.settings.challenge == Challenge::RegisterOnly || core.identity.knows(flow, &entry.aor))
        {
            return Ok(Sender::User(Arc::clone(entry)));
        }
        if known_dialog && core.settings.challenge != Challenge::All {
            return Ok(Sender::Outside { in_dialog: true });
        }
        let tag = core.tag();
        let fresh =
            Fresh { now: epoch_seconds(), salt: core.random().to_be_bytes(), tag: &tag, secure: is_private(flow) };
        let checked = core.identity.check(message, Role::Proxy, domain, &core.directory, fresh);
        return match checked {
            // One of the names of the account, or nobody else's.
            Checked::User(user) if entry.as_ref().is_some_and(|e| e.aor == user.aor) => {
                core.counters.authentication(Outcome::Accepted);
                core.identity.remember(flow, &user);
                Ok(Sender::User(user))
            }
            Checked::User(_) => Err(answer(turn, message, 403, "From Is Not The Authenticated User")),
            Checked::Challenge(bytes) => {
                core.counters.authentication(Outcome::Challenged);
                Err(Answer { status: 407, bytes })
            }
            Checked::Wrong { answer, unknown } => {
                core.counters.authentication(Outcome::Refused);
                core.offence(flow, if unknown { Offence::UnknownUser } else { Offence::WrongPassword });
                Err(Answer { status: 407, bytes: answer })
            }
        };
    }
    if destination == Destination::Elsewhere && !known_dialog {
        core.counters.relay_denied();
        return Err(answer(turn, message, 403, "Relaying Denied"));
    }
    Ok(Sender::Outside { in_dialog: known_dialog })
}

/// Whether nobody between us and the peer can read along: over TLS, or within this machine.
pub fn is_private(flow: &Flow) -> bool {
    flow.transport.is_secure() || flow.remote.ip().is_loopback()
}

/// The user of ours that a From claims to be, and the domain whose password counts.
fn claimed_user<'c>(turn: &Turn<'c>, from: &Uri<'_>) -> Option<(Aor, &'c str)> {
    let core = turn.core;
    match from.scheme {
        Scheme::Tel => {
            let aor = Aor::of(from)?;
            let entry = core.directory.find_tel(aor.as_str())?;
            let domain = core.domain(entry.aor.rsplit_once('@')?.1)?;
            Some((Aor::from_canonical(entry.aor.clone()), domain))
        }
        Scheme::Sip | Scheme::Sips => {
            let domain = core.domain(from.host)?;
            let user = from.user_decoded();
            if user.is_empty() {
                return None;
            }
            Some((Aor::from_canonical(format!("{user}@{domain}")), domain))
        }
        Scheme::Urn | Scheme::Other => None,
    }
}

fn answer(turn: &Turn<'_>, message: &Message, status: u16, reason: &str) -> Answer {
    Answer { status, bytes: Reply::with_reason(message, status, reason, &turn.core.tag()).finish() }
}

/// The name of our user that a Request-URI means: an AOR, a number, or a user at one of our addresses.
pub fn addressee(turn: &Turn<'_>, uri: &Uri<'_>) -> Option<Arc<Entry>> {
    let core = turn.core;
    match uri.scheme {
        Scheme::Tel => core.directory.find_tel(&chappe_sip::uri::number(uri.user)),
        Scheme::Sip | Scheme::Sips => {
            let domain = core.domain(uri.host)?;
            let user = uri.user_decoded();
            let mut aor = String::with_capacity(user.len() + 1 + domain.len());
            for part in [&*user, "@", domain] {
                aor.push_str(part);
            }
            core.directory.find(&aor).or_else(|| {
                let number = user.split(';').next().unwrap_or_default();
                let is_number =
                    number.starts_with('+') || uri.param("user").is_some_and(|u| u.eq_ignore_ascii_case("phone"));
                is_number.then(|| core.directory.find_tel(&chappe_sip::uri::number(number)))?
            })
        }
        Scheme::Urn | Scheme::Other => None,
    }
}

/// Whether the request names an option in Require that we, as its end, do not know: the 420 to send.
pub fn bad_extension(turn: &Turn<'_>, message: &Message, known: &[&str]) -> Option<Bytes> {
    let mut unsupported = String::new();
    for tag in message.values(HeaderName::Require) {
        if !known.iter().any(|k| k.as_bytes().eq_ignore_ascii_case(tag)) {
            if !unsupported.is_empty() {
                unsupported.push_str(", ");
            }
            unsupported.push_str(&String::from_utf8_lossy(tag));
        }
    }
    let reply = || Reply::new(message, 420, &turn.core.tag()).header(HeaderName::Unsupported, &unsupported).finish();
    (!unsupported.is_empty()).then(reply)
}
