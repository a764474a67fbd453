//! Who comes and who goes, and who may change what.

use super::{NAME, Party, arrives};
use crate::case::{Case, Ctx, SILENCE, Verdict, cases, check};
use crate::handset::{Handset, Model, Room, Roster};
use crate::message::Message;

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "members" "add" Practice "A member adds another, who gets what is said from then on" => add;
        "members" "add-several" Must "A REFER with a list adds all that are on it (RFC 5368)" => add_several;
        "members" "add-pager" Practice "A member that knows MESSAGE only is added" => add_pager;
        "members" "add-present" Practice "Adding who is there is no error and calls nobody" => add_present;
        "members" "refer-sub" Must "A REFER with Refer-Sub: false makes no subscription (RFC 4488)" => refer_sub;
        "members" "refer-two" Must "A REFER with two Refer-To is answered 400 (RFC 3515 §2.4.2)" => refer_two;
        "members" "add-stranger" Practice "One who is not a member cannot add: 403" => add_stranger;
        "members" "remove" Practice "The creator removes a member: BYE with cause 410, and it hears nothing more" => remove;
        "members" "remove-header" Must "method=BYE as a header of the URI removes too" => remove_header;
        "members" "remove-several" Must "A REFER with a list of BYEs removes all that are on it (RFC 5368 §9)" => remove_several;
        "members" "remove-right" Practice "A member that is no administrator cannot remove: 403" => remove_right;
        "members" "removed-back" Practice "Who was removed is refused by the focus: 403 with a Warning" => removed_back;
        "members" "removed-added" Practice "Who was removed can be added again" => removed_added;
        "members" "leave" Practice "Who leaves hears nothing more, and the roster shows it as departed" => leave;
        "members" "left-back" Practice "Who left is refused by the focus until it is added" => left_back;
        "members" "decline" Practice "Who declines is no member" => decline;
        "members" "rename" Practice "The creator changes the subject, and all rosters have it" => rename;
        "members" "rename-right" Practice "A member that is no administrator does not change the subject" => rename_right;
        "members" "rename-unicode" Practice "A subject may have markup, emoji and right-to-left text" => rename_unicode;
        "members" "rename-reinvite" Practice "A re-INVITE of the creator with another Subject changes it, and one that repeats an old one does not" => rename_reinvite;
        "members" "rename-reinvite-right" Practice "A re-INVITE with another Subject of one that is no administrator is refused: 403, and the session goes on" => rename_reinvite_right;
        "members" "icon" Practice "The creator sets an icon, and all rosters have it" => icon;
    }
}

fn accepted(answer: &Message) -> Verdict {
    check!(matches!(answer.status(), Some(200 | 202)), "REFER was answered {}", answer.start);
    Ok(())
}

async fn three(ctx: &Ctx, more: usize) -> Verdict<Party> {
    Party::of(ctx, vec![Model::cpm(), Model::cpm(), Model::rcse()], more).await
}

async fn add(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 1).await?;
    let early = party.round(0, &format!("before {}", ctx.token)).await?;
    let dave = Handset::on(&ctx, &party.users[3], Model::cpm()).await?;
    accepted(&party.members[1].refer(&party.room, &dave.user, "").await?)?;
    let room = dave.is_invited(&party.room).await?;
    check!(room.subject == party.room.subject, "the subject came as {:?}", room.subject);
    ctx.should(room.by.as_deref() == Some(party.user(1)), format!("Referred-By is {:?}", room.by));
    let text = format!("after {}", ctx.token);
    let id = party.round(0, &text).await?;
    arrives(&party.members[0], &dave, &id, &text).await?;
    let text = format!("thanks {}", ctx.token);
    let id = dave.tell(&room, &text);
    for member in &party.members {
        arrives(&dave, member, &id, &text).await?;
    }
    check!(dave.copies(&early) == 0, "what was said before it came reached {}", dave.user);
    Ok(())
}

async fn add_several(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 3).await?;
    let mut others = Vec::new();
    for (account, model) in party.users[3..].iter().zip([Model::cpm(), Model::rcse(), Model::browser()]) {
        others.push(Handset::on(&ctx, account, model).await?);
    }
    let names: Vec<&str> = others.iter().map(|other| other.user.as_str()).collect();
    accepted(&party.members[0].refer_all(&party.room, &names, "").await?)?;
    for other in &others {
        other.is_invited(&party.room).await?;
    }
    let text = format!("welcome {}", ctx.token);
    let id = party.round(0, &text).await?;
    for other in &others {
        arrives(&party.members[0], other, &id, &text).await?;
    }
    Ok(())
}

async fn add_pager(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 1).await?;
    let dave = Handset::on(&ctx, &party.users[3], Model::pager()).await?;
    accepted(&party.members[0].refer(&party.room, &dave.user, "").await?)?;
    let text = format!("welcome {}", ctx.token);
    let id = party.round(0, &text).await?;
    arrives(&party.members[0], &dave, &id, &text).await?;
    let text = format!("thanks {}", ctx.token);
    let id = dave.tell(&party.room, &text);
    dave.taken(&id).await?;
    arrives(&dave, &party.members[2], &id, &text).await?;
    Ok(())
}

