//! Members of a group.

use chappe_sip::Aor;

use super::change::Copy;

/// What a member may do; see [`super::Rights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Member,
    Admin,
    /// Made the group, or inherited it.
    Owner,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        [Role::Member, Role::Admin, Role::Owner].into_iter().find(|role| role.as_str() == text)
    }
}

/// Where somebody stands.
///
/// ```text
/// Invited ──Join──▶ Joined ──Leave──▶ Left        Left, Declined, Removed ──Add──▶ Invited
///    └──Decline──▶ Declined   └──Remove──▶ Removed, Banned        Declined ──Join──▶ Joined
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Membership {
    /// A member who has not answered yet; messages wait for it.
    Invited,
    Joined,
    Left,
    Declined,
    /// `by`: empty for the operator.
    Removed {
        by: Box<str>,
    },
    /// Removed, and brought back only by who may remove.
    Banned {
        by: Box<str>,
    },
}

impl Membership {
    /// Whether it is a member: invited or joined.
    pub fn is_in(&self) -> bool {
        matches!(self, Membership::Invited | Membership::Joined)
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Membership::Invited => "invited",
            Membership::Joined => "joined",
            Membership::Left => "left",
            Membership::Declined => "declined",
            Membership::Removed { .. } => "removed",
            Membership::Banned { .. } => "banned",
        }
    }

    /// From what was kept: the name, and who did it.
    pub fn parse(name: &str, by: &str) -> Option<Membership> {
        Some(match name {
            "invited" => Membership::Invited,
            "joined" => Membership::Joined,
            "left" => Membership::Left,
            "declined" => Membership::Declined,
            "removed" => Membership::Removed { by: by.into() },
            "banned" => Membership::Banned { by: by.into() },
            _ => return None,
        })
    }

    /// Who removed it.
    pub fn by(&self) -> Option<&str> {
        match self {
            Membership::Removed { by } | Membership::Banned { by } => Some(by),
            _ => None,
        }
    }
}

/// Somebody who is in a group, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user: Aor,
    pub display_name: Option<Box<str>>,
    pub nickname: Option<Box<str>>,
    pub role: Role,
    pub state: Membership,
    /// How the list that made the group names it to the others (RFC 5364).
    pub copy: Copy,
    /// It gets what has a number in the log above this one,
    pub since: u64,
    /// and below this one.
    pub until: Option<u64>,
    /// Milliseconds since the epoch: when its state last changed.
    pub changed_ms: u64,
}

/// The members of a group, those who were included, in the order of their addresses. A global number is the same user with a
/// domain and without, as in [`crate::same_user`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(Vec<Member>);

impl Members {
    pub fn get(&self, user: &Aor) -> Option<&Member> {
        self.find(user).ok().map(|at| &self.0[at])
    }

    pub(super) fn get_mut(&mut self, user: &Aor) -> Option<&mut Member> {
        self.find(user).ok().map(|at| &mut self.0[at])
    }

    /// All, in and out.
    pub fn iter(&self) -> std::slice::Iter<'_, Member> {
        self.0.iter()
    }

    /// Those who are in.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.0.iter().filter(|member| member.state.is_in())
    }

    /// How many are in.
    pub fn count(&self) -> usize {
        self.present().count()
    }

    /// All of them, in and out.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes more; who is there already stays as it is.
    pub(super) fn extend(&mut self, more: Vec<Member>) {
        *self = std::mem::take(&mut self.0).into_iter().chain(more).collect();
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Member) -> bool) {
        self.0.retain(keep);
    }

    fn find(&self, user: &Aor) -> Result<usize, usize> {
        let exact = |user: &str| self.0.binary_search_by(|member| member.user.as_str().cmp(user));
        let at = match exact(user.as_str()) {
            Ok(at) => return Ok(at),
            Err(at) => at,
        };
        if !user.user().starts_with('+') {
            return Err(at);
        }
        if !user.host().is_empty() {
            return exact(user.user()).map_err(|_| at);
        }
        // `+1…@` comes right behind `+1…`.
        let same = |member: &Member| member.user.user() == user.user();
        if self.0.get(at).is_some_and(same) { Ok(at) } else { Err(at) }
    }
}

impl FromIterator<Member> for Members {
    /// Of several that are one user the first counts.
    fn from_iter<T: IntoIterator<Item = Member>>(members: T) -> Members {
        let mut members: Vec<Member> = members.into_iter().collect();
        members.sort_by(|one, other| one.user.cmp(&other.user));
        // Of `+1…` and `+1…@…`, which stand side by side, one is enough.
        members.dedup_by(|later, first| {
            later.user == first.user
                || (first.user.host().is_empty()
                    && first.user.user().starts_with('+')
                    && first.user.user() == later.user.user())
        });
        Members(members)
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Member;
    type IntoIter = std::slice::Iter<'a, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
