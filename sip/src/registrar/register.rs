//! The decision itself.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;

use smallvec::{SmallVec, smallvec};

use super::contact::{Contacts, Wanted, contacts};
use super::{Binding, Change, Event, Outcome, Parts, Policy, Refresh, Reject, TooLong, WhenFull};
use crate::header::NameAddr;
use crate::message::Message;
use crate::name::HeaderName;
use crate::transport::{Flow, Transport};
use crate::uri::{Uri, hosts_equal};

/// Option tags that a REGISTER may require (RFC 3327, 5626, 5627, 3840).
pub const OPTION_TAGS: [&str; 4] = ["path", "outbound", "gruu", "pref"];

/// Longest User-Agent kept in a binding, in bytes.
const MAX_USER_AGENT: usize = 64;

/// What a REGISTER makes of `current`, the bindings of its address-of-record (RFC 3261 §10.3 steps 2, 6 and 7; RFC
/// 5626 §6). All its contacts are taken or none.
///
/// A device is known by its instance-id: registering from elsewhere replaces what it had, unless it says by `reg-id`
/// that it holds several flows. A device without instance-id is known by its contact, or, once its flow has died, by
/// its Call-ID. `now` is in seconds since the Unix epoch.
pub fn register(
    request: &Message,
    current: &[Binding],
    policy: &Policy,
    flow: &Flow,
    now: u64,
) -> Result<Outcome, Reject> {
    require_known(request)?;
    let direct = request.values(HeaderName::Via).nth(1).is_none();
    let path = path(request, policy)?;
    let call_id = std::str::from_utf8(request.call_id()).ok().filter(|id| id.len() <= policy.max_params);
    let call_id = call_id.ok_or(Reject::BadRequest("Call-ID Too Long Or Not UTF-8"))?;
    let mut wanted = match contacts(request, policy)? {
        Contacts::None => return Ok(Outcome { direct, ..Outcome::default() }),
        Contacts::All => return remove_all(request, call_id, current, direct, now),
        Contacts::Some(wanted) => wanted,
    };
    let outbound = apply_outbound(request, &mut wanted, policy, direct, &path)?;

    let round = Round { request, current, call_id, path: &path, flow: direct.then_some(*flow), now };
    let mut taken: SmallVec<[bool; 16]> = smallvec![false; current.len()];
    let mut targets: SmallVec<[Option<usize>; 1]> = smallvec![None; wanted.len()];
    let live = |at: usize| current[at].expires() > now;
    for (wanted, target) in wanted.iter().zip(&mut targets) {
        *target = (0..current.len()).find(|at| !taken[*at] && live(*at) && wanted.names(&current[*at]));
        if let Some(at) = *target {
            taken[at] = true;
        }
    }
    for (wanted, target) in wanted.iter().zip(&mut targets).filter(|(w, t)| t.is_none() && !w.removes()) {
        let older = (0..current.len()).filter(|at| !taken[*at] && live(*at) && round.supersedes(wanted, &current[*at]));
        *target = older.max_by_key(|at| current[*at].expires());
        if let Some(at) = *target {
            taken[at] = true;
        }
    }

    let mut outcome = Outcome { changes: SmallVec::new(), outbound, direct };
    for (wanted, target) in wanted.iter().zip(&targets) {
        match *target {
            Some(at) => {
                round.in_order(&current[at])?;
                outcome.changes.push(if wanted.removes() {
                    Change::Remove { at, why: Event::Unregistered }
                } else {
                    round.renew(wanted, at)?
                });
            }
            // Removing what is not there is done already.
            None if wanted.removes() => {}
            None => outcome.changes.push(Change::Add(round.binding(wanted, None)?)),
        }
    }
    for (at, binding) in current.iter().enumerate().filter(|(at, _)| !taken[*at]) {
        if !live(at) {
            outcome.changes.push(Change::Remove { at, why: Event::Expired });
        } else if wanted.iter().any(|w| !w.removes() && round.supersedes(w, binding)) {
            round.in_order(binding)?;
            outcome.changes.push(Change::Remove { at, why: Event::Unregistered });
        }
    }
    make_room(&mut outcome, current, policy)?;
    Ok(outcome)
}