async fn add_present(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 0).await?;
    accepted(&party.members[0].refer(&party.room, party.user(1), "").await?)?;
    party.round(0, "nothing new").await?;
    tokio::time::sleep(SILENCE).await;
    let calls = invitations(&party.members[1], &party.room);
    check!(calls == 1, "{calls} invitations for one who is there");
    Ok(())
}

fn invitations(member: &Handset, room: &Room) -> usize {
    member.look(|seen| seen.room(&room.focus).map_or(0, |room| room.invitations))
}

async fn refer_sub(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 1).await?;
    let dave = Handset::on(&ctx, &party.users[3], Model::cpm()).await?;
    let answer = party.members[0].refer(&party.room, &dave.user, "").await?;
    accepted(&answer)?;
    let says = answer.header("refer-sub").unwrap_or("").trim().to_owned();
    check!(says.starts_with("false"), "Refer-Sub is {says:?}");
    Ok(())
}

async fn refer_two(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 0).await?;
    let mut ua = ctx.ua(&party.users[0]).await?;
    let refer = ua.req("REFER", &party.room.focus);
    let refer = refer.add("Refer-To", "<sip:x@localhost>").add("Refer-To", "<sip:y@localhost>");
    let answer = ua.call(&refer).await?;
    check!(answer.status() == Some(400), "expected 400, got {}", answer.start);
    Ok(())
}

async fn add_stranger(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 1).await?;
    let mallory = Handset::on(&ctx, &party.users[3], Model::cpm()).await?;
    let answer = mallory.refer(&party.room, &mallory.user, "").await?;
    check!(answer.status() == Some(403), "a stranger's REFER was answered {}", answer.start);
    Ok(())
}

async fn remove(ctx: Ctx) -> Verdict {
    removes(&ctx, ";method=BYE").await.map(|_| ())
}

async fn remove_header(ctx: Ctx) -> Verdict {
    removes(&ctx, "?method=BYE").await.map(|_| ())
}

/// The creator removes the third member.
async fn removes(ctx: &Ctx, method: &str) -> Verdict<Party> {
    let mut party = three(ctx, 1).await?;
    accepted(&party.members[0].refer(&party.room, party.user(2), method).await?)?;
    let gone = party.members.pop().expect("three members");
    is_dismissed(&gone, &party.room).await?;
    let id = party.round(0, &format!("without it {}", ctx.token)).await?;
    let booted = |roster: &Roster| {
        roster.people.get(&gone.user).is_none_or(|p| p.status == "disconnected") && roster.present().len() == 2
    };
    let roster = party.members[1].roster(&party.room, "one booted", booted).await?;
    let method = roster.people.get(&gone.user).map(|person| person.method.clone());
    check!(matches!(method.as_deref(), None | Some("booted")), "who was removed is {method:?}");
    check!(gone.copies(&id) == 0, "what was said after reached {}", gone.user);
    party.members.push(gone);
    Ok(party)
}

/// The focus has ended its session for good.
async fn is_dismissed(gone: &Handset, room: &Room) -> Verdict {
    let find = |seen: &crate::handset::Seen| seen.room(&room.focus)?.bye.clone();
    let reason = gone.find("the BYE of the focus", find).await?;
    check!(reason.contains("cause=410"), "Reason of the BYE is {reason:?}");
    Ok(())
}

async fn remove_several(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 1).await?;
    let dave = Handset::on(&ctx, &party.users[3], Model::browser()).await?;
    accepted(&party.members[0].refer(&party.room, &dave.user, "").await?)?;
    dave.is_invited(&party.room).await?;
    let gone = [party.user(2), dave.user.as_str()];
    accepted(&party.members[0].refer_all(&party.room, &gone, "?method=BYE").await?)?;
    is_dismissed(&party.members[2], &party.room).await?;
    is_dismissed(&dave, &party.room).await
}

async fn remove_right(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 0).await?;
    let answer = party.members[1].refer(&party.room, party.user(2), ";method=BYE").await?;
    check!(answer.status() == Some(403), "expected 403, got {}", answer.start);
    party.round(0, "all here").await?;
    Ok(())
}

async fn removed_back(ctx: Ctx) -> Verdict {
    let party = removes(&ctx, ";method=BYE").await?;
    let answer = party.members[2].join(&party.room).await?;
    check!(answer.status() == Some(403), "expected 403, got {}", answer.start);
    check!(answer.header("warning").is_some(), "a 403 without Warning");
    Ok(())
}

async fn removed_added(ctx: Ctx) -> Verdict {
    let party = removes(&ctx, ";method=BYE").await?;
    accepted(&party.members[0].refer(&party.room, party.user(2), "").await?)?;
    let back = &party.members[2];
    back.find("a second invitation", |seen| {
        seen.room(&party.room.focus).filter(|room| room.invitations == 2).map(|_| ())
    })
    .await?;
    back.is_in(&party.room.focus).await?;
    party.round(0, &format!("welcome back {}", ctx.token)).await?;
    Ok(())
}

