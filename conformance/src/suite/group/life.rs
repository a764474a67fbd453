//! Groups live on: sessions end, devices come and go, members begin again.

use super::{NAME, Party, arrives, in_order};
use crate::case::{Case, Ctx, SILENCE, Verdict, cases, check};
use crate::handset::{Cut, Handset, Model};
use crate::message::uri_of;

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "life" "away-cpm" Practice "A CPM member that is away gets what was said when it comes, once and in order" => away_cpm;
        "life" "away-rcse" Practice "A SIMPLE IM member that is away gets what was said when it comes, once and in order" => away_rcse;
        "life" "away-pager" Practice "A MESSAGE-only member that is away gets what was said when it comes, once and in order" => away_pager;
        "life" "away-browser" Practice "A browser that is away gets what was said when it comes, once and in order" => away_browser;
        "life" "away-at-first" Practice "Who is away when the group is made is invited when it comes" => away_at_first;
        "life" "receipts-wait" Practice "Receipts wait for a sender that has left its session" => receipts_wait;
        "life" "rejoin" Practice "A member whose session ended calls the focus and gets what it missed, once and in order" => rejoin;
        "life" "media-lost" Practice "What was said while a connection was gone arrives, once and in order" => media_lost;
        "life" "last-session" Practice "The group stays when all sessions have ended" => last_session;
        "life" "restart" Practice "A restart under the same Contribution-ID finds the same focus" => restart;
        "life" "restart-together" Practice "Two members that begin again at the same time find one focus" => restart_together;
        "life" "restart-stranger" Practice "One who is not a member cannot begin a group again: 403 with a Warning" => restart_stranger;
        "life" "two-devices" Practice "Two devices of a member both take part, and see what the other says" => two_devices;
        "life" "swap" Practice "A new device of a member takes part: membership is of the user" => swap;
        "life" "unknown" Practice "A call to a focus that never was is answered 404" => unknown;
        "life" "over" Practice "When the last member has left, the focus is gone: 404 or 410" => over;
    }
}

async fn away_cpm(ctx: Ctx) -> Verdict {
    away(ctx, Model::cpm()).await
}

async fn away_rcse(ctx: Ctx) -> Verdict {
    away(ctx, Model::rcse()).await
}

async fn away_pager(ctx: Ctx) -> Verdict {
    away(ctx, Model::pager()).await
}

async fn away_browser(ctx: Ctx) -> Verdict {
    away(ctx, Model::browser()).await
}

/// Twenty texts of two members; gives their ids in the order of their acceptance.
async fn say(party: &Party, from: [usize; 2], count: usize, word: &str) -> Verdict<Vec<String>> {
    let mut ids = Vec::new();
    for n in 0..count {
        let sender = &party.members[from[n % 2]];
        let id = sender.tell(&party.room, &format!("{n} {word}"));
        sender.taken(&id).await?;
        ids.push(id);
    }
    Ok(ids)
}

async fn all_come(handset: &Handset, ids: &[String]) -> Verdict {
    for id in ids {
        handset.message(id).await?;
    }
    tokio::time::sleep(SILENCE).await;
    in_order(handset, ids)
}

async fn away(ctx: Ctx, model: Model) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::rcse(), model], 0).await?;
    let away = &party.members[2];
    let first = party.round(0, &format!("first {}", ctx.token)).await?;
    // The server knows that it has it; what is not confirmed at a cut may come again.
    let user = away.user.clone();
    let is = |receipt: &&crate::handset::Receipt| receipt.id == first && receipt.from == user;
    let find = |seen: &crate::handset::Seen| seen.receipts.iter().find(is).cloned();
    party.members[0].find("the notification of who will be away", find).await?;
    away.cut(Cut::Off);
    away.find("the cut", |seen| (seen.cuts > 0).then_some(())).await?;
    let mut ids = say(&party, [0, 1], 20, &ctx.token).await?;
    away.back().await?;
    ids.insert(0, first);
    all_come(away, &ids).await
}

async fn away_at_first(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(3).await?;
    let a = Handset::on(&ctx, &users[0], Model::cpm()).await?;
    let b = Handset::on(&ctx, &users[1], Model::cpm()).await?;
    let c = Handset::off(&ctx, &users[2], Model::cpm()).await?;
    let room = a.create(&[&b.user, &c.user], "Later").await?;
    b.is_invited(&room).await?;
    let text = format!("come {}", ctx.token);
    let id = a.tell(&room, &text);
    a.taken(&id).await?;
    c.register().await?;
    c.is_invited(&room).await?;
    arrives(&a, &c, &id, &text).await?;
    a.receipt(&id, "delivered").await.map(|_| ())
}

async fn receipts_wait(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 0).await?;
    let (a, b) = (&party.members[0], &party.members[1]);
    let id = party.round(0, &format!("read it later {}", ctx.token)).await?;
    a.receipt(&id, "delivered").await?;
    a.cut(Cut::Off);
    a.find("the cut", |seen| (seen.cuts > 0).then_some(())).await?;
    b.display(&id);
    tokio::time::sleep(SILENCE).await;
    a.back().await?;
    a.receipt(&id, "displayed").await?;
    Ok(())
}

async fn rejoin(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::rcse(), Model::cpm()], 0).await?;
    let away = &party.members[2];
    // It answers no calls, so that it is it that comes back.
    away.accept(crate::handset::Accept::Reject(480)).await?;
    away.hang_up();
    away.find("the end of its session", |seen| (!seen.is_open(&party.room.focus)).then_some(())).await?;
    let ids = say(&party, [0, 1], 6, &ctx.token).await?;
    let room = away.rejoin(&party.room).await?;
    check!(room.focus == party.room.focus, "the focus is {:?} after {:?}", room.focus, party.room.focus);
    all_come(away, &ids).await?;
    let id = away.tell(&room, "back");
    away.taken(&id).await?;
    arrives(away, &party.members[0], &id, "back").await?;
    Ok(())
}

