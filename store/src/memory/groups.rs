//! Groups in memory.

use std::collections::BTreeMap;

use super::Memory;
use crate::StoreError;
use crate::group::{
    GroupChange, GroupCursor, GroupEntry, GroupError, GroupHead, GroupLease, GroupMember, Groups, MOST, NewGroup,
    NewGroupEntry, StoredGroup,
};

#[derive(Debug)]
pub(super) struct Room {
    pub(super) head: GroupHead,
    pub(super) members: BTreeMap<Box<str>, GroupMember>,
    pub(super) entries: BTreeMap<u64, GroupEntry>,
    pub(super) cursors: BTreeMap<(Box<str>, Box<str>), u64>,
    lease: GroupLease,
    token: u64,
}

impl Room {
    fn push(&mut self, new: NewGroupEntry) -> u64 {
        self.head.last += 1;
        let NewGroupEntry { from, to, message_id, at_ms, content, once: _ } = new;
        let seq = self.head.last;
        self.entries.insert(seq, GroupEntry { seq, from, to, message_id, at_ms, content });
        seq
    }

    pub(super) fn set(&mut self, member: GroupMember) {
        if !member.active {
            self.cursors.retain(|(user, _), _| *user != member.user);
        }
        self.members.insert(member.user.clone(), member);
    }

    pub(super) fn check(&self, token: u64) -> Result<(), GroupError> {
        if self.token == token { Ok(()) } else { Err(GroupError::Fenced) }
    }
}

#[async_trait::async_trait]
impl Groups for Memory {
    async fn create(&self, new: NewGroup) -> Result<(), GroupError> {
        let mut state = self.state.lock();
        let taken = state.rooms.values().find(|room| room.head.contribution_id == new.contribution_id);
        if let Some(room) = taken {
            return Err(GroupError::Exists(room.head.id.clone()));
        }
        if state.rooms.contains_key(&new.id) {
            return Err(GroupError::Changed);
        }
        let NewGroup { id, contribution_id, data, members, entries, lease } = new;
        let mut room = Room {
            head: GroupHead { id: id.clone(), contribution_id, revision: 1, last: 0, data },
            members: BTreeMap::new(),
            entries: BTreeMap::new(),
            cursors: BTreeMap::new(),
            lease,
            token: 1,
        };
        members.into_iter().for_each(|member| room.set(member));
        entries.into_iter().for_each(|entry| {
            room.push(entry);
        });
        state.rooms.insert(id, room);
        Ok(())
    }

    async fn change(&self, change: GroupChange) -> Result<u64, GroupError> {
        let mut state = self.state.lock();
        let room = state.rooms.get_mut(&change.id).ok_or(GroupError::Unknown)?;
        room.check(change.token)?;
        if room.head.revision != change.seen {
            return Err(GroupError::Changed);
        }
        (room.head.revision, room.head.data) = (change.seen + 1, change.data);
        change.members.into_iter().for_each(|member| room.set(member));
        change.entries.into_iter().for_each(|entry| {
            room.push(entry);
        });
        Ok(room.head.last)
    }

    async fn load(&self, id: &str) -> Result<Option<StoredGroup>, StoreError> {
        let state = self.state.lock();
        let of =
            |room: &Room| StoredGroup { head: room.head.clone(), members: room.members.values().cloned().collect() };
        Ok(state.rooms.get(id).map(of))
    }

    async fn find(&self, contribution_id: &str) -> Result<Option<Box<str>>, StoreError> {
        let state = self.state.lock();
        let found = state.rooms.values().find(|room| *room.head.contribution_id == *contribution_id);
        Ok(found.map(|room| room.head.id.clone()))
    }

    async fn of_user(&self, user: &str) -> Result<Vec<Box<str>>, StoreError> {
        let state = self.state.lock();
        let active = |room: &&Room| room.members.get(user).is_some_and(|member| member.active);
        Ok(state.rooms.values().filter(active).map(|room| room.head.id.clone()).collect())
    }

    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<GroupHead>, StoreError> {
        let state = self.state.lock();
        let page = state.rooms.range::<str, _>(super::past(after));
        Ok(page.take(limit.min(MOST)).map(|(_, room)| room.head.clone()).collect())
    }

