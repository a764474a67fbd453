//! Users with several devices.

use crate::case::{Case, Ctx, SILENCE, Verdict, cases, check};
use crate::handset::{Accept, Cut, Handset, Model, Reach, Seen};

use super::{NAME, arrives, in_order, only_once};

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "devices" "both-devices" Practice "Each device of the recipient gets the message once" => both;
        "devices" "four-kinds" Practice "Devices of four kinds get the message, each in its own way" => mixed;
        "devices" "one-delivered" Practice "The sender is told of delivery and display once, however many devices there are" => one_delivered;
        "devices" "sent-copy" Practice "The sender's other CPM device gets a copy of what was sent" => sent_copy;
        "devices" "replies" Practice "A reply reaches both devices of the sender" => replies;
        "devices" "displayed" Practice "What was read on one device is known to the other" => displayed;
        "devices" "one-declines" Practice "A device that declines does not keep the message from the other" => one_declines;
        "devices" "one-away" Practice "A device that was away gets what the other one has had" => one_away;
        "devices" "signed-off" Practice "A device that has signed off gets what the other one has had, in order" => signed_off;
        "devices" "signed-off-sent" Practice "A device that has signed off gets a copy of what was sent" => signed_off_sent;
        "devices" "notified-both" Practice "Notifications reach both devices of the sender" => notified_both;
    }
}

/// A sender with devices of these models, and a recipient with devices of those.
struct Many {
    a: Vec<Handset>,
    b: Vec<Handset>,
    _users: crate::case::Lease,
}

async fn many(ctx: &Ctx, a: Vec<Model>, b: Vec<Model>) -> Verdict<Many> {
    let users = ctx.accounts(2).await?;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for model in a {
        first.push(Handset::on(ctx, &users[0], model).await?);
    }
    for model in b {
        second.push(Handset::on(ctx, &users[1], model).await?);
    }
    Ok(Many { a: first, b: second, _users: users })
}

fn listening() -> Model {
    Model::rcse().reach(Reach::Open)
}

/// Sends from the first device; all of the recipient's get it.
async fn reaches_all(ctx: &Ctx, m: &Many) -> Verdict<String> {
    let text = format!("to all {}", ctx.token);
    let id = m.a[0].send(&m.b[0], &text);
    m.a[0].taken(&id).await?;
    for device in &m.b {
        arrives(&m.a[0], device, &id, &text).await?;
    }
    for device in &m.b {
        only_once(device, std::slice::from_ref(&id)).await?;
    }
    Ok(id)
}

async fn both(ctx: Ctx) -> Verdict {
    for (a, b) in [(Model::rcse(), listening()), (Model::cpm(), Model::cpm())] {
        let m = many(&ctx, vec![a], vec![b.clone(), b]).await?;
        reaches_all(&ctx, &m).await?;
    }
    Ok(())
}

async fn mixed(ctx: Ctx) -> Verdict {
    let devices = vec![listening(), Model::cpm(), Model::pager(), Model::browser()];
    let m = many(&ctx, vec![Model::cpm()], devices).await?;
    reaches_all(&ctx, &m).await.map(|_| ())
}

async fn one_delivered(ctx: Ctx) -> Verdict {
    let reader = |model: Model| Model { displays: true, ..model };
    let m = many(&ctx, vec![Model::cpm()], vec![reader(listening()), reader(Model::cpm())]).await?;
    let id = reaches_all(&ctx, &m).await?;
    m.a[0].receipt(&id, "delivered").await?;
    m.a[0].receipt(&id, "displayed").await?;
    tokio::time::sleep(SILENCE * 2).await;
    let counts = ["delivered", "displayed"].map(|kind| m.a[0].receipts(&id, kind));
    check!(counts == [1, 1], "{} delivered and {} displayed arrived", counts[0], counts[1]);
    Ok(())
}

async fn sent_copy(ctx: Ctx) -> Verdict {
    let m = many(&ctx, vec![Model::cpm(), Model::cpm()], vec![Model::cpm()]).await?;
    let id = reaches_all(&ctx, &m).await?;
    for copy in &m.a[1..] {
        copy.message(&id).await?;
        only_once(copy, std::slice::from_ref(&id)).await?;
    }
    check!(m.a[0].copies(&id) == 0, "the device that sent it has got it back");
    Ok(())
}

