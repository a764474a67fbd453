//! What becomes of a message at each of twenty members, over links that break and with reports in the wrong order.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{NAME, Party, kinds};
use crate::case::{Case, Ctx, SILENCE, Verdict, cases, check};
use crate::handset::{Cut, Handset, Model, Seen};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases! { NAME;
        "talk" "receipts-20" Practice "The sender hears exactly what became of a message at each of twenty, though links break and reports cross" => twenty;
    };
    cases.iter_mut().for_each(|case| case.limit = Duration::from_secs(120));
    cases
}

const WRITER: usize = 0;
/// It says that a message was displayed before it says that it arrived.
const HASTY: [usize; 2] = [4, 9];
/// Their links are broken when the message is said.
const CUT: [usize; 3] = [5, 10, 15];
/// It does not come back.
const GONE: usize = 16;

/// What the sender has been told of a message: who, and in what order.
fn told(seen: &Seen, id: &str) -> Vec<(String, String)> {
    seen.receipts.iter().filter(|told| told.id == id).map(|told| (told.from.clone(), told.kind.clone())).collect()
}

fn names(party: &Party, members: impl IntoIterator<Item = usize>) -> BTreeSet<&str> {
    members.into_iter().map(|at| party.user(at)).collect()
}

/// The sender has heard this of these.
async fn hears(party: &Party, id: &str, kind: &str, members: &BTreeSet<&str>) -> Verdict {
    let all = |seen: &Seen| {
        let told = told(seen, id);
        let has = |user: &&str| told.iter().any(|(from, heard)| from == user && heard == kind);
        members.iter().all(has).then_some(())
    };
    let what = format!("{kind} of {} members", members.len());
    party.members[WRITER].find(&what, all).await
}

/// And nothing else, each once, and of nobody that it has seen what it has not got.
fn exactly(party: &Party, id: &str, delivered: &BTreeSet<&str>, displayed: &BTreeSet<&str>) -> Verdict {
    let told = party.members[WRITER].look(|seen| told(seen, id));
    for (kind, expected) in [("delivered", delivered), ("displayed", displayed)] {
        let mut heard: Vec<&str> = told.iter().filter(|(_, heard)| heard == kind).map(|(from, _)| &**from).collect();
        heard.sort_unstable();
        let expected: Vec<&str> = expected.iter().copied().collect();
        check!(heard == expected, "{kind} by {heard:?}, {expected:?} expected");
    }
    check!(told.len() == delivered.len() + displayed.len(), "beside that the sender heard {told:?}");
    for user in displayed {
        let at = |kind: &str| told.iter().position(|(from, heard)| from == user && heard == kind);
        check!(at("delivered") < at("displayed"), "{user} had seen the message before it had it");
    }
    Ok(())
}

async fn twenty(ctx: Ctx) -> Verdict {
    let mut models = kinds(20);
    models[WRITER] = Model::cpm();
    for at in HASTY {
        models[at] = Model { displays: true, hasty: true, ..Model::cpm() };
    }
    let party = Party::of(&ctx, models, 0).await?;
    for at in CUT.into_iter().chain([GONE]) {
        party.members[at].cut(Cut::Off);
        party.members[at].find("the cut", |seen| (seen.cuts > 0).then_some(())).await?;
    }
    let is_there = |at: &usize| *at != WRITER && !CUT.contains(at) && *at != GONE;
    let there: Vec<usize> = (0..20).filter(is_there).collect();
    let writer: &Handset = &party.members[WRITER];
    let id = writer.tell(&party.room, &format!("who has it {}", ctx.token));
    writer.taken(&id).await?;
    for at in &there {
        party.members[*at].message(&id).await?;
    }
    hears(&party, &id, "delivered", &names(&party, there.iter().copied())).await?;
    hears(&party, &id, "displayed", &names(&party, HASTY)).await?;
    tokio::time::sleep(SILENCE).await;
    exactly(&party, &id, &names(&party, there.iter().copied()), &names(&party, HASTY))?;

    // The rest is told while the sender is away, and what was cut off comes back.
    writer.cut(Cut::Off);
    writer.find("the cut", |seen| (seen.cuts > 0).then_some(())).await?;
    let readers: Vec<usize> = there.iter().copied().filter(|at| at % 2 == 0 && !HASTY.contains(at)).collect();
    readers.iter().for_each(|at| party.members[*at].display(&id));
    for at in CUT {
        party.members[at].back().await?;
        party.members[at].message(&id).await?;
    }
    tokio::time::sleep(SILENCE).await;
    writer.back().await?;
    let delivered = names(&party, (1..20).filter(|at| *at != GONE));
    let displayed = names(&party, readers.iter().copied().chain(HASTY));
    hears(&party, &id, "delivered", &delivered).await?;
    hears(&party, &id, "displayed", &displayed).await?;
    tokio::time::sleep(SILENCE).await;
    exactly(&party, &id, &delivered, &displayed)
}
