//! Sessions: how they begin and end, and what devices answer.

use crate::case::{Case, Ctx, SILENCE, Verdict, cases, check};
use crate::handset::{Accept, First, Handset, How, Model, Phase, Reach, Seen};

use super::{NAME, Two, arrives, exchange, in_order, only_once, pair_of_rcse, two};

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "first" "in-invite" Practice "A message in an INVITE arrives once, with its id" => in_invite;
        "first" "in-invite-other" Practice "A message in the INVITE of one enabler arrives by the other, either way" => in_invite_other;
        "first" "subject" Practice "A text in Subject arrives as a message" => subject;
        "first" "subject-other" Practice "A text in Subject arrives at a CPM handset in an envelope with an id" => subject_other;
        "first" "waited-for" Practice "A SIMPLE IM handset is called with the first message only" => waited_for;
        "reach" "behind-nat" Practice "Two handsets that nobody can connect to chat with each other" => behind_nat;
        "reach" "listening" Practice "Two handsets that listen chat with each other" => listening;
        "reach" "browser-simple" Practice "A browser with the tags of SIMPLE IM chats with a handset behind NAT" => browser_simple;
        "glare" "both-rcse" Practice "Both call at once, SIMPLE IM: both messages arrive, each once" => glare_rcse;
        "glare" "both-cpm" Practice "Both call at once, CPM: both messages arrive, each once" => glare_cpm;
        "glare" "both-mixed" Practice "Both call at once, one of each: both messages arrive, each once" => glare_mixed;
        "session" "bye-again" Practice "After BYE from either side the next message begins a new session" => bye_again;
        "session" "same-id" Practice "A message that is sent again under its id arrives once" => same_id;
        "session" "same-id-other" Practice "The same id from another sender is another message" => same_id_other;
        "session" "paged" Practice "A standalone CPM message reaches a handset that has sessions only" => paged;
        "session" "plain" Practice "A device that knows text only gets text, and its text reaches the others" => plain;
        "session" "notified-within" Practice "Notifications come within the session that the sender is in" => notified_within;
        "answers" "rings" Practice "While the device rings, its user sees the message; what follows arrives when it answers" => rings;
        "answers" "cancelled" Practice "A call given up while the device rings loses no message" => cancelled;
        "answers" "declined" Practice "A message whose session every device declined (603) is kept" => declined;
        "answers" "busy" Practice "A message for a device that is busy (486) is kept" => busy;
        "answers" "unavailable" Practice "A message for a device that does not answer (480) is kept" => unavailable;
        "answers" "unacceptable" Practice "A message for a device that takes no such session (488) is kept or sent otherwise" => unacceptable;
        "answers" "blocked" Practice "A message that was told delivered does not come again after 486" => blocked;
    }
}

async fn in_invite(ctx: Ctx) -> Verdict {
    let (a, b) = pair_of_rcse();
    let Two { a, b, .. } = &two(&ctx, a, b).await?;
    let text = format!("in the call {}", ctx.token);
    let id = exchange(a, b, &text).await?;
    let got = b.message(&id).await?;
    check!(got.how == How::Invite, "it came by {:?}", got.how);
    check!(got.wants.iter().any(|word| word == "display"), "what it asked for arrived as {:?}", got.wants);
    check!(got.date.is_some(), "its DateTime is gone");
    only_once(b, &[id]).await
}

async fn in_invite_other(ctx: Ctx) -> Verdict {
    let cpm = Model::cpm().first(First::Invite);
    for (a, b) in [(Model::rcse(), Model::cpm()), (cpm, pair_of_rcse().1)] {
        let two = two(&ctx, a, b).await?;
        let id = exchange(&two.a, &two.b, &format!("in the call {}", ctx.token)).await?;
        only_once(&two.b, &[id]).await?;
    }
    Ok(())
}

