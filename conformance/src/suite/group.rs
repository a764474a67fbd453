//! Group chat as RCS services have it (GSMA RCC.07 §3.4; RFC 4353, 4575, 4579, 5366, 5368), between handsets of all kinds: OMA
//! SIMPLE IM and CPM, MESSAGE, browsers.
//!
//! The target has to have a conference factory at `sip:conference-factory@DOMAIN`, and to keep groups and what cannot be
//! delivered. Receiving is judged by message id: each once, the same order for all.

mod create;
mod life;
mod members;
mod receipts;
mod rights;
mod roster;
mod share;
mod talk;

use std::time::Duration;

use crate::case::{Case, Ctx, Lease, SILENCE, Verdict, check};
use crate::handset::{Got, Handset, Model, Room};

pub(crate) const NAME: &str = "group";

/// What a case of the suite may take: rosters are told every five seconds.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        create::cases(),
        talk::cases(),
        receipts::cases(),
        share::cases(),
        roster::cases(),
        members::cases(),
        rights::cases(),
        life::cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.iter_mut().for_each(|case| case.limit = case.limit.max(LIMIT));
    cases
}

/// A group whose members are all there; the first has made it.
struct Party {
    members: Vec<Handset>,
    room: Room,
    users: Lease,
}

impl Party {
    /// One of each model, all in. Accounts beyond are for others.
    async fn of(ctx: &Ctx, models: Vec<Model>, more: usize) -> Verdict<Party> {
        let users = ctx.accounts(models.len() + more).await?;
        let mut members = Vec::new();
        for (account, model) in users.iter().zip(models) {
            members.push(Handset::on(ctx, account, model).await?);
        }
        let others: Vec<&str> = members[1..].iter().map(|member| member.user.as_str()).collect();
        let room = members[0].create(&others, &format!("Trip {}", ctx.token)).await?;
        let party = Party { members, room, users };
        for member in party.members[1..].iter().filter(|member| member.model.calls()) {
            member.is_invited(&party.room).await?;
        }
        Ok(party)
    }

    fn user(&self, at: usize) -> &str {
        &self.members[at].user
    }

    /// One says something, and all others get it.
    async fn round(&self, from: usize, text: &str) -> Verdict<String> {
        let sender = &self.members[from];
        let id = sender.tell(&self.room, text);
        sender.taken(&id).await?;
        for (_, member) in self.members.iter().enumerate().filter(|(at, _)| *at != from) {
            let got = arrives(sender, member, &id, text).await?;
            let room = got.room.as_deref().unwrap_or_default();
            let is_of_it = !member.model.cpim || !room.is_empty() && self.room.focus.contains(room);
            check!(is_of_it, "what was said in the group came from {room:?} at {}", member.user);
        }
        Ok(id)
    }

    /// Nothing came twice or back, as far as a moment tells.
    async fn only_once(&self, ids: &[(usize, String)]) -> Verdict {
        tokio::time::sleep(SILENCE).await;
        for (from, id) in ids {
            for (at, member) in self.members.iter().enumerate().filter(|(_, member)| member.model.cpim) {
                let (copies, expected) = (member.copies(id), usize::from(at != *from));
                check!(copies == expected, "{copies} copies of {id} at {}, {expected} expected", member.user);
            }
        }
        Ok(())
    }
}

/// Each kind of member in turn.
fn kinds(count: usize) -> Vec<Model> {
    let kinds = [Model::cpm, Model::rcse, Model::pager, Model::browser, Model::cpm];
    (0..count).map(|at| kinds[at % kinds.len()]()).collect()
}

async fn arrives(sender: &Handset, member: &Handset, id: &str, text: &str) -> Verdict<Got> {
    let got = if member.model.cpim { member.message(id).await? } else { member.text(text).await? };
    check!(got.text == text, "{} octets arrived as {} others at {}", text.len(), got.text.len(), member.user);
    let named = !member.model.cpim || got.from == sender.user;
    check!(named, "what {} said is from {:?} at {}", sender.user, got.from, member.user);
    Ok(got)
}

/// The ids of messages in the order in which a handset has got them, copies aside.
fn order(handset: &Handset) -> Vec<String> {
    handset.look(|seen| {
        let mut order: Vec<String> = Vec::new();
        for id in seen.messages.iter().filter_map(|got| got.id.clone()) {
            if !order.contains(&id) {
                order.push(id);
            }
        }
        order
    })
}

/// The messages came in that order, and each once.
fn in_order(handset: &Handset, ids: &[String]) -> Verdict {
    let got: Vec<String> = order(handset).into_iter().filter(|id| ids.contains(id)).collect();
    check!(got == ids, "{ids:?} arrived as {got:?} at {}", handset.user);
    for id in ids {
        check!(handset.copies(id) == 1, "{} copies of {id} at {}", handset.copies(id), handset.user);
    }
    Ok(())
}
