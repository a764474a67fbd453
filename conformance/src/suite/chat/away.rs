//! Users that are away: what is kept for them, and how it comes.

use crate::case::{Case, Ctx, Level, SILENCE, Verdict, cases, check};
use crate::handset::{Fate, First, Handset, How, Model, Session};

use super::kinds::{SORTS, Sort};
use super::{LIMIT, NAME, Two, arrives, exchange, in_order, one_away, only_once, pair_of_rcse, two};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases! { NAME;
        "away" "sender-gone-rcse" Practice "Notifications wait for a sender that has left, SIMPLE IM" => gone_rcse;
        "away" "sender-gone-cpm" Practice "Notifications wait for a sender that has left, CPM" => gone_cpm;
        "away" "deferred" Practice "A SIMPLE IM handset gets kept messages in a session of sip:rcse-standfw@" => deferred;
        "away" "reply" Practice "A reply to a kept message begins a session that both are in" => reply;
        "away" "two-senders" Practice "Kept messages of two senders come as from each" => two_senders;
        "away" "kept-same-id" Practice "A message that the sender repeats while the recipient is away arrives once" => same_id;
        "away" "composing" Practice "Composing is not kept" => composing;
        "away" "again" Practice "A message that was taken does not come again at the next REGISTER" => again;
        "away" "unknown" Must "A call to a user that does not exist is answered 404" => unknown;
        "away" "expired" Practice "A message that has expired does not arrive, and its sender is told" => expired;
        "away" "many" Practice "Thirty kept messages arrive in order and once" => many;
    };
    for from in &SORTS {
        for to in &SORTS {
            cases.push(kept(from, to));
        }
    }
    cases
}

fn kept(from: &Sort, to: &Sort) -> Case {
    let (caller, called) = (from.caller, to.called);
    Case {
        suite: NAME,
        section: "away".into(),
        name: format!("{}-to-{}-kept", from.name, to.name),
        level: Level::Practice,
        rule: format!("Texts for one who is away arrive in order and once, from {} to {}", from.name, to.name),
        limit: LIMIT,
        run: Box::new(move |ctx| Box::pin(later(ctx, caller(), called()))),
    }
}

/// Leaves texts for b; each has to be taken from the sender. RCS-e answers 486 for a call whose message is kept.
async fn leave(ctx: &Ctx, two: &Two, count: usize) -> Verdict<Vec<(String, String)>> {
    let mut left = Vec::new();
    for n in 0..count {
        let text = format!("{n} for later {}", ctx.token);
        let id = two.a.send(&two.b, &text);
        let fate = two.a.fate(&id).await?;
        let how = two.a.look(|seen| seen.sent.iter().find(|sent| sent.id == id).map(|sent| sent.how));
        let kept =
            matches!(fate, Fate::Answered(200 | 202)) || (fate == Fate::Answered(486) && how == Some(How::Invite));
        check!(kept, "text {n} for one who is away was not taken: {fate:?}");
        left.push((id, text));
    }
    Ok(left)
}

fn ids(left: &[(String, String)]) -> Vec<String> {
    left.iter().map(|(id, _)| id.clone()).collect()
}

async fn later(ctx: Ctx, a: Model, b: Model) -> Verdict {
    let two = one_away(&ctx, a, b).await?;
    let left = leave(&ctx, &two, 3).await?;
    two.b.register().await?;
    for (id, text) in &left {
        arrives(&two.a, &two.b, id, text).await?;
        two.a.receipt(id, "delivered").await?;
    }
    only_once(&two.b, &ids(&left)).await?;
    in_order(&two.b, &ids(&left))
}

/// The sender leaves before the recipient comes, and comes back after it has read.
async fn gone(ctx: Ctx, (a, b): (Model, Model)) -> Verdict {
    let two = one_away(&ctx, a, b).await?;
    let left = leave(&ctx, &two, 1).await?;
    two.a.hang_up();
    two.a.unregister().await?;
    two.a.cut(crate::handset::Cut::Off);
    two.b.register().await?;
    let id = &left[0].0;
    two.b.message(id).await?;
    two.b.display(id);
    tokio::time::sleep(SILENCE * 2).await;
    two.a.back().await?;
    two.a.receipt(id, "delivered").await?;
    two.a.receipt(id, "displayed").await?;
    let counts = ["delivered", "displayed"].map(|kind| two.a.receipts(id, kind));
    check!(counts == [1, 1], "{} delivered and {} displayed arrived", counts[0], counts[1]);
    Ok(())
}

async fn gone_rcse(ctx: Ctx) -> Verdict {
    gone(ctx, pair_of_rcse()).await
}

async fn gone_cpm(ctx: Ctx) -> Verdict {
    gone(ctx, (Model::cpm(), Model::cpm())).await
}

