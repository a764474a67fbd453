//! Members of a group.

use std::sync::Arc;

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
/// domain and without, as in [`crate::same_user`]. A copy shares those who stay as they are, so that one of ten thousand may
/// change and the others cost nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(Vec<Arc<Member>>);

/// Of [`Members::iter`].
pub type MembersIter<'a> = std::iter::Map<std::slice::Iter<'a, Arc<Member>>, fn(&'a Arc<Member>) -> &'a Member>;

impl Members {
    pub fn get(&self, user: &Aor) -> Option<&Member> {
        self.find(user).ok().map(|at| &*self.0[at])
    }

    pub(super) fn get_mut(&mut self, user: &Aor) -> Option<&mut Member> {
        self.find(user).ok().map(|at| Arc::make_mut(&mut self.0[at]))
    }

    /// All, in and out.
    pub fn iter(&self) -> MembersIter<'_> {
        self.0.iter().map(|member| member)
    }

    /// Those who are in.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| member.state.is_in())
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

    /// Those who are new or not as they were in an earlier copy. Costs one look at each.
    pub fn changed_since<'a>(&'a self, before: &'a Members) -> impl Iterator<Item = &'a Member> {
        let mut before = before.0.iter().peekable();
        let is_other = move |member: &&Arc<Member>| {
            while before.next_if(|other| other.user < member.user).is_some() {}
            let other = before.next_if(|other| other.user == member.user);
            other.is_none_or(|other| !Arc::ptr_eq(other, member) && other != *member)
        };
        self.0.iter().filter(is_other).map(|member| &**member)
    }

    /// Takes more; who is there already stays as it is.
    pub(super) fn extend(&mut self, more: Vec<Member>) {
        let more = more.into_iter().map(Arc::new);
        *self = Members::sorted(std::mem::take(&mut self.0).into_iter().chain(more).collect());
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Member) -> bool) {
        self.0.retain(|member| keep(member));
    }

    /// Of several that are one user the first counts.
    fn sorted(mut members: Vec<Arc<Member>>) -> Members {
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
        let same = |member: &Arc<Member>| member.user.user() == user.user();
        if self.0.get(at).is_some_and(same) { Ok(at) } else { Err(at) }
    }
}

impl FromIterator<Member> for Members {
    /// Of several that are one user the first counts.
    fn from_iter<T: IntoIterator<Item = Member>>(members: T) -> Members {
        Members::sorted(members.into_iter().map(Arc::new).collect())
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Member;
    type IntoIter = MembersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> Member {
        Member {
            user: Aor::from_canonical(format!("{name}@x")),
            display_name: None,
            nickname: None,
            role: Role::Member,
            state: Membership::Joined,
            copy: Copy::To,
            since: 0,
            until: None,
            changed_ms: 0,
        }
    }

    #[test]
    fn a_copy_shares_who_stays_as_it_is() {
        let before: Members = ["b", "d", "f"].map(member).into_iter().collect();
        let mut after = before.clone();
        let changed = |one: &Members, other: &Members| -> Vec<String> {
            one.changed_since(other).map(|member| member.user.user().to_owned()).collect()
        };
        assert!(changed(&after, &before).is_empty());
        after.get_mut(&Aor::from_canonical("d@x")).unwrap().role = Role::Admin;
        after.extend(["a", "c", "g", "b"].map(member).into());
        assert_eq!(changed(&after, &before), ["a", "c", "d", "g"]);
        assert_eq!(changed(&before, &after), ["d"]);
        assert_eq!(changed(&after, &Members::default()), ["a", "b", "c", "d", "f", "g"]);
        // Written anew, and yet the same.
        after.get_mut(&Aor::from_canonical("f@x")).unwrap().role = Role::Member;
        after.retain(|member| member.user.user() != "d");
        assert_eq!(changed(&after, &before), ["a", "c", "g"]);
        assert!(Arc::ptr_eq(&before.0[0], &after.0[1]));
    }
}
