//! Places, cards and voices: what is no text comes as it was sent, also to members that were away.

use super::{NAME, Party};
use crate::case::{Case, Ctx, Verdict, cases, check};
use crate::handset::{COMES, Cut, Model};

pub(super) fn cases() -> Vec<Case> {
    cases! { NAME;
        "share" "there" Practice "Places, vCards and audio messages arrive at members of every kind as they were sent" => there;
        "share" "shared-away-cpm" Practice "Places, vCards and audio messages reach a CPM member that was away" => away_cpm;
        "share" "shared-away-rcse" Practice "Places, vCards and audio messages reach a SIMPLE IM member that was away" => away_rcse;
        "share" "shared-away-pager" Practice "Places, vCards and audio messages reach a MESSAGE-only member that was away" => away_pager;
        "share" "shared-away-browser" Practice "Places, vCards and audio messages reach a browser that was away" => away_browser;
    }
}

/// A place as RCS pushes it, one of PIDF-LO, cards of each version, and an audio message on a content server.
fn contents(token: &str) -> [(&'static str, String); 6] {
    let geopriv = "<gp:geopriv><gp:location-info><gs:Circle srsName=\"urn:ogc:def:crs:EPSG::4326\"><gml:pos>48.8583 2.2945</gml:pos>\
                   <gs:radius uom=\"urn:ogc:def:uom:EPSG::9001\">10</gs:radius></gs:Circle></gp:location-info>\
                   <gp:usage-rules/></gp:geopriv>";
    let spaces = "xmlns:gp=\"urn:ietf:params:xml:ns:pidf:geopriv10\" xmlns:gml=\"http://www.opengis.net/gml\" \
                  xmlns:gs=\"http://www.opengis.net/pidflo/1.0\"";
    let card = |version: &str, more: &str| {
        format!(
            "BEGIN:VCARD\r\nVERSION:{version}\r\nN:\u{160}koda;Eva {token};;;\r\nFN:Eva \u{160}koda\r\n{more}END:VCARD\r\n"
        )
    };
    [
        (
            "application/vnd.gsma.rcspushlocation+xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<rcsenvelope xmlns=\"urn:gsma:params:xml:ns:rcs:rcs:geolocation\" \
                 {spaces} entity=\"tel:+15550100001\"><rcspushlocation id=\"{token}\" label=\"Meeting point\">{geopriv}\
                 <timestamp>2026-03-04T10:15:30Z</timestamp></rcspushlocation></rcsenvelope>"
            ),
        ),
        (
            "application/pidf+xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" {spaces} \
                 entity=\"pres:eva@example.com\"><tuple id=\"{token}\"><status>{geopriv}</status></tuple></presence>"
            ),
        ),
        ("text/x-vcard", card("2.1", "TEL;CELL:+15550100001\r\nNOTE;ENCODING=QUOTED-PRINTABLE:a=\r\nb\r\n")),
        ("text/vcard", card("3.0", "TEL;TYPE=CELL:+15550100001\r\n")),
        ("text/vcard; charset=UTF-8", card("4.0", "TEL;VALUE=uri:tel:+15550100001\r\n")),
        (
            "application/vnd.gsma.rcs-ft-http+xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<file xmlns=\"urn:gsma:params:xml:ns:rcs:rcs:fthttp\" \
                 xmlns:am=\"urn:gsma:params:xml:ns:rcs:rcs:rram\"><file-info type=\"file\" file-disposition=\"render\">\
                 <file-size>9000</file-size><file-name>{token}.amr</file-name><content-type>audio/amr</content-type>\
                 <am:playing-length>4</am:playing-length>\
                 <data url = \"https://ft.example.com/{token}\" until = \"2036-01-01T00:00:00Z\"/></file-info></file>"
            ),
        ),
    ]
}

/// The first member shares all of them; gives their ids.
fn share(party: &Party, contents: &[(&'static str, String)]) -> Vec<String> {
    contents.iter().map(|(kind, body)| party.members[0].share(&party.room, kind, body)).collect()
}

async fn arrive(party: &Party, at: usize, contents: &[(&str, String)], ids: &[String]) -> Verdict {
    let member = &party.members[at];
    for ((kind, body), id) in contents.iter().zip(ids) {
        let what = format!("{kind} shared as {id}");
        let got =
            member.find_within(COMES * 2, &what, |seen| seen.messages.iter().find(|got| got.is(id)).cloned()).await?;
        check!(got.content_type == *kind, "{kind} arrived as {:?} at {}", got.content_type, member.user);
        check!(got.text == *body, "{kind} arrived as {:?} at {}", got.text, member.user);
        check!(got.from == party.user(0), "{kind} is from {:?} at {}", got.from, member.user);
    }
    Ok(())
}

async fn there(ctx: Ctx) -> Verdict {
    let models = vec![Model::cpm(), Model::rcse(), Model::browser(), Model::pager(), Model::cpm()];
    let party = Party::of(&ctx, models, 0).await?;
    let contents = contents(&ctx.token);
    let ids = share(&party, &contents);
    for at in 1..party.members.len() {
        arrive(&party, at, &contents, &ids).await?;
    }
    Ok(())
}

async fn away(ctx: Ctx, model: Model) -> Verdict {
    let party = Party::of(&ctx, vec![Model::cpm(), Model::cpm(), model], 0).await?;
    let late = &party.members[2];
    late.cut(Cut::Off);
    late.find("the cut", |seen| (seen.cuts > 0).then_some(())).await?;
    let contents = contents(&ctx.token);
    let ids = share(&party, &contents);
    arrive(&party, 1, &contents, &ids).await?;
    let early = late.look(|seen| seen.messages.iter().any(|got| ids.iter().any(|id| got.is(id))));
    check!(!early, "{} got something while it was away", late.user);
    late.back().await?;
    arrive(&party, 2, &contents, &ids).await?;
    for id in &ids {
        check!(late.copies(id) == 1, "{} copies of {id} at {}", late.copies(id), late.user);
    }
    Ok(())
}

async fn away_cpm(ctx: Ctx) -> Verdict {
    away(ctx, Model::cpm()).await
}

async fn away_rcse(ctx: Ctx) -> Verdict {
    away(ctx, Model::rcse()).await
}

async fn away_pager(ctx: Ctx) -> Verdict {
    away(ctx, Model::pager()).await
}

async fn away_browser(ctx: Ctx) -> Verdict {
    away(ctx, Model::browser()).await
}
