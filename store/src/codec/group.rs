//! Entries of the logs of groups.

use bytes::Bytes;

use super::{Put, Take, VERSION};
use crate::{GroupEntry, NewGroupEntry, StoreError};

/// All but the sequence and the time, which lie beside it.
pub(crate) fn put_group_entry(entry: &NewGroupEntry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.content.len() + entry.from.len() + 64);
    out.push(VERSION);
    out.text(&entry.from);
    out.maybe(entry.to.as_deref());
    out.maybe(entry.message_id.as_deref());
    // Room for fields to come: what is behind it is the content.
    out.num(0);
    out.extend_from_slice(&entry.content);
    out
}

pub(crate) fn take_group_entry(seq: u64, at_ms: u64, bytes: Bytes) -> Result<GroupEntry, StoreError> {
    let mut take = Take::new(&bytes, "entry of a group")?;
    let (from, to, message_id) = (take.text()?, take.maybe()?, take.maybe()?);
    take.blob()?;
    let content = bytes.slice_ref(take.rest);
    Ok(GroupEntry { seq, from, to, message_id, at_ms, content })
}
