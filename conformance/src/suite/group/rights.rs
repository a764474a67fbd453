//! Who may change what was said in a group.

use super::{NAME, Party};
use crate::case::{Case, Ctx, Verdict, cases, check};
use crate::handset::{Fate, Model};
use crate::suite::chat::edits;

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "rights" "own" Practice "A member may change what it has said itself" => own;
        "rights" "of-others" Practice "No member may change what another has said, in a session or by MESSAGE: 403" => of_others;
    }
}

async fn own(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::standalone(), Model::cpm()], 0).await?;
    for from in 0..2 {
        let id = party.round(from, &format!("teh text {from} {}", ctx.token)).await?;
        let edit = party.members[from].with(edits(&id));
        party.members[from].tell_as(&party.room, &edit, "the text");
        party.members[from].taken(&edit).await?;
        party.members[2].message(&edit).await?;
    }
    Ok(())
}

async fn of_others(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::standalone(), Model::cpm()], 0).await?;
    let id = party.round(0, &format!("mine {}", ctx.token)).await?;
    for other in [1, 2] {
        let edit = party.members[other].with(edits(&id));
        party.members[other].tell_as(&party.room, &edit, "never said");
        let fate = party.members[other].fate(&edit).await?;
        check!(fate == Fate::Answered(403), "a change of somebody else's message: {fate:?}, not 403");
        party.round(other, &format!("something else {other} {}", ctx.token)).await?;
        check!(party.members[0].copies(&edit) == 0, "the change of somebody else's message arrived");
    }
    Ok(())
}
