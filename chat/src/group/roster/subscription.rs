//! What one subscriber has been told, and when it is told more (RFC 4575 §3.9, §4.3, §4.4).

use std::time::{Duration, Instant};

use super::Roster;
use super::write::Kind;
use crate::xml::push_attribute;

/// Between two documents for one subscriber.
const PACE: Duration = Duration::from_secs(5);

/// A subscription of one dialog.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Of the last document.
    version: u32,
    /// The revision that it told of; `None`: all is to be told.
    seen: Option<u64>,
    /// Nothing before this.
    not_before: Option<Instant>,
    /// The row that is marked as the subscriber's own, as RCS-e clients want it.
    own: Option<Box<str>>,
    ended: bool,
}

/// A document for a NOTIFY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub version: u32,
    pub text: String,
    /// The last one: the subscription ends with it, for there is no resource any more.
    pub is_last: bool,
}

impl Subscription {
    /// One that has just begun. `own`: the URI of the subscriber, where its row is to be marked.
    pub fn new(own: Option<&str>) -> Subscription {
        Subscription { version: 0, seen: None, not_before: None, own: own.map(Into::into), ended: false }
    }

    /// The subscriber has subscribed again, or a NOTIFY did not reach it: it is told everything, at once.
    pub fn refresh(&mut self) {
        self.seen = None;
        self.not_before = None;
    }

    /// The next document, where one is due.
    pub fn poll(&mut self, roster: &mut Roster, now: Instant) -> Option<Document> {
        self.poll_early(roster, now, Duration::ZERO)
    }

    /// The same up to `early` before its time, for a caller with a coarser clock. The one after it is due a full pace after
    /// `now` all the same.
    pub fn poll_early(&mut self, roster: &mut Roster, now: Instant, early: Duration) -> Option<Document> {
        if self.due(roster).is_none_or(|due| due.is_some_and(|at| at > now + early)) {
            return None;
        }
        let (kind, body) = roster.body(self.seen);
        self.version = self.version.wrapping_add(1);
        self.seen = Some(roster.revision());
        self.not_before = Some(now + PACE);
        self.ended = kind == Kind::Deleted;
        let mut text = roster.head(kind, self.version);
        self.push_body(&mut text, &body);
        Some(Document { version: self.version, text, is_last: self.ended })
    }

    /// When [`Subscription::poll`] is next wanted: `now` at the earliest, `None` while there is nothing to tell.
    pub fn poll_timeout(&self, roster: &Roster, now: Instant) -> Option<Instant> {
        self.due(roster).map(|at| at.map_or(now, |at| at.max(now)))
    }

    /// `Some(None)`: at once.
    fn due(&self, roster: &Roster) -> Option<Option<Instant>> {
        if self.ended || self.seen == Some(roster.revision()) {
            return None;
        }
        // That it is over cannot wait.
        Some(self.not_before.filter(|_| !roster.is_ended()))
    }

    fn push_body(&self, text: &mut String, body: &str) {
        let own = self.own.as_ref().and_then(|own| {
            let mut tag = String::from("<user");
            push_attribute(&mut tag, "entity", own);
            body.find(&tag).map(|at| at + tag.len())
        });
        match own {
            Some(at) => {
                text.push_str(&body[..at]);
                push_attribute(text, "yourown", "true");
                text.push_str(&body[at..]);
            }
            None => text.push_str(body),
        }
    }
}
