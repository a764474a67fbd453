//! Who is there, as the conference event package tells it (RFC 4575).
//!
//! A [`Roster`] is what a focus would tell now; each row knows in which revision it last changed. A [`Subscription`] knows
//! what its subscriber has been told, and gets the difference as a document: the first whole and at once, the next not before
//! five seconds have passed. Rows of people who are gone stay a while, so that all see how they went.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chappe_sip::Aor;

use super::{Group, Icon, Members, Membership, Role};

mod subscription;
mod view;
mod write;

pub use subscription::{Document, Subscription};
pub use view::{Seen, View};

pub const ROSTER_TYPE: &str = "application/conference-info+xml";
/// How long somebody who is gone stays on the roster.
pub const LINGER: Duration = Duration::from_secs(60);
/// Rows that were deleted, of which subscribers can be told one by one.
const MAX_GONE: usize = 256;

/// Where the sessions of a member stand (RFC 4575 §5.7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// A member without a session. (u) Operators may show it as connected.
    Pending,
    DialingOut,
    Alerting,
    Connected,
    Disconnected(Departure),
}

/// How somebody went (RFC 4575 §5.7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    Departed,
    /// `by`: a URI, or nothing where it was the operator.
    Booted {
        by: Box<str>,
    },
    Busy,
    Failed {
        status: u16,
    },
}

/// What the roster says of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub name: Option<Box<str>>,
    pub nickname: Option<Box<str>>,
    pub role: Role,
    pub status: Status,
    /// It called the focus, not the focus it.
    pub dialed_in: bool,
}

#[derive(Debug, Clone)]
struct Row {
    person: Person,
    revision: u64,
    /// When it goes from the roster.
    until: Option<Instant>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Description {
    subject: Option<Box<str>>,
    icon: Option<Icon>,
    max_users: usize,
}

/// What a focus tells of its conference. Rows go by the URI of the user.
#[derive(Debug)]
pub struct Roster {
    entity: Box<str>,
    description: Description,
    described: u64,
    rows: BTreeMap<Box<str>, Row>,
    /// As they were taken over last.
    members: Members,
    /// Rows that are gone, by the revision in which they went; those before `floor` are forgotten.
    gone: BTreeMap<u64, Box<str>>,
    floor: u64,
    revision: u64,
    ended: bool,
    /// Documents without their heads, by what the subscriber knows.
    written: Vec<(Option<u64>, Arc<str>)>,
}

impl Roster {
    /// An empty one. `entity`: the URI of the focus.
    pub fn new(entity: &str) -> Roster {
        Roster {
            entity: entity.into(),
            description: Description::default(),
            described: 0,
            rows: BTreeMap::new(),
            members: Members::default(),
            gone: BTreeMap::new(),
            floor: 0,
            revision: 0,
            ended: false,
            written: Vec::new(),
        }
    }

    /// Takes over what a group has become. `uri`: how a user is written. Where somebody who is in has no row yet, it gets one
    /// as [`Status::Pending`]; sessions are told by [`Roster::set_status`].
    pub fn sync(&mut self, group: &Group, max_users: usize, uri: impl Fn(&Aor) -> String, now: Instant) {
        let (subject, icon) = (group.subject.clone(), group.icon.clone());
        self.describe(Description { subject, icon, max_users });
        let before = std::mem::replace(&mut self.members, group.members.clone());
        for member in group.members.changed_since(&before) {
            let key: Box<str> = uri(&member.user).into();
            let before = self.rows.get(&key).map(|row| &row.person);
            let status = match &member.state {
                Membership::Invited | Membership::Joined => match before {
                    Some(person) if !matches!(person.status, Status::Disconnected(_)) => person.status.clone(),
                    _ => Status::Pending,
                },
                // It is gone from the roster already.
                _ if before.is_none() => continue,
                Membership::Left => Status::Disconnected(Departure::Departed),
                Membership::Declined => Status::Disconnected(Departure::Failed { status: 603 }),
                Membership::Removed { by } | Membership::Banned { by } => {
                    let by = if by.is_empty() { Box::default() } else { uri(&Aor::from_canonical(by.clone())).into() };
                    Status::Disconnected(Departure::Booted { by })
                }
            };
            let person = Person {
                name: member.display_name.clone(),
                nickname: member.nickname.clone(),
                role: member.role,
                status,
                dialed_in: before.is_some_and(|person| person.dialed_in),
            };
            self.put(key, person, now);
        }
        if group.closed_ms.is_some() {
            self.end();
        }
    }

    /// Where the sessions of a user stand now. Of somebody who is not on the roster nothing is told.
    pub fn set_status(&mut self, uri: &str, status: Status, dialed_in: bool, now: Instant) {
        if let Some(row) = self.rows.get(uri) {
            let person = Person { status, dialed_in, ..row.person.clone() };
            self.put(uri.into(), person, now);
        }
    }

    /// The conference is over: subscribers are told, and nothing after that.
    pub fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.touch();
        }
    }

    /// Drops the rows whose time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<Box<str>> = self
            .rows
            .iter()
            .filter(|(_, row)| row.until.is_some_and(|at| at <= now))
            .map(|(uri, _)| uri.clone())
            .collect();
        for uri in due {
            self.rows.remove(&uri);
            let revision = self.touch();
            self.gone.insert(revision, uri);
            if self.gone.len() > MAX_GONE
                && let Some((revision, _)) = self.gone.pop_first()
            {
                self.floor = revision;
            }
        }
    }

    /// When [`Roster::handle_timeout`] is next wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.rows.values().filter_map(|row| row.until).min()
    }

    /// Changes with everything that subscribers are to know.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Rows, by URI.
    pub fn people(&self) -> impl Iterator<Item = (&str, &Person)> {
        self.rows.iter().map(|(uri, row)| (&**uri, &row.person))
    }

    fn describe(&mut self, description: Description) {
        if self.description != description {
            self.description = description;
            self.described = self.touch();
        }
    }

    fn put(&mut self, uri: Box<str>, person: Person, now: Instant) {
        if self.rows.get(&uri).is_some_and(|row| row.person == person) {
            return;
        }
        let until = matches!(person.status, Status::Disconnected(_)).then_some(now + LINGER);
        let revision = self.touch();
        self.gone.retain(|_, gone| *gone != uri);
        self.rows.insert(uri, Row { person, revision, until });
    }

    fn touch(&mut self) -> u64 {
        self.revision += 1;
        self.written.clear();
        self.revision
    }

    fn connected(&self) -> usize {
        self.rows.values().filter(|row| row.person.status == Status::Connected).count()
    }
}

#[cfg(test)]
mod tests;
