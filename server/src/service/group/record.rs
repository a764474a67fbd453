//! A group as the store keeps it. Fields are added, never given another meaning.

use bytes::Bytes;
use chappe_chat::group::{Copy, Group, GroupId, Icon, Member, Membership, Rights, Role};
use chappe_sip::Aor;
use chappe_store::{GroupMember, StoreError, StoredGroup};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conversation: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icon_uri: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icon_file: Option<Box<str>>,
    open: bool,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Person {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nickname: Option<Box<str>>,
    role: Box<str>,
    state: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Box<str>>,
    copy: Box<str>,
    since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    changed: u64,
}

/// The state of a group without its members.
pub(super) fn state(group: &Group) -> Bytes {
    let state = State {
        conversation: group.conversation_id.clone(),
        subject: group.subject.clone(),
        icon_uri: group.icon.as_ref().and_then(|icon| if let Icon::Uri(uri) = icon { Some(uri.clone()) } else { None }),
        icon_file: group
            .icon
            .as_ref()
            .and_then(|icon| if let Icon::File(file) = icon { Some(file.clone()) } else { None }),
        open: group.open,
        created: group.created_ms,
        closed: group.closed_ms,
    };
    json(&state)
}

pub(super) fn member(member: &Member) -> GroupMember {
    let person = Person {
        name: member.display_name.clone(),
        nickname: member.nickname.clone(),
        role: member.role.as_str().into(),
        state: member.state.as_str().into(),
        by: member.state.by().map(Into::into),
        copy: member.copy.as_str().into(),
        since: member.since,
        until: member.until,
        changed: member.changed_ms,
    };
    GroupMember { user: member.user.as_str().into(), active: member.state.is_in(), data: json(&person) }
}

fn json(value: &impl Serialize) -> Bytes {
    // Nothing in these types can fail to be written.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

pub(super) fn read(stored: &StoredGroup, rights: Rights) -> Result<Group, StoreError> {
    let damaged = StoreError::Corrupt { what: "group" };
    let state: State = serde_json::from_slice(&stored.head.data).map_err(|_| damaged.clone())?;
    let id = GroupId::parse(&stored.head.id).ok_or(damaged.clone())?;
    let members = stored.members.iter().map(read_member).collect::<Option<_>>().ok_or(damaged)?;
    Ok(Group {
        id,
        contribution_id: stored.head.contribution_id.clone(),
        conversation_id: state.conversation,
        subject: state.subject,
        icon: state.icon_uri.map(Icon::Uri).or(state.icon_file.map(Icon::File)),
        open: state.open,
        rights,
        members,
        revision: stored.head.revision,
        created_ms: state.created,
        closed_ms: state.closed,
    })
}

fn read_member(stored: &GroupMember) -> Option<Member> {
    let person: Person = serde_json::from_slice(&stored.data).ok()?;
    Some(Member {
        user: Aor::from_canonical(stored.user.clone()),
        display_name: person.name,
        nickname: person.nickname,
        role: Role::parse(&person.role)?,
        state: Membership::parse(&person.state, person.by.as_deref().unwrap_or_default())?,
        copy: Copy::parse(&person.copy)?,
        since: person.since,
        until: person.until,
        changed_ms: person.changed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_chat::group::{Actor, Change, Creation, Invitee, Limits};
    use chappe_store::GroupHead;

    #[test]
    fn a_group_reads_back_as_it_was() {
        let aor = |name: &str| Aor::from_canonical(format!("{name}@x"));
        let creation = Creation {
            id: GroupId::new([7; 16]),
            contribution_id: "c".into(),
            conversation_id: Some("v".into()),
            creator: Invitee { display_name: Some("Al \"1\"".into()), ..Invitee::new(aor("alice")) },
            invitees: vec![Invitee { copy: Copy::AnonymousCc, ..Invitee::new(aor("bob")) }, Invitee::new(aor("carol"))],
            subject: Some("Reise nach Köln\u{202e}".into()),
            icon: Some(Icon::File("<file/>".into())),
            open: true,
            rights: Rights::default(),
        };
        let (mut group, _) = Group::create(creation, 0, &Limits::default(), 1000).unwrap();
        let alice = aor("alice");
        for (seq, change) in [
            (2, Change::Remove { users: vec![aor("bob")], ban: true }),
            (3, Change::Nickname(Some("ali".into()))),
            (4, Change::Open(false)),
        ] {
            group.apply(Actor::User(&alice), change, seq, &Limits::default(), 2000 + seq).unwrap();
        }
        let stored = StoredGroup {
            head: GroupHead {
                id: group.id.as_str().into(),
                contribution_id: group.contribution_id.clone(),
                revision: group.revision,
                last: 4,
                data: state(&group),
            },
            members: group.members.iter().map(member).collect(),
        };
        assert_eq!(read(&stored, Rights::default()).unwrap(), group);
        let active: Vec<bool> = stored.members.iter().map(|member| member.active).collect();
        assert_eq!(active, [true, false, true]);
        let mut broken = stored;
        broken.members[0].data = Bytes::from_static(b"{}");
        assert!(matches!(read(&broken, Rights::default()), Err(StoreError::Corrupt { .. })));
    }
}
