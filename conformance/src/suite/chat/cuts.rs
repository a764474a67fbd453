//! Links that break at every step, on either side: no message that was taken is lost, and a copy is known by its id.

use crate::case::{Case, Ctx, Level, Verdict, check};
use crate::handset::{COMES, Cut, Fate, Handset, Model, Step};

use super::{LIMIT, NAME, Two, exchange, only_once, pair_of_rcse, two};

/// Where the recipient breaks off.
const RECIPIENT: [(Step, Cut); 13] = [
    (Step::Called, Cut::Off),
    (Step::Accepted, Cut::Off),
    (Step::Connected, Cut::Off),
    (Step::Chunk, Cut::Off),
    (Step::Received, Cut::Off),
    (Step::Confirmed, Cut::Off),
    (Step::Connected, Cut::Media),
    (Step::Chunk, Cut::Media),
    (Step::Received, Cut::Media),
    (Step::Called, Cut::Silent),
    (Step::Accepted, Cut::Silent),
    (Step::Received, Cut::Silent),
    (Step::Confirmed, Cut::Silent),
];

/// Where the sender does.
const SENDER: [(Step, Cut); 9] = [
    (Step::Calling, Cut::Off),
    (Step::Answered, Cut::Off),
    (Step::Connected, Cut::Off),
    (Step::Sending, Cut::Off),
    (Step::Sent, Cut::Off),
    (Step::Connected, Cut::Media),
    (Step::Sending, Cut::Media),
    (Step::Sent, Cut::Media),
    (Step::Sending, Cut::Silent),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for simple in [true, false] {
        let kind = if simple { "rcse" } else { "cpm" };
        for (sender, steps) in [(false, &RECIPIENT[..]), (true, &SENDER[..])] {
            for (step, cut) in steps.iter().copied() {
                let who = if sender { "sender" } else { "recipient" };
                let place = format!("{step:?}-{cut:?}").to_ascii_lowercase();
                cases.push(Case {
                    suite: NAME,
                    section: "cuts".into(),
                    name: format!("{kind}-{who}-{place}"),
                    level: Level::Practice,
                    rule: format!("Messages get there in spite of a {who}, a {kind}, that breaks off at {place}"),
                    limit: LIMIT,
                    run: Box::new(move |ctx| {
                        let models = if simple { pair_of_rcse() } else { (Model::cpm(), Model::cpm()) };
                        match sender {
                            true => Box::pin(sender_cut(ctx, models, step, cut)),
                            false => Box::pin(recipient_cut(ctx, models, step, cut)),
                        }
                    }),
                });
            }
        }
    }
    cases
}

/// Two messages, of which the second takes several chunks.
fn send(ctx: &Ctx, a: &Handset, b: &Handset) -> Vec<(String, String)> {
    let large = format!("second {} {}", ctx.token, "of several chunks ".repeat(1_500));
    let texts = [format!("first {}", ctx.token), large];
    texts.into_iter().map(|text| (a.send(b, &text), text)).collect()
}

/// Sends again, under their ids, messages that were not taken, as handsets do.
async fn insist(a: &Handset, b: &Handset, sent: &[(String, String)]) -> Verdict {
    for (id, text) in sent {
        let mut fate = a.fate(id).await?;
        for _ in 0..2 {
            if matches!(fate, Fate::Answered(200 | 202)) {
                break;
            }
            a.send_as(b, id, text);
            fate = a.fate(id).await?;
        }
        check!(matches!(fate, Fate::Answered(200 | 202)), "message {id} was not taken in the end: {fate:?}");
    }
    Ok(())
}

async fn all_arrive(b: &Handset, sent: &[(String, String)]) -> Verdict {
    for (id, text) in sent {
        let find = |seen: &crate::handset::Seen| seen.messages.iter().find(|got| got.is(id)).cloned();
        let got = b.find_within(COMES * 2, &format!("message {id} after the cut"), find).await?;
        check!(got.text == *text, "{} octets arrived as {} others", text.len(), got.text.len());
    }
    Ok(())
}

async fn broken(handset: &Handset) -> Verdict {
    handset.find("the step at which it is cut", |seen| (seen.cuts > 0).then_some(())).await
}

async fn recipient_cut(ctx: Ctx, (a, b): (Model, Model), step: Step, cut: Cut) -> Verdict {
    let Two { a, b, users: _users } = &two(&ctx, a, b).await?;
    b.cut_at(step, cut);
    let sent = send(&ctx, a, b);
    broken(b).await?;
    if cut != Cut::Media {
        b.back().await?;
    }
    insist(a, b, &sent).await?;
    all_arrive(b, &sent).await?;
    // The one that was confirmed and not told of may stay untold.
    if step != Step::Confirmed {
        for (id, _) in &sent {
            a.receipt(id, "delivered").await?;
        }
    }
    exchange(a, b, &format!("and on {}", ctx.token)).await.map(|_| ())
}

async fn sender_cut(ctx: Ctx, (a, b): (Model, Model), step: Step, cut: Cut) -> Verdict {
    let Two { a, b, users: _users } = &two(&ctx, a, b).await?;
    a.cut_at(step, cut);
    let sent = send(&ctx, a, b);
    broken(a).await?;
    if cut != Cut::Media {
        a.back().await?;
    }
    insist(a, b, &sent).await?;
    all_arrive(b, &sent).await?;
    let ids: Vec<String> = sent.into_iter().map(|(id, _)| id).collect();
    for id in &ids {
        a.receipt(id, "delivered").await?;
    }
    only_once(b, &ids).await?;
    exchange(a, b, &format!("and on {}", ctx.token)).await.map(|_| ())
}
