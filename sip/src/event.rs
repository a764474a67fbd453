//! Event notification, the notifier's side (RFC 6665 §4.2).
//!
//! [`subscribe`] decides on a SUBSCRIBE outside of a dialog, [`Subscription::refresh`] on one inside; the caller has
//! authenticated and authorized the subscriber, answers with [`Subscription::accept`] or [`Reject::reply`], and sends
//! a NOTIFY at once. All times are in seconds since the Unix epoch.

pub mod reg;

use bytes::Bytes;

use crate::dialog::{Dialog, DialogError};
use crate::message::Message;
use crate::name::HeaderName;
use crate::reply::Reply;
use crate::text;

/// What an event package lays down (RFC 6665 §5.4).
pub trait Package: Sync {
    /// The value of Event, a template with its package: `presence.winfo`.
    fn name(&self) -> &'static str;
    /// The body types it can write; the first is the one meant without an Accept.
    fn content_types(&self) -> &'static [&'static str];
    /// Duration in seconds where the subscriber names none.
    fn default_expires(&self) -> u32;
    /// Least seconds between two notifications to one subscriber.
    fn min_interval(&self) -> u32;
}

/// The notifier's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// In seconds; shorter ones are refused with 423, if they are below an hour too (§4.2.1.1).
    pub min_expires: u32,
    /// In seconds; longer ones are cut.
    pub max_expires: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { min_expires: 60, max_expires: 86_400 }
    }
}

/// Why a SUBSCRIBE is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    #[error("no event package of that name")]
    BadEvent,
    #[error("shorter than {min} s")]
    TooBrief { min: u32 },
    #[error("none of the body types in Accept is one of the package's")]
    NotAcceptable { can: &'static str },
    #[error("no such subscription")]
    NoSubscription,
    #[error("another subscription in the same dialog")]
    Shared,
    #[error(transparent)]
    Dialog(#[from] DialogError),
}

impl Reject {
    pub fn status(self) -> u16 {
        match self {
            Reject::BadEvent => 489,
            Reject::TooBrief { .. } => 423,
            Reject::NotAcceptable { .. } => 406,
            Reject::NoSubscription => 481,
            Reject::Shared => 403,
            Reject::Dialog(error) => error.status(),
        }
    }

    /// The answer. `packages` are all that the notifier has, for Allow-Events.
    pub fn reply(self, request: &Message, to_tag: &str, packages: &[&dyn Package]) -> Bytes {
        let reply = match self {
            // §4.5.2 wants the reason told.
            Reject::Shared => Reply::with_reason(request, 403, "Dialog Sharing Not Supported", to_tag),
            _ => Reply::new(request, self.status(), to_tag),
        };
        match self {
            Reject::BadEvent => reply.header(HeaderName::AllowEvents, &allow_events(packages)).finish(),
            Reject::TooBrief { min } => reply.header(HeaderName::MinExpires, &min.to_string()).finish(),
            Reject::NotAcceptable { can } => reply.header(HeaderName::Accept, can).finish(),
            _ => reply.finish(),
        }
    }
}

/// The value of Allow-Events; template packages are not named (§4.4.4).
pub fn allow_events(packages: &[&dyn Package]) -> String {
    let names: Vec<_> = packages.iter().map(|p| p.name()).filter(|name| !name.contains('.')).collect();
    names.join(", ")
}

/// Why a subscription ended (§4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Subscribe anew at once: the state has moved, or was lost.
    Deactivated,
    /// Subscribe anew later.
    Probation,
    /// No longer allowed.
    Rejected,
    /// It ran out, or was a fetch.
    Timeout,
    /// Nobody decided in time whether it is allowed.
    Giveup,
    /// The resource is no more.
    NoResource,
    /// The state will not change any more.
    Invariant,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Deactivated => "deactivated",
            Reason::Probation => "probation",
            Reason::Rejected => "rejected",
            Reason::Timeout => "timeout",
            Reason::Giveup => "giveup",
            Reason::NoResource => "noresource",
            Reason::Invariant => "invariant",
        }
    }
}

/// ```text
/// SUBSCRIBE ──▶ Pending ──granted──▶ Active
///     └───────────│────────────────────▲ │
///                 └──▶ Terminated ◀──────┘   time, policy, a NOTIFY that failed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Accepted, but nobody has decided whether the subscriber may see anything.
    Pending,
    Active,
    /// A last NOTIFY says so; `retry_after` in seconds.
    Terminated {
        reason: Reason,
        retry_after: Option<u32>,
    },
}

/// What a NOTIFY's fate means for its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It lives.
    Keep,
    /// It is to be forgotten, without another NOTIFY.
    Remove,
}