async fn deferred(ctx: Ctx) -> Verdict {
    let (a, b) = pair_of_rcse();
    let two = one_away(&ctx, a, b).await?;
    let left = leave(&ctx, &two, 2).await?;
    two.b.register().await?;
    for (id, text) in &left {
        let got = arrives(&two.a, &two.b, id, text).await?;
        check!(got.deferred, "it came in an ordinary session");
    }
    let ended = |s: &&Session| s.deferred && s.ended_by_peer;
    let session =
        two.b.find("the end of the deferred session", |seen| seen.sessions.iter().find(ended).cloned()).await?;
    check!(session.peer == two.a.user, "it was for messages of {:?}", session.peer);
    Ok(())
}

async fn reply(ctx: Ctx) -> Verdict {
    let (a, b) = pair_of_rcse();
    let two = one_away(&ctx, a, b).await?;
    let left = leave(&ctx, &two, 1).await?;
    two.b.register().await?;
    two.b.message(&left[0].0).await?;
    exchange(&two.b, &two.a, &format!("thanks {}", ctx.token)).await?;
    exchange(&two.a, &two.b, &format!("welcome {}", ctx.token)).await.map(|_| ())
}

async fn two_senders(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(3).await?;
    let a = Handset::on(&ctx, &users[0], Model::rcse()).await?;
    let c = Handset::on(&ctx, &users[1], Model::cpm()).await?;
    let b = Handset::off(&ctx, &users[2], pair_of_rcse().1).await?;
    let mut sent = Vec::new();
    for (n, from) in [&a, &c, &a, &c].into_iter().enumerate() {
        let text = format!("{n} {}", ctx.token);
        sent.push((from, from.send(&b, &text), text));
        from.fate(&sent[n].1).await?;
    }
    b.register().await?;
    for (from, id, text) in &sent {
        arrives(from, &b, id, text).await?;
        from.receipt(id, "delivered").await?;
    }
    let ids: Vec<String> = sent.into_iter().map(|(_, id, _)| id).collect();
    only_once(&b, &ids).await
}

async fn same_id(ctx: Ctx) -> Verdict {
    let two = one_away(&ctx, Model::pager(), Model::cpm()).await?;
    let left = leave(&ctx, &two, 1).await?;
    let (id, text) = &left[0];
    two.a.send_as(&two.b, id, text);
    two.a.taken(id).await?;
    two.b.register().await?;
    arrives(&two.a, &two.b, id, text).await?;
    only_once(&two.b, &ids(&left)).await
}

async fn composing(ctx: Ctx) -> Verdict {
    let two = one_away(&ctx, Model::rcse(), Model::cpm()).await?;
    let left = leave(&ctx, &two, 1).await?;
    let open = two.a.look(|seen| seen.sessions.iter().any(|s| s.phase == crate::handset::Phase::Open));
    if open {
        two.a.compose(&two.b, true);
    }
    tokio::time::sleep(SILENCE).await;
    two.b.register().await?;
    two.b.message(&left[0].0).await?;
    tokio::time::sleep(SILENCE).await;
    check!(two.b.look(|seen| seen.composing.is_empty()), "composing was kept");
    Ok(())
}

async fn again(ctx: Ctx) -> Verdict {
    let two = one_away(&ctx, Model::rcse(), Model::cpm()).await?;
    let left = leave(&ctx, &two, 1).await?;
    two.b.register().await?;
    two.b.message(&left[0].0).await?;
    two.a.receipt(&left[0].0, "delivered").await?;
    for _ in 0..2 {
        two.b.back().await?;
        only_once(&two.b, &ids(&left)).await?;
    }
    Ok(())
}

async fn unknown(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    for model in [Model::rcse(), Model::cpm().first(First::Invite)] {
        let a = Handset::on(&ctx, &users[0], model).await?;
        let id = ctx.id();
        a.send_to(&format!("nobody-{}", ctx.token), &id, "is anybody there");
        let fate = a.fate(&id).await?;
        check!(fate == Fate::Answered(404), "expected 404, got {fate:?}");
    }
    Ok(())
}

async fn expired(ctx: Ctx) -> Verdict {
    let two = one_away(&ctx, Model { expires: Some(1), ..Model::pager() }, Model::cpm()).await?;
    let left = leave(&ctx, &two, 1).await?;
    let id = &left[0].0;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    two.b.register().await?;
    let wait = std::time::Duration::from_secs(40);
    let failed =
        |seen: &crate::handset::Seen| seen.receipts.iter().any(|r| r.id == *id && r.kind != "delivered").then_some(());
    two.a.find_within(wait, "the failure of what expired", failed).await?;
    check!(two.b.copies(id) == 0, "the message arrived after its time");
    Ok(())
}

async fn many(ctx: Ctx) -> Verdict {
    let two = two(&ctx, Model::cpm(), Model::cpm()).await?;
    two.b.unregister().await?;
    let left = leave(&ctx, &two, 30).await?;
    two.b.register().await?;
    let last = &left[29];
    two.b
        .find_within(crate::handset::COMES * 2, "the last of thirty", |seen| {
            seen.messages.iter().any(|got| got.is(&last.0)).then_some(())
        })
        .await?;
    only_once(&two.b, &ids(&left)).await?;
    in_order(&two.b, &ids(&left))
}