async fn by_subject(ctx: &Ctx, b: Model) -> Verdict<crate::handset::Got> {
    let two = two(ctx, Model::rcse().first(First::Subject), b).await?;
    let text = format!("as a subject {}", ctx.token);
    let id = two.a.send(&two.b, &text);
    let got = two.b.text(&text).await?;
    two.a.taken(&id).await?;
    check!(got.from == two.a.user, "it is from {:?}", got.from);
    exchange(&two.b, &two.a, &format!("an answer {}", ctx.token)).await?;
    let copies = two.b.look(|seen| seen.messages.iter().filter(|got| got.text == text).count());
    check!(copies == 1, "{copies} copies arrived");
    Ok(got)
}

async fn subject(ctx: Ctx) -> Verdict {
    by_subject(&ctx, pair_of_rcse().1).await.map(|_| ())
}

async fn subject_other(ctx: Ctx) -> Verdict {
    let got = by_subject(&ctx, Model::cpm()).await?;
    check!(got.id.is_some(), "it has no id");
    Ok(())
}

async fn waited_for(ctx: Ctx) -> Verdict {
    // The caller has nothing in its INVITE, and sends when the session is there.
    let two = two(&ctx, Model::cpm(), pair_of_rcse().1).await?;
    let id = exchange(&two.a, &two.b, &format!("behind the call {}", ctx.token)).await?;
    let got = two.b.message(&id).await?;
    check!(got.how == How::Invite, "it came by {:?}", got.how);
    Ok(())
}

async fn there_and_back(ctx: &Ctx, a: Model, b: Model) -> Verdict {
    let two = two(ctx, a, b).await?;
    exchange(&two.a, &two.b, &format!("there {}", ctx.token)).await?;
    exchange(&two.b, &two.a, &format!("and back {}", ctx.token)).await.map(|_| ())
}

async fn behind_nat(ctx: Ctx) -> Verdict {
    there_and_back(&ctx, Model::rcse(), Model::rcse()).await?;
    there_and_back(&ctx, Model::cpm().reach(Reach::Nat), Model::cpm().reach(Reach::Nat)).await
}

async fn listening(ctx: Ctx) -> Verdict {
    let (_, open) = pair_of_rcse();
    there_and_back(&ctx, open.clone(), open).await
}

async fn browser_simple(ctx: Ctx) -> Verdict {
    let browser = || Model { simple: true, first: First::Invite, ..Model::browser() };
    there_and_back(&ctx, browser(), Model::rcse()).await?;
    there_and_back(&ctx, Model::rcse(), browser()).await
}

async fn glare(ctx: Ctx, (a, b): (Model, Model)) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, a, b).await?;
    let (to_b, to_a) = (format!("from a {}", ctx.token), format!("from b {}", ctx.token));
    let (first, second) = (a.send(b, &to_b), b.send(a, &to_a));
    arrives(a, b, &first, &to_b).await?;
    arrives(b, a, &second, &to_a).await?;
    a.receipt(&first, "delivered").await?;
    b.receipt(&second, "delivered").await?;
    only_once(b, &[first]).await?;
    only_once(a, &[second]).await?;
    exchange(a, b, &format!("and on {}", ctx.token)).await.map(|_| ())
}

async fn glare_rcse(ctx: Ctx) -> Verdict {
    let (_, open) = pair_of_rcse();
    glare(ctx, (open.clone(), open)).await
}

async fn glare_cpm(ctx: Ctx) -> Verdict {
    glare(ctx, (Model::cpm(), Model::cpm())).await
}

async fn glare_mixed(ctx: Ctx) -> Verdict {
    glare(ctx, (pair_of_rcse().1, Model::cpm())).await
}

/// No session is left at this handset.
async fn over(handset: &Handset) -> Verdict {
    let over = |seen: &Seen| seen.sessions.iter().all(|session| session.phase == Phase::Ended).then_some(());
    handset.find("the end of its sessions", over).await
}

