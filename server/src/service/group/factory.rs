//! INVITE to the factory: makes a group, or finds the one that the members knew (RFC 5366, GSMA RCC.07 §3.4.4.1).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_chat::group::list::ListError;
use chappe_chat::group::{Creation, Event, Group, GroupId, Invitee, Limits, Refused, Restart, list};
use chappe_chat::invitation::Invitation;
use chappe_sip::{Aor, HeaderName, Message, Reply};
use chappe_store::{GroupError, NewGroup, StoreError};

use super::{anybody, begin, entry, record};
use crate::core::{Core, epoch_ms};
use crate::service::Request;
use crate::service::registrar::store_status;
use crate::shard::Turn;

/// Why no group was made.
enum Failed {
    Refused(Refused),
    Store(StoreError),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Failed {
        Failed::Refused(refused)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Store(error)
    }
}

pub(super) fn invited(turn: &mut Turn<'_>, request: Request, user: Aor) {
    let core = turn.core;
    let message = Arc::clone(&request.message);
    if let Some(bytes) = crate::pipeline::bad_extension(turn, &message, &["timer", "recipient-list-invite"]) {
        return turn.respond(request.key, 420, bytes);
    }
    let invitation = match Invitation::read(&message) {
        Ok(invitation) => invitation,
        Err(refused) => return turn.answer(request.key, &message, refused.status()),
    };
    let max = core.groups.settings.limits.members;
    let read = invitation.recipients.as_ref().map(|recipients| list::read(recipients, max, |uri| anybody(core, uri)));
    let entries = match read {
        Some(Ok(entries)) => entries,
        Some(Err(ListError::TooMany { max })) => return refuse(turn, &request, Refused::TooManyMembers { max }),
        Some(Err(error)) => return turn.answer(request.key, &message, error.status()),
        None => return turn.answer(request.key, &message, 400),
    };
    let mut invitees: Vec<Invitee> = entries.into_iter().map(|entry| entry.invitee).collect();
    invitees.retain(|invitee| invitee.user != user);
    let core = Arc::clone(core);
    core.runtime.clone().spawn(async move {
        match find_or_make(&core, &user, &message, &invitation, invitees).await {
            Ok(id) => core.visit(message.call_id(), |turn| begin(turn, request, user, id, invitation)),
            Err(Failed::Refused(refused)) => {
                super::answer(&core, request.key, &message, refused.status(), &warning(&core, refused));
            }
            Err(Failed::Store(error)) => {
                core.counters.store_failed();
                tracing::error!(%error, "a group could not be stored");
                super::answer(&core, request.key, &message, store_status(&error), &[]);
            }
        }
    });
}

fn refuse(turn: &mut Turn<'_>, request: &Request, refused: Refused) {
    let tag = turn.core.tag();
    let reply = Reply::new(&request.message, refused.status(), &tag);
    let warnings = warning(turn.core, refused);
    let reply = warnings.iter().fold(reply, |reply, (name, value)| reply.header_text(name, value.as_bytes()));
    turn.respond(request.key, refused.status(), reply.finish());
}

/// The Warning of a refusal.
pub(super) fn warning(core: &Core, refused: Refused) -> Vec<(&'static str, String)> {
    warning_of(core, refused.warning())
}

/// The same by code and text.
pub(in crate::service) fn warning_of(core: &Core, warning: Option<(u16, &str)>) -> Vec<(&'static str, String)> {
    let host = core.settings.domains.first().map_or("localhost", |domain| domain);
    // Clients look for the number within the text.
    let text = |(code, text): (u16, &str)| match code {
        127 => format!("399 {host} \"127 {text}\""),
        code => format!("{code} {host} \"{text}\""),
    };
    warning.map(|warning| (HeaderName::Warning.as_str(), text(warning))).into_iter().collect()
}

async fn find_or_make(
    core: &Arc<Core>,
    user: &Aor,
    message: &Message,
    invitation: &Invitation,
    invitees: Vec<Invitee>,
) -> Result<GroupId, Failed> {
    let groups = &core.stores.groups;
    let contribution_id = match &invitation.contribution_id {
        Some(id) => id.clone(),
        None => chappe_chat::made_id(&[message.call_id(), user.as_str().as_bytes()]),
    };
    loop {
        if let Some(found) = groups.find(&contribution_id).await?
            && let Some(stored) = groups.load(&found).await?
        {
            let known = record::read(&stored, core.groups.settings.rights)?;
            match Restart::of(Some(&known), user) {
                Restart::Rejoin => return Ok(known.id),
                Restart::Refuse(refused) => return Err(refused.into()),
                Restart::New => {
                    // It has ended: its name is free for another.
                    let Some(token) = claimed(core, &found).await? else { return Ok(known.id) };
                    match groups.remove(&found, token).await {
                        Ok(()) | Err(GroupError::Unknown) => {}
                        Err(GroupError::Store(error)) => return Err(error.into()),
                        Err(_) => return Ok(known.id),
                    }
                }
            }
        }
        let limits = &core.groups.settings.limits;
        let made = make(core, user, invitation, &contribution_id, invitees.clone(), limits).await?;
        match made {
            Ok(id) => return Ok(id),
            // Somebody was faster: the members meet in that one.
            Err(GroupError::Exists(_) | GroupError::Changed) => {}
            Err(GroupError::Store(error)) => return Err(error.into()),
            Err(_) => return Err(StoreError::Conflict.into()),
        }
    }
}

async fn claimed(core: &Core, id: &str) -> Result<Option<u64>, Failed> {
    match core.stores.groups.claim(id, core.groups.lease(), epoch_ms()).await {
        Ok(token) => Ok(token),
        Err(GroupError::Store(error)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

async fn make(
    core: &Arc<Core>,
    user: &Aor,
    invitation: &Invitation,
    contribution_id: &str,
    invitees: Vec<Invitee>,
    limits: &Limits,
) -> Result<Result<GroupId, GroupError>, Failed> {
    let creation = Creation {
        id: GroupId::new(crate::random::bytes()),
        contribution_id: contribution_id.into(),
        conversation_id: invitation.conversation_id.clone(),
        creator: Invitee { display_name: name_of(core, user), ..Invitee::new(user.clone()) },
        invitees,
        subject: invitation.subject.clone(),
        icon: None,
        open: true,
        rights: core.groups.settings.rights,
    };
    let now = epoch_ms();
    let count = core.stores.groups.of_user(user.as_str()).await?.len();
    let (group, events) = Group::create(creation, count, limits, now)?;
    let announced = events.iter().filter_map(|event| match event {
        Event::Announce(what) => Some(entry::announcement(what, now)),
        _ => None,
    });
    let new = NewGroup {
        id: group.id.as_str().into(),
        contribution_id: contribution_id.into(),
        data: record::state(&group),
        members: group.members.iter().map(record::member).collect(),
        entries: announced.collect(),
        lease: core.groups.lease(),
    };
    core.groups.any.store(true, Ordering::Relaxed);
    Ok(core.stored(core.stores.groups.create(new)).await.map(|()| group.id))
}

/// How a user of ours is called.
pub(super) fn name_of(core: &Core, user: &Aor) -> Option<Box<str>> {
    let entry = core.directory.find(user.as_str())?;
    Some(entry.display_name.clone()).filter(|name| !name.is_empty())
}