/// One subscription with its dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub dialog: Dialog,
    package: &'static str,
    event_id: Option<Box<str>>,
    content_type: &'static str,
    min_interval: u32,
    state: State,
    expires: u64,
    /// A NOTIFY is under way, so that another could overtake it.
    awaiting: bool,
    /// The NOTIFY that tells of the end has been sent.
    closed: bool,
    /// No NOTIFY before.
    not_before: u64,
    version: u32,
}

/// Decides on a SUBSCRIBE outside of a dialog. With a To tag it belongs to a dialog that is not known here (481).
/// `granted` is false while it is undecided whether the subscriber may see the state. `secure`: it came over TLS.
/// Expires 0 makes a subscription that is over with its first NOTIFY (§4.4.3).
pub fn subscribe(
    request: &Message,
    packages: &[&dyn Package],
    policy: &Policy,
    local_tag: &str,
    secure: bool,
    granted: bool,
    now: u64,
) -> Result<Subscription, Reject> {
    let (name, id) = event(request).ok_or(Reject::BadEvent)?;
    let package = packages.iter().find(|p| p.name() == name).ok_or(Reject::BadEvent)?;
    if !request.to_tag().is_empty() {
        return Err(Reject::NoSubscription);
    }
    let expires = expires(request, package.default_expires(), policy)?;
    let content_type = negotiate(request, *package)?;
    let mut subscription = Subscription {
        dialog: Dialog::uas(request, local_tag, secure)?,
        package: package.name(),
        event_id: id.map(Into::into),
        content_type,
        min_interval: package.min_interval(),
        state: if granted { State::Active } else { State::Pending },
        expires: now + u64::from(expires),
        awaiting: false,
        closed: false,
        not_before: 0,
        version: 0,
    };
    subscription.end_if_over(now);
    Ok(subscription)
}

impl Subscription {
    /// Decides on a SUBSCRIBE within this subscription's dialog: a refresh, or with Expires 0 the end. A NOTIFY with
    /// the full state follows either way.
    pub fn refresh(
        &mut self,
        request: &Message,
        package: &dyn Package,
        policy: &Policy,
        now: u64,
    ) -> Result<(), Reject> {
        if matches!(self.state, State::Terminated { .. }) {
            return Err(Reject::NoSubscription);
        }
        let (name, id) = event(request).ok_or(Reject::BadEvent)?;
        if name != self.package || id != self.event_id.as_deref() {
            return Err(Reject::Shared);
        }
        let expires = expires(request, package.default_expires(), policy)?;
        let content_type = negotiate(request, package)?;
        self.dialog.receive(request)?;
        self.dialog.refresh_target(request)?;
        self.content_type = content_type;
        self.expires = now + u64::from(expires);
        // An answer to a SUBSCRIBE is due at once, whatever the rate (§4.2.1.2).
        self.not_before = 0;
        self.end_if_over(now);
        Ok(())
    }

    /// The 200 to the SUBSCRIBE just taken. `contact` is our address with its angle brackets; a GRUU, or whatever
    /// routes to this notifier (§4.5.1).
    pub fn accept(&self, request: &Message, contact: &str, packages: &[&dyn Package], now: u64) -> Bytes {
        let expires = self.expires.saturating_sub(now).to_string();
        Reply::new(request, 200, &self.dialog.id.local_tag)
            .copy(request, HeaderName::RecordRoute)
            .header(HeaderName::Contact, contact)
            .header(HeaderName::Expires, &expires)
            .header(HeaderName::AllowEvents, &allow_events(packages))
            .finish()
    }

    /// The next NOTIFY, with a body of [`Subscription::content_type`] where there is one to show. Only when
    /// [`Subscription::may_notify`] says so. `via` and `contact` as for [`Dialog::request`] and
    /// [`Subscription::accept`].
    pub fn notify(&mut self, via: &str, contact: &str, body: Option<&[u8]>, now: u64) -> Bytes {
        self.awaiting = true;
        self.closed = matches!(self.state, State::Terminated { .. });
        self.not_before = now + u64::from(self.min_interval);
        let mut event = self.package.to_owned();
        if let Some(id) = &self.event_id {
            event.push_str(";id=");
            event.push_str(id);
        }
        let left = self.expires.saturating_sub(now);
        let state = match self.state {
            State::Pending => format!("pending;expires={left}"),
            State::Active => format!("active;expires={left}"),
            State::Terminated { reason, retry_after: None } => format!("terminated;reason={}", reason.as_str()),
            State::Terminated { reason, retry_after: Some(s) } => {
                format!("terminated;reason={};retry-after={s}", reason.as_str())
            }
        };
        let draft = self.dialog.request("NOTIFY", via).header(HeaderName::Contact, contact);
        let draft = draft.header(HeaderName::Event, &event).header(HeaderName::SubscriptionState, &state);
        match body {
            Some(body) => draft.finish_with(self.content_type, body),
            None => draft.finish(),
        }
    }