/// The third member leaves.
async fn leaves(ctx: &Ctx) -> Verdict<Party> {
    let mut party = three(ctx, 0).await?;
    party.members[1].roster(&party.room, "three people", |roster| roster.present().len() == 3).await?;
    let gone = party.members.pop().expect("three members");
    gone.leave(&party.room);
    let departed = |roster: &Roster| roster.present().len() == 2;
    let roster = party.members[1].roster(&party.room, "one departed", departed).await?;
    let method = roster.people.get(&gone.user).map(|person| person.method.clone());
    check!(matches!(method.as_deref(), None | Some("departed")), "who left is {method:?}");
    let id = party.round(0, &format!("without it {}", ctx.token)).await?;
    tokio::time::sleep(SILENCE).await;
    check!(gone.copies(&id) == 0, "what was said after reached {}", gone.user);
    let calls = invitations(&gone, &party.room);
    check!(calls == 1, "{calls} invitations for one who left");
    party.members.push(gone);
    Ok(party)
}

async fn leave(ctx: Ctx) -> Verdict {
    leaves(&ctx).await.map(|_| ())
}

async fn left_back(ctx: Ctx) -> Verdict {
    let party = leaves(&ctx).await?;
    let answer = party.members[2].join(&party.room).await?;
    check!(matches!(answer.status(), Some(403 | 404)), "expected 403 or 404, got {}", answer.start);
    accepted(&party.members[1].refer(&party.room, party.user(2), "").await?)?;
    party.members[2].is_in(&party.room.focus).await?;
    party.round(2, &format!("again {}", ctx.token)).await?;
    Ok(())
}

async fn decline(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 1).await?;
    let model = Model::cpm().accepting(crate::handset::Accept::Reject(603));
    let dave = Handset::on(&ctx, &party.users[3], model).await?;
    accepted(&party.members[0].refer(&party.room, &dave.user, "").await?)?;
    let find = |seen: &crate::handset::Seen| seen.sessions.iter().find(|session| session.status == 603).map(|_| ());
    dave.find("the invitation that it declined", find).await?;
    let id = party.round(0, &format!("after all {}", ctx.token)).await?;
    tokio::time::sleep(SILENCE).await;
    check!(dave.copies(&id) == 0, "what was said reached one who declined");
    check!(invitations(&dave, &party.room) == 1, "one who declined was called again");
    party.members[1].roster(&party.room, "three people", |roster| roster.present().len() == 3).await?;
    Ok(())
}

/// The subject is what it is on all rosters.
async fn subject_is(party: &Party, subject: &str) -> Verdict {
    for member in &party.members {
        member.roster(&party.room, subject, |roster| roster.subject.as_deref() == Some(subject)).await?;
    }
    Ok(())
}

async fn rename(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 1).await?;
    party.members[0].describe(&party.room, "subject", "Winter trip");
    subject_is(&party, "Winter trip").await?;
    // Who comes later is told the new one.
    let dave = Handset::on(&ctx, &party.users[3], Model::cpm()).await?;
    accepted(&party.members[0].refer(&party.room, &dave.user, "").await?)?;
    let room = dave.is_invited(&party.room).await?;
    check!(room.subject.as_deref() == Some("Winter trip"), "the invitation has the subject {:?}", room.subject);
    Ok(())
}

async fn rename_right(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 0).await?;
    party.members[1].describe(&party.room, "subject", "Mine");
    party.members[0].describe(&party.room, "subject", "Ours");
    subject_is(&party, "Ours").await
}

async fn rename_reinvite(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 0).await?;
    let answer = party.members[0].rename(&party.room, "Winter trip").await?;
    check!(answer.status() == Some(200), "a re-INVITE with another Subject was answered {}", answer.start);
    subject_is(&party, "Winter trip").await?;
    // A session that is refreshed repeats what its INVITE said.
    let old = party.room.subject.clone().unwrap_or_default();
    let answer = party.members[1].rename(&party.room, &old).await?;
    check!(answer.status() == Some(200), "a re-INVITE with the Subject of the session was answered {}", answer.start);
    party.round(1, &format!("still {}", ctx.token)).await?;
    subject_is(&party, "Winter trip").await
}

async fn rename_reinvite_right(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 0).await?;
    let answer = party.members[1].rename(&party.room, "Mine").await?;
    check!(answer.status() == Some(403), "a re-INVITE with another Subject was answered {}", answer.start);
    party.round(1, &format!("on {}", ctx.token)).await?;
    party.members[0].describe(&party.room, "subject", "Ours");
    subject_is(&party, "Ours").await
}

async fn rename_unicode(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 0).await?;
    party.members[0].describe(&party.room, "subject", "&lt;b&gt; &amp; \u{1f3d6} \u{5e9}\u{5dc}\u{5d5}\u{5dd}");
    subject_is(&party, "<b> & \u{1f3d6} \u{5e9}\u{5dc}\u{5d5}\u{5dd}").await
}

async fn icon(ctx: Ctx) -> Verdict {
    let party = three(&ctx, 0).await?;
    party.members[0].describe(&party.room, "icon", "https://content.example.com/icon.png");
    for member in &party.members {
        member.roster(&party.room, "an icon", |roster| roster.icon).await?;
    }
    Ok(())
}