async fn replies(ctx: Ctx) -> Verdict {
    let m = many(&ctx, vec![Model::cpm(), listening()], vec![Model::cpm()]).await?;
    reaches_all(&ctx, &m).await?;
    let text = format!("to both {}", ctx.token);
    let id = m.b[0].send(&m.a[0], &text);
    for device in &m.a {
        arrives(&m.b[0], device, &id, &text).await?;
    }
    Ok(())
}

async fn displayed(ctx: Ctx) -> Verdict {
    let m = many(&ctx, vec![Model::cpm()], vec![Model::cpm(), Model::cpm()]).await?;
    let id = reaches_all(&ctx, &m).await?;
    m.b[0].display(&id);
    m.a[0].receipt(&id, "displayed").await?;
    m.b[1].receipt(&id, "displayed").await.map(|_| ())
}

async fn one_declines(ctx: Ctx) -> Verdict {
    for status in [603, 486, 480] {
        let m =
            many(&ctx, vec![Model::rcse()], vec![listening().accepting(Accept::Reject(status)), listening()]).await?;
        let text = format!("declined {status} {}", ctx.token);
        let id = m.a[0].send(&m.b[1], &text);
        arrives(&m.a[0], &m.b[1], &id, &text).await?;
        m.a[0].taken(&id).await?;
        m.a[0].receipt(&id, "delivered").await?;
    }
    Ok(())
}

async fn one_away(ctx: Ctx) -> Verdict {
    let m = many(&ctx, vec![Model::cpm()], vec![Model::cpm(), Model::cpm()]).await?;
    m.b[1].cut(Cut::Off);
    m.b[1].find("its link to break", |seen| (seen.cuts > 0).then_some(())).await?;
    let text = format!("for one and the other {}", ctx.token);
    let id = m.a[0].send(&m.b[0], &text);
    arrives(&m.a[0], &m.b[0], &id, &text).await?;
    m.b[1].back().await?;
    arrives(&m.a[0], &m.b[1], &id, &text).await?;
    for device in &m.b {
        only_once(device, std::slice::from_ref(&id)).await?;
    }
    Ok(())
}

async fn signed_off(ctx: Ctx) -> Verdict {
    for (a, b) in [(Model::cpm(), Model::cpm()), (Model::pager(), Model::pager()), (Model::cpm(), listening())] {
        let m = many(&ctx, vec![a], vec![b.clone(), b]).await?;
        m.b[1].unregister().await?;
        let mut sent = Vec::new();
        for n in 0..3 {
            let text = format!("{n} for one and the other {}", ctx.token);
            let id = m.a[0].send(&m.b[0], &text);
            arrives(&m.a[0], &m.b[0], &id, &text).await?;
            sent.push((id, text));
        }
        m.b[1].register().await?;
        for (id, text) in &sent {
            arrives(&m.a[0], &m.b[1], id, text).await?;
        }
        let ids: Vec<String> = sent.into_iter().map(|(id, _)| id).collect();
        in_order(&m.b[1], &ids)?;
        m.b[1].register().await?;
        for device in &m.b {
            only_once(device, &ids).await?;
        }
    }
    Ok(())
}

async fn signed_off_sent(ctx: Ctx) -> Verdict {
    let m = many(&ctx, vec![Model::cpm(), Model::cpm()], vec![Model::cpm()]).await?;
    m.a[1].unregister().await?;
    let id = reaches_all(&ctx, &m).await?;
    m.a[1].register().await?;
    m.a[1].message(&id).await?;
    only_once(&m.a[1], std::slice::from_ref(&id)).await
}

async fn notified_both(ctx: Ctx) -> Verdict {
    let m = many(&ctx, vec![Model::cpm(), Model::cpm()], vec![Model::cpm()]).await?;
    let id = reaches_all(&ctx, &m).await?;
    for device in &m.a {
        device.receipt(&id, "delivered").await?;
        let twice = |seen: &Seen| seen.receipts.iter().filter(|r| r.id == id && r.kind == "delivered").count() > 1;
        check!(!device.look(twice), "delivered arrived twice at one device");
    }
    Ok(())
}