async fn media_lost(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::rcse(), Model::cpm()], 0).await?;
    party.members[2].cut(Cut::Media);
    let ids = say(&party, [0, 1], 6, &ctx.token).await?;
    all_come(&party.members[2], &ids).await
}

async fn last_session(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 0).await?;
    for member in &party.members {
        member.hang_up();
        member.find("the end of its session", |seen| (!seen.is_open(&party.room.focus)).then_some(())).await?;
    }
    party.members[1].rejoin(&party.room).await?;
    party.round(1, &format!("anybody {}", ctx.token)).await?;
    Ok(())
}

async fn restart(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::rcse(), Model::cpm()], 0).await?;
    party.members[1].hang_up();
    party.members[1].find("the end", |seen| (!seen.is_open(&party.room.focus)).then_some(())).await?;
    let others = [party.user(0), party.user(2)];
    let answer = party.members[1].create_as(&others, "Trip", &party.room.contribution).await?;
    check!(answer.status() == Some(200), "the factory answered {}", answer.start);
    let focus = uri_of(answer.header("contact").unwrap_or(""));
    check!(focus == party.room.focus, "the focus is {focus:?} after {:?}", party.room.focus);
    party.members[1].is_in(focus).await?;
    party.round(1, &format!("again {}", ctx.token)).await?;
    Ok(())
}

async fn restart_together(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm(), Model::cpm()], 0).await?;
    for member in &party.members {
        member.hang_up();
        member.find("the end", |seen| (!seen.is_open(&party.room.focus)).then_some(())).await?;
    }
    let (others, more) = ([party.user(1), party.user(2)], [party.user(0), party.user(2)]);
    let (one, other) = tokio::join!(
        party.members[0].create_as(&others, "Trip", &party.room.contribution),
        party.members[1].create_as(&more, "Trip", &party.room.contribution),
    );
    let (one, other) = (one?, other?);
    let focus = |answer: &crate::message::Message| uri_of(answer.header("contact").unwrap_or("")).to_owned();
    check!(one.status() == Some(200) && other.status() == Some(200), "{} and {}", one.start, other.start);
    check!(focus(&one) == focus(&other), "two focuses: {:?} and {:?}", focus(&one), focus(&other));
    Ok(())
}

async fn restart_stranger(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 1).await?;
    let mallory = Handset::on(&ctx, &party.users[2], Model::cpm()).await?;
    let answer = mallory.create_as(&[party.user(0)], "Trip", &party.room.contribution).await?;
    check!(answer.status() == Some(403), "expected 403, got {}", answer.start);
    check!(answer.header("warning").is_some(), "a 403 without Warning");
    Ok(())
}

async fn two_devices(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(2).await?;
    let a = Handset::on(&ctx, &users[0], Model::cpm()).await?;
    let one = Handset::on(&ctx, &users[1], Model::cpm()).await?;
    let other = Handset::on(&ctx, &users[1], Model::browser()).await?;
    let room = a.create(&[&one.user], "Two devices").await?;
    one.is_invited(&room).await?;
    other.is_invited(&room).await?;
    let text = format!("to both {}", ctx.token);
    let id = a.tell(&room, &text);
    arrives(&a, &one, &id, &text).await?;
    arrives(&a, &other, &id, &text).await?;
    let text = format!("from one {}", ctx.token);
    let id = one.tell(&room, &text);
    arrives(&one, &a, &id, &text).await?;
    arrives(&one, &other, &id, &text).await?;
    tokio::time::sleep(SILENCE).await;
    check!(one.copies(&id) == 0, "what it said came back to the device that said it");
    let roster = a.roster(&room, "two people", |roster| roster.present().len() == 2).await?;
    check!(roster.people.len() == 2, "devices are people: {:?}", roster.people.keys());
    Ok(())
}

async fn swap(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::rcse(), Model::cpm()], 0).await?;
    party.members[2].unregister().await?;
    party.members[2].cut(Cut::Off);
    party.members[2].find("the cut", |seen| (seen.cuts > 0).then_some(())).await?;
    let ids = say(&party, [0, 1], 4, &ctx.token).await?;
    let new = Handset::on(&ctx, &party.users[2], Model::rcse()).await?;
    new.is_invited(&party.room).await?;
    all_come(&new, &ids).await?;
    let text = format!("a new phone {}", ctx.token);
    let id = new.tell(&party.room, &text);
    new.taken(&id).await?;
    arrives(&new, &party.members[0], &id, &text).await?;
    Ok(())
}

async fn unknown(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 0).await?;
    let mut room = party.room.clone();
    // Another of the same form.
    let (user, host) = room.focus.split_once('@').unwrap_or((&room.focus, ""));
    let turned: String = user.chars().map(|c| if c.is_ascii_digit() { '7' } else { c }).collect();
    room.focus = format!("{turned}@{host}");
    let answer = party.members[0].join(&room).await?;
    check!(answer.status() == Some(404), "expected 404, got {}", answer.start);
    Ok(())
}

async fn over(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 0).await?;
    for member in party.members.iter().rev() {
        member.leave(&party.room);
        member.find("the end of its session", |seen| (!seen.is_open(&party.room.focus)).then_some(())).await?;
    }
    tokio::time::sleep(SILENCE).await;
    let answer = party.members[0].join(&party.room).await?;
    check!(matches!(answer.status(), Some(404 | 410)), "expected 404 or 410, got {}", answer.start);
    Ok(())
}
