//! What can be done to a group, and what follows.

use chappe_sip::Aor;

use super::{Icon, Role};

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor<'a> {
    User(&'a Aor),
    /// May do everything.
    Operator,
}

/// How a recipient is named to the others (RFC 5364 §4.1, §4.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Copy {
    #[default]
    To,
    Cc,
    /// Not at all.
    Bcc,
    /// As one of so many.
    AnonymousTo,
    AnonymousCc,
}

impl Copy {
    pub fn as_str(self) -> &'static str {
        match self {
            Copy::To => "to",
            Copy::Cc => "cc",
            Copy::Bcc => "bcc",
            Copy::AnonymousTo => "anonymous-to",
            Copy::AnonymousCc => "anonymous-cc",
        }
    }

    /// From what was kept.
    pub fn parse(text: &str) -> Option<Copy> {
        let all = [Copy::To, Copy::Cc, Copy::Bcc, Copy::AnonymousTo, Copy::AnonymousCc];
        all.into_iter().find(|copy| copy.as_str() == text)
    }
}

/// Somebody who is to be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitee {
    pub user: Aor,
    pub display_name: Option<Box<str>>,
    pub copy: Copy,
}

impl Invitee {
    pub fn new(user: Aor) -> Invitee {
        Invitee { user, display_name: None, copy: Copy::To }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Add(Vec<Invitee>),
    /// `ban`: members cannot bring them back.
    Remove {
        users: Vec<Aor>,
        ban: bool,
    },
    /// The actor is there: it has accepted, or called the focus.
    Join,
    Leave,
    Decline,
    Subject(Option<Box<str>>),
    Icon(Option<Icon>),
    Role {
        user: Aor,
        role: Role,
    },
    Nickname(Option<Box<str>>),
    Open(bool),
    Close,
}

/// What follows from a change, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// For the log; its number there is the one that the change was given.
    Announce(Announcement),
    /// Call the devices of the member as they appear.
    Invite(Aor),
    /// End the sessions and subscriptions of the user.
    Dismiss { user: Aor, why: Why },
    /// What the roster says has changed.
    Roster,
    /// The group is over: end all sessions, subscriptions and the group.
    Ended,
}

/// Why sessions end; says what the BYE does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Left,
    Removed,
    Ended,
}

impl Why {
    /// Reason of the BYE (RFC 3326). A client takes 410 for good.
    pub fn reason(self) -> &'static str {
        match self {
            Why::Left => "SIP;cause=200;text=\"Call completed\"",
            Why::Removed | Why::Ended => "SIP;cause=410;text=\"Gone\"",
        }
    }
}

/// A change as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// `None` for the operator.
    pub by: Option<Aor>,
    pub news: News,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    Created,
    Added(Vec<Aor>),
    Removed(Vec<Aor>),
    Joined,
    Left,
    Declined,
    Subject(Option<Box<str>>),
    Icon(Option<Icon>),
    Role {
        user: Aor,
        role: Role,
    },
    Nickname(Option<Box<str>>),
    Open(bool),
    Closed,
    /// What stood here told of somebody who has been erased.
    Erased,
}

impl Announcement {
    /// As a log keeps it: a line for each value, without anything that ends a line in one.
    pub fn encode(&self) -> String {
        let mut lines = vec![self.by.as_ref().map_or("", Aor::as_str).to_owned()];
        let mut add = |line: &str| lines.push(line.chars().filter(|c| !c.is_control()).collect());
        match &self.news {
            News::Created => add("created"),
            News::Added(users) | News::Removed(users) => {
                add(if matches!(self.news, News::Added(_)) { "added" } else { "removed" });
                users.iter().for_each(|user| add(user.as_str()));
            }
            News::Joined => add("joined"),
            News::Left => add("left"),
            News::Declined => add("declined"),
            News::Subject(text) => {
                add("subject");
                text.iter().for_each(|text| add(text));
            }
            News::Icon(icon) => {
                add("icon");
                match icon {
                    None => {}
                    Some(Icon::Uri(uri)) => add(uri),
                    // The document is with the group; here it would only be old.
                    Some(Icon::File(_)) => add(""),
                }
            }
            News::Role { user, role } => {
                add("role");
                add(user.as_str());
                add(role.as_str());
            }
            News::Nickname(text) => {
                add("nickname");
                text.iter().for_each(|text| add(text));
            }
            News::Open(open) => add(if *open { "open" } else { "closed-to-more" }),
            News::Closed => add("closed"),
            News::Erased => add("erased"),
        }
        lines.join("\n")
    }

    /// Reads what [`Announcement::encode`] wrote; `None` for anything else.
    pub fn decode(text: &str) -> Option<Announcement> {
        let mut lines = text.split('\n');
        let by = lines.next().filter(|by| !by.is_empty()).map(Aor::from_canonical);
        let name = lines.next()?;
        let mut rest = lines;
        let news = match name {
            "created" => News::Created,
            "added" => News::Added(rest.by_ref().map(Aor::from_canonical).collect()),
            "removed" => News::Removed(rest.by_ref().map(Aor::from_canonical).collect()),
            "joined" => News::Joined,
            "left" => News::Left,
            "declined" => News::Declined,
            "subject" => News::Subject(rest.next().map(Into::into)),
            "icon" => News::Icon(rest.next().map(|uri| match uri {
                "" => Icon::File(Box::default()),
                uri => Icon::Uri(uri.into()),
            })),
            "role" => News::Role { user: Aor::from_canonical(rest.next()?), role: Role::parse(rest.next()?)? },
            "nickname" => News::Nickname(rest.next().map(Into::into)),
            "open" => News::Open(true),
            "closed-to-more" => News::Open(false),
            "closed" => News::Closed,
            "erased" => News::Erased,
            _ => return None,
        };
        rest.next().is_none().then_some(Announcement { by, news })
    }
}
