//! Every kind of handset with every other.

use crate::case::{Case, Ctx, Level, Running, Verdict, check, fail};
use crate::handset::{COMES, Fate, Handset, Model, Reach};

use super::{LIMIT, NAME, Two, exchange, two};

/// A kind, as a caller and as the one who is called: those that nobody can connect to, and those that listen.
pub(super) struct Sort {
    pub(super) name: &'static str,
    pub(super) caller: fn() -> Model,
    pub(super) called: fn() -> Model,
    /// Has sessions.
    calls: bool,
}

pub(super) const SORTS: [Sort; 4] = [
    Sort { name: "rcse", caller: Model::rcse, called: || Model::rcse().reach(Reach::Open), calls: true },
    Sort { name: "cpm", caller: Model::cpm, called: Model::cpm, calls: true },
    Sort { name: "pager", caller: Model::pager, called: Model::pager, calls: false },
    Sort { name: "browser", caller: Model::browser, called: Model::browser, calls: true },
];

type Run = fn(Ctx, Model, Model) -> Running;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |from: &Sort, to: &Sort, what: &str, rule: &str, run: Run| {
        let (caller, called) = (from.caller, to.called);
        cases.push(Case {
            suite: NAME,
            section: "kinds".into(),
            name: format!("{}-to-{}-{what}", from.name, to.name),
            level: Level::Practice,
            rule: format!("{rule}, from {} to {}", from.name, to.name),
            limit: LIMIT,
            run: Box::new(move |ctx| run(ctx, caller(), called())),
        });
    };
    for from in &SORTS {
        for to in &SORTS {
            let rule = "Text and emoji arrive, are answered, and are told delivered and displayed";
            case(from, to, "text", rule, |ctx, a, b| Box::pin(text(ctx, a, b)));
            let rule = "64 kB arrive whole, or the sender of a MESSAGE is told that they are too much";
            case(from, to, "large", rule, |ctx, a, b| Box::pin(large(ctx, a, b)));
            if from.calls && to.calls {
                let rule = "Composing is shown to the other while both are in session";
                case(from, to, "composing", rule, |ctx, a, b| Box::pin(composing(ctx, a, b)));
            }
        }
    }
    cases
}

async fn text(ctx: Ctx, a: Model, b: Model) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, a, b).await?;
    let hello = format!("hello {}", ctx.token);
    let emoji = format!("\u{1f44b}\u{1f3fd} \u{434}\u{43e}\u{43c} \u{5bb6} \r\n\r\n--- {}", ctx.token);
    let ids = vec![exchange(a, b, &hello).await?, exchange(a, b, &emoji).await?];
    super::only_once(b, &ids).await?;
    super::in_order(b, &ids)?;
    let back = exchange(b, a, &format!("and back {}", ctx.token)).await?;
    super::only_once(a, &[back]).await?;
    sound(a)?;
    sound(b)
}

/// The server did nothing that the handset could not work with.
fn sound(handset: &Handset) -> Verdict {
    let faults = handset.look(|seen| seen.faults.join("; "));
    check!(faults.is_empty(), "{}, a {}: {faults}", handset.user, handset.model.name());
    Ok(())
}

async fn large(ctx: Ctx, a: Model, b: Model) -> Verdict {
    let paged = !(a.calls() && b.calls());
    let Two { a, b, .. } = &two(&ctx, a, b).await?;
    let mut text = format!("large {} ", ctx.token);
    while text.len() < 65_536 {
        text += &format!("{:07} ", text.len());
    }
    if a.model.calls() {
        exchange(a, b, &format!("more to come {}", ctx.token)).await?;
    }
    let id = a.send(b, &text);
    match a.fate(&id).await? {
        Fate::Answered(200 | 202) => {}
        Fate::Answered(413 | 513) if paged => return Ok(()),
        other => return fail(format!("64 kB of {} were not taken: {other:?}", a.user)),
    }
    let failed = |seen: &crate::handset::Seen| seen.receipts.iter().any(|r| r.id == id && r.kind == "failed");
    let arrived = tokio::select! {
        got = b.find_within(COMES * 2, "a text of 64 kB", |seen| seen.messages.iter().find(|got| got.is(&id)).cloned()) => got?,
        Some(()) = a.wait(COMES * 2, |seen| failed(seen).then_some(())), if paged => return Ok(()),
    };
    check!(arrived.text == text, "{} octets arrived as {} others", text.len(), arrived.text.len());
    a.receipt(&id, "delivered").await.map(|_| ())
}

async fn composing(ctx: Ctx, a: Model, b: Model) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, a, b).await?;
    exchange(a, b, &format!("are you there {}", ctx.token)).await?;
    for (from, to) in [(b, a), (a, b)] {
        for active in [true, false] {
            from.compose(to, active);
            let state = (from.user.clone(), active);
            let what = format!("composing {active} of {}", from.user);
            to.find(&what, |seen| (seen.composing.last() == Some(&state)).then_some(())).await?;
        }
    }
    Ok(())
}