/// §8.2.2.3.
fn require_known(request: &Message) -> Result<(), Reject> {
    let mut unknown = String::new();
    for tag in request.values(HeaderName::Require) {
        if !OPTION_TAGS.iter().any(|known| tag.eq_ignore_ascii_case(known.as_bytes())) {
            let separator = if unknown.is_empty() { "" } else { ", " };
            let _ = write!(unknown, "{separator}{}", String::from_utf8_lossy(tag));
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(Reject::BadExtension(unknown)) }
}

/// The Path as [`Binding::path`] holds it.
fn path<'m>(request: &'m Message, policy: &Policy) -> Result<Cow<'m, str>, Reject> {
    let mut path = Cow::Borrowed("");
    let mut len = 0;
    for line in request.headers(HeaderName::Path) {
        len += line.len() + 2;
        if len > policy.max_path {
            return Err(Reject::BadRequest("Path Too Long"));
        }
        let line = std::str::from_utf8(line).map_err(|_| Reject::BadRequest("Path Is Not UTF-8"))?;
        if path.is_empty() && !line.contains('\n') {
            path = Cow::Borrowed(line);
        } else {
            let path = path.to_mut();
            path.push_str(if path.is_empty() { "" } else { ", " });
            for (count, part) in line.split(['\r', '\n', '\t', ' ']).filter(|part| !part.is_empty()).enumerate() {
                path.push_str(if count > 0 { " " } else { "" });
                path.push_str(part);
            }
        }
    }
    for value in request.values(HeaderName::Path) {
        if !NameAddr::parse(value).is_ok_and(|p| p.bracketed && p.parse_uri().is_ok_and(|uri| uri.is_sip())) {
            return Err(Reject::BadRequest("Path Is Malformed"));
        }
    }
    if policy.strict_path && !path.is_empty() && !request.has_token(HeaderName::Supported, "path") {
        return Err(Reject::BadExtension("path".into()));
    }
    Ok(path)
}

/// Decides whether `reg-id` counts (RFC 5626 §6), and drops it where not. True where the answer has to require
/// outbound.
fn apply_outbound(
    request: &Message,
    wanted: &mut [Wanted<'_>],
    policy: &Policy,
    direct: bool,
    path: &str,
) -> Result<bool, Reject> {
    if wanted.iter().all(|w| w.reg_id.is_none()) {
        return Ok(false);
    }
    let supported = [HeaderName::Supported, HeaderName::Require].iter().any(|h| request.has_token(*h, "outbound"));
    let first_hop = direct || {
        let first = crate::text::list(path.as_bytes()).next().and_then(|p| NameAddr::parse(p).ok());
        first.and_then(|p| p.parse_uri().ok()).is_some_and(|uri| uri.param("ob").is_some())
    };
    if !first_hop {
        if supported && policy.strict_first_hop {
            return Err(Reject::FirstHopLacksOutbound);
        }
        wanted.iter_mut().for_each(|w| w.reg_id = None);
        return Ok(false);
    }
    if wanted.iter().filter(|w| !w.removes()).count() > 1 {
        return Err(Reject::BadRequest("One Contact With reg-id At A Time"));
    }
    Ok(supported)
}

/// `Contact: *` (§10.3 step 6).
fn remove_all(
    request: &Message,
    call_id: &str,
    current: &[Binding],
    direct: bool,
    now: u64,
) -> Result<Outcome, Reject> {
    let mut outcome = Outcome { direct, ..Outcome::default() };
    for (at, binding) in current.iter().enumerate() {
        let why = if binding.expires() > now { Event::Unregistered } else { Event::Expired };
        if why == Event::Unregistered {
            in_order(request, call_id, binding)?;
        }
        outcome.changes.push(Change::Remove { at, why });
    }
    Ok(outcome)
}

fn in_order(request: &Message, call_id: &str, binding: &Binding) -> Result<(), Reject> {
    if binding.call_id() == call_id && request.cseq() <= binding.cseq {
        return Err(Reject::OutOfOrder { seen: binding.cseq, got: request.cseq() });
    }
    Ok(())
}

/// What all contacts of one request have in common.
struct Round<'m> {
    request: &'m Message,
    current: &'m [Binding],
    call_id: &'m str,
    path: &'m str,
    /// `None` behind a proxy, whose connection says nothing about the device.
    flow: Option<Flow>,
    now: u64,
}

