//! Changes of a group, and the rights to make them.

use chappe_sip::Aor;

use super::change::{Actor, Announcement, Change, Event, Invitee, News, Why};
use super::create::member;
use super::{Group, Icon, Limits, Membership, Refused, Role};

impl Group {
    /// Does it, and tells what follows; nothing follows from what is so already, and the revision stays. `sequence`: the
    /// number of this change in the group's log. A change that is refused has changed nothing.
    ///
    /// # Errors
    /// Rights and limits.
    pub fn apply(
        &mut self,
        by: Actor<'_>,
        change: Change,
        sequence: u64,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<Vec<Event>, Refused> {
        if self.closed_ms.is_some() {
            return Err(Refused::Gone);
        }
        let events = match change {
            Change::Add(invitees) => self.add(by, invitees, sequence, limits, now_ms)?,
            Change::Remove { users, ban } => self.remove(by, &users, ban, sequence, now_ms)?,
            Change::Join => self.join(by, sequence, limits, now_ms)?,
            Change::Leave => self.go(by, Membership::Left, sequence, now_ms)?,
            Change::Decline => self.go(by, Membership::Declined, sequence, now_ms)?,
            Change::Subject(subject) => {
                self.require(by, self.rights.describe)?;
                let subject = subject.filter(|subject| !subject.is_empty());
                limits.check_text("the subject", subject.as_deref(), limits.subject_bytes)?;
                if self.subject == subject {
                    return Ok(Vec::new());
                }
                self.subject.clone_from(&subject);
                told(by, News::Subject(subject))
            }
            Change::Icon(icon) => {
                self.require(by, self.rights.describe)?;
                limits.check_text("the icon", icon.as_ref().map(Icon::as_str), limits.icon_bytes)?;
                if self.icon == icon {
                    return Ok(Vec::new());
                }
                self.icon.clone_from(&icon);
                told(by, News::Icon(icon))
            }
            Change::Role { user, role } => self.appoint(by, &user, role)?,
            Change::Nickname(nickname) => self.nickname(by, nickname, limits)?,
            Change::Open(open) => {
                self.require(by, self.rights.describe)?;
                if self.open == open {
                    return Ok(Vec::new());
                }
                self.open = open;
                told(by, News::Open(open))
            }
            Change::Close => {
                self.require(by, self.rights.close)?;
                self.closed_ms = Some(now_ms);
                vec![announce(by, News::Closed), Event::Ended]
            }
        };
        if !events.is_empty() {
            self.forget(limits);
            self.revision += 1;
        }
        Ok(events)
    }

    /// Whether the actor may do what needs this role.
    fn require(&self, by: Actor<'_>, role: Role) -> Result<(), Refused> {
        match by {
            Actor::Operator => Ok(()),
            Actor::User(user) if self.admit(user)?.role >= role => Ok(()),
            Actor::User(_) => Err(Refused::NotAllowed),
        }
    }

    fn add(
        &mut self,
        by: Actor<'_>,
        invitees: Vec<Invitee>,
        sequence: u64,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<Vec<Event>, Refused> {
        self.require(by, self.rights.add)?;
        if !self.open && by != Actor::Operator {
            return Err(Refused::Closed);
        }
        let unbans = self.require(by, self.rights.remove).is_ok();
        let mut added: super::Members = super::Members::default();
        let mut fresh = Vec::new();
        for invitee in invitees {
            limits.check_text("a name", invitee.display_name.as_deref(), limits.name_bytes)?;
            match self.members.get(&invitee.user).map(|member| &member.state) {
                // It is there, or will be: nothing to do (RFC 4579 §5.5).
                Some(Membership::Invited | Membership::Joined) => {}
                Some(Membership::Banned { .. }) if !unbans => return Err(Refused::NotAllowed),
                _ => fresh.push(member(invitee, sequence, now_ms)),
            }
        }
        added.extend(fresh);
        if self.members.count() + added.len() > limits.members {
            return Err(Refused::TooManyMembers { max: limits.members });
        }
        if added.is_empty() {
            return Ok(Vec::new());
        }
        // Under the address that it had before, where it had one.
        let users: Vec<Aor> = added
            .iter()
            .map(|new| self.members.get(&new.user).map_or_else(|| new.user.clone(), |old| old.user.clone()))
            .collect();
        let mut fresh = Vec::new();
        for new in &added {
            match self.members.get_mut(&new.user) {
                Some(old) => {
                    let (user, name) = (old.user.clone(), old.display_name.take());
                    *old = super::Member { user, display_name: new.display_name.clone().or(name), ..new.clone() };
                }
                None => fresh.push(new.clone()),
            }
        }
        self.members.extend(fresh);
        let mut events = vec![announce(by, News::Added(users.clone()))];
        events.extend(users.into_iter().map(Event::Invite));
        events.push(Event::Roster);
        Ok(events)
    }

    fn remove(
        &mut self,
        by: Actor<'_>,
        users: &[Aor],
        ban: bool,
        sequence: u64,
        now_ms: u64,
    ) -> Result<Vec<Event>, Refused> {
        // Who removes itself leaves.
        if let (Actor::User(user), [only]) = (by, users)
            && let (Some(one), Some(other)) = (self.members.get(user), self.members.get(only))
            && one.user == other.user
        {
            return self.go(by, Membership::Left, sequence, now_ms);
        }
        self.require(by, self.rights.remove)?;
        let rank = match by {
            Actor::Operator => None,
            Actor::User(user) => Some(self.admit(user)?.role),
        };
        let mut going: Vec<Aor> = Vec::new();
        for user in users {
            let Some(member) = self.members.get(user).filter(|member| member.state.is_in()) else { continue };
            // An owner goes by its own will, or by another owner's.
            if rank.is_some_and(|rank| rank < member.role) {
                return Err(Refused::NotAllowed);
            }
            if !going.contains(&member.user) {
                going.push(member.user.clone());
            }
        }
        if going.is_empty() {
            return Err(Refused::UnknownMember);
        }
        let by_whom: Box<str> = match by {
            Actor::Operator => Box::default(),
            Actor::User(user) => user.as_str().into(),
        };
        for user in &going {
            let by = by_whom.clone();
            let state = if ban { Membership::Banned { by } } else { Membership::Removed { by } };
            self.set_out(user, state, sequence, now_ms);
        }
        let mut events = vec![announce(by, News::Removed(going.clone()))];
        events.extend(going.into_iter().map(|user| Event::Dismiss { user, why: Why::Removed }));
        self.after_going(&mut events, now_ms);
        Ok(events)
    }

    fn join(&mut self, by: Actor<'_>, sequence: u64, limits: &Limits, now_ms: u64) -> Result<Vec<Event>, Refused> {
        let Actor::User(user) = by else { return Err(Refused::NotMember) };
        match self.admit_call(user)?.state {
            Membership::Joined => return Ok(Vec::new()),
            Membership::Declined if self.members.count() >= limits.members => {
                return Err(Refused::TooManyMembers { max: limits.members });
            }
            _ => {}
        }
        if let Some(member) = self.members.get_mut(user) {
            if member.state == Membership::Declined {
                member.since = sequence;
                member.until = None;
            }
            member.state = Membership::Joined;
            member.changed_ms = now_ms;
        }
        Ok(told(by, News::Joined))
    }

    /// Leaves or declines. Who is out already stays as it is.
    fn go(&mut self, by: Actor<'_>, state: Membership, sequence: u64, now_ms: u64) -> Result<Vec<Event>, Refused> {
        let Actor::User(user) = by else { return Err(Refused::NotMember) };
        let user = self.admit(user)?.user.clone();
        let news = if state == Membership::Declined {
            // One device turned it down after another had come in: the user is in.
            if self.members.get(&user).is_some_and(|member| member.state == Membership::Joined) {
                return Ok(Vec::new());
            }
            News::Declined
        } else {
            News::Left
        };
        self.set_out(&user, state, sequence, now_ms);
        let mut events = vec![announce(by, news), Event::Dismiss { user, why: Why::Left }];
        self.after_going(&mut events, now_ms);
        Ok(events)
    }

    fn set_out(&mut self, user: &Aor, state: Membership, sequence: u64, now_ms: u64) {
        if let Some(member) = self.members.get_mut(user) {
            member.state = state;
            member.role = Role::Member;
            member.nickname = None;
            member.until = Some(sequence);
            member.changed_ms = now_ms;
        }
    }

    /// Nobody left: it is over. Nobody left who may do things: the one who has been in longest inherits it.
    fn after_going(&mut self, events: &mut Vec<Event>, now_ms: u64) {
        if self.members.count() == 0 {
            self.closed_ms = Some(now_ms);
            events.push(Event::Ended);
            return;
        }
        if !self.members.present().any(|member| member.role == Role::Owner) {
            let rank = |member: &super::Member| {
                (std::cmp::Reverse(member.role), member.state != Membership::Joined, member.since, member.changed_ms)
            };
            let heir = self.members.present().min_by_key(|member| rank(member)).map(|member| member.user.clone());
            if let Some(heir) = heir.and_then(|user| self.members.get_mut(&user)) {
                heir.role = Role::Owner;
            }
        }
        events.push(Event::Roster);
    }

    fn appoint(&mut self, by: Actor<'_>, user: &Aor, role: Role) -> Result<Vec<Event>, Refused> {
        self.require(by, self.rights.appoint)?;
        let member = self.members.get(user).filter(|member| member.state.is_in()).ok_or(Refused::UnknownMember)?;
        let (user, before) = (member.user.clone(), member.role);
        if let Actor::User(actor) = by {
            // Nobody gives what it has not, nor takes from one above.
            let rank = self.admit(actor)?.role;
            if role > rank || before > rank {
                return Err(Refused::NotAllowed);
            }
        }
        if before == role {
            return Ok(Vec::new());
        }
        let is_last = before == Role::Owner
            && !self.members.present().any(|member| member.role == Role::Owner && member.user != user);
        if is_last {
            return Err(Refused::NotAllowed);
        }
        if let Some(member) = self.members.get_mut(&user) {
            member.role = role;
        }
        Ok(told(by, News::Role { user, role }))
    }

    /// Takes or gives back a nickname (RFC 7701 §7). Case and blanks do not tell two apart; the compatibility forms of
    /// Unicode do, which RFC 8266 would fold.
    fn nickname(&mut self, by: Actor<'_>, nickname: Option<Box<str>>, limits: &Limits) -> Result<Vec<Event>, Refused> {
        let Actor::User(user) = by else { return Err(Refused::NotMember) };
        let own = self.admit(user)?.user.clone();
        let nickname: Option<Box<str>> = match nickname {
            None => None,
            Some(text) => {
                limits.check_text("the nickname", Some(&text), limits.name_bytes)?;
                let tidy = tidy(&text);
                if tidy.is_empty() || text.chars().any(char::is_control) {
                    return Err(Refused::NicknameMalformed);
                }
                let folded = tidy.to_lowercase();
                let takes = |name: &str| self::tidy(name).to_lowercase() == folded;
                if self.members.present().any(|other| other.user != own && other.nickname.as_deref().is_some_and(takes))
                {
                    return Err(Refused::NicknameTaken);
                }
                Some(tidy.into())
            }
        };
        let Some(member) = self.members.get_mut(&own).filter(|member| member.nickname != nickname) else {
            return Ok(Vec::new());
        };
        member.nickname.clone_from(&nickname);
        Ok(told(by, News::Nickname(nickname)))
    }

    /// Drops those who have been gone longest, above the limit. Who is banned stays, for it would be let in again.
    fn forget(&mut self, limits: &Limits) {
        let is_former =
            |member: &super::Member| !member.state.is_in() && !matches!(member.state, Membership::Banned { .. });
        let mut former: Vec<u64> = self.members.iter().filter(|m| is_former(m)).map(|m| m.changed_ms).collect();
        if former.len() > limits.former {
            former.sort_unstable();
            let mut surplus = former.len() - limits.former;
            let last = former[surplus - 1];
            self.members.retain(|member| {
                let goes = surplus > 0 && is_former(member) && member.changed_ms <= last;
                surplus -= usize::from(goes);
                !goes
            });
        }
    }
}

fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn announce(by: Actor<'_>, news: News) -> Event {
    let by = match by {
        Actor::Operator => None,
        Actor::User(user) => Some(user.clone()),
    };
    Event::Announce(Announcement { by, news })
}

/// Known to the log and on the roster.
fn told(by: Actor<'_>, news: News) -> Vec<Event> {
    vec![announce(by, news), Event::Roster]
}