async fn bye_again(ctx: Ctx) -> Verdict {
    for (a, b) in [pair_of_rcse(), (Model::cpm(), Model::cpm())] {
        let two = two(&ctx, a, b).await?;
        let mut ids = vec![exchange(&two.a, &two.b, &format!("once {}", ctx.token)).await?];
        two.a.hang_up();
        over(&two.a).await?;
        ids.push(exchange(&two.a, &two.b, &format!("twice {}", ctx.token)).await?);
        two.b.hang_up();
        over(&two.b).await?;
        // The caller may have heard of it, or the server keeps its session.
        tokio::time::sleep(SILENCE).await;
        ids.push(exchange(&two.a, &two.b, &format!("three times {}", ctx.token)).await?);
        only_once(&two.b, &ids).await?;
        in_order(&two.b, &ids)?;
    }
    Ok(())
}

async fn same_id(ctx: Ctx) -> Verdict {
    let (a, b) = pair_of_rcse();
    let two = two(&ctx, a, b).await?;
    let text = format!("again {}", ctx.token);
    let id = exchange(&two.a, &two.b, &text).await?;
    for _ in 0..2 {
        two.a.send_as(&two.b, &id, &text);
        two.a.taken(&id).await?;
    }
    let next = exchange(&two.a, &two.b, &format!("the next {}", ctx.token)).await?;
    only_once(&two.b, &[id.clone(), next]).await?;
    check!(two.a.receipts(&id, "delivered") == 1, "delivered arrived {} times", two.a.receipts(&id, "delivered"));
    Ok(())
}

async fn notified_within(ctx: Ctx) -> Verdict {
    for (a, b) in [pair_of_rcse(), (Model::cpm(), Model::cpm())] {
        let two = two(&ctx, a, b).await?;
        exchange(&two.a, &two.b, &format!("to begin with {}", ctx.token)).await?;
        let id = exchange(&two.a, &two.b, &format!("in the session {}", ctx.token)).await?;
        for kind in ["delivered", "displayed"] {
            let how = two.a.receipt(&id, kind).await?.how;
            check!(how == How::Session, "{kind} came by {how:?}");
        }
    }
    Ok(())
}

async fn same_id_other(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(3).await?;
    let a = Handset::on(&ctx, &users[0], Model::cpm()).await?;
    let c = Handset::on(&ctx, &users[1], Model::pager()).await?;
    let b = Handset::on(&ctx, &users[2], Model::cpm()).await?;
    let id = ctx.id();
    let texts = [format!("of the one {}", ctx.token), format!("of the other {}", ctx.token)];
    for (from, text) in [(&a, &texts[0]), (&c, &texts[1])] {
        from.send_as(&b, &id, text);
        let got = b.text(text).await?;
        check!(got.is(&id) && got.from == from.user, "{:?} of {:?} arrived", got.id, got.from);
    }
    Ok(())
}

async fn paged(ctx: Ctx) -> Verdict {
    for b in [pair_of_rcse().1, Model::browser(), Model::cpm()] {
        let two = two(&ctx, Model::cpm(), b).await?;
        let text = format!("standalone {}", ctx.token);
        let id = two.a.page(&two.b, &text);
        arrives(&two.a, &two.b, &id, &text).await?;
        two.a.taken(&id).await?;
        two.a.receipt(&id, "delivered").await?;
    }
    Ok(())
}

async fn plain(ctx: Ctx) -> Verdict {
    // What came by MESSAGE in an envelope may go as it came.
    for other in [Model::rcse(), Model::cpm()] {
        let two = two(&ctx, other, Model::plain()).await?;
        let text = format!("plain {}", ctx.token);
        let id = two.a.send(&two.b, &text);
        let got = two.b.text(&text).await?;
        check!(got.id.is_none(), "it came in an envelope");
        two.a.receipt(&id, "delivered").await?;
        let back = format!("as plain {}", ctx.token);
        two.b.send(&two.a, &back);
        let got = two.a.text(&back).await?;
        check!(got.from == two.b.user, "it is from {:?}", got.from);
    }
    Ok(())
}

