//! Making a group: the factory, its invitations, and what it refuses.

use std::time::Duration;

use super::{NAME, Party, kinds};
use crate::case::{Case, Ctx, Verdict, cases, check};
use crate::handset::{FACTORY, Handset, Model};
use crate::message::Message;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases! { NAME;
        "create" "create-cpm" Practice "A CPM handset makes a group; its members are called by the focus" => by_cpm;
        "create" "create-rcse" Practice "A SIMPLE IM handset makes a group; its members are called by the focus" => by_rcse;
        "create" "create-browser" Practice "A browser makes a group; its members are called by the focus" => by_browser;
        "create" "create-20" Practice "A group of twenty over mixed access: each says something that all others get" => twenty;
        "create" "create-100" Practice "A group of a hundred over mixed access: what is said reaches all" => hundred;
        "create" "history" Practice "An invitation names the inviter, the subject, the contribution and who else was asked" => history;
        "create" "own-address" Must "The creator's own address in the list, and doubles, do not count (RFC 5366 §6)" => own_address;
        "create" "no-list" Practice "An INVITE to the factory without a list is refused" => no_list;
        "create" "broken-list" Practice "An INVITE to the factory with a broken list is answered 400" => broken_list;
        "create" "empty-list" Practice "An INVITE to the factory with an empty list is answered 400" => empty_list;
        "create" "too-many" Practice "A list beyond the limit is answered 403 or 486, with a Warning" => too_many;
        "create" "extension" Must "An INVITE to the factory that requires what is unknown is answered 420 (RFC 3261 §8.2.2.3)" => extension;
        "create" "list-at-focus" Practice "A re-INVITE with a list at the focus is answered 420" => list_at_focus;
    };
    for (size, seconds) in [("-100", 180), ("-20", 120)] {
        let of_size = cases.iter_mut().filter(|case| case.name.ends_with(size));
        of_size.for_each(|case| case.limit = Duration::from_secs(seconds));
    }
    cases
}

async fn by_cpm(ctx: Ctx) -> Verdict {
    by(ctx, Model::cpm()).await
}

async fn by_rcse(ctx: Ctx) -> Verdict {
    by(ctx, Model::rcse()).await
}

async fn by_browser(ctx: Ctx) -> Verdict {
    by(ctx, Model::browser()).await
}

async fn by(ctx: Ctx, creator: Model) -> Verdict {
    let party = Party::of(&ctx, vec![creator, Model::cpm(), Model::rcse()], 0).await?;
    let mut ids = Vec::new();
    for from in 0..3 {
        ids.push((from, party.round(from, &format!("{from} says {}", ctx.token)).await?));
    }
    party.only_once(&ids).await
}

async fn twenty(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, kinds(20), 0).await?;
    let mut ids = Vec::new();
    for from in 0..20 {
        ids.push((from, party.round(from, &format!("{from} says {}", ctx.token)).await?));
    }
    party.only_once(&ids).await
}

async fn hundred(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, kinds(100), 0).await?;
    let mut ids = Vec::new();
    for from in [0, 1, 2, 3, 99] {
        ids.push((from, party.round(from, &format!("{from} says {}", ctx.token)).await?));
    }
    party.only_once(&ids).await
}

async fn history(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm(), Model::rcse()], 0).await?;
    for at in 1..3 {
        let room = party.members[at].is_invited(&party.room).await?;
        check!(room.invitations == 1, "{} invitations for {}", room.invitations, party.user(at));
        check!(room.focus == party.room.focus, "the focus is {:?} here and {:?} there", room.focus, party.room.focus);
        check!(room.subject == party.room.subject, "the subject {:?} came as {:?}", party.room.subject, room.subject);
        check!(room.by.as_deref() == Some(party.user(0)), "Referred-By is {:?}", room.by);
        for other in 1..3 {
            check!(room.history.iter().any(|user| user == party.user(other)), "{:?} does not name all", room.history);
        }
    }
    Ok(())
}

async fn own_address(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(2).await?;
    let a = Handset::on(&ctx, &users[0], Model::cpm()).await?;
    let b = Handset::on(&ctx, &users[1], Model::cpm()).await?;
    let room = a.create(&[&b.user, &a.user, &b.user], "Two").await?;
    b.is_invited(&room).await?;
    let id = a.tell(&room, "hello");
    a.taken(&id).await?;
    b.message(&id).await?;
    let roster = a.roster(&room, "two", |roster| roster.present().len() == 2).await?;
    check!(roster.people.len() == 2, "the roster has {:?}", roster.people.keys());
    tokio::time::sleep(crate::case::SILENCE).await;
    let calls = b.look(|seen| seen.room(&room.focus).map_or(0, |room| room.invitations));
    check!(calls == 1, "{calls} invitations for one user");
    Ok(())
}

/// What the factory answers a list.
async fn answer(ctx: &Ctx, list: &str) -> Verdict<Message> {
    let users = ctx.accounts(1).await?;
    let a = Handset::on(ctx, &users[0], Model::cpm()).await?;
    a.create_of(list, "None", &ctx.id()).await
}

fn is(answer: &Message, expected: &[u16]) -> Verdict {
    let status = answer.status().unwrap_or(0);
    check!(expected.contains(&status), "expected {expected:?}, got {}", answer.start);
    Ok(())
}

async fn no_list(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
        a=accept-types:message/cpim\r\na=setup:active\r\na=path:msrp://127.0.0.1:9/x;tcp\r\n";
    let uri = format!("sip:{FACTORY}@{}", ctx.domain());
    let invite = ua.req("INVITE", &uri).add("Contribution-ID", ctx.id()).body("application/sdp", sdp);
    is(&ua.call(&invite).await?, &[400, 403, 488])
}

async fn broken_list(ctx: Ctx) -> Verdict {
    is(&answer(&ctx, "<resource-lists><list><entry uri=\"sip:a@b\">").await?, &[400])
}

async fn empty_list(ctx: Ctx) -> Verdict {
    let list = "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list/></resource-lists>";
    is(&answer(&ctx, list).await?, &[400])
}

async fn too_many(ctx: Ctx) -> Verdict {
    let entries: String = (0..1500).map(|n| format!("<entry uri=\"sip:u{n}@{}\"/>", ctx.domain())).collect();
    let list = format!(
        "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list></resource-lists>"
    );
    let answer = answer(&ctx, &list).await?;
    is(&answer, &[403, 413, 486, 513])?;
    let warned = !matches!(answer.status(), Some(403 | 486)) || answer.header("warning").is_some();
    check!(warned, "a {} without Warning", answer.start);
    Ok(())
}

async fn extension(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&users[0]).await?;
    let uri = format!("sip:{FACTORY}@{}", ctx.domain());
    let invite = ua.req("INVITE", &uri).add("Require", "recipient-list-invite, x-never-heard-of");
    let answer = ua.call(&invite).await?;
    is(&answer, &[420])?;
    let unsupported = answer.values("unsupported");
    check!(unsupported == ["x-never-heard-of"], "Unsupported names {unsupported:?}");
    Ok(())
}

async fn list_at_focus(ctx: Ctx) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm()], 0).await?;
    is(&party.members[0].invite_again(&party.room, true).await?, &[420])?;
    party.round(0, "still here").await?;
    Ok(())
}
