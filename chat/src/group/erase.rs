//! Erasing people from a group, as their law of privacy may ask.

use chappe_sip::Aor;

use super::change::{Announcement, News};
use super::{Group, Member, Membership};

impl Group {
    /// Takes out members as if they had never been in; they have left before. What `told` says that they have set last goes with
    /// them: subject and icon. Gives the members whose records named one of them. `told`: the announcements of the log in their order.
    pub fn erase<'a>(
        &mut self,
        is_gone: impl Fn(&Aor) -> bool,
        told: impl Iterator<Item = &'a Announcement>,
    ) -> Vec<Member> {
        let (mut subject_by, mut icon_by) = (None, None);
        for Announcement { by, news } in told {
            match news {
                News::Created => (subject_by, icon_by) = (by.as_ref(), by.as_ref()),
                News::Subject(_) => subject_by = by.as_ref(),
                News::Icon(_) => icon_by = by.as_ref(),
                _ => {}
            }
        }
        if subject_by.is_some_and(&is_gone) {
            self.subject = None;
        }
        if icon_by.is_some_and(&is_gone) {
            self.icon = None;
        }
        let gone: Vec<Box<str>> = self
            .members
            .iter()
            .filter(|member| is_gone(&member.user))
            .map(|member| member.user.as_str().into())
            .collect();
        self.members.retain(|member| !is_gone(&member.user));
        let named: Vec<Aor> = self
            .members
            .iter()
            .filter(|member| member.state.by().is_some_and(|by| gone.iter().any(|gone| **gone == *by)))
            .map(|member| member.user.clone())
            .collect();
        let mut changed = Vec::new();
        for user in named {
            let Some(member) = self.members.get_mut(&user) else { continue };
            member.state = match &member.state {
                Membership::Banned { .. } => Membership::Banned { by: Box::default() },
                _ => Membership::Removed { by: Box::default() },
            };
            changed.push(member.clone());
        }
        self.revision += 1;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, Change, Creation, GroupId, Invitee, Limits, Rights};
    use super::*;

    #[test]
    fn whoever_is_erased_was_never_there() {
        let aor = |name: &str| Aor::from_canonical(format!("{name}@x"));
        let (alice, bob, carol) = (aor("alice"), aor("bob"), aor("carol"));
        let creation = Creation {
            id: GroupId::new([7; 16]),
            contribution_id: "c".into(),
            conversation_id: None,
            creator: Invitee::new(alice.clone()),
            invitees: vec![Invitee::new(bob.clone()), Invitee::new(carol.clone())],
            subject: Some("hers".into()),
            icon: None,
            open: true,
            rights: Rights::default(),
        };
        let limits = Limits::default();
        let (mut group, _) = Group::create(creation, 0, &limits, 1000).unwrap();
        let ban = Change::Remove { users: vec![bob.clone()], ban: true };
        group.apply(Actor::User(&alice), ban, 2, &limits, 2000).unwrap();
        group.apply(Actor::User(&alice), Change::Leave, 3, &limits, 3000).unwrap();
        let told = |by: &Aor, news| Announcement { by: Some(by.clone()), news };
        let log = [told(&alice, News::Created), told(&carol, News::Subject(Some("theirs".into())))];
        let mut other = group.clone();

        let changed = group.erase(|user| *user == alice, log[..1].iter());
        assert_eq!(changed.iter().map(|member| &member.user).collect::<Vec<_>>(), [&bob]);
        assert_eq!(group.members.get(&bob).unwrap().state, Membership::Banned { by: "".into() });
        assert_eq!((group.members.get(&alice), group.subject.as_deref()), (None, None));
        // What somebody else has set since stays.
        other.subject = Some("theirs".into());
        other.erase(|user| *user == alice, log.iter());
        assert_eq!(other.subject.as_deref(), Some("theirs"));
    }
}