async fn rings(ctx: Ctx) -> Verdict {
    let (a, b) = pair_of_rcse();
    for (a, b) in [(a, b), (Model::cpm(), Model::cpm())] {
        let seen_at_once = b.simple;
        let two = two(&ctx, a, b.accepting(Accept::Ring)).await?;
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(two.a.send(&two.b, &format!("{n} ringing {}", ctx.token)));
        }
        two.b.find("a call", |seen| seen.sessions.iter().any(|s| s.phase == Phase::Ringing).then_some(())).await?;
        if seen_at_once {
            two.a.receipt(&ids[0], "delivered").await?;
        }
        two.b.answer();
        for id in &ids {
            two.a.receipt(id, "delivered").await?;
        }
        only_once(&two.b, &ids).await?;
        in_order(&two.b, &ids)?;
    }
    Ok(())
}

async fn cancelled(ctx: Ctx) -> Verdict {
    let (a, b) = pair_of_rcse();
    let two = two(&ctx, a, b.accepting(Accept::Ring)).await?;
    let text = format!("given up {}", ctx.token);
    let id = two.a.send(&two.b, &text);
    two.b.find("a call", |seen| seen.sessions.iter().any(|s| s.phase == Phase::Ringing).then_some(())).await?;
    if two.a.look(|seen| seen.sessions.iter().any(|session| session.phase == Phase::Ringing)) {
        two.a.cancel();
    } else {
        two.a.hang_up();
    }
    tokio::time::sleep(SILENCE).await;
    two.b.accept(Accept::Auto).await?;
    arrives(&two.a, &two.b, &id, &text).await?;
    if two.b.look(|seen| seen.sessions.iter().any(|session| session.phase == Phase::Ringing)) {
        two.b.answer();
    }
    exchange(&two.a, &two.b, &format!("and called again {}", ctx.token)).await.map(|_| ())
}

/// The device rejects the session; later it takes it.
async fn rejected(ctx: &Ctx, status: u16) -> Verdict {
    for (a, b) in [pair_of_rcse(), (Model::cpm(), Model::cpm())] {
        let two = two(ctx, a, b.accepting(Accept::Reject(status))).await?;
        let text = format!("rejected {status} {}", ctx.token);
        let id = two.a.send(&two.b, &text);
        // 486 is what RCS-e answers for a message that it keeps.
        let fate = two.a.fate(&id).await?;
        let kept = [200, 202, 486].map(crate::handset::Fate::Answered).contains(&fate);
        check!(kept, "the sender was told {fate:?}");
        two.b.accept(Accept::Auto).await?;
        two.b.back().await?;
        arrives(&two.a, &two.b, &id, &text).await?;
        two.a.receipt(&id, "delivered").await?;
        only_once(&two.b, &[id]).await?;
    }
    Ok(())
}

async fn declined(ctx: Ctx) -> Verdict {
    rejected(&ctx, 603).await
}

async fn busy(ctx: Ctx) -> Verdict {
    rejected(&ctx, 486).await
}

async fn unavailable(ctx: Ctx) -> Verdict {
    rejected(&ctx, 480).await
}

async fn unacceptable(ctx: Ctx) -> Verdict {
    rejected(&ctx, 488).await
}

async fn blocked(ctx: Ctx) -> Verdict {
    let (a, b) = pair_of_rcse();
    let two = two(&ctx, a, b.accepting(Accept::Block)).await?;
    let id = two.a.send(&two.b, &format!("to one who has blocked {}", ctx.token));
    two.a.receipt(&id, "delivered").await?;
    two.b.accept(Accept::Auto).await?;
    two.b.back().await?;
    let next = exchange(&two.a, &two.b, &format!("and after {}", ctx.token)).await?;
    only_once(&two.b, &[id, next]).await
}
