//! What is said in a group: order, receipts, signs of typing, strangers.

use super::{NAME, Party, kinds, order};
use crate::case::{Case, Ctx, SILENCE, Verdict, cases, check};
use crate::handset::{Handset, Model};

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "talk" "one-order" Practice "Members that all talk at once see one order" => one_order;
        "talk" "mixed" Practice "SIMPLE IM, CPM, browser and MESSAGE-only members are in one room" => mixed;
        "talk" "plain" Practice "A member that knows text by MESSAGE only reads and writes" => plain;
        "talk" "receipts" Practice "A sender hears of each member that a message was delivered and displayed, once" => receipts;
        "talk" "private-receipts" Practice "Nobody but the sender hears what became of a message" => private_receipts;
        "talk" "unasked" Practice "A sender that asks for no notifications gets none" => unasked;
        "talk" "composing" Practice "Composing reaches those who are in a session and is not kept" => is_composing;
        "talk" "long" Practice "A text in several chunks arrives whole" => long;
        "talk" "stranger" Practice "One who is not a member cannot talk in a group: 403 or 404" => stranger;
    }
}

async fn one_order(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::rcse(), Model::browser(), Model::cpm()], 0).await?;
    let mut ids = Vec::new();
    for n in 0..8 {
        for (from, member) in party.members.iter().enumerate() {
            ids.push((from, member.tell(&party.room, &format!("{n} of {from} {}", ctx.token))));
        }
    }
    for (from, id) in &ids {
        for (_, member) in party.members.iter().enumerate().filter(|(at, _)| at != from) {
            member.message(id).await?;
        }
    }
    party.only_once(&ids).await?;
    for one in &party.members {
        for other in &party.members {
            let (mine, theirs) = (order(one), order(other));
            let common = |ids: &[String], among: &[String]| -> Vec<String> {
                ids.iter().filter(|id| among.contains(id)).cloned().collect()
            };
            let same = common(&mine, &theirs) == common(&theirs, &mine);
            check!(same, "{} and {} see two orders", one.user, other.user);
        }
    }
    Ok(())
}

async fn mixed(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, kinds(4), 0).await?;
    let mut ids = Vec::new();
    for from in 0..4 {
        ids.push((from, party.round(from, &format!("{from} says {}", ctx.token)).await?));
    }
    party.only_once(&ids).await
}

async fn plain(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::plain(), Model::cpm()], 0).await?;
    party.round(0, &format!("to all {}", ctx.token)).await?;
    let text = format!("plainly {}", ctx.token);
    let id = party.members[1].tell(&party.room, &text);
    party.members[1].taken(&id).await?;
    for at in [0, 2] {
        let got = party.members[at].text(&text).await?;
        check!(got.from == party.user(1), "what {} said is from {:?}", party.user(1), got.from);
    }
    Ok(())
}

async fn receipts(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, kinds(4), 0).await?;
    let id = party.round(0, &format!("who reads {}", ctx.token)).await?;
    for member in &party.members[1..] {
        member.display(&id);
    }
    for kind in ["delivered", "displayed"] {
        for member in &party.members[1..] {
            let user = member.user.clone();
            let what = format!("{kind} for {id} of {user}");
            let is =
                |receipt: &&crate::handset::Receipt| receipt.id == id && receipt.kind == kind && receipt.from == user;
            party.members[0].find(&what, |seen| seen.receipts.iter().find(is).cloned()).await?;
        }
        tokio::time::sleep(SILENCE).await;
        let count = party.members[0].receipts(&id, kind);
        check!(count == 3, "{count} times {kind} of three members");
    }
    Ok(())
}

async fn private_receipts(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm(), Model::rcse(), Model::pager()], 0).await?;
    let id = party.round(1, &format!("who reads {}", ctx.token)).await?;
    party.members[1].receipt(&id, "delivered").await?;
    tokio::time::sleep(SILENCE).await;
    for at in [0, 2, 3] {
        let heard = about(&party.members[at], &id);
        check!(heard == 0, "{} heard {heard} notifications of another's message", party.user(at));
    }
    Ok(())
}

/// Notifications about a message. (Groups of earlier cases may still have some for a user.)
fn about(handset: &Handset, id: &str) -> usize {
    handset.look(|seen| seen.receipts.iter().filter(|receipt| receipt.id == id).count())
}

async fn unasked(ctx: Ctx) -> Verdict {
    let quiet = Model { wants: "", ..Model::cpm() };
    let party = Party::of(&ctx, vec![quiet, Model::cpm(), Model::rcse()], 0).await?;
    let id = party.round(0, &format!("whatever {}", ctx.token)).await?;
    tokio::time::sleep(SILENCE).await;
    let heard = about(&party.members[0], &id);
    check!(heard == 0, "{heard} notifications that nobody asked for");
    Ok(())
}

async fn is_composing(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm(), Model::rcse(), Model::pager()], 1).await?;
    let late = Handset::off(&ctx, &party.users[4], Model::cpm()).await?;
    let answer = party.members[0].refer(&party.room, &late.user, "").await?;
    check!(matches!(answer.status(), Some(200 | 202)), "REFER was answered {}", answer.start);
    party.members[0].compose_in(&party.room, true);
    let author = party.user(0).to_owned();
    for at in [1, 2] {
        let find = |seen: &crate::handset::Seen| seen.composing.iter().find(|(user, _)| *user == author).cloned();
        let (_, active) = party.members[at].find("composing", find).await?;
        check!(active, "composing came as idle");
    }
    let id = party.round(0, &format!("so {}", ctx.token)).await?;
    late.register().await?;
    late.message(&id).await?;
    let kept = late.look(|seen| seen.composing.len());
    check!(kept == 0, "composing was kept");
    let back = party.members[0].look(|seen| seen.composing.len());
    check!(back == 0, "composing came back to who composes");
    Ok(())
}

async fn long(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::rcse(), Model::cpm(), Model::browser()], 0).await?;
    let text: String = (0..1500).map(|n| format!("{n} caf\u{e9} \u{1f3e0} ")).collect();
    for from in 0..3 {
        party.round(from, &format!("{from} {text}")).await?;
    }
    Ok(())
}

async fn stranger(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 1).await?;
    let stranger = Handset::on(&ctx, &party.users[2], Model::pager()).await?;
    let text = format!("let me in {}", ctx.token);
    let id = stranger.tell(&party.room, &text);
    let fate = stranger.fate(&id).await?;
    let refused = matches!(fate, crate::handset::Fate::Answered(403 | 404));
    check!(refused, "what a stranger said was answered {fate:?}");
    party.round(0, "ours").await?;
    let heard = party.members[1].look(|seen| seen.messages.iter().any(|got| got.text == text));
    check!(!heard, "members heard the stranger");
    Ok(())
}
