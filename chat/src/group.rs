//! Group chat without I/O: who is in, who may do what, and what follows from it (RFC 4353, RFC 5366, GSMA RCC.07 §3.4).
//!
//! A [`Group`] is changed by [`Group::apply`], which tells what is to be done and leaves the group as it was where it
//! refuses. Members are users, never devices. What a member gets is decided by its interval of the group's log
//! ([`Member::since`], [`Member::until`]).

mod apply;
pub mod authors;
mod change;
mod create;
pub mod data;
mod erase;
mod id;
pub mod ledger;
pub mod list;
mod member;
pub mod reader;
pub mod receipts;
pub mod refer;
mod refused;
pub mod roster;
pub mod told;

pub use change::{Actor, Announcement, Change, Copy, Event, Invitee, News, Why};
pub use create::{Creation, Restart};
pub use id::GroupId;
pub use member::{Member, Members, MembersIter, Membership, Role};
pub use refused::Refused;

/// What groups may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Members of one group, the invited included.
    pub members: usize,
    /// Groups that one user is in.
    pub groups_per_user: usize,
    pub subject_bytes: usize,
    pub icon_bytes: usize,
    pub name_bytes: usize,
    /// People who were in a group and are not any more, remembered for each.
    pub former: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            members: 100,
            groups_per_user: 1000,
            subject_bytes: 512,
            icon_bytes: 8192,
            name_bytes: 256,
            former: 1000,
        }
    }
}

/// The least role that may do it. (u) Operators differ; the default is that of GSMA RCC.07: whoever is in may bring others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub add: Role,
    pub remove: Role,
    pub describe: Role,
    pub appoint: Role,
    pub close: Role,
}

impl Default for Rights {
    fn default() -> Self {
        Rights {
            add: Role::Member,
            remove: Role::Admin,
            describe: Role::Admin,
            appoint: Role::Admin,
            close: Role::Owner,
        }
    }
}

/// A picture of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Icon {
    Uri(Box<str>),
    /// The file document of one that was uploaded, as it came (GSMA RCC.07 §4.1.15).
    File(Box<str>),
}

impl Icon {
    pub fn as_str(&self) -> &str {
        match self {
            Icon::Uri(text) | Icon::File(text) => text,
        }
    }
}

/// A group. What is public here is what a store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub contribution_id: Box<str>,
    pub conversation_id: Option<Box<str>>,
    pub subject: Option<Box<str>>,
    pub icon: Option<Icon>,
    /// Whether more members can be added.
    pub open: bool,
    pub rights: Rights,
    pub members: Members,
    /// How often it has changed; a write names the one that it was made from.
    pub revision: u64,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// When it ended; nothing can be done to it after that.
    pub closed_ms: Option<u64>,
}

impl Group {
    /// Who may send, subscribe and come back: whoever is in.
    ///
    /// # Errors
    /// [`Refused::Gone`], or why the user is not in.
    pub fn admit(&self, user: &chappe_sip::Aor) -> Result<&Member, Refused> {
        if self.closed_ms.is_some() {
            return Err(Refused::Gone);
        }
        let member = self.members.get(user).ok_or(Refused::NotMember)?;
        match member.state {
            Membership::Invited | Membership::Joined => Ok(member),
            Membership::Removed { .. } => Err(Refused::Removed),
            Membership::Banned { .. } => Err(Refused::Banned),
            Membership::Left | Membership::Declined => Err(Refused::NotMember),
        }
    }

    /// Whether the user may begin a session by calling the focus: members, and people who had declined and thought better
    /// of it.
    ///
    /// # Errors
    /// As [`Group::admit`].
    pub fn admit_call(&self, user: &chappe_sip::Aor) -> Result<&Member, Refused> {
        match self.members.get(user) {
            Some(member) if member.state == Membership::Declined && self.closed_ms.is_none() => Ok(member),
            _ => self.admit(user),
        }
    }

    /// Whether a re-INVITE within a session may be taken.
    ///
    /// # Errors
    /// 420: a re-INVITE with a list, which is for the factory only (RFC 5366 §6).
    pub fn check_reinvite(has_list: bool) -> Result<(), Refused> {
        if has_list { Err(Refused::ListAtFocus) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