    /// Takes the fate of the NOTIFY under way: the final status of its response, or `None` where none came or it could
    /// not be sent. `retry_after` is that of the response, in seconds.
    pub fn notified(&mut self, status: Option<u16>, retry_after: Option<u32>, now: u64) -> Fate {
        self.awaiting = false;
        match status {
            _ if self.closed => Fate::Remove,
            // §4.2.2
            None | Some(404 | 405 | 408 | 410 | 416 | 480..=485 | 489 | 501 | 604) => Fate::Remove,
            Some(_) => {
                if let Some(wait) = retry_after {
                    self.not_before = self.not_before.max(now + u64::from(wait));
                }
                Fate::Keep
            }
        }
    }

    /// When the next NOTIFY may go: `None` while one is under way, else a time, which may be past. The last one of a
    /// subscription need not keep to the rate.
    pub fn may_notify(&self) -> Option<u64> {
        match self.state {
            _ if self.awaiting => None,
            State::Terminated { .. } => Some(0),
            _ => Some(self.not_before),
        }
    }

    /// It has been decided that the subscriber may see the state; a NOTIFY follows.
    pub fn grant(&mut self) {
        if self.state == State::Pending {
            self.state = State::Active;
        }
    }

    /// Ends the subscription; a last NOTIFY says why, and with `retry_after` in seconds when to come again.
    pub fn terminate(&mut self, reason: Reason, retry_after: Option<u32>) {
        if !matches!(self.state, State::Terminated { .. }) {
            self.state = State::Terminated { reason, retry_after };
        }
    }

    /// Ends the subscription if its time is over; a last NOTIFY is then due.
    pub fn handle_timeout(&mut self, now: u64) -> bool {
        let before = self.state;
        self.end_if_over(now);
        self.state != before
    }

    /// When it runs out.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the subscriber may be told the state: the body of a pending one is empty or neutral.
    pub fn shows_state(&self) -> bool {
        !matches!(self.state, State::Pending | State::Terminated { reason: Reason::Rejected | Reason::Giveup, .. })
    }

    pub fn package(&self) -> &'static str {
        self.package
    }

    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Numbers the documents of this subscription: 0, 1, 2, ….
    pub fn next_version(&mut self) -> u32 {
        let version = self.version;
        self.version = version.wrapping_add(1);
        version
    }

    fn end_if_over(&mut self, now: u64) {
        if self.expires <= now {
            self.terminate(Reason::Timeout, None);
        }
    }
}

/// Event as (type, id); both are compared byte by byte (§8.2.1). `None` where absent, repeated or malformed.
fn event(request: &Message) -> Option<(&str, Option<&str>)> {
    let mut lines = request.headers(HeaderName::Event);
    let (value, None) = (lines.next()?, lines.next()) else { return None };
    let (name, params) = value.split_at(value.iter().position(|b| *b == b';').unwrap_or(value.len()));
    let token = |part| Some(text::trim(part)).filter(|t| text::is_token_str(t)).and_then(|t| str::from_utf8(t).ok());
    let id = match text::param(params, "id") {
        Some(id) => Some(token(id)?),
        None => None,
    };
    Some((token(name)?, id))
}

/// The duration to grant, in seconds.
fn expires(request: &Message, default: u32, policy: &Policy) -> Result<u32, Reject> {
    let wanted = request.number(HeaderName::Expires).map_or(default, |n| u32::try_from(n).unwrap_or(u32::MAX));
    if wanted > 0 && wanted < policy.min_expires && wanted < 3600 {
        return Err(Reject::TooBrief { min: policy.min_expires });
    }
    Ok(wanted.min(policy.max_expires))
}

/// The first of the package's types that Accept takes.
fn negotiate(request: &Message, package: &dyn Package) -> Result<&'static str, Reject> {
    let can = package.content_types();
    let first = can.first().copied().unwrap_or_default();
    if request.header(HeaderName::Accept).is_none() {
        return Ok(first);
    }
    let takes = |offer: &str| {
        request.values(HeaderName::Accept).any(|range| {
            let range = text::trim(range.split(|b| *b == b';').next().unwrap_or_default());
            let (kind, _) = offer.split_once('/').unwrap_or((offer, ""));
            range == b"*/*"
                || range.eq_ignore_ascii_case(offer.as_bytes())
                || range.strip_suffix(b"/*").is_some_and(|r| r.eq_ignore_ascii_case(kind.as_bytes()))
        })
    };
    can.iter().copied().find(|offer| takes(offer)).ok_or(Reject::NotAcceptable { can: first })
}

#[cfg(test)]
mod tests;
