//! Messages about earlier ones, and content that no server reads.

use super::{NAME, Two, two};
use crate::case::{Case, Ctx, Verdict, cases, check};
use crate::handset::{Extra, Fate, Handset, Model, Phase};

const LINPHONE: &str = "tag:linphone.org,2020:params:groupchat";
/// (u) No names are published for edits and recalls; these are Chappe's.
const CHAPPE: &str = "https://github.com/chappe-im/chappe/relation";

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "relations" "carried-rcse" Practice "Replies and reactions keep the headers that say what they are about, to a SIMPLE IM handset" => carried_rcse;
        "relations" "carried-cpm" Practice "The same to a CPM handset" => carried_cpm;
        "relations" "carried-standalone" Practice "The same by MESSAGE" => carried_standalone;
        "relations" "carried-browser" Practice "The same to a browser" => carried_browser;
        "relations" "own" Practice "Who wrote a message may change and recall it" => own;
        "relations" "of-others" Practice "Nobody else may, in a session: 403" => of_others;
        "relations" "of-others-first" Practice "Nor with the first message of an INVITE: 403" => of_others_first;
        "relations" "of-others-paged" Practice "Nor by MESSAGE: 403" => of_others_paged;
        "relations" "of-unknown" Practice "What is said about an unknown message is passed on" => unknown;
        "opaque" "end-to-end" Practice "An encrypted payload arrives octet for octet with all its headers" => end_to_end;
    }
}

fn about(namespace: &str, name: &str, id: &str) -> Extra {
    Extra { headers: format!("NS: r <{namespace}>\r\nr.{name}: {id}\r\n"), content: String::new() }
}

/// The lines that say which message is changed.
pub(crate) fn edits(id: &str) -> Extra {
    about(CHAPPE, "Edits-Message-ID", id)
}

fn recalls(id: &str) -> Extra {
    about(CHAPPE, "Recalls-Message-ID", id)
}

/// The message arrives with a header of that name and value.
async fn keeps(b: &Handset, id: &str, namespace: &str, name: &str, value: &str) -> Verdict {
    let got = b.message(id).await?;
    let wanted = (format!("{namespace}#{name}"), value.to_owned());
    check!(got.more.contains(&wanted), "{name} of {id} did not arrive, but {:?}", got.more);
    Ok(())
}

async fn carried_rcse(ctx: Ctx) -> Verdict {
    carried(&ctx, super::pair_of_rcse().1).await
}

async fn carried_cpm(ctx: Ctx) -> Verdict {
    carried(&ctx, Model::cpm()).await
}

async fn carried_standalone(ctx: Ctx) -> Verdict {
    carried(&ctx, Model::standalone()).await
}

async fn carried_browser(ctx: Ctx) -> Verdict {
    carried(&ctx, Model::browser()).await
}

async fn carried(ctx: &Ctx, to: Model) -> Verdict {
    let Two { a, b, .. } = &two(ctx, Model::cpm(), to).await?;
    let first = super::exchange(a, b, &format!("something {}", ctx.token)).await?;
    let reply = a.send_with(b, about(LINPHONE, "Replying-To-Message-ID", &first), "and more of it");
    keeps(b, &reply, LINPHONE, "Replying-To-Message-ID", &first).await?;
    let sign = Extra { content: "Content-Disposition: Reaction\r\n".into(), ..about(LINPHONE, "In-Reply-To", &first) };
    let reaction = a.send_with(b, sign, "\u{1f44d}");
    keeps(b, &reaction, LINPHONE, "In-Reply-To", &first).await?;
    let got = b.message(&reaction).await?;
    check!(got.text == "\u{1f44d}", "the sign arrived as {:?}", got.text);
    let disposition = got.disposition.as_deref();
    check!(disposition == Some("Reaction"), "the disposition of the content arrived as {disposition:?}");
    Ok(())
}

async fn own(ctx: Ctx) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, Model::cpm(), Model::cpm()).await?;
    let id = super::exchange(a, b, &format!("teh text {}", ctx.token)).await?;
    let edit = a.send_with(b, edits(&id), "the text");
    a.taken(&edit).await?;
    keeps(b, &edit, CHAPPE, "Edits-Message-ID", &id).await?;
    let recall = a.send_with(b, recalls(&id), " ");
    a.taken(&recall).await?;
    keeps(b, &recall, CHAPPE, "Recalls-Message-ID", &id).await
}

/// `edit` is answered 403 and does not arrive; what follows it does.
async fn is_refused(from: &Handset, to: &Handset, edit: &str, token: &str) -> Verdict {
    let fate = from.fate(edit).await?;
    check!(fate == Fate::Answered(403), "a change of somebody else's message: {fate:?}, not 403");
    let text = format!("something else {token}");
    from.send(to, &text);
    to.text(&text).await?;
    check!(to.copies(edit) == 0, "the change of somebody else's message arrived");
    Ok(())
}

async fn of_others(ctx: Ctx) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, Model::cpm(), Model::cpm()).await?;
    let id = super::exchange(a, b, &format!("mine {}", ctx.token)).await?;
    super::exchange(b, a, &format!("yours {}", ctx.token)).await?;
    let edit = b.send_with(a, edits(&id), "never said");
    is_refused(b, a, &edit, &ctx.token).await?;
    let recall = b.send_with(a, recalls(&id), " ");
    is_refused(b, a, &recall, &format!("{} too", ctx.token)).await
}

async fn of_others_first(ctx: Ctx) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, Model::cpm(), Model::cpm()).await?;
    let id = super::exchange(a, b, &format!("mine {}", ctx.token)).await?;
    b.hang_up();
    b.find("the end of the session", |seen| {
        seen.sessions.iter().all(|session| session.phase == Phase::Ended).then_some(())
    })
    .await?;
    let edit = b.send_with(a, edits(&id), "never said");
    is_refused(b, a, &edit, &ctx.token).await
}

async fn of_others_paged(ctx: Ctx) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, Model::cpm(), Model::standalone()).await?;
    let id = super::exchange(a, b, &format!("mine {}", ctx.token)).await?;
    let edit = b.send_with(a, edits(&id), "never said");
    is_refused(b, a, &edit, &ctx.token).await
}

async fn unknown(ctx: Ctx) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, Model::cpm(), Model::standalone()).await?;
    let id = ctx.id();
    for (from, to) in [(a, b), (b, a)] {
        let edit = from.send_with(to, edits(&id), "of something older");
        from.taken(&edit).await?;
        keeps(to, &edit, CHAPPE, "Edits-Message-ID", &id).await?;
    }
    Ok(())
}

async fn end_to_end(ctx: Ctx) -> Verdict {
    let Two { a, b, .. } = &two(&ctx, Model::cpm(), Model::cpm()).await?;
    super::exchange(a, b, &format!("in clear {}", ctx.token)).await?;
    // Every printable character, and what looks like the ends of things.
    let secret: String = (' '..='~').collect::<String>() + "\r\n\r\n-------\r\n--\0\u{7f}" + &ctx.token;
    let extra = Extra {
        headers: "NS: e <http://www.gsma.com/rcs/e2ee>\r\ne.Epoch: 7;sender=\"1\"\r\n".into(),
        content: "Content-Encryption: mls\r\n".into(),
    };
    let id = a.send_with(b, extra, &secret);
    keeps(b, &id, "http://www.gsma.com/rcs/e2ee", "Epoch", "7;sender=\"1\"").await?;
    let got = b.message(&id).await?;
    check!(got.text == secret, "the payload arrived as {:?}", got.text);
    Ok(())
}
