//! Who is there: the conference event package (RFC 4575).

use std::time::Duration;

use super::{NAME, Party, kinds};
use crate::case::{Case, Ctx, Verdict, cases, check};
use crate::handset::{Handset, Model, Roster};

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "4575-4.4" "first-full" Must "The first document of a subscription is a full one" => first_full;
        "4575-4.3" "versions" Must "Versions grow by one with each document, whatever happens" => versions;
        "4575-5" "same-roster" Practice "All members see the same people, in whatever order they came" => same_roster;
        "4575-3.9" "rate" Should "Changes that follow each other soon are told together, not faster than every five seconds" => rate;
        "roster" "roster-offline" Practice "A member that is away is on the roster, and connected when it comes" => offline;
        "roster" "roster-stranger" Practice "One who is not a member cannot subscribe: 403" => stranger;
        "roster" "roster-unknown-event" Must "A subscription to a package that the focus has not is answered 489 (RFC 6665 §4.2.1.2)" => unknown_event;
    }
}

fn has(count: usize) -> impl Fn(&Roster) -> bool {
    move |roster| roster.present().len() == count
}

/// No handset has found fault with a document.
fn no_faults(party: &Party) -> Verdict {
    for member in &party.members {
        let faults = member.look(|seen| seen.faults.join("; "));
        check!(faults.is_empty(), "{}: {faults}", member.user);
    }
    Ok(())
}

async fn first_full(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::rcse()], 0).await?;
    let roster = party.members[0].roster(&party.room, "two people", has(2)).await?;
    check!(roster.full >= 1, "{} documents and none was full", roster.documents);
    let expected = party.room.subject.clone();
    check!(roster.subject == expected, "the subject {expected:?} is {:?}", roster.subject);
    no_faults(&party)
}

async fn versions(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::rcse(), Model::browser()], 1).await?;
    let other = Handset::on(&ctx, &party.users[3], Model::cpm()).await?;
    party.members[0].refer(&party.room, &other.user, "").await?;
    other.is_invited(&party.room).await?;
    for member in &party.members {
        member.roster(&party.room, "four people", has(4)).await?;
    }
    other.leave(&party.room);
    for member in &party.members {
        let roster = member.roster(&party.room, "three people", has(3)).await?;
        check!(roster.documents >= 2, "{} has the news of a change in its first document", member.user);
    }
    no_faults(&party)
}

async fn same_roster(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, kinds(8), 0).await?;
    let connected = |roster: &Roster| {
        let calls = |user: &String| party.members.iter().any(|m| m.user == *user && m.model.calls());
        let all = roster.people.iter().all(|(user, person)| !calls(user) || person.status == "connected");
        all && roster.present().len() == 8
    };
    let first = party.members[0].roster(&party.room, "eight people, the callers connected", connected).await?;
    for member in party.members.iter().filter(|member| member.model.calls()) {
        let roster = member.roster(&party.room, "eight people, the callers connected", connected).await?;
        check!(roster.present() == first.present(), "{:?} and {:?}", roster.present(), first.present());
    }
    no_faults(&party)
}

async fn rate(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 0).await?;
    party.members[1].roster(&party.room, "two people", has(2)).await?;
    let documents =
        |at: usize| party.members[at].look(|seen| seen.room(&party.room.focus).map_or(0, |room| room.roster.documents));
    let before = documents(1);
    for n in 0..6 {
        party.members[0].describe(&party.room, "subject", &format!("Subject {n}"));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    party.members[1]
        .roster(&party.room, "the last subject", |roster| roster.subject.as_deref() == Some("Subject 5"))
        .await?;
    let told = documents(1) - before;
    check!(told <= 3, "six changes within a second were {told} documents");
    no_faults(&party)
}

async fn offline(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 1).await?;
    let away = Handset::off(&ctx, &party.users[2], Model::cpm()).await?;
    party.members[0].refer(&party.room, &away.user, "").await?;
    let roster = party.members[0].roster(&party.room, "three people", has(3)).await?;
    let status = roster.people[&away.user].status.clone();
    check!(status != "connected", "one who is away is {status:?}");
    away.register().await?;
    away.is_invited(&party.room).await?;
    let is_there = |roster: &Roster| roster.people.get(&away.user).is_some_and(|p| p.status == "connected");
    party.members[0].roster(&party.room, "the one who came", is_there).await?;
    no_faults(&party)
}

async fn stranger(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 1).await?;
    let stranger = Handset::on(&ctx, &party.users[2], Model::cpm()).await?;
    let answer = stranger.watch(&party.room).await?;
    check!(answer.status() == Some(403), "a stranger's SUBSCRIBE was answered {}", answer.start);
    Ok(())
}

async fn unknown_event(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 0).await?;
    let mut ua = ctx.ua(&party.users[0]).await?;
    let subscribe = ua.req("SUBSCRIBE", &party.room.focus).add("Event", "x-never-heard-of").add("Expires", "60");
    let answer = ua.call(&subscribe).await?;
    check!(answer.status() == Some(489), "expected 489, got {}", answer.start);
    Ok(())
}
