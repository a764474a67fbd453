//! Groups as the operator sees them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use chappe_api::{Group, GroupDevice, GroupMember, GroupMessage, List, NodeError, Page};
use chappe_chat::envelope::Kind;
use chappe_chat::group::reader::Kind as Logs;
use chappe_chat::group::receipts;
use chappe_store::{GroupHead, StoreError, StoredGroup};

use super::entry::Logged;
use super::record;
use crate::core::Core;
use crate::metrics::{Exposition, Kind as Counted};
use crate::service::receipt;

/// Entries at the end of a log that are looked through for messages and receipts.
const LOOK: usize = 1000;
/// Messages that are shown.
const SHOWN: usize = 20;

fn unavailable(error: StoreError) -> NodeError {
    tracing::error!(%error, "groups could not be read");
    NodeError::Unavailable { why: error.to_string() }
}

pub async fn list(core: &Core, page: Page) -> Result<List<Group>, NodeError> {
    let heads = core.stores.groups.list(page.after.as_deref(), page.size()).await.map_err(unavailable)?;
    let one = |head: GroupHead| {
        let stored = StoredGroup { head, members: Vec::new() };
        summary(core, &stored)
    };
    let items = heads.into_iter().map(one).collect::<Result<_, _>>()?;
    Ok(List::page(items, page.size(), |group: &Group| group.id.clone()))
}

fn summary(core: &Core, stored: &StoredGroup) -> Result<Group, NodeError> {
    let group = record::read(stored, core.groups.settings.rights).map_err(unavailable)?;
    Ok(Group {
        id: group.id.to_string(),
        focus: super::focus(core, &group.id),
        contribution_id: group.contribution_id.into(),
        subject: group.subject.map(Into::into),
        open: group.open,
        created_ms: group.created_ms,
        closed_ms: group.closed_ms,
        revision: group.revision,
        last: stored.head.last,
        live: core.groups.rooms.lock().contains_key(&group.id),
        members: Vec::new(),
        messages: Vec::new(),
    })
}

/// By its id, or by its Contribution-ID.
pub async fn show(core: &Core, id: &str) -> Result<Group, NodeError> {
    let groups = &core.stores.groups;
    let unknown = NodeError::NotFound { what: "group" };
    let found = match groups.load(id).await.map_err(unavailable)? {
        Some(found) => found,
        None => {
            let id = groups.find(id).await.map_err(unavailable)?.ok_or(unknown)?;
            groups.load(&id).await.map_err(unavailable)?.ok_or(NodeError::NotFound { what: "group" })?
        }
    };
    let mut shown = summary(core, &found)?;
    let group = record::read(&found, core.groups.settings.rights).map_err(unavailable)?;
    let mut devices: HashMap<Box<str>, Vec<GroupDevice>> = HashMap::new();
    for cursor in groups.cursors(&found.head.id).await.map_err(unavailable)? {
        let device = GroupDevice { device: cursor.device.into(), upto: cursor.upto };
        devices.entry(cursor.user).or_default().push(device);
    }
    shown.members = group
        .members
        .iter()
        .map(|member| GroupMember {
            user: member.user.to_string(),
            name: member.display_name.clone().map(Into::into),
            role: member.role.as_str().into(),
            state: member.state.as_str().into(),
            changed_ms: member.changed_ms,
            devices: devices.remove(member.user.as_str()).unwrap_or_default(),
        })
        .collect();
    let after = found.head.last.saturating_sub(LOOK as u64);
    let entries = groups.read(&found.head.id, after, LOOK).await.map_err(unavailable)?;
    let mut messages: Vec<GroupMessage> = Vec::new();
    for entry in &entries {
        let Some(logged) = Logged::read(entry) else { continue };
        let (Some(envelope), Some(from)) = (&logged.envelope, logged.from()) else { continue };
        match (logged.head().kind, &envelope.kind) {
            (Logs::Message, _) => messages.push(GroupMessage {
                number: entry.seq,
                message_id: envelope.message_id.to_string(),
                from: from.to_string(),
                at_ms: entry.at_ms,
                of: receipts::recipients(&group, entry.seq, from).count() as u64,
                delivered: 0,
                displayed: 0,
            }),
            // Each kind of each member is in the log once.
            (Logs::Receipt, Kind::Receipt(Some(notification))) => {
                let about = messages.iter_mut().rev().find(|message| message.message_id == notification.message_id);
                match (about, receipt::state(notification)) {
                    (Some(message), chappe_store::ReceiptState::Delivered) => message.delivered += 1,
                    (Some(message), chappe_store::ReceiptState::Displayed) => message.displayed += 1,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    shown.messages = messages.split_off(messages.len().saturating_sub(SHOWN));
    Ok(shown)
}

pub fn write_metrics(core: &Core, out: &mut Exposition) {
    let counts = &core.groups.counts;
    let (messages, delivered) = (counts.messages.load(Ordering::Relaxed), counts.delivered.load(Ordering::Relaxed));
    out.family("chappe_groups_in_use", Counted::Gauge, "Groups in memory now.").sample(&[], core.groups.rooms());
    out.family("chappe_group_devices", Counted::Gauge, "Devices of members of groups in use now.")
        .sample(&[], counts.seats.load(Ordering::Relaxed));
    out.family("chappe_group_messages_total", Counted::Counter, "Messages taken into the logs of groups.")
        .sample(&[], messages);
    out.family("chappe_group_deliveries_total", Counted::Counter, "Entries of logs that devices of members took.")
        .sample(&[], delivered);
}
