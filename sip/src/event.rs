//! Event notification, the notifier's side (RFC 6665 §4.2).
//!
//! [`subscribe`] decides on a SUBSCRIBE outside of a dialog, [`Subscription::refresh`] on one inside; the caller has
//! authenticated and authorized the subscriber, answers with [`Subscription::accept`] or [`Reject::reply`], and sends
//! a NOTIFY at once. All times are in seconds since the Unix epoch.

mod rate;
pub mod reg;

pub use rate::Rate;

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
    /// The package, or the caller, does not let this subscriber in.
    #[error("not allowed")]
    Forbidden,
    /// There are as many subscriptions as the caller holds.
    #[error("too many subscriptions")]
    TooMany,
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
            Reject::Shared | Reject::Forbidden => 403,
            Reject::TooMany => 503,
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

/// What Suppress-If-Match asks for (RFC 5839 §7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Suppress {
    /// `*`: no NOTIFY follows this SUBSCRIBE, whatever the state.
    Always,
    /// None while the state has this tag.
    Same(Box<str>),
}

/// What a NOTIFY carries.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// With parameters, where it has some.
    pub content_type: &'a str,
    pub bytes: &'a [u8],
    /// Names the state that the body shows (RFC 5839): a token.
    pub etag: Option<&'a str>,
}

/// One subscription with its dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub dialog: Dialog,
    package: &'static str,
    event_id: Option<Box<str>>,
    content_type: &'static str,
    min_interval: u32,
    rate: Rate,
    state: State,
    expires: u64,
    /// When the last NOTIFY went.
    notified: u64,
    /// The subscriber asked not to be told what it has already (RFC 5839).
    suppress: Option<Suppress>,
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
    if !request.to_tag().is_empty() {
        // Only where there is a package for it: what is unknown is answered as that.
        named(request, packages)?;
        return Err(Reject::NoSubscription);
    }
    begin(request, packages, policy, granted, now, || Ok(Dialog::uas(request, local_tag, secure)?))
}

/// Decides on a SUBSCRIBE in the dialog of a call, which the subscription then shares (RFC 5057; older clients follow a
/// conference in the dialog of their session). The caller has checked the order of the request; `dialog` is a copy of the
/// call's, and both have to be told what the other sends ([`Dialog::continue_after`]).
pub fn subscribe_within(
    request: &Message,
    mut dialog: Dialog,
    packages: &[&dyn Package],
    policy: &Policy,
    granted: bool,
    now: u64,
) -> Result<Subscription, Reject> {
    begin(request, packages, policy, granted, now, || {
        dialog.refresh_target(request)?;
        Ok(dialog)
    })
}

fn named<'p>(request: &Message, packages: &[&'p dyn Package]) -> Result<&'p dyn Package, Reject> {
    let (name, _) = event(request).ok_or(Reject::BadEvent)?;
    packages.iter().find(|p| p.name() == name).copied().ok_or(Reject::BadEvent)
}

