//! Finding and erasing a user, in memory.

use super::Memory;
use crate::StoreError;
use crate::codec;
use crate::group::GroupError;
use crate::queue::QueuedMessage;
use crate::trace::{GroupErasure, Traced, Traces, stands_in};

#[async_trait::async_trait]
impl Traces for Memory {
    async fn queued_with(
        &self,
        names: &[Box<str>],
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        let state = self.state.lock();
        let found = |message: &&QueuedMessage| {
            let texts = [&message.recipient, &message.sender, &message.call_id].map(|text| text.as_bytes());
            texts.into_iter().chain([&message.headers[..], &message.body[..]]).any(|part| stands_in(names, part))
        };
        let rest = state.messages.range(after.saturating_add(1)..).map(|(_, message)| message);
        Ok(rest.filter(found).take(limit).cloned().collect())
    }

    async fn groups_with(&self, names: &[Box<str>]) -> Result<Vec<Box<str>>, StoreError> {
        let state = self.state.lock();
        let found = |room: &&super::groups::Room| {
            room.members.keys().any(|user| names.contains(user))
                || room.entries.values().any(|entry| {
                    let texts = [&*entry.from, entry.to.as_deref().unwrap_or_default()].map(str::as_bytes);
                    texts.into_iter().chain([&entry.content[..]]).any(|part| stands_in(names, part))
                })
        };
        Ok(state.rooms.values().filter(found).map(|room| room.head.id.clone()).collect())
    }

    async fn erase_member(&self, erasure: GroupErasure) -> Result<(), GroupError> {
        let mut state = self.state.lock();
        let room = state.rooms.get_mut(&erasure.id).ok_or(GroupError::Unknown)?;
        room.check(erasure.token)?;
        if room.head.revision != erasure.seen {
            return Err(GroupError::Changed);
        }
        room.head.revision += 1;
        room.head.data = erasure.data.clone();
        let row = erasure.row();
        erasure.members.into_iter().for_each(|member| room.set(member));
        room.members.retain(|user, _| !erasure.users.contains(user));
        room.cursors.retain(|(user, _), _| !erasure.users.contains(user));
        for seq in erasure.entries {
            let Some(entry) = room.entries.get_mut(&seq) else { continue };
            *entry = codec::take_group_entry(seq, entry.at_ms, row.clone().into())?;
        }
        Ok(())
    }

    async fn erase_traces(&self, names: &[Box<str>]) -> Result<Traced, StoreError> {
        let mut state = self.state.lock();
        let mut traced = Traced::default();
        state.conversations.retain(|_, history| {
            if !history.members.keys().any(|member| names.contains(member)) {
                return true;
            }
            traced.conversations += 1;
            let had = history.entries.len();
            history.members.retain(|member, _| !names.contains(member));
            let stays = history.members.len() > 1;
            history.entries.retain(|_, entry| stays && !names.contains(&entry.author));
            traced.entries += (had - history.entries.len()) as u64;
            stays
        });
        let had = state.fates.len();
        state.fates.retain(|fate| !names.contains(&fate.recipient));
        traced.fates = (had - state.fates.len()) as u64;
        Ok(traced)
    }

    async fn scrub(&self) -> Result<bool, StoreError> {
        // What is gone from memory is gone.
        Ok(true)
    }
}