    async fn append(&self, id: &str, token: u64, entries: Vec<NewGroupEntry>) -> Result<Vec<Option<u64>>, GroupError> {
        let mut state = self.state.lock();
        state.rooms.get(id).ok_or(GroupError::Unknown)?.check(token)?;
        let mut written = Vec::with_capacity(entries.len());
        for entry in entries {
            let first = entry.once.clone().is_none_or(|once| state.first(once, entry.at_ms / 1000));
            let room = state.rooms.get_mut(id).ok_or(GroupError::Unknown)?;
            written.push(first.then(|| room.push(entry)));
        }
        Ok(written)
    }

    async fn read(&self, id: &str, after: u64, limit: usize) -> Result<Vec<GroupEntry>, StoreError> {
        let state = self.state.lock();
        let Some(room) = state.rooms.get(id) else { return Ok(Vec::new()) };
        Ok(room
            .entries
            .range(after.saturating_add(1)..)
            .take(limit.min(MOST))
            .map(|(_, entry)| entry.clone())
            .collect())
    }

    async fn save_cursors(&self, cursors: Vec<GroupCursor>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for cursor in cursors {
            let Some(room) = state.rooms.get_mut(&cursor.group) else { continue };
            let upto = room.cursors.entry((cursor.user, cursor.device)).or_default();
            *upto = cursor.upto.max(*upto);
        }
        Ok(())
    }

    async fn cursors(&self, id: &str) -> Result<Vec<GroupCursor>, StoreError> {
        let state = self.state.lock();
        let Some(room) = state.rooms.get(id) else { return Ok(Vec::new()) };
        let of = |((user, device), upto): (&(Box<str>, Box<str>), &u64)| GroupCursor {
            group: id.into(),
            user: user.clone(),
            device: device.clone(),
            upto: *upto,
        };
        Ok(room.cursors.iter().map(of).collect())
    }

    async fn claim(&self, id: &str, lease: GroupLease, now_ms: u64) -> Result<Option<u64>, GroupError> {
        let mut state = self.state.lock();
        let room = state.rooms.get_mut(id).ok_or(GroupError::Unknown)?;
        if room.lease.until_ms > now_ms && room.lease.owner != lease.owner {
            return Ok(None);
        }
        (room.lease, room.token) = (lease, room.token + 1);
        Ok(Some(room.token))
    }

    async fn renew(&self, leases: Vec<(Box<str>, u64)>, until_ms: u64) -> Result<Vec<bool>, StoreError> {
        let mut state = self.state.lock();
        let mut one = |(id, token): (Box<str>, u64)| {
            let room = state.rooms.get_mut(&id).filter(|room| room.token == token);
            room.map(|room| room.lease.until_ms = until_ms).is_some()
        };
        Ok(leases.into_iter().map(&mut one).collect())
    }

    async fn release(&self, id: &str, token: u64) -> Result<(), StoreError> {
        self.renew(vec![(id.into(), token)], 0).await.map(drop)
    }

    async fn trim(&self, id: &str, upto: u64) -> Result<(), StoreError> {
        if let Some(room) = self.state.lock().rooms.get_mut(id) {
            room.entries.retain(|seq, _| *seq > upto);
        }
        Ok(())
    }

    async fn sweep(&self, before_ms: u64, limit: usize) -> Result<u64, StoreError> {
        let (mut state, mut gone) = (self.state.lock(), 0);
        for room in state.rooms.values_mut() {
            room.entries.retain(|_, entry| {
                let goes = entry.at_ms < before_ms && gone < limit.min(MOST) as u64;
                gone += u64::from(goes);
                !goes
            });
        }
        Ok(gone)
    }

    async fn remove(&self, id: &str, token: u64) -> Result<(), GroupError> {
        let mut state = self.state.lock();
        state.rooms.get(id).ok_or(GroupError::Unknown)?.check(token)?;
        state.rooms.remove(id);
        Ok(())
    }
}