fn begin(
    request: &Message,
    packages: &[&dyn Package],
    policy: &Policy,
    granted: bool,
    now: u64,
    dialog: impl FnOnce() -> Result<Dialog, Reject>,
) -> Result<Subscription, Reject> {
    let package = named(request, packages)?;
    let id = event(request).and_then(|(_, id)| id);
    let expires = expires(request, package.default_expires(), policy)?;
    let content_type = negotiate(request, package)?;
    let mut subscription = Subscription {
        dialog: dialog()?,
        package: package.name(),
        event_id: id.map(Into::into),
        content_type,
        min_interval: package.min_interval(),
        rate: Rate::of(request),
        notified: now,
        suppress: suppress(request),
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
        self.rate = Rate::of(request);
        self.suppress = suppress(request);
        self.expires = now + u64::from(expires);
        // An answer to a SUBSCRIBE is due at once, whatever the rate (§4.2.1.2).
        self.not_before = 0;
        self.end_if_over(now);
        Ok(())
    }

    /// The 200 to the SUBSCRIBE just taken. `contact` is our address with its angle brackets; a GRUU, or whatever
    /// routes to this notifier (§4.5.1).
    pub fn accept(&self, request: &Message, contact: &str, packages: &[&dyn Package], now: u64) -> Bytes {
        self.accept_with(request, 200, contact, packages, "", now)
    }

    /// The same with further header lines, and 204 where [`Subscription::is_suppressed`] says that no NOTIFY follows
    /// (RFC 5839 §7.2).
    pub fn accept_with(
        &self,
        request: &Message,
        status: u16,
        contact: &str,
        packages: &[&dyn Package],
        lines: &str,
        now: u64,
    ) -> Bytes {
        let expires = self.expires.saturating_sub(now).to_string();
        let reply = match status {
            204 => Reply::with_reason(request, 204, "No Notification", &self.dialog.id.local_tag),
            status => Reply::new(request, status, &self.dialog.id.local_tag),
        };
        reply
            .copy(request, HeaderName::RecordRoute)
            .header(HeaderName::Contact, contact)
            .header(HeaderName::Expires, &expires)
            .header(HeaderName::AllowEvents, &allow_events(packages))
            .lines(lines)
            .finish()
    }

    /// The next NOTIFY, with a body of [`Subscription::content_type`] where there is one to show. Only when
    /// [`Subscription::may_notify`] says so. `via` and `contact` as for [`Dialog::request`] and
    /// [`Subscription::accept`].
    pub fn notify(&mut self, via: &str, contact: &str, body: Option<&[u8]>, now: u64) -> Bytes {
        let content_type = self.content_type;
        let body = body.map(|bytes| Body { content_type, bytes, etag: None });
        self.notify_with(via, contact, "", body, now)
    }

    /// The same with further header lines and a body that says itself what it is.
    pub fn notify_with(&mut self, via: &str, contact: &str, lines: &str, body: Option<Body<'_>>, now: u64) -> Bytes {
        self.awaiting = true;
        self.closed = matches!(self.state, State::Terminated { .. });
        self.notified = now;
        self.not_before = now + u64::from(self.rate.interval(self.min_interval));
        self.suppress = None;
        let mut event = self.package.to_owned();
        if let Some(id) = &self.event_id {
            event.push_str(";id=");
            event.push_str(id);
        }
        let left = self.expires.saturating_sub(now);
        let state = match self.state {
            State::Pending => format!("pending;expires={left}"),
            State::Active => format!("active;expires={left}{}", self.rate),
            State::Terminated { reason, retry_after: None } => format!("terminated;reason={}", reason.as_str()),
            State::Terminated { reason, retry_after: Some(s) } => {
                format!("terminated;reason={};retry-after={s}", reason.as_str())
            }
        };
        let draft = self.dialog.request("NOTIFY", via).header(HeaderName::Contact, contact);
        let draft = draft.header(HeaderName::Event, &event).header(HeaderName::SubscriptionState, &state).lines(lines);
        match body {
            Some(Body { content_type, bytes, etag }) => {
                let draft = match etag {
                    Some(etag) => draft.header(HeaderName::SipEtag, etag),
                    None => draft,
                };
                draft.finish_with(content_type, bytes)
            }
            None => draft.finish(),
        }
    }

    /// Whether the subscriber has the state that `etag` names and asked to be spared its NOTIFY (RFC 5839 §7.2); asked
    /// once after each SUBSCRIBE, before it is answered. The end of a subscription is always told.
    pub fn is_suppressed(&self, etag: Option<&str>) -> bool {
        !matches!(self.state, State::Terminated { .. })
            && match &self.suppress {
                None => false,
                Some(Suppress::Always) => true,
                Some(Suppress::Same(known)) => etag == Some(known),
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

    /// When a NOTIFY is due though nothing changed, for one that asked for a minimum rate (RFC 6446 §5.2).
    pub fn must_notify(&self) -> Option<u64> {
        let every = self.rate.at_least_every(self.min_interval)?;
        (self.state == State::Active && !self.awaiting).then(|| self.notified + u64::from(every))
    }

    /// What is to be told next is due at once, whatever the rate: what the subscriber may see has changed.
    pub fn hurry(&mut self) {
        self.not_before = 0;
    }

    /// It has been decided that the subscriber may see the state; a NOTIFY follows.
    pub fn grant(&mut self) {
        if self.state == State::Pending {
            self.state = State::Active;
        }
    }

    /// What was granted is taken back until it is decided anew.
    pub fn suspend(&mut self) {
        if self.state == State::Active {
            self.state = State::Pending;
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

/// Suppress-If-Match; an entity tag is a bare token.
fn suppress(request: &Message) -> Option<Suppress> {
    let value = text::trim(request.header(HeaderName::SuppressIfMatch)?);
    if value == b"*" {
        return Some(Suppress::Always);
    }
    let tag = str::from_utf8(value).ok().filter(|tag| text::is_token_str(tag.as_bytes()))?;
    Some(Suppress::Same(tag.into()))
}

/// The name of the event package that a request is for, without its parameters; `None` where Event is absent, repeated
/// or malformed.
pub fn package_name(request: &Message) -> Option<&str> {
    event(request).map(|(name, _)| name)
}

/// A parameter of Event, where it is a token; its package may lay down what it means.
pub fn parameter<'m>(request: &'m Message, name: &str) -> Option<&'m str> {
    let value = request.header(HeaderName::Event)?;
    let (_, params) = value.split_at(value.iter().position(|b| *b == b';')?);
    let value = text::trim(text::param(params, name)?);
    text::is_token_str(value).then(|| str::from_utf8(value).ok()).flatten()
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
