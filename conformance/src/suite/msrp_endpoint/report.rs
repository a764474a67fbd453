//! Responses and REPORTs, and notifications inside.

use super::talk::Talk;
use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail};
use crate::msrp::{Req, same};
use crate::suite::msrp::pattern;

pub(super) fn cases() -> Vec<Case> {
    cases! { "msrp-endpoint";
        "7.2" "response" Must "A response has the transaction id, the leftmost From-Path URI as To-Path, our URI, and $" => response;
        "7.1.2" "success" Must "Success-Report: yes gets one REPORT for all octets, with namespace 000" => success;
        "7.1.2" "success-chunks" Must "Of a message in chunks each octet is reported once" => success_chunks;
        "7.1.2" "success-not-asked" Must "Without Success-Report: yes no success is reported" => not_asked;
        "7.1.4" "failure-no" Must "Failure-Report: no gets no response, neither 200 nor an error" => failure_no;
        "7.1.4" "failure-partial" Must "Failure-Report: partial gets no 200, but errors" => failure_partial;
        "7.1.4" "success-without-failure" Must "Success-Report: yes with Failure-Report: no gets a REPORT and no response" => both;
        "7.1.2" "report-silence" Must "A REPORT is answered by no response and no REPORT" => report_silence;
        "5438 7.2.1" "imdn" Must "A wish for a delivery notification is met, in the session" => imdn;
    }
}

async fn response(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text();
    let answer = talk.exchange(&req).await?;
    check!(answer.path_to() == [talk.own.as_str()], "To-Path of the response is {:?}", answer.path_to());
    let from = answer.path_from();
    check!(from.len() == 1 && same(from[0], &talk.to), "From-Path of the response is {from:?}");
    check!(answer.body.is_none(), "the response has a body");
    Ok(())
}

/// The success REPORTs on a message, until all of its octets are in one.
async fn reported(talk: &mut Talk, req: &Req, total: u64) -> Verdict {
    let mut next = 1;
    while next <= total {
        let Some(report) = talk.report(req, ANSWER).await else {
            return fail(format!("octets from {next} on were not reported"));
        };
        let status = report.header("status").unwrap_or("");
        check!(status.starts_with("000 200"), "Status is {status:?}");
        check!(same(&report.path_to().join(" "), &talk.own), "To-Path of the REPORT is {:?}", report.path_to());
        let range = report.range();
        let Some((start, Some(end), _)) = range else { return fail(format!("Byte-Range of the REPORT is {range:?}")) };
        check!(start == next && end <= total, "{start}-{end} was reported, {next} was due");
        next = end + 1;
    }
    match talk.report(req, SILENCE).await {
        Some(report) => fail(format!("one more REPORT came: {:?}", report.header("byte-range"))),
        None => Ok(()),
    }
}

async fn success(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text().line("Success-Report: yes");
    talk.echo(&req).await?;
    let total = req.content.as_ref().map_or(0, |(_, body)| body.len() as u64);
    reported(&mut talk, &req, total).await
}

async fn success_chunks(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let (body, id) = (pattern(5000), ctx.id());
    let mut last = None;
    for (start, end) in [(2000, 4000), (0, 2000), (4000, 5000)] {
        let flag = if end == 5000 { '$' } else { '+' };
        let range = format!("{}-{end}/5000", start + 1);
        let req = talk.chunk(&id, &range, &body[start..end], flag).line("Success-Report: yes");
        talk.expect(&req, 200).await?;
        last = Some(req);
    }
    talk.comes_back(&body).await?;
    match last {
        Some(req) => reported(&mut talk, &req, 5000).await,
        None => Ok(()),
    }
}

async fn not_asked(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    for line in [None, Some("Success-Report: no")] {
        let mut req = talk.text();
        req.lines.extend(line.map(str::to_owned));
        talk.echo(&req).await?;
        check!(talk.report(&req, SILENCE).await.is_none(), "a REPORT came that nobody asked for");
    }
    Ok(())
}

