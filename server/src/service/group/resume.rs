//! After a start: what waits in groups goes on by itself. Devices that are there get it, and those that sleep are woken.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use chappe_chat::group::reader::{self, Device, Kind};
use chappe_chat::group::{GroupId, Member};
use chappe_push::Class;
use chappe_sip::Aor;
use chappe_sip::registrar::targets;
use chappe_store::{GroupHead, StoreError};

use super::entry::Logged;
use super::news::{Key, News};
use super::room::Room;
use super::{account, record};
use crate::core::{Core, epoch_seconds};
use crate::push::{self, Sleeper};
use crate::service::pager::is_alive;

/// Groups, and entries of a log, that are read at a time.
const READ: usize = 1000;

/// Devices of each user, and up to where each has the log.
type Cursors = HashMap<Box<str>, Vec<(Box<str>, u64)>, RandomState>;

/// A device that has not all of a log.
struct Behind {
    user: Aor,
    device: Box<str>,
    upto: u64,
    /// `None` where it is there.
    sleeper: Option<Sleeper>,
}

/// Looks through all groups, one after the other.
pub(super) async fn resume(core: &Arc<Core>) -> Result<(), StoreError> {
    let (mut woken, mut served, mut after) = (0, 0, None::<Box<str>>);
    loop {
        let heads = core.stores.groups.list(after.as_deref(), READ).await?;
        for head in &heads {
            let (sleep, there) = look(core, head).await?;
            (woken, served) = (woken + sleep, served + there);
        }
        match heads.last() {
            Some(last) if heads.len() == READ => after = Some(last.id.clone()),
            _ => break,
        }
    }
    if woken + served > 0 {
        tracing::info!(woken, served, "devices of members had not all of their groups");
    }
    Ok(())
}

/// One group; gives how many devices are being woken, and how many are there.
async fn look(core: &Arc<Core>, head: &GroupHead) -> Result<(usize, usize), StoreError> {
    let groups = &core.stores.groups;
    let none = (0, 0);
    let (Some(id), Some(stored)) = (GroupId::parse(&head.id), groups.load(&head.id).await?) else { return Ok(none) };
    let group = record::read(&stored, core.groups.settings.rights)?;
    if group.closed_ms.is_some() {
        return Ok(none);
    }
    let last = stored.head.last;
    let mut cursors = Cursors::default();
    for cursor in groups.cursors(&head.id).await? {
        cursors.entry(cursor.user).or_default().push((cursor.device, cursor.upto));
    }
    let mut behind = Vec::new();
    for member in group.members.present() {
        if furthest(&cursors, member) < last {
            // A device that comes back, as it was, is expected.
            core.groups.waits(&member.user, &id);
        }
        behind.extend(devices(core, &cursors, member).into_iter().filter(|device| device.upto < last));
    }
    let mut done = none;
    let mut after = behind.iter().map(|device| device.upto).min().unwrap_or(last);
    while !behind.is_empty() && after < last {
        let entries = groups.read(&head.id, after, READ).await?;
        let Some(end) = entries.last() else { break };
        after = end.seq;
        for logged in entries.iter().filter_map(Logged::read) {
            let is_for = |device: &mut Behind| is_for(core, &group.members, device, &logged);
            for device in behind.extract_if(.., is_for) {
                match device.sleeper {
                    Some(sleeper) => {
                        core.push.want(device.user.as_str(), &[sleeper], Class::Message);
                        done.0 += 1;
                    }
                    None => {
                        core.groups.tell(core, &id, News::Registered { user: device.user.as_str().into() });
                        done.1 += 1;
                    }
                }
            }
        }
    }
    Ok(done)
}

impl Room {
    /// A device cannot be reached until it registers. Where it sleeps, messages that it has not got wake it.
    pub(super) fn is_away(&mut self, key: &Key) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        seat.away = true;
        let upto = seat.cursor.confirmed();
        let Some(member) = self.group.members.get(&seat.user) else { return };
        let device = Device { name: &seat.device, announcements: false };
        let oldest = self.recent.front().map_or(self.last + 1, |logged| logged.seq);
        let is_message = |logged: &&Arc<Logged>| {
            logged.seq > upto && logged.is_message() && reader::is_due(&logged.head(), member, device)
        };
        if upto + 1 < oldest || self.recent.iter().any(|logged| is_message(&logged)) {
            let sleepers = push::sleepers(&self.core, &key.0, |binding| *binding.device() == *key.1);
            if !sleepers.is_empty() {
                self.core.push.want(&key.0, &sleepers, Class::Message);
            }
        }
    }
}

/// How far the device of a member that is furthest has got.
fn furthest(cursors: &Cursors, member: &Member) -> u64 {
    let of_user = cursors.get(member.user.as_str()).into_iter().flatten();
    of_user.map(|(_, upto)| *upto).max().unwrap_or(0).max(member.since)
}

/// The devices of a member that can be reached or woken.
fn devices(core: &Core, cursors: &Cursors, member: &Member) -> Vec<Behind> {
    let (user, now) = (&member.user, epoch_seconds());
    let there: Vec<Box<str>> = core.location.with(user.as_str(), |bindings| {
        let found = targets(bindings, now, |flow| is_alive(core, flow), |_| true);
        found.iter().map(|target| target.binding.device().into()).collect()
    });
    let asleep = push::sleepers(core, user.as_str(), |_| true);
    let there = there.into_iter().map(|device| (device, None));
    let asleep = asleep.into_iter().map(|sleeper| (sleeper.device.clone(), Some(sleeper)));
    let upto = |device: &str| {
        let mut of_user = cursors.get(user.as_str()).into_iter().flatten();
        let known = of_user.find(|(name, _)| **name == *device).map(|(_, upto)| *upto);
        known.unwrap_or_else(|| furthest(cursors, member)).max(member.since)
    };
    there
        .chain(asleep)
        .map(|(device, sleeper)| Behind { user: user.clone(), upto: upto(&device), device, sleeper })
        .collect()
}

/// Whether a device is to be helped on for this entry: for receipts and changes nobody is woken.
fn is_for(core: &Core, members: &chappe_chat::group::Members, behind: &Behind, logged: &Logged) -> bool {
    let head = logged.head();
    let Some(member) = members.get(&behind.user).filter(|_| head.sequence > behind.upto) else { return false };
    let is_wanted = match head.kind {
        Kind::Message | Kind::Private => true,
        Kind::Receipt => behind.sleeper.is_none(),
        Kind::Announcement => false,
    };
    let device = Device { name: &behind.device, announcements: false };
    is_wanted
        && reader::is_due(&head, member, device)
        && !reader::is_withheld(&head, |from| account::blocks(core, &behind.user, from))
}
