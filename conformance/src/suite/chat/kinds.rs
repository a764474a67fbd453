//! Every kind of handset with every other.

use crate::case::{Case, Ctx, Level, Running, Verdict, check};
use crate::handset::{COMES, Handset, Model, Reach};

use super::{LIMIT, NAME, Two, exchange, two};

/// A kind, as a caller and as the one who is called: those that nobody can connect to, and those that listen.
pub(super) struct Sort {
    pub(super) name: &'static str,
    pub(super) caller: fn() -> Model,
    pub(super) called: fn() -> Model,
}

pub(super) const SORTS: [Sort; 5] = [
    Sort { name: "rcse", caller: Model::rcse, called: || Model::rcse().reach(Reach::Open) },
    Sort { name: "cpm", caller: Model::cpm, called: Model::cpm },
    Sort { name: "pager", caller: Model::pager, called: Model::pager },
    Sort { name: "standalone", caller: Model::standalone, called: Model::standalone },
    Sort { name: "browser", caller: Model::browser, called: Model::browser },
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
            let rule = "64 kB arrive whole and once, and are told delivered";
            case(from, to, "large", rule, |ctx, a, b| Box::pin(large(ctx, a, b)));
            let rule = "Composing is shown to the other, in the session or by MESSAGE";
            case(from, to, "composing", rule, |ctx, a, b| Box::pin(composing(ctx, a, b)));
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
    let Two { a, b, .. } = &two(&ctx, a, b).await?;
    let text = long(&ctx);
    if a.model.calls() {
        exchange(a, b, &format!("more to come {}", ctx.token)).await?;
    }
    let id = a.send(b, &text);
    comes_whole(a, b, &id, &text).await
}

/// A text of 64 kB.
fn long(ctx: &Ctx) -> String {
    let mut text = format!("large {} ", ctx.token);
    while text.len() < 65_536 {
        text += &format!("{:07} ", text.len());
    }
    text
}

async fn comes_whole(a: &Handset, b: &Handset, id: &str, text: &str) -> Verdict {
    a.taken(id).await?;
    let find = |seen: &crate::handset::Seen| seen.messages.iter().find(|got| got.is(id)).cloned();
    let arrived = b.find_within(COMES * 2, "a text of 64 kB", find).await?;
    check!(arrived.text == text, "{} octets arrived as {} others", text.len(), arrived.text.len());
    a.receipt(id, "delivered").await?;
    super::only_once(b, &[id.to_owned()]).await
}

async fn composing(ctx: Ctx, a: Model, b: Model) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, a, b).await?;
    // What came by MESSAGE begins no session, what they answer does.
    exchange(a, b, &format!("are you there {}", ctx.token)).await?;
    exchange(b, a, &format!("I am {}", ctx.token)).await?;
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