/// Fails if that request is answered within a moment.
async fn unanswered(talk: &mut Talk, req: &Req) -> Verdict {
    match talk.conn.response(&req.tid, SILENCE).await {
        Some(answer) => fail(format!("{} came", answer.start)),
        None => Ok(()),
    }
}

/// A chunk of more than the target takes.
fn too_large(talk: &Talk) -> Option<Req> {
    let most: u64 = talk.call.answer.attribute("max-size")?.parse().ok()?;
    Some(talk.chunk(&talk.ctx().id(), &format!("1-*/{}", most + 1), pattern(3000), '+'))
}

async fn failure_no(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text().line("Failure-Report: no");
    talk.send(&req).await?;
    talk.comes_back(format!("text of {}", ctx.token).as_bytes()).await?;
    unanswered(&mut talk, &req).await?;
    if let Some(req) = too_large(&talk) {
        let req = req.line("Failure-Report: no");
        talk.send(&req).await?;
        unanswered(&mut talk, &req).await?;
        check!(talk.report(&req, SILENCE).await.is_none(), "a REPORT came for a failure that nobody wants to hear of");
    }
    talk.alive().await
}

async fn failure_partial(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text().line("Failure-Report: partial");
    talk.send(&req).await?;
    talk.comes_back(format!("text of {}", ctx.token).as_bytes()).await?;
    unanswered(&mut talk, &req).await?;
    if let Some(req) = too_large(&talk) {
        talk.expect(&req.line("Failure-Report: partial"), 413).await?;
    }
    talk.alive().await
}

async fn both(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text().line("Success-Report: yes").line("Failure-Report: no");
    talk.send(&req).await?;
    let total = req.content.as_ref().map_or(0, |(_, body)| body.len() as u64);
    reported(&mut talk, &req, total).await?;
    unanswered(&mut talk, &req).await
}

async fn report_silence(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let req = talk.text();
    let came = talk.echo(&req).await?;
    let of = [came[0].id().unwrap_or("").to_owned(), ctx.id()];
    for (id, status) in of.iter().flat_map(|id| [(id, "000 200 OK"), (id, "000 413"), (id, "001 1")]) {
        let report = Req::new("REPORT", ctx.id(), talk.to.clone(), talk.own.clone())
            .line(format!("Message-ID: {id}"))
            .line("Byte-Range: 1-5/5")
            .line(format!("Status: {status}"));
        talk.send(&report).await?;
        let wrong = talk.conn.take(SILENCE / 2, |frame| frame.status.is_some() || frame.is("REPORT")).await;
        if let Some(frame) = wrong {
            return fail(format!("{} answers a REPORT", frame.start));
        }
    }
    talk.alive().await
}

async fn imdn(ctx: Ctx) -> Verdict {
    let mut talk = Talk::new(&ctx).await?;
    let id = ctx.id();
    let envelope = format!(
        "From: <sip:a@example.com>\r\nTo: <sip:b@example.com>\r\nDateTime: 2026-03-04T10:15:30Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\n\
         imdn.Disposition-Notification: positive-delivery\r\n\r\nContent-Type: text/plain\r\n\r\nwith a wish"
    );
    let mut req = talk.req().body(envelope.clone());
    if let Some((kind, _)) = &mut req.content {
        *kind = "message/cpim".into();
    }
    talk.expect(&req, 200).await?;
    let (mut notified, mut back) = (false, false);
    while !(notified && back) {
        let (body, _) = talk.message().await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if text == envelope {
            back = true;
        } else {
            let named = text.contains(&format!("<message-id>{id}</message-id>")) && text.contains("<delivered/>");
            check!(named, "what came is no notification of {id}: {text:?}");
            check!(!text.contains("Disposition-Notification"), "a notification asks for one: {text:?}");
            notified = true;
        }
    }
    Ok(())
}
