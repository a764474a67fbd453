//! The beginning of a group, and beginning it again.

use chappe_sip::Aor;

use super::change::{Announcement, Event, Invitee, News};
use super::{Group, GroupId, Icon, Limits, Member, Members, Membership, Refused, Rights, Role};

/// What a creator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    pub id: GroupId,
    pub contribution_id: Box<str>,
    pub conversation_id: Option<Box<str>>,
    pub creator: Invitee,
    /// The creator's own address among them does not count (RFC 5366 §6).
    pub invitees: Vec<Invitee>,
    pub subject: Option<Box<str>>,
    pub icon: Option<Icon>,
    pub open: bool,
    pub rights: Rights,
}

/// What becomes of an INVITE to the factory that names a Contribution-ID (GSMA RCC.07 §3.4.4.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// There is no such group, or it has ended.
    New,
    /// As if the focus had been called. Members who begin again at the same time find one group.
    Rejoin,
    Refuse(Refused),
}

impl Restart {
    /// `known`: the group with this Contribution-ID.
    pub fn of(known: Option<&Group>, user: &Aor) -> Restart {
        match known {
            None => Restart::New,
            Some(group) => match group.admit_call(user) {
                Ok(_) => Restart::Rejoin,
                Err(Refused::Gone) => Restart::New,
                Err(refused) => Restart::Refuse(refused),
            },
        }
    }
}

impl Group {
    /// Makes a group. `groups`: how many its creator is in already.
    ///
    /// # Errors
    /// Limits, and a list without anybody else.
    pub fn create(
        creation: Creation,
        groups: usize,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<(Group, Vec<Event>), Refused> {
        if groups >= limits.groups_per_user {
            return Err(Refused::TooManyGroups { max: limits.groups_per_user });
        }
        limits.check_text("the subject", creation.subject.as_deref(), limits.subject_bytes)?;
        limits.check_text("the icon", creation.icon.as_ref().map(Icon::as_str), limits.icon_bytes)?;
        for invitee in creation.invitees.iter().chain([&creation.creator]) {
            limits.check_text("a name", invitee.display_name.as_deref(), limits.name_bytes)?;
        }
        let creator = creation.creator.user.clone();
        let mut owner = member(creation.creator, 0, now_ms);
        owner.role = Role::Owner;
        owner.state = Membership::Joined;
        let mut members: Members = [owner].into_iter().collect();
        members.extend(creation.invitees.into_iter().map(|invitee| member(invitee, 0, now_ms)).collect());
        // An alias of the creator may have come before it.
        if let Some(owner) = members.get_mut(&creator) {
            owner.role = Role::Owner;
            owner.state = Membership::Joined;
        }
        if members.len() < 2 {
            return Err(Refused::Empty);
        }
        if members.len() > limits.members {
            return Err(Refused::TooManyMembers { max: limits.members });
        }
        let group = Group {
            id: creation.id,
            contribution_id: creation.contribution_id,
            conversation_id: creation.conversation_id,
            subject: creation.subject.filter(|subject| !subject.is_empty()),
            icon: creation.icon,
            open: creation.open,
            rights: creation.rights,
            members,
            revision: 1,
            created_ms: now_ms,
            closed_ms: None,
        };
        let mut events = vec![Event::Announce(Announcement { by: Some(creator), news: News::Created })];
        let invited = group.members.iter().filter(|member| member.state == Membership::Invited);
        events.extend(invited.map(|member| Event::Invite(member.user.clone())));
        events.push(Event::Roster);
        Ok((group, events))
    }
}

impl Limits {
    pub(super) fn check_text(&self, what: &'static str, text: Option<&str>, max: usize) -> Result<(), Refused> {
        if text.is_some_and(|text| text.len() > max) { Err(Refused::TooLong { what, max }) } else { Ok(()) }
    }
}

/// Somebody who is invited now.
pub(super) fn member(invitee: Invitee, since: u64, now_ms: u64) -> Member {
    Member {
        user: invitee.user,
        display_name: invitee.display_name,
        nickname: None,
        role: Role::Member,
        state: Membership::Invited,
        copy: invitee.copy,
        since,
        until: None,
        changed_ms: now_ms,
    }
}