impl Round<'_> {
    fn in_order(&self, binding: &Binding) -> Result<(), Reject> {
        in_order(self.request, self.call_id, binding)
    }

    /// Whether `binding` is an older one of the same device, which `wanted` takes the place of.
    fn supersedes(&self, wanted: &Wanted<'_>, binding: &Binding) -> bool {
        match wanted.instance_id {
            Some(_) => wanted.same_device(binding) && (wanted.reg_id.is_none() || binding.reg_id().is_none()),
            // Call-ID stays over the registrations of one client (§10.2), but it may hold several contacts by it: only
            // what is known to be dead goes.
            None => binding.dormant && binding.instance_id().is_none() && binding.call_id() == self.call_id,
        }
    }

    fn expires(&self, wanted: &Wanted<'_>) -> u64 {
        self.now.saturating_add(u64::from(wanted.expires))
    }

    fn renew(&self, wanted: &Wanted<'_>, at: usize) -> Result<Change, Reject> {
        let old = &self.current[at];
        let same = wanted.uri.text == old.contact()
            && wanted.params[..] == *old.params().as_bytes()
            && wanted.instance_id.as_deref() == old.instance_id()
            && wanted.reg_id == old.reg_id()
            && wanted.q == old.q
            && self.path == old.path()
            && user_agent(self.request) == old.user_agent()
            && self.received(wanted) == old.received().parse().ok();
        if !same {
            return Ok(Change::Replace { at, with: self.binding(wanted, Some(old))? });
        }
        let mut call_id = None;
        if old.call_id() != self.call_id {
            Parts { call_id: self.call_id, ..old.parts() }.check().map_err(too_long)?;
            call_id = Some(self.call_id.into());
        }
        let with = Refresh { expires: self.expires(wanted), cseq: self.request.cseq(), call_id, flow: self.flow };
        Ok(Change::Refresh { at, with })
    }

    fn binding(&self, wanted: &Wanted<'_>, old: Option<&Binding>) -> Result<Binding, Reject> {
        self.no_loop(&wanted.uri)?;
        Binding::new(Parts {
            contact: wanted.uri.text,
            params: &String::from_utf8_lossy(&wanted.params),
            instance_id: wanted.instance_id.as_deref(),
            reg_id: wanted.reg_id,
            call_id: self.call_id,
            cseq: self.request.cseq(),
            q: wanted.q,
            path: self.path,
            flow: self.flow,
            received: &self.received(wanted).map_or_else(String::new, |source| source.to_string()),
            registered: old.map_or(self.now, Binding::registered),
            expires: self.expires(wanted),
            user_agent: user_agent(self.request),
            dormant: false,
        })
        .map_err(too_long)
    }

    /// Where a UDP client is seen to be, if its contact says otherwise.
    fn received(&self, wanted: &Wanted<'_>) -> Option<SocketAddr> {
        let flow = self.flow.filter(|flow| flow.transport == Transport::Udp)?;
        wanted.received(flow.remote)
    }

    /// A contact that leads back to the AOR, or is a GRUU of it, would loop (RFC 5627 §5.1).
    fn no_loop(&self, contact: &Uri<'_>) -> Result<(), Reject> {
        let to = self.request.to();
        let to = to.as_ref().and_then(|to| to.parse_uri().ok()).ok_or(Reject::BadRequest("To Is Malformed"))?;
        let gruu = contact.param("gr").is_some() && hosts_equal(contact.host, to.host);
        if gruu || contact.equals(&to) {
            return Err(Reject::Forbidden("Contact Is The Address-Of-Record"));
        }
        Ok(())
    }
}

/// A header section is not long enough to get here, whatever the policy allows, so that the words matter little.
fn too_long(_: TooLong) -> Reject {
    Reject::BadRequest("Contact Too Long")
}

fn user_agent(request: &Message) -> &str {
    let agent = request.header(HeaderName::UserAgent).unwrap_or_default();
    let agent = &agent[..agent.len().min(MAX_USER_AGENT)];
    let agent = agent.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
    match std::str::from_utf8(agent) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&agent[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// Keeps to [`Policy::max_bindings`].
fn make_room(outcome: &mut Outcome, current: &[Binding], policy: &Policy) -> Result<(), Reject> {
    let added = outcome.changes.iter().filter(|c| matches!(c, Change::Add(_))).count();
    if added == 0 || current.len() + added <= policy.max_bindings {
        return Ok(());
    }
    let removed = outcome.changes.iter().filter(|c| matches!(c, Change::Remove { .. })).count();
    let excess = (current.len() + added - removed).saturating_sub(policy.max_bindings);
    if excess == 0 {
        return Ok(());
    }
    if policy.when_full == WhenFull::Refuse || added > policy.max_bindings {
        return Err(Reject::Full(current.len() - removed));
    }
    let touched = |at: usize| {
        outcome.changes.iter().any(|change| match change {
            Change::Add(_) => false,
            Change::Replace { at: a, .. } | Change::Refresh { at: a, .. } | Change::Remove { at: a, .. } => *a == at,
        })
    };
    let mut victims: Vec<usize> = (0..current.len()).filter(|at| !touched(*at)).collect();
    victims.sort_by_key(|at| (!current[*at].dormant, current[*at].registered(), current[*at].expires()));
    if victims.len() < excess {
        return Err(Reject::Full(current.len() - removed));
    }
    outcome.changes.extend(victims[..excess].iter().map(|at| Change::Remove { at: *at, why: Event::Deactivated }));
    Ok(())
}
