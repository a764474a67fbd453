//! One-to-one chat as RCS services have it, between handsets of all kinds: OMA SIMPLE IM and CPM, MESSAGE, browsers.
//!
//! The target has to be a chat server, which ends sessions on both sides and keeps what cannot be delivered: a proxy
//! fails. What no RFC says is the practice of deployed services and clients, and its level says so.

mod away;
mod calls;
mod cuts;
mod devices;
mod kinds;
mod relations;

use std::time::Duration;

use crate::case::{Case, Ctx, Lease, SILENCE, Verdict, check};
use crate::handset::{Got, Handset, Model};
pub(super) use relations::edits;

pub(crate) const NAME: &str = "chat";

/// What a case of the suite may take: more than one session each.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn cases() -> Vec<Case> {
    let all = [kinds::cases(), away::cases(), devices::cases(), calls::cases(), relations::cases(), cuts::cases()];
    let mut cases: Vec<Case> = all.into_iter().flatten().collect();
    cases.iter_mut().for_each(|case| case.limit = LIMIT);
    cases
}

/// Two users, each with a handset that has registered.
struct Two {
    a: Handset,
    b: Handset,
    users: Lease,
}

async fn two(ctx: &Ctx, a: Model, b: Model) -> Verdict<Two> {
    let two = one_away(ctx, a, b).await?;
    two.b.register().await?;
    Ok(two)
}

/// The same while the second is away.
async fn one_away(ctx: &Ctx, a: Model, b: Model) -> Verdict<Two> {
    let users = ctx.accounts(2).await?;
    let a = Handset::on(ctx, &users[0], a).await?;
    let b = Handset::off(ctx, &users[1], b).await?;
    Ok(Two { a, b, users })
}

/// A caller that nobody can connect to, and one that listens: they can do without a server between.
fn pair_of_rcse() -> (Model, Model) {
    (Model::rcse(), Model::rcse().reach(crate::handset::Reach::Open))
}

/// The message arrives as it is, from whom it is.
async fn arrives(a: &Handset, b: &Handset, id: &str, text: &str) -> Verdict<Got> {
    let got = b.message(id).await?;
    check!(got.text == text, "{} octets arrived as {} others", text.len(), got.text.len());
    check!(got.content_type.starts_with("text/plain"), "the text arrived as {:?}", got.content_type);
    check!(got.from == a.user, "the message of {} is from {:?}", a.user, got.from);
    Ok(got)
}

/// Sends a text and sees it arrive, delivered and displayed.
async fn exchange(a: &Handset, b: &Handset, text: &str) -> Verdict<String> {
    let id = a.send(b, text);
    arrives(a, b, &id, text).await?;
    a.taken(&id).await?;
    let receipt = a.receipt(&id, "delivered").await?;
    check!(receipt.from == b.user, "the notification of {} is from {:?}", b.user, receipt.from);
    b.display(&id);
    a.receipt(&id, "displayed").await?;
    Ok(id)
}

/// Nothing came twice, as far as a moment tells.
async fn only_once(handset: &Handset, ids: &[String]) -> Verdict {
    tokio::time::sleep(SILENCE).await;
    for id in ids {
        let copies = handset.copies(id);
        check!(copies == 1, "{copies} copies of {id} arrived at {}", handset.user);
    }
    Ok(())
}

/// The messages came in that order; copies aside.
fn in_order(handset: &Handset, ids: &[String]) -> Verdict {
    let order: Vec<String> = handset.look(|seen| {
        let mut order: Vec<String> = Vec::new();
        for id in seen.messages.iter().filter_map(|got| got.id.clone()) {
            if ids.contains(&id) && !order.contains(&id) {
                order.push(id);
            }
        }
        order
    });
    check!(order == ids, "{ids:?} arrived as {order:?}");
    Ok(())
}
